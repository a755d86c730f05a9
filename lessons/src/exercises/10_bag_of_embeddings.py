# %% [markdown]
# # Exercises 10 · A bag of embeddings
#
# Four exercises and an experiment, each alone. Where the text says *predict*, write your guess down before
# you run anything.

# %%
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from kerasllm.course import between, case, check
from kerasllm.data import load

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
    nudge="Is n the number of words or of texts? How often does a word count that stands twice in one text?"
    " And ln is np.log.",
    hint="First make a set of words for each text; a set holds each word once.",
)  # fmt: skip


# %% tags=["right"]
def idf(texts):  # loops over a dictionary of counts
    from math import log

    df = {}
    for text in texts:
        seen = []
        for word in text.split():
            if word not in seen:
                seen.append(word)
                df[word] = df.get(word, 0) + 1
    for word in df:
        df[word] = log((len(texts) + 1) / (df[word] + 1)) + 1
    return df


# %% tags=["right"]
def idf(texts):  # library: scikit-learn, told where words end
    tfidf = TfidfVectorizer(token_pattern=r"\S+", lowercase=False).fit(texts)
    return dict(zip(tfidf.get_feature_names_out(), tfidf.idf_, strict=True))


# %% tags=["right"]
def idf(texts):  # arrays: all different words of all texts in one list, then their counts
    words, df = np.unique(np.concatenate([np.unique(text.split()) for text in texts]), return_counts=True)
    return {word: 1 + value for word, value in zip(words, np.log1p(len(texts)) - np.log1p(df), strict=True)}


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
    nudge="By which number do you divide? And what is 0 times NaN?",
    hint="np.where chooses between two arrays, and a product with 0 does not remove NaN.",
)  # fmt: skip


# %% tags=["right"]
def masked_mean(vectors, ids):  # loops over texts and tokens
    batch, time, dim = vectors.shape
    result = np.zeros((batch, dim))
    for i in range(batch):
        real = [vectors[i, t] for t in range(time) if ids[i, t] != 0]
        if real:
            result[i] = sum(real) / len(real)
    return result


# %% tags=["right"]
def masked_mean(vectors, ids):  # the padding set to zero in a copy, weights and einsum
    weights = (ids > 0) / np.maximum(np.count_nonzero(ids, axis=1), 1)[:, None]
    clean = vectors.copy()
    clean[ids == 0] = 0
    return np.einsum("btd,bt->bd", clean, weights)


# %% tags=["right"]
def masked_mean(vectors, ids):  # library: Keras, in 32-bit numbers
    from keras import ops

    real = ops.cast(ops.not_equal(ids, 0), "float32")
    total = ops.einsum("btd,bt->bd", ops.nan_to_num(ops.cast(vectors, "float32")), real)
    return ops.divide_no_nan(total, ops.sum(real, axis=1, keepdims=True))


# %% tags=["right"]
def masked_mean(vectors, ids):  # masked arrays
    mask = np.broadcast_to((ids == 0)[..., None], vectors.shape)
    return np.ma.array(vectors, mask=mask).mean(axis=1).filled(0)


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


# %% tags=["wrong"]
def masked_mean(vectors, ids):
    real = (ids != 0)[:, :, None]
    total = np.where(real, vectors, 0.0).sum(axis=1)
    return total / max(real.sum() / len(ids), 1)  # one mean length for all: right for texts that are alike


# %% [markdown]
# ## Exercise 3: the contributions of words
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
    nudge="Do your contributions and the bias together give z1 - z0? Compute z for the case “two words” by hand.",
    hint="Each token's score is its vector times (W[:, 1] - W[:, 0]); a mean divides by N.",
)  # fmt: skip


# %% tags=["right"]
def contributions(ids, table, W, b):  # a loop over tokens
    count = sum(1 for i in ids if i)
    found = []
    for i in ids:
        z = table[i] @ W if i else np.zeros(2)
        found.append((z[1] - z[0]) / count)
    return found, b[1] - b[0]


# %% tags=["right"]
def contributions(ids, table, W, b):  # differences along an axis; the scores of the whole vocabulary first
    scores = (table @ np.diff(W)).ravel()
    scores[0] = 0
    return [scores[ids] / np.count_nonzero(ids), np.diff(b)[0]]


# %% tags=["right"]
def contributions(ids, table, W, b):  # what changes when a word is taken out of the sum, divided by N
    n = np.sum(ids > 0)
    parts = np.einsum("td,dk,k->t", table[ids] * (ids > 0)[:, None], W, [-1, 1])
    return parts / n, float(b @ [-1, 1])


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


# %% tags=["wrong"]
def contributions(ids, table, W, b):
    real = ids != 0
    return table[ids] @ (W[1] - W[0]) * real / max(real.sum(), 1), b[1] - b[0]  # rows of W: right where it is symmetric


# %% [markdown]
# ## Exercise 4: McNemar's counts, and two equal accuracies
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
    nudge="Take the case “five texts” and mark on paper which texts each classifier has right.",
    hint="Turn decisions into 'right or not' first; then count the two kinds of disagreement.",
)  # fmt: skip


# %% tags=["right"]
def compare(first, second, labels):  # a loop
    b = c = 0
    for one, other, label in zip(first, second, labels, strict=True):
        b += one == label and other != label
        c += other == label and one != label
    n = len(labels)
    return [b, c, (b + c - (b - c) ** 2 / n) ** 0.5 / n]


# %% tags=["right"]
def compare(first, second, labels):  # the spread of the differences, text by text
    lead = np.equal(first, labels).astype(int) - np.equal(second, labels)
    return np.sum(lead > 0), np.sum(lead < 0), lead.std() / np.sqrt(lead.size)


# %% tags=["right"]
def compare(first, second, labels):  # library
    from scipy.stats import sem
    from sklearn.metrics import confusion_matrix

    right = [np.asarray(decisions) == np.asarray(labels) for decisions in (first, second)]
    table = confusion_matrix(*right, labels=[False, True])
    return table[1, 0], table[0, 1], sem(right[0] * 1.0 - right[1] * 1.0, ddof=0)


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
#
# ## Experiment: how many words carry the opinion?
#
# The training snippets hold more than ten thousand different words. Keep only the `words` most frequent ones,
# throw all others away, and train TF-IDF with logistic regression on what is left. Nothing else changes.
#
# *Predict* the accuracy on the test part with 100, 1,000 and 10,000 words. (The 100 most frequent words are
# *the*, *a*, *of* and their like.) Then write `accuracy_with`. Use `TfidfVectorizer(max_features=words)`, which
# keeps the most frequent words, and `LogisticRegression(C=3, max_iter=1000)`. Explain what you find.


# %% tags=["answer"]
def accuracy_with(words):
    """The accuracy on the test snippets when so many words are kept."""
    snippets = load("movie-snippets")  # text, label ("positive" or "negative"), split
    train, test = snippets[snippets["split"] == "train"], snippets[snippets["split"] == "test"]
    ### BEGIN SOLUTION
    tfidf = TfidfVectorizer(max_features=words)
    model = LogisticRegression(C=3, max_iter=1000).fit(tfidf.fit_transform(train["text"]), train["label"])
    return np.mean(model.predict(tfidf.transform(test["text"])) == test["label"])
    ### END SOLUTION


# %% tags=["check"]
check(
    accuracy_with,
    case("100 words", 100, expect=between(0.6, 0.665)),
    case("1,000 words", 1_000, expect=between(0.71, 0.76)),
    case("10,000 words", 10_000, expect=between(0.75, 0.79)),
    nudge="Is the model fitted on the training part and judged on the test part? Do both use one vectorizer?",
    hint="tfidf.fit_transform on the training texts, tfidf.transform on the test texts, the mean of right answers.",
)
print(*(f"{words:,} words: {accuracy_with(words):.3f}" for words in (100, 1_000, 10_000)), sep="   ")


# %% tags=["right"]
def accuracy_with(words):  # a pipeline
    from sklearn.pipeline import make_pipeline

    snippets = load("movie-snippets")
    train, test = (snippets[snippets["split"] == part] for part in ("train", "test"))
    model = make_pipeline(TfidfVectorizer(max_features=words), LogisticRegression(C=3, max_iter=1000))
    return model.fit(train["text"], train["label"]).score(test["text"], test["label"])


# %% tags=["right"]
def accuracy_with(words):  # the vocabulary counted in a loop, right answers too
    from collections import Counter

    snippets = load("movie-snippets")
    parts = {part: rows for part, rows in snippets.groupby("split")}
    split, counts = TfidfVectorizer().build_analyzer(), Counter()
    for text in parts["train"]["text"]:
        counts.update(split(text))
    tfidf = TfidfVectorizer(vocabulary=[word for word, _ in counts.most_common(words)])
    model = LogisticRegression(C=3, max_iter=1000).fit(
        tfidf.fit_transform(parts["train"]["text"]), parts["train"]["label"]
    )
    answers = model.predict(tfidf.transform(parts["test"]["text"]))
    right = 0
    for answer, label in zip(answers, parts["test"]["label"], strict=True):
        right += answer == label
    return right / len(answers)


# %% tags=["wrong"]
def accuracy_with(words):
    snippets = load("movie-snippets")
    train = snippets[snippets["split"] == "train"]
    tfidf = TfidfVectorizer(max_features=words)
    model = LogisticRegression(C=3, max_iter=1000).fit(tfidf.fit_transform(train["text"]), train["label"])
    return model.score(tfidf.transform(train["text"]), train["label"])  # judged on the training part


# %% tags=["wrong"]
def accuracy_with(words):
    snippets = load("movie-snippets")
    train, test = snippets[snippets["split"] == "train"], snippets[snippets["split"] == "test"]
    tfidf = TfidfVectorizer(max_features=words)
    model = LogisticRegression(C=3, max_iter=1000).fit(tfidf.fit_transform(train["text"]), train["label"])
    other = TfidfVectorizer(max_features=words).fit_transform(test["text"])  # other columns
    return model.score(other, test["label"])


# %% tags=["wrong"]
def accuracy_with(words):
    snippets = load("movie-snippets")
    train, test = snippets[snippets["split"] == "train"].head(words), snippets[snippets["split"] == "test"]
    tfidf = TfidfVectorizer()  # so many snippets, and all of their words
    model = LogisticRegression(C=3, max_iter=1000).fit(tfidf.fit_transform(train["text"]), train["label"])
    return model.score(tfidf.transform(test["text"]), test["label"])


# %% [markdown]
# The 100 most frequent words are right in 63 of 100 cases, 13 points above chance, although hardly one of them is
# an opinion: *but*, *not*, *too* and *and* tell a little each. With 1,000 words it is 73, with 10,000 it is 77. Each
# step of ten times as many words brings less, because the rarer a word is, the fewer texts it can help.
