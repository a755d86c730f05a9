# %% [markdown]
# # Exercises 12 · Language models
#
# Five exercises and an experiment, each alone. They need NumPy and no training. Where the text says *predict*,
# write your guess down before you run anything.

# %%
from collections import Counter
from itertools import pairwise

import numpy as np

from kerasllm.course import between, case, check
from kerasllm.data import load

# %% [markdown]
# ## Exercise 1: bits from probabilities
#
# A model gave these probabilities to the characters that really came. Return the pair (bits per
# character, perplexity). Perplexity is 2 to the power of the bits.
#
# *Predict:* of two characters one got 1/2 and one got 1/8. Is the perplexity the mean of 2 and 8?


# %% tags=["answer"]
def bits_and_perplexity(p):
    """p: array (characters,). Returns bits per character and perplexity."""
    ### BEGIN SOLUTION
    bits = -np.log2(p).mean()
    return bits, 2**bits
    ### END SOLUTION


# %% tags=["check"]
check(
    bits_and_perplexity,
    case("all 1/4", np.array([0.25, 0.25, 0.25]), expect=(2.0, 4.0)),
    case("1/2 and 1/8", np.array([0.5, 0.125]), expect=(2.0, 4.0)),
    case("always certain", np.ones(3), expect=(0.0, 1.0)),
    case("not a power of two", np.array([0.3, 0.9]), expect=(0.944484, 1.924500), tolerance=1e-4),
    nudge="One answer has several costs. In which order do you take the mean and the logarithm, and to which base?",
    hint="First the cost of each character, -log2 p, and then the mean.",
)


# %% tags=["right"]
def bits_and_perplexity(p):  # a loop over floats
    from math import log

    cost = 0.0
    for chance in p:
        cost += log(1 / chance, 2)
    return cost / len(p), 2 ** (cost / len(p))


# %% tags=["right"]
def bits_and_perplexity(p):  # library: the perplexity is one over the geometric mean
    from scipy.stats import gmean

    return np.log2(1 / gmean(p)), 1 / gmean(p)


# %% tags=["right"]
def bits_and_perplexity(p):  # Keras, in 32-bit numbers, an array of two
    from keras import ops

    nats = -ops.mean(ops.log(ops.cast(p, "float32")))
    return ops.stack([nats / float(np.log(2)), ops.exp(nats)])


# %% tags=["wrong"]
def bits_and_perplexity(p):
    bits = -np.log2(np.mean(p))  # the logarithm of the mean
    return bits, 2**bits


# %% tags=["wrong"]
def bits_and_perplexity(p):
    nats = -np.log(p).mean()
    return nats, np.exp(nats)  # nats, not bits


# %% tags=["wrong"]
def bits_and_perplexity(p):
    bits = -np.log2(p).sum()  # the cost of the text, not of a character
    return bits, 2**bits


# %% [markdown]
# The perplexity is 4, and the mean of 2 and 8 is 5: a mean of costs is not the cost of a mean.
#
# ## Exercise 2: adding less than one
#
# Adding 1 to every count is too much for long contexts. Write add-$k$ smoothing for one context:
# `counts` holds how often each of the $V$ characters followed it, and the result is their
# distribution, $(c + k) / (C + kV)$. Characters never seen count too. A context that was never
# seen at all must give the uniform distribution.


# %% tags=["answer"]
def add_k(counts, k):
    """counts: array (V,) of whole numbers. Returns probabilities (V,)."""
    ### BEGIN SOLUTION
    counts = np.asarray(counts, dtype=float)
    return (counts + k) / (counts.sum() + k * len(counts))
    ### END SOLUTION


# %% tags=["check"]
def sums_to_one(p):
    return None if np.isclose(np.sum(p), 1) else "the probabilities do not sum to 1."


check(
    add_k,
    case("a distribution", np.array([5, 0, 2, 0]), 0.3, expect=sums_to_one),
    case("k = 1", np.array([3, 1, 0, 0]), 1.0, expect=np.array([0.5, 0.25, 0.125, 0.125])),
    case("k = 1/2", np.array([3, 1, 0, 0]), 0.5, expect=np.array([3.5, 1.5, 0.5, 0.5]) / 6),
    case("a context never seen", np.zeros(5, int), 0.1, expect=np.full(5, 0.2)),
    nudge="Do your probabilities sum to 1 when some characters were never seen?",
    hint="How much was added in all? The denominator must contain it: k for each of the len(counts) characters.",
)


# %% tags=["right"]
def add_k(counts, k):  # a loop
    total = 0
    for count in counts:
        total += count + k
    return [(count + k) / total for count in counts]


# %% tags=["right"]
def add_k(counts, k):  # library: normalised to a sum of 1
    from sklearn.preprocessing import normalize

    return normalize((counts + k)[None], norm="l1")[0]


# %% tags=["right"]
def add_k(counts, k):  # a mean of what was counted and of equal shares
    trust = counts.sum() / (counts.sum() + k * counts.size)
    seen = np.divide(counts, counts.sum(), out=np.zeros(counts.size), where=counts.sum() > 0)
    return trust * seen + (1 - trust) / counts.size


# %% tags=["wrong"]
def add_k(counts, k):
    return (counts + k) / (counts.sum() + len(counts))  # forgets k below


# %% tags=["wrong"]
def add_k(counts, k):
    return (counts + k) / (counts.sum() + k * np.count_nonzero(counts))


# %% tags=["wrong"]
def add_k(counts, k):
    added = np.where(counts == 0, k, counts)  # only those never seen get something
    return added / added.sum()


# %% [markdown]
# In the lesson's notebook, `-np.log2(share(asked, 8, add=0.01)).mean()` is the cost at order 8 with
# `k = 0.01`. Hold it against those of `k = 1` and of Kneser-Ney. A constant for all contexts cannot
# know which contexts deserve trust.
#
# ## Exercise 3: continuation counts
#
# For each character of a text, count the *different* characters that it comes directly after. The
# result is a dictionary. The first character of the text comes after nothing. A character that
# occurs only there gets 0.


# %% tags=["answer"]
def continuation_counts(text):
    """A dictionary: character -> number of different characters that stand directly before it."""
    ### BEGIN SOLUTION
    before = {character: set() for character in text}
    for left, character in pairwise(text):
        before[character].add(left)
    return {character: len(lefts) for character, lefts in before.items()}
    ### END SOLUTION


# %% tags=["check"]
check(
    continuation_counts,
    case("abracadabra", "abracadabra", expect={"a": 3, "b": 1, "r": 1, "c": 1, "d": 1}),
    case("frequent, but always after the same", "xbxbxbxb", expect={"x": 1, "b": 1}),
    case("the first character", "zab", expect={"z": 0, "a": 1, "b": 1}),
    case("a character after itself", "aab", expect={"a": 1, "b": 1}),
    nudge="On which side of the character do the neighbours stand that you count? Is a pair counted twice?",
    hint="Collect a set of left neighbours for each character; sets forget repetitions.",
)


# %% tags=["right"]
def continuation_counts(text):  # a loop over places, lists
    before = {}
    for place in range(len(text)):
        lefts = before.setdefault(text[place], [])
        if place > 0 and text[place - 1] not in lefts:
            lefts.append(text[place - 1])
    return {character: len(before[character]) for character in before}


# %% tags=["right"]
def continuation_counts(text):  # the different pairs, counted by their second character
    counts = Counter(pair[1] for pair in set(pairwise(text)))
    counts.update(dict.fromkeys(text, 0))
    return counts


# %% tags=["right"]
def continuation_counts(text):  # arrays: a table of who stands before whom
    characters, ids = np.unique(list(text), return_inverse=True)
    met = np.zeros((len(characters), len(characters)), int)
    met[ids[:-1], ids[1:]] = 1
    return dict(zip(characters, met.sum(axis=0), strict=True))


# %% tags=["wrong"]
def continuation_counts(text):
    return dict(Counter(text))  # how often, not after how many


# %% tags=["wrong"]
def continuation_counts(text):
    after = {character: set() for character in text}
    for character, right in pairwise(text):
        after[character].add(right)  # the neighbours on the other side
    return {character: len(rights) for character, rights in after.items()}


# %% tags=["wrong"]
def continuation_counts(text):
    before = {character: set() for character in text}
    for left, character in pairwise(text):
        if left != character:  # a character after itself does not count
            before[character].add(left)
    return {character: len(lefts) for character, lefts in before.items()}


# %% tags=["wrong"]
def continuation_counts(text):
    return dict(Counter(pair[1] for pair in set(pairwise(text))))  # the first character is missing


# %% [markdown]
# ## Exercise 4: two tokenizers, one text
#
# Model A predicts characters, model B predicts word pieces. Both read the same text. Each reports
# its mean loss **in nats per token**, as Keras does. Write the function that makes them
# comparable: it gets the loss, the number of tokens and the number of characters of the text, and
# returns bits per character.
#
# *Predict:* A has a loss of 1.2 on 1,000 characters (perplexity 3.3). B has a loss of 4.2 on the
# same text in 260 tokens (perplexity 67). Which one is better?


# %% tags=["answer"]
def bits_per_character(loss, tokens, characters):
    """Mean loss in nats per token -> bits per character."""
    ### BEGIN SOLUTION
    return loss / np.log(2) * tokens / characters
    ### END SOLUTION


# %% tags=["check"]
check(
    bits_per_character,
    case("tokens are characters", np.log(2), 100, 100, expect=1.0),
    case("two characters a token", np.log(16), 50, 100, expect=2.0),
    case("model B", 4.2, 260, 1000, expect=1.575421, tolerance=1e-4),
    nudge="How many nats does the whole text cost? And how many bits are that?",
    hint="loss * tokens is the cost of the text in nats; divide by ln 2, then by the characters.",
)
print(f"A: {1.2 / np.log(2):.3f} bits per character, B: {bits_per_character(4.2, 260, 1000):.3f}")


# %% tags=["right"]
def bits_per_character(loss, tokens, characters):  # a loop: the cost of the whole text, token by token
    from math import log

    nats = 0.0
    for _ in range(tokens):
        nats += loss
    return nats / log(2) / characters


# %% tags=["right"]
def bits_per_character(loss, tokens, characters):  # through the perplexity
    return tokens * np.log2(np.exp(loss)) / characters


# %% tags=["right"]
def bits_per_character(loss, tokens, characters):  # library: one division after the other
    return np.divide.reduce([loss * tokens, np.log(2), characters])


# %% tags=["wrong"]
def bits_per_character(loss, tokens, characters):
    return loss / np.log(2) * characters / tokens


# %% tags=["wrong"]
def bits_per_character(loss, tokens, characters):
    return np.log2(loss) * tokens / characters


# %% tags=["wrong"]
def bits_per_character(loss, tokens, characters):
    return loss * tokens / characters  # nats, not bits


# %% [markdown]
# The model with the twenty times larger perplexity is the better one.
#
# ## Exercise 5: cut a text into streams
#
# For truncated backpropagation the text is cut into `streams` equal parts, and each step reads the next `size`
# characters of every part. Return an array (steps, streams, size), so that row $r$ of a step goes on where row $r$ of
# the step before ended. What does not fill a step at the end of the streams is left out.
#
# *Predict:* for a text of 100 characters, 2 streams and size 10: at which character does the second row begin?


# %% tags=["answer"]
def streams_of(ids, streams, size):
    """ids: array (characters,). Returns the windows (steps, streams, size)."""
    ### BEGIN SOLUTION
    length = len(ids) // streams
    steps = length // size
    rows = np.asarray(ids)[: streams * length].reshape(streams, length)[:, : steps * size]
    return rows.reshape(streams, steps, size).swapaxes(0, 1)
    ### END SOLUTION


# %% tags=["check"]
check(
    streams_of,
    case("one stream", np.arange(6), 1, 2, expect=np.array([[[0, 1]], [[2, 3]], [[4, 5]]])),
    case("two streams", np.arange(12), 2, 3, expect=np.array([[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9, 10, 11]]])),
    case("as many streams as steps", np.arange(8), 2, 2, expect=np.array([[[0, 1], [4, 5]], [[2, 3], [6, 7]]])),
    case("a rest in every stream", np.arange(10), 2, 2, expect=np.array([[[0, 1], [5, 6]], [[2, 3], [7, 8]]])),
    case("a rest behind the streams", np.arange(9), 2, 2, expect=np.array([[[0, 1], [4, 5]], [[2, 3], [6, 7]]])),
    nudge="Print your array for np.arange(12), 2, 3. Does row 1 of step 1 go on where row 1 of step 0 ended?",
    hint="First (streams, length), then cut the length into (streams, steps, size), then change the first two axes.",
)  # fmt: skip


# %% tags=["right"]
def streams_of(ids, streams, size):  # loops over slices
    length = len(ids) // streams
    windows = []
    for start in range(0, length - size + 1, size):
        windows.append([list(ids[row * length + start :][:size]) for row in range(streams)])
    return windows


# %% tags=["right"]
def streams_of(ids, streams, size):  # arrays: the place of every id by a sum of three numbers
    length = len(ids) // streams
    step, row, place = np.ogrid[: length // size, :streams, :size]
    return ids[step * size + row * length + place]


# %% tags=["right"]
def streams_of(ids, streams, size):  # library: one array a stream, cut and stacked
    length = ids.size // streams
    rows = np.split(ids[: streams * length], streams)
    return np.stack([np.split(row[: length // size * size], length // size) for row in rows], axis=1)


# %% tags=["wrong"]
def streams_of(ids, streams, size):
    steps = len(ids) // (streams * size)
    return np.asarray(ids)[: steps * streams * size].reshape(steps, streams, size)  # the next row, not the next step


# %% tags=["wrong"]
def streams_of(ids, streams, size):
    steps = len(ids) // (streams * size)
    rows = np.asarray(ids)[: steps * streams * size].reshape(streams, steps, size)
    return rows  # streams stand first: right only for the shape of equal numbers


# %% tags=["wrong"]
def streams_of(ids, streams, size):
    steps = len(ids) // (streams * size)  # cuts the rest off before the streams are made
    return np.asarray(ids)[: steps * streams * size].reshape(streams, steps, size).swapaxes(0, 1)


# %% [markdown]
# At character 50. A plain `reshape(steps, streams, size)` would put it at 10, and then a carried state would come from
# a neighbour's text.
#
# ## Experiment: what is learning while reading worth on a text that is strange?
#
# Write a machine of order 2 with add-one: $p(w \mid v) = (c(vw) + 1) / (c(v) + V)$, where $v$ is the character before.
# It starts with the counts of one text, reads another one and returns the mean bits per character. If `learns` is True
# it counts each pair *after* it was asked. The first character of the text has none before it and is not asked.
#
# The machine has learned Genesis. Change one thing at a time: it reads the letter of James forwards or backwards (the
# same letters, in an order that it does not know), frozen or learning. *Predict* the four numbers before you run the
# check: which text gains more from learning? Then explain the sizes.


# %% tags=["answer"]
def bits_of_reader(learned, text, learns, V=63):
    """Mean bits per character of `text` for a machine of order 2 that has counted the pairs of `learned`."""
    ### BEGIN SOLUTION
    pairs, firsts = Counter(pairwise(learned)), Counter(learned[:-1])
    cost = 0.0
    for pair in pairwise(text):
        cost -= np.log2((pairs[pair] + 1) / (firsts[pair[0]] + V))
        if learns:
            pairs[pair] += 1
            firsts[pair[0]] += 1
    return cost / (len(text) - 1)
    ### END SOLUTION


# %% tags=["check"]
verses = load("king-james")
genesis, james = ("\n".join(verses["text"][verses["label"] == book]) for book in ("Genesis", "James"))
check(
    bits_of_reader,
    case("nothing learned, two letters", "", "aba", False, V=4, expect=2.0),
    case("the same, learning", "", "abab", True, V=4, expect=1.773976, tolerance=1e-4),
    case("forwards, frozen", genesis, james, False, expect=between(3.45, 3.55)),
    case("forwards, learning", genesis, james, True, expect=between(3.44, 3.52)),
    case("backwards, frozen", genesis, james[::-1], False, expect=between(5.6, 6.2)),
    case("backwards, learning", genesis, james[::-1], True, expect=between(5.0, 5.45)),
    nudge="Is a pair counted after it was asked, both for itself and for its first character?",
    hint="Two Counters, of pairs and of first characters; when learning, add 1 to both after the cost.",
)
for name, text in {"forwards": james, "backwards": james[::-1]}.items():
    frozen, learning = (bits_of_reader(genesis, text, learns) for learns in (False, True))
    print(f"James {name:9s}: frozen {frozen:.3f}, learning {learning:.3f}, gain {frozen - learning:.3f} bits")


# %% tags=["right"]
def bits_of_reader(learned, text, learns, V=63):  # dictionaries of dictionaries, a loop over places
    after, costs = {}, []
    for left, right in pairwise(learned):
        after.setdefault(left, {}).setdefault(right, 0)
        after[left][right] += 1
    for place in range(1, len(text)):
        seen = after.setdefault(text[place - 1], {})
        costs.append(np.log2(sum(seen.values()) + V) - np.log2(seen.get(text[place], 0) + 1))
        if learns:
            seen[text[place]] = seen.get(text[place], 0) + 1
    return np.mean(costs)


# %% tags=["right"]
def bits_of_reader(learned, text, learns, V=63):  # a table; what was read before each place is a running count
    import pandas as pd

    known = {c: i for i, c in enumerate(sorted(set(learned + text)))}
    old, new = (np.array([known[c] for c in part], int) for part in (learned, text))
    table = np.zeros((len(known), len(known)))
    np.add.at(table, (old[:-1], old[1:]), 1)
    pairs = pd.DataFrame({"left": new[:-1], "right": new[1:]})
    above = table[pairs["left"], pairs["right"]] + learns * pairs.groupby(["left", "right"]).cumcount() + 1
    below = table.sum(axis=1)[pairs["left"]] + learns * pairs.groupby("left").cumcount() + V
    return np.log2(below / above).mean()


# %% tags=["wrong"]
def bits_of_reader(learned, text, learns, V=63):
    if learns:
        learned = learned + text  # learns before it is asked
    pairs, firsts = Counter(pairwise(learned)), Counter(learned[:-1])
    return np.mean([-np.log2((pairs[pair] + 1) / (firsts[pair[0]] + V)) for pair in pairwise(text)])


# %% tags=["wrong"]
def bits_of_reader(learned, text, learns, V=63):
    pairs, firsts = Counter(pairwise(learned)), Counter(learned[:-1])
    cost = 0.0
    for pair in pairwise(text):
        cost -= np.log2((pairs[pair] + 1) / (firsts[pair[0]] + V))
        pairs[pair] += learns  # counts the pair, and forgets its first character
    return cost / (len(text) - 1)


# %% tags=["wrong"]
def bits_of_reader(learned, text, learns, V=63):
    pairs, firsts = Counter(pairwise(learned)), Counter(learned[:-1])
    cost = 0.0
    for pair in pairwise(text):
        cost -= np.log2((pairs[pair] + 1) / (firsts[pair[0]] + V))
        if learns:
            pairs[pair] += 1
            firsts[pair[1]] += 1  # counts the second character
    return cost / (len(text) - 1)


# %% [markdown]
# Forwards the machine knows the language already, and a short letter teaches it little. Backwards it
# starts near $\log_2 63 = 5.98$ bits, the cost of knowing nothing, and each pair that it counts
# teaches it much. So the worth of learning measures how strange a text is, and a benchmark whose
# text is strange favours whoever learns.
