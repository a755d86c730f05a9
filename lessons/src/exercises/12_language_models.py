# %% [markdown]
# # Exercises 09 · Language models
#
# Five exercises, each alone. They need NumPy and no training. Where the text says *predict*,
# write your guess down before you run anything.

# %%
from collections import Counter
from itertools import pairwise

import numpy as np

from kerasllm.course import case, check

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
    hint="First the cost of each character, -log2 p, and then the mean.",
)


# %% tags=["wrong"]
def bits_and_perplexity(p):
    bits = -np.log2(np.mean(p))  # the logarithm of the mean
    return bits, 2**bits


# %% tags=["wrong"]
def bits_and_perplexity(p):
    nats = -np.log(p).mean()
    return nats, np.exp(nats)  # nats, not bits


# %% [markdown]
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
    hint="How much was added in all? The denominator must contain it.",
)


# %% tags=["wrong"]
def add_k(counts, k):
    return (counts + k) / (counts.sum() + len(counts))  # forgets k below


# %% tags=["wrong"]
def add_k(counts, k):
    return (counts + k) / (counts.sum() + k * np.count_nonzero(counts))


# %% [markdown]
# Try `k = 0.01` on the order-8 counts of the lesson. It is far better than `k = 1`, and far from
# Kneser-Ney: a constant for all contexts cannot know which contexts deserve trust.
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
    hint="Collect a set of left neighbours for each character; sets forget repetitions.",
)


# %% tags=["wrong"]
def continuation_counts(text):
    return dict(Counter(text))  # how often, not after how many


# %% tags=["wrong"]
def continuation_counts(text):
    after = {character: set() for character in text}
    for character, right in pairwise(text):
        after[character].add(right)  # the neighbours on the other side
    return {character: len(rights) for character, rights in after.items()}


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
    hint="How many nats does the whole text cost? Then share them out among the characters.",
)
print(f"A: {1.2 / np.log(2):.3f} bits per character, B: {bits_per_character(4.2, 260, 1000):.3f}")


# %% tags=["wrong"]
def bits_per_character(loss, tokens, characters):
    return loss / np.log(2) * characters / tokens


# %% tags=["wrong"]
def bits_per_character(loss, tokens, characters):
    return np.log2(loss) * tokens / characters


# %% [markdown]
# The model with the twenty times larger perplexity is the better one.
#
# ## Exercise 5: how much surprise does temperature make?
#
# Write sampling probabilities at a temperature: $p_i = e^{z_i / T} / \sum_j e^{z_j / T}$, for
# logits `z` of any size. Then think: the text sampled at $T$ has a mean cost under the model *at
# temperature 1*. *Predict* whether the samples of a low temperature cost more or fewer bits than
# real text does.


# %% tags=["answer"]
def at_temperature(z, T):
    """Logits (V,) and a temperature above 0 -> probabilities (V,)."""
    ### BEGIN SOLUTION
    z = np.asarray(z, dtype=float) / T
    p = np.exp(z - z.max())
    return p / p.sum()
    ### END SOLUTION


# %% tags=["check"]
check(
    at_temperature,
    case("T = 1", np.log([0.5, 0.3, 0.2]), 1.0, expect=np.array([0.5, 0.3, 0.2])),
    case("T = 1/2 squares", np.log([0.5, 0.25, 0.25]), 0.5, expect=np.array([4, 1, 1]) / 6),
    case("T = 2 takes roots", np.log([0.64, 0.36]), 2.0, expect=np.array([8, 6]) / 14),
    case("very cold", np.array([1.0, 3.0, 2.0]), 0.001, expect=np.array([0.0, 1, 0])),
    hint="Divide the logits, not the probabilities; then softmax, with the largest subtracted.",
)
z = np.random.default_rng(0).normal(0, 2, 63)
cost = -np.log2(at_temperature(z, 1.0))  # what each character costs under the model
for T in (0.3, 1.0, 1.6):
    print(f"T = {T}: a sampled character costs {at_temperature(z, T) @ cost:.2f} bits on average")


# %% tags=["wrong"]
def at_temperature(z, T):
    p = np.exp(z - np.max(z))
    p = p / p.sum() / T  # divides the probabilities
    return p / p.sum()


# %% tags=["wrong"]
def at_temperature(z, T):
    p = np.exp(np.asarray(z) * T)  # the wrong way round
    return p / p.sum()


# %% [markdown]
# Cold samples cost far less than real text. A text without surprises is easy to recognise: this
# is one way to notice that a machine wrote it.
