# %% [markdown]
# # Exercises 17 · GPT
#
# Four exercises and an experiment, each alone. They need NumPy and no training. Where the text says *predict*,
# write your guess down before you run anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: a block
#
# Write the block of this lesson. The stream `x` has the shape (time, dim). `attend` and `dense` are functions of
# such an array, and each of them reads a normalised copy of the stream. The normalisation is the one of one token:
# subtract its mean and divide by $\sqrt{\text{variance} + 10^{-5}}$.
#
# *Predict:* what comes out when both functions return zeros?


# %% tags=["answer"]
def block(x, attend, dense):
    """x: array (time, dim). Returns the stream behind the block, (time, dim)."""

    ### BEGIN SOLUTION
    def norm(x):
        mean = x.mean(axis=-1, keepdims=True)
        return (x - mean) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)

    x = x + attend(norm(x))
    return x + dense(norm(x))
    ### END SOLUTION


# %% tags=["check"]
def nothing(x):
    return np.zeros_like(x)


def same(x):
    return x


def running_sum(x):
    return np.cumsum(x, axis=0)


stream = np.array([[2.0, 4.0, 6.0], [0.0, 3.0, 0.0]])
units = np.array([[-1.2247449, 0, 1.2247449], [-0.7071068, 1.4142136, -0.7071068]])  # the stream, normalised
check(
    block,
    case("both parts say nothing", stream.copy(), nothing, nothing, expect=stream),
    case("attention repeats what it reads", stream.copy(), same, nothing, expect=stream + units, tolerance=1e-4),
    case("the dense part repeats what it reads", stream.copy(), nothing, same, expect=stream + units, tolerance=1e-4),
    case("attention adds up what came before", stream.copy(), running_sum, nothing,
         expect=stream + np.cumsum(units, axis=0), tolerance=1e-4),
    case("both parts", stream.copy(), same, lambda x: 2 * x, expect=stream + 3 * units, tolerance=1e-4),
    case("the second reads what the first added", np.array([[1.0, -1.0, 0.0]]), lambda x: np.ones_like(x) * [0, 0, 3.0],
         same, expect=np.array([[1.0, -1.0, 3.0]]) + np.array([[0.0, -1.2247449, 1.2247449]]), tolerance=1e-4),
    nudge="Follow the stream in the drawing: what does each part read, and what is it added to?",
    hint="Write norm first, along the last axis. The dense part reads a normalised copy of what attention left.",
)  # fmt: skip


# %% tags=["right"]
def block(x, attend, dense):  # loops over tokens
    for part in (attend, dense):
        read = np.empty(x.shape)
        for t, token in enumerate(x):
            mean = sum(token) / len(token)
            variance = sum((token - mean) ** 2) / len(token)
            read[t] = (token - mean) / (variance + 1e-5) ** 0.5
        x = x + part(read)
    return x


# %% tags=["right"]
def block(x, attend, dense):  # library: Keras normalises, in 32-bit numbers
    import keras

    norm = keras.layers.LayerNormalization(epsilon=1e-5)
    x = np.add(x, attend(keras.ops.convert_to_numpy(norm(x))))
    return np.add(x, dense(keras.ops.convert_to_numpy(norm(x))))


# %% tags=["right"]
def block(x, attend, dense):  # library: a fold; the normalised copy by einsum
    from functools import reduce

    def read(x):
        centred = x - np.einsum("td->t", x)[:, None] / x.shape[1]
        return centred / np.sqrt(np.einsum("td,td->t", centred, centred) / x.shape[1] + 1e-5)[:, None]

    return reduce(lambda stream, part: stream + part(read(stream)), (attend, dense), x)


# %% tags=["wrong"]
def block(x, attend, dense):
    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)

    x = norm(x + attend(x))  # the normalisation stands behind the sum
    return norm(x + dense(x))


# %% tags=["wrong"]
def block(x, attend, dense):
    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)

    return x + attend(norm(x)) + dense(norm(x))  # the dense part does not see what attention found


# %% tags=["wrong"]
def block(x, attend, dense):
    def norm(x):
        return (x - x.mean(0, keepdims=True)) / np.sqrt(x.var(0, keepdims=True) + 1e-5)  # over the places

    x = x + attend(norm(x))
    return x + dense(norm(x))


# %% tags=["wrong"]
def block(x, attend, dense):
    def norm(x):
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5)  # one mean for all tokens: right for a single one

    x = x + attend(norm(x))
    return x + dense(norm(x))


# %% [markdown]
# When both say nothing, the stream passes unchanged. A new block disturbs nobody until it has learned something.
#
# ## Exercise 2: who sees the future?
#
# A model gets ids (batch, time) and returns logits (batch, time, vocabulary). Write a test: does any logit change
# at a place *before* a token that was changed? Return True if the model sees the future. The model may see it only
# at some places, so change the tokens one after the other.
#
# *Predict:* a causal model gets a padding mask that is computed from the ids. Can it see the future?


# %% tags=["answer"]
def sees_the_future(model, ids, vocabulary_size):
    """model: function from ids (1, time) to logits (1, time, V). Returns True or False."""
    ### BEGIN SOLUTION
    before = np.asarray(model(ids))
    for place in range(1, ids.shape[1]):
        changed = ids.copy()
        changed[0, place] = (changed[0, place] + 1) % vocabulary_size
        after = np.asarray(model(changed))
        if np.abs(after - before)[0, :place].max() > 1e-6:
            return True
    return False
    ### END SOLUTION


# %% tags=["check"]
table = np.random.default_rng(0).normal(size=(9, 9))


def running_mean(ids):  # causal: the mean of the vectors so far
    return np.cumsum(table[ids], axis=1) / np.arange(1, ids.shape[1] + 1)[:, None]


def mean_of_all(ids):
    return table[ids] + table[ids].mean(axis=1, keepdims=True)


def one_ahead(ids):  # sees the next token, at place 3 alone
    logits = running_mean(ids)
    logits[:, 3] += table[ids[:, 4]]
    return logits


def far_ahead(ids):  # sees the last token, at place 1 alone
    logits = running_mean(ids)
    logits[:, 1] += table[ids[:, -1]]
    return logits


text = np.array([[1, 5, 2, 7, 8, 0]])
check(
    sees_the_future,
    case("a causal model", running_mean, text, 9, expect=False),
    case("no mask at all", mean_of_all, text, 9, expect=True),
    case("one place looks one token ahead", one_ahead, text, 9, expect=True),
    case("one place looks far ahead", far_ahead, text, 9, expect=True),
    case("a model that does not look around", lambda ids: table[ids], text, 9, expect=False),
    nudge="Where may a logit move when token 3 changes, and where may it not? Did you try every token?",
    hint="Change one token, compare the logits before it, and do so for every place but the first.",
)


# %% tags=["right"]
def sees_the_future(model, ids, vocabulary_size):  # all changed texts in one batch
    time = ids.shape[1]
    changed = np.repeat(ids, time, axis=0)
    changed[np.arange(time), np.arange(time)] = (ids[0] + 1) % vocabulary_size
    moved = np.any(np.abs(model(changed) - model(ids)) > 1e-9, axis=-1)  # (changed place, place)
    return np.tril(moved, -1).any()


# %% tags=["right"]
def sees_the_future(model, ids, vocabulary_size):  # other ends: a text with a new rest must begin as before
    rng, known = np.random.default_rng(0), model(ids)
    for place in range(1, ids.shape[1]):
        for _ in range(5):
            rest = rng.integers(vocabulary_size, size=(1, ids.shape[1] - place))
            other = model(np.concatenate([ids[:, :place], rest], axis=1))
            if not np.allclose(other[:, :place], known[:, :place]):
                return True
    return False


# %% tags=["right"]
def sees_the_future(model, ids, vocabulary_size):  # library: any() over a generator, all other tokens tried
    from itertools import product

    def moves(place, token):
        changed = np.where(np.arange(ids.shape[1]) == place, token, ids)
        return not np.array_equal(model(changed)[0, :place].round(6), model(ids)[0, :place].round(6))

    return any(moves(*one) for one in product(range(1, ids.shape[1]), range(vocabulary_size)))


# %% tags=["wrong"]
def sees_the_future(model, ids, vocabulary_size):
    changed = ids.copy()
    changed[0, -1] = (changed[0, -1] + 1) % vocabulary_size  # only the last token
    return bool(np.abs(model(changed) - model(ids))[0, :-1].max() > 1e-6)


# %% tags=["wrong"]
def sees_the_future(model, ids, vocabulary_size):
    changed = ids.copy()
    changed[0, 2] = (changed[0, 2] + 1) % vocabulary_size
    return bool(np.abs(model(changed) - model(ids)).max() > 1e-6)  # its own logit may change


# %% tags=["wrong"]
def sees_the_future(model, ids, vocabulary_size):
    for place in range(1, ids.shape[1]):
        changed = ids.copy()
        changed[0, place] = (changed[0, place] + 1) % vocabulary_size
        if np.abs(model(changed) - model(ids))[0, place - 1].max() > 1e-6:  # the place before it alone
            return True
    return False


# %% [markdown]
# A padding mask hides each key by that key's own id, and the causal mask hides all later keys anyway. So together
# they show nothing of the future. A model that counts its padding and shifts its positions by that number does see
# it, because a later token then changes what stands earlier.
#
# ## Exercise 3: how many parameters?
#
# Count the parameters of a GPT as GPT-2 has it: a table of $V$ tokens, a table of positions, blocks, a last layer
# normalisation, a tied head. A block has four projections $d \times d$ in attention, two matrices $d \times 4d$
# and $4d \times d$, a bias for each of these six, and two layer normalisations with scale and shift.
#
# *Predict:* GPT-2 has 12 blocks of width 768 and 50,257 tokens. Which share stands in its tables?


# %% tags=["answer"]
def parameters(V, context, blocks, d):
    """The number of all trained numbers."""
    ### BEGIN SOLUTION
    attention = 4 * (d * d + d)
    dense = d * 4 * d + 4 * d + 4 * d * d + d
    norms = 2 * 2 * d
    return V * d + context * d + blocks * (attention + dense + norms) + 2 * d
    ### END SOLUTION


# %% tags=["check"]
check(
    parameters,
    case("no block", 10, 4, 0, 2, expect=32),
    case("one block", 10, 4, 1, 2, expect=106),
    case("GPT-2", 50_257, 1_024, 12, 768, expect=124_439_808),
    case("GPT-2, the largest", 50_257, 1_024, 48, 1_600, expect=1_557_611_200),
    nudge="Which of the numbers appear once in the whole model, and which once in every block?",
    hint="Write the tables, one block and the last normalisation as three sums. A tied head costs nothing.",
)
share = (50_257 + 1_024) * 768 / parameters(50_257, 1_024, 12, 768)
print(f"the tables of GPT-2 hold {share:.0%} of its parameters")


# %% tags=["right"]
def parameters(V, context, blocks, d):  # a loop over shapes
    from math import prod

    block = [(d, d), (d,)] * 4 + [(d, 4 * d), (4 * d,), (4 * d, d), (d,)] + [(d,)] * 4
    total = 0
    for shape in [(V, d), (context, d), *block * blocks, (d,), (d,)]:
        total += prod(shape)
    return total


# %% tags=["right"]
def parameters(V, context, blocks, d):  # a formula, as a polynomial in d
    return np.polyval([12 * blocks, 13 * blocks + V + context + 2, 0], d)


# %% tags=["right"]
def parameters(V, context, blocks, d):  # library: arrays that take no room, counted
    def weights(*shape):
        return np.broadcast_to(np.float32(0), shape).size

    inside = sum(weights(rows, columns) + weights(columns) for rows, columns in [(d, d)] * 4 + [(d, 4 * d), (4 * d, d)])
    return weights(V + context, d) + blocks * (inside + weights(2, 2, d)) + weights(2, d)


# %% tags=["wrong"]
def parameters(V, context, blocks, d):
    return V * d + context * d + blocks * 12 * d * d  # no biases, no normalisation


# %% tags=["wrong"]
def parameters(V, context, blocks, d):
    block = 4 * (d * d + d) + 8 * d * d + 5 * d + 4 * d
    return 2 * V * d + context * d + blocks * block + 2 * d  # the head is tied


# %% tags=["wrong"]
def parameters(V, context, blocks, d):
    block = 3 * (d * d + d) + 8 * d * d + 5 * d + 4 * d  # query, key and value, but no projection of the output
    return V * d + context * d + blocks * block + 2 * d


# %% [markdown]
# The printed share is large because GPT-2 is small and its vocabulary is not. In the largest GPT-2 the blocks hold
# nearly everything.
#
# ## Exercise 4: how many days?
#
# A model has `N` weights in its matrices and reads `D` tokens. There are `devices` machines of `peak` FLOPs a
# second each, of which training really gets the share `utilisation`. Return the days of training.
#
# *Predict:* twice as many weights, on twice as many tokens, on four times as many devices. Longer or shorter?


# %% tags=["answer"]
def days_of_training(N, D, devices, peak, utilisation):
    ### BEGIN SOLUTION
    seconds = 6 * N * D / (devices * peak * utilisation)
    return seconds / 86_400
    ### END SOLUTION


# %% tags=["check"]
check(
    days_of_training,
    case("one day", 1e9, 14.4e9, 1, 1e15, 1.0, expect=1.0),
    case("half used", 1e9, 14.4e9, 1, 1e15, 0.5, expect=2.0),
    case("GPT-3 on 1,024 A100", 175e9, 300e9, 1024, 312e12, 0.4, expect=28.530, tolerance=1e-3),
    nudge="How many operations cost one weight and one token in training, forward and backward together?",
    hint="Six operations for each weight and token. A day has 86,400 seconds.",
)
days = days_of_training(7e9, 2e12, 1024, 312e12, 0.4)
print(f"7 thousand million weights, 2 million million tokens, 1,024 A100: {days:.0f} days")


# %% tags=["right"]
class Days:  # steps that can be read one by one
    def __call__(self, N, D, devices, peak, utilisation):
        operations = 0.0
        for per_weight_and_token in (2, 4):  # forward, backward
            operations += per_weight_and_token * N * D
        per_second = devices * peak * utilisation
        return operations / per_second / 60 / 60 / 24


days_of_training = Days()


# %% tags=["right"]
def days_of_training(N, D, devices, peak, utilisation):  # logarithms, which no large number can overflow
    up, down = np.log10([6, N, D]), np.log10([devices, peak, utilisation, 24 * 3600])
    return np.power(10, up.sum() - down.sum())


# %% tags=["right"]
def days_of_training(N, D, devices, peak, utilisation):  # library: exact fractions
    from fractions import Fraction

    N, D, devices, peak, utilisation = map(Fraction, (N, D, devices, peak, utilisation))
    return float(6 * N * D / (devices * peak * utilisation * 86_400))


# %% tags=["wrong"]
def days_of_training(N, D, devices, peak, utilisation):
    return 2 * N * D / (devices * peak * utilisation) / 86_400  # the forward pass alone


# %% tags=["wrong"]
def days_of_training(N, D, devices, peak, utilisation):
    return 6 * N * D * utilisation / (devices * peak) / 86_400


# %% tags=["wrong"]
def days_of_training(N, D, devices, peak, utilisation):
    return 6 * N * D / (devices * peak * utilisation) / 3_600  # hours


# %% [markdown]
# Twice the weights on twice the tokens are four times the operations. On four times the devices that takes as long
# as before, if the devices are used equally well.
#
# ## Experiment: what the plus sign does in a deep network
#
# A network has `depth` parts. Part $i$ multiplies a vector of 64 numbers by a matrix $W_i$ of random numbers with
# mean 0 and standard deviation $0.5 / 8$. With plus signs the slope of a part is the matrix $I + W_i$, without
# them it is $W_i$ alone. The gradient starts at the end as a vector of 64 random numbers, and is multiplied by the
# transposed slope of every part. Write `gradient_left`: the length of the gradient at the beginning divided by its
# length at the end, as the median of 50 such networks.
#
# *Predict* before you run the check: the number for 16 parts, without the plus signs and with them. Then change
# the depth to 64 and predict again. Which of the two grows, and what in the block of this lesson keeps it small?


# %% tags=["answer"]
def gradient_left(depth, plus):
    """plus: True or False. Returns the median of length at the beginning / length at the end."""
    ### BEGIN SOLUTION
    rng, found = np.random.default_rng(0), []
    for _ in range(50):
        gradient = rng.normal(size=64)
        start = np.linalg.norm(gradient)
        for _ in range(depth):
            slope = rng.normal(0, 0.5 / 8, (64, 64)) + (np.eye(64) if plus else 0)
            gradient = slope.T @ gradient
        found.append(np.linalg.norm(gradient) / start)
    return np.median(found)
    ### END SOLUTION


# %% tags=["check"]
check(
    gradient_left,
    case("one part without plus", 1, False, expect=between(0.4, 0.6)),
    case("16 parts without plus", 16, False, expect=between(0.7e-5, 3e-5)),
    case("16 parts with plus", 16, True, expect=between(4.0, 9.0)),
    case("64 parts with plus", 64, True, expect=between(500, 3_000)),
    nudge="By what is the gradient multiplied at one part? Is there one matrix for all parts or one for each?",
    hint="Draw a new matrix for each part. With plus add np.eye(64), not 1. Multiply by slope.T, then compare lengths.",
)
for depth in (4, 16, 64):
    print(
        f"{depth:2d} parts: without plus {gradient_left(depth, False):.1e}, with plus {gradient_left(depth, True):.1f}"
    )


# %% tags=["right"]
def gradient_left(depth, plus):  # all networks at once
    rng = np.random.default_rng(1)
    gradient = rng.normal(size=(50, 64))
    start = np.linalg.norm(gradient, axis=1)
    for _ in range(depth):
        W = rng.normal(0, 1 / 16, (50, 64, 64))
        gradient = np.einsum("nij,ni->nj", W, gradient) + (gradient if plus else 0)
    return np.median(np.linalg.norm(gradient, axis=1) / start)


# %% tags=["right"]
def gradient_left(depth, plus):  # sorted lists; the slope of each part as a matrix of the library
    from statistics import median

    rng, lengths = np.random.default_rng(2), []
    for _ in range(50):
        gradient = first = rng.standard_normal(64)
        for slope in plus * np.eye(64) + rng.standard_normal((depth, 64, 64)) / 16:
            gradient = gradient @ slope
        lengths.append(float(np.sqrt(gradient @ gradient / (first @ first))))
    return median(lengths)


# %% tags=["wrong"]
def gradient_left(depth, plus):
    rng, found = np.random.default_rng(0), []
    for _ in range(50):
        gradient = rng.normal(size=64)
        start = np.linalg.norm(gradient)
        for _ in range(depth):
            gradient = rng.normal(0, 0.5, (64, 64)).T @ gradient  # eight times too large, and no plus
        found.append(np.linalg.norm(gradient) / start)
    return np.median(found)


# %% tags=["wrong"]
def gradient_left(depth, plus):
    rng = np.random.default_rng(0)
    slope = rng.normal(0, 0.5 / 8, (64, 64)) + (1 if plus else 0)  # a plus 1 in every cell is not the identity
    gradient = rng.normal(size=64)
    found = np.linalg.matrix_power(slope.T, depth) @ gradient
    return np.linalg.norm(found) / np.linalg.norm(gradient)


# %% tags=["wrong"]
def gradient_left(depth, plus):
    rng, found = np.random.default_rng(0), []
    for _ in range(50):
        gradient = rng.normal(size=64)
        for _ in range(depth):
            slope = rng.normal(0, 0.5 / 8, (64, 64)) + (np.eye(64) if plus else 0)
            gradient = slope.T @ gradient
        found.append(np.linalg.norm(gradient))  # a length, not a ratio
    return np.median(found)


# %% [markdown]
# Without the plus sign 16 parts leave a hundred-thousandth. With it the gradient survives, but it grows by
# $\sqrt{1.25}$ at every part, which is too much at depth 64. That is why the last matrices of a GPT start smaller,
# divided by $\sqrt{2N}$: then the growth of all parts together stays below a factor of 2.
