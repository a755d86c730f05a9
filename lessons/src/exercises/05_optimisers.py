# %% [markdown]
# # Exercises 05 · Optimisers
#
# Five exercises and an experiment on [lesson 05](../05_optimisers.ipynb), each alone. They need NumPy and
# a few seconds. Where the text says *predict*, write your guess down before you run anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: the largest rate
#
# A valley has the height $\tfrac12 w^\top H w$, and its gradient is $H w$. The matrix $H$ is the table of
# curvatures of lesson 02, and it is symmetric: its rows are also its columns. There are always directions
# at right angles, its *eigenvectors*, in which $H$ only multiplies by a number, the *eigenvalue*. This is
# the curvature in that direction, and here all of them are positive. Return the rate at which SGD stops
# coming closer and begins to be thrown out.
#
# *Predict:* $H$ has 2 at both places of its diagonal and 1 beside them. Is the answer $2/2$?


# %% tags=["answer"]
def largest_rate(H):
    """H: array (d, d), symmetric. Returns the rate above which SGD explodes."""
    ### BEGIN SOLUTION
    return 2 / np.linalg.eigvalsh(H).max()
    ### END SOLUTION


# %% tags=["check"]
check(
    largest_rate,
    case("the valley of the lesson", np.diag([1.0, 25.0]), expect=0.08),
    case("one direction", np.array([[4.0]]), expect=0.5),
    case("a valley between the axes", np.array([[2.0, 1.0], [1.0, 2.0]]), expect=2 / 3),
    case("falling the other way", np.array([[5.0, -4.0], [-4.0, 5.0]]), expect=2 / 9),
    case("three directions", np.array([[2.0, 1, 0], [1, 2, 1], [0, 1, 2]]), expect=2 / (2 + np.sqrt(2))),
    nudge="In which direction is the valley steepest? It need not be one of the axes.",
    hint="Along an eigenvector with the eigenvalue h, a step multiplies by 1 - rate * h. np.linalg.eigvalsh finds h.",
)


# %% tags=["right"]
def largest_rate(H):  # a loop: power iteration towards the steepest direction
    v = np.arange(1.0, len(H) + 1)
    for _ in range(1000):
        v = H @ v
        v = v / np.sqrt(v @ v)
    return 2 / (v @ H @ v)


# %% tags=["right"]
def largest_rate(H):  # the largest singular value, which is the largest eigenvalue here
    return 2 / np.linalg.norm(H, 2)


# %% tags=["right"]
def largest_rate(H):  # library
    from scipy.linalg import eigh

    values, _ = eigh(H)
    return 2.0 / values[-1]


# %% tags=["wrong"]
def largest_rate(H):
    return 2 / np.diag(H).max()  # right for valleys along the axes only


# %% tags=["wrong"]
def largest_rate(H):
    return 1 / np.linalg.eigvalsh(H).max()  # the rate that gets there in one step


# %% tags=["wrong"]
def largest_rate(H):
    return 2 / np.linalg.eigvalsh(H).min()  # the flat direction sets no limit


# %% tags=["wrong"]
def largest_rate(H):
    return 2 / np.abs(H).sum(axis=1).max()  # the largest row: right for two alike directions


# %% [markdown]
# The answer is 2/3. The steepest direction is the diagonal: $H$ turns $(1, 1)$ into $(3, 3)$, so its
# eigenvalue is 3.
#
# ## Exercise 2: one step of Adam
#
# Write step number `t` of Adam ($t = 1, 2, \dots$). `m` and `v` are the running means before the step.
# Return the new `w`, `m` and `v`.
#
# $$m \leftarrow \beta_1 m + (1-\beta_1)\, g \qquad v \leftarrow \beta_2 v + (1-\beta_2)\, g^2$$
#
# Before they are used, the means are divided by $1-\beta_1^t$ and $1-\beta_2^t$. The step is $-\eta\,
# \hat m / (\sqrt{\hat v} + \epsilon)$; the hats mark the corrected means, and $\epsilon$ is `tiny`.
#
# *Predict:* the first step moves a weight by the rate, 0.1. The second gradient is as large as the first
# and has the other sign. How far does the second step move the weight back?


# %% tags=["answer"]
def adam_step(w, g, m, v, t, rate=0.1, beta1=0.9, beta2=0.999, tiny=1e-7):
    """One step of Adam: new weights, new mean of g, new mean of g squared."""
    ### BEGIN SOLUTION
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    right_m, right_v = m / (1 - beta1**t), v / (1 - beta2**t)
    return w - rate * right_m / (np.sqrt(right_v) + tiny), m, v
    ### END SOLUTION


# %% tags=["check"]
def moves_by_the_rate(result):
    if np.allclose(result[0], 0.9, atol=1e-3):
        return None
    return "the first step should move each weight by about the learning rate."


def means_are_plain(result):
    if np.allclose(result[1], [1e-4, 100.0]) and np.allclose(result[2], [1e-9, 1000.0]):
        return None
    return "the returned means are not the running means of the formulas."


ones, zeros, small_and_large = np.ones(2), np.zeros(2), np.array([0.001, 1000.0])
later = (np.array([1.0, -2.0]), np.array([0.5, 0.1]), np.array([0.2, -0.1]), np.array([0.04, 0.01]), 7)
check(
    adam_step,
    case("the first step", ones, small_and_large, zeros, zeros, 1, expect=moves_by_the_rate),
    case("the means after the first step", ones, small_and_large, zeros, zeros, 1, expect=means_are_plain),
    case("a later step", *later, tolerance=1e-5,
         expect=(np.array([0.98163313, -1.98718960]), np.array([0.23, -0.08]), np.array([0.04021, 0.01]))),
    nudge="Which numbers are corrected, and which are kept for the next step?",
    hint="Keep the running means and their corrected versions in different variables.",
)  # fmt: skip


# %% tags=["right"]
def adam_step(w, g, m, v, t, rate=0.1, beta1=0.9, beta2=0.999, tiny=1e-7):  # a loop over the weights
    new_w, new_m, new_v = [], [], []
    for one_w, one_g, one_m, one_v in zip(w, g, m, v, strict=True):
        one_m += (1 - beta1) * (one_g - one_m)
        one_v += (1 - beta2) * (one_g * one_g - one_v)
        new_w.append(one_w - rate * one_m / (1 - beta1**t) / ((one_v / (1 - beta2**t)) ** 0.5 + tiny))
        new_m.append(one_m)
        new_v.append(one_v)
    return new_w, new_m, new_v


# %% tags=["right"]
def adam_step(w, g, m, v, t, rate=0.1, beta1=0.9, beta2=0.999, tiny=1e-7):  # library: weighted means, one table
    m, v = (
        np.average([m, g], axis=0, weights=[beta1, 1 - beta1]),
        np.average([v, g * g], axis=0, weights=[beta2, 1 - beta2]),
    )
    step = np.divide(m, 1 - np.power(beta1, t)) / (np.sqrt(v / (1 - np.power(beta2, t))) + tiny)
    return np.stack([w - rate * step, m, v])


# %% tags=["wrong"]
def adam_step(w, g, m, v, t, rate=0.1, beta1=0.9, beta2=0.999, tiny=1e-7):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    return w - rate * m / (np.sqrt(v) + tiny), m, v  # no correction: the first step is three times too large


# %% tags=["wrong"]
def adam_step(w, g, m, v, t, rate=0.1, beta1=0.9, beta2=0.999, tiny=1e-7):
    m = (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)  # corrected again in the next step
    v = (beta2 * v + (1 - beta2) * g**2) / (1 - beta2**t)
    return w - rate * m / (np.sqrt(v) + tiny), m, v


# %% tags=["wrong"]
def adam_step(w, g, m, v, t, rate=0.1, beta1=0.9, beta2=0.999, tiny=1e-7):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g  # the mean of g, not of its square
    return w - rate * m / (1 - beta1**t) / (np.sqrt(np.abs(v) / (1 - beta2**t)) + tiny), m, v


# %% [markdown]
# By about 0.005 only. The mean of $g$ is $0.9 \cdot 0.1\,g - 0.1\,g = -0.01\,g$, which is divided by $1 -
# 0.9^2 = 0.19$, and the mean of $g^2$ is still $g^2$. Gradients that disagree make small steps.
#
# ## Exercise 3: warm-up and decay
#
# Return the rate at `step` (0, 1, 2, ...): on a line from 0 at step 0 to `peak` at step `warmup`, then
# half a cosine from `peak` down to `floor` at step `total`, and `floor` for ever after. `total` counts
# *all* steps, those of the warm-up too. And `warmup` may be 0.


# %% tags=["answer"]
def rate_at(step, peak, warmup, total, floor=0.0):
    """A linear warm-up, then half a cosine down to `floor` at step `total`."""
    ### BEGIN SOLUTION
    if step < warmup:
        return peak * step / warmup
    done = min(1.0, (step - warmup) / (total - warmup))
    return floor + (peak - floor) * (1 + np.cos(np.pi * done)) / 2
    ### END SOLUTION


# %% tags=["check"]
check(
    rate_at,
    case("the start", 0, 0.1, 10, 110, expect=0.0),
    case("half of the warm-up", 5, 0.1, 10, 110, expect=0.05),
    case("the peak", 10, 0.1, 10, 110, expect=0.1),
    case("half of the decay", 60, 0.1, 10, 110, expect=0.05),
    case("a quarter of the decay", 35, 0.1, 10, 110, expect=0.0853553391),
    case("the end", 110, 0.1, 10, 110, expect=0.0),
    case("long after the end", 250, 0.1, 10, 110, expect=0.0),
    case("half of the decay with a floor", 60, 0.1, 10, 110, 0.02, expect=0.06),
    case("after the end with a floor", 400, 0.1, 10, 110, 0.02, expect=0.02),
    case("no warm-up", 0, 0.1, 0, 100, expect=0.1),
    nudge="Which share of the decay is done at this step? What is it at the peak, and long after the end?",
    hint="done = min(1, (step - warmup) / (total - warmup)); the cosine of pi times done goes from 1 to -1.",
)


# %% tags=["right"]
def rate_at(step, peak, warmup, total, floor=0.0):  # floats, one branch for each part
    from math import cos, pi

    if step >= total:
        return floor
    if step >= warmup:
        share = 0.5 * (1 + cos(pi * (step - warmup) / (total - warmup)))
        return share * peak + (1 - share) * floor
    return step / warmup * peak


# %% tags=["right"]
def rate_at(step, peak, warmup, total, floor=0.0):  # library: interpolation, without a branch
    angle = np.interp(step, [warmup, total], [0, np.pi])
    decay = floor + (peak - floor) * np.cos(angle / 2) ** 2
    return decay * np.clip(step / max(warmup, 1) if warmup else 1, 0, 1)


# %% tags=["wrong"]
def rate_at(step, peak, warmup, total, floor=0.0):
    if step < warmup:
        return peak * step / warmup
    return floor + (peak - floor) * (1 + np.cos(np.pi * (step - warmup) / (total - warmup))) / 2  # rises again


# %% tags=["wrong"]
def rate_at(step, peak, warmup, total, floor=0.0):
    if step < warmup:
        return peak * step / warmup
    done = min(1.0, (step - warmup) / total)  # the decay ends too late
    return floor + (peak - floor) * (1 + np.cos(np.pi * done)) / 2


# %% tags=["wrong"]
def rate_at(step, peak, warmup, total, floor=0.0):
    if step < warmup:
        return peak * step / warmup
    done = min(1.0, (step - warmup) / (total - warmup))
    return max(floor, peak * (1 + np.cos(np.pi * done)) / 2)  # cut off at the floor


# %% [markdown]
# ## Exercise 4: all directions alike
#
# Muon makes all singular values of a matrix nearly 1. This can be done exactly. The function
# `np.linalg.svd(G, full_matrices=False)` gives three things: the directions on one side, the singular
# values, and the directions on the other side.
# Return the matrix with the same directions and all singular values 1. `G` may be of any shape.
#
# *Predict:* what does a matrix that only stretches, diag(3, 2), become?


# %% tags=["answer"]
def even_out(G):
    """G: array (rows, columns). Returns the matrix with the same directions and all singular values 1."""
    ### BEGIN SOLUTION
    left, _, right = np.linalg.svd(G, full_matrices=False)
    return left @ right
    ### END SOLUTION


# %% tags=["check"]
check(
    even_out,
    case("only stretched", np.diag([3.0, 2.0]), expect=np.eye(2)),
    case("stretched between the axes", np.array([[2.0, 1.0], [1.0, 2.0]]), expect=np.eye(2)),
    case("turned and stretched", np.array([[0.0, -5.0], [2.0, 0.0]]), expect=np.array([[0.0, -1.0], [1.0, 0.0]])),
    case("three rows, two columns", np.array([[0, 7.0], [0, 0], [2, 0]]), expect=np.array([[0, 1.0], [0, 0], [1, 0]])),
    case("two rows, three columns", np.array([[0, 0, 4.0], [0, -9.0, 0]]), expect=np.array([[0, 0, 1.0], [0, -1, 0]])),
    nudge="Multiply the three parts together again: do you get G back? Which of the three may change?",
    hint="G is left @ np.diag(values) @ right. Leave the values out. The third part comes back transposed already.",
)


# %% tags=["right"]
def even_out(G):  # a loop: Newton and Schulz, a matrix with singular values at most 1 towards 1
    X = G / np.linalg.norm(G)
    for _ in range(60):
        X = 1.5 * X - 0.5 * X @ X.T @ X
    return X


# %% tags=["right"]
def even_out(G):  # eigenvectors of one side: G times the inverse root of G'G, for the shorter side
    tall = len(G) >= len(G[0])
    M = G if tall else G.T
    values, vectors = np.linalg.eigh(M.T @ M)
    M = M @ vectors @ np.diag(values**-0.5) @ vectors.T
    return M if tall else M.T


# %% tags=["right"]
def even_out(G):  # library
    from scipy.linalg import polar

    return polar(G)[0]


# %% tags=["wrong"]
def even_out(G):
    left, _, right = np.linalg.svd(G, full_matrices=False)
    return left @ right.T if left.shape[1] == right.shape[1] else left  # right for symmetric matrices only


# %% tags=["wrong"]
def even_out(G):
    return G / np.linalg.norm(G, 2)  # only the largest is 1 now


# %% tags=["wrong"]
def even_out(G):
    return G / np.maximum(np.linalg.norm(G, axis=0, keepdims=True), 1e-12)  # columns of length 1 are not enough


# %% [markdown]
# It becomes the matrix that changes nothing, with 1 on its diagonal. In general a square matrix whose
# singular values are all 1 turns or mirrors arrows, and keeps their lengths.
#
# ## Exercise 5: clip together
#
# `gradients` is a list of arrays of different shapes. If all of them *together*, read as one long vector,
# are longer than `longest`, shrink all by the same factor, so that the length becomes `longest`.
# Otherwise leave them alone.
#
# *Predict:* what would change if each array were shortened alone?


# %% tags=["answer"]
def clip_together(gradients, longest):
    """gradients: a list of arrays. Returns a list of arrays."""
    ### BEGIN SOLUTION
    length = np.sqrt(sum(np.sum(g**2) for g in gradients))
    factor = min(1.0, longest / length) if length > 0 else 1.0
    return [g * factor for g in gradients]
    ### END SOLUTION


# %% tags=["check"]
three, four = np.array([[3.0]]), np.array([0.0, 4.0])
check(
    clip_together,
    case("too long", [three, four], 1.0, expect=[np.array([[0.6]]), np.array([0.0, 0.8])]),
    case("short enough", [three, four], 10.0, expect=[three, four]),
    case("exactly as long", [three, four], 5.0, expect=[three, four]),
    case("one array is long and one is short", [10 * three, four / 10], 1.0,
         expect=[np.array([[0.99991112]]), np.array([0.0, 0.01333215])]),
    case("nothing at all", [np.zeros(2), np.zeros((1, 1))], 1.0, expect=[np.zeros(2), np.zeros((1, 1))]),
    nudge="How long is the vector (3, 0, 4)? What should happen to a gradient of length 0?",
    hint="length = the root of the sum of all squares; multiply by min(1, longest / length), unless it is 0.",
)  # fmt: skip


# %% tags=["right"]
def clip_together(gradients, longest):  # loops over numbers
    squares = 0.0
    for g in gradients:
        for number in g.flat:
            squares += number**2
    if squares <= longest**2:
        return gradients
    return [g / squares**0.5 * longest for g in gradients]


# %% tags=["right"]
def clip_together(gradients, longest):  # one long vector
    length = np.linalg.norm(np.concatenate([np.ravel(g) for g in gradients]))
    return tuple(g * (longest / max(length, longest)) for g in gradients)


# %% tags=["right"]
def clip_together(gradients, longest):  # library: Keras counts the length in 32-bit numbers
    import keras

    length = np.hypot.reduce([float(keras.ops.norm(keras.ops.ravel(g))) for g in gradients])
    return map(lambda g: g * np.minimum(1, longest / length) if length else g, gradients)


# %% tags=["wrong"]
def clip_together(gradients, longest):
    return [g * min(1.0, longest / max(np.linalg.norm(g), 1e-12)) for g in gradients]  # each array alone


# %% tags=["wrong"]
def clip_together(gradients, longest):
    length = np.sqrt(sum(np.sum(g**2) for g in gradients))
    return [g * longest / max(length, 1e-12) for g in gradients]  # makes short ones longer


# %% tags=["wrong"]
def clip_together(gradients, longest):
    return [np.clip(g, -longest, longest) for g in gradients]  # each number alone


# %% [markdown]
# The same factor keeps the direction. Clipping each array alone would turn the step towards the arrays
# that were short.
#
# ## Experiment: how much should be remembered?
#
# Momentum multiplies its sum by 0.9 in every step. Why 0.9? Write `steps_needed`: walk down the valley
# $f(w) = \tfrac12(w_1^2 + 400\,w_2^2)$ from $(-4, 1)$ with momentum, and count the steps until the height
# stays below 0.01 for the rest of 1,200 steps. Do it for 15 rates, `np.geomspace(1e-4, 1e-2, 15)`, and
# return the smallest count.
#
# *Predict* before you run the check: the counts for `fade` 0.5, 0.9 and 0.99. Only `fade` changes. Then
# explain what you see. (A sum that forgets slowly still pushes when it should turn round.)


# %% tags=["answer"]
def steps_needed(fade):
    """Returns the smallest number of steps over the 15 rates."""
    ### BEGIN SOLUTION
    counts = []
    for rate in np.geomspace(1e-4, 1e-2, 15):
        w, total, count = np.array([-4.0, 1.0]), np.zeros(2), 0
        for t in range(1_200):
            if not (w**2 * [1, 400]).sum() / 2 < 0.01:
                count = t + 1
            if np.abs(w).max() > 1e6:
                count = 1_200  # thrown out
                break
            total = fade * total + w * [1, 400]
            w = w - rate * total
        counts.append(count)
    return min(counts)
    ### END SOLUTION


# %% tags=["check"]
check(
    steps_needed,
    case("nothing is remembered", 0.0, expect=between(800, 1_000)),
    case("fade 0.5", 0.5, expect=between(200, 260)),
    case("fade 0.9", 0.9, expect=between(85, 110)),
    case("fade 0.99", 0.99, expect=between(850, 1_100)),
    nudge="Does the path stay below 0.01 after your count? Is the newest gradient added in full?",
    hint="total = fade * total + gradient; w = w - rate * total. Count one more than the last step that is too high.",
)


# %% tags=["right"]
def steps_needed(fade):  # all rates at once
    rates, H = np.geomspace(1e-4, 1e-2, 15)[:, None], np.array([1.0, 400.0])
    w, total = np.tile([-4.0, 1.0], (15, 1)), np.zeros((15, 2))
    high = np.empty((1_200, 15), bool)
    for t in range(1_200):
        high[t] = (w**2 @ H / 2 >= 0.01) | np.isnan(w).any(axis=1)
        total = fade * total + w * H
        w = np.clip(w - rates * total, -1e9, 1e9)
    last = 1_200 - np.argmax(high[::-1], axis=0)  # the last step that is too high, plus 1
    return last.min()


# %% tags=["right"]
def steps_needed(fade):  # plain floats; the path is kept, then read from its end
    best = 1_200
    for rate in np.geomspace(1e-4, 1e-2, 15).tolist():
        x, y, speed_x, speed_y, heights = -4.0, 1.0, 0.0, 0.0, []
        while len(heights) < 1_200:
            heights.append((x * x + 400 * y * y) / 2)
            speed_x, speed_y = fade * speed_x - rate * x, fade * speed_y - rate * 400 * y
            x, y = x + speed_x, y + speed_y
            if abs(y) > 1e9:
                heights[-1:] = [1e9] * (1_201 - len(heights))
        while heights and heights[-1] < 0.01:
            heights.pop()
        best = min(best, len(heights))
    return best


# %% tags=["wrong"]
def steps_needed(fade):
    counts = []
    for rate in np.geomspace(1e-4, 1e-2, 15):
        w, total = np.array([-4.0, 1.0]), np.zeros(2)
        for count in range(1_200):  # noqa: B007
            if (w**2 * [1, 400]).sum() / 2 < 0.01 or np.abs(w).max() > 1e6:
                break  # the first time below, although it may rise again
            total = fade * total + w * [1, 400]
            w = w - rate * total
        counts.append(count)
    return min(counts)


# %% tags=["wrong"]
def steps_needed(fade):
    counts = []
    for rate in np.geomspace(1e-4, 1e-2, 15):
        w, mean, count = np.array([-4.0, 1.0]), np.zeros(2), 0
        for t in range(1_200):
            if not (w**2 * [1, 400]).sum() / 2 < 0.01:
                count = t + 1
            mean = fade * mean + (1 - fade) * w * [1, 400]  # a mean: 1 / (1 - fade) times slower
            w = w - rate * mean
        counts.append(count)
    return min(counts)


# %% tags=["wrong"]
def steps_needed(fade):
    counts = []
    for rate in np.geomspace(1e-4, 1e-2, 15):
        w, total, count = np.array([-4.0, 1.0]), np.zeros(2), 0
        for t in range(1_200):
            if not (w**2 * [1, 400]).sum() / 2 < 0.01:
                count = t + 1
            total = fade * total + w  # forgets how steep the two directions are
            w = w - rate * total
        counts.append(count)
    return min(counts)


# %% [markdown]
# With 0.5 the sum ends at two gradients, because $1/(1 - 0.5) = 2$, and it needs more than twice as many
# steps as with 0.9. With 0.99 the sum ends at a hundred, and the path has so much speed that it
# swings from side to side for almost a thousand steps. So 0.9 suits this valley better than both; another
# valley may ask for more memory or less.
