# %% [markdown] tags=["edition-2"]
# # 09 · Word embeddings
#
# **How can a machine learn from raw text which words are alike, and is it better to count or to predict?**
#
# **You need** lesson 02 (sigmoid, gradient descent), lesson 07 (bootstrap) and lesson 08 (words as ids).
#
# **You will build** vectors of words from a hundred articles in two ways, from a table of counts and with a trained
# network, and hold both against the judgement of people. Then you open vectors that others trained on billions of
# words, and find out which of their famous tricks survive a control.
#
# **Time** about 2 minutes to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import re
import zlib
from collections import Counter

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr
from sklearn.utils.extmath import randomized_svd

from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import bars, show
from kerasllm.course.palette import BLUE, INK, ORANGE, STYLE
from kerasllm.data import load

# %% [markdown]
# ## Every two words are equally far apart
#
# Is *film* closer to *movie* or to *banana*? You know the answer at once, and a machine that reads ids has no way to
# know it: word 17 is not more like word 18 than like word 4,000. The honest vector of an id is *one-hot*: as long as
# the vocabulary, 1 at the word's own place and 0 elsewhere. We compare two vectors by their **cosine similarity**,
# the cosine of the angle between them: $\cos(u, v) = u \cdot v / (|u| \, |v|)$, which is 1 for the same direction and
# 0 for a right angle. Between any two one-hot vectors it is 0, so what a network learns about *film* does not help
# with *movie*.
#
# Now multiply a one-hot vector with a matrix $W$ that has one row for each word. All rows but one are multiplied by 0,
# so the product *is* that row. Looking the row up gives the same numbers without the work, and Keras has a layer for
# it. Such a row, a vector of a word that training can move, is called the word's **embedding**.

# %%
film, movie, banana, king = one_hot = np.eye(4)  # (words, words)
print("cosine of film and movie", film @ movie, " of film and banana", film @ banana)
table = layers.Embedding(4, 3)
ids = np.array([2, 0, 2])  # banana film banana
rows = ops.convert_to_numpy(table(ids))  # (3, 3)
assert np.array_equal(rows, one_hot[ids].astype("float32") @ table.get_weights()[0])
print(rows.round(3))

# %% [markdown]
# If *film* and *movie* had rows that are close, a network would treat both alike. This lesson asks where such rows come
# from. We need a text and a judge. The text is a hundred articles of Wikipedia, whose titles all begin with A. The
# vocabulary holds every word that occurs at least five times; id 0 is the most frequent one.

# %%
READ = dial(None, smoke=800)  # paragraphs of the text; None means all
EPOCHS = dial(8, smoke=1)  # passes over the text
SEEDS = dial((0, 1, 2), smoke=(0,))  # repetitions of each training
QUESTIONS = dial(2_000, smoke=200)  # analogies that are solved
WIDTH, WINDOW = 64, 5  # numbers in a vector; words on either side that count as company

articles = load("small-wikipedia")  # text (a paragraph), article (its title)
lines = [re.findall("[a-z]+", line) for line in articles["text"][:READ].str.lower()]
often = Counter(word for line in lines for word in line)
words = np.array([word for word, c in often.most_common() if c >= 5])
id_of = {word: i for i, word in enumerate(words)}
known = [[id_of[word] for word in line if word in id_of] for line in lines]
text = np.array([i for line in known for i in line], "int32")  # (tokens,)
line_of = np.repeat(np.arange(len(known)), [len(line) for line in known])  # (tokens,)
print(f"{len(text):,} words of text, {len(words):,} different ones")

# %% [markdown]
# The judge is WordSim-353 (Finkelstein et al. 2002): at least 13 people gave pairs of words a score from 0,
# unrelated, to 10, the same. Our vectors give each pair a cosine. Do people and cosines put the pairs into the same
# *order*? Spearman's rank correlation is 1 for the same order and 0 for no connection. Nothing is trained on these
# pairs. A second set of pairs, SimLex-999, serves for choosing: the learning rates below were chosen on it, and never
# on the judge.

# %%
pairs = load("wordsim-353")
sides = pairs[["word_1", "word_2"]].apply(lambda column: column.str.lower().map(id_of))
covered = sides.notna().all(axis=1)  # pairs whose words our text knows
left, right = sides[covered].astype(int).to_numpy().T
human = pairs["score"][covered].to_numpy()


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def agreement(vectors):
    a, b = (vectors[side] if isinstance(vectors, np.ndarray) else vectors[side].toarray() for side in (left, right))
    return spearmanr((unit(a) * unit(b)).sum(axis=1), human).statistic


luck = [agreement(np.random.default_rng(i).normal(size=(len(words), WIDTH))) for i in range(20)]
print(f"{len(human)} pairs; random vectors, 20 times: {np.mean(luck):+.2f} ± {np.std(luck):.2f}")

# %% [markdown]
# Random vectors score about 0 on average, and a single try typically misses that by 0.07. Keep this number: it is the
# size of luck on a test with 222 pairs.
#
# ## Count the company
#
# "You shall know a word by the company it keeps" (Firth 1957). Words that stand among the same words tend to mean
# similar things, and company can be counted. The cell below holds six tiny sentences; two words are neighbours when
# they stand in one sentence. Fill in the row of *cat* on paper before you run the cell: which words does it meet, and
# how often?
#
# Raw counts have a flaw, because in real text the neighbours of every word are mostly *the* and *of*. We rather want
# to know whether two words meet *more often than by chance*. That is the pointwise mutual information, **PMI** (Church
# and Hanks 1990). With $n_{wc}$, how often $w$ and $c$ are neighbours, $n_w$ and $n_c$, the sums of their rows, and
# $n$, the sum of the whole table, it is $\log \frac{n_{wc}\, n}{n_w\, n_c}$ (natural logarithm). If the words met by
# chance alone, $n_{wc}$ would be about $n_w n_c / n$, and the PMI would be 0. On paper: the table sums to 36, *cat*
# and *fish* have the row sums 4 and 2 and meet once, so their PMI is $\log(36/8) = 1.50$. *Cat* and *drinks* get
# $\log(36/16) = 0.81$. Pairs that never meet would get $-\infty$, so everything below 0 is set to 0, which is called
# positive PMI, or PPMI.


# %%
def ppmi(C):
    """Positive PMI of a table of counts."""
    C = csr_matrix(C)
    row, column = C.nonzero()
    n = np.asarray(C.sum(axis=1)).ravel()
    pmi = np.log(C.data * n.sum() / (n[row] * n[column]))
    return csr_matrix((np.maximum(pmi, 0), (row, column)), shape=C.shape)


tiny = ["cat drinks milk", "dog drinks milk", "cat eats fish", "dog eats meat", "she drives car", "she parks car"]
toy = sorted({word for sentence in tiny for word in sentence.split()})
counts = np.zeros((len(toy), len(toy)))
for a, b in [(a, b) for sentence in tiny for a in sentence.split() for b in sentence.split() if a != b]:
    counts[toy.index(a), toy.index(b)] += 1
for name, table in {"counts": counts, "PPMI": ppmi(counts).toarray()}.items():
    cat, dog, car = (table[toy.index(word)] for word in ("cat", "dog", "car"))
    print(f"{name:7s}", *(f"{word} {x:.2f}/{y:.2f}" for word, x, y in zip(toy, cat, dog, strict=True) if x or y))
    print(f"        cosine of cat and dog {unit(cat) @ unit(dog):.2f}, of cat and car {unit(cat) @ unit(car):.2f}")

# %% [markdown]
# *Cat* and *dog* never stand together, and still their rows are close: they share neighbours. (The table shows cat/dog
# for each neighbour.) But why does PPMI lower their cosine from 0.75 to 0.47? Look at the numbers. What they share,
# *drinks*, *eats* and *milk*, is met by others too and counts less. *Fish* and *meat*, where they differ, are rare and
# count almost twice as much. PPMI trusts rare company more, which separates words as well as it joins them.
#
# Now the real text. Two words are neighbours when they stand at most five places apart in one paragraph, with up to
# four others between them. A row then has thousands of columns, and *film* and *movie* as *columns* are again two
# unrelated things. The singular value decomposition (SVD) mends this. Lesson 05 used it to find the directions of a
# matrix $M$ and their singular values, which say how strong each direction is. Here we keep only the 64 strongest, and
# this gives the best approximation $M \approx U \Sigma V^\top$ that 64 directions allow. Each row of $V^\top$ is one
# mixture of columns, the numbers in $\Sigma$ are the singular values, and the row of a word in $U$ says how much of
# each mixture the word has. There are too few mixtures for one each, so similar columns must share one. As vectors we
# take $U \Sigma^{1/2}$; the exponent is the one that Levy, Goldberg and Dagan (2015, section 3.3) recommend, not
# chosen here.


# %%
def count_neighbours():
    total = csr_matrix((len(words), len(words)))
    for step in range(1, WINDOW + 1):
        same = line_of[:-step] == line_of[step:]
        pair = text[:-step][same], text[step:][same]
        total = total + csr_matrix((np.ones(same.sum()), pair), shape=total.shape)
    return (total + total.T).tocsr()  # neighbours on the left and on the right


C = count_neighbours()
U, sigma, _ = randomized_svd(ppmi(C).astype("float32"), WIDTH, n_oversamples=100, n_iter=6, random_state=0)
counted = U * np.sqrt(sigma)  # (vocabulary, 64)
scores = {"raw counts": agreement(C), "PPMI": agreement(ppmi(C)), "PPMI + SVD": agreement(counted)}
print(f"{C.nnz:,} pairs of words meet;", ", ".join(f"{name} {score:.2f}" for name, score in scores.items()))

# %% [markdown]
# Raw counts hardly agree with people, because every row is mostly *the* and *of*. PPMI makes them useful, and 64
# columns instead of 8,347 make them better. A plausible reason is that two words can now be close although they never
# met the same neighbour, if their neighbours share a mixture.
#
# ## Predict the company
#
# In 2013 Mikolov and others went another way, known as word2vec: they did not count, they *predicted*. Each word $w$
# gets a vector $u_w$, and a second vector $v_c$ for its role as company. In **skip-gram** one word is looked up, and
# each of its neighbours is predicted. **CBOW**, the continuous bag of words, turns it round: it takes the mean of all
# the neighbours' vectors and predicts the word between them. In the drawing purple tables are trained, and a score is
# a dot product.

# %% tags=["hide"]
# @title Drawing: skip-gram and CBOW
sheet = Diagram(8, 2.5)
sentence = ["the", "cat", "drinks", "warm", "milk"]
for x0, name in ((0.15, "skip-gram"), (4.25, "CBOW")):
    sheet.text((x0, 2.35), name, align="left", size=11)
    places = [x0 + 0.35 + 0.74 * i for i in range(5)]
    top = [sheet.box(word, (x, 1.95), width=0.66, size=8.5, meaning="query" if i == 2 else "key")
           for i, (word, x) in enumerate(zip(sentence, places, strict=True))]  # fmt: skip
    middle = sheet.box("u: looked up" if name == "skip-gram" else "mean of u", (places[2], 1.15), width=1.2,
                       meaning="weights")  # fmt: skip
    asks = [top[2]] if name == "skip-gram" else [part for i, part in enumerate(top) if i != 2]
    for part in asks:
        sheet.arrow(part.bottom, (middle.x + 0.35 * np.sign(part.x - middle.x), middle.top[1]), width=1)
    said = ["the", "cat", "warm", "milk"] if name == "skip-gram" else ["drinks"]
    spread = [places[i] for i in (0, 1, 3, 4)] if name == "skip-gram" else [places[2]]
    for word, x in zip(said, spread, strict=True):
        out = sheet.box(f"{word} ?", (x, 0.32), width=0.68, size=8.5, meaning="output")
        sheet.arrow((middle.x + 0.3 * np.sign(x - middle.x), middle.bottom[1]), out.top, meaning="output", width=1)
    sheet.text((places[2] + (0 if name == "skip-gram" else 0.55), 0.73), "u · v", size=8.5, meaning="output")
show(sheet.figure, "Two networks over the words the cat drinks warm milk. Skip-gram looks up drinks and predicts each"
     " of the four neighbours. CBOW takes the mean of the four neighbours' vectors and predicts drinks.")  # fmt: skip

# %% [markdown]
# A softmax over the vocabulary would need a score for every word. In **negative sampling** the network only has to tell
# real company from false: each real pair comes with $k = 5$ contexts $c_i$ drawn at random, and the loss is the binary
# cross-entropy of lesson 02 (Mikolov et al. 2013b, equation 4):
#
# $$ L = -\log \sigma(u_w \cdot v_c) - \sum_{i=1}^{k} \log \sigma(-u_w \cdot v_{c_i}) $$
#
# The gradient for $u_w$ is $(\sigma(u_w \cdot v_c) - 1)\, v_c + \sum_i \sigma(u_w \cdot v_{c_i})\, v_{c_i}$. A real
# neighbour pulls the word nearer, and a false one pushes it away. On paper: for $u = (1, 0)$, a neighbour $(0, 2)$
# and a false one $(2, 0)$ the first score is 0, so its factor is $-0.5$. The second score is 2, so its factor is
# 0.88.

# %%
u, real, false = np.array([1.0, 0.0]), np.array([0.0, 2.0]), np.array([2.0, 0.0])
sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
gradient = (sigmoid(u @ real) - 1) * real + sigmoid(u @ false) * false
after = u - 0.5 * gradient
print(f"gradient {gradient.round(2)}; score of the neighbour {u @ real:.2f} -> {after @ real:.2f},",
      f"of the false one {u @ false:.2f} -> {after @ false:.2f}")  # fmt: skip

# %% [markdown]
# Two details of the same paper matter. The false contexts are drawn in proportion to $n_c^{0.75}$, so that rare words
# come a little more often than they would. And frequent words are thinned out: each occurrence of a word with the
# share $f$ of the text is kept with the probability $\sqrt{t / f}$ (at most 1), here with $t = 10^{-4}$. The
# ten-thousandth *the* teaches the network little.
#
# There is a third way to look up. A word that is not in the vocabulary has no row, and a rare one has a poor row. With
# **subword vectors** (Bojanowski et al. 2017) a word is the mean of its own row and of the rows of its pieces, all
# runs of 3 to 5 signs of `<word>`, in which `<` and `>` mark the two ends (we use 20 rows at most). There are too many
# pieces for a table. So a *hash function*, a fixed rule that turns any text into a number, gives each of them one of
# 16,384 rows, which some must share. A new word then has a vector as soon as its pieces were seen.

# %%
share = np.array([often[word] for word in words]) / len(text)
keep = np.minimum(1, np.sqrt(1e-4 / share))  # (vocabulary,)
noise_share = share**0.75 / (share**0.75).sum()
# A table of 2**20 places in which each word takes its share: drawing a place draws a word.
noise_table = np.searchsorted(np.cumsum(noise_share), (np.arange(2**20) + 0.5) / 2**20).astype("int32")
BUCKETS, MOST = 2**14, 20  # rows for pieces; rows that one word may use


def piece_rows(word):
    """The rows of a word: its own, if it has one, and those of its pieces."""
    marked = f"<{word}>"
    pieces = sorted({marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1)})
    own = [id_of[word]] if word in id_of else []
    return (own + [len(words) + zlib.crc32(piece.encode()) % BUCKETS for piece in pieces])[:MOST]


piece_lists = [piece_rows(word) for word in words]
pieces = np.array([row + [0] * (MOST - len(row)) for row in piece_lists], "int32")  # (vocabulary, MOST)
piece_share = np.array([[1 / len(row)] * len(row) + [0] * (MOST - len(row)) for row in piece_lists], "float32")

# %% [markdown]
# All three ways fit one form. A training row says which rows are *looked up* and with what share, which words are
# *candidates*, and what each candidate is: +1 real company, 0 nothing (the paragraph has ended), negative for noise.
# Ten noise words are drawn for each row, and their weight makes them five for each real one.


# %%
OFFSETS = np.array([o for o in range(-WINDOW, WINDOW + 1) if o])


def training_rows(way, text, rng):
    """Looked-up rows, their shares, candidates and what they are; one row for each kept word of the text."""
    kept = rng.random(len(text)) < keep[text]
    word, line = np.pad(text[kept], WINDOW), np.pad(line_of[kept], WINDOW, constant_values=-1)
    places = rng.permutation(np.arange(WINDOW, len(word) - WINDOW))
    around = places[:, None] + OFFSETS  # (rows, 10)
    near, same = word[around], (line[around] == line[places][:, None]).astype("float32")
    centre, one = word[places][:, None], np.ones((len(places), 1), "float32")
    looked, shares, real, sign = {
        "skip-gram": (centre, one, near, same),
        "CBOW": (near, same / same.sum(axis=1, keepdims=True).clip(1), centre, one),
        "subwords": (pieces[centre[:, 0]], piece_share[centre[:, 0]], near, same),
    }[way]
    noise = noise_table[rng.integers(0, 2**20, (len(places), 10))]
    false = np.repeat(-5 * sign.sum(axis=1, keepdims=True) / 10, 10, axis=1)
    return looked, shares, np.concatenate([real, noise], axis=1), np.concatenate([sign, false], axis=1)


# %% [markdown]
# The network is two tables and a dot product. Plain gradient descent is enough: a batch touches few rows, and the
# learning rate falls towards 0 over the epochs. As a control the same network reads the same words in a shuffled
# order. In the figure look first at the grey bars and the line of luck, and then at orange (counted) against blue
# (predicted).


# %%
def loss_of_rows(sign, scores):
    return ops.sum(ops.abs(sign) * ops.softplus(-ops.sign(sign) * scores), axis=-1)  # -log sigma(z) = softplus(-z)


def network(looked, candidates, rows):
    ids, shares = keras.Input((looked,), dtype="int32"), keras.Input((looked,))
    others = keras.Input((candidates,), dtype="int32")
    u = layers.Dot(axes=1)([shares, layers.Embedding(rows, WIDTH, name="word")(ids)])  # (batch, WIDTH)
    v = layers.Embedding(len(words), WIDTH, name="company")(others)  # (batch, candidates, WIDTH)
    model = keras.Model([ids, shares, others], layers.Dot(axes=-1)([v, u]))  # (batch, candidates)
    model.compile(keras.optimizers.SGD(), loss=loss_of_rows, steps_per_execution=8)
    return model


shapes = {"skip-gram": (1, 20, len(words)), "CBOW": (10, 11, len(words)), "subwords": (MOST, 20, len(words) + BUCKETS)}
rates = {"skip-gram": 0.05, "CBOW": 0.2, "subwords": 0.1}  # for a row; chosen on SimLex-999


# %%
def train(way, seed, text=text, batch=512):
    """The two trained tables."""
    rng, model = np.random.default_rng(seed), network(*shapes[way])
    model.set_weights([rng.uniform(-0.1, 0.1, w.shape) for w in model.get_weights()])
    for epoch in range(EPOCHS):
        model.optimizer.learning_rate = rates[way] * batch * (1 - epoch / EPOCHS)  # Keras takes the mean over a batch
        *inputs, sign = training_rows(way, text, rng)
        full = len(sign) // (8 * batch) * 8 * batch
        model.fit([x[:full] for x in inputs], sign[:full], batch_size=batch, shuffle=False, verbose=0)
    return model.get_layer("word").get_weights()[0], model.get_layer("company").get_weights()[0]


tables = {way: [train(way, seed) for seed in SEEDS] for way in ("skip-gram", "CBOW")}
shuffled, _ = train("skip-gram", 0, np.random.default_rng(0).permutation(text))
part_table, _ = train("subwords", 0)
predicted = {way: [agreement(u) for u, _ in runs] for way, runs in tables.items()}
predicted["subwords"] = agreement((part_table[pieces] * piece_share[..., None]).sum(axis=1))
predicted["skip-gram, words shuffled"] = agreement(shuffled)
print({name: np.round(values, 2).tolist() for name, values in predicted.items()})

# %% tags=["hide"]
# @title Figure: agreement with people
values = {"raw counts": scores["raw counts"], "PPMI": scores["PPMI"], "PPMI + SVD": scores["PPMI + SVD"], **predicted}
paint = {name: "control" if "P" in name and "CBOW" not in name else "subject" for name in values}
paint |= {"raw counts": "given", "skip-gram, words shuffled": "given"}
figure = bars(
    values, title="Counting and predicting agree with people about equally well", colors=paint,
    x_label=f"rank correlation with people on {len(human)} pairs",
    reference=(2 * np.std(luck), "twice the luck of random vectors"),
)  # fmt: skip
show(figure, "Bars of the agreement with people. Raw counts and skip-gram on shuffled words are small, PPMI is in"
     " the middle. PPMI with SVD and skip-gram are the longest and nearly equal; CBOW is shorter.")  # fmt: skip

# %% [markdown]
# The grey bars are raw counts and the shuffled control. On shuffled words the network stays within luck, so what it
# learned before was company, and not how frequent a word is. We cannot tell skip-gram and PPMI with SVD apart: the
# seeds differ little, but with 222 pairs the test itself has an error, which the table below takes from a bootstrap
# over the pairs. CBOW and the subword vectors stay behind on this small text. Perhaps this is because CBOW makes one
# prediction where skip-gram makes ten, and pieces of unlike words share a row. Prediction has another advantage, which
# no bar shows: it needs no table of pairs, so it can read a text of any size, a batch at a time.
#
# Does the subword network know words that it never saw? The text covers only a part of the pairs of WordSim-353. The
# cell takes the other pairs, in which at least one word has no row of its own, and asks for neighbours of new words.
# Beside the result it prints the size of luck, which for two unrelated orders of $n$ pairs is about $1/\sqrt{n-1}$.


# %%
def part_vector(word):
    return part_table[piece_rows(word)].mean(axis=0)


every = load("wordsim-353")
named = every[["word_1", "word_2"]].apply(lambda column: column.str.lower())
new = ~named.isin(list(id_of)).all(axis=1)
cosines = [unit(part_vector(a)) @ unit(part_vector(b)) for a, b in named[new].to_numpy()]
on_new = spearmanr(cosines, every["score"][new]).statistic
print(f"{new.sum()} pairs with a new word: rank correlation {on_new:.2f}, luck {1 / np.sqrt(new.sum() - 1):.2f}")
known_parts = unit((part_table[pieces] * piece_share[..., None]).sum(axis=1))
for word in ("mathematicians", "musicians", "electrically"):
    print(f"{word}, {often[word]} times in the text:", *words[np.argsort(-known_parts @ part_vector(word))[:5]])

# %% [markdown]
# The neighbours of the new words show what such vectors know: relatives in *spelling*, with strangers among them. On
# the pairs the result is weaker. The rank correlation is positive, but less than twice the size of luck, so on a text
# of this size we cannot be sure that pieces of words carry meaning. Bojanowski et al. found a clear gain with a whole
# Wikipedia, and most of all in languages whose words have many forms.
#
# ## Two roads to the same place
#
# Why do counting and predicting come out alike? Theory expects it (Levy and Goldberg 2014, section 3). Fix one pair.
# It comes $n_{wc}$ times as a real pair, and about $k\, n_w P(c)$ times as noise, where $P(c)$ is the share of $c$ in
# the noise. The loss is smallest when $\sigma(u_w \cdot v_c)$ equals the share of real ones. A sigmoid turns a logit
# into a probability (lesson 02), so the dot product is then the logarithm of the odds, real against noise:
#
# $$ u_w \cdot v_c = \log \frac{n_{wc}}{n_w\, P(c)} - \log k . $$
#
# If the noise came in proportion to $n_c$, then $P(c) = n_c / n$, and with no word thinned out this would be PMI minus
# $\log k$. Our training differs in both. The noise comes in proportion to $n_c^{0.75}$. And a real pair is shown only
# if both words were kept, so $n_{wc}$ shrinks by the kept shares of $w$ and $c$, and $n_w$ by that of $w$ and the mean
# of its company. The share of $w$ cancels, and that of $c$ stays. Which counts will the dot products follow: plain
# PMI, those with our noise, or those with our noise *and* the thinning? The figure puts every pair that met at least
# five times at the last of the three and at its dot product. If the theory were exact, all would lie on the line $y =
# x - \log 5$.

# %%
met = C.tocoo()
pair = met.data >= 5
w, c, n_wc = met.row[pair], met.col[pair], met.data[pair]
n = np.asarray(C.sum(axis=1)).ravel()
expected = {
    "PMI": np.log(n_wc / (n[w] * n[c] / n.sum())),
    "with our noise": np.log(n_wc / (n[w] * noise_share[c])),
    "noise and thinning": np.log(n_wc * keep[c] / ((C @ keep)[w] * noise_share[c])),
}
dots = [(u[w] * v[c]).sum(axis=1) for u, v in tables["skip-gram"]]
follows = {name: [np.corrcoef(x, dot)[0, 1] for dot in dots] for name, x in expected.items()}
print({name: np.round(values, 3).tolist() for name, values in follows.items()}, f"{pair.sum():,} pairs")

# %% tags=["hide"]
# @title Figure: dot products against counts
with plt.rc_context(STYLE):
    figure, ax = plt.subplots(figsize=(7, 3.8))
    x = expected["noise and thinning"]
    image = ax.hexbin(x, dots[0], gridsize=60, bins="log", mincnt=1, linewidths=0, cmap="Blues")
    figure.colorbar(image, label="pairs")
    ends = np.array([x.min(), x.max()])
    ax.plot(ends, ends - np.log(5), color=ORANGE, lw=1.8)
    ax.text(ends[1], ends[1] - np.log(5), "y = x − log 5 ", color=ORANGE, ha="right", va="bottom")
    ax.set(xlabel="from the counts, with our noise and thinning", ylabel="dot product u · v")
    ax.set_title("The network has learned counts that it never saw, up to a scale")
show(figure, "Pairs of words as a cloud: the dot product of the network against the logarithm from the counts. The"
     " cloud rises along the line y = x minus log 5, and is flatter than it.")  # fmt: skip

# %%
few = np.random.default_rng(0).integers(0, len(human), (500, len(human)))  # the bootstrap of lesson 07
cosine = {name: (unit(E[left]) * unit(E[right])).sum(axis=1)
          for name, E in {"counted": counted, "predicted": tables["skip-gram"][0][0]}.items()}  # fmt: skip
rank = lambda name, s: spearmanr(cosine[name][s], human[s]).statistic  # noqa: E731
gap_error = np.std([rank("predicted", s) - rank("counted", s) for s in few])
learned = Claims("What we measured: rank correlation with people")
learned.claim("Rows that must share say more than rows that list", scores["PPMI + SVD"], ">", scores["PPMI"],
              control="the same PPMI without SVD")  # fmt: skip
learned.claim("Company is what is learned", predicted["skip-gram"], ">", predicted["skip-gram, words shuffled"],
              control="the same words, shuffled")  # fmt: skip
learned.claim("Predicting is no better than counting, as far as the test can tell",
              abs(np.mean(predicted["skip-gram"]) - scores["PPMI + SVD"]), "<", 2 * gap_error,
              control="two standard errors over pairs")  # fmt: skip
learned.claim("The network follows the counts of what it was shown", follows["noise and thinning"], ">",
              follows["PMI"], control="plain PMI, correlation with the dot products")  # fmt: skip
learned.show()

# %% [markdown]
# The dot products follow the counts of what the network was really shown, and more closely than plain PMI. Half of the
# correction is worse than none: with the noise alone the agreement falls, because noise and thinning pull frequent
# words in opposite directions. The cloud is flatter than the line. One likely reason is that 64 numbers cannot hold a
# table of 8,347 columns, another that rare pairs were trained only a few times. So predicting is, nearly, a way to
# split a table of counts into two smaller ones ($u$ and $v$) without ever writing it down.
#
# ## Vectors of the large ones
#
# GloVe (Pennington, Socher and Manning 2014) are published vectors of 50 numbers, made from six billion words of
# Wikipedia and news: 15,000 times our text. We take its 100,000 most frequent words. The set `wordllama` is younger.
# It is the table of embeddings of a language model of our days, Llama 2, trained a little further on sentences. A
# language model predicts the next token of far more text, and its first layer is such a table too. We ask both the
# same pairs: those whose words are whole pieces of Llama's vocabulary. WordSim asks how *related* two words are,
# SimLex-999 how *similar*: *cup* and *coffee* are related.

# %%
glove, llama = load("glove-50d")[:100_000], load("wordllama")
llama = llama[llama.index.str.startswith("▁")].rename(index=lambda piece: piece[1:])  # pieces that begin a word
place = {word: i for i, word in enumerate(glove.index)}
G, L = unit(glove.to_numpy()), unit(llama.to_numpy())
llama_place = {word: i for i, word in enumerate(llama.index)}
compared = {}
for name in ("wordsim-353", "simlex-999"):
    pairs = load(name)
    named = pairs[["word_1", "word_2"]].apply(lambda column: column.str.lower())
    both = named.isin(list(llama_place)).all(axis=1) & named.isin(list(place)).all(axis=1)
    for owner, E, at in (("GloVe", G, place), ("Llama", L, llama_place)):
        a, b = (E[named[side][both].map(at)] for side in named)
        compared[owner, name] = spearmanr((a * b).sum(axis=1), pairs["score"][both]).statistic
    print(f"{name}, {both.sum()} pairs: GloVe {compared['GloVe', name]:.2f}, Llama {compared['Llama', name]:.2f}")
opposites = [("good", "bad"), ("hot", "cold"), ("love", "hate"), ("strong", "weak")]
print("opposites:", *(f"{a}/{b} {G[place[a]] @ G[place[b]]:.2f} and {L[llama_place[a]] @ L[llama_place[b]]:.2f};"
                      for a, b in opposites))  # fmt: skip

# %% [markdown]
# On relatedness the gap is not much larger than the luck of such a small test. On similarity the table of the language
# model is far ahead, and the opposites show where. *Good* and *bad* stand among the same words, so for GloVe they are
# nearly the same. It would make sense that a model needs to know which of the two it was, if it must predict the
# *next* word. But this comparison is not controlled: the sizes of the vectors, the texts and the training on sentences
# differ as well. It shows what there is, not what caused it. And one limit is common to all tables: *bank* of a river
# and *bank* with money share one row, because the row is looked up before anybody knows the sentence. Lesson 13 begins
# to mend that.
#
# ## King minus man plus woman
#
# In an **analogy**, as *man* is to *king*, so *woman* is to which word? Mikolov et al. (2013a) answered with
# arithmetic: take the vector of *king*, subtract *man*, add *woman*, and look for the nearest word. The myth that
# readers bring with them is that the nearest word is *queen*. The usual programs, however, never let the three words
# of the question be the answer. What happens if they may? And what happens if one skips the arithmetic and takes the
# nearest neighbour of the third word? Guess the share of right answers for each of the three.


# %%
def answer(a, b, c, words=20_000, free=False, arithmetic=True):
    """The best words for: a is to b as c is to ?; a, b, c are arrays of ids."""
    target = G[b] - G[a] + G[c] if arithmetic else G[c]
    fits = target @ G[:words].T  # (questions, words)
    if not free:
        np.put_along_axis(fits, np.stack([a, b, c], axis=1), -np.inf, axis=1)
    return np.argsort(-fits, axis=1)[:, :3]


for question in (("man", "king", "woman"), ("man", "doctor", "woman"), ("woman", "doctor", "man")):
    a, b, c = (np.array([place[word]]) for word in question)
    print("{} is to {} as {} is to".format(*question), *glove.index[answer(a, b, c, free=True)[0]],
          "  inputs excluded:", *glove.index[answer(a, b, c)[0]])  # fmt: skip
asked = load("google-analogies")[["a", "b", "c", "d"]].apply(lambda column: column.str.lower().map(place)).dropna()
asked = asked[(asked < 20_000).all(axis=1)].sample(QUESTIONS, random_state=0).astype(int).to_numpy().T
ways = {"inputs excluded": {}, "all words allowed": {"free": True}, "no arithmetic": {"arithmetic": False}}
right_share = {name: np.mean(answer(*asked[:3], **way)[:, 0] == asked[3]) for name, way in ways.items()}
print({name: round(float(value), 2) for name, value in right_share.items()})

# %% [markdown]
# Asked freely, *king* itself is the nearest word, and *queen* comes second: the step from *man* to *woman* is small
# against the vectors, so one lands where one started (Linzen 2016). The same rule makes a famous scandal. "Man is to
# doctor as woman is to *nurse*" is printed only because *doctor* was forbidden; asked freely the answer is *doctor*,
# in both directions (Nissim, van Noord and van der Goot 2020). Turned round, the same ban makes a doctor *him*. Still
# the arithmetic is not nothing. The nearest neighbour alone is right far less often than the sum, so differences of
# vectors do carry a relation.
#
# ## Prejudice is company too
#
# If texts put *she* beside *nurse* more often than beside *engineer*, so will the vectors (Bolukbasi et al. 2016). We
# project occupations on the direction from *she* to *he*. But where is the middle? Not at 0: the cell prints that even
# the mean of the 20,000 most frequent words lies a little on the side of *he*. So we subtract that mean, and trust
# only the *order* of the occupations. The control asks whether any direction would give this order: we compare with a
# second direction from family words, and with directions between random pairs of words. In the figure look at whether
# the crosses (family) rise as the dots (he and she) do, and on which side of the middle *doctor* stands.

# %%
jobs = "nurse receptionist librarian teacher hairdresser dancer nanny engineer programmer carpenter mechanic pilot"
jobs += " captain architect philosopher boss surgeon physicist plumber electrician soldier lawyer doctor writer"
jobs = jobs.split()


def along(pairs, words=jobs):
    """Where words lie on the direction of some pairs, from the mean of the frequent words."""
    d = unit(sum(G[place[a]] - G[place[b]] for a, b in pairs))
    return G[[place[word] for word in words]] @ d - (G[:20_000] @ d).mean()


he_she, family = along([("he", "she")]), along([("father", "mother"), ("son", "daughter"), ("brother", "sister")])
middle = (G[:20_000] @ unit(G[place["he"]] - G[place["she"]])).mean()
frequent = np.random.default_rng(0).choice(glove.index[200:5_000], (200, 2))
by_chance = [abs(spearmanr(he_she, along([pair])).statistic) for pair in frequent]
same_order = spearmanr(he_she, family).statistic
print(f"mean of the frequent words {middle:+.3f}")
print(f"the two orders correlate at {same_order:.2f}, orders of random directions at {np.mean(by_chance):.2f}")

# %% tags=["hide"]
# @title Figure: occupations between she and he
with plt.rc_context(STYLE):
    figure, ax = plt.subplots(figsize=(7, 4.6))
    order = np.argsort(he_she)
    ax.axvline(0, color=INK, lw=1)
    ax.plot(he_she[order], range(len(jobs)), "o", color=BLUE, label="he − she")
    ax.plot(family[order], range(len(jobs)), "x", color=ORANGE, label="father − mother and two more")
    ax.set_yticks(range(len(jobs)), [jobs[i] for i in order], fontsize=8)
    ax.set(xlabel="side of she, and side of he; 0 is the mean of frequent words", title="Two directions, one order")
    ax.legend(loc="lower right")
show(figure, "Occupations in the order of their place between she and he, from receptionist, nurse and dancer to"
     " architect, boss and captain. A direction from family words gives nearly the same order.")  # fmt: skip

# %%
famous = Claims("What survives its control")
famous.claim("On similarity the table of the larger model is ahead", compared["Llama", "simlex-999"], ">",
             compared["GloVe", "simlex-999"] + 0.1, control="GloVe on the same pairs, plus 0.1")  # fmt: skip
famous.claim("The arithmetic of analogies does something", right_share["inputs excluded"], ">",
             right_share["no arithmetic"], control="the nearest neighbour of the third word",
             headline="analogies: {measured} right with arithmetic, {bound} without")  # fmt: skip
famous.claim("Much of its success is the ban on the inputs", right_share["all words allowed"], "<",
             right_share["inputs excluded"], control="inputs excluded")  # fmt: skip
famous.claim("The order of occupations is no accident of one pair", same_order, ">", np.quantile(by_chance, 0.95),
             control="95% of random directions")  # fmt: skip
famous.show()

# %% [markdown]
# The two directions agree, and random ones do not, so the order says something about the texts. The middle says
# nothing: *doctor* lies on the side of *she* on one direction and on the side of *he* on the other, even from the
# mean. The order does not say who can do what, and it does not separate real shares of men and women in the news from
# stereotype. A program that ranks applications with such vectors would act on both.
#
# ## What can go wrong
#
# A score of word vectors depends on its preparation: whether words are put in lower case, whether a pair with an
# unknown word is dropped or counted as 0, and which pairs the vocabulary covers. Our comparisons therefore use the
# same pairs on both sides, and a published number means little without its list of pairs. A second trap is to choose
# the window, the exponent or the learning rate on the judge itself: among many settings one is soon 0.07 better on 222
# pairs by luck alone. Choose on another set.
#
# ## Summary
#
# - An embedding is a row of a table that training can move; looking up is multiplying with a one-hot vector.
# - Words with the same company get similar rows, whether one counts company (PMI, then SVD) or predicts it.
# - Skip-gram's dot products are the logarithm of real over noise pairs, a shifted PMI of the pairs that were shown.
# - Subword vectors give a row to words that were never seen; CBOW predicts the word from the mean of its company.
# - Analogies and prejudices are real in the vectors, and smaller than the usual program makes them: it excludes the
#   inputs.
#
# ## Exercises
#
# Open [exercises/09_word_embeddings.ipynb](exercises/09_word_embeddings.ipynb). You write PPMI, the loss of negative
# sampling with its gradient, a rank correlation, an analogy solver and the removal of a direction. In the experiment
# you find out what hides behind a removed direction. Each answer is checked.
#
# ## References
#
# - Z. Harris (1954). Distributional structure. *Word* 10. J. R. Firth (1957). *A synopsis of linguistic theory*.
# - K. Church, P. Hanks (1990). Word association norms, mutual information, and lexicography. *Computational
#   Linguistics* 16.
# - T. Mikolov, W. Yih, G. Zweig (2013a). Linguistic regularities in continuous space word representations. *NAACL*.
# - T. Mikolov and others (2013b). Distributed representations of words and phrases and their compositionality.
#   *NeurIPS*. Sections 2.2 and 2.3. CBOW is in their arXiv:1301.3781, section 3.1.
# - J. Pennington, R. Socher, C. Manning (2014). GloVe: global vectors for word representation. *EMNLP*.
# - O. Levy, Y. Goldberg (2014). Neural word embedding as implicit matrix factorization. *NeurIPS*. Section 3.
# - O. Levy, Y. Goldberg, I. Dagan (2015). Improving distributional similarity with lessons learned from word
#   embeddings. *TACL* 3. Section 3.
# - P. Bojanowski and others (2017). Enriching word vectors with subword information. *TACL* 5. Section 3.2.
# - L. Finkelstein and others (2002). Placing search in context. *ACM TOIS* 20. F. Hill, R. Reichart, A. Korhonen
#   (2015). SimLex-999. *Computational Linguistics* 41.
# - T. Linzen (2016). Issues in evaluating semantic spaces using word analogies. *RepEval*.
# - T. Bolukbasi and others (2016). Man is to computer programmer as woman is to homemaker? *NeurIPS*.
# - M. Nissim, R. van Noord, R. van der Goot (2020). Fair is better than sensational. *Computational Linguistics* 46.
