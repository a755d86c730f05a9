"""What the file of a compiled model names: AdamW that says which weights it does not decay, and a schedule.

`kerasllm.training` makes them. They stand before the layers, which import this file: whoever can load a layer or a
model can load the optimizer that stands in the same file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import keras
from keras import ops

from kerasllm.common import positive, share, whole_number


@keras.saving.register_keras_serializable(package="kerasllm")
class AdamW(keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` that remembers in its config which weights it does not decay.

    Keras sets them by a method, and the optimizer that comes back from a file decays all weights. Here they are an
    argument, compared with the name of the weight alone: under TensorFlow, Keras also looks at the names of its layers.

    Args:
        *args: those of `keras.optimizers.AdamW`.
        undecayed: words; a weight whose name has one of them in it is not decayed.
        **kwargs: those of `keras.optimizers.AdamW`.

    Raises:
        ValueError: if `undecayed` is not words.

    Example:
        >>> optimizer = AdamW(1e-3, weight_decay=0.1, undecayed=["bias"])
        >>> AdamW.from_config(optimizer.get_config()).undecayed
        ['bias']

    Reference: Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2.
    """

    def __init__(self, *args, undecayed: Sequence[str] = (), **kwargs):
        super().__init__(*args, **kwargs)
        self.undecayed = _words(undecayed)

    def build(self, variables):
        if not self.built and self.undecayed:
            names = re.compile("|".join(self.undecayed))
            super().exclude_from_weight_decay(var_list=[one for one in variables if names.search(one.name)])
        super().build(variables)

    def exclude_from_weight_decay(self, var_list=None, var_names: Sequence[str] | None = None):
        """Set `undecayed` to the words `var_names`; variables themselves are refused, a file cannot hold them."""
        if var_list:
            raise ValueError(
                f"var_list has {len(var_list)} variables, which would be decayed again after the optimizer is saved "
                "and loaded. Give words of their names: var_names=['bias']."
            )
        if self.built:
            raise ValueError("The optimizer is built already. Say what it does not decay before the first step.")
        self.undecayed = _words(var_names or ())

    def get_config(self):
        return {**super().get_config(), "undecayed": list(self.undecayed)}


def _words(undecayed) -> list[str]:
    words = None if isinstance(undecayed, str) else list(undecayed)
    if words is None or not all(isinstance(word, str) and word for word in words):
        raise ValueError(f"undecayed must be a list of words such as ['bias'], not {undecayed!r}.")
    return words


@keras.saving.register_keras_serializable(package="kerasllm")
class WarmupLinear(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises and falls in straight lines; made by `kerasllm.training.warmup_linear`.

    Args:
        peak: the highest learning rate.
        steps: steps of the whole run, warm-up included.
        warmup_steps: steps of the rise; 0 starts at the peak.
        final: the rate at the end, as a share of the peak.

    Raises:
        ValueError: if `peak` or `steps` is not positive, the warm-up does not leave a step, or
            `final` is not in [0, 1].

    Example:
        >>> float(WarmupLinear(0.5, steps=4)(2))
        0.25
    """

    def __init__(self, peak: float, steps: int, warmup_steps: int = 0, final: float = 0.0):
        self.peak, self.steps, self.warmup_steps, self.final = schedule_numbers(peak, steps, warmup_steps, final)

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


def schedule_numbers(peak, steps, warmup_steps, final) -> tuple[float, int, int, float]:
    """The four numbers of a schedule as Python's own.

    Raises:
        ValueError: if one of them makes no sense.

    Example:
        >>> schedule_numbers(1, 100, 0, 0)
        (1.0, 100, 0, 0.0)
    """
    steps = whole_number("steps", steps)
    return (
        positive("peak", peak),
        steps,
        whole_number("warmup_steps", warmup_steps, least=0, most=steps - 1),
        share("final", final, closed=True),
    )
