# %% [markdown]
# # Exercises 01 · The perceptron
#
# Five exercises and an experiment, each alone. Write your answer in place of
# `raise NotImplementedError`, run the cell, then run the check below it. A check says what is wrong,
# not what is right; after a second failure it gives a strong hint. Labels are $+1$ and $-1$, as in
# the lesson. Where the text says *predict*, write your guess down first.

# %%
import itertools
from math import comb

import numpy as np
from scipy.optimize import linprog

from kerasllm.course import between, case, check


def fixed(values):
    """An array that nobody can change in place."""
    array = np.array(values, dtype=float)
    array.setflags(write=False)
    return array


def separable(X, y):
    """Whether one unit can be right on all rows; the linear program of the lesson. X without a constant 1."""
    rows = -y[:, None] * np.column_stack([X, np.ones(len(X))])
    return linprog(np.zeros(rows.shape[1]), A_ub=rows, b_ub=-np.ones(len(y)), bounds=(None, None)).status == 0


# %% [markdown]
# ## Exercise 1: the answer of a unit
#
# Write `predict(X, w, b)`. `X` has the shape (rows, features), `w` has the shape (features,), and `b`
# is one number. Return an array of shape (rows,): $+1$ where the score $w \cdot x + b$ is above 0,
# and $-1$ everywhere else. There is no third answer.
#
# *Predict:* what does the unit with $w = (0, 0)$ and $b = 0$ answer?


# %% tags=["answer"]
def predict(X, w, b):
    """The answers of a threshold unit, +1 or -1, shape (rows,)."""
    ### BEGIN SOLUTION
    return np.where(X @ w + b > 0, 1, -1)
    ### END SOLUTION


# %% tags=["check"]
points = fixed([[1, 1], [1, 0], [0, 1], [0, 0]])
check(
    predict,
    case("the unit of OR", points, fixed([2, 2]), -1, expect=np.array([1, 1, 1, -1])),
    case("always benign", points, fixed([0, 0]), -1, expect=np.array([-1, -1, -1, -1])),
    case("scores of exactly 0", points, fixed([1, 1]), -1, expect=np.array([1, -1, -1, -1])),
    case("three features", fixed([[3, -1, 2]]), fixed([1, 2, -2]), 4, expect=np.array([1])),
    nudge="What does your function answer for a score of exactly 0, and what should it?",
    hint="X @ w gives all products at once; np.where chooses between two values.",
)


# %% tags=["right"]
def predict(X, w, b):  # loops
    answers = []
    for row in X:
        score = b
        for x, weight in zip(row, w, strict=True):
            score += x * weight
        answers.append(1 if score > 0 else -1)
    return answers


# %% tags=["right"]
class Unit:  # an object that can be called, without a choice: True and False as numbers
    def __call__(self, X, w, b):
        return 2.0 * (np.einsum("rf,f->r", X, w) > -b) - 1


predict = Unit()


# %% tags=["wrong"]
def predict(X, w, b):
    return np.sign(X @ w + b)  # has a third answer, 0


# %% tags=["wrong"]
def predict(X, w, b):
    return np.where(X @ w + b >= 0, 1, -1)


# %% tags=["wrong"]
def predict(X, w, b):
    return np.where(X @ w > 0, 1, -1)  # no bias


# %% tags=["wrong"]
def predict(X, w, b):
    return np.where(X.T @ w + b > 0, 1, -1)  # right where X is symmetric


# %% [markdown]
# It answers $-1$ everywhere, since no score is above 0.
#
# ## Exercise 2: one step of learning
#
# Write `update(w, b, x, y)` for a single row `x` with label `y`. Return the pair `(w, b)` after the
# step. If the row is right, both stay as they are. If it is a mistake, the perceptron rule changes
# both. Return new values and leave the array that you were given as it is: the caller may still need
# the old weights.
#
# *Predict:* the unit starts with zeros and meets a row with the label $-1$. Is its answer right? Is
# it a mistake?


# %% tags=["answer"]
def update(w, b, x, y):
    """The weights and the bias after one row, as a pair (w, b)."""
    ### BEGIN SOLUTION
    if y * (w @ x + b) <= 0:
        return w + y * x, b + y
    return w, b
    ### END SOLUTION


# %% tags=["check"]
check(
    update,
    case("a mistake on a +1", fixed([1, -2]), 0, fixed([1, 1]), 1, expect=(np.array([2, -1]), 1)),
    case("a mistake on a -1", fixed([1, 1]), 1, fixed([2, 0]), -1, expect=(np.array([-1, 1]), 0)),
    case("a right answer", fixed([1, 1]), -1, fixed([1, 1]), 1, expect=(np.array([1, 1]), -1)),
    case("right because of its bias", fixed([1, 1]), -3, fixed([1, 1]), -1, expect=(np.array([1, 1]), -3)),
    case("the very first row", fixed([0, 0]), 0, fixed([3, 1]), 1, expect=(np.array([3, 1]), 1)),
    case(
        "a first row of the other label", fixed([0, 0, 0]), 0, fixed([2, 1, 0]), -1, expect=(np.array([-2, -1, 0]), -1)
    ),
    nudge="Which rows change something? What happens to a row whose score is exactly 0, and to the bias?",
    hint="It is a mistake when y times the score is not above 0. Then y * x is added to w, and y to b.",
)


# %% tags=["right"]
def update(w, b, x, y):  # loops, lists
    score = b
    for weight, number in zip(w, x, strict=True):
        score += weight * number
    if (1 if score > 0 else -1) == y and score != 0:
        return list(w), b
    return [weight + y * number for weight, number in zip(w, x, strict=True)], b + y


# %% tags=["right"]
def update(w, b, x, y):  # one formula for both: the mistake as 0 or 1; the bias as the weight of a 1
    weights, row = np.append(w, b), np.append(x, 1.0)
    mistake = np.heaviside(-y * np.dot(weights, row), 1)
    *w, b = weights + mistake * y * row
    return w, b


# %% tags=["wrong"]
def update(w, b, x, y):
    if y * (w @ x + b) < 0:  # never leaves the zeros
        return w + y * x, b + y
    return w, b


# %% tags=["wrong"]
def update(w, b, x, y):
    if y * (w @ x + b) <= 0:
        return w + y * x, b  # the bias does not learn
    return w, b


# %% tags=["wrong"]
def update(w, b, x, y):
    if y * (w @ x + b) <= 0:
        w += y * x  # changes the array of the caller
        b += y
    return w, b


# %% tags=["wrong"]
def update(w, b, x, y):
    return w + y * x, b + y  # also when the row was right


# %% [markdown]
# The answer $-1$ is right, and yet it is a mistake: the row lies on the border, and the rule pushes
# it off.
#
# ## Exercise 3: how wide is the gap?
#
# The margin of a line is its distance to the closest point, counted as negative when that point is on
# the wrong side. Write `margin(w, b, X, y)` for a line with the score $w \cdot x + b$. The score
# alone is not a distance: twice the weights give twice the score, but they draw the same line. In the
# lesson the bias was one more weight. Here the distance is measured in the plane of `X`, without the
# 1.
#
# *Predict:* three times as long weights and a three times as large bias: what happens to the margin?


# %% tags=["answer"]
def margin(w, b, X, y):
    """The smallest distance of a row of X to the border, negative if a row is on the wrong side."""
    ### BEGIN SOLUTION
    return np.min(y * (X @ w + b)) / np.linalg.norm(w)
    ### END SOLUTION


# %% tags=["check"]
points, both = fixed([[1, 1], [1, 0], [0, 1], [0, 0]]), fixed([1, -1, -1, -1])
far, sides = fixed([[5, 7], [-1, 0]]), fixed([1, -1])
twice = fixed([[3, 4], [3, 4]])  # the same point with both labels
check(
    margin,
    case("a vertical line", fixed([1, 0]), -2, far, sides, expect=3.0),
    case("weights three times as long", fixed([3, 0]), -6, far, sides, expect=3.0),
    case("the four points of AND", fixed([3, 2]), -4, points, both, expect=1 / np.sqrt(13)),
    case("one point on the wrong side", fixed([3, 4]), 0, twice, sides, expect=-5.0),
    nudge="What happens to your result when w and b are doubled? Should it?",
    hint="Divide y times the score by the length of w, and take the smallest value.",
)


# %% tags=["right"]
def margin(w, b, X, y):  # loops
    length = sum(weight**2 for weight in w) ** 0.5
    closest = float("inf")
    for row, label in zip(X, y, strict=True):
        closest = min(closest, label * (sum(row * w) + b) / length)
    return closest


# %% tags=["right"]
def margin(w, b, X, y):  # a line of length 1 first, then the smallest of the signed distances
    unit = w / np.hypot.reduce(w)
    offset = b / np.sqrt(w.dot(w))
    return np.sort(np.multiply(y, np.dot(X, unit) + offset))[0]


# %% tags=["wrong"]
def margin(w, b, X, y):
    return np.min(y * (X @ w + b))  # a score, not a distance


# %% tags=["wrong"]
def margin(w, b, X, y):
    return np.min(np.abs(X @ w + b)) / np.linalg.norm(w)  # forgets the side


# %% tags=["wrong"]
def margin(w, b, X, y):
    return np.min(y * (X @ w + b)) / np.linalg.norm(np.append(w, b))


# %% tags=["wrong"]
def margin(w, b, X, y):
    return np.mean(y * (X @ w + b)) / np.linalg.norm(w)


# %% [markdown]
# The labels `both` are those of the logical AND, and $w = (3, 2)$, $b = -4$ is where the rule stops
# when it meets the four points in the order of `points` backwards. It is not the line with the widest
# gap. Can you find a better one by hand? Try some values in `margin(w, b, points, both)`. The rule
# stops at the first line that works, not at the best.
#
# ## Exercise 4: XOR with three units
#
# One unit cannot compute XOR. Three can: two *hidden* units see the switches, and one output unit
# sees the answers of these two. All answers are $+1$ or $-1$; the switches are 0 or 1. No learning
# here: choose the nine numbers yourself, with a pencil.
#
# Return `W, c, v, d`. Row `W[k]` and `c[k]` are the weights and the bias of hidden unit `k`, so `W`
# has the shape (2, 2) and `c` the shape (2,). `v` (shape (2,)) and `d` are the weights and the bias
# of the output unit. The check runs the three units on all four inputs. Many answers are right.
# Before you start: which two tables that *can* be learned give XOR when they are combined?


# %% tags=["answer"]
def xor_units():
    """Weights and biases of two hidden units and of the output unit: W, c, v, d."""
    ### BEGIN SOLUTION
    W = np.array([[2, 2], [-2, -2]])
    c = np.array([-1, 3])  # at least one is on; not both are on
    v, d = np.array([1, 1]), -1  # both hidden units say +1
    return W, c, v, d
    ### END SOLUTION


# %% tags=["check"]
def runs_xor(answer):
    if not isinstance(answer, tuple | list) or len(answer) != 4:
        return "it did not return four things: W, c, v, d."
    W, c, v, d = (np.asarray(part, dtype=float) for part in answer)
    shapes = [part.shape for part in (W, c, v, np.squeeze(d))]
    if shapes != [(2, 2), (2,), (2,), ()]:
        return f"the shapes are {shapes}, expected (2, 2), (2,), (2,) and one number."
    inputs = np.array(list(itertools.product([0, 1], repeat=2)))  # (4, 2)
    hidden = np.where(inputs @ W.T + c > 0, 1, -1)  # (4, 2)
    output = np.where(hidden @ v + np.squeeze(d) > 0, 1, -1)  # (4,)
    wrong = inputs[output != np.array([-1, 1, 1, -1])]
    if len(wrong):
        return f"{len(wrong)} of 4 inputs give the wrong answer, the first is {wrong[0].tolist()}."


check(
    xor_units,
    case("all four inputs", expect=runs_xor),
    nudge="Each hidden unit may answer a question that can be learned. Which two questions decide XOR together?",
    hint="Write XOR as a sentence: at least one is on, and not both are on.",
)


# %% tags=["right"]
def xor_units():  # lists; not both, or none: on where the sum is 1 and a half of it is not
    return [[1, -1], [-1, 1]], [-0.5, -0.5], [1, 1], 1


# %% tags=["right"]
def xor_units():  # weights of other sizes, a tuple, an array of one number
    return np.array([[-3.0, -3], [5, 5]]), (4.0, -2.0), np.ones(2), np.array([-1.5])


# %% tags=["wrong"]
def xor_units():
    # OR and AND are right, but the output joins them with the wrong sign
    return np.array([[2, 2], [2, 2]]), np.array([-1, -3]), np.array([1, 1]), -1


# %% tags=["wrong"]
def xor_units():
    # right only if the hidden answers were 0 and 1
    return np.array([[2, 2], [-2, -2]]), np.array([-1, 3]), np.array([2, 2]), 1


# %% tags=["wrong"]
def xor_units():
    return np.array([2, 2]), -1, np.array([1, 1]), -1  # a single unit


# %% tags=["wrong"]
def xor_units():
    # a column for each hidden unit: right where W is symmetric
    return np.array([[2, -2], [2, -2]]), np.array([-1, 3]), np.array([1, 1]), -1


# %% [markdown]
# ## Exercise 5: the mean of the weights
#
# Write `mean_weights`: run the perceptron's rule over the rows *in their order*, for a number of
# epochs, starting from zeros, and return the mean of the weights over all steps. A step is one row,
# whether it was a mistake or not; what counts are the weights *after* the row. `X` holds a constant 1
# in its last column. Do not stop early.
#
# *Predict:* a training that makes no mistake after its first epoch goes on for a hundred. Where does
# the mean go?


# %% tags=["answer"]
def mean_weights(X, y, epochs):
    """The mean of the weights over all steps: (features,)."""
    ### BEGIN SOLUTION
    w, total = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for _ in range(epochs):
        for x, label in zip(X, y, strict=True):
            if label * (x @ w) <= 0:
                w = w + label * x
            total += w
    return total / (epochs * len(y))
    ### END SOLUTION


# %% tags=["check"]
pair = fixed([[2, 1], [-1, 1]])
switches = fixed([[1, 1, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1]])
check(
    mean_weights,
    case("one row", fixed([[2, 1]]), fixed([-1]), 1, expect=np.array([-2.0, -1.0])),
    case("one mistake and one right row", pair, fixed([1, -1]), 1, expect=np.array([2.0, 1.0])),
    case("two mistakes", pair, fixed([1, 1]), 1, expect=np.array([1.5, 1.5])),
    case("OR, one epoch", switches, fixed([1, 1, 1, -1]), 1, expect=np.array([1.0, 1.0, 0.75])),
    case("OR, two epochs", switches, fixed([1, 1, 1, -1]), 2, expect=np.array([1.0, 1.0, 0.25])),
    nudge="Which weights does the mean contain, and how many of them? What happens after a row that was right?",
    hint="Add w to a total after every row, changed or not, and divide by epochs times rows at the end.",
)


# %% tags=["right"]
def mean_weights(X, y, epochs):  # keeps the weights of every step, then takes the mean
    history, w = [], np.zeros(len(X[0]))
    for step in range(epochs * len(X)):
        x, label = X[step % len(X)], y[step % len(X)]
        w = w + label * x * (label * np.dot(x, w) <= 0)
        history.append(w)
    return np.mean(history, axis=0)


# %% tags=["right"]
def mean_weights(X, y, epochs):  # plain Python: a correction counts in all the steps that are left
    features, steps, step = len(X[0]), epochs * len(X), 0
    w, mean = [0.0] * features, [0.0] * features
    for x, label in list(zip(X.tolist(), y.tolist(), strict=True)) * epochs:
        if label * sum(a * c for a, c in zip(w, x, strict=True)) <= 0:
            for j in range(features):
                w[j] += label * x[j]
                mean[j] += label * x[j] * (steps - step) / steps
        step += 1
    return mean


# %% tags=["wrong"]
def mean_weights(X, y, epochs):
    w, total, count = np.zeros(X.shape[1]), np.zeros(X.shape[1]), 0
    for _ in range(epochs):
        for x, label in zip(X, y, strict=True):
            if label * (x @ w) <= 0:
                w = w + label * x
                total, count = total + w, count + 1  # only after mistakes
    return total / count


# %% tags=["wrong"]
def mean_weights(X, y, epochs):
    w, total = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for _ in range(epochs):
        for x, label in zip(X, y, strict=True):
            if label * (x @ w) <= 0:
                w = w + label * x
        total += w  # only at the end of an epoch
    return total / epochs


# %% tags=["wrong"]
def mean_weights(X, y, epochs):
    w = np.zeros(X.shape[1])
    for _ in range(epochs):
        for x, label in zip(X, y, strict=True):
            if label * (x @ w) <= 0:
                w = w + label * x
    return w  # the last weights; right for one row


# %% tags=["wrong"]
def mean_weights(X, y, epochs):
    w, total = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for _ in range(epochs):
        for x, label in zip(X, y, strict=True):
            total += w  # the weights before the row
            if label * (x @ w) <= 0:
                w = w + label * x
    return total / (epochs * len(y))


# %% [markdown]
# The mean moves toward the weights at rest, because they are counted again in every step.
#
# ## Experiment: learning nonsense
#
# With thirty features all training tumours can be separated. Does this prove that the features are
# good? Labels by coin tosses are a fair test, for there is nothing to learn. Write `share_fitted`:
# make `rows` rows of 20 random numbers (`rng.normal`), give each a label by a coin toss
# (`rng.choice([-1, 1], ...)`), and ask `separable` whether one unit can be right on all of them.
# Repeat with new rows and labels 100 times, and return the share of separable ones.
#
# *Predict* before you run the check: the share with 30 rows, with 42 and with 60. Only the number of
# rows changes. Then explain what it has to do with the number of weights, which is 21.


# %% tags=["answer"]
def share_fitted(rows):
    """The share of 100 random labellings that one unit can fit."""
    rng = np.random.default_rng(0)
    ### BEGIN SOLUTION
    found = [separable(rng.normal(size=(rows, 20)), rng.choice([-1, 1], size=rows)) for _ in range(100)]
    return np.mean(found)
    ### END SOLUTION


# %% tags=["check"]
check(
    share_fitted,
    case("30 rows", 30, expect=between(0.93, 1.0)),
    case("42 rows", 42, expect=between(0.32, 0.68)),
    case("60 rows", 60, expect=between(0.0, 0.07)),
    nudge="Are rows and labels new in each of the 100 trials? Does every row have 20 numbers and a label of its own?",
    hint="separable(rng.normal(size=(rows, 20)), rng.choice([-1, 1], size=rows)), 100 times, and the mean.",
)


# %% tags=["right"]
def share_fitted(rows):  # a loop that counts, with a toss of its own
    rng, count = np.random.default_rng(1), 0
    for _ in range(100):
        X = rng.standard_normal((rows, 20))
        y = np.where(rng.random(rows) < 0.5, 1, -1)
        count += bool(separable(X, y))
    return count / 100


# %% tags=["right"]
def share_fitted(rows):  # all draws first; the numbers of Python's own generator for the labels
    import random

    toss = random.Random(2)
    tables = np.random.default_rng(2).normal(size=(100, rows, 20))
    labels = np.array([[toss.choice([-1, 1]) for _ in range(rows)] for _ in tables])
    return sum(map(separable, tables, labels)) / len(tables)


# %% tags=["wrong"]
def share_fitted(rows):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(rows, 20)), rng.choice([-1, 1], size=rows)
    return np.mean([separable(X, y) for _ in range(100)])  # one draw, a hundred times


# %% tags=["wrong"]
def share_fitted(rows):
    rng = np.random.default_rng(0)
    draws = [rng.normal(size=(rows, 20)) for _ in range(100)]
    return np.mean([separable(X, np.sign(X[:, 0])) for X in draws])  # labels that follow a feature


# %% tags=["wrong"]
def share_fitted(rows):
    rng = np.random.default_rng(0)
    found = [separable(rng.normal(size=(20, rows)), rng.choice([-1, 1], size=20)) for _ in range(100)]
    return np.mean(found)  # rows and columns exchanged


# %% [markdown]
# Cover's formula (1965) gives the share for $N$ rows in general position and $d$ weights:
# $2^{1-N} \sum_{k=0}^{d-1} \binom{N-1}{k}$. At twice as many rows as weights it is exactly one half,
# whatever the features mean.

# %%
for rows, weights in [(30, 21), (42, 21), (60, 21), (426, 31)]:
    share = sum(comb(rows - 1, k) for k in range(weights)) / 2 ** (rows - 1)
    print(f"{rows} rows, {weights} weights: share {share:.2g}")

# %% [markdown]
# So a perfect score on few rows with many features means nothing: a unit fits coin tosses too. The
# 426 tumours are far more than twice the 31 weights. There a perfect plane is no accident, as the
# last share says, and the test rows agreed.
#
# **Reference:** T. Cover (1965). Geometrical and statistical properties of systems of linear
# inequalities with applications in pattern recognition. *IEEE Transactions on Electronic Computers*
# EC-14(3), 326-334.
