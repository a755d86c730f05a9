"""The command serve: what it refuses before it loads anything, and a server of its own that answers and ends."""

import os
import re
import signal
import subprocess
import sys
import threading

import httpx
import pytest
from command_line import fails


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["king-james-gpt", "--host", "0.0.0.0"], "name a --key"),
        (["king-james-gpt", "king-james-gpt"], "two models have the same name"),
        (["no-such-model"], "there is no no-such-model"),
        (["king-james-gpt", "--context", "1"], "--context must be a whole number from 2"),
        (["king-james-gpt", "--port", "-1"], "is not a whole number"),
        (["king-james-gpt", "--documents", "no-such-folder"], "no such folder, no such file and no such data set"),
        (["king-james-gpt", "--documents", "king-james"], "the set has no titles"),
        ([], "MODEL"),
    ],
)
def test_what_cannot_be_served_is_one_line(capsys, monkeypatch, arguments, word):
    monkeypatch.delenv("KERASLLM_KEY", raising=False)
    assert word in fails(capsys, "serve", *arguments)


def test_a_model_that_does_not_chat_answers_from_no_documents(capsys, tmp_path):
    (tmp_path / "cats.md").write_text("A cat sleeps.")
    (tmp_path / "latin.txt").write_bytes("Café crème, déjà vu".encode("latin-1"))
    arguments = ["king-james-gpt", "--no-warm-up", "--documents"]
    assert "latin.txt" in fails(capsys, "serve", *arguments, str(tmp_path))
    (tmp_path / "latin.txt").unlink()
    assert "no chat template" in fails(capsys, "serve", *arguments, str(tmp_path))


# A process that was started in the background inherits deafness to Ctrl-C.
COMMAND = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from kerasllm.cli import main; sys.exit(main())"
)


def test_a_server_answers_until_it_is_told_to_end():
    command = [sys.executable, "-c", COMMAND, "serve", "king-james-gpt", "--port", "0", "--no-warm-up"]
    environment = {**os.environ, "KERASLLM_KEY": "a key", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        late = threading.Timer(300, server.kill)
        late.start()
        try:
            lines = iter(server.stdout.readline, "")
            address = next(found[1] for line in lines if (found := re.search(r"clients: (http\S+)/v1", line)))
            headers = {"authorization": "Bearer a key"}
            ask = {"model": "king-james-gpt", "prompt": "And the king", "max_tokens": 2, "temperature": 0}
            reply = httpx.post(f"{address}/v1/completions", json=ask, headers=headers, timeout=200)
            assert reply.json()["usage"]["completion_tokens"] == 2
            assert httpx.get(f"{address}/v1/models").status_code == 401
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=200)
        finally:
            late.cancel()
            server.kill()
    assert server.returncode == 0
    assert "Traceback" not in errors
