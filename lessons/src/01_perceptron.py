# %% [markdown]
# # 01 · The perceptron
#
# **The question: how can a machine learn from nothing but its own mistakes, and when can it
# not?**
#
# **You need:** school algebra: vectors, a line in the plane, the dot product. Some Python and
# NumPy.
#
# **You will build:** one artificial neuron and its learning rule, twenty lines in all. It learns
# to tell malignant tumours from benign ones and zeros from ones. You will prove when it must
# succeed, and prove that it cannot learn a table of four rows.
#
# **Time:** about half a minute to run on a 2-core laptop; reading takes longer.

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linprog
from scipy.stats import spearmanr
from sklearn.linear_model import Perceptron
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from kerasllm.course import claim, settings
from kerasllm.data import load
from kerasllm.course.figures import BLUE, GREEN, ORANGE, RED, show, use_style

use_style()

# %% [markdown]
# The dials of this lesson. Change them and run everything again.

# %%
EPOCHS, SPLITS, PATIENCE, PAIRS = settings(
    smoke=(8, 2, 20, 6),  # to test that the notebook runs
    cpu=(50, 10, 2000, 45),
)
# EPOCHS: passes over the training rows      SPLITS: ways to divide the rows into train and test
# PATIENCE: passes before we give up         PAIRS: how many pairs of digits, 45 is all of them

# %% [markdown]
# ## Try it in your head
#
# A doctor takes a few cells from a lump in the breast with a thin needle, and a picture of them
# is measured. Two of the measurements are the mean **radius** of the cell nuclei and their mean
# **texture** (how much the grey values vary). The question is whether the tumour is malignant.
# The data set has 569 patients (Street, Wolberg and Mangasarian 1993). Here are six of them. For
# two the answer is hidden. What do you say?

# %%
cancer = load("breast-cancer")  # a table: 30 measurements, a label and a split
measured = cancer.drop(columns=["label", "split"]).to_numpy()  # (569, 30)
label = np.where(cancer["label"] == "malignant", 1, -1)  # (569,)

names = {1: "malignant", -1: "benign"}
print("patient   radius  texture   diagnosis")
for patient in [3, 19, 21, 25, 37, 39]:
    radius, texture = measured[patient, :2]
    diagnosis = "?" if patient in (3, 37) else names[label[patient]]
    print(f"{patient:7d}   {radius:6.2f}  {texture:7.2f}   {diagnosis}")

# %% [markdown]
# Whoever trusts the radius alone says "benign" for both. Keep your answer for a moment.
#
# First we need a number to beat. A program that never looks at the cells and always says "benign"
# is right for every benign tumour. This is the **baseline**. A rule made by hand comes next:
# "malignant if the radius is above 15". Three quarters of the rows are for learning (training),
# one quarter is for judging (test). Nothing is learned from the test rows.


# %%
def divide(seed):
    """Row numbers for training and for testing, both with the same share of malignant tumours."""
    rows = np.arange(len(label))
    return train_test_split(rows, test_size=0.25, stratify=label, random_state=seed)


def accuracy(prediction, truth):
    return np.mean(prediction == truth)


train, test = divide(seed=0)  # (426,), (143,)
baseline = accuracy(-1, label[test])
by_hand = accuracy(np.where(measured[test, 0] > 15, 1, -1), label[test])
print("patient  3:", names[label[3]])
print("patient 37:", names[label[37]])
print(f"\nalways benign:      {baseline:.3f} of the test rows are right")
print(f"radius above 15:    {by_hand:.3f}")

# %% [markdown]
# The radius is wrong about patient 3, whose tumour is small and malignant. The next figure shows
# how the two groups overlap. Still, the rule by hand beats the baseline clearly. But who chose
# the 15? We did, by looking. With thirty measurements nobody can look. We want a machine that
# finds such numbers itself.

# %%
BENIGN, MALIGNANT = "#DCE9F4", "#FBE6D8"  # pale blue and pale orange for the two sides


def scatter(axes, X, y, size=14):
    style = {"s": size, "alpha": 0.7, "linewidths": 0}
    axes.scatter(*X[y == -1].T, c=BLUE, marker="o", label="benign", **style)
    axes.scatter(*X[y == 1].T, c=RED, marker="^", label="malignant", **style)


figure, axes = plt.subplots(figsize=(6.5, 3.8))
axes.axvspan(5, 15, color=BENIGN, lw=0)
axes.axvspan(15, 30, color=MALIGNANT, lw=0)
axes.axvline(15, color="black", lw=1.5)
scatter(axes, measured[train, :2], label[train])
axes.set(xlabel="mean radius", ylabel="mean texture", xlim=(5, 30), ylim=(8, 41))
axes.set_title("The rule by hand: everything right of the line is called malignant")
axes.legend(loc="upper right")
show(
    figure,
    "Scatter plot of mean radius and mean texture of the training tumours. A vertical line at"
    " radius 15 leaves most malignant points on its right, but both groups overlap around it.",
)

# %% [markdown]
# ## A threshold unit
#
# All the rules so far have one form. Give each measurement $x_j$ a **weight** $w_j$, add the
# products, add a constant $b$ (the **bias**), and look at the sign:
#
# $$ s = w_1 x_1 + w_2 x_2 + \dots + w_n x_n + b = w \cdot x + b, \qquad
# \text{prediction} = \begin{cases} +1 & \text{if } s > 0 \\ -1 & \text{otherwise.} \end{cases} $$
#
# We call $s$ the **score**. This is the artificial neuron of McCulloch and Pitts (1943) with
# weights added by Rosenblatt (1958). "Always benign" is the unit with $w = (0, 0)$ and $b = -1$.
# The rule by hand is $w = (1, 0)$ and $b = -15$. The next cell checks that these units give the
# same numbers.


# %%
def predict(X, w, b):
    return np.where(X @ w + b > 0, 1, -1)  # (rows,)


two = measured[test, :2]
print(f"w = (0, 0), b =  -1:  {accuracy(predict(two, np.array([0, 0]), -1), label[test]):.3f}")
print(f"w = (1, 0), b = -15:  {accuracy(predict(two, np.array([1, 0]), -15), label[test]):.3f}")

# %% [markdown]
# The numbers are the same. So learning a rule means finding good values for $w$ and $b$.
#
# ## Learning, on paper
#
# Take a problem small enough for paper. Two switches are off (0) or on (1). The answer is $+1$
# when at least one is on. This is the logical OR, four rows in all. Rosenblatt's rule:
#
# 1. Start with $w = (0, 0)$ and $b = 0$.
# 2. Take the next row $x$ with its label $y$. If the score has the sign of $y$, do nothing.
# 3. Otherwise it is a mistake: add $y \cdot x$ to $w$, and add $y$ to $b$.
# 4. Go on, row after row, until a whole pass (an **epoch**) brings no mistake.
#
# A score of 0 has no sign and counts as a mistake. In code, a mistake is $y \cdot s \le 0$. Take
# a pencil, do the first pass, then compare with the table.

# %%
switches = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])  # (4, 2)
either = np.array([1, 1, 1, -1])

w, b = np.array([0, 0]), 0
updates = []  # (epoch, row, w, b) after every update
print("epoch     x      y   score      w after    b after")
for epoch in range(1, 10):
    clean = True
    for row, (x, y) in enumerate(zip(switches, either, strict=True)):
        score = w @ x + b
        if y * score <= 0:
            w, b, clean = w + y * x, b + y, False
            updates.append((epoch, row, w, b))
            print(f"{epoch:5d}   {x}   {y:+d}   {score:+5d}   ->   {w}     {b:+d}")
    if clean:
        break
print(f"epoch {epoch}: no mistake, finished with w = {w}, b = {b}")

# %%
claim("updates until OR is learned", len(updates), "==", 7, exact=True)

# %% [markdown]
# Nobody told the unit what "or" means. Seven small corrections were enough.
#
# Now the same updates as pictures. First a function that colours the two sides of a unit: pale
# orange where it answers $+1$, pale blue where it answers $-1$.


# %%
def draw_unit(axes, w, b, low, high):
    side = np.linspace(low, high, 201)
    x1, x2 = np.meshgrid(side, side)
    score = w[0] * x1 + w[1] * x2 + b  # (201, 201)
    axes.contourf(side, side, score, levels=[-1e9, 0, 1e9], colors=[BENIGN, MALIGNANT])
    axes.contour(side, side, score, levels=[0], colors="black", linewidths=1.3)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")


# %% [markdown]
# The black line is the set of points with score 0. A ring marks the row that caused the update,
# and the picture shows the unit after it. The arrow is $w$. Look for three things. The arrow
# always stands at a right angle to the line and points to the $+1$ side. A row with $x = (0, 0)$
# changes only $b$, and then the line moves without turning. Any other row changes $w$ too, and
# then the line turns.

# %%
figure, panels = plt.subplots(2, 4, figsize=(8, 4.5), sharex=True, sharey=True)
final = (epoch, None, w, b)
for number, (when, row, w_now, b_now) in enumerate([*updates, final], start=1):
    axes = panels.flat[number - 1]
    draw_unit(axes, w_now, b_now, -1.2, 2.3)
    axes.scatter(*switches[either == -1].T, c=BLUE, marker="o", s=40, zorder=3)
    axes.scatter(*switches[either == 1].T, c=RED, marker="^", s=40, zorder=3)
    start = -b_now * w_now / (w_now @ w_now)  # the point of the line next to the origin
    axes.annotate("", start + 0.36 * w_now, start, arrowprops={"arrowstyle": "-|>", "lw": 1.5})
    if row is not None:
        axes.scatter(*switches[row], s=150, facecolors="none", edgecolors="black", zorder=4)
    title = f"update {number}, epoch {when}" if row is not None else f"epoch {when}: no mistake"
    axes.set_title(title, fontsize=10)
    axes.set(xticks=[0, 1], yticks=[0, 1])
figure.supxlabel("first switch", fontsize=10)
figure.supylabel("second switch", fontsize=10)
show(
    figure,
    "Eight panels with the four points of OR. The decision line moves and turns after each of the"
    " seven updates; in the last panel the single blue point is alone on its side.",
)

# %% [markdown]
# ## Why the update helps
#
# Suppose $(x, y)$ was a mistake. After the update the score of the same $x$ is
#
# $$ (w + yx) \cdot x + (b + y) = \underbrace{w \cdot x + b}_{\text{old score}} + y(|x|^2 + 1). $$
#
# The score moves toward the right sign by $|x|^2 + 1$, always, whatever $w$ was. It may not be
# enough the first time, and it may spoil other rows. But it is right for its own row.
#
# One piece of tidying: append a constant 1 to every $x$. Then $b$ is just one more weight, the
# score is $w \cdot x$, and the update is the single line $w \leftarrow w + yx$. The score then
# moves by $|x|^2$ of the longer $x$. The cell tests the formula on a real tumour.


# %%
def with_one(X):
    return np.column_stack([X, np.ones(len(X))])  # (rows, features + 1)


rows = with_one(measured[:, :2])  # (569, 3)
w = np.array([-1.0, 0.5, 0.0])
x, y = rows[3], label[3]
before, after = y * (w @ x), y * ((w + y * x) @ x)
print("row:", x, " label:", y)
print(f"y * score before {before:.3f}, after {after:.3f}, |x| squared {x @ x:.3f}")
claim("y * score moved by |x| squared", after - before, "==", x @ x, tolerance=1e-9, exact=True)

# %% [markdown]
# The same as arrows. The figure has no bias, so the line passes through the origin. The triangle
# belongs on the orange side. Adding $x$ to $w$ turns the arrow toward $x$, and the line turns
# with it.


# %%
def arrow(axes, start, end, text, place, **style):
    style = {"color": "black", "lw": 2, **style}
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", **style})
    axes.text(*place, text, fontsize=13, color=style["color"])


w_old, x_new = np.array([-0.3, 1.5]), np.array([1.7, -0.4])
w_new = w_old + x_new
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.9), sharey=True)
for axes, w_now in [(left, w_old), (right, w_new)]:
    draw_unit(axes, w_now, 0.0, -1.2, 2.4)
    axes.scatter(*x_new, s=70, c=RED, marker="^", zorder=4)
    axes.text(1.75, -0.8, "x", fontsize=13)
arrow(left, (0, 0), w_old, "w", (-0.5, 1.6))
arrow(right, (0, 0), w_old, "w", (-0.5, 1.6), color="gray", ls="--")
arrow(right, w_old, w_new, "+ x", (0.6, 1.4), color=RED)
arrow(right, (0, 0), w_new, "w + x", (1.4, 1.25))
left.set_title(f"Before: y·(w·x) = {w_old @ x_new:.2f}, a mistake")
right.set_title(f"After: y·(w·x) = {w_new @ x_new:.2f}, right")
show(
    figure,
    "Two panels. Before the update the orange point x lies on the blue side and w points away"
    " from it. After adding x to w, the arrow and its perpendicular line have turned and x is on"
    " the orange side.",
)

# %% [markdown]
# ## Two measurements, 426 patients
#
# Now the real data. The rule becomes a function. For each epoch it keeps the weights, the number
# of mistakes, and the average of all weights so far. `rng` shuffles the rows anew in each epoch,
# so that no order of the file is learned.


# %%
def learn(X, y, epochs, rng=None, rate=1.0):
    """The perceptron rule. X holds a constant 1 in its last column."""
    w, total = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    weights, averages, mistakes = [], [], []
    for epoch in range(1, epochs + 1):
        order = np.arange(len(y)) if rng is None else rng.permutation(len(y))
        wrong = 0
        for i in order:
            if y[i] * (X[i] @ w) <= 0:
                w = w + rate * y[i] * X[i]
                wrong += 1
            total += w
        weights.append(w)
        averages.append(total / (epoch * len(y)))
        mistakes.append(wrong)
        if wrong == 0:
            break
    return np.array(weights), np.array(averages), np.array(mistakes)


# %% [markdown]
# One preparation is needed: **standardise** each column, that is, subtract its mean and divide by
# its standard deviation, both taken from the training rows. Why? An update adds the row itself.
# In raw numbers a radius is near 14 and the constant is 1, so one mistake changes the weight of
# the radius 14 times as much as the bias. The line turns wildly and hardly shifts. After
# standardising, all columns have mean 0 and spread 1. The cell trains both ways.


# %%
def standardise(X, train):
    return with_one((X - X[train].mean(axis=0)) / X[train].std(axis=0))


def score_on(X, w, rows):
    return accuracy(np.where(X[rows] @ w > 0, 1, -1), label[rows])


raw, scaled = with_one(measured[:, :2]), standardise(measured[:, :2], train)  # (569, 3) each
for name, X in [("raw", raw), ("standardised", scaled)]:
    weights, averages, mistakes = learn(X[train], label[train], EPOCHS, np.random.default_rng(0))
    late = [score_on(X, w, test) for w in weights[-5:]]
    print(f"{name:13s} test accuracy after the last five epochs:", np.round(late, 3))
    if name == "raw":
        claim("raw numbers: the worst of these", min(late), "<", baseline)

# %% [markdown]
# With raw numbers the accuracy jumps up and down, and falls below "always benign". Standardised
# numbers do better. But look closely: they jump too. Here is the decision line at the end of each
# of the first eight epochs. Will it come to rest?

# %%
figure, panels = plt.subplots(2, 4, figsize=(8, 4.6), sharex=True, sharey=True)
for epoch, axes in enumerate(panels.flat):
    draw_unit(axes, weights[epoch], weights[epoch][2], -2.6, 4.4)
    scatter(axes, scaled[train][:, :2], label[train], size=5)
    axes.set_title(f"epoch {epoch + 1}: {mistakes[epoch]} mistakes", fontsize=10)
figure.supxlabel("mean radius, standardised", fontsize=10)
figure.supylabel("mean texture, standardised", fontsize=10)
show(
    figure,
    "Eight panels, one for each epoch, with the standardised tumours and the decision line. The"
    " line has about the right direction early, but it shifts and turns in every panel.",
)

# %% [markdown]
# ## It never comes to rest
#
# The two groups overlap. No line has all points on the right side, so each pass meets mistakes,
# and each mistake moves the line. The weights after the last epoch are simply the weights after
# the last mistake, good or bad by luck. There are two old remedies.
#
# - **Pocket** (Gallant 1990): after each epoch count the errors on the training rows. Keep the
#   best weights seen so far in your pocket.
# - **Average** (Freund and Schapire 1999): use the mean of the weights over all steps. A line
#   that survives many rows counts many times.
#
# One split could be luck. So we make several runs, each with its own split and shuffling. The
# picture shows the first run, the table all.


# %%
def compare(columns, seed):
    train, test = divide(seed)
    X = standardise(measured[:, columns], train)
    weights, averages, mistakes = learn(X[train], label[train], EPOCHS, np.random.default_rng(seed))
    pocket = max(weights, key=lambda w: score_on(X, w, train))
    return {
        "always benign": accuracy(-1, label[test]),
        "rule by hand": accuracy(np.where(measured[test, 0] > 15, 1, -1), label[test]),
        "last": score_on(X, weights[-1], test),
        "pocket": score_on(X, pocket, test),
        "average": score_on(X, averages[-1], test),
        "by epoch, last": [score_on(X, w, test) for w in weights],
        "by epoch, average": [score_on(X, w, test) for w in averages],
        "mistakes": mistakes,
    }


two_columns = [compare([0, 1], seed) for seed in range(SPLITS)]

# %%
run = two_columns[0]
epochs = np.arange(1, EPOCHS + 1)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), width_ratios=[2, 3])
left.plot(epochs, run["mistakes"], color=BLUE)
left.set(ylim=(0, None), xlabel="epoch", title="Mistakes while training")
right.plot(epochs, run["by epoch, last"], color=ORANGE, label="last weights")
right.plot(epochs, run["by epoch, average"], color=GREEN, lw=2, label="averaged weights")
right.axhline(run["rule by hand"], color="black", ls=":", lw=1.2, label="rule by hand")
right.axhline(baseline, color="black", ls="--", lw=1.2, label="always benign")
right.set(xlabel="epoch", title="Test accuracy", ylim=(0.5, 0.97))
right.legend(loc="lower right", ncols=2)
show(
    figure,
    "Left: mistakes per epoch stay at a level far above zero. Right: the test accuracy of the last"
    " weights jumps from epoch to epoch, that of the averaged weights is a flat line above it.",
)


# %%
def table(runs, names):
    for name in names:
        values = [run[name] for run in runs]
        print(f"{name:14s} {np.mean(values):.3f}   from {min(values):.3f} to {max(values):.3f}")


rivals = ["always benign", "rule by hand", "last", "pocket", "average"]
print(f"test accuracy over {SPLITS} splits, two measurements")
table(two_columns, rivals)

# %% [markdown]
# Look twice. The last weights, the result of the plain rule, *lose* against our 15. If the lesson
# stopped here, learning would be worse than one number chosen by eye. The averaged weights win,
# though only by a little. How far does the accuracy swing within the last 20 epochs of one run?


# %%
def swing(run, name):
    late = run[f"by epoch, {name}"][-20:]
    return max(late) - min(late)


by_hand = [run["rule by hand"] for run in two_columns]
average = [run["average"] for run in two_columns]
last = [run["last"] for run in two_columns]
fewest = min(min(run["mistakes"]) for run in two_columns)
claim("fewest mistakes in any epoch of any split", fewest, ">", 30)
claim("the last weights lose against the rule by hand", last, "<", by_hand)
claim("the averaged weights beat the last weights", average, ">", last, headline=True)
claim("the averaged weights beat the rule by hand", average, ">", by_hand)
claim("swing of the last weights", [swing(run, "last") for run in two_columns], ">", 0.1)
claim("swing of the averaged weights", [swing(run, "average") for run in two_columns], "<", 0.03)

# %% [markdown]
# The mistakes never fade, and whether the last weights are good is a matter of luck. The averaged
# weights are steady and better, at the price of one addition a row.
#
# > **Myth:** a widely copied recipe says that the learning rate of a perceptron must be tuned
# > with care.
#
# > **Fact:** a learning rate $\eta$ multiplies each update. When we start from zero, it
# > multiplies all weights at all times. The sign of a score does not change when all weights are
# > multiplied by $\eta > 0$. So the mistakes are the same, row for row. The next cell trains with
# > a rate 1,024 times smaller. (In later lessons the rate does matter.)

# %%
weights, _, mistakes = learn(scaled[train], label[train], 8)
tiny, _, mistakes_tiny = learn(scaled[train], label[train], 8, rate=1 / 1024)
print("mistakes, rate 1:     ", mistakes)
print("mistakes, rate 1/1024:", mistakes_tiny)
difference = np.abs(weights - 1024 * tiny).max()
claim("largest difference of 1024 times the tiny weights", difference, "==", 0, exact=True)

# %% [markdown]
# ## All thirty measurements
#
# The rule does not care how many columns it gets. The data set has thirty: ten properties of the
# nuclei, each as mean, standard error and the mean of the three largest values. Predict first:
# how many of the errors go away?

# %%
all_columns = [compare(np.arange(30), seed) for seed in range(SPLITS)]
print(f"test accuracy over {SPLITS} splits, thirty measurements")
table(all_columns, rivals)
average_all = [run["average"] for run in all_columns]
claim("30 measurements beat 2 (averaged weights)", average_all, ">", average)
errors_all, errors_two = 1 - np.mean(average_all), 1 - np.mean(average)
claim("share of the errors that is left", errors_all / errors_two, "<", 0.5)

# %% [markdown]
# More than half of the errors go away, and now the rule by hand is left far behind. Is our rule
# the real one? Give scikit-learn's `Perceptron` the same rows in the same order, and compare not
# the accuracy but every single weight. `tol=None` switches off scikit-learn's early stopping.

# %%
scaled = standardise(measured, train)  # (569, 31)
ours = learn(scaled[train], label[train], 20)[0][-1]
theirs = Perceptron(max_iter=20, tol=None, shuffle=False).fit(scaled[train][:, :30], label[train])
their_weights = np.append(theirs.coef_[0], theirs.intercept_)  # (31,)
print("ours:  ", np.round(ours[:5], 3), "... bias", ours[-1])
print("theirs:", np.round(their_weights[:5], 3), "... bias", their_weights[-1])
claim(
    "largest difference from scikit-learn's weights",
    np.abs(ours - their_weights).max(), "==", 0, tolerance=1e-9, exact=True,
)  # fmt: skip

# %% [markdown]
# After thousands of steps all 31 numbers are equal. This is what the library does, exactly.
#
# ## Can it be done at all?
#
# With two measurements training never ended. Was it too short, or is there truly no line? Trying
# longer can never answer this. A **linear program** can. It is a solver for systems of
# inequalities, and its answer is certain up to rounding: either a solution, or "there is none".
# We ask for weights with $y_i(w \cdot x_i) \ge 1$ for all rows $i$. (If some $w$ has all scores
# on the right side, a multiple of it reaches 1 everywhere. So the 1 excludes nothing.) Data with
# such a $w$ are called **linearly separable**.


# %%
def separable(X, y):
    answer = linprog(
        np.zeros(X.shape[1]),  # nothing to minimise, any solution will do
        A_ub=-y[:, None] * X,  # -y (w . x) <= -1
        b_ub=-np.ones(len(y)),
        bounds=(None, None),  # weights may be negative
    )
    return answer.status == 0  # 0: solution found, 2: no solution exists


two_separable = separable(scaled[train][:, [0, 1, 30]], label[train])
all_separable = separable(scaled[train], label[train])
all_patients = np.arange(len(label))
published = separable(standardise(measured, all_patients), label)
print("two measurements:   ", two_separable)
print("thirty measurements:", all_separable)
print("thirty measurements, all 569 patients:", published)
claim("a perfect line exists for two measurements", two_separable, "==", False, exact=True)
claim("a perfect plane exists for thirty", all_separable, "==", True, exact=True)
claim("as published: also for all 569 patients", published, "==", True, exact=True)

# %% [markdown]
# A surprise. With thirty measurements all training rows can be right at once. The description
# that the authors published with the data says the same of all 569 rows, and the claim above
# confirms it. But our training made mistakes up to its last epoch. Will the rule find the plane,
# given patience?

# %%
print("split   plane exists   epochs   mistakes in all   in the last epoch   test accuracy")
existing, long_runs = [], []
for seed in range(SPLITS):
    rows, judge = divide(seed)
    X = standardise(measured, rows)
    existing.append(separable(X[rows], label[rows]))
    weights, _, mistakes = learn(X[rows], label[rows], PATIENCE, np.random.default_rng(seed))
    long_runs.append({"mistakes": mistakes, "test": score_on(X, weights[-1], judge)})
    print(
        f"{seed:5d} {existing[-1]!s:>14s} {len(mistakes):8d} {mistakes.sum():17d}"
        f" {mistakes[-1]:19d} {long_runs[-1]['test']:15.3f}"
    )
stopped = [run for run in long_runs if run["mistakes"][-1] == 0]

# %%
claim("splits for which a perfect plane exists", sum(existing), "==", SPLITS, exact=True)
claim("splits on which the rule came to rest", len(stopped), ">=", SPLITS - 2)
slowest = max(len(run["mistakes"]) for run in long_runs)
claim("epochs on the slowest split: our patience ends first", slowest, "==", PATIENCE)
claim(
    "test accuracy: long training against the averaged weights",
    [run["test"] for run in long_runs], "<", average_all, tolerance=0.01,
)  # fmt: skip

# %% [markdown]
# Two surprises. First: being right on every training row does not help new patients. The averaged
# weights, which still make errors in training, do at least as well. Lesson 05 is about this
# difference.
#
# Second: the effort varies enormously. One split needs fewer than a hundred epochs. Another does
# not finish in 2,000, although the linear program says that a plane exists. What makes one split
# hard?
#
# ## Why it must stop: a proof and its measurement
#
# Novikoff proved in 1962 that the rule stops on all separable data, and gave a limit for the
# number of mistakes. Two numbers describe the data:
#
# - $R$, the length of the longest row (with its 1): $|x_i| \le R$;
# - the **margin** $\gamma$: there is a direction $u$ of length 1 with
#   $y_i(u \cdot x_i) \ge \gamma > 0$ for all rows. It says how wide the free space along the
#   border is.
#
# Follow two quantities through $k$ mistakes, from $w = 0$. Each mistake adds $yx$.
#
# 1. $w \cdot u$ grows by $y(x \cdot u) \ge \gamma$ each time. So $w \cdot u \ge k\gamma$.
# 2. $|w|^2$ becomes $|w|^2 + 2y(w \cdot x) + |x|^2$. It was a mistake, so the middle term is at
#    most 0, and $|w|^2$ grows by at most $R^2$. So $|w| \le \sqrt{k}R$.
#
# A projection is never longer than its vector: $w \cdot u \le |w|$. Together
#
# $$ k\gamma \le w \cdot u \le |w| \le \sqrt{k}R
# \qquad\Longrightarrow\qquad k \le \left(\frac{R}{\gamma}\right)^2 . $$
#
# A straight line $k\gamma$ cannot stay under a square root for long.
#
# We measure this on handwritten digits, 8 by 8 pixels each (Alpaydin and Kaynak 1998), first 0
# against 1. The best $u$ comes from a support vector machine, which maximises the margin. (Adding
# each row once more with opposite sign makes its border pass through the origin.)

# %%
digits = load("digits")
pixels = digits.drop(columns=["label", "split"]).to_numpy() / 16  # (1797, 64), from 0 to 1
digit = digits["label"].astype(int)


def pair(a, b):
    """The images of two digits with a constant 1; label +1 for digit a, -1 for digit b."""
    chosen = np.isin(digit, [a, b])
    X, y = with_one(pixels[chosen]), np.where(digit[chosen] == a, 1, -1)
    return train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)


def widest_margin(X, y):
    machine = SVC(kernel="linear", C=1e6).fit(np.vstack([X, -X]), np.append(y, -y))
    u = machine.coef_[0] / np.linalg.norm(machine.coef_)
    return u, min(y * (X @ u))


# %%
X, X_test, y, y_test = pair(0, 1)  # (270, 65), (90, 65)
weights, _, mistakes = learn(X, y, PATIENCE, np.random.default_rng(0))
u, gamma = widest_margin(X, y)
R = np.linalg.norm(X, axis=1).max()
print("mistakes in each epoch:", mistakes)
print(f"R = {R:.3f}, margin = {gamma:.3f}, so at most {(R / gamma) ** 2:.1f} mistakes")
wrong = int(sum(np.where(X_test @ weights[-1] > 0, 1, -1) != y_test))
print(f"errors on {len(y_test)} test images: {wrong}")
claim("mistakes until perfect, 0 against 1", mistakes.sum(), "<=", (R / gamma) ** 2, exact=True)
claim("errors on the test images", wrong, "<=", 2)
middle = weights[-1][:64].reshape(8, 8)[3:5, 3:5]
claim("weight of the four pixels in the middle", middle.mean(), "<", 0)

# %% [markdown]
# A few mistakes on 270 images, and then no more. What did it learn? The weights belong to pixels,
# so they can be drawn as a picture. Red pixels speak for a zero, blue ones for a one.

# %%
figure, panels = plt.subplots(1, 3, figsize=(8, 2.9))
for axes, picture, title in [
    (panels[0], X[y == 1].mean(0)[:64], "mean of the zeros"),
    (panels[1], X[y == -1].mean(0)[:64], "mean of the ones"),
]:
    axes.imshow(picture.reshape(8, 8), cmap="Greys")
    axes.set_title(title)
top = np.abs(weights[-1][:64]).max()
image = panels[2].imshow(weights[-1][:64].reshape(8, 8), cmap="RdBu_r", vmin=-top, vmax=top)
panels[2].set_title("the learned weights")
figure.colorbar(image, ax=panels[2], fraction=0.046)
for axes in panels:
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
show(
    figure,
    "Three pictures of 8 by 8 pixels: the mean zero, a ring; the mean one, a bar; and the weights,"
    " red along the ring on both sides and blue in the middle, where only ones have ink.",
)

# %% [markdown]
# Ink in the middle speaks for a one, because a zero is empty there.
#
# One pair proves little. The next cell takes all 45 pairs of digits. For 1 against 8, the hardest
# pair, it follows the proof itself, mistake by mistake.


# %%
def follow(X, y, u, rng):
    """Run to the end; after each mistake note w . u and |w|."""
    w, notes = np.zeros(X.shape[1]), []
    clean = False
    while not clean:
        clean = True
        for i in rng.permutation(len(y)):
            if y[i] * (X[i] @ w) <= 0:
                w, clean = w + y[i] * X[i], False
                notes.append((w @ u, np.linalg.norm(w)))
    return np.array(notes)  # (mistakes, 2)


pairs = list(itertools.combinations(range(10), 2))[-PAIRS:]
made, allowed = [], []
for a, b in pairs:
    X, _, y, _ = pair(a, b)
    u, gamma = widest_margin(X, y)
    allowed.append((np.linalg.norm(X, axis=1).max() / gamma) ** 2)
    made.append(np.mean([len(follow(X, y, u, np.random.default_rng(s))) for s in range(3)]))
made, allowed = np.array(made), np.array(allowed)
print(f"smallest margin: {pairs[np.argmax(allowed)]}")
print(f"{len(pairs)} pairs: mistakes are {np.mean(made / allowed):.0%} of the bound on average")
share = max(made / allowed)
claim("largest share of the bound that a pair used", share, "<=", 1, exact=True, headline=True)

# %%
X, _, y, _ = pair(1, 8)
u, gamma = widest_margin(X, y)
R = np.linalg.norm(X, axis=1).max()
notes = follow(X, y, u, np.random.default_rng(0))
k = np.arange(1, len(notes) + 1)
claim("w.u stays above k times the margin", min(notes[:, 0] - k * gamma), ">", -1e-6, exact=True)
claim("|w| stays below root k times R", max(notes[:, 1] - np.sqrt(k) * R), "<=", 1e-9, exact=True)

# %% [markdown]
# The left picture shows the four quantities of the proof for 1 against 8. The solid lines must
# stay between the dashed ones. The right picture has one point for each pair of digits.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6))
left.plot(k, np.sqrt(k) * R, "--", color=ORANGE, label=r"$\sqrt{k}R$")
left.plot(k, notes[:, 1], color=ORANGE, label=r"$|w|$")
left.plot(k, notes[:, 0], color=BLUE, label=r"$w \cdot u$")
left.plot(k, k * gamma, "--", color=BLUE, label=r"$k\gamma$")
left.set(xlabel="mistakes k", title="1 against 8: the proof as it happens")
left.legend()
line = np.array([min(allowed) / 1.5, max(allowed) * 1.5])
right.plot(line, line, color="black", lw=1)
right.text(150, 330, "the bound", ha="right")
right.scatter(allowed, made, s=18)
for name in sorted({(1, 8), (8, 9), (1, 2)} & set(pairs)):
    place = pairs.index(name)
    right.text(1.1 * allowed[place], 0.65 * made[place], f"{name[0]}, {name[1]}")
right.set(xscale="log", yscale="log", xlabel=r"allowed: $(R / \gamma)^2$", ylabel="mistakes made")
right.set_title("Every pair of digits")
show(
    figure,
    "Left: for 1 against 8 the four quantities of the proof stay in order, a straight line below"
    " and a square root above. Right: for every pair of digits the mistakes made lie below the"
    " bound and grow with it.",
)

# %% [markdown]
# All points lie under the line, as they must. The bound is generous, but it ranks the pairs well:
# a narrow margin means many mistakes. Now the question of the tumours can be answered. Here is
# the margin of each split, in order, beside the epochs that the rule took.

# %%
margins, limits = [], []
for seed in range(SPLITS):
    rows, _ = divide(seed)
    X = standardise(measured, rows)[rows]
    margins.append(widest_margin(X, label[rows])[1])
    limits.append((np.linalg.norm(X, axis=1).max() / margins[-1]) ** 2)
print("split    margin   mistakes allowed   mistakes made   epochs")
for seed in np.argsort(margins)[::-1]:
    mistakes = long_runs[seed]["mistakes"]
    end = "" if mistakes[-1] == 0 else ", no end"
    print(f"{seed:5d}   {margins[seed]:.4f} {limits[seed]:18,.0f}", end="")
    print(f" {mistakes.sum():15,d} {len(mistakes):8d}{end}")

# %%
rank = spearmanr(margins, [run["mistakes"].sum() for run in long_runs]).statistic
claim("rank correlation of margin and mistakes", rank, "<", -0.8)
claim("mistakes allowed on the hardest split, in millions", max(limits) / 1e6, ">", 10)

# %% [markdown]
# The smaller the margin, the longer it takes. The split without an end has by far the smallest.
# Its plane exists, but it is a very narrow gap. The theorem promises that the rule gets there,
# but it allows many millions of mistakes first.
#
# ## What it cannot do
#
# Go back to the two switches and change a single label. The answer is now $+1$ when exactly one
# switch is on. This is the *exclusive or*, XOR. Four rows, three weights. Run the rule.

# %%
corners = with_one(switches)  # (4, 3)
exclusive = np.array([-1, 1, 1, -1])
weights, _, mistakes = learn(corners, exclusive, 40)
print("mistakes in each epoch:", *mistakes)
print("weights after epochs 10, 20, 30, 40:", *(weights[[9, 19, 29, 39]].astype(int).tolist()))
claim("mistakes in the last epoch, of four rows", mistakes[-1], "==", 4, exact=True)

# %% [markdown]
# Every row is wrong in every epoch, and each epoch ends where it began, at zero. So the rule
# fails, but this is no proof about other rules. Here is one. Suppose $w_1, w_2, b$ solve XOR. The
# four rows then say:
#
# $$ \begin{aligned}
# (0,0) \to -1: \quad & b \le 0 & \qquad (1,0) \to +1: \quad & w_1 + b > 0 \\
# (1,1) \to -1: \quad & w_1 + w_2 + b \le 0 & \qquad (0,1) \to +1: \quad & w_2 + b > 0
# \end{aligned} $$
#
# Add the two on the left: $w_1 + w_2 + 2b \le 0$. Add the two on the right: $w_1 + w_2 + 2b > 0$.
# One number cannot be both. So no such weights exist, and no rule can find them.
#
# Is XOR an exception? Two switches allow 16 tables of answers, three allow 256. The linear
# program tests them all.

# %%
for n in (2, 3):
    inputs = np.array(list(itertools.product([0, 1], repeat=n)))  # (2**n, n)
    tables = [np.array(t) for t in itertools.product([-1, 1], repeat=2**n)]
    possible = [separable(with_one(inputs), t) for t in tables]
    print(f"{n} switches: {sum(possible)} of {len(tables)} tables can be learned")
    if n == 2:
        print("   not these:", *[t.tolist() for t in tables if not separable(with_one(inputs), t)])
    claim(f"learnable tables of {n} switches", sum(possible), "==", {2: 14, 3: 104}[n], exact=True)

# %% [markdown]
# The published counts are 14 of 16, 104 of 256, and 1,882 of 65,536 for four switches (Muroga
# 1971). For two switches only XOR and its opposite fail. But the share falls fast as inputs are
# added.
#
# > **Myth:** a widely copied story says that Minsky and Papert proved in 1969 that neural
# > networks cannot compute XOR.
#
# > **Fact:** the proof above is about *one* unit that sees the raw inputs. McCulloch and Pitts
# > knew in 1943 that several units together can compute any table; in exercise 4 you build XOR
# > from three. What was missing was a rule that *trains* the units in the middle.
#
# ## One more column
#
# The unit is not the problem, its inputs are. Add a third input, the product $x_1 x_2$, which is
# 1 only when both switches are on. The same rule runs on the same four rows.


# %%
def with_product(X):
    return with_one(np.column_stack([X, X[:, 0] * X[:, 1]]))  # (rows, 4)


lifted, _, mistakes = learn(with_product(switches), exclusive, 100)
print("mistakes in each epoch:", mistakes)
print("weights of x1, x2, x1*x2 and bias:", lifted[-1])
claim("mistakes with the product as a third input", mistakes[-1], "==", 0, exact=True)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.9), sharey=True)
side = np.linspace(-0.6, 1.6, 301)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)  # (301 * 301, 2)
score = (with_product(grid) @ lifted[-1]).reshape(301, 301)
right.contourf(side, side, score, levels=[-1e9, 0, 1e9], colors=[BENIGN, MALIGNANT])
right.contour(side, side, score, levels=[0], colors="black", linewidths=1.3)
for slope, height in [(-1, 0.5), (-1, 1.5), (0.6, -0.3), (-0.15, 0.4)]:
    left.axline((0, height), slope=slope, color="black", lw=1.2, alpha=0.6)
for axes in (left, right):
    axes.scatter(*switches[exclusive == -1].T, c=BLUE, marker="o", s=80, zorder=3)
    axes.scatter(*switches[exclusive == 1].T, c=RED, marker="^", s=80, zorder=3)
    axes.set(xlim=(-0.6, 1.6), ylim=(-0.6, 1.6), xticks=[0, 1], yticks=[0, 1], aspect="equal")
left.set_title("XOR: any line leaves one on the wrong side")
right.set_title("The same unit with one more input")
show(
    figure,
    "The four points of XOR. Left: several straight lines, each leaves a point on the wrong side."
    " Right: with the product as a third input two crossing borders make four fields of the right"
    " colours.",
)

# %% [markdown]
# Solved. In the plane the border now consists of two crossing lines. In the three dimensions of
# its inputs the border is still one flat plane.
#
# But we chose the product ourselves, just as we chose the 15 at the start. Could other units
# learn to compute such an input? The perceptron rule cannot train them: it must know whether a
# unit's answer was wrong, and for a unit in the middle nobody says so. We would like to ask "if
# this weight changes a little, does the result get better?" With a threshold the answer is almost
# always "nothing changes": the step is flat, its slope is 0. For the same reason a Keras layer
# `Dense(1)` with a threshold behind it cannot be trained by `fit`. Lesson 03 therefore replaces
# the step by smooth curves, and lesson 04 computes all slopes at once.
#
# ## Summary
#
# - A threshold unit adds weighted inputs and a bias and takes the sign; its border is a line or
#   plane.
# - The perceptron rule adds $yx$ to the weights after each mistake, and does nothing else.
# - On separable data it stops after at most $(R/\gamma)^2$ mistakes; a linear program tells
#   whether data are separable.
# - On overlapping data it never stops; average the weights, and standardise the inputs.
# - One unit cannot compute XOR. A better input makes it easy, and the rest of the course is about
#   learning better inputs.
#
# ## Exercises
#
# Open [exercises/01_perceptron.ipynb](exercises/01_perceptron.ipynb). You write the prediction,
# the update and the margin, build XOR from three units by hand, and find out how many *random*
# labels a perceptron can fit. Each answer is checked in the notebook.
#
# ## References
#
# - W. McCulloch, W. Pitts (1943). A logical calculus of the ideas immanent in nervous activity.
#   *Bulletin of Mathematical Biophysics* 5, 115-133.
# - F. Rosenblatt (1958). The perceptron: a probabilistic model for information storage and
#   organization in the brain. *Psychological Review* 65(6), 386-408.
# - A. Novikoff (1962). On convergence proofs on perceptrons. *Symposium on the Mathematical
#   Theory of Automata* 12, 615-622. The proof of this lesson; independently H. D. Block (1962),
#   The perceptron: a model for brain functioning I, *Reviews of Modern Physics* 34, 123-135.
# - M. Minsky, S. Papert (1969). *Perceptrons*. MIT Press. Chapter 3: parity, of which XOR is the
#   case of two inputs.
# - S. Muroga (1971). *Threshold Logic and Its Applications*. Wiley. Numbers of threshold
#   functions; also sequence A000609 of the On-Line Encyclopedia of Integer Sequences.
# - S. Gallant (1990). Perceptron-based learning algorithms. *IEEE Transactions on Neural
#   Networks* 1(2), 179-191. The pocket algorithm.
# - Y. Freund, R. Schapire (1999). Large margin classification using the perceptron algorithm.
#   *Machine Learning* 37, 277-296. Voted and averaged perceptron; section 3 has the bound.
# - W. N. Street, W. Wolberg, O. Mangasarian (1993). Nuclear feature extraction for breast tumor
#   diagnosis. *SPIE* 1905, 861-870. The breast cancer data.
# - E. Alpaydin, C. Kaynak (1998). Cascading classifiers. *Kybernetika* 34(4), 369-374. The
#   digits.
