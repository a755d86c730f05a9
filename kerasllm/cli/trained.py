"""The model and the tokenizer of a run's folder, checked against each other."""

from __future__ import annotations

from pathlib import Path

from kerasllm.cli.errors import UserError, told
from kerasllm.cli.starting import load_keras, quiet


def load_run(folder: Path):
    """The model that train stored in a folder, and its tokenizer.

    Raises:
        UserError: if one is missing, they do not belong together, or the weights are no numbers.
    """
    if not (folder / "model.safetensors").is_file():
        started = (folder / "settings.json").exists()
        reason = "train writes it at the first evaluation" if started else "name the folder that train --out wrote"
        raise UserError(f"there is no model.safetensors in {folder}: {reason}")
    from kerasllm.text import Tokenizer

    with told(OSError, ValueError):
        tokenizer = Tokenizer.load(folder)
    load_keras()
    with quiet():
        from kerasllm.weights import load_safetensors

        with told(OSError, ValueError):
            model = load_safetensors(folder / "model.safetensors")
    _check_tokenizer(folder, model, tokenizer)
    _check_numbers(folder, model)
    return model, tokenizer


def _check_tokenizer(folder: Path, model, tokenizer) -> None:
    from kerasllm.training.run_settings import tokenizer_fingerprint

    path, fix = folder / "tokenizer.json", "bring back the tokenizer.json that the model was trained with"
    rows = getattr(model, "vocabulary_size", None)
    if rows is None:
        raise UserError(f"{folder / 'model.safetensors'} holds a {type(model).__name__}, no language model")
    if rows < tokenizer.vocabulary_size:  # more rows are filling
        raise UserError(f"{path} has {tokenizer.vocabulary_size} tokens, the model {rows}: {fix}")
    if tokenizer_fingerprint(folder) not in (None, tokenizer.fingerprint):
        raise UserError(f"{path} is not the one that settings.json names: {fix}")


def _check_numbers(folder: Path, model) -> None:
    from keras import ops

    for weight in model.weights:
        if "float" in str(weight.dtype) and not bool(ops.all(ops.isfinite(weight))):
            raise UserError(
                f"{folder / 'model.safetensors'} holds numbers that are none (NaN or infinite, in {weight.path}): "
                "bring back another copy, or train anew with a lower --learning-rate"
            )
