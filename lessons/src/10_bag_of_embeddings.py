# %% [markdown] tags=["edition-2"]
# # 10 · A bag of embeddings
#
# **How much of an opinion is in the words alone?**
#
# **You need** lesson 02 (logistic regression and cross-entropy, also in Keras), lesson 06 (early stopping),
# lesson 07 (paired tests and standard errors), lesson 08 (tokens, padding, masks) and lesson 09 (embeddings).
#
# **You will build** two classifiers of opinions, one that counts words and one that takes the mean of word
# vectors, from a CSV file to a saved model that answers strings. You will measure what the order of
# neighbouring words adds, in English and in Chinese.
#
# **Time** about 2 minutes to run on a laptop with 2 cores, and 40 minutes to read.

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
DIM = dial(64, smoke=8)  # numbers in the vector of a token
EVERY = dial(1, smoke=12)  # 1 takes every text, 12 every twelfth
LENGTH = dial({"English": 64, "Chinese": 128}, smoke={"English": 24, "Chinese": 24})  # tokens of a text that are read

# %% [markdown]
# ## A sentence from a bag
#
# Somebody has put the words of three film reviews into a bag each and shaken it. What comes out is printed
# below. Is the writer pleased or not? Write down three answers before you go on, and how sure you are.

# %%
reviews = {
    "positive or negative?": ["Even the digressions are funny.",
                              "There's no reason to miss Interview with the Assassin",
                              "By no means a great movie, but it is a refreshingly forthright one."],
}  # fmt: skip
for number, review in enumerate(reviews["positive or negative?"], start=1):
    print(number, " ".join(np.random.default_rng(number).permutation(review.lower().split())))

# %% [markdown]
# The first is easy and the second is hard. A reader of bags sees *no*, *reason* and *miss*, and must guess
# what refers to what. This lesson asks how often such a reader is right. The control is a reader who sees
# something of the order as well: pairs of neighbouring words.
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
def read_rows(frame, length):
    """The tokenizer, and for each part of the data its rows of tokens and its labels."""
    parts = {part: frame[frame["split"] == part] for part in ("train", "validation", "test")}
    tokenizer = text.train_words(parts["train"]["text"], 30_000, minimum_count=2, lower=True)
    rows, labels = {}, {}
    for part, one in parts.items():
        rows[part] = [[tokenizer.vocabulary[i] for i in ids[:length]] for ids in tokenizer.encode_batch(one["text"])]
        labels[part] = (one["label"] == "positive").to_numpy(int)
    return tokenizer, rows, labels


frames = {"English": snippets, "Chinese": load("chinese-reviews").iloc[::EVERY]}
sets = {language: read_rows(frame, LENGTH[language]) for language, frame in frames.items()}
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
# where $n$ is the number of texts and $\mathrm{df}$ the number of texts that hold the word. Then each row is
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
by_hand = counts * idf / np.linalg.norm(counts * idf, axis=1, keepdims=True)
print(pd.DataFrame(by_hand.round(3), index=toy, columns=words))
assert np.allclose(by_hand, TfidfVectorizer().fit_transform(toy).toarray())  # scikit-learn has it ready


def count_reader(rows, labels, columns):
    """TF-IDF and logistic regression, how strongly held back is chosen on validation; right or wrong on test."""
    tfidf = TfidfVectorizer(analyzer=lambda row: row, vocabulary=columns, sublinear_tf=True)
    tfidf.fit(rows["train"])
    X = {part: tfidf.transform(rows[part]) for part in rows}
    tried = [LogisticRegression(C=C, max_iter=1_000).fit(X["train"], labels["train"]) for C in (1, 3, 10)]
    best = max(tried, key=lambda model: model.score(X["validation"], labels["validation"]))
    return best.predict(X["test"]) == labels["test"]


# %% [markdown]
# Logistic regression (lesson 02) then learns one weight for each word. `C` says how freely it may do so: a
# large `C` means little L2 regularisation. `sublinear_tf` replaces a count by $1 + \ln$ of the count, because
# a word that stands three times is not three times as telling.
#
# ## The mean of vectors
#
# The second reader uses embeddings (lesson 09). Each token has a vector, and a text of any length must
# become one vector. To make one vector of many is called **pooling**, and the simplest pooling is the mean:
#
# $$ m = \frac{1}{N} \sum_{t\,:\,w_t \ne 0} e_{w_t}, \qquad z = W m + b. $$
#
# Here $e_{w_t}$ is the vector of the token at place $t$, $N$ the number of real tokens and $z$ the two logits.
# The condition $w_t \ne 0$ is the mask: padding is no word and must not count. This model is a *bag of
# embeddings* (Iyyer et al. 2015; Joulin et al. 2017). In the drawing, purple parts are trained.

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
        sheet.text((x + 0.2, 1.95), "masked:\nnot in the mean", meaning=GREY, size=8.5)
    else:
        sheet.arrow((x, vector.top[1] + 0.02), (5.55, 2.45), through=[(x, 2.45)], meaning="state", width=1.2)
sheet.text((5.7, 0.95), "the table of vectors", meaning="weights", size=8.5, align="left")
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
    """A model of vectors, stopped on validation; and right or wrong on test."""
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
# Is it right to treat all places alike? A model could also give each place weights of its own: put the
# vectors of all places side by side, in place of the mean, and let one matrix read the long row. Then a word
# has a score for each place. Such a model can do more, and it knows something of the order. Do you expect it
# to be better? And will *bad* at the third place and at the ninth get similar scores?


# %%
def place_by_place(tokens, classes, dim):
    places = LENGTH["English"]
    layers = [keras.layers.Embedding(tokens, dim), keras.layers.Flatten(), keras.layers.Dense(classes)]
    return keras.Sequential([keras.Input((places,), dtype="int32"), *layers])


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
print("mean:          ", *(f"{right.mean():.3f}" for right in bags))
print("place by place:", *(f"{right.mean():.3f}" for right in placed))
print(f"a word's scores at the third and at the ninth place correlate at {alike:.2f}")

# %% tags=["hide"]
# @title Figure: the scores of four words at each place
shown = {"bad": "error", "too": "control", "best": "subject", "funny": "output"}
figure = curves(
    np.arange(1, 21),
    {word: scores[columns[word] + 1, :20] if word in columns else scores[2, :20] for word in shown},
    title="Place by place, a word learns nearly the same score again and again",
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
# TODO
#
# ## The experiment: words alone, and a little order
#
# Now the question. The first reader gets the words alone. The second gets pairs of neighbours such as
# *not good* as further columns. But pairs are also *more* columns, so the model grows, and a larger model
# might be better for that reason. The control removes the order and keeps the size: each text is shaken
# first, in all parts of the data, and then cut into words and pairs. What remains between the last two is the
# worth of the order of neighbours. In Chinese the tokens are characters, and most words have two of them.


# %%
def with_pairs(rows):
    return {part: [row + [" ".join(pair) for pair in pairwise(row)] for row in rows[part]] for part in rows}


def shaken(rows, seed):
    rng = np.random.default_rng(seed)
    return {part: [rng.permutation(row).tolist() for row in rows[part]] for part in rows}


# %%
right = {}  # (language, reader, what it sees) -> for each seed whether each test text is right
for language, (tokenizer, rows, labels) in sets.items():
    for seed in SEEDS:
        seen = {"words": rows, "pairs, shaken": with_pairs(shaken(rows, seed)), "pairs": with_pairs(rows)}
        for name, one in seen.items():
            columns = columns_of(one, tokenizer)
            bag, answer = bag_reader(one, labels, columns, seed)
            right.setdefault((language, "bag", name), []).append(answer)
            if seed == SEEDS[0] or name == "pairs, shaken":  # nothing else in it is random
                right.setdefault((language, "TF-IDF", name), []).append(count_reader(one, labels, columns))
            if (language, name, seed) == ("English", "words", SEEDS[0]):
                network = bag  # kept for later
    print(f"{language}: {len(columns):,} columns with pairs")


# %%
def gap(one, other):
    """Points between two readers over the same texts: the mean over seeds, and its standard error over texts."""
    each = 100 * (np.mean(right[one], axis=0) - np.mean(right[other], axis=0))  # (texts,)
    return each.mean(), each.std() / len(each) ** 0.5


accuracy = {key: [100 * answers.mean() for answers in runs] for key, runs in right.items()}
for key, points in accuracy.items():
    print(f"{key[0]} {key[1]:7} {key[2]:14}", *(f"{one:.1f}" for one in points))
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
for ax, language in zip(panels, sets, strict=True):
    n = len(sets[language][2]["test"])
    for shift, reader, meaning in [(-0.13, "TF-IDF", "control"), (0.13, "bag", "subject")]:
        for row, name in enumerate(names):
            points = accuracy[language, reader, name]
            error = (np.mean(points) * (100 - np.mean(points)) / n) ** 0.5
            ax.errorbar(np.mean(points), row + shift, xerr=error, fmt="o", color=color(meaning), capsize=3,
                        label=reader if row == 0 else None)  # fmt: skip
    ax.set(title=language, xlabel="test texts judged right, %", ylim=(2.5, -0.5))
panels[0].set_yticks(range(3), ["words alone", "pairs of shaken words", "pairs in order"])
panels[1].legend(loc="lower left")
show(figure, "Accuracy with one standard error. English: all six points lie close together. Chinese: pairs in order are"
     " clearly to the right of words alone and of pairs of shaken words, for both readers.")  # fmt: skip


# %%
def runs(language, reader, name):
    return accuracy[language, reader, name]


worth = {one: [np.subtract(runs(one, "TF-IDF", "pairs"), other) for other in runs(one, "TF-IDF", "pairs, shaken")]
         for one in sets}  # fmt: skip
worth = {one: [float(np.squeeze(points)) for points in each] for one, each in worth.items()}
found = Claims("What we measured: test texts judged right, in points of 100")
found.claim("English: the words alone say most of it", runs("English", "bag", "words"), ">",
            100 * max(np.mean(sets["English"][2]["test"]), 1 - np.mean(sets["English"][2]["test"])) + 20,
            control="20 points above the more frequent label", unit="%")  # fmt: skip
found.claim("Chinese: the order of neighbouring characters is worth something to the bag",
            runs("Chinese", "bag", "pairs"), ">", runs("Chinese", "bag", "pairs, shaken"), unit="%",
            control="the same pairs of shaken texts",
            headline="Chinese, order of neighbours against the same texts shaken: {difference}")  # fmt: skip
found.claim("To the reader that counts it is worth more in Chinese than in English", worth["Chinese"], ">",
            worth["English"], unit="points", control="the same in English")  # fmt: skip
found.claim("English, the same words: vectors and counts are less than 2 points apart",
            abs(np.mean(runs("English", "TF-IDF", "words")) - np.mean(runs("English", "bag", "words"))), "<", 2,
            unit="points")  # fmt: skip
found.claim("A score for each place is worse than one score", [100 * right.mean() for right in placed], "<",
            [100 * right.mean() for right in bags], unit="%", control="the mean")  # fmt: skip
found.show()

# %% [markdown]
# TODO
#
# ## What a bag cannot know
#
# The reader that sees words alone can be looked into. The figure colours every word by its score, for the
# three reviews of the beginning and one more.

# %%
labels = ["negative", "positive"]
classifier = TextClassifier(network, sets["English"][0], labels, max_length=LENGTH["English"])
asked = [*reviews["positive or negative?"], "Worthy of the gong."]
answers = classifier.classify(asked)
print(answers[["label", "positive"]].assign(truth=snippets.set_index("text").loc[asked, "label"].tolist()))
table, W, b = network.get_weights()
score = table @ (W[:, 1] - W[:, 0])  # (tokens,): one score for each word

rows, truth = sets["English"][1]["test"], sets["English"][2]["test"]
wrong = np.mean([~answer for answer in right["English", "bag", "words"]], axis=0)  # (texts,)
groups = {
    "not, no, never, n't": r"\b(?:not?|never|nothing|without)\b|n't",
    "but, though, while": r"\b(?:but|though|although|yet|while)\b",
}
told = {name: snippets["text"][snippets["split"] == "test"].str.contains(pattern, case=False).to_numpy()
        for name, pattern in groups.items()}  # fmt: skip
for name, has in told.items():
    print(f"{name}: {has.sum()} texts, {wrong[has].mean():.1%} wrong; the others {wrong[~has].mean():.1%}")
rest = ~np.any(list(told.values()), axis=0)
print(f"errors in texts with none of these words: {wrong[rest].sum() / wrong.sum():.0%}")

# %% tags=["hide"]
# @title Figure: the scores of the words
sheet = Diagram(8, 2.5)
most = np.abs(score[[columns_of(sets["English"][1], sets["English"][0])[t] + 1 for line in asked
                     for t in sets["English"][0].tokens(line)]]).max()  # fmt: skip
for row, (line, sure) in enumerate(zip(asked, answers["positive"], strict=True)):
    x, y = 0.12, 1.85 - 0.5 * row
    for token in sets["English"][0].tokens(line):
        value = score[sets["English"][0].id_of(token)] / most
        width = 0.1 + 0.073 * len(token)
        fill = SIGNED(0.5 + 0.5 * value)
        sheet.ax.add_patch(plt.Rectangle((x, y - 0.15), width, 0.3, fc=fill, ec="#D0D0D0", lw=0.5))
        sheet.text((x + width / 2, y), token, meaning=text_on(fill), size=8.5)
        x += width + 0.03
    sheet.text((7.9, y), f"positive {sure:.2f}", align="right", size=9)
sheet.text((0.12, 2.27), "A sum has no way to let one word act on another", align="left", size=11)
sheet.text((7.9, 2.27), "orange: blame    blue: praise", align="right", size=9, meaning=GREY)
show(sheet.figure, "Four snippets, each word on a blue ground when its score is for praise and an orange one when it is"
     " for blame, with the probability of positive at the right.")  # fmt: skip

# %% [markdown]
# TODO
#
# ## Save it, and ask it in words
#
# Whoever uses a classifier has texts, not ids. `TextClassifier` holds the network, its tokenizer and the names
# of the labels, and `save` writes all three into one file. This matters more than it seems: with another
# tokenizer every id would mean another word, and the answers would be nonsense without any error.

# %%
file = Path(folder.name) / "opinions.keras"
classifier.save(file)
loaded = keras.saving.load_model(file)  # in a new program, import kerasllm.tasks first
own = ["I want my money back.", "A warm, funny and clever film.", "Not good.", "Good."]
print(loaded.classify(own).round(2))
assert np.allclose(loaded.classify(own)["positive"], classifier.classify(own)["positive"], atol=1e-6)
folder.cleanup()
