"""One token after another: what a backend compiles. No text and no Python loop over tokens in here."""

from keras import ops, tree

STEPS = 128  # the largest number of tokens in one call


def read(model, tokens, real, memory=None, capacity=0):
    """Read more tokens of each row into its memory.

    Args:
        model: a GPT, or a model with a ``step``.
        tokens: int tensor (rows, time).
        real: bool tensor (rows, time), False at padding.
        memory: what an earlier call returned; a new one when None.
        capacity: how many tokens the cache of a GPT holds, for a new one.

    Returns:
        The memory that `decode` needs: a cache, or states.
    """
    rows, time = tokens.shape
    if hasattr(model, "make_cache"):
        memory = model.make_cache(rows, capacity) if memory is None else memory
        return model(tokens, mask=real, cache=memory, return_features=True, training=False)[1]

    def one(position, states):
        return position + 1, _where(real[:, position], model.step(tokens[:, position], states)[1], states)

    if memory is None:
        _, memory = model.step(tokens[:, 0])  # for the shapes alone
        memory = tree.map_structure(ops.zeros_like, memory)
    return ops.while_loop(lambda position, _: position < time, one, (ops.array(0, "int32"), memory))[1]


def step(model, tokens, memory, real=None):
    """The logits after one more token of each row, float32 (rows, vocabulary_size), and the new memory."""
    if hasattr(model, "make_cache"):
        real = None if real is None else real[:, None]
        logits, memory = model(tokens[:, None], mask=real, cache=memory, training=False)
        logits = logits[:, 0]
    else:
        logits, after = model.step(tokens, memory)
        memory = after if real is None else _where(real, after, memory)
    return ops.cast(logits, "float32"), memory


def decode(model, sampler, scored, tokens, memory, done, state, uniforms, stop, barred, count):
    """Write up to `count` tokens.

    Args:
        model: a GPT, or a model with a ``step``.
        sampler: see `kerasllm.generation.samplers`.
        scored: whether the log-probability of each token is wanted.
        tokens: int tensor (rows,), the last token of each row.
        memory: what `read` or the call before returned.
        done: bool tensor (rows,), True for rows that met a stop token. They remember nothing any more.
        state: the sampler's state.
        uniforms: float tensor (rows, STEPS) of random numbers from (0, 1].
        stop: int tensor (n,): ids of stop tokens; -1 fills up.
        barred: bool tensor (vocabulary_size,), True at rows that are no token; of length 0 when all are.
        count: how many tokens, int scalar, at most STEPS.

    Returns:
        tokens, memory, done and state to go on with; the new tokens, int tensor (rows, STEPS), -1 where a row wrote
        nothing; their log-probabilities under the model itself, float tensor (rows, STEPS), zeros unless `scored`; and
        for each row the row that it descends from, int tensor (rows,).
    """
    rows = tokens.shape[0]

    def unfinished(i, tokens, memory, done, *rest):
        return ops.logical_and(i < count, ops.logical_not(ops.all(done)))

    def write(i, tokens, memory, done, state, written, scores, origin):
        logits, memory = step(model, tokens, memory, ops.logical_not(done))
        logits = ops.where(barred, -1e9, logits) if barred.shape[0] else logits
        tokens, order, state = sampler.choose(logits, ops.take(uniforms, i, axis=1), done, state)
        if order is not None:
            logits, memory, done, written, scores, origin = tree.map_structure(
                lambda x: ops.take(x, order, axis=0), (logits, memory, done, written, scores, origin)
            )
        done = ops.logical_or(done, ops.any(tokens[:, None] == stop, axis=-1))
        written = ops.slice_update(written, (0, i), ops.where(done, -1, tokens)[:, None])
        if scored:
            one = ops.take_along_axis(ops.log_softmax(logits, axis=-1), tokens[:, None], axis=-1)
            scores = ops.slice_update(scores, (0, i), one)
        return i + 1, tokens, memory, done, state, written, scores, origin

    written, scores = ops.full((rows, STEPS), -1, "int32"), ops.zeros((rows, STEPS), "float32")
    start = (ops.array(0, "int32"), tokens, memory, done, state, written, scores, ops.arange(rows, dtype="int32"))
    return ops.while_loop(unfinished, write, start)[1:]


def forget(cache, length):
    """The cache without what stands at positions from `length` on, int tensor (rows,)."""
    return [
        one._replace(positions=ops.where(ops.less(one.positions, length[:, None]), one.positions, -1)) for one in cache
    ]


def enlarged(cache, capacity):
    """The cache with more slots; only for one that has not run round its ring."""

    def longer(x, axis, value):
        more = [[0, capacity - x.shape[axis] if i == axis else 0] for i in range(len(x.shape))]
        return ops.pad(x, more, constant_values=value)

    return [
        one._replace(key=longer(one.key, 2, 0), value=longer(one.value, 2, 0), positions=longer(one.positions, 1, -1))
        for one in cache
    ]


def _where(condition, new, old):
    def choose(a, b):
        return ops.where(ops.reshape(condition, (-1,) + (1,) * (len(a.shape) - 1)), a, b)

    return tree.map_structure(choose, new, old)
