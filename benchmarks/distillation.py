"""What a teacher is worth to a small student: the same GPT trained on a text alone, and with SmolLM2's probabilities.

    python benchmarks/distillation.py --out build/distillation.csv

A student predicts the next token of film snippets (movie-snippets): one of the tokens that stand at least five times in
the training part, or "another one". The teacher is SmolLM2-135M-Instruct, whose probabilities are added up in the same
classes. In all arms the architecture, the starting weights of a seed, the windows and the most passes are equal; the
targets differ:

    text      the token that stands there
    counts    a mix of that and of how often each token occurs: soft targets that know nothing of the place
    teacher   a mix of that and of the teacher's probabilities at this place

Rate and share of the mix are chosen for each arm and size on the validation snippets, with a seed that is not used
again: rates are doubled or halved until both neighbours of the best one are worse. After each pass the validation loss
is looked at, and the weights of the best pass answer. The test snippets are read once by each run of the table, and
never by a run that chooses. Each run is a line of the file; a run whose line is there is skipped, so the script may be
stopped and started. Seconds are processor time.
"""

import argparse
import math
import time

import keras
import numpy as np
from keras import ops
from run_table import RunTable

from kerasllm import weights
from kerasllm.data import load
from kerasllm.generation.compiling import compiled
from kerasllm.models import GPT, gpt_settings

TEACHER = "smollm2-135m-instruct"
CONTEXT, BATCH, OFTEN = 64, 8, 5  # tokens of a window, windows of a step, how often a class must occur
STUDENT = {"num_layers": 2, "num_heads": 4, "embedding_dim": 96, "positions": "rotary"}
SNIPPETS, HELD_OUT = (400, 1_200), {"validation": 300, "test": 1_000}
PASSES, PATIENCE = {400: 30, 1_200: 10}, 3
SEEDS, CHOOSING = (0, 1, 2), 100
FIRST_RATE, SHARES = 0.0005, {"text": (0.0,), "counts": (0.1, 0.3), "teacher": (0.5, 0.9)}
COLUMNS = ["snippets", "arm", "share", "rate", "seed", "chosen", "passes", "validation", "test", "seconds"]
KEY = COLUMNS[:6]


class Texts:
    """Windows of ids, and of classes, of each part; the classes are the same for all sizes."""

    def __init__(self, tokenizer):
        self.tokenizer, self.order = tokenizer, load("movie-snippets").sample(frac=1, random_state=0)
        ids, counts = np.unique(self.ids("train"), return_counts=True)
        self.kept = ids[counts >= OFTEN]  # class k is the token kept[k]; the last class is any other
        self.count = len(self.kept) + 1

    def ids(self, part, most=None):
        lines = self.order["text"][self.order["split"] == part][:most]
        return self.tokenizer.encode_flat([f"{line}\n" for line in lines])[0]

    def windows(self, part, most):
        """Inputs as ids and as classes, and the class of each next token: three arrays (windows, CONTEXT)."""
        ids = self.ids(part, most)
        ids = ids[: (len(ids) - 1) // CONTEXT * CONTEXT + 1]
        place = np.full(self.tokenizer.vocabulary_size, len(self.kept), "int32")
        place[self.kept] = np.arange(len(self.kept))
        classes = place[ids]
        return tuple(one.reshape(-1, CONTEXT) for one in (ids[:-1], classes[:-1], classes[1:]))

    def share_of_others(self):
        ids = self.ids("test", HELD_OUT["test"])
        return float(1 - np.isin(ids, self.kept).mean())


def probabilities(model, ids, kept):
    """The teacher's probabilities of the classes after each token: float16 (windows, CONTEXT, classes)."""

    def of_classes(model, ids):
        return ops.take(ops.softmax(model(ids)), kept, axis=-1)

    found = np.empty((*ids.shape, len(kept) + 1), "float16")
    read = compiled(of_classes, model, "distillation: classes", xla=False)
    for first in range(0, len(ids), BATCH):
        some = ids[first : first + BATCH]
        filled = np.pad(some, ((0, BATCH - len(some)), (0, 0))).astype("int32")  # one shape to compile
        known = ops.convert_to_numpy(read(filled))[: len(some)]
        found[first : first + BATCH] = np.append(known, np.maximum(1 - known.sum(axis=-1, keepdims=True), 0), axis=-1)
    return found


def bits_of(given, targets):
    """Bits a token of probabilities (windows, CONTEXT, classes)."""
    chosen = np.take_along_axis(given, targets[..., None], axis=-1).astype("float64")
    return float(-np.log2(np.maximum(chosen, 1e-7)).mean())


class Bench:
    def __init__(self, path):
        self.table = RunTable(path, COLUMNS)
        self.teacher, tokenizer = weights.pretrained(TEACHER)
        self.texts = Texts(tokenizer)
        self.parts = {part: self.texts.windows(part, most) for part, most in HELD_OUT.items()}
        self.student, self.kept = self.made(), None
        print(f"{self.texts.count} classes; others: {self.texts.share_of_others():.1%} of the test tokens", flush=True)

    def train(self, size):
        """Inputs, targets, the teacher's probabilities, and the share of each class; kept for one size."""
        if self.kept and self.kept[0] == size:
            return self.kept[1]
        ids, inputs, targets = self.texts.windows("train", size)
        soft = probabilities(self.teacher, ids, self.texts.kept)
        counts = np.bincount(targets.ravel(), minlength=self.texts.count) + 0.5
        self.kept = size, (inputs, targets, soft, counts / counts.sum())
        return self.kept[1]

    def made(self):
        settings = gpt_settings(self.texts.count, CONTEXT, **STUDENT)
        model = GPT(settings)
        print(f"A student has {model.count_params():,} weights.", flush=True)
        model.compile(keras.optimizers.Adam(0.001), keras.losses.CategoricalCrossentropy(from_logits=True))
        model.optimizer.build(model.trainable_variables)
        return model

    def started(self, seed, rate):
        """The student with the starting weights of a seed, and an optimizer that remembers nothing."""
        model = self.student
        keras.utils.set_random_seed(seed)
        fresh = GPT(model.settings)
        model.set_weights(fresh.get_weights())
        for one in model.optimizer.variables:
            one.assign(ops.zeros_like(one))
        model.optimizer.learning_rate = rate
        return model

    def bits(self, part):
        _, inputs, targets = self.parts[part]
        model, total = self.student, 0.0
        for first in range(0, len(inputs), 32):
            logits = model(inputs[first : first + 32])
            losses = ops.sparse_categorical_crossentropy(targets[first : first + 32], logits, from_logits=True)
            total += float(ops.sum(losses))
        return total / math.log(2) / targets.size

    def run(self, size, arm, share, rate, seed, chosen):
        """The validation bits of a run, which is made unless the table has it."""
        key = dict(zip(KEY, (size, arm, share, rate, seed, chosen), strict=True))
        if not (found := self.table.find(**key)):
            inputs, targets, soft, shares = self.train(size)
            wanted = np.eye(self.texts.count, dtype="float32")[targets]
            if arm != "text":
                wanted *= 1 - share
                wanted += np.float32(share) * (soft if arm == "teacher" else shares.astype("float32"))
            _, looked_at, answers = self.parts["validation"]
            held_out = looked_at, np.eye(self.texts.count, dtype="float32")[answers]
            model, best = self.started(seed, rate), keras.callbacks.EarlyStopping(
                monitor="val_loss", patience=PATIENCE, restore_best_weights=True
            )  # fmt: skip
            begun = time.process_time()
            model.fit(inputs, wanted, BATCH, PASSES[size], verbose=0, callbacks=[best], validation_data=held_out)
            spent = time.process_time() - begun
            del wanted, held_out
            row = {**key, "passes": best.best_epoch + 1, "validation": round(self.bits("validation"), 4)}
            row |= {"test": round(self.bits("test"), 4) if chosen else "", "seconds": round(spent, 1)}
            self.table.add(row)
            found = [row]
        return float(found[0]["validation"])

    def references(self, size):
        """What the teacher itself needs, and who knows no more than how often each token occurs."""
        for arm in ("the teacher itself", "counts alone"):
            key = dict(zip(KEY, (size, arm, 1.0, 0.0, 0, 1), strict=True))
            if self.table.find(**key):
                continue
            begun, found = time.process_time(), {}
            for part, (ids, _, targets) in self.parts.items():
                if arm == "the teacher itself":
                    found[part] = bits_of(probabilities(self.teacher, ids, self.texts.kept), targets)
                else:
                    found[part] = float(-np.log2(self.train(size)[3][targets]).mean())
            found = {part: round(value, 4) for part, value in found.items()}
            self.table.add({**key, "passes": 0, **found, "seconds": round(time.process_time() - begun, 1)})

    def chosen(self, size, arm, shares):
        """The best share and rate: the rate is doubled or halved until both neighbours of the best one are worse."""
        tried = {}
        while True:
            best = min(tried, key=tried.get, default=(shares[0], FIRST_RATE))
            near = [(best[0], best[1] * factor) for factor in (1, 2, 0.5)] + [(other, best[1]) for other in shares]
            ahead = [one for one in near if one not in tried]
            if not ahead:
                return best
            tried[ahead[0]] = self.run(size, arm, *ahead[0], CHOOSING, 0)

    def all(self):
        for size in SNIPPETS:
            for arm, shares in SHARES.items():
                best = self.chosen(size, arm, shares)
                for seed in SEEDS:
                    self.run(size, arm, *best, seed, 1)
            self.references(size)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="build/distillation.csv")
    Bench(parser.parse_args().out).all()
