# %% [markdown]
# # 01 · The perceptron: exercises
#
# Write your answer in place of `raise NotImplementedError`, run the cell, then run the check
# below it. A check says what is wrong, not what is right. Each exercise stands alone. Labels are
# $+1$ and $-1$, as in the lesson.

# %%
import itertools
from math import comb

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linprog

from kerasllm.course import case, check
from kerasllm.course.figures import BLUE, ORANGE, show, use_style

use_style()


def fixed(values):
    """An array that nobody can change in place."""
    array = np.array(values, dtype=float)
    array.setflags(write=False)
    return array


# %% [markdown]
# ## Exercise 1: the answer of a unit
#
# Write `predict(X, w, b)`. `X` has the shape (rows, features), `w` has the shape (features,), and
# `b` is one number. Return an array of shape (rows,): $+1$ where the score $w \cdot x + b$ is
# above 0, and $-1$ everywhere else. There is no third answer.


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
    hint="X @ w gives all products at once; np.where chooses between two values.",
)


# %% tags=["wrong"]
def predict(X, w, b):
    return np.sign(X @ w + b)  # has a third answer, 0


# %% tags=["wrong"]
def predict(X, w, b):
    return np.where(X @ w + b >= 0, 1, -1)


# %% tags=["wrong"]
def predict(X, w, b):
    return np.where(X @ w > 0, 1, -1)  # no bias


# %% [markdown]
# ## Exercise 2: one step of learning
#
# Write `update(w, b, x, y)` for a single row `x` with label `y`. Return the pair `(w, b)` after
# the step. If the row is right, both stay as they are. If it is a mistake, the perceptron rule
# changes both. Return new values and leave the array that you were given as it is: the caller may
# still need the old weights.


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
    case("the very first row", fixed([0, 0]), 0, fixed([3, 1]), 1, expect=(np.array([3, 1]), 1)),
    hint="It is a mistake when y times the score is not above 0.",
)


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
# ## Exercise 3: how wide is the gap?
#
# The margin of a line is its distance to the closest point, counted as negative when that point
# is on the wrong side. Write `margin(w, b, X, y)` for a line with the score $w \cdot x + b$. The
# score alone is not a distance: twice the weights give twice the score, but they draw the same
# line. In the lesson the bias was one more weight. Here the distance is measured in the plane of
# `X`, without the 1.


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
    hint="Divide y times the score by the length of w, and take the smallest value.",
)


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
# The labels `both` are those of the logical AND, and $w = (3, 2)$, $b = -4$ is where the rule
# stops when it meets the four points in the order of `points` backwards. It is not the line with
# the widest gap. Can you find a better one by hand? Try some values in `margin(w, b, points,
# both)`. The rule stops at the first line that works, not at the best.
#
# ## Exercise 4: XOR with three units
#
# One unit cannot compute XOR. Three can: two **hidden** units see the switches, and one output
# unit sees the answers of these two. All answers are $+1$ or $-1$; the switches are 0 or 1. No
# learning here: choose the nine numbers yourself, with a pencil.
#
# Return `W, c, v, d`. Row `W[k]` and `c[k]` are the weights and the bias of hidden unit `k`, so
# `W` has the shape (2, 2) and `c` the shape (2,). `v` (shape (2,)) and `d` are the weights and
# the bias of the output unit. The check runs the three units on all four inputs. Many answers are
# right. Before you start: which two tables that *can* be learned give XOR when they are combined?


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
    hint="Write XOR as a sentence: at least one is on, and not both are on.",
)


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


# %% [markdown]
# ## Exercise 5: learning nonsense
#
# The lesson found that with thirty measurements all 426 training tumours can be separated. Is
# that a proof that the measurements are good? Labels by coin tosses are a fair test: there is
# nothing to learn.
#
# First write `is_separable(X, y)`. Return `True` if some $w$ and $b$ give every row the right
# side, and `False` otherwise. Trying the perceptron rule for some time is not an answer: it
# cannot say "no". Use `linprog` from SciPy, as in the lesson. `X` comes *without* a column of
# ones.


# %% tags=["answer"]
def is_separable(X, y):
    """Whether one threshold unit can get all rows right: True or False."""
    ### BEGIN SOLUTION
    rows = np.column_stack([X, np.ones(len(X))])
    answer = linprog(
        np.zeros(rows.shape[1]),
        A_ub=-y[:, None] * rows,
        b_ub=-np.ones(len(y)),
        bounds=(None, None),
    )
    return answer.status == 0
    ### END SOLUTION


# %% tags=["check"]
points = fixed([[1, 1], [1, 0], [0, 1], [0, 0]])
check(
    is_separable,
    case("OR", points, fixed([1, 1, 1, -1]), expect=True),
    case("XOR", points, fixed([-1, 1, 1, -1]), expect=False),
    case("not OR", points, fixed([-1, -1, -1, 1]), expect=True),
    case("all labels equal", points, fixed([-1, -1, -1, -1]), expect=True),
    case("far from the origin", points + 50, fixed([1, 1, 1, -1]), expect=True),
    case("one column", fixed([[1], [2], [3]]), fixed([1, -1, 1]), expect=False),
    hint="Add the column of ones; linprog looks only at weights >= 0 unless you tell it otherwise.",
)


# %% tags=["wrong"]
def is_separable(X, y):
    rows = np.column_stack([X, np.ones(len(X))])
    # linprog's own bounds: no negative weights
    answer = linprog(np.zeros(rows.shape[1]), A_ub=-y[:, None] * rows, b_ub=-np.ones(len(y)))
    return answer.status == 0


# %% tags=["wrong"]
def is_separable(X, y):
    # no bias
    cost, limit = np.zeros(X.shape[1]), -np.ones(len(y))
    answer = linprog(cost, A_ub=-y[:, None] * X, b_ub=limit, bounds=(None, None))
    return answer.status == 0


# %% tags=["wrong"]
def is_separable(X, y):
    rows = np.column_stack([X, np.ones(len(X))])
    # w = 0 solves this one: 0 >= 0
    cost, limit = np.zeros(rows.shape[1]), np.zeros(len(y))
    answer = linprog(cost, A_ub=-y[:, None] * rows, b_ub=limit, bounds=(None, None))
    return answer.status == 0


# %% [markdown]
# **Now predict, then measure.** Take rows of 20 random numbers each, and give each row a label by
# a coin toss. With how many rows can one unit still get everything right? 5, 20, 40, 100? Write
# your guess down. The next cell measures the share of random labellings that are separable. The
# curve is Cover's formula of 1965: for $N$ rows in general position and $d$ weights (here 20 and
# the bias) the share is $2^{1-N} \sum_{k=0}^{d-1} \binom{N-1}{k}$. Run it after your answer
# passes.

# %%
features, trials = 20, 50
rng = np.random.default_rng(0)
counts = np.arange(12, 73, 6)


def measured_share(n):
    found = 0
    for _ in range(trials):
        found += is_separable(rng.normal(size=(n, features)), rng.choice([-1, 1], size=n))
    return found / trials


def cover(n, weights):
    return sum(comb(n - 1, k) for k in range(weights)) / 2 ** (n - 1)


share = [measured_share(n) for n in counts]
print(f"Cover's share for 426 rows and 31 weights: {cover(426, 31):.0e}")

# %%
smooth = range(2, 76)
figure, axes = plt.subplots(figsize=(7, 3.6))
axes.plot(smooth, [cover(n, features + 1) for n in smooth], color=BLUE, label="Cover's formula")
axes.plot(counts, share, "o", color=ORANGE, label=f"measured, {trials} labellings each")
axes.axvline(2 * (features + 1), color="black", ls=":", lw=1)
axes.set(xlabel="rows with random labels", ylabel="share that one unit can fit")
axes.set_title("20 random numbers a row")
axes.legend()
show(
    figure,
    "The share of random labellings that one unit can fit is 1 up to about 30 rows, falls through"
    " one half at 42 rows and is near 0 from 60 rows on; the points follow Cover's formula.",
)

# %% [markdown]
# The dotted line stands at twice the number of weights. There a single unit fits half of all coin
# tosses, and with clearly fewer rows it fits them all. So a perfect score on few training rows
# with many measurements means nothing. The 426 tumours are far more than twice the 31 weights. A
# perfect plane is *not* an accident there, as the printed share says, and the test rows agreed.
# Number of rows, number of weights: lesson 05 comes back to this.
#
# **Reference:** T. Cover (1965). Geometrical and statistical properties of systems of linear
# inequalities with applications in pattern recognition. *IEEE Transactions on Electronic
# Computers* EC-14(3), 326-334.
