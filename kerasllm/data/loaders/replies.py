"""What a language model is tuned on: instructions, pairs of replies, conversations with tools, summaries."""

from __future__ import annotations

import io
import json
import zipfile

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset, folder
from kerasllm.data.loaders.questions import json_lines
from kerasllm.data.loaders.registry import loads, members, whole
from kerasllm.data.splits import clean, fold, linked

pd = needed("pandas", "data")

LANGUAGES = ["english", "chinese"]  # the order of the members in the catalogue


@loads("instructions")
def _instructions(dataset: Dataset) -> pd.DataFrame:
    rows = [
        (
            f"{one['instruction'].strip()}\n\n{one['input'].strip()}".strip(),
            one["output"].strip(),
            language,
            instruction,
        )
        for language, content in zip(LANGUAGES, members(dataset), strict=True)
        for one in json.loads(content)
        for instruction in [fold(one["instruction"])]
    ]
    frame = pd.DataFrame(rows, columns=["prompt", "reply", "label", "instruction"])
    # The same instruction about another text, or the same long reply, is no new example.
    groups = linked([row.instruction, fold(row.prompt), *_long(row.reply)] for row in frame.itertuples())
    return _by_language(frame.drop(columns="instruction"), frame["prompt"].map(fold), groups)


@loads("preferences")
def _preferences(dataset: Dataset) -> pd.DataFrame:
    roles = {"human": "user", "gpt": "assistant", "system": "system"}
    rows = []
    for language, content in zip(LANGUAGES, members(dataset), strict=True):
        for one in json.loads(content):
            turns = [{"role": roles[turn["from"]], "content": turn["value"].strip()} for turn in one["conversations"]]
            prompt = turns[-1]["content"]
            rows.append((prompt, one["chosen"]["value"].strip(), one["rejected"]["value"].strip(), language, turns))
    frame = pd.DataFrame(rows, columns=["prompt", "chosen", "rejected", "label", "turns"])
    said = frame["turns"].map(lambda turns: [fold(turn["content"]) for turn in turns if turn["role"] == "user"])
    replies = frame[["chosen", "rejected"]].to_numpy()
    groups = linked([*texts, *_long(*both)] for texts, both in zip(said, replies, strict=True))
    return _by_language(frame, said.map("\n".join) + "\n" + frame["chosen"].map(fold), groups)


@loads("tool-dialogues")
def _tool_dialogues(dataset: Dataset) -> pd.DataFrame:
    rows = json_lines((folder() / f"{dataset.name}.jsonl").read_bytes())
    frame = pd.DataFrame(rows, columns=["id", "language", "kinds", "messages", "split"])
    frame = frame.rename(columns={"id": "dialogue_id"})
    frame["kinds"] = frame["kinds"].map(tuple)
    frame["language"] = pd.Categorical(frame["language"], LANGUAGES)
    frame = whole(frame)
    frame.attrs |= json.loads((folder() / f"{dataset.name}-tools.json").read_text("utf-8"))
    return frame


def _long(*texts: str) -> list[str]:
    """The folded texts that are long enough to be known again; "Yes." and "Positive" are no one's."""
    return [folded for folded in map(fold, texts) if len(folded) >= 40]


def _by_language(frame: pd.DataFrame, keys: pd.Series, groups: list[bytes]) -> pd.DataFrame:
    language = pd.Categorical(frame["label"], LANGUAGES)
    result = clean(frame.drop(columns="label"), keys, pd.Series(groups, dtype=object))
    result["label"] = language[~keys.duplicated() & (keys != "")]
    columns = [name for name in frame.columns if name not in ("label", "turns")] + ["label", "split"]
    return result[columns + ["turns"] * ("turns" in frame)]


def summaries(frame: pd.DataFrame) -> pd.DataFrame:
    """Clean a frame with the columns text and summary: no text and no summary in two parts."""
    text, summary = frame["text"].map(fold), frame["summary"].map(fold)
    full = (text != "") & (summary != "")
    frame, text, summary = (one[full].reset_index(drop=True) for one in (frame, text, summary))
    result = clean(frame, text, pd.Series(linked(zip(text, summary, strict=True)), dtype=object))
    dropped = {"dropped_duplicates": result.attrs["dropped_duplicates"]}
    return whole(result, **dropped, dropped_empty=int((~full).sum()))


@loads("xsum")
def _xsum(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    rows = [(one["document"].strip(), one["summary"].strip()) for one in json_lines(content)]
    return summaries(pd.DataFrame(rows, columns=["text", "summary"]))


@loads("headlines")
def _headlines(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    with zipfile.ZipFile(io.BytesIO(content)) as inner:  # an archive in the archive
        table = pd.read_csv(io.BytesIO(inner.read("NewsArticles.csv")), keep_default_na=False)
    frame = pd.DataFrame({"text": table["text"].str.strip(), "summary": table["title"].str.strip()})
    return summaries(frame)
