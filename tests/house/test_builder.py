"""The lesson builder, on small lessons of its own."""

import json
import sys
import textwrap
from pathlib import Path

import build_lessons as builder
import nbformat
import pytest
from lesson_tools import execution, publishing, readme

GOOD = """
    # %% [markdown]
    # # 90 · Good
    # *Is it good?*

    # %%
    import matplotlib.pyplot as plt
    from kerasllm.course import claim, scale
    from kerasllm.course.figures import show
    print("one")

    # %%
    print("two")
    figure, axis = plt.subplots()
    axis.plot([1, 2, 3])
    show(figure, "A straight line that rises from 1 to 3.")

    # %%
    claim("two is more than one", 2, ">", 1)
    claim("equal", 1, "==", 1, exact=True)
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a lesson's source; report and drafts stay in the temporary folder."""
    monkeypatch.setattr(builder, "REPORT", tmp_path / "report.json")
    monkeypatch.setattr(builder, "FAILED", tmp_path / "failed")

    def write(name: str, text: str, folder: str = "src") -> builder.Lesson:
        path = tmp_path / folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip(), "utf-8")
        return builder.Lesson(path)

    return write


def report(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "report.json").read_text("utf-8"))


def test_a_good_lesson_is_executed_normalised_and_reported(write, tmp_path, monkeypatch):
    monkeypatch.setattr(execution.ThisPython, "command", (sys.executable,))  # a plain one, whose memory is measured
    lesson = write("90_good", GOOD)
    assert builder.build_all([lesson], tmp_path / "out", "cpu") == 0
    [entry] = report(tmp_path)["lessons"]
    assert entry["name"] == "90_good"
    assert entry["seconds"] > 0
    assert entry["peak_mib"] > 10
    assert [(c["text"], c["measured"], c["relation"], c["bound"], c["holds"]) for c in entry["claims"]] == [
        ("two is more than one", 2, ">", 1, True),
        ("equal", 1, "==", 1, True),
    ]
    book = nbformat.read(tmp_path / "out" / "90_good.ipynb", as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3]
    assert code[0].outputs[0].text == "one\n"
    assert code[1].outputs[1].metadata["image/png"]["alt"].startswith("A straight line")
    assert [output.data for output in code[2].outputs] == [
        {"text/plain": "✓ two is more than one: 2 > 1"},
        {"text/plain": "✓ equal: 1 == 1"},
    ]
    assert book.metadata.kerasllm.claims == entry["claims"]
    assert book.metadata.kerasllm.source_sha256 == lesson.sha256()


def test_building_twice_gives_the_same_bytes(write, tmp_path):
    lesson = write("90_good", GOOD)
    texts = []
    for out in (tmp_path / "one", tmp_path / "two"):
        assert builder.build_all([lesson], out, "cpu") == 0
        texts.append((out / "90_good.ipynb").read_bytes())
    assert texts[0] == texts[1]


def test_smoke_scale_reaches_the_kernel_and_judges_exact_claims_only(write, tmp_path):
    assert builder.build_all([write("90_good", GOOD)], tmp_path / "out", "smoke") == 0
    assert [claim["holds"] for claim in report(tmp_path)["lessons"][0]["claims"]] == [None, True]


def test_a_failing_lesson_is_told_and_keeps_the_last_good_notebook(write, tmp_path, capsys):
    good, bad = write("91_good", GOOD), write("90_bad", GOOD)
    assert builder.build_all([bad], tmp_path / "out", "cpu") == 0
    before = (tmp_path / "out" / "90_bad.ipynb").read_bytes()
    bad = write("90_bad", "# %%\nx = 1\n\n# %%\nzero = x - 1\nprint(1 / zero)\n")
    assert builder.build_all([bad, good], tmp_path / "out", "cpu") == 1
    said = capsys.readouterr().out
    for part in ("90_bad", "code cell 2", "    print(1 / zero)", "ZeroDivisionError: division by zero", "✓ 91_good"):
        assert part in said
    assert (tmp_path / "out" / "90_bad.ipynb").read_bytes() == before
    entries = report(tmp_path)["lessons"]
    assert [entry["name"] for entry in entries] == ["90_bad", "91_good"]
    assert "ZeroDivisionError" in entries[0]["error"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("from kerasllm.course import claim\nclaim('false', 1, '>', 2)", "false: 1 > 2"),
        ("import warnings\nwarnings.warn('careful')", "a warning is a defect"),
        ("import os\nos.write(2, b'from below Python\\n')", "a warning is a defect"),
        ("import os\nprint(os.getcwd())", "a path of this machine"),
        ("print('see /home/somebody/data.csv')", "a path of this machine"),
        ("object()", "an object's address"),
        ("import os\nos._exit(1)", "kernel"),
        ("import matplotlib.pyplot as plt\nplt.plot([1, 2]);", "no description"),
        ("print('0123456789' * 200_000)", "the limit is"),
    ],
)
def test_what_must_not_be_published(write, tmp_path, capsys, source, message):
    lesson = write("90_bad", f"# %%\n{source}\n")
    assert builder.build_all([lesson], tmp_path / "out", "cpu") == 1
    assert message.lower() in capsys.readouterr().out.lower()
    assert not (tmp_path / "out").exists()


def test_platform_noise_on_stderr_is_dropped(write, tmp_path):
    noise = (
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n"
        "I0000 00:00:1795331824.780479 12913 port.cc:153] oneDNN custom operations are on.\\n"
    )
    lesson = write("90_noise", f'# %%\nimport os\nos.write(2, b"{noise}");\n')
    assert builder.build_all([lesson], tmp_path / "out", "cpu") == 0


def test_the_hint_about_retracing_is_dropped_and_the_lines_around_it_stay(write, tmp_path):
    hint = "WARNING:tensorflow:5 out of the last 13 calls to <f at 0x7f7b909b3ba0> triggered tf.function retracing."
    lesson = write("90_hint", f"# %%\nprint('before')\nprint()\nprint('{hint}')\nprint('after')\n")
    assert builder.build_all([lesson], tmp_path / "out", "cpu") == 0
    book = nbformat.read(tmp_path / "out" / "90_hint.ipynb", as_version=4)
    assert book.cells[0].outputs[0].text == "before\n\nafter\n"


def published(tmp_path: Path, name: str) -> nbformat.NotebookNode:
    return nbformat.read(tmp_path / "out" / f"{name}.ipynb", as_version=4)


HIDDEN = """
    # %% [markdown]
    # # 90 · Hidden

    # %% tags=["hide"]
    # @title A drawing
    print("drawn")

    # %%
    print("seen")
"""


def test_a_hidden_cell_is_folded_everywhere_and_its_output_stays(write, tmp_path):
    lesson = write("90_hidden", HIDDEN)
    assert builder.build_all([lesson], tmp_path / "out", "cpu") == 0
    _, hidden, seen = published(tmp_path, "90_hidden").cells
    assert hidden.metadata == {
        "tags": ["hide", "hide-input"], "jupyter": {"source_hidden": True}, "cellView": "form",
    }  # fmt: skip
    assert hidden.outputs[0].text == "drawn\n"
    assert seen.metadata == {}
    assert [cell.source for cell in lesson.visible_code()] == ['print("seen")']


def test_a_hidden_cell_says_what_it_hides(write, tmp_path, capsys):
    lesson = write("90_hidden", HIDDEN.replace("# @title A drawing", "# a drawing"))
    assert builder.build_all([lesson], tmp_path / "out", "cpu") == 1
    assert "# @title" in capsys.readouterr().out


def test_a_lesson_finds_nothing_beside_itself(write, tmp_path):
    lesson = write("90_alone", HIDDEN + "\n    # %%\n    import os; print(os.listdir())\n")
    assert builder.build_all([lesson], tmp_path / "out", "cpu") == 0
    assert published(tmp_path, "90_alone").cells[-1].outputs[0].text == "[]\n"


def test_claims_of_a_table_are_collected_and_shown_in_words(write, tmp_path):
    table = """
    # %%
    from kerasllm.course import Claims
    found = Claims("What we measured")
    found.claim("two is more", [2, 3], ">", [1, 1], control="one", headline="two is worth {difference} more")
    found.claim("equal", 1, "==", 1, exact=True)
    found.show()
    """
    assert builder.build_all([write("90_table", table)], tmp_path / "out", "cpu") == 0
    [output] = published(tmp_path, "90_table").cells[0].outputs
    assert set(output.data) == {"text/plain", "text/html"}
    assert "<table>" in output.data["text/html"]
    claims = report(tmp_path)["lessons"][0]["claims"]
    assert [one["text"] for one in claims] == ["two is more", "equal"]
    assert readme._phrase(claims[0]) == "two is worth 1.50 ± 0.71 more"


def test_headlines_name_their_control():
    claim = {"text": "attention recites", "measured": 0.9, "relation": ">", "bound": 0.6, "headline": True}
    assert readme._phrase(claim) == "attention recites: 0.9 > 0.6"
    assert readme._phrase(claim | {"control": "an LSTM"}) == "attention recites: 0.9, an LSTM 0.6"


@pytest.mark.parametrize("home", ["/", "/home/somebody", "/app"])
def test_a_fraction_is_no_path_whatever_the_home_folder_is(monkeypatch, home):
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(publishing, "ROOT", Path("/"))
    cell = nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("stream", text="epoch 1/6, a/app, /apple")])
    publishing.refuse_leaks(cell, 1)


@pytest.mark.parametrize("text", ["in /app/data", "/app", "'/app'", "/app:"])
def test_the_home_folder_is_found_wherever_it_is(monkeypatch, text):
    monkeypatch.setenv("HOME", "/app")
    cell = nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("stream", text=text)])
    with pytest.raises(builder.LessonError, match="path of this machine"):
        publishing.refuse_leaks(cell, 1)


@pytest.fixture
def foreign_kernel(tmp_path, monkeypatch):
    """A kernel named python3 that does not start, where Jupyter looks first."""
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    spec = {"argv": ["false", "{connection_file}"], "display_name": "Foreign", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec), "utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))


def test_a_foreign_kernel_named_python3_is_not_ours(write, tmp_path, foreign_kernel):
    assert builder.build_all([write("90_good", GOOD)], tmp_path / "out", "cpu") == 0


def test_a_kernel_that_does_not_start_fails_its_lesson_and_names_the_log(write, tmp_path, monkeypatch, capsys):
    lost = execution.KernelSpec(
        argv=["sh", "-c", "echo no such module >&2; exit 1", "{connection_file}"], display_name="-", language="python"
    )
    good, bad = write("91_good", "# %%\n1 + 1\n"), write("90_bad", "# %%\n1 + 1\n")
    with monkeypatch.context() as broken:
        broken.setattr(execution.ThisPython, "get_kernel_spec", lambda self, name: lost)
        broken.setattr(execution, "KERNEL_LOG", tmp_path / "kernel.log")
        assert builder.build_all([bad], tmp_path / "out", "cpu") == 1
    said = capsys.readouterr().out
    assert "the kernel does not start" in said
    assert "kernel.log" in said
    assert "no such module" in said
    assert builder.build_all([good], tmp_path / "out", "cpu") == 0


EXERCISES = """
    # %% [markdown]
    # # Exercises

    # %%
    from kerasllm.course import case, check

    # %% tags=["answer"]
    def double(x):
        \"\"\"Twice x.\"\"\"
        ### BEGIN SOLUTION
        return 2 * x
        ### END SOLUTION

    # %% tags=["check"]
    check(double, case("two", 2, expect=4), hint="Add.")

    # %% tags=["right"]
    def double(x):
        return x + x

    # %% tags=["wrong"]
    def double(x):
        return x
"""


def test_exercises_become_a_students_and_a_solved_notebook(write, tmp_path):
    lesson = write("90_good", EXERCISES, "exercises")
    assert builder.build_all([lesson], tmp_path / "out", "cpu") == 0
    student = nbformat.read(tmp_path / "out" / "exercises" / "90_good.ipynb", as_version=4)
    solved = nbformat.read(tmp_path / "out" / "solutions" / "90_good.ipynb", as_version=4)
    assert [len(book.cells) for book in (student, solved)] == [4, 4]  # no planted answers, right or wrong
    assert "raise NotImplementedError" in student.cells[2].source
    assert "2 * x" not in student.cells[2].source
    assert "Twice x." in student.cells[2].source
    assert "raises-exception" in student.cells[3].metadata.tags
    assert "2 * x" in solved.cells[2].source
    assert "1 of 1 cases pass" in solved.cells[3].outputs[0].data["text/plain"]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in student.cells)
    assert solved.cells[2].metadata.nbgrader.solution
    assert solved.cells[3].metadata.nbgrader.points == 1


def test_only_chooses_by_number_or_name_and_knows_what_there_is():
    names = [lesson.name for lesson in builder.lessons(exercises=False)]
    assert [lesson.name for lesson in builder.lessons("1", exercises=False)] == names[:1]
    assert [lesson.name for lesson in builder.lessons(f"{names[1][:2]},{names[0]}", exercises=False)] == names[:2]
    with pytest.raises(SystemExit, match=r"'99'.*01_"):
        builder.lessons("99")


def test_committed_notebooks_are_made_at_cpu_scale_only():
    with pytest.raises(SystemExit):
        builder.main(["--scale", "smoke", "--out", str(builder.LESSONS)])
