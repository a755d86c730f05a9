"""From archives to clean tables: one function for each data set, in one file for each kind."""

from __future__ import annotations

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import find
from kerasllm.data.loaders import (
    bibles,
    bundled,
    commands,
    documentation,
    experiments,
    library,
    pairs,
    pictures,
    questions,
    replies,
    tagged,
    texts,
    words,
)
from kerasllm.data.loaders.library import library_database
from kerasllm.data.loaders.registry import LOADERS

pd = needed("pandas", "data")

__all__ = [
    "bibles",
    "bundled",
    "commands",
    "documentation",
    "experiments",
    "library",
    "library_database",
    "load",
    "pairs",
    "pictures",
    "questions",
    "replies",
    "tagged",
    "texts",
    "words",
]


def load(name: str) -> pd.DataFrame:
    """Load a data set as a clean table. The first load fetches its archive (see `catalog` for sizes).

    Args:
        name: a name from `catalog`.

    Returns:
        For texts a frame with the columns text, label, split (king-james: also chapter and verse);
        for tables the feature columns, then label and split. ``label`` is a Categorical with
        readable names, ``split`` is "train", "validation" or "test". The splits are fixed, and no
        text is in two of them. The order of the rows is always the same. ``attrs`` says how many rows
        were read and dropped.

        Tasks have the columns that they need, then split; every card lists them:

        - translation: source, target, label (the language of the target). In the Bibles, which are
          texts by place, the label is the language.
        - questions: passage, question, answer (boolq: no or yes); question, choices, answer (the place
          of the right choice, from 0); question, answer, solution (gsm8k); passage, question, answer ("" where the
          passage does not say), start (of the answer in the passage, or -1), answerable (short-passages); problem,
          expression, answer, kind (word-problems).
        - tags: words and tags, both separated by spaces (peoples-daily: parts of speech, without label;
          the sets of entities and home-assistant-intents: B-, I- and O).
        - questions about a database of ours: template, language, question, sql ("" where the tables do not say),
          answerable, ordered (whether the order of the rows is asked for), skills (library-questions).
        - replies: prompt, reply; prompt, chosen, rejected, turns; summaries: text, summary.
        - conversations with tools: dialogue_id, language, kinds, messages (tool-dialogues); ``attrs`` holds the tools
          as JSON schemas, the events of the calendars and the documents.
        - minimal pairs: language, phenomenon, couple, good, bad (minimal-pairs).
        - bias: stereotype and anti_stereotype, two sentences, with the kind of bias as label.
        - search: title, kind, text, passage (python-documentation); question, titles, wording (its questions).
        - experiments of ours (reading-order, character-models, modern-blocks, translation-models, bert-pretraining,
          preferences-and-rewards): a row for each run; there are no splits. tokens-and-spans, multilingual,
          instruction-tuning and vision-language have a row for each number, assistant-answers one for each answer of a
          service, headline-summaries one for each headline.
        - openmoji: emoji, english, chinese and picture, an array of 64 x 64 x 3.

        What would give an answer away decides the split: a passage, a template, either side of a pair.

        For word vectors a frame of float32 with one row a word: ``frame.index`` holds the words,
        ``frame.to_numpy()`` the matrix, and ``frame.index.get_indexer(words)`` the row of each word,
        -1 for unknown ones. For tests of words the columns are word_1, word_2, score (similarity) or
        a, b, c, d, category (analogies), then split, which is always "test".

    Raises:
        UnknownDatasetError: if no data set has this name.
        DataError: if the data cannot be brought, verified or read; the message says what to do.
    """
    dataset = find(name)
    frame = LOADERS[dataset.name](dataset)
    frame.attrs["name"] = dataset.name
    return frame
