# %% [markdown] tags=["edition-2"]
# # 03 · Activations and the multi-layer perceptron
#
# **What must stand between two layers, so that together they can do more than one?**
#
# **You need** lesson 01 (the line of a perceptron, XOR), lesson 02 (sigmoid, cross-entropy, gradient
# descent, Keras) and products of matrices.
#
# **You will build** a network that solves XOR, by hand and by training, and a network that reads handwritten
# digits. You will derive how large the first weights of a deep network must be, and see it fail when they are
# not.
#
# **Time** about 1 minute to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.optimize import linprog
from scipy.special import erf

from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import bars, show
from kerasllm.course.palette import BLUE, GREEN, GREY, INK, ORANGE, RED, SIGNED, STYLE
from kerasllm.data import load
from kerasllm.layers import FeedForward

# %%
NETS = dial(200, smoke=20, gpu=2_000)  # small networks that learn XOR, side by side
STEPS = dial(2_500, smoke=50)  # steps of gradient descent on XOR
EPOCHS = dial(20, smoke=1)  # passes over the digits
LAYERS = dial(10, smoke=2)  # hidden layers of a deep network
RATES = dial((0.03, 0.1, 0.3), smoke=(0.1,))  # learning rates from which the validation part chooses
SEEDS = dial((0, 1, 2), smoke=(0,))  # repetitions with other first weights and another order of the pictures

# %% [markdown]
# ## Two layers that are only one
#
# A perceptron draws one line, and no line separates the four points of XOR (lesson 01). So we stack units.
# The outputs of a first layer become the inputs of a second one. A layer whose outputs nobody outside sees is
# a **hidden layer**. Try it on paper with two hidden units and one output:
#
# $$h_1 = x_1 + x_2, \qquad h_2 = x_1 - x_2, \qquad y = 2h_1 - h_2.$$
#
# Put the first two formulas into the third and you get $y = 2x_1 + 2x_2 - x_1 + x_2 = x_1 + 3x_2$. The three
# units are one unit again, and one unit cannot do XOR. Would 64 hidden units help? Write down your guess.
# With a row of inputs $x$, matrices of weights $W_1, W_2$ and biases $b_1, b_2$ the same calculation gives
#
# $$(xW_1 + b_1)W_2 + b_2 = x\,(W_1W_2) + (b_1W_2 + b_2),$$
#
# which is one layer with the matrix $W_1W_2$, however many hidden units there were. Linear layers collapse
# into one.
#
# So something that is *not* linear must stand between the layers. A function that is applied to the sum of
# each unit before the sum is passed on is called an **activation**. The step of the perceptron was one, but
# lesson 02 showed its fault: it is flat, so no nudge of a weight tells where to go. We need curves that bend
# and that have a slope.
#
# ## Four curves and their slopes
#
# The sigmoid of lesson 02 rises from 0 to 1. The **tanh** is the curve of the sigmoid, stretched to rise from
# $-1$ to 1: $\tanh x = 2\sigma(2x) - 1$. The **ReLU**, $\max(0, x)$, passes positive numbers on and turns
# negative ones to 0; it made deep networks practical (Glorot, Bordes and Bengio 2011). The **GELU**,
# $x\,\Phi(x)$, is a ReLU with a round corner, where $\Phi(x)$ is the share of a normal distribution with mean
# 0 and standard deviation 1 that lies below $x$ (Hendrycks and Gimpel 2016); transformers use it.


# %%
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def below(x):
    """The share of a normal distribution that lies below x."""
    return (1 + erf(x / np.sqrt(2))) / 2  # erf is the integral of the bell curve, in another scale


activations = {  # the curve, its slope, and the curve in TensorFlow
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x)), tf.sigmoid),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2, tf.tanh),
    "ReLU": (relu, lambda x: (x > 0).astype(float), tf.nn.relu),
    "GELU": (lambda x: x * below(x), lambda x: below(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), tf.nn.gelu),
}

# %% [markdown]
# Look for the grey parts of the figure. There the slope is below 0.01, so a unit whose sum lies there hardly
# hears which way its weights should move. This is **saturation**: the input of an activation lies where the
# curve is flat. Also compare the highest slopes of the four curves.

# %% tags=["hide"]
# @title Figure: the curves and their slopes
x = np.linspace(-5, 5, 1000)  # an even number of points: 0 is not among them
with mpl.rc_context(STYLE):
    figure, panels = plt.subplots(1, 4, figsize=(8, 2.7), sharey=True)
    for ax, (name, (curve, slope, of_tensorflow)) in zip(panels, activations.items(), strict=True):
        measured = (curve(x + 1e-5) - curve(x - 1e-5)) / 2e-5
        assert np.allclose(slope(x), measured, atol=1e-7)
        assert np.allclose(curve(x), of_tensorflow(x), atol=1e-2)
        ax.plot(x, curve(x), color=BLUE, lw=2, label="curve")
        ax.plot(x, slope(x), color=RED, lw=1.6, ls="--", label="its slope")
        ax.fill_between(x, -1.15, 1.65, where=np.abs(slope(x)) < 0.01, color="0.9", lw=0, zorder=0)
        ax.set(title=name, ylim=(-1.15, 1.65), xlim=(-5, 5), xticks=[-4, 0, 4], xlabel="sum of the unit")
    panels[0].legend(loc="lower right", fontsize=8)
show(figure, "Sigmoid, tanh, ReLU and GELU with their slopes. Grey marks slopes below 0.01: both ends of sigmoid and"
     " tanh, the left half of ReLU, the far left of GELU. The slope of the sigmoid is at most a quarter.")  # fmt: skip

# %% [markdown]
# Sigmoid and tanh saturate on both sides, ReLU on the left only. The slope of tanh reaches 1, but that of the
# sigmoid stays low. It is $\sigma(1-\sigma)$, a product of two numbers whose sum is 1, and such a product is
# largest when both are $\frac12$. So *the slope of a sigmoid is never above one quarter*.
#
# ## XOR, solved by hand
#
# Two hidden ReLU units and one output are enough for XOR. Both hidden units add the inputs, and the second
# one starts one step later:
#
# $$h_1 = \max(0,\ x_1 + x_2), \qquad h_2 = \max(0,\ x_1 + x_2 - 1), \qquad y = h_1 - 2h_2.$$
#
# The drawing shows this network with its weights. Units that are fully connected in layers, with an
# activation between them, are a **multi-layer perceptron**, MLP for short. Go through the four rows on paper
# before you run the cell.

# %% tags=["hide"]
# @title Drawing: a network for XOR
sheet = Diagram(7.2, 2.5)
inputs = [sheet.box(f"$x_{i + 1}$", (0.6, 1.95 - 1.2 * i), width=0.5) for i in range(2)]
sums = [sheet.box("sum", (2.6, 1.95 - 1.2 * i), width=0.62) for i in range(2)]
bends = [sheet.box("ReLU", (4.0, 1.95 - 1.2 * i), meaning="query", width=0.7) for i in range(2)]
out = sheet.box("sum", (6.0, 1.35), width=0.62)
for i, start in enumerate(inputs):
    for j, end in enumerate(sums):
        sheet.arrow(start.right, end.left, meaning="weights")
        at = 0.27
        place = (
            (1 - at) * start.right[0] + at * end.left[0],
            (1 - at) * start.y + at * end.y + 0.14 * (1 if j <= i else -1),
        )
        sheet.text(place, "1", meaning="weights", size=9)
for i, (one, bend, bias, weight) in enumerate(zip(sums, bends, ("bias 0", "bias −1"), ("1", "−2"), strict=True)):
    sheet.text((2.6, one.y + (0.3 if i == 0 else -0.32)), bias, meaning="weights", size=9)
    sheet.arrow(one.right, bend.left)
    sheet.arrow(bend.right, out.left, f"$h_{i + 1}$ × {weight}", meaning="weights", above=0.24 if i == 0 else -0.26)
sheet.arrow(out.right, (6.95, 1.35), "$y$")
sheet.text((3.3, 0.12), "hidden layer: two units, each a sum and an activation", meaning="given", size=9)
show(sheet.figure, "Two inputs are connected to two hidden units, all weights are 1. The first unit has the bias 0,"
     " the second -1. Each passes its sum through a ReLU; the output is h1 times 1 plus h2 times -2.")  # fmt: skip

# %%
points = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])  # (4, inputs)
targets = np.array([0.0, 1, 1, 0])
hidden = relu(points @ np.array([[1, 1], [1, 1]]) + np.array([0, -1]))  # (4, hidden)
answers = hidden @ np.array([1, -2])
print(" x1  x2    h1  h2     y   target")
for x, h, y, target in zip(points, hidden, answers, targets, strict=True):
    print(f"{x[0]:3.0f} {x[1]:3.0f}   {h[0]:3.0f} {h[1]:3.0f}   {y:3.0f}   {target:5.0f}")

# %% [markdown]
# Why does it work? Read $h_1$ and $h_2$ as a *place*. The hidden layer moves each point to a new place, and
# there one line is enough. In the figure a triangle is the answer 1 and a circle the answer 0. The line is
# where $h_1 - 2h_2 = \frac12$, half way between the two answers. Watch what happens to the two triangles.

# %% tags=["hide", "readme"]
# @title Figure: the hidden layer moves the points
with mpl.rc_context(STYLE):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(8, 2.9))
    border = np.linspace(-0.6, 2.6, 50)
    for ax, places in ((left, points), (middle, hidden), (right, points)):
        for target, paint, marker in ((0, ORANGE, "o"), (1, BLUE, "^")):
            ax.scatter(*places[targets == target].T, c=paint, marker=marker, s=90, zorder=3)
    middle.plot(border, (border - 0.5) / 2, color=INK, lw=1.4)  # h1 - 2 h2 = 0.5
    middle.annotate("both triangles", (1, 0), (0.75, -0.42), fontsize=8.5)
    a, b = np.meshgrid(np.linspace(-0.4, 1.4, 200), np.linspace(-0.4, 1.4, 200))
    surface = relu(np.stack([a, b], axis=-1) @ np.ones((2, 2)) + np.array([0, -1])) @ np.array([1, -2])
    right.contourf(a, b, surface, levels=[-9, 0.5, 9], colors=["#FBEBCF", "#CFE3F1"])
    left.set(title="Inputs: no line", xlabel="$x_1$", ylabel="$x_2$")
    middle.set(title="Hidden units: one line", xlabel="$h_1$", ylabel="$h_2$", ylim=(-0.6, 1.5))
    right.set(title="Inputs, seen through both", xlabel="$x_1$")
    for ax in (left, right):
        ax.set(xlim=(-0.4, 1.4), ylim=(-0.4, 1.4), xticks=[0, 1], yticks=[0, 1])
show(figure, "Left: the four points of XOR, no line separates triangles from circles. Middle: the same points at the"
     " places that the two hidden units give them; both triangles land at (1, 0) and a line separates them. Right:"
     " in the inputs that line is a band.")  # fmt: skip

# %% [markdown]
# Both triangles land on the same place, and a single line cuts them off. Seen from the inputs, that line is a
# band with two edges, one for each ReLU. More units mean more edges. With enough of them one hidden layer
# comes as close as we like to any continuous curve on a bounded interval (Cybenko 1989; Leshno and others
# 1993). The theorem says that such weights exist. It does not say that training finds them.
#
# ## XOR, found by training
#
# Does it find them? We train 200 networks with two hidden units from random weights, by the gradient descent
# of lesson 02, and then networks with more units. They differ in their first weights alone. The loss is the
# mean of the squared errors $(y - \text{target})^2$ over the four points. `tf.GradientTape` gives the slopes;
# we use it as an instrument here, and lesson 04 opens it. Two units are enough, as we have just seen. How
# many of the 200 will find a solution?


# %%
def trained_on_xor(units, rate=0.03):
    """Train NETS networks at once; returns the squared error of each at the end, (NETS,)."""
    rng = np.random.default_rng(0)
    # A stack of NETS matrices: @ multiplies each with its own, so the networks know nothing of each other.
    starts = [rng.normal(size=(NETS, 2, units)), np.zeros((NETS, 1, units))]  # weights and biases, hidden layer
    starts += [rng.normal(size=(NETS, units, 1)), np.zeros((NETS, 1, 1))]  # the output
    weights = [tf.Variable(start) for start in starts]

    @tf.function  # compiled: the same numbers, faster
    def step():
        W1, b1, w2, b2 = weights
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(points @ W1 + b1)  # (NETS, 4, units)
            errors = tf.reduce_mean(((hidden @ w2 + b2)[..., 0] - targets) ** 2, axis=1)  # (NETS,)
        for weight, slope in zip(weights, tape.gradient(errors, weights), strict=True):
            weight.assign_sub(rate * slope)
        return errors

    return [step() for _ in range(STEPS)][-1].numpy()


# %%
errors = {units: trained_on_xor(units) for units in (2, 4, 8, 16)}
solved = {units: 100 * np.mean(error < 0.01) for units, error in errors.items()}
for units, share in solved.items():
    print(f"{units:2d} hidden units: {share:5.1f}% of {NETS} networks solve XOR")
stuck = errors[2][errors[2] >= 0.01]
near = np.mean(np.abs(stuck[:, None] - np.array([1 / 8, 1 / 6, 1 / 4])).min(axis=1) < 0.005)
print(f"of those with 2 units that fail, {near:.0%} end within 0.005 of 1/8, 1/6 or 1/4")

# %% tags=["hide"]
# @title Figure: where the training of two units ends
with mpl.rc_context(STYLE):
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), width_ratios=(1, 1.4))
    left.bar([str(units) for units in solved], list(solved.values()), color=BLUE, width=0.6)
    left.set(title="More units: more solutions", xlabel="hidden units", ylabel="% of networks that solve XOR")
    right.plot(np.sort(errors[2]), ".", color=BLUE)
    levels = {"1/4: all answers ½": 1 / 4, "1/6: one right": 1 / 6, "1/8: two right": 1 / 8, "0: solved": 0}
    for text, level in levels.items():
        right.axhline(level, color=GREY, lw=0.8, zorder=0)
        right.text(1.02, level, text, va="center", fontsize=9, transform=right.get_yaxis_transform())
    right.set(title="Two units end on four levels", xlabel="network, sorted", ylabel="squared error")
    right.grid(False)
show(figure, "Left: the share of networks that solve XOR grows from about a fifth with 2 hidden units to all with 16."
     " Right: the final errors of the networks with 2 units lie on four levels: 0, 1/8, 1/6 and 1/4.")  # fmt: skip

# %% [markdown]
# Most networks with two units fail, although a solution exists for each of them. The right panel tells how.
# Answer $\frac12$ to everything, and the squared error is $\frac14$. Get one point right and give the three
# others their mean, $\frac13$ or $\frac23$, and it is $(\frac19 + \frac19 + \frac49)/4 = \frac16$. Get two
# points right and answer $\frac12$ to the others, and it is $\frac18$. Why means? Often every ReLU is off at
# several points. They then look alike to the output, so it must give them one common answer. The mean is the
# best of those, and no small change improves on it. Gradient descent therefore rests there, and more steps
# would not help.
#
# With more units it is more likely that enough of them start well. What a network *can* express and what
# training *finds* are two questions, and this is one reason why networks are made larger than they would need
# to be.
#
# ## Ten answers instead of two
#
# Now to real data with more than two answers. The sigmoid turned one logit into a probability. For ten digits
# the last layer gives ten logits $z_1, \dots, z_{10}$, and the **softmax** turns them into ten probabilities:
# it takes the exponential of each, which is positive, and divides by the sum of all, so that they add up to
# 1:
#
# $$p_i = \frac{e^{z_i}}{\sum_j e^{z_j}}.$$
#
# On paper, for logits $(0, \ln 2, \ln 5)$: the exponentials are 1, 2 and 5, their sum is 8, so
# $p = (0.125, 0.25, 0.625)$. With the two logits $(0, s)$ the second probability is $e^s / (1 + e^s)$, the
# sigmoid again. The cross-entropy of lesson 02 stays what it was, the mean of $-\ln$ of the probability of
# the right answer. If the third answer is right it is $-\ln 0.625 = 0.47$, and who gives all ten digits the
# same probability has $\ln 10 = 2.30$.


# %%
def softmax(z):
    exponentials = np.exp(z - z.max(axis=-1, keepdims=True))  # the largest is exp(0) = 1: nothing overflows
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


z = np.log([1.0, 2.0, 5.0])
print("softmax of (0, ln 2, ln 5):", softmax(z), "  with 1000 added to each:", softmax(z + 1000))
with np.errstate(over="ignore"):
    print("without the subtraction, the exponential of 1000 is", np.exp(1000.0))

# %% [markdown]
# Why subtract the largest logit? $e^{1000}$ is larger than any number that the computer holds, and infinity
# divided by infinity is not a number. Adding the same $c$ to all logits multiplies the top and the bottom of
# the fraction by $e^c$, and it cancels. So we may shift them first.
#
# ## Handwritten digits
#
# The data are 1,797 digits of 8 × 8 pixels (Alpaydin and Kaynak 1998). Which digit is it? And is it odd or
# even? The second one is a relative of XOR: 1, 3, 5, 7 and 9 have little in common but the answer.
#
# The data have three parts. The training part is for training, and the test part is opened once, at the end.
# But some things must be chosen in between, here the learning rate of each model. Who chooses by the test
# part has used it, and its result is then too good. So a third part, the **validation part**, is kept for
# choices alone.

# %%
digits = load("digits")  # 64 pixel columns, label, split
parts = {name: digits[digits["split"] == name] for name in ("train", "validation", "test")}
X = {name: rows.filter(like="pixel").to_numpy("float32") / 16 for name, rows in parts.items()}  # 0 to 1
digit = {name: rows["label"].to_numpy(int) for name, rows in parts.items()}
odd = {name: labels % 2 for name, labels in digit.items()}
print("pictures:", {name: len(labels) for name, labels in digit.items()})
for question, labels in {"which digit": digit, "odd or even": odd}.items():
    most = np.bincount(labels["test"]).max() / len(labels["test"])
    print(f"{question}: the most frequent answer is right in {most:.0%}")

signs = np.where(odd["train"] == 1, 1, -1)[:, None]
with_bias = np.hstack([X["train"], np.ones_like(signs)])
plane = linprog(np.zeros(65), A_ub=-signs * with_bias, b_ub=-np.ones(len(signs)), bounds=(None, None))
proof = "does not exist" if plane.status == 2 else "exists"  # status 2: the solver proved that there is none
print("a plane that separates odd from even:", proof, "(linear program)")

# %% [markdown]
# A **baseline** is a simple answer that a model must beat before it deserves attention. The one above always
# gives the most frequent answer. A better one is a linear model. The linear program of lesson 01 proves more:
# no plane separates odd from even, not even on the training pictures, so every linear model makes mistakes.
#
# The main experiment compares two networks: 64 pixels, 64 hidden units, logits. In one of them a ReLU stands
# between the layers, in the other nothing. Both have the same number of weights, the same start, the same
# batches and the same number of epochs, and each gets the rate that does best on the validation part. The
# first weights are random with the standard deviation $\sqrt{2/64}$, and a later section says why. The
# activation is the only difference, so it is the only explanation of a gap. What do you expect for each
# question?

# %%
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)  # the softmax is inside
SIZES = {"0.01": 0.01, "Glorot": np.sqrt(1 / 64), "He": np.sqrt(2 / 64), "1": 1.0}  # explained below


def new_network(answers, seed, activation="relu", size="He", layers=1):
    """A network with `layers` hidden layers of 64 units, and a logit for each answer."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((64,))])
    for _ in range(layers):
        start = keras.initializers.RandomNormal(stddev=SIZES[size])  # of the first weights
        model.add(keras.layers.Dense(64, activation, kernel_initializer=start))
    model.add(keras.layers.Dense(answers))
    return model


# %%
def trained(labels, rate, seed, **settings):
    """A network after EPOCHS passes over the training part, by the gradient descent of lesson 02."""
    model = new_network(int(labels["train"].max()) + 1, seed, **settings)
    pictures, right, rng = tf.constant(X["train"]), tf.constant(labels["train"]), np.random.default_rng(seed)

    @tf.function  # compiled: the same steps as in fit, several times faster
    def one_pass(batches):  # (39, 32): in each row the numbers of 32 pictures
        for rows in batches:
            with tf.GradientTape() as tape:
                loss = cross_entropy(tf.gather(right, rows), model(tf.gather(pictures, rows)))
            for weight, slope in zip(model.weights, tape.gradient(loss, model.weights), strict=True):
                weight.assign_sub(rate * slope)

    for _ in range(EPOCHS):
        one_pass(rng.permutation(len(right))[: 39 * 32].reshape(39, 32))  # the 17 left over wait for the next pass
    return model


# %%
def points_of(model, labels, part):
    """Pictures of a part that are answered correctly, in percent."""
    logits = keras.ops.convert_to_numpy(model(X[part]))  # (pictures, answers)
    return 100 * np.mean(logits.argmax(axis=-1) == labels[part])


def chosen(name, labels, **settings):
    """Models of all seeds, with the rate that is best on the validation part."""
    tries = {rate: trained(labels, rate, SEEDS[0], **settings) for rate in RATES}
    scores = {rate: points_of(model, labels, "validation") for rate, model in tries.items()}
    rate = max(scores, key=scores.get)
    models = [tries[rate], *(trained(labels, rate, seed, **settings) for seed in SEEDS[1:])]
    print(f"{name:32s} validation", *(f"{r}: {score:4.1f}" for r, score in scores.items()), f" chosen {rate}", sep="  ")
    return models


# %%
networks = {}
for question, labels in {"odd or even": odd, "which digit": digit}.items():
    for between, activation in {"ReLU": "relu", "nothing": "linear"}.items():
        networks[question, between] = chosen(f"{question}, {between}", labels, activation=activation)
answers = {"odd or even": odd, "which digit": digit}
test = {key: [points_of(model, answers[key[0]], "test") for model in models] for key, models in networks.items()}

# %% tags=["hide"]
# @title Figure: what a ReLU between two layers is worth
figure = bars(
    {f"{question}, {between} between": points for (question, between), points in test.items()},
    title="A ReLU helps with odd or even, hardly with which digit",
    x_label="test pictures answered correctly, in percent; a dot is a seed",
    colors={
        f"{question}, {between} between": "subject" if between == "ReLU" else "control" for question, between in test
    },
    digits=1,
    start=min(88, int(min(map(min, test.values()))) - 1),  # not at 0: the differences are small
)
show(figure, "Test accuracy of four networks. For odd or even the network with a ReLU is several points above the one"
     " with nothing between its layers. For which digit the two are close. The axis does not begin at 0.")  # fmt: skip

# %% [markdown]
# For odd or even the ReLU is worth several points, and the network without it stays where a linear model must
# stay, since it is one. For which digit the gap is small. Ten linear scores, one for each digit, already read
# nearly every picture, and we would not know how strong this baseline is without having tried it.
#
# There is no secret in such a network. Its forward calculation is one line, and it is also a layer of our
# library, `FeedForward`.

# %%
network = networks["which digit", "ReLU"][0]
W1, b1, W2, b2 = network.get_weights()
ours = relu(X["test"] @ W1 + b1) @ W2 + b2  # (pictures, 10)
layer = FeedForward(64, 10, activation="relu")
layer.build((None, 64))
layer.set_weights([W1, b1, W2, b2])
assert np.allclose(ours, network(X["test"]), atol=1e-4)  # one line of NumPy equals Keras,
assert np.allclose(ours, layer(X["test"]), atol=1e-4)  # and the library

# %% [markdown]
# ## What the hidden units have become
#
# In lesson 01 we had to invent the input $x_1x_2$ for XOR ourselves. Here nobody invented anything. What have
# the hidden units become? For each unit we take the 20 training pictures that excite it most, and count how
# many different digits are among them. A unit that stands for one digit has 1. But a unit with *random*
# weights also prefers pictures that look alike, so the count means nothing alone. The control is the same
# network before training, with the same seed.
#
# The figure shows the ten units that move the logits most. Its first two rows are the mean of the 20
# favourites, before and after training, with their count. The third row shows what training added to the
# weights: more weight in blue, less in red.


# %%
def favourites(W1, b1=0):
    """For each hidden unit the 20 training pictures that excite it most: (64, 20)."""
    return np.argsort(-(X["train"] @ W1 + b1), axis=0)[:20].T


def kinds(rows):
    """How many different digits are among the favourites of each unit: (64,)."""
    return np.array([len(set(digit["train"][row])) for row in rows])


trained_kinds, random_kinds = [], []
for seed, model in zip(SEEDS, networks["which digit", "ReLU"], strict=True):
    first_weights = new_network(10, seed).get_weights()[0]
    trained_kinds.append(kinds(favourites(*model.get_weights()[:2])))
    random_kinds.append(kinds(favourites(first_weights)))
for name, counts in {"before": random_kinds, "after": trained_kinds}.items():
    print(f"{name} training: {np.mean(counts):.1f} digits a unit, {np.mean(np.equal(counts, 1)):.0%} have one digit")

# %% tags=["hide"]
# @title Figure: the favourites of ten units, before and after training
start = new_network(10, SEEDS[0]).get_weights()[0]
top = np.argsort(-relu(X["train"] @ W1 + b1).std(axis=0) * np.linalg.norm(W2, axis=1))[:10]
rows = {"untrained": favourites(start), "trained": favourites(W1, b1)}
with mpl.rc_context(STYLE):
    figure, grid = plt.subplots(3, 10, figsize=(8, 2.9))
    for ax in grid.flat:
        ax.set_axis_off()
    for line, (name, best) in zip(grid, rows.items(), strict=False):
        for ax, unit in zip(line, top, strict=True):
            ax.imshow(X["train"][best[unit]].mean(axis=0).reshape(8, 8), cmap="gray_r")
            count = kinds(best)[unit]
            ax.set_title("1 digit" if count == 1 else f"{count} digits", fontsize=8, loc="center", pad=2)
        line[0].text(-0.25, 0.5, name, ha="right", va="center", transform=line[0].transAxes)
    for ax, unit in zip(grid[2], top, strict=True):
        ax.imshow((W1 - start)[:, unit].reshape(8, 8), cmap=SIGNED, vmin=-0.6, vmax=0.6)
    grid[2][0].text(-0.25, 0.5, "learned\nweights", ha="right", va="center", transform=grid[2][0].transAxes)
show(figure, "Ten hidden units in columns. First row: the mean of their 20 favourite pictures before training, blurred"
     " blends of several digits. Second row: after training, sharper and of fewer digits. Third row: what training"
     " added to the weights, blue where ink excites the unit, red where it calms it.")  # fmt: skip

# %%
found = Claims("What we measured: XOR and digits")
found.claim("Networks that could solve XOR mostly do not find the solution", solved[2], "<", solved[16],
            control="networks of 16 units", unit="%")  # fmt: skip
found.claim("Those that fail end on three levels", 100 * near, ">", 100 * 3 * 0.01 / 0.25,
            control="final errors spread evenly", unit="%")  # fmt: skip
found.claim("For odd or even a ReLU between the layers helps", test["odd or even", "ReLU"], ">",
            test["odd or even", "nothing"], control="the same two layers with nothing between", unit="points",
            headline="odd or even: a ReLU between two layers is worth {difference} against nothing there")  # fmt: skip
gain = {q: np.subtract(test[q, "ReLU"], test[q, "nothing"]) for q in answers}
found.claim("For which digit it is worth less", gain["which digit"], "<", gain["odd or even"],
            control="its worth for odd or even", unit="points")  # fmt: skip
found.claim("Training makes units choosier", np.mean(trained_kinds, axis=1), "<", np.mean(random_kinds, axis=1),
            control="the same units before training", unit="digits")  # fmt: skip
found.show()

# %% [markdown]
# A trained unit answers to fewer digits than a random one, so the change is the work of training. Most
# respond to a part that a few digits share, and a digit is a combination of units.
#
# ## How large must the first weights be?
#
# If one hidden layer is good, are twenty better? Two things must travel through such a network. The pictures
# travel up: the last layer must still be able to tell them apart. The slopes of the loss travel down: the
# first layer must still hear what was wrong. Think of a small change in the first layer. On its way to the
# loss every layer multiplies it by weights and by the slope of an activation, and the slope of the loss by
# the first layer is the product of all these factors. Twenty equal factors are a power of twenty.

# %% tags=["hide"]
# @title Drawing: what travels through a deep network
sheet = Diagram(8, 1.75)
names = ["pictures", "layer 1", "layer 2", "…", "layer 20", "loss"]
boxes = [sheet.box(name, (0.65 + 1.34 * i, 0.9), meaning="given" if i in (0, 5) else "weights",
                   width=0.4 if name == "…" else 0.78) for i, name in enumerate(names)]  # fmt: skip
for i in range(5):
    one, two = boxes[i : i + 2]
    sheet.arrow((one.right[0], 1.0), (two.left[0], 1.0), meaning="query")
    sheet.arrow((two.left[0], 0.8), (one.right[0], 0.8), meaning="error")
    if 0 < i < 4:
        middle = (one.right[0] + two.left[0]) / 2
        sheet.text((middle, 1.17), "× a", meaning="query", size=9)
        sheet.text((middle, 0.62), "× b", meaning="error", size=9)
sheet.text((4, 1.52), "pictures: after 20 layers a²⁰ of their differences is left", meaning="query", size=9.5)
sheet.text((4, 0.25), "slopes: after 20 layers b²⁰ of what was wrong is left", meaning="error", size=9.5)
show(sheet.figure, "A chain from the pictures through twenty layers to the loss. Blue arrows to the right multiply by a"
     " at each layer, red arrows to the left by b; a or b to the power of twenty is left at the end.")  # fmt: skip

# %% [markdown]
# How large are these factors? Take one unit with $n$ inputs, $z = \sum_i x_i w_i$. We assume that *the
# weights are independent of each other and of the inputs, with mean 0 and variance $\sigma^2$* (with mean 0
# the variance is the mean of the squares). That is true at the start, when they are random. Square the sum,
# for two inputs first: $z^2 = x_1^2 w_1^2 + x_2^2 w_2^2 + 2 x_1 x_2 w_1 w_2$. Now take the mean over all
# random weights. The last term vanishes, because $w_1 w_2$ is positive as often as negative, and each $w_i^2$
# becomes $\sigma^2$. With $n$ inputs there are $n$ such squares:
#
# $$\text{mean of } z^2 = n\,\sigma^2 \cdot \text{mean of } x^2 .$$
#
# For 64 inputs of size 1 and $\sigma = \frac18$ the factor is $64 \cdot \frac1{64} = 1$, so the sum is as
# large as the inputs. On the way down the same argument holds for the slopes. An input $x_i$ enters $m$ units
# with the weights $w_{ik}$. If the loss has the slope $g_k$ by the sum of unit $k$, then $x_i$ gets the slope
# $\sum_k g_k w_{ik}$: again a sum of products, so the mean square is multiplied by $m\,\sigma^2$. Up we want
# $\sigma^2 = 1/n$, and down $\sigma^2 = 1/m$. The **Glorot initialisation** is the compromise $\sigma^2 =
# 2/(n + m)$ (Glorot and Bengio 2010). It makes a second assumption: *the activation has a slope of about 1*,
# as tanh has near 0.
#
# ReLU breaks that assumption. Sums are positive or negative equally often, and ReLU sets the negative half
# to 0. So half of the mean square is lost, and half of the slopes are 0 as well. The **He initialisation**
# gives it back with twice the variance, $\sigma^2 = 2/n$ (He and others 2015). For the sigmoid the slope is
# at most $\frac14$, and its square $\frac1{16}$, so the mean square of what travels down is multiplied by at
# most $n\,\sigma^2 / 16$. The size of the gradient is the root of its mean square, which halves the
# exponent. So after 20 layers we predict the size $(n \sigma^2 c)^{20/2}$, with $c = 1$ for tanh, $\frac12$
# for ReLU and $\frac1{16}$ for the sigmoid.
#
# The next cell tests the prediction for four sizes of weights. It sends 256 random inputs through 20 layers.
# Going up it measures the *spread*, how much a unit differs from input to input. Going down it measures the
# *gradient* at each layer, compared with that at the last one. The last column of the table is the share of
# saturated units in layer 10.


# %%
def probe(activation, sigma, layers=20):
    """Spread and gradient at layers 0 to 20, and the share of saturated units in layer 10."""
    _, slope, of_tensorflow = activations[activation]
    rng = np.random.default_rng(0)
    outputs = [tf.constant(rng.normal(size=(256, 64)))]
    with tf.GradientTape() as tape:
        tape.watch(outputs[0])  # a tape follows variables by itself, constants only when told
        for layer in range(layers):
            sums = outputs[-1] @ (sigma * rng.normal(size=(64, 64)))
            outputs.append(of_tensorflow(sums))  # (256, 64)
            if layer == 9:
                saturated = np.mean(slope(sums.numpy()) < 0.01)
        end = tf.reduce_sum(outputs[-1] * rng.normal(size=64))  # stands for the loss: any number would do
    gradients = [np.sqrt(np.mean(g.numpy() ** 2)) for g in tape.gradient(end, outputs)]
    spread = [output.numpy().std(axis=0).mean() for output in outputs]
    return np.array(spread), np.array(gradients) / gradients[-1], saturated


# %%
LOST = {"sigmoid": 1 / 16, "tanh": 1, "ReLU": 1 / 2}  # what the activation leaves of the mean square
probes = {(name, size): probe(name, sigma) for name in LOST for size, sigma in SIZES.items()}
off = {}
print("          weights   gradient: predicted   measured   saturated units")
for (name, size), (_, gradient, saturated) in probes.items():
    predicted = (64 * SIZES[size] ** 2 * LOST[name]) ** 10
    off[name, size] = abs(np.log10(gradient[0] / predicted))
    print(f"{name:8s}  {size:7s} {predicted:20.0e} {gradient[0]:10.0e} {saturated:13.0%}")

# %% [markdown]
# In the figure a healthy network is a line that stays in the grey band, within a factor of 1,000 of 1. The
# colour is the size of the weights, and the arrows show which way each row is read.

# %% tags=["hide"]
# @title Figure: spread and gradient through twenty layers
with mpl.rc_context(STYLE):
    figure, grid = plt.subplots(2, 3, figsize=(8, 5), sharex=True, sharey="row")
    for column, name in enumerate(LOST):
        for size, paint, line in zip(SIZES, (ORANGE, BLUE, GREEN, RED), ("-", "-", "--", "-"), strict=True):
            for ax, values in zip(grid[:, column], probes[name, size], strict=False):
                ax.semilogy(values, line, color=paint, lw=1.8, label=f"weights {size}" if size in "0.01" else size)
        grid[0, column].set_title(name)
        grid[1, column].set(xlabel="layer", xticks=[0, 5, 10, 15, 20])
    grid[0, 0].set_ylabel("spread over inputs →")
    grid[1, 0].set_ylabel("← gradient")
    grid[0, 0].set_yticks([1e-24, 1e-16, 1e-8, 1, 1e8, 1e16])
    grid[1, 0].set_yticks([1e-32, 1e-24, 1e-16, 1e-8, 1, 1e8, 1e16])
    for ax in grid.flat:
        ax.axhspan(1e-3, 1e3, color="0.9", lw=0, zorder=0)
    grid[1, 1].legend(loc="lower right", fontsize=8)
show(figure, "Spread and gradient by layer for sigmoid, tanh and ReLU with four sizes of weights. Tanh and ReLU with"
     " Glorot or He weights stay in the grey band or near it, so does the sigmoid with weights 1. The sigmoid with"
     " Glorot or He weights and all networks with weights 0.01 fall by many powers; ReLU with 1 grows, and so does the"
     " gradient of tanh with 1.")  # fmt: skip

# %% [markdown]
# The prediction holds where its assumptions do. For ReLU it is right at every size, over forty powers of ten.
# It fails for tanh and for the sigmoid with weights of 1. There many units are saturated, so their slope is
# far below the one that we assumed, and the gradient is much smaller than predicted. With He's weights the
# same begins: few units of tanh are saturated, but their sums have left the middle, where the slope is 1, and
# twenty slopes a little below 1 are a small number. (One line of the sigmoid becomes flat near $10^{-15}$,
# because the 64-bit numbers end there.)
#
# It is often said that gradients vanish because sigmoid units are saturated, and that ReLU cures it. The
# table says otherwise. With Glorot's weights almost no sigmoid unit is saturated, and the gradient still
# vanishes, because one quarter to the power of 20 is $10^{-12}$. With weights of 1 many are saturated, and it
# survives. What counts is the product of the size of the weights and the slope.
#
# ## Ten layers learn, or they do not
#
# Does training agree? We train ten hidden layers on the digits: sigmoid with Glorot's weights, sigmoid with
# weights of 1, and ReLU with He's. The budget is that of the single hidden layer above, and again the
# validation part chooses each rate. Write down which of them will learn.

# %%
deep = {
    "sigmoid, Glorot": {"activation": "sigmoid", "size": "Glorot"},
    "sigmoid, weights 1": {"activation": "sigmoid", "size": "1"},
    "ReLU, He": {"activation": "relu", "size": "He"},
}
read = {}
for name, settings in deep.items():
    models = chosen(f"{LAYERS} layers, {name}", digit, layers=LAYERS, **settings)
    read[name] = [points_of(model, digit, "test") for model in models]
for name, points in {**read, "one layer, ReLU, He": test["which digit", "ReLU"]}.items():
    print(f"{name:22s} test", *(f"{p:5.1f}%" for p in points))

# %%
found = Claims("What we measured: deep networks")
found.claim("The derivation predicts the gradient of ReLU at every size", max(off["ReLU", size] for size in SIZES),
            "<", off["tanh", "1"], control="tanh with weights of 1, which saturate",
            unit="powers of ten off")  # fmt: skip
found.claim("Ten sigmoid layers with Glorot's weights learn less", read["sigmoid, Glorot"], "<", read["ReLU, He"],
            control="ten ReLU layers with He's weights, the same budget", unit="of 100",
            headline="ten sigmoid layers read {measured} digits, ten ReLU layers as long trained {bound}")  # fmt: skip
found.claim("Larger first weights rescue the sigmoid", read["sigmoid, weights 1"], ">", read["sigmoid, Glorot"],
            control="the same network with Glorot's weights", unit="points")  # fmt: skip
found.show()

# %% [markdown]
# The figure was right about all three. The sigmoid network with Glorot's weights, the default of Keras, gives
# the answer of somebody who has not seen the picture, at every rate. The same network with larger weights
# learns, although many of its units are saturated. Compare also the last two lines: at equal budget ten ReLU
# layers read no better than a single one. Depth alone gains nothing on pictures of 8 × 8 pixels. It
# can pay on harder data, with two inventions that come later, normalisation (lesson 06) and residual
# connections (lesson 17).
#
# One more doubt. Gradient descent takes steps as small as the gradient, so a vanished gradient is a vanished
# step. Lesson 05 introduces optimisers that divide each step by the usual size of its gradient, which repairs
# the lower row of the figure, but not the upper one.
#
# ## What can go wrong
#
# A ReLU that is off for *every* training picture gets the slope 0 from all of them. Its weights never move
# again, and it is called dead. A step that is too large can push a whole layer there, as the validation
# score of the ten ReLU layers at the largest rate suggests. Smaller steps help, and so do activations like
# GELU, whose slope left of 0 is not exactly 0.
#
# What should you choose? In hidden layers ReLU with He's weights, or GELU. Sigmoid where a number between 0
# and 1 is wanted, a probability of yes or no. Tanh where it must lie between $-1$ and 1. Softmax for one
# answer out of many.
#
# ## Summary
#
# - Layers with nothing between them collapse into one. An activation that bends, and has a slope, prevents it.
# - A hidden layer moves the data to places where one plane is enough. Two ReLU units can solve XOR; training
#   finds it reliably only with more.
# - Softmax turns logits into probabilities that add up to 1. Choose on the validation part, open the test
#   part once.
# - Through many layers, spread and gradient are multiplied by size of weights × slope. Keep it near 1: Glorot
#   for tanh, He for ReLU.
# - Before you explain what training did, look at the untrained network, and try the linear baseline.
#
# ## Exercises
#
# Open [exercises/03_activations_and_mlp.ipynb](exercises/03_activations_and_mlp.ipynb). You write a softmax,
# the slope of SiLU, XOR with tanh units, and count the weights of a network. In the experiment you change the
# size of the first weights. Each answer is checked.
#
# ## References
#
# - G. Cybenko (1989). Approximation by superpositions of a sigmoidal function. *Mathematics of Control, Signals
#   and Systems* 2, 303-314. Theorem 2.
# - M. Leshno, V. Lin, A. Pinkus, S. Schocken (1993). Multilayer feedforward networks with a nonpolynomial
#   activation function can approximate any function. *Neural Networks* 6(6), 861-867. Theorem 1.
# - X. Glorot, Y. Bengio (2010). Understanding the difficulty of training deep feedforward neural networks.
#   *AISTATS*. Section 3 watches units saturate, section 4.2 derives the rule.
# - X. Glorot, A. Bordes, Y. Bengio (2011). Deep sparse rectifier neural networks. *AISTATS*. Section 3.
# - K. He, X. Zhang, S. Ren, J. Sun (2015). Delving deep into rectifiers. *ICCV*. Section 2.2 derives the rule
#   for ReLU.
# - D. Hendrycks, K. Gimpel (2016). Gaussian error linear units. arXiv:1606.08415. Section 2.
# - I. Goodfellow, Y. Bengio, A. Courville (2016). *Deep learning*. MIT Press. Section 6.1 solves XOR with the
#   same two units; 6.4.1 is about what one layer can express.
# - E. Alpaydin, C. Kaynak (1998). Cascading classifiers. *Kybernetika* 34(4), 369-374. The digits.
