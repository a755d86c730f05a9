# %% [markdown] tags=["edition-2"]
# # 01 · The perceptron
#
# **How can a machine learn from nothing but its own mistakes, and when can it not?**
#
# **You need** school algebra (vectors, the dot product, a line in the plane), some Python and NumPy.
#
# **You will build** one artificial neuron and its learning rule, about twenty lines in all. It
# learns to tell malignant tumours from benign ones. You will watch the proof that it must succeed
# where success is possible, and you will see a table of four rows on which it must fail.
#
# **Time** about 1 minute to run on a laptop with 2 cores, and 40 minutes to read.

# %% tags=["hide"]
# @title Imports
import itertools

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linprog
from scipy.stats import spearmanr
from sklearn.linear_model import Perceptron
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import BLUE, GREY, ORANGE, RED, show, use_style
from kerasllm.course.palette import tint
from kerasllm.data import load

use_style()

# %% [markdown]
# Every lesson begins with its dials: how much it does. `dial(50, smoke=8)` is simply 50; the second
# number is for the tests of the course, which only look whether everything runs. Change the first
# as you like.

# %%
EPOCHS = dial(50, smoke=8)  # passes over the training part
SPLITS = dial(10, smoke=2)  # ways to divide the patients into two parts
PATIENCE = dial(2_000, smoke=20)  # passes before we give up
PAIRS = dial(45, smoke=6)  # pairs of digits; 45 is all of them

# %% [markdown]
# ## Try it in your head
#
# A doctor takes a few cells from a lump in the breast with a thin needle, and a picture of them is
# measured. Is the tumour malignant? The data set has 569 patients (Street, Wolberg and Mangasarian
# 1993). One measurement of a patient, such as the mean radius of the cell nuclei, is called a
# **feature**. The right answer of a patient, malignant or benign, is her **label**; we write it as
# $+1$ or $-1$. Here are six patients with two of their thirty features: the radius, and the texture,
# which says how much the grey of the picture varies. For two patients the label is hidden. What do
# you say?

# %%
cancer = load("breast-cancer")  # a table: 30 features, a label and a split
measured = cancer.drop(columns=["label", "split"]).to_numpy()  # (569, 30)
label = np.where(cancer["label"] == "malignant", 1, -1)  # (569,)

print("patient   radius  texture   label")
for patient in (3, 19, 21, 25, 37, 39):
    radius, texture = measured[patient, :2]
    known = "?" if patient in (3, 37) else cancer["label"][patient]
    print(f"{patient:7d}   {radius:6.2f}  {texture:7.2f}   {known}")

# %% [markdown]
# Keep your answers for a moment. A rule must be judged on patients from whom nothing was learned,
# because a list of all answers would be perfect on the patients in it and useless for the next one.
# So we divide the rows. The **training part**, here three quarters of the patients, is what we may
# learn from. The **test part** is the rest, which is only used to judge. The **accuracy** of a rule
# is the share of rows for which its answer is the label. Two rules without learning set the scale:
# always say benign, and say malignant if the radius is above 15.


# %%
def divide(seed):
    """Row numbers of the training and of the test part; the same seed gives the same chance again."""
    return train_test_split(np.arange(len(label)), test_size=0.25, stratify=label, random_state=seed)


def accuracy(answers, truth):
    return np.mean(answers == truth)


train, test = divide(seed=0)  # (426,), (143,)
by_hand = np.where(measured[:, 0] > 15, 1, -1)
print("patient 3:", cancer["label"][3], "  patient 37:", cancer["label"][37])
print(f"always benign: accuracy {accuracy(-1, label[test]):.3f} on the test part")
print(f"radius above 15:        {accuracy(by_hand[test], label[test]):.3f}")

# %% [markdown]
# The rule by hand fails for patient 3, whose tumour is malignant although its nuclei are small.
# Still it is far better than always saying benign. But who chose the 15? We did, by looking at all
# patients, even at those of the test part. That is a small unfair advantage. With thirty features
# nobody can look, so we want a machine that finds such numbers itself.
#
# ## One unit
#
# Both rules have the same form. Each feature $x_j$ is multiplied by a number $w_j$, its **weight**,
# which says how much the feature counts and in which direction. The products are added. The **bias**
# is a constant $b$ that is added to them; it moves the border without looking at any feature. The sum
# is the *score* $s$, and the unit answers with its sign:
#
# $$ s = w_1 x_1 + \dots + w_n x_n + b = w \cdot x + b, \qquad
# \text{answer} = \begin{cases} +1 & \text{if } s > 0 \\ -1 & \text{otherwise.} \end{cases} $$
#
# The rule by hand is $w = (1, 0)$ and $b = -15$; the rule "always benign" is $w = (0, 0)$ and
# $b = -1$. The points with score 0 form the border, a line for two features and a plane for three. We
# say plane also when there are more. The unit is McCulloch's and Pitts' (1943). A **perceptron** is
# such a unit together with Rosenblatt's rule (1958), by which it learns its own weights:
#
# 1. Start with $w = 0$ and $b = 0$.
# 2. Take the next row $x$ with its label $y$. If the score has the sign of $y$, do nothing.
# 3. Otherwise it is a mistake: add $y \cdot x$ to $w$, and add $y$ to $b$.
# 4. Go on until an epoch brings no mistake. An **epoch** is one pass over all rows.
#
# In the drawing, follow the black arrows from the features to the answer, and the red one back. The
# red arrow is all that learning means here: only a wrong answer changes the weights.

# %% tags=["hide"]
# @title Drawing: a unit answers, and a mistake changes its weights
sheet = Diagram(8, 2.8)
total = sheet.box("add", (3.0, 1.75), meaning="weights")
for name, height, weight, lift in (
    ("radius", 2.4, "$w_1$", 0.17),
    ("texture", 1.75, "$w_2$", 0.12),
    ("1", 1.1, "$b$", -0.17),
):
    box = sheet.box(name, (0.8, height), width=0.95)
    sheet.arrow(box.right, total.left)
    sheet.text(((box.right[0] + total.left[0]) / 2, (height + 1.75) / 2 + lift), weight, meaning="weights")
sign = sheet.box("sign", (4.75, 1.75), meaning="subject")
same = sheet.box("right?", (6.5, 1.75), meaning="error", width=0.8)
truth = sheet.box("label $y$", (6.5, 2.5), width=0.9)
sheet.arrow(total.right, sign.left, "score $s$")
sheet.arrow(sign.right, same.left, "answer")
sheet.arrow(truth.bottom, same.top)
sheet.arrow(same.right, (7.85, 1.75), "yes: stay")
sheet.arrow(same.bottom, total.bottom, through=[(6.5, 0.8), (3.0, 0.8)], meaning="error", dashed=True)
sheet.text((4.75, 0.95), "no: a mistake", meaning="error", size=9)
sheet.text((4.75, 0.42), "add  $y \\cdot x$  to the weights and  $y$  to the bias", meaning="weights", size=9.5)
show(sheet.figure, "Radius, texture and a constant 1 are multiplied by two weights and a bias and added to a score; its"
     " sign is the answer. The answer is compared with the label. If it is wrong, a dashed red arrow leads back, and"
     " y times x is added to the weights.")  # fmt: skip

# %% [markdown]
# ## Learning on paper
#
# Take a problem for paper. Two switches are off (0) or on (1), and the answer is $+1$ when at least
# one of them is on: the logical OR. One detail first. A score of exactly 0 has no sign, and the rule
# counts it as a mistake for *both* labels, although the unit must say something and answers $-1$. In
# code a mistake is therefore $y \cdot s \le 0$. Without this a row with the label $-1$ would count as
# right from the start, although it lies on the border. Take a pencil, do the first epoch, and
# compare.

# %%
switches = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])  # (4, 2)
either = np.array([1, 1, 1, -1])

w, b, updates = np.array([0, 0]), 0, []
print("epoch     x      y   score      w after    b after")
for epoch in range(1, 10):
    before = len(updates)
    for x, y in zip(switches, either, strict=True):
        score = w @ x + b
        if y * score <= 0:
            w, b = w + y * x, b + y
            updates.append((epoch, x, w, b))
            print(f"{epoch:5d}   {x}   {y:+d}   {score:+5d}   ->   {w}     {b:+d}")
    if len(updates) == before:
        break
print(f"epoch {epoch}: no mistake, after {len(updates)} corrections w = {w}, b = {b}")

# %% [markdown]
# Seven small corrections were enough. The figure shows each of them. Triangles are rows with the
# label $+1$, the round point has $-1$, and the two colours of the ground are the two answers of the
# unit. The ring marks the row that was a mistake, and the panel shows the unit after its
# correction. Look for three things. The arrow is $w$; it stands at a right angle to the border and
# points to the $+1$ side. A row of zeros changes $b$ alone, so the border moves without turning.
# Any other row changes $w$ too, and then the border turns, unless $x$ is parallel to $w$.

# %% tags=["hide"]
# @title Figure: seven corrections and the end
LOW, HIGH = tint("subject", 0.14), tint("error", 0.16)  # the sides of -1 and of +1


def draw_unit(axes, w, b, low, high):
    side = np.linspace(low, high, 201)
    x1, x2 = np.meshgrid(side, side)
    score = w[0] * x1 + w[1] * x2 + b  # (201, 201)
    axes.contourf(side, side, score, levels=[-1e9, 0, 1e9], colors=[LOW, HIGH])
    axes.contour(side, side, score, levels=[0], colors="black", linewidths=1.3)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")


def draw_rows(axes, X, y, size):
    axes.scatter(*X[y == -1].T, c=BLUE, marker="o", s=size, lw=0, alpha=0.8, zorder=3)
    axes.scatter(*X[y == 1].T, c=RED, marker="^", s=size, lw=0, alpha=0.8, zorder=3)


figure, panels = plt.subplots(2, 4, figsize=(8, 4.5), sharex=True, sharey=True)
for number, (when, row, w_now, b_now) in enumerate([*updates, (epoch, None, w, b)], start=1):
    axes = panels.flat[number - 1]
    draw_unit(axes, w_now, b_now, -1.2, 2.3)
    draw_rows(axes, switches, either, 45)
    start = -b_now * w_now / (w_now @ w_now)  # the point of the border next to the origin
    axes.annotate("", start + 0.36 * w_now, start, arrowprops={"arrowstyle": "-|>", "lw": 1.5})
    if row is not None:
        axes.scatter(*row, s=150, facecolors="none", edgecolors="black", zorder=4)
    axes.set_title(f"correction {number}" if row is not None else f"epoch {when}: no mistake", fontsize=10)
    axes.set(xticks=[0, 1], yticks=[0, 1])
figure.supxlabel("first switch", fontsize=10)
figure.supylabel("second switch", fontsize=10)
show(figure, "Eight panels with the four points of OR. The border moves and turns after each of the seven corrections;"
     " in the last panel the single round point is alone on its side.")  # fmt: skip

# %% [markdown]
# ## Why a correction helps
#
# Suppose the row $(x, y)$ was a mistake. After the correction the score of the same row is
#
# $$ (w + yx) \cdot x + (b + y) = \underbrace{w \cdot x + b}_{\text{old score}} + y\,(|x|^2 + 1). $$
#
# Here $|x|$ is the length of $x$, and $|x|^2 = x \cdot x$. So the score moves toward the right sign
# by $|x|^2 + 1$, whatever $w$ was. That may not be enough the first time, and it may spoil other
# rows. One change makes the rest shorter: append a constant 1 to every $x$. Then the bias is one
# more weight, the score is $w \cdot x$, and the correction is the single line $w \leftarrow w +
# yx$.
#
# Another preparation is needed for real data. A correction adds the row itself. In raw numbers the
# radius is near 14 and the constant is 1, so a single mistake moves the weight of the radius fourteen
# times as far as the bias. The border turns wildly and hardly shifts. To *standardise* a column means
# to subtract its mean and divide by its standard deviation, both from the training part; then all
# columns have mean 0 and spread 1. Here are both functions.


# %%
def with_one(X):
    return np.column_stack([X, np.ones(len(X))])  # (rows, features + 1)


def standardise(X, train):
    return with_one((X - X[train].mean(axis=0)) / X[train].std(axis=0))


# %%
def learn(X, y, epochs, rng=None):
    """The perceptron's rule. Returns, for each epoch: weights, mean of all weights so far, mistakes."""
    w, total, history = np.zeros(X.shape[1]), np.zeros(X.shape[1]), []
    for epoch in range(1, epochs + 1):
        mistakes = 0
        order = np.arange(len(y)) if rng is None else rng.permutation(len(y))  # new in every epoch
        for i in order:
            if y[i] * (X[i] @ w) <= 0:
                w, mistakes = w + y[i] * X[i], mistakes + 1
            total += w
        history.append((w, total / (epoch * len(y)), mistakes))
        if mistakes == 0:
            break
    return [np.array(part) for part in zip(*history, strict=True)]


# %% [markdown]
# ## Two features, 426 patients
#
# Now the rule reads the training part, epoch after epoch, with the radius and the texture. OR came
# to rest in its fifth epoch. Will this border come to rest? Decide, then look at the next figure,
# which shows it at the end of each of the first eight epochs. The number above a panel counts the
# mistakes made on the way, while the border was still moving.

# %%
X = standardise(measured[:, :2], train)  # (569, 3)
weights, averages, mistakes = learn(X[train], label[train], EPOCHS, np.random.default_rng(0))
print("mistakes in each epoch:", *mistakes)

# %% tags=["hide"]
# @title Figure: the border after each of eight epochs
figure, panels = plt.subplots(2, 4, figsize=(8, 4.6), sharex=True, sharey=True)
for epoch, axes in enumerate(panels.flat):
    draw_unit(axes, weights[epoch], weights[epoch][2], -2.6, 4.4)
    draw_rows(axes, X[train][:, :2], label[train], 6)
    axes.set_title(f"epoch {epoch + 1}: {mistakes[epoch]} mistakes", fontsize=10)
figure.supxlabel("mean radius, standardised", fontsize=10)
figure.supylabel("mean texture, standardised", fontsize=10)
show(figure, "Eight panels, one for each epoch, with the standardised tumours and the border. Benign ones are round and"
     " malignant ones triangles. The border has about the right direction early, but it shifts and turns in"
     " every panel.")  # fmt: skip

# %% [markdown]
# It does not. The two groups overlap, so every epoch meets mistakes and every mistake moves the
# border. The weights at the end are the weights after the last mistake, good or bad by luck. Freund
# and Schapire (1999) propose a remedy: use the *mean of the weights over all steps*. A border that is
# right for many rows in a row is counted many times, and one that is soon corrected is counted
# seldom.
#
# Is this better, and by how much? One division of the patients could be luck. So we make several
# runs, each with its own division and order of rows. Within a run both candidates come from the
# *same* training after the *same* number of epochs, and only the choice of weights differs. The
# rule by hand takes part too, and so do all thirty features. The figure follows one run on the
# left, and has a dot for every run on the right. Compare the orange dots with the blue ones.


# %%
def right(X, w, rows):
    return accuracy(np.where(X[rows] @ w > 0, 1, -1), label[rows])


def compare(features, seed):
    """Test accuracy of the last weights and of the mean weights of the same run."""
    train, test = divide(seed)
    X = standardise(measured[:, features], train)
    weights, averages, _ = learn(X[train], label[train], EPOCHS, np.random.default_rng(seed))
    return right(X, weights[-1], test), right(X, averages[-1], test)


hand = np.array([accuracy(by_hand[divide(s)[1]], label[divide(s)[1]]) for s in range(SPLITS)])
last_2, mean_2 = np.array([compare([0, 1], s) for s in range(SPLITS)]).T  # (SPLITS,) each
last_30, mean_30 = np.array([compare(np.arange(30), s) for s in range(SPLITS)]).T
for name, values in [("by hand", hand), ("last, 2 features", last_2), ("mean, 2 features", mean_2),
                     ("last, 30 features", last_30), ("mean, 30 features", mean_30)]:  # fmt: skip
    print(f"{name:18s} test accuracy {values.mean():.3f}, from {values.min():.3f} to {values.max():.3f}")

# %% tags=["hide"]
# @title Figure: the last weights are luck, their mean is not
figure, (left, middle) = plt.subplots(1, 2, figsize=(8, 3.1))
epochs = np.arange(1, len(weights) + 1)
left.plot(epochs, [right(X, w, test) for w in weights], color=ORANGE, label="last weights")
left.plot(epochs, [right(X, w, test) for w in averages], color=BLUE, lw=2, label="mean weights")
left.axhline(accuracy(by_hand[test], label[test]), color=GREY, ls="--", lw=1.2, label="rule by hand")
left.set(xlabel="epoch", ylabel="test accuracy", title="Two features: the last weights jump", ylim=(0.6, 1))
left.legend(loc="lower left")
for column, values in enumerate((hand, last_2, mean_2, last_30, mean_30)):
    paint = (GREY, ORANGE, BLUE, ORANGE, BLUE)[column]
    middle.plot(column + np.linspace(-0.18, 0.18, len(values)), values, "o", color=paint, ms=4.5)
    middle.plot([column - 0.3, column + 0.3], [values.mean()] * 2, color=paint, lw=2.2)
middle.set_xticks(range(5), ["by hand", "last, 2", "mean, 2", "last, 30", "mean, 30"], fontsize=9)
middle.set(title="All runs: the mean helps with two features", ylim=(0.6, 1))
show(figure, "Left: over the epochs of one run the test accuracy of the last weights jumps up and down, that of"
     " the mean weights is nearly flat. Right: the accuracy of every run as a dot; the last weights with two"
     " features scatter widely, the mean weights less, and thirty features are highest.")  # fmt: skip

# %% [markdown]
# On the left, the orange line is the plain rule: it jumps from epoch to epoch, while the mean of
# the weights is steady. On the right, the last weights with two features are on average worse than
# our 15. The mean of the weights repairs this. With thirty features it matters little, because the
# groups overlap much less there.
#
# What we measured is collected in a table. `Claims` takes statements that could have turned out
# false, each with what it is held against, and `found.show()` prints them; a false one would stop
# the notebook. Here the ± is the spread over the ten divisions. Their test parts share patients, so
# the ± understates the doubt. Read the second verdict with care: the lead over the rule by hand is
# smaller than its spread, so on other patients it could turn around.

# %%
found = Claims("What we measured: learning from mistakes", over="divisions of the patients")
found.claim("With two features the mean of the weights is right more often", 100 * mean_2, ">", 100 * last_2,
            control="the last weights of the same runs", unit="points",
            headline="on tumours that overlap the mean of the weights is worth {difference} over the last")  # fmt: skip
found.claim(
    "The mean of the weights beats the rule by hand",
    100 * mean_2,
    ">",
    100 * hand,
    control="radius above 15",
    unit="points",
)
found.claim("Thirty features are better than two", 100 * mean_30, ">", 100 * mean_2,
            control="the same runs with two features", unit="points")  # fmt: skip
found.show()

# %%
scaled = standardise(measured, train)  # (569, 31)
ours = learn(scaled[train], label[train], 20)[0][-1]
theirs = Perceptron(max_iter=20, tol=None, shuffle=False).fit(scaled[train][:, :30], label[train])
away = np.abs(ours - np.append(theirs.coef_[0], theirs.intercept_)).max()
print(f"largest difference of a weight from scikit-learn's Perceptron: {away:.0e}")

# %% [markdown]
# The last line compares every weight with those of scikit-learn's `Perceptron` after twenty epochs
# with the rows in the same order. They agree.
#
# ## Can it be done at all?
#
# With two features the training never ended. Was it too short, or is there no line without mistakes?
# Trying longer cannot answer this. A *linear program* can: it is a solver for systems of
# inequalities, and it returns a solution or the certainty that none exists. We ask for weights with
# $y_i (w \cdot x_i) \ge 1$ for all rows. (If all scores have the right sign, a multiple of the
# weights brings them all to 1 or more, so the 1 excludes nothing.) Data are **linearly separable** if
# there are weights with which every score has the sign of its label.


# %%
def separable(X, y):
    answer = linprog(
        np.zeros(X.shape[1]),  # nothing to minimise: any solution will do
        A_ub=-y[:, None] * X,  # -y (w . x) <= -1
        b_ub=-np.ones(len(y)),
        bounds=(None, None),  # weights may be negative
    )
    return answer.status == 0  # 0: a solution was found, 2: none exists


print("two features:   ", separable(X[train], label[train]))
print("thirty features:", separable(scaled[train], label[train]))
print("thirty features, all 569 patients:", separable(standardise(measured, np.arange(569)), label))

# %% [markdown]
# With two features no line exists. With thirty a plane without mistakes does, even for all patients.
# Yet after fifty epochs our rule still made mistakes. Is it unable to find the plane, or does it need
# more time? The theory has an answer, and it names what the time depends on.
#
# ## Why it must stop: the proof
#
# Novikoff proved in 1962 that the rule stops on all separable data, and after how many mistakes at
# the latest. Two numbers describe the data. $R$ is the length of the longest row (with its 1). The
# **margin** $\gamma$ is the width of the free space beside the best border: there is a direction
# $u$ of length 1 with $y_i (u \cdot x_i) \ge \gamma > 0$ for all rows. (For a $u$ of length 1 the
# score *is* the distance from the border.) Follow two quantities through $k$ mistakes, from
# $w = 0$.
#
# 1. A mistake adds $yx$ to $w$, so $w \cdot u$ grows by $y (x \cdot u)$, which is at least $\gamma$.
#    After $k$ mistakes $w \cdot u \ge k \gamma$.
# 2. The square $|w|^2$ becomes $|w|^2 + 2 y (w \cdot x) + |x|^2$, because $y^2 = 1$. It was a
#    mistake, so the middle term is at most 0, and the square grows by at most $R^2$. After $k$
#    mistakes $|w| \le \sqrt k\, R$.
#
# So the weights get steadily closer to the right direction, and they cannot get long quickly,
# because a mistake means that $w$ and $yx$ point away from each other. Now $w \cdot u$ is $|w|$
# times the cosine of the angle between them, since $u$ has length 1, so it is never more than
# $|w|$. Together, and then divided by $\sqrt k\, \gamma$ and squared:
#
# $$ k \gamma \;\le\; w \cdot u \;\le\; |w| \;\le\; \sqrt k\, R \qquad\Longrightarrow\qquad
# k \le \Big(\frac{R}{\gamma}\Big)^2 . $$
#
# A straight line $k \gamma$ cannot stay below a square root for long, so the mistakes must end. We
# watch it happen on handwritten digits of 8 by 8 pixels (Alpaydin and Kaynak 1998), one digit
# against another. Any direction $u$ that separates the rows gives a valid limit, and the one with
# the widest margin gives the smallest. A solver looks for it, the support vector machine. (It adds
# a bias of its own, but our rows have their 1 already. Given each row a second time as $-x$ with
# the label $-y$, its bias becomes 0.)

# %%
digits = load("digits")
pixels = digits.drop(columns=["label", "split"]).to_numpy() / 16  # (1797, 64), from 0 to 1
digit = digits["label"].astype(int).to_numpy()


def pair(a, b):
    """The images of two digits with a constant 1; +1 for digit a, -1 for digit b."""
    chosen = np.isin(digit, [a, b])
    return with_one(pixels[chosen]), np.where(digit[chosen] == a, 1, -1)


def widest(X, y):
    """The direction u with the widest margin, that margin, and the length R of the longest row."""
    machine = SVC(kernel="linear", C=1e6).fit(np.vstack([X, -X]), np.append(y, -y))
    u = machine.coef_[0] / np.linalg.norm(machine.coef_)
    return u, min(y * (X @ u)), np.linalg.norm(X, axis=1).max()


# %%
def follow(X, y, rng):
    """Learns to the end and keeps the weights after each mistake: (mistakes, weights)."""
    w, kept, clean = np.zeros(X.shape[1]), [], False
    while not clean:
        clean = True
        for i in rng.permutation(len(y)):
            if y[i] * (X[i] @ w) <= 0:
                w, clean = w + y[i] * X[i], False
                kept.append(w)
    return np.array(kept)


# %%
pairs = list(itertools.combinations(range(10), 2))[-PAIRS:]
made, allowed = [], []
for a, b in pairs:
    u, gamma, R = widest(*pair(a, b))
    allowed.append((R / gamma) ** 2)
    made.append(np.mean([len(follow(*pair(a, b), np.random.default_rng(s))) for s in range(3)]))
share, rank = np.array(made) / allowed, spearmanr(allowed, made).statistic
print(f"{len(pairs)} pairs; of the allowed mistakes they use {share.mean():.0%} on average, {share.max():.0%} at most")
print(f"rank correlation of allowed and made: {rank:.2f}   most mistakes: {pairs[np.argmax(made)]}")

# %% [markdown]
# The left picture follows the four quantities of the proof for 1 against 8, mistake by mistake: the
# solid lines must stay between the dashed ones. The right picture has a point for each pair of
# digits, and on both of its axes equal steps are equal *factors*. The theorem allows what is below
# the line. Look how far below the points are, and whether they rise with it. The *rank correlation*
# printed above is 1 if both numbers put the pairs in the same order, and 0 if the orders have
# nothing to do with each other.

# %% tags=["hide"]
# @title Figure: the proof as it happens, and every pair of digits
u, gamma, R = widest(*pair(1, 8))
kept = follow(*pair(1, 8), np.random.default_rng(0))
k = np.arange(1, len(kept) + 1)
figure, (left, middle) = plt.subplots(1, 2, figsize=(8, 3.5))
left.plot(k, np.sqrt(k) * R, "--", color=ORANGE, label=r"$\sqrt{k}\,R$")
left.plot(k, np.linalg.norm(kept, axis=1), color=ORANGE, label=r"$|w|$")
left.plot(k, kept @ u, color=BLUE, label=r"$w \cdot u$")
left.plot(k, k * gamma, "--", color=BLUE, label=r"$k\gamma$")
left.set(xlabel="mistakes k", title="1 against 8: the proof as it happens")
left.legend()
line = np.array([min(allowed) / 1.5, max(allowed) * 1.5])
middle.plot(line, line, color="black", lw=1)
middle.annotate("what the theorem allows", (500, 500), (-8, 6), textcoords="offset points", ha="right", fontsize=9)
middle.scatter(allowed, made, s=18, color=BLUE)
for name in sorted({(1, 8), (8, 9)} & set(pairs)):
    place = pairs.index(name)
    middle.annotate(
        f"{name[0]}, {name[1]}",
        (allowed[place], made[place]),
        (0, -15),
        textcoords="offset points",
        fontsize=9,
        ha="center",
    )
middle.set(xscale="log", yscale="log", xlabel=r"allowed: $(R / \gamma)^2$", ylabel="mistakes made")
middle.set_title("Every pair stays below its limit")
show(figure, "Left: for 1 against 8 the four quantities stay in order, a straight line below and a square root"
     " above. Right: for every pair of digits the mistakes made lie far below the line of what is allowed, and"
     " grow with it.")  # fmt: skip

# %% [markdown]
# No point is above the line, as it must be. The limit is generous, for the proof takes the worst
# case at every step. But it ranks the pairs well: a narrow margin means many mistakes. Now to the
# tumours. The cell trains on all thirty features until an epoch has no mistake or our patience
# ends. It prints, for each division, the margin and the mistakes that the theorem allows beside
# those that the rule made. The last three columns are test accuracies: mean weights after fifty
# epochs, then mean and last weights at the end.

# %%
print("split   margin      allowed     made   epochs   mean, early   mean, at the end   last, at the end")
ends = []
for s in range(SPLITS):
    rows, judge = divide(s)
    X_s = standardise(measured, rows)
    _, gamma, R = widest(X_s[rows], label[rows])
    w_s, a_s, m_s = learn(X_s[rows], label[rows], PATIENCE, np.random.default_rng(s))
    ends.append((gamma, m_s.sum(), m_s[-1] == 0, right(X_s, a_s[-1], judge), right(X_s, w_s[-1], judge)))
    epochs = f"{len(m_s):6d}" if m_s[-1] == 0 else "no end"
    print(f"{s:5d}   {gamma:.4f} {(R / gamma) ** 2:12,.0f} {m_s.sum():8,d}   {epochs}", end="")
    print(f" {mean_30[s]:13.3f} {ends[-1][3]:18.3f} {ends[-1][4]:18.3f}")
margins, total, stopped, at_end, last_end = np.array(ends).T
together = spearmanr(margins, total).statistic
print(f"mean of the columns {mean_30.mean():33.3f} {at_end.mean():18.3f} {last_end.mean():18.3f}")
print(f"{stopped.sum():.0f} of {SPLITS} came to rest; rank correlation of margin and mistakes {together:.2f}")

# %% [markdown]
# Nine of ten divisions came to rest, so the rule can find the plane. The tenth, number 3, has by
# far the smallest margin. The theorem promises that the rule gets there, and allows more than 23
# million mistakes first. On the whole a smaller margin costs more mistakes, as the rank correlation
# says, although not in every single case: division 0 has a smaller margin than 1 and 4, and needed
# fewer.
#
# The last three columns hold a second result. All these long runs except one ended with weights
# that are right on *every* training row. Yet on the test part neither these last weights nor the
# mean of the long run are better on average than the mean after fifty epochs, when the rule still
# made mistakes. To be right on the training part and to be right on new patients are two different
# things, and lesson 06 is about the difference.
#
# ## What it cannot do
#
# Go back to the two switches and change a single label: the answer is now $+1$ when *exactly one* of
# them is on. This is the exclusive or, XOR. Suppose weights for it exist. The four rows then say
#
# $$ \begin{aligned}
# (0,0) \to -1: \quad & b \le 0 & \qquad (1,0) \to +1: \quad & w_1 + b > 0 \\
# (1,1) \to -1: \quad & w_1 + w_2 + b \le 0 & \qquad (0,1) \to +1: \quad & w_2 + b > 0
# \end{aligned} $$
#
# Add the two on the left: $w_1 + w_2 + 2b \le 0$. Add the two on the right: $w_1 + w_2 + 2b > 0$.
# One number cannot be both, so no such weights exist, and no rule can find them. The fault is not
# in the rule but in the inputs. Suppose the unit is given a third input, the product $x_1 x_2$,
# which is 1 only when both switches are on. What changes in the four inequalities? (The second on
# the left gets a new weight, and the sum no longer says anything.) The cell trains with and without
# it. In the figure, look for the points that each line on the left gets wrong.

# %%
exclusive = np.array([-1, 1, 1, -1])
plain = with_one(switches)  # (4, 3)
lifted = with_one(np.column_stack([switches, switches[:, 0] * switches[:, 1]]))  # (4, 4)
ways = {"the switches": plain, "and their product": lifted}
runs = {name: learn(rows, exclusive, 100) for name, rows in ways.items()}
for name, (_, _, mistakes) in runs.items():
    print(f"{name:18s} separable: {separable(ways[name], exclusive)!s:5s}  mistakes in each epoch:", *mistakes[:14])

# %% tags=["hide"]
# @title Figure: four points, and one more input
figure, (left, middle) = plt.subplots(1, 2, figsize=(7.4, 3.6), sharey=True)
side = np.linspace(-0.6, 1.6, 301)
x1, x2 = np.meshgrid(side, side)
w = runs["and their product"][0][-1]
score = w[0] * x1 + w[1] * x2 + w[2] * x1 * x2 + w[3]  # (301, 301)
middle.contourf(side, side, score, levels=[-1e9, 0, 1e9], colors=[LOW, HIGH])
middle.contour(side, side, score, levels=[0], colors="black", linewidths=1.3)
for slope, height in [(-1, 0.5), (-1, 1.5), (0.6, -0.3), (-0.15, 0.4)]:
    left.axline((0, height), slope=slope, color=GREY, lw=1.2)
for axes in (left, middle):
    draw_rows(axes, switches, exclusive, 90)
    axes.set(xlim=(-0.6, 1.6), ylim=(-0.6, 1.6), xticks=[0, 1], yticks=[0, 1], aspect="equal", xlabel="first switch")
left.set_ylabel("second switch")
left.set_title("XOR: every line gets at least one wrong", fontsize=10)
middle.set_title("The same unit with the product as an input", fontsize=10)
show(figure, "The four points of XOR. Left: four straight lines, each leaves at least one point on the wrong side."
     " Right: with the product as a third input two crossing lines put every point on its side.")  # fmt: skip

# %% [markdown]
# Solved, by the same rule. Seen from the switches the border now consists of two crossing lines; in
# the three dimensions of its inputs it is still one flat plane. But *we* chose the product, just as
# we chose the 15 at the start. Could other units learn to compute such inputs? The rule of this
# lesson cannot train them: it has to know whether the answer of a unit was wrong, and for a unit in
# the middle nobody says so. We would like to ask instead: if this weight changes a little, do
# things get better? But the answer of a unit jumps from $-1$ to $+1$ like a step, so almost always
# nothing changes at all. Lesson 02 makes the step smooth.

# %%
found = Claims("What we measured: when it stops, and when it cannot", over="divisions of the patients")
found.claim("The limit is generous: no pair of digits makes half of the mistakes that it allows", share.max(), "<", 0.5,
            control="half of what is allowed")  # fmt: skip
found.claim("A narrow margin means many mistakes: ranks of allowed and made agree", rank, ">", 0.8,
            control="the least that we ask for (no relation would be 0)",
            headline="limit and mistakes go together: rank correlation {measured} over pairs of digits")  # fmt: skip
found.claim("Learning on until nothing is wrong does not help on the test part", 100 * at_end, "<=", 100 * mean_30,
            control="mean weights of the same runs, stopped early", unit="points")  # fmt: skip
found.claim("XOR is learned with the product as an input", runs["and their product"][2][-1], "<",
            runs["the switches"][2][-1],
            control="the switches alone, 100 epochs", unit="mistakes in the last epoch", exact=True)  # fmt: skip
found.show()

# %% [markdown]
# ## What can go wrong
#
# The most frequent failure is silent: columns that were not standardised. The rule runs, prints an
# accuracy, and the accuracy depends on the epoch at which one happens to stop. The cell shows the
# test accuracy after each of the last five epochs, with raw and with standardised columns. The second
# failure is to judge on the training part, where a unit with many features can be perfect by chance;
# the experiment of the exercises shows how easily.

# %%
raw = with_one(measured[:, :2])  # (569, 3)
for name, rows in [("raw", raw), ("standardised", X)]:
    some, means, _ = learn(rows[train], label[train], EPOCHS, np.random.default_rng(0))
    print(f"{name:13s} last five epochs:", np.round([right(rows, w, test) for w in some[-5:]], 3),
          f"  mean weights {right(rows, means[-1], test):.3f}")  # fmt: skip

# %% [markdown]
# With raw columns the accuracy swings far more from one epoch to the next, and the mean of the
# weights does not make up for it.
#
# ## Summary
#
# - A unit adds weighted features and a bias and takes the sign; its border is a line or a plane.
# - The rule of the perceptron adds $yx$ to the weights after a mistake, and does nothing else.
# - On separable data it stops after at most $(R/\gamma)^2$ mistakes; a linear program tells whether
#   data are separable.
# - On data that overlap it never stops. Use the mean of the weights, and standardise the columns.
# - One unit cannot compute XOR. A better input makes it easy, and the rest of the course is about
#   learning better inputs.
#
# ## Exercises
#
# Open [exercises/01_perceptron.ipynb](exercises/01_perceptron.ipynb). You write the answer, the
# correction and the margin, build XOR from three units by hand, and decide whether data are
# separable. In the experiment you find out how many *random* labels one unit can fit. Each answer is
# checked.
#
# ## References
#
# - W. McCulloch, W. Pitts (1943). A logical calculus of the ideas immanent in nervous activity.
#   *Bulletin of Mathematical Biophysics* 5, 115-133.
# - F. Rosenblatt (1958). The perceptron: a probabilistic model for information storage and
#   organization in the brain. *Psychological Review* 65(6), 386-408.
# - A. Novikoff (1962). On convergence proofs on perceptrons. *Symposium on the Mathematical Theory of
#   Automata* 12, 615-622. The proof of this lesson.
# - M. Minsky, S. Papert (1969). *Perceptrons*. MIT Press. Chapter 3: parity, of which XOR is the case
#   of two inputs.
# - Y. Freund, R. Schapire (1999). Large margin classification using the perceptron algorithm.
#   *Machine Learning* 37, 277-296. Section 2 (voted and averaged weights) and section 3 (the limit).
# - W. N. Street, W. Wolberg, O. Mangasarian (1993). Nuclear feature extraction for breast tumor
#   diagnosis. *SPIE* 1905, 861-870. The tumours.
# - E. Alpaydin, C. Kaynak (1998). Cascading classifiers. *Kybernetika* 34(4), 369-374. The digits.
