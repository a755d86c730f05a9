"""The tagger as a task: strings in, labels of words and names with their places out, one file."""

import itertools
import json
import subprocess

import keras
import numpy as np
import pytest
from nursery import python

from kerasllm import batches, models, tasks, text
from kerasllm.tasks.bio import legal, spans
from kerasllm.tasks.words import cut_texts, windows_of

WORDS = ["Ada Lovelace met Bob in New York", "Bob lives in Rome", "in Paris Ada met Bob", "New York and Rome"]
WORDS = [line.split() for line in WORDS]
KINDS = {"Ada": "B-person", "Lovelace": "I-person", "Bob": "B-person", "New": "B-place", "York": "I-place"}
KINDS |= {"Rome": "B-place", "Paris": "B-place"}
TAGS = [[KINDS.get(word, "O") for word in line] for line in WORDS]
LABELS = ["O", "B-person", "I-person", "B-place", "I-place"]
# Its tokens are pieces: "Lovelace" has several.
PIECES = text.train_wordpiece([" ".join(line) for line in WORDS] * 2 + ["ace love"], 60, bos=True, eos=True)
BYTES = text.train_bpe([" ".join(line) for line in WORDS], 300, bos=True, eos=True)
CHARACTERS = text.train_characters(["".join(line) for line in WORDS], byte_fallback=False)

ODD = [
    "",
    "A",
    "Ada Lovelace " * 800,
    "👩🏽‍🚀🇳🇴 Bob 😀",
    "אדה פגשה את בוב",
    "مرحبا Bob",
    " \n\t",
    "New\u3000York",
    "e\u0301",
    "北京 Bob",
]


def network(kind, tokenizer, labels=5, context=24):
    keras.utils.set_random_seed(1)
    size = tokenizer.vocabulary_size
    if kind == "bilstm":
        return models.BiLSTM(size, labels, 16, 16, pooling=None)
    settings = models.BERTSettings(size, 16, 2, 2, context_length=context, pad_id=tokenizer.pad_id)
    return models.BERTClassifier(models.BERT(settings), labels, None)


def tagger(kind="bert", tokenizer=PIECES, crf=True, labels=LABELS, context=24, **given):
    return tasks.TokenTagger(network(kind, tokenizer, len(labels), context), tokenizer, labels, crf, **given)


def shaken(model):
    """The model with weights of which each matters, so that labels differ and follow each other wildly."""
    random = np.random.default_rng(3)
    for weight in model.trainable_weights:
        size = 3.0 if "logits" in weight.path else 0.5
        weight.assign(random.normal(size=weight.shape) * size + ("gamma" in weight.path))
    return model


def trained(kind, crf, tokenizer=PIECES, epochs=60):
    model = tagger(kind, tokenizer, crf)
    rows = model.examples(WORDS, TAGS)
    feed = batches.tagged(*rows, batch_size=4, epochs=epochs, shuffle=True, seed=1, pad_id=tokenizer.pad_id)
    model.compile(keras.optimizers.Adam(0.01), weighted_metrics=["accuracy"])
    history = model.fit(feed, epochs=epochs, steps_per_epoch=batches.steps_per_epoch(feed), shuffle=False, verbose=0)
    return model, history.history


# Answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "bilstm"])
@pytest.mark.parametrize("crf", [False, True])
def test_a_tagger_learns_and_finds_names_with_their_places(kind, crf):
    model, history = trained(kind, crf)
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    assert model.tag(WORDS) == [list(zip(*pair, strict=True)) for pair in zip(WORDS, TAGS, strict=True)]
    one = "Bob met Ada Lovelace in New\nYork"
    found = model.entities([one, ""])
    assert found[1] == []
    assert all(entity.text == one[entity.start : entity.end] for entity in found[0])
    assert {(entity.text, entity.type) for entity in found[0]} >= {("Bob", "person"), ("New\nYork", "place")}


def test_byte_level_and_character_tokenizers_serve_too():
    for tokenizer in (BYTES, CHARACTERS):
        model, _ = trained("bilstm", True, tokenizer)
        assert [[label for _, label in line] for line in model.tag(WORDS)] == TAGS


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("unit", ["word", "character"])
def test_every_text_has_an_answer_and_every_sequence_is_legal(crf, unit, monkeypatch):
    model, random = tagger(crf=crf, unit=unit), np.random.default_rng(1)
    monkeypatch.setattr(model, "predict_on_batch", lambda ids: random.normal(size=(*ids.shape, 5)))
    begin, follow = legal(LABELS)
    seen = set()
    for one, answer in zip(ODD, model.tag(ODD), strict=True):
        assert "".join(word for word, _ in answer) == "".join(one.split())
        numbers = [LABELS.index(label) for _, label in answer]
        seen |= set(numbers)
        assert not numbers or begin[numbers[0]]
        assert follow[numbers[:-1], numbers[1:]].all()
    assert len(seen) == 5
    found = model.entities(ODD)
    assert sum(map(len, found)) > 100
    for one, entities in zip(ODD, found, strict=True):
        assert all(entity.text == one[entity.start : entity.end] != "" for entity in entities)


@pytest.mark.parametrize("kind", ["bert", "bilstm"])
def test_padding_batches_and_order_change_nothing(kind):
    model = shaken(tagger(kind))
    together = model.tag(ODD, batch_size=3)
    assert together == [model.tag([one])[0] for one in ODD]
    assert together == model.tag(ODD[::-1])[::-1]
    ids = np.array([[5, 6, 7, 8, 9]])
    longer = np.pad(ids, ((0, 0), (0, 6)), constant_values=PIECES.pad_id)
    np.testing.assert_allclose(
        np.array(model(longer))[:, :5], np.array(model(ids)), atol=1e-5 * np.abs(np.array(model(ids))).max()
    )


def test_the_label_of_a_word_stands_at_its_first_token():
    for tokenizer in (PIECES, BYTES, CHARACTERS):
        model = tagger("bilstm", tokenizer, ends=True)
        around = [one for one in (tokenizer.bos_id,) if one is not None]
        ids, tags = model.examples([["Bob", "Lovelace", "Ada"]], [["B-person", "I-person", "O"]])
        places = np.flatnonzero(tags[0] >= 0)
        assert tags[0][places].tolist() == [1, 2, 0]
        assert len(tags[0]) == len(ids[0]) > 3 + len(around)
        firsts = [tokenizer.decode([ids[0][place]]).strip("# ")[0] for place in places]
        assert firsts == ["B", "L", "A"]
        assert all(set(tags[0][a + 1 : b]) <= {-100} for a, b in itertools.pairwise(places))


def test_a_long_text_is_read_in_windows_and_each_label_trains_once():
    model = tagger(context=12)
    words, tags = WORDS[0] * 9, TAGS[0] * 9
    ids, rows = model.examples([words, ["Bob"]], [tags, ["B-person"]])
    assert len(ids) > 5
    assert all(len(row) <= 12 and row[0] == PIECES.bos_id and row[-1] == PIECES.eos_id for row in ids)
    found = np.concatenate([row[row >= 0] for row in rows])
    assert [LABELS[number] for number in found] == [*tags, "B-person"]


@pytest.mark.parametrize("room", [1, 2, 3, 5, 8, None])
def test_windows_hold_every_word_once_and_fit(room):
    random = np.random.default_rng(0)
    for count in range(12):
        lengths = random.integers(1, (room or 4) + 1, count).tolist()
        windows = windows_of(lengths, room)
        assert [word for _, kept in windows for word in kept] == list(range(count))
        for window, kept in windows:
            assert set(kept) <= set(window)
            assert room is None or sum(lengths[word] for word in window) <= room


def test_a_word_in_the_middle_sees_words_on_both_sides_of_it():
    windows = windows_of([1] * 100, 20)
    assert all(kept.start - window.start >= 4 or window.start == 0 for window, kept in windows)
    assert all(window.stop - kept.stop >= 4 or window.stop == 100 for window, kept in windows)


def test_strings_and_lists_of_words_are_cut_as_the_unit_says():
    assert cut_texts(["Hi, you'll see 北京!"], "word", "tag")[0].words == [
        "Hi",
        ",",
        " you'll",
        " see",
        " 北",
        "京",
        "!",
    ]
    assert cut_texts(["a 北"], "character", "tag")[0].words == ["a", " 北"]
    assert cut_texts([["北", "京"]], "character", "tag")[0] == ("北京", [(0, 1), (1, 2)])
    assert cut_texts([["New York", "x"]], "word", "tag")[0] == ("New York x", [(0, 8), (9, 10)])


def test_an_inside_stands_behind_a_label_of_its_kind_alone():
    begin, follow = legal(["O", "B-a", "I-a", "B-b", "I-b"])
    assert begin.tolist() == [True, True, False, True, False]
    assert np.argwhere(~follow).tolist() == [[0, 2], [0, 4], [1, 4], [2, 4], [3, 2], [4, 2]]
    assert all(part.all() for part in legal(["noun", "verb"]))


def test_spans_begin_with_b_and_end_where_no_i_follows():
    assert spans(["O", "B-a", "I-a", "B-a", "O"]) == [(1, 3, "a"), (3, 4, "a")]
    assert spans(["B-a", "B-b", "I-b"]) == [(0, 1, "a"), (1, 3, "b")]
    assert spans([]) == spans(["O"]) == []


# The loss -----------------------------------------------------------------------------------------


def test_the_loss_without_a_crf_is_the_mean_over_the_labelled_places():
    model = shaken(tagger("bilstm", crf=False))
    model.compile("sgd")
    ids, tags, weights = next(iter(batches.tagged(*model.examples(WORDS, TAGS), batch_size=4).as_numpy_iterator()))
    logits = np.array(model(ids), "float64")
    lost = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, tags[..., None], -1)[..., 0]
    found = model.evaluate(ids, tags, sample_weight=weights, verbose=0)
    assert found == pytest.approx((lost * weights).sum() / weights.sum(), rel=1e-4)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"))
    assert model.evaluate(ids, tags, sample_weight=weights, verbose=0) == pytest.approx(
        (lost * weights).sum(), rel=1e-4
    )


def test_a_crf_learns_what_the_logits_alone_cannot_say():
    """The second word has the kind of the first, and nothing but the label beside it tells which."""
    words = [["Ada", "x", "x"], ["Rome", "x", "x"]]
    tags = [["B-person", "I-person", "I-person"], ["B-place", "I-place", "I-place"]]
    tokenizer = text.train_words(["Ada Rome x"], 20)
    ids = keras.Input((None,), dtype="int32")
    bag = keras.layers.Dense(5)(keras.layers.Embedding(tokenizer.vocabulary_size, 8)(ids))
    model = tasks.TokenTagger(keras.Model(ids, bag), tokenizer, LABELS, crf=True)
    model.compile(keras.optimizers.Adam(0.05))
    feed = batches.tagged(*model.examples(words, tags), batch_size=2, epochs=80, shuffle=True)
    model.fit(feed, epochs=80, steps_per_epoch=1, shuffle=False, verbose=0)
    assert [[label for _, label in line] for line in model.tag(words)] == tags
    assert np.array(model.crf.transitions)[1, 2] > np.array(model.crf.transitions)[1, 4] + 1


def test_a_loss_beside_the_one_of_the_crf_is_refused():
    model = tagger("bilstm")
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"compile\(optimizer\) without one"):
        model.evaluate(np.ones((1, 3), "int32"), np.ones((1, 3), "int32"), verbose=0)


# Parts that fit -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"labels": ["O"]}, "two labels or more"),
        ({"labels": ["O", "O"]}, "all different"),
        ({"labels": "O"}, "list of names"),
        ({"labels": ["O", "I-a"]}, "I-a and no B-a"),
        ({"labels": ["O", "B-a"]}, "5 logits, but there are 2 labels"),
        ({"unit": "sentence"}, "unit must be"),
        ({"max_length": 25}, "max_length"),
        ({"max_length": 2}, "max_length"),
        ({"network": models.BiLSTM(PIECES.vocabulary_size, 5)}, "pooling=None"),
        ({"network": models.BiLSTM(5, 5, pooling=None)}, "knows 5 tokens"),
    ],
)
def test_what_does_not_fit_together_is_refused(given, word):
    with pytest.raises(ValueError, match=word):
        tasks.TokenTagger(**{"network": network("bert", PIECES), "tokenizer": PIECES, "labels": LABELS, **given})


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda model: model.tag("Bob"), TypeError, r"tag\(\[text\]\)"),
        (lambda model: model.tag(None), TypeError, "Give a list of texts, not None"),
        (lambda model: model.tag(["Bob", None]), TypeError, "position 1 is NoneType"),
        (lambda model: model.entities([["Bob", 3]]), TypeError, "Word 1 of text 0 is int"),
        (lambda model: model.tag([["Bob", ""]]), ValueError, "Word 1 of text 0 is empty"),
        (lambda model: model.tag(["\ud800"]), ValueError, "lone surrogate"),
        (lambda model: model.tag(["Bob"], batch_size=0), ValueError, "batch_size"),
        (lambda model: model.predict(["Bob"]), TypeError, r"model\.tag\(texts\).*model\.examples\(texts, tags\)"),
        (lambda model: model.examples([["Bob"]], [["B-person", "O"]]), ValueError, "1 words and 2 tags"),
        (lambda model: model.examples([["Bob"]], [["B-dog"]]), ValueError, "tag 'B-dog'"),
        (lambda model: model.examples([["Bob"]], ["O"]), ValueError, r"tags.split\(\)"),
        (lambda model: model.examples([["Bob"]], []), ValueError, "1 texts and 0 rows"),
    ],
)
def test_bad_arguments_are_refused(call, error, word):
    with pytest.raises(error, match=word):
        call(tagger())


def test_labels_that_mark_no_names_are_tags_all_the_same():
    model = shaken(tagger("bilstm", labels=["noun", "verb"], crf=False))
    assert {label for line in model.tag(WORDS) for _, label in line} <= {"noun", "verb"}
    with pytest.raises(ValueError, match="No label begins with B-"):
        model.entities(WORDS)


def test_no_texts_give_no_answers():
    assert tagger().tag([]) == []
    assert tagger().entities([[]]) == [[]]


# Files --------------------------------------------------------------------------------------------

LOAD = """
import json, sys
import keras
import kerasllm.tasks
model = keras.saving.load_model(sys.argv[1])
texts = json.load(open(sys.argv[2]))
json.dump([model.tag(texts), model.entities(texts), model.compiled], open(sys.argv[2], "w"))
"""


@pytest.mark.parametrize(("kind", "crf"), [("bert", True), ("bilstm", False)])
def test_one_file_gives_the_same_answers_in_a_fresh_process(kind, crf, tmp_path):
    model = tagger(kind, crf=crf, unit="word", max_length=9)
    model.compile("adam")
    feed = batches.tagged(*model.examples(WORDS, TAGS), batch_size=4, pad_id=PIECES.pad_id)
    model.fit(feed, verbose=0)
    shaken(model).save(tmp_path / "model.keras")
    texts = [*ODD[3:], "Ada Lovelace met Bob " * 5]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    command = [*python(), "-c", LOAD, tmp_path / "model.keras", tmp_path / "texts.json"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    answers, entities, compiled = json.loads((tmp_path / "texts.json").read_text())
    assert answers == json.loads(json.dumps(model.tag(texts)))
    assert entities == json.loads(json.dumps(model.entities(texts)))
    assert compiled
