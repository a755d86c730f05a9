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
# it, and above that it stays. Nothing else changes, and the ids that were given stay as they are.
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

    def call(*arguments):
        given = text.copy()
        answer(given, *arguments)
        return given

    return call


check(
    hidden,
    case("nothing is asked", text, np.zeros(4, bool), np.zeros(4), other, 1, expect=text),
    case("a mask", text, np.array([False, True, False, False]), np.full(4, 0.5), other, 1, expect=[7, 1, 9, 7]),
    case("a drawn one", text, np.array([False, False, True, False]), np.full(4, 0.85), other, 1, expect=[7, 8, 22, 7]),
    case("one stays", text, np.ones(4, bool), np.full(4, 0.95), other, 1, expect=text),
    case("all fates", text, np.ones(4, bool), np.array([0.1, 0.8, 0.9, 0.79]), other, 1, expect=[1, 21, 9, 1]),
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


# %% [markdown]
# $\ln V$: every word has the probability $1 / V$. A loss above that is worse than knowing nothing.
#
# ## Exercise 3: a mean without padding
#
# Write the vector of a text: the mean over its real tokens, divided by its length, so that a dot product of two is a
# cosine. A text without a real token becomes zeros, not NaN.
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
    case("all real", np.array([[[3.0, 0.0], [0.0, 4.0]]]), np.array([[YES, YES]]), expect=[[0.6, 0.8]]),
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


# %% [markdown]
# More. Of a short passage a word is a larger part, and $b$ says how much of that counts.
#
# ## Experiment: how should a text become one vector?
#
# MiniLM was trained on the mean of its vectors. Twelve pairs of sentences say the same in other words, and sentences
# of different pairs have nothing to do with each other. A good vector is near that of its partner *and far from those
# of strangers*. Write `gap`: make a `kerasllm.tasks.SentenceEncoder` of the network and the tokenizer with the pooling
# that is asked for, embed both lists, and return the mean cosine of partners minus the mean cosine of strangers.
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


# %% [markdown]
# The network and the sentences are the same, and nothing was trained anew. With the first vector all texts are near
# each other, strangers too, so its cosines look high and say little. The mean is the vector that MiniLM's training
# pulled together for partners and apart for strangers. The first place took part in it as one token among many, and
# nothing asked it to stand for the text. A high cosine alone is no sign of a good vector.
