# %% [markdown] tags=["edition-2"]
# # 10 · A bag of embeddings
#
# **How much of an opinion is in the words alone?**
#
# **You need** lesson 02 (logistic regression and cross-entropy, also in Keras), lesson 03 (XOR), lesson 06 (early
# stopping), lesson 07 (paired tests and standard errors), lesson 08 (tokens, padding, masks) and lesson 09
# (embeddings).
#
# **You will build** two classifiers of opinions, one that counts words and one that takes the mean of word
# vectors, from a CSV file to a saved model that answers strings. You will measure what the order of
# neighbouring words adds, in English and in Chinese.
#
# **Time** about 3 minutes to run on a laptop with 2 cores, and 40 minutes to read.

# %% tags=["hide"]
# @title Imports
import tempfile
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from keras import ops
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from kerasllm import text
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import curves, show, use_style
from kerasllm.course.palette import GREY, SIGNED, color, text_on
from kerasllm.data import load
from kerasllm.models import BagOfEmbeddings
from kerasllm.tasks import TextClassifier

use_style()

# %%
SEEDS = dial((0, 1, 2), smoke=(0,))  # repetitions with other random numbers
EPOCHS = dial(12, smoke=1)  # passes over the training texts at most
DIM = dial(32, smoke=8)  # numbers in the vector of a token
PARTS = dial(500, smoke=300)  # tokens when English words are cut into parts
EVERY = dial(1, smoke=12)  # 1 takes every text, 12 every twelfth
LENGTH = dial({"English": 64, "Chinese": 128}, smoke={"English": 24, "Chinese": 24})  # tokens of a text that are read

# %% [markdown]
# ## A sentence from a bag
#
# Somebody has put the words of three film reviews into a bag each and shaken it. What comes out is printed
# below. Is the writer pleased or not? Write down three answers before you go on, and how sure you are.

# %%
reviews = [
    "Even the digressions are funny.",
    "There's no reason to miss Interview with the Assassin",
    "By no means a great movie, but it is a refreshingly forthright one.",
]
for number, review in enumerate(reviews, start=1):
    print(number, " ".join(np.random.default_rng(number).permutation(review.lower().split())))

# %% [markdown]
# The first is easy and the second is hard. A reader of bags sees *no*, *reason* and *miss*, and must guess what
# refers to what. (The answers come near the end, beside those of a model.) This lesson asks how often such a
# reader is right. The control is a reader who sees something of the order as well: pairs of neighbouring words.
#
# ## From a file to texts
#
# Your own data will often be a CSV file, a table as text with commas between its columns. Reviews contain
# commas too, and a text with commas stands in quotation marks. So a line must not be cut at its commas:
# leave it to pandas. One trap is silent. Unless told otherwise, pandas takes some words, such as *None* and
# *NA*, for missing values, and a review of that one word is lost.

# %%
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "snippets.csv"
load("movie-snippets").iloc[::EVERY].to_csv(path, index=False)
lines = path.read_text("utf-8").splitlines()
print(lines[0], lines[1][:66] + "...", sep="\n")
print(f"{np.mean([line.count(',') != 2 for line in lines]):.0%} of the lines do not fall into three parts at commas")

snippets = pd.read_csv(path, keep_default_na=False)  # text, label, split
print(snippets.groupby(["split", "label"]).size().unstack())

# %% [markdown]
# The tokens are lower-case words here, and characters in Chinese, which is written without spaces. The
# tokenizer keeps what stands at least twice in the training texts. So the words that stand there once become
# `<unk>`, and this token is trained like any other. (If every training word were kept, `<unk>` would meet its
# first text in the test part, with a vector that is still random.) Every text is cut once, at the same length
# for all models of this lesson, and everybody gets these rows of tokens and nothing else.


# %%
def read_rows(frame, length, train=text.train_words, size=30_000, **options):
    """The tokenizer, and for each part of the data its rows of tokens and its labels."""
    parts = {part: frame[frame["split"] == part] for part in ("train", "validation", "test")}
    tokenizer = train(parts["train"]["text"], size, lower=True, **options)
    rows, labels = {}, {}
    for part, one in parts.items():
        rows[part] = [[tokenizer.vocabulary[i] for i in ids[:length]] for ids in tokenizer.encode_batch(one["text"])]
        labels[part] = (one["label"] == "positive").to_numpy(int)
    return tokenizer, rows, labels


frames = {"English": snippets, "Chinese": load("chinese-reviews").iloc[::EVERY]}
sets = {language: read_rows(frame, LENGTH[language], minimum_count=2) for language, frame in frames.items()}
for language, (tokenizer, rows, labels) in sets.items():
    n, majority = len(labels["test"]), max(labels["test"].mean(), 1 - labels["test"].mean())
    print(f"{language}: {tokenizer.vocabulary_size:,} tokens; {n:,} test texts, {majority:.3f} of one label;",
          f"an accuracy of 0.8 has a standard error of {(0.8 * 0.2 / n) ** 0.5:.3f}")  # fmt: skip
    print("  ", " | ".join(rows["train"][3][:14]))

# %% [markdown]
# ## Count the words
#
# The first reader counts. A **bag of words** is a text of which only this is kept: how often each word stands
# in it. But *film* stands in every second review and says little, so its count should weigh less than that of
# *dull*. **TF-IDF** (Salton and Buckley 1988) multiplies the count of a word in the text, the *term frequency*,
# by a number that is larger for rare words, the *inverse document frequency*
#
# $$ \mathrm{idf} = \ln \frac{1 + n}{1 + \mathrm{df}} + 1, $$
#
# where $n$ is the number of texts and $\mathrm{df}$ the number of texts that hold the word. (The ones inside the
# fraction act like one more text that holds every word, so that nothing is divided by zero. The one outside keeps a
# little of a word that stands in every text.) Then each row is
# divided by its length, the root of the sum of its squares, so that long texts are not louder than short ones.
#
# On paper: three texts, "good film", "bad film" and "good good fun". The words *film* and *good* stand in two
# of them, so their idf is $\ln(4/3) + 1 = 1.288$. The words *bad* and *fun* stand in one, so theirs is
# $\ln 2 + 1 = 1.693$. The third text has $2 \times 1.288$ for *good* and $1.693$ for *fun*. What is its length, and
# which two numbers remain?

# %%
toy = ["good film", "bad film", "good good fun"]
words = sorted(set(" ".join(toy).split()))
counts = np.array([[line.split().count(word) for word in words] for line in toy])  # (texts, words)
idf = np.log((1 + len(toy)) / (1 + (counts > 0).sum(axis=0))) + 1  # (words,)
lengths = np.linalg.norm(counts * idf, axis=1, keepdims=True)  # (texts, 1)
by_hand = counts * idf / lengths
print("lengths:", lengths[:, 0].round(3))
print(pd.DataFrame(by_hand.round(3), index=toy, columns=words))
assert np.allclose(by_hand, TfidfVectorizer().fit_transform(toy).toarray())  # scikit-learn has it ready


def count_reader(rows, labels, columns):
    """TF-IDF and logistic regression, with C chosen on validation: is each test text judged right?"""
    tfidf = TfidfVectorizer(analyzer=lambda row: row, vocabulary=columns, sublinear_tf=True)
    tfidf.fit(rows["train"])
    X = {part: tfidf.transform(rows[part]) for part in rows}
    tried = [LogisticRegression(C=C, max_iter=1_000).fit(X["train"], labels["train"]) for C in (1, 3, 10)]
    best = max(tried, key=lambda model: model.score(X["validation"], labels["validation"]))
    return best.predict(X["test"]) == labels["test"]


# %% [markdown]
# Logistic regression (lesson 02) then learns one weight for each word. `C` says how freely it may do so: a large
# `C` means little L2 regularisation (lesson 06). `sublinear_tf` replaces a count by $1 + \ln$ of the count,
# because a word that stands three times is not three times as telling.
#
# ## The mean of vectors
#
# The second reader uses embeddings (lesson 09). Each token has a vector, and a text of any length must
# become one vector. To make one vector of many is called **pooling**, and the simplest pooling is the mean:
#
# $$ m = \frac{1}{N} \sum_{t\,:\,w_t \ne 0} e_{w_t}, \qquad z = W m + b. $$
#
# Here $e_{w_t}$ is the vector of the token at place $t$, $N$ the number of real tokens and $z$ the two logits.
# The condition $w_t \ne 0$ is the mask: padding is no word and must not count. The matrix $W$ has one row for
# each of the two answers. This model is a **bag of
# embeddings** (Iyyer et al. 2015; Joulin et al. 2017). In the drawing, purple parts are trained.

# %% tags=["hide"]
# @title Drawing: a bag of embeddings
sheet = Diagram(8, 3.0)
for i, word in enumerate(["not", "a", "good", "film", "[pad]"]):
    x = 0.75 + 0.95 * i
    token = sheet.box(word, (x, 0.35), width=0.72)
    padding = word == "[pad]"
    vector = sheet.vector((x, 1.3), meaning="given" if padding else "weights")
    sheet.arrow(token.top, (x, vector.bottom[1] - 0.02))
    if padding:
        sheet.text((x, 1.85), "masked:\nnot in the mean", meaning=GREY, size=8.5)
    else:
        sheet.arrow((x, vector.top[1] + 0.02), (5.55, 2.45), through=[(x, 2.45)], meaning="state", width=1.2)
sheet.text((4.95, 1.3), "vectors from the table", meaning="weights", size=9, align="left")
mean = sheet.vector((5.75, 2.45), meaning="state")
sheet.text((5.75, 1.93), "mean", meaning="state", size=9)
dense = sheet.box("W, b", (6.65, 2.45), meaning="weights", width=0.7)
logits = sheet.vector((7.5, 2.45), 2, meaning="output")
sheet.text((7.5, 2.08), "two logits", meaning="output", size=9)
sheet.arrow((mean.right[0] + 0.03, 2.45), dense.left)
sheet.arrow(dense.right, (logits.left[0] - 0.03, 2.45))
show(sheet.figure, "Four words and one place of padding. Each word has a vector from the trained table; their mean goes"
     " through a matrix W with bias b to two logits. The vector of the padding is left out of the mean.")  # fmt: skip


# %%
class Bag(keras.Model):
    def __init__(self, tokens):
        super().__init__()
        self.embed = keras.layers.Embedding(tokens, DIM)
        self.logits = keras.layers.Dense(2)

    def call(self, ids):
        vectors = self.embed(ids)  # (batch, time, DIM)
        real = ops.cast(ops.not_equal(ids, 0), "float32")[:, :, None]  # (batch, time, 1)
        mean = ops.sum(vectors * real, axis=1) / ops.maximum(ops.sum(real, axis=1), 1)  # (batch, DIM)
        return self.logits(mean)  # (batch, 2)


# %%
toy_ids = np.array([[3, 5, 4, 0, 0], [7, 0, 0, 0, 0]])
ours, library = Bag(10), BagOfEmbeddings(10, num_classes=2, embedding_dim=DIM)
ours(toy_ids), library(toy_ids)
library.set_weights(ours.get_weights())
assert np.allclose(ours(toy_ids), library(toy_ids), atol=1e-6)  # the library's is the same
print(
    "padding moves the logits by",
    float(ops.max(ops.abs(library(toy_ids) - library(np.pad(toy_ids, ((0, 0), (0, 9))))))),
)

# %% [markdown]
# From here on we use the library's. Training stops when the validation loss has its lowest point (lesson 06),
# which comes early, because each word has many free numbers and most words are rare.


# %%
def columns_of(rows, tokenizer):
    """A number for each token; also for each pair that stands twice in the training rows."""
    counts = Counter(chain.from_iterable(rows["train"]))
    pairs = [token for token, count in counts.items() if " " in token and count >= 2]
    return {token: i for i, token in enumerate([*tokenizer.vocabulary[1:], *pairs])}  # without padding


def padded_ids(rows, columns, length=None):
    ids = [[1 + columns[token] for token in row if token in columns] for row in rows]  # 0 is padding
    return keras.utils.pad_sequences(ids, maxlen=length, padding="post")  # (texts, time)


# %%
def bag_reader(rows, labels, columns, seed, make=BagOfEmbeddings, length=None):
    """A model of vectors, stopped on validation, and whether each test text is judged right."""
    keras.utils.set_random_seed(seed)
    model = make(len(columns) + 1, 2, DIM)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    ids = {part: padded_ids(rows[part], columns, length) for part in rows}
    watch = (ids["validation"], labels["validation"])
    model.fit(ids["train"], labels["train"], 128, EPOCHS, verbose=0, validation_data=watch, callbacks=[stop])
    return model, model.predict(ids["test"], verbose=0).argmax(axis=1) == labels["test"]


# %% [markdown]
# ## One score for each word
#
# Before the experiment, look at what such a model can express. A text's answer depends on the difference of
# the two logits. With $u = W_{\text{positive}} - W_{\text{negative}}$ it is
#
# $$ z_{\text{positive}} - z_{\text{negative}} = \beta + \frac{1}{N} \sum_t u \cdot e_{w_t}, $$
#
# where $\beta$ is the difference of the two biases. So each word has *one* score, $u \cdot e_w$, wherever it
# stands, and the text gets the mean of the scores. In spite of its many weights the model is linear, like the
# reader that counts.
#
# Take a pencil, and let $\beta = 0$. Choose scores for *good*, *bad* and *not* such that "good" and "not bad" come
# out as praise, "bad" and "not good" as blame. You will not find any. "Not good" is blame only if
# *not* + *good* is below zero, and "not bad" is praise only if *not* + *bad* is above zero. So *bad* would need a
# higher score than *good*. This is the XOR of lesson 03 with words: one sum cannot solve it.
#
# Is it right to treat all places alike? A model could also give each place weights of its own: put the
# vectors of all places side by side, in place of adding them, and let one matrix read the long row. Then a word
# has a score for each place. Such a model can do more, and it knows something of the order. Do you expect it
# to be better? And will *bad* at the third place and at the ninth get similar scores? For a fair comparison
# everything else stays: padding is masked here too, and each vector is divided by the number of real tokens.


# %%
def place_by_place(tokens, classes, dim):
    ids = keras.Input((LENGTH["English"],), dtype="int32")
    real = ops.cast(ops.not_equal(ids, 0), "float32")[:, :, None]  # (batch, time, 1)
    shares = real / ops.maximum(ops.sum(real, axis=1, keepdims=True), 1)  # 1 / N at real tokens
    vectors = keras.layers.Embedding(tokens, dim)(ids) * shares  # (batch, time, dim)
    logits = keras.layers.Dense(classes)(keras.layers.Flatten()(vectors))  # weights for each place
    return keras.Model(ids, logits)


# %%
tokenizer, rows, labels = sets["English"]
columns = columns_of(rows, tokenizer)
bags, placed = [], []
for seed in SEEDS:
    bag, right = bag_reader(rows, labels, columns, seed)
    bags.append(right)
    by_place, right = bag_reader(rows, labels, columns, seed, place_by_place, LENGTH["English"])
    placed.append(right)
table, W = by_place.get_weights()[0], by_place.get_weights()[1].reshape(LENGTH["English"], DIM, 2)
scores = table @ (W[:, :, 1] - W[:, :, 0]).T  # (tokens, places)
frequent = slice(2, 1_000)  # the most frequent words
alike = np.corrcoef(scores[frequent, 2], scores[frequent, 8])[0, 1]
error_of_mean = (np.mean(bags) * (1 - np.mean(bags)) / bags[0].size) ** 0.5
print("mean:          ", *(f"{right.mean():.3f}" for right in bags), f"  standard error {error_of_mean:.3f}")
print("place by place:", *(f"{right.mean():.3f}" for right in placed))
print(f"a word's scores at the third and at the ninth place correlate at {alike:.2f}")

# %% tags=["hide"]
# @title Figure: the scores of four words at each place, from the last of the models
shown = {"bad": "control", "too": "given", "best": "subject", "funny": "output"}
figure = curves(
    np.arange(1, 21),
    {word: scores[columns[word] + 1, :20] if word in columns else scores[2, :20] for word in shown},
    title="Free to differ from place to place, the scores hardly do",
    x_label="place in the text",
    y_label="score (positive: praise)",
    colors=shown,
    size=(7.4, 3.2),
)
figure.axes[0].axhline(0, color=GREY, lw=1)
figure.axes[0].set_xticks([1, 5, 10, 15, 20])
show(figure, "Scores of bad, too, best and funny at the first twenty places. Best and funny stay above zero and bad and"
     " too below it; each line goes up and down around its own level.")  # fmt: skip

# %% [markdown]
# The model that can do more is not better: the two accuracies lie closer together than one standard error. The
# figure shows why. It was free to give a word another score at each place, and it did not use this freedom. All
# four words keep their sign at all places, and the printed correlation says the same of the thousand most frequent
# words. So the mean takes nothing away that such a model would use, and it needs one score in place of sixty-four.
# Where a word stands in the text says little about an opinion. What stands *beside* it might say more.
#
# ## The experiment: words alone, and a little order
#
# Now the question. The first reader gets the words alone. The second gets pairs of neighbours such as
# *not good* as further columns. But pairs are also *more* columns, so the model grows, and a larger model
# might be better for that reason. The control removes the order alone: each text is shaken first, in all parts
# of the data, and then cut into words and pairs. What remains between the last two is the worth of the order of
# neighbours. In Chinese the tokens are characters, and most words have two of them. Is it this, or
# is it the language, that decides what pairs are worth? The second control answers: the same English texts are cut
# into parts of words by a small BPE (lesson 08), and one more bag gets the parts alone or with their pairs.
#
# One thing is not equal. Only pairs that stand at least twice in the training texts get a column, so the number of
# columns differs. It is printed first. Then come the accuracies, one for each seed, and the differences with their
# standard errors (lesson 07). In the figure, compare "words alone" with "pairs in order" in each language, and then
# look at where the control lies.


# %%
def with_pairs(rows):
    return {part: [row + [" ".join(pair) for pair in pairwise(row)] for row in rows[part]] for part in rows}


def shaken(rows, seed):
    rng = np.random.default_rng(seed)
    return {part: [rng.permutation(row).tolist() for row in rows[part]] for part in rows}


right = {}  # (language, reader, what it sees) -> for each seed whether each test text is right
tokenizer, rows, labels = read_rows(snippets, 4 * LENGTH["English"], text.train_bpe, PARTS)
print(" | ".join(rows["test"][0][:16]))
for name, one in {"words": rows, "pairs": with_pairs(rows)}.items():  # "words" are the tokens alone
    right["English parts", "bag", name] = [bag_reader(one, labels, columns_of(one, tokenizer), SEEDS[0])[1]]


# %%
for language, (tokenizer, rows, labels) in sets.items():
    for seed in SEEDS:
        seen = {"words": rows, "pairs, shaken": with_pairs(shaken(rows, seed)), "pairs": with_pairs(rows)}
        for name, one in seen.items():
            columns = columns_of(one, tokenizer)
            bag, answer = bag_reader(one, labels, columns, seed)
            right.setdefault((language, "bag", name), []).append(answer)
            if seed == SEEDS[0] or name == "pairs, shaken":  # nothing else in it is random
                right.setdefault((language, "TF-IDF", name), []).append(count_reader(one, labels, columns))
            if seed == SEEDS[0]:
                print(f"{language}, {name}: {len(columns):,} columns")
            if (language, name) == ("English", "words"):
                network = bag  # the last one is kept for later


# %%
def gap(one, other):
    """Points between two readers over the same texts: the mean over seeds, and its standard error over texts."""
    each = 100 * (np.mean(right[one], axis=0) - np.mean(right[other], axis=0))  # (texts,)
    return each.mean(), each.std() / len(each) ** 0.5


accuracy = {key: [100 * answers.mean() for answers in runs] for key, runs in right.items()}
for key, points in accuracy.items():
    print(f"{key[0]:13} {key[1]:7} {key[2]:14}", *(f"{one:.1f}" for one in points))
comparisons = [("pairs", "words"), ("pairs", "pairs, shaken")]
for language in sets:
    for reader in ("TF-IDF", "bag"):
        for one, other in comparisons:
            points, error = gap((language, reader, one), (language, reader, other))
            print(f"{language} {reader:7} {one} against {other:14} {points:5.2f} points, standard error {error:.2f}")
    points, error = gap((language, "TF-IDF", "words"), (language, "bag", "words"))
    print(f"{language} TF-IDF against bag, both on words {points:5.2f} points, standard error {error:.2f}")

# %% tags=["hide"]
# @title Figure: what each reader gets right
figure, panels = plt.subplots(1, 2, figsize=(8, 3.1), sharey=True)
names = ["words", "pairs, shaken", "pairs"]
titles = {"English": "English: pairs hardly beat words", "Chinese": "Chinese: pairs of characters beat them"}
for ax, language in zip(panels, sets, strict=True):
    n = len(sets[language][2]["test"])
    for shift, reader, meaning in [(-0.13, "TF-IDF", "control"), (0.13, "bag", "subject")]:
        for row, name in enumerate(names):
            points = accuracy[language, reader, name]
            error = (np.mean(points) * (100 - np.mean(points)) / n) ** 0.5
            ax.errorbar(np.mean(points), row + shift, xerr=error, fmt="o", color=color(meaning), capsize=3,
                        label=reader if row == 0 else None)  # fmt: skip
    ax.set(title=titles[language], xlabel="test texts judged right, %", ylim=(2.5, -0.5))
panels[0].set_yticks(range(3), ["words alone", "pairs of shaken words", "pairs in order"])
panels[1].legend(loc="lower left")
show(figure, "Accuracy with one standard error. English: words alone and pairs in order overlap, pairs of shaken words"
     " are to the left. Chinese: pairs in order are clearly to the right of both others, for both.")  # fmt: skip


# %%
names = (*sets, "English parts")
added = {name: np.subtract(accuracy[name, "bag", "pairs"], accuracy[name, "bag", "words"]).tolist() for name in names}
found = Claims("What we measured on test texts, in points of 100")
for language in sets:
    found.claim(f"{language}: the order of neighbours is worth something", accuracy[language, "bag", "pairs"], ">",
                accuracy[language, "bag", "pairs, shaken"], unit="points", control="pairs of the same texts shaken",
                headline=f"{language}: order of neighbours against the same texts shaken, {{difference}}")  # fmt: skip
found.claim("Pairs add more to the words in Chinese than in English", added["Chinese"], ">", added["English"],
            unit="points", control="the same in English")  # fmt: skip
found.claim("Pairs add more to parts of English words than to whole words",
            added["English parts"][0], ">", added["English"][0],
            unit="points", control="whole words of the same texts")  # fmt: skip
found.claim("A larger model alone does not help: pairs without order are worse than words",
            accuracy["English", "bag", "pairs, shaken"], "<", accuracy["English", "bag", "words"], unit="points",
            control="words alone")  # fmt: skip
found.claim("Weights for each place change the accuracy by less than its standard error",
            100 * abs(np.mean(placed) - np.mean(bags)), "<", 100 * error_of_mean, unit="points",
            control="the mean, same padding and same division")  # fmt: skip
found.show()

# %% [markdown]
# In English the words alone are right in about 77 of 100 cases, where chance gives 50. That is most of what these
# readers can do. Pairs in order add about one point to the words, which is not much more than its standard error,
# so we cannot be sure that it is there. Does this mean that order is worth nothing? The control says no. The
# same pairs without their order are *worse* than no pairs, by about two points. The likely reason is that thousands
# of further columns, each seen a few times, are mostly a chance to learn by heart. So order is worth about three
# points to the bag, and most of that is used up by the larger model. With more training texts each pair would be
# seen more often, and we would expect more of it to remain.
#
# In Chinese pairs in order add about three points to the characters, many times the standard error. Does order
# matter more in Chinese? A token is a character here, most words have two of them, and so a pair is often a *word*.
# What the pairs bring in Chinese, the English reader had from the start. The second control supports this reading.
# The very same English texts, cut into parts of words, are judged much worse, and now pairs help far more than they
# helped the words. So "pairs help" says little about a language. It depends on what a token is.
#
# Vectors and counts differ by about one point, in favour of the vectors in English and of the counts in
# Chinese. Two doubts remain. In Chinese the shaken pairs have half as many columns again as the pairs in order, so
# there a part of the gap to the control may come from the number of columns. And all this is one division of two
# sets of short texts: a standard error over texts knows nothing of other kinds of text.
#
# ## What a bag cannot know
#
# The reader that sees words alone can be looked into. The cell asks it about the three reviews of the beginning and
# one more, all chosen because they are hard. Then it counts errors in texts with a negation or a contrast. Such
# texts are longer than others, and long texts might be harder for other reasons. The control therefore compares
# them with other texts of the same length, in five groups of lengths. The figure after it colours every word of
# the four reviews by its score. Look for a word that has the same colour in two of them, and should not.

# %%
tokenizer, rows, labels = sets["English"]
classifier = TextClassifier(network, tokenizer, ["negative", "positive"], max_length=LENGTH["English"])
asked = [*reviews, "Worthy of the gong."]
answers = classifier.classify(asked)
print(answers[["label", "positive"]].assign(truth=snippets.set_index("text")["label"].reindex(asked).tolist()))
table, W, b = network.get_weights()
score = table @ (W[:, 1] - W[:, 0])  # (tokens,): one score for each word

wrong = np.mean([~answer for answer in right["English", "bag", "words"]], axis=0)  # (texts,)
groups = {"a negation": {"not", "no", "never", "without", "nothing", "don't", "doesn't", "isn't", "can't"},
          "a contrast": {"but", "though", "although", "yet", "while"}}  # fmt: skip
told = {name: np.array([bool(group & set(row)) for row in rows["test"]]) for name, group in groups.items()}
rest = ~(told["a negation"] | told["a contrast"])
print(f"neither of them: {rest.mean():.0%} of the texts, {wrong[rest].sum() / wrong.sum():.0%} of the errors")

# %%
lengths = np.array([len(row) for row in rows["test"]])
fifth = np.digitize(lengths, np.quantile(lengths, [0.2, 0.4, 0.6, 0.8]))  # 0 short to 4 long
found = Claims("What we measured on the errors of the bag of words, English")
for name, has in told.items():
    inside, error = 100 * wrong[has].mean(), 100 * wrong[has].std() / has.sum() ** 0.5
    same_length = 100 * np.mean([wrong[~has & (fifth == one)].mean() for one in fifth[has]])
    print(f"{name}: {has.sum()} texts, {inside:.1f}% wrong (standard error {error:.1f}); all others",
          f"{100 * wrong[~has].mean():.1f}%, others of the same length {same_length:.1f}%")  # fmt: skip
    found.claim(f"Texts with {name} are judged wrong more often", inside, ">", same_length, unit="%",
                control="texts without, of the same length")  # fmt: skip
found.show()

# %% tags=["hide"]
# @title Figure: the scores of the words
sheet = Diagram(8, 2.5)
most = max(np.abs(score[tokenizer.encode(line)]).max() for line in asked)
for row, (line, sure) in enumerate(zip(asked, answers["positive"], strict=True)):
    x, y = 0.12, 1.85 - 0.5 * row
    for token in tokenizer.tokens(line):
        value = score[tokenizer.id_of(token)] / most
        width = 0.1 + 0.073 * len(token)
        fill = SIGNED(0.5 + 0.5 * value)
        sheet.ax.add_patch(plt.Rectangle((x, y - 0.15), width, 0.3, fc=fill, ec="#D0D0D0", lw=0.5))
        sheet.text((x + width / 2, y), token, meaning=text_on(fill), size=8.5)
        x += width + 0.03
    sheet.text((7.9, y), f"positive {sure:.2f}", align="right", size=9)
sheet.text((0.12, 2.27), "Each word has one colour, whatever stands beside it", align="left", size=11)
sheet.text((7.9, 2.27), "orange: blame    blue: praise", align="right", size=9, meaning=GREY)
show(sheet.figure, "Four snippets, each word on a blue ground when its score is for praise and an orange one when it is"
     " for blame, with the probability of positive at the right.")  # fmt: skip

# %% [markdown]
# Three of the four answers are wrong. The second review praises, and *no*, *reason* and *miss* add up to the surest
# blame of all. In the third, *no* has the same colour, although it denies only *great*. A sum has no
# way to let one word act on another, and so for this model "not good" and "good not" are the same bag. The last
# review is ironic, and to see that one must know that a gong ends a bad performance. The model cannot even read the
# word: *gong* is `<unk>`, because it does not stand twice in the training texts.
#
# Texts with a negation or a contrast are indeed judged wrong more often, also among texts of the same length. But
# they are a third of the texts, and more than half of the errors stand in texts with neither. So the missing order
# cannot be the only reason. Some words are rare, and some labels are doubtful, since people have rated these
# snippets one by one.
#
# ## Save it, and ask it in words
#
# Whoever uses a classifier has texts, not ids. `TextClassifier` holds the network, its tokenizer and the names
# of the labels, and `save` writes all three into one file. This matters more than it seems: with another
# tokenizer every id would mean another word, and the answers would be nonsense without any error. Look at what
# it says to the third text.

# %%
file = Path(folder.name) / "opinions.keras"
classifier.save(file)
loaded = keras.saving.load_model(file)  # in a new program, import kerasllm.tasks first
own = ["I want my money back.", "A warm, funny and clever film.", "Not good.", "Good."]
print(loaded.classify(own).round(2))
assert np.allclose(loaded.classify(own)["positive"], classifier.classify(own)["positive"], atol=1e-6)
folder.cleanup()

# %% [markdown]
# "Not good" is praise for this model: *good* weighs more than *not*. Lesson 11 reads in order.
#
# ## What can go wrong
#
# Three mistakes are made again and again. A string goes into `fit` in place of ids; Keras refuses it, with a
# message about types. The probabilities are compared with the labels: `predictions == labels` is almost never
# true, because 0.93 is not 1, and what must be compared are *decisions*. And the accuracy of two models is compared
# although one of them read longer texts, other words or another choice of settings; then nobody knows what made
# the difference.
#
# ## Summary
#
# - A bag of words keeps counts and throws order away. TF-IDF makes frequent words quieter.
# - A bag of embeddings takes the masked mean of vectors. It gives each word one score, wherever it stands, and a
#   score for each place brings nothing.
# - The words alone carry most of what these readers find. What the order of neighbours adds to English words is
#   hardly measurable here; in Chinese, where tokens are characters, it is plain, and in English cut into parts too,
#   because there pairs make words.
# - Compare on the same rows of tokens, text by text, with the order shaken as the control.
# - A classifier that is saved needs its tokenizer and its labels in the same file.
#
# ## Exercises
#
# Open [exercises/10_bag_of_embeddings.ipynb](exercises/10_bag_of_embeddings.ipynb). You compute idf, take a mean
# that sees no padding, find out what each word contributes, and compare two classifiers text by text. In
# the experiment you find out how many words carry the opinion.
#
# ## References
#
# - G. Salton, C. Buckley (1988). Term-weighting approaches in automatic text retrieval. *Information Processing
#   & Management* 24(5), 513–523. Section 2.
# - C. J. Hutto, E. Gilbert (2014). VADER: a parsimonious rule-based model for sentiment analysis of social media
#   text. *ICWSM*. The English snippets.
# - S. Wang, C. Manning (2012). Baselines and bigrams: simple, good sentiment and topic classification. *ACL*,
#   short papers. Table 2: words and pairs on short reviews.
# - M. Iyyer, V. Manjunatha, J. Boyd-Graber, H. Daumé III (2015). Deep unordered composition rivals syntactic
#   methods for text classification. *ACL*. Section 2: the mean.
# - A. Joulin, E. Grave, P. Bojanowski, T. Mikolov (2017). Bag of tricks for efficient text classification. *EACL*.
#   Section 2: the model, and pairs as further tokens.
