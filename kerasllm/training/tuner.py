"""What tuning by preferences and by rewards share: a model that is trained through a loss on log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
from keras import ops


def token_log_probabilities(logits, targets):
    """The log-probability of each target under the logits at its place.

    Args:
        logits: float tensor (..., vocabulary).
        targets: int tensor (...).

    Returns:
        float32 tensor (...), in nats.

    Example:
        >>> import math
        >>> [found] = token_log_probabilities(ops.log([[0.25, 0.75]]), ops.array([1]))
        >>> round(math.exp(float(found)), 4)
        0.75
    """
    return -ops.sparse_categorical_crossentropy(targets, ops.cast(logits, "float32"), from_logits=True)


class Tuner(keras.Model):
    """What `DPO` and `GRPO` are: Keras' own training step with a loss that is not one of Keras', on every backend.

    It trains the weights of another model, in place: that one is saved, written with and asked afterwards. Dropout
    is off, for what is compared are probabilities of the same text.

    Args:
        model: a causal language model from ids (batch, time) to logits (batch, time, vocabulary).
        measured: names of what `measure` is told.
        **kwargs: arguments of `keras.Model`.
    """

    def __init__(self, model: keras.Model, measured: Sequence[str], **kwargs):
        super().__init__(**kwargs)
        check_language_model(model)
        self.model = model
        self.measured = {name: keras.metrics.Mean(name=name) for name in measured}

    def call(self, inputs):
        ids = inputs["ids"]  # (batch, ..., time)
        logits = self.model(ops.reshape(ids, (-1, ops.shape(ids)[-1])), training=False)
        return ops.reshape(logits, (*ops.shape(ids), logits.shape[-1]))

    def measure(self, weights=None, **values) -> None:
        """Add to the means that `fit` shows: a tensor for each name, weighted alike."""
        for name, value in values.items():
            self.measured[name].update_state(ops.stop_gradient(value), sample_weight=weights)

    def get_config(self):
        raise NotImplementedError(f"Save the tuned model, not the {type(self).__name__} that trains it.")


def check_language_model(model) -> None:
    """Refuse what gives no logits of next tokens; build what is not built yet.

    Raises:
        TypeError: if `model` is no language model.
    """
    if not isinstance(model, keras.Model) or not hasattr(model, "vocabulary_size"):
        raise TypeError(f"model must be a language model such as kerasllm.models.GPT, not {type(model).__name__}.")
    if not model.built:
        model.build((None, None))
    if not model.trainable_variables:
        raise TypeError("model has nothing to train: call training.add_lora(model, rank), or set model.trainable.")


class Snapshot:
    """The trainable weights of a model as they are now, to look back at.

    Only they can change, so with adapters it is small, and a full model is held once more.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
        >>> start = Snapshot(model)
        >>> _ = model.layers[0].kernel.assign([[3.0]])
        >>> with start.restored():
        ...     float(model(ops.ones((1, 1)))[0, 0])
        1.0
        >>> float(model(ops.ones((1, 1)))[0, 0])
        3.0
    """

    def __init__(self, model: keras.Model):
        self.variables = list(model.trainable_variables)
        self.values = self._now()

    def _now(self):
        return [ops.copy(variable.value) for variable in self.variables]

    def _assign(self, values) -> None:
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Within the block the model has the weights of the snapshot, behind it those it had before."""
        now = self._now()
        try:
            self._assign(self.values)
            yield
        finally:
            self._assign(now)
