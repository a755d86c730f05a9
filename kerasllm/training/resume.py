"""A run that was killed goes on where it was."""

import json
import os
import random
import zipfile
from pathlib import Path

import keras
import numpy as np
from keras import ops


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

    Args:
        path: the file of the state, such as "runs/gpt.state.npz". Delete it to start again.

    Attributes:
        epoch: number of finished epochs; give it to `fit` as ``initial_epoch``.
        history: for each measured name the values of all epochs, also of those before the restart.

    Raises:
        ValueError: if the file holds the state of another model or is none of ours, or `fit` is
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

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)
        self.epoch = 0
        self.history = {}
        self._state = None
        if self.path.exists():
            self._state, facts = _read(self.path)
            self.epoch, self.history = facts["epoch"], facts["history"]
            self._facts = facts

    def on_train_begin(self, logs=None):
        if self._state is None:
            return
        variables = self._variables()
        for i, variable in enumerate(variables):
            if i >= len(self._state) or tuple(variable.shape) != self._state[i].shape:
                found = self._state[i].shape if i < len(self._state) else "nothing"
                raise ValueError(
                    f"{self.path} holds the state of another model or optimizer: for {variable.path} of the shape "
                    f"{tuple(variable.shape)} it has {found}. Delete the file to start again."
                )
        if len(self._state) > len(variables):
            raise ValueError(
                f"{self.path} holds the state of another model or optimizer: {len(self._state)} arrays, not "
                f"{len(variables)}. Delete the file to start again."
            )
        for variable, value in zip(variables, self._state, strict=True):
            variable.assign(value)
        version, words, gauss = self._facts["python_random"]
        random.setstate((version, tuple(words), gauss))
        kind, words, *rest = self._facts["numpy_random"]
        np.random.set_state((kind, np.array(words, "uint32"), *rest))

    def on_epoch_begin(self, epoch, logs=None):
        if epoch != self.epoch:
            raise ValueError(
                f"{self.path} has {self.epoch} finished epochs, but fit starts at {epoch}. "
                "Call fit(..., initial_epoch=resume.epoch)."
            )

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch + 1
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        kind, words, *rest = np.random.get_state()
        facts = {
            "epoch": self.epoch,
            "history": self.history,
            "python_random": random.getstate(),
            "numpy_random": [kind, words.tolist(), *rest],
        }
        _write(self.path, self._variables(), facts)

    def _variables(self):
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        return self.model.variables + optimizer.variables


def _write(path, variables, facts):
    # NumPy has no bfloat16; float32 holds its numbers exactly.
    values = [ops.cast(one, "float32") if "bfloat16" in str(one.dtype) else one for one in variables]
    arrays = {f"{i:05}": ops.convert_to_numpy(value) for i, value in enumerate(values)}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    with open(unfinished, "wb") as file:
        np.savez(file, facts=np.array(json.dumps(facts)), **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _read(path):
    try:
        with np.load(path) as file:
            facts = json.loads(str(file["facts"]))
            return [file[name] for name in sorted(file.files) if name != "facts"], facts
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a state that Resume wrote. Delete it to start again.") from error
