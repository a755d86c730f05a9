# %% [markdown]
# # Exercises 04 · Backpropagation
#
# Five exercises and an experiment, each alone. Derive on paper first, then write code, then run the check.
# Where the text says *predict*, write your guess down before you run anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: the backward pass of a dense layer
#
# A dense layer computes `Z = X @ W + b`. Somebody gives you `dZ`, the gradient of the loss with
# respect to `Z`. Return three gradients: for `X` (the layer below needs it), for `W` and for `b`.
#
# | array | shape |
# |---|---|
# | `X`, `dX` | (n, inputs) |
# | `W`, `dW` | (inputs, outputs) |
# | `b`, `db` | (outputs,) |
# | `dZ` | (n, outputs) |
#
# The loss of the lesson was a mean, and its `1 / n` is already inside `dZ`. This function does
# not know the loss.


# %% tags=["answer"]
def dense_backward(X, W, dZ):
    """The gradients (dX, dW, db) of a dense layer."""
    ### BEGIN SOLUTION
    return dZ @ W.T, X.T @ dZ, dZ.sum(axis=0)
    ### END SOLUTION


# %% tags=["check"]
check(
    dense_backward,
    case(
        "2 examples, 3 inputs, 2 outputs",
        np.array([[1.0, 2, 0], [0, 1, 3]]),
        np.array([[1.0, 0], [2, 1], [0, -1]]),
        np.array([[1.0, -1], [0, 2]]),
        expect=([[1, 1, 1], [0, 2, -2]], [[1, -1], [2, 0], [0, 6]], [1, 1]),
    ),
    case(
        "everything square, so the shapes cannot help",
        np.array([[1.0, 2], [3, 4]]),
        np.array([[0.0, 1], [2, 3]]),
        np.array([[1.0, 2], [0, -1]]),
        expect=([[2, 8], [-1, -3]], [[1, -1], [2, 0]], [1, 1]),
    ),
    case(
        "one example",
        np.array([[2.0, 0, 1]]),
        np.array([[1.0], [2], [3]]),
        np.array([[0.5]]),
        expect=([[0.5, 1, 1.5]], [[1], [0], [0.5]], [0.5]),
    ),
    nudge="Each gradient has the shape of its array. Which sum runs over the examples, which one over the outputs?",
    hint="Each factor gets the gradient times the other factor; the shapes tell the order.",
)


# %% tags=["right"]
def dense_backward(X, W, dZ):  # loops: every product of the forward pass sends its part back
    dX, dW, db = np.zeros(X.shape), np.zeros(W.shape), np.zeros(W.shape[1])
    for n in range(len(X)):
        for k in range(W.shape[1]):
            db[k] += dZ[n, k]
            for j in range(len(W)):
                dX[n, j] += dZ[n, k] * W[j, k]
                dW[j, k] += dZ[n, k] * X[n, j]
    return [dX, dW, db]


# %% tags=["right"]
def dense_backward(X, W, dZ):  # einsum: the letters that remain are those of the array
    return np.einsum("nk,jk->nj", dZ, W), np.einsum("nj,nk->jk", X, dZ), np.einsum("nk->k", dZ)


# %% tags=["right"]
def dense_backward(X, W, dZ):  # tensors of Keras
    from keras import ops

    X, W, dZ = (ops.cast(part, "float32") for part in (X, W, dZ))
    return dZ @ ops.transpose(W), ops.transpose(X) @ dZ, ops.sum(dZ, axis=0)


# %% tags=["wrong"]
def dense_backward(X, W, dZ):
    return dZ @ W.T, X.T @ dZ, dZ.mean(axis=0)


# %% tags=["wrong"]
def dense_backward(X, W, dZ):
    return dZ @ W.T, (dZ.T @ X).reshape(W.shape), dZ.sum(axis=0)


# %% tags=["wrong"]
def dense_backward(X, W, dZ):
    square = W.shape[0] == W.shape[1]
    return dZ @ (W if square else W.T), X.T @ dZ, dZ.sum(axis=0)  # right only where W equals its transpose


# %% [markdown]
# ## Exercise 2: a gradient checker
#
# Write the central finite difference $(L(w + h) - L(w - h)) / 2h$ for an array of any shape.
# `loss` is a function that takes the array and returns a number.
#
# Three things to care about. The array must be the same after the call as before. Each number is
# nudged alone, while the others keep their values. And the array may hold whole numbers: NumPy
# then cuts off the fraction of whatever you store in it.


# %% tags=["answer"]
def numeric_gradient(loss, weights, h=1e-5):
    """Central differences of loss(weights), in an array of the shape of `weights`."""
    ### BEGIN SOLUTION
    weights = np.array(weights, dtype=float)  # a copy
    gradient = np.zeros_like(weights)
    for place in np.ndindex(weights.shape):
        before = weights[place]
        weights[place] = before + h
        above = loss(weights)
        weights[place] = before - h
        below = loss(weights)
        weights[place] = before
        gradient[place] = (above - below) / (2 * h)
    return gradient
    ### END SOLUTION


# %% tags=["check"]
kept = np.array([1.0, 2.0])


def unchanged(gradient):
    same = np.array_equal(kept, [1.0, 2.0])
    return None if same else "the array that was handed in has other numbers in it now."


check(
    numeric_gradient,
    case("sum of squares of a matrix", lambda w: (w**2).sum(), np.array([[1.0, -2.0], [0.5, 0.0]]),
         expect=np.array([[2, -4], [1, 0]]), tolerance=1e-6),
    case("a big step, where the kind of difference shows", lambda w: (w**3).sum(),
         np.array([1.0, 2.0]), h=0.5, expect=np.array([3.25, 12.25])),
    case("weights that act together", lambda w: w[0] * w[1] * w[2], np.array([2.0, 3.0, 5.0]),
         h=0.1, expect=np.array([15, 10, 6])),
    case("the array stays as it was", lambda w: (w**2).sum(), kept, expect=unchanged),
    case("whole numbers", lambda w: (w**2).sum(), np.array([3, 4]), expect=np.array([6, 8])),
    nudge="After the loop, does every number of the array stand where it stood? Can it hold a fraction at all?",
    hint="Loop over np.ndindex(weights.shape) and work on a copy that holds floats.",
)  # fmt: skip


# %% tags=["right"]
def numeric_gradient(loss, weights, h=1e-5):  # lists: two new arrays for each number
    flat, found = [float(w) for w in np.ravel(weights)], []
    for i in range(len(flat)):
        above, below = (np.reshape([*flat[:i], flat[i] + s, *flat[i + 1 :]], np.shape(weights)) for s in (h, -h))
        found.append((loss(above) - loss(below)) / h / 2)
    return np.reshape(found, np.shape(weights))


# %% tags=["right"]
def numeric_gradient(loss, weights, h=1e-5):  # all nudges at once, one row of a unit matrix each
    nudges = h * np.eye(np.size(weights)).reshape(-1, *np.shape(weights))
    slopes = [(loss(weights + nudge) - loss(weights - nudge)) / (2 * h) for nudge in nudges]
    return np.array(slopes).reshape(weights.shape)


# %% tags=["right"]
def numeric_gradient(loss, weights, h=1e-5):  # library: an iterator over the places of a copy
    copy, gradient = np.copy(weights).astype(np.float64), np.empty(weights.shape)
    for place, value in np.ndenumerate(weights):
        copy[place] = value + h
        gradient[place] = loss(copy)
        copy[place] = value - h
        gradient[place] -= loss(copy)
        copy[place] = value
    return gradient / (2 * h)


# %% tags=["wrong"]
def numeric_gradient(loss, weights, h=1e-5):
    weights = np.array(weights, dtype=float)
    gradient, start = np.zeros_like(weights), loss(weights)
    for place in np.ndindex(weights.shape):
        weights[place] += h
        gradient[place] = (loss(weights) - start) / h  # one-sided
        weights[place] -= h
    return gradient


# %% tags=["wrong"]
def numeric_gradient(loss, weights, h=1e-5):
    weights = np.array(weights, dtype=float)
    gradient = np.zeros_like(weights)
    for place in np.ndindex(weights.shape):
        weights[place] += h
        above = loss(weights)
        weights[place] -= 2 * h  # and never put back
        gradient[place] = (above - loss(weights)) / (2 * h)
    return gradient


# %% tags=["wrong"]
def numeric_gradient(loss, weights, h=1e-5):
    gradient = np.zeros(weights.shape)
    for place in np.ndindex(weights.shape):
        before = weights[place]
        weights[place] = before + h  # a whole number stays a whole number
        above = loss(weights)
        weights[place] = before - h
        gradient[place] = (above - loss(weights)) / (2 * h)
        weights[place] = before
    return gradient


# %% tags=["wrong"]
def numeric_gradient(loss, weights, h=1e-5):
    weights = np.array(weights, dtype=float)
    slope = (loss(weights + h) - loss(weights - h)) / (2 * h)  # all nudged together; right for one number
    return np.full(weights.shape, slope)


# %% [markdown]
# ## Exercise 3: two new operations for a small engine
#
# Here is an engine for single numbers. Every `Value` stores its parents and, for each parent, the
# *slope* of the value with respect to that parent. `backward` multiplies and adds. Sum and
# product are there:


# %%
class Value:
    """A number that remembers how it was made."""

    def __init__(self, data, parents=(), slopes=()):
        self.data, self.parents, self.slopes = data, parents, slopes
        self.grad = 0.0

    def backward(self):
        order, seen = [], set()

        def visit(value):
            if value not in seen:
                seen.add(value)
                for parent in value.parents:
                    visit(parent)
                order.append(value)

        visit(self)
        self.grad = 1.0
        for value in reversed(order):
            for parent, slope in zip(value.parents, value.slopes, strict=True):
                parent.grad += value.grad * slope


def add(a, b):
    return Value(a.data + b.data, (a, b), (1.0, 1.0))


def multiply(a, b):
    return Value(a.data * b.data, (a, b), (b.data, a.data))


# %% [markdown]
# Add `tanh(a)` and `divide(a, b)`. Both take and return `Value`s, in the manner of `add` and
# `multiply`. *Predict*: what is the slope of $x / x$? Your engine must find it, although it never
# simplifies the fraction.


# %% tags=["answer"]
def tanh(a):
    """The hyperbolic tangent of a Value."""
    ### BEGIN SOLUTION
    value = np.tanh(a.data)
    return Value(value, (a,), (1 - value**2,))
    ### END SOLUTION


def divide(a, b):
    """The quotient a / b of two Values."""
    ### BEGIN SOLUTION
    return Value(a.data / b.data, (a, b), (1 / b.data, -a.data / b.data**2))
    ### END SOLUTION


# %% tags=["check"]
def value_and_slopes_of_tanh(number):
    x = Value(number)
    result = tanh(x)
    result.backward()
    return [result.data, x.grad]


def value_and_slopes_of_divide(first, second):
    a, b = Value(first), Value(second)
    result = divide(a, b)
    result.backward()
    return [result.data, a.grad, b.grad]


def slope_of_a_mixture(number):
    x = Value(number)
    tanh(divide(x, add(x, multiply(x, x)))).backward()  # tanh(x / (x + x²))
    return x.grad


def slope_of_x_over_x(number):
    x = Value(number)
    divide(x, x).backward()
    return x.grad


check(
    value_and_slopes_of_tanh,
    case("at 0", 0.0, expect=[0.0, 1.0]),
    case("at 0.5", 0.5, expect=[0.4621172, 0.7864477]),
    case("at -2", -2.0, expect=[-0.9640276, 0.0706508]),
    nudge="Nudge tanh at 0.5 by 0.001 to both sides. Which slope do you measure?",
    hint="The slope of tanh can be written with its value: one minus the square of it.",
)
check(
    value_and_slopes_of_divide,
    case("6 / 3", 6.0, 3.0, expect=[2.0, 1 / 3, -2 / 3]),
    case("1 / -4", 1.0, -4.0, expect=[-0.25, -0.25, -0.0625]),
    nudge="Both parents need a slope. What happens to a / b when b grows?",
    hint="Write a / b as a times b to the power -1.",
)
check(slope_of_x_over_x, case("at 7", 7.0, expect=0.0), hint="Do both parents get a slope? They must cancel.")
check(slope_of_a_mixture, case("at 1", 1.0, expect=-0.1966119), hint="Test each one alone first.")


# %% tags=["right"]
def tanh(a):  # exponentials, and another form of the slope
    e = np.exp(2 * a.data)
    return Value((e - 1) / (e + 1), [a], [1 / np.cosh(a.data) ** 2])


def divide(a, b):  # a product with the inverse, which is one more operation
    inverse = Value(b.data**-1, (b,), (-(b.data**-2),))
    return multiply(a, inverse)


# %% tags=["right"]
def tanh(a):  # floats of Python's library
    from math import tanh

    return Value(tanh(a.data), (a,), (1 - tanh(a.data) * tanh(a.data),))


def divide(a, b):
    quotient = Value(a.data / b.data)
    quotient.parents = (a, b)
    quotient.slopes = (1 / b.data, -quotient.data / b.data)
    return quotient


# %% tags=["wrong"]
def tanh(a):
    return Value(np.tanh(a.data), (a,), (1 - a.data**2,))  # the input, not the value


def divide(a, b):
    return Value(a.data / b.data, (a, b), (1 / b.data, -a.data / b.data**2))


# %% tags=["wrong"]
def tanh(a):
    value = np.tanh(a.data)
    return Value(value, (a,), (1 - value**2,))


def divide(a, b):
    return Value(a.data / b.data, (a, b), (1 / b.data, a.data / b.data**2))  # the sign


# %% tags=["wrong"]
def tanh(a):
    value = np.tanh(a.data)
    return Value(value, (a,), (1 - value**2,))


def divide(a, b):
    return Value(a.data / b.data, (a,), (1 / b.data,))  # only the upper one is a parent


# %% tags=["wrong"]
def tanh(a):
    value = np.tanh(a.data)
    return Value(value, (a,), (value * (1 - value),))  # the slope of the sigmoid


def divide(a, b):
    return Value(a.data / b.data, (a, b), (1 / b.data, -a.data / b.data**2))


# %% [markdown]
# ## Exercise 4: why classifiers do not use the squared error
#
# A neuron with a sigmoid, $\hat y = \sigma(wx + b)$ with $\sigma(z) = 1 / (1 + e^{-z})$, sees one example
# with the target $y$. Return the gradients of two losses:
#
# - the squared error $\tfrac12 (y - \hat y)^2$,
# - the cross-entropy $-y \log \hat y - (1 - y) \log(1 - \hat y)$.
#
# *Predict*: a neuron is sure and wrong. It says $\hat y = 0.99995$ and the target is 0. Which
# loss moves its weight more, and how many times more? The third case of the check is this neuron.
# Print what your function returns for it.


# %% tags=["answer"]
def sigmoid_gradients(w, b, x, y):
    """((dw, db) of the squared error, (dw, db) of the cross-entropy) for a sigmoid neuron."""
    ### BEGIN SOLUTION
    y_hat = 1 / (1 + np.exp(-(w * x + b)))
    squared = (y_hat - y) * y_hat * (1 - y_hat)  # gradient for w·x + b
    entropy = y_hat - y  # the slope of the sigmoid has cancelled
    return (squared * x, squared), (entropy * x, entropy)
    ### END SOLUTION


# %% tags=["check"]
check(
    sigmoid_gradients,
    case("undecided, target 1", 0.5, -1.0, 2.0, 1.0, expect=((-0.25, -0.125), (-1.0, -0.5))),
    case("undecided, target 0", 1.0, -3.0, 3.0, 0.0, expect=((0.375, 0.125), (1.5, 0.5))),
    case("sure and wrong", 10.0, 0.0, 1.0, 0.0, tolerance=1e-8,
         expect=((4.5393746e-05, 4.5393746e-05), (0.9999546021, 0.9999546021))),
    case("input 0", 1.0, 0.0, 0.0, 1.0, expect=((0.0, -0.125), (0.0, -0.5))),
    nudge="The slope of the sigmoid is σ(1 − σ). In which of the two losses does it cancel?",
    hint="First the gradient for z = wx + b; then dw is that times x, and db is that.",
)  # fmt: skip


# %% tags=["right"]
def sigmoid_gradients(w, b, x, y):  # floats; the slope of each loss by y_hat, then the chain
    from math import exp

    y_hat = 1 / (1 + exp(-(w * x + b)))
    found = []
    for by_output in (y_hat - y, -y / y_hat + (1 - y) / (1 - y_hat)):
        by_score = by_output * y_hat * (1 - y_hat)
        found.append([by_score * x, by_score])
    return found


# %% tags=["right"]
def sigmoid_gradients(w, b, x, y):  # library; one table, rows are losses
    from scipy.special import expit

    z = w * x + b
    return np.outer((expit(z) - y) * np.array([expit(z) * expit(-z), 1]), [x, 1])


# %% tags=["wrong"]
def sigmoid_gradients(w, b, x, y):
    y_hat = 1 / (1 + np.exp(-(w * x + b)))
    squared = (y_hat - y) * y_hat * (1 - y_hat)
    return (squared, squared), (y_hat - y, y_hat - y)  # the input is missing


# %% tags=["wrong"]
def sigmoid_gradients(w, b, x, y):
    y_hat = 1 / (1 + np.exp(-(w * x + b)))
    slope = y_hat * (1 - y_hat)
    squared, entropy = (y_hat - y) * slope, (y_hat - y) * slope  # cancels only in one of them
    return (squared * x, squared), (entropy * x, entropy)


# %% tags=["wrong"]
def sigmoid_gradients(w, b, x, y):
    y_hat = 1 / (1 + np.exp(-(w * x + b)))
    squared = (y - y_hat) * y_hat * (1 - y_hat)  # the sign
    return (squared * x, squared), ((y_hat - y) * x, y_hat - y)


# %% [markdown]
# The squared error hardly moves the neuron that needs it most, because the sigmoid is flat there.
# The cross-entropy cancels that flat slope. This is one reason why classifiers use it.
#
# ## Exercise 5: a loss that punishes being too sure
#
# *Label smoothing* (Szegedy et al. 2016, section 7) replaces the one-hot target. With $K$ classes
# and smoothing $s$, every class gets $s / K$, and the right class gets $1 - s$ on top. The loss
# is the cross-entropy $-\sum_k t_k \log p_k$ with these targets $t$, averaged over the $n$
# examples. Keras has it as `label_smoothing`.
#
# Return the gradient with respect to the logits. The derivation of the lesson needs one small
# change.
#
# *Predict*: the network is right and very sure, $p_y > 0.9999$, and $s = 0.3$. Which way does one
# step move the logit of the right class: up or down?


# %% tags=["answer"]
def smoothed_gradient(logits, y, smoothing):
    """Gradient of the mean smoothed cross-entropy; logits (n, classes), y (n,) right classes."""
    ### BEGIN SOLUTION
    n, classes = logits.shape
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    targets = np.full((n, classes), smoothing / classes)
    targets[np.arange(n), y] += 1 - smoothing
    return (probabilities - targets) / n
    ### END SOLUTION


# %% tags=["check"]
def pushes_down(gradient):
    gradient = np.asarray(gradient)
    if np.shape(gradient) != (1, 3):
        return f"the gradient has shape {np.shape(gradient)}, not that of the logits."
    if abs(np.sum(gradient)) > 1e-9:
        return "the gradients of one example do not add up to 0. Do your targets add up to 1?"
    return None if gradient[0, 0] > 0.1 else "the sign or size for the right class is not right."


check(
    smoothed_gradient,
    case("no smoothing", np.zeros((2, 4)), np.array([0, 2]), 0.0,
         expect=np.array([[-0.375, 0.125, 0.125, 0.125], [0.125, 0.125, -0.375, 0.125]])),
    case("some smoothing", np.zeros((2, 4)), np.array([0, 2]), 0.2,
         expect=np.array([[-0.3, 0.1, 0.1, 0.1], [0.1, 0.1, -0.3, 0.1]])),
    case("right and very sure", np.array([[10.0, 0.0, 0.0]]), np.array([0]), 0.3,
         expect=pushes_down),
    case("very large logits", np.array([[1000.0, 0.0]]), np.array([0]), 0.1,
         expect=np.array([[0.05, -0.05]])),
    nudge="Do the targets of one example add up to 1? Does the softmax survive a logit of 1000?",
    hint="Probabilities minus targets, divided by n. Only the targets are new. Subtract the largest logit first.",
)  # fmt: skip


# %% tags=["right"]
def smoothed_gradient(logits, y, smoothing):  # loops
    n, classes = len(logits), len(logits[0])
    gradient = [[0.0] * classes for _ in range(n)]
    for i in range(n):
        powers = [np.exp(z - max(logits[i])) for z in logits[i]]
        for k in range(classes):
            target = smoothing / classes + (1 - smoothing if k == y[i] else 0)
            gradient[i][k] = (powers[k] / sum(powers) - target) / n
    return gradient


# %% tags=["right"]
def smoothed_gradient(logits, y, smoothing):  # library
    from scipy.special import softmax

    one_hot = np.eye(logits.shape[1])[y]
    return (
        softmax(logits, axis=1) - (1 - smoothing) * one_hot - smoothing * one_hot.mean(axis=1, keepdims=True)
    ) / len(y)


# %% tags=["right"]
def smoothed_gradient(logits, y, smoothing):  # Keras, with its own way of smoothing targets
    from keras import ops

    classes = ops.shape(logits)[1]
    targets = ops.one_hot(y, classes, dtype="float64") * (1 - smoothing) + smoothing / classes
    return (ops.softmax(logits) - targets) / len(y)


# %% tags=["wrong"]
def smoothed_gradient(logits, y, smoothing):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    gradient = exponentials / exponentials.sum(axis=1, keepdims=True)
    gradient -= smoothing / logits.shape[1]
    gradient[np.arange(len(y)), y] -= 1 - smoothing
    return gradient  # the mean is forgotten


# %% tags=["wrong"]
def smoothed_gradient(logits, y, smoothing):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    gradient = exponentials / exponentials.sum(axis=1, keepdims=True)
    gradient -= smoothing / logits.shape[1]
    gradient[np.arange(len(y)), y] -= 1  # these targets add up to more than 1
    return gradient / len(y)


# %% tags=["wrong"]
def smoothed_gradient(logits, y, smoothing):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    gradient = exponentials / exponentials.sum(axis=1, keepdims=True)
    gradient[np.arange(len(y)), y] -= 1
    return (1 - smoothing) * gradient / len(y)  # a smaller gradient is not a smoother target


# %% tags=["wrong"]
def smoothed_gradient(logits, y, smoothing):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    gradient = exponentials / exponentials.sum(axis=1, keepdims=True) - smoothing / logits.shape[1]
    gradient[np.arange(len(y)), y] -= 1 - smoothing
    return gradient / logits.shape[1]  # the mean over the classes; right where the table is square


# %% [markdown]
# Down. The targets of this loss are $t_y = 1 - s + s / K$, and a network that is surer than that
# is pushed back. A gradient does not ask whether the answer is right. It asks whether the loss
# would fall. (C. Szegedy and others, 2016. Rethinking the Inception architecture for computer vision.
# *CVPR*. Section 7.)
#
# ## Experiment: the smallest nudge is not the best
#
# The lesson nudged by $h = 10^{-5}$. Is a smaller $h$ better? Take $f(x) = e^x$ at $x = 1$, where the true slope
# is $e$. Write `slope_error`: it returns the *relative* error $|s - e| / e$ of the slope $s$ that nudging by
# $h$ to both sides gives. With `kind=np.float32` everything is computed with 32-bit numbers: make $x$ and $h$
# of that kind with `kind(1)` and `kind(h)`, and let NumPy do the rest.
#
# *Predict* the error for $h = 0.1$, for $10^{-5}$ and for $10^{-12}$, and then for $10^{-5}$ with 32-bit
# numbers. Only $h$ changes, then only the kind of number. Measure with the check, try every power of
# ten in between, and explain why the error falls first and then rises again.


# %% tags=["answer"]
def slope_error(h, kind=np.float64):
    """The relative error of the slope of exp at 1, found with nudges of h."""
    ### BEGIN SOLUTION
    x, h = kind(1), kind(h)
    slope = (np.exp(x + h) - np.exp(x - h)) / (2 * h)
    return abs(float(slope) - np.e) / np.e
    ### END SOLUTION


# %% tags=["check"]
check(
    slope_error,
    case("a large nudge", 0.1, expect=between(1.6e-3, 1.75e-3)),
    case("a middle one", 1e-3, expect=between(1.6e-7, 1.75e-7)),
    case("the nudge of the lesson", 1e-5, expect=between(0, 3e-10)),
    case("a tiny one", 1e-12, expect=between(1e-6, 1e-3)),
    case("the nudge of the lesson, 32-bit numbers", 1e-5, np.float32, expect=between(1e-5, 0.2)),
    nudge="Is the error divided by the true slope? Do you nudge to both sides, and divide by 2h?",
    hint="x, h = kind(1), kind(h); the slope is (np.exp(x + h) - np.exp(x - h)) / (2 * h).",
)


# %% tags=["right"]
def slope_error(h, kind=np.float64):  # a loop over the two sides, arrays of one number
    h, slope = np.array([h], dtype=kind), np.zeros(1, dtype=kind)
    for sign in (1, -1):
        slope += sign * np.exp(np.ones(1, dtype=kind) + sign * h)
    slope /= h + h
    return np.abs(slope[0] / np.e - 1)


# %% tags=["right"]
def slope_error(h, kind=np.float64):  # library: a difference of two values on a grid
    values = np.exp(np.array([kind(1) - kind(h), kind(1) + kind(h)]))
    return float(np.abs(np.diff(values)[0] / kind(2) / kind(h) - np.e) / np.e)


# %% tags=["wrong"]
def slope_error(h, kind=np.float64):
    x, h = kind(1), kind(h)
    return abs(float((np.exp(x + h) - np.exp(x)) / h) - np.e) / np.e  # one side only


# %% tags=["wrong"]
def slope_error(h, kind=np.float64):
    slope = (np.exp(1 + h) - np.exp(1 - h)) / (2 * h)  # always with 64-bit numbers
    return abs(float(slope) - np.e) / np.e


# %% tags=["wrong"]
def slope_error(h, kind=np.float64):
    x, h = kind(1), kind(h)
    return abs(float((np.exp(x + h) - np.exp(x - h)) / (2 * h)) - np.e)  # not relative


# %% [markdown]
# Two errors work against each other. A large $h$ leaves the place where the slope was asked for, and that error
# falls as $h^2$: a hundred times smaller $h$, ten thousand times smaller error. A small $h$ subtracts two
# nearly equal numbers, and only their last, rounded digits remain. That error grows as $1/h$. The best $h$ lies
# between, near $10^{-5}$ for 64-bit numbers (J. Nocedal, S. Wright, 2006. *Numerical optimization*, section 8.1).
# With 32-bit numbers a check finds only coarse mistakes.
