"""Runs that the tests of the command line share."""

import json
import shutil

import keras
import numpy as np
import pytest
from command_line import RUN, TEXT, kerasllm

from kerasllm import models, text, weights

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "fox.txt"
    path.write_text(TEXT, "utf-8")
    return path


@pytest.fixture(scope="session")
def trained(corpus, tmp_path_factory):
    """The folder of a finished run. Do not write into it."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert kerasllm("train", corpus, "--out", folder, *RUN) == 0
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the finished run to damage."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.fixture
def eager(monkeypatch):
    """Runs of few steps are not compiled: that would take longer than their steps."""
    from kerasllm.training import run

    monkeypatch.setattr(run, "_fast", lambda model, settings, batches: {"run_eagerly": True})


@pytest.fixture(scope="session")
def talker(tmp_path_factory):
    """A folder with a small model of random weights and a tokenizer with a chat template. Do not write into it."""
    folder = tmp_path_factory.mktemp("talker")
    letters = "abcdefghijklmnopqrstuvwxyz ABC.:/!\n"
    tokenizer = text.train_characters([letters], byte_fallback=False, extra=["<|im_start|>", "<|im_end|>"])
    content = json.loads(tokenizer.to_json())
    content["model"]["kerasllm"] = {"chat_template": TEMPLATE}
    tokenizer = text.Tokenizer.from_json(json.dumps(content))
    tokenizer.save(folder)
    keras.utils.set_random_seed(2)
    settings = models.gpt_settings(
        tokenizer.vocabulary_size, context_length=120, num_layers=1, num_heads=2, embedding_dim=8, positions="rotary"
    )
    model = models.GPT(settings)
    model(np.zeros((1, 2), "int32"))
    for variable in model.variables:
        variable.assign(variable * 4)
    weights.save_safetensors(model, folder / "model.safetensors")
    return folder
