"""The table of lesson 20: every cell of the plan once, and no test snippet for a run that chose a rate."""

import itertools

from kerasllm import data

SIZES, ARMS = (400, 1_600), ("text", "counts", "teacher")


def test_every_arm_has_three_seeds_at_both_sizes():
    table = data.load("distilled-students")
    names = ["snippets", "arm", "share", "rate", "seed", "chosen"]
    assert not table.duplicated(names).any()
    runs = table[table["chosen"] & (table["rate"] > 0)]
    plan = set(itertools.product(SIZES, ARMS, range(3)))
    assert set(runs[["snippets", "arm", "seed"]].itertuples(index=False, name=None)) == plan
    assert len(runs) == len(plan)
    assert (table[table["rate"] == 0].groupby("snippets")["arm"].nunique() == 2).all()  # teacher and counts themselves


def test_rates_and_shares_were_chosen_without_the_test_part():
    table = data.load("distilled-students")
    grid, runs = table[~table["chosen"]], table[table["chosen"] & (table["rate"] > 0)]
    assert (grid["test"] == 0).all()
    assert (runs["test"] > 0).all()
    assert not set(grid["seed"]) & set(runs["seed"])
    best = grid.loc[grid.groupby(["snippets", "arm"])["validation"].idxmin()].set_index(["snippets", "arm"])
    for key, some in runs.groupby(["snippets", "arm"]):
        assert (some[["share", "rate"]] == best.loc[key, ["share", "rate"]]).all(axis=None)
