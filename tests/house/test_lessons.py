"""Every lesson: executed at smoke scale through nbconvert, fresh, clean and in shape."""

import re
import warnings
from itertools import pairwise

import build_lessons as builder
import nbformat
import pytest
from lesson_tools.counting import counts
from lesson_tools.glossary import GLOSSARY, events, glossary
from lesson_tools.places import SOURCES
from lesson_tools.publishing import refuse_leaks
from lesson_tools.sources import has_tag, solved_notebook, stub, student_notebook
from lesson_tools.staleness import stale_reason

LESSONS = builder.lessons(exercises=False)
ALL = builder.lessons()
EXERCISES = [lesson for lesson in ALL if lesson.is_exercise]
APPENDICES = [lesson for lesson in ALL if lesson.is_appendix]
every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
# Minutes of those that are to become shorter, as a busy machine took them.
LONGER = {"06_generalisation": 7.5, "09_word_embeddings": 4, "10_bag_of_embeddings": 9, "17_gpt": 9}
LONGER |= {"12_language_models": 12, "14_translation": 3.5, "15_bert": 5}  # a very busy one
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
    assert record.minutes <= LONGER.get(lesson.name, builder.MAX_SECONDS / 60)


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


def groups(cells) -> list[list]:
    """The code cells of each exercise behind those above the first."""
    first = next(i for i, cell in enumerate(cells) if has_tag(cell, "answer"))
    begins = [
        i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and re.search("^## ", cell.source, re.M)
    ]
    assert begins[0] < first, "every exercise begins with a heading of its own: ## 1. ..."
    parts = [cells[i:j] for i, j in pairwise([*begins, len(cells)])]
    parts = [[*cells[: begins[0]], *part] for part in parts if any(has_tag(cell, "answer") for cell in part)]
    return [[cell for cell in part if cell.cell_type == "code"] for part in parts]


@every_exercise
def test_solutions_run_and_checks_refuse_stubs_and_planted_wrong_answers(lesson, tmp_path, monkeypatch, capfd):
    """What the builder does in a kernel, without one: in an empty folder, and without a warning."""
    import keras

    from kerasllm.course import ExerciseError

    keras.ops.zeros(1)  # a backend looks for devices at its first tensor, and writes to stderr what it finds
    capfd.readouterr()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERASLLM_PROGRESS", "0")
    cells = lesson.notebook().cells
    exercises: list[dict] = []
    for group in groups(cells):
        # Each exercise with the cells above the first one, and without the others: a reader begins anywhere.
        names: dict = {"__name__": lesson.name}
        for cell in group:
            if has_tag(cell, "answer"):
                exercises.append({"answer": cell.source, "wrong": [], "names": names})
            elif has_tag(cell, "check"):
                exercises[-1]["check"] = cell.source
            elif has_tag(cell, "wrong"):
                exercises[-1]["wrong"].append(cell.source)
                continue
            with warnings.catch_warnings(action="error"):
                exec(compile(cell.source, lesson.name, "exec"), names)
    assert capfd.readouterr().err == ""
    assert 3 <= len(exercises) <= 6  # five, and one experiment
    for exercise in exercises:

        def run(source: str, names: dict = exercise["names"]) -> None:
            exec(compile(source, lesson.name, "exec"), names)

        run(stub(exercise["answer"]))
        with pytest.raises(ExerciseError, match="not written yet"):
            run(exercise["check"])
        assert exercise["wrong"], "every check must be shown to refuse something"
        for wrong in exercise["wrong"]:
            run(wrong)
            with pytest.raises(ExerciseError, match="case"):
                run(exercise["check"])
        run(exercise["answer"])
        run(exercise["check"])


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
