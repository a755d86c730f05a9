# %% [markdown] tags=["edition-2"]
# # 13 · Attention
#
# **How can a model look up what it read, instead of remembering all of it in one state?**
#
# **You need** lesson 03 (softmax), lesson 08 (padding and its mask), lesson 09 (dot products of word vectors) and
# lesson 11 (the LSTM and its gates).
#
# **You will build** scaled dot-product attention, masks, several heads and rotary positions, in
# NumPy, equal to Keras and to the library. You will race attention against an LSTM in a game of
# memory, and find out in one line what the winner has learned.
#
# **Time** about 2 minutes to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import functools
import itertools
import math
import re
import time

import keras
import numpy as np
from keras import ops

from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram, attention_grid, look_up, several_heads, unrolled
from kerasllm.course.figures import curves, show
from kerasllm.data import load
from kerasllm.layers import MultiHeadAttention, RotaryPositions

# %%
STEPS = dial(400, smoke=10, gpu=4_000)  # training steps of every model
LONGER = dial(1_200, smoke=20, gpu=12_000)  # training steps of the two that are given more time
RATES = dial((0.003, 0.01), smoke=(0.01,))  # learning rates to choose from, for every model and length
LENGTHS = dial((4, 8, 16, 32), smoke=(4, 16))  # words on a page
SEEDS = dial((0, 1, 2), smoke=(0,))  # repetitions on pages of 16 words
UNITS = dial(128, smoke=8, gpu=512)  # numbers in the state of the LSTM; its cell has as many
TOKENS = dial((512, 1024, 2048, 4096), smoke=(64, 128))  # lengths whose cost is measured

# %% [markdown]
# ## Recite a page
#
# Here is a game for a memory. You read a page of 16 words once. Then you read it a second time, word by word, and
# after each word you say which one comes next. With the page on the table this is easy: find the word that you have
# just heard, and read the one behind it. Now close the book and try it from memory. How many of the 15 answers would
# you get right?
#
# An LSTM plays the second version, because it has no table. Whatever it wants to know later must be
# in its state when the page ends, as the drawing shows. The state has as many numbers for a long page
# as for a short one. Before you go on, write down your guess: what share of a page of 4, 8, 16 and
# 32 words will it recite?

# %% tags=["hide"]
# @title Drawing: an LSTM reads a page and recites it
figure = unrolled(["god", "made", "light", "god", "made"], ["", "", "", "made", "light"])
show(figure, "Five LSTM cells in a row hand a state from one to the next. The first three read the page god"
     " made light. The last two read god and made again and say made and light; all they"
     " know came by the state.")  # fmt: skip

# %% [markdown]
# The pages are cut from the King James Bible, from training books for training, from other books to choose by, and
# from test books for the test. We want to measure memory and not guessing: a model that knows which word often
# follows *and* would be right now and then on a page that it has forgotten. So each page gets *fresh random vectors*,
# one for each different word. *God* has another vector on every page, so there is nothing to learn about any
# particular word.


# %%
verses = load("king-james")  # text, label (the book), split, chapter, verse
texts = {part: " ".join(verses["text"][verses["split"] == part]).lower() for part in ("train", "validation", "test")}
words = {part: np.array(re.findall(r"[a-z]+(?:'s)?", text)) for part, text in texts.items()}
DIM = 32  # numbers of a word


def pages(part, length, count, seed):
    """Runs of words from random places: (count, length)."""
    starts = np.random.default_rng(seed).integers(0, len(words[part]) - length, count)
    return words[part][starts[:, None] + np.arange(length)]


def fresh(page, seed):
    """New vectors for each page, the same one wherever a word stands on it: (pages, n, DIM)."""
    new = np.random.default_rng(seed).normal(0, 1 / math.sqrt(DIM), (*page.shape, DIM)).astype("float32")
    first = (page[:, :, None] == page[:, None, :]).argmax(axis=2)  # (pages, n): where the word stands first
    return np.take_along_axis(new, first[:, :, None], axis=1)


# %% [markdown]
# A model answers with a row of scores for each word of the second reading: one score for each
# *place* on the page, and the highest one is its answer. The LSTM says a vector, and the score of a
# place is the dot product of that vector with the word that stands there. So it never has to choose
# among all the words of the Bible, only among those of the page. Its forget gate starts nearly open,
# for in lesson 11 this was the LSTM that remembered furthest.


# %%
class Remember(keras.Model):
    """Reads the page, reads it again, and says which word comes next."""

    def __init__(self):
        super().__init__()
        self.memory = keras.layers.LSTM(UNITS, return_sequences=True)
        self.memory.build((None, None, DIM))
        W, U, b = self.memory.get_weights()
        b[UNITS : 2 * UNITS] = 5  # the forget gate starts nearly open
        self.memory.set_weights([W, U, b])
        self.say = keras.layers.Dense(DIM)

    def call(self, x):  # (batch, n, DIM)
        states = self.memory(ops.concatenate([x, x[:, :-1]], axis=1))  # the page, and once more
        said = self.say(states[:, x.shape[1] :])  # (batch, n - 1, DIM)
        return ops.matmul(said, ops.swapaxes(x, 1, 2))  # (batch, n - 1, n): a score for each place


# %%
@functools.cache  # a model that was trained is kept
def trained(make, length, rate, steps=STEPS, seed=0):
    """A new model, trained on pages of one length."""
    keras.utils.set_random_seed(seed)
    model, page = make(), pages("train", length, 32 * steps, seed)
    next_place = np.tile(np.arange(1, length), (len(page), 1))
    falling = keras.optimizers.schedules.CosineDecay(rate, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(falling), loss, steps_per_execution=10)
    model.fit(fresh(page, seed), next_place, batch_size=32, verbose=0)
    return model


def answers(model, page):
    """The places that a model names, one for each word of the second reading: (pages, n - 1)."""
    return ops.convert_to_numpy(model(fresh(page, seed=99))).argmax(axis=-1)


# %% [markdown]
# Every length gets a model of its own, trained on pages of exactly that length. Otherwise we would measure how well
# it copes with a surprise, not how much it can hold. The learning rate is chosen on validation pages of that length,
# here and for all rivals. Any place with the right word counts as right. The last column is what a finger on a random
# place gets.


# %%
def recited(model, length, part="test"):
    """The share of the words of unseen pages that a model recites correctly."""
    page = pages(part, length, 128, seed=9)
    return np.mean(np.take_along_axis(page, answers(model, page), axis=1) == page[:, 1:])


@functools.cache
def best_rate(make, n):
    """The learning rate that recites most of validation pages of the same length."""
    return max(RATES, key=lambda rate: recited(trained(make, n, rate), n, "validation"))


def best(make, n):
    return trained(make, n, best_rate(make, n))


chance = {n: np.mean([(page[1:, None] == page).mean() for page in pages("test", n, 128, seed=9)]) for n in LENGTHS}
for n in LENGTHS:
    print(f"page of {n:2d} words: the LSTM recites {recited(best(Remember, n), n):.2f}, a random place {chance[n]:.2f}")

# %% [markdown]
# The LSTM recites nearly all of the shortest page, and of the longest about one word in eight. Is its state too
# small, or did training not teach it to use the state? We come back to the question when there is something to
# compare these numbers with.
#
# ## Look up instead
#
# Leave the page on the table. A Python dictionary shows the idea: it holds pairs of a **key** and a
# **value**, you bring a **query**, and you get the value whose key *equals* your query. A network
# cannot use this directly, because "equals" has no slope to learn from. Attention is the soft
# version (Bahdanau et al. 2015 used it for translation). Queries and keys are vectors, and their
# dot product says how well they fit. Softmax turns the fits into *weights* that sum to 1. The
# answer is the mean of *all* values under these weights:
#
# $$ s_j = \frac{q \cdot k_j}{\sqrt{d}}, \qquad w_j = \frac{e^{s_j}}{\sum_i e^{s_i}}, \qquad
# \text{output} = \sum_j w_j v_j $$
#
# Here $d$ is the size of a query and a key; why its root divides comes below. Look at the drawing from the bottom to
# the top. Each word of the page *in the beginning god* offers a key (orange) and a value (green). The value is the
# word itself. The key is the word *before* it, since we want to find what comes after; hence the slanted arrows. The
# query (blue) is the word that we have just heard, and it meets every key: a circle is the dot product of the two,
# and the score beside it is that product divided by $\sqrt d$.

# %% tags=["hide"]
# @title Drawing: one query meets every key
one_hot = np.eye(4)
toy = (6 * one_hot[1], np.vstack([np.zeros(4), one_hot[:3]]), one_hot)  # the query, the keys, the values
figure = look_up(["in", "the", "beginning", "god"], [0.0433, 0.0433, 0.8701, 0.0433], "the", [0, 0, 3, 0], numbers=toy,
                 key_before=True)  # fmt: skip
show(figure, "Four words offer a value each, and the word before each offers its key. The query of the word the meets"
     " every key: the score of beginning is 3, the others are 0. Beginning has the weight 0.87 and makes up most of"
     " the output.")  # fmt: skip

# %% [markdown]
# We can check this on paper. Give each of the four words a 1 at its own place: *in* is (1, 0, 0, 0), *the* is
# (0, 1, 0, 0), and so on. The key of *in* is empty, since nothing stands before it. The query is 6 times *the*: the
# factor makes the fit count, and in a model a trained matrix would bring it. Its dot products with the four keys are
# 0, 0, 6, 0. Divided by $\sqrt 4 = 2$ they are 0, 0, 3, 0, and $e^0 = 1$, $e^3 = 20.09$. The sum is 23.09, so the
# weights are 0.043, 0.043, 0.870, 0.043. The output is the same four numbers, because the values are ones at their
# own places: 87% *beginning*.
#
# Many queries are the rows of a matrix $Q$, keys and values are the rows of $K$ and $V$, and the formula
# becomes that of Vaswani et al. (2017):
#
# $$ \text{Attention}(Q, K, V) = \text{softmax}\left(\frac{Q K^\top}{\sqrt{d}}\right) V $$


# %%
def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))  # no number above 1: nothing overflows
    return e / e.sum(axis=-1, keepdims=True)


def attention(Q, K, V, allowed=None):
    """Q (..., time, d), K (..., key_time, d), V (..., key_time, dim) -> outputs and weights."""
    scores = Q @ np.swapaxes(K, -1, -2) / math.sqrt(Q.shape[-1])  # (..., time, key_time)
    if allowed is not None:
        scores = np.where(allowed, scores, -1e9)
    weights = softmax(scores)  # each row, one for each query, sums to 1
    return weights @ V, weights


page = np.eye(4)  # in, the, beginning, god
keys = np.vstack([np.zeros(4), page[:3]])  # the word before each
output, weights = attention(6 * page[1:2], keys, page)
print("weights", weights.round(3), "  output", output.round(3))

# %% [markdown]
# What is the division by $\sqrt d$ for? Take independent numbers with mean 0 and variance 1. The product of two of
# them has mean 0 and again variance 1, since for such numbers the variances multiply, and the sum of $d$ products has
# variance $d$. So the more numbers a query has, the larger the scores become, until softmax gives nearly all the
# weight to one key. There its slope is almost 0, because the slope of a weight by its own score is $w(1 - w)$, and a
# small slope teaches slowly. Divided by $\sqrt d$ the scores have variance 1 at every size. Compare the last two
# columns of the table.

# %%
rng = np.random.default_rng(0)
print("  d   variance of the scores   slope of the softmax: as they are   divided by √d")
for d in (4, 16, 64, 256):
    q, k = rng.normal(size=(2_000, 1, d)), rng.normal(size=(2_000, 16, d))
    scores = (q @ np.swapaxes(k, 1, 2))[:, 0]  # (2000, 16): 16 random keys for each query
    plain, scaled = softmax(scores), softmax(scores / math.sqrt(d))
    slopes = [(w * (1 - w)).mean() for w in (plain, scaled)]
    print(f"{d:3d} {scores.var():24.1f} {slopes[0]:36.3f} {slopes[1]:15.3f}")

# %% [markdown]
# As they are, the slopes fall as $d$ grows; divided, they stay the same.
#
# ## Who may look at whom
#
# Queries, keys and values often come from one text, and that is **self-attention**: each word asks, and
# each word offers. Three trained matrices make the three out of the same vector, $q_i = x_i W_Q$,
# $k_j = x_j W_K$ and $v_j = x_j W_V$, because by what a word is found and what it then hands over are different
# things. A noun may be found because it is the subject, and hand over that it is plural.
#
# Most of the time some pairs are forbidden. A model that writes must not look at what comes later: the **causal
# mask** allows place $j$ for the query $i$ only when $j \le i$. And nobody may look at the padding that fills short
# texts up. A forbidden score is replaced by a very negative number *before* the softmax. Its weight becomes 0, and
# the others still sum to 1, as long as anything in the row is allowed. Two rules at once are a logical *and*. In the
# drawing the text has four words and two places of padding; hatched cells are forbidden, white is a weight of 0 and
# the darkest blue is 1. The six vectors are random and there are no matrices yet, so each place fits itself best and
# the diagonal is dark. The rows of padding look too, and nobody reads what they find.

# %%
causal = np.tril(np.ones((6, 6), bool))  # (time, key_time): on and below the diagonal
real = np.array([True, True, True, True, False, False])  # (key_time,)
masks = {"causal": causal, "padding": np.broadcast_to(real, (6, 6)), "both": causal & real}
x = rng.normal(size=(6, 8))
looks = {name: attention(x, x, x, allowed)[1] for name, allowed in masks.items()}

# %% tags=["hide"]
# @title Drawing: what each mask allows
figure = attention_grid(looks, ["he", "went", "up", "and", "[pad]", "[pad]"], allowed=masks)
figure.text(0.015, 0.6, "who asks (query)", rotation=90, va="center", fontsize=8.5)
figure.text(0.5, 0.02, "who is looked at (key)", ha="center", fontsize=8.5)
show(figure, "Attention weights of six places under three masks. The causal mask hatches everything above the"
     " diagonal, the padding mask the last two columns, and both together what either of them forbids.")  # fmt: skip

# %% [markdown]
# ## Attention plays the game
#
# Now the model. Both the query and the key go through a trained matrix: $q_i = x_i W_Q$ and $k_j = x_{j-1} W_K$. The
# value of a place is its number on the page, a 1 at its own place as in the toy, so the mean of the values is the row
# of weights, and the largest weight is the answer. Half of the solution is wired in by hand: we *gave* it the word
# before as its key. What is left to learn is that query and key fit when both come from the same word. To see how
# much the wiring is worth, a control takes it away, so that the key comes from the word itself.


# %%
class LookUp(keras.Model):
    """Leaves the page on the table; a key comes from the word before, or from the word itself."""

    def __init__(self, before=True):
        super().__init__()
        self.before = before
        self.query, self.key = (keras.layers.Dense(DIM, use_bias=False) for _ in range(2))

    def call(self, x):  # (batch, n, DIM)
        source = ops.pad(x, [[0, 0], [1, 0], [0, 0]])[:, :-1] if self.before else x  # moved by one place
        scores = ops.matmul(self.query(x), ops.swapaxes(self.key(source), 1, 2)) / math.sqrt(DIM)
        return scores[:, :-1]  # (batch, n - 1, n): no question after the last word; softmax is in the loss


# %% [markdown]
# The LSTM differs from this model in two ways: it must put the page into a state, and nobody gave it keys. A third
# model tells the two apart. It has the same queries and keys, and it closes the book all the same. Leave the softmax
# out of attention, and the output is
#
# $$ \sum_j (q \cdot k_j) \, v_j = q \cdot \sum_j k_j^\top v_j . $$
#
# Each $k_j^\top v_j$ is a table of products, with a row for each number of the key and a column for each of the
# value. The sum on the right does not contain the query, so it can be added up *before* the question comes: a matrix
# whose size does not depend on the page (Katharopoulos et al. 2020 call it linear attention). With keys of 8 numbers
# and words of 32 it has 256 numbers, exactly as many as state and cell of the LSTM together. With keys of 4 it has
# 128, as many as the cell alone, and with keys of 32 it has 1,024.


# %%
class AddUp(keras.Model):
    """Adds the page up to one matrix of rows x DIM numbers, and closes the book."""

    def __init__(self, rows=8):
        super().__init__()
        self.query, self.key = (keras.layers.Dense(rows, use_bias=False) for _ in range(2))

    def call(self, x):  # (batch, n, DIM)
        keys = self.key(x[:, :-1])  # (batch, n - 1, rows): the key of a word is the word before, as above
        state = ops.matmul(ops.swapaxes(keys, 1, 2), x[:, 1:])  # (batch, rows, DIM), however long the page is
        said = ops.matmul(self.query(x[:, :-1]), state)  # (batch, n - 1, DIM)
        return ops.matmul(said, ops.swapaxes(x, 1, 2))  # (batch, n - 1, n): a score for each place


# %%
unmoved = functools.partial(LookUp, before=False)
small, large = functools.partial(AddUp, rows=4), functools.partial(AddUp, rows=32)
names = {LookUp: "attention", large: "sum of 1,024 numbers", AddUp: "sum of 256 numbers", small: "sum of 128 numbers",
         Remember: "LSTM", unmoved: "attention, its keys not moved"}  # fmt: skip
shares = {make: {n: recited(best(make, n), n) for n in LENGTHS} for make in names}
patient = {make: recited(trained(make, 16, best_rate(make, 16), LONGER), 16) for make in (Remember, AddUp)}
for make, name in names.items():
    print(f"{name:30s}", *(f"{n} words {share:.2f}" for n, share in shares[make].items()), sep="   ")
for make, share in patient.items():
    print(f"{names[make]}, trained {LONGER // STEPS} times as long on 16 words: {share:.2f}")

# %% tags=["hide"]
# @title Figure: what is recited of a page
lines = {name: list(shares[make].values()) for make, name in names.items()} | {"random place": list(chance.values())}
figure = curves(
    LENGTHS,
    lines,
    title="A page on the table is recited best, and a larger sum holds more",
    x_label="words on the page; every model is trained at each length",
    y_label="share recited correctly",
    colors={
        "attention": "subject",
        "sum of 1,024 numbers": "state",
        "sum of 256 numbers": "state",
        "sum of 128 numbers": "state",
        "LSTM": "control",
        "attention, its keys not moved": "given",
        "random place": "given",
    },
    dashed=["sum of 256 numbers", "sum of 128 numbers", "random place"],
    log_x=True,
)
figure.axes[0].set_ylim(0, 1.02)
show(figure, "Share of the words recited against the length of the page. Attention falls from nearly 1 to 0.8. The"
     " sum of 1,024 numbers lies below it and ends at 0.7, the sum of 256 at 0.4, the sum of 128 at a quarter. The LSTM"
     " starts above the sum of 128 and falls below it, to 0.1. Attention whose keys are not moved lies near the line"
     " of a random place.")  # fmt: skip

# %% [markdown]
# Attention recites most of a page at every length, and it falls slowly. Now compare the models that close the book.
# The sum of 256 numbers, as many as the LSTM has, recites hardly more than the LSTM of the shortest pages, and
# several times as much of the longest. There even half of the numbers are enough to beat it, though not on shorter
# pages. So its failure there is not one of room. Nobody gave it the word before as a key. It has to
# find out by itself what to write into its state and how to read it, through all the steps between, and 400 training
# steps were not enough for that: with three times as many it recites more.
#
# Yet size matters too. The sums are trained as attention is, and all fall as the page grows; the larger a sum, the
# later it falls, and three times the training gives that of 256 nothing. What is added up cannot be taken
# apart again when too many pairs lie in one matrix. So both suspects are guilty: training holds back this LSTM, and
# size the sums. How far an LSTM comes with unlimited training, this experiment does not tell.
#
# Now the lowest lines. The same attention with keys from the wrong place finds hardly more than a finger on a random
# place. (On four words it is right one time in three, for it can learn not to name the word itself.) Attention is not
# a memory that works by itself: somebody, or some layer below, must put into the keys what will be asked for.
#
# Why does attention not recite everything? The word *and* stands on a page several times, with different words behind
# it, and one word is then not enough to find the place. If that is the only reason, then every answer, right or
# wrong, stands behind the word that was asked for. The last claim checks it.

# %% tags=["hide"]
# @title Counting: the word before each answer, and the other seeds
page = pages("test", 16, 128, seed=9)
before = np.take_along_axis(page, answers(best(LookUp, 16), page) - 1, axis=1)  # of each answer
on_16 = {make: [shares[make][16]] for make in (LookUp, AddUp, Remember, unmoved)}  # the first seed
for make, seed in itertools.product(on_16, SEEDS[1:]):
    on_16[make].append(recited(trained(make, 16, best_rate(make, 16), seed=seed), 16))
long = LENGTHS[-1]

# %%
found = Claims("What we measured: the share of a page that is recited")
found.claim("Of a page of 16 words attention recites more than the LSTM", on_16[LookUp], ">", on_16[Remember],
            control="an LSTM trained as long on pages of the same length",
            headline="of a page of 16 words, attention recites {measured} and an LSTM {bound}")  # fmt: skip
found.claim("A sum of 256 numbers recites more than the LSTM", on_16[AddUp], ">", on_16[Remember],
            control="an LSTM with as many numbers")  # fmt: skip
found.claim("The LSTM was not yet trained to its limit", patient[Remember], ">", shares[Remember][16],
            control="the LSTM of the race")  # fmt: skip
found.claim("A larger sum recites more of the longest pages", shares[large][long], ">", shares[AddUp][long],
            control="the sum of 256 numbers")  # fmt: skip
found.claim("Even a sum of 128 numbers recites more of the longest pages", shares[small][long], ">",
            shares[Remember][long], control="the LSTM, with twice as many numbers")  # fmt: skip
found.claim("Keys must hold what will be asked for", on_16[LookUp], ">", on_16[unmoved], control="keys not moved")
found.claim("What attention answers stands behind the same word", np.mean(before == page[:, :-1]), ">=", 0.98)
found.show()

# %% [markdown]
# Training has found one relation: *behind the same word*. Where several places fit, their keys are equal, the scores
# tie, and we count the first.
#
# ## The same model reads real text
#
# Nothing in such a model is about the length of a page. Let the one for 32 words read a longer verse from left to
# right under the causal mask, and see where each word looks. We choose Daniel 3:26, from a test book, where three
# names stand twice in the same order. Its words get fresh vectors, so the names are as new to the model as all the
# rest. What do you expect in the row of the second *shadrach*?

# %%
place = (verses["label"] == "Daniel") & (verses["chapter"] == 3) & (verses["verse"] == 26)
verse = re.findall(r"[a-z]+(?:'s)?", verses["text"][place].item().lower())
x = fresh(np.array([[*verse, "end"]]), seed=0)  # the model asks after all but the last
scores = ops.convert_to_numpy(best(LookUp, LENGTHS[-1])(x))[0][:, :-1]  # (time, time)
weights = softmax(np.where(np.tril(np.ones_like(scores)), scores, -1e9))
second = len(verse) - 1 - verse[::-1].index("shadrach")
for i in range(second - 1, second + 4):
    found_there, wanted = verse[weights[i].argmax()], verse[i + 1]
    print(f"after {verse[i]:9s} it looks at {found_there:9s} and the text has {wanted:9s}", "✓✗"[found_there != wanted])

# %% tags=["hide"]
# @title Figure: where the end of the verse looks
rows = range(second - 2, len(verse) - 1)
names, may = [verse[i] for i in rows], np.tril(np.ones_like(weights))[rows]
title = "A word that stands once before leads to the word behind it"
figure = attention_grid(weights[rows], names, verse, title=title, allowed=may)
figure.text(0.01, 0.6, "who asks (query)", rotation=90, va="center", fontsize=8.5)
figure.text(0.6, 0.02, "who is looked at (its key is the word before)", ha="center", fontsize=8.5)
show(figure, "Attention weights of the last words of Daniel 3:26 over the verse. The row of shadrach is dark at"
     " the earlier meshach, the row of meshach at the earlier and. The row of and has several dark cells.")  # fmt: skip

# %% [markdown]
# The row of *shadrach* is dark at the earlier *meshach*, the word behind the earlier *shadrach*. Two of the five
# looks find the next word of the text. The others find what stood behind the same word before, and the text goes on
# differently. The row of *and* has several darker cells, one behind each earlier *and*: the ambiguity that costs
# points in the game. A word that stands there for the first time finds nothing, so its weights are spread without a
# meaning. What the model learned is a relation, and that carries over to new names. Trained language models contain
# parts that do the same, with the key prepared by the layer below (Olsson et al. 2022).
#
# ## Several heads
#
# One softmax has one focus, and a word may need two things at once: the noun it belongs to and the verb before it.
# **Multi-head attention** therefore runs $h$ small attentions, each a **head**, side by side. The words go through
# the three matrices, the queries, keys and values that come out are cut into $h$ parts, each head looks with its own
# part, and a last matrix mixes what the heads found. The number of multiplications stays the same, for each head
# works with $\text{dim} / h$ numbers. The memory does not: every head keeps an $n \times n$ table of its own.

# %% tags=["hide"]
# @title Drawing: several heads
show(several_heads(), "One vector becomes queries, keys and values for three heads. Each head runs its own"
     " attention over the keys and values of all tokens; their outputs are joined, and a last matrix mixes them to the"
     " output.")  # fmt: skip


# %%
def split_heads(x, heads):
    batch, steps, dim = x.shape
    return x.reshape(batch, steps, heads, dim // heads).transpose(0, 2, 1, 3)  # (batch, heads, time, d)


def multi_head(x, weights, heads, allowed=None):
    """x (batch, time, dim); weights: kernel and bias of query, key, value and output."""
    wq, bq, wk, bk, wv, bv, wo, bo = weights
    Q, K, V = (split_heads(x @ w + b, heads) for w, b in [(wq, bq), (wk, bk), (wv, bv)])
    outputs, _ = attention(Q, K, V, allowed)  # (batch, heads, time, d)
    return outputs.transpose(0, 2, 1, 3).reshape(x.shape) @ wo + bo


x = rng.normal(size=(2, 9, 32)).astype("float32")
# Biases begin at 0, and a forgotten one would not be seen.
of_keras = keras.layers.MultiHeadAttention(num_heads=4, key_dim=8, bias_initializer="normal")
theirs = ops.convert_to_numpy(of_keras(x, x, use_causal_mask=True))

# %% [markdown]
# Ours in the open, `keras.layers.MultiHeadAttention` and `kerasllm.layers.MultiHeadAttention` get the same weights
# and must give the same numbers.

# %%
library = MultiHeadAttention(4, causal=True)
library.build(x.shape)  # below, kernels are reshaped, for Keras keeps them by head
library.set_weights([w.reshape(v.shape) for w, v in zip(of_keras.get_weights(), library.weights, strict=True)])
in_the_open = multi_head(x, library.get_weights(), 4, np.tril(np.ones((9, 9), bool)))
print(f"in the open and Keras differ by {np.abs(in_the_open - theirs).max():.0e} at most,",
      f"in the open and the library by {np.abs(in_the_open - library(x)).max():.0e}")  # fmt: skip
assert np.allclose([in_the_open] * 2, [theirs, library(x)], atol=1e-5)
forwards, backwards = (multi_head(words, library.get_weights(), 4) for words in (x, x[:, ::-1]))  # without a mask
assert np.allclose(forwards, backwards[:, ::-1], atol=1e-5)

# %% [markdown]
# ## Attention is blind to order
#
# Look at the formula again: where does it say which word came first? Nowhere. Shuffle the words, and each gets the
# same output as before, at its new place; the last lines above checked it with a text read backwards. So attention
# reads the *bag* of lesson 10, and "dog bites man" is the same bag as "man bites dog". (A causal mask tells a little,
# because who sees fewer words comes earlier.) Our game worked only because we moved the keys by one place ourselves.
#
# Positions must be put in, and there are two ways. One *adds* a vector for each position to the words: a trained
# table, as in GPT-2 and BERT, or sines and cosines of many speeds (Vaswani et al. 2017). There the numbers
# $\sin p\,\omega_i$ and $\cos p\,\omega_i$ stand for position $p$, where $\omega_i=10000^{-2i/d}$ for
# $i=0,\dots,d/2-1$. Each $\omega_i$ is the hand of a clock. The fastest one tells neighbours apart and is back after
# 6 words; the slowest one hardly moves between neighbours and tells the beginning of a book from its end.
#
# The other kind, **rotary positions** (Su et al. 2021), adds nothing and *turns* queries and keys. Two numbers
# of a vector are a point $(a, b)$ in a plane, and at position $p$ it is turned by the angle $p\,\omega$:
#
# $$ (a, b) \;\to\; (a \cos p\omega - b \sin p\omega,\;\; b \cos p\omega + a \sin p\omega) $$
#
# A dot product depends on the angle *between* two vectors. If the query is turned by $m\omega$ and the key by
# $n\omega$, what counts is $(m-n)\,\omega$: how far apart the two places are, and in which direction. On paper, let
# $\omega$ be 30 degrees and let both be the point $(1,0)$. A query at place 3 is turned by 90 degrees to $(0,1)$, a
# key at place 1 by 30 degrees to $(0.87,0.5)$, and their product is 0.5. Three places further on they are $(-1,0)$
# and $(-0.5,0.87)$, and the product is 0.5 again. In the drawing compare the two angles of 60 degrees.

# %% tags=["hide"]
# @title Drawing: query and key are turned, and the angle between them stays
sheet = Diagram(6.6, 2.75)
whole, y = np.linspace(0, 2 * np.pi), 1.2
for x, query_place, key_place in ((1.6, 3, 1), (4.9, 6, 4)):
    sheet.ax.plot(x + np.cos(whole), y + np.sin(whole), color="lightgrey", lw=1)
    sheet.arrow((x, y), (x + 1, y), meaning="given", dashed=True)
    sheet.text((x + 0.5, y - 0.15), "not turned", meaning="given", size=8.5)
    for place, name in ((query_place, "query"), (key_place, "key")):
        along, up = np.cos(place * np.pi / 6), np.sin(place * np.pi / 6)
        sheet.arrow((x, y), (x + along, y + up), meaning=name)
        at = {"meaning": name, "size": 8.5, "align": "right" if along < -0.4 else "center" if up > 0.8 else "left"}
        sheet.text((x + 1.07 * along, y + 1.12 * up), f"{name}, {30 * place}°", **at)
    angle = np.linspace(key_place, query_place) * np.pi / 6
    sheet.ax.plot(x + 0.35 * np.cos(angle), y + 0.35 * np.sin(angle), color="black", lw=0.9)
    sheet.text((x + 0.55 * np.cos(angle.mean()), y + 0.55 * np.sin(angle.mean())), "60°", size=8.5)
    sheet.text((x, 2.6), f"query at place {query_place}, key at place {key_place}")
show(sheet.figure, "Two circles. In the left one the query is turned to 90 degrees and the key to 30. In the right one"
     " both are three places further: 180 and 120 degrees. The angle between them is 60 degrees in both.")  # fmt: skip

# %% [markdown]
# The other pairs of numbers turn at the slower speeds $\omega_i$. (Our library pairs number $i$ of the first half
# with number $i$ of the second, as Llama does; the paper pairs neighbours.)


# %%
def turn(vectors, positions):
    """vectors (time, d), each turned by its position."""
    speeds = 10_000.0 ** (-np.arange(0, vectors.shape[1], 2) / vectors.shape[1])  # (d / 2,)
    angles = positions[:, None] * speeds  # (time, d / 2)
    a, b = np.split(vectors, 2, axis=1)
    return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], axis=1)


q, k = rng.normal(size=(2, 1, 64)).repeat(5, axis=1)  # one query and one key, at five places each
for start in (0, 500):
    places = np.arange(start, start + 5)
    scores = turn(q, places) @ turn(k, places).T  # (5, 5)
    print(f"query at {start + 2:3d}, the key from two places before it to two behind:", scores[2].round(2))
library_turns = ops.convert_to_numpy(RotaryPositions()(q[None, None].astype("float32")))[0, 0]
assert np.allclose(turn(q, np.arange(5)), library_turns, atol=1e-4)  # ours is the library's

# %% [markdown]
# Both lines show the same five scores, although the second text stands 500 places later. So the score of two words
# depends on the words and on the distance from one to the other, with its sign. Which distance scores highest depends
# on the two vectors, and here it is not the smallest. What positions are worth in a language model is measured in
# lesson 17.
#
# ## What the table costs
#
# The LSTM carries one state, however long the text is. Attention keeps the whole page, and each of $n$ words meets
# each of the $n$ words: twice the length is four times the scores, and four times the memory for the weights. How
# much does the time grow in each line, for one head?

# %%
seconds = []
for n in TOKENS:
    x = rng.normal(size=(n, 64)).astype("float32")
    tries = []
    for _ in range(5):
        started = time.process_time()
        mebibytes = attention(x, x, x)[1].nbytes / 2**20
        tries.append(time.process_time() - started)
    seconds.append(min(tries))
    grown = f" ({seconds[-1] / seconds[-2]:.1f} times the line above)" if len(seconds) > 1 else ""
    print(f"{n:5d} tokens: one table takes {mebibytes:5.1f} MiB and {1000 * seconds[-1]:6.1f} ms{grown}")
price = Claims("What the table costs")
price.claim("Twice the text costs more than twice the time", seconds[-1] / seconds[-2], ">", 2, unit="times")
price.show()

# %% [markdown]
# The memory grows four times in each line. So does the time, roughly, in long texts; in short ones fixed costs
# disturb it.
#
# ## What can go wrong
#
# Three mistakes are common, and none of them stops a program. A softmax along the queries instead of the keys gives
# rows that do not sum to 1. So does a mask that sets weights to 0 *after* the softmax, wherever something is
# forbidden. The third concerns the very negative number. Half precision, or float16, keeps a number in 16 bits and
# ends at 65,504, so $-10^9$ becomes minus infinity there, and a row in which everything is forbidden becomes NaN. A
# smaller number such as $-30000$ hides the trouble: such a row then gives equal weight to everything that is
# forbidden.

# %%
x = rng.normal(size=(4, 8))
scores, may = x @ x.T / math.sqrt(8), np.tril(np.ones((4, 4), bool))
for name, rows in {
    "as it should be": softmax(np.where(may, scores, -1e9)),
    "softmax along the queries": softmax(np.where(may, scores, -1e9).T).T,
    "mask after the softmax": np.where(may, softmax(scores), 0),
}.items():
    print(f"{name:26s} sums of the rows:", rows.sum(axis=1).round(2))
with np.errstate(over="ignore", invalid="ignore"):
    empty = np.full(3, -1e9).astype("float16")
    print("nothing allowed, float16:  weights:", softmax(empty), " with -30000:", softmax(np.full(3, -3e4, "float16")))

# %% [markdown]
# ## Summary
#
# - Attention keeps the page and looks up: softmax of queries times keys, then the mean of the values. In our
#   game it learned one relation, "behind the same word", because the keys were prepared for it.
# - A sum of fixed size recites less of a longer page, and a larger sum recites more. Of long pages our LSTM recites
#   less than a sum of half as many numbers, so what it lacked was not room.
# - Divide by $\sqrt d$, forbid before the softmax, and take the softmax over the keys.
# - Several heads are several small attentions side by side. Order comes in by positions only; a rotary
#   score depends on the two words and on the distance from one to the other.
# - The price is a table of $n \times n$ weights for each head: four times the memory for twice the length.
#
# ## Exercises
#
# Open [exercises/13_attention.ipynb](exercises/13_attention.ipynb). You write a mask, a softmax that
# survives an empty row, heads, a turn and a table of positions. In the experiment you find out how
# many numbers a key needs. Each answer is checked.
#
# ## References
#
# - D. Bahdanau, K. Cho, Y. Bengio (2015). Neural machine translation by jointly learning to align
#   and translate. *ICLR*. Section 3.1.
# - A. Vaswani and others (2017). Attention is all you need. *NeurIPS*. Sections 3.2 and 3.5.
# - J. Su and others (2021). RoFormer: enhanced transformer with rotary position embedding.
#   arXiv:2104.09864. Section 3.2.
# - A. Katharopoulos and others (2020). Transformers are RNNs: fast autoregressive transformers with linear
#   attention. *ICML*. Section 3.2.
# - C. Olsson and others (2022). In-context learning and induction heads. *Transformer Circuits
#   Thread*. The look-up of this lesson, found inside trained language models.
