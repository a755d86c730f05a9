# %% [markdown]
# # Exercises 06 · Generalisation
#
# Five exercises and an experiment on [lesson 06](../06_generalisation.ipynb), each alone. They need
# NumPy and run in seconds. Where the text says *predict*, write your guess down before you run
# anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: how many images does the argument need?
#
# A learner chooses among `rules` rules. A rule that is wrong on more than a share `error` of all
# images survives $n$ random training images with a probability of at most $(1 - \text{error})^n$.
# Return the smallest whole number $n$ for which the expected number of bad survivors, rules times
# that probability, is at most `doubt`.
#
# *Predict:* if the number of rules is squared, by which factor does $n$ grow, roughly?


# %% tags=["answer"]
def images_needed(rules, error, doubt):
    """Returns the smallest n with rules * (1 - error)**n <= doubt."""
    ### BEGIN SOLUTION
    return int(np.ceil(np.log(rules / doubt) / -np.log(1 - error)))
    ### END SOLUTION


# %% tags=["check"]
check(
    images_needed,
    case("the example of the lesson, 1000 rules", 1000, 0.1, 0.027, expect=100),
    case("halves, on paper", 1000, 0.5, 1.0, expect=10),
    case("a power of two, where the condition holds exactly", 1024, 0.5, 1.0, expect=10),
    case("one more rule than a power of two", 1025, 0.5, 1.0, expect=11),
    case("less doubt", 1000, 0.5, 0.01, expect=17),
    case("very many rules", 2.0**1000, 0.1, 0.05, expect=6608),
    nudge="Take the logarithm of both sides of the condition. What is the sign of ln(1 - error)?",
    hint="n is at least ln(rules / doubt) / -ln(1 - error). Round up to a whole number.",
)


# %% tags=["right"]
def images_needed(rules, error, doubt):  # a loop: one image more until the condition holds
    n, survivors = 0, rules
    while survivors > doubt:
        survivors *= 1 - error
        n += 1
    return n


# %% tags=["right"]
def images_needed(rules, error, doubt):  # floats of the library, the logarithm of a small number
    from math import ceil, log, log1p

    return ceil((log(doubt) - log(rules)) / log1p(-error))


# %% tags=["right"]
def images_needed(rules, error, doubt):  # all n at once, without logarithms; a NumPy number
    return np.argmax(rules * np.power(1 - error, np.arange(10_000.0)) <= doubt)


# %% tags=["wrong"]
def images_needed(rules, error, doubt):
    return int(np.log(rules / doubt) / -np.log(1 - error))  # rounded down: too few


# %% tags=["wrong"]
def images_needed(rules, error, doubt):
    return int(np.ceil(np.log(rules / doubt) / error))  # an upper bound, not the smallest number


# %% tags=["wrong"]
def images_needed(rules, error, doubt):
    return int(np.log(rules / doubt) / -np.log(1 - error)) + 1  # one too many where the condition holds exactly


# %% tags=["wrong"]
def images_needed(rules, error, doubt):
    return int(np.ceil(np.log(rules) / -np.log(1 - error)))  # as if the doubt were 1


# %% [markdown]
# Squaring the rules only doubles their logarithm. This is why a few hundred images are enough for
# astonishingly many rules, and still not for a network.
#
# ## Exercise 2: one step with L2
#
# The loss is the data's loss plus `strength` times the *sum of the squared weights*, as Keras has
# it. `gradient` is the gradient of the data's loss alone. Return the weights after one step of
# plain gradient descent.
#
# *Predict:* with a gradient of zero, what happens to a weight in many steps?


# %% tags=["answer"]
def l2_step(weights, gradient, rate, strength):
    """One step downhill on the loss with its penalty. All arrays have the shape of the weights."""
    ### BEGIN SOLUTION
    return weights - rate * (gradient + 2 * strength * weights)
    ### END SOLUTION


# %% tags=["check"]
check(
    l2_step,
    case("no penalty", np.array([1.0, -2.0]), np.array([0.5, 0.5]), 0.1, 0.0, expect=np.array([0.95, -2.05])),
    case("penalty alone", np.array([1.0, -2.0]), np.zeros(2), 0.1, 0.5, expect=np.array([0.9, -1.8])),
    case("both", np.array([[3.0], [-1.0]]), np.array([[1.0], [2.0]]), 0.5, 0.1, expect=np.array([[2.2], [-1.9]])),
    case("a weight of zero", np.array([0.0]), np.array([1.0]), 0.1, 5.0, expect=np.array([-0.1])),
    nudge="What is the derivative of the square of a weight?",
    hint="The penalty adds 2 * strength * weights to the gradient, before the learning rate multiplies both.",
)


# %% tags=["right"]
def l2_step(weights, gradient, rate, strength):  # a loop over places
    new = np.empty(weights.shape)
    for place in np.ndindex(weights.shape):
        new[place] = weights[place] - rate * (gradient[place] + strength * 2 * weights[place])
    return new


# %% tags=["right"]
def l2_step(weights, gradient, rate, strength):  # weight decay: shrink first, then go downhill
    return (1 - 2 * rate * strength) * weights - rate * gradient


# %% tags=["right"]
def l2_step(weights, gradient, rate, strength):  # library: an optimiser of Keras, in 32-bit numbers
    import keras

    w = keras.Variable(weights, dtype="float32")
    keras.optimizers.SGD(rate).apply([keras.ops.cast(gradient, "float32") + 2 * strength * w], [w])
    return w


# %% tags=["wrong"]
def l2_step(weights, gradient, rate, strength):
    return weights - rate * (gradient + strength * weights)  # the factor 2 is missing


# %% tags=["wrong"]
def l2_step(weights, gradient, rate, strength):
    return (weights - rate * gradient) * (1 - 2 * rate * strength)  # shrinks after the step


# %% tags=["wrong"]
def l2_step(weights, gradient, rate, strength):
    return weights - rate * (gradient + 2 * strength * np.abs(weights))  # negative weights grow


# %% tags=["wrong"]
def l2_step(weights, gradient, rate, strength):
    return weights - rate * (gradient + 2 * strength * np.sign(weights))  # L1; right where all weights are 1 or -1


# %% [markdown]
# Without a gradient every step multiplies the weight by the same number a little below 1, so it
# decays towards zero. A weight survives only if the data push against the decay.
#
# ## Exercise 3: dropout
#
# Switch each number of `x` off with probability `share`, each for itself, with random numbers from
# `rng`. Make the others larger, so that the mean over many draws is `x`. With `share` 0 nothing
# happens.


# %% tags=["answer"]
def dropout(x, share, rng):
    """x: array of any shape. Returns the same shape."""
    ### BEGIN SOLUTION
    kept = rng.random(x.shape) >= share
    return np.where(kept, x / (1 - share), 0.0)
    ### END SOLUTION


# %% tags=["check"]
def looks_like_dropout(share, value):
    def judge(result):
        result = np.asarray(result)
        if result.shape != (300, 200):
            return f"the shape is {result.shape}, not that of x."
        on = result != 0
        if abs(on.mean() - (1 - share)) > 0.02:
            return f"a share of {1 - on.mean():.2f} is off; asked for was {share}."
        if np.ptp(result[on]) > 1e-9:
            return "the numbers that are on are not all scaled alike."
        if abs(result.mean() - value) > 0.1 * value:
            return f"the mean of the result is {result.mean():.2f}, that of x is {value:.2f}."
        rows, columns = on.mean(axis=1), on.mean(axis=0)
        if rows.std() > 0.08 or columns.std() > 0.08:
            return "whole rows or columns are switched together; each number should be drawn for itself."
        return None

    return judge


check(
    dropout,
    case("half of them", np.full((300, 200), 2.0), 0.5, np.random.default_rng(0), expect=looks_like_dropout(0.5, 2.0)),
    case("a fifth", np.full((300, 200), 3.0), 0.2, np.random.default_rng(1), expect=looks_like_dropout(0.2, 3.0)),
    case("most", np.full((300, 200), 1.0), 0.8, np.random.default_rng(2), expect=looks_like_dropout(0.8, 1.0)),
    case("none", np.array([1.0, -2.0]), 0.0, np.random.default_rng(3), expect=np.array([1.0, -2.0])),
    nudge="Try 1000 ones with a share of 0.2. Which mean do you get, and which should it be?",
    hint="Draw one number from 0 to 1 for each element; it is on where that is at least share. Divide by 1 - share.",
)


# %% tags=["right"]
def dropout(x, share, rng):  # a loop over places
    result = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        if rng.uniform() >= share:
            result[place] = x[place] / (1 - share)
    return result


# %% tags=["right"]
def dropout(x, share, rng):  # library: coins
    return x * rng.binomial(1, 1 - share, np.shape(x)) / (1 - share)


# %% tags=["right"]
def dropout(x, share, rng):  # Keras, whose seed comes from rng
    import keras

    return keras.random.dropout(x, share, seed=int(rng.integers(2**31)))


# %% tags=["wrong"]
def dropout(x, share, rng):
    return np.where(rng.random(x.shape) >= share, x, 0.0)  # not scaled


# %% tags=["wrong"]
def dropout(x, share, rng):
    return np.where(rng.random(x.shape) >= share, x / max(share, 0.5), 0.0)  # right for one half only


# %% tags=["wrong"]
def dropout(x, share, rng):
    kept = rng.random(len(x)) >= share  # one draw for each row
    return np.where(kept.reshape(-1, *[1] * (x.ndim - 1)), x / (1 - share), 0.0)


# %% tags=["wrong"]
def dropout(x, share, rng):
    return np.where(rng.random(x.shape) >= share, x / share if share else x, 0.0)  # right for one half


# %% [markdown]
# ## Exercise 4: where to stop
#
# `losses` are the validation losses after epoch 0, 1, 2, ... Training ends as soon as `patience`
# epochs in a row have brought no loss *below* the best one so far, or when the losses end. Return
# two numbers: the epoch whose weights are kept (the first, if several are equal), and the last
# epoch that was trained.
#
# *Predict:* can a longer patience give worse weights, measured by the validation loss?


# %% tags=["answer"]
def early_stopping(losses, patience):
    """Returns (best epoch, last epoch that was trained)."""
    ### BEGIN SOLUTION
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best, epoch
    ### END SOLUTION


# %% tags=["check"]
check(
    early_stopping,
    case("falls to the end", [0.9, 0.7, 0.6, 0.5], 2, expect=[3, 3]),
    case("falls and rises", [0.9, 0.6, 0.7, 0.8, 0.5, 0.4], 2, expect=[1, 3]),
    case("more patience sees the second valley", [0.9, 0.6, 0.7, 0.8, 0.5, 0.6], 3, expect=[4, 5]),
    case("a rise that is interrupted", [0.9, 0.6, 0.8, 0.7, 0.9, 0.5, 0.4], 3, expect=[1, 4]),
    case("equal is not below", [0.5, 0.5, 0.5, 0.4], 2, expect=[0, 2]),
    case("patience of one", [0.5, 0.6, 0.1], 1, expect=[0, 1]),
    nudge="Which epoch do you compare with: the one before, or the best so far?",
    hint="Keep the number of the best epoch. Stop when the present epoch minus the best one is at least patience.",
)


# %% tags=["right"]
def early_stopping(losses, patience):  # counts the epochs without a new best
    best, lowest, bad = 0, float("inf"), 0
    for epoch in range(len(losses)):
        bad += 1
        if losses[epoch] < lowest:
            best, lowest, bad = epoch, losses[epoch], 0
        if bad == patience:
            return best, epoch
    return best, len(losses) - 1


# %% tags=["right"]
def early_stopping(losses, patience):  # vectorised: when was the best so far found?
    losses = np.array(losses)
    before = np.minimum.accumulate(np.append(np.inf, losses[:-1]))
    found = np.maximum.accumulate(np.where(losses < before, np.arange(len(losses)), 0))
    over = np.flatnonzero(np.arange(len(losses)) - found >= patience)
    last = over[0] if len(over) else len(losses) - 1
    return np.array([found[last], last])


# %% tags=["right"]
def early_stopping(losses, patience):  # slices of lists
    for epoch in range(len(losses)):
        seen = losses[: epoch + 1]
        best = seen.index(min(seen))
        if epoch == best + patience:
            break
    return [best, epoch]


# %% tags=["wrong"]
def early_stopping(losses, patience):
    best = int(np.argmin(losses))  # knows the future
    return best, min(best + patience, len(losses) - 1)


# %% tags=["wrong"]
def early_stopping(losses, patience):
    worse = 0
    for epoch in range(1, len(losses)):
        worse = worse + 1 if losses[epoch] >= losses[epoch - 1] else 0  # compares with the epoch before
        if worse >= patience:
            break
    return int(np.argmin(losses[: epoch + 1])), epoch


# %% tags=["wrong"]
def early_stopping(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss <= losses[best]:  # equal counts as better
            best = epoch
        if epoch - best >= patience:
            break
    return best, epoch


# %% [markdown]
# It cannot: more patience only sees more epochs, and the best of more is at least as good. What it
# costs is time.
#
# ## Exercise 5: which numbers share a mean
#
# Write both normalisations of the lesson for a table `x` (images, units). `kind` is "batch" or
# "layer". Then each unit's column is multiplied by its entry of `scale`, and its entry of `shift`
# is added. Add `eps` to the variance before you take the root.
#
# *Predict:* what comes out of "batch" for a single image?


# %% tags=["answer"]
def normalise(x, kind, scale, shift, eps=1e-3):
    """x: (images, units); scale and shift: (units,). Returns (images, units)."""
    ### BEGIN SOLUTION
    axis = 0 if kind == "batch" else 1
    mean, variance = x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * scale + shift
    ### END SOLUTION


# %% tags=["check"]
ones, zeros = np.ones(3), np.zeros(3)
table = np.array([[1.0, 2.0, 9.0], [3.0, 2.0, 1.0]])
check(
    normalise,
    case("batch", table, "batch", ones, zeros, 0.01,
         expect=np.array([[-0.995037, 0, 0.999688], [0.995037, 0, -0.999688]]), tolerance=1e-4),
    case("layer", table, "layer", ones, zeros, 0.01,
         expect=np.array([[-0.842570, -0.561713, 1.404284], [1.215582, 0.0, -1.215582]]), tolerance=1e-4),
    case("one image in a batch", table[:1], "batch", ones, np.array([1.0, 2.0, 3.0]), expect=np.array([[1.0, 2, 3]])),
    case("scale and shift belong to units", table, "layer", np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0]), 0.01,
         expect=np.array([[-0.842570, -1.123426, 5.212852], [1.215582, 0.0, -2.646746]]), tolerance=1e-4),
    nudge="Along which axis are the images? Over which numbers should the mean of one unit be taken in a batch?",
    hint="axis=0 for batch, axis=1 for layer, both with keepdims=True. Scale and shift have one entry a column.",
)  # fmt: skip


# %% tags=["right"]
def normalise(x, kind, scale, shift, eps=1e-3):  # loops over columns or rows
    table = x.T.copy() if kind == "batch" else x.copy()
    for row in table:
        mean = sum(row) / len(row)
        variance = sum((row - mean) ** 2) / len(row)
        row[:] = (row - mean) / (variance + eps) ** 0.5
    table = table.T if kind == "batch" else table
    return [[number * s + b for number, s, b in zip(row, scale, shift, strict=True)] for row in table]


# %% tags=["right"]
def normalise(x, kind, scale, shift, eps=1e-3):  # Keras: moments along an axis
    from keras import ops

    mean, variance = ops.moments(x, axes=[{"batch": 0, "layer": 1}[kind]], keepdims=True)
    return scale * (x - mean) * ops.rsqrt(variance + eps) + shift


# %% tags=["right"]
class Normaliser:  # Keras's layers, in 32-bit numbers
    def __call__(self, x, kind, scale, shift, eps=1e-3):
        import keras

        layers = keras.layers
        layer = (layers.BatchNormalization if kind == "batch" else layers.LayerNormalization)(epsilon=eps)
        layer.build(x.shape)
        layer.gamma.assign(scale)
        layer.beta.assign(shift)
        return layer(x, training=True) if kind == "batch" else layer(x)


normalise = Normaliser()


# %% tags=["wrong"]
def normalise(x, kind, scale, shift, eps=1e-3):
    axis = 1 if kind == "batch" else 0  # turned round
    mean, variance = x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * scale + shift


# %% tags=["wrong"]
def normalise(x, kind, scale, shift, eps=1e-3):
    axis = 0 if kind == "batch" else 1
    mean, spread = x.mean(axis=axis, keepdims=True), x.std(axis=axis, keepdims=True)
    return (x - mean) / (spread + eps) * scale + shift  # eps beside the root


# %% tags=["wrong"]
def normalise(x, kind, scale, shift, eps=1e-3):
    return (x - x.mean()) / np.sqrt(x.var() + eps) * scale + shift  # one mean for the whole table


# %% tags=["wrong"]
def normalise(x, kind, scale, shift, eps=1e-3):
    axis = 0 if kind == "batch" else 1
    mean, variance = x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * scale[:, None] + shift[:, None]  # one a row: square tables only


# %% [markdown]
# ## Experiment: where is the top of the hill?
#
# The lesson found that a wider network need not be worse. Here you measure what happens between.
# The model is a network with one hidden layer whose first weights stay random. Only the last layer
# is learned, by least squares from 40 training points. If there are several solutions without any
# error, take the one with the smallest weights: `np.linalg.pinv(hidden) @ y`.
#
# `study(seed, width)` gives the hidden values and the targets of 40 training points and of 500 new
# ones. Write `test_error`: the mean squared error on the new points, averaged over the seeds 0 to
# 19.
#
# *Predict* before you run the check: which width is the worst, 20, 40 or 400? Change only the
# width. Then explain what you see. (With 40 weights there is exactly one solution through 40
# points. With 400 there are many, and the smallest can be chosen.)


# %% tags=["answer"]
def study(seed, width):
    """Hidden values and targets: (40, width), (40,), and for new points (500, width), (500,)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(540, 10))
    y = np.maximum(0, x @ rng.normal(size=(10, 3))).sum(axis=1) / 2 + rng.normal(size=540) / 2
    hidden = np.maximum(0, x @ rng.normal(size=(10, width))) / np.sqrt(width)
    return hidden[:40], y[:40], hidden[40:], y[40:]


def test_error(width):
    """Returns the mean squared error on new points, averaged over 20 studies."""
    ### BEGIN SOLUTION
    errors = []
    for seed in range(20):
        hidden, y, new_hidden, new_y = study(seed, width)
        weights = np.linalg.pinv(hidden) @ y
        errors.append(np.mean((new_hidden @ weights - new_y) ** 2))
    return np.mean(errors)
    ### END SOLUTION


# %% tags=["check"]
check(
    test_error,
    case("20 units", 20, expect=between(2.2, 3.2)),
    case("40 units", 40, expect=between(300.0, 3000.0)),
    case("100 units", 100, expect=between(1.5, 2.0)),
    case("400 units", 400, expect=between(1.0, 1.45)),
    nudge="Do you learn from the 40 points alone, and measure on the 500 new ones? Is it the mean of all 20 studies?",
    hint="For each seed: weights = np.linalg.pinv(hidden) @ y; then the mean of (new_hidden @ weights - new_y) ** 2.",
)


# %% tags=["right"]
def test_error(width):  # lists; least squares with the smallest weights, from another function
    total = 0.0
    for seed in range(20):
        hidden, y, new_hidden, new_y = study(seed, width)
        weights, *_ = np.linalg.lstsq(hidden, y, rcond=None)
        total += sum((float(h @ weights) - t) ** 2 for h, t in zip(new_hidden, new_y, strict=True)) / len(new_y)
    return total / 20


# %% tags=["right"]
def test_error(width):  # all studies at once, by their singular values
    hidden, y, new_hidden, new_y = (
        np.stack(parts) for parts in zip(*(study(s, width) for s in range(20)), strict=True)
    )
    left, values, right = np.linalg.svd(hidden, full_matrices=False)
    weights = np.einsum("sik,si,sk,skw->sw", left, y, 1 / values, right, optimize=True)
    return np.square(np.einsum("snw,sw->sn", new_hidden, weights) - new_y).mean()


# %% tags=["wrong"]
def test_error(width):
    errors = []
    for seed in range(20):
        hidden, y, _, _ = study(seed, width)
        weights = np.linalg.pinv(hidden) @ y
        errors.append(np.mean((hidden @ weights - y) ** 2))  # the error on the training points
    return np.mean(errors)


# %% tags=["wrong"]
def test_error(width):
    errors = []
    for seed in range(20):
        hidden, y, new_hidden, new_y = study(seed, width)
        weights = np.linalg.pinv(hidden) @ y
        errors.append(np.mean((new_hidden @ weights - new_y) ** 2))
    return np.median(errors)  # not the mean: the worst studies do not count


# %% tags=["wrong"]
def test_error(width):
    _, _, new_hidden, new_y = study(0, width)
    weights = np.linalg.pinv(new_hidden) @ new_y  # learns from the new points
    return np.mean((new_hidden @ weights - new_y) ** 2)


# %% tags=["wrong"]
def test_error(width):
    errors = []
    for seed in range(20):
        hidden, y, new_hidden, new_y = study(seed, width)
        weights = np.linalg.solve(hidden.T @ hidden + 0.1 * np.eye(width), hidden.T @ y)  # L2: no hill is left
        errors.append(np.mean((new_hidden @ weights - new_y) ** 2))
    return np.mean(errors)


# %% [markdown]
# The worst width is the one that can just fit all points, 40. It has a single solution, which must
# follow every accident, as the cubic of the lesson did. In some studies its weights become very
# large, and these studies make most of the mean. Wider models fit just as perfectly, but
# among many solutions the smallest is a smooth one. This shape is called double descent (Belkin et
# al. 2019). Try a little L2 instead of the smallest weights, and look for the hill:
# `np.linalg.solve(hidden.T @ hidden + 0.1 * np.eye(width), hidden.T @ y)`.
