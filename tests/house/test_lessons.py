"""Every lesson: executed at smoke scale through nbconvert, fresh, clean and in shape."""

import re
import warnings
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, pairwise

import build_lessons as builder
import nbformat
import pytest
from lesson_tools.counting import counts
from lesson_tools.glossary import GLOSSARY, events, glossary
from lesson_tools.places import SOURCES
from lesson_tools.publishing import refuse_leaks
from lesson_tools.sources import PLANTED, has_tag, solved_notebook, stub, student_notebook
from lesson_tools.staleness import stale_reason

LESSONS = builder.lessons(exercises=False)
ALL = builder.lessons()
EXERCISES = [lesson for lesson in ALL if lesson.is_exercise]
APPENDICES = [lesson for lesson in ALL if lesson.is_appendix]
every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
every_exercise = pytest.mark.parametrize("lesson", EXERCISES, ids=lambda lesson: lesson.name)


def committed(lesson: builder.Lesson, folder: str = "") -> nbformat.NotebookNode:
    return nbformat.read(builder.LESSONS / folder / f"{lesson.name}.ipynb", as_version=4)


def every_committed_notebook():
    for lesson in LESSONS + APPENDICES:
        yield pytest.param(lesson, "", id=lesson.name)
    for lesson in EXERCISES:
        for folder in ("exercises", "solutions"):
            yield pytest.param(lesson, folder, id=f"{folder}-{lesson.name}")


def test_sources_and_notebooks_are_one_to_one():
    for folder in ("", "exercises", "solutions"):
        sources = {path.stem for path in (SOURCES / folder.replace("solutions", "exercises")).glob("*.py")}
        assert {path.stem for path in (builder.LESSONS / folder).glob("*.ipynb")} == sources
    assert {lesson.name for lesson in LESSONS} == {lesson.name for lesson in EXERCISES}


@pytest.mark.lessons
@pytest.mark.parametrize("lesson", LESSONS + APPENDICES, ids=lambda lesson: lesson.name)
def test_runs_at_smoke_scale(lesson, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "FAILED", tmp_path / "failed")
    entry = builder.build(lesson, tmp_path, "smoke")
    wanted = [claim["text"] for claim in committed(lesson).metadata.kerasllm.claims]
    assert [claim["text"] for claim in entry["claims"]] == wanted, "another scale makes other claims"


@pytest.mark.parametrize(("lesson", "folder"), list(every_committed_notebook()))
def test_committed_notebook_is_fresh_and_clean(lesson, folder):
    path = builder.LESSONS / folder / f"{lesson.name}.ipynb"
    rebuild = f"python tools/build_lessons.py --only {lesson.name} --out lessons"
    book = committed(lesson, folder)
    assert book.metadata.kerasllm.source_sha256 == lesson.sha256(), f"{path.name}: its source changed. Run: {rebuild}"
    assert path.stat().st_size <= builder.MAX_BYTES
    assert set(book.metadata) == {"kernelspec", "language_info", "kerasllm"}
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    if folder == "exercises":
        assert all(cell.execution_count is None and not cell.outputs for cell in code)
        return
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for number, cell in enumerate(code, 1):
        refuse_leaks(cell, number)
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) >= 20


def test_notebooks_that_an_older_library_made_are_named():
    """Seen, not refused: the claims hold, or the build of the whole course, which CI runs after the tests, fails."""
    stale = [lesson.label for lesson in ALL if stale_reason(lesson)]
    if stale:
        names = ", ".join(stale)
        warnings.warn(
            f"built with another library: {names}. Run: tools/build_lessons.py --stale --out lessons", stacklevel=1
        )


@pytest.mark.parametrize(("lesson", "folder"), list(every_committed_notebook()))
def test_committed_notebook_holds_the_code_of_its_source(lesson, folder):
    source = lesson.notebook()
    make = {"": lambda book: book, "exercises": student_notebook, "solutions": solved_notebook}
    assert [c.source for c in committed(lesson, folder).cells] == [c.source for c in make[folder](source).cells]


@every_lesson
def test_claims_hold_and_a_headline_is_named(lesson):
    record = committed(lesson).metadata.kerasllm
    assert 5 <= len(record.claims) <= 8
    assert all(claim["holds"] is True for claim in record.claims)
    assert 1 <= sum(bool(claim.get("headline")) for claim in record.claims) <= 2
    assert record.minutes <= builder.MAX_SECONDS / 60


@pytest.mark.parametrize("lesson", APPENDICES, ids=lambda lesson: lesson.name)
def test_an_appendix_has_a_title_references_and_claims_that_hold(lesson):
    """An appendix has no number, no exercises and no headline; what it says is measured all the same."""
    book = lesson.notebook()
    assert re.match(r"# Appendix [A-Z] · \S", book.cells[0].source)
    assert "## References" in "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    record = committed(lesson).metadata.kerasllm
    assert record.claims
    assert all(claim["holds"] is True for claim in record.claims)
    assert record.minutes <= builder.MAX_SECONDS / 60


@every_lesson
def test_lesson_has_the_shape_of_a_lesson(lesson):
    book = lesson.notebook()
    prose = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    head = book.cells[0].source
    assert re.match(rf"# {lesson.name[:2]} · \S", head)
    assert "?" in head, "a lesson answers a question"
    for words in ("You need", "You will build", "Time"):
        assert f"**{words}" in head
    headings = re.findall(r"^## (.+)$", prose, re.M)
    assert headings[-3:] == ["Summary", "Exercises", "References"]
    assert f"exercises/{lesson.name}.ipynb" in prose
    assert 1_500 <= counts(lesson).words <= 3_000


@every_lesson
def test_what_a_reader_sees_of_the_code_is_small(lesson):
    cells = [cell.source.splitlines() for cell in lesson.visible_code()]
    longest = max(cells, key=len)
    assert 10 <= len(cells) <= 18
    assert len(longest) < 20, longest[0]
    assert sum(map(len, cells)) < 300


@every_lesson
def test_smoke_scale_leaves_no_trace_in_a_lesson_but_its_dials(lesson):
    source = lesson.source.read_text("utf-8")
    assert "KERASLLM" not in source
    assert not re.findall(r"\b(?:settings|scale)\(", source), "a dial a line: EPOCHS = dial(6, smoke=1)"


# Right answers in other styles than the solution's, and wrong ones, that every check is tried with.
RIGHT, WRONG = 2, 3


@dataclass
class Exercise:
    """One answer and what its check is tried with; `names` holds the first code cell and the cells of the exercise."""

    answer: str
    names: dict
    check: str = ""
    right: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def run(self, source: str) -> None:
        exec(compile(source, self.names["__name__"], "exec"), self.names)


def groups(cells) -> tuple[str, list[list]]:
    """The code cell above the first exercise, and those of each exercise."""
    first = next(i for i, cell in enumerate(cells) if has_tag(cell, "answer"))
    begins = [
        i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and re.search("^## ", cell.source, re.M)
    ]
    assert begins[0] < first, "every exercise begins with a heading of its own: ## 1. ..."
    (start,) = [cell.source for cell in cells[: begins[0]] if cell.cell_type == "code"]
    parts = [cells[i:j] for i, j in pairwise([*begins, len(cells)])]
    parts = [part for part in parts if any(has_tag(cell, "answer") for cell in part)]
    return start, [[cell for cell in part if cell.cell_type == "code"] for part in parts]


def run_alone(name: str, start: str, group: list) -> list[Exercise]:
    """The exercises of a group after the first code cell and nothing else, without a warning."""
    found: list[Exercise] = []
    names: dict = {"__name__": name}
    with warnings.catch_warnings(action="error"):
        exec(compile(start, name, "exec"), names)
        for cell in group:
            if has_tag(cell, "answer"):
                found.append(Exercise(cell.source, names))
            elif has_tag(cell, "check"):
                found[-1].check = cell.source
            for tag in PLANTED:
                if has_tag(cell, tag):
                    getattr(found[-1], tag).append(cell.source)
            if not any(has_tag(cell, tag) for tag in PLANTED):
                exec(compile(cell.source, name, "exec"), names)
    return found


@every_exercise
def test_solutions_run_and_checks_refuse_stubs_and_planted_wrong_answers(lesson, tmp_path, monkeypatch, capfd):
    """What the builder does in a kernel, without one: in an empty folder, each exercise alone, then from the last."""
    import keras

    import kerasllm.data
    from kerasllm.course import ExerciseError

    monkeypatch.setattr(kerasllm.data, "load", cache(kerasllm.data.load))  # many answers, one reading of the file
    keras.ops.zeros(1)  # a backend looks for devices at its first tensor, and writes to stderr what it finds
    capfd.readouterr()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERASLLM_PROGRESS", "0")
    start, parts = groups(lesson.notebook().cells)
    exercises = [one for part in parts for one in run_alone(lesson.name, start, part)]
    assert capfd.readouterr().err == ""
    assert 3 <= len(exercises) <= 6  # five, and one experiment
    for exercise in exercises:
        exercise.run(stub(exercise.answer))
        with pytest.raises(ExerciseError, match="not written yet"):
            exercise.run(exercise.check)
        assert exercise.wrong, "every check must be shown to refuse something"
        for wrong in exercise.wrong:
            exercise.run(wrong)
            with pytest.raises(ExerciseError, match="case"):
                exercise.run(exercise.check)
        for right in exercise.right:
            exercise.run(right)
            exercise.run(exercise.check)
    names: dict = {"__name__": lesson.name}
    exec(compile(start, lesson.name, "exec"), names)
    for cell in chain(*reversed(parts)):  # a reader who begins with the last exercise, and goes on to the first
        if not any(has_tag(cell, tag) for tag in PLANTED):
            exec(compile(cell.source, lesson.name, "exec"), names)


@every_exercise
def test_every_check_is_tried_with_right_answers_of_other_styles_and_wrong_ones(lesson):
    cells = lesson.notebook().cells
    answers = [i for i, cell in enumerate(cells) if has_tag(cell, "answer")]
    for number, (begin, end) in enumerate(pairwise([*answers, len(cells)]), 1):
        for tag, least in (("right", RIGHT), ("wrong", WRONG)):
            planted = [cell.source for cell in cells[begin:end] if has_tag(cell, tag)]
            assert len(set(planted)) >= least, f"answer {number} has {len(planted)} tagged {tag}, not {least}"


# Words that every reader knows, which a lesson gives a narrower meaning.
ORDINARY = set(
    "value key query head state block gate label feature layer batch model token mask bias weight threshold activation"
    " loss greedy temperature margin capacity kernel pooling accuracy gradient attention embedding analogy".split()
)


def test_a_term_is_introduced_once_and_stands_in_no_heading_or_claim_before():
    introduced, before, wrong = {}, [], []
    for event in events(LESSONS):
        text = event.text.lower()
        if event.kind != "term":
            before.append((text, event.lesson.name))
            continue
        if text in introduced:
            wrong.append(f"{event.lesson.name}: **{event.text}** was introduced in {introduced[text]}")
        introduced.setdefault(text, event.lesson.name)
        if text not in ORDINARY:
            used = re.compile(rf"\b{re.escape(text)}s?\b")
            wrong += [
                f"{event.lesson.name}: **{event.text}** stands before it in {name}: {other!r}"
                for other, name in before
                if used.search(other) and name != event.lesson.name
            ]
    assert not wrong, "\n".join(wrong)


def test_the_glossary_is_that_of_the_lessons():
    assert GLOSSARY.read_text("utf-8") == glossary(LESSONS), "Run: make readme"
