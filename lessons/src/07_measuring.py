# %% [markdown] tags=["edition-2"]
# # 07 · Measuring
#
# **A model is right in three cases of four. Is that useful, and how sure are we of it?**
#
# **You need** lesson 02 (logits, sigmoid, cross-entropy), lesson 03 (the validation part) and
# lesson 06 (overfitting, early stopping).
#
# **You will build** precision, recall, the ROC curve, costs, cross-validation, the bootstrap, a paired
# test and the repair of a network that is too sure. You will find a model that is worse than no
# model, and two ways to write an error bar, of which one is much too short.
#
# **Time** about 1 minute to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import BLUE, GREEN, GREY, ORANGE, RED, show, use_style
from kerasllm.data import load

use_style()

# %%
STUDIES = dial(40, smoke=3)  # studies that are repeated with other patients
SHUFFLES = dial(5, smoke=2)  # times that one study is cut into folds anew
RESAMPLES = dial(2_000, smoke=100)  # repetitions of a bootstrap
SEEDS = dial((0, 1, 2), smoke=(0,))  # networks that read film reviews
EPOCHS = dial(8, smoke=1)  # passes over the reviews
NOISE = dial(5, smoke=1)  # sets of pure noise

# %% [markdown]
# ## Right in three cases of four
#
# A doctor takes cells from a lump in the breast, and a program measures them. We met these data in
# lesson 01. This time the program gets three weak measurements only, namely texture, smoothness and
# symmetry, so that enough mistakes remain to be studied. Its logistic regression is right for three
# patients of four. Write down two guesses before you read on. First, would you rather use this
# program or send everybody to the next examination? Second, the study has 445 patients. If another
# team repeats it with 445 others, by how many points of accuracy will its result differ?
#
# The two questions are different. The first asks *which number* describes the use of a model, and
# accuracy turns out to be the wrong one. The second asks *how far we can believe* a number that was
# measured on a few cases. We take them in this order. As in every lesson, the test part stays
# closed until all choices are made.

# %%
tumours = load("breast-cancer")
columns = ["mean texture", "mean smoothness", "mean symmetry"]
closed = (tumours["split"] == "test").to_numpy()
measured = tumours[columns].to_numpy()  # (569, 3)
malignant = (tumours["label"] == "malignant").to_numpy("int32")
x, y = measured[~closed], malignant[~closed]
print(f"{len(y)} patients, {y.mean():.3f} of them malignant; {closed.sum()} more in the closed test part")

# %% [markdown]
# ## Four kinds of case
#
# A patient is malignant or benign, and the program gives an alarm or not. That makes four kinds of
# case, and the drawing shows them. The table of the four counts is called the **confusion matrix**,
# because it shows which class is confused with which. Two of the counts are mistakes, and they are
# not the same mistake: a missed tumour may cost a life, a false alarm costs one more examination.
# Accuracy adds the two up as if they were equal.

# %% tags=["hide"]
# @title Drawing: the confusion matrix
sheet = Diagram(7.2, 2.75)
cells = [("found\n2", 2.6, 1.7, "output"), ("missed\n1", 4.1, 1.7, "error"),
         ("false alarm\n2", 2.6, 0.95, "error"), ("rest\n5", 4.1, 0.95, "output")]  # fmt: skip
for text, at, height, meaning in cells:
    sheet.box(text, (at, height), meaning=meaning, width=1.35, height=0.62, size=9)
for text, at in (("alarm", 2.6), ("no alarm", 4.1)):
    sheet.text((at, 2.3), text)
for text, height in (("malignant", 1.7), ("benign", 0.95)):
    sheet.text((1.75, height), text, align="right")
sheet.arrow((4.85, 1.7), (5.3, 1.7))
sheet.text((5.4, 1.7), "recall: of this row,\nthe share found", align="left", size=9)
sheet.arrow((2.6, 0.6), (2.6, 0.42))
sheet.text((2.6, 0.22), "precision: of this column, the share that is real", size=9)
show(sheet.figure, "A table of four boxes with ten patients. Malignant: 2 found, 1 missed. Benign: 2 false alarms, 5"
     " others. Recall reads the upper row, precision reads the column of the alarms.")  # fmt: skip

# %% [markdown]
# Two shares say more than one. **Precision** is the share of the alarms that are real: it reads a
# column of the table. **Recall** is the share of the tumours that are found: it reads a row. Each
# of them alone is easy to push up. Whoever gives an alarm to everybody has a recall of 1, and
# whoever gives a single alarm in the clearest case has a precision of 1. The **F1** score is a mean
# of the two that is high only if both are: $F_1 = 2PR / (P + R)$.
#
# The drawing has ten patients, so we can calculate on paper. Precision is 2/4, recall is 2/3, and
# $F_1 = 2 \cdot \tfrac12 \cdot \tfrac23 / (\tfrac12 + \tfrac23) = 4/7$. Accuracy is 7/10. Now
# compare a doctor who says "benign" to everybody: 7 of 10 are benign, so that accuracy is 7/10 too,
# and no tumour is found.


# %%
def counts(truth, alarm):
    """How many are found, missed, false alarms, and the rest."""
    sick, alarm = np.asarray(truth) == 1, np.asarray(alarm, bool)
    return np.sum(sick & alarm), np.sum(sick & ~alarm), np.sum(~sick & alarm), np.sum(~sick & ~alarm)


def precision_recall_f1(truth, alarm):
    found, missed, false, _ = counts(truth, alarm)
    precision, recall = found / (found + false), found / (found + missed)
    return precision, recall, 2 * precision * recall / (precision + recall)


truth = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
alarm = np.array([1, 1, 0, 1, 1, 0, 0, 0, 0, 0])
print("ten patients: precision {:.3f}, recall {:.3f}, F1 {:.3f}".format(*precision_recall_f1(truth, alarm)))

# %% [markdown]
# ## Every patient is tested once
#
# For real numbers we need predictions for patients that the model has not seen. If we put a part
# aside for that, then of 445 patients either training or testing gets few. **Cross-validation**
# uses every patient for both, though never at the same time: the rows are cut into $k$ parts,
# called folds, and each fold is once the part that is predicted, by a model trained on the other $k
# - 1$. In the end each patient has one prediction from a model that has never seen this patient.
# The price is $k$ trainings instead of one.

# %% tags=["hide"]
# @title Drawing: five folds
sheet = Diagram(6.6, 2.2)
for row in range(5):
    sheet.text((0.95, 1.95 - 0.38 * row), f"model {row + 1}", align="right", size=9)
    for fold in range(5):
        name, meaning = ("predict", "subject") if row == fold else ("train", "given")
        sheet.box(name, (1.6 + 1.05 * fold, 1.95 - 0.38 * row), meaning=meaning, width=1.0, height=0.3, size=8.5)
show(sheet.figure, "Five rows of five boxes. Model 1 predicts the first fold and trains on the other four, model 2"
     " predicts the second, and so on along the diagonal.")  # fmt: skip


# %%
def k_folds(n, k, rng):
    """k pairs of (rows to train on, rows to predict); every row is predicted exactly once."""
    parts = np.array_split(rng.permutation(n), k)
    return [(np.concatenate(parts[:i] + parts[i + 1 :]), parts[i]) for i in range(k)]


model = make_pipeline(StandardScaler(), LogisticRegression())  # standardise, then the unit of lesson 02


def unseen(x, y, rng, k=5):
    """The probability of "malignant" for each patient, from a model that did not see the patient."""
    p = np.empty(len(y))
    for train, test in k_folds(len(y), k, rng):
        p[test] = model.fit(x[train], y[train]).predict_proba(x[test])[:, 1]
    return p


# %%
p = unseen(x, y, np.random.default_rng(0))
print("found {}, missed {}, false alarms {}, rest {}".format(*counts(y, p > 0.5)))
print("precision {:.3f}, recall {:.3f}, F1 {:.3f}".format(*precision_recall_f1(y, p > 0.5)))
print(f"accuracy {np.mean((p > 0.5) == y):.3f}; benign for everybody: {np.mean(y == 0):.3f}")
theirs = [score(y, p > 0.5) for score in (precision_score, recall_score, f1_score)]
assert np.allclose(precision_recall_f1(y, p > 0.5), theirs)  # ours are scikit-learn's

# %% [markdown]
# The pipeline matters, because even the mean and the spread that `StandardScaler` needs are learned
# from the training rows of each fold alone. The result looks acceptable: accuracy is well above
# "benign for everybody". But recall says that four of ten tumours are missed.
#
# ## Where to draw the line
#
# A model gives a probability, and *we* turn it into an alarm. The **threshold** is the probability
# above which we give one. The value 1/2 is a habit, not a law. Each threshold is another classifier
# with other counts. Let it fall from 1 to 0, and draw the share of tumours found against the share
# of benign patients with an alarm: that is the **ROC curve**. The area under it, the **AUC**, has a
# simple meaning. Draw one malignant and one benign patient at random; the AUC is the probability
# that the malignant one has the higher score. So it can be counted by pairs, and it needs no
# threshold: 1/2 is guessing, 1 is a perfect order.
#
# Which threshold is best depends on what the mistakes cost. Say that a missed tumour costs 10 and a
# false alarm 1. A patient with probability $p$ costs $10\,p$ on average without an alarm and $1 -
# p$ with one. The alarm is cheaper when $10\,p > 1 - p$, therefore when $p > 1/11$. This holds if
# the probabilities can be trusted, a condition to which we return below. Every such comparison
# needs a control that knows nothing: *alarm for everybody*. It costs exactly the share of benign
# patients. In the figure, left, a good curve rises steeply and stays away from the dashed line of
# guessing. On the right look for the thresholds at which the cost lies under the dashed line.


# %%
def cost(truth, alarm):
    """What each patient costs: 10 for a missed tumour, 1 for a false alarm."""
    return np.where(truth == 1, 10 * ~alarm, alarm)


higher = p[y == 1][:, None] - p[y == 0][None, :]  # (malignant, benign): all pairs
auc = np.mean(higher > 0) + np.mean(higher == 0) / 2  # a tie counts a half
assert np.isclose(auc, roc_auc_score(y, p))  # ours is scikit-learn's
thresholds = np.linspace(0, 1, 101)
prices = np.array([cost(y, p > t).mean() for t in thresholds])
print(f"AUC {auc:.3f}")
for name, alarm in {"threshold 1/2": p > 1 / 2, "threshold 1/11": p > 1 / 11, "alarm for everybody": p > -1}.items():
    print(f"{name:20s} accuracy {np.mean(alarm == y):.3f}   cost for each patient {cost(y, alarm).mean():.3f}")
_, missed, false, rest = counts(y, p > 1 / 2)  # everybody's false alarms, false + rest, less those at 1/2: the rest
print(f"threshold 1/2 loses to alarm for everybody as soon as one missed tumour costs more than {rest / missed:.1f}")

# %% tags=["hide"]
# @title Figure: ROC curve and cost
rates = np.array([[np.mean(p[y == kind] > t) for kind in (0, 1)] for t in np.unique([0, *p, 1])])
figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.5))
axes[0].plot(*rates.T, color=BLUE)
axes[0].plot([0, 1], [0, 1], "--", color=GREY)
axes[0].text(0.62, 0.52, "guessing", color=GREY)
for t, name, color, shift in ((0.5, "1/2", RED, (8, -12)), (1 / 11, "1/11", GREEN, (-4, -16))):
    place = np.mean(p[y == 0] > t), np.mean(p[y == 1] > t)
    axes[0].plot(*place, "o", color=color, zorder=4)
    axes[0].annotate(name, place, shift, textcoords="offset points", color=color)
    height = cost(y, p > t).mean()
    axes[1].plot(t, height, "o", color=color, zorder=4)
    axes[1].annotate(name, (t, height), (6, -13), textcoords="offset points", color=color)
axes[0].set(title=f"An order that is right in {auc:.0%} of the pairs", xlabel="share of benign with an alarm",
            ylabel="share of malignant found")  # fmt: skip
axes[1].plot(thresholds, prices, color=BLUE)
axes[1].axhline(np.mean(y == 0), color=ORANGE, linestyle="--")
axes[1].text(0.98, np.mean(y == 0) - 0.08, "alarm for everybody", color=ORANGE, ha="right", va="top")
axes[1].set(title="At 1/2 the model is worse than no model", xlabel="threshold", ylabel="cost for each patient")
axes[1].set_ylim(0, None)
show(figure, "Left: ROC curve with the point of threshold 1/2 low on the left, 1/11 near the upper right."
     " Right: cost rises with the threshold; only below about 0.2 is it under alarm for everybody.")  # fmt: skip

# %% [markdown]
# The left picture shows that the scores do order the patients. The right one shows that the
# threshold decides whether this is of use. At 1/2 the cost is more than twice that of alarm for
# everybody, a rule that needs no measurement and no model. The same model at 1/11 is cheaper than
# the rule, but not by much, and its accuracy is far below the 0.76 that sounded acceptable. Of the
# three, accuracy puts the one first that costs most. The factor 10 is an assumption, but the last
# printed line shows that a much smaller factor gives the same order of these two rules. So the
# first answer is: no, at 1/2 this program should not be used.
#
# ## How far can the number move?
#
# Now the second question. The accuracy was measured on 445 patients who came to the hospital by
# chance. Think of patients as tosses of a coin that falls on "right" with probability $a$. The
# **standard error** is the typical distance between the number measured and the number that
# infinitely many cases would give. One toss is 1 with probability $a$ and otherwise 0; its
# variance, the mean squared distance from $a$, is $a(1-a)^2 + (1-a)a^2 = a(1-a)$. The variances of
# independent tosses add up to $n\,a(1-a)$, and the share divides their sum by $n$, so that its
# standard error is $\sqrt{n\,a(1-a)}/n = \sqrt{a(1-a)/n}$. On paper: 80 right of 100 give
# $\sqrt{0.8 \cdot 0.2 / 100} = 0.04$, so the result is 80 ± 4 points. Four times as many cases
# halve it, because of the root. About 95 of 100 such results lie within two standard errors of the
# truth.
#
# For F1 or a mean cost there is no such short formula. The **bootstrap** replaces it by a game:
# from the $n$ cases draw $n$ *with* replacement, so that some come twice and others not at all,
# calculate the number again, and repeat this a few thousand times. The spread of the results
# imitates the spread over new samples of patients. The middle 95% of them form a **confidence
# interval**, a range made by a rule which, in 95 of 100 repetitions of the whole study, contains
# the truth.


# %%
def bootstrap(values, rng):
    """The mean of the values for other draws of the same cases: (RESAMPLES,)."""
    rows = rng.integers(0, len(values), (RESAMPLES, len(values)))
    return values[rows].mean(axis=1)


rng = np.random.default_rng(0)
paper = bootstrap(np.repeat([1.0, 0.0], [80, 20]), rng)
print(f"80 of 100: standard error {np.sqrt(0.8 * 0.2 / 100):.3f} by the formula, {paper.std():.3f} by the bootstrap")
right = ((p > 0.5) == y).astype(float)
again = bootstrap(right, rng)
print(f"accuracy {right.mean():.3f}, standard error {again.std():.3f},",
      "95% of the draws from {:.3f} to {:.3f}".format(*np.percentile(again, [2.5, 97.5])))  # fmt: skip
shuffled = [np.mean((unseen(x, y, rng) > 0.5) == y) for _ in range(20)]
print(f"between two such studies: ± {2 * np.sqrt(2) * again.std():.3f}")  # the two variances add up
print(f"cut into folds anew 20 times: spread {np.std(shuffled, ddof=1):.3f}")

# %% [markdown]
# The last line is another error bar that many reports print: cut the *same* patients into folds
# anew and take the spread of the results. It is much smaller. Which of the two is right? It can be
# tested. We draw 150 of our patients and call this a study; the others are its world. Each study
# reports its accuracy and two intervals. One comes from the bootstrap over its patients, the other
# is the mean of five shuffles ± 2 of their standard deviations. Then we look whether the accuracy
# of its model in its world lies inside. A good rule for 95% contains it in about 95 of 100 studies.
# Everything else is equal: the same patients, the same model, the same folds. In the figure, each
# vertical line is the interval of one study, and a red one misses the truth.


# %%
def study(seed, patients=150):
    """Two intervals of one study, each relative to the truth in the study's world."""
    rng = np.random.default_rng(seed)
    mine, world = np.split(rng.permutation(len(y)), [patients])
    right = [((unseen(x[mine], y[mine], rng) > 0.5) == y[mine]).astype(float) for _ in range(SHUFFLES)]
    truth = model.fit(x[mine], y[mine]).score(x[world], y[world])
    over_patients = np.percentile(bootstrap(right[0], rng), [2.5, 97.5])
    results = np.mean(right, axis=1)  # (SHUFFLES,)
    over_shuffles = results.mean() + np.array([-2, 2]) * results.std(ddof=1)
    return over_patients - truth, over_shuffles - truth


intervals = np.array([study(seed) for seed in range(STUDIES)])  # (studies, 2 kinds, low and high)
holds = (intervals[..., 0] <= 0) & (intervals[..., 1] >= 0)  # (studies, 2)
half_width = np.diff(intervals, axis=2).mean(axis=(0, 2)) / 2
for name, share, half in zip(("over patients", "over shuffles"), holds.mean(axis=0), half_width, strict=True):
    print(f"{name}: ± {half:.3f} on average, holds the truth in {share:.2f} of the studies")

# %% tags=["hide"]
# @title Figure: two kinds of error bar
figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.5), sharey=True)
for kind, (ax, name) in enumerate(zip(axes, ("Other patients", "Same patients, other folds"), strict=True)):
    order = np.argsort(intervals[:, 0].mean(axis=1))
    for place, number in enumerate(order):
        color = BLUE if holds[number, kind] else RED
        ax.plot([place] * 2, intervals[number, kind], color=color, linewidth=2.4, solid_capstyle="butt")
    ax.axhline(0, color=GREY, linewidth=1)
    ax.set(title=f"{name}: {holds[:, kind].sum()} of {len(holds)} right", xlabel="study", xticks=[])
axes[0].set_ylabel("interval minus truth (accuracy)")
axes[1].text(STUDIES - 1, -0.012, "truth", color=GREY, ha="right", va="top")
show(figure, "Two panels with one vertical interval for each study and a line at the truth. Left, bootstrap over"
     " patients: long intervals, nearly all cross the line. Right, over shuffles: short intervals, nearly half"
     " are red because they miss the line.")  # fmt: skip

# %% [markdown]
# The left picture shows long intervals, and nearly all of them cross the line of the truth. The
# right one shows short intervals, and nearly half of them miss it. The reason is that new folds ask
# the same patients again. The luck of having met these patients and not others stays the same in
# every shuffle, and it is the larger part of the doubt. The bootstrap too may be a little short of
# 95%, since it keeps the models as they are, while other patients would have trained another model
# too (Hastie et al., section 7.12). Our 40 studies cannot prove that, because a share of 40 has a
# large standard error itself, and because the world of a study is a sample as well. The difference
# between the two kinds of interval is far larger than this doubt. So the answer to the second
# question is: with 445 patients a result lies within about ± 4 points of the truth. Two studies
# differ by up to 6 or so, because each has its own luck. Never quote the spread over new folds as
# the doubt about patients.

# %%
found = Claims("What we measured about error bars")
found.claim("Intervals over patients hold the truth more often than intervals over shuffles", holds[:, 0].mean(), ">",
            holds[:, 1].mean(), control="the same studies, cut into folds anew",
            headline="a 95% interval over patients held the truth in {measured} of the studies, the spread over"
            " new folds in {bound}")  # fmt: skip
found.claim("The luck of the folds is smaller than the luck of the patients", np.std(shuffled, ddof=1), "<",
            again.std(), control="bootstrap over the 445 patients")  # fmt: skip
found.show()

# %% [markdown]
# ## Two models, the same cases
#
# More often we ask which of two models is better. The set is short pieces of film reviews, each
# positive or negative, which we shall keep for many lessons. The features are plain: for each of
# the 2,000 most frequent words of the training part a 1 if it occurs and a 0 if not. Lesson 10
# treats words properly. The first model is the baseline, logistic regression, and the second a
# network with 64 hidden units. Each may choose one thing on the validation part: how strongly its
# weights are held small, or after which epoch it stops.
#
# Keras can write every epoch of a training into a log with `keras.callbacks.TensorBoard`. In a
# terminal `tensorboard --logdir runs` shows the curves in a browser while the training runs, which
# is how one sees overfitting before it is over.

# %%
snippets = load("movie-snippets")
texts = {name: snippets[snippets["split"] == name] for name in ("train", "validation", "test")}
words = CountVectorizer(max_features=2000, binary=True).fit(texts["train"]["text"])
bags = {name: words.transform(rows["text"]).toarray().astype("float32") for name, rows in texts.items()}
stars = {name: (rows["label"] == "positive").to_numpy("int32") for name, rows in texts.items()}


def log_loss(logits, labels):
    return np.mean(np.logaddexp(0, logits) - labels * logits)  # cross-entropy that cannot overflow


def logits(net, part):
    return keras.ops.convert_to_numpy(net(bags[part]))[:, 0]


# %%
baselines = [LogisticRegression(C=C, max_iter=1000).fit(bags["train"], stars["train"]) for C in (0.03, 0.1, 0.3, 1)]
losses = [log_loss(one.decision_function(bags["validation"]), stars["validation"]) for one in baselines]
baseline = baselines[np.argmin(losses)]
print(f"logistic regression: validation loss {min(losses):.3f} with C = {baseline.C}")


# %%
def reader(seed, epochs):
    """A trained network and its validation loss after each epoch."""
    keras.utils.set_random_seed(seed)
    net = keras.Sequential([keras.Input((2000,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(1)])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(2e-3), loss, jit_compile=False)
    seen = net.fit(bags["train"], stars["train"], batch_size=256, epochs=epochs, verbose=0,
                   validation_data=(bags["validation"], stars["validation"]),
                   callbacks=[keras.callbacks.TensorBoard(f"runs/{seed}-{epochs}", write_graph=False)])  # fmt: skip
    return net, seen.history["val_loss"]


readers = [reader(seed, EPOCHS) for seed in SEEDS]
best = int(np.argmin(readers[0][1])) + 1
stopped, _ = reader(SEEDS[0], best)
print("network: validation loss after each epoch", np.round(readers[0][1], 3), f"so we stop after {best}")

# %% [markdown]
# All choices are made, so we open the test part of the snippets. Both models read the *same* texts,
# and this is worth a lot. Many texts are easy for both, and these texts say nothing about the
# difference. A **paired test** looks only at the cases on which the two models disagree. If the
# models are equally good, each disagreement is a fair coin. Say the first model is right in $a$ of
# them and the second in $b$. Each disagreement adds $+1$ or $-1$ to $a - b$, with the variance 1,
# and the variances add up. So $a - b$ has a standard deviation of $\sqrt{a + b}$, and a distance
# from 0 of more than 2 such standard deviations is unlikely to be luck. On paper: 60 against 40
# gives $20 / \sqrt{100} = 2$, just at the edge. (Statisticians call it the test of McNemar or the
# sign test.)

# %%
truth = stars["test"]
line = (baseline.decision_function(bags["test"]) > 0) == truth  # is logistic regression right?
net = (logits(stopped, "test") > 0) == truth  # and the network?
a, b = np.sum(net & ~line), np.sum(line & ~net)
alone = np.sqrt(sum(one.mean() * (1 - one.mean()) / len(truth) for one in (net, line)))  # of the difference
paired = (net.astype(float) - line).std() / np.sqrt(len(truth))
shares = f"network {net.mean():.3f}, logistic regression {line.mean():.3f}"
print(f"{len(truth)} texts: {shares}, difference {net.mean() - line.mean():+.3f}")
print(f"only the network is right: {a}, only logistic regression: {b}, distance {(a - b) / np.sqrt(a + b):+.1f}")
print(f"standard error of the difference: {paired:.4f} paired, {alone:.4f} as if on different texts")

# %% [markdown]
# The distance is far below 2, so this test part does not tell the two models apart, and the small
# difference in accuracy should not be reported as a result. Now look at the two standard errors:
# the paired one is the smaller, because the luck of easy and hard texts is common to both models
# and cancels. The same trick is behind the seeds of this course: two methods get the same seeds,
# and we look at the differences seed by seed.
#
# ## Can the probabilities be trusted?
#
# The threshold 1/11 assumed that a probability means what it says. **Calibration** is the agreement
# between what a model predicts and what happens: among all texts that get 70%, about 70% should be
# positive. To see it, sort the predictions into ten bins and compare, bin by bin, the mean
# prediction with the share of positives. The mean gap, weighted by the sizes of the bins, is called
# the expected calibration error. Our three networks were trained for all epochs. The validation
# losses above rise again long before the last one, so they overfit: a network that answers its
# training texts perfectly lowers their loss by becoming more and more sure.
#
# The cheapest repair is **temperature scaling**: all logits are divided by one number $T$, which is
# chosen on the validation part for the lowest loss (Guo et al. 2017). With $T > 1$ every
# probability moves towards 1/2. No decision changes, since no logit changes its sign. In the figure
# a point is a bin, larger if it holds more texts. A network that is too sure has its points above
# the diagonal on the left and under it on the right.


# %%
def bins(z, truth, count=10):
    """For each bin in use: mean prediction, share of positives, share of the cases: (bins, 3)."""
    p = 1 / (1 + np.exp(-z))
    place = np.minimum((p * count).astype(int), count - 1)
    used = [place == i for i in range(count) if np.any(place == i)]
    return np.array([(p[here].mean(), truth[here].mean(), here.mean()) for here in used])


def calibration_error(z, truth):
    predicted, happened, share = bins(z, truth).T
    return np.sum(share * np.abs(predicted - happened))


z, rng = np.log(p / (1 - p)), np.random.default_rng(0)  # the model of the tumours
exact = [calibration_error(z, rng.random(len(p)) < p) for _ in range(20)]  # patients for whom p is the truth
print(f"tumours: calibration error {calibration_error(z, y):.3f}; if p were exactly right, {np.mean(exact):.3f}")


# %%
before, after, grid = [], [], np.geomspace(0.2, 20, 400)
for net, _ in readers:
    z = logits(net, "validation")
    T = grid[np.argmin([log_loss(z / t, stars["validation"]) for t in grid])]
    z = logits(net, "test")
    before.append(calibration_error(z, truth))
    after.append(calibration_error(z / T, truth))
    print(f"T {T:.2f}: calibration error {before[-1]:.3f} → {after[-1]:.3f},",
          f"test loss {log_loss(z, truth):.3f} → {log_loss(z / T, truth):.3f}")  # fmt: skip

# %% tags=["hide"]
# @title Figure: before and after
figure, axes = plt.subplots(1, 2, figsize=(8, 3.9), sharey=True)
for ax, values, title in zip(axes, (z, z / T), ("As trained: too sure", f"Divided by T = {T:.2f}"), strict=True):
    predicted, happened, share = bins(values, truth).T
    ax.plot([0, 1], [0, 1], "--", color=GREY)
    ax.plot(predicted, happened, color=BLUE, linewidth=1)
    ax.scatter(predicted, happened, s=20 + 900 * share, color=BLUE, alpha=0.6)
    ax.set(title=title, xlabel="predicted probability", xlim=(-0.06, 1.06), ylim=(-0.06, 1.06), aspect="equal")
axes[0].set_ylabel("share that is positive")
axes[0].text(0.64, 0.71, "as it should be", color=GREY, rotation=45, rotation_mode="anchor")
show(figure, "Predicted probability against the share of positives, larger points for more texts. As trained the"
     " largest points stand at 0 and 1, away from the diagonal. After the division they lie near it.")  # fmt: skip

# %% [markdown]
# The logistic regression of the tumours needs no repair: its error is about as large as that of
# probabilities which are exactly right, because a bin of few patients is never quite regular. So
# the threshold 1/11 was no mistake. The networks are another matter. Before, the largest points
# stand near 0 and 1: most texts get such a probability, and these are wrong far more often than
# promised. After the division the points lie near the diagonal. One number repaired most of the
# false certainty. It did not make a single decision better: what was wrong is still wrong, but it
# is now said with doubt, and doubt is what a threshold from costs needs.
#
# ## What can go wrong: information that flows the wrong way
#
# **Leakage** means that information about the test cases has reached the training or the choice of
# a model. It is the most frequent reason for results that are too good. Take 50 patients with 5,000
# measurements each, all random, and random labels: nobody can do better than 1/2. Keep the 20
# measurements that fit the labels best, then cross-validate a classifier on them. Done once for
# *all* rows, this choice has seen the labels of every fold. Done inside each fold, it sees the
# training rows only. What do you expect from each?
#
# The same happens more slowly with a test part that is used again and again. The second half of the
# cell lets 200 guessers, who throw coins, take a test of 124 cases, and reports the best of them.
# Then the winner takes a new test.

# %%
outside, inside, winner, again = [], [], [], []
for seed in range(NOISE):
    rng = np.random.default_rng(seed)
    noise, labels = rng.normal(size=(50, 5000)), rng.permutation([0, 1] * 25)
    chosen = SelectKBest(k=20).fit_transform(noise, labels)  # has seen the labels of every row
    outside.append(cross_val_score(LogisticRegression(), chosen, labels, cv=5).mean())
    steps = make_pipeline(SelectKBest(k=20), LogisticRegression())  # chooses anew in each fold
    inside.append(cross_val_score(steps, noise, labels, cv=5).mean())
    guesses = rng.integers(0, 2, (200, 124))
    first, second = rng.integers(0, 2, (2, 124))  # the answers of two tests
    best = np.argmax((guesses == first).mean(axis=1))
    winner.append(np.mean(guesses[best] == first))
    again.append(np.mean(guesses[best] == second))
print(f"noise, chosen on all rows: {np.mean(outside):.2f} right; chosen inside each fold: {np.mean(inside):.2f}")
print(f"the best of 200 guessers: {np.mean(winner):.2f} right; on a new test: {np.mean(again):.2f}")

# %% [markdown]
# More than nine in ten right, on noise, because among 5,000 random columns some fit all 50 labels
# by chance (Hastie et al., section 7.10.2). Everything that looks at data belongs inside the fold:
# choosing columns, scaling, collecting a vocabulary. And every look at a test part for the sake of
# a choice makes its number a little too good, as the guessers show, since the best of many is
# partly the luckiest. This is the whole discipline of a test part: choose on validation, open the
# test once, report what it says, and take a new one if you must choose again.
#
# ## The test part is opened
#
# The thresholds were fixed by an argument about costs, not by looking. So the closed 124 patients
# can say whether the order of the three rules holds. We ask for the difference between the model at
# 1/11 and alarm for everybody patient by patient, and its bootstrap interval.

# %%
p_new, y_new = model.fit(x, y).predict_proba(measured[closed])[:, 1], malignant[closed]
alarms = {"threshold 1/2": p_new > 1 / 2, "threshold 1/11": p_new > 1 / 11, "alarm for everybody": p_new > -1}
price = {name: cost(y_new, alarm) for name, alarm in alarms.items()}
for name, alarm in alarms.items():
    _, missed, false, _ = counts(y_new, alarm)
    print(f"{name:20s} accuracy {np.mean(alarm == y_new):.3f}, missed {missed}, false alarms {false},",
          f"cost {price[name].mean():.3f}")  # fmt: skip
saved = bootstrap(price["alarm for everybody"] - price["threshold 1/11"], np.random.default_rng(0))
print("1/11 saves, against alarm for everybody, between {:.2f} and {:.2f}".format(*np.percentile(saved, [2.5, 97.5])))

# %%
found = Claims("What we measured")
found.claim("At threshold 1/2 the model is worse than no model", price["threshold 1/2"].mean(), ">",
            price["alarm for everybody"].mean(), control="alarm for everybody", unit="a patient",
            headline="a model with the threshold 1/2 costs {measured}, alarm for everybody {bound}")  # fmt: skip
found.claim("At threshold 1/11 it is worth something", price["threshold 1/11"].mean(), "<",
            price["alarm for everybody"].mean(), control="alarm for everybody", unit="a patient")  # fmt: skip
found.claim("Pairing makes the error of a difference smaller", paired, "<", alone, control="as if on different texts")
found.claim("One temperature removes most of the false certainty", after, "<", before, control="the network as trained")
found.claim("Choosing columns on all rows finds something in noise", outside, ">", inside,
            control="choosing inside each fold")  # fmt: skip
found.claim("The best of many looks better than it is", winner, ">", again, control="the winner on a new test")
found.show()

# %% [markdown]
# The order holds on patients whom nobody had used. At 1/11 the model finds all tumours of this
# part, although with so few patients we cannot promise that for others, and it gives fewer false
# alarms than alarm for everybody. The interval of the saving does not contain 0. The accuracy at
# 1/11 is lower than at 1/2, and the decisions cost less. Which number to optimise depends on what
# happens to the patients afterwards, and no library knows that.
#
# ## Summary
#
# - Accuracy treats all mistakes alike. Precision and recall keep them apart, and costs weigh them.
# - A threshold follows from the costs. Hold every decision against a rule that knows nothing.
# - Doubt comes from the cases: bootstrap over patients. New folds of the same patients are too sure.
# - Compare two models on the same cases, and look at the cases on which they disagree.
# - Probabilities of overfitted networks are too sure; one temperature helps. What has seen the test
#   cases, even once, measures too well.
#
# ## Exercises
#
# Open [exercises/07_measuring.ipynb](exercises/07_measuring.ipynb). You count precision and recall,
# find the AUC without a loop over pairs, choose a threshold from costs, test two models on the same
# cases, and find the temperature of a network that is too sure. In the experiment you measure how
# often an interval holds the truth. Each answer is checked.
#
# ## References
#
# - C. Bishop (2006). *Pattern Recognition and Machine Learning*. Section 1.5.2, decisions and costs.
# - T. Hastie, R. Tibshirani, J. Friedman (2009). *The Elements of Statistical Learning*, 2nd edition.
#   Sections 7.10 (cross-validation, and the wrong way to do it), 7.11 (bootstrap) and 7.12.
# - B. Efron, R. Tibshirani (1993). *An Introduction to the Bootstrap*. Chapters 6 and 13.
# - T. Fawcett (2006). An introduction to ROC analysis. *Pattern Recognition Letters* 27. Sections 3 to 7.
# - Q. McNemar (1947). Note on the sampling error of the difference between correlated proportions or
#   percentages. *Psychometrika* 12.
# - C. Guo, G. Pleiss, Y. Sun, K. Weinberger (2017). On calibration of modern neural networks. *ICML*.
#   Section 4.2.
# - W. N. Street, W. Wolberg, O. Mangasarian (1993). Nuclear feature extraction for breast tumor
#   diagnosis. *SPIE* 1905. The data of the tumours.
# - C. Hutto, E. Gilbert (2014). VADER. *ICWSM*. The data of the film reviews.
