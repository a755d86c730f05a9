# %% [markdown] tags=["edition-2"]
# # 08 · Text to tokens
#
# **Which numbers should stand for a text?**
#
# **You need** Python strings, dictionaries and regular expressions; lesson 01 for the training and the
# test part.
#
# **You will build** byte pair encoding twice, slow and fast, with the same ids as a library in daily use;
# the cuts of WordPiece and of a Unigram model; and the batch of ids that a language model receives. You
# will measure what each way of cutting loses and what it costs, in one language and in six.
#
# **Time** about 1 minute to run on a laptop with 2 cores, and 40 minutes to read.

# %% tags=["hide"]
# @title Imports
import math
import re
import unicodedata
from collections import Counter, defaultdict
from itertools import pairwise

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import regex
import tokenizers

from kerasllm import text
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import curves, show, use_style
from kerasllm.course.palette import GREY, color
from kerasllm.data import load
from kerasllm.weights import pretrained_tokenizer

use_style()

# %%
WORDS = dial((10_000, 20_000, 40_000, 80_000, 150_000), smoke=(1_000, 2_000))  # words to learn from
SIZE = dial(4_096, smoke=700)  # tokens in each vocabulary that is compared
SEEDS = dial((0, 1, 2), smoke=(0,))  # choices of the texts to learn from
OUR_SIZE = dial(800, smoke=290)  # tokens of our own BPE
OUR_TEXTS = dial(300, smoke=30)  # texts of each language that it learns from
VERSES = dial(6_000, smoke=300)  # verses that the vocabularies of six languages learn from

# %% [markdown]
# ## A word that is not there
#
# A network computes with numbers, and a text has none. The simplest idea is a list. Read many texts, write
# each new word down, and let its place in the list stand for it. A **token** is a piece of text that gets one
# number; here each token is a word or a sign such as a comma. The **vocabulary** is the list of all tokens
# that have a number. A word that is not on the list still needs a number, so one extra token
# stands for all such words: the **unknown token**, written `<unk>`.
#
# How much does that lose? We collect the words of snippets from film reviews, lower-cased, and look at
# snippets that were held out. Before you go on, write down a guess. After 10,000 words of reviews, what
# share of the words of *new* reviews is unknown? And after 150,000?
#
# The control changes the kind of text and nothing else: the same number of words, from the King James Bible. In
# the figure, look at two things: whether the blue line reaches zero, and where the orange one ends.


# %%
def words_of(line):
    return re.findall(r"\w+(?:['’]\w+)*|[^\w\s]", line.lower())


def learn_from(name, words, seed=0):
    """Texts of the training part in a random order, as many as hold so many words."""
    table = load(name)
    texts, held = [], 0
    for line in table["text"][table["split"] == "train"].sample(frac=1, random_state=seed):
        if held < words:
            texts.append(line)
            held += len(words_of(line))
    return texts


films = load("movie-snippets")
test = films["text"][films["split"] == "test"].str.lower().tolist()
test_words = Counter(word for line in test for word in words_of(line))

# %%
SOURCES = {"film snippets": "movie-snippets", "the Bible": "king-james"}
unknown = {}
for kind, name in SOURCES.items():
    unknown[kind] = []
    for count in WORDS:
        known = {word for line in learn_from(name, count) for word in words_of(line)}
        new = {word: n for word, n in test_words.items() if word not in known}
        unknown[kind].append(100 * sum(new.values()) / test_words.total())
        print(f"{count:7,} words of {kind:13}: {len(known):6,} different, {unknown[kind][-1]:4.1f}% unknown")
    print("   the most frequent unknown ones:", *sorted(new, key=new.get, reverse=True)[:9])

# %% tags=["hide"]
# @title Figure: words that are not on the list
figure = curves(
    WORDS,
    {f"learned from {kind}": shares for kind, shares in unknown.items()},
    title="New film snippets: the list of words is never complete",
    x_label="words that the list was made from",
    y_label="unknown words, %",
    log_x=True,
    size=(7.6, 3.3),
)
figure.axes[0].set_ylim(0)
show(figure, "Share of unknown words against the amount of text. For film snippets the line falls with every"
     " doubling and stays above zero. For the Bible it starts far higher and falls slowly.")  # fmt: skip

# %% [markdown]
# More text of the same kind helps, and no amount of it finishes the work. The reason is that most words are
# rare: a new text brings other rare words than the old one did. Moreover, the kind of text counts for more
# than its amount. (Is the Bible's list perhaps just shorter? Compare the rows of the output: its longest list
# has more different words than the second list of the snippets, and leaves twice as much unknown.) Look at the
# words that are missing, for they are not the unimportant ones. A reader who gets "a `<unk>` tale of `<unk>`"
# cannot tell praise from blame.
#
# ## Signs instead of words
#
# Letters do not run out as words do, so why not number the letters? For this we must know what a letter is
# in a computer. **Unicode** is the list on which the world has agreed: it gives each sign of each script a
# number, its **code point**. It is written as `U+` with sixteen digits in place of ten, 0 to 9 and A to F, so
# that U+0041 is $4 \times 16 + 1 = 65$. A file holds bytes, however: groups of eight bits, each 0 or 1, which
# make numbers from 0 to 255. **UTF-8** is the usual rule that writes a code point as one to four bytes. Python's
# `len` counts code points, and what a reader sees as one sign may be several of them.
#
# The cell shows this for a few signs, then counts a snippet in three ways, and ends with two questions of
# spelling. In the drawing below it, look at how the bits of a code point are shared out among the bytes.

# %%
for sign in ["A", "é", "e\u0301", "你", "🚀", "👩‍🚀"]:
    points = " ".join(f"U+{ord(point):04X}" for point in sign)
    print(f"{sign}\tlen {len(sign)}   code points {points:22} bytes {list(sign.encode('utf-8'))}")
line = test[0]
print(f"\n{line!r}\n{len(words_of(line))} words, {len(line)} code points, {len(line.encode())} bytes")
print("\ncafé == café:", "cafe\u0301" == "café", "  after NFC:", unicodedata.normalize("NFC", "cafe\u0301") == "café")
for form, sample in [("NFC", "5 \u212b"), ("NFKC", "2⁵ = 32"), ("NFKC", "1½ 页，好")]:
    print(f"{form}: {sample!a:20} {sample} becomes {unicodedata.normalize(form, sample)}")

# %% tags=["hide"]
# @title Drawing: how UTF-8 writes a code point
sheet = Diagram(8, 2.05)
signs = {"A": "Latin A", "é": "e with accent", "你": "Chinese “you”", "🚀": "rocket"}
for row, (sign, name) in enumerate(signs.items()):
    y = 1.48 - 0.42 * row
    sheet.text((1.95, y), f"{name}, U+{ord(sign):04X}", align="right", size=9)
    for place, byte in enumerate(sign.encode()):
        bits = f"{byte:08b}"
        marks = 1 if byte < 128 else bits.index("0") + 1  # bits that only say "how many bytes"
        for k, bit in enumerate(bits):
            at = (2.17 + 1.45 * place + 0.165 * k, y)
            sheet.box(bit, at, meaning="given" if k < marks else "subject", width=0.16, height=0.27, size=7.5)
sheet.text((0.15, 1.88), "Grey bits say how many bytes belong together, blue bits are the code point", align="left",
           size=11)  # fmt: skip
show(sheet.figure, "The bits of four signs in UTF-8: a Latin letter has one byte, e with accent two, a Chinese"
     " character three, a rocket four. Grey bits at the start of each byte say how many there are.")  # fmt: skip

# %% [markdown]
# The first bits of a byte say how many bytes belong together, so a reader of bytes always knows where a sign
# begins. There are only 256 bytes, every text consists of them, and so nothing is ever unknown. The price stands in
# the second part of the output: the snippet has several times as many letters as words. Every layer of a
# network works on every token, and a model that reads a fixed number of tokens then sees a fraction of the
# text. The last lines show a trap. The same word can be stored in two ways, with *é* as one code point or as
# two, and a computer takes them for different words. The *normal form* NFC is a rule that stores both alike. It
# is not harmless, for it changes a few signs for ever. The sign of the unit ångström, `\u212b`, becomes the letter
# Å, which looks the same and is another code point. Another rule, NFKC, goes further and turns $2^5$ into 25.
# Whatever you choose, do the same in training and in use.
#
# So words are short and lose much, while bytes lose nothing and are long. We would like a token for each
# frequent word, and a few parts for a rare one.
#
# ## Join what stands together often
#
# The method of **byte pair encoding** (BPE) finds such parts by counting (Gage 1994; Sennrich et al. 2016).
# Cut every word into single letters. Count all pairs of neighbours and join the most frequent pair everywhere;
# the joined pair is a new token. Then count again, until there are as many tokens as you want. The list of joins
# *in this order* is the tokenizer, because a new word is cut by doing the same joins in the same order.
#
# Take a pencil. A text holds the words *sing* 4 times, *singer* 2, *king* 5 and *ring* 3. Which pair is the
# most frequent? (In a tie the pair that comes first in the alphabet wins.) Do three joins by hand. Then guess what
# the joins make of the word *ringer*, which the text does not hold. The drawing after the two cells shows it.


# %%
def join(parts, pair, new):
    """Replace each occurrence of a pair, from the left, by one new part."""
    out, i = [], 0
    while i < len(parts):
        found = tuple(parts[i : i + 2]) == pair
        out.append(new if found else parts[i])
        i += 2 if found else 1
    return out


def best_pair(cut, times):
    """The most frequent pair of neighbours; in a tie the smaller pair."""
    counts = Counter()
    for word, parts in cut.items():
        for pair in pairwise(parts):
            counts[pair] += times[word]
    return min(counts, key=lambda pair: (-counts[pair], pair))


# %%
times = {"sing": 4, "singer": 2, "king": 5, "ring": 3}
cut, joins = {word: list(word) for word in times}, []
while any(len(parts) > 1 for parts in cut.values()):
    pair = best_pair(cut, times)
    joins.append(pair)
    cut = {word: join(parts, pair, "".join(pair)) for word, parts in cut.items()}
    print(f"join {len(joins)}: {pair[0]:>4} + {pair[1]:3}  ", *map("·".join, cut.values()))
new = list("ringer")
for pair in joins:
    new = join(new, pair, "".join(pair))
print("a new word:", "·".join(new))

# %% tags=["hide"]
# @title Drawing: the joins build a word that was never seen
sheet = Diagram(6.6, 2.75)
places = {letter: 0.75 + 0.85 * i for i, letter in enumerate("ringer")}
letters = [sheet.box(letter, (0.75 + 0.85 * i, 0.4), width=0.45) for i, letter in enumerate("ringer")]


def joined_box(name, x, y, left, right, rank):
    box = sheet.box(name, (x, y), meaning="subject", width=0.3 + 0.16 * len(name))
    for part in (left, right):
        sheet.arrow(part.top, (box.x + 0.35 * (part.x - box.x) / max(abs(part.x - box.x), 0.3), box.bottom[1]))
    sheet.text((box.right[0] + 0.08, y), rank, meaning=GREY, size=8.5, align="left")
    return box


two = joined_box("in", 2.02, 1.0, letters[1], letters[2], "join 1")
three = joined_box("ing", 2.45, 1.6, two, letters[3], "join 2")
joined_box("ring", 1.9, 2.25, letters[0], three, "join 5")
joined_box("er", 4.57, 2.25, letters[4], letters[5], "join 6")
show(sheet.figure, "The letters of ringer at the bottom. Join 1 makes in, join 2 ing of in and g, join 5 ring of r and"
     " ing, join 6 er of e and r. Two tokens remain at the top, ring and er.")  # fmt: skip

# %% [markdown]
# Both *i + n* and *n + g* occur 14 times, in every word, and the alphabet decides. After seven joins each
# word is one token. In the drawing, *ringer* goes through the same list from the top. Its letters meet four of
# the seven joins, and two tokens remain. *Ring·er* happens to be what a grammar would say, but BPE knows no grammar.
#
# A letter that the text does not hold would still be unknown. The makers of the language model GPT-2 closed this
# hole by a change of alphabet: start from the 256 bytes in place of letters (Radford et al. 2019). Two decisions
# remain, and they must be those of everybody else if our ids are to agree. First, the text is cut into words
# before any join, with the space at the front of its word, so that no token crosses the border between words.
# (In the pattern `\p{L}` is any letter and `\p{N}` any digit, in every script. The package `regex` knows these
# names, and Python's own `re` does not.) Second, the bytes get the ids 0 to 255, those that can be printed first,
# because GPT-2's list begins so, and each join gets the next id.


# %%
def split(line):
    """Words, each with the space before it; digits and signs apart."""
    return regex.findall(r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", line)


BYTES = sorted((bytes([b]) for b in range(256)), key=lambda b: (b == b" " or not b.decode("latin-1").isprintable(), b))


def learn(texts, size):
    """The tokens, by id, and the joins: from a pair of ids to the new id, in the order of learning."""
    tokens, joins = list(BYTES), {}
    times = Counter(word for line in texts for word in split(line))
    cut = {word: [BYTES.index(bytes([b])) for b in word.encode()] for word in times}
    while len(tokens) < size:
        pair = best_pair(cut, times)
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        joins[pair] = len(tokens) - 1
        cut = {word: join(ids, pair, joins[pair]) for word, ids in cut.items()}
    return tokens, joins


# %% [markdown]
# Encoding a text does the joins in the order in which they were learned. Decoding needs no rule at all: it
# puts the bytes of the tokens behind each other, so the text comes back exactly.


# %%
def encode(line, joins):
    ids = []
    for word in split(line):
        part = [BYTES.index(bytes([b])) for b in word.encode()]
        while known := [pair for pair in pairwise(part) if pair in joins]:
            first = min(known, key=joins.get)  # the join that was learned first has the smallest id
            part = join(part, first, joins[first])
        ids += part
    return ids


def decode(ids, tokens):
    return b"".join(tokens[i] for i in ids).decode("utf-8", errors="replace")


# %% [markdown]
# This is all of BPE, and it is slow: after each join it counts every pair of every word again. Most words do
# not hold the joined pair, so most of this work finds what was known before. The fast version keeps the
# counts, and remembers for each pair in which words it stands. After a join it visits those words alone: it
# takes their old pairs out of the counts and puts the new ones in.


# %%
def learn_fast(texts, size):
    def count(words, sign):
        for word, pair in ((w, pair) for w in words for pair in pairwise(cut[w])):
            counts[pair] += sign * times[word]
            places[pair].add(word)

    tokens, joins, counts, places = list(BYTES), {}, Counter(), defaultdict(set)
    times = Counter(word for line in texts for word in split(line))
    cut = {word: [BYTES.index(bytes([b])) for b in word.encode()] for word in times}
    count(cut, 1)
    while len(tokens) < size:
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        joins[pair] = len(tokens) - 1
        touched = places.pop(pair)
        count(touched, -1)
        cut.update({word: join(cut[word], pair, joins[pair]) for word in touched})
        count(touched, 1)
    return tokens, joins


# %%
reviews = load("chinese-reviews")
chinese = reviews["text"][reviews["split"] == "train"].tolist()
mixed = learn_from("movie-snippets", WORDS[-1])[:OUR_TEXTS] + chinese[:OUR_TEXTS]
tokens, joins = learn_fast(mixed, OUR_SIZE)
assert learn(mixed, 290) == learn_fast(mixed, 290)  # slow and fast agree
library = text.train_bpe(mixed, OUR_SIZE + 1)  # its id 0 is for padding
lines = test[:100] + chinese[-100:]
assert [[i - 1 for i in library.encode(line)] for line in lines] == [encode(line, joins) for line in lines]
assert [decode(encode(line, joins), tokens) for line in lines] == lines
print(f"slow, fast and library agree: {len(joins)} joins, and all ids of {len(lines)} new lines")
print("the first joins:", *(repr(decode([256 + i], tokens)) for i in range(12)))
print("the last joins: ", *(repr(decode([i], tokens)) for i in range(len(tokens) - 12, len(tokens))))

# %% [markdown]
# The three versions agree in every join and every id. From here on we use the library's version,
# `kerasllm.text.train_bpe`, which is the same thing written in a faster language. Among the first joins are
# frequent letters of English with the space before them and, as `�`, two bytes of a Chinese character that
# has three. Among the last ones are parts of English words, Chinese characters and a first Chinese word, the name
# 爱玲. Chinese is written without spaces, and nobody told BPE where its words end.
#
# ## Two other ways to cut
#
# **WordPiece**, the tokenizer of the model BERT (lesson 15), has tokens of the same kind; a part inside a word
# carries the mark `##`. It also learns by joining pairs. (The published version joins the pair that makes the text
# most probable; the library that we use takes the most frequent one, as BPE does.) But its encoder does not
# replay the joins. It takes the longest piece that fits, from the left, again and again, and a word that cannot
# be cut this way is unknown (Wu et al. 2016). The longest piece is not always a good start. With the pieces *king*,
# *kin* and *##gdom*, what happens to *kingdom*? The output below has the answer.
#
# The **Unigram** model (Kudo 2018) asks a different question: which cut is the most probable? Each piece has a
# probability, and a cut is as probable as the product of its pieces. (The name says that a piece does not
# depend on its neighbours. SentencePiece is a program that trains this model or BPE, not a third method.)
# A word of $n$ letters has $2^{n-1}$ cuts, but nobody needs to try all of them. The best cut of the first $k$
# letters ends with some piece, and before that piece stands the best cut of fewer letters. So we go from
# left to right and keep one best cut for each $k$, which is known as the Viterbi algorithm.


# %%
def wordpiece(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        mark = "##" if start else ""
        end = next((e for e in range(len(word), start, -1) if mark + word[start:e] in vocabulary), None)
        if end is None:
            return ["<unk>"]
        pieces.append(mark + word[start:end])
        start = end
    return pieces


def most_probable(word, probability):
    best = [(1.0, [])] + [(0.0, [])] * len(word)  # best[k]: probability and pieces of the first k letters
    for end in range(1, len(word) + 1):
        for start in range(end):
            p = best[start][0] * probability.get(word[start:end], 0)
            best[end] = max(best[end], (p, [*best[start][1], word[start:end]]))
    return best[-1]


# %% [markdown]
# On paper: let *s*, *i*, *n* and *g* have the probability 0.1 each, *in* 0.1, *ing* 0.2 and *sing* 0.02. (What is
# left to 1 belongs to pieces of other words.) The word *sing* has then the cuts *sing* with 0.02, *s·ing* with
# 0.1 × 0.2 = 0.02, *s·in·g* with 0.001 and so on. What happens if *sing* has 0.03, and what if it has 0.01?
#
# Training goes the other way, from texts to probabilities. It begins with too many pieces and counts how often
# each is used in the probable cuts. These counts become the new probabilities. Then it throws away the pieces
# without which the texts become only a little less probable, and repeats this until the size is right.

# %%
print("WordPiece:", *(f"{word} = {'·'.join(wordpiece(word, {'king', 'kin', '##gdom', '##s'}))}"
                      for word in ("kings", "kingdom")), sep="   ")  # fmt: skip
piece = {"s": 0.1, "i": 0.1, "n": 0.1, "g": 0.1, "in": 0.1, "ing": 0.2}
for p in (0.01, 0.03):
    print(f"sing with {p}:", *(f"{word} = {'·'.join(most_probable(word, piece | {'sing': p})[1])}"
                               for word in ("sing", "singing")), sep="   ")  # fmt: skip
of_library = tokenizers.models.Unigram([(name, math.log(p)) for name, p in (piece | {"sing": 0.03}).items()])
assert [t.value for t in of_library.tokenize("singing")] == most_probable("singing", piece | {"sing": 0.03})[1]


def train_unigram(texts, size, lower=True):
    model = tokenizers.Tokenizer(tokenizers.models.Unigram())
    model.normalizer = tokenizers.normalizers.Lowercase()
    model.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()  # "▁" stands for a space
    special = {"special_tokens": ["<pad>", "<unk>"], "unk_token": "<unk>", "show_progress": False}
    model.train_from_iterator(texts, tokenizers.trainers.UnigramTrainer(vocab_size=size, **special))
    return text.Tokenizer(model)


# %% [markdown]
# ## The experiment: what is lost, and what it costs
#
# Now all four get the same chance: the same 80,000 words of text, the same number of tokens, the same new
# snippets to cut. We ask two things. How many unknown tokens are there for 100 words? And what is the *price*:
# how many tokens stand for one word, since every token costs time and room? Two changes are compared with each
# other: another *way* of cutting, and another *text* to learn from. Which of the two will matter more, do you
# think? Each setting is learned three times, from other choices of texts, so that we see how much is luck. The
# cell prints how each way cuts one short line (the libraries write a space as ▁ or Ġ), then the measurements. In
# the figure, compare bars of one colour with each other, which is another way of cutting, and then the two
# colours, which is another text.

# %%
ways = {"words": text.train_words, "WordPiece": text.train_wordpiece, "Unigram": train_unigram, "BPE": text.train_bpe}
lost, price = defaultdict(list), defaultdict(list)
for kind, name in SOURCES.items():
    for seed in SEEDS:
        texts = learn_from(name, WORDS[-2], seed)
        for way, train in ways.items():
            tokenizer = train(texts, SIZE, lower=True)
            ids = [i for row in tokenizer.encode_batch(test) for i in row]
            price[kind, way].append(len(ids) / test_words.total())
            lost[kind, way].append(100 * ids.count(tokenizer.unknown_id) / test_words.total())
            if seed == SEEDS[0]:
                print(f"{way:9} after {kind}:", *tokenizer.tokens("lord, a hilarious film"), sep=" | ")
for kind, way in price:
    print(f"learned from {kind:13} {way:10} unknown for 100 words: {np.mean(lost[kind, way]):5.2f},",
          "tokens a word:", *(f"{one:.3f}" for one in price[kind, way]))  # fmt: skip
letters = sum(map(len, test)) / test_words.total()
print(f"single letters: {letters:.2f} tokens a word")

# %% tags=["hide"]
# @title Figure: four ways of cutting, two texts to learn from
figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
parts = [
    (lost, "unknown tokens for 100 words", "Parts of words lose next to nothing"),
    (price, "tokens for each word", "Another text costs more than another way"),
]
for ax, (measured, label, title) in zip(panels, parts, strict=True):
    for shift, kind, meaning in [(-0.2, "film snippets", "subject"), (0.2, "the Bible", "control")]:
        means = [np.mean(measured[kind, way]) for way in ways]
        ax.barh(np.arange(4) + shift, means, 0.36, color=color(meaning), label=f"learned from {kind}")
        for row, mean in enumerate(means):
            ax.text(mean, row + shift, f" {mean:.2f}", va="center", fontsize=9)
    ax.set(title=title, xlabel=label, xlim=(0, 1.2 * max(map(max, measured.values()))))
    ax.grid(visible=False, axis="y")
panels[0].set_yticks(range(4), list(ways))
panels[0].invert_yaxis()
panels[0].legend(loc="lower right")
show(figure, "Bars for words, WordPiece, Unigram and BPE. Left: words lose much, after the Bible more than a third;"
     " the others lose almost nothing. Right: words cost one token, parts more, most after the Bible.")  # fmt: skip

# %%
pieces = ["WordPiece", "Unigram", "BPE"]
by_way = np.ptp([price["film snippets", way] for way in pieces], axis=0)  # dearest minus cheapest, seed by seed
by_text = np.subtract(price["the Bible", "BPE"], price["film snippets", "BPE"])
found = Claims("What we measured on new film snippets")
found.claim("All our snippets leave more than one word in forty unknown", unknown["film snippets"][-1], ">", 2.5,
            unit="%")  # fmt: skip
found.claim("Much text of another kind leaves more unknown than little text of the same kind", unknown["the Bible"][-1],
            ">", unknown["film snippets"][0], unit="%", control=f"{WORDS[0]:,} words of snippets",
            headline=f"{WORDS[-1]:,} words of the Bible leave {{measured}} of the words of film reviews unknown, "
            f"{WORDS[0]:,} words of reviews {{bound}}")  # fmt: skip
found.claim("BPE costs less than half of what letters cost", price["film snippets", "BPE"], "<", letters / 2,
            unit="tokens a word", control="half the price of single letters")  # fmt: skip
found.claim("The text it learned from matters more than the way of cutting", by_text, ">", by_way,
            unit="tokens a word", control="the dearest minus the cheapest of WordPiece, Unigram and BPE",
            headline="the text BPE learns from moves its price by {measured}, another method by {bound}")  # fmt: skip
found.show()

# %% [markdown]
# A list of 4,096 words loses 14% of the words of its own kind of text and 37% of another kind. The three
# ways that use parts of words lose next to nothing in both cases, and BPE on bytes loses nothing at all. They
# pay with length, though not much: 1.3 to 1.4 tokens a word on their own kind of text, where single letters need
# 5.2. So this is the answer of the lesson: the numbers should stand for *parts of words*, found by counting.
#
# The second answer is about what to care for. Among the three ways the price differs by 0.04 tokens a word,
# while the same BPE learned from the Bible is 0.44 dearer. The printed cuts show why: it has learned *lord* as one
# token and must put *film* together from parts. WordPiece looks cheapest, but it does not store where the spaces
# stood. There are two limits to what we measured. The Bible is far from film reviews, and a text that is nearer
# would cost less. And a price in tokens is all we know: whether a network *understands* one kind of token better
# is another question.
#
# ## One vocabulary, six languages
#
# A vocabulary learned from English must cut Chinese and Russian as well, since bytes are never unknown. What
# does it charge them? We take the same Bible verses in six languages, so that nobody says more than the
# others. One BPE learns from English verses alone. The control learns from as many verses, a sixth of them in
# each language, and has the same number of tokens. In the figure, look for the longest bar and for the colour
# whose bars are most alike.

# %%
union = load("chinese-bible").rename(columns={"label": "book"}).assign(label="chinese")
bibles = pd.concat([load("parallel-bible"), union])
languages = ["english", "german", "french", "spanish", "russian", "chinese"]
rows = bibles[bibles["split"] == "test"].pivot(index=["book", "chapter", "verse"], columns="label", values="text")
rows = rows[languages].dropna()  # a few verses are joined in one version
verses = {one: bibles["text"][(bibles["split"] == "train") & (bibles["label"] == one)].sample(VERSES, random_state=0)
          for one in languages}  # fmt: skip
shared = [verse for one in languages for verse in verses[one][: VERSES // 6]]
bpes = {"English alone": text.train_bpe(verses["english"], SIZE), "six languages": text.train_bpe(shared, SIZE)}
bpes["SmolLM2"] = pretrained_tokenizer("smollm2-135m-instruct")  # the vocabulary of a language model, see below
cost = {name: {one: np.mean([len(ids) for ids in bpe.encode_batch(rows[one])]) for one in languages}
        for name, bpe in bpes.items()}  # fmt: skip
print(f"tokens in a verse, means over {len(rows):,} verses")
in_bytes = {one: np.mean([len(verse.encode()) for verse in rows[one]]) for one in languages}
print(pd.DataFrame(cost | {"bytes": in_bytes}).round(1))

# %% tags=["hide"]
# @title Figure: the price of a language
figure, ax = plt.subplots(figsize=(8, 3.5))
for shift, name, meaning in zip([-0.27, 0, 0.27], cost, ["control", "subject", "given"], strict=True):
    size = bpes[name].vocabulary_size
    ax.barh(
        np.arange(6) + shift, list(cost[name].values()), 0.25, color=color(meaning), label=f"{name}, {size:,} tokens"
    )
ax.set_yticks(range(6), [one.capitalize() for one in languages])
ax.set(xlabel="tokens in a verse, on average", title="The same verse is dear in a language that was not learned from")
ax.invert_yaxis()
ax.grid(visible=False, axis="y")
ax.legend(loc="upper right")
show(figure, "Bars for six languages and three vocabularies. Learned from English alone, Russian costs some six"
     " times as much as English. Learned from six languages, the bars are nearly level. SmolLM2 is cheapest in English"
     " and dearest in Russian.")  # fmt: skip

# %%
spread = {name: max(of.values()) / min(of.values()) for name, of in cost.items()}
found = Claims("What we measured on the same verses in six languages")
found.claim("A share of the texts narrows the gap between the languages", spread["six languages"], "<",
            spread["English alone"], unit="times", control="the same size, learned from English alone")  # fmt: skip
found.claim("English pays for sharing", cost["six languages"]["english"], ">", cost["English alone"]["english"],
            unit="tokens a verse", control="learned from English alone")  # fmt: skip
found.claim("For Russian a shared vocabulary beats a larger one that is mostly English",
            cost["six languages"]["russian"], "<", cost["SmolLM2"]["russian"], unit="tokens a verse",
            control=f"SmolLM2's {bpes['SmolLM2'].vocabulary_size:,} tokens")  # fmt: skip
found.show()

# %% [markdown]
# Learned from English alone, a Russian verse costs 197 tokens: exactly as many as it has bytes, two for each
# letter, because no pair of Russian bytes was ever joined. (Chinese is cut into its bytes too, three for each
# character, but a character says more than a letter.) Russian is 5.9 times as dear as English. German, French and
# Spanish share letters and some parts with English, so they pay about twice the price. If every language has a
# share of the texts, the dearest costs less than 1.3 times what the cheapest costs. English pays for it with a
# quarter more, since its parts must now share the 4,096 places.
#
# The grey bars belong to the vocabulary of a real language model, twelve times as large, whose texts were
# mostly English. It is the cheapest in English and charges Russian more than our small shared one does. A
# larger vocabulary does not help those from whom it did not learn. Petrov et al. (2023) found differences
# of up to 15 times between languages in tokenizers that are in use. Who pays by the token pays this price in
# money.
#
# ## Inside a real vocabulary
#
# SmolLM2 is a language model of 135 million weights, and part IV of the course works with it. Its
# tokenizer is a byte-level BPE like ours. What do you expect it to do with a number, with the spaces at the
# start of a line of code, with Chinese, and with a word that has no space before it?

# %%
smol = bpes["SmolLM2"]
for sample in ["I have 12345 apples.", "    if x >= 10:\n        return x", "strawberry", " strawberry",
               "我很喜欢这本书。", "<|im_start|>"]:  # fmt: skip
    ids = smol.encode(sample)
    print(f"{len(ids):2d} tokens", [smol.decode([i]) for i in ids])
print("special tokens:", *smol.special_tokens[:3], "…  as a special token:", smol.encode("<|im_start|>", special=True))
whole = [smol.decode([i], skip_special=False) for i in range(smol.vocabulary_size)]
kinds = {"holds letters A to Z": r"[A-Za-z]", "spaces or line ends alone": r"^\s+$", "holds a digit": r"\d",
         "holds a Chinese character": r"\p{Han}", "holds a Russian letter": r"\p{Cyrillic}"}  # fmt: skip
for kind, pattern in kinds.items():
    print(f"{kind:26} {sum(bool(regex.search(pattern, one)) for one in whole):6,} of {len(whole):,} tokens")

# %% [markdown]
# Numbers are cut into single digits. No token holds two, so a calculation meets every number in the
# same shape. Runs of spaces are tokens of their own, because code is full of them. Of 49,152 tokens only 80
# hold a Chinese character, and so most of the Chinese sentence arrives as bytes. Finally, *strawberry* is three
# tokens and, with a space in front, one. The model sees the number of that token and not its letters. A question
# about the letters of a word asks it for something that is not in its input.
#
# The last example matters for safety. `<|im_start|>` is a **special token**: a number that stands for no text but
# for an event, such as the beginning of a turn in a conversation. When a *user* types these characters, they
# must stay ordinary text, here seven tokens. Only the program may send the special token itself. A tokenizer that
# mixes the two lets a user pretend to be somebody else.
#
# ## What a model receives
#
# A network wants tables of equal rows, and texts have different lengths. So short rows are filled up with
# **padding**, a special token that means "nothing here". A **mask** is a second table which is True where a
# token is real, because nothing may depend on the padding. Two more special tokens mark the beginning and the
# end of a text: `<bos>`, begin of sequence, and `<eos>`, end of sequence. Without the second a model that writes
# would never know when to stop.
#
# A model that writes is trained to say the next token at every place. Its input and its answers are therefore
# the same row, moved by one place: the **shifted targets** are what stands one place to the right of each input.
# The cell makes such a batch of three texts, and its last lines give our tokenizer the ids of another one. In the
# drawing below it, which shows two of the rows as text, look at the places without an arrow. The short row goes on
# behind its end, because a table must be full, but the mask is False there, and nothing is learned from these places.

# %%
tokenizer = text.train_bpe(mixed, OUR_SIZE, bos=True, eos=True)
lines = ["A funny film.", "Bad.", "我喜欢。"]
batch = [[tokenizer.bos_id, *tokenizer.encode(line), tokenizer.eos_id] for line in lines]
longest = max(map(len, batch))
ids = np.array([row + [tokenizer.pad_id] * (longest - len(row)) for row in batch])  # (texts, time)
assert (ids == keras.utils.pad_sequences(batch, padding="post", value=tokenizer.pad_id)).all()  # Keras has it ready
mask = ids != tokenizer.pad_id  # True at what is not padding
inputs, targets, counted = ids[:, :-1], ids[:, 1:], mask[:, 1:]
for name, table in {"inputs": inputs, "targets": targets, "mask of the targets": counted.astype(int)}.items():
    print(f"{name}, {table.shape}\n{table}")
wrong = tokenizer.decode([i % OUR_SIZE for i in smol.encode("a warm and funny film")])  # % because our list is short
print("'a warm and funny film' by the ids of SmolLM2, read with this tokenizer:", repr(wrong))

# %% tags=["hide"]
# @title Drawing: inputs and shifted targets
sheet = Diagram(8, 2.75)
step = 6.9 / inputs.shape[1]
for row, (above, below) in enumerate(zip(targets[:2], inputs[:2], strict=True)):
    y = 1.65 - 1.3 * row
    sheet.text((0.95, y + 0.6), "targets", meaning="output", size=9, align="right")
    sheet.text((0.95, y), "inputs", meaning="query", size=9, align="right")
    for k, (said, read) in enumerate(zip(above, below, strict=True)):
        x = 1.05 + step * (k + 0.5)
        for token, at, meaning in [(read, y, "query"), (said, y + 0.6, "output")]:
            name = tokenizer.decode([token], skip_special=False).replace(" ", "␣")
            padding = token == tokenizer.pad_id
            sheet.box(name, (x, at), meaning="given" if padding else meaning, width=step - 0.1, height=0.3, size=8.5)
        if said != tokenizer.pad_id:
            sheet.arrow((x, y + 0.16), (x, y + 0.43), width=1.2)
sheet.text((0.2, 2.58), "After each token the model must say the next one; grey is padding, which does not count",
           align="left", size=11)  # fmt: skip
show(sheet.figure, "Two rows of tokens, each with its targets above: the same tokens moved by one place. After bos"
     " stands the first token of the text, at its end eos. Where the target is padding there is no arrow.")  # fmt: skip

# %% [markdown]
# ## What can go wrong
#
# A tokenizer and a model belong together. Ids say nothing by themselves, so the ids of one tokenizer give other
# words in another, without any error: that was the last line under the batch. A model can also write ids that are
# no text, such as two of the three bytes of a character, and then `�` appears. A program that shows
# a text while it is written waits for the third. And a space belongs to the word after it, so a text that
# ends with a space leaves a single space as a token, after which a model has rarely seen a word begin.
#
# ## Summary
#
# - A list of words is never complete. Text of another kind makes it worse than little text of the right kind.
# - Signs have code points, and UTF-8 writes them as bytes. Bytes are never unknown, but texts become long.
# - BPE joins the most frequent pair again and again. WordPiece takes the longest piece, Unigram the most
#   probable cut. What they learned from moves the price more than which of them it is.
# - A language without a share in the texts pays several times as much for the same content.
# - A model receives rows of ids with special tokens and padding, a mask, and as targets the row moved by one.
#
# ## Exercises
#
# Open [exercises/08_text_to_tokens.ipynb](exercises/08_text_to_tokens.ipynb). You count words that look alike,
# do one step of BPE, encode with given joins, and make what a model receives. In the experiment you find out
# how much French a vocabulary needs.
#
# ## References
#
# - P. Gage (1994). A new algorithm for data compression. *The C Users Journal* 12(2), 23–38.
# - R. Sennrich, B. Haddow, A. Birch (2016). Neural machine translation of rare words with subword units. *ACL*.
#   Section 3.2: BPE on letters.
# - A. Radford and others (2019). Language models are unsupervised multitask learners. OpenAI. Section 2.2: BPE
#   on bytes.
# - Y. Wu and others (2016). Google's neural machine translation system. arXiv:1609.08144. Section 4.1:
#   WordPiece.
# - T. Kudo (2018). Subword regularization: improving neural network translation models with multiple subword
#   candidates. *ACL*. Section 3.2: the Unigram model and its training.
# - T. Kudo, J. Richardson (2018). SentencePiece: a simple and language independent subword tokenizer and
#   detokenizer for neural text processing. *EMNLP*, system demonstrations. Section 2: the program.
# - A. Petrov, E. La Malfa, P. Torr, A. Bibi (2023). Language model tokenizers introduce unfairness between
#   languages. *NeurIPS*. Section 4.
# - The Unicode Consortium. *Unicode Standard Annex 15*, normalization forms. Section 1.
