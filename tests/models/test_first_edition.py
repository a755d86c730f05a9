"""Files that the first edition wrote (first_edition/make_files.py says how): they load and give what they gave."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from nursery import python

from kerasllm import weights

FILES = Path(__file__).parent / "first_edition"
LANGUAGE_MODELS = ("defaults", "modern", "shared_heads", "sinusoidal", "lstm", "lstm_untied", "neural_ngram")
TRAINED = ("trained_classic", "trained_modern")
# As a reader's script does it: a process that knows Keras and has imported the models, nothing else of ours.
LOAD = """
import sys, traceback
import keras, numpy as np
import kerasllm.models

folder, out, *names = sys.argv[1:]
again = ("modern", "trained_modern", "everything")  # from the first edition's file to one of this edition
ids = np.load(folder + "/expected.npz")["ids"]
found = {}
for name in names:
    try:
        model = keras.saving.load_model(f"{folder}/{name}.keras")
        if name in again:
            model.save(out + ".keras")
            model = keras.saving.load_model(out + ".keras")
        outputs = model(ids)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        found |= {f"{name}_{i}": np.array(one) for i, one in enumerate(outputs)}
        if name.startswith("trained_"):
            found[name + "_loss"] = model.train_on_batch(ids[:, :-1], ids[:, 1:])
            found[name + "_after"] = np.array(model(ids))
    except Exception:
        found[name + "_error"] = traceback.format_exc()
np.savez(out, **found)
"""


@pytest.fixture(scope="module")
def expected():
    return dict(np.load(FILES / "expected.npz"))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What this edition gives for all files, in one fresh process; an error's text in place of what failed."""
    out = tmp_path_factory.mktemp("found") / "found.npz"
    command = [*python(), "-c", LOAD, FILES, out, *LANGUAGE_MODELS, *TRAINED, "everything"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(out))


def check(found, name, outputs):
    assert f"{name}_error" not in found, str(found[f"{name}_error"])
    for i, output in enumerate(outputs):
        np.testing.assert_allclose(found[f"{name}_{i}"], output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_model_of_the_first_edition_gives_the_logits_it_gave(name, found, expected):
    check(found, name, [expected[name]])


def test_every_layer_of_the_first_edition_gives_what_it_gave_also_when_saved_again(found, expected):
    check(found, "everything", [expected[f"everything_{i}"] for i in range(3)])


@pytest.mark.parametrize("name", TRAINED)
def test_a_compiled_model_of_the_first_edition_trains_on_where_it_stopped(name, found, expected):
    check(found, name, [expected[f"{name}_before"]])
    np.testing.assert_allclose(found[f"{name}_loss"], expected[f"{name}_loss"], rtol=1e-5)
    moved, missed = (expected[f"{name}_after"] - one for one in (expected[f"{name}_before"], found[f"{name}_after"]))
    # Muon makes rounding larger, so backends differ a little; a forgotten state goes another way.
    assert np.linalg.norm(missed) < 0.03 * np.linalg.norm(moved) > 1e-3


def test_a_safetensors_file_of_the_first_edition_gives_the_logits_it_gave(expected):
    model = weights.load_safetensors(FILES / "modern.safetensors")
    np.testing.assert_allclose(np.array(model(expected["ids"])), expected["modern"], rtol=1e-5, atol=1e-5)


def test_the_shipped_checkpoint_gives_the_logits_it_gave(expected):
    model, tokenizer = weights.pretrained("king-james-gpt")
    ids = np.array([tokenizer.encode("In the beginning God created")], "int32")
    np.testing.assert_array_equal(ids, expected["king_james_ids"])
    np.testing.assert_allclose(np.array(model(ids))[0, -1], expected["king_james"], rtol=1e-5, atol=1e-4)
