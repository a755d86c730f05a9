# %% [markdown]
# # Exercises 22 · Preferences and rewards
#
# Four exercises and an experiment, each alone. They need NumPy and no language model. Where the text says *predict*,
# write your guess down before you run anything.

# %%
import numpy as np

from kerasllm.course import between, case, check
from kerasllm.training import dpo_loss, group_advantages

# %% [markdown]
# ## Exercise 1: better than its group
#
# Write the advantages of GRPO: each reward minus the mean of its group, divided by the standard deviation of its
# group (the root of the mean squared difference from the mean). Where all rewards of a group are equal, there is
# nothing to compare, and all its advantages are 0.
#
# *Predict:* one reply of eight is right. How many times larger is its advantage than that of a wrong one? And if
# seven are right?


# %% tags=["answer"]
def advantages(rewards):
    """rewards (problems, group). Returns an array of the same shape."""
    ### BEGIN SOLUTION
    rewards = np.asarray(rewards, float)
    spread = rewards.std(axis=1, keepdims=True)
    return np.where(spread > 0, (rewards - rewards.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1), 0)
    ### END SOLUTION


# %% tags=["check"]
check(
    advantages,
    case("one right of four", [[1, 0, 0, 0]], expect=np.array([[3, -1, -1, -1]]) / np.sqrt(3)),
    case("two groups, each by itself", [[0, 1], [10, 30]], expect=[[-1, 1], [-1, 1]]),
    case("all equal", [[1, 1, 1], [0, 0, 0]], expect=np.zeros((2, 3))),
    case("as many groups as replies", [[0, 2], [4, 4]], expect=[[-1, 1], [0, 0]]),
    nudge="Which replies does a reply compete with, and what is 0 divided by 0?",
    hint="Mean and standard deviation along axis 1, with keepdims=True; np.where for groups whose spread is 0.",
)


# %% tags=["right"]
def advantages(rewards):  # group by group, in a loop
    found = []
    for group in rewards:
        mean = sum(group) / len(group)
        spread = (sum((one - mean) ** 2 for one in group) / len(group)) ** 0.5
        found.append([(one - mean) / spread if spread else 0.0 for one in group])
    return found


# %% tags=["right"]
def advantages(rewards):  # the library
    return group_advantages(rewards)


# %% tags=["right"]
def advantages(rewards):  # divided where it can be divided
    away = np.array(rewards, float)
    away -= away.mean(axis=1)[:, None]
    spread = np.sqrt((away**2).mean(axis=1))[:, None]
    return np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)


# %% tags=["wrong"]
def advantages(rewards):
    rewards = np.asarray(rewards, float)
    return (rewards - rewards.mean()) / rewards.std() if rewards.std() else 0 * rewards  # over all groups


# %% tags=["wrong"]
def advantages(rewards):
    rewards = np.asarray(rewards, float)
    spread = rewards.std(axis=1, ddof=1, keepdims=True)  # the other standard deviation
    return (rewards - rewards.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)


# %% tags=["wrong"]
def advantages(rewards):
    rewards = np.asarray(rewards, float)
    return rewards - rewards.mean(axis=1, keepdims=True)  # not divided


# %% tags=["wrong"]
def advantages(rewards):
    rewards = np.asarray(rewards, float)
    with np.errstate(invalid="ignore"):
        return (rewards - rewards.mean(axis=1, keepdims=True)) / rewards.std(axis=1, keepdims=True)  # 0 / 0


# %% [markdown]
# With $k$ right ones of eight the advantages are as $8 - k$ to $k$: seven times as large, or a seventh. What is rare in
# a group gets the large weight, whether it is the one success or the one failure.
#
# ## Exercise 2: the loss of a pair
#
# Write DPO's loss for many pairs at once, one number a pair. The four arguments are log-probabilities of whole replies:
# of the chosen and the rejected reply under the model, and under the model as it was at the start. With
# $\Delta$ = (chosen − its start) − (rejected − its start) the loss is $-\log \sigma(\beta \Delta)$, and $\sigma(x) = 1
# / (1 + e^{-x})$. It must give a number for large $\Delta$ of either sign, too.
#
# *Predict:* the loss before the first update, whatever the pairs are.


# %% tags=["answer"]
def loss_of(chosen, rejected, chosen_start, rejected_start, beta):
    """Four arrays (pairs,). Returns the losses (pairs,)."""
    ### BEGIN SOLUTION
    margin = beta * ((chosen - chosen_start) - (rejected - rejected_start))
    return np.logaddexp(0, -margin)  # -log sigma(x) = log(1 + exp(-x))
    ### END SOLUTION


# %% tags=["check"]
def pairs(*numbers):
    """Each as an array of one pair."""
    return [np.array([number], float) for number in numbers]


check(
    loss_of,
    case("nothing has moved", *pairs(-3, -7, -3, -7), 0.1, expect=[np.log(2)]),
    case("the pair of the lesson", *pairs(-1, -3, -2, -2), 0.1, expect=[0.598139]),
    case("another beta", *pairs(-1, -3, -2, -2), 2.0, expect=[0.018150]),
    case("both have fallen, the rejected one more", *pairs(-9, -20, -5, -6), 0.5, expect=[0.006715]),
    case("a pair that is learned by heart", *pairs(0, -4000, -1, -1), 1.0, expect=[0.0]),
    case("a pair the wrong way round", *pairs(-4001, -1, -1, -1), 1.0, expect=[4000.0]),
    case("two pairs", np.array([-1.0, -2]), np.array([-3.0, -2]), np.array([-2.0, -2]), np.array([-2.0, -2]), 0.1,
         expect=[0.598139, np.log(2)], tolerance=1e-5),
    nudge="From what is each reply's log-probability counted? And what does exp do with 4,000?",
    hint="margin = beta * ((chosen - chosen_start) - (rejected - rejected_start)); np.logaddexp(0, -margin).",
)  # fmt: skip


# %% tags=["right"]
def loss_of(chosen, rejected, chosen_start, rejected_start, beta):  # the library
    return dpo_loss(chosen, rejected, chosen_start, rejected_start, beta)[0]


# %% tags=["right"]
def loss_of(chosen, rejected, chosen_start, rejected_start, beta):  # two cases, so that exp gets no large number
    found = []
    for one, other, start, other_start in zip(chosen, rejected, chosen_start, rejected_start, strict=True):
        x = beta * (one - other - start + other_start)
        found.append(np.log1p(np.exp(-x)) if x > 0 else -x + np.log1p(np.exp(x)))
    return found


# %% tags=["right"]
def loss_of(chosen, rejected, chosen_start, rejected_start, beta):  # the implicit rewards first
    better, worse = beta * (chosen - chosen_start), beta * (rejected - rejected_start)
    largest = np.maximum(better, worse)
    return largest + np.log(np.exp(better - largest) + np.exp(worse - largest)) - better


# %% tags=["wrong"]
def loss_of(chosen, rejected, chosen_start, rejected_start, beta):
    return np.logaddexp(0, -beta * (chosen - rejected))  # no start


# %% tags=["wrong"]
def loss_of(chosen, rejected, chosen_start, rejected_start, beta):
    return np.logaddexp(0, beta * ((chosen - chosen_start) - (rejected - rejected_start)))  # the wrong sign


# %% tags=["wrong"]
def loss_of(chosen, rejected, chosen_start, rejected_start, beta):
    return beta * np.logaddexp(0, -((chosen - chosen_start) - (rejected - rejected_start)))  # beta outside


# %% tags=["wrong"]
def loss_of(chosen, rejected, chosen_start, rejected_start, beta):
    margin = beta * ((chosen - chosen_start) - (rejected - rejected_start))
    with np.errstate(over="ignore", divide="ignore"):
        return -np.log(1 / (1 + np.exp(-margin)))  # infinite for a pair the wrong way round


# %% [markdown]
# $\log 2 = 0.693$, always: model and start are the same, so $\Delta = 0$. The case "both have fallen" has nearly no
# loss, although the chosen reply has become *less* probable. Only the distance counts.
#
# ## Exercise 3: pairs from a model's own replies
#
# For each problem there are some replies of the model and whether each was right. Make pairs (problem, right reply,
# wrong reply) for DPO. Within a problem each different right reply meets each different wrong one exactly once;
# replies of different problems never meet. A problem whose replies are all right, or all wrong, gives no pair.
#
# *Predict:* the model is right in 90 of 100 replies, everywhere alike. Which share of problems with two replies gives
# a pair?


# %% tags=["answer"]
def pairs_of(replies):
    """replies: from each problem to a list of (reply, is_right). Returns a list of (problem, right, wrong)."""
    ### BEGIN SOLUTION
    found = []
    for problem, written in replies.items():
        right = {reply for reply, is_right in written if is_right}
        wrong = {reply for reply, is_right in written if not is_right}
        found += [(problem, one, other) for one in sorted(right) for other in sorted(wrong)]
    return found
    ### END SOLUTION


# %% tags=["check"]
def as_sorted(replies):
    """The answer's pairs in a fixed order, for their order does not matter."""
    return sorted(tuple(pair) for pair in pairs_of(replies))


both = {"2 and 3": [("2+3", True), ("2-3", False), ("2+3", True), ("23", False)]}
check(
    as_sorted,
    case("one right, two wrong ones", both, expect=[("2 and 3", "2+3", "2-3"), ("2 and 3", "2+3", "23")]),
    case("no wrong one", {"4": [("4", True), ("2+2", True)]}, expect=[]),
    case("no right one", {"4": [("5", False), ("6", False), ("7", False)]}, expect=[]),
    case(
        "two problems",
        {"a": [("1", True), ("2", False)], "b": [("1", False), ("2", True), ("3", True)]},
        expect=[("a", "1", "2"), ("b", "2", "1"), ("b", "3", "1")],
    ),
    nudge="Can a reply stand in two pairs? And is a reply that was written twice one reply or two?",
    hint="For each problem a set of its right and a set of its wrong replies, then two nested loops.",
)


# %% tags=["right"]
def pairs_of(replies):  # itertools
    from itertools import product

    found = []
    for problem, written in replies.items():
        sides = [list(dict.fromkeys(reply for reply, good in written if good is wanted)) for wanted in (True, False)]
        found.extend((problem, *two) for two in product(*sides))
    return found


# %% tags=["right"]
def pairs_of(replies):  # all pairs of replies, in a set
    return list({
        (problem, one, other)
        for problem, written in replies.items()
        for one, good in written
        for other, fine in written
        if good and not fine
    })  # fmt: skip


# %% tags=["right"]
def pairs_of(replies):  # remembers what it has paired
    found = []
    for problem in replies:
        for one, good in replies[problem]:
            for other, fine in replies[problem]:
                pair = (problem, one, other)
                if good and not fine and pair not in found:
                    found.append(pair)
    return found


# %% tags=["wrong"]
def pairs_of(replies):
    found = []
    for problem, written in replies.items():
        right = [reply for reply, is_right in written if is_right]
        wrong = [reply for reply, is_right in written if not is_right]
        found += [(problem, one, other) for one, other in zip(right, wrong, strict=False)]  # each in one pair only
    return found


# %% tags=["wrong"]
def pairs_of(replies):
    return [
        (problem, one, other)
        for problem, written in replies.items()
        for one, good in written
        for other, fine in written
        if good and not fine  # what was written twice is there twice
    ]


# %% tags=["wrong"]
def pairs_of(replies):
    right = [(problem, reply) for problem, written in replies.items() for reply, good in written if good]
    wrong = {reply for written in replies.values() for reply, good in written if not good}
    return list({(problem, one, other) for problem, one in right for other in wrong})  # across problems


# %% tags=["wrong"]
def pairs_of(replies):
    return list({
        (problem, one, other)
        for problem, written in replies.items()
        for one, good in written
        for other, fine in written
        if good != fine  # both orders
    })  # fmt: skip


# %% [markdown]
# $2 \cdot 0.9 \cdot 0.1 = 18\%$. A model that is nearly always right, or nearly always wrong, gives few pairs, as it
# gives few groups with differing rewards.
#
# ## Exercise 4: at least one of k
#
# A model wrote $n$ replies to a problem, and $c$ of them are right. If you draw $k$ of the $n$ without putting any
# back, how probable is it that at least one of them is right? This is how the share "right at least once in $k$
# tries" is estimated from more than $k$ replies (Chen et al. 2021, "Evaluating large language models trained on code",
# section 2.1).
#
# *Predict:* $n = 8$, $c = 2$, $k = 4$: more or less than $1 - 0.75^4 = 0.68$?


# %% tags=["answer"]
def at_least_one(n, c, k):
    """Returns the probability, a number from 0 to 1; k is at most n."""
    ### BEGIN SOLUTION
    none = 1.0
    for drawn in range(k):
        none *= max(n - c - drawn, 0) / (n - drawn)
    return 1 - none
    ### END SOLUTION


# %% tags=["check"]
check(
    at_least_one,
    case("one draw is the share of right ones", 8, 2, 1, expect=0.25),
    case("two right ones, four draws", 8, 2, 4, expect=1 - 15 / 70),
    case("no right one", 8, 0, 5, expect=0.0),
    case("all are drawn", 8, 1, 8, expect=1.0),
    case("fewer wrong ones than draws", 8, 6, 4, expect=1.0),
    case("many replies", 200, 3, 50, expect=0.580250, tolerance=1e-5),
    nudge="What is the probability that all k are wrong, if none is put back?",
    hint="All wrong: (n - c) / n times (n - c - 1) / (n - 1) and so on, k factors. The answer is 1 minus that.",
)


# %% tags=["right"]
def at_least_one(n, c, k):  # library: how many choices have none
    from math import comb

    return 1 - comb(n - c, k) / comb(n, k)


# %% tags=["right"]
def at_least_one(n, c, k):  # vectorised, as in the paper
    if n - c < k:
        return 1.0
    return 1 - np.prod(1 - k / np.arange(n - c + 1, n + 1))


# %% tags=["right"]
def at_least_one(n, c, k):  # one step and the rest
    if k == 0 or c == 0:
        return 0.0
    if n == c:
        return 1.0
    return c / n + (n - c) / n * at_least_one(n - 1, c, k - 1)


# %% tags=["wrong"]
def at_least_one(n, c, k):
    return 1 - (1 - c / n) ** k  # as if each were put back


# %% tags=["wrong"]
def at_least_one(n, c, k):
    return min(1.0, k * c / n)  # adds up what can happen together


# %% tags=["wrong"]
def at_least_one(n, c, k):
    from math import comb

    return comb(n - c, k) / comb(n, k)  # the probability that none is right


# %% [markdown]
# More: 0.79. Whoever puts replies back may draw the same wrong one twice. A model can become better in one try and
# worse in eight, because a group that has become alike has only one idea. So papers that report one of the two numbers
# do not say everything.
#
# ## Experiment: what does a reward teach that knows nothing?
#
# The smallest model that can be rewarded chooses among four replies, with a logit for each. At the start it says the
# right one with 0.2, two wrong but readable ones with 0.3 and 0.4, and an unreadable one with 0.1. Write the update of
# policy gradients: for a group of replies with advantages $A$, each logit $z_j$ grows by the rate times the mean of
# $A \cdot (1[\text{reply} = j] - p_j)$ over the group. The check runs it 80 times from the start, 200 updates each,
# with three rewards, and looks at the mean probability of the right reply.
#
# *Predict:* this mean, for a reward of the right reply, of the readable replies, and of a coin that knows nothing.


# %% tags=["answer"]
def update(logits, replies, advantages, rate):
    """logits (4,), replies: whole numbers (group,), advantages (group,). Returns the new logits (4,)."""
    ### BEGIN SOLUTION
    p = np.exp(logits - logits.max())
    p /= p.sum()
    gradient = (advantages[:, None] * (np.eye(4)[replies] - p)).mean(axis=0)  # of the mean of A log p
    return logits + rate * gradient
    ### END SOLUTION


# %% tags=["check"]
START = np.log([0.2, 0.3, 0.4, 0.1])  # right, readable, readable, unreadable


def taught(reward, runs=80, updates=200):
    """The mean probability of the right reply after the updates; reward is a function of replies and lots."""
    found, rng = [], np.random.default_rng(0)
    for _ in range(runs):
        logits = START.copy()
        for _ in range(updates):
            p = np.exp(logits - logits.max())
            replies = np.searchsorted(np.cumsum(p / p.sum())[:3], rng.random(8))  # eight draws
            rewards = reward(replies, rng.random(8)).astype(float)
            spread = rewards.std()
            if spread > 0:
                logits = np.asarray(update(logits, replies, (rewards - rewards.mean()) / spread, 0.15), float)
        p = np.exp(logits - logits.max())
        found.append(p[0] / p.sum())
    return np.mean(found)


def right(replies, lots):
    return replies == 0


def readable(replies, lots):
    return replies != 3


def coin(replies, lots):
    return lots < 0.5


one = np.log([0.5, 0.25, 0.125, 0.125])
check(
    update,
    case("one reply", one, np.array([1]), np.array([2.0]), 0.5, expect=one + np.array([-0.5, 0.75, -0.125, -0.125])),
    case("two replies", one, np.array([0, 2]), np.array([1.0, -1.0]), 0.1, expect=one + np.array([0.05, 0, -0.05, 0])),
    nudge="By how much do the logits of the other replies change? Is it a sum or a mean over the group?",
    hint="Each reply pulls with advantage times (1 at its own place, 0 elsewhere, minus the probabilities).",
)
check(
    taught,
    case("the right reply is rewarded", right, expect=between(0.97, 0.999)),
    case("the readable ones are rewarded", readable, expect=between(0.13, 0.185)),
    case("a coin is rewarded", coin, expect=between(0.17, 0.23)),
    nudge="Does your update change the logits that it was given, or return new ones?",
    hint="Write the softmax first, then one line for the mean over the group.",
)


# %% tags=["right"]
def update(logits, replies, advantages, rate):  # a loop over the group
    p = np.exp(logits)
    p = p / p.sum()
    new = np.array(logits)
    for reply, advantage in zip(replies, advantages, strict=True):
        new -= rate * advantage * p / len(replies)
        new[reply] += rate * advantage / len(replies)
    return new


# %% tags=["right"]
def update(logits, replies, advantages, rate):  # counted: how much weight each reply has in all
    p = np.exp(logits) / np.exp(logits).sum()
    pulls = np.bincount(replies, weights=advantages, minlength=4)
    return logits + rate * (pulls - pulls.sum() * p) / len(replies)


# %% tags=["wrong"]
def update(logits, replies, advantages, rate):
    pulls = np.bincount(replies, weights=advantages, minlength=4)
    return logits + rate * pulls / len(replies)  # the probabilities are not subtracted


# %% tags=["wrong"]
def update(logits, replies, advantages, rate):
    p = np.exp(logits) / np.exp(logits).sum()
    pulls = np.bincount(replies, weights=advantages, minlength=4)
    return logits + rate * (pulls - pulls.sum() * p)  # a sum, not a mean


# %% tags=["wrong"]
def update(logits, replies, advantages, rate):
    p = np.exp(logits) / np.exp(logits).sum()
    pulls = np.bincount(replies, weights=advantages, minlength=4)
    return logits - rate * (pulls - pulls.sum() * p) / len(replies)  # downhill


# %% [markdown]
# The right reply goes from 0.2 to 0.99 under its own reward. Under the coin it stays where it was on the average: each
# run wanders, and no direction is preferred. Under the reward for readable replies it *falls*. Whenever a reply of a
# group is unreadable, all the others are praised alike, and the praise goes most to what was said most: a wrong one.
