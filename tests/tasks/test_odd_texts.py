"""Every task and every index: odd texts have an answer of their own, and what is no text is refused in words."""

import functools

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops, tree

from kerasllm import generation, models, tasks, text

LEARNED = ["a good film", "a bad film", "Ada met Bob in Rome", "who met Ada ?", "the film is so good"]
WORDS = text.train_wordpiece(LEARNED * 3, 80, bos=True, eos=True)
BYTES = text.train_bpe(LEARNED, 300, bos=True, eos=True)
LABELS = ["O", "B-person", "I-person", "B-place", "I-place"]

ODD = {
    "nothing": "",
    "one character": "a",
    "one character of Chinese": "猫",
    "10,000 characters": "a good film. " * 769 + "a b",
    "10,000 characters without a space": "x" * 10_000,
    "10,000 characters of Chinese": "我喜欢猫。" * 2_000,
    "emoji": "👩🏽‍🚀🇳🇴 😀",
    "right to left": "אדה פגשה את בוב، مرحبا بالعالم",
    "both ways": "Ada said שלום to \u202bמרחב\u202c Bob",
    "spaces": " \n\t\u3000",
    "nothing to be seen": "\u200b\ufeff",
    "control characters": "a\x00b\x07c\x1b[0m",
    "a combined letter": "e\u0301\u0327",
    "special tokens": "<bos> <eos> <pad> <unk> [CLS] [SEP]",
    "numbers": "3.14 1,000 ½ ٣",
    "code": "<b>&amp;</b> {{ x }} %s \\n",
    "ordinary": "Bob met Ada in Rome",
}
assert {len(one) for name, one in ODD.items() if name.startswith("10,000")} == {10_000}
WITH_ONE_LONG = [one for name, one in ODD.items() if not name.startswith("10,000 characters ")]


def shaken(model, size=0.5):
    """The model with weights of which each matters; nothing was trained."""
    random = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(random.normal(size=weight.shape) * size + ("gamma" in weight.path))
    return model


def bert(tokenizer, **changes):
    settings = models.BERTSettings(
        tokenizer.vocabulary_size, 16, 2, 2, context_length=64, pad_id=tokenizer.pad_id, **changes
    )
    return models.BERT(settings)


def classifier(tokenizer):
    return tasks.TextClassifier(models.BERTClassifier(bert(tokenizer), 3), tokenizer, ["bad", "mixed", "good"])


def bag(tokenizer):
    return tasks.TextClassifier(models.BagOfEmbeddings(tokenizer.vocabulary_size, 2, 8), tokenizer, ["bad", "good"])


def tagger(tokenizer):
    return tasks.TokenTagger(models.BERTClassifier(bert(tokenizer), 5, None), tokenizer, LABELS, crf=True)


def finder(tokenizer):
    network = models.BERTClassifier(bert(tokenizer, type_vocabulary_size=2), 2, None)
    return tasks.SpanFinder(network, tokenizer, max_question=10, stride=40)


def translator(tokenizer):
    settings = models.Seq2SeqSettings(
        tokenizer.vocabulary_size, embedding_dim=16, num_layers=1, num_heads=2, pad_id=tokenizer.pad_id
    )
    return tasks.Translator(models.Seq2Seq(settings), tokenizer, max_length=12)


def recurrent_translator(tokenizer):
    network = models.LSTMSeq2Seq(tokenizer.vocabulary_size, embedding_dim=16, units=16)
    return tasks.Translator(network, tokenizer, max_length=12)


def encoder(tokenizer):
    return tasks.SentenceEncoder(bert(tokenizer), tokenizer)


MAKE = {
    "classifier": (classifier, WORDS),
    "classifier of bytes": (bag, BYTES),
    "tagger": (tagger, WORDS),
    "tagger of bytes": (tagger, BYTES),
    "finder": (finder, WORDS),
    "finder of bytes": (finder, BYTES),
    "translator": (recurrent_translator, BYTES),
    "translator of bytes": (translator, BYTES),
    "encoder": (encoder, WORDS),
    "encoder of bytes": (encoder, BYTES),
}
INDEXES = {
    "words": tasks.BM25,
    "vectors": lambda texts: tasks.EmbeddingIndex(made("encoder"), texts),
    "both": lambda texts: tasks.RankFusion([tasks.BM25(texts), tasks.EmbeddingIndex(made("encoder"), texts)]),
}


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """No network is compiled: each of these texts has a shape of its own. The tests of each task compile."""

    def run(function, model, key, xla=True):
        return lambda *tensors: function(model, *tree.map_structure(ops.convert_to_tensor, tensors))

    monkeypatch.setattr(generation.sequence_to_sequence, "compiled", run)


@functools.cache
def made(name):
    keras.utils.set_random_seed(1)
    make, tokenizer = MAKE[name]
    model = shaken(make(tokenizer))
    model.run_eagerly = True
    return model


def asked(name, texts, **batch):
    """For each text the answer of a task: numbers, and words."""
    model = made(name)
    if isinstance(model, tasks.TextClassifier):
        frame = model.classify(texts, **batch)
        return list(zip(frame[model.labels].to_numpy(), frame["label"], strict=True))
    if isinstance(model, tasks.TokenTagger):
        return [(np.zeros(0), row) for row in model.tag(texts, **batch)]
    if isinstance(model, tasks.SpanFinder):
        frame = model.answer(texts, ["Ada met Bob in Rome, and so good a film"] * len(list(texts)), **batch)
        other = model.answer(["who met Ada ?"] * len(list(texts)), texts, **batch)
        numbers = np.stack([*frame[["score", "no_answer"]].to_numpy().T, *other[["score", "no_answer"]].to_numpy().T])
        words = [*zip(frame["text"], frame["start"], other["text"], other["start"], strict=True)]
        return list(zip(np.nan_to_num(numbers.T, neginf=-1.0), words, strict=True))
    if isinstance(model, tasks.Translator):
        return [(np.zeros(0), one) for one in model.translate(texts, num_beams=2, **batch)]
    return [(row, "") for row in model.embed(texts, **batch)]


def searched(name, texts, k=4):
    places, scores = INDEXES[name](list(ODD.values())).search(texts, k)
    return list(zip(scores, places.tolist(), strict=True))


def same(found, expected):
    for (numbers, words), (known, right) in zip(found, expected, strict=True):
        assert words == right
        np.testing.assert_allclose(numbers, known, rtol=1e-5, atol=1e-5)


# Texts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKE)
def test_each_odd_text_has_an_answer_and_neither_padding_nor_batches_nor_order_change_it(name):
    texts = list(ODD.values())
    together = asked(name, texts)
    assert len(together) == len(texts)
    assert all(np.isfinite(numbers).all() for numbers, _ in together)
    same([asked(name, [one])[0] for one in texts], together)
    fewer = [one for one, text in zip(together, texts, strict=True) if text in WITH_ONE_LONG]
    same(asked(name, WITH_ONE_LONG, batch_size=11), fewer)
    same(asked(name, WITH_ONE_LONG[::-1])[::-1], fewer)
    same(asked(name, pd.Series(WITH_ONE_LONG, index=range(9, 9 + len(fewer)))), fewer)
    same(asked(name, np.array(WITH_ONE_LONG, dtype=object)), fewer)
    assert len({str(numbers.round(3)) + str(words) for numbers, words in together}) > len(texts) / 3


@pytest.mark.parametrize("name", INDEXES)
def test_each_odd_query_finds_the_same_alone_and_among_others(name):
    texts = list(ODD.values())
    together = searched(name, texts)
    assert all(np.isfinite(scores).all() for scores, _ in together)
    same([searched(name, [one])[0] for one in texts], together)
    same(searched(name, texts[::-1])[::-1], together)


def test_nothing_has_an_answer_that_says_so():
    blank = [ODD["nothing"], ODD["spaces"]]
    assert made("translator").translate(blank) == ["", ""]
    assert made("tagger").tag(blank) == [[], []]
    assert made("tagger").entities(blank) == [[], []]
    assert [made("finder").answer("who met Ada ?", one).text for one in blank] == ["", ""]
    assert tasks.BM25(list(ODD.values())).search(blank)[1].max() == 0
    np.testing.assert_allclose(made("classifier").classify(blank)[["bad", "mixed", "good"]].sum(axis=1), 1, atol=1e-6)


def test_what_is_found_in_an_odd_text_stands_there():
    for name in ("tagger", "tagger of bytes"):
        for one, entities in zip(ODD.values(), made(name).entities(list(ODD.values())), strict=True):
            assert all(entity.text == one[entity.start : entity.end] != "" for entity in entities)
    for name in ("finder", "finder of bytes"):
        for one in ODD.values():
            found = made(name).answer("who met Ada ?", one, threshold=-np.inf)
            assert found.text == ("" if found.start < 0 else one[found.start : found.end])


# What is no text ----------------------------------------------------------------------------------

CALLS = {
    "classify": lambda texts: made("classifier").classify(texts),
    "tag": lambda texts: made("tagger").tag(texts),
    "entities": lambda texts: made("tagger").entities(texts),
    "ask": lambda texts: made("finder").answer(texts, ["Ada"] * 2),
    "read": lambda texts: made("finder").answer(["who ?"] * 2, texts),
    "translate": lambda texts: made("translator").translate(texts),
    "encode": lambda texts: made("translator").encode(texts),
    "embed": lambda texts: made("encoder").embed(texts),
    "add words": lambda texts: tasks.BM25().add(texts),
    "search words": lambda texts: tasks.BM25(["a"]).search(texts),
    "add vectors": lambda texts: INDEXES["vectors"](["a"]).add(texts),
    "search both": lambda texts: INDEXES["both"](["a"]).search(texts),
}
NO_TEXTS = {
    "None": (None, "NoneType"),
    "a whole number": (3, "int"),
    "a number": (2.5, "float"),
    "a missing value": (float("nan"), "float"),
    "a missing value of pandas": (pd.NA, "NAType"),
    "bytes": (b"a film", "bytes"),
    "a truth": (True, "bool"),
    "a number of NumPy": (np.int64(3), "int64"),
    "a dictionary": ({"text": "a"}, "dict"),
}
NO_LISTS = {
    "nothing": None,
    "a number": 3,
    "one text": "a film",
    "bytes": b"a film",
    "a dictionary": {"a film": 1},
    "a frame": pd.DataFrame({"a film": ["good"], "another": ["bad"]}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", NO_TEXTS)
def test_what_is_no_text_among_texts_is_named_with_its_place(call, kind):
    value, name = NO_TEXTS[kind]
    for texts in (["a film", value], pd.Series(["a film", value], dtype=object)):
        with pytest.raises(TypeError, match=f"(?i)text at position 1 is {name}, not a string"):
            CALLS[call](texts)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", NO_LISTS)
def test_what_is_no_list_of_texts_is_refused_with_what_to_give(call, kind):
    with pytest.raises(TypeError, match=r"Give a list of|Expected texts, not .*(Give|Decode)"):
        CALLS[call](NO_LISTS[kind])


@pytest.mark.parametrize("call", CALLS)
def test_half_a_character_is_refused_or_is_no_word(call):
    texts = ["a film", "\ud800"]
    if "words" in call:  # words are cut without a tokenizer
        CALLS[call](texts)
        return
    with pytest.raises(ValueError, match="lone surrogate U\\+D800"):
        CALLS[call](texts)


# Keras' own methods -------------------------------------------------------------------------------

METHODS = ("__call__", "predict", "evaluate", "fit")


@pytest.mark.parametrize("name", [name for name in MAKE if "bytes" not in name])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("texts", ["a", ["a"], ("a", "b"), np.array(["a"]), pd.Series(["a"]), [b"a"]], ids=repr)
def test_texts_where_ids_belong_are_refused_with_the_method_that_takes_them(name, method, texts):
    model = made(name)
    assert isinstance(model, tasks.task.Task)
    with pytest.raises(TypeError) as caught:
        getattr(model, method)(texts)
    message = str(caught.value)
    where = "the call" if method == "__call__" else method
    assert message.startswith(f"{where} takes ids, not texts. For the answers: model.{model.answers}.")
    for promised in (model.answers, model.makes_ids):
        assert callable(getattr(model, promised.split("(")[0]))
        assert f"model.{promised}" in message
