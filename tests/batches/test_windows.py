"""Windows of a long text: what kerasllm.batches.windows promises."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasllm.batches import steps_per_epoch, windows
from kerasllm.batches.window import Windows


def arrays(dataset) -> list:
    """The batches of one reading."""
    return list(dataset.as_numpy_iterator())


@settings(max_examples=150, deadline=None)
@given(length=st.integers(2, 300), context=st.integers(1, 20), batch_size=st.integers(1, 9), seed=st.integers(0, 3))
def test_windows_are_shifted_and_cover_the_text_in_each_pass(length, context, batch_size, seed):
    tokens = np.arange(length, dtype="uint16")  # an id is its own place
    if length < context + 1:
        with pytest.raises(ValueError, match="too few"):
            windows(tokens, context=context, batch_size=batch_size, steps=1)
        return
    if batch_size > Windows(tokens, context, 1, seed, shuffle=True).windows:
        with pytest.raises(ValueError, match="is more than the"):
            windows(tokens, context=context, batch_size=batch_size, steps=1)
        return
    batches = Windows(tokens, context, batch_size, seed, shuffle=True)
    starts = []
    for step in range(60):
        rows = batches.rows(step, step + 1)
        assert rows.dtype == np.int32
        assert (rows == rows[:, :1] + np.arange(context + 1)).all()
        starts += rows[:, 0].tolist()
    one_pass = batches.windows
    for first in range(0, len(starts) - one_pass + 1, one_pass):
        cut = sorted(starts[first : first + one_pass])
        assert set(np.diff(cut)) <= {context}  # they touch and do not overlap: each comes once
    # A pass leaves out less than two windows of the text.
    assert length - 1 - one_pass * context < 2 * context
    again = Windows(tokens, context, batch_size, seed, shuffle=True)
    np.testing.assert_array_equal(again.rows(0, 60)[:, 0], starts)
    for step in (59, 0, 31):  # in any order
        np.testing.assert_array_equal(
            again.rows(step, step + 1)[:, 0], starts[step * batch_size : (step + 1) * batch_size]
        )


def test_windows_resume_repeat_and_differ():
    arguments = {"tokens": np.arange(1000), "context": 10, "batch_size": 4}
    whole = arrays(windows(**arguments, seed=3, steps=60))
    inputs, targets = whole[0]
    assert inputs.shape == targets.shape == (4, 10)
    assert inputs.dtype == targets.dtype == np.int32
    assert (targets == inputs + 1).all()
    np.testing.assert_array_equal(arrays(windows(**arguments, seed=3, steps=60)), whole)
    np.testing.assert_array_equal(arrays(windows(**arguments, seed=3, start_step=41, steps=19)), whole[41:])
    longer = arrays(windows(**arguments, seed=3, steps=150))
    np.testing.assert_array_equal(arrays(windows(**arguments, seed=3, start_step=63, steps=87)), longer[63:])
    assert not np.array_equal(arrays(windows(**arguments, seed=4, steps=60)), whole)
    in_pass = Windows(**arguments, seed=3, shuffle=True).windows
    starts = np.array(whole)[:, 0, :, 0].ravel()
    first, second = starts[:in_pass], starts[in_pass : 2 * in_pass]
    assert not np.array_equal(first, second)
    assert len({start % 10 for start in starts}) > 1  # another pass is cut at other places


def test_one_pass_in_order():
    arguments = {"tokens": np.arange(24), "context": 5, "batch_size": 3, "shuffle": False}
    feed = windows(**arguments)
    assert steps_per_epoch(feed) == len(feed) == 2
    for _ in range(2):
        assert [inputs[:, 0].tolist() for inputs, _, _ in arrays(feed)] == [[0, 5, 10], [15, 20]]
    [(inputs, targets, weights)] = arrays(windows(**arguments, start_step=1))
    assert inputs.tolist() == [[15, 16, 17, 18, 19], [20, 21, 22, 23, 0]]
    assert targets.tolist() == [[16, 17, 18, 19, 20], [21, 22, 23, 0, 0]]
    assert (weights > 0).tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert len(arrays(windows(**arguments, steps=1))) == 1
    for wrong in ({"start_step": 2}, {"steps": 3}, {"start_step": 1, "steps": 2}):
        with pytest.raises(ValueError, match="One pass has 2 batches"):
            windows(**arguments, **wrong)


@settings(max_examples=150, deadline=None)
@given(
    length=st.integers(2, 200),
    context=st.integers(1, 70),
    batch_size=st.sampled_from([1, 2, 6, 500]),
    hosts=st.sampled_from([1, 2]),
)
def test_in_order_every_target_counts_once(length, context, batch_size, hosts):
    hosts = min(hosts, batch_size)
    tokens = np.arange(length)
    shards = [Windows(tokens, context, batch_size, shuffle=False, shard=(host, hosts)) for host in range(hosts)]
    seen, rows, weight = [], 0, 0.0
    for step in range(shards[0].last):
        for one in shards:
            inputs, targets, weights = one.batch(step)
            assert inputs.shape == targets.shape == weights.shape == one.batch(step)[0].shape
            assert (targets == inputs + 1)[weights > 0].all()
            seen += targets[weights > 0].tolist()
            rows, weight = rows + len(inputs), weight + weights.sum(dtype="float64")
    assert seen == list(range(1, length))
    assert weight == pytest.approx(rows * context)  # Keras divides by all places: the mean over targets comes out
    assert len({len(one.batch(step)[0]) for one in shards for step in range(one.last)}) <= 2


def test_the_loss_of_a_pass_is_the_mean_over_all_targets():
    """100 tokens make 99 targets; full windows of 64 alone would look at 64 of them."""
    keras.utils.set_random_seed(1)
    tokens = np.random.default_rng(0).integers(0, 9, 100)
    model = keras.Sequential([keras.layers.Embedding(9, 9, embeddings_initializer="random_normal")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, weighted_metrics=[keras.metrics.SparseCategoricalCrossentropy("m", from_logits=True)])
    model.build((None, None))
    logits = 20 * model.get_weights()[0]
    model.set_weights([logits])
    expected = np.mean(np.log(np.exp(logits).sum(1))[tokens[:-1]] - logits[tokens[:-1], tokens[1:]])
    for context, batch_size in ((64, 12), (64, 1), (10, 4), (99, 1), (200, 3)):
        found = model.evaluate(windows(tokens, context=context, batch_size=batch_size, shuffle=False), verbose=0)
        assert found == pytest.approx([expected, expected], rel=1e-5), (context, batch_size)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"context": 0}, "context must be"),
        ({"batch_size": None}, "batch_size must be a whole number from 1 up, not None"),
        ({"start_step": -1}, "start_step must be a whole number from 0 up, not -1"),
        ({"steps": 0}, "steps must be"),
        ({"steps": None}, "Shuffled windows never end: name steps"),
        ({"context": 30}, "30 tokens are too few for a window of 30.*context=29 or less"),
        ({"tokens": np.ones((2, 3), "int32")}, r"not an array \(2, 3\) of int32.*encode_flat"),
        ({"tokens": np.ones(30)}, "of float64"),
        ({"tokens": [3], "shuffle": False}, "1 tokens are too few"),
        ({"batch_size": True}, "batch_size must be a whole number from 1 up, not True"),
        ({"batch_size": 7}, "batch_size=7 is more than the 6 windows of 4 there are.*batch_size=6 or less"),
        ({"batch_size": 10**8}, "batch_size=100000000 is more than the 6 windows"),
        ({"context": 2 * 10**9, "shuffle": False}, "A batch of 1 windows of 2000000000.*limit is 1 GiB"),
        ({"shard": (0, 3)}, "batch_size=2 cannot be cut into equal parts for 3 hosts"),
        ({"shard": (2, 2)}, "index of shard must be a whole number from 0 to 1, not 2"),
        ({"shard": 2}, r"shard must be \(index, count\)"),
    ],
)
def test_windows_name_what_is_wrong(arguments, words):
    with pytest.raises(ValueError, match=words):
        windows(**{"tokens": np.arange(30), "context": 4, "batch_size": 2, "steps": 1} | arguments)


def test_a_large_batch_is_refused_before_memory_is_taken():
    tokens = np.broadcast_to(np.uint16(1), (300_000_000,))
    with pytest.raises(ValueError, match=r"takes 1\.1 GiB.*smaller batch_size \(4129776 or less\)"):
        windows(tokens, context=64, batch_size=4_600_000, steps=1)


def test_numpy_numbers_are_numbers():
    one = windows(np.arange(99), context=np.int64(5), batch_size=np.uint8(3), steps=np.int32(4), seed=np.int64(1))
    two = windows(np.arange(99), context=5, batch_size=3, steps=4, seed=1)
    np.testing.assert_array_equal(arrays(one), arrays(two))
