# %% [markdown]
# # 05 · Training that generalises
#
# **How do we train a network so that it is right on data it has never seen, and how do we know
# that it is?**
#
# - **You need:** lessons 01 to 04 (softmax, gradients, plain SGD); logarithms and the mean.
# - **You will build:** cross-entropy from likelihood, four optimizers, a learning-rate schedule,
#   k-fold cross-validation, ROC and calibration, each checked against Keras or scikit-learn.
# - **Time:** about 2 minutes to run on a 2-core laptop; reading takes longer.

# %%
import shutil

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras.optimizers.schedules import CosineDecay
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score, roc_curve
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from kerasllm.course import claim, settings
from kerasllm.data import load
from kerasllm.course.figures import BLUE, GREEN, ORANGE, RED, show, use_style
from kerasllm.training import ProgressLine

use_style()

# %%
SEEDS, PASSES, EPOCHS, TEXT_EPOCHS, REPEATS = settings(
    smoke=(1, 4, 1, 3, 4),
    cpu=(3, 14, 10, 8, 20),
)
# SEEDS: runs of each experiment          PASSES: epochs on the 200 digits, of five passes each
# EPOCHS: epochs of the schedule runs     TEXT_EPOCHS: epochs of the text classifier
# REPEATS: random splits in the experiments without a network
seeds = range(SEEDS)

# %% [markdown]
# ## A perfect score that means nothing
#
# We start with a failure. Take 200 images of handwritten digits and shuffle their labels. Now
# there is nothing to learn: no image has anything to do with its label. Train a network on them,
# and an equal network on the true labels.
#
# The data comes in three parts. The **training** part sets the weights. The **validation** part
# helps us choose: how long, which learning rate, which model. The **test** part is for the last
# measurement. We must not choose anything with it.

# %%
digits = load("digits")


def part(frame, split):
    rows = frame[frame["split"] == split]
    features = rows.drop(columns=["label", "split"]).to_numpy("float32")
    return features, rows["label"].cat.codes.to_numpy("int32")


x_train, y_train = part(digits, "train")  # (images, 64), (images,)
x_valid, y_valid = part(digits, "validation")
x_test, y_test = part(digits, "test")
x_train, x_valid, x_test = x_train / 16, x_valid / 16, x_test / 16
x_few, y_few = x_train[:200], y_train[:200]
print(f"{len(x_train)} training, {len(x_valid)} validation, {len(x_test)} test images; few: {len(x_few)}")

# %% [markdown]
# The network has two hidden layers of 256 units: 85,000 weights for 200 images. To compile a model
# takes longer than to train it here, so we compile once. `restart` gives it new random weights and
# empties the memory of its optimizer.


# %%
def network(optimizer, width=256, depth=2, dropout=0.0):
    model = keras.Sequential([keras.Input((64,))])
    for _ in range(depth):
        model.add(keras.layers.Dense(width, activation="relu"))
        if dropout:
            model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(10))  # logits
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    return model


def restart(model, seed):
    keras.utils.set_random_seed(seed)
    model.set_weights(keras.models.clone_model(model).get_weights())
    for variable in model.optimizer.variables:
        if variable.name != "learning_rate":
            variable.assign(keras.ops.zeros_like(variable))


def score(model, x, y):
    logits = model(x)  # (images, 10)
    return float(model.loss(y, logits)), np.mean(np.argmax(logits, axis=1) == y)


# %% [markdown]
# Keras spends time between epochs too. So one epoch below is five passes over the 200 images. The
# table shows the accuracy on the training part, then accuracy and loss on the test part.

# %%
adam_model = network(keras.optimizers.Adam(3e-3))
results = []
for seed, shuffled in [(0, False)] + [(seed, True) for seed in seeds]:
    labels = np.random.default_rng(seed).permutation(y_few) if shuffled else y_few
    restart(adam_model, seed)
    x_five, y_five = np.tile(x_few, (5, 1)), np.tile(labels, 5)
    adam_model.fit(x_five, y_five, batch_size=100, epochs=PASSES, verbose=0)
    loss, accuracy = score(adam_model, x_test, y_test)
    results.append((score(adam_model, x_few, labels)[1], accuracy, loss))
    name = "shuffled labels" if shuffled else "true labels"
    print("{:<16} training {:.3f}   test {:.3f}   test loss {:.2f}".format(name, *results[-1]))

# %%
noise = np.array(results[1:])  # (seeds, 3)
claim("training accuracy on shuffled labels", noise[:, 0], ">", 0.98)
claim("test accuracy after shuffled labels", noise[:, 1], "<", 0.2)
claim("test loss after shuffled labels, against twice ln 10", noise[:, 2], ">", 2 * np.log(10))

# %% [markdown]
# Both networks look perfect on the training part. One of them knows nothing. This is the
# experiment of Zhang et al. (2017), who also did it with a million photographs. So the training
# score alone says nothing about new data. Whatever makes a network **generalise**, a good fit
# alone is not the reason.
#
# One number is strange. A network that guesses all ten digits alike would have a loss of
# $\ln 10 = 2.30$. The noise network does much
# worse than that. To see why, we need to know what the loss is.
#
# ## From likelihood to cross-entropy
#
# Toss a coin ten times; it shows heads seven times. How probable is this result if heads has
# probability $p$? The tosses are independent, so we multiply: $L(p) = p^7 (1-p)^3$. Seen as a
# function of $p$, this is the **likelihood**. The best $p$ makes what happened most probable.
#
# A product of many small numbers underflows, so we take the logarithm. It turns the product into a
# sum and keeps the place of the maximum. With a minus sign and divided by the number of tosses we
# have a loss:
#
# $$-\tfrac{1}{10} \ln L(p) = -0.7 \ln p - 0.3 \ln (1-p)$$
#
# The quantity $-\ln p$ is the price of surprise. What was certain costs 0. What had probability
# 1/2 costs 0.69 **nats**, or exactly one **bit** when the logarithm has base 2. What was called
# impossible costs infinitely much.
#
# A classifier does the same with a coin of its own for each input $x_n$: it says $p(y \mid x_n)$
# for every class $y$. The mean negative log-likelihood of the true labels $y_n$ is
#
# $$-\frac{1}{N} \sum_{n=1}^{N} \ln p(y_n \mid x_n),$$
#
# and this is the **cross-entropy** of lesson 04. Nothing was chosen by taste: it is maximum
# likelihood, written as a price (Bishop, section 4.3.4).
#
# Why not squared error? Look at the gradient by the logit $z$ of one sigmoid unit whose true
# label is 1. With $p = \sigma(z)$, cross-entropy gives $p - 1$. The squared error
# $\tfrac12 (p-1)^2$ gives $(p-1)\,p\,(1-p)$. The figure shows all three ideas.

# %%
p = np.linspace(0.01, 0.99, 981)
logit = np.linspace(-8, 8, 400)
prob = 1 / (1 + np.exp(-logit))
figure, axes = plt.subplots(1, 3, figsize=(8.5, 2.9))
axes[0].plot(p, p**7 * (1 - p) ** 3)
axes[0].set(title="Likelihood of 7 heads in 10", xlabel="probability of heads", ylabel="L(p)")
coin_loss = -0.7 * np.log(p) - 0.3 * np.log(1 - p)
axes[1].plot(p, coin_loss)
axes[1].set(title="Loss of one toss", xlabel="probability of heads", ylabel="nats")
for axis in axes[:2]:
    axis.axvline(0.7, color=RED, linestyle=":")
axes[2].plot(logit, prob - 1, label="cross-entropy")
axes[2].plot(logit, (prob - 1) * prob * (1 - prob), label="squared error")
axes[2].set(title="Gradient, true label 1", xlabel="logit z", ylabel="d loss / dz", ylim=(-1.1, 0.35))
axes[2].legend(loc="upper left")
show(figure, "Likelihood of a coin with its maximum at 0.7, the loss with its minimum at the "
     "same place, and two gradients: squared error has almost none where the unit is "
     "confident and wrong.")  # fmt: skip

# %% [markdown]
# At the left end of the last picture the unit is sure and wrong. Cross-entropy pushes with full
# force there. Squared error hardly pushes: the worst mistakes teach least.
#
# The next cell checks the numbers: the coin, the sure mistake at $z=-6$, and Keras' loss.

# %%
best = p[np.argmin(coin_loss)]
sure = 1 / (1 + np.exp(6))  # sigmoid(-6)
claim("the loss of the coin is smallest at the share of heads", best, "==", 0.7, tolerance=1e-3, exact=True)
claim("cross-entropy pushes this many times harder at z = -6", 1 / (sure * (1 - sure)), ">", 400, exact=True)

logits = np.array([[2.0, 1.0, -1.0], [0.5, 2.5, 0.0]], "float32")  # (2 inputs, 3 classes)
labels = np.array([0, 2])
probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
surprise = -np.log(probabilities[np.arange(2), labels])  # (2,)
print("prices of the two labels in nats:", surprise.round(3), " in bits:", (surprise / np.log(2)).round(3))
in_keras = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
claim("mean price minus Keras' loss", abs(surprise.mean() - float(in_keras)), "<", 1e-6, exact=True)

# %% [markdown]
# The strange number is explained. A loss far above $\ln 10$ needs small probabilities for the true
# class: the noise network is *sure* of wrong answers. A plain guess is cheaper than false
# certainty. We return to this at the end, under calibration.
#
# ## Four optimizers in a few lines each
#
# An optimizer gets the weights $w$ and the gradient $g$ and returns new weights. It may keep a
# state.
#
# - **SGD**: a step of $-\eta g$, with the learning rate $\eta$.
# - **Momentum**: a velocity $v$ collects past steps, and old ones fade by $\mu$.
# - **Adam**: keeps a running mean of $g$ (called $m$) and of $g^2$ (called $v$), and steps by about
#   $\eta\, m / \sqrt v$. Both means start at 0 and are too small at first. Dividing by
#   $1-\beta^t$ corrects this bias (Kingma and Ba, algorithm 1).
# - **AdamW**: Adam, and each weight shrinks by the factor $1 - \eta\lambda$, beside the gradient.


# %%
def sgd(w, g, state, lr):
    return w - lr * g


def momentum(w, g, state, lr, mu=0.9):
    state["v"] = mu * state.get("v", 0) - lr * g
    return w + state["v"]


def adam(w, g, state, lr, beta1=0.9, beta2=0.999, eps=1e-7):
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
    scale = np.sqrt(1 - beta2**t) / (1 - beta1**t)  # corrects the bias of m and v
    return w - lr * scale * m / (np.sqrt(v) + eps)


def adamw(w, g, state, lr, decay=0.1):
    return adam(w * (1 - lr * decay), g, state, lr)


# %% [markdown]
# These are Keras' definitions, including where the small `eps` stands. (The paper's algorithm 1
# adds it after the correction, which changes almost nothing.) The test: feed both sides the same
# 30 random gradients, of four different sizes, and compare the weights after every step.

# %%
optimizers = keras.optimizers
pairs = {
    "SGD": (sgd, optimizers.SGD(0.001)),
    "momentum": (momentum, optimizers.SGD(0.001, momentum=0.9)),
    "Adam": (adam, optimizers.Adam(0.001)),
    "AdamW": (adamw, optimizers.AdamW(0.001, weight_decay=0.1)),
    "Adam with weight_decay": (adamw, optimizers.Adam(0.001, weight_decay=0.1)),
}
gradients = np.random.default_rng(0).normal(size=(30, 4)) * [1, 0.1, 0.01, 0.001]
for name, (ours, theirs) in pairs.items():
    w, state, variable, largest = np.ones(4), {}, keras.Variable(np.ones(4)), 0.0
    for g in gradients:
        w = ours(w, g, state, lr=0.001)
        theirs.apply([keras.ops.convert_to_tensor(g, "float32")], [variable])
        largest = max(largest, np.abs(w - keras.ops.convert_to_numpy(variable)).max())
    claim(f"{name}: largest difference from Keras in 30 steps", largest, "<", 1e-6, exact=True)

# %% [markdown]
# The last line is worth a thought: in Keras, `Adam(weight_decay=...)` *is* AdamW. In PyTorch the
# same words mean an L2 penalty. We shall see that the two differ.
#
# First a valley, $f(w) = \tfrac12 (w_1^2 + 25\, w_2^2)$: flat in one direction, steep in the
# other. Along $w_2$ one SGD step multiplies $w_2$ by $1 - 25\eta$. So SGD explodes above
# $\eta = 2/25 = 0.08$, while along $w_1$ the same $\eta$ is small. One learning rate must serve
# both.

# %%
curvature = np.array([1.0, 25.0])


def walk(step, lr, steps=60, start=(-4.0, 1.0)):
    path, state = [np.array(start)], {}
    for _ in range(steps):
        path.append(step(path[-1], curvature * path[-1], state, lr))
    return np.array(path)  # (steps + 1, 2)


figure, axes = plt.subplots(1, 3, figsize=(8.5, 2.7), sharey=True)
grid = np.meshgrid(np.linspace(-4.6, 1.6, 120), np.linspace(-1.3, 1.3, 80))
height = (grid[0] ** 2 + 25 * grid[1] ** 2) / 2
for axis, (step, lr) in zip(axes, [(sgd, 0.075), (momentum, 0.02), (adam, 0.25)], strict=True):
    path = walk(step, lr)
    axis.contour(*grid, height, levels=[0.2, 1, 3, 7, 14, 25], colors="#BBBBBB", linewidths=0.8)
    axis.plot(*path.T, "o-", color=BLUE, markersize=2.5, linewidth=1)
    axis.plot(0, 0, "*", color=RED, markersize=11)
    axis.set(title=f"{step.__name__}, learning rate {lr}", xlabel="$w_1$")
axes[0].set_ylabel("$w_2$")
show(figure, "Three paths down a narrow valley: SGD jumps from wall to wall, momentum swings "
     "and overshoots, Adam leaves along the diagonal, then curves to the minimum.")  # fmt: skip
claim("SGD at 0.079 comes closer", np.linalg.norm(walk(sgd, 0.079, 300)[-1]), "<", 0.1, exact=True)
claim("SGD at 0.081 is thrown out", np.linalg.norm(walk(sgd, 0.081, 300)[-1]), ">", 100, exact=True)

# %% [markdown]
# SGD jumps from wall to wall because its rate is close to the limit. Momentum takes a smaller
# rate, gains speed along the floor and overshoots. Adam divides each coordinate by the size of its
# own gradients, so both start at the same pace, along the diagonal. It is not magic: this valley
# runs along the axes, which is Adam's best case.
#
# Now the difference between weight decay and **L2 regularisation**. L2 adds
# $\tfrac{\lambda}{2}\lVert w\rVert^2$ to the loss, so $\lambda w$ to the gradient. For SGD the two
# are the same. In Adam the term $\lambda w$ is divided by $\sqrt v$ too, so a weight with large
# gradients hardly shrinks. To see it, two weights get gradients that only alternate: $\pm 10$ and
# $\pm 0.1$.

# %%
decayed, penalised = [np.ones(2)], [np.ones(2)]
state_a, state_b = {}, {}
for t in range(300):
    g = np.array([10, 0.1]) * (-1) ** t
    decayed.append(adamw(decayed[-1], g, state_a, lr=0.01))
    penalised.append(adam(penalised[-1], g + 0.1 * penalised[-1], state_b, lr=0.01))
figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), sharey=True)
for axis, path, title in zip(axes, (decayed, penalised), ("AdamW", "Adam with L2"), strict=True):
    axis.plot(np.array(path)[:, 0], label="gradients of size 10")
    axis.plot(np.array(path)[:, 1], "--", label="gradients of size 0.1")
    axis.set(title=title, xlabel="step", ylim=(0, 1.05))
axes[0].set_ylabel("weight")
axes[1].legend(loc="center right")
show(figure, "With AdamW both weights shrink alike. With L2 inside Adam the weight with large "
     "gradients stays near 1 and the other one falls to zero.")  # fmt: skip
claim("AdamW: difference of the two weights", np.ptp(decayed[-1]), "<", 0.001, exact=True)
claim("Adam with L2: difference of the two weights", np.ptp(penalised[-1]), ">", 0.5, exact=True)

# %% [markdown]
# With AdamW, decay is the same for every weight, which is one reason why it became the default for
# transformers (Loshchilov and Hutter 2019).
#
# ## Which learning rate?
#
# The limit in the valley was $2/25$ because we knew the curvature. In a network we do not, so we
# measure. The **range test** (Smith 2017) takes one short run: raise the rate a little at every
# step, from far too small to far too large, and write down the loss.


# %%
def range_test(optimizer, rates, batch=100):
    model, rng = network(optimizer, width=64, depth=3), np.random.default_rng(0)
    restart(model, 0)
    losses = []
    for rate in rates:
        rows = rng.integers(0, len(x_train), batch)
        model.optimizer.learning_rate = rate
        losses.append(float(model.train_on_batch(x_train[rows], y_train[rows])))
        model.reset_metrics()  # else Keras returns a mean over all steps
    return np.array(losses)


rates = np.geomspace(1e-4, 3, 100)
figure, axis = plt.subplots(figsize=(8, 3))
for name, color in (("Adam", BLUE), ("SGD", ORANGE)):
    losses = range_test(getattr(optimizers, name)(1e-4), rates)
    axis.plot(rates, losses, color=color, alpha=0.3, linewidth=0.8)
    axis.plot(rates[4:], np.convolve(losses, np.ones(5) / 5, "valid"), color=color, label=name)
axis.axhline(np.log(10), color="black", linestyle=":", linewidth=1)
axis.set(xscale="log", ylim=(0, 4), xlabel="learning rate", ylabel="loss of the batch")
axis.legend(loc="lower left")
show(figure, "Loss against learning rate on a logarithmic axis: flat at first, then falling, "
     "then exploding; Adam falls at rates far below those of SGD.")  # fmt: skip

# %% [markdown]
# Read the curve from the left. Flat: too small, nothing moves (the dotted line is $\ln 10$).
# Falling: useful. Rising: the cliff. A usual choice is a third to a tenth of the rate at the
# lowest point. The useful interval depends on the optimizer: never copy a rate from one to
# another.
#
# ### Warm-up and decay
#
# Adam's first steps are blind: after one step the corrected $m/\sqrt v$ is $\pm 1$, so every
# weight moves by the full $\eta$ however small its gradient is. **Warm-up** raises the rate from 0
# over the first steps. At the end, large steps only jump around the minimum. **Decay** lowers the
# rate to 0, here along half a cosine (Loshchilov and Hutter 2017).
#
# > **Myth:** a widely copied article sets up warm-up with
# > `LinearLR(optimizer, num_warmup_steps=0)`.
#
# > **Fact:** PyTorch's `LinearLR` has no such argument. Its arguments are `optimizer`,
# > `start_factor`, `end_factor`, `total_iters` and `last_epoch`. It moves a factor along one line
# > and then keeps it: up or down, never first up and then down. And zero warm-up steps would be
# > no warm-up. Warm-up followed by decay is another schedule.
#
# In Keras one schedule does both. A wrong name is refused at once, as the next cell shows.

# %%
try:
    CosineDecay(0.0, decay_steps=90, num_warmup_steps=10)
except TypeError as error:
    print("TypeError:", error)


def warm_cosine(step, peak, warmup, decay):
    """The learning rate at `step`: a line up to `peak`, then half a cosine down to 0."""
    if step < warmup:
        return peak * step / warmup
    progress = min(step - warmup, decay) / decay  # 0 to 1
    return peak * (1 + np.cos(np.pi * progress)) / 2


theirs = CosineDecay(0.0, decay_steps=90, warmup_target=0.06, warmup_steps=10)
curve = np.array([warm_cosine(step, 0.06, 10, 90) for step in range(120)])
largest = max(abs(float(theirs(step)) - rate) for step, rate in enumerate(curve))
claim("our schedule minus Keras', largest difference", largest, "<", 1e-7, exact=True)

# %% [markdown]
# Note that `decay_steps` counts the steps *after* warm-up. What does the schedule buy? We train a
# network with Adam on all the training digits: with a good rate, and with one six times as large.

# %%
steps = EPOCHS * -(-len(x_train) // 128)  # batches of 128


def schedule(name, peak):
    if name == "constant":
        return peak
    if name == "cosine":
        return CosineDecay(peak, decay_steps=steps)
    return CosineDecay(0.0, decay_steps=steps - steps // 5, warmup_target=peak, warmup_steps=steps // 5)


runs = {}
for peak, name in [(0.01, "constant"), (0.01, "warm-up + cosine"),
                   (0.06, "constant"), (0.06, "cosine"), (0.06, "warm-up + cosine")]:  # fmt: skip
    model = network(optimizers.Adam(schedule(name, peak)), width=64, depth=3)
    for seed in seeds:
        restart(model, seed)
        model.fit(x_train, y_train, batch_size=128, epochs=EPOCHS, verbose=0)
        runs.setdefault((peak, name), []).append(score(model, x_test, y_test))

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3), width_ratios=(1, 1.4))
axes[0].plot(curve)
axes[0].set(title="Warm-up and cosine decay", xlabel="step", ylabel="learning rate")
for place, ((peak, name), rows) in enumerate(runs.items()):
    losses, accuracies = np.array(rows).T
    axes[1].plot(losses, [-place] * len(losses), "o", color=BLUE if peak == 0.01 else RED, alpha=0.7)
    print(f"{peak}, {name:<17} test loss {losses.round(3)}   test accuracy {accuracies.round(3)}")
axes[1].set_yticks(-np.arange(len(runs)), [f"{peak}, {name}" for peak, name in runs])
axes[1].set(title="Test loss, one point for each seed", xlabel="nats", ylim=(0.5 - len(runs), 0.5))
axes[1].set_xlim(left=0)
show(figure, "Left: the rate rises on a line and falls along half a cosine. Right: warm-up "
     "with cosine gives the lowest test losses at both rates, a constant rate the "
     "highest.")  # fmt: skip
average = {key: np.mean([row[0] for row in rows]) for key, rows in runs.items()}
large = average[0.06, "warm-up + cosine"]
claim("at 0.06: loss with the schedule / with a constant rate", large / average[0.06, "constant"], "<", 0.75)
claim("at 0.06: loss with warm-up / without", large / average[0.06, "cosine"], "<", 0.9)
claim("with the schedule: loss at 0.06 / loss at 0.01", large / average[0.01, "warm-up + cosine"], "<", 1.3)

# %% [markdown]
# With a constant rate the last steps still jump, and the seed decides where they stop. At the large
# rate, decay alone helps a little and warm-up with decay much more. The last claim is the
# practical one: with the schedule, a rate six times as large costs almost nothing. **The schedule
# makes the choice of the rate less delicate.** Three seeds are few, so do not read more from the
# order of single points.
#
# ## Against over-fitting
#
# Back to the 200 images. Four ways to train the large network:
#
# - **nothing**: Adam for the full time;
# - **weight decay**: AdamW with $\lambda = 1$, weights that are not needed shrink;
# - **dropout**: during training each hidden unit is switched off with probability 1/2, and the rest
#   are doubled, so no unit can rely on one other (Srivastava et al. 2014);
# - **early stopping**: measure the validation loss after each epoch, stop when it has not fallen
#   for three epochs, and go back to the best weights (Prechelt 1998).

# %%
models = {
    "nothing": adam_model,
    "weight decay": network(optimizers.AdamW(3e-3, weight_decay=1.0)),
    "dropout": network(optimizers.Adam(3e-3), dropout=0.5),
    "early stopping": adam_model,
}
x_five, y_five = np.tile(x_few, (5, 1)), np.tile(y_few, 5)
outcome, histories = {}, {}
for name, model in models.items():
    stop = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    for seed in seeds:
        restart(model, seed)
        histories[name] = model.fit(
            x_five, y_five, batch_size=100, epochs=PASSES, verbose=0,
            validation_data=(x_valid, y_valid), validation_batch_size=len(x_valid),
            callbacks=[stop] if name == "early stopping" else [],
        ).history  # fmt: skip
        outcome.setdefault(name, []).append(score(model, x_test, y_test))
    loss, accuracy = np.array(outcome[name]).T
    print(f"{name:<15} test loss {loss.round(3)}   test accuracy {accuracy.round(3)}")

# %%
mean = {name: np.mean(rows, axis=0) for name, rows in outcome.items()}  # loss, accuracy
error = np.sqrt(mean["nothing"][1] * (1 - mean["nothing"][1]) / len(x_test))
figure, axes = plt.subplots(1, 3, figsize=(8.5, 3), width_ratios=(1.5, 1, 1))
for name, part_, color in [("nothing", "loss", BLUE), ("nothing", "val_loss", RED),
                           ("weight decay", "val_loss", GREEN)]:  # fmt: skip
    label = ("training, " if part_ == "loss" else "validation, ") + name
    axes[0].plot(np.arange(1, PASSES + 1), histories[name][part_], color=color, label=label)
axes[0].set(title="Loss of the last seed", xlabel="epoch (five passes)", ylabel="nats", ylim=(0, 1))
axes[0].set_xticks(range(2, PASSES + 1, 2))
axes[0].legend()
for axis, column, title in ((axes[1], 0, "Test loss"), (axes[2], 1, "Test accuracy")):
    for place, rows in enumerate(outcome.values()):
        axis.plot([place] * len(rows), [row[column] for row in rows], "o", color=BLUE, alpha=0.7)
    axis.set_xticks(range(4), ["nothing", "decay", "dropout", "stopping"], rotation=35)
    axis.set(title=title, xlim=(-0.5, 3.5))
axes[2].axhspan(mean["nothing"][1] - error, mean["nothing"][1] + error, color="#DDDDDD", zorder=0)
show(figure, "Left: the training loss goes to zero while the validation loss rises after a "
     "minimum; with weight decay it stays low. Right: weight decay and early stopping "
     "lower the test loss; the test accuracies lie in a grey band of one standard "
     "error.")  # fmt: skip

# %%
print(f"standard error of one test accuracy, from {len(x_test)} images: {error:.3f}")
spread = np.ptp([accuracy for _, accuracy in mean.values()])
claim("largest difference in mean accuracy", spread, "<", 3 * error)
ratio = {name: loss / mean["nothing"][0] for name, (loss, _) in mean.items()}
claim("weight decay: test loss / test loss with nothing", ratio["weight decay"], "<", 0.9)
claim("early stopping: test loss / test loss with nothing", ratio["early stopping"], "<", 0.97)

# %% [markdown]
# This is an honest result, and perhaps not the expected one. The grey band is one standard error
# around "nothing": a test set of this size cannot see differences of one point, and no method
# moves the accuracy by more than noise. The loss does differ. Weight decay and stopping lower it.
# Dropout alone does not lower it here; it is often combined with stopping. Over-fitting harms the
# *probabilities* first, and here the decisions hardly at all. Accuracy alone does not show it.
#
# ## k-fold cross-validation
#
# A single split of a small set is a lottery. **k-fold cross-validation** cuts the rows into $k$
# parts. Each part is the test part once, for a model trained on the others, and the $k$ scores are
# averaged. Every row is tested exactly once. We repeat both procedures on the 569 tumours of
# lesson 01, with many random shuffles.


# %%
def k_folds(rows, k, rng):
    """k pairs of (training rows, test rows); every row is a test row exactly once."""
    parts = np.array_split(rng.permutation(rows), k)
    return [(np.concatenate(parts[:i] + parts[i + 1 :]), parts[i]) for i in range(k)]


folds = k_folds(10, 3, np.random.default_rng(0))
print("test rows of 3 folds:", [sorted(test.tolist()) for _, test in folds])
tested = np.sort(np.concatenate([test for _, test in folds]))
overlap = sum(len(np.intersect1d(train, test)) for train, test in folds)
claim("rows that are not tested exactly once", np.sum(tested != np.arange(10)), "==", 0, exact=True)
claim("rows both in training and test", overlap, "==", 0, exact=True)

tumours = load("breast-cancer")
features = tumours.drop(columns=["label", "split"])
x_all = features.to_numpy()  # (569, 30)
malignant = (tumours["label"] == "malignant").to_numpy("int32")  # the class we look for is 1
linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
single, folded = [], []
for seed in range(REPEATS):
    folds = k_folds(len(x_all), 5, np.random.default_rng(seed))
    scores = [linear.fit(x_all[a], malignant[a]).score(x_all[b], malignant[b]) for a, b in folds]
    single.append(scores[0])
    folded.append(np.mean(scores))

# %%
figure, axis = plt.subplots(figsize=(8, 2.4))
rng = np.random.default_rng(0)
for place, values, color in ((1, single, ORANGE), (0, folded, BLUE)):
    axis.plot(values, place + rng.uniform(-0.2, 0.2, len(values)), "o", color=color, alpha=0.6)
axis.set_yticks([0, 1], ["mean of 5 folds", "one split, a fifth for test"])
axis.set(xlabel="measured accuracy", ylim=(-0.5, 1.5), title=f"The same model measured {REPEATS} times")
show(figure, "Accuracies of the same model over many shuffles: single splits scatter over "
     "several points, means of five folds lie close together.")  # fmt: skip
claim("spread of the 5-fold mean / spread of a single split", np.std(folded) / np.std(single), "<", 0.5)

# %% [markdown]
# Same model, same data. One split promises much, the next one less. The mean of
# five folds is far steadier, for five times the work. It uses all rows, so it is also the fairer
# number when rows are few (Hastie et al., section 7.10).
#
# ### A trap: choosing with the test rows
#
# Fifty patients, 5,000 measurements each, all random; random labels too. True accuracy is 1/2. We
# keep the 20 measurements that fit the labels best, then cross-validate a classifier. The *wrong*
# way selects once, on all rows. The *right* way selects again in each fold, on the training rows
# alone.

# %%
wrong, right = [], []
for seed in range(REPEATS // 4):
    rng = np.random.default_rng(seed)
    measurements, labels = rng.normal(size=(50, 5000)), rng.permutation([0, 1] * 25)
    chosen = SelectKBest(k=20).fit_transform(measurements, labels)  # sees the test rows
    wrong.append(cross_val_score(LogisticRegression(), chosen, labels, cv=5).mean())
    inside = make_pipeline(SelectKBest(k=20), LogisticRegression())
    right.append(cross_val_score(inside, measurements, labels, cv=5).mean())
print(f"selected on all rows: {np.mean(wrong):.2f}   selected inside each fold: {np.mean(right):.2f}")
claim("accuracy on pure noise, selected outside the folds", np.mean(wrong), ">", 0.9, headline=True)
claim("accuracy on pure noise, selected inside", np.mean(right), "<", 0.6)

# %% [markdown]
# More than nine in ten right, on noise. The classifier was cross-validated correctly; the
# *selection* was not. Among 5,000 random columns some fit all 50 labels by chance, test labels
# included. Everything that looks at data belongs inside the fold: selecting, scaling, building a
# vocabulary. A scikit-learn pipeline does this for us. (The example follows Hastie et al., section
# 7.10.2.)
#
# ## More than accuracy
#
# Most tumours are benign. A doctor who always says "benign" is right in most cases and finds no
# cancer. So we count four cases. TP: malignant and found. FN: missed. FP: false alarm. TN: the
# rest.
#
# $$\text{precision} = \frac{TP}{TP+FP} \qquad \text{recall} = \frac{TP}{TP+FN} \qquad
# F_1 = \frac{2\,TP}{2\,TP + FP + FN}$$
#
# Precision: of the alarms, how many are real? Recall: of the tumours, how many are found? $F_1$ is
# their harmonic mean. We use only three weak features, so that mistakes remain to be studied, and
# score each row by a model from a fold that did not see it.

# %%
weak = features[["mean texture", "mean smoothness", "mean symmetry"]].to_numpy()
known = (tumours["split"] != "test").to_numpy()
p_known = cross_val_predict(linear, weak[known], malignant[known], cv=5, method="predict_proba")[:, 1]
truth = malignant[known]


def counts(truth, alarm):
    tp, fp = np.sum(alarm & (truth == 1)), np.sum(alarm & (truth == 0))
    fn, tn = np.sum(~alarm & (truth == 1)), np.sum(~alarm & (truth == 0))
    return tp, fp, fn, tn


tp, fp, fn, tn = counts(truth, p_known > 0.5)
print(f"              alarm   no alarm\nmalignant      {tp:4}       {fn:4}\nbenign         {fp:4}       {tn:4}")
precision, recall, f1 = tp / (tp + fp), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn)
print(f"accuracy {(tp + tn) / len(truth):.3f} (always benign: {np.mean(truth == 0):.3f})")
print(f"precision {precision:.3f}  recall {recall:.3f}  F1 {f1:.3f}")
theirs = [metric(truth, p_known > 0.5) for metric in (precision_score, recall_score, f1_score)]
largest = np.abs(np.subtract([precision, recall, f1], theirs)).max()
claim("our three scores minus scikit-learn's", largest, "<", 1e-12, exact=True)

# %% [markdown]
# A classifier gives probabilities. The **threshold** 1/2 is our choice, and each threshold is
# another classifier. Move it from 1 to 0 and draw recall against the share of false alarms: the
# **ROC curve**. The area under it, **AUC**, has a simple meaning: pick one malignant and one
# benign case at random; AUC is the probability that the malignant one has the higher score. We
# count the pairs.
#
# Which threshold is best depends on what mistakes cost. Say a missed tumour costs 10 and a false
# alarm 1. If the probabilities can be trusted, raise the alarm when
# $10\,p > 1 - p$, so when $p > 1/11$ (Bishop, section 1.5.2).

# %%
higher = p_known[truth == 1][:, None] - p_known[truth == 0][None, :]  # (malignant, benign)
auc = np.mean(higher > 0) + np.mean(higher == 0) / 2
claim("AUC by pairs minus scikit-learn's", abs(auc - roc_auc_score(truth, p_known)), "<", 1e-12, exact=True)
thresholds = np.linspace(0.01, 0.99, 99)


def costs(truth, scores):
    return [10 * fn + fp for _, fp, fn, _ in (counts(truth, scores > t) for t in thresholds)]


price = np.array(costs(truth, p_known)) / len(truth)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.1))
axes[0].plot(*roc_curve(truth, p_known)[:2], label=f"AUC {auc:.2f}")
axes[0].plot([0, 1], [0, 1], ":", color="black", linewidth=1, label="guessing")
for t, color in ((0.5, RED), (1 / 11, GREEN)):
    tp, fp, fn, tn = counts(truth, p_known > t)
    axes[0].plot(fp / (fp + tn), tp / (tp + fn), "o", color=color, label=f"threshold {t:.2f}")
    axes[1].axvline(t, color=color, linestyle="--")
axes[0].set(title="ROC curve", xlabel="share of benign with an alarm", ylabel="share of malignant found (recall)")
axes[0].legend(loc="lower right")
axes[1].plot(thresholds, price)
axes[1].set(title="Cost a patient, missed = 10, false alarm = 1", xlabel="threshold", ylabel="cost", ylim=(0, None))
show(figure, "Left: ROC curve with the points of thresholds 0.5 and 1/11. Right: the mean cost"
     " is lowest for small thresholds, near 1/11, and much higher at 0.5.")  # fmt: skip

# %% [markdown]
# The theory's 1/11 lies in the flat bottom of the measured cost. Does it hold for patients who
# were not used at all so far? This is the moment for the test part.

# %%
linear.fit(weak[known], malignant[known])
p_new = linear.predict_proba(weak[~known])[:, 1]
cost = {}
for t in (1 / 2, 1 / 11):
    tp, fp, fn, tn = counts(malignant[~known], p_new > t)
    cost[t] = (10 * fn + fp) / len(p_new)
    print(
        f"threshold {t:.2f}: accuracy {(tp + tn) / len(p_new):.2f}  missed {fn}  false alarms {fp}  cost {cost[t]:.2f}"
    )
claim("cost at 1/11 / cost at 1/2", cost[1 / 11] / cost[1 / 2], "<", 0.75)

# %% [markdown]
# Accuracy falls and the decision gets better. Which score to optimise is a question about the
# world, and no library can answer it.
#
# ## First contact with text: watching a run with TensorBoard
#
# Now over-fitting on real language. This set has movie-review snippets, each positive or negative.
# It will be with us for many lessons. The simplest input is a **bag of words**: for each of 2,000
# frequent words, does it occur? (Lesson 08 does words properly.) The vocabulary comes from the
# training part only.
#
# `keras.callbacks.TensorBoard` writes every epoch to a log, which a browser can show while
# training runs. We remove an old log first, or two runs would be drawn as one.

# %%
snippets = load("movie-snippets")
texts = {split: rows for split, rows in snippets.groupby("split")}
words = CountVectorizer(max_features=2000, binary=True).fit(texts["train"]["text"])
bags = {split: words.transform(rows["text"]).toarray().astype("float32") for split, rows in texts.items()}
stars = {split: rows["label"].cat.codes.to_numpy("float32") for split, rows in texts.items()}
print({split: bag.shape for split, bag in bags.items()})


reader = keras.Sequential([keras.Input((2000,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(1)])
accuracy = keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)  # a logit above 0 is a yes
loss = keras.losses.BinaryCrossentropy(from_logits=True)
reader.compile(optimizers.Adam(2e-3), loss, metrics=[accuracy], jit_compile=False)


def train_reader(seed, callbacks):
    restart(reader, seed)
    reader.fit(bags["train"], stars["train"], batch_size=256, epochs=TEXT_EPOCHS, verbose=0,
               validation_data=(bags["validation"], stars["validation"]), callbacks=callbacks)  # fmt: skip
    return {split: np.array(reader(bags[split]))[:, 0] for split in ("validation", "test")}  # logits


shutil.rmtree("runs/04_movie_snippets", ignore_errors=True)
board = keras.callbacks.TensorBoard(log_dir="runs/04_movie_snippets", write_graph=False)
readers = [train_reader(seed, [board, ProgressLine()] if seed == 0 else []) for seed in seeds]

# %% [markdown]
# Open the log with this command in the folder of the repository, and visit the address it prints:
#
# ```
# tensorboard --logdir lessons/runs
# ```
#
# To be sure what is in it, we read the log back and draw it ourselves.


# %%
def read_log(folder):
    log = EventAccumulator(folder, size_guidance={"tensors": 0}).Reload()
    return {tag: [float(make_ndarray(event.tensor_proto)) for event in log.Tensors(tag)]
            for tag in log.Tags()["tensors"] if tag.startswith("epoch_")}  # fmt: skip


logs = {name: read_log(f"runs/04_movie_snippets/{name}") for name in ("train", "validation")}
print({name: {tag: len(values) for tag, values in log.items()} for name, log in logs.items()})
figure, axes = plt.subplots(1, 2, figsize=(8, 2.9))
for axis, tag in zip(axes, ("epoch_loss", "epoch_accuracy"), strict=True):
    for (name, log), color in zip(logs.items(), (BLUE, RED), strict=True):
        axis.plot(np.arange(1, TEXT_EPOCHS + 1), log[tag], "o-", color=color, markersize=3, label=name)
    axis.set(title=tag.replace("_", " "), xlabel="epoch")
axes[0].legend()
show(figure, "From the TensorBoard log: the training loss keeps falling, the validation loss "
     "has its minimum after a few epochs and then rises, while the validation accuracy"
     " stays flat.")  # fmt: skip
valid = logs["validation"]
claim("values in the log for each curve", len(valid["epoch_loss"]), "==", TEXT_EPOCHS, exact=True)
claim("last validation loss / lowest validation loss", valid["epoch_loss"][-1] / min(valid["epoch_loss"]), ">", 1.1)
drop = max(valid["epoch_accuracy"]) - valid["epoch_accuracy"][-1]
claim("validation accuracy lost from its best epoch to the last", drop, "<", 0.03)

# %% [markdown]
# The same picture as with the digits, in words. The loss rises clearly and the accuracy stays. So
# the later epochs hardly make worse decisions. They make the network too sure of them.
#
# ## Calibration
#
# A forecaster who says "70%" should be right in 70% of such cases. Sort the predictions into ten
# bins by probability and compare the mean prediction with the share of positives: a **reliability
# diagram**. The mean gap, weighted by the size of the bins, is the **expected calibration error**,
# ECE.
#
# The cheapest repair is **temperature scaling** (Guo et al. 2017): divide all logits by one number
# $T$, chosen for the lowest loss on the *validation* part. With $T > 1$ every probability moves
# towards 1/2. No decision changes, because the sign of a logit stays.


# %%
def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def log_loss(z, y):
    return np.mean(np.logaddexp(0, z) - y * z)  # cross-entropy from logits, without overflow


def bins(z, y, count=10):
    place = np.minimum((sigmoid(z) * count).astype(int), count - 1)
    used = [k for k in range(count) if np.any(place == k)]
    return np.array([(sigmoid(z[place == k]).mean(), y[place == k].mean(), np.mean(place == k)) for k in used])


def ece(z, y):
    predicted, observed, share = bins(z, y).T
    return np.sum(share * np.abs(predicted - observed))


# %%
grid = np.geomspace(0.2, 20, 400)
rows = []
for logits in readers:
    z_valid, z_test = logits["validation"], logits["test"]
    T = grid[np.argmin([log_loss(z_valid / t, stars["validation"]) for t in grid])]
    y = stars["test"]
    rows.append((T, ece(z_test, y), ece(z_test / T, y), log_loss(z_test, y), log_loss(z_test / T, y)))
    print("T {:.2f}   test ECE {:.3f} -> {:.3f}   test loss {:.3f} -> {:.3f}".format(*rows[-1]))

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True)
for axis, z, title in zip(axes, (z_test, z_test / T), ("as trained", f"divided by T = {T:.2f}"), strict=True):
    predicted, observed, share = bins(z, y).T
    axis.plot([0, 1], [0, 1], ":", color="black", linewidth=1)
    axis.scatter(predicted, observed, s=20 + 900 * share, color=BLUE, alpha=0.6)
    axis.set(title=f"Logits {title}: ECE {ece(z, y):.3f}", xlabel="predicted probability", aspect="equal")
    axis.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
axes[0].set_ylabel("share that is positive")
show(figure, "Two reliability diagrams, larger points for more snippets. As trained, "
     "predictions near 0 and 1 are far from the diagonal and hold most snippets; after"
     " temperature scaling the points lie on it.")  # fmt: skip
_, before, after, loss_before, loss_after = np.array(rows).T
claim("ECE as trained", before, ">", 0.08)
claim("ECE after temperature scaling", after, "<", 0.05, headline=True)
claim("test loss after / before", np.mean(loss_after) / np.mean(loss_before), "<", 0.9)

# %% [markdown]
# One number, learned on data the network had not seen, removes most of the false certainty. It
# cannot repair the decisions: what was wrong stays wrong, but now it is said with doubt.
#
# ## Summary
#
# 1. A network can fit pure noise. Only data that was used for nothing else tells what it has
#    learned.
# 2. Cross-entropy is the mean price of surprise, $-\ln p$; minimising it is maximum likelihood.
# 3. Adam adapts the step of each weight, AdamW decays all alike; the range test finds the cliff,
#    and warm-up with decay lets us work near it.
# 4. Over-fitting can harm probabilities before decisions: watch the validation loss. Select and
#    scale inside the fold.
# 5. Thresholds follow from costs, and costs need calibrated probabilities; one temperature often
#    suffices.
#
# ## Exercises
#
# In [exercises/05_optimisers.ipynb](exercises/05_optimisers.ipynb)
# you write a cross-entropy that never overflows, one step of Adam, a schedule with warm-up, the
# AUC without a loop over pairs, and the temperature that repairs a network which is too sure.
#
# ## References
#
# - C. Bishop, *Pattern Recognition and Machine Learning*, 2006: sections 1.5.2 (decisions),
#   4.3.4 (cross-entropy).
# - I. Goodfellow, Y. Bengio and A. Courville, *Deep Learning*, 2016: chapters 5 (5.5 on
#   likelihood), 7 and 8.
# - T. Hastie, R. Tibshirani and J. Friedman, *The Elements of Statistical Learning*, 2nd
#   edition, 2009: section 7.10.
# - D. Kingma and J. Ba, "Adam: A method for stochastic optimization", ICLR 2015: algorithm 1.
# - I. Loshchilov and F. Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017.
# - I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019: algorithm 2.
# - L. Smith, "Cyclical learning rates for training neural networks", WACV 2017: section 3.3.
# - N. Srivastava et al., "Dropout: A simple way to prevent neural networks from overfitting",
#   JMLR 15, 2014.
# - L. Prechelt, "Early stopping: but when?", in *Neural Networks: Tricks of the Trade*, 1998.
# - C. Zhang et al., "Understanding deep learning requires rethinking generalization", ICLR 2017.
# - C. Guo et al., "On calibration of modern neural networks", ICML 2017: section 4.2.
