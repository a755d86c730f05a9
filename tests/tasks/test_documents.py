"""Documents: no letter is lost, no passage is too long, each stands under its heading; bad files are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasllm.data import DataError
from kerasllm.tasks import Retriever, passages_of, read_passages

GUIDE = """# Install

Take the wheel.

```
# this is a comment, no heading
```

## Remove ##
Delete it.
"""


@given(st.text(alphabet="ab .\n。！", max_size=300), st.integers(1, 40))
def test_passages_hold_every_letter_in_order_and_none_is_too_long(text, size):
    found = passages_of(text, "some", size)
    assert "".join("".join(one.text for one in found).split()) == "".join(text.split())
    assert all(0 < len(one.text) <= size for one in found)
    assert {one.title for one in found} <= {"some"}


def test_paragraphs_stay_together_as_long_as_they_fit():
    assert [one.text for one in passages_of("one\n\ntwo\n\nthree", "n", size=8)] == ["one\n\ntwo", "three"]
    assert [one.text for one in passages_of("他来了。他走了。", "n", size=5)] == ["他来了。", "他走了。"]
    assert [one.text for one in passages_of("abcdefgh", "n", size=3)] == ["abc", "def", "gh"]


def test_a_passage_stands_under_its_heading():
    found = passages_of(GUIDE, "guide.md")
    assert [one.title for one in found] == ["guide.md: Install", "guide.md: Remove"]
    assert "# this is a comment" in found[0].text
    assert found[1].text == "Delete it."


def test_a_folder_is_read_in_order_and_without_what_is_hidden_or_no_text(tmp_path):
    for name in ("b.txt", "a/deep.MD", ".git/hidden.txt", "picture.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"This is {name}.")
    found = read_passages(tmp_path)
    assert [(one.title, one.text) for one in found] == [
        ("a/deep.MD", "This is a/deep.MD."),
        ("b.txt", "This is b.txt."),
    ]
    [best] = Retriever(found).search("deep", k=1)
    assert best.passage.title == "a/deep.MD"


@pytest.mark.parametrize(("content", "word"), [(b"", "empty"), (b" \n\n", "empty"), ("é".encode("latin-1"), "UTF-8")])
def test_a_file_that_is_no_text_is_named(tmp_path, content, word):
    (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(DataError, match=word) as error:
        read_passages(tmp_path / "mine.txt")
    assert "mine.txt" in str(error.value)


def test_an_empty_file_in_a_folder_is_nothing_and_a_faulty_one_is_named(tmp_path):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "full.txt").write_text("Here.")
    assert [one.title for one in read_passages(tmp_path)] == ["full.txt"]
    (tmp_path / "mine.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(DataError, match=r"mine\.txt"):
        read_passages(tmp_path)


def test_a_folder_without_texts_and_a_size_of_none_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"ends in \.txt"):
        read_passages(tmp_path)
    with pytest.raises(DataError, match="nowhere"):
        read_passages(tmp_path / "nowhere.txt")
    with pytest.raises(ValueError, match="size must be a whole number"):
        passages_of("a", "b", size=0)
