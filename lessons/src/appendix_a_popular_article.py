# %% [markdown] tags=["edition-2"]
# # Appendix A · A popular article, line by line
#
# Many people meet language models first in an article such as 大语言模型：原理与代码实例讲解 ("Large language
# models: principles and code examples explained"), which exists in many copies. Articles of this kind
# ask good questions, and this course was written to answer them. They also hand on mistakes, because
# code is often copied without being run. Here are 23 of them. Each one is shown failing, with the
# right way beside it and the lesson that explains it. They are grouped by subject, so their numbers
# are not always in order.
#
# Read a row of a table first and try to say what is wrong, before you look at the third column. To
# find a mistake in a text that looks sure of itself is a skill, and it can be practised. "The
# articles" means articles under titles like the one above. Not all of them have every mistake, and we
# quote none of their sentences.

# %% tags=["hide"]
# @title Imports
# ruff: noqa: E501, N802
import math
import warnings
from importlib import import_module
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

from kerasllm import text
from kerasllm.course import Claims
from kerasllm.data import load
from kerasllm.layers import MultiHeadAttention
from kerasllm.training import warmup_cosine


def attempt(what, action):
    """Run something and print what it returns, or the error that it raises, in one line."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = action()
        said = f"warns: {caught[0].message}" if caught else repr(result)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(f"{what}: {' '.join(said.split())[:120]}")


# %% [markdown]
# ## Attention
#
# The formula in the articles divides $\exp(QK^\top/\sqrt d)$ by $K^\top K + \varepsilon$. Try it with
# three queries and five keys of four numbers. (`attempt` makes a call and prints the error that it
# ends with.) Where the shapes happen to agree, there is still no $V$, and the rows do not sum to 1.

# %%
rng = np.random.default_rng(0)
Q, K, V = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
attempt("1, three queries, five keys", lambda: np.exp(Q @ K.T / math.sqrt(4)) / (K.T @ K + 1e-6))
square = K[:4]  # four keys of four numbers: the only shape that fits
theirs = np.exp(square @ square.T / math.sqrt(4)) / (square.T @ square + 1e-6)
scores = np.exp(Q @ K.T / math.sqrt(4))
weights = scores / scores.sum(axis=1, keepdims=True)  # softmax over the keys
print("1, sums of the rows, theirs:", theirs.sum(axis=1).round(2))
print("1, sums of the rows, softmax:", weights.sum(axis=1), "  output:", (weights @ V).shape)

# %% [markdown]
# The Chinese articles call $K$ a 密钥, a key that encrypts. Such a key must be right in every bit. A
# key of attention (键) is what one looks things up by, and nearly right is nearly as good. Compare
# what a small change does to each. Our toy encryption flips each bit of the message (`^`) where the
# key has a 1, and the same key flips it back.

# %%
secret, message = 0b1011001110001111, 0b0110100101011010
print("2, encrypted, key changed by one bit: the message is right:", (message ^ secret ^ (secret ^ 1)) == message)


def look_up(query):
    e = np.exp(K @ query)
    return (e / e.sum()) @ V


change = np.abs(look_up(K[0] + 0.01) - look_up(K[0])).max()
print(f"2, attention, query changed by 0.01: the output moves by {change:.4f}")

# %% [markdown]
# | # | The articles say | What happens | The right way |
# |---|---|---|---|
# | 1 | attention is exp(QKᵀ/√d) / (KᵀK + ε) | the shapes do not fit; where they do, rows sum to anything, and V is missing | softmax(QKᵀ/√d) V, softmax over the keys (lesson 13) |
# | 2 | K is a cryptographic key, or a density vector | one wrong bit spoils a message; a query that is slightly wrong still finds its value | a key to look up by (lesson 13) |
#
# ## Words as numbers
#
# In the articles the vector of a word is the mean and the standard deviation of its frequency, called
# a Gaussian model. But in one text a word has one count, and the spread of one number is 0. The mean
# alone is the count, and most words share theirs with others. We count in the King James Bible, split
# at spaces, so that punctuation stays with its word.

# %%
verses = load("king-james")
words, counts = np.unique(" ".join(verses["text"]).lower().split(), return_counts=True)
vectors = np.stack([counts, np.zeros(len(counts))], axis=1)  # mean and spread of a single number
_, how_many = np.unique(vectors, axis=0, return_counts=True)
shared = how_many[how_many > 1].sum() / len(words)
same = {str(word) for word, count in zip(words, counts, strict=True) if count == counts[words == "camel"][0]}
print(f"3, spread of one count: {np.std([7]):.0f}; {shared:.1%} of {len(words)} words have the vector of another")
print("3, with the vector of camel:", sorted(same)[:8])

# %% [markdown]
# Strings go straight from a CSV file into an `Embedding` there. The layer takes whole numbers, so the
# words must become ids first. And Keras' old `Tokenizer` splits at spaces, of which Chinese has none.

# %%
vectors_of_words = np.zeros((100, 4))  # what an Embedding holds: a table that is asked by row number
attempt("8, a row by a string", lambda: vectors_of_words["good film"])
Tokenizer = tf.keras.preprocessing.text.Tokenizer  # kept for old programs; keras.preprocessing.text is gone
reviews = ["这部电影很好看", "这部电影很难看", "我不喜欢这部电影"]
old = Tokenizer()
old.fit_on_texts(reviews)
new = ["这部电影我喜欢", "很难看"]
print("11, three sentences:", old.texts_to_sequences(reviews), "  two new ones:", old.texts_to_sequences(new))
print("12, a new Tokenizer, never fitted:", Tokenizer().texts_to_sequences(["good film", "bad film"]))
tokenizer = text.train_words(reviews, 50)
print("one tokenizer for both, kept:", [list(map(int, tokenizer.encode(one))) for one in new])

# %% [markdown]
# | # | The articles say | What happens | The right way |
# |---|---|---|---|
# | 3 | a word's vector is mean and standard deviation of its frequency | the spread is 0, and words that have nothing in common share a vector | vectors from the company that a word keeps (lesson 09) |
# | 8 | texts of a CSV go into Embedding | a table has rows 0, 1, 2 and none called "good film" | a tokenizer makes ids of them (lessons 08, 10) |
# | 11 | Keras' Tokenizer for Chinese | one sentence is one token, and a new sentence is nothing | characters, words or byte pairs (lesson 08) |
# | 12 | a new Tokenizer when predicting | every text becomes the empty list | save the tokenizer with the model (lesson 10) |
#
# ## A worked example of backpropagation
#
# The articles compute one step by hand: the loss is $\tfrac12 (y - \hat y)^2$ with $y = 2$ and $\hat
# y = 1.5$, the unit is linear, and a weight of 0.1 is updated with the rate 0.1. Four of the numbers
# are wrong. The check is always the same: nudge a weight, and see how the loss changes (lesson 04).
# Here the input is 1, so the weight and the bias have the same gradient, and it is enough to nudge
# the bias.

# %%
y, x, w, b = 2.0, 1.0, 0.1, 1.4  # w x + b = 1.5


def loss(w, b):
    return (y - (w * x + b)) ** 2 / 2


guess, nudge = w * x + b, 1e-6
by_nudging = (loss(w, b + nudge) - loss(w, b - nudge)) / (2 * nudge)
theirs_w, theirs_b = -(y - guess) * guess * (1 - guess), -(y - guess) * guess
print(f"4, the sigmoid's formula -(y - ŷ) ŷ (1 - ŷ): {theirs_w:+.4f};  by nudging: {by_nudging:+.4f}")
print(f"5, they write 0.0625 for it;  it is {theirs_w:+.4f}")
print(f"6, they write -0.375 for -(y - ŷ) ŷ;  it is {theirs_b:+.4f}, and -(y - ŷ) is {-(y - guess):+.4f}")
print(f"7, they write 0.075 for 0.1 - 0.1 · 0.0625;  it is {0.1 - 0.1 * 0.0625:.5f}")
before, wrong_step, right_step = loss(w, b), loss(w - 0.1 * theirs_w, b), loss(w - 0.1 * by_nudging, b)
print(f"loss before {before:.4f};  after their step {wrong_step:.4f};  after the right one {right_step:.4f}")

# %% [markdown]
# | # | The articles say | What happens | The right way |
# |---|---|---|---|
# | 4 | the gradient of a linear unit is −(y−ŷ) ŷ (1−ŷ) | that is a sigmoid's, and no sigmoid gives 1.5; its sign is wrong here, and the loss rises | −(y−ŷ) times the input (lesson 04) |
# | 5 | it is 0.0625 | it is +0.375 | compute it, then nudge |
# | 6 | the bias has −(y−ŷ) ŷ = −0.375 | the formula gives −0.75 | −(y−ŷ) = −0.5 |
# | 7 | 0.1 − 0.1 · 0.0625 = 0.075 | it is 0.09375 | 0.1 + 0.1 · 0.5 = 0.15 with the right gradient |
#
# ## A classifier that is called a language model
#
# Embedding, Flatten and Dense(1) stand in the articles as a large language model. A language model gives
# a probability to every next word, and this network gives one number. It does not even combine words: the
# last layer adds one score for each position. So what a word contributes cannot depend on its neighbours,
# and "not good" is "not" plus "good".

# %%
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.layers.Embedding(100, 8), keras.layers.Flatten(), keras.layers.Dense(1)])
a, b_, c, d = 1, 2, 3, 4
logits = keras.ops.convert_to_numpy(model(np.array([[a, b_], [c, b_], [a, d], [c, d]])))[:, 0]
mixed = (logits[0] - logits[1]) - (logits[2] - logits[3])  # does "a instead of c" depend on what follows?
print(f"9, numbers for a text: {model.output_shape[-1]};  a word's effect depends on the next by {abs(mixed):.5f}")

probabilities, labels = np.array([[0.98], [0.03], [0.91], [0.08]]), np.array([1, 0, 1, 0])
above = (probabilities[:, 0] > 0.5).astype(int)
plain, right = np.mean(probabilities[:, 0] == labels), np.mean(above == labels)
print("10, accuracy by predictions == labels:", plain, "  by above 1/2:", right)
print("13, argmax of one output:", np.argmax(probabilities, axis=1), "  above 1/2:", above)

# %% [markdown]
# Several calls belong to an older Keras. The next cell tries them in the Keras that this course uses.

# %%
attempt("14, Tokenizer", lambda: keras.preprocessing.text.Tokenizer())
attempt("14, input_length", lambda: keras.layers.Embedding(100, 8, input_length=5))
small = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
small.compile("sgd", "mse")
attempt("14, labels in a list", lambda: small.fit(np.zeros((2, 2)), [0, 1], verbose=0))
attempt("14, weights in .h5", lambda: small.save_weights("model.h5"))

# %% [markdown]
# | # | The articles say | What happens | The right way |
# |---|---|---|---|
# | 9 | Embedding, Flatten, Dense(1) is a large language model | one number for a text, and no word changes what another one means | a classifier (lesson 10); language models (lessons 12, 17) |
# | 10 | accuracy is mean(predictions == labels) | a probability never equals a label: 0 | compare with a threshold first (lessons 07, 10) |
# | 13 | argmax tells the class of a sigmoid unit | the largest of one number is always number 0 | above 1/2 or not; argmax needs one output a class |
# | 14 | Tokenizer, input_length, lists of labels, weights in .h5 | gone, still taken with a warning, refused, refused | a tokenizer of one's own, no argument, arrays, `.keras` (lessons 02, 08) |
#
# ## Training
#
# The articles call four functions of PyTorch and of the transformers library in ways that cannot work.
# Neither library is needed for this course. So we write down what their documentation says about
# arguments and results, in a few lines each, and call them as the articles do.


# %%
def LinearLR(optimizer, start_factor=1 / 3, end_factor=1.0, total_iters=5, last_epoch=-1):
    """PyTorch's: the factor of the rate moves in a line from one value to another, and stays."""
    return lambda step: start_factor + (end_factor - start_factor) * min(step, total_iters) / total_iters


attempt("15, LinearLR", lambda: LinearLR("adam", num_warmup_steps=0))
print("15, what LinearLR does:", [round(LinearLR("adam")(step), 2) for step in range(0, 12, 2)])
schedule = warmup_cosine(1.0, 12, warmup_steps=4)
print("15, warm-up and decay: ", [round(float(schedule(step)), 2) for step in range(0, 13, 2)])


# %%
def classifier(ids, labels=None):
    """As in transformers: the loss is computed if labels are given, and outputs[0] is the first thing that is there."""
    logits = np.array([[0.2, -0.1]] * len(ids))
    mean = None
    if labels is not None:
        margins = [z[k] - z[1 - k] for z, k in zip(logits, labels, strict=True)]
        mean = float(np.mean(np.log1p(np.exp(np.negative(margins)))))
    return SimpleNamespace(loss=mean, logits=logits, first=logits if mean is None else mean)


attempt("16, no labels", lambda: classifier([5, 6]).loss.backward())
print("17, outputs[0] without labels has the shape", np.shape(classifier([5, 6]).first))
print("17, outputs[0] with labels is the loss:", round(classifier([5, 6], [0, 1]).first, 3))


def transformer(src, tgt):
    """torch.nn.Transformer: two sequences in, vectors of 512 numbers out."""
    return np.zeros((len(tgt), 512), "float32")


attempt("18, one argument", lambda: transformer([5, 6]))
attempt("18, the logit of token 7999 among 512 features", lambda: transformer([5, 6], [7])[0, 7999])
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
project = keras.layers.Dense(8000)  # from features to the vocabulary
projected = float(cross_entropy(np.array([7999]), project(transformer([5, 6], [7]))))
print(f"18, with a projection: {projected:.3f}, and ln 8000 is {math.log(8000):.3f}")

# %% [markdown]
# | # | The articles say | What happens | The right way |
# |---|---|---|---|
# | 15 | `LinearLR(optimizer, num_warmup_steps=0)` | no such argument; the function goes up or down once, and 0 steps are no warm-up | warm-up and decay are one schedule (lesson 05) |
# | 16 | `outputs.loss.backward()` without labels | the loss is None | give the labels (lesson 15) |
# | 17 | `loss = outputs[0]` without labels | these are the logits | the same, and `outputs.loss` by name (lesson 15) |
# | 18 | `Transformer()(x)`, then cross-entropy on its 512 numbers | a sequence is missing, and most tokens have no logit | source and target, and a projection to the vocabulary (lesson 14) |
#
# ## Models and their names
#
# "An encoder and a decoder" is what the articles say GPT and BERT are made of. The original transformer
# has both. GPT has only the decoder's half, in which no place sees what comes later, and BERT only the
# encoder's, in which every place sees all. A test tells them apart: change the last token, and see
# whether the first output moves. The class of row 19 fails here already because this course does without
# that package, and in its version 5 the name is gone (its notes on migration say so).

# %%
tokens = rng.normal(size=(1, 6, 16)).astype("float32")
changed = tokens.copy()
changed[0, -1] += 1
moved = {}
for name, causal in (("like GPT", True), ("like BERT", False)):
    layer = MultiHeadAttention(2, causal=causal)
    moved[name] = float(np.abs(layer(changed) - layer(tokens))[0, 0].max())
    print(f"21, attention {name}: the first output moves by {moved[name]:.3f}")

attempt("19, a class of transformers 4", lambda: import_module("transformers").TFGPT2LMHeadModel)
prompt = "sea -> mer\nsun -> soleil\nmoon ->"
print(f"20, worked examples in this prompt: {prompt.count('->') - 1}; zero-shot would be its last line alone")

# %% [markdown]
# How long does training take? "Days to weeks" is the answer of the articles, and it holds for no
# model in particular. A model with $N$ weights that reads $D$ tokens needs about $6ND$ operations
# (lesson 17), and a machine does so many a second. nanoGPT's small setting, for example, has 0.8
# million weights and reads 2,000 batches of 12 windows of 64 characters. If two cores do 100 billion
# operations a second, how long does it take?
#
# Row 22 is about a reference. A title sounds right, so it is copied, and nobody opens it. The
# least that one can check is whether it comes with what every paper has: authors, a year, a place
# where it appeared. The articles give none of the three.

# %%
operations = 6 * 0.8e6 * (2_000 * 12 * 64)
print(f"23, nanoGPT's small setting: {operations:.1e} operations, about {operations / 100e9:.0f} seconds on two cores")
print(f"23, GPT-3, 175 billion weights, 300 billion tokens: {6 * 175e9 * 300e9:.1e} operations")
references = {
    "A Theoretical Investigation of the Origin of Deep Learning": {},
    "Attention Is All You Need": {"authors": "Vaswani and others", "year": 2017, "appeared in": "NeurIPS"},
}
for title, known in references.items():
    missing = [what for what in ("authors", "year", "appeared in") if what not in known]
    print(f"22, {title}: missing {missing or 'nothing'}")

# %% [markdown]
# | # | The articles say | What happens | The right way |
# |---|---|---|---|
# | 19 | `TFGPT2LMHeadModel.from_pretrained` | the class is gone since transformers 5 | KerasHub, or `kerasllm.weights` (lesson 20) |
# | 20 | GPT-3's paper is about "zero-shot learners" | its title says *few*-shot: worked examples stand in the prompt | Language Models are Few-Shot Learners (lesson 17) |
# | 21 | GPT and BERT are an encoder and a decoder | with attention like GPT's the first output never moves, like BERT's it does | GPT is decoder-only, BERT encoder-only (lessons 15, 17) |
# | 22 | a paper "A Theoretical Investigation of the Origin of Deep Learning" | no authors, no year, no place: a reader cannot look it up | open every reference once (lesson 27) |
# | 23 | training takes days to weeks | about a minute for one model, 40 billion times as many operations for GPT-3 | 6·N·D over what the machine does (lessons 17, 29) |
#
# ## What we measured

# %%
found = Claims("What the mistakes do")
found.claim("The rows of the articles' attention do not sum to 1", np.abs(theirs.sum(axis=1) - 1).max(), ">",
            np.abs(weights.sum(axis=1) - 1).max() + 0.1, control="softmax, and 0.1 more")  # fmt: skip
found.claim("Nearly all words share their vector of frequency with another", shared, ">", 0.6)
found.claim("Their gradient makes the loss larger", wrong_step, ">", before, control="before the step", exact=True)
found.claim("The right gradient makes it smaller", right_step, "<", before, control="before the step", exact=True)
found.claim("In their language model no word depends on another", abs(mixed), "<", 1e-5, exact=True)
found.claim("Comparing probabilities with labels finds no right answer", plain, "<",
            right, control="compared with 1/2 first", exact=True)  # fmt: skip
found.claim("A later token moves the first output of BERT alone", moved["like BERT"], ">", moved["like GPT"] + 0.01,
            control="GPT, and 0.01 more")  # fmt: skip
found.show()

# %% [markdown]
# ## References
#
# - A. Vaswani and others (2017). Attention is all you need. *NeurIPS*. Section 3.2, equation 1.
# - T. Brown and others (2020). Language models are few-shot learners. *NeurIPS*. Section 2.
# - J. Devlin and others (2019). BERT: pre-training of deep bidirectional transformers for language
#   understanding. *NAACL*. Section 3.
# - J. Kaplan and others (2020). Scaling laws for neural language models. arXiv:2001.08361. Section 2.1, for 6·N·D.
# - The documentation of PyTorch, `torch.optim.lr_scheduler.LinearLR` and `torch.nn.Transformer`, and of transformers 5, its
#   notes on migration.
