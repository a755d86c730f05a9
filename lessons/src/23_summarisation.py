# %% [markdown] tags=["edition-2"]
# # 23 · Summarisation
#
# **How does a long text become a short one, and how would we know that it is right?**
#
# **You need** lesson 07 (F1, the bootstrap), lesson 10 (TF-IDF), lesson 14 (the encoder-decoder) and lesson 20
# (SmolLM2, its chat template, LoRA).
#
# **You will build** a summarizer that needs no training, and the score by which summaries are compared. Then four
# readers write headlines for the same articles: a rule, an encoder-decoder, SmolLM2 as it came, and SmolLM2 with LoRA.
# You measure them, find out what the score does not see, and count by hand what they invent.
#
# **Time** about 3 minutes to run on a laptop with 2 cores, and 40 minutes to read.

# %% tags=["hide"]
# @title Imports
import re
from collections import Counter

import keras
import numpy as np

from kerasllm import weights
from kerasllm.batches import steps_per_epoch
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import bars, show
from kerasllm.data import load
from kerasllm.evaluation import compare_summaries, rouge
from kerasllm.models import Seq2Seq, Seq2SeqSettings
from kerasllm.tasks import Summarizer, Translator
from kerasllm.tasks.sentences import lexrank, sentence_spans
from kerasllm.text import train_bpe

# %%
WORDS = dial(50, smoke=50)  # words of an article that a network reads
LEARNED = dial(None, smoke=96)  # articles that the encoder-decoder learns from; None means all
PASSES = dial(3, smoke=1)  # passes over them
BLOCKS = dial(30, smoke=1)  # blocks of the language model that are kept; it has 30
ASKED = dial(10, smoke=1)  # articles for which it is asked here
NEW = dial(24, smoke=2)  # most tokens of a headline
SAMPLES = dial(1_000, smoke=20)  # how often the test articles are drawn anew for an interval

# %% [markdown]
# ## Ten words for a hundred
#
# Somebody has ten seconds for a newspaper and reads the headlines. Who writes them must find what is new in an article
# and say it in about nine words, with nothing in them that the article does not say. This is **summarisation** in its
# shortest form. It is a good task to learn from, because every article of a newspaper comes with one right answer.
# The set `headlines` has articles of nine news sites from the winter of 2016 to 2017.
#
# News puts the important things first. So the networks read only the first fifty words of an article, which a laptop
# can do in the minutes of a lesson; rules cost nothing and read a hundred. Before you run anything, write down an order
# of four readers: the first sentence of the article, an encoder-decoder trained on 2,561 pairs, a language model of 135
# million weights that is simply asked, and the same model after it has seen 192 headlines. Which is best, and by how
# much?

# %%
frame = load("headlines")  # text, summary (the headline), split
words = frame["text"].str.split()
good = (words.str.len() >= 40) & (frame["summary"].str.split().str.len() >= 4)
good &= ~frame["summary"].str.casefold().duplicated(keep=False)  # a headline of many articles says nothing of one
frame = frame.assign(opening=words.str[:100].str.join(" "), start=words.str[:WORDS].str.join(" "))[good]
parts = {name: frame[frame["split"] == name] for name in ("train", "validation", "test")}
test = parts["test"]
openings, headlines = test["opening"].tolist(), test["summary"].tolist()
print({name: len(part) for name, part in parts.items()})
print(openings[174][:100], "...\n->", headlines[174])

# %% [markdown]
# There are two kinds of summaries. An **extractive** one consists of sentences of the text, so it can hardly say what
# the text does not. An **abstractive** one is written anew, word by word. It may be shorter and say it better, and it
# may also say anything. The drawing shows one extractive way and two abstractive ones.

# %% tags=["hide"]
# @title Drawing: three ways from a text to a summary
sheet = Diagram(8, 3.2)
article = sheet.box("the first\nwords of\nan article", (0.75, 1.6), width=1.1, height=0.9)
ways = [
    (2.65, "choose: which sentence is most like all the others?", "given", "a sentence of the article"),
    (1.6, "write: an encoder-decoder, trained on pairs", "weights", "new words"),
    (0.55, "ask: “Write a headline ...”, a language model", "weights", "new words"),
]
for y, words_, meaning, what in ways:
    way = sheet.box(words_, (3.75, y), meaning=meaning, width=3.7, height=0.55, size=9)
    out = sheet.box(what, (7.0, y), meaning="output", width=1.75, height=0.55, size=9)
    sheet.arrow(article.right, way.left, through=[(1.6, 1.6), (1.6, y)] if y != 1.6 else [])
    sheet.arrow(way.right, out.left)
sheet.text((7.0, 3.08), "summary", size=9)
show(sheet.figure, "An article goes three ways: a sentence is chosen, which needs no training; an encoder-decoder"
     " writes new words; a language model is asked and writes new words.")  # fmt: skip

# %% [markdown]
# ## Choosing a sentence
#
# Which sentence would you keep if you could keep one? A plain answer is the first one. **LexRank** has another (Erkan
# and Radev 2004): keep the sentence that has most in common with all the others. Each sentence becomes a vector of
# TF-IDF, where the sentences of this one text are the documents of lesson 10. The cosine of two vectors says how alike
# two sentences are. Now imagine a reader who walks from sentence to sentence. At each step they go to a sentence with
# a probability in proportion to its likeness, and in 15 of 100 steps anywhere. The share of time that they spend at a
# sentence is its score.
#
# On paper, take three sentences: *cats sleep*, *cats eat* and *dogs eat*. The middle one shares a word with each of
# the others, which share none with each other. *cats* and *eat* stand in two of three sentences, so they weigh
# ln(3/2) + 1 = 1.41; *sleep* and *dogs* weigh ln 3 + 1 = 2.10. Neighbours have the cosine 1.41² / (2.53 · 1.99) = 0.39.
# Without the jumps the walk spends its time in proportion to the sums of the rows, 1.39, 1.79 and 1.39, which gives
# 0.30, 0.39 and 0.30. The jumps make the shares a little more equal.


# %%
def rank(sentences):
    """A score for each sentence, given as lists of words. The scores sum to 1."""
    vocabulary = sorted({word for one in sentences for word in one})
    counts = np.array([[one.count(word) for word in vocabulary] for one in sentences], float)
    vectors = counts * (np.log(len(sentences) / (counts > 0).sum(axis=0)) + 1)  # TF-IDF
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = vectors @ vectors.T  # cosines (sentences, sentences)
    walk = alike / alike.sum(axis=1, keepdims=True)  # each row: where to go next
    at = np.full(len(sentences), 1 / len(sentences))
    for _ in range(100):
        at = 0.15 / len(sentences) + 0.85 * at @ walk
    return at


# %%
toy = ["cats sleep".split(), "cats eat".split(), "dogs eat".split()]
print("cats sleep, cats eat, dogs eat:", rank(toy).round(3))
assert np.allclose(rank(toy), lexrank(toy))
text = openings[174]
spans = sentence_spans(text)
sentences = [text[start:end] for start, end in spans]
scores = rank([re.findall(r"\w+", one.lower()) for one in sentences])
for score, one in zip(scores, sentences, strict=True):
    print(f"{score:.3f} {one[:90]}")

# %% [markdown]
# The library solves the same walk as a system of equations, and `Summarizer.extract("graph")` says which sentence it
# took. Its sibling `Summarizer.extract("lead")` takes the first.
#
# ## What is a good headline?
#
# We need a number. **ROUGE** compares a summary with one that a person wrote, and counts common words (Lin 2004).
# ROUGE-1 counts single words, ROUGE-2 pairs of neighbours. ROUGE-L takes the longest row of words that stands in both
# texts in this order, gaps allowed. Each gives a precision, which share of our words is in the reference, and a
# recall, which share of the reference's words is in ours. F1 joins the two as in lesson 07, so it punishes a text that
# says too much as well as one that says too little.
#
# On paper: the reference is *police killed the gunman*, ours is *police kill the gunman today*. Three words are
# common, *police*, *the* and *gunman*. So the precision is 3/5, the recall 3/4, and F1 is 2 · 3 / (5 + 4) = 0.67.
# There is one common pair, *the gunman*, of four in ours and three in the reference: F1 is 2 / 7 = 0.29. Note what
# happened to *kill*: for ROUGE it is as wrong as *banana*.


# %%
def common(ours, reference, n):
    """F1 of the runs of n words that two texts share, from 0 to 100."""
    runs = []
    for text in (ours, reference):
        known = re.findall("[a-z0-9]+", text.lower())
        runs.append(Counter(tuple(known[i : i + n]) for i in range(len(known) - n + 1)))
    shared = (runs[0] & runs[1]).total()  # the smaller count of each run
    return 100 * 2 * shared / max(1, runs[0].total() + runs[1].total())


ours, reference = "police kill the gunman today", "police killed the gunman"
for n in (1, 2):
    print(f"ROUGE-{n}: {common(ours, reference, n):.1f}")
    assert np.isclose(common(ours, reference, n), rouge([ours], [reference], kind=str(n)).value)

# %% [markdown]
# ## What a score is worth for nothing
#
# Is 20 much or little? Nobody can say without controls. The first control gives each article *the headline of another
# one*: it shows what the language of headlines alone is worth. The second one takes *the first words* of the article,
# exactly as many as the true headline has. It needs no thought, but it knows one thing that nobody else knows, the
# right length. The third always takes *the first 15 words*; this number was the best one on the validation articles,
# as you find out in the exercises. A good reader should beat all of them. The intervals come from drawing articles
# anew, as in lesson 07.

# %%
written = {
    "another headline": headlines[1:] + headlines[:1],
    "first words": [" ".join(t.split()[: len(h.split())]) for t, h in zip(openings, headlines, strict=True)],
    "first 15 words": [" ".join(t.split()[:15]) for t in openings],
    "first sentence": Summarizer.extract("lead").summarize(openings),
    "graph": Summarizer.extract("graph").summarize(openings),
}


# %%
def table(written, headlines):
    """ROUGE-1, 2 and L of readers with their intervals, and how many words they write."""
    print(f"{'':16s} ROUGE-1               ROUGE-2               ROUGE-L")
    for name, texts in written.items():
        found = [rouge(texts, headlines, kind, samples=SAMPLES) for kind in "12L"]
        shown = "   ".join(f"{one.value:4.1f} ({one.low:4.1f} to {one.high:4.1f})" for one in found)
        print(f"{name:16s} {shown}   {np.mean([len(one.split()) for one in texts]):4.1f} words")


table(written, headlines)
rules = {name: rouge(texts, headlines, "1", samples=1).value for name, texts in written.items()}

# %% [markdown]
# The language of headlines alone is worth little. The first sentence holds all of the first words and more, and yet it
# is no better: ROUGE-1 and ROUGE-2 are the same, and ROUGE-L is lower. A sentence has nearly three times as many words
# as a headline, so its recall is higher and its precision lower. Fifteen words are better than both. So where somebody
# else's words must serve as a headline, their number decides more than one would like.
#
# The graph is worse than the first sentence. Journalists have already put the most central sentence first, and a method
# that does not know this cannot make up for it. The same was found for longer summaries of news: the first three
# sentences were hard to beat (See et al. 2017, section 6).
#
# ## An encoder-decoder that reads news
#
# Nothing in the encoder-decoder of lesson 14 speaks of languages. It learns pairs of texts, so an article and its
# headline will do. Both sides are in one language here, so they share one tokenizer and one table of embeddings. The
# learning rate is that of the table below, the best of three that were tried on the validation articles with longer
# texts. From here on every tenth article of the test part gets a headline: the language model is slow, and all are
# compared on the same articles.

# %%
runs = load("headline-summaries")  # reader, setting, seed, split, item, measure, value, text, machine
small = runs[(runs["reader"] == "encoder-decoder, small") & runs["setting"].str.startswith("rate")]
rate = float(small["setting"].iloc[0].split()[1])
pairs = [parts["train"][name].tolist()[:LEARNED] for name in ("start", "summary")]
tokens = train_bpe(pairs[0] + pairs[1], 4_000, lower=True, bos=True, eos=True)
keras.utils.set_random_seed(0)
size = {"embedding_dim": 64, "num_layers": 1, "dropout": 0.1, "context_length": 80, "shared": True}
model = Translator(Seq2Seq(Seq2SeqSettings(tokens.vocabulary_size, **size)), tokens)
feed = model.pairs(*pairs, batch_size=32, buckets=1, shuffle=True, seed=0, epochs=PASSES, drop_remainder=True)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
model.compile("adam", loss, jit_compile=False)
falling = keras.callbacks.LearningRateScheduler(lambda done, _: rate * (1 - done / PASSES))
plan = {"epochs": PASSES, "steps_per_epoch": steps_per_epoch(feed), "callbacks": [falling], "verbose": 0}
model.fit(feed, shuffle=False, **plan)
judged = test.iloc[4::10]
starts, wanted = judged["start"].tolist(), judged["summary"].tolist()
here = Summarizer.of_translator(model).summarize(starts, batch_size=128)
print(f"{model.count_params():,} weights, rate {rate:g};", *(one[:90] for one in here[:4]), sep="\n  ")

# %% [markdown]
# It has learned which words are frequent in the headlines of that winter, and repeats them without end, whatever the
# article says. This is the failure of lesson 14 once more, and a harder one: the texts were shorter there, and there
# were more passes. Three are what the minutes of a lesson allow, and the loss was still falling. How far more passes
# would bring it, we have not measured. To learn from nothing *what belongs to what*, others have used four million
# pairs (Rush et al. 2015, section 7).
#
# ## A model that is asked
#
# SmolLM2 has read two trillion tokens and was tuned to answer (lesson 20). We put an order and the article into one
# turn of the user, and take its reply. A network reads so many tokens and no more; a longer text is cut there, at the
# end of a sentence. `Summarizer` has a second rule, which a later section shows. We ask for ten articles at even
# distances, nothing picked by hand, and print the first 68 characters of each reply. Read what the model makes of them,
# and look for what the articles cannot say.

# %%
PROMPT = "Write a headline of at most ten words for this news article."
ten = list(range(3, len(judged), 7))[:10]
language_model, tokenizer = weights.pretrained("smollm2-135m-instruct")
while len(language_model.blocks) > BLOCKS:  # none, unless the dial was turned
    language_model.blocks.pop()
way = {"prompt": PROMPT, "max_new_tokens": NEW, "read": 88}
asked = Summarizer.of_language_model(language_model, tokenizer, **way)
said = asked.summarize([starts[place] for place in ten[:ASKED]])
for place, one in zip(ten, said, strict=False):
    print(f"{wanted[place][:44]:44s} -> {' '.join(one.split())[:68]}")

# %% [markdown]
# All of the articles, and a model that learns from headlines, take too long for a lesson. `benchmarks/summarisation.py`
# asked for them, and its table comes with the course; every row is a headline. There the same model also learned, with
# adapters of rank 8 (lesson 20). In 24 steps it was shown 192 articles with their headlines, and only the headline
# weighed in the loss. Its learning rate is that of another task. It is one run, with one seed, for a step takes six
# seconds of a processor. Of the encoder-decoder there are three runs.

# %% tags=["hide"]
# @title The table's headlines, for each reader and seed
NAMES = {
    ("encoder-decoder, small", "rate"): "encoder-decoder",
    ("asked", "prompt"): "SmolLM2, asked",
    ("tuned", "headlines"): "SmolLM2, LoRA",
}
seeds = {name: [texts[4::10]] for name, texts in written.items()}
of_table = runs[(runs["split"] == "test") & (runs["measure"] == "headline")]
for (reader, setting), name in NAMES.items():
    rows = of_table[(of_table["reader"] == reader) & of_table["setting"].str.startswith(setting)]
    found = [some.set_index("item")["text"].reindex(judged.index) for _, some in rows.groupby("seed")]
    assert all(one.notna().all() for one in found)  # every reader wrote for every article
    seeds[name] = [one.tolist() for one in found]
    print(f"{name}: {len(found)} seeds, on {', '.join(sorted(set(rows['machine'])))}")
first = {name: texts[0] for name, texts in seeds.items()}
same = np.mean([" ".join(one.split()) == first["SmolLM2, asked"][i] for i, one in zip(ten, said, strict=False)])
print(f"{same:.0%} of the headlines that SmolLM2 wrote above are those of the table")

# %%
value = {name: [rouge(texts, wanted, "1", samples=1).value for texts in some] for name, some in seeds.items()}
repeat = rouge(here, wanted, "1", samples=1).value
print(f"encoder-decoder: ROUGE-1 {repeat:.1f} here; in the table {np.round(value['encoder-decoder'], 1)}")
table(first, wanted)
pairs = [("first 15 words", "SmolLM2, asked"), ("first 15 words", "SmolLM2, LoRA"), ("SmolLM2, asked", "SmolLM2, LoRA")]
for baseline, system in pairs:
    found = compare_summaries(first[baseline], first[system], wanted, "1", samples=SAMPLES)
    low, high = found.low, found.high
    print(f"{system} less {baseline}: {found.difference:+.1f} ({low:+.1f} to {high:+.1f}), p = {found.p_value:.3f}")

# %% tags=["hide"]
# @title Figure: ROUGE-1 of all readers
order = ["another headline", "encoder-decoder", "graph", "first words", "first sentence", "first 15 words",
         "SmolLM2, asked", "SmolLM2, LoRA"]  # fmt: skip
shown = {name: value[name] for name in order}
paints = {name: "subject" if "SmolLM2" in name else "control" if "coder" in name else "given" for name in shown}
first_15 = value["first 15 words"][0]
x_label = f"ROUGE-1 on {len(wanted)} test articles, a dot for each seed"
figure = bars(shown, title="Fifteen words of the article are hard to beat", x_label=x_label, colors=paints, digits=1,
              reference=(first_15, "first 15 words"))  # fmt: skip
show(figure, "Bars of ROUGE-1 for eight readers, with a dot for each seed of the encoder-decoder and a dashed line at"
     " the first 15 words.")  # fmt: skip

# %% [markdown]
# The encoder-decoder is where the headlines of other articles are: three passes have taught it nothing about its
# article, with any of three seeds. Merely asked, SmolLM2 does not beat the first fifteen words. It often begins to tell
# the article anew and is cut off at the end. After 192 headlines it does better than before, by 3.4 points, and the
# interval of this difference does not hold zero. It has learned at least to be short: its headlines have 11 words in
# place of 17. What of the gain is length, and what is a better choice of words? The control would be the same steps
# with headlines of *other* articles. The script has it (`shuffled`), and it has not run.
#
# Against the first fifteen words the gain is smaller than its doubt: on 71 articles, nobody can tell the two apart. And
# it is one run, with one seed. That such a plain control is strong is nothing new. In the paper that began this line of
# work, the first 75 characters of the article had a ROUGE-1 of 22, and a network trained on four million pairs 28 (Rush
# et al. 2015, table 1; another test set, and recall in place of F1).
#
# ## What the score does not see
#
# A headline is there to be believed. So let us make false ones. A program changes the first number of each true
# headline that has one, or writes *not* behind the first *is*, *are*, *will*, *to* or the like. Each of them would
# mislead a reader. The control is ten headlines that we wrote for the ten articles above, true and in other words.
# Predict: which get the better ROUGE-1?


# %% tags=["hide"]
# @title Ten headlines of ours, true and in other words
MINE = [
    "Lavrov wants to work more closely with Kabul",
    "More and more machines wait on people in China",
    "Shots through a window leave one fighting for life",
    "Duterte critic held over claims that dealers paid her",
    "Medvedev: embargo is here to stay",
    "May condemns Sturgeon's wish to let Scots vote again",
    "Court stops new entry rules hours before they begin",
    "Three held after knife attack in Irish town",
    "Thousands of fakes from China found at San Juan",
    "Open questions about the source that the committee's head met",
]


# %%
def wrong_number(text):
    """The first number of a text is another one; None where there is no number."""
    changed = re.sub(r"\d+", lambda found: str(int(found[0]) + 7), text, count=1)
    return None if changed == text else changed


def denied(text):
    """A text that says the opposite; None where we see no place for a "not"."""
    changed = re.sub(r"\b(is|are|was|were|will|can|could|has|have|to|must)\b", r"\1 not", text, count=1)
    return None if changed == text else changed


# %%
true_ones = [wanted[place] for place in ten]
in_other_words = rouge(MINE[: len(ten)], true_ones, "1", samples=SAMPLES).value
false_ones = {}
for way in (wrong_number, denied):
    rows = [(way(one), one) for one in headlines if way(one)]
    false_ones[way.__name__] = rouge(*zip(*rows, strict=True), "1", samples=SAMPLES).value
    print(f"{way.__name__}: {len(rows)} headlines, ROUGE-1 {false_ones[way.__name__]:.1f}, such as {rows[0][0]}")
print(f"true, in other words: ROUGE-1 {in_other_words:.1f}")

# %% [markdown]
# The false headlines score four times as high as any reader, and the true ones of ours a third of what the first
# fifteen words get. So a high ROUGE does not say that a summary is true, and a low one does not say that it is false.
# ROUGE asks whether two texts look alike. It is useful for comparing systems of one kind on many texts, and useless as
# a promise about one text.
#
# ## Ten headlines, read
#
# What remains is reading. Below stand the headlines of the ten articles with those of three readers, the first seed of
# each. We counted by hand what was invented, by a rule that was written down before: *a name, a number or a place in
# the headline that stands nowhere in the whole article, each counted once.* The second count is for the headline as a
# whole. It is *false* if it says of the article's people or things what the article does not say. While reading we had
# to add two cases: a misspelling that still shows the right name is not invented, and a text that says nothing is not
# false. One reader counted, once, and knew who had written which.

# %%
COUNTED = {"encoder-decoder, small": "encoder-decoder", "asked": "SmolLM2, asked", "tuned": "SmolLM2, LoRA"}
by_hand = runs[runs["measure"].isin(["invented", "false"])].pivot(index=["reader", "item"], columns="measure",
                                                                  values="value").astype(int)  # fmt: skip
for place in ten:
    print("wanted:", wanted[place])
    for reader, name in COUNTED.items():
        invented, false = by_hand.loc[(reader, judged.index[place])][["invented", "false"]]
        marks = f"[{invented} invented]" * (invented > 0) + " [false]" * false
        print(f"    {name:15s} {first[name][place][:75]} {marks}")
counts = by_hand.groupby("reader").sum().rename(COUNTED)
print(counts)

# %% [markdown]
# Prince Andrew is no robot: he met one. All words of that headline stand in the article, so no search for invented
# names finds the mistake, and ROUGE sees a few common words. The judge did not *urge* the president, he stopped the
# order. The man of Longford is not thirty years old but in his thirties. Of ten headlines SmolLM2 wrote four that are
# false, and with LoRA again four. Its ROUGE has risen, and its truth has not, as far as ten articles can say. The
# encoder-decoder is never false, for it says nothing. But it invents the same name six times, because this name is
# frequent in the headlines that it learned from.
#
# A few cases were hard to judge. "MOSCOWS" still shows the right name, so we let it pass, and "MOSCOVSK" does not.
# Another reader may count one more or one less. This is why such a rule must be written down, and why two people should
# count wherever something depends on it.
#
# ## Texts that are too long
#
# A report of a thousand words does not fit into what our networks read. The first rule, to cut it, loses the end. The
# other one is to summarise **in parts**: the text is cut at ends of sentences into parts that fit, each part is
# summarised, and the summaries, one behind the other, are summarised again until they fit (Wu et al. 2021). Every
# level can lose something, and can invent something that the next level believes. Both rules are settings of
# `Summarizer`. Whether the second one makes better headlines, we have not measured.

# %%
long_one = test.loc[2157, "text"][:2_000]
[found] = Summarizer.of_translator(model, long_texts="parts").summaries([long_one])
print(f"{len(long_one):,} characters were read in {found.parts} parts; cut, only the first part would be read")

# %%
claims = Claims("What we measured: ROUGE-1 of headlines")
claims.claim("The language of headlines alone is worth little", rules["another headline"], "<", rules["first words"],
             control="as many first words as the headline has")  # fmt: skip
claims.claim("A graph of sentences finds no better one than the first", rules["graph"], "<", rules["first sentence"],
             control="the first sentence")  # fmt: skip
claims.claim("SmolLM2 writes here what the table has", 100 * same, ">", 60, unit="% of the ten headlines",
             control="more than half")  # fmt: skip
claims.claim("Three passes make no encoder-decoder that reads", value["encoder-decoder"], "<",
             first_15, control="the first 15 words")  # fmt: skip
claims.claim("Merely asked, SmolLM2 is not better than a rule", value["SmolLM2, asked"], "<", first_15,
             control="the first 15 words")  # fmt: skip
claims.claim("Some headlines teach SmolLM2", value["SmolLM2, LoRA"], ">", value["SmolLM2, asked"],
             control="SmolLM2, asked",
             headline="SmolLM2 that has seen 192 headlines has a ROUGE-1 of {measured}, {control} {bound}")  # fmt: skip
claims.claim("A wrong number costs less than other words", false_ones["wrong_number"], ">", in_other_words,
             control="true, in other words",
             headline="a headline with a wrong number has a ROUGE-1 of {measured}, {control} {bound}")  # fmt: skip
claims.show()

# %% [markdown]
# ## What can go wrong
#
# Many believe that a model which has the text in front of it cannot invent. It feels like copying. But the model
# chooses each word by what is probable, from the article and from all that it has read before, and nothing compares
# the result with the source. Of the one-sentence summaries that four systems of 2020 wrote for reports of the BBC,
# more than 70% held something that the report does not say (Maynez et al. 2020, section 1). So whoever shows summaries
# to people shows the source beside them, and checks names and numbers with a program where that is possible.
#
# The training pairs can teach it, too. A headline often knows more than the first hundred words, or jokes. A model
# that learns from such pairs learns that it may say what does not stand there. And the score must be named with its
# words, stemming and kind: ROUGE of one program cannot be compared with that of another.
#
# ## Summary
#
# - An extractive summary chooses sentences; an abstractive one writes. Only the second can invent freely.
# - LexRank keeps the sentence that is most like all others; in news the first sentence is hard to beat.
# - ROUGE counts common words. It needs controls: another headline, and the first words.
# - It sees neither a wrong number nor a *not*, and it punishes other words for the same thing.
# - Facts must be read, by a rule that is written down before.
#
# ## Exercises
#
# Open [exercises/23_summarisation.ipynb](exercises/23_summarisation.ipynb). You write ROUGE-L, one step of the walk of
# LexRank, the rule that cuts a text into parts, and a check of numbers. In the experiment you find out how many of
# the first words make the best headline. Each answer is checked.
#
# ## References
#
# - C.-Y. Lin (2004). ROUGE: a package for automatic evaluation of summaries. *Text Summarization Branches Out*.
#   Sections 2 and 3.1.
# - G. Erkan, D. R. Radev (2004). LexRank: graph-based lexical centrality as salience in text summarization. *Journal of
#   Artificial Intelligence Research* 22. Section 3.2.
# - A. M. Rush, S. Chopra, J. Weston (2015). A neural attention model for abstractive sentence summarization. *EMNLP*.
#   Section 7, four million pairs; table 1, the first characters as a baseline.
# - A. See, P. J. Liu, C. D. Manning (2017). Get to the point: summarization with pointer-generator networks. *ACL*.
#   Section 6: the first three sentences.
# - J. Maynez, S. Narayan, B. Bohnet, R. McDonald (2020). On faithfulness and factuality in abstractive summarization.
#   *ACL*. Section 1.
# - J. Wu and others (2021). Recursively summarizing books with human feedback. arXiv:2109.10862. Section 2.1.
# - E. Hu and others (2022). LoRA: low-rank adaptation of large language models. *ICLR*. Section 4.1.
