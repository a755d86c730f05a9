# %% [markdown]
# # Exercises 08 · Text to tokens
#
# Four exercises and an experiment, each alone. The experiment learns small vocabularies, which takes
# seconds. Where the text says *predict*, write your guess down before you run anything.

# %%
import unicodedata
from collections import Counter
from itertools import pairwise

import numpy as np

from kerasllm import text
from kerasllm.course import between, case, check
from kerasllm.data import load

# %% [markdown]
# ## Exercise 1: count what a reader sees
#
# Write `count_words(text)`. Return a dictionary from word to count. Words are separated by white
# space. Two words that differ only in how an accent is stored (one code point or two) must count
# as one, under the form with *one* code point. Words that a reader can tell apart stay apart:
# "cafe" is not "café", "May" is not "may", and "x²" is not "x2".


# %% tags=["answer"]
def count_words(text):
    """How often each word occurs, after normalising; a dictionary."""
    ### BEGIN SOLUTION
    return Counter(unicodedata.normalize("NFC", text).split())
    ### END SOLUTION


# %% tags=["check"]
check(
    count_words,
    case("plain words", "to be or not to be", expect={"to": 2, "be": 2, "or": 1, "not": 1}),
    case("two ways to store é", "caf\u00e9 cafe\u0301", expect={"caf\u00e9": 2}),
    case("with and without accent", "cafe caf\u00e9", expect={"cafe": 1, "caf\u00e9": 1}),
    case("a raised digit", "x2 x\u00b2", expect={"x2": 1, "x\u00b2": 1}),
    case("capitals", "May may", expect={"May": 1, "may": 1}),
    case("a Korean syllable in parts", "\u1112\u1161\u11ab", expect={"\ud55c": 1}),
    nudge="Print the code points of the two spellings of café. What must happen before you count?",
    hint="unicodedata.normalize has four forms; one of them joins and replaces nothing else.",
)


# %% tags=["wrong"]
def count_words(text):
    return Counter(text.split())  # counts code points


# %% tags=["wrong"]
def count_words(text):
    return Counter(unicodedata.normalize("NFKC", text).split())  # x² becomes x2


# %% tags=["wrong"]
def count_words(text):
    return Counter(unicodedata.normalize("NFD", text).split())  # the other form


# %% tags=["wrong"]
def count_words(text):
    apart = unicodedata.normalize("NFD", text)
    return Counter("".join(c for c in apart if not unicodedata.combining(c)).split())


# %% [markdown]
# ## Exercise 2: one step of BPE
#
# Write `step(words)`. `words` is a dictionary from a tuple of parts to a count, for example
# `{("l", "o", "w"): 5, ("l", "o", "t"): 2}`. Find the most frequent pair of neighbours. A pair
# counts each time it stands in a word, times the word's count. In a tie, the pair that is smaller
# as a tuple wins. Return the pair and the new dictionary, in which the pair is joined from left
# to right. `words` itself stays as it is.


# %% tags=["answer"]
def step(words):
    """The best pair, and the words after it was joined: (pair, dictionary)."""
    ### BEGIN SOLUTION
    pairs = Counter()
    for parts, count in words.items():
        for pair in pairwise(parts):
            pairs[pair] += count
    best = min(pairs, key=lambda pair: (-pairs[pair], pair))
    result = {}
    for parts, count in words.items():
        joined, i = [], 0
        while i < len(parts):
            found = parts[i : i + 2] == best
            joined.append(parts[i] + parts[i + 1] if found else parts[i])
            i += 2 if found else 1
        result[tuple(joined)] = count
    return best, result
    ### END SOLUTION


# %% tags=["check"]
def step_gives(pair, words):
    def look(answer):
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            return "it did not return two things, the pair and the words."
        found, joined = answer
        if not isinstance(joined, dict) or not isinstance(found, tuple | list):
            return "it should return a tuple and a dictionary."
        if tuple(found) != pair:
            return f"the pair {found} is not the best one."
        if joined != words:
            return "the pair is right, but the words after the step are not."
        return None

    return look


check(
    step,
    case(
        "counts of words matter",
        {("c", "a", "t"): 1, ("c", "a", "b"): 1, ("d", "o"): 3},
        expect=step_gives(("d", "o"), {("c", "a", "t"): 1, ("c", "a", "b"): 1, ("do",): 3}),
    ),
    case(
        "a tie",
        {("o", "n"): 2, ("a", "t"): 2},
        expect=step_gives(("a", "t"), {("o", "n"): 2, ("at",): 2}),
    ),
    case(
        "parts of several letters",
        {("th", "e"): 4, ("t", "he"): 3, ("t", "h", "e"): 1},
        expect=step_gives(("th", "e"), {("the",): 4, ("t", "he"): 3, ("t", "h", "e"): 1}),
    ),
    case(
        "a part that only ends like the pair",
        {("a", "t"): 3, ("ca", "t"): 1},
        expect=step_gives(("a", "t"), {("at",): 3, ("ca", "t"): 1}),
    ),
    case(
        "a letter three times",
        {("a", "a", "a"): 2},
        expect=step_gives(("a", "a"), {("aa", "a"): 2}),
    ),
    nudge="What does a pair in a word that stands three times count? And what is left of a, a, a?",
    hint="Count the pairs in a Counter; to join, walk with an index that moves by two after a hit.",
)


# %% tags=["wrong"]
def step(words):
    pairs = Counter(pair for parts in words for pair in pairwise(parts))  # forgets the counts
    best = min(pairs, key=lambda pair: (-pairs[pair], pair))
    result = {}
    for parts, count in words.items():
        joined, i = [], 0
        while i < len(parts):
            found = parts[i : i + 2] == best
            joined.append(parts[i] + parts[i + 1] if found else parts[i])
            i += 2 if found else 1
        result[tuple(joined)] = count
    return best, result


# %% tags=["wrong"]
def step(words):
    pairs = Counter()
    for parts, count in words.items():
        for pair in pairwise(parts):
            pairs[pair] += count
    best = pairs.most_common(1)[0][0]  # in a tie the first one seen
    result = {}
    for parts, count in words.items():
        joined, i = [], 0
        while i < len(parts):
            found = parts[i : i + 2] == best
            joined.append(parts[i] + parts[i + 1] if found else parts[i])
            i += 2 if found else 1
        result[tuple(joined)] = count
    return best, result


# %% tags=["wrong"]
def step(words):
    pairs = Counter()
    for parts, count in words.items():
        for pair in pairwise(parts):
            pairs[pair] += count
    best = min(pairs, key=lambda pair: (-pairs[pair], pair))
    result = {}
    for parts, count in words.items():
        joined = list(parts)
        for i in range(len(parts) - 1):  # overlapping pairs are joined twice
            if parts[i : i + 2] == best:
                joined[i : i + 2] = [best[0] + best[1]]
        result[tuple(joined)] = count
    return best, result


# %% tags=["wrong"]
def step(words):
    pairs = Counter()
    for parts, count in words.items():
        for pair in pairwise(parts):
            pairs[pair] += count
    best = min(pairs, key=lambda pair: (-pairs[pair], pair))
    # "ca t" holds "a t", though no part is "a"
    return best, {tuple(" ".join(w).replace(" ".join(best), "".join(best)).split()): n for w, n in words.items()}


# %% [markdown]
# ## Exercise 3: the order of joins
#
# Write `cut(word, joins)`. `joins` is a list of pairs in the order in which they were learned.
# Return the list of parts of the word. The join that was learned first is applied first,
# everywhere in the word, also when a longer part of the vocabulary would fit.
#
# Predict before you run: with the joins *l+o, o+w, lo+w, e+r*, what becomes of *slower*? And when
# *o+w* was learned before *l+o*?


# %% tags=["answer"]
def cut(word, joins):
    """The parts of a word, a list of strings."""
    ### BEGIN SOLUTION
    parts = list(word)
    for left, right in joins:
        joined = []
        for part in parts:
            if joined and (joined[-1], part) == (left, right):
                joined[-1] = left + right
            else:
                joined.append(part)
        parts = joined
    return parts
    ### END SOLUTION


# %% tags=["check"]
low = [("l", "o"), ("o", "w"), ("lo", "w"), ("e", "r")]
late = [("o", "w"), ("l", "o"), ("lo", "w"), ("e", "r")]
check(
    cut,
    case("slower", "slower", low, expect=["s", "low", "er"]),
    case("slower, the other order", "slower", late, expect=["s", "l", "ow", "er"]),
    case("a pair that stands twice", "lolo", low, expect=["lo", "lo"]),
    case("one letter three times", "aaa", [("a", "a")], expect=["aa", "a"]),
    case("one letter five times", "aaaaa", [("a", "a"), ("aa", "a")], expect=["aa", "aaa"]),
    case(
        "not the longest part first",
        "abcd",
        [("b", "c"), ("a", "b"), ("ab", "cd"), ("c", "d")],
        expect=["a", "bc", "d"],
    ),
    case("a part that only ends like the pair", "cat", [("c", "a"), ("a", "t")], expect=["ca", "t"]),
    case("no joins", "hi", [], expect=["h", "i"]),
    nudge="Which join was learned first? Is it done everywhere in the word before the next one begins?",
    hint="One pass over the word for each join, in the order of the list.",
)


# %% tags=["wrong"]
def cut(word, joins):
    known = {left + right for left, right in joins}  # the longest part from the left
    parts, start = [], 0
    while start < len(word):
        end = len(word)
        while end > start + 1 and word[start:end] not in known:
            end -= 1
        parts.append(word[start:end])
        start = end
    return parts


# %% tags=["wrong"]
def cut(word, joins):
    parts, i = list(word), 0
    while i + 1 < len(parts):  # any known pair, from the left, whatever its place in the list
        if (parts[i], parts[i + 1]) in joins:
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
            i = 0
        else:
            i += 1
    return parts


# %% tags=["wrong"]
def cut(word, joins):
    parts = list(word)
    for left, right in joins:
        for i in range(len(parts) - 1):  # only the first place of each pair
            if (parts[i], parts[i + 1]) == (left, right):
                parts[i : i + 2] = [left + right]
                break
    return parts


# %% [markdown]
# In the first order *slower* becomes s·low·er. In the second order the *o* is taken by *ow* before *l+o* has
# its turn, and *low* never comes about. The list of joins is the tokenizer, and its order is a part of it.
#
# ## Exercise 4: what a model receives
#
# Write `receive(rows, pad)`. `rows` are the ids of some texts, of different length, each with its first and
# its last special token. Return three arrays of the shape (texts, time), where time is the length of the
# longest row minus one:
#
# - the inputs: the ids of each row, without the last one of the longest row, filled up with `pad` on the right;
# - the targets: for each place of the inputs the id that comes next, filled up with `pad`;
# - the mask: True where the target is a token of the text, False at padding.
#
# Where the mask is False nothing is learned, so it does not matter there what stands in the inputs. A short row
# may keep its last id, as in the lesson, or have padding in its place.
#
# Two things to care about. `pad` is any number, not always 0. And in some tokenizers, such as GPT-2's, it is
# also the id of the last token of a text. *Predict:* which of the three arrays does this make difficult?


# %% tags=["answer"]
def receive(rows, pad):
    """Inputs, targets and mask, three arrays (texts, time)."""
    ### BEGIN SOLUTION
    time = max(map(len, rows)) - 1
    inputs = np.full((len(rows), time), pad)
    targets = np.full((len(rows), time), pad)
    mask = np.zeros((len(rows), time), bool)
    for i, row in enumerate(rows):
        n = len(row) - 1
        inputs[i, :n], targets[i, :n], mask[i, :n] = row[:-1], row[1:], True
    return inputs, targets, mask
    ### END SOLUTION


# %% tags=["check"]
def gives(inputs, targets, mask):
    def look(answer):
        if not isinstance(answer, tuple | list) or len(answer) != 3:
            return "it should return three arrays: inputs, targets, mask."
        for name, mine, right in zip(("inputs", "targets", "mask"), answer, (inputs, targets, mask), strict=True):
            if np.shape(mine) != np.shape(right):
                return f"the {name} have the shape {np.shape(mine)}, expected {np.shape(right)}."
            counts = mask if name == "inputs" else np.ones_like(right)  # what is read where nothing is learned is free
            if not np.array_equal(np.asarray(mine) * counts, np.asarray(right) * counts):
                return f"the {name} are wrong."
        return None

    return look


check(
    receive,
    case("one text", [[1, 5, 6, 2]], 0, expect=gives([[1, 5, 6]], [[5, 6, 2]], [[1, 1, 1]])),
    case("two texts", [[1, 5, 6, 2], [1, 7, 2]], 0, expect=gives(
        [[1, 5, 6], [1, 7, 0]], [[5, 6, 2], [7, 2, 0]], [[1, 1, 1], [1, 1, 0]])),
    case("padding is not 0", [[0, 2], [0, 4, 3, 2]], 9, expect=gives(
        [[0, 9, 9], [0, 4, 3]], [[2, 9, 9], [4, 3, 2]], [[1, 0, 0], [1, 1, 1]])),
    case("the end of a text is the padding", [[8, 5, 8], [8, 5, 6, 8]], 8, expect=gives(
        [[8, 5, 8], [8, 5, 6]], [[5, 8, 8], [5, 6, 8]], [[1, 1, 0], [1, 1, 1]])),
    case("a text of two tokens alone", [[3, 4]], 0, expect=gives([[3]], [[4]], [[1]])),
    nudge="Write the rows of “two texts” on paper. How many targets does a row of three tokens have?",
    hint="Shorten each row before you fill it up: row[:-1] and row[1:]. The mask comes from lengths, not from ids.",
)  # fmt: skip


# %% tags=["wrong"]
def receive(rows, pad):
    time = max(map(len, rows))
    ids = np.array([row + [pad] * (time - len(row)) for row in rows])
    return ids[:, :-1], ids[:, 1:], ids[:, 1:] != pad  # loses the end where it is the padding


# %% tags=["wrong"]
def receive(rows, pad):
    time = max(map(len, rows))
    ids = np.array([row + [0] * (time - len(row)) for row in rows])  # 0, whatever pad is
    mask = np.arange(1, time)[None] < np.array([len(row) for row in rows])[:, None]
    return ids[:, :-1], ids[:, 1:], mask


# %% tags=["wrong"]
def receive(rows, pad):
    time = max(map(len, rows))
    ids = np.array([row + [pad] * (time - len(row)) for row in rows])
    mask = np.arange(1, time)[None] < np.array([len(row) for row in rows])[:, None]
    return ids[:, :-1], ids[:, :-1], mask  # targets that are not shifted


# %% [markdown]
# The mask is the difficult one. Where padding and the end of a text share an id, a comparison with `pad` also
# hides the end, and a model that never has to say it never learns to stop.
#
# ## Experiment: how much French does a vocabulary need?
#
# A BPE of 2,000 tokens learns from 3,000 verses. At first all of them are English. Then one verse in a hundred
# is French, then one in ten, then every second one. Nothing else changes. The price is the mean number of
# tokens of a French test verse.
#
# *Predict* the four prices as parts of the first: if English alone costs 1, what does 1% of French cost? And
# 10%? Then write `french_price`, which takes the share of French from 0 to 1: the first
# `round(3000 * share)` French verses and the first English verses behind them, up to 3,000 together. Explain
# the shape that you find.


# %% tags=["answer"]
bibles = load("parallel-bible")  # text, label (the language), split


def verses(language, part):
    return bibles["text"][(bibles["label"] == language) & (bibles["split"] == part)].tolist()


def french_price(share):
    """Tokens of a French test verse, on average, when this share of the verses to learn from is French."""
    ### BEGIN SOLUTION
    french = round(3000 * share)
    learned = verses("french", "train")[:french] + verses("english", "train")[: 3000 - french]
    bpe = text.train_bpe(learned, 2000)
    return np.mean([len(ids) for ids in bpe.encode_batch(verses("french", "test"))])
    ### END SOLUTION


# %% tags=["check"]
check(
    french_price,
    case("no French", 0.0, expect=between(72, 78)),
    case("one verse in a hundred", 0.01, expect=between(63, 70)),
    case("one verse in ten", 0.1, expect=between(54.5, 60)),
    case("every second verse", 0.5, expect=between(46, 51)),
    nudge="Do the verses to learn from number 3,000 in every case? Is the price measured on the test part?",
    hint="Learn from french[:n] + english[: 3000 - n] with text.train_bpe(learned, 2000); the mean of the lengths.",
)
print("tokens of a French verse:", *(f"{share:.0%}: {french_price(share):.1f}" for share in (0, 0.01, 0.1, 0.5)))


# %% tags=["wrong"]
def french_price(share):
    bibles = load("parallel-bible")
    french = bibles["text"][(bibles["label"] == "french") & (bibles["split"] == "train")].tolist()
    english = bibles["text"][(bibles["label"] == "english") & (bibles["split"] == "train")].tolist()
    n = round(3000 * share)
    bpe = text.train_bpe(french[:n] + english[: 3000 - n], 2000)
    test = bibles["text"][(bibles["label"] == "english") & (bibles["split"] == "test")]
    return np.mean([len(ids) for ids in bpe.encode_batch(test)])  # the price of English


# %% tags=["wrong"]
def french_price(share):
    bibles = load("parallel-bible")
    french = bibles["text"][(bibles["label"] == "french") & (bibles["split"] == "train")].tolist()
    english = bibles["text"][(bibles["label"] == "english") & (bibles["split"] == "train")].tolist()
    bpe = text.train_bpe(french[: round(3000 * (1 - share))] + english[: round(3000 * share)], 2000)  # turned round
    test = bibles["text"][(bibles["label"] == "french") & (bibles["split"] == "test")]
    return np.mean([len(ids) for ids in bpe.encode_batch(test)])


# %% [markdown]
# The printed line shows the shape. The first 30 French verses save 8 of 75 tokens, and the 1,200 verses that lead
# from 10% to a half save 9. The frequent parts of a language are found in little text, and each further part is
# used less often. So a vocabulary should have *some* of every language that it will meet.
