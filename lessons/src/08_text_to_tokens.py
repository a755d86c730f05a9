# %% [markdown]
# # 08 · Text to tokens
#
# **A network computes with numbers. Which numbers should stand for a text, so that no word is
# unknown, no language is shut out, and the text can be got back?**
#
# **You need** Python strings, dictionaries and regular expressions. Lesson 03 for what a layer is.
#
# **You will build** a byte-level BPE tokenizer in at most 80 lines that gives the same ids as a
# library used in production, and a WordPiece encoder.
#
# **Time** about 1 minute to run on a 2-core laptop; reading takes longer.

# %%
import heapq
import inspect
import json
import re
import tempfile
import unicodedata
from collections import Counter, defaultdict
from importlib.metadata import requires
from itertools import pairwise

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import regex
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from kerasllm import text as kerasllm_text
from kerasllm.course import claim, settings
from kerasllm.data import load
from kerasllm.course.figures import BLUE, GREEN, ORANGE, RED, SKY, YELLOW, show, use_style

use_style()

# %%
LINES, SIZE, OUR_LINES, OUR_SIZE, TRIPS = settings(
    smoke=(300, 700, 100, 400, 300),
    cpu=(8_000, 8_192, 2_000, 2_048, 10_000),
)
# LINES      lines of English and of Chinese to train on      SIZE       tokens in a vocabulary
# OUR_LINES  the same for our own BPE, in plain Python        OUR_SIZE   its tokens
# TRIPS      lines of each language that go to ids and back

# %% [markdown]
# ## Four words that look like one
#
# Counting words is the simplest thing one can do with a text. The list below holds the word
# "café" four times. Look at the counts.

# %%
seen = ["café", "cafe\u0301", "café\u200b", "ｃａｆé"]
print(*seen)
print("different words:", len(Counter(seen)))
for word in seen:
    print(len(word), "characters:", *(f"{ord(c):X}" for c in word))
astronaut = "👩‍🚀"
print("\nlen of", astronaut, "is", len(astronaut), [unicodedata.name(c) for c in astronaut])
claim("words counted where a reader sees one", len(Counter(seen)), "==", 4, exact=True)

# %% [markdown]
# The second "é" is an "e" followed by a combining accent. The third word ends with a space of
# width zero. The fourth uses the wide letters of East Asian keyboards. The astronaut, one picture,
# has length 3: a woman, an invisible joiner and a rocket.
#
# So "character" has three meanings. A **code point** is a number that Unicode gives to a sign;
# Python's `len` counts these. A **grapheme** is what a reader sees as one sign, one or more code
# points (Unicode Annex 29). A **byte** is what is stored. UTF-8 stores a code point in one to four
# bytes. Its bits, colour by colour:

# %%
signs = {"A": "Latin letter", "é": "letter with accent", "你": "Chinese", "🚀": "rocket"}
figure, ax = plt.subplots(figsize=(8, 2.5))
for row, (sign, name) in enumerate(signs.items()):
    for place, byte in enumerate(sign.encode()):
        bits = f"{byte:08b}"
        marks = 1 if byte < 128 else bits.index("0") + 1  # bits that only say "how many bytes"
        for k, bit in enumerate(bits):
            color = "0.8" if k < marks else SKY
            ax.add_patch(plt.Rectangle((place * 8.6 + k, -row), 0.95, 0.75, color=color, lw=0))
            ax.text(place * 8.6 + k + 0.47, 0.37 - row, bit, ha="center", va="center", fontsize=8)
    name += f"\nU+{ord(sign):04X}, {len(sign.encode())} byte" + "s" * (row > 0)
    ax.text(-0.5, 0.37 - row, name, ha="right", va="center", fontsize=8)
ax.set(xlim=(-12, 35), ylim=(-3.2, 0.9))
ax.set_title("UTF-8: grey bits count the bytes, blue bits hold the code point")
ax.axis("off")
show(
    figure,
    "The bits of four signs in UTF-8: a Latin letter has one byte, e with accent two, a Chinese"
    " character three, a rocket four. Grey bits at the start of each byte say how many there are.",
)
print("graphemes, code points, bytes:")
for sign in [*signs, astronaut]:
    print("  ", sign, len(regex.findall(r"\X", sign)), len(sign), len(sign.encode()))

# %% [markdown]
# Remember the three bytes of a Chinese character. They come back as a price.
#
# ## Normalising: what it repairs and what it destroys
#
# Unicode defines normal forms (Annex 15). **NFC** joins a letter and its accent where a joined
# sign exists. **NFKC** also replaces signs that it calls compatible: wide letters, ligatures,
# raised digits. Many programs lower-case too. Each step makes more words equal. The next cell
# shows what else it makes equal.

# %%
steps = {
    "NFC": lambda t: unicodedata.normalize("NFC", t),
    "NFKC": lambda t: unicodedata.normalize("NFKC", t),
    "lower": str.lower,
}
print("different words after NFC:", len({steps["NFC"](w) for w in seen}), end=", ")
print("after NFKC:", len({steps["NFKC"](w) for w in seen}))
for sample in ["2⁵ = 32", "1½ pages", "ﬁne", "好，很好。", "US and us", "Read May's book in May"]:
    changed = {name: step(sample) for name, step in steps.items() if step(sample) != sample}
    print(f"{sample!r:28} {changed}")

# %% [markdown]
# NFKC turns $2^5 = 32$ into "25 = 32", and one and a half loses its meaning when "1½" becomes
# "11⁄2". Lower-casing makes a country a pronoun. Nobody can undo this from the result. How often
# does it matter? We count in real texts: the King James Bible, snippets of film reviews, and
# Chinese reviews of books, hotels and computers.

# %%
bible, films, chinese = load("king-james"), load("movie-snippets"), load("chinese-reviews")
corpora = {"king-james": bible, "movie-snippets": films, "chinese-reviews": chinese}
shares = {
    name: {step: np.mean([f(t) != t for t in table["text"]]) for step, f in steps.items()}
    for name, table in corpora.items()
}
print("share of texts that a step changes:")
print(pd.DataFrame(shares).T.map("{:.2%}".format).to_string())
claim("Chinese reviews changed by NFKC", shares["chinese-reviews"]["NFKC"], ">", 0.7, exact=True)
sample = "\u3000 Fish &amp;\u00a0chips\u200b"
print(f"kerasllm.text.clean: {sample!r} -> {kerasllm_text.clean(sample)!r}")
report = kerasllm_text.cleaning_report(chinese["text"])
print(f"Chinese reviews changed, of {report.attrs['texts']:,}:", report["texts"].to_dict())

# %% [markdown]
# NFC changed nothing here, so it costs nothing. NFKC rewrites most Chinese reviews: it replaces
# the wide comma of Chinese by the English one. So NFC is a safe habit and NFKC is a decision.
# `kerasllm.text.clean` does NFC, HTML entities, invisible marks and white space. Each step can be
# switched off, and `cleaning_report`, the second line above, counts the texts that it changed.
#
# ## Words, and the words that are missing
#
# The oldest tokenizer cuts a text into words and keeps the most frequent ones. Every other word
# becomes one and the same token, `<unk>`, for *unknown*. We train on books of the Bible, and
# judge on five books that were held out, then on film reviews. All words are lower-cased, in favour
# of the method: fewer words are unknown. **Zipf's law** says that the word
# of rank $r$ occurs about $1/r$ times as often as the first. What does this mean for words that
# the training text does not contain?


# %%
def take(table, split, lines=None):
    """Texts of a split, in a fixed random order."""
    texts = table.loc[table["split"] == split, "text"].to_numpy()
    return np.random.default_rng(0).permutation(texts)[:lines].tolist()


def words_of(text):
    return re.findall(r"\w+(?:['’]\w+)*|[^\w\s]", text.lower())


english_train, chinese_train = take(bible, "train", LINES), take(chinese, "train", LINES)
english_test, chinese_test = take(bible, "test"), take(chinese, "test", 1_000)
film_test = take(films, "test")
word_counts = Counter(w for text in english_train for w in words_of(text))
han_counts = Counter(c for text in chinese_train for c in text if not c.isspace())
held_out = {
    "training text": word_counts,
    "held-out books": Counter(w for text in english_test for w in words_of(text)),
    "film reviews": Counter(w for text in film_test for w in words_of(text)),
}


# %%
def unknown_share(counts, known):
    """Share of the running words that are not in `known`."""
    return sum(n for w, n in counts.items() if w not in known) / counts.total()


sizes = [s for s in 2 ** np.arange(6, 14) if s < len(word_counts)] + [len(word_counts)]
ranked = [w for w, _ in word_counts.most_common()]
unknown = {name: [] for name in held_out}
for size in sizes:
    known = set(ranked[:size])
    for name, counts in held_out.items():
        unknown[name].append(unknown_share(counts, known))
print(pd.DataFrame(unknown, index=pd.Index(sizes, name="words")).map("{:.1%}".format).to_string())
once = sum(n == 1 for n in word_counts.values()) / len(word_counts)
print(f"{once:.0%} of all different words occur once; the commonest:", *ranked[:8])

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
for counts, name, color in [
    (word_counts, "English words", BLUE),
    (han_counts, "Chinese characters", ORANGE),
]:
    n = np.array(sorted(counts.values(), reverse=True)) / counts.total()
    left.loglog(np.arange(1, len(n) + 1), n, color=color, label=name)
left.loglog([1, 1e4], [0.07, 0.07e-4], "--", color="0.5", lw=1, label="proportional to 1 / rank")
left.set(xlabel="rank", ylabel="share of the text", title="Zipf: few are frequent, most are rare")
left.legend(loc="lower left")
for (name, share), color in zip(unknown.items(), ["0.5", BLUE, RED], strict=True):
    right.semilogx(sizes, share, "o-", color=color, label=name, markersize=4)
right.set(xlabel="words in the vocabulary", ylabel="share of unknown words", ylim=(0, None))
right.set_title("Unknown words do not go away")
right.legend()
show(
    figure,
    "Left: frequency against rank falls like a straight line on logarithmic axes, for English words"
    " and for Chinese characters. Right: unknown words fall with the vocabulary, to zero for the"
    " training text only; a quarter or more of the words of film reviews stay unknown.",
)
book_unknown, film_unknown = unknown["held-out books"][-1], unknown["film reviews"][-1]
claim("held-out books, words learned from the Bible: unknown", book_unknown, ">", 0.005)
claim("film reviews, words learned from the Bible: unknown", film_unknown, ">", 0.25, headline=True)

# %% [markdown]
# The table says: even with *every* word of the training text, the held-out books have unknown
# words, and in the film reviews nearly every third word is unknown. A bigger vocabulary does not
# help, because the rare words are other ones in every new text. And the unknown ones are often the
# ones that matter: a reader who gets "a `<unk>` tale of `<unk>`" knows nothing.
#
# ## Two errors in a widely copied article
#
# > **Myth 1:** read the text column of a CSV file and feed it to a model that starts with
# > `Embedding`.
# >
# > **Fact:** `Embedding` looks up rows of a table by integer ids. Strings have no row.
#
# > **Myth 2:** Keras' `Tokenizer` turns sentences of any language into word ids.
# >
# > **Fact:** it cuts at spaces. Chinese writes none. The class was removed in Keras 3; its
# > successor `TextVectorization` cuts at white space too, unless told otherwise.
#
# The next cells run both. First the strings: expect an error about their type.

# %%
reviews, labels = np.array(["good film", "bad film"]), np.array([1.0, 0.0])
embedding = keras.layers.Embedding(10, 4)  # a table of 10 rows with 4 numbers each
model = keras.Sequential([embedding, keras.layers.Flatten(), keras.layers.Dense(1)])
model.compile("sgd", "mse")
try:
    model.fit(reviews, labels, verbose=0)
    refused = False
except (TypeError, ValueError) as error:
    refused = True
    print(f"{type(error).__name__}: {error}")
ids = np.array([[1, 2], [3, 2]])  # good film, bad film
model.fit(ids, labels, verbose=0)
print("with ids it trains; shape after Embedding:", tuple(embedding(ids).shape))
claim("fit refuses strings", refused, "==", True, exact=True)

# %%
FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


def old_keras_rule(text):
    spaced = text.lower().translate({ord(c): " " for c in FILTERS})
    return spaced.split()


sentence = "我很喜欢这本书，印刷也好。"  # I like this book very much, and the print is good.
layer = keras.layers.TextVectorization()
layer.adapt([sentence])
print("the removed class:", old_keras_rule(sentence))
print("TextVectorization:", [str(word) for word in layer.get_vocabulary()[2:]])
by_sign = keras.layers.TextVectorization(split="character", standardize=None)
by_sign.adapt([sentence])
print("split='character':", *by_sign.get_vocabulary()[2:])
claim("tokens that the old rule makes", len(old_keras_rule(sentence)), "==", 1, exact=True)
claim("tokens of TextVectorization", len(layer.get_vocabulary()) - 2, "==", 1, exact=True)
spaces = {w for text in chinese_train for w in old_keras_rule(text)}
pieces = Counter(w for text in chinese_test for w in old_keras_rule(text))
missing = unknown_share(pieces, spaces)
claim("held-out Chinese 'words' cut at spaces that are unknown", missing, ">", 0.8)

# %% [markdown]
# One sentence, one token. In held-out reviews most such "words" were never seen before, so a model
# behind it can learn almost nothing. There are programs that find the words in Chinese, but they
# make mistakes, and rare words stay unknown.
#
# ## Characters
#
# The other extreme: every character is a token. Chinese reviews use a few thousand of them, and
# English needs fewer than a hundred. Almost nothing is unknown. But look at the length.

# %%
han_test = Counter(c for text in chinese_test for c in text if not c.isspace())
han_missing = unknown_share(han_test, han_counts)
print(f"Chinese characters in the training text: {len(han_counts)}, ", end="")
print(f"unknown in held-out reviews: {han_missing:.2%}")
claim("unknown Chinese characters in held-out reviews", han_missing, "<", 0.005)
per_verse = np.mean([[len(words_of(t)), len(t)] for t in english_test], axis=0)
print("tokens in an English verse: {:.0f} words or {:.0f} characters".format(*per_verse))

# %% [markdown]
# Four times as many tokens for the same verse. Every layer works more, and a model that sees a
# fixed number of tokens sees a quarter of the text. We want frequent words as one token, and rare
# words as a few parts.
#
# ## BPE on paper
#
# **Byte pair encoding** began as data compression (Gage 1994) and came to translation with
# Sennrich, Haddow and Birch (2016). Start with single letters. Count all pairs of neighbours.
# Join the most frequent pair everywhere; the joined pair is a new token. Repeat. When two pairs
# are equally frequent, a rule must decide. Ours: the pair that comes first in the alphabet.
#
# Our corpus has four words: *sing* 4 times, *singer* 2, *king* 5, *ring* 3. Take a pencil and find
# the first two joins, then run the cell.


# %%
def join(parts, pair):
    """Replace every occurrence of a pair, from the left, by one joined part."""
    out, i = [], 0
    while i < len(parts):
        found = tuple(parts[i : i + 2]) == pair
        out.append(parts[i] + parts[i + 1] if found else parts[i])
        i += 2 if found else 1
    return out


corpus = {"sing": 4, "singer": 2, "king": 5, "ring": 3}
cut = {word: list(word) for word in corpus}
toy_merges = []
while any(len(parts) > 1 for parts in cut.values()):
    pairs = Counter()
    for word, parts in cut.items():
        for pair in pairwise(parts):
            pairs[pair] += corpus[word]
    best = min(pairs, key=lambda pair: (-pairs[pair], pair))
    toy_merges.append(best)
    cut = {word: join(parts, best) for word, parts in cut.items()}
    print(f"{best[0]:>4} + {best[1]:3} {pairs[best]:3d} times  ", *map("·".join, cut.values()))

# %% [markdown]
# First *i + n*, tied with *n + g* at 14, then *in + g*. Seven joins, and each word is one token.
# The list of joins, **in this order**, is the tokenizer. A new word is cut by applying them in
# the same order:

# %%
for word in ["ringer", "kings", "gin", "größe"]:
    parts = list(word)
    for pair in toy_merges:
        parts = join(parts, pair)
    print(f"{word:8}", "·".join(parts))
claim("joins until each word is one token", len(toy_merges), "==", 7, exact=True)
claim("the first join is i + n", toy_merges[0] == ("i", "n"), "==", True, exact=True)

# %% [markdown]
# *ringer* was never seen, and comes out as *ring·er*, its real parts. Only letters that the
# corpus does not have, as in *größe*, would still be unknown.
#
# ## BPE on bytes, in 80 lines
#
# Start from the 256 bytes instead of letters, and this hole is closed: every text consists of
# them (Radford et al. 2019, section 2.2). We now write it for real corpora. Four decisions must be
# those of the `tokenizers` library, or the ids will differ. The first two come from GPT-2:
#
# 1. The text is first cut by a pattern, and no token crosses a cut. A space belongs to the word
#    after it. Letters, digits and other signs do not share a token (English *'s* and the like do).
# 2. Ids 0 to 255 are the bytes, printable ones first.
# 3. Ties: the pair with the smaller ids wins, the left id first.
# 4. Words are counted once. After a join only the words that contain it are looked at again.


# %%
def split(text):
    """Cut into words, each with the space before it."""
    pattern = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    return regex.findall(pattern, text)


def byte_tokens():
    """The 256 bytes, those with a printable sign in Latin-1 first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [bytes([byte]) for byte in printable + others]


def merge(ids, pair, new):
    """Replace every occurrence of a pair, from the left, by the id `new`."""
    out, i = [], 0
    while i < len(ids):
        found = i + 1 < len(ids) and ids[i] == pair[0] and ids[i + 1] == pair[1]
        out.append(new if found else ids[i])
        i += 2 if found else 1
    return out


# %% [markdown]
# Training keeps, for each pair, its count and the words it stands in. A heap hands out the most
# frequent pair without looking at all of them. Its entries grow old, because later joins use up
# pairs, so each is compared with the true count when it comes out.


# %%
def train_bpe(texts, size):
    """Tokens (bytes, by id) and joins (left id, right id, new id) learned from texts."""
    tokens = byte_tokens()
    id_of = {token: i for i, token in enumerate(tokens)}
    counts = Counter(word for text in texts for word in split(text))
    words = [[id_of[bytes([byte])] for byte in word.encode()] for word in counts]
    times = list(counts.values())
    pairs, places = Counter(), defaultdict(set)
    for n, word in enumerate(words):
        for pair in pairwise(word):
            pairs[pair] += times[n]
            places[pair].add(n)
    heap, merges = sorted((-count, pair) for pair, count in pairs.items()), []
    while heap and len(tokens) < size:
        count, pair = heapq.heappop(heap)
        if -count != pairs[pair]:  # an old entry: put it back with the true count
            if pairs[pair] > 0:
                heapq.heappush(heap, (-pairs[pair], pair))
            continue
        joined = tokens[pair[0]] + tokens[pair[1]]
        new = id_of.setdefault(joined, len(tokens))
        tokens += [joined] * (new == len(tokens))
        merges.append((*pair, new))
        update(words, times, pairs, places, heap, pair, new)
    return tokens, merges


# %% [markdown]
# `update` goes to the words that hold the pair. It takes their pairs out of the counts, joins, and
# counts the new pairs.


# %%
def update(words, times, pairs, places, heap, pair, new):
    """Join one pair in all the words that hold it, and keep the counts right."""
    fresh = set()
    for n in places.pop(pair):
        for old in pairwise(words[n]):
            pairs[old] -= times[n]
        words[n] = merge(words[n], pair, new)
        for now in pairwise(words[n]):
            pairs[now] += times[n]
            if new in now:
                places[now].add(n)
                fresh.add(now)
    for now in fresh:
        heapq.heappush(heap, (-pairs[now], now))


# %% [markdown]
# Encoding follows the rule of the toy: among the pairs of a word, the join that was learned first
# goes first. Decoding needs no rule: the bytes of the tokens, one after the other.


# %%
def encode(text, tokens, merges):
    """The ids of a text."""
    id_of = {token: i for i, token in enumerate(tokens[:256])}
    rank = {(left, right): (n, new) for n, (left, right, new) in enumerate(merges)}
    ids = []
    for word in split(text):
        part = [id_of[bytes([byte])] for byte in word.encode()]
        while known := [pair for pair in pairwise(part) if pair in rank]:
            first = min(known, key=rank.get)
            part = merge(part, first, rank[first][1])
        ids += part
    return ids


def decode(ids, tokens):
    """The text of ids: their bytes, one after the other."""
    return b"".join(tokens[i] for i in ids).decode("utf-8", errors="replace")


# %% [markdown]
# Now train on English and Chinese together, and train the library on the same lines.

# %%
program = [split, byte_tokens, merge, train_bpe, update, encode, decode]
lines_of_code = sum(len(inspect.getsource(function).rstrip().splitlines()) for function in program)
claim("lines of our BPE", lines_of_code, "<=", 80, exact=True)

mixed = english_train[:OUR_LINES] + chinese_train[:OUR_LINES]
tokens, merges = train_bpe(mixed, OUR_SIZE)
library = tokenizers.Tokenizer(models.BPE())
library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
library.decoder = tokenizers.decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(vocab_size=OUR_SIZE, initial_alphabet=alphabet, show_progress=False)
library.train_from_iterator(mixed, trainer)
for left, right, new in merges[:4] + merges[-4:]:
    print(new, tokens[left], "+", tokens[right], "=", repr(decode([new], tokens)))

# %% [markdown]
# The library spells a byte as a printable sign (a space is "Ġ"); we spell ours the same way to
# compare. Then every id of held-out lines in both languages.

# %%
sign = dict(zip(byte_tokens(), sorted(alphabet), strict=True))  # both: printable ones first


def spelled(token):
    return "".join(sign[bytes([byte])] for byte in token)


theirs = [tuple(pair) for pair in json.loads(library.to_str())["model"]["merges"]]
ours = [(spelled(tokens[left]), spelled(tokens[right])) for left, right, _ in merges]
different = sum(a != b for a, b in zip(ours, theirs, strict=True))
print(f"{len(ours)} joins, for example", *(a + " + " + b for a, b in ours[5:9]), sep="   ")
claim("joins that differ from the library's", different, "==", 0, exact=True, headline=True)

lines = english_test[:150] + chinese_test[:150] + film_test[:150]
wrong = sum(encode(t, tokens, merges) != library.encode(t).ids for t in lines)
print("held-out lines encoded by both:", len(lines))
claim("lines whose ids differ from the library's", wrong, "==", 0, exact=True)

# %% [markdown]
# Not similar: equal. The first joins are frequent parts of English, beside the two bytes that begin
# many Chinese signs. The last ones are whole Chinese words.
#
# ## There and back again
#
# A tokenizer that loses text cannot serve a model that writes. The library is the faster of the
# two equals, so it takes the long test: every line to ids, ids to text, and text to ids again.
# Some strings of random code points come last, most of them from no language at all.

# %%
rng = np.random.default_rng(0)
chosen = {
    "English": rng.permutation(bible["text"])[:TRIPS].tolist(),
    "Chinese": rng.permutation(chinese["text"])[:TRIPS].tolist(),
}
points = np.setdiff1d(np.arange(0x110000), np.arange(0xD800, 0xE000))  # without surrogates
chosen["random"] = ["".join(map(chr, row)) for row in rng.choice(points, (500, 20))]
for name, texts in chosen.items():
    ids = [line.ids for line in library.encode_batch(texts)]
    back = library.decode_batch(ids)
    again = [line.ids for line in library.encode_batch(back)]
    lost = sum(a != b for a, b in zip(texts, back, strict=True))
    lost += sum(a != b for a, b in zip(ids, again, strict=True))
    print(f"{len(texts):,} lines of {name}")
    claim(f"{name}: lines that change on the way", lost, "==", 0, exact=True)
ours_lost = sum(decode(encode(t, tokens, merges), tokens) != t for t in chosen["random"][:100])
claim("random lines that our own BPE changes", ours_lost, "==", 0, exact=True)

# %% [markdown]
# Nothing changed. One direction has a limit, though. Ids that did *not* come from a text need not
# return. A model that writes ids one by one can produce both cases below: another spelling of the
# same word, or half a character.

# %%
the = encode("the", tokens, merges)
letters = [tokens.index(bytes([byte])) for byte in b"the"]
print("ids of 'the':", the, "  letter by letter:", letters, "->", decode(letters, tokens))
han = [tokens.index(bytes([byte])) for byte in "你".encode()]
print("three bytes:", decode(han, tokens), "  two of the three:", decode(han[:2], tokens))

# %% [markdown]
# The sign `�` (U+FFFD) says "no valid UTF-8". A program that shows text while it is being written
# waits for the missing byte.
#
# ## What a vocabulary buys
#
# From here on we use `kerasllm.text`, which wraps the library. Its special token `<pad>` has id 0,
# so all other ids are one higher than ours. First the proof that it is the same tokenizer; then
# three larger ones: English, Chinese, and both.

# %%
twin = kerasllm_text.train_bpe(mixed, OUR_SIZE + 1)
apart = sum([i - 1 for i in twin.encode(t)] != encode(t, tokens, merges) for t in lines)
claim("lines whose ids differ from kerasllm.text", apart, "==", 0, exact=True)
with tempfile.TemporaryDirectory() as folder:
    twin.save(f"{folder}/tokenizer.json")
    loaded = kerasllm_text.Tokenizer.load(f"{folder}/tokenizer.json")
pairs_of_ids = zip(twin.encode_batch(lines), loaded.encode_batch(lines), strict=True)
changed = sum(a != b for a, b in pairs_of_ids)
claim("lines that differ after save and load", changed, "==", 0, exact=True)

trained = {
    "English": kerasllm_text.train_bpe(english_train, SIZE),
    "Chinese": kerasllm_text.train_bpe(chinese_train, SIZE),
    "both": kerasllm_text.train_bpe(english_train + chinese_train, SIZE),
}
print("vocabularies:", {name: bpe.vocabulary_size for name, bpe in trained.items()})

# %% [markdown]
# A useful fact: the first $n$ tokens of a BPE are the BPE of size $n$. So one training gives the
# whole curve. The measure is tokens for each character of held-out text; fewer is cheaper. (A
# large vocabulary costs too: each token needs a row in `Embedding`, and a rare token is seldom
# trained.)


# %%
def smaller(bpe, size):
    """The same BPE, stopped when it had `size` tokens."""
    state = json.loads(bpe.to_json())
    kept = {token: i for token, i in state["model"]["vocab"].items() if i < size}
    joins = [pair for pair in state["model"]["merges"] if "".join(pair) in kept]
    state["model"] |= {"vocab": kept, "merges": joins}
    return kerasllm_text.Tokenizer.from_json(json.dumps(state))


def tokens_per_character(bpe, texts):
    return sum(map(len, bpe.encode_batch(texts))) / sum(map(len, texts))


middle_size = (257 + OUR_SIZE) // 2
at_once = kerasllm_text.train_bpe(mixed, middle_size).vocabulary
unequal = sum(a != b for a, b in zip(smaller(twin, middle_size).vocabulary, at_once, strict=True))
claim("tokens that differ from a BPE trained to that size", unequal, "==", 0, exact=True)

# %%
tests = {"English": english_test[:500], "Chinese": chinese_test[:500]}
budgets = [257, *(s for s in (512, 1024, 2048, 4096, 8192) if s <= SIZE)]
curves = {}
for name, bpe in trained.items():
    cut = [smaller(bpe, size) for size in budgets]
    for language, texts in tests.items():
        curves[name, language] = [tokens_per_character(one, texts) for one in cut]

# %%
figure, panels = plt.subplots(1, 2, figsize=(8, 3.4))
for ax, language in zip(panels, tests, strict=True):
    for name, color in [("English", BLUE), ("Chinese", ORANGE), ("both", GREEN)]:
        ax.plot(budgets, curves[name, language], "o-", color=color, label=f"trained on {name}")
    ax.axhline(1, color="0.5", ls="--", lw=1)
    ax.text(budgets[-1], 1.03, "characters", color="0.4", ha="right", fontsize=9)
    ax.set(xscale="log", xticks=budgets, xticklabels=budgets, ylim=(0, 3.2))
    ax.minorticks_off()
    ax.tick_params(axis="x", labelsize=8)
    ax.set(xlabel="tokens in the vocabulary", title=f"Held-out {language}")
panels[0].set_ylabel("tokens for each character")
panels[0].legend(loc="upper left")
show(
    figure,
    "Tokens per character against vocabulary size. On English all curves fall below one. On Chinese"
    " the BPE trained on English stays near three at every size, the others fall below one.",
)

# %%
bytes_only = smaller(trained["both"], 257)
texts = {"English": english_test, "films": film_test, "Chinese": chinese_test}
rows = {}
for name, bpe in {"bytes": bytes_only, **trained}.items():
    used = {key: sum(map(len, bpe.encode_batch(value))) for key, value in texts.items()}
    rows[name] = {
        "Bible, per word": used["English"] / held_out["held-out books"].total(),
        "films, per word": used["films"] / held_out["film reviews"].total(),
        "Chinese, per character": used["Chinese"] / sum(map(len, chinese_test)),
    }
fertility = pd.DataFrame(rows).T
print("tokens needed, by what the BPE was trained on:")
print(fertility.round(2).to_string())
price = fertility["Chinese, per character"]
claim("tokens per Chinese character, BPE of English", price["English"], ">", 2.7)
claim("tokens per Chinese character, BPE of both", price["both"], "<", 0.8)
extra = fertility.loc["both", "Bible, per word"] / fertility.loc["English", "Bible, per word"]
claim("what English pays for sharing, a factor", extra, "<", 1.2)
has_unknown = sum(bpe.unknown_id is not None for bpe in trained.values())
claim("byte-level vocabularies that need an unknown token", has_unknown, "==", 0, exact=True)

# %% [markdown]
# The number of tokens for each word is called **fertility**. A BPE that learned English alone cuts
# a Chinese character into nearly three tokens, its bytes. It works, and the text comes back, but
# everything costs about four times as much as with the shared vocabulary: time, memory, and money
# where a service is paid by the token. English pays about a tenth for sharing. Petrov et al. (2023)
# found differences up to 15 times between languages in tokenizers in use.
#
# Is that a matter of one corpus? The next cells take the same verses in six languages, all of the
# five held-out books, from public-domain versions. John 1:1 is printed, so that you can check it.
# (Chinese is in the traditional characters of 1919. The Spanish *EN* stands so in the archive.)

# %%
six = ["english", "german", "french", "spanish", "russian", "chinese"]
union = load("chinese-bible").rename(columns={"label": "book"}).assign(language="chinese")
bibles = pd.concat([load("parallel-bible").rename(columns={"label": "language"}), union])
bibles = bibles[bibles["split"] == "test"]
verses = bibles.pivot(index=["book", "chapter", "verse"], columns="language", values="text")
verses = verses[six].dropna()  # a few verses are joined in one version
for language in six:
    print(f"{language:8}", verses.loc[("John", 1, 1), language])
per_verse = {"characters": {language: verses[language].map(len).mean() for language in six}}
per_verse["bytes"] = {language: np.mean([len(t.encode()) for t in verses[language]]) for language in six}
for name in ["English", "both"]:
    used = {language: trained[name].encode_batch(verses[language]) for language in six}
    per_verse[f"BPE of {name}"] = {language: np.mean([*map(len, ids)]) for language, ids in used.items()}
per_verse = pd.DataFrame(per_verse)
print(f"\nmeans over {len(verses):,} verses:")
print(per_verse.round(1).to_string())

# %%
figure, ax = plt.subplots(figsize=(8, 3))
place = np.arange(len(six))
for shift, (name, color) in zip([-0.2, 0.2], [("English", BLUE), ("both", GREEN)], strict=True):
    cost = per_verse[f"BPE of {name}"]
    ax.barh(place + shift, cost, 0.38, color=color, label=f"BPE trained on {name}")
ax.plot(per_verse["characters"], place, "k|", ms=14, mew=2, label="characters")
ax.set(yticks=place, yticklabels=[language.capitalize() for language in six])
ax.set(xlabel="tokens in a verse, on average", title="The same verses in six languages")
ax.invert_yaxis()
ax.grid(axis="y", visible=False)
ax.legend(loc="upper right")
show(
    figure,
    "Bars for six languages. English verses need the fewest tokens of the English BPE, German, French"
    " and Spanish about twice as many, Chinese three times, Russian six times. The BPE trained on both"
    " helps Chinese a lot, and no other language.",
)
against = per_verse["BPE of English"] / per_verse["BPE of English"]["english"]
claim("Russian against English, a factor", against["russian"], ">", 5)
claim("German, French, Spanish against English, largest factor", against[1:4].max(), "<", 2.7)
each = per_verse["BPE of English"]["russian"] / per_verse["bytes"]["russian"]
claim("tokens for each Russian byte", each, "==", 1, tolerance=0.005, exact=True)
gain = per_verse["BPE of English"]["chinese"] / per_verse["BPE of both"]["chinese"]
claim("what Chinese training saves on Chinese verses, a factor", gain, ">", 2)

# %% [markdown]
# Nobody says more here than the others: it is the same verse. Languages in Latin letters profit from
# English parts and pay about twice the price. Russian pays one token for each byte, two for a
# letter. Chinese has the fewest characters and pays three times the English price. The shared BPE
# helps Chinese alone, and less than in the reviews: these are in simplified characters, and a
# traditional character is another code point. Lesson 22 returns to this.
#
# ## WordPiece, and four cuts of one sentence
#
# BERT uses **WordPiece** (Schuster and Nakajima 2012; Wu et al. 2016). Its tokens look like those
# of BPE; parts inside a word carry the mark `##`. Two things differ. Encoding does not replay
# joins. It takes the longest piece that fits, from the left, and if none fits, the whole word is
# `<unk>`. And training picks another pair: the one whose join raises the likelihood of the text
# most. When tokens count as independent, joining $a$ and $b$ gains about
# $n_{ab} \log \frac{n_{ab} N}{n_a n_b}$, where $n$ are counts and $N$ is the number of tokens.
#
# > **Myth:** WordPiece joins the pair with the largest $n_{ab} / (n_a n_b)$.
# >
# > **Fact:** this score leaves out the factor $n_{ab}$ and prefers rare pairs. The paper of 2012
# > asks for likelihood. The trainer of the `tokenizers` library uses plain counts, as BPE does.

# %%
letters, pairs = Counter(), Counter()
for word, count in corpus.items():
    for letter in word:
        letters[letter] += count
    for pair in pairwise(word):
        pairs[pair] += count
N = letters.total()
ratio = {(a, b): n / (letters[a] * letters[b]) for (a, b), n in pairs.items()}
gain = {(a, b): n * np.log(n * N / (letters[a] * letters[b])) for (a, b), n in pairs.items()}
print("pair   count   ratio   gain")
for pair in sorted(pairs, key=lambda pair: -pairs[pair]):
    print(f"{pair[0]} + {pair[1]}  {pairs[pair]:4d}   {ratio[pair]:.3f}   {gain[pair]:4.1f}")
small = kerasllm_text.train_wordpiece([" ".join([w] * n) for w, n in corpus.items()], 18)
print("the library's pieces, in the order of training:", small.vocabulary[11:])
by_ratio, by_gain = max(ratio, key=ratio.get), max(gain, key=gain.get)
claim("the ratio would start with e + r", by_ratio == ("e", "r"), "==", True, exact=True)
claim("counts and likelihood start with i + n", by_gain == ("i", "n"), "==", True, exact=True)

# %% [markdown]
# By count and by likelihood *i + n* goes first, by ratio a pair that occurs twice. Now the encoder,
# checked against the library on every word of the film reviews that the Bible does not have.


# %%
def wordpiece(word, vocabulary):
    """The longest piece that fits, again and again; <unk> for a word that cannot be cut."""
    pieces, start = [], 0
    while start < len(word):
        mark = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((e for e in ends if mark + word[start:e] in vocabulary), None)
        if end is None:
            return ["<unk>"]
        pieces.append(mark + word[start:end])
        start = end
    return pieces


pieces = kerasllm_text.train_wordpiece(english_train, SIZE, lower=True)
known = set(pieces.vocabulary)
new_words = [w for w in held_out["film reviews"] if w not in word_counts]
unlike = sum(wordpiece(w, known) != pieces.tokens(w) for w in new_words)
print(f"{len(new_words)} words of film reviews that the Bible does not have, for example:")
for word in new_words[:3]:
    print("  ", word, "->", *wordpiece(word, known))
claim("words that the library cuts otherwise", unlike, "==", 0, exact=True)

# %%
film_counts = Counter(w for text in take(films, "train") for w in words_of(text))
film_words = {w for w, _ in film_counts.most_common(SIZE)}
by_words, by_pieces = {}, {}
for name in ["held-out books", "film reviews"]:
    counts = held_out[name]
    cannot = {w for w in counts if "<unk>" in wordpiece(w, known)}
    by_words[name] = unknown_share(counts, set(ranked[:SIZE]))
    by_pieces[name] = unknown_share(counts, counts.keys() - cannot)
    print(f"{name:15} words {by_words[name]:6.2%}   WordPiece {by_pieces[name]:.2%}   BPE none")
print("what WordPiece cannot cut:", *sorted(cannot, key=counts.get, reverse=True)[:12])
at_home = unknown_share(held_out["film reviews"], film_words)
claim("film reviews, words learned from film reviews: unknown", at_home, ">", 0.05)
pieces_lost = by_pieces["film reviews"]
claim("film reviews, WordPiece learned from the Bible: unknown", pieces_lost, "<", at_home / 5)
claim("held-out books: unknown to WordPiece", by_pieces["held-out books"], "<", 0.0005)

# %% [markdown]
# Pieces learned from another kind of text lose less than words learned from the same kind. What
# remains are signs that the Bible never uses. BPE on bytes has no `<unk>` at all.
#
# The figure cuts one sentence four ways. All four tokenizers learned from the same verses. The
# number on the right is the cost.

# %%
sentence = "An unwatchable film, but beautifully shot."
known_words = set(ranked[: SIZE - 1])
cuts = {
    "words": [w if w.lower() in known_words else "<unk>" for w in words_of(sentence)],
    "WordPiece": pieces.tokens(sentence),
    "BPE": [trained["English"].decode([i]) for i in trained["English"].encode(sentence)],
    "characters": list(sentence),
}
bpe, han = trained["both"], "我很喜欢这本书，印刷也好。"
print("Chinese, BPE of both:   ", "|".join(bpe.decode([i]) for i in bpe.encode(han)))
bpe = trained["English"]
print("Chinese, BPE of English:", "|".join(bpe.decode([i]) for i in bpe.encode(han)))

# %%
figure, ax = plt.subplots(figsize=(8, 2.5))
for row, (name, parts) in enumerate(cuts.items()):
    x, middle = 0, {"ha": "center", "va": "center", "family": "monospace"}
    for k, part in enumerate(parts):
        width = len(part) + 0.4
        color = RED if part == "<unk>" else [SKY, YELLOW][k % 2]
        ax.add_patch(plt.Rectangle((x, -row), width - 0.15, 0.7, color=color, alpha=0.6, lw=0))
        shown = part.replace(" ", "␣")
        ax.text(x + width / 2, 0.35 - row, shown, **middle, fontsize=7)
        x += width
    ax.text(-1, 0.35 - row, name, ha="right", va="center", fontsize=9)
    ax.text(x + 1, 0.35 - row, f"{len(parts)}", ha="left", va="center", fontweight="bold")
ax.set(xlim=(-10, 66), ylim=(-3.1, 0.9))
ax.set_title("One sentence, four tokenizers, and the number of tokens")
ax.axis("off")
show(
    figure,
    "A sentence in coloured boxes, one box a token. Words: few tokens, some of them unknown."
    " WordPiece and BPE: about twice as many parts, none unknown. Characters: one token for each letter.",
)

# %% [markdown]
# Red is lost for ever. WordPiece and BPE keep every letter. BPE keeps the spaces and the capital
# too, which is why only BPE and characters give the text back. The parts are frequent strings, not
# always the parts that a grammar would name. In Chinese the shared BPE found words by itself:
# nobody told it where they end. In the last line each `�` is one byte of a character.
#
# A third family, SentencePiece (Kudo and Richardson 2018), does not cut at spaces first and treats
# the space as a sign like any other. You will meet it in models for many languages.
#
# ## One library, two names
#
# This project installs `keras-nlp` and imports `keras_hub`, where lesson 12 takes its perplexity
# from. It is one library under its first and its present name: the package `keras-nlp` brings
# `keras-hub`, as its own list of requirements shows.

# %%
for line in requires("keras-nlp"):
    print("keras-nlp requires", re.split(r"[=<>~]", line)[0])

# %% [markdown]
# ## Summary
#
# 1. A character is a grapheme, a code point or one to four bytes. Normalise with NFC; NFKC and
#    lower-casing destroy differences that can matter.
# 2. Word vocabularies always miss words, and cutting at spaces fails for Chinese. An `Embedding`
#    needs integer ids.
# 3. BPE joins the most frequent pair again and again. On bytes nothing is unknown, and the text
#    comes back exactly.
# 4. A language that the training text lacks costs one token for each byte: three for a Chinese
#    character.
# 5. WordPiece takes the longest piece that fits; it loses spaces, and words with unknown signs.
#
# ## Exercises
#
# [exercises/08_text_to_tokens.ipynb](exercises/08_text_to_tokens.ipynb): count words that look
# alike, do one step of BPE, encode with given joins, put WordPiece back together, and choose a
# vocabulary for a given share of unknown words, where the last answer may surprise you.
#
# ## References
#
# - Gage, P. (1994). A new algorithm for data compression. *The C Users Journal* 12(2), 23–38.
# - Sennrich, R., Haddow, B., and Birch, A. (2016). Neural machine translation of rare words with
#   subword units. *ACL*. Section 3.2: BPE on letters.
# - Radford, A., Wu, J., Child, R., Luan, D., Amodei, D., and Sutskever, I. (2019). Language models
#   are unsupervised multitask learners. OpenAI. Section 2.2: BPE on bytes.
# - Schuster, M., and Nakajima, K. (2012). Japanese and Korean voice search. *ICASSP*. WordPiece.
# - Wu, Y., and others (2016). Google's neural machine translation system. arXiv:1609.08144.
#   Section 4.1: WordPiece in translation.
# - Kudo, T., and Richardson, J. (2018). SentencePiece: a simple and language independent subword
#   tokenizer and detokenizer for neural text processing. *EMNLP*, system demonstrations.
# - Petrov, A., La Malfa, E., Torr, P., and Bibi, A. (2023). Language model tokenizers introduce
#   unfairness between languages. *NeurIPS*.
# - The Unicode Consortium. *Unicode Standard Annex 15*, normalization forms; *Annex 29*, text
#   segmentation.
# - Zipf, G. K. (1949). *Human Behavior and the Principle of Least Effort*. Addison-Wesley.
