"""Python's documentation as passages, read without running it; questions about it whose answers are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_data_loaders import loaded

from kerasllm import data
from kerasllm.data import python_texts
from kerasllm.data.catalogue import datasets
from kerasllm.data.python_texts import MODULES, REST, WORDS, paragraphs_of, passages_of
from kerasllm.data.splits import fold

KNOWN = {
    "module": ["json", "subprocess", "timeit", "platform"],
    "class": ["collections.Counter", "collections.deque", "str", "pathlib.Path", "threading.Thread", "re.Pattern"],
    "function": ["json.dumps", "random.choice", "len", "math.gcd", "os.makedirs", "os.getcwd", "os.path.join", "open"],
    "method": ["str.join", "dict.setdefault", "pathlib.Path.exists", "datetime.date.fromisoformat", "list.sort"],
    "topic": ['The "for" statement', 'The "try" statement', "Lambdas"],
}

# Passages ---------------------------------------------------------------------------------------


def test_paragraphs_keep_the_lines_of_code_and_lists_and_join_those_of_prose():
    text = "Heading\n*******\n\nSome\tprose\nof two  lines.\n\n   * one\n   * two\n\n>>> 1\n1\n\n\n  ------\n"
    assert paragraphs_of(text) == ["Heading", "Some prose of two lines.", "* one\n* two", ">>> 1\n1"]
    assert paragraphs_of(" \n\n") == []


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=8), st.sampled_from([" ", "\n", ". "]))
def test_passages_hold_every_word_in_order_and_are_of_about_one_size(lengths, joint):
    paragraphs = [joint.join(f"w{place}x{word}" for word in range(many)) for place, many in enumerate(lengths)]
    found = passages_of("\n\n".join(paragraphs))
    assert " ".join(found).split() == " ".join(paragraphs).split()
    sizes = [len(one.split()) for one in found]
    whole = max(lengths, default=0) if joint != ". " else 0  # prose without the end of a sentence stays whole
    # The rest of a paragraph joins the piece before it, and the rest of the text joins that.
    assert all(size <= max(WORDS, whole) + 2 * (REST - 1) for size in sizes)
    assert sizes == [] or len(sizes) == 1 or sizes[-1] >= REST


# The collection ---------------------------------------------------------------------------------


def test_what_programmers_know_is_there_under_the_name_they_call_it():
    frame = loaded("python-documentation")
    assert list(frame.columns) == ["title", "kind", "text", "passage"]
    there = frame.groupby("kind", observed=True)["title"].agg(set)
    for kind, titles in KNOWN.items():
        assert set(titles) <= there[kind]
    texts = frame.set_index(["title", "passage"])["text"]
    assert texts["json.dumps", 0].startswith("Serialize ``obj`` to a JSON formatted ``str``.")
    assert texts["math.gcd", 0] == "Greatest Common Divisor."


def test_passages_are_numbered_clean_and_short():
    frame = loaded("python-documentation")
    assert not frame.duplicated(["title", "kind", "passage"]).any()
    numbers = frame.groupby(["title", "kind"], observed=True)["passage"]
    assert (numbers.max() + 1 == numbers.size()).all()
    assert (frame["passage"] == numbers.cumcount()).all()
    words = frame["text"].str.split().str.len()
    assert words.between(3, 2 * WORDS).all()
    assert words.quantile(0.99) <= WORDS + 30
    assert (frame["text"] == frame["text"].str.strip()).all()
    assert not frame["title"].str.contains(r"(?:^|\.)_").any()
    topics = frame.loc[frame["kind"] == "topic", "text"].str.split("\n\n").explode()
    assert topics.duplicated().mean() < 0.01  # chapters of which others are a part do not say it again


@pytest.mark.skipif(sys.version_info[:3] != (3, 11, 7), reason="the card has the numbers of 3.11.7")
def test_the_card_has_the_numbers_of_its_python():
    frame, card = loaded("python-documentation"), data.card("python-documentation")
    assert len(frame) == datasets()["python-documentation"].rows
    kinds = [f"{kind} {rows:,}" for kind, rows in frame["kind"].value_counts().items()]
    dropped = frame.attrs["dropped_short"]
    for fact in [*kinds, f"{frame.attrs['rows_read']:,} passages", f"{dropped} docstrings", f"{len(MODULES)} modules"]:
        assert fact in card


def test_nothing_depends_on_the_machine():
    text = "\n".join(loaded("python-documentation")["text"])
    assert not re.search(r" at 0x[0-9a-f]{6,}", text)
    assert str(Path.home()) not in text
    assert sys.prefix not in text


WATCH = """
import sys
from kerasllm import data
import pandas
before = set(sys.modules)
frame = data.load("python-documentation")
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(new & set(sys.argv[1:])), frame["title"].eq("smtplib.SMTP").sum() > 0)
"""


def test_modules_are_read_and_not_imported():
    names = {name.split(".")[0] for name in MODULES} - {"csv"}  # a reader of csv is written in C
    run = subprocess.run([sys.executable, "-c", WATCH, *names, "pydoc_data"], capture_output=True, text=True)
    assert run.stdout.split("\n")[0] == "[] True", run.stderr[-2000:]


def test_a_python_without_its_sources_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(python_texts.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(data.DataError, match=r"no source of its module abc .*abc\.py.*libpython3-stdlib"):
        data.load("python-documentation")
    with pytest.raises(data.DataError, match=r"topics\.py"):
        python_texts.topics()


# The questions ----------------------------------------------------------------------------------


def test_every_question_is_asked_once_and_its_answers_are_in_the_collection():
    questions, titles = loaded("documentation-questions"), set(loaded("python-documentation")["title"])
    assert not questions["question"].map(fold).duplicated().any()
    assert questions["wording"].value_counts().to_dict() == {"same words": 30, "other words": 30, "no answer": 20}
    parts = questions.groupby(["split", "wording"], observed=True).size()
    assert parts["validation"].to_dict() == {"same words": 8, "other words": 7, "no answer": 5}
    answered = questions["wording"] != "no answer"
    assert (questions["titles"].map(len) > 0).equals(answered)
    for question, answers in questions.loc[answered, ["question", "titles"]].itertuples(index=False):
        assert len(set(answers)) == len(answers)
        # Some of them may be new in a later Python, or gone; one at least is there.
        assert titles & set(answers), question


def test_questions_share_words_with_their_answers_as_their_wording_says():
    questions, passages = loaded("documentation-questions"), loaded("python-documentation")
    texts = (passages["title"] + " " + passages["text"]).groupby(passages["title"]).agg(" ".join)
    frequent = set("how do i a an the is in of to what which it that for my on and can when does with all are".split())

    def shared(question, answers):
        words = set(re.findall(r"[a-z]{2,}", question.casefold())) - frequent
        return max(len(words & set(re.findall(r"[a-z]{2,}", texts[one].casefold()))) for one in answers) / len(words)

    there = questions["titles"].map(lambda titles: [one for one in titles if one in texts.index])
    overlap = [shared(*row) if row[1] else 0.0 for row in zip(questions["question"], there, strict=True)]
    means = questions.assign(overlap=overlap).groupby("wording", observed=True)["overlap"].mean()
    assert means["same words"] > 0.75
    assert means["other words"] < 0.4
