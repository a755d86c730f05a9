"""Texts with one label each: opinions, messages, questions."""

from __future__ import annotations

import bz2
import html
import io
import re

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset
from kerasllm.data.loaders.registry import loads, members
from kerasllm.data.splits import clean, fold

pd = needed("pandas", "data")


def _cleaned(frame: pd.DataFrame) -> pd.DataFrame:
    """Clean a frame of texts and labels: a near-copy is a text with the same `fold`."""
    return clean(frame, frame["text"].map(lambda text: fold(text).encode()))


@loads("movie-snippets")
def _movie_snippets(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    # quoting=3: quotation marks are part of the text. A film called "None" is no missing value.
    table = pd.read_csv(io.BytesIO(content), sep="\t", quoting=3, keep_default_na=False)
    label = pd.Categorical.from_codes((table["sentiment"] > 0).astype(int), ["negative", "positive"])
    return _cleaned(pd.DataFrame({"text": table["text"].str.strip(), "label": label}))


@loads("product-snippets")
def _product_snippets(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    table = pd.read_csv(io.BytesIO(content), sep="\t", quoting=3, keep_default_na=False)
    label = pd.Categorical.from_codes((table["sentiment"] > 0).astype(int), ["negative", "positive"])
    frame = pd.DataFrame({"text": table["text"].str.strip(), "label": label, "rating": table["sentiment"]})
    # By review: its product and its writer are in all its sentences.
    review = table["id"].str.split("_").str[0]
    result = clean(frame, frame["text"].map(fold), review.map(str.encode))
    return result[["text", "label", "split", "rating"]]


@loads("chinese-reviews")
def _chinese_reviews(dataset: Dataset) -> pd.DataFrame:
    # Not splitlines: some reviews hold characters that it takes for the end of a line.
    groups = [content.decode("utf-8").rstrip("\n").split("\n") for content in members(dataset)]
    codes = [code for code, group in enumerate(groups) for _ in group]
    label = pd.Categorical.from_codes(codes, ["negative", "positive"])
    return _cleaned(pd.DataFrame({"text": [line.strip() for group in groups for line in group], "label": label}))


@loads("sms-spam")
def _sms_spam(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    table = pd.read_csv(io.BytesIO(content), index_col=0, keep_default_na=False)
    rows = []
    for text, spam in zip(table["text"], table["spam"], strict=True):
        # A quotation mark that was never closed: 8 texts hold the 737 messages that followed them.
        first, *glued = re.split(r"\n(ham|spam)\t", text)
        rows.append((first, ["ham", "spam"][spam]))
        rows.extend(zip(glued[1::2], glued[0::2], strict=True))
    frame = pd.DataFrame([(html.unescape(text).strip(), label) for text, label in rows], columns=["text", "label"])
    frame["label"] = pd.Categorical(frame["label"], ["ham", "spam"])
    return _cleaned(frame)


QUESTION_LABELS = {
    "ABBR": "abbreviation",
    "DESC": "description",
    "ENTY": "entity",
    "HUM": "human",
    "LOC": "location",
    "NUM": "number",
}


@loads("trec-questions")
def _trec_questions(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    rows = [re.split("[: ]", line, maxsplit=2) for line in content.decode("utf-8").rstrip("\n").split("\n")]
    frame = pd.DataFrame([(text.strip(), label, fine) for label, fine, text in rows], columns=["text", "label", "fine"])
    frame["label"] = pd.Categorical(frame["label"].map(QUESTION_LABELS), QUESTION_LABELS.values())
    return _cleaned(frame)[["text", "label", "split", "fine"]]


@loads("rotten-tomatoes")
def _rotten_tomatoes(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    table = pd.read_csv(io.BytesIO(bz2.decompress(content)), keep_default_na=False)
    table = table[table["category"].isin(["rotten", "fresh"])].reset_index(drop=True)  # without the plots
    frame = pd.DataFrame({"text": table["text"].str.strip(), "film": table["movie_name"]})
    frame.insert(1, "label", pd.Categorical(table["category"], ["rotten", "fresh"]))
    # By film: its actors and its story are in all its reviews.
    result = clean(frame, frame["text"].map(fold), frame["film"].map(lambda film: fold(film).encode()))
    return result[["text", "label", "split", "film"]]
