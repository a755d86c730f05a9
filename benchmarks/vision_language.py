"""What a picture gives to a language model, and what pretrained features are worth: the table that lesson 25 draws.

    python benchmarks/vision_language.py --minutes 10 --out build/vision-language.csv

Three parts, each of which can be asked for alone:

- pairs: two encoders learn to put a picture of an emoji and its name at the same place. Frozen features of
  EfficientNet-Lite0 against a patch encoder of ours that is trained with the rest, the same pairs and steps; names that
  were shuffled; and the nearest training picture, whose name is looked up.
- asked: a small GPT of ours reads a picture and a question and writes an answer: the name, the colour, animal or not.
  With pictures, with answers that were shuffled among pictures, with blank pictures alone; with the patch encoder.
- digits: scikit-learn's digits, read by a logistic regression on pixels and on features.
- large: SmolLM2 in place of the small GPT, frozen; the projection alone learns. It takes minutes a run.

Each number is a line of the file. A run that is there is not repeated, so the script may be stopped and started.
Features are kept in a folder beside the file.
"""

import argparse
import os
import re
import time
from functools import cache

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
from keras import ops
from run_table import RunTable, ship
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import LogisticRegression

from kerasllm import text, weights
from kerasllm.batches import ImageInput
from kerasllm.data import load
from kerasllm.evaluation import hit_rate, mean_reciprocal_rank, ranks
from kerasllm.generation import generate
from kerasllm.models import (
    GPT,
    ContrastivePair,
    EfficientNet,
    PatchEncoder,
    PatchEncoderSettings,
    VisionLanguage,
    gpt_settings,
)

COLUMNS = ["part", "model", "seed", "asked", "measure", "value", "texts", "seconds"]
PARTS = ("pairs", "asked", "digits", "large")
SEEDS = (0, 1, 2)
TWINS = 0.06  # pictures of 16 by 16 that differ by less, on a scale to 1, stand in one part
SIDE = 192  # pixels of a picture as EfficientNet sees it: features of 6 by 6 places
PLACES = 4  # after means over 3 by 3 of them: the tokens of a picture
PAIR_EPOCHS, PAIR_BATCH, PAIR_DIM = 40, 128, 128
EPOCHS, PATIENCE, BATCH = 25, 3, 64
SHAPE = {"num_layers": 2, "num_heads": 4, "embedding_dim": 64, "dropout": 0.1}
PATCHES = PatchEncoderSettings(64, 16, 3, 64, 2, 4, dropout=0.1)
QUESTIONS = {"name": "name:", "colour": "colour:", "animal": "animal:"}
LARGE_STEPS, LARGE_BATCH, LARGE_RATE = 60, 16, 1e-3
# OpenMoji draws with few colours; those that have a name.
COLOURS = {
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
NO_ANIMALS = re.compile(
    "hot dog|computer mouse|mouse trap|fish cake|fried|mahjong|racing|carousel|web|nose|teddy|streamer|game"
)


class Table(RunTable):
    """Rows on disk, and a folder for arrays that are made once."""

    def __init__(self, path, minutes):
        super().__init__(path, COLUMNS)
        self.folder = self.path.with_suffix("")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.end = time.monotonic() + 60 * minutes

    def has(self, **wanted):
        """Whether such a row is there; True also when the time is over, so that nothing more is begun."""
        return super().has(**wanted) or time.monotonic() > self.end

    def add(self, values, **key):
        """Rows of one run, written together: (asked, measure) -> (value, texts)."""
        self.write(
            {**key, "asked": asked, "measure": measure, "value": round(float(value), 4), "texts": texts}
            for (asked, measure), (value, texts) in values.items()
        )
        print(key, flush=True)
        for (asked, measure), (value, _) in values.items():
            print(f"    {asked:8s} {measure:24s} {value:.4f}", flush=True)

    def kept(self, name, make):
        path = self.folder / f"{name}.npy"
        if not path.exists():
            started = time.process_time()
            np.save(path, make())
            print(f"{name}: {time.process_time() - started:.0f} s", flush=True)
        return np.load(path)


# Pictures -------------------------------------------------------------------------------------------


@cache
def signs():
    """The emoji that are one sign, no flags, and pictures that are nearly the same in one part."""
    frame = load("openmoji")
    # Joined signs and skin tones are variants of others; what a flag is called cannot be seen.
    frame = frame[
        ~frame["emoji"].str.contains("[\u200d\U0001f3fb-\U0001f3ff\U0001f1e6-\U0001f1ff\U000e0020-\U000e007f]")
    ]
    frame = frame.reset_index(drop=True)
    pictures = np.stack(frame["picture"])
    _, group = connected_components(near_twins(pictures))
    before = frame["split"].to_numpy()
    # A group stands where most of its signs stood; if two parts have as many, in training.
    counts = {part: np.bincount(group, before == part) for part in ("train", "test", "validation")}
    part = np.array(list(counts))[np.argmax(list(counts.values()), axis=0)][group]
    frame = frame.assign(split=part, group=group)
    print(f"{len(frame)} signs in {group.max() + 1} groups, the largest of {np.bincount(group).max()};"
          f" {np.sum(part != before)} moved; {dict(frame['split'].value_counts())}", flush=True)  # fmt: skip
    return frame, pictures


def near_twins(pictures):
    """Which pictures are nearly the same, in colour or without: bool (pictures, pictures)."""
    small = pictures.reshape(len(pictures), 16, 4, 16, 4, 3).mean(axis=(2, 4)) / 255
    near = np.zeros((len(pictures), len(pictures)), bool)
    for x in (small.reshape(len(pictures), -1), small.mean(axis=-1).reshape(len(pictures), -1)):
        squares = (x**2).sum(axis=1)
        near |= squares[:, None] + squares - 2 * x @ x.T < TWINS**2 * x.shape[1]
    return near


def colour_of(picture):
    """The colour that most coloured pixels have, if more than half of them have it."""
    code = picture.astype("int32") @ [65536, 256, 1]
    counts = {name: np.isin(code, [int(one, 16) for one in codes.split()]).sum() for name, codes in COLOURS.items()}
    best = max(counts, key=counts.get)
    return best if counts[best] > max(100, sum(counts.values()) / 2) else None


def is_animal(name):
    return not NO_ANIMALS.search(name) and any(word in ANIMALS for word in name.lower().split())


@cache
def items():
    """Every question: the number of the picture, its part, what is asked, the answer."""
    frame, pictures = signs()
    rows = [
        (i, part, "name", name) for i, (part, name) in enumerate(zip(frame["split"], frame["english"], strict=True))
    ]
    colours = [colour_of(picture) for picture in pictures]
    rows += [(i, frame["split"][i], "colour", colour) for i, colour in enumerate(colours) if colour]
    animal = frame["english"].map(is_animal).to_numpy()
    rng = np.random.default_rng(0)
    for part in ("train", "validation", "test"):  # as many others as animals: who always says no is right in half
        own = (frame["split"] == part).to_numpy()
        yes = np.flatnonzero(own & animal)
        rows += [(i, part, "animal", "yes") for i in yes]
        rows += [(i, part, "animal", "no") for i in rng.choice(np.flatnonzero(own & ~animal), len(yes), replace=False)]
    return rows


def of(part, asked=None):
    return [row for row in items() if row[1] == part and asked in (None, row[2])]


def features(table):
    """EfficientNet-Lite0's, float32 (pictures + 1, PLACES, 1280); the last picture is blank."""

    def make():
        network, images = weights.pretrained("efficientnet-lite0")
        pictures = np.concatenate([signs()[1], np.full((1, 64, 64, 3), 255, "uint8")])
        return pooled(looked_at(network, ImageInput(SIDE, 0, images.mean, images.scale), pictures))

    return table.kept("lite0", make)


def looked_at(network, images, pictures, batch=64):
    found = []
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, network(inputs, return_features=True))
    for start in range(0, len(pictures), batch):
        some = pictures[start : start + batch]
        filled = np.concatenate([some, np.repeat(some[-1:], batch - len(some), axis=0)])  # one shape to compile
        found.append(model.predict_on_batch(images(filled))[: len(some)])
    return np.concatenate(found)


def scaled(pictures):
    return (np.asarray(pictures, "float32") - 127) / 128


# Pairs ----------------------------------------------------------------------------------------------


def pairs(table, seeds):
    frame, pictures = signs()
    names = table.kept("names", lambda: weights.sentence_encoder("minilm").embed(frame["english"].tolist()))
    lite0, raw = features(table)[:-1].mean(axis=1), scaled(pictures)
    train, test = (np.flatnonzero(frame["split"] == part) for part in ("train", "test"))
    if not table.has(part="pairs", model="nearest picture"):
        near = unit(lite0[test]) @ unit(lite0[train]).T
        borrowed = names[train[near.argmax(axis=1)]]  # the name of the training picture that looks most alike
        table.add(found(unit(borrowed) @ unit(names[test]).T), part="pairs", model="nearest picture", seed=-1)
        table.add(found(np.zeros((len(test), len(test)))), part="pairs", model="no idea", seed=-1)
    for seed in seeds:
        for model in ("lite0", "lite0, shuffled", "patches"):
            if table.has(part="pairs", model=model, seed=seed):
                continue
            started = time.process_time()
            keras.utils.set_random_seed(seed)
            data = lite0 if model.startswith("lite0") else raw
            encoder = None if model.startswith("lite0") else PatchEncoder(PATCHES)
            pair = ContrastivePair(1280 if encoder is None else 64, 384, PAIR_DIM, encoder)
            steps = PAIR_EPOCHS * -(-len(train) // PAIR_BATCH)
            rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=2e-3, warmup_steps=steps // 10)
            pair.compile(keras.optimizers.AdamW(rate, weight_decay=0.05), jit_compile=False)
            order = np.random.default_rng(seed).permutation(train) if "shuffled" in model else train
            pair.fit(
                {"pictures": data[train], "texts": names[order]}, batch_size=PAIR_BATCH, epochs=PAIR_EPOCHS, verbose=0
            )
            left = ops.convert_to_numpy(pair.picture_vectors(data[test]))
            scores = left @ ops.convert_to_numpy(pair.text_vectors(names[test])).T
            if encoder is not None:
                encoder.save_weights(table.folder / f"patches-{seed}.weights.h5")
            seconds = round(time.process_time() - started)
            table.add(found(scores), part="pairs", model=model, seed=seed, seconds=seconds)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def found(scores):
    """How well pictures (rows) and names (columns) find each other, both ways."""
    rows = {}
    for way, table in (("picture finds name", scores), ("name finds picture", scores.T)):
        places = ranks(table, np.arange(len(table)))
        rows |= {(way, f"recall at {k}"): (hit_rate(places, k), len(table)) for k in (1, 5)}
        rows[way, "MRR"] = mean_reciprocal_rank(places), len(table)
    return rows


# Asked ----------------------------------------------------------------------------------------------


@cache
def tokenizer():
    texts = [*QUESTIONS.values(), *COLOURS, "yes", "no", *(row[3] for row in of("train", "name"))]
    return text.train_bpe(texts, 1_000, eos=True, extra=["<picture>"])


def sequence(tokens, picture_id, asked, answer, places=PLACES):
    """Ids of the picture's places and the question, and of the answer with its end."""
    prompt = [picture_id] * places + tokens.encode(QUESTIONS[asked])
    return prompt, [*tokens.encode(f" {answer}"), tokens.stop_ids[0] if tokens.eos_id is None else tokens.eos_id]


def arrays(tokens, picture_id, rows, length, places=PLACES):
    """Inputs, targets and which targets count: (texts, length)."""
    ids, targets, weights_ = (np.zeros((len(rows), length), kind) for kind in ("int32", "int32", "float32"))
    for i, (_, _, asked, answer) in enumerate(rows):
        prompt, reply = sequence(tokens, picture_id, asked, answer, places)
        whole = prompt + reply
        ids[i, : len(whole) - 1], targets[i, : len(whole) - 1] = whole[:-1], whole[1:]
        weights_[i, len(prompt) - 1 : len(whole) - 1] = 1
    return ids, targets, weights_


def answers_shuffled(rows, seed):
    """The answers of each question change places among the pictures."""
    rng, result = np.random.default_rng(seed), []
    for asked in QUESTIONS:
        own = [row for row in rows if row[2] == asked]
        result += [(*row[:3], own[other][3]) for row, other in zip(own, rng.permutation(len(own)), strict=True)]
    return result


def judge(model, tokens, picture_id, rows, pictures, length, places=PLACES, new=12):
    """Bits of the right names, right answers, and words of written names, for some pictures (texts, ...)."""
    ids, targets, counts = arrays(tokens, picture_id, rows, length, places)
    logits = model.predict({"ids": ids, "pictures": pictures}, batch_size=64, verbose=0)
    lost = ops.convert_to_numpy(ops.sparse_categorical_crossentropy(targets, logits, from_logits=True))
    bits, asked = (lost * counts).sum(axis=1) / np.log(2), np.array([row[2] for row in rows])
    looking = model.looking_at(pictures)
    prompts = [sequence(tokens, picture_id, row[2], "", places)[0] for row in rows]
    stop = [tokens.eos_id] if tokens.eos_id is not None else list(tokens.stop_ids)
    written = generate(looking, prompts, new, stop_tokens=stop)
    said = [tokens.decode(one[len(prompt) :]).strip() for one, prompt in zip(written, prompts, strict=True)]
    rows_ = {}
    for kind in QUESTIONS:
        own = np.flatnonzero(asked == kind)
        right = np.mean([said[i] == rows[i][3] for i in own])
        rows_[kind, "bits"], rows_[kind, "right"] = (bits[own].mean(), len(own)), (right, len(own))
    own = np.flatnonzero(asked == "name")
    rows_["name", "words"] = np.mean([word_f1(said[i], rows[i][3]) for i in own]), len(own)
    return rows_, said


def word_f1(said, right):
    """F1 of the words of a written name, as sets."""
    said, right = set(said.lower().split()), set(right.lower().split())
    return 2 * len(said & right) / max(1, len(said) + len(right))


def asked(table, seeds):
    tokens = tokenizer()
    picture_id = tokens.id_of("<picture>")
    lite0 = features(table)
    raw = scaled(np.concatenate([signs()[1], np.full((1, 64, 64, 3), 255, "uint8")]))
    blank = len(raw) - 1
    length = max(len(p) + len(r) for row in items() for p, r in [sequence(tokens, picture_id, *row[2:])]) - 1
    frequent(table)
    for seed in seeds:
        for model in ("lite0", "answers shuffled", "text alone", "patches"):
            if table.has(part="asked", model=model, seed=seed):
                continue
            started = time.process_time()
            keras.utils.set_random_seed(seed)
            given, places = (raw, PATCHED) if model == "patches" else (lite0, PLACES)
            network = small(tokens.vocabulary_size, picture_id, model == "patches")
            rows = {part: of(part) for part in ("train", "validation", "test")}
            if model == "answers shuffled":
                rows["train"] = answers_shuffled(rows["train"], seed)
            numbers = {part: np.array([blank if model == "text alone" else row[0] for row in some])
                       for part, some in rows.items()}  # fmt: skip
            long = length + places - PLACES
            data = {part: arrays(tokens, picture_id, rows[part], long, places) for part in rows}
            epochs = learn(network, data, {part: given[numbers[part]] for part in ("train", "validation")})
            result, said = judge(network, tokens, picture_id, rows["test"], given[numbers["test"]], long, places)
            result["all", "epochs"] = epochs, len(rows["train"])
            seconds = round(time.process_time() - started)
            table.add(result, part="asked", model=model, seed=seed, seconds=seconds)
            if seed == 0:
                for row, one in list(zip(rows["test"], said, strict=True))[:12]:
                    print("   ", row[2:], "->", one)
            if model == "lite0":  # the same model before other pictures
                others = {"blank at the test": np.full(len(rows["test"]), blank),
                          "others' pictures": exchanged(rows["test"], seed)}  # fmt: skip
                for name, which in others.items():
                    result, _ = judge(network, tokens, picture_id, rows["test"], given[which], long, places)
                    table.add(result, part="asked", model=name, seed=seed)


PATCHED = 16  # places of the patch encoder


def exchanged(rows, seed):
    """For each question the picture of another one of the same kind."""
    rng, which = np.random.default_rng(seed), np.zeros(len(rows), int)
    for kind in QUESTIONS:
        own = np.array([i for i, row in enumerate(rows) if row[2] == kind])
        order = rng.permutation(own)
        which[order] = [rows[i][0] for i in np.roll(order, 1)]
    return which


def pooled(features):
    """Means over the four quarters: (pictures, 4, dim) of (pictures, height, width, dim)."""
    n, height, width, dim = features.shape
    return features.reshape(n, 2, height // 2, 2, width // 2, dim).mean(axis=(2, 4)).reshape(n, 4, dim)


def small(vocabulary_size, picture_id, patches):
    decoder = GPT(gpt_settings(vocabulary_size, 128, **SHAPE))
    if patches:
        return VisionLanguage(decoder, picture_id, PATCHES.embedding_dim, PatchEncoder(PATCHES))
    return VisionLanguage(decoder, picture_id, 1280)


def learn(network, data, pictures, rate=1e-3):
    """Trains until the validation questions get no better; the weights of the best pass. Returns how many passes."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.AdamW(rate, weight_decay=0.1), loss, weighted_metrics=[], jit_compile=False)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=PATIENCE, restore_best_weights=True)
    inputs = {part: {"ids": data[part][0], "pictures": pictures[part]} for part in pictures}
    history = network.fit(
        inputs["train"], data["train"][1], BATCH, EPOCHS, verbose=0, sample_weight=data["train"][2], callbacks=[stop],
        validation_data=(inputs["validation"], *data["validation"][1:]), validation_batch_size=128,
    )  # fmt: skip
    print("    validation", np.round(history.history["val_loss"], 3).tolist(), flush=True)
    return len(history.history["loss"])


def frequent(table):
    """The most frequent answer of the training questions, for every picture."""
    if table.has(part="asked", model="most frequent"):
        return
    result = {}
    for kind in QUESTIONS:
        answers, counts = np.unique([row[3] for row in of("train", kind)], return_counts=True)
        right = [row[3] == answers[counts.argmax()] for row in of("test", kind)]
        result[kind, "right"] = np.mean(right), len(right)
    table.add(result, part="asked", model="most frequent", seed=-1)


# Digits ---------------------------------------------------------------------------------------------


def digits(table, seeds):
    if table.has(part="digits"):
        return
    frame = load("digits")
    pixels = frame.filter(like="pixel").to_numpy("float32")
    labels, split = frame["label"].astype(str).to_numpy(), frame["split"].to_numpy()
    grey = (255 - pixels.reshape(-1, 8, 8) / 16 * 255).astype("uint8").repeat(8, axis=1).repeat(8, axis=2)
    pictures = np.repeat(grey[..., None], 3, axis=-1)
    images = ImageInput(64, 0, 127.0, 128.0)

    def lite0(trained):
        network = weights.pretrained("efficientnet-lite0")[0] if trained else EfficientNet()
        return looked_at(network, images, pictures).mean(axis=(1, 2))

    keras.utils.set_random_seed(0)
    given = {"pixels": pixels, "lite0": table.kept("digits-lite0", lambda: lite0(True)),
             "lite0, random weights": table.kept("digits-random", lambda: lite0(False))}  # fmt: skip
    for name in ("patches of emoji", "patches, random weights"):
        encoder = PatchEncoder(PATCHES)
        path = table.folder / "patches-0.weights.h5"
        if name == "patches of emoji":
            encoder.load_weights(path)
        given[name] = encoder.predict(scaled(pictures), 128, verbose=0).mean(axis=1)
    for name, x in given.items():
        x = (x - x[split == "train"].mean(axis=0)) / (x[split == "train"].std(axis=0) + 1e-6)
        tried = [LogisticRegression(C=C, max_iter=200).fit(x[split == "train"], labels[split == "train"])
                 for C in (0.001, 0.01)]  # fmt: skip
        best = max(tried, key=lambda one: one.score(x[split == "validation"], labels[split == "validation"]))
        right = best.score(x[split == "test"], labels[split == "test"])
        table.add({("digit", "right"): (right, int((split == "test").sum()))}, part="digits", model=name, seed=0)


# Large ----------------------------------------------------------------------------------------------


def large(table, seeds):
    """SmolLM2, frozen: the projection alone learns, in a number of steps that fits minutes."""
    arms = [name for name in ("smollm2", "smollm2, answers shuffled") if not table.has(part="large", model=name)]
    if not arms:
        return
    decoder, tokens = weights.pretrained("smollm2-135m-instruct")
    picture_id = tokens.id_of("<file_sep>")
    lite0 = features(table)
    blank = len(lite0) - 1
    rows = {part: of(part) for part in ("train", "test")}
    rng = np.random.default_rng(0)
    rows["test"] = [row for kind in QUESTIONS for row in shuffled(of("test", kind), rng)[:64]]
    length = max(len(p) + len(r) for row in items() for p, r in [sequence(tokens, picture_id, *row[2:])]) - 1
    decoder.trainable = False
    network = VisionLanguage(decoder, picture_id, 1280)
    start = [ops.convert_to_numpy(one) for one in network.trainable_variables]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = keras.optimizers.schedules.CosineDecay(0.0, LARGE_STEPS, warmup_target=LARGE_RATE, warmup_steps=5)
    network.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    network.optimizer.build(network.trainable_variables)
    state = [ops.convert_to_numpy(one) for one in network.optimizer.variables]

    def judged(which):
        numbers = np.array([row[0] for row in rows["test"]]) if which is None else which
        ids, targets, counts = arrays(tokens, picture_id, rows["test"], length)
        bits = []
        for at in range(0, len(ids), 32):
            logits = network.predict_on_batch({"ids": ids[at : at + 32], "pictures": lite0[numbers[at : at + 32]]})
            lost = ops.sparse_categorical_crossentropy(targets[at : at + 32], logits, from_logits=True)
            bits.append((ops.convert_to_numpy(lost) * counts[at : at + 32]).sum(axis=1) / np.log(2))
        bits, kinds = np.concatenate(bits), np.array([row[2] for row in rows["test"]])
        return {(kind, "bits"): (bits[kinds == kind].mean(), int((kinds == kind).sum())) for kind in QUESTIONS}

    if not table.has(part="large", model="smollm2, untrained"):
        table.add(judged(None), part="large", model="smollm2, untrained", seed=0)
    for model in arms:
        if table.has(part="large", model=model):
            return
        started = time.process_time()
        for variables, values in ((network.trainable_variables, start), (network.optimizer.variables, state)):
            for one, value in zip(variables, values, strict=True):
                one.assign(value)
        some = answers_shuffled(rows["train"], 0) if "shuffled" in model else rows["train"]
        ids, targets, counts = arrays(tokens, picture_id, some, length)
        numbers, rng = np.array([row[0] for row in some]), np.random.default_rng(0)
        for step in range(LARGE_STEPS):
            batch = rng.choice(len(some), LARGE_BATCH, replace=False)
            batch_inputs = {"ids": ids[batch], "pictures": lite0[numbers[batch]]}
            value = network.train_on_batch(batch_inputs, targets[batch], sample_weight=counts[batch])
            if step % 10 == 0:
                print(
                    f"    step {step}: {float(np.ravel(value)[0]):.3f}, {time.process_time() - started:.0f} s",
                    flush=True,
                )
        table.add(judged(None), part="large", model=model, seed=0, seconds=round(time.process_time() - started))
        if "shuffled" not in model:
            table.add(
                judged(np.full(len(rows["test"]), blank)), part="large", model="smollm2, blank at the test", seed=0
            )
            show = [row for kind in QUESTIONS for row in rows["test"] if row[2] == kind][:: len(rows["test"]) // 12]
            prompts = [sequence(tokens, picture_id, row[2], "")[0] for row in show]
            looking = network.looking_at(lite0[[row[0] for row in show]])
            for row, prompt, ids_ in zip(
                show, prompts, generate(looking, prompts, 8, stop_tokens=tokens.stop_ids), strict=True
            ):
                print("   ", row[2:], "->", tokens.decode(ids_[len(prompt) :]))


def shuffled(rows, rng):
    return [rows[i] for i in rng.permutation(len(rows))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["pairs", "asked", "digits"], help=f"of {', '.join(PARTS)}")
    parser.add_argument("--out", default="build/vision-language.csv")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--minutes", type=float, default=60, help="no run is begun after so many")
    parser.add_argument("--ship", action="store_true", help="compute nothing, copy the table into datasets/")
    given = parser.parse_args()
    if given.ship:
        ship(given.out, "vision-language", "numbers")
    else:
        table = Table(given.out, given.minutes)
        for seed in given.seeds:
            for part in given.parts:
                {"pairs": pairs, "asked": asked, "digits": digits, "large": large}[part](table, [seed])
