"""Where tokens stand in a text."""

import numpy as np
import pytest

from kerasllm import text

SOME = ["The cat sat on the mat.", "你好，世界 hello", "", " \n", "🇳🇴👩🏽‍🚀 e\u0301", "ÅNGSTRÖM İstanbul"]
MADE = {
    "characters": text.train_characters(SOME),
    "lower characters": text.train_characters(SOME, lower=True),
    "few characters": text.train_characters(SOME[:1], byte_fallback=False),
    "bytes": text.train_bpe(SOME, 300),
    "pieces": text.train_wordpiece(SOME, 90, lower=True),
    "words": text.train_words(SOME, 50),
}
TEXTS = [*SOME, "unknown ☃ words", "mat 你 " * 12_000]  # the last one is longer than what is encoded at a time


@pytest.mark.parametrize("name", MADE)
def test_ids_are_those_of_encode_and_places_rise_to_the_end(name):
    ids, offsets = text.encode_with_offsets(MADE[name], TEXTS)
    assert ids == MADE[name].encode_batch(TEXTS)
    for one, row, places in zip(TEXTS, ids, offsets, strict=True):
        assert places.shape == (len(row), 2)
        assert places.dtype == "int64"
        assert (places[:, 0] < places[:, 1]).all()
        assert (np.diff(places[:, 0]) >= 0).all()
        assert places.max(initial=0) <= len(one)
        covered = {place for start, end in np.unique(places, axis=0).tolist() for place in range(start, end)}
        assert {place for place, sign in enumerate(one) if not sign.isspace()} <= covered


def test_a_place_holds_the_characters_of_its_token():
    one = TEXTS[-1]
    for name in ("characters", "bytes", "words"):
        [ids], [offsets] = text.encode_with_offsets(MADE[name], [one])
        for place in (0, 3, len(ids) // 2, len(ids) - 3):
            start, end = offsets[place]
            if offsets[place - 1].tolist() != [start, end] != offsets[place + 1].tolist():  # a character of its own
                assert MADE[name].decode([ids[place]]) in (one[start:end], one[start:end].strip())


def test_what_is_no_text_is_refused():
    for name in MADE:
        with pytest.raises(TypeError, match="Text 1 is None"):
            text.encode_with_offsets(MADE[name], ["a", None])
        with pytest.raises(ValueError, match="Text 0 holds the lone surrogate"):
            text.encode_with_offsets(MADE[name], ["\ud800"])
        with pytest.raises(TypeError, match="several texts"):
            text.encode_with_offsets(MADE[name], "a")
