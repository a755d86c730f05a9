"""From batches that are numbered to a data set that Keras reads: what all feeds share."""

from __future__ import annotations

import abc
import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kerasllm.common import whole_number

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

MOST_BYTES = 1 << 30  # the ids of one batch; more is a slip of the pen


@dataclass(frozen=True)
class Spec:
    """Shape and type of one array of a batch; None is a size that differs between batches."""

    shape: tuple[int | None, ...]
    dtype: str


class Batches(abc.ABC):
    """Numbered batches of NumPy arrays. Batch k depends on the arguments and k alone.

    Attributes:
        first: the number of the first batch of a reading.
        last: the number after the last one.
        steps_per_epoch: batches in an epoch.
        shard: (index, count) of the host that reads, among the hosts that share each batch.
    """

    first: int
    last: int
    steps_per_epoch: int
    shard: tuple[int, int]

    @abc.abstractmethod
    def batch(self, step: int) -> Any:
        """Batch number `step` as `fit` takes it: inputs, or a tuple (inputs, targets[, weights])."""

    @property
    @abc.abstractmethod
    def spec(self) -> Any:
        """What `batch` returns, with a `Spec` in the place of each array."""

    def own(self, rows):
        """The rows of this host among those of the whole batch."""
        index, count = self.shard
        size = len(rows) // count
        return rows[index * size : (index + 1) * size]

    def pipeline(self, tf) -> tf.data.Dataset:
        """The batches of a reading as a `tf.data.Dataset`."""
        from keras import tree

        spec = self.spec
        leaves = tree.flatten(spec)

        def read(step):
            found = tf.numpy_function(
                lambda step: tree.flatten(self.batch(int(step))), [step], [leaf.dtype for leaf in leaves]
            )
            found = [tf.ensure_shape(array, leaf.shape) for array, leaf in zip(found, leaves, strict=True)]
            return tree.pack_sequence_as(spec, found)

        return tf.data.Dataset.range(self.first, self.last).map(read)


def dataset(batches: Batches) -> tf.data.Dataset | keras.utils.PyDataset:
    """The batches as Keras reads them: by TensorFlow where it is installed, else by Keras itself."""
    tf = tensorflow()
    made = _python_feed()(batches) if tf is None else untuned(batches.pipeline(tf).prefetch(4))
    made.steps_per_epoch = batches.steps_per_epoch
    return made


def steps_per_epoch(feed: tf.data.Dataset | keras.utils.PyDataset) -> int:
    """How many batches make an epoch of a feed: what `fit` must be told as ``steps_per_epoch``.

    Args:
        feed: what a function of `kerasllm.batches` returned.

    Returns:
        The number of batches that show each row once. For shuffled `windows`, whose passes do not end with a
        batch: the whole batches in a pass.

    Raises:
        ValueError: if the feed is another one, or one that was changed since (by `map`, `take`, ...).

    Example:
        >>> from kerasllm import batches
        >>> train = batches.padded([[1], [2], [3]], batch_size=2, shuffle=True, epochs=5)
        >>> batches.steps_per_epoch(train), len(train)
        (2, 10)
    """
    found = getattr(feed, "steps_per_epoch", None)
    if found is None:
        raise ValueError(
            f"A {type(feed).__name__} does not say how many batches make an epoch. Ask the feed that "
            "kerasllm.batches returned, before it is changed by map, take and the like."
        )
    return found


def tensorflow():
    """TensorFlow, imported when the first data set is made; None where it is not installed.

    Only its data pipeline is used, so on another backend of Keras it must not take the GPU's memory.
    """
    # Keras warns whenever `fit` gets a tf.data.Dataset without shuffle=False. Ours are shuffled when asked to.
    warnings.filterwarnings("ignore", r"`shuffle=True` was passed, but will be ignored .* tf\.data\.Dataset")
    import keras

    try:
        import tensorflow as tf
    except ImportError:
        return None
    if keras.config.backend() != "tensorflow":
        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError:  # TensorFlow has started already: its user has decided
            pass
    return tf


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches without TensorFlow's tuning of the pipeline.

    There is nothing to tune in ours, and its thread makes `fit` wait at the end: a call that began less than
    five seconds ago returns after five, in about every second case (seen with TensorFlow 2.21).
    """
    options = tensorflow().data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@functools.cache
def _python_feed() -> type[keras.utils.PyDataset]:
    import keras

    class PythonFeed(keras.utils.PyDataset):
        """The batches of a reading, made when they are asked for."""

        def __init__(self, batches: Batches):
            super().__init__(workers=1)
            self.batches = batches
            self._next = set()  # what the readers under way will ask for next

        def __len__(self) -> int:
            return self.batches.last - self.batches.first

        def __iter__(self) -> Iterator:
            return map(self.batches.batch, range(self.batches.first, self.batches.last))

        as_numpy_iterator = __iter__

        def __getitem__(self, index: int):
            # `fit` shuffles what has a length unless told not to. Other backends cannot, so all must not.
            if index and index not in self._next:
                raise ValueError(
                    f"Batch {index} was asked for out of turn. The order of the batches is decided where they are "
                    "made, and fit would shuffle them again: pass shuffle=False to fit."
                )
            self._next.discard(index)
            self._next.add(index + 1)
            return self.batches.batch(self.batches.first + index)

    return PythonFeed


def checked_shard(shard: tuple[int, int] | None, batch_size: int) -> tuple[int, int]:
    """`shard` as (index, count), checked; the only host when None."""
    if shard is None:
        return 0, 1
    try:
        index, count = shard
    except (TypeError, ValueError):
        raise ValueError(
            f"shard must be (index, count), such as (0, 2) on the first of two hosts, not {shard!r}."
        ) from None
    count = whole_number("The count of shard", count)
    index = whole_number("The index of shard", index, least=0, most=count - 1)
    if batch_size % count:
        raise ValueError(
            f"batch_size={batch_size} cannot be cut into equal parts for {count} hosts. It counts the rows of all "
            f"hosts together: take a multiple of {count}."
        )
    return index, count


def checked_pad(name: str, value) -> int:
    """An id to fill up with; where the tokenizer has none, the error says what to do."""
    if value is None:
        raise ValueError(
            f"{name} is None: the tokenizer has no token for padding. Give any id that it has, such as "
            f"{name}=tokenizer.eos_id, and let mask or weights say what is padding; or load the tokenizer with pad=."
        )
    return whole_number(name, value, least=0)


def checked_batch(what: str, batch_size: int, rows: int, length: int, full: bool) -> None:
    """Refuse a batch that cannot be held in memory, or filled, where every batch has to be `full`."""
    if full and batch_size > rows:
        raise ValueError(
            f"batch_size={batch_size} is more than the {rows} {what} there are, so some would come twice in a batch "
            f"or the batch is never full. Take batch_size={rows} or less."
        )
    size = 4 * min(batch_size, rows) * length
    if size > MOST_BYTES:
        raise ValueError(
            f"A batch of {min(batch_size, rows)} {what} of {length} ids takes {size / 2**30:,.1f} GiB, and the limit "
            f"is {MOST_BYTES >> 30} GiB. Take a smaller batch_size"
            + (f" ({MOST_BYTES // (4 * length)} or less)." if 4 * length <= MOST_BYTES else ", and shorter rows.")
        )
