"""Texts of which every token has a tag."""

from __future__ import annotations

import html
import re

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset
from kerasllm.data.loaders.registry import loads, members, whole
from kerasllm.data.splits import clean, fold

pd = needed("pandas", "data")


# The first lines of the newspapers of 25 and 27 January: see the card.
NEWS_BOUNDARIES = (15_767, 17_540)


@loads("peoples-daily")
def _peoples_daily(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    lines = content.decode("utf-8").rstrip("\n").split("\n")
    # "迈向/v  充满/v": no word holds a space, and no tag a slash.
    pairs = [[token.rsplit("/", 1) for token in line.split()] for line in lines]
    words, tags = ([[pair[place] for pair in line] for line in pairs] for place in (0, 1))
    validation, test = NEWS_BOUNDARIES
    parts = ["train"] * validation + ["validation"] * (test - validation) + ["test"] * (len(lines) - test)
    frame = pd.DataFrame(
        {
            "text": ["".join(line) for line in words],
            "split": parts,
            "words": [" ".join(line) for line in words],
            "tags": [" ".join(line) for line in tags],
        }
    )
    # A running text: repeated lines stay where they are, but no line of an earlier part comes again.
    keys = frame["text"].map(fold)
    earlier = keys.isin(keys[:validation]) & (frame.index >= validation)
    earlier |= keys.isin(keys[validation:test]) & (frame.index >= test)
    return whole(frame[~earlier].reset_index(drop=True), dropped_duplicates=int(earlier.sum()))


ENTITIES = {"nr": "person", "ns": "place", "nt": "organisation"}


@loads("peoples-daily-entities")
def _peoples_daily_entities(dataset: Dataset) -> pd.DataFrame:
    lines = _peoples_daily(dataset)
    tagged = [
        _characters(words.split(), tags.split()) for words, tags in zip(lines["words"], lines["tags"], strict=True)
    ]
    frame = lines[["text", "split"]].assign(
        words=[" ".join(text) for text in lines["text"]], tags=[" ".join(line) for line in tagged]
    )
    frame.attrs = dict(lines.attrs)
    return frame


def _characters(words: list[str], tags: list[str]) -> list[str]:
    """The tag of every character: B at the start of an entity, I inside of it, O elsewhere."""
    result, place = [], 0
    while place < len(words):
        kind = ENTITIES.get(tags[place])
        end = place + 1
        if kind == "person":
            while end < len(tags) and tags[end] == "nr":
                end += 1
            names = _people(words[place:end])
        else:
            names = [words[place]]
        for name in names:
            result += [f"B-{kind}"] + [f"I-{kind}"] * (len(name) - 1) if kind else ["O"] * len(name)
        place = end
    return result


def _people(words: list[str]) -> list[str]:
    """Tokens of persons that stand side by side as whole names: surname and given name belong together."""
    if len(words) == 3 and len(words[0]) == len(words[1]) == 1:  # 陈 方 安生, one person
        return ["".join(words)]
    names, place = [], 0
    while place < len(words):
        # A surname has one character, or (欧阳) two where all tokens pair up; a name in one token stands alone.
        both = len(words[place]) == 1 or len(words) % 2 == 0
        names.append("".join(words[place : place + 2] if both else words[place : place + 1]))
        place += 2 if both else 1
    return names


_OF_A_COPY = re.compile(r"https?://\S+|@\w+|\brt\b", re.IGNORECASE)


@loads("tweet-entities")
def _tweet_entities(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    rows = []
    for block in content.decode("utf-8").strip().split("\n\t\n"):
        pairs = [line.split("\t") for line in block.strip("\n").split("\n") if line.strip()]
        words = [html.unescape(word) for word, _ in pairs]
        rows.append((" ".join(words), " ".join(words), " ".join(tag for _, tag in pairs)))
    frame = pd.DataFrame(rows, columns=["text", "words", "tags"])
    # A tweet sent on differs in its address and its readers alone: it belongs in the part of the first one.
    near = frame["text"].map(lambda text: fold(_OF_A_COPY.sub(" ", text)).encode())
    return clean(frame, frame["text"].map(fold), near)[["text", "split", "words", "tags"]]
