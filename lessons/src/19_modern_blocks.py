# %% [markdown] tags=["edition-2"]
# # 19 · Modern blocks
#
# **What is each invention since GPT-2 worth?**
#
# **You need** lesson 05 (Muon), lesson 11 (gates), lesson 13 (heads, rotary positions), lesson 17 (the block of a
# GPT) and lesson 18 (the KV-cache).
#
# **You will build** the parts of a language model of today in NumPy, each in a few lines and equal to the
# library's: another normalisation, a gate, shared keys, a window, experts. Then you read a table in which changes
# were added, each alone, to GPT-2's block, and you train two of its runs again.
#
# **Time** about 2 minutes to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import math

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

from kerasllm.batches import windows
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram, attention_grid
from kerasllm.course.figures import BLUE, GREY, ORANGE, show, use_style
from kerasllm.data import load
from kerasllm.evaluation import log_probability
from kerasllm.layers import FeedForward, MixtureOfExperts, MultiHeadAttention, RotaryPositions
from kerasllm.models import GPT, gpt_settings
from kerasllm.text import train_bpe
from kerasllm.training import AdamW, warmup_linear

use_style()

# %%
STEPS = dial(400, smoke=4)  # training steps of the runs that are repeated here; the table has 400
AT_ONCE = dial(10, smoke=2)  # training steps in one call of the compiled function
VERSES = dial(None, smoke=150)  # verses of each part that are used; None means all
VOCABULARY = dial(1_024, smoke=300)  # number of tokens
LAYERS = dial(4, smoke=1)  # blocks of the models that are repeated
SEED = 0  # the seed that is repeated: it names the batches

# %% [markdown]
# ## Nine inventions and one question
#
# The block of lesson 17 is that of GPT-2, from 2019. Open the settings of a model of today, Llama, Qwen or Gemma,
# and nearly every part has another name. Each change came with a paper in which it helped. But the papers compare
# different models on different texts, with different budgets, and a model that adopts six changes at once does not
# say which of them it needs. A change may also help only because another one is missing.
#
# So a fair table adds each change *alone* to GPT-2's block, and takes each *alone* out of a modern block, which has
# most of them. Everything else is equal: text, tokens, batches, steps, judge. If a change helps in both places, it is
# worth something by itself. Such a table takes more than an hour of training, so it was made once, at two sizes and
# with three seeds, and comes with the course.
#
# Nine changes stand in it. Two of them you know: Muon from lesson 05, and rotary positions from lesson 13. We build
# the other seven first, each in a few lines. Ask of each whether it was made to write better, to learn more safely
# or to cost less: before the table you will put all nine in the order of their worth.

# %% tags=["hide"]
# @title Drawing: GPT-2's block and a modern one
sheet = Diagram(8.2, 3.75)
rows = {
    "GPT-2": (2.95, ["layer\nnorm", "attention\n4 heads", "layer\nnorm", "dense, GELU,\ndense"], "given"),
    "modern": (1.0, ["RMSNorm", "attention", "RMSNorm", "SwiGLU\nor experts"], "subject"),
}
for name, (y, boxes, meaning) in rows.items():
    x, low = 0.95, y - 0.72
    sheet.text((0.08, y), name, align="left", size=11)
    for norm, layer in (boxes[:2], boxes[2:]):
        plus = sheet.circle("+", (x + 3.2, low), meaning="state")
        sheet.arrow((x, low), plus.left, meaning="state", width=2.6)
        small = sheet.box(norm, (x + 0.85, y), meaning=meaning, width=0.85, height=0.52, size=8.5)
        large = sheet.box(layer, (x + 2.2, y), meaning=meaning, width=1.2, height=0.52, size=8.5)
        sheet.arrow((x + 0.2, low), small.left, through=[(x + 0.2, y)])
        sheet.arrow(small.right, large.left)
        sheet.arrow(large.right, plus.top, through=[(x + 3.2, y)])
        x = plus.right[0]
    sheet.arrow((x, low), (8.1, low), meaning="state", width=2.6)
sheet.text((3.15, 1.43), "rotary, QK-norm, shared keys, window", meaning="subject", size=8.5)
sheet.text(
    (0.95, 3.45), "a table of positions is added before the first block", meaning="given", size=8.5, align="left"
)
sheet.text((0.95, 0.1), "trained by Muon in place of AdamW", meaning="subject", size=8.5, align="left")
show(sheet.figure, "Two blocks below each other with the same stream and the same two plus signs. GPT-2's has layer"
     " norm, attention and dense layers; the modern one RMSNorm, another attention, SwiGLU or experts.")  # fmt: skip

# %% [markdown]
# The drawing shows what did *not* change: the stream, the two parts and the two plus signs are those of lesson 17.
# The inventions are other fillings of the boxes, so we can build them one after the other.
#
# ## A simpler normalisation
#
# Layer normalisation subtracts the mean of a token's numbers and divides by their standard deviation. An
# **RMSNorm** leaves out the first half: it divides by the root of the mean square and subtracts nothing (Zhang and
# Sennrich 2019). As in layer normalisation, each number is then multiplied by a trained *scale*, which begins at 1.
# On paper, with that 1: the squares of $(2, 4, 6)$ have the mean $56/3 = 18.67$, whose root is 4.32, so the
# result is $(0.46, 0.93, 1.39)$. The direction of the vector stays, and its length becomes $\sqrt 3$. The argument
# for it is not that it learns better, but that the subtraction costs time and nobody has shown that it is needed.


# %%
def rms_norm(x, scale=1.0, epsilon=1e-6):
    """x (..., dim): divided by the root mean square of its last axis."""
    return scale * x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + epsilon)


def layer_norm(x, epsilon=1e-6):
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + epsilon)


for vector in ([2.0, 4.0, 6.0], [12.0, 14.0, 16.0]):
    print(vector, "RMSNorm", rms_norm(np.array(vector)).round(2), "  layer norm", layer_norm(np.array(vector)).round(2))
theirs = keras.layers.RMSNormalization(epsilon=1e-6)(np.array([[2.0, 4.0, 6.0]]))
assert np.allclose(rms_norm(np.array([2.0, 4.0, 6.0])), theirs, atol=1e-5)  # ours is Keras'

# %% [markdown]
# The second line shows the difference. A constant that is added to all numbers is invisible to layer
# normalisation, and RMSNorm lets it pass. That need not be a loss: the matrices that make such a constant can learn
# not to.
#
# ## A gate, or a square
#
# The dense layers of GPT-2 compute $\text{GELU}(xW_1)W_2$. A **SwiGLU** layer has a third matrix, whose outputs
# are a gate: they decide how much of each hidden unit passes (Shazeer 2020). The gates of lesson 11 were sigmoids,
# so they lay between 0 and 1 and could only make a number smaller. This one is $\text{silu}(z) = z \cdot \sigma(z)$,
# a smooth ReLU: close to 0 if $z$ is far below 0, and close to $z$ if it is far above. The layer computes
#
# $$ \big(\text{silu}(x W_\text{gate}) \odot x W_\text{value}\big) W_\text{out} $$
#
# where $\odot$ multiplies number by number. Take one unit whose value is 3. If its gate gets 0, then $\text{silu}(0)
# = 0$ and nothing passes. If it gets 2, $\text{silu}(2) = 2 \cdot 0.88 = 1.76$, and 5.28 passes. So a unit can
# multiply two things that it has read, which a sum followed by an activation cannot.
#
# A third matrix would make the layer half as large again, and larger is better anyway. So the hidden layer has
# $\frac{8}{3} d$ units in place of $4d$: three matrices with $3 \cdot \frac{8}{3} d^2 = 8 d^2$ weights stand against
# two with $2 \cdot 4 d^2 = 8 d^2$. (Ours round the units to a multiple of 8.) A simpler idea keeps the two matrices
# and changes the activation to squared ReLU, $\max(0, z)^2$. A square is a product too, of a sum with itself. But
# nobody derived it: a search through many programs found it (So et al. 2021).


# %%
def silu(z):
    return z / (1 + np.exp(-z))


def squared_relu(z):
    return np.maximum(z, 0) ** 2


def swiglu(x, w_value, w_gate, w_out):
    """x (..., dim), w_value and w_gate (dim, hidden), w_out (hidden, dim)."""
    return (silu(x @ w_gate) * (x @ w_value)) @ w_out


z = np.array([-2.0, 0.0, 2.0, 4.0])
print("a value of 3 behind the gates", z, "is", (3 * silu(z)).round(2), "; their squared ReLU is", squared_relu(z))

# %%
x = np.random.default_rng(0).normal(size=(7, 12)).astype("float32")
library = FeedForward(32, activation="silu", gated=True, use_bias=False)
library.build(x.shape)
matrices = {weight.path.split("/")[-2]: ops.convert_to_numpy(weight) for weight in library.weights}
ours = swiglu(x, matrices["expand"], matrices["gate"], matrices["project"])
print(f"ours and the library's differ by {np.abs(ours - library(x)).max():.0e} at most")
assert np.allclose(ours, library(x), atol=1e-5)

# %% [markdown]
# ## Four changes of attention
#
# Rotary positions you know from lesson 13: queries and keys are turned by their place, and no table is added. The
# other three are as short. In **QK-norm** each query and each key is divided by its root mean square before they meet
# (Henry et al. 2020). A vector of $d$ numbers then has the length $\sqrt d$. So a dot product is at most $d$, and a
# score, which is divided by $\sqrt d$, is at most $\sqrt d$ times the trained scales, however large the weights grow.
# On paper: $q = (3, 4)$ and $k = (30, 40)$ have the score $250 / \sqrt 2 = 177$. Beside it every smaller score gets
# no weight at all, and softmax has no slope left from which to learn. Normalised, both have the length $\sqrt 2$, and
# the score is $2 / \sqrt 2 = 1.41$.
#
# The other two were made to save memory, not bits. The KV-cache of lesson 18 holds a key and a value for every token,
# every head and every block. With **grouped-query attention** several heads of queries share one head of keys and
# values (Ainslie et al. 2023): with 4 heads of queries and 2 of keys the cache is half as large. Our tables say
# *shared keys*. A **sliding window** lets a token see only the last few tokens, itself included (Beltagy et al.
# 2020). What has left the window can be forgotten, so the cache stops growing. Usually only some of the blocks have a
# window, so that the others can still look far back. The drawing shows which pairs remain; each word shares its look
# equally, so a row with few pairs is dark. Guess before the count below it: 4 blocks, 128 tokens, 2 heads of keys in
# place of 4, and a window of 32 tokens in every second block. How much of the cache is left?

# %% tags=["hide"]
# @title Drawing: a causal mask and a window of three
words = ["in", "the", "beginning", "god", "made", "light"]
steps = np.subtract.outer(np.arange(6), np.arange(6))
masks = {"causal": steps >= 0, "a window of three": (steps >= 0) & (steps < 3)}
looks = {name: mask / mask.sum(axis=1, keepdims=True) for name, mask in masks.items()}
figure = attention_grid(looks, words, allowed=masks)
show(figure, "Which of six words may look at which. Under the causal mask each word sees itself and all before it. With"
     " a window of three each sees itself and two before it; all farther pairs are hatched.")  # fmt: skip


# %%
def turn(x):
    """Rotary positions of lesson 13: x (heads, time, d), each vector turned by its place."""
    angles = np.arange(x.shape[1])[:, None] * 10_000.0 ** (-np.arange(0, x.shape[2], 2) / x.shape[2])
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], axis=-1)


def attention(x, wq, wk, wv, wo, heads, kv_heads, window):
    """x (time, dim); wk and wv are narrower than wq where heads of queries share keys and values."""
    time, d = len(x), wq.shape[1] // heads
    q = turn(rms_norm((x @ wq).reshape(time, heads, d).swapaxes(0, 1)))  # (heads, time, d)
    k = turn(rms_norm((x @ wk).reshape(time, kv_heads, d).swapaxes(0, 1)))  # (kv_heads, time, d)
    v = (x @ wv).reshape(time, kv_heads, d).swapaxes(0, 1)
    k, v = (np.repeat(part, heads // kv_heads, axis=0) for part in (k, v))  # each serves a group of queries
    back = np.subtract.outer(np.arange(time), np.arange(time))  # how many places back
    scores = np.where((back >= 0) & (back < window), q @ k.swapaxes(1, 2) / math.sqrt(d), -1e9)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = e / e.sum(axis=-1, keepdims=True) @ v  # (heads, time, d)
    return mixed.swapaxes(0, 1).reshape(time, -1) @ wo


# %%
library = MultiHeadAttention(4, num_kv_heads=2, causal=True, window=3, rotary=RotaryPositions(), use_bias=False,
                             qk_norm=keras.layers.RMSNormalization(epsilon=1e-6))  # fmt: skip
x = np.random.default_rng(0).normal(size=(7, 32)).astype("float32")
library.build((None, 7, 32))
kernels = [
    ops.convert_to_numpy(one.kernel) for one in (library.query, library.key, library.value, library.output_dense)
]
assert np.allclose(attention(x, *kernels, 4, 2, 3), library(x[None])[0], atol=1e-4)  # ours is the library's
print("kernels of queries, keys, values, output:", *(kernel.shape for kernel in kernels))
for name, kv_heads, near in [("GPT-2", 4, 0), ("shared keys", 2, 0), ("and a window in every second block", 2, 2)]:
    held = [2 * kv_heads * 16 * (32 if block < near else 128) for block in range(4)]
    print(f"{name:36s} {sum(held):6,d} numbers in the cache of 128 tokens: 4 blocks, heads of 16 numbers")

# %% [markdown]
# Half the keys is half the cache. With the windows less than a third is left, 20,480 of 65,536 numbers, although two
# of the four blocks still see everything. Exercise 3 asks what becomes of that in a longer text.
#
# ## A mixture of experts
#
# Most weights of a block, 8 of every 12 (lesson 17), stand in its dense layers, and every token pays for all of them.
# In a **mixture of experts** there are several such networks side by side, and a small trained matrix, the router,
# chooses for each token the few that compute its output (Shazeer et al. 2017). The model gets more weights at the
# same number of FLOPs a token. On paper: the router gives four experts the probabilities 0.5, 0.1, 0.3, 0.1. The
# best two are the first and the third, with the shares $0.5 / 0.8 = 0.625$ and $0.3 / 0.8 = 0.375$, and the output
# is that mix of the two. The paper is older than GPT-2 and put them between layers of LSTMs; now they stand in the
# block of a GPT.
#
# How can a router learn? A choice of the best two has no slope. But the shares have one: the output changes smoothly
# with them, so the gradient says which of the chosen experts should have had more. There is a trap in it. An expert
# that is chosen more often learns more, is therefore better, and is chosen more often still. A small term in the loss,
# which grows when the experts are used unevenly, works against that (Fedus et al. 2022). Our runs have it.


# %%
def experts(x, router, w_value, w_gate, w_out, used=2):
    """x (time, dim), router (dim, experts), the others with one matrix for each expert in front."""
    output = np.zeros_like(x)
    for place, token in enumerate(x):
        p = np.exp(token @ router)
        best = np.argsort(-p)[:used]
        for expert in best:
            share = p[expert] / p[best].sum()
            output[place] += share * swiglu(token, w_value[expert], w_gate[expert], w_out[expert])
    return output


library = MixtureOfExperts(num_experts=4, experts_per_token=2, hidden_dim=8)
library.build((None, None, 32))
stacks = [ops.convert_to_numpy(one.kernel) for one in (library.expand, library.gate, library.project)]
router = ops.convert_to_numpy(library.router.kernel)
assert np.allclose(experts(x, router, *stacks), library(x[None])[0], atol=1e-5)  # ours is the library's
print("router", router.shape, "  values, gates and outputs of the experts", *(one.shape for one in stacks))

# %% [markdown]
# (The library computes every expert and multiplies what was not chosen by 0, which is simpler and slower. So our
# seconds do not show what experts save.) The last of the nine, Muon, is the optimiser of lesson 05. It makes all
# directions in the update of a matrix equally long.
#
# ## The experiment
#
# Now put the nine in the order of their worth: rotary positions, RMSNorm, SwiGLU, squared ReLU, QK-norm, shared keys,
# a sliding window, experts, Muon. Which of them do you expect to make the model *worse*?
#
# The models read the King James Bible in 1,024 subwords, 8 pieces of 128 tokens a step, 400 steps: a short warm-up,
# then a rate that falls to 0 in a straight line. There are three seeds and two sizes: small, with 4 blocks of width
# 64, and large, with 6 blocks of width 96. *Modern* means seven changes at once: rotary positions, RMSNorm, SwiGLU,
# QK-norm, 2 heads of keys for 4 of queries, a window of 32 tokens in every second block, and Muon. The other two are
# put *into* the modern block, and have a control of their own. Squared ReLU stands in the place of SwiGLU, so it is
# held against GELU in the same block. There are four experts, half as wide as one network, and a token uses two. They
# are gated themselves, so they are held against one gated network.
#
# Learning rates are a trap. An optimiser at the wrong rate loses against any other, so each of the two optimisers
# has, in each of the two blocks, the best rate on the validation books: it was doubled or halved until both
# neighbours were worse, with a seed that is not used again. All designs with the same seed read the same batches,
# so that two runs differ in the change alone, and we can subtract seed by seed. The runs are made by
# `benchmarks/modern_blocks.py`, and all of them come with the course as a set.
#
# First we look at what chance does to two blocks that nobody changed. Read the last four lines of the next output
# one at a time: the same block, the same rate, but other batches and other starting weights.

# %%
runs = load("modern-blocks")  # a row for each run
table = runs[runs.chosen]  # without those that chose a rate
bits = table.pivot_table(index="seed", columns=["size", "design"], values="test")  # the test books
# A design is called after its block, such as "modern-muon": the first word.
groups = table.assign(block=table["design"].str.extract(r"(\w+)", expand=False)).groupby(["size", "block", "optimizer"])
print(groups.agg(runs=("design", "size"), seeds=("seed", "nunique"), rate=("rate", "unique")), "\n")
weights = table.pivot_table(index="size", columns="design", values="parameters")
print(weights[["gpt2", "gpt2+rope", "gpt2+swiglu", "gpt2+gqa", "modern"]].astype(int).to_string(), "\n")
for size in bits.columns.unique("size"):
    for block in ("gpt2", "modern"):
        print(f"{size:6s} {block:7s} bits of the test books by seed", bits[size, block].round(3).tolist())

# %% [markdown]
# At the small size one seed of GPT-2's block is more than a tenth of a bit behind the other two, although nothing
# but the batches and the starting weights is different. All changes of the block are held against these same three
# runs, so a table with that seed alone would praise nearly every change. This is why we subtract within a seed, look
# at all seeds, and trust no difference that has another sign in another pair of runs.
#
# So we judge a change by a rule that is simple and strict. It *saves* bits if it does so in all six pairs, two sizes
# times three seeds. It *costs* bits if it does so in all six. Otherwise we cannot tell. A change that does nothing
# passes by luck like six coins that fall on the same side: twice in 64 throws. Our table gives 18 verdicts, and $18
# \cdot 2/64$ is about a half, so one of them may well be luck.
#
# The middle of the output says what is not equal. A gate leaves the weights as they are, within 1%. But rotary
# positions need no table, and shared keys take away 6 or 7% of the weights, so equal bits would be a success for them.

# %%
CHANGES = {
    "rotary positions": "rope", "RMSNorm": "rmsnorm", "SwiGLU": "swiglu", "squared ReLU": "squared_relu",
    "QK-norm": "qk_norm", "shared keys": "gqa", "sliding window": "window", "experts": "experts", "Muon": "muon",
}  # fmt: skip


def pair(change, block):
    """The designs with a change and without it."""
    if change == "squared_relu":
        return ("gpt2+squared_relu", "gpt2") if block == "gpt2" else ("modern-swiglu+squared_relu", "modern-swiglu")
    if change == "experts":
        return ("gpt2+swiglu+experts", "gpt2+swiglu") if block == "gpt2" else ("modern+experts", "modern")
    return (f"gpt2+{change}", "gpt2") if block == "gpt2" else ("modern", f"modern-{change}")


def saved(size, change, block):
    """Bits a character that a change saves, one number for each seed."""
    with_it, without = ((size, design) for design in pair(change, block))
    return (bits[without] - bits[with_it]).to_numpy()


# %% [markdown]
# What a change is worth is now one subtraction: the bits without it minus the bits with it, for each seed.
# Positive numbers are bits saved. In the table below stand the means of three seeds, in how many of the six pairs
# bits were saved, and the verdict. In the figure a dot is one pair, and the bar ends at their mean. Compare the two
# blocks in each row: does a change help in both of them?


# %%
def verdict(saved):
    """What all sizes and seeds agree on."""
    word = "saves" if (saved > 0).all() else "costs" if (saved < 0).all() else "cannot tell"
    return f"{(saved > 0).sum()} of {len(saved)}   {word}"


SIZES, BLOCKS = ("small", "large"), ("gpt2", "modern")
worth = {(size, name, block): saved(size, change, block)
         for size in SIZES for name, change in CHANGES.items() for block in BLOCKS}  # fmt: skip
six = {key: np.concatenate([worth[size, *key] for size in SIZES]) for key in {key[1:] for key in worth}}
for block, place in zip(BLOCKS, ("in GPT-2's block", "in the modern block"), strict=True):
    print(f"bits saved {place:33s} small    large    saved in")
    for name in CHANGES:
        small, large = (worth[size, name, block].mean() for size in SIZES)
        print(f"   {name:40s} {small:+.3f}   {large:+.3f}   {verdict(six[name, block])}")

# %% tags=["hide"]
# @title Figure: what each change is worth
paints = {"gpt2": (BLUE, -0.16, "saved in GPT-2's block"), "modern": (ORANGE, 0.16, "saved in the modern block")}
drawn = sorted(CHANGES, key=lambda name: -np.mean([worth[size, name, block] for size in SIZES for block in BLOCKS]))
figure, axes = plt.subplots(1, len(SIZES), figsize=(8.4, 1.6 + 0.32 * len(drawn)), sharey=True, sharex=True)
for ax, size in zip(axes, SIZES, strict=True):
    for row, name in enumerate(drawn):
        for block, (paint, lift, _) in paints.items():
            one = worth[size, name, block]
            ax.plot([0, one.mean()], [row + lift] * 2, color=paint, lw=2)
            ax.plot(one, [row + lift] * len(one), "o", color=paint, ms=4.5, mec="white", mew=0.6)
    ax.axvline(0, color=GREY, lw=1)
    shape = "4 blocks of width 64" if size == "small" else "6 blocks of width 96"
    ax.set(xlabel=f"bits a character saved, {shape}", yticks=range(len(drawn)), yticklabels=drawn)
    ax.set_ylim(len(drawn) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
for paint, _, words in paints.values():
    axes[0].plot([], [], "o-", color=paint, label=words)
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
axes[0].set_title("The optimiser and the positions are worth most")
show(figure, "Bits saved by each change, one dot a seed, in two panels for two sizes. Muon saves most, rotary"
     " positions come next; SwiGLU is a loss in GPT-2's block and a gain in the modern one.")  # fmt: skip

# %% [markdown]
# Two changes save bits in both blocks, at both sizes, with every seed. The larger one is not a change of the block at
# all: it is the optimiser, which lesson 05 introduced. The other is a change of attention, rotary positions. A GPT-2
# begins with a table of random vectors and has to learn from text what "the place before" means. Rotary attention has
# the distance in its scores from the first step. That is a likely reason why it is worth so much in runs as short as
# ours, although the table cannot prove it.
#
# For SwiGLU the answer depends on the block. It costs bits in every pair of GPT-2's block and saves bits in every
# pair of the modern one, more of them at the larger size. QK-norm is of this kind too: it is worth most in the larger
# modern block, and in the larger block of GPT-2 nothing. So "does it help?" has no answer without the words "in what".
# The two blocks differ in seven things at once, the optimiser among them, so the table does not say which of them a
# gate needs. For two more changes the verdicts differ and the pairs hardly do. The window saves bits in six pairs of
# the modern block and in five of GPT-2's, and squared ReLU the other way round. "Cannot tell" does not mean that a
# change does nothing there.
#
# The window is a surprise: a model that sees *less* writes better. It was invented to make the cache smaller, and
# one would be content if it cost nothing. With so little training, a short view may be a help rather than a loss,
# because most of what predicts a subword stands near it. We have not tested this reason.
#
# For RMSNorm, shared keys and experts there is no verdict in either block. In the modern block their differences
# are also small, about 0.01 on average at most. For RMSNorm that is what its paper promises: the same quality with a
# little less work. Shared keys lose in five pairs of six there, but by no more than that, with fewer weights and half
# of the cache. Four experts have twice the weights of one network at nearly the same operations, and win in five of
# six, but by so little that the weights do not pay. In so short a training each expert sees few tokens. This too is a
# guess.
#
# ## Two cells, repeated
#
# A table that somebody hands you should be checked. So we train two of its runs again, GPT-2's block with the
# table of positions and with rotary ones, at the small size and with seed 0. The same seed means the same batches
# and the same starting weights. On another machine sums are rounded in another order, so we expect nearly the same
# result, and not the same last digit.

# %%
verses, parts = load("king-james"), ("train", "test")
texts = {part: [f"{text}\n" for text in verses.text[verses.split == part]][:VERSES] for part in parts}
tokenizer = train_bpe(texts["train"], VOCABULARY)
ids = {part: tokenizer.encode_flat(texts[part])[0] for part in texts}


def run_again(positions, rate):
    """The bits a character of the test books after a run of the table."""
    shape = {"context_length": 128, "num_layers": LAYERS, "embedding_dim": 64, "use_bias": False}
    settings = gpt_settings(VOCABULARY, positions=positions, **shape)
    keras.utils.set_random_seed(SEED)
    model = GPT(settings)
    schedule = warmup_linear(rate, STEPS, max(1, STEPS // 20))
    optimizer = AdamW(schedule, weight_decay=0.1, beta_2=0.99, epsilon=1e-8, global_clipnorm=1.0, undecayed=["gamma"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, steps_per_execution=AT_ONCE)
    model.fit(windows(ids["train"], context=128, batch_size=8, seed=SEED, steps=STEPS), shuffle=False, verbose=0)
    total = log_probability(model, [tokenizer.encode("\n")], [ids["test"]], stride=64).total[0]
    return -total / math.log(2) / sum(map(len, texts["test"]))


# %%
again = {}
for design, positions in {"gpt2": "learned", "gpt2+rope": "rotary"}.items():
    row = table[(table["size"] == "small") & (table["design"] == design) & (table["seed"] == SEED)].iloc[0]
    again[design] = run_again(positions, row["rate"])
    print(f"{design:10s} the table has {row['test']:.3f}, here {again[design]:.3f} bits a character")
print(f"a run reads {STEPS * 8 * 128:,} of {len(ids['train']):,} training tokens")
here, there = again["gpt2"] - again["gpt2+rope"], saved("small", "rope", "gpt2")[0]
print(f"rotary positions save {there:.3f} in the table, {here:.3f} here")

# %% [markdown]
# The repeated runs agree with the table far better than two seeds agree with each other. They read less than half of
# the training books once, as all runs of the table do. We have now checked two rows of 120, and with the library that
# made them: a fault of the library would be in both. The script is there for whoever wants to repeat the rest.

# %%
best = max((name for name in CHANGES if name != "Muon"), key=lambda name: six[name, "gpt2"].mean())
found = Claims("What we measured: bits a character that are saved, test books, two sizes and three seeds")
found.claim("Muon saves more than any other single change to GPT-2's block", six["Muon", "gpt2"], ">",
            six[best, "gpt2"], control=f"the best of the others, {best}", unit="bits",
            headline="in GPT-2's block Muon alone saves {measured} a character, the next best {bound}")  # fmt: skip
found.claim("Rotary positions save bits in each of twelve pairs; the smallest number",
            min(min(six["rotary positions", block]) for block in BLOCKS), ">", 0, unit="bits",
            control="the same block with a table of positions, the same batches")  # fmt: skip
found.claim("SwiGLU costs bits in GPT-2's block in each of six pairs; the largest number", max(six["SwiGLU", "gpt2"]),
            "<", 0, control="one network of equal size without a gate, the same rate", unit="bits")  # fmt: skip
found.claim("In the modern block it saves bits in each of six; the smallest number", six["SwiGLU", "modern"].min(),
            ">", 0, control="the modern block without a gate", unit="bits")  # fmt: skip
found.claim("In every pair RMSNorm changes the modern block less than QK-norm ever does",
            max(abs(six["RMSNorm", "modern"])), "<", min(six["QK-norm", "modern"]), unit="bits",
            control="the smallest saving by QK-norm, the same block and seeds")  # fmt: skip
found.claim("The repeat of one pair agrees with the table", abs(here - there), "<",
            np.ptp(worth["small", "rotary positions", "gpt2"]), unit="bits",
            control="how far the three seeds of that pair are apart")  # fmt: skip
found.show()

# %% [markdown]
# ## What can go wrong
#
# A common mistake in such a comparison is to change a block and keep the learning rate. The runs that chose the
# rates show what comes of it. They are on the validation books, with AdamW, at the small size; the modern block has
# all its changes but Muon. Compare the columns in each row, and then the best numbers of the columns.

# %%
tried = runs[~runs.chosen & (runs["size"] == "small") & (runs["optimizer"] == "adamw")]
rate_of = tried.pivot(index="rate", columns="design", values="validation")
NAMES = {"gpt2": "GPT-2's block", "gpt2+swiglu": "with SwiGLU", "modern-muon": "modern block"}
print(rate_of[list(NAMES)].rename(columns=NAMES).to_string(na_rep=""))

# %% [markdown]
# At the rate 0.008 somebody would report that the modern block is worse than GPT-2's, and at half of it that it is
# better. Both reports would be honest, and both would be as much about the rate as about the block.
#
# Does that explain the loss of the gate in GPT-2's block? The table gave it the block's rate, 0.004, where it loses
# 0.087 bits here. At half that rate it loses 0.072 against the block's best, which is less and still a loss. So the
# rate is a small part of the reason at most, as far as one seed can say. The other changes were not given a rate of
# their own, and the table is about tiny models and short runs. Narang et al. (2021) tried many changes at a much
# larger scale with one code, and found that most of them did not help. Gates were among the few that did.

# %%
rates = Claims("What the rates change: bits a character, validation books, one seed")
old, gated, modern = (rate_of[name] for name in NAMES)
rates.claim("At one common rate the better block looks worse", modern[0.008], ">", old[0.008], unit="bits",
            control="GPT-2's block at the same rate")  # fmt: skip
rates.claim("At its own best rate it is better", modern.min(), "<", old.min(), unit="bits",
            control="GPT-2's block at its best rate",
            headline="with AdamW at its best rate the modern block needs {measured}, GPT-2's {bound}")  # fmt: skip
rates.show()

# %% [markdown]
# ## Summary
#
# - The stream, the two parts and the plus signs of GPT-2's block are still there. What changed is what stands in
#   the boxes, and how it is trained.
# - RMSNorm leaves out the mean. SwiGLU multiplies what a unit has read by a gate. QK-norm keeps scores small.
#   Shared keys and windows make the cache smaller. Experts are weights that a token does not pay for.
# - Muon and rotary positions save bits in both blocks, at two sizes, with three seeds. SwiGLU costs bits in GPT-2's
#   block and saves bits in the modern one. QK-norm and a window save bits in the modern block.
# - For RMSNorm, shared keys and experts six pairs do not agree on a sign.
# - A change is worth something only against the same model without it, on the same batches. Each side should have
#   its best rate; in our table each block and optimiser has, a single change has not.
# - What saves memory is not meant to save bits: judge it by the cache.
#
# ## Exercises
#
# Open [exercises/19_modern_blocks.ipynb](exercises/19_modern_blocks.ipynb). You write RMSNorm, give each head its
# shared keys, count what remains in a cache, choose experts, and judge a table of runs. In the experiment you find
# out what QK-norm does when weights grow. Each answer is checked.
#
# ## References
#
# - J. Su and others (2021). RoFormer: enhanced transformer with rotary position embedding. arXiv:2104.09864.
#   Section 3.2.
# - B. Zhang, R. Sennrich (2019). Root mean square layer normalization. *NeurIPS*. Section 4.
# - N. Shazeer (2020). GLU variants improve transformer. arXiv:2002.05202. Section 2.
# - D. So and others (2021). Primer: searching for efficient transformers for language modeling. *NeurIPS*. Section
#   4: squared ReLU.
# - A. Henry and others (2020). Query-key normalization for transformers. *Findings of EMNLP*. Section 3.
# - J. Ainslie and others (2023). GQA: training generalized multi-query transformer models. *EMNLP*. Section 2.2.
# - I. Beltagy, M. Peters, A. Cohan (2020). Longformer: the long-document transformer. arXiv:2004.05150. Section
#   3.1: the window.
# - N. Shazeer and others (2017). Outrageously large neural networks: the sparsely-gated mixture-of-experts layer.
#   *ICLR*. Section 2.
# - W. Fedus, B. Zoph, N. Shazeer (2022). Switch transformers. *JMLR* 23. Section 2.2: the loss that keeps experts
#   even.
# - K. Jordan and others (2024). Muon: an optimizer for hidden layers in neural networks (a report with code).
# - S. Narang and others (2021). Do transformer modifications transfer across implementations and applications?
#   *EMNLP*. Section 3.2: the same question at a larger scale.
