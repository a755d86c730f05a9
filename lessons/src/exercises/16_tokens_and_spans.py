# %% [markdown]
# # Exercises 16 · Tokens and spans
#
# Five exercises and an experiment, each alone. They need NumPy and no training. Where the text says *predict*,
# write your guess down before you run anything.

# %%
import itertools

import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: from tags to spans
#
# Write `spans`: a row of BIO tags becomes a list of its entities. An entity is a tuple: the place of its
# first token, the place behind its last token, its kind. The rows are legal.
#
# *Predict:* how many entities are there in B-place, B-place, I-place?


# %% tags=["answer"]
def spans(tags):
    """tags: list of strings such as "O", "B-place" and "I-place". Returns a list of (first, behind, kind)."""
    ### BEGIN SOLUTION
    found, first = [], None
    for i, tag in enumerate([*tags, "O"]):
        if first is not None and not tag.startswith("I-"):
            found.append((first, i, tags[first][2:]))
            first = None
        if tag.startswith("B-"):
            first = i
    return found
    ### END SOLUTION


# %% tags=["check"]
def same_spans(right):
    def look(result):
        try:
            found = sorted((int(first), int(behind), str(kind)) for first, behind, kind in result)
        except (TypeError, ValueError):
            return "each entity is three things: the first place, the place behind the last, the kind."
        return None if found == sorted(right) else f"it found {found}."

    return look


check(
    spans,
    case("one name", ["O", "B-person", "I-person", "O"], expect=same_spans([(1, 3, "person")])),
    case("no name", ["O", "O"], expect=same_spans([])),
    case("a name at the end", ["O", "B-place"], expect=same_spans([(1, 2, "place")])),
    case("two side by side", ["B-place", "B-place", "I-place"], expect=same_spans([(0, 1, "place"), (1, 3, "place")])),
    case(
        "two kinds side by side",
        ["B-place", "I-place", "B-person", "O", "B-person"],
        expect=same_spans([(0, 2, "place"), (2, 3, "person"), (4, 5, "person")]),
    ),
    nudge="What ends an entity? There are three cases: an O, another B, and the end of the row.",
    hint='Put an "O" behind the row. At each tag that is no I, close the open entity; at a B open a new one.',
)


# %% tags=["wrong"]
def spans(tags):
    found, first = [], None
    for i, tag in enumerate(tags):  # a name at the end is never closed
        if first is not None and not tag.startswith("I-"):
            found.append((first, i, tags[first][2:]))
            first = None
        if tag.startswith("B-"):
            first = i
    return found


# %% tags=["wrong"]
def spans(tags):
    found, i = [], 0
    while i < len(tags):
        j = i
        while j < len(tags) and tags[j][2:] == tags[i][2:]:  # one kind is one entity
            j += 1
        if tags[i] != "O":
            found.append((i, j, tags[i][2:]))
        i = j
    return found


# %% [markdown]
# Two. The second B is the only sign that a new place begins, which is why there are two letters.
#
# ## Exercise 2: what may follow
#
# Write `may_follow`: a table of True and False for a list of labels. The row is the label before, the
# column the label behind it. An I-x may stand behind B-x and I-x alone; every other label may stand behind
# any.
#
# *Predict:* how many cells are False for O, B-person, I-person, B-place, I-place?


# %% tags=["answer"]
def may_follow(labels):
    """labels: list of strings. Returns a bool array (labels, labels), from row to column."""
    ### BEGIN SOLUTION
    return np.array([[not after.startswith("I-") or before[1:] == after[1:] for after in labels] for before in labels])
    ### END SOLUTION


# %% tags=["check"]
check(
    may_follow,
    case("one kind", ["O", "B-x", "I-x"], expect=np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1]], bool)),
    case("another order", ["I-x", "B-x", "O"], expect=np.array([[1, 1, 1], [1, 1, 1], [0, 1, 1]], bool)),
    case(
        "two kinds",
        ["O", "B-person", "I-person", "B-place", "I-place"],
        expect=np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 0, 1, 1], [1, 1, 0, 1, 1]], bool),
    ),
    nudge="Which labels may an I-place continue? And may an O or a B be forbidden anywhere?",
    hint='A cell is True when its column is no I, or when the names behind "B" and "I" are equal: label[1:].',
)


# %% tags=["wrong"]
def may_follow(labels):
    return np.array([[not (after[0] == "I" and before == "O") for after in labels] for before in labels])  # any kind


# %% tags=["wrong"]
def may_follow(labels):
    table = [[after[0] != "I" or before[1:] == after[1:] for after in labels] for before in labels]
    return np.array(table).T  # from column to row


# %% tags=["wrong"]
def may_follow(labels):
    return np.array([[after[0] != "I" or before == "B" + after[1:] for after in labels] for before in labels])


# %% [markdown]
# Six: an I-person behind O, B-place and I-place, and the same for I-place. The last wrong answer lets no
# name be longer than two tokens.
#
# ## Exercise 3: the best row
#
# Write `best_row`, the Viterbi algorithm: from logits (time, labels) and scores of the transitions
# (labels, labels), from row to column, to the row of labels with the largest sum. A forbidden transition has
# the score `-np.inf`. There are no scores for the first and the last label here.
#
# *Predict* for the case "three tokens", on paper: which row wins, and with which sum?


# %% tags=["answer"]
def best_row(logits, transitions):
    """Returns a list of whole numbers, one label for each token."""
    ### BEGIN SOLUTION
    best, came = logits[0], []
    for now in logits[1:]:
        ways = best[:, None] + transitions  # (from, to)
        came.append(ways.argmax(axis=0))
        best = ways.max(axis=0) + now
    row = [int(best.argmax())]
    for step in reversed(came):
        row.append(int(step[row[-1]]))
    return row[::-1]
    ### END SOLUTION


# %% tags=["check"]
def all_tried(logits, transitions):
    def score(row):
        return sum(logits[i, k] for i, k in enumerate(row)) + sum(transitions[a, b] for a, b in itertools.pairwise(row))

    return list(max(itertools.product(range(logits.shape[1]), repeat=len(logits)), key=score))


def row_is(right):
    def look(result):
        found = np.asarray(result)
        if found.shape != (len(right),):
            return f"a row has {len(right)} labels."
        return None if found.tolist() == right else f"the row {found.tolist()} is not the best one."

    return look


three, stay = np.array([[3.0, 2, 0], [1, 0, 3], [2, 0, 1]]), np.array([[0.0, 0, -np.inf], [0, 0, 0], [0, 0, 0]])
numbers = np.random.default_rng(5)
longer, scores = numbers.normal(size=(6, 3)), 2 * numbers.normal(size=(3, 3))
check(
    best_row,
    case("one token", np.array([[0.0, 2, 1]]), np.zeros((3, 3)), expect=row_is([1])),
    case("no transitions", np.array([[0.0, 2], [1, 0]]), np.zeros((2, 2)), expect=row_is([1, 0])),
    case("three tokens", three, stay, expect=row_is([1, 2, 0])),
    case("a change costs", np.array([[2.0, 0], [0, 1], [2, 0]]), 3 * np.eye(2), expect=row_is([0] * 3)),
    case("random numbers", longer, scores, expect=row_is(all_tried(longer, scores))),
    case("one way only", np.array([[2.0, 0], [1, 0], [1, 0]]), np.array([[0.0, -9], [5, 0]]), expect=row_is([1, 0, 0])),
    nudge="For each label, what is the best sum of all rows that end in it? Where did it come from?",
    hint="ways = best[:, None] + transitions; keep ways.argmax(axis=0), go on with ways.max(axis=0) + logits[t];"
    " at the end go back from the best label.",
)  # fmt: skip


# %% tags=["wrong"]
def best_row(logits, transitions):
    row = [int(logits[0].argmax())]
    for now in logits[1:]:
        row.append(int((transitions[row[-1]] + now).argmax()))  # the best next step, and never back
    return row


# %% tags=["wrong"]
def best_row(logits, transitions):
    best = logits[0]
    row = [int(best.argmax())]
    for now in logits[1:]:
        best = (best[:, None] + transitions).max(axis=0) + now
        row.append(int(best.argmax()))  # the best end so far, of another row each time
    return row


# %% tags=["wrong"]
def best_row(logits, transitions):
    best, came = logits[0], []
    for now in logits[1:]:
        ways = best[:, None] + transitions.T  # from column to row
        came.append(ways.argmax(axis=0))
        best = ways.max(axis=0) + now
    row = [int(best.argmax())]
    for step in reversed(came):
        row.append(int(step[row[-1]]))
    return row[::-1]


# %% [markdown]
# The row 1, 2, 0 with 7. (Label 0 may also follow label 0, but 0, 0, 0 has 6.) The first wrong answer takes
# the best step each time. It is fast, and sees too late where a step leads.
#
# ## Exercise 4: entity F1
#
# Write `entity_f1` from two lists: for each text a set of entities (first, behind, kind), as found and as
# they should be. Count over all texts together: precision is the share of the found ones that are right,
# recall the share of the right ones that were found. Where there is nothing to find and nothing was found,
# return 0.
#
# *Predict:* the right entity is (0, 3, "place"), and (0, 2, "place") was found. What is F1?


# %% tags=["answer"]
def entity_f1(found, right):
    """found, right: lists of sets of tuples, one set for each text. Returns a number from 0 to 1."""
    ### BEGIN SOLUTION
    rightly = sum(len(ours & theirs) for ours, theirs in zip(found, right, strict=True))
    total = sum(map(len, found)) + sum(map(len, right))
    return 2 * rightly / total if total else 0.0
    ### END SOLUTION


# %% tags=["check"]
person, place = (0, 2, "person"), (4, 5, "place")
check(
    entity_f1,
    case("all right", [{person, place}], [{person, place}], expect=1.0),
    case("one missing", [{person}], [{person, place}], expect=2 / 3),
    case("too short by one", [{(0, 1, "person")}], [{person}], expect=0.0),
    case("another kind", [{(0, 2, "place"), place}], [{person, place}], expect=0.5),
    case("two texts of different size", [{person, place}, set()], [{person, place}, {person}], expect=0.8),
    case("the same place in another text", [{person}, set()], [set(), {person}], expect=0.0),
    case("nothing at all", [set()], [set()], expect=0.0),
    nudge="Do you count over all texts together, or take the mean of the texts? Can you divide by 0?",
    hint="F1 is twice the number found rightly, divided by the number found plus the number that are right.",
)


# %% tags=["wrong"]
def entity_f1(found, right):
    each = [2 * len(a & b) / max(1, len(a) + len(b)) for a, b in zip(found, right, strict=True)]
    return sum(each) / len(each)  # the mean of the texts


# %% tags=["wrong"]
def entity_f1(found, right):
    found, right = [[{one[:2] for one in text} for text in texts] for texts in (found, right)]  # without the kind
    rightly = sum(len(a & b) for a, b in zip(found, right, strict=True))
    return 2 * rightly / max(1, sum(map(len, found)) + sum(map(len, right)))


# %% tags=["wrong"]
def entity_f1(found, right):
    ours, theirs = set().union(*found), set().union(*right)  # forgets which text it was
    return 2 * len(ours & theirs) / max(1, len(ours) + len(theirs))


# %% [markdown]
# 0. An entity that is almost right counts as one that is wrong and one that was not found.
#
# ## Exercise 5: the best span
#
# Write `best_span` for a question: from the logits of the begin and of the end of each token to the first and
# last token of the span with the largest sum. The last token stands at the first one or behind it, and the
# span has at most `longest` tokens.
#
# *Predict:* with `longest=1`, what do you look for?


# %% tags=["answer"]
def best_span(begin, end, longest):
    """begin, end: arrays (time,). Returns (first, last)."""
    ### BEGIN SOLUTION
    pairs = [(i, j) for i in range(len(begin)) for j in range(i, min(len(begin), i + longest))]
    return max(pairs, key=lambda pair: begin[pair[0]] + end[pair[1]])
    ### END SOLUTION


# %% tags=["check"]
backwards = np.array([0.0, 1, 4, 0]), np.array([3.0, 0, 1, 2])
far = np.array([5.0, 0, 2, 0]), np.array([0.0, 1, 0, 5])
check(
    best_span,
    case("the best end is before the best begin", *backwards, 4, expect=np.array([2, 3])),
    case("one token", *backwards, 1, expect=np.array([2, 2])),
    case("any length", *far, 4, expect=np.array([0, 3])),
    case("three tokens at most", *far, 3, expect=np.array([2, 3])),
    case("negative logits", np.array([-5.0, -1, -9]), np.array([-1.0, -6, -7]), 3, expect=np.array([0, 0])),
    nudge="Which pairs of first and last are allowed? How many tokens has the span from i to j?",
    hint="Look at all i, and for each at j from i to i + longest - 1; keep the pair with the largest sum.",
)


# %% tags=["wrong"]
def best_span(begin, end, longest):
    return int(begin.argmax()), int(end.argmax())  # each alone


# %% tags=["wrong"]
def best_span(begin, end, longest):
    first = int(begin.argmax())  # the begin alone, and then the end
    return first, first + int(end[first : first + longest].argmax())


# %% tags=["wrong"]
def best_span(begin, end, longest):
    pairs = [(i, j) for i in range(len(begin)) for j in range(i, min(len(begin), i + longest + 1))]  # one too long
    return max(pairs, key=lambda pair: begin[pair[0]] + end[pair[1]])


# %% [markdown]
# With `longest=1` you look for the token with the largest sum of its own two logits.
#
# ## Experiment: twice the lines
#
# The list of names in the lesson came from a part of the newspaper. What would twice the lines bring? Write
# `known`: the share of the names of the validation days that stand in the first so many training lines, with
# the same kind. A name that comes twice on the validation days counts twice.
#
# *Predict* before you run the check: the share with 1,000, 2,000, 4,000 and 15,767 lines. Only the number of lines
# changes. Does it grow by the same amount at each doubling, by less, or by more? Then explain what you see.

# %%
from kerasllm.data import load


def names_of(lines):
    """For each line its names: tuples of characters and kind."""
    rows = []
    for words, tags in zip(lines["words"].str.split(), lines["tags"].str.split(), strict=True):
        edges = [i for i, tag in enumerate(tags) if tag[0] != "I"] + [len(tags)]
        cuts = [(i, j) for i, j in itertools.pairwise(edges) if tags[i][0] == "B"]
        rows.append([("".join(words[i:j]), tags[i][2:]) for i, j in cuts])
    return rows


newspaper = load("peoples-daily-entities")
shuffled = newspaper[newspaper["split"] == "train"].sample(frac=1, random_state=0)
train_names = names_of(shuffled)  # a list of names for each training line
new_names = list(itertools.chain(*names_of(newspaper[newspaper["split"] == "validation"])))  # of all lines


# %% tags=["answer"]
def known(lines):
    """Returns the share of `new_names` that stand in the first `lines` of `train_names`."""
    ### BEGIN SOLUTION
    seen = set(itertools.chain(*train_names[:lines]))
    return np.mean([name in seen for name in new_names])
    ### END SOLUTION


# %% tags=["check"]
for lines in (1000, 2000, 4000, 8000):
    try:
        print(f"{lines:6d} lines: {known(lines):.3f}")
    except Exception:
        break
check(
    known,
    case("1,000 lines", 1000, expect=between(0.48, 0.56)),
    case("2,000 lines", 2000, expect=between(0.55, 0.62)),
    case("4,000 lines", 4000, expect=between(0.6, 0.68)),
    case("all lines", 15767, expect=between(0.7, 0.76)),
    nudge="Is a name counted as often as it stands on the validation days? Does the kind have to fit?",
    hint="Make a set of all names of train_names[:lines], and take the mean of: name in seen, for name in new_names.",
)


# %% tags=["wrong"]
def known(lines):
    seen = set(itertools.chain(*train_names[:lines]))
    return np.mean([name in seen for name in set(new_names)])  # each name once


# %% tags=["wrong"]
def known(lines):
    seen = set(itertools.chain(*train_names))  # all lines, always
    return np.mean([name in seen for name in new_names])


# %% [markdown]
# About half of the names of new days stand in 1,000 lines, and each doubling adds about as much as the one
# before: 6 names of 100. So the list never becomes complete, and the price of the next 6 names is all lines
# that you have once more. News is made of names that were not there yesterday. This is the part that a list
# cannot give, and for which the lesson trains a reader of the words around a name.
