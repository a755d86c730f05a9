# %% [markdown]
# # Exercises 15 · BERT
#
# Four exercises and an experiment, each alone. The first four need NumPy and no training; the experiment loads MiniLM
# and takes some seconds. Where the text says *predict*, write your guess down before you run anything.

# %%
import re

import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: hide words as BERT does
#
# The places that are asked for are chosen already. Write what happens to their tokens: a number `fate` from 0 to 1 is
# given for each. Below 0.8 the token becomes the mask, from 0.8 to below 0.9 it becomes the token that was drawn for
# it, and above that it stays. Nothing else changes, and the array that was given stays as it is, for it is needed for
# the loss.
#
# *Predict:* of 1,000 tokens 150 are chosen. How many tokens look different afterwards? (A drawn token is hardly ever
# the right one.)


# %% tags=["answer"]
def hidden(ids, asked, fate, drawn, mask_id):
    """ids, asked (bool), fate, drawn: arrays of one shape. Returns the ids that the encoder reads."""
    ### BEGIN SOLUTION
    changed = np.where(fate < 0.8, mask_id, np.where(fate < 0.9, drawn, ids))
    return np.where(asked, changed, ids)
    ### END SOLUTION


# %% tags=["check"]
text, other = np.array([7, 8, 9, 7]), np.array([20, 21, 22, 23])


def leaves_the_text_alone(answer):
    """Whether the ids that were given are the same after the call."""

    def given_ids(*arguments):
        given = text.copy()
        answer(given, *arguments)
        return given

    return given_ids


check(
    hidden,
    case("nothing is asked", text, np.zeros(4, bool), np.zeros(4), other, 1, expect=text),
    case("a mask", text, np.array([False, True, False, False]), np.full(4, 0.5), other, 1, expect=[7, 1, 9, 7]),
    case("a drawn one", text, np.array([False, False, True, False]), np.full(4, 0.85), other, 1, expect=[7, 8, 22, 7]),
    case("one stays", text, np.ones(4, bool), np.full(4, 0.95), other, 1, expect=text),
    case("all fates", text, np.ones(4, bool), np.array([0.1, 0.81, 0.91, 0.79]), other, 1, expect=[1, 21, 9, 1]),
    case("two texts", np.stack([text, text]), np.array([[True] * 4, [False] * 4]), np.zeros((2, 4)),
         np.stack([other, other]), 1, expect=[[1, 1, 1, 1], [7, 8, 9, 7]]),
    nudge="Which of the three fates has the share 0.8, and where do the two borders lie? Who is not asked at all?",
    hint="np.where in np.where: first by fate among mask, drawn and ids; then by asked between that and ids.",
)  # fmt: skip
check(
    leaves_the_text_alone(hidden),
    case("the text itself", np.ones(4, bool), np.zeros(4), other, 1, expect=text),
    nudge="Does your function write into the array that it was given?",
    hint="np.where makes a new array; ids[place] = mask_id writes into the old one.",
)


# %% tags=["right"]
def hidden(ids, asked, fate, drawn, mask_id):  # a loop over places, into a copy
    result = ids.copy()
    for place in np.ndindex(ids.shape):
        if asked[place] and fate[place] < 0.9:
            result[place] = mask_id if fate[place] < 0.8 else drawn[place]
    return result


# %% tags=["right"]
def hidden(ids, asked, fate, drawn, mask_id):  # library: a list of conditions, the first that holds
    return np.select([~asked, fate < 0.8, fate < 0.9], [ids, mask_id, drawn], ids)


# %% tags=["right"]
def hidden(ids, asked, fate, drawn, mask_id):  # three summands, of which one is left at each place
    mask, other = asked & (fate < 0.8), asked & (fate >= 0.8) & (fate < 0.9)
    return mask_id * mask + drawn * other + ids * ~(mask | other)


# %% tags=["right"]
def hidden(ids, asked, fate, drawn, mask_id):  # Keras
    from keras import ops

    replaced = ops.where(ops.less(fate, 0.8), mask_id, drawn)
    return ops.where(ops.logical_and(asked, ops.less(fate, 0.9)), replaced, ids)


# %% tags=["wrong"]
def hidden(ids, asked, fate, drawn, mask_id):
    return np.where(asked, mask_id, ids)  # all masks


# %% tags=["wrong"]
def hidden(ids, asked, fate, drawn, mask_id):
    return np.where(fate < 0.8, mask_id, np.where(fate < 0.9, drawn, ids))  # hides what nobody asks for


# %% tags=["wrong"]
def hidden(ids, asked, fate, drawn, mask_id):
    changed = np.where(fate < 0.8, mask_id, np.where(fate < 0.9, ids, drawn))  # the last two exchanged
    return np.where(asked, changed, ids)


# %% tags=["wrong"]
def hidden(ids, asked, fate, drawn, mask_id):
    ids[asked & (fate < 0.8)] = mask_id  # destroys the answers
    ids[asked & (fate >= 0.8) & (fate < 0.9)] = drawn[asked & (fate >= 0.8) & (fate < 0.9)]
    return ids


# %% tags=["wrong"]
def hidden(ids, asked, fate, drawn, mask_id):
    changed = np.where(fate < 0.8, mask_id, np.where(fate < 0.85, drawn, ids))  # another border
    return np.where(asked, changed, ids)


# %% tags=["wrong"]
def hidden(ids, asked, fate, drawn, mask_id):
    return np.where(asked, np.where(fate < 0.1, drawn, np.where(fate < 0.9, mask_id, ids)), ids)  # another order


# %% [markdown]
# 120 become masks and about 15 another word, so 135 look different. The other 15 of the 150 are asked for although
# they stand there plainly.
#
# ## Exercise 2: the loss at the hidden places
#
# The network gives scores (logits) for all words at all places. Return the mean of $-\ln$ of the probability of the
# true word over the places that are asked for, and over nothing else. If no place is asked for, the loss is 0.
# Scores may be large.
#
# *Predict:* the network knows nothing and gives all of $V$ words the same score. What is the loss?


# %% tags=["answer"]
def hidden_loss(logits, ids, asked):
    """logits (batch, time, words), ids (batch, time), asked bool (batch, time). Returns one number."""
    ### BEGIN SOLUTION
    logits = logits - logits.max(axis=-1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))  # (batch, time, words)
    true = np.take_along_axis(log_p, ids[..., None], axis=-1)[..., 0]  # (batch, time)
    return -(true * asked).sum() / max(asked.sum(), 1)
    ### END SOLUTION


# %% tags=["check"]
scores = np.log([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]])
true, one, two = np.array([[0, 0, 2]]), np.array([[True, False, False]]), np.array([[True, False, True]])
check(
    hidden_loss,
    case("one place", scores, true, one, expect=np.log(2)),
    case("two places", scores, true, two, expect=-np.log(0.5 * 0.6) / 2),
    case("scores that are no logarithms", scores + 5, true, two, expect=-np.log(0.5 * 0.6) / 2),
    case("no place", scores, true, np.zeros((1, 3), bool), expect=0.0),
    case("large scores", 1000 * scores, true, one, expect=0.0),
    case("nothing is known", np.zeros((2, 4, 50)), np.ones((2, 4), int), np.ones((2, 4), bool), expect=np.log(50)),
    nudge="By what do you divide: by all places, or by those that are asked for? Are logits probabilities?",
    hint="Subtract the maximum, then the logarithm of the sum of exponentials; np.take_along_axis finds the true"
         " words; divide the sum over asked places by their number, at least 1.",
)  # fmt: skip


# %% tags=["right"]
def hidden_loss(logits, ids, asked):  # a loop over the places that are asked for
    losses = []
    for text, place in zip(*np.nonzero(asked), strict=True):
        scores = logits[text, place] - max(logits[text, place])
        losses.append(np.log(sum(np.exp(scores))) - scores[ids[text, place]])
    return np.mean(losses) if losses else 0


# %% tags=["right"]
def hidden_loss(logits, ids, asked):  # library: scipy, and only the asked places are looked at
    from scipy.special import log_softmax

    log_p = log_softmax(logits[asked], axis=-1)  # (asked, words)
    return -log_p[np.arange(len(log_p)), ids[asked]].sum() / (len(log_p) or 1)


# %% tags=["right"]
def hidden_loss(logits, ids, asked):  # Keras, in 32-bit numbers
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    return loss(ids, logits, sample_weight=asked.astype("float32")) / max(1.0, asked.sum())


# %% tags=["right"]
def hidden_loss(logits, ids, asked):  # one-hot words
    one_hot = np.eye(logits.shape[-1])[ids]
    losses = np.logaddexp.reduce(logits, axis=-1) - (one_hot * logits).sum(axis=-1)
    return np.average(losses, weights=asked) if asked.any() else 0.0


# %% tags=["wrong"]
def hidden_loss(logits, ids, asked):
    logits = logits - logits.max(axis=-1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_p, ids[..., None], axis=-1).mean()  # all places


# %% tags=["wrong"]
def hidden_loss(logits, ids, asked):
    logits = logits - logits.max(axis=-1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -(np.take_along_axis(log_p, ids[..., None], axis=-1)[..., 0] * asked).mean()  # divided by all places


# %% tags=["wrong"]
def hidden_loss(logits, ids, asked):
    true = np.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]  # logits are no log-probabilities
    return -(true * asked).sum() / max(asked.sum(), 1)


# %% tags=["wrong"]
def hidden_loss(logits, ids, asked):
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = np.take_along_axis(e / e.sum(axis=-1, keepdims=True), ids[..., None], axis=-1)[..., 0]
    return -np.log((p * asked).sum() / max(asked.sum(), 1) + (not asked.any()))  # the logarithm of the mean


# %% [markdown]
# $\ln V$: every word has the probability $1 / V$. A loss above that is worse than knowing nothing.
#
# ## Exercise 3: a mean without padding
#
# Write the vector of a text: the mean over its real tokens, divided by its length, so that a dot product of two is a
# cosine. A text without a real token becomes zeros, not NaN. Anything may stand at the places of padding, NaN too.
#
# *Predict:* somebody takes the mean over all places, padding included, where the padding's vectors are zeros, and
# divides by the length afterwards. Is the result wrong?


# %% tags=["answer"]
def text_vectors(features, real):
    """features (texts, time, dim), real bool (texts, time). Returns (texts, dim)."""
    ### BEGIN SOLUTION
    total = np.where(real[..., None], features, 0).sum(axis=1)  # (texts, dim)
    lengths = np.linalg.norm(total, axis=1, keepdims=True)  # the number of tokens cancels
    return total / np.where(lengths > 0, lengths, 1)
    ### END SOLUTION


# %% tags=["check"]
YES, NO = True, False
check(
    text_vectors,
    case("all real", np.array([[[3.0, -1.0], [0.0, 5.0]]]), np.array([[YES, YES]]), expect=[[0.6, 0.8]]),
    case("padding", np.array([[[3.0, 4.0], [50.0, -7.0]]]), np.array([[YES, NO]]), expect=[[0.6, 0.8]]),
    case("padding that is NaN", np.array([[[0.0, 2.0], [np.nan, np.nan]]]), np.array([[YES, NO]]), expect=[[0.0, 1.0]]),
    case("no token", np.array([[[3.0, 4.0]]]), np.array([[NO]]), expect=[[0.0, 0.0]]),
    case("two texts", np.array([[[1.0, 0], [1, 0]], [[0, 5], [9, 9]]]), np.array([[YES, YES], [YES, NO]]),
         expect=[[1.0, 0.0], [0.0, 1.0]]),
    nudge="Which axis is summed, and what stands at the places of padding before the sum?",
    hint="np.where(real[..., None], features, 0), then the sum over axis 1, then divide by its norm, or by 1 if that"
         " is 0.",
)  # fmt: skip


# %% tags=["wrong"]
def text_vectors(features, real):  # the maximum in place of the mean
    total = np.where(real[..., None], features, 0).max(axis=1)
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    return total / np.where(lengths > 0, lengths, 1)


# %% tags=["right"]
def text_vectors(features, real):  # loops over texts and tokens
    result = np.zeros((features.shape[0], features.shape[2]))
    for text, vector in enumerate(result):
        for place in np.flatnonzero(real[text]):
            vector += features[text, place]
        if real[text].any():
            vector /= np.sqrt(vector @ vector)
    return result


# %% tags=["right"]
def text_vectors(features, real):  # library: sklearn
    from sklearn.preprocessing import normalize

    return normalize([tokens[kept].sum(axis=0) for tokens, kept in zip(features, real, strict=True)])


# %% tags=["right"]
def text_vectors(features, real):  # Keras, in 32-bit numbers
    from keras import ops

    features = ops.where(real[..., None], ops.cast(features, "float32"), 0.0)
    counts = ops.sum(ops.cast(real, "float32"), axis=1, keepdims=True)
    return ops.normalize(ops.sum(features, axis=1) / ops.maximum(counts, 1.0))


# %% tags=["right"]
def text_vectors(features, real):  # masked arrays, the true mean
    mean = np.ma.array(features, mask=np.repeat(~real[..., None], features.shape[-1], axis=2)).mean(axis=1)
    return (mean / np.sqrt((mean**2).sum(axis=1, keepdims=True))).filled(0)


# %% tags=["wrong"]
def text_vectors(features, real):
    mean = features.mean(axis=1)  # padding counts
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


# %% tags=["wrong"]
def text_vectors(features, real):
    total = np.where(real[..., None], features, 0).sum(axis=1)
    return total / np.maximum(real.sum(axis=1, keepdims=True), 1)  # the mean, but not of length 1


# %% tags=["wrong"]
def text_vectors(features, real):
    first = features[:, 0]  # one place in place of all
    return first / np.linalg.norm(first, axis=1, keepdims=True)


# %% tags=["wrong"]
def text_vectors(features, real):
    total = (features * real[..., None]).sum(axis=1)  # 0 times NaN is NaN
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)


# %% tags=["wrong"]
def text_vectors(features, real):
    lengths = np.linalg.norm(features, axis=2, keepdims=True)
    total = np.where(real[..., None], features / lengths, 0).sum(axis=1)  # each token's length 1 before the sum
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)


# %% [markdown]
# It is right: the wrong number of tokens cancels when the vector gets the length 1. But an encoder does not give zeros
# at padding, and then the sum itself is wrong.
#
# ## Exercise 4: search by words
#
# Write BM25 for one question, with $k_1 = 1.2$ and $b = 0.75$. Words are runs of letters in lower case. A word that
# stands twice in the question counts twice. Return the score of each passage.
#
# *Predict:* does a passage of two words with one *dog* score more or less than one of ten words with one *dog*?


# %% tags=["answer"]
def bm25(question, passages, k1=1.2, b=0.75):
    """Returns an array, one score for each passage."""
    ### BEGIN SOLUTION
    rows = [re.findall(r"[a-z]+", passage.lower()) for passage in passages]
    relative = np.array([len(row) for row in rows]) / np.mean([len(row) for row in rows])
    scores = np.zeros(len(rows))
    for word in re.findall(r"[a-z]+", question.lower()):
        times = np.array([row.count(word) for row in rows])
        holding = (times > 0).sum()
        rarity = np.log(1 + (len(rows) - holding + 0.5) / (holding + 0.5))
        scores += rarity * times / (times + k1 * (1 - b + b * relative))
    return scores
    ### END SOLUTION


# %% tags=["check"]
from kerasllm.tasks import BM25

pets = ["The cat sat.", "A dog ran to the other dog, and the dog barked.", "Cats and dogs.", "The dog."]


def of_the_library(question):
    places, scores = BM25(pets).search([question], k=len(pets))
    return scores[0][places[0].argsort()]


check(
    bm25,
    case("on paper", "dog", ["The cat sat.", "A dog ran.", "Cats and dogs."], expect=[0, 0.445801, 0], tolerance=1e-4),
    case("one word", "dog", pets, expect=of_the_library("dog"), tolerance=1e-5),
    case("a question", "Where did the cat sit?", pets, expect=of_the_library("Where did the cat sit?"), tolerance=1e-5),
    case("a word twice", "dog cat dog", pets, expect=of_the_library("dog cat dog"), tolerance=1e-5),
    case("an unknown word", "zebra", pets, expect=[0.0, 0.0, 0.0, 0.0]),
    nudge="Which numbers belong to the word (how many passages hold it), and which to the passage (its length)?",
    hint="rarity * f / (f + k1 * (1 - b + b * length / mean length)), added up over the words of the question.",
)


# %% tags=["right"]
def bm25(question, passages, k1=1.2, b=0.75):  # loops, dictionaries, a list
    from collections import Counter
    from math import log

    counts = [Counter(re.findall("[a-z]+", passage.lower())) for passage in passages]
    mean = sum(sum(count.values()) for count in counts) / len(counts)
    scores = []
    for count in counts:
        norm, score = k1 * (1 - b + b * sum(count.values()) / mean), 0
        for word in re.findall("[a-z]+", question.lower()):
            holding = sum(word in other for other in counts)
            score += log(1 + (len(counts) - holding + 0.5) / (holding + 0.5)) * count[word] / (count[word] + norm)
        scores.append(score)
    return scores


# %% tags=["right"]
def bm25(question, passages, k1=1.2, b=0.75):  # library: sklearn counts, then one matrix product
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(token_pattern="[a-z]+")
    counts = vectorizer.fit_transform(passages).toarray()  # (passages, words)
    asked = vectorizer.transform([question]).toarray()[0]
    lengths, holding = counts.sum(axis=1, keepdims=True), (counts > 0).sum(axis=0)
    rarity = np.log1p((len(passages) - holding + 0.5) / (holding + 0.5))
    return (counts / (counts + k1 * (1 - b + b * lengths / lengths.mean()))) @ (rarity * asked)


# %% tags=["right"]
def bm25(question, passages, k1=1.2, b=0.75):  # the index of this library, put back into the order of the passages
    from kerasllm.tasks import BM25

    index = BM25(passages, k1, b, words=lambda text: re.findall("[a-z]+", text.lower()))
    (places,), (found,) = index.search([question], k=len(passages))
    return np.array([score for _, score in sorted(zip(places, found, strict=True))])


# %% tags=["wrong"]
def bm25(question, passages, k1=1.2, b=0.75):
    rows = [re.findall(r"[a-z]+", passage.lower()) for passage in passages]
    scores = np.zeros(len(rows))
    for word in re.findall(r"[a-z]+", question.lower()):
        times = np.array([row.count(word) for row in rows])
        holding = (times > 0).sum()
        scores += np.log(1 + (len(rows) - holding + 0.5) / (holding + 0.5)) * times / (times + k1)  # no lengths
    return scores


# %% tags=["wrong"]
def bm25(question, passages, k1=1.2, b=0.75):
    rows = [re.findall(r"[a-z]+", passage.lower()) for passage in passages]
    relative = np.array([len(row) for row in rows]) / np.mean([len(row) for row in rows])
    scores = np.zeros(len(rows))
    for word in re.findall(r"[a-z]+", question.lower()):
        times = np.array([row.count(word) for row in rows])
        scores += times / (times + k1 * (1 - b + b * relative))  # all words alike
    return scores


# %% tags=["wrong"]
def bm25(question, passages, k1=1.2, b=0.75):
    rows = [re.findall(r"[a-z]+", passage.lower()) for passage in passages]
    relative = np.array([len(row) for row in rows]) / np.mean([len(row) for row in rows])
    scores = np.zeros(len(rows))
    for word in set(re.findall(r"[a-z]+", question.lower())):  # a word twice counts once
        times = np.array([row.count(word) for row in rows])
        holding = (times > 0).sum()
        rarity = np.log(1 + (len(rows) - holding + 0.5) / (holding + 0.5))
        scores += rarity * times / (times + k1 * (1 - b + b * relative))
    return scores


# %% tags=["wrong"]
def bm25(question, passages, k1=1.2, b=0.75):
    rows = [re.findall(r"[a-z]+", passage.lower()) for passage in passages]
    relative = np.array([len(row) for row in rows]) / np.mean([len(row) for row in rows])
    scores = np.zeros(len(rows))
    for word in re.findall(r"[a-z]+", question.lower()):
        times = np.array([row.count(word) for row in rows])
        rarity = np.log(1 + (len(rows) - times.sum() + 0.5) / (times.sum() + 0.5))  # how often, not in how many
        scores += rarity * times / (times + k1 * (1 - b + b * relative))
    return scores


# %% tags=["wrong"]
def bm25(question, passages, k1=1.2, b=0.75):
    rows = [passage.split() for passage in passages]  # full stops and capitals belong to the words
    relative = np.array([len(row) for row in rows]) / np.mean([len(row) for row in rows])
    scores = np.zeros(len(rows))
    for word in question.split():
        times = np.array([row.count(word) for row in rows])
        holding = (times > 0).sum()
        rarity = np.log(1 + (len(rows) - holding + 0.5) / (holding + 0.5))
        scores += rarity * times / (times + k1 * (1 - b + b * relative))
    return scores


# %% [markdown]
# More. Of a short passage a word is a larger part, and $b$ says how much of that counts.
#
# ## Experiment: how should a text become one vector?
#
# MiniLM was trained on the mean of its vectors. Twelve pairs of sentences say the same in other words, and sentences
# of different pairs have nothing to do with each other. A good vector is near that of its partner *and far from those
# of strangers*. Write `gap`: make a `SentenceEncoder(network, tokenizer, pooling=pooling)`, let its `embed` turn both
# lists into vectors of length 1, and return the mean cosine of partners minus the mean cosine of strangers. A stranger
# of a first sentence is the second sentence of any other pair.
#
# *Predict* the gap for "mean" and for "first", the vector of `[CLS]`. Only the pooling changes. Then explain.

# %%
from kerasllm.tasks import SentenceEncoder
from kerasllm.weights import pretrained

network, tokenizer = pretrained("minilm")
PAIRS = [
    ("The film moved me to tears.", "I cried in the cinema."),
    ("It will rain tomorrow.", "Wet weather is expected the next day."),
    ("She forgot where she had parked.", "The driver could not find her car again."),
    ("The shop opens at nine.", "You can buy there from nine o'clock on."),
    ("He plays the violin well.", "The man is a good musician."),
    ("My computer is very slow.", "This machine takes ages for everything."),
    ("They sold their house.", "The family's home has new owners."),
    ("The soup needs salt.", "Dinner tastes of nothing."),
    ("The train was late.", "We arrived behind schedule at the station."),
    ("The doctor told him to rest.", "He must stay in bed, the physician said."),
    ("Prices rose sharply.", "Everything has become much more expensive."),
    ("The baby is asleep.", "Be quiet, the little one is napping."),
]
firsts, seconds = map(list, zip(*PAIRS, strict=True))


# %% tags=["answer"]
def gap(pooling):
    """Returns the mean cosine of partners minus that of strangers."""
    ### BEGIN SOLUTION
    encoder = SentenceEncoder(network, tokenizer, pooling=pooling)
    cosines = encoder.embed(firsts) @ encoder.embed(seconds).T  # (first, second)
    partners = np.eye(len(firsts), dtype=bool)
    return cosines[partners].mean() - cosines[~partners].mean()
    ### END SOLUTION


# %% tags=["check"]
check(
    gap,
    case("the mean", "mean", expect=between(0.35, 0.65)),
    case("the first vector", "first", expect=between(0.08, 0.3)),
    nudge="Is each first sentence compared with all second ones? Which of these cosines are those of partners?",
    hint="cosines = embed(firsts) @ embed(seconds).T; partners stand on its diagonal, strangers everywhere else.",
)


# %% tags=["right"]
def gap(pooling):  # loops over pairs, vectors that are not divided by their length
    from itertools import product

    encoder = SentenceEncoder(network, tokenizer, pooling, normalize=False)
    ours, theirs = encoder.embed(firsts), encoder.embed(seconds)
    partners, strangers = [], []
    for i, j in product(range(len(PAIRS)), repeat=2):
        cosine = ours[i] @ theirs[j] / (np.linalg.norm(ours[i]) * np.linalg.norm(theirs[j]))
        (partners if i == j else strangers).append(cosine)
    return np.mean(partners) - np.mean(strangers)


# %% tags=["right"]
def gap(pooling):  # library: sklearn, one call for all texts
    from sklearn.metrics.pairwise import cosine_similarity

    vectors, n = SentenceEncoder(network, tokenizer, pooling=pooling).embed(firsts + seconds), len(PAIRS)
    cosines = cosine_similarity(vectors[:n], vectors[n:])
    return np.trace(cosines) / n - (cosines.sum() - np.trace(cosines)) / (n * n - n)


# %% tags=["right"]
def gap(pooling):  # Keras: strangers by shifting one list against the other
    from keras import ops

    encoder = SentenceEncoder(network, tokenizer, pooling=pooling)
    ours, theirs = encoder.embed(firsts), encoder.embed(seconds)
    means = [ops.mean(ops.sum(ops.roll(ours, shift, axis=0) * theirs, axis=1)) for shift in range(len(PAIRS))]
    return means[0] - ops.mean(ops.stack(means[1:]))


# %% tags=["wrong"]
def gap(pooling):
    encoder = SentenceEncoder(network, tokenizer)  # always the mean
    cosines = encoder.embed(firsts) @ encoder.embed(seconds).T
    partners = np.eye(len(firsts), dtype=bool)
    return cosines[partners].mean() - cosines[~partners].mean()


# %% tags=["wrong"]
def gap(pooling):
    encoder = SentenceEncoder(network, tokenizer, pooling=pooling)
    return (encoder.embed(firsts) * encoder.embed(seconds)).sum(axis=1).mean()  # partners alone


# %% tags=["wrong"]
def gap(pooling):
    encoder = SentenceEncoder(network, tokenizer, pooling=pooling)
    cosines = encoder.embed(firsts) @ encoder.embed(firsts).T  # the sentences with themselves
    partners = np.eye(len(firsts), dtype=bool)
    return cosines[partners].mean() - cosines[~partners].mean()


# %% tags=["wrong"]
def gap(pooling):
    encoder = SentenceEncoder(network, tokenizer, pooling=pooling, normalize=False)  # dot products are no cosines
    products = encoder.embed(firsts) @ encoder.embed(seconds).T
    partners = np.eye(len(firsts), dtype=bool)
    return products[partners].mean() - products[~partners].mean()


# %% [markdown]
# The network and the sentences are the same, and nothing was trained anew. With the first vector all texts are near
# each other, strangers too, so its cosines look high and say little. The mean is the vector that MiniLM's training
# pulled together for partners and apart for strangers. The first place took part in it as one token among many, and
# nothing asked it to stand for the text. A high cosine alone is no sign of a good vector.
