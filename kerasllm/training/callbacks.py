"""Callbacks for `fit`."""

from __future__ import annotations

import sys

import keras
import numpy as np

from kerasllm.common import whole_number


class ProgressLine(keras.callbacks.Callback):
    """Print one line for an epoch instead of a bar; use it with ``fit(..., verbose=0)``.

    At a terminal the running epoch is shown as well, on a line that rewrites itself. A notebook
    and a log file get finished lines only, without colours and times: the same run prints the same.

    Args:
        every: print each `every`-th epoch; the first and the last one always.

    Raises:
        ValueError: if `every` is not a whole number from 1 up.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse")
        >>> ones = keras.ops.ones((4, 1))
        >>> _ = model.fit(ones, 0 * ones, epochs=2, verbose=0, callbacks=[ProgressLine()])
        epoch 1/2  loss 0
        epoch 2/2  loss 0
    """

    def __init__(self, every: int = 1):
        super().__init__()
        self.every = whole_number("every", every)
        self._unprinted = None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if sys.stdout.isatty():
            total = self.params.get("steps") or "?"
            print(f"\repoch {self._epoch + 1}: step {batch + 1}/{total}\033[K", end="", flush=True)

    def on_epoch_end(self, epoch, logs=None):
        if sys.stdout.isatty():
            print("\r\033[K", end="")
        epochs = self.params["epochs"]
        measured = "  ".join(f"{name} {_short(value)}" for name, value in (logs or {}).items())
        self._unprinted = f"epoch {epoch + 1:>{len(str(epochs))}}/{epochs}  {measured}"
        if epoch % self.every == 0 or epoch + 1 == epochs:
            self._print()

    def on_train_end(self, logs=None):
        self._print()  # an epoch that became the last one because training was stopped

    def _print(self):
        if self._unprinted is not None:
            print(self._unprinted)
        self._unprinted = None


def _short(value) -> str:
    """A number, or the numbers of a metric that measures each class."""
    numbers = np.asarray(keras.ops.convert_to_numpy(value), float)
    return " ".join(f"{number:.4g}" for number in numbers.ravel())
