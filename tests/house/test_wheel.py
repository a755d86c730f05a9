"""The package as a stranger has it: the wheel alone, installed beside Keras and one backend, without a network."""

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

# Read by every Python at its start: what this machine has and a stranger has not is hidden, and the network is off.
STRANGER = """
import os, sys
for name in os.environ.get("HIDDEN", "").split():
    sys.modules[name] = None
def refuse(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        raise OSError(f"no network here: {arguments[1]}")
sys.addaudithook(refuse)
"""

# The sentences of a small world, so that an example can learn something in seconds.
GOOD, BAD = ("a lovely", "a fine", "a great", "a charming"), ("a dull", "a poor", "an awful", "a boring")
THINGS = [f"{kind} {thing}" for kind in ("old", "new", "short", "long") for thing in ("film", "play", "book", "song")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    if importlib.util.find_spec("hatchling"):  # then no network is needed to build
        command.append("--no-build-isolation")
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def stranger(wheel, tmp_path_factory):
    """Run Python code or a script where only the installed wheel is there, beside the libraries of this Python."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(command, check=True, capture_output=True)
    (target / "sitecustomize.py").write_text(STRANGER, "utf-8")

    def run(*arguments, folder, hidden="tensorflow", backend="jax"):
        environment = dict(os.environ, PYTHONPATH=str(target), PYTHONSAFEPATH="1", KERAS_BACKEND=backend, HIDDEN=hidden)
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)

    run.target = target
    return run


def printed(run) -> str:
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def test_the_wheel_carries_the_catalogue_the_cards_and_the_trained_model(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"kerasllm/py.typed", "kerasllm/_datasets/catalog.toml"} <= names
    assert {f"kerasllm/_datasets/{card.name}" for card in (ROOT / "datasets").glob("*.md")} <= names
    trained = {"model.safetensors", "tokenizer.json", "settings.json", "log.csv", "README.md"}
    assert {f"kerasllm/_checkpoints/king-james-gpt/{file}" for file in trained} <= names
    assert not any(name.startswith(("tests/", "lessons/", "tools/", "examples/")) for name in names)


def test_the_wheel_has_a_command_and_its_extras(wheel):
    archive = zipfile.ZipFile(wheel)
    [points] = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert "kerasllm = kerasllm.cli:main" in archive.read(points).decode()
    [facts] = [name for name in archive.namelist() if name.endswith("METADATA")]
    facts = archive.read(facts).decode()
    for extra in ("tensorflow", "jax", "torch", "data", "chat", "evaluation", "cli", "course"):
        assert f"Provides-Extra: {extra}\n" in facts
    needed = [line for line in facts.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert not any(name in line for line in needed for name in ("tensorflow", "pandas", "matplotlib", "pyarrow"))


def test_with_jax_alone_every_room_is_imported_and_a_layer_is_saved_and_loaded(stranger, tmp_path):
    code = """
import sys
import kerasllm
for name in kerasllm._ROOMS:
    room = getattr(kerasllm, name, None)
    assert room is None or room.__file__.startswith(sys.argv[1]), room
import keras, numpy
layer = kerasllm.layers.FeedForward(hidden_dim=8, activation="gelu")
model = keras.Sequential([keras.Input((4,)), layer])
inputs = numpy.random.default_rng(0).normal(size=(3, 4)).astype("float32")
before = model.predict(inputs, verbose=0)
model.save("layer.keras")
after = keras.saving.load_model("layer.keras").predict(inputs, verbose=0)
assert before.any() and numpy.allclose(before, after, atol=1e-6)
model, tokenizer = kerasllm.weights.pretrained("king-james-gpt")
print(kerasllm.generation.generate(model, "And the king", 8, seed=1, tokenizer=tokenizer))
assert not {"pandas", "matplotlib", "sklearn", "pyarrow"} & {name for name in sys.modules if sys.modules[name]}
"""
    hidden = "tensorflow torch pandas matplotlib sklearn pyarrow IPython platformdirs charset_normalizer"
    out = printed(stranger("-c", code, str(stranger.target), folder=tmp_path, hidden=hidden))
    assert out.startswith("And the king")


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("from kerasllm import data; data.catalog()", "data"),
        ("from kerasllm import data; data.load('digits')", "data"),
        ("from kerasllm.data import from_csv", "data"),
    ],
)
def test_what_needs_an_extra_names_it(stranger, tmp_path, code, extra):
    run = stranger("-c", code, folder=tmp_path, hidden="pandas")
    assert run.stderr.strip().endswith(
        f'ImportError: This needs pandas, which is not installed: pip install "kerasllm[{extra}]"'
    )


ROOMS_WITH_KERAS = sorted(
    {
        path.parent.name
        for path in (ROOT / "kerasllm").glob("*/*.py")
        if re.search("^import keras$", path.read_text("utf-8"), re.M)
    }
    - {"common"}
)


IMPORT_EACH = """
import importlib, sys
for room in sys.argv[1:]:
    try:
        importlib.import_module(f"kerasllm.{room}")
    except ImportError as error:
        print(room, error, sep=": ")
    for name in [name for name in sys.modules if name.startswith("keras")]:  # each room is the first of its process
        del sys.modules[name]
"""


def test_without_the_backend_each_room_says_what_to_install_or_to_set(stranger, tmp_path):
    assert len(ROOMS_WITH_KERAS) > 5

    def told(hidden):
        run = stranger("-c", IMPORT_EACH, *ROOMS_WITH_KERAS, folder=tmp_path, hidden=hidden, backend="tensorflow")
        lines = dict(line.split(": ", 1) for line in printed(run).splitlines())
        assert sorted(lines) == ROOMS_WITH_KERAS
        return lines.values()

    for line in told("tensorflow jax torch"):
        assert "which is not installed" in line
        assert 'pip install "kerasllm[tensorflow]"' in line
        assert '"kerasllm[jax]"' in line
    for line in told("tensorflow torch"):
        assert "jax is there: set the environment variable KERAS_BACKEND=jax" in line


def test_the_examples_are_three_projects_of_one_page():
    assert len(EXAMPLES) == 3
    for path in EXAMPLES:
        assert len(path.read_text("utf-8").splitlines()) <= 65, path


def test_example_a_layer_in_your_model(stranger, tmp_path):
    out = printed(stranger(ROOT / "examples/layer_in_your_model.py", folder=tmp_path))
    share = float(out.split("Right on ")[1].split("%")[0])
    assert share > 93
    assert "answers the same" in out


def test_example_classify_your_texts(stranger, tmp_path):
    rows = [
        f"{kind} {thing},{label}"
        for label, kinds in (("glad", GOOD), ("sad", BAD))
        for kind in kinds
        for thing in THINGS
    ]
    (tmp_path / "mine.csv").write_text("\n".join(["review,mood", *rows]) + "\n", "utf-8")
    script = ROOT / "examples/classify_your_texts.py"
    out = printed(stranger(script, "mine.csv", "--text", "review", "--label", "mood", folder=tmp_path))
    assert "128 of 128 rows kept" in out
    assert float(out.split("Right on ")[1].split("%")[0]) > 90
    assert {"glad", "sad"} <= set(out.split("gives")[1].split())
    assert (tmp_path / "classifier.keras").exists()


def test_example_gpt_of_your_text(stranger, tmp_path):
    lines = [f"the {name} was here, and a {thing} was there.\n" for name in "abc" for thing in THINGS]
    (tmp_path / "mine.txt").write_text("".join(lines * 20), "utf-8")
    script = ROOT / "examples/gpt_of_your_text.py"
    out = printed(
        stranger(script, "mine.txt", "--steps", "60", "--context", "32", "--prompt", "the a", folder=tmp_path)
    )
    bits, alone = re.search(r"Held-out text: ([\d.]+) bits.* need ([\d.]+)\.", out).groups()
    assert float(bits) < 0.6 * float(alone)
    assert "the a was here" in out
    assert {"gpt.safetensors", "tokenizer.json"} <= {path.name for path in tmp_path.iterdir()}
