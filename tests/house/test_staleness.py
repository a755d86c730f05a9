"""Which files of the library stand behind a lesson, and what makes its notebook stale."""

from itertools import chain

import nbformat
import pytest
from lesson_tools import staleness
from lesson_tools.sources import Lesson
from lesson_tools.staleness import code_sha256, code_text, modules_behind, stale_reason

FILES = {
    "__init__.py": '"""The map."""\nVERSION = 1\n',
    "common.py": "def whole(x):\n    return int(x)\n",
    "layers/__init__.py": '"""Layers."""\nimport kit.models\n'
    "from kit.layers.look import Look as Look, far\nfrom .feed import Feed\n"
    '__all__ = ["Feed", "Look", "far"]\n',
    "layers/look.py": "from kit.common import whole\n\nclass Look:\n    pass\n\ndef far():\n    pass\n",
    "layers/feed.py": "class Feed:\n    pass\n",
    "models/__init__.py": "from kit.models.gpt import GPT\n",
    "models/gpt.py": "def GPT():\n    from ..layers import Feed\n    return Feed()\n",
    "data/__init__.py": "from kit.data.loaders import load\n\nTABLE = {}\n",
    "data/loaders.py": "def load():\n    pass\n",
}

# All of the room of layers, with what its first import brings.
ROOM = {"kit.layers", "kit.layers.look", "kit.layers.feed", "kit.common", "kit.models", "kit.models.gpt"}


@pytest.fixture
def library(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "kit" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path / "kit"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import numpy as np", set()),
        ("from kit.common import whole", {"kit.common"}),
        ("from kit.layers import Feed", {"kit.layers.feed"}),
        ("from kit.layers import Look", {"kit.layers.look", "kit.common"}),
        ("from kit.models import GPT", {"kit.models.gpt", "kit.layers.feed"}),
        ("from kit import layers", ROOM),
        ("import kit.layers.feed", {"kit.layers.feed"}),
        ("import kit\nkit.layers.far()", {"kit", "kit.layers.look", "kit.common"}),
        ("import kit\nkit.layers.Feed.build.name", {"kit", "kit.layers.feed"}),
        ("from kit.layers import *", ROOM),
        ("def later():\n    from kit.layers import Feed", {"kit.layers.feed"}),
        # A room that does more than pass names on is code itself.
        ("from kit.data import load", {"kit.data", "kit.data.loaders"}),
        ("from kit.layers import unknown", ROOM),
    ],
)
def test_imports_are_followed_to_the_files_that_hold_the_names(library, source, expected):
    assert modules_behind(source, library) == expected


def test_the_lessons_stand_on_real_files():
    behind = modules_behind("from kerasllm.course import claim")
    assert {"kerasllm.course.claims", "kerasllm.course.dials", "kerasllm.common.notebook"} <= behind
    assert "kerasllm.course.grading" not in behind


CODE = '''"""What it is."""

x = 1  # one


class A:
    """A class."""

    def f(self):
        """A function."""
        text = """kept # not a comment"""
        return text
'''


def test_words_do_not_make_a_notebook_stale():
    assert code_text(CODE) == (
        'x = 1\nclass A:\n    def f(self):\n        text = """kept # not a comment"""\n        return text'
    )
    assert code_text(CODE.replace("A function.", "Another\n        word.").replace("# one", "# 1")) == code_text(CODE)


@pytest.mark.parametrize(("old", "new"), [("x = 1", "x = 2"), ("kept", "lost"), ("return text", "return  text * 2")])
def test_code_makes_a_notebook_stale(old, new):
    assert code_text(CODE.replace(old, new)) != code_text(CODE)


def test_a_change_is_seen_however_far_behind_it_is(library):
    def now():
        return code_sha256("from kit.models import GPT", library)

    before = now()
    (library / "layers" / "look.py").write_text("class Look:\n    new = True\n", "utf-8")
    assert now() == before
    (library / "layers" / "feed.py").write_text("class Feed:\n    new = True\n", "utf-8")
    assert now() != before


def test_the_reason_is_named(tmp_path, monkeypatch):
    source = tmp_path / "src" / "90_one.py"
    source.parent.mkdir()
    source.write_text("# %%\nx = 1\n", "utf-8")
    lesson = Lesson(source)
    assert stale_reason(lesson, tmp_path) == "it has no notebook"

    def commit(**record):
        nbformat.write(nbformat.v4.new_notebook(metadata={"kerasllm": record}), tmp_path / "90_one.ipynb")

    commit(source_sha256="old")
    assert stale_reason(lesson, tmp_path) == "its source changed"
    commit(source_sha256=lesson.sha256())
    assert "kerasllm/" in stale_reason(lesson, tmp_path)
    commit(source_sha256=lesson.sha256(), code_sha256=code_sha256(source.read_text("utf-8")))
    assert stale_reason(lesson, tmp_path) is None
    monkeypatch.setattr(staleness, "code_text", lambda text: "changed")
    assert stale_reason(lesson, tmp_path) is None  # it imports nothing of the library


def test_list_says_what_would_be_built_and_builds_nothing(monkeypatch, capsys):
    import build_lessons as builder

    monkeypatch.setattr(builder, "stale_reason", lambda lesson: "why" if lesson.name.startswith("03") else None)
    monkeypatch.setattr(builder, "build_all", lambda *_: pytest.fail("it built"))
    assert builder.main(["--stale", "--list"]) == 0
    said = capsys.readouterr().out
    assert "03_activations_and_mlp: why" in said
    assert "01_perceptron" not in said
    assert "2 notebooks to build" in said


def test_every_lesson_has_its_turn_once_in_four_days():
    import build_lessons as builder

    chosen = [lesson for lesson in builder.lessons() if not lesson.is_exercise]  # the appendix too
    turns = [[lesson.name for lesson in chosen if builder.its_turn(lesson, day)] for day in range(4)]
    assert sorted(chain(*turns)) == [lesson.name for lesson in chosen]
    assert max(map(len, turns)) - min(map(len, turns)) <= 1
