"""A forked process is like one that Python started: what it is told, what it says, and how it ends."""

import os
import signal
import subprocess
import sys
import time

import pytest
from nursery import ON_JAX, python

pytestmark = pytest.mark.skipif(len(python()) == 1, reason="there is no nursery here")

TELL = """
import json, os, sys
import numpy as np
ours = sorted(name for name in sys.modules if name.startswith("kerasllm"))
told = {"argv": sys.argv, "folder": os.getcwd(), "word": os.environ.get("WORD"), "ours": ours, "main": __name__}
told |= {"known": "tensorflow" in sys.modules, "random": np.random.rand(), "text": sys.stdin.read()}
print(json.dumps(told))
print("aside", file=sys.stderr)
"""


def started(*arguments, plain=False, **options):
    command = [sys.executable] if plain else python()
    return subprocess.run([*command, *arguments], capture_output=True, text=True, **options)


def told(tmp_path, **options):
    run = started("-c", TELL, "one", "two", input="a text", cwd=tmp_path, **options)
    assert (run.returncode, run.stderr) == (0, "aside\n")
    return eval(run.stdout, {"false": False, "true": True, "null": None})


def test_it_knows_what_it_was_told_and_nothing_of_ours(tmp_path):
    found = [told(tmp_path, env=os.environ | {"WORD": word}) for word in ("first", "second")]
    assert [one.pop("word") for one in found] == ["first", "second"]
    assert found[0].pop("random") != found[1].pop("random")
    wanted = {"argv": ["-c", "one", "two"], "folder": str(tmp_path), "ours": [], "main": "__main__"}
    assert found == [wanted | {"known": True, "text": "a text"}] * 2


def test_another_backend_is_another_server(tmp_path):
    pytest.importorskip("jax")
    assert not told(tmp_path, env=os.environ | {"KERAS_BACKEND": "jax"})["known"]


@pytest.mark.parametrize(
    "code", ["import sys; sys.exit(3)", "1 / 0", "import os; os.kill(os.getpid(), 9)", "exit('no')"]
)
def test_it_ends_as_a_plain_process_does(code):
    runs = [started("-c", code, plain=plain) for plain in (False, True)]
    assert runs[0].returncode == runs[1].returncode
    assert runs[0].stderr.splitlines()[-1:] == runs[1].stderr.splitlines()[-1:]


def test_its_streams_are_those_of_a_pipe():
    code = "import sys; sys.stdout.reconfigure(errors='replace'); print(sys.stdin.seekable(), sys.stdout.seekable())"
    runs = [started("-c", code, plain=plain, input="") for plain in (False, True)]
    assert runs[0].stdout == runs[1].stdout == "False False\n"


def test_scripts_and_modules_run_too(tmp_path):
    (tmp_path / "beside.py").write_text("word = 'here'")
    (tmp_path / "script.py").write_text("import beside, sys; print(beside.word, __file__, sys.argv)")
    for arguments in ((tmp_path / "script.py", "x"), ("-m", "script", "x")):
        runs = [started(*arguments, cwd=tmp_path, plain=plain) for plain in (False, True)]
        assert runs[0].stdout == runs[1].stdout != ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_it(number, tmp_path):
    code = "import os, signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); print(os.getpid(), flush=True);"
    command = [*python(), "-c", code + "time.sleep(100)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        process.send_signal(number)
        assert process.wait(30) == -number
        assert process.stdout.read() == ""  # whoever held the other end is gone, too
    until = time.monotonic() + 30  # the server hears of it a moment later
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{pid}")


STARTS = """
import jax, keras, numpy as np
shape, starts = (40, 30), {"random_normal": 0.05, "glorot_uniform": (2 / 70) ** 0.5, "truncated_normal": 0.05 * 0.88}
for name, spread in starts.items():
    one, again, other = (np.array(keras.initializers.get(name).__class__(seed=seed)(shape)) for seed in (1, 1, 2))
    assert (one == again).all() and not (one == other).any()
    assert abs(one.std() / spread - 1) < 0.1 and abs(one.mean()) < 0.1 * spread, (name, one.std())
assert keras.layers.Dense(3, dtype="bfloat16", kernel_initializer="he_normal")(np.ones((1, 2))).dtype == "bfloat16"
print(jax.jit(lambda seed: keras.random.normal((2,), seed=seed))(jax.numpy.array([0, 1], "uint32")).shape)
"""


def test_weights_on_jax_start_as_their_initializer_says():
    pytest.importorskip("jax")
    run = started("-c", STARTS, env=os.environ | ON_JAX)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == "(2,)\n"
