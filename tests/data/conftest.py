"""Every test of this folder meets real pip and an index of our own."""

import os
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from toy_index import Index

ROOT = Path(__file__).parents[2]


def pytest_configure(config):
    config.addinivalue_line("markers", "network: loads the real data sets, through the cache or the package index")


@pytest.fixture
def index():
    with Index() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.go_on.set()
        server.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache whose path has spaces and Chinese letters, and a pip that reaches nothing yet."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_RESUME_RETRIES", "0")
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: refused at once
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the processes that tests start
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("KERASLLM_PROGRESS", "0")
    folder = tmp_path / "der Cache 缓存"
    monkeypatch.setenv("KERASLLM_CACHE", str(folder))
    return folder


@pytest.fixture
def wheels(tmp_path, monkeypatch, cache):
    """A folder of wheels, as an offline user sets it up."""
    folder = tmp_path / "find links é"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    return folder
