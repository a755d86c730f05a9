"""Supervised tuning: what is learned, windows without sight of each other, the controls, adapters, bad input."""

import keras
import numpy as np
import pytest
from tuning_cases import COMPILED, CONTEXT, reply_log_probabilities, small_gpt

from kerasllm import text, training
from kerasllm.training import tune_run
from kerasllm.training.instruct import prompt_and_reply

PROMPTS, REPLIES = [[1, 2, 3], [4], [5, 6]], [[7, 0], [8, 8, 9, 0], [10, 0]]


def talk(asked, said, *more):
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return turns + (talk(*more) if more else [])


@pytest.fixture(scope="module")
def template():
    tokenizer = text.train_characters(["user assistant system abcdefgh.\n"], extra=["<|im_start|>", "<|im_end|>"])
    return text.ChatTemplate(tokenizer, "ChatML")


def learned_ids(told):
    return [[id for id, one in zip(*both, strict=True) if one] for both in zip(told.ids, told.learned, strict=True)]


def targets_that_weigh(feed):
    """For each batch and row the targets with a weight."""
    return [
        target[weight > 0].tolist()
        for _, targets, weights in feed.as_numpy_iterator()
        for target, weight in zip(targets, weights, strict=True)
    ]


def test_replies_and_their_ends_are_learned_or_everything(template):
    encode = template.tokenizer.encode
    told = training.Instructions.of(template, [talk("ab", "c.", "d", "e"), talk("f", "")], context=200)
    assert learned_ids(told) == [
        [*encode("c."), template.end_id, *encode("e"), template.end_id],
        [template.end_id],
    ]
    whole = training.Instructions.of(template, [talk("ab", "c."), talk("f", "g")], context=200, learn="everything")
    assert learned_ids(whole) == whole.ids
    [first, second] = targets_that_weigh(whole.feed(packed=False, batch_size=2))
    assert [first, second] == [one[1:] for one in whole.ids]


def test_tuning_says_calls_of_tools_as_a_server_does_where_the_template_has_no_words_for_them(template):
    called = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    asked = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": [called]}]
    turns = [*asked, {"role": "tool", "content": "b"}, {"role": "assistant", "content": "c."}]
    settings = tune_run.TuneSettings(context=500)
    train, held_out = tune_run._parts(template, [turns, talk("ab", "c.")] * 2, settings)
    said = {template.tokenizer.decode(ids) for ids in learned_ids(train) + learned_ids(held_out)}
    assert said == {'<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>c.', "c."}
    prints = [tune_run.fingerprint([one]) for one in (turns, asked, asked[:1])]
    other = [asked[0], {**asked[1], "tool_calls": [{**called, "id": "1"}]}]
    assert len({*prints, tune_run.fingerprint([other])}) == 4


def test_both_kinds_have_the_same_windows_so_that_they_compare(template):
    talks = [talk("abc", "d"), talk("a" * 30, "b"), talk("a", "b" * 9), talk("ef", "gh")]
    arms = [training.Instructions.of(template, talks, context=40, learn=learn) for learn in ("replies", "everything")]
    assert arms[0].left_out == arms[1].left_out == (1,)
    batches = [list(one.feed(batch_size=2, shuffle=True, seed=3, epochs=1).as_numpy_iterator()) for one in arms]
    for (inputs, targets, weights), (same, as_well, more) in zip(*batches, strict=True):
        assert all(np.array_equal(inputs[name], same[name]) for name in inputs)
        np.testing.assert_array_equal(targets, as_well)
        assert (more >= weights).all()
        assert more.sum() > weights.sum()


def test_the_loss_of_fit_is_the_mean_over_what_is_learned():
    model = training.supervise(small_gpt(), keras.optimizers.SGD(0.0), run_eagerly=True)
    logs = reply_log_probabilities(model, PROMPTS, REPLIES)
    wanted = -np.concatenate(logs).mean()
    told = training.Instructions.of_pairs(PROMPTS, REPLIES, context=CONTEXT)
    assert told.loss(model) == pytest.approx(wanted, abs=1e-5)
    sums, counts = told.losses(model, batch_size=2)
    np.testing.assert_allclose(sums, [-one.sum() for one in logs], atol=1e-4)
    assert counts.tolist() == [2, 4, 2]
    for packed in (True, False):  # in a window no conversation sees another
        feed = told.feed(packed=packed, batch_size=3 - 2 * packed)
        assert len(list(feed)) == 1
        assert model.evaluate(feed, verbose=0) == pytest.approx(wanted, abs=1e-5)


def test_adapters_learn_replies_and_come_back_from_their_file(tmp_path):
    model = training.add_lora(small_gpt(), rank=4, layers=["query", "key", "value", "output"])
    told = training.Instructions.of_pairs(PROMPTS, REPLIES, context=CONTEXT)
    before = told.loss(model)
    training.supervise(model, keras.optimizers.Adam(0.05), **COMPILED)
    model.fit(told.feed(batch_size=1, epochs=40), epochs=1, steps_per_epoch=40, shuffle=False, verbose=0)
    after = told.loss(model)
    assert after < before - 0.5
    training.save_adapter(model, tmp_path / "adapter.safetensors")
    again = training.load_adapter(small_gpt(), tmp_path / "adapter.safetensors")
    assert told.loss(again) == pytest.approx(after, abs=1e-6)


def test_shuffled_replies_all_stand_elsewhere_and_none_is_lost():
    talks = [talk(letter, letter.upper(), letter, letter * 2) for letter in "abcdefg"]
    mixed = training.shuffle_replies(talks, seed=4)
    assert [turns[:-1] for turns in mixed] == [turns[:-1] for turns in talks]
    replies = [[turns[-1]["content"] for turns in one] for one in (talks, mixed)]
    assert sorted(replies[0]) == sorted(replies[1])
    assert all(one != other for one, other in zip(*replies, strict=True))
    assert training.shuffle_replies(talks, seed=4) == mixed != training.shuffle_replies(talks, seed=5)


def test_a_prompt_and_its_reply_are_the_conversation(template):
    turns = [*talk("ab", "c"), {"role": "user", "content": "d"}]
    prompt, reply = prompt_and_reply(template, turns, "ef")
    assert prompt == template.encode(turns, open_reply=True)
    assert reply == [*template.tokenizer.encode("ef"), template.end_id]
    assert prompt_and_reply(template, "d", "")[1] == [template.end_id]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"context": 1}, "context must be a whole number from 2 up"),
        ({"learn": "prompts"}, "learn must be one of 'replies', 'everything'"),
        ({"context": 5}, "none has a reply that begins in its first context=5 ids"),
    ],
)
def test_what_cannot_be_learned_is_refused(template, given, word):
    with pytest.raises(ValueError, match=word):
        training.Instructions.of(template, [talk("abc", "d")], **{"context": 64, **given})


def test_bad_input_names_the_place(template):
    with pytest.raises(ValueError, match="Conversation 1: Turn 0 has the role 'robot'"):
        training.Instructions.of(template, [talk("a", "b"), [{"role": "robot", "content": "a"}]], context=64)
    with pytest.raises(ValueError, match="3 prompts and 1 replies"):
        training.Instructions.of_pairs(PROMPTS, REPLIES[:1], context=8)
    with pytest.raises(ValueError, match="two or more"):
        training.shuffle_replies([talk("a", "b")])
    with pytest.raises(ValueError, match="Conversation 0 does not end"):
        training.shuffle_replies([talk("a", "b")[:1], talk("a", "b")])
    with pytest.raises(TypeError, match="language model such as"):
        training.supervise(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), "adam")
