"""Tables of our own experiments: long runs from ``benchmarks/`` that a lesson draws, one row a run."""

from __future__ import annotations

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset, folder
from kerasllm.data.loaders.registry import loads, whole

pd = needed("pandas", "data")


@loads("reading-order")
def _reading_order(dataset: Dataset) -> pd.DataFrame:
    # Runs that chose a rate did not read the test texts; a length is that of the memory task alone.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv", keep_default_na=False, na_values=[""])
    numbers = ["length", "test_accuracy"]
    frame[numbers] = frame[numbers].fillna(0)
    texts = ["language", "order", "start"]
    frame[texts] = frame[texts].fillna("")
    return whole(frame.astype({"length": int}))


@loads("character-models")
def _character_models(dataset: Dataset) -> pd.DataFrame:
    # The validation books were read by the longer runs alone.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv")
    return whole(frame.fillna({"validation_bits": 0.0}))


@loads("modern-blocks")
def _modern_blocks(dataset: Dataset) -> pd.DataFrame:
    # The test books were not read by runs that chose a rate.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv")
    return whole(frame.fillna({"test": 0.0}).astype({"chosen": bool}))


@loads("tokens-and-spans")
def _tokens_and_spans(dataset: Dataset) -> pd.DataFrame:
    # What reads no numbers by chance, such as a list of names, has no seed and no rate.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv", dtype={"text": str})
    return whole(frame.fillna({"seed": -1, "rate": 0.0}).astype({"seed": int}))


@loads("translation-models")
def _translation_models(dataset: Dataset) -> pd.DataFrame:
    # The test part was not read by runs that chose a rate.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv")
    return whole(frame.fillna(0.0).astype({"chosen": bool}))


@loads("bert-pretraining")
def _bert_pretraining(dataset: Dataset) -> pd.DataFrame:
    # Hidden words belong to the small BERT alone; a logistic regression has no rate.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv")
    return whole(frame.fillna(0.0).astype({"hidden_steps": int, "passes": int}))


@loads("multilingual")
def _multilingual(dataset: Dataset) -> pd.DataFrame:
    # An answer that nobody learned has no source, a number of steps neither a target nor an interval.
    empty = {name: [""] for name in ("low", "high", "texts")}
    path = folder() / f"{dataset.name}.csv"
    frame = pd.read_csv(path, dtype={"source": str}, keep_default_na=False, na_values=empty)
    for end in ("low", "high"):
        frame[end] = frame[end].fillna(frame["value"])
    return whole(frame.fillna({"texts": 0}).astype({"texts": int}))


@loads("assistant-answers")
def _assistant_answers(dataset: Dataset) -> pd.DataFrame:
    # A number of a place or an expression names an item; an empty answer is one.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv", dtype={"item": str}, keep_default_na=False)
    return whole(frame)


@loads("preferences-and-rewards")
def _preferences_and_rewards(dataset: Dataset) -> pd.DataFrame:
    # Runs that chose a rate read the validation problems, the others the test problems.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv")
    return whole(frame.fillna(0.0).astype({"chosen": bool}))


@loads("instruction-tuning")
def _instruction_tuning(dataset: Dataset) -> pd.DataFrame:
    # The time of a run has no step and no language; texts were kept of one seed.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv", dtype={"text": str}, keep_default_na=False)
    for name in ("step", "item"):
        frame[name] = pd.to_numeric(frame[name]).fillna(-1).astype(int)
    return whole(frame)


@loads("headline-summaries")
def _headline_summaries(dataset: Dataset) -> pd.DataFrame:
    # A number has no text, and a headline that was written may be empty, or "None".
    frame = pd.read_csv(folder() / f"{dataset.name}.csv", keep_default_na=False)
    return whole(frame)


@loads("vision-language")
def _vision_language(dataset: Dataset) -> pd.DataFrame:
    # Seconds stand at runs that trained something. What nobody trained has the seed -1.
    frame = pd.read_csv(folder() / f"{dataset.name}.csv")
    return whole(frame.fillna({"seconds": 0}).astype({"seconds": int}))
