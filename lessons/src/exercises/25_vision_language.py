# %% [markdown]
# # Exercises 25 · Vision and language
#
# Four exercises and an experiment, each alone. The first four need NumPy and no training; the experiment reads
# scikit-learn's digits and takes a few seconds. Where the text says *predict*, write your guess down before you run
# anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: cut a picture into patches
#
# Cut one picture into squares. The squares follow each other row by row, from the left at the top, and each becomes
# one flat row: its pixels row by row, the channels of a pixel side by side.
#
# *Predict:* a picture of 4 by 6 pixels with one channel is cut into squares of 2 by 2. In which square is the pixel in
# row 1 and column 4, both counted from 0?


# %% tags=["answer"]
def patches(picture, size):
    """picture (height, width, channels), sides multiples of size. Returns (squares, size * size * channels)."""
    ### BEGIN SOLUTION
    height, width, channels = picture.shape
    x = picture.reshape(height // size, size, width // size, size, channels)
    return x.transpose(0, 2, 1, 3, 4).reshape(-1, size * size * channels)
    ### END SOLUTION


# %% tags=["check"]
grey, coloured = np.arange(24.0).reshape(4, 6, 1), np.arange(36.0).reshape(2, 6, 3)
check(
    patches,
    case("grey", grey, 2, expect=[[0.0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11],
                                  [12, 13, 18, 19], [14, 15, 20, 21], [16, 17, 22, 23]]),
    case("coloured", coloured, 2, expect=[np.r_[0:6, 18:24], np.r_[6:12, 24:30], np.r_[12:18, 30:36]]),
    case("single pixels", coloured, 1, expect=coloured.reshape(12, 3)),
    case("high", np.arange(8.0).reshape(4, 2, 1), 2, expect=[[0.0, 1, 2, 3], [4, 5, 6, 7]]),
    nudge="How many rows and how many columns of squares are there? Which pixels share a square?",
    hint="Reshape to (rows, size, columns, size, channels), then bring rows and columns to the front.",
)  # fmt: skip


# %% tags=["right"]
def patches(picture, size):  # two loops
    found = []
    for top in range(0, picture.shape[0], size):
        for left in range(0, picture.shape[1], size):
            found.append(picture[top : top + size, left : left + size].ravel())
    return np.array(found)


# %% tags=["right"]
def patches(picture, size):  # split and split again
    rows = np.split(picture, picture.shape[0] // size)
    return [square.flatten() for row in rows for square in np.split(row, picture.shape[1] // size, axis=1)]


# %% tags=["right"]
def patches(picture, size):  # the library's
    from kerasllm.layers.patches import cut

    return np.array(cut(picture[None], size)[0])


# %% tags=["wrong"]
def patches(picture, size):
    return picture.reshape(-1, size * size * picture.shape[-1])  # strips, no squares


# %% tags=["wrong"]
def patches(picture, size):
    found = []
    for left in range(0, picture.shape[1], size):  # column by column
        for top in range(0, picture.shape[0], size):
            found.append(picture[top : top + size, left : left + size].ravel())
    return np.array(found)


# %% tags=["wrong"]
def patches(picture, size):
    height, width, channels = picture.shape
    x = picture.reshape(height // size, size, width // size, size, channels)
    return x.transpose(0, 2, 4, 1, 3).reshape(-1, size * size * channels)  # channel by channel


# %% tags=["wrong"]
def patches(picture, size):
    height, width, channels = picture.shape
    x = picture.reshape(height // size, size, width // size, size, channels)
    return x.transpose(0, 2, 3, 1, 4).reshape(-1, size * size * channels)  # each square is turned


# %% [markdown]
# In the third one, number 2: columns 4 and 5 of the first two rows. A reshape alone would cut strips of a row, and
# neighbours above each other would be torn apart.
#
# ## Exercise 2: a picture between the words
#
# A text of ids holds the number of a picture's place several times. Return its vectors: at the first such place the
# picture's first vector, at the second its second, and everywhere else the embedding of the token.
#
# *Predict:* the text is 7, P, 8, P, P. Which vector of the picture stands at the end?


# %% tags=["answer"]
def filled(ids, table, place, vectors):
    """ids (time,), table (vocabulary, dim), place: the id of a place, vectors (places, dim). Returns (time, dim)."""
    ### BEGIN SOLUTION
    result = table[ids]
    here = ids == place
    result[here] = vectors[: here.sum()]
    return result
    ### END SOLUTION


# %% tags=["check"]
table = np.arange(12.0).reshape(6, 2)
seen = np.array([[100.0, 101], [200, 201], [300, 301]])
check(
    filled,
    case("in front", np.array([5, 5, 5, 1]), table, 5, seen, expect=[[100.0, 101], [200, 201], [300, 301], [2, 3]]),
    case("between", np.array([1, 5, 2, 5, 5]), table, 5, seen,
         expect=[[2.0, 3], [100, 101], [4, 5], [200, 201], [300, 301]]),
    case("another number", np.array([0, 4, 0]), table, 0, seen, expect=[[100.0, 101], [8, 9], [200, 201]]),
    case("no picture", np.array([1, 3]), table, 5, seen, expect=[[2.0, 3], [6, 7]]),
    nudge="Which vector belongs to a place: that of its position in the text, or of its position among the places?",
    hint="result = table[ids]; here = ids == place; then result[here] gets the first vectors.",
)  # fmt: skip


# %% tags=["right"]
def filled(ids, table, place, vectors):  # one after the other
    left, result = list(vectors), []
    for one in ids:
        result.append(left.pop(0) if one == place else table[one])
    return np.array(result)


# %% tags=["right"]
def filled(ids, table, place, vectors):  # counted, as in a compiled function
    here = ids == place
    number = np.clip(np.cumsum(here) - 1, 0, len(vectors) - 1)
    return np.where(here[:, None], vectors[number], table[ids])


# %% tags=["right"]
def filled(ids, table, place, vectors):  # one table for both
    rows = np.array(ids)
    rows[ids == place] = len(table) + np.arange(np.count_nonzero(ids == place))
    return np.concatenate([table, vectors])[rows]


# %% tags=["wrong"]
def filled(ids, table, place, vectors):
    result = table[ids]
    for position in np.flatnonzero(ids == place):
        result[position] = vectors[position % len(vectors)]  # by the position in the text
    return result


# %% tags=["wrong"]
def filled(ids, table, place, vectors):
    return np.concatenate([vectors, table[ids[ids != place]]])  # always in front, and always all


# %% tags=["wrong"]
def filled(ids, table, place, vectors):
    result = table[ids]
    result[ids == place] = vectors[0]  # the first one everywhere
    return result


# %% tags=["wrong"]
def filled(ids, table, place, vectors):
    result = table[ids]
    here = ids == place
    result[here] += vectors[: here.sum()]  # added to the embedding
    return result


# %% [markdown]
# The third: it is the third place of the picture, though the fifth token of the text. The position in the text comes
# in later, where the GPT adds positions to all of them.
#
# ## Exercise 3: the loss of a batch of pairs
#
# Picture $i$ belongs to text $i$. Return the loss of the lesson: each picture chooses among all texts, each text
# chooses among all pictures, and the loss is the mean of both cross-entropies.
#
# *Predict:* all vectors of a batch of 8 pairs are equal. How large is the loss?


# %% tags=["answer"]
def pair_loss(pictures, texts, scale):
    """pictures, texts: vectors of length 1 (batch, dim); scale: what products are multiplied by. Returns a number."""
    ### BEGIN SOLUTION
    scores = scale * pictures @ texts.T
    own = np.diag(scores)
    of_pictures = np.log(np.exp(scores).sum(axis=1)) - own
    of_texts = np.log(np.exp(scores).sum(axis=0)) - own
    return (of_pictures.mean() + of_texts.mean()) / 2
    ### END SOLUTION


# %% tags=["check"]
left = np.array([[1.0, 0], [0, 1], [0.6, 0.8]])
right = np.array([[0.8, 0.6], [0, 1], [-1, 0]])
check(
    pair_loss,
    case("all alike", np.tile([[1.0, 0]], (8, 1)), np.tile([[1.0, 0]], (8, 1)), 5.0, expect=np.log(8)),
    case("far apart", np.eye(2), np.eye(2), 3.0, expect=np.log(1 + np.exp(-3))),
    case("three", left, right, 1.0, expect=1.1006598),
    case("another scale", left, right, 4.0, expect=1.8332207),
    case("exchanged", right, left, 4.0, expect=1.8332207),
    nudge="How many softmaxes are there, and over which axis does each go?",
    hint="scores = scale * pictures @ texts.T; log-sum-exp over axis 1 and over axis 0, each minus the diagonal.",
)


# %% tags=["right"]
def pair_loss(pictures, texts, scale):  # a softmax by hand
    scores = scale * pictures @ texts.T
    rows = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    columns = np.exp(scores) / np.exp(scores).sum(axis=0, keepdims=True)
    return -np.mean([np.log(np.diag(rows)), np.log(np.diag(columns))])


# %% tags=["right"]
def pair_loss(pictures, texts, scale):  # loops
    total, count = 0.0, len(pictures)
    for i in range(count):
        own = scale * np.dot(pictures[i], texts[i])
        total += np.log(sum(np.exp(scale * np.dot(pictures[i], text)) for text in texts)) - own
        total += np.log(sum(np.exp(scale * np.dot(picture, texts[i])) for picture in pictures)) - own
    return total / (2 * count)


# %% tags=["right"]
def pair_loss(pictures, texts, scale):  # library: scipy
    from scipy.special import log_softmax

    scores = scale * np.einsum("id,jd->ij", pictures, texts)
    return -(np.trace(log_softmax(scores, axis=0)) + np.trace(log_softmax(scores, axis=1))) / 2 / len(scores)


# %% tags=["wrong"]
def pair_loss(pictures, texts, scale):
    scores = scale * pictures @ texts.T
    return np.mean(np.log(np.exp(scores).sum(axis=1)) - np.diag(scores))  # texts do not choose


# %% tags=["wrong"]
def pair_loss(pictures, texts, scale):
    scores = pictures @ texts.T / scale  # divided by the scale
    own = np.diag(scores)
    return np.mean([np.log(np.exp(scores).sum(axis=axis)) - own for axis in (0, 1)])


# %% tags=["wrong"]
def pair_loss(pictures, texts, scale):
    scores = scale * pictures @ texts.T
    own = np.diag(scores)
    return np.sum([np.log(np.exp(scores).sum(axis=axis)) - own for axis in (0, 1)])  # sums


# %% tags=["wrong"]
def pair_loss(pictures, texts, scale):
    return np.mean((pictures - texts) ** 2)  # only its own: nobody is pushed away


# %% [markdown]
# log 8, about 2.08, whatever the scale: among eight that are equal one can only guess. The last wrong answer is
# tempting. But to have all pictures and all texts at one place makes it 0, so it teaches nothing.
#
# ## Exercise 4: the same picture in two parts
#
# Say for each test picture whether there is a training picture which is nearly the same: the square root of the mean
# of all squared differences is below a limit.
#
# *Predict:* one picture is white, the other has a single black pixel of 256. The pixels go from 0 to 1. How large is
# that number?


# %% tags=["answer"]
def leaks(training, test, limit):
    """training, test: float arrays (pictures, height, width). Returns bool (test pictures,)."""
    ### BEGIN SOLUTION
    difference = test[:, None] - training[None]
    return (np.sqrt((difference**2).mean(axis=(2, 3))) < limit).any(axis=1)
    ### END SOLUTION


# %% tags=["check"]
white, dot, black = np.ones((16, 16)), np.ones((16, 16)), np.zeros((16, 16))
dot[3, 5] = 0
chess = (np.indices((16, 16)).sum(axis=0) % 2).astype(float)
check(
    leaks,
    case("a dot", np.array([white, black]), np.array([dot]), 0.07, expect=[True]),
    case("a stricter limit", np.array([white, black]), np.array([dot]), 0.06, expect=[False]),
    case("as many bright pixels", np.array([chess]), np.array([1 - chess, chess, dot]), 0.5,
         expect=[False, True, False]),
    case("brighter and darker", np.array([white * 0.5]), np.array([white * 0.4, white * 0.6, white * 0.8]), 0.2,
         expect=[True, True, False]),
    nudge="Which differences belong to one pair of pictures, and over what must be searched?",
    hint="difference = test[:, None] - training[None]; square, mean over axes 2 and 3, root, below the limit, any.",
)  # fmt: skip


# %% tags=["right"]
def leaks(training, test, limit):  # loops
    found = []
    for picture in test:
        distances = [np.sqrt(np.mean((picture - other) ** 2)) for other in training]
        found.append(min(distances) < limit)
    return np.array(found)


# %% tags=["right"]
def leaks(training, test, limit):  # library: scipy
    from scipy.spatial.distance import cdist

    flat = cdist(test.reshape(len(test), -1), training.reshape(len(training), -1))
    return flat.min(axis=1) / np.sqrt(test[0].size) < limit


# %% tags=["right"]
def leaks(training, test, limit):  # squares by products
    a, b = (x.reshape(len(x), -1) for x in (test, training))
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.array([bool(row.min() / a.shape[1] < limit**2) for row in squares])


# %% tags=["wrong"]
def leaks(training, test, limit):
    difference = test[:, None] - training[None]
    return (np.abs(difference.mean(axis=(2, 3))) < limit).any(axis=1)  # brighter and darker cancel out


# %% tags=["wrong"]
def leaks(training, test, limit):
    difference = test[:, None] - training[None]
    return (np.sqrt((difference**2).sum(axis=(2, 3))) < limit).any(axis=1)  # a sum, no mean


# %% tags=["wrong"]
def leaks(training, test, limit):
    difference = test[:, None] - training[None]
    return (np.sqrt((difference**2).mean(axis=(2, 3))) < limit).any(axis=0)  # for each training picture


# %% tags=["wrong"]
def leaks(training, test, limit):
    difference = test[:, None] - training[None]
    return (np.sqrt((difference**2).mean(axis=(2, 3))) < limit).all(axis=1)  # like all of them


# %% [markdown]
# 1/16, that is 0.0625: the root of 1/256. A small number means little by itself; look at the pairs just below and
# just above a limit before you believe in it.
#
# ## Experiment: does it matter where a pixel stands?
#
# A logistic regression reads the 64 pixels of a handwritten digit. Write `accuracy`. For `"as they are"` nothing is
# changed. For `"one order"` the 64 pixels of every picture, training and test, are put into the same random order. For
# `"each its own"` every picture gets a random order of its own. Train on `train`, return the share of `test` that is
# read rightly.
#
# *Predict:* as they are, 92 of 100 are right. How many are right with one order for all, and how many if each picture
# has its own? What does that say about a mean over all patches?

# %%
from sklearn.linear_model import LogisticRegression

from kerasllm.data import load

digits = load("digits")
train, test = (
    (part.filter(like="pixel").to_numpy(float) / 16, part["label"].astype(str).to_numpy())
    for part in (digits[digits["split"] == "train"], digits[digits["split"] == "test"])
)


# %% tags=["answer"]
def accuracy(order, seed=0):
    """order: "as they are", "one order" or "each its own". Returns a share from 0 to 1."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    one = rng.permutation(64)

    def moved(pictures):
        if order == "as they are":
            return pictures
        return pictures[:, one] if order == "one order" else rng.permuted(pictures, axis=1)

    model = LogisticRegression(C=0.02, max_iter=1_000).fit(moved(train[0]), train[1])
    return model.score(moved(test[0]), test[1])
    ### END SOLUTION


# %% tags=["check"]
check(
    accuracy,
    case("as they are", "as they are", expect=between(0.9, 0.98)),
    case("one order", "one order", expect=between(0.9, 0.98)),
    case("each its own", "each its own", expect=between(0.05, 0.2)),
    nudge="Are training and test pictures moved alike? In the last case, does every picture get another order?",
    hint="pictures[:, order] moves all alike; rng.permuted(pictures, axis=1) moves each row on its own.",
)


# %% tags=["right"]
def accuracy(order, seed=3):  # loops
    rng = np.random.default_rng(seed)
    shared = rng.permutation(64)
    sets = []
    for pictures in (train[0], test[0]):
        rows = []
        for picture in pictures:
            places = {"as they are": np.arange(64), "one order": shared}.get(order)
            rows.append(picture[rng.permutation(64) if places is None else places])
        sets.append(np.array(rows))
    model = LogisticRegression(C=0.02, max_iter=1_000).fit(sets[0], train[1])
    return np.mean(model.predict(sets[1]) == test[1])


# %% tags=["right"]
def accuracy(order, seed=1):  # a table of orders
    rng = np.random.default_rng(seed)
    count = len(train[0]) + len(test[0])
    orders = {
        "as they are": np.tile(np.arange(64), (count, 1)),
        "one order": np.tile(rng.permutation(64), (count, 1)),
        "each its own": np.array([rng.permutation(64) for _ in range(count)]),
    }[order]
    pictures = np.take_along_axis(np.concatenate([train[0], test[0]]), orders, axis=1)
    model = LogisticRegression(C=0.03, max_iter=1_000).fit(pictures[: len(train[0])], train[1])
    return float((model.predict(pictures[len(train[0]) :]) == test[1]).mean())


# %% tags=["wrong"]
def accuracy(order):
    model = LogisticRegression(C=0.02, max_iter=1_000).fit(*train)  # nothing is moved
    return model.score(*test)


# %% tags=["wrong"]
def accuracy(order):
    rng = np.random.default_rng(0)

    def moved(pictures):  # training and test get orders of their own
        return pictures if order == "as they are" else pictures[:, rng.permutation(64)]

    return LogisticRegression(C=0.02, max_iter=1_000).fit(moved(train[0]), train[1]).score(moved(test[0]), test[1])


# %% tags=["wrong"]
def accuracy(order):
    rng = np.random.default_rng(0)
    model = LogisticRegression(C=0.02, max_iter=1_000).fit(*train)
    return model.score(test[0] if order == "as they are" else rng.permuted(test[0], axis=1), test[1])


# %% [markdown]
# One order for all costs nothing, because a logistic regression has a weight for each column and does not know which
# pixels are neighbours. If each picture has its own order, every column means the same, and one in ten is right, which
# is chance. A mean over patches throws the places away in the same manner. So what the patches know of their places
# must be put into them before, as the learned positions do.
