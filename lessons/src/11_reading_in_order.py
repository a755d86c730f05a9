# %% [markdown]
# # 11 · A classifier that reads in order
#
# **What does a model gain when it reads the words one after the other, and what does it cost?**
#
# **You need** lesson 04 (the chain rule), lesson 08 (text to ids), lesson 09 (word vectors, PPMI
# and GloVe) and lesson 10 (the data, the mask, the numbers to beat).
#
# **You will build** a recurrent network and an LSTM in NumPy, equal to those of Keras, and a
# classifier that reads English and Chinese in both directions.
#
# **Time** about 3 minutes to run on a 2-core laptop; reading takes longer.

# %%
import functools
import importlib
import json
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import layers, ops
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.utils.extmath import randomized_svd

from kerasllm import batches, models, tasks, text
from kerasllm.course import claim, settings
from kerasllm.data import load
from kerasllm.layers import MaskedMax, MaskedMean, PairEmbedding
from kerasllm.course.figures import BLUE, GREEN, ORANGE, PURPLE, RED, show, use_style
from kerasllm.training import warmup_cosine

use_style()

# %%
TEXTS, EPOCHS, ZH_EPOCHS, SEEDS, UNITS, ZH_UNITS, CHARACTERS, LENGTH, TOY_EPOCHS = settings(
    smoke=(300, 1, 1, 1, 4, 4, 600, 12, 1),
    cpu=(20_000, 4, 8, 3, 64, 32, 4_000, 200, 3),
    gpu=(20_000, 4, 8, 5, 64, 32, 4_000, 200, 6),
)
# TEXTS       how many texts of each data set are used at most (the sets are smaller than 20,000)
# EPOCHS      passes over the English texts
# ZH_EPOCHS   passes over the Chinese texts
# SEEDS       repetitions with other random numbers
# UNITS       size of the LSTM's state in each direction; ZH_UNITS for Chinese
# CHARACTERS  size of the Chinese vocabulary
# LENGTH      texts are cut at this many tokens
# TOY_EPOCHS  passes in the memory experiment
LABELS = ["negative", "positive"]

# %% [markdown]
# ## What a bag cannot read
#
# Two reviews of one line: "not good, bad" and "not bad, good". Every bag of words, with TF-IDF or
# with embeddings, is a function of the counts. Look at the counts.

# %%
first, second = "not good , bad", "not bad , good"
print(Counter(first.split()))
print(Counter(second.split()))
same = Counter(first.split()) == Counter(second.split())
claim("the two reviews are the same bag", same, "==", 1, exact=True)

# %% [markdown]
# So no bag can answer both correctly. Pairs of words help here. But "not a very good" needs a
# window of four, and there are too many such windows to learn a weight for each. We want a model
# that reads the words one by one and *keeps* what it has read.
#
# ## A recurrent network on paper
#
# A **recurrent network** (Elman 1990) has a **state**, a vector $h_t$. It starts at zero. Each
# token's vector $x_t$ changes it:
#
# $$ h_t = \tanh(x_t W + h_{t-1} U + b) . $$
#
# $W$ has the shape (input, units), $U$ has (units, units), and $b$ has (units,). The same three
# arrays serve at every step. So the number of weights does not depend on the length of the text.
#
# Take two units and words of two numbers: *not* is $(1, 0)$, *good* is $(0, 1)$, *film* is
# $(0, 0)$. Let $W$ be the identity, $b = 0$, and
#
# $$ U = \begin{pmatrix} 0 & -2 \\ 0 & 1 \end{pmatrix} . $$
#
# Unit 1 notices *not*. Unit 2 holds the opinion, and after *not* it is pushed down by 2. Read
# "not good film": $h_1 = \tanh(1, 0) = (0.762, 0)$. Then
# $h_2 = \tanh(0,\; 1 - 2 \cdot 0.762) = (0, -0.480)$. Then $h_3 = \tanh(0, -0.480) = (0, -0.446)$.
# The opinion is negative. Now the other order: "good film not".


# %%
def rnn_step(x, h, W, U, b):
    return np.tanh(x @ W + h @ U + b)  # (batch, units)


def run_rnn(x, W, U, b):
    """All states of a recurrent network: (batch, time, input) to (batch, time, units)."""
    h, states = np.zeros((len(x), len(U))), []
    for t in range(x.shape[1]):
        h = rnn_step(x[:, t], h, W, U, b)
        states.append(h)
    return np.stack(states, axis=1)


word = {"not": (1.0, 0.0), "good": (0.0, 1.0), "film": (0.0, 0.0)}
U = np.array([[0.0, -2.0], [0.0, 1.0]])
opinion = {}
for phrase in ["not good film", "good film not"]:
    x = np.array([[word[w] for w in phrase.split()]])  # (1, 3, 2)
    states = run_rnn(x, np.eye(2), U, np.zeros(2))[0]  # (3, 2)
    opinion[phrase] = states[-1, 1]
    print(f"{phrase}:", *(f"({a:.3f}, {b:.3f})" for a, b in states))
claim("opinion after 'not good film'", opinion["not good film"], "<", 0, exact=True)
claim("opinion after 'good film not'", opinion["good film not"], ">", 0, exact=True)

# %% [markdown]
# The same three words in another order give another sign. Order matters now. `SimpleRNN` of Keras
# is the same formula, which the next cell checks with random numbers.

# %%
rng = np.random.default_rng(0)
x = rng.normal(size=(4, 9, 5)).astype("float32")  # (batch, time, input)
keras_rnn = layers.SimpleRNN(6, return_sequences=True)
theirs = ops.convert_to_numpy(keras_rnn(x))
ours = run_rnn(x, *keras_rnn.get_weights())
claim("our RNN equals keras.layers.SimpleRNN", np.abs(ours - theirs).max(), "<", 1e-5, exact=True)

# %% [markdown]
# ## The gradient that vanishes
#
# A text has a hundred steps, and training must tell step 1 what it did wrong. The chain rule goes
# back through all the steps (lesson 04). One step has the Jacobian
#
# $$ \frac{\partial h_t}{\partial h_{t-1}} = U \, \mathrm{diag}(1 - h_t^2) , $$
#
# and $T$ steps have the *product* of $T$ such matrices. If they shrink a vector by half, thirty
# steps shrink it a thousand million times. If they stretch it, the product explodes (Bengio et al.
# 1994; Pascanu et al. 2013). The next cell measures it. $U$ is a rotation times a factor, and the
# size is the root mean square over all directions.


# %%
def rotation(rng, n):
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def gradient_sizes(factor, steps=100, n=32, seed=0):
    """Size of d h_t / d h_0 for t = 1 ... steps, in a network with random weights."""
    rng = np.random.default_rng(seed)
    U, h, J, sizes = factor * rotation(rng, n), np.zeros(n), np.eye(n), []
    for _ in range(steps):
        h = np.tanh(rng.normal(0, 0.2, n) + h @ U)
        J = J @ (U * (1 - h**2))  # (n, n), the chain rule
        sizes.append(np.linalg.norm(J) / np.sqrt(n))
    return np.array(sizes)


rnn_sizes = {factor: gradient_sizes(factor) for factor in (0.5, 1.0, 2.0)}
for factor, sizes in rnn_sizes.items():
    print(f"U = {factor} times a rotation: after 10 steps {sizes[9]:.1e}, after 100 {sizes[-1]:.1e}")
claim("factor 0.5: gradient after 30 steps", rnn_sizes[0.5][29], "<", 1e-8, exact=True)
claim("factor 2: gradient after 100 steps", rnn_sizes[2.0][-1], ">", 1e3, exact=True)

# %% [markdown]
# Even the best case, a pure rotation, loses: $\tanh$ has a slope below 1. An exploding gradient
# can be cut to a maximal length (*clipping*). A vanished gradient cannot be brought back.
#
# ## The LSTM cell
#
# The **long short-term memory** (Hochreiter and Schmidhuber 1997) keeps a second vector, the
# **cell state** $c_t$, and changes it by *addition*. Three **gates**, numbers from 0 to 1, decide
# how much: the input gate $i$, the forget gate $f$ (Gers et al. 2000) and the output gate $o$.
#
# $$ i = \sigma(z_i), \quad f = \sigma(z_f), \quad g = \tanh(z_g), \quad o = \sigma(z_o), \qquad
# [z_i, z_f, z_g, z_o] = x_t W + h_{t-1} U + b $$
#
# $$ c_t = f \odot c_{t-1} + i \odot g, \qquad h_t = o \odot \tanh(c_t) $$
#
# Here $\sigma$ is the sigmoid, $\odot$ the product number by number, and $g$ the new content. With
# $n$ units, $W$ has the shape (input, $4n$), $U$ has $(n, 4n)$ and $b$ has $(4n,)$. Keras keeps
# the order $i, f, g, o$ (and calls $g$ "c").
#
# On paper, one unit: $z = (0, 1, 1, 0)$ and $c_{t-1} = 0.5$. Then $i = 0.5$, $f = 0.731$,
# $g = 0.762$, $o = 0.5$. So $c_t = 0.731 \cdot 0.5 + 0.5 \cdot 0.762 = 0.746$ and
# $h_t = 0.5 \cdot \tanh(0.746) = 0.316$.


# %%
def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm_step(x, h, c, W, U, b):
    z = x @ W + h @ U + b  # (batch, 4 * units)
    i, f, g, o = np.split(z, 4, axis=-1)  # (batch, units) each
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)  # forget a part, add a part
    return sigmoid(o) * np.tanh(c), c  # show a part


def run_lstm(x, W, U, b):
    h = c = np.zeros((len(x), len(U)))
    states = []
    for t in range(x.shape[1]):
        h, c = lstm_step(x[:, t], h, c, W, U, b)
        states.append(h)
    return np.stack(states, axis=1)  # (batch, time, units)


# %%
one = np.ones((1, 1))
h, c = lstm_step(one, 0 * one, 0.5 * one, np.array([[0.0, 1, 1, 0]]), np.zeros((1, 4)), 0)
print(f"on paper: c = {c[0, 0]:.3f}, h = {h[0, 0]:.3f}")
keras_lstm = layers.LSTM(6, return_sequences=True)
theirs = ops.convert_to_numpy(keras_lstm(x))
ours = run_lstm(x, *keras_lstm.get_weights())
far = np.abs(ours - theirs).max()
claim("our LSTM equals keras.layers.LSTM", far, "<", 1e-5, exact=True)

# %% [markdown]
# They are equal. Now the gradient. Along the cell state, one step multiplies it by $f$ and nothing
# else. (There are further paths through $h$.) So the size after $T$ steps
# is a product of $T$ forget gates. If the gate is 1, nothing is lost. Keras starts with the bias 1
# in $z_f$ (`unit_forget_bias`). So $\sigma(1) = 0.73$.


# %%
def cell_path(forget_bias, steps=100, n=32, seed=0):
    """Size of the product of the forget gates, in an LSTM with random weights."""
    rng = np.random.default_rng(seed)
    W, U = rng.normal(0, 0.1, (n, 4 * n)), np.hstack([rotation(rng, n) for _ in range(4)])
    h, c, path, sizes = np.zeros((1, n)), np.zeros((1, n)), np.ones(n), []
    b = np.repeat([0.0, forget_bias, 0.0, 0.0], n)
    for _ in range(steps):
        x = rng.normal(size=(1, n))
        path = path * sigmoid(x @ W + h @ U + b)[0, n : 2 * n]
        h, c = lstm_step(x, h, c, W, U, b)
        sizes.append(np.sqrt(np.mean(path**2)))
    return np.array(sizes)


# %%
cell_sizes = {bias: cell_path(bias) for bias in (0, 1, 4)}
figure, ax = plt.subplots(figsize=(8, 3.6))
for factor, color in [(2.0, RED), (1.0, ORANGE), (0.5, PURPLE)]:
    ax.plot(rnn_sizes[factor], color=color, ls="--")
    ax.text(100, rnn_sizes[factor][-1], f" RNN, {factor} × rotation", color=color, va="center")
for bias, color in [(4, GREEN), (1, BLUE), (0, "0.4")]:
    ax.plot(cell_sizes[bias], color=color)
    ax.text(100, cell_sizes[bias][-1], f" LSTM cell, forget bias {bias}", color=color, va="center")
ax.set(yscale="log", ylim=(1e-34, 1e12), xlim=(0, 142), xticks=range(0, 101, 20))
ax.set(xlabel="steps back", ylabel="size of the gradient", title="What remains of a gradient")
show(
    figure,
    "Size of the gradient on a logarithmic axis against 100 steps. The RNN with small weights falls"
    " to 1e-30, with large weights it grows to 1e7. The LSTM's cell path falls with forget bias 0"
    " and 1, and stays near 1 with forget bias 4.",
)
claim("cell path, bias 4: what remains after 100 steps", cell_sizes[4][-1], ">", 0.05, exact=True)
claim("cell path, bias 1: what remains after 100 steps", cell_sizes[1][-1], "<", 1e-8, exact=True)

# %% [markdown]
# The surprise is the curve of bias 1. At the start an LSTM of Keras forgets half of its cell in
# about two steps. But a *gate* can learn: a text can open it and close it, and each unit has its
# own. A factor of 0.5 in $U$ cannot be switched off by a word.
#
# ## Remember the first symbol
#
# A task for memory alone: the first symbol is 0 or 1, then follow 19 random others. The answer,
# after the last, is the first symbol. Guessing gives 0.5. One network is an RNN that starts with
# half a rotation, the lowest curve of the figure. The other is an LSTM as Keras starts it.


# %%
def memory_task(n, steps, seed):
    rng = np.random.default_rng(seed)
    ids, y = rng.integers(2, 8, (n, steps)), rng.integers(0, 2, n)
    ids[:, 0] = y
    return np.eye(8, dtype="float32")[ids], y  # (n, steps, 8), (n,)


CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def memory(layer):
    """Train a recurrent layer to remember the first symbol; its accuracy after each epoch."""
    model = keras.Sequential([keras.Input((None, 8)), layer, layers.Dense(2)])
    adam = keras.optimizers.Adam(1e-2, clipnorm=1.0)
    model.compile(adam, CROSS_ENTROPY, metrics=["accuracy"], jit_compile=False)
    x, y = memory_task(2048, MEMORY_STEPS, seed=0)
    watch = memory_task(512, MEMORY_STEPS, seed=1)
    history = model.fit(x, y, 64, TOY_EPOCHS, verbose=0, validation_data=watch).history
    return np.array(history["val_accuracy"])


# %%
MEMORY_STEPS = 20
half = keras.initializers.Orthogonal(gain=0.5)  # a rotation times 0.5
makers = {
    "RNN": lambda: layers.SimpleRNN(24, recurrent_initializer=half),
    "LSTM": lambda: layers.LSTM(24),
}
early = {}
for name, make in makers.items():
    keras.utils.set_random_seed(0)
    curve = memory(make())
    early[name] = curve[0]
    print(f"{name:5s} accuracy after each epoch:", *(f"{a:.2f}" for a in curve))
claim("LSTM remembers the first symbol after 1 epoch", early["LSTM"], ">", 0.95)
claim("the RNN does not", early["RNN"], "<", 0.75)

# %% [markdown]
# Both have 24 units, the same data and the same optimizer. The LSTM learns the task in one pass.
# The RNN guesses. Given more passes it can find the answer, because Adam divides each gradient by
# its usual size: a small gradient can still teach. With more steps it is lost. The start matters
# too: with a full rotation, as Keras starts it, an RNN can do this task as well.
#
# ## Two readings, and one vector for the text
#
# At the word "not" a reader from left to right has not seen "good" yet. So we read twice: one
# LSTM from the left, another from the right. Their states are put side by side. This is the
# **BiLSTM** (Graves and Schmidhuber 2005). Every position then knows both sides.
#
# A text must become one vector. **Max pooling** takes for each of the numbers its largest value
# over all positions (Conneau et al. 2017). A strong word then counts wherever it stands. The mean
# (lesson 10) lets all words vote. The Chinese model takes both.
# The next cell builds the two readings by hand.

# %%
both_ways = layers.Bidirectional(layers.LSTM(6, return_sequences=True))
theirs = ops.convert_to_numpy(both_ways(x))  # (batch, time, 2 * units)
weights = both_ways.get_weights()  # three arrays for each direction
forward = run_lstm(x, *weights[:3])
backward = run_lstm(x[:, ::-1], *weights[3:])[:, ::-1]  # read reversed, then turned back
ours = np.concatenate([forward, backward], axis=-1)
far = np.abs(ours - theirs).max()
claim("two readings equal keras.layers.Bidirectional", far, "<", 1e-5, exact=True)

# %% [markdown]
# ## Padding is read too
#
# A batch is a rectangle, so short texts are filled with padding on the right (lesson 08). An LSTM
# reads on, and the last state is no longer that of the last word. The reader from the right is hit
# harder: it *starts* with the padding. A **mask**
# tells the layer to copy its state where there is no token. The cell pads texts of 9 tokens to 40
# places, and fills the places with a constant vector, as an embedding does.

# %%
reader = layers.LSTM(6)  # returns the last state only
padded_x = np.concatenate([x, np.full((4, 31, 5), 0.3, "float32")], axis=1)  # (4, 40, 5)
mask = np.arange(40) < np.full((4, 1), 9)  # (4, 40), True at real tokens
plain = ops.convert_to_numpy(reader(x))
unmasked = np.abs(ops.convert_to_numpy(reader(padded_x)) - plain).max()
masked = np.abs(ops.convert_to_numpy(reader(padded_x, mask=mask)) - plain).max()
print(f"size of the last state: {np.abs(plain).max():.3f}")
print(f"change by 31 places of padding: {unmasked:.3f} without mask, {masked:.1e} with mask")
claim("without a mask the last state moves by", unmasked, ">", 0.05, exact=True)
claim("with a mask it moves by", masked, "<", 1e-6, exact=True)

real = both_ways(padded_x, mask=mask)[:, :9] - theirs
claim("both readings, at real tokens", np.abs(real).max(), "<", 1e-6, exact=True)

# %% [markdown]
# ## English: the data and the number to beat
#
# The film snippets of lesson 10, with the same splits. The baseline is TF-IDF of words and pairs
# with logistic regression, fitted on training and validation texts together, with the `C` that
# lesson 10 chose.


# %%
def read_set(name):
    """Texts and labels of training, validation and test, and of the first two together."""
    frame, parts = load(name), []
    frame = frame.sample(min(TEXTS, len(frame)), random_state=0).sort_index()
    for part in ["train", "validation", "test"]:
        rows = frame[frame["split"] == part]
        parts += [rows["text"].tolist(), (rows["label"] == "positive").to_numpy(int)]
    return *parts, parts[0] + parts[2], np.append(parts[1], parts[3])


def tfidf(texts, labels, new, C, **options):
    """The probability of "positive" for some new texts."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), **options)
    model = LogisticRegression(C=C, max_iter=1000).fit(vectorizer.fit_transform(texts), labels)
    return model.predict_proba(vectorizer.transform(new))[:, 1]


def accuracy(probability, labels):
    return np.mean((probability > 0.5) == labels)


train, y_train, valid, y_valid, test, y_test, both, y_both = read_set("movie-snippets")
p_tfidf = tfidf(both, y_both, test, C=10, token_pattern=r"\b\w[\w']*\b")
print(f"{len(train):,} training, {len(valid):,} validation, {len(test):,} test texts")
print(f"TF-IDF on the test texts: {accuracy(p_tfidf, y_test):.3f}")

# %% [markdown]
# Next the ids. If every batch is as long as the longest text, most of it
# is padding, and an LSTM pays for each place. **Buckets** put texts of similar length together.

# %%
english = text.train_words(both, vocabulary_size=30_000, lower=True)


def feed(ids, labels, seed, epochs=1, buckets=12, batch_size=128):
    options = {"batch_size": batch_size, "max_length": LENGTH, "buckets": buckets}
    two = np.eye(2, dtype="float32")[labels]  # (texts, 2): 1 becomes (0, 1)
    return batches.padded(ids, two, **options, shuffle=True, seed=seed, epochs=epochs)


def padding_share(ids, buckets):
    found = [np.asarray(x) for x, _ in feed(ids, np.zeros(len(ids), int), 0, buckets=buckets)]
    return sum((x == 0).sum() for x in found) / sum(x.size for x in found)


ids_both = english.encode_batch(both)
shares = {buckets: padding_share(ids_both, buckets) for buckets in (1, 12)}
for buckets, share in shares.items():
    print(f"{buckets} length(s) of batches: {share:.0%} of all places are padding")
claim("share of padding with one length", shares[1], ">", 0.5)
claim("share of padding with 12 buckets", shares[12], "<", 0.2)

# %% [markdown]
# ## The classifier
#
# The parts in their order: embeddings, dropout, a BiLSTM, masked pooling, dropout, two logits.
# Everything has been built above, and `models.BiLSTM` wires the layers of Keras in this way.
#
# A million weights and some thousand texts: the model can learn the texts by heart (lesson 05).
# Three things work against it. **Dropout** sets a share of the numbers to zero. **Token dropout**
# removes the whole vector of some words, so that no single word is enough (Gal and Ghahramani 2016
# drop whole words too). And the model that answers has not the last weights but a **moving
# average** of them: after each step, 0.99 of the average and 0.01 of the new weights (Polyak and
# Juditsky 1992), which Keras keeps with `use_ema=True`. The learning rate warms up and falls along
# a cosine (lesson 05).
#
# We compare two starts of the embeddings. One is random. The other is **GloVe**, vectors of 50
# numbers learned from six thousand million words (lesson 09; Pennington et al. 2014). Both are
# trained further. One compiled model gets new weights for each seed.


# %%
def compiled(model, adam):
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    # Without XLA: it would compile each length of batches anew, and its loop is slower on a CPU.
    model.compile(adam, loss, jit_compile=False)
    return model


def restart(model, seed, vectors=None):
    """New random weights, perhaps these word vectors, and an optimizer without memory."""
    keras.utils.set_random_seed(seed)
    fresh = type(model.body).from_config(model.body.get_config())
    fresh.build((None, None))
    model.body.set_weights(fresh.get_weights())
    if vectors is not None:
        model.body.get_layer("embedding").set_weights([vectors])
    for variable in model.optimizer.variables:
        variable.assign(ops.zeros_like(variable))


# %%
@functools.cache  # the same for every seed
def rates(top, steps):
    """The learning rate of each step: it rises to `top` for a tenth of the steps."""
    rate = warmup_cosine(top, steps, steps // 10)
    return [float(rate(step)) for step in range(steps)]


def train_model(model, ids, labels, seed, epochs, top, vectors=None, **shape):
    restart(model, seed, vectors)
    data = feed(ids, labels, seed, epochs, **shape)  # the batches of all epochs, one after the other
    rate = rates(top, len(data))

    def set_rate(batch, logs):
        model.optimizer.learning_rate = rate[int(model.optimizer.iterations)]

    follow = [keras.callbacks.LambdaCallback(on_train_batch_begin=set_rate)]
    steps = batches.steps_per_epoch(data)
    model.fit(data, epochs=epochs, steps_per_epoch=steps, shuffle=False, callbacks=follow, verbose=0)


# %% [markdown]
# The table of start vectors comes next. Words that GloVe does not know get a random vector. GloVe
# was made from lower-cased text, and so are our tokens. How many are found?
#
# One thing is easy to overlook: the *size* of the start. Adam moves each number by about the
# learning rate per step, whatever its size (lesson 05). So large vectors stay near their start, and
# small ones are free to move. We multiply both starts by 0.4. On validation texts GloVe gained more
# from this than from anything else we tried.

# %%
SCALE = 0.4
glove = load("glove-50d")  # one row for each of 400,000 words
rng = np.random.default_rng(0)
random_start = rng.normal(0, 0.2, (english.vocabulary_size, 50)).astype("float32")
glove_start = random_start.copy()
rows = glove.index.get_indexer(english.vocabulary)  # -1 where GloVe has no such word
glove_start[rows >= 0] = glove.to_numpy()[rows[rows >= 0]]
starts = {"random": SCALE * random_start, "GloVe": SCALE * glove_start}
print(f"{np.mean(rows >= 0):.1%} of {english.vocabulary_size:,} words have a GloVe vector")
claim("words with a GloVe vector", np.mean(rows >= 0), ">", 0.9)

# %% [markdown]
# How were the settings found? Training and validation texts together, 8,480, were cut into five
# folds. About twenty settings were trained on four folds and judged on the fifth, most of them on
# two folds only. The cheaper one of the best two (0.803, 0.804) was then judged on the other three,
# which had no part in the choice: 0.791 with GloVe, 0.762 with a random start, and TF-IDF has 0.770
# there. Frozen vectors had 0.751, and more dropout (0.5) 0.780. The moving average was worth 0.2
# points, which is nothing. The test texts are not quite fresh: an earlier design was measured on
# them. No setting was chosen by that. The runs use training and validation texts together.

# %%
RATE = 6e-3  # the highest learning rate
network = models.BiLSTM(english.vocabulary_size, 2, 50, UNITS, token_dropout=0.2, dropout=0.3)
adam = keras.optimizers.Adam(use_ema=True, ema_momentum=0.99)
model = compiled(tasks.TextClassifier(network, english, LABELS, LENGTH), adam)
runs = {name: [] for name in starts}
for name, start in starts.items():
    for seed in range(SEEDS):
        train_model(model, ids_both, y_both, seed, EPOCHS, RATE, start)
        runs[name].append(model.classify(test)["positive"].to_numpy())  # (texts,)
scores = {name: [accuracy(p, y_test) for p in found] for name, found in runs.items()}
tfidf_score = accuracy(p_tfidf, y_test)
print(f"TF-IDF                {tfidf_score:.3f}")
for name, found in scores.items():
    print(f"BiLSTM, {name:6s} start {np.mean(found):.3f}   seeds:", *(f"{s:.3f}" for s in found))

# %% [markdown]
# Which differences are real? As in lesson 10: for each text we take the share of seeds that are
# right, and subtract what TF-IDF has. The mean of these numbers is the gap, and their spread gives
# its standard error.


# %%
def gap(found, p_baseline, labels):
    """Points by which the runs are better than a baseline, and the standard error."""
    ours = np.mean([(p > 0.5) == labels for p in found], axis=0)  # (texts,), from 0 to 1
    difference = 100 * (ours - ((p_baseline > 0.5) == labels))
    return difference.mean(), difference.std() / np.sqrt(len(difference))


gaps = {name: gap(found, p_tfidf, y_test) for name, found in runs.items()}
for name, (points, error) in gaps.items():
    print(f"{name:6s} start against TF-IDF: {points:+.1f} points, standard error {error:.1f}")
gain = [100 * (one - other) for one, other in zip(scores["GloVe"], scores["random"], strict=True)]
claim("points that the BiLSTM gains by GloVe", gain, ">", 0, headline=True)
claim("BiLSTM with GloVe minus TF-IDF, points", gaps["GloVe"][0], ">", -1)
claim("BiLSTM with GloVe on the test texts", scores["GloVe"], ">=", 0.77)
claim("BiLSTM with a random start on the test texts", scores["random"], ">=", 0.74)

# %% [markdown]
# A gap of less than two standard errors is a draw. So with GloVe the BiLSTM is level with TF-IDF here,
# and on the three folds it was two points ahead. Without GloVe it is behind, here and there. Order is
# no great help. Most opinions are in single words and pairs, which TF-IDF has as columns. A BiLSTM has to learn
# from 8,500 short texts what a word means *and* how words combine. GloVe does a part of the first half.
#
# Elsewhere linear models with pairs reach 0.78 to 0.79 on such sentences (Wang and Manning 2012; Pang
# and Lee 2005), and networks with vectors of 300 numbers 0.79 to 0.81 (Kim 2014).
#
# ## Chinese: pairs, chunks, and a start from counts
#
# The 17,325 Chinese reviews are longer. TF-IDF has columns for characters and for pairs of
# neighbours, and pairs help, because most words have two characters. So the network gets the pairs
# as well. At each position it adds two vectors: one of the character, one of the pair that ends
# there. A pair that occurs once would be learned by heart. So only pairs that occur four times have a
# row of their own, and the rest share one (`layers.PairEmbedding`).

# %%
zh = read_set("chinese-reviews")
z_train, t_train, z_valid, t_valid, z_test, t_test, z_both, t_both = zh
characters = text.train_characters(z_both, vocabulary_size=CHARACTERS, byte_fallback=False)
zh_both = characters.encode_batch(z_both)
lengths = np.array([len(one) for one in zh_both])
pairs = Counter(pair for one in zh_both for pair in pairwise(one))
frequent = sorted(pair for pair, n in pairs.items() if n >= 4)
print(f"characters in a review: {lengths.mean():.0f} on average")
print(f"reviews longer than {LENGTH}, which are cut: {np.mean(lengths > LENGTH):.1%}")
covered = sum(pairs[pair] for pair in frequent) / pairs.total()
print(f"{len(pairs):,} different pairs; the {len(frequent):,} frequent ones cover {covered:.0%} of the text")
for pair, count in pairs.most_common(5):
    print(characters.decode(pair), count)

# %% [markdown]
# To save time the LSTM reads **chunks**: the mean of four neighbouring positions, times 2, so that
# the spread of the numbers stays. That is a quarter of the steps. What is lost is the order within a
# chunk. A chunk is real when its first position is, because padding is on the right. **Spatial
# dropout** sets the same dimensions to zero at all positions of a text (Tompson et al. 2015).

# %%
CHUNK = 4


def chunk_bilstm(tokenizer, pairs, units, dim=64):
    """A model from ids to logits, and its chunks and their mask, half way."""
    ids = keras.Input((None,), dtype="int32", name="ids")  # (batch, time)
    real = ops.not_equal(ids, tokenizer.pad_id)
    x = PairEmbedding(tokenizer.vocabulary_size, pairs, dim, name="embedding")(ids)
    x = layers.Dropout(0.2, noise_shape=(None, None, 1))(x)  # token dropout
    x = ops.where(real[:, :, None], x, 0.0)  # (batch, time, dim)
    x = ops.pad(x, [[0, 0], [0, CHUNK - 1], [0, 0]])  # fills the last chunk
    chunks, mask = layers.AveragePooling1D(CHUNK)(x) * CHUNK**0.5, real[:, ::CHUNK]
    lstm = layers.LSTM(units, return_sequences=True)
    states = layers.Bidirectional(lstm)(layers.SpatialDropout1D(0.5)(chunks), mask=mask)
    pooled = [MaskedMax()(states, mask=mask), MaskedMean()(states, mask=mask)]
    pooled = layers.Dropout(0.7)(ops.concatenate(pooled, axis=-1))  # (batch, 4 * units)
    return keras.Model(ids, layers.Dense(2, name="logits")(pooled), name="body"), chunks, mask


# %% [markdown]
# There is no GloVe for pairs of characters. But lesson 09 made vectors from counts: the PPMI of each
# character and pair with the characters up to eight places away, and one SVD. No label is used.


# %%
def start_vectors(layer, ids, window=8, size=0.1):
    """Vectors from counts for the table of a `PairEmbedding`."""
    words = layer.vocabulary_size
    flat = np.concatenate([[*one, *[-1] * window] for one in ids])  # -1 stands between texts
    ends = ops.convert_to_numpy(layer.pair_rows(flat[None]))[0]
    counts = csr_matrix((words + len(layer.pairs) + 1, words))
    for rows in (flat, np.where(flat < 0, -1, ends)):
        for far in range(1, window + 1):
            for one, other in [(rows[:-far], flat[far:]), (rows[far:], flat[:-far])]:
                both = (one >= 0) & (other >= 0)
                here = one[both], other[both]
                counts += csr_matrix((np.ones(both.sum()), here), counts.shape)
    rows, columns = counts.nonzero()
    total = counts.sum(axis=0).A1 ** 0.75
    share = counts.data / counts.sum(axis=1).A1[rows]
    ppmi = np.maximum(np.log(share * total.sum() / total[columns]), 0)
    ppmi = csr_matrix((ppmi, (rows, columns)), counts.shape)
    U, S, _ = randomized_svd(ppmi, layer.output_dim, n_iter=2, random_state=0)
    vectors = U * np.sqrt(S)
    for part in (slice(words), slice(words, None)):  # characters, pairs
        vectors[part] *= size / vectors[part].std()
    return vectors


# %% [markdown]
# The network soon knows 14,000 texts by heart. So we train on *two* versions of each text: the text
# itself, and the text with its chunks moved a small way in the direction that hurts most. That is
# the gradient of the loss at the chunks, which backpropagation computes anyway (**adversarial
# training**: Goodfellow et al. 2015; for texts Miyato et al. 2017). The chain rule (lesson 04) lets
# the gradients of both versions be added at the chunks, and go down to the table together.


# %%
def slopes(trainer, chunks, mask, labels):
    """The gradients of the loss at the chunks and at the weights above them."""
    with tf.GradientTape() as tape:
        tape.watch(chunks)
        logits = trainer.top([chunks, mask], training=True)
        loss = trainer.compute_loss(y=labels, y_pred=logits)
    return loss, *tape.gradient(loss, [chunks, trainer.top.trainable_variables])


def moved_uphill(chunks, slope):
    """The chunks after a step of a tenth of their length along the gradient."""
    far = 0.1 * tf.norm(chunks, axis=[1, 2], keepdims=True)  # (batch, 1, 1)
    return chunks + far * slope / (tf.norm(slope, axis=[1, 2], keepdims=True) + 1e-12)


# %%
class Adversarial(keras.Model):
    """Trains a model on each batch, and on the batch moved uphill at its chunks."""

    def __init__(self, body, chunks, mask):
        super().__init__()
        self.body = body
        self.bottom = keras.Model(body.input, [chunks, mask])
        self.top = keras.Model([chunks, mask], body.output)

    def train_step(self, data):
        ids, labels = data
        with tf.GradientTape() as tape:
            chunks, mask = self.bottom(ids, training=True)  # (batch, time / CHUNK, dim)
        loss, slope, upper = slopes(self, chunks, mask, labels)
        _, other_slope, other_upper = slopes(self, moved_uphill(chunks, slope), mask, labels)
        upper = [one + other for one, other in zip(upper, other_upper, strict=True)]
        below, above = self.bottom.trainable_variables, self.top.trainable_variables
        lower = tape.gradient(chunks, below, output_gradients=slope + other_slope)
        self.optimizer.apply_gradients(zip(lower + upper, below + above, strict=True))
        return {"loss": loss}


# %% [markdown]
# The settings were found on the 13,829 training and validation texts, in six folds. Some 45 earlier
# designs, with hashed pairs, words or BPE, ended between 0.82 and 0.85. The last 35 were judged on
# three folds (standard error 0.4 points). TF-IDF has 0.845 there, and with triples of characters
# 0.851. The design before had 0.844. The start from counts alone had 0.842, with more dropout 0.844.
# Adversarial training alone had 0.845, with more dropout 0.843. All three had 0.850, and 0.853 with a
# row for each frequent pair. A step of 0.05 or 0.2 in place of 0.1, or six passes in place of eight,
# cost half a point. Then came the other three folds, which had no part in this list: the BiLSTM has
# **0.860**, TF-IDF 0.850, with triples 0.854. Three earlier designs were measured on the test texts
# (0.850, 0.851, 0.845). They are looked at once more, for this one.

# %%
body, chunks, mask = chunk_bilstm(characters, frequent, ZH_UNITS)
zh_model = tasks.TextClassifier(body, characters, LABELS, LENGTH)
trainer = compiled(Adversarial(body, chunks, mask), keras.optimizers.Adam())
zh_start = start_vectors(body.get_layer("embedding"), zh_both)
shape = {"batch_size": 256, "buckets": 10}
zh_runs = []
for seed in range(SEEDS):
    train_model(trainer, zh_both, t_both, seed, ZH_EPOCHS, 4e-3, zh_start, **shape)
    zh_runs.append(zh_model.classify(z_test)["positive"].to_numpy())
zh_scores = [accuracy(p, t_test) for p in zh_runs]
p_zh = tfidf(z_both, t_both, z_test, C=10, analyzer="char", min_df=2)
print(f"TF-IDF of characters and pairs: {accuracy(p_zh, t_test):.3f}")
print(f"BiLSTM: {np.mean(zh_scores):.3f}   seeds:", *(f"{s:.3f}" for s in zh_scores))

# %%
zh_gap, zh_error = gap(zh_runs, p_zh, t_test)
print(f"BiLSTM minus TF-IDF: {zh_gap:+.1f} points, standard error {zh_error:.1f}")
together = accuracy(np.mean(zh_runs, axis=0), t_test)
print(f"the mean answer of the {len(zh_runs)} BiLSTMs: {together:.3f}")
claim("Chinese BiLSTM minus TF-IDF, points", zh_gap, ">", 0, tolerance=0.5)
claim("the Chinese BiLSTM on test texts", zh_scores, ">=", 0.86, tolerance=0.005, headline=True)

# %% [markdown]
# The target of this course for these texts is 0.86, and the mean reaches it, by little. The lead over
# TF-IDF is about two standard errors here and a point on the fresh folds: real, and small. What won
# it is not a longer memory, but all that keeps 39,000 vectors from being learned by heart. Many of
# these "reviews" are single lines of longer ones without any opinion, which nobody can answer. The
# next large step needs a model that has read much more (lesson 15).
#
# ## The reading thread so far
#
# A dot is one seed, and a line shows one standard error of the test set to each side of the mean.

# %%
results = [
    ("English", "TF-IDF", [tfidf_score], len(test)),
    ("English", "BiLSTM, random start", scores["random"], len(test)),
    ("English", "BiLSTM, GloVe start", scores["GloVe"], len(test)),
    ("Chinese", "TF-IDF", [accuracy(p_zh, t_test)], len(z_test)),
    ("Chinese", "BiLSTM, with pairs", zh_scores, len(z_test)),
]
figure, panels = plt.subplots(2, 1, figsize=(8, 3.2), sharex=True, height_ratios=(3, 2))
for ax, language, color in zip(panels, ["English", "Chinese"], [BLUE, RED], strict=True):
    rows = [row for row in results if row[0] == language]
    for place, (_, name, found, size) in enumerate(rows):
        mean = np.mean(found)
        ax.plot([mean - np.sqrt(mean * (1 - mean) / size), mean + np.sqrt(mean * (1 - mean) / size)],
                [place, place], color=color, alpha=0.5)  # fmt: skip
        ax.plot(found, [place] * len(found), "o", color=color)
        print(f"{language} {name:22s} {mean:.3f}   {min(found):.3f} to {max(found):.3f}")
    ax.set_yticks(range(len(rows)), [row[1] for row in rows])
    ax.set(ylim=(-0.5, len(rows) - 0.5), title=f"{language} test texts")
panels[1].set_xlabel("accuracy")
show(
    figure,
    "Accuracies on the test texts, with error bars: TF-IDF and the BiLSTM with a random start and with"
    " GloVe in English; TF-IDF and the BiLSTM with pairs in Chinese.",
)

# %% [markdown]
# ## What the maximum looks at
#
# Max pooling lets us ask which words decide. Each of the 128 pooled numbers comes from one
# position, the winner. With $u = W_{\text{positive}} - W_{\text{negative}}$, the difference of the
# logits is a sum over the 128 numbers. So each winner's word gets $u_k h_{t,k}$, and the shares of
# the words add up to the answer. The cell checks that.

# %%
W, b = network.logits.get_weights()  # (2 * units, 2), (2,)
u = W[:, 1] - W[:, 0]  # (2 * units,)


def word_shares(snippet):
    """The tokens of a text, and what each adds to the logit of "positive"."""
    ids = np.array([english.encode(snippet)])  # (1, time)
    states = ops.convert_to_numpy(network.features(ids))[0]  # (time, 2 * units)
    winner = states.argmax(axis=0)  # (2 * units,), the position of each maximum
    shares = np.zeros(len(states))
    np.add.at(shares, winner, u * states.max(axis=0))
    return english.tokens(snippet), shares


# %%
SNIPPETS = [
    "By no means a great movie, but it is a refreshingly forthright one.",
    "There's no reason to miss Interview with the Assassin",
    "It is never dull, and not without charm.",
    "A film that should have been funny, but is not.",
]
off = 0
for snippet in SNIPPETS:
    logits = model.predict_on_batch(np.array([english.encode(snippet)]))[0]
    off = max(off, abs(word_shares(snippet)[1].sum() + b[1] - b[0] - (logits[1] - logits[0])))
claim("the shares add up to the logits", off, "<", 1e-4, exact=True)

# %%
figure, ax = plt.subplots(figsize=(8, 2.6))
renderer = figure.canvas.get_renderer()
for line, snippet in enumerate(SNIPPETS):
    tokens, shares = word_shares(snippet)
    place = 0.0
    for token, share in zip(tokens, shares, strict=True):
        shade = plt.get_cmap("RdBu_r")(0.5 + np.clip(share / 4, -0.5, 0.5))
        drawn = ax.text(place, -line, token, fontsize=9, va="center",
                        bbox={"facecolor": shade, "edgecolor": "none", "pad": 2, "alpha": 0.7})  # fmt: skip
        box = drawn.get_window_extent(renderer).transformed(ax.transData.inverted())
        place = box.x1 + 0.012
    answer = model.classify([snippet])["positive"].iloc[0]
    ax.text(place + 0.01, -line, f"→ {answer:.2f}", fontsize=9, va="center", fontweight="bold")
ax.set(ylim=(-len(SNIPPETS) + 0.4, 0.6), xlim=(0, 1.1))
ax.axis("off")
show(
    figure,
    "Four snippets, each word coloured by what it adds to the logit of positive: red for positive,"
    " blue for negative. At the end of each line stands the probability of positive.",
)

# %% [markdown]
# Now the two reviews of the beginning, and some more. A bag must answer the last two alike. A
# BiLSTM *can* tell them apart. Does it? Then the errors on texts with a negation.

# %%
phrases = ["good", "not good", "bad", "not bad", first, second]
answers = model.classify(phrases)["positive"].to_numpy()
for phrase, answer in zip(phrases, answers, strict=True):
    print(f"{phrase:16s} {answer:.2f}")

NEGATION = {"not", "no", "never", "without", "nothing", "isn't", "doesn't", "don't", "can't"}
has = np.array([bool(NEGATION & set(one.lower().split())) for one in test])
right = np.mean([(p > 0.5) == y_test for p in runs["GloVe"]], axis=0)
base = (p_tfidf > 0.5) == y_test
for name, group in [("with a negation", has), ("others", ~has)]:
    print(f"{name:16s} {group.sum():4d} texts: errors of TF-IDF {1 - base[group].mean():.3f},"
          f" of the BiLSTM {1 - right[group].mean():.3f}")  # fmt: skip
for i in np.flatnonzero((right == 1) & ~base & has)[:4]:
    print(f"only the BiLSTM: {test[i][:84]} ({LABELS[y_test[i]]})")

# %% [markdown]
# Look at "bad" and "not bad". The architecture could read negation. But reviewers rarely write
# "not bad", so few training texts teach it. On real snippets with a negation TF-IDF, which has
# columns for pairs such as "not only", errs less.
#
# ## Padding changes nothing, and a file holds everything
#
# First, put 60 places of padding behind every text, and replace the vector of the padding by large
# numbers. With masks in every layer the logits must stay what they were.

# %%
some = zh_model.encode(z_test[:64])  # (64, time)
before = zh_model.predict_on_batch(some)  # (64, 2)
table = zh_model.body.get_layer("embedding").get_weights()[0]
loud = table.copy()
loud[0] = 50.0  # the vector of the padding
zh_model.body.get_layer("embedding").set_weights([loud])
after = zh_model.predict_on_batch(np.pad(some, ((0, 0), (0, 60))))
zh_model.body.get_layer("embedding").set_weights([table])
far = np.abs(after - before).max()
claim("padding changes the logits by", far, "<", 1e-5, exact=True)

# %% [markdown]
# Second, save it and load it in a fresh Python process. The file holds the weights, the tokenizer
# and the names of the labels. So strings go in, and labelled probabilities come out.

# %%
folder = tempfile.TemporaryDirectory()
file = Path(folder.name) / "reviews.keras"
zh_model.save(file)
program = """
import json, sys, keras
import kerasllm.tasks
classifier = keras.saving.load_model(sys.argv[1])
print(json.dumps(classifier.classify(json.load(sys.stdin))["positive"].tolist()))
"""
fresh = subprocess.run(
    [sys.executable, "-c", program, str(file)],
    input=json.dumps(z_test[:64]), capture_output=True, text=True, check=True,
)  # fmt: skip
elsewhere = np.array(json.loads(fresh.stdout.splitlines()[-1]))
here = zh_model.classify(z_test[:64])
print(here[["label", "positive"]].head(3).to_string())
far = np.abs(here["positive"].to_numpy() - elsewhere).max()
claim("largest difference in a fresh process", far, "<", 1e-6, exact=True)

# %% [markdown]
# ## Three mistakes at prediction time
#
# A widely copied article trains a recurrent classifier and then uses it. Three things go wrong.
#
# > **Myth 1:** at prediction time, make a new `Tokenizer` and call `texts_to_sequences`.
# >
# > **Fact:** the vocabulary is learned by `fit_on_texts`. A new tokenizer knows no word and drops
# > all it does not know. Every text becomes the empty sequence, and all get the same answer.
#
# Keras 3 has no such class any more, so we write its two lines of logic. The cell gives the
# English model the ids of a tokenizer that knows the words, and of a new one.


# %%
def texts_to_sequences(texts, word_index):
    """The logic of the old Tokenizer: unknown words are dropped."""
    return [[word_index[w] for w in english.tokens(one) if w in word_index] for one in texts]


def rectangle(sequences):
    rows = np.zeros((len(sequences), LENGTH), "int32")
    for row, one in zip(rows, sequences, strict=True):
        row[: len(one[:LENGTH])] = one[:LENGTH]
    return rows


word_index = {word: place for place, word in enumerate(english.vocabulary)}
answers = {}
for name, index in [("fitted", word_index), ("new", {})]:
    sequences = texts_to_sequences(test[::5], index)
    logits = model.predict_on_batch(rectangle(sequences))
    answers[name] = logits.argmax(axis=1)
    print(f"{name:6s} tokenizer: {np.mean([not s for s in sequences]):.0%} empty,"
          f" {len(np.unique(logits[:, 1])):3d} different answers,"
          f" accuracy {np.mean(answers[name] == y_test[::5]):.3f}")  # fmt: skip
claim("a new tokenizer: different answers", len(np.unique(logits[:, 1])), "==", 1, exact=True)
claim("fitted: accuracy", np.mean(answers["fitted"] == y_test[::5]), ">", 0.65)

# %% [markdown]
# > **Myth 2:** `np.argmax(prediction)` gives the class of a sigmoid output.
# >
# > **Fact:** a sigmoid output is *one* number for each text. The largest of one number is number
# > 0, always. Compare with 0.5 instead. With two logits, as here, `argmax` is right.

# %%
one_output = p_tfidf[:, None]  # (texts, 1), as a sigmoid layer gives it
classes = np.argmax(one_output, axis=1)
print("classes found by argmax:", np.unique(classes))
print(f"accuracy {np.mean(classes == y_test):.3f}, with a threshold {accuracy(one_output[:, 0], y_test):.3f}")
claim("the largest class that argmax finds", classes.max(), "==", 0, exact=True)

# %% [markdown]
# > **Myth 3:** the code of 2019 still runs.
# >
# > **Fact:** Keras 3 has removed or refuses four of its habits. The cell tries each and prints the
# > first line of the answer. `input_length` is ignored with a warning. A whole model can still be
# > written as `.h5`; weights cannot, under that name.

# %%
small = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
small.compile("sgd", "mse")
habits = {
    "Tokenizer": lambda: importlib.import_module("keras.preprocessing.text").Tokenizer(),
    "input_length=": lambda: layers.Embedding(10, 4, input_length=3),
    "list labels": lambda: small.fit(np.zeros((2, 3)), [0, 1], verbose=0),
    "save_weights('w.h5')": lambda: small.save_weights(str(Path(folder.name) / "w.h5")),
}
refused = 0
for name, habit in habits.items():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning counts as an answer too
            habit()
    except (ImportError, UserWarning, ValueError) as error:
        refused += 1
        print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0].split(' Received')[0]}")
claim("old habits that Keras 3 refuses or warns about", refused, "==", 4, exact=True)
folder.cleanup()

# %% [markdown]
# For labels: `np.array`. For files: `model.save("name.keras")`, with the tokenizer inside.
#
# ## Summary
#
# 1. A recurrent network applies the same weights at every step. Its gradient is a product of as
#    many matrices as there are steps, and it vanishes or explodes.
# 2. An LSTM adds to a cell and multiplies it by a gate. What remains of the gradient is a product
#    of gates, and the gates are learned.
# 3. Padding must be masked in the LSTM and in the pooling. Buckets save the time it costs.
# 4. On 8,500 short texts a BiLSTM with GloVe is level with a good bag. Without GloVe it is behind.
#    On 14,000 Chinese texts with a start from counts and adversarial training it is a little ahead.
# 5. The tokenizer is a part of the model. Save both in one file and test it in a fresh process.
#
# ## Exercises
#
# [exercises/11_reading_in_order.ipynb](exercises/11_reading_in_order.ipynb): a recurrent step,
# an LSTM step, the label of a sigmoid output, the masked maximum, and the half-life of a forget
# gate, with a surprise about the start of Keras.
#
# ## References
#
# - Elman, J. L. (1990). Finding structure in time. *Cognitive Science* 14(2), 179–211.
# - Bengio, Y., Simard, P., and Frasconi, P. (1994). Learning long-term dependencies with gradient
#   descent is difficult. *IEEE Transactions on Neural Networks* 5(2), 157–166.
# - Hochreiter, S., and Schmidhuber, J. (1997). Long short-term memory. *Neural Computation* 9(8),
#   1735–1780.
# - Gers, F. A., Schmidhuber, J., and Cummins, F. (2000). Learning to forget: continual prediction
#   with LSTM. *Neural Computation* 12(10), 2451–2471. The forget gate.
# - Graves, A., and Schmidhuber, J. (2005). Framewise phoneme classification with bidirectional
#   LSTM and other neural network architectures. *Neural Networks* 18(5–6), 602–610.
# - Pang, B., and Lee, L. (2005). Seeing stars. *ACL*.
# - Wang, S., and Manning, C. (2012). Baselines and bigrams. *ACL*, short papers. Table 2.
# - Pascanu, R., Mikolov, T., and Bengio, Y. (2013). On the difficulty of training recurrent neural
#   networks. *ICML*. Section 2: vanishing, exploding, clipping.
# - Kim, Y. (2014). Convolutional neural networks for sentence classification. *EMNLP*. Table 2.
# - Polyak, B., and Juditsky, A. (1992). Acceleration of stochastic approximation by averaging.
#   *SIAM Journal on Control and Optimization* 30(4), 838–855.
# - Tompson, J., Goroshin, R., Jain, A., LeCun, Y., and Bregler, C. (2015). Efficient object
#   localization using convolutional networks. *CVPR*. Spatial dropout.
# - Goodfellow, I., Shlens, J., and Szegedy, C. (2015). Explaining and harnessing adversarial
#   examples. *ICLR*.
# - Pennington, J., Socher, R., and Manning, C. (2014). GloVe: global vectors for word
#   representation. *EMNLP*.
# - Gal, Y., and Ghahramani, Z. (2016). A theoretically grounded application of dropout in
#   recurrent neural networks. *NeurIPS*.
# - Conneau, A., Kiela, D., Schwenk, H., Barrault, L., and Bordes, A. (2017). Supervised learning
#   of universal sentence representations from natural language inference data. *EMNLP*. Section
#   3.2: BiLSTM with max pooling.
# - Miyato, T., Dai, A., and Goodfellow, I. (2017). Adversarial training methods for semi-supervised
#   text classification. *ICLR*. Section 3.
