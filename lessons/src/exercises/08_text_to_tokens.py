# %% [markdown]
# # 08 · Text to tokens: exercises
#
# Write your answer in place of `raise NotImplementedError`, run the cell, then run the check
# below it. A check says what is wrong, not what is right. Each exercise stands alone.

# %%
import re
import unicodedata
from collections import Counter
from itertools import pairwise

import matplotlib.pyplot as plt

from kerasllm.course import case, check
from kerasllm.data import load
from kerasllm.course.figures import BLUE, RED, show, use_style

use_style()

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
        "a letter three times",
        {("a", "a", "a"): 2},
        expect=step_gives(("a", "a"), {("aa", "a"): 2}),
    ),
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
    case("no joins", "hi", [], expect=["h", "i"]),
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
# ## Exercise 4: WordPiece backwards
#
# Write `restore(pieces)`: the text of a list of WordPiece tokens. A piece that starts with `##`
# continues the word before it; every other piece starts a new word, after one space. Only the
# *first two* signs are the mark: the piece `###` continues a word with the sign `#`, as in "C#".
# A list may begin with a `##` piece, when somebody cut a long text into windows. Then its letters
# start the text, without the mark.


# %% tags=["answer"]
def restore(pieces):
    """The text of WordPiece tokens, words separated by one space."""
    ### BEGIN SOLUTION
    text = "".join(piece[2:] if piece.startswith("##") else " " + piece for piece in pieces)
    return text.removeprefix(" ")
    ### END SOLUTION


# %% tags=["check"]
check(
    restore,
    case("two words", ["un", "##believ", "##able", "film"], expect="unbelievable film"),
    case("one piece", ["film"], expect="film"),
    case("a sign that looks like the mark", ["C", "###", "code"], expect="C# code"),
    case("a list that begins inside a word", ["##able", "film"], expect="able film"),
    case("a single # is a word", ["#", "1"], expect="# 1"),
    case("nothing", [], expect=""),
    hint="str.startswith and a slice are enough; take care of the first piece.",
)


# %% tags=["wrong"]
def restore(pieces):
    return " ".join(pieces).replace(" ##", "")  # a mark at the very beginning stays


# %% tags=["wrong"]
def restore(pieces):
    text = ""
    for piece in pieces:
        text += piece.lstrip("#") if piece.startswith("##") else " " + piece  # eats the # of C#
    return text.strip()


# %% tags=["wrong"]
def restore(pieces):
    return "".join(piece.removeprefix("##") for piece in pieces)  # no spaces


# %% [markdown]
# Now look at what WordPiece cannot give back. These three texts have the same pieces, because the
# pieces do not say where a space stood: "well-known", "well - known", "well -known". Which of
# them does `restore` return?

# %%
for text in ["well-known", "well - known", "well -known"]:
    print(f"{text!r:15}", re.findall(r"\w+|[^\w\s]", text))

# %% [markdown]
# ## Exercise 5: how many words are enough?
#
# Write `smallest(train, held_out, target)`. `train` and `held_out` are Counters of words. Find the
# smallest vocabulary, made of the most frequent words of `train`, for which the share of unknown
# words among the *running* words of `held_out` is at most `target`. Return its size. Return
# `None` if no size is enough. Words with equal counts come in the order of `most_common`.


# %% tags=["answer"]
def smallest(train, held_out, target):
    """The smallest number of words that keeps the unknown share at or below target, or None."""
    ### BEGIN SOLUTION
    total = sum(held_out.values())
    unknown = total
    if unknown <= target * total:
        return 0
    for size, (word, _) in enumerate(train.most_common(), start=1):
        unknown -= held_out.get(word, 0)
        if unknown <= target * total:
            return size
    return None
    ### END SOLUTION


# %% tags=["check"]
def returns(expected):
    def look(answer):
        if answer is None:
            return None if expected is None else "it returned None, but some size is enough."
        if expected is None:
            return f"it returned {answer}, but no vocabulary reaches the target."
        if answer == expected:
            return None
        return f"{answer} is too {'large' if answer > expected else 'small'}."

    return look


train_toy = Counter({"the": 50, "and": 30, "ark": 10, "cubit": 8, "omer": 2})
test_toy = Counter({"the": 40, "ark": 20, "and": 20, "film": 15, "star": 5})
check(
    smallest,
    case("half unknown", train_toy, test_toy, 0.5, expect=returns(2)),
    case("exactly at the target", train_toy, test_toy, 0.2, expect=returns(3)),
    case("a target that cannot be reached", train_toy, test_toy, 0.1, expect=returns(None)),
    case("the training text itself", train_toy, train_toy, 0.02, expect=returns(4)),
    case("nothing may be unknown", train_toy, train_toy, 0.0, expect=returns(5)),
    hint="Start with everything unknown and let the words of train come in, one by one.",
)


# %% tags=["wrong"]
def smallest(train, held_out, target):
    total = sum(train.values())
    unknown = total
    for size, (_, count) in enumerate(train.most_common(), start=1):
        unknown -= count  # judges on the training text
        if unknown <= target * total:
            return size
    return None


# %% tags=["wrong"]
def smallest(train, held_out, target):
    unknown = set(held_out)
    for size, (word, _) in enumerate(train.most_common(), start=1):
        unknown.discard(word)  # different words, not running words
        if len(unknown) <= target * len(held_out):
            return size
    return None


# %% tags=["wrong"]
def smallest(train, held_out, target):
    total = sum(held_out.values())
    unknown = total
    for size, (word, _) in enumerate(train.most_common(), start=1):
        unknown -= held_out.get(word, 0)
        if unknown <= target * total:
            return size
    return len(train)  # not enough, but it says so to nobody


# %% tags=["wrong"]
def smallest(train, held_out, target):
    total = sum(held_out.values())
    unknown = total
    for size, (word, _) in enumerate(held_out.most_common(), start=1):
        unknown -= held_out[word]  # learns its vocabulary from the test text
        if unknown <= target * total:
            return size
    return None


# %% [markdown]
# **Predict, then measure.** We train on the books of the Bible in the training split. How many
# words are needed so that at most 10% are unknown? At most 2%? Write down four numbers: for the
# held-out books of the Bible, and for film reviews.

# %%
bible, films = load("king-james"), load("movie-snippets")


def counted(table, split):
    texts = table.loc[table["split"] == split, "text"].str.lower()
    return Counter(word for text in texts for word in re.findall(r"\w+", text))


learned = counted(bible, "train")
texts = {"held-out books": counted(bible, "test"), "film reviews": counted(films, "test")}
targets = [0.5, 0.4, 0.35, 0.3, 0.2, 0.1, 0.05, 0.02]
answers = {name: [smallest(learned, c, target) for target in targets] for name, c in texts.items()}
print(f"different words in the training books: {len(learned):,}")
for name, sizes in answers.items():
    found = [f"{goal:.0%}: {size}" for goal, size in zip(targets, sizes, strict=True)]
    print(f"{name:15}", *found, sep="   ")

# %%
figure, ax = plt.subplots(figsize=(7, 3.4))
for (name, sizes), color in zip(answers.items(), [BLUE, RED], strict=True):
    reached = [(size, 100 * target) for size, target in zip(sizes, targets, strict=True) if size]
    ax.semilogx(*zip(*reached, strict=True), "o-", color=color, label=name)
ax.axvline(len(learned), color="0.4", ls="--", lw=1)
ax.text(len(learned) * 0.95, 2, "all the words there are", rotation=90, ha="right", color="0.35")
ax.set(xlabel="words needed", ylabel="target: unknown words in %", ylim=(0, None))
ax.legend(loc="lower left")
show(
    figure,
    "Words needed for a given share of unknown words. For held-out books the curve reaches two"
    " percent before the words run out; for film reviews it stops above thirty percent.",
)

# %% [markdown]
# From 10% to 2% the vocabulary must grow several times: that is Zipf's law. And for the film
# reviews most targets get `None`. No number of words from one kind of text is enough for another
# kind, which is why tokenizers use parts of words.
