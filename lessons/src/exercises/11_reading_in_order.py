# %% [markdown]
# # Exercises 08 · A classifier that reads in order
#
# Five exercises, each alone. Where the text says *predict*, write your guess down before you run
# anything.

# %%
import numpy as np

from kerasllm.course import case, check

# %% [markdown]
# ## Exercise 1: one step of a recurrent network
#
# Write $h_t = \tanh(x_t W + h_{t-1} U + b)$. The shapes: `x` is (batch, input), `h` is
# (batch, units), `W` is (input, units), `U` is (units, units), `b` is (units,).


# %% tags=["answer"]
def rnn_step(x, h, W, U, b):
    """The state after one token, (batch, units)."""
    ### BEGIN SOLUTION
    return np.tanh(x @ W + h @ U + b)
    ### END SOLUTION


# %% tags=["check"]
toy = np.array([[0.0, -2.0], [0.0, 1.0]])
check(
    rnn_step,
    case("the first word, from a state of zeros", np.array([[1.0, 0.0]]), np.zeros((1, 2)),
         np.eye(2), toy, np.zeros(2), expect=np.array([[0.76159416, 0.0]])),
    case("the second word", np.array([[0.0, 1.0]]), np.array([[0.5, 0.0]]), np.eye(2), toy,
         np.zeros(2), expect=np.array([[0.0, 0.0]])),
    case("the bias", np.zeros((1, 2)), np.zeros((1, 2)), np.eye(2), toy, np.array([1.0, -1.0]),
         expect=np.array([[0.76159416, -0.76159416]])),
    case("two texts, three inputs", np.ones((2, 3)), np.zeros((2, 2)), np.full((3, 2), 0.1), toy,
         np.zeros(2), expect=np.full((2, 2), 0.29131261)),
    hint="Two matrix products with @, a sum, and one function of NumPy around it.",
)  # fmt: skip


# %% tags=["wrong"]
def rnn_step(x, h, W, U, b):
    return np.tanh(x @ W + h @ U.T + b)  # U the wrong way round


# %% tags=["wrong"]
def rnn_step(x, h, W, U, b):
    return np.tanh(x @ W + b) + h @ U  # the old state stays outside of tanh


# %% [markdown]
# ## Exercise 2: one step of an LSTM
#
# $[z_i, z_f, z_g, z_o] = x W + h U + b$ in this order. Then $i, f, o$ are sigmoids, $g$ is a
# $\tanh$, the new cell is $f c + i g$, and the new state is $o \tanh(c)$ with the *new* cell.
# Return the pair (h, c). `W` has the shape (input, 4 · units).


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
open_, shut = 50.0, -50.0
check(
    lstm_step,
    case("the step on paper", one, none, 0.5 * one, np.array([[0.0, 1, 1, 0]]), np.zeros((1, 4)),
         np.zeros(4), expect=(np.array([[0.31647610]]), np.array([[0.74632637]]))),
    case("forget all, add nothing", one, none, one, np.array([[shut, shut, 1, 1]]),
         np.zeros((1, 4)), np.zeros(4), expect=(none, none)),
    case("keep all, add nothing, show nothing", one, none, 3 * one,
         np.array([[shut, open_, 1, shut]]), np.zeros((1, 4)), np.zeros(4),
         expect=(none, 3 * one)),
    case("two units, through U and b", np.zeros((1, 1)), np.array([[1.0, 0.0]]), np.zeros((1, 2)),
         np.zeros((1, 8)), np.eye(2, 8, k=4), np.full(8, 50.0) * np.array([1, 1, 1, 1, 0, 0, 1, 1]),
         expect=(np.array([[0.64201491, 0.0]]), np.array([[0.76159416, 0.0]]))),
    hint="np.split(z, 4, axis=-1) gives the four parts; mind which of them has tanh.",
)  # fmt: skip


# %% tags=["wrong"]
def lstm_step(x, h, c, W, U, b):
    i, f, o, g = np.split(x @ W + h @ U + b, 4, axis=-1)  # another order of the gates
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    c = f * c + i * np.tanh(g)
    return o * np.tanh(c), c


# %% tags=["wrong"]
def lstm_step(x, h, c, W, U, b):
    i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=-1)
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    return o * np.tanh(c), f * c + i * np.tanh(g)  # h from the old cell


# %% [markdown]
# ## Exercise 3: the label of a sigmoid output
#
# A model with one sigmoid output gives probabilities of the shape (texts, 1). Return the labels 0
# or 1, with the shape (texts,): 1 where the probability is above 0.5. Predict first what
# `np.argmax(probabilities, axis=1)` gives.


# %% tags=["answer"]
def labels_of(probabilities):
    """The label of each text, integers of shape (texts,)."""
    ### BEGIN SOLUTION
    return (np.asarray(probabilities)[:, 0] > 0.5).astype(int)
    ### END SOLUTION


# %% tags=["check"]
check(
    labels_of,
    case("three texts", np.array([[0.9], [0.1], [0.6]]), expect=np.array([1, 0, 1])),
    case("one text", np.array([[0.7]]), expect=np.array([1])),
    case("all negative", np.array([[0.2], [0.3]]), expect=np.array([0, 0])),
    hint="Take the only column, then compare with the threshold.",
)


# %% tags=["wrong"]
def labels_of(probabilities):
    return np.argmax(probabilities, axis=1)  # the largest of one number is number 0


# %% tags=["wrong"]
def labels_of(probabilities):
    return (probabilities > 0.5).astype(int)  # (texts, 1)


# %% [markdown]
# ## Exercise 4: the maximum that sees no padding
#
# `states` has the shape (batch, time, units), and `ids` the shape (batch, time). Id 0 is padding.
# Return the largest value of each unit over the real tokens, with the shape (batch, units). The
# states of an LSTM can be negative, all of them. Every text has at least one real token.


# %% tags=["answer"]
def masked_max(states, ids):
    """The maximum of each unit over the places whose id is not 0."""
    ### BEGIN SOLUTION
    real = (ids != 0)[:, :, None]  # (batch, time, 1)
    return np.where(real, states, -np.inf).max(axis=1)
    ### END SOLUTION


# %% tags=["check"]
check(
    masked_max,
    case("padding is larger", np.array([[[1.0], [3.0], [9.0]]]), np.array([[5, 6, 0]]),
         expect=np.array([[3.0]])),
    case("all states are negative", np.array([[[-1.0, -5.0], [-2.0, -4.0], [7.0, 7.0]]]),
         np.array([[5, 6, 0]]), expect=np.array([[-1.0, -4.0]])),
    case("NaN in the padding", np.array([[[-1.0], [np.nan]]]), np.array([[3, 0]]),
         expect=np.array([[-1.0]])),
    case("two texts of different length", np.array([[[1.0], [2.0]], [[-3.0], [4.0]]]),
         np.array([[1, 2], [4, 0]]), expect=np.array([[2.0], [-3.0]])),
    hint="Which number can never win a maximum?",
)  # fmt: skip


# %% tags=["wrong"]
def masked_max(states, ids):
    return np.where((ids != 0)[:, :, None], states, 0.0).max(axis=1)  # 0 beats negative states


# %% tags=["wrong"]
def masked_max(states, ids):
    return states.max(axis=1)  # without a mask


# %% [markdown]
# ## Exercise 5: the half-life of a forget gate
#
# A forget gate is $\sigma(b)$ at every step, where $b$ is its bias. After how many steps has the
# cell lost half of what it held? Solve $\sigma(b)^T = 0.5$ for $T$, a real number. Predict first:
# the half-life for $b = 1$, where Keras starts, and the bias that a memory of 70 steps needs.


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
    case("a very open gate, bias 40: mind the rounding", 40.0, expect=lambda steps: None
         if np.isfinite(steps) and abs(steps / 1.6315663e17 - 1) < 1e-3
         else "with a gate near 1 the logarithm loses its digits, or something is divided by 0."),
    hint="Take logarithms on both sides; -log(sigmoid(b)) is log(1 + exp(-b)), see np.log1p.",
)  # fmt: skip
for bias in (0, 1, 2, 4, 6):
    print(f"bias {bias}: half-life {half_life(bias):6.1f} steps")


# %% tags=["wrong"]
def half_life(bias):
    return np.log(2) / -np.log(1 / (1 + np.exp(-bias)))  # 0 / 0 for a very open gate


# %% tags=["wrong"]
def half_life(bias):
    return 0.5 / (1 - 1 / (1 + np.exp(-bias)))  # as if the cell lost the same amount each step


# %% [markdown]
# The half-life grows like $e^b$. So a bias of 1 remembers about two words, and small changes of a
# large bias change the memory a lot. That is why the gates, not the start, do the work.
