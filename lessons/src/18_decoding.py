# %% [markdown] tags=["edition-2"]
# # 18 · Decoding
#
# **A language model gives every token a probability. Which token should be written, and what does it cost?**
#
# **You need** lesson 12 (bits per character, counts of words), lesson 13 (queries, keys, values,
# masks), lesson 14 (greedy decoding, beam search) and lesson 17 (GPT). The model of this lesson is
# trained already and comes with the course.
#
# **You will build** the rules that choose a token, beam search, a cache for attention, and
# speculative decoding. You will compare what they write with what people wrote, and measure what a
# token costs.
#
# **Time** about 2 minutes to run on a laptop with 2 cores, and an hour to read.

# %% tags=["hide"]
# @title Imports
import math
import time
import warnings

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

from kerasllm import weights
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import curves, show, use_style
from kerasllm.course.palette import color
from kerasllm.data import load
from kerasllm.evaluation import log_probability
from kerasllm.generation import Beam, Greedy, Sampling, generate
from kerasllm.generation.compiling import compiled
from kerasllm.models import GPT, gpt_settings

use_style()
with warnings.catch_warnings():  # a notice about progress bars that we do not use
    warnings.simplefilter("ignore")
    import keras_hub

# %%
TEXTS = dial(16, smoke=2, gpu=200)  # beginnings from the test books, each continued in every way
NEW = dial(100, smoke=8)  # tokens that are written behind each
LOOKED_AT = dial((128, 512, 1024, 2048), smoke=(16, 32))  # tokens that stand before the one that is timed
TURNS = dial(5, smoke=1)  # how often a time is measured; the shortest counts
DRAWS = dial(10_000, smoke=200)  # texts drawn from a toy model, to check a distribution
PEER = dial((4, 256), smoke=(1, 32))  # layers and width of the GPT that KerasHub runs too

# %% [markdown]
# ## The obvious way, and what comes of it
#
# A GPT does not write. It reads a text and gives each token of its vocabulary a probability of being
# the next one. Somebody has to choose a token, append it and ask again, as the drawing shows. The
# obvious rule is greedy decoding (lesson 14): take the most probable token every time.
# Our model has read most of the King James Bible, for an hour, in 2,048 word pieces. Before you run
# the cell, predict: how will a text end in which every single token was the best one?

# %% tags=["hide"]
# @title Drawing: how a language model comes to write
sheet = Diagram(8, 2.3)
text = sheet.box("And it came to", (1.0, 1.15), width=1.6)
gpt = sheet.box("GPT", (2.9, 1.15), meaning="weights", width=0.9, height=0.6)
table = sheet.vector((4.3, 1.15), 5, meaning="output", name="probabilities", note="one for each token")
rule = sheet.box("a rule\nchooses", (5.7, 1.15), meaning="look", width=1.0, height=0.6)
token = sheet.box("pass", (7.2, 1.15), width=0.8)
for before, after in ((text, gpt), (gpt, table), (table, rule), (rule, token)):
    sheet.arrow(before.right, after.left)
sheet.arrow(token.bottom, text.bottom, "append it, and ask again", through=[(7.2, 0.25), (1.0, 0.25)])
show(sheet.figure, "Five stations in a row and an arrow back to the first: the text And it came to goes into the GPT,"
     " which gives a column of probabilities; a rule chooses the token pass; it is appended, and the model is"
     " asked again.")  # fmt: skip

# %%
model, tokenizer = weights.pretrained("king-james-gpt")
vocabulary, context = model.vocabulary_size, model.context_length
print(f"{model.count_params():,} weights, {vocabulary} tokens, a context of {context}\n")
print(generate(model, "And it came to pass", NEW, tokenizer=tokenizer))

# %% [markdown]
# The beginning is good Biblical English, and then the text goes in circles. One text could be an
# accident, so we take beginnings of 16 tokens from *test* books and let the model go on with each.
# The words that really stand there are the control: a continuation that people wrote. Repetition can
# be counted. Of all runs of four tokens in a text, we take the share that occurred before in the
# same text (Welleck et al. 2020).


# %% tags=["hide"]
# @title Data: beginnings from the test books, and what people wrote behind them
verses = load("king-james")  # text, label (the book), split, chapter, verse
books = {part: (verses["text"][verses["split"] == part] + "\n").tolist() for part in ("train", "test")}


def beginnings(part):
    """All tokens of a part, beginnings spread over it, and the tokens that people wrote behind them."""
    tokens = np.concatenate(tokenizer.encode_batch(books[part]))
    starts = np.flatnonzero(tokens[: -2 * context] == tokenizer.encode("\n")[0]) + 1  # where verses begin
    starts = starts[np.linspace(0, len(starts) - 1, TEXTS).astype(int)]
    before = [tokens[s : s + 16].tolist() for s in starts]
    return tokens, before, [tokens[s + 16 : s + 16 + NEW].tolist() for s in starts]


test, prompts, human = beginnings("test")


# %%


def repeated(ids, n=4):
    """Share of the runs of n tokens that occurred before in the same text."""
    runs = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    return 1 - len(set(runs)) / len(runs)


def continued(sampler, prompts=prompts):
    """What a rule writes behind each of the beginnings; no token stops it early."""
    texts = generate(model, prompts, NEW, sampler, seed=0, stop_tokens=[])
    return [text[16:] for text in texts]


greedy = continued(Greedy())
for name, texts in {"people": human, "greedy decoding": greedy}.items():
    print(f"{name:16s} {np.mean([repeated(ids) for ids in texts]):.0%} of the runs of four are repetitions")

# %% [markdown]
# So it was no accident. The choice depends mostly on the last few tokens, and therefore a phrase that
# comes back is mostly followed by the same choice as before. Greedy decoding hardly leaves such a
# circle, because it never takes anything but the best. A second cause is known from large models: the
# more often a phrase was repeated, the more probable it becomes (Holtzman et al. 2020, figure 4).
#
# ## Draw, but not from everything
#
# If the best token leads into a circle, we can draw one at random, each with its probability. Then
# every token has a chance, and this is a new problem. Each of the many improbable tokens is hardly
# ever drawn, but together they are drawn often. One wrong token is enough, because everything behind
# it must go on from it. Four rules change the probabilities before the draw. On paper, take five
# tokens with 0.4, 0.3, 0.15, 0.1 and 0.05.
#
# - The **temperature** $T$ divides the logits, the numbers from which softmax makes probabilities.
#   $T = 1/2$ doubles them, which squares the probabilities before they are made to sum to 1 again: the
#   squares sum to 0.285, and 0.16 of it is 0.56 for the first token. Below 1 probable tokens gain,
#   above 1 improbable ones do.
# - With **top-k** only the $k$ best tokens remain (Fan et al. 2018). For $k = 2$ these are 0.4 and 0.3,
#   which become 0.57 and 0.43.
# - With **top-p** the smallest set of best tokens remains whose sum reaches $p$ (Holtzman et al. 2020).
#   For $p = 0.8$ two tokens have 0.7, which is too little, and so three remain.
# - With **min-p** those tokens remain that have at least a given share of the best probability (Nguyen
#   et al. 2024). For a share of 0.2 the border is 0.08, and four remain.


# %%
def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def top_k(p, k):
    return np.where(p >= np.sort(p, axis=-1)[:, -k, None], p, 0)  # (rows, vocabulary)


def top_p(p, share):
    best_first = -np.sort(-p, axis=-1)
    better = np.cumsum(best_first, axis=-1) - best_first  # the sum of all tokens that are more probable
    last = np.where(better < share, best_first, 1).min(axis=-1, keepdims=True)
    return np.where(p >= last, p, 0)


def min_p(p, share):
    return np.where(p >= share * p.max(axis=-1, keepdims=True), p, 0)


# %% [markdown]
# A token that is cut gets the weight 0, and the draw needs no sum of 1. It takes the first token at
# which the running sum of the weights reaches a random part of the whole sum. With the same random
# numbers the library's `Sampling` must choose the same tokens. The printed shares should be those that
# we found on paper.


# %%
def draw(p, uniforms):
    running = np.cumsum(p, axis=-1)  # the last one is the sum of what is left
    return np.argmax(running >= uniforms[:, None] * running[:, -1:], axis=-1)


paper = np.log(np.tile([0.4, 0.3, 0.15, 0.1, 0.05], (1_000, 1))).astype("float32")
uniforms = ((np.arange(1_000) + 0.5) / 1_000).astype("float32")
for name, sampler, ours in [
    ("temperature 0.5", Sampling(0.5), softmax(paper / 0.5)),
    ("top-k of 2", Sampling(top_k=2), top_k(softmax(paper), 2)),
    ("top-p of 0.8", Sampling(top_p=0.8), top_p(softmax(paper), 0.8)),
    ("min-p of 0.2", Sampling(min_p=0.2), min_p(softmax(paper), 0.2)),
]:
    tokens = draw(ours, uniforms)
    begun = sampler.start([()] * 1_000, 5)  # 1,000 empty texts, 5 tokens
    theirs, _, _ = sampler.choose(paper, uniforms, None, begun)
    print(f"{name:16s}", *(f"{share:.3f}" for share in np.bincount(tokens, minlength=5) / 1_000))
    assert np.mean(tokens != ops.convert_to_numpy(theirs)) < 0.005  # equal, but for rounding at a border

# %% [markdown]
# Now to real probabilities, at each place of a piece of the test books. The cell asks first how much the
# improbable tokens have together. The figure then takes a place where the model is sure and one where
# it is not. Look at how many tokens each rule keeps in both.

# %%
# compiled: TensorFlow plans the whole call once and is faster from then on; the text is a name for it.
logits_of = compiled(lambda model, ids: model(ids), model, "lesson: logits", xla=False)
p = softmax(ops.convert_to_numpy(logits_of(test[None, :context].astype("int32")))[0].astype("float64"))
tail = np.where(p < 0.001, p, 0).sum(axis=1).mean()
print(f"The tokens below 0.001 have {tail:.3f} together on average.")
print(f"A chance of {tail:.3f} is avoided in 100 draws with probability {(1 - tail) ** 100:.3f}.")

# %% tags=["hide"]
# @title Figure: what each rule keeps, where the model is sure and where it is not
entropy = -(p * np.log2(np.maximum(p, 1e-12))).sum(axis=1)
figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
for ax, rank, word in zip(panels, (len(p) // 10, len(p) * 9 // 10), ("sure", "unsure"), strict=True):
    place = np.argsort(entropy)[rank]
    best = -np.sort(-p[place])[None]
    kept = {
        "top-k of 10": (top_k(best, 10), "error", "-"),
        "top-p of 0.9": (top_p(best, 0.9), "control", "-"),
        "min-p of 0.05": (min_p(best, 0.05), "output", "--"),
    }
    ax.bar(range(1, 61), best[0, :60], color=color("given"), width=0.9)
    for name, (cut, meaning, style) in kept.items():
        n = int((cut > 0).sum())
        ax.axvline(min(n, 60) + 0.5, color=color(meaning), ls=style, label=f"{name} keeps {n}")
    ax.set(title=f"{word}: …{tokenizer.decode(test[: place + 1])[-22:]!r}", yscale="log", ylim=(1e-4, 1.2))
    ax.set_xlabel("tokens, the most probable first")
    ax.legend(loc="upper right", frameon=True, framealpha=1)
panels[0].set_ylabel("probability")
show(figure, "Probabilities of the 60 best next tokens in two contexts, on a logarithmic axis, with the borders of"
     " top-k, top-p and min-p. Top-k keeps ten in both; the other two keep one where the model is sure and dozens"
     " where it is not.")  # fmt: skip

# %% [markdown]
# A text of 100 drawn tokens hardly ever stays clear of the tail, which is why one cuts. Top-k keeps ten
# tokens in both places. These are too many where one token is right, and perhaps too few where many
# would do. Top-p and min-p follow the model, because their borders are made of its probabilities.
#
# A different cure works on the circle itself. A **repetition penalty** lowers the logits of tokens that
# stand in the text already (Keskar et al. 2019). With a penalty of 1.3 a logit of 2.6 is divided and
# becomes 2.0. A logit of −1 is multiplied and becomes −1.3, because a division would raise it. The rule
# also punishes "the" and the comma, although every text needs them.
#
# ## Is the most probable text the best one?
#
# Perhaps greedy decoding repeats itself because it searches badly. It takes the best *token*, which
# need not lead to the best *text*. On paper, let "a" have the probability 0.6 and two continuations
# with 0.5 each, and let "b" have 0.4 and one continuation with 0.98. Greedy decoding writes "a" and
# reaches $0.6 \cdot 0.5 = 0.30$, whereas "b" would have reached $0.4 \cdot 0.98 = 0.39$. Beam
# search (lesson 14) keeps the best few texts instead of one. Each step continues all of them with every
# token, and keeps the best of all these. The logarithms of the probabilities are added, because a
# product of many small numbers would end at 0. The cell searches for 12 tokens behind one of the
# beginnings, and prints how many bits greedy decoding and the beam need for theirs (lesson 12). Fewer
# bits mean a more probable text.


# %%
def beam_search(prompt, count, width):
    ids, scores = np.array([prompt]), np.zeros(1)  # (width, time), (width,)
    for _ in range(count):
        filled = np.pad(ids, ((0, 0), (0, context - ids.shape[1]))).astype("int32")  # one shape to compile
        last = ops.convert_to_numpy(logits_of(filled))[:, ids.shape[1] - 1].astype("float64")
        totals = scores[:, None] + np.log(softmax(last))  # (width, vocabulary)
        best = np.argsort(-totals, axis=None)[:width]
        ids = np.concatenate([ids[best // vocabulary], best[:, None] % vocabulary], axis=1)
        scores = totals.ravel()[best]
    return ids[0].tolist()


ours = beam_search(prompts[0], 12, width=4)
for name, ids in {"greedy": greedy[0][:12], "beam": ours[16:]}.items():
    cost = -np.sum(log_probability(model, [prompts[0]], [ids]).tokens[0]) / math.log(2)
    print(f"{name:6s} {cost:4.1f} bits {tokenizer.decode(ids)!r}")
assert ours == generate(model, prompts[0], 12, Beam(4), stop_tokens=[])  # the library's does the same

# %% [markdown]
# ## The experiment: every rule against what people wrote
#
# Now all rules continue the same beginnings, and people are the control. We measure two things.
# Repetition is one. The other is *surprise*: how many bits a character of the text costs the model
# (lesson 12). If a rule searches for probable text and finds it, its bits are low. Before you look:
# will the human text cost fewer bits than greedy text, because it is better, or more?


# %%
def measured(texts, prompts=prompts):
    """Bits a character, share repeated: one for each text."""
    found = log_probability(model, prompts, texts).tokens
    letters = [len(tokenizer.decode(ids)) for ids in texts]
    bits = [-np.sum(one) / math.log(2) / n for one, n in zip(found, letters, strict=True)]
    return np.array([bits, [repeated(ids) for ids in texts]])  # (2, texts)


always = {"top_p": 1 - 1e-6, "repetition_penalty": 1 + 1e-6}  # change nothing, and save compiling again
ways = {f"T = {T}": Sampling(**always, temperature=T) for T in (0.5, 0.7, 0.85, 1.0, 1.2, 1.5)}
ways["top-p of 0.9"] = Sampling(**always | {"top_p": 0.9})
ways["min-p of 0.05"] = Sampling(**always, min_p=0.05)
ways["greedy, penalty 1.3"] = Sampling(top_p=1e-6, repetition_penalty=1.3)  # one token is left: the best
written = {"people": human, "greedy": greedy, "beam of 4": continued(Beam(4))}
written |= {name: continued(sampler) for name, sampler in ways.items()}
table = {name: measured(texts) for name, texts in written.items()}
for name, (bits, again) in table.items():
    error = bits.std(ddof=1) / math.sqrt(TEXTS)
    print(f"{name:20s} {bits.mean():.2f} ± {error:.2f} bits a character, {again.mean():4.0%} repeated")

# %% [markdown]
# Numbers do not say whether a text makes sense. So read first how a beginning goes on under some of
# the rules.

# %% tags=["hide"]
# @title Reading: one beginning, continued by people and by the rules
print("It begins:", tokenizer.decode(prompts[0]))
for name in ("people", "greedy", "greedy, penalty 1.3", "T = 0.7", "top-p of 0.9", "T = 1.0", "T = 1.2", "T = 1.5"):
    print(f"\n{name}:", " ".join(tokenizer.decode(written[name][0][:40]).split()))

# %% [markdown]
# Which of them could stand in the Bible, and which makes sense? Keep your answer. The figure draws the
# two numbers of every rule. The further to the right, the more the text surprises the model; the
# higher, the more it repeats itself. Where do people stand, and which rules are near them?

# %% tags=["hide"]
# @title Figure: surprise and repetition of every rule
figure, ax = plt.subplots(figsize=(8, 3.8))
means = {name: one.mean(axis=1) * [1, 100] for name, one in table.items()}
line = np.array([means[name] for name in means if name.startswith("T")])
ax.plot(*line.T, "-o", color=color("subject"), ms=5)
beside = {"people": (6, 12, "left"), "T = 1.2": (-4, 10, "right"), "T = 1.0": (-2, 10, "left")}
beside |= {"T = 0.85": (6, 9, "left"), "T = 0.7": (6, 9, "left"), "greedy, penalty 1.3": (-9, -3, "right")}
beside |= {"min-p of 0.05": (2, -24, "right"), "top-p of 0.9": (0, -24, "left")}
for name, (x, y) in means.items():
    kind = "subject" if name.startswith("T") else "control"
    kind = {"people": "output", "greedy": "error", "beam of 4": "error"}.get(name, kind)
    ax.plot(x, y, "*" if name == "people" else "o", ms=16 if name == "people" else 6, color=color(kind))
    right, up, side = beside.get(name, (9, -3, "left"))
    pull = {"arrowstyle": "-", "color": color(kind), "lw": 0.8, "shrinkB": 3} if up < -20 else None
    ax.annotate(name, (x, y), xytext=(right, up), textcoords="offset points", fontsize=9, color=color(kind), ha=side,
                arrowprops=pull)  # fmt: skip
ax.set(xlabel="bits a character, under the model itself", ylabel="runs of four tokens that repeat, %",
       title="What a search finds repeats itself; people write less probable text", ylim=(-9, None))  # fmt: skip
ax.margins(x=0.12)
show(figure, "Each rule as a point: bits a character to the right, repetition upwards. Greedy decoding and beam search"
     " stand alone at the upper left, people at the lower right. The line of temperatures runs along the bottom, from"
     " little surprise to more than that of people; the cuts lie on it, greedy with a penalty below it.")  # fmt: skip

# %% [markdown]
# The beam does what it promised, for its text costs fewer bits than the greedy one. And its text
# repeats itself nearly as much. So the search was not too weak. The *goal* is wrong: the most probable
# text is not the one that people write, because a text in which every word can be guessed says
# nothing (Holtzman et al. 2020, section 4.2). The penalty forbids the circles, and the text is still far
# to the left of people. Where a task has one right answer, as the translation of lesson 14 nearly has,
# the goal is right, and there beams are usual.
#
# The temperature leads from careful text to wild text. The cuts lie on its line, because to remove the
# improbable tokens makes the rest more probable, as a low temperature does. One temperature above 1
# lies close to people in both numbers. Is it the best rule, then? Look at its text again. Both numbers
# are right, but the surprise may sit at the wrong words. To be near people is necessary and not
# enough, and whether a text makes sense is for people to judge.
#
# One thing is strange. At $T = 1$ we draw as the model says, and this text is easier for the model than
# what people wrote. If its probabilities were right, both would cost the same. Are they too sure,
# because the model read its training books six times and these books never? Then the difference must
# be small in books that it has read. The cell asks that first.

# %%
bits, again = ({name: one[row].mean() for name, one in table.items()} for row in (0, 1))
read_books, read_prompts, read_human = beginnings("train")
for name, texts in {"people": read_human, "T = 1.0": continued(ways["T = 1.0"], read_prompts)}.items():
    print(f"in books that the model has read: {name:8s} {measured(texts, read_prompts)[0].mean():.2f} bits a character")
better = np.sum(table["beam of 4"][0] < table["greedy"][0])
print(f"the text of the beam costs fewer bits a character than the greedy one in {better} of {TEXTS} texts")
found = Claims("What we measured: which token")
found.claim("Greedy text repeats itself more than people do", 100 * again["greedy"], ">", 100 * again["people"],
            unit="%", control="what people wrote behind the same beginnings",
            headline="greedy text repeats {measured} of its runs of four tokens, people {bound}")  # fmt: skip
found.claim("Beam search finds more probable text", bits["beam of 4"], "<", bits["greedy"],
            unit="bits", control="greedy decoding")  # fmt: skip
found.claim("A better search does not cure it", 100 * again["beam of 4"], ">", 100 * again["people"] + 10,
            unit="%", control="people, and ten points more")  # fmt: skip
found.claim("People are less probable than what is drawn", bits["people"], ">", bits["T = 1.0"],
            unit="bits", control="drawn at T = 1")  # fmt: skip
found.show()

# %% [markdown]
# In books that the model has read, people do not cost more than what is drawn. So the gap belongs to new
# books, where the model is too sure of itself. It is one more reason why a number that was found good
# for one text, such as a temperature, need not be good for another.
#
# ## What a token costs
#
# The other half of the question is the price. The loop in the first drawing reads the whole text
# again for every new token. That is a waste, because the mask is causal: an old token cannot see the
# new one, so nothing that was computed for the old tokens changes. What does the new token need from
# them? In attention it meets their keys and takes their values, and nothing else. A **KV-cache** keeps
# these two for each token and each block. Then only the new token goes through the network.

# %% tags=["hide"]
# @title Drawing: the new token meets what was kept
sheet = Diagram(8, 2.75)
words = ["And", "it", "came", "to", "pass"]
query = sheet.box("query of pass", (4.4, 2.5), meaning="query", width=1.4)
for i, word in enumerate(words):
    x, new = 1.3 + 1.25 * i, i == len(words) - 1
    box = sheet.box(word, (x, 0.55), width=0.8, meaning="look" if new else "given")
    key = sheet.vector((x - 0.17, 1.4), 3, meaning="key")
    sheet.vector((x + 0.17, 1.4), 3, meaning="value")
    sheet.arrow(box.top, (x, key.bottom[1] - 0.04), dashed=not new)
    sheet.arrow(query.bottom, (x - 0.17, 1.8), meaning="query", width=1)
sheet.text((0.1, 1.4), "key and\nvalue", align="left", size=9)
sheet.text((6.75, 0.95), "made now", align="left", size=9)
sheet.text((3.2, 0.15), "kept since their own steps, and never computed again", size=9)
show(sheet.figure, "Five words, each with a key and a value. Those of the first four are kept from their own steps;"
     " only the last word is computed now, and its query meets all five keys.")  # fmt: skip

# %% [markdown]
# In the open it is an append. The cell takes ten random vectors in place of a text and a single head of
# attention. It reads them one by one, and then all at once under the causal mask of lesson 13.


# %%
def attend(q, K, V, allowed=True):
    scores = np.where(allowed, q @ K.T / math.sqrt(q.shape[-1]), -1e9)
    return softmax(scores) @ V


rng = np.random.default_rng(0)
x, to_query, to_key, to_value = rng.normal(size=(10, 16)), *rng.normal(size=(3, 16, 16))
keys, values, outputs = [], [], []
for one in x:
    keys.append(one @ to_key)  # the cache grows by one key and one value
    values.append(one @ to_value)
    outputs.append(attend((one @ to_query)[None], np.array(keys), np.array(values))[0])
at_once = attend(x @ to_query, x @ to_key, x @ to_value, np.tril(np.ones((10, 10), bool)))
print(f"one by one and all at once differ by {np.abs(np.array(outputs) - at_once).max():.0e}")

# %% [markdown]
# Both ways give the same numbers but for rounding. The library's model does this in every block:
# `model(ids, cache=cache)` returns logits and the new cache. Its cache is an array of fixed size, and
# attention reads all of it. What does a token cost, then, as a function of the number of tokens that it
# looks at? The rival without a cache reads the whole text. We spare it the logits of all places but the
# last, since nobody needs them. (Our model was trained on texts of 256 tokens. It can read longer ones
# and understands them badly, but here only the time counts.) The last line asks what a call costs that
# reads five new tokens at once, which we need later.


# %%
def last_logits(model, ids):
    return model.head(model(ids, return_features=True)[:, -1:])


read_all = compiled(last_logits, model, "lesson: read all", xla=False)
one_more = compiled(lambda model, ids, cache: model(ids, cache=cache), model, "lesson: one more", xla=False)


def milliseconds(work, repeat):
    """Processor time of one call, the shortest of several turns."""
    work()  # the first call compiles
    turns = []
    for _ in range(TURNS):
        started = time.process_time()
        for _ in range(repeat):
            work()
        turns.append(1000 * (time.process_time() - started) / repeat)
    return min(turns)


# %%
without_cache, with_cache = [], []
for n in LOOKED_AT:
    ids, cache = test[None, :n].astype("int32"), model.make_cache(1, n)
    full = one_more(ids, cache)[1]  # a cache that holds n tokens
    without_cache.append(milliseconds(lambda ids=ids: read_all(ids), 2))
    with_cache.append(milliseconds(lambda ids=ids, full=full: one_more(ids[:, -1:], full), 20))
    print(f"{n:5d} tokens looked at: {without_cache[-1]:7.1f} ms without a cache, {with_cache[-1]:5.1f} ms with one")
    if n == LOOKED_AT[1]:
        five = milliseconds(lambda ids=ids, full=full: one_more(ids[:, -5:], full), 20) / with_cache[-1]
print(f"A call that reads 5 tokens at once takes {five:.1f} times as long as a call for 1.")

# %% tags=["hide"]
# @title Figure: the price of a token
figure = curves(
    LOOKED_AT,
    {"without a cache": without_cache, "with a cache": with_cache},
    title="A cache makes a token cheap, not free of what it looks at",
    x_label="tokens that the new one looks at",
    y_label="processor time of one token, ms",
    colors={"without a cache": "control", "with a cache": "subject"},
    log_x=True,
    log_y=True,
)
show(figure, "Processor time of one more token against the number of tokens looked at, both axes logarithmic. Without"
     " a cache it rises steeply; with a cache it is far lower and rises slowly, faster towards the right.")  # fmt: skip

# %% [markdown]
# Both lines rise, for different reasons. Without a cache all the tokens go through the network again,
# and each of them meets all those before it. With a cache one token goes through, and only the look at
# the kept keys and values grows with the text. For a short text the look hardly counts beside the
# matrices of the blocks; for a long one it takes over. This is why a long conversation costs more with
# every answer, although nothing is read twice.
#
# Is our implementation a fair example, or a slow one? KerasHub has a cache and a compiled loop too.
# Both libraries get the same small GPT-2 with the same random weights, and both must write the same
# ids. Both loops go through XLA, a compiler that joins many small operations into few large ones.
# Without it on one side, the race would measure the compiler. Time is by the clock here.

# %% tags=["hide"]
# @title Set-up: one GPT-2 in two libraries, the same numbers in both
layers, width = PEER
keras.utils.set_random_seed(0)
backbone = keras_hub.models.GPT2Backbone(vocabulary, layers, 4, width, 4 * width, dropout=0.0, max_sequence_length=256)
for variable in backbone.weights:  # larger weights, so that the text is not one token
    variable.assign(variable + rng.normal(0, 0.05, variable.shape))
kerashub = keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)
kerashub.compile(sampler="greedy", jit_compile=True)
ours = GPT(gpt_settings(vocabulary, 256, layers, 4, width, activation="gelu_tanh"))
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
prompt = rng.integers(0, vocabulary, (1, 32)).astype("int32")
known = (np.arange(32 + NEW) < 32).astype("int32")[None]
inputs = {"token_ids": np.pad(prompt, ((0, 0), (0, NEW))), "padding_mask": known}
runners = {
    "kerasllm": lambda: np.array(generate(ours, prompt, NEW, stop_tokens=[])),
    "kerashub": lambda: np.array(kerashub.generate(inputs, stop_token_ids=None)["token_ids"]),
}

# %%
texts = {name: run() for name, run in runners.items()}  # the first call compiles, in both for some seconds
best = dict.fromkeys(runners, math.inf)
for _ in range(TURNS):
    for name, run in runners.items():
        started = time.perf_counter()
        run()
        best[name] = min(best[name], time.perf_counter() - started)
assert np.array_equal(texts["kerasllm"], texts["kerashub"])
print(f"{NEW} tokens: {best['kerashub'] / best['kerasllm']:.1f} times as fast as KerasHub, both under XLA")
price = Claims("What a token costs")
price.claim("With a cache, looking further still costs more", with_cache[-1], ">", with_cache[0],
            unit="ms", control=f"{LOOKED_AT[0]} tokens looked at in place of {LOOKED_AT[-1]}")  # fmt: skip
price.claim("The library writes faster than KerasHub", NEW / best["kerasllm"], ">", NEW / best["kerashub"],
            unit="tokens a second", control="KerasHub, the same weights, XLA on both sides",
            headline="{measured}, KerasHub with the same weights {bound}, XLA on both sides")  # fmt: skip
price.show()

# %% [markdown]
# So the times above are not those of a slow program.
#
# ## Guess first, check later
#
# One token at a time, each call of the model fetches every weight from memory to make a single token.
# A call that reads five tokens fetches them once for all five. The last line under the table of times
# shows it: such a call takes longer than one for a single token, but not five times as long. However,
# the next five tokens are not known yet. In **speculative decoding** a cheap model, the *draft*,
# guesses them (Leviathan et al. 2023; Chen et al. 2023). The big model reads all guesses in one call
# and gives its own probabilities at each place. Good guesses are kept, the first bad one is replaced,
# and the rest is thrown away.
#
# What makes a guess good? The rule must not change what is written. Let the draft give $q$ and the big
# model $p$. A guess $x$ that was drawn from $q$ is kept with probability $\min(1, p(x) / q(x))$. Where
# the draft gave too much, some guesses are refused. Then a token is drawn from what the draft gave too
# little: $\max(p - q, 0)$, made to sum to 1.
#
# On paper, let $q = (0.6, 0.3, 0.1)$ and $p = (0.3, 0.5, 0.2)$. A token is guessed and kept with
# probability $q \cdot \min(1, p / q) = \min(q, p)$, which is $(0.3, 0.3, 0.1)$, together 0.7. So 0.3
# are refused. They go to $\max(p - q, 0) = (0, 0.2, 0.1)$, which sums to 0.3 as well, because $p$ and
# $q$ both sum to 1. Added up this is $(0.3, 0.5, 0.2)$, exactly $p$. It is always so, because
# $\min(p, q) + \max(p - q, 0) = p$ for each token.


# %%
def pick(p, rng):
    running = np.cumsum(p)  # p need not sum to 1
    return int(np.searchsorted(running, (1 - rng.random()) * running[-1]))  # 1 - ...: never 0


def accept(guess, q, p, rng):
    """The guesses that are kept, and one more token. q (k, vocabulary), p (k + 1, vocabulary)."""
    for i, token in enumerate(guess):
        if rng.random() * q[i][token] >= p[i][token]:  # refused, with probability 1 - p / q
            return [*guess[:i], pick(np.maximum(p[i] - q[i], 0), rng)]
    return [*guess, pick(p[-1], rng)]  # all kept: the last probabilities give one more


def accept_wrongly(guess, q, p, rng):
    for i, token in enumerate(guess):
        if rng.random() * q[i][token] >= p[i][token]:
            return [*guess[:i], pick(p[i], rng)]  # the tempting mistake: draw from p
    return [*guess, pick(p[-1], rng)]


# %% [markdown]
# Does it hold where everything can be counted? In a toy of three tokens, draft and big model are
# tables. We write three tokens many times and count how often each of the 27 texts occurs. The control
# is the wrong rule above, and the big model that writes alone, without guesses, shows what chance does.
# The distance between a count and what the true probability lets us expect is measured by
# *chi-square*: the sum of (count − expected)² / expected. Chance alone brings about 26, because 27 counts
# with a fixed sum can vary in 26 ways. We divide by 26, so 1 means "nothing but chance".


# %%
def speculate(prompt, count, k, draft, check, rng, accept=accept):
    """Write with guesses. Returns the text, and the number of calls of the big model."""
    text, calls = list(prompt), 0
    while len(text) < len(prompt) + count:
        guess, q = [], []
        for _ in range(k):
            q.append(draft(text + guess))
            guess.append(pick(q[-1], rng))
        text += accept(guess, q, check(text, guess), rng)
        calls += 1
    return text[: len(prompt) + count], calls


big = np.array([[0.3, 0.5, 0.2], [0.1, 0.2, 0.7], [0.4, 0.3, 0.3]])  # row: probabilities after one token
small = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.2, 0.2, 0.6]])
toy = {"draft": lambda text: small[text[-1]], "check": lambda text, guess: big[[text[-1], *guess]]}
true = np.einsum("a,ab,bc->abc", big[0], big, big).ravel()  # the 27 texts behind token 0

# %%
chi_square = {"no guesses": [], "the rule": [], "draw from p": []}
for name, k, rule in zip(chi_square, (0, 2, 2), (accept, accept, accept_wrongly), strict=True):
    for seed in range(3):
        rng, counts = np.random.default_rng(seed), np.zeros(27)
        for _ in range(DRAWS):
            text, _ = speculate([0], 3, k, **toy, rng=rng, accept=rule)
            counts[9 * text[1] + 3 * text[2] + text[3]] += 1
        chi_square[name].append(np.sum((counts - DRAWS * true) ** 2 / (DRAWS * true)) / 26)
    print(f"{name:12s} chi-square / 26:", *(f"{value:.2f}" for value in chi_square[name]))

# %% [markdown]
# The rule is as near to the truth as the big model alone, and the mistake is far from it. Now the Bible.
# The draft must be far cheaper than the model and have the same tokens, so counts of runs of tokens
# will do, as in lesson 12. The big model checks with its cache. After a refusal the cache still holds
# keys of guesses that were thrown away. Therefore each call first rewinds it to the end of the text.

# %% tags=["hide"]
# @title The draft: counts of one to four tokens, each order mixed with the shorter one (lesson 12)
tables, runs = {}, np.zeros(len(read_books), "int64")
for n in range(1, 5):
    runs = runs[: len(read_books) - n + 1] * vocabulary + read_books[n - 1 :]  # a run of n tokens as one number
    tables[n] = np.unique(runs, return_counts=True)


def draft(text):
    """Probabilities of the next token by counting, (vocabulary,); Witten and Bell (1991)."""
    p = np.full(vocabulary, 1 / vocabulary)
    for n, (grams, counts) in tables.items():
        before = 0
        for token in text[len(text) - n + 1 :]:
            before = before * vocabulary + int(token)
        low, high = np.searchsorted(grams, [before * vocabulary, (before + 1) * vocabulary])
        if low == high:  # never seen
            break
        p = p * (high - low)  # the shorter order has a vote for each different continuation
        p[grams[low:high] % vocabulary] += counts[low:high]
        p /= p.sum()
    return p


# %%
class Checker:
    """The big model's probabilities after a text and after each guess, in one call: (k + 1, vocabulary)."""

    def __init__(self, prompt):
        self.cache = one_more(np.array([prompt[:-1]], "int32"), model.make_cache(1, 2 * context))[1]

    def __call__(self, text, guess):
        before = [one.rewind(len(text) - 1) for one in self.cache]
        logits, self.cache = one_more(np.array([[text[-1], *guess]], "int32"), before)
        return softmax(ops.convert_to_numpy(logits)[0].astype("float64"))


# %%
some = prompts[:4]
per_call, seconds = {}, {}
for k in (0, 4):
    for prompt in some[:1]:
        speculate(prompt, 8, k, draft, Checker(prompt), np.random.default_rng(0))  # compiles
    rng, started = np.random.default_rng(0), time.process_time()
    calls = [speculate(prompt, NEW, k, draft, Checker(prompt), rng)[1] for prompt in some]
    seconds[k], per_call[k] = time.process_time() - started, NEW * len(some) / sum(calls)
    print(f"{k} guesses: {per_call[k]:.2f} tokens for each call of the big model")
print(f"with guesses the text took {seconds[4] / seconds[0]:.2f} of the processor time without")
guesses = Claims("Guess first, check later")
guesses.claim("The rule writes what the big model would write", max(chi_square["the rule"]), "<",
              min(chi_square["draw from p"]), control="a refused guess replaced by a draw from p")  # fmt: skip
guesses.claim("Guesses save calls of the big model", per_call[4], ">", per_call[0], unit="tokens a call",
              control="no guesses")  # fmt: skip
guesses.show()

# %% [markdown]
# About one call in two is saved, and the time falls by less. The draft takes time too, and a call
# that checks four guesses is dearer than one for a single token. Our model is small, so both weigh
# much here. For a model of billions of weights the draft is hardly noticed, and nearly all the time of
# a call goes into fetching the weights. The method was made for those.
#
# ## What can go wrong
#
# People often think that beyond the context a cache gives what one gets by reading the last 256 tokens
# anew. It does not, if there is more than one block. The oldest key in the cache was made when *its*
# predecessors were still visible, so through the blocks the model depends on tokens that no single look
# can reach. Neither result is wrong, but a test that compares the two must fail.
#
# Batches are the other trap. Prompts of different lengths are filled up on the *left*, so that all end
# at the same place, and nobody may look at the filling. Filled up on the right, the model would continue
# the filling of a short text. And text that is drawn needs a seed, or nobody can repeat what you saw:
# `generate(..., seed=1)`.
#
# ## Summary
#
# - Greedy decoding and beam search find probable text, and it repeats itself unless that is punished.
#   People write less probable text.
# - Temperature, top-k, top-p and min-p change the distribution before a token is drawn; top-p and
#   min-p follow how sure the model is.
# - A KV-cache keeps keys and values, because causal attention never changes them; what remains grows
#   with what is looked at.
# - Speculative decoding checks cheap guesses in one call and leaves the distribution as it is.
# - No number here says whether a text is good. Compare with what people wrote, and read it.
#
# ## Exercises
#
# Open [exercises/18_decoding.ipynb](exercises/18_decoding.ipynb). You find loops, cut what is too
# improbable, punish repetition, search with a beam, and keep or refuse a guess. In the experiment you
# find out how many guesses pay. Each answer is checked.
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
# - Y. Leviathan, M. Kalman, Y. Matias (2023). Fast inference from transformers via speculative
#   decoding. *ICML*. Sections 2 and 3, appendix A.1.
# - C. Chen and others (2023). Accelerating large language model decoding with speculative sampling.
#   arXiv:2302.01318.
# - I. Witten, T. Bell (1991). The zero-frequency problem. *IEEE Transactions on Information Theory*
#   37(4).
