"""The model of a run: its sizes, the memory that a step takes, and the GPT itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import keras

from kerasllm import models
from kerasllm.training.run_settings import RunError, RunSettings

# Names of a run's settings, and of the model's.
SIZES = {"layers": "num_layers", "heads": "num_heads", "width": "embedding_dim", "context": "context_length"}


def model_settings(settings: RunSettings, vocabulary_size: int) -> models.GPTSettings:
    """The settings of the model: those of the named configuration, changed by those of the run."""
    changes = {argument: getattr(settings, name) for name, argument in SIZES.items() if getattr(settings, name)}
    with _said():
        return models.preset(settings.config, vocabulary_size=vocabulary_size, dropout=settings.dropout, **changes)


def build_model(settings: RunSettings, chosen: models.GPTSettings) -> keras.Model:
    """The GPT with random weights."""
    policy = {"dtype": f"mixed_{settings.mixed_precision}"} if settings.mixed_precision else {}
    with _said():
        return models.GPT(chosen, name="gpt", **policy)  # the same name, so that equal runs write equal files


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """Sizes that do not fit each other are an error of the run."""
    try:
        yield
    except ValueError as error:
        heads = ". head_dim is width divided by heads" if "head" in str(error) else ""
        raise RunError(" ".join(str(error).split()).rstrip(".") + heads) from error


def check_memory(settings: RunSettings, chosen: models.GPTSettings) -> None:
    """Refuse what cannot fit into the memory of this machine. The estimate is a lower bound.

    Raises:
        RunError: with the number that would fit.
    """
    if not on_cpu():
        return  # a GPU has memory of its own, which its library watches
    memory = machine_memory()
    width, blocks = chosen.embedding_dim, chosen.num_layers
    weights = 12 * blocks * width**2 + chosen.vocabulary_size * width
    kept = 4 * 3 * weights  # bytes: weights, gradients, at least one moment
    if kept > memory:
        raise RunError(
            f"a model of {weights:,} weights takes at least {_size(kept)} in training, this machine has "
            f"{_size(memory)}: take fewer layers or a smaller width"
        )
    bytes_each = 2 if settings.mixed_precision else 4
    # Of each token: its logits, and what each block keeps for the way back.
    row = bytes_each * chosen.context_length * (chosen.vocabulary_size + 4 * blocks * width)
    if kept + settings.batch * row > memory:
        fits = max(1, int((memory - kept) // row))
        raise RunError(
            f"batch={settings.batch} takes at least {_size(kept + settings.batch * row)} a step, this machine has "
            f"{_size(memory)}: take batch={fits} or less"
        )


def on_cpu() -> bool:
    """Whether Keras computes on processors alone."""
    if keras.backend.backend() == "torch":  # Keras cannot list its devices: look where a number lies
        return keras.ops.zeros(()).device.type == "cpu"
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def machine_memory() -> float:
    """Bytes of memory that this process may use at most; infinite where that is not known."""
    found = [float("inf")]
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Windows
        pass
    try:
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))  # a container's limit
    except (OSError, ValueError):
        pass
    return min(found)


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
