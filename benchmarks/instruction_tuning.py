"""What a language model learns from conversations: replies at their places, replies exchanged, or the whole text.

    python benchmarks/instruction_tuning.py --out build/instruction_tuning.csv

Two models: SmolLM2-135M-Instruct with LoRA, and the GPT of the King James Bible with all its weights. Three arms, with
the same prompts and replies: `replies`, `exchanged` (each prompt with the reply of another one in its language) and
`everything` (the loss on the prompt too). A seed names the order of the batches, the exchange and the start of the
adapters; all are drawn by NumPy, so that a seed means the same on every backend. A model has one rate for all arms,
which was searched for none of them. It rises for 4 steps and then stays, so that the first steps of a long run are a
short run.

Judged are conversations of the test part, English and Chinese apart, before the steps and after them. All have at most
128 ids, as those that are learned: nothing of a reply is cut, and each ends. Each number is a line of the file, and a
run that is stopped goes on where it was, so the script may be stopped and started. The runs of all arms with the first
seed come first. It needs Keras on any backend, the caches of `instructions`, `hsk-sentences`, `king-james` and SmolLM2,
and no network. On 2 cores seed 0 of SmolLM2 takes about 7 processor minutes, a seed of the GPT 2.
"""

import argparse
import math
import os
import time
from functools import cache

import keras
import numpy as np
from keras import ops
from run_table import RunTable, ship

from kerasllm import weights
from kerasllm.batches.converse import Conversations
from kerasllm.data import load
from kerasllm.generation import Greedy, Sampling, Session
from kerasllm.generation.compiling import compiled
from kerasllm.text import ChatTemplate
from kerasllm.training import add_lora, classic
from kerasllm.training.instruct import Instructions, prompt_and_reply, supervise

LANGUAGES = ("english", "chinese")
ARMS = ("replies", "exchanged", "everything")
CONTEXT, BATCH, WARM_UP = 128, 4, 4  # ids in a window, windows in a step, steps in which the rate rises
RANK, LAYERS = 8, ("query", "key", "value", "output")
JUDGED, PLAIN = 20, 8  # held-out conversations of a language; windows of plain text
WIDTHS = (64, 96, 128, 176)  # ids of rows that are scored: few, so that few shapes are compiled
ROWS = 8  # rows that are scored at once
COLUMNS = ("model", "arm", "seed", "step", "language", "measure", "item", "value", "text", "machine")
ASKS, ENDS = "\x02", "\x03"  # ASCII's start and end of a text: characters that no verse holds


class SmolLM2:
    """Already tuned to answer, in its own form of a conversation; adapters learn."""

    name, rate, marks, seeds = "smollm2-135m-instruct", 2e-3, (10,), (0,)
    asked, written = 4, 64  # prompts of a language that are replied to, and the most ids of a reply
    sampler = Greedy()

    def __init__(self, blocks=None):
        self.model, self.tokenizer = weights.pretrained(self.name)
        while blocks and len(self.model.blocks) > blocks:
            self.model.blocks.pop()
        add_lora(self.model, RANK, layers=LAYERS)
        self.template = ChatTemplate(self.tokenizer)
        self.stops = [self.template.end_id, *self.tokenizer.stop_ids]

    def encode(self, prompt, reply):
        return prompt_and_reply(self.template, prompt, reply)

    def start(self, seed):
        """Values of the adapters: A as Keras draws it (He, uniform), B zero."""
        rng = np.random.default_rng(seed)
        shapes = [tuple(one.shape) for one in self.model.trainable_variables]
        bounds = [math.sqrt(6 / rows) if columns == RANK else 0.0 for rows, columns in shapes]
        return [rng.uniform(-b, b, shape).astype("float32") for b, shape in zip(bounds, shapes, strict=True)]

    def plain(self):
        frame = load("hsk-sentences")
        return {"english": "\n".join(frame["source"]), "chinese": "\n".join(frame["target"])}


class KingJames:
    """Continues the Bible and has seen no question; all weights learn."""

    name, rate, marks, seeds = "king-james-gpt", 2e-3, (60,), (0, 1, 2)
    asked, written = 16, 128
    sampler = Sampling(top_p=0.9)  # the most probable token leads it into circles

    def __init__(self, blocks=None):
        self.model, self.tokenizer = weights.pretrained(self.name)
        [self.begin], self.stops = self.tokenizer.encode(ASKS), self.tokenizer.encode(ENDS)
        self.first = [ops.convert_to_numpy(one) for one in self.model.trainable_variables]

    def encode(self, prompt, reply):
        return [*self.tokenizer.encode(prompt), self.begin], [*self.tokenizer.encode(reply), *self.stops]

    def start(self, seed):
        return self.first

    def plain(self):
        verses = load("king-james")
        return {"english": "\n".join(verses["text"][verses["split"] == "test"])}


SUBJECTS = {one.name: one for one in (SmolLM2, KingJames)}


@cache
def conversations(subject, part, language, most=None):
    """For each conversation that fits its prompt and reply as ids, the characters of the reply, and the prompt."""
    frame = load("instructions")
    frame = frame[(frame["label"] == language) & (frame["split"] == part)]
    found = []
    for place in np.random.default_rng(0).permutation(len(frame)):
        prompt, reply = frame["prompt"].iloc[place], frame["reply"].iloc[place]
        asked, said = subject.encode(prompt, reply)
        if len(asked) + len(said) <= CONTEXT and len(found) != most:
            found.append((asked, said, len(reply), prompt))
    return found


def learned(subject, arm, seed):
    """The batches of an arm, in the order of a seed."""
    prompts, replies = [], []
    for language in LANGUAGES:
        asked, said, *_ = zip(*conversations(subject, "train", language), strict=True)
        if arm == "exchanged":
            order = np.random.default_rng(seed).permutation(len(said))
            other = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))  # one ring: none keeps its own
            said = [said[other[place]] for place in range(len(said))]
        prompts += asked
        replies += said
    learn = "everything" if arm == "everything" else "replies"
    told = Instructions.of_pairs(prompts, replies, context=CONTEXT, learn=learn)
    order = {"batch_size": BATCH, "shuffle": True, "seed": seed, "epochs": 99, "drop_remainder": True}
    return Conversations(told.ids, told.learned, context=CONTEXT, **order)


def neighbours(pairs):
    """For each conversation the prompt of another; two whose prompts are of similar length exchange them."""
    order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]))
    other = [pair[0] for pair in pairs]
    for one, two in zip(order[::2], order[1::2], strict=True):
        other[one], other[two] = pairs[two][0], pairs[one][0]
    return other


def _score(model, ids):
    logits = ops.cast(model(ids[:, :-1], training=False), "float32")
    chosen = ops.take_along_axis(logits, ops.expand_dims(ids[:, 1:], -1), axis=-1)[:, :, 0]
    return chosen - ops.logsumexp(logits, axis=-1)


def bits_of(model, befores, texts):
    """For each text the bits of its ids behind what stands before it."""
    score, found = compiled(_score, model, "instruction tuning", xla=False), [None] * len(texts)
    whole = [(*before, *text)[-max(WIDTHS) :] for before, text in zip(befores, texts, strict=True)]
    order = sorted(range(len(whole)), key=lambda place: len(whole[place]))
    for first in range(0, len(order), ROWS):
        places = order[first : first + ROWS]
        ids = np.zeros((ROWS, min(width for width in WIDTHS if width >= len(whole[places[-1]]))), "int32")
        for row, place in zip(ids, places, strict=False):
            row[: len(whole[place])] = whole[place]
        for row, place in zip(ops.convert_to_numpy(score(ids)), places, strict=False):
            end = len(whole[place]) - 1
            found[place] = row[end - len(texts[place]) : end].astype("float64") / -math.log(2)
    return found


class Table(RunTable):
    def __init__(self, path, machine):
        super().__init__(path, COLUMNS)
        self.machine = machine

    def add(self, key, measure, value, item="", text=""):
        row = {**key, "measure": measure, "item": item, "value": round(float(value), 4), "text": text}
        self.write([row | {"machine": self.machine}])


class Bench:
    """One model, loaded and compiled once; its weights are put back before each run."""

    def __init__(self, subject, table, given):
        self.subject, self.table, self.given = subject, table, given
        self.held = {one: conversations(subject, "test", one, given.judged) for one in LANGUAGES}
        self.plain = subject.plain()
        optimizer = classic(1_000, subject.rate, warmup_steps=WARM_UP, final=1.0, weight_decay=0.0)
        # On TensorFlow without XLA: its first call takes as long as all steps, and its peak is a gigabyte higher.
        supervise(subject.model, optimizer, jit_compile=keras.backend.backend() == "jax")
        optimizer.build(subject.model.trainable_variables)
        self.fresh = [ops.convert_to_numpy(one) for one in optimizer.variables]

    def restart(self, seed):
        keras.utils.set_random_seed(seed)
        model = self.subject.model
        for variable, value in zip(model.trainable_variables, self.subject.start(seed), strict=True):
            variable.assign(value)
        for variable, value in zip(model.optimizer.variables, self.fresh, strict=True):
            variable.assign(value)

    def judge(self, key, last):
        """What replies cost behind their own prompt and another, and how sure the model is of their end."""
        model = self.subject.model
        for language, pairs in self.held.items():
            if self.table.has(**key, language=language, measure="own"):
                continue  # stopped behind it
            asked, said, characters, _ = zip(*pairs, strict=True)
            own, other = bits_of(model, asked, said), bits_of(model, neighbours(pairs), said)
            for place, letters in enumerate(characters):
                found = {"own": own[place].sum(), "other": other[place].sum(), "end": 2.0 ** -own[place][-1]}
                for measure, value in {**found, "characters": letters}.items():
                    self.table.add({**key, "language": language}, measure, value, place)
            if last and language in self.plain:
                self.table.add({**key, "language": language}, "plain", self.plain_bits(self.plain[language]))
        if last and not self.table.has(**key, measure="ended"):
            self.write(key)

    def plain_bits(self, text):
        """Bits a character of a text that is no conversation, in windows; the first id of each is given."""
        ids = self.subject.tokenizer.encode(text[: PLAIN * CONTEXT * 6])
        windows = [ids[place : place + CONTEXT] for place in range(0, len(ids) - CONTEXT, CONTEXT)][:PLAIN]
        found = bits_of(self.subject.model, [one[:1] for one in windows], [one[1:] for one in windows])
        return sum(map(np.sum, found)) / sum(len(self.subject.tokenizer.decode(one[1:])) for one in windows)

    def write(self, key):
        """Replies to the first prompts of both languages."""
        subject = self.subject
        pairs = [(one, *pair) for one, found in self.held.items() for pair in found[: subject.asked]]
        session = Session(subject.model, rows=len(pairs))
        session.read([pair[1] for pair in pairs])
        longest = self.given.written or subject.written
        replies = session.write(longest, subject.sampler, stop_tokens=subject.stops, seed=key["seed"])
        for (language, *_, prompt), reply in zip(pairs, replies, strict=True):
            text = f"{prompt}\n→ {subject.tokenizer.decode(reply.ids)}" if key["seed"] == 0 else ""
            self.table.add({**key, "language": language}, "ended", reply.ended == "stop", len(reply.ids), text)

    def run(self, key, marks, ends):
        """One arm with one seed, from where it was stopped."""
        before, kept = time.process_time(), self.kept(key)
        self.restart(key["seed"])
        done, spent = self.resume(kept)
        if key["arm"] == "nothing":
            self.judge({**key, "step": 0}, last=True)
        else:
            feed = learned(self.subject, key["arm"], key["seed"])
            for step in range(done, max(marks) + 1):
                if step in marks:
                    self.judge({**key, "step": step}, last=step == max(marks))
                if time.perf_counter() > ends:
                    return self.keep(kept, step, spent + time.process_time() - before)
                if step < max(marks):
                    inputs, targets, weight = feed.batch(step)
                    self.subject.model.train_on_batch(inputs, targets, sample_weight=weight)
        spent += time.process_time() - before
        self.table.add({**key, "step": "", "language": ""}, "processor seconds", spent)
        kept.unlink(missing_ok=True)
        print(*key.values(), f"{spent:.0f} s of the processor", flush=True)

    def kept(self, key):
        return self.table.path.with_suffix("." + "-".join(map(str, key.values())) + ".npz")

    def keep(self, path, step, spent):
        values = [ops.convert_to_numpy(one) for one in self.learning()]
        np.savez(path, step, spent, *values)
        print(f"{path.name}: stopped after step {step}", flush=True)

    def resume(self, path):
        """How many steps a run has behind it, and the seconds that they took."""
        if not path.exists():
            return 0, 0.0
        with np.load(path) as found:
            step, spent, *values = (found[name] for name in found.files)
        for variable, value in zip(self.learning(), values, strict=True):
            variable.assign(value)
        return int(step), float(spent)

    def learning(self):
        return [*self.subject.model.trainable_variables, *self.subject.model.optimizer.variables]

    def runs(self, ends):
        marks = self.given.marks or self.subject.marks
        for seed in self.given.seeds or self.subject.seeds:
            for arm in ("nothing", *self.given.arms) if not seed else self.given.arms:
                key = {"model": self.subject.name, "arm": arm, "seed": seed}
                if time.perf_counter() < ends and not self.table.has(**key, measure="processor seconds"):
                    self.run(key, marks, ends)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="build/instruction_tuning.csv")
    parser.add_argument("--models", nargs="+", default=list(SUBJECTS), choices=list(SUBJECTS))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, help="those of the model unless given")
    parser.add_argument("--marks", nargs="+", type=int, help="after which steps to judge; the last one ends a run")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after them; the next call goes on there")
    parser.add_argument("--machine", default=f"{os.cpu_count()} cores")
    parser.add_argument("--smoke", action="store_true", help="tiny numbers, to see that it runs")
    parser.add_argument("--ship", action="store_true", help="train nothing, copy the table into datasets/")
    given = parser.parse_args()
    if given.ship:
        return ship(given.out, "instruction-tuning", "numbers")
    given.judged, given.written, blocks = JUDGED, None, None
    if given.smoke:
        given.judged, given.written, given.marks, given.arms, blocks = 2, 4, [1, 2], given.arms[:2], 2
        given.seeds = given.seeds or [0]
    ends = time.perf_counter() + 60 * given.minutes
    table = Table(given.out, given.machine)
    for name in given.models:
        Bench(SUBJECTS[name](blocks), table, given).runs(ends)


if __name__ == "__main__":
    main()
