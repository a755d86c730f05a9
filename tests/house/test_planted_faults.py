"""The list of planted faults stays true: it fits the code as it is. The faults themselves are planted by the script."""

import ast
import re

import planted_faults
import pytest
from planted_faults import ROOT, Fault, PlantingError, faults, planted


def test_each_fault_can_be_planted_in_the_code_as_it_is_and_its_tests_exist():
    for fault in faults():
        ast.parse(fault.planted_in((ROOT / "kerasllm" / fault.file).read_text("utf-8")))
        for test in fault.tests:
            path, name = re.fullmatch(r"(.+?)::(\w+)(?:\[.+\])?", test).groups()
            assert f"def {name}(" in (ROOT / path).read_text("utf-8"), f"{fault.name}: there is no {test}"
    assert len(faults()) >= 30


def test_a_fault_stands_in_the_copy_as_long_as_it_is_planted(tmp_path):
    path = tmp_path / "kerasllm" / "one.py"
    path.parent.mkdir()
    path.write_text("a < b", "utf-8")
    with planted(Fault("wide", "one.py", "<", "<=", ()), tmp_path):
        assert path.read_text("utf-8") == "a <= b"
    assert path.read_text("utf-8") == "a < b"


@pytest.mark.parametrize("text", ["a > b", "a < b < c"])
def test_a_place_that_is_gone_or_not_clear_is_an_error_with_its_name(text):
    with pytest.raises(PlantingError, match=r"wide: '<' stands [02] times in one\.py"):
        Fault("wide", "one.py", "<", "<=", ()).planted_in(text)


def test_a_survivor_is_told_from_a_failure_and_from_a_test_that_is_missing(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_good():\n    pass\n\ndef test_bad():\n    assert 1 - 1\n", "utf-8")
    assert planted_faults.first_failure(["test_it.py::test_good"], tmp_path) is None
    assert planted_faults.first_failure(["test_it.py"], tmp_path) == "test_bad"
    with pytest.raises(PlantingError, match="could not run"):
        planted_faults.first_failure(["test_it.py::test_gone"], tmp_path)
