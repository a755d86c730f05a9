"""Sentences with their translations, split so that neither side of a pair is known from another part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath

from kerasllm.common.extras import needed
from kerasllm.data.archives import member_names, read_members
from kerasllm.data.catalogue import Dataset
from kerasllm.data.fetching import fetch
from kerasllm.data.loaders.registry import loads, members, whole
from kerasllm.data.splits import clean, fold, linked

pd = needed("pandas", "data")

LANGUAGES = {"zh-Hans": "chinese", "fr": "french", "de": "german", "es": "spanish"}


def _cleaned(frame: pd.DataFrame) -> pd.DataFrame:
    """Clean a frame with the columns source, target, label (the target's language): no copies, no pairs left as is."""
    source, target = frame["source"].map(fold), frame["target"].map(fold)
    translated = (source != target) & (source != "") & (target != "")
    frame = frame[translated].reset_index(drop=True)
    source, target = (side[translated].reset_index(drop=True) for side in (source, target))
    keys = source + "\n" + target + "\n" + frame["label"].astype(str)
    result = clean(frame, keys, pd.Series(linked(zip(source, target, strict=True)), dtype=object))
    dropped = {"dropped_duplicates": result.attrs["dropped_duplicates"]}
    return whole(result, **dropped, dropped_untranslated=int((~translated).sum()))


@loads("home-assistant")
def _home_assistant(dataset: Dataset) -> pd.DataFrame:
    path = fetch(dataset.archive, dataset.name)
    names = {name: PurePosixPath(name) for name in member_names(path, dataset.members[0])}
    wanted = [name for name, place in names.items() if place.stem in {"en", *LANGUAGES}]
    english: dict[tuple[str, ...], str] = {}
    others: dict[tuple[str, ...], str] = {}
    for name, content in read_members(path, wanted).items():
        component, language = names[name].parts[-3], names[name].stem
        for key, text in _strings(json.loads(content)):
            if language == "en":
                english[component, *key] = text
            else:
                others[language, component, *key] = text
    rows = [
        (english[key[1:]].strip(), others[key].strip(), LANGUAGES[key[0]])
        for key in sorted(others, key=lambda key: (list(LANGUAGES).index(key[0]), key))
        if key[1:] in english
    ]
    frame = pd.DataFrame(rows, columns=["source", "target", "label"])
    frame["label"] = pd.Categorical(frame["label"], LANGUAGES.values())
    return _cleaned(frame)


def _strings(values: dict, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The texts of a nested table, each with its way through the table."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _strings(value, (*key, name))
        elif isinstance(value, str):
            yield (*key, name), value


@loads("hsk-sentences")
def _hsk_sentences(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    rows = [
        (
            one["translation"]["en"].strip(),
            one["chinese"].strip(),
            "chinese",
            one["hsk_level"],
            " ".join(token["word"] for token in one["tokens"]),
            one["pinyin"],
        )
        for one in json.loads(content)
    ]
    frame = pd.DataFrame(rows, columns=["source", "target", "label", "level", "words", "pinyin"])
    frame["label"] = pd.Categorical(frame["label"], ["chinese"])
    result = _cleaned(frame)
    return result[["source", "target", "label", "split", "level", "words", "pinyin"]]
