"""Learning rates that rise from almost nothing and then fall."""

from __future__ import annotations

from keras.optimizers import schedules

from kerasllm.optimizers import WarmupLinear, schedule_numbers


def warmup_cosine(peak: float, steps: int, warmup_steps: int = 0, final: float = 0.0) -> schedules.LearningRateSchedule:
    """A learning rate that rises in a straight line, then falls along half a cosine.

    This is `keras.optimizers.schedules.CosineDecay`, with the numbers one thinks in: the length of
    the whole run, and a first step that already learns (Keras' own warm-up starts at the rate that
    it is given; 0 wastes a step).

    Args:
        peak: the highest learning rate.
        steps: steps of the whole run, warm-up included.
        warmup_steps: steps of the rise; 0 starts at the peak.
        final: the rate at the end, as a share of the peak.

    Returns:
        A Keras learning-rate schedule.

    Raises:
        ValueError: if `peak` or `steps` is not positive, the warm-up does not leave a step, or
            `final` is not in [0, 1].

    Example:
        >>> schedule = warmup_cosine(0.1, steps=100, warmup_steps=10)
        >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 55, 100)]
        [0.01, 0.055, 0.1, 0.05, 0.0]

    Reference: Loshchilov and Hutter (2017), "SGDR", equation 5 without restarts.
    """
    peak, steps, warmup_steps, final = schedule_numbers(peak, steps, warmup_steps, final)
    if not warmup_steps:
        return schedules.CosineDecay(peak, steps, alpha=final)
    return schedules.CosineDecay(
        peak / warmup_steps, steps - warmup_steps, alpha=final, warmup_target=peak, warmup_steps=warmup_steps
    )


def warmup_linear(peak: float, steps: int, warmup_steps: int = 0, final: float = 0.0) -> WarmupLinear:
    """A learning rate that rises in a straight line and falls in a straight line.

    `keras.optimizers.schedules.PolynomialDecay` falls like this, but has no warm-up.

    Args:
        peak: the highest learning rate.
        steps: steps of the whole run, warm-up included.
        warmup_steps: steps of the rise; 0 starts at the peak.
        final: the rate at the end, as a share of the peak.

    Returns:
        A Keras learning-rate schedule.

    Raises:
        ValueError: if `peak` or `steps` is not positive, the warm-up does not leave a step, or
            `final` is not in [0, 1].

    Example:
        >>> schedule = warmup_linear(0.1, steps=100, warmup_steps=10)
        >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 55, 100)]
        [0.01, 0.055, 0.1, 0.05, 0.0]

    Reference: Devlin et al. (2019), "BERT", appendix A.2.
    """
    return WarmupLinear(peak, steps, warmup_steps, final)
