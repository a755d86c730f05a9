"""What rewards and preferences teach a small model that has learned a task from few worked examples, and what it costs.

    python benchmarks/preferences_and_rewards.py --model ours --out build/preferences.csv
    python benchmarks/preferences_and_rewards.py --model smollm2 --out build/preferences.csv

The task: write for a problem in words (the set word-problems) what a calculator is to work out. A reply is right if the
calculator's result is the answer, whatever the reply looks like. "ours" is king-james-gpt, all of whose weights learn;
"smollm2" is SmolLM2-135M-Instruct, of which adapters of rank 8 learn. A seed names the training problems and their
order: to the first few belong worked examples, to the others the answer alone. All arms of a seed begin from the same
supervised tuning ("sft"), and take as many updates from as many texts of the same length:

    more      supervised tuning goes on with the worked examples
    chosen    supervised tuning on those of the model's own replies that were right
    dpo       DPO on pairs of its own replies to a problem, a right one and a wrong one
    grpo      GRPO, rewarded where the reply is right
    format    GRPO, rewarded where the calculator can read the reply
    random    GRPO, rewarded where a coin falls so
    told      supervised tuning on worked examples of the problems of which the others know the answer alone

"chosen" and "dpo" write as many replies to the same problems as GRPO writes, all before their first update. Rates are
chosen on the validation problems with a seed that is not used again, where there are two to choose from. Test problems
are read by the runs of the table alone. Each run is a line of the file; a run whose line is there is skipped,
so the script may be stopped and started. `--minutes` ends it well before that time is over.
"""

import argparse
import csv
import math
import os
import random
import time
from itertools import cycle, islice

import keras
import numpy as np
from run_table import RunTable, ship

from kerasllm import training, weights
from kerasllm.data import load
from kerasllm.data.catalogue import folder
from kerasllm.evaluation import log_probability
from kerasllm.generation import Sampling
from kerasllm.tasks.tools import ToolError, calculator
from kerasllm.text import ChatTemplate
from kerasllm.training.instruct import prompt_and_reply
from kerasllm.training.tuner import Snapshot

ARMS = ("grpo", "dpo", "chosen", "more", "random", "format", "told")
REWARDED = ("grpo", "format", "random")
SEEDS, RATE_SEED = (0, 1, 2), 100
NEW = 10  # the most tokens of a reply
COLUMNS = ["model", "arm", "seed", "chosen", "rate", "updates", "texts", "written", "validation", "test", "sampled"]
COLUMNS += ["any", "readable", "bits", "seconds", "machine"]
# worked: examples of the first tuning; first: its updates; problems, group: of an update, and replies to each of them
PLANS = {
    "ours": {"worked": 64, "first": 150, "rate": 5e-4, "updates": 32, "problems": 4, "group": 8, "context": 32},
    "smollm2": {"worked": 64, "first": 16, "rate": 1e-3, "updates": 32, "problems": 8, "group": 8, "context": 64},
}
ASKED = 256  # problems of the validation and of the test part
# Tried on the validation problems; "told" has the rate of "more", "format" and "random" that of "grpo".
RATES = {
    "ours": {
        "grpo": (3e-5, 1e-4, 3e-4),
        "dpo": (1e-5, 3e-5, 1e-4),
        "chosen": (1e-4, 3e-4, 1e-3),
        "more": (3e-5, 1e-4, 3e-4),
    },
    "smollm2": {"grpo": (1e-3,), "dpo": (3e-4,), "chosen": (1e-3,), "more": (1e-3,)},
}


# The problems -------------------------------------------------------------------------------------

NAMES = "David Saul Moses Aaron Joseph Jacob Solomon Samuel Abraham Isaac Joshua".split()
THINGS = "sheep stones vessels horses trees goats pieces".split()
# Words that both models have as one token; the books of king-james-gpt have no digits.
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "ten": 10, "twelve": 12}
NUMBERS |= {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "hundred": 100}
KINDS = {  # what is asked, and what is to be worked out; a is more than b
    "found": ("{one} had {a} {things} and found {b}. How many are there?", "{a} + {b}"),
    "lost": ("{one} had {a} {things} and lost {b}. How many are left?", "{a} - {b}"),
    "gave": ("{one} gave {a} {things} to each of {b} men. How many in all?", "{a} * {b}"),
    "divided": ("{one} divided {a} {things} among {b} men. How many for each?", "{a} / {b}"),
    "both": ("{one} had {a} {things}, lost {b} and found {c}. How many?", "{a} - {b} + {c}"),
    "more": ("{one} has {a} {things}, {b} more than {other}. How many has {other}?", "{a} - {b}"),
    "less": ("{one} has {a} {things}, {b} less than {other}. How many has {other}?", "{a} + {b}"),
    "took": ("{one} took {a} {things} from {b} men each and lost {c}. How many?", "{a} * {b} - {c}"),
}


def made_problems(parts, seed=22):
    """Rows of the set word-problems: no two problems have the same text, and all answers are whole."""
    drawn, seen, rows = random.Random(seed), set(), []
    for part, count in parts.items():
        while count:
            kind, (asked, worked) = drawn.choice(list(KINDS.items()))
            one, other = drawn.sample(NAMES, 2)
            b, a = sorted(drawn.sample(list(NUMBERS), 2), key=NUMBERS.get)
            words = {"a": a, "b": b, "c": drawn.choice(list(NUMBERS)[:9]), "one": one, "other": other}
            words["things"] = drawn.choice(THINGS)
            problem, expression = asked.format(**words), worked.format(**words)
            answer = calculator(in_digits(expression))
            if problem in seen or answer != int(answer):
                continue
            seen.add(problem)
            rows.append([problem, expression, answer, kind, part])
            count -= 1
    return rows


def in_digits(reply):
    """A reply as the calculator takes it: numbers in digits."""
    return " ".join(str(NUMBERS.get(word, word)) for word in reply.split())


def readable(reply):
    try:
        calculator(in_digits(reply))
    except ToolError:
        return False
    return True


def right(reply, answer):
    return readable(reply) and calculator(in_digits(reply)) == answer


def couples(good, bad):
    """Each right reply with a wrong one and each wrong one with a right one, as few pairs as that takes."""
    if not (good and bad):
        return []
    count = max(len(good), len(bad))
    return list(zip(islice(cycle(good), count), islice(cycle(bad), count), strict=True))


class Problems:
    """The problems of a seed: worked ones, and ones with an answer alone."""

    def __init__(self, seed, worked, unworked):
        frame = load("word-problems")
        self.parts = {part: frame[frame["split"] == part] for part in ("validation", "test")}
        train = frame[frame["split"] == "train"].sample(frac=1, random_state=seed)
        self.worked, self.unworked = train[:worked], train[worked : worked + unworked]


# The models ---------------------------------------------------------------------------------------


class Ours:
    """king-james-gpt: the reply stands behind the problem, in the same line."""

    def __init__(self):
        self.model, self.tokenizer = weights.pretrained("king-james-gpt")
        self.end = self.tokenizer.encode("\n")[0]
        verses = load("king-james")
        self.other = "\n".join(verses["text"][verses["split"] == "test"])[:20_000]
        self.first = self.tokenizer.encode("\n")

    def ids(self, problem, reply=""):
        return self.tokenizer.encode(problem), [*self.tokenizer.encode(f" {reply}"), self.end]


class SmolLM2:
    """SmolLM2 with adapters: the problem is a turn of the user, the reply one of the assistant."""

    def __init__(self):
        self.model, self.tokenizer = weights.pretrained("smollm2-135m-instruct")
        keras.utils.set_random_seed(0)
        training.add_lora(self.model, rank=8, layers=["query", "key", "value", "output"])
        self.template = ChatTemplate(self.tokenizer)
        self.end = self.template.end_id
        films = load("movie-snippets").sample(frac=1, random_state=0)
        self.other = "\n".join(films["text"][films["split"] == "test"][:150])
        self.first = [self.tokenizer.bos_id]

    def ids(self, problem, reply="0"):
        turns = [{"role": "system", "content": "Write it for a calculator."}, {"role": "user", "content": problem}]
        return prompt_and_reply(self.template, turns, reply)


class Bench:
    """A model with its tuners, each compiled once; before a run weights and optimizers are put back."""

    def __init__(self, name, path, plan, minutes):
        self.name, self.plan, self.table = name, plan, RunTable(path, COLUMNS)
        self.rows = plan["problems"] * plan["group"]  # texts of an update
        self.until = time.monotonic() + 60 * minutes
        self.kind = Ours() if name == "ours" else SmolLM2()
        self.model, self.decode, self.end = self.kind.model, self.kind.tokenizer.decode, self.kind.end
        self.answers, self.coins, self.reward = {}, None, None
        size = {"group": plan["group"], "max_new_tokens": NEW, "stop_id": self.end}
        self.grpo = training.GRPO(self.model, self.worth, **size)
        self.dpo = training.DPO(self.model, beta=0.1)
        self.tuners = {"sft": self.model, "grpo": self.grpo, "dpo": self.dpo}
        options = {} if keras.backend.backend() == "jax" else {"jit_compile": False}
        training.supervise(self.model, self.optimizer(), **options)
        for tuner in (self.grpo, self.dpo):
            tuner.compile(self.optimizer(), **options)
        for tuner in self.tuners.values():
            tuner.optimizer.build(self.model.trainable_variables)
        self.fresh = self.weights()
        self.begun = {}  # of each seed the weights after the first tuning
        self.seed = self.problems = None

    @staticmethod
    def optimizer():
        return keras.optimizers.Adam(1e-4, global_clipnorm=1.0)

    def worth(self, prompt, reply):
        """The reward of a run."""
        if self.reward == "random":
            return float(self.coins.random() < 0.5)
        text = self.decode(reply)
        return float(readable(text) if self.reward == "format" else right(text, self.answers[tuple(prompt)]))

    def start(self, tuner, rate):
        for one in tuner.optimizer.variables:
            one.assign(np.zeros(one.shape, one.dtype))
        tuner.optimizer.learning_rate = rate

    # Training ---------------------------------------------------------------------------------------

    def supervised(self, prompts, replies, updates, rate, seed, falling=False):
        times = -(-self.rows // len(prompts))  # few texts fill a batch several times
        told = training.Instructions.of_pairs(prompts * times, replies * times, context=self.plan["context"])
        order = {"shuffle": True, "seed": seed, "drop_remainder": True, "epochs": updates}
        feed = told.feed(packed=False, batch_size=self.rows, **order)
        self.start(self.model, rate)
        for number, (inputs, targets, learned) in zip(range(updates), feed, strict=False):
            if falling:
                self.model.optimizer.learning_rate = rate * (1 - number / updates)
            self.model.train_on_batch(inputs, targets, sample_weight=learned)

    def from_pairs(self, pairs, updates, rate, seed):
        times = -(-self.rows // (2 * len(pairs.prompts)))
        pairs = training.Preferences(*(side * times for side in pairs))
        order = {"shuffle": True, "seed": seed, "drop_remainder": True, "epochs": updates}
        feed = self.dpo.feed(pairs, max_length=self.plan["context"], batch_size=self.rows // 2, **order)
        self.start(self.dpo, rate)
        for _, (inputs, targets, learned) in zip(range(updates), feed, strict=False):
            self.dpo.train_on_batch(inputs, targets, sample_weight=learned)

    def rewarded(self, reward, prompts, updates, rate, seed):
        self.reward, self.coins = reward, np.random.default_rng(seed)
        self.grpo.start = Snapshot(self.model)
        self.start(self.grpo, rate)
        return self.grpo.run(prompts, updates, self.plan["problems"], seed=seed)

    def own_replies(self, prompts, seed):
        """For each problem its right and its wrong replies of the model as it is, each once, as ids."""
        self.reward, self.coins, found = self.plan["judge"], np.random.default_rng(seed), []
        count, draws = self.plan["problems"], np.random.default_rng(seed)
        for place in range(0, len(prompts), count):
            samples = self.grpo.sample(prompts[place : place + count], int(draws.integers(2**31)))
            replies = iter(map(tuple, samples.reply_ids))
            for rewards in samples.rewards:
                both = [], []
                for worth, ids in zip(rewards, replies, strict=False):
                    both[int(worth == 0)].append(ids)
                found.append([list(dict.fromkeys(side)) for side in both])
        return found

    # Measuring --------------------------------------------------------------------------------------

    def replies(self, part, count, sampler=None, group=1):
        """The replies to the first problems of a part, (problems, group), and their answers; blocks of one shape."""
        frame = self.problems.parts[part][:count]
        prompts = [self.kind.ids(problem)[0] for problem in frame["problem"]]
        self.reward, texts, at_once = "format", [], self.rows // group
        for seed, place in enumerate(range(0, len(prompts), at_once)):
            found = self.grpo.writer.write(prompts[place : place + at_once], group, sampler, seed).replies
            texts += [self.decode(ids) for ids in found]
        return np.array(texts, dtype=object).reshape(len(prompts), group), frame["answer"].tolist()

    def judged(self, part, count, **how):
        """Which of the replies are right, and which the calculator can read: bool arrays (problems, group)."""
        texts, answers = self.replies(part, count, **how)
        good = [[right(text, answer) for text in row] for row, answer in zip(texts, answers, strict=True)]
        return np.array(good), np.array([[readable(text) for text in row] for row in texts])

    def bits(self):
        """Bits a character of a text of another kind, which the model could write before."""
        ids = self.kind.tokenizer.encode(self.kind.other)
        found = log_probability(self.model, [self.kind.first], [ids], context=128, stride=96).total[0]
        return -found / math.log(2) / len(self.kind.other)

    def measured(self, chosen):
        asked = self.plan["asked"]
        if not chosen:
            found = {"validation": self.judged("validation", asked)[0].mean()}
        else:
            good, read = self.judged("test", asked)
            found = {"test": good.mean(), "readable": read.mean(), "bits": self.bits()}
            good, _ = self.judged("test", asked // 8, sampler=Sampling(), group=self.plan["group"])
            found |= {"sampled": good.mean(), "any": good.any(axis=1).mean()}
        return {name: round(float(value), 4) for name, value in found.items()}

    # Runs -------------------------------------------------------------------------------------------

    def look_at(self, seed):
        """Take the problems of a seed."""
        plan = self.plan
        if self.seed != seed:
            self.seed, self.problems = seed, Problems(seed, plan["worked"], plan["updates"] * plan["problems"])
            self.unworked = [self.kind.ids(problem)[0] for problem in self.problems.unworked["problem"]]
            self.answers = dict(zip(map(tuple, self.unworked), self.problems.unworked["answer"], strict=True))

    def of_seed(self, seed):
        """The problems of a seed, and the model after the first tuning on its worked examples."""
        self.look_at(seed)
        if seed not in self.begun:
            plan = self.plan
            self.back_to(self.fresh)
            self.supervised(*self.encoded(self.problems.worked), plan["first"], plan["rate"], seed, falling=True)
            self.begun = {seed: self.weights()}
        self.back_to(self.begun[seed])

    def weights(self):
        """Copies in NumPy: under JAX a training step deletes the arrays that it was given."""
        return [np.array(keras.ops.convert_to_numpy(one)) for one in self.model.trainable_variables]

    def back_to(self, values):
        for variable, value in zip(self.model.trainable_variables, values, strict=True):
            variable.assign(value)

    def encoded(self, frame):
        pairs = [self.kind.ids(*one) for one in zip(frame["problem"], frame["expression"], strict=True)]
        return tuple(map(list, zip(*pairs, strict=True)))

    def tune(self, arm, rate, seed):
        """Train an arm; returns how many texts it learned from, and how many replies were written for it."""
        updates, prompts, written = self.plan["updates"], self.unworked, self.plan["updates"] * self.rows
        if arm in REWARDED:
            self.rewarded(arm, prompts, updates, rate, seed)
            return written, written
        if arm in ("more", "told"):
            pairs = self.encoded(self.problems.worked if arm == "more" else self.problems.unworked)
            self.supervised(*pairs, updates, rate, seed + 1)
            return len(pairs[0]), 0
        own = list(zip(prompts, self.own_replies(prompts, seed), strict=True))
        if arm == "chosen":
            pairs = [(prompt, ids) for prompt, (good, _) in own for ids in good]
            if pairs:
                self.supervised(*map(list, zip(*pairs, strict=True)), updates, rate, seed)
            return len(pairs), written
        pairs = [(prompt, *two) for prompt, (good, bad) in own for two in couples(good, bad)]
        if pairs:
            self.from_pairs(training.Preferences(*map(list, zip(*pairs, strict=True))), updates, rate, seed)
        return 2 * len(pairs), written

    def run(self, arm, seed, rate, chosen):
        """The row of a run, which is made unless the table has it."""
        key = {"model": self.name, "arm": arm, "seed": seed, "chosen": chosen, "rate": rate}
        if not (found := self.table.find(**key)):
            if time.monotonic() > self.until:
                raise TimeoutError
            if arm == "none":
                self.look_at(seed)
                self.back_to(self.fresh)
                begun, texts, written = time.process_time(), 0, 0
            elif arm == "sft":
                begun, self.begun, texts, written = time.process_time(), {}, self.plan["worked"], 0
                self.of_seed(seed)
            else:
                self.of_seed(seed)
                begun = time.process_time()
                texts, written = self.tune(arm, rate, seed)
            seconds = round(time.process_time() - begun, 1)
            updates = {"none": 0, "sft": self.plan["first"]}.get(arm, self.plan["updates"])
            row = key | {"updates": updates, "texts": texts, "written": written, "seconds": seconds}
            row |= {"machine": machine()} | self.measured(chosen)
            self.table.add({name: row.get(name, "") for name in COLUMNS})
            found = [row]
        return found[0]

    def all(self, seeds, arms):
        self.run("none", seeds[0], 0.0, 1)
        rates = {}
        for arm, tried in self.plan["rates"].items():
            found = {rate: float(self.run(arm, RATE_SEED, rate, 0)["validation"]) for rate in tried if len(tried) > 1}
            rates[arm] = max(found, key=found.get) if found else tried[-1]
        rates |= {"format": rates["grpo"], "random": rates["grpo"], "told": rates["more"]}
        for seed in seeds:
            self.run("sft", seed, self.plan["rate"], 1)
            for arm in arms:
                self.run(arm, seed, rates[arm], 1)


def machine():
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "gpu":
            return device.device_kind
    return f"{os.cpu_count()} cores"


def ship_problems():
    """Makes the set word-problems anew."""
    rows = made_problems({"train": 1_200, "validation": 256, "test": 256})
    with (folder() / "word-problems.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["problem", "expression", "answer", "kind", "split"])
        writer.writerows(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(PLANS), default="ours")
    parser.add_argument("--out", default="build/preferences.csv")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no run after so many")
    parser.add_argument("--smoke", action="store_true", help="tiny numbers, to see that everything runs")
    parser.add_argument("--unsearched", action="store_true", help="take the largest of the rates, and try none")
    parser.add_argument("--ship", action="store_true", help="train nothing, copy the table into datasets/")
    parser.add_argument("--problems", action="store_true", help="make the problems anew, and nothing else")
    given = parser.parse_args()
    if given.problems:
        return ship_problems()
    if given.ship:
        return ship(given.out, "preferences-and-rewards")
    plan = PLANS[given.model] | {"rates": RATES[given.model], "asked": ASKED, "judge": "grpo"}
    if given.unsearched:
        plan["rates"] = {arm: tried[-1:] for arm, tried in plan["rates"].items()}
    if given.smoke:
        plan |= {"worked": 8, "first": 2, "updates": 2, "problems": 2, "group": 2, "asked": 8}
        plan["judge"] = "random"  # two updates make nothing right, and pairs are wanted
        plan["rates"] = {arm: tried[:1] for arm, tried in plan["rates"].items()}
    try:
        Bench(given.model, given.out, plan, given.minutes).all(given.seeds, given.arms)
    except TimeoutError:
        print("The time is over; the same command goes on where it stopped.")


if __name__ == "__main__":
    main()
