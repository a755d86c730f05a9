"""The model and the tokenizer of a name, a folder or a file."""

from __future__ import annotations

from pathlib import Path

from kerasllm.cli.errors import UserError, told
from kerasllm.cli.options import NAMED
from kerasllm.cli.starting import load_keras, quiet
from kerasllm.cli.trained import load_run


def load_model(name_or_path: str, numbers: str = "auto"):
    """A language model and its tokenizer.

    Args:
        name_or_path: the folder of a run, as train or tune writes it; a folder from Hugging Face, with config.json,
            safetensors and tokenizer.json; a file of llama.cpp, ``*.gguf``; or the name of a trained model, see
            `kerasllm.weights.pretrained`. A path that exists is a path, whatever its name.
        numbers: those of a `kerasllm.models.FastGPT`; "auto" takes those of the file where they are of 4 or 8 bits and
            there is a CPU alone; "full" makes a `kerasllm.models.GPT`.

    Returns:
        A pair of a model and a `kerasllm.text.Tokenizer`.

    Raises:
        UserError: if there is nothing of the kind, or it cannot be read.
    """
    path = Path(name_or_path)
    if (path / "tune.json").is_file():
        return _tuned(path, numbers)
    if path.is_dir() and not (path / "config.json").is_file():
        return _packed(*load_run(path), numbers)
    if path.is_dir():
        return _read("from_hugging_face", path, None if numbers in ("auto", "full") else numbers)
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise UserError(f"{path} is no *.gguf file: name one, or the folder in which a model lies")
        load_keras()
        return _read("from_gguf", path, _wanted(numbers, "file"))
    if name_or_path not in NAMED:
        raise UserError(
            f"there is no {path}: name the folder that train --out wrote, a folder from Hugging Face, a *.gguf "
            f"file, or {', '.join(NAMED)}"
        )
    load_keras()
    with quiet():
        from kerasllm import data, weights

        with told(data.DataError):
            auto = "int4" if name_or_path == "smollm2-135m-instruct" else None
            return weights.pretrained(name_or_path, _wanted(numbers, auto))


def _tuned(folder: Path, numbers: str):
    """The model that was tuned in a folder, with its adapter in its weights."""
    if not (folder / "adapter.safetensors").is_file():
        raise UserError(f"there is no adapter.safetensors in {folder}: tune writes it at the first evaluation")
    load_keras()
    from kerasllm import training
    from kerasllm.training.tune_run import read_tuned

    with told(training.RunError):
        base = read_tuned(folder)["base"]
    model, tokenizer = load_model(base, "full")
    with told(ValueError, OSError):
        training.merge_adapter(training.load_adapter(model, folder / "adapter.safetensors"))
    return _packed(model, tokenizer, numbers)


def _wanted(numbers: str, auto: str | None) -> str | None:
    """The numbers of a `FastGPT`, None for a `GPT`. A graphics card computes with floats faster."""
    import keras

    if numbers == "auto":
        return None if keras.distribution.list_devices("gpu") else auto
    return None if numbers == "full" else numbers


def _packed(model, tokenizer, numbers: str):
    if numbers in ("auto", "full"):
        return model, tokenizer
    from kerasllm.models import FastGPT

    with told(TypeError, ValueError, about="--numbers: "):
        return FastGPT.of(model, numbers), tokenizer


def _read(reader: str, path: Path, numbers: str | None):
    """What a function of `kerasllm.weights` reads."""
    load_keras()
    with quiet():
        from kerasllm import weights

        with told(OSError, ValueError, TypeError, about=f"{path}: "):
            model, tokenizer = getattr(weights, reader)(path, numbers=numbers)
    if not hasattr(model, "make_cache"):
        raise UserError(f"{path} holds a {type(model).__name__}, which reads and cannot write: name a language model")
    if tokenizer is None:
        raise UserError(f"{path} has no tokenizer that can be read: put tokenizer.json beside config.json")
    return model, tokenizer
