"""Texts of which every token has a tag."""

from __future__ import annotations

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset
from kerasllm.data.loaders.registry import loads, members, whole
from kerasllm.data.splits import fold

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
