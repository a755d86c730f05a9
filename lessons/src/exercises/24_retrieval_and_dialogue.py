# %% [markdown]
# # Exercises 24 · Retrieval and dialogue
#
# Four exercises and an experiment, each alone. The first four need no model; the experiment searches in Python's
# documentation and takes some seconds. Where the text says *predict*, write your guess down before you run anything.

# %%
import sqlite3

import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: from tags to slots
#
# A tagger gives a BIO tag to each word of a command. Return the slots as a dictionary from the name of a slot to its
# words, joined by spaces. An *I* that does not go on with a slot of its own name belongs to none. If a name comes
# twice, the first one counts.
#
# *Predict:* what are the slots of "turn on the hall light" with the tags O O O B-name I-name?


# %% tags=["answer"]
def slots_of(words, tags):
    """Two lists of strings. Returns a dictionary."""
    ### BEGIN SOLUTION
    found, name = {}, None  # the slot that is open
    for word, tag in zip(words, tags, strict=True):
        kind = tag[2:]
        if tag.startswith("B-"):
            name = None if kind in found else kind
            if name:
                found[name] = [word]
        elif tag.startswith("I-") and kind == name:
            found[name].append(word)
        else:
            name = None
    return {name: " ".join(words) for name, words in found.items()}
    ### END SOLUTION


# %% tags=["check"]
check(
    slots_of,
    case("one slot", ["the", "hall", "light"], ["O", "B-name", "I-name"], expect={"name": "hall light"}),
    case("nothing to fill", ["stop", "it"], ["O", "O"], expect={}),
    case("two slots, one behind the other", ["hall", "light", "red"], ["B-area", "B-name", "B-color"],
         expect={"area": "hall", "name": "light", "color": "red"}),
    case("an I without its B", ["hall", "light", "on"], ["I-area", "O", "I-name"], expect={}),
    case("an I of another slot", ["hall", "light"], ["B-area", "I-name"], expect={"area": "hall"}),
    case("an I behind a gap", ["hall", "and", "light"], ["B-name", "O", "I-name"], expect={"name": "hall"}),
    case("a slot that comes twice", ["hall", "or", "bed", "room"], ["B-area", "O", "B-area", "I-area"],
         expect={"area": "hall"}),
    nudge="Which slot is open when an I comes, and what closes it?",
    hint="Keep the name of the open slot. B- opens one (if the name is new), I- of that name adds its word, and"
         " everything else closes it.",
)  # fmt: skip


# %% tags=["right"]
def slots_of(words, tags):  # edges first, then slices
    result, i = {}, 0
    while i < len(words):
        j = i + 1
        if tags[i][0] == "B":
            while j < len(words) and tags[j] == "I-" + tags[i][2:]:
                j += 1
            result.setdefault(tags[i][2:], " ".join(words[i:j]))
        i = j
    return result


# %% tags=["right"]
def slots_of(words, tags):  # library: the spans of kerasllm, written backwards so that the first one stays
    from kerasllm.tasks.bio import spans

    strict = list(tags)
    for place, tag in enumerate(tags):
        before = strict[place - 1] if place else "O"
        if tag.startswith("I-") and before[2:] != tag[2:]:
            strict[place] = "O"
    return {kind: " ".join(words[first:after]) for first, after, kind in reversed(list(spans(strict)))}


# %% tags=["right"]
def slots_of(words, tags):  # a pattern over the tags, one letter each
    import re

    names = [tag[2:] for tag in tags]
    letters = "".join(
        tag[0] if tag[0] != "I" or (place and names[place - 1] == names[place]) else "O"
        for place, tag in enumerate(tags)
    )
    result = {}
    for run in re.finditer("BI*", letters):
        result.setdefault(names[run.start()], " ".join(words[run.start() : run.end()]))
    return result


# %% tags=["wrong"]
def slots_of(words, tags):  # every I counts
    result = {}
    for word, tag in zip(words, tags, strict=True):
        if tag != "O":
            result[tag[2:]] = f"{result.get(tag[2:], '')} {word}".strip()
    return result


# %% tags=["wrong"]
def slots_of(words, tags):  # the last one counts
    result, name = {}, None
    for word, tag in zip(words, tags, strict=True):
        if tag[0] == "B":
            name = tag[2:]
            result[name] = word
        elif tag[0] == "I" and tag[2:] == name:
            result[name] += " " + word
        else:
            name = None
    return result


# %% tags=["wrong"]
def slots_of(words, tags):  # nothing closes a slot
    result, name = {}, None
    for word, tag in zip(words, tags, strict=True):
        if tag[0] == "B":
            name = tag[2:]
            result.setdefault(name, word)
        elif tag[0] == "I" and tag[2:] == name:
            result[name] += " " + word
    return result


# %% tags=["wrong"]
def slots_of(words, tags):  # the first word alone
    return {tag[2:]: word for word, tag in reversed(list(zip(words, tags, strict=True))) if tag[0] == "B"}


# %% [markdown]
# There is one slot, *name*, with "hall light". A service that takes every *I* for a slot opens doors that nobody
# named.
#
# ## Exercise 2: a promise in a state machine
#
# A door may be opened only if somebody has asked for it and said *yes* in the next turn that was understood. The
# state is "idle" or "asked". The turns are "open", "yes", "no", and anything else, which is not understood. Return
# the next state and the act:
#
# - "open" always asks: the state "asked", the act "confirm".
# - "yes" in the state "asked" opens: the state "idle", the act "open". "no" there gives "idle" and "cancelled".
# - Everything else changes nothing, and the act is "repeat".
#
# *Predict:* how many of the $4^3 = 64$ dialogues of three turns, made of open, yes, no and hm, open the door at least
# once?


# %% tags=["answer"]
def next_turn(state, turn):
    """Two strings. Returns the next state and the act, two strings."""
    ### BEGIN SOLUTION
    if turn == "open":
        return "asked", "confirm"
    if state == "asked" and turn in ("yes", "no"):
        return "idle", {"yes": "open", "no": "cancelled"}[turn]
    return state, "repeat"
    ### END SOLUTION


# %% tags=["check"]
def acts_of(answer):
    """A function from turns to the acts of a dialogue."""

    def play(*turns):
        state, acts = "idle", []
        for turn in turns:
            state, act = answer(state, turn)
            acts.append(act)
        return acts

    play.__name__ = "next_turn"  # so that the check speaks of the answer
    return play


check(
    acts_of(next_turn),
    case("as it should be", "open", "yes", expect=["confirm", "open"]),
    case("no", "open", "no", "yes", expect=["confirm", "cancelled", "repeat"]),
    case("a yes that nobody asked for", "yes", "no", expect=["repeat", "repeat"]),
    case("noise in between", "open", "hm", "yes", expect=["confirm", "repeat", "open"]),
    case("a second time", "open", "yes", "yes", "open", "no", expect=["confirm", "open", "repeat", "confirm",
                                                                      "cancelled"]),
    case("asked twice", "open", "open", "yes", expect=["confirm", "confirm", "open"]),
    case("noise at first", "hm", "open", expect=["repeat", "confirm"]),
    nudge="What does a yes mean before anybody has asked, and after the door was opened?",
    hint="Three cases: open, whatever the state; yes or no in the state asked; everything else leaves the state as it"
         " is.",
)  # fmt: skip


# %% tags=["right"]
def next_turn(state, turn):  # a table
    table = {("asked", "yes"): ("idle", "open"), ("asked", "no"): ("idle", "cancelled")}
    return ("asked", "confirm") if turn == "open" else table.get((state, turn), (state, "repeat"))


# %% tags=["right"]
def next_turn(state, turn):  # match
    match state, turn:
        case (_, "open"):
            return ["asked", "confirm"]
        case ("asked", "yes"):
            return ["idle", "open"]
        case ("asked", "no"):
            return ["idle", "cancelled"]
    return [state, "repeat"]


# %% tags=["right"]
def next_turn(state, turn):  # nested questions
    if turn == "open":
        state, act = "asked", "confirm"
    elif state == "idle" or turn not in {"yes", "no"}:
        act = "repeat"
    else:
        state, act = "idle", "open" if turn == "yes" else "cancelled"
    return state, act


# %% tags=["wrong"]
def next_turn(state, turn):  # a yes always opens
    acts = {"open": ("asked", "confirm"), "yes": ("idle", "open"), "no": ("idle", "cancelled")}
    return acts.get(turn, (state, "repeat"))


# %% tags=["wrong"]
def next_turn(state, turn):  # noise forgets the question
    if turn == "open":
        return "asked", "confirm"
    if state == "asked" and turn in ("yes", "no"):
        return "idle", {"yes": "open", "no": "cancelled"}[turn]
    return "idle", "repeat"


# %% tags=["wrong"]
def next_turn(state, turn):  # after a yes the door stays open for the next yes
    if turn == "open":
        return "asked", "confirm"
    if state == "asked" and turn == "yes":
        return "asked", "open"
    if state == "asked" and turn == "no":
        return "idle", "cancelled"
    return state, "repeat"


# %% tags=["wrong"]
def next_turn(state, turn):  # asked twice is yes
    if turn == "open":
        return ("idle", "open") if state == "asked" else ("asked", "confirm")
    if state == "asked" and turn in ("yes", "no"):
        return "idle", {"yes": "open", "no": "cancelled"}[turn]
    return state, "repeat"


# %% [markdown]
# Nine. Four have open and yes in the first two turns, four have them in the last two, and "open, hm, yes" is the
# ninth. Nothing else opens, and you could look at all 64.
#
# ## Exercise 3: sources or a refusal
#
# A search gives passages with scores. Return the prompt of a service: the passages whose score is at least the
# threshold, the best first, at most `k` of them, each as a line "[1] title: text" with its number, and then the line
# "Question: " with the question. If no passage is good enough, return `None`: the service refuses. Passages with
# equal scores stay in their order.
#
# *Predict:* which of the two is worse, a threshold of 0 or one that is too high?


# %% tags=["answer"]
def prompt_of(question, passages, scores, threshold, k=2):
    """passages: pairs of title and text. Returns a text, or None."""
    ### BEGIN SOLUTION
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    good = [passages[place] for place in order if scores[place] >= threshold][:k]
    if not good:
        return None
    lines = [f"[{number}] {title}: {text}" for number, (title, text) in enumerate(good, 1)]
    return "\n".join([*lines, f"Question: {question}"])
    ### END SOLUTION


# %% tags=["check"]
def or_refusal(answer):
    """The same, with a word in the place of None, for None means that an answer is not written yet."""

    def call(*arguments, **more):
        found = answer(*arguments, **more)
        return "refused" if found is None and arguments else found

    call.__name__ = "prompt_of"
    return call


PETS = [("cats", "They sleep."), ("dogs", "They bark."), ("fish", "They swim.")]
check(
    or_refusal(prompt_of),
    case("the best ones first", "Who?", PETS, [0.2, 0.9, 0.5], 0.1,
         expect="[1] dogs: They bark.\n[2] fish: They swim.\nQuestion: Who?"),
    case("one is good enough", "Who?", PETS, [0.2, 0.9, 0.5], 0.6, expect="[1] dogs: They bark.\nQuestion: Who?"),
    case("just good enough", "Who?", PETS, [0.2, 0.9, 0.5], 0.9, expect="[1] dogs: They bark.\nQuestion: Who?"),
    case("none is", "Who?", PETS, [0.2, 0.9, 0.5], 0.91, expect="refused"),
    case("no passages at all", "Who?", [], [], 0.0, expect="refused"),
    case("equal scores", "Who?", PETS, [0.5, 0.5, 0.5], 0.5,
         expect="[1] cats: They sleep.\n[2] dogs: They bark.\nQuestion: Who?"),
    case("three", "Who?", PETS, [0.1, 0.2, 0.3], -1.0, k=3,
         expect="[1] fish: They swim.\n[2] dogs: They bark.\n[3] cats: They sleep.\nQuestion: Who?"),
    nudge="Is the threshold applied to the best passage alone, or to each? When is nothing left?",
    hint="Sort the places by falling score, keep those with scores >= threshold, cut to k, and return None if the list"
         " is empty.",
)  # fmt: skip


# %% tags=["right"]
def prompt_of(question, passages, scores, threshold, k=2):  # NumPy
    scores = np.array(scores, float)
    best = np.argsort(-scores, kind="stable")[:k]
    lines = [": ".join(passages[place]) for place in best if scores[place] >= threshold]
    numbered = [f"[{number + 1}] {line}" for number, line in enumerate(lines)]
    return "\n".join(numbered) + f"\nQuestion: {question}" if lines else None


# %% tags=["right"]
def prompt_of(question, passages, scores, threshold, k=2):  # triples, sorted in place
    found = [(-score, place) for place, score in enumerate(scores) if not score < threshold]
    found.sort()
    text = ""
    for number, (_, place) in enumerate(found[:k], start=1):
        text += "[{}] {}: {}\n".format(number, *passages[place])
    return (text + "Question: " + question) if text else None


# %% tags=["right"]
def prompt_of(question, passages, scores, threshold, k=2):  # library: heapq keeps the order of equal ones
    from heapq import nlargest

    best = nlargest(k, zip(scores, range(0, -len(scores), -1), passages, strict=True))
    good = [passage for score, _, passage in best if score >= threshold]
    numbered = map("[{}] {}: {}".format, range(1, k + 1), *zip(*good, strict=True)) if good else ()
    return "\n".join([*numbered, "Question: " + question]) if good else None


# %% tags=["wrong"]
def prompt_of(question, passages, scores, threshold, k=2):  # never refuses
    order = sorted(range(len(scores)), key=lambda place: -scores[place])[:k]
    lines = [f"[{n}] {passages[place][0]}: {passages[place][1]}" for n, place in enumerate(order, 1)]
    return "\n".join([*lines, f"Question: {question}"])


# %% tags=["wrong"]
def prompt_of(question, passages, scores, threshold, k=2):  # only the best one must be good enough
    order = sorted(range(len(scores)), key=lambda place: -scores[place])[:k]
    if not order or scores[order[0]] < threshold:
        return None
    lines = [f"[{n}] {passages[place][0]}: {passages[place][1]}" for n, place in enumerate(order, 1)]
    return "\n".join([*lines, f"Question: {question}"])


# %% tags=["wrong"]
def prompt_of(question, passages, scores, threshold, k=2):  # above, not at least
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    good = [passages[place] for place in order if scores[place] > threshold][:k]
    lines = [f"[{n}] {title}: {text}" for n, (title, text) in enumerate(good, 1)]
    return "\n".join([*lines, f"Question: {question}"]) if good else None


# %% tags=["wrong"]
def prompt_of(question, passages, scores, threshold, k=2):  # in the order of the documents
    good = [passage for passage, score in zip(passages, scores, strict=True) if score >= threshold][:k]
    lines = [f"[{n}] {title}: {text}" for n, (title, text) in enumerate(good, 1)]
    return "\n".join([*lines, f"Question: {question}"]) if good else None


# %% [markdown]
# That depends on the service. A threshold of 0 answers everything, and a wrong answer with a source looks more
# certain than one without. A threshold that is too high only makes the service useless, which everybody notices.
#
# ## Exercise 4: a value is no SQL
#
# A service looks up the address of a member by the name that a user typed. Write `address_of`: the rows of `SELECT
# email FROM members WHERE name = ...` as a list of texts, for whatever was typed. Names may hold quotes.
#
# *Predict:* what does a query with `'{name}'` inside of an f-string return for the name `x' OR '1' = '1`?


# %% tags=["answer"]
def address_of(connection, name):
    """A connection to SQLite and a text. Returns a list of texts."""
    ### BEGIN SOLUTION
    rows = connection.execute("SELECT email FROM members WHERE name = ?", [name])
    return [email for (email,) in rows]
    ### END SOLUTION


# %% tags=["check"]
def in_a_library(answer):
    """A function from a name to the addresses that the answer finds, and how many members are left."""

    def call(name):
        connection = sqlite3.connect(":memory:")
        connection.execute("CREATE TABLE members (name TEXT, email TEXT)")
        people = [("Ada", "ada@x.org"), ("Ben O'Neil", "ben@x.org"), ("Cy", "cy@x.org"), ("Cy", "cy2@x.org")]
        connection.executemany("INSERT INTO members VALUES (?, ?)", people)
        found = answer(connection, name)
        found = None if found is None else list(found)
        left = connection.execute("SELECT COUNT(*) FROM members").fetchone()[0]
        connection.close()
        return None if found is None else [*found, f"{left} members are left"]

    call.__name__ = "address_of"
    return call


ALL = "4 members are left"


check(
    in_a_library(address_of),
    case("a name", "Ada", expect=["ada@x.org", ALL]),
    case("two of one name", "Cy", expect=["cy@x.org", "cy2@x.org", ALL]),
    case("a quote in a name", "Ben O'Neil", expect=["ben@x.org", ALL]),
    case("nobody", "Dora", expect=[ALL]),
    case("an attack", "x' OR '1' = '1", expect=[ALL]),
    case("another attack", "x' UNION SELECT name FROM members --", expect=[ALL]),
    case("a sign that stands for all", "%", expect=[ALL]),
    case("another case", "ada", expect=[ALL]),
    nudge="Who reads the quotes in the name: you, or SQLite?",
    hint='Put a ? into the SQL, and give the value beside it: connection.execute("... name = ?", [name]).',
)


# %% tags=["right"]
def address_of(connection, name):  # a named parameter
    cursor = connection.cursor()
    cursor.execute("SELECT email FROM members WHERE name = :name", {"name": name})
    return [row[0] for row in cursor.fetchall()]


# %% tags=["right"]
def address_of(connection, name):  # compared in Python; fine for a small table
    return [email for who, email in connection.execute("SELECT name, email FROM members") if who == name]


# %% tags=["right"]
def address_of(connection, name):  # quotes are doubled, as SQL wants it: right, but easily forgotten once
    quoted = name.replace("'", "''")
    return [row[0] for row in connection.execute(f"SELECT email FROM members WHERE name = '{quoted}'")]


# %% tags=["wrong"]
def address_of(connection, name):
    return [row[0] for row in connection.execute(f"SELECT email FROM members WHERE name = '{name}'")]


# %% tags=["wrong"]
def address_of(connection, name):  # forbids what a name may hold
    if "'" in name:
        return []
    return [row[0] for row in connection.execute(f"SELECT email FROM members WHERE name = '{name}'")]


# %% tags=["wrong"]
def address_of(connection, name):  # like is another comparison
    return [row[0] for row in connection.execute("SELECT email FROM members WHERE name LIKE ?", [name])]


# %% tags=["wrong"]
def address_of(connection, name):  # the first one alone
    row = connection.execute("SELECT email FROM members WHERE name = ?", [name]).fetchone()
    return [row[0]] if row else []


# %% [markdown]
# It returns everybody's address: the quote ends the text, and what follows is SQL. With a parameter the same text is
# only a strange name that nobody has.
#
# ## Experiment: how much of a passage must be read?
#
# In lesson 15 a passage was cut to its first words, to save time. What does that cost? Write `hits`: make an index of
# words (`BM25`) of the first `length` words of each passage's text, without titles, search all questions of one
# wording, and return the share with an answer among the first five passages. The titles that answer a question are
# given.
#
# *Predict* the four shares: with ten words and with all, for questions in the same words and in other words. Only the
# length changes. Then explain.

# %%
from kerasllm.data import load
from kerasllm.tasks import BM25

passages, questions = load("python-documentation"), load("documentation-questions")


# %% tags=["answer"]
def hits(length, wording):
    """A number of words, and "same words" or "other words". Returns a share."""
    ### BEGIN SOLUTION
    titles = passages["title"].to_numpy()
    texts = [" ".join(text.split()[:length]) for text in passages["text"]]
    some = questions[questions["wording"] == wording]
    places, _ = BM25(texts).search(some["question"], k=5)
    return np.mean([np.isin(titles[row], right).any() for row, right in zip(places, some["titles"], strict=True)])
    ### END SOLUTION


# %% tags=["check"]
check(
    hits,
    case("ten words, questions in the same words", 10, "same words", expect=between(0.9, 1.0)),
    case("ten words, questions in other words", 10, "other words", expect=between(0.0, 0.14)),
    case("all words, questions in the same words", 10_000, "same words", expect=between(0.9, 1.0)),
    case("all words, questions in other words", 10_000, "other words", expect=between(0.16, 0.4)),
    nudge="Are the questions those of the wording alone, and does one of several right titles count as an answer?",
    hint="Cut each text to its first words, search with k=5, and ask for each question whether any of the titles at"
         " the places is in its list.",
)  # fmt: skip


# %% tags=["right"]
def hits(length, wording):  # a loop over questions
    index, found = BM25(), []
    for text in passages["text"]:
        index.add([" ".join(text.split()[:length])])
    for row in questions.itertuples():
        if row.wording == wording:
            places = index.search([row.question])[0][0]
            found.append(any(passages["title"].iloc[place] in row.titles for place in places))
    return sum(found) / len(found)


# %% tags=["right"]
def hits(length, wording):  # pandas and sets
    index = BM25(passages["text"].str.split().str[:length].str.join(" "))
    some = questions.query("wording == @wording")
    said = [set(passages["title"].iloc[row]) for row in index.search(some["question"].tolist(), k=5)[0]]
    return np.mean([bool(titles & set(right)) for titles, right in zip(said, some["titles"], strict=True)])


# %% tags=["wrong"]
def hits(length, wording):
    titles = passages["title"].to_numpy()
    some = questions[questions["wording"] == wording]
    places, _ = BM25(passages["text"]).search(some["question"], k=5)  # always all words
    return np.mean([np.isin(titles[row], right).any() for row, right in zip(places, some["titles"], strict=True)])


# %% tags=["wrong"]
def hits(length, wording):
    titles = passages["title"].to_numpy()
    texts = [" ".join(text.split()[:length]) for text in passages["text"]]
    places, _ = BM25(texts).search(questions["question"], k=5)  # all wordings, those without an answer too
    pairs = zip(places, questions["titles"], strict=True)
    return np.mean([np.isin(titles[row], right).any() for row, right in pairs])


# %% tags=["wrong"]
def hits(length, wording):
    titles = passages["title"].to_numpy()
    texts = [" ".join(text.split()[:length]) for text in passages["text"]]
    some = questions[questions["wording"] == wording]
    places, _ = BM25(texts).search(some["question"], k=500)  # among five hundred
    return np.mean([np.isin(titles[row], right).any() for row, right in zip(places, some["titles"], strict=True)])


# %% tags=["wrong"]
def hits(length, wording):
    titles = passages["title"].to_numpy()
    texts = [text[:length] for text in passages["text"]]  # characters
    some = questions[questions["wording"] == wording]
    places, _ = BM25(texts).search(some["question"], k=5)
    return np.mean([np.isin(titles[row], right).any() for row, right in zip(places, some["titles"], strict=True)])


# %% [markdown]
# The questions, the passages and the search are the same. A docstring begins with one sentence in the field's own
# words, so whoever uses these words needs no more than it. Who asks in other words finds them, if at all, further
# down: in an explanation, an example, a remark. The price of a short passage is therefore paid by those who do not
# know the right words, and these are the ones who ask.
