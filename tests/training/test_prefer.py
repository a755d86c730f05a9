"""DPO: the loss of the paper in NumPy, its gradient by finite differences, what is logged, and a toy preference."""

import keras
import numpy as np
import pytest
from tuning_cases import (
    COMPILED,
    CONTEXT,
    SIZE,
    check_gradients,
    reply_log_probabilities,
    small_gpt,
    step_gradients,
    values,
)

from kerasllm import batches, text, training

PAIRS = training.Preferences(
    prompts=[[1, 2, 3], [4, 5], [2, 2, 7, 1]],
    chosen=[[6, 7, 0], [10, 10, 11, 0], [3, 0]],
    rejected=[[9, 0], [8, 0], [4, 5, 0]],
)


def sums(model):
    """The log-probability of each reply, chosen and rejected: (3, 2)."""
    logs = reply_log_probabilities(model, PAIRS.prompts * 2, [*PAIRS.chosen, *PAIRS.rejected])
    return np.array([one.sum() for one in logs]).reshape(2, 3).T


def in_numpy(model, reference, beta, smoothing=0.0):
    """For each pair the loss, written as in equation 7, and the rewards of its replies."""
    rewards = beta * (sums(model) - reference)
    right = 1 / (1 + np.exp(-(rewards[:, 0] - rewards[:, 1])))
    return -(1 - smoothing) * np.log(right) - smoothing * np.log(1 - right), rewards


def moved(model, by=0.5):
    """The model a little away from its reference, which the feed has noted before."""
    for weight in model.trainable_weights:
        weight.assign(weight + by * keras.random.normal(weight.shape, seed=3))


def made(beta=0.5, smoothing=0.0):
    """A tuner whose model has left its reference, a batch of all pairs, and the reference's log-probabilities."""
    model = small_gpt()
    tuner = training.DPO(model, beta, smoothing)
    feed = tuner.feed(PAIRS, batch_size=3)
    reference = sums(model)
    moved(model)
    return tuner, next(iter(feed.as_numpy_iterator())), reference


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_and_logs_are_those_of_the_paper(smoothing):
    tuner, (inputs, targets, weights), reference = made(0.5, smoothing)
    np.testing.assert_allclose(inputs["reference"], reference, atol=1e-4)
    tuner.compile("sgd", run_eagerly=True)
    logs = tuner.test_on_batch(inputs, targets, sample_weight=weights, return_dict=True)
    losses, rewards = in_numpy(tuner.model, reference, 0.5, smoothing)
    assert logs["loss"] == pytest.approx(losses.mean(), abs=1e-4)
    assert logs["chosen_reward"] == pytest.approx(rewards[:, 0].mean(), abs=1e-4)
    assert logs["rejected_reward"] == pytest.approx(rewards[:, 1].mean(), abs=1e-4)
    assert logs["margin"] == pytest.approx((rewards[:, 0] - rewards[:, 1]).mean(), abs=1e-4)
    assert logs["accuracy"] == pytest.approx((rewards[:, 0] > rewards[:, 1]).mean())
    assert 0 < logs["accuracy"] < 1, "the case shows nothing: no pair is on the other side"


def test_the_gradient_is_that_of_finite_differences():
    tuner, batch, reference = made()
    gradients = step_gradients(tuner, batch)
    check_gradients(lambda: in_numpy(tuner.model, reference, 0.5)[0].mean(), tuner.model, gradients)


def test_at_the_reference_the_loss_is_log_2_and_a_step_follows_the_difference_of_the_replies():
    model = small_gpt()
    tuner = training.DPO(model, beta=0.5)
    batch = next(iter(tuner.feed(PAIRS, batch_size=3).as_numpy_iterator()))
    gradients = step_gradients(tuner, batch)
    assert float(tuner.get_metrics_result()["loss"]) == pytest.approx(np.log(2), abs=1e-5)

    def difference():  # each pair weighs sigmoid(0) = 1/2 in the gradient, see section 4
        chosen, rejected = sums(model).T
        return -0.5 * 0.5 * np.mean(chosen - rejected)

    check_gradients(difference, model, gradients)


def test_pairs_are_not_parted_and_an_empty_pair_changes_nothing():
    model = small_gpt()
    tuner = training.DPO(model)
    tuner.compile("sgd", run_eagerly=True)
    [whole] = tuner.feed(PAIRS, batch_size=4, shuffle=True, seed=5, epochs=1).as_numpy_iterator()
    parts = [
        next(iter(tuner.feed(PAIRS, batch_size=4, shuffle=True, seed=5, epochs=1, shard=(host, 2)).as_numpy_iterator()))
        for host in (0, 1)
    ]
    assert parts[1][2][1].sum() == 0, "nothing was filled up"
    moved(model)
    joined = keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
    losses = [
        tuner.test_on_batch(inputs, targets, sample_weight=weights, return_dict=True)
        for inputs, targets, weights in (whole, joined)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_the_feed_masks_prompts_and_cuts_them_on_the_left():
    feed = batches.preferred(*PAIRS, reference=np.zeros((3, 2)), batch_size=3, max_length=4)
    [(inputs, targets, weights)] = feed.as_numpy_iterator()
    assert inputs["ids"].shape == (3, 2, 4)
    for row, (prompt, *replies) in enumerate(zip(*PAIRS, strict=True)):
        kept = 5 - max(map(len, replies))
        for side, reply in enumerate(replies):
            learned = targets[row, side][weights[row, side] > 0].tolist()
            assert learned == reply
            before = inputs["ids"][row, side].tolist()
            assert before[: len(prompt[-kept:])] == prompt[-kept:]


def test_a_long_pair_is_scored_as_it_is_trained():
    model = small_gpt()
    prompt = np.random.default_rng(0).integers(0, SIZE, CONTEXT).tolist()
    tuner = training.DPO(model, beta=1.0)
    tuner.compile("sgd", run_eagerly=True)
    feed = tuner.feed(training.Preferences([prompt], [[1, 0]], [[2, 3, 0]]), batch_size=1)
    [(inputs, targets, weights)] = feed.as_numpy_iterator()
    assert inputs["ids"].shape == (1, 2, CONTEXT)
    logs = tuner.test_on_batch(inputs, targets, sample_weight=weights, return_dict=True)
    assert logs["margin"] == pytest.approx(0, abs=1e-4)


def test_preferred_tokens_win_with_adapters_and_the_adapter_is_all_that_moves(tmp_path):
    pairs = training.Preferences(PAIRS.prompts, [[6, 0]] * 3, [[7, 0]] * 3)
    model = training.add_lora(small_gpt(), rank=2, layers=["query", "value", "output"])
    frozen = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    tuner = training.DPO(model, beta=0.5)
    tuner.compile(keras.optimizers.Adam(0.03), **COMPILED)
    feed = tuner.feed(pairs, batch_size=3, epochs=40)
    history = tuner.fit(feed, epochs=4, steps_per_epoch=10, shuffle=False, verbose=0).history
    assert history["accuracy"][-1] == 1
    assert history["margin"][-1] > history["margin"][0] > 0
    moved = {w.path for w in model.weights if not np.array_equal(keras.ops.convert_to_numpy(w), frozen[w.path])}
    assert moved == {weight.path for weight in model.trainable_weights}
    training.save_adapter(model, tmp_path / "adapter.safetensors")
    again = training.load_adapter(small_gpt(), tmp_path / "adapter.safetensors")
    ids = np.array([[1, 2, 3, 6]], "int32")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(again(ids)), keras.ops.convert_to_numpy(model(ids)), atol=1e-6
    )


def test_dropout_is_off_so_that_probabilities_compare():
    tuner = training.DPO(small_gpt(dropout=0.5), beta=1.0)
    tuner.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    [(inputs, targets, weights)] = tuner.feed(PAIRS, batch_size=3).as_numpy_iterator()
    logs = tuner.train_on_batch(inputs, targets, sample_weight=weights, return_dict=True)
    assert logs["margin"] == pytest.approx(0, abs=1e-4)


def test_replies_of_a_template_end_as_it_ends_them():
    tokenizer = text.train_characters(["user assistant system abc.\n"], extra=["<|im_start|>", "<|im_end|>"])
    template = text.ChatTemplate(tokenizer, "ChatML")
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    pairs = training.preferences(template, [turns, "a"], ["ab", "b"], ["c", "a."])
    assert pairs.prompts[0] == template.encode(turns, open_reply=True)
    assert pairs.prompts[1] == template.encode(turns[:1], open_reply=True)
    assert pairs.chosen[0] == [*tokenizer.encode("ab"), template.end_id]
    assert pairs.rejected == [[*tokenizer.encode("c"), template.end_id], [*tokenizer.encode("a."), template.end_id]]
    with pytest.raises(ValueError, match="1 conversations, 2 chosen"):
        training.preferences(template, ["a"], ["b", "c"], ["c"])


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"chosen": PAIRS.rejected}, "pair 0 are equal"),
        ({"chosen": [[], [8, 0], [3, 0]]}, "Pair 0 has a prompt"),
        ({"prompts": PAIRS.prompts[:2]}, "2 prompts, 3 chosen"),
    ],
)
def test_pairs_that_teach_nothing_are_refused(changed, word):
    with pytest.raises(ValueError, match=word):
        training.DPO(small_gpt()).feed(PAIRS._replace(**changed), batch_size=1)


def test_bad_input_names_the_fix():
    with pytest.raises(ValueError, match="beta must be a number above 0"):
        training.DPO(small_gpt(), beta=0)
    with pytest.raises(ValueError, match="label_smoothing must be from 0 to below"):
        training.DPO(small_gpt(), label_smoothing=0.5)
    with pytest.raises(TypeError, match="language model such as"):
        training.DPO(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    model = small_gpt()
    model.trainable = False
    with pytest.raises(TypeError, match="add_lora"):
        training.DPO(model)
    with pytest.raises(ValueError, match="A reply of pair 1 has 4 ids"):
        training.DPO(small_gpt()).feed(PAIRS, batch_size=1, max_length=3)
    with pytest.raises(ValueError, match="two log-probabilities a pair"):
        batches.preferred(*PAIRS, reference=[[0.0, np.nan]] * 3, batch_size=1)
    with pytest.raises(NotImplementedError, match="Save the tuned model"):
        training.DPO(small_gpt()).get_config()


def test_the_control_learns_the_chosen_replies_and_not_to_avoid_the_others():
    model = small_gpt()
    before = values(model)
    told = training.Instructions.of_pairs(PAIRS.prompts, PAIRS.chosen, context=CONTEXT)
    start = told.loss(model)
    training.supervise(model, keras.optimizers.Adam(0.02), run_eagerly=True)
    model.fit(told.feed(batch_size=3, epochs=20), epochs=20, steps_per_epoch=1, shuffle=False, verbose=0)
    assert told.loss(model) < start - 0.5
    assert any(not np.array_equal(one, other) for one, other in zip(before, values(model), strict=True))
