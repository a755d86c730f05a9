"""The table of lesson 15: pairs of runs that differ in the weights alone, and rates that no test text has chosen."""

from kerasllm import data


def test_every_pretrained_run_has_its_control():
    table = data.load("bert-pretraining")
    settings = ["experiment", "model", "weights", "trained", "labels", "hidden_steps", "seed", "rate"]
    assert not table.duplicated(settings).any()
    runs = table[table["experiment"] == "snippets"]
    for model, learned, pair in (
        ("MiniLM", "upper two", ("pretrained", "random")),
        ("own", "all", ("hidden words", "random")),
    ):
        some = runs[(runs["model"] == model) & (runs["trained"] == learned)]
        seeds = [sorted(some.loc[some["weights"] == start, "seed"]) for start in pair]
        assert seeds[0] == seeds[1] == [0, 1, 2]
        assert set(some["labels"]) == {480}


def test_rates_were_chosen_without_the_test_texts():
    table = data.load("bert-pretraining")
    grid, runs = (table[table["experiment"] == name] for name in ("rates", "snippets"))
    assert (grid["test_accuracy"] == 0).all()
    assert not set(grid["seed"]) & set(runs["seed"])
    for (model, start), rates in grid.groupby(["model", "weights"]):
        used = runs[(runs["model"] == model) & (runs["weights"] == start) & (runs["rate"] > 0)]["rate"]
        best = rates.loc[rates["validation_accuracy"].idxmax(), "rate"]
        assert set(used) == {best}, (model, start)
