"""Learning rates that rise from almost nothing and then fall."""

import keras
from keras import ops
from keras.optimizers import schedules


def warmup_cosine(peak, steps, warmup_steps=0, final=0.0):
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
    _check(peak, steps, warmup_steps, final)
    if not warmup_steps:
        return schedules.CosineDecay(peak, steps, alpha=final)
    return schedules.CosineDecay(
        peak / warmup_steps, steps - warmup_steps, alpha=final, warmup_target=peak, warmup_steps=warmup_steps
    )


@keras.saving.register_keras_serializable(package="kerasllm")
class WarmupLinear(schedules.LearningRateSchedule):
    """A learning rate that rises and falls in straight lines; made by `warmup_linear`."""

    def __init__(self, peak, steps, warmup_steps=0, final=0.0):
        _check(peak, steps, warmup_steps, final)
        self.peak = peak
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.final = final

    def __call__(self, step):
        step = ops.cast(step, "float32")
        left = ops.clip((self.steps - step) / (self.steps - self.warmup_steps), 0.0, 1.0)  # 1 at the peak, 0 at the end
        fall = self.final + (1 - self.final) * left
        if not self.warmup_steps:
            return self.peak * fall
        first = 1 / self.warmup_steps
        return self.peak * ops.where(step < self.warmup_steps, first + (1 - first) * step / self.warmup_steps, fall)

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps, "warmup_steps": self.warmup_steps, "final": self.final}


def warmup_linear(peak, steps, warmup_steps=0, final=0.0):
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


def _check(peak, steps, warmup_steps, final):
    if not peak > 0:
        raise ValueError(f"peak must be a learning rate above 0, not {peak!r}.")
    if steps < 1:
        raise ValueError(f"steps must be a whole number from 1 up, not {steps!r}.")
    if not 0 <= warmup_steps < steps:
        raise ValueError(f"warmup_steps must be from 0 to below the {steps} steps of the run, not {warmup_steps!r}.")
    if not 0 <= final <= 1:
        raise ValueError(f"final is a share of the peak from 0 to 1, not {final!r}.")
