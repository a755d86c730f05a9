# %% [markdown]
# # 18 · Decoding
#
# **A language model gives every token a probability. Which token should be written, and how fast?**
#
# **You need** lesson 12 (bits, temperature), lesson 13 (attention, rotary positions, masks) and
# lesson 17 (GPT). The model of this lesson is trained already and comes with the course.
#
# **You will build** the ways to choose a token, from greedy to beam search, a GPT in NumPy with a
# key-value cache, and speculative decoding. Each is compared with the library, and measured.
#
# **Time** about 2 minutes to run on a 2-core laptop; reading takes longer.

# %%
import math
import re
import time
import warnings
from itertools import pairwise

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

from kerasllm import weights
from kerasllm.course import claim, settings
from kerasllm.data import load
from kerasllm.evaluation import log_probability
from kerasllm.generation import Beam, Greedy, Sampling, generate, stream
from kerasllm.generation.compiling import compiled
from kerasllm.models import GPT, gpt_settings
from kerasllm.course.figures import BLUE, GREEN, ORANGE, PURPLE, RED, show, use_style

use_style()
with warnings.catch_warnings():  # a notice about progress bars that we do not use
    warnings.simplefilter("ignore")
    import keras_hub

# %%
BLOCKS, TEXTS, BEAM_TEXTS, NEW, TURNS, READ, DRAWS, PEER = settings(
    smoke=(1, 3, 1, 8, 1, 2_000, 200, (1, 64)),
    cpu=(None, 16, 6, 100, 5, None, 10_000, (4, 256)),
    gpu=(None, 200, 50, 128, 10, None, 100_000, (4, 256)),
)
# BLOCKS      how many blocks of the model are used; None means all
# TEXTS       beginnings from the test books, each continued in every way
# BEAM_TEXTS  how many of them beam search continues
# NEW         tokens written behind each
# TURNS       how often a time is measured; the shortest counts
# READ        verses of the training books that are counted for the draft; None means all
# DRAWS       texts drawn from a toy model to check a distribution
# PEER        layers and width of the model that is also run by KerasHub

# %% [markdown]
# ## The obvious way, and what comes of it
#
# The model is a GPT with the blocks of today: rotary positions, RMS normalisation, normalised
# queries and keys, squared ReLU. It is the GPT of an hour at the end of lesson 17: trained on the
# training books of the King James Bible, in 2,048 word pieces (lesson 08). The obvious way to write:
# take the most probable token, append it, ask again. This is **greedy decoding**. Watch how it ends.

# %%
model, tokenizer = weights.pretrained("king-james-gpt")
model.blocks = model.blocks[:BLOCKS]
V, CONTEXT = model.vocabulary_size, model.context_length
print(f"{len(model.blocks)} blocks, width {model.settings.embedding_dim}, {model.count_params():,} weights")
print(f"{V} tokens, context of {CONTEXT}\n")
print(generate(model, "And it came to pass", NEW, tokenizer=tokenizer))

# %% [markdown]
# The beginning is good Biblical English. Then the text repeats itself. Is that an accident of this
# one prompt? We take beginnings of 16 tokens from the *test* books and let the model go on. The
# text that really follows there is the human continuation.
#
# Measure repetition: of all runs of four tokens in a text, the share that occurred before in the
# same text (Welleck et al. 2020).

# %%
verses = load("king-james")  # text, label (the book), split, chapter, verse
books = {split: verses["text"][verses["split"] == split] + "\n" for split in ("train", "test")}
test = np.concatenate(tokenizer.encode_batch(books["test"]))
[LINE] = tokenizer.encode("\n")  # the end of a verse
BEGIN = 16
starts = np.flatnonzero(test[: -2 * CONTEXT] == LINE) + 1  # verses begin here
starts = starts[np.linspace(0, len(starts) - 1, TEXTS).astype(int)]
prompts = [test[s : s + BEGIN].tolist() for s in starts]
human = [test[s + BEGIN : s + BEGIN + NEW].tolist() for s in starts]


def repeated(ids, n=4):
    """Share of the runs of n tokens that occurred before in the same text."""
    runs = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    return 1 - len(set(runs)) / len(runs)


# %% [markdown]
# `generate` takes ids too, and many prompts at once. Without a sampler it is greedy.


# %%
def continued(prompts, sampler, seed=0):
    """The NEW tokens behind each prompt."""
    texts = generate(model, prompts, NEW, sampler, seed=seed, stop_tokens=[])
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]


written = {"human": human, "greedy": continued(prompts, Greedy())}
repeats = {name: np.mean([repeated(ids) for ids in texts]) for name, texts in written.items()}
for name, share in repeats.items():
    print(f"{name:8s} {share:.0%} of the runs of four tokens are repetitions")
claim("greedy repeats more than humans do, by", repeats["greedy"] - repeats["human"], ">", 0.1, headline=True)

# %% [markdown]
# Why does it happen? The choice depends mostly on the last few tokens. When a phrase comes back, the
# same choice follows it, and the circle is closed. Greedy decoding cannot leave it, because it never
# takes anything but the best. In large models a second cause is added: the more often a phrase was
# repeated, the more probable it becomes (Holtzman et al. 2020, figure 4).
#
# ## From logits to a token
#
# So we must draw. On paper, take five tokens with the probabilities 0.4, 0.3, 0.15, 0.1, 0.05.
#
# - **Temperature** divides the logits by $T$. $T = 1/2$ squares the probabilities: 0.16, 0.09,
#   0.0225, 0.01, 0.0025, with the sum 0.285. The first becomes 0.56.
# - **Top-k** (Fan et al. 2018) keeps the $k$ best. $k = 2$ keeps 0.4 and 0.3: divided by their
#   sum, 0.57 and 0.43.
# - **Top-p**, or nucleus sampling (Holtzman et al. 2020), keeps the smallest set of best tokens
#   whose sum reaches $p$. For $p = 0.8$: 0.4 + 0.3 is too little, with 0.15 it is 0.85. It keeps three.
# - **Min-p** (Nguyen et al. 2024) keeps what has at least a share of the best probability. For 0.2
#   the border is $0.2 \cdot 0.4 = 0.08$. It keeps four.
#
# Each is two or three lines. What is cut gets weight 0; `draw` shares out the rest.


# %%
def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def top_k(p, k):
    return np.where(p >= np.sort(p, axis=-1)[:, -k, None], p, 0)  # (rows, V)


def top_p(p, share):
    order = np.argsort(-p, axis=-1)
    best_first = np.take_along_axis(p, order, axis=-1)
    better = np.cumsum(best_first, axis=-1) - best_first  # the sum of all that are more probable
    result = np.zeros_like(p)
    np.put_along_axis(result, order, np.where(better < share, best_first, 0), axis=-1)
    return result


def min_p(p, share):
    return np.where(p >= share * p.max(axis=-1, keepdims=True), p, 0)


def draw(p, uniforms):
    reached = np.cumsum(p, axis=-1)  # the last one is the sum of what is left
    return np.argmax(reached >= uniforms[:, None] * reached[:, -1:], axis=-1)


# %% [markdown]
# The library's `Sampling` has the same rules. Its method `choose` takes logits and the random
# numbers. `logits_of` asks the model for the logits at all places of a text. `compiled` is the
# library's wrapper: `tf.function` on TensorFlow, `jit` on JAX. What stands behind a text cannot
# change its logits, because the mask is causal. So short texts may be filled up.

# %%
OURS = {
    "temperature 0.5": (Sampling(0.5), lambda z: softmax(z / 0.5)),
    "top-k of 2": (Sampling(top_k=2), lambda z: top_k(softmax(z), 2)),
    "top-p of 0.8": (Sampling(top_p=0.8), lambda z: top_p(softmax(z), 0.8)),
    "min-p of 0.2": (Sampling(min_p=0.2), lambda z: min_p(softmax(z), 0.2)),
}
all_at_once = compiled(lambda model, ids: model(ids), model, "lesson: all at once", xla=False)


def logits_of(ids):
    """Logits at every place of texts of equal length, all at once: (texts, time, V)."""
    length = np.shape(ids)[1]
    filled = np.pad(ids, ((0, 0), (0, -length % 64))).astype("int32")  # fewer shapes to compile
    return ops.convert_to_numpy(all_at_once(filled))[:, :length]


def chosen(sampler, logits, uniforms):
    tokens, _, _ = sampler.choose(logits, uniforms, None, sampler.start([()] * len(logits), logits.shape[1]))
    return ops.convert_to_numpy(tokens)


# %% [markdown]
# With the same random numbers both must take the same tokens: on the toy always, on real logits but
# for rounding. The real logits are those of 320 places in the test books. The toy's printed shares
# are the numbers from the paper.

# %%
toy = np.log(np.tile([0.4, 0.3, 0.15, 0.1, 0.05], (1_000, 1))).astype("float32")
steps = (np.arange(1_000) + 0.5) / 1_000
real = logits_of(test[None, :320])[0]
rng = np.random.default_rng(0)
uniforms = 1 - rng.random(len(real))
others = {"toy": 0, "real": 0}
for name, (sampler, ours) in OURS.items():
    for which, logits, u in [("toy", toy, steps), ("real", real, uniforms)]:
        tokens = draw(ours(logits.astype("float64")), u)
        others[which] += np.sum(tokens != chosen(sampler, logits, u.astype("float32")))
        if which == "toy":
            print(f"{name:16s}", *(f"{share:.3f}" for share in np.bincount(tokens, minlength=5) / 1_000))
claim("toy: draws that differ from the library's", others["toy"], "==", 0, exact=True)
claim("real logits: share that differs", others["real"] / (4 * len(real)), "<", 0.01, exact=True)

# %% [markdown]
# Why cut at all? Look at the many tokens of small probability. Each alone is nothing. Together they
# are drawn often, and a single bad token spoils what follows. The cell adds up all tokens below
# 0.001, then asks how probable it is that 100 draws avoid them all.

# %%
p = softmax(real.astype("float64"))
tail = np.where(p < 0.001, p, 0).sum(axis=1).mean()
print(f"tokens below 0.001 have {tail:.3f} together; 100 draws without one: {(1 - tail) ** 100:.4f}")
claim("probability of the long tail", tail, ">", 0.02)

# %% [markdown]
# Where do the cuts fall? The entropy of a distribution, $-\sum p \log_2 p$, says how unsure the model
# is. The figure takes a place with low and one with high entropy. A border beyond the 40th token is drawn
# at the right edge.

# %%
entropy = -(p * np.log2(np.maximum(p, 1e-12))).sum(axis=1)
figure, panels = plt.subplots(1, 2, figsize=(9, 3.1))
for ax, place in zip(panels, np.argsort(entropy)[[len(p) // 10, -len(p) // 10]], strict=True):
    best = np.sort(p[place : place + 1])[:, ::-1]
    kept = [int(np.sum(cut > 0)) for cut in (top_k(best, 10), top_p(best, 0.9), min_p(best, 0.05))]
    ax.bar(range(1, 41), best[0, :40], color="0.75", width=0.9)
    rules = zip(kept, ["top-k 10", "top-p 0.9", "min-p 0.05"], [BLUE, ORANGE, GREEN], strict=True)
    for n, name, color in rules:
        ax.axvline(min(n + 0.5, 41), color=color, ls="--" if color == GREEN else "-", lw=2, label=f"{name} keeps {n}")
    context = tokenizer.decode(test[: place + 1])[-28:].replace("\n", " / ")
    ax.set(title=f"…{context} …", xlabel="tokens, the most probable first", yscale="log", ylim=(1e-4, 1.2))
    ax.legend(loc="upper right", framealpha=1, frameon=True)
panels[0].set_ylabel("probability")
show(figure, "Probabilities of the 40 best next tokens in two contexts, on a logarithmic axis, with the"
     " borders of top-k, top-p and min-p. Top-k keeps ten in both; the other two keep few where the"
     " model is sure and more where it is not.")  # fmt: skip

# %% [markdown]
# Top-k keeps ten in both: too many on the left, perhaps too few on the right. Top-p and min-p
# follow the model.
#
# Another cure works on the circle itself. A **repetition penalty** (Keskar et al. 2019) lowers the
# logits of all tokens that stand in the text already: divide them by a number above 1. A negative
# logit is *multiplied*; divided, it would rise.


# %%
def penalized(logits, texts, penalty):
    result = logits.copy()
    for row, text in zip(result, texts, strict=True):
        seen = sorted(set(text))
        row[seen] = np.where(row[seen] > 0, row[seen] / penalty, row[seen] * penalty)
    return result


last = logits_of(prompts)[:, -1]
penalty = Sampling(top_k=1, repetition_penalty=1.3)
theirs, _, _ = penalty.choose(last, np.ones(len(last), "float32"), None, penalty.start(prompts, V))
ours = penalized(last, prompts, 1.3).argmax(axis=-1)
other = np.sum(ours != ops.convert_to_numpy(theirs))
claim("penalised: choices that differ from the library's", other, "==", 0, exact=True)
print("changed by the penalty:", np.sum(ours != last.argmax(axis=-1)), "of", len(prompts))

# %% [markdown]
# The price: "the" and the comma are punished too, although every text needs them.
#
# ## Is the most probable text the best one?
#
# Greedy takes the best *token*. That need not lead to the best *text*. On paper: "a" has
# probability 0.6, and its two continuations have 0.5 each. "b" has 0.4, and one continuation with
# 0.98. Greedy writes "a" and gets $0.6 \cdot 0.5 = 0.30$. "b" would have given
# $0.4 \cdot 0.98 = 0.39$.
#
# **Beam search** keeps the best `width` texts instead of one. Each step continues all of them with
# every token and keeps the best again. A width of 1 is greedy.


# %%
def log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def beam_search(prompt, count, width):
    ids, scores = np.array([prompt]), np.zeros(1)  # (width, time), (width,)
    for _ in range(count):
        totals = scores[:, None] + log_softmax(logits_of(ids)[:, -1].astype("float64"))  # (width, V)
        best = np.argsort(-totals, axis=None)[:width]
        ids = np.concatenate([ids[best // V], best[:, None] % V], axis=1)
        scores = totals.ravel()[best]
    return ids[0].tolist()


few = min(NEW, 24)
ours = beam_search(prompts[0], few, width=4)
theirs = generate(model, prompts[0], few, Beam(4), stop_tokens=[])
print("greedy:", tokenizer.decode(written["greedy"][0][:few]).replace("\n", " / "))
print("beam:  ", tokenizer.decode(ours[BEGIN:]).replace("\n", " / "))
claim("tokens of our beam search that differ", np.sum(np.array(ours) != theirs), "==", 0, exact=True)

# %% [markdown]
# Now the test. Does the search find more probable text, and is that text better? `surprise` is
# the cost of lesson 12, $-\log_2 p$, for each new token. A low mean is a probable text.


# %%
def surprise(prompts, texts):
    """Bits of each token behind its prompt: (texts, tokens)."""
    return -np.stack(log_probability(model, prompts, texts).tokens) / math.log(2)


some = prompts[:BEAM_TEXTS]
written["beam of 4"] = continued(some, Beam(4))
bits = {name: surprise(some, texts[:BEAM_TEXTS]) for name, texts in written.items()}
for name, cost in bits.items():
    again = np.mean([repeated(ids) for ids in written[name][:BEAM_TEXTS]])
    print(f"{name:10s} {cost.mean():5.2f} bits a token, {again:4.0%} repeated")
claim("bits a token saved by the beam against greedy", bits["greedy"].mean() - bits["beam of 4"].mean(), ">", 0)
beam_repeats = np.mean([repeated(ids) for ids in written["beam of 4"]])
claim("the beam repeats more than humans do, by", beam_repeats - repeats["human"], ">", 0.1)
claim("bits a token: human text costs more, by", bits["human"].mean() - bits["beam of 4"].mean(), ">", 2)

# %% [markdown]
# The beam finds more probable text, as promised. And the text repeats itself as greedy text does.
# The human text is far *less* probable. So the search is not too weak; the goal is wrong. (For a
# task with one right answer, such as the translation of lesson 14, the goal is right: there beams
# help.) The figure shows the cost token by token, also of text that is drawn.
#
# A remark on `rules`: `generate` compiles anew when a rule is switched on that was off before. Here
# top-p and the penalty are always on, with values that change nothing. That saves the waiting.


# %%
def rules(**changes):
    return Sampling(**{"top_p": 1 - 1e-6, "repetition_penalty": 1 + 1e-6, **changes})


written["drawn"] = continued(prompts, rules())
figure, ax = plt.subplots(figsize=(9, 3))
for name, color in [("human", "0.3"), ("drawn", GREEN), ("beam of 4", RED)]:
    ax.plot(surprise(prompts[:1], written[name][:1])[0, :64], color=color, lw=1.3, label=name)
ax.set(xlabel="token of the continuation", ylabel="bits", title="What each token costs the model")
ax.legend(loc="upper right", ncols=3)
show(figure, "Bits of each token for a human continuation, one drawn from the model and one of beam"
     " search. Human and drawn text jump between 0 and more than 10 bits; beam search stays low.")  # fmt: skip

# %% [markdown]
# Humans do not write what is most probable. A text in which every word can be guessed says nothing
# (Holtzman et al. 2020, section 4.2).
#
# ## Quality against diversity
#
# Now all strategies on the same beginnings. Four numbers, none of them perfect:
#
# - bits per character of the text under the model itself: near the human number is good;
# - repetition, as above;
# - **distinct-2**: the share of different pairs of tokens in a text (Li et al. 2016);
# - real words: the share of words that occur in the training books. Word pieces can be put
#   together wrongly.

# %%
known = set(re.findall("[a-z]+", " ".join(books["train"]).lower()))


def figures(texts):
    """Bits per character, share repeated, distinct-2, share of real words."""
    letters = sum(len(tokenizer.decode(ids)) for ids in texts)
    bits = surprise(prompts[: len(texts)], texts).sum() / letters
    pairs = np.mean([len(set(pairwise(ids))) / (len(ids) - 1) for ids in texts])
    # The last word may be cut off.
    words = [w for ids in texts for w in re.findall("[a-z]+", tokenizer.decode(ids).lower())[:-1]]
    real_words = sum(w in known for w in words) / max(1, len(words))
    return bits, np.mean([repeated(ids) for ids in texts]), pairs, real_words


ways = {f"T = {T}": rules(temperature=T) for T in (0.5, 0.7, 0.85, 1.2, 1.5)}
ways |= {"top-p 0.9": rules(top_p=0.9), "min-p 0.05": rules(min_p=0.05)}
ways |= {"greedy, penalty 1.3": rules(top_p=1e-6, repetition_penalty=1.3)}  # one token is left: the best
written["T = 1.0"] = written.pop("drawn")
for name, sampler in ways.items():
    written[name] = continued(prompts, sampler)
table = {name: figures(texts) for name, texts in written.items()}
print("                      bits/char   repeated   distinct-2   real words")
for name, (cost, again, pairs, words) in sorted(table.items(), key=lambda row: row[1]):
    print(f"{name:20s} {cost:10.2f} {again:10.1%} {pairs:12.2f} {words:12.1%}")

# %% [markdown]
# The figure puts two of the numbers against the bits. The human text is the star. The blue line is
# the temperature.

# %%
TEMPERATURES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5)
MARKS = [("greedy", "s", RED), ("beam of 4", "D", RED), ("top-p 0.9", "v", ORANGE), ("min-p 0.05", "P", GREEN)]
MARKS += [("greedy, penalty 1.3", "^", PURPLE), ("human", "*", "0.2")]
figure, (ax, beside) = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True)
line = np.array([table[f"T = {T}"] for T in TEMPERATURES])
for axes, column, label in [(ax, 1, "share repeated"), (beside, 2, "distinct-2")]:
    axes.plot(line[:, 0], line[:, column], "o-", color=BLUE, label="temperature 0.5 to 1.5")
    for name, marker, color in MARKS:
        size = 15 if name == "human" else 8
        axes.plot(*[table[name][i] for i in (0, column)], marker, ms=size, color=color, label=name)
    axes.axvline(table["human"][0], color="0.2", lw=0.8, ls=":")
    axes.set(xlabel="bits per character under the model", ylabel=label)
beside.legend(fontsize=8, loc="lower right", frameon=True, framealpha=1)
show(figure, "Repetition and distinct pairs against bits per character. As the temperature rises, repetition"
     " falls and bits rise, and the curve passes near the human text. Greedy and beam search are far off.")  # fmt: skip
human_bits, line_bits = table["human"][0], line[:, 0]
natural = float(np.interp(human_bits, line_bits, TEMPERATURES))
print(f"as surprising as human text: temperature {natural:.2f}")
claim("bits of text drawn at T = 1 as a share of human text's", table["T = 1.0"][0] / human_bits, "<", 0.95)
claim("bits of text drawn at T = 1.5 as a share of human text's", line_bits[-1] / human_bits, ">", 1)
claim("share repeated at T = 0.5, minus that at T = 1.5", line[0, 1] - line[-1, 1], ">", 0.05)
claim("real words at T = 0.5, minus those at T = 1.5", line[0, 3] - line[-1, 3], ">", 0.02)

# %% [markdown]
# The dial of the temperature runs from dull to wild. Along it real words are lost. One might expect
# that $T = 1$, the model as it is, surprises it as much as a human text. It does so only if its
# probabilities are right. These are too sure: it read the training books six times, and books that it
# has not read surprise it more than what it writes itself. So the two meet only above 1.
#
# The cuts are points near the curve: they take away the tail and leave the rest. The penalty cures
# the repetition of greedy decoding, and the text stays far more predictable than a human's. No point
# *is* the human one in all four numbers, and none of the numbers asks whether the text makes sense.
# People judge that. A common choice is a temperature a little below 1 with top-p or min-p.
#
# Contrastive search (Su et al. 2022) is one more way. It takes one of the $k$ best tokens, and
# subtracts a penalty when the token's vector is close to a vector of the text so far. KerasHub has
# it as `keras_hub.samplers.ContrastiveSampler`. The documentation of `kerasllm.generation` shows in
# ten lines how our GPT is given to it.
#
# ## Why is it slow?
#
# So far the question was *which* token. Now: how fast? Our `logits_of` reads the whole text for
# every new token. That is a waste. The mask is causal: an old token cannot see the new one. So
# nothing that was computed for the old tokens changes. And what does the new token need from them?
# Attention asks for their **keys** and **values**, nothing else. Keep these two for each token and
# block. That is the **KV cache**.
#
# The next two cells are a whole GPT in NumPy that reads one token at a time. First its weights and
# two helpers from lesson 13.


# %%
def kernel(layer):
    return ops.convert_to_numpy(layer.weights[0]).astype("float64")  # each of these layers has one array


embedding, last_norm, head = map(kernel, (model.embed, model.final_norm, model.logits))
blocks = []
for block in model.blocks:
    look, feed = block.attention, block.feed_forward
    parts = [block.attention_norm, look.query, look.key, look.value, look.query_norm, look.key_norm]
    parts += [look.output_dense, block.feed_forward_norm, feed.expand, feed.project]
    blocks.append([kernel(part) for part in parts])
HEADS = model.blocks[0].attention.num_heads
HEAD_DIM = model.settings.embedding_dim // HEADS
speeds = 10_000.0 ** (-np.arange(0, HEAD_DIM, 2) / HEAD_DIM)


def rms(x, scale, epsilon=1e-5):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + epsilon) * scale


def turn(x, position):
    a, b = np.split(x, 2, axis=-1)
    cos, sin = np.cos(position * speeds), np.sin(position * speeds)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


# %% [markdown]
# Now the step. The cache holds two lists for each block. The new key and value are appended. When
# the context is full, the oldest are dropped: a token sees the last 256 and no more. There is no
# mask. What is not in the list cannot be seen.


# %%
def read(token, position, cache):
    """The logits after one more token, (V,). The cache grows."""
    x = embedding[token]  # (dim,)
    for (norm, query, key, value, query_norm, key_norm, out, second_norm, expand, project), (keys, values) in zip(
        blocks, cache, strict=True
    ):
        h = rms(x, norm)
        q, k, v = ((h @ kernel).reshape(HEADS, HEAD_DIM) for kernel in (query, key, value))
        keys.append(turn(rms(k, key_norm, 1e-6), position))
        values.append(v)
        del keys[:-CONTEXT], values[:-CONTEXT]
        K, Vs = np.array(keys), np.array(values)  # (tokens, heads, head_dim) each
        scores = np.einsum("hd,thd->ht", turn(rms(q, query_norm, 1e-6), position), K) / math.sqrt(HEAD_DIM)
        x = x + np.einsum("ht,thd->hd", softmax(scores), Vs).ravel() @ out
        h = rms(x, second_norm)
        x = x + np.maximum(h @ expand, 0) ** 2 @ project
    return rms(x, last_norm) @ head


# %% [markdown]
# The proof: a text longer than the context, token by token through our cache, and all at once
# through the library's model without one. If a single key were wrong, dropped too early or too
# late, the logits would differ.

# %%
long = test[: CONTEXT + 64]
cache = [([], []) for _ in blocks]
step_by_step = np.array([read(token, position, cache) for position, token in enumerate(long)])
at_once = logits_of(long[None])[0]
inside, past = (np.abs(step_by_step - at_once)[part].max() for part in (slice(CONTEXT), slice(CONTEXT, None)))
print(f"{len(long)} tokens, logits between {at_once.min():.1f} and {at_once.max():.1f}")
claim("cached against uncached logits, largest difference", inside, "<", 1e-4, exact=True)
claim("and past the context", past, "<", 1e-4, exact=True)
kept_numbers = sum(np.size(part) for pair in cache for part in pair)
print(f"the cache holds {kept_numbers:,} numbers, {4 * kept_numbers / 2**20:.2f} MiB in float32")

# %% [markdown]
# > **Myth:** past the context a cache gives what one gets by reading the last 256 tokens anew.
# >
# > **Fact:** not with more than one block. The oldest key in the cache was made when *its* 256
# > predecessors were visible. Through the blocks the model still feels tokens that no single look
# > can reach. Reading anew cuts them off.
#
# The cell measures the difference. Neither is wrong, but a test that compares one with the other
# must fail.

# %%
anew = logits_of(long[None, -CONTEXT:])[0, -1]
gap = np.abs(anew - step_by_step[-1]).max()
claim("reading the last tokens anew differs by", gap, ">", 1e-3)

# %% [markdown]
# ## What a token costs
#
# Without the cache a token at place $n$ costs a pass over $n$ tokens. With it, one token, and a
# look at $n$ keys. The library's model takes a cache too: `model(ids, cache=cache)` returns logits
# and the new cache, which knows how far the text has come. It is a fixed array, a **ring**: position
# 256 is written where position 0 stood. The next cell measures processor time at several places,
# relative to the cheapest.

# %%
one_more = compiled(lambda model, ids, cache: model(ids, cache=cache), model, "lesson: cached", xla=False)


def processor_seconds(work, repeat):
    used = []
    for _ in range(TURNS):
        started = time.process_time()
        for _ in range(repeat):
            work()
        used.append((time.process_time() - started) / repeat)
    return min(used)


# %% [markdown]
# The uncached model reads $n$ tokens for a token at place $n$; the cached one reads a single token.

# %%
PLACES = [CONTEXT * i // 4 for i in (1, 2, 3, 4)]
ring = model.make_cache(1, CONTEXT)


def cost_at(n):
    """Processor seconds of one more token at place n, without and with a cache."""
    ids = test[None, :n].astype("int32")
    before = one_more(ids[:, :-1], ring)[1]
    one_more(ids[:, -1:], before)  # compiles
    return processor_seconds(lambda: logits_of(ids), 1), processor_seconds(lambda: one_more(ids[:, -1:], before), 5)


cost = dict(zip(("without cache", "with cache"), zip(*map(cost_at, PLACES), strict=True), strict=True))

# %% [markdown]
# The figure divides all times by the shortest one.

# %%
cheapest = max(min(cost["with cache"]), 1e-9)
figure, ax = plt.subplots(figsize=(7, 3))
for (name, seconds), color in zip(cost.items(), [ORANGE, BLUE], strict=True):
    ax.plot(PLACES, np.array(seconds) / cheapest, "o-", color=color, label=name)
ax.set(xlabel="place of the token", ylabel="processor time", xticks=PLACES, ylim=(0, None))
ax.set_title("Cost of one more token, the cheapest = 1")
ax.legend()
show(figure, "Processor time of one more token against its place. Without a cache it rises in a"
     " straight line; with a cache the line is flat and near 1.")  # fmt: skip
rise = {name: seconds[-1] / max(seconds[0], 1e-9) for name, seconds in cost.items()}
for name, times in rise.items():
    print(f"{name:13s} place {PLACES[-1]} costs {times:.1f} times what place {PLACES[0]} costs")
claim("with cache: last place over first", rise["with cache"], "<", 2)
claim("at the last place the cache saves a factor of", cost["without cache"][-1] / cheapest, ">", 4)

# %% [markdown]
# `generate` adds a second trick. The loop over tokens is itself compiled: Python is called once for
# up to 128 tokens, not once for each. Its first call must compile, later calls do not. The cell
# compares it with the plain loop, and the ids must be the same.


# %%
def without_cache(prompt, count):
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(logits_of([ids])[0, -1].argmax()))
    return ids


def race(turns, **runners):
    """The shortest time of each; they take turns, after one call each that compiles."""
    results, best = {name: run() for name, run in runners.items()}, dict.fromkeys(runners, math.inf)
    for _ in range(turns):
        for name, run in runners.items():
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
    return results, best


start = tokenizer.encode("And it came to pass")
texts, best = race(1, plain=lambda: without_cache(start, NEW), ours=lambda: generate(model, start, NEW, stop_tokens=[]))
claim("ids that differ", np.sum(np.array(texts["plain"]) != texts["ours"]), "==", 0, exact=True)
claim("speed over the loop without cache, times", best["plain"] / best["ours"], ">", 4)

# %% [markdown]
# ## Against KerasHub
#
# Is that fast, or was our opponent slow? KerasHub has a cache and a compiled loop too. For a fair
# race both need the same model: its GPT-2, small and with random weights, and ours with the same
# numbers copied in. Both must write the same ids.

# %%
LAYERS, WIDTH = PEER
keras.utils.set_random_seed(0)
backbone = keras_hub.models.GPT2Backbone(V, LAYERS, 4, WIDTH, 4 * WIDTH, dropout=0.0, max_sequence_length=256)
for variable in backbone.weights:  # larger weights, so that the text is not one token
    variable.assign(variable + rng.normal(0, 0.05, variable.shape))
theirs = keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)
theirs.compile(sampler="greedy")

# %% [markdown]
# The two libraries store the same matrices in other shapes: KerasHub's have an axis for the heads.

# %%
ours = GPT(gpt_settings(V, 256, LAYERS, 4, WIDTH, activation="gelu_tanh"))
pairs = [(ours.embed, backbone.token_embedding), (ours.place, backbone.position_embedding)]
for block, layer in zip(ours.blocks, backbone.transformer_layers, strict=True):
    mine, other = block.attention, layer._self_attention_layer
    pairs += [(block.attention_norm, layer._self_attention_layer_norm)]
    pairs += [(mine.query, other._query_dense), (mine.key, other._key_dense)]
    pairs += [(mine.value, other._value_dense), (mine.output_dense, other._output_dense)]
    pairs += [(block.feed_forward_norm, layer._feedforward_layer_norm)]
    pairs += [(block.feed_forward.expand, layer._feedforward_intermediate_dense)]
    pairs += [(block.feed_forward.project, layer._feedforward_output_dense)]
for one, other in [*pairs, (ours.final_norm, backbone.layer_norm)]:
    for variable, source in zip(one.weights, other.weights, strict=True):
        variable.assign(ops.reshape(source, variable.shape))

# %% [markdown]
# The first call is timed alone. Then both take turns, and the shortest time of each counts.

# %%
prompt = rng.integers(0, V, (1, 32))
padded = np.concatenate([prompt, np.zeros((1, NEW), int)], axis=1).astype("int32")
known_part = (np.arange(32 + NEW) < 32).astype("int32")[None]
inputs = {"token_ids": padded, "padding_mask": known_part}
runners = {
    "kerasllm": lambda: np.array(generate(ours, prompt, NEW, stop_tokens=[])),
    "kerashub": lambda: np.array(theirs.generate(inputs, stop_token_ids=None)["token_ids"]),
}
for name, run in runners.items():
    started = time.perf_counter()
    run()
    print(f"{name}: first call, about {time.perf_counter() - started:.0f} s")
texts, best = race(min(TURNS, 3), **runners)
claim("ids that differ from KerasHub's", np.sum(texts["kerasllm"] != texts["kerashub"]), "==", 0, exact=True)
claim("speed over KerasHub's, times", best["kerashub"] / best["kerasllm"], ">", 1.3, headline=True)

# %% [markdown]
# The first call compiles for several seconds in both libraries. A program that writes one
# sentence and stops will not see the speed. (`benchmarks/generate.py` runs this race at a larger
# size and for batches.)
#
# ## Several texts at once
#
# Prompts in a batch have different lengths. `generate` fills the short ones up on the *left*, so
# that all of them end at the same place, and forbids everybody to look at the filling. Then each
# text must be what its prompt gives alone. We cut our beginnings to different lengths.

# %%
uneven = [prompt[: 1 + 7 * i % BEGIN] for i, prompt in enumerate(prompts)]
together = generate(model, uneven, NEW, stop_tokens=[])
alone = [generate(model, prompt, NEW, stop_tokens=[]) for prompt in uneven[:3]]
for text, prompt in zip(together, uneven[:3], strict=False):
    print(f"{len(prompt):2d} tokens:", tokenizer.decode(text)[:70].replace("\n", " / "))
claim("texts of the batch equal to those alone", sum(map(list.__eq__, alone, together)), "==", 3, exact=True)

# %% [markdown]
# ## Guess first, check later
#
# One token at a time, each call of the model reads every weight to produce a single token. Reading
# five tokens in one call takes hardly more: the weights are read once. But the next five tokens are
# not known. **Speculative decoding** (Leviathan et al. 2023; Chen et al. 2023) guesses them. A
# cheap **draft** model writes $k$ tokens. The big model reads all of them in *one* call and gives
# its own probabilities at each place. Good guesses are kept, the first bad one is replaced, and the
# rest is thrown away.
#
# The rule must not change what is written. Call the probabilities of the draft $q$ and those of
# the big model $p$. A token $x$ was drawn from $q$:
#
# - keep it with probability $\min(1, p(x) / q(x))$;
# - otherwise draw from what the draft gave too little: $\max(p - q, 0)$, made to sum to 1.
#
# On paper, three tokens: $q = (0.6, 0.3, 0.1)$ and $p = (0.3, 0.5, 0.2)$. Kept are
# $\min(p, q) = (0.3, 0.3, 0.1)$, together 0.7. The other 0.3 go to $(0, 0.2, 0.1)$, which is just
# what is missing: $(0.3, 0.5, 0.2) = p$. It is always so, because
# $\min(p, q) + \max(p - q, 0) = p$, and both sides sum to 1.


# %%
def pick(p, rng):
    """One token; p need not sum to 1."""
    reached = np.cumsum(p)
    return int(np.searchsorted(reached, (1 - rng.random()) * reached[-1]))


def accept(guess, q, p, rng):
    """k guesses, q (k, V) they were drawn from, p (k + 1, V): the guesses that are kept, and one more token."""
    for i, token in enumerate(guess):
        if rng.random() * q[i][token] >= p[i][token]:  # refused
            return [*guess[:i], pick(np.maximum(p[i] - q[i], 0), rng)]
    return [*guess, pick(p[-1], rng)]  # all kept: the last probabilities give one more


def speculate(prompt, count, k, draft, check, rng, sharpen=lambda p: p, accept=accept):
    """Up to k + 1 tokens a call of `check`. Returns the text and the calls."""
    text, calls = list(prompt), 0
    while len(text) < len(prompt) + count:
        guess, q = [], []
        for _ in range(k):
            q.append(sharpen(draft(text + guess)))
            guess.append(pick(q[-1], rng))
        text += accept(guess, q, sharpen(check(text, guess)), rng)
        calls += 1
    return text[: len(prompt) + count], calls


# %% [markdown]
# First a toy where everything can be counted. Two tables of three tokens are the draft and the big
# model: each row holds the probabilities after one token. We write three tokens many times and
# compare how often each of the 27 texts occurs with its true probability. A wrong rule runs along:
# it replaces a refused token by a draw from $p$.

# %%
big = np.array([[0.3, 0.5, 0.2], [0.1, 0.2, 0.7], [0.4, 0.3, 0.3]])
small = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.2, 0.2, 0.6]])
true = np.einsum("a,ab,bc->abc", big[0], big, big).ravel()  # after token 0: 27 texts


def toy_draft(text):
    return small[text[-1]]


def toy_check(text, guess):
    return big[[text[-1], *guess]]


def wrong_rule(guess, q, p, rng):
    for i, token in enumerate(guess):
        if rng.random() * q[i][token] >= p[i][token]:
            return [*guess[:i], pick(p[i], rng)]
    return [*guess, pick(p[-1], rng)]


# %% [markdown]
# Chi-square, divided by its degrees of freedom, is near 1 when only chance separates two
# distributions. Total variation is half the sum of all differences.

# %%
chi = {"the rule": [], "wrong rule": []}
for name, rule in zip(chi, (accept, wrong_rule), strict=True):
    for seed in range(3):
        rng, counts = np.random.default_rng(seed), np.zeros(27)
        for _ in range(DRAWS):
            text, _ = speculate([0], 3, 2, toy_draft, toy_check, rng, accept=rule)
            counts[9 * text[1] + 3 * text[2] + text[3]] += 1
        chi[name].append(np.sum((counts - DRAWS * true) ** 2 / (DRAWS * true)) / 26)
    far = np.abs(counts / DRAWS - true).sum() / 2
    print(f"{name:10s} chi-square / 26 = {np.mean(chi[name]):6.2f}, total variation {far:.3f}")
claim("chi-square by degrees of freedom, the rule", chi["the rule"], "<", 1.8)
claim("and the wrong rule", chi["wrong rule"], ">", 5)

# %% [markdown]
# Now a draft for the Bible. It must be far cheaper than the model, and have the same tokens. The
# counts of lesson 12 will do: runs of one to four *tokens* in the training books. Each order is
# mixed with the shorter one; the shorter gets as many votes as there are different continuations
# (Witten and Bell 1991). That is simpler than Kneser-Ney.

# %%
read_books = np.concatenate(tokenizer.encode_batch(books["train"][:READ])).astype("int64")
tables, runs = {}, np.zeros(len(read_books), "int64")
for n in range(1, 5):
    runs = runs[: len(read_books) - n + 1] * V + read_books[n - 1 :]  # a run of n tokens as one number
    tables[n] = np.unique(runs, return_counts=True)


def draft(text):
    """Probabilities of the next token, (V,), by counting."""
    p = np.full(V, 1 / V)
    for n, (grams, counts) in tables.items():
        context = 0
        for token in text[len(text) - n + 1 :]:
            context = context * V + int(token)
        low, high = np.searchsorted(grams, [context * V, (context + 1) * V])
        if low == high:  # never seen
            break
        p = p * (high - low)
        p[grams[low:high] % V] += counts[low:high]
        p /= p.sum()
    return p


# %% [markdown]
# What does it expect? The five best guesses for two beginnings:

# %%
for context in ("And it came to", "In the beginning God"):
    best = np.argsort(-draft(tokenizer.encode(context)))[:5]
    print(f"{context} …", [tokenizer.decode([i]) for i in best])

# %% [markdown]
# The big model checks. It reads the last token and the guesses in one call, through its cache.
# After a refusal the cache holds keys of tokens that were thrown away. So before each call it is
# turned back to where the text ends.
#
# Greedy decoding is the same rule with sharpened probabilities: 1 for the best token, 0 for all
# others. Then a guess is kept exactly when it is the big model's choice.


# %%
class Checker:
    """Probabilities of the big model after a text and after each guess, in one call: (k + 1, V)."""

    def __init__(self, prompt):
        ids = np.array([prompt[:-1]], "int32")
        cache = model.make_cache(1, 2 * CONTEXT)
        self.cache = one_more(ids, cache)[1]

    def __call__(self, text, guess):
        ids = np.array([[text[-1], *guess]], "int32")
        before = [one.rewind(len(text) - 1) for one in self.cache]
        logits, self.cache = one_more(ids, before)
        return softmax(ops.convert_to_numpy(logits)[0].astype("float64"))


def greedily(p):
    return (p == p.max(axis=-1, keepdims=True)).astype(float)


K = 4
text, calls = speculate(prompts[0], NEW, K, draft, Checker(prompts[0]), rng, greedily)
different = np.sum(np.array(text[BEGIN:]) != written["greedy"][0])
claim("speculative greedy: tokens that differ from greedy", different, "==", 0, exact=True)
print(f"{NEW} tokens in {calls} calls of the big model")

# %% [markdown]
# How many calls are saved depends on the share of guesses that are kept. When one is kept with
# probability $\alpha$, a call brings $(1 - \alpha^{k+1}) / (1 - \alpha)$ tokens on average
# (Leviathan et al. 2023, equation 1). $\alpha$ can be computed without drawing: it is the mean of
# $\sum_x \min(p(x), q(x))$. The cell does so on human text. Then it counts tokens a call, for drawn
# and for greedy text.

# %%
places = range(BEGIN, len(real))
p_all = softmax(real.astype("float64"))[[i - 1 for i in places]]
q_all = np.array([draft(test[:i].tolist()) for i in places])
least = np.minimum(p_all, q_all)
alpha = least.sum(axis=1).mean()
print(f"a drawn guess is kept with probability {alpha:.2f}: {(1 - alpha ** (K + 1)) / (1 - alpha):.2f} tokens a call")
gain = {}
for name, sharpen in [("drawn", lambda p: p), ("greedy", greedily)]:
    rng = np.random.default_rng(0)
    calls = [speculate(prompt, NEW, K, draft, Checker(prompt), rng, sharpen)[1] for prompt in prompts[:3]]
    gain[name] = NEW * len(calls) / sum(calls)
    print(f"{name:7s} {gain[name]:.2f} tokens a call of the big model")
claim("tokens a call, drawn", gain["drawn"], ">", 1.3)
claim("tokens a call, greedy over drawn", gain["greedy"] / gain["drawn"], ">", 1)

# %% [markdown]
# Fewer calls. But does it save *time* here, on two cores? Three ways write the same greedy text: one
# token a call from Python ($k = 0$), guesses, and the compiled loop of `generate`.

# %%
begun = prompts[0]
texts, best = race(
    TURNS,
    one=lambda: speculate(begun, NEW, 0, draft, Checker(begun), rng, greedily)[0],
    guesses=lambda: speculate(begun, NEW, K, draft, Checker(begun), rng, greedily)[0],
    compiled=lambda: generate(model, begun, NEW, stop_tokens=[]),
)
for name in ("guesses", "compiled"):
    print(f"{name:9s} {best['one'] / best[name]:.1f} times as fast as one token a call from Python")
claim("guesses over single calls, times", best["one"] / best["guesses"], ">", 1)
claim("compiled loop over guesses, times", best["guesses"] / best["compiled"], ">", 1.3)
claim("texts that differ", sum(list(text) != list(texts["one"]) for text in texts.values()), "==", 0, exact=True)

# %% [markdown]
# Against single calls the guesses pay here: a call with five tokens costs less than five calls. But
# our compiled loop needs no calls from Python at all, and for a model this small it is faster still.
# Drawn text is harder to guess than greedy text, so there less is won. Speculative decoding is made
# for large models, where reading the weights is nearly the whole cost of a call. KerasHub has it as
# `SpeculativeSampler`.
#
# ## In use
#
# The last cells show what a program needs. **Streaming**: `stream` gives out the text piece by
# piece while it is written. A **stop token** ends a text; here it is the line end, so that we get
# one verse. And a **seed** makes drawn texts repeatable.

# %%
pieces = list(stream(model, "And Jesus said", NEW, tokenizer=tokenizer))
print(" | ".join(piece.replace("\n", "/") for piece in pieces[:8]), "| …")
whole = generate(model, "And Jesus said", NEW, tokenizer=tokenizer)
claim("streamed pieces joined are the text", "And Jesus said" + "".join(pieces) == whole, "==", 1, exact=True)
verse = generate(model, "And Jesus said", NEW, stop_tokens=[LINE], tokenizer=tokenizer)
print("one verse:", verse)
claim("the verse is the text up to the line end", whole.startswith(verse) and "\n" not in verse, "==", 1, exact=True)
same, again, other = (continued(prompts, rules(temperature=0.8), seed) for seed in (3, 3, 4))
claim("same seed same texts, another seed others", (again == same) + (other != same), "==", 2, exact=True)

# %% [markdown]
# Two prompts that break careless programs. One is longer than the context: its last 256 tokens
# count. One has a character that the Bible does not have: its bytes are tokens (lesson 08), and it
# stands unchanged in the result.

# %%
tail = test[: 2 * CONTEXT].tolist()
of_all, of_last = (generate(model, ids, NEW, stop_tokens=[]) for ids in (tail, tail[-CONTEXT:]))
differ = np.sum(np.array(of_all[len(tail) :]) != of_last[CONTEXT:])
claim("a long prompt: tokens that differ from its last window's", differ, "==", 0, exact=True)
snow = generate(model, "And the ☃ said", NEW, tokenizer=tokenizer)
print(tokenizer.tokens("☃"), "→", snow[:60].replace("\n", " / "))
claim("unknown characters stay", snow.startswith("And the ☃ said"), "==", 1, exact=True)

# %% [markdown]
# ## Summary
#
# - Greedy decoding and beam search find probable text, and probable text repeats itself. Human text
#   is less probable.
# - Temperature, top-k, top-p and min-p change the distribution before a token is drawn. Measure
#   bits, repetition and diversity against human text; no single number decides.
# - The KV cache keeps keys and values, because causal attention never changes them. The logits are
#   equal, and a token costs the same at every place.
# - A compiled loop with a cache is what makes `generate` fast; left padding and a mask make a batch
#   equal to its texts alone.
# - Speculative decoding checks cheap guesses in one call and leaves the distribution as it is.
#
# ## Exercises
#
# Open [exercises/18_decoding.ipynb](exercises/18_decoding.ipynb). You find loops, cut what is too
# improbable, punish repetition, search with a beam, and accept or refuse a guess. Each answer is
# checked.
#
# ## References
#
# - A. Holtzman and others (2020). The curious case of neural text degeneration. *ICLR*. Sections
#   3.1 and 4: nucleus sampling, human text against beams.
# - S. Welleck and others (2020). Neural text generation with unlikelihood training. *ICLR*. Section
#   6: repetition as a share of 4-grams.
# - A. Fan, M. Lewis, Y. Dauphin (2018). Hierarchical neural story generation. *ACL*. Section 5.4.
# - M. Nguyen and others (2024). Turning up the heat: min-p sampling for creative and coherent LLM
#   outputs. arXiv:2407.01082. Section 3.
# - N. Keskar and others (2019). CTRL: a conditional transformer language model for controllable
#   generation. arXiv:1909.05858. Section 4.1.
# - J. Li and others (2016). A diversity-promoting objective function for neural conversation
#   models. *NAACL*. Section 5: distinct-1 and distinct-2.
# - Y. Su and others (2022). A contrastive framework for neural text generation. *NeurIPS*.
# - Y. Leviathan, M. Kalman, Y. Matias (2023). Fast inference from transformers via speculative
#   decoding. *ICML*. Sections 2 and 3, appendix A.1.
# - C. Chen and others (2023). Accelerating large language model decoding with speculative sampling.
#   arXiv:2302.01318.
# - I. Witten, T. Bell (1991). The zero-frequency problem. *IEEE Transactions on Information Theory*
#   37(4).
