# %% [markdown] tags=["edition-2"]
# # 02 · One smooth unit
#
# **What does "going downhill" mean, and how fast may one go?**
#
# **You need** lesson 01 (a unit with weights and a bias, the tumours, training and test part), the
# derivative of a function of one variable, and logarithms.
#
# **You will build** a unit that answers with a probability, the measure of how wrong it is, and the
# descent that makes it less wrong. You will predict the fastest safe descent before you run it.
# Then you will do the same in Keras, which is introduced here.
#
# **Time** about 1 minute to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.colors import LogNorm

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import BLUE, GREEN, GREY, ORANGE, RED, curves, show, use_style
from kerasllm.course.palette import AMOUNT
from kerasllm.data import load

use_style()

# %%
STEPS = dial(1_000, smoke=20)  # steps of a descent
PARTNERS = dial((1, 4, 5, 6, 7, 8, 9), smoke=(1, 7))  # columns joined with the radius, one at a time
PATIENCE = dial(200_000, smoke=100)  # steps after which a descent is given up
PASSES = dial(20, smoke=2)  # passes over the training part, in batches
SEEDS = dial((0, 1, 2, 3, 4), smoke=(0,))  # orders in which the rows are read
EPOCHS = dial(20, smoke=2)  # passes of the Keras model

# %% [markdown]
# ## A staircase has no slope
#
# The perceptron of lesson 01 learned from its mistakes, one at a time, and on tumours that overlap
# it never came to rest. A calmer plan: count all mistakes, change a weight a little, and keep the
# change if the count falls. We take the unit with the radius and the texture, and the same division
# of the patients. The label is now 1 for malignant and 0 for benign. Before you run the next cell,
# guess: if one weight grows by 0.001, how many of the 426 answers change?

# %%
cancer = load("breast-cancer")
measured = cancer.drop(columns=["label", "split"]).to_numpy()  # (569, 30)
label = np.where(cancer["label"] == "malignant", 1.0, 0.0)  # (569,)
train, test = train_test_split(np.arange(569), test_size=0.25, stratify=label, random_state=0)
standard = (measured - measured[train].mean(axis=0)) / measured[train].std(axis=0)
y = label[train]  # (426,)


def inputs(table, columns, rows=train):
    """Chosen columns with a constant 1 at the end, for the bias: (rows, columns + 1)."""
    return np.column_stack([table[rows][:, columns], np.ones(len(rows))])


X = inputs(standard, [0, 1])  # radius, texture and 1
w = np.array([1.0, 0.5, -0.3])
before = X @ w > 0
for nudge in (-0.001, 0, 0.001):
    answers = X @ (w + np.array([nudge, 0, 0])) > 0
    print(f"weight {w[0] + nudge:.3f}: {np.sum(answers != before)} answers changed, {np.sum(answers != y)} mistakes")

# %% [markdown]
# The count of mistakes is a staircase: flat almost everywhere, with a jump where the border passes
# a patient. On a stair the slope is 0, so we cannot tell which way is down. The cause is the end of
# the unit, which keeps the sign of the score and throws away its size: scores of 0.01 and of 10
# give the same answer.
#
# ## A probability instead of a verdict
#
# We replace the step by a smooth curve. The **sigmoid** is the function $1 / (1 + e^{-s})$, which
# rises smoothly from 0 to 1:
#
# $$ \sigma(s) = \frac{1}{1 + e^{-s}}, \qquad \sigma(0) = \tfrac12, \qquad \sigma(2) = 0.88, \qquad
# \sigma(-2) = 0.12 . $$
#
# It turns the score $s = w \cdot x$ into a number $p$ that we read as the probability that the
# tumour is malignant. Why this curve? Solve the formula for the score and you get $s = \ln
# \frac{p}{1 - p}$. The fraction is the odds: 4 to 1 for $p = 0.8$. A **logit** is the logarithm of
# the odds, and that is what the score of such a unit means. One more unit of a measurement adds its
# weight to the logit, which means that it *multiplies* the odds by $e^w$. A logit of 0 is a
# probability of one half, so the border is still a straight line. The method is called logistic
# regression.
#
# In the drawing, follow the black arrows: measurements, score, probability, and a number that says
# how wrong it was. The red arrow goes back with one number per patient, and the next two sections
# show why it is simply $p - y$.

# %% tags=["hide"]
# @title Drawing: one smooth unit, forwards and back
sheet = Diagram(8, 2.9)
names = ("radius", "texture", "1")
places = [(0.65, 2.35), (0.65, 1.7), (0.65, 1.05)]
total = sheet.box("add", (2.7, 1.7), meaning="weights", width=0.7)
for name, place, weight in zip(names, places, ("$w_1$", "$w_2$", "$b$"), strict=True):
    box = sheet.box(name, place, width=0.9)
    height = {2.35: 0.17, 1.7: 0.12, 1.05: -0.17}[place[1]]
    sheet.arrow(box.right, total.left)
    sheet.text(((box.right[0] + total.left[0]) / 2 - 0.1, (place[1] + 1.7) / 2 + height), weight, meaning="weights")
smooth = sheet.box("sigmoid", (4.4, 1.7), meaning="subject", width=0.95)
wrong = sheet.box("loss", (6.1, 1.7), meaning="error", width=0.7)
truth = sheet.box("label $y$", (6.1, 2.5), width=0.9)
sheet.arrow(total.right, smooth.left, "score $s$")
sheet.arrow(smooth.right, wrong.left, "$p$")
sheet.arrow(truth.bottom, wrong.top)
sheet.arrow(wrong.right, (7.4, 1.7), "how wrong")
sheet.arrow(wrong.bottom, total.bottom, through=[(6.1, 0.75), (2.7, 0.75)], meaning="error", dashed=True)
sheet.text((4.4, 0.93), "slope of the loss by the score: $p - y$", meaning="error", size=9)
sheet.text(
    (3.9, 0.36), "every weight then moves by  $-$ rate × mean of $(p - y) \\cdot$ its input", meaning="weights", size=9
)
show(sheet.figure, "Radius, texture and a constant 1 are multiplied by two weights and a bias and added to a score."
     " A sigmoid makes it a probability, and the loss compares this with the label. A dashed red arrow carries p"
     " minus y back from the loss to the weights.")  # fmt: skip

# %% [markdown]
# ## How wrong is a probability?
#
# The **likelihood** of a unit is the probability that it gave to all the true labels together: the
# product over the patients of $p$ where the label is 1 and of $1 - p$ where it is 0. (Probabilities
# multiply, as for two coins, because one patient says nothing about the next.) Take three patients
# with the labels 1, 1, 0 who got 0.9, 0.6 and 0.2. The likelihood is $0.9 \cdot 0.6 \cdot 0.8 =
# 0.432$. The best possible likelihood is 1.
#
# A product of hundreds of numbers below 1 is too small for a computer, so we take its logarithm,
# which is a sum. We change the sign, so that less is better, and divide by the number of rows. The
# result is the **cross-entropy**, the mean of $-\ln$ of the probability that was given to the truth:
#
# $$ L = -\frac1n \sum_{i=1}^n \big[\, y_i \ln p_i + (1 - y_i) \ln (1 - p_i) \,\big] . $$
#
# For the three patients it is $-\ln(0.432) / 3 = 0.280$. A **loss** is a number like this one: it
# says how wrong a unit is, and training makes it smaller. Who always says one half has the loss
# $\ln 2 = 0.693$, whatever the labels are. Who says 0.001 where the truth is 1 pays $-\ln 0.001 =
# 6.9$ for this patient alone.


# %%
def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def cross_entropy(p, y):
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


three, truth = np.array([0.9, 0.6, 0.2]), np.array([1, 1, 0])
likelihood = np.prod(np.where(truth == 1, three, 1 - three))
print(f"likelihood {likelihood:.3f}, cross-entropy {cross_entropy(three, truth):.3f}")
print(f"always one half: {cross_entropy(np.full(3, 0.5), truth):.3f}, 0.001 for the truth: {-np.log(0.001):.1f}")
print("sigmoid of -2, 0, 2:", sigmoid(np.array([-2, 0, 2])).round(2))

# %% [markdown]
# ## The slope of the loss
#
# The hardest step gets simple if we write the loss with the score. For $y = 1$ the loss of a row is
# $-\ln \sigma(s) = \ln(1 + e^{-s}) = \ln(1 + e^s) - s$, because $1 + e^{-s} = (1 + e^s) / e^s$. For
# $y = 0$ we need $1 - \sigma(s) = 1/(1 + e^s)$, so the loss is $\ln(1 + e^s)$. Both cases are one
# formula: $\ln(1 + e^s) - y s$. Its derivative is
#
# $$ \frac{d}{ds} \big[ \ln(1 + e^s) - y s \big] = \frac{e^s}{1 + e^s} - y = \sigma(s) - y = p - y . $$
#
# In the middle, divide above and below by $e^s$ to see the sigmoid. The slope by the score is the
# probability minus the label: nothing more. If the unit said 0.9 and the label is 1, the slope is
# $-0.1$, so a larger score would make the loss a little smaller. The score in turn contains the
# weight $w_j$ as $w_j x_j$. If $w_j$ grows by a small amount, the score grows $x_j$ times as much.
# So the slope of the loss by $w_j$ is the mean of $(p - y)\, x_j$ over the rows.
#
# The **gradient** is the list of the slopes of the loss, one for each weight, and it points in the
# direction in which the loss grows fastest. (A small step changes the loss by step $\cdot$
# gradient, which is largest for a step along the gradient.) Going downhill means to step against
# it. The rule of **gradient descent** is: compute the gradient at the place where you stand, move
# against it, and do so again. The **learning rate** $\eta$ says how far one step goes for each unit
# of slope:
#
# $$ w \;\leftarrow\; w - \eta \cdot \frac1n \sum_i (p_i - y_i)\, x_i . $$
#
# Compare this with the rule of the perceptron, $w \leftarrow w + y x$ after a mistake. Now every
# row counts, in proportion to how wrong the unit was. The next cell tests this gradient as one
# should test any formula for a slope: it moves each weight a little to both sides and measures. The
# figure moves the weight of the radius alone: compare mistakes and loss.


# %%
def loss(w, X, y):
    s = X @ w
    return np.mean(np.logaddexp(0, s) - y * s)  # logaddexp(0, s) is ln(1 + e^s)


def gradient(w, X, y):
    return (sigmoid(X @ w) - y) @ X / len(y)  # (weights,)


w = np.array([1.0, 0.5, -0.3])
h = 1e-5
nudged = [(loss(w + h * e, X, y) - loss(w - h * e, X, y)) / (2 * h) for e in np.eye(3)]
print("by the formula:", gradient(w, X, y).round(6))
print("by nudging:    ", np.round(nudged, 6))
print(f"loss {loss(w, X, y):.4f}, from the probabilities {cross_entropy(sigmoid(X @ w), y):.4f}")

# %% tags=["hide"]
# @title Figure: the staircase and the smooth loss
many = np.linspace(-1, 8, 400)
stairs = [np.mean((X @ [weight, 0.5, -0.3] > 0) != y) for weight in many]
smooth = [loss(np.array([weight, 0.5, -0.3]), X, y) for weight in many]
figure, panels = plt.subplots(1, 2, figsize=(8, 2.9))
panels[0].plot(many, stairs, color=ORANGE)
panels[0].set(title="Mistakes: a staircase", xlabel="weight of the radius", ylabel="share of mistakes")
panels[1].plot(many, smooth, color=BLUE)
panels[1].set(title="Cross-entropy: one valley", xlabel="weight of the radius", ylabel="cross-entropy")
zoom = panels[0].inset_axes([0.45, 0.45, 0.52, 0.5])
near = np.linspace(0.98, 1.08, 400)
zoom.plot(near, [np.mean((X @ [weight, 0.5, -0.3] > 0) != y) for weight in near], color=ORANGE)
zoom.set(xticks=[0.98, 1.08])
zoom.set_title("seen from near", fontsize=9)
zoom.tick_params(labelsize=8)
show(figure, "Left: the share of mistakes against one weight falls steeply and then wanders; seen from near it is"
     " flat steps with jumps. Right: the cross-entropy against the same weight is a smooth curve with one"
     " lowest point.")  # fmt: skip

# %% [markdown]
# The left curve consists of flat pieces, and it has many low places. The right one has a slope
# everywhere and a single lowest place. The reason: the curve $\ln(1 + e^s) - ys$ bends upwards
# everywhere, and so does a mean of such curves. So one unit cannot be caught in a wrong valley.
#
# ## Three ways to go down
#
# One question is left, the length of a step. We take the radius alone, so that the loss is a height
# over two numbers, $w$ and $b$. The figure shows it as a map with lines of equal loss, and the path
# of 25 steps with three rates. Before you look: what can go wrong with a rate that is too large?


# %%
def descend(X, y, rate, steps=STEPS):
    """The weights at the start and after every step: (steps + 1, weights)."""
    path = [np.zeros(X.shape[1])]
    for _ in range(steps):
        path.append(path[-1] - rate * gradient(path[-1], X, y))
    return np.array(path)


alone = inputs(standard, [0])  # (426, 2): the radius and 1
paths = {rate: descend(alone, y, rate, 25) for rate in (0.2, 6, 40)}
for rate, path in paths.items():
    print(
        f"rate {rate:4}: loss at the start {loss(path[0], alone, y):.3f}, after 25 steps {loss(path[-1], alone, y):.3f}"
    )

# %% tags=["hide"]
# @title Figure: the loss surface and three paths
b_axis, w_axis = np.linspace(-12, 5, 120), np.linspace(-2, 16, 120)
heights = np.array([[loss(np.array([weight, bias]), alone, y) for weight in w_axis] for bias in b_axis])
figure, panels = plt.subplots(1, 3, figsize=(8, 3.1), sharey=True)
words = ("too small: it creeps", "right: it arrives", "too large: it jumps")
levels = [0.3, 0.304, 0.315, 0.34, 0.38, 0.45, 0.55, 0.7, 0.9, 1.2, 1.6, 2.2, 3]
for axes, (rate, path), word in zip(panels, paths.items(), words, strict=True):
    axes.contourf(w_axis, b_axis, heights, levels=levels, cmap=AMOUNT, norm=LogNorm(0.3, 3), alpha=0.8, extend="max")
    axes.contour(w_axis, b_axis, heights, levels=levels, colors="white", linewidths=0.7)
    axes.plot(*path.T, "o-", color=RED, ms=3, lw=1.2)
    axes.plot(*path[0], "o", color="black", ms=6)
    axes.set(title=f"rate {rate}, {word}", xlabel="weight of the radius", xlim=(-2, 16), ylim=(-12, 5))
    axes.title.set_fontsize(9.5)
    axes.grid(False)
panels[0].set_ylabel("bias")
show(figure, "Three maps of the loss over weight and bias, pale where it is low, with the path of 25 steps from"
     " zero. With rate 0.2 the path is short and far from the lowest field, with rate 6 it ends in"
     " it, with rate 40 it jumps from one side of the valley to the other.")  # fmt: skip

# %% [markdown]
# The pale field is the valley, the black point the start. With a rate that is too small the path is
# right but short. With one that is too large the step crosses the valley, and the next step comes
# back. It may even meet the lowest field and leave it again.
#
# ## How fast is too fast?
#
# Can we know the limit before? Look at a parabola, $L(w) = \frac{c}{2} w^2$. Its slope is $c w$,
# and $c$, the slope of the slope, is its *curvature*. One step gives $w - \eta c w = (1 - \eta c)\,
# w$, so each step multiplies the distance to the lowest point by $1 - \eta c$. Try $c = 1$. A rate
# of 0.1 multiplies by 0.9, which is slow, and a rate of 1 arrives at once. A rate of 1.5 multiplies
# by $-0.5$: it crosses to the other side, but comes nearer. A rate of 2.5 multiplies by $-1.5$, and
# the distance grows. The limit is $\eta = 2 / c$.
#
# Our loss is no parabola, and it has several weights. Still, near its lowest point every smooth
# valley looks like a parabola in each direction. The curvature in the direction of one weight $w_j$
# is the mean of $p(1 - p)\, x_j^2$: the slope was the mean of $(p - y)\, x_j$, and the slope of the
# sigmoid is $e^{-s} / (1 + e^{-s})^2 = p (1 - p)$. Across a valley it is large, along it small, and
# the largest one decides, because there the descent begins to jump first. A valley may lie askew,
# so we need the whole table, the mean of $p(1 - p)\, x_j x_k$. There are always directions at right
# angles in which the valley bends independently, and `np.linalg.eigvalsh` returns the curvatures in
# these directions, the smallest first.
#
# But curvature at which place? At the start all $p$ are one half, and $p(1 - p)$ has its largest
# value. At the lowest point most patients are clear cases, so the valley is flatter there. We test
# both predictions on seven problems, the radius with one other property at a time. (Perimeter and
# area are left out, for they say almost the same as the radius.) A descent has arrived if its loss
# is within 0.001 of the lowest after 1,000 steps. We narrow the interval between a rate that
# arrives and one that does not. The lowest point itself needs no rate: in the parabola $1/c$
# arrived at once, and dividing by the whole table of curvatures is the same idea, Newton's method.


# %%
def curvature(w, X):
    p = sigmoid(X @ w)
    return (X.T * p * (1 - p)) @ X / len(X)  # (weights, weights)


def lowest(X, y):  # the weights with the smallest loss, by Newton's method
    w = np.zeros(X.shape[1])
    for _ in range(30):
        w = w - np.linalg.solve(curvature(w, X), gradient(w, X, y))
    return w


def largest_rate(X, y, low=0.1, high=100.0):
    least = loss(lowest(X, y), X, y)
    while high / low > 1.01:
        rate = np.sqrt(low * high)
        arrives = loss(descend(X, y, rate)[-1], X, y) < least + 0.001
        low, high = (rate, high) if arrives else (low, rate)
    return low


# %%
columns = list(cancer.columns)
limits = []  # from the curvature at the start, at the lowest point, and as measured
print("radius and ...            2 / curvature at the start   at the lowest point   largest rate that arrives")
for partner in PARTNERS:
    rows = inputs(standard, [0, partner])
    best = lowest(rows, y)
    predicted = [2 / np.linalg.eigvalsh(curvature(place, rows))[-1] for place in (0 * best, best)]
    limits.append([*predicted, largest_rate(rows, y)])
    print(f"{columns[partner]:24s} {limits[-1][0]:28.2f} {limits[-1][1]:21.2f} {limits[-1][2]:27.2f}")
at_start, at_lowest, arrived = np.array(limits).T

# %% [markdown]
# The prediction from the lowest point is right for all seven, and the one from the start is too
# careful by a factor of three or more. The bottom decides, since the descent has to come to rest
# there. At the start a rate of 20 does cross it, but ends on flatter ground. The figure tries many
# rates on two of the problems. Both axes go by factors of ten. Look at the slow left end, and at
# the dashed limits.

# %% tags=["hide"]
# @title Figure: how far from the lowest point, against the rate
rates = np.geomspace(0.05, 90, 70)
figure, axes = plt.subplots(figsize=(7.4, 3.5))
for place, paint in [(0, BLUE), (int(np.argmax(at_lowest)), GREEN)]:
    partner, limit = PARTNERS[place], at_lowest[place]
    rows = inputs(standard, [0, partner])
    least = loss(lowest(rows, y), rows, y)
    gap = [max(loss(descend(rows, y, rate, min(STEPS, 100))[-1], rows, y) - least, 1e-8) for rate in rates]
    axes.plot(rates, gap, color=paint, lw=1.8, label=f"radius and {columns[partner].removeprefix('mean ')}")
    axes.axvline(limit, color=paint, ls="--", lw=1.2)
axes.plot([], [], color=GREY, ls="--", lw=1.2, label="limit predicted by the curvature")
axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="loss above the lowest, 100 steps")
axes.set_title("Slow, then safe, then a cliff: the curvature says where (cut off at 10⁻⁸)")
axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
axes.legend(loc="lower left")
show(figure, "Loss above the lowest possible after 100 steps against the learning rate, for two pairs of measurements."
     " Both curves fall over many powers of ten, stay on the floor, and jump up at the dashed line of the"
     " predicted limit.")  # fmt: skip

# %% [markdown]
# A rate that is too small costs patience, for after 100 steps the loss is still high. Then comes a
# wide floor of good rates. Behind the limit the path wanders, and how near it is after 100 steps is
# luck.
#
# ## Where it ends, and why we standardise
#
# Does the descent find the right place? Our control is scikit-learn, which finds it by another
# method (L-BFGS). And lesson 01 standardised the columns; what does that do for a descent? In raw
# numbers the radius is near 14 and the texture near 19, so the curvature is large in their
# direction, and the rate must be small. Other directions are flat and would need a large one. Each
# step multiplies the distance along the flattest direction by $1 - \eta c_{\min}$, and with the
# rate $1 / c_{\max}$ this is $1 - c_{\min} / c_{\max}$. So the *ratio* of the curvatures says how
# many steps it takes.


# %%
def steps_needed(X, y):
    """Steps at the rate 1 / largest curvature until the loss is within 0.001 of the lowest, and the ratio."""
    best = lowest(X, y)
    curved = np.linalg.eigvalsh(curvature(best, X))
    w, steps = np.zeros(X.shape[1]), 0
    while loss(w, X, y) > loss(best, X, y) + 0.001 and steps < PATIENCE:
        w, steps = w - gradient(w, X, y) / curved[-1], steps + 1
    return steps, curved[-1] / curved[0]


needed = {name: steps_needed(inputs(table, [0, 1]), y) for name, table in [("raw", measured), ("standard", standard)]}
for name, (steps, ratio) in needed.items():
    print(f"{name:8s} largest curvature / smallest {ratio:9,.1f}   steps {steps:7,d}")
ours = descend(X, y, rate=10)[-1]
theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(X[:, :2], y)
away = np.abs(ours - np.append(theirs.coef_[0], theirs.intercept_)).max()
print("weights:", ours.round(5), f"  largest difference from scikit-learn {away:.0e}")

# %% [markdown]
# ## A part of the rows is enough for a direction
#
# So far every step has read all the rows. With a million rows this is slow. The gradient is a mean
# over rows, and a mean can be estimated from some of them. A **batch** is the group of rows that is
# used for one step. We shuffle the rows, cut them into batches, take one step for each, and shuffle
# again. A pass then makes many steps instead of one, but each knows the direction only roughly.
#
# The comparison must be fair in what is paid for: all descents below read the training part equally
# often. Three have the same learning rate of 1 and differ in the size of the batch alone. But is
# one rate fair to all sizes? We found that all rows together allow a rate near 20. So all rows get
# a second descent with the rate 10, and single rows one with the rate 0.1. What do you expect after
# two passes, and after twenty?


# %%
def in_batches(X, y, size, seed, rate=1.0):
    """The loss above the lowest after each pass, with one step for each batch."""
    rng, w, least = np.random.default_rng(seed), np.zeros(X.shape[1]), loss(lowest(X, y), X, y)
    above = []
    for _ in range(PASSES):
        order = rng.permutation(len(y))
        for start in range(0, len(y), size):
            batch = order[start : start + size]  # the last one may be shorter
            w = w - rate * gradient(w, X[batch], y[batch])
        above.append(loss(w, X, y) - least)
    return above


kinds = {"all rows": (426, 1), "all, rate 10": (426, 10), "32 rows": (32, 1), "1 row": (1, 1), "1, rate 0.1": (1, 0.1)}
above = {name: np.array([in_batches(X, y, size, seed, rate) for seed in SEEDS]) for name, (size, rate) in kinds.items()}
for name, table in above.items():
    second, last = table[:, 1].mean(), table[:, PASSES // 2 :].mean()
    print(f"{name:12s} loss above the lowest: after 2 passes {second:.4f}, mean of the last half {last:.6f}")

# %% tags=["hide"]
# @title Figure: the same rows read, in batches of different size
figure = curves(
    np.arange(1, PASSES + 1),
    {name: np.maximum(table, 1e-5) for name, table in above.items()},
    title="Single rows lead early, all rows arrive (cut off at 10⁻⁵)",
    x_label="passes over the training part",
    y_label="loss above the lowest",
    colors={"all rows": "control", "all, rate 10": "control", "32 rows": "subject", "1 row": "#262626",
            "1, rate 0.1": "state"},
    dashed=("all, rate 10", "1, rate 0.1"),
    log_y=True,
)  # fmt: skip
figure.axes[0].set_xticks(range(0, PASSES + 1, 5))
show(figure, "Loss above the lowest against passes, on a logarithmic axis, for five ways to read the rows. All rows at"
     " rate 1 fall slowly; at rate 10 they fall below every other line within a few passes. Batches of 32 fall fast and"
     " then stay uneven. Single rows at rate 1 stay high; at rate 0.1 they start lowest and then stay uneven"
     " too.")  # fmt: skip

# %% [markdown]
# At the same rate the batches of 32 are far ahead of all rows, because they made 14 steps in each
# pass while the whole part made one. But this lead is only the rate: with the rate 10 all rows have
# caught up after two passes, and in the end they are nearest. Near the lowest point the slopes of
# single rows cancel in the mean, but each one alone is not small. So every step from a few rows
# pushes the weights away again, and only smaller steps push less: compare the two lines of single
# rows. Lesson 05 therefore lowers the rate during training. What small batches buy is an early
# lead: single rows at the rate 0.1 are in front after two passes. With a million rows, where a pass
# is long, this counts. (In the first two lines of the table the ± runs over the seven problems.)

# %%
found = Claims("What we measured: going downhill", over="problems, or over seeds")
found.claim("The curvature at the lowest point predicts the largest rate that arrives", arrived / at_lowest, "==", 1,
            tolerance=0.05, control="1, the limit 2 / curvature itself", unit="times",
            headline="the largest rate that arrives is {measured} 2 / curvature at the lowest point")  # fmt: skip
found.claim("The curvature at the start does not", arrived / at_start, ">", 2, control="twice that limit", unit="times")
found.claim("Raw numbers need far more steps", needed["raw"][0], ">", 100 * needed["standard"][0], unit="steps",
            control="100 times the steps on the same rows, standardised")  # fmt: skip
early, late = 1, slice(PASSES // 2, None)  # for all rows the order is nothing, so one seed stands for all
found.claim("At the same rate batches of 32 are nearer after two passes", above["32 rows"][:, early], "<",
            above["all rows"][0, early], control="all rows in each step, same rate, equal reading")  # fmt: skip
found.claim("Each at a rate that suits it, single rows lead after two passes", above["1, rate 0.1"][:, early], "<",
            above["all, rate 10"][0, early], control="all rows at rate 10, equal reading",
            headline="after two passes single rows end {measured} above the lowest loss, all rows {bound}")  # fmt: skip
found.claim("In the end batches of 32 stay farther away", above["32 rows"][:, late].mean(axis=1), ">",
            above["all, rate 10"][0, late].mean(), control="all rows at rate 10, equal reading")  # fmt: skip
found.claim("Single rows do not come to rest", above["1 row"][:, late].mean(axis=1), ">",
            above["32 rows"][:, late].mean(axis=1), control="batches of 32, same rate")  # fmt: skip
found.show()

# %% [markdown]
# ## The same in Keras
#
# Keras is a library that finds the gradient of many joined units; under it TensorFlow does the
# arithmetic. Here are the words of Keras that the whole course uses.
#
# A **layer** is a function with weights of its own. `Dense(1)` is the layer of this lesson: it
# multiplies its inputs by weights, adds a bias, and returns one number for each row. A layer learns
# how many inputs it has when it is first called; only then are its weights made. Keras calls the
# table of weights a *kernel*, with one row for each input and one column for each output. The
# kernel starts with small random numbers and the bias with 0. The column of ones is not needed.

# %%
keras.utils.set_random_seed(0)
layer = keras.layers.Dense(1)
rows = X[:5, :2].astype("float32")  # radius and texture of five patients
scores = layer(rows)  # (5, 1): one score for each row
print("kernel", layer.kernel.shape, layer.kernel.numpy().ravel().round(3), "  bias", layer.bias.numpy())
by_hand = rows @ layer.kernel.numpy() + layer.bias.numpy()
print("Keras", scores.numpy().ravel().round(4), "  by hand", by_hand.ravel().round(4))

# %% [markdown]
# A **model** is one or more layers joined to a whole that can be trained, used and saved.
# `Sequential` joins them in a row, each reading what the one before it returns; ours has a single
# one, and `Input((2,))` says that a row has two numbers. Before it can learn, a model must be told
# three things, and `compile` tells it. The *loss* is what to make smaller. `from_logits=True` says
# that our layer returns scores, so that the loss applies the sigmoid itself. The **optimiser** is
# the rule which turns gradients into new weights: `SGD` is gradient descent in batches, with our
# learning rate. (*Stochastic gradient descent*, because chance cuts the batches.) The *metrics* are
# only reported. For scores the border is 0, but Keras would compare with 0.5 unless told.


# %%
def smooth_unit(rate=1.0):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate=rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0, name="accuracy")],
    )
    return model


model = smooth_unit()
history = model.fit(X[:, :2], y, batch_size=32, epochs=EPOCHS, verbose=0)
for epoch in (0, 1, EPOCHS - 1):
    print(f"epoch {epoch + 1:2d}:", {name: round(values[epoch], 4) for name, values in history.history.items()})

# %% [markdown]
# `fit` does what `in_batches` did: it shuffles, cuts, and takes a step for each batch. It returns a
# history, whose dictionary holds one number per epoch for the loss and for every metric. (These are
# means over the epoch, while the weights were still changing.) Now the trained model meets the test
# part. `evaluate` returns the loss and the metrics of given rows, without learning from them.
# `predict` returns the outputs themselves, here scores, which a sigmoid turns into probabilities.
# Two patients were hidden from you in lesson 01: number 3, which is in the test part, and number
# 37, from which the model has learned.

# %%
X_test = inputs(standard, [0, 1], test)
judged = model.evaluate(X_test[:, :2], label[test], verbose=0, return_dict=True)
print("on the test part:", {name: round(number, 4) for name, number in judged.items()})
for patient in (3, 37):
    score = model.predict(standard[[patient], :2], verbose=0)[0, 0]
    print(f"patient {patient:2d}: score {score:5.2f}, probability {sigmoid(score):.2f}, {cancer['label'][patient]}")

# %% [markdown]
# The unit says how sure it is, which the perceptron could not, and it can be sure and wrong:
# patient 3 has a malignant tumour with small nuclei. What happens inside `fit`? A step has three
# parts. First the loss of a batch is computed, while a `GradientTape` writes down every operation.
# Then the tape gives the gradient; lesson 04 shows how. At last the optimiser changes the weights.
# The cell takes the same step in three ways: with the tape, with our formula in NumPy, and with
# Keras' own `train_on_batch`. (`get_weights` returns the arrays of a model, here kernel and bias;
# `set_weights` takes such a list.)

# %%
batch, answers = X[:32, :2].astype("float32"), y[:32, None].astype("float32")  # (32, 2), (32, 1)
model, twin = smooth_unit(), smooth_unit()  # equal weights: the same seed
before = np.append(model.get_weights()[0], model.get_weights()[1])  # (3,)
with tf.GradientTape() as tape:
    value = model.loss(answers, model(batch))  # one number
slopes = tape.gradient(value, model.trainable_variables)  # one array for the kernel, one for the bias
model.optimizer.apply(slopes, model.trainable_variables)

twin.train_on_batch(batch, answers)
formula = before - 1.0 * gradient(before, X[:32], y[:32])
for name, one in [("tape", model), ("train_on_batch", twin)]:
    print(f"{name:15s}", np.append(*one.get_weights()).round(6))
print("NumPy          ", formula.round(6))

# %% [markdown]
# Three times the same numbers: nothing in `fit` is new.
#
# ## What can go wrong
#
# The first failure is the sigmoid before the logarithm. In the 32-bit numbers of Keras a score of
# 20 gives a probability of exactly 1, and $\ln(1 - 1)$ is minus infinity. From the score the same
# loss is simply 20. This is why the model returns scores and the loss gets `from_logits=True`. The
# second is a descent without an end. On all thirty measurements lesson 01 found a plane without
# mistakes. Twice the weights draw the same plane and double all scores, which makes every
# probability more certain and the loss smaller. So there is *no* lowest point. Compare how the
# weights grow with thirty and with two.

# %%
with np.errstate(divide="ignore"):
    print("loss of label 0 at score 20: from the probability", -np.log(1 - sigmoid(np.float32(20))),
          " from the score", np.logaddexp(0, np.float32(20)))  # fmt: skip
everything = inputs(standard, range(30))
growth = {}
for name, rows in (("two", X), ("thirty", everything)):
    path = descend(rows, y, rate=2, steps=10 * STEPS)
    lengths = [np.linalg.norm(path[steps]) for steps in (STEPS, 10 * STEPS)]
    growth[name] = lengths[1] / lengths[0]
    print(f"{name:6s} measurements: length of the weights after {STEPS} and {10 * STEPS} steps", np.round(lengths, 2))

keras_unit = smooth_unit(rate=10.0)
keras_unit.fit(X[:, :2], y, batch_size=len(y), epochs=min(STEPS, 150), verbose=0)
gap = np.abs(np.append(*keras_unit.get_weights()) - ours).max()
print(f"Keras, all rows in one batch, differs from scikit-learn by {gap:.0e} at most")
endless = Claims("Where a descent has no end")
endless.claim("Separable data have no lowest point: the weights go on growing", growth["thirty"], ">",
              1.5 * growth["two"], control="1.5 times the growth with two measurements", unit="times")  # fmt: skip
endless.show()

# %% [markdown]
# How to hold the weights back, and when to stop, are questions of lesson 06.
#
# ## Summary
#
# - A sigmoid turns the score into a probability, the score is the logit, and the border stays a line.
# - The likelihood of the labels, as a mean of negative logarithms, is the cross-entropy; its slope by
#   the score is $p - y$.
# - Gradient descent moves the weights against the gradient. The limit of the learning rate is 2
#   divided by the largest curvature at the lowest point, and standardised inputs need far fewer
#   steps.
# - Batches give a rough direction cheaply, which is an early lead for the same reading; but at a
#   constant rate they do not come to rest, and all rows do.
# - In Keras: layers make a model, `compile` names optimiser and loss, `fit` descends, `evaluate`
#   judges, `predict` answers.
#
# ## Exercises
#
# Open [exercises/02_one_smooth_unit.ipynb](exercises/02_one_smooth_unit.ipynb). You write the loss,
# the gradient, the batches and the limit of the rate, and put given weights into a Keras model. In
# the experiment you find out how exact the gradient of a batch is. Each answer is checked.
#
# ## References
#
# - D. R. Cox (1958). The regression analysis of binary sequences. *Journal of the Royal Statistical
#   Society B* 20(2), 215-242. Logistic regression.
# - H. Robbins, S. Monro (1951). A stochastic approximation method. *Annals of Mathematical
#   Statistics* 22(3), 400-407. Steps from noisy slopes.
# - S. Boyd, L. Vandenberghe (2004). *Convex Optimization*. Cambridge. Sections 7.1.1 (logistic
#   regression) and 9.3 (gradient descent and the ratio of curvatures).
# - L. Bottou, F. Curtis, J. Nocedal (2018). Optimization methods for large-scale machine learning.
#   *SIAM Review* 60(2), 223-311. Section 3.3: why batches.
# - Y. LeCun, L. Bottou, G. Orr, K.-R. Müller (1998). Efficient backprop. *Neural Networks: Tricks of
#   the Trade*. Sections 4.3 (inputs) and 5.1 (the largest learning rate).
