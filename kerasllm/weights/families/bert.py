"""BERT, RoBERTa, XLM-RoBERTa and what was made of them, MiniLM and E5 for example, from files of Hugging Face.

    ours                             theirs
    block_1/attention/query/kernel   encoder.layer.0.attention.self.query.weight    turned: PyTorch keeps (out, in)
    positions/embeddings             embeddings.position_embeddings.weight          without RoBERTa's first rows

Reference: modeling_bert.py and modeling_roberta.py of https://github.com/huggingface/transformers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kerasllm.common import whole_number
from kerasllm.models import BERT, BERTSettings
from kerasllm.weights.rehearsal import check_sizes, make_with, named, rehearse
from kerasllm.weights.tensors import Tensor, shown

# The table. In front of their names stands "bert.", "roberta." or nothing, but for the head's.
TENSORS = {
    "embedding/embeddings": "embeddings.word_embeddings.weight",
    "positions/embeddings": "embeddings.position_embeddings.weight",
    "types/embeddings": "embeddings.token_type_embeddings.weight",
    "embedding_norm/gamma": "embeddings.LayerNorm.weight",
    "embedding_norm/beta": "embeddings.LayerNorm.bias",
    "pooler/kernel": "pooler.dense.weight",
    "pooler/bias": "pooler.dense.bias",
}
LAYERS = "encoder.layer.{}."  # in front of what follows; block_1 is layer 0
BLOCK = {
    "attention/query/kernel": "attention.self.query.weight",
    "attention/query/bias": "attention.self.query.bias",
    "attention/key/kernel": "attention.self.key.weight",
    "attention/key/bias": "attention.self.key.bias",
    "attention/value/kernel": "attention.self.value.weight",
    "attention/value/bias": "attention.self.value.bias",
    "attention/output/kernel": "attention.output.dense.weight",
    "attention/output/bias": "attention.output.dense.bias",
    "attention_norm/gamma": "attention.output.LayerNorm.weight",
    "attention_norm/beta": "attention.output.LayerNorm.bias",
    "feed_forward/expand/kernel": "intermediate.dense.weight",
    "feed_forward/expand/bias": "intermediate.dense.bias",
    "feed_forward/project/kernel": "output.dense.weight",
    "feed_forward/project/bias": "output.dense.bias",
    "feed_forward_norm/gamma": "output.LayerNorm.weight",
    "feed_forward_norm/beta": "output.LayerNorm.bias",
}
HEADS = {
    "bert": {
        "head_dense/kernel": "cls.predictions.transform.dense.weight",
        "head_dense/bias": "cls.predictions.transform.dense.bias",
        "head_norm/gamma": "cls.predictions.transform.LayerNorm.weight",
        "head_norm/beta": "cls.predictions.transform.LayerNorm.bias",
        "head_bias/bias": "cls.predictions.bias",
    },
    "roberta": {
        "head_dense/kernel": "lm_head.dense.weight",
        "head_dense/bias": "lm_head.dense.bias",
        "head_norm/gamma": "lm_head.layer_norm.weight",
        "head_norm/beta": "lm_head.layer_norm.bias",
        "head_bias/bias": "lm_head.bias",
    },
}
# Which of the two a model_type is. RoBERTa counts positions from pad_id + 1: the rows before are never looked at.
MODEL_TYPES = {"bert": "bert", "roberta": "roberta", "xlm-roberta": "roberta", "camembert": "roberta"}
# Stored second names of tensors that there are already, whole numbers that count up, and BERT's other head.
COPIES = {"cls.predictions.decoder.weight": "embedding/embeddings", "cls.predictions.decoder.bias": "head_bias/bias"}
COPIES |= {"lm_head.decoder.weight": "embedding/embeddings", "lm_head.decoder.bias": "head_bias/bias"}
PASSED_OVER = re.compile(r".*embeddings\.(position_ids|token_type_ids)|cls\.seq_relationship\.(weight|bias)")
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
# Keys of a config.json that change nothing, and those that must be off, with the values that they may have.
HARMLESS = frozenset(
    """
    _name_or_path architectures torch_dtype dtype transformers_version use_cache initializer_range id2label label2id
    gradient_checkpointing bos_token_id eos_token_id sep_token_id mask_token_id unk_token_id classifier_dropout
    finetuning_task problem_type output_past model_max_length attention_probs_dropout_prob chunk_size_feed_forward
    directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type
    output_attentions output_hidden_states return_dict num_labels tokenizer_class attn_implementation
    """.split()
)
OFF = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False, "pruned_heads": {}}
OFF |= {"tie_word_embeddings": True, "quantization_config": None, "is_encoder_decoder": False}


def settings_of(config: Mapping[str, Any], ignore: Iterable[str] = (), where: Any = "config.json") -> BERTSettings:
    """The settings that a config.json asks for.

    The head and the pooler follow from "architectures": a base model is taken to have a pooler, what stands in front
    of it to say tokens a head. `bert_of` looks which of them the weights really have.

    Args:
        config: the content of a config.json.
        ignore: keys that are passed over, though they are not known here.
        where: the file, for messages.

    Returns:
        `BERTSettings`. Dropout is that of the file, for training.

    Raises:
        ValueError: if it is of another kind of model, or a key is missing, unknown or has a value that cannot be had.

    Example:
        >>> settings_of({"model_type": "bert", "vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1,
        ...              "num_attention_heads": 2, "intermediate_size": 8}).context_length
        512
    """
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        raise ValueError(f"{where} has the model_type {kind!r}; those that are read are {', '.join(MODEL_TYPES)}.")
    for key, value in OFF.items():
        if config.get(key) not in (None, value):
            raise ValueError(f"{where} has {key} = {config[key]!r}; a BERT of this library has {value!r} there.")
    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise ValueError(f"{where} has hidden_act = {activation!r}; known are {', '.join(ACTIVATIONS)}.")
    sizes = {ours: _whole(config, key, where, default) for ours, (key, default) in _SIZES.items()}
    architectures = config.get("architectures") or []
    unknown = sorted(set(config) - {key for key, _ in _SIZES.values()} - _ASKED - HARMLESS - set(OFF) - set(ignore))
    if unknown:
        raise ValueError(
            f"{where} has the key {shown(unknown[0])!r}, which is not known here. If it does not change what the model "
            f"computes, pass it over: ignore=[{shown(unknown[0])!r}]."
        )
    try:
        settings = BERTSettings(
            **sizes,
            epsilon=config.get("layer_norm_eps", 1e-12),
            activation=ACTIVATIONS[activation],
            dropout=config.get("hidden_dropout_prob", 0.1),
            pad_id=config.get("pad_token_id", _PAD[MODEL_TYPES[kind]]),
            head=any(one.endswith(("ForMaskedLM", "ForPreTraining")) for one in architectures),
            pooler=not any(one.endswith("ForMaskedLM") for one in architectures),
        )
        return settings.with_(context_length=settings.context_length - first_position(config))
    except ValueError as error:
        raise ValueError(f"{where} cannot be a BERT: {error}") from None


# From our settings to the keys of a config.json, and what the original library takes where there is none.
_SIZES = {
    "vocabulary_size": ("vocab_size", None),
    "embedding_dim": ("hidden_size", None),
    "num_layers": ("num_hidden_layers", None),
    "num_heads": ("num_attention_heads", None),
    "hidden_dim": ("intermediate_size", None),
    "context_length": ("max_position_embeddings", 512),
    "type_vocabulary_size": ("type_vocab_size", 2),
}
_PAD = {"bert": 0, "roberta": 1}
_ASKED = {"model_type", "layer_norm_eps", "hidden_act", "hidden_dropout_prob", "pad_token_id"}


def first_position(config: Mapping[str, Any]) -> int:
    """The row of their position embeddings that belongs to a text's first token."""
    kind = MODEL_TYPES[config["model_type"]]
    return 0 if kind == "bert" else config.get("pad_token_id", _PAD[kind]) + 1


def bert_of(
    config: Mapping[str, Any], tensors: Mapping[str, Any], where: Any, ignore: Iterable[str] = (), dtype: Any = None
) -> BERT:
    """The model of a config and of tensors by Hugging Face's names, each read when its weight is made.

    Args:
        config: the content of a config.json.
        tensors: from each name to what has `shape`, `dtype` and `read()`.
        where: the file of the tensors, for messages.
        ignore: see `settings_of`.
        dtype: dtype policy of the model.

    Raises:
        ValueError: if the config asks for something else, or a tensor is missing, unknown, or has another shape.
    """
    settings = settings_of(config, ignore)
    head = HEADS[MODEL_TYPES[config["model_type"]]]
    prefix = _prefix(tensors)
    tensors = {_new_name(name): tensor for name, tensor in tensors.items()}
    settings = settings.with_(
        head=settings.head or any(name in tensors for name in head.values()),
        pooler=prefix + TENSORS["pooler/kernel"] in tensors,
    )
    if settings.head and head is HEADS["roberta"] and settings.activation != "gelu":
        raise ValueError(
            f"{where} has hidden_act = {config['hidden_act']!r}, and the head of a RoBERTa has gelu in any case: here "
            "both are one setting."
        )
    check_sizes(settings.get_config(), sum(int(np.prod(tensor.shape)) for tensor in tensors.values()))
    stored = {"settings": settings.get_config()} | ({} if dtype is None else {"dtype": dtype})
    (weights,) = rehearse(BERT, stored, None, tensors=len(tensors))
    names, first = names_of(weights, prefix, head), first_position(config)
    _compare(where, tensors, {names[place]: _shape(place, weight.shape, first) for place, weight in weights.items()})
    for name, place in COPIES.items():
        if name in tensors and not np.array_equal(tensors[name].read(), tensors[names[place]].read()):
            raise ValueError(f"{where} has a {name} that differs from {names[place]}. Here the two are one.")
    return make_with(BERT, stored, None, {place: _value(tensors[names[place]], place, first) for place in weights})


def names_of(places: Iterable[str], prefix: str = "", head: Mapping[str, str] = HEADS["bert"]) -> dict[str, str]:
    """From the places of a BERT's weights to their names.

    Example:
        >>> names_of(["block_3/attention/key/bias"], "bert.")
        {'block_3/attention/key/bias': 'bert.encoder.layer.2.attention.self.key.bias'}
    """
    found = {}
    for place in places:
        inside = re.fullmatch(r"block_(\d+)/(.+)", place)
        if inside:
            found[place] = prefix + LAYERS.format(int(inside[1]) - 1) + BLOCK[inside[2]]
        else:
            found[place] = head[place] if place in head else prefix + TENSORS[place]
    return found


def _whole(config, key: str, where, default: int | None) -> int:
    if config.get(key, default) is None:
        raise ValueError(f"{where} lacks the key {key}.")
    try:
        return whole_number(key, config.get(key, default), 0)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _prefix(tensors: Mapping[str, Any]) -> str:
    """What stands in front of the names: models with a head keep the rest under a name of its own."""
    first = TENSORS["embedding/embeddings"]
    return next((name.removesuffix(first) for name in tensors if name.endswith("." + first)), "")


def _new_name(name: str) -> str:
    """The first BERTs called scale and shift of a normalisation gamma and beta, as TensorFlow does."""
    return re.sub(r"beta$", "bias", re.sub(r"gamma$", "weight", name))


def _shape(place: str, shape: tuple[int, ...], first: int) -> tuple[int, ...]:
    """The shape in the file of a weight of ours."""
    if place == "positions/embeddings":
        return (shape[0] + first, *shape[1:])
    return shape[::-1] if place.endswith("/kernel") else shape


def _value(tensor, place: str, first: int):
    def read() -> np.ndarray:
        numbers = tensor.read()
        if place == "positions/embeddings":
            return numbers[first:]
        return numbers.T if place.endswith("/kernel") else numbers

    return read


def _compare(where, tensors: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]]) -> None:
    missing = [name for name in wanted if name not in tensors]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"{where} lacks the tensor {missing[0]}{more}, which a BERT of this config.json has.")
    for name, tensor in tensors.items():
        if name in wanted:
            if tuple(tensor.shape) != wanted[name]:
                raise ValueError(
                    f"{where} has {name} of the shape {tuple(tensor.shape)}; by config.json it has {wanted[name]}."
                )
            if "float" not in tensor.dtype:
                raise ValueError(f"{where} has {name} in {tensor.dtype}, not in floats. Was it quantised?")
        elif name not in COPIES and not PASSED_OVER.fullmatch(name):
            raise ValueError(
                f"{where} has the tensor {shown(name)} {tuple(tensor.shape)}, for which a BERT has no place. Is it of "
                "a model with another head?"
            )


# The way back ---------------------------------------------------------------------------------------------------------

# What a BertForPreTraining has and a BERT of ours has not: which of two texts follows the other.
NEXT = "cls.seq_relationship."


def hugging_face_of(model: BERT) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A BERT in Hugging Face's terms: what stands in config.json, and its tensors, read when they are asked for.

    A model with one type of tokens and the padding of RoBERTa becomes a RoBERTa, any other one a BERT. What these have
    beside ours is zeros: RoBERTa's rows in front of the first position, the types of a model without, the head for
    pairs of a BERT with both ends.

    Raises:
        ValueError: if neither has such an activation, or the model was changed since it was made.
    """
    settings = model.settings
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    if settings.activation not in names:
        raise ValueError(
            f"No family of bert, roberta computes what this model does: activation = {settings.activation!r}; they "
            f"have one of {', '.join(names)}."
        )
    roberta = settings.type_vocabulary_size == 1 and settings.pad_id == _PAD["roberta"]
    kind = "roberta" if roberta and not (settings.head and settings.activation != "gelu") else "bert"
    config = {"model_type": kind, "architectures": [_class_name(kind, settings)]}
    config |= {key: getattr(settings, ours) for ours, (key, _) in _SIZES.items()}
    config |= {"layer_norm_eps": settings.epsilon, "hidden_act": names[settings.activation]}
    config |= {"hidden_dropout_prob": settings.dropout, "attention_probs_dropout_prob": settings.dropout}
    config |= {"pad_token_id": settings.pad_id, "type_vocab_size": max(1, settings.type_vocabulary_size)}
    first = first_position(config)
    config["max_position_embeddings"] += first
    return config, dict(_written(model, HEADS[kind], f"{kind}." if settings.head else "", first))


def _class_name(kind: str, settings: BERTSettings) -> str:
    if not settings.head:
        return f"{'Bert' if kind == 'bert' else 'Roberta'}Model"
    if kind == "roberta":
        return "RobertaForMaskedLM"
    return "BertForPreTraining" if settings.pooler else "BertForMaskedLM"


def _written(model: BERT, head: Mapping[str, str], prefix: str, first: int) -> Iterator[tuple[str, Tensor]]:
    settings, variables = model.settings, named(model)
    (wanted,) = rehearse(BERT, {"settings": settings.get_config()}, None)
    changed = sorted(variables.keys() ^ wanted.keys())
    if changed:
        raise ValueError(f"{changed[0]}: the model was changed since it was made. Take away LoRA and quantize.")
    dtype = str(variables["embedding/embeddings"].dtype)
    for place, name in names_of(variables, prefix, head).items():
        variable, shape = variables[place], _shape(place, tuple(variables[place].shape), first)
        yield name, Tensor(str(variable.dtype), shape, _reader(variable, place, first))
    if not settings.type_vocabulary_size:
        yield prefix + TENSORS["types/embeddings"], _zeros(dtype, 1, settings.embedding_dim)
    if settings.pooler and head is HEADS["bert"] and settings.head:
        yield from {NEXT + "weight": _zeros(dtype, 2, settings.embedding_dim), NEXT + "bias": _zeros(dtype, 2)}.items()


def _reader(variable: keras.Variable, place: str, first: int) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        numbers = keras.ops.convert_to_numpy(variable.value)
        if place == "positions/embeddings":
            return np.concatenate([np.zeros((first, numbers.shape[1]), numbers.dtype), numbers])
        return numbers.T if place.endswith("/kernel") else numbers

    return read


def _zeros(dtype: str, *shape: int) -> Tensor:
    return Tensor(dtype, shape, lambda: np.zeros(shape, dtype))
