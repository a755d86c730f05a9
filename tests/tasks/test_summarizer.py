"""Summaries: sentences of the text, of a trained encoder-decoder, of a language model that is asked."""

import functools
import json
import subprocess

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nursery import python

from kerasllm import generation, models, tasks, text
from kerasllm.tasks import Summarizer
from kerasllm.tasks.sentences import lexrank, sentence_spans
from kerasllm.tasks.summarizer import _Write

NEWS = [
    "The river rose in the night. Two bridges are closed. Nobody was hurt, the mayor said.",
    "A cat was found on the roof of the town hall. It was taken down by two men.",
    "The school will open on Monday. The roof has been mended.",
    "Bread costs more since May. Bakers say that flour is dear.",
]
HEADLINES = ["River closes bridges", "Cat found on roof", "School opens on Monday", "Bread costs more"]
TOKENS = text.train_bpe(NEWS + HEADLINES, 330, bos=True, eos=True)
CHAT = text.train_characters(
    [*NEWS, *HEADLINES, "useraitn\n"], byte_fallback=True, extra=["<|im_start|>", "<|im_end|>"]
)
STRANGE = {
    "word": "river",
    "long": "The river rose. " * 625,  # 10,000 characters
    "no end": "river" * 2000,
    "emoji": "😀👩‍👩‍👧 👍🏽",
    "hebrew": "שלום עולם. מה שלומך?",
    "arabic": "مرحبا. كيف حالك؟ جيد.",
    "chinese": "河水上涨。两座桥关闭了！",
    "special": "<bos> <eos> <|im_end|>",
    "control": "\x00\x07",
}


def sentences(document):
    return [document[start:end] for start, end in sentence_spans(document)]


@functools.cache
def translator():
    keras.utils.set_random_seed(0)
    sizes = {"embedding_dim": 32, "num_layers": 1, "num_heads": 2, "context_length": 24, "shared": True}
    model = tasks.Translator(models.Seq2Seq(models.Seq2SeqSettings(TOKENS.vocabulary_size, **sizes)), TOKENS)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    feed = model.pairs(NEWS, HEADLINES, batch_size=4, epochs=60)
    model.fit(feed, epochs=60, steps_per_epoch=1, shuffle=False, verbose=0)
    return model


@functools.cache
def language_model():
    keras.utils.set_random_seed(3)
    sizes = {"num_layers": 1, "num_heads": 2, "embedding_dim": 16, "context_length": 256}
    return models.GPT(models.gpt_settings(CHAT.vocabulary_size, **sizes))


def asked(**changes):
    options = {"template": text.ChatTemplate(CHAT, "ChatML"), "max_new_tokens": 8, "prompt": "Write"}
    return Summarizer.of_language_model(language_model(), CHAT, **options | changes)


WAYS = {
    "lead": lambda: Summarizer.extract("lead"),
    "graph": lambda: Summarizer.extract("graph", sentences=2),
    "translator": lambda: Summarizer.of_translator(translator()),
    "translator, parts": lambda: Summarizer.of_translator(translator(), long_texts="parts"),
    "language model": asked,
    "language model, parts": lambda: asked(read=60, long_texts="parts"),
}
every_way = pytest.mark.parametrize("make", list(WAYS.values()), ids=list(WAYS))


# Sentences ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ("One. Two! Three? four.", ["One.", "Two!", "Three? four."]),
        ("Mr. Lee and J. Doe paid 3.5 million. They left.", ["Mr. Lee and J. Doe paid 3.5 million.", "They left."]),
        ('He said: "No." She left.', ['He said: "No."', "She left."]),
        ("A title\n\nThe text", ["A title", "The text"]),
        ("猫很好。狗呢？“不知道。”他说", ["猫很好。", "狗呢？", "“不知道。”", "他说"]),
        ("مرحبا. كيف حالك؟ جيد.", ["مرحبا.", "كيف حالك؟", "جيد."]),
        ("www.example.org is down...", ["www.example.org is down..."]),
        ("no mark", ["no mark"]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_sentences_end_where_a_reader_sees_an_end(document, wanted):
    assert sentences(document) == wanted


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="aB .!?。\n\"'😀م", max_size=60))
def test_sentences_are_in_order_and_leave_out_white_space_alone(document):
    spans = sentence_spans(document)
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert "".join("".join(sentences(document)).split()) == "".join(document.split())


def test_lexrank_is_where_a_walk_ends():
    rows = ["a b c", "a b", "c d", "e", "a b c d"]
    found = lexrank([row.split() for row in rows])
    counts = np.array([[row.split().count(word) for word in "abcde"] for row in rows], float)
    counts *= np.log(len(rows) / (counts > 0).sum(axis=0)) + 1
    unit = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    walk = unit @ unit.T
    walk /= walk.sum(axis=1, keepdims=True)
    where = np.full(len(rows), 1 / len(rows))
    for _ in range(200):
        where = 0.15 / len(rows) + 0.85 * where @ walk
    assert found == pytest.approx(where, abs=1e-9)
    assert rows[int(found.argmax())] == "a b c d"


def test_sentences_without_words_are_ranked_too():
    assert lexrank([[], ["a"], []]).sum() == pytest.approx(1)
    assert lexrank([]).shape == (0,)


# Extractive ---------------------------------------------------------------------------------------


def test_the_lead_is_the_first_sentences():
    [found] = Summarizer.extract("lead", sentences=2).summarize(NEWS[:1])
    assert found == "The river rose in the night. Two bridges are closed."


def test_the_graph_takes_the_sentence_that_is_most_like_the_others_and_says_which():
    document = "It rained.  The cat saw the rain and the dog.\nThe dog slept. A cat saw the dog."
    for count in (1, 2):
        [found] = Summarizer.extract("graph", count).summaries([document])
        scores = lexrank([one.lower().strip(".").split() for one in sentences(document)])
        best = sorted(np.argsort(-scores)[:count])
        assert [document[start:end] for start, end in found.sentences] == [sentences(document)[i] for i in best]
        assert found.text == " ".join(sentences(document)[i] for i in best)
        assert found.read == len(document)


def test_chinese_sentences_are_joined_without_a_space():
    document = "猫很好。狗呢？狗很好。"
    assert Summarizer.extract("lead", sentences=2).summarize([document]) == ["猫很好。狗呢？"]
    assert Summarizer.extract("lead", sentences=9).summarize([document]) == [document]


def test_many_sentences_take_little_memory():
    document = " ".join(f"Line {i} is here." for i in range(5_000))
    assert Summarizer.extract("graph").summarize([document])[0].startswith("Line")


# An encoder-decoder -------------------------------------------------------------------------------


def test_a_translator_that_has_learned_headlines_writes_them():
    summarizer = Summarizer.of_translator(translator())
    assert summarizer.summarize(pd.Series(NEWS)[[2, 0, 3, 1]]) == [HEADLINES[i] for i in (2, 0, 3, 1)]
    assert summarizer.summarize(NEWS) == translator().translate(NEWS)


def test_a_saved_one_gives_the_same_summaries_in_a_fresh_process(tmp_path):
    path = tmp_path / "headlines.keras"
    translator().save(path)
    code = (
        "import json, sys, keras, kerasllm.tasks as tasks\n"
        "model = keras.saving.load_model(sys.argv[1], compile=False)\n"
        "found = tasks.Summarizer.of_translator(model).summarize(json.loads(sys.argv[2]))\n"
        "print(json.dumps(found))\n"
    )
    command = [*python(), "-c", code, str(path), json.dumps([*NEWS, *STRANGE.values()])]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    there = json.loads(told.splitlines()[-1])
    assert there == Summarizer.of_translator(translator()).summarize([*NEWS, *STRANGE.values()])
    assert there[: len(NEWS)] == HEADLINES


# A language model ---------------------------------------------------------------------------------


def test_a_language_model_is_asked_through_its_chat_template():
    template = text.ChatTemplate(CHAT, "ChatML")
    chat = generation.Chat(language_model(), CHAT, template=template)
    wanted = chat.say(f"Write\n\n{NEWS[1]}", max_new_tokens=8).text.strip()
    assert asked().summarize([NEWS[1]]) == [wanted]
    other = generation.Chat(language_model(), CHAT, template=template)
    wanted = other.say(f"Name it.\n\n{NEWS[1]}", max_new_tokens=5).text.strip()
    assert asked(prompt="Name it.", max_new_tokens=5).summarize([NEWS[1]]) == [wanted]


def test_what_does_not_fit_into_the_context_is_refused_when_it_is_made():
    with pytest.raises(ValueError, match="256 tokens, of which"):
        asked(max_new_tokens=240)
    with pytest.raises(ValueError, match="smaller read"):
        asked(read=250)
    assert asked(read=100).summarize(["river " * 200])


# All of them --------------------------------------------------------------------------------------


@every_way
def test_a_text_gets_the_same_summary_alone_and_among_others(make):
    summarizer = make()
    together = summarizer.summarize([*NEWS, "", *STRANGE.values()], batch_size=3)
    assert together == [summarizer.summarize([one])[0] for one in [*NEWS, "", *STRANGE.values()]]
    assert together[len(NEWS)] == ""


@every_way
@pytest.mark.parametrize("blank", ["", " \n\t", "\u200b\ufeff"])
def test_of_a_text_in_which_nothing_can_be_seen_there_is_no_summary(make, blank):
    [found] = make().summaries([blank])
    assert (found.text, found.parts, found.read) == ("", 0, 0)


@every_way
def test_no_texts_have_no_summaries(make):
    assert make().summarize([]) == []


@every_way
@pytest.mark.parametrize(
    ("texts", "word"),
    [
        ("river", r"summarize\(\[text\]\)"),
        (None, r"summarize\(\[text\]\)"),
        (["river", None], "position 1 is NoneType"),
        ([3.0], "position 0 is float"),
        ([["river"]], "position 0 is list"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(make, texts, word):
    with pytest.raises(TypeError, match=word):
        make().summarize(texts)


@every_way
def test_half_a_character_and_a_batch_of_none_are_refused(make):
    with pytest.raises(ValueError, match="surrogate"):
        make().summarize(["river", "\ud800"])
    with pytest.raises(ValueError, match="batch_size"):
        make().summarize(["river"], batch_size=0)


@pytest.mark.parametrize(
    ("make", "error", "word"),
    [
        (lambda: Summarizer.extract("best"), ValueError, "method"),
        (lambda: Summarizer.extract("lead", 0), ValueError, "sentences"),
        (lambda: Summarizer.of_translator(language_model()), TypeError, "Translator"),
        (lambda: Summarizer.of_translator(translator(), num_beams=0), ValueError, "num_beams"),
        (lambda: Summarizer.of_translator(translator(), long_texts="skip"), ValueError, "long_texts"),
        (lambda: Summarizer.of_language_model(translator(), TOKENS), TypeError, "Translator"),
        (lambda: Summarizer.of_language_model(language_model(), CHAT), ValueError, "chat template"),
        (lambda: asked(prompt=None), TypeError, "str"),
        (lambda: asked(max_new_tokens=0), ValueError, "max_new_tokens"),
        (lambda: asked(read=0), ValueError, "read"),
        (lambda: asked(template="ChatML"), TypeError, "ChatTemplate"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_made(make, error, word):
    with pytest.raises(error, match=word):
        make()


# Long texts ---------------------------------------------------------------------------------------


class FirstWords(_Write):
    """Writes the first words of what it reads, and remembers what that was."""

    def __init__(self, longest, words):
        super().__init__(TOKENS, longest)
        self.words, self.seen = words, []

    def write(self, texts, batch_size):
        self.seen += texts
        return [" ".join(one.split()[: self.words]) for one in texts]


def of_first_words(longest, words, long_texts="parts"):
    way = FirstWords(longest, words)
    return way, Summarizer(way, long_texts)


LONG = " ".join(f"Day {i} was a day of rain and of wind in the north." for i in range(40))


def test_of_a_long_text_the_beginning_is_read_up_to_the_end_of_a_sentence():
    way, summarizer = of_first_words(50, 3, "cut")
    [found] = summarizer.summaries([LONG])
    [read] = way.seen
    assert LONG.startswith(read)
    assert read.endswith(".")
    assert len(TOKENS.encode(read)) <= 50 < len(TOKENS.encode(LONG[: len(read) + 60]))
    assert (found.parts, found.read) == (1, len(read))


def test_parts_end_with_sentences_and_their_summaries_are_summarized_again():
    way, summarizer = of_first_words(50, 2)
    [found] = summarizer.summaries([LONG])
    first = way.seen[: found.parts]
    assert "".join(first).split() == LONG.split()
    assert all(one.endswith(".") and len(TOKENS.encode(one)) <= 50 for one in first)
    assert found.parts > 3
    assert found.read == len(LONG)
    assert " ".join(" ".join(one.split()[:2]) for one in first).startswith(way.seen[found.parts].strip())
    assert found.text == "Day 0"


def test_summaries_that_are_not_shorter_than_the_text_end_it():
    way, summarizer = of_first_words(50, 10_000)
    [found] = summarizer.summaries([LONG])
    assert len(way.seen) == found.parts
    assert LONG.startswith(found.text)


def test_a_sentence_that_is_too_long_is_cut_in_the_middle():
    way, summarizer = of_first_words(20, 1)
    [found] = summarizer.summaries(["river" * 500])
    assert found.parts > 20
    assert "".join(way.seen[: found.parts]) == "river" * 500


def test_a_short_text_is_read_whole_by_either_rule():
    for rule in ("cut", "parts"):
        way, summarizer = of_first_words(50, 2, rule)
        [found] = summarizer.summaries([NEWS[3]])
        assert way.seen == [NEWS[3]]
        assert (found.parts, found.read) == (1, len(NEWS[3]))


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="aB .!?。\n😀م", max_size=80), st.integers(1, 12))
def test_parts_hold_all_that_can_be_seen_and_fit(document, longest):
    way = FirstWords(longest, 1)
    pieces = way._pieces(document)
    assert "".join("".join(pieces).split()) == "".join(document.split())
    if longest >= 4:  # a character of several bytes is never cut
        assert all(len(TOKENS.encode(piece)) <= 2 * longest for piece in pieces)
