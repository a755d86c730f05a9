"""Vectors of words, and tests of them."""

from __future__ import annotations

import io
import json

import numpy as np

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset
from kerasllm.data.loaders.registry import loads, members, whole

pd = needed("pandas", "data")


@loads("glove-50d")
def _glove(dataset: Dataset) -> pd.DataFrame:
    needed("pyarrow", "data")  # pandas reads Parquet files with it
    vectors, index = members(dataset)
    words = pd.read_parquet(io.BytesIO(index), columns=["index"])["index"]
    frame = pd.DataFrame(np.load(io.BytesIO(vectors)), index=pd.Index(words, name="word"), copy=False)
    return whole(frame)


@loads("wordsim-353")
@loads("simlex-999")
def _similarity(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    table = pd.read_csv(
        io.BytesIO(content), sep="\t", comment="#", names=["word_1", "word_2", "score"], keep_default_na=False
    )
    return whole(table.assign(split="test"))


@loads("google-analogies")
def _analogies(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    rows, category = [], ""
    for line in content.decode("utf-8").splitlines():
        if line.startswith(": "):
            category = line[2:]
        else:
            rows.append((*line.split(" "), category))
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "d", "category"]).assign(split="test")
    frame["category"] = pd.Categorical(frame["category"], frame["category"].unique())
    return whole(frame)


@loads("wordllama")
def _wordllama(dataset: Dataset) -> pd.DataFrame:
    from safetensors.numpy import load

    vectors, tokenizer = members(dataset)
    matrix = load(vectors)["embedding.weight"].astype("float32")
    pieces = json.loads(tokenizer)["model"]["vocab"]
    words = pd.Index(sorted(pieces, key=pieces.get), name="word")
    return whole(pd.DataFrame(matrix, index=words))
