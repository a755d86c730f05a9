# %% [markdown]
# # 03 · Activations and the multi-layer perceptron
#
# **The question: what must stand between two layers, so that together they can do more than one?**
#
# **You need:** lesson 01, the matrix product, the derivative of a function of one variable.
#
# **You will build:** five activation functions with their slopes, a softmax that does not
# overflow, a network that solves XOR, and a network that reads handwritten digits. Its forward
# pass is one line of NumPy and gives the same numbers as Keras.
#
# **Time:** about one and a half minutes to run on a 2-core laptop; reading takes longer.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.special import erf

from kerasllm import data
from kerasllm.course import claim, settings
from kerasllm.layers import FeedForward
from kerasllm.course.figures import BLUE, GREEN, ORANGE, PURPLE, RED, show, use_style
from kerasllm.training import ProgressLine

use_style()

# %% [markdown]
# The dials of this lesson. Turn them and run everything again.

# %%
EPOCHS, DEEP_EPOCHS, LAYERS, SEEDS, NETS, STEPS = settings(
    smoke=(1, 1, 3, 1, 20, 50),  # to test that the notebook runs
    cpu=(15, 10, 10, 3, 200, 1000),
)
# EPOCHS: passes over the digits for small networks    DEEP_EPOCHS: the same for deep ones
# LAYERS: hidden layers of a deep network              SEEDS: how often a training is repeated
# NETS: how many small networks learn XOR at once      STEPS: how many steps they take

# %% [markdown]
# ## Two layers that are only one
#
# One unit draws one line, and XOR needs more (lesson 01). So we stack: the outputs of a first
# layer become the inputs of a second one. Try it on paper, without a threshold between the layers:
#
# $$h_1 = x_1 + x_2, \qquad h_2 = x_1 - x_2, \qquad y = 2h_1 - h_2.$$
#
# Put the first two formulas into the third: $y = 2x_1 + 2x_2 - x_1 + x_2 = x_1 + 3x_2$. The three
# units are one unit in disguise. It is the same with any weights. With a row of inputs $x$, weight
# matrices $W_1, W_2$ and biases $b_1, b_2$,
#
# $$(xW_1 + b_1)W_2 + b_2 = x\,(W_1W_2) + (b_1W_2 + b_2).$$
#
# The next cell computes both sides for random layers.

# %%
rng = np.random.default_rng(0)
X = rng.standard_normal((1000, 5))  # (batch, inputs)
W1, b1 = rng.standard_normal((5, 64)), rng.standard_normal(64)
W2, b2 = rng.standard_normal((64, 3)), rng.standard_normal(3)

two_layers = (X @ W1 + b1) @ W2 + b2  # (batch, outputs)
one_layer = X @ (W1 @ W2) + (b1 @ W2 + b2)  # (batch, outputs)

print("numbers in two layers:", W1.size + b1.size + W2.size + b2.size)
print("numbers in one layer: ", (W1 @ W2).size + b2.size)
difference = np.abs(two_layers - one_layer).max()
claim("two linear layers equal one, difference", difference, "<", 1e-10, exact=True)

# %% [markdown]
# So 64 hidden units bought nothing. Something that is *not* linear must stand between the layers.
# It is called the **activation**. Lesson 01 had one, the step: 0 below the threshold, 1 above. It
# has another fault.
#
# ## The step has no slope
#
# To learn, we want to ask: "if I nudge this weight a little, does the error get smaller?" Ask it
# of the step. The next cell makes 1,000 random networks for XOR (two inputs, two hidden units, one
# output). In each it adds 0.0001 to one weight, and it counts how often the error changes at all.
# Then it does the same with a smooth curve, tanh, in place of the step.

# %%
points = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])  # (batch, inputs)
targets = np.array([0, 1, 1, 0])


def step(x):
    return (x > 0).astype(float)


def error(W1, b1, w2, activation):
    hidden = activation(points @ W1 + b1)  # (batch, 2)
    return np.mean((activation(hidden @ w2) - targets) ** 2)


noticed = {}
for activation in (step, np.tanh):
    rng, changed = np.random.default_rng(0), []
    for _ in range(1000):
        W1, b1, w2 = rng.standard_normal((2, 2)), rng.standard_normal(2), rng.standard_normal(2)
        nudge = np.array([[1e-4, 0], [0, 0]])
        changed.append(error(W1 + nudge, b1, w2, activation) != error(W1, b1, w2, activation))
    noticed[activation.__name__] = np.mean(changed)

claim("step: share of nudges that change the error", noticed["step"], "<", 0.01, exact=True)
claim("tanh: share of nudges that change the error", noticed["tanh"], ">", 0.99, exact=True)

# %% [markdown]
# With the step, the answer is almost always "nothing changes". The slope of a flat line is 0, and
# a slope of 0 says nothing about where to go. We need curves. ReLU, the plainest of them, made
# deep networks trainable in practice (Nair and Hinton 2010; Glorot, Bordes and Bengio 2011).
#
# ## Four curves and their slopes
#
# | Name | Formula | Derivative |
# |:--|:--|:--|
# | sigmoid | $\sigma(x) = 1/(1 + e^{-x})$ | $\sigma(x)\,(1 - \sigma(x))$ |
# | tanh | $\tanh x = 2\sigma(2x) - 1$ | $1 - \tanh^2 x$ |
# | ReLU | $\max(0, x)$ | 1 for $x > 0$, 0 for $x < 0$ |
# | GELU | $x\,\Phi(x)$ | $\Phi(x) + x\,\varphi(x)$ |
#
# $\varphi(x) = e^{-x^2/2}/\sqrt{2\pi}$ is the normal density and $\Phi(x)$ the share of it that
# lies left of $x$, so GELU is "the input times the probability that a normal number is smaller".
# ReLU has no derivative at exactly 0; the usual libraries pick 0 there. In code, each curve stands
# beside its slope:


# %%
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def below(x):
    """The share of a normal distribution that lies below x."""
    return (1 + erf(x / np.sqrt(2))) / 2


def density(x):
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


curves = {
    "step": (step, lambda x: 0 * x),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "ReLU": (relu, lambda x: (x > 0).astype(float)),
    "GELU": (lambda x: x * below(x), lambda x: below(x) + x * density(x)),
}

# %% [markdown]
# A formula for a derivative is a thing to check, not to believe. The test is always the same: move
# $x$ by a small $h$ to both sides, and see how much the function changed,
# $f'(x) \approx \big(f(x+h) - f(x-h)\big)/2h$. We also compare the curves with those of Keras.

# %%
x = np.linspace(-5, 5, 1000)  # an even number of points: 0 is not among them
h = 1e-5
print("            largest   smallest   error of    difference")
print("            slope     slope      our slope   to Keras")
wrong, unlike = {}, {}
for name, (curve, slope) in curves.items():
    measured = (curve(x + h) - curve(x - h)) / (2 * h)
    wrong[name] = np.abs(slope(x) - measured).max()
    if name != "step":
        theirs = keras.ops.convert_to_numpy(getattr(keras.activations, name.lower())(x))
        unlike[name] = np.abs(curve(x) - theirs).max()
    extremes = f"{slope(x).max():8.3f}  {slope(x).min():8.3f}"
    print(f"{name:8s}  {extremes}     {wrong[name]:8.0e}   {unlike.get(name, np.nan):8.0e}")

claim("our slopes against measured ones", max(wrong.values()), "<", 1e-8, exact=True)
claim("our curves against Keras", max(unlike.values()), "<", 1e-5, exact=True)
claim("largest slope of the sigmoid", curves["sigmoid"][1](0.0), "==", 0.25, exact=True)

# %% [markdown]
# The last claim is worth a proof, because it will matter: $\sigma(1-\sigma)$ is a product of two
# numbers whose sum is 1, and such a product is largest when both are $1/2$. So **the slope of a
# sigmoid is never above 1/4**. That of tanh reaches 1; its curve is the sigmoid, stretched.
#
# Now look at them. In each panel the solid line is the function, the dashed one its slope. Look
# for the places where the dashed line is at 0: there, a unit cannot learn.


# %%
def gelu_tanh(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


figure, grid = plt.subplots(2, 3, figsize=(8, 4.6), sharex=True)
for axes, (name, (curve, slope)) in zip(grid.flat, curves.items(), strict=False):
    axes.plot(x, curve(x), color=BLUE, lw=2, label="function")
    axes.plot(x, slope(x), color=RED, lw=1.6, ls="--", label="its slope")
    flat = np.abs(slope(x)) < 0.01
    axes.fill_between(x, -1.15, 1.65, where=flat, color="0.92", lw=0, zorder=0)
    axes.set(title=name, ylim=(-1.15, 1.65), xlim=(-5, 5))
grid[0, 0].legend(loc="upper left")
gelu_gap = gelu_tanh(x) - curves["GELU"][0](x)
grid[1, 2].plot(x, 1000 * gelu_gap, color=GREEN, lw=2)
grid[1, 2].set(title="GELU: tanh − exact", ylabel="thousandths")
show(
    figure,
    "Step, sigmoid, tanh, ReLU and GELU with their slopes; grey marks where the slope is below 0.01:"
    " everywhere for the step, both ends for sigmoid and tanh, the left half for ReLU."
    " The last panel shows that two formulas for GELU differ by less than a thousandth.",
)
claim("two formulas of GELU differ by", np.abs(gelu_gap).max(), "<", 0.0005, exact=True)

# %% [markdown]
# Grey is where the slope is below 0.01. A unit there is **saturated**. Sigmoid and tanh saturate
# on both sides, ReLU on the left, the step everywhere. GELU is a ReLU with a rounded corner; a
# little left of the corner its slope is even negative (the smallest value is in the table).
#
# > **Myth:** GELU is $\tfrac{x}{2}\big(1 + \tanh(\sqrt{2/\pi}\,(x + 0.044715x^3))\big)$, a formula
# > found in many explanations.
# >
# > **Fact:** that is an approximation (Hendrycks and Gimpel 2016, section 2). The last panel and
# > the claim show how far it is off: less than 0.0005. This is no harm for training. But weights
# > trained with one formula and run with the other give slightly different outputs. Keras uses the
# > exact one unless one asks for `approximate=True`.
#
# ## Softmax: from scores to probabilities
#
# The activations above work on one number each. The last layer of a classifier needs another kind:
# ten scores, the **logits** $z_1, \dots, z_{10}$, must become ten probabilities. Softmax does it:
#
# $$p_i = \frac{e^{z_i}}{\sum_j e^{z_j}}.$$
#
# On paper, with scores $(0, \ln 2, \ln 5)$: the exponentials are 1, 2, 5, their sum is 8, so
# $p = (0.125, 0.25, 0.625)$. In code, written just like that, it has a fault. Watch the second
# line.


# %%
def softmax_naive(z):
    return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)


def softmax(z):
    exponentials = np.exp(z - z.max(axis=-1, keepdims=True))  # the largest is exp(0) = 1
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


paper = np.log([1.0, 2.0, 5.0])
with np.errstate(over="ignore", invalid="ignore"):
    print("naive, scores (0, ln 2, ln 5):        ", softmax_naive(paper))
    print("naive, 1000 added to every score:     ", softmax_naive(paper + 1000))
print("largest subtracted, 1000 added:       ", softmax(paper + 1000))

logits = rng.normal(0, 30, (1000, 10))
theirs = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
claim("softmax against Keras", np.abs(softmax(logits) - theirs).max(), "<", 1e-5, exact=True)
shift = np.abs(softmax(logits + 1000) - softmax(logits)).max()
claim("adding 1000 to all scores changes softmax by", shift, "<", 1e-10, exact=True)

# %% [markdown]
# $e^{1000}$ is larger than any floating-point number, and infinity divided by infinity is `nan`.
# The repair costs nothing: adding the same $c$ to all scores multiplies the top and the bottom of
# the fraction by $e^c$, and it cancels. So we may subtract the largest score first.
#
# What is its slope? Each probability depends on *every* score, so the slopes form a table, the
# **Jacobian**: $\partial p_i/\partial z_j = p_i\,(\delta_{ij} - p_j)$, where $\delta_{ij}$ is 1 if
# $i = j$ and 0 otherwise. On the diagonal stands $p_i(1 - p_i)$, the sigmoid's slope again.

# %%
p = softmax(paper)
jacobian = np.diag(p) - np.outer(p, p)  # row i: probability; column j: score
measured = np.empty((3, 3))
for j in range(3):
    nudge = h * np.eye(3)[j]
    measured[:, j] = (softmax(paper + nudge) - softmax(paper - nudge)) / (2 * h)

print("p =", p, "\nJacobian:\n", jacobian)
print("sum of each column:", jacobian.sum(axis=0))
mismatch = np.abs(jacobian - measured).max()
claim("Jacobian against measured slopes", mismatch, "<", 1e-8, exact=True)

# %% [markdown]
# Each column sums to 0: what one probability gains, the others lose. The figure shows it on the
# left. One score moves, the other two stay. On the right the same three scores are divided by a
# **temperature** $T$ before the softmax. A small $T$ makes the winner take all, a large $T$ makes
# all equal. We need this when a language model chooses its next word (lesson 18).

# %%
z = np.linspace(-5, 7, 200)
moved = np.stack([z, np.ones_like(z), np.zeros_like(z)], axis=-1)  # (200, 3): scores z, 1, 0
probabilities = softmax(moved)
slopes = probabilities * (np.array([1, 0, 0]) - probabilities[:, :1])  # by the first score

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.1), width_ratios=(1.3, 1))
for i, color in enumerate((BLUE, ORANGE, GREEN)):
    left.plot(z, probabilities[:, i], color=color, lw=2, label=f"$p_{i + 1}$")
    left.plot(z, slopes[:, i], color=color, lw=1.4, ls="--")
    heights = [softmax(paper / T)[i] for T in (0.2, 1, 5)]
    right.bar(np.arange(3) + 0.27 * (i - 1), heights, 0.25, color=color)
left.set(title="Softmax of (z, 1, 0); dashed: slopes", xlabel="score z")
left.legend(loc="center left")
right.set(title="Softmax of (0, ln 2, ln 5) / T", ylabel="probability")
right.set_xticks(range(3), ["T = 0.2", "T = 1", "T = 5"])
show(
    figure,
    "Left: as one score grows its probability rises in an S curve and the two others fall; the three"
    " dashed slopes sum to zero. Right: temperature 0.2 gives one tall bar, 5 three nearly equal bars.",
)

# %% [markdown]
# ## XOR, solved by hand
#
# Back to the four points of lesson 01: answer 1 if exactly one input is 1. Two hidden ReLU units
# and one output are enough. Both hidden units add the inputs; the second starts one step later:
#
# $$h_1 = \max(0,\ x_1 + x_2), \qquad h_2 = \max(0,\ x_1 + x_2 - 1), \qquad y = h_1 - 2h_2.$$
#
# Go through the table on paper before you run it.

# %%
W1, b1 = np.array([[1, 1], [1, 1]]), np.array([0, -1])
w2 = np.array([1, -2])
hidden = relu(points @ W1 + b1)  # (batch, hidden)
answers = hidden @ w2  # (batch,)
print(" x1 x2    h1 h2    y   target")
for row, unit, answer, target in zip(points, hidden, answers, targets, strict=True):
    print(f"{row[0]:3d} {row[1]:2d}   {unit[0]:3d} {unit[1]:2d}   {answer:2d}   {target:4d}")
claim("XOR by hand, largest error", np.abs(answers - targets).max(), "==", 0, exact=True)

# %% [markdown]
# Why does it work? Look at the columns $h_1, h_2$ as a *place*. (A triangle is the answer 1, a
# circle 0.) The hidden layer moves each point to a new place, and there one line is enough. The
# output unit is still the plain unit of lesson 01.

# %% tags=["readme"]
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(8, 2.9))
border = np.linspace(-0.6, 2.6, 50)
for axes, places in ((left, points), (middle, hidden), (right, points)):
    for target, color, marker in ((0, BLUE, "o"), (1, RED, "^")):
        axes.scatter(*places[targets == target].T, c=color, marker=marker, s=90, zorder=3)
middle.plot(border, (border - 0.5) / 2, color="black", lw=1.4)  # h1 - 2 h2 = 0.5
middle.annotate("(0,1) and (1,0)\nland together", (1, 0), (0.6, -0.47), fontsize=8.5)
a, b = np.meshgrid(np.linspace(-0.4, 1.4, 200), np.linspace(-0.4, 1.4, 200))
y = relu(np.stack([a, b], axis=-1) @ W1 + b1) @ w2  # (200, 200)
right.contourf(a, b, y, levels=[-9, 0.5, 9], colors=["#CFE3F1", "#F6D9C8"])
left.set(title="Inputs: no line", xlabel="$x_1$", ylabel="$x_2$")
middle.set(title="Hidden units: one line", xlabel="$h_1$", ylabel="$h_2$", ylim=(-0.6, 1.5))
right.set(title="Inputs, seen through both", xlabel="$x_1$")
for axes in (left, right):
    axes.set(xlim=(-0.4, 1.4), ylim=(-0.4, 1.4), xticks=[0, 1], yticks=[0, 1])
show(
    figure,
    "Left: the four points of XOR, no line separates them. Middle: the same points at the places the"
    " two hidden units give them, a line separates them. Right: in the inputs that line is a band.",
)

# %% [markdown]
# ## XOR, found by training
#
# Could a network find such weights alone? It starts from random weights and follows the slope of
# its error downhill. The slopes come from `tf.GradientTape`, which we use today as a measuring
# instrument; lesson 04 opens it. The cell trains many networks side by side, each on its own.


# %%
def train_xor(width, seed=0):
    """Train NETS networks with `width` hidden ReLU units; return the error of each, (NETS,)."""
    rng = np.random.default_rng(seed)
    shapes = (NETS, 2, width), (NETS, 1, width), (NETS, width, 1), (NETS, 1, 1)
    starts = [rng.standard_normal(s) if s[1] != 1 else np.zeros(s) for s in shapes]
    weights = [keras.Variable(start.astype("float32")) for start in starts]
    optimizer = keras.optimizers.Adam(0.03)
    optimizer.build(weights)

    @tf.function  # compile the step: faster, same numbers
    def one_step():
        W1, b1, w2, b2 = [weight.value for weight in weights]
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(points.astype("float32") @ W1 + b1)  # (NETS, 4, width)
            answers = (hidden @ w2 + b2)[:, :, 0]  # (NETS, 4)
            errors = tf.reduce_mean((answers - targets.astype("float32")) ** 2, axis=1)
        optimizer.apply(tape.gradient(errors, [W1, b1, w2, b2]), weights)
        return errors

    for _ in range(STEPS):
        errors = one_step()
    return errors.numpy()


# %% [markdown]
# Two hidden units are enough, we have just seen it. How many of the networks with two units find a
# solution? Make a guess. Then run it, with more units too.

# %%
errors = {width: train_xor(width) for width in (2, 4, 8, 16)}
solved = {width: np.mean(e < 0.01) for width, e in errors.items()}
for width, share in solved.items():
    print(f"{width:2d} hidden units: {share:4.0%} of {NETS} networks solve XOR")

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
left.bar([str(width) for width in solved], [100 * share for share in solved.values()], color=BLUE)
left.set(title="Solved", xlabel="hidden units", ylabel="% of networks", ylim=(0, 105))
right.plot(np.sort(errors[2]), ".", color=RED)
for level, text in ((1 / 4, "1/4"), (1 / 6, "1/6"), (1 / 8, "1/8"), (0, "0: solved")):
    right.axhline(level, color="0.6", lw=0.8, zorder=0)
    right.text(1.02, level, text, va="center", transform=right.get_yaxis_transform())
right.set(title="Two units: where training ends", xlabel="network, sorted", ylabel="error")
right.grid(False)
show(
    figure,
    "Left: the share of networks that solve XOR grows from about a fifth with 2 hidden units to nearly"
    " all with 16. Right: the final errors of networks with 2 units lie on four levels.",
)
levels = np.array([0, 1 / 8, 1 / 6, 1 / 4])
near = np.abs(errors[2][:, None] - levels).min(axis=1) < 0.005
claim("two units: share that finds a solution", solved[2], "<", 0.4)
claim("sixteen units: share that finds a solution", solved[16], ">", 0.9)
claim("two units: share that ends on one of four levels", near.mean(), ">", 0.95)

# %% [markdown]
# Two units *can* solve XOR, and most networks with two units do not. What a network can express
# and what training finds are two questions. The levels on the right tell where the others got
# stuck. Answer 1/2 to everything: the error is 1/4. Get one point right and give the other three
# their mean, 1/3 or 2/3: the error is $(1/9 + 1/9 + 4/9)/4 = 1/6$. Get two right and answer 1/2 to
# the others: 1/8. In each, the slope is 0, often because a ReLU is off where it would be needed.
# With 16 units enough of them start well. This is one reason why networks are made larger than
# they need to be.
#
# ## What one hidden layer can draw
#
# How much can it express? Think of ReLU units as hinges. The unit $\max(0, x - t)$ is flat up to
# $t$ and rises after it. A sum of such units is a line that bends at each $t$. So choose places
# $t_0 < t_1 < \dots$ on a curve, connect them with straight pieces, and read off the weights: the
# output weight of a unit is the change of slope at its hinge. No training is needed.


# %%
def curve(x):
    return np.sin(2 * np.pi * x) + 0.5 * np.sin(5 * np.pi * x)


def hinges(width, x):
    """A network with `width` ReLU units whose line bends at evenly spaced places."""
    t = np.linspace(0, 1, width + 1)
    slopes = np.diff(curve(t)) / np.diff(t)  # (width,)
    w2 = np.diff(slopes, prepend=0)  # the change of slope at each hinge
    return relu(x[:, None] - t[:-1]) @ w2 + curve(t[:1])  # (points,)


# %% [markdown]
# Look at the bends, and at the error as the number of units doubles.

# %%
x = np.linspace(0, 1, 2001)
widths = [2, 4, 8, 16, 32, 64, 128]
gaps = [np.abs(hinges(width, x) - curve(x)).max() for width in widths]

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
left.plot(x, curve(x), color="0.75", lw=5, label="the curve")
for width, color in ((4, RED), (16, BLUE)):
    left.plot(x, hinges(width, x), color=color, lw=1.6, label=f"{width} ReLU units")
left.set(title="A line with hinges", xlabel="x")
left.legend()
right.loglog(widths, gaps, "o-", color=BLUE)
right.set(title="Twice the units, a quarter of the error", xlabel="hidden units")
right.set_xticks(widths, [str(width) for width in widths], minor=False)
right.minorticks_off()
right.set_ylabel("largest error")
show(
    figure,
    "Left: 4 ReLU units follow a wavy curve badly, 16 closely. Right: on double logarithmic axes"
    " the largest error falls in a straight line as units are added.",
)
ratio = gaps[-2] / gaps[-1]
claim("error of 64 units / error of 128 units", ratio, "==", 4, tolerance=0.2, exact=True)

# %% [markdown]
# That is the **universal approximation** theorem in its simplest case: one hidden layer with
# enough units comes as close as we like to any continuous curve on a bounded interval (Cybenko
# 1989 for sigmoids; Leshno and others 1993 for ReLU and every other activation that is not a
# polynomial). It promises that weights exist. It does not say that training finds them, nor how
# many units are needed, nor what happens between data points.
#
# ## Handwritten digits
#
# Now real data: 1,797 digits, 8 × 8 pixels each (Alpaydin and Kaynak 1998). We ask two questions
# about the same pictures. Which digit is it? And: is it odd or even? The second is XOR's relative:
# 1, 3, 5, 7 and 9 have little in common but the answer. `kerasllm.data.load` brings a data set as
# a table with one row a picture, and with a fixed split.

# %%
digits = data.load("digits")
part = {name: digits[digits["split"] == name] for name in ("train", "test")}
X_train, X_test = [
    (part[name].filter(like="pixel").to_numpy() / 16).astype("float32")  # (pictures, 64), 0 to 1
    for name in part
]
digit_train, digit_test = [part[name]["label"].astype(int).to_numpy() for name in part]

print("training pictures:", len(X_train), "  test pictures:", len(X_test))
for name, labels in (("which digit", digit_test), ("odd or even", digit_test % 2)):
    share = np.bincount(labels).max() / len(labels)
    print(f"{name}: always the most frequent answer is right in {share:.1%}")

# %% [markdown]
# Two models. The first is linear: 64 pixels, ten scores, softmax. The second is the **multi-layer
# perceptron**, MLP for short: 64 pixels, 64 hidden ReLU units, ten scores, softmax. Keras trains
# both in the same way; how `fit` does it is the matter of lessons 04 and 05.


# %%
def network(hidden, activation="relu", initializer="he_normal"):
    """Dense layers with these widths and an activation, then ten scores."""
    stack = [keras.layers.Dense(w, activation, kernel_initializer=initializer) for w in hidden]
    return keras.Sequential([keras.Input((64,)), *stack, keras.layers.Dense(10)])


def fit(model, labels, rate, epochs=EPOCHS, batch_size=32, callbacks=()):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)  # softmax is inside
    quick = {"steps_per_execution": 10, "jit_compile": False}  # less overhead for small networks
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"], **quick)
    return model.fit(X_train, labels, batch_size, epochs, verbose=0, callbacks=callbacks).history


def scores(model, X):
    return keras.ops.convert_to_numpy(model(X))  # (pictures, 10)


def accuracy(model, X, labels):
    return float(np.mean(scores(model, X).argmax(axis=-1) == labels))


keras.utils.set_random_seed(0)
mlp = network([64])
history = fit(mlp, digit_train, rate=0.003, callbacks=[ProgressLine(every=5)])
print(f"test pictures read correctly: {accuracy(mlp, X_test, digit_test):.1%}")

# %% [markdown]
# ## The same network in one line
#
# There is no secret in this model. It has two weight matrices and two vectors of biases. We copy
# them out and write the forward pass ourselves. It must give the same numbers.


# %%
def forward(X, W1, b1, W2, b2):
    """A multi-layer perceptron: (batch, 64) pixels to (batch, 10) scores."""
    return relu(X @ W1 + b1) @ W2 + b2


weights = mlp.get_weights()
print("shapes:", [weight.shape for weight in weights], " numbers:", mlp.count_params())
ours = forward(X_test, *weights)  # (pictures, 10)
theirs = scores(mlp, X_test)
print("first test picture, five of its ten scores")
print("NumPy:", ours[0, :5], "\nKeras:", theirs[0, :5])
difference = np.abs(ours - theirs).max()
claim("NumPy against Keras, largest difference", difference, "<", 1e-5, exact=True)

# %% [markdown]
# The course's library holds this network as a layer: `FeedForward`, in `kerasllm/layers`. It does
# the same with the last axis of any tensor. With the same weights, its output is the same. From
# now on we import it. You will meet it again inside every transformer, once for each word.

# %%
layer = FeedForward(64, 10, activation="relu")
layer.build((None, 64))
layer.set_weights(weights)
library = scores(layer, X_test)
difference = np.abs(library - theirs).max()
claim("FeedForward against Keras, largest difference", difference, "<", 1e-5, exact=True)

# %% [markdown]
# ## What the hidden layer is worth
#
# Now both models and both questions, with several seeds: another seed means other random first
# weights and another order of the pictures. Each model gets a learning rate that suits it.

# %%
questions = {"which digit": (digit_train, digit_test), "odd or even": (digit_train % 2, digit_test % 2)}
models = {"linear": ([], 0.01), "MLP": ([64], 0.003)}
seen, unseen = {}, {}
for question, (labels, test_labels) in questions.items():
    for name, (hidden, rate) in models.items():
        key, seen[question, name], unseen[question, name] = (question, name), [], []
        for seed in range(SEEDS):
            keras.utils.set_random_seed(seed)
            model = network(hidden)
            fit(model, labels, rate)
            seen[key].append(accuracy(model, X_train, labels))
            unseen[key].append(accuracy(model, X_test, test_labels))
        tests = "  ".join(f"{value:.1%}" for value in unseen[key])
        print(f"{question}, {name:6s}: training {np.mean(seen[key]):.1%}   test {tests}")

gain = np.subtract(unseen["odd or even", "MLP"], unseen["odd or even", "linear"])
claim("odd or even: what the hidden layer adds to test accuracy", gain, ">", 0.015, headline=True)
linear = seen["odd or even", "linear"]
claim("odd or even: linear on its own training pictures", linear, "<", 0.96)
claim("which digit: MLP on test pictures", unseen["which digit", "MLP"], ">", 0.95)
claim("which digit: linear on test pictures", unseen["which digit", "linear"], ">", 0.94)

# %% [markdown]
# For "odd or even" the hidden layer is worth several points. The linear model cannot even answer
# for the pictures it was trained on: this is a question for which one plane is not enough. For
# "which digit" the two are close, and with 345 test pictures one point is only three or four
# pictures. These digits are nearly linear: a good linear model is a strong baseline, and we would
# not have known without trying it. (The same people wrote training and test pictures here; new
# writers are harder to read.)

# %%
figure, panels = plt.subplots(1, 2, figsize=(8, 2.7), sharex=True)
for axes, question in zip(panels, questions, strict=True):
    for row, (name, color) in enumerate((("linear", ORANGE), ("MLP", BLUE))):
        axes.plot(unseen[question, name], [row] * SEEDS, "o", color=color, ms=8, label="test")
        axes.plot(seen[question, name], [row] * SEEDS, "|", color=color, ms=14, label="training")
    axes.set(title=question, xlabel="accuracy", ylim=(-0.6, 1.6))
    axes.set_yticks([0, 1], ["linear", "MLP"])
    axes.grid(axis="y", visible=False)
panels[0].legend(*[part[:2] for part in panels[1].get_legend_handles_labels()], loc="upper left")
show(
    figure,
    "Test and training accuracy for each seed. For odd or even the MLP is far to the right of the"
    " linear model; for which digit the two are close on test pictures.",
)

# %% [markdown]
# ## What the hidden units look at
#
# Each hidden unit has 64 incoming weights, one a pixel. Put them back into the 8 × 8 square and
# they are a picture. But they began as random numbers, and that noise is still in them. So the
# first row shows what training *added* (blue pixels push the unit up, red ones down), for the ten
# units that have most to say: their output varies most, times the size of their outgoing weights.
# The second row shows, for each, the mean of the 20 training pictures that excite it most. The
# third shows test pictures that the model reads wrongly.

# %%
keras.utils.set_random_seed(0)
start = network([64]).get_weights()[0]  # the same seed: the same first weights
W1, b1, W2, b2 = weights
hidden = relu(X_train @ W1 + b1)  # (pictures, 64)
top = np.argsort(-hidden.std(axis=0) * np.linalg.norm(W2, axis=1))[:10]
read = ours.argmax(axis=1)
mistakes = np.flatnonzero(read != digit_test)[:10]

figure, grid = plt.subplots(3, 10, figsize=(8, 3.3))
for axes in grid.flat:
    axes.set_axis_off()
for unit, above, middle in zip(top, grid[0], grid[1], strict=True):
    above.imshow((W1 - start)[:, unit].reshape(8, 8), cmap="RdBu", vmin=-0.6, vmax=0.6)
    best = np.argsort(-hidden[:, unit])[:20]
    middle.imshow(X_train[best].mean(axis=0).reshape(8, 8), cmap="gray_r")
for axes, i in zip(grid[2], mistakes, strict=False):
    axes.imshow(X_test[i].reshape(8, 8), cmap="gray_r")
    axes.set_title(f"{digit_test[i]} as {read[i]}", fontsize=9, loc="center")
for row, text in zip(grid, ("learned", "excited by", "mistakes"), strict=True):
    row[0].text(-0.25, 0.5, text, ha="right", va="center", transform=row[0].transAxes)
show(
    figure,
    "Three rows of 8 by 8 pictures: what training added to the weights of ten hidden units; the mean"
    " picture that excites each, often a blend of two digits; test digits that are read wrongly.",
)

# %% [markdown]
# Some of the blends are no digit at all. So is a unit "for" one digit? Count it: how many
# different digits are among the 20 training pictures that excite a unit most? For a unit that
# knows nothing it would be about nine, $10\,(1 - 0.9^{20}) \approx 8.8$. For a unit that stands
# for one digit it is one.

# %%
used = np.flatnonzero(hidden.max(axis=0) > 0)  # the units that are ever on
kinds = np.array([len(set(digit_train[np.argsort(-hidden[:, unit])[:20]])) for unit in used])
for count in range(1, kinds.max() + 1):
    print(f"{count} different digits: {'#' * int(np.sum(kinds == count))}")
claim("different digits among a unit's 20 favourites, mean", kinds.mean(), "<", 5)
claim("share of units that stand for one digit", np.mean(kinds == 1), "<", 0.5)

# %% [markdown]
# Most units answer to a part that two, three or four digits share, and a digit is a combination of
# units. This is called a **distributed representation**. Nobody designed these parts. In lesson 01
# we had to think of the input $x_1x_2$ ourselves; here training has made its own.
#
# ## Why not twenty layers?
#
# If one hidden layer is good, are twenty better? Before we train such a network, let us look
# through it. We take 20 layers with 64 units each and random weights, send 256 random inputs
# through, and measure two things at every layer: the **spread** (how much a unit's output differs
# from input to input; 0 means that all inputs look the same) and the **gradient** (how much the
# layer's output influences a number at the end, compared with the last layer).
#
# The size of the first weights matters. A sum of 64 products has 64 times the variance of one. To
# keep the variance, the weights need the variance $1/64$: that is Glorot's rule,
# $2/(n_\text{in} + n_\text{out})$, for equal widths. ReLU sets the negative half to 0 and keeps
# half of the mean square, so it needs twice that: He's rule, $2/n_\text{in}$.

# %%
WIDTH, DEPTH = 64, 20
activations = {"sigmoid": tf.sigmoid, "tanh": tf.tanh, "ReLU": tf.nn.relu}
scales = {"0.01": 0.01, "Glorot": np.sqrt(1 / WIDTH), "He": np.sqrt(2 / WIDTH), "1": 1.0}


def probe(activation, scale, seed=0):
    """Spread and gradient at layers 0 to DEPTH for normal weights with this standard deviation."""
    rng = np.random.default_rng(seed)
    outputs = [tf.constant(rng.standard_normal((256, WIDTH)))]
    with tf.GradientTape() as tape:
        tape.watch(outputs[0])
        for _ in range(DEPTH):
            weights = scale * rng.standard_normal((WIDTH, WIDTH))
            outputs.append(activation(outputs[-1] @ weights))  # (256, WIDTH)
        end = tf.reduce_sum(outputs[-1] * rng.standard_normal(WIDTH))
    gradients = tape.gradient(end, outputs)
    spread = [output.numpy().std(axis=0).mean() for output in outputs]
    size = [np.sqrt(np.mean(gradient.numpy() ** 2)) for gradient in gradients]
    return np.array(spread), np.array(size) / size[-1], weights, outputs


# %% [markdown]
# Three activations and four sizes of weights: 0.01 (a common first idea), Glorot, He, and 1. In
# the figure the axes are logarithmic: each grid line is a factor of 10 to some power. A healthy
# network is a line that stays in the grey band, within a factor of 1,000 of 1.

# %%
figure, grid = plt.subplots(2, 3, figsize=(8, 5), sharex=True, sharey="row")
gradient_at_start = {}
for column, (name, activation) in enumerate(activations.items()):
    for (label, scale), color in zip(scales.items(), (RED, BLUE, GREEN, PURPLE), strict=True):
        spread, gradient, *_ = probe(activation, scale)
        gradient_at_start[name, label] = gradient[0]
        grid[0, column].semilogy(spread, color=color, lw=1.8, label=label)
        grid[1, column].semilogy(gradient, color=color, lw=1.8, label=label)
    grid[0, column].set_title(name)
    grid[1, column].set(xlabel="layer", xticks=[0, 5, 10, 15, 20])
grid[0, 0].set_ylabel("spread over inputs")
grid[1, 0].set_ylabel("gradient")
grid[0, 0].set_yticks([1e-24, 1e-16, 1e-8, 1, 1e8, 1e16])
grid[1, 0].set_yticks([1e-32, 1e-24, 1e-16, 1e-8, 1, 1e8, 1e16])
for axes in grid.flat:
    axes.axhspan(1e-3, 1e3, color="0.9", lw=0, zorder=0)
grid[0, 1].legend(title="weights", loc="lower left", ncols=2)
arrow = {"arrowstyle": "->", "color": "0.4"}
grid[1, 2].annotate("the gradient\ntravels", (5, 1e-31), (11, 1e-31), va="center", arrowprops=arrow)
show(
    figure,
    "Spread by layer and gradient by layer for sigmoid, tanh and ReLU with four sizes of weights."
    " Tanh and ReLU with Glorot or He weights stay near 1, so does sigmoid with weights 1; sigmoid with"
    " Glorot or He and all nets with weights 0.01 fall by many powers of ten, ReLU with 1 explodes.",
)

# %% [markdown]
# Read the lower row from right to left, as the gradient travels: from the last layer to the first.
# With a sigmoid and Glorot's weights each layer multiplies it by the slope, at most 1/4. Twenty
# layers: $4^{-20} \approx 10^{-12}$. The first layer hears nothing. Read the upper row from left
# to right: there the last layer cannot tell the inputs apart. (The red line of the sigmoid ends
# near $10^{-16}$ because 64-bit numbers end there.) Tanh and ReLU keep both alive with weights of
# the right size. But so does the sigmoid, with weights of 1: a surprise that we shall test. The
# cell holds the numbers, and counts saturated units in the middle of the net.

# %%
slope_of = {"sigmoid": curves["sigmoid"][1], "tanh": curves["tanh"][1], "ReLU": curves["ReLU"][1]}
print("           weights   gradient at     saturated units")
print("                     the first layer in layer 10")
saturated = {}
for (name, label), gradient in gradient_at_start.items():
    rng = np.random.default_rng(0)
    output = rng.standard_normal((256, WIDTH))
    for _ in range(10):
        before = output @ (scales[label] * rng.standard_normal((WIDTH, WIDTH)))  # (256, WIDTH)
        output = curves[name][0](before)
    saturated[name, label] = np.mean(slope_of[name](before) < 0.01)
    print(f"{name:9s}  {label:8s}  {gradient:9.0e}        {saturated[name, label]:5.0%}")

claim("sigmoid, Glorot: gradient", gradient_at_start["sigmoid", "Glorot"], "<", 1e-9, exact=True)
claim("sigmoid, Glorot: saturated units", saturated["sigmoid", "Glorot"], "<", 0.01, exact=True)
claim("tanh, weights 1: saturated units", saturated["tanh", "1"], ">", 0.5, exact=True)
claim("tanh, weights 1: gradient", gradient_at_start["tanh", "1"], ">", 1000, exact=True)
claim("ReLU, He: gradient", gradient_at_start["ReLU", "He"], ">", 0.01, exact=True)
claim("ReLU, 0.01: gradient", gradient_at_start["ReLU", "0.01"], "<", 1e-20, exact=True)

# %% [markdown]
# > **Myth:** gradients vanish because sigmoid units are saturated, and ReLU cures it.
# >
# > **Fact:** in the sigmoid net with Glorot's weights not one unit in a hundred is saturated, and
# > the gradient still vanishes: 1/4 twenty times is enough. In the tanh net with weights of size 1
# > most units are saturated, and its gradient *explodes*: the few units that are not are
# > multiplied by large weights. And a ReLU net with weights of 0.01 loses its gradient like all
# > others. What counts is the product, for each layer: size of the weights times slope. It must
# > stay near 1.
#
# What does it mean for learning? Ten hidden layers on the digits. The figure predicts: sigmoid
# with Glorot's weights, the default of Keras, learns nothing. ReLU with He's learns. And a sigmoid
# with weights of standard deviation 1 learns too, though every textbook warns of saturation.


# %%
def deep_network(name):
    kind = ("relu", "he_normal") if name == "ReLU, He" else ("sigmoid", "glorot_uniform")
    model = network([64] * LAYERS, *kind)
    if name == "sigmoid, weights 1":
        for layer in model.layers[:-1]:
            layer.kernel.assign(8 * layer.kernel)  # Glorot's standard deviation is 1/8
    return model


deep_loss, deep_accuracy = {}, {}
for name in ("sigmoid, Glorot", "sigmoid, weights 1", "ReLU, He"):
    deep_loss[name], deep_accuracy[name] = [], []
    for seed in range(SEEDS):
        keras.utils.set_random_seed(seed)
        model = deep_network(name)
        history = fit(model, digit_train, rate=0.001, epochs=DEEP_EPOCHS, batch_size=64)
        deep_loss[name].append(history["loss"])
        deep_accuracy[name].append(accuracy(model, X_test, digit_test))
    print(f"{LAYERS} layers, {name:18s}: test accuracy", np.round(deep_accuracy[name], 3))
print("one layer, ReLU, He          : test accuracy", np.round(unseen["which digit", "MLP"], 3))

# %% [markdown]
# Three predictions, three claims. The figure tells how it came about; one line is one seed.

# %%
figure, axes = plt.subplots(figsize=(8, 2.8))
for (name, losses), color in zip(deep_loss.items(), (RED, PURPLE, BLUE), strict=True):
    axes.plot(range(1, DEEP_EPOCHS + 1), np.array(losses).T, "o-", ms=3, color=color)
    side = axes.get_yaxis_transform()  # x in shares of the width, y in data
    axes.text(1.01, losses[0][-1], name, color=color, va="center", transform=side)
axes.text(0.5, 2.2, "guessing one of ten: ln 10", color="0.4", va="top", transform=side)
axes.set(xlabel="epoch", ylabel="training loss", ylim=(0, 3), title="Ten hidden layers, digits")
show(
    figure,
    "Training loss by epoch of networks with ten hidden layers, one line a seed. Sigmoid networks with"
    " Glorot weights stay at the loss of guessing, ln 10; those with weights 1 fall slowly, ReLU fast.",
)
lost, alive, best = deep_accuracy.values()
claim("ten sigmoid layers, Glorot: test accuracy", lost, "<", 0.2, headline=True)
claim("ten sigmoid layers, weights 1: test accuracy", alive, ">", 0.6)
claim("ten ReLU layers, He: test accuracy", best, ">", 0.85)

# %% [markdown]
# The first nets have learnt nothing: they answer as if they had not seen the picture. The same
# nets with larger weights learn, slowly: many of their units are saturated, but the signal goes
# through. The ReLU nets learn fast. Compare the printed numbers, though: ten layers read no better
# than one. Depth alone is no virtue, not for 8 × 8 pixels. It pays on harder data, and with two
# inventions that transformers use at every layer: normalisation and residual connections (lesson
# 14).
#
# ## ReLU's own illness
#
# A ReLU has one weak side: its slope is 0 on the left. If a large step pushes a unit so far that
# it is off for *every* training picture, it gets no gradient any more, from any of them. It is
# **dead**. We train the MLP for a few epochs at four learning rates and count.

# %%
dead, rates = {}, (0.001, 0.01, 0.1, 1.0)
for rate in rates:
    keras.utils.set_random_seed(0)
    model = network([64])
    fit(model, digit_train, rate, epochs=min(EPOCHS, 5))
    W1, b1, *_ = model.get_weights()
    off = (relu(X_train @ W1 + b1) == 0).all(axis=0)  # (64,)
    dead[rate] = off.mean()
    test = accuracy(model, X_test, digit_test)
    print(f"learning rate {rate:5}: {dead[rate]:4.0%} of the units dead   test accuracy {test:.0%}")

fit(model, digit_train, rate=0.001, epochs=1)  # the last model again, now with a small rate
moved = np.abs(model.get_weights()[0] - W1)[:, off].max(initial=0)
claim("how far a dead unit's weights move in another epoch", moved, "==", 0, exact=True)
claim("learning rate 1: share of dead units", dead[1.0], ">", 0.9)
claim("learning rate 0.001: share of dead units", dead[0.001], "<", 0.25)

# %% [markdown]
# At a rate of 1 the whole layer is dead, and the model gives every picture the same answer. A
# smaller rate afterwards does not wake it: the weights of a dead unit move by exactly 0. Smaller
# steps and a slow start help (lesson 05). GELU helps a little: its slope just left of 0 is not 0.
#
# So what should you choose? In hidden layers ReLU, with He's weights, or GELU, as transformers do.
# Sigmoid where a number between 0 and 1 is wanted: a probability of yes or no, or a gate (lesson
# 11). Tanh where it must lie between −1 and 1. Softmax for one answer out of many.
#
# ## Summary
#
# - Layers without an activation collapse into one; the step cannot be trained, its slope is 0.
# - A hidden layer moves the data to places where one plane is enough. Two ReLU units solve XOR;
#   more units make it likely that training finds a solution.
# - Softmax turns scores into probabilities. Subtract the largest score first.
# - Through many layers, spread and gradient are multiplied by (weights × slope) each time. Keep
#   the product near 1: ReLU with He's rule, tanh with Glorot's. A sigmoid's slope is at most 1/4.
# - A ReLU that is off for every input learns no more. And always try the linear baseline.
#
# ## Exercises
#
# Open [exercises/03_activations_and_mlp.ipynb](exercises/03_activations_and_mlp.ipynb). You write
# a stable softmax and the slope of SiLU, solve XOR by hand with tanh units, count the numbers of a
# network, and predict at which depth a gradient is lost. Each answer is checked in the notebook.
#
# ## References
#
# - G. Cybenko (1989). Approximation by superpositions of a sigmoidal function. *Mathematics of
#   Control, Signals and Systems* 2, 303-314.
# - K. Hornik, M. Stinchcombe, H. White (1989). Multilayer feedforward networks are universal
#   approximators. *Neural Networks* 2(5), 359-366.
# - X. Glorot, Y. Bengio (2010). Understanding the difficulty of training deep feedforward neural
#   networks. *AISTATS*. Section 4.2 derives the rule, equation 16 is its uniform form.
# - M. Leshno, V. Lin, A. Pinkus, S. Schocken (1993). Multilayer feedforward networks with a
#   nonpolynomial activation function can approximate any function. *Neural Networks* 6(6),
#   861-867.
# - V. Nair, G. Hinton (2010). Rectified linear units improve restricted Boltzmann machines.
#   *ICML*.
# - X. Glorot, A. Bordes, Y. Bengio (2011). Deep sparse rectifier neural networks. *AISTATS*.
# - K. He, X. Zhang, S. Ren, J. Sun (2015). Delving deep into rectifiers. *ICCV*. Section 2.2
#   derives the rule for ReLU.
# - D. Hendrycks, K. Gimpel (2016). Gaussian error linear units (GELUs). arXiv:1606.08415. Section
#   2.
# - I. Goodfellow, Y. Bengio, A. Courville (2016). *Deep Learning*. MIT Press. Section 6.1 solves
#   XOR with the same two units; 6.3 hidden units, 6.4.1 universal approximation.
# - E. Alpaydin, C. Kaynak (1998). Cascading classifiers. *Kybernetika* 34(4), 369-374. The digits.
