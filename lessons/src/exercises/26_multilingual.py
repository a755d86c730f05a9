# %% [markdown]
# # Exercises 26 · Multilingual
#
# Four exercises and an experiment, each alone. The first four need NumPy and no training; the experiment reads the
# parallel Bibles and takes some seconds. Where the text says *predict*, write your guess down before you run anything.

# %%
import numpy as np

from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: the price of a language
#
# The same verses were cut into tokens in several languages. Return for each language how much dearer it is than the
# first one: who pays by the token and reads the whole book pays so many times as much. The first is 1 by definition.
#
# *Predict:* a short verse costs 10 tokens in English and 30 in Russian, a long one 90 and 90. How much dearer is
# Russian, 1.2 times or 2 times?


# %% tags=["answer"]
def prices(tokens):
    """tokens: int array (languages, verses). Returns (languages,), 1 for the first."""
    ### BEGIN SOLUTION
    whole = np.asarray(tokens).sum(axis=1)
    return whole / whole[0]
    ### END SOLUTION


# %% tags=["check"]
check(
    prices,
    case("the two of the text", np.array([[10, 90], [30, 90]]), expect=[1.0, 1.2]),
    case("one language", np.array([[5, 6, 7]]), expect=[1.0]),
    case("three languages", np.array([[10, 20, 30], [15, 25, 50], [30, 0, 0]]), expect=[1.0, 1.5, 0.5]),
    case("a cheaper one", np.array([[40, 60], [30, 20]]), expect=[1.0, 0.5]),
    nudge="Who reads the whole book pays for all of its tokens. What is divided by what?",
    hint="Sum over the verses first, then divide by the first language's sum.",
)


# %% tags=["right"]
def prices(tokens):  # loops
    totals = []
    for language in tokens:
        total = 0
        for verse in language:
            total += int(verse)
        totals.append(total)
    return [total / totals[0] for total in totals]


# %% tags=["right"]
def prices(tokens):  # means of the verses have the same ratio
    means = np.mean(tokens, axis=1)
    return np.divide(means, means[:1])


# %% tags=["right"]
def prices(tokens):  # library: pandas
    import pandas as pd

    whole = pd.DataFrame(tokens).sum(axis=1)
    return whole.div(whole.iloc[0]).to_numpy()


# %% tags=["wrong"]
def prices(tokens):
    return np.mean(tokens / np.maximum(tokens[:1], 1), axis=1)  # the mean of the ratios


# %% tags=["wrong"]
def prices(tokens):
    whole = np.sum(tokens, axis=1)
    return whole[0] / whole  # upside down


# %% tags=["wrong"]
def prices(tokens):
    whole = np.sum(tokens, axis=1)
    return whole / whole.min()  # the cheapest in place of the first


# %% tags=["wrong"]
def prices(tokens):
    whole = np.sum(tokens, axis=0)  # over the languages
    return whole / whole[0]


# %% [markdown]
# 1.2 times: 120 tokens against 100. The mean of the two ratios, 3 and 1, is 2, but it gives a short verse the weight of
# a long one.
#
# ## Exercise 2: move each language to its own mean
#
# Texts in several languages have vectors. Subtract from each vector the mean of all vectors of *its* language, so that
# what belongs to the language itself is gone. The vectors that were given stay as they are.
#
# *Predict:* a language has a single text. What becomes of its vector, and what will a head say about it?


# %% tags=["answer"]
def centred(vectors, languages):
    """vectors (texts, dim), languages: a name for each text (texts,). Returns (texts, dim)."""
    ### BEGIN SOLUTION
    result = np.array(vectors, float)
    for one in set(languages):
        result[languages == one] -= result[languages == one].mean(axis=0)
    return result
    ### END SOLUTION


# %% tags=["check"]
two, names = np.array([[1.0, 2], [3, 4], [10, 0], [20, 6]]), np.array(["en", "en", "zh", "zh"])


def leaves_the_vectors_alone(answer):
    """Whether the vectors that were given are the same after the call."""

    def call(languages):
        given = two.copy()
        answer(given, languages)
        return given

    call.__name__ = "centred"
    return call


check(
    centred,
    case("two languages", two.copy(), names, expect=[[-1.0, -1], [1, 1], [-5, -3], [5, 3]]),
    case("one language", two.copy(), np.array(["en"] * 4), expect=two - two.mean(axis=0)),
    case("mixed order", two[[0, 2, 1, 3]], names[[0, 2, 1, 3]], expect=[[-1.0, -1], [-5, -3], [1, 1], [5, 3]]),
    case("a single text", np.array([[4.0, 5], [0, 2], [2, 4]]), np.array(["fr", "en", "en"]),
         expect=[[0.0, 0], [-1, -1], [1, 1]]),
    nudge="How many means are there, and over which texts is each taken?",
    hint="For each language a mask languages == one; subtract vectors[mask].mean(axis=0) in a copy.",
)  # fmt: skip
check(
    leaves_the_vectors_alone(centred),
    case("the vectors themselves", names, expect=two),
    nudge="Does your function write into the array that it was given?",
    hint="Begin with a copy: result = np.array(vectors, float).",
)


# %% tags=["right"]
def centred(vectors, languages):  # one-hot languages and two products
    belongs = (languages[:, None] == np.unique(languages)).astype(float)  # (texts, languages)
    means = belongs.T @ vectors / belongs.sum(axis=0)[:, None]
    return vectors - belongs @ means


# %% tags=["right"]
def centred(vectors, languages):  # library: pandas
    import pandas as pd

    frame = pd.DataFrame(vectors)
    return (frame - frame.groupby(list(languages)).transform("mean")).to_numpy()


# %% tags=["right"]
def centred(vectors, languages):  # text by text
    result = []
    for vector, one in zip(vectors, languages, strict=True):
        own = [other for other, language in zip(vectors, languages, strict=True) if language == one]
        result.append(vector - np.mean(own, axis=0))
    return np.stack(result)


# %% tags=["wrong"]
def centred(vectors, languages):
    return vectors - vectors.mean(axis=0)  # one mean for all


# %% tags=["wrong"]
def centred(vectors, languages):
    return vectors - vectors.mean(axis=1, keepdims=True)  # the mean of each vector's numbers


# %% tags=["wrong"]
def centred(vectors, languages):
    for one in set(languages):
        vectors[languages == one] -= vectors[languages == one].mean(axis=0)  # destroys what was given
    return vectors


# %% tags=["wrong"]
def centred(vectors, languages):
    first = vectors[languages == languages[0]].mean(axis=0)  # the first language's mean for all
    return vectors - first


# %% [markdown]
# It becomes zeros, so a head says the same about any single text: its own mean needs several texts, and a mixture of
# good and bad ones at that. With good texts alone the opinion would be subtracted as well.
#
# ## Exercise 3: who finds its partner?
#
# Question $i$ belongs to text $i$. Return the share of questions whose text is among the first $k$. A text that has
# the same score as the right one counts as better, because a search that gives everybody the same score has found
# nothing.
#
# *Predict:* a search gives 0 to every text. What is the hit rate at 1, and what would it be if equal scores counted
# in favour of the right text?


# %% tags=["answer"]
def hit_rate(scores, k):
    """scores (questions, texts), as many texts as questions. Returns one number from 0 to 1."""
    ### BEGIN SOLUTION
    own = np.diag(scores)[:, None]
    place = (scores >= own).sum(axis=1)  # itself, and whoever is as good or better
    return np.mean(place <= k)
    ### END SOLUTION


# %% tags=["check"]
clear = np.array([[9.0, 1, 2], [5, 4, 3], [1, 2, 0]])  # places 1, 2, 3
check(
    hit_rate,
    case("the first", clear, 1, expect=1 / 3),
    case("the first two", clear, 2, expect=2 / 3),
    case("all", clear, 3, expect=1.0),
    case("nothing is known", np.zeros((4, 4)), 1, expect=0.0),
    case("a tie", np.array([[3.0, 3], [0, 1]]), 1, expect=0.5),
    case("a tie at the end", np.array([[1.0, 5, 1], [0, 9, 0], [0, 0, 9]]), 2, expect=2 / 3),
    case("not symmetric", np.array([[1.0, 2], [0, 3]]), 1, expect=0.5),
    nudge="How many texts of a row have at least the score of the right one, itself included?",
    hint="(scores >= np.diag(scores)[:, None]).sum(axis=1) is the place; the mean of place <= k is the share.",
)


# %% tags=["right"]
def hit_rate(scores, k):  # a loop over questions
    found = 0
    for i, row in enumerate(scores):
        better = sum(other >= row[i] for j, other in enumerate(row) if j != i)
        found += better < k
    return found / len(scores)


# %% tags=["right"]
def hit_rate(scores, k):  # the library's ranks
    from kerasllm.evaluation import ranks

    return float(np.mean(ranks(scores, np.arange(len(scores))) <= k))


# %% tags=["right"]
def hit_rate(scores, k):  # library: scipy, the largest rank of equal ones
    from scipy.stats import rankdata

    places = rankdata(-scores, method="max", axis=1)
    return (np.diag(places) <= k).sum() / len(scores)


# %% tags=["wrong"]
def hit_rate(scores, k):
    own = np.diag(scores)[:, None]
    return np.mean((scores > own).sum(axis=1) < k)  # a tie counts in its favour


# %% tags=["wrong"]
def hit_rate(scores, k):
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # of equal ones the first
    return np.mean((best == np.arange(len(scores))[:, None]).any(axis=1))


# %% tags=["wrong"]
def hit_rate(scores, k):
    own = np.diag(scores)[None, :]
    return np.mean((scores >= own).sum(axis=0) <= k)  # texts ask for questions


# %% tags=["wrong"]
def hit_rate(scores, k):
    own = np.diag(scores)[:, None]
    return np.mean((scores >= own).sum(axis=1) < k)  # one place too strict


# %% [markdown]
# 0, and it would be 1: the worst search of all would look perfect. Searches by words give equal scores often, namely 0
# to all texts without a common word.
#
# ## Exercise 4: languages by turns
#
# Make the text that a GPT of several languages reads. Verse 0 stands in the first language, verse 1 in the second and
# so on, and behind the last language comes the first again. Each verse is the number of its language, then its own
# ids, then the number that ends a text. Return one flat list of whole numbers.
#
# *Predict:* the Bible has 31,000 verses, and there are six languages. If each verse is read once, how many verses of
# German does the model see?


# %% tags=["answer"]
def by_turns(verses, languages, end):
    """verses: for each language a list of lists of ids, the same verses in all. languages: their numbers."""
    ### BEGIN SOLUTION
    stream = []
    for number in range(len(verses[0])):
        turn = number % len(languages)
        stream += [languages[turn], *verses[turn][number], end]
    return stream
    ### END SOLUTION


# %% tags=["check"]
german, french, chinese = [[10], [11, 12], [13], []], [[20], [21], [22], [23]], [[30], [31], [32, 33], [34]]
check(
    by_turns,
    case("one language", [german], [1], 0, expect=[1, 10, 0, 1, 11, 12, 0, 1, 13, 0, 1, 0]),
    case("two languages", [german, french], [1, 2], 0, expect=[1, 10, 0, 2, 21, 0, 1, 13, 0, 2, 23, 0]),
    case("three", [german, french, chinese], [7, 8, 9], 5, expect=[7, 10, 5, 8, 21, 5, 9, 32, 33, 5, 7, 5]),
    case("fewer verses than languages", [german[:1], french[:1]], [1, 2], 0, expect=[1, 10, 0]),
    nudge="Which verse of the second language comes first: its verse 0 or its verse 1?",
    hint="For each number of a verse: turn = number % len(languages); append languages[turn], the ids, and the end.",
)


# %% tags=["right"]
def by_turns(verses, languages, end):  # rows of all verses, filled language by language
    rows = [None] * len(verses[0])
    for turn, (language, own) in enumerate(zip(languages, verses, strict=True)):
        rows[turn :: len(languages)] = [[language, *ids, end] for ids in own[turn :: len(languages)]]
    return [one for row in rows for one in row]


# %% tags=["right"]
def by_turns(verses, languages, end):  # library: itertools
    from itertools import chain, cycle

    turns = zip(cycle(range(len(languages))), zip(*verses, strict=True), strict=False)
    return list(chain.from_iterable((languages[turn], *same[turn], end) for turn, same in turns))


# %% tags=["right"]
def by_turns(verses, languages, end):  # one array
    count = len(verses[0])
    parts = [np.array([languages[n % len(languages)], *verses[n % len(languages)][n], end]) for n in range(count)]
    return np.concatenate(parts).astype(int)


# %% tags=["wrong"]
def by_turns(verses, languages, end):
    stream = []
    for same in zip(*verses, strict=True):  # each verse in all languages
        for language, ids in zip(languages, same, strict=True):
            stream += [language, *ids, end]
    return stream


# %% tags=["wrong"]
def by_turns(verses, languages, end):
    stream = []
    for number in range(len(verses[0])):  # each language begins with its own verse 0
        turn = number % len(languages)
        stream += [languages[turn], *verses[turn][number // len(languages)], end]
    return stream


# %% tags=["wrong"]
def by_turns(verses, languages, end):
    stream = []
    for number in range(len(verses[0])):
        turn = number % len(languages)
        stream += [*verses[turn][number], end]  # nobody is asked for a language
    return stream


# %% tags=["wrong"]
def by_turns(verses, languages, end):
    stream = []
    for number in range(len(verses[0])):
        turn = number % len(languages)
        stream += [languages[turn], *verses[turn][number]]  # no verse ends
    return [*stream, end]


# %% [markdown]
# A sixth, about 5,200. All languages together cost the training of one.
#
# ## Experiment: how large a share does a language need?
#
# A BPE of 2,000 tokens learns from 1,200 verses. A share of them is Russian and the rest is English; nothing else
# changes. Write `price`: train `kerasllm.text.train_bpe` on the first verses of `russian` and the first of `english`,
# so many of each as the share says, and return the mean number of tokens of the verses in `new_russian` and of those in
# `new_english`.
#
# *Predict:* with half of the verses Russian costs 44 tokens a verse, and with none of them 197. What does it cost with
# a tenth? And what does English, which costs 38 alone, pay for that tenth? Then explain.

# %%
from kerasllm.data import load
from kerasllm.text import train_bpe

bible = load("parallel-bible")
russian, english = (
    bible.loc[(bible["label"] == one) & (bible["split"] == "train"), "text"].sample(1_200, random_state=0).tolist()
    for one in ("russian", "english")
)
new_russian, new_english = (
    bible.loc[(bible["label"] == one) & (bible["split"] == "test"), "text"].tolist() for one in ("russian", "english")
)


# %% tags=["answer"]
def price(share):
    """Returns tokens a verse in Russian and in English, if this share of the 1,200 verses is Russian."""
    ### BEGIN SOLUTION
    count = round(share * 1_200)
    tokenizer = train_bpe(russian[:count] + english[: 1_200 - count], 2_000)
    return [np.mean([len(ids) for ids in tokenizer.encode_batch(texts)]) for texts in (new_russian, new_english)]
    ### END SOLUTION


# %% tags=["check"]
def both(of_russian, of_english):
    """The ranges of the two prices."""

    def inside(result):
        first, second = result
        return between(*of_russian)(first) or between(*of_english)(second)

    return inside


check(
    price,
    case("no share", 0.0, expect=both((190, 205), (36, 39))),
    case("a tenth", 0.1, expect=both((52, 61), (38.3, 41))),
    case("half", 0.5, expect=both((41, 48), (41.5, 46))),
    nudge="Do all verses together stay 1,200? Which texts are counted, those that were learned from or new ones?",
    hint="russian[:count] + english[:1_200 - count]; then the mean of len(ids) over new_russian and over new_english.",
)


# %% tags=["right"]
def price(share):  # loops
    tokenizer = train_bpe([*russian[: int(share * 1_200 + 0.5)], *english[: 1_200 - int(share * 1_200 + 0.5)]], 2_000)
    counts = []
    for texts in (new_russian, new_english):
        total = 0
        for verse in texts:
            total += len(tokenizer.encode(verse))
        counts.append(total / len(texts))
    return counts


# %% tags=["right"]
def price(share):  # one flat array a language
    few = round(1_200 * share)
    tokenizer = train_bpe(english[: 1_200 - few] + russian[:few], vocabulary_size=2_000)
    flat = [
        np.concatenate([np.array(ids) for ids in tokenizer.encode_batch(one)]) for one in (new_russian, new_english)
    ]
    return flat[0].size / len(new_russian), flat[1].size / len(new_english)


# %% tags=["wrong"]
def price(share):
    tokenizer = train_bpe(english, 2_000)  # the share changes nothing
    return [np.mean([len(ids) for ids in tokenizer.encode_batch(texts)]) for texts in (new_russian, new_english)]


# %% tags=["wrong"]
def price(share):
    count = round((1 - share) * 1_200)  # the shares exchanged
    tokenizer = train_bpe(russian[:count] + english[: 1_200 - count], 2_000)
    return [np.mean([len(ids) for ids in tokenizer.encode_batch(texts)]) for texts in (new_russian, new_english)]


# %% tags=["wrong"]
def price(share):
    count = round(share * 1_200)
    tokenizer = train_bpe(russian[:count] + english[: 1_200 - count], 2_000)
    tokens = [np.mean([len(ids) for ids in tokenizer.encode_batch(texts)]) for texts in (russian, english)]
    return tokens[::-1]  # English first


# %% [markdown]
# A tenth brings Russian from 197 tokens to 56, which is most of what half of the texts would give. The reason is that
# the most frequent pairs of a language are found in few texts already. The two bytes of a Russian letter are joined
# first, because they stand together in every word, and that alone halves the price. English pays less than two tokens
# for it, since what it loses are its rarest parts.
