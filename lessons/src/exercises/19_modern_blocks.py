# %% [markdown]
# # Exercises 19 · Modern blocks
#
# Five exercises and an experiment, each alone. They need NumPy and no training. Where the text says *predict*,
# write your guess down before you run anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: RMSNorm
#
# Divide the vector of each token by the root of the mean of its squares, and multiply by a trained `scale` of
# (dim,). Add `epsilon` under the root.
#
# *Predict:* what becomes of $(2, 4, 6)$, and what of $(20, 40, 60)$?


# %% tags=["answer"]
def rms_norm(x, scale, epsilon=1e-6):
    """x: array (..., dim), scale: array (dim,). Returns an array of the shape of x."""
    ### BEGIN SOLUTION
    return scale * x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + epsilon)
    ### END SOLUTION


# %% tags=["check"]
check(
    rms_norm,
    case("(2, 4, 6)", np.array([2.0, 4.0, 6.0]), np.ones(3), expect=np.array([0.46291, 0.92582, 1.38873]),
         tolerance=1e-4),
    case("ten times as long", np.array([20.0, 40.0, 60.0]), np.ones(3), expect=np.array([0.46291, 0.92582, 1.38873]),
         tolerance=1e-4),
    case("two tokens of two numbers", np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([1.0, 10.0]),
         expect=np.array([[0.848528, 11.31371], [0.0, 14.14214]]), tolerance=1e-4),
    case("a batch", np.arange(1.0, 13).reshape(2, 2, 3), np.ones(3),
         expect=lambda y: None if np.allclose(np.mean(np.square(y), axis=-1), 1, atol=1e-3) else
         "the mean square of a token is not 1."),
    case("a large epsilon", np.array([1.0, 1.0]), np.ones(2), 3.0, expect=np.array([0.5, 0.5])),
    nudge="What is the mean square of each token afterwards, before the scale? Along which axis is the mean?",
    hint="The mean of the squares along the last axis, with keepdims. Epsilon stands under the root. Subtract nothing.",
)  # fmt: skip


# %% tags=["right"]
def rms_norm(x, scale, epsilon=1e-6):  # a loop over tokens
    result = np.empty(x.shape)
    for place in np.ndindex(x.shape[:-1]):
        size = (sum(number**2 for number in x[place]) / len(scale) + epsilon) ** 0.5
        result[place] = [number / size * s for number, s in zip(x[place], scale, strict=True)]
    return result


# %% tags=["right"]
def rms_norm(x, scale, epsilon=1e-6):  # einsum
    squares = np.einsum("...d,...d->...", x, x)[..., None] / x.shape[-1]
    return np.einsum("...d,d->...d", x * (squares + epsilon) ** -0.5, scale)


# %% tags=["right"]
def rms_norm(x, scale, epsilon=1e-6):  # library: the layer of Keras, in 32-bit numbers
    import keras

    layer = keras.layers.RMSNormalization(epsilon=epsilon)
    layer.build(x.shape)
    layer.scale.assign(scale)
    return layer(x)


# %% tags=["wrong"]
def rms_norm(x, scale, epsilon=1e-6):
    x = x - x.mean(axis=-1, keepdims=True)  # layer normalisation
    return scale * x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + epsilon)


# %% tags=["wrong"]
def rms_norm(x, scale, epsilon=1e-6):
    return scale * x / np.sqrt(np.sum(x**2, axis=-1, keepdims=True) + epsilon)  # the length, not the mean


# %% tags=["wrong"]
def rms_norm(x, scale, epsilon=1e-6):
    return scale * x / np.sqrt(np.mean(x**2, axis=0, keepdims=True) + epsilon)  # over the tokens


# %% [markdown]
# Both give the same: the length is divided out, the direction stays.
#
# ## Exercise 2: who shares with whom?
#
# In grouped-query attention the heads of queries stand in order, and neighbours share. With 4 heads of queries and
# 2 of keys, the heads 0 and 1 use the keys 0, and the heads 2 and 3 use the keys 1. Give every head of queries its
# keys.
#
# *Predict:* with how many heads of keys is this ordinary attention, and how many times smaller is the cache with
# one?


# %% tags=["answer"]
def keys_of_all(keys, heads):
    """keys: array (kv_heads, time, d). Returns (heads, time, d)."""
    ### BEGIN SOLUTION
    return np.repeat(keys, heads // len(keys), axis=0)
    ### END SOLUTION


# %% tags=["check"]
keys = np.arange(12.0).reshape(2, 3, 2)
one = np.arange(6.0).reshape(1, 3, 2)
check(
    keys_of_all,
    case("as many as queries", keys, 2, expect=keys),
    case("two share one", keys, 4, expect=np.stack([keys[0], keys[0], keys[1], keys[1]])),
    case("three share one", keys, 6, expect=np.stack([keys[0]] * 3 + [keys[1]] * 3)),
    case("all share one", one, 3, expect=np.concatenate([one] * 3)),
    nudge="Print which keys head 1 gets. Are they those of head 0?",
    hint="np.repeat repeats each head in place: 0 0 1 1. np.tile would give 0 1 0 1.",
)


# %% tags=["right"]
def keys_of_all(keys, heads):  # a loop
    shared = heads // len(keys)
    return [keys[head // shared] for head in range(heads)]


# %% tags=["right"]
def keys_of_all(keys, heads):  # a new axis that is stretched, then joined
    kv_heads, time, d = keys.shape
    return np.broadcast_to(keys[:, None], (kv_heads, heads // kv_heads, time, d)).reshape(heads, time, d)


# %% tags=["right"]
def keys_of_all(keys, heads):  # library: Keras takes rows by their numbers
    from keras import ops

    return ops.take(keys, ops.arange(heads) * len(keys) // heads, axis=0)


# %% tags=["wrong"]
def keys_of_all(keys, heads):
    return np.tile(keys, (heads // len(keys), 1, 1))  # 0 1 0 1


# %% tags=["wrong"]
def keys_of_all(keys, heads):
    return np.repeat(keys, heads // len(keys), axis=1)  # repeats the places


# %% tags=["wrong"]
def keys_of_all(keys, heads):
    return np.concatenate([keys] + [keys[-1:]] * (heads - len(keys)))  # the last one for the rest: right for one


# %% [markdown]
# With as many heads of keys as of queries nothing is shared. With one, the cache of 4 heads is 4 times smaller.
# Weights that were trained in one order and loaded in the other give no error, only bad text.
#
# ## Exercise 3: what remains in the cache?
#
# A model has blocks that see everything and blocks with a window. For each block you get its window, or None.
# Count the numbers in the cache after a text of `time` tokens: a key and a value of `d` numbers for each of the
# `kv_heads`, each token that can still be seen, and each block.
#
# *Predict:* 4 blocks, of which two have a window of 32. By which factor is the cache smaller after 32 tokens, and
# after 3,200?


# %% tags=["answer"]
def cache_numbers(windows, time, kv_heads, d):
    """windows: list with a number or None for each block. Returns a whole number."""
    ### BEGIN SOLUTION
    held = [time if window is None else min(window, time) for window in windows]
    return 2 * kv_heads * d * sum(held)
    ### END SOLUTION


# %% tags=["check"]
check(
    cache_numbers,
    case("one block that sees all", [None], 10, 1, 4, expect=80),
    case("three heads", [None], 10, 3, 4, expect=240),
    case("a window", [4], 10, 1, 1, expect=8),
    case("a text shorter than the window", [32], 10, 1, 1, expect=20),
    case("mixed", [32, None, 32, None], 3_200, 2, 16, expect=413_696),
    nudge="How many tokens does a block with a window hold when the text is shorter than the window?",
    hint="min(window, time) tokens for a block with a window; 2 for key and value.",
)
ratio = cache_numbers([None] * 4, 3_200, 2, 16) / cache_numbers([32, None, 32, None], 3_200, 2, 16)
print(f"after 3,200 tokens the cache is {ratio:.2f} times smaller")


# %% tags=["right"]
def cache_numbers(windows, time, kv_heads, d):  # loops, token by token
    numbers = 0
    for window in windows:
        for age in range(time):
            if window is None or age < window:
                numbers += kv_heads * (d + d)
    return numbers


# %% tags=["right"]
def cache_numbers(windows, time, kv_heads, d):  # arrays: None is an infinite window
    held = np.minimum(np.array(windows, float), time)
    return 2 * kv_heads * d * np.nansum(np.where(np.isnan(held), time, held))


# %% tags=["right"]
def cache_numbers(windows, time, kv_heads, d):  # the shapes of real caches
    caches = [np.empty((2, kv_heads, len(range(time)[-(window or time) :]), d), "float16") for window in windows]
    return sum(cache.size for cache in caches)


# %% tags=["wrong"]
def cache_numbers(windows, time, kv_heads, d):
    return 2 * kv_heads * d * sum(window or time for window in windows)  # a window longer than the text


# %% tags=["wrong"]
def cache_numbers(windows, time, kv_heads, d):
    return kv_heads * d * sum(time if window is None else min(window, time) for window in windows)  # keys alone


# %% tags=["wrong"]
def cache_numbers(windows, time, kv_heads, d):
    held = [time if window is None else min(window, time) for window in windows]
    return 2 * d * sum(held)  # one head: right where all share one


# %% [markdown]
# After 32 tokens by a factor of 1, which is not at all; after 3,200 by nearly 2: the blocks that see all are then
# almost the whole cache.
#
# ## Exercise 4: a router
#
# For one token you get the router's scores, one for each expert. Choose the best `used`, and give each the share
# of its probability among the chosen. The others get 0. (The probabilities are the softmax of the scores. Scores may
# be as large as 1,000, so subtract the largest before `np.exp`, as in lesson 13.)
#
# *Predict:* does it matter whether the softmax is taken over all experts first, or over the chosen ones alone?


# %% tags=["answer"]
def shares(scores, used):
    """scores: array (experts,). Returns an array (experts,) that sums to 1."""
    ### BEGIN SOLUTION
    p = np.exp(scores - scores.max())
    best = np.argsort(-scores)[:used]
    result = np.zeros(len(scores))
    result[best] = p[best] / p[best].sum()
    return result
    ### END SOLUTION


# %% tags=["check"]
check(
    shares,
    case("the lesson's four", np.log([0.5, 0.1, 0.3, 0.1]), 2, expect=np.array([0.625, 0, 0.375, 0])),
    case("one of three", np.array([0.0, 2.0, 1.0]), 1, expect=np.array([0.0, 1.0, 0.0])),
    case("all of two", np.log([1.0, 3.0]), 2, expect=np.array([0.25, 0.75])),
    case("negative scores", np.log([0.1, 0.3, 0.2]) - 5, 2, expect=np.array([0, 0.6, 0.4])),
    case("large scores", np.array([1000.0, 1000.0, 0.0]), 2, expect=np.array([0.5, 0.5, 0.0])),
    nudge="What do the shares of the chosen sum to? Which experts are chosen when all scores are negative?",
    hint="np.argsort(-scores)[:used] are the chosen; divide their probabilities by the sum over them alone.",
)


# %% tags=["right"]
def shares(scores, used):  # a loop: the best, then the best of the rest
    left, result = list(scores), [0.0] * len(scores)
    top = max(scores)
    for _ in range(used):
        best = left.index(max(left))
        result[best] = float(np.exp(scores[best] - top))
        left[best] = float("-inf")
    return [share / sum(result) for share in result]


# %% tags=["right"]
def shares(scores, used):  # the others get minus infinity, then one softmax; library
    from scipy.special import softmax

    border = np.sort(scores)[-used]
    return softmax(np.where(scores >= border, scores, -np.inf))


# %% tags=["right"]
def shares(scores, used):  # library: Keras, in 32-bit numbers
    from keras import ops

    best, places = ops.top_k(scores.astype("float32"), used)
    return ops.matmul(ops.softmax(best), ops.one_hot(places, len(scores)))


# %% tags=["wrong"]
def shares(scores, used):
    p = np.exp(scores - scores.max())
    p = p / p.sum()
    return np.where(np.argsort(np.argsort(-scores)) < used, p, 0)  # they do not sum to 1


# %% tags=["wrong"]
def shares(scores, used):
    best = np.argsort(scores)[:used]  # the worst
    result = np.zeros(len(scores))
    p = np.exp(scores - scores.max())
    result[best] = p[best] / p[best].sum()
    return result


# %% tags=["wrong"]
def shares(scores, used):
    best = np.argsort(-scores)[:used]
    result = np.zeros(len(scores))
    result[best] = scores[best] / scores[best].sum()  # scores are no probabilities
    return result


# %% [markdown]
# It does not matter: dividing by the sum over the chosen removes whatever all had in common.
#
# ## Exercise 5: a verdict
#
# You get the bits of runs with a change and without it, in two dictionaries. A key is a pair of size and seed, such
# as `("small", 2)`. Subtract within each key, and judge by the rule of the lesson: `"saves"` if the change needs
# fewer bits in every pair, `"costs"` if it needs more in every pair, otherwise `"cannot tell"`. The keys may stand in
# another order on the two sides. A run without a partner on the other side counts for nothing.
#
# *Predict:* the three seeds of a block need 2.155, 2.158 and 2.276 bits, and with a change 2.147, 2.148 and 2.246. So
# the seeds are 0.12 apart, and the change saves 0.016 on average. Can these six runs show anything at all?


# %% tags=["answer"]
def verdict(without, with_it):
    """without, with_it: dict, (size, seed): bits. Returns "saves", "costs" or "cannot tell"."""
    ### BEGIN SOLUTION
    saved = [without[key] - with_it[key] for key in without if key in with_it]
    if all(bits > 0 for bits in saved):
        return "saves"
    return "costs" if all(bits < 0 for bits in saved) else "cannot tell"
    ### END SOLUTION


# %% tags=["check"]
block = {("small", 0): 2.155, ("small", 1): 2.158, ("small", 2): 2.276}
better = {("small", 0): 2.147, ("small", 1): 2.148, ("small", 2): 2.246}
check(
    verdict,
    case("the three seeds above", block, better, expect="saves"),
    case("the other way round", better, block, expect="costs"),
    case("another order", dict(reversed(block.items())), better, expect="saves"),
    case("one sign differs", {**block, ("large", 0): 2.10}, {**better, ("large", 0): 2.11}, expect="cannot tell"),
    case("one pair is equal", {**block, ("large", 0): 2.10}, {**better, ("large", 0): 2.10}, expect="cannot tell"),
    case("runs without a partner", {**block, ("large", 0): 1.9}, {**better, ("large", 1): 2.3}, expect="saves"),
    nudge="Which run is each one held against: the one at the same place, or the one with the same size and seed?",
    hint="Collect without[key] - with_it[key] for the keys on both sides, then ask for the sign of all of them.",
)


# %% tags=["right"]
def verdict(without, with_it):  # arrays and signs
    both = sorted(without.keys() & with_it.keys())
    signs = set(np.sign([without[key] - with_it[key] for key in both]))
    return {1.0: "saves", -1.0: "costs"}[signs.pop()] if len(signs) == 1 and 0.0 not in signs else "cannot tell"


# %% tags=["right"]
def verdict(without, with_it):  # a loop that counts
    wins = losses = pairs = 0
    for key, bits in with_it.items():
        if key not in without:
            continue
        pairs += 1
        wins += bits < without[key]
        losses += bits > without[key]
    return "saves" if wins == pairs else "costs" if losses == pairs else "cannot tell"


# %% tags=["right"]
def verdict(without, with_it):  # library: pandas lines up the keys
    import pandas as pd

    saved = (pd.Series(without) - pd.Series(with_it)).dropna()
    return "saves" if saved.min() > 0 else "costs" if saved.max() < 0 else "cannot tell"


# %% tags=["wrong"]
def verdict(without, with_it):
    pairs = list(zip(without.values(), with_it.values(), strict=True))  # by place, not by key
    saved = [a - b for a, b in pairs]
    return "saves" if min(saved) > 0 else "costs" if max(saved) < 0 else "cannot tell"


# %% tags=["wrong"]
def verdict(without, with_it):
    saved = np.mean(list(without.values())) - np.mean(list(with_it.values()))  # means alone
    return "saves" if saved > 0 else "costs" if saved < 0 else "cannot tell"


# %% tags=["wrong"]
def verdict(without, with_it):
    old, new = list(without.values()), list(with_it.values())  # every run against every other
    return "saves" if max(new) < min(old) else "costs" if min(new) > max(old) else "cannot tell"


# %% tags=["wrong"]
def verdict(without, with_it):
    saved = [without[key] - with_it[key] for key in without if key in with_it]
    return "saves" if min(saved) >= 0 else "costs" if max(saved) <= 0 else "cannot tell"  # equal counts as saved


# %% [markdown]
# They can. Unpaired, the bad seed hides the change; within each seed its sign is the same. Three equal signs come
# by luck in one of four tables, though, which is why the lesson asks for six.
#
# ## Experiment: weights that grow
#
# During training the weights of queries and keys tend to grow. Here queries and keys are 64 random numbers of
# variance 1, times `size`. A query meets 50 keys; the scores are divided by $\sqrt{64}$. Write `largest_weight`:
# the mean, over 200 queries with keys of their own, of the largest attention weight. With `qk_norm` each query and
# each key is first divided by its root mean square.
#
# *Predict* before you run the check: the largest weight for the sizes 1, 2 and 4, without and with QK-norm. Change
# nothing but the size. Then explain why a learning rate that is too high does less harm to one of the two.


# %% tags=["answer"]
def largest_weight(size, qk_norm):
    """Returns the mean of the largest weight."""
    ### BEGIN SOLUTION
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        query, keys = size * rng.normal(size=64), size * rng.normal(size=(50, 64))
        if qk_norm:
            query = query / np.sqrt(np.mean(query**2))
            keys = keys / np.sqrt(np.mean(keys**2, axis=1, keepdims=True))
        scores = keys @ query / 8
        e = np.exp(scores - scores.max())
        found.append((e / e.sum()).max())
    return np.mean(found)
    ### END SOLUTION


# %% tags=["check"]
check(
    largest_weight,
    case("size 1", 1.0, False, expect=between(0.08, 0.17)),
    case("size 4", 4.0, False, expect=between(0.8, 1.0)),
    case("size 1 with QK-norm", 1.0, True, expect=between(0.08, 0.17)),
    case("size 4 with QK-norm", 4.0, True, expect=between(0.08, 0.17)),
    nudge="By which factor do scores grow when both sides are four times as large? Has each key a divisor of its own?",
    hint="Each key needs its own root mean square: axis=1, keepdims=True. Divide the scores by 8 before the softmax.",
)
for size in (1.0, 2.0, 4.0):
    print(f"size {size:.0f}: {largest_weight(size, False):.2f}, with QK-norm {largest_weight(size, True):.2f}")


# %% tags=["right"]
def largest_weight(size, qk_norm):  # all queries at once
    rng = np.random.default_rng(1)
    query, keys = size * rng.normal(size=(200, 64)), size * rng.normal(size=(200, 50, 64))
    if qk_norm:
        query, keys = (part / np.sqrt(np.mean(part**2, axis=-1, keepdims=True)) for part in (query, keys))
    scores = np.einsum("nkd,nd->nk", keys, query) / 8
    return np.mean(1 / np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1))


# %% tags=["right"]
def largest_weight(size, qk_norm):  # library: layers of Keras, in 32-bit numbers
    from keras import ops, random

    query, keys = size * random.normal((200, 1, 64), seed=1), size * random.normal((200, 50, 64), seed=2)
    if qk_norm:
        query, keys = ops.rms_normalization(query), ops.rms_normalization(keys)
    weights = ops.softmax(ops.matmul(query, ops.swapaxes(keys, 1, 2)) / ops.sqrt(64.0))
    return ops.mean(ops.max(weights, axis=-1))


# %% tags=["right"]
def largest_weight(size, qk_norm):  # loops over queries and keys
    rng, total = np.random.default_rng(2), 0.0
    for _ in range(200):
        query, scores = size * rng.normal(size=64), []
        for _ in range(50):
            key = size * rng.normal(size=64)
            score = query @ key / 64**0.5
            if qk_norm:
                score *= 64 / (query @ query * (key @ key)) ** 0.5
            scores.append(score)
        total += 1 / sum(np.exp(np.array(scores) - max(scores)))
    return total / 200


# %% tags=["wrong"]
def largest_weight(size, qk_norm):
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        query, keys = size * rng.normal(size=64), size * rng.normal(size=(50, 64))
        if qk_norm:
            query = query / np.sqrt(np.mean(query**2))  # the keys are forgotten
        e = np.exp(keys @ query / 8)
        found.append((e / e.sum()).max())
    return np.mean(found)


# %% tags=["wrong"]
def largest_weight(size, qk_norm):
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        query, keys = size * rng.normal(size=64), size * rng.normal(size=(50, 64))
        if qk_norm:
            query, keys = query / np.linalg.norm(query), keys / np.linalg.norm(keys, axis=1, keepdims=True)
        e = np.exp(keys @ query / 8)  # lengths of 1: all scores are tiny
        found.append((e / e.sum()).max())
    return np.mean(found)


# %% tags=["wrong"]
def largest_weight(size, qk_norm):
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        query, keys = size * rng.normal(size=64), size * rng.normal(size=(50, 64))
        if qk_norm:
            query = query / np.sqrt(np.mean(query**2))
            keys = keys / np.sqrt(np.mean(keys**2, axis=1, keepdims=True))
        scores = keys @ query  # the scores are not divided
        e = np.exp(scores - scores.max())
        found.append((e / e.sum()).max())
    return np.mean(found)


# %% [markdown]
# Four times the size on both sides is sixteen times the score: the softmax gives everything to one key, and its
# slope is gone. With QK-norm the size is divided out, so weights that grow too fast do not reach the softmax.
