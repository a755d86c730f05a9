# %% [markdown]
# # Exercises 07 · Measuring
#
# Five exercises and an experiment on [lesson 07](../07_measuring.ipynb), each alone. They need
# NumPy and run in seconds. Where the text says *predict*, write your guess down before you run
# anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: precision and recall
#
# Return precision and recall of the alarms. `truth` and `alarm` hold 0 and 1. Where there is no
# alarm at all, precision is 0 by agreement; where there is no sick patient, recall is 0.
#
# *Predict:* which of the two changes when a healthy patient without an alarm is added?


# %% tags=["answer"]
def precision_recall(truth, alarm):
    """truth, alarm: arrays (patients,) of 0 and 1. Returns (precision, recall)."""
    ### BEGIN SOLUTION
    found = np.sum(truth * alarm)
    return found / max(np.sum(alarm), 1), found / max(np.sum(truth), 1)
    ### END SOLUTION


# %% tags=["check"]
check(
    precision_recall,
    case("ten patients", np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 1, 0, 0, 0, 0, 0]),
         expect=[0.5, 2 / 3]),
    case("everybody", np.array([1, 0, 0, 0]), np.ones(4, int), expect=[0.25, 1.0]),
    case("nobody", np.array([1, 0]), np.zeros(2, int), expect=[0.0, 0.0]),
    case("nobody is sick", np.zeros(3, int), np.array([1, 0, 0]), expect=[0.0, 0.0]),
    case("one sure alarm", np.array([1, 1, 1, 1, 0]), np.array([0, 1, 0, 0, 0]), expect=[1.0, 0.25]),
    nudge="Precision asks about the alarms, recall about the sick. By which count is each divided?",
    hint="Both have the found ones above the line. Below it stand all alarms, or all sick patients.",
)  # fmt: skip


# %% tags=["right"]
def precision_recall(truth, alarm):  # a loop that counts the three kinds of cases
    hits = false = missed = 0
    for sick, rings in zip(truth, alarm, strict=True):
        if sick and rings:
            hits += 1
        elif rings:
            false += 1
        elif sick:
            missed += 1
    return (hits / (hits + false) if hits + false else 0), (hits / (hits + missed) if hits + missed else 0)


# %% tags=["right"]
def precision_recall(truth, alarm):  # library
    from sklearn.metrics import precision_score, recall_score

    return precision_score(truth, alarm, zero_division=0), recall_score(truth, alarm, zero_division=0)


# %% tags=["right"]
def precision_recall(truth, alarm):  # one table, 32-bit numbers
    truth, alarm = truth.astype("float32"), alarm.astype("float32")
    return (truth @ alarm) / np.maximum([alarm.sum(), truth.sum()], 1)


# %% tags=["wrong"]
def precision_recall(truth, alarm):
    found = np.sum(truth * alarm)
    return found / max(np.sum(truth), 1), found / max(np.sum(alarm), 1)  # exchanged


# %% tags=["wrong"]
def precision_recall(truth, alarm):
    right = np.sum(truth == alarm)  # counts the healthy without an alarm too
    return right / len(truth), np.sum(truth * alarm) / max(np.sum(truth), 1)


# %% tags=["wrong"]
def precision_recall(truth, alarm):
    found = np.sum(truth * alarm)
    return found / np.maximum(np.sum(alarm), 1), found / len(truth)  # the share of all patients


# %% tags=["wrong"]
def precision_recall(truth, alarm):
    share = np.sum(truth * alarm) / max(np.sum(alarm), 1)
    return share, share  # one for both: right where as many alarms ring as patients are sick


# %% [markdown]
# Neither changes: the rest of the table, the healthy without an alarm, is in neither formula.
#
# ## Exercise 2: AUC from ranks
#
# In the lesson we compared every positive case with every negative one. With a million cases of
# each that is $10^{12}$ pairs. Ranks do the same after one sort. Sort all scores and number them 1,
# 2, 3, ...; the ranks of the $P$ positive cases add up to $R$. Then
#
# $$\mathrm{AUC} = \frac{R - P(P+1)/2}{P \cdot N},$$
#
# with $N$ the number of negative cases. (Why $P(P+1)/2$? It is the smallest value that $R$ can
# have.) Equal scores share a rank: their mean.
#
# *Predict:* what should the AUC be if a model gives everybody the same score? Tip:
# `scipy.stats.rankdata` ranks like this; in NumPy, `np.searchsorted` on the sorted scores finds how
# many scores are smaller, or smaller or equal.


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
many_labels = np.arange(20_000) % 2
many_scores = many.normal(size=20_000) + many_labels  # two bells, one standard deviation apart
check(
    auc,
    case("a perfect order", np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.7, 0.9]), expect=1.0),
    case("the reverse", np.array([1, 1, 0, 0]), np.array([0.1, 0.2, 0.7, 0.9]), expect=0.0),
    case("one pair of four is wrong", np.array([0, 1, 0, 1]), np.array([0.1, 0.3, 0.5, 0.8]), expect=0.75),
    case("everybody gets the same score", np.array([1, 0, 1, 0, 0]), np.full(5, 0.5), expect=0.5),
    case("some equal scores", np.array([1, 0, 0, 1]), np.array([0.5, 0.5, 0.1, 0.9]), expect=0.875),
    case("logits are good scores too", np.array([0, 1, 0, 1]), np.array([-9.0, -3, 0, 4]), expect=0.75),
    case("20,000 cases", many_labels, many_scores, expect=0.7620, tolerance=0.0005),
    nudge="Which rank do two equal scores get? Try the case in which all scores are equal on paper.",
    hint="Ranks of equal scores: the mean of the first and the last place they occupy.",
)


# %% tags=["right"]
def auc(labels, scores):  # library for the ranks
    from scipy.stats import rankdata

    positive = labels == 1
    P, N = positive.sum(), (~positive).sum()
    return (rankdata(scores)[positive].sum() - P * (P + 1) / 2) / (P * N)


# %% tags=["right"]
def auc(labels, scores):  # library for all of it
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(labels, scores)


# %% tags=["right"]
def auc(labels, scores):  # a loop over groups of equal scores, from the lowest
    negatives = positives = 0
    wins = 0.0
    order = sorted(zip(scores.tolist(), labels.tolist(), strict=True))
    while order:
        score, found, lost = order[-1][0], 0, 0
        while order and order[-1][0] == score:
            label = order.pop()[1]
            found, lost = found + label, lost + 1 - label
        wins += lost * (positives + found / 2)
        positives, negatives = positives + found, negatives + lost
    return wins / (positives * negatives)


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


# %% tags=["wrong"]
def auc(labels, scores):
    wins = scores[labels == 1][:, None] >= scores[labels == 0][None]  # an equal score counts as a win
    return wins.mean()


# %% tags=["wrong"]
def auc(labels, scores):
    from scipy.stats import rankdata

    positive = np.sum(labels == 1)
    return (
        rankdata(scores)[labels == 1].sum() - positive * (positive + 1) / 2
    ) / positive**2  # right for equal numbers


# %% [markdown]
# ## Exercise 3: three things that a doctor can do
#
# For each patient there is a probability $p$ of being malignant. The doctor may do nothing (0),
# treat (1), or examine again (2). Doing nothing costs `missed` if the patient is malignant,
# treating costs `false` if not, and another examination costs `examine` in any case and settles it.
# Return the number of the cheapest action for each patient, by expected cost. (There are no ties in
# the check.)
#
# *Predict:* for which $p$ will nobody examine again?


# %% tags=["answer"]
def cheapest(p, missed, false, examine):
    """p: array (patients,). Returns an array of 0, 1 and 2 (patients,)."""
    ### BEGIN SOLUTION
    return np.argmin([missed * p, false * (1 - p), np.full(len(p), examine)], axis=0)
    ### END SOLUTION


# %% tags=["check"]
some = np.array([0.02, 0.2, 0.6, 0.97])
check(
    cheapest,
    case("equal costs, dear examination", some, 1, 1, 9, expect=np.array([0, 0, 1, 1])),
    case("a missed one costs ten", some, 10, 1, 9, expect=np.array([0, 1, 1, 1])),
    case("a false alarm costs ten", some, 1, 10, 9, expect=np.array([0, 0, 0, 1])),
    case("a cheap examination", some, 10, 1, 0.3, expect=np.array([0, 2, 2, 1])),
    case("nearly free", some, 10, 10, 0.1, expect=np.array([2, 2, 2, 2])),
    nudge="What does each action cost on average for a patient with p = 0.2? Write the three numbers down.",
    hint="The costs are missed * p, false * (1 - p) and examine. np.argmin over the three rows gives the action.",
)


# %% tags=["right"]
def cheapest(p, missed, false, examine):  # a loop with branches
    actions = []
    for chance in p:
        nothing, treat = missed * chance, false * (1 - chance)
        if examine < nothing and examine < treat:
            actions.append(2)
        else:
            actions.append(0 if nothing < treat else 1)
    return actions


# %% tags=["right"]
def cheapest(p, missed, false, examine):  # choices between whole arrays
    nothing, treat = missed * p, false * (1 - p)
    return np.where(examine < np.minimum(nothing, treat), 2, np.where(treat < nothing, 1, 0))


# %% tags=["right"]
def cheapest(p, missed, false, examine):  # a table of costs, times the two chances; 32-bit numbers, tensors
    from keras import ops

    costs = np.array([[missed, 0], [0, false], [examine, examine]], "float32")
    return ops.argmin(ops.matmul(costs, np.stack([p, 1 - p]).astype("float32")), axis=0)


# %% tags=["wrong"]
def cheapest(p, missed, false, examine):
    return np.argmin([false * p, missed * (1 - p), np.full(len(p), examine)], axis=0)  # right for equal costs


# %% tags=["wrong"]
def cheapest(p, missed, false, examine):
    return (p > false / (missed + false)).astype(int)  # never examines again


# %% tags=["wrong"]
def cheapest(p, missed, false, examine):
    return np.argmin([np.full(len(p), missed), np.full(len(p), false), np.full(len(p), examine)], axis=0)  # without p


# %% [markdown]
# Near 0 and near 1 nobody needs to ask again. An examination is worth its price where the doubt is
# large.
#
# ## Exercise 4: the same cases for both
#
# `first` and `second` say for each case whether a model was right (True or False). Return the
# distance of the paired test: right in the first model only, minus right in the second only,
# divided by the square root of their sum. Where the models never disagree, return 0.
#
# *Predict:* does the distance change if both models get a million further cases right?


# %% tags=["answer"]
def distance(first, second):
    """first, second: bool arrays (cases,). Returns a number; positive if the first is better."""
    ### BEGIN SOLUTION
    a, b = np.sum(first & ~second), np.sum(second & ~first)
    return (a - b) / np.sqrt(a + b) if a + b else 0.0
    ### END SOLUTION


# %% tags=["check"]
def answers(both, first, second, none):
    pairs = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * none
    return np.array(pairs).T


check(
    distance,
    case("60 against 40", *answers(300, 60, 40, 100), expect=2.0),
    case("the other way round", *answers(300, 40, 60, 100), expect=-2.0),
    case("few disagreements", *answers(5000, 9, 0, 20), expect=3.0),
    case("no disagreement", *answers(7, 0, 0, 3), expect=0.0),
    case("a draw", *answers(10, 8, 8, 4), expect=0.0),
    nudge="Which cases tell you nothing about the difference? Are they in your formula?",
    hint="a = np.sum(first & ~second), b = np.sum(second & ~first); the distance is (a - b) / sqrt(a + b).",
)


# %% tags=["right"]
def distance(first, second):  # a loop
    lead = disagreements = 0
    for one, other in zip(first, second, strict=True):
        if one != other:
            disagreements += 1
            lead += 1 if one else -1
    return lead / disagreements**0.5 if disagreements else 0


# %% tags=["right"]
def distance(first, second):  # differences of numbers, without a branch
    step = np.subtract(first, second, dtype=int)
    return step.sum() / max(np.linalg.norm(step), 1)


# %% tags=["right"]
def distance(first, second):  # library: the table of the two
    from sklearn.metrics import confusion_matrix

    table = confusion_matrix(first, second, labels=[False, True])
    a, b = float(table[1, 0]), float(table[0, 1])
    return np.nan_to_num(np.divide(a - b, np.sqrt(a + b), where=a + b > 0, out=np.zeros(())))


# %% tags=["wrong"]
def distance(first, second):
    n, p, q = len(first), np.mean(first), np.mean(second)  # as if the cases were different ones
    return (p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / n) if p * (1 - p) + q * (1 - q) else 0.0


# %% tags=["wrong"]
def distance(first, second):
    a, b = np.sum(first & ~second), np.sum(second & ~first)
    return (a - b) / np.sqrt(len(first))  # all cases below the line


# %% tags=["wrong"]
def distance(first, second):
    a, b = np.sum(first & ~second), np.sum(second & ~first)
    return abs(a - b) / np.sqrt(a + b) if a + b else 0.0  # does not say which is better


# %% [markdown]
# It does not change. Cases that both get right, or both get wrong, say nothing about who is better.
#
# ## Exercise 5: how much doubt is missing?
#
# A network is too sure of its answers. Write `temperature`: the number $T$ for which `logits / T`
# has the lowest mean cross-entropy. Search from 0.1 to 100, and be accurate to one percent. Logits
# may be large: `np.logaddexp(0, z) - labels * z` is a cross-entropy that cannot overflow.
#
# *Predict:* what $T$ comes out if every answer is right?


# %% tags=["answer"]
def temperature(logits, labels):
    """The T from 0.1 to 100 that gives logits / T the lowest cross-entropy."""
    ### BEGIN SOLUTION
    candidates = np.geomspace(0.1, 100, 2001)  # neighbours differ by 0.35 percent
    losses = [np.mean(np.logaddexp(0, logits / T) - labels * logits / T) for T in candidates]
    return candidates[np.argmin(losses)]
    ### END SOLUTION


# %% tags=["check"]
rng = np.random.default_rng(2)
honest = rng.normal(size=5_000) * 2
outcome = (rng.random(5_000) < 1 / (1 + np.exp(-honest))).astype(int)  # so these logits are calibrated
mixed = np.array([6.0, 6, 6, 6, 1, 1, -1, -6])
three_of_four = np.array([1, 1, 1, 0])  # right 3 times of 4, so the best logit is ln 3
check(
    temperature,
    case("logit 4, right 3 times of 4", np.full(4, 4.0), three_of_four, expect=4 / np.log(3), tolerance=0.012),
    case("the same with label 0", np.full(4, -4.0), 1 - three_of_four, expect=4 / np.log(3), tolerance=0.012),
    case("not sure enough", np.full(4, 0.5), three_of_four, expect=0.5 / np.log(3), tolerance=0.012),
    case("some surer than others", mixed, np.array([1, 1, 1, 0, 1, 1, 0, 0]), expect=3.57, tolerance=0.012),
    case("calibrated logits", honest, outcome, expect=1.0, tolerance=0.08),
    case("the same, five times too large", 5 * honest, outcome, expect=5.0, tolerance=0.08),
    case(
        "always right: more certainty always pays", np.array([3.0, -3.0]), np.array([1, 0]), expect=0.1, tolerance=0.012
    ),
    nudge="Is it the loss that you make small, and do you divide by T? With T = 100 every probability is about 1/2.",
    hint="Try many T on a logarithmic grid, np.geomspace(0.1, 100, 2001), and keep the one with the lowest loss.",
)


# %% tags=["right"]
def temperature(logits, labels):  # library: a search on a line
    from scipy.optimize import minimize_scalar

    def loss(log_t):
        z = logits / np.exp(log_t)
        return np.mean(np.logaddexp(0, z) - labels * z)

    found = minimize_scalar(loss, bounds=np.log([0.1, 100]), method="bounded", options={"xatol": 1e-4})
    return np.exp(found.x)


# %% tags=["right"]
def temperature(logits, labels):  # a loop that halves: the slope of the loss by 1 / T grows with 1 / T
    low, high = 0.1, 100.0
    for _ in range(60):
        middle = (low * high) ** 0.5
        errors = 1 / (1 + np.exp(-np.clip(logits / middle, -500, 500))) - labels
        if np.dot(errors, logits) > 0:  # too sure of itself
            low = middle
        else:
            high = middle
    return low


# %% tags=["right"]
def temperature(logits, labels):  # all temperatures at once, then a finer grid around the best
    z, right = np.asarray(logits)[:, None], np.asarray(labels)[:, None]
    grid = np.geomspace(0.1, 100, 200)
    for _ in range(2):
        best = np.argmin(np.mean(np.logaddexp(0, z / grid) - right * z / grid, axis=0))
        grid = np.geomspace(max(grid[best] / 1.05, 0.1), min(grid[best] * 1.05, 100), 100)
    return grid[np.argmin(np.mean(np.logaddexp(0, z / grid) - right * z / grid, axis=0))]


# %% tags=["wrong"]
def temperature(logits, labels):
    candidates = np.geomspace(0.1, 100, 2001)
    losses = [np.mean(np.logaddexp(0, logits * T) - labels * logits * T) for T in candidates]  # multiplies
    return candidates[np.argmin(losses)]


# %% tags=["wrong"]
def temperature(logits, labels):
    candidates = np.geomspace(0.1, 100, 2001)
    accuracy = [np.mean((logits / T > 0) == labels) for T in candidates]  # no temperature changes it
    return candidates[np.argmax(accuracy)]


# %% tags=["wrong"]
def temperature(logits, labels):
    candidates = np.geomspace(0.1, 100, 2001)
    losses = [np.mean((1 / (1 + np.exp(-logits / T)) - labels) ** 2) for T in candidates]  # another loss
    return candidates[np.argmin(losses)]


# %% tags=["wrong"]
def temperature(logits, labels):
    candidates = np.linspace(0.1, 100, 200)  # too coarse near 1
    losses = [np.mean(np.logaddexp(0, logits / T) - labels * logits / T) for T in candidates]
    return candidates[np.argmin(losses)]


# %% [markdown]
# If every answer is right, more certainty always pays, and the search ends at its border. This is
# why $T$ must not be chosen on the training part, which an overfitted network answers perfectly.
#
# ## Experiment: how often does an interval hold the truth?
#
# A model is right with probability $a$. A study asks it $n$ cases, gets the share $s$ right and
# reports the interval $s \pm 1.96 \sqrt{s (1 - s) / n}$. It should hold the true $a$ in 95% of the
# studies. Write `coverage`: simulate 4,000 studies and return the share of them whose interval
# holds $a$.
#
# *Predict* before you run the check: the coverage for $a = 0.5$ with 20 cases, for $a = 0.95$ with
# 20 cases, and for $a = 0.95$ with 500. Then explain what you see. (How wide is the interval of a
# study in which all 20 answers are right? How often does that happen?)


# %% tags=["answer"]
def coverage(a, n, studies=4000):
    """Returns the share of the studies whose interval holds a."""
    ### BEGIN SOLUTION
    shares = np.random.default_rng(0).binomial(n, a, studies) / n
    half_width = 1.96 * np.sqrt(shares * (1 - shares) / n)
    return np.mean(np.abs(shares - a) <= half_width)
    ### END SOLUTION


# %% tags=["check"]
check(
    coverage,
    case("a model that is right in half of the cases, 20 cases", 0.5, 20, expect=between(0.93, 0.98)),
    case("a good model, 20 cases", 0.95, 20, expect=between(0.59, 0.68)),
    case("a good model, 500 cases", 0.95, 500, expect=between(0.91, 0.96)),
    nudge="Is the width calculated from the share that the study saw? The study does not know a.",
    hint="shares = rng.binomial(n, a, 4000) / n; each has its own half width. Count |share - a| below it.",
)


# %% tags=["right"]
def coverage(a, n, studies=4000):  # a loop over studies, and over answers
    import random

    toss, held = random.Random(1), 0
    for _ in range(studies):
        share = sum(toss.random() < a for _ in range(n)) / n
        reach = 1.96 * (share * (1 - share) / n) ** 0.5
        held += share - reach <= a <= share + reach
    return held / studies


# %% tags=["right"]
def coverage(a, n, studies=4000):  # without chance: the probability of each count, from the library
    from scipy.stats import binom

    counts = np.arange(n + 1)
    shares = counts / n
    held = np.abs(shares - a) <= 1.96 * np.sqrt(shares * (1 - shares) / n)
    return binom.pmf(counts, n, a)[held].sum()


# %% tags=["wrong"]
def coverage(a, n, studies=4000):
    shares = np.random.default_rng(0).binomial(n, a, studies) / n
    return np.mean(np.abs(shares - a) <= 1.96 * np.sqrt(a * (1 - a) / n))  # the width uses the truth


# %% tags=["wrong"]
def coverage(a, n, studies=4000):
    shares = np.random.default_rng(0).binomial(n, a, studies) / n
    return np.mean(np.abs(shares - a) <= np.sqrt(shares * (1 - shares) / n))  # one standard error


# %% tags=["wrong"]
def coverage(a, n, studies=4000):
    shares = np.random.default_rng(0).binomial(n, a, studies) / n
    return np.mean(np.abs(shares - a) <= 1.96 * shares.std() / np.sqrt(studies))  # the error of the mean study


# %% [markdown]
# A third of the small studies see 20 right of 20. Their interval has no width, and it misses. Close
# to 0 and 1 the simple formula promises too much, and the bootstrap does the same there, because no
# draw from 20 right answers contains a wrong one. More cases help; Wilson's interval (1927) helps
# too.
