"""Stop at the first loss that is no number, and keep what caused it."""

from __future__ import annotations

from collections import deque
from itertools import chain

import keras
import numpy as np

from kerasllm.common import whole_number


class StopAtNaN(keras.callbacks.Callback):
    """Stop at the first loss that is NaN or infinite, name the step and keep its batch.

    `keras.callbacks.TerminateOnNaN` stops too, but the batch is gone. A callback never sees the
    data, so this one looks at it on its way to `fit`: wrap it with `watch`.

    The next call of `fit` begins anew: what was found is forgotten.

    Args:
        keep: how many of the last batches are kept at hand; more than what is read ahead.

    Attributes:
        step: the step of the epoch, counted from 0, whose loss was no number; None until then.
        epoch: its epoch, counted from 0.
        batches: the batches of that step; several with ``steps_per_execution`` above 1, empty
            when the data was not watched.

    Raises:
        ValueError: if `keep` is not a whole number from 1 up. In `watch`: if the data has no length.

    Example:
        >>> import keras, numpy as np
        >>> inputs = np.ones((8, 1), "float32")
        >>> inputs[5] = np.nan
        >>> batches = [(inputs[i : i + 2], inputs[i : i + 2]) for i in range(0, 8, 2)]
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> guard = StopAtNaN()
        >>> _ = model.fit(guard.watch(batches), epochs=2, verbose=0, shuffle=False, callbacks=[guard])
        stopped: the loss of epoch 1, step 3 is nan
        >>> guard.batches[0][0].ravel()
        array([ 1., nan], dtype=float32)
    """

    def __init__(self, keep: int = 64):
        super().__init__()
        self.step = self.epoch = None
        self.batches = []
        self._seen = deque(maxlen=whole_number("keep", keep))

    def on_train_begin(self, logs=None):
        self.step = self.epoch = None
        self.batches = []

    def watch(self, data) -> keras.utils.PyDataset:
        """The same batches for `fit`; the last ones are kept at hand.

        Args:
            data: a `tf.data.Dataset` with a length, such as `kerasllm.batches` makes, a list of batches, a
                `keras.utils.PyDataset`, or anything else with a length that can be iterated again and again.

        Returns:
            A `keras.utils.PyDataset`, read by one thread: with several, nobody knows which step a batch is for.

        Raises:
            ValueError: if the data does not know how many batches it has.
        """
        return _Watched(data, self._seen)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self._first = batch

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))
        if np.isfinite(loss) or self.step is not None:
            return
        self.epoch, self.step = self._epoch, batch
        self.batches = [kept for step, kept in list(self._seen) if self._first <= step <= batch]
        self.model.stop_training = True
        print(f"stopped: the loss of epoch {self.epoch + 1}, step {batch + 1} is {loss:g}")


class _Watched(keras.utils.PyDataset):
    """Gives the batches of `data` and notes them with the number of the step that they are for."""

    def __init__(self, data, seen):
        super().__init__(workers=1)
        self.data = data
        self.seen = seen
        self.indexed = hasattr(data, "__getitem__")
        try:
            self.length = data.num_batches if isinstance(data, keras.utils.PyDataset) else len(data)
        except TypeError as error:
            raise ValueError(f"The data does not know how many batches it has ({error}): give it a length.") from error
        self._rewind()

    def _rewind(self):
        self.step, self.looked_at, self.iterator, self.running = 0, [], None, False

    @property
    def num_batches(self):
        return self.length

    def __getitem__(self, index):
        # fit may ask for the batches in another order; they are trained on in the order it asks.
        batch = self.data[index] if self.indexed else self._next()
        if self.running:
            self.seen.append((self.step, batch))
        self.step += 1
        return batch

    def _next(self):
        if self.iterator is None:
            self.iterator = iter(self.data)
        batch = next(self.iterator)
        if not self.running:
            self.looked_at.append(batch)
        return batch

    def on_epoch_begin(self):
        # What fit looks at before the first step does not count, and it is not lost: it comes again.
        if self.looked_at:
            self.iterator = chain(self.looked_at, self.iterator)
        self.step, self.looked_at, self.running = 0, [], True
        self.seen.clear()
        if hasattr(self.data, "on_epoch_begin"):
            self.data.on_epoch_begin()

    def on_epoch_end(self):
        if self.running:  # fit also says so after it has looked at the first batches
            self._rewind()
        if hasattr(self.data, "on_epoch_end"):
            self.data.on_epoch_end()
