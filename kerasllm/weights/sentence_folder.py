"""A folder of sentence-transformers: a BERT, and files that say how vectors of tokens become one of a text.

    modules.json                        which steps there are, in which folders
    config.json, model.safetensors ...  the network
    sentence_bert_config.json           max_seq_length
    1_Pooling/config.json               mean, max or first
    config_sentence_transformers.json   prompts: what stands in front of a text

Reference: base/model.py and modules/pooling.py of https://github.com/huggingface/sentence-transformers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kerasllm.models import BERT
from kerasllm.tasks import SentenceEncoder
from kerasllm.weights.folder import read_json
from kerasllm.weights.hub import from_hugging_face
from kerasllm.weights.tensors import shown

POOLINGS = {"mean": "mean", "max": "max", "cls": "first"}
# Older files have a flag for each way.
_FLAGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max", "pooling_mode_cls_token": "cls"}
_FLAGS |= {f"pooling_mode_{one}": one for one in ("mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")}


def from_sentence_transformers(
    folder: str | os.PathLike, prompt: str | None = None, ignore: Iterable[str] = (), dtype: Any = None
) -> SentenceEncoder:
    """The encoder in a folder as sentence-transformers writes it.

    Args:
        folder: of the model.
        prompt: the name of a prompt in config_sentence_transformers.json, such as "query": it becomes the prefix. The
            file's own choice when None.
        ignore: keys of config.json that are passed over, though they are not known here.
        dtype: dtype policy of the network.

    Returns:
        A `kerasllm.tasks.SentenceEncoder`.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged, or the model has a step or a way of pooling that is not known here.

    Example: ``from_sentence_transformers("all-MiniLM-L6-v2").embed(["A man eats.", "Somebody has a meal."])``.
    """
    folder = Path(folder)
    pooling, normalize = _steps(folder)
    prefix, limit = _prefix(folder, prompt), _limit(folder)
    network, tokenizer = from_hugging_face(folder, dtype, ignore)
    if not isinstance(network, BERT):
        raise ValueError(f"{folder} has a {type(network).__name__} as its network; those that are read are BERTs.")
    if tokenizer is None:
        raise FileNotFoundError(
            f"{folder / 'tokenizer.json'} does not exist. Bring all files of the model into one folder."
        )
    return SentenceEncoder(network, tokenizer, pooling, normalize, prefix, int(min(limit, network.context_length)))


def _steps(folder: Path) -> tuple[str, bool]:
    """How the model pools, and whether it normalises."""
    path = folder / "modules.json"
    steps = read_json(path, kind=list)
    if not all(isinstance(one, dict) and isinstance(one.get("path"), str) for one in steps):
        raise ValueError(f"{path} is no list of steps with a path each. Bring it anew.")
    kinds = [str(one.get("type")).rpartition(".")[2] for one in steps]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ValueError(
            f"{path} has the steps {shown(', '.join(kinds))}; those that are read are Transformer, Pooling and, if "
            "wanted, Normalize."
        )
    if steps[0]["path"]:
        raise ValueError(f"{path} has its network in the folder {shown(steps[0]['path'])!r}, not beside it.")
    if ".." in Path(steps[1]["path"]).parts or Path(steps[1]["path"]).is_absolute():
        raise ValueError(f"{path} leads out of its folder: {shown(steps[1]['path'])!r}.")
    return _pooling(folder / steps[1]["path"] / "config.json"), len(kinds) == 3


def _pooling(path: Path) -> str:
    content = read_json(path)
    modes = content.get("pooling_mode") or [mode for flag, mode in _FLAGS.items() if content.get(flag)]
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ValueError(f"{path} pools by {shown(str(modes))}; known is one of {', '.join(POOLINGS)}.")
    if content.get("include_prompt", True) is not True:
        raise ValueError(f"{path} has include_prompt = false; here the tokens of a prefix are pooled with the others.")
    return POOLINGS[modes[0]]


def _limit(folder: Path) -> float:
    """How many tokens the model should read at most: the first of two files that says it decides."""
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        said = read_json(folder / name).get(key) if (folder / name).is_file() else None
        if said is not None:
            if not isinstance(said, int | float) or isinstance(said, bool) or not said >= 1:
                raise ValueError(f"{folder / name} has {key} = {said!r}; a whole number from 1 up is needed.")
            return said
    return math.inf


def _prefix(folder: Path, prompt: str | None) -> str:
    path = folder / "config_sentence_transformers.json"
    content = read_json(path) if path.is_file() else {}
    prompts, name = content.get("prompts") or {}, content.get("default_prompt_name") if prompt is None else prompt
    if name is None:
        return ""
    if not isinstance(prompts, dict) or not isinstance(prompts.get(name), str):
        raise ValueError(f"{path} has no prompt {name!r}; it has {', '.join(map(repr, prompts)) or 'none'}.")
    return prompts[name]
