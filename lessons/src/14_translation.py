# %% [markdown] tags=["edition-2"]
# # 14 · Translation
#
# **How does one sequence become another, of another length and in another order?**
#
# **You need** lesson 06 (layer normalisation), lesson 08 (tokens, shifted targets), lesson 11 (the LSTM) and lesson 13
# (attention, heads, the causal mask).
#
# **You will build** an encoder-decoder block by block, equal to the library's. You train it to read dates in five
# languages and see where it looks. Then you train it to translate English to Chinese, hold it against an LSTM of the
# same size and against the most similar training sentence, and score all of them.
#
# **Time** about 2 minutes to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import math
import random
import re
import time
from datetime import date

import keras
import numpy as np
from keras import layers, ops
from sklearn.feature_extraction.text import TfidfVectorizer

from kerasllm.batches import steps_per_epoch
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram, attention_grid
from kerasllm.course.figures import bars, show
from kerasllm.data import load
from kerasllm.evaluation import bleu, chrf, compare_translations
from kerasllm.layers import MultiHeadAttention, SinusoidalPositions
from kerasllm.models import LSTMSeq2Seq, Seq2Seq, Seq2SeqSettings
from kerasllm.tasks import Translator
from kerasllm.text import train_bpe, train_characters, train_words

# %%
DATES = dial(4_000, smoke=128, gpu=50_000)  # pairs of a written date and its standard form
DATE_EPOCHS = dial(5, smoke=1, gpu=10)  # passes over them
DATE_SEEDS = dial((0, 1, 2), smoke=(0,))  # repetitions for dates, each with weights of its own at the start
PAIRS = dial(None, smoke=128)  # training sentences; None means all
EPOCHS = dial(6, smoke=1, gpu=20)  # passes over them
ASKED = dial(None, smoke=16)  # test sentences; None means all
LOOKS = dial(20, smoke=2)  # test dates in each language whose attention is looked at
SAMPLES = dial(500, smoke=20)  # how often the test sentences are drawn anew for an interval

# %% [markdown]
# ## A date for a machine
#
# A form asks for a date, and people write *le 5 mars 1998*, *5. März 1998*, *March 5th, 1998* or *1998年3月5日*. A
# program wants `1998-03-05`. None of our models can do this yet. The classifiers of lessons 10 and 11 give one answer
# for a whole text, and the language models of lesson 12 continue the text that they read. Here one sequence must
# become *another*: the answer has another length, the year moves from the end to the front, and *mars* becomes `03`.
#
# With rules this takes an afternoon, which is why it is a good first task: every answer can be checked. The same
# machine then gets a task for which nobody has written down the rules. It translates everyday English to Chinese, after
# three thousand sentences. Write down two guesses before you go on. Which share of unseen dates will it get right? And
# when a new English sentence comes, which is better: its own translation, or simply the Chinese of the most similar
# sentence in the training part?

# %% tags=["hide"]
# @title Names of the months in four languages
NAMES = {
    "English": "January February March April May June July August September October November December",
    "German": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "French": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "Spanish": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
}
NAMES = {language: ["", *names.split()] for language, names in NAMES.items()}  # month 1 is number 1


def ordinal(day):
    """1st, 2nd, 3rd, 4th, ..."""
    return f"{day}{'th' if 10 < day < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


# %%
def written(language, when):
    """A date as people write it."""
    month = NAMES.get(language, [when.month] * 13)[when.month]
    return {
        "English": f"{month} {ordinal(when.day)}, {when.year}",
        "German": f"{when.day}. {month} {when.year}",
        "French": f"le {'1er' if when.day == 1 else when.day} {month} {when.year}",
        "Spanish": f"{when.day} de {month} de {when.year}",
        "Chinese": f"{when.year}年{month}月{when.day}日",
    }[language]


LANGUAGES = ["English", "German", "French", "Spanish", "Chinese"]
drawn = random.Random(0)
days = [date.fromordinal(number) for number in range(date(1900, 1, 1).toordinal(), date(2100, 1, 1).toordinal())]
drawn.shuffle(days)
test_days, train_days = days[:100], days[100:]  # no date of the test is in training, in any language
date_pairs = [(written(drawn.choice(LANGUAGES), day), day.isoformat()) for day in drawn.choices(train_days, k=DATES)]
print(len(days), "dates;", *date_pairs[:3], sep="\n")

# %% [markdown]
# ## One reads, one writes
#
# The machine has two halves. The **encoder** is the half that reads: it turns the source into one vector a token, and
# it may look in both directions, since the source is complete. The **decoder** is the half that writes: it is a model
# like those of lesson 12, which says after each token what comes next. The new thing is the arrow between the two. At
# every step the decoder asks the vectors of the encoder, by the attention of lesson 13.
#
# How is it trained? We know the right answer, so we do not let the decoder stumble. **Teacher forcing** gives the
# decoder the *right* beginning of the answer at every step, whatever it would have written itself (Williams and Zipser
# 1989). So its input is the answer behind a start token, and what it must say is the answer followed by an end token:
# the shifted targets of lesson 08. All steps are known at once, so they are computed at once, and the causal mask keeps
# each step from seeing the answer. Look at the two rows on the right of the drawing.

# %% tags=["hide"]
# @title Drawing: an encoder-decoder with teacher forcing
sheet = Diagram(8, 3.55)
middle, low, high = 1.75, 0.5, 3.0
source, given, wanted = "le 5 mars".split(), ["<start>", "0", "3", "-", "0", "5"], ["0", "3", "-", "0", "5", "<end>"]
reader = sheet.box("encoder", (1.3, middle), meaning="weights", width=2.1, height=0.55)
for i, word in enumerate(source):
    x = 0.6 + 0.7 * i
    token = sheet.box(word, (x, low), width=0.62, size=9)
    vector = sheet.vector((x, 2.62), 4, meaning="state")
    sheet.arrow(token.top, (x, reader.bottom[1]))
    sheet.arrow((x, reader.top[1]), (x, vector.bottom[1] - 0.03), meaning="state")
    sheet.arrow((x, vector.top[1] + 0.03), (x, 3.13), meaning="key", head=False)
left, step = 3.75, 0.72
writer = sheet.box("decoder", (left + 2.5 * step, middle), meaning="weights", width=6 * step, height=0.55)
for i, (word, answer) in enumerate(zip(given, wanted, strict=True)):
    x = left + i * step
    token = sheet.box(word, (x, low), width=0.64, size=9)
    said = sheet.box(answer, (x, high), meaning="output", width=0.64, size=9)
    sheet.arrow(token.top, (x, writer.bottom[1]))
    sheet.arrow((x, writer.top[1]), said.bottom, meaning="output")
sheet.arrow((0.59, 3.13), writer.left, meaning="key", through=[(2.75, 3.13), (2.75, middle)])
sheet.text((1.3, 3.3), "keys and values of all tokens", meaning="key", size=8.5)
sheet.text((1.3, 0.14), "the source", size=8.5)
sheet.text((left + 2.5 * step, 0.14), "given: the right answer so far", size=8.5)
sheet.text((left + 2.5 * step, 3.38), "wanted: the same row, one place further", meaning="output", size=8.5)
show(sheet.figure, "On the left the encoder reads le, 5, mars and makes a vector of each. On the right the decoder is"
     " given start, 0, 3, dash, 0, 5 and must say 0, 3, dash, 0, 5, end. Keys and values of all three vectors cross"
     " over.")  # fmt: skip

# %% [markdown]
# The arrow in the middle is **cross-attention**, attention whose queries come from one text and whose keys and values
# come from another. The formula is that of lesson 13; only the shapes are new. With $m$ tokens written and $n$ tokens
# read, the table of weights has $m$ rows and $n$ columns, and each row sums to 1. On paper: let the source have three
# vectors, *le* $(0, 0)$, *5* $(1, 0)$ and *mars* $(0, 1)$, which are keys and values at once. The decoder asks twice,
# first for a month with $(0, 4)$, then for a day with $(4, 0)$. The scores of the first question are $0, 0, 4$,
# divided by $\sqrt 2$ they are $0, 0, 2.83$, and $e^{2.83} = 16.9$. So *mars* gets $16.9 / 18.9 = 0.89$ of the
# weight.


# %%
def attention(Q, K, V):
    """Lesson 13 again. Q (m, d), K and V (n, d) -> outputs (m, d) and weights (m, n)."""
    e = np.exp(Q @ K.T / math.sqrt(Q.shape[1]))
    weights = e / e.sum(axis=1, keepdims=True)
    return weights @ V, weights


read = np.array([[0, 0], [1, 0], [0, 1.0]])  # le, 5, mars
outputs, weights = attention(np.array([[0, 4.0], [4, 0]]), read, read)
print("weights on le, 5, mars:", *weights.round(2), "  outputs:", *outputs.round(2))

# %% [markdown]
# ## Block by block
#
# Now the parts in Keras. An encoder block has two steps: attention carries facts from token to token, and two dense
# layers work on each token alone. What a step finds is *added* to the vectors that came in, so that nothing is lost; a
# layer normalisation in front of each step keeps the numbers in range. (Lesson 17 takes a block apart and measures what
# the plus signs are worth.) The mask `real` is False at padding, where nobody may look.


# %%
def norm():
    return layers.LayerNormalization(epsilon=1e-5)


class EncoderBlock(layers.Layer):
    """Each token looks at all tokens of its own text."""

    def __init__(self, dim, heads):
        super().__init__()
        self.own, self.own_norm = MultiHeadAttention(heads), norm()
        self.expand, self.project, self.norm = layers.Dense(4 * dim, "relu"), layers.Dense(dim), norm()

    def call(self, x, real):  # (batch, n, dim), (batch, n)
        x = x + self.own(self.own_norm(x), mask=real)
        return x + self.project(self.expand(self.norm(x)))


# %% [markdown]
# A decoder block has three steps. Its own attention is causal, for the answer is written from left to right. It needs
# no mask of padding, since padding stands on the right, where nobody may look anyway. Then comes the cross-attention,
# with queries from what was written, and keys and values from what was read. The dense layers are the same again.


# %%
class DecoderBlock(layers.Layer):
    """Each token looks at what was written before it, then at all that was read."""

    def __init__(self, dim, heads):
        super().__init__()
        self.own, self.own_norm = MultiHeadAttention(heads, causal=True), norm()
        self.cross, self.cross_norm = MultiHeadAttention(heads), norm()
        self.expand, self.project, self.norm = layers.Dense(4 * dim, "relu"), layers.Dense(dim), norm()

    def call(self, x, read, real):  # (batch, m, dim), (batch, n, dim), (batch, n)
        x = x + self.own(self.own_norm(x))
        x = x + self.cross(self.cross_norm(x), read, mask=real)
        return x + self.project(self.expand(self.norm(x)))


# %% [markdown]
# The whole is a table of embeddings and a stack of blocks on each side. Sines and cosines of lesson 13 say where a
# token stands. The last layer compares what the decoder says with the embedding of every token that it could write,
# so the table of the target is used twice: to read what was written, and to score what comes next.


# %%
class EncoderDecoder(keras.Model):
    def __init__(self, source_size, target_size, dim, heads, blocks):
        super().__init__()
        self.target_table = layers.ReversibleEmbedding(target_size, dim)
        self.source_table = layers.Embedding(source_size, dim)
        self.place, self.scale = SinusoidalPositions(), math.sqrt(dim)  # embeddings as large as the places
        self.encoder = [EncoderBlock(dim, heads) for _ in range(blocks)]
        self.decoder = [DecoderBlock(dim, heads) for _ in range(blocks)]
        self.encoder_norm, self.decoder_norm = norm(), norm()

    def call(self, source, written):  # (batch, n), (batch, m): ids, 0 is padding
        real, x = source != 0, self.place(self.source_table(source) * self.scale)
        for block in self.encoder:
            x = block(x, real)
        read, x = self.encoder_norm(x), self.place(self.target_table(written) * self.scale)
        for block in self.decoder:
            x = block(x, read, real)
        return self.target_table(self.decoder_norm(x), reverse=True)  # (batch, m, target_size): logits


# %% [markdown]
# That is the transformer of Vaswani et al. (2017), except that they normalise after each sum and we before it, which
# trains more easily (Xiong et al. 2020). The library's `Seq2Seq` is made of the same parts. We give both the same
# weights and compare; from here on we train the library's.

# %%
source, begun = np.array([[5, 9, 2, 7], [4, 8, 0, 0]]), np.array([[1, 6, 3], [1, 4, 9]])
settings = Seq2SeqSettings(20, source_vocabulary_size=15, embedding_dim=32, num_layers=1, num_heads=2)
ours, library = EncoderDecoder(15, 20, 32, heads=2, blocks=1), Seq2Seq(settings)
ours(source, begun)  # makes the weights
rng = np.random.default_rng(0)
library.set_weights([rng.normal(0, 0.3, w.shape) for w in library.get_weights()])
ours.set_weights(library.get_weights())
difference = np.abs(ours(source, begun) - library(source, begun)).max()
print(f"built above and library: the logits differ by {difference:.0e} at most")
assert difference < 1e-4

# %% [markdown]
# ## Dates first
#
# A `Translator` of the library joins such a network with its two tokenizers, and its `pairs` makes the batches of
# teacher forcing, with weights of the loss that are 0 at padding. Here a token is a character, and start and end are
# called `<bos>` and `<eos>` (lesson 08). The learning rate falls in equal steps, one after each pass. The second cell
# trains three models, which differ only in the weights that they start from, and shows the two rows of one pair.

# %%
LONGEST = 28  # tokens of a text
signs = [train_characters(side, byte_fallback=False, bos=True, eos=True) for side in zip(*date_pairs, strict=True)]
sizes = {"vocabulary_size": signs[1].vocabulary_size, "source_vocabulary_size": signs[0].vocabulary_size}


def trained(network, tokens, pairs, epochs, rate):
    """A translator, trained by teacher forcing."""
    model = Translator(network, *tokens, max_length=LONGEST)
    order = {"batch_size": 32, "buckets": 3, "shuffle": True}  # batches of three lengths, so that there is less padding
    feed = model.pairs(*zip(*pairs, strict=True), epochs=epochs, **order)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    falling = keras.callbacks.LearningRateScheduler(lambda done, _: rate * (1 - done / epochs))
    plan = {"epochs": epochs, "steps_per_epoch": steps_per_epoch(feed), "callbacks": [falling]}
    model.fit(feed, shuffle=False, verbose=0, **plan)
    return model


# %%
settings = Seq2SeqSettings(**sizes, embedding_dim=64, num_layers=1, num_heads=2, context_length=LONGEST)
date_models = []
for seed in DATE_SEEDS:
    keras.utils.set_random_seed(seed)
    date_models.append(trained(Seq2Seq(settings), signs, date_pairs, DATE_EPOCHS, rate=0.005))
dates = date_models[0]
inputs, labels, _ = next(iter(dates.pairs(["5. März 1998"], ["1998-03-05"], batch_size=1)))
for name, row in {"given ": inputs["target_ids"], "wanted": labels}.items():
    print(name, *(signs[1].token_of(number) for number in ops.convert_to_numpy(row)[0]))

# %% [markdown]
# When a new text comes, there is no right answer to hand in. The decoder gets the start token, we take what it says,
# hand it in as the next input, and so on until it says the end token. To take the most probable token at every step
# is called **greedy decoding**. An answer counts only if all ten characters are right. We ask for unseen dates of the
# trained centuries in each language, and for the same dates 200 years earlier, of which no training pair has the
# first two digits. (A day after the 28th becomes the 28th, so that every date exists.) What do you expect there: that
# all of the answer is wrong, or a part of it?


# %%
def answered(days):
    """What each model answers in each language, (models, languages, days), and the right answers, (days,)."""
    texts = [written(language, day) for language in LANGUAGES for day in days]
    answers = np.array([model.translate(texts, batch_size=512) for model in date_models])
    return answers.reshape(-1, len(LANGUAGES), len(days)), np.array([day.isoformat() for day in days])


older = [day.replace(year=day.year - 200, day=min(day.day, 28)) for day in test_days]
(answers, right), (answers_older, right_older) = answered(test_days), answered(older)
share, moved = (answers == right).mean(axis=2), (answers_older == right_older).mean(axis=2)  # (models, languages)
for i, name in enumerate(LANGUAGES):
    print(f"{name:8s} right: {share[:, i].mean():.2f}   200 years earlier: {moved[:, i].mean():.2f},",
          f"such as {written(name, older[0])} -> {answers_older[0, i, 0]}")  # fmt: skip

# %% [markdown]
# The models have learned most of the rules of five languages from examples alone. Look at the answers for the older
# dates before you read on: what in them is wrong, and what is right? The next cell counts it for both kinds of dates,
# over all models.

# %% tags=["hide"]
# @title Counting: which part of a date is wrong
PARTS = {"first two digits": slice(0, 2), "next two": slice(2, 4), "month": slice(5, 7), "day": slice(8, 10)}
kinds = {"unseen dates": (answers, right), "200 years earlier": (answers_older, right_older)}
beside = {
    kind: list(zip(said.ravel(), np.broadcast_to(wanted, said.shape).ravel(), strict=True))
    for kind, (said, wanted) in kinds.items()
}
for kind, rows in beside.items():
    shares = (f"{part} {np.mean([one[at] == day[at] for one, day in rows]):.2f}" for part, at in PARTS.items())
    print(f"{kind:18s} right:", *shares, sep="   ")
wrong = [(one, day) for one, day in beside["unseen dates"] if one != day]
print("the first wrong answers for unseen dates:", *(f"{one} for {day}" for one, day in wrong[:4]), sep="   ")
turned = sum(sorted(one) == sorted(day) for one, day in wrong) / max(1, len(wrong))
usual = np.mean([one[:2] in ("19", "20") for one, _ in beside["200 years earlier"]])
print(f"of the wrong ones {turned:.2f} have the right characters in another order;"
      f" of the answers for older dates {usual:.2f} begin with 19 or 20")  # fmt: skip

# %% [markdown]
# The months are right. What goes wrong is digits, and many wrong answers have the right ones in a wrong order. That
# fits lesson 13: attention alone is blind to order, and which of two digits comes first only the positions tell.
#
# Of the older dates month and day are right as often as before. The first two digits are hardly ever right, for
# nearly all answers begin with 19 or 20, and the two digits behind them suffer as well. So the models have also
# learned something that we did not mean, how a year begins. Nothing in the training pairs says that other years
# exist, so they write what was right there.
#
# Where does a model look while it writes? It can return the weights of its cross-attention. In the two figures each
# row is a character that was written, each column one that was read, and the weights are the mean over the heads. Put
# a finger on a row of the year and follow it to the dark cells, then do the same for the month and the day.


# %%
def looks(network, texts, answers):
    """Where a network looks while it writes: weights (texts, characters written, characters read)."""
    inputs, _, _ = next(iter(dates.pairs(texts, answers, batch_size=len(texts))))
    weights = network(inputs, return_weights=True)[1]  # (texts, blocks, heads, written and the end, read)
    return ops.convert_to_numpy(weights).mean(axis=(1, 2))[:, :-1]


maps = {text: looks(dates.network, [text], ["1989-07-14"])[0] for text in ("le 14 juillet 1989", "July 14th, 1989")}

# %% tags=["hide"]
# @title Figures: where the model looks while it writes a date
titles = "French: the day is written last and read first", "English: the month is read first"
for (text, weights), title in zip(maps.items(), titles, strict=True):
    figure = attention_grid(weights, list("1989-07-14"), list(text.replace(" ", "␣")), title=title)
    figure.text(0.012, 0.5, "written (query)", rotation=90, va="center", fontsize=8.5)
    figure.text(0.5, 0.005, "read (key)", ha="center", va="bottom", fontsize=8.5)
    show(figure, f"Cross-attention for {text}: rows are the characters written, columns those read. Most rows of the"
         " year are dark at its digits, those of the month at the month, those of the day at the day.")  # fmt: skip

# %% [markdown]
# Nobody told the model which part is the year. It has found out because looking there made the answers right. Some
# dark cells lie beside the field, on a comma or a blank. That is possible because a vector of the encoder is more
# than its character: it has looked at the whole text, and so the comma can hold what stands beside it. One picture
# may be luck, so we count over test dates in all languages, for all three models: how much of the weight lies on the
# right field while that field is written? The control is each network before training. Beside it stands the share of
# the text that the field takes up, for that is the weight it would get from a model that looks everywhere alike.


# %% tags=["hide"]
# @title Counting: how much weight lies on the field that is written
def spans(language, day):
    """Year, month and day: where each stands in the answer and in the text."""
    text, month = written(language, day), NAMES.get(language, [f"年{day.month}月"] * 13)[day.month]
    starts = [
        text.find(f"{day.year}"),
        text.find(month),
        (text.rfind if language == "Chinese" else text.find)(f"{day.day}"),
    ]
    sizes = len(f"{day.year}"), len(month), len(f"{day.day}")
    return [
        (rows, slice(i, i + n))
        for rows, i, n in zip((slice(0, 4), slice(5, 7), slice(8, 10)), starts, sizes, strict=True)
    ]


asked = [(language, day) for language in LANGUAGES for day in test_days[:LOOKS]]


def on_fields(network):
    """How much weight lies on year, month and day while they are written."""
    weights = looks(network, [written(*one) for one in asked], [day.isoformat() for _, day in asked])
    pairs = zip(asked, weights, strict=True)
    return np.mean([[table[place].sum(axis=1).mean() for place in spans(*one)] for one, table in pairs], axis=0)


on_field, untrained = np.array([on_fields(model.network) for model in date_models]), []  # (models, 3)
for seed in DATE_SEEDS:
    keras.utils.set_random_seed(seed)
    untrained.append(on_fields(Seq2Seq(settings)))
untrained = np.array(untrained)
share_of_text = [[(place.stop - place.start) / len(written(*one)) for _, place in spans(*one)] for one in asked]
columns = on_field.mean(axis=0), untrained.mean(axis=0), np.mean(share_of_text, axis=0)
for name, *numbers in zip(("year", "month", "day"), *columns, strict=True):
    print(f"{name:5s} {numbers[0]:.2f} of the weight; before training {numbers[1]:.2f}; of the text {numbers[2]:.2f}")
found = Claims("What we measured: dates")
found.claim("Dates of years outside of training become right less often", 100 * moved.mean(axis=1), "<",
            100 * share.mean(axis=1), control="unseen dates of trained centuries", unit="%",
            headline="{bound} of unseen dates are rewritten exactly; 200 years earlier {measured}")  # fmt: skip
found.claim("It looks at the field that it writes", on_field.mean(axis=1), ">",
            2 * untrained.mean(axis=1), control="twice the weight of the same network before training")  # fmt: skip
found.show()

# %% [markdown]
# ## English to Chinese
#
# Now the task without rules. The set `hsk-sentences` holds 4,352 everyday sentences for learners, in English and in
# Chinese; pairs that share a text stand in the same part. The course also has ten thousand texts of the program Home
# Assistant in both languages. Those repeat phrases such as *Set up*, and half of them are names of three words or
# fewer, so we take the sentences. English is cut into subwords (lesson 08). In Chinese each character is a token; one
# that stands in training only once becomes the unknown token.

# %%
frame = load("hsk-sentences")  # source (English), target (Chinese), split, level
taken = {"train": PAIRS, "validation": PAIRS, "test": ASKED}
pairs = {
    part: frame.loc[frame.split == part, ["source", "target"]].to_numpy().tolist()[:n] for part, n in taken.items()
}
english, chinese = zip(*pairs["train"], strict=True)
tokens = train_bpe(english, 1_500, lower=True), train_words(chinese, 2_500, minimum_count=2, bos=True, eos=True)
sizes = {"vocabulary_size": tokens[1].vocabulary_size, "source_vocabulary_size": tokens[0].vocabulary_size}
print({part: len(rows) for part, rows in pairs.items()}, sizes)
for row in pairs["train"][:3]:
    print("|".join(tokens[0].tokens(row[0])), "->", " ".join(tokens[1].tokens(row[1])))
unknown = np.mean(["<unk>" in tokens[1].tokens(target) for _, target in pairs["test"]])
print(f"test sentences with a character that the networks cannot write: {unknown:.0%}")

# %% [markdown]
# In the third pair `<unk>` stands for 叫, *to be called*: so small is the set that this common word comes only once.
# The last line says how many of the test sentences nobody can write in full with these tokens.
#
# The control is what stood before the transformer: an LSTM reads in both directions, a second one writes, and at each
# token it looks back at all vectors of the first by attention (Luong et al. 2015). It has as many parameters and sees
# the same batches in the same order. Each of the two has a learning rate of its own, which was doubled or halved until
# both neighbours were worse on the validation pairs. So the difference between the two is what is *around* the
# cross-attention: an LSTM on each side, or attention on each side.
#
# One run of each says little, since another seed gives another score. `benchmarks/translation.py` therefore made three
# runs of each with the budget of this lesson, six passes over the pairs. Its table comes with the course. The cell
# repeats the first run of each.

# %%
runs = load("translation-models").query("chosen and passes == 6")  # not the runs with which the rates were chosen
rates = runs.groupby("model")["rate"].first()
networks = {
    "transformer": lambda: Seq2Seq(
        Seq2SeqSettings(**sizes, embedding_dim=64, num_layers=1, dropout=0.1, context_length=LONGEST)
    ),
    "LSTM": lambda: LSTMSeq2Seq(**sizes, embedding_dim=64, units=92, dropout=0.1),
}
models = {}
for name, network in networks.items():
    keras.utils.set_random_seed(0)
    models[name] = trained(network(), tokens, pairs["train"], EPOCHS, rates[name])
    print(f"{name}: {models[name].count_params():,} parameters, rate {rates[name]}")

# %% [markdown]
# ## Several beginnings instead of one
#
# Greedy decoding takes the best *token*, which need not lead to the best *text*: a good first character can have poor
# continuations. A **beam search** keeps the best few beginnings instead of one, continues each of them by every
# token, and keeps the best of all these (Sutskever et al. 2014). We keep four, a beam of four. Beginnings are
# compared by the sum of their log-probabilities, and here a new problem comes up. Each further token adds a negative
# number, so shorter texts are favoured. On paper, a text of two tokens with probability 0.5 each has $2 \ln 0.5 =
# -1.39$. One of six tokens with 0.75 each has $6 \ln 0.75 = -1.73$ and loses, although each of its tokens is more
# certain. The **length penalty** therefore divides the sum by $((5 + n) / 6)^\alpha$ for $n$ tokens (Wu et al. 2016).
# With $\alpha = 0.6$ the short text has $-1.39 / 1.10 = -1.26$, the long one $-1.73 / 1.44 = -1.20$, and the long one
# wins.
#
# You write one step of a beam in exercise 3. The loop below is greedy decoding in the open. It calls the whole model
# for every token, so everything is computed again each time. The library keeps the keys and values of what was read
# and written, and computes the new token alone. Both must write the same texts; the ratio of their speeds depends on
# the machine.


# %%
def write(model, texts):
    """Greedy: always the most probable token; the whole model for every token."""
    source, start, end = model.encode(texts), model.target_tokenizer.bos_id, model.target_tokenizer.eos_id
    done = np.zeros((len(texts), LONGEST + 1), "int32")
    done[:, 0] = start
    for i in range(LONGEST):
        logits = model.predict_on_batch({"source_ids": source, "target_ids": done[:, :-1]})
        done[:, i + 1] = logits[:, i].argmax(axis=-1)
        done[done[:, i] == end, i + 1] = end  # what has ended stays so
    return model.target_tokenizer.decode_batch(done[:, 1:].tolist())


# %%
model, asked = models["transformer"], [source for source, _ in pairs["test"][:64]]
ways = {"again": write, "kept": lambda model, texts: model.translate(texts, batch_size=64)}
seconds, texts = {}, {}
for name, way in ways.items():
    way(model, asked)  # the first call compiles
    started = time.perf_counter()
    texts[name] = way(model, asked)
    seconds[name] = time.perf_counter() - started
same = np.mean([again == kept for again, kept in zip(*texts.values(), strict=True)])
times = seconds["again"] / seconds["kept"]
print(f"{same:.0%} of the texts are the same; with what is kept, {times:.1f} times as many tokens a second")

# %% [markdown]
# ## How good is a translation?
#
# There are many right translations, and the test part has one. Two scores are usual. **BLEU** is a geometric mean of
# four shares: which of our words, and which of our runs of two, three and four words, stand in the reference too? A
# run that we write more often than the reference does is counted only as often as there. The mean is multiplied by a
# factor below 1 when we wrote too little (Papineni et al. 2002). In Chinese each character counts as a word. **chrF**
# counts runs of one to six characters and asks in both directions: which share of our runs is in the reference, and,
# with more weight, which share of the reference's is in ours (Popović 2015)? Both go from 0 to 100. On paper, let the
# reference be 我喝茶 and our text 我喝水. Two of three characters are right and one of two pairs, 我喝; no run of
# three is. Runs of four do not even exist, so BLEU has nothing to say about so short a text alone. Both scores are
# therefore counted over all texts together.
#
# The 95% intervals come from drawing test sentences anew, the bootstrap of lesson 07. Three other systems cost no
# training. *Copying* hands the English back. The *nearest pair* looks for the training sentence whose English is most
# similar by TF-IDF (lesson 10) and hands over its Chinese. *Another sentence* gives every test sentence the
# transformer's translation of the next one. It has the same kind of Chinese and the wrong content, so it shows what
# that kind of Chinese alone is worth.

# %%
sources, references = map(list, zip(*pairs["test"], strict=True))
tfidf = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2)).fit(english)
nearest = (tfidf.transform(sources) @ tfidf.transform(english).T).toarray().argmax(axis=1)
greedy = models["transformer"].translate(sources, batch_size=1024)
systems = {
    "copying": sources,
    "another sentence": greedy[1:] + greedy[:1],
    "nearest pair": [chinese[i] for i in nearest],
    "LSTM, beam of 4": models["LSTM"].translate(sources, num_beams=4, batch_size=1024),
    "transformer, greedy": greedy,
    "transformer, beam of 4": models["transformer"].translate(sources, num_beams=4, batch_size=1024),
}

# %% tags=["hide"]
# @title Table: BLEU and chrF with their intervals
scores = {
    name: (bleu(texts, references, "zh", SAMPLES), chrf(texts, references, SAMPLES)) for name, texts in systems.items()
}
for name, row in scores.items():
    numbers = [f"{one.value:5.2f} ({one.low:5.2f} to {one.high:5.2f})" for one in row]
    print(f"{name:22s}   BLEU {numbers[0]}   chrF {numbers[1]}")
print(*(one.signature for one in row), sep="\n")

# %% [markdown]
# The intervals say how far the *sentences* may move a score. How far a *seed* moves it, the table of three runs says.
# The next cell prints the score of either model beside those of the table, and its figure shows all runs. (The same
# seed may give a slightly other score on another machine, where sums are rounded in another order.) Look at two
# distances: from orange to blue, and from either to the dashed line.

# %% tags=["hide"]
# @title Figure: three runs of each model
value = {name: one.value for name, (_, one) in scores.items()}
by_way = {way: {name: list(one) for name, one in runs.groupby("model")[f"{way}_chrf"]} for way in ("greedy", "beam")}
for name in models:
    print(f"{name}, beam of 4: {value[f'{name}, beam of 4']:.2f} here; in the table", *by_way["beam"][name])
shown = {"copying": value["copying"], "another sentence": value["another sentence"]}
shown |= {f"{name}, {way}": by_way[way][name] for name in ("LSTM", "transformer") for way in by_way}
figure = bars(
    shown,
    title="The nearest training pair translates better than the models",
    x_label="chrF on the test part",
    colors={name: "control" if "LSTM" in name else "subject" if "trans" in name else "given" for name in shown},
    digits=1,
    reference=(value["nearest pair"], "nearest training pair"),
)
figure.axes[0].set_xlim(0, 13)
show(figure, "Bars of chrF on the test part, a dot for each seed. Copying is at zero, another sentence's translation"
     " is low, the LSTM is higher and the transformer higher still, with a beam more than greedily. A dashed line, the"
     " nearest training pair, stands far to the right of all bars.")  # fmt: skip

# %%
ours, beam = "transformer, greedy", "transformer, beam of 4"
paired = compare_translations(systems[ours], systems[beam], references, "chrf", samples=SAMPLES)
found = Claims("What we measured: English to Chinese, chrF on the test part")
found.claim("A translation says something of its own source", value[ours], ">", value["another sentence"],
            control="the translation of another sentence")  # fmt: skip
found.claim("Attention on both sides is better than an LSTM on both sides", by_way["beam"]["transformer"], ">",
            by_way["beam"]["LSTM"], control="an LSTM with attention, equal in size and budget")  # fmt: skip
found.claim("A beam of four is better than one", by_way["beam"]["transformer"], ">",
            by_way["greedy"]["transformer"], control="greedy decoding")  # fmt: skip
found.claim("The most similar training pair is the better translation", value["nearest pair"], ">",
            max(by_way["beam"]["transformer"]), control="the best of three trained transformers",
            headline="chrF of the nearest of 3,015 pairs {measured}, of a model trained on them {bound}")  # fmt: skip
found.show()
print("beam against greedy, the same texts drawn anew for both: luck alone gives such a difference in",
      f"{paired.p_value:.1%} of the draws (its p-value)")  # fmt: skip

# %% [markdown]
# ## Ten translations
#
# A score says nothing about *what* is wrong. Here are ten test sentences at even distances, nothing picked by hand.
# Behind the Chinese of the nearest pair stands its English, so that you can compare it with what was asked. The last
# line of each is the opinion of a simple program about what went wrong: words that no training sentence has, a run of
# characters that is repeated, a length that cannot be right, or content that is missing.


# %%
def fault(source, reference, text):
    """What a program can say about a translation."""
    unseen = sorted(set(re.findall(r"\w+", source.lower())) - known)
    there = len(set(text) & set(reference)) / len(set(reference))
    found = [f"{there:.0%} of the characters are there"]
    found += [f"unseen in training: {', '.join(unseen)}"] if unseen else []
    found += ["it repeats itself"] if re.search(r"(\w+?)\1\1|(\w\w+?)\2", text) else []
    found += ["too long"] if len(text) > 1.5 * len(reference) else []
    found += ["too short"] if 1.5 * len(text) < len(reference) else []
    return "; ".join(["the reference itself"] if text == reference else found)


known = set(re.findall(r"\w+", " ".join(english).lower()))
for i in np.linspace(0, len(sources) - 1, 10).astype(int):
    print(sources[i], "\n    wanted     ", references[i], "\n    transformer", systems[beam][i])
    print("    nearest    ", systems["nearest pair"][i], "=", english[nearest[i]])
    print("    fault      ", fault(*pairs["test"][i], systems[beam][i]))

# %% [markdown]
# Three faults come again and again. The text has little to do with its source: the decoder has learned which
# characters follow each other, and knows too little of the English words to choose among them. It repeats a run of
# characters. And a word that no training sentence has cannot be translated at all, for cutting it into subwords gives
# the network something to read and nothing to say. The nearest pair has other faults: it is always a good Chinese
# sentence, and often says something that was not asked.
#
# ## The answer, and its doubt
#
# One sequence becomes another when a decoder that writes looks at an encoder that has read. For dates this is nearly
# enough. For translation the architecture is only the first condition, and the amount of data is the second. Three
# thousand short sentences and half a minute of training are too little to learn two languages, and a look-up in the
# same sentences does better. Koehn and Knowles (2017) measured the same for real systems: with few data a neural one
# fell far behind a table of phrases, and it passed the table only at about 15 million words.
#
# The beam is no gift for everybody: in the table it helps the transformer in all three runs, and the LSTM in one of
# three. What may we not conclude? Both networks were trained for about half a minute. Three seeds say how far chance
# goes in that time, and nothing about what comes later. A longer training may change the order of the two; whoever has
# an hour can ask `benchmarks/translation.py --passes 20`. Nor were sizes chosen for either of them.
#
# ## What can go wrong
#
# The commonest mistake stops no program: the target is not shifted. A decoder that is *given* the character which it
# must *say* has a loss near zero after a minute, for it only copies, and it writes nonsense when the answer is not
# there. Whenever a loss is too good, look at one batch, as we did with the two rows above. The second mistake is a
# missing mask at the padding of the source, so that a translation depends on the longest sentence of its batch.
# Teacher forcing has a price, too: in training the decoder never sees its own mistakes, and afterwards it must go on
# from them. So one wrong character is often followed by more.
#
# Readers bring along the idea that a BLEU of 20 means "20% right". A score has no meaning without its tokenization,
# its test part and its references (Post 2018), and even human translators stay far from 100 (Papineni et al. 2002).
# Always name the signature that stands below the table.
#
# ## Summary
#
# - The encoder reads a text into one vector a token; the decoder writes, and asks these vectors by cross-attention.
# - Teacher forcing gives the right answer so far; what is wanted is the same row, one place further.
# - Cross-attention learns by itself which part of the source belongs to which part of the answer.
# - A beam keeps several beginnings, and the length penalty makes texts of different length comparable.
# - Scores need controls: with little data the nearest training pair can be the better translator.
#
# ## Exercises
#
# Open [exercises/14_translation.ipynb](exercises/14_translation.ipynb). You shift targets, make the mask of the
# cross-attention, take one step of a beam search, and count chrF by hand. In the experiment you find out which length
# penalty makes a long text win. Each answer is checked.
#
# ## References
#
# - R. J. Williams, D. Zipser (1989). A learning algorithm for continually running fully recurrent neural networks.
#   *Neural Computation* 1. Section 3: teacher forcing.
# - I. Sutskever, O. Vinyals, Q. V. Le (2014). Sequence to sequence learning with neural networks. *NeurIPS*. Section
#   3.2: the search with a beam.
# - T. Luong, H. Pham, C. D. Manning (2015). Effective approaches to attention-based neural machine translation.
#   *EMNLP*. Section 3.1: the attention of the control.
# - Y. Wu and others (2016). Google's neural machine translation system. arXiv:1609.08144. Section 7: length penalty.
# - A. Vaswani and others (2017). Attention is all you need. *NeurIPS*. Section 3.1.
# - R. Xiong and others (2020). On layer normalization in the transformer architecture. *ICML*. Section 3.
# - K. Papineni and others (2002). BLEU: a method for automatic evaluation of machine translation. *ACL*. Sections
#   2 and 3.
# - M. Popović (2015). chrF: character n-gram F-score for automatic MT evaluation. *WMT*. Section 2.
# - P. Koehn, R. Knowles (2017). Six challenges for neural machine translation. *First Workshop on Neural Machine
#   Translation*. Section 3.2: amount of training data.
# - M. Post (2018). A call for clarity in reporting BLEU scores. *WMT*. Section 2.
