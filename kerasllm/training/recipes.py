"""Two ways to train a GPT, each an optimizer with its schedule and its numbers."""

from __future__ import annotations

import math

import keras

from kerasllm.common import positive, share, whole_number
from kerasllm.optimizers import AdamW
from kerasllm.training.fast import fuse
from kerasllm.training.schedules import warmup_cosine, warmup_linear

# Scales and biases are few and have no reason to be small.
UNDECAYED = ["gamma", "beta", "bias", "scale"]


def classic(
    steps: int,
    learning_rate: float = 1e-3,
    warmup_steps: int | None = None,
    final: float = 0.1,
    weight_decay: float = 0.1,
    beta_2: float = 0.99,
    clip: float | None = 1.0,
    accumulate: int | None = None,
    fused: bool = False,
) -> keras.optimizers.Optimizer:
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
        fused: whether the update of a weight is one operation, see `fuse`; the numbers are the same.

    Returns:
        A Keras optimizer.

    Raises:
        ValueError: if a number makes no sense, see also `warmup_cosine`.

    Example:
        >>> optimizer = classic(steps=2000)
        >>> round(float(optimizer.learning_rate), 6)
        1e-05

    Reference: Brown et al. (2020), "Language Models are Few-Shot Learners", appendix B.
    """
    steps = whole_number("steps", steps)
    optimizer = AdamW(
        warmup_cosine(learning_rate, steps, steps // 20 if warmup_steps is None else warmup_steps, final),
        weight_decay=share("weight_decay", weight_decay, most=math.inf),
        beta_2=share("beta_2", beta_2),
        epsilon=1e-8,
        global_clipnorm=None if clip is None else positive("clip", clip),
        gradient_accumulation_steps=_accumulated(accumulate),
        undecayed=UNDECAYED,
    )
    return fuse(optimizer) if fused else optimizer


def modern(
    steps: int,
    learning_rate: float = 5e-3,
    warmup_steps: int | None = None,
    final: float = 0.0,
    weight_decay: float = 0.0,
    beta_2: float = 0.95,
    adam_ratio: float = 1.0,
    accumulate: int | None = None,
) -> keras.optimizers.Optimizer:
    """Muon for the matrices of the blocks, AdamW for the rest; a short warm-up, then a straight line down to 0.

    Muon replaces the update of a matrix by the nearest orthogonal one, so that every direction learns
    equally fast. Embeddings, the head, scales and biases are no such maps: they get AdamW.

    Args:
        steps: updates of the whole run.
        learning_rate: the highest one. Keras scales Muon's updates so that rates of AdamW fit, but
            small models like several times more.
        warmup_steps: updates of the rise; a hundredth of the run, at least one of several, when None.
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
        ValueError: if a number makes no sense, see also `warmup_linear`.

    Example:
        >>> optimizer = modern(steps=2000)
        >>> round(float(optimizer.learning_rate), 6)
        0.00025

    Reference: Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks"; Liu et al.
    (2025), "Muon is Scalable for LLM Training", section 2.2, for the scale of the updates.
    """
    steps = whole_number("steps", steps)
    rise = min(max(1, steps // 100), steps - 1)  # a run of one step has no room for a rise
    return keras.optimizers.Muon(
        warmup_linear(learning_rate, steps, rise if warmup_steps is None else warmup_steps, final),
        adam_lr_ratio=positive("adam_ratio", adam_ratio),
        weight_decay=share("weight_decay", weight_decay, most=math.inf),
        adam_weight_decay=0.0,
        adam_beta_1=0.9,
        adam_beta_2=share("beta_2", beta_2),
        epsilon=1e-8,
        exclude_layers=["logits"],
        gradient_accumulation_steps=_accumulated(accumulate),
    )


def _accumulated(accumulate):
    """Keras knows accumulation over two batches and more, and None for none."""
    accumulate = whole_number("accumulate", accumulate, optional=True)
    return None if accumulate == 1 else accumulate
