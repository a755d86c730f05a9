"""What the tests of serving share: loops that are not compiled, and a server in a thread."""

import threading
import time

import pytest
from serving_models import eager

from kerasllm.generation import memory
from kerasllm.serving import batch


@pytest.fixture(autouse=True)
def _nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(memory, "compiled", eager)
    monkeypatch.setattr(batch, "compiled", eager)


class Running:
    """A server that runs in a thread."""

    def __init__(self, models, **settings):
        from kerasllm.serving.server import make_server

        self.engines = [one.engine for one in models.values()]
        self.server = make_server(models, port=0, **{"drain_seconds": 1.0, **settings})
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        until = time.monotonic() + 60
        while not self.server.started and time.monotonic() < until:
            time.sleep(0.01)
        self.port = self.server.port
        self.address = f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.server.should_exit = True
        self.thread.join(60)
        assert not self.thread.is_alive()

    def settled(self):
        """Wait until nobody is served; whether that came."""
        until = time.monotonic() + 60
        while any(one.running or one.waiting for one in self.engines) and time.monotonic() < until:
            time.sleep(0.02)
        return not any(one.running or one.waiting for one in self.engines)


@pytest.fixture
def running():
    """Start servers that end with the test."""
    servers = []

    def start(models, **settings):
        servers.append(Running(models, **settings))
        return servers[-1]

    yield start
    for one in servers:
        one.stop()
