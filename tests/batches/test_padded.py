"""Padded texts, and the order of rows that all feeds of separate texts share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasllm.batches import padded, steps_per_epoch, windows
from kerasllm.batches.pad import Padded


def rows(count: int, longest: int = 20, seed: int = 0) -> list[list[int]]:
    """Rows of different length; the first id of a row is its number, from 1 on."""
    random = np.random.default_rng(seed)
    return [[number, *random.integers(1, 9, random.integers(0, longest))] for number in range(1, count + 1)]


def arrays(dataset) -> list:
    """The batches of one reading."""
    return list(dataset.as_numpy_iterator())


def order(dataset) -> list[int]:
    """The labels in the order in which a reading shows them."""
    return [int(label) for _, labels in arrays(dataset) for label in labels]


@settings(max_examples=150, deadline=None)
@given(
    ids=st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=40),
    batch_size=st.integers(1, 9),
    buckets=st.none() | st.integers(1, 5) | st.just([3, 7, 12]),
    max_length=st.none() | st.integers(1, 14),
    shuffle=st.booleans(),
    seed=st.integers(0, 3),
    drop=st.booleans(),
)
def test_every_text_comes_once_with_its_label(ids, batch_size, buckets, max_length, shuffle, seed, drop):
    places = np.arange(len(ids))
    options = {"batch_size": batch_size, "buckets": buckets, "seed": seed, "drop_remainder": drop}
    options |= {"max_length": max_length, "shuffle": shuffle, "epochs": 3}
    if len(ids) < batch_size and drop:
        with pytest.raises(ValueError, match=f"batch_size={len(ids)} or less"):
            Padded(ids, places, **options)
        return
    batches = Padded(ids, places, **options)
    steps = batches.steps_per_epoch
    found = [batches.batch(step) for step in range(2 * steps, 3 * steps)]
    labels = np.concatenate([labels for _, labels in found]).tolist()
    kept = len(ids) // batch_size * batch_size if drop else len(ids)
    assert len(labels) == len(set(labels)) == kept
    if not shuffle:
        assert labels == places[:kept].tolist()
    for inputs, numbers in found:
        assert inputs.dtype == np.int32
        for row, number in zip(inputs, numbers, strict=True):
            expected = ids[number][:max_length]
            assert row.tolist() == expected + [0] * (len(row) - len(expected))  # on the right
    full = {inputs.shape for inputs, _ in found if len(inputs) == batch_size}
    assert len(full) <= {None: 1, list: 3}.get(buckets and type(buckets), buckets)
    assert sum(len(inputs) < batch_size for inputs, _ in found) <= (0 if drop else 1)


def test_buckets_save_padding():
    ids = rows(1000, 60)
    least = sum(map(len, ids))
    cells = {}
    for buckets in (1, 4, 8):
        feed = padded(ids, batch_size=16, buckets=buckets, shuffle=True, epochs=1)
        cells[buckets] = sum(inputs.size for inputs in arrays(feed))
    assert cells[1] > 1.8 * least
    assert cells[4] < 1.35 * least
    assert cells[8] < 1.2 * least


def test_without_buckets_there_is_one_length():
    ids = rows(50)
    assert {inputs.shape[1] for inputs in arrays(padded(ids, batch_size=8))} == {max(map(len, ids))}
    assert {inputs.shape[1] for inputs in arrays(padded(ids, batch_size=8, max_length=64))} == {64}


def test_in_order_a_batch_is_as_long_as_it_must_be():
    ids = [[1], [2, 2], [3, 3, 3], [4] * 9, [5]]
    found = arrays(padded(ids, batch_size=2, buckets=[2, 4, 9]))
    assert [inputs.shape for inputs in found] == [(2, 2), (2, 9), (1, 2)]


def test_epochs_differ_and_repeat():
    ids, places = rows(100), np.arange(100)

    def epochs(seed, start=0, count=3):
        feed = padded(ids, places, batch_size=8, buckets=3, shuffle=True, seed=seed, start_epoch=start, epochs=count)
        assert (steps_per_epoch(feed), len(feed)) == (13, 13 * count)
        return np.reshape(order(feed), (count, 100)).tolist()

    first = epochs(1)
    assert first == epochs(1)
    assert len({tuple(one) for one in first}) == 3
    assert all(sorted(one) == places.tolist() for one in first)
    assert first[0] != epochs(2)[0]
    assert first[2:] == epochs(1, start=2, count=1)


def test_a_shuffled_feed_without_epochs_names_the_fix():
    fix = r"fit\(feed, epochs=5, steps_per_epoch=batches\.steps_per_epoch\(feed\), shuffle=False\)"
    with pytest.raises(ValueError, match=fix):
        padded([[1], [2]], batch_size=2, shuffle=True)


def test_in_order_epochs_are_alike():
    feed = padded(rows(5), np.arange(5), batch_size=2, epochs=2)
    assert (steps_per_epoch(feed), order(feed)) == (3, [0, 1, 2, 3, 4] * 2)


def test_no_thread_tunes_the_pipeline():
    """It would keep `fit` waiting at its end: a call of one second can take five."""
    for dataset in (padded([[1, 2], [3]], batch_size=1), windows(np.arange(9), context=2, batch_size=1, steps=2)):
        assert dataset.options().autotune.enabled is False


def test_steps_per_epoch_asks_for_a_feed_of_ours():
    with pytest.raises(ValueError, match="before it is changed"):
        steps_per_epoch(padded([[1], [2]], batch_size=1).take(1))


def test_padding_on_the_left_comes_with_a_mask():
    [inputs] = arrays(padded([[5, 6, 7], [8]], batch_size=2, side="left"))
    assert inputs["ids"].tolist() == [[5, 6, 7], [0, 0, 8]]
    assert inputs["mask"].tolist() == [[True, True, True], [False, False, True]]
    assert inputs["segment_ids"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert inputs["positions"].tolist() == [[0, 1, 2], [0, 0, 0]]
    [inputs] = arrays(padded([[5, 6, 0], [8]], batch_size=2, as_dict=True))
    assert inputs["mask"].tolist() == [[True, True, True], [True, False, False]]  # an id 0 is no padding


def test_other_padding_and_labels():
    dataset = padded([[1], [2, 3]], [[0.5, 1], [2, 3]], batch_size=2, pad_id=7)
    [(inputs, labels)] = arrays(dataset)
    assert inputs.tolist() == [[1, 7], [2, 3]]
    assert labels.tolist() == [[0.5, 1], [2, 3]]
    assert arrays(padded([[], []], batch_size=2))[0].tolist() == [[0], [0]]
    assert arrays(padded(np.ones((3, 4), "int64"), batch_size=3))[0].shape == (3, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ids": []}, "ids is empty"),
        ({"labels": [1]}, r"2 texts and labels of shape \(1,\)"),
        ({"labels": ["good", "bad"]}, r"for example good.*cat\.codes"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 up, not 0"),
        ({"max_length": 2.5}, "max_length must be a whole number from 1 up or None, not 2.5"),
        ({"buckets": [2, 1]}, r"Text 1 has 3 ids and fits into none of the buckets \[1, 2\].*max_length=2"),
        ({"buckets": []}, "none of the buckets"),
        ({"buckets": 0}, "buckets must be"),
        ({"buckets": [0, 5]}, "A bucket must be"),
        ({"ids": ["a text", "b"]}, r"ids\[0\] is no row of ids.*encode_batch"),
        ({"ids": [[1], [1.5]]}, r"ids\[1\] is no row of ids but of float64"),
        ({"ids": [[[1]]]}, r"ids\[0\] is no row of ids but of shape \(1, 1\)"),
        ({"batch_size": 3, "drop_remainder": True}, "Take batch_size=2 or less"),
        ({"batch_size": True}, "batch_size must be a whole number from 1 up, not True"),
        ({"max_length": 10**9}, "A batch of 2 texts of 1000000000 ids takes 7.5 GiB, and the limit is 1 GiB"),
        ({"pad_id": None}, "pad_id is None: the tokenizer has no token for padding.*pad_id=tokenizer.eos_id"),
        ({"side": "middle"}, "side must be one of 'right', 'left'"),
        ({"epochs": 0}, "epochs must be a whole number from 1 up"),
        ({"start_step": 1}, "start_step must be a whole number from 0 to 0, not 1"),
        ({"batch_size": 1, "shard": (0, 2)}, "batch_size=1 cannot be cut.*a multiple of 2"),
        ({"ids": [[1]] * 3, "shard": (0, 2)}, "The last batch has 1 texts, which 2 hosts.*drop_remainder=True"),
    ],
)
def test_padded_names_what_is_wrong(arguments, words):
    with pytest.raises(ValueError, match=words):
        padded(**{"ids": [[1], [1, 2, 3]], "batch_size": 2} | arguments)


def test_fewer_texts_than_a_batch_holds_are_one_smaller_batch():
    feed = padded([[5, 6], [7]], [1, 0], batch_size=256, shuffle=True, epochs=2)
    assert steps_per_epoch(feed) == 1
    assert [sorted(np.asarray(labels).tolist()) for _, labels in feed] == [[0, 1], [0, 1]]
