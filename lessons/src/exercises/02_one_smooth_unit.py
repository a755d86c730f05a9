# %% [markdown]
# # Exercises 02 · One smooth unit
#
# Five exercises and an experiment, each alone. Write your answer in place of
# `raise NotImplementedError`, run the cell, then run the check below it. Where the text says
# *predict*, write your guess down before you run anything.

# %%
import keras
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: the loss, from scores
#
# Write the cross-entropy of a unit from its scores (not its probabilities) and the labels 0 and 1:
# the mean over the rows of $\ln(1 + e^s) - y s$. It must survive scores of 1,000 and $-1{,}000$, and
# it must not warn.
#
# *Predict:* the loss of a single row with the score 1,000 and the label 0.


# %% tags=["answer"]
def cross_entropy(scores, labels):
    """scores (rows,), labels (rows,) of 0 and 1. Returns one number."""
    ### BEGIN SOLUTION
    return np.mean(np.logaddexp(0, scores) - labels * scores)
    ### END SOLUTION


# %% tags=["check"]
check(
    cross_entropy,
    case("a score of 0", np.array([0.0]), np.array([1]), expect=np.log(2)),
    case("three rows", np.log([9, 1.5, 0.25]), np.array([1, 1, 0]), expect=-np.log(0.9 * 0.6 * 0.8) / 3),
    case("certain and right", np.array([1000.0, -1000.0]), np.array([1, 0]), expect=0.0),
    case("certain and wrong", np.array([1000.0, -1000.0]), np.array([0, 1]), expect=1000.0),
    case("half of it wrong", np.array([1000.0, 1000.0, 0, 0]), np.array([0, 1, 0, 1]), expect=250 + np.log(2) / 2),
    nudge="Which part of the formula is too large for a computer when the score is 1,000? How large is the whole?",
    hint="ln(1 + e^s) is ln(e^0 + e^s), and np.logaddexp(0, s) computes it without e^s. Then take the mean.",
)  # fmt: skip


# %% tags=["right"]
def cross_entropy(scores, labels):  # a loop over floats; for a positive score e^-s is the small one
    from math import exp, log1p

    total = 0.0
    for s, y in zip(scores, labels, strict=True):
        total += max(s, 0.0) + log1p(exp(-abs(s))) - y * s
    return total / len(scores)


# %% tags=["right"]
def cross_entropy(scores, labels):  # Keras has it, from scores
    targets, outputs = np.reshape(labels, (-1, 1)).astype("float64"), np.reshape(scores, (-1, 1))
    return keras.ops.mean(keras.losses.binary_crossentropy(targets, outputs, from_logits=True))


# %% tags=["right"]
def cross_entropy(scores, labels):  # softplus of the score on the wrong side
    return keras.ops.mean(keras.ops.softplus(np.where(labels == 1, -scores, scores)))


# %% tags=["wrong"]
def cross_entropy(scores, labels):
    p = 1 / (1 + np.exp(-scores))
    return -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p))  # infinite where it is certain


# %% tags=["wrong"]
def cross_entropy(scores, labels):
    return np.sum(np.logaddexp(0, scores) - labels * scores)  # not the mean


# %% tags=["wrong"]
def cross_entropy(scores, labels):
    return np.mean(np.logaddexp(0, -labels * scores))  # right for labels +1 and -1


# %% [markdown]
# It is 1,000: the loss of a row that is certain and wrong grows like its score. It never jumps to
# infinity.
#
# ## Exercise 2: the gradient
#
# Write the gradient of the cross-entropy. `X` has the shape (rows, features) and holds a constant 1
# in its last column, so that the bias is the last weight. `y` holds 0 and 1.
#
# *Predict:* for which rows is the contribution to the gradient the largest?


# %% tags=["answer"]
def gradient(w, X, y):
    """Returns the slope of the mean loss by each weight: (features,)."""
    ### BEGIN SOLUTION
    p = 1 / (1 + np.exp(-X @ w))  # (rows,)
    return (p - y) @ X / len(y)
    ### END SOLUTION


# %% tags=["check"]
two = np.array([[2.0, 1.0], [4.0, 1.0]])
three = np.array([[1.0, 2.0, 1.0], [0.0, -1.0, 1.0], [3.0, 0.0, 1.0], [-1.0, 1.0, 1.0]])
check(
    gradient,
    case("one row", np.zeros(2), np.array([[3.0, 1.0]]), np.array([1.0]), expect=np.array([-1.5, -0.5])),
    case("two rows", np.zeros(2), two, np.array([0.0, 1.0]), expect=np.array([-0.5, 0.0])),
    case("four rows of three", np.array([np.log(3), 0, 0]), three, np.array([1, 0, 1, 0]),
         expect=np.array([-0.151786, -0.1875, 0.116071]), tolerance=1e-4),
    case("the weights matter", np.array([np.log(2), 0]), np.array([[1.0, 1], [2, 1], [0, 1]]), np.array([0, 0, 1]),
         expect=np.array([(2 / 3 + 2 * 0.8) / 3, (2 / 3 + 0.8 - 0.5) / 3])),
    nudge="What is the slope of one row by its score? Which shape must the result have: rows or features?",
    hint="(p - y) holds one number a row. Multiply each by its row of X, and take the mean over the rows.",
)  # fmt: skip


# %% tags=["right"]
def gradient(w, X, y):  # a loop over rows
    total = np.zeros(len(w))
    for x, label in zip(X, y, strict=True):
        total += (1 / (1 + np.exp(-np.dot(x, w))) - label) * x
    return total / len(X)


# %% tags=["right"]
def gradient(w, X, y):  # library: expit and einsum; a mean over the rows
    from scipy.special import expit

    return np.einsum("r,rf->f", expit(X @ w) - y, X) / X.shape[0]


# %% tags=["right"]
def gradient(w, X, y):  # the row's slope as a column
    return np.mean((keras.ops.convert_to_numpy(keras.ops.sigmoid(X @ w)) - y)[:, np.newaxis] * X, axis=0)


# %% tags=["wrong"]
def gradient(w, X, y):
    p = 1 / (1 + np.exp(-X @ w))
    return (y - p) @ X / len(y)  # uphill


# %% tags=["wrong"]
def gradient(w, X, y):
    p = 1 / (1 + np.exp(-X @ w))
    return (p - y) @ X / X.shape[1]  # the mean over the wrong axis; right where X is square


# %% tags=["wrong"]
def gradient(w, X, y):
    p = 1 / (1 + np.exp(-X @ w))
    return (p - y) * p * (1 - p) @ X / len(y)  # the slope of a squared error


# %% [markdown]
# Rows that are certain and wrong, for $p - y$ is near 1 there, and rows with large inputs. A row that
# is certain and right contributes almost nothing. The perceptron listened to mistakes alone; this is
# its softer form.
#
# ## Exercise 3: cut into batches
#
# Write `batches`: given an order of row numbers and a size, return a list of arrays. Every row stands
# in exactly one batch, the order is kept, and the last batch may be shorter.
#
# *Predict:* how many steps does one pass over 426 rows make with a size of 32?


# %% tags=["answer"]
def batches(order, size):
    """order: array of row numbers. Returns a list of arrays."""
    ### BEGIN SOLUTION
    return [order[start : start + size] for start in range(0, len(order), size)]
    ### END SOLUTION


# %% tags=["check"]
def are(*wanted):
    def look(result):
        try:
            got = [list(map(int, part)) for part in result]
        except TypeError:
            return "it is not a list of arrays of row numbers."
        if [row for part in got for row in part] != [row for part in wanted for row in part]:
            return "the rows are not all there once, in their order."
        return None if got == [list(part) for part in wanted] else "the cuts stand at other places."

    return look


check(
    batches,
    case("no remainder", np.array([3, 0, 1, 2]), 2, expect=are([3, 0], [1, 2])),
    case("a remainder", np.array([4, 2, 0, 1, 3]), 2, expect=are([4, 2], [0, 1], [3])),
    case("size 1", np.array([1, 0]), 1, expect=are([1], [0])),
    case("larger than the data", np.array([1, 2, 0]), 5, expect=are([1, 2, 0])),
    case("three of seven", np.arange(7), 3, expect=are([0, 1, 2], [3, 4, 5], [6])),
    nudge="Which rows are in the first batch, and where does the second one start?",
    hint="range(0, len(order), size) gives the starts; order[start : start + size] is one batch.",
)


# %% tags=["right"]
def batches(order, size):  # a loop that takes and drops
    left, found = list(order), []
    while left:
        found.append(left[:size])
        left = left[size:]
    return found


# %% tags=["right"]
def batches(order, size):  # library: the places of the cuts
    return np.split(order, range(size, len(order), size))


# %% tags=["right"]
def batches(order, size):  # a generator
    for start in range(0, len(order), size):
        yield order[start : start + size]


# %% tags=["wrong"]
def batches(order, size):
    return [order[i * size : (i + 1) * size] for i in range(len(order) // size)]  # loses the last one


# %% tags=["wrong"]
def batches(order, size):
    return np.array_split(order, size)  # `size` batches instead of batches of that size


# %% tags=["wrong"]
def batches(order, size):
    return [np.arange(start, min(start + size, len(order))) for start in range(0, len(order), size)]  # not shuffled


# %% [markdown]
# 14 steps: 13 with 32 rows, and one with the 10 that are left.
#
# ## Exercise 4: the limit of the rate
#
# Write `limit`: 2 divided by the largest curvature of the cross-entropy at the weights `w`. The table
# of curvatures is the mean over the rows of $p(1 - p)\, x_j x_k$.
#
# *Predict:* all inputs become ten times as large, and the weights ten times as small. What happens to
# the limit?


# %% tags=["answer"]
def limit(w, X):
    """w (features,), X (rows, features) with the constant 1 inside. Returns one number."""
    ### BEGIN SOLUTION
    p = 1 / (1 + np.exp(-X @ w))
    table = (X.T * p * (1 - p)) @ X / len(X)  # (features, features)
    return 2 / np.linalg.eigvalsh(table)[-1]
    ### END SOLUTION


# %% tags=["check"]
across = np.array([[3.0, 0.0], [0.0, 1.0]])
check(
    limit,
    case("one row, one weight", np.zeros(1), np.array([[1.0]]), expect=8.0),
    case("ten times the input", np.zeros(1), np.array([[10.0]]), expect=0.08),
    case("the same row four times", np.zeros(1), np.ones((4, 1)), expect=8.0),
    case("two directions", np.zeros(2), across, expect=16 / 9),
    case("clear cases", np.array([0.0, np.log(4)]), np.array([[0.0, 1.0], [0.0, -1.0]]), expect=2 / 0.16),
    case("directions that mix", np.zeros(2), np.array([[1.0, 1.0], [1.0, 1.0], [1.0, -1.0]]), expect=6.0),
    nudge="At w = 0 every p is one half. What is the curvature of one row with a single input of 1?",
    hint="(X.T * p * (1 - p)) @ X / len(X) is the table; np.linalg.eigvalsh sorts, so the last is the largest.",
)


# %% tags=["right"]
def limit(w, X):  # loops for the table, then all eigenvalues
    table = np.zeros((len(w), len(w)))
    for x in X:
        p = 1 / (1 + np.exp(-np.dot(x, w)))
        table += p * (1 - p) * np.outer(x, x)
    return 2 * len(X) / max(np.linalg.eigvals(table).real)


# %% tags=["right"]
def limit(w, X):  # the largest singular value of the rows, each times the root of its curvature
    p = 1 / (1 + np.exp(-X @ w))
    return 2 / (np.linalg.norm(np.sqrt(p * (1 - p) / len(X))[:, None] * X, 2) ** 2)


# %% tags=["right"]
def limit(w, X):  # the power method, with a library's sigmoid
    p = keras.ops.convert_to_numpy(keras.ops.sigmoid(np.asarray(X @ w, "float64")))
    table = np.einsum("r,rj,rk->jk", p * (1 - p), X, X) / X.shape[0]
    v = np.linspace(1, 2, len(w))
    for _ in range(500):
        v = table @ v / np.linalg.norm(table @ v)
    return 2 / (v @ table @ v)


# %% tags=["wrong"]
def limit(w, X):
    return 2 / np.linalg.eigvalsh(X.T @ X / len(X))[-1]  # forgets p (1 - p)


# %% tags=["wrong"]
def limit(w, X):
    p = 1 / (1 + np.exp(-X @ w))
    return 2 / np.linalg.eigvalsh((X.T * p * (1 - p)) @ X / len(X))[0]  # the smallest; right with one weight


# %% tags=["wrong"]
def limit(w, X):
    p = 1 / (1 + np.exp(-X @ w))
    return 2 / np.max(np.mean((p * (1 - p))[:, None] * X**2, axis=0))  # only along the axes


# %% tags=["wrong"]
def limit(w, X):
    p = 1 / (1 + np.exp(-X @ w))
    return 2 / np.linalg.eigvalsh((X.T * p * (1 - p)) @ X / len(w))[-1]  # right where X is square


# %% [markdown]
# The scores stay as they were, and so do the probabilities. The curvature is 100 times as large, so
# the limit is 100 times as small. This is the reason why raw numbers need small rates.
#
# ## Exercise 5: given weights, in Keras
#
# Write `as_model`: make a Keras model with one `Dense` layer that returns the scores of a unit with
# the weights `w`, whose last number is the bias. The model gets rows *without* the constant 1 and
# returns (rows, 1).
#
# *Predict:* which shapes do the kernel and the bias have when `w` holds four numbers?


# %% tags=["answer"]
def as_model(w):
    """w: array (features + 1,), the bias last. Returns a Keras model."""
    ### BEGIN SOLUTION
    model = keras.Sequential([keras.Input((len(w) - 1,)), keras.layers.Dense(1)])
    model.set_weights([w[:-1, None], w[-1:]])
    return model
    ### END SOLUTION


# %% tags=["check"]
def says(rows, wanted):
    def look(model):
        if not isinstance(model, keras.Model):
            return f"it returned {type(model).__name__}, expected a Keras model."
        scores = keras.ops.convert_to_numpy(model(np.array(rows, "float32")))
        if scores.shape != (len(rows), 1):
            return f"its output has the shape {scores.shape}, expected ({len(rows)}, 1)."
        return None if np.allclose(scores[:, 0], wanted, atol=1e-4) else "its scores are not those of the unit."

    return look


check(
    as_model,
    case("one input", np.array([2.0, -1.0]), expect=says([[0.0], [3.0]], [-1, 5])),
    case("two inputs", np.array([1.0, -2.0, 0.5]), expect=says([[1, 0], [0, 1], [2, 2]], [1.5, -1.5, -1.5])),
    case("three inputs", np.array([1.0, 2.0, 3.0, 4.0]), expect=says([[1, 0, 0], [0, 0, 1]], [5, 7])),
    nudge="When does a Dense layer make its weights, and what has set_weights to be given?",
    hint="keras.Input((features,)) first, then Dense(1). set_weights takes [kernel (features, 1), bias (1,)].",
)


# %% tags=["right"]
def as_model(w):  # the functional interface, weights set one by one
    inputs = keras.Input((len(w) - 1,))
    layer = keras.layers.Dense(1)
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign(np.reshape(w[:-1], (-1, 1)))
    layer.bias.assign([w[-1]])
    return model


# %% tags=["right"]
def as_model(w):  # initialisers
    kernel, bias = (keras.initializers.Constant(part) for part in (w[:-1, None], w[-1:]))
    dense = keras.layers.Dense(1, kernel_initializer=kernel, bias_initializer=bias)
    return keras.Sequential([keras.layers.Input(shape=(len(w) - 1,)), dense])


# %% tags=["right"]
def as_model(w):  # a class
    class Unit(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)
            self.dense.build((None, len(w) - 1))
            self.dense.set_weights([w[:-1].reshape(-1, 1), w[-1:]])

        def call(self, x):
            return self.dense(x)

    return Unit()


# %% tags=["wrong"]
def as_model(w):
    model = keras.Sequential([keras.Input((len(w) - 1,)), keras.layers.Dense(1)])
    model.set_weights([w[:-1, None], 0 * w[-1:]])  # no bias
    return model


# %% tags=["wrong"]
def as_model(w):
    model = keras.Sequential([keras.Input((len(w) - 1,)), keras.layers.Dense(1, activation="sigmoid")])
    model.set_weights([w[:-1, None], w[-1:]])  # probabilities, not scores
    return model


# %% tags=["wrong"]
def as_model(w):
    model = keras.Sequential([keras.Input((len(w) - 1,)), keras.layers.Dense(1)])
    model.set_weights([w[1:, None], w[:1]])  # takes the first number for the bias
    return model


# %% [markdown]
# The kernel has the shape (3, 1): a row for each input, a column for each output. The bias has the
# shape (1,).
#
# ## Experiment: how exact is the slope of a batch?
#
# A batch estimates the gradient of all rows. How far is it away, typically? The stub makes 10,000
# rows with one input and a label each; the weight and the bias are zero, so every $p$ is one half.
# Draw 2,000 batches of `size` random rows with `rng.integers`, compute the slope by the *weight* in
# each batch, and return the standard deviation of these 2,000 slopes.
#
# *Predict* before you run the check: batches of 16 have some spread. How much smaller is it with 64
# rows, and with 1,024? Only the size changes. Then explain why small batches are so cheap for what
# they tell.


# %% tags=["answer"]
def noise(size):
    """Returns the spread of the slope over batches of this size."""
    rng = np.random.default_rng(0)
    x = 2 * rng.normal(size=10_000)
    y = rng.random(10_000) < 1 / (1 + np.exp(-x))  # labels that follow x
    ### BEGIN SOLUTION
    rows = rng.integers(0, 10_000, (2_000, size))
    return np.std(np.mean((0.5 - y[rows]) * x[rows], axis=1))
    ### END SOLUTION


# %% tags=["check"]
check(
    noise,
    case("16 rows", 16, expect=between(0.175, 0.225)),
    case("64 rows", 64, expect=between(0.088, 0.112)),
    case("1,024 rows", 1_024, expect=between(0.0215, 0.0275)),
    nudge="Is it the slope of the mean loss of one batch, at weights of zero? Is the spread taken over batches?",
    hint="x[rows] has the shape (2000, size). Take the mean of (0.5 - y) x over axis 1, then the standard deviation.",
)


# %% tags=["right"]
def noise(size):  # a loop over batches
    rng = np.random.default_rng(0)
    x = 2 * rng.normal(size=10_000)
    y = rng.random(10_000) < 1 / (1 + np.exp(-x))
    slopes = []
    for _ in range(2_000):
        rows = rng.integers(0, len(x), size)
        slopes.append(np.dot(0.5 - y[rows], x[rows]) / size)
    return np.std(slopes)


# %% tags=["right"]
def noise(size):  # library: the slope of every row first, then choice and statistics
    from statistics import pstdev

    rng = np.random.default_rng(3)
    x = 2 * rng.normal(size=10_000)
    y = rng.random(10_000) < 1 / (1 + np.exp(-x))
    slope_of_row = np.where(y, -0.5, 0.5) * x
    return pstdev(rng.choice(slope_of_row, (2_000, size)).mean(axis=1).tolist())


# %% tags=["wrong"]
def noise(size):
    rng = np.random.default_rng(0)
    x = 2 * rng.normal(size=10_000)
    y = rng.random(10_000) < 1 / (1 + np.exp(-x))
    rows = rng.integers(0, 10_000, (2_000, size))
    return np.mean(np.std((0.5 - y[rows]) * x[rows], axis=1))  # the spread inside a batch


# %% tags=["wrong"]
def noise(size):
    rng = np.random.default_rng(0)
    x = 2 * rng.normal(size=10_000)
    y = rng.random(10_000) < 1 / (1 + np.exp(-x))
    rows = rng.integers(0, 10_000, (2_000, size))
    return np.std(np.sum((0.5 - y[rows]) * x[rows], axis=1))  # of the sum, not the mean


# %% tags=["wrong"]
def noise(size):
    rng = np.random.default_rng(0)
    x = 2 * rng.normal(size=10_000)
    y = rng.random(10_000) < 1 / (1 + np.exp(-x))
    rows = rng.integers(0, 10_000, (2_000, size))
    return np.std(np.mean(0.5 - y[rows], axis=1))  # the slope by the bias


# %% [markdown]
# Four times the rows halve the spread, and 64 times the rows make it eight times smaller: it falls as
# one over the root of the size. So the second thousand rows add far less than the first sixteen,
# although they cost as much each. That is why a step from few rows pays.
