# %% [markdown]
# # Exercises 09 · Word embeddings
#
# Five exercises and an experiment, each alone. They need NumPy; only the experiment trains something, the smooth unit
# of lesson 02, which scikit-learn calls `LogisticRegression`. Where the text says *predict*, write your guess down
# before you run anything.

# %%
import numpy as np
from sklearn.linear_model import LogisticRegression

from kerasllm.course import between, case, check
from kerasllm.data import load

# %% [markdown]
# ## Exercise 1: positive pointwise mutual information
#
# `counts` is a table of shape (words, contexts): how often each word met each context. Return the
# table of PPMI: $\max(0, \log \frac{n_{wc} \, n}{n_w \, n_c})$, where $n_w$ is the sum of the row,
# $n_c$ the sum of the column and $n$ the sum of everything. Natural logarithm. A pair that never
# met gets 0, without a warning and without infinities, also when a whole row is 0.
#
# *Predict*: all counts are doubled, as if the same text was read twice. What happens to PPMI?


# %% tags=["answer"]
def ppmi(counts):
    """Positive PMI of a table of counts (words, contexts), same shape."""
    ### BEGIN SOLUTION
    counts = np.asarray(counts, dtype=float)
    chance = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    met = counts > 0
    result = np.zeros(counts.shape)
    result[met] = np.maximum(np.log(counts[met] / chance[met]), 0)
    return result
    ### END SOLUTION


# %% tags=["check"]
def finite(table):
    return None if np.isfinite(table).all() else "there are infinities or NaN in the table."


check(
    ppmi,
    case("two by two", np.array([[4, 0], [1, 3]]),
         expect=np.array([[np.log(1.6), 0], [0, np.log(2)]])),
    case("rows and columns have other sums", np.array([[2, 1, 1], [0, 0, 4]]),
         expect=np.array([[np.log(2), np.log(2), 0], [0, 0, np.log(1.6)]])),
    case("a word that met nothing", np.array([[0, 0], [1, 2]]), expect=finite),
    case("everything doubled", np.array([[8, 0], [2, 6]]),
         expect=np.array([[np.log(1.6), 0], [0, np.log(2)]])),
    nudge="What does your table hold where a pair met less often than by chance? And where it never met?",
    hint="First the count that chance would give: row sum times column sum over the total.",
)  # fmt: skip


# %% tags=["right"]
def ppmi(counts):  # loops
    rows, columns = [sum(row) for row in counts], [sum(column) for column in zip(*counts, strict=True)]
    table = []
    for row, n_w in zip(counts, rows, strict=True):
        table.append(
            [max(0, np.log(n * sum(rows) / (n_w * n_c))) if n else 0 for n, n_c in zip(row, columns, strict=True)]
        )
    return table


# %% tags=["right"]
def ppmi(counts):  # differences of logarithms, where 0 counts as minus infinity and then is cut off
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(counts)
        rows, columns = np.log(counts.sum(1)), np.log(counts.sum(0))
        pmi = log - rows[:, None] - columns[None] + np.log(counts.sum())
    return np.fmax(pmi, 0)


# %% tags=["right"]
def ppmi(counts):  # library: shares, and what chance gives as an outer product
    from scipy.stats.contingency import expected_freq

    chance = expected_freq(counts)
    ratio = np.divide(counts, chance, out=np.ones(counts.shape), where=chance > 0)
    return np.log(np.maximum(ratio, 1))


# %% tags=["wrong"]
def ppmi(counts):
    counts = np.asarray(counts, dtype=float)
    chance = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    met = counts > 0
    result = np.zeros(counts.shape)
    result[met] = np.log(counts[met] / chance[met])  # negative values stay
    return result


# %% tags=["wrong"]
def ppmi(counts):
    counts = np.asarray(counts, dtype=float)
    sums = counts.sum(axis=1)
    chance = np.outer(sums, counts.sum(axis=0))  # the total is forgotten
    met = counts > 0
    result = np.zeros(counts.shape)
    result[met] = np.maximum(np.log(counts[met] / chance[met]), 0)
    return result


# %% tags=["wrong"]
def ppmi(counts):
    counts = np.asarray(counts, dtype=float)
    sums = counts.sum(axis=1)
    chance = np.outer(sums, sums) / counts.sum()  # row sums twice: right where the table is symmetric
    met = (counts > 0) & (chance > 0)
    result = np.zeros(counts.shape)
    result[met] = np.maximum(np.log(counts[met] / chance[met]), 0)
    return result


# %% [markdown]
# Nothing happens. PMI compares shares, and the shares are the same. So it does not know how sure it
# may be: a pair that met once gets the same value as one that met a thousand times with the same
# shares. This is why PMI gives rare words too much weight.
#
# ## Exercise 2: the loss of negative sampling, and its gradient
#
# `u` is the vector of a word, `real` that of a true neighbour, both of shape (dim,). `noise` has
# shape (k, dim). Return the loss and its gradient with respect to `u`:
#
# $$ L = -\log \sigma(u \cdot v) - \sum_i \log \sigma(-u \cdot v_i) . $$
#
# Scores may be large, 1,000 and more. The loss must then be large, too, not infinite.
#
# *Predict*: all vectors are zero. What is the loss with $k = 5$?


# %% tags=["answer"]
def negative_sampling(u, real, noise):
    """(loss, gradient with respect to u)."""
    ### BEGIN SOLUTION
    others = np.vstack([real, noise])  # (1 + k, dim)
    scores = others @ u
    signs = np.where(np.arange(len(others)) == 0, 1, -1)
    loss = np.logaddexp(0, -signs * scores).sum()
    wrong = np.exp(-np.logaddexp(0, signs * scores))  # the probability of the wrong answer
    return loss, -(signs * wrong) @ others
    ### END SOLUTION


# %% tags=["check"]
zero, one = np.zeros(2), np.array([1.0, 0.0])
check(
    negative_sampling,
    case("all zero, k = 5", zero, zero, np.zeros((5, 2)), expect=(6 * np.log(2), [0, 0])),
    case("the example of the lesson", one, np.array([0.0, 2.0]), np.array([[2.0, 0.0]]),
         expect=(np.log(2) + 2.1269280, [1.7615942, -1.0])),
    case("two noise words", one, np.array([1.0, 1.0]), np.array([[1.0, 0.0], [-1.0, 3.0]]),
         expect=(1.9397851, [0.1931757, 0.5378828])),
    case("large scores", 1000 * one, -one, np.array([[1.0, 0.0]]), expect=(2000.0, [2.0, 0.0])),
    nudge="Which way does a noise word move the vector? And what is exp(1000)?",
    hint="-log sigmoid(z) is log(1 + exp(-z)); NumPy has logaddexp for such sums.",
)  # fmt: skip


# %% tags=["right"]
def negative_sampling(u, real, noise):  # a loop over the questions, floats
    from math import exp, log1p

    loss, gradient = 0.0, np.zeros(len(u))
    for sign, other in [(1, real), *((-1, vector) for vector in noise)]:
        z = sign * float(np.dot(u, other))
        small = exp(-abs(z))
        loss += log1p(small) + max(0.0, -z)
        gradient -= sign * other * (small if z > 0 else 1.0) / (1 + small)
    return loss, gradient


# %% tags=["right"]
def negative_sampling(u, real, noise):  # library
    from scipy.special import expit, log_expit

    loss = -log_expit(u @ real) - log_expit(-(noise @ u)).sum()
    return [loss, (expit(u @ real) - 1) * real + np.einsum("k,kd->d", expit(noise @ u), noise)]


# %% tags=["right"]
def negative_sampling(u, real, noise):  # Keras, in 32-bit numbers
    from keras import ops

    u, real, noise = (ops.cast(part, "float32") for part in (u, real, noise))
    scores = ops.matmul(noise, u)
    loss = ops.softplus(-ops.dot(real, u)) + ops.sum(ops.softplus(scores))
    return loss, ops.matmul(ops.sigmoid(scores), noise) - ops.sigmoid(-ops.dot(real, u)) * real


# %% tags=["wrong"]
def negative_sampling(u, real, noise):
    loss = np.logaddexp(0, -real @ u) + np.logaddexp(0, noise @ u).sum()
    pull = -real / (1 + np.exp(np.clip(real @ u, -500, 500)))
    push = noise / (1 + np.exp(np.clip(noise @ u, -500, 500)))[:, None]  # the sign inside
    return loss, pull + push.sum(axis=0)


# %% tags=["wrong"]
def negative_sampling(u, real, noise):
    z = np.clip(noise @ u, -500, 500)
    loss = np.logaddexp(0, -real @ u) + np.logaddexp(0, z).mean()  # a mean, not a sum
    pull = -real / (1 + np.exp(np.clip(real @ u, -500, 500)))
    return loss, pull + (noise / (1 + np.exp(-z))[:, None]).mean(axis=0)


# %% tags=["wrong"]
def negative_sampling(u, real, noise):
    loss = np.logaddexp(0, -real @ u) + np.logaddexp(0, noise @ u).sum()
    pull = -u / (1 + np.exp(np.clip(real @ u, -500, 500)))  # the slope by the other vector: u where real belongs
    push = u * (1 / (1 + np.exp(np.clip(-noise @ u, -500, 500)))).sum()
    return loss, pull + push


# %% [markdown]
# Each of the $k + 1$ questions is answered with probability one half, so the loss is
# $6 \log 2 = 4.16$.
#
# ## Exercise 3: Spearman's correlation by hand
#
# Replace each list by its **ranks** (the smallest number gets 1), then compute the usual
# correlation of the ranks. Equal numbers share the mean of the ranks they would take together: 5,
# 7, 7 have the ranks 1, 2.5, 2.5. Do not use scipy.
#
# *Predict*: what happens to the correlation when every human score is squared?


# %% tags=["answer"]
def spearman(x, y):
    """Rank correlation of two lists of the same length."""

    ### BEGIN SOLUTION
    def ranks(values):
        values = np.asarray(values)
        below = (values[None, :] < values[:, None]).sum(axis=1)
        same = (values[None, :] == values[:, None]).sum(axis=1)
        return below + (same + 1) / 2

    return np.corrcoef(ranks(x), ranks(y))[0, 1]
    ### END SOLUTION


# %% tags=["check"]
check(
    spearman,
    case("the same order", [1, 2, 3, 4], [1, 10, 100, 1000], expect=1.0),
    case("the opposite order", [3, 1, 2], [0.1, 0.9, 0.5], expect=-1.0),
    case("not sorted", [10, 30, 20, 50, 40], [1, 2, 3, 4, 5], expect=0.8),
    case("equal numbers", [5, 7, 7, 9], [1, 2, 3, 4], expect=0.9486833),
    case("squares", [1, 9, 4, 25, 16], [1, 2, 3, 4, 5], expect=0.8),
    nudge="Which rank does the largest number of your list get? And which ranks do two equal numbers share?",
    hint="The rank is the number of smaller values plus half of (the number of equal ones + 1).",
)


# %% tags=["right"]
def spearman(x, y):  # loops, and the formula of the correlation
    def ranks(values):
        ordered = sorted(values)
        return [ordered.index(v) + (ordered.count(v) + 1) / 2 for v in values]

    a, b = ranks(x), ranks(y)
    middle = (len(a) + 1) / 2
    both = sum((p - middle) * (q - middle) for p, q in zip(a, b, strict=True))
    return both / (sum((p - middle) ** 2 for p in a) * sum((q - middle) ** 2 for q in b)) ** 0.5


# %% tags=["right"]
def spearman(x, y):  # unique values: their groups end at the running sum of their counts
    def ranks(values):
        _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[group]

    a, b = (ranks(values) - ranks(values).mean() for values in (x, y))
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


# %% tags=["right"]
def spearman(x, y):  # library: pandas ranks
    import pandas as pd

    return pd.Series(x).rank().corr(pd.Series(y).rank())


# %% tags=["wrong"]
def spearman(x, y):
    return np.corrcoef(x, y)[0, 1]  # no ranks: this is Pearson's correlation


# %% tags=["wrong"]
def spearman(x, y):
    return np.corrcoef(np.argsort(x), np.argsort(y))[0, 1]  # argsort gives places, not ranks


# %% tags=["wrong"]
def spearman(x, y):
    return np.corrcoef(np.argsort(np.argsort(x)), np.argsort(np.argsort(y)))[0, 1]  # no ties


# %% [markdown]
# Nothing. Only the order counts. This is why it suits a comparison of cosines with human scores:
# nobody knows which cosine a 7 should have.
#
# ## Exercise 4: an analogy solver
#
# `vectors` is (words, dim), in any length; `a, b, c` are row numbers. Return the row number of the
# word that completes *a is to b as c is to ...*: bring all rows to length 1, build
# $b - a + c$, take the row with the largest cosine. With `exclude=True` the three inputs are no
# candidates.
#
# *Predict*: which of the three inputs wins most often when nothing is excluded?


# %% tags=["answer"]
def analogy(vectors, a, b, c, exclude=True):
    """The row number of the answer."""
    ### BEGIN SOLUTION
    E = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = E @ (E[b] - E[a] + E[c])  # the length of the target changes no order
    if exclude:
        scores[[a, b, c]] = -np.inf
    return int(np.argmax(scores))
    ### END SOLUTION


# %% tags=["check"]
world = np.array([[3.0, 0, 1], [3, 1.5, 1], [0, 0.2, 4], [0, 1.2, 4], [9, 0, -9], [0, 30, 1]])
kept = world.copy()


def untouched(answer):
    if not np.array_equal(world, kept):
        return "the vectors that were handed in have other numbers in them now."
    return None if answer == 3 else "this is not the nearest word."


flat = np.array([[1.0, 0.0], [0.96, 0.28], [0.0, 1.0], [-0.6, 0.8], [40.0, 30.0]])
check(
    analogy,
    case("inputs are no candidates", world, 0, 1, 2, expect=3),
    case("all words are candidates", flat, 0, 1, 2, exclude=False, expect=2),
    case("the same without the inputs", flat, 0, 1, 2, expect=3),
    case("the vectors stay as they were", world, 0, 1, 2, expect=untouched),
    nudge="Do long rows win with you? May an input be the answer when it must not?",
    hint="Set the scores of the inputs to minus infinity before you look for the largest.",
)


# %% tags=["right"]
def analogy(vectors, a, b, c, exclude=True):  # a loop over words, the cosine written out
    def unit(vector):
        return vector / (vector @ vector) ** 0.5

    target = unit(vectors[b]) - unit(vectors[a]) + unit(vectors[c])
    best, answer = float("-inf"), None
    for i, vector in enumerate(vectors):
        cosine = unit(vector) @ unit(target)
        if cosine > best and not (exclude and i in (a, b, c)):
            best, answer = cosine, i
    return answer


# %% tags=["right"]
def analogy(vectors, a, b, c, exclude=True):  # library: rows of length 1, and a sorted list
    from sklearn.preprocessing import normalize

    E = normalize(vectors)
    order = np.argsort(-np.einsum("wd,d->w", E, E[[b, c]].sum(axis=0) - E[a]))
    return next(word for word in order if not exclude or word not in (a, b, c))


# %% tags=["right"]
class Solver:  # a masked array
    def __call__(self, vectors, a, b, c, exclude=True):
        E = (vectors.T / np.sqrt(np.square(vectors).sum(axis=1))).T
        scores = np.ma.array((E[b] + E[c] - E[a]) @ E.T)
        if exclude:
            scores[[a, b, c]] = np.ma.masked
        return scores.argmax()


analogy = Solver()


# %% tags=["wrong"]
def analogy(vectors, a, b, c, exclude=True):
    E = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return int(np.argmax(E @ (E[b] - E[a] + E[c])))  # excludes nothing


# %% tags=["wrong"]
def analogy(vectors, a, b, c, exclude=True):
    scores = vectors @ (vectors[b] - vectors[a] + vectors[c])  # long rows win
    if exclude:
        scores[[a, b, c]] = -np.inf
    return int(np.argmax(scores))


# %% tags=["wrong"]
def analogy(vectors, a, b, c, exclude=True):
    E = vectors / np.linalg.norm(vectors, axis=0, keepdims=True)  # columns of length 1, not rows
    scores = E @ (E[b] - E[a] + E[c])
    if exclude:
        scores[[a, b, c]] = -np.inf
    return int(np.argmax(scores))


# %% [markdown]
# The third one: most of the target is $c$, because $b - a$ is short.
#
# ## Exercise 5: take the prejudice out, and look again
#
# Bolukbasi et al. (2016) remove a direction: from each vector subtract its projection on the
# direction $d$. Write `remove(vectors, d)`. `d` may have any length. Afterwards every row has the
# dot product 0 with $d$, and what was at a right angle to $d$ is unchanged.
#
# *Predict*: after removing "he − she", can a program still tell the words of one group from those of the other? The
# experiment below tries it.


# %% tags=["answer"]
def remove(vectors, d):
    """The rows of `vectors` (words, dim) without their part along `d` (dim,)."""
    ### BEGIN SOLUTION
    d = d / np.linalg.norm(d)
    return vectors - np.outer(vectors @ d, d)
    ### END SOLUTION


# %% tags=["check"]
check(
    remove,
    case("along an axis", np.array([[1.0, 2], [3, -4]]), np.array([0.0, 1]),
         expect=np.array([[1, 0], [3, 0]])),
    case("a direction that is not of length 1", np.array([[1.0, 2], [3, -4]]),
         np.array([0.0, 5]), expect=np.array([[1, 0], [3, 0]])),
    case("three numbers a word", np.array([[1.0, 2, 2]]), np.array([0.0, 3, 4]), expect=np.array([[1.0, 0.32, -0.24]])),
    case("a slanted direction", np.array([[2.0, 0], [1, 1], [1, -1]]), np.array([1.0, 1]),
         expect=np.array([[1, -1], [0, 0], [1, -1]])),
    nudge="What is the dot product of your result with d? Try a direction that is not of length 1.",
    hint="The projection of x on a direction d of length 1 is (x · d) d.",
)  # fmt: skip


# %% tags=["right"]
def remove(vectors, d):  # a loop over words
    return [list(x - sum(x * d) / sum(d * d) * d) for x in vectors]


# %% tags=["right"]
def remove(vectors, d):  # a matrix that projects
    return vectors @ (np.eye(len(d)) - np.outer(d, d) / (d @ d))


# %% tags=["right"]
def remove(vectors, d):  # library: what is left of a least-squares fit along d
    along, *_ = np.linalg.lstsq(d[:, None], vectors.T, rcond=None)
    return vectors - along.T * d


# %% tags=["wrong"]
def remove(vectors, d):
    return vectors - np.outer(vectors @ d, d)  # d is not of length 1


# %% tags=["wrong"]
def remove(vectors, d):
    return vectors - d / np.linalg.norm(d)  # the same shift for all


# %% tags=["wrong"]
def remove(vectors, d):
    d = d / np.linalg.norm(d)
    return np.where(d == 0, vectors, 0)  # right for a direction along an axis


# %% [markdown]
# ## Experiment: what hides behind a removed direction?
#
# Take the 500 frequent words of GloVe that lie most to the side of *he* and the 500 most to the side of *she*. The cell
# below prepares their vectors, mixed, and their sides. Write `sides_found`: remove the direction $d$ = he − she, train
# a linear classifier on the first 500 words to tell the sides, and return its share of right answers on the other
# 500. Then go on: remove the direction that the classifier has found (`coef_[0]`), train again, and so on. `times` says
# how many directions are removed before the last classifier is trained; 0 removes none.
#
# *Predict* the share for 0, 1 and 5 removed directions before you run the check. Only that number changes. A coin has
# 0.5. Then explain: was the prejudice in one direction?


# %% tags=["answer"]
def sides_found(vectors, side, d, times):
    """vectors (1000, 50), side (1000,) of True and False, d (50,). Returns a share of the last 500 words."""

    ### BEGIN SOLUTION
    def trained():
        return LogisticRegression(max_iter=1000).fit(vectors[:500], side[:500])

    for _ in range(times):
        d = d / np.linalg.norm(d)
        vectors = vectors - np.outer(vectors @ d, d)
        d = trained().coef_[0]
    return trained().score(vectors[500:], side[500:])
    ### END SOLUTION


# %% tags=["check"]
glove = load("glove-50d").iloc[:10_000]
G = glove.to_numpy() / np.linalg.norm(glove.to_numpy(), axis=1, keepdims=True)
he_she = G[glove.index.get_loc("he")] - G[glove.index.get_loc("she")]
order = np.argsort(G @ he_she)
mixed = np.random.default_rng(0).permutation(np.append(order[:500], order[-500:]))
sides = np.isin(mixed, order[-500:])  # True: the side of "he"
chance = np.random.default_rng(1)
noise, coins = chance.normal(size=(1000, 50)), chance.random(1000) < 0.5
check(
    sides_found,
    case("vectors and sides by chance", noise, coins, he_she, 0, expect=between(0.42, 0.58)),
    case("nothing removed", G[mixed], sides, he_she, 0, expect=between(0.99, 1.0)),
    case("he − she removed", G[mixed], sides, he_she, 1, expect=between(0.8, 0.9)),
    case("and one more", G[mixed], sides, he_she, 2, expect=between(0.62, 0.76)),
    case("five directions removed", G[mixed], sides, he_she, 5, expect=between(0.42, 0.6)),
    nudge="Is every direction brought to length 1 and taken out of all 1,000 vectors? On which words do you test?",
    hint="In a loop: make d of length 1, vectors - np.outer(vectors @ d, d), fit on [:500], d = model.coef_[0].",
)


# %% tags=["right"]
def sides_found(vectors, side, d, times):  # a loop that keeps the directions, and takes all of them out at once
    directions = [d]
    for _ in range(times):
        basis, _ = np.linalg.qr(np.transpose(directions))
        left = vectors - (vectors @ basis) @ basis.T
        model = LogisticRegression(max_iter=1000).fit(left[:500], side[:500])
        directions.append(model.coef_.ravel())
    if times == 0:
        left, model = vectors, LogisticRegression(max_iter=1000).fit(vectors[:500], side[:500])
    return np.mean(model.predict(left[500:]) == side[500:])


# %% tags=["right"]
def sides_found(vectors, side, d, times):  # recursion
    if times > 0:
        vectors = vectors @ (np.eye(len(d)) - np.outer(d, d) / np.dot(d, d))
    model = LogisticRegression(max_iter=1000).fit(vectors[:500], side[:500])
    if times > 1:
        return sides_found(vectors, side, model.coef_[0], times - 1)
    return float(np.mean((vectors[500:] @ model.coef_[0] + model.intercept_ > 0) == side[500:]))


# %% tags=["wrong"]
def sides_found(vectors, side, d, times):
    for _ in range(times):
        vectors = vectors - np.outer(vectors @ d, d)  # d is not of length 1
        d = LogisticRegression(max_iter=1000).fit(vectors[:500], side[:500]).coef_[0]
    return LogisticRegression(max_iter=1000).fit(vectors[:500], side[:500]).score(vectors[500:], side[500:])


# %% tags=["wrong"]
def sides_found(vectors, side, d, times):
    d = d / np.linalg.norm(d)
    for _ in range(times):
        vectors = vectors - np.outer(vectors @ d, d)  # the same direction again and again
    return LogisticRegression(max_iter=1000).fit(vectors[:500], side[:500]).score(vectors[500:], side[500:])


# %% tags=["wrong"]
def sides_found(vectors, side, d, times):
    for _ in range(times):
        d = d / np.linalg.norm(d)
        vectors = vectors - np.outer(vectors @ d, d)
        d = LogisticRegression(max_iter=1000).fit(vectors[:500], side[:500]).coef_[0]
    return (
        LogisticRegression(max_iter=1000).fit(vectors[:500], side[:500]).score(vectors[:500], side[:500])
    )  # trained on


# %% [markdown]
# With one direction removed the projection on it is exactly 0, and a classifier still finds the side of most words:
# the words of one side remain each other's neighbours (Gonen and Goldberg 2019). Only after several directions a
# linear classifier knows no more than a coin. By then every word has lost five of its fifty directions, whatever else
# they said.
#
# **References.** T. Bolukbasi et al. (2016), *NeurIPS*. H. Gonen and Y. Goldberg (2019). Lipstick on a pig: debiasing
# methods cover up systematic gender biases in word embeddings but do not remove them. *NAACL*.
