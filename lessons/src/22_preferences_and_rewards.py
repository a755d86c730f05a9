# %% [markdown] tags=["edition-2"]
# # 22 · Preferences and rewards
#
# **Can a model learn from its own answers, if it is only told which of them were good?**
#
# **You need** lesson 02 (logistic regression), lesson 12 (bits per character), lesson 18 (drawing tokens), lesson 20
# (LoRA, chat template) and lesson 21 (tuning on replies).
#
# **You will build** the losses of DPO and GRPO and check them on paper. Then a small GPT learns from a calculator that
# only says "right" or "wrong", and you hold it against other ways to spend the same number of updates.
#
# **Time** about 2 minutes to run on a laptop with 2 cores, and 45 minutes to read.

# %% tags=["hide"]
# @title Imports
import math

import keras
import numpy as np

from kerasllm import training, weights
from kerasllm.course import Claims, dial
from kerasllm.course.diagrams import Diagram
from kerasllm.course.figures import bars, show, use_style
from kerasllm.data import load
from kerasllm.evaluation import log_probability
from kerasllm.generation import Session
from kerasllm.tasks.tools import ToolError, calculator

use_style()

# %%
WORKED = dial(64, smoke=32)  # problems with a worked example
FIRST = dial(150, smoke=1)  # updates of the first tuning
UPDATES = dial(32, smoke=1)  # updates of the tuning by rewards
PROBLEMS = dial(4, smoke=2)  # problems of such an update
GROUP = dial(8, smoke=4)  # replies to each of them
ASKED = dial(256, smoke=8)  # test problems
LETTERS = dial(20_000, smoke=2_000)  # characters of the Bible on which we look at what was forgotten
RATE = dial(0.0003, smoke=0.0003)  # learning rate of the tuning by rewards, chosen on validation problems
SEED = 0  # the run of the table that is repeated here

# %% [markdown]
# ## A teacher who only says right or wrong
#
# *Joshua had fifty vessels and lost three. How many are left?* A language model need not work this out. It has to
# write what a calculator should do, `fifty - three`, and the calculator does the rest. Somebody wrote such a worked
# example for 64 problems. From them a model can learn by supervised tuning (lesson 21): it imitates. For the other
# problems there is only the answer, 47. There is nothing to imitate, only a check: give the model's reply to the
# calculator, and see whether 47 comes out.
#
# Can a model learn from a check? Everything so far had a loss that we followed downhill, because we knew which token
# should come next. The check is a program that answers 0 or 1, and has no slope. So the model must try, and what it
# tries becomes its training text. Predict before you go on: a model is right in some of the problems after the worked
# examples. Then it writes 1,024 replies to new problems and is told of each one whether it was right. Will it be better
# afterwards? And will it be better than a model that reads the 64 worked examples some more times?

# %%
problems = load("word-problems")
train = problems[problems["split"] == "train"].sample(frac=1, random_state=SEED)
worked, unworked = train[:WORKED], train[WORKED : WORKED + UPDATES * PROBLEMS]
test = problems[problems["split"] == "test"][:ASKED]
answers = dict(zip(problems["problem"], problems["answer"], strict=True))
NUMBERS = dict(two=2, three=3, four=4, five=5, six=6, seven=7, eight=8, ten=10, twelve=12, twenty=20, thirty=30)
NUMBERS |= dict(forty=40, fifty=50, hundred=100)


def result_of(reply):
    """What the calculator makes of a reply; None if it cannot read it."""
    try:
        return calculator(" ".join(str(NUMBERS.get(word, word)) for word in reply.split()))
    except ToolError:
        return None


def right(problem, reply):
    return float(result_of(reply) == answers[problem])


# %%
for row in worked.groupby("kind", observed=True).head(1).itertuples():
    print(f"{row.kind:8s} {row.problem:74s} {row.expression:24s} {row.answer:5d}")

# %% [markdown]
# A reply is *right* if the result is the answer, whatever the reply looks like: `three + fifty` is as good as `fifty +
# three`. It is *readable* if the calculator gives any result at all. The number that judges a reply is called a
# **reward**; here it is 1 for a right reply and 0 for any other. In the last two kinds but one the words mislead: *six
# less than Abraham* needs a plus.
#
# ## Up and down
#
# Let the model write several replies to one problem, drawn token by token as in lesson 18, and let the calculator judge
# them. Now change the weights a little, so that the good ones become more probable and the bad ones less. That is all.
# Every method of this lesson is this one step, and they differ in *how strongly* each reply is pulled, up or down. In
# the drawing, four replies to one problem are judged. Look at the two columns on the right.

# %% tags=["hide"]
# @title Drawing: one update from a model's own replies
sheet = Diagram(8, 3.9)
asked = sheet.box(
    "Joshua had fifty\nvessels and lost three.\nHow many are left?", (1.0, 2.2), width=1.8, height=0.8, size=8
)
writer = sheet.box("the\nmodel", (2.5, 2.2), meaning="weights", width=0.8, height=1.0)
sheet.arrow(asked.right, writer.left)
replies = ("fifty - three", "fifty + three", "fifty - three", "fifty - forty")
for y, reply, reward in zip((3.1, 2.5, 1.9, 1.3), replies, (1, 0, 1, 0), strict=True):
    said = sheet.box(reply, (3.95, y), meaning="state", width=1.15, size=8.5)
    sheet.arrow((writer.right[0], 2.2 + (y - 2.2) * 0.4), said.left)
    meaning = "output" if reward else "error"
    judged = sheet.box(str(reward), (5.3, y), meaning=meaning, width=0.36, height=0.34)
    sheet.arrow(said.right, judged.left)
    sheet.text((6.1, y), "+1" if reward else "−1", meaning=meaning, size=11)
for x, words in ((3.95, "its own replies"), (5.3, "reward"), (6.1, "GRPO"), (7.25, "DPO")):
    sheet.text((x, 3.62), words, size=9)
sheet.text((4.7, 0.97), "the calculator judges", size=8.5)
sheet.box("fifty - three", (7.25, 2.5), meaning="output", width=1.15, size=8.5)
sheet.box("fifty + three", (7.25, 1.9), meaning="error", width=1.15, size=8.5)
sheet.text((7.25, 2.85), "chosen", meaning="output", size=8.5)
sheet.text((7.25, 1.55), "rejected", meaning="error", size=8.5)
sheet.arrow((7.25, 1.35), writer.bottom, through=[(7.25, 0.55), (2.5, 0.55)], meaning="given")
sheet.arrow((6.1, 1.05), (6.1, 0.55), meaning="given", head=False)
sheet.text((4.9, 0.28), "one update: what is green becomes more probable, what is red becomes less probable", size=9)
show(sheet.figure, "A problem goes into the model, which writes four replies. The calculator gives each a 1 or a 0."
     " GRPO pulls them by plus 1 and minus 1; DPO takes a right and a wrong one as a pair. An arrow leads back to the"
     " model.")  # fmt: skip

# %% [markdown]
# Why may one do this? We want the mean reward of what the model writes to grow: $\sum_y p(y)\, r(y)$ over all replies
# $y$. The rewards are fixed numbers, so they need no slope; only the probabilities depend on the weights. The slope of
# $p$ is $p$ times the slope of $\log p$. So the slope of the whole is the *mean* of $r(y)$ times the slope of $\log
# p(y)$, over replies that the model itself draws. Therefore draw some, pull the log-probability of each in proportion
# to its reward, and on average you walk uphill. This is the **policy gradient** (Williams 1992).
#
# With rewards of 1 and 0 alone, right replies are pulled up and nothing is pulled down. But a pull of 1/2 and −1/2
# says the same with less noise, because pulling all replies alike changes nothing on average. So one compares.
# **GRPO** (Shao et al. 2024) draws a group of replies to the same problem. The **advantage** of a reply is its reward
# minus the mean of its group, divided by the group's standard deviation. On paper: rewards 1, 0, 0, 0 have the mean
# 0.25 and the standard deviation $\sqrt{0.1875} = 0.433$. So the right reply gets $0.75 / 0.433 = 1.73$ and each wrong
# one −0.58. With 1, 1, 1, 0 the one failure gets −1.73.


# %%
def advantages(rewards):  # (problems, group)
    mean, spread = rewards.mean(axis=1, keepdims=True), rewards.std(axis=1, keepdims=True)
    return np.where(spread > 0, (rewards - mean) / np.where(spread > 0, spread, 1), 0)


rewards = np.array([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1.0]])
print(advantages(rewards).round(2))
assert np.allclose(advantages(rewards), training.group_advantages(rewards))  # the library's are ours

# %% [markdown]
# Look at the last row. Where all replies are right there is nothing to compare, and where all are wrong as well. So a
# model that never succeeds at a task learns nothing from its rewards. This is why the worked examples come first.
#
# Two details make the walk safe. If the same replies serve several updates, the model that learns is no longer the
# one that wrote them. So each token's pull is multiplied by the ratio of its new probability to its old one, and this
# ratio is cut off outside 0.8 to 1.2. And a small term holds each token near the probability that it had at the
# start. It is an estimate of the distance, $D = u - \log u - 1$, where $u$ is the start's probability divided by the
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
# Both ratios above 1.2 count as 1.2, because these tokens have gained enough from these replies. The ratio 0.5 counts
# as 0.8, for the same reason in the other direction. In our runs each reply serves one update only. All ratios are 1
# then, and the advantages and the small term do the work.
#
# ## A pair instead of a number
#
# Often nobody can say how good a reply is, although everybody can say which of two is better. **DPO** (Rafailov et al.
# 2023) learns from such pairs. It needs no new replies while it learns. Let $\Delta$ be the growth of the
# log-probability of the chosen reply since the start, minus that of the rejected one. The loss of the pair is $-\log
# \sigma(\beta \Delta)$, the loss of logistic regression, where $\beta$ says how dear it is to leave the start.
#
# On paper: at the start both replies have −2. Now the chosen one has −1 and the rejected one −3, so $\Delta = 1 - (-1)
# = 2$. With $\beta = 0.1$ the loss is $-\log \sigma(0.2) = 0.598$; at the start it was $\log 2 = 0.693$. Its slope says
# how strongly the two are pulled: $\beta\, \sigma(-\beta \Delta) = 0.1 \cdot 0.45 = 0.045$, the chosen one up, the
# rejected one down. The larger the distance already is, the weaker is the pull.


# %%
def dpo_loss(chosen, rejected, chosen_start, rejected_start, beta=0.1):
    """Log-probabilities of whole replies. Returns the loss, and the pull on each of the two."""
    margin = beta * ((chosen - chosen_start) - (rejected - rejected_start))
    return np.log1p(np.exp(-margin)), beta / (1 + np.exp(margin))


for chosen, rejected in ((-2.0, -2.0), (-1.0, -3.0), (-9.0, -20.0), (-3.0, -1.0)):
    loss, pull = dpo_loss(chosen, rejected, -2.0, -2.0)
    print(f"chosen {chosen:5.1f}, rejected {rejected:5.1f}: loss {loss:.3f}, pull ±{pull:.3f}")
    assert np.isclose(loss, training.dpo_loss(*np.float32([chosen, rejected, -2, -2]))[0], atol=1e-6)

# %% [markdown]
# The third line is worth a look. Both replies have become *less* probable, and the loss is small all the same, because
# only the distance between the two counts. DPO may push down a right reply, as long as the wrong one falls further.
#
# ## The worked examples first
#
# The model is `king-james-gpt` of lesson 18: 5.8 million weights, and a text that it writes well, the Bible. It has
# never seen a digit, which is why our numbers are words. What it writes after the question mark, up to the end of the
# line, is its reply. The first tuning is that of lesson 21, with the loss on the replies alone. Before and after we
# measure two things: the share of right replies to 256 test problems, each token being the most probable one, and the
# bits per character on books of the Bible that it has not read.

# %%
model, tokenizer = weights.pretrained("king-james-gpt")
(END,) = tokenizer.encode("\n")
verses = load("king-james")
bible = "\n".join(verses["text"][verses["split"] == "test"])[:LETTERS]
tuner = training.GRPO(model, right, tokenizer, stop_id=END, group=GROUP, max_new_tokens=10)


def measured():
    """Whether each test problem is answered rightly, and the bits a character of the Bible."""
    total = log_probability(model, [[END]], [tokenizer.encode(bible)], context=128, stride=96).total[0]
    return tuner.rewards(test["problem"].tolist()), -total / math.log(2) / len(bible)


before, bits_before = measured()
print(f"{model.count_params():,} weights; right before any tuning {before.mean():.0%}, Bible {bits_before:.3f} bits")

# %%
prompts = [tokenizer.encode(problem) for problem in worked["problem"]]
replies = [[*tokenizer.encode(f" {expression}"), END] for expression in worked["expression"]]
told = training.Instructions.of_pairs(prompts, replies, context=32)
falling = keras.optimizers.schedules.PolynomialDecay(5e-4, FIRST, 0.0)
training.supervise(model, keras.optimizers.Adam(falling, global_clipnorm=1.0), jit_compile=False)
feed = told.feed(packed=False, batch_size=32, shuffle=True, seed=SEED, drop_remainder=True, epochs=FIRST)
model.fit(feed, steps_per_epoch=FIRST, shuffle=False, verbose=0)
start, bits_start = measured()
print(f"right after {FIRST} updates {start.mean():.1%}, Bible {bits_start:.3f} bits")

# %%
some = test["problem"].tolist()[:8]
session = Session(model, tokenizer, rows=len(some))
session.read(some)
for problem, reply in zip(some, session.write(10, stop_tokens=[END]), strict=True):
    mark = "✓" if right(problem, reply.text) else "✗"
    print(f"{mark} {problem:72s} {reply.text:24s} {result_of(reply.text)}")

# %% [markdown]
# Now it learns from the check alone. `GRPO` of the library takes the function `right` as its reward, and nothing else
# tells it what we want. In each update the model writes 8 replies to each of 4 new problems. The reference of the small
# term is the model as it is now.

# %%
tuner = training.GRPO(model, right, tokenizer, stop_id=END, group=GROUP, max_new_tokens=10)
tuner.compile(keras.optimizers.Adam(RATE, global_clipnorm=1.0), jit_compile=False)
log = tuner.run(unworked["problem"].tolist(), UPDATES, PROBLEMS, seed=SEED)
after, bits_after = measured()
for row in (log[0], log[-1]):
    shown = ", ".join(f"{name} {row[name]:.2f}" for name in ("reward", "equal", "entropy", "kl"))
    print(f"update {row['step']:2d}: {shown}")
print(f"right {start.mean():.1%} before, {after.mean():.1%} after; Bible {bits_start:.3f} and {bits_after:.3f} bits")

# %% [markdown]
# ## Held against what?
#
# A rise proves little. The model was trained further, and any training on such problems might have helped. So there
# are other ways to spend 32 updates of 32 texts, and all of them begin from the same weights:
#
# - *more*: supervised tuning goes on with the 64 worked examples.
# - *chosen*: the model writes 1,024 replies before the first update, and those that were right become the worked
#   examples of a supervised tuning. This is called rejection sampling. It uses the same check as GRPO.
# - *DPO*: the same 1,024 replies, as pairs of a right and a wrong one.
# - *format*: GRPO with a reward of 1 for any reply that the calculator can read.
# - *random*: GRPO with a reward that is drawn like a coin.
# - *told*: supervised tuning on worked examples of the 128 new problems, which the others never see. It is no rival
#   but an upper mark: it shows what the missing examples would have been worth.
#
# Three seeds draw other problems, other worked examples and other replies. The learning rate of each way was chosen on
# validation problems, with a seed that is not used again. *Format* and *random* have the rate of GRPO, and *told* has
# that of *more*. All runs are made by `benchmarks/preferences_and_rewards.py` and come with the course as a set. In the
# table, *sampled* is the share of right ones among drawn replies, and *any* that of problems with at least one right
# reply of eight. Write your order down: which way teaches most, and which one makes the model worse?

# %%
runs = load("preferences-and-rewards")  # a row for each run
table = runs[runs["chosen"] & (runs["model"] == "ours")]
ORDER = ["sft", "more", "chosen", "dpo", "grpo", "format", "random", "told"]
shown = table.groupby("arm")[["test", "sampled", "any", "readable", "bits"]].mean().loc[["none", *ORDER]]
print(shown.round(3).to_string(), "\n")
by_seed = table.pivot_table(index="seed", columns="arm", values="test")[ORDER].dropna()
print(by_seed.round(3).to_string())

# %% tags=["hide"]
# @title Figure: right replies after each way to spend the updates
SHOWN = {"sft": "start", "more": "more", "chosen": "chosen", "dpo": "DPO", "grpo": "GRPO", "format": "format",
         "random": "random", "told": "told"}  # fmt: skip
paints = dict.fromkeys(ORDER, "control") | {"sft": "given", "told": "given", "chosen": "subject", "grpo": "subject"}
figure = bars(
    {SHOWN[arm]: 100 * by_seed[arm] for arm in ORDER},
    title="Its own right replies teach it more than worked examples read again",
    x_label="right replies of 256 test problems, %; one dot a seed",
    colors={SHOWN[arm]: paints[arm] for arm in ORDER},
    digits=0,
    reference=(100 * by_seed["sft"].mean(), "start of all others"),
)
show(figure, "Eight rows of shares of right replies with a line at the start. Own right replies and GRPO lie far to the"
     " right of the line, a random reward to the left of it.")  # fmt: skip

# %%
points = {arm: (100 * by_seed[arm]).tolist() for arm in ORDER}
learned = Claims("What 32 updates teach: right replies in %")
learned.claim("After a long first tuning its own right replies teach more than the examples once more",
              points["chosen"], ">", points["more"], unit="%", control="supervised tuning goes on with the 64 examples",
              headline="long first tuning, then own right replies: {measured} right; examples: {bound}")  # fmt: skip
learned.claim("GRPO teaches more than the worked examples once more", points["grpo"], ">", points["more"], unit="%",
              control="supervised tuning goes on with the 64 examples")  # fmt: skip
learned.claim("It is the reward that teaches, not the updates", points["grpo"], ">", points["random"], unit="%",
              control="GRPO with a random reward")  # fmt: skip
learned.claim("To be readable is not to be right", points["format"], "<", points["grpo"], unit="%",
              control="GRPO, rewarded for right replies")  # fmt: skip
learned.show()

# %% [markdown]
# The check was worth something. With every seed GRPO ends higher than supervised tuning that goes on with the 64
# examples, although nobody showed it a single new one. The random reward shows that it is not the updates: it makes
# the model much worse. One might have expected no change, because such a reward prefers nothing on average. But each
# update is a step in an arbitrary direction, and at this rate many such steps destroy what was learned. The reward for
# readable replies does harm for the same reason, and for another: hardly any reply was unreadable at the start, so most
# of its groups are equal, and in the others whatever was readable is praised, right or wrong.
#
# How far does this reach? No further than this start. Before these runs there was a trial with a first tuning of 60
# updates, one seed, and rates that were not searched. After it 16% were right. From there the worked examples once more
# were the best way by far, with 45%. The model's own right replies gave 29%, GRPO 13% and DPO 12%, so these two taught
# nothing. Only after this trial was the first tuning made longer, until the examples had little left to give, and the
# rates were searched. The order turned round. Which of the two changes did it, we have not measured. A model that has
# not yet learned what its examples teach should perhaps read them again; rewards are for the time after that.
#
# The winner is the plainest way. *Chosen* uses the same check on as many replies and then only imitates the right ones.
# With every seed it ends above GRPO and DPO, and as high as *told*, which was given the worked examples of the same
# problems. We see two differences that may explain it, and have tested neither. GRPO learns from each reply once, while
# imitation reads its hundred right ones about ten times. And imitation bears a larger rate: its best one was 0.001, the
# largest of the three that we tried. For GRPO and DPO the largest of theirs was the best as well, 0.0003 and 0.0001.
# So a longer search may move all three. Our budget is small. Over thousands of updates, with fresh replies of a model
# that has become better, GRPO may win; papers on large models report such runs.
#
# ## What it costs
#
# The model could write one thing well before all this. What has become of it? The next cell compares the bits per
# character on the Bible's test books, after each of the ways, with those of the untouched model. Predict first: which
# step forgot most, the first tuning or the second?

# %%
bits = table.pivot_table(index="seed", columns="arm", values="bits")
untouched = float(bits["none"].dropna().iloc[0])
for arm in ORDER:
    lost = bits[arm].dropna() - untouched
    print(f"{SHOWN[arm]:8s} costs {lost.mean():.3f} bits a character (from {lost.min():.3f} to {lost.max():.3f})")
cost = Claims("What it costs")
cost.claim("The first tuning makes the model forget", bits["sft"].dropna().tolist(), ">", untouched,
           unit="bits a character", control="the untouched model")  # fmt: skip
first, second = (bits["sft"] - untouched).dropna(), (bits["grpo"] - bits["sft"]).dropna()
cost.claim("Rewards make it forget less than the first tuning", second.tolist(), "<", first[second.index].tolist(),
           unit="bits a character", control="the first tuning")  # fmt: skip
here, there = float(100 * start.mean()), float(np.mean(points["sft"]))
cost.claim("The first tuning that you have seen falls within the table", here, "==", there, unit="%",
           tolerance=float(200 * by_seed["sft"].std()), control="the mean of its three seeds")  # fmt: skip
print(f"GRPO, right at the end: {100 * after.mean():.0f}% here; in the table {np.round(points['grpo'])}")
cost.show()

# %% [markdown]
# The first tuning costs much of what is forgotten, and GRPO adds little to it. A reason may be that it moves only what
# the model itself already writes, and the small term holds it near the start. The winner pays most: imitation at its
# large rate costs about as many bits again as the first tuning. So which way is best depends on what the model is for.
# The rate is to blame, at least in part, because *told* teaches as much for a tenth of this price, at a rate ten times
# smaller. Whoever needs only the calculator's clerk takes *chosen*. Whoever wants the Bible too may take GRPO, or
# imitation at a smaller rate, which was a little worse on the validation problems.
#
# The last claim speaks of the first tuning alone, within two standard deviations. The run with rewards cannot be
# repeated so well. With the problems and the draws of the table's first seed, four earlier runs ended at 60, 71, 75 and
# 83%. A sum that is rounded in another order changes one drawn token, and then everything that follows. So one run
# differs from itself as much as one seed from another. The 17 points between GRPO and *more* are larger than that, but
# not by much. Trust no single run of this kind.
#
# One thing is missing. The same script tunes SmolLM2 with adapters (`--model smollm2`), but this has not run, because
# it takes hours on two cores. Nothing here says how a model of 135 million weights would behave.
#
# ## What can go wrong
#
# People often think that a reward teaches what we mean. It teaches what it checks. Our check is hard to cheat, since
# the calculator knows nothing but the number; even so `two * two` is right where `two + two` was meant. A check of the
# form alone is cheated at once, as the table shows, and so is a model of rewards that was itself learned from pairs.
# The second trap is a group without a difference. If a task is too hard or too easy, most groups have equal rewards
# and teach nothing; the log calls their share `equal`, and it should be looked at before anything else.
#
# The third trap is a comparison without its control. A rise after training with rewards is soon called *reasoning*.
# Shao et al. (2025) raised the scores of one family of models with a reward that was random, so the rise there was
# not the reward's. Only a run with the same updates and a reward that knows nothing can tell.
#
# ## Summary
#
# - The check of a reply has no slope. But the mean reward has one: the mean of the reward times the slope of the
#   reply's log-probability, over replies that the model draws.
# - GRPO compares replies to the same problem; where all are equal it learns nothing. DPO compares two replies, and each
#   of them with its own start.
# - A reward needs a model that succeeds now and then, so worked examples come first.
# - Here, after a long first tuning, imitation of the model's own right replies taught most and forgot most; GRPO taught
#   less and forgot little. After a short one, more of the worked examples was best.
# - Hold a reward against supervised tuning with the same check, against a random one, and against one of the form.
#
# ## Exercises
#
# Open [exercises/22_preferences_and_rewards.ipynb](exercises/22_preferences_and_rewards.ipynb). You compute advantages
# and the loss of a pair, make pairs from a model's own replies, and estimate "at least one of k". In the experiment you
# give the smallest model that can be rewarded a reward that knows nothing. Each answer is checked.
#
# ## References
#
# - R. Williams (1992). Simple statistical gradient-following algorithms for connectionist reinforcement learning.
#   *Machine Learning* 8. Section 4.
# - Z. Shao and others (2024). DeepSeekMath: pushing the limits of mathematical reasoning in open language models.
#   arXiv:2402.03300. Section 4.1: GRPO.
# - R. Rafailov and others (2023). Direct preference optimization: your language model is secretly a reward model.
#   *NeurIPS*. Section 4, equation 7.
# - L. Ouyang and others (2022). Training language models to follow instructions with human feedback. *NeurIPS*.
#   Section 3.
# - Z. Yuan and others (2023). Scaling relationship on learning mathematical reasoning with large language models.
#   arXiv:2308.01825. Section 3.3: rejection sampling.
# - R. Shao and others (2025). Spurious rewards: rethinking training signals in RLVR. arXiv:2506.10947. Section 2.
