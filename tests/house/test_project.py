"""What the project promises as a whole: contracts of the house, cheap import, a README that is true."""

import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import build_lessons as builder
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "benchmarks").glob("*.md"))]

WATCHED_IMPORT = """
import sys
import keras
before, seen = set(sys.modules), []
def watch(event, arguments):
    if event.startswith("socket.") and event != "socket.__new__":
        seen.append((event, str(arguments)))
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        seen.append((event, str(arguments)))
    if event in ("os.mkdir", "os.rename", "subprocess.Popen"):
        seen.append((event, str(arguments)))
sys.addaudithook(watch)
import {module}
print(sorted(set(sys.modules) - before), seen, sep="\\n")
"""


def watched_import(module: str) -> tuple[list[str], list]:
    """The modules an import loads on top of Keras, and what it connects to, writes or starts."""
    code = WATCHED_IMPORT.format(module=module)
    run = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded, seen = run.stdout.strip().splitlines()[-2:]
    return eval(loaded), eval(seen)


def test_importing_the_package_loads_nothing_and_touches_nothing():
    loaded, seen = watched_import("kerasllm")
    assert loaded == ["kerasllm"]
    assert seen == []


def test_importing_its_parts_opens_no_connection_and_writes_nothing():
    parts = sorted(path.parent.name for path in (ROOT / "kerasllm").glob("*/__init__.py"))
    _, seen = watched_import(", ".join(f"kerasllm.{part}" for part in parts) + ", kerasllm.course")
    assert seen == []


def test_modules_import_only_from_those_before_them():
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def requirements(name: str) -> list[Requirement]:
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text("utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def test_constraints_pin_every_requirement_inside_its_range():
    pins = {pin.name.lower(): pin for pin in requirements("constraints.txt")}
    for wanted in requirements("requirements.txt") + requirements("requirements-dev.txt"):
        [specifier] = pins[wanted.name.lower()].specifier
        assert specifier.operator == "=="
        assert specifier.version in wanted.specifier, f"{wanted} is not {specifier.version}"


def test_the_package_needs_nothing_that_a_student_does_not_get():
    ours = {Requirement(line).name for line in metadata.requires("kerasllm") or []}
    installed = {distribution.name.lower() for distribution in metadata.distributions()}
    assert ours <= installed


@pytest.mark.network
def test_wheel_carries_the_catalogue_the_cards_and_the_trained_model(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"kerasllm/py.typed", "kerasllm/_datasets/catalog.toml"} <= names
    assert {f"kerasllm/_datasets/{card.name}" for card in (ROOT / "datasets").glob("*.md")} <= names
    trained = {"model.safetensors", "tokenizer.json", "settings.json", "log.csv", "README.md"}
    assert {f"kerasllm/_checkpoints/king-james-gpt/{file}" for file in trained} <= names
    assert not any(name.startswith(("tests/", "lessons/", "tools/")) for name in names)


def commands(document: Path) -> list[str]:
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", document.read_text("utf-8"), re.S)
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_the_documents_exist(document):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for command in commands(document):
        words = command.split()
        if words[0] == "make":
            assert words[1] in targets, command
        for word in words:
            if re.fullmatch(r"[\w./]+\.(py|txt|md|ipynb)", word) and not word.startswith(".venv"):
                assert (ROOT / word).exists(), command


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_in_the_documents_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_readme_names_the_two_commands():
    assert {"make lessons", "make test"} <= set(commands(ROOT / "README.md"))


def test_table_and_figure_of_the_readme_are_current():
    assert builder.renewed_readme(README) == README, "run: make readme"
    assert builder.readme_figure()[1] == builder.FIGURE.read_bytes(), "run: make readme"


def test_python_in_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("The quick brown fox jumps over the lazy dog.\n" * 20, "utf-8")
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block.replace("steps=1000", "steps=20"), "README.md", "exec"), {})
