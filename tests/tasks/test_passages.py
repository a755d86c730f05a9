"""Passages with sources: found by title and text, equal to a new retriever after any change, saved as one file."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_retriever import Letters

from kerasllm.tasks import BM25, EmbeddingIndex, RankFusion
from kerasllm.tasks.passages import Found, Passage, Retriever, quoted, with_sources

PASSAGES = [
    Passage("json.dumps", "Serialize an object to a string.", "https://example.org/json"),
    Passage("os.path.join", "Join two or more path components."),
    Passage("shutil", "Copy a file."),
    Passage("shutil", "Copy a directory tree."),
    Passage("猫", "猫坐在垫子上。"),
]
KINDS = {
    "words": BM25,
    "vectors": lambda: EmbeddingIndex(Letters()),
    "both": lambda: RankFusion([BM25(k1=0.9), EmbeddingIndex(Letters(), prefix="passage: ")], constant=20, depth=4),
}
kinds = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
QUESTIONS = ("How do I copy a tree?", "join", "json.dumps", "猫", "zzz", "")


def answers(retriever):
    return [retriever.search(question, 9) for question in QUESTIONS]


def test_a_passage_is_found_by_its_title_and_by_its_text():
    retriever = Retriever(PASSAGES)
    [first] = retriever.search("dumps", k=1)
    assert first.passage == PASSAGES[0]
    assert first.score > 0
    assert [found.passage.text for found in retriever.search("copy tree")] == [
        "Copy a directory tree.",
        "Copy a file.",
    ]
    assert retriever.search("猫")[0].passage.title == "猫"
    assert retriever.search("nothing of the kind") == []
    assert Retriever().search("copy") == []


@kinds
def test_passages_added_and_removed_are_those_of_a_new_retriever(make):
    changed = Retriever(PASSAGES[:3], make())
    changed.search("copy")
    changed.add(PASSAGES[3:])
    assert answers(changed) == answers(Retriever(PASSAGES, make()))
    assert changed.remove("shutil") == 2
    rest = [one for one in PASSAGES if one.title != "shutil"]
    assert changed.passages == rest
    assert answers(changed) == answers(Retriever(rest, make()))
    changed.add([("shutil", "Copy a file."), ("shutil", "Copy a directory tree.")])
    assert answers(changed) == answers(Retriever([*rest, *PASSAGES[2:4]], make()))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.text("xyz ", max_size=8)), max_size=8))
def test_any_row_of_changes_ends_where_a_new_retriever_begins(changes):
    retriever, held = Retriever(), []
    for goes, title, text in changes:
        if goes and any(one[0] == title for one in held):
            assert retriever.remove(title) == sum(one[0] == title for one in held)
            held = [one for one in held if one[0] != title]
        else:
            retriever.add([(title, text)])
            held.append((title, text))
    for question in ("x", "a y", "z z b"):
        assert retriever.search(question, 9) == Retriever(held).search(question, 9)


@kinds
def test_it_comes_back_from_its_file_and_goes_on(make, tmp_path):
    retriever = Retriever(PASSAGES, make())
    retriever.remove("os.path.join")
    retriever.save(tmp_path / "my documents")
    loaded = Retriever.load(tmp_path / "my documents", Letters())
    assert loaded.passages == retriever.passages
    assert answers(loaded) == answers(retriever)
    for one in (loaded, retriever):
        one.add(PASSAGES[1:2])
    assert answers(loaded) == answers(retriever)
    assert [path.name for path in tmp_path.iterdir()] == ["my documents"]


LOAD = """
import json, sys
from kerasllm.tasks.passages import Retriever
retriever = Retriever.load(sys.argv[1])
print(json.dumps([[found.passage.title, found.score] for found in retriever.search(sys.argv[2], 3)]))
"""


def test_a_fresh_process_finds_the_same(tmp_path):
    retriever = Retriever(PASSAGES)
    retriever.save(tmp_path / "documents.zip")
    arguments = [sys.executable, "-c", LOAD, tmp_path / "documents.zip", "copy a tree"]
    run = subprocess.run(arguments, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert json.loads(run.stdout) == [[found.passage.title, found.score] for found in retriever.search("copy a tree")]


def test_a_file_of_others_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "documents"
    Retriever(PASSAGES, EmbeddingIndex(Letters())).save(path)
    with pytest.raises(ValueError, match="holds vectors: give load the encoder"):
        Retriever.load(path)
    with pytest.raises(ValueError, match=f"{path} was made with another encoder"):
        Retriever.load(path, Letters("ab"))
    Retriever(PASSAGES).save(path)
    with pytest.raises(ValueError, match=f"{path} was made with words="):
        Retriever.load(path, words=str.split)
    content = path.read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 5):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="no retriever that save wrote"):
            Retriever.load(path)
    with pytest.raises(FileNotFoundError):
        Retriever.load(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about["passages"].pop(), "its passages and its index do not fit"),
        (lambda about: about.pop("passages"), "no retriever that save wrote"),
        (lambda about: about.update(indexes=[]), "its passages and its index do not fit"),
        (lambda about: about.update(indexes=["os"]), "an unknown kind, 'os'"),
        (lambda about: about.update(indexes=["BM25", "BM25"]), "no retriever that save wrote"),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(tmp_path, change, message):
    path = tmp_path / "documents"
    Retriever(PASSAGES).save(path)
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    about = json.loads(parts["passages.json"])
    change(about)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {**parts, "passages.json": json.dumps(about)}.items():
            file.writestr(name, content)
    with pytest.raises(ValueError, match=message):
        Retriever.load(path)


def test_an_index_of_a_stranger_is_not_saved_in_part(tmp_path):
    class Mine(BM25):
        pass

    with pytest.raises(ValueError, match="A Mine cannot be saved"):
        Retriever(PASSAGES, Mine()).save(tmp_path / "documents")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("passages", "kind", "message"),
    [
        ("a text", TypeError, "not one string"),
        (["a text"], TypeError, "Passage 0 is 'a text'"),
        ([("title",)], TypeError, "Passage 0"),
        ([("title", "text"), ("title", None)], TypeError, "The text of passage 1 is NoneType"),
        ([("title", b"text")], TypeError, "The text of passage 0 is bytes"),
        ([(" ", "text")], ValueError, "Passage 0 has no title"),
        ([("title", "\ud800")], ValueError, "lone surrogate"),
    ],
)
def test_what_is_no_passage_is_refused_and_nothing_added(passages, kind, message):
    retriever = Retriever(PASSAGES)
    with pytest.raises(kind, match=message):
        retriever.add(passages)
    assert len(retriever) == len(retriever.index) == len(PASSAGES)


def test_bad_questions_numbers_titles_and_indexes_are_refused():
    retriever = Retriever(PASSAGES)
    with pytest.raises(TypeError, match="A question is a text"):
        retriever.search(["copy"])
    with pytest.raises(ValueError, match="k must be a whole number"):
        retriever.search("copy", k=0)
    with pytest.raises(ValueError, match="no passage with the title 'shelve'"):
        retriever.remove("shelve")
    with pytest.raises(ValueError, match="has 1 texts already"):
        Retriever(PASSAGES, BM25(["a text"]))


@kinds
def test_odd_passages_and_questions_have_an_answer(make):
    odd = [("empty", ""), ("long", "word " * 3_000), ("emoji", "👩🏽‍🚀 🙂"), ("right to left", "הירח של מאדים")]
    retriever = Retriever(odd, make())
    for question in ("", " \n", "x" * 10_000, "🙂", "של"):
        assert all(isinstance(found, Found) and np.isfinite(found.score) for found in retriever.search(question, 9))


def test_quotations_stand_behind_what_the_system_says():
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How?"}]
    plain = with_sources(turns, PASSAGES[:2])
    assert plain[0]["content"].startswith("Be brief.\n\nAnswer from these sources")
    assert plain[0]["content"].endswith(quoted(PASSAGES[:2]))
    assert plain[1:] == turns[1:]
    assert turns[0]["content"] == "Be brief."
    [said, asked] = with_sources(turns[1:], PASSAGES[1:2], "Look:", mark="^")
    assert said == {"role": "system", "content": "Look:\n\n[1] os.path.join\nJoin^two^or^more^path^components."}
    assert asked == turns[1]
