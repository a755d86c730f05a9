"""The tables of lessons 14, 15 and 26: every cell of the plan once, and no test text for a run that chose a rate."""

import itertools

from kerasllm import data


def test_both_translators_have_three_seeds():
    table = data.load("translation-models")
    assert not table.duplicated(["model", "passes", "seed", "chosen", "rate"]).any()
    runs = table[table["chosen"]]
    plan = set(itertools.product(("transformer", "LSTM"), (6,), range(3)))
    assert set(runs[["model", "passes", "seed"]].itertuples(index=False, name=None)) == plan
    assert len(runs) == len(plan)
    sizes = table.groupby("model")["parameters"].first()
    assert abs(sizes["LSTM"] / sizes["transformer"] - 1) < 0.01


def test_the_rates_of_the_translators_were_chosen_without_the_test_part():
    table = data.load("translation-models")
    grid, runs = table[~table["chosen"]], table[table["chosen"]]
    scores = [name for name in table if name.endswith(("bleu", "chrf"))]
    assert (grid[scores] == 0).all(axis=None)
    assert (runs[scores] > 0).all(axis=None)
    assert not set(grid["seed"]) & set(runs["seed"])
    for key, some in grid.groupby(["model", "passes"]):
        best, used = some.loc[some["validation_loss"].idxmin(), "rate"], runs.set_index(["model", "passes"])["rate"]
        assert (used.loc[key] == best).all()
        assert {best / 2, best * 2} <= set(some["rate"])  # both neighbours were tried


def test_every_encoder_has_three_seeds_of_each_way_to_train():
    table = data.load("bert-pretraining")
    assert not table.duplicated(["experiment", "model", "weights", "trained", "hidden_steps", "seed", "rate"]).any()
    runs = table[table["experiment"] == "snippets"]
    ways = {("MiniLM", "random", "head", 0)}
    ways |= {("MiniLM", kind, "upper two", 0) for kind in ("pretrained", "random")}
    ways |= {("small BERT", "hidden words" if steps else "random", "all", steps) for steps in (0, 300)}
    plan = {(*way, seed) for way in ways for seed in range(3)} | {("MiniLM", "pretrained", "head", 0, 0)}
    names = ["model", "weights", "trained", "hidden_steps", "seed"]
    assert set(runs[names].itertuples(index=False, name=None)) == plan
    assert len(runs) == len(plan)


def test_the_rates_of_the_encoders_were_chosen_without_the_test_part():
    table = data.load("bert-pretraining")
    runs = table[table["experiment"] == "snippets"]
    grid = table[table["experiment"].isin(["rates", "hidden rates"])]
    assert (grid["test_accuracy"] == 0).all()
    assert (runs["test_accuracy"] > 0).all()
    assert not set(grid["seed"]) & set(runs["seed"])
    names = ["model", "weights", "trained", "hidden_steps"]
    rates = grid[grid["experiment"] == "rates"]
    best = rates.loc[rates.groupby(names)["validation_loss"].idxmin()].set_index(names)["rate"]
    for way, some in runs[runs["rate"] > 0].groupby(names):
        assert (some["rate"] == best.loc[way]).all()


LANGUAGES = ["english", "german", "french", "spanish", "russian", "chinese"]
SUBJECTS = ["english films", "english goods", "chinese goods"]


def test_every_head_judges_every_subject_from_three_draws():
    table = data.load("multilingual")
    assert not table.duplicated(["part", "model", "source", "target", "seed", "measure"]).any()
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    heads = table.query("part == 'transfer' and measure == 'accuracy' and source != ''")
    e5 = [*SUBJECTS, "english films, shuffled labels"]
    minilm = ["english films", "english films, shuffled labels", "chinese goods"]
    plan = set(itertools.product(["e5-small"], e5, SUBJECTS, range(3)))
    plan |= set(itertools.product(["minilm"], minilm, SUBJECTS, range(3)))
    assert set(heads[["model", "source", "target", "seed"]].itertuples(index=False, name=None)) == plan
    shuffled = heads[heads["source"].str.endswith("shuffled labels")]
    assert 0.4 < shuffled["value"].mean() < 0.6


def test_every_language_is_searched_from_every_other_by_every_index():
    table = data.load("multilingual")
    found = table.query("part == 'verses' and measure == 'hit at 1'")
    pairs = set(itertools.permutations(LANGUAGES, 2))
    for _, some in found.groupby("model"):
        assert set(some[["source", "target"]].itertuples(index=False, name=None)) == pairs
    assert {"e5-small", "minilm", "BM25, words", "BM25, three characters"} <= set(found["model"])


def test_the_shared_writer_is_held_against_writers_of_one_language_and_rates_were_chosen_before():
    table = data.load("multilingual")
    bits = table.query("part == 'writing' and measure == 'bits a character'")
    assert set(bits.query("model == 'six languages' and seed == 0")["target"]) == set(LANGUAGES)
    assert {f"{one}, its sixth" for one in LANGUAGES} <= set(bits.loc[bits["seed"] == 0, "model"])
    # A difference is that of the two numbers in the table.
    value = bits.set_index(["model", "target", "seed"])["value"]
    for row in table.query("part == 'writing' and measure == 'difference'").itertuples():
        of_both = value["six languages", row.target, row.seed] - value[row.model, row.target, row.seed]
        assert abs(row.value - of_both) < 2e-4
    rates = table[table["part"] == "rates"]
    assert not set(rates["seed"]) & set(bits["seed"])
    for _, some in rates.groupby("model"):
        assert len(some) >= 3


def test_what_a_gpt_sees_has_three_seeds_of_each_model():
    table = data.load("vision-language")
    assert not table.duplicated(["part", "model", "seed", "asked", "measure"]).any()
    asked = table[table["part"] == "asked"]
    plan = set(itertools.product(("lite0", "answers shuffled", "others' pictures", "blank at the test"), range(3)))
    assert plan | {("most frequent", -1)} == set(asked[["model", "seed"]].itertuples(index=False, name=None))
    assert set(asked["asked"]) == {"name", "colour", "animal", "all"}
    pairs = table[table["part"] == "pairs"]
    plan = set(itertools.product(("lite0", "lite0, shuffled", "patches"), range(3)))
    assert plan <= set(pairs[["model", "seed"]].itertuples(index=False, name=None))
    assert (pairs["texts"] == 254).all()
    first, fifth = (pairs.query("measure == @one")["value"].to_numpy() for one in ("recall at 1", "recall at 5"))
    assert (first <= fifth).all()
    assert set(table.loc[table["part"] == "digits", "texts"]) == {345}
