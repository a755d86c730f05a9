"""The GPT of this library takes the feeds with a dictionary of inputs as they are."""

import keras
import numpy as np
import pytest

from kerasllm.batches import packed, padded, prompted
from kerasllm.models import GPT, gpt_settings

DOCUMENTS = [np.random.default_rng(length).integers(1, 30, length).tolist() for length in (7, 3, 5, 9, 2, 12)]


@pytest.fixture(scope="module", params=["rotary", "learned"])
def gpt(request):
    keras.utils.set_random_seed(1)
    sizes = {"vocabulary_size": 30, "context_length": 16, "num_layers": 2, "num_heads": 2, "embedding_dim": 8}
    model = GPT(gpt_settings(positions=request.param, **sizes))
    for weight in model.trainable_weights:  # large enough that a wrong look is seen
        weight.assign(weight + 0.5 * keras.random.normal(weight.shape, seed=len(weight.path)))
    return model


def test_packed_documents_are_read_as_if_each_were_alone(gpt):
    found = 0
    for inputs, _, _ in packed(DOCUMENTS, context=16, batch_size=2):
        logits = keras.ops.convert_to_numpy(gpt(inputs))
        ids, segments = np.asarray(inputs["ids"]), np.asarray(inputs["segment_ids"])
        for row in range(len(ids)):
            for segment in range(1, segments[row].max() + 1):
                places = segments[row] == segment
                alone = keras.ops.convert_to_numpy(gpt(ids[row][places][None]))[0]
                np.testing.assert_allclose(logits[row][places], alone, atol=1e-5)
                found += 1
    assert found == len(DOCUMENTS)


def test_segments_alone_are_enough_to_read_packed_documents(gpt):
    """The model counts the positions of each document itself, whether or not it is told what is padding."""
    for inputs, _, _ in packed(DOCUMENTS, context=16, batch_size=2):
        expected, real = keras.ops.convert_to_numpy(gpt(inputs)), np.asarray(inputs["mask"])
        for told in ({}, {"mask": inputs["mask"]}):
            counted = gpt(inputs["ids"], segment_ids=inputs["segment_ids"], **told)
            np.testing.assert_allclose(keras.ops.convert_to_numpy(counted)[real], expected[real], atol=1e-5)


def test_a_text_padded_on_the_left_is_read_as_if_it_were_alone(gpt):
    [inputs] = padded(DOCUMENTS, batch_size=6, side="left")
    logits = keras.ops.convert_to_numpy(gpt(inputs))
    for row, document in enumerate(DOCUMENTS):
        alone = keras.ops.convert_to_numpy(gpt(np.array([document])))[0]
        np.testing.assert_allclose(logits[row, -len(document) :], alone, atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_loss_of_replies_does_not_depend_on_the_padding(gpt, side):
    gpt.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight"))
    options = {"prompts": DOCUMENTS[:2], "replies": DOCUMENTS[2:4], "batch_size": 2, "side": side}
    found = [gpt.evaluate(prompted(**options, max_length=length), verbose=0) for length in (12, 16)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
