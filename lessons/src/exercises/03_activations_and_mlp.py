# %% [markdown]
# # Exercises 03 · Activations and the multi-layer perceptron
#
# Five exercises and an experiment, each alone. Write your answer in place of `raise NotImplementedError`, run
# the cell, then run the check below it. Where the text says *predict*, write your guess down before you run
# anything.

# %%
from itertools import pairwise

import numpy as np
from scipy.special import erf

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: a softmax for any scores
#
# Write softmax along the last axis, for an array of any shape. Three things make it harder than
# the formula. Scores of 1000 must not give `nan`. Scores of $-\infty$ must get the probability 0:
# later we forbid a word by giving it this score. And a row must not be disturbed by its
# neighbours: in one batch, one row may hold scores near 1000 and another scores near $-1000$.


# %% tags=["answer"]
def softmax(scores):
    """Probabilities along the last axis, with the shape of `scores`."""
    ### BEGIN SOLUTION
    exponentials = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
    ### END SOLUTION


# %% tags=["check"]
check(
    softmax,
    case("three scores", np.log([1.0, 2.0, 5.0]), expect=np.array([0.125, 0.25, 0.625])),
    case("a batch of rows", np.log([[1.0, 3.0], [1.0, 1.0]]), expect=np.array([[0.25, 0.75], [0.5, 0.5]])),
    case(
        "three axes: every sum along the last one is 1",
        np.arange(24.0).reshape(2, 3, 4),
        expect=lambda p: (
            None
            if np.shape(p) == (2, 3, 4) and np.allclose(np.sum(p, axis=-1), 1)
            else "the shape is not that of the scores, or the sums along the last axis are not 1."
        ),
    ),
    case("large scores", np.array([1000.0, 1000.0]), expect=np.array([0.5, 0.5])),
    case("large scores that differ", 1000 + np.log([1.0, 3.0]), expect=np.array([0.25, 0.75]), tolerance=1e-4),
    case("a forbidden answer", np.array([0.0, -np.inf, 0.0]), expect=np.array([0.5, 0.0, 0.5])),
    case(
        "rows of very different size",
        np.array([[1000.0, 1000.0], [-1000.0, -1000.0]]),
        expect=np.array([[0.5, 0.5], [0.5, 0.5]]),
    ),
    nudge="What is the exponential of 1000? Along which axis must the probabilities add up to 1?",
    hint="Subtract the largest score of each row before the exponential; keepdims=True keeps the axis.",
)


# %% tags=["right"]
def softmax(scores):  # a loop over rows
    result = np.empty(np.shape(scores))
    for place in np.ndindex(scores.shape[:-1]):
        top = max(scores[place])
        powers = [np.exp(score - top) for score in scores[place]]
        result[place] = [power / sum(powers) for power in powers]
    return result


# %% tags=["right"]
def softmax(scores):  # library
    from scipy.special import logsumexp

    return np.exp(scores - logsumexp(scores, axis=-1, keepdims=True))


# %% tags=["right"]
def softmax(scores):  # Keras, in 32-bit numbers
    import keras

    return keras.ops.softmax(np.asarray(scores, "float32"), axis=-1)


# %% tags=["wrong"]
def softmax(scores):
    exponentials = np.exp(np.minimum(scores, 700))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


# %% tags=["wrong"]
def softmax(scores):  # cuts large scores off, and their difference with them
    exponentials = np.exp(np.clip(scores, -500, 500))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


# %% tags=["wrong"]
def softmax(scores):  # one maximum for the whole array
    with np.errstate(invalid="ignore", divide="ignore"):
        exponentials = np.exp(scores - np.max(scores))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)


# %% tags=["wrong"]
def softmax(scores):  # sums over everything
    exponentials = np.exp(scores - np.max(scores))
    return exponentials / exponentials.sum()


# %% tags=["wrong"]
def softmax(scores):  # the first axis: right where the table is symmetric, or has one axis
    exponentials = np.exp(scores - np.max(scores, axis=0, keepdims=True))
    return exponentials / exponentials.sum(axis=0, keepdims=True)


# %% [markdown]
# ## Exercise 2: how many numbers?
#
# Before anyone trains a network, somebody must pay for its memory. Count the numbers (weights and
# biases) of a multi-layer perceptron. Its widths come as a list, the inputs first: the network of
# the lesson is `[64, 64, 10]`. Each layer has one weight for each pair of an input and a unit, and
# one bias a unit.
#
# Guess first: a network for the digits with *two* hidden layers of 64 has how many times the
# numbers of the one with one? And which is larger, one hidden layer of 128, or two of 64?


# %% tags=["answer"]
def count_numbers(widths, use_bias=True):
    """The number of weights and biases of dense layers with these widths."""
    ### BEGIN SOLUTION
    total = 0
    for inputs, units in pairwise(widths):
        total += inputs * units + (units if use_bias else 0)
    return total
    ### END SOLUTION


# %% tags=["check"]
check(
    count_numbers,
    case("two inputs, one unit", [2, 1], expect=3),
    case("XOR: two inputs, two units, one output", [2, 2, 1], expect=9),
    case("the MLP of the lesson", [64, 64, 10], expect=4810),
    case("two hidden layers", [64, 64, 64, 10], expect=8970),
    case("one hidden layer of 128", [64, 128, 10], expect=9610),
    case("without biases", [5, 7, 3], use_bias=False, expect=56),
    nudge="Draw [2, 2, 1]. How many arrows are there, and how many units have a bias? Do the inputs have one?",
    hint="Go through the neighbouring pairs of widths: inputs times units, plus one bias a unit.",
)


# %% tags=["right"]
def count_numbers(widths, use_bias=True):  # an index
    total = 0
    for i in range(1, len(widths)):
        total = total + widths[i] * widths[i - 1]
        if use_bias:
            total = total + widths[i]
    return total


# %% tags=["right"]
def count_numbers(widths, use_bias=True):  # arrays: a constant input is one more input
    widths = np.array(widths)
    return np.dot(widths[:-1] + use_bias, widths[1:])


# %% tags=["right"]
def count_numbers(widths, use_bias=True):  # asks Keras
    import keras

    layers = [keras.layers.Dense(units, use_bias=use_bias) for units in widths[1:]]
    return keras.Sequential([keras.Input((widths[0],)), *layers]).count_params()


# %% tags=["wrong"]
def count_numbers(widths, use_bias=True):  # counts a bias for the inputs too
    pairs = sum(a * b for a, b in pairwise(widths))
    return pairs + (sum(widths) if use_bias else 0)


# %% tags=["wrong"]
def count_numbers(widths, use_bias=True):  # forgets that biases can be off
    return sum(a * b + b for a, b in pairwise(widths))


# %% tags=["wrong"]
def count_numbers(widths, use_bias=True):  # right where all layers are equally wide: a bias for each input
    return sum(a * b + (a if use_bias else 0) for a, b in pairwise(widths))


# %% [markdown]
# ## Exercise 3: the slope of SiLU
#
# Many language models of today use *SiLU*, $f(x) = x\,\sigma(x)$, also called swish. It is a
# relative of GELU: the same idea, with the sigmoid in place of the normal distribution. Work out
# its derivative on paper with the product rule, then write it. The check compares it with finite
# differences, so it also finds a slip that one cannot see.
#
# When it passes: at which $x$ is the slope 0? To the left of it the function *falls* as $x$ grows.
# ReLU never does that.


# %% tags=["answer"]
def silu_slope(x):
    """The derivative of x * sigmoid(x), for an array x."""
    ### BEGIN SOLUTION
    gate = 1 / (1 + np.exp(-x))
    return gate + x * gate * (1 - gate)
    ### END SOLUTION


# %% tags=["check"]
def like_finite_differences(x, h=1e-5):
    def silu(x):
        return x / (1 + np.exp(-x))

    measured = (silu(x + h) - silu(x - h)) / (2 * h)

    def judge(slope):
        if np.shape(slope) != x.shape:
            return f"it has the shape {np.shape(slope)}, but x has {x.shape}."
        off = np.abs(slope - measured)
        worst = x.flat[off.argmax()]
        return None if off.max() < 1e-6 else f"at x = {worst:.2f} it is off by {off.max():.2g}."

    return judge


check(
    silu_slope,
    case("at 0", np.array([0.0]), expect=np.array([0.5])),
    case("far right it is like ReLU", np.array([50.0]), expect=np.array([1.0])),
    case("from -6 to 6", np.linspace(-6, 6, 101), expect=like_finite_differences(np.linspace(-6, 6, 101))),
    nudge="f is a product of two functions of x. What does the product rule say, and what is the slope of each?",
    hint="Product rule: (x s)' = s + x s', and the slope of the sigmoid s is s (1 - s).",
)


# %% tags=["right"]
def silu_slope(x):  # a loop over floats, from the text-book's form of the same slope
    from math import exp

    return [(1 + exp(-v) + v * exp(-v)) / (1 + exp(-v)) ** 2 for v in x]


# %% tags=["right"]
def silu_slope(x):  # library: expit, and f itself
    from scipy.special import expit

    silu = x * expit(x)
    return silu + expit(x) * (1 - silu)


# %% tags=["right"]
def silu_slope(x):  # Keras, in 32-bit numbers
    from keras import ops

    gate = ops.sigmoid(np.asarray(x, "float32"))
    return gate * (1 + ops.cast(x, "float32") * (1 - gate))


# %% tags=["wrong"]
def silu_slope(x):  # the slope of the sigmoid alone, times x
    gate = 1 / (1 + np.exp(-x))
    return x * gate * (1 - gate)


# %% tags=["wrong"]
def silu_slope(x):  # takes the derivative of GELU for it
    return (1 + erf(x / np.sqrt(2))) / 2 + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


# %% tags=["wrong"]
def silu_slope(x):  # forgets the x of the product rule
    gate = 1 / (1 + np.exp(-x))
    return gate + gate * (1 - gate)


# %% [markdown]
# ## Exercise 4: XOR with tanh units
#
# The lesson solved XOR with two ReLU units and inputs 0 and 1. Now do it with two tanh units
# and inputs $-1$ and $+1$, weights by hand:
#
# $$h = \tanh(xW_1 + b_1), \qquad y = hw_2 + b_2.$$
#
# The answer must be above 0 where exactly one input is $+1$, below 0 otherwise, and clear: at
# least 0.5 away from 0. Return `W1` of shape (2, 2), `b1` (2,), `w2` (2,) and `b2`, a number. No
# training: think of one unit that says "at least one is on" and another that says "both are on".
#
# There are many right answers. The check also wants to know: does yours survive if each weight and
# bias is off by a tenth of its size? Good weights do not stand on a needle's point.


# %% tags=["answer"]
def xor_weights():
    """W1 (2, 2), b1 (2,), w2 (2,), b2 of a network for XOR with two tanh units."""
    ### BEGIN SOLUTION
    W1 = np.array([[2.0, 2.0], [2.0, 2.0]])
    b1 = np.array([2.0, -2.0])  # unit 1: at least one is on; unit 2: both are on
    w2 = np.array([2.0, -2.0])
    b2 = -2.0
    return W1, b1, w2, b2
    ### END SOLUTION


# %% tags=["check"]
def solves_xor(answer):
    if not isinstance(answer, tuple | list) or len(answer) != 4:
        return "it does not return the four things W1, b1, w2, b2."
    W1, b1, w2, b2 = [np.asarray(part, dtype=float) for part in answer]
    shapes = W1.shape, b1.shape, w2.shape, b2.shape
    if shapes != ((2, 2), (2,), (2,), ()):
        return f"the shapes are {shapes}, not (2, 2), (2,), (2,) and a number."
    inputs = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    targets = np.array([-1, 1, 1, -1])
    rng = np.random.default_rng(0)
    for trial in range(200):
        size = 0.1 if trial else 0  # first as given, then with disturbed weights
        parts = [part * (1 + size * rng.uniform(-1, 1, part.shape)) for part in (W1, b1, w2, b2)]
        margins = targets * (np.tanh(inputs @ parts[0] + parts[1]) @ parts[2] + parts[3])
        if trial == 0 and margins.min() < 0.5:
            x = inputs[margins.argmin()]
            return f"the answer to the inputs {x[0]:+d}, {x[1]:+d} is wrong or closer than 0.5 to 0."
        if margins.min() <= 0:
            return "it works as given, but not if the weights are off by a tenth."
    return None


check(
    xor_weights,
    case("the four points, also with disturbed weights", expect=solves_xor),
    nudge="Which sums x1 + x2 are possible? Where must each tanh change its sign to tell them apart?",
    hint="Both units add the inputs; only their biases differ. The output takes the first minus the second.",
)


# %% tags=["right"]
def xor_weights():  # a unit that sees the first input minus the second, and one that sees the reverse
    return [[3, -3], [-3, 3]], [-3, -3], [3, 3], 3


# %% tags=["right"]
def xor_weights():  # other sizes and signs, arrays of other kinds
    first = 3 * np.array([[-1, 1], [-1, 1]], dtype="float32")
    return first, np.array([3, 3]), np.array([2.0, 2.0]), np.float64(-2)


# %% tags=["wrong"]
def xor_weights():  # the ReLU weights of the lesson
    return np.array([[1, 1], [1, 1]]), np.array([0, -1]), np.array([1, -2]), 0


# %% tags=["wrong"]
def xor_weights():  # the bias of the output is missing: (+1, +1) gets 0
    return np.full((2, 2), 2.0), np.array([2.0, -2.0]), np.array([2.0, -2.0]), 0.0


# %% tags=["wrong"]
def xor_weights():  # right as given, but on a needle's point: a tenth more and it breaks
    size = 0.15
    W1, b1 = np.full((2, 2), size), np.array([2 * size, -2 * size])
    # tanh(4 s), tanh(2 s): a small difference, blown up
    low = np.tanh(4 * size)
    high = 2 * np.tanh(2 * size)
    gain = 2 / (high - low)
    return W1, b1, np.array([gain, -gain]), -gain * (high + low) / 2


# %% tags=["wrong"]
def xor_weights():  # a row for each unit, as lesson 01 had it: right where W1 is symmetric
    return np.array([[-3.0, -3], [3, 3]]), np.array([3.0, 3]), np.array([2.0, 2]), -2.0


# %% [markdown]
# ## Exercise 5: how deep before the gradient is lost? Predict, then measure
#
# A network of sigmoid layers, all 64 wide. How many layers may stand on top of the first one until
# less than a millionth of the gradient reaches it?
#
# *Predict.* With Glorot's weights each layer multiplies the gradient by about the slope of the
# sigmoid, at most 1/4. What depth do you get from that? Write it down. Does it become much better
# with weights twice as large? With four times as large?
#
# *Measure.* Write `lost_at`. It follows the gradient through the layers *backwards*, which needs
# only one fact (lesson 04 proves it): if a layer computes $h' = \sigma(hW)$, and $g'$ is the
# gradient at $h'$, the gradient at $h$ is $(g' \cdot s)\,W^\top$, where $s$ is the slope of the
# sigmoid at $hW$, and $\cdot$ multiplies number by number. So:
#
# 1. Go forward through all the weight matrices in the list; keep the slopes $s$ of each layer.
# 2. Start at the end with a gradient of ones. Go back, layer by layer.
# 3. After each step compare the root of the mean square of the gradient with its size at the start
# (1). Return the number of layers passed when it is below `limit` for the first time, or `None`.


# %% tags=["answer"]
def lost_at(h, matrices, limit=1e-6):
    """Layers that the gradient passes, from the last one back, until its size is below `limit`.

    h: inputs (batch, width). matrices: weights (width, width), the first layer first.
    """
    ### BEGIN SOLUTION
    slopes = []
    for W in matrices:
        h = 1 / (1 + np.exp(-(h @ W)))
        slopes.append(h * (1 - h))
    gradient = np.ones_like(h)
    for passed, (W, slope) in enumerate(zip(matrices[::-1], slopes[::-1], strict=True), start=1):
        gradient = (gradient * slope) @ W.T
        if np.sqrt(np.mean(gradient**2)) < limit:
            return passed
    return None
    ### END SOLUTION


# %% tags=["check"]
def sigmoid_net(depth, scale, width=64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((32, width)), [scale * rng.standard_normal((width, width)) for _ in range(depth)]


one = np.ones((1, 1))
left, down = np.array([[4.0, 0], [0, 0]]), np.array([[0.0, 0], [4, 0]])
check(
    lost_at,
    case("one unit a layer, weight 0: the slope is 1/4, the gradient 0", one, [0 * one], expect=1),
    case("one unit a layer, weights 1: each step loses at least 3/4", one, [one] * 20, limit=0.02, expect=3),
    case("the order of the layers matters", one, [0.1 * one, one, one], limit=0.02, expect=3),
    case("each slope belongs to its own layer", one, [10 * one, one], limit=0.01, expect=2),
    case(
        "the root of the mean square, not the mean size",
        np.zeros((1, 2)),
        [np.array([[1.0, 0], [0, 0]])],
        limit=0.15,
        expect=lambda n: None if n is None else "the gradient (0.25, 0) has the size 0.18, above this limit.",
    ),
    case("a matrix and its transpose are two things", np.zeros((1, 2)), [left, down], limit=0.1, expect=2),
    case("Glorot's weights", *sigmoid_net(30, 1 / 8), expect=lambda n: None if n == 10 else "this is not the depth."),
    case(
        "weights of 1", *sigmoid_net(30, 1.0), expect=lambda n: None if n is None else "the gradient is not lost here."
    ),
    nudge="The gradient starts at the last layer. In which order does it meet the matrices?",
    hint="Two loops: forward to collect h (1 - h), then backwards over both lists with [::-1].",
)


# %% tags=["right"]
def lost_at(h, matrices, limit=1e-6):  # recursion: forward on the way in, backwards on the way out
    def back(h, rest):
        if not rest:
            return np.ones_like(h), 0, None
        new = 1 / (1 + np.exp(-(h @ rest[0])))
        gradient, passed, lost = back(new, rest[1:])
        gradient = np.einsum("bj,ij->bi", gradient * new * (1 - new), rest[0])
        passed += 1
        if lost is None and np.sqrt((gradient**2).mean()) < limit:
            lost = passed
        return gradient, passed, lost

    return back(h, list(matrices))[2]


# %% tags=["right"]
def lost_at(h, matrices, limit=1e-6):  # library's sigmoid; a stack that is emptied, and the norm
    from scipy.special import expit

    stack = []
    for W in matrices:
        z = np.dot(h, W)
        stack.append((W, expit(z) * expit(-z)))
        h = expit(z)
    gradient, passed = np.ones(np.shape(h)), 0
    while stack:
        W, slope = stack.pop()
        gradient = np.dot(slope * gradient, np.transpose(W))
        passed += 1
        if np.linalg.norm(gradient) / np.sqrt(np.size(gradient)) < limit:
            return passed


# %% tags=["wrong"]
def lost_at(h, matrices, limit=1e-6):  # walks through the layers in the wrong direction
    slopes = []
    for W in matrices:
        h = 1 / (1 + np.exp(-(h @ W)))
        slopes.append(h * (1 - h))
    gradient = np.ones_like(h)
    for passed, (W, slope) in enumerate(zip(matrices, slopes, strict=True), start=1):
        gradient = (gradient * slope) @ W.T
        if np.sqrt(np.mean(gradient**2)) < limit:
            return passed
    return None


# %% tags=["wrong"]
def lost_at(h, matrices, limit=1e-6):  # the matrices from the end, the slopes from the start
    slopes = []
    for W in matrices:
        h = 1 / (1 + np.exp(-(h @ W)))
        slopes.append(h * (1 - h))
    gradient = np.ones_like(h)
    for passed, (W, slope) in enumerate(zip(matrices[::-1], slopes, strict=True), start=1):
        gradient = (gradient * slope) @ W.T
        if np.sqrt(np.mean(gradient**2)) < limit:
            return passed
    return None


# %% tags=["wrong"]
def lost_at(h, matrices, limit=1e-6):  # the mean size instead of the root of the mean square
    slopes = []
    for W in matrices:
        h = 1 / (1 + np.exp(-(h @ W)))
        slopes.append(h * (1 - h))
    gradient = np.ones_like(h)
    for passed, (W, slope) in enumerate(zip(matrices[::-1], slopes[::-1], strict=True), start=1):
        gradient = (gradient * slope) @ W.T
        if np.mean(np.abs(gradient)) < limit:
            return passed
    return None


# %% tags=["wrong"]
def lost_at(h, matrices, limit=1e-6):  # the rule of thumb instead of a measurement
    return int(np.ceil(np.log(limit) / np.log(0.25)))


# %% tags=["wrong"]
def lost_at(h, matrices, limit=1e-6):  # the matrix where its transpose belongs: every shape fits
    slopes = []
    for W in matrices:
        h = 1 / (1 + np.exp(-(h @ W)))
        slopes.append(h * (1 - h))
    gradient = np.ones_like(h)
    for passed, (W, slope) in enumerate(zip(matrices[::-1], slopes[::-1], strict=True), start=1):
        gradient = (gradient * slope) @ W
        if np.sqrt(np.mean(gradient**2)) < limit:
            return passed
    return None


# %% tags=["wrong"]
def lost_at(h, matrices, limit=1e-6):  # forgets the weights on the way back
    slopes = []
    for W in matrices:
        h = 1 / (1 + np.exp(-(h @ W)))
        slopes.append(h * (1 - h))
    gradient = np.ones_like(h)
    for passed, slope in enumerate(slopes[::-1], start=1):
        gradient = gradient * slope
        if np.sqrt(np.mean(gradient**2)) < limit:
            return passed
    return None


# %% [markdown]
# Look at your numbers with other scales and seeds. The rule of thumb is good for small weights.
# With weights of 1 many units are saturated, and the gradient is still alive: large weights
# multiply what the flat slopes divide. Neither the slope nor the weights alone decide; their
# product does.
#
# ## Experiment: the size of the first weights
#
# Send 256 random inputs (64 numbers of variance 1 each) through 20 ReLU layers of 64 units without biases,
# whose weights are normal with standard deviation `sigma`. Write `growth`: it returns the root of the mean
# square of the last outputs, divided by that of the inputs. Any seed will do.
#
# *Predict* before you run the check: the growth with He's size $\sqrt{2/64}$, with twice that size, and with
# Glorot's size $\sqrt{1/64}$. The lesson says that a layer multiplies the mean square by $64\,\sigma^2 / 2$.
# Only `sigma` changes. Then measure, and explain. How much larger than He's size may the weights be until 20
# layers make the outputs ten times as large?


# %% tags=["answer"]
def growth(sigma, layers=20):
    """The size of the outputs of a random ReLU network, divided by the size of its inputs."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(0)
    inputs = outputs = rng.normal(size=(256, 64))
    for _ in range(layers):
        outputs = np.maximum(outputs @ (sigma * rng.normal(size=(64, 64))), 0)
    return np.sqrt(np.mean(outputs**2) / np.mean(inputs**2))
    ### END SOLUTION


# %% tags=["check"]
check(
    growth,
    case("He's size", np.sqrt(2 / 64), expect=between(0.08, 8)),
    case("twice He's size", 2 * np.sqrt(2 / 64), expect=between(8e4, 8e6)),
    case("Glorot's size", np.sqrt(1 / 64), expect=between(8e-5, 8e-3)),
    case("He's size, one layer", np.sqrt(2 / 64), layers=1, expect=between(0.7, 1.4)),
    nudge="Is there a ReLU after each of the 20 products? Is sigma a standard deviation, not a variance?",
    hint="In a loop: outputs = np.maximum(outputs @ (sigma * rng.normal(size=(64, 64))), 0); then two roots of means.",
)


# %% tags=["right"]
def growth(sigma, layers=20):  # one input after the other, through the same network
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((256, 64))
    matrices = [rng.normal(0, sigma, (64, 64)) for _ in range(layers)]
    before = after = 0.0
    for x in inputs:
        before += float(x @ x)
        for W in matrices:
            x = W @ x
            x[x < 0] = 0
        after += float(x @ x)
    return (after / before) ** 0.5


# %% tags=["right"]
def growth(sigma, layers=20):  # library: layers of Keras, in 32-bit numbers
    import keras

    start = keras.initializers.RandomNormal(stddev=sigma, seed=5)
    x = inputs = keras.random.normal((256, 64), seed=6)
    for number in range(layers):
        start = keras.initializers.RandomNormal(stddev=sigma, seed=number)
        x = keras.layers.Dense(64, "relu", use_bias=False, kernel_initializer=start)(x)
    return keras.ops.sqrt(keras.ops.mean(x**2) / keras.ops.mean(inputs**2))


# %% tags=["wrong"]
def growth(sigma, layers=20):
    rng = np.random.default_rng(0)
    inputs = outputs = rng.normal(size=(256, 64))
    for _ in range(layers):
        outputs = outputs @ (sigma * rng.normal(size=(64, 64)))  # nothing between the layers
    return np.sqrt(np.mean(outputs**2) / np.mean(inputs**2))


# %% tags=["wrong"]
def growth(sigma, layers=20):
    rng = np.random.default_rng(0)
    inputs = outputs = rng.normal(size=(256, 64))
    for _ in range(layers):
        outputs = np.tanh(outputs @ (sigma * rng.normal(size=(64, 64))))  # another activation
    return np.sqrt(np.mean(outputs**2) / np.mean(inputs**2))


# %% tags=["wrong"]
def growth(sigma, layers=20):
    rng = np.random.default_rng(0)
    inputs = outputs = rng.normal(size=(256, 64))
    for _ in range(layers):
        outputs = np.maximum(outputs @ (np.sqrt(sigma) * rng.normal(size=(64, 64))), 0)  # sigma as a variance
    return np.sqrt(np.mean(outputs**2) / np.mean(inputs**2))


# %% [markdown]
# With He's size the growth is near 1. Twice the size is $2^{20}$, about a million, and Glorot's size is
# $2^{-10}$, about a thousandth. Each layer multiplies, so a small error counts twenty times:
# $1.12^{20} \approx 10$, and weights that are 12% too large make the outputs ten times as large. With 100
# layers it would be $10^5$.
