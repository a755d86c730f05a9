# %% [markdown] tags=["edition-2"]
# # 20 · Pretrained weights
#
# **What is in a file of weights, and how much of it does a model need?**
#
# **You need** lesson 08 (special tokens), lesson 12 (bits per character), lesson 13 (rotary positions), lesson 17
# (the GPT) and lesson 19 (the modern block).
#
# **You will build** two readers of model files, byte by byte, and undo the rounding of their numbers by hand. Then
# you measure what may be done to the weights of a real language model: another order, fewer bits, a smaller copy, a
# few numbers beside them.
#
# **Time** about 3 minutes to run on a laptop with 2 cores, and 50 minutes to read.

# %% tags=["hide"]
# @title Imports
import json
import math
import struct
import tempfile
import textwrap
from collections import Counter
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops
from keras.losses import CategoricalCrossentropy
from safetensors.numpy import load_file, save_file

from kerasllm import training, weights
from kerasllm.batches import windows
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import bars, show, use_style
from kerasllm.course.palette import color
from kerasllm.data import load
from kerasllm.evaluation import log_probability
from kerasllm.generation import Chat, Session
from kerasllm.generation.compiling import compiled
from kerasllm.models import BERT, GPT, BERTSettings, gpt_settings, preset
from kerasllm.text import ChatTemplate
from kerasllm.training.fast import every_layer
from kerasllm.weights.families import FAMILIES
from kerasllm.weights.families.bert import BLOCK as BERT_NAMES
from kerasllm.weights.fetched import SMOLLM2, files_of

use_style()

# %%
BLOCKS = dial(30, smoke=1)  # blocks of the language model that are kept; it has 30
SNIPPETS = dial(40, smoke=4)  # film snippets on which it is measured
WORDS = dial(8, smoke=2)  # tokens that it writes with the wrong order
NEW = dial(24, smoke=4)  # most tokens of a reply
ASKED = dial(4, smoke=1)  # questions that are put with and without a chat template
KINDS = dial(("int8", "int4"), smoke=("int4",))  # in which its weights are held, beside 32 bits
PIECES = dial(8, smoke=2)  # pieces of the test books on which rounding is measured
LETTERS = dial(4_000, smoke=300)  # characters of such a piece
WIDTHS = dial((2, 3, 4, 8), smoke=(3, 4))  # bits of a code
TAUGHT = dial(200, smoke=16, gpu=4_000)  # snippets that a student learns from
HELD_OUT = dial({"validation": 80, "test": 300}, smoke={"validation": 8, "test": 8})  # snippets that judge it
STUDENT = dial({"num_layers": 2, "embedding_dim": 96}, smoke={"num_layers": 1, "embedding_dim": 16})  # its size
RATE = dial(0.001, smoke=0.001)  # its learning rate
PASSES = dial(15, smoke=1)  # most passes of a student over its snippets
SEEDS = dial((0, 1, 2), smoke=(0,))  # each names the starting weights of a student
STEPS = dial(8, smoke=2, gpu=100)  # training steps of the adapter

# %% [markdown]
# ## A file and nothing else
#
# Every model that wrote a text in this course was trained by us, in minutes. From here on we use one that others
# trained: SmolLM2, a language model of 135 million weights that has read two trillion tokens (Ben Allal et al. 2025).
# What we get of it is one file of 98 million bytes. Nobody sends the program, the training texts or the people who
# could be asked. So the file must hold everything that the model needs to write its first word. Before you read on,
# make a list: what must stand in it beside the weights?
#
# A second prediction is harder. Suppose that all numbers arrive without a mistake, but that in two matrices of each
# block the *rows* stand in another order than our program expects. Will there be an error message, nonsense, or
# something else? The drawing shows the two kinds of files that we are going to open. An arrow goes from the entry of
# a tensor, that is of an array of numbers with a name, to the place of its numbers.

# %% tags=["hide"]
# @title Drawing: two kinds of files, and a block of numbers
sheet = Diagram(8.2, 4.2)


def strip(y, name, parts):
    """A file as boxes beside each other; their places."""
    sheet.text((0.1, y + 0.62), name, align="left", size=11)
    places, x = [], 0.1
    for words, width, meaning in parts:
        places.append(sheet.box(words, (x + width / 2, y), meaning=meaning, width=width - 0.06, height=0.72, size=8.5))
        x += width
    return places


two = [("numbers of\na tensor", 1.2, "weights")] * 2 + [("…", 0.5, "weights")]
_, header, *numbers = strip(3.2, "safetensors", [
    ("8 bytes:\nlength of\nthe header", 1.0, "given"),
    ("header, JSON: for each tensor\nits type, its shape, from, to", 2.6, "look"), *two,
])  # fmt: skip
sheet.arrow((header.x + 0.8, 3.56), numbers[1].top, through=[(header.x + 0.8, 3.85), (numbers[1].x, 3.85)])
_, _, tensors, *numbers = strip(1.85, "GGUF", [
    ("GGUF,\nversion,\ntwo counts", 1.0, "given"),
    ("metadata: settings, the whole\ntokenizer, chat template", 2.4, "look"),
    ("for each tensor: name,\nsizes, kind, place", 1.8, "look"), *two,
])  # fmt: skip
sheet.arrow((tensors.x + 0.5, 2.21), numbers[1].top, through=[(tensors.x + 0.5, 2.5), (numbers[1].x, 2.5)])
*_, codes = strip(0.5, "one block of the kind Q4_1: 32 numbers in 20 bytes", [
    ("scale\n2 bytes", 1.0, "state"), ("minimum\n2 bytes", 1.0, "state"),
    ("32 codes from 0 to 15, two in a byte\n16 bytes", 3.2, "weights"),
])  # fmt: skip
sheet.text((codes.right[0] + 0.15, 0.5), "number = scale · code + minimum", align="left", size=9.5)
show(sheet.figure, "Three strips of boxes. A safetensors file is a length, a JSON header and numbers; a GGUF file is"
     " counts, metadata, a table of tensors and blocks; a block is a scale, a minimum and 32 codes.")  # fmt: skip

# %% [markdown]
# ## Eight bytes, a header, numbers
#
# **Safetensors** is the simpler kind: eight bytes that say how long the header is, the header as JSON text, and then
# the numbers of all tensors, one behind the other. On paper: a file with one tensor of shape (2, 3) in numbers of two
# bytes has the offsets from 0 to 12, counted from the end of the header. A reader needs nothing else, and above all
# no program. Older files of PyTorch *are* programs (Python's pickle), and whoever opens one of a stranger runs it.
#
# Our GPT of lesson 18 comes in such a file. The cell reads one matrix by hand and compares it with the library's.


# %%
def header_of(content):
    """The header of a safetensors file, and the place where the numbers begin."""
    (length,) = struct.unpack("<Q", content[:8])  # "<Q": 8 bytes, the smallest first, as one whole number
    return json.loads(content[8 : 8 + length]), 8 + length


content = (weights.folder_of("king-james-gpt") / "model.safetensors").read_bytes()
header, base = header_of(content)
print(f"{len(content):,} bytes, of which {base:,} are in front of the numbers of {len(header) - 1} tensors")
name = "block_1/attention/query/kernel"
print(name, header[name])
start, end = header[name]["data_offsets"]
ours = np.frombuffer(content[base + start : base + end], "<f2").reshape(header[name]["shape"])  # F16: two bytes each
bible_gpt, bible_tokens = weights.pretrained("king-james-gpt")
theirs = ops.convert_to_numpy(bible_gpt.blocks[0].attention.query.kernel)
assert np.array_equal(ours.astype("float32"), theirs)  # not one number differs

# %% [markdown]
# A header of safetensors names tensors. It does not say how many heads there are, which normalisation is meant, or
# which text belongs to token 1,000. For those a folder of several files is passed on: `config.json` with settings,
# `tokenizer.json` with the tokenizer.
#
# ## One file with everything
#
# **GGUF**, the format of the program llama.cpp, puts all of it into one file. Here nothing is JSON: each value has a
# type number in front, and each text its length. So a reader is a finger that moves over the bytes. It takes a
# number, moves on by the size of that number, and what it took says what must be taken next. In the class below
# `FORMS` says for each type number with which letter `struct` reads it: "B" is a byte, "I" a whole number of four
# bytes, "Q" one of eight, "f" a float.


# %%
class Tape:
    """Bytes, and the place at which we read."""

    FORMS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}  # type number: letter of struct

    def __init__(self, content):
        self.content, self.at = content, 0

    def take(self, form):
        (found,) = struct.unpack_from("<" + form, self.content, self.at)
        self.at += struct.calcsize("<" + form)
        return found

    def value(self, kind):
        if kind == 9:  # a list: the kind of its entries, their number, and the entries
            inner, count = self.take("I"), self.take("Q")
            return [self.value(inner) for _ in range(count)]
        # 8 is a text: its length in bytes, and the bytes
        return self.take(f"{self.take('Q')}s").decode() if kind == 8 else self.take(self.FORMS[kind])


# %% tags=["hide"]
# @title Data: SmolLM2's file, in a folder of its own
with files_of("smollm2-135m-instruct") as folder:
    content = (folder / SMOLLM2).read_bytes()
SHOWN = "block_count embedding_length head_count head_count_kv freq_base layer_norm_rms_epsilon tokens merges"
SHOWN = [*SHOWN.split(), "eos_token_id", "chat_template"]  # of the settings those that a model cannot do without
FOLDER = Path(tempfile.mkdtemp())
path = FOLDER / "smollm2.gguf"
path.write_bytes(content)
print(f"{len(content):,} bytes, which begin with", content[:4], "and", content[4:12].hex(" "))

# %%
tape = Tape(content)
magic, version, tensors, keys = (tape.take(form) for form in ("4s", "I", "Q", "Q"))
metadata, table = {}, {}
for _ in range(keys):
    key = tape.value(8)
    metadata[key] = tape.value(tape.take("I"))
for _ in range(tensors):
    name = tape.value(8)
    sizes = [tape.take("Q") for _ in range(tape.take("I"))]
    table[name] = sizes[::-1], tape.take("I"), tape.take("Q")  # shape as in NumPy, kind, place
data = -(-tape.at // 32) * 32  # the numbers begin at the next multiple of 32
print(f"version {version}: {keys} settings and {tensors} tensors; among the settings are")
for key, value in metadata.items():
    if key.split(".")[-1] in SHOWN:
        print(f"  {key:39s} {f'{len(value):,} entries' if isinstance(value, list) else repr(value)[:60]}")
with weights.read_gguf(path) as file:
    assert file.metadata == metadata  # the library reads the same
    assert {name: list(tensor.shape) for name, tensor in file.tensors.items()} == {n: t[0] for n, t in table.items()}

# %% [markdown]
# Compare this with your list. There are the sizes of the network, the base of the rotary positions and the small
# number that the normalisation adds. There is the whole tokenizer: its tokens, and the pairs that byte pair encoding
# merges. Some tokens have a role, such as the end of a text. The last thing is easily forgotten: a small program, the
# chat template, that says how a conversation becomes a text. Most of these cannot be guessed from the weights.
#
# ## Numbers in blocks
#
# 135 million numbers of four bytes are 538 million bytes, and the file has 98. It holds the numbers rounded, and this
# is called **quantisation**: a number becomes a small whole number, its code, times a scale that many numbers share.
# If one scale served the whole matrix, one large weight would make the steps coarse for all the others. So each 32
# numbers are a block with a scale of their own.
#
# On paper, take four numbers in place of 32: −0.3, 0, 0.45 and 1.2. In the kind Q8_0 the scale is the largest of them
# without its sign, divided by 127: 1.2 / 127 = 0.00945. The codes are −32, 0, 48 and 127, and 48 · 0.00945 gives back
# 0.4535. In the kind Q4_1 there are 16 steps from the smallest number to the largest, so the scale is 1.5 / 15 = 0.1
# and the minimum −0.3. The codes are 0, 3, 8 and 15, and 0.45 has become 0.5. The cell undoes both kinds. Two codes
# of four bits share a byte, and first come the low halves of all 16 bytes, then the high ones.


# %%
def q8_0(blocks):  # bytes (blocks, 34)
    return blocks[:, :2].view("<f2").astype("float32") * blocks[:, 2:].view("int8")


def q4_1(blocks):  # bytes (blocks, 20)
    scale, minimum = (blocks[:, at : at + 2].view("<f2").astype("float32") for at in (0, 2))
    codes = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)  # (blocks, 32)
    return scale * codes + minimum


def in_bytes(*halves, codes):
    return np.frombuffer(np.array(halves, "<f2").tobytes() + np.array(codes, "int8").tobytes(), "uint8")[None]


print("Q8_0", q8_0(in_bytes(1.2 / 127, codes=[-32, 0, 48, 127] + 28 * [0]))[0, :4].round(3))
print("Q4_1", q4_1(in_bytes(0.1, -0.3, codes=[0, 3, 8, 15] + 12 * [0]))[0, :4].round(3) + 0)


# %%
KIND = {0: ("F32", 1, 4, lambda raw: raw.view("<f4")), 3: ("Q4_1", 32, 20, q4_1), 8: ("Q8_0", 32, 34, q8_0)}


def numbers_of(name):
    """A tensor of SmolLM2's file as 32-bit numbers."""
    shape, kind, place = table[name]
    _, count, size, undo = KIND[kind]  # numbers and bytes of a block
    blocks = math.prod(shape) // count
    raw = np.frombuffer(content, "uint8", blocks * size, data + place).reshape(blocks, size)
    return undo(raw).reshape(shape)


held = Counter()
for shape, kind, _ in table.values():
    held[KIND[kind][0]] += math.prod(shape)
print(", ".join(f"{count:,} numbers in {kind}" for kind, count in held.items()))
with weights.read_gguf(path) as file:
    for name in ("token_embd.weight", "blk.0.attn_q.weight", "output_norm.weight"):
        assert np.array_equal(numbers_of(name), file.tensors[name].read())  # ours are the library's

# %% [markdown]
# The table of embeddings has 8 bits a number, the matrices of the blocks have 4 and the scales of the norms all 32.
# With its scale and its minimum a number of Q4_1 costs 5 bits in the end: 20 bytes for 32 numbers.
#
# ## An order that nobody checks
#
# Now to the second prediction. Rotary positions (lesson 13) turn the numbers of a query in pairs. Which two numbers
# are a pair is a convention. In the code of Hugging Face, number $i$ of a head belongs to number $i + d/2$; in
# llama.cpp, as in the first code of Llama, it belongs to its neighbour. The converter between the two moves the rows
# of the query and key matrices, so that partners meet. A head of four rows 0, 1, 2, 3 is stored as 0, 2, 1, 3.
# Whoever reads such a file for the other convention has to move them back. The drawing shows a head of four rows:
# boxes of one colour were partners in training, and a line joins the two that a program turns together.

# %% tags=["hide"]
# @title Drawing: partners in three orders
sheet = Diagram(8.2, 2.9)


def head(y, name, rows, pairs, meaning):
    """A head of four rows as boxes; the pairs of places that are turned together are joined by a line."""
    sheet.text((0.1, y), name, align="left", size=9.5)
    boxes = [sheet.box(f"row {row}", (4.6 + 0.95 * place, y), width=0.8, height=0.42, size=9,
                       meaning=("query", "key")[row % 2]) for place, row in enumerate(rows)]  # fmt: skip
    for number, (one, two) in enumerate(pairs):
        high = y + 0.36 + 0.12 * (number if two - one > 1 else 0)
        left, right = boxes[one].top, boxes[two].top
        sheet.arrow(left, right, through=[(left[0], high), (right[0], high)], meaning=meaning, head=False)


head(2.15, "Hugging Face and our program:\npartners are half a head apart", [0, 1, 2, 3], [(0, 2), (1, 3)], "output")
head(1.2, "llama.cpp and the file:\npartners are neighbours", [0, 2, 1, 3], [(0, 1), (2, 3)], "output")
head(0.22, "the file's order in our program:\nstrangers are turned together", [0, 2, 1, 3], [(0, 2), (1, 3)], "error")
show(sheet.figure, "Three rows of four boxes. In the first, rows 0, 1, 2, 3, and lines join 0 with 2 and 1 with 3. In"
     " the second, rows 0, 2, 1, 3, and lines join neighbours, the same partners. In the third the order is that of the"
     " second and the lines are those of the first: 0 is joined with 1 and 2 with 3.")  # fmt: skip


# %%
def by_halves(rows, heads):  # partners are neighbours -> partners are half a head apart; rows (heads * d, dim)
    return rows.reshape(heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def by_neighbours(rows, heads):  # and back
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


print("stored 0, 2, 1, 3 becomes", by_halves(np.array([[0], [2], [1], [3]]), heads=1).ravel())
model, tokenizer = weights.from_gguf(path)  # with 32-bit numbers
while len(model.blocks) > BLOCKS:  # none, unless the dial was turned
    model.blocks.pop()
heads, kv_heads = metadata["llama.attention.head_count"], metadata["llama.attention.head_count_kv"]
theirs = ops.convert_to_numpy(model.blocks[0].attention.query.kernel).T
assert np.array_equal(by_halves(numbers_of("blk.0.attn_q.weight"), heads), theirs)  # the library moves them too

# %% [markdown]
# What if it did not? Shapes, sums and sizes are the same in both orders, so nothing can notice. We measure bits per
# character on film snippets. The Bible will not do here, because SmolLM2 knows much of it by heart (its card,
# `data.card("smollm2-135m-instruct")`, has the measurement), and a test must not be recited.

# %% tags=["hide"]
# @title Data: film snippets to measure on
films = load("movie-snippets").sample(frac=1, random_state=0)
lines = {
    part: [f"{line}\n" for line in films["text"][films["split"] == part]] for part in ("train", "validation", "test")
}
judged = lines["test"][:SNIPPETS]
judged_ids, letters = [tokenizer.encode(line) for line in judged], sum(map(len, judged))
everything, at_a_time = np.concatenate(judged_ids), {"context": 512, "stride": 512, "batch_size": 1}


def reorder(move):
    """Moves the rows of all query and key matrices of the model."""
    for block in model.blocks:
        for layer, count in ((block.attention.query, heads), (block.attention.key, kv_heads)):
            layer.kernel.assign(move(ops.convert_to_numpy(layer.kernel).T, count).T)


# %%
def bits(model):  # what it needs for each snippet; it reads one behind the other, 512 tokens at a time
    [tokens] = log_probability(model, [[tokenizer.bos_id]], [everything], **at_a_time).tokens
    ends = np.cumsum([len(ids) for ids in judged_ids])
    return np.array([-part.sum() / math.log(2) for part in np.split(tokens, ends[:-1])])


right = bits(model)
reorder(by_neighbours)  # as the file has them
wrong = bits(model)
ids = tokenizer.encode("The film is about a young man who")
for _ in range(WORDS):
    ids.append(int(ops.argmax(model(np.array([ids]))[0, -1])))
print(f"wrong order: {np.sum(wrong > right)} of {len(right)} snippets cost more;", tokenizer.decode(ids))
reorder(by_halves)  # back again
found = Claims("What the order of rows is worth")
found.claim("In the wrong order the same numbers write worse", wrong.sum() / letters, ">", right.sum() / letters,
            unit="bits a character", control="the same rows in the right order",
            headline="rotary rows in another order give no error, but {measured}; in order {bound}")  # fmt: skip
found.show()

# %% [markdown]
# This is the failure to be afraid of. There is no error and no nonsense: the model goes on to write English, only
# worse, and on every snippet. Why does it work at all? Queries and keys are moved in the same way, so where
# nothing is turned, their product is what it was. Only what the turning adds is wrong, that is the distance between
# two words. One example that looks good therefore proves nothing about a reader of files. A number on a known text
# does, held against the number that others got.
#
# ## One table of names
#
# Each family of models has names of its own for the same matrices. Our `GPT` calls one of them
# `block_1/attention/query/kernel`, and for each family the library has one table that says how others call it. Some
# also keep it otherwise. GPT-2 stores queries, keys and values in one matrix, and PyTorch keeps a matrix as (out,
# in), so that it must be turned. Everything else is settings, as in lesson 19. The cell makes a small model of each
# of four families, writes it in the names of its family and reads it back. The models are random, because the
# published files of GPT-2 and Qwen do not come with this course. SmolLM2's own file is a Llama by its names, and
# MiniLM's in lesson 15 was a BERT.
# In the printed lines `Third(..., part=0)` means the first third of a matrix, which is how GPT-2 keeps its queries.

# %%
sizes = {"vocabulary_size": 50, "num_layers": 1, "num_heads": 2, "embedding_dim": 16, "hidden_dim": 32}
presets = {"gpt2": "gpt2", "llama": "smollm2-135m", "qwen2": "qwen2.5-0.5b"}
small = {name: GPT(preset(kind, **sizes, num_kv_heads=2)) for name, kind in presets.items()}
small["bert"] = BERT(BERTSettings(**sizes))
place, some = "attention/query/kernel", np.arange(1, 9)[None]
for name, network in small.items():
    weights.to_hugging_face(network, FOLDER / name)
    again, _ = weights.from_hugging_face(FOLDER / name)
    assert np.allclose(again(some), network(some), atol=1e-6)
    header, _ = header_of((FOLDER / name / "model.safetensors").read_bytes())
    names = BERT_NAMES if name == "bert" else FAMILIES[name].block
    print(f"{name:6s} {len(header) - 1:2d} tensors; {place} is", names[place])

# %% [markdown]
# A file of weights can be damaged, or belong to other settings. So the library compares names and shapes with the
# settings before it computes anything. We break the small Llama in three ways.

# %%
file = FOLDER / "llama" / "model.safetensors"
whole, name = load_file(file), "model.layers.0.self_attn.q_proj.weight"
rest = {key: array for key, array in whole.items() if key != name}
for what, arrays in {
    "lost": rest,
    "cut": rest | {name: whole[name][:8]},
    "one too many": whole | {"model.layers.1.self_attn.q_proj.weight": whole[name]},
}.items():
    save_file(arrays, file, {"format": "pt"})
    try:
        weights.from_hugging_face(FOLDER / "llama")
    except ValueError as error:
        said = str(error).replace(f"{FOLDER}/", "")
        print(textwrap.fill(f"{what}: {said}", 100, subsequent_indent="   "))

# %% [markdown]
# Each message names the file and the tensor. So names and shapes can be checked; but what the numbers *mean* cannot,
# and none of these checks would have found the wrong order of rows.
#
# ## From turns to ids
#
# SmolLM2 was tuned to answer. In that training each turn of a conversation stood between two special tokens, with the
# name of the speaker in front. The **chat template** is the program in the file that puts them there. Whoever leaves
# it out gives the model a text of a kind that it was not tuned on. The template also adds a first turn of the system,
# if we write none. By hand it is a list of ids: the special tokens have ids of their own, and everything between them
# is encoded as text.
#
# The model then writes until it gives the token that ends a turn. For writing we take the same weights with 4 bits in
# memory (the next section measures what that costs). The reply comes in pieces, as soon as each of them is certain;
# between two bars stands what came at once.

# %%
template = ChatTemplate(tokenizer)
question = "What is the capital of France?"
turns = [{"role": "user", "content": question}]
print(template.text(turns, open_reply=True))
start, end, line = tokenizer.id_of("<|im_start|>"), tokenizer.id_of("<|im_end|>"), tokenizer.encode("\n")
system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
ids = []
for role, said in (("system", system), ("user", question)):
    ids += [start, *tokenizer.encode(f"{role}\n{said}"), end, *line]
ids += [start, *tokenizer.encode("assistant\n")]  # an opened turn: the model goes on here
assert ids == template.encode(turns, open_reply=True)
print(len(ids), "ids:", ids[:12], "...")
fast, _ = weights.from_gguf(path, numbers="int4")
for piece in Chat(fast, tokenizer).stream(question, NEW):
    print(piece, end="|")

# %% [markdown]
# Is the template worth the trouble? We put the same questions with it and without, that is as plain text, and read
# the replies. The model has at most 24 tokens for each. A line names the reason for its end, too: *stop* is the token
# that ends a turn or a text, *length* means that the 24 tokens were used up. Predict what it makes of a question in
# plain text.

# %%
asked = ["What is the capital of France?", "What is 2 + 2?", "Which animal says moo?", "Who wrote Hamlet?"]
for question in asked[:ASKED]:
    plain = Session(fast, tokenizer)
    plain.read(question)
    print(question)
    for how, reply in (("template", Chat(fast, tokenizer).say(question, NEW)), ("plain text", plain.write(NEW)[0])):
        print(f"   {how:10s} {reply.ended:6s} {reply.text!r}")

# %% [markdown]
# As plain text, two of the questions get no reply at all: the model ends the text at once. To the other two it writes
# something that a page might hold. With the template it replies to all four. But read the replies: a template makes
# the model answer, and it does not make it know what an elephant says.
#
# ## Four bits, eight bits: what do they cost?
#
# A weight in memory can have 32 bits, 8 or 4. With `numbers="int8"` or `"int4"` the library keeps blocks of 32
# numbers with a scale each, as the file does, and computes with them. We load the same file three times and compare
# size and bits a character. The control is the file in 32-bit numbers. Predict what 8 bits cost in comparison with
# 32, and 4 bits in comparison with 8.

# %%
cost = {"float32": right.sum() / letters}  # as the rows' order was measured
print(f"float32  {4 * model.count_params() / 1e6:4.0f} MB of weights in memory, {cost['float32']:.4f} bits a character")
for kind in KINDS:
    one = fast if kind == "int4" else weights.from_gguf(path, numbers=kind)[0]
    cost[kind] = bits(one).sum() / letters
    print(f"{kind:8s} {one.bytes / 1e6:4.0f} MB of weights in memory, {cost[kind]:.4f} bits a character")

# %% [markdown]
# Most of the memory is gone, and the text costs what it cost before. Is this a miracle? Look at the control. The file
# has 4 bits a number, so its 32-bit numbers were *made* of 4-bit ones, and each of them is one of 16 values in its
# block. Eight bits have room for these codes as they are, and so have four. Nothing was rounded here, because
# everything had been rounded before. What rounding did to SmolLM2 happened when the file was made, and the numbers
# from before are not in it. So this table cannot say what 4 bits cost. Any table that begins from a rounded file has
# the same flaw.
#
# A fair test needs weights that nobody has put into blocks. Our GPT of the King James Bible comes in 16-bit floats.
# We round the matrices of its layers by hand, to codes of 2 to 8 bits, and measure on eight pieces of test books that
# it has never read. The control is the length of a block: 32 numbers with a scale and a minimum of their own, or one
# scale and one minimum for a whole matrix. How many bits do you expect it to need?

# %% tags=["hide"]
# @title Data: pieces of the Bible's test books
verses = load("king-james")
book = "\n".join(verses["text"][verses["split"] == "test"])
pieces = [book[place : place + LETTERS] for place in np.linspace(0, len(book) - LETTERS, PIECES).astype(int)]
pieces_ids = [bible_tokens.encode(piece) for piece in pieces]


def bits_of_pieces(change=None, *numbers):
    """Bits a character of each piece, with all matrices of the blocks changed; then they are put back."""
    dense = [layer for block in bible_gpt.blocks for part in (block.attention, block.feed_forward)
             for layer in every_layer(part) if isinstance(layer, keras.layers.Dense)]  # fmt: skip
    before = [ops.convert_to_numpy(layer.kernel) for layer in dense]
    for layer, kernel in zip(dense, before, strict=True):
        layer.kernel.assign(kernel if change is None else change(kernel, *numbers))
    first = [bible_tokens.encode("\n")[:1]] * len(pieces)
    found = -log_probability(bible_gpt, first, pieces_ids).total / math.log(2) / LETTERS
    for layer, kernel in zip(dense, before, strict=True):
        layer.kernel.assign(kernel)
    return found


# %%
def rounded(kernel, steps, size):
    """Each `size` numbers of a column share a scale and a minimum; a code is from 0 to `steps`."""
    blocks = kernel.T.reshape(-1, size or kernel.size)
    minimum = blocks.min(axis=1, keepdims=True)
    scale = (blocks.max(axis=1, keepdims=True) - minimum) / steps
    return (minimum + scale * np.rint((blocks - minimum) / scale)).reshape(kernel.T.shape).T


exact, lost = bits_of_pieces(), {}
for name, size in {"blocks of 32": 32, "one block a matrix": None}.items():
    lost[name] = {width: bits_of_pieces(rounded, 2**width - 1, size) - exact for width in WIDTHS}
    print(name, *(f"{width} bits {one.mean():+.4f}" for width, one in lost[name].items()), sep="   ")
price = Claims("What rounding costs: bits a character", over="pieces of the test books")
price.claim("Four bits in memory lose nothing of a file of four bits", cost["int4"], "==", cost["float32"],
            tolerance=0.0005, unit="bits", control="32-bit numbers of the same file")  # fmt: skip
price.claim("In equal room blocks of 32 lose less than one block a matrix", list(lost["blocks of 32"][3]), "<",
            list(lost["one block a matrix"][4]), unit="bits", control="one block a matrix, 4 bits a number in all",
            headline="at 4 bits a number blocks of 32 lose {measured} a character, one block {bound}")  # fmt: skip
price.show()

# %% tags=["hide"]
# @title Figure: what rounding costs, with the scales paid for
figure, ax = plt.subplots(figsize=(7, 3.4))
narrow = [width for width in WIDTHS if width < 8]
for (name, one), meaning, scales in zip(lost.items(), ("subject", "control"), (1, 0), strict=True):
    for width in narrow:
        ax.plot([width + scales] * PIECES, one[width], "o", color=color(meaning), ms=3.5, alpha=0.35)
        beside = not scales or width == narrow[-1]
        ax.annotate(f"codes of {width} bits", (width + scales, one[width].mean()), (7, 3) if beside else (-6, -13),
                    textcoords="offset points", fontsize=8.5, color=color(meaning),
                    ha="left" if beside else "right")  # fmt: skip
    means = [one[width].mean() for width in narrow]
    ax.plot([width + scales for width in narrow], means, "-o", color=color(meaning), label=name)
ax.axhline(0, color=color("given"), lw=1)
ax.set_yscale("symlog", linthresh=0.003)
ax.set_ylim(-0.005, 9)
ax.set_yticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
ax.set(xlabel="bits a number, scale and minimum included", ylabel="bits a character more",
       title="In equal room, short blocks lose less than one block a matrix", xlim=(1.8, 5.6))  # fmt: skip
ax.set_xticks([2, 3, 4, 5])
ax.legend(frameon=False)
show(figure, "Two falling lines: what rounding costs against bits a number. Blocks of 32 lie below one block a matrix"
     " at 3 and at 4 bits in all; at 5 bits they reach zero. Pale dots are eight pieces of text.")  # fmt: skip

# %% [markdown]
# Eight bits lose nothing with either kind of block. Below, the blocks decide: with codes of two bits and one block a
# matrix the model loses 2.8 bits a character, twice what it needs in all, and in blocks of 32 it loses 0.06. The
# reason is the large number in a matrix that sets the steps of all the others. Blocks are not free, since scale and
# minimum cost one bit a number more. The figure has this bit paid for, and at 3 and 4 bits in all the short blocks
# still lose less, on average and on nearly every piece. Codes of four bits in blocks of 32 lose less than the pieces
# differ, so we cannot tell it from nothing. But this is one small model. What four bits do to a large one must be
# measured there, from weights that nobody has rounded.
#
# ## A small model that learns from a large one
#
# Rounding keeps every weight. Could a model with far fewer weights do? A small one is easily trained on a text. But
# "the film is" goes on in one way in one text, and a large model knows many ways. In **distillation** a small model,
# the student, learns to give the probabilities of a large one, its teacher (Hinton et al. 2015). One place in a text
# then says more than one token: that *dull* has 0.3, *funny* 0.2, and that *the* is hardly possible.
#
# SmolLM2 has 49,152 tokens, most of which no film snippet needs. So our student chooses among the tokens that stand
# at least ten times in the training snippets, and one class for any other token. The teacher's probabilities are
# added up in the same way. On paper: with 0.5, 0.3, 0.15 and 0.05 for four tokens, of which the first two are kept,
# the three classes get 0.5, 0.3 and 0.2. The targets of the student are a mix: half of the teacher's probabilities,
# and half for the token that really stands there.

# %% tags=["hide"]
# @title Data and set-up: windows of 64 tokens, as ids for the teacher and as classes for the student
known, often = np.unique(tokenizer.encode_flat(lines["train"])[0], return_counts=True)
kept = known[often >= 10]
CLASSES = len(kept) + 1
class_of = np.full(tokenizer.vocabulary_size, len(kept), "int32")
class_of[kept] = np.arange(len(kept))


def windows_of(part, most, width=64):
    """Ids, classes, and the class of each next token: arrays (windows, width)."""
    ids = tokenizer.encode_flat(lines[part][:most])[0]
    ids = ids[: (len(ids) - 1) // width * width + 1]
    found = (ids[:-1], class_of[ids[:-1]], class_of[ids[1:]])
    return [one.reshape(-1, width).astype("int32") for one in found]


ids, inputs, answers = windows_of("train", TAUGHT)
_, test_inputs, test_answers = windows_of("test", HELD_OUT["test"])
_, looked_at, looked_for = windows_of("validation", HELD_OUT["validation"])
looked_at = looked_at, np.eye(CLASSES, dtype="float32")[looked_for]
settings = gpt_settings(CLASSES, 64, num_heads=4, positions="rotary", **STUDENT)
student = GPT(settings)
student.compile(keras.optimizers.Adam(RATE), CategoricalCrossentropy(from_logits=True), jit_compile=False)
student.optimizer.build(student.trainable_variables)
print(f"{student.count_params():,} weights, {CLASSES:,} classes, {ids.size:,} tokens to learn from")
print(f"{np.mean(test_answers == len(kept)):.1%} of the test tokens are of the class of all others")

# %%
read = compiled(lambda net, ids: ops.take(ops.softmax(net(ids)), kept, -1), model, "classes", xla=False)


def teacher(ids):  # probabilities of the classes after each token: (windows, time, classes)
    filled = np.pad(ids, ((0, -len(ids) % 8), (0, 0)))  # one shape to compile
    found = np.concatenate([read(some) for some in filled.reshape(-1, 8, ids.shape[1])])[: len(ids)]
    return np.append(found, 1 - found.sum(axis=-1, keepdims=True), axis=-1)


def teach(targets, seed):
    """Trains the student anew on targets (windows, time, classes); it keeps the weights of its best pass."""
    keras.utils.set_random_seed(seed)
    student.set_weights(GPT(settings).get_weights())
    for number in student.optimizer.variables:  # begin anew: it remembers nothing
        number.assign(ops.zeros_like(number))
    student.optimizer.learning_rate = RATE
    stop = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    student.fit(inputs, targets, 4, PASSES, verbose=0, callbacks=[stop], validation_data=looked_at)


# %% [markdown]
# What would be an unfair comparison here? Soft targets alone may help, because a student that is asked for one token
# only becomes too sure. So there is a second control, whose soft part knows nothing of the place: how often each
# token occurs in all. It comes twice, with as large a share as the teacher's and with a tenth, because a student
# whose targets are half counts learns to give half of its probability to them. All students of a seed begin with the
# same weights and read the same windows, and each stops at its best pass on the validation snippets. All have one
# learning rate, which was searched for none of them here. Look for two distances in the figure: between the controls,
# and from them to the students of the teacher.

# %%
hard = np.eye(CLASSES, dtype="float32")[answers]
counts = np.bincount(answers.ravel(), minlength=CLASSES) / answers.size
soft = {"half: counts": (0.5, counts), "a tenth: counts": (0.1, counts), "half: the teacher": (0.5, teacher(ids))}
targets = {"the text alone": hard}
targets |= {name: ((1 - share) * hard + share * given).astype("float32") for name, (share, given) in soft.items()}
tests = {name: [] for name in targets}
for seed in SEEDS:
    for name, wanted in targets.items():
        teach(wanted, seed)
        logits = student.predict(test_inputs, 32, verbose=0)
        losses = ops.sparse_categorical_crossentropy(test_answers, logits, from_logits=True)
        tests[name].append(float(ops.mean(losses)) / math.log(2))
small_model = Claims("What a teacher is worth: bits a test token")
small_model.claim("A teacher helps a small student", tests["half: the teacher"], "<", tests["the text alone"],
                  unit="bits", control="the text alone, the same start and windows")  # fmt: skip
small_model.claim("It helps more than soft targets that know nothing", tests["half: the teacher"], "<",
                  tests["a tenth: counts"], unit="bits", control="a tenth of counts in the targets")  # fmt: skip
small_model.show()

# %% tags=["hide"]
# @title Figure: students taught in three ways; what is no longer needed goes
paints = dict(zip(tests, ("control", "given", "given", "subject"), strict=True))
gap = np.mean(tests["the text alone"]) - np.mean(tests["half: the teacher"])
title = f"With a teacher a test token costs {gap:.2f} bits less"
low = math.floor(min(map(min, tests.values())))
figure = bars(tests, colors=paints, title=title, x_label="bits a test token, one dot a seed", start=low)
show(figure, "Four rows, one dot a seed: the text alone and both mixes with counts need more bits a test token than the"
     " mix with the teacher.")  # fmt: skip
del targets, soft, hard, wanted, logits, fast, one

# %% [markdown]
# The teacher saves half a bit a token, with every seed, and soft targets that know nothing make no such difference.
# So it is what the teacher says about each place that helps. How large the help is depends on our choice: a student
# with fewer than 5,000 tokens to learn from knows little more than which tokens are frequent. With more text, or with
# a learning rate of its own, the first control may come nearer; we have not measured how fast.

# %% [markdown]
# ## Few numbers that learn
#
# To teach the large model something new, all its weights can be trained. But Adam keeps two more numbers for each
# weight, and the result is a second file as large as the first. **LoRA** leaves a matrix $W$ as it is and adds a
# product of two thin ones that learn, $W + \frac{\alpha}{r} A B$ (Hu et al. 2022). On paper: the query matrix of
# SmolLM2 is 576 by 576, that is 331,776 numbers. With the rank $r = 8$, $A$ is 576 by 8 and $B$ 8 by 576, together
# 9,216. $A$ begins with random numbers and $B$ with zeros, so that nothing changes at first. The number $\alpha$ is
# chosen and not learned; here it is $r$, and the factor is 1.
#
# We teach SmolLM2 the manner of film snippets in a few steps. Its control takes the same steps on passages of
# Python's documentation: if any training at all helped, that one would help too.

# %%
texts = {"documentation": load("python-documentation")["text"].tolist()[:400], "snippets": lines["train"]}
training.add_lora(model, rank=8, layers=["query", "key", "value", "output"])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(training.classic(STEPS, 1e-3, weight_decay=0.0), loss, jit_compile=False)
model.optimizer.build(model.trainable_variables)
fresh = [ops.convert_to_numpy(one) for one in (*model.trainable_variables, *model.optimizer.variables)]
after = {}
for name, some in texts.items():
    for variable, value in zip((*model.trainable_variables, *model.optimizer.variables), fresh, strict=True):
        variable.assign(value)
    feed = windows(tokenizer.encode_flat(some)[0], context=64, batch_size=2, seed=0, steps=STEPS)
    model.fit(feed, shuffle=False, verbose=0)
    after[name] = bits(model)
    better = np.mean(after[name] < right)
    print(f"{STEPS} steps on {name:13s} {after[name].sum() / letters:.3f} bits a character, better on {better:.0%}")
wins = np.sum(after["snippets"] < after["documentation"])
print(f"on {wins} of {len(right)} snippets the adapter of snippets beats that of documentation")

# %%
training.save_adapter(model, FOLDER / "snippets.safetensors")
size, numbers = (FOLDER / "snippets.safetensors").stat().st_size, model.count_params()
learned = sum(math.prod(one.shape) for one in model.trainable_variables)
print(f"{learned:,} of {numbers:,} numbers learn, {learned / numbers:.2%}")
print(f"the adapter's file has {size / 1e6:.1f} MB; all weights have {4 * (numbers - learned) / 1e6:,.0f}")
print(f"Adam keeps {8 * learned / 1e6:.1f} MB; for all weights it would keep {8 * (numbers - learned) / 1e6:,.0f}")
adapter = Claims("What few numbers can learn")
adapter.claim("It is the text that teaches, not the training", after["snippets"].sum() / letters, "<",
              after["documentation"].sum() / letters, unit="bits a character",
              control="the same steps on Python's documentation")  # fmt: skip
adapter.show()

# %% [markdown]
# Eight steps of 128 tokens change little, and they change the right thing. On about four of five snippets the adapter
# from snippets is better than no adapter. The one from documentation is better on about half of them, as a coin would
# be. It is one run of each, and lesson 21 does more. What it costs is sure: the adapter learns 0.7% of the numbers,
# its file is a hundred and fifty times smaller than the model's, and Adam's memory shrinks by the same factor. The
# forward and backward pass still go through all weights, so a step is hardly faster.
#
# ## What can go wrong
#
# People often believe that a file of 4 bits becomes precise again when it is loaded with 32. The file sizes and the
# speed suggest it, because the model now takes five times the memory. But a number that was rounded stays rounded,
# whatever holds it. So a comparison of "32 bits" and "8 bits" must say where the 32-bit numbers came from (Dettmers
# and Zettlemoyer 2023 begin from the trained ones).
#
# Another trap is a test text that the model has read, as SmolLM2 has read the Bible. Whether it has read these film
# snippets we do not know either: they stood on the web. For our comparisons this matters less, because both sides of
# each have read the same.
#
# ## Summary
#
# - A safetensors file is a length, a JSON header and numbers. A GGUF file holds the settings, the tokenizer and the
#   chat template, too.
# - Quantised numbers stand in blocks: codes of few bits, and a scale for 32 of them. A file that was rounded stays
#   so.
# - Names and shapes can be checked; the order of rotary rows cannot. Measure every reader on a known text.
# - A chat template makes ids of turns, and the model expects exactly those.
# - A model can be made smaller by rounding or by distillation, and taught by an adapter. What each costs is measured
#   against a control of equal room, equal text or equal steps.
#
# ## Exercises
#
# Open [exercises/20_pretrained_weights.ipynb](exercises/20_pretrained_weights.ipynb). You write a safetensors file,
# round a block to four bits, take a matrix of queries, keys and values apart and merge adapters. In the experiment
# you find out what the size of a block is worth. Each answer is checked.
#
# ## References
#
# - L. Ben Allal and others (2025). SmolLM2: when Smol goes big. Data-centric training of a small language model.
#   arXiv:2502.02737. Section 4.
# - Safetensors: the section "Format" of its documentation, https://huggingface.co/docs/safetensors.
# - GGUF: docs/gguf.md of https://github.com/ggml-org/ggml; blocks: ggml-quants.c, `dequantize_row_q4_1`.
# - J. Su and others (2021). RoFormer: enhanced transformer with rotary position embedding. arXiv:2104.09864. Section
#   3.2.
# - T. Dettmers, L. Zettlemoyer (2023). The case for 4-bit precision: k-bit inference scaling laws. *ICML*. Section 5.
# - G. Hinton, O. Vinyals, J. Dean (2015). Distilling the knowledge in a neural network. arXiv:1503.02531. Section 2.
# - E. Hu and others (2022). LoRA: low-rank adaptation of large language models. *ICLR*. Section 4.1.
