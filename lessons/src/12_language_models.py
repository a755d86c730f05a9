# %% [markdown] tags=["edition-2"]
# # 12 · Language models
#
# **What does the next letter cost, and who pays less for it: a machine that counts, or a network that is trained?**
#
# **You need** lesson 02 (likelihood, cross-entropy), lesson 05 (Adam, Muon, schedules) and lesson 11 (the LSTM, and
# gradients that vanish). The logarithm to base 2 comes from school: $\log_2 8 = 3$, because $2^3 = 8$.
#
# **You will build** the best of the counting machines, a compressor that turns out to be the same machine, and an
# LSTM. Each of them guesses the next character of the King James Bible, first with all its knowledge frozen, then
# learning while it reads.
#
# **Time** about 2 minutes to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import lzma
import re
import zlib
from collections import Counter, defaultdict
from itertools import pairwise

import keras
import numpy as np

from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import bars, curves, show
from kerasllm.data import load

# %% [markdown]
# ## A guessing game
#
# Claude Shannon played this game in 1951. Somebody reads a text aloud, letter by letter, and stops. You guess the next
# letter, the right one is revealed, and the reading goes on. Our text is the King James Bible of 1611, and it is split
# by *book*: a machine may read 55 books, choose its settings on six others, and is judged on five more. Here are three
# places from the test. What comes next, and how sure are you each time?

# %%
READ = dial(None, smoke=120_000)  # characters of the training books that are read; None means all
LETTERS = dial(None, smoke=3_000)  # characters of the validation and of the test books
STEPS = dial(200, smoke=10, gpu=4_000)  # training steps of the LSTM
UNITS = dial(256, smoke=16, gpu=1_024)  # numbers in the state of the LSTM
ORDER = 10  # the longest runs of characters that are counted
READING_RATE = 0.001  # of the LSTM that learns while it reads; chosen on the validation books

verses = load("king-james")  # text, label (the book), split, chapter, verse
texts = {}
for part in ("train", "validation", "test"):
    texts[part] = "".join(verse + "\n" for verse in verses["text"][verses["split"] == part])
    print(f"{part:10s} {len(texts[part]):9,d} characters")
for place in (4_242, 100_011, 150_009):
    print("...", texts["test"][place - 46 : place].replace("\n", " / "), "?")
alphabet = sorted(set(texts["train"]))
V, number_of = len(alphabet), {character: i for i, character in enumerate(alphabet)}  # the line end has number 0
ids = {part: np.array([number_of[c] for c in text], "int64") for part, text in texts.items()}
train, validation, test = ids["train"][:READ], ids["validation"][:LETTERS], ids["test"][:LETTERS]

# %% [markdown]
# A **language model** is a machine that plays this game: it reads the text so far and answers with a probability for
# *every* character that could come next. The probabilities sum to 1, so it cannot bet on everything.
#
# How good is an answer? Look only at the probability $p$ that it gave to the character that really came, and let the
# machine pay $-\log_2 p$ bits. A probability of 1/2 costs one bit, 1/4 costs two, 1 costs nothing, and 0 costs
# infinitely much. The mean cost over a text is the number of **bits per character**: it is the cross-entropy of lesson
# 02 with the logarithm to base 2, and low is good. Whoever knows nothing calls all 63 characters equally probable and
# pays $\log_2 63 = 5.98$ bits for each.
#
# A bit here is a bit of memory. A model that pays 2 bits per character can be turned into a program that stores the
# text in 2 bits per character, up to a tiny rest (Shannon 1948 proved the limit; a method called arithmetic coding
# reaches it). So the *packers* on your machine, the programs that make files smaller, can be judged as language
# models, and every other model should cost less than they do. To be fair we also let them read the training books
# first: we pack both together and subtract the size of the packed training books alone.

# %%
learned, questions = (texts[part].encode()[:cut] for part, cut in (("train", READ), ("test", LETTERS)))
packers = {}
for name, pack in {"zip": zlib.compress, "xz": lzma.compress}.items():
    alone = 8 * len(pack(questions)) / len(questions)
    packers[name] = 8 * (len(pack(learned + questions)) - len(pack(learned))) / len(questions)
    print(f"{name:3s} on the test books: {alone:.3f} bits per character; after the training books {packers[name]:.3f}")

# %% [markdown]
# The program xz gains much from the training books, because it copies whole phrases from them. Zip gains almost
# nothing, for it looks back only 32,768 characters. Write down your guess: how far below xz can a machine get that
# only counts? And where will a network end that is trained for a minute?
#
# ## Counting, and why it fails
#
# A run of $n$ characters is an **n-gram**. A counting model of *order* $n$ looks at the last $n - 1$ characters, the
# context $h$, and answers for each character $w$ with the share of the times that it came next: $p(w \mid h) = c(hw) /
# c(h)$, where $c$ counts in the training books. Our text has 63 characters, so six bits hold one of them ($2^6 = 64$),
# and a whole number of 60 bits holds a run of ten. Dropping the last six bits of a number leaves the context, and
# keeping only the last $6k$ bits leaves the last $k$ characters.


# %%
def runs_of(ids, n):
    """For each run of n characters one whole number, six bits a character."""
    result = np.zeros(max(len(ids) - n + 1, 0), "int64")
    for i in range(n):
        result = result * 64 + ids[i : i + len(result)]
    return result


def counted(ids, n):
    """The different runs of n characters, sorted, and how often each occurs."""
    return np.unique(runs_of(ids, n), return_counts=True)


def ends(ids):
    """For each character of a text the run of ORDER characters that ends with it; line ends stand in front."""
    return runs_of(np.concatenate([np.zeros(ORDER - 1, "int64"), ids]), ORDER)


# %%
def find(table, values, wanted, missing):
    """The value of each wanted run in a sorted table."""
    place = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
    return np.where(table[place] == wanted, values[place], missing)


def share(query, n, add=0.0):
    """p(last character | the n - 1 before it) from the counts of order n, with `add` added to each count."""
    runs, counts = often[n]
    contexts, first = np.unique(runs // 64, return_index=True)
    c_hw = find(runs, counts, query % 64**n, 0) + add
    c_h = find(contexts, np.add.reduceat(counts, first), query % 64**n // 64, 0) + add * V
    return np.divide(c_hw, c_h, out=np.zeros(len(query)), where=c_h > 0)


# %%
often = {n: counted(train, n) for n in range(1, ORDER + 1)}
print("different runs of 1 to 10 characters:", *(f"{len(runs):,}" for runs, _ in often.values()))
asked = ends(validation)
known = ends(train[: len(validation)])
add_one = [-np.log2(share(asked, n, add=1)).mean() for n in often]
print("order   its own text, bits   validation books, characters with p = 0   add one, bits")
for n in often:
    own, impossible = share(known, n), (share(asked, n) == 0).sum()
    print(f"{n:5d} {-np.log2(own[own > 0]).mean():20.3f} {impossible:41,d} {add_one[n - 1]:15.3f}")

# %% [markdown]
# On its own training text the long model looks brilliant. On new text a single character with probability 0 makes the
# whole cost infinite, and at order 10 more than a third of the characters are of this kind. This is overfitting
# (lesson 06): the machine has learned its books by heart, and what does not stand in them is impossible for it.
#
# The oldest repair adds one to every count (Laplace). In the last column longer contexts help up to order 5, and then
# they hurt. A long context was seen three times, say, and now 63 invented counts stand beside three real ones, so the
# evidence is thrown away exactly where it is most precise.
#
# ## Hand the question down
#
# In a better repair every count gives up a little, its **discount** $D$, so that something is left for characters that
# were never seen in this context. What was given up is not spread evenly: it goes to the model of the next shorter
# context $h'$, which has seen more. Let $T(h)$ be the number of different characters that followed $h$. Each of them
# paid $D$, so the part $\lambda(h)$ is exactly what was collected, and the answer still sums to 1:
#
# $$ p_n(w \mid h) = \frac{\max(c(hw) - D, 0)}{c(h)} + \lambda(h)\, p_{n-1}(w \mid h'),
# \qquad \lambda(h) = \frac{D \cdot T(h)}{c(h)} $$
#
# In the drawing the question comes in at the longest context. Each level keeps the share of which it is sure, and
# hands the rest down. A context that was never seen has $\lambda = 1$, so it hands down everything. Below the last
# level, which has no context at all, every character gets 1/63.

# %% tags=["hide"]
# @title Drawing: the question is handed down
sheet = Diagram(8, 2.75)
rows = [("the Hol", 2.35, "p₈"), ("he Hol", 1.7, "p₇"), ("e Hol", 1.05, "p₆")]
for context, y, name in rows:
    box = sheet.box(context, (1.85, y), meaning="given", width=0.95)
    split = sheet.box("counts − D", (4.3, y), meaning="subject", width=1.2)
    answer = sheet.box(name, (6.9, y), meaning="output", width=0.6)
    sheet.arrow(box.right, split.left, "what came next?")
    sheet.arrow(split.right, answer.left, "sure of this share", meaning="output")
    sheet.arrow(split.bottom, (4.3, y - 0.45), meaning="control")
    sheet.text((4.45, y - 0.32), "λ: the rest, one character shorter", meaning="control", size=8.5, align="left")
sheet.text((1.25, 2.35), "longest context", size=8.5, align="right")
sheet.text((4.3, 0.42), "...", size=12)
sheet.text((4.3, 0.14), "no context at all: every character 1/63", size=8.5)
show(sheet.figure, "Three contexts, the Hol, he Hol and e Hol, one below the other. Each compares its counts minus D,"
     " gives a sure share to its probability and hands the rest, lambda, to the next shorter context.")  # fmt: skip

# %% [markdown]
# One question is left, and it decides most: what is a good *shorter* model? The table counts three words in the
# training books. After a word that none of the three has ever followed, which of them is the best guess?

# %% tags=["hide"]
# @title Table: three words and what stands in front of them
words = re.findall(r"[A-Za-z']+", texts["train"])
occurs, before = Counter(words), defaultdict(Counter)
for left, word in pairwise(words):
    before[word][left] += 1
print("word       occurs   after different words   most often after")
for word in ("midst", "Ghost", "Remember"):
    print(f"{word:10s} {occurs[word]:6d} {len(before[word]):23d}   {before[word].most_common(1)[0][0]}")

# %% [markdown]
# The word *midst* is by far the most frequent, but it stands behind *the* and nothing else. *Ghost* stands behind
# *Holy* alone. Where *Holy* is in the context, the long model knows already. Where it is not, *Ghost* will not come,
# however often it occurs. *Remember* is no more frequent, but it comes after many different words, so it is the best
# guess. A shorter model should therefore not ask "how often?" but "after how many *different* characters?". This is the
# idea of **Kneser-Ney** (1995): every level but the longest counts, for each run, the different characters that stand
# in front of it.
#
# Check it on paper with the text `abracadabra`, order 2 and $D = 0.5$. In front of *a* stand r, c and d, so *a* has
# the count 3; b, r, c and d have 1 each. Together they are 7, so $p_1(a) = 3/7$ and $p_1(b) = 1/7$. (The short level
# pays too, but here all five letters pay 0.5 and each gets a fifth of the sum back.) After *a* came b twice, c once
# and d once, so $c(h) = 4$, $T(h) = 3$ and $\lambda = 0.5 \cdot 3/4 = 0.375$. So $p_2(b \mid a) = 1.5/4 + 0.375/7 =
# 0.429$, and the pair *aa*, which was never seen, gets $0.375 \cdot 3/7 = 0.161$.


# %%
def level(runs, counts, discounts):
    """One level of the model: the sure share of each run, and what each context hands down."""
    paid = np.asarray(discounts)[np.minimum(counts, 3) - 1]  # one discount for counts of 1, of 2, of 3 and more
    contexts, first, of = np.unique(runs // 64, return_index=True, return_inverse=True)
    total = np.add.reduceat(counts, first)  # c(h)
    return runs, (counts - paid) / total[of], contexts, np.add.reduceat(paid, first) / total


def probability(levels, query, p):
    """p(last character | those before it), from the shortest context to the longest; p: below the shortest."""
    for n, (runs, sure, contexts, handed) in enumerate(levels, start=1):
        run = query % 64**n
        p = find(runs, sure, run, 0) + find(contexts, handed, run // 64, 1) * p
    return p


# %%
def different(runs, n):
    """The runs without their first character, and how many different characters stand in front of each."""
    return np.unique(runs % 64 ** (n - 1), return_counts=True)


text = np.array([number_of[c] for c in "abracadabra"])
pairs, number = counted(text, 2)
levels = [level(*different(pairs, 2), [0.5] * 3), level(pairs, number, [0.5] * 3)]
for right in "ba":
    query = runs_of([number_of["a"], number_of[right]], 2)
    print(f"p({right} | a) = {probability(levels, query, 1 / 5)[0]:.4f}")

# %% [markdown]
# ## What should a count lose?
#
# How large is $D$? We count in every second verse, take the runs of 7 characters that occur there $r$ times, and ask
# how often the same runs came in the *other* verses, which are as many (Church and Gale 1991 did this with words). The
# loss can even be predicted. Let $n_r$ different runs occur exactly $r$ times, and take one occurrence of a run out of
# the text. If the text had that run $r+1$ times, the rest has it $r$ times. There are $(r+1)\, n_{r+1}$ such
# occurrences for about $n_r$ runs, so a run seen $r$ times should come $(r+1)\, n_{r+1} / n_r$ times. What is missing
# to $r$ is Good's formula, $D_r = r - (r+1)\, n_{r+1} / n_r$. The third discount serves for all larger counts too.
#
# Kneser-Ney takes more: the same formula with a factor $Y = n_1 / (n_1 + 2 n_2)$ before the fraction (Chen and Goodman
# 1999). Since $Y$ is below 1, less is subtracted from $r$, and the discount grows. Why should a count lose more than
# it was too high? Because the shorter model *gives back*. It hands its part to all characters, also to those that were
# seen here and have paid. So we ask the complete model what it promises: how often should a run come in the other
# half, if $p(w \mid h)$ is right and the context comes as often as it does there?


# %%
def discounts(counts, good=False):
    """What counts of 1, of 2 and of 3 and more lose: Kneser-Ney's discounts, or Good's."""
    n = np.bincount(np.minimum(counts, 5), minlength=5).astype(float)
    if not n[1:5].all():  # too few characters for the formula
        return [0.5, 0.5, 0.5]
    Y = 1 if good else n[1] / (n[1] + 2 * n[2])
    return [r - (r + 1) * Y * n[r + 1] / n[r] for r in (1, 2, 3)]


def kneser_ney(ids, order, shorter=different, good=False):
    """Counts and discounts of each level. shorter: what all but the longest count; good: Good's, on the longest."""
    tables = {n: counted(ids, n) for n in range(1, order + 1)}
    levels = [shorter(tables[n + 1][0], n + 1) for n in range(1, order)] + [tables[order]]
    return [(*table, discounts(table[1], good and table is levels[-1])) for table in levels]


# %%
lines = texts["train"][:READ].splitlines(keepends=True)
half, other = (np.array([number_of[c] for c in "".join(lines[i::2])], "int64") for i in (0, 1))
runs, counts = counted(half, 7)
came = find(*counted(other, 7), runs, 0)
contexts = find(*counted(other, 6), runs // 64, 0)  # how often the context comes in the other half
models = [[level(*one) for one in kneser_ney(half, 7, good=good)] for good in (True, False)]
promised = [probability(model, runs, 1 / V) * contexts for model in models]
takes = [discounts(counts, good) for good in (True, False)]
print("count   came   Good takes   and promises   Kneser-Ney takes   and promises")
for r in (1, 2, 3, 4, 5):
    D, (good, ours) = [d[min(r, 3) - 1] for d in takes], [one[counts == r].mean() for one in promised]
    print(f"{r:5d} {came[counts == r].mean():6.2f} {D[0]:12.2f} {good:14.2f} {D[1]:18.2f} {ours:14.2f}")
bits_other = [-np.log2(probability(model, runs_of(other, 7), 1 / V)).mean() for model in models]
print(f"on the other half: Good's discounts {bits_other[0]:.3f} bits, Kneser-Ney's {bits_other[1]:.3f}")

# %% [markdown]
# A run that was seen once came 0.56 times, so its count was 0.44 too high, and a count of 5 was 0.71 too high. The
# loss hardly grows with the count, which is why we subtract and do not multiply. Good's formula predicts it well. But
# with Good's discounts on its longest contexts the complete model promises 0.64, and it promises too much at every
# count: what the shorter levels give back comes on top. Kneser-Ney's discounts are larger to make room for that. With
# them the promises are a little too small for counts above 1, and still they cost fewer bits on the other half. Both
# halves come from the same books, so large discounts do not mean that new text is different. A model needs them if it
# returns a part of what it collects.
#
# ## Counting on books it has never seen
#
# Now we compare all orders on the validation books. The control for the idea of Kneser and Ney is the same machine,
# with the same formula for its discounts, whose shorter levels count how *often* a run occurs. Before you look at the
# figure: which of the three curves rise again at the right end, where contexts are long?


# %%
def how_often(runs, n):
    """The control: the runs without their first character, and how often each occurs."""
    return often[n - 1]


cost = {"Kneser-Ney": {}, "its control: how often": {}}
for n in range(2, ORDER + 1):
    for name, shorter in zip(cost, (different, how_often), strict=True):
        tables = kneser_ney(train, n, shorter)
        cost[name][n] = -np.log2(probability([level(*one) for one in tables], asked, 1 / V)).mean()
    print(f"order {n:2d}:", "   ".join(f"{name} {of_order[n]:.3f}" for name, of_order in cost.items()))

# %% tags=["hide"]
# @title Figure: bits per character against the order
orders = list(range(2, ORDER + 1))
lines = {"Kneser-Ney": [*cost["Kneser-Ney"].values()], "how often": [*cost["its control: how often"].values()]}
figure = curves(
    orders, lines | {"add one": add_one[1:]}, title="Counting different neighbours lets long contexts help to the end",
    x_label="order: characters of a run, the guessed one included", y_label="bits per character",
    colors={"add one": "error"},
)  # fmt: skip
figure.axes[0].set_ylim(0, None)
show(figure, "Bits per character on the validation books against the order. Add one falls until order 5 and rises"
     " steeply. Plain counts in the shorter levels rise a little after 6. Kneser-Ney falls and stays low.")  # fmt: skip

# %% [markdown]
# Only Kneser-Ney keeps falling. The machine that counts occurrences has seen the same books, is worse at every order,
# and rises beyond order 6. One changed word, "different" for "often", is worth about 0.09 bits there. That is as much
# as four further characters of context bring to Kneser-Ney, and at order 10 the gap has grown to 0.36 bits.
#
# ## The machine that counts while it reads
#
# Packers go on learning while they read, and our model does not. Cleary and Witten (1984) built **PPM** (prediction by
# partial matching), a family of compressors. It keeps, for every context, a small table of what followed, predicts
# from the longest context that it knows, and *after each character counts it*. One rule of PPM seems only to save
# work: the longest context always counts the new character, but a shorter context counts it only if the longer one had
# never seen it (Moffat 1990).
#
# A short context counts a character once for every longer context in which it is new. That is once for each
# *different* character in front: the count of Kneser and Ney, five years earlier. In `abracadabra` the level without
# context counts *a* only when it is new after the character before: after r, c and d, which makes 3, as on paper. (The
# first letter has no neighbour.) So PPM can be written as Kneser-Ney that reads. (Ours also gives back; the classical
# PPM does not.)


# %%
class PPM:
    """Kneser-Ney whose tables grow while it reads."""

    def __init__(self, tables):
        self.discounts = [[0.0, *one] for *_, one in tables]  # of counts 0, 1, 2, and 3 and more
        self.seen = [{} for _ in tables]  # for each level: context -> [total, paid, {character: count}]

    def count(self, n, context, w, times=1):
        """Count w after a context of n characters. Returns whether it was known there."""
        node = self.seen[n].setdefault(context, [0, 0.0, {}])
        old = node[2].get(w, 0)
        node[0] += times
        node[1] += self.discounts[n][min(old + times, 3)] - self.discounts[n][min(old, 3)]
        node[2][w] = old + times
        return old > 0


# %%
def read(ppm, ids, learns):
    """Bits of each character. The machine is asked first, and counts the character afterwards."""
    costs, past = [], 0
    for w in ids.tolist():
        p = 1 / V
        for n, seen in enumerate(ppm.seen):
            if (node := seen.get(past % 64**n)) is None:
                break  # a longer context is unknown too
            total, paid, counts = node
            c = counts.get(w, 0)
            p = (c - ppm.discounts[n][min(c, 3)] + paid * p) / total
        costs.append(-np.log2(p))
        if learns:
            for n in reversed(range(ORDER)):
                if ppm.count(n, past % 64**n, w):
                    break  # the shorter contexts count only what was new
        past = past % 64 ** (ORDER - 1) * 64 + w
    return np.array(costs)


# %% [markdown]
# We let an empty PPM read a piece of the training books, freeze it, and hold it against the tables that NumPy makes of
# the same piece: the first line shows the same model, built twice. (The last digit differs, because only the reader
# sees line ends in front of the text.) Then comes the experiment. One machine starts with empty tables and learns from
# the test books alone, as a packer does; only its discounts come from the training books. The second is filled with
# the tables of all 55 training books and frozen, which is the Kneser-Ney model of the order that the validation books
# chose. The third has the same tables and goes on counting. The test books are opened here, once.

# %%
piece, few = train[:100_000], validation[:20_000]
grown = PPM(kneser_ney(piece, ORDER))
read(grown, piece, learns=True)
by_tables = -np.log2(probability([level(*one) for one in kneser_ney(piece, ORDER)], ends(few), 1 / V))
print(f"grown by reading {read(grown, few, learns=False).mean():.4f} bits, from tables {by_tables.mean():.4f}")
tables = kneser_ney(train, ORDER)
ppm = PPM(tables)
for n, (runs, counts, _) in enumerate(tables):
    for run, times in zip(runs.tolist(), counts.tolist(), strict=True):
        ppm.count(n, run // 64, run % 64, times)
empty = read(PPM(tables), test, learns=True)
frozen = read(ppm, test, learns=False)
learning = read(ppm, test, learns=True)
print(f"empty and learning {empty.mean():.4f} bits per character, xz {alone:.4f}")
print(f"filled and frozen {frozen.mean():.4f}, filled and learning {learning.mean():.4f}, xz {packers['xz']:.4f}")

# %%
best = min(cost["its control: how often"].values())
counting = Claims("What counting is worth, in bits per character")
counting.claim("Counting different neighbours pays", min(cost["Kneser-Ney"].values()), "<", best,
               control="the same machine counting how often, at its best order", unit="bits")  # fmt: skip
counting.claim("A model that gives back must take more than Good's discounts", bits_other[1], "<", bits_other[0],
               control="Good's discounts on the longest contexts", unit="bits")  # fmt: skip
counting.claim("Learning while it reads pays", learning.mean(), "<", frozen.mean(), control="the same tables, frozen",
               headline="counts that go on growing while they read cost {measured}, the same counts frozen {bound}",
               unit="bits")  # fmt: skip
counting.claim("A frozen count is below a packer that learns", frozen.mean(), "<", packers["xz"],
               control="xz with the same training books", unit="bits")  # fmt: skip
counting.show()
bits, per_word = frozen.mean(), len(test) / len(texts["test"][:LETTERS].split())  # with the space behind a word
print(f"2 to the power of the frozen counts' bits: {2**bits:.2f} a character, {2 ** (bits * per_word):.0f} a word")

# %% [markdown]
# The five books of the test bring their own names and habits: Esther, Haman, *vanity of vanities*. A frozen model
# meets *Haman* as a stranger every time, and the one that learns soon knows him. So a compressor and a frozen language
# model cannot be compared as they stand: one of them was trained on the test as well, honestly, because it was asked
# before it learned. The figure shows where the bits are saved. Look along the letters of a word at the height of the
# lines and at their distance. The signs between two words stand at the left. (The line on powers of 2 is for later.)

# %% tags=["hide"]
# @title Figure: where the bits are spent
plain = re.sub("[^a-z]", " ", texts["test"][: len(test)].lower())
spot = np.array([len(plain[max(0, i - 7) : i + 1].rpartition(" ")[2]) for i in range(len(plain))])
names = ["between", "1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th +"]
lines = {name: [costs[spot == k].mean() if (spot == k).any() else np.nan for k in range(9)]
         for name, costs in {"learning": learning, "frozen": frozen}.items()}  # fmt: skip
figure = curves(
    list(range(9)), lines, title="Choosing a word is expensive, spelling it is cheap; learning helps with both",
    x_label="letter of a word", y_label="bits per character",
)  # fmt: skip
figure.axes[0].set_xticks(range(9), names)
figure.axes[0].set_ylim(0, None)
show(figure, "Mean bits by place in a word, for the frozen and the learning counts. The first letter costs most by far,"
     " later letters fall below one bit. The learning line is a little below the frozen one everywhere.")  # fmt: skip
first = frozen[spot == 1].sum() / frozen.sum()
print(f"first letters are {np.mean(spot == 1):.0%} of the text and {first:.0%} of the bits")

# %% [markdown]
# The first letters are 19% of the text and cost 47% of the bits, because there a word is chosen; from the fourth
# letter on a character costs less than a bit. Learning helps at every place. In proportion it saves most late in a
# word, where a name that was new is spelled again.
#
# ## A network that reads
#
# Counts have a weakness. What they learn about *the king said* says nothing about *the kings said*, because each
# context is a stranger to every other one. A network answers similar contexts alike (Bengio et al. 2003 began with
# words). Our model is the LSTM of lesson 11 with an embedding below and a dense layer above, which answers with 63
# logits at every position. Its context has no fixed length, for the state can carry anything that it has read.
#
# But how do you train a state over 3.7 million characters? Backpropagation through the whole text would have to keep
# every state in memory. In **truncated backpropagation** the text is cut into windows, here of 64 characters. The
# *value* of the state is handed on from one window to the next, but the gradient stops at the border: an error is
# traced back to the first character of its own window, and no further (Williams and Peng 1990). Blue arrows carry
# values, red ones gradients.

# %% tags=["hide"]
# @title Drawing: truncated backpropagation
sheet = Diagram(8, 2.0)
last = None
for x, piece in ((1.55, "In the beg"), (4.0, "inning God"), (6.45, "created th")):
    token = sheet.box(piece, (x, 0.3), width=1.2)
    block = sheet.box("LSTM, 64 steps", (x, 1.1), meaning="weights", width=1.35, height=0.55)
    sheet.arrow(token.top, block.bottom)
    sheet.arrow((x + 0.55, 1.6), (x - 0.55, 1.6), "gradient", meaning="error")
    if last:
        sheet.arrow(last.right, block.left, "state", meaning="state", width=1.8)
        middle = (last.right[0] + block.left[0]) / 2
        sheet.text((middle, 1.6), "cut", meaning="error", size=10)
    last = block
sheet.arrow((0.25, 1.1), (0.86, 1.1), "zeros", meaning="given")
sheet.arrow(last.right, (7.75, 1.1), "state", meaning="state", width=1.8)
show(sheet.figure, "Three windows of a text, each read by the LSTM. A state goes from window to window. In each window"
     " a red arrow, the gradient, runs back to its first character; between the windows it is cut.")  # fmt: skip

# %% [markdown]
# Keras calls a layer that keeps its state `stateful`. It needs to know the number of rows in a batch, and row 7 of the
# next batch must go on where row 7 ended. So we cut the training books into 64 streams, and each step reads 64
# characters of every stream.


# %%
def network(streams, carried=True):
    """The LSTM language model: characters (streams, time) to logits (streams, time, V)."""
    return keras.Sequential(
        [
            keras.Input(batch_shape=(streams, None), dtype="int32"),
            keras.layers.Embedding(V, 64),
            keras.layers.LSTM(UNITS, return_sequences=True, stateful=carried),
            keras.layers.Dense(V),
        ]
    )


def windows(ids, streams, size=64):
    """Characters and their successors (steps, streams, size): row r goes on where row r ended."""
    rows = ids[: len(ids) // streams * streams].reshape(streams, -1).astype("int32")
    rows = np.pad(rows, ((0, 0), (1, 0)))  # a line end stands in front
    steps = (rows.shape[1] - 1) // size
    cut = [rows[:, shift : shift + steps * size].reshape(streams, steps, size) for shift in (0, 1)]
    return [part.swapaxes(0, 1) for part in cut]


# %%
keras.utils.set_random_seed(0)
lstm = network(streams=64)
warm_up = min(20, STEPS // 2)
rate = keras.optimizers.schedules.CosineDecay(0.0, STEPS - warm_up, warmup_target=0.03, warmup_steps=warm_up)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
lstm.compile(keras.optimizers.Muon(rate), loss, steps_per_execution=10)
x, y = (part[:STEPS].reshape(-1, 64) for part in windows(train, streams=64))
lstm.fit(x, y, batch_size=64, shuffle=False, verbose=0)
same_text = y.reshape(-1, 64, 64).swapaxes(0, 1).ravel()  # what it read, one stream after the other
print(f"{lstm.count_params():,} weights have read {y.size:,} characters of the training books once")

# %% [markdown]
# The test is that of PPM. The network reads the test books in 16 streams that carry their states. Once its weights are
# frozen. The other time it takes a small step of training after each window, which is known as *dynamic evaluation*
# (Mikolov et al. 2010, Krause et al. 2018). Each window is asked *before* it is learned. (The streams save time, and
# the network starts 16 times without a past.) The learning rate of this reading was chosen on the validation books.
#
# The counts have read more than the network. Their control is the same machine, frozen, with counts of nothing but the
# characters that the network was trained on.


# %%
def reading(weights, ids, learning_rate):
    """Mean bits of a text that the network reads in 16 streams; with a rate of 0 it is frozen."""
    model = network(streams=16)
    model.set_weights(weights)
    model.compile(keras.optimizers.Adam(learning_rate), loss)
    costs = []
    for x, y in zip(*windows(ids, streams=16), strict=True):
        ask = model.train_on_batch if learning_rate else model.test_on_batch  # the loss is that before the step
        costs.append(ask(x, y))
        model.reset_metrics()
    return np.mean(costs) / np.log(2)


lstm_frozen, lstm_learning = (reading(lstm.get_weights(), test, r) for r in (0.0, READING_RATE))
print(f"LSTM frozen {lstm_frozen:.3f}, LSTM learning {lstm_learning:.3f} bits per character")
same_tables = [level(*one) for one in kneser_ney(same_text, ORDER)]
counts_of_same = -np.log2(probability(same_tables, ends(test), 1 / V)).mean()
print(f"Kneser-Ney from the same {len(same_text):,} characters, frozen: {counts_of_same:.3f}")

# %% [markdown]
# ## Who pays less?
#
# The same experiment ran from `benchmarks/carried_state.py` with three seeds. It has a control for the carried state:
# an LSTM that reads the same windows in the same order and starts each of them from zeros. A second script trained a
# larger LSTM twenty times as long. The set `character-models` holds every run. The figure shows all machines: which
# colour is shorter, and which bar is the shortest?

# %%
runs = load("character-models")
seeds = {}
for names, rows in runs[runs["experiment"] == "carried state"].groupby(["trained", "state", "weights"], sort=False):
    seeds[names] = rows.sort_values("seed")["test_bits"].tolist()
    print("trained {:7s} read {:7s} {:8s}:".format(*names), *(f"{bits:.4f}" for bits in seeds[names]))
carried, growing = (np.array(seeds["carried", "carried", weights]) for weights in ("frozen", "learning"))
reset, cold = seeds["carried", "zeros", "frozen"], seeds["zeros", "carried", "frozen"]
end = runs[runs["units"] == 384].iloc[-1]
print(f"{end.units} units, {end.steps:,} steps, {end.seconds:,} processor seconds: {end.test_bits:.4f}")
network_claims = Claims("What the network is worth, in bits per character of the test books")
network_claims.claim("Trained once on a part of the books, a network pays more than counts of that part", carried, ">",
                     counts_of_same, control="Kneser-Ney on the same characters, frozen", unit="bits")  # fmt: skip
network_claims.claim("It pays less if it goes on learning", growing, "<", carried, control="frozen", unit="bits",
                     headline="an LSTM that learns as it reads pays {measured}, frozen {bound}")  # fmt: skip
network_claims.claim("A carried state is worth more in reading than in training", reset - carried, ">",
                     cold - carried, control="trained from zeros", unit="bits")  # fmt: skip
network_claims.claim("The run of this notebook repeats the table", lstm_frozen, "==", np.mean(carried), tolerance=0.05,
                     control="three seeds of the benchmark", unit="bits")  # fmt: skip
network_claims.show()

# %% tags=["hide"]
# @title Figure: what a character of the test books costs
values = {
    "xz after the training books": packers["xz"],
    "LSTM, frozen": carried,
    "LSTM, learning": growing,
    "larger LSTM, frozen": end.test_bits,
    "Kneser-Ney, the LSTM's text": counts_of_same,
    "Kneser-Ney, frozen": frozen.mean(),
    "the same as PPM, learning": learning.mean(),
}
blue = {name: "subject" if name.endswith("learning") else "control" for name in values}
figure = bars(
    values, title="Who learns while it reads pays less, and counting is hard to beat", digits=3,
    x_label="bits per character of the test books", colors=blue | {"xz after the training books": "given"},
)  # fmt: skip
show(figure, "Bars of bits per character: xz, the LSTM frozen and learning, a larger LSTM frozen, Kneser-Ney frozen"
     " on the LSTM's text and on all books, and the same counts learning, the lowest. Each learning bar is the shorter"
     " one.")  # fmt: skip

# %% [markdown]
# Who pays less? The small LSTM pays more than the counts, 1.92 against 1.57 bits, but it has read less than a quarter
# of their books. Counts of the same characters pay 1.72. So 0.14 bits of the difference come from the other books, and
# 0.21 remain between the machines. (A network may read a text many times, though.) The larger one was trained for
# 1,159 processor seconds and ends a little below the *frozen* counts, at 1.54 bits. But the counts that go on learning
# are still below it, at 1.48. So the order of the two machines depends on the training time, and on a question that
# tables of results seldom answer: was the model frozen?
#
# Learning while reading is worth about 0.09 bits to both machines, although one of them learns by adding 1 and the
# other by a gradient. The carried state gives a less expected result. To start every window of the *reading* from
# zeros costs several hundredths of a bit, because the first characters of each window have nothing to go by. But a
# network that was *trained* from zeros reads with a carried state almost as well. In 64 characters it has learned what
# to keep. Longer training, or a text with distant context, may change that.
#
# ## What can go wrong
#
# Many papers print not bits but the **perplexity**: 2 to the power of the bits for one token, or $e$ to the power of
# the loss that Keras prints. It is the number of equally probable tokens that would be as hard to guess. The myth is
# that a lower perplexity means a better model. But the line below the first table shows one model on one text with two
# perplexities, for characters and for words. Compare perplexities only between models with the same tokens. For all
# others divide the bits of the whole text by its characters, as this course does from here on (Jurafsky and Martin,
# section 3.3).
#
# Two mistakes make a number too good. A state that is carried from the training text into the test text has already
# seen its beginning, so start the test from zeros. And whoever lets a model learn *before* it is asked has trained on
# the test.
#
# ## Summary
#
# - A language model answers with a probability for every next token and pays $-\log_2 p$ bits; bits per character
#   compare all models, and packers are among them.
# - Plain counts fail on new text. Kneser-Ney takes a discount, hands it to the shorter context, and counts there after
#   how many *different* characters a run comes. The discounts are large because the shorter model gives back.
# - PPM counts a shorter context only when the longer one did not know: the same counts, grown while it reads.
# - An LSTM is trained on windows: the state is handed on and the gradient is cut.
# - To learn while reading is worth much for either machine, so say of every number whether the model was frozen.
#
# ## Exercises
#
# Open [exercises/12_language_models.ipynb](exercises/12_language_models.ipynb). You turn probabilities into bits,
# smooth counts, count different neighbours, convert perplexities, and cut a text into streams. In the experiment you
# measure what learning is worth to a machine that reads two different texts.
#
# ## References
#
# - C. Shannon (1948). A mathematical theory of communication. *Bell System Technical Journal* 27. Sections 3 and 7.
# - C. Shannon (1951). Prediction and entropy of printed English. *Bell System Technical Journal* 30. The guessing game.
# - K. Church, W. Gale (1991). A comparison of the enhanced Good-Turing and deleted estimation methods for estimating
#   probabilities of English bigrams. *Computer Speech and Language* 5. The two halves.
# - R. Kneser, H. Ney (1995). Improved backing-off for m-gram language modeling. *ICASSP*, 181-184.
# - S. Chen, J. Goodman (1999). An empirical study of smoothing techniques for language modeling. *Computer Speech and
#   Language* 13. Section 3: the three discounts.
# - J. Cleary, I. Witten (1984). Data compression using adaptive coding and partial string matching. *IEEE Transactions
#   on Communications* 32.
# - A. Moffat (1990). Implementing the PPM data compression scheme. *IEEE Transactions on Communications* 38.
# - Y. Bengio, R. Ducharme, P. Vincent, C. Jauvin (2003). A neural probabilistic language model. *JMLR* 3. Section 2.
# - R. Williams, J. Peng (1990). An efficient gradient-based algorithm for on-line training of recurrent network
#   trajectories. *Neural Computation* 2.
# - T. Mikolov and others (2010). Recurrent neural network based language model. *Interspeech*. Section 2.
# - B. Krause, E. Kahembwe, I. Murray, S. Renals (2018). Dynamic evaluation of neural sequence models. *ICML*.
# - D. Jurafsky, J. Martin. *Speech and Language Processing*, 3rd edition draft, chapter 3.
