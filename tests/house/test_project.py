"""What the project promises as a whole: contracts of the house, cheap import, a README that is true."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import build_lessons as builder
import pytest
from packaging.requirements import Requirement

import kerasllm

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PACKAGE = ROOT / "kerasllm"
TREES = {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
SOURCES = "\n".join(path.read_text("utf-8") for path in TREES)
NEEDED = re.compile(r'\bneeded\("(\w+)"')  # what `kerasllm.common.extras` imports
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


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_constraints_pin_what_the_package_and_the_extras_of_a_student_need():
    pins = {pin.name.lower(): pin for pin in requirements("constraints.txt")}
    extras = project()["optional-dependencies"]
    [chosen] = re.findall(r"^-e \.\[(.+)\]$", (ROOT / "requirements.txt").read_text("utf-8"), re.M)
    wanted = [Requirement(line) for name in chosen.split(",") for line in extras[name]]
    wanted += [Requirement(line) for line in project()["dependencies"] + extras["tensorflow"] + extras["jax"]]
    for one in wanted:
        if one.name != "kerasllm":
            [specifier] = pins[one.name.lower()].specifier
            assert specifier.version in one.specifier, f"{one} is not {specifier.version}"


def imported(tree: ast.AST) -> set[str]:
    """The names of the packages that a module imports, wherever in it."""
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in names}


def test_the_package_declares_what_it_imports_and_imports_what_it_declares():
    distributions = {"sklearn": "scikit-learn", "charset_normalizer": "charset-normalizer"}
    distributions |= {"IPython": "ipython", "PIL": "pillow"}
    with_keras = {"h5py", "ml_dtypes"}
    used = set().union(*(imported(tree) for tree in TREES.values())) | set(NEEDED.findall(SOURCES))
    used = {distributions.get(name, name) for name in used - sys.stdlib_module_names - with_keras - {"kerasllm"}}
    extras = project()["optional-dependencies"]
    declared = {Requirement(line).name for line in sum(extras.values(), project()["dependencies"])} - {"kerasllm"}
    assert used == declared


def test_the_map_of_the_package_has_every_room_in_the_order_of_the_contract():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    order = [name.strip("()") for name in reversed(contract["layers"])]
    rooms = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    rooms += [path.stem for path in PACKAGE.glob("*.py") if path.stem not in ("__init__", "__main__", "plots")]
    assert set(rooms) == set(kerasllm._ROOMS)
    in_order = [name for name in kerasllm._ROOMS if name in order]
    assert in_order == [name for name in order if name in in_order]
    for room in kerasllm._ROOMS:
        assert room in kerasllm.__doc__
        assert room in dir(kerasllm)
    with pytest.raises(AttributeError, match="Its rooms: common, data, text"):
        kerasllm.attic  # noqa: B018


def test_a_room_is_loaded_when_it_is_named():
    code = "import sys, kerasllm; before = set(sys.modules); kerasllm.text.clean; print('kerasllm.text' in before)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout == "False\n"


# Contracts of the code itself --------------------------------------------------------------------


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def code_lines(function: ast.FunctionDef) -> int:
    """The lines of a function without its docstring, which is for the reader of the manual."""
    docstring = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (len(docstring.splitlines()) if docstring else 0)


@pytest.mark.parametrize("path", TREES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_is_short_and_says_what_it_is(path):
    tree = TREES[path]
    assert len(path.read_text("utf-8").splitlines()) < 400
    long = {function.name: code_lines(function) for function in functions(tree) if code_lines(function) > 60}
    assert not long
    assert ast.get_docstring(tree) or path.name == "plots.py"
    shadows = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == path.stem]
    assert not shadows, "a function has the name of its module, and hides it where both are imported"


def attributes(tree: ast.AST) -> list[ast.Attribute]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]


def private_of_others(tree: ast.AST, ours: set[str]) -> list[str]:
    """What a module reads of Keras that Keras may change at any time: `keras.src`, names with an underscore."""
    found = [
        ast.unparse(node)
        for node in attributes(tree)
        if (re.match("_[^_]", node.attr) and node.attr not in ours) or ast.unparse(node) == "keras.src"
    ]
    sources = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    sources += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return found + [name for name in sources if name.startswith("keras.src")]


INSIDE_KERAS = ("common/inside_keras.py", "training/fast.py")


def test_private_api_of_keras_is_in_two_files():
    nodes = [node for tree in TREES.values() for node in ast.walk(tree)]
    ours = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    ours |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    ours |= {"_replace", "_asdict", "_fields"}  # of named tuples, public in spite of their names
    every = {path.relative_to(PACKAGE).as_posix(): private_of_others(tree, ours) for path, tree in TREES.items()}
    found = {path: names for path, names in every.items() if names and path not in INSIDE_KERAS}
    assert not found


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
