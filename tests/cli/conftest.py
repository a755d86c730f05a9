"""Runs that the tests of the command line share."""

import shutil

import pytest
from command_line import RUN, TEXT, kerasllm


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
