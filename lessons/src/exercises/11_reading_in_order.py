# %% [markdown]
# # Exercises 11 · Reading in order
#
# Five exercises and an experiment, each alone. They need NumPy and no training. Where the text says
# *predict*, write your guess down before you run anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: one step of a recurrent network
#
# Write $h_t = \tanh(x_t W + h_{t-1} U + b)$. The shapes: `x` is (batch, input), `h` is (batch, units), `W` is
# (input, units), `U` is (units, units), `b` is (units,).
#
# *Predict:* may two texts of a batch influence each other?


# %% tags=["answer"]
def rnn_step(x, h, W, U, b):
    """The state after one more word, (batch, units)."""
    ### BEGIN SOLUTION
    return np.tanh(x @ W + h @ U + b)
    ### END SOLUTION


# %% tags=["check"]
toy = np.array([[0.0, -2.0], [0.0, 1.0]])  # not symmetric: U and its transpose differ
check(
    rnn_step,
    case("the first word, from a state of zeros", np.array([[1.0, 0.0]]), np.zeros((1, 2)), np.eye(2), toy,
         np.zeros(2), expect=np.array([[0.76159416, 0.0]])),
    case("the second word", np.array([[0.0, 1.0]]), np.array([[0.3, 0.0]]), np.eye(2), toy, np.zeros(2),
         expect=np.array([[0.0, 0.37994896]])),
    case("the bias", np.zeros((1, 2)), np.zeros((1, 2)), np.eye(2), toy, np.array([1.0, -1.0]),
         expect=np.array([[0.76159416, -0.76159416]])),
    case("two texts, three inputs", np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]), np.array([[0.0, 0.1], [0.2, 0.0]]),
         np.array([[0.1, 0.2], [0.3, 0.0], [0.0, 0.1]]), toy, np.zeros(2),
         expect=np.array([[0.09966799, 0.46211716], [0.29131261, -0.37994896]])),
    nudge="Which matrix belongs to the word and which one to the state? Does anything stand outside of tanh?",
    hint="Two matrix products with @, the bias, and np.tanh around the sum of all three.",
)  # fmt: skip


# %% tags=["right"]
def rnn_step(x, h, W, U, b):  # loops over texts and units
    new = np.zeros((len(x), len(b)))
    for text in range(len(x)):
        for unit in range(len(b)):
            score = b[unit]
            for i in range(x.shape[1]):
                score += x[text, i] * W[i, unit]
            for j in range(h.shape[1]):
                score += h[text, j] * U[j, unit]
            new[text, unit] = np.tanh(score)
    return new


# %% tags=["right"]
def rnn_step(x, h, W, U, b):  # one matrix for word, state and bias
    return np.tanh(np.hstack([x, h, np.ones((len(x), 1))]) @ np.vstack([W, U, b]))


# %% tags=["right"]
def rnn_step(x, h, W, U, b):  # library: the cell of Keras, in 32-bit numbers
    import keras

    cell = keras.layers.SimpleRNNCell(len(b))
    cell.build(x.shape)
    cell.set_weights([W, U, b])
    output, _ = cell(x.astype("float32"), [h.astype("float32")])
    return output


# %% tags=["wrong"]
def rnn_step(x, h, W, U, b):
    return np.tanh(x @ W + h @ U.T + b)  # U the wrong way round


# %% tags=["wrong"]
def rnn_step(x, h, W, U, b):
    return np.tanh(x @ W + b) + h @ U  # the old state stays outside of tanh


# %% tags=["wrong"]
def rnn_step(x, h, W, U, b):
    return np.tanh(x @ W + h @ U)  # without the bias


# %% tags=["wrong"]
def rnn_step(x, h, W, U, b):
    return np.tanh(x @ W + b + np.sum(U * h, axis=1))  # a product number by number: right where U is diagonal


# %% [markdown]
# No. Each row of a batch has a state of its own; the texts share the weights alone.
#
# ## Exercise 2: one step of an LSTM
#
# $[z_i, z_f, z_g, z_o] = x W + h U + b$ in this order, cut into four equal parts. Then $i, f, o$ are
# sigmoids, $g$ is a $\tanh$, the new cell is $f c + i g$, and the new state is $o \tanh(c)$ with the *new*
# cell. Return the pair (h, c). `W` has the shape (input, 4 · units).
#
# *Predict:* which two gates must be 1 and 0, so that the cell stays exactly as it was?


# %% tags=["answer"]
def lstm_step(x, h, c, W, U, b):
    """The new h and the new c, (batch, units) each."""
    ### BEGIN SOLUTION
    z = x @ W + h @ U + b  # (batch, 4 * units)
    i, f, g, o = np.split(z, 4, axis=-1)
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    c = f * c + i * np.tanh(g)
    return o * np.tanh(c), c
    ### END SOLUTION


# %% tags=["check"]
one, none = np.ones((1, 1)), np.zeros((1, 1))
wide, shut = 50.0, -50.0
check(
    lstm_step,
    case("the step on paper", one, none, 0.5 * one, np.array([[0.0, 1, 1, 0]]), np.zeros((1, 4)), np.zeros(4),
         expect=(np.array([[0.31647610]]), np.array([[0.74632637]]))),
    case("forget all, add nothing", one, none, one, np.array([[shut, shut, 1, 1]]), np.zeros((1, 4)), np.zeros(4),
         expect=(none, none)),
    case("keep all, add nothing, show nothing", one, none, 3 * one, np.array([[shut, wide, 1, shut]]),
         np.zeros((1, 4)), np.zeros(4), expect=(none, 3 * one)),
    case("two units, through U and b", np.zeros((1, 1)), np.array([[1.0, 0.0]]), np.zeros((1, 2)), np.zeros((1, 8)),
         np.eye(2, 8, k=4), np.full(8, 50.0) * np.array([1, 1, 1, 1, 0, 0, 1, 1]),
         expect=(np.array([[0.64201491, 0.0]]), np.array([[0.76159416, 0.0]]))),
    nudge="Which of the four parts has tanh in place of a sigmoid? Is the state made from the old cell or the new one?",
    hint="np.split(z, 4, axis=-1) gives i, f, g, o. First c = f * c + i * tanh(g), then h = o * tanh(c).",
)  # fmt: skip


# %% tags=["right"]
def lstm_step(x, h, c, W, U, b):  # a loop over units, floats
    from math import exp, tanh

    z, units = (x @ W + h @ U + b).tolist(), c.shape[1]
    new_h, new_c = np.empty(c.shape), np.empty(c.shape)
    for text, row in enumerate(z):
        for n in range(units):
            i, f, o = (1 / (1 + exp(-row[n + part * units])) for part in (0, 1, 3))
            new_c[text, n] = f * c[text, n] + i * tanh(row[n + 2 * units])
            new_h[text, n] = o * tanh(new_c[text, n])
    return [new_h, new_c]


# %% tags=["right"]
def lstm_step(x, h, c, W, U, b):  # arrays: the four parts as an axis, the sigmoid as a tanh
    z = np.moveaxis((np.c_[x, h] @ np.r_[W, U] + b).reshape(len(x), 4, -1), 1, 0)
    i, f, _, o = 0.5 + 0.5 * np.tanh(z / 2)
    c = c * f + np.tanh(z[2]) * i
    return np.array([o * np.tanh(c), c])


# %% tags=["right"]
def lstm_step(x, h, c, W, U, b):  # library: the cell of Keras, in 32-bit numbers
    import keras

    cell = keras.layers.LSTMCell(c.shape[1])
    cell.build(x.shape)
    cell.set_weights([W, U, b])
    _, (h, c) = cell(x.astype("float32"), [h.astype("float32"), c.astype("float32")])
    return h, c


# %% tags=["wrong"]
def lstm_step(x, h, c, W, U, b):
    i, f, o, g = np.split(x @ W + h @ U + b, 4, axis=-1)  # another order of the parts
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    c = f * c + i * np.tanh(g)
    return o * np.tanh(c), c


# %% tags=["wrong"]
def lstm_step(x, h, c, W, U, b):
    i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=-1)
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    return o * np.tanh(c), f * c + i * np.tanh(g)  # h from the old cell


# %% tags=["wrong"]
def lstm_step(x, h, c, W, U, b):
    z = (x @ W + h @ U + b).reshape(len(x), -1, 4)  # right for one unit only: takes every fourth number
    i, f, g, o = np.moveaxis(z, -1, 0)
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    c = f * c + i * np.tanh(g)
    return o * np.tanh(c), c


# %% [markdown]
# The forget gate 1 and the input gate 0. The output gate does not touch the cell.
#
# ## Exercise 3: three words at a time
#
# Write the convolution of one text. `x` is (time, dim), `kernel` is (3, dim, filters): `kernel[0]` meets the
# word before, `kernel[1]` the word itself, `kernel[2]` the word after. Beyond the ends stand zeros. Return
# (time, filters), without an activation and without a bias.
#
# *Predict:* how many words of a text can influence the result at one place, when two such layers stand on
# each other?


# %% tags=["answer"]
def convolution(x, kernel):
    """The result at each word, (time, filters)."""
    ### BEGIN SOLUTION
    wide = np.pad(x, [(1, 1), (0, 0)])  # (time + 2, dim)
    return sum(wide[k : k + len(x)] @ kernel[k] for k in range(3))
    ### END SOLUTION


# %% tags=["check"]
ramp = np.array([[1.0], [10.0], [100.0], [1000.0]])  # four words of one number
check(
    convolution,
    case("the word itself", ramp, np.array([[[0.0]], [[1.0]], [[0.0]]]), expect=ramp),
    case("the word before", ramp, np.array([[[1.0]], [[0.0]], [[0.0]]]), expect=np.array([[0.0], [1], [10], [100]])),
    case("three different numbers", ramp, np.array([[[2.0]], [[3.0]], [[5.0]]]),
         expect=np.array([[53.0], [532], [5320], [3200]])),
    case("two numbers a word, three filters", np.array([[1.0, 2.0], [3.0, 4.0]]), np.arange(18.0).reshape(3, 2, 3),
         expect=np.array([[120.0, 130, 140], [60, 70, 80]])),
    case("one word", np.array([[2.0]]), np.array([[[7.0]], [[3.0]], [[5.0]]]), expect=np.array([[6.0]])),
    case("numbers below zero stay", ramp, np.array([[[0.0]], [[-1.0]], [[0.0]]]), expect=-ramp),
    nudge="Which words stand beside the first one and the last one? Does kernel[0] meet the word before or after?",
    hint="Pad one row of zeros above and below; then padded[k : k + time] @ kernel[k], summed over k = 0, 1, 2.",
)  # fmt: skip


# %% tags=["right"]
def convolution(x, kernel):  # loops
    result = np.zeros((len(x), kernel.shape[2]))
    for place in range(len(x)):
        for k in (-1, 0, 1):
            if 0 <= place + k < len(x):
                result[place] += x[place + k] @ kernel[k + 1]
    return result


# %% tags=["right"]
def convolution(x, kernel):  # windows and einsum
    wide = np.concatenate([0 * x[:1], x, 0 * x[:1]])
    windows = np.lib.stride_tricks.sliding_window_view(wide, 3, axis=0)  # (time, dim, 3)
    return np.einsum("tdk,kdf->tf", windows, kernel)


# %% tags=["right"]
def convolution(x, kernel):  # library: Keras, in 32-bit numbers
    from keras import ops

    return ops.conv(x[None].astype("float32"), kernel.astype("float32"), padding="same")[0]


# %% tags=["wrong"]
def convolution(x, kernel):
    wide = np.pad(x, [(1, 1), (0, 0)])
    return sum(wide[k : k + len(x)] @ kernel[2 - k] for k in range(3))  # the kernel turned round, as in mathematics


# %% tags=["wrong"]
def convolution(x, kernel):
    return sum(np.roll(x, 1 - k, axis=0) @ kernel[k] for k in range(3))  # the last word stands before the first


# %% tags=["wrong"]
def convolution(x, kernel):
    wide = np.pad(x, [(1, 1), (0, 0)])
    return np.maximum(sum(wide[k : k + len(x)] @ kernel[k] for k in range(3)), 0)  # with an activation


# %% tags=["wrong"]
def convolution(x, kernel):
    wide = np.pad(x, [(2, 0), (0, 0)])  # looks back only
    return sum(wide[k : k + len(x)] @ kernel[k] for k in range(3))


# %% [markdown]
# Five: the second layer reads three results, and the outer two of them have read one word further each.
#
# ## Exercise 4: the last state of a padded text
#
# `states` is (batch, time, units), and `ids` is (batch, time). Padding has the id 0 and stands on the right.
# Return for each text the state at its last real word: (batch, units). Every text has at least one word.
#
# *Predict:* for which texts is `states[:, -1]` right?


# %% tags=["answer"]
def last_state(states, ids):
    """The state at the last word whose id is not 0."""
    ### BEGIN SOLUTION
    last = (np.asarray(ids) != 0).sum(axis=1) - 1  # (batch,)
    return states[np.arange(len(states)), last]
    ### END SOLUTION


# %% tags=["check"]
numbers = np.arange(24.0).reshape(2, 4, 3)  # two texts, four places, three units
check(
    last_state,
    case("no padding", numbers, np.array([[5, 6, 7, 8], [1, 2, 3, 4]]), expect=numbers[:, 3]),
    case("texts of different length", numbers, np.array([[5, 6, 0, 0], [1, 2, 3, 0]]),
         expect=np.array([[3.0, 4, 5], [18, 19, 20]])),
    case("a text of one word", numbers[:1], np.array([[9, 0, 0, 0]]), expect=np.array([[0.0, 1, 2]])),
    case("more texts than places", np.arange(6.0).reshape(3, 2, 1), np.array([[4, 0], [4, 4], [4, 0]]),
         expect=np.array([[0.0], [3], [4]])),
    nudge="How many real words has each text? At which place, counted from 0, does the last one stand?",
    hint="last = (ids != 0).sum(axis=1) - 1, then states[np.arange(batch), last].",
)  # fmt: skip


# %% tags=["right"]
def last_state(states, ids):  # a loop over texts
    found = []
    for text, row in zip(states, ids, strict=True):
        state = None
        for vector, i in zip(text, row, strict=True):
            if i != 0:
                state = vector
        found.append(state)
    return found


# %% tags=["right"]
def last_state(states, ids):  # the last place of a word, found from the end
    last = ids.shape[1] - 1 - np.argmax((ids != 0)[:, ::-1], axis=1)
    return np.take_along_axis(states, last[:, None, None], axis=1)[:, 0]


# %% tags=["right"]
def last_state(states, ids):  # weights of 0 and 1: a word whose neighbour on the right is padding
    real = np.pad(np.not_equal(ids, 0), [(0, 0), (0, 1)]).astype(float)
    return np.einsum("btu,bt->bu", states, real[:, :-1] - real[:, 1:])


# %% tags=["wrong"]
def last_state(states, ids):
    return states[:, -1]  # the state after the padding


# %% tags=["wrong"]
def last_state(states, ids):
    last = (ids != 0).sum(axis=1).max() - 1  # one length for all texts
    return states[:, last]


# %% tags=["wrong"]
def last_state(states, ids):
    last = (ids != 0).sum(axis=1)  # one place too far
    return states[np.arange(len(states)), np.minimum(last, states.shape[1] - 1)]


# %% tags=["wrong"]
def last_state(states, ids):
    last = (ids != 0).sum(axis=0) - 1  # counts along the other axis: the shapes fit where the batch is square
    return states[np.arange(len(states)), last[: len(states)]]


# %% [markdown]
# For texts that fill their row, or when a mask told the layer to keep its state over the padding.
#
# ## Exercise 5: the half-life of a forget gate
#
# A forget gate is $\sigma(b)$ at every step, where $b$ is its bias. After how many steps has the cell lost
# half of what it held? Solve $\sigma(b)^T = 0.5$ for $T$, a real number.
#
# *Predict:* the half-life for $b = 1$, where Keras starts, and the bias that a memory of 70 steps needs.


# %% tags=["answer"]
def half_life(bias):
    """Steps until half of the cell is left."""
    ### BEGIN SOLUTION
    return np.log(2) / np.log1p(np.exp(-bias))
    ### END SOLUTION


# %% tags=["check"]
check(
    half_life,
    case("bias 0: half is lost in each step", 0.0, expect=1.0),
    case("bias 1, where Keras starts", 1.0, expect=2.2126778, tolerance=1e-5),
    case("bias 4", 4.0, expect=38.190079, tolerance=1e-4),
    case("bias -1: a gate that is nearly shut", -1.0, expect=0.5278025, tolerance=1e-5),
    nudge="Take logarithms on both sides. Which sign has the logarithm of a number below 1?",
    hint="T = log(0.5) / log(sigmoid(b)), and log(sigmoid(b)) is -log(1 + exp(-b)).",
)
for bias in (0, 1, 2, 4, 4.6, 6):
    print(f"bias {bias:3.1f}: half-life {half_life(bias):6.1f} steps")


# %% tags=["right"]
def half_life(bias):  # a loop: steps until less than half is left, then the part of the last step
    from math import exp, log

    kept, left, steps = 1 / (1 + exp(-bias)), 1.0, 0
    while left * kept > 0.5:
        left *= kept
        steps += 1
    return steps + log(0.5 / left) / log(kept)


# %% tags=["right"]
def half_life(bias):  # library: the logarithm of a sigmoid, to the base of one half
    from scipy.special import log_expit

    return -1 / np.divide(log_expit(bias), np.log(2))


# %% tags=["right"]
def half_life(bias):  # library: the solution is searched
    from scipy.optimize import brentq

    kept = 1 / (1 + np.exp(-bias))
    return brentq(lambda steps: kept**steps - 0.5, 0, 1e4, xtol=1e-10)


# %% tags=["wrong"]
def half_life(bias):
    return np.log(2) / np.log1p(np.exp(bias))  # the sign of the bias


# %% tags=["wrong"]
def half_life(bias):
    return 0.5 / (1 - 1 / (1 + np.exp(-bias)))  # as if the cell lost the same amount in each step


# %% tags=["wrong"]
def half_life(bias):
    return -np.log(0.5) / (1 - 1 / (1 + np.exp(-bias)))  # log(f) is about f - 1, but only near 1


# %% [markdown]
# The half-life grows like $e^b$. A bias of 1 remembers about two words, and 70 steps need a bias of about
# 4.6.
#
# ## Experiment: how large may the weights of the state be?
#
# An RNN of 32 units starts with $U$ = `scale` times a rotation, and reads random words. Write `what_is_left`:
# the size of the gradient of the state after `steps` words with respect to the state before them. Make
# `rng = np.random.default_rng(0)`, the rotation `np.linalg.qr(rng.normal(size=(32, 32)))[0]`, a state $h$ of
# zeros and the matrix $J$ = `np.eye(32)`. In each step $h$ becomes $\tanh(\text{word} + h U)$ with a new word
# `rng.normal(0, 0.2, 32)`, and the chain rule multiplies $J$ from the right by $U$ whose columns are
# multiplied by $1 - h^2$. Return the root of the mean of $J^2$, times $\sqrt{32}$: it is 1 for a rotation.
#
# *Predict* before you run the check what is left after 50 steps with the scales 0.5, 1 and 2: nothing, about
# 1, or far more than 1? Only the scale changes. Then explain the third result: what holds the state of a
# large $U$ back?


# %% tags=["answer"]
def what_is_left(scale, steps=50):
    """Size of the gradient of the last state by the first one."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(0)
    U = scale * np.linalg.qr(rng.normal(size=(32, 32)))[0]
    h, J = np.zeros(32), np.eye(32)
    for _ in range(steps):
        h = np.tanh(rng.normal(0, 0.2, 32) + h @ U)
        J = J @ (U * (1 - h**2))
    return np.sqrt(np.mean(J**2)) * np.sqrt(32)
    ### END SOLUTION


# %% tags=["check"]
check(
    what_is_left,
    case("one step, half a rotation", 0.5, 1, expect=between(0.4, 0.5)),
    case("three steps, twice a rotation", 2.0, 3, expect=4.3207691, tolerance=1e-3),
    case("scale 0.5", 0.5, expect=between(1e-18, 1e-14)),
    case("scale 1", 1.0, expect=between(1e-6, 0.3)),
    case("scale 2", 2.0, expect=between(30.0, 1e8)),
    nudge="Is h the new state when you take the slope 1 - h²? Is the scale in U, both for the state and for J?",
    hint="h = np.tanh(word + h @ U), then J = J @ (U * (1 - h**2)); at the end np.sqrt(np.mean(J**2)) * np.sqrt(32).",
)
for scale in (0.5, 1, 2):
    print(f"scale {scale}: {what_is_left(scale):.1e} is left after 50 steps, {scale}^50 is {scale**50:.1e}")


# %% tags=["right"]
def what_is_left(scale, steps=50):  # a loop over directions: the state's change, followed through every step
    rng = np.random.default_rng(0)
    U = scale * np.linalg.qr(rng.normal(size=(32, 32)))[0]
    h, changes = np.zeros(32), [np.eye(32)[i] for i in range(32)]
    for _ in range(steps):
        h = np.tanh(rng.normal(0, 0.2, 32) + U.T @ h)
        changes = [(change @ U) * (1 - h * h) for change in changes]
    return np.linalg.norm(changes) / 32**0.5


# %% tags=["right"]
def what_is_left(scale, steps=50):  # all words and states first, then one product of matrices; the slope as 1 / cosh²
    rng = np.random.default_rng(0)
    U = scale * np.linalg.qr(rng.normal(size=(32, 32)))[0]
    scores, words = [np.zeros(32)], rng.normal(0, 0.2, (steps, 32))
    for word in words:
        scores.append(word + np.tanh(scores[-1]) @ U)
    J = np.linalg.multi_dot([np.eye(32), np.eye(32), *(U @ np.diag(np.cosh(score) ** -2.0) for score in scores[1:])])
    return float(np.sqrt(np.trace(J.T @ J) / 32))


# %% tags=["wrong"]
def what_is_left(scale, steps=50):
    rng = np.random.default_rng(0)
    U = scale * np.linalg.qr(rng.normal(size=(32, 32)))[0]
    J = np.eye(32)
    for _ in range(steps):
        J = J @ U  # forgets the slope of tanh
    return np.sqrt(np.mean(J**2)) * np.sqrt(32)


# %% tags=["wrong"]
def what_is_left(scale, steps=50):
    rng = np.random.default_rng(0)
    U = scale * np.linalg.qr(rng.normal(size=(32, 32)))[0]
    h, J = np.zeros(32), np.eye(32)
    for _ in range(steps):
        J = J @ (U * (1 - h**2))  # the slope at the old state
        h = np.tanh(rng.normal(0, 0.2, 32) + h @ U)
    return np.sqrt(np.mean(J**2)) * np.sqrt(32)


# %% tags=["wrong"]
def what_is_left(scale, steps=50):
    rng = np.random.default_rng(0)
    U = scale * np.linalg.qr(rng.normal(size=(32, 32)))[0]
    h, J = np.zeros(32), np.eye(32)
    for _ in range(steps):
        h = np.tanh(rng.normal(0, 0.2, 32) + h @ U)
        J = J @ (U.T * (1 - h**2))  # U the wrong way round
    return np.sqrt(np.mean(J**2)) * np.sqrt(32)


# %% tags=["wrong"]
def what_is_left(scale, steps=50):
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.normal(size=(32, 32)))[0]  # forgets the scale
    h, J = np.zeros(32), np.eye(32)
    for _ in range(steps):
        h = np.tanh(rng.normal(0, 0.2, 32) + h @ U)
        J = J @ (U * (1 - h**2))
    return np.sqrt(np.mean(J**2)) * np.sqrt(32)


# %% [markdown]
# Half a rotation halves the gradient in every step. A whole one loses a little each time, since the slope of
# $\tanh$ is below 1. With twice a rotation the gradient explodes, although much more slowly than $2^{50}$,
# about $10^{15}$: large states have small slopes, and so hold it back. Cutting gradients to a largest length
# (lesson 05) helps against the third case. Nothing brings a vanished gradient back.
