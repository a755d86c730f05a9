# %% [markdown] tags=["edition-2"]
# # 05 · Optimisers
#
# **The gradient says where the loss falls. But which way should a network go, and how far?**
#
# **You need** lesson 02 (gradient descent, the learning rate, batches, Keras), lesson 03 (ReLU, the
# validation part) and lesson 04 (the gradient of a matrix of weights).
#
# **You will build** momentum, Adam, AdamW and Muon in a few lines of NumPy each, equal to Keras. Then you
# will give each of them the best learning rate that it can find, with and without a schedule, and see how
# much of the difference between them is left.
#
# **Time** about 2 minutes to run on a laptop with 2 cores, and 40 minutes to read.

# %% tags=["hide"]
# @title Imports
import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import bars, show
from kerasllm.course.palette import GREY, STYLE, color
from kerasllm.data import load
from kerasllm.training import warmup_cosine

# %%
STEPS = dial(150, smoke=30)  # training steps of every network, 64 images each
RATES = dial(7, smoke=2)  # learning rates tried for every optimiser
SEEDS = dial(3, smoke=1)  # repetitions while we choose a rate
FRESH = dial(5, smoke=2)  # other repetitions, for the test part


# %% [markdown]
# ## One rate for two directions
#
# Lesson 02 went down a loss surface in steps of $-\eta g$: the gradient $g$ times the learning rate
# $\eta$. Let us do the same in a long valley, $f(w) = \tfrac12 (w_1^2 + 25\,w_2^2)$. Along $w_1$ it is
# nearly flat, along $w_2$ it is steep, and its lowest point is $(0, 0)$. The gradient is $(w_1,\
# 25\,w_2)$, so one step multiplies $w_1$ by $1 - \eta$ and $w_2$ by $1 - 25\,\eta$.
#
# Before you go on, write down the largest rate that you would use. How many steps does $w_1$ then
# need to come ten times closer to 0? On paper: $|1 - 25\,\eta|$ must stay below 1, so $\eta$ must
# stay below $2/25 = 0.08$. But $w_1$ then shrinks by only 8% a step, and needs 28 steps, since
# $0.92^{28}$ is about 0.1. The steep direction sets the limit, and the flat one is slow. In the code
# `memory` is a dictionary for what an optimiser keeps between two steps; SGD keeps nothing.


# %%
def sgd(w, g, memory, rate):
    return w - rate * g


def walk(step, rate, curvature=(1.0, 25.0), steps=60):
    """The path down the valley, from (-4, 1): (steps + 1, 2)."""
    path, memory = [np.array([-4.0, 1.0])], {}
    for _ in range(steps):
        gradient = np.array(curvature) * path[-1]
        path.append(step(path[-1], gradient, memory, rate))
    return np.array(path)


for rate in (0.010, 0.079, 0.081):
    w1, w2 = walk(sgd, rate, steps=300)[-1]
    print(f"rate {rate:.3f}, after 300 steps: w1 = {w1:7.3f}, w2 = {w2:7.3f}")

# %% [markdown]
# At 0.010 $w_1$ still has a way to go after 300 steps, and just above 0.08 $w_2$ explodes. A network
# has thousands of directions, and nobody tells us how steep each is. There are two ways out. One may
# remember earlier gradients: where their sign stays the same, no step has jumped over the lowest
# point, so one may go faster. And one may give each direction a rate of its own. The drawing leads
# from the gradient (red) to the step (green); what each optimiser keeps is purple, and what it
# computes from that is grey.

# %% tags=["hide"]
# @title Drawing: what each optimiser does with a gradient
sheet = Diagram(8, 3.3)
rows = {
    "SGD": (),
    "momentum": (("weights", "sum of past gradients\nthat fades"),),
    "Adam": (("weights", "mean of g,\nmean of g²"), ("given", "divide each number\nby its usual size")),
    "Muon": (("weights", "sum of past gradients\nthat fades"), ("given", "make all directions\nequally long")),
}
for row, (name, parts) in enumerate(rows.items()):
    y = 2.75 - 0.76 * row
    sheet.text((0.95, y), name, align="right")
    before = sheet.box("g", (1.35, y), meaning="error", width=0.45, height=0.4)
    for at, (meaning, text) in zip((3.0, 5.15), parts, strict=False):
        box = sheet.box(text, (at, y), meaning=meaning, width=1.7, height=0.54, size=8.5)
        sheet.arrow(before.right, box.left, meaning="error")
        before = box
    last = sheet.box("times −η", (7.0, y), meaning="output", width=0.9, height=0.4)
    sheet.arrow(before.right, last.left, meaning="error")
show(sheet.figure, "Four rows from the gradient g to a step. SGD multiplies it by the rate. Momentum first adds it to a"
     " fading sum. Adam keeps two means and divides. Muon keeps the sum and evens its directions out.")  # fmt: skip


# %% [markdown]
# ## Momentum and Adam
#
# **Momentum** is a fading sum of past gradients that is used in place of the gradient: in each step
# the sum is multiplied by 0.9, and the new gradient is added. Try it with a gradient that is always 1.
# The sum is 1, then 1.9, then 2.71, and it ends at $1/(1 - 0.9) = 10$. A gradient that changes its
# sign in every step gives 1, then −0.1, then 0.91, and never gets above 1. So momentum goes ten times
# faster where the gradients agree and no faster where they disagree.
#
# **Adam** is an optimiser that divides each number of the gradient by its own usual size. It keeps
# two running means for every weight, one of $g$ (called $m$) and one of $g^2$ (called $v$), and steps
# by $-\eta\, m/\sqrt v$. In each step the mean of $g$ keeps the share $\beta_1 = 0.9$ of itself and
# takes 0.1 of the new gradient; the mean of $g^2$ keeps $\beta_2 = 0.999$. Both means begin at 0 and
# are too small at first. If every gradient is 1, the first mean is 0.1, then 0.19, and after $t$
# steps $1 - \beta_1^t$. So Adam divides each mean by its share $1 - \beta^t$ (Kingma and Ba 2015). A
# tiny number keeps it from dividing by 0.
#
# What is the very first step, for a weight with the gradient 0.001 and for one with 1,000? Then $m =
# 0.1\,g$ and $v = 0.001\,g^2$, and the corrected values are $g$ and $g^2$. Their ratio $g/\sqrt{g^2}$
# is 1 or −1 in both cases. Adam's first step moves *every* weight by the rate, and only the signs
# count. The figure after the code shows 60 steps of each, from $(-4, 1)$ to the star at the lowest
# point, at rates that make each path easy to see. Look at the first steps, and at what happens near
# the star.


# %%
def momentum(w, g, memory, rate, fade=0.9):
    memory["v"] = fade * memory.get("v", 0) + g
    return w - rate * memory["v"]


def adam(w, g, memory, rate, beta1=0.9, beta2=0.999, tiny=1e-7):
    t = memory["t"] = memory.get("t", 0) + 1
    m = memory["m"] = beta1 * memory.get("m", 0) + (1 - beta1) * g
    v = memory["v"] = beta2 * memory.get("v", 0) + (1 - beta2) * g**2
    right_size = np.sqrt(1 - beta2**t) / (1 - beta1**t)  # both means began at 0
    return w - rate * right_size * m / (np.sqrt(v) + tiny)


# %% tags=["hide"]
# @title Figure: three paths down one valley
with mpl.rc_context(STYLE):
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.7), sharey=True)
    across, up = np.meshgrid(np.linspace(-4.6, 1.6, 120), np.linspace(-1.3, 1.3, 80))
    paths = [("SGD jumps", sgd, 0.075), ("Momentum swings", momentum, 0.02), ("Adam curves", adam, 0.25)]
    for ax, (name, step, rate) in zip(axes, paths, strict=True):
        height = (across**2 + 25 * up**2) / 2
        ax.contour(across, up, height, levels=[0.2, 1, 3, 7, 14, 25], colors="#BBBBBB", linewidths=0.8)
        ax.plot(*walk(step, rate).T, "o-", color=color("subject"), ms=2.5, lw=1)
        ax.plot(0, 0, "*", color=color("output"), ms=11)
        ax.set(title=f"{name} (rate {rate})", xlabel="$w_1$")
        ax.grid(False)
    axes[0].set_ylabel("$w_2$")
show(figure, "Three paths of 60 steps from the left end of a long valley to its lowest point. SGD jumps from wall to"
     " wall. Momentum swings past the point and returns. Adam leaves along the diagonal, then curves.")  # fmt: skip


# %% [markdown]
# SGD jumps from wall to wall because its rate is close to the limit. Momentum swings, gains speed
# along the floor, and runs past the lowest point before it returns. Adam starts along the diagonal,
# since both weights move by the rate at first, and runs past the star too.
#
# This valley lies along the axes, and so it suits Adam, which has one rate for each *axis*. What if
# the valley is turned, so that the steep direction is a mix of both weights? The next cell counts the
# steps until the height stays below 0.01, for valleys of different steepness, straight and turned by
# 45 degrees. The comparison is fair because every optimiser gets the best of 61 rates. Read each row
# from left to right for what steepness costs, and compare *straight* with *turned*.


# %%
def steps_needed(step, curvature, turned, most=1_500):
    """Steps until the height stays below 0.01, at the best of 61 rates, all of which walk side by side."""
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2) if turned else np.eye(2)  # by 45 degrees
    slopes = turn @ np.diag([1.0, curvature]) @ turn.T  # the gradient at w is slopes @ w
    w, memory, needed = np.tile(turn @ [-4.0, 1.0], (61, 1)), {}, np.zeros(61)  # w: (rates, 2)
    rates = np.geomspace(1e-4, 3, 61)[:, None]
    with np.errstate(all="ignore"):  # rates that are too large overflow
        for t in range(most):
            height = (w @ slopes * w).sum(axis=1) / 2
            needed = np.where(height < 0.01, needed, t + 1)
            w = step(w, w @ slopes, memory, rates)
    return int(needed.min())


walkers, turns = (sgd, momentum, adam), (0, 45)  # degrees
valley = {(w, k, turn): steps_needed(w, k, turn) for w in walkers for k in (25, 100, 400) for turn in turns}
for step in walkers:
    counts = (f"{k}: {valley[step, k, 0]:4d} straight, {valley[step, k, 45]:4d} turned  " for k in (25, 100, 400))
    print(f"{step.__name__:9s}", *counts)


# %% [markdown]
# For SGD, four times as steep means about four times as many steps, from 48 to 192 and to 762. Yet in
# the gentlest valley it is the fastest of the three, because a sum of old gradients overshoots.
# Momentum needs a few more each time, 65, 80 and 96, and for it the turn makes no
# difference. Adam needs about as many while the valley lies along the axes. In the two gentler
# valleys the turn costs it 4 and 6 steps. In the steepest one its 85 steps become 170, because no
# rate for a single weight fits a direction that belongs to two. Muon will look at such directions
# instead of single weights.
#
# ## Weight decay is not a penalty
#
# It often helps to keep weights small; lesson 06 asks why. One can add a penalty $\tfrac{\lambda}{2}
# w^2$ to the loss, of the strength $\lambda$, so that its slope $\lambda w$ is added to every
# gradient. Or one can use **weight decay**, which multiplies each weight by $1 - \eta\lambda$ in
# every step, beside the gradient. With SGD both are the same, for $w - \eta(g + \lambda w) = (1 -
# \eta\lambda)\,w - \eta g$. With Adam the term $\lambda w$ is divided by $\sqrt v$ as well, so a
# weight with large gradients hardly feels the penalty. **AdamW** is Adam with weight decay beside the
# gradient (Loshchilov and Hutter 2019). Two weights that start at 1 show the difference. Their
# gradients, of size 10 and 0.1, change sign in every step, so that almost nothing but the decay moves
# them. On paper AdamW multiplies both by 0.999 in each step, and $0.999^{300}$ is 0.74.


# %%
def adamw(w, g, memory, rate, decay=0.1):
    return adam(w * (1 - rate * decay), g, memory, rate)


decayed, penalised, memory_1, memory_2 = np.ones(2), np.ones(2), {}, {}
for t in range(300):
    g = np.array([10.0, 0.1]) * (-1) ** t
    decayed = adamw(decayed, g, memory_1, rate=0.01)
    penalised = adam(penalised, g + 0.1 * penalised, memory_2, rate=0.01)
print("AdamW:              ", decayed.round(2), " gradients of size 10 and 0.1")
print("Adam with a penalty:", penalised.round(2))

# %% [markdown]
# AdamW shrinks both weights alike, to 0.73. The penalty leaves the first weight nearly where it was,
# at 0.95, and pushes the second one down to 0.06.
#
# ## A real gradient
#
# Now a network: the digits of lesson 03, four hidden layers of 64 ReLU units, and ten logits. It is
# deep and narrow, because a network that is harder to train shows differences more clearly. The
# validation part chooses the rates, and the test part stays closed until the end.

# %%
digits = load("digits")


def part(name):
    rows = digits[digits["split"] == name]
    return rows.drop(columns=["label", "split"]).to_numpy("float32") / 16, rows["label"].cat.codes.to_numpy()


(x_train, y_train), (x_valid, y_valid), (x_test, y_test) = map(part, ("train", "validation", "test"))
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network():
    hidden = [keras.layers.Dense(64, "relu") for _ in range(4)]
    return keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10, name="answer")])


print(len(x_train), "training,", len(x_valid), "validation,", len(x_test), "test images")


# %% [markdown]
# To Adam the gradient of a matrix is a list of numbers. But a matrix $G$ also *moves*
# vectors. Put all arrows of length 1 into it, and out comes an ellipse, or its counterpart in many
# dimensions. It has a longest direction, a shortest one, and others between, all at right angles but
# in general not along the axes. The **singular values** of $G$ are their lengths, found by
# `np.linalg.svd`. The sum of their squares equals the sum of the squares of all numbers in $G$, its
# squared length. How does a real gradient divide this among its 64 directions? If all were alike,
# five would hold $5/64$, or 8%.


# %%
def gradient_of(model, images=64):
    """The gradient of the second hidden matrix: (64, 64)."""
    with tf.GradientTape() as tape:
        loss = cross_entropy(y_train[:images], model(x_train[:images]))
    return tape.gradient(loss, model.layers[1].kernel).numpy()


def share_of_five(matrix):
    """The share of the squared length that the five largest of all directions hold."""
    squares = np.linalg.svd(matrix, compute_uv=False) ** 2
    return squares[:5].sum() / squares.sum()


gradients = []
for seed in range(3):
    keras.utils.set_random_seed(seed)
    gradients.append(gradient_of(network()))
print("share of five directions out of 64:", *(f"{share_of_five(g):.3f}" for g in gradients))


# %% [markdown]
# Five directions hold about 96% of the squared length. One reason may be that the gradient is a sum
# over images (lesson 04), and images of one class ask for similar changes. A step along it leaves the
# other directions almost as they were.
#
# ## Muon: all directions alike
#
# **Muon** is momentum whose sum, before the step, is replaced by the matrix with the same directions
# and all singular values close to 1 (Jordan 2024). To find the directions in every step would be
# slow, but products of matrices are enough. For a single number $s$ look at the polynomial
#
# $$ p(s) = 3.4445\,s - 4.7750\,s^3 + 2.0315\,s^5 . $$
#
# Start with $s = 0.1$. On paper: $0.34445 - 0.004775 + 0.00002 = 0.3397$. Again: 0.992. From then on
# the number stays between about 0.7 and 1.2, which is near enough to 1. The factor 3.4 lifts small
# numbers, and the two other terms hold large ones down. For a matrix, $s^3$ becomes $X X^\top X$.
# This product keeps every direction and raises every singular value to its third power: if $X$
# stretches a direction by 2, then $X^\top$ and $X$ do it twice more, which makes 8. In the same way
# $s^5$ becomes $X X^\top X X^\top X$. So the polynomial acts on every singular value, and none has to
# be found. Five rounds of this method, called Newton-Schulz, are enough in practice.


# %%
def newton_schulz(x, rounds=5):
    x = x / np.linalg.norm(x)  # now no singular value is above 1
    for _ in range(rounds):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


def muon(w, g, memory, rate):
    memory["v"] = 0.95 * memory.get("v", 0) + g
    ahead = g + 0.95 * memory["v"]  # the sum as it will be if the next gradient is like this one
    return w - rate * 0.2 * np.sqrt(max(w.shape)) * newton_schulz(ahead)


s = np.array([0.003, 0.1, 0.5, 1.0])
for rounds in range(6):
    print(f"after {rounds} rounds:", s.round(3))
    s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
print("share of five directions, once evened out:", *(f"{share_of_five(newton_schulz(g)):.3f}" for g in gradients))

# %% [markdown]
# The factor $0.2\sqrt{\text{longer side}}$ gives the step about the size of one of Adam's, so that
# both can use similar rates (Liu et al. 2025). Biases and the last layer are left to Adam, because a
# bias is no matrix and the ten columns of the last layer are the answers themselves. Even 0.003 comes
# near 1 in five rounds. On the left of the figure a matrix of two by two turns the circle into an
# ellipse, and Newton-Schulz makes it round again. On the right is the real gradient: look at how
# steeply the grey line falls, and how long the blue one stays level.

# %% tags=["hide"]
# @title Figure: what Newton-Schulz does to a matrix
with mpl.rc_context(STYLE):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), width_ratios=(1, 1.6))
    angle = np.linspace(0, 2 * np.pi, 200)
    small = np.array([[0.9, 0.5], [0.5, 0.5]])
    before = [small / np.linalg.norm(small), gradients[0]]
    after = [newton_schulz(small), newton_schulz(gradients[0])]
    for (drawn, real), name, paint in ((before, "before", GREY), (after, "after", color("subject"))):
        left.plot(*(drawn @ [np.cos(angle), np.sin(angle)]), color=paint, lw=1.8)
        lengths = np.linalg.svd(real, compute_uv=False)
        right.plot(np.arange(1, 65), lengths / lengths[0], color=paint, lw=1.8, label=name)
    left.set(title="An ellipse becomes round", aspect="equal", xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
    left.text(0.88, 0.72, "before", color=GREY, ha="center", va="center", fontsize=9)
    left.text(0.7, -0.72, "after", color=color("subject"), ha="center", va="center", fontsize=9)
    right.set(title="The small directions of a real gradient catch up", yscale="log", ylim=(1e-5, 2))
    right.set(xlabel="direction, from the longest to the shortest", ylabel="length, longest = 1")
    right.legend(loc="lower left")
show(figure, "Left: a flat ellipse, and after Newton-Schulz a nearly round one. Right: the singular values of a real"
     " gradient of 64 by 64 numbers; before they fall by powers of ten, after they begin nearly level.")  # fmt: skip

# %% [markdown]
# The flat ellipse has become nearly a circle, but of radius 0.7. The real gradient has come out
# nearly level in about forty directions, and its five longest now hold about a fifth of the squared
# length. Both lines end together. Some units answered 0 to all 64 images, so their rows or columns
# have no gradient, and Muon cannot lift what is not there.
#
# Now a check: ours and Keras' optimisers get the same 30 random gradients, and the weights must agree
# after every step. (Keras' Muon has a weight decay unless one sets it to 0.) The table after it holds
# two results from above; "that valley" is the steepest one.

# %%
k = keras.optimizers
no_decay = {"weight_decay": 0.0, "adam_weight_decay": 0.0}
pairs = [(sgd, k.SGD(0.01)), (momentum, k.SGD(0.01, momentum=0.9)), (adam, k.Adam(0.01)),
         (adamw, k.AdamW(0.01, weight_decay=0.1)), (muon, k.Muon(0.01, **no_decay))]  # fmt: skip
rng = np.random.default_rng(0)
for step, theirs in pairs:
    w, memory, variable, apart = np.ones((4, 6)), {}, keras.Variable(np.ones((4, 6)), dtype="float32"), []
    for g in rng.normal(size=(30, 4, 6)):
        w = step(w, g, memory, 0.01)
        theirs.apply([tf.constant(g, "float32")], [variable])
        apart.append(np.abs(w - variable.numpy()).max())
    print(f"{step.__name__} and Keras differ by {max(apart):.0e} at most;", end=" ")
    assert max(apart) < 1e-4

# %%
mechanisms = Claims("What we measured on the way")
mechanisms.claim("Adam pays when that valley is turned", valley[adam, 400, 45], ">",
                 valley[adam, 400, 0], control="the same valley along the axes", unit="steps")  # fmt: skip
mechanisms.claim("A penalty inside Adam spares the weight with large gradients", penalised[0], ">",
                 decayed[0], control="AdamW with the same decay")  # fmt: skip
mechanisms.show()

# %% [markdown]
# ## Warm-up and decay
#
# There are two reasons to change the rate on the way. In the first steps the weights are random and
# the memories are empty, but the steps already have their full size. A **warm-up** raises the rate
# from almost nothing to its peak over the first steps. At the end the gradient of 64 images is still
# noisy, so at a large rate the weights jump around the lowest point; a rate that falls to 0 lets them
# settle. A **schedule** is a plan that says the rate of every step. Ours rises in a straight line for
# a tenth of the steps and then falls along half a cosine: slowly at first, fastest in the middle, and
# slowly at the end (Loshchilov and Hutter 2017).
#
# A Keras optimiser takes an object that is asked for the rate of each step. Ours reads it from a list, so
# that one compiled model can run with many schedules.


# %%
class Listed(keras.optimizers.schedules.LearningRateSchedule):
    """Reads the rate of every step from a list that we may change between two runs."""

    def __init__(self):
        self.rates = keras.Variable(np.zeros(STEPS), dtype="float32")

    def __call__(self, step):
        return keras.ops.take(self.rates, keras.ops.cast(step, "int32"))


step, warmup = np.arange(STEPS), STEPS // 10
rise = np.interp(step, [0, warmup], [1 / warmup, 1])  # a line, then 1
fall = (1 + np.cos(np.pi * np.clip((step - warmup) / (STEPS - warmup), 0, 1))) / 2  # 1, then half a cosine
shapes = {"constant": np.ones(STEPS), "warm-up": rise, "decay": fall, "warm-up and decay": rise * fall}
library = warmup_cosine(1.0, STEPS, warmup)
assert np.allclose(rise * fall, [float(library(t)) for t in step], atol=1e-5)  # ours is the library's

# %% [markdown]
# ## The race
#
# All optimisers start from the same weights, see the same images in the same order, and take the same
# number of steps. Each chooses among seven rates that span a factor of 100, with three seeds for each
# rate. Everything else, such as the 0.9 of momentum, keeps its usual value. One compiled model for
# each optimiser serves all its runs: `train` puts the weights of the seed back and empties the
# memory. Write down your order before you look. In the figure, compare the lowest point of the orange
# line with that of the blue one; the title of each panel gives both losses.

# %%
rate = Listed()
entrants = {  # an optimiser, and the lowest of its rates
    "SGD": (k.SGD(rate), 0.02),
    "momentum": (k.SGD(rate, momentum=0.9), 0.003),
    "Adam": (k.Adam(rate), 0.001),
    "AdamW": (k.AdamW(rate, weight_decay=0.1), 0.001),
    "Muon": (k.Muon(rate, exclude_layers=["answer"], **no_decay), 0.001),
    "momentum, clipped": (k.SGD(rate, momentum=0.9, global_clipnorm=1.0), 0.003),  # for later
}
models, starts = {name: network() for name in entrants}, {}
for name, (optimiser, _) in entrants.items():
    models[name].compile(optimiser, cross_entropy, steps_per_execution=10, jit_compile=False)
for seed in range(SEEDS + FRESH):
    keras.utils.set_random_seed(seed)
    starts[seed] = network().get_weights()


# %%
def train(name, peak, shape, seed, spoil=None):
    """The model of this name after a fresh run; `spoil` is a step whose images are 16 times too bright."""
    model = models[name]
    model.set_weights(starts[seed])
    for memory in model.optimizer.variables:
        memory.assign(keras.ops.zeros_like(memory))
    rate.rates.assign(peak * shapes[shape])
    rows = np.random.default_rng(seed).integers(0, len(x_train), 64 * STEPS)
    images = x_train[rows]
    if spoil is not None:
        images[64 * spoil : 64 * (spoil + 1)] *= 16
    model.fit(images, y_train[rows], batch_size=64, shuffle=False, verbose=0)
    return model


def valid_loss(*run, **more):
    loss = float(cross_entropy(y_valid, train(*run, **more)(x_valid)))
    return loss if np.isfinite(loss) else np.inf  # a run that exploded


# %%
racers, plans = ["SGD", "momentum", "Adam", "AdamW", "Muon"], ["constant", "warm-up and decay"]
rates = {name: np.geomspace(lowest, 100 * lowest, RATES) for name, (_, lowest) in entrants.items()}
race = {(name, plan): np.array([[valid_loss(name, peak, plan, seed) for seed in range(SEEDS)] for peak in rates[name]])
        for name in racers for plan in plans}  # (rates, seeds)  # fmt: skip
best = {run: losses.mean(axis=1).argmin() for run, losses in race.items()}
for (name, plan), losses in race.items():
    place = best[name, plan]
    print(f"{name:9s} {plan:18s} best rate {rates[name][place]:.4f}: validation loss {losses[place].mean():.3f}")

# %% tags=["hide"]
# @title Figure: loss against rate, with and without a schedule
with mpl.rc_context(STYLE):
    figure, axes = plt.subplots(1, 5, figsize=(10, 3.1), sharey=True)
    for ax, name in zip(axes, racers, strict=True):
        for plan, paint in zip(plans, ("control", "subject"), strict=True):
            losses = np.clip(race[name, plan], 0, 3)
            ax.fill_between(rates[name], losses.min(axis=1), losses.max(axis=1), color=color(paint), alpha=0.15, lw=0)
            ax.plot(rates[name], losses.mean(axis=1), "o-", color=color(paint), lw=1.8, ms=4, label=plan)
        low = [race[name, plan].mean(axis=1).min() for plan in plans]
        ax.set(title=f"{name}\n{low[0]:.2f} → {low[1]:.2f}", xscale="log", yscale="log", ylim=(0.035, 3.2))
    axes[2].set_xlabel("learning rate (of the peak); each optimiser has its own")
    ticks = [0.05, 0.1, 0.2, 0.5, 1, 2]
    axes[0].set(ylabel="validation loss", yticks=ticks, yticklabels=[f"{tick:g}" for tick in ticks])
    axes[0].minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
show(figure, "Five panels, one for each optimiser: validation loss against the rate, both logarithmic. One line is for"
     " a constant rate, one for warm-up and decay; the bands show the seeds.")  # fmt: skip

# %% [markdown]
# A rate that is too small has not arrived after so few steps, and one that is too large jumps or
# explodes. So every line is a valley, and a fair choice of rates has the lowest point inside the
# panel.
#
# Three things stand out. First, the blue valley lies to the right of the orange one in every panel,
# because a schedule spends most of its steps below the peak: the best peak is two to ten times the
# best constant rate. So it is no fair test of a schedule to add it to a rate that was chosen without
# one. Second, the lowest point falls for four optimisers, and for SGD it does not. SGD has hardly
# arrived after 150 steps at any rate, so small steps at the end come too early for it. Third, Adam
# stays below 0.2 over five of its seven rates, while SGD and Muon need theirs found more exactly.
#
# ## The test part, opened once
#
# Each number above is the lowest of seven, and the lowest of many noisy numbers is a little too low.
# So we take each optimiser at its best rate, with and without the schedule, start it from five new
# seeds, and measure on the test part.

# %%
test_loss = {}
for name, plan in race:
    peak = rates[name][best[name, plan]]
    runs = [train(name, peak, plan, seed)(x_test) for seed in range(SEEDS, SEEDS + FRESH)]
    test_loss[name, plan] = [float(cross_entropy(y_test, logits)) for logits in runs]
    print(f"{name:9s} {plan:18s} test loss {np.mean(test_loss[name, plan]):.3f}, of each seed:",
          *(f"{loss:.3f}" for loss in test_loss[name, plan]))  # fmt: skip
for name in racers:
    ours, constant, adams = (test_loss[run] for run in ((name, plans[1]), (name, plans[0]), ("Adam", plans[1])))
    gain, lead = np.subtract(ours, constant), np.subtract(ours, adams)
    print(f"{name:9s} with the schedule, minus without: {gain.mean():+.3f} ± {gain.std(ddof=1):.3f};",
          f"minus Adam, both with it: {lead.mean():+.3f} ± {lead.std(ddof=1):.3f}")  # fmt: skip

# %%
own = {name: peaks[best[name, "warm-up and decay"]] for name, peaks in rates.items() if name in racers}
plain = {name: race[name, "constant"][best[name, "constant"]] for name in racers}
shared = {}
for name in ("SGD", "Adam"):
    for peak in (0.02, 0.2):
        shared[name, peak] = np.minimum([valid_loss(name, peak, "constant", seed) for seed in range(SEEDS)], 5)
        print(f"{name:4s} at {peak:.2f}: validation loss {shared[name, peak].mean():.2f}")
copied = [valid_loss("Adam", 0.0003, "constant", seed) for seed in range(SEEDS)]
worst = max(racers, key=lambda name: plain[name].mean())
found = Claims("What we measured in the race: loss after the same number of steps")
found.claim("Adam ends lower with the schedule, on the test part", test_loss["Adam", "warm-up and decay"], "<",
            test_loss["Adam", "constant"], control="Adam at its best constant rate",
            headline="Adam at its best rate: test loss {measured} with warm-up and decay, {bound} without")  # fmt: skip
found.claim("Much of Adam's lead at one common rate is the rate", plain["SGD"] - plain["Adam"], "<",
            shared["SGD", 0.02] - shared["Adam", 0.02], control="its lead when both use 0.02")  # fmt: skip
found.claim("Adam at 0.0003, a rate often copied, is worse than the worst of the five", copied, ">",
            plain[worst], control=f"{worst} at its best constant rate")  # fmt: skip
found.show()

# %% [markdown]
# The ± is over five seeds, and each difference is taken seed by seed. The schedule helps Adam by
# 0.024 ± 0.017. For momentum, AdamW and Muon the mean falls too, but only by about as much as it
# spreads, and for SGD this experiment shows no gain. Now the names, all with the schedule. Plain SGD
# is behind Adam by 0.13, more than three times the spread. Momentum is behind by 0.02, AdamW by 0.01,
# and Muon is ahead by 0.01, but none by more than the spread. So once each has its own rate and a
# schedule, none of the three differs clearly from Adam, and that is the answer to our question. One
# pair is clearer: Muon lies below momentum in all five seeds. But we picked this pair afterwards, so
# it needs new seeds. Schmidt and others (2021) tuned fifteen optimisers on eight tasks and found no
# winner for all of them.
#
# The second claim explains many tables of others. At a common rate of 0.02, Adam leads SGD by 1.7,
# and at a common rate of 0.2 SGD leads by even more. With a rate of its own for each, also constant
# and on the validation part, Adam's lead is 0.06. So the first question about any comparison is how
# the rates were chosen.
#
# AdamW is close to Adam, because a decay of 0.1 can do little in so few steps. Muon has the lowest
# mean, but one step of it costs more, and we counted steps, not seconds.
#
# ## What each half of the schedule is worth
#
# Which half of the schedule helps? We run Adam with a constant rate, with warm-up alone, with decay
# alone, and with both. We do it at the best peak of Adam with both, and at four times that peak,
# because a schedule may matter more where the rate is too large. In the figure compare the bars
# within each group of four.

# %%
halves = {}
for times in (1, 4):
    for shape in shapes:
        runs = [valid_loss("Adam", times * own["Adam"], shape, seed) for seed in range(SEEDS + FRESH)]
        halves[f"{shape}, {times} × the best rate"] = np.minimum(runs, 3)
        print(f"{times} × {own['Adam']:.3f}, {shape:18s} validation loss {np.mean(runs):.3f}")

# %% tags=["hide"]
# @title Figure: constant, warm-up, decay, both
meanings = {name: "subject" if "and" in name else "control" if "constant" in name else "given" for name in halves}
figure = bars(
    halves,
    title="Decay does most of the work",
    x_label="validation loss of Adam, one dot for each seed",
    colors=meanings,
)
show(figure, "Eight bars with a dot for each seed: Adam at its best rate and at four times that rate, each with a"
     " constant rate, with warm-up alone, with decay alone, and with both.")  # fmt: skip

# %% [markdown]
# Decay does most of the work. At the best peak it takes the loss from 0.13 to 0.08, and at four times
# the peak from 0.26 to 0.15. Warm-up alone shows no clear change, 0.13 to 0.12 and 0.26 to 0.30.
# Together with decay it brings 0.15 down to 0.09 where the peak is too large, and 0.08 only to 0.07
# where it is right. So in this network warm-up, joined with decay, protects against a rate that is
# too large.
#
# The gain at this peak is not the value of the schedule, because the peak is too large for a constant
# rate. Against the best constant rate, the gain was 0.024 on the test part.
#
# ## When one batch is bad
#
# Suppose that one batch comes with its pixels from 0 to 16, because somebody forgot to divide. Its
# gradient is much too long. **Gradient clipping** is a limit on the length of the gradient: if the
# vector of all its numbers is longer, it is shortened to the limit, in the same direction. The cell
# spoils batch 20 and compares runs with and without a limit of 1. The clean runs show what the limit
# itself costs.

# %%
spoiled = {}
for name in ("momentum", "momentum, clipped"):
    for batch in (None, 20):
        runs = [valid_loss(name, own["momentum"], "warm-up and decay", seed, batch) for seed in range(SEEDS + FRESH)]
        spoiled[name, batch is None] = np.minimum(runs, 5)
        print(
            f"{name:18s} {'all batches clean' if batch is None else 'one batch spoiled'}: mean "
            f"{np.minimum(runs, 5).mean():.3f}, worst {max(spoiled[name, batch is None]):.3f}"
        )
rescue = Claims("What decay and clipping do")
rescue.claim("Decay alone helps Adam at four times its best rate", halves["decay, 4 × the best rate"], "<",
             halves["constant, 4 × the best rate"], control="the same rate, constant")  # fmt: skip
rescue.claim("Clipping saves the worst run with one bad batch",
             max(spoiled["momentum, clipped", False]), "<", max(spoiled["momentum", False]), control="without a limit",
             headline="one bad batch: worst validation loss {measured} with clipping, {bound} without")  # fmt: skip
rescue.claim("Clipping costs something when all batches are clean", spoiled["momentum, clipped", True], ">",
             spoiled["momentum", True], control="the same runs without a limit")  # fmt: skip
rescue.show()

# %% [markdown]
# Without a limit, one bad batch of 150 ruins some runs: the worst ends at 2.3, which is what guessing
# gives, since $\ln 10 = 2.303$. With the limit the bad batch can hardly be noticed. But the limit
# also shortens long gradients of good batches. The clean runs show the price, at the best rate
# *without* a limit: 0.10 without and 0.15 with it. Lesson 11 shows networks in which gradients grow
# on their own (Pascanu and others 2013).
#
# ## What can go wrong
#
# Many students have read that 0.0003 is the best rate for Adam. The sentence was written as a joke
# (Karpathy 2016). The best rate depends on the network, the batch, the number of steps and the
# schedule. The last row of the race's table compares Adam at 0.0003 with the *worst* of the five at
# its best rate: 0.82 against 0.17. In 150 steps so small a rate cannot get far; in a longer run it
# may be right.
#
# ## Summary
#
# - SGD has one rate for all directions, and the steepest one sets the limit.
# - Momentum adds up what gradients agree on. Adam divides each number by its usual size, and AdamW
#   shrinks all weights alike.
# - Muon makes all directions of a matrix equally long, by products of matrices alone.
# - Decay lets the last steps settle, and warm-up protects against a peak that is too large. Here decay
#   is most of Adam's gain, and SGD gains nothing.
# - Compare optimisers only when each has its own best rate. Then momentum, AdamW and Muon differ from
#   Adam by no more than the spread over five seeds.
#
# ## Exercises
#
# Open [exercises/05_optimisers.ipynb](exercises/05_optimisers.ipynb). You find the largest rate of a
# valley, write a step of Adam, a schedule, Muon's exact matrix and a clipping, and measure how much of
# the past momentum should remember.
#
# ## References
#
# - I. Goodfellow, Y. Bengio and A. Courville (2016). *Deep Learning*. Sections 8.2, 8.3 and 8.5.
# - D. Kingma and J. Ba (2015). Adam: a method for stochastic optimization. *ICLR*. Algorithm 1 and section 3.
# - I. Loshchilov and F. Hutter (2019). Decoupled weight decay regularization. *ICLR*. Section 2, algorithm 2.
# - I. Loshchilov and F. Hutter (2017). SGDR: stochastic gradient descent with warm restarts. *ICLR*.
#   Section 3, equation 5.
# - K. Jordan and others (2024). Muon: an optimizer for hidden layers in neural networks.
#   kellerjordan.github.io/posts/muon. The sections on Newton-Schulz.
# - J. Liu and others (2025). Muon is scalable for LLM training. arXiv:2502.16982. Section 2.2.
# - R. Pascanu, T. Mikolov and Y. Bengio (2013). On the difficulty of training recurrent neural networks.
#   *ICML*. Section 3.2, for clipping.
# - R. Schmidt, F. Schneider and P. Hennig (2021). Descending through a crowded valley. *ICML*. Fifteen optimisers,
#   each tuned, on eight tasks: no winner.
# - A. Karpathy (2016). A remark on Twitter, 24 November.
