# %% [markdown]
# # Exercises 07 · A classifier from a bag of embeddings
#
# Five exercises, each alone. Where the text says *predict*, write your guess down before you run
# anything.

# %%
import numpy as np

from kerasllm.course import case, check

# %% [markdown]
# ## Exercise 1: idf by hand
#
# Write the inverse document frequency of scikit-learn's `TfidfVectorizer`:
#
# $$ \mathrm{idf}(w) = \ln \frac{1 + n}{1 + \mathrm{df}(w)} + 1 . $$
#
# `texts` is a list of strings, and words are separated by white space. Here $n$ is the number of
# texts, and $\mathrm{df}(w)$ is the number of *texts* that contain $w$. Return a dictionary from
# each word to its idf.


# %% tags=["answer"]
def idf(texts):
    """A dictionary from each word of the texts to its inverse document frequency."""
    ### BEGIN SOLUTION
    bags = [set(text.split()) for text in texts]
    words = set().union(*bags)
    df = {word: sum(word in bag for bag in bags) for word in words}
    return {word: np.log((1 + len(texts)) / (1 + df[word])) + 1 for word in words}
    ### END SOLUTION


# %% tags=["check"]
check(
    idf,
    case("three texts, no word twice in a text", ["good film", "bad film", "fun"],
         expect={"good": 1.6931472, "film": 1.2876821, "bad": 1.6931472, "fun": 1.6931472}),
    case("a word that stands twice in one text", ["good good fun", "good", "bad"],
         expect={"good": 1.2876821, "fun": 1.6931472, "bad": 1.6931472}),
    case("a word inside another word", ["art", "heart", "heart"],
         expect={"art": 1.6931472, "heart": 1.2876821}),
    case("one text", ["a a b"], expect={"a": 1.0, "b": 1.0}),
    hint="First make a set of words for each text; a set holds each word once.",
)  # fmt: skip


# %% tags=["wrong"]
def idf(texts):
    words = " ".join(texts).split()  # counts occurrences, not texts
    return {w: np.log((1 + len(texts)) / (1 + words.count(w))) + 1 for w in set(words)}


# %% tags=["wrong"]
def idf(texts):
    words = set(" ".join(texts).split())  # "art" is also found inside "heart"
    return {w: np.log((1 + len(texts)) / (1 + sum(w in t for t in texts))) + 1 for w in words}


# %% tags=["wrong"]
def idf(texts):
    bags = [set(text.split()) for text in texts]
    words = set().union(*bags)
    return {w: np.log(len(texts) / sum(w in bag for bag in bags)) for w in words}


# %% [markdown]
# ## Exercise 2: the mean that sees no padding
#
# `vectors` has the shape (batch, time, dim) and `ids` the shape (batch, time). Id 0 is padding.
# Return the mean over the real tokens, with shape (batch, dim). A text without any real token
# gives zeros.
#
# Two things to care about. The padding may hold any number, even NaN. And padding may stand
# anywhere, not only at the end.


# %% tags=["answer"]
def masked_mean(vectors, ids):
    """The mean of the vectors at places whose id is not 0."""
    ### BEGIN SOLUTION
    real = (ids != 0)[:, :, None]  # (batch, time, 1)
    total = np.where(real, vectors, 0.0).sum(axis=1)  # (batch, dim)
    return total / np.maximum(real.sum(axis=1), 1)
    ### END SOLUTION


# %% tags=["check"]
check(
    masked_mean,
    case("two real tokens of four", np.array([[[2.0, 0], [0, 4], [10, 10], [10, 10]]]),
         np.array([[5, 3, 0, 0]]), expect=np.array([[1.0, 2.0]])),
    case("padding on the left", np.array([[[9.0], [1.0], [3.0]]]), np.array([[0, 7, 8]]),
         expect=np.array([[2.0]])),
    case("two texts of different length", np.array([[[1.0], [3.0]], [[5.0], [7.0]]]),
         np.array([[1, 2], [4, 0]]), expect=np.array([[2.0], [5.0]])),
    case("a text of padding alone", np.array([[[4.0, 4.0]]]), np.array([[0]]),
         expect=np.array([[0.0, 0.0]])),
    case("NaN in the padding", np.array([[[1.0], [np.nan]]]), np.array([[3, 0]]),
         expect=np.array([[1.0]])),
    hint="np.where chooses between two arrays, and a product with 0 does not remove NaN.",
)  # fmt: skip


# %% tags=["wrong"]
def masked_mean(vectors, ids):
    real = (ids != 0)[:, :, None]
    return np.where(real, vectors, 0.0).mean(axis=1)  # divides by all places


# %% tags=["wrong"]
def masked_mean(vectors, ids):
    real = (ids != 0)[:, :, None]
    return (vectors * real).sum(axis=1) / np.maximum(real.sum(axis=1), 1)  # NaN * 0 is NaN


# %% tags=["wrong"]
def masked_mean(vectors, ids):
    lengths = (ids != 0).sum(axis=1)
    means = [v[:n].mean(axis=0) if n else 0 * v[0] for v, n in zip(vectors, lengths, strict=True)]
    return np.array(means)  # takes the first places


# %% [markdown]
# ## Exercise 3: accuracy, whatever the model returns
#
# A binary classifier may return logits in one of three shapes: (n,), (n, 1) or (n, 2). In the
# first two a logit above 0 means class 1. In the third the larger logit wins. Return the accuracy
# as one number. `labels` holds 0 and 1 and has the shape (n,).
#
# *Predict*: what does the copied line `np.mean(predictions == labels)` return for the logits
# `[[0.], [1.]]` and the labels `[1, 0]`? Both answers are wrong, so the accuracy is 0.


# %% tags=["answer"]
def accuracy(logits, labels):
    """Share of the texts that get the right class."""
    ### BEGIN SOLUTION
    logits = np.asarray(logits)
    if logits.ndim == 2 and logits.shape[1] == 2:
        decided = logits.argmax(axis=1)
    else:
        decided = (logits.reshape(-1) > 0).astype(int)
    return float(np.mean(decided == np.asarray(labels)))
    ### END SOLUTION


# %% tags=["check"]
check(
    accuracy,
    case("one logit a text", np.array([2.0, -1.0, 0.3, -4.0]), np.array([1, 0, 0, 0]), expect=0.75),
    case("a column of logits", np.array([[2.0], [-1.0], [0.3], [-4.0]]), np.array([1, 0, 0, 0]),
         expect=0.75),
    case("two logits a text", np.array([[1.0, 2.0], [3.0, -1.0], [5.0, 5.5]]),
         np.array([1, 0, 0]), expect=2 / 3),
    case("logits between 0 and 0.5", np.array([0.2, 0.4]), np.array([1, 1]), expect=1.0),
    case("the prediction above", np.array([[0.0], [1.0]]), np.array([1, 0]), expect=0.0),
    hint="Bring every shape to one row of decisions first; then compare with the labels.",
)  # fmt: skip


# %% tags=["wrong"]
def accuracy(logits, labels):
    return float(np.mean(np.asarray(logits) == labels))  # the copied line


# %% tags=["wrong"]
def accuracy(logits, labels):
    logits = np.asarray(logits)
    if logits.ndim == 2 and logits.shape[1] == 2:
        return float(np.mean(logits.argmax(axis=1) == labels))
    return float(np.mean((logits.reshape(-1) > 0.5) == labels))  # a threshold for probabilities


# %% tags=["wrong"]
def accuracy(logits, labels):
    logits = np.asarray(logits)
    if logits.ndim == 2:
        return float(np.mean(logits.argmax(axis=1) == labels))  # of one column: always 0
    return float(np.mean((logits > 0) == labels))


# %% [markdown]
# The copied line returned 0.5 in your prediction: it compares a table of $2 \times 2$ pairs, and
# the numbers 0 and 1 stand in both. A result that looks plausible is worse than one of 0.
#
# ## Exercise 4: the contributions of words
#
# A bag of embeddings has a table (vocabulary, dim), a kernel `W` (dim, 2) and a bias `b` (2,).
# Return what each token of one text adds to the difference of the logits, $z_1 - z_0$, and what
# the bias adds. `ids` has the shape (time,), and 0 is padding, which adds 0. The contributions and
# the bias together must give $z_1 - z_0$.
#
# Return a pair: an array (time,) and a number.


# %% tags=["answer"]
def contributions(ids, table, W, b):
    """What each token and the bias add to z1 - z0."""
    ### BEGIN SOLUTION
    direction = W[:, 1] - W[:, 0]  # (dim,)
    real = ids != 0
    return table[ids] @ direction * real / max(real.sum(), 1), b[1] - b[0]
    ### END SOLUTION


# %% tags=["check"]
TABLE = np.array([[9.0, 9.0], [1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]])
KERNEL = np.array([[1.0, 3.0], [0.5, -0.5]])
BIAS = np.array([0.25, 0.5])

check(
    contributions,
    case("two words", np.array([1, 2]), TABLE, KERNEL, BIAS, expect=(np.array([1.0, -1.0]), 0.25)),
    case("padding", np.array([3, 1, 0, 0]), TABLE, KERNEL, BIAS,
         expect=(np.array([-1.5, 1.0, 0.0, 0.0]), 0.25)),
    case("a word that stands twice", np.array([1, 1, 2, 2]), TABLE, KERNEL, np.array([0.0, 0.0]),
         expect=(np.array([0.5, 0.5, -0.5, -0.5]), 0.0)),
    hint="Each token's score is its vector times (W[:, 1] - W[:, 0]); a mean divides by N.",
)  # fmt: skip


# %% tags=["wrong"]
def contributions(ids, table, W, b):
    real = ids != 0
    return table[ids] @ (W[:, 1] - W[:, 0]) * real, b[1] - b[0]  # a sum, not a mean


# %% tags=["wrong"]
def contributions(ids, table, W, b):
    real = ids != 0
    return table[ids] @ W[:, 1] * real / max(real.sum(), 1), b[1]  # one logit of two


# %% tags=["wrong"]
def contributions(ids, table, W, b):
    return table[ids] @ (W[:, 1] - W[:, 0]) / len(ids), b[1] - b[0]  # padding counts


# %% [markdown]
# ## Exercise 5: McNemar's counts, and two equal accuracies
#
# `first` and `second` are the decisions of two classifiers, 0 or 1, and `labels` is the truth.
# Return $b$, the number of texts that only the first has right, $c$, the number that only the
# second has right, and the standard error of the difference of the two accuracies,
# $\sqrt{b + c - (b - c)^2 / n} / n$.
#
# *Predict*: two classifiers both have an accuracy of 0.78 on 2,000 texts. What can $b + c$ be, at
# least and at most? And how large can the standard error become? The last two cases of the check
# are the two ends. Print what your function returns for them.


# %% tags=["answer"]
def compare(first, second, labels):
    """(b, c, standard error of the difference of the accuracies)."""
    ### BEGIN SOLUTION
    first, second = np.equal(first, labels), np.equal(second, labels)
    b, c = int(np.sum(first & ~second)), int(np.sum(~first & second))
    n = len(labels)
    return b, c, float(np.sqrt(b + c - (b - c) ** 2 / n) / n)
    ### END SOLUTION


# %% tags=["check"]
ONES = np.ones(2000, int)
LAST, FIRST = ONES.copy(), ONES.copy()
LAST[-440:] = 0  # wrong on the last 440 texts
FIRST[:440] = 0  # wrong on the first 440 texts

check(
    compare,
    case("five texts", [1, 1, 0, 0, 1], [1, 0, 0, 1, 0], [1, 1, 1, 1, 1], expect=(2, 1, 0.3346640)),
    case("both labels occur", [0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1], expect=(1, 0, 0.2165064)),
    case("the same classifier twice", LAST, LAST, ONES, expect=(0, 0, 0.0)),
    case("never wrong on the same text", LAST, FIRST, ONES, expect=(440, 440, 0.0148324)),
    hint="Turn decisions into 'right or not' first; then count the two kinds of disagreement.",
)  # fmt: skip


# %% tags=["wrong"]
def compare(first, second, labels):
    first, second = np.asarray(first), np.asarray(second)
    b, c = int(np.sum(first > second)), int(np.sum(first < second))  # ignores the truth
    return b, c, float(np.sqrt(b + c - (b - c) ** 2 / len(labels)) / len(labels))


# %% tags=["wrong"]
def compare(first, second, labels):
    first, second = np.equal(first, labels), np.equal(second, labels)
    b, c = int(np.sum(first)), int(np.sum(second))  # all right answers, not the lonely ones
    return b, c, float(np.sqrt(b + c - (b - c) ** 2 / len(labels)) / len(labels))


# %% tags=["wrong"]
def compare(first, second, labels):
    first, second = np.equal(first, labels), np.equal(second, labels)
    b, c = int(np.sum(first & ~second)), int(np.sum(~first & second))
    n = len(labels)
    p, q = first.mean(), second.mean()
    return b, c, float(np.sqrt(p * (1 - p) / n + q * (1 - q) / n))  # as if on different texts


# %% [markdown]
# The accuracies say nothing about it: $b + c$ lies anywhere between 0 and 880. The error of the
# difference of two *good* classifiers on the *same* texts is mostly smaller than the error of
# either accuracy, because they share most of their mistakes. That is why we compare text by text.
