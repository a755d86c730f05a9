"""How many parameters and operations a GPT has."""

import math

import keras

from kerasllm.layers import MixtureOfExperts, MultiHeadAttention
from kerasllm.layers.composite import parts_of


def flops_per_token(model, context=None, training=False):
    """Floating-point operations for one token, an addition and a multiplication counted as two.

    Two for each weight of a matrix product, and two for each number that attention multiplies; of a mixture of experts
    those that a token uses. What a kernel is stored as plays no role. A training step also computes the gradient of
    what comes into each product, which is a product more, and that of its weights, a third one, unless they are
    frozen.

    Args:
        model: a `GPT`.
        context: how many tokens a token sees on average; half of `context_length` when None.
        training: whether to count a training step.

    Returns:
        A whole number.

    Reference: Kaplan et al. (2020), "Scaling Laws for Neural Language Models", section 2.1.
    """
    context = model.context_length / 2 if context is None else context
    experts = {place: part for place, part in parts_of(model) if isinstance(part, MixtureOfExperts)}
    total = 0.0
    for place, part in parts_of(model):
        mixture = experts.get(place.rpartition("/")[0])
        used = mixture.experts_per_token / mixture.num_experts if mixture and part is not mixture.router else 1
        total += used * sum((6 if training and free else 4 if training else 2) * size for size, free in _kernels(part))
        if isinstance(part, MultiHeadAttention):
            seen = min(context, part.window or context)
            total += (12 if training else 4) * seen * part.num_heads * part._head_dim
    if model.settings.tied:
        free = model.embed.trainable
        total += (6 if training and free else 4 if training else 2) * model.vocabulary_size * model.embed.output_dim
    return round(total)


def _kernels(layer):
    """The size of each matrix that a dense layer multiplies by, and whether it is trained."""
    if isinstance(layer, keras.layers.Dense):
        sizes = (layer.input_spec.axes[-1], layer.units)
    elif isinstance(layer, keras.layers.EinsumDense):
        sizes = tuple(layer.original_kernel_shape) if hasattr(layer, "original_kernel_shape") else layer.kernel.shape
    else:
        return
    adapted = bool(layer.lora_rank) and layer.lora_enabled
    yield math.prod(sizes), layer.trainable and not adapted and layer.quantization_mode is None
    if adapted:
        yield layer.lora_rank * (sizes[0] + math.prod(sizes[1:])), layer.trainable


def table_of_parts(model):
    """A short table of a GPT's parts: parameters, and FLOPs a token in training."""
    rows = [("embedding", model.embed.count_params())]
    if model.place is not None and model.place.weights:
        rows.append(("positions", model.place.count_params()))
    rows.append((f"{len(model.blocks)} blocks", sum(block.count_params() for block in model.blocks)))
    rows.append(("final norm", model.final_norm.count_params()))
    rows.append(("head", "tied to the embedding" if model.settings.tied else model.logits.count_params()))
    rows.append(("parameters", model.count_params()))
    rows.append(("training FLOPs a token", model.flops_per_token(training=True)))
    return "\n".join(
        f"{name:<24}{value:>22,}" if value != str(value) else f"{name:<24}{value:>22}" for name, value in rows
    )
