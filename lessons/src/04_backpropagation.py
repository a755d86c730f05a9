# %% [markdown]
# # 04 · Backpropagation
#
# **A network has 4,810 weights and gives a wrong answer. Which weight is to blame, and by how
# much?**
#
# **You need** lesson 03 (the forward pass of a network with one hidden layer), the derivative of
# a function of one variable, and matrix products.
#
# **You will build** a network that learns from gradients you wrote yourself, a gradient checker,
# and an automatic differentiation engine in fewer than 100 lines.
#
# **Time** less than 1 minute to run on a 2-core laptop; reading takes longer.

# %%
import linecache

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from kerasllm.course import claim, settings
from kerasllm.data import load
from kerasllm.course.figures import BLUE, GREEN, ORANGE, PURPLE, RED, show, use_style

threadpool_limits(1)  # on matrices this small, several threads only wait for each other
use_style()

# %%
EPOCHS, KERAS_EPOCHS, REPEATS, STRENGTHS = settings(
    smoke=(2, 1, 1, [1]),
    cpu=(80, 5, 5, [1, 10]),
)
# EPOCHS        passes over the training images
# KERAS_EPOCHS  passes during which we compare every step with Keras
# REPEATS       repetitions of each measurement, with other random numbers
# STRENGTHS     values of C, the inverse strength of regularisation, for the linear baseline
LEARNING_RATE = 0.125  # a power of two: 32-bit and 64-bit numbers hold it exactly
BATCH = 32

# %% [markdown]
# ## Blame by nudging
#
# The data are the 8x8 digits of lesson 03. The network is also that of lesson 03: 64 pixels, 64
# hidden units with ReLU, 10 outputs. There Keras trained it and we only watched. The loss is the
# cross-entropy: minus the logarithm of the probability that the network gives to the right digit,
# averaged over the images. The next cell computes it for 32 images and random weights.

# %%
table = load("digits")  # 64 pixel columns, label, split
images = table.filter(like="pixel").to_numpy() / 16  # (1797, 64), from 0 to 1
digits = table["label"].to_numpy(dtype=int)  # (1797,)
train = np.flatnonzero(table["split"] == "train")  # row numbers
test = np.flatnonzero(table["split"] == "test")


def new_weights(seed):
    """Random weights; the spread sqrt(2 / inputs) suits ReLU (lesson 03)."""
    rng = np.random.default_rng(seed)
    W1, W2 = (rng.normal(0, np.sqrt(2 / 64), size) for size in [(64, 64), (64, 10)])
    return [W1, np.zeros(64), W2, np.zeros(10)]


def forward(weights, X):
    W1, b1, W2, b2 = weights
    Z1 = X @ W1 + b1  # (images, hidden)
    H = np.maximum(Z1, 0)  # (images, hidden), ReLU
    Z2 = H @ W2 + b2  # (images, 10), the logits
    return Z1, H, Z2


# %%
def log_softmax_of(Z):
    Z = Z - Z.max(axis=1, keepdims=True)  # avoids overflow, changes nothing else
    return Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))


def loss_of(weights, X, y):
    *_, Z2 = forward(weights, X)
    return -log_softmax_of(Z2)[np.arange(len(y)), y].mean()


weights = new_weights(0)
X, y = images[train[:BATCH]], digits[train[:BATCH]]
print("weights and biases:", sum(w.size for w in weights))
print(f"loss of the untrained network: {loss_of(weights, X, y):.4f}")
print(f"loss of a uniform guess, log(10): {np.log(10):.4f}")

# %% [markdown]
# The loss is about what guessing gives. To find out what one weight contributes, nudge it. Make
# it larger by a small $h$, then smaller by $h$, and see how the loss answers. The slope
#
# $$\frac{\partial L}{\partial w} \approx \frac{L(w + h) - L(w - h)}{2h}$$
#
# is the blame of the weight $w$. This is a *central finite difference*. If the slope is positive,
# the weight should become smaller. If it is negative, the weight should grow. All these slopes
# together are the *gradient*. We do this for every weight and count the forward passes.


# %%
def numeric_gradient(loss, array, h=1e-5):
    """Central finite differences of loss() for every number in `array`, and the calls it took."""
    gradient, calls = np.zeros(array.shape), 0
    for place in np.ndindex(array.shape):
        before = array[place]
        array[place] = before + h
        above = loss()
        array[place] = before - h
        below = loss()
        array[place] = before  # leave the weight as it was
        gradient[place] = (above - below) / (2 * h)
        calls += 2
    return gradient, calls


nudged, passes = [], 0
for array in weights:
    gradient, calls = numeric_gradient(lambda: loss_of(weights, X, y), array)
    nudged.append(gradient)
    passes += calls
better = [w - LEARNING_RATE * g for w, g in zip(weights, nudged, strict=True)]
print(f"forward passes for one gradient: {passes:,}")
print(f"loss before {loss_of(weights, X, y):.4f}, after one step {loss_of(better, X, y):.4f}")

# %% [markdown]
# It works: one step against the gradient makes the loss smaller. So the first question has an
# answer. The figure shows the blame of the 64 pixels: for each pixel the sizes of the gradients
# of its 64 weights, added up.

# %%
figure, axes = plt.subplots(1, 2, figsize=(7, 3.3))
blame = np.abs(nudged[0]).sum(axis=1)  # (pixels,)
for ax, values, title in zip(
    axes,
    [X.mean(axis=0), blame],
    ["mean of 32 images", "blame of each pixel's 64 weights"],
    strict=True,
):
    shown = ax.imshow(values.reshape(8, 8))
    ax.set(title=title, xticks=[], yticks=[])
    ax.grid(False)
    figure.colorbar(shown, ax=ax, shrink=0.85)
show(
    figure,
    "Two 8 by 8 maps. Left, the mean digit. Right, the summed size of the gradients for each "
    "pixel: large where digits have ink, zero in the columns and corners that are always empty.",
)
empty = X.max(axis=0) == 0
print(f"{empty.sum()} pixels are empty in all 32 images")
claim("an empty pixel has no blame", np.abs(nudged[0][empty]).max(), "==", 0, exact=True)
claim("nudging costs two forward passes a weight", passes, "==", 2 * 4810, exact=True)

# %% [markdown]
# A weight whose input is 0 has no influence, so it gets no blame. The formula will say the same.
#
# The result is right, but the price is not acceptable. The smallest GPT-2 has about 124 million
# weights (lesson 17). Nudging them costs 248 million forward passes for a single step.
# Backpropagation gives the same numbers for the price of about three forward passes, however many
# weights there are. We will count this.
#
# ## One neuron on paper
#
# Take one neuron with a linear output and one training example:
#
# $$p = w x, \qquad \hat y = p + b, \qquad e = \hat y - y, \qquad L = \tfrac12 e^2 .$$
#
# Our numbers: $x = 3$, $w = 0.1$, $b = 1.2$, and the target is $y = 2$. Forward: $p = 0.3$,
# $\hat y = 1.5$, $e = -0.5$, $L = 0.125$.
#
# The **chain rule** says: if $L$ depends on $e$ and $e$ depends on $\hat y$, then the slopes
# multiply. So we go backward from $L$, one small step at a time. Each step is easy:
#
# $$\frac{\partial L}{\partial e} = e = -0.5, \quad
# \frac{\partial L}{\partial \hat y} = \frac{\partial L}{\partial e} \cdot 1 = -0.5, \quad
# \frac{\partial L}{\partial b} = \frac{\partial L}{\partial \hat y} \cdot 1 = -0.5, \quad
# \frac{\partial L}{\partial w} = \frac{\partial L}{\partial \hat y} \cdot x = -1.5 .$$
#
# Each slope is computed once and used by everything before it. That is the idea of
# backpropagation (Rumelhart, Hinton and Williams 1986). The next cell does this arithmetic, and
# the figure shows it as a graph.

# %%
x, w, b, target = 3.0, 0.1, 1.2, 2.0
p = w * x
y_hat = p + b
e = y_hat - target
L = e**2 / 2
de = 1.0 * e  # slope of e²/2; the loss changes with itself one to one
dy_hat, dtarget = de * 1, de * -1  # a difference: slopes 1 and -1
dp, db = dy_hat * 1, dy_hat * 1  # a sum passes the slope on to both
dw, dx = dp * x, dp * w  # a product: each gets the slope times the other one
print(f"forward : p = {p:.3g}, y_hat = {y_hat:.3g}, e = {e:.3g}, L = {L:.3g}")
print(f"backward: dL/de = {de:.3g}, dL/dy_hat = {dy_hat:.3g}, dL/db = {db:.3g}, dL/dw = {dw:.3g}")

# %%
places = {"w": (0, 2.3), "x": (0, 0.7), "×": (2, 1.5), "b": (2, 0), "+": (4, 1.5), "y": (4, 0)}
places |= {"−": (6, 1.5), "½( )²": (8, 1.5), "L": (10, 1.5)}
edges = [("w", "×", w, dw), ("x", "×", x, dx), ("×", "+", p, dp), ("b", "+", b, db)]
edges += [("+", "−", y_hat, dy_hat), ("y", "−", target, dtarget)]
edges += [("−", "½( )²", e, de), ("½( )²", "L", L, 1.0)]

# %%
figure, ax = plt.subplots(figsize=(8, 2.9))
style = {"ha": "center", "fontweight": "bold", "zorder": 2}
style["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 1}
for start, end, value, slope in edges:
    (x0, y0), (x1, y1) = places[start], places[end]
    ax.plot([x0, x1], [y0, y1], color="0.6", zorder=1)
    ax.text((x0 + x1) / 2, (y0 + y1) / 2 + 0.06, f"{value:.3g}", color=BLUE, va="bottom", **style)
    ax.text((x0 + x1) / 2, (y0 + y1) / 2 - 0.06, f"{slope:.3g}", color=RED, va="top", **style)
for name, (x0, y0) in places.items():
    shape = {"boxstyle": "circle" if len(name) == 1 else "round", "facecolor": "#F2F2F2"}
    ax.text(x0, y0, name, ha="center", va="center", fontsize=12, bbox=shape, zorder=3)
ax.text(6.9, 0.35, "value, computed forward →", color=BLUE)
ax.text(6.9, 0.0, "← gradient of L, computed backward", color=RED)
ax.set_ylim(-0.4, 2.7)
ax.axis("off")
show(
    figure,
    "Computation graph of one neuron. Each edge carries its value from left to right above the "
    "line, and the gradient of the loss from right to left below it; the weight gets -1.5, the "
    "bias -0.5.",
)

# %% [markdown]
# Read the lower numbers from right to left: these are the gradients. A sum passes its gradient on
# unchanged. A product passes it on times the *other* factor. That is why $w$ gets $-0.5 \cdot 3$,
# and why a weight with input 0 gets nothing.
#
# The gradient is negative, so both $w$ and $b$ must grow. That makes sense: $\hat y = 1.5$ is
# below the target 2. The next cell makes one step with learning rate 0.1.

# %%
rate = 0.1
new_w, new_b = w - rate * dw, b - rate * db
print(f"w: {w:.3g} -> {new_w:.3g}   b: {b:.3g} -> {new_b:.3g}")
print(f"new prediction: {new_w * x + new_b:.6g}")


def neuron_loss(w, b, x=x):
    return (w * x + b - target) ** 2 / 2


print(f"loss: {neuron_loss(w, b):.3g} -> {neuron_loss(new_w, new_b):.3g}")

h = 1e-5
nudge = (neuron_loss(w + h, b) - neuron_loss(w - h, b)) / (2 * h)
claim("dL/dw by hand equals the nudge", dw, "==", nudge, tolerance=1e-8, exact=True)

# %% [markdown]
# One step lands exactly on the target. That is luck: the step changes $\hat y$ by
# $-\eta (x^2 + 1) e$, where $\eta$ is the learning rate, and here $0.1 \cdot (9 + 1) = 1$. In
# general one step gets closer, or jumps too far when $\eta$ is too large.
#
# ## A worked example to mistrust
#
# The same example is in a widely copied article: loss $\tfrac12 (y - \hat y)^2$ with $y = 2$,
# $\hat y = 1.5$, a linear output, weight 0.1, learning rate 0.1. The article does not let us
# reconstruct the input and the bias. We assume $x = 3$ and $b = 1.2$, which give $\hat y = 1.5$.
# Four of its steps went wrong.
#
# > **Myth 1:** the gradient of the weight is $-(y - \hat y) \hat y (1 - \hat y)$.
# >
# > **Fact:** it is $-(y - \hat y) x$. The factor $\hat y (1 - \hat y)$ is the slope of a
# > *sigmoid*, and this output is linear. No sigmoid gives 1.5 anyway: it stays between 0 and 1.
# > Outside that range the factor is negative, so it turns the sign around.
#
# > **Myth 2:** this expression is 0.0625.
# >
# > **Fact:** with the article's own numbers it is $-(0.5)(1.5)(-0.5) = +0.375$.
#
# > **Myth 3:** the gradient of the bias is $-(y - \hat y) \hat y = -0.375$.
# >
# > **Fact:** that formula gives $-0.75$. The right gradient is $-(y - \hat y) = -0.5$.
#
# > **Myth 4:** the new weight is $0.1 - 0.1 \cdot 0.0625 = 0.075$.
# >
# > **Fact:** $0.1 - 0.00625 = 0.09375$. And with the right gradient the weight must *grow*.
#
# The next cell recomputes all four. The last lines apply only the weight's update, for several
# inputs. The bias is always set so that the prediction before the step is 1.5.

# %%
slope = y_hat * (1 - y_hat)
formula_w = -(target - y_hat) * slope
formula_b = -(target - y_hat) * y_hat
print("                     claimed    its formula gives   right (x = 3)")
print(f"gradient of weight   0.0625     {formula_w:+.4g}              {dw:+.4g}")
print(f"gradient of bias    -0.375      {formula_b:+.4g}               {db:+.4g}")
print(f"new weight           0.075      {0.1 - 0.1 * 0.0625:.5g}             {new_w:.4g}")
for x_i in [1.0, 2.0, 3.0]:
    b_i = y_hat - 0.1 * x_i
    copied = neuron_loss(0.075, b_i, x_i)
    right = neuron_loss(0.1 + rate * 0.5 * x_i, b_i, x_i)
    print(f"x = {x_i:.0f}: loss 0.125; copied weight {copied:.4f}, right weight {right:.4f}")
claim("myth 1: this sigmoid slope is negative, which no sigmoid's is", slope, "<", 0, exact=True)
claim("myth 2: the formula's value", formula_w, "==", 0.375, tolerance=1e-12, exact=True)
claim("myth 3: the formula's value", formula_b, "==", -0.75, tolerance=1e-12, exact=True)
claim("myth 3: the right gradient of the bias", db, "==", -0.5, tolerance=1e-12, exact=True)
claim("myth 4: the subtraction", 0.1 - 0.1 * 0.0625, "==", 0.09375, tolerance=1e-12, exact=True)

# %% [markdown]
# The copied weight makes the loss larger for every positive input. One nudge of 0.00001 would
# have shown it. So: **check a gradient before you trust it**.
#
# ## A network in matrices
#
# Now the whole network, for $n$ images at once. The forward pass, with shapes:
#
# $$Z_1 = X W_1 + b_1~(n \times 64), \quad H = \max(Z_1, 0)~(n \times 64), \quad
# Z_2 = H W_2 + b_2~(n \times 10), \quad P = \mathrm{softmax}(Z_2) .$$
#
# Write $dA$ for the gradient of the loss with respect to $A$. It always has the shape of $A$. We
# go backward through four rules.
#
# **1. Softmax with cross-entropy.** For one image with logits $z$ and right class $y$ the loss is
# $-\log p_y = -z_y + \log \sum_j e^{z_j}$. The second term has the slope
# $e^{z_k} / \sum_j e^{z_j} = p_k$. So the slope of the loss for the logit $z_k$ is
# $p_k - [k = y]$, where $[k = y]$ is 1 for the right class and 0 otherwise. The loss is a mean
# over $n$ images, so
#
# $$dZ_2 = (P - Y) / n ,$$
#
# where $Y$ holds a 1 in the column of the right class. Probability minus truth.
#
# **2. Matrix product.** In $Z = H W$ the number $h_{ij}$ is multiplied by $w_{jk}$ and added to
# $z_{ik}$. As in the neuron, each factor gets the gradient times the other factor, summed over
# all the places where it was used:
#
# $$dW = H^\top dZ, \qquad dH = dZ W^\top .$$
#
# The shapes leave little choice: $dW$ is $(64 \times n)(n \times 10)$.
#
# **3. Bias.** It is added to every row, so it collects the gradient of every row: $db$ is the sum
# of $dZ$ over the images.
#
# **4. ReLU.** Its slope is 1 where $Z_1 > 0$ and 0 elsewhere. So $dZ_1 = dH \odot [Z_1 > 0]$,
# number by number.
#
# In a deeper network rules 2 and 4 repeat for every layer, so the slopes of all layers multiply.
# This is why the gradients of a deep sigmoid network vanished in lesson 03.
#
# In code each rule is one line.


# %%
def gradients_of(weights, X, y):
    """The gradients of loss_of with respect to W1, b1, W2, b2."""
    _, _, W2, _ = weights
    Z1, H, Z2 = forward(weights, X)
    n = len(y)
    dZ2 = np.exp(log_softmax_of(Z2))  # (n, 10), probabilities
    dZ2[np.arange(n), y] -= 1  # minus the truth
    dZ2 /= n  # the loss is a mean
    dW2 = H.T @ dZ2  # (hidden, 10)
    db2 = dZ2.sum(axis=0)  # (10,)
    dH = dZ2 @ W2.T  # (n, hidden)
    dZ1 = dH * (Z1 > 0)  # (n, hidden)
    dW1 = X.T @ dZ1  # (64, hidden)
    db1 = dZ1.sum(axis=0)  # (hidden,)
    return [dW1, db1, dW2, db2]


by_hand = gradients_of(weights, X, y)
print("shapes of the gradients:", [g.shape for g in by_hand])
rows = by_hand[0][empty]
claim("the formula also gives empty pixels no blame", np.abs(rows).max(), "==", 0, exact=True)

# %% [markdown]
# ## The gradient, checked three ways
#
# Two of three are there: by hand, and by nudging. The third is automatic differentiation in
# TensorFlow. `tf.GradientTape` records the operations of the forward pass and then applies the
# rules backward by itself. We compare all 4,810 numbers. The measure is the *relative error*
# $\lVert a - b \rVert / (\lVert a \rVert + \lVert b \rVert)$: near 0 when the two agree, up to 1
# when they do not.

# %%
variables = [tf.Variable(w) for w in weights]  # float64, as in NumPy
with tf.GradientTape() as tape:
    hidden = tf.nn.relu(X @ variables[0] + variables[1])
    logits = hidden @ variables[2] + variables[3]
    tf_loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
automatic = [g.numpy() for g in tape.gradient(tf_loss, variables)]


def relative_error(a, b):
    return np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))


print("        hand against tape    hand against nudging")
to_tape = [relative_error(g, a) for g, a in zip(by_hand, automatic, strict=True)]
to_nudges = [relative_error(g, a) for g, a in zip(by_hand, nudged, strict=True)]
for name, tape_error, nudge_error in zip(["W1", "b1", "W2", "b2"], to_tape, to_nudges, strict=True):
    print(f"{name}            {tape_error:.0e}                   {nudge_error:.0e}")
claim("hand equals tape, largest error", max(to_tape), "<", 1e-12, exact=True)
claim("hand equals nudging, largest error", max(to_nudges), "<", 1e-6, exact=True)

# %% [markdown]
# All three agree. But look at the exponents. Hand and tape agree to the last digits that a 64-bit
# number has. Nudging agrees to fewer digits. Why, and would a smaller $h$ help?
#
# ## The step size that is not too small
#
# The next cell measures the error of nudging for step sizes from $10^{-13}$ to 1. Two errors work
# against each other. A large $h$ leaves the place where the slope was asked for: the *truncation*
# error, which for central differences grows as $h^2$. A small $h$ subtracts two nearly equal
# numbers, and only their last, rounded digits remain: the *rounding* error, which grows as $1/h$.
# We use the 10 output biases, where the loss is smooth, and the 64 hidden biases, which act
# through a ReLU.


# %%
def nudging_error(place, h, central=True, dtype=np.float64):
    """Relative error of finite differences with step h for one array of weights."""
    moved = [w.astype(dtype) for w in weights]
    inputs, h = X.astype(dtype), dtype(h)
    if central:
        gradient, _ = numeric_gradient(lambda: loss_of(moved, inputs, y), moved[place], h)
    else:
        start, gradient = loss_of(moved, inputs, y), np.zeros(moved[place].shape)
        for i in range(len(gradient)):
            before = moved[place][i]
            moved[place][i] = before + h
            gradient[i] = (loss_of(moved, inputs, y) - start) / h
            moved[place][i] = before
    return relative_error(gradient, by_hand[place])


steps = 10.0 ** np.arange(-13, 0.1, 0.5)
curves = {
    "(L(w+h) − L(w)) / h": (ORANGE, [nudging_error(3, h, central=False) for h in steps]),
    "central": (BLUE, [nudging_error(3, h) for h in steps]),
    "central, 32-bit numbers": (GREEN, [nudging_error(3, h, dtype=np.float32) for h in steps]),
    "central, through ReLU": (PURPLE, [nudging_error(1, h) for h in steps]),
}

# %%
figure, ax = plt.subplots(figsize=(8, 4))
for (name, (color, errors)), marker in zip(curves.items(), "so^d", strict=True):
    ax.loglog(steps, errors, marker + "-", color=color, label=name, markersize=4)
ax.text(2e-12, 2e-7, "rounding error\nsteps too small", color="0.35")
ax.text(3e-3, 2e-8, "truncation error\nsteps too large", color="0.35")
ax.set(xlabel="step size h", ylabel="relative error of the gradient", ylim=(1e-12, 4))
ax.legend(loc="lower left", ncol=2)
show(
    figure,
    "Error of finite differences against step size, on logarithmic axes. Each curve is a valley: "
    "it falls with smaller steps, then rises again. Central differences reach the lowest point, "
    "near 1e-5; 32-bit numbers are far worse; the curve through ReLU jumps at larger steps.",
)
best = {name: (min(errors), steps[np.argmin(errors)]) for name, (_, errors) in curves.items()}
for name, (error, h) in best.items():
    print(f"{name:24} smallest error {error:.0e} at h = {h:.0e}")

# %%
smallest = [best[name] for name in curves]
claim("best central step size, lower end", smallest[1][1], ">", 1e-7, exact=True)
claim("best central step size, upper end", smallest[1][1], "<", 1e-3, exact=True)
claim("best central error", smallest[1][0], "<", 1e-8, exact=True)
claim("one-sided differences are worse by", smallest[0][0] / smallest[1][0], ">", 10, exact=True)
claim("32-bit numbers are worse by", smallest[2][0] / smallest[1][0], ">", 1000, exact=True)

# %% [markdown]
# There is a best $h$, and it is not the smallest one. Theory puts it near $\varepsilon^{1/3}$ for
# central differences and near $\varepsilon^{1/2}$ for one-sided ones, where
# $\varepsilon \approx 10^{-16}$ is the precision of a 64-bit number (Nocedal and Wright 2006,
# section 8.1). Three rules follow:
#
# - Check in 64-bit numbers, with central differences, with $h$ near $10^{-5}$.
# - In 32-bit numbers, a check finds only coarse mistakes.
# - The curve through ReLU jumps. There a large step pushed some ReLU across its corner at 0,
#   where the slope changes at once. If a check fails at a few weights only, try a smaller $h$
#   before you search for a mistake.
#
# ## Training with our own gradients
#
# The training loop is *mini-batch gradient descent*. Shuffle the images, take 32, compute the
# gradient, move every weight a small step against it, repeat. It fits in ten lines.


# %%
def batches_of(chosen, epochs, seed):
    """Batches of shuffled indices, epoch after epoch."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        shuffled = rng.permutation(chosen)
        yield [shuffled[start : start + BATCH] for start in range(0, len(shuffled), BATCH)]


def accuracy_of(weights, chosen):
    *_, logits = forward(weights, images[chosen])
    return (logits.argmax(axis=1) == digits[chosen]).mean()


# %%
def train_numpy(chosen, seed, gradients=gradients_of, rate=LEARNING_RATE, epochs=EPOCHS):
    """Trained weights, and training loss and test accuracy after each epoch."""
    weights, history = new_weights(seed), []
    for epoch in batches_of(chosen, epochs, seed):
        for batch in epoch:
            gradient = gradients(weights, images[batch], digits[batch])
            weights = [w - rate * g for w, g in zip(weights, gradient, strict=True)]
        loss = loss_of(weights, images[chosen], digits[chosen])
        history.append((loss, accuracy_of(weights, test)))
    return weights, np.array(history)


_, history = train_numpy(train, seed=0)
for epoch in np.unique(np.linspace(0, EPOCHS - 1, 5).astype(int)):
    loss, accuracy = history[epoch]
    print(f"epoch {epoch + 1:2}: loss {loss:.4f}, test accuracy {accuracy:.3f}")

# %% [markdown]
# The network learns. Is it the same learning that Keras does? We give Keras the same weights and
# the same batches, and compare the loss at every step. Keras computes with 32-bit numbers and we
# with 64, so only small differences are expected.

# %%
model = keras.Sequential([keras.Input((64,))])
model.add(keras.layers.Dense(64, activation="relu"))
model.add(keras.layers.Dense(10))
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(LEARNING_RATE), cross_entropy)
ours = new_weights(0)
model.set_weights(ours)
losses = []  # (NumPy, Keras) for each step
for epoch in batches_of(train, KERAS_EPOCHS, seed=0):
    for batch in epoch:
        X_batch, y_batch = images[batch], digits[batch]
        model.reset_metrics()  # report the loss of this batch alone
        keras_loss = model.train_on_batch(X_batch, y_batch)
        losses.append((loss_of(ours, X_batch, y_batch), keras_loss))
        gradient = gradients_of(ours, X_batch, y_batch)
        ours = [w - LEARNING_RATE * g for w, g in zip(ours, gradient, strict=True)]
losses = np.array(losses)
apart = np.abs(losses[:, 0] - losses[:, 1])
apart_weights = max(np.abs(a - b).max() for a, b in zip(ours, model.get_weights(), strict=True))

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
left.plot(losses[:, 0], color=BLUE, label="NumPy, by hand")
some = np.arange(0, len(losses), 6)
left.plot(some, losses[some, 1], "o", color=ORANGE, markersize=3, label="Keras")
left.set(xlabel="step", ylabel="loss of the batch", title="Two programs, one curve")
left.legend()
right.semilogy(apart, ".", color=BLUE, markersize=4)
right.axhline(2.0**-23, color="0.4", linestyle="--")
right.text(0, 4e-7, "dashed: precision of a 32-bit number", color="0.35", fontsize=9)
right.set(xlabel="step", ylabel="difference of the losses", title="How far apart they are")
right.set_ylim(1e-10, 1e-6)
show(
    figure,
    "Left, the loss of our network step by step with the losses of Keras as dots exactly on it. "
    "Right, the difference at each step, near the precision of 32-bit numbers.",
)
claim("losses of Keras and NumPy, largest difference", apart.max(), "<", 1e-4, exact=True)
claim("their weights at the end, largest difference", apart_weights, "<", 1e-3, exact=True)

# %% [markdown]
# The black box of lesson 03 holds nothing more than `gradients_of` and this loop.
#
# Is the hidden layer worth its backward pass? The baseline is a linear classifier, scikit-learn's
# `LogisticRegression`. One test set of 345 images cannot separate two good models. So we use
# every image for testing once: cut the data into five parts, train on four, test on the fifth,
# and let each part be the test once (*cross-validation*, more in lesson 05). We repeat this with
# other cuts. The linear model gets the better of two strengths of regularisation, picked after
# the fact in its favour.

# %%
linear, network = [], []
for repeat in range(REPEATS):
    folds = StratifiedKFold(5, shuffle=True, random_state=repeat).split(images, digits)
    scores = []
    for fold, (fit, hold) in enumerate(folds):
        row = []
        for C in STRENGTHS:
            classifier = LogisticRegression(C=C, max_iter=5000).fit(images[fit], digits[fit])
            row.append(classifier.score(images[hold], digits[hold]))
        row.append(accuracy_of(train_numpy(fit, seed=fold)[0], hold))
        scores.append(row)
    means = np.mean(scores, axis=0)
    linear.append(means[:-1].max())
    network.append(means[-1])
    print(f"cut {repeat}: linear {linear[-1]:.4f}, network {network[-1]:.4f}")
gain = np.subtract(network, linear)
claim("accuracy of the network", network, ">", 0.97)
claim("gain over the linear model, in points of accuracy", 100 * gain, ">", 0)
claim("and that gain is small", 100 * gain, "<", 1.5)

# %% [markdown]
# The network wins, but by a fraction of a point. On small, centred pictures a linear model is
# strong.
#
# ## Wrong gradients that train
#
# What if we had made a mistake? Here are three that happen often. None raises an error, because
# every shape still fits.
#
# - *Forgotten mean*: $dZ_2$ is not divided by $n$.
# - *Transposed*: $dW_1$ is computed as $dZ_1^\top X$. Both layers have 64 units, so the shape
#   fits.
# - *Wrong mask*: ReLU's mask is taken from $dH$, not $Z_1$.
#
# We train with each. For comparison, a fourth run never trains the first layer at all.


# %%
def broken(mistake):
    def gradients(weights, X, y):
        _, _, W2, _ = weights
        Z1, H, Z2 = forward(weights, X)
        dZ2 = np.exp(log_softmax_of(Z2))
        dZ2[np.arange(len(y)), y] -= 1
        if mistake != "forgotten mean":
            dZ2 /= len(y)
        dH = dZ2 @ W2.T
        dZ1 = dH * (dH > 0) if mistake == "wrong mask" else dH * (Z1 > 0)
        if mistake == "first layer frozen":
            dZ1 = 0 * dZ1
        dW1 = dZ1.T @ X if mistake == "transposed" else X.T @ dZ1
        return [dW1, dZ1.sum(axis=0), H.T @ dZ2, dZ2.sum(axis=0)]

    return gradients


runs = {"right": history}
for mistake in ["transposed", "first layer frozen", "forgotten mean", "wrong mask"]:
    _, runs[mistake] = train_numpy(train, seed=0, gradients=broken(mistake))

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4))
colors = [BLUE, RED, "0.5", GREEN, PURPLE]
lines = ["-", "-", "--", "-", ":"]
for (name, run), color, line in zip(runs.items(), colors, lines, strict=True):
    for ax, column in zip(axes, run.T, strict=True):
        ax.plot(np.arange(1, EPOCHS + 1), column, line, color=color, label=name, linewidth=1.8)
axes[0].set(xlabel="epoch", ylabel="training loss", ylim=(0, 2.8), title="Loss")
axes[1].set(xlabel="epoch", ylabel="test accuracy", ylim=(0, 1.02), title="Accuracy")
axes[1].legend(loc="center right", bbox_to_anchor=(1, 0.42))
show(
    figure,
    "Training loss and test accuracy of five runs. The right gradient is best. The transposed one "
    "and the run with a frozen first layer also learn and look healthy. The forgotten mean and the "
    "wrong mask stay at the level of guessing.",
)
_, slow = train_numpy(train, 0, broken("forgotten mean"), rate=LEARNING_RATE / BATCH)
for name, run in [*runs.items(), ("forgotten mean, rate / 32", slow)]:
    print(f"{name:26} final loss {run[-1, 0]:6.3f}, test accuracy {run[-1, 1]:.3f}")

# %% [markdown]
# Two mistakes stop learning, so you would search for them. The wrong mask lets only positive
# gradients through: the weights only fall, until the ReLUs are dead (lesson 03). And the
# forgotten mean is only a learning rate that is 32 times too large. Tune the rate, as everybody
# does, and it hides: see the last line. The transposed gradient is the dangerous one. The loss
# falls, and the accuracy is far above guessing. In truth the output layer learns on hidden units
# that are no better than random ones, as in the frozen run. The gradient check needs one batch
# and no training.

# %%
print("relative error against nudging     W1       b1       W2       b2")
worst = {}
for name in ["right", "transposed", "forgotten mean", "wrong mask"]:
    suspects = broken(name)(weights, X, y)
    errors = [relative_error(g, good) for g, good in zip(suspects, nudged, strict=True)]
    worst[name] = max(errors)
    print(f"{name:32}" + "".join(f"{error:9.1e}" for error in errors))
mistakes = [worst[name] for name in ["transposed", "forgotten mean", "wrong mask"]]
claim("the smallest error of a wrong gradient", min(mistakes), ">", 0.1, exact=True)
claim("the largest error of the right gradient", worst["right"], "<", 1e-6, exact=True)

seeds = [train_numpy(train, seed, broken("transposed"))[1][-1, 1] for seed in range(REPEATS)]
claim("the transposed gradient still reaches a test accuracy", seeds, ">", 0.7)
right = [train_numpy(train, seed)[1][-1, 1] for seed in range(REPEATS)]
claim("and loses against the right one, in points", 100 * np.subtract(right, seeds), ">", 2)

# %% [markdown]
# The table also says *where* the mistake is. Backpropagation goes from the end to the start. The
# last array that is right and the first that is wrong are next to each other.
#
# ## An automatic differentiation engine
#
# You wrote four rules by hand. The rules are always the same few, so a program can apply them.
# This is *reverse-mode automatic differentiation* (Linnainmaa 1970). Every value must remember
# what it was made from, and every operation must know its own rule.
#
# First the value. A `Tensor` holds an array, its gradient, the tensors it was made from (its
# parents), and `back`: a function from the gradient of the result to the gradients of the
# parents.


# %%
class Tensor:
    """An array that remembers how it was made. backward() fills in the gradients."""

    def __init__(self, data, parents=(), back=None):
        self.data = np.asarray(data, dtype=np.float64)
        self.grad = np.zeros_like(self.data)
        self.parents = parents
        self.back = back

    def __add__(self, other):
        return add(self, other)

    def __sub__(self, other):
        return add(self, multiply(other, -1.0))

    def __mul__(self, other):
        return multiply(self, other)

    def __matmul__(self, other):
        return matmul(self, other)

    def backward(self):
        backward(self)


# %% [markdown]
# Then the operations, each with its value and its rule. You have met the rules: a sum passes the
# gradient on, a product multiplies it by the other factor, and a matrix product is rule 2. `pick`
# takes one number from each row, the log-probability of the right class.


# %%
def tensor(value):
    return value if isinstance(value, Tensor) else Tensor(value)


def add(a, b):
    a, b = tensor(a), tensor(b)
    return Tensor(a.data + b.data, (a, b), lambda g: (g, g))


def multiply(a, b):
    a, b = tensor(a), tensor(b)
    return Tensor(a.data * b.data, (a, b), lambda g: (g * b.data, g * a.data))


def matmul(a, b):
    a, b = tensor(a), tensor(b)
    return Tensor(a.data @ b.data, (a, b), lambda g: (g @ b.data.T, a.data.T @ g))


def relu(a):
    return Tensor(np.maximum(a.data, 0), (a,), lambda g: (g * (a.data > 0),))


# %%
def exp(a):
    value = np.exp(a.data)
    return Tensor(value, (a,), lambda g: (g * value,))


def log(a):
    return Tensor(np.log(a.data), (a,), lambda g: (g / a.data,))


def total(a, axis=None):
    value = a.data.sum(axis, keepdims=axis is not None)
    return Tensor(value, (a,), lambda g: (np.broadcast_to(g, a.data.shape),))


def pick(a, columns):
    def back(g):
        gradient = np.zeros_like(a.data)
        gradient[rows, columns] = g
        return (gradient,)

    rows = np.arange(len(columns))
    return Tensor(a.data[rows, columns], (a,), back)


# %% [markdown]
# Last the walk backward. Two details matter.
#
# **Order.** A tensor may pass its gradient on only when that gradient is complete. So every
# tensor must come after all those that use it. `in_order` lists parents before children, a
# *topological order*, and `backward` walks this list from its end.
#
# **Broadcasting.** NumPy adds a bias of shape (64,) to an array of shape (32, 64) by repeating
# it. A value used 32 times collects 32 gradients, so they are added up. This is rule 3.


# %%
def in_order(last):
    """All tensors that `last` was made from, each after its parents."""
    order, seen = [], set()

    def visit(tensor):
        if tensor not in seen:
            seen.add(tensor)
            for parent in tensor.parents:
                visit(parent)
            order.append(tensor)

    visit(last)
    return order


def undo_broadcast(gradient, shape):
    """Add a gradient up over the axes that broadcasting made."""
    while gradient.ndim > len(shape):
        gradient = gradient.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1:
            gradient = gradient.sum(axis=axis, keepdims=True)
    return gradient


# %%
def backward(last):
    last.grad = np.ones_like(last.data)  # the loss changes with itself, one to one
    for result in reversed(in_order(last)):
        gradients = result.back(result.grad) if result.parents else ()
        for parent, gradient in zip(result.parents, gradients, strict=True):
            parent.grad += undo_broadcast(gradient, parent.data.shape)


# %% [markdown]
# That is the whole engine. A notebook gives each cell a file of its own, so we count the lines of
# the five cells, with blank lines and comments.

# %%
cells = {f.__code__.co_filename for f in [Tensor.backward, add, exp, in_order, backward]}
lines = sum(len(linecache.getlines(cell)) for cell in cells)
claim("lines of the engine", lines, "<=", 100, exact=True)

# %% [markdown]
# First test: the neuron from the paper. Second test: the network. The engine has no rule for
# softmax. It needs none, because softmax is made of `exp`, `total` and `log`. The largest logit
# is subtracted as a plain number, which changes no value and no slope.


# %%
def log_softmax(Z):
    shifted = Z - Z.data.max(axis=-1, keepdims=True)
    return shifted - log(total(exp(shifted), axis=-1))


def tensor_loss(weights, X, y):
    W1, b1, W2, b2 = weights
    logits = relu(tensor(X) @ W1 + b1) @ W2 + b2
    return total(pick(log_softmax(logits), y)) * (-1 / len(y))


w_t, b_t = Tensor(0.1), Tensor(1.2)
error = w_t * 3.0 + b_t - 2.0
(error * error * 0.5).backward()
print(f"neuron: dL/dw = {w_t.grad:.3g}, dL/db = {b_t.grad:.3g}")

tensors = [Tensor(w) for w in weights]
loss = tensor_loss(tensors, X, y)
loss.backward()
far = max(np.abs(t.grad - g).max() for t, g in zip(tensors, by_hand, strict=True))
print(f"network: loss {loss.data:.4f}, made of {len(in_order(loss))} tensors")
claim("engine equals hand, the neuron's weight", w_t.grad, "==", dw, tolerance=1e-12, exact=True)
claim("autodiff engine equals hand, all 4,810", far, "<", 1e-10, exact=True, headline=True)

# %% [markdown]
# Now let the engine train. The loop gives the same weights and the same batches as before. The
# weights are new tensors in each step, so old gradients cannot remain in them. In other
# frameworks you must set them to zero yourself, and forgetting it is a common mistake.


# %%
def engine_gradients(weights, X, y):
    tensors = [Tensor(w) for w in weights]
    tensor_loss(tensors, X, y).backward()
    return [t.grad for t in tensors]


by_engine, engine_history = train_numpy(train, seed=0, gradients=engine_gradients)
print(f"by hand: loss {history[-1, 0]:.6f}, test accuracy {history[-1, 1]:.4f}")
print(f"engine : loss {engine_history[-1, 0]:.6f}, test accuracy {engine_history[-1, 1]:.4f}")
difference = np.abs(engine_history - history).max(axis=0)
claim("largest difference of the loss over all epochs", difference[0], "<", 1e-6, exact=True)
claim("largest difference of the test accuracy", difference[1], "<=", 1 / len(test), exact=True)

# %% [markdown]
# ## A value that is used twice
#
# One character in `backward` carries a lot: the `+` in `+=`. A value that is used twice gets
# blame from two sides, and they must be added. Take $L = a \cdot a + a$ at $a = 3$. The slope is
# $2a + 1 = 7$. The next cell replaces `+=` by `=` and tries again. Then it checks the network.


# %%
def backward_overwriting(last):
    last.grad = np.ones_like(last.data)
    for result in reversed(in_order(last)):
        gradients = result.back(result.grad) if result.parents else ()
        for parent, gradient in zip(result.parents, gradients, strict=True):
            parent.grad = undo_broadcast(gradient, parent.data.shape)  # wrong: = for +=


slopes = {}
for walk in [backward, backward_overwriting]:
    a = Tensor(3.0)
    walk(a * a + a)
    slopes[walk.__name__] = float(a.grad)
print(slopes)
tensors = [Tensor(w) for w in weights]
backward_overwriting(tensor_loss(tensors, X, y))
wrong = [relative_error(t.grad, g) for t, g in zip(tensors, by_hand, strict=True)]
print("relative errors in the network:", " ".join(f"{r:.2f}" for r in wrong))
claim("slope of a·a + a at 3, with +=", slopes["backward"], "==", 7, exact=True)
claim("with = it is wrong", slopes["backward_overwriting"], "!=", 7, tolerance=0.5, exact=True)
claim("and so is the network", min(wrong), ">", 0.1, exact=True)

# %% [markdown]
# Our network uses each weight only once. Still it fails, because `log_softmax` uses `shifted`
# twice. Later this becomes the normal case: a recurrent network uses the same weights at every
# time step (lesson 11), and a transformer uses every value twice, once in a layer and once around
# it (lesson 13).
#
# ## What it costs, and what frameworks add
#
# Count the work in multiplications and additions (FLOPs). A product of an $n \times k$ and a
# $k \times m$ matrix takes $2nkm$ of them. The rule for its backward pass has *two* such
# products, $dZ W^\top$ and $H^\top dZ$, each of the same size. We count every product and run the
# engine once.

# %%
flops = {"forward": 0, "backward": 0}


def product(A, B, way):
    flops[way] += 2 * A.shape[0] * A.shape[1] * B.shape[1]
    return A @ B


def matmul(a, b):
    """The operation as before, with a counter in each product."""
    a, b = tensor(a), tensor(b)

    def back(g):
        return product(g, b.data.T, "backward"), product(a.data.T, g, "backward")

    return Tensor(product(a.data, b.data, "forward"), (a, b), back)


# %%
loss = tensor_loss([Tensor(w) for w in weights], X, y)
loss.backward()
one_gradient = flops["forward"] + flops["backward"]
nudging = passes * flops["forward"]
kept = sum(t.data.nbytes for t in in_order(loss) if t.parents)
print(f"forward {flops['forward']:,} FLOPs, backward {flops['backward']:,}")
print(f"one gradient by nudging: {nudging:,} FLOPs, {nudging / one_gradient:,.0f} times as much")
print(f"kept for the way back: {kept:,} bytes for {BATCH} images")
print(f"the weights themselves: {sum(w.nbytes for w in weights):,} bytes")
claim("backward in forward passes", flops["backward"] / flops["forward"], "==", 2, exact=True)
factor = nudging / one_gradient
claim("nudging costs more, by a factor", factor, ">", 3000, exact=True, headline=True)

# %% [markdown]
# Forward and backward together cost three forward passes, for any number of weights. (Frameworks
# save a little: they leave out the gradient of the images, which nobody needs. For the general
# bound see Griewank and Walther 2008, chapter 4.) Two FLOPs forward and four backward for each
# weight and each example: this is the 6 in the formula $6ND$ with which lesson 17 predicts how
# long a GPT trains.
#
# The price is memory. The rules need the values of the forward pass, so all of them are kept.
# They grow with the batch and with the depth. When training runs out of memory, these
# *activations* are often the reason.
#
# TensorFlow, JAX and PyTorch do what our engine does. They add rules for hundreds of operations,
# fast kernels for CPUs and GPUs, compilation of the whole graph, and ways to trade memory for
# computation. The backward walk is the same (Baydin et al. 2018; Goodfellow et al. 2016, section
# 6.5).
#
# ## Summary
#
# 1. The gradient of the loss tells how much each weight is to blame, and in which direction to
#    move it.
# 2. Backpropagation is the chain rule from the loss to the inputs. Each slope is computed once
#    and reused.
# 3. Four rules suffice for our network: $(P - Y)/n$, two transposed products, a sum for the bias,
#    a mask for ReLU.
# 4. Check every gradient you write: central differences, 64-bit numbers, $h$ near $10^{-5}$. A
#    wrong gradient can train and look healthy.
# 5. An automatic engine is a graph, one rule for each operation, and a walk back that adds. It
#    costs about two forward passes, and memory for the activations.
#
# ## Exercises
#
# [exercises/04_backpropagation.ipynb](exercises/04_backpropagation.ipynb): the backward pass of a
# dense layer, a gradient checker, two new operations for a small engine, a neuron for which the
# copied formula is almost right, and a loss that punishes being too sure.
#
# ## References
#
# - Linnainmaa, S. (1970). *The representation of the cumulative rounding error of an algorithm as
#   a Taylor expansion of the local rounding errors* (in Finnish). Master's thesis, University of
#   Helsinki. The reverse mode.
# - Rumelhart, D. E., Hinton, G. E., and Williams, R. J. (1986). Learning representations by
#   back-propagating errors. *Nature* 323, 533–536.
# - Goodfellow, I., Bengio, Y., and Courville, A. (2016). *Deep Learning*. MIT Press. Section 6.5,
#   back-propagation.
# - Baydin, A. G., Pearlmutter, B. A., Radul, A. A., and Siskind, J. M. (2018). Automatic
#   differentiation in machine learning: a survey. *Journal of Machine Learning Research* 18(153),
#   1–43.
# - Griewank, A., and Walther, A. (2008). *Evaluating Derivatives*, 2nd edition. SIAM. Chapters 3
#   and 4.
# - Nocedal, J., and Wright, S. J. (2006). *Numerical Optimization*, 2nd edition. Springer.
#   Chapter 8, calculating derivatives.
