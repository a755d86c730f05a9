"""The table of readers of lesson 11: every cell of the plan once, and no test text for a run that chose a rate."""

import itertools

from kerasllm import data

READERS = ("bag", "CNN", "GRU", "LSTM", "BiLSTM")


def test_every_cell_of_the_experiment_is_there_once():
    table = data.load("reading-order")
    settings = ["experiment", "language", "model", "order", "start", "length", "seed"]
    assert not table.duplicated([*settings, "rate"]).any()
    runs = table[table["experiment"] == "opinions"]
    plan = itertools.product(("English", "Chinese"), READERS, ("in order", "shuffled"), ("random", "vectors"), range(3))
    assert set(plan) == set(runs[["language", "model", "order", "start", "seed"]].itertuples(index=False, name=None))
    assert len(runs) == 120
    assert set(table["experiment"]) == {"rates", "opinions", "exchanged", "memory"}


def test_each_reader_has_the_rate_that_the_validation_texts_chose():
    table = data.load("reading-order")
    grid = table[table["experiment"] == "rates"]
    assert (grid["test_accuracy"] == 0).all()
    assert not set(grid["seed"]) & set(table.loc[table["experiment"] != "rates", "seed"])
    best = grid.groupby(["model", "rate"])["validation_loss"].mean().unstack().idxmin(axis=1)
    for experiment in ("opinions", "exchanged"):
        used = table[table["experiment"] == experiment].groupby("model")["rate"].agg(["min", "max"])
        assert (used["min"] == used["max"]).all()
        assert used["min"].to_dict() == best.to_dict()


def test_a_bag_cannot_know_which_opinion_stands_last():
    table = data.load("reading-order")
    bag = table[(table["experiment"] == "exchanged") & (table["model"] == "bag")]
    assert (bag["test_accuracy"] == 0.5).all()
