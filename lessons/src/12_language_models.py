# %% [markdown]
# # 12 · Language models
#
# **How well can a machine guess the next letter, and how do we measure that?**
#
# **You need** lesson 05 (cross-entropy, Adam, schedules), lesson 09 (embeddings) and lesson 11
# (the LSTM). The logarithm to base 2 returns in every section.
#
# **You will build** three machines that guess the next character of the King James Bible: one
# that counts, one with a hidden layer, and an LSTM. All three also write.
#
# **Time** about 3 minutes to run on a 2-core laptop; reading takes longer.

# %%
import json
import lzma
import re
import time
import warnings
import zlib
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

from kerasllm.batches import windows
from kerasllm.course import claim, settings
from kerasllm.data import load
from kerasllm.models import LSTMLanguageModel, NeuralNGram
from kerasllm.course.figures import BLUE, GREEN, ORANGE, PURPLE, RED, show, use_style

use_style()
with warnings.catch_warnings():  # a notice about progress bars that we do not use
    warnings.simplefilter("ignore")
    import keras_hub

# %%
READ, LETTERS, STEPS, WIDTH, EVALS, SAMPLE = settings(
    smoke=(150_000, 2_000, (40, 40), 16, 2, 40),
    cpu=(None, None, (900, 500), 256, 10, 200),
    gpu=(None, None, (20_000, 20_000), 1024, 20, 200),
)
ORDER = 10  # the longest runs of characters that we count
# READ     characters of the training text that are read; None means all
# LETTERS  characters of the validation and test text that are used
# STEPS    training steps of the neural n-gram and of the LSTM
# WIDTH    units of the hidden layer and of the LSTM
# EVALS    parts of a training run; each is one point of its curve
# SAMPLE   characters of a text that a machine writes

# %% [markdown]
# ## A guessing game
#
# Claude Shannon played this game in 1951. Somebody reads a text aloud, letter by letter, and
# stops. You guess the next letter. Then the right one is revealed, and it goes on.
#
# Our text is the King James Bible of 1611, 31,102 verses. The data card splits it by *book*: the
# machine reads 55 books, six are for choosing (validation), and five are for judging (test). Here
# are three places in the test books. What comes next?

# %%
verses = load("king-james")  # text, label (the book), split, chapter, verse
texts = {
    split: "".join(verse + "\n" for verse in verses["text"][verses["split"] == split])
    for split in ("train", "validation", "test")
}
for split, text in texts.items():
    books = verses["label"][verses["split"] == split].nunique()
    print(f"{split:10s} {books:2d} books {len(text):9,d} characters")
print()
places = [4_242, 100_011, 150_009]
for place in places:
    print("...", texts["test"][place - 46 : place].replace("\n", " / "), "?")

# %% [markdown]
# Sometimes one letter is almost certain: inside a long word. Sometimes nearly every letter is
# possible: at the start of a word. A machine that plays this game is a **language model**. It
# answers with a whole distribution: a probability for *every* character, and they sum to 1.
#
# How good is an answer? Look at the probability $p$ that it gave to the character that really
# came, and let the machine pay
#
# $$ \text{cost} = -\log_2 p \quad \text{bits.} $$
#
# Give the right character 1/2, and it costs one bit. Give it 1/4: two bits. Give it 1: nothing.
# Give it 0, and the cost is infinite. The mean cost is the **cross-entropy** of lesson 05, with
# the logarithm to base 2. We call it **bits per character**. Low is good.
#
# The next cell turns characters into numbers and asks for the cost of a machine that knows
# nothing and calls all characters equally probable.

# %%
alphabet = sorted(set(texts["train"]))
V = len(alphabet)
number_of = {character: i for i, character in enumerate(alphabet)}


def encode(text):
    return np.array([number_of[c] for c in text], dtype="int64")  # (characters,)


train = encode(texts["train"])[:READ]
validation, test = encode(texts["validation"])[:LETTERS], encode(texts["test"])[:LETTERS]
print(f"{V} characters:", "".join(alphabet[1:]), "and the line end")
print(f"all equally probable: log2({V}) = {np.log2(V):.3f} bits per character")

# %% [markdown]
# These bits are real bits. A model with a cost of 2 bits per character can be turned into a
# program that packs the text into 2 bits per character, up to a tiny rest (arithmetic coding,
# Shannon 1948 gave the limit). So the usual packers are language models too. What do they reach
# on the test books?

# %%
packed = {}
raw = texts["test"].encode()  # one byte a character
for name, packer in [("zip (zlib)", zlib.compress), ("xz (lzma)", lzma.compress)]:
    packed[name] = 8 * len(packer(raw)) / len(raw)
    print(f"{name:12s} {packed[name]:.3f} bits per character")

# %% [markdown]
# That is the number to beat. The comparison is not quite fair: a packer starts without any English,
# and our machines read 55 books first.
#
# ## Counting
#
# The simplest knowledge is how often each character occurs. Better: which characters follow the
# last one. Still better: the last two, three, nine. A run of $n$ characters is an **n-gram**. A
# model of **order** $n$ looks at $n - 1$ characters, the **context** $h$, and predicts the next
# one, $w$:
#
# $$ p(w \mid h) = \frac{c(hw)}{c(h)} $$
#
# where $c$ counts in the training text. Order 1 has no context.
#
# Counting must be fast: 3.7 million characters, up to 10 at a time. We have 63 characters, so six
# bits hold one, and 60 bits hold ten. One whole number of 64 bits per n-gram, and NumPy sorts and
# counts them all. Dropping the last six bits gives the context. Keeping only the last $6k$ bits
# gives the last $k$ characters.


# %%
def keys(ids, n):
    """For each run of n characters one whole number, six bits a character."""
    result = np.zeros(len(ids) - n + 1, dtype="int64")
    for i in range(n):
        result = result * 64 + ids[i : i + len(result)]
    return result


def last(key, n):
    """Only the last n characters of each run."""
    return key % 64**n


def text_of(key, n):
    return "".join(alphabet[int(key) // 64**i % 64] for i in reversed(range(n)))


started = time.process_time()
raw_counts = {n: np.unique(keys(train, n), return_counts=True) for n in range(1, ORDER + 1)}
counting_seconds = time.process_time() - started
for n, (grams, counts) in raw_counts.items():
    best = text_of(grams[counts.argmax()], n)
    print(f"order {n:2d}: {len(grams):9,d} different n-grams, most frequent {best!r}")

# %% [markdown]
# A few seconds of work. Now the model. To ask it about a text, we need for each character the
# n-gram that ends there. At the very beginning we put line ends in front. `look_up` finds numbers
# in a sorted table.


# %%
def ends(ids):
    """For each character of a text the run of ORDER characters that ends with it."""
    before = np.full(ORDER - 1, number_of["\n"])
    return keys(np.concatenate([before, ids]), ORDER)  # (characters,)


def look_up(table, values, wanted, missing):
    place = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
    return np.where(table[place] == wanted, values[place], missing)


def relative_frequency(query, n, add=0.0):
    """p(last character | the n - 1 before it), with `add` added to every count."""
    grams, counts = raw_counts[n]
    contexts, first = np.unique(grams // 64, return_index=True)
    totals = np.add.reduceat(counts, first)  # how often each context was seen
    c_hw = look_up(grams, counts, last(query, n), 0) + add
    c_h = look_up(contexts, totals, last(query, n) // 64, 0) + add * V
    return np.divide(c_hw, c_h, out=np.zeros(len(query)), where=c_h > 0)


def bits(p):
    with np.errstate(divide="ignore"):
        return -np.log2(p)


# %% [markdown]
# The table shows the cost on a part of the training text, then on the validation text, and how
# many characters of the validation text cost infinitely much.

# %%
question = ends(validation)
familiar = keys(train[: len(validation) + ORDER - 1], ORDER)  # nothing in front of the text
orders = range(1, ORDER + 1)
on_train, infinite = [], []
print("order   training text   validation text   impossible characters")
for n in orders:
    on_train.append(bits(relative_frequency(familiar, n)).mean())
    cost = bits(relative_frequency(question, n))
    infinite.append(np.isinf(cost).sum())
    print(f"{n:5d} {on_train[-1]:15.3f} {cost.mean():17.3f} {infinite[-1]:17,d}")

# %%
claim("bits on its own training text, longest order", on_train[-1], "<", 0.8)
claim("impossible characters of the validation text, order 3", infinite[2], ">", 0)

# %% [markdown]
# On its own text the machine looks brilliant. On new text it fails: a single character with
# probability 0 makes the whole cost infinite. This is over-fitting of the purest kind (lesson
# 05). The machine has learned the books by heart and believes that nothing else exists.
#
# The oldest repair is to **add one** to every count (Laplace). It never says "impossible".

# %%
add_one = [bits(relative_frequency(question, n, add=1)).mean() for n in orders]
for n, cost in zip(orders, add_one, strict=True):
    print(f"order {n:2d}: {cost:.3f} bits per character on the validation text")
claim("add-one: longest order costs more than its best order", add_one[-1] - min(add_one), ">", 1)

# %% [markdown]
# It helps up to a point, and then longer contexts hurt. The reason: a long context was seen three
# times, say, and now 63 invented counts stand beside 3 real ones. Add-one throws away the
# evidence just where it is most precise.
#
# ## How much should a count lose?
#
# Some probability must go to unseen n-grams. Who pays? Ask the data. Count in every second verse.
# Take all 7-grams that occur there exactly $r$ times. How often do the same 7-grams occur in the
# *other* verses, which are as many? Church and Gale (1991) did this with words.

# %%
lines = texts["train"].splitlines(keepends=True)
half, other = (encode("".join(lines[start::2]))[:READ] for start in (0, 1))
length = 7
grams, counts = np.unique(keys(half, length), return_counts=True)
elsewhere = look_up(*np.unique(keys(other, length), return_counts=True), grams, 0)
lost = []
print("seen here   seen in the other half   lost")
for r in range(1, 8):
    lost.append(r - elsewhere[counts == r].mean())
    print(f"{r:9d} {r - lost[-1]:24.2f} {lost[-1]:6.2f}")

# %%
claim("lost by a count of 1", lost[0], "<", 0.6)
claim("lost by counts of 3 to 7, mean", np.mean(lost[2:]), "==", 0.7, tolerance=0.2)

# %% [markdown]
# Every count was a little too high, and by nearly the same amount: about a half for a count of 1
# and about 0.7 for larger ones. Not a share of the count, but nearly a constant. So: subtract a
# constant $D$ from every count. This is **absolute discounting**. What was taken away is given to
# the next shorter context:
#
# $$ p_n(w \mid h) = \frac{\max(c(hw) - D, 0)}{c(h)} + \lambda(h) \, p_{n-1}(w \mid h'),
# \qquad \lambda(h) = \frac{D \cdot T(h)}{c(h)} $$
#
# $h'$ is the context without its first character. $T(h)$ is the number of different characters
# that followed $h$: each of them paid $D$. So $\lambda(h)$ is exactly what was collected, and the
# probabilities sum to 1. A context that was never seen has $\lambda = 1$: the shorter one decides
# alone.
#
# ## Kneser and Ney's idea
#
# One question remains. What is a good *shorter* model? It decides when the longer context was
# never seen. Words show the problem best. The table counts three of them in the training books.
# After a word that none of the three ever followed, which one is most probable?

# %%
words = re.findall(r"[A-Za-z']+", texts["train"])
often, before = Counter(words), defaultdict(Counter)
for left, word in pairwise(words):
    before[word][left] += 1
print("word       occurs   after different words   most often after")
for word in ("midst", "Ghost", "Remember"):
    (left, _), *_ = before[word].most_common(1)
    print(f"{word:10s} {often[word]:6d} {len(before[word]):23d}   {left}")
claim("words before “Ghost”", len(before["Ghost"]), "==", 1, exact=True)

# %% [markdown]
# "midst" is by far the most frequent, but it comes after "the" and nothing else. "Ghost" comes
# after "Holy" alone. Where "Holy" stands in the context, the long model knows already. Where it
# does not, "Ghost" will not come, however often it occurs in the text. "Remember" is no more
# frequent than "Ghost", but it comes after many words. It is the best guess.
#
# So the short model should not ask "how often?". It should ask "**after how many different
# things?**". Kneser and Ney (1995): in all models but the longest, replace $c(hw)$ by the number
# of different characters that occur in front of $hw$. This is the **continuation count**.
#
# ## On paper
#
# Take the text `abracadabra` and order 2. The pairs are ab, br, ra twice each and ac, ca, ad, da
# once each. Let $D = 0.5$.
#
# - Short model: in front of `a` stand three different letters (r, c, d). In front of each of b,
#   r, c, d stands one. Together 7, so $p_1(a) = 3/7$ and $p_1(b) = 1/7$.
# - After `a` came b twice, c once, d once. $c(h) = 4$, $T(h) = 3$, so
#   $\lambda = 0.5 \cdot 3 / 4 = 0.375$.
# - $p_2(b \mid a) = (2 - 0.5)/4 + 0.375 \cdot 1/7 = 0.4286$. And the pair `aa`, never seen:
#   $p_2(a \mid a) = 0 + 0.375 \cdot 3/7 = 0.1607$.
#
# Now in code. `level` turns the counts of one order into two tables: the discounted share of each
# n-gram, and $\lambda$ of each context. `probability` starts from "all equal" and goes up, order
# by order: one line, which is the formula above.


# %%
def level(grams, counts, discount):
    """Shares of n-grams and left-over of contexts. discount: what counts of 1, 2, 3+ lose."""
    paid = np.asarray(discount)[np.minimum(counts, 3) - 1]
    contexts, first, of = np.unique(grams // 64, return_index=True, return_inverse=True)
    totals = np.add.reduceat(counts, first)  # c(h)
    return grams, (counts - paid) / totals[of], contexts, np.add.reduceat(paid, first) / totals


def probability(levels, query, below=1 / V):
    """Kneser-Ney: p(last character | those before it) for each run in `query`."""
    for n, (grams, share, contexts, left_over) in enumerate(levels, start=1):
        key = last(query, n)
        below = look_up(grams, share, key, 0) + look_up(contexts, left_over, key // 64, 1) * below
    return below


def continuation(grams, n):
    """How many different characters stand in front of each run of n - 1 characters."""
    return np.unique(last(grams, n - 1), return_counts=True)


# %%
toy = encode("abracadabra")
pairs, pair_counts = np.unique(keys(toy, 2), return_counts=True)
half_off = [0.5, 0.5, 0.5]
toy_levels = [
    level(*continuation(pairs, 2), half_off),
    level(pairs, pair_counts, half_off),
]
# The short model pays as well. All five letters paid, and "below" gives each its share back.
p_b, p_a = probability(toy_levels, keys(encode("abaa"), 2)[[0, 2]], below=1 / 5)
print(f"p(b | a) = {p_b:.4f}, p(a | a) = {p_a:.4f}")
claim("p(b | a) as on paper", p_b, "==", 1.5 / 4 + 0.375 / 7, tolerance=1e-9, exact=True)
claim("p(a | a) as on paper", p_a, "==", 0.375 * 3 / 7, tolerance=1e-9, exact=True)

# %% [markdown]
# ## Kneser-Ney on the Bible
#
# How large is $D$? There is a formula that needs only four numbers: $n_r$, how many n-grams occur
# exactly $r$ times. With $Y = n_1 / (n_1 + 2 n_2)$ Kneser and Ney use one discount, $D = Y$. Chen
# and Goodman (1999) use three, for counts of 1, 2 and more:
#
# $$ D_r = r - (r + 1) \, Y \, \frac{n_{r+1}}{n_r}, \qquad r = 1, 2, 3. $$
#
# This is *modified* Kneser-Ney. The table of the halves said that a count of 1 loses less than
# larger counts do, so three discounts should be better. We try every order with both, on the
# validation text.


# %%
def discounts(counts, several=True):
    n = np.bincount(np.minimum(counts, 5), minlength=5).astype(float)
    if not n[1:5].all():  # order 1: no character is that rare
        return [0.0, 0.0, 0.0]
    Y = n[1] / (n[1] + 2 * n[2])
    return [r - (r + 1) * Y * n[r + 1] / n[r] for r in (1, 2, 3)] if several else [Y] * 3


continued = {n: continuation(raw_counts[n + 1][0], n + 1) for n in range(1, ORDER)}


def kneser_ney(order, several=True):
    tables = [continued[n] for n in range(1, order)] + [raw_counts[order]]
    return [level(*table, discounts(table[1], several)) for table in tables]


# %%
on_validation = {True: [], False: []}
print("order   one discount   three discounts   D1    D2    D3+")
for n in orders:
    for several in (False, True):
        levels = kneser_ney(n, several)
        on_validation[several].append(bits(probability(levels, question)).mean())
    D = "  ".join(f"{d:.2f}" for d in discounts(raw_counts[n][1]))
    print(f"{n:5d} {on_validation[False][-1]:14.3f} {on_validation[True][-1]:17.3f}   {D}")
best_order = 1 + int(np.argmin(on_validation[True]))
print(f"best order on the validation text: {best_order}")

# %%
gain = min(on_validation[False]) - min(on_validation[True])
claim("bits gained by three discounts instead of one", gain, ">", 0.03)
last_step = on_validation[True][-2] - on_validation[True][-1]
claim("bits that order 10 gains over order 9", last_step, "<", 0.01)
claim("bits gained over add-one", min(add_one) - min(on_validation[True]), ">", 0.3)
every = question[:200, None] // 64 * 64 + np.arange(V)  # 200 contexts, each with all characters
p = probability(kneser_ney(ORDER), every.ravel()).reshape(-1, V)  # (200, V)
worst = np.abs(p.sum(axis=1) - 1).max()
claim("sum of the probabilities minus 1, worst of 200", worst, "<", 1e-9, exact=True)

# %% [markdown]
# Three discounts are clearly better. They are also larger than what the two halves of the training
# text said. The halves share their books; the validation books are new, and new books are more
# different.
#
# The figure has all curves. Look at the right end, where the contexts are long.

# %%
figure, axes = plt.subplots(figsize=(8, 4.2))
axes.plot(orders, on_train, "o--", color="gray", label="plain counts, on the training text")
axes.plot(orders, add_one, "o-", color=RED, label="add one")
axes.plot(orders, on_validation[False], "o-", color=ORANGE, label="Kneser-Ney, one discount")
axes.plot(orders, on_validation[True], "o-", color=BLUE, label="Kneser-Ney, three discounts")
axes.axhline(packed["xz (lzma)"], color="black", lw=1, ls=":")
axes.text(1, packed["xz (lzma)"] - 0.05, "xz packs the test books", va="top", fontsize=9)
axes.text(10, 5.05, "plain counts on new text:\ninfinite from order 2 on", ha="right", fontsize=9)
axes.set(xlabel="order (characters, the predicted one included)", ylabel="bits per character")
axes.set(ylim=(0, 5.6), xticks=list(orders), title="Cost on the validation books")
axes.legend(loc="lower left")
show(
    figure,
    "Bits per character against order. On its own training text the plain count falls to below"
    " one. On new text add-one has its minimum at order 5 and rises again; both Kneser-Ney"
    " curves fall and stay low.",
)

# %% [markdown]
# Add-one turns upward. Kneser-Ney does not: a long context that was never seen costs almost
# nothing, because $\lambda$ hands the question down. With three discounts the curve is still
# falling very slowly at order 10, where our 64-bit numbers end.
#
# Now the test books, once, with the order that the validation text chose.

# %%
started = time.process_time()
ngram = kneser_ney(best_order)
ngram_seconds = counting_seconds + time.process_time() - started
test_question = ends(test)
test_bits = {"n-gram": bits(probability(ngram, test_question))}  # (characters,)
validation_bits = {"n-gram": bits(probability(ngram, question))}
seconds = {"n-gram": ngram_seconds}
numbers = {"n-gram": sum(len(share) + len(left) for _, share, _, left in ngram)}
print(f"order {best_order}: {test_bits['n-gram'].mean():.3f} bits per character on the test books")
for place in places:
    if place < len(test):
        cost = test_bits["n-gram"][place]
        print(f"...{texts['test'][place - 16 : place]}[{texts['test'][place]}]: {cost:.2f} bits")
claim("Kneser-Ney, bits per character", test_bits["n-gram"].mean(), "<", 1.62, headline=True)

# %% [markdown]
# Far below the packer. The three last lines are the places of the beginning; the brackets hold
# what came.
#
# What do the orders know? Let them write. Sampling is simple: ask for the distribution, draw a
# character from it, append it, repeat. Shannon did this by hand in 1948.


# %%
def write(levels, length, rng):
    text = np.full(ORDER, number_of["\n"])
    for _ in range(length):
        query = keys(text[-ORDER:], ORDER)[0] % 64 ** (ORDER - 1) * 64 + np.arange(V)
        p = probability(levels, query)  # (V,)
        text = np.append(text, rng.choice(V, p=p / p.sum()))
    return "".join(alphabet[i] for i in text[ORDER:])


def longest_copy(text):
    """The longest run of characters that stands in the training text too."""
    size, longest = 1, ""
    for start in range(len(text)):
        while text[start : start + size] in texts["train"] and start + size <= len(text):
            longest, size = text[start : start + size], size + 1
    return longest


rng = np.random.default_rng(3)
for n in sorted({1, 2, 3, 4, 6, ORDER}):
    sample = write(kneser_ney(n), SAMPLE, rng)
    print(f"order {n}, longest copied run {len(longest_copy(sample))}:")
    print("   ", sample.replace("\n", " / "), "\n")

# %% [markdown]
# Nobody programmed a word, a name or a verse. Order 1 has the right letters. Order 3 has
# syllables. Order 6 has words. Order 10 has phrases, and here one must be careful: look at the
# longest run that was simply copied. A good sample is no proof of a good model. The bits on books
# that it never saw are.
#
# ## What the numbers mean
#
# Three names for one measurement:
#
# - **cross-entropy**: the mean cost, in bits ($\log_2$) or in nats ($\ln$, what Keras prints).
#   One nat is $1/\ln 2 = 1.443$ bits.
# - **perplexity**: $2^{\text{bits}}$, which is the same as $e^{\text{nats}}$. It is the number of
#   equally probable characters that would be as hard to guess.
# - **per word** instead of per character: the bits of all characters of a word add up, and so
#   bits per word = bits per character times characters per word.

# %%
b = test_bits["n-gram"].mean()
words_in_test = len(texts["test"][: len(test)].split())
per_word = len(test) / words_in_test  # characters, with the space or line end behind the word
print(f"{b:.3f} bits = {b * np.log(2):.3f} nats per character, perplexity {2**b:.2f}")
print(f"{per_word:.2f} characters per word: {b * per_word:.2f} bits per word")
print(f"perplexity per word {2 ** (b * per_word):.0f}")
claim("perplexity per word over perplexity per character", 2 ** (b * (per_word - 1)), ">", 50)

# %% [markdown]
# > **Myth:** perplexities tell which of two language models is better.
#
# > **Fact:** only if both count the same tokens. The cell above has *one* model, *one* text and
# > two perplexities, far apart. Models with different tokens are compared in bits per character
# > (or per byte): divide the bits of the whole text by its characters. This course does so from
# > here to lesson 17, always on these five books.
#
# Is our measure the same as everybody's? Shannon (1951) published the entropy of English with 26
# letters and the space: 4.76 bits when all are equal, 4.03 with letter frequencies, 3.32 with
# pairs. Here are ours, in the same 27 characters.

# %%
simple = re.sub("[^a-z]+", " ", texts["train"].lower())
codes = np.array([" abcdefghijklmnopqrstuvwxyz".index(c) for c in simple], dtype="int64")
entropy = []
for n in (1, 2):
    p = np.unique(keys(codes, n), return_counts=True)[1] / (len(codes) - n + 1)
    entropy.append(-np.sum(p * np.log2(p)))
print(f"all equal {np.log2(27):.2f}, letters {entropy[0]:.2f}, pairs {entropy[1] - entropy[0]:.2f}")
claim("letter entropy, 4.03 in Shannon (1951)", entropy[0], "==", 4.03, tolerance=0.05)

# %% [markdown]
# Shannon's human players saw 100 letters and came down to between 0.6 and 1.3 bits (27 characters,
# another text). So there is room below our machine.
#
# > **Myth:** a widely copied article calls a network of an embedding, a flattening and one output
# > number a large language model.
#
# > **Fact:** a language model must answer with a distribution over the next token. The next cell
# > builds that network. One number for a text is a classifier: one cannot compute bits from it,
# > and one cannot draw a character from it.

# %%
keras.utils.set_random_seed(0)
nine = keras.Input((9,), dtype="int32")  # nine characters
body = layers.Flatten()(layers.Embedding(V, 8)(nine))  # (batch, 72)
copied = keras.Model(nine, layers.Dense(1, activation="sigmoid")(body))
repaired = keras.Model(nine, layers.Dense(V, activation="softmax")(body))
for name, network in [("one output", copied), ("V outputs, softmax", repaired)]:
    answer = network.predict_on_batch(train[None, :9])
    print(f"{name:18s}: {answer.size:2d} numbers with the sum {answer.sum():.3f}")
claim("sum of the repaired answer", answer.sum(), "==", 1, tolerance=1e-5, exact=True)

# %% [markdown]
# ## A neural n-gram
#
# The counts have a weakness. What they learn about "the king said" says nothing about "the kings
# said". Each context is a stranger to every other one. Bengio and others (2003) had the idea that
# leads to all later models: give each token a learned vector (lesson 09), put the vectors of the
# context side by side, and let a hidden layer compute the distribution. Similar contexts then
# give similar answers.
#
# In Keras this is four layers. The library has the same model as `NeuralNGram`, with one trick:
# it answers for all positions of a window at once. "Put the last nine vectors side by side and
# multiply by a matrix", at each position, is a convolution of width nine. The cell copies the
# weights and compares.

# %%
NEURAL_ORDER = 10
keras.utils.set_random_seed(0)
by_hand = keras.Sequential(
    [
        keras.Input((NEURAL_ORDER - 1,), dtype="int32"),  # (batch, 9)
        layers.Embedding(V, 32),  # (batch, 9, 32)
        layers.Flatten(),  # (batch, 288): side by side
        layers.Dense(WIDTH, activation="tanh"),
        layers.Dense(V),  # logits of the next character
    ]
)
neural = NeuralNGram(V, order=NEURAL_ORDER, embedding_dim=32, hidden_dim=WIDTH)
window = train[None, :40].astype("int32")
neural(window)  # builds the weights
for mine, theirs in zip(by_hand.weights, neural.weights, strict=True):
    theirs.assign(keras.ops.reshape(mine, theirs.shape))  # (288, WIDTH) is (9, 32, WIDTH)
difference = neural(window)[0, 8] - by_hand(window[:, :9])[0]
largest = np.abs(keras.ops.convert_to_numpy(difference)).max()
claim("largest difference to the library's model", largest, "<", 1e-5, exact=True)

# %% [markdown]
# Equal. Now train it with Adam. The learning rate rises for 20 steps and then falls to zero
# (lesson 05). The run sees less than one pass over the text. So every window is new when it comes,
# and the training loss is an honest measure. Divided by $\ln 2$, nats become bits.


# %%
BATCH, CONTEXT = 64, 64  # windows in a step, characters in a window


def fit(model, steps, optimizer, peak):
    """Trains the model; returns bits per character after each part of the run, and seconds."""
    warm_up = {"warmup_target": peak, "warmup_steps": 20}
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - 20, **warm_up)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(rate), loss, steps_per_execution=10)
    batches = windows(train, context=CONTEXT, batch_size=BATCH, steps=steps)
    started = time.process_time()
    parts = {"epochs": EVALS, "steps_per_epoch": steps // EVALS}
    history = model.fit(batches, **parts, shuffle=False, verbose=0).history["loss"]
    return np.array(history) / np.log(2), time.process_time() - started


keras.utils.set_random_seed(0)
neural = NeuralNGram(V, order=NEURAL_ORDER, embedding_dim=32, hidden_dim=WIDTH)
curves = {}
adam, muon = keras.optimizers.Adam, keras.optimizers.Muon
curves["neural n-gram"], seconds["neural n-gram"] = fit(neural, STEPS[0], adam, peak=0.005)
print("bits per character during training:", *curves["neural n-gram"].round(2))

# %% [markdown]
# The time is counted in *processor seconds*, summed over the cores: a machine that does other
# things at the same time gives the same number. Two busy cores need half of it.
#
# For the test, each character must be predicted exactly once, with some text before it. So we cut
# the books into stretches of 512 characters and put the 64 characters before each stretch in
# front. These 64 are read and not counted.


# %%
def logits_of(model, ids, before=64, stride=512):
    """For each stretch of a text: logits (batch, stride, V) and targets (batch, stride)."""
    rows = -(-len(ids) // stride)  # rounded up
    front, back = np.full(before + 1, number_of["\n"]), np.zeros(rows * stride - len(ids), int)
    padded = np.concatenate([front, ids, back])
    size = before + stride + 1
    cut = np.lib.stride_tricks.sliding_window_view(padded, size)[::stride].astype("int32")
    for part in np.split(cut, range(32, rows, 32)):
        yield model.predict_on_batch(part[:, :-1])[:, before:], part[:, before + 1 :]


# %%
def neural_bits(model, ids):
    cost = []
    for logits, target in logits_of(model, ids):
        logits = logits - logits.max(axis=-1, keepdims=True)
        right = np.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
        cost.append((np.log(np.exp(logits).sum(axis=-1)) - right) / np.log(2))  # (batch, stride)
    return np.concatenate(cost).ravel()[: len(ids)]


def judge(name, model):
    test_bits[name] = neural_bits(model, test)
    validation_bits[name] = neural_bits(model, validation)
    numbers[name] = model.count_params()
    print(f"{name}: {test_bits[name].mean():.3f} bits per character on the test books")


judge("neural n-gram", neural)

# %% [markdown]
# It sees the same nine characters as the counts of order 10 and stores far fewer numbers.
#
# ## An LSTM
#
# The neural n-gram forgets everything that is ten characters old. The LSTM of lesson 11 reads one
# character after another and keeps a state, so its context has no fixed length. The model is
# three layers: embedding, LSTM, and a dense layer that gives logits at every position. Mikolov
# and others (2010) did it with a simple recurrent network, Graves (2013) with LSTMs on characters.
# The library's `LSTMLanguageModel` is the same, and can also go on from a state, step by step.

# %%
keras.utils.set_random_seed(0)
by_hand = keras.Sequential(
    [
        keras.Input((None,), dtype="int32"),  # (batch, time)
        layers.Embedding(V, 64),  # (batch, time, 64)
        layers.LSTM(WIDTH, return_sequences=True),  # (batch, time, WIDTH)
        layers.Dense(V),  # (batch, time, V): logits of the next character, at each position
    ]
)
lstm = LSTMLanguageModel(V, embedding_dim=64, units=WIDTH)
lstm(window)
for mine, theirs in zip(by_hand.weights, lstm.weights, strict=True):
    theirs.assign(mine)
whole = keras.ops.convert_to_numpy(lstm(window))  # (1, 40, V)
largest = np.abs(keras.ops.convert_to_numpy(by_hand(window)) - whole).max()
claim("largest difference to the library's model", largest, "<", 1e-5, exact=True)
states = None
for position in range(40):
    logits, states = lstm.step(window[:, position], states)
largest = np.abs(keras.ops.convert_to_numpy(logits) - whole[:, -1]).max()
claim("step by step against all at once", largest, "<", 1e-5, exact=True)

# %% [markdown]
# Both are equal. The training is the same, with one change. The optimizer is `Muon` (Jordan and
# others 2024), which Keras has. It is momentum with one more step: the update of each weight
# matrix is changed so that it is equally large in all directions. It is made for matrices: Keras
# leaves the neural n-gram's convolution, a kernel with three axes, to Adam. Below we ask what this
# difference is worth.

# %%
keras.utils.set_random_seed(0)
lstm = LSTMLanguageModel(V, embedding_dim=64, units=WIDTH)
curves["LSTM"], seconds["LSTM"] = fit(lstm, STEPS[1], muon, peak=0.03)
judge("LSTM", lstm)

# %%
figure, axes = plt.subplots(figsize=(8, 4))
for (name, curve), steps, color in zip(curves.items(), STEPS, [GREEN, PURPLE], strict=True):
    read = np.arange(1, EVALS + 1) * (steps // EVALS) * BATCH * CONTEXT / 1e6
    axes.plot(read, curve, "o-", color=color, label=f"{name}, while it trains")
style = {"color": BLUE, "fontsize": 9, "ha": "right", "va": "bottom"}
right = max(STEPS) * BATCH * CONTEXT / 1e6
for n in (3, 4, 5, ORDER):
    cost = on_validation[True][n - 1]
    axes.axhline(cost, color=BLUE, lw=1, ls="--")
    axes.text(right, cost + 0.01, f"Kneser-Ney, order {n}", **style)
axes.set(xlabel="million characters read", ylabel="bits per character", xlim=(0, None))
axes.set_title("Two networks in training, and Kneser-Ney as a scale")
axes.legend(loc="upper right")
show(
    figure,
    "Bits per character of the neural n-gram and the LSTM against characters read. Both fall"
    " quickly at first, then slowly; dashed lines mark Kneser-Ney of orders 3, 4, 5 and 10, and"
    " neither network reaches the lowest.",
)

# %% [markdown]
# The networks pass one order after the other. The lowest line stays out of reach. (Their curves
# are from the training text and the lines from the validation text, so this is only a rough view.)
# Here is the table on the test books. The time is rounded to ten processor seconds.

# %%
print("model           test bits   validation   perplexity   numbers stored   seconds")
for name, cost in test_bits.items():
    mean, chosen = cost.mean(), validation_bits[name].mean()
    about = f"{max(10, 10 * round(seconds[name] / 10)):d}" if seconds[name] > 5 else "under 10"
    print(f"{name:15s} {mean:9.3f} {chosen:12.3f} {2**mean:12.3f} {numbers[name]:16,d} {about:>9s}")
mean_of = {name: cost.mean() for name, cost in test_bits.items()}

# %%
claim("LSTM against neural n-gram, bits", mean_of["LSTM"], "<", mean_of["neural n-gram"])
claim("LSTM against Kneser-Ney, bits", mean_of["LSTM"], ">", mean_of["n-gram"], headline=True)
claim("neural n-gram, bits per character", mean_of["neural n-gram"], "<", 2.3)
claim("LSTM, bits per character", mean_of["LSTM"], "<", 1.95)
share = numbers["LSTM"] / numbers["n-gram"]
claim("numbers stored by the LSTM as a share of the n-gram's", share, "<", 0.2)

# %% [markdown]
# At this budget counting wins, and it needs only a small part of the time. But the LSTM puts what
# it knows into far fewer numbers.
#
# How much of the LSTM's lead is Muon's? The script `benchmarks/language_models.py` trained the same
# LSTM with Adam, for as many steps, with three learning rates. The best on the validation text counts.

# %%
runs = json.loads(Path("../benchmarks/lesson_09_longer_runs.json").read_text("utf-8"))
ends_of_adam = []
for one in runs:
    if one["run"].get("optimizer") == "adam":
        ends_of_adam.append(one["points"][-1])
        steps, cost = ends_of_adam[-1]["steps"], ends_of_adam[-1]["validation_bits"]
        print(f"LSTM, Adam, rate {one['run']['rate']}: validation {cost:.3f} after {steps} steps")
by_adam = min(ends_of_adam, key=lambda point: point["validation_bits"])["test_bits"]
print(f"test bits: neural n-gram, Adam {mean_of['neural n-gram']:.3f}", end=", ")
print(f"LSTM, Adam {by_adam:.3f}, LSTM, Muon {mean_of['LSTM']:.3f}")
claim("LSTM against neural n-gram, both with Adam", by_adam, "<", mean_of["neural n-gram"])
claim("bits that Muon saves the LSTM", by_adam - mean_of["LSTM"], ">", 0.15)

# %% [markdown]
# With Adam the LSTM is ahead too, but only a little: most of its lead is Muon's. (The script lowers
# the rate more slowly than we do, so this is good to a few hundredths of a bit.)
#
# Is the measurement right? KerasHub has a metric for perplexity. It gets the logits of the LSTM
# and the right characters. Its answer, $\log_2$ of it, must be our bits.

# %%
metric = keras_hub.metrics.Perplexity(from_logits=True)
few = test[: min(20, len(test) // 512) * 512]  # whole stretches, so that nothing is padded
for logits, target in logits_of(lstm, few):
    metric.update_state(target, logits)
theirs = float(metric.result())
ours = 2 ** neural_bits(lstm, few).mean()
print(f"perplexity on {len(few):,} characters: ours {ours:.4f}, KerasHub {theirs:.4f}")
claim("our perplexity against KerasHub's", ours, "==", theirs, tolerance=1e-3, exact=True)
claim("bits from KerasHub's", np.log2(theirs), "==", np.log2(ours), tolerance=1e-3, exact=True)

# %% [markdown]
# ## Where the curves cross
#
# What if we train longer than a lesson may? The n-gram cannot: it has read everything, once, and
# is finished. The networks go on. The same script trained a wider LSTM with Muon and measured it
# several times.

# %%
ladder = {n: bits(probability(kneser_ney(n), test_question)).mean() for n in (4, 5, 6, ORDER)}
longer = {}
for one in runs:
    if "optimizer" in one["run"]:
        continue  # the short runs from above
    name = "LSTM" if one["run"]["kind"] == "lstm" else "neural n-gram"
    points = {key: np.array([point[key] for point in one["points"]]) for key in one["points"][0]}
    x = points["seconds"]
    longer[name] = x, points["test_bits"]
    print(f"{name}, {one['run']['width']} units, {points['steps'][-1]:,} steps, {x[-1]:,} seconds")
    for n, cost in ladder.items():
        for split, bar in [("test", cost), ("validation", on_validation[True][n - 1])]:
            below = points[f"{split}_bits"] < bar
            when = f"from {x[below.argmax()]:,} seconds on" if below.any() else "not reached"
            print(f"    below order {n:2d} on {split:10s} ({bar:.3f}): {when}")

# %%
figure, axes = plt.subplots(figsize=(8, 4.4))
for name, color in [("neural n-gram", GREEN), ("LSTM", PURPLE)]:
    axes.plot(10 * round(seconds[name] / 10), mean_of[name], "*", ms=14, color=color)
    if name in longer:
        axes.plot(*longer[name], "o-", color=color, label=f"{name}, longer run")
for n, cost in ladder.items():
    axes.axhline(cost, color=BLUE, lw=1, ls="--")
    axes.text(8, cost + 0.01, f"Kneser-Ney, order {n}", color=BLUE, fontsize=9, va="bottom")
axes.set(xscale="log", xlabel="processor seconds of training", ylabel="bits per character, test")
axes.set(xlim=(7, None), title="Longer runs (stars: the runs of this lesson)")
axes.legend(loc="upper right")
show(
    figure,
    "Bits per character on the test books against processor seconds, logarithmic. The LSTM falls"
    " through the lines of Kneser-Ney, one order after the other; stars mark this lesson's runs.",
)

# %%
end = next(one["points"][-1] for one in runs if "optimizer" not in one["run"])
print(f"Kneser-Ney:   test {ladder[ORDER]:.4f}, validation {on_validation[True][-1]:.4f}")
print(f"longest LSTM: test {end['test_bits']:.4f}, validation {end['validation_bits']:.4f}")
claim("longest LSTM run against Kneser-Ney, test bits", end["test_bits"], "<", ladder[ORDER])
claim("and validation bits", end["validation_bits"], "<", on_validation[True][-1])

# %% [markdown]
# The wider LSTM passes one order after the other and is still falling at the end. On the test books
# it meets order 10 after about 720 seconds and is clearly below it at the end. On the validation
# books it comes level only at the last point, and by less than a thousandth of a bit: where curves
# cross depends on the books too. So counting wins in minutes, and the LSTM needs twelve to twenty
# minutes of one processor core to come level.
#
# ## Where the bits are spent
#
# The mean hides something. The next figure sorts the characters of the test books by their place:
# the first letter of a word, the second, and so on, and what stands between words.

# %%
inside = re.sub("[^a-z]", " ", texts["test"][: len(test)].lower())
place, run = np.zeros(len(test), int), 0
for i, character in enumerate(inside):
    run = run + 1 if character != " " else 0
    place[i] = min(run, 8)  # 0: between words, 8: eighth letter and later
labels = ["between\nwords", *"1234567", "8+"]
figure, axes = plt.subplots(figsize=(8, 3.7))
for shift, (name, color) in enumerate([("n-gram", BLUE), ("LSTM", PURPLE)]):
    cost = [test_bits[name][place == k].mean() for k in range(9)]
    axes.bar(np.arange(9) + 0.4 * shift - 0.2, cost, 0.38, color=color, label=name)
axes.set(xticks=range(9), xticklabels=labels, xlabel="letter of the word", ylabel="mean bits")
axes.set_title("The first letter of a word is the expensive one")
axes.legend()
show(
    figure,
    "Bars of the mean cost by place in a word for n-gram and LSTM. The first letter costs most, by"
    " far; each further letter costs less.",
)

# %%
first, later = test_bits["n-gram"][place == 1], test_bits["n-gram"][place >= 4]
claim("first letter against fourth and later, n-gram", first.mean() / later.mean(), ">", 2)
bill = first.sum() / test_bits["n-gram"].sum()
print(f"first letters are {np.mean(place == 1):.0%} of the text and {bill:.0%} of the bits")

# %% [markdown]
# Choosing the next word is hard; spelling it is easy. Now compare the two. At the first letter,
# where a word is chosen, they pay about the same. The LSTM loses later in the word: it has not yet
# learned to spell.

# %%
more = test_bits["LSTM"] - test_bits["n-gram"]
print("what the LSTM pays more, by place:", *[f"{more[place == k].mean():+.2f}" for k in range(9)])
claim("LSTM minus n-gram at first letters, bits", more[place == 1].mean(), "<", 0.2)
claim("the same at fourth letters and later", more[place >= 4].mean(), ">", 0.2)

# %% [markdown]
# Here are two verses, character by character. Dark means expensive. Compare the two machines.

# %%
start = texts["test"].find("In the beginning was the Word") if LETTERS is None else 0
phrase = texts["test"][start : start + 108].replace("\n", "/")
figure, panels = plt.subplots(2, 1, figsize=(8.4, 3.1))
for axes, name in zip(panels, ["n-gram", "LSTM"], strict=True):
    cost = test_bits[name][start : start + 108].reshape(2, 54)
    picture = axes.imshow(cost, cmap="Oranges", vmin=0, vmax=8, aspect="auto")
    style = {"ha": "center", "va": "center", "family": "monospace"}
    for i, character in enumerate(phrase):
        ink = "white" if cost.flat[i] > 6 else "black"
        axes.text(i % 54, i // 54, character, color=ink, **style)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{name}: {cost.sum():.0f} bits for these {cost.size} characters")
    axes.grid(False)
figure.colorbar(picture, ax=panels, label="bits", fraction=0.03)
show(
    figure,
    "The first words of the gospel of John with each character coloured by its cost, for the"
    " n-gram and the LSTM. Both pay at the first letters of words and little inside them.",
)

# %% [markdown]
# Both pay for the capital W. After it the counts are sure of "ord", and the LSTM is not. The two
# machines do not pay at the same places, so one can help the other. Take a mixture:
# $p = a \, p_{\text{LSTM}} + (1 - a) \, p_{\text{n-gram}}$. It is a distribution too. The share
# $a$ is chosen on the validation text.

# %%
shares = np.linspace(0, 1, 21)


def mixed(a, cost):
    return bits(a * 2.0 ** -cost["LSTM"] + (1 - a) * 2.0 ** -cost["n-gram"]).mean()


a = shares[np.argmin([mixed(share, validation_bits) for share in shares])]
mean_of["mixture"] = mixed(a, test_bits)
print(f"share of the LSTM {a:.2f}: {mean_of['mixture']:.3f} bits per character on the test books")
gained = mean_of["n-gram"] - mean_of["mixture"]
claim("bits that the weaker model adds to the stronger", gained, ">", 0.01)

# %% [markdown]
# The mixture beats both, although the LSTM alone loses. What the LSTM knows is not what the
# counts know.
#
# ## Temperature
#
# Last, the LSTM writes. Its logits $z$ become probabilities by softmax. Divide them first by a
# **temperature** $T$:
#
# $$ p_i = \frac{e^{z_i / T}}{\sum_j e^{z_j / T}} $$
#
# $T = 1$ draws from the model as it is. A small $T$ makes the probable characters more probable;
# $T \to 0$ always takes the best. A large $T$ makes everything more equal. Three texts grow at
# once, as a batch.

# %%
temperatures = np.array([0.3, 1.0, 1.6])
rng = np.random.default_rng(0)
states, texts_now = None, ["\n"] * 3
ids = np.full(3, number_of["\n"], dtype="int32")
surprise = np.zeros(3)
for _ in range(SAMPLE):
    logits, states = lstm.step(ids, states)
    z = keras.ops.convert_to_numpy(logits).astype("float64") / temperatures[:, None]  # (3, V)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    ids = np.array([rng.choice(V, p=row) for row in p], dtype="int32")
    texts_now = [text + alphabet[i] for text, i in zip(texts_now, ids, strict=True)]
for T, text in zip(temperatures, texts_now, strict=True):
    different = len(set(text.split())) / len(text.split())
    print(f"T = {T}: {different:.0%} of the words are different")
    print("   ", text.strip().replace("\n", " / "), "\n")

# %% [markdown]
# Cold text is correct and repeats itself. Hot text is new and falls apart. Lesson 18 has better
# ways to draw.
#
# ## Summary
#
# - A language model gives a distribution over the next token; it pays $-\log_2 p$ bits for what
#   really comes, and bits per character compare all models, whatever their tokens.
# - Plain counts fail on new text (infinite cost), add-one wastes long contexts; Kneser-Ney
#   subtracts a constant, hands it to the shorter context, and there counts *different* neighbours.
# - A neural n-gram shares what it learns between similar contexts; an LSTM has no fixed context.
# - In minutes on a CPU, Kneser-Ney of high order wins; the longer run shows how much time an LSTM
#   needs to come level. A mixture beats both.
# - Perplexity is $2^{\text{bits}}$ per token; it cannot be compared between different tokens.
#
# ## Exercises
#
# Open [exercises/12_language_models.ipynb](exercises/12_language_models.ipynb). You turn
# probabilities into bits, smooth counts, compute continuation counts, convert perplexities, and
# sample with a temperature. Each answer is checked in the notebook.
#
# ## References
#
# - C. Shannon (1948). A mathematical theory of communication. *Bell System Technical Journal* 27,
#   379-423. Section 3: sampled text of rising order.
# - C. Shannon (1951). Prediction and entropy of printed English. *Bell System Technical Journal*
#   30, 50-64. The guessing game; table of letter entropies.
# - K. Church, W. Gale (1991). A comparison of the enhanced Good-Turing and deleted estimation
#   methods for estimating probabilities of English bigrams. *Computer Speech and Language* 5.
# - R. Kneser, H. Ney (1995). Improved backing-off for m-gram language modeling. *ICASSP*, 181-184.
# - S. Chen, J. Goodman (1999). An empirical study of smoothing techniques for language modeling.
#   *Computer Speech and Language* 13, 359-394. Modified Kneser-Ney.
# - Y. Bengio, R. Ducharme, P. Vincent, C. Jauvin (2003). A neural probabilistic language model.
#   *Journal of Machine Learning Research* 3, 1137-1155. Section 2.
# - S. Hochreiter, J. Schmidhuber (1997). Long short-term memory. *Neural Computation* 9(8).
# - T. Mikolov and others (2010). Recurrent neural network based language model. *Interspeech*.
# - A. Graves (2013). Generating sequences with recurrent neural networks. arXiv:1308.0850.
#   Section 3: text, character by character.
# - K. Jordan and others (2024). Muon: an optimizer for hidden layers in neural networks (a report
#   with code).
# - D. Jurafsky, J. Martin. *Speech and Language Processing*, 3rd edition draft, chapter 3.
