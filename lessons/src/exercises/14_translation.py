# %% [markdown]
# # Exercises 14 · Translation
#
# Four exercises and an experiment, each alone. They need NumPy and no training. Where the text says *predict*, write
# your guess down before you run anything.

# %%
from collections import Counter

import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: two rows for teacher forcing
#
# Write the two rows of a batch of answers. `given` is what the decoder receives: the start token, then the answer.
# `wanted` is what it must say: the answer, then the end token. All rows are filled up with 0 on the right, to the
# length of the longest. The result is the pair of arrays.
#
# *Predict:* which number of `given` stands at the place where `wanted` has the end token?


# %% tags=["answer"]
def forced(answers, start, end):
    """answers: a list of lists of ids. Returns given and wanted, int arrays (answers, longest + 1)."""
    ### BEGIN SOLUTION
    longest = max(map(len, answers)) + 1
    given = [[start, *answer] for answer in answers]
    wanted = [[*answer, end] for answer in answers]
    return tuple(np.array([row + [0] * (longest - len(row)) for row in rows]) for rows in (given, wanted))
    ### END SOLUTION


# %% tags=["check"]
check(
    forced,
    case("one answer", [[7, 8, 9]], 1, 2, expect=(np.array([[1, 7, 8, 9]]), np.array([[7, 8, 9, 2]]))),
    case("another start and end", [[7]], 5, 6, expect=(np.array([[5, 7]]), np.array([[7, 6]]))),
    case(
        "two lengths", [[7, 8], [9]], 1, 2, expect=(np.array([[1, 7, 8], [1, 9, 0]]), np.array([[7, 8, 2], [9, 2, 0]]))
    ),
    case("an empty answer", [[], [4]], 1, 2, expect=(np.array([[1, 0], [1, 4]]), np.array([[2, 0], [4, 2]]))),
    nudge="At each place: what does the decoder know already, and what must it say next? Where does each row end?",
    hint="[start, *answer] and [*answer, end]; then zeros at the end of each row until all are equally long.",
)


# %% tags=["right"]
def forced(answers, start, end):  # loops into arrays of zeros
    given = np.zeros((len(answers), 1 + max(len(answer) for answer in answers)), int)
    wanted = given.copy()
    for row, answer in enumerate(answers):
        given[row, 0], wanted[row, len(answer)] = start, end
        for place, token in enumerate(answer):
            given[row, place + 1] = wanted[row, place] = token
    return given, wanted


# %% tags=["right"]
def forced(answers, start, end):  # library: Keras pads
    from keras.utils import pad_sequences

    return [
        pad_sequences(rows, padding="post") for rows in ([[start, *a] for a in answers], [[*a, end] for a in answers])
    ]


# %% tags=["right"]
def forced(answers, start, end):  # columns in place of rows, lists in place of arrays
    from itertools import zip_longest

    def filled(rows):
        return list(zip(*zip_longest(*rows, fillvalue=0), strict=True))

    return filled([start, *answer] for answer in answers), filled([*answer, end] for answer in answers)


# %% tags=["wrong"]
def forced(answers, start, end):
    longest = max(map(len, answers)) + 2
    rows = np.array([[start, *answer, end] + [0] * (longest - 2 - len(answer)) for answer in answers])
    return rows, rows  # not shifted: the decoder only has to copy


# %% tags=["wrong"]
def forced(answers, start, end):
    longest = max(map(len, answers)) + 2
    rows = np.array([[start, *answer, end] + [0] * (longest - 2 - len(answer)) for answer in answers])
    return rows[:, :-1], rows[:, 1:]  # shorter answers are given their end token


# %% tags=["wrong"]
def forced(answers, start, end):
    longest = max(map(len, answers)) + 1
    given = [[0] * (longest - 1 - len(answer)) + [start, *answer] for answer in answers]
    wanted = [[0] * (longest - 1 - len(answer)) + [*answer, end] for answer in answers]
    return np.array(given), np.array(wanted)  # padding on the left


# %% tags=["wrong"]
def forced(answers, start, end):
    longest = max(map(len, answers))
    rows = np.array([answer + [0] * (longest - len(answer)) for answer in answers], int)
    given = np.insert(rows, 0, start, axis=1)
    return given, np.insert(rows, longest, end, axis=1)  # the end token behind the padding


# %% [markdown]
# The last token of the answer stands there: whoever has heard all of it must say that it is over.
#
# ## Exercise 2: the mask of the cross-attention
#
# Which token that was written may look at which that was read? The source is complete, so there is no future in it; but
# its padding is nothing to look at. Write the mask for `steps` written tokens.
#
# *Predict:* is it square?


# %% tags=["answer"]
def cross_mask(real, steps):
    """real: bool (batch, n), True at real tokens of the source. Returns bool (batch, steps, n)."""
    ### BEGIN SOLUTION
    return np.repeat(real[:, None, :], steps, axis=1)
    ### END SOLUTION


# %% tags=["check"]
check(
    cross_mask,
    case("no padding", np.ones((1, 3), bool), 2, expect=np.ones((1, 2, 3), bool)),
    case("padding at the end", np.array([[True, True, False]]), 2, expect=np.array([[[1, 1, 0], [1, 1, 0]]], bool)),
    case("padding in front", np.array([[False, True]]), 3, expect=np.array([[[0, 1], [0, 1], [0, 1]]], bool)),
    case("two sources", np.array([[True, False], [True, True]]), 2,
         expect=np.array([[[1, 0], [1, 0]], [[1, 1], [1, 1]]], bool)),
    nudge="Does it matter how much was written already? Which axis of the result belongs to the source?",
    hint="Every written token may look at the same places: repeat real along a new axis in the middle.",
)  # fmt: skip


# %% tags=["wrong"]
def cross_mask(real, steps):
    return np.tile(real, (steps, 1)).reshape(len(real), steps, -1)  # mixes the sources


# %% tags=["right"]
def cross_mask(real, steps):  # loops, lists
    return [[[bool(token) for token in source] for _ in range(steps)] for source in real]


# %% tags=["right"]
def cross_mask(real, steps):  # a view
    return np.broadcast_to(real[:, None], (len(real), steps, real.shape[1]))


# %% tags=["right"]
def cross_mask(real, steps):  # library: Keras
    from keras import ops

    return ops.tile(ops.expand_dims(real, 1), (1, steps, 1))


# %% tags=["wrong"]
def cross_mask(real, steps):
    return np.tril(np.ones((steps, real.shape[1]), bool)) & real[:, None, :]  # causal, as if the source had a future


# %% tags=["wrong"]
def cross_mask(real, steps):
    return np.ones((real.shape[0], steps, real.shape[1]), bool)  # looks at padding


# %% tags=["wrong"]
def cross_mask(real, steps):
    return np.repeat(real[:, :, None], steps, axis=2)  # the written tokens on the axis of the source


# %% tags=["wrong"]
def cross_mask(real, steps):
    return np.repeat(~real[:, None, :], steps, axis=1)  # True at padding


# %% [markdown]
# It has as many rows as were written and as many columns as were read, so it is square by chance alone.
#
# ## Exercise 3: one step with a beam
#
# A beam holds some beginnings, each with the sum of its log-probabilities. The model gives for each beginning the
# log-probability of every token. Find the best continuations of all of them together: as many as there are beginnings,
# the best one first. Return three arrays: from which beginning each comes, its token, and its new sum.
#
# *Predict:* can two of the best come from the same beginning, and none from another?


# %% tags=["answer"]
def one_step(sums, log_probs):
    """sums (width,), log_probs (width, vocabulary). Returns beginnings, tokens, new sums, each (width,)."""
    ### BEGIN SOLUTION
    totals = sums[:, None] + log_probs  # (width, vocabulary)
    best = np.argsort(-totals, axis=None, kind="stable")[: len(sums)]
    beginnings, tokens = np.unravel_index(best, totals.shape)
    return beginnings, tokens, totals[beginnings, tokens]
    ### END SOLUTION


# %% tags=["check"]
table = np.log([[0.6, 0.3, 0.1], [0.02, 0.98 - 1e-9, 1e-9]])
check(
    one_step,
    case("one beginning", np.array([-1.0]), np.array([[-3.0, -0.5]]), expect=([0], [1], [-1.5])),
    case("the better beginning first", np.log([0.6, 0.4]), table, expect=([1, 0], [1, 0], np.log([0.392, 0.36]))),
    case("both from one beginning", np.log([0.9, 0.1]), table, expect=([0, 0], [0, 1], np.log([0.54, 0.27]))),
    case(
        "three beginnings",
        np.array([-1.0, -2.0, -0.1]),
        np.array([[-5, -0.2, -9, -8], [-0.3, -4, -1.0, -7], [-3.0, -2.5, -4, -6]], float),
        expect=([0, 1, 2], [1, 0, 1], [-1.2, -2.3, -2.6]),
    ),
    nudge="Which sums compete with each other: those of one beginning, or all of them?",
    hint="Add sums[:, None] to the table and sort all of it; np.unravel_index turns places into rows and columns.",
)


# %% tags=["right"]
def one_step(sums, log_probs):  # loops, a list of all continuations
    continuations = []
    for beginning, total in enumerate(sums):
        for token, log_p in enumerate(log_probs[beginning]):
            continuations.append((total + log_p, beginning, token))
    continuations.sort(reverse=True)
    totals, beginnings, tokens = zip(*continuations[: len(sums)], strict=True)
    return beginnings, tokens, totals


# %% tags=["right"]
def one_step(sums, log_probs):  # library: the largest of a heap
    from heapq import nlargest

    totals = dict(np.ndenumerate(sums[:, None] + log_probs))
    best = nlargest(len(sums), totals, key=totals.get)
    return np.array([row for row, _ in best]), np.array([token for _, token in best]), [totals[one] for one in best]


# %% tags=["right"]
def one_step(sums, log_probs):  # Keras, in 32-bit numbers
    from keras import ops

    vocabulary = log_probs.shape[1]
    totals, places = ops.top_k(ops.reshape(ops.expand_dims(sums, 1) + log_probs, (-1,)), len(sums))
    return places // vocabulary, places % vocabulary, totals


# %% tags=["wrong"]
def one_step(sums, log_probs):
    tokens = log_probs.argmax(axis=1)  # the best of each beginning: several greedy writers side by side
    totals = sums + log_probs[np.arange(len(sums)), tokens]
    order = np.argsort(-totals)
    return order, tokens[order], totals[order]


# %% tags=["wrong"]
def one_step(sums, log_probs):
    best = np.argsort(-log_probs, axis=None)[: len(sums)]  # forgets what came before
    beginnings, tokens = np.unravel_index(best, log_probs.shape)
    return beginnings, tokens, sums[beginnings] + log_probs[beginnings, tokens]


# %% tags=["wrong"]
def one_step(sums, log_probs):
    totals = sums[:, None] * log_probs  # logarithms are added, not multiplied
    best = np.argsort(-totals, axis=None)[: len(sums)]
    beginnings, tokens = np.unravel_index(best, totals.shape)
    return beginnings, tokens, totals[beginnings, tokens]


# %% tags=["wrong"]
def one_step(sums, log_probs):
    best = sums.argmax()  # the best beginning alone is continued
    tokens = np.argsort(-log_probs[best])[: len(sums)]
    return np.full(len(sums), best), tokens, sums[best] + log_probs[best, tokens]


# %% [markdown]
# Yes: all continuations compete. A beginning whose continuations are all poor dies out, and that is what makes the
# search better than several greedy writers side by side.
#
# ## Exercise 4: chrF by hand
#
# Count the runs of $n$ characters in a text and in its reference. Let $m$ be the number of runs that both have; a run
# counts as often as it stands in *both*. The precision is $P = m /$ runs of the text, the recall $R = m /$ runs of the
# reference, and
#
# $$ F = (1 + \beta^2) \, \frac{P R}{\beta^2 P + R}, \qquad \beta = 2. $$
#
# When $P$ and $R$ are 0, or one of the texts has no run, $F$ is 0. (The score of a text is the mean of $F$ over $n$
# from 1 to 6, times 100.)
#
# *Predict:* which is worth more, a translation that is half of the reference, or one that is the reference twice?


# %% tags=["answer"]
def f_score(text, reference, n):
    """Returns F for runs of n characters, from 0 to 1."""
    ### BEGIN SOLUTION
    ours, theirs = (Counter(one[i : i + n] for i in range(len(one) - n + 1)) for one in (text, reference))
    matches = sum((ours & theirs).values())
    if not matches:
        return 0.0
    precision, recall = matches / sum(ours.values()), matches / sum(theirs.values())
    return 5 * precision * recall / (4 * precision + recall)
    ### END SOLUTION


# %% tags=["check"]
check(
    f_score,
    case("equal", "我喝茶", "我喝茶", 1, expect=1.0),
    case("single characters", "我喝水", "我喝茶", 1, expect=2 / 3, tolerance=1e-6),
    case("pairs", "我喝水", "我喝茶", 2, expect=0.5, tolerance=1e-6),
    case("nothing in common", "我喝水", "我喝茶", 3, expect=0.0),
    case("too short for a run", "我", "我喝茶", 2, expect=0.0),
    case("half of it", "abcd", "abcdefgh", 1, expect=5 * 0.5 / 4.5, tolerance=1e-6),
    case("twice as much", "abcdabcd", "abcd", 1, expect=5 * 0.5 / 3, tolerance=1e-6),
    case("a run that stands twice on one side", "aa", "ab", 1, expect=0.5, tolerance=1e-6),
    nudge="How often does a run count that stands three times in the text and once in the reference?",
    hint="Counter(a) & Counter(b) keeps the smaller count of each run. Below the line stands 4 P + R.",
)


# %% tags=["right"]
def f_score(text, reference, n):  # a loop: each run is crossed out where it is found
    left = [reference[i : i + n] for i in range(len(reference) - n + 1)]
    runs, theirs, matches = len(text) - n + 1, len(left), 0
    for i in range(runs):
        if text[i : i + n] in left:
            left.remove(text[i : i + n])
            matches += 1
    return 5 * matches / (runs + 4 * theirs) if matches else 0


# %% tags=["right"]
class FScore:  # an object that can be called, and a table of all pairs of runs
    def __init__(self, beta):
        self.squared = beta**2

    def __call__(self, text, reference, n):
        ours, theirs = ([one[i:][:n] for i in range(len(one) - n + 1)] for one in (text, reference))
        matches = sum(min(ours.count(run), theirs.count(run)) for run in set(ours))
        if matches == 0:
            return 0.0
        p, r = matches / len(ours), matches / len(theirs)
        return (1 + self.squared) / (self.squared / r + 1 / p)


f_score = FScore(beta=2)


# %% tags=["right"]
def f_score(text, reference, n):  # library: sklearn counts the runs
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(analyzer=lambda one: [one[i : i + n] for i in range(len(one) - n + 1)])
    ours, theirs = vectorizer.fit_transform([text, reference]).toarray()
    with np.errstate(invalid="ignore"):
        precision, recall = np.minimum(ours, theirs).sum() / np.array([ours.sum(), theirs.sum()])
        return np.nan_to_num(5 * precision * recall / (4 * precision + recall))


# %% tags=["wrong"]
def f_score(text, reference, n):
    ours, theirs = ({one[i : i + n] for i in range(len(one) - n + 1)} for one in (text, reference))
    matches = len(ours & theirs)  # sets: a repeated run counts once
    if not matches:
        return 0.0
    precision, recall = matches / len(ours), matches / len(theirs)
    return 5 * precision * recall / (4 * precision + recall)


# %% tags=["wrong"]
def f_score(text, reference, n):
    ours, theirs = (Counter(one[i : i + n] for i in range(len(one) - n + 1)) for one in (text, reference))
    matches = sum((ours & theirs).values())
    if not matches:
        return 0.0
    precision, recall = matches / sum(ours.values()), matches / sum(theirs.values())
    return 2 * precision * recall / (precision + recall)  # F1: recall does not count more


# %% tags=["wrong"]
def f_score(text, reference, n):
    ours, theirs = (Counter(one[i : i + n] for i in range(len(one) - n + 1)) for one in (text, reference))
    matches = sum((ours & theirs).values())
    if not matches:
        return 0.0
    precision, recall = matches / sum(ours.values()), matches / sum(theirs.values())
    return 5 * precision * recall / (precision + 4 * recall)  # precision counts more


# %% tags=["wrong"]
def f_score(text, reference, n):
    ours, theirs = ([one[i : i + n] for i in range(len(one) - n + 1)] for one in (text, reference))
    if not set(ours) & set(theirs):
        return 0.0
    precision = sum(run in theirs for run in ours) / len(ours)  # a run of the text matches the same one again and again
    recall = sum(run in ours for run in theirs) / len(theirs)
    return 5 * precision * recall / (4 * precision + recall)


# %% [markdown]
# In single characters, none of which stands twice, the reference twice has 0.83 and half of it 0.56, because recall
# counts more than precision. So a system that writes too much loses less in chrF than one that leaves something out.
#
# ## Experiment: how large must the length penalty be?
#
# Two complete texts are left in a beam. The short one has two tokens of probability 0.5 each, the long one has six
# tokens of probability 0.75 each. Texts are compared by the sum of their log-probabilities, divided by
# $((5 + n) / 6)^\alpha$ for $n$ tokens. Write `turning_point`: try $\alpha = 0, 0.01, 0.02, \dots$ and return the first
# with which the long text wins.
#
# *Predict* before you run the check: is it below 0.6, which is the usual value? And does it rise or fall when the
# tokens of the long text are a little less certain, with 0.7? Only that number changes. Then explain what you see.


# %% tags=["answer"]
def turning_point(short=2, short_probability=0.5, long=6, long_probability=0.75):
    """Returns the first alpha of 0, 0.01, 0.02, ... with which the long text wins."""
    ### BEGIN SOLUTION
    for alpha in np.arange(0, 10, 0.01):
        scores = [
            n * np.log(p) / ((5 + n) / 6) ** alpha for n, p in ((short, short_probability), (long, long_probability))
        ]
        if scores[1] > scores[0]:
            return alpha
    ### END SOLUTION


# %% tags=["check"]
check(
    turning_point,
    case("six tokens of 0.75", expect=between(0.47, 0.50)),
    case("six tokens of 0.7", 2, 0.5, 6, 0.7, expect=between(0.94, 0.98)),
    case("the long one wins anyway", 2, 0.5, 3, 0.9, expect=between(-0.001, 0.001)),
    nudge="Which text wins with alpha = 0? Are both sums negative, and is the larger one the winner?",
    hint="n * np.log(p) / ((5 + n) / 6) ** alpha for both; the first alpha for which that of the long text is larger.",
)


# %% tags=["right"]
def turning_point(short=2, short_probability=0.5, long=6, long_probability=0.75):  # solved for alpha, rounded up
    sums = short * np.log(short_probability), long * np.log(long_probability)
    equal = np.log(sums[1] / sums[0]) / np.log((5 + long) / (5 + short))
    return max(0, np.floor(equal * 100 + 1) / 100)


# %% tags=["right"]
def turning_point(short=2, short_probability=0.5, long=6, long_probability=0.75):  # all alphas at once
    alphas = np.linspace(0, 10, 1001)
    ours, theirs = (
        n * np.log(p) * ((5 + n) / 6) ** -alphas for n, p in ((short, short_probability), (long, long_probability))
    )
    return alphas[np.argmax(theirs > ours)]


# %% tags=["right"]
def turning_point(short=2, short_probability=0.5, long=6, long_probability=0.75):  # token by token, hundredths
    from math import log

    def score(tokens, probability, alpha):
        total = 0
        for _ in range(tokens):
            total += log(probability)
        return total / ((5 + tokens) / 6) ** alpha

    hundredths = 0
    while score(long, long_probability, hundredths / 100) <= score(short, short_probability, hundredths / 100):
        hundredths += 1
    return hundredths / 100


# %% tags=["wrong"]
def turning_point(short=2, short_probability=0.5, long=6, long_probability=0.75):
    for alpha in np.arange(0, 10, 0.01):
        ends = ((short, short_probability), (long, long_probability))
        scores = [n * np.log(p) / n**alpha for n, p in ends]  # another penalty: the length itself
        if scores[1] > scores[0]:
            return alpha


# %% tags=["wrong"]
def turning_point(short=2, short_probability=0.5, long=6, long_probability=0.75):
    for alpha in np.arange(0, 10, 0.01):
        ends = ((short, short_probability), (long, long_probability))
        scores = [np.log(p) / ((5 + n) / 6) ** alpha for n, p in ends]  # one token instead of all
        if scores[1] > scores[0]:
            return alpha


# %% tags=["wrong"]
def turning_point(short=2, short_probability=0.5, long=6, long_probability=0.75):
    for alpha in np.arange(0, 10, 0.1):  # steps that are too large
        scores = [
            n * np.log(p) / ((5 + n) / 6) ** alpha for n, p in ((short, short_probability), (long, long_probability))
        ]
        if scores[1] > scores[0]:
            return alpha


# %% tags=["wrong"]
def turning_point(short=2, short_probability=0.5, long=6, long_probability=0.75):
    for alpha in np.arange(0, 10, 0.01):
        scores = [
            p**n / ((5 + n) / 6) ** alpha for n, p in ((short, short_probability), (long, long_probability))
        ]  # probabilities in place of their logarithms
        if scores[1] > scores[0]:
            return alpha


# %% [markdown]
# A penalty of about 0.49 is enough for tokens of 0.75, and tokens of 0.7 need almost twice as much. The penalty does
# not know which text is right. It only moves the point at which length and certainty are worth the same, and the right
# point is a matter of the validation part.
