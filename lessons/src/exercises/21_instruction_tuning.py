# %% [markdown]
# # Exercises 21 · Instruction tuning
#
# Five exercises and an experiment, each alone. They need NumPy and no model. Where the text says *predict*, write your
# guess down before you run anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: the mask of a long conversation
#
# A conversation has several turns. Each is a pair of a role and its ids, and the last id of a turn ends it. A model
# reads all turns behind each other. Write the weights of its *targets*, which are the ids without the first one: 1 for
# every id that the assistant says, its ends included, and 0 for all others. A conversation may begin with the
# assistant; its first id is no target.
#
# *Predict:* how many weights has a conversation of 7 ids?


# %% tags=["answer"]
def loss_mask(turns):
    """turns: a list of (role, list of ids). Returns a list of 0 and 1, one for each target."""
    ### BEGIN SOLUTION
    weights = []
    for role, ids in turns:
        weights += [int(role == "assistant")] * len(ids)
    return weights[1:]
    ### END SOLUTION


# %% tags=["check"]
twice = [("user", [5, 6, 2]), ("assistant", [7, 2]), ("user", [8, 2]), ("assistant", [9, 9, 2])]
check(
    loss_mask,
    case("a question and a reply", [("user", [5, 6, 2]), ("assistant", [7, 8, 2])], expect=[0, 0, 1, 1, 1]),
    case("two replies", twice, expect=[0, 0, 1, 1, 0, 0, 1, 1, 1]),
    case("the system speaks first", [("system", [4, 2]), *twice[:2]], expect=[0, 0, 0, 0, 1, 1]),
    case("the assistant speaks first", [("assistant", [3, 2]), ("user", [5, 2])], expect=[1, 0, 0]),
    nudge="Which id is the target at the first place? And are all replies learned, or the last one?",
    hint="Make one weight for each id, and leave out the first of them at the end.",
)


# %% tags=["right"]
def loss_mask(turns):  # arrays
    roles = np.concatenate([np.full(len(ids), role == "assistant") for role, ids in turns])
    return roles[1:].astype(int)


# %% tags=["right"]
def loss_mask(turns):  # one line
    return [int(role == "assistant") for role, ids in turns for _ in ids][1:]


# %% tags=["wrong"]
def loss_mask(turns):
    return [int(role == "assistant") for role, ids in turns for _ in ids][:-1]  # the weights of the inputs


# %% tags=["wrong"]
def loss_mask(turns):
    weights = [int(role == "assistant" and place < len(ids) - 1) for role, ids in turns for place in range(len(ids))]
    return weights[1:]  # the ends are not learned


# %% tags=["wrong"]
def loss_mask(turns):
    last = max(number for number, (role, _) in enumerate(turns) if role == "assistant")
    return [int(number == last) for number, (_, ids) in enumerate(turns) for _ in ids][1:]  # the last reply alone


# %% [markdown]
# Six: each id but the first is a target.
#
# ## Exercise 2: the mean that counts
#
# You have the loss of each place of a batch, and its mask. Return the mean loss of the places that count, over the
# whole batch. If no place counts, return 0.
#
# *Predict:* a row with 1 place that counts and a row with 99. Should both rows weigh the same?


# %% tags=["answer"]
def batch_loss(losses, mask):
    """losses and mask: arrays (conversations, time). Returns a number."""
    ### BEGIN SOLUTION
    return (losses * mask).sum() / max(mask.sum(), 1)
    ### END SOLUTION


# %% tags=["check"]
uneven = np.array([[1, 0, 0, 0], [1, 1, 1, 0]])
check(
    batch_loss,
    case("rows of different length", np.array([[8.0, 5, 5, 5], [2, 2, 4, 5]]), uneven, expect=4.0),
    case("all places", np.array([[1.0, 2], [3, 4]]), np.ones((2, 2)), expect=2.5),
    case("one place", np.array([[1.0, 2], [3, 4]]), np.array([[0, 0], [0, 1]]), expect=4.0),
    case("no place", np.array([[1.0, 2]]), np.zeros((1, 2)), expect=0.0),
    nudge="By what is the sum divided: rows, places, or places that count?",
    hint="Multiply by the mask, sum everything, and divide by the sum of the mask, which may be 0.",
)


# %% tags=["right"]
def batch_loss(losses, mask):  # a loop
    total, count = 0.0, 0
    for row, weights in zip(losses, mask, strict=True):
        for loss, weight in zip(row, weights, strict=True):
            total, count = total + loss * weight, count + weight
    return total / count if count else 0.0


# %% tags=["right"]
def batch_loss(losses, mask):  # the places that count are picked
    found = losses[mask.astype(bool)]
    return found.mean() if found.size else 0.0


# %% tags=["wrong"]
def batch_loss(losses, mask):
    return (losses * mask).mean()  # padding and prompts count as places of loss 0


# %% tags=["wrong"]
def batch_loss(losses, mask):
    rows = (losses * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    return rows.mean()  # each row weighs the same


# %% tags=["wrong"]
def batch_loss(losses, mask):
    return (losses * mask).sum() / len(losses)  # for each row, not for each place


# %% [markdown]
# If they did, one token of a short reply would weigh as much as all of a long one. Some programs do it on purpose; then
# they say so.
#
# ## Exercise 3: who may see whom in a packed window
#
# Several conversations stand in one window. `segments` says for each place to which it belongs, 1, 2, and so on, and 0
# for padding. Return a table of booleans: row $i$, column $j$ is true if place $i$ may look at place $j$. A place sees
# itself and what stands before it in its own conversation. Padding sees nothing and is seen by nobody.


# %% tags=["answer"]
def may_see(segments):
    """segments: a list of whole numbers (time,). Returns booleans (time, time)."""
    ### BEGIN SOLUTION
    segments = np.array(segments)
    same = segments[:, None] == segments[None, :]
    return np.tril(same) & (segments > 0)[:, None]
    ### END SOLUTION


# %% tags=["check"]
check(
    may_see,
    case("one conversation", [1, 1], expect=np.array([[True, False], [True, True]])),
    case(
        "two of them and padding",
        [1, 1, 2, 0],
        expect=np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], bool),
    ),
    case("padding alone", [0, 0], expect=np.zeros((2, 2), bool)),
    nudge="Three rules at once: the same conversation, not later, no padding. Which one is missing?",
    hint="Compare segments[:, None] with segments[None, :], keep the lower triangle, and drop the rows of padding.",
)


# %% tags=["right"]
def may_see(segments):  # loops
    time = len(segments)
    return [[segments[i] == segments[j] and j <= i and segments[i] > 0 for j in range(time)] for i in range(time)]


# %% tags=["right"]
def may_see(segments):  # products of one-hot rows
    rows = np.eye(max(segments) + 1)[segments][:, 1:]
    return np.tril(rows @ rows.T) > 0


# %% tags=["wrong"]
def may_see(segments):
    segments = np.array(segments)
    return (segments[:, None] == segments) & (segments > 0)  # sees what comes later


# %% tags=["wrong"]
def may_see(segments):
    segments = np.array(segments)
    return np.tril(segments[:, None] == segments)  # padding sees padding


# %% tags=["wrong"]
def may_see(segments):
    segments = np.array(segments)
    return np.tril(np.ones((len(segments),) * 2, bool)) & (segments > 0)  # looks into the conversation before


# %% [markdown]
# ## Exercise 4: replies that change places
#
# The control of the lesson gives every prompt the reply of another one, in its own language. Write it: `languages` has
# the language of each reply, and no reply may stay at its place. In each language there are at least two replies.
# Which one goes where is up to you, and `rng` is there if you want chance.


# %% tags=["answer"]
def exchange(replies, languages, rng):
    """replies, languages: lists of equal length; rng: a NumPy generator. Returns a new list of replies."""
    ### BEGIN SOLUTION
    new = list(replies)
    for language in set(languages):
        places = rng.permutation([place for place, one in enumerate(languages) if one == language])
        for to, source in zip(places, np.roll(places, 1), strict=True):
            new[to] = replies[source]
    return new
    ### END SOLUTION


# %% tags=["check"]
def moved(replies, languages):
    def judge(found):
        found = list(found)
        if sorted(found) != sorted(replies):
            return f"these are not the same replies: {found}"
        if any(one == other for one, other in zip(found, replies, strict=True)):
            return f"a reply stayed at its place: {found}"
        if any(languages[replies.index(one)] != language for one, language in zip(found, languages, strict=True)):
            return f"a reply has another language than its prompt: {found}"
        return None

    return judge


pair, many = ["a", "b"], list("abcdefgh")
mixed = ["en", "zh", "en", "zh", "zh", "en", "en", "zh"]
check(
    exchange,
    case("two replies", pair, ["en"] * 2, np.random.default_rng(0), expect=moved(pair, ["en"] * 2)),
    *(case(f"seed {s}", many, mixed, np.random.default_rng(s), expect=moved(many, mixed)) for s in range(6)),
    nudge="A shuffle may leave a reply where it was. And in which group is it shuffled?",
    hint="Put the places of one language in any order, and let each reply take the next place of that ring.",
)


# %% tags=["right"]
def exchange(replies, languages, rng):  # the next reply of the same language, without chance
    new = []
    for place, language in enumerate(languages):
        ring = [*range(place + 1, len(replies)), *range(place)]
        new.append(replies[next(other for other in ring if languages[other] == language)])
    return new


# %% tags=["right"]
def exchange(replies, languages, rng):  # shuffles until none stays
    languages, new = np.array(languages), np.array(replies, dtype=object)
    for language in np.unique(languages):
        places = np.flatnonzero(languages == language)
        other = rng.permutation(places)
        while (other == places).any():
            other = rng.permutation(places)
        new[places] = np.array(replies, dtype=object)[other]
    return new.tolist()


# %% tags=["wrong"]
def exchange(replies, languages, rng):
    return [replies[place] for place in rng.permutation(len(replies))]  # some stay


# %% tags=["wrong"]
def exchange(replies, languages, rng):
    return [*replies[1:], replies[0]]  # none stays, but languages mix


# %% tags=["wrong"]
def exchange(replies, languages, rng):
    new = list(replies)
    for language in set(languages):
        places = [place for place, one in enumerate(languages) if one == language]
        for to, source in zip(places, rng.permutation(places), strict=True):
            new[to] = replies[source]  # the languages are right, and some stay
    return new


# %% [markdown]
# If languages mixed, the control would also teach to reply to English in Chinese. Then two things would differ between
# the arms.
#
# ## Exercise 5: what a prompt is worth
#
# For several replies you have the log-probabilities (natural logarithms) of their tokens behind their own prompts and
# behind others, and the number of characters of each reply. Return the worth of the prompts in bits a character: all
# the bits that the own prompts save, divided by all characters.
#
# *Predict:* can it be below 0?


# %% tags=["answer"]
def worth(own, other, characters):
    """own, other: for each reply an array of log-probabilities; characters: a list. Returns bits a character."""
    ### BEGIN SOLUTION
    saved = sum(np.sum(a) - np.sum(b) for a, b in zip(own, other, strict=True))
    return saved / np.log(2) / sum(characters)
    ### END SOLUTION


# %% tags=["check"]
half, quarter = np.log(0.5), np.log(0.25)
check(
    worth,
    case("one reply", [[half, half]], [[quarter, quarter]], [4], expect=0.5),
    case("short and long", [[half], [half] * 4], [[quarter], [quarter] * 4], [1, 9], expect=0.5),
    case("one prompt misleads", [[half, quarter]], [[half, half]], [2], expect=-0.5),
    case("nobody listens", [[half], [quarter]], [[half], [quarter]], [3, 5], expect=0.0),
    nudge="Bits, not nats, and which sign has a prompt that helps? What is divided by what?",
    hint="Sum all log-probabilities of own, subtract all of other, divide by the logarithm of 2 and by all characters.",
)


# %% tags=["right"]
def worth(own, other, characters):  # a loop over tokens
    from math import log

    bits = 0.0
    for first, second in zip(own, other, strict=True):
        for a, b in zip(first, second, strict=True):
            bits += (a - b) / log(2)
    return bits / sum(characters)


# %% tags=["right"]
def worth(own, other, characters):  # everything in one row, in bits from the start
    bits = [np.concatenate([np.asarray(one, float) for one in found]) / -np.log(2) for found in (own, other)]
    return np.subtract(bits[1].sum(), bits[0].sum()) / np.sum(characters)


# %% tags=["wrong"]
def worth(own, other, characters):
    saved = sum(np.sum(a) - np.sum(b) for a, b in zip(own, other, strict=True))
    return saved / sum(characters)  # nats


# %% tags=["wrong"]
def worth(own, other, characters):
    each = [(np.sum(a) - np.sum(b)) / np.log(2) / n for a, b, n in zip(own, other, characters, strict=True)]
    return np.mean(each)  # a short reply weighs as much as a long one


# %% tags=["wrong"]
def worth(own, other, characters):
    saved = sum(np.sum(b) - np.sum(a) for a, b in zip(own, other, strict=True))  # the other way round
    return saved / np.log(2) / sum(characters)


# %% [markdown]
# It can: where a prompt misleads a model, the reply costs more behind it than behind another one.
#
# ## Experiment: how many wrong pairs does it bear?
#
# Real data are never clean. Take the simplest model that can listen: a table of logits, one row a prompt, one column a
# reply, four of each. Prompt $i$ has the right reply $i$. Train the table on many pairs, of which a share is wrong:
# there the reply is one of the *other three*, at random. Then measure how many bits a right reply costs less behind
# its own prompt than behind the three others on average. Change the share from 0.1 to 0.9.
#
# *Predict:* at which share of wrong pairs is the prompt worth nothing? At a half?


# %% tags=["answer"]
def worth_after(wrong):
    """wrong: the share of wrong pairs. Returns the worth of a prompt in bits, mean over the four replies."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(0)
    prompts = rng.integers(0, 4, 20_000)
    replies = np.where(rng.random(20_000) < wrong, (prompts + rng.integers(1, 4, 20_000)) % 4, prompts)
    seen = np.zeros((4, 4))
    np.add.at(seen, (prompts, replies), 1 / len(prompts))
    logits = np.zeros((4, 4))
    for _ in range(500):  # gradient descent on the mean loss
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        logits -= 4.0 * (chances * seen.sum(axis=1, keepdims=True) - seen)
    bits = -np.log2(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))  # (prompt, reply)
    return np.mean([bits[np.arange(4) != i, i].mean() - bits[i, i] for i in range(4)])
    ### END SOLUTION


# %% tags=["check"]
check(
    worth_after,
    case("one pair of ten is wrong", 0.1, expect=between(4.3, 5.2)),
    case("a half is wrong", 0.5, expect=between(1.4, 1.75)),
    case("three of four are wrong", 0.75, expect=between(-0.15, 0.15)),
    case("nine of ten are wrong", 0.9, expect=between(-1.8, -1.3)),
    nudge="A wrong reply is one of the three others, never the right one. Is the table trained long enough?",
    hint="With enough pairs the softmax of row i becomes the shares of the replies behind prompt i.",
)


# %% tags=["right"]
def worth_after(wrong):  # on paper: the shares themselves
    right, each = 1 - wrong, wrong / 3
    return np.log2(right / each)


# %% tags=["right"]
def worth_after(wrong):  # counts in place of training
    rng = np.random.default_rng(1)
    counts = np.zeros((4, 4))
    for prompt in range(4):
        for _ in range(4_000):
            others = [reply for reply in range(4) if reply != prompt]
            counts[prompt, rng.choice(others) if rng.random() < wrong else prompt] += 1
    bits = -np.log2(counts / counts.sum(axis=1, keepdims=True))
    return np.mean([(bits[:, i].sum() - bits[i, i]) / 3 - bits[i, i] for i in range(4)])


# %% tags=["wrong"]
def worth_after(wrong):
    each = wrong / 4  # a wrong reply may be the right one
    return np.log2((1 - wrong + each) / each)


# %% tags=["wrong"]
def worth_after(wrong):
    return np.log((1 - wrong) / (wrong / 3))  # nats


# %% tags=["wrong"]
def worth_after(wrong):
    return (1 - wrong) * np.log2(4)  # as if clean pairs counted and wrong ones did not


# %% [markdown]
# At three quarters, because then the right reply is as frequent behind its prompt as each of the three others. Wrong
# pairs that go everywhere are only noise, and the right reply leads as long as it is the most frequent one. In the
# lesson's control *all* pairs are wrong. With many replies none of them leads then, and a model learns that the prompt
# does not matter.
