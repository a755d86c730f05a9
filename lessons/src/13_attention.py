# %% [markdown] tags=["edition-2"]
# # 13 · Attention
#
# **How can a model look up what it read, instead of remembering all of it in one state?**
#
# **You need** lesson 03 (softmax), lesson 09 (dot products of word vectors) and lesson 11 (the LSTM).
#
# **You will build** scaled dot-product attention, masks, several heads and rotary positions, in
# NumPy, equal to Keras and to the library. You will race attention against an LSTM in a game of
# memory, and find out in one line what the winner has learned.
#
# **Time** about 2 minutes to run on a laptop with 2 cores, and 40 minutes to read.

# %% tags=["hide"]
# @title Imports
import math
import re
import time

import keras
import numpy as np
from keras import ops

from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import attention_grid, look_up, several_heads, unrolled
from kerasllm.course.figures import curves, show
from kerasllm.data import load
from kerasllm.layers import MultiHeadAttention, RotaryPositions

# %%
STEPS = dial(400, smoke=10, gpu=4_000)  # training steps of every model
LONGER = dial(1_200, smoke=20, gpu=12_000)  # training steps of the LSTM that is given more time
LENGTHS = dial((6, 12, 24, 48), smoke=(6, 24))  # words on a page
SEEDS = dial((0, 1, 2), smoke=(0,))  # repetitions on pages of 24 words
UNITS = dial(128, smoke=8, gpu=512)  # numbers in the state of the LSTM
TOKENS = dial((512, 1024, 2048, 4096), smoke=(64, 128))  # lengths whose cost is measured

# %% [markdown]
# ## Recite a page
#
# Here is a game for a memory. You read a page of 24 words once. Then you read it a second time, word
# by word, and after each word you say which one comes next. With the page on the table this is easy:
# find the word that you have just heard, and read the one behind it. Now close the book and try it
# from memory. How many of the 23 answers would you get right, and how many on a page twice as long?
#
# An LSTM plays the second version, because it has no table. Whatever it wants to know later must be
# in its state when the page ends, as the drawing shows. The state has a fixed number of numbers, so
# there must be a length at which it is full. Before you go on, write down your guess: what share of
# a page of 6, 12, 24 and 48 words will it recite?

# %% tags=["hide"]
# @title Drawing: an LSTM reads a page and recites it
figure = unrolled(["god", "made", "light", "god", "made", "light"], ["", "", "", "made", "light", ""])
show(figure, "Six LSTM cells in a row hand a state from one to the next. The first three read the page god"
     " made light. The last three read it again and say made and light; all they know came by the state.")  # fmt: skip

# %% [markdown]
# The pages are cut from the King James Bible, from training books for training and from test books
# for the test. Each word gets a random vector that is *not* trained. This matters: a model that
# knows which word often follows another could guess, and we want to measure memory alone.


# %%
verses = load("king-james")  # text, label (the book), split, chapter, verse
parts = ("train", "test")
texts = {part: " ".join(verses["text"][verses["split"] == part]).lower() for part in parts}
words = {part: re.findall(r"[a-z]+(?:'s)?", texts[part]) for part in parts}
vocabulary = sorted(set(words["train"]) | set(words["test"]))
number_of = {word: i for i, word in enumerate(vocabulary)}
ids = {part: np.array([number_of[word] for word in words[part]], "int32") for part in parts}

DIM = 128
rng = np.random.default_rng(0)
vectors = rng.normal(0, 1 / math.sqrt(DIM), (len(vocabulary), DIM)).astype("float32")


def pages(part, length, count, seed):
    """Runs of words from random places: (count, length)."""
    starts = np.random.default_rng(seed).integers(0, len(ids[part]) - length, count)
    return ids[part][starts[:, None] + np.arange(length)]


# %% [markdown]
# A model answers with a row of scores for each word of the second reading: one score for each
# *place* on the page, and the highest one is its answer. The LSTM says a vector, and the score of a
# place is the dot product of that vector with the word that stands there. So it never has to choose
# among all the words of the Bible, only among those of the page.


# %%
class Remember(keras.Model):
    """Reads the page, reads it again, and says which word comes next."""

    def __init__(self):
        super().__init__()
        self.words = keras.layers.Embedding(len(vocabulary), DIM, weights=[vectors], trainable=False)
        self.memory = keras.layers.LSTM(UNITS, return_sequences=True)
        self.say = keras.layers.Dense(DIM)

    def call(self, page):
        x = self.words(page)  # (batch, n, DIM)
        states = self.memory(ops.concatenate([x, x[:, :-1]], axis=1))  # the page, and once more
        said = self.say(states[:, ops.shape(page)[1] :])  # (batch, n - 1, DIM)
        return ops.matmul(said, ops.swapaxes(x, 1, 2))  # (batch, n - 1, n): a score for each place


# %%
def trained(make, length, steps=STEPS, seed=0):
    """A new model, trained on pages of one length."""
    keras.utils.set_random_seed(seed)
    model, page = make(), pages("train", length, 32 * steps, seed)
    next_place = np.tile(np.arange(1, length), (len(page), 1))
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, steps_per_execution=10)
    model.fit(page, next_place, batch_size=32, verbose=0)
    return model


def answers(model, page):
    """The words that a model says, one for each word of the second reading: (pages, n - 1)."""
    places = ops.convert_to_numpy(model(page)).argmax(axis=-1)
    return np.take_along_axis(page, places, axis=1)


# %% [markdown]
# Every length gets an LSTM of its own, trained on pages of exactly that length. Otherwise we would
# measure how well it copes with a surprise, not how much it can hold.

# %%
test_pages = {length: pages("test", length, 128, seed=9) for length in LENGTHS}


def recited(model, length):
    """The share of the words of unseen pages that a model recites correctly."""
    page = test_pages[length]
    return np.mean(answers(model, page) == page[:, 1:])


lstm = {length: recited(trained(Remember, length), length) for length in LENGTHS}
for length, share in lstm.items():
    print(f"a page of {length:2d} words: the LSTM recites {share:.2f} of it")

# %% [markdown]
# That is the failure of this lesson. The LSTM holds most of a short page and little of a long one,
# although every page length had its own training. A larger state would move the limit, and so might
# a longer training, which we try below. Neither removes it, for a state of fixed size has to hold
# pages of any size.
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
# Here $d$ is the size of a query and a key. Look at the drawing from the bottom to the top. Each
# word of the page *in the beginning god* offers a key (orange) and a value (green). The value is the
# word itself. The key is the word *before* it, since we want to find what comes after. The query
# (blue) is the word that we have just heard, and it meets every key.

# %% tags=["hide"]
# @title Drawing: one query meets every key
figure = look_up(["in", "the", "beginning", "god"], [0.0433, 0.0433, 0.8701, 0.0433], "the", [0.0, 0.0, 3.0, 0.0])
show(figure, "Four words offer a key and a value each. The query of the word the meets every key: the score of"
     " beginning is 3, the others are 0. Beginning has the weight 0.87 and makes up most of the output.")  # fmt: skip

# %% [markdown]
# We can check this on paper. Give each of the four words a 1 at its own place: *in* is (1, 0, 0, 0),
# *the* is (0, 1, 0, 0), and so on. The key of *in* is empty, since nothing stands before it; the keys
# of the other three are *in*, *the* and *beginning*. The query is 6 times *the*. Its dot products
# with the four keys are 0, 0, 6, 0. Divided by $\sqrt 4 = 2$ they are 0, 0, 3, 0, and $e^0 = 1$, $e^3 = 20.09$.
# The sum is 23.09, so the weights are 0.043, 0.043, 0.870, 0.043. The output is the same four numbers,
# because the values are ones at their own places: 87% *beginning*.
#
# All queries at once are a matrix, and the formula becomes that of Vaswani et al. (2017):
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
# The division by $\sqrt d$ looks like a detail, but without it nothing would be learned. Add up
# $d$ products of independent numbers with variance 1, and the sum has variance $d$. The more numbers
# a query has, the larger the scores become, until softmax gives all the weight to one key. There its
# slope is almost 0, because the slope of a weight by its own score is $w(1 - w)$. Divided by
# $\sqrt d$ the scores have variance 1 at every size. Compare the last two columns of the table.

# %%
print("  d   variance of the scores   slope of the softmax: as they are   divided by √d")
for d in (4, 16, 64, 256):
    q, k = rng.normal(size=(2_000, 1, d)), rng.normal(size=(2_000, 16, d))
    scores = (q @ np.swapaxes(k, 1, 2))[:, 0]  # (2000, 16): 16 random keys for each query
    plain, scaled = softmax(scores), softmax(scores / math.sqrt(d))
    slopes = [(w * (1 - w)).mean() for w in (plain, scaled)]
    print(f"{d:3d} {scores.var():24.1f} {slopes[0]:36.3f} {slopes[1]:15.3f}")

# %% [markdown]
# ## Who may look at whom
#
# In the game every place may look at the whole page. Most of the time some pairs are forbidden. A
# model that writes must not look at what comes later: the **causal mask** allows place $j$ for the
# query $i$ only when $j \le i$. And nobody may look at the padding that fills short texts up. A
# forbidden score is replaced by a very negative number *before* the softmax. Its weight becomes 0,
# and the others still sum to 1. Two rules at once are a logical *and*. In the drawing the text has
# four words and two places of padding; hatched cells are forbidden.

# %%
causal = np.tril(np.ones((6, 6), bool))  # (time, key_time): on and below the diagonal
real = np.array([True, True, True, True, False, False])  # (key_time,)
masks = {"causal": causal, "padding": np.broadcast_to(real, (6, 6)), "both": causal & real}
x = rng.normal(size=(6, 8))
looks = {name: attention(x, x, x, allowed)[1] for name, allowed in masks.items()}

# %% tags=["hide"]
# @title Drawing: what each mask allows
figure = attention_grid(looks, ["he", "went", "up", "and", "[pad]", "[pad]"], allowed=masks)
show(figure, "Attention weights of six places under three masks. The causal mask hatches everything above the"
     " diagonal, the padding mask the last two columns, and both together what either of them forbids.")  # fmt: skip

# %% [markdown]
# ## Attention plays the game
#
# Now the model. Both the query and the key go through a trained matrix, and the value is the place
# itself: $q_i = x_i W_Q$ and $k_j = x_{j-1} W_K$. Half of the solution is wired in by hand, and we should say so:
# we *gave* it the word before as its key. What is left to learn is that query and key fit when both
# come from the same word. To see how much the wiring is worth, the control takes it away, so that the
# key comes from the word itself.


# %%
class LookUp(keras.Model):
    """Leaves the page on the table; a key comes from the word before, or from the word itself."""

    def __init__(self, before=True):
        super().__init__()
        self.before = before
        self.words = keras.layers.Embedding(len(vocabulary), DIM, weights=[vectors], trainable=False)
        self.query = keras.layers.Dense(DIM, use_bias=False)
        self.key = keras.layers.Dense(DIM, use_bias=False)

    def call(self, page):
        x = self.words(page)  # (batch, n, DIM)
        source = ops.pad(x, [[0, 0], [1, 0], [0, 0]])[:, :-1] if self.before else x  # moved by one place
        scores = ops.matmul(self.query(x), ops.swapaxes(self.key(source), 1, 2)) / math.sqrt(DIM)
        return scores[:, :-1]  # (batch, n - 1, n): no question after the last word


# %%
lookers = {length: trained(LookUp, length) for length in LENGTHS}
attends = {length: recited(model, length) for length, model in lookers.items()}
unwired = {length: recited(trained(lambda: LookUp(before=False), length), length) for length in LENGTHS}
patient = recited(trained(Remember, 24, LONGER), 24)
for name, shares in {"attention": attends, "key of the word itself": unwired, "LSTM": lstm}.items():
    print(f"{name:24s}", *(f"{n} words {share:.2f}" for n, share in shares.items()), sep="   ")
print(f"LSTM, trained {LONGER // STEPS} times as long on 24 words: {patient:.2f}")

# %% tags=["hide"]
# @title Figure: what is recited of a page
lines = {"attention": attends, "LSTM": lstm, "attention, its keys not moved": unwired}
figure = curves(
    LENGTHS,
    {name: list(shares.values()) for name, shares in lines.items()},
    title="A page on the table is recited further than a page in the state",
    x_label="words on the page; every model is trained at each length",
    y_label="share recited correctly",
    colors={"attention, its keys not moved": "given"},
    log_x=True,
)
figure.axes[0].set_ylim(0, 1.02)
show(figure, "Share of the words recited against the length of the page. Attention falls slowly. The LSTM starts"
     " a little lower and falls steeply. Attention whose keys are not moved by one word is the lowest.")  # fmt: skip

# %% [markdown]
# Two matrices and a few seconds of training beat the LSTM at every length, and the distance grows
# with the page. More training helps the LSTM somewhat and leaves the gap. The lowest line is as
# important as the highest: the same attention with keys from the wrong place finds almost nothing.
# Attention is not a memory that works by itself. Somebody, or some layer below, must put into the
# keys what will be asked for.
#
# Why does attention not recite everything? Think about it before you read on. The word *and* stands
# on a page several times, with different words behind it, and one word is then not enough to find
# the place. If that is the only reason, then attention has learned nothing but this rule: *find the
# first place behind the same word*. The rule needs no training, so we can write it down and compare.


# %%
def rule(page):
    """For each word, the word behind the first place where the same word stands: (pages, n - 1)."""
    same = page[:, :-1, None] == page[:, None, :-1]  # (pages, n - 1, n - 1)
    return np.take_along_axis(page, same.argmax(axis=-1) + 1, axis=1)  # argmax: the first True


same_answer = {n: np.mean(answers(lookers[n], test_pages[n]) == rule(test_pages[n])) for n in LENGTHS}
for n, share in same_answer.items():
    print(f"{n:2d} words: attention and rule agree on {share:.4f}; the rule recites",
          f"{np.mean(rule(test_pages[n]) == test_pages[n][:, 1:]):.3f}, attention {attends[n]:.3f}")  # fmt: skip

# %% [markdown]
# Training has found exactly that rule. (Equal words have equal keys, so several places tie, and we
# count the first.) What the model knows can be said in one sentence, which is rare for a trained network.

# %%
attends_24 = [recited(trained(LookUp, 24, seed=seed), 24) for seed in SEEDS]
lstm_24 = [recited(trained(Remember, 24, seed=seed), 24) for seed in SEEDS]
short, long = LENGTHS[0], LENGTHS[-1]
found = Claims("What we measured: the share of a page that is recited")
found.claim("Of a page of 24 words attention recites more than the LSTM", attends_24, ">", lstm_24,
            control="an LSTM trained as long on pages of the same length",
            headline="of a page of 24 words, attention recites {measured} and an LSTM {bound}")  # fmt: skip
found.claim("The gap grows with the page", attends[long] - lstm[long], ">", attends[short] - lstm[short],
            control=f"the gap on {short} words")  # fmt: skip
found.claim("Longer training does not close the gap", attends[24], ">", patient, control="the LSTM trained longer")
found.claim("Keys must hold what will be asked for", attends[24], ">", unwired[24], control="keys not moved")
found.claim("Attention has learned the rule of the first place", min(same_answer.values()), ">=", 0.995)
found.show()

# %% [markdown]
# ## The same model reads real text
#
# Nothing in this model is about pages of 24 words. Let it read a verse from left to right under the
# causal mask, and see where each word looks. We choose Daniel 3:26, from a test book, because
# the names Shadrach, Meshach and Abednego stand in no training book. A table of counts (lesson 12)
# has never seen one of them after another. What do you expect in the row of the second *shadrach*?

# %%
place = (verses["label"] == "Daniel") & (verses["chapter"] == 3) & (verses["verse"] == 26)
verse = re.findall(r"[a-z]+(?:'s)?", verses["text"][place].item().lower())
numbers = np.array([[number_of[word] for word in [*verse, verse[-1]]]])  # the model asks after all but the last
scores = ops.convert_to_numpy(lookers[24](numbers))[0][:, :-1]  # (time, time)
weights = softmax(np.where(np.tril(np.ones_like(scores)), scores, -1e9))
second = len(verse) - 1 - verse[::-1].index("shadrach")
for i in range(second - 1, second + 4):
    print(f"after {verse[i]:9s} it looks at {verse[weights[i].argmax()]:9s} and the text has {verse[i + 1]}")

# %% tags=["hide"]
# @title Figure: where the end of the verse looks
rows = range(second - 2, len(verse) - 1)
names, may = [verse[i] for i in rows], np.tril(np.ones_like(weights))[rows]
title = "Names that were never seen in training are found"
figure = attention_grid(weights[rows], names, verse, title=title, allowed=may)
show(figure, "Attention weights of the last words of Daniel 3:26 over the verse. The row of shadrach is dark at"
     " the earlier meshach, the row of meshach at the earlier and. The row of and has several dark cells.")  # fmt: skip

# %% [markdown]
# The row of *shadrach* is dark at the earlier *meshach*, the word behind the earlier *shadrach*. The
# row of *and* has several darker cells, one behind each earlier *and*: the ambiguity that costs the
# rule its points. A word that stands there for the first time finds nothing, so its weights are
# spread without a meaning. The model did not learn these names. It learned the relation "behind the
# same word", and relations carry over to words that nobody has seen. Trained language models contain
# heads that do the same, with the key prepared by the layer below (Olsson et al. 2022).
#
# ## Several heads
#
# One softmax has one focus, and a word may need two things at once: the noun it belongs to and the
# verb before it. **Multi-head attention** therefore runs $h$ small attentions, each a **head**, side by side. The
# vectors are cut into $h$ parts, each head looks with its own part, and a last matrix mixes what the
# heads found. The cost stays about the same, for each head works with $\text{dim} / h$ numbers.

# %% tags=["hide"]
# @title Drawing: several heads
show(several_heads(), "One vector becomes queries, keys and values for three heads. Each head runs its own"
     " attention; their outputs are joined, and a last matrix mixes them to the output.")  # fmt: skip


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
of_keras = keras.layers.MultiHeadAttention(num_heads=4, key_dim=8, bias_initializer="normal")
theirs = ops.convert_to_numpy(of_keras(x, x, use_causal_mask=True))

# %% [markdown]
# Keras keeps its kernels by head, so they are reshaped. Ours in the open, `keras.layers.MultiHeadAttention`
# and `kerasllm.layers.MultiHeadAttention` get the same weights and must give the same numbers.

# %%
library = MultiHeadAttention(4, causal=True)
library.build(x.shape)
library.set_weights([w.reshape(v.shape) for w, v in zip(of_keras.get_weights(), library.weights, strict=True)])
in_the_open = multi_head(x, library.get_weights(), 4, np.tril(np.ones((9, 9), bool)))
print(f"in the open and Keras differ by {np.abs(in_the_open - theirs).max():.0e} at most,",
      f"in the open and the library by {np.abs(in_the_open - library(x)).max():.0e}")  # fmt: skip
assert np.allclose([in_the_open] * 2, [theirs, library(x)], atol=1e-5)

# %% [markdown]
# From here on we use the layer of the library. It computes what Keras' layer computes, and it also
# knows rotary positions, windows and a cache, which lesson 18 needs.
#
# ## Attention is blind to order
#
# Look at the formula again: where does it say which word came first? Nowhere. Shuffle the words, and
# each gets the same output as before, at its new place. So attention reads a *set*, and "dog bites
# man" is the same set as "man bites dog". (A causal mask tells a little, because who sees fewer words
# comes earlier.) Our game worked only because we moved the keys by one place ourselves.
#
# Positions must be put in, and there are two ways. One *adds* a vector for each position to the
# words: sines and cosines of many speeds (Vaswani et al. 2017), or a trained table, as in GPT-2 and
# BERT. The other kind, **rotary positions** (Su et al. 2021), adds nothing and *turns* queries and keys. Two numbers
# of a vector are a point $(a, b)$ in a plane, and at position $p$ it is turned by the angle $p\,\omega$:
#
# $$ (a, b) \;\to\; (a \cos p\omega - b \sin p\omega,\;\; b \cos p\omega + a \sin p\omega) $$
#
# A dot product depends on the angle *between* two vectors. If the query is turned by $m\omega$ and
# the key by $n\omega$, what counts is $(m - n)\,\omega$, the distance between the two places. The
# other pairs of numbers turn at slower speeds $\omega$, like the hands of clocks. (Our library takes
# number $i$ of the first half and number $i$ of the second half as a pair, as Llama does; the paper
# takes neighbours. The result is the same up to the order of the numbers.)


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
    print(f"from place {start:3d}: scores at distance 0 to 4:", scores[4, ::-1].round(2))
library_turns = ops.convert_to_numpy(RotaryPositions()(q[None, None].astype("float32")))[0, 0]
assert np.allclose(turn(q, np.arange(5)), library_turns, atol=1e-4)  # ours is the library's

# %% [markdown]
# Both lines show the same five scores, although the second text stands 500 places later. The score of
# a word for the one three places before it is a fact about three places, wherever they are. What
# positions are worth in a language model is measured in lesson 17.
#
# ## What the table costs
#
# Nothing is free. The LSTM carries one state, however long the text is. Attention keeps the whole
# page, and each of $n$ words meets each of the $n$ words: twice the length is four times the scores,
# in time and in memory. How much that is, the next lines measure for one head.

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
    print(
        f"{n:5d} tokens: weights of one head take {mebibytes:5.1f} MiB, {1000 * seconds[-1]:6.1f} ms of the processor"
    )
price = Claims("What the table costs")
price.claim("Twice the text costs more than twice the time", seconds[-1] / seconds[-2], ">", 2, unit="times")
price.show()

# %% [markdown]
# ## What can go wrong
#
# Three mistakes are made again and again, and none of them stops a program. A softmax along the
# queries instead of the keys, and a mask that sets weights to 0 *after* the softmax, both give rows
# that do not sum to 1. The third concerns the very negative number. Half precision ends at 65,504,
# so $-10^9$ becomes minus infinity there, and a row in which everything is forbidden becomes NaN.

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
# - A state of fixed size forgets long pages. Attention keeps the page and looks up: softmax of queries
#   times keys, then the mean of the values.
# - In our game it learned exactly one rule, "behind the same word", because the keys were prepared for it.
# - Divide by $\sqrt d$, forbid before the softmax, and take the softmax over the keys.
# - Several heads are several small attentions side by side. Order comes in by positions only; rotary
#   scores depend on the distance alone.
# - The price is a table of $n \times n$ weights: four times the cost for twice the length.
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
# - C. Olsson and others (2022). In-context learning and induction heads. *Transformer Circuits
#   Thread*. The look-up of this lesson, found inside trained language models.
