"""The benchmark for a GPU, at tiny sizes on this processor and without TensorFlow, as a GPU's machine has it."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "accelerator.py"
TEXT = "To be, or not to be, that is the question:\nWhether 'tis nobler in the mind to suffer\n" * 40


def run(folder, *arguments):
    if not importlib.util.find_spec("jax"):
        pytest.skip("JAX is not installed")
    blocked = "import sys\nfor name in ('tensorflow', 'tensorflow_text'):\n    sys.modules[name] = None\n"
    (folder / "sitecustomize.py").write_text(blocked)
    environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--smoke", *map(str, arguments)],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def test_sections_give_one_object_and_a_table_and_one_that_fails_leaves_the_others(tmp_path):
    text, table, nothing = tmp_path / "text.txt", tmp_path / "table.md", tmp_path / "no-such.npz"
    text.write_text(TEXT)
    sections = ["card", "battery", "training.classic", "decoding.gpt2"]
    found = run(tmp_path, "--text", text, "--table", table, "--reference", nothing, "--only", *sections)
    assert found.returncode == 0, found.stderr[-3000:]
    results = json.loads(found.stdout.splitlines()[-1])
    assert list(results) == ["smoke", *sections]
    assert "no-such.npz" in results["battery"]["error"]
    assert not [name for name in sections if name != "battery" and "error" in results[name]], found.stdout[-3000:]
    assert results["card"]["matrix_tflops"] > 0
    [whole] = results["training.classic"]["runs"].values()
    assert {"step_ms", "first_step_seconds", "tokens_per_second", "tflops", "peak_gb"} <= whole.keys()
    assert whole["steps"] == 20
    assert [steps for steps, _ in whole["losses"]] == [10, 20]
    assert whole["best_loss"] == min(loss for _, loss in whole["losses"])
    one, many = results["decoding.gpt2"]["writing"].values()
    assert (one["batch"], many["batch"]) == (1, 64)
    rows = [line.count("|") for line in table.read_text().splitlines() if line.startswith("| ours")]
    assert rows == [8, 6, 6]
    assert table.read_text().startswith("cpu: ")
    assert "- battery: FileNotFoundError" in table.read_text()


def test_the_battery_finds_a_wrong_output(tmp_path):
    import numpy as np

    reference = tmp_path / "reference.npz"
    made = run(tmp_path, "--make-reference", reference)
    assert made.returncode == 0, made.stderr[-3000:]
    arrays = dict(np.load(reference))
    wrong = next(name.removesuffix("/output") for name in arrays if name.endswith("/output"))
    arrays[f"{wrong}/output"] = arrays[f"{wrong}/output"] * 1.01
    np.savez(reference, **arrays)
    found = run(tmp_path, "--reference", reference, "--only", "battery")
    results = json.loads(found.stdout.splitlines()[-1])["battery"]["precisions"]
    exact = results["float32, highest precision"]
    assert exact["where"] == wrong
    assert 0.009 < exact["largest"] < 0.011
    assert exact["median"] < 1e-5 < results["mixed_bfloat16"]["median"] < 0.05


def test_a_section_that_there_is_not_and_a_missing_text_are_named(tmp_path):
    found = run(tmp_path, "--only", "flying")
    assert found.returncode == 1
    assert "no section 'flying'" in found.stderr
    assert "training.classic" in found.stderr
    found = run(tmp_path, "--text", "no-such-file")
    assert "There is no file no-such-file" in found.stderr
