# %% [markdown]
# # 10 · Attention
#
# **How can a model look up what it read, instead of remembering all of it in one state?**
#
# **You need** lesson 02 (softmax), lesson 06 (dot products of word vectors) and lesson 08 (the
# LSTM, masks). Lesson 09 gives the measure, bits per character.
#
# **You will build** scaled dot-product attention, masks, several heads and three kinds of
# positions, in NumPy, equal to Keras and to the library. You will see attention learn to look up.
#
# **Time** about 2 minutes to run on a 2-core laptop; reading takes longer.

# %%
import math
import re
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops

from kerasllm.batches import windows
from kerasllm.course import claim, settings
from kerasllm.data import load
from kerasllm.layers import LearnedPositions, MultiHeadAttention, RotaryPositions, SinusoidalPositions, rotate
from kerasllm.plots import BLUE, GREEN, ORANGE, PURPLE, show, use_style

use_style()

# %%
LOOK_STEPS, LSTM_STEPS, UNITS, READ_STEPS, WIDTH, LETTERS, LENGTHS, AT_ONCE = settings(
    smoke=(20, 10, 8, 10, 16, 3_000, (64, 128, 256), 1),
    cpu=(800, 500, 128, 600, 64, 60_000, (256, 512, 1024, 2048), 10),
    gpu=(5_000, 5_000, 512, 5_000, 128, None, (512, 1024, 2048, 4096), 10),
)
# LOOK_STEPS  training steps of the look-up
# LSTM_STEPS  training steps of the LSTM that does the same task
# UNITS       units of that LSTM
# READ_STEPS  training steps of each small language model
# WIDTH       size of their vectors
# LETTERS     characters on which they are judged; None means all
# LENGTHS     lengths of texts whose cost is measured
# AT_ONCE     training steps in one call of the compiled function

# %% [markdown]
# ## Recite a page
#
# A game for a memory. You read a page of 24 words once. Then you read it again, word by word, and
# after each word you say which one comes next. For a human with the page on the table this is
# easy: find the word, read the one behind it.
#
# An LSTM has no table. All it has read must be in its state. Let us see how many words fit. The
# pages are cut from the King James Bible: training books for training, test books for the test.
# Each word gets a random vector, which is *not* trained. So the LSTM can learn nothing about the
# words, only how to remember. It answers with a vector, and the page's word with the largest dot
# product is its guess.


# %%
verses = load("king-james")  # text, label (the book), split, chapter, verse
SPLITS = ("train", "validation", "test")


def words_of(text):
    return re.findall(r"[a-z]+(?:'s)?", text.lower())


parts = {split: words_of(" ".join(verses["text"][verses["split"] == split])) for split in SPLITS}
vocabulary = sorted(set().union(*parts.values()))
number_of = {word: i for i, word in enumerate(vocabulary)}
ids = {split: np.array([number_of[w] for w in parts[split]], "int32") for split in SPLITS}
DIM, PAGE, BATCH = 128, 24, 32
rng = np.random.default_rng(0)
vectors = rng.normal(0, 1 / math.sqrt(DIM), (len(vocabulary), DIM)).astype("float32")


def pages(split, length, count, seed):
    """Runs of words from random places: (count, length)."""
    starts = np.random.default_rng(seed).integers(0, len(ids[split]) - length, count)
    return ids[split][starts[:, None] + np.arange(length)]


for page in pages("train", 12, 3, seed=1):
    print(*(vocabulary[i] for i in page))


# %% [markdown]
# The model gets the page and answers with one row of scores for each word that it is asked about.
# A score belongs to a *place* on the page; the right place is the next one.


# %%
class LSTMReciter(keras.Model):
    def __init__(self):
        super().__init__()
        self.words = layers.Embedding(len(vocabulary), DIM, weights=[vectors], trainable=False)
        self.memory = layers.LSTM(UNITS, return_sequences=True)
        self.say = layers.Dense(DIM)

    def call(self, page):
        x = self.words(page)  # (batch, n, DIM)
        states = self.memory(ops.concatenate([x, x[:, :-1]], axis=1))  # the page, and once more
        said = self.say(states[:, ops.shape(page)[1] :])  # (batch, n - 1, DIM)
        return ops.matmul(said, ops.swapaxes(x, 1, 2))  # (batch, n - 1, n)


def train_reciter(model, steps, rate):
    page = pages("train", PAGE, BATCH * steps, seed=0)
    place = np.tile(np.arange(1, PAGE), (len(page), 1))  # the next one
    falling = keras.optimizers.schedules.CosineDecay(rate, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(falling), loss, steps_per_execution=AT_ONCE)
    model.fit(page, place, batch_size=BATCH, verbose=0)


# %%
def recited(model, length, count=128):
    """Share of words recited correctly, on pages from the test books."""
    page = pages("test", length, count, seed=2)
    best = ops.convert_to_numpy(model(page)).argmax(-1)  # (count, length - 1)
    return np.mean(np.take_along_axis(page, best, axis=1) == page[:, 1:])


keras.utils.set_random_seed(0)
lstm = LSTMReciter()
train_reciter(lstm, LSTM_STEPS, rate=0.01)
PAGES = (6, 12, 24, 48, 96)
lstm_recites = {length: recited(lstm, length) for length in PAGES}
for length, share in lstm_recites.items():
    print(f"a page of {length:2d} words: the LSTM recites {share:.2f} of them")
claim("LSTM: words recited of a page of 24", lstm_recites[24], "<", 0.7)

# %% [markdown]
# That is the failure of this lesson. A longer training or a larger state may help. But a state of
# fixed size cannot hold a page of any length, and on longer pages than in training the LSTM is lost.
#
# ## Look up instead
#
# A Python dictionary has keys and values. You bring a **query**, and the dictionary returns the
# value whose key *equals* the query. Attention is a soft dictionary (Bahdanau et al. 2015 brought
# the idea to translation). The query $q$ and the keys $k_1, k_2, \dots$ are vectors. Their dot
# product says how well they fit. Softmax turns the fits into **weights** that sum to 1, and the
# answer is the mean of all values under these weights:
#
# $$ s_j = \frac{q \cdot k_j}{\sqrt{d}}, \qquad w_j = \frac{e^{s_j}}{\sum_i e^{s_i}}, \qquad
# \text{output} = \sum_j w_j v_j $$
#
# Here $d$ is the size of a query and a key. Three tokens, two numbers each, on paper. The keys are
# $(1, 0)$, $(0, 1)$, $(1, 1)$, the values $(10, 0)$, $(0, 10)$, $(5, 5)$, the query is $(2, 0)$.
# The dot products are 2, 0, 2. Divided by $\sqrt 2$: 1.414, 0, 1.414. Their exponentials are 4.11,
# 1, 4.11 with the sum 9.23. The weights are 0.446, 0.108, 0.446. The output is
# $(4.46 + 2.23,\; 1.08 + 2.23) = (6.69, 3.31)$.


# %%
def look_up(query, keys, values):
    """One query, in loops."""
    scores = []
    for key in keys:
        scores.append(sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(len(query)))
    total = sum(math.exp(score) for score in scores)
    weights = [math.exp(score) / total for score in scores]
    output = np.zeros(len(values[0]))
    for weight, value in zip(weights, values, strict=True):
        output += weight * value
    return output, weights


Q = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, -1.0]])  # (time, d)
K = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
V = np.array([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])
output, weights = look_up(Q[0], K, V)
print("weights", np.round(weights, 3), "output", np.round(output, 2))
claim("the first number worked out on paper", output[0], "==", 6.69, tolerance=0.01, exact=True)

# %% [markdown]
# In a text every token brings a query, a key and a value. All the dot products together are one
# matrix product, and so are all the means. This is the whole formula (Vaswani et al. 2017):
#
# $$ \text{Attention}(Q, K, V) = \text{softmax}\left(\frac{Q K^\top}{\sqrt{d}}\right) V $$
#
# The softmax goes along the *keys*, the last axis. The argument `allowed` comes later.


# %%
def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention(Q, K, V, allowed=None):
    """(..., time, d), (..., key_time, d), (..., key_time, dim) -> outputs (..., time, dim), weights."""
    scores = Q @ np.swapaxes(K, -1, -2) / math.sqrt(Q.shape[-1])  # (..., time, key_time)
    if allowed is not None:
        scores = np.where(allowed, scores, -1e9)
    weights = softmax(scores)
    return weights @ V, weights


outputs, weights = attention(Q, K, V)
loops = np.array([look_up(q, K, V)[0] for q in Q])
print(outputs.round(2))
claim("loops and matrices differ by", np.abs(outputs - loops).max(), "<", 1e-12, exact=True)

# %% [markdown]
# > **Myth:** attention is $\exp(QK^\top / \sqrt d) \,/\, (K^\top K + \varepsilon)$, as a widely
# > copied article says.
# >
# > **Fact:** the shapes do not fit, the rows do not sum to 1, and $V$ is missing.
#
# Let us run it. $QK^\top$ has a row for each query and a column for each key. $K^\top K$ has a row
# and a column for each of the $d$ numbers. With three tokens and two numbers nothing can be
# divided. With two tokens it runs by accident.


# %%
def from_the_article(Q, K, epsilon=1e-6):
    return np.exp(Q @ K.T / math.sqrt(Q.shape[1])) / (K.T @ K + epsilon)


refused = False
try:
    from_the_article(Q, K)
except ValueError as error:
    refused = True
    print("three tokens:", str(error).strip())
claim("the article's formula is refused", refused, "==", 1, exact=True)
strange = from_the_article(Q[:2], K[:2])
print("two tokens, sums of the rows:", strange.sum(axis=1).round(1))
print("ours, sums of the rows:      ", attention(Q[:2], K[:2], V[:2])[1].sum(axis=1))
farthest = np.abs(strange.sum(axis=1) - 1).max()
claim("the article's row sums miss 1 by", farthest, ">", 1, exact=True)

# %% [markdown]
# Two keys at a right angle give a zero in $K^\top K$, and a division by $\varepsilon$ gives
# millions. And whatever the tokens have to say, $V$, cannot reach the result.
#
# > **Myth:** $K$ is a cryptographic key, or a "density vector".
# >
# > **Fact:** it is the key of a dictionary, what one looks up by. It hides nothing. Chinese has two
# > words here: 密钥 is the secret one, 键 is ours.
#
# The next cell shows the dictionary inside. Make the queries equal to the keys and the scores
# large. The soft look-up becomes the hard one.

# %%
stock = {"apple": 3.0, "pear": 8.0, "plum": 5.0}
one_hot = np.eye(3)  # three keys at right angles
amounts = np.array(list(stock.values()))[:, None]
for sharpness in (1, 5, 50):
    soft = attention(sharpness * one_hot, one_hot, amounts)[0][:, 0]
    print(f"sharpness {sharpness:2d}:", *(f"{w} {x:.2f}" for w, x in zip(stock, soft, strict=True)))
far = np.abs(soft - list(stock.values())).max()
claim("a sharp attention misses the dictionary by", far, "<", 1e-6, exact=True)

# %% [markdown]
# ## Why divide by the square root of d?
#
# Add up $d$ products of independent numbers with variance 1, and the sum has variance $d$. A
# softmax over such sums puts most of its weight on one key. Then its slope is almost zero, and
# nothing is learned (lesson 02: saturation). Divided by $\sqrt d$ the variance is 1, for every
# size. The cell measures both with random queries over 16 random keys. The slope is the mean of
# $w (1 - w)$, the derivative of a weight by its own score.

# %%
print("  d   variance of q·k   largest weight (scaled)   slope (scaled)")
for d in (4, 16, 64, 256):
    q, k = rng.normal(size=(2_000, 1, d)), rng.normal(size=(2_000, 16, d))
    raw = (q @ np.swapaxes(k, 1, 2))[:, 0]  # (2000, 16)
    plain, scaled = softmax(raw), softmax(raw / math.sqrt(d))
    top = plain.max(1).mean(), scaled.max(1).mean()
    slope = (plain * (1 - plain)).mean(), (scaled * (1 - scaled)).mean()
    print(f"{d:3d} {raw.var():17.1f} {top[0]:16.2f} ({top[1]:.2f}) {slope[0]:15.3f} ({slope[1]:.3f})")
claim("variance of the scores, by d = 256", raw.var() / d, "==", 1, tolerance=0.1, exact=True)
claim("variance after the division", (raw / math.sqrt(d)).var(), "==", 1, tolerance=0.1, exact=True)
claim("slope lost by forgetting to divide", slope[1] / slope[0], ">", 2, exact=True)

# %% [markdown]
# ## Who may look at whom
#
# A **mask** forbids pairs. Two are needed all the time. A model that writes must not look at what
# comes later: the **causal** mask allows place $j$ for query $i$ when $j \le i$. And nobody may
# look at **padding**. Forbidden scores are replaced by a very negative number *before* the
# softmax, so that their weight becomes 0 and the rest still sums to 1. Both masks at once are a
# logical *and*. The text has four tokens and two places of padding.

# %%
causal = np.tril(np.ones((6, 6), bool))  # (time, key_time)
real = np.array([True, True, True, True, False, False])  # (key_time,)
x = rng.normal(size=(6, 8))
allowed = {"causal": causal, "padding": np.broadcast_to(real, (6, 6)), "both": causal & real}
figure, panels = plt.subplots(1, 4, figsize=(8, 2.4), sharey=True)
for ax, (name, mask) in zip(panels, {"no mask": None, **allowed}.items(), strict=True):
    weights = attention(x, x, x, mask)[1]
    ax.imshow(weights, vmin=0, vmax=1)
    ax.set(title=name, xlabel="key", xticks=range(6), yticks=range(6))
    ax.grid(False)
panels[0].set_ylabel("query")
show(
    figure,
    "Attention weights of six places under no mask, the causal mask, the padding mask and both. The"
    " causal mask empties everything above the diagonal; the padding mask empties two columns.",
)
hidden = np.abs(weights[~allowed["both"]]).max()
claim("largest weight on a forbidden pair", hidden, "==", 0, exact=True)

# %% [markdown]
# Four mistakes are made again and again. Each runs without an error. The first takes the softmax
# along the queries. The second sets weights to 0 *after* the softmax. Watch the sums of the rows.
# The third and the fourth concern the very negative number.

# %%
scores = x @ x.T / math.sqrt(8)
wrong_axis = softmax(np.where(causal, scores, -1e9).T).T
mask_after = np.where(causal, softmax(scores), 0)
for name, weights in [("right", attention(x, x, x, causal)[1]), ("wrong axis", wrong_axis),
                      ("mask after softmax", mask_after)]:  # fmt: skip
    print(f"{name:18s} sums of the rows:", weights.sum(axis=1).round(2))
claim("wrong axis: a row misses 1 by", np.abs(wrong_axis.sum(1) - 1).max(), ">", 0.1, exact=True)
claim("mask after: a row misses 1 by", np.abs(mask_after.sum(1) - 1).max(), ">", 0.1, exact=True)

row = np.array([0.5, 1.0, 2.0], "float16")
with np.errstate(over="ignore", invalid="ignore"):
    for number in (-1e9, -3e4):
        masked = np.where([True, True, False], row, np.array(number).astype("float16"))
        nothing = np.full(3, number).astype("float16")
        print(f"{number:8.0f} in float16 is {masked[2]}:", softmax(masked), "and if all are forbidden",
              softmax(nothing).round(2))  # fmt: skip
    infinite = softmax(np.full(3, -np.inf))
claim("NaNs in a row of minus infinity", np.isnan(infinite).sum(), "==", 3, exact=True)

# %% [markdown]
# Float16 ends at 65,504, so $-10^9$ becomes $-\infty$ there. One allowed key saves the row. A row
# where *everything* is forbidden, a query in the padding for example, becomes NaN, and one NaN
# spoils the whole batch. With a finite number such a row gets equal weights instead. They mean
# nothing and hurt nobody, if no one reads them.
#
# ## Attention learns to look up
#
# Back to the page. Every place needs a key that says *what stood before me*, because we look for
# the word behind the one we have just read. So the key comes from the word before, the query from
# the word just read. Both go through a trained matrix, and the value is the word itself:
#
# $$ q_i = x_i W_Q, \qquad k_j = x_{j-1} W_K, \qquad v_j = \text{word } j . $$
#
# Nothing else is trained. The words keep their random vectors.


# %%
class AttentionReciter(keras.Model):
    def __init__(self):
        super().__init__()
        self.words = layers.Embedding(len(vocabulary), DIM, weights=[vectors], trainable=False)
        self.query = layers.Dense(DIM, use_bias=False)
        self.key = layers.Dense(DIM, use_bias=False)

    def scores(self, page):
        x = self.words(page)  # (batch, n, DIM)
        before = ops.pad(x, [[0, 0], [1, 0], [0, 0]])[:, :-1]  # moved by one place
        return ops.matmul(self.query(x), ops.swapaxes(self.key(before), 1, 2)) / math.sqrt(DIM)

    def call(self, page):
        return self.scores(page)[:, :-1]  # (batch, n - 1, n): no question after the last word


keras.utils.set_random_seed(0)
reader = AttentionReciter()
train_reciter(reader, LOOK_STEPS, rate=0.01)
attention_recites = {length: recited(reader, length) for length in PAGES}

# %%
figure, ax = plt.subplots(figsize=(7, 3))
for found, name, color in [(attention_recites, "attention", BLUE), (lstm_recites, "LSTM", ORANGE)]:
    ax.plot(list(found), list(found.values()), "o-", color=color)
    ax.text(100, found[96], name, color=color, va="center")
    print(f"{name:10s}", *(f"{n} words {share:.2f}" for n, share in found.items()), sep="   ")
ax.axvline(PAGE, color="0.6", ls=":")
ax.set(xscale="log", xticks=PAGES, xticklabels=PAGES, ylim=(0, 1.02), xlim=(5.5, 150))
ax.set(xlabel="words on the page (training: 24)", title="Share of the words recited correctly")
ax.minorticks_off()
show(
    figure,
    "Share of words recited against the length of the page, for attention and the LSTM. Attention"
    " falls slowly as pages grow; the LSTM falls to almost nothing on pages longer than in training.",
)
claim("attention: words recited of a page of 24", attention_recites[24], ">", 0.75, headline=True)
ratio = attention_recites[96] / lstm_recites[96]
claim("on 96 words, attention to LSTM", ratio, ">", 4)

# %% [markdown]
# A few seconds of training, two matrices, and it beats the LSTM at every length. It was never
# shown a page of 96 words. Why not all of them? "And" stands on a page several times, with
# different words behind it. One word is then not enough to find the place.
#
# Now read real text with it, as it is, from left to right, with the causal mask. The book of
# Daniel is a test book. The names Shadrach, Meshach and Abednego are in no training book. A model
# that counts word pairs (lesson 09) has never seen one after the other, and gives that probability
# 0, at the first time and at the tenth. This is Daniel 3:26. Each row of the figure is the word
# just read. Its weights show where the answer is looked up, and they come from a matrix product.

# %%
place = (verses["label"] == "Daniel") & (verses["chapter"] == 3) & (verses["verse"] == 26)
text = words_of(verses["text"][place].item())
scores = ops.convert_to_numpy(reader.scores(np.array([[number_of[w] for w in text]])))[0]
weights = softmax(np.where(np.tril(np.ones_like(scores)), scores, -1e9))  # (time, time)
last = range(len(text) - text[::-1].index("shadrach") - 2, len(text) - 1)  # the last questions
figure, ax = plt.subplots(figsize=(9, 3.9))
picture = ax.imshow(weights[last], vmin=0, vmax=1, aspect="auto")
ax.set_xticks(range(len(text)), text, rotation=90, fontsize=8)
ax.set_yticks(range(len(last)), [text[i] for i in last], fontsize=8)
ax.set(xlabel="where it looks", ylabel="word just read", title="Looked up, not remembered")
ax.grid(False)
figure.colorbar(picture, ax=ax, label="weight", fraction=0.03)
show(
    figure,
    "Attention weights over the words of Daniel 3:26 for its last words. After shadrach the weight is"
    " on the earlier meshach, after meshach on and, although no training book has these names.",
)
for i in last:
    print(f"{text[i]:9s} looks at {text[weights[i].argmax()]:9s} next is {text[i + 1]}")

# %% [markdown]
# Read the row of *shadrach*: the bright cell is the earlier *meshach*, the word behind the earlier
# *shadrach*. The row of *and* has several cells, one for each earlier *and*. A word that stands
# there for the first time finds nothing, and its weights are spread without meaning. What was
# learned is not a word. It is the relation "the same as the one before".
#
# How often does this help in all five test books? Take the places where a word stands that no
# training book contains, and that stood in the 64 words before. Counting gets none of them.

# %%
SPAN = 64
known = np.isin(ids["test"], ids["train"])
strangers = [i for i in np.flatnonzero(~known) if i >= SPAN]
before = np.stack([ids["test"][i - SPAN : i] for i in strangers])  # (places, SPAN)
found = np.concatenate([reader.scores(some)[:, -1] for some in np.array_split(before, 8)])
guess = np.take_along_axis(before, found.argmax(-1)[:, None], axis=1)[:, 0]
answer = ids["test"][strangers]
again = (before == answer[:, None]).any(axis=1)
right = (guess == answer)[again]
print(f"{len(strangers)} such places, {again.sum()} with the word in the {SPAN} words before")
print(f"first choice right: {right.sum()} by attention, 0 by counting")
claim("unknown words found again on the page", right.mean(), ">", 0.1)

# %% [markdown]
# About one in five, from two matrices and one word of context. Most of the others follow a word
# such as *and*, or stand behind a word that is new there.
#
# ## Several heads
#
# One softmax has one focus. **Multi-head attention** runs $h$ small attentions side by side, each
# with its own projections of size $d = \text{dim} / h$, and puts their outputs next to each other.
# A last matrix mixes them. The projections of all heads are one matrix product; then the numbers
# are sorted by head.


# %%
def split_heads(x, heads):
    batch, steps, dim = x.shape
    return x.reshape(batch, steps, heads, dim // heads).transpose(0, 2, 1, 3)  # (batch, heads, time, d)


def merge_heads(x):
    batch, heads, steps, d = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, steps, heads * d)  # (batch, time, dim)


def multi_head(x, weights, heads, allowed=None):
    """x (batch, time, dim); weights: kernel and bias of query, key, value and output."""
    wq, bq, wk, bk, wv, bv, wo, bo = weights
    Q, K, V = (split_heads(x @ w + b, heads) for w, b in [(wq, bq), (wk, bk), (wv, bv)])
    outputs, maps = attention(Q, K, V, allowed)  # (batch, heads, time, d)
    return merge_heads(outputs) @ wo + bo, maps


# %% [markdown]
# Is it the same as `keras.layers.MultiHeadAttention`, and the same as ours,
# `kerasllm.layers.MultiHeadAttention`? All three get the same weights. Keras stores its kernels
# by head, so they are reshaped.

# %%
HEADS, dim = 4, 32
x = rng.normal(size=(2, 9, dim)).astype("float32")
keras.utils.set_random_seed(0)
of_keras = layers.MultiHeadAttention(HEADS, dim // HEADS, bias_initializer="normal")
theirs = ops.convert_to_numpy(of_keras(x, x, use_causal_mask=True))
ours = MultiHeadAttention(HEADS, causal=True)
ours.build(x.shape)
ours.set_weights([w.reshape(v.shape) for w, v in zip(of_keras.get_weights(), ours.weights, strict=True)])
in_the_open, maps = multi_head(x, ours.get_weights(), HEADS, np.tril(np.ones((9, 9), bool)))
library, library_maps = map(ops.convert_to_numpy, ours(x, return_weights=True))
far = np.abs(in_the_open - theirs).max()
claim("built in the open against keras.layers", far, "<", 1e-5, exact=True, headline=True)
claim("kerasllm.layers against ours", np.abs(library - in_the_open).max(), "<", 1e-5, exact=True)
claim("and the attention maps", np.abs(library_maps - maps).max(), "<", 1e-5, exact=True)

# %% [markdown]
# From here on we use the layer of the library. Keras' layer computes the same; ours also knows
# rotary positions, a window and a cache (lesson 15).
#
# ## Attention is blind to order
#
# Without a mask, does the layer know which token came first? Shuffle the tokens. If the outputs
# are the same ones, shuffled in the same way, then order plays no role.

# %%
blind = MultiHeadAttention(HEADS)
shuffled = rng.permutation(9)
at_home, moved = (ops.convert_to_numpy(blind(one)) for one in (x, x[:, shuffled]))
claim("shuffled in, shuffled out", np.abs(moved - at_home[:, shuffled]).max(), "<", 1e-5, exact=True)
placed = SinusoidalPositions()
seen, moved = (ops.convert_to_numpy(blind(placed(one))) for one in (x, x[:, shuffled]))
claim("with positions that changes", np.abs(moved - seen[:, shuffled]).max(), ">", 0.01, exact=True)

# %% [markdown]
# So attention reads a *set*. "Dog bites man" and "man bites dog" are the same to it. (The causal
# mask tells a little: who sees fewer tokens comes earlier.) Positions must be put in.
#
# **Sinusoidal** (Vaswani et al. 2017, section 3.5): add to the vector at position $p$ the sines
# and cosines of $p \, \omega_i$, with speeds $\omega_i = 10000^{-2i/d}$, from fast to slow, like
# the hands of many clocks. **Learned**: add row $p$ of a trained table, as GPT-2 and BERT do. The
# table has an end; a longer text has no positions.


# %%
def speeds(d, longest=10_000.0):
    return longest ** (-np.arange(0, d, 2) / d)  # (d / 2,)


def sinusoidal(length, d):
    angles = np.arange(length)[:, None] * speeds(d)  # (length, d / 2)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)  # (length, d)


# %%
table = sinusoidal(100, 64)
library = ops.convert_to_numpy(SinusoidalPositions()(np.zeros((1, 100, 64), "float32")))[0]
claim("our table against the library's", np.abs(table - library).max(), "<", 1e-4, exact=True)
figure, (ax, beside) = plt.subplots(1, 2, figsize=(8, 2.8))
ax.imshow(table, aspect="auto", cmap="RdBu_r")
ax.set(title="Sines, then cosines", xlabel="number", ylabel="position")
ax.grid(False)
for p, color in [(20, BLUE), (50, GREEN), (80, PURPLE)]:
    beside.plot(table @ table[p], color=color, label=f"position {p}")
beside.set(title="Dot product with the other positions", xlabel="position", ylim=(0, 40))
beside.legend(loc="lower right")
show(figure, "Left, the table of positions, with fast waves at the left of each half. Right, each"
     " position's dot product is highest with itself; to both sides it is lower, in the same waves.")  # fmt: skip
try:
    LearnedPositions(context_length=8).build(x.shape)
except ValueError as error:
    print("learned:", error)

# %% [markdown]
# **Rotary** (Su et al. 2021) adds nothing. It *turns* queries and keys. Two numbers of a vector
# are a point in a plane; at position $p$ it is turned by the angle $p\,\omega$:
#
# $$ (a, b) \;\to\; (a \cos p\omega - b \sin p\omega,\;\; b \cos p\omega + a \sin p\omega) $$
#
# On paper: with $\omega = 90°$, the point $(1, 0)$ is at $(0, 1)$ for $p = 1$ and at $(-1, 0)$ for
# $p = 2$. A dot product depends on the angle *between* two vectors. Turn the query by $m\omega$
# and the key by $n\omega$: what matters is $(m - n)\omega$, the distance. The cell moves both by
# 500 places.

# %%
q, k = rng.normal(size=(2, 1, 1, 1, 64)).astype("float32")  # (batch, heads, time, d) each


def by_hand(vector, p):
    a, b = np.split(vector, 2, axis=-1)
    cos, sin = np.cos(p * speeds(64)), np.sin(p * speeds(64))
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


turned = ops.convert_to_numpy(rotate(q, np.array([7])))
claim("ours against kerasllm.layers.rotate", np.abs(by_hand(q, 7) - turned).max(), "<", 1e-4, exact=True)
turn = RotaryPositions()
there, score = {}, {}
for start in (0, 500):
    queries, keys = (turn(np.repeat(one, 10, axis=2), start=start) for one in (q, k))
    score[start] = ops.convert_to_numpy(ops.matmul(queries, ops.swapaxes(keys, 2, 3)))[0, 0]
print("distances 0 to 4:", score[0][9, 9:4:-1].round(2), "and 500 later:", score[500][9, 9:4:-1].round(2))
far = np.abs(score[500] - score[0]).max()
claim("rotary scores, 500 places later, differ by", far, "<", 1e-2, exact=True)
along = max(np.ptp(np.diagonal(score[0], -n)) for n in range(9))
claim("and at equal distances they differ by", along, "<", 1e-3, exact=True)
claim("but between distances by", np.ptp(score[0]), ">", 0.1, exact=True)

# %% [markdown]
# ## What positions are worth
#
# Now on the course's writing task: characters of the King James Bible, predicted from the 64
# before. The model has *one* causal attention layer of four heads and a small dense network. Four
# versions, equal but for the positions. The loss is measured on the validation books, in bits per
# character (lesson 09).

# %%
CONTEXT = 64
texts = {split: "".join(t + "\n" for t in verses["text"][verses["split"] == split]) for split in SPLITS}
alphabet = sorted(set(texts["train"]))
code = {character: i for i, character in enumerate(alphabet)}
train, validation = (np.array([code[c] for c in texts[split]], "int32") for split in SPLITS[:2])


def small_model(positions):
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(len(alphabet), WIDTH)(inputs)
    if positions == "sinusoidal":
        x = SinusoidalPositions()(x)
    if positions == "learned":
        x = LearnedPositions(CONTEXT)(x)
    turning = 10_000.0 if positions == "rotary" else None
    look = MultiHeadAttention(HEADS, causal=True, rotary_wavelength=turning, name="attention")
    x = layers.Add()([x, look(x)])
    x = layers.Add()([x, layers.Dense(WIDTH)(layers.Dense(4 * WIDTH, "relu")(x))])
    return keras.Model(inputs, layers.Dense(len(alphabet))(x))


# %%
options = {"context": CONTEXT, "batch_size": BATCH}
judge = windows(validation[:LETTERS], context=CONTEXT, batch_size=128, shuffle=False)
models, bits = {}, {}
for positions in ("none", "sinusoidal", "learned", "rotary"):
    keras.utils.set_random_seed(0)
    models[positions] = model = small_model(positions)
    falling = keras.optimizers.schedules.CosineDecay(0.006, READ_STEPS)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(falling), loss, steps_per_execution=AT_ONCE)
    model.fit(windows(train, steps=READ_STEPS, **options), verbose=0)
    bits[positions] = model.evaluate(judge, verbose=0) / math.log(2)
    print(f"{positions:11s} {bits[positions]:.2f} bits per character")
claim("bits lost without positions, against rotary", bits["none"] - bits["rotary"], ">", 0.3)
claim("against sinusoidal", bits["none"] - bits["sinusoidal"], ">", 0.2)

# %% [markdown]
# Without positions the model knows *which* characters stood before, not where. Each kind of
# position repairs most of that. The gaps between the three are small, from one seed and a short
# training, so take no order from them. (Lesson 09's LSTM is far better: it is larger and trained
# longer. Lesson 14 stacks such layers.)
#
# What do the four heads of the rotary model look at? The figure shows them on the last words of a
# verse that is not in the training books.

# %%
phrase = texts["validation"][texts["validation"].find("whither thou goest") :][:28]
model = models["rotary"]
embed = keras.Model(model.input, model.get_layer("attention").input)
inputs = embed(np.array([[code[c] for c in phrase]]))
maps = ops.convert_to_numpy(model.get_layer("attention")(inputs, return_weights=True)[1])[0]
figure, panels = plt.subplots(1, HEADS, figsize=(9, 3.1), sharey=True)
back = np.subtract.outer(np.arange(len(phrase)), np.arange(len(phrase)))  # places back
for head, ax in enumerate(panels):
    ax.imshow(maps[head], vmin=0, vmax=1)
    ax.set_xticks(range(len(phrase)), phrase, fontsize=6, family="monospace")
    ax.set_title(f"head {head + 1}: {(maps[head] * back)[8:].sum(1).mean():.1f} back")
    ax.grid(False)
panels[0].set_yticks(range(len(phrase)), phrase, fontsize=6, family="monospace")
show(figure, "Attention maps of four heads over the phrase beginning with whither thou goest. The"
     " weight lies near the diagonal; often several rows look at the same earlier character.")  # fmt: skip
near = np.where((back >= 0) & (back <= 4), maps, 0).sum(-1)[:, 8:].mean()
claim("weight on this and the four characters before", near, ">", 0.5)

# %% [markdown]
# Nobody told the heads to look near. Each title gives the mean distance, and the heads differ. No
# head keeps one distance: where bright cells stand below each other, several characters in a row
# look at the same earlier one. The dense network puts what the heads bring together, as the neural
# n-gram of lesson 09 did.
#
# ## What it costs
#
# Every token looks at every token. A text of $n$ tokens has $n^2$ scores for each head. Twice the
# length is four times the scores. The cell measures processor time and memory of one head. For
# comparison: a dense layer, which treats each token alone. A time that grows with the length has
# the factor 1 in the last line.

# %%
kernel = rng.normal(size=(64, 256)).astype("float32")


def processor_seconds(work, tries=5):
    used = []
    for _ in range(tries):
        started = time.process_time()
        work()
        used.append(time.process_time() - started)
    return min(used)


def many_products(x, out):
    for _ in range(200):
        np.matmul(x, kernel, out=out)


# %%
seconds, dense, mebibytes = [], [], []
for n in LENGTHS:
    x = rng.normal(size=(n, 64)).astype("float32")
    seconds.append(processor_seconds(lambda x=x: attention(x, x, x)))
    dense.append(processor_seconds(lambda x=x, out=x @ kernel: many_products(x, out)))
    mebibytes.append(attention(x, x, x)[1].nbytes / 2**20)
    print(f"{n:5d} tokens: weights of one head {mebibytes[-1]:6.2f} MiB")
times = LENGTHS[-1] / LENGTHS[0]
claim("memory over length squared", mebibytes[-1] / mebibytes[0], "==", times**2, exact=True)
claim("time grows faster than the length, by a factor of", seconds[-1] / seconds[0] / times, ">", 2)

# %%
figure, ax = plt.subplots(figsize=(7, 2.9))
for used, name, color in [(seconds, "attention", BLUE), (dense, "dense layer", ORANGE)]:
    ax.plot(LENGTHS, np.array(used) / max(used[0], 1e-9), "o-", color=color, label=name)
for power, style in [(1, ":"), (2, "--")]:
    ax.plot(LENGTHS, (np.array(LENGTHS) / LENGTHS[0]) ** power, style, color="0.6", label=f"length to the {power}")
ax.set(xscale="log", yscale="log", xticks=LENGTHS, xticklabels=LENGTHS, xlabel="tokens")
ax.set_title(f"Processor time, {LENGTHS[0]} tokens = 1")
ax.minorticks_off()
ax.legend()
show(
    figure,
    "Processor time against the number of tokens, both axes logarithmic. Attention grows about with"
    " the square of the length, a dense layer in proportion to it.",
)

# %% [markdown]
# The time of attention can grow even faster than the square: a large table of scores does not fit
# into the fast memory of the processor.
#
# Two economies are in wide use. **Grouped heads** (Ainslie et al. 2023): several query heads share
# one head of keys and values. **A sliding window** (Beltagy et al. 2020): a place sees only the
# last $w$ places. A model that writes keeps keys and values of the whole text, the cache, and both
# make it small. The cell counts the bytes for 4,096 tokens.

# %%
print("                        weights    cache of 4,096 tokens   pairs")
caches = {}
for name, heads, window in [("8 heads", 8, None), ("2 shared key heads", 2, None),
                            ("1 shared key head", 1, None), ("window of 256", 8, 256)]:  # fmt: skip
    layer = MultiHeadAttention(8, num_kv_heads=heads, window=window, causal=True)
    layer.build((None, None, 256))
    cache = layer.make_cache(1, window or 4096)
    caches[name] = sum(ops.convert_to_numpy(part).nbytes for part in cache)
    seen = np.minimum(np.arange(1, 4097), window or 4096).sum()  # pairs that may look
    print(f"{name:20s} {layer.count_params():10,d} {caches[name] / 2**20:16.2f} MiB {seen:14,d}")
claim("cache of 8 heads by 2 shared ones", caches["8 heads"] / caches["2 shared key heads"], "==", 4, exact=True)
claim("and by a window of 256", caches["8 heads"] / caches["window of 256"], "==", 16, exact=True)

# %% [markdown]
# The window's pairs are saved only by code that skips the others. Our layer computes all scores
# and masks them while training, so there it saves the cache and no time.
#
# ## Summary
#
# - A fixed state cannot hold a page. Attention keeps the page and looks up: softmax of queries
#   times keys, then the mean of the values.
# - Divide by $\sqrt d$, mask before the softmax, and take the softmax over the keys.
# - Several heads are several small attentions side by side, equal to Keras' layer.
# - Attention is blind to order. Sines, a trained table or a rotation bring positions in; rotary
#   scores depend on the distance alone.
# - The price is quadratic in the length. Shared keys and windows make the cache small.
#
# ## Exercises
#
# Open [exercises/10_attention.ipynb](exercises/10_attention.ipynb). You make a mask, a softmax that
# survives an empty row, heads, sinusoidal positions, and turn one pair. Each answer is checked.
#
# ## References
#
# - D. Bahdanau, K. Cho, Y. Bengio (2015). Neural machine translation by jointly learning to align
#   and translate. *ICLR*. Section 3.1.
# - A. Vaswani and others (2017). Attention is all you need. *NeurIPS*. Sections 3.2 and 3.5.
# - J. Su and others (2021). RoFormer: enhanced transformer with rotary position embedding.
#   arXiv:2104.09864. Section 3.2.
# - J. Gehring and others (2017). Convolutional sequence to sequence learning. *ICML*. Section 3.1:
#   learned positions.
# - C. Olsson and others (2022). In-context learning and induction heads. *Transformer Circuits
#   Thread*. The look-up of this lesson, found inside trained language models.
# - J. Ainslie and others (2023). GQA: training generalized multi-query transformer models from
#   multi-head checkpoints. *EMNLP*. Section 2.2.
# - I. Beltagy, M. Peters, A. Cohan (2020). Longformer: the long-document transformer.
#   arXiv:2004.05150. Section 3.1.
