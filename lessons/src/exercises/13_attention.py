# %% [markdown]
# # Exercises 13 · Attention
#
# Five exercises and an experiment, each alone. They need NumPy and no training. Where the text says *predict*,
# write your guess down before you run anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: one mask out of two rules
#
# Write the mask of a decoder whose texts are padded, mostly on the right. It is True where query $i$ may
# look at key $j$: not later than itself, and not at padding. The result has the shape
# (batch, time, time).
#
# *Predict:* which rows have no True at all, when padding stands on the right? And on the left?


# %% tags=["answer"]
def decoder_mask(real):
    """real: bool array (batch, time), True at real tokens. Returns bool (batch, time, time)."""
    ### BEGIN SOLUTION
    time = real.shape[1]
    causal = np.tril(np.ones((time, time), bool))  # (time, time)
    return causal[None] & real[:, None, :]
    ### END SOLUTION


# %% tags=["check"]
check(
    decoder_mask,
    case("no padding", np.ones((1, 3), bool), expect=np.tril(np.ones((1, 3, 3), bool))),
    case(
        "one place of padding",
        np.array([[True, True, False]]),
        expect=np.array([[[1, 0, 0], [1, 1, 0], [1, 1, 0]]], bool),
    ),
    case(
        "two texts of different length",
        np.array([[True, False], [True, True]]),
        expect=np.array([[[1, 0], [1, 0]], [[1, 0], [1, 1]]], bool),
    ),
    case(
        "padding on the left",
        np.array([[False, True, True]]),
        expect=np.array([[[0, 0, 0], [0, 1, 0], [0, 1, 1]]], bool),
    ),
    nudge="There are two rules. To which axis of the result does each of them belong: queries or keys?",
    hint="np.tril gives the first rule. The second belongs to the keys, the last axis: real[:, None, :].",
)


# %% tags=["right"]
def decoder_mask(real):  # loops
    batch, time = real.shape
    mask = np.zeros((batch, time, time), bool)
    for text in range(batch):
        for i in range(time):
            for j in range(i + 1):
                mask[text, i, j] = real[text, j]
    return mask


# %% tags=["right"]
def decoder_mask(real):  # comparison of places, a product
    place = np.arange(real.shape[1])
    return (place[None, :] <= place[:, None]) * real[:, None]


# %% tags=["right"]
def decoder_mask(real):  # library: Keras, tensors of True and False
    from keras import ops

    time = ops.shape(real)[1]
    causal = ops.tril(ops.ones((time, time), "bool"))
    return ops.logical_and(causal, ops.expand_dims(real, 1))


# %% tags=["right"]
def decoder_mask(real):  # nested lists of 0 and 1
    return [[[int(seen) if j <= i else 0 for j, seen in enumerate(row)] for i in range(len(row))] for row in real]


# %% tags=["wrong"]
def decoder_mask(real):
    time = real.shape[1]
    return np.tril(np.ones((time, time), bool))[None] & real[:, :, None]  # masks the queries


# %% tags=["wrong"]
def decoder_mask(real):
    time = real.shape[1]
    return np.triu(np.ones((time, time), bool))[None] & real[:, None, :]  # sees the future


# %% tags=["wrong"]
def decoder_mask(real):
    time = real.shape[1]
    square = real[:, :, None] & real[:, None, :]  # hides the rows of padding too: right where there is none
    return np.tril(np.ones((time, time), bool)) & square


# %% [markdown]
# With padding on the right every row has a True: the first token. With padding on the left the
# first rows are empty. Exercise 2 must survive them.
#
# ## Exercise 2: a softmax that survives
#
# Write the softmax over the last axis among the allowed places. Forbidden places get exactly 0. A
# row without any allowed place gets zeros everywhere, not NaN. Scores may be large: subtract a
# maximum. A forbidden score may be the largest of its row, or even NaN; it must not matter.


# %% tags=["answer"]
def masked_softmax(scores, allowed):
    """scores (..., keys) and bool allowed of the same shape. Returns weights (..., keys)."""
    ### BEGIN SOLUTION
    safe = np.where(allowed, scores, -np.inf)
    top = safe.max(axis=-1, keepdims=True)
    e = np.exp(safe - np.where(np.isfinite(top), top, 0))  # 0 at forbidden places
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total > 0, total, 1)
    ### END SOLUTION


# %% tags=["check"]
YES, NO = True, False
check(
    masked_softmax,
    case("all allowed", np.log([[1.0, 3.0]]), np.array([[YES, YES]]), expect=np.array([[0.25, 0.75]])),
    case("one forbidden", np.log([[1.0, 3.0, 4.0]]), np.array([[YES, YES, NO]]), expect=np.array([[0.25, 0.75, 0]])),
    case("all forbidden", np.array([[5.0, 1.0]]), np.array([[NO, NO]]), expect=np.zeros((1, 2))),
    case("large scores", np.array([[1000.0, 1000.0]]), np.array([[YES, YES]]), expect=np.array([[0.5, 0.5]])),
    case("a huge forbidden one", np.array([[0, 0, 2e3]]), np.array([[YES, YES, NO]]), expect=np.array([[0.5, 0.5, 0]])),
    case("a forbidden NaN", np.array([[np.nan, 1.0]]), np.array([[NO, YES]]), expect=np.array([[0.0, 1.0]])),
    case("two rows", np.zeros((2, 2)), np.array([[YES, NO], [YES, YES]]), expect=np.array([[1, 0], [0.5, 0.5]])),
    case("low scores", np.array([[-1e3, -1e3, 1]]), np.array([[YES, YES, NO]]), expect=np.array([[0.5, 0.5, 0]])),
    case("a low row and a high one", np.array([[0, 0], [1e3, 1e3]]), np.full((2, 2), YES), expect=np.full((2, 2), 0.5)),
    nudge="In which order do you forbid, take the maximum and divide? What is the sum of an empty row?",
    hint="Forbid first, then subtract the largest allowed score; divide by 1 where the sum is 0.",
)  # fmt: skip


# %% tags=["right"]
def masked_softmax(scores, allowed):  # loops over rows, only the allowed scores are looked at
    result = np.zeros(scores.shape)
    for place in np.ndindex(scores.shape[:-1]):
        kept = np.flatnonzero(allowed[place])
        if len(kept):
            powers = np.exp(scores[place][kept] - max(scores[place][kept]))
            result[place][kept] = powers / sum(powers)
    return result


# %% tags=["right"]
def masked_softmax(scores, allowed):  # library
    from scipy.special import softmax

    low = np.finfo(float).min
    return np.where(allowed, softmax(np.where(allowed, scores, low), axis=-1), 0.0)


# %% tags=["right"]
def masked_softmax(scores, allowed):  # masked arrays
    masked = np.ma.array(scores, mask=~allowed)
    e = np.ma.exp(masked - masked.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).filled(0)


# %% tags=["right"]
def masked_softmax(scores, allowed):  # Keras, in 32-bit numbers
    from keras import ops

    scores = ops.where(allowed, ops.cast(ops.nan_to_num(scores), "float32"), -1e9)
    return ops.softmax(scores, axis=-1) * ops.cast(allowed, "float32")


# %% tags=["wrong"]
def masked_softmax(scores, allowed):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True) * allowed  # the mask after the softmax


# %% tags=["wrong"]
def masked_softmax(scores, allowed):
    scores = np.where(allowed, scores, -1e9)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)  # equal weights where nothing is allowed


# %% tags=["wrong"]
def masked_softmax(scores, allowed):
    scores = np.where(allowed, scores, -1e9)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True)) * allowed
    total = e.sum(axis=0, keepdims=True)  # the wrong axis
    return e / np.where(total > 0, total, 1)


# %% tags=["wrong"]
def masked_softmax(scores, allowed):
    scores = np.where(allowed, scores, 0)  # a forbidden 0 is the maximum of low scores
    e = np.exp(scores - scores.max(axis=-1, keepdims=True)) * allowed
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total > 0, total, 1)


# %% tags=["wrong"]
def masked_softmax(scores, allowed):
    scores = np.where(allowed, scores, -1e9)
    e = np.exp(scores - scores.max()) * allowed  # one maximum for the whole table
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total > 0, total, 1)


# %% [markdown]
# ## Exercise 3: heads apart, heads together
#
# Write `heads_apart`: (batch, time, heads × d) becomes (batch, heads, time, d). Head 0 gets the
# first $d$ numbers of each token.
#
# *Predict:* why does `x.reshape(batch, heads, time, d)` have the right shape and the wrong content?


# %% tags=["answer"]
def heads_apart(x, heads):
    """x: array (batch, time, dim). Returns (batch, heads, time, dim / heads)."""
    ### BEGIN SOLUTION
    batch, time, dim = x.shape
    return x.reshape(batch, time, heads, dim // heads).transpose(0, 2, 1, 3)
    ### END SOLUTION


# %% tags=["check"]
numbers = np.arange(24.0).reshape(1, 3, 8)  # three tokens: 0 to 7, 8 to 15, 16 to 23
check(
    heads_apart,
    case("one head", numbers, 1, expect=numbers[:, None]),
    case("two heads", numbers, 2, expect=np.stack([numbers[..., :4], numbers[..., 4:]], axis=1)),
    case("as many heads as numbers", numbers, 8, expect=numbers.transpose(0, 2, 1)[..., None]),
    case(
        "two texts",
        np.concatenate([numbers, -numbers]),
        2,
        expect=np.stack([numbers, -numbers]).reshape(2, 3, 2, 4).swapaxes(1, 2),
    ),
    nudge="Which numbers of a token belong to head 0? Print heads_apart(numbers, 2)[0, 0] and look.",
    hint="Cut the last axis first: (batch, time, heads, d). Then change the order of the axes.",
)


# %% tags=["right"]
def heads_apart(x, heads):  # loops over slices
    d = x.shape[2] // heads
    return [[text[:, head * d : (head + 1) * d] for head in range(heads)] for text in x]


# %% tags=["right"]
def heads_apart(x, heads):  # library: split and stack
    return np.stack(np.split(x, heads, axis=-1), axis=1)


# %% tags=["right"]
def heads_apart(x, heads):  # Keras
    from keras import ops

    batch, time, dim = ops.shape(x)
    return ops.swapaxes(ops.reshape(x, (batch, time, heads, dim // heads)), 1, 2)


# %% tags=["wrong"]
def heads_apart(x, heads):
    batch, time, dim = x.shape
    return x.reshape(batch, heads, time, dim // heads)  # mixes tokens


# %% tags=["wrong"]
def heads_apart(x, heads):
    batch, time, dim = x.shape
    return x.reshape(batch, time, dim // heads, heads).transpose(0, 3, 1, 2)  # every h-th number


# %% tags=["wrong"]
def heads_apart(x, heads):
    batch, time, dim = x.shape
    parts = x.reshape(batch, time, heads, dim // heads)
    return parts.transpose(0, 2, 3, 1).reshape(batch, heads, time, -1)  # right where each head's table is symmetric


# %% [markdown]
# Reshape keeps the numbers in their order in memory. One token's numbers stand together there, so
# a head of the wrong version gets whole tokens instead of a part of each.
#
# ## Exercise 4: turn one pair
#
# Rotary positions for two numbers: turn the point $(a, b)$ by the angle $p\,\omega$, counter
# to the clock, where $p$ is the position.
#
# *Predict:* the query stands at 5 and the key at 3. Both move on by the same number of places. How large
# must it be until their dot product changes?


# %% tags=["answer"]
def turn(pair, position, speed):
    """pair: array (2,), the point. Returns the turned point (2,)."""
    ### BEGIN SOLUTION
    cos, sin = np.cos(position * speed), np.sin(position * speed)
    return np.array([pair[0] * cos - pair[1] * sin, pair[1] * cos + pair[0] * sin])
    ### END SOLUTION


# %% tags=["check"]
check(
    turn,
    case("position 0", np.array([3.0, 4.0]), 0, 0.7, expect=np.array([3.0, 4.0])),
    case("a quarter turn", np.array([1.0, 0.0]), 1, np.pi / 2, expect=np.array([0.0, 1.0])),
    case("two quarter turns", np.array([2.0, 1.0]), 2, np.pi / 2, expect=np.array([-2.0, -1.0])),
    case("60 degrees", np.array([2.0, 0.0]), 2, np.pi / 6, expect=np.array([1.0, np.sqrt(3)])),
    nudge="Where does the point (1, 0) stand after a quarter turn? Try it on paper first.",
    hint="cos and sin of the angle; the sine has a minus in the first number only.",
)
q, k = np.array([1.0, 2.0]), np.array([0.5, -1.0])
for shift in (0, 1, 100):
    print(f"moved by {shift:3d}: score {np.dot(turn(q, 5 + shift, 0.3), turn(k, 3 + shift, 0.3)):.6f}")


# %% tags=["right"]
def turn(pair, position, speed):  # a loop: one small turn for each position, floats
    from math import cos, sin

    x, y = pair
    for _ in range(position):
        x, y = x * cos(speed) - y * sin(speed), x * sin(speed) + y * cos(speed)
    return x, y  # a pair


# %% tags=["right"]
def turn(pair, position, speed):  # a complex number
    turned = complex(*pair) * np.exp(1j * position * speed)
    return np.array([turned.real, turned.imag])


# %% tags=["right"]
def turn(pair, position, speed):  # library: a matrix
    from scipy.linalg import expm

    return expm(position * speed * np.array([[0, -1], [1, 0]])) @ pair


# %% tags=["wrong"]
def turn(pair, position, speed):
    cos, sin = np.cos(position * speed), np.sin(position * speed)
    return np.array([pair[0] * cos + pair[1] * sin, pair[1] * cos - pair[0] * sin])  # with the clock


# %% tags=["wrong"]
def turn(pair, position, speed):
    angle = position * speed
    return pair + np.array([np.sin(angle), np.cos(angle)])  # adds, as sinusoidal positions do


# %% tags=["wrong"]
def turn(pair, position, speed):
    cos, sin = np.cos(speed), np.sin(speed)  # forgets the position
    return np.array([pair[0] * cos - pair[1] * sin, pair[1] * cos + pair[0] * sin])


# %% [markdown]
# It never changes. Turning both by the same angle leaves the angle between them as it was.
#
# ## Exercise 5: many clocks
#
# Write the table of sinusoidal positions: row $p$ holds first the sines, then the cosines of
# $p \, \omega_i$, where $\omega_i = 10000^{-2i/d}$ for $i = 0, \dots, d/2 - 1$.
#
# *Predict:* row 0.


# %% tags=["answer"]
def position_table(length, d):
    """Returns the array (length, d) of sinusoidal positions; d is even."""
    ### BEGIN SOLUTION
    speeds = 10_000.0 ** (-2 * np.arange(d // 2) / d)  # (d / 2,)
    angles = np.arange(length)[:, None] * speeds  # (length, d / 2)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    ### END SOLUTION


# %% tags=["check"]
def rows_have_one_length(table):
    squares = np.square(table).sum(axis=1)
    return None if np.allclose(squares, squares[0]) else "the rows have different lengths; sine² + cosine² is 1."


check(
    position_table,
    case("the shape", 7, 10, expect=lambda table: None if np.shape(table) == (7, 10) else "the shape is wrong."),
    case("row lengths", 50, 16, expect=rows_have_one_length),
    case("two numbers", 3, 2, expect=np.array([[0, 1], [0.841471, 0.540302], [0.909297, -0.416147]]), tolerance=1e-5),
    case(
        "four numbers",
        2,
        4,
        expect=np.array([[0, 0, 1, 1], [0.841471, 0.00999983, 0.540302, 0.99995]]),
        tolerance=1e-5,
    ),
    case(
        "eight numbers",
        2,
        8,
        expect=np.array(
            [
                [0, 0, 0, 0, 1, 1, 1, 1],
                [0.841471, 0.0998334, 0.00999983, 0.001, 0.540302, 0.995004, 0.99995, 0.9999995],
            ]
        ),
        tolerance=1e-5,
    ),
    nudge="How many speeds are there for d numbers, and which one is the first?",
    hint="Make the d / 2 speeds, then the angles by an outer product of positions and speeds.",
)


# %% tags=["right"]
def position_table(length, d):  # loops, floats
    from math import cos, sin

    table = []
    for p in range(length):
        angles = [p / 10_000 ** (2 * i / d) for i in range(d // 2)]
        table.append([sin(angle) for angle in angles] + [cos(angle) for angle in angles])
    return table


# %% tags=["right"]
def position_table(length, d):  # the speeds as a geometric row, a cosine as a sine that is ahead
    speeds = np.geomspace(1, 10_000 ** (2 / d - 1), d // 2)
    ahead = np.repeat([0, np.pi / 2], d // 2)
    return np.sin(np.outer(range(length), np.tile(speeds, 2)) + ahead)


# %% tags=["right"]
def position_table(length, d):  # complex numbers of length 1
    turns = np.exp(1j * np.arange(length)[:, None] * np.exp(-np.log(10_000) * np.arange(0, d, 2) / d))
    return np.hstack([turns.imag, turns.real])


# %% tags=["wrong"]
def position_table(length, d):
    speeds = 10_000.0 ** (-np.arange(d // 2) / d)  # half the exponent
    angles = np.arange(length)[:, None] * speeds
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


# %% tags=["wrong"]
def position_table(length, d):
    speeds = 100.0 ** -np.arange(d // 2)  # right for two and for four numbers
    angles = np.arange(length)[:, None] * speeds
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


# %% tags=["wrong"]
def position_table(length, d):
    speeds = 10_000.0 ** (-2 * np.arange(d // 2) / d)
    angles = np.arange(1, length + 1)[:, None] * speeds  # starts at position 1
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


# %% tags=["wrong"]
def position_table(length, d):
    speeds = 10_000.0 ** (-2 * np.arange(d // 2) / d)
    angles = np.arange(length)[:, None] * speeds
    return np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(length, d)  # in turns: right for two numbers


# %% [markdown]
# Row 0 is zeros and then ones. All rows have the same length, so no position is louder than
# another. Try `position_table(2000, 64)`: are two of its rows ever equal? Never, in any table: the fastest
# hand is back after $2\pi$ places, and no whole number of places is a multiple of that.
#
# ## Experiment: how many numbers does a key need?
#
# A page holds 1,000 words with random keys of $d$ numbers, each of variance 1. The query *equals* the
# key of word 0, so word 0 should be found. How much of the weight does it get? Write `weight_found`:
# make the keys, take the first one as the query, divide the scores by $\sqrt d$, and return the mean
# weight of word 0 over 100 such pages.
#
# *Predict* before you run the check: the weight with $d = 4$, $16$, $64$ and $256$. Only
# the size changes. Then explain what you see. (The score of word 0 is about $d / \sqrt d$, and those of
# the others have variance near 1. Keys differ in length, though, and a long one gets far more than a short one.)


# %% tags=["answer"]
def weight_found(d, words=1000):
    """Returns the mean weight of the word that the query equals."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(0)
    found = []
    for _ in range(100):
        keys = rng.normal(size=(words, d))
        scores = keys @ keys[0] / np.sqrt(d)
        e = np.exp(scores - scores.max())
        found.append(e[0] / e.sum())
    return np.mean(found)
    ### END SOLUTION


# %% tags=["check"]
check(
    weight_found,
    case("4 numbers", 4, expect=between(0.005, 0.014)),
    case("16 numbers", 16, expect=between(0.04, 0.1)),
    case("64 numbers", 64, expect=between(0.45, 0.75)),
    case("256 numbers", 256, expect=between(0.97, 1.0)),
    nudge="Is the query the key of word 0 itself? Are the scores divided by the root of d, once?",
    hint="keys = rng.normal(size=(words, d)); scores = keys @ keys[0] / np.sqrt(d); softmax; the first weight.",
)


# %% tags=["right"]
def weight_found(d, words=1000):  # all scores of a page in a loop over words, one at a time
    rng, total = np.random.default_rng(1), 0.0
    for _ in range(100):
        keys = rng.standard_normal((words, d))
        query = keys[0]
        scores = np.array([query.dot(key) for key in keys]) / d**0.5
        total += 1 / np.exp(scores - scores[0]).sum()
    return total / 100


# %% tags=["right"]
def weight_found(d, words=1000):  # library: Keras, in 32-bit numbers, ten pages at once
    from keras import ops, random

    found = []
    for seed in range(10):
        keys = random.normal((10, words, d), seed=seed)
        scores = ops.einsum("pwd,pd->pw", keys, keys[:, 0]) / d**0.5
        found.append(ops.mean(ops.softmax(scores)[:, 0]))
    return ops.mean(ops.stack(found))


# %% tags=["wrong"]
def weight_found(d, words=1000):
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(words, d))
    e = np.exp(keys @ keys[0] / d)  # divided twice
    return e[0] / e.sum()


# %% tags=["wrong"]
def weight_found(d, words=1000):
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(words, d))
    e = np.exp(keys @ rng.normal(size=d) / np.sqrt(d))  # a query that equals no key
    return e[0] / e.sum()


# %% tags=["wrong"]
def weight_found(d, words=1000):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(100):
        keys = rng.normal(size=(words, d))
        scores = keys @ keys[0]  # not divided: the weights are all or nothing
        e = np.exp(scores - scores.max())
        found.append(e[0] / e.sum())
    return np.mean(found)


# %% tags=["wrong"]
def weight_found(d, words=1000):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(100):
        keys = rng.normal(size=(words, d))
        scores = keys @ keys[0] / np.sqrt(d)
        e = np.exp(scores - scores.max())
        found.append(e.max() / e.sum())  # the largest weight, whichever word has it
    return np.mean(found)


# %% [markdown]
# The right score grows as $\sqrt d$ and the noise does not, so a key of 16 numbers drowns among 1,000
# others, and one of 256 numbers is always found. Size is not the only way: a longer query sharpens the
# choice too, as the factor 6 did in the lesson, and a trained matrix can make one. Try `4 * keys[0]` as the query
# with $d = 16$.
