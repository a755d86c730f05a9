"""The model and the tokenizer of a name, a folder or a file."""

from __future__ import annotations

from pathlib import Path

from kerasllm.cli.errors import UserError, told
from kerasllm.cli.options import NAMED
from kerasllm.cli.starting import load_keras, quiet
from kerasllm.cli.trained import load_run


def load_model(name_or_path: str):
    """A language model and its tokenizer.

    Args:
        name_or_path: the folder of a run, as train writes it; a folder from Hugging Face, with config.json,
            safetensors and tokenizer.json; a file of llama.cpp, ``*.gguf``; or the name of a trained model, see
            `kerasllm.weights.pretrained`. A path that exists is a path, whatever its name.

    Returns:
        A pair of a model and a `kerasllm.text.Tokenizer`.

    Raises:
        UserError: if there is nothing of the kind, or it cannot be read.
    """
    path = Path(name_or_path)
    if path.is_dir():
        return _read("from_hugging_face", path) if (path / "config.json").is_file() else load_run(path)
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise UserError(f"{path} is no *.gguf file: name one, or the folder in which a model lies")
        return _read("from_gguf", path)
    if name_or_path not in NAMED:
        raise UserError(
            f"there is no {path}: name the folder that train --out wrote, a folder from Hugging Face, a *.gguf "
            f"file, or {', '.join(NAMED)}"
        )
    load_keras()
    with quiet():
        from kerasllm import data, weights

        with told(data.DataError):
            return weights.pretrained(name_or_path)


def _read(reader: str, path: Path):
    """What a function of `kerasllm.weights` reads."""
    load_keras()
    with quiet():
        from kerasllm import weights

        with told(OSError, ValueError, TypeError, about=f"{path}: "):
            model, tokenizer = getattr(weights, reader)(path)
    if not hasattr(model, "make_cache"):
        raise UserError(f"{path} holds a {type(model).__name__}, which reads and cannot write: name a language model")
    if tokenizer is None:
        raise UserError(f"{path} has no tokenizer that can be read: put tokenizer.json beside config.json")
    return model, tokenizer
