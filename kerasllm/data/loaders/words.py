"""Vectors of words, and tests of them."""

from __future__ import annotations

import bz2
import html
import io
import json
import re

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


# What is taken off a page of a wiki, in this order: a pattern, and what is kept of it.
_MARKUP = [
    (r"<!--.*?-->|<ref[^>]*/>|<ref.*?</ref>|\{\|.*?\|\}", ""),  # comments, notes, tables
    *[(r"\{\{[^{}]*\}\}", "")] * 5,  # templates, which stand inside one another
    (r"\[\[(File|Image|Category):([^\[\]]|\[\[[^\]]*\]\])*\]\]", ""),
    (r"\[\[[a-z-]{2,12}:[^\]]*\]\]", ""),  # the same article in other languages
    (r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", r"\1"),  # a link: keep what one reads
    (r"\[http\S*|<[^>]*>|https?://\S+", ""),
]


@loads("small-wikipedia")
def _small_wikipedia(dataset: Dataset) -> pd.DataFrame:
    """Paragraphs of more than 60 characters; shorter lines are headings, lists and rests of tables."""
    (packed,) = members(dataset)
    rows = []
    for title, page in re.findall(
        r"<title>(.*?)</title>.*?<text[^>]*>(.*?)</text>", bz2.decompress(packed).decode(), re.DOTALL
    ):
        if page.startswith("#REDIRECT"):
            continue
        text = html.unescape(page)
        for pattern, kept in _MARKUP:
            text = re.sub(pattern, kept, text, flags=re.DOTALL)
        rows += [(line, html.unescape(title)) for line in text.split("\n") if len(line) > 60]
    return whole(pd.DataFrame(rows, columns=["text", "article"]))


@loads("wordllama")
def _wordllama(dataset: Dataset) -> pd.DataFrame:
    from safetensors.numpy import load

    vectors, tokenizer = members(dataset)
    matrix = load(vectors)["embedding.weight"].astype("float32")
    pieces = json.loads(tokenizer)["model"]["vocab"]
    words = pd.Index(sorted(pieces, key=pieces.get), name="word")
    return whole(pd.DataFrame(matrix, index=words))
