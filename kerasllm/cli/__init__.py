"""The command line.

    python -m kerasllm data                                  # the data sets there are
    python -m kerasllm train king-james --out runs/bible     # train a GPT on one, or on any text file
    python -m kerasllm generate runs/bible --prompt "In the beginning"

Each command has ``--help``. What goes wrong is one line on stderr that names the fix, and exit code 2.
"""

import argparse
import contextlib
import csv
import difflib
import hashlib
import json
import math
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

# Libraries are imported inside the commands: --help is there at once.

# What `train` does when an option is left out. None: it follows from the configuration, the recipe or the tokenizer.
TRAIN = {
    "config": "nano-modern",
    "layers": None,
    "heads": None,
    "width": None,
    "context": None,
    "dropout": 0.0,
    "tokenizer": "characters",
    "vocabulary": None,
    "steps": 2000,
    "batch": 12,
    "recipe": "modern",
    "learning_rate": None,
    "accumulate": 1,
    "mixed_precision": None,
    "evaluate_every": None,
    "checkpoint_every": None,
    "seed": 0,
    "dtype": "float32",
}
SIZES = {"layers": "num_layers", "heads": "num_heads", "width": "embedding_dim", "context": "context_length"}
COLUMNS = ("step", "loss", "val_loss", "bits_per_character", "seconds", "tokens_per_second")
MODEL, SETTINGS, LOG, STATE = "model.safetensors", "settings.json", "log.csv", "state.npz"
VALIDATION_TOKENS = 500_000  # a longer validation text is evaluated up to here
PIECE = 1 << 20  # characters that are encoded at once


class UserError(Exception):
    """Something the user can mend; the message is one line and says how."""


def main(arguments=None):
    """Run one command.

    Args:
        arguments: what stands behind ``python -m kerasllm``; those of this process when None.

    Returns:
        The exit code: 0, or 2 after a `UserError`, or 130 after Ctrl-C.
    """
    options = parser().parse_args(arguments)
    try:
        options.command(options)
    except UserError as problem:
        print(f"kerasllm: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nkerasllm: stopped. {options.stopped(options)}".rstrip(), file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


# Arguments ------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"kerasllm: {message}. See {self.prog} --help.\n")


def parser():
    whole = Parser(prog="python -m kerasllm", description="Data, training and generation of kerasllm.")
    commands = whole.add_subparsers(required=True, metavar="data | train | generate")

    data = commands.add_parser("data", help="list the data sets, or show the card of one and load it")
    data.add_argument("name", nargs="?", help="a data set; all are listed when left out")
    data.set_defaults(command=show_data, stopped=lambda options: "")

    train = commands.add_parser(
        "train",
        help="train a GPT on a text file or a data set",
        description="Train a GPT. The folder gets tokenizer.json, settings.json, log.csv, model.safetensors (the "
        "weights with the best validation loss so far) and state.npz (from which --resume goes on). Of a file the "
        "first 90% of the characters are for training and the rest for validation; a data set has its own splits.",
    )
    train.add_argument("corpus", nargs="?", help="a text file (UTF-8), or a data set with texts, such as king-james")
    train.add_argument("--out", required=True, metavar="DIR", type=Path, help="the folder of this run")
    train.add_argument("--resume", action="store_true", help="go on with the run of this folder")
    option = train.add_argument_group("model").add_argument
    option("--config", metavar="NAME", help="nano, nano-modern, gpt2, ... (nano-modern)")
    for name, what in (("layers", "blocks"), ("heads", "heads of attention"), ("width", "size of an embedding")):
        option(f"--{name}", metavar="N", type=whole_number, help=f"{what}, in place of the configuration's")
    option("--context", metavar="N", type=whole_number, help="tokens in a window, in place of the configuration's")
    option("--dropout", metavar="SHARE", type=share, help="helps against overfitting of small texts (0)")
    option("--tokenizer", metavar="KIND", help="characters, bpe, or the path of a tokenizer.json (characters)")
    option("--vocabulary", metavar="N", type=whole_number, help="most tokens (all characters; 4096 for bpe)")
    option = train.add_argument_group("training").add_argument
    option("--steps", metavar="N", type=whole_number, help="updates of the weights (2000)")
    option("--batch", metavar="N", type=whole_number, help="windows in a batch (12)")
    option("--accumulate", metavar="N", type=whole_number, help="batches that make one update (1)")
    option("--recipe", choices=("modern", "classic"), help="Muon, or AdamW as GPT-2's followers have it (modern)")
    option("--learning-rate", metavar="RATE", type=positive, help="the highest one (the recipe's)")
    option("--mixed-precision", choices=("bfloat16", "float16"), help="compute in half precision, for GPUs (off)")
    option("--evaluate-every", metavar="N", type=whole_number, help="updates between evaluations (250)")
    option("--checkpoint-every", metavar="N", type=whole_number, help="updates between states (--evaluate-every)")
    option("--seed", metavar="N", type=natural, help="the same seed gives the same run (0)")
    option("--dtype", choices=("float32", "float16", "bfloat16"), help="numbers of model.safetensors (float32)")
    train.set_defaults(command=train_model, stopped=how_to_go_on)

    generate = commands.add_parser("generate", help="write text with a model that train made")
    generate.add_argument("folder", metavar="DIR", type=Path, help="the folder that train --out wrote")
    option = generate.add_argument
    option("--prompt", default="\n", help="the text to continue (a line end)")
    option("--tokens", metavar="N", type=natural, default=200, help="how many tokens to write (200)")
    option("--temperature", metavar="T", type=natural_or_more, default=0.8, help="0 is greedy (0.8)")
    option("--top-k", metavar="N", type=whole_number, help="only the N most probable tokens (all)")
    option("--top-p", metavar="SHARE", type=positive, default=1.0, help="only the most probable that reach it (1)")
    option("--min-p", metavar="SHARE", type=share, default=0.0, help="only this share of the largest or more (0)")
    option("--seed", metavar="N", type=natural, help="the same seed writes the same text (another each time)")
    generate.set_defaults(command=write_text, stopped=lambda options: "")
    return whole


def _number(kind, fits, what):
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return read


whole_number = _number(int, lambda value: value >= 1, "a whole number from 1 up")
natural = _number(int, lambda value: value >= 0, "a whole number from 0 up")
positive = _number(float, lambda value: 0 < value < math.inf, "a number above 0")
natural_or_more = _number(float, lambda value: 0 <= value < math.inf, "a number from 0 up")
share = _number(float, lambda value: 0 <= value < 1, "a share from 0 to below 1")


# data -----------------------------------------------------------------------------------------


def show_data(options):
    """List the catalogue, or show the card of one set and load it."""
    from kerasllm import data

    if options.name is None:
        table = data.catalog()
        rows = [("name", "task", "language", "rows", "MB", "licence")]
        for one in table.itertuples():
            rows.append((one.name, one.task, one.language, f"{one.rows:,}", f"{one.download_mb:.0f}", one.licence))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [
                cell.rjust(w) if i in (3, 4) else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            print("  ".join(cells).rstrip())
        print(f"\nMB: what the first load fetches, once, into {data.cache_folder()}.")
        print("The card of a set: python -m kerasllm data NAME")
        return
    with told(data.DataError):
        print(data.card(options.name))
        frame = data.load(options.name)
    parts = frame["split"].value_counts(sort=False) if "split" in frame else {}
    sizes = ", ".join(f"{name} {count:,}" for name, count in sorted(parts.items(), key=lambda part: -part[1]))
    columns = ", ".join(map(str, frame.columns)) if len(frame.columns) < 10 else len(frame.columns)
    print(f"Loaded: {len(frame):,} rows{f' ({sizes})' if sizes else ''}, columns: {columns}.")
    print(f"In Python: kerasllm.data.load({options.name!r})")


@contextlib.contextmanager
def told(*kinds, about=""):
    """Errors of these kinds become a `UserError` of one line."""
    try:
        yield
    except kinds as error:
        raise UserError(about + " ".join(str(error).split())) from error


# train ----------------------------------------------------------------------------------------


def how_to_go_on(options):
    if not (options.out / SETTINGS).exists():
        return ""
    return f"To go on: python -m kerasllm train --out {options.out} --resume"


def train_model(options):
    """Train a GPT, from the beginning or from the last state."""
    folder = options.out
    stored = read_stored(folder) if options.resume else None
    settings = settle(options, stored)
    texts = read_corpus(settings["corpus"])
    if not all(texts):
        raise UserError(f"{settings['corpus']} holds {sum(map(len, texts))} characters: take a longer text")
    fingerprint = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    if stored and stored["corpus_fingerprint"] != fingerprint:
        raise UserError(
            f"the text of {settings['corpus']} is not the one {folder} was started with: start anew in another --out"
        )
    tokenizer = stored_tokenizer(folder, stored) if stored else make_tokenizer(settings, texts[0])
    model, ids = make_model(settings, tokenizer, texts)
    if not stored:
        with told(OSError, about="--out: "):
            folder.mkdir(parents=True, exist_ok=True)
            tokenizer.save(folder)
            facts = {
                "settings": settings,
                "corpus_fingerprint": fingerprint,
                "characters": dict(zip(("train", "validation"), map(len, texts), strict=True)),
                "tokenizer_fingerprint": tokenizer.fingerprint,
                "vocabulary": tokenizer.vocabulary_size,
                "parameters": model.count_params(),
            }
            write(
                folder / SETTINGS, json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
            )  # last: now it can be resumed
    run(folder, settings, model, tokenizer, texts, ids)


def read_stored(folder):
    """What settings.json of a started run holds."""
    if not (folder / SETTINGS).exists():
        raise UserError(f"there is no run in {folder} to resume: leave --resume out to start one")
    with told(
        ValueError, KeyError, TypeError, about=f"{folder / SETTINGS} cannot be read, start anew in another --out: "
    ):
        stored = json.loads((folder / SETTINGS).read_text("utf-8"))
        return {name: stored[name] for name in ("settings", "corpus_fingerprint", "tokenizer_fingerprint")}


def settle(options, stored):
    """The settings of a run: what was given, what was stored, or else the defaults."""
    given = {name: getattr(options, name) for name in ("corpus", *TRAIN) if getattr(options, name) is not None}
    folder = options.out
    if stored:
        settings = {**TRAIN, **stored["settings"]}
        for name, value in given.items():
            if value != settings[name]:
                flag = "the corpus" if name == "corpus" else "--" + name.replace("_", "-")
                raise UserError(
                    f"{folder} was started with {flag} {settings[name]}, not {value}: leave {flag} out to go on "
                    "with it, or start anew in another --out"
                )
        return settings
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        resume = "add --resume to go on with it, or " if (folder / SETTINGS).exists() else ""
        raise UserError(f"{folder} {'is not empty' if folder.is_dir() else 'is a file'}: {resume}choose another --out")
    if "corpus" not in given:
        raise UserError("name a text file or a data set: python -m kerasllm train king-james --out runs/bible")
    settings = {"corpus": given.pop("corpus"), **TRAIN, **given}
    checkpoint, evaluate = settings["checkpoint_every"], settings["evaluate_every"]
    checkpoint = checkpoint or evaluate or min(250, settings["steps"])
    evaluate = evaluate or -(-250 // checkpoint) * checkpoint
    if evaluate % checkpoint:
        nearest = max(1, round(evaluate / checkpoint)) * checkpoint
        raise UserError(
            f"--evaluate-every {evaluate} is no multiple of --checkpoint-every {checkpoint}: "
            f"take --evaluate-every {nearest}"
        )
    return settings | {"checkpoint_every": checkpoint, "evaluate_every": evaluate}


def read_corpus(corpus):
    """The texts for training and for validation."""
    path = Path(corpus)
    if path.is_file():
        with told(OSError):
            content = path.read_bytes()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{corpus} is not UTF-8 text (byte {error.start}): "
                "convert it, for example with iconv -f latin1 -t utf-8"
            ) from None
        text = text.replace("\r\n", "\n")
        cut = int(0.9 * len(text))
        return text[:cut], text[cut:]
    from kerasllm import data
    from kerasllm.data.catalogue import datasets

    known = datasets()
    with_texts = [name for name, one in known.items() if "train" in one.splits and one.language != "-"]
    if corpus not in known:
        beside = [str(one) for one in path.parent.iterdir() if one.is_file()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(str(path), with_texts + beside, n=1)
        hint = f"did you mean {near[0]}" if near else f"give the path of a text, or one of {', '.join(with_texts)}"
        raise UserError(f"there is no file and no data set {corpus}: {hint}")
    if corpus not in with_texts:
        raise UserError(f"the data set {corpus} holds no texts to train on: take one of {', '.join(with_texts)}")
    with told(data.DataError):
        frame = data.load(corpus)
    return tuple("".join(frame.loc[frame["split"] == split, "text"] + "\n") for split in ("train", "validation"))


def pieces(text):
    """A text in pieces of about a million characters that end with a line."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + PIECE) + 1 or len(text)
        yield text[start:end]
        start = end


def make_tokenizer(settings, text):
    from kerasllm.text import Tokenizer, train_bpe, train_characters

    kind, size = settings["tokenizer"], settings["vocabulary"]
    with told(ValueError, about="--vocabulary: "):
        if kind == "characters":
            return train_characters(pieces(text), vocabulary_size=size)
        if kind == "bpe":
            return train_bpe(pieces(text), size or 4096)
    if not Path(kind).exists():
        raise UserError(f"--tokenizer: there is no file {kind}; write characters, bpe, or the path of a tokenizer.json")
    with told(ValueError, about="--tokenizer: "):
        try:
            tokenizer = Tokenizer.load(kind)
        except ValueError:
            tokenizer = Tokenizer.load(kind, pad="<|endoftext|>")  # GPT-2's file; windows are never padded
    if size not in (None, tokenizer.vocabulary_size):
        raise UserError(f"{kind} has {tokenizer.vocabulary_size} tokens: leave --vocabulary {size} out")
    return tokenizer


def stored_tokenizer(folder, stored):
    from kerasllm.text import Tokenizer

    with told(OSError, ValueError, about="--resume: "):
        tokenizer = Tokenizer.load(folder)
    if tokenizer.fingerprint != stored["tokenizer_fingerprint"]:
        raise UserError(f"{folder / 'tokenizer.json'} was changed since the run began: start anew in another --out")
    return tokenizer


def make_model(settings, tokenizer, texts):
    """The GPT with random weights, and the ids of the two texts."""
    ids = [tokenizer.encode_flat(pieces(text))[0] for text in texts]
    with quiet():
        import keras

        from kerasllm.batches.pipeline import tensorflow
        from kerasllm.models import gpt

        tensorflow()
        keras.utils.set_random_seed(settings["seed"])
        changes = {argument: settings[name] for name, argument in SIZES.items() if settings[name] is not None}
        if settings["mixed_precision"]:
            changes["dtype"] = f"mixed_{settings['mixed_precision']}"
        sizes = {"vocabulary_size": tokenizer.vocabulary_size, "dropout": settings["dropout"], **changes}
        try:
            model = gpt(settings["config"], **sizes)
        except ValueError as error:
            message = str(error)
            for name, argument in SIZES.items():
                message = message.replace(argument, f"--{name}")
            heads = ". head_dim is --width divided by --heads" if "head" in message else ""
            raise UserError(" ".join(message.split()).rstrip(".") + heads) from error
    for name, part in zip(("training", "validation"), ids, strict=True):
        if len(part) <= model.context_length:
            shorter = f"take --context {len(part) - 1}, or " if len(part) > 1 else ""
            raise UserError(
                f"the {name} text has {len(part)} tokens, too few for a window of {model.context_length} and the token "
                f"behind it: {shorter}take a longer text"
            )
    return model, ids


def optimizer(settings):
    """The recipe's optimizer. Keras counts each batch as a step of the schedule."""
    from kerasllm import training

    accumulate = settings["accumulate"]
    rate = {"learning_rate": settings["learning_rate"]} if settings["learning_rate"] else {}
    recipe = getattr(training, settings["recipe"])
    return recipe(settings["steps"] * accumulate, accumulate=accumulate if accumulate > 1 else None, **rate)


def run(folder, settings, model, tokenizer, texts, ids):
    """The steps of a run that are left."""
    import keras

    from kerasllm.batches import windows
    from kerasllm.training import Resume

    steps, epoch, context = settings["steps"], settings["checkpoint_every"], model.context_length
    with told(ValueError):
        resume = Resume(folder / STATE)
        chosen = optimizer(settings)
    done = min(resume.epoch * epoch, steps)
    if resume.epoch and done == steps:
        print(f"{folder}: all {steps} steps are done. Write with it: python -m kerasllm generate {folder}")
        return
    batches = epoch * settings["accumulate"]
    at_once = max(n for n in range(1, 11) if batches % n == 0) if model.count_params() < 1e7 else 1
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(chosen, loss, steps_per_execution=at_once)
    train = windows(
        ids[0],
        context=context,
        batch_size=settings["batch"],
        seed=settings["seed"],
        start_step=done * settings["accumulate"],
        steps=(steps - done) * settings["accumulate"],
    )
    rows = max(settings["batch"], 4096 // context)  # windows that are evaluated at once
    validation = windows(ids[1][:VALIDATION_TOKENS], context=context, batch_size=rows, shuffle=False)
    characters = len(texts[1]) / len(ids[1])  # in a token
    print(
        f"{settings['config']}: {model.count_params():,} parameters, {tokenizer.vocabulary_size} tokens, "
        f"{len(ids[0]):,} to train on, {len(ids[1]):,} for validation"
        + (f" (the first {VALIDATION_TOKENS:,} are used)" if len(ids[1]) > VALIDATION_TOKENS else "")
    )
    if tokenizer.unknown_id is not None and (unknown := (ids[1] == tokenizer.unknown_id).mean()):
        print(f"{unknown:.1%} of the validation tokens are <unk>: bits per character are too low by what they hide")
    if done:
        print(f"going on after step {done} of {steps}")
    report = Report(folder, settings, model, validation, characters, resume)
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=report.batch, on_epoch_end=report.epoch)
    with report, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your input ran out of data")  # the last epoch may be shorter
        model.fit(
            train,
            epochs=-(-steps // epoch),
            initial_epoch=resume.epoch,
            steps_per_epoch=batches,
            shuffle=False,
            verbose=0,
            callbacks=[callback, resume],  # in this order: a step that the state knows of stands in the log
        )
    best = report.best
    print(f"best: {best['bits_per_character']} bits per character after step {best['step']}, in {folder / MODEL}")
    print(f'Write with it: python -m kerasllm generate {folder} --prompt "..."')


class Report:
    """What a run shows and writes while it goes on: a bar, log.csv, and the best model."""

    def __init__(self, folder, settings, model, validation, characters, resume):
        self.folder, self.settings, self.model, self.resume = folder, settings, model, resume
        self.validation, self.characters = validation, characters
        self.tokens = settings["batch"] * settings["accumulate"] * model.context_length  # in a step
        self.done = resume.epoch * settings["checkpoint_every"]
        self.rows = self._rows_before()
        self.best = min(self.rows, key=lambda row: float(row["val_loss"]), default=None)
        self.seconds = float(self.rows[-1]["seconds"]) if self.rows else 0.0
        self.bar = None

    def _rows_before(self):
        """Rows of the log up to the state from which the run goes on."""
        path, rows = self.folder / LOG, []
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                rows = [
                    row for row in csv.DictReader(file) if None not in row.values() and int(row["step"]) <= self.done
                ]
        lines = [",".join(COLUMNS), *(",".join(row[name] for name in COLUMNS) for row in rows)]
        write(path, "\n".join(lines) + "\n")
        return rows

    def __enter__(self):
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
                BarColumn(bar_width=10),
                TextColumn("{task.fields[note]}"),
            )
            self.bar = Progress(*columns, TimeRemainingColumn(compact=True), console=Console(), transient=True)
            self.task = self.bar.add_task("", total=self.settings["steps"], completed=self.done, note="compiling")
            self.bar.start()
        self.started = self.measured = time.perf_counter()
        self.counted = None  # steps since `measured`; the first call, which compiles, does not count
        return self

    def __exit__(self, *error):
        if self.bar:
            self.bar.stop()

    def batch(self, batch, logs):
        now = time.perf_counter()
        step = min(self.settings["steps"], self._epoch_start() + (batch + 1) // self.settings["accumulate"])
        if self.counted is None:
            self.counted, self.measured = step, now
        if self.bar and now > self.measured:
            rate = (step - self.counted) * self.tokens / (now - self.measured)
            bits = f"  {self.rows[-1]['bits_per_character']} bits/char" if self.rows else ""
            self.bar.update(self.task, completed=step, note=f"loss {logs['loss']:.3f}{bits}  {rate:,.0f} tokens/s")

    def _epoch_start(self):
        return self.resume.epoch * self.settings["checkpoint_every"]

    def epoch(self, epoch, logs):
        steps, every = self.settings["steps"], self.settings["evaluate_every"]
        step = min(steps, (epoch + 1) * self.settings["checkpoint_every"])
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss is {logs['loss']} before step {step}: "
                "start anew in another --out with a lower --learning-rate"
            )
        if step % every and step < steps:
            return
        now = time.perf_counter()
        self.seconds += now - self.started
        rate = (step - self.counted) * self.tokens / (now - self.measured) if step > self.counted else 0
        val_loss = self.model.evaluate(self.validation, verbose=0, return_dict=True)["loss"]
        bits = val_loss / self.characters / math.log(2)
        values = (step, self._loss_since(step, logs["loss"]), val_loss, bits, self.seconds, rate)
        formats = ("d", ".5f", ".5f", ".4f", ".1f", ".0f")
        row = {name: format(value, form) for name, value, form in zip(COLUMNS, values, formats, strict=True)}
        with open(self.folder / LOG, "a", encoding="utf-8") as file:
            file.write(",".join(row.values()) + "\n")
        self.rows.append(row)
        if self.best is None or val_loss < float(self.best["val_loss"]):
            from kerasllm.weights import save_safetensors

            self.best = row
            dtype = self.settings["dtype"]
            with told(ValueError, OSError):
                metadata = {name: row[name] for name in COLUMNS[:4]}
                save_safetensors(self.model, self.folder / MODEL, None if dtype == "float32" else dtype, metadata)
        self._show(step, row, rate)
        self.started = self.measured = time.perf_counter()
        self.counted = step

    def _loss_since(self, step, last):
        """The mean training loss since the evaluation before."""
        epoch, every = self.settings["checkpoint_every"], self.settings["evaluate_every"]
        before = (step - 1) // every * every
        losses = [*self.resume.history.get("loss", []), last]
        sizes = [min(epoch, step - start) for start in range(before, step, epoch)]
        losses = losses[len(losses) - len(sizes) :]
        return sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / (step - before)

    def _show(self, step, row, rate):
        steps = self.settings["steps"]
        left = (steps - step) * self.tokens / rate if rate else 0
        line = (
            f"step {step:>{len(str(steps))}}/{steps}  loss {float(row['loss']):.4f}  "
            f"validation {float(row['val_loss']):.4f}  {row['bits_per_character']} bits per character  "
            f"{rate:,.0f} tokens/s" + (f"  {left // 60:.0f}:{left % 60:02.0f} left" if left else "")
        )
        if self.bar:
            self.bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)


def write(path, text):
    """Write a file that is whole or not there."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, "utf-8")
    os.replace(unfinished, path)


@contextlib.contextmanager
def quiet():
    """Hold back what TensorFlow writes to stderr while it starts; show it if that fails.

    Set TF_CPP_MIN_LOG_LEVEL yourself to see it.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # says less, not nothing
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except UserError:
            raise
        except BaseException:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


# generate -------------------------------------------------------------------------------------


def write_text(options):
    """Continue a prompt, each piece printed as soon as it is there."""
    folder = options.folder
    if not (folder / MODEL).exists():
        started = (folder / SETTINGS).exists()
        reason = "train writes it at the first evaluation" if started else "name the folder that train --out wrote"
        raise UserError(f"there is no {MODEL} in {folder}: {reason}")
    from kerasllm.text import Tokenizer

    with told(OSError, ValueError):
        tokenizer = Tokenizer.load(folder)
    with quiet():
        from kerasllm.generation import Greedy, Sampling, stream
        from kerasllm.weights import load_safetensors

        with told(OSError, ValueError):
            model = load_safetensors(folder / MODEL)
    if model.vocabulary_size != tokenizer.vocabulary_size:
        raise UserError(
            f"{folder / 'tokenizer.json'} has {tokenizer.vocabulary_size} tokens, the model {model.vocabulary_size}: "
            "bring back the tokenizer.json that the model was trained with"
        )
    with told(ValueError):
        sampler = Greedy()
        if options.temperature:
            sampler = Sampling(options.temperature, options.top_k, options.top_p, options.min_p)
        made = stream(model, options.prompt, options.tokens, sampler, seed=options.seed, tokenizer=tokenizer)
    print(options.prompt, end="", flush=True)
    for piece in made:
        print(piece, end="", flush=True)
    print()
