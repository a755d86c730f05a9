"""Tuning in a folder: an adapter learns conversations, is stopped and goes on, and the best one is kept."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from kerasllm.batches import steps_per_epoch
from kerasllm.common import choice, positive, whole_number, write_whole
from kerasllm.text import ChatTemplate, Tokenizer, plain_tool_turns
from kerasllm.text.turns import has_calls
from kerasllm.training.adapters import add_lora, save_adapter
from kerasllm.training.instruct import LEARNED, Instructions, supervise
from kerasllm.training.recipes import classic
from kerasllm.training.resume import Resume
from kerasllm.training.run_folder import LOG, STATE, claimed
from kerasllm.training.run_settings import RunError

TUNED, ADAPTER = "tune.json", "adapter.safetensors"
HELD_OUT = 0.1  # the share of the conversations that is not trained on
COLUMNS = ("step", "loss", "val_loss")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """What a run of tuning does. Each number has its reason beside it.

    Raises:
        ValueError: if a value is of the wrong kind or out of its range; the message names both.

    Example:
        >>> TuneSettings(steps=50, evaluate_every=20)
        Traceback (most recent call last):
        ValueError: steps=50 is no multiple of evaluate_every=20: take steps=60.
    """

    steps: int = 100  # of a small set; on SmolLM2 a hundred moved the loss of held-out replies
    batch: int = 4  # windows, in the memory of a laptop
    context: int = 256  # ids of a window; a longer conversation is cut at its end
    rank: int = 8  # that of Hu et al. (2022), table 6: more was no better
    learning_rate: float = 1e-3  # the highest one; adapters bear ten times that of all weights
    evaluate_every: int = 25  # steps; also how often the state is written
    learn: str = "replies"  # or "everything", see Instructions
    seed: int = 0  # the same seed gives the same run

    def __post_init__(self):
        for name in ("steps", "batch", "rank", "evaluate_every"):
            self._keep(name, whole_number(name, getattr(self, name), most=10**9))
        self._keep("context", whole_number("context", self.context, least=2))
        self._keep("seed", whole_number("seed", self.seed, least=0, most=2**32 - 1))
        self._keep("learning_rate", positive("learning_rate", self.learning_rate))
        choice("learn", self.learn, LEARNED)
        if self.steps % self.evaluate_every:
            fits = -(-self.steps // self.evaluate_every) * self.evaluate_every
            raise ValueError(
                f"steps={self.steps} is no multiple of evaluate_every={self.evaluate_every}: take steps={fits}."
            )

    def _keep(self, name: str, value) -> None:
        object.__setattr__(self, name, value)


@dataclasses.dataclass(frozen=True)
class TuneResult:
    """What a run of tuning did.

    Attributes:
        rows: those of log.csv: step, loss and val_loss (nats of an id that is learned); step 0 is the start.
        best: the row of the adapter that was kept.
        left_out: how many conversations have no reply within the context.
    """

    rows: list[dict]
    best: dict
    left_out: int


def tune_adapter(
    folder: str | os.PathLike,
    model: keras.Model,
    tokenizer: Tokenizer,
    conversations: Sequence[Sequence[dict]],
    settings: TuneSettings | None = None,
    *,
    base: str = "",
    data: str = "",
    resume: bool = False,
    layers: Sequence[str] = ("query", "key", "value", "output"),
    show: Callable[[str], None] = lambda line: None,
) -> TuneResult:
    """Teach a model conversations through an adapter, in a folder.

    A tenth of the conversations, at least one, is held out. The folder gets adapter.safetensors (the one with the
    lowest loss on these), log.csv, tune.json (the settings) and state.npz, with which a run that was killed goes on.

    Args:
        folder: a new or empty one; with `resume` that of the run.
        model: the model, without adapters.
        tokenizer: its `kerasllm.text.Tokenizer`, with a chat template.
        conversations: for each one its turns, two or more.
        settings: what to do; those of `TuneSettings` when None.
        base, data: names of the model and of the conversations, noted in tune.json.
        resume: whether to go on with the run of the folder.
        layers: the names of the layers that get an adapter.
        show: called with a line at each evaluation.

    Returns:
        A `TuneResult`. The model has the adapter of the last step.

    Raises:
        RunError: if the folder is taken or holds another run, or no loss was a number.
        TypeError, ValueError: if there are too few conversations, or for a reason of `Instructions` and `add_lora`.

    Reference: Hu et al. (2022), "LoRA: Low-Rank Adaptation of Large Language Models", section 4.
    """
    folder, settings = Path(folder), settings or TuneSettings()
    known = {"settings": dataclasses.asdict(settings), "conversations": fingerprint(conversations)}
    known |= {"base": base, "data": data, "layers": list(layers)}
    _check_folder(folder, known, resume)
    train, held_out = _parts(ChatTemplate(tokenizer), conversations, settings)
    keras.utils.set_random_seed(settings.seed)
    add_lora(model, settings.rank, layers=layers)
    supervise(model, classic(settings.steps, settings.learning_rate, weight_decay=0.0), jit_compile=False)
    with claimed(folder):
        if not resume:
            with write_whole(folder / TUNED) as unfinished:
                unfinished.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", "utf-8")
        rows = _fitted(folder, model, train, held_out, settings, show)
    best = min((row for row in rows if row["step"] and np.isfinite(row["val_loss"])), key=_loss, default=None)
    if best is None:
        raise RunError(f"no loss was a number: start anew in another folder with a lower learning_rate ({folder})")
    return TuneResult(rows, best, len(train.left_out) + len(held_out.left_out))


def fingerprint(conversations: Sequence[Sequence[dict]]) -> str:
    """16 hexadecimal digits of what is said."""
    text = json.dumps([[_said(turn) for turn in turns] for turns in conversations])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _said(turn: dict) -> list:
    return [turn["role"], turn.get("content"), *([turn["tool_calls"]] if turn.get("tool_calls") else [])]


def read_tuned(folder: str | os.PathLike) -> dict:
    """What tune.json of a folder says.

    Raises:
        RunError: if there is none, or it cannot be read.
    """
    path = Path(folder) / TUNED
    try:
        known = json.loads(path.read_text("utf-8"))
        TuneSettings(**known["settings"])
        if not all(isinstance(known[name], str) for name in ("base", "data", "conversations")):
            raise ValueError("base, data and conversations are texts")
    except FileNotFoundError:
        raise RunError(f"there is no run in {folder} to resume: start one") from None
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} cannot be read, start anew in another folder: {error}") from None
    return known


class AdapterState(Resume):
    """`Resume` without the weights that are frozen: the file has the size of the adapter, not of the model."""

    def _variables(self):
        frozen = {id(weight) for weight in self.model.non_trainable_weights}
        return [variable for variable in super()._variables() if id(variable) not in frozen]


class _Kept(keras.callbacks.Callback):
    """Evaluates after each epoch, keeps the rows of the log and the best adapter."""

    def __init__(self, folder, held_out, settings, state, show):
        super().__init__()
        self.folder, self.held_out, self.settings, self.show = folder, held_out, settings, show
        self.every = settings.evaluate_every
        self.rows = _rows(folder / LOG, until=state.epoch * self.every) if state.epoch else []

    def on_train_begin(self, logs=None):
        if not self.rows:
            self._note(0, float("nan"))

    def on_epoch_end(self, epoch, logs=None):
        self._note((epoch + 1) * self.every, float(logs["loss"]))

    def _note(self, step, loss):
        row = {"step": step, "loss": loss, "val_loss": self.held_out.loss(self.model, self.settings.batch)}
        better = all(not row["val_loss"] >= _loss(one) for one in self.rows if one["step"])
        if step and np.isfinite(row["val_loss"]) and better:
            save_adapter(self.model, self.folder / ADAPTER)
        self.rows.append(row)
        with write_whole(self.folder / LOG) as unfinished, open(unfinished, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: _shown(value) for name, value in one.items()} for one in self.rows)
        learned = f"  loss {loss:.4f}" if step else ""
        self.show(f"step {step}/{self.settings.steps}{learned}  held out {row['val_loss']:.4f}")


def _fitted(folder, model, train, held_out, settings, show) -> list[dict]:
    try:
        state = AdapterState(folder / STATE)
        done = state.epoch * settings.evaluate_every
        kept = _Kept(folder, held_out, settings, state, show)
        if done < settings.steps:
            order = {"batch_size": settings.batch, "shuffle": True, "seed": settings.seed}
            epochs = -(-settings.steps // steps_per_epoch(train.feed(**order, epochs=1)))
            model.fit(
                train.feed(**order, epochs=epochs, start_step=done),
                epochs=settings.steps // settings.evaluate_every,
                initial_epoch=state.epoch,
                steps_per_epoch=settings.evaluate_every,
                shuffle=False,
                verbose=0,
                callbacks=[kept, state],  # a step that the state knows of stands in the log
            )
    except ValueError as error:
        raise RunError(" ".join(str(error).split())) from error
    return kept.rows


def _parts(template, conversations, settings) -> tuple[Instructions, Instructions]:
    """What is trained on, and what is held out."""
    if len(conversations) < 2:
        raise ValueError(f"There are {len(conversations)} conversations: two are needed, one of them to be held out.")
    conversations = [  # calls of tools as a server writes them for a template that has no words for them
        plain_tool_turns(turns) if has_calls(turns) and not template.takes_calls else turns for turns in conversations
    ]
    order = np.random.default_rng(settings.seed).permutation(len(conversations))
    held = max(1, int(HELD_OUT * len(order)))
    parts = ([conversations[place] for place in part] for part in (order[held:], order[:held]))
    train, held_out = (
        Instructions.of(template, part, context=settings.context, learn=settings.learn) for part in parts
    )
    return train, held_out


def _check_folder(folder: Path, known: dict, resume: bool) -> None:
    if not resume:
        if folder.is_dir() and any(folder.iterdir()):
            raise RunError(f"{folder} is not empty: resume its run, or choose another folder")
        return
    stored = read_tuned(folder)
    for name in ("settings", "conversations", "layers", "base"):
        if stored.get(name) != known[name]:
            raise RunError(
                f"{folder} was started with other {name}: {stored.get(name)}, not {known[name]}. Go on with those, or "
                "start anew in another folder"
            )


def _rows(path: Path, until: int) -> list[dict]:
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        rows = [{name: float(row[name] or "nan") for name in COLUMNS} for row in csv.DictReader(file)]
    return [{**row, "step": int(row["step"])} for row in rows if row["step"] <= until]


def _shown(value):
    return value if isinstance(value, int) else "" if np.isnan(value) else f"{value:.5f}"


def _loss(row: dict) -> float:
    return row["val_loss"]
