# %% [markdown]
# # Exercises 04 · Training that generalises
#
# Five exercises on [lesson 05](../05_optimisers.ipynb). Write your answer in the
# cell below each task and run the check. Each exercise stands alone; the whole notebook runs in
# seconds.

# %%
import numpy as np
from sklearn.linear_model import LogisticRegression

from kerasllm.course import case, check

# %% [markdown]
# ## Exercise 1: a cross-entropy that never overflows
#
# A unit gives the logit $z$, and $p = \sigma(z)$ is the probability of label 1. The loss is
# $-\ln p$ when the label is 1, and $-\ln(1-p)$ when it is 0. Return the **mean** loss of arrays
# `logits` and `labels`, both of shape (batch,), in nats.
#
# Predict first: what does the obvious formula give for $z = 1000$ and label 0? The loss there is
# 1000. A network that is sure and wrong must get this number, not infinity. NumPy has a function
# that adds in the logarithmic domain.


# %% tags=["answer"]
def cross_entropy(logits, labels):
    """Mean binary cross-entropy in nats, straight from logits."""
    ### BEGIN SOLUTION
    # -ln p = ln(1 + e^-z) for label 1 and ln(1 + e^z) = z + ln(1 + e^-z) for label 0
    return np.mean(np.logaddexp(0, -logits) + (1 - labels) * logits)
    ### END SOLUTION


# %% tags=["check"]
check(
    cross_entropy,
    case("no opinion costs one bit", np.array([0.0, 0.0]), np.array([0, 1]), expect=np.log(2)),
    case("label 1", np.array([2.0]), np.array([1]), expect=0.126928011),
    case("label 0", np.array([2.0]), np.array([0]), expect=2.126928011),
    case("a mean, not a sum", np.array([2.0, 2.0]), np.array([1, 0]), expect=1.126928011),
    case("sure and wrong", np.array([1000.0]), np.array([0]), expect=1000.0),
    case("sure and wrong, other side", np.array([-1000.0]), np.array([1]), expect=1000.0),
    case("sure and right", np.array([1000.0, -1000.0]), np.array([1, 0]), expect=0.0),
    hint="-ln p is ln(1 + exp(-z)). np.logaddexp(a, b) computes ln(exp(a) + exp(b)) safely.",
)


# %% tags=["wrong"]
def cross_entropy(logits, labels):
    # the obvious formula: it overflows
    with np.errstate(all="ignore"):
        p = 1 / (1 + np.exp(-logits))
        return -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p))


# %% tags=["wrong"]
def cross_entropy(logits, labels):
    # clipped: no infinity, but the price of false certainty is wrong
    p = np.clip(1 / (1 + np.exp(-np.clip(logits, -500, 500))), 1e-7, 1 - 1e-7)
    return -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p))


# %% [markdown]
# ## Exercise 2: one step of Adam
#
# Write step number `t` of Adam ($t = 1, 2, \dots$) for a weight vector `w` with gradient `g`. `m`
# and `v` are the running means before the step. Return the new `w`, `m` and `v`.
#
# $$m \leftarrow \beta_1 m + (1-\beta_1) g \qquad v \leftarrow \beta_2 v + (1-\beta_2) g^2$$
#
# Both means start at 0, so divide them by $1-\beta_1^t$ and $1-\beta_2^t$ before you use them. The
# step is $-\eta\, \hat m / (\sqrt{\hat v} + \epsilon)$.
#
# Predict first: how far does the very first step move a weight whose gradient is one thousandth?
# And one whose gradient is one thousand?


# %% tags=["answer"]
def adam_step(w, g, m, v, t, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-7):
    """One step of Adam: new weights, new mean of g, new mean of g squared."""
    ### BEGIN SOLUTION
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return w - lr * m_hat / (np.sqrt(v_hat) + eps), m, v
    ### END SOLUTION


# %% tags=["check"]
ones, zeros, small_large = np.ones(2), np.zeros(2), np.array([0.001, 1000.0])
check(
    adam_step,
    case(
        "the first step has the same size for both gradients",
        *(ones, small_large, zeros, zeros, 1),
        expect=lambda result: (
            None
            if np.allclose(result[0], 0.9, atol=1e-4)
            else "the first step should move each weight by about the learning rate."
        ),
    ),
    case(
        "the means come back uncorrected",
        *(ones, small_large, zeros, zeros, 1),
        expect=lambda result: (
            None
            if np.allclose(result[1], 0.1 * small_large) and np.allclose(result[2], 0.001 * small_large**2)
            else "the returned means are not the running means of the formulas."
        ),
    ),
    case(
        "a later step",
        *(np.array([1.0, -2.0]), np.array([0.5, 0.1]), np.array([0.2, -0.1]), np.array([0.04, 0.01]), 7),
        expect=(
            np.array([0.98163313, -1.98718960]),
            np.array([0.23, -0.08]),
            np.array([0.04021, 0.01]),
        ),
        tolerance=1e-5,
    ),
    hint="Keep the running means and their corrected versions in different variables.",
)


# %% tags=["wrong"]
def adam_step(w, g, m, v, t, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-7):
    # no bias correction: the first step is about three times too large
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return w - lr * m / (np.sqrt(v) + eps), m, v


# %% tags=["wrong"]
def adam_step(w, g, m, v, t, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-7):
    # the corrected means are stored: they are corrected again in the next step
    m = (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)
    v = (beta2 * v + (1 - beta2) * g**2) / (1 - beta2**t)
    return w - lr * m / (np.sqrt(v) + eps), m, v


# %% [markdown]
# ## Exercise 3: warm-up and decay
#
# Return the learning rate at `step` (0, 1, 2, ...): on a line from 0 at step 0 to `peak` at step
# `warmup`, then half a cosine from `peak` down to `floor` at step `total`, and `floor` for ever
# after. Note that `total` counts *all* steps, warm-up included; in Keras `decay_steps` counts only
# those after it. And `warmup` may be 0.


# %% tags=["answer"]
def learning_rate(step, peak, warmup, total, floor=0.0):
    """Linear warm-up, then cosine decay to `floor` at step `total`."""
    ### BEGIN SOLUTION
    if step < warmup:
        return peak * step / warmup
    progress = min(1.0, (step - warmup) / (total - warmup))
    return floor + (peak - floor) * (1 + np.cos(np.pi * progress)) / 2
    ### END SOLUTION


# %% tags=["check"]
check(
    learning_rate,
    case("the start", 0, 0.1, 10, 110, expect=0.0),
    case("half of the warm-up", 5, 0.1, 10, 110, expect=0.05),
    case("the peak", 10, 0.1, 10, 110, expect=0.1),
    case("half of the decay", 60, 0.1, 10, 110, expect=0.05),
    case("a quarter of the decay", 35, 0.1, 10, 110, expect=0.0853553391),
    case("the end", 110, 0.1, 10, 110, expect=0.0),
    case("long after the end", 250, 0.1, 10, 110, expect=0.0),
    case("half of the decay with a floor", 60, 0.1, 10, 110, 0.02, expect=0.06),
    case("after the end with a floor", 400, 0.1, 10, 110, 0.02, expect=0.02),
    case("no warm-up", 0, 0.1, 0, 100, expect=0.1),
    hint="After warm-up, compute how much of the decay is done, from 0 to 1 and never more.",
)


# %% tags=["wrong"]
def learning_rate(step, peak, warmup, total, floor=0.0):
    # the rate rises again after the end: a cosine is periodic
    if step < warmup:
        return peak * step / warmup
    return floor + (peak - floor) * (1 + np.cos(np.pi * (step - warmup) / (total - warmup))) / 2


# %% tags=["wrong"]
def learning_rate(step, peak, warmup, total, floor=0.0):
    # the decay lasts `total` steps after warm-up, as Keras' decay_steps would
    if step < warmup:
        return peak * step / warmup
    progress = min(1.0, (step - warmup) / total)
    return floor + (peak - floor) * (1 + np.cos(np.pi * progress)) / 2


# %% [markdown]
# ## Exercise 4: AUC from ranks
#
# In the lesson we compared every positive case with every negative one. With a million cases of
# each that is $10^{12}$ pairs. Ranks do the same after one sort. Sort all scores and number them
# 1, 2, 3, ...; the ranks of the $P$ positive cases add up to $R$. Then
#
# $$\mathrm{AUC} = \frac{R - P(P+1)/2}{P \cdot N},$$
#
# with $N$ the number of negative cases. (Why $P(P+1)/2$? It is the smallest value that $R$ can
# have.)
#
# Equal scores share a rank: their mean. This matters more than one thinks. What should the AUC be
# if a model gives *everybody* the same score? Tip: `scipy.stats.rankdata` ranks like this; in
# NumPy, `np.searchsorted` on the sorted scores finds how many scores are smaller, or smaller or
# equal.


# %% tags=["answer"]
def auc(labels, scores):
    """Probability that a random positive case has a higher score than a random negative one."""
    ### BEGIN SOLUTION
    ordered = np.sort(scores)
    below = np.searchsorted(ordered, scores, side="left")  # scores smaller than this one
    up_to = np.searchsorted(ordered, scores, side="right")  # smaller or equal
    ranks = (below + 1 + up_to) / 2
    positive = np.sum(labels == 1)
    negative = len(labels) - positive
    return (ranks[labels == 1].sum() - positive * (positive + 1) / 2) / (positive * negative)
    ### END SOLUTION


# %% tags=["check"]
many = np.random.default_rng(1)
many_labels = np.arange(200_000) % 2
many_scores = many.normal(size=200_000) + many_labels  # two bells, one standard deviation apart
check(
    auc,
    case("a perfect order", np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.7, 0.9]), expect=1.0),
    case("the reverse", np.array([1, 1, 0, 0]), np.array([0.1, 0.2, 0.7, 0.9]), expect=0.0),
    case("one pair of four is wrong", np.array([0, 1, 0, 1]), np.array([0.1, 0.3, 0.5, 0.8]), expect=0.75),
    case("everybody gets the same score", np.array([1, 0, 1, 0, 0]), np.full(5, 0.5), expect=0.5),
    case("some equal scores", np.array([1, 0, 0, 1]), np.array([0.5, 0.5, 0.1, 0.9]), expect=0.875),
    case("logits are good scores too", np.array([0, 1, 0, 1]), np.array([-9.0, -3, 0, 4]), expect=0.75),
    case("200,000 cases", many_labels, many_scores, expect=0.7602, tolerance=0.005),
    hint="Ranks of equal scores: the mean of the first and the last place they occupy.",
)


# %% tags=["wrong"]
def auc(labels, scores):
    # equal scores get different ranks, in the order of the rows
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable") + 1
    positive = np.sum(labels == 1)
    negative = len(labels) - positive
    return (ranks[labels == 1].sum() - positive * (positive + 1) / 2) / (positive * negative)


# %% tags=["wrong"]
def auc(labels, scores):
    # the accuracy at threshold 1/2 is another thing
    return np.mean((scores > 0.5) == (labels == 1))


# %% [markdown]
# ## Exercise 5: how much doubt is missing?
#
# Here is a model that is too sure: logistic regression without regularisation on 60 rows with 40
# columns, of which 3 mean something. Write `temperature`: the number $T$ for which `logits / T`
# has the lowest mean cross-entropy. Search from 0.1 to 100, and be accurate to one percent.
#
# Then comes the surprise. Predict: what $T$ do you get if you choose it on the *training* rows,
# which the model fits perfectly?


# %% tags=["answer"]
def temperature(logits, labels):
    """The T from 0.1 to 100 that gives logits / T the lowest cross-entropy."""
    ### BEGIN SOLUTION
    candidates = np.geomspace(0.1, 100, 2001)  # neighbours differ by 0.35 percent
    scaled = logits / candidates[:, None]  # (candidates, batch)
    losses = np.mean(np.logaddexp(0, scaled) - labels * scaled, axis=1)
    return candidates[np.argmin(losses)]
    ### END SOLUTION


# %% tags=["check"]
rng = np.random.default_rng(2)
honest = rng.normal(size=20_000) * 2
outcome = (rng.random(20_000) < 1 / (1 + np.exp(-honest))).astype(int)  # so these logits are calibrated
three_of_four = np.array([1, 1, 1, 0])  # right 3 times of 4, so the best logit is ln 3
check(
    temperature,
    case("logit 4, right 3 times of 4", np.full(4, 4.0), three_of_four, expect=4 / np.log(3), tolerance=0.01),
    case("the same with label 0", np.full(4, -4.0), 1 - three_of_four, expect=4 / np.log(3), tolerance=0.01),
    case("not sure enough", np.full(4, 0.5), three_of_four, expect=0.5 / np.log(3), tolerance=0.01),
    case("calibrated logits", honest, outcome, expect=1.0, tolerance=0.05),
    case("the same, five times too large", 5 * honest, outcome, expect=5.0, tolerance=0.05),
    case("always right: more certainty always pays", np.array([3.0, -3.0]), np.array([1, 0]), expect=0.1),
    hint="Try many T on a logarithmic grid and keep the one with the lowest loss.",
)


# %% tags=["wrong"]
def temperature(logits, labels):
    # matches the mean size of the probabilities, not the loss, and multiplies instead of dividing
    candidates = np.geomspace(0.1, 100, 2001)
    scaled = logits * candidates[:, None]
    return candidates[np.argmin(np.mean(np.logaddexp(0, scaled) - labels * scaled, axis=1))]


# %% tags=["wrong"]
def temperature(logits, labels):
    # chooses for accuracy, which no temperature changes
    candidates = np.geomspace(0.1, 100, 2001)
    accuracy = np.mean((logits / candidates[:, None] > 0) == labels, axis=1)
    return candidates[np.argmax(accuracy)]


# %% [markdown]
# Now the surprise. If the check passed, the next cell prints both temperatures, and what each does
# to rows that the model has not seen.

# %%
rng = np.random.default_rng(0)
rows = rng.normal(size=(2060, 40))
labels = (rows[:, :3].sum(axis=1) + rng.normal(size=2060) > 0).astype(int)
model = LogisticRegression(C=np.inf, max_iter=5000).fit(rows[:60], labels[:60])
logits = model.decision_function(rows)
parts = {"training": slice(0, 60), "validation": slice(60, 1060)}


def loss(z, y):
    return np.mean(np.logaddexp(0, z) - y * z)


print(f"test loss as trained: {loss(logits[1060:], labels[1060:]):.2f} (a coin: {np.log(2):.2f})")
try:
    for name, part in parts.items():
        T = temperature(logits[part], labels[part])
        after = loss(logits[1060:] / T, labels[1060:])
        print(f"T chosen on the {name} rows: {T:.2f}, test loss {after:.2f}")
except NotImplementedError:
    print("temperature is not written yet.")
