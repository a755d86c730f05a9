# %% [markdown] tags=["edition-2"]
# # 22 · Preferences and rewards
#
# **Can a model learn from its own answers, if it is only told which of them were good?**
#
# **You need** lesson 12 (bits per character), lesson 14 (dates, for a task with one right answer), lesson 18 (drawing
# tokens, greedy), lesson 20 (LoRA, chat template) and lesson 21 (tuning on replies).
#
# **You will build** the losses of DPO and GRPO and check them on paper. Then a small GPT learns from a calculator that
# only says "right" or "wrong", and you hold it against five other ways to spend the same number of updates.
#
# **Time** about 3 minutes to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import math

import keras
import matplotlib.pyplot as plt
import numpy as np

from kerasllm import training, weights
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import bars, curves, show, use_style
from kerasllm.data import load
from kerasllm.evaluation import log_probability
from kerasllm.generation import Sampling, Session
from kerasllm.tasks.tools import ToolError, calculator

use_style()

# %%
WORKED = dial(200, smoke=32)  # problems with a worked example
FIRST = dial(160, smoke=2)  # updates of the first tuning
UPDATES = dial(40, smoke=2)  # updates of the tuning by rewards
PROBLEMS = dial(4, smoke=2)  # problems of such an update
GROUP = dial(8, smoke=4)  # replies to each of them
ASKED = dial(256, smoke=8)  # test problems
LETTERS = dial(20_000, smoke=2_000)  # characters of the Bible on which we look at what was forgotten
SEED = 0  # the run of the table that is repeated here

# %% [markdown]
# ## A teacher who only says right or wrong
#
# A shop has ten thousand small problems with known answers: *David had 38 sheep and lost 9. How many are left?* 29.
# Somebody sat down and wrote for two hundred of them what a calculator should work out, `38-9`. For the others nobody
# has the time. A model can learn from the two hundred by supervised tuning (lesson 21): it imitates the worked
# examples. But what can it learn from the others? There is nothing to imitate. There is only a check: give the
# model's reply to the calculator, and see if 29 comes out.
#
# This is a different kind of lesson than all before. The loss of a language model is a function that we can follow
# downhill, since we know which token should come next. The check is a program with an answer of 0 or 1, and has no
# slope. So the model must try, and what it tries itself becomes its training text. Predict before you go on: a model
# of 5.8 million weights is right in about every third problem after the worked examples. Then it writes 1,280 replies
# to new problems and is told of each whether it was right. Will it be better afterwards, and better than one that
# simply reads the 200 worked examples some more times?

# %%
problems = load("word-problems")
train = problems[problems["split"] == "train"].sample(frac=1, random_state=SEED)
worked, unworked = train[:WORKED], train[WORKED : WORKED + UPDATES * PROBLEMS]
test = problems[problems["split"] == "test"][:ASKED]
answers = dict(zip(problems["problem"] + "\n", problems["answer"], strict=True))


def readable(reply):
    try:
        calculator(reply)
    except ToolError:
        return False
    return True


def right(problem, reply):
    return readable(reply) and calculator(reply) == answers[problem]


for row in worked[:4].itertuples():
    print(f"{row.problem:66s} {row.expression:8s} {row.answer}")

# %% [markdown]
# A reply is *right* if the calculator's result is the answer, whatever the reply looks like: `9+38` is as good as
# `38+9`. It is *readable* if the calculator gives any result at all. The number that a check gives is called a
# **reward**.
#
# ## Up and down
#
# Let the model write several replies to one problem, drawn token by token as in lesson 18, and let the check judge
# them. Now change the weights a little, so that the good ones become more probable and the bad ones less. That is all.
# Every method of this lesson is this one step, and they differ in *how strongly* each reply is pulled, up or down.

# %% tags=["hide"]
# @title Drawing: one update from a model's own replies
sheet = Diagram(8, 3.9)
asked = sheet.box("David had 38 sheep\nand lost 9. How\nmany are left?", (0.95, 2.2), width=1.7, height=0.8, size=8.5)
writer = sheet.box("the\nmodel", (2.5, 2.2), meaning="weights", width=0.8, height=1.0)
sheet.arrow(asked.right, writer.left)
for y, reply, reward in zip((3.1, 2.5, 1.9, 1.3), ("38-9", "38+9", "38-9", "38-99"), (1, 0, 1, 0), strict=True):
    said = sheet.box(reply, (3.75, y), meaning="state", width=0.75, size=9)
    sheet.arrow((writer.right[0], 2.2 + (y - 2.2) * 0.4), said.left)
    meaning = "output" if reward else "error"
    judged = sheet.box(str(reward), (5.2, y), meaning=meaning, width=0.36, height=0.34)
    sheet.arrow(said.right, judged.left)
    sheet.text((6.15, y), "+1" if reward else "−1", meaning=meaning, size=11)
for x, words in ((3.75, "its own replies"), (5.2, "reward"), (6.15, "GRPO"), (7.3, "DPO")):
    sheet.text((x, 3.6), words, size=9)
sheet.text((4.5, 0.95), "the calculator judges", size=8.5)
better = sheet.box("38-9", (7.3, 2.5), meaning="output", width=0.75, size=9)
worse = sheet.box("38+9", (7.3, 1.9), meaning="error", width=0.75, size=9)
sheet.text((7.3, 2.95), "chosen", meaning="output", size=8.5)
sheet.text((7.3, 1.45), "rejected", meaning="error", size=8.5)
sheet.arrow((7.3, 1.25), writer.bottom, through=[(7.3, 0.5), (2.5, 0.5)], meaning="error")
sheet.arrow((6.15, 1.05), (6.15, 0.5), meaning="error", head=False)
sheet.text((4.9, 0.25), "one update: what is green becomes more probable, what is red less", meaning="error", size=9)
show(sheet.figure, "A problem goes into the model, which writes four replies. The calculator gives each a 1 or a 0. GRPO"
     " pulls them by plus 1 and minus 1; DPO takes a right and a wrong one as a pair. An arrow leads back to the"
     " model.")  # fmt: skip

# %% [markdown]
# Why may one do this? We want the mean reward of what the model writes to grow: $\sum_y p(y)\, r(y)$ over all replies
# $y$. The rewards are fixed numbers, so they need no slope; only the probabilities depend on the weights. And because
# the slope of $p$ is $p$ times the slope of $\log p$, the slope of the whole is the *mean* of $r(y)$ times the slope of
# $\log p(y)$ over replies that the model draws. So draw some, pull each one's log-probability in proportion to its
# reward, and on average you walk uphill. This is the **policy gradient** (Williams 1992).
#
# It is a slow walk if all rewards are positive, for then every reply is pulled up, the wrong ones too, only less. A
# pull of 1 and 0 says the same as one of 1/2 and −1/2, because pulling all replies alike changes nothing on average.
# Therefore one compares. **GRPO** (Shao et al. 2024) draws a group of replies to the same problem. The **advantage**
# of a reply is its reward minus the mean of its group, divided by the group's standard deviation. On paper: rewards
# 1, 0, 0, 0 have the mean 0.25 and the standard deviation $\sqrt{0.1875} = 0.433$. So the right reply gets $0.75 /
# 0.433 = 1.73$ and each wrong one −0.58. With 1, 1, 1, 0 it is the other way round: the failure gets −1.73.


# %%
def advantages(rewards):  # (problems, group)
    mean, spread = rewards.mean(axis=1, keepdims=True), rewards.std(axis=1, keepdims=True)
    return np.where(spread > 0, (rewards - mean) / np.where(spread > 0, spread, 1), 0)


rewards = np.array([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1.0]])
print(advantages(rewards).round(2))
assert np.allclose(advantages(rewards), training.group_advantages(rewards))  # the library's are ours

# %% [markdown]
# Look at the last row. Where all replies are right there is nothing to compare, and where all are wrong as well. So a
# model that always fails at a task can learn nothing from its rewards: the task must be within its reach now and then.
#
# Two details make the walk safe. If the same replies serve several updates, the model that learns is no longer the
# one that wrote them. So each token's pull is multiplied by the ratio of its new probability to its old one, and this
# ratio is cut off outside 0.8 to 1.2. And a small term holds each token near the probability that it had at the
# start, with an estimate $D = u - \log u - 1$ of the distance, where $u$ is the start's probability divided by the
# model's. $D$ is 0 where both agree, and positive elsewhere.


# %%
def grpo_loss(new, old, start, advantages, clip=0.2, kl=0.04):
    """Log-probabilities of each token, (replies, time); advantages (replies,). All replies are equally long here."""
    ratio, gain = np.exp(new - old), advantages[:, None]
    gained = np.minimum(ratio * gain, np.clip(ratio, 1 - clip, 1 + clip) * gain)
    distance = np.exp(start - new) - (start - new) - 1
    return (kl * distance - gained).mean(axis=1)


new, old = np.log([[0.5, 0.9], [0.3, 0.2]]), np.log([[0.4, 0.5], [0.3, 0.4]])
ours = grpo_loss(new, old, old, np.array([1.0, -1.0]))
print("ratios", np.exp(new - old).round(2).tolist(), "  losses of two replies", ours.round(3))
library, *_ = training.grpo_loss(*map(np.float32, (new, old, old, [1, -1], np.ones((2, 2)))))
assert np.allclose(ours, library, atol=1e-5)

# %% [markdown]
# The ratio 1.8 counts as 1.2: this token has gained enough from these replies. The ratio 0.5 counts as 0.8, for the
# same reason in the other direction. In our runs each reply serves one update, so all ratios are 1 and only the
# advantages and the small term are at work.
#
# ## A pair instead of a number
#
# Often nobody can say how good a reply is, but everybody can say which of two is better. **DPO** (Rafailov et al.
# 2023) learns from such pairs and needs no group and no new replies. Let $\Delta$ be the growth of the log-probability
# of the chosen reply since the start, minus that of the rejected one. The loss of the pair is $-\log \sigma(\beta
# \Delta)$, the loss of logistic regression from lesson 02, where $\beta$ says how dear it is to leave the start.
#
# On paper: at the start both replies have −2. Now the chosen one has −1 and the rejected one −3, so $\Delta = 1 - (-1)
# = 2$. With $\beta = 0.1$ the loss is $-\log \sigma(0.2) = 0.598$; at the start it was $\log 2 = 0.693$. Its slope says
# how strongly the two are pulled: $\beta\, \sigma(-\beta \Delta) = 0.1 \cdot 0.45 = 0.045$, the chosen one up, the
# rejected one down. The larger the distance already is, the weaker the pull.


# %%
def dpo_loss(chosen, rejected, chosen_start, rejected_start, beta=0.1):
    """Log-probabilities of whole replies. Returns the loss and the pull on each of the two."""
    margin = beta * ((chosen - chosen_start) - (rejected - rejected_start))
    return np.log1p(np.exp(-margin)), beta / (1 + np.exp(margin))


for chosen, rejected in ((-2.0, -2.0), (-1.0, -3.0), (-9.0, -20.0), (-3.0, -1.0)):
    loss, pull = dpo_loss(chosen, rejected, -2.0, -2.0)
    print(f"chosen {chosen:5.1f}, rejected {rejected:5.1f}: loss {loss:.3f}, pull ±{pull:.3f}")
    assert np.isclose(loss, training.dpo_loss(*np.float32([chosen, rejected, -2, -2]))[0], atol=1e-6)

# %% [markdown]
# The third line is worth a look. Both replies have become *less* probable, and the loss is small all the same, because
# only the distance between the two counts. DPO may push down a right reply, as long as the wrong one falls further.
