"""Two ways to train a GPT, each an optimizer with its schedule and its numbers."""

import keras

from kerasllm.training.faster_steps import AdamW
from kerasllm.training.schedules import warmup_cosine, warmup_linear

# Scales and biases are few and have no reason to be small.
UNDECAYED = ["gamma", "beta", "bias", "scale"]


def classic(
    steps,
    learning_rate=1e-3,
    warmup_steps=None,
    final=0.1,
    weight_decay=0.1,
    beta_2=0.99,
    clip=1.0,
    accumulate=None,
):
    """The recipe of GPT-2's and GPT-3's followers: AdamW, warm-up, half a cosine, clipped gradients.

    Args:
        steps: updates of the whole run.
        learning_rate: the highest one.
        warmup_steps: updates of the rise; a twentieth of the run when None.
        final: the rate at the end, as a share of the highest.
        weight_decay: decay of matrices and embeddings; scales and biases have none.
        beta_2: how much of the mean of squared gradients stays at each update; 0.95 for large batches.
        clip: largest norm of all gradients together; None does not clip.
        accumulate: how many batches make one update; None for 1. Keras counts each batch as a step of
            the schedule: give `steps` in batches then.

    Returns:
        A Keras optimizer.

    Raises:
        ValueError: if the numbers of the schedule do not fit, see `warmup_cosine`.

    Example:
        >>> optimizer = classic(steps=2000)
        >>> round(float(optimizer.learning_rate), 6)
        1e-05

    Reference: Brown et al. (2020), "Language Models are Few-Shot Learners", appendix B.
    """
    optimizer = AdamW(
        warmup_cosine(learning_rate, steps, steps // 20 if warmup_steps is None else warmup_steps, final),
        weight_decay=weight_decay,
        beta_2=beta_2,
        epsilon=1e-8,
        global_clipnorm=clip,
        gradient_accumulation_steps=accumulate,
    )
    optimizer.exclude_from_weight_decay(var_names=UNDECAYED)
    return optimizer


def modern(
    steps,
    learning_rate=5e-3,
    warmup_steps=None,
    final=0.0,
    weight_decay=0.0,
    beta_2=0.95,
    adam_ratio=1.0,
    accumulate=None,
):
    """Muon for the matrices of the blocks, AdamW for the rest; a short warm-up, then a straight line down to 0.

    Muon replaces the update of a matrix by the nearest orthogonal one, so that every direction learns
    equally fast. Embeddings, the head, scales and biases are no such maps: they get AdamW.

    Args:
        steps: updates of the whole run.
        learning_rate: the highest one. Keras scales Muon's updates so that rates of AdamW fit, but
            small models like several times more.
        warmup_steps: updates of the rise; a hundredth of the run when None.
        final: the rate at the end, as a share of the highest.
        weight_decay: decay of the matrices that Muon updates.
        beta_2: of AdamW.
        adam_ratio: learning rate of AdamW as a share of Muon's.
        accumulate: how many batches make one update; None for 1. Keras counts each batch as a step of
            the schedule: give `steps` in batches then.

    Returns:
        A Keras optimizer. The head of `kerasllm.models.GPT` is called "logits"; a model of your own
        needs the same name, or ``exclude_layers`` of `keras.optimizers.Muon`.

    Raises:
        ValueError: if the numbers of the schedule do not fit, see `warmup_linear`.

    Example:
        >>> optimizer = modern(steps=2000)
        >>> round(float(optimizer.learning_rate), 6)
        0.00025

    Reference: Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks"; Liu et al.
    (2025), "Muon is Scalable for LLM Training", section 2.2, for the scale of the updates.
    """
    return keras.optimizers.Muon(
        warmup_linear(learning_rate, steps, max(1, steps // 100) if warmup_steps is None else warmup_steps, final),
        adam_lr_ratio=adam_ratio,
        weight_decay=weight_decay,
        adam_weight_decay=0.0,
        adam_beta_1=0.9,
        adam_beta_2=beta_2,
        epsilon=1e-8,
        exclude_layers=["logits"],
        gradient_accumulation_steps=accumulate,
    )
