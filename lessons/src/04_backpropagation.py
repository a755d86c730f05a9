# %% [markdown] tags=["edition-2"]
# # 04 · Backpropagation
#
# **A network has 4,810 weights and gives a wrong answer. Which weight is to blame, and by how much?**
#
# **You need** lesson 02 (gradient, cross-entropy, learning rate), lesson 03 (hidden layer, ReLU,
# softmax) and products of matrices.
#
# **You will build** a network that learns from gradients you wrote yourself, a check that finds wrong
# gradients, and a small engine that finds right ones alone. You will time it against the obvious way.
#
# **Time** about 1 minute to run on a laptop with 2 cores, and 40 minutes to read.

# %% tags=["hide"]
# @title Imports
import time
import timeit

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram, product
from kerasllm.course.figures import curves, show
from kerasllm.course.palette import AMOUNT, STYLE
from kerasllm.data import load

_ = threadpool_limits(1)  # matrices this small are multiplied faster by one core

# %%
EPOCHS = dial(60, smoke=2)  # passes over the training images
SEEDS = dial((0, 1, 2), smoke=(0,))  # repetitions with other random first weights
UNITS = dial((8, 16, 32, 64, 128), smoke=(4, 64))  # hidden units of the networks that are timed
REPEATS = dial(3, smoke=1)  # measurements of each time
RATE = 0.125  # learning rate
BATCH = 32  # images in one step

# %% [markdown]
# ## Blame by nudging
#
# In lesson 03 a tape found the slopes for a network that reads digits, and we only used them. Here is the same
# network again: 64 pixels, 64 hidden units with ReLU, 10 logits. It has $64 \cdot 64 + 64 + 64 \cdot 10
# + 10 = 4810$ weights, when we count the biases as weights too. At the start all of them are random, so
# its answers are wrong. To improve it we must know what each single weight contributes to the error.


# %%
table = load("digits")  # 64 pixel columns, label, split
images = table.filter(like="pixel").to_numpy() / 16  # (1797, 64), from 0 to 1
digits = table["label"].to_numpy(dtype=int)  # (1797,)
train, test = (np.flatnonzero(table["split"] == part) for part in ("train", "test"))  # row numbers


def new_weights(seed, units=64):
    """Random weights of the size that suits ReLU (lesson 03), and biases of 0."""
    rng = np.random.default_rng(seed)
    W1 = rng.normal(0, np.sqrt(2 / 64), (64, units))
    W2 = rng.normal(0, np.sqrt(2 / units), (units, 10))
    return [W1, np.zeros(units), W2, np.zeros(10)]


weights, X, y = new_weights(0), images[train[:BATCH]], digits[train[:BATCH]]


# %%
def forward(weights, X):
    W1, b1, W2, b2 = weights
    Z1 = X @ W1 + b1  # (images, hidden)
    H = np.maximum(Z1, 0)  # (images, hidden), ReLU
    Z2 = H @ W2 + b2  # (images, 10), the logits
    return Z1, H, Z2


def log_softmax(Z):
    Z = Z - Z.max(axis=1, keepdims=True)  # avoids overflow, changes nothing else
    return Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))


def loss_of(weights, X, y):
    """The mean cross-entropy: minus the log-probability of the right digit."""
    *_, Z2 = forward(weights, X)
    return -log_softmax(Z2)[np.arange(len(y)), y].mean()


# %% [markdown]
# There is an obvious way to find the blame of one weight: try it. Make the weight larger by a small
# $h$, then smaller by $h$, and see how the loss answers. The slope
#
# $$\frac{\partial L}{\partial w} \approx \frac{L(w + h) - L(w - h)}{2h}$$
#
# is the blame of the weight $w$. If it is positive, the weight should become smaller, and if it is
# negative, the weight should grow. All 4,810 slopes together are the gradient, which lesson 02 followed
# downhill. Before you run the cell, write down a guess: how many times must the network read the 32
# images to find the gradient in this way?


# %%
def nudge_all(weights, X, y, h=1e-5):
    """The slope of the loss for every number in every array, by nudging one after the other."""
    gradients = []
    for array in weights:
        gradient = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            before = array[place]
            array[place] = before + h
            above = loss_of(weights, X, y)
            array[place] = before - h
            gradient[place] = (above - loss_of(weights, X, y)) / (2 * h)
            array[place] = before  # leave the weight as it was
        gradients.append(gradient)
    return gradients


nudged = nudge_all(weights, X, y)
better = [w - RATE * slope for w, slope in zip(weights, nudged, strict=True)]
print(f"loss before {loss_of(weights, X, y):.4f}, after one step {loss_of(better, X, y):.4f}")

# %% [markdown]
# One step against the gradient makes the loss smaller, so these slopes really tell who is to blame. The
# next figure adds up the sizes of the slopes of each pixel's 64 weights. Compare the two pictures: where
# has a pixel no blame at all?

# %% tags=["hide"]
# @title Figure: the blame of each pixel
pictures = {"mean of the 32 images": X.mean(axis=0), "blame of each pixel's weights": np.abs(nudged[0]).sum(axis=1)}
with mpl.rc_context(STYLE):
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.9))
    for ax, (title, values) in zip(axes, pictures.items(), strict=True):
        shown = ax.imshow(values.reshape(8, 8), cmap=AMOUNT, vmin=0)
        ax.set(title=title, xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(True)
        figure.colorbar(shown, ax=ax, shrink=0.85)
show(figure, "Two pictures of 8 by 8 pixels. Left the mean digit, dark in the middle columns. Right the summed size of"
     " the slopes: large where the digits have ink, zero in the columns and corners that are empty.")  # fmt: skip

# %% [markdown]
# A pixel that is empty in all images has no blame, because its weights are multiplied by 0 and cannot
# change anything. So the answer is right and even plausible. The trouble is its price. Each weight needs
# two readings of the images, which makes 9,620 readings for a single step of training. A small language
# model has 124 million weights (lesson 17) and would need 248 million readings, again for one step.
#
# ## One neuron on paper
#
# A better way begins with one neuron and one example. Its output is linear, and its loss is half the
# squared error (half, because the slope of $\frac12 e^2$ is then simply $e$):
#
# $$p = w x, \qquad \hat y = p + b, \qquad e = \hat y - y, \qquad L = \tfrac12 e^2 .$$
#
# Our numbers are $x = 3$, $w = 0.1$, $b = 1.2$ and the target $y = 2$. We compute from left to right and
# get $p = 0.3$, $\hat y = 1.5$, $e = -0.5$ and $L = 0.125$. This way from the inputs to the loss is
# called the **forward pass**. Written as boxes and arrows, it is a **computation graph**: each box is one
# simple operation, and each arrow carries one value, from the operation that made it to the operation
# that uses it.
#
# Now ask for the slope of $L$ by $w$. The weight does not touch the loss directly. It moves $p$,
# which moves $\hat y$, which moves $e$, which moves $L$. The **chain rule** of calculus says how such
# slopes combine: if $L$ depends on $e$ and $e$ depends on $\hat y$, then the slope of $L$ by $\hat y$
# is the product of the two slopes. Move $\hat y$ by a little, and $e$ moves by that times the first
# slope, and $L$ by this times the second. So we begin at the loss and go backward, one easy step at a
# time:
#
# $$\frac{\partial L}{\partial e} = e = -0.5, \qquad
# \frac{\partial L}{\partial \hat y} = \frac{\partial L}{\partial e} \cdot 1 = -0.5, \qquad
# \frac{\partial L}{\partial b} = \frac{\partial L}{\partial \hat y} \cdot 1 = -0.5, \qquad
# \frac{\partial L}{\partial w} = \frac{\partial L}{\partial \hat y} \cdot x = -1.5 .$$
#
# This way from the loss back to the weights is the **backward pass**. In the drawing, read the blue
# values from left to right and then the red slopes from right to left.

# %%
x, w, b, target = 3.0, 0.1, 1.2, 2.0
p = w * x
y_hat = p + b
e = y_hat - target
L = e**2 / 2
de = e  # the slope of e² / 2
dy_hat, dtarget = de * 1, de * -1  # a difference: slopes 1 and -1
dp, db = dy_hat * 1, dy_hat * 1  # a sum hands the slope on to both
dw, dx = dp * x, dp * w  # a product: each gets the slope times the other one
print(f"forward : p = {p:.3g}, y_hat = {y_hat:.3g}, e = {e:.3g}, L = {L:.3g}")
print(f"backward: dL/de = {de:.3g}, dL/dy_hat = {dy_hat:.3g}, dL/db = {db:.3g}, dL/dw = {dw:.3g}")

# %% tags=["hide"]
# @title Drawing: the computation graph of one neuron
sheet = Diagram(8, 3.1)
at = {"w": (0.35, 2.7), "x": (0.35, 0.75), "×": (1.9, 1.72), "b": (1.9, 0.4), "+": (3.5, 1.72), "y": (3.5, 0.4)}
at |= {"−": (5.0, 1.72), "½ ( )²": (6.45, 1.72), "L": (7.65, 1.72)}
kinds = {"w": "weights", "b": "weights", "L": "error"}
node = {name: sheet.box(name, place, meaning=kinds.get(name, "given"), width=0.62 if len(name) > 1 else 0.4)
        for name, place in at.items()}  # fmt: skip
flows = [("w", "×", w, dw), ("x", "×", x, dx), ("×", "+", p, dp), ("b", "+", b, db), ("+", "−", y_hat, dy_hat),
         ("y", "−", target, dtarget), ("−", "½ ( )²", e, de), ("½ ( )²", "L", L, 1.0)]  # fmt: skip
for start, end, value, slope in flows:
    (x0, y0), (x1, y1) = node[start].right, node[end].left
    sheet.arrow((x0, y0), (x1, y1))
    share = 0.5 if y0 == y1 else 0.4  # of the way: labels of arrows that rise stand nearer to their start
    middle, aside = (x0 + share * (x1 - x0), y0 + share * (y1 - y0)), 0.22 * np.sign(y0 - y1)
    name = {"×": "p = ", "+": "ŷ = ", "−": "e = "}.get(start, "")  # as in the text
    sheet.text((middle[0] + aside, middle[1] + 0.16), f"{name}{value:.3g}", meaning="query")
    sheet.text((middle[0] - aside, middle[1] - 0.17), f"{slope:.3g}", meaning="error")
sheet.text((7.9, 0.72), "blue: value, computed forward →", meaning="query", align="right")
sheet.text((7.9, 0.4), "red: slope of L, computed ← backward", meaning="error", align="right")
show(sheet.figure, "Computation graph of one neuron: w times x, plus b, minus y, half the square, L. Each arrow carries"
     " a value forward and a slope backward. The weight gets the slope -1.5, the bias -0.5.")  # fmt: skip

# %% [markdown]
# Three things in the drawing are worth remembering. A sum hands its slope on unchanged. A product hands
# it on times the *other* factor, which is why $w$ gets $-0.5 \cdot 3$, and why a weight whose input is 0
# gets no blame. And each slope was computed once and then used by everything before it: $-0.5$ served
# for $b$ as well as for $w$. That last point is the whole idea. **Backpropagation** is the chain rule,
# applied from the loss backward, so that every slope is computed only once (Rumelhart, Hinton and
# Williams 1986). Nudging starts again from the beginning for each weight, and this is what makes it slow.
#
# ## A network in matrices
#
# The network does the same with many numbers at once. For $n$ images its forward pass is
#
# $$Z_1 = X W_1 + b_1, \qquad H = \max(Z_1, 0), \qquad Z_2 = H W_2 + b_2, \qquad P = \text{softmax}(Z_2).$$
#
# Write $dA$ for the slopes of the loss by the numbers in $A$. It always has the shape of $A$, because
# each number in $A$ has exactly one slope. In the drawing the forward pass is the upper row. Below every
# matrix stands its slope, and the red arrows go from right to left. The network is drawn with 3
# images, 4 pixels, 5 hidden units and 2 digits; the shapes below are those of the real one.

# %% tags=["hide"]
# @title Drawing: the backward pass of a network
sheet = Diagram(8, 3.5)
up, down = 2.75, 0.95
parts = [("X", (3, 4), "given", 0.5, "n × 64"), ("W_1", (4, 5), "weights", 1.55, "64 × 64"),
         ("Z_1", (3, 5), "state", 2.9, "n × 64"), ("H", (3, 5), "state", 4.15, "n × 64"),
         ("W_2", (5, 2), "weights", 5.35, "64 × 10"), ("Z_2", (3, 2), "state", 6.4, "n × 10")]  # fmt: skip
for name, shape, meaning, x0, note in parts:
    sheet.grid((x0, up), shape, meaning=meaning, cell=0.15)
    sheet.text((x0, up + 0.55), f"${name}$")
    sheet.text((x0, 2.17), note, meaning="given", size=8.5)
    if name != "X":
        sheet.grid((x0, down), shape, meaning="error", cell=0.15)
        sheet.text((x0, down + 0.54), f"$d{name}$", meaning="error")
loss_box = sheet.box("loss", (7.45, up), meaning="error", width=0.62)
for x0, sign in ((1.02, "×"), (2.23, "="), (4.88, "×"), (5.84, "=")):
    sheet.text((x0, up), sign, size=13)
sheet.arrow((3.32, up), (3.74, up), "ReLU")
sheet.arrow((6.6, up), loss_box.left, "softmax", above=0.14)
sheet.arrow(loss_box.bottom, (6.6, down), through=[(7.45, down)], meaning="error")
sheet.arrow((6.4, down - 0.26), (4.15, down - 0.26), through=[(6.4, 0.3), (4.15, 0.3)], meaning="error")
for x0, y0, text in ((7.08, down, "P − Y"), (4.75, 0.28, "$W_2^T$")):
    sheet.text((x0, y0 + 0.17), text, meaning="error", size=8.5)
for start, end, text in ((6.22, 5.53, "$H^T$"), (3.74, 3.31, "mask"), (2.49, 1.96, "$X^T$")):
    sheet.arrow((start, down), (end, down), meaning="error")
    sheet.text(((start + end) / 2, down + 0.17), text, meaning="error", size=8.5)
show(sheet.figure, "Two rows of matrices. Above, the forward pass: X times W1 gives Z1, ReLU gives H, times W2 gives"
     " Z2, then softmax and the loss. Below each matrix its slope, of the same shape. Red arrows lead from the loss to"
     " dZ2, by H transposed to dW2, by W2 transposed to dH, by the mask to dZ1, by X transposed to dW1.")  # fmt: skip

# %% [markdown]
# Four rules lead from the loss to all slopes, and two of them need a reason.
#
# *Softmax with cross-entropy.* For one image with logits $z$ and right digit $y$ the loss is $-\log
# p_y = -z_y + \log \sum_j e^{z_j}$. The slope of a logarithm is 1 divided by what stands in it, and
# only one term of the sum contains $z_k$. So the slope of the second term by $z_k$ is $e^{z_k} /
# \sum_j e^{z_j}$, which is the probability $p_k$. The first term adds $-1$ for the right digit alone.
# So the slope is *probability minus truth*, as for the single unit of lesson 02. Since the loss is a
# mean over $n$ images,
#
# $$dZ_2 = (P - Y) / n ,$$
#
# where $Y$ holds a 1 in the column of the right digit and 0 elsewhere.
#
# *Product of matrices.* In $Z_2 = H W_2$ the number $h_{ij}$ is multiplied by $w_{jk}$ and added to
# $z_{ik}$. As in the neuron, the weight $w_{jk}$ gets the slope times the other factor, $dz_{ik} \cdot h_{ij}$.
# But the same weight serves every image $i$, so it is blamed $n$ times, and the blames are added:
# $dw_{jk} = \sum_i h_{ij} \, dz_{ik}$. This sum over the images is a product of matrices again, and the
# same thought for $h_{ij}$, which serves all digits $k$, gives the second formula:
#
# $$dW_2 = H^\top dZ_2, \qquad dH = dZ_2 \, W_2^\top .$$
#
# The next drawing shows the first one. Row $j$ of $H^\top$ is one hidden unit in all images, and
# column $k$ is what every image says about digit $k$.

# %% tags=["hide"]
# @title Drawing: the blame of a weight is a sum over the images
figure = product(("$H^T$", (5, 3), "state"), ("$dZ_2$", (3, 2), "error"), ("$dW_2$", "error"),
                 ("64 × n", "n × 10", "64 × 10, as $W_2$"))  # fmt: skip
show(figure, "H transposed with 5 rows and 3 columns, times the slopes dZ2 with 3 rows and 2 columns, is dW2 with"
     " 5 rows and 2 columns, the shape of W2. The inner size is the number of images.")  # fmt: skip

# %% [markdown]
# The other two rules are short. *A bias* is added to every row, so $db$ is the sum of $dZ$ over the
# images. *ReLU* has the slope 1 where its input is positive and 0 elsewhere, so $dZ_1$ is $dH$ with a 0
# wherever $Z_1$ was not positive. In code each arrow of the drawing is one line.


# %%
def gradients_of(weights, X, y):
    """The gradients of loss_of with respect to W1, b1, W2, b2."""
    _, _, W2, _ = weights
    Z1, H, Z2 = forward(weights, X)
    n = len(y)
    dZ2 = np.exp(log_softmax(Z2))  # (n, 10), probabilities
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

# %% [markdown]
# Is it the same gradient? We compare it with the nudges, and with Keras. There `tf.GradientTape` writes down
# the operations of the forward pass and walks back over them by itself. The measure is the *relative error*
# $\lVert a - b \rVert / (\lVert a \rVert + \lVert b \rVert)$, where $\lVert a \rVert$ is the length of all
# slopes taken as one vector. It is 0 for equal gradients, and at most 1.


# %%
def relative_error(a, b):
    return np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))


def compare(name, gradients, others):
    errors = [relative_error(g, other) for g, other in zip(gradients, others, strict=True)]
    print(f"{name:24s}   W1 {errors[0]:.0e}   b1 {errors[1]:.0e}   W2 {errors[2]:.0e}   b2 {errors[3]:.0e}")
    return max(errors)


model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)])
model.set_weights(weights)
with tf.GradientTape() as tape:
    of_keras = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y, model(X))
automatic = [gradient.numpy() for gradient in tape.gradient(of_keras, model.trainable_weights)]
assert compare("by hand against Keras", by_hand, automatic) < 1e-5
right_error = compare("by hand against nudging", by_hand, nudged)

# %% [markdown]
# All 4,810 numbers agree. Keras is exact up to its 32-bit numbers, and nudging comes close. (Why it does
# not come closer, and why a smaller $h$ makes it *worse*, is the experiment in the exercises.)
#
# ## What blame costs
#
# How much faster is the backward pass really? We time both ways for networks of five sizes, with the
# same images on the same core. The unit is *one forward pass of the same network*, because a larger
# network takes longer anyway. Both axes of the figure grow by factors instead of by steps, so that a
# price in proportion to the weights is a straight line. Before you look: nudging takes two forward
# passes a weight. What do you expect for the backward pass, and does it depend on the number of
# weights?


# %%
def milliseconds(function, arguments, times=1):
    """The shortest of several measurements of the processor's time, for one call."""
    timer = timeit.Timer(lambda: function(*arguments), timer=time.process_time)
    return 1000 * min(timer.repeat(REPEATS if times == 1 else 10 * REPEATS, times)) / times


sizes, price, spent = [], {"nudging": [], "backpropagation": []}, {}
for units in UNITS:
    one = (new_weights(0, units), X, y)
    forward_ms, backward_ms = milliseconds(loss_of, one, 500), milliseconds(gradients_of, one, 500)
    nudging_ms = milliseconds(nudge_all, one)
    sizes.append(sum(w.size for w in one[0]))
    spent[sizes[-1]] = (nudging_ms, backward_ms)
    price["nudging"].append(nudging_ms / forward_ms)
    price["backpropagation"].append(backward_ms / forward_ms)
    print(f"{sizes[-1]:5d} weights: nudging {nudging_ms:7.1f} ms, backpropagation {backward_ms:.3f} ms")

# %% tags=["hide"]
# @title Figure: the price of one gradient
figure = curves(
    sizes,
    {"backpropagation": price["backpropagation"], "nudging": price["nudging"]},
    title="Nudging pays for every weight, backpropagation does not",
    x_label="weights of the network",
    y_label="time of one gradient,\nin forward passes",
    log_x=True,
    log_y=True,
)
show(figure, "Time of one gradient in forward passes against the number of weights, both axes logarithmic. Nudging"
     " rises in a straight line into the ten thousands. Backpropagation is a flat line at a few passes.")  # fmt: skip

# %% [markdown]
# Nudging rises in proportion to the number of weights, because it takes two passes for each. The
# lower line is flat: a gradient costs a few forward passes, *however many weights there are*. A count
# explains it. Almost all the time goes into products of matrices. Each product of the forward pass,
# such as $H W_2$, has two in the backward pass, $H^\top dZ_2$ and $dZ_2 W_2^\top$, with exactly as
# many multiplications. Forward and backward together should therefore cost about three forward
# passes. Ours is cheaper, because nobody needs the slopes of the pixels. For each image and hidden
# unit the forward pass multiplies $64 + 10$ times, and the backward pass $64 + 10 + 10$ times, so we
# expect $(74 + 84) / 74 \approx 2.1$. What is measured is lower still. Matrices as small as these
# leave much of the time to other work, such as the softmax, which the backward pass does not repeat.

# %%
found = Claims("What we measured: the price of one gradient")
nudging, backpropagation = price["nudging"], price["backpropagation"]
found.claim("Blaming 4,810 weights takes longer by nudging", spent[4810][0], ">", spent[4810][1],
            control="backpropagation of the same images", unit="ms",
            headline="blaming 4,810 weights takes {measured} by nudging and {bound} by backpropagation")  # fmt: skip
found.claim("At no size does backpropagation come near nudging", max(backpropagation), "<", min(nudging) / 10,
            control="a tenth of nudging the smallest network", unit="forward passes")  # fmt: skip
found.claim("More weights raise the price of nudging more", nudging[-1] / nudging[0], ">",
            backpropagation[-1] / backpropagation[0], control="the rise of backpropagation", unit="times")  # fmt: skip
found.show()

# %% [markdown]
# ## Is it worth sending blame that far?
#
# Now train. The loop is the one of lesson 02: shuffle the images, take 32, move every weight against
# its slope, repeat. But does the *first* layer need any blame? Its 64 hidden units start as random
# mixtures of pixels, and perhaps random mixtures are good enough for the output layer. If so, the
# longest part of the backward pass is wasted. The control is a run in which the first layer stays
# frozen at its random start, while everything else is the same. Nothing is chosen in this section, so the
# test part may answer at the end of each run.


# %%
def trained(gradients, seed=0, rate=RATE):
    """Trained weights, and the loss on the training images after each epoch."""
    weights, rng, losses = new_weights(seed), np.random.default_rng(seed), []
    for _ in range(EPOCHS):
        shuffled = rng.permutation(train)
        for start in range(0, len(shuffled), BATCH):
            batch = shuffled[start : start + BATCH]
            slopes = gradients(weights, images[batch], digits[batch])
            weights = [w - rate * slope for w, slope in zip(weights, slopes, strict=True)]
        losses.append(loss_of(weights, images[train], digits[train]))
    return weights, losses


def points(weights):
    """Test images that are read correctly, in percent."""
    *_, logits = forward(weights, images[test])
    return 100 * np.mean(logits.argmax(axis=1) == digits[test])


# %% [markdown]
# With the same loop we try something else. Suppose that you had made a mistake in `gradients_of`. Here
# are three common ones, and none of them raises an error, because all shapes still fit.
#
# - *transposed*: $dW_1$ is computed as $dZ_1^\top X$. Both sides have 64 units, so the shape fits.
# - *forgotten mean*: $dZ_2$ is not divided by $n$.
# - *wrong mask*: the mask of ReLU is taken from $dH$ instead of $Z_1$.
#
# Predict for each: will you see it in the curve of the training loss?


# %%
def variant(kind):
    """gradients_of with one change."""

    def gradients(weights, X, y):
        Z1, H, Z2 = forward(weights, X)
        dZ2 = np.exp(log_softmax(Z2))
        dZ2[np.arange(len(y)), y] -= 1
        if kind != "forgotten mean":
            dZ2 /= len(y)
        dH = dZ2 @ weights[2].T
        dZ1 = dH * (dH > 0) if kind == "wrong mask" else dH * (Z1 > 0)
        if kind == "first layer frozen":
            dZ1 = np.zeros_like(dZ1)
        dW1 = dZ1.T @ X if kind == "transposed" else X.T @ dZ1
        return [dW1, dZ1.sum(axis=0), H.T @ dZ2, dZ2.sum(axis=0)]

    return gradients


# %%
kinds = ("right", "first layer frozen", "transposed", "forgotten mean", "wrong mask")
losses, correct = {}, {}
for kind in kinds:
    runs = [trained(variant(kind), seed) for seed in SEEDS]
    losses[kind] = [history for _, history in runs]
    correct[kind] = [points(weights) for weights, _ in runs]
    print(f"{kind:28s} loss {np.mean(losses[kind], axis=0)[-1]:6.3f}   test", *(f"{c:6.1f}%" for c in correct[kind]))
small = [points(trained(variant("forgotten mean"), seed, RATE / BATCH)[0]) for seed in SEEDS]
print("forgotten mean, rate / 32                  test", *(f"{c:6.1f}%" for c in small))

# %% tags=["hide"]
# @title Figure: the training loss with right and wrong gradients
figure = curves(
    range(1, EPOCHS + 1),
    losses,
    title="A wrong gradient may look like a working one",
    x_label="epoch",
    y_label="training loss",
    colors={
        "right": "subject",
        "first layer frozen": "control",
        "transposed": "error",
        "wrong mask": "given",
        "forgotten mean": "black",
    },
    dashed=["first layer frozen"],
)
figure.axes[0].set_ylim(-0.1, 3)
show(figure, "Training loss over the epochs. With the right gradient it falls close to zero. The transposed gradient"
     " and the frozen first layer also fall smoothly and end higher. The forgotten mean and the wrong mask stay near"
     " the loss of guessing, 2.3.")  # fmt: skip

# %% [markdown]
# First the question of the section. The frozen network reads most digits, so random mixtures of
# pixels are useful. The trained first layer reads clearly more, and with each of the three seeds, so
# the blame that arrives there is worth its price. (The loss of the frozen network is still falling at
# the end, so this is the gain for the same number of passes.)
#
# Now the mistakes. Two of the curves stay where guessing is, so you would search and find the cause.
# The *wrong mask* lets only positive slopes through. No pixel is negative, so every slope of $W_1$ is
# positive or 0, and its weights can only fall, until every ReLU is off. The *forgotten mean*
# multiplies every slope by 32. That is the same as a learning rate 32 times too large, and as soon as
# somebody tunes the rate, the mistake is hidden: see the last line of the table. The *transposed*
# gradient is the dangerous one. Its loss falls as a loss should, and without the blue line beside it
# nobody would suspect anything. In truth its first layer is moved in meaningless directions, and on
# the test images it is no better than the run that never trained that layer.
#
# So a falling loss does not prove that a gradient is right. A *gradient check* does: compare it with
# nudging, once, on one batch, before any training. Use 64-bit numbers and $h$ near $10^{-5}$.

# %%
wrong = {kind: compare(kind, variant(kind)(weights, X, y), nudged) for kind in kinds if kind != "first layer frozen"}
del wrong["right"]
found = Claims("What we measured: right and wrong gradients")
found.claim("Blame for the first layer is worth its price", correct["right"], ">", correct["first layer frozen"],
            control="the first layer frozen", unit="points",
            headline="sending blame to the first layer is worth {difference} against a frozen random one")  # fmt: skip
found.claim("A transposed gradient still learns", correct["transposed"], ">", 30, control="three times guessing",
            unit="points")  # fmt: skip
found.claim("It reads less than the right one", correct["transposed"], "<", correct["right"],
            control="the right gradient", unit="points")  # fmt: skip
found.claim("One check on one batch finds every mistake", min(wrong.values()), ">", 1_000 * right_error,
            control="a thousand times the error of the right gradient")  # fmt: skip
found.show()

# %% [markdown]
# The check even says *where* the mistake is. Backpropagation goes from the end to the start, so
# everything behind a mistake is right. With the transposed gradient only `W1` is wrong, and with the wrong mask
# both arrays of the first layer are, while `W2` and `b2` are right.
#
# ## An engine that finds gradients alone
#
# You wrote four rules by hand. In every network they are the same few, so a program can apply them.
# This is **automatic differentiation** in reverse mode: a program records which operations made the
# loss, and applies the rule of each from the last to the first (Linnainmaa 1970). Keras has such an
# engine from TensorFlow. Ours needs two things. Every value must remember its *parents*, the values
# that it was made from. And every operation must bring its own rule, from the slope of its result to
# the slopes of its parents. Python lets a class say what its signs mean: it calls `__add__` for `a +
# b`, `__mul__` for `a * b` and `__matmul__` for `a @ b`. `lambda g: ...` is a small function of `g`,
# the slope of the result.


# %%
class Tensor:
    """An array that remembers how it was made."""

    def __init__(self, data, parents=(), rule=lambda g: ()):
        self.data = np.asarray(data, dtype=float)
        self.grad = np.zeros_like(self.data)
        self.parents, self.rule = parents, rule  # rule: slope of this -> slopes of the parents

    def __add__(self, other):
        return Tensor(self.data + other.data, (self, other), lambda g: (g, g))

    def __mul__(self, other):
        return Tensor(self.data * other.data, (self, other), lambda g: (g * other.data, g * self.data))

    def __matmul__(self, other):
        return Tensor(self.data @ other.data, (self, other), lambda g: (g @ other.data.T, self.data.T @ g))


# %% [markdown]
# You know these rules: a sum hands its slope on, a product multiplies it by the other factor, and the
# product of matrices is the rule with two transposes. Three more operations suffice for our network. The
# logarithm of the sum of exponentials is the second term of the loss, and its slope is the probabilities.


# %%
def relu(a):
    return Tensor(np.maximum(a.data, 0), (a,), lambda g: (g * (a.data > 0),))


def log_sum_exp(a):
    top = a.data.max(axis=1, keepdims=True)
    value = np.log(np.exp(a.data - top).sum(axis=1, keepdims=True)) + top  # (images, 1)
    return Tensor(value, (a,), lambda g: (g * np.exp(a.data - value),))


def total(a):
    return Tensor(a.data.sum(), (a,), lambda g: (np.broadcast_to(g, a.data.shape),))


# %% [markdown]
# Last comes the walk backward, where two details matter. The first is the *order*. A value may hand
# its slope on only when that slope is complete, so it must come after all values that use it.
# `in_order` lists parents before the values made from them, and the walk goes through that list from
# its end. The second is a value that is used *more than once*. It gets blame from several sides, and
# the blames are added, as for the weight that served every image. That is the `+=` in the last line.


# %%
def in_order(value, order):
    """Append a value to the list, after all values that it was made from."""
    if value not in order:
        for parent in value.parents:
            in_order(parent, order)
        order.append(value)
    return order


def backward(last):
    last.grad = np.ones_like(last.data)  # the loss changes with itself, one to one
    for value in reversed(in_order(last, [])):
        for parent, slope in zip(value.parents, value.rule(value.grad), strict=True):
            parent.grad += add_up(slope, parent.data.shape)


# %% [markdown]
# What is `add_up`? NumPy repeats a bias of shape (64,) for every image when it adds it to an array
# (32, 64). A value that was repeated 32 times is a value that was used 32 times, so its 32 slopes are
# added up. That is the rule of the bias, in general form. The engine has no
# rule for the softmax, and needs none.


# %%
def add_up(slope, shape):
    """Undo the repetition: add slopes up over the axes along which a value was repeated."""
    while slope.ndim > len(shape):
        slope = slope.sum(axis=0)
    repeated = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return slope.sum(axis=repeated, keepdims=True)


def engine_loss(tensors, X, y):
    W1, b1, W2, b2 = tensors
    Z2 = relu(Tensor(X) @ W1 + b1) @ W2 + b2
    log_p = Z2 + log_sum_exp(Z2) * Tensor(-1)  # Z2 is used twice
    return total(log_p * Tensor(np.eye(10)[y])) * Tensor(-1 / len(y))  # eye(10)[y]: the matrix Y, a 1 for the truth


tensors = [Tensor(w) for w in weights]
last = engine_loss(tensors, X, y)
backward(last)
assert compare("engine against hand", [t.grad for t in tensors], by_hand) < 1e-12

# %% [markdown]
# The engine finds all 4,810 slopes, and we told it nothing about this network. Now let us see what the
# `+` in `+=` is worth. Take $L = a \cdot a + a$ at $a = 3$. Its slope is $2a + 1 = 7$, in three parts: 3
# and 3 from the two factors, and 1 from the sum. The next cell walks back with `=` instead. It also counts
# what an engine must keep until it walks back.


# %%
def backward_overwriting(last):
    last.grad = np.ones_like(last.data)
    for value in reversed(in_order(last, [])):
        for parent, slope in zip(value.parents, value.rule(value.grad), strict=True):
            parent.grad = add_up(slope, parent.data.shape)  # wrong: = for +=


for walk in (backward, backward_overwriting):
    a = Tensor(3)
    walk(a * a + a)
    print(f"slope of a·a + a at 3 with {walk.__name__}: {float(a.grad):.0f}")
kept = sum(value.data.nbytes for value in in_order(last, []) if value.parents)
print(f"kept for the way back: {kept:,} bytes for {BATCH} images; the weights take {sum(w.nbytes for w in weights):,}")

# %% [markdown]
# With `=` the last blame wipes out the others. No error is raised, and a network that uses no value twice
# would even train. Our network uses its logits twice, in the line of `log_p`. In later lessons this is
# the normal case: a recurrent network uses the same weights at every step (lesson 11), and a transformer
# uses every vector twice (lesson 17).
#
# ## What can go wrong
#
# The backward pass is cheap in time and expensive in memory. The rules need the values of the forward
# pass: the product needs $H$, the mask needs $Z_1$. So they must all be kept until the walk comes back,
# and they grow with the number of images and of layers, while the weights do not. If training stops because
# the memory is full, take fewer images in a batch before you make the network smaller.
#
# Many students hold that backpropagation *is* the way a network learns. It only computes the gradient
# (Goodfellow, Bengio and Courville 2016, section 6.5). What is done with the gradient is a separate
# choice, and lesson 05 is about it. The difference matters when something fails: a gradient check examines
# the first, a change of the learning rate the second, and the forgotten mean showed how one hides the other.
#
# TensorFlow, JAX and PyTorch do what our engine does. They bring rules for hundreds of operations,
# and programs that run these fast on many kinds of machine.
#
# ## Summary
#
# - The gradient says how much each weight is to blame, and in which direction it should move.
# - Backpropagation is the chain rule from the loss backward, with every slope computed once. A gradient
#   costs a few forward passes for any number of weights; nudging costs two for each weight.
# - Four rules suffice for our network: $(P - Y)/n$, two products with a transpose, a sum for the bias, a
#   mask for ReLU. Every $dA$ has the shape of $A$.
# - A wrong gradient can train and look healthy. Check it once by nudging, with 64-bit numbers.
# - An engine is a graph, one rule for each operation, and a walk back that adds. Its price is memory.
#
# ## Exercises
#
# Open [exercises/04_backpropagation.ipynb](exercises/04_backpropagation.ipynb). You write the backward pass
# of a layer, a gradient checker, two operations for an engine and two gradients on paper. In the experiment
# you find out why the smallest nudge is not the best. Each answer is checked.
#
# ## References
#
# - S. Linnainmaa (1976). Taylor expansion of the accumulated rounding error. *BIT Numerical Mathematics*
#   16, 146-160. The reverse mode, from his thesis of 1970.
# - D. Rumelhart, G. Hinton, R. Williams (1986). Learning representations by back-propagating errors.
#   *Nature* 323, 533-536.
# - I. Goodfellow, Y. Bengio, A. Courville (2016). *Deep Learning*. MIT Press. Section 6.5.
# - A. Baydin, B. Pearlmutter, A. Radul, J. Siskind (2018). Automatic differentiation in machine learning:
#   a survey. *Journal of Machine Learning Research* 18(153). Section 3.2, the reverse mode.
# - A. Griewank, A. Walther (2008). *Evaluating derivatives*, 2nd edition. SIAM. Chapter 4: the bound on
#   the price of a gradient, for any program.
