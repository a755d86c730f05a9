"""What both kinds of batches share."""

from __future__ import annotations

import operator
import warnings


def tensorflow():
    """TensorFlow, imported when the first data set is made.

    Only its data pipeline is used, so on another backend of Keras it must not take the GPU's memory.
    """
    # Keras warns whenever `fit` gets a tf.data.Dataset without shuffle=False. Ours are shuffled when asked to.
    warnings.filterwarnings("ignore", r"`shuffle=True` was passed, but will be ignored .* tf\.data\.Dataset")
    import keras
    import tensorflow as tf

    if keras.config.backend() != "tensorflow":
        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError:  # TensorFlow has started already: its user has decided
            pass
    return tf


def untuned(dataset):
    """The same batches without TensorFlow's tuning of the pipeline.

    There is nothing to tune in ours, and its thread makes `fit` wait at the end: a call that began less than
    five seconds ago returns after five, in about every second case (seen with TensorFlow 2.21).
    """
    options = tensorflow().data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def number(name: str, value, least: int) -> int:
    """`value` as a whole number of at least `least`; ValueError otherwise."""
    try:
        found = operator.index(value)
    except TypeError:
        found = least - 1
    if found < least:
        raise ValueError(f"{name} must be a whole number from {least} up, not {value!r}.")
    return found
