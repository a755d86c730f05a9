"""The model of a run: its sizes, the memory that a step takes, and the GPT itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from kerasllm import models
from kerasllm.training.run_settings import RunError, RunSettings

# Names of a run's settings, and of the model's.
SIZES = {"layers": "num_layers", "heads": "num_heads", "width": "embedding_dim", "context": "context_length"}


def model_sizes(settings: RunSettings, vocabulary_size: int) -> dict[str, Any]:
    """The settings of the model: the configuration's, changed by those of the run."""
    from kerasllm.models.gpt import CONFIGURATIONS

    if settings.config not in CONFIGURATIONS:
        raise RunError(f"There is no configuration {settings.config!r}. Use one of {', '.join(CONFIGURATIONS)}")
    changes = {argument: getattr(settings, name) for name, argument in SIZES.items() if getattr(settings, name)}
    changes |= {"vocabulary_size": vocabulary_size, "dropout": settings.dropout}
    return {**CONFIGURATIONS[settings.config], **changes}


def build_model(settings: RunSettings, sizes: dict[str, Any]) -> keras.Model:
    """The GPT with random weights."""
    policy = {"dtype": f"mixed_{settings.mixed_precision}"} if settings.mixed_precision else {}
    try:
        model = models.GPT(**sizes, **policy)
        model.build((None, None))
    except ValueError as error:
        heads = ". head_dim is width divided by heads" if "head" in str(error) else ""
        raise RunError(" ".join(str(error).split()).rstrip(".") + heads) from error
    return model


def check_memory(settings: RunSettings, sizes: dict[str, Any]) -> None:
    """Refuse what cannot fit into the memory of this machine. The estimate is a lower bound.

    Raises:
        RunError: with the number that would fit.
    """
    if any(not device.startswith("cpu") for device in keras.distribution.list_devices()):
        return  # a GPU has memory of its own, which its library watches
    memory = machine_memory()
    width, blocks = sizes["embedding_dim"], sizes["num_layers"]
    weights = 12 * blocks * width**2 + sizes["vocabulary_size"] * width
    kept = 4 * 3 * weights  # bytes: weights, gradients, at least one moment
    if kept > memory:
        raise RunError(
            f"a model of {weights:,} weights takes at least {_size(kept)} in training, this machine has "
            f"{_size(memory)}: take fewer layers or a smaller width"
        )
    bytes_each = 2 if settings.mixed_precision else 4
    # Of each token: its logits, and what each block keeps for the way back.
    row = bytes_each * sizes["context_length"] * (sizes["vocabulary_size"] + 4 * blocks * width)
    if kept + settings.batch * row > memory:
        fits = max(1, int((memory - kept) // row))
        raise RunError(
            f"batch={settings.batch} takes at least {_size(kept + settings.batch * row)} a step, this machine has "
            f"{_size(memory)}: take batch={fits} or less"
        )


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
