# %% [markdown]
# # Exercises 14 · GPT
#
# Five exercises, each alone. They need NumPy and no training. Where the text says *predict*, write
# your guess down before you run anything.

# %%
import numpy as np

from kerasllm.course import case, check

# %% [markdown]
# ## Exercise 1: inputs and targets
#
# Cut one long text of ids into windows that touch and do not overlap. Each window is an input of
# `context` ids; its target at every position is the *next* id of the text. Ids at the end that do not
# fill a window with all its targets are left out.
#
# *Predict:* how many windows of 4 fit into a text of 12 ids?


# %% tags=["answer"]
def inputs_and_targets(ids, context):
    """ids: array (ids,). Returns inputs and targets, both (windows, context)."""
    ### BEGIN SOLUTION
    count = (len(ids) - 1) // context  # the last input needs a target
    inputs = ids[: count * context].reshape(count, context)
    targets = ids[1 : count * context + 1].reshape(count, context)
    return inputs, targets
    ### END SOLUTION


# %% tags=["check"]
check(
    inputs_and_targets,
    case("one window", np.arange(4), 3, expect=(np.array([[0, 1, 2]]), np.array([[1, 2, 3]]))),
    case(
        "two windows and a rest",
        np.array([5, 6, 7, 8, 9, 5]),
        2,
        expect=(np.array([[5, 6], [7, 8]]), np.array([[6, 7], [8, 9]])),
    ),
    case("a text that ends with a window", np.arange(12), 4, expect=lambda r: None if len(r[0]) == 2 else
         "the number of windows is wrong. Does the last input have a target?"),
    hint="The targets are the same text, cut one place later.",
)  # fmt: skip


# %% tags=["wrong"]
def inputs_and_targets(ids, context):
    count = len(ids) // context  # forgets that the last id needs a target
    inputs = ids[: count * context].reshape(count, context)
    return inputs, np.roll(ids, -1)[: count * context].reshape(count, context)


# %% tags=["wrong"]
def inputs_and_targets(ids, context):
    count = (len(ids) - 1) // context
    inputs = ids[: count * context].reshape(count, context)
    return inputs, inputs  # the model would learn to copy


# %% [markdown]
# ## Exercise 2: who sees the future?
#
# A model gets ids (batch, time) and returns logits (batch, time, vocabulary). Write a test: does any
# logit change at a place *before* a token that was changed? Return True if the model sees the future.
# The model may see it only at some places, so change the tokens one after the other.
#
# *Predict:* a causal model gets a padding mask that is computed from the ids. Can it see the future?


# %% tags=["answer"]
def sees_the_future(model, ids, vocabulary_size):
    """model: function from ids (1, time) to logits (1, time, V). Returns True or False."""
    ### BEGIN SOLUTION
    before = np.asarray(model(ids))
    for place in range(1, ids.shape[1]):
        changed = ids.copy()
        changed[0, place] = (changed[0, place] + 1) % vocabulary_size
        after = np.asarray(model(changed))
        if np.abs(after - before)[0, :place].max() > 1e-6:
            return True
    return False
    ### END SOLUTION


# %% tags=["check"]
table = np.random.default_rng(0).normal(size=(9, 9))


def running_mean(ids):  # causal: the mean of the vectors so far
    return np.cumsum(table[ids], axis=1) / np.arange(1, ids.shape[1] + 1)[:, None]


def mean_of_all(ids):
    return table[ids] + table[ids].mean(axis=1, keepdims=True)


def one_ahead(ids):  # sees the next token, at place 3 alone
    logits = running_mean(ids)
    logits[:, 3] += table[ids[:, 4]]
    return logits


text = np.array([[1, 5, 2, 7, 8, 0]])
check(
    sees_the_future,
    case("a causal model", running_mean, text, 9, expect=False),
    case("no mask at all", mean_of_all, text, 9, expect=True),
    case("one place looks one token ahead", one_ahead, text, 9, expect=True),
    case("a model that does not look around", lambda ids: table[ids], text, 9, expect=False),
    hint="Change one token, compare the logits before it, and do so for every place but the first.",
)


# %% tags=["wrong"]
def sees_the_future(model, ids, vocabulary_size):
    changed = ids.copy()
    changed[0, -1] = (changed[0, -1] + 1) % vocabulary_size  # only the last token
    return bool(np.abs(model(changed) - model(ids))[0, :-1].max() > 1e-6)


# %% tags=["wrong"]
def sees_the_future(model, ids, vocabulary_size):
    changed = ids.copy()
    changed[0, 2] = (changed[0, 2] + 1) % vocabulary_size
    return bool(np.abs(model(changed) - model(ids)).max() > 1e-6)  # its own logit may change


# %% [markdown]
# ## Exercise 3: how many parameters?
#
# Count the parameters of a GPT as GPT-2 has it: a table of $V$ tokens, a table of positions, blocks,
# a last layer normalisation, a tied head. A block has four projections $d \times d$ in attention, two
# matrices $d \times 4d$ and $4d \times d$, a bias for each of these six, and two layer normalisations
# with scale and shift.
#
# *Predict:* GPT-2 has 12 blocks of width 768 and 50,257 tokens. Which share stands in its tables?


# %% tags=["answer"]
def parameters(V, context, blocks, d):
    """The number of all trained numbers."""
    ### BEGIN SOLUTION
    attention = 4 * (d * d + d)
    dense = d * 4 * d + 4 * d + 4 * d * d + d
    norms = 2 * 2 * d
    return V * d + context * d + blocks * (attention + dense + norms) + 2 * d
    ### END SOLUTION


# %% tags=["check"]
check(
    parameters,
    case("no block", 10, 4, 0, 2, expect=32),
    case("one block", 10, 4, 1, 2, expect=106),
    case("GPT-2", 50_257, 1_024, 12, 768, expect=124_439_808),
    case("GPT-2, the largest", 50_257, 1_024, 48, 1_600, expect=1_557_611_200),
    hint="Write the tables, one block and the last normalisation as three sums. A tied head costs nothing.",
)
share = (50_257 + 1_024) * 768 / parameters(50_257, 1_024, 12, 768)
print(f"the tables of GPT-2 hold {share:.0%} of its parameters")


# %% tags=["wrong"]
def parameters(V, context, blocks, d):
    return V * d + context * d + blocks * 12 * d * d  # no biases, no normalisation


# %% tags=["wrong"]
def parameters(V, context, blocks, d):
    block = 4 * (d * d + d) + 8 * d * d + 5 * d + 4 * d
    return 2 * V * d + context * d + blocks * block + 2 * d  # the head is tied


# %% [markdown]
# ## Exercise 4: how many days?
#
# A model has `N` weights in its matrices and reads `D` tokens. A machine has `devices` of `peak`
# operations a second each, of which training really gets the share `utilisation`. Return the days of
# training.
#
# *Predict:* twice as many weights, on twice as many tokens, on four times as many devices. Longer or
# shorter?


# %% tags=["answer"]
def days_of_training(N, D, devices, peak, utilisation):
    ### BEGIN SOLUTION
    seconds = 6 * N * D / (devices * peak * utilisation)
    return seconds / 86_400
    ### END SOLUTION


# %% tags=["check"]
check(
    days_of_training,
    case("one day", 1e9, 14.4e9, 1, 1e15, 1.0, expect=1.0),
    case("half used", 1e9, 14.4e9, 1, 1e15, 0.5, expect=2.0),
    case("GPT-3 on 1,024 A100", 175e9, 300e9, 1024, 312e12, 0.4, expect=28.530, tolerance=1e-3),
    hint="Six operations for each weight and token. A day has 86,400 seconds.",
)
days = days_of_training(7e9, 2e12, 1024, 312e12, 0.4)
print(f"7 thousand million weights, 2 million million tokens, 1,024 A100: {days:.0f} days")


# %% tags=["wrong"]
def days_of_training(N, D, devices, peak, utilisation):
    return 2 * N * D / (devices * peak * utilisation) / 86_400  # the forward pass alone


# %% tags=["wrong"]
def days_of_training(N, D, devices, peak, utilisation):
    return 6 * N * D * utilisation / (devices * peak) / 86_400


# %% [markdown]
# ## Exercise 5: clip by the global norm
#
# A gradient comes as a list of arrays, one for each weight. If the length of *all numbers together* is
# above `limit`, every array is multiplied by the same factor, so that the length becomes `limit`.
# Otherwise nothing changes.
#
# *Predict:* why not clip each array by its own length?


# %% tags=["answer"]
def clip(gradients, limit):
    """gradients: list of arrays of any shapes. Returns a list of arrays of the same shapes."""
    ### BEGIN SOLUTION
    length = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
    factor = min(1.0, limit / length) if length > 0 else 1.0
    return [gradient * factor for gradient in gradients]
    ### END SOLUTION


# %% tags=["check"]
check(
    clip,
    case("one array", [np.array([3.0, 4.0])], 1.0, expect=[np.array([0.6, 0.8])]),
    case("two arrays share one factor", [np.array([3.0]), np.array([[0.0, 4.0]])], 2.5,
         expect=[np.array([1.5]), np.array([[0.0, 2.0]])]),
    case("short enough", [np.array([0.1]), np.array([0.2])], 1.0, expect=[np.array([0.1]), np.array([0.2])]),
    case("all zero", [np.zeros(3)], 1.0, expect=[np.zeros(3)]),
    hint="One length for the whole list: the root of the sum of all squares.",
)  # fmt: skip


# %% tags=["wrong"]
def clip(gradients, limit):
    return [g * min(1.0, limit / (np.linalg.norm(g) + 1e-12)) for g in gradients]  # each by its own length


# %% tags=["wrong"]
def clip(gradients, limit):
    length = np.sqrt(sum((g**2).sum() for g in gradients)) + 1e-12
    return [g * limit / length for g in gradients]  # makes short gradients longer


# %% [markdown]
# Clipping each array by itself would change the *direction* of the step. One factor for all keeps it:
# the step goes the same way, only not as far.
