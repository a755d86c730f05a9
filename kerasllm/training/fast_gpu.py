"""Training steps for JAX on a GPU, to be switched on by name: attention in one kernel, cheaper dropout.

The layers keep their weights and what stands in a file; a model that is saved and loaded is a plain one again.
"""

from __future__ import annotations

import math
from types import MethodType

import keras
import numpy as np
from keras import ops

from kerasllm.common.inside_keras import all_layers
from kerasllm.layers import MultiHeadAttention


def speed_up_on_gpu(model: keras.Model, attention: bool = True, dropout: bool = True) -> keras.Model:
    """Let the layers of a model use what JAX has for a GPU. On a GPU it has not run: on a CPU its numbers were tested.

    ``benchmarks/accelerator.py`` measures what it is worth there.

    Attention becomes one operation, which on a GPU, in bfloat16 or float16, is cuDNN's: it never writes the weights of
    attention down. A layer computes as ever with a cache, a context, a mask, told positions, a window that is shorter
    than the text, dropout of the weights that is active, or when its weights are to be returned. The numbers are the
    same but for rounding.

    Dropout takes its random bits from `jax.lax.rng_bit_generator`, which needs fewer operations a bit than what Keras
    takes. The share that is dropped stays, the places are others: the same seed gives another run.

    Other backends compute as ever.

    Args:
        model: a Keras model, built or not.
        attention: whether `kerasllm.layers.MultiHeadAttention` changes.
        dropout: whether `keras.layers.Dropout` changes.

    Returns:
        The model.

    Example:
        >>> from kerasllm.models import GPT, gpt_settings
        >>> model = speed_up_on_gpu(GPT(gpt_settings(vocabulary_size=50, num_layers=1, num_heads=2, embedding_dim=8)))
        >>> tuple(model(keras.ops.ones((2, 10), "int32")).shape)
        (2, 10, 50)

    Reference: Dao et al. (2022), "FlashAttention", section 3; Salmon et al. (2011), "Parallel Random Numbers: As Easy
    as 1, 2, 3", section 3.3.
    """
    if keras.backend.backend() != "jax":
        return model
    wanted = {MultiHeadAttention: attention and _attention, keras.layers.Dropout: dropout and _dropout}
    for layer in all_layers(model):
        for kind, call in wanted.items():
            if call and isinstance(layer, kind) and type(layer).call is kind.call:  # a subclass may do something else
                layer.call = MethodType(call, layer)
    model.train_function = None  # one compiled earlier has the earlier calls in it
    return model


def _attention(layer, inputs, context=None, mask=None, positions=None, cache=None, return_weights=False, training=None):
    import jax

    time = inputs.shape[1]
    given = any(x is not None for x in (context, mask, positions, cache))
    dropped = training and layer.dropout > 0
    short = layer.window is not None and (time is None or time > layer.window)
    on_gpu = jax.default_backend() == "gpu"
    if given or return_weights or dropped or short or (on_gpu and layer.compute_dtype not in ("bfloat16", "float16")):
        return type(layer).call(layer, inputs, context, mask, positions, cache, return_weights, training)
    positions = ops.arange(time, dtype="int32")
    query = layer._turned(layer._split(layer.query(inputs), layer.num_heads), layer.query_norm, positions)
    heads = [ops.transpose(x, (0, 2, 1, 3)) for x in (query, *layer._keys_and_values(inputs, positions))]
    mixed = jax.nn.dot_product_attention(  # (batch, time, num_heads, head_dim)
        *heads,
        scale=layer.scale or 1 / math.sqrt(layer._head_dim),
        is_causal=layer.causal,
        implementation="cudnn" if on_gpu else "xla",
    )
    return layer.output_dense(ops.reshape(mixed, (-1, time, layer.num_heads * layer._head_dim)))


def _dropout(layer, inputs, training=False):
    if not training or not layer.rate or layer.noise_shape is not None:
        return type(layer).call(layer, inputs, training=training)
    import jax

    key = jax.random.bits(layer.seed_generator.next(), (4,), "uint32")  # neighbouring steps have unlike keys
    _, bits = jax.lax.rng_bit_generator(key, inputs.shape, dtype="uint32")
    kept = bits >= np.uint32(layer.rate * 2**32)
    return ops.where(kept, inputs / (1 - layer.rate), ops.zeros_like(inputs))
