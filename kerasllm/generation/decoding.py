"""One token after another: what a backend compiles. No text and no Python loop over tokens in here."""

import keras
from keras import ops, tree

STEPS = 128  # the largest number of tokens in one call


def encode(model, tokens, padding, capacity):
    """Read all prompts but for their last token.

    Args:
        model: a GPT, or a model with a ``step``.
        tokens: int tensor (rows, time), padded on the left.
        padding: int tensor (rows,), how many positions of each row are padding.
        capacity: how many tokens the cache of a GPT holds.

    Returns:
        The memory that `decode` needs: a cache, or states.
    """
    rows, time = tokens.shape
    if hasattr(model, "make_cache"):
        real = ops.arange(time) >= ops.expand_dims(padding, 1)  # (rows, time)
        return model(tokens, mask=real, cache=model.make_cache(rows, capacity), return_features=True, training=False)[1]

    def read(position, states):
        return position + 1, _where(position >= padding, model.step(tokens[:, position], states)[1], states)

    _, states = model.step(tokens[:, 0])  # for the shapes alone
    states = tree.map_structure(ops.zeros_like, states)
    return ops.while_loop(lambda position, _: position < time, read, (ops.array(0, "int32"), states))[1]


def step(model, tokens, memory):
    """The logits after one more token of each row, float32 (rows, vocabulary_size), and the new memory."""
    if hasattr(model, "make_cache"):
        logits, memory = model(tokens[:, None], cache=memory, training=False)
        logits = logits[:, 0]
    else:
        logits, memory = model.step(tokens, memory)
    return ops.cast(logits, "float32"), memory


def decode(model, sampler, tokens, memory, done, state, uniforms, stop, count):
    """Write up to `count` tokens.

    Args:
        model: a GPT, or a model with a ``step``.
        sampler: see `kerasllm.generation.samplers`.
        tokens: int tensor (rows,), the last token of each row.
        memory: what `encode` or the call before returned.
        done: bool tensor (rows,), True for rows that met a stop token.
        state: the sampler's state.
        uniforms: float tensor (rows, STEPS) of random numbers from (0, 1].
        stop: int tensor (n,): ids of stop tokens; -1 fills up.
        count: how many tokens, int scalar, at most STEPS.

    Returns:
        tokens, memory, done and state to go on with; the new tokens, int tensor (rows, STEPS), -1 where
        a row wrote nothing; and for each row the row that it descends from, int tensor (rows,).
    """
    rows = tokens.shape[0]

    def unfinished(i, tokens, memory, done, *rest):
        return ops.logical_and(i < count, ops.logical_not(ops.all(done)))

    def write(i, tokens, memory, done, state, written, origin):
        logits, memory = step(model, tokens, memory)
        tokens, order, state = sampler.choose(logits, ops.take(uniforms, i, axis=1), done, state)
        if order is not None:
            memory, done, written, origin = tree.map_structure(
                lambda x: ops.take(x, order, axis=0), (memory, done, written, origin)
            )
        done = ops.logical_or(done, ops.any(tokens[:, None] == stop, axis=-1))
        written = ops.slice_update(written, (0, i), ops.where(done, -1, tokens)[:, None])
        return i + 1, tokens, memory, done, state, written, origin

    start = (ops.array(0, "int32"), tokens, memory, done, state)
    start = (*start, ops.full((rows, STEPS), -1, "int32"), ops.arange(rows, dtype="int32"))
    return ops.while_loop(unfinished, write, start)[1:]


def _where(condition, new, old):
    def choose(a, b):
        return ops.where(ops.reshape(condition, (-1,) + (1,) * (len(a.shape) - 1)), a, b)

    return keras.tree.map_structure(choose, new, old)
