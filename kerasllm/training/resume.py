"""A run that was killed goes on where it was."""

from __future__ import annotations

import json
import os
import random
import zipfile
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
from keras import ops

from kerasllm.common import write_whole
from kerasllm.training.configurations import configuration, first_difference


class Resume(keras.callbacks.Callback):
    """Store the state of a run after every epoch, and go on from there when the script starts again.

    The same script continues a run that was killed at any moment, and it ends with the weights and
    the losses of a run that was not. The file holds the weights, the optimizer, the state of every
    dropout, Python's and NumPy's global random generators, the number of finished epochs and what
    they measured. It is replaced in one step: a kill while it is written leaves the one before.

    `keras.callbacks.BackupAndRestore` does not serve here: by its source it writes its two
    files in place, and after a stop in the middle of an epoch it repeats batches
    that it has seen.

    Equal losses need data whose order follows from the epoch: `kerasllm.batches.padded` takes
    ``start_epoch=resume.epoch``, `kerasllm.batches.windows` takes ``start_step=resume.epoch *
    steps_per_epoch``. Arrays that `fit` itself shuffles come in another order after a restart. A kill
    costs at most one epoch; for long runs make epochs short with ``fit(..., steps_per_epoch=...)``. They
    may end in the middle of an accumulation of gradients. Callbacks with a memory of their own, such as
    early stopping, begin anew.

    A callback that is given to several calls of `fit` reads its file when the model is another one, or when the call
    before was stopped in the middle of an epoch; a model that has finished its epochs goes on as it is.

    Args:
        path: the file of the state, such as "runs/gpt.state.npz". Delete it to start again.
        longer: whether the learning rate may be another one, or have another schedule, than the state was written
            with. A run that is finished has a rate that fell to its end; to make it longer, give the optimizer a
            schedule with more steps, and this. Everything else must be as it was.

    Attributes:
        epoch: number of finished epochs; give it to `fit` as ``initial_epoch``.
        history: for each measured name the values of all epochs, also of those before the restart.

    Raises:
        ValueError: if the file holds the state of another model or optimizer or is none of ours, or `fit` is
            not started at ``initial_epoch=resume.epoch``.

    Example:
        >>> import tempfile, keras
        >>> path = tempfile.mkdtemp() + "/run.npz"
        >>> def train(epochs):
        ...     keras.utils.set_random_seed(1)
        ...     model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        ...     model.compile("adam", "mse")
        ...     resume, ones = Resume(path), keras.ops.ones((4, 1))
        ...     model.fit(ones, ones, epochs=epochs, initial_epoch=resume.epoch, callbacks=[resume], verbose=0)
        ...     return resume
        >>> _ = train(epochs=2)     # as if it was killed after two of the five epochs
        >>> resume = train(epochs=5)
        >>> resume.epoch, len(resume.history["loss"])
        (5, 5)
    """

    def __init__(self, path: str | os.PathLike, longer: bool = False):
        super().__init__()
        self.path = Path(path)
        self.longer = longer
        self.epoch = 0
        self.history = {}
        self._configuration = None  # of the run's start: callbacks may lower a rate later
        self._known = None  # the model that this callback has loaded or seen trained
        self._between_epochs = False
        if self.path.exists():
            facts = _read_facts(self.path)
            self.epoch, self.history = facts["epoch"], facts["history"]

    def on_train_begin(self, logs=None):
        if self._known is not self.model:
            self._configuration = found = configuration(self.model)
            rate = self._compare(_read_facts(self.path), found) if self.epoch else None
        elif self._between_epochs:
            return
        else:
            rate = None
        if self.epoch:
            self._load()
        if rate is not None:
            self.model.optimizer.learning_rate = rate
        self._known = self.model

    def _compare(self, facts, found):
        """Refuse the state of another run; a new constant rate if there is one."""
        stored = facts.get("configuration")
        if stored is None:  # a file of an earlier version: shapes will be compared
            return None
        difference = first_difference(stored, found, ("learning_rate",) if self.longer else ())
        if difference:
            fix = "Delete the file to start again"
            if "learning_rate" in difference:
                fix += ", or go on with the new learning rate: Resume(path, longer=True)"
            raise ValueError(f"{self.path} is the state of another model or optimizer: {difference}. {fix}.")
        before, now = _constant_rate(stored), _constant_rate(found)
        return now if now != before else None

    def _load(self):
        if not self.model.weights:
            raise ValueError(f"{self.path} cannot be loaded into a model without weights: call it once on a batch.")
        values, facts = _read_values(self.path), _read_facts(self.path)
        variables = self._variables()
        for i, variable in enumerate(variables):
            if i >= len(values) or tuple(variable.shape) != values[i].shape:
                found = values[i].shape if i < len(values) else "nothing"
                raise ValueError(
                    f"{self.path} holds the state of another model or optimizer: for {variable.path} of the shape "
                    f"{tuple(variable.shape)} it has {found}. Delete the file to start again."
                )
        if len(values) > len(variables):
            raise ValueError(
                f"{self.path} holds the state of another model or optimizer: {len(values)} arrays, not "
                f"{len(variables)}. Delete the file to start again."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        version, words, gauss = facts["python_random"]
        random.setstate((version, tuple(words), gauss))
        kind, words, *rest = facts["numpy_random"]
        np.random.set_state((kind, np.array(words, "uint32"), *rest))

    def on_epoch_begin(self, epoch, logs=None):
        self._between_epochs = False
        if epoch != self.epoch:
            raise ValueError(
                f"{self.path} has {self.epoch} finished epochs, but fit starts at {epoch}. "
                "Call fit(..., initial_epoch=resume.epoch)."
            )

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch + 1
        for name, value in (logs or {}).items():
            # A number, or a list of them: some metrics measure each class.
            self.history.setdefault(name, []).append(np.asarray(ops.convert_to_numpy(value), float).tolist())
        kind, words, *rest = np.random.get_state()
        facts = {
            "epoch": self.epoch,
            "history": self.history,
            "configuration": self._configuration,
            "python_random": random.getstate(),
            "numpy_random": [kind, words.tolist(), *rest],
        }
        _write(self.path, self._variables(), facts)
        self._between_epochs = True

    def _variables(self):
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        return self.model.variables + optimizer.variables


def _constant_rate(found):
    """The learning rate of a configuration, if it is a number."""
    config = found["optimizer"]["config"]
    config = config.get("inner_optimizer", {}).get("config", config)  # under mixed_float16 there is one inside
    rate = config.get("learning_rate")
    return None if isinstance(rate, dict) else rate


def _write(path, variables, facts):
    # NumPy has no bfloat16; float32 holds its numbers exactly.
    values = [ops.cast(one, "float32") if "bfloat16" in str(one.dtype) else one for one in variables]
    arrays = {f"{i:05}": ops.convert_to_numpy(value) for i, value in enumerate(values)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as unfinished, open(unfinished, "wb") as file:
        np.savez(file, facts=np.array(json.dumps(facts)), **arrays)


@contextmanager
def _opened(path):
    try:
        with np.load(path) as file:
            yield file
    except FileNotFoundError as error:
        raise ValueError(f"{path} was there when Resume was made, and is gone. Make a new Resume.") from error
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a state that Resume wrote. Delete it to start again.") from error


def _read_facts(path):
    with _opened(path) as file:
        facts = json.loads(str(file["facts"]))
        if not isinstance(facts["epoch"], int) or not isinstance(facts["history"], dict):
            raise ValueError("no number of epochs")
        return facts


def _read_values(path):
    with _opened(path) as file:
        return [file[name] for name in sorted(file.files) if name != "facts"]
