"""What holds for every feed: numbered batches, resuming, several hosts, every backend, with and without TensorFlow."""

import functools
import json
import os
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from feed_cases import IDS, LABELS, SIZE, arrays, cases, feeds, fingerprint, model_for, small_model, trained
from nursery import ON_JAX, python

from kerasllm.batches import padded, pipeline, steps_per_epoch, windows
from kerasllm.batches.window import Windows

ROOT = Path(__file__).parents[2]
NAMES = list(feeds())
every_feed = pytest.mark.parametrize("name", NAMES)


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for array, wanted in zip(one, other, strict=True):
            np.testing.assert_array_equal(array, wanted)
            assert array.dtype == wanted.dtype


@every_feed
def test_reading_a_feed_changes_nothing_for_the_next_reader(name):
    make = feeds()[name]
    feed, whole = make(epochs=2), arrays(make(epochs=2))
    first, second = feed.as_numpy_iterator(), feed.as_numpy_iterator()
    turns = [(next(first), next(second)) for _ in range(steps_per_epoch(feed) + 1)]  # into the second epoch
    assert_equal(*[[keras.tree.flatten(turn[reader]) for turn in turns] for reader in (0, 1)])
    assert_equal(arrays(feed), whole)
    assert len(whole) == 2 * steps_per_epoch(feed)


@every_feed
def test_a_feed_that_starts_later_is_the_rest_of_the_whole(name):
    make = feeds()[name]
    whole, steps = arrays(make(epochs=3)), steps_per_epoch(make())
    assert steps > 1
    for start in (1, steps + 1, 3 * steps - 1):
        assert_equal(arrays(make(epochs=3, start_step=start)), whole[start:])
    assert_equal(arrays(make(start_epoch=2)), whole[2 * steps :])
    assert_equal(arrays(make(epochs=2, start_epoch=1, start_step=1)), whole[steps + 1 :])


@every_feed
@pytest.mark.parametrize("hosts", [2, 4])
def test_the_parts_of_the_hosts_are_the_whole(name, hosts):
    make = feeds(drop_remainder=True)[name]
    parts = [arrays(make(epochs=2, shard=(host, hosts))) for host in range(hosts)]
    joined = [[np.concatenate(arrays) for arrays in zip(*batch, strict=True)] for batch in zip(*parts, strict=True)]
    assert_equal(joined, arrays(make(epochs=2)))
    assert {len(array) for part in parts for batch in part for array in batch} == {4 // hosts}


@pytest.mark.parametrize("name", list(cases()))
def test_a_last_batch_is_filled_with_rows_that_weigh_nothing(name):
    """Five rows, two hosts: those without weights refuse."""
    function, _, arguments = cases()[name]
    arguments = {key: value[:5] if isinstance(value, list | np.ndarray) else value for key, value in arguments.items()}
    if name == "conversations, packed":
        arguments |= {"ids": [[4, 5, 6, 7, 8, 9, 10, 11]] * 5, "learned": [[False, True] * 4] * 5}
    if name == "packed":
        arguments["documents"] = [[4, 5, 6, 7, 8, 9, 10]] * 5  # none fits beside another
    make = functools.partial(function, **arguments, batch_size=4)
    if name.startswith(("padded", "spans")):
        with pytest.raises(ValueError, match=r"The last batch has 1 texts, which 2 hosts cannot share.*drop_remainder"):
            make(shard=(0, 2))
        return
    [whole] = arrays(make(batch_size=5))
    parts = [arrays(make(shard=(host, 2))) for host in range(2)]
    joined = [np.concatenate([part[step][at] for step in (0, 1) for part in parts]) for at in range(len(whole))]
    if name == "masked":  # other batches hide other tokens
        joined, whole = joined[1:2], whole[1:2]
    else:
        assert joined[-1].shape[0] == 6
        assert (joined[-1][5:] == 0).all()
        assert joined[-1].dtype == np.float32
    for array, wanted in zip(joined, whole, strict=True):
        np.testing.assert_array_equal(array[:5], wanted)


@every_feed
def test_seeds_and_epochs_change_the_order(name):
    make = feeds()[name]
    found = {fingerprint(make(start_epoch=epoch)) for epoch in range(3)}
    if name != "windows":
        function, _, arguments = cases()[name]
        found.add(fingerprint(function(**arguments, batch_size=4, shuffle=True, seed=6, epochs=1)))
        found.add(fingerprint(function(**arguments, batch_size=4)))
        assert len(found) == 5
    assert len(found) >= 3


@pytest.mark.parametrize("name", list(cases()))
def test_every_row_comes_once_in_an_epoch(name):
    _, made, arguments = cases()[name]
    batches = made(**arguments, batch_size=4, shuffle=True, epochs=2, seed=1)
    steps = batches.steps_per_epoch
    for epoch in range(2):
        seen = np.concatenate([batches.chosen(epoch * steps + place)[0] for place in range(steps)])
        assert sorted(seen) == list(range(batches.count))


@every_feed
def test_shapes_are_what_the_feed_says(name):
    feed = feeds(drop_remainder=True)[name]()
    for batch in feed.as_numpy_iterator():
        for array, spec in zip(keras.tree.flatten(batch), keras.tree.flatten(feed.element_spec), strict=True):
            assert spec.shape.is_compatible_with(array.shape)
            assert spec.shape[0] == 4
            assert spec.dtype.as_numpy_dtype == array.dtype


# Keras --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_jax() -> dict:
    """What training on each feed gives on JAX, with TensorFlow's feeds and without TensorFlow."""
    pytest.importorskip("jax")
    environment = os.environ | ON_JAX | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [*python(), Path(__file__).with_name("feed_cases.py")]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "ran out of data" not in run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["backend"] == "jax"
    assert "pass shuffle=False to fit" in found["refused"]  # Keras would shuffle the batches again
    return found


def test_a_feed_of_python_is_read_in_turn_and_as_often_as_one_likes():
    batches = Windows(np.arange(99), 5, 3, steps=6, start_step=2)
    feed = pipeline._python_feed()(batches)
    numbers = [inputs[0, 0] for inputs, _ in feed]
    assert numbers == [batches.batch(step)[0][0, 0] for step in range(2, 8)]
    assert numbers == [feed[index][0][0, 0] for index in range(len(feed))]
    assert [feed[index][0][0, 0] for index in (0, 1, 0, 2, 1, 3)] == [numbers[index] for index in (0, 1, 0, 2, 1, 3)]
    with pytest.raises(ValueError, match=r"Batch 5 was asked for out of turn.*pass shuffle=False"):
        feed[5]


@every_feed
def test_without_tensorflow_training_is_the_same(name, on_jax):
    with_it, without = on_jax["with"][name], on_jax["without"][name]
    assert (with_it["kind"], without["kind"]) == ("_OptionsDataset", "PythonFeed")
    assert without["fingerprint"] == with_it["fingerprint"]
    for key in ("losses", "evaluate", "predict"):
        assert without[key] == pytest.approx(with_it[key], rel=1e-6)
    assert len(set(without["losses"])) == 3
    assert without["apart"] == with_it["apart"] == 0  # resumed in the middle, with an evaluation between


@every_feed
def test_training_goes_on_in_the_middle_and_sees_the_same_batches_on_every_backend(name, on_jax):
    found = trained(feeds(drop_remainder=True)[name])
    assert found["apart"] == 0
    assert found["fingerprint"] == on_jax["without"][name]["fingerprint"]
    # The loss is a mean over all places, those of weight 0 too: it differs with the batches more than by learning.
    few = ("paired", "prompted", "masked", "conversations", "conversations, packed")
    assert found["losses"][-1] < found["losses"][0] or name in few


def test_an_evaluation_on_the_training_set_changes_nothing():
    """It used to move the epoch on, so that the next one had another order."""
    losses, feed = [], feeds()["padded"](epochs=3)
    model = model_for(feed)
    start = model.get_weights()
    for judged in (False, True):
        model.set_weights(start)
        options = {"validation_data": feed} if judged else {}
        losses.append(model.fit(feed, epochs=3, steps_per_epoch=6, shuffle=False, verbose=0, **options).history["loss"])
    assert losses[0] == losses[1]


def test_a_compiled_model_sees_as_few_lengths_as_there_are_buckets(recwarn):
    traced = []

    class Counted(keras.layers.Layer):
        def call(self, inputs):
            traced.append(tuple(inputs.shape))
            return inputs

    layers = [keras.layers.Embedding(SIZE, 4), Counted(), keras.layers.GlobalMaxPooling1D(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    options = {"batch_size": 4, "buckets": 3, "shuffle": True, "epochs": 3, "drop_remainder": True}
    feed = padded(IDS, LABELS.astype("float32"), **options)
    model.fit(feed, epochs=3, steps_per_epoch=steps_per_epoch(feed), verbose=0)  # warns no one without shuffle=False
    assert len({shape for shape in traced if None not in shape}) <= 3
    assert not [one for one in recwarn if "shuffle" in str(one.message) or "ran out" in str(one.message)]

    # This model has no mask, so padding counts: the same length for all.
    whole = model.predict(padded(IDS, batch_size=len(IDS)), verbose=0)
    np.testing.assert_allclose(model.predict(padded(IDS, batch_size=7), verbose=0), whole, atol=1e-6)
    found = model.evaluate(padded(IDS, LABELS, batch_size=7), verbose=0)
    assert found == pytest.approx(np.mean((whole[:, 0] - LABELS) ** 2), rel=1e-5)
    assert model.predict(padded([[5, 6]] * 8 + [[5] * 4], batch_size=4, buckets=[2, 4]), verbose=0).shape == (9, 1)


def test_epochs_of_windows_are_one_stream():
    """Three epochs of 5 steps are 15 steps, also with a pass over the validation part after each."""
    tokens = (np.arange(300) ** 2 % 10).astype("uint16")
    model = small_model((("ids", "int32"),), False)
    start = model.get_weights()
    feed = windows(tokens, context=9, batch_size=4, steps=15)
    model.fit(feed, shuffle=False, verbose=0)
    flat = model.get_weights()
    model.set_weights(start)
    judge = windows(tokens, context=9, batch_size=4, shuffle=False)
    model.fit(feed, epochs=3, steps_per_epoch=5, validation_data=judge, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), flat, strict=True):
        np.testing.assert_array_equal(one, other)
