# %% [markdown] tags=["edition-2"]
# # 06 · Generalisation
#
# **Why is a network right on data it has never seen?**
#
# **You need** lesson 03 (hidden layers, the validation part, baselines) and lesson 05 (Adam, weight
# decay).
#
# **You will build** a network that learns nonsense perfectly, a learning curve, early stopping, L2,
# dropout, shifted images, and batch and layer normalisation. You will see what a network learns
# first, and find out when the well-known remedies are worth something.
#
# **Time** about 2 and a half minutes to run on a laptop with 2 cores, and 40 minutes to read.

# %% tags=["hide"]
# @title Imports
import keras
import matplotlib.pyplot as plt
import numpy as np

from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import BLUE, GREY, ORANGE, curves, show, use_style
from kerasllm.data import load

use_style()

# %%
SEEDS = dial((0, 1, 2), smoke=(0,))  # repetitions of every experiment
STEPS = dial(400, smoke=20, gpu=2_000)  # training steps of every network, 50 images each
LOOKS = dial(10, smoke=2)  # times that the validation part is looked at during a training
SIZES = dial((25, 100, 400, 800), smoke=(25, 200))  # images to learn from
WIDTHS = dial((1, 4, 16, 64, 256), smoke=(1, 256))  # hidden units
RATES = dial((0.03, 0.1, 0.3, 1.0, 3.0), smoke=(0.1, 3.0))  # learning rates of deep networks

# %% [markdown]
# ## A perfect score that means nothing
#
# Take 200 images of handwritten digits and two equal networks. The first one gets the true labels.
# The second one gets the same labels in shuffled order, so that no image has anything to do with
# its label any more. Both are trained for the same number of steps. Before you read on, write down
# four numbers: how many of the 200 training images will each network get right, and how many new
# images?
#
# The data come in three parts, as in lesson 03. Only 800 images are for training here. The rest of
# the training part is added to the validation part, because a small difference between two networks
# cannot be seen on few images. The test part stays closed until remedies are compared.

# %%
digits = load("digits")
images = digits.drop(columns=["label", "split"]).to_numpy("float32") / 16  # (1797, 64)
labels = digits["label"].astype(int).to_numpy("int32")
mixed = np.random.default_rng(0).permutation(len(digits))  # the numbers of the images in a random order
part = digits["split"].to_numpy()[mixed]
rows = {name: mixed[part == name] for name in ("train", "validation", "test")}
pool, rest = np.split(rows["train"], [800])
valid = np.concatenate([rest, rows["validation"]])
print(f"{len(pool)} images to learn from, {len(valid)} for validation, {len(rows['test'])} for the test")

# %% [markdown]
# The network has one hidden layer. Two of its arguments, `l2` and `drop`, are explained below and
# do nothing yet. The training takes a fixed number of steps, each with 50 images drawn at random.
# We count steps and not epochs, because an epoch of 25 images is less training than one of 800.
# From time to time, at a *look*, it measures the loss on the validation part and keeps a copy of
# the weights; `change` and `optimizer` are for later sections. (`steps_per_execution` and
# `jit_compile` concern the speed alone.)


# %%
def network(width=256, l2=0.0, drop=0.0):
    small = keras.regularizers.L2(l2)
    hidden = keras.layers.Dense(width, activation="relu", kernel_regularizer=small)
    return keras.Sequential([keras.Input((64,)), hidden, keras.layers.Dropout(drop), keras.layers.Dense(10)])


def answers(net, x):
    return keras.ops.convert_to_numpy(net(x)).argmax(axis=1)


def right(net, rows, y=None):
    """The share of these images that get their label (or another one, y)."""
    return np.mean(answers(net, images[rows]) == (labels[rows] if y is None else y))


# %%
def train(net, x, y, seed, looks=1, change=None, optimizer=None, steps=STEPS):
    """Trains the network; returns the validation loss and the weights at so many looks."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer or keras.optimizers.Adam(3e-3), loss, steps_per_execution=10, jit_compile=False)
    rng, seen = np.random.default_rng(seed), []
    for _ in range(looks):
        drawn = rng.integers(0, len(x), 50 * steps // looks)
        batch = x[drawn] if change is None else change(x[drawn], rng)
        net.fit(batch, y[drawn], batch_size=50, verbose=0)
        seen.append((float(loss(labels[valid], net(images[valid]))), net.get_weights()))
    return seen


# %%
def trained(n, seed, y=None, looks=1, change=None, steps=STEPS, **parts):
    """A new network, trained on n images; and what was seen at its looks."""
    keras.utils.set_random_seed(seed)
    net = network(**parts)
    x, y = images[pool[:n]], labels[pool[:n]] if y is None else y
    return net, train(net, x, y, seed, looks, change, steps=steps)


# %%
fits, news = {"true": [], "shuffled": []}, {"true": [], "shuffled": []}
for seed in SEEDS:
    shuffled = np.random.default_rng(seed).permutation(labels[pool[:200]])
    for name, y in {"true": labels[pool[:200]], "shuffled": shuffled}.items():
        net, _ = trained(200, seed, y)
        fits[name].append(right(net, pool[:200], y))
        news[name].append(right(net, valid))
for name in fits:
    on_old, on_new = np.mean(fits[name]), np.mean(news[name])
    print(f"{name:8s} labels: right on its training images {on_old:.3f}, on new ones {on_new:.3f}")

# %% [markdown]
# Both networks are right on all their training images, or nearly all, and one of them knows
# nothing. This is the experiment of Zhang et al. (2017), who did it with a million photographs.
# **Generalisation** is being right on data that were not used for training. The experiment shows
# that a good fit does not explain it, and that the size of the network does not explain it either,
# for both networks have the same size, the same training and the same fit. What is it then?
#
# ## Counting what survives
#
# One explanation is simple and almost right. Suppose that a learner chooses among $H$ rules, and
# that a rule is *bad* if it is wrong on more than a tenth of all images. A bad rule gets one random
# training image right with a probability of at most 0.9. It gets $n$ of them right with at most
# $0.9^n$, because the images are drawn independently. So of all bad rules at most $H \cdot 0.9^n$
# are expected to survive the training images. On paper: with $H = 1000$ and $n = 100$ this is $1000
# \cdot 0.0000266 = 0.027$. Then a rule that fits is almost surely good, *whichever* the training
# finds.
#
# One word comes out of this argument. The **capacity** of a model is the variety of rules that it
# can express, here $H$. A model of low capacity that fits is therefore to be believed, and for a
# model of high capacity we need more data. Now put in our network. It has 19,210 weights, and the
# computer stores each in 32 bits. Every pattern of bits can be another rule, so $H$ is $2^{32 \cdot
# 19210}$. We ask for which $n$ the number of bad survivors, $H \cdot 0.9^n$, falls to 1. The
# logarithm gives $n = \ln H / (-\ln 0.9)$. The argument promises nothing before this number of
# images, which the cell prints, and we have 200.
#
# Is that a defect of the calculation, or do bad rules really exist among those that fit 200 true
# labels? We can make one: the training gets these 200 images and 200 more with shuffled labels, and
# three times the steps, because there is more to learn. Compare the two numbers in the last line.

# %%
weights = network().count_params()
needed = weights * 32 * np.log(2) / -np.log(0.9)  # H · 0.9ⁿ = 1, solved for n
print(f"1000 rules, 100 images: {1000 * 0.9**100:.3f} bad rules survive")
print(f"{weights} weights of 32 bits: the argument needs {needed:,.0f} images")
fit, new = [], []
for seed in SEEDS:
    shuffled = np.random.default_rng(seed).permutation(labels[pool[200:400]])
    net, _ = trained(400, seed, np.concatenate([labels[pool[:200]], shuffled]), steps=3 * STEPS)
    fit.append(right(net, pool[:200]))
    new.append(right(net, valid))
print(f"200 true and 200 shuffled labels: right on the true ones {np.mean(fit):.3f}, on new images {np.mean(new):.3f}")

# %% [markdown]
# Bad rules do exist: this network fits the 200 true labels and is wrong on a large share of the new
# images. The network that got the 200 alone could have become this one, for it has the same weights
# to set. Why does the training not go there when nothing pushes it?
#
# ## Too little and too much
#
# The classical fear is best seen with four points: (0, 0), (1, 2), (2, 1), (3, 3). The straight
# line with the smallest squared error is $y = 0.8x + 0.3$. A cubic has four coefficients and goes
# through all four points. Now ask both for $x = 4$. The line says 3.5. For the cubic write the
# values and their differences: 0, 2, 1, 3; then 2, −1, 2; then −3, 3; then 6. A cubic keeps its
# third differences equal, so we add a second 6 at the end and go back: −3 and 3 are followed by 9,
# then 2 and −1 and 2 by 11, and at last 0, 2, 1, 3 by 14. The picture shows both.

# %% tags=["hide"]
# @title Drawing: a line and a cubic through four points
points_x, points_y = np.array([0, 1, 2, 3]), np.array([0, 2, 1, 3])
grid = np.linspace(-0.3, 4.05, 200)
line, cubic = np.polyfit(points_x, points_y, 1), np.polyfit(points_x, points_y, 3)
figure, ax = plt.subplots(figsize=(6.6, 3.1))
ax.plot(grid, np.polyval(cubic, grid), color=ORANGE)
ax.plot(grid, np.polyval(line, grid), color=BLUE)
ax.plot(points_x, points_y, "o", color="black", zorder=4)
for coefficients, name, color in ((line, "line: 3.5", BLUE), (cubic, "cubic: 14", ORANGE)):
    ax.plot(4, np.polyval(coefficients, 4), "o", color=color)
    ax.annotate(name, (4, np.polyval(coefficients, 4)), (9, -3), textcoords="offset points", color=color)
ax.set(title="The cubic fits all four points and says 14 for the next", xlabel="x", ylabel="y", xlim=(-0.4, 4.75))
show(figure, "Four points that rise with a zigzag. A line runs between them to 3.5 at x = 4. A cubic goes through all"
     " of them and shoots up to 14 at x = 4.")  # fmt: skip

# %% [markdown]
# The cubic shows **overfitting**: it follows accidents of the training data, so that it is good
# there and bad elsewhere. The opposite is **underfitting**, when a model cannot even follow the
# training data, as a horizontal line could not. From here many books draw a valley: with growing
# capacity the error on new data first falls and then rises. Does it rise for our network? We train
# widths from 1 to 256 hidden units on the 200 images, once with true labels and once with a fifth
# of them replaced by a wrong digit. The wrong ones are accidents that we know, because we made
# them. Look at where the lines for new images have their lowest point. The lines are means over the
# seeds, and a shade reaches from the lowest seed to the highest.


# %%
def spoiled(n, seed):
    """The first n labels with a fifth of them wrong; and where these are."""
    rng, y = np.random.default_rng(100 + seed), labels[pool[:n]].copy()
    wrong = rng.permutation(n)[: n // 5]
    y[wrong] = (y[wrong] + rng.integers(1, 10, len(wrong))) % 10
    return y, wrong


tables = [(name, where) for name in ("true", "a fifth wrong") for where in ("training", "new")]
errors = {table: np.zeros((len(SEEDS), len(WIDTHS))) for table in tables}
for i, seed in enumerate(SEEDS):
    for name, y in {"true": labels[pool[:200]], "a fifth wrong": spoiled(200, seed)[0]}.items():
        for j, width in enumerate(WIDTHS):
            net, _ = trained(200, seed, y, width=width)
            errors[name, "training"][i, j] = 1 - right(net, pool[:200], y)
            errors[name, "new"][i, j] = 1 - right(net, valid)
for (name, where), table in errors.items():
    print(f"{name:13s} {where:8s}", table.mean(axis=0).round(3))

# %% tags=["hide"]
# @title Figure: error against capacity
figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.4), sharey=True)
for ax, name, title in zip(
    axes,
    ("true", "a fifth wrong"),
    ("True labels: width does no harm", "A fifth wrong: too wide is worse"),
    strict=True,
):
    for where, color in (("training", GREY), ("new", BLUE)):
        table = errors[name, where]
        ax.fill_between(WIDTHS, table.min(axis=0), table.max(axis=0), color=color, alpha=0.15, linewidth=0)
        ax.plot(WIDTHS, table.mean(axis=0), "o-", color=color, label=f"{where} images")
    ax.set(xscale="log", title=title, xlabel="hidden units", ylim=(0, None))
    ax.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
    ax.minorticks_off()
axes[0].set_ylabel("share wrong")
axes[1].legend()
show(figure, "Share wrong against hidden units, two panels. With true labels both lines fall and stay down. With a"
     " fifth wrong the training line falls to zero; that of new images is lowest at 16 units, then rises.")  # fmt: skip

# %% [markdown]
# One and four units underfit: both lines are high, so in these steps the networks do not even learn
# what they were told. From 16 units on, the two panels differ. With wrong labels we see the valley.
# The error of 16 units on the training images is nearly the fifth that is wrong, as if they had
# learned the rest; 256 units have learned the wrong labels as well, and are worse on new images.
# With true labels there is no valley. The widest network has 19,210 weights for 200 images, fits
# every image, and is as good on new ones as any. So capacity does harm where there are accidents to
# learn, and little where there are none. The counting argument looked at the worst rule that fits;
# training finds a much better one. How does it find that?

# %% [markdown]
# ## What is learned first
#
# The wrong labels let us watch the fit from the inside. For each of the 40 spoiled images there are
# two answers: the true digit, which nobody told the network, and the wrong label, which it was
# told. We use the copies of the weights that the training kept, and ask at each of them how many of
# these images get which answer. If training only stored pairs of image and label, the true digit
# would never be answered more often than by chance. Make a guess first.

# %%
moments = STEPS // LOOKS * np.arange(1, LOOKS + 1)
says_true, says_told, new = [], [], []  # one row for each seed, one number for each look
for seed in SEEDS:
    y, wrong = spoiled(200, seed)
    net, seen = trained(200, seed, y, LOOKS)
    said = []
    for _, weights in seen:
        net.set_weights(weights)
        said.append((answers(net, images[pool[wrong]]), right(net, valid)))
    says_true.append([np.mean(one == labels[pool[wrong]]) for one, _ in said])
    says_told.append([np.mean(one == y[wrong]) for one, _ in said])
    new.append([share for _, share in said])
for name, table in {"true digit": says_true, "wrong label": says_told, "new images right": new}.items():
    first, *_, last = np.mean(table, axis=0)
    print(f"{name:16s} after {moments[0]} steps {first:.2f}, at the end {last:.2f}")

# %% tags=["hide"]
# @title Figure: first the rule, then the exceptions
lines = {"new images right": new, "spoiled: the true digit": says_true, "spoiled: the wrong label": says_told}
figure = curves(moments, lines, title="First the network learns the digits, then the wrong labels by heart",
                x_label="training steps", y_label="share of answers",
                colors={"spoiled: the wrong label": "error", "spoiled: the true digit": "output"})  # fmt: skip
figure.axes[0].set_ylim(0, 1)
show(figure, "Three lines over the training steps. The share of spoiled images that get their true digit is high at"
     " first and falls; the share that get the wrong label rises. New images are right most often early.")  # fmt: skip

# %% [markdown]
# After the first 40 steps four of five spoiled images get their *true* digit, although their label
# in the training says something else. The network has learned what digits look like from the other
# 160 images, and a wrong label among them looks like an accident. Only later does it learn the
# accidents too, until it answers nearly all of them with the label it was told. Meanwhile it gets
# worse on new images. A likely reason lies in the gradient, although we have not measured it.
# Images of the same digit are similar, so their gradients point in similar directions and add up;
# an exception pulls against many and wins only when the many are satisfied and their gradients have
# become small. So training prefers a pattern to a list of exceptions as long as there is a pattern.
# Arpit et al. (2017) found the same in larger networks.
#
# ## More data
#
# The **learning curve** shows the error on new data against the number of training images. It is
# the figure that answers our question, so its controls matter. Each network gets the same number of
# steps, because otherwise more data would also mean more training. One control has shuffled labels
# at every size. The other is a narrow network with four hidden units, whose capacity is low; it
# gets a second chance with five times the steps. Both axes of the figure are logarithmic: a
# straight line means that each doubling of the data takes away the same share of the mistakes. Look
# for the line that is nearly straight.

# %%
kinds = {"256 units": {}, "4 units": {"width": 4}, "256 units, shuffled labels": {}}
curve = {kind: np.zeros((len(SEEDS), len(SIZES))) for kind in kinds}
for kind, parts in kinds.items():
    for i, seed in enumerate(SEEDS):
        for j, n in enumerate(SIZES):
            y = labels[pool[:n]]
            if "shuffled" in kind:
                y = np.random.default_rng(seed).permutation(y)
            net, _ = trained(n, seed, y, **parts)
            curve[kind][i, j] = 1 - right(net, valid)
for kind, table in curve.items():
    print(f"{kind:27s}", *(f"{n}: {error:.3f}" for n, error in zip(SIZES, table.mean(axis=0), strict=True)), sep="   ")
longer = [1 - right(trained(SIZES[-1], seed, steps=5 * STEPS, width=4)[0], valid) for seed in SEEDS[:2]]
print(f"4 units, {SIZES[-1]} images, five times the steps: {np.mean(longer):.3f}")
left = (curve["256 units"][:, -1].mean() / curve["256 units"][:, 0].mean()) ** (1 / np.log2(SIZES[-1] / SIZES[0]))
print(f"256 units: one doubling of the data takes away {1 - left:.0%} of the mistakes on average")

# %% tags=["hide"]
# @title Figure: the learning curve
figure = curves(SIZES, curve, title="Data with a pattern, and more of it: that is what makes a network right",
                x_label="training images; the same number of steps for all", y_label="share of new images wrong",
                log_x=True, log_y=True, colors={"256 units, shuffled labels": "given"})  # fmt: skip
ticks = [0.05, 0.1, 0.2, 0.4, 0.9]
figure.axes[0].set_yticks(ticks, [str(tick) for tick in ticks])
show(figure, "Error on new images against the number of training images, both axes logarithmic. The wide network falls"
     " in nearly a straight line. Four units fall less and flatten. Shuffled labels stay at 0.9.")  # fmt: skip

# %% [markdown]
# The blue line is the answer in one picture. With 25 images more than a quarter of the new ones are
# wrong, with 800 two or three in a hundred, although all networks were trained equally long. It is
# nearly straight: a doubling of the data takes away about the share that the cell printed. The grey
# line is the same network with the same amount of data and no pattern: it stays at nine in ten
# wrong, which is guessing, however many images it learns by heart. The orange line falls too, but
# slowly, and it ends far higher. Part of this is slow training, since five times the steps take
# away more than half of the mistakes. Even so the four units are wrong several times as often as
# the wide network, so data and time do not replace capacity here.
#
# So a network is right on new data for three reasons together. The data have a pattern. The
# training finds patterns before exceptions. And with more data a false pattern is more often
# contradicted by some image, so that fewer of them are left to be found. Capacity must be large
# enough for the pattern, and beyond that it matters less than one would fear.

# %%
few, middle = len(SIZES) // 2 - 1, len(WIDTHS) // 2
found = Claims("What we measured about fit, size and data")
found.claim("The network fits shuffled labels as well as true ones", fits["shuffled"], ">=", fits["true"],
            tolerance=0.03, control="the same images with true labels", unit="of the training images")  # fmt: skip
found.claim("With the same fit, only true labels make it right on new images", news["true"], ">", news["shuffled"],
            control="the same network, shuffled labels",
            headline="two equal networks fit their 200 images: of new ones {measured} are right after true labels,"
            " {bound} after shuffled ones")  # fmt: skip
found.claim("Early on, spoiled images get their true digit more often than the label they were told",
            [row[0] for row in says_true], ">", [row[0] for row in says_told],
            control="the wrong label, at the same look")  # fmt: skip
harm = {name: errors[name, "new"][:, -1] - errors[name, "new"][:, middle] for name in ("true", "a fifth wrong")}
found.claim("Too much width costs something with wrong labels only", harm["a fifth wrong"], ">", harm["true"],
            control=f"true labels; {WIDTHS[-1]} units minus {WIDTHS[middle]} units", unit="more wrong")  # fmt: skip
found.claim("More images, fewer mistakes", curve["256 units"][:, -1], "<", curve["256 units"][:, few],
            control=f"{SIZES[few]} images", headline=f"of new digits {{measured}} are wrong after {SIZES[-1]} images,"
            f" {{bound}} after {SIZES[few]}, with the same number of steps")  # fmt: skip
found.show()

# %% [markdown]
# ## Remedies
#
# If the rule is learned first and the exceptions later, there are several ways to keep the first
# and avoid the second. **Early stopping** looks at the validation loss from time to time and goes
# back to the weights for which it was lowest (Prechelt 1998). It needs no further training, since
# ours has kept these weights, but it needs validation images. (Keras has a callback for it,
# `keras.callbacks.EarlyStopping`.) **L2 regularisation** adds the sum of the squared weights of a
# layer, here the hidden one, times a small number, to the loss. So a weight becomes large only if
# this lowers the loss on the data by more than it adds. It is a relative of the weight decay of
# lesson 05, and for plain SGD the two are the same.
#
# **Dropout** switches each hidden unit off with a probability, anew at every training step, and
# makes the others larger so that the sum stays the same on average (Srivastava et al. 2014). A unit
# can then not rely on one other unit, which an exception learned by heart often needs. When the
# network is used, all units are on. Finally **data augmentation** makes more images out of those we
# have by a change that does not change the label. We move each image by one pixel or leave it, in
# each direction, anew at each step.

# %% tags=["hide"]
# @title Drawing: dropout at two steps and in use
sheet = Diagram(7.6, 2.5)
for panel, (title, off) in enumerate({"one step": (1, 4), "the next step": (0, 2), "in use": ()}.items()):
    left = 0.5 + 2.55 * panel
    sheet.text((left + 0.75, 2.3), title)
    ins, outs = [(left, 0.5 + 0.5 * i) for i in range(3)], [(left + 1.5, 0.75 + 0.5 * i) for i in range(2)]
    hidden = [(left + 0.75, 0.25 + 0.4 * i) for i in range(5)]
    for i, (hx, hy) in enumerate(hidden):
        for (ax_, ay), (bx, by) in [(one, (hx, hy)) for one in ins] + [((hx, hy), one) for one in outs]:
            if i not in off:
                sheet.arrow((ax_, ay), (bx, by), head=False, meaning="weights", width=0.6)
        sheet.circle("", (hx, hy), meaning="given" if i in off else "state", size=0.22)
        if i in off:
            sheet.text((hx, hy), "×", meaning="given", size=9, zorder=5)
    for at in ins + outs:
        sheet.circle("", at, meaning="state", size=0.22)
show(sheet.figure, "A small network three times: three inputs, five hidden units, two outputs. At one step two hidden"
     " units are off and have no lines, at the next step two others. In use all five are on.")  # fmt: skip


# %%
def shifted(x, rng):
    """Each image moved by -1, 0 or 1 pixels, down and to the right; empty pixels are 0."""
    padded = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    down, across = rng.integers(0, 3, (2, len(x)))
    places = np.arange(8)
    rows, columns = down[:, None] + places, across[:, None] + places  # (images, 8)
    return padded[np.arange(len(x))[:, None, None], rows[:, :, None], columns[:, None, :]].reshape(-1, 64)


x = np.ones((4, 5))
kept = np.random.default_rng(0).random((4, 5)) > 0.5  # dropout of 1/2, in the open
print("five units, four steps, half of them off:\n", np.where(kept, x / 0.5, 0))
for steps in (STEPS, 5 * STEPS):
    shares = [right(trained(200, seed, change=shifted, steps=steps)[0], valid) for seed in SEEDS[:2]]
    print(f"shifted images, {steps} steps: {np.mean(shares):.3f} right on the validation part")

# %% [markdown]
# The last two lines show that shifted images need more steps, because there are nine versions of
# each. Compare them with the network on true labels at the beginning of the lesson. Each remedy
# with a strength may choose among three on the validation part. Then all of them are trained with
# the same seeds and the same number of steps, once with true labels and once with a fifth wrong.
# The labels of the validation part stay right in both cases. That is kind to the remedies, which
# could make worse choices if these labels were spoiled too. Only now the test part is opened, once
# for all; one of its images is 0.3 points. In the figure each dot is a seed, the bar their mean,
# and the dashed line the mean of doing nothing. Write down which remedy you expect to be the best,
# and whether it helps with true labels.

# %%
remedies = {
    "nothing": [{}],
    "L2": [{"l2": strength} for strength in (0.001, 0.003, 0.01)],
    "dropout": [{"drop": share} for share in (0.5, 0.8, 0.9)],
    "shifted images": [{"change": shifted}],
}


def best_of(choices, y):
    """The choice with the lowest validation loss, tried with a seed of its own."""
    if len(choices) == 1:
        return choices[0]
    losses = [trained(200, 9, y, **choice)[1][-1][0] for choice in choices]
    return choices[int(np.argmin(losses))]


# %%
tested = {}
for spoil in (False, True):
    y_of = {seed: spoiled(200, seed)[0] if spoil else labels[pool[:200]] for seed in SEEDS}
    for name, choices in remedies.items():
        chosen = best_of(choices, y_of[SEEDS[0]])
        looks = LOOKS if name == "nothing" else 1  # early stopping needs copies on the way
        runs = [trained(200, seed, y_of[seed], looks, **chosen) for seed in SEEDS]
        tested[name, spoil] = [right(net, rows["test"]) for net, _ in runs]
        if name == "nothing":  # the same trainings, at their best look
            for net, seen in runs:
                net.set_weights(min(seen, key=lambda look: look[0])[1])
            tested["early stopping", spoil] = [right(net, rows["test"]) for net, _ in runs]
        if len(choices) > 1:
            print("a fifth wrong:" if spoil else "true labels:", name, "chose", chosen)
for (name, spoil), shares in tested.items():
    print("a fifth wrong" if spoil else "true labels  ", f"{name:15s} {np.mean(shares):.3f} right on the test part")

# %% tags=["hide"]
# @title Figure: what the remedies are worth
names = ["nothing", "early stopping", "L2", "dropout", "shifted images"]
figure, axes = plt.subplots(1, 2, figsize=(8.6, 2.9), sharex=True, sharey=True)
for ax, spoil, title in zip(
    axes, (False, True), ("True labels: little to gain", "A fifth of the labels wrong: all help"), strict=True
):
    for place, name in enumerate(names):
        values = 100 * np.array(tested[name, spoil])
        color = ORANGE if name == "nothing" else BLUE
        ax.plot(values, [place] * len(values), "o", color=color, alpha=0.6)
        ax.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=color, linewidth=2.5)
    ax.axvline(100 * np.mean(tested["nothing", spoil]), color=ORANGE, linestyle="--", linewidth=1)
    ax.set(title=title, xlabel="test images right, in percent", ylim=(len(names) - 0.5, -0.5))
axes[0].set_yticks(range(len(names)), names)
show(figure, "Test accuracy of five ways to train, one dot for each seed, a bar at the mean, a dashed line at nothing."
     " With true labels four rows lie together and shifted images are worse. With wrong labels all four remedies lie"
     " to the right of nothing.")  # fmt: skip

# %% [markdown]
# With a fifth of the labels wrong all remedies help, most of them by several points, because they
# keep the network from learning exceptions. With true labels, none of them helps by more than the
# seeds differ, and the shifted images are worse than nothing. More than half of this is slow
# training: on the validation part five times the steps gave back that much of what was lost. We
# leave the rest open. Early stopping did no harm that we can measure in either case, and it needs
# no choice of a strength, so it is the remedy to begin with. So a remedy is worth something where
# there are exceptions to keep out, and the validation part tells how much.
#
# ## Two layers against another trouble
#
# Two more layers are often listed among the remedies. They were invented for another trouble: in a
# deep network the size of the numbers changes from layer to layer and from step to step, so that
# one learning rate cannot suit all layers. Lesson 03 treated the beginning of the training.
# Normalisation keeps the sizes under control *during* it. The table of hidden values has a row for
# each image of the batch and a column for each unit. **Batch normalisation** gives each *column*
# the mean 0 and the variance 1, over the images of the batch (Ioffe and Szegedy 2015). **Layer
# normalisation** does so for each *row*, over the units of one image (Ba et al. 2016). Afterwards
# both multiply by a trained number and add another, one for each unit.

# %% tags=["hide"]
# @title Drawing: which numbers share a mean
sheet = Diagram(6.6, 1.95)
for left, name, note in (
    (1.6, "batch normalisation", "one mean for each unit"),
    (4.9, "layer normalisation", "one mean for each image"),
):
    shades = np.full((4, 6), 0.12)
    if left < 3:
        shades[:, 2] = 0.85
    else:
        shades[1] = 0.85
    sheet.grid((left, 0.95), (4, 6), values=shades, meaning="state", name=name, note=note, cell=0.28)
    sheet.text((left - 0.95, 0.95), "images", size=8.5, rotation=90)
show(sheet.figure, "Two tables with a row for each of four images and a column for each of six units. Batch"
     " normalisation marks one column, layer normalisation marks one row.")  # fmt: skip

# %% [markdown]
# On paper, two images and two units: the rows (1, 10) and (3, 30). The columns have the means 2 and
# 20 and the standard deviations 1 and 10, so batch normalisation gives (−1, −1) and (1, 1). The
# rows have the means 5.5 and 16.5 and the deviations 4.5 and 13.5, so layer normalisation gives
# (−1, 1) twice. The second image is three times the first, and afterwards they are equal: what a
# layer normalisation forgets is the size of a whole row. What a batch normalisation forgets depends
# on the *other* images of the batch. In use there may be a single image, so Keras keeps running
# means from the training and takes those instead.

# %%
table = np.array([[1.0, 10.0], [3.0, 30.0]], "float32")


def normalised(x, axis, eps=1e-3):
    """Mean 0 and variance 1 along the axis; eps avoids a division by 0."""
    return (x - x.mean(axis=axis, keepdims=True)) / np.sqrt(x.var(axis=axis, keepdims=True) + eps)


print("batch:", normalised(table, axis=0).round(2).tolist(), "  layer:", normalised(table, axis=1).round(2).tolist())
by_keras = keras.layers.BatchNormalization()(table, training=True), keras.layers.LayerNormalization(epsilon=1e-3)(table)
assert np.allclose([normalised(table, 0), normalised(table, 1)], by_keras, atol=1e-4)  # ours are Keras'
alone = keras.layers.BatchNormalization()(table[:1], training=True)
print("a batch of one image:", np.round(alone, 2).tolist())

# %% [markdown]
# The last line is a trap: in a batch of one image each value is its own mean, and all information
# is gone.
#
# Now the experiment. A network with six hidden layers, initialised as He et al. propose (lesson
# 03), learns from all 800 images by plain SGD, with five learning rates, without normalisation,
# with batch and with layer normalisation. Everything else is the same. Look at the largest rate at
# which each line is still high.


# %%
def deep(kind):
    parts = [keras.Input((64,))]
    for _ in range(6):
        parts.append(keras.layers.Dense(32, kernel_initializer="he_normal"))
        if kind:
            parts.append(kind())
        parts.append(keras.layers.Activation("relu"))
    return keras.Sequential([*parts, keras.layers.Dense(10)])


# %%
kinds = {"none": None, "batch": keras.layers.BatchNormalization, "layer": keras.layers.LayerNormalization}
by_rate = {name: [] for name in kinds}
for name, kind in kinds.items():
    for rate in RATES:
        keras.utils.set_random_seed(0)
        net = deep(kind)
        train(net, images[pool], labels[pool], 0, optimizer=keras.optimizers.SGD(rate))
        by_rate[name].append(right(net, valid))
    print(f"normalisation {name:6s} right on new images:", np.round(by_rate[name], 3))

# %% tags=["hide"]
# @title Figure: rates that train
figure = curves(RATES, {f"normalisation: {name}": values for name, values in by_rate.items()},
                title="With batch normalisation the network trains at all five rates", x_label="learning rate of SGD",
                y_label="new images right", log_x=True, colors={"normalisation: none": "control",
                "normalisation: batch": "subject", "normalisation: layer": "state"})  # fmt: skip
figure.axes[0].set_ylim(0, 1)
show(figure, "Share of new images right against the learning rate. Batch normalisation is high everywhere."
     " All three are equal at 0.03 and 0.1; then none falls, and layer normalisation from 1 on.")  # fmt: skip

# %% [markdown]
# At the two smallest rates all three networks are equally good, the plain one included, so
# normalisation is not what makes a network right. Without it the larger rates fail: at the largest
# the network only guesses. With batch normalisation it is as good at every rate, from 0.03 to 3.
# One reason is that an output which is divided by its own spread does not depend on the size of the
# weights before it, so weights that have become too large do no harm. This reason holds for layer
# normalisation as well, which moves the limit too, though less far; so it is not the whole
# explanation, and our experiment does not show the rest. Later lessons use it all the same, because
# it does not depend on the other examples of a batch. One seed and one depth are no law; that the
# plain network fails at a rate of 1 is clear.

# %%
gain = {spoil: np.subtract(tested["early stopping", spoil], tested["nothing", spoil]) * 100 for spoil in (False, True)}
found = Claims("What we measured about remedies, on the test part")
found.claim("With wrong labels early stopping helps", tested["early stopping", True], ">", tested["nothing", True],
            control="the same trainings to their end")  # fmt: skip
found.claim("It is worth more with wrong labels than with true ones", gain[True], ">", gain[False],
            control="the gain with true labels", unit="points")  # fmt: skip
found.claim("Batch normalisation trains at a rate where the plain network fails", by_rate["batch"][-2], ">",
            by_rate["none"][-2], control=f"no normalisation, at the rate {RATES[-2]:g}")  # fmt: skip
found.show()

# %% [markdown]
# ## What can go wrong
#
# The most common mistake is to measure in the wrong mode. Dropout and batch normalisation do one
# thing in training and another in use. `fit` and `predict` know which is which; a model that is
# called by hand with `training=True` gives answers that change from call to call, or depend on the
# other images of the batch. The second mistake is a validation part that is used for many choices:
# it is then slowly learned as well, and its numbers become too good. How much, lesson 07 measures.
#
# A belief that many bring along is that a network with more weights than examples must overfit. It
# is true of the cubic through four points. For wide networks it is often false, as the picture of
# the widths shows, and as Zhang et al. and Belkin et al. (2019) found at larger sizes. The
# experiment of the exercises shows where it is true: near the size that can *just* fit the data.
#
# ## Summary
#
# - A network can learn pure nonsense by heart, so a good fit says nothing about new data.
# - It is right on new data because the data have a pattern, the training finds patterns before
#   exceptions, and more data contradict more of the false patterns.
# - Too little capacity cannot even fit. Too much does little harm when the labels are right.
# - Early stopping, L2, dropout and changed images are worth most where labels are wrong.
#   Choose their strength on the validation part.
# - Batch normalisation lets a deep network train at rates where a plain one fails.
#   At a well chosen rate the plain one is as often right.
#
# ## Exercises
#
# Open [exercises/06_generalisation.ipynb](exercises/06_generalisation.ipynb). You count how many
# images an argument needs, take a step with L2, write dropout, early stopping and both
# normalisations. In the experiment you find the width at which a model is worst. Each answer is
# checked.
#
# ## References
#
# - C. Zhang, S. Bengio, M. Hardt, B. Recht, O. Vinyals (2017). Understanding deep learning requires
#   rethinking generalization. *ICLR*. Section 2.
# - S. Shalev-Shwartz, S. Ben-David (2014). *Understanding Machine Learning*. Section 2.3, the counting
#   argument.
# - D. Arpit and others (2017). A closer look at memorization in deep networks. *ICML*. Section 3.
# - M. Belkin, D. Hsu, S. Ma, S. Mandal (2019). Reconciling modern machine-learning practice and the
#   classical bias-variance trade-off. *PNAS* 116(32).
# - I. Goodfellow, Y. Bengio, A. Courville (2016). *Deep Learning*. Sections 5.2 (capacity) and 7.1, 7.4,
#   7.8, 7.12 (remedies).
# - L. Prechelt (1998). Early stopping: but when? In *Neural Networks: Tricks of the Trade*.
# - N. Srivastava and others (2014). Dropout: a simple way to prevent neural networks from overfitting.
#   *JMLR* 15. Section 4.
# - S. Ioffe, C. Szegedy (2015). Batch normalization. *ICML*. Section 3.
# - J. Ba, J. Kiros, G. Hinton (2016). Layer normalization. arXiv:1607.06450. Section 3.
# - E. Alpaydin, C. Kaynak (1998). Cascading classifiers. *Kybernetika* 34(4). The images.
