"""Python's own documentation as passages to be searched, and questions of ours about it."""

from __future__ import annotations

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset, folder
from kerasllm.data.loaders.questions import json_lines
from kerasllm.data.loaders.registry import loads, whole
from kerasllm.data.python_texts import passages_of, texts

pd = needed("pandas", "data")

LEAST = 3  # words; fewer explain nothing ("See os.link().")
KINDS = ("module", "class", "function", "method", "topic")
WORDINGS = ("same words", "other words", "no answer")


@loads("python-documentation")
def _python_documentation(dataset: Dataset) -> pd.DataFrame:
    rows, short = [], 0
    for title, kind, text in texts():
        passages = passages_of(text)
        if len(" ".join(passages).split()) < LEAST:
            short += 1
            continue
        rows += [(title, kind, passage, number) for number, passage in enumerate(passages)]
    frame = pd.DataFrame(rows, columns=["title", "kind", "text", "passage"])
    frame["kind"] = pd.Categorical(frame["kind"], KINDS)
    return whole(frame, dropped_short=short)


@loads("documentation-questions")
def _documentation_questions(dataset: Dataset) -> pd.DataFrame:
    rows = json_lines((folder() / f"{dataset.name}.jsonl").read_bytes())
    frame = pd.DataFrame(rows, columns=["question", "titles", "wording"])
    frame["titles"] = frame["titles"].map(tuple)
    frame["wording"] = pd.Categorical(frame["wording"], WORDINGS)
    # Every fourth: the file has the wordings one after another, so each is in both parts.
    frame["split"] = ["test" if row % 4 else "validation" for row in frame.index]
    return whole(frame)
