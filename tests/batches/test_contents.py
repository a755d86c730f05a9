"""What stands in the batches of each feed."""

from itertools import pairwise

import numpy as np
import pytest
from feed_cases import IDS, LEARNED, OTHERS, SIZE, TALKS, rows

from kerasllm.batches import conversations, masked, packed, paired, prompted, spans, tagged
from kerasllm.batches.converse import Conversations
from kerasllm.batches.mask import Masked
from kerasllm.batches.pack import Packed, fitted
from kerasllm.batches.pair import Paired
from kerasllm.batches.prompt import Prompted


def only(feed):
    """The only batch of a feed."""
    [batch] = feed.as_numpy_iterator()
    return batch


def ints(*arrays):
    return [np.asarray(array).astype(int).tolist() for array in arrays]


# Tags and pairs -----------------------------------------------------------------------------------


def test_tags_stand_at_their_tokens_and_padding_weighs_nothing():
    ids, tags, weights = only(tagged([[5, 6, 7], [8]], [[2, 0, -100], [1]], batch_size=2, pad_id=9))
    assert ints(ids, tags, weights) == [[[5, 6, 7], [8, 9, 9]], [[2, 0, 0], [1, 0, 0]], [[1, 1, 0], [1, 0, 0]]]
    ids, tags, weights = only(tagged([[5, 6, 7]], [[2, 0, 1]], batch_size=1, max_length=2, as_dict=True))
    assert ints(ids["ids"], ids["mask"], tags, weights) == [[[5, 6]], [[1, 1]], [[2, 0]], [[1, 1]]]


def test_pairs_are_shifted_by_one():
    inputs, labels, weights = only(paired([[5], [6, 7]], [[8, 9], []], start_id=1, end_id=2, batch_size=2))
    assert ints(inputs["source_ids"], inputs["source_mask"]) == [[[5, 0], [6, 7]], [[1, 0], [1, 1]]]
    assert ints(inputs["target_ids"], inputs["target_mask"]) == [[[1, 8, 9], [1, 0, 0]], [[1, 1, 1], [1, 0, 0]]]
    assert ints(labels, weights) == [[[8, 9, 2], [2, 0, 0]], [[1, 1, 1], [1, 0, 0]]]


@pytest.mark.parametrize("buckets", [None, 3, [4, 6, 20]])
@pytest.mark.parametrize("shuffle", [False, True])
def test_each_side_of_a_pair_is_whole_and_shapes_are_few(buckets, shuffle):
    batches = Paired(
        IDS, OTHERS, start_id=1, end_id=2, batch_size=4, buckets=buckets, shuffle=shuffle, epochs=2, drop_remainder=True
    )
    shapes = set()
    for step in range(batches.last):
        chosen, _ = batches.chosen(step)
        inputs, labels, _ = batches.batch(step)
        shapes.add((inputs["source_ids"].shape, labels.shape))
        for row, text in enumerate(chosen):
            assert inputs["source_ids"][row][inputs["source_mask"][row]].tolist() == IDS[text]
            assert inputs["target_ids"][row][inputs["target_mask"][row]].tolist() == [1, *OTHERS[text]]
            assert labels[row][inputs["target_mask"][row]].tolist() == [*OTHERS[text], 2]
    assert len(shapes) <= (1 if buckets is None else 3)


# Packed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [2, 5, 12, 100])
def test_packed_documents_keep_their_targets_to_themselves(context):
    """Each document's pairs of an id and the next come once, with positions from 0 in each piece."""
    documents = [[100 * number + place for place in range(length)] for number, length in enumerate([7, 1, 2, 12, 5, 3])]
    batches = Packed(documents, context=context, batch_size=1)
    pairs = []
    for step in range(batches.last):
        inputs, targets, weights = batches.batch(step)
        ids, segments, positions = inputs["ids"][0], inputs["segment_ids"][0], inputs["positions"][0]
        assert ids.shape == (context,)
        np.testing.assert_array_equal(inputs["mask"][0], segments > 0)
        assert (weights[0][segments == 0] == 0).all()
        for segment in range(1, segments.max() + 1):
            places = np.flatnonzero(segments == segment)
            assert (np.diff(places) == 1).all()
            assert positions[places].tolist() == list(range(len(places)))
            assert len(set(ids[places] // 100)) == 1
            document = documents[ids[places[0]] // 100]
            last = ids[places] == document[-1]
            assert (weights[0][places] == ~last).all()
        learned = weights[0] > 0
        pairs += zip(ids[learned].tolist(), targets[0][learned].tolist(), strict=True)
    expected = [pair for document in documents for pair in pairwise(document)]
    assert sorted(pairs) == sorted(expected)


def test_packing_leaves_little_room():
    random = np.random.default_rng(0)
    lengths = random.integers(2, 33, 3000)
    windows = fitted(lengths, 64)
    assert sorted(piece for window in windows for piece in window) == list(range(3000))
    assert all(lengths[window].sum() <= 64 for window in windows)
    assert len(windows) < 1.01 * lengths.sum() / 64 + 1


# Masked -------------------------------------------------------------------------------------------

LONG = rows(400, seed=3, least=5, most=60)


def masked_batches(**arguments):
    options = {"mask_id": 3, "vocabulary_size": 200, "special_ids": (1, 2), "batch_size": 400} | arguments
    return only(masked([[1, *row, 2] for row in LONG], **options))


def test_masking_has_the_shares_of_bert():
    inputs, targets, weights = masked_batches()
    asked = weights > 0
    ordinary = targets > 3
    assert asked.sum() / ordinary.sum() == pytest.approx(0.15, abs=0.005)
    kinds = [(inputs == 3)[asked].mean(), (inputs == targets)[asked].mean()]
    assert kinds == pytest.approx([0.8, 0.1], abs=0.03)
    drawn = inputs[asked & (inputs != 3) & (inputs != targets)]
    assert drawn.min() > 3
    assert drawn.max() > 100  # from the whole vocabulary
    np.testing.assert_array_equal(inputs[~asked], targets[~asked])


def test_special_tokens_and_padding_are_never_hidden():
    inputs, targets, weights = masked_batches(share=1.0)
    special = targets <= 3
    assert (weights[special] == 0).all()
    assert (weights[~special] == 1).all()
    np.testing.assert_array_equal(inputs[special], targets[special])


def test_each_text_with_a_token_is_asked_about_one_at_least():
    weights = only(masked([[5], [1, 6], [1, 2], []], mask_id=3, vocabulary_size=9, special_ids=(1, 2), batch_size=4))[2]
    assert weights.sum(1).tolist() == [1, 1, 0, 0]


def test_masking_follows_from_seed_epoch_and_place():
    ids = [[5, 6, 7, 8] * 5] * 8
    made = [
        Masked(ids, mask_id=3, vocabulary_size=SIZE, batch_size=4, seed=seed, epochs=2).batch(step)[2].tobytes()
        for seed in (0, 1)
        for step in range(4)
    ]
    assert len(set(made)) == 8


# Prompts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("max_length", [None, 9, 12])
def test_the_loss_is_on_the_reply_alone(side, max_length):
    batches = Prompted(IDS, OTHERS, batch_size=4, max_length=max_length, side=side)
    for step in range(batches.last):
        inputs, targets, weights = batches.batch(step)
        for row, text in enumerate(batches.chosen(step)[0]):
            whole = (IDS[text] + OTHERS[text])[-(max_length or 99) - 1 :]
            real = inputs["mask"][row]
            assert inputs["ids"][row][real].tolist() == whole[:-1]
            assert inputs["positions"][row][real].tolist() == list(range(len(whole) - 1))
            assert targets[row][real].tolist() == whole[1:]
            assert targets[row][weights[row] > 0].tolist() == OTHERS[text]
            assert real[0 if side == "right" else -1]


# Conversations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"max_length": 4}, {"context": 12}, {"context": 4}, {"buckets": 3}], ids=str)
def test_each_conversation_is_learned_where_its_mask_says_and_only_there(options):
    batches = Conversations(TALKS, LEARNED, batch_size=4, **options)
    cut = (options.get("max_length") or options.get("context") or 99) + 1
    found = []
    for step in range(batches.last):
        inputs, targets, weights = batches.batch(step)
        for row in range(len(targets)):
            segments = inputs["segment_ids"][row]
            np.testing.assert_array_equal(inputs["mask"][row], segments > 0)
            assert (weights[row][segments == 0] == 0).all()
            assert (np.diff(segments[segments > 0]) >= 0).all()
            for segment in range(1, segments.max() + 1):
                here = segments == segment
                assert inputs["positions"][row][here].tolist() == list(range(here.sum()))
                whole = [*inputs["ids"][row][here].tolist(), int(targets[row][here][-1])]
                assert targets[row][here].tolist() == whole[1:]
                found.append((whole, [False, *(weights[row][here] > 0).tolist()]))
    expected = [(ids[:cut], [False, *mask[1:cut]]) for ids, mask in zip(TALKS, LEARNED, strict=True)]
    assert sorted(found) == sorted(expected)
    assert ("context" in options) == (batches.count < len(TALKS)) or cut < 9


def test_masks_of_a_template_go_into_a_feed():
    from kerasllm import text

    tokenizer = text.train_characters(["user assistant Hi!\n"], extra=["<|im_start|>", "<|im_end|>"])
    template = text.ChatTemplate(tokenizer, "ChatML")
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi!"}]
    ids, learned = zip(*map(template.encode_learned, [turns, turns]), strict=True)
    inputs, targets, weights = only(conversations(ids, learned, context=80, batch_size=1, pad_id=tokenizer.pad_id))
    assert tokenizer.decode(targets[weights > 0], skip_special=False) == "Hi!<|im_end|>" * 2
    assert inputs["segment_ids"].max() == 2


# Spans --------------------------------------------------------------------------------------------


def test_an_answer_may_stand_in_the_passage_or_at_the_first_token():
    rows = [[1, 5, 2, 6, 7, 2], [1, 5, 5, 2, 8, 2], [1, 2, 2]]
    inputs, answers = only(spans(rows, [3, 4, 2], [(3, 4), (0, 0), (0, 0)], batch_size=3, buckets=[8], pad_id=9))
    assert inputs["ids"].tolist() == [[1, 5, 2, 6, 7, 2, 9, 9], [1, 5, 5, 2, 8, 2, 9, 9], [1, 2, 2, 9, 9, 9, 9, 9]]
    assert inputs["mask"].sum(1).tolist() == [6, 6, 3]
    assert [np.flatnonzero(row).tolist() for row in inputs["type_ids"]] == [[3, 4, 5], [4, 5], [2]]
    assert [np.flatnonzero(row).tolist() for row in inputs["places"]] == [[0, 3, 4], [0, 4], [0]]
    assert answers.tolist() == [[3, 4], [0, 0], [0, 0]]


# Errors -------------------------------------------------------------------------------------------

HIDING = {"mask_id": 3, "vocabulary_size": 9}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tagged([[1, 2]], [[1]], batch_size=1), "Text 0 has 2 ids and 1 tags"),
        (lambda: tagged([[1, 2]], [], batch_size=1), "1 texts and 0 rows of tags"),
        (lambda: tagged([[1]], [["noun"]], batch_size=1), r"tags\[0\] is no row of ids but of <U4"),
        (lambda: paired([[1]], [[1], [2]], start_id=1, end_id=2, batch_size=1), "1 sources and 2 targets"),
        (lambda: paired([[1]], [[1]], start_id=None, end_id=2, batch_size=1), "start_id is None.*bos=True"),
        (lambda: paired([[1]], [[1]], start_id=1, end_id=2, pad_id=None, batch_size=1), "pad_id is None"),
        (lambda: packed([[1], []], context=4, batch_size=1), "no document has two ids"),
        (lambda: packed([[1, 2]], context=1, batch_size=1), "context must be a whole number from 2 up, not 1"),
        (lambda: packed([[1, 2]], context=10**9, batch_size=1), "limit is 1 GiB"),
        (lambda: masked([[5]], mask_id=None, vocabulary_size=9, batch_size=1), "mask_id is None.*mask=True"),
        (lambda: masked([[9]], **HIDING, batch_size=1), "ids hold 9, but vocabulary_size=9"),
        (lambda: masked([[5]], **HIDING, special_ids=range(9), batch_size=1), "All 9 tokens.*are special"),
        (lambda: masked([[5]], **HIDING, share=1.5, batch_size=1), "share must be from 0 to 1, not 1.5"),
        (lambda: conversations([[1, 2]], [], batch_size=1), "1 conversations and 0 masks"),
        (lambda: conversations([[1, 2]], [[1]], batch_size=1), "Conversation 0 has 2 ids and a mask of 1 int64"),
        (lambda: conversations([[1, 2]], [[0, 7]], batch_size=1), "a mask of 2 int64. Give one bool an id"),
        (
            lambda: conversations([[1, 2]], [[1, 0]], batch_size=1),
            "nothing to learn from conversation 0: it needs a re",
        ),
        (
            lambda: conversations([[1, 2, 3]], [[0, 0, 1]], batch_size=1, max_length=1),
            "0 in its first 1 ids: take more",
        ),
        (lambda: conversations([[1, 2]], [[0, 1]], batch_size=1, max_length=4, context=4), "Leave one of the two out"),
        (lambda: conversations([[1, 2]], [[0, 1]], batch_size=1, buckets=2, context=4), "buckets is for rows"),
        (lambda: conversations([], [], batch_size=1), "no text to make batches of"),
        (lambda: conversations([], [], batch_size=1, context=4), "no text to make batches of"),
        (lambda: spans([[1, 5, 2, 6, 2]], [3, 3], [(3, 3)], batch_size=1), r"1 rows and passages of shape \(2,\)"),
        (lambda: spans([[1, 5, 2, 6, 2]], [3], [], batch_size=1), r"1 texts and labels of shape \(0, 2\)"),
        (lambda: spans([[1, 5, 2, 6, 2]], [3], [(3, 4)], batch_size=1), "answer of row 0 stands at 3 to 4, .* 3 to 3"),
        (lambda: spans([[1, 5, 2, 6, 2]], [3], [(1, 3)], batch_size=1), r"Give \(0, 0\)"),
        (lambda: prompted([[1]], [], batch_size=1), "1 prompts and 0 replies"),
        (lambda: prompted([[]], [[1]], batch_size=1), "Prompt 0 is empty.*bos_id"),
        (lambda: prompted([[1]], [[]], batch_size=1), "Reply 0 is empty"),
        (lambda: prompted([[1]], [[1, 2, 3]], batch_size=1, max_length=2), "Reply 0 has 3 ids, and max_length=2"),
    ],
)
def test_feeds_name_what_is_wrong(make, words):
    with pytest.raises(ValueError, match=words):
        make()
