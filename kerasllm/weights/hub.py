"""Models of others as GPTs and BERTs, and back: folders of Hugging Face, and GGUF files of llama.cpp.

    model, tokenizer = from_hugging_face("SmolLM2-135M-Instruct")     config.json, model.safetensors, tokenizer.json
    model, tokenizer = from_gguf("SmolLM2-135M-Instruct-Q4_1.gguf")

Both ways go through the same tables of names, see `families`: a GGUF file is seen as the folder it was made from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerasllm.common import choice, write_whole
from kerasllm.models import BERT, GPT, FastGPT
from kerasllm.text import Tokenizer, check_tokenizer
from kerasllm.weights.families import FAMILIES, bert
from kerasllm.weights.families.config import Config
from kerasllm.weights.families.family import Family, made_of, settings_of, tensors_of
from kerasllm.weights.families.parts import differences
from kerasllm.weights.folder import CONFIG, ONE, open_folder
from kerasllm.weights.gguf import (
    GGUF,
    gguf_view,
    hugging_face_view,
    read_gguf,
    tokenizer_metadata,
    tokenizer_of,
    write_gguf,
)
from kerasllm.weights.gguf.blocks import WRITTEN
from kerasllm.weights.gguf.tokenizer import PRE_TOKENIZERS
from kerasllm.weights.tensors import Tensor, shown, write_tensors

_TOKENS = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "pad": "pad_token", "mask": "mask_token"}
_TOKENS["end_of_turn"] = "eot_token"
_ENDS = {"bos": "cls_token", "eos": "sep_token"}
_UNUSED = 5  # tokenizer.ggml.token_type of a row without a token


def from_hugging_face(
    folder: str | os.PathLike, dtype: Any = None, ignore: Iterable[str] = (), numbers: str | None = None
) -> tuple[GPT | FastGPT | BERT, Tokenizer | None]:
    """A language model that others published, and its tokenizer, from a folder as Hugging Face has it.

    GPT-2, Llama 2 to 3.3, SmolLM 2, Mistral, Qwen 2 to 3, Gemma 3, Mixtral and Qwen 3 with experts are settings of
    `kerasllm.models.GPT`; BERT, RoBERTa and XLM-RoBERTa of `kerasllm.models.BERT`. A setting of config.json is
    honoured, or is known to change nothing, or is refused by name.

    Nothing but JSON and safetensors is opened, so a folder of a stranger runs no code. Beside the model one tensor is
    in memory at a time.

    Args:
        folder: with config.json, with model.safetensors or several such files and model.safetensors.index.json, and
            with tokenizer.json and what stands beside it, if there is one.
        dtype: dtype policy of the model, such as "bfloat16"; that of Keras when None. Numbers are rounded to it.
            Gemma's norms lose more than others in a pure "bfloat16": take "mixed_bfloat16" where that matters.
        ignore: keys of config.json that are passed over, as if they were not there.
        numbers: "int4", "int8", "bfloat16" or "float32" for a `kerasllm.models.FastGPT`, which only writes, in place
            of a `GPT`; a BERT has none.

    Returns:
        A pair of a `GPT`, `FastGPT` or `BERT`, not compiled, and a `kerasllm.text.Tokenizer`, which is None without a
        tokenizer.json.

    Raises:
        FileNotFoundError: if there is no such folder, or no config.json or safetensors in it.
        ValueError: if a file is damaged, the model is of another kind, a setting is not supported, or the weights are
            not those of the settings. The message names the file and the key or tensor.

    Example:
        >>> import tempfile
        >>> from kerasllm.models import preset
        >>> folder = tempfile.mkdtemp()
        >>> sizes = {"vocabulary_size": 50, "num_layers": 1, "num_heads": 3, "num_kv_heads": 1}
        >>> model = GPT(preset("smollm2-135m", **sizes, embedding_dim=12, hidden_dim=16))
        >>> to_hugging_face(model, folder)
        >>> again, tokenizer = from_hugging_face(folder)
        >>> again.count_params() == model.count_params(), tokenizer
        (True, None)

    Reference: https://huggingface.co/docs/transformers, "PreTrainedConfig"; each file of `families` has its own.
    """
    with open_folder(folder) as found:
        tokenizer = Tokenizer.load(found.path) if (found.path / "tokenizer.json").is_file() else None
        if found.config.get("model_type") in bert.MODEL_TYPES:
            if numbers is not None:
                raise ValueError(f"{found.path} holds a BERT, which does not write: leave numbers={numbers!r} out.")
            model = bert.bert_of(found.config, found.tensors, found.path, ignore, dtype)
            _check_vocabulary(found.path, model.vocabulary_size, tokenizer)
            return model, tokenizer
        config = Config(found.path / CONFIG, found.config, ignore)
        family = _family(config)
        settings = settings_of(family, config, len(found.tensors))
        _check_vocabulary(found.path, settings.vocabulary_size, tokenizer)
        return made_of(family, settings, found.path, found.tensors, dtype, found.files, numbers), tokenizer


def to_hugging_face(model: GPT | BERT, folder: str | os.PathLike, tokenizer: Tokenizer | None = None) -> None:
    """Write a model as a folder that transformers loads: config.json, model.safetensors, and the tokenizer's files.

    Weights keep their dtype. A bias that the family has and the model has not is written as zeros. Dropout is a setting
    of training: what the family has no key for is left out.

    Args:
        model: a `GPT` of which some family is the same model: learned positions are GPT-2's, rotary ones with
            root-mean-square norms and a gate those of Llama, Mistral, Qwen, Gemma and Mixtral. Or a `BERT`: with one
            type of tokens and 1 as its padding it is written as a RoBERTa.
        folder: it is made if it is not there; files of these names in it are replaced.
        tokenizer: of the model; none is written when None.

    Raises:
        TypeError: if `model` is no `GPT` or `BERT`.
        ValueError: if no family computes the same: the message names the settings in which the nearest one differs.
        OSError: if a file cannot be written.

    Example: see `from_hugging_face`.
    """
    config, tensors = bert.hugging_face_of(model) if isinstance(model, BERT) else hugging_face_of(model)
    folder = Path(folder)
    config = _ids(tokenizer) | config | {"torch_dtype": tensors[next(iter(tensors))].dtype}
    _check_vocabulary(folder, model.vocabulary_size, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / ONE, tensors, {"format": "pt"})  # transformers asks for this
    if tokenizer is not None:
        tokenizer.save(folder / "tokenizer.json")
        _write_json(folder / "tokenizer_config.json", _tokenizer_config(model, tokenizer))
        if isinstance(model, GPT):
            stops = {"eos_token_id": list(tokenizer.stop_ids)}
            _write_json(folder / "generation_config.json", _ids(tokenizer) | stops)
    _write_json(folder / CONFIG, config)


def from_gguf(
    path: str | os.PathLike, dtype: Any = None, numbers: str | None = None
) -> tuple[GPT | FastGPT, Tokenizer | None]:
    """A language model and its tokenizer from a GGUF file, the format of llama.cpp.

    Quantised numbers are turned into floats: the model takes more memory than the file, and can be trained. With
    `numbers` they stay as they are where they fit, blocks of 4 bits in "int4" and "int8", of 8 in "int8"; "file" takes
    of these the smaller one that holds the file's matrices, and makes a `GPT` of floats. The order of Llama's query and
    key rows, which differs between the two worlds, is that of Hugging Face again.

    Args:
        path: the file, of the architecture llama, qwen2, qwen3, gemma3 or gpt2.
        dtype, numbers: see `from_hugging_face`.

    Returns:
        A pair of a `GPT` or `FastGPT`, not compiled, and a `kerasllm.text.Tokenizer`, which is None where the file has
        none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, of another architecture, or has a setting or kind of numbers that is not
            supported. The message names the file and the key or tensor.

    Example:
        >>> import tempfile
        >>> from kerasllm.models import preset
        >>> path = tempfile.mkdtemp() + "/model.gguf"
        >>> model = GPT(preset("gpt2", num_layers=1, vocabulary_size=50, embedding_dim=36))
        >>> to_gguf(model, path, kind="F16")
        >>> from_gguf(path)[0].count_params() == model.count_params()
        True

    Reference: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
    """
    with read_gguf(path) as file:
        view = hugging_face_view(file)
        chosen = _numbers_of(file) if numbers == "file" else numbers
        config = Config(file.path, view.config)
        family = _family(config)
        settings = settings_of(family, config, len(view.tensors))
        tokenizer = tokenizer_of(file) if "tokenizer.ggml.model" in file.metadata else None
        _check_vocabulary(file.path, settings.vocabulary_size, tokenizer)
        return made_of(family, settings, file.path, view.tensors, dtype, numbers=chosen), tokenizer


def to_gguf(model: GPT, path: str | os.PathLike, kind: str = "Q8_0", tokenizer: Tokenizer | None = None) -> None:
    """Write a model as a GGUF file, for llama.cpp and what is built on it.

    Args:
        model: see `to_hugging_face`; Mistral with a window and models with experts cannot be written.
        path: the file to write.
        kind: how matrices are stored: "Q8_0" in about a byte a number, "F16" and "BF16" in two, "F32" in four.
        tokenizer: byte-level BPE, such as one of `kerasllm.text.train_bpe`, GPT-2's, Llama 3's or Qwen's; llama.cpp
            reads no text without it.

    Raises:
        TypeError: if `model` is no `GPT`.
        ValueError: if no family computes the same, or a setting or the tokenizer has no place in such a file.
        OSError: if the file cannot be written.

    Example: see `from_gguf`.
    """
    choice("kind", kind, WRITTEN)
    config, tensors = hugging_face_of(model)
    _check_vocabulary(Path(path), model.vocabulary_size, tokenizer)
    metadata, stored = gguf_view(config, tensors)
    write_gguf(path, metadata | _gguf_tokenizer(tokenizer, model.vocabulary_size), stored, kind)


def hugging_face_of(model: GPT) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A model in Hugging Face's terms: what stands in config.json, and its tensors, read when they are asked for.

    Raises:
        TypeError: if `model` is no `GPT`.
        ValueError: if no family computes the same; see `to_hugging_face`.
    """
    if not isinstance(model, GPT):
        raise TypeError(f"model must be a kerasllm.models.GPT, not {type(model).__name__}.")
    found, settings = {}, {}
    for family in FAMILIES.values():
        if family.model_type == "gemma3":  # of text alone there is gemma3_text
            continue
        config = {"model_type": family.model_type, "architectures": [family.class_name]}
        config |= family.write(model.settings)
        try:
            settings[family.model_type] = settings_of(family, Config("The config", config)), config
        except ValueError as error:
            found[family.model_type] = {"": str(error)}
    for zeros in (False, True):  # the same model first, then one in which biases are zero
        for name, (has, config) in settings.items():
            found[name] = differences(model.settings, has, zeros)
            if not found[name]:
                return config, tensors_of(FAMILIES[name], model, has)
    nearest = min(found, key=lambda name: ("" in found[name], len(found[name])))
    raise ValueError(
        f"No family of {', '.join(found)} computes what this model does. The nearest is {nearest}, but for "
        f"{'; '.join([*found[nearest].values()][:5])}."
    )


def _numbers_of(file: GGUF) -> str | None:
    """The numbers of a `FastGPT` that hold the matrices of a file; None where they are floats."""
    blocks = (tensor for name, tensor in file.tensors.items() if name.startswith("blk."))
    kinds = {tensor.kind for tensor in blocks if len(tensor.shape) == 2}
    if kinds & {"F32", "F16", "BF16"}:
        return None
    return "int4" if kinds <= {"Q4_0", "Q4_1"} else "int8"


def _family(config: Config) -> Family:
    name = config.content.get("model_type")
    if not isinstance(name, str) or name not in FAMILIES:
        raise config.wrong(f"has model_type = {shown(repr(name))}; those that are read are {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def _check_vocabulary(where: Path, rows: int, tokenizer: Tokenizer | None) -> None:
    if tokenizer is not None and check_tokenizer(tokenizer).vocabulary_size > rows:
        raise ValueError(
            f"{where}: the tokenizer has ids up to {tokenizer.vocabulary_size - 1:,}, and the model {rows:,} rows. "
            "They do not belong together."
        )


def _ids(tokenizer: Tokenizer | None) -> dict[str, int | None]:
    """Where a config says nothing, transformers takes the ids of other models."""
    if tokenizer is None:
        return dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    pad = tokenizer.pad_id if "pad" in tokenizer.roles else None
    return {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": pad}


def _tokenizer_config(model: GPT | BERT, tokenizer: Tokenizer) -> dict[str, Any]:
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.context_length}
    config |= {"clean_up_tokenization_spaces": False}
    config |= {_TOKENS[role]: token for role, token in tokenizer.roles.items()}
    if isinstance(model, BERT):  # the two ends of a text by the names of BERT
        config |= {_ENDS[role]: token for role, token in tokenizer.roles.items() if role in _ENDS}
    return config | ({} if tokenizer.chat_template is None else {"chat_template": tokenizer.chat_template})


def _gguf_tokenizer(tokenizer: Tokenizer | None, rows: int) -> dict[str, Any]:
    if tokenizer is None:
        return {}
    metadata, reason = None, None
    for name in PRE_TOKENIZERS:
        try:
            metadata = tokenizer_metadata(tokenizer, name)
            break
        except ValueError as error:
            reason = error
    if metadata is None:
        raise ValueError(f"{tokenizer} has no place in a GGUF file: {reason}")
    # llama.cpp wants a token for each row.
    more = range(tokenizer.vocabulary_size, rows)
    metadata["tokenizer.ggml.tokens"] = [*metadata["tokenizer.ggml.tokens"], *(f"[PAD{id}]" for id in more)]
    metadata["tokenizer.ggml.token_type"] = [*metadata["tokenizer.ggml.token_type"], *(_UNUSED for _ in more)]
    return metadata


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with write_whole(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
