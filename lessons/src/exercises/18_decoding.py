# %% [markdown]
# # Exercises 18 · Decoding
#
# Five exercises and an experiment, each alone. They need NumPy and no model. Where the text says *predict*, write
# your guess down before you run anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: is it in a loop?
#
# A program that writes should notice when it is in a loop. Write a function that looks at the *end*
# of a text: it returns the smallest $n$ for which the last $n$ tokens equal the $n$ tokens before
# them. Without a loop it returns 0.
#
# *Predict:* what does it say about a text that ends with the same token twice?


# %% tags=["answer"]
def loop_length(ids):
    """ids: a list of token ids. Returns the length of the loop at its end, or 0."""
    ### BEGIN SOLUTION
    for n in range(1, len(ids) // 2 + 1):
        if ids[-n:] == ids[-2 * n : -n]:
            return n
    return 0
    ### END SOLUTION


# %% tags=["check"]
check(
    loop_length,
    case("three tokens, twice", [9, 1, 2, 3, 1, 2, 3], expect=3),
    case("no loop", [1, 2, 3, 4, 5], expect=0),
    case("one token, four times", [5, 7, 7, 7, 7], expect=1),
    case("a loop that has ended", [1, 2, 1, 2, 3], expect=0),
    case("the whole text is the loop, twice", [4, 5, 4, 5], expect=2),
    case("a token that came back is no loop yet", [1, 2, 3, 4, 3], expect=0),
    case("the same tokens in another order", [1, 2, 3, 3, 2, 1], expect=0),
    case("an empty text", [], expect=0),
    nudge="Which end of the text must be in the loop, and which of several loops is wanted?",
    hint="Try n = 1, 2, ... up to half of the text, and compare two slices.",
)


# %% tags=["right"]
def loop_length(ids):  # a loop that compares token by token, from the end
    n = 1
    while 2 * n <= len(ids):
        same = 0
        while same < n and ids[len(ids) - 1 - same] == ids[len(ids) - 1 - same - n]:
            same += 1
        if same == n:
            return n
        n += 1
    return 0


# %% tags=["right"]
def loop_length(ids):  # arrays
    ids = np.array(ids)
    return next((n for n in range(1, ids.size // 2 + 1) if (ids[-n:] == ids[-2 * n : -n]).all()), 0)


# %% tags=["right"]
def loop_length(ids):  # library: a regular expression, one sign a token
    import re

    line = "".join(map(chr, ids))[::-1]
    lengths = [n for n in range(1, len(line) // 2 + 1) if re.match(rf"(.{{{n}}})\1", line, re.S)]
    return min(lengths, default=0)


# %% tags=["wrong"]
def loop_length(ids):
    for n in range(len(ids) // 2, 0, -1):  # the largest, not the smallest
        if ids[-n:] == ids[-2 * n : -n]:
            return n
    return 0


# %% tags=["wrong"]
def loop_length(ids):
    for n in range(1, len(ids) // 2):  # stops one too early
        if ids[-n:] == ids[-2 * n : -n]:
            return n
    return 0


# %% tags=["wrong"]
def loop_length(ids):
    for n in range(1, len(ids) // 2 + 1):
        if any(ids[i : i + n] == ids[i + n : i + 2 * n] for i in range(len(ids) - 2 * n + 1)):  # anywhere
            return n
    return 0


# %% tags=["wrong"]
def loop_length(ids):
    for n in range(1, len(ids)):
        if ids[-1 - n] == ids[-1]:  # the last token came back, perhaps not those before it
            return n
    return 0


# %% tags=["wrong"]
def loop_length(ids):
    for n in range(1, len(ids) // 2 + 1):
        if set(ids[-n:]) == set(ids[-2 * n : -n]):  # forgets the order
            return n
    return 0


# %% [markdown]
# It says 1, because one token is the shortest loop. So a program should wait for more than one round
# before it stops a text: "holy, holy, holy" is no accident.
#
# ## Exercise 2: a cut that asks how sure the model is
#
# Hewitt and others (2022) cut where a token is improbable *and* much less probable than the others
# on average. The border is
#
# $$ \eta = \min\left(\varepsilon,\; \sqrt{\varepsilon}\, e^{-H}\right), \qquad
# H = -\sum_i p_i \ln p_i . $$
#
# Tokens below $\eta$ get 0. The rest is divided by its sum. The best token is never below the
# border (can you see why?). A probability of 0 adds nothing to $H$.


# %% tags=["answer"]
def eta_cut(p, epsilon):
    """p: probabilities (V,). Returns the probabilities after the cut, (V,)."""
    ### BEGIN SOLUTION
    entropy = -np.sum(p[p > 0] * np.log(p[p > 0]))
    border = min(epsilon, np.sqrt(epsilon) * np.exp(-entropy))
    kept = np.where(p >= border, p, 0)
    return kept / kept.sum()
    ### END SOLUTION


# %% tags=["check"]
def sums_to_one(p):
    return None if np.isclose(np.sum(p), 1) else "the probabilities do not sum to 1."


flat = np.append(np.full(99, 0.01), [0.006, 0.004])  # an unsure model: entropy about 4.6
sharp = np.array([0.9, 0.06, 0.03, 0.01])  # a sure model
check(
    eta_cut,
    case("a distribution", sharp, 0.05, expect=sums_to_one),
    case("a sure model: epsilon is the border", sharp, 0.05, expect=np.array([0.9, 0.06, 0, 0]) / 0.96),
    case("an unsure model keeps more", flat, 0.05, expect=flat),
    case("a zero among the probabilities", np.append(flat, 0), 0.05, expect=np.append(flat, 0)),
    case("a large epsilon", np.array([0.5, 0.3, 0.2]), 0.5, expect=np.array([5, 3, 0]) / 8),
    nudge="The entropy decides the border: is yours in nats, and does a zero among p leave it alone?",
    hint="First the entropy in nats, over the tokens with p > 0; then the border; then np.where.",
)


# %% tags=["right"]
def eta_cut(p, epsilon):  # a loop over floats
    from math import exp, log

    entropy = 0.0
    for chance in p:
        if chance > 0:
            entropy -= chance * log(chance)
    border = min(epsilon, epsilon**0.5 * exp(-entropy))
    kept = [chance if chance >= border else 0 for chance in p]
    return [chance / sum(kept) for chance in kept]


# %% tags=["right"]
def eta_cut(p, epsilon):  # library
    from scipy.stats import entropy

    kept = p * (p >= np.minimum(epsilon, np.sqrt(epsilon) / np.exp(entropy(p))))
    return kept / np.linalg.norm(kept, 1)


# %% tags=["right"]
def eta_cut(p, epsilon):  # logarithms, and a copy that is changed in place
    log = np.log(p, out=np.zeros_like(p), where=p > 0)
    kept = p.copy()
    kept[log < min(np.log(epsilon), np.log(epsilon) / 2 + p @ log)] = 0
    kept[p == 0] = 0
    kept /= kept.sum()
    return kept


# %% tags=["wrong"]
def eta_cut(p, epsilon):
    kept = np.where(p >= epsilon, p, 0)  # ignores how sure the model is
    return kept / max(kept.sum(), 1e-9)


# %% tags=["wrong"]
def eta_cut(p, epsilon):
    entropy = -np.sum(p[p > 0] * np.log2(p[p > 0]))  # in bits
    kept = np.where(p >= min(epsilon, np.sqrt(epsilon) * np.exp(-entropy)), p, 0)
    return kept / kept.sum()


# %% tags=["wrong"]
def eta_cut(p, epsilon):
    entropy = -np.sum(p[p > 0] * np.log(p[p > 0]))
    return np.where(p >= min(epsilon, np.sqrt(epsilon) * np.exp(-entropy)), p, 0)  # not divided by its sum


# %% tags=["wrong"]
def eta_cut(p, epsilon):
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.sum(p * np.log(p))  # 0 times minus infinity is not a number
    kept = np.where(p >= min(epsilon, np.sqrt(epsilon) * np.exp(-entropy)), p, 0)
    return kept / max(kept.sum(), 1e-9)


# %% [markdown]
# The best token stays, because $H$ is a mean of $-\ln p_i$ and the best token has the smallest of
# these. So $e^{-H}$ is at most its probability, and the border is lower still.
#
# ## Exercise 3: presence and frequency
#
# Many services punish repetition by *subtracting* from the logits. A token that stands in the text
# $c$ times loses $c$ times `frequency`, and once `presence` if $c$ is at least 1.
#
# *Predict:* which of the two stops a loop more surely?


# %% tags=["answer"]
def punished(logits, text, presence, frequency):
    """logits: array (V,); text: list of token ids. Returns new logits (V,); the old ones stay."""
    ### BEGIN SOLUTION
    counts = np.bincount(np.array(text, dtype=int), minlength=len(logits))
    return logits - frequency * counts - presence * (counts > 0)
    ### END SOLUTION


# %% tags=["check"]
start = np.array([2.0, -1.0, 0.5, 3.0])


def same_logits(result):
    return None if np.array_equal(start, [2, -1, 0.5, 3]) else "the logits that were given have been changed."


check(
    punished,
    case("presence counts once", start, [0, 0, 0, 1], 0.5, 0.0, expect=np.array([1.5, -1.5, 0.5, 3.0])),
    case("frequency counts each", start, [0, 0, 0, 1], 0.0, 0.5, expect=np.array([0.5, -1.5, 0.5, 3.0])),
    case("both", start, [3, 3, 1], 1.0, 0.25, expect=np.array([2.0, -2.25, 0.5, 1.5])),
    case("an empty text", start, [], 1.0, 1.0, expect=start),
    case("the old logits", start, [0, 1], 1.0, 1.0, expect=same_logits),
    nudge="A token that occurs three times: how often does each of the two penalties count?",
    hint="np.bincount counts each id; minlength gives it the right length.",
)


# %% tags=["right"]
def punished(logits, text, presence, frequency):  # loops
    new = list(logits)
    for token in text:
        new[token] -= frequency
    for token in set(text):
        new[token] -= presence
    return new


# %% tags=["right"]
def punished(logits, text, presence, frequency):  # places that are added up, repeated ones too
    new = np.array(logits)
    np.subtract.at(new, np.array(text, int), frequency)
    new[list(set(text))] -= presence
    return new


# %% tags=["right"]
def punished(logits, text, presence, frequency):  # library: Keras, a row of 0 and 1 for each token of the text
    from keras import ops

    if not text:
        return logits
    counts = ops.sum(ops.one_hot(np.array(text), len(logits)), axis=0)
    return logits.astype("float32") - frequency * counts - presence * ops.minimum(counts, 1)


# %% tags=["wrong"]
def punished(logits, text, presence, frequency):
    counts = np.bincount(np.array(text, dtype=int), minlength=len(logits))
    return logits - (frequency + presence) * counts  # presence for each occurrence


# %% tags=["wrong"]
def punished(logits, text, presence, frequency):
    result = logits.copy()
    result[text] -= frequency + presence  # a repeated index counts once
    return result


# %% tags=["wrong"]
def punished(logits, text, presence, frequency):
    counts = np.bincount(np.array(text, dtype=int), minlength=len(logits))
    logits -= frequency * counts + presence * (counts > 0)  # changes what was given
    return logits


# %% [markdown]
# Frequency: its penalty grows until the loop breaks. But in a long text it also drives out "the".
#
# ## Exercise 4: one step of beam search
#
# `scores` holds the log-probabilities of the `width` texts so far, `logp` the log-probabilities of
# every next token for each of them. Return three arrays of length `width`, the best first: the new
# scores, the text that each one continues, and its new token. Two of the new texts may continue the
# same old one.


# %% tags=["answer"]
def beam_step(scores, logp):
    """scores (width,), logp (width, V) -> new scores, parents, tokens, each (width,)."""
    ### BEGIN SOLUTION
    totals = scores[:, None] + logp
    best = np.argsort(-totals, axis=None)[: len(scores)]
    return totals.ravel()[best], best // logp.shape[1], best % logp.shape[1]
    ### END SOLUTION


# %% tags=["check"]
two = np.log([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1]])
check(
    beam_step,
    case("equal texts", np.log([0.5, 0.5]), two, expect=(np.log([0.3, 0.25]), [0, 1], [0, 0])),
    case("one text gives both", np.log([0.9, 0.1]), two, expect=(np.log([0.54, 0.27]), [0, 0], [0, 1])),
    case("the second text is better", np.log([0.2, 0.8]), two, expect=(np.log([0.4, 0.32]), [1, 1], [0, 1])),
    case("a width of 1 is greedy", np.array([0.0]), np.log([[0.2, 0.7, 0.1]]), expect=(np.log([0.7]), [0], [1])),
    nudge="All continuations of all texts compete with each other, not only those of one text.",
    hint="Add each score to its row, sort all sums together, and take the place apart with // and %.",
)


# %% tags=["right"]
def beam_step(scores, logp):  # loops and a sorted list
    found = []
    for parent, score in enumerate(scores):
        for token, value in enumerate(logp[parent]):
            found.append((score + value, parent, token))
    found.sort(reverse=True)
    totals, parents, tokens = zip(*found[: len(scores)], strict=True)
    return list(totals), list(parents), list(tokens)


# %% tags=["right"]
def beam_step(scores, logp):  # library: the largest of all, and where they stood
    totals = np.add(logp.T, scores).T
    places = np.argpartition(totals, -len(scores), axis=None)[-len(scores) :]
    places = places[np.argsort(totals.flat[places])[::-1]]
    return totals.flat[places], *np.unravel_index(places, totals.shape)


# %% tags=["right"]
def beam_step(scores, logp):  # library: Keras, in 32-bit numbers
    from keras import ops

    totals = ops.cast(scores[:, None] + logp, "float32")
    best, places = ops.top_k(ops.reshape(totals, (-1,)), len(scores))
    return best, places // logp.shape[1], places % logp.shape[1]


# %% tags=["wrong"]
def beam_step(scores, logp):
    tokens = logp.argmax(axis=1)  # each text keeps one continuation
    totals = scores + logp.max(axis=1)
    order = np.argsort(-totals)
    return totals[order], order, tokens[order]


# %% tags=["wrong"]
def beam_step(scores, logp):
    best = np.argsort(-logp, axis=None)[: len(scores)]  # forgets the scores so far
    parents, tokens = best // logp.shape[1], best % logp.shape[1]
    return scores[parents] + logp[parents, tokens], parents, tokens


# %% tags=["wrong"]
def beam_step(scores, logp):
    totals = scores[:, None] + logp
    best = np.argsort(-totals, axis=None)[: len(scores)]
    return totals.ravel()[best], best // len(scores), best % len(scores)  # right where logp is square


# %% [markdown]
# ## Exercise 5: keep or replace a guess
#
# The rule of speculative decoding, with its two random numbers given. `token` was drawn from the
# draft's `q`. Keep it when `u < min(1, p / q)` at this token. Otherwise take the token at which the
# running sum of $\max(p - q, 0)$, *divided by its whole sum*, first exceeds `v`.
#
# The check runs through a fine grid of all random numbers and asks whether the result has the
# distribution $p$.


# %% tags=["answer"]
def keep_or_replace(token, p, q, u, v):
    """p, q: arrays (V,); u and v: random numbers from [0, 1). Returns a token."""
    ### BEGIN SOLUTION
    if u < min(1, p[token] / q[token]):
        return token
    rest = np.maximum(p - q, 0)
    return int(np.argmax(np.cumsum(rest) / rest.sum() > v))
    ### END SOLUTION


# %% tags=["check"]
p3, q3 = np.array([0.3, 0.5, 0.2]), np.array([0.6, 0.3, 0.1])
grid = (np.arange(60) + 0.5) / 60


def distribution(p, q):
    """How often each token comes out when the guess is drawn from q, over all u and v."""
    shares = np.zeros(len(p))
    for token in np.flatnonzero(q):
        for u in grid:
            for v in grid:
                shares[keep_or_replace(int(token), p, q, u, v)] += q[token] / len(grid) ** 2
    return shares


check(
    keep_or_replace,
    case("a guess that is too rare in q", 1, p3, q3, 0.99, 0.5, expect=1),
    case("kept by chance", 0, p3, q3, 0.49, 0.5, expect=0),
    case("refused, small v", 0, p3, q3, 0.51, 0.6, expect=1),
    case("refused, large v", 0, p3, q3, 0.51, 0.7, expect=2),
    nudge="Of which distribution did the draft give too little, and by how much?",
    hint="The ratio p / q decides; what replaces a refused guess comes from max(p - q, 0).",
)
for p, q in [(p3, q3), (q3, p3), (np.array([0.5, 0.5, 0.0]), np.array([0.1, 0.1, 0.8]))]:
    check(
        distribution,
        case("the distribution is p", p, q, expect=p, tolerance=0.01),
        hint="Write keep_or_replace first.",
    )


# %% tags=["right"]
def keep_or_replace(token, p, q, u, v):  # a loop over tokens
    if u * q[token] < p[token]:
        return token
    missing = [max(wanted - given, 0) for wanted, given in zip(p, q, strict=True)]
    running = 0.0
    for other, amount in enumerate(missing):
        running += amount
        if running > v * sum(missing):
            return other


# %% tags=["right"]
def keep_or_replace(token, p, q, u, v):  # library: the place of v in the running sum
    running = np.cumsum(np.clip(p - q, 0, None))
    other = np.searchsorted(running / running[-1], v, side="right")
    return np.where(u < p[token] / q[token], token, other)


# %% tags=["wrong"]
def keep_or_replace(token, p, q, u, v):
    if u < min(1, p[token] / q[token]):
        return token
    return int(np.argmax(np.cumsum(p) > v))  # from p: some tokens come too often


# %% tags=["wrong"]
def keep_or_replace(token, p, q, u, v):
    if u < min(1, q[token] / p[token]):  # the wrong way round
        return token
    rest = np.maximum(p - q, 0)
    return int(np.argmax(np.cumsum(rest) / rest.sum() > v))


# %% tags=["wrong"]
def keep_or_replace(token, p, q, u, v):
    if u < min(1, p[token] / q[token]):
        return token
    return int(np.argmax(np.cumsum(np.maximum(p - q, 0)) > v))  # not divided by the sum


# %% [markdown]
# Note what the check did not need: the guess may come from a very bad draft. The text is right with
# every draft; only the speed suffers.
#
# ## Experiment: how many guesses pay?
#
# A longer guess saves calls of the big model, if it is kept. But the draft takes time too, and what
# stands behind a refused guess is lost. Let every guess be kept with probability `alpha`, a call of the big
# model cost 1, and each guess cost `cost`. Change the number of guesses $k$ from 1 to 20 and measure
# tokens for each unit of cost: simulate a few thousand calls for each $k$, or find the mean on paper. A call
# writes the kept guesses and one more token.
#
# *Predict:* with guesses that cost a tenth of a call, how many pay if 30% are kept, 70%, or 90%?


# %% tags=["answer"]
def best_number_of_guesses(alpha, cost):
    """The k from 1 to 20 that writes most tokens for its cost."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(0)
    speed = []
    for k in range(1, 21):
        kept = np.cumprod(rng.random((20_000, k)) < alpha, axis=1).sum(axis=1)  # guesses before the first refusal
        speed.append((kept + 1).mean() / (1 + k * cost))
    return int(np.argmax(speed)) + 1
    ### END SOLUTION


# %% tags=["check"]
check(
    best_number_of_guesses,
    case("30% are kept", 0.3, 0.1, expect=between(1, 2)),
    case("70% are kept", 0.7, 0.1, expect=between(3, 5)),
    case("90% are kept", 0.9, 0.1, expect=between(7, 13)),
    case("a draft that costs half a call", 0.7, 0.5, expect=between(1, 1)),
    nudge="Which guesses of a call are lost after a refusal? And what does a call write whose first guess is refused?",
    hint="A call costs 1 + k * cost and writes one token more than the guesses that were kept before the first no.",
)


# %% tags=["right"]
def best_number_of_guesses(alpha, cost):  # on paper: the mean of a call is a sum of powers
    best, number, mean = 0.0, 0, 1.0
    for k in range(1, 21):
        mean += alpha**k
        if mean / (1 + k * cost) > best:
            best, number = mean / (1 + k * cost), k
    return number


# %% tags=["right"]
def best_number_of_guesses(alpha, cost):  # simulated call by call, with Python's generator
    import random

    toss, calls = random.Random(1), 3_000
    runs = []
    for _ in range(calls):
        run = 0
        while run < 20 and toss.random() < alpha:
            run += 1
        runs.append(run)
    return max(range(1, 21), key=lambda k: sum(min(run, k) + 1 for run in runs) / (calls * (1 + k * cost)))


# %% tags=["right"]
def best_number_of_guesses(alpha, cost):  # the formula, all k at once
    k = np.arange(1.0, 21)
    return k[np.argmax((1 - alpha ** (k + 1)) / (1 - alpha) / (1 + k * cost))]


# %% tags=["wrong"]
def best_number_of_guesses(alpha, cost):
    speed = [(1 + k * alpha) / (1 + k * cost) for k in range(1, 21)]  # each guess for itself: nothing is lost
    return int(np.argmax(speed)) + 1


# %% tags=["wrong"]
def best_number_of_guesses(alpha, cost):
    speed = [(1 - alpha ** (k + 1)) / (1 - alpha) for k in range(1, 21)]  # guesses are free
    return int(np.argmax(speed)) + 1


# %% tags=["wrong"]
def best_number_of_guesses(alpha, cost):
    rng, speed = np.random.default_rng(0), []
    for k in range(1, 21):
        kept = (rng.random((20_000, k)) < alpha).sum(axis=1)  # guesses behind a refusal count too
        speed.append((kept + 1).mean() / (1 + k * cost))
    return int(np.argmax(speed)) + 1


# %% [markdown]
# Why is more not better? The probability that the $k$-th guess counts is $\alpha^k$, which shrinks,
# and its cost stays. The mean is $(1 - \alpha^{k+1}) / (1 - \alpha)$ tokens a call (Leviathan et al.
# 2023, equation 1). So a good draft should guess far, and a bad one hardly at all.
