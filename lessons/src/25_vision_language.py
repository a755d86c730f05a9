# %% [markdown] tags=["edition-2"]
# # 25 · Vision and language
#
# **How does a picture become something that a language model can read?**
#
# **You need** lesson 08 (special tokens), lesson 11 (convolution), lesson 13 (attention), lesson 15 (vectors of
# sentences, search) and lesson 17 (the GPT).
#
# **You will build** a pair of encoders that puts a picture and its name at the same place, and a small GPT that reads
# four vectors of a picture as if they were words, and answers questions about it. Each is held against a model that
# was given everything but the right picture.
#
# **Time** about 3 minutes to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops
from scipy.sparse.csgraph import connected_components

from kerasllm import text, weights
from kerasllm.batches import ImageInput
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import show, use_style
from kerasllm.course.palette import color
from kerasllm.data import load
from kerasllm.evaluation import hit_rate, mean_reciprocal_rank, ranks
from kerasllm.generation import Session
from kerasllm.layers import PatchEmbedding
from kerasllm.models import GPT, ContrastivePair, PatchEncoder, PatchEncoderSettings, VisionLanguage, gpt_settings
from kerasllm.models.contrastive_pair import clip_loss

use_style()
PARTS = ["train", "test", "validation"]

# %%
STEP = dial(1, smoke=10)  # every so many-th sign is used
SIDE = dial(192, smoke=64)  # pixels of a picture as the image encoder sees it
PAIR_EPOCHS = dial(40, smoke=1)  # passes of the pairs
EPOCHS = dial(25, smoke=1)  # most passes of the GPT over its questions
NEW = dial(12, smoke=2)  # most tokens of an answer
LIVE = dial(("EfficientNet",), smoke=("EfficientNet",), gpu=("EfficientNet", "patches"))  # pairs trained here
SHOWN = dial(4, smoke=2)  # answers of each kind that are printed

# %% [markdown]
# ## A picture is numbers in a grid
#
# All models of this course read tokens. A picture has none. It is a grid of **pixels**, and each pixel is three whole
# numbers from 0 to 255: how much red, green and blue there is. A picture of 64 by 64 pixels is 12,288 numbers, and not
# one of them means anything alone. A token of a text means something alone. So between the pixels and the language
# model somebody has to find out what is to be seen, and to say it in vectors.
#
# How little can we get away with? In this lesson the language model is a small GPT like that of lesson 17, and nothing
# is changed inside it. A picture becomes four vectors, which stand in front of the text where the embeddings of four
# tokens would stand. Attention does the rest: every later token may look at them. The drawing shows the way. Before
# you read on, write down a prediction. The model learns on about a thousand small drawings with their names. Asked for
# the name of a drawing that it has never seen, how often will it be right? And how often if you ask for the colour, or
# whether it is an animal?

# %% tags=["hide"]
# @title Drawing: from a picture to tokens in front of a text
sheet = Diagram(8.4, 3.3)
face = np.full((8, 8), 0.0)
face[1:7, 2:6] = face[2:6, 1:7] = 0.55
face[3, [2, 5]] = face[5, 2:6] = 1.0
picture = sheet.grid((0.75, 1.9), (8, 8), meaning="given", values=face, cell=0.15, name="picture")
for at in (0.45, 0.75, 1.05):
    sheet.ax.plot([at, at], [1.3, 2.5], color=color("look"), lw=1.6, zorder=5)
    sheet.ax.plot([0.15, 1.35], [at + 1.15, at + 1.15], color=color("look"), lw=1.6, zorder=5)
sheet.text((0.75, 1.1), "cut into patches, or", size=8.5)
sheet.text((0.75, 0.92), "windows that slide", size=8.5)
encoder = sheet.box("image\nencoder", (2.25, 1.9), meaning="given", width=0.95, height=0.7)
sheet.arrow(picture.right, encoder.left)
sheet.text((2.25, 1.36), "trained before, frozen", meaning="given", size=8.5)
features = [sheet.vector((3.3 + 0.22 * i, 1.9), 5, meaning="given") for i in range(4)]
sheet.text((3.63, 2.62), "features", size=9)
sheet.arrow(encoder.right, (3.17, 1.9))
project = sheet.box("projection", (4.75, 1.9), meaning="weights", width=1.0, height=0.5)
sheet.arrow((4.1, 1.9), project.left)
sheet.text((4.75, 2.3), "learns", meaning="weights", size=8.5)
words = ["", "", "", "", "colour", ":"]
for i, word in enumerate(words):
    x = 5.75 + 0.42 * i
    seen = i < 4
    place = sheet.vector((x, 1.9), 4, meaning="state" if seen else "query")
    sheet.text((x, 1.48), "▪" if seen else word, size=8.5)
    sheet.arrow(place.top, (x, 2.3), width=1, meaning="state" if seen else "query")
sheet.arrow(project.right, (5.64, 1.9), meaning="state")
gpt = sheet.box("GPT", (6.8, 2.5), meaning="weights", width=2.6, height=0.38)
said = sheet.box("yellow", (7.85, 3.08), meaning="output", width=0.7, height=0.28, size=9)
sheet.arrow((7.85, 2.69), said.bottom, meaning="output")
sheet.text((6.38, 1.22), "four places of a picture", meaning="state", size=8.5)
sheet.text((7.68, 1.22), "text", meaning="query", size=8.5)
sheet.text((4.2, 0.55), "Nothing inside the GPT is changed: it reads the vectors of a picture as it reads"
           " embeddings of tokens.", size=9)  # fmt: skip
show(sheet.figure, "A picture is cut into patches and goes through a frozen image encoder, which gives four feature"
     " vectors. A projection turns them into vectors of the GPT's size, which stand in front of the text.")  # fmt: skip

# %% [markdown]
# ## Patches, windows and features
#
# The simplest way from a grid to a row of vectors is to cut. On paper, take a picture of 4 by 4 pixels with one number
# each, 0 to 15, row by row. Cut it into four squares of 2 by 2. The first holds 0, 1, 4 and 5, the second 2, 3, 6 and
# 7. Such a square is a **patch**. Its numbers in a row are a vector, and one matrix turns it into a vector of the size
# that we want, as the table of embeddings does for a token. This is how the vision transformer reads a picture
# (Dosovitskiy et al. 2021): what follows is the encoder of lesson 15, with patches in place of tokens.

# %%
grid = np.arange(16.0).reshape(1, 4, 4, 1)  # one picture, 4 by 4 pixels, one channel
squares = grid.reshape(1, 2, 2, 2, 2, 1)  # (picture, row of squares, row in it, column of squares, column in it, 1)
squares = squares.transpose(0, 1, 3, 2, 4, 5).reshape(1, 4, 4)  # (picture, square, its numbers)
print(squares[0].astype(int).tolist())
layer = PatchEmbedding(patch_size=2, output_dim=3)
vectors = layer(grid)  # (1, 4, 3)
matrix = ops.convert_to_numpy(layer.project.kernel)  # (4, 3); its bias begins as zeros
assert np.allclose(vectors, squares @ matrix, atol=1e-5)

# %% [markdown]
# Patches know nothing of pictures at first; all has to be learned. The other way is to take an encoder that has learned
# it already. EfficientNet-Lite0 is made of convolutions like those of lesson 11, but its windows of 3 by 3 or 5 by 5
# pixels slide in two directions. At each place the numbers under a window are multiplied with the same weights and
# added. So a window that answers to an edge finds edges everywhere. The next layer slides over these answers, with
# other windows and in larger steps, and so on through 16 blocks. What comes out at the end are 1,280 numbers for each
# place of a coarse grid, its *features*. They were trained to tell a thousand kinds of things apart on 1.3 million
# photographs (Tan and Le 2019). We use them as they are.
#
# ## Drawings with names
#
# Our pictures are emoji in the drawings of OpenMoji, with their names. They are harder to split than they look. More
# than half of the rows are the same sign in another skin tone, and many are joined of others. What a flag is called
# cannot be seen. So we keep single signs without tones, and no flags. Yet two that are left may still differ by a few
# pixels: a frown and a slight frown, or eleven o'clock and twelve o'clock. If one of them stands in the training part
# and the other in the test part, the test asks for a picture that the model has seen.

# %%
frame = load("openmoji")
variants = "[\u200d\U0001f3fb-\U0001f3ff\U0001f1e6-\U0001f1ff\U000e0020-\U000e007f]"  # joints, skin tones, flags
signs = frame[~frame["emoji"].str.contains(variants)][::STEP].reset_index(drop=True)
pictures = np.stack(signs["picture"])  # (signs, 64, 64, 3), whole numbers from 0 to 255


def nearly_the_same(x, limit=0.06):
    """Which rows differ by less than the limit: the root of the mean of all squared differences."""
    squares = (x**2).sum(axis=1)
    return squares[:, None] + squares - 2 * x @ x.T < limit**2 * x.shape[1]


small = pictures.reshape(-1, 16, 4, 16, 4, 3).mean(axis=(2, 4)) / 255  # (signs, 16, 16, 3)
near = nearly_the_same(small.reshape(len(small), -1))
near |= nearly_the_same(small.mean(axis=-1).reshape(len(small), -1))  # hearts in other colours

# %%
before, names = signs["split"].to_numpy(), signs["english"].to_numpy()
seen = near[before == "test"][:, before == "train"].any(axis=1)
_, group = connected_components(near)  # twins of twins, too
counts = [np.bincount(group, before == part) for part in PARTS]
split = np.array(PARTS)[np.argmax(counts, axis=0)][group]  # a group stands where most of it stood
train, test, validation = (np.flatnonzero(split == part) for part in PARTS)
print(f"{len(frame):,} rows, {len(signs):,} signs: {len(train)} to learn from, {len(test)} for the test")
print(f"{seen.sum()} of {len(seen)} test pictures had a near twin in training; now none has")
print("the largest group:", ", ".join(names[group == np.bincount(group).argmax()][:6]), "...")

# %% [markdown]
# The loader had kept variants of one sign together. It compares names and codes, and no pixels. Now a group of twins
# stands in one part as a whole, and the largest one is the plain yellow faces. That has a price: what is left in the
# test differs more from what was learned. It is also what we want to know.
#
# Next the features. Each picture goes once through the frozen network, and after that we need the network no more.
# The mean over each quarter of the picture gives four vectors of 1,280 numbers. We also prepare a blank picture, all
# white, for the controls.

# %%
network, _ = weights.pretrained("efficientnet-lite0")
pixels = keras.Input((None, None, 3))
look = keras.Model(pixels, network(pixels, return_features=True))
enlarged = ImageInput(SIDE, border=0)  # to the size that is asked for, (value - 127) / 128
with_blank = np.concatenate([pictures, np.full((1, 64, 64, 3), 255, "uint8")])


def quarters(found):  # (pictures, 6, 6, 1280), the mean of each quarter
    n, height, width, dim = found.shape
    return found.reshape(n, 2, height // 2, 2, width // 2, dim).mean(axis=(2, 4)).reshape(n, 4, dim)


batches = [with_blank[at : at + 64] for at in range(0, len(with_blank), 64)]
features = np.concatenate([quarters(look.predict_on_batch(enlarged(some))) for some in batches])
BLANK = len(pictures)  # the number of the blank picture
print("a picture:", pictures[0].shape, "its features:", features[0].shape)

# %% [markdown]
# ## Two encoders that meet
#
# Are these features any good for drawings? A direct way to find out is to search with them. **CLIP** (Radford et al.
# 2021) trains an encoder of pictures and an encoder of texts together. Both give vectors of length 1, and a picture
# shall lie where its own text lies. It is not enough to pull pairs together, because then everything could move to
# one point. So each picture of a batch must *choose* its text among all texts of the batch, and each text its picture.
# The products of all pairs are a square table, and the right answers stand on its diagonal. The loss is the
# cross-entropy of its rows and of its columns, and their mean.
#
# On paper, two pictures and two texts have the products 0.9 and 0.1 in the first row, 0.4 and 0.6 in the second. With a
# scale of 1 the first picture chooses its text with $e^{0.9} / (e^{0.9} + e^{0.1}) = 0.69$. Products of unit vectors
# cannot exceed 1, so the choice could never become sure. Hence the products are multiplied by a scale which is trained
# too; with 10, the same picture chooses its text with 0.9997.


# %%
def one_way(scores):
    """scores (rows, columns): how badly each row finds its own column."""
    return np.mean(np.log(np.exp(scores).sum(axis=1)) - np.diag(scores))


products = np.array([[0.9, 0.1], [0.4, 0.6]])
for scale in (1, 10):
    rows, columns = one_way(scale * products), one_way(scale * products.T)
    print(f"scale {scale:2d}: pictures {rows:.3f}, texts {columns:.3f}, loss {(rows + columns) / 2:.3f}")
u, v = np.eye(2), products.T  # vectors that have these products
assert np.isclose(clip_loss(u, v, 10.0), (one_way(10 * u @ v.T) + one_way(10 * v @ u.T)) / 2)

# %% [markdown]
# Now real pairs. The texts are the names, as vectors of MiniLM, the encoder of sentences from lesson 15, which stays
# frozen. For the pictures there are two candidates. One has the features of EfficientNet, frozen, and learns one
# matrix. The other is a patch encoder of ours. It cuts the picture into 16 patches and has two blocks of width 64, and
# all of it is trained. Both get the same pairs in as many steps. That is not quite fair, since EfficientNet has
# seen 1.3 million photographs before; that is the question, in fact. The controls: names that were shuffled among the
# training pictures, and a search without any training, which takes the *name* of the training picture that looks most
# alike and asks MiniLM which test name is nearest to it.

# %%
words = weights.sentence_encoder("minilm").embed(list(names))  # (signs, 384)
whole = features.mean(axis=1)  # (signs and the blank one, 1280)
raw = (with_blank.astype("float32") - 127) / 128
ENCODER = PatchEncoderSettings(64, patch_size=16, embedding_dim=64, num_layers=2, num_heads=4, dropout=0.1)


def paired(given, seed=0):
    """Trains a pair of encoders on the training pictures; `given` are features, or pictures for a patch encoder."""
    keras.utils.set_random_seed(seed)
    encoder, dim = (None, 1280) if given.ndim == 2 else (PatchEncoder(ENCODER), 64)
    pair = ContrastivePair(dim, 384, output_dim=128, picture_encoder=encoder)
    steps = PAIR_EPOCHS * -(-len(train) // 128)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=2e-3, warmup_steps=steps // 10)
    pair.compile(keras.optimizers.AdamW(rate, weight_decay=0.05), jit_compile=False)
    pair.fit({"pictures": given[train], "texts": words[train]}, batch_size=128, epochs=PAIR_EPOCHS, verbose=0)
    return np.array(pair.picture_vectors(given[test])) @ np.array(pair.text_vectors(words[test])).T


# %%
given = {"EfficientNet": whole, "patches": raw}
scores = {name: paired(given[name]) for name in LIVE}  # (test pictures, test names) each
print(f"among {len(test)}:            first   in the first 5   MRR")
hits = {}
for name, table in scores.items():
    for way, one in (("picture finds name", table), ("name finds picture", table.T)):
        places = ranks(one, np.arange(len(one)))
        hits[name, way] = 100 * hit_rate(places, 1), 100 * hit_rate(places, 5), mean_reciprocal_rank(places)
        print(f"{name:13s}{way}  {hits[name, way][0]:4.1f}%  {hits[name, way][1]:4.1f}%   {hits[name, way][2]:.3f}")

# %% tags=["hide"]
# @title Figure: what pictures of the test find among its names
figure, panels = plt.subplots(1, 5, figsize=(8.8, 2.7))
rng = np.random.default_rng(5)
for ax, row in zip(panels, rng.choice(len(test), 5, replace=False), strict=True):
    ax.imshow(pictures[test[row]])
    ax.axis("off")
    best = names[test[np.argsort(-scores["EfficientNet"][row])[:3]]]
    ax.set_title(f"“{names[test[row]]}”", fontsize=8.5, color=color("output"), loc="center")
    ax.text(0.5, -0.04, "\n".join([*best, ""]), transform=ax.transAxes, ha="center", va="top", fontsize=8.5)
show(figure, "Five drawings of the test with their right names above, and below each the three names of the test that"
     " the pair with EfficientNet's features finds nearest.")  # fmt: skip

# %%
table = load("vision-language")  # every number of benchmarks/vision_language.py


def measured(part, model, asked, measure, times=100):
    """The numbers of the table, one for each seed."""
    rows = table.query("part == @part and model == @model and asked == @asked and measure == @measure")
    return (times * rows["value"]).to_numpy()


WAYS = ("picture finds name", "name finds picture")
print(f"in the table, three seeds:  {WAYS[0]}, first / in the first 5    {WAYS[1]}")
for model in ("lite0", "patches", "nearest picture", "lite0, shuffled"):
    each = [measured("pairs", model, way, f"recall at {k}").mean() for way in WAYS for k in (1, 5)]
    print(f"{model:26s}", "{:10.1f} / {:4.1f}% {:27.1f} / {:4.1f}%".format(*each))

# %% tags=["hide"]
# @title Figure: retrieval, three seeds
LINES = {"lite0": ("EfficientNet", "subject"), "patches": ("patches of ours", "control"),
         "nearest picture": ("nearest picture, no training", "given"), "lite0, shuffled": ("names shuffled", "given"),
         "no idea": ("chance", "given")}  # fmt: skip
figure, panels = plt.subplots(1, 2, figsize=(8.6, 2.7), sharey=True)
for ax, way in zip(panels, WAYS, strict=True):
    for row, (model, (_, meaning)) in enumerate(LINES.items()):
        value = np.array([100 * 5 / 254]) if model == "no idea" else measured("pairs", model, way, "recall at 5")
        ax.plot([0, value.mean()], [row, row], color=color(meaning), lw=1, alpha=0.5)
        ax.plot(value, [row] * len(value), "o", color=color(meaning), ms=5.5, mec="white", mew=0.6)
        ax.text(value.max() + 1.5, row, f"{value.mean():.0f}", va="center", fontsize=9)
    ax.set(title=way, xlabel="among the first five, %", xlim=(0, 45))
figure.suptitle("What photographs taught finds one name in four; a thousand drawings teach little", fontsize=11)
panels[0].set_yticks(range(len(LINES)), [name for name, _ in LINES.values()])
panels[0].invert_yaxis()
show(figure, "Share of test pictures that find their name among the first five of 254, and of names that find their"
     " picture: EfficientNet's features, patches of ours, the nearest picture, shuffled names, chance.")  # fmt: skip

# %% [markdown]
# Chance is 2 in 100 here, five names of 254, and that is where the pair with shuffled names ends. Over EfficientNet's
# features a new drawing finds its name among the first five in one case of four, and in one of seven it comes first.
# Over patches of ours, with the same drawings and as many steps, it is about one in ten. So most of what is found
# was learned on photographs, before our training began. A thousand drawings are too few to learn from nothing what an
# edge, a wheel or a face is. Dosovitskiy et al. saw the same with a million pictures: with so few a patch encoder
# stays behind a convolutional network, and with hundreds of millions it overtakes it.
#
# Now look at the third line. The search that trained nothing is as good as the trained pair in one direction, and not
# far behind in the other. It asks which training drawing looks most alike and lets MiniLM compare the two names. So the
# credit belongs to the two frozen encoders. What a thousand pairs add to them is little, and without this control we
# would have praised the loss. CLIP had 400 million pairs.

# %%
searching = Claims("Where a picture and its name find each other")
first_five = {one: measured("pairs", one, WAYS[0], "recall at 5") for one in ("lite0", "patches", "lite0, shuffled")}
searching.claim("Pretrained features find more names than patches of ours", first_five["lite0"], ">",
                first_five["patches"], control="a patch encoder, the same pairs and steps", unit="% in the first five",
                headline="a new drawing's name among 254: {measured} over features of photographs, {bound} over a patch"
                " encoder trained on 1,017 drawings")  # fmt: skip
searching.claim("Names must belong to their pictures", first_five["lite0"], ">", first_five["lite0, shuffled"],
                control="names shuffled in training", unit="% in the first five")  # fmt: skip
searching.show()

# %% [markdown]
# ## Tokens that are seen
#
# Now the GPT. A special token stands for a place in a picture: four of it in front, then a question, then the answer.
# Where this token stands, the GPT gets no embedding but a vector of the picture: the features of a quarter, brought to
# mean 0 and spread 1, times one matrix. The cell builds such a model and computes it once in the open. The rest is the
# GPT of lesson 17, with two blocks of width 64.

# %%
QUESTIONS = {"name": "name:", "colour": "colour:", "animal": "animal:"}
answers = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "yes", "no"]
learned = [*QUESTIONS.values(), *answers, *names[train]]
tokenizer = text.train_bpe(learned, 1_000, eos=True, extra=["<picture>"])
PLACE = tokenizer.id_of("<picture>")


keras.utils.set_random_seed(0)
shape = {"num_layers": 2, "num_heads": 4, "embedding_dim": 64, "dropout": 0.1}
model = VisionLanguage(GPT(gpt_settings(tokenizer.vocabulary_size, 128, **shape)), PLACE, features_dim=1280)
prompt = np.array([[PLACE] * 4 + tokenizer.encode(QUESTIONS["colour"])])
vectors = model.project(model.norm(features[:1]))  # (1, 4, 64)
x = ops.concatenate([vectors, model.decoder.embed(prompt[:, 4:])], axis=1)  # pictures, then words
x = model.decoder.place(x)  # positions 0, 1, 2, ... for all of them
for block in model.decoder.blocks:
    x = block(x)
logits = model.decoder.head(model.decoder.final_norm(x))
assert np.allclose(logits, model(prompt, features[:1]), atol=1e-5)

# %% [markdown]
# The questions are made by rules, so that every answer can be checked. The *name* is the emoji's name. The *colour* is
# counted: OpenMoji draws with few colours, and a sign is asked for its colour if more than half of its coloured pixels
# have one. An *animal* is a sign with the name of an animal in its name, such as "pouting cat", but not "hot dog". As
# many other signs are asked, drawn by chance, so that whoever always says no is right in half of the cases.

# %% tags=["hide"]
# @title Data: the rules
SHADES = {
    "red": "EA5A47 D22F27 781E32",
    "orange": "F4AA41 E27022",
    "yellow": "FCEA2B F1B31C",
    "green": "B1CC33 5C9E31 186648",
    "blue": "92D3F5 61B2E4 1E50A0",
    "purple": "B399C8 8967AA",
    "pink": "FFA7C0 E67A94",
    "brown": "A57939 6A462F",
}
ANIMALS = set(
    "ant badger bat bear beaver beetle bird bison boar buffalo bug butterfly camel cat caterpillar chick chicken "
    "chipmunk cockroach cow crab cricket crocodile deer dodo dog dolphin donkey dove dragon duck eagle elephant "
    "ewe fish flamingo fly fox frog giraffe goat goose gorilla hamster hedgehog hippopotamus honeybee horse "
    "jellyfish kangaroo koala leopard lion lizard llama lobster mammoth monkey moose mosquito mouse octopus "
    "orangutan orca otter owl ox oyster panda parrot peacock penguin phoenix pig poodle rabbit raccoon ram rat "
    "rhinoceros rooster sauropod scorpion seal shark shrimp skunk sloth snail snake spider squid swan t-rex tiger "
    "turkey turtle unicorn whale wolf worm zebra blowfish".split()
)
NO_ANIMALS = "hot dog|computer mouse|mouse trap|fish cake|fried|mahjong|racing|carousel|web|nose|teddy|streamer|game"
is_animal = signs["english"].map(lambda name: not ANIMALS.isdisjoint(name.lower().split())).to_numpy()
is_animal = is_animal & ~signs["english"].str.contains(NO_ANIMALS).to_numpy()


# %%
def colour_of(picture):
    code = picture.astype("int32") @ [65536, 256, 1]  # three numbers as one
    counts = {name: np.isin(code, [int(one, 16) for one in shades.split()]).sum() for name, shades in SHADES.items()}
    best = max(counts, key=counts.get)
    return best if counts[best] > max(100, sum(counts.values()) / 2) else None


rng, items = np.random.default_rng(0), []  # the number of a picture, what is asked, the answer
colours = [colour_of(picture) for picture in pictures]
for part in (train, validation, test):
    yes = part[is_animal[part]]
    no = rng.choice(part[~is_animal[part]], len(yes), replace=False)
    items.append([(i, "name", names[i]) for i in part])
    items[-1] += [(i, "colour", colours[i]) for i in part if colours[i]]
    items[-1] += [(i, "animal", "yes") for i in yes] + [(i, "animal", "no") for i in no]
taught, checked, asked = items
print(f"{len(taught):,} questions to learn from, {len(asked)} for the test, such as")
print("\n".join(f"   {names[i]}, {what}: {answer}" for i, what, answer in asked[:: len(asked) // 4]))


# %%
def ids_of(question, answer=None):
    start = [PLACE] * 4 + tokenizer.encode(QUESTIONS[question])
    return start if answer is None else (start, [*tokenizer.encode(f" {answer}"), tokenizer.eos_id])


LENGTH = max(len(start) + len(end) for _, *some in taught + checked + asked for start, end in [ids_of(*some)]) - 1


def as_arrays(rows):
    """Ids, the next id of each, and 1 where an answer is to be learned: (questions, LENGTH) each."""
    ids, targets, counts = (np.zeros((len(rows), LENGTH), kind) for kind in ("int32", "int32", "float32"))
    for i, (_, question, answer) in enumerate(rows):
        start, end = ids_of(question, answer)
        line = start + end
        ids[i, : len(line) - 1], targets[i, : len(line) - 1] = line[:-1], line[1:]
        counts[i, len(start) - 1 : len(line) - 1] = 1
    return ids, targets, counts


# %% [markdown]
# Only the answers count in the loss, as in the conversations of lesson 21. The model trains until the validation
# questions get no better. All of the GPT learns here together with the projection, for it has to learn English names,
# too. Who has a large language model freezes it and trains the projection alone (Tsimpoukelli et al. 2021; LLaVA, Liu
# et al. 2023, begins so). Our models do this with one line, `model.decoder.trainable = False`.


# %%
def learn(model, rows, look_at=lambda rows: np.array([i for i, *_ in rows])):
    """Trains until the validation questions get no better; `look_at` says which picture each question sees."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    recipe = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
    model.compile(recipe, loss, weighted_metrics=[], jit_compile=False)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    ids, targets, counts = as_arrays(rows)
    check_ids, *check = as_arrays(checked)
    history = model.fit(
        {"ids": ids, "pictures": features[look_at(rows)]}, targets, 64, EPOCHS, verbose=0, sample_weight=counts,
        validation_data=({"ids": check_ids, "pictures": features[look_at(checked)]}, *check), callbacks=[stop],
    )  # fmt: skip
    return len(history.history["loss"])


print(learn(model, taught), "passes")

# %% [markdown]
# How do we ask? A `Session` keeps the cache of lesson 18. The pictures are projected once and read with the prompt,
# and then each new token costs as much as in any text. All test questions are rows of one session.


# %%
def asked_about(numbers):
    """What the model says to each test question before these pictures."""
    session = Session(model.looking_at(features[numbers]), tokenizer, rows=len(asked))
    session.rewrite([ids_of(question) for _, question, _ in asked])
    return [reply.text.strip() for reply in session.write(NEW)]


own = np.array([i for i, *_ in asked])
kinds, truth = (np.array(one) for one in list(zip(*asked, strict=True))[1:])
said = np.array(asked_about(own))
right = {kind: 100 * np.mean((said == truth)[kinds == kind]) for kind in QUESTIONS}
for kind in QUESTIONS:
    some = np.flatnonzero(kinds == kind)
    print(f"{kind}: {right[kind]:.1f}% right, such as")
    print("   ", "; ".join(f"{names[own[i]]}: {said[i]}" for i in some[:: max(1, len(some) // SHOWN)]))
blank = np.array(asked_about(np.full(len(own), BLANK)))
print("the same model before a blank picture:", *dict.fromkeys(blank[kinds != "name"]))

# %% [markdown]
# Compare this with your prediction: many colours and most animals are right, and not one name is. What do these numbers
# prove? A model can be right without looking. Yellow is frequent, half of the animal questions are yes, and a name can
# be guessed from names. So there are four controls. Two belong to the same trained model, which is asked before a
# *blank* picture, and before *another sign's* picture. A third model is trained anew, from answers that were shuffled
# among the training pictures of a question. The last control is the most frequent answer. All models stand in the
# table with three seeds.

# %%
ORDER = ["lite0", "blank at the test", "others' pictures", "answers shuffled"]
print(f"{'':18s} {'name':>10s} {'colour':>10s} {'animal':>10s}   right, %; bits a name")
for model_name in ORDER:
    means = [f"{np.mean(measured('asked', model_name, kind, 'right')):10.1f}" for kind in QUESTIONS]
    print(f"{model_name:18s}", *means, f"  {np.mean(measured('asked', model_name, 'name', 'bits', 1)):6.1f}")
print(
    f"{'most frequent':18s}", *(f"{measured('asked', 'most frequent', kind, 'right')[0]:10.1f}" for kind in QUESTIONS)
)
print("here, one seed:   ", *(f"{right[kind]:10.1f}" for kind in QUESTIONS))

# %% tags=["hide"]
# @title Figure: what is right, and with which pictures
figure, panels = plt.subplots(1, 3, figsize=(8.8, 3.1), sharey=True)
SAID = {
    "lite0": ("its own picture", "subject"),
    "answers shuffled": ("answers shuffled", "control"),
    "others' pictures": ("another sign's picture", "given"),
    "blank at the test": ("a blank picture", "given"),
}
PANELS = [("name", "bits", 1, "bits for the right name"), ("colour", "right", 100, "right, %"),
          ("animal", "right", 100, "right, %")]  # fmt: skip
FINDINGS = {"name": "names are not learned", "colour": "colours are seen", "animal": "animals are seen"}
for ax, (question, measure, times, label) in zip(panels, PANELS, strict=True):
    for row, (model_name, (_, meaning)) in enumerate(SAID.items()):
        value = measured("asked", model_name, question, measure, times)
        ax.plot(value, [row] * len(value), "o", color=color(meaning), ms=5.5, mec="white", mew=0.6)
    if measure == "right":
        ax.axvline(measured("asked", "most frequent", question, "right")[0], color=color("given"), ls="--", lw=1)
        ax.set_xlim(0, 100)
    ax.set(xlabel=label, title=FINDINGS[question])
panels[0].set_yticks(range(len(SAID)), [name for name, _ in SAID.values()])
panels[0].invert_yaxis()
show(figure, "For names the bits, for colours and animals the share of right answers, one dot a seed: with the own"
     " picture, after training on shuffled answers, with another sign's picture, with a blank one. The dashed line is"
     " the most frequent answer.")  # fmt: skip

# %% [markdown]
# Colours and animals are seen. Before another sign's picture the same model loses more than half of its right colours,
# and its answers about animals become guesses. The model that learned from shuffled answers gives the most frequent
# colour to everybody. So it is the picture that tells, and training that taught the model to look. The blank
# picture needs care: before it the model is *worse* than the most frequent answer. White is not "no picture" to it,
# but a picture unlike all that it has seen, and nobody taught it to say that it does not know.
#
# Names are the failure. A new name costs more than forty bits, as many as after training on shuffled names, so here the
# picture gives nothing that we can measure. Is the GPT blind to what the features hold? It can tell animals, and the
# pair above found one name in seven from the same features. What the pair had is MiniLM, which knows the words. Our GPT
# has read 1,017 names and nothing else, and a model that never read "hedgehog" cannot write it, however well it sees
# one. This is why a vision-language model is built on a large language model: to have words for what is seen.
# `VisionLanguage` takes SmolLM2 as its decoder, but a run of it does not fit into the minutes of this lesson.

# %%
answering = Claims("What the GPT sees")
colours_seen, animals_seen = (measured("asked", "lite0", kind, "right") for kind in ("colour", "animal"))
answering.claim("It sees colours", colours_seen, ">", measured("asked", "others' pictures", "colour", "right"),
                control="another sign's picture", unit="% right",
                headline="colours of new drawings: {measured} with the picture, {bound} with another")  # fmt: skip
answering.claim("It sees animals", animals_seen, ">", measured("asked", "answers shuffled", "animal", "right"),
                control="answers shuffled in training", unit="% right")  # fmt: skip
answering.claim("A new name is as hard as without its picture", measured("asked", "lite0", "name", "bits", 1), "==",
                measured("asked", "answers shuffled", "name", "bits", 1), control="answers shuffled in training",
                tolerance=1, unit="bits")  # fmt: skip
answering.show()

# %% [markdown]
# ## Other pictures: digits
#
# Our emoji are clean and coloured, and they come from one hand. How good are the same features for something else? The
# digits of scikit-learn are grey, 8 by 8 pixels, and written by people. We draw each pixel as a square of 8 by 8,
# take the features, and train a logistic regression, whose strength is chosen on the validation part. The controls are
# the 64 plain pixels, the same networks with random weights, and the patch encoder as our emoji left it.

# %%
digits = table[table["part"] == "digits"].set_index("model")["value"]
print((100 * digits).round(1).to_string())

# %% [markdown]
# The plain pixels win, by far, and the trained features are no better than those of the same network with random
# weights. This is not what one hopes for from 1.3 million photographs, and it deserves care. It is one draw of random
# weights, 345 test digits (four points to each side), and pictures of 64 pixels, of which the network makes four places
# and we a mean. The experiment of the exercises tells what such a mean costs. Still it holds that features are good for
# what they were trained for and for what is near to it. Whether your pictures are near must be measured, and plain
# pixels are a control that costs nothing.

# %% [markdown]
# ## What can go wrong
#
# It is tempting to believe that a model which answers questions about a picture has looked at it. On questions about
# photographs, models without any picture were right in half of the cases, because bananas are yellow and most
# questions that begin with "is there" are answered with yes (Agrawal et al. 2018). So a number without its blind
# control says nothing. We balanced the animals, printed the most frequent answer and exchanged the pictures.
#
# The second trap is the split. Before we compared pixels, some test pictures had a near twin in training, whose
# name often shares a word with theirs. And a third one: our rules make the truth. A sign is "yellow" because its paint
# is, and "hot dog" is no animal because we wrote that down. Rules make answers that can be checked, but only to
# questions that a rule can ask.
#
# ## Summary
#
# - A picture becomes vectors of the language model's size: patches, or features of a trained encoder, times a matrix.
#   They stand in front of the text like tokens, and nothing inside the GPT is changed.
# - CLIP's loss lets each picture of a batch choose its text and each text its picture. It cannot be won by moving
#   everything to one point.
# - With a thousand drawings, features of photographs are worth far more than an encoder trained from nothing. A search
#   without training is nearly as good as a trained pair over the same features.
# - A small GPT learns to see colours and animals in new drawings, and no names: it lacks the words.
# - Features are good near what they were trained on. For handwritten digits plain pixels are better.
#
# ## Exercises
#
# Open [exercises/25_vision_language.ipynb](exercises/25_vision_language.ipynb). You cut pictures into patches, put
# their vectors between words, write the loss of pairs and find twins in two parts. In the experiment you find out
# whether it matters where a pixel stands. Each answer is checked.
#
# ## References
#
# - A. Dosovitskiy and others (2021). An image is worth 16x16 words: transformers for image recognition at scale.
#   *ICLR*. Section 3.1: patches as tokens; section 4.3: how much data that needs.
# - M. Tan, Q. Le (2019). EfficientNet: rethinking model scaling for convolutional neural networks. *ICML*. Section 4.
# - A. Radford and others (2021). Learning transferable visual models from natural language supervision. *ICML*.
#   Section 2.3 and figure 3: CLIP and its loss.
# - X. Zhai and others (2022). LiT: zero-shot transfer with locked-image text tuning. *CVPR*. Section 3: an encoder
#   that stays frozen.
# - M. Tsimpoukelli and others (2021). Multimodal few-shot learning with frozen language models. *NeurIPS*. Section 3.
# - H. Liu, C. Li, Q. Wu, Y. Lee (2023). Visual instruction tuning. *NeurIPS*. Section 4.1: the projection, equation 1.
# - A. Agrawal and others (2018). Don't just assume; look and answer: overcoming priors for visual question answering.
#   *CVPR*. Section 3: answers that need no picture.
# - OpenMoji, version 17.0, HfG Schwäbisch Gmünd, CC BY-SA 4.0. The drawings.
