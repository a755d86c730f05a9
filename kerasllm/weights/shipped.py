"""Trained models by name: those that ship with the course, and those that the catalogue brings."""

from pathlib import Path

from kerasllm.common import choice
from kerasllm.models import FastGPT
from kerasllm.text import Tokenizer
from kerasllm.weights import fetched
from kerasllm.weights.safetensors_file import load_safetensors

PACKAGE = Path(__file__).resolve().parents[1]
# A checkout has them beside the package, an installed package inside it.
CHECKPOINTS = next((f for f in (PACKAGE / "_checkpoints", PACKAGE.parent / "checkpoints") if f.is_dir()), None)
NAMES = ("king-james-gpt",)


def _shipped(name):
    return lambda: (load_safetensors(folder_of(name) / "model.safetensors"), Tokenizer.load(folder_of(name)))


# What `pretrained` and `sentence_encoder` bring: from each name to a function without arguments.
MODELS = {
    **{name: _shipped(name) for name in NAMES},
    "minilm": fetched.minilm,
    "e5-small": fetched.e5_small,
    "bert-tiny": fetched.bert_tiny,
    "smollm2-135m-instruct": fetched.smollm2,
    "efficientnet-lite0": fetched.efficientnet_lite0,
}
# What `pretrained_tokenizer` brings without reading weights; of the other models it takes the second of the pair.
TOKENIZERS = {
    **{name: (lambda name=name: Tokenizer.load(folder_of(name))) for name in NAMES},
    "smollm2-135m-instruct": fetched.smollm2_tokenizer,
}
ENCODERS = {"minilm": fetched.minilm_encoder, "e5-small": fetched.e5_small_encoder}


def pretrained(name, numbers=None):
    """A trained model, and what makes its inputs: a tokenizer of texts, an `ImageInput` of images.

    "king-james-gpt" comes from files inside this package: no network is used. It is a GPT of 6 blocks, width 256 and
    a context of 256 tokens. It was trained on the training books of ``kerasllm.data.load("king-james")`` alone. The
    settings and the log of its training lie beside it; the run was cut off at the last step of the log, before its
    learning rate had fallen to 0.

    The others are fetched when they are first asked for, as ``kerasllm.data.load`` fetches its sets: by pip, into the
    same cache, verified, never installed; then no network is needed. ``kerasllm.data.card(name)`` tells of each:
    "minilm", a BERT of 6 layers for English sentences; "e5-small", a BERT of 12 layers for a hundred languages, with
    numbers of 4 bits in the file; "bert-tiny", a BERT of 2 layers with its head, tuned for search;
    "smollm2-135m-instruct", a GPT of 30 blocks that answers in turns, see `kerasllm.generation.Chat`;
    "efficientnet-lite0", an EfficientNet that knows the 1,000 classes of ImageNet and gives features of images.

    Args:
        name: one of those.
        numbers: "int4", "int8", "bfloat16" or "float32" for a `kerasllm.models.FastGPT`, which only writes, in place of
            a GPT. In "int4" the weights of SmolLM2 are those of its file.

    Returns:
        A pair of a `kerasllm.models.GPT`, `kerasllm.models.FastGPT` or `kerasllm.models.BERT` and a
        `kerasllm.text.Tokenizer`; of a `kerasllm.models.EfficientNet` and a `kerasllm.batches.ImageInput`.

    Raises:
        ValueError: if there is no such model, or numbers are given for one that does not write.
        FetchError, ChecksumError, CacheError: if it cannot be fetched; the message says what to do.

    Example:
        >>> model, tokenizer = pretrained("king-james-gpt")
        >>> model.vocabulary_size == tokenizer.vocabulary_size
        True
    """
    if name not in MODELS:
        raise ValueError(f"There is no model {name!r}. Use one of {', '.join(MODELS)}.")
    if numbers is None:
        return MODELS[name]()
    if name == "smollm2-135m-instruct":
        return fetched.smollm2(numbers)
    if name not in NAMES:
        raise ValueError(f"{name} does not write: leave numbers={numbers!r} out.")
    model, tokenizer = MODELS[name]()
    return FastGPT.of(model, numbers), tokenizer


def pretrained_tokenizer(name):
    """The tokenizer of a trained model, without the model.

    Args:
        name: of a model of texts, see `pretrained`. "king-james-gpt" and "smollm2-135m-instruct" are quick, for no
            weights are read.

    Returns:
        A `kerasllm.text.Tokenizer`.

    Raises:
        ValueError: if there is no such model, or it does not read texts.
        FetchError, ChecksumError, CacheError: if it cannot be fetched; the message says what to do.

    Example:
        >>> pretrained_tokenizer("king-james-gpt").vocabulary_size
        2048
    """
    if name in TOKENIZERS:
        return TOKENIZERS[name]()
    tokenizer = pretrained(name)[1]
    if not isinstance(tokenizer, Tokenizer):
        raise ValueError(f"{name} reads no texts, so it has no tokenizer.")
    return tokenizer


def sentence_encoder(name):
    """A trained encoder of sentences: texts in, vectors out.

    Args:
        name: "minilm" for English, 384 numbers a text of up to 256 tokens; "e5-small" for a hundred languages, 384
            numbers a text of up to 512 tokens. E5 wants "query: " in front of a text, which it gets here, and
            "passage: " in front of those that are searched: ``encoder.embed(documents, prefix="passage: ")``. Both
            are fetched once, see `pretrained`.

    Returns:
        A `kerasllm.tasks.SentenceEncoder`.

    Raises:
        ValueError: if there is no such encoder.
        FetchError, ChecksumError, CacheError: if it cannot be fetched; the message says what to do.

    Example: ``sentence_encoder("minilm").embed(["A man is eating.", "Somebody has a meal."])``.
    """
    return ENCODERS[choice("name", name, ENCODERS)]()


def folder_of(name):
    """The folder of a trained model inside this package: weights, tokenizer, card, settings and log.

    Args:
        name: "king-james-gpt".

    Returns:
        A path.

    Raises:
        ValueError: if there is no such model.

    Example:
        >>> sorted(file.name for file in folder_of("king-james-gpt").iterdir())
        ['README.md', 'log.csv', 'model.safetensors', 'settings.json', 'tokenizer.json']
    """
    if name not in NAMES:
        raise ValueError(f"There is no model {name!r}. Use one of {', '.join(NAMES)}.")
    return CHECKPOINTS / name
