"""Beam search for models that read one text and write another: several beginnings are kept, the best text is given."""

from functools import partial
from typing import NamedTuple

import numpy as np
from keras import ops, tree

from kerasllm.common import whole_number
from kerasllm.generation.compiling import compiled
from kerasllm.generation.samplers import Beam

LONGEST = 256  # tokens of an answer of a model that has no longest one
STEP = 32  # answers' lengths are filled up to a multiple of it, so that others of similar length compile nothing anew


class Translations(NamedTuple):
    """What `beam_search` found.

    Attributes:
        ids: for each source the ids that were written, without start and end.
        scores: float32 array (sources,), for each the log-probability of what was written, its end included, divided
            by the length penalty.
    """

    ids: list[list[int]]
    scores: np.ndarray


def beam_search(
    model,
    source_ids,
    source_mask=None,
    start_id=None,
    end_id=None,
    num_beams=4,
    length_penalty=0.6,
    max_length=None,
    barred=(),
) -> Translations:
    r"""The best text that a search finds for each source.

    At each token the best `num_beams` beginnings of a text go on, of all their continuations. One that is complete
    stays among them as long as its score keeps it there. The search of a text ends when no beginning can overtake the
    best complete one any more, or all have `max_length` tokens. Each source of a batch gets what it would get alone.

    Texts are compared by $\log P(Y \mid X) / \mathrm{lp}(Y)$ with $\mathrm{lp}(Y) = ((5 + |Y|) / 6)^\alpha$, where |Y|
    counts the tokens with the end and $\alpha$ is `length_penalty`.

    A wider search keeps more, and yet may find a less probable text: what it keeps in addition can push out the
    beginning that would have won.

    Args:
        model: a `kerasllm.models.Seq2Seq` or `LSTMSeq2Seq`, or any with their ``read``, ``step`` and sizes.
        source_ids: int array (sources, time) of ids to read.
        source_mask: bool array (sources, time), True at real tokens; those other than the model's ``pad_id`` when None.
        start_id: the id to start with, `bos_id` of the target's tokenizer: the ``start_id`` of `batches.paired`.
        end_id: the id that ends a text, `eos_id` of the target's tokenizer.
        num_beams: how many texts are kept; 1 is greedy: always the most probable token.
        length_penalty: 0 compares probabilities, which favours short texts; the larger, the longer they are.
        max_length: the most tokens of a text, its end included. When None the model's ``context_length``, or 256 if it
            has none.
        barred: ids that are never written, such as rows of the model that are no token.

    Returns:
        `Translations`, a pair of ids and scores.

    Raises:
        TypeError: if the model does not read and write, or ids are no whole numbers.
        ValueError: if an id is outside its vocabulary, a shape does not fit, or a number is out of range.

    Example:
        >>> from kerasllm.models import Seq2Seq, Seq2SeqSettings
        >>> model = Seq2Seq(Seq2SeqSettings(20, embedding_dim=8, num_layers=1, num_heads=2))
        >>> ids, scores = beam_search(model, [[4, 7, 9], [5, 8, 0]], start_id=1, end_id=2, num_beams=2, max_length=6)
        >>> len(ids), scores.shape, max(map(len, ids)) <= 6
        (2, (2,), True)

    Reference: Sutskever et al. (2014), "Sequence to Sequence Learning with Neural Networks", section 3.2; Wu et al.
    (2016), "Google's Neural Machine Translation System", section 7, equation 14, for the length penalty (here without
    the coverage penalty beside it).
    """
    ids, mask = _checked_source(model, source_ids, source_mask)
    for name, one in (("start_id", start_id), ("end_id", end_id)):
        whole_number(name, one, 0, model.vocabulary_size - 1)
    beam = Beam(whole_number("num_beams", num_beams), length_penalty)
    longest = getattr(model, "context_length", None)
    limited = longest if getattr(model, "limited", False) else None
    limit = whole_number("max_length", longest or LONGEST if max_length is None else max_length, most=limited)
    if not len(ids):
        return Translations([], np.zeros(0, "float32"))
    never = np.zeros(model.vocabulary_size, bool)
    never[list(barred)] = True
    rows, capacity = len(ids), -(-limit // STEP) * STEP
    ids, mask = _filled(ids, mask, limited)
    read = compiled(partial(_read, beam.width, capacity), model, ("read a source", beam.width, capacity), xla=False)
    search = compiled(partial(_search, beam, capacity), model, ("beam search", beam.width, capacity))
    tokens = np.full(len(ids) * beam.width, start_id, "int32")
    scores, lengths, penalty = beam.start(tokens, model.vocabulary_size)
    race = scores, lengths + 5, penalty  # lengths count from 5: that is equation 14, but for its constant 6
    written, race = search(read(ids, mask), tokens, race, np.array(end_id, "int32"), never, np.array(limit, "int32"))
    best = beam.best(race)[:rows]
    scores, lengths = (ops.convert_to_numpy(x).ravel()[best] for x in race[:2])
    written = ops.convert_to_numpy(written)[best]
    found = [[id for id in row if id not in (-1, end_id)] for row in written.tolist()]
    return Translations(found, (scores / (lengths / 6) ** length_penalty).astype("float32"))


def _read(width, capacity, model, ids, mask):
    """What the model knows of each source, for each of its beams."""
    state = model.read(ids, mask, capacity)
    return state if width == 1 else tree.map_structure(lambda x: ops.repeat(x, width, axis=0), state)


def _search(beam, capacity, model, state, tokens, race, end, never, limit):
    """The loop that is compiled.

    Args:
        beam: a `Beam`; of it only the width counts, its penalty travels in `race`.
        capacity: how many tokens there is room for.
        model: see `beam_search`.
        state: what `_read` returned.
        tokens: int tensor (rows,), the id to start with; the rows of a source stand together.
        race: the state of the `Beam`.
        end: int scalar, the id that ends a text.
        never: bool tensor (vocabulary_size,), True at ids that are not to be written.
        limit: int scalar, how many tokens are written at most.

    Returns:
        The ids, int tensor (rows, capacity), -1 behind the end, and the state of the `Beam`.
    """
    rows = tokens.shape[0]

    def unfinished(i, tokens, written, done, race, ids):
        return ops.logical_and(i < limit, ops.logical_not(ops.all(done)))

    def write(i, tokens, written, done, race, ids):
        logits, after = model.step(tokens, state._replace(written=written))
        logits = ops.where(never, -1e9, ops.cast(logits, "float32"))
        tokens, order, race = beam.choose(logits, None, done, race)
        # The beams of a source all look at the same: what was read stays where it is.
        written, done, ids = tree.map_structure(lambda x: ops.take(x, order, axis=0), (after.written, done, ids))
        ids = ops.slice_update(ids, (0, i), ops.where(done, -1, tokens)[:, None])
        done = _decided(ops.logical_or(done, tokens == end), race, limit)
        return i + 1, tokens, written, done, race, ids

    ids, done = ops.full((rows, capacity), -1, "int32"), ops.zeros((rows,), "bool")
    start = (ops.array(0, "int32"), tokens, state.written, done, race, ids)
    *_, race, ids = ops.while_loop(unfinished, write, start)
    return ids, race


def _decided(done, race, limit):
    """Rows that need not go on: those that ended, and all of a source whose best text no other can overtake.

    Log-probabilities only fall, and the penalty is largest at the limit: no text can come to more than that.
    """
    scores, lengths, penalty = race  # (sources, width), (sources, width), ()
    ended = ops.reshape(done, ops.shape(scores))
    most = ops.cast(limit, "float32") + 5
    best = ops.max(ops.where(ended, scores / ops.power(lengths, penalty), -1e30), axis=-1)
    hope = ops.max(ops.where(ended, -1e30, scores / ops.power(most, penalty)), axis=-1)
    return ops.logical_or(done, ops.repeat(best > hope, scores.shape[1]))


def _checked_source(model, ids, mask):
    """Ids and mask as arrays (sources, time)."""
    for name in ("read", "step", "vocabulary_size", "source_vocabulary_size"):
        if not hasattr(model, name):
            raise TypeError(
                f"{type(model).__name__} does not read one text and write another, it has no {name}: take a Seq2Seq or "
                "an LSTMSeq2Seq. For a GPT there is generate."
            )
    ids = ops.convert_to_numpy(ids)
    if ids.ndim != 2 or (ids.size and ids.dtype.kind not in "iu"):
        raise TypeError(f"source_ids must be whole numbers (sources, time), not {ids.dtype} of shape {ids.shape}.")
    size = model.source_vocabulary_size
    if ids.size and not (ids.min() >= 0 and ids.max() < size):
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"source_ids has the id {wrong}; the model reads 0 to {size - 1}.")
    if mask is None:
        pad_id = getattr(model, "pad_id", None)
        return ids.astype("int32"), np.ones(ids.shape, bool) if pad_id is None else ids != pad_id
    mask = ops.convert_to_numpy(mask)
    if mask.shape != ids.shape or mask.dtype != bool:
        raise ValueError(
            f"source_mask must be bool of shape {ids.shape}, True at real tokens, not {mask.dtype} of shape "
            f"{mask.shape}."
        )
    return ids.astype("int32"), mask


def _filled(ids, mask, longest):
    """Sources filled up to a power of two and a multiple of 16 tokens: those of similar sizes compile nothing anew."""
    rows, time = ids.shape
    more = (1 << (rows - 1).bit_length()) - rows
    # Copies of a source end when it does; an empty one might write for ever.
    ids, mask = (np.pad(x, ((0, more), (0, 0)), mode="edge") for x in (ids, mask))
    wanted = max(16, -(-time // 16) * 16)
    wanted = max(time, min(wanted, longest)) if longest else wanted
    return tuple(np.pad(x, ((0, 0), (0, wanted - time))) for x in (ids, mask))
