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


# %% tags=["right"]
def count_words(text):  # a loop over words and a plain dictionary; combining marks are joined by hand
    counts = {}
    for word in unicodedata.normalize("NFC", text).split():
        counts[word] = counts.get(word, 0) + 1
    return counts


# %% tags=["right"]
def count_words(text):  # library: first the words, then their forms, sorted into groups
    from itertools import groupby

    words = sorted(unicodedata.normalize("NFC", word) for word in text.split())
    return {word: len(list(group)) for word, group in groupby(words)}


# %% tags=["right"]
def count_words(text):  # arrays: the different words and how often each occurs
    joined = np.array([unicodedata.normalize("NFC", unicodedata.normalize("NFD", word)) for word in text.split()])
    return dict(zip(*np.unique(joined, return_counts=True), strict=True))


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


# %% tags=["right"]
def step(words):  # indices, plain dictionaries, and a word that is rebuilt as a stack
    counts = {}
    for parts in words:
        for i in range(len(parts) - 1):
            pair = (parts[i], parts[i + 1])
            counts[pair] = counts.get(pair, 0) + words[parts]
    best = None
    for pair in sorted(counts):
        if best is None or counts[pair] > counts[best]:
            best = pair
    new = {}
    for parts, count in words.items():
        stack, free = [], False  # free: the last part may be the left half of the pair
        for part in parts:
            if free and (stack[-1], part) == best:
                stack[-1], free = stack[-1] + part, False
            else:
                stack.append(part)
                free = True
        new[tuple(stack)] = count
    return best, new


# %% tags=["right"]
def step(words):  # sums of counters; the first place of the pair, again and again
    totals = sum((Counter({p: n * c for p, c in Counter(pairwise(w)).items()}) for w, n in words.items()), Counter())
    top = max(totals.values())
    best = sorted(pair for pair in totals if totals[pair] == top)[0]

    def join(parts):
        for i, pair in enumerate(pairwise(parts)):
            if pair == best:
                return (*parts[:i], "".join(pair), *join(parts[i + 2 :]))
        return tuple(parts)

    return [list(best), {join(parts): count for parts, count in words.items()}]


# %% tags=["right"]
def step(words):  # library: regular expressions over parts with a sign between them that no text holds
    import re

    pairs = Counter(pair for parts, count in words.items() for pair in list(pairwise(parts)) * count)
    best = min(pairs.items(), key=lambda item: (-item[1], item[0]))[0]
    found = re.compile("(?<=\0)" + re.escape(best[0]) + "\0" + re.escape(best[1]) + "(?=\0)")
    lines = {parts: "\0" + "\0".join(parts) + "\0" for parts in words}
    return best, {tuple(found.sub("".join(best), lines[w]).strip("\0").split("\0")): n for w, n in words.items()}


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


# %% tags=["right"]
def cut(word, joins):  # an index that moves by two after a hit
    parts = [*word]
    for join in joins:
        i, new = 0, []
        while i < len(parts):
            if tuple(parts[i : i + 2]) == tuple(join):
                new.append(parts[i] + parts[i + 1])
                i += 2
            else:
                new.append(parts[i])
                i += 1
        parts = new
    return tuple(parts)


# %% tags=["right"]
def cut(word, joins):  # as tokenizers do it: always the pair of the lowest rank, until none is known
    rank = {pair: i for i, pair in enumerate(joins)}
    parts = np.array(list(word), dtype=object)
    while True:
        known = [(rank[pair], i) for i, pair in enumerate(pairwise(parts)) if pair in rank]
        if not known:
            return parts
        _, i = min(known)
        parts = np.concatenate([parts[:i], [parts[i] + parts[i + 1]], parts[i + 2 :]])


# %% tags=["right"]
def cut(word, joins):  # library: regular expressions, a fold over the joins, a generator of parts
    import re
    from functools import reduce

    def join(line, pair):
        return re.sub(f"(?<= ){re.escape(pair[0])} {re.escape(pair[1])}(?= )", "".join(pair), line)

    yield from reduce(join, joins, " " + " ".join(word) + " ").split()


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


# %% tags=["right"]
def receive(rows, pad):  # loops over lists
    time = max(len(row) for row in rows) - 1
    inputs, targets, mask = [], [], []
    for row in rows:
        missing = time - (len(row) - 1)
        inputs.append(list(row[:-1]) + [pad] * missing)
        targets.append(list(row[1:]) + [pad] * missing)
        mask.append([True] * (time - missing) + [False] * missing)
    return inputs, targets, mask


# %% tags=["right"]
def receive(rows, pad):  # arrays, as in the lesson: a short row keeps its last id in the inputs
    lengths = np.array([len(row) for row in rows])[:, None]
    place = np.arange(lengths.max())
    table = np.full((len(rows), lengths.max()), pad)
    table[place < lengths] = np.concatenate(rows)
    return [table[:, :-1], table[:, 1:], place[1:] < lengths]


# %% tags=["right"]
def receive(rows, pad):  # library: columns of the longest row, filled up
    from itertools import zip_longest

    def table(parts, fill):
        return np.array(list(zip_longest(*parts, fillvalue=fill))).T

    known, wanted = [row[:-1] for row in rows], [row[1:] for row in rows]
    return table(known, pad), table(wanted, pad), table([np.ones(len(row)) for row in wanted], 0)


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


# %% tags=["wrong"]
def receive(rows, pad):
    ids = (
        np.array(rows)
        if len({len(row) for row in rows}) == 1
        else np.array([row[: min(map(len, rows))] for row in rows])
    )
    return ids[:, :-1], ids[:, 1:], np.ones(ids[:, 1:].shape, bool)  # cut to the shortest: right for equal lengths


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


# %% tags=["right"]
def french_price(share):  # loops: verses are taken one after the other, tokens counted one after the other
    wanted = {"french": round(3000 * share), "english": 3000 - round(3000 * share)}
    learned, tokens = [], 0
    for language, count in wanted.items():
        for verse in verses(language, "train"):
            if count > 0:
                learned.append(verse)
                count -= 1
    bpe, test = text.train_bpe(learned, 2000), verses("french", "test")
    for verse in test:
        tokens += len(bpe.encode(verse))
    return tokens / len(test)


# %% tags=["right"]
def french_price(share):  # library: tables of pandas, a generator of lengths
    from statistics import fmean

    import pandas as pd

    n = int(np.rint(3000 * share))
    french, english = (pd.Series(verses(language, "train")) for language in ("french", "english"))
    bpe = text.train_bpe(pd.concat([french.head(n), english.head(3000 - n)]).to_list(), vocabulary_size=2000)
    return fmean(map(len, bpe.encode_batch(verses("french", "test"))))


# %% tags=["wrong"]
def french_price(share):
    french = round(3000 * share)
    bpe = text.train_bpe(verses("french", "train")[:french] + verses("english", "train")[: 3000 - french], 2000)
    return np.mean([len(ids) for ids in bpe.encode_batch(verses("english", "test"))])  # the price of English


# %% tags=["wrong"]
def french_price(share):
    english = round(3000 * share)  # turned round
    bpe = text.train_bpe(verses("french", "train")[: 3000 - english] + verses("english", "train")[:english], 2000)
    return np.mean([len(ids) for ids in bpe.encode_batch(verses("french", "test"))])


# %% tags=["wrong"]
def french_price(share):
    learned = verses("french", "train")[: round(3000 * share)] + verses("english", "train")[:3000]
    bpe, test = text.train_bpe(learned, 2000), verses("french", "test")
    return np.mean([len(ids) for ids in bpe.encode_batch(test)]) / np.mean(
        [len(verse.split()) for verse in test]
    )  # a word


# %% [markdown]
# The printed line shows the shape. The first 30 French verses save 8 of 75 tokens, and the 1,200 verses that lead
# from 10% to a half save 9. The frequent parts of a language are found in little text, and each further part is
# used less often. So a vocabulary should have *some* of every language that it will meet.
