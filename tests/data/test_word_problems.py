"""Problems in words: each worked example gives its answer, no text is in two parts, and the script makes this file."""

import importlib.util
from pathlib import Path

import pytest

from kerasllm import data

PARTS = {"train": 1_200, "validation": 256, "test": 256}


@pytest.fixture(scope="module")
def frame():
    return data.load("word-problems")


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "benchmarks" / "preferences_and_rewards.py"
    specification = importlib.util.spec_from_file_location("preferences_and_rewards", path)
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)  # as for a script: it imports its neighbours
        specification.loader.exec_module(module)
    return module


def test_each_worked_example_gives_its_answer(frame, script):
    assert frame["split"].value_counts().to_dict() == PARTS
    assert frame["problem"].is_unique
    for row in frame.itertuples():
        assert script.right(row.expression, row.answer), row.expression
        assert not script.right(row.expression, row.answer + 1)
    assert set(frame["kind"]) == set(script.KINDS)


def test_the_script_makes_the_file(frame, script):
    columns = ["problem", "expression", "answer", "kind", "split"]
    assert script.made_problems(PARTS) == frame[columns].values.tolist()


@pytest.mark.parametrize(
    ("reply", "readable"),
    [("fifty - three", True), ("fifty", True), ("fifty three", False), ("fifty -", False), ("many", False)],
)
def test_a_reply_is_readable_if_the_calculator_takes_it(reply, readable, script):
    assert script.readable(reply) == readable
    assert script.right(reply, 47) == (reply == "fifty - three")


def test_each_reply_has_a_partner_and_no_pair_comes_twice(script):
    assert script.couples(["a"], ["x", "y"]) == [("a", "x"), ("a", "y")]
    assert script.couples(["a", "b", "c"], ["x", "y"]) == [("a", "x"), ("b", "y"), ("c", "x")]
    assert script.couples([], ["x"]) == script.couples(["a"], []) == []
