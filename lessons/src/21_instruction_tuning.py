# %% [markdown] tags=["edition-2"]
# # 21 · Instruction tuning
#
# **How does a model that continues text learn to answer?**
#
# **You need** lesson 12 (bits per character), lesson 17 (the GPT), lesson 18 (what a model writes) and lesson 20 (the
# chat template, LoRA).
#
# **You will build** a loss that counts the reply alone, and a measure of whether a reply belongs to its prompt. Then
# you tune two models, a large one that was tuned before and a small one that never saw a question. The control takes
# one thing away: which reply belongs to which prompt.
#
# **Time** about 4 minutes to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import math
from functools import cache

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

from kerasllm import weights
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import show, use_style
from kerasllm.course.palette import color
from kerasllm.data import load
from kerasllm.generation import Sampling, generate
from kerasllm.text import ChatTemplate
from kerasllm.training import Instructions, add_lora, classic, supervise
from kerasllm.training.instruct import prompt_and_reply

use_style()

# %%
STEPS = dial(3, smoke=1)  # training steps of SmolLM2
FEW = dial(6, smoke=2)  # held-out conversations of each language that judge SmolLM2
JUDGED = dial(20, smoke=2)  # those that judge our GPT
BLOCKS = dial(30, smoke=1)  # blocks of SmolLM2 that are kept; it has 30
SMALL_STEPS = dial(60, smoke=1)  # training steps of our GPT in each of two arms
WRITTEN = dial(60, smoke=4)  # most tokens of a text that is written
CONTEXT = 128  # most ids of a conversation, and ids in a window
BATCH = 4  # windows in a step
LANGUAGES = ["english", "chinese"]

# %% [markdown]
# ## A model that does not answer
#
# A GPT can do one thing: it says which token comes next in a text. When you ask a person something, they answer. What
# does a GPT do with a request? Ours has read the King James Bible and nothing else (lesson 18). Before you run the
# cell, predict what it writes behind the request. Will it answer badly, or will it not answer at all?

# %%
bible, letters = weights.pretrained("king-james-gpt")
request = "Give three tips for staying healthy.\n"
print(generate(bible, request, WRITTEN, Sampling(0.7), tokenizer=letters, seed=0))

# %% [markdown]
# It goes on, as it would behind any line of its books. Nothing in its training said that some lines want a reply, or
# that a speaker comes to an end. Yet the models that chat are networks of this kind, trained with this loss. What they
# have in addition is **instruction tuning**: a second, short training on conversations. Each is a prompt, that is
# what somebody asks, and a reply as people would like it (Wei et al. 2022; Ouyang et al. 2022). Ours are 1,977
# conversations in English and Chinese, whose replies a larger model wrote.
#
# What exactly can such a pair teach? There is the *manner* of replies: their language and tone, their length, and that
# they end. All of it stands in the replies alone. And there is the *connection*: this reply belongs to this prompt. It
# stands in the pairs. So there is a simple experiment. In one arm the model learns from the pairs. In the other every
# prompt gets the reply of another prompt, and everything else stays as it was. Write down three guesses. After the
# second arm, will the model end its replies? Will it find right replies more probable than before? And will it still
# listen to the prompt?
#
# ## The loss of the reply alone
#
# In lesson 20 a template turned a conversation into one row of ids. A model that learns from this row as from any text
# would learn to write requests too. But requests are what others write. So each target gets a weight: 1 where it
# belongs to the reply, and 0 elsewhere. These weights are the **loss mask**. In the drawing, look at the two ends
# of the reply. Where does its first target stand, and what is its last one?

# %% tags=["hide"]
# @title Drawing: a conversation as ids, with its loss mask
sheet = Diagram(8.2, 2.75)
words = ["‹user›", "2", "+", "2", "?", "‹reply›", "4", ".", "‹end›"]
for row, (name, shown) in enumerate((("input", words[:-1]), ("target", words[1:]))):
    y = 2.25 - 0.95 * row
    sheet.text((0.62, y), name, align="right", size=10)
    for i, word in enumerate(shown):
        said = i + row >= 6
        meaning = "output" if said and row else "state" if said else "given"
        box = sheet.box(word, (1.15 + 0.86 * i, y), meaning=meaning, width=0.74, height=0.42, size=9)
        if not row:
            sheet.arrow(box.bottom, (box.x, 1.51))
sheet.text((0.62, 0.55), "weight", align="right", size=10)
for i in range(8):
    sheet.text((1.15 + 0.86 * i, 0.55), "1" if i >= 5 else "0", meaning="output" if i >= 5 else "given", size=13)
sheet.text((1.15 + 0.86 * 2, 0.15), "the prompt: read, not learned", meaning="given", size=9)
sheet.text((1.15 + 0.86 * 6, 0.15), "the reply and its end: learned", meaning="output", size=9)
show(sheet.figure, "Three rows over eight places. The inputs are user, 2, +, 2, ?, reply, 4 and a full stop;"
     " the targets are one further on and finish with end. The weights are 0 for the first five places"
     " and 1 for the last three, whose targets are 4, full stop and end.")  # fmt: skip

# %% [markdown]
# The first 1 stands under the last token of the *prompt*, because that is where the first token of the reply is
# predicted. The last 1 has the end as its target. It is easily forgotten, and without it a model never learns to
# stop.
#
# On paper, take the last four places and let the model give their targets the probabilities 0.1 for a word of the
# prompt, then 0.5, 0.8 and 0.4. The loss of the reply alone is $-(\ln 0.5 + \ln 0.8 + \ln 0.4) / 3 = 0.61$. The loss of
# all four is $-(\ln 0.1 + \ln 0.5 + \ln 0.8 + \ln 0.4) / 4 = 1.03$. The divisor is the number of targets that count,
# and not the number of places. Otherwise a batch with long prompts would teach less than one with short ones.


# %%
def as_rows(prompts, replies):
    """Inputs, targets and weights, (conversations, time) each; what is shorter is filled up at its end."""
    length = max(len(p) + len(r) for p, r in zip(prompts, replies, strict=True)) - 1
    inputs, targets, mask = np.zeros((3, len(prompts), length), "int32")
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        ids = [*prompt, *reply]
        inputs[row, : len(ids) - 1], targets[row, : len(ids) - 1] = ids[:-1], ids[1:]
        mask[row, len(prompt) - 1 : len(ids) - 1] = 1  # from the last id of the prompt on
    return inputs, targets, mask


def mean_loss(losses, mask):  # (conversations, time) both
    return (losses * mask).sum() / mask.sum()


paper = -np.log([[0.1, 0.5, 0.8, 0.4]])
print(f"reply alone {mean_loss(paper, np.array([[0, 1, 1, 1]])):.2f}, all {mean_loss(paper, np.ones((1, 4))):.2f}")

# %% [markdown]
# The library keeps conversations in `Instructions`, packs several of them into a window so that none sees another, and
# `supervise` compiles a model with this loss. On two conversations of different length both must agree.

# %%
prompts, replies = [[5, 6, 7], [8]], [[9, 2], [10, 11, 2]]
inputs, targets, mask = as_rows(prompts, replies)
print("the masks:", mask.tolist())
losses = ops.sparse_categorical_crossentropy(targets, bible(inputs), from_logits=True)
ours = mean_loss(ops.convert_to_numpy(losses), mask)
told = Instructions.of_pairs(prompts, replies, context=CONTEXT)
assert abs(ours - told.loss(bible)) < 1e-4

# %% [markdown]
# ## Conversations in two languages
#
# SmolLM2 gets its own chat template. Our GPT has no tokens for the roles of a conversation, and none for an end. But
# ASCII has two characters for exactly this, "start of text" and "end of text", and no verse holds them. We put the
# first between prompt and reply, and the second behind the reply.

# %%
smol, tokens = weights.pretrained("smollm2-135m-instruct")
while len(smol.blocks) > BLOCKS:  # none, unless the dial was turned
    smol.blocks.pop()
template = ChatTemplate(tokens)
ASKS, ENDS = letters.encode("\x02"), letters.encode("\x03")


def for_smol(prompt, reply):  # ids of the prompt, ids of the reply with its end
    return prompt_and_reply(template, prompt, reply)


def for_bible(prompt, reply):
    return letters.encode(prompt) + ASKS, letters.encode(reply) + ENDS


# %% tags=["hide"]
# @title Data: conversations as ids, those that fit into a window, in a fixed order
frame = load("instructions")  # prompt, reply, label (the language), split


@cache
def conversations(encode, part, language, most=None):
    """Prompts, replies and the characters of each reply; conversations of at most 128 ids."""
    some = frame[(frame["label"] == language) & (frame["split"] == part)]
    found = []
    for place in np.random.default_rng(0).permutation(len(some)):
        prompt, reply = some["prompt"].iloc[place], some["reply"].iloc[place]
        asked, said = encode(prompt, reply)
        if len(asked) + len(said) <= CONTEXT and len(found) != most:
            found.append((asked, said, len(reply)))
    return [list(column) for column in zip(*found, strict=True)]


# %%
for language in LANGUAGES:
    example = frame[(frame["label"] == language) & (frame["reply"].str.len() < 60)].iloc[1]
    print(f"{example['prompt'][:60]!r} → {example['reply'][:40]!r}")
    for name, encode in (("SmolLM2", for_smol), ("our GPT", for_bible)):
        asked, said, characters = conversations(encode, "train", language)
        a_token = sum(characters) / sum(map(len, said))
        print(f"   {name}: {len(said)} of {(frame['label'] == language).sum()} fit, {a_token:.1f} characters a token")

# %% [markdown]
# The first reply shows that they are not free of mistakes. Only conversations of at most 128 ids are used. A longer
# one would have to be cut, and a reply that is cut teaches that replies do not end. The last column is the price of a
# language (lesson 08). Neither vocabulary was made for Chinese. For our GPT a Chinese character is three tokens, its
# bytes. It has read none of them.
#
# ## How to see that a model answers
#
# Replies can be read, and we shall read some. But a few replies prove little, and there is no right answer to "Give
# three tips". So we measure how probable the right replies are on conversations that nobody learned from.
#
# - *Bits*: what a character of the right reply costs behind its prompt (lesson 12).
# - *The worth of the prompt*: the same reply behind the prompt of another conversation, minus its bits behind its own.
#   On paper: "Paris." costs 3 bits behind "What is the capital of France?" and 9 behind "Name a good book". It has six
#   characters, so the prompt is worth 1 bit a character. A model that does not listen has 0.
# - *The end*: the probability of the end token where the right reply ends.
#
# Two conversations with prompts of similar length lend each other their prompts. So the worth of the prompt is also
# the lead of two right replies over the two replies exchanged, and long replies have no advantage.


# %%
def bits_of(model, before, reply):
    """The bits of each id of a reply behind what stands before it."""
    logits = model(np.array([[*before, *reply[:-1]]]))[0, len(before) - 1 :]  # (reply, vocabulary)
    losses = ops.sparse_categorical_crossentropy(np.array(reply), logits, from_logits=True)
    return ops.convert_to_numpy(losses) / math.log(2)


def neighbours(prompts):  # for each one that of another conversation, of similar length
    order, other = np.argsort([len(ids) for ids in prompts], kind="stable"), list(prompts)
    for one, two in zip(order[::2], order[1::2], strict=True):
        other[one], other[two] = prompts[two], prompts[one]
    return other


def judge(model, asked, said, characters):
    own = [bits_of(model, *pair) for pair in zip(asked, said, strict=True)]
    other = [bits_of(model, *pair) for pair in zip(neighbours(asked), said, strict=True)]
    bits, lent = (sum(map(np.sum, found)) / sum(characters) for found in (own, other))
    return {"bits": bits, "worth": lent - bits, "end": np.mean([2.0 ** -one[-1] for one in own])}


# %% [markdown]
# ## The experiment: pairs, or replies without their prompts
#
# Our GPT is a model that only continues, so the experiment begins with it. It has 6 million weights and 2,048 tokens of
# the English of 1611. It can hardly learn from a few hundred conversations what keeps people healthy. Can it learn to
# answer? All its weights learn, because almost everything about the new text is foreign to it.
#
# Two arms have the same prompts and the same replies of both languages, in one case exchanged within each language. The
# weights, the learning rate and the number of steps are the same. Look at three columns: who needs fewer bits, for whom
# is the prompt worth something, and who knows where a reply ends?


# %%
def exchange(replies, seed):
    """Each reply takes the place of another one."""
    order = np.random.default_rng(seed).permutation(len(replies))
    other = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))  # one ring: none stays
    return [replies[other[place]] for place in range(len(replies))]


def lessons_for(encode, exchanged=False):
    prompts, replies = [], []
    for language in LANGUAGES:
        asked, said, _ = conversations(encode, "train", language)
        prompts += asked
        replies += exchange(said, seed=0) if exchanged else said
    return Instructions.of_pairs(prompts, replies, context=CONTEXT)


def tune(model, told, steps):
    feed = told.feed(batch_size=BATCH, shuffle=True, seed=0, epochs=9, drop_remainder=True)
    model.fit(feed, steps_per_epoch=steps, shuffle=False, verbose=0)


# %% tags=["hide"]
# @title Set-up: a model that can be put back to its start, and a line for each judgement
def prepared(model):
    """Compiled; the rate rises for four steps and stays then, so that a short run is the beginning of a long one."""
    supervise(model, classic(1_000, 2e-3, warmup_steps=4, final=1.0, weight_decay=0.0), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    variables = [*model.trainable_variables, *model.optimizer.variables]
    return [(one, ops.convert_to_numpy(one)) for one in variables]


def put_back(start):
    keras.utils.set_random_seed(0)
    for variable, value in start:
        variable.assign(value)


def line(name, found):
    print(f"{name:26s} {found['bits']:6.3f} bits a character, the prompt is worth {found['worth']:6.3f}, "
          f"end {found['end']:.2f}")  # fmt: skip


# %%
held = {one: conversations(for_bible, "test", one, JUDGED) for one in LANGUAGES}
start = prepared(bible)
live = {"nothing": {one: judge(bible, *held[one]) for one in LANGUAGES}}
for arm in ("exchanged", "replies"):
    put_back(start)
    tune(bible, lessons_for(for_bible, exchanged=arm == "exchanged"), SMALL_STEPS)
    live[arm] = {one: judge(bible, *held[one]) for one in LANGUAGES}
for one in LANGUAGES:
    for arm, found in live.items():
        line(f"{one}, {arm}", found[one])

# %% [markdown]
# Both arms save nearly the same: two bits a character in English, and far more in Chinese, whose bytes this model had
# never seen. Both have an idea of where a reply ends. And in both the prompt is worth almost nothing. So the replies
# taught their manner, and what the pairs taught beside it is too small to be seen here. The model that has learned
# from the right pairs is still in memory. We put the request from the top to it, in the form that it has learned, and
# a Chinese one. The tokens are drawn from the best 90% (lesson 18), because the best token alone would lead it into
# circles.

# %%
for asked in (request.strip(), "给出三个保持健康的建议。"):
    ids = letters.encode(asked) + ASKS
    [written] = generate(bible, [ids], WRITTEN, Sampling(top_p=0.9), stop_tokens=ENDS, seed=0)
    print(f"{asked} → {letters.decode(written[len(ids) :])!r}")

# %% [markdown]
# This is no Bible any more, and no answer either. Several replies say more than one, and counting says more than
# reading. `benchmarks/instruction_tuning.py` made these runs too, judged them in the same way and let them reply to 16
# prompts of each language. Its numbers lie in the set `instruction-tuning`. There is one seed for each arm: more did
# not fit on the processor at hand. Dropout draws anew in each run, so yours differs a little from that of the table. A
# third arm, the loss on the whole text, has not run.

# %%
table = load("instruction-tuning")  # model, arm, seed, step, language, measure, item, value, text: a row a number
table = table[table["step"] >= 0]  # without the times of the runs
table["model"] = table["model"].str.split("-").str[0]  # smollm2 and king


def values(measure, model, arm, step, language):
    """A measure of each conversation, (seeds, conversations)."""
    wanted = {"measure": measure, "model": model, "arm": arm, "step": step, "language": language}
    rows = table[(table[list(wanted)] == list(wanted.values())).all(axis=1)]
    return rows.pivot(index="seed", columns="item", values="value").to_numpy()


def bits_and_worth(*run):
    """Bits a character of right replies and the worth of the prompt, a number a seed."""
    own, other, characters = (values(measure, *run).sum(axis=1) for measure in ("own", "other", "characters"))
    return own / characters, (other - own) / characters


# %% tags=["hide"]
# @title Figure: our GPT after each arm
SMALL_LAST = int(table.loc[table["model"] == "king", "step"].max())
LAST = int(table.loc[table["model"] == "smollm2", "step"].max())


def arms_of(model):
    """The arms that ran, with the step after which they were judged."""
    ran = set(table.loc[table["model"] == model, "arm"])
    last = SMALL_LAST if model == "king" else LAST
    return {
        arm: last if arm != "nothing" else 0 for arm in ("nothing", "replies", "exchanged", "everything") if arm in ran
    }


def ended(model, arm, language):
    rows = table[(table[["measure", "model", "arm", "language"]] == ["ended", model, arm, language]).all(axis=1)]
    return rows.groupby("seed")["value"].mean().to_numpy()


def compared(model, title, measures):
    """Bars for each arm and language; a measure is its name and its numbers, one a seed."""
    figure, panels = plt.subplots(1, len(measures), figsize=(8, 3), sharey=True)
    figure.suptitle(title)
    for ax, (name, numbers) in zip(panels, measures.items(), strict=True):
        for place, (arm, step) in enumerate(arms_of(model).items()):
            for shift, language in ((-0.18, "english"), (0.18, "chinese")):
                found, paint = numbers(arm, step, language), color("subject" if language == "english" else "control")
                label = language.capitalize() if not place else None
                ax.barh(place + shift, found.mean(), height=0.32, color=paint, alpha=0.45, lw=0, label=label)
                ax.text(max(found.mean(), 0), place + shift, f" {found.mean():.2f}", va="center", fontsize=8)
        ax.set_xlabel(name)
        ax.grid(False, axis="y")
        if name.startswith("worth"):
            ax.set_xlim(-0.2, 1.15)  # the same in both figures
        else:
            ax.set_xlim(0, 1.2 * ax.get_xlim()[1])
    panels[0].set_yticks(range(len(arms_of(model))), list(arms_of(model)))
    panels[0].set_ylabel("learned from")
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


figure = compared("king", "Exchanged replies teach our GPT to end as well; its prompt stays worth nothing", {
    "right replies, bits a character": lambda arm, step, one: bits_and_worth("king", arm, step, one)[0],
    "worth of the prompt, bits": lambda arm, step, one: bits_and_worth("king", arm, step, one)[1],
    "share of replies that end": lambda arm, step, one: ended("king", arm, one),
})  # fmt: skip
show(figure, "Bars for our GPT before and after two arms, in two languages. Right replies cost far fewer bits after"
     " both, the prompt is worth almost nothing in all rows, and replies end after both and never before.")  # fmt: skip


# %%
def judged(model, arm, language="english"):
    """Bits and worth of an arm in the table, the mean of its seeds."""
    return [float(one.mean()) for one in bits_and_worth(model, arm, arms_of(model)[arm], language)]


before, pairs, exchanged = (judged("king", arm) for arm in ("nothing", "replies", "exchanged"))
story = Claims("What pairs teach a model that only continues")
story.claim("Your run is that of the table", live["replies"]["english"]["bits"], "==", pairs[0], tolerance=0.05,
            unit="bits a character", control="the table's run of the same seed")  # fmt: skip
story.claim("Replies without their prompts make right replies cheaper too", exchanged[0], "<", before[0],
            unit="bits a character", control="the model before")  # fmt: skip
story.claim("After them replies end", 16 * float(ended("king", "exchanged", "english").mean()), ">",
            16 * float(ended("king", "nothing", "english").mean()), unit="of 16 replies", control="the model before",
            headline="a small GPT that learned from exchanged replies ends {measured}, before {bound}")  # fmt: skip
story.claim("Right pairs do not teach it to listen", pairs[1], "<", before[1] + 0.05, unit="bits a character",
            control="the worth of the prompt before, and 0.05")  # fmt: skip
story.show()

# %% [markdown]
# So a first answer is this: what looks like answering comes from the replies alone. After 60 steps our GPT ends every
# reply in English and most in Chinese, which it never did before. It needs no right prompts for that. The two arms
# differ by some hundredths of a bit in English, and so do two runs of one arm. But a reply that fits nothing is no
# answer. To use a prompt a model must already know what its words have to do with the words of a reply. A model of
# this size did not learn it from a few hundred pairs. Our 20 conversations would not show a worth of the prompt below
# some hundredths of a bit.
#
# ## A model that was tuned before
#
# Our GPT may fail because it is small. SmolLM2-135M-Instruct is 23 times as large, and its name says something else:
# its makers have tuned it to answer, on far more conversations than ours (Ben Allal et al. 2025, section 5). The
# weights from before that tuning do not come with this course. So what can it tell us? In English our question was
# settled before we begin. We can see what is left to learn from other people's replies, and what wrong pairs destroy.
# Chinese is another matter, because the model was made for English.
#
# LoRA of rank 8 learns, as in lesson 20. On a laptop a step takes seconds, so your machine makes a few and judges a
# few conversations.

# %%
add_lora(smol, rank=8, layers=["query", "key", "value", "output"])
rng = np.random.default_rng(0)
for one in smol.trainable_variables:  # A: He's uniform numbers, as Keras draws them; B: zeros
    bound = math.sqrt(6 / one.shape[0]) if one.shape[1] == 8 else 0.0
    one.assign(rng.uniform(-bound, bound, one.shape).astype("float32"))
prepared(smol)
held = {one: conversations(for_smol, "test", one, FEW) for one in LANGUAGES}
before = {one: judge(smol, *held[one]) for one in LANGUAGES}
tune(smol, lessons_for(for_smol), STEPS)
after = {one: judge(smol, *held[one]) for one in LANGUAGES}
for one in LANGUAGES:
    line(f"{one}, nothing", before[one])
    line(f"{one}, {STEPS} steps on replies", after[one])

# %% [markdown]
# The table goes on to 10 steps on replies at their places, one seed, and judges 20 conversations of each language. Its
# control, the same steps on exchanged replies, has not run for this model. So what follows is a before and after.
# It cannot say what the pairs gave, only what the training gave as a whole.

# %% tags=["hide"]
# @title Figure: SmolLM2 before and after
figure = compared("smollm2", "SmolLM2 learns to end; it used its prompt before", {
    "right replies, bits a character": lambda arm, step, one: bits_and_worth("smollm2", arm, step, one)[0],
    "worth of the prompt, bits": lambda arm, step, one: bits_and_worth("smollm2", arm, step, one)[1],
    "the end, where it belongs": lambda arm, step, one: values("end", "smollm2", arm, step, one).mean(axis=1),
})  # fmt: skip
show(figure, "Bars for SmolLM2 before and after ten steps, in two languages. Chinese replies cost fewer bits after,"
     " English ones do not; the prompt is worth much in all rows; the end becomes probable.")  # fmt: skip

# %%
was, now = ({one: values("own", "smollm2", arm, step, one)[0] for one in LANGUAGES}
            for arm, step in arms_of("smollm2").items() if arm in ("nothing", "replies"))  # fmt: skip
for one in LANGUAGES:
    print(f"{one}: the right reply is cheaper than before on {np.mean(now[one] < was[one]):.0%} of the conversations")
claims = Claims("What ten steps teach a tuned model")
ends = {one: [float(values("end", "smollm2", arm, step, one).mean()) for arm, step in arms_of("smollm2").items()][:2]
        for one in LANGUAGES}  # fmt: skip
claims.claim("To a large model the prompt is worth more", judged("smollm2", "replies")[1], ">", pairs[1],
             unit="bits a character", control="our GPT after pairs",
             headline="right pairs: a prompt is worth {measured} to SmolLM2, {bound} to a small GPT")  # fmt: skip
claims.claim("Chinese replies get cheaper", judged("smollm2", "replies", "chinese")[0], "<",
             judged("smollm2", "nothing", "chinese")[0], unit="bits", control="before the steps")  # fmt: skip
claims.claim("Their end becomes more probable", ends["chinese"][1], ">", ends["chinese"][0],
             control="before the steps")  # fmt: skip
claims.show()

# %% [markdown]
# To SmolLM2 the prompt is worth much before we begin, in both languages. That is what its makers' training and its size
# have given it, and ten steps leave it as it was. In English right replies do not get cheaper: there is little to learn
# from other people's replies, and more than half of the 20 conversations cost a little more. In Chinese nearly all get
# cheaper. What changes most is the end. The makers' replies are longer than ours, so before the steps the model would
# often go on where ours end, in Chinese nearly always.
#
# ## Read some replies
#
# Numbers hide what a reply is like. Here are the first prompts of the test part and what was written to them. SmolLM2
# writes the most probable token at each place, our GPT draws. Nothing was chosen.

# %%
texts = table[(table["measure"] == "ended") & (table["text"] != "")]
for model, language in (("king", "english"), ("smollm2", "english"), ("smollm2", "chinese")):
    for arm in arms_of(model):
        rows = texts[(texts[["model", "arm", "language"]] == [model, arm, language]).all(axis=1)]
        prompt, reply = rows["text"].iloc[0].split("\n→ ")
        if arm == "nothing":
            print(f"{model}, {language}: {prompt[:80]!r}")
        print(f"   {arm:9s} {reply[:80]!r}{'' if rows['value'].iloc[0] else ' (no end)'}")

# %% [markdown]
# The replies of our GPT have the look of replies, and that is all. SmolLM2 has become short: it gives a list where it
# explained before, and stops. Short is not right. The list is not sorted, and the Chinese is hardly more than the
# prompt once more. The replies that we taught it are short, so it learned this first.
#
# ## What it costs
#
# A model that learns something new may lose something old. The table has bits on plain text, which is no conversation:
# for SmolLM2 everyday sentences in both languages, for our GPT test books of the Bible, its home.

# %%
plain = table[table["measure"] == "plain"].groupby(["model", "language", "arm"])["value"].agg(["mean", "count"])
print(plain.round(3).to_string())
price = Claims("What it costs")
lost = {arm: float(plain["mean"]["king", "english", arm]) for arm in ("nothing", "replies")}
price.claim("What is new is paid for with what was known", lost["replies"], ">", lost["nothing"],
            unit="bits a character of the Bible", control="the GPT before")  # fmt: skip
price.show()

# %% [markdown]
# Our GPT pays with the Bible, half a bit a character after 60 steps of all its weights. SmolLM2 with an adapter and ten
# steps pays nothing that these sentences show. Two things differ between them, the size and what learns, so this does
# not say which of them protects.
#
# ## What can go wrong
#
# People often believe that instruction tuning teaches a model facts: show it answers about a firm, and it knows the
# firm. Models that were tuned on the replies of a far larger one took over its manner, and people who compared them
# were pleased. On tests of knowledge they hardly gained (Gudibande et al. 2024). Zhou et al. (2023) put it as a guess:
# knowledge comes from the first training, and tuning teaches the form in which it is given out.
#
# Three mistakes are made often and silently. The first is another template in use than in training: the model then sees
# tokens that it was not tuned on (lesson 20). The second is a mask without the end, and the third a length limit that
# cuts it off. A model that was trained like this writes on until somebody stops it.
#
# ## Summary
#
# - Instruction tuning is the loss of lesson 17 on conversations, with a mask that counts the reply and its end.
# - The manner of replies, their end above all, is learned in tens of steps, and it is learned from replies that belong
#   to other prompts as well.
# - Whether a reply belongs to its prompt is another thing. Measure it: exchange the prompts, and see what is lost.
# - Our small GPT did not learn to listen. SmolLM2 did before we began, and here it mostly learned to be short.
# - All of it is one seed and 20 conversations of a language; the control of SmolLM2 has not run.
#
# ## Exercises
#
# Open [exercises/21_instruction_tuning.ipynb](exercises/21_instruction_tuning.ipynb). You make the mask of a long
# conversation, take the mean that counts, keep packed conversations apart, exchange replies and measure what a prompt
# is worth. In the experiment you find out how many wrong pairs a model bears. Each answer is checked.
#
# ## References
#
# - J. Wei and others (2022). Finetuned language models are zero-shot learners. *ICLR*. Section 2.
# - L. Ouyang and others (2022). Training language models to follow instructions with human feedback. *NeurIPS*.
#   Section 3.5: supervised tuning.
# - H. Touvron and others (2023). Llama 2: open foundation and fine-tuned chat models. arXiv:2307.09288. Section 3.1:
#   the loss on replies alone.
# - L. Ben Allal and others (2025). SmolLM2: when Smol goes big. Data-centric training of a small language model.
#   arXiv:2502.02737. Section 5: instruction tuning.
# - E. Hu and others (2022). LoRA: low-rank adaptation of large language models. *ICLR*. Section 4.1.
# - C. Zhou and others (2023). LIMA: less is more for alignment. *NeurIPS*. Section 2.
# - A. Gudibande and others (2024). The false promise of imitating proprietary language models. *ICLR*. Section 4.
