"""GRPO: the loss of the paper in NumPy, its gradient by finite differences, sampling, the log, and a toy reward."""

import keras
import numpy as np
import pytest
from tuning_cases import (
    COMPILED,
    CONTEXT,
    SIZE,
    check_gradients,
    reply_log_probabilities,
    set_values,
    small_gpt,
    step_gradients,
    values,
)

from kerasllm import generation, text, training

PROMPTS, REPLIES = [[1, 2], [3, 4, 5]], [[6, 7, 0], [8, 0], [9, 9], [10, 3, 0, 2], [7], [11, 11, 0]]
REWARDS = np.array([[1.0, 0.0, 0.5], [2.0, 2.0, -1.0]])
CLIP, KL = 0.2, 0.3


@pytest.fixture(scope="module")
def writer():
    """A model that writes: what writes is compiled once for each."""
    return small_gpt()


def samples(rewards=REWARDS):
    """Replies to two prompts, as if a model had written them."""
    prompts = [prompt for prompt in PROMPTS for _ in range(3)]
    return training.Samples(PROMPTS, prompts, REPLIES, REPLIES, np.ones(6, bool), rewards)


def scores(model):
    return reply_log_probabilities(model, samples().prompt_ids, REPLIES)


def move(model, by, seed):
    random = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(weight + by * random.normal(size=weight.shape))


def in_numpy(new, old, reference, rewards=REWARDS, clip=CLIP, kl=KL):
    """Minus equation 3 of the paper with the estimator of equation 4, reply by reply and token by token."""
    losses, divergences, shares = [], [], []
    for reply in range(len(new)):
        group = rewards[reply // 3]
        advantage = (group[reply % 3] - group.mean()) / group.std() if group.std() else 0.0
        gained, divergence, clipped = 0.0, 0.0, 0
        for one, before, base in zip(new[reply], old[reply], reference[reply], strict=True):
            ratio, inverse = np.exp(one - before), np.exp(base - one)
            bounded = min(max(ratio, 1 - clip), 1 + clip)
            gained += min(ratio * advantage, bounded * advantage)
            clipped += bounded * advantage < ratio * advantage
            divergence += inverse - np.log(inverse) - 1
        length = len(new[reply])
        losses.append((kl * divergence - gained) / length)
        divergences.append(divergence / length)
        shares.append(clipped / length)
    return np.mean(losses), np.mean(divergences), np.mean(shares)


def stale_batch(tuner, rewards=REWARDS):
    """A batch whose replies an earlier model wrote, and the log-probabilities that belong to it: old, reference."""
    model = tuner.model
    reference = scores(model)
    move(model, 0.15, seed=1)
    old = scores(model)
    inputs, targets, weights = samples(rewards).arrays(CONTEXT)
    inputs["advantages"] = training.group_advantages(rewards).ravel().astype("float32")
    for name, logs in (("old", old), ("reference", reference)):
        inputs[name] = np.zeros(targets.shape, "float32")
        inputs[name][weights > 0] = np.concatenate(logs)
    move(model, 0.15, seed=2)
    return (inputs, targets, weights), old, reference


def made(kl=KL, **options):
    return training.GRPO(small_gpt(), lambda prompt, reply: 0.0, clip=CLIP, kl=kl, **options)


def test_loss_and_logs_are_those_of_the_paper():
    tuner = made()
    tuner.compile("sgd", run_eagerly=True)
    (inputs, targets, weights), old, reference = stale_batch(tuner)
    logs = tuner.test_on_batch(inputs, targets, sample_weight=weights, return_dict=True)
    loss, divergence, clipped = in_numpy(scores(tuner.model), old, reference)
    assert logs["loss"] == pytest.approx(loss, abs=1e-4)
    assert logs["kl"] == pytest.approx(divergence, abs=1e-4)
    assert logs["clipped"] == pytest.approx(clipped, abs=1e-6)
    assert divergence > 0.05
    assert 0 < clipped < 1, "the case shows nothing: nothing is clipped, or all"


def test_entropy_is_that_of_the_next_token_at_replies():
    tuner = made()
    tuner.compile("sgd", run_eagerly=True)
    (inputs, targets, weights), *_ = stale_batch(tuner)
    logs = tuner.test_on_batch(inputs, targets, sample_weight=weights, return_dict=True)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(tuner.model(inputs["ids"])))[weights > 0]
    assert logs["entropy"] == pytest.approx(-(probabilities * np.log(probabilities)).sum(-1).mean(), abs=1e-4)


def test_the_gradient_is_that_of_finite_differences():
    tuner = made()
    batch, old, reference = stale_batch(tuner)
    gradients = step_gradients(tuner, batch)
    check_gradients(lambda: in_numpy(scores(tuner.model), old, reference)[0], tuner.model, gradients, step=5e-4)


def test_a_first_step_is_the_policy_gradient_of_the_advantages():
    tuner = made(kl=0.0)
    inputs, targets, weights = samples().arrays(CONTEXT)
    inputs["advantages"] = training.group_advantages(REWARDS).ravel().astype("float32")
    inputs["old"] = np.zeros(targets.shape, "float32")
    inputs["old"][weights > 0] = np.concatenate(scores(tuner.model))
    gradients = step_gradients(tuner, (inputs | {"reference": 0 * inputs["old"]}, targets, weights))
    advantages = training.group_advantages(REWARDS).ravel()

    def surrogate():  # section 4.1.1: with the policy that wrote, the ratio is 1 and its gradient that of the log
        means = [logs.mean() for logs in scores(tuner.model)]
        return -np.mean(advantages * means)

    check_gradients(surrogate, tuner.model, gradients)


def test_advantages_are_those_of_the_group():
    found = training.group_advantages([[1, 0, 0, 0], [0.1 + 0.2, 0.3, 0.3, 0.3], [7, 7, 7, 7]])
    np.testing.assert_allclose(found[0], np.array([3, -1, -1, -1]) / np.sqrt(3))
    np.testing.assert_allclose(training.group_advantages([[5e9, 5e9 + 1]]), [[-1, 1]])
    assert not found[2].any()
    assert not training.group_advantages([[0.1] * 3, [1e-7] * 3]).any(), "rounding became a reward"


@pytest.mark.parametrize("kl", [0.0, KL])
def test_equal_rewards_teach_nothing_but_the_way_back_to_the_start(kl):
    tuner = made(kl)
    tuner.compile(keras.optimizers.SGD(0.05), run_eagerly=True)
    move(tuner.model, 0.1, seed=3)
    before = values(tuner.model)
    equal = samples(np.full((2, 3), 0.7))
    away = tuner.learn(equal)["kl"]
    moved = max(np.abs(one - other).max() for one, other in zip(values(tuner.model), before, strict=True))
    if kl:
        assert moved > 1e-3
        assert 0.01 < tuner.learn(equal)["kl"] < away
    else:
        assert moved == 0


def test_the_reference_is_the_model_at_the_start_and_it_goes_on_where_it_was():
    tuner = made()
    tuner.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    reference = scores(tuner.model)
    assert tuner.learn(samples())["kl"] == pytest.approx(0, abs=1e-5)
    move(tuner.model, 0.1, seed=4)
    before = values(tuner.model)
    logs = tuner.learn(samples())
    now = scores(tuner.model)
    loss, divergence, _ = in_numpy(now, now, reference)
    assert logs["kl"] == pytest.approx(divergence, abs=1e-4)
    assert logs["loss"] == pytest.approx(loss, abs=1e-4)
    assert all(np.array_equal(one, other) for one, other in zip(values(tuner.model), before, strict=True))


def test_a_second_update_from_the_same_replies_leaves_the_ratio_at_1():
    once, twice = made(0.0), made(0.0, updates=2, batch_size=3)
    for tuner in (once, twice):
        tuner.compile(keras.optimizers.SGD(3.0), run_eagerly=True)
        logs = tuner.learn(samples())
        assert (logs["clipped"] > 0) == (tuner is twice)
    with pytest.raises(ValueError, match="batch_size=4 does not divide the 6 replies"):
        made(batch_size=4).learn(samples())


def test_samples_are_those_of_the_session_and_their_end_is_learned(writer):
    seen = []

    def reward(prompt, reply):
        seen.append((prompt, list(reply)))
        return len(reply)

    tuner = training.GRPO(writer, reward, stop_id=0, group=4, max_new_tokens=6)
    found = tuner.sample(PROMPTS, seed=5)
    session = generation.Session(tuner.model, rows=8)
    session.read([prompt for prompt in PROMPTS for _ in range(4)])
    replies = session.write(6, generation.Sampling(), stop_tokens=[0], seed=5)
    assert [reply.ids for reply in replies] == found.replies
    assert seen == [(PROMPTS[place // 4], ids) for place, ids in enumerate(found.replies)]
    assert found.rewards.ravel().tolist() == [len(ids) for ids in found.replies]
    assert 0 < found.stopped.mean() < 1, "the case shows nothing: all stop, or none"
    for ids, reply, stopped in zip(found.reply_ids, found.replies, found.stopped, strict=True):
        assert ids == [*reply, 0][: len(reply) + stopped]
    inputs, targets, weights = found.arrays(CONTEXT)
    for row, ids in enumerate(found.reply_ids):
        assert targets[row][weights[row] > 0].tolist() == ids
        assert inputs["ids"][row][: len(found.prompt_ids[row])].tolist() == found.prompt_ids[row]
    facts = found.facts()
    assert facts["length"] == np.mean([len(ids) for ids in found.reply_ids])
    assert facts["reward"] == found.rewards.mean()


def test_a_rewarded_token_becomes_frequent_and_under_a_random_reward_it_does_not(writer):
    start, random = values(writer), np.random.default_rng(0)

    def toy(reward):
        set_values(writer, start)
        tuner = training.GRPO(writer, reward, group=8, max_new_tokens=6, kl=0.0)
        tuner.compile(keras.optimizers.Adam(0.03), **COMPILED)
        log = tuner.run(PROMPTS, steps=20, prompts_at_once=1, seed=1)
        return log, np.mean([np.array(tuner.sample(PROMPTS[:1], seed).replies) == 7 for seed in (1, 2, 3)])

    log, found = toy(lambda prompt, reply: reply.count(7))
    _, control = toy(lambda prompt, reply: random.random())
    set_values(writer, start)
    assert found > 0.7, "the token is rare at the start: 0.05"
    assert control < 0.3
    assert log[-1]["reward"] > log[0]["reward"] + 3
    assert [row["step"] for row in log] == list(range(1, 21))
    assert set(log[0]) == {
        *("step", "reward", "spread", "equal", "length", "stopped"),
        *("loss", "entropy", "kl", "clipped"),
    }
    assert log[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert log[-1]["kl"] > 0.1, "it is logged although it holds nothing back"
    assert log[-1]["entropy"] < log[0]["entropy"]


def test_adapters_learn_alone_and_come_back_from_their_file(tmp_path):
    model = training.add_lora(small_gpt(), rank=2, layers=["query", "value", "output"])
    frozen = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    tuner = training.GRPO(model, lambda prompt, reply: 0.0)
    tuner.compile(keras.optimizers.Adam(0.05), run_eagerly=True)
    assert tuner.learn(samples())["kl"] == pytest.approx(0, abs=1e-5)
    assert tuner.learn(samples())["kl"] > 1e-5
    moved = {w.path for w in model.weights if not np.array_equal(keras.ops.convert_to_numpy(w), frozen[w.path])}
    assert moved == {weight.path for weight in model.trainable_weights}
    training.save_adapter(model, tmp_path / "adapter.safetensors")
    again = training.load_adapter(small_gpt(), tmp_path / "adapter.safetensors")
    np.testing.assert_allclose(np.concatenate(scores(again)), np.concatenate(scores(model)), atol=1e-5)


def test_the_same_seed_gives_the_same_run(writer):
    start = values(writer)

    def run(seed):
        set_values(writer, start)
        tuner = training.GRPO(writer, lambda prompt, reply: reply.count(5), group=8, max_new_tokens=6)
        tuner.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        seen = []
        log = tuner.run([[1], [2], [3]], 3, prompts_at_once=1, seed=seed, each=lambda row, found: seen.append(found))
        return log, [found.prompts[0][0] for found in seen]

    (one, order), (other, same), (third, _) = run(3), run(3), run(4)
    set_values(writer, start)
    assert one == other
    assert order == same
    assert sorted(order) == [1, 2, 3]
    assert one != third


def test_texts_and_turns_are_prompts_with_a_tokenizer():
    tokenizer = text.train_characters(["user assistant abc.\n"], extra=["<|im_start|>", "<|im_end|>"])
    template, seen = text.ChatTemplate(tokenizer, "ChatML"), []

    def reward(prompt, reply):
        seen.append((prompt, reply))
        return 1

    model = small_gpt(vocabulary_size=tokenizer.vocabulary_size, context_length=128)
    tuner = training.GRPO(model, reward, tokenizer, template=template, group=2, max_new_tokens=4)
    turns = [{"role": "user", "content": "b"}]
    found = tuner.sample(["a", turns], seed=1)
    assert [prompt for prompt, _ in seen] == ["a", "a", turns, turns]
    assert all(isinstance(reply, str) for _, reply in seen)
    assert found.prompt_ids[2] == template.encode(turns, open_reply=True)
    assert tuner.writer.stop_id == template.end_id
    assert tuner.rewards(["a"]).tolist() == [1]
    with pytest.raises(TypeError, match="of the tokenizer"):
        training.GRPO(model, reward, template=template)
    with pytest.raises(TypeError, match="turns need template"):
        training.GRPO(model, reward, tokenizer, max_new_tokens=4).sample([turns])


@pytest.mark.parametrize("worth", [float("nan"), float("inf"), None, "1"])
def test_a_reward_that_is_no_number_is_refused_with_its_reply(worth, writer):
    tuner = training.GRPO(writer, lambda prompt, reply: worth, group=8, max_new_tokens=6)
    with pytest.raises(ValueError, match=r"reward gave .* for the prompt \[1, 2\] and the reply"):
        tuner.sample([[1, 2]])


def test_bad_input_names_the_fix():
    model, reward = small_gpt(), lambda prompt, reply: 0.0
    with pytest.raises(ValueError, match="group=1 has nothing to compare"):
        training.GRPO(model, reward, group=1)
    with pytest.raises(TypeError, match="reward must be a function"):
        training.GRPO(model, 1.0)
    with pytest.raises(ValueError, match="kl must be from 0"):
        training.GRPO(model, reward, kl=-0.1)
    with pytest.raises(ValueError, match="clip must be a number above 0"):
        training.GRPO(model, reward, clip=0)
    with pytest.raises(ValueError, match=f"stop_id must be a whole number from 0 to {SIZE - 1}"):
        training.GRPO(model, reward, stop_id=SIZE)
    tuner = training.GRPO(model, reward, group=2, max_new_tokens=8)  # none of what follows writes anything
    with pytest.raises(ValueError, match=f"more than the model's context_length={CONTEXT}"):
        tuner.sample([[1] * 17])
    with pytest.raises(TypeError, match="give its tokenizer"):
        tuner.sample(["a text"])
    with pytest.raises(ValueError, match="one is empty"):
        tuner.sample([[]])
    with pytest.raises(ValueError, match="no optimizer yet"):
        tuner.run([[1]], 1, prompts_at_once=1)
    with pytest.raises(ValueError, match="prompts_at_once must be a whole number from 1 to 1"):
        tuner.run([[1]], 1)
