# %% [markdown] tags=["edition-2"]
# # 26 · Multilingual
#
# **What does one model for many languages cost, and what does it give?**
#
# **You need** lesson 08 (byte pair encoding, the price of a language), lesson 15 (frozen vectors of texts, BM25),
# lesson 12 (bits per character) and lesson 19 (the modern block).
#
# **You will build** one vocabulary for six languages, a judge of Chinese reviews that has never seen a Chinese label,
# a search from one language into another, and a small GPT that writes in the language it is asked for. Each is held
# against a model of one language.
#
# **Time** about 2 minutes to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from kerasllm import batches, text, weights
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import curves, heat_map, show, use_style
from kerasllm.course.palette import color
from kerasllm.data import load
from kerasllm.evaluation import log_probability, ranks
from kerasllm.generation import Sampling, generate
from kerasllm.models import GPT, gpt_settings
from kerasllm.training import modern

use_style()
LANGUAGES = ["english", "german", "french", "spanish", "russian", "chinese"]
ALONE = ["english", "russian", "chinese"]  # those that a GPT of one language read in full

# %%
LEARNED = dial(2_000, smoke=60)  # verses of each language that vocabularies are learned from
SIZE = dial(4_096, smoke=2_400)  # tokens in each set of vocabularies that is compared
PRICED = dial(None, smoke=20)  # test verses of each language whose tokens are counted; None means all
LABELS = dial(400, smoke=20)  # English snippets with labels
CHECKED = dial(200, smoke=10)  # others that choose a setting
REVIEWS = dial(600, smoke=10)  # Chinese reviews that are judged
SENTENCES = dial(None, smoke=6)  # pairs of everyday sentences; None means all of the test part
READ = dial(9_000, smoke=150)  # verses that the GPT reads, each once
JUDGED = dial(300, smoke=3)  # verses of each language that it has to predict
BEGUN = dial(10, smoke=1)  # beginnings in each language that it goes on with
LAYERS = dial(4, smoke=1)  # blocks of the GPT

# %% [markdown]
# ## Six vocabularies or one?
#
# So far each model of this course read one language, or two that were kept apart. The models that people use read a
# hundred. This lesson asks what that costs a single language and what the language gets for it. We ask it four times:
# of the vocabulary, of a classifier, of a search, and of a model that writes. The control is always the same in kind:
# a model that has one language for itself.
#
# We begin with the vocabulary. In lesson 08 a BPE that learned from six languages made English a quarter dearer than
# one that learned from English alone. But six languages need *six* such vocabularies, and these take six times the
# room. So the fair question is another one. You may keep 4,096 tokens in all. Is it better to have one vocabulary for
# everybody, or six of 682 tokens each? Write down your guess, and one for each language: who gains by sharing?
#
# The texts are verses of the Bible that stand in all six languages, so nobody says more than the others. The price of
# a language is the number of tokens in a verse. There is one detail. Each of the six must hold the 256 bytes and a
# token for padding before it can join anything, and the shared one holds them once. So there is a second control: six
# vocabularies which together have as many *joins* as the shared one, however much room they take.

# %%
union = load("chinese-bible").rename(columns={"label": "book"}).assign(label="chinese")
bibles = pd.concat([load("parallel-bible"), union])
rows = bibles.pivot(index=["split", "book", "chapter", "verse"], columns="label", values="text")
rows = rows[LANGUAGES].dropna()  # a few verses are joined in one version
some, test = rows.loc["train"].sample(LEARNED, random_state=0), rows.loc["test"]
asks = {one: f"<{one}>" for one in LANGUAGES}  # special tokens that the GPT below will need
shared = text.train_bpe([verse for one in LANGUAGES for verse in some[one]], SIZE, eos=True, extra=list(asks.values()))
encoder = weights.sentence_encoder("e5-small")  # its vocabulary is looked at here, its network below
joins = SIZE - 8 - 256  # without special tokens and bytes
each = {"six, equal room": SIZE // 6, "six, equal joins": 257 + joins // 6}
vocabularies = {name: {one: text.train_bpe(some[one], size) for one in LANGUAGES} for name, size in each.items()}
vocabularies |= {"one, shared": dict.fromkeys(LANGUAGES, shared)}
vocabularies |= {"one, English alone": dict.fromkeys(LANGUAGES, text.train_bpe(some["english"], SIZE))}
vocabularies |= {"SmolLM2": dict.fromkeys(LANGUAGES, weights.pretrained_tokenizer("smollm2-135m-instruct"))}
vocabularies |= {"E5": dict.fromkeys(LANGUAGES, encoder.tokenizer)}

# %%
cost = {}
for name, of in vocabularies.items():
    cost[name] = [np.mean([len(ids) for ids in of[one].encode_batch(test[one][:PRICED])]) for one in LANGUAGES]
used = np.zeros((SIZE, len(LANGUAGES)), bool)  # which language needs which token of the shared vocabulary
for column, one in enumerate(LANGUAGES):
    ids = shared.encode_batch(rows.loc["train", one].sample(LEARNED, random_state=1))
    used[np.unique(np.concatenate(ids)), column] = True
joined = used[-joins:]
alone = np.mean(joined.sum(axis=1) == 1)
print(f"the shared vocabulary has {joins:,} joins, and {alone:.0%} of them are used by one language alone")
print("joins that a language uses:", ", ".join(f"{one} {joined[:, n].sum():,}" for n, one in enumerate(LANGUAGES)))
sizes = {"SmolLM2": 49_152, "E5": encoder.tokenizer.vocabulary_size}

# %% tags=["hide"]
# @title Figure: the price of a verse
figure = heat_map(
    list(cost.values()),
    rows=[f"{name} ({sizes[name]:,} tokens)" if name in sizes else name for name in cost],
    columns=[one.capitalize() for one in LANGUAGES],
    title="What a verse costs, in tokens",
    digits=0,
    most=200,
    size=(8, 3.2),
)
show(figure, "Tokens in a verse for six languages and six vocabularies as a grid of numbers. The shared vocabulary has"
     " similar numbers in all columns; English alone is dear for Russian and Chinese.")  # fmt: skip

# %% [markdown]
# Read the rows from the top. The shared vocabulary is cheaper than six with the same room, for all six languages.
# Most of that is no achievement of sharing. The six hold their bytes six times, and so they have fewer joins. With as
# many joins the six come nearer, and what remains, about three tokens a verse, is worth a closer look.
#
# A third of the joins is used by more than one language, because the four that are written in Latin letters have
# parts of words in common. Russian and Chinese share a part with hardly anybody. They are cheaper all the same, for
# another reason: a shared vocabulary need not give everyone an equal part. It joins whatever saves most. The second
# printed line counts the joins that each language uses, and each has more of them than the 638 that are its equal
# part.
#
# The price shows in the fourth row. English alone in 4,096 tokens costs fewer tokens than in the shared vocabulary,
# and everyone else pays for it. The last two rows are vocabularies in use. SmolLM2's was made for English and code.
# E5's has 250,002 pieces for a hundred languages, and here no language costs more than another by half. So a language
# is not dear by nature; it is dear in a vocabulary that did not learn from it. The price of fairness is room: in E5
# more than four of five weights are the vectors of these pieces.
#
# ## One space for all languages
#
# A vocabulary only cuts. Whether a model *understands* two languages as one is another question. **Multilingual E5**
# is an encoder like MiniLM of lesson 15, with twelve blocks and 250,002 pieces for a hundred languages. It learned on
# about a thousand million pairs of texts that belong together, and many of them are translations (Wang et al. 2024).
# So a sentence and its translation were pulled to the same place. If that has worked, something surprising must
# follow. A head that learned on English vectors what is good and what is bad should know it in Chinese too, without a
# single Chinese label. This is called **zero-shot transfer**.

# %% tags=["hide"]
# @title Drawing: one space, one head
sheet = Diagram(8, 2.5)
body = sheet.box("encoder\n(frozen)", (3.0, 1.25), meaning="given", width=1.0, height=1.5)
for y, words, label in ((1.9, "A dull film.", "labelled"), (0.6, "房间很脏。", "never labelled")):
    one = sheet.box(words if y > 1 else "a Chinese review", (1.1, y), meaning="query" if y > 1 else "key", width=1.5)
    sheet.text((1.1, y + 0.32), label, meaning="given", size=8.5)
    sheet.arrow(one.right, (body.left[0], y))
    vector = sheet.vector((4.6, y), cells=5, meaning="state", upright=False)
    sheet.arrow((body.right[0], y), vector.left, meaning="state")
head = sheet.box("head", (6.2, 1.25), meaning="weights", width=0.8, height=0.6)
sheet.arrow((5.05, 1.9), head.left, through=[(5.5, 1.9), (5.5, 1.25)], meaning="state")
sheet.arrow((5.05, 0.6), head.bottom, through=[(6.2, 0.6)], meaning="state", dashed=True)
sheet.text((5.6, 2.1), "learns here", meaning="weights", size=8.5)
sheet.text((5.75, 0.4), "is asked here", meaning="weights", size=8.5)
answer = sheet.box("bad", (7.4, 1.25), meaning="output", width=0.7)
sheet.arrow(head.right, answer.left)
show(sheet.figure, "An English text and a Chinese one go through the same frozen encoder and become vectors. The head"
     " learns from the English vectors alone and is then asked about the Chinese ones.")  # fmt: skip

# %% [markdown]
# It can fail in a way that is easily mistaken for ignorance. Let the head be a line with its border at 0, and let
# English opinions lie at $-2, -1, 1, 2$. Suppose that Chinese texts of the same four opinions lie at $1, 2, 4, 5$,
# because the language itself has moved them by 3. All four come out as good, so half of the answers are wrong. Yet
# the order is perfect: each good text lies above each bad one. If we subtract the mean of the *Chinese* texts, which
# needs no label, the answers are right. So we measure three things: the answers as they are; the answers after each
# language was moved to its own mean; and the **ranking**, the share of pairs of a good and a bad text in which the
# good one gets the higher score (it is the area under the ROC curve of lesson 07).

# %%
opinion = np.array([-2.0, -1, 1, 2])  # on the axis that the head looks at; its border is 0
moved = opinion + 3  # the same opinions in another language
good = opinion > 0
for name, scores in {"English": opinion, "moved": moved, "moved to its own mean": moved - moved.mean()}.items():
    above = np.mean(scores[good][:, None] > scores[~good])  # pairs of a good and a bad text
    print(f"{name:22s} right {np.mean((scores > 0) == good):4.0%}   ranking {above:.0%}")

# %% [markdown]
# Now the experiment. The head is a logistic regression on vectors, moved and scaled to mean 0 and spread 1 by the
# training texts. It learns from 400 film snippets in English, 200 others choose its strength, and then it judges 600
# Chinese reviews. Everybody reads the first 64 tokens.
#
# The trouble is that two things change at once. The Chinese texts are reviews of hotels, books and computers, not of
# films. So we need a third set that changes one thing alone: sentences about cameras and telephones in English,
# labelled by the same people with the same rules as the snippets (Hutto and Gilbert 2014). The controls are a head
# that learned from 400 *Chinese* reviews, which is as good as one can hope to be; the same heads on vectors of
# MiniLM, an encoder for English; a head whose labels were shuffled; and one answer for all. Before you read on: of
# 100 Chinese reviews, how many will the English head judge rightly?


# %%
def head(vectors, labels, check_vectors, check_labels):
    """Learns to tell good from bad; returns a function from vectors to scores, above 0 for good."""
    mean, spread = vectors.mean(axis=0), vectors.std(axis=0)
    strengths = (0.001, 0.01, 0.1, 1)
    tried = [LogisticRegression(C=C, max_iter=2_000).fit((vectors - mean) / spread, labels) for C in strengths]
    best = max(tried, key=lambda one: one.score((check_vectors - mean) / spread, check_labels))
    return lambda texts: best.decision_function((texts - mean) / spread)


# %%
def drawn(name, part, count):
    """The first texts of a part in a random order, and 1 for each good one."""
    frame = load(name)
    chosen = frame[frame["split"] == part].sample(frac=1, random_state=0)[:count]
    return encoder.embed(chosen["text"]), (chosen["label"] == "positive").to_numpy(int)


encoder.max_length = 64
films, checks = drawn("movie-snippets", "train", LABELS), drawn("movie-snippets", "validation", CHECKED)
reviews, truth = drawn("chinese-reviews", "test", REVIEWS)
scores = head(*films, *checks)(reviews)
here = 100 * np.mean((scores > 0) == truth)

# %%
table = load("multilingual")  # every number of benchmarks/multilingual.py
opinions = table[table["part"] == "transfer"]
same = opinions.query("model == 'e5-small' and source == 'english films' and target == 'chinese goods' and seed == 0")
[in_table] = 100 * same.loc[same["measure"] == "accuracy", "value"]
low, high = (100 * same.loc[same["measure"] == "accuracy", end].item() for end in ("low", "high"))
print(f"the English head on Chinese reviews: {here:.1f}% right, {in_table:.1f} in the table ({low:.1f} to {high:.1f})")
print(f"{100 * np.mean(scores > 0):.0f}% of its answers are good, and {100 * truth.mean():.0f}% of the reviews are")

# %% [markdown]
# The repeat gives the number of the table. Three such draws of 400 snippets, which share none, and all controls stand
# in it too. In the figure a line names the encoder and what the head learned from. Its dots are the three draws, and
# its band holds 95% of what other test texts would give. The dashed line is one answer for all. Look first at the
# right panel: how far do the blue dots, heads of English films, lie from the orange ones? Then look at the middle
# panel: what does another subject cost without another language?

# %% tags=["hide"]
# @title Figure: what a head knows of texts that it did not learn from
figure, panels = plt.subplots(1, 3, figsize=(8.8, 3.8), sharey=True)
SUBJECTS = ["english films", "english goods", "chinese goods"]
LINES = [("e5-small", one, "subject" if one == "english films" else "control") for one in SUBJECTS]
LINES += [("minilm", "english films", "subject"), ("minilm", "chinese goods", "control")]
LINES += [("e5-small", "english films, shuffled labels", "given")]
of = opinions[opinions["measure"] == "accuracy"].set_index(["model", "source", "target"]).sort_index()
for ax, target in zip(panels, SUBJECTS, strict=True):
    for row, (model, source, meaning) in enumerate(LINES):
        one = 100 * of.loc[(model, source, target)]
        ax.plot([one["low"].mean(), one["high"].mean()], [row, row], color=color(meaning), lw=5, alpha=0.25)
        ax.plot(one["value"], [row] * len(one), "o", color=color(meaning), ms=4.5, mec="white", mew=0.6)
    ax.axvline(100 * of.loc[("one answer for all", "", target), "value"].item(), color=color("given"), ls="--", lw=1)
    ax.set(xlabel="judged rightly, %", xlim=(38, 95))
    ax.set_title(f"judges {target.replace('english', 'English').replace('chinese', 'Chinese')}", fontsize=10)
names = {"e5-small": "E5", "minilm": "MiniLM", "english": "English", "chinese": "Chinese", " labels": ""}
ticks = [f"{model}, {source}" for model, source, _ in LINES]
for name, said in names.items():
    ticks = [tick.replace(name, said) for tick in ticks]
panels[0].set_yticks(range(len(LINES)), ticks)
panels[0].invert_yaxis()
show(figure, "Accuracy on films, English goods and Chinese goods of heads that learned from each of them, on vectors of"
     " E5 and of MiniLM. Points are three draws of training texts, bands the interval over test texts, the dashed line"
     " one answer for all.")  # fmt: skip


# %%
def points(model, source, target):
    """The accuracy in percent for each draw of training texts."""
    chosen = opinions.query("model == @model and source == @source and target == @target and measure == 'accuracy'")
    return (100 * chosen["value"]).tolist()


def percent(rows, index, columns):
    """The means of a table in percent, as a text."""
    return (100 * rows.pivot_table("value", index, columns)).round(1).to_string()


over_e5 = opinions[(opinions["model"] == "e5-small") & opinions["source"].isin(SUBJECTS)]
over_e5 = over_e5.replace({"accuracy, centred": "own mean", "positive answers": "called good"})
in_chinese = over_e5[over_e5["target"] == "chinese goods"]
print("right, by what is judged:", percent(over_e5.query("measure == 'accuracy'"), "source", "target"), sep="\n")
print("\nChinese goods:", percent(in_chinese, "source", "measure"), sep="\n")
draws = percent(in_chinese[in_chinese["source"] == "english films"], "seed", "measure")
print("\nEnglish films, the three draws:", draws, sep="\n")

# %% [markdown]
# Begin with the right panel. Without one Chinese label the head of English films judges 73 of 100 Chinese reviews
# rightly, and the head of 400 Chinese reviews 79. With shuffled labels it is a coin, and over MiniLM it is one too,
# for MiniLM was made for English. So the transfer is real. Labels of one's own were still worth more in each of the
# three draws, though by how much differs from draw to draw.
#
# Is that loss the price of the language? The middle panel says: hardly. There the language stays English, only the
# subject is another one, and the head of films stays eight points behind the head of goods. In the opposite direction
# it is clearer. The head of *Chinese* goods judges English goods as well as the head of English goods does, to within
# two points, and films no worse. For these vectors it matters less in which language a text is than what it is about.
# With one source alone we would have blamed the language for all of it.
#
# What is lost is partly the border and not the knowledge. Look at the last two tables. The ranking of Chinese reviews
# by the film heads is 84%, near the 86% of the Chinese heads, and it is the same for each draw. But the three
# accuracies are far apart, from 67 to 78, and the lowest belongs to a head that calls only 21% of the reviews good.
# These are the moved texts of our toy. In the column *own mean* each set was moved to its own mean, and the same
# three heads are right in 77 to 78 of 100. This repair has a condition, though: good and bad must have the same share
# in both sets. The goods in English are good six times in ten, and their heads get *worse* by it, from 76 to 71.

# %%
heads = Claims("What a head knows of Chinese reviews", over="draws of 400 training texts")
zero_shot, own = (
    points("e5-small", "english films", "chinese goods"),
    points("e5-small", "chinese goods", "chinese goods"),
)
heads.claim("Without a Chinese label it judges better than over an English encoder", zero_shot, ">",
            points("minilm", "english films", "chinese goods"), control="the same texts over MiniLM",
            unit="points", headline="a head of English films on Chinese reviews: {measured} over multilingual E5, "
            "{bound} over MiniLM")  # fmt: skip
heads.claim("Chinese labels are worth more", own, ">", zero_shot, control="English labels", unit="points")  # fmt: skip
heads.show()

# %% [markdown]
# ## Search across languages
#
# If a text and its translation lie at the same place, one can ask in English and find Chinese. The test is simple:
# give the encoder English sentences and their Chinese translations, and count how often a sentence finds *its own*
# partner first among all of them, or among the first five. If the partner is only one of several with the same score,
# it counts as found last, since a search that gives all texts the same score has found nothing.
#
# The sentences are those of an examination in Chinese, short and plain ("There is a test tomorrow, I need to
# prepare"). Two controls read the same. BM25 counts what two texts share: words, or groups of three characters, so
# that names and numbers in Latin letters may help. MiniLM has vectors too, but read English alone. Guess how many of
# 100 sentences each of the three finds.


# %%
def hits(scores, k):
    """scores (questions, texts); the right text of question i is text i. The share with it among the first k."""
    own = np.diag(scores)[:, None]
    return np.mean((scores >= own).sum(axis=1) <= k)  # itself, and whoever is as good or better


pairs = load("hsk-sentences").query("split == 'test'").drop_duplicates("source").drop_duplicates("target")[:SENTENCES]
encoder.max_length = encoder.network.context_length
english, chinese = (encoder.embed(pairs[side]) for side in ("source", "target"))
cosines = english @ chinese.T  # (English, Chinese)
assert hits(cosines, 1) == np.mean(ranks(cosines, np.arange(len(cosines))) <= 1)  # the library's rule
for name, asked in {"English finds Chinese": cosines, "Chinese finds English": cosines.T}.items():
    print(f"{name:22s} first {100 * hits(asked, 1):.1f}%, in the first five {100 * hits(asked, 5):.1f}%")
for place, row in enumerate(cosines[:3]):
    print(pairs["source"].iloc[place], "→", pairs["target"].iloc[row.argmax()])
one_hit = 100 * hits(cosines, 1)

# %%
searches = table[table["part"].isin(["sentences", "verses"])]
sentences = searches[searches["part"] == "sentences"]
print(percent(sentences.replace("centred", "own mean", regex=True), "model", ["source", "measure"]))
verses = searches.query("part == 'verses' and measure == 'hit at 1'")  # 100 of the test books
[by_minilm] = 100 * sentences.query("model == 'minilm' and source == 'english' and measure == 'hit at 1'")["value"]
finds = {name: one.pivot(index="source", columns="target", values="value").reindex(index=LANGUAGES, columns=LANGUAGES)
         for name, one in verses.groupby("model")}  # fmt: skip
plain_hits, moved_hits = (100 * finds[name].loc["chinese"].mean() for name in ("e5-small", "e5-small, centred"))
print(f"Chinese verses find {plain_hits:.0f}% of their partners, {moved_hits:.0f}% after each language was moved")

# %% tags=["hide"]
# @title Figure: who finds whom among 100 verses
figure, panels = plt.subplots(1, 3, figsize=(8.8, 3.3), sharey=True)
titles = {
    "e5-small": "multilingual E5",
    "minilm": "MiniLM, for English",
    "BM25, three characters": "BM25, three letters",
}
for ax, (name, title) in zip(panels, titles.items(), strict=True):
    numbers = 100 * finds[name].to_numpy()
    ax.imshow(numbers, cmap="Blues", vmin=0, vmax=130)
    for (row, column), value in np.ndenumerate(numbers):
        if np.isfinite(value):
            ax.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8.5)
    ax.set_xticks(range(6), [one[:2].capitalize() for one in LANGUAGES])
    ax.set_yticks(range(6), [one.capitalize() for one in LANGUAGES])
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("finds")
    ax.grid(False)
panels[0].set_ylabel("asks")
show(figure, "Three grids: rows ask, columns are searched. The share of 100 verses that find their own translation"
     " first: high everywhere for multilingual E5, low elsewhere except among related languages.")  # fmt: skip

# %% [markdown]
# E5 finds the Chinese partner of 87 of 100 English sentences in the first place, and nearly all in the first five.
# MiniLM finds four, and BM25 finds none, since two scripts have no three characters in common. In the grids of the
# verses you see what MiniLM and BM25 live on. They find relatives, and French and Spanish spell so much alike that
# counting three letters finds most of the partners. A search by letters is no search by meaning, but among related
# languages it is hard to beat for its price.
#
# One row of E5 is strange. Spanish verses find their Chinese partners, but Chinese ones find only half of the Spanish
# verses. If partners lay at the same place, both directions would be alike. The trouble of our toy may be the cause:
# if a language as a whole has moved, some of its verses are near to every Chinese question. Then the repair of the
# toy must help, and the printed line shows that it does. After each language was moved to its own mean, nearly every
# verse is found.
#
# A doubt remains. Bibles are on the web in a hundred languages, and sentences like these too, so E5 may have met some
# of our pairs in its training. Then part of this is memory.
#
# ## One writer, six languages
#
# The last question is the price that a model pays which must *write* six languages with the weights of one. Our GPT
# has four modern blocks of width 64 (lesson 19) and the shared vocabulary. How does it know which language is wanted?
# The oldest answer is still in use: a **language token**, a special token in front of the text, names the language
# (Johnson et al. 2017). Each verse is written as `<german>`, its tokens, `<eos>`, and the verses are shuffled. So
# the verse before says nothing about the language of the next one, and the token must be obeyed.
#
# The shared GPT reads 9,000 verses, each once and each in one of the six languages by turns, so it sees 1,500 verses
# of each. There are two controls. *Its sixth* is a GPT of the same size that reads the same 1,500 verses of one
# language and nothing else. Against it we see what 7,500 verses in *other* languages give. *All verses* reads all
# 9,000 verses in one language. It costs as much training as the shared one, so against it we see the price of
# sharing. All are judged on the same verses of the test books, each verse alone behind its token.

# %%
lines = rows.loc["train"].sample(READ, random_state=0)
stream = [None] * READ
for turn, one in enumerate(LANGUAGES):  # the first verse in English, the second in German, ...
    tokens = shared.encode_batch(lines[one][turn::6])
    stream[turn::6] = [[shared.id_of(asks[one]), *ids, shared.eos_id] for ids in tokens]
stream = np.concatenate(stream)
steps = ((len(stream) - 1) // 128 - 1) // 8  # one pass, in batches of 8 windows of 128 tokens
print(f"{len(stream):,} tokens, {steps} steps:", shared.decode(stream[:18], skip_special=False), "...")

# %%
keras.utils.set_random_seed(0)
shape = {"num_layers": LAYERS, "num_heads": 4, "embedding_dim": 64, "hidden_dim": 168, "use_bias": False}
kinds = {"positions": "rotary", "norm": "rms_norm", "qk_norm": True, "gated": True, "activation": "silu"}
model = GPT(gpt_settings(SIZE, 128, **shape, **kinds))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
recipe = modern(steps, 0.01, warmup_steps=max(1, steps // 20), weight_decay=0.1)
model.compile(recipe, loss, jit_compile=True)
feed = batches.windows(stream, context=128, batch_size=8, seed=0, steps=steps)
history = model.fit(feed, shuffle=False, verbose=0)
print(f"{model.count_params():,} parameters; the mean loss of the pass is {history.history['loss'][0]:.2f}")

# %%
judged = test.sample(JUDGED, random_state=0)
writes = table[table["part"] == "writing"]
told = writes[writes["measure"] == "bits a character"].groupby(["model", "target"])["value"].agg(list)  # over seeds


def in_words(values):
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


print("bits a character: here; the same in the table, three seeds; GPTs that read a sixth")
for one in LANGUAGES:
    ids = [[*line, shared.eos_id] for line in shared.encode_batch(judged[one])]
    found = log_probability(model, [[shared.id_of(asks[one])]] * len(ids), ids)
    bits = -found.total.sum() / np.log(2) / (judged[one].str.len() + 1).sum()
    print(f"{one:8s} {bits:.3f}; {in_words(told['six languages', one])}; {in_words(told[f'{one}, its sixth', one])}")
prompts = [[shared.id_of(token)] for token in asks.values()]
for ids in generate(model, prompts, 40, Sampling(0.7), seed=1, stop_tokens=[shared.eos_id]):
    print(shared.decode(ids, skip_special=False))

# %% tags=["hide"]
# @title Figure: what sharing costs and gives
figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.2), sharey=True)
differences = writes[writes["measure"] == "difference"].assign(kind=lambda frame: frame["model"].str.split(", ").str[1])
for ax, kind, meaning in zip(panels, ("its sixth", "all verses"), ("subject", "control"), strict=True):
    for row, language in enumerate(LANGUAGES):
        found = differences[(differences["kind"] == kind) & (differences["target"] == language)]
        ax.plot([found["low"].min(), found["high"].max()], [row] * 2, color=color(meaning), lw=5, alpha=0.25)
        ax.plot(found["value"], [row] * len(found), "o", color=color(meaning), ms=5)
    ax.axvline(0, color=color("given"), lw=1)
    ax.set(xlabel="shared minus alone, bits a character", title=f"against {kind} in one language")
    ax.margins(x=0.12)
    ax.annotate("shared is better" if kind == "its sixth" else "", (0, -0.6), (-4, 0), textcoords="offset points",
                ha="right", va="center", fontsize=8.5, color=color("given"))  # fmt: skip
    ax.annotate("alone is better", (0, -0.6), (4, 0), textcoords="offset points", va="center", fontsize=8.5,
                color=color("given"))  # fmt: skip
    ax.set_ylim(-1, 5.6)
panels[0].set_yticks(range(6), [one.capitalize() for one in LANGUAGES])
panels[0].invert_yaxis()
told_apart = differences.pivot_table("value", "target", "kind", aggfunc=["mean", "std"]).reindex(LANGUAGES)
size = differences.assign(value=differences["value"].abs()).pivot_table("value", "target", "kind").loc[ALONE]
gained, paid = size["its sixth"].tolist(), size["all verses"].tolist()
print(told_apart.swaplevel(axis=1)[["its sixth", "all verses"]].round(3).to_string(na_rep=""))
show(figure, "For each language and seed: bits a character of the shared GPT minus those of a GPT that read a sixth"
     " of the verses in one language, around zero, and minus those of one that read all verses in it, far"
     " above.")  # fmt: skip

# %% [markdown]
# Start with the left panel: three seeds, each with other verses and other starting weights. It shows what 7,500
# verses in *other* languages were worth to a language, although they cost six times the training. English, German and
# French gain with each seed, but no more than 0.07 bits. For Spanish and Russian the three seeds do not agree on the
# sign. Chinese shows why one run is not enough: with one seed it gains a tenth of a bit, and with another it loses as
# much. What remains is that the six languages hardly help each other here, and hardly hurt each other either. One GPT
# writes all six about as well as six GPTs that read the same verses.
#
# The right panel is the price, and here all seeds agree. A model that spends all of its training on one language
# needs far fewer bits in it than the shared one: 0.4 in English, 0.5 in Russian and more than 1 in Chinese. The
# reason is simple, because it has read six times as many verses of it. Conneau et al. (2020) describe such a price at
# the scale of a hundred languages, and gains for those with little text. Here what other languages give cannot
# replace text of one's own.
#
# Two doubts remain. The texts above show how far these GPTs are from good ones, and larger models may share more. And
# all have one vocabulary, the shared one; a model of one language would do better with its own.
#
# ## Asked in one language, begun in another
#
# What does the model write if the token asks for German, but the verse begins in English? In training this never
# happened: token and text always agreed. The mixture of two languages in one text is called **code-switching**, and
# people who speak two languages do it all the time. Here it is a conflict between an order and a habit. We let each
# verse begin with a few tokens of another language, 0 to 8 of them, and judge what comes behind. The judge is a
# classifier that counts groups of characters; the cell prints how often it is right on pieces of real verses.

# %%
learn = rows.loc["train"].sample(LEARNED // 2, random_state=1)
known = [
    (line[at : at + 20], one) for one in LANGUAGES for line in learn[one] for at in (0, 20, 40) if len(line) > at + 5
]
judge = make_pipeline(TfidfVectorizer(analyzer="char", ngram_range=(1, 3)), LogisticRegression(C=10))
judge.fit(*map(list, zip(*known, strict=True)))
check = test.sample(JUDGED, random_state=2)
right = [judge.predict([line[-20:] for line in check[one]]) == one for one in LANGUAGES]
print(f"the judge knows the language of 20 characters: {100 * np.mean(right):.1f}%")
begun = {one: shared.encode_batch(test.sample(BEGUN, random_state=3)[one]) for one in LANGUAGES}
stop = [shared.eos_id, *(shared.id_of(token) for token in asks.values())]
mixed = [("german", "english"), ("english", "chinese"), ("french", "russian"), ("spanish", "french")]
prompts = [[shared.id_of(asks[asked]), *begun[given][0][:8]] for asked, given in mixed]
for ids, prompt in zip(generate(model, prompts, 20, Sampling(0.7), seed=0, stop_tokens=stop), prompts, strict=True):
    print(f"{shared.decode(prompt, skip_special=False)} → {shared.decode(ids[len(prompt) :])}")

# %%
cases = [(asked, given, foreign, ids[:foreign]) for asked in LANGUAGES for given in LANGUAGES if asked != given
         for foreign in (2, 8) for ids in begun[given]]  # fmt: skip
prompts = [[shared.id_of(asks[asked]), *ids] for asked, _, _, ids in cases]
texts = generate(model, prompts, 16, Sampling(1.0), seed=0, stop_tokens=stop)
said = judge.predict([shared.decode(ids[len(prompt) :]) for ids, prompt in zip(texts, prompts, strict=True)])
wanted, foreign = np.array([case[0] for case in cases]), np.array([case[2] for case in cases])
obeyed = {count: 100 * np.mean((said == wanted)[foreign == count]) for count in (2, 8)}
for count, share in obeyed.items():
    print(f"after {count} tokens of another language {share:.0f}% of the texts go on as they were asked to")

# %% tags=["hide"]
# @title Figure: order against habit
switches = table[(table["part"] == "switching") & (table["model"] != "judge")].assign(
    foreign=lambda frame: frame["source"].astype(int)
)
lines = {"in the language asked for": ("other", "as asked"), "in that of the beginning": ("other", "as begun"),
         "both agree": ("same", "as asked")}  # fmt: skip
shares = {
    name: 100
    * switches.query("model == @kind and measure == @measure")
    .pivot_table(index="seed", columns="foreign", values="value")
    .to_numpy()
    for name, (kind, measure) in lines.items()
}
figure = curves(
    sorted(switches["foreign"].unique()),
    shares,
    title="The longer a text has begun in another language, the less the token is obeyed",
    x_label="tokens of the beginning",
    y_label="texts that go on, %",
    colors={"in the language asked for": "subject", "in that of the beginning": "control", "both agree": "given"},
)
show(figure, "Share of texts that go on in the language that was asked for, and in the language of the beginning,"
     " against the number of tokens of the beginning.")  # fmt: skip

# %% [markdown]
# The lines are means of the three shared GPTs of the table, and the bands their spread. The token is obeyed, but not
# blindly. Alone it brings nine of ten texts into the language that was asked for, and about as many stay there if the
# beginning agrees with it. One token of another language brings that down to three of four, and eight of them to six
# of ten. Most of what is lost goes on in the language of the beginning. The rest is neither: mixtures, which the
# judge sends to a third language. The GPT of this notebook obeys less than the three of the table, so models of one
# kind differ here by more than ten points. What all of them share is the direction: the longer the beginning, the
# more the habit weighs. The model has learned both, the order and the habit, and nobody taught it which of them is
# stronger.

# %%
found = Claims("What one model costs and gives")
found.claim("E5 finds more translations than an English encoder", one_hit, ">", by_minilm, unit="% of the sentences",
            control="MiniLM, the same sentences")  # fmt: skip
found.claim("Moved to its own mean, Chinese finds more verses", moved_hits, ">", plain_hits, unit="% of the verses",
            control="the vectors as they are")  # fmt: skip
found.claim("The longer the beginning, the less the token is obeyed", obeyed[8], "<", obeyed[2], unit="% of the texts",
            control="2 tokens of another language")  # fmt: skip
found.show()
sharing = Claims("What sharing costs and gives, language by language", over="languages")
sharing.claim("One vocabulary is cheaper than six with as many joins", cost["one, shared"], "<",
              cost["six, equal joins"], control="six vocabularies, as many joins together",
              unit="tokens a verse")  # fmt: skip
sharing.claim("Other languages matter less than text of one's own", gained, "<", paid, unit="bits a character",
              control="as many verses in one language",
              headline="to a small GPT verses in other languages matter {measured}, its own {bound}")  # fmt: skip
sharing.show()

# %% [markdown]
# ## What can go wrong
#
# Many believe that bits a character tell which language is *harder* to model. The cell shows why they do not. A
# Chinese character says as much as several letters, so it must cost more bits. The same verse is the fair unit, since
# it says the same in all six (Cotterell et al. 2018).

# %%
unit = writes[writes["model"] == "six languages"].pivot_table("value", "target", "measure")  # means of the seeds
unit = unit.loc[LANGUAGES, ["bits a character", "bits a verse"]]
print(unit.assign(characters=[judged[one].str.len().mean() for one in LANGUAGES]).round(2).to_string())
query = sentences.query("source == 'english' and measure == 'hit at 1'")
query = 100 * query.set_index("model")["value"]
print(f"E5 finds {query['e5-small']:.1f}% with “query: ”, {query['e5-small, no prefix']:.1f}% without it")

# %% [markdown]
# In bits a character Chinese looks more than three times as hard as English (the numbers are means of three seeds).
# In bits a verse it is the cheapest of the six. Neither number says that a language is easy, since the versions are
# of different age and style; but only the second one compares what was said. For the same reason a loss *a token*
# cannot be compared between vocabularies.
#
# The last line tests an advice. E5 was trained with "query: " in front of its texts, and its card says that results
# are worse without. On our sentences they are a little better. That is one kind of text, and weights that were
# rounded to four bits; but advice of this kind costs a minute to measure, so measure it.
#
# ## Summary
#
# - One vocabulary for six languages is cheaper than six that fill the same room, because bytes are stored once and
#   related languages share parts. Each language pays more than with the whole room for itself.
# - A head that saw English films alone judges Chinese reviews well over E5, and not at all over an English encoder.
#   Another subject costs it as much as another language does.
# - Languages lie beside each other, not on each other. To move each to its own mean repairs borders and searches, if
#   both sets have the same share of good and bad.
# - Other languages give a small writer little and cost it little, for each verse of its own. What helps is text of
#   one's own. Ask three seeds before you believe a small difference.
# - A language token is obeyed less, the longer a text has gone on in another language.
#
# ## Exercises
#
# Open [exercises/26_multilingual.ipynb](exercises/26_multilingual.ipynb). You compare prices, move vectors to their
# own mean, count hits in a search, and let languages take turns. In the experiment you find out how large a share of
# the texts a language needs. Each answer is checked.
#
# ## References
#
# - A. Petrov and others (2023). Language model tokenizers introduce unfairness between languages. *NeurIPS*. Section
#   4.
# - L. Wang and others (2024). Multilingual E5 text embeddings: a technical report. arXiv:2402.05672. Section 2.
# - A. Conneau and others (2020). Unsupervised cross-lingual representation learning at scale. *ACL*. Section 5: the
#   price of many languages in one model.
# - T. Pires, E. Schlinger, D. Garrette (2019). How multilingual is multilingual BERT? *ACL*. Section 4.
# - J. Libovický, R. Rosa, A. Fraser (2020). On the language neutrality of pre-trained multilingual representations.
#   *Findings of EMNLP*. Section 3: each language moved to its own mean.
# - M. Johnson and others (2017). Google's multilingual neural machine translation system: enabling zero-shot
#   translation. *Transactions of the ACL* 5. Section 3: a token names the language.
# - R. Cotterell, S. Mielke, J. Eisner, B. Roark (2018). Are all languages equally hard to language-model? *NAACL*.
#   Section 2: the same text in each language.
# - C. Hutto, E. Gilbert (2014). VADER: a parsimonious rule-based model for sentiment analysis of social media text.
#   *ICWSM*. The texts and their labels.
