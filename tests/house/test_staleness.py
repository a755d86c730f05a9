"""Which files of the library stand behind a lesson, and what makes its notebook stale."""

from itertools import chain

import nbformat
import pytest
from lesson_tools import staleness
from lesson_tools.reached import reached
from lesson_tools.sources import Lesson
from lesson_tools.staleness import LIBRARY, code_sha256, code_text, stale_reason

FILES = {
    "__init__.py": '"""The map."""\nVERSION = 1\n',
    "common.py": "import re\n\nSIGN = re.compile('x')\n\n\ndef whole(x):\n    return int(x)\n\n\ndef sign(x):\n"
    "    return SIGN.match(x)\n",
    "layers/__init__.py": '"""Layers."""\nimport kit.models\n'
    "from kit.layers.look import Look as Look, far\nfrom .feed import Feed\n"
    '__all__ = ["Feed", "Look", "far"]\n',
    "layers/look.py": "from kit.common import whole\n\nclass Look:\n    size = whole(3)\n\ndef far():\n    pass\n",
    "layers/feed.py": "class Feed:\n    pass\n",
    "models/__init__.py": "from kit.models.gpt import GPT\n",
    "models/gpt.py": "def GPT():\n    from ..layers import Feed\n    return Feed()\n",
    "data/__init__.py": "from kit.data.loaders import load\n\nTABLE = {}\nTABLE['a'] = 1\n",
    "data/loaders.py": "from kit.common import sign\nfrom kit.data import kinds\nfrom kit.data.registry import ALL\n\n"
    "def load(name):\n    return ALL[name]()\n",
    "data/registry.py": "ALL = {}\n\ndef loads(name):\n    return lambda f: ALL.setdefault(name, f)\n",
    "data/kinds.py": "from kit.common import sign\nfrom kit.data.registry import loads\n\n"
    "@loads('poems')\ndef poems():\n    return sign('x')\n\n@loads('letters')\ndef letters():\n    pass\n",
}

LOAD = {"data: TABLE", "data: TABLE['a']", "data.loaders: def load", "data.registry: ALL"}
POEMS = {"data.kinds: def poems", "data.registry: def loads", "common: def sign", "common: SIGN"}


@pytest.fixture
def library(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "kit" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path / "kit"


def behind(source, library):
    """The statements behind a source in short: where they stand, and how they begin."""
    found = set()
    for module, first, last in reached(source, library):
        path = library.parent.joinpath(*module.split("."))
        path = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        lines = [line for line in path.read_text("utf-8").splitlines()[first - 1 : last] if not line.startswith("@")]
        begin = " ".join(lines[0].split("(")[0].split(":")[0].split(" = ")[0].split()[:2])
        found.add(f"{module.removeprefix('kit.')}: {begin}")
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import numpy as np", set()),
        ("from kit.common import whole", {"common: def whole"}),
        ("from kit.common import sign", {"common: def sign", "common: SIGN"}),
        ("from kit.layers import Feed", {"layers.feed: class Feed"}),
        ("from kit.layers import Look", {"layers.look: class Look", "common: def whole"}),
        ("from kit.layers import far", {"layers.look: def far"}),
        ("from kit.models import GPT", {"models.gpt: def GPT", "layers.feed: class Feed"}),
        ("from kit import layers\nlayers.far()", {"layers.look: def far"}),
        ("from kit import layers", set()),
        ("import kit.layers.feed\nkit.layers.feed.Feed()", {"layers.feed: class Feed"}),
        ("import kit\nkit.layers.far()", {"layers.look: def far"}),
        ("import kit\nkit.layers.Feed.build.name", {"layers.feed: class Feed"}),
        ("def later():\n    from kit.layers import Feed", {"layers.feed: class Feed"}),
        ("from kit.data import load\nload(name)", LOAD),
        ("from kit.data import load\nload('poems')", LOAD | POEMS),
        ("from kit.data import load\nload('letters')", LOAD | {"data.kinds: def letters", "data.registry: def loads"}),
    ],
)
def test_names_are_followed_to_the_statements_that_make_them(library, source, expected):
    assert behind(source, library) == expected


ALL_LAYERS = {"layers.look: class Look", "layers.look: def far", "layers.feed: class Feed", "common: def whole"}


@pytest.mark.parametrize(
    "source",
    [
        "from kit import layers\nprint(layers)",  # handed about: nobody sees what becomes of it
        "from kit.layers import *",
        "from kit.layers import unknown",
    ],
)
def test_what_cannot_be_followed_counts_with_all_of_its_file(library, source):
    assert behind(source, library) == ALL_LAYERS


def test_the_lessons_stand_on_real_files():
    found = {one.module for one in reached("from kerasllm.course import Claims, dial", LIBRARY)}
    assert {"kerasllm.course.claims", "kerasllm.course.dials", "kerasllm.common.notebook"} <= found
    assert "kerasllm.course.grading" not in found


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


def test_a_change_is_seen_however_far_behind_it_is_and_an_addition_is_not(library):
    def now():
        return code_sha256("from kit.models import GPT", library)

    before = now()
    (library / "layers" / "look.py").write_text("class Look:\n    new = True\n", "utf-8")
    (library / "layers" / "feed.py").write_text(
        '"""New."""\n\nclass Other:\n    pass\n\nclass Feed:\n    pass\n', "utf-8"
    )
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


EXERCISE = """# %%
from kerasllm.course import check

# %% tags=["answer"]
x = 1

# %% tags=["check"]
check(x)


# %% tags=["wrong"]
x = 2


# %% [markdown]
# Done.
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = 2", "x = 3"),
        (
            '# %% tags=["wrong"]',
            '# %% tags=["right"]\nfrom kerasllm import layers\n\nx = layers\n\n\n# %% tags=["wrong"]',
        ),
        ('# %% tags=["wrong"]\nx = 2\n\n\n', ""),
    ],
)
def test_answers_that_stand_in_no_notebook_do_not_make_it_stale(tmp_path, old, new):
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text(EXERCISE, "utf-8")
    other.write_text(EXERCISE.replace(old, new), "utf-8")
    assert Lesson(one).sha256() == Lesson(other).sha256()
    assert code_sha256(Lesson(one).text()) == code_sha256(Lesson(other).text())


@pytest.mark.parametrize("part", ["x = 1", "check(x)", "Done", "wrong", "import check"])
def test_what_stands_in_the_notebook_makes_it_stale(tmp_path, part):
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text(EXERCISE, "utf-8")
    other.write_text(EXERCISE.replace(part, f"{part}s"), "utf-8")
    assert Lesson(one).sha256() != Lesson(other).sha256()


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


def test_what_fits_into_some_minutes_is_built_and_the_rest_is_named(monkeypatch, capsys):
    import build_lessons as builder

    chosen = [(lesson, "why") for lesson in builder.lessons("05,06,07") if not lesson.is_exercise]
    monkeypatch.setattr(builder, "its_turn", lambda lesson: "turn" if lesson.name.startswith("06") else None)
    inside, waiting = builder.within(chosen, 1000)
    assert (inside, waiting) == (chosen, [])
    of_06 = next(lesson for lesson in chosen if lesson[0].name.startswith("06"))
    minutes = nbformat.read(builder.LESSONS / f"{of_06[0].name}.ipynb", as_version=4).metadata["kerasllm"]["minutes"]
    inside, waiting = builder.within(chosen, minutes)  # 06 takes all of it
    assert "06_generalisation" in [lesson.name for lesson, _ in inside]
    assert waiting
    assert builder.within(chosen, 0) == ([], [lesson.label for lesson, _ in chosen])
