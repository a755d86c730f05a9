"""Questions with answers: yes or no, one of several, a number, words of a passage; and sentences in pairs."""

from __future__ import annotations

import io
import json
import re

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset, folder
from kerasllm.data.errors import DataError
from kerasllm.data.loaders.registry import loads, members, whole
from kerasllm.data.splits import clean, fold, linked, same

pd = needed("pandas", "data")


def json_lines(content: bytes) -> list[dict]:
    """The objects of a file that holds one a line."""
    # Not splitlines: texts may hold characters that it takes for the end of a line.
    return [json.loads(line) for line in content.decode("utf-8").split("\n") if line.strip()]


@loads("boolq")
def _boolq(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    rows = json_lines(content)
    labelled = [one for one in rows if "label" in one]
    frame = pd.DataFrame(
        [(one["passage"].strip(), one["question"].strip(), one["label"]) for one in labelled],
        columns=["passage", "question", "label"],
    )
    frame["label"] = pd.Categorical.from_codes(frame["label"].astype(int), ["no", "yes"])
    passage, question = frame["passage"].map(fold), frame["question"].map(fold)
    groups = linked(zip("passage " + passage, "question " + question, strict=True))
    result = clean(frame, question + "\n" + passage, pd.Series(groups, dtype=object))
    dropped = {name: count for name, count in result.attrs.items() if name.startswith("dropped_")}
    return whole(result.rename(columns={"label": "answer"}), **dropped, dropped_unlabelled=len(rows) - len(labelled))


@loads("commonsense-qa")
@loads("openbook-qa")
@loads("piqa")
@loads("siqa")
@loads("mmlu")
def _choices(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    rows, broken = [], 0
    for one in json_lines(content):
        choices = _apart(one["options"])
        answer = "ABCDE".index(one["answer"].strip()[0])
        if len(choices) < 2 or answer >= len(choices) or len({same(choice) for choice in choices}) < len(choices):
            broken += 1
            continue
        rows.append((one.get("passage", "").strip(), one["question"].strip(), choices, answer))
    frame = pd.DataFrame(rows, columns=["passage", "question", "choices", "answer"])
    keys = frame["passage"] + "\n" + frame["question"] + "\n" + frame["choices"].map("\n".join)
    first = ~keys.map(same).duplicated()  # by all characters: "x + 1" is not "x - 1"
    result = frame[first].reset_index(drop=True).assign(split="test")
    if not result["passage"].any():
        result = result.drop(columns="passage")
    return whole(result, dropped_duplicates=int((~first).sum()), dropped_broken=broken)


def _apart(options: str) -> tuple[str, ...]:
    """The choices of "A. one\\nB. two"; none if the letters are not A, B and so on."""
    parts = re.split(r"(?:^|\n)([A-E])\. ", options.lstrip("\n"))
    letters, choices = parts[1::2], tuple(" ".join(choice.split()) for choice in parts[2::2])
    return choices if "".join(letters) == "ABCDE"[: len(letters)] and all(choices) else ()


@loads("gsm8k")
def _gsm8k(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    rows = []
    for one in json_lines(content):
        solution, answer = one["answer"].rsplit("\n#### ", 1)
        rows.append((one["question"].strip(), answer.strip().replace(",", ""), solution))
    frame = pd.DataFrame(rows, columns=["question", "answer", "solution"]).assign(split="test")
    first = ~frame["question"].map(fold).duplicated()
    return whole(frame[first].reset_index(drop=True), dropped_duplicates=int((~first).sum()))


@loads("short-passages")
def _short_passages(dataset: Dataset) -> pd.DataFrame:
    rows = []
    for language in ("english", "chinese"):
        for one in json_lines((folder() / f"{dataset.name}-{language}.jsonl").read_bytes()):
            about = (one["id"], language, one["subject"], one["title"], one["passage"])
            rows += [(*about, asked["question"], *_span(one, asked), one["split"]) for asked in one["questions"]]
    columns = ["passage_id", "language", "subject", "title", "passage", "question", "answer", "start", "split"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["language"] = pd.Categorical(frame["language"], ["english", "chinese"])
    frame.insert(columns.index("split"), "answerable", frame["start"] >= 0)
    return whole(frame)


def _span(passage: dict, asked: dict) -> tuple[str, int]:
    """The answer and the place of its first character in the passage: "" and -1 where the passage does not say."""
    answer, occurrence = asked["answer"], asked.get("occurrence", 0)
    if answer is None:
        return "", -1
    places = [found.start() for found in re.finditer(re.escape(answer), passage["passage"])]
    if occurrence >= len(places):
        raise DataError(f"{passage['id']} holds {answer!r} {len(places)} times: mend answer or occurrence in its file.")
    return answer, places[occurrence]


@loads("stereo-set")
def _stereo_set(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    names = {"context": "context", "stereotype": "stereotype", "anti-stereotype": "anti_stereotype"}
    names |= {"unrelated": "unrelated", "bias_type": "label", "type": "kind", "target": "target"}
    frame = pd.DataFrame(json_lines(content))[list(names)].rename(columns=names)
    frame["label"] = pd.Categorical(frame["label"], ["gender", "profession", "race", "religion"])
    frame["kind"] = pd.Categorical(frame["kind"], ["intersentence", "intrasentence"])
    return whole(frame.assign(split="test"))


@loads("crows-pairs")
def _crows_pairs(dataset: Dataset) -> pd.DataFrame:
    (content,) = members(dataset)
    table = pd.read_csv(io.BytesIO(content), index_col=0, keep_default_na=False)
    # mask1 is the word of the sentence that is called more stereotypical.
    sides = zip(table["sentence"], table["mask1"], table["mask2"], strict=True)
    filled = [[" ".join(text.replace("[MASK]", word).split()) for word in words] for text, *words in sides]
    frame = pd.DataFrame(filled, columns=["stereotype", "anti_stereotype"])
    frame["label"] = pd.Categorical(table["bias_type"])
    first = ~(frame["stereotype"] + "\n" + frame["anti_stereotype"]).duplicated()
    frame = frame[first].reset_index(drop=True).assign(split="test")
    return whole(frame, dropped_duplicates=int((~first).sum()))


@loads("minimal-pairs")
def _minimal_pairs(dataset: Dataset) -> pd.DataFrame:
    rows = json_lines((folder() / f"{dataset.name}.jsonl").read_bytes())
    frame = pd.DataFrame(rows, columns=["language", "phenomenon", "couple", "good", "bad"]).assign(split="test")
    frame["language"] = pd.Categorical(frame["language"], ["english", "chinese"])
    return whole(frame)


@loads("word-problems")
def _word_problems(dataset: Dataset) -> pd.DataFrame:
    frame = pd.read_csv(folder() / f"{dataset.name}.csv")
    frame["kind"] = pd.Categorical(frame["kind"])
    return whole(frame)
