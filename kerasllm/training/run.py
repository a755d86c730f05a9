"""A training run in a folder: a GPT from a text, which is stopped and goes on, and keeps the best of its weights.

    from kerasllm.training import RunSettings, continue_run, start_run
    from kerasllm.weights import save_safetensors

    start_run("runs/fox", "fox.txt", RunSettings(steps=500), save=save_safetensors)
    continue_run("runs/fox", steps=1000, save=save_safetensors)    # after a stop, or to make it longer

The folder gets tokenizer.json, settings.json, log.csv, model.safetensors (the weights with the best validation loss so
far) and state.npz (from which the run goes on).
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasllm.batches import windows
from kerasllm.batches.token_file import write_tokens
from kerasllm.common import whole_number
from kerasllm.text import Tokenizer
from kerasllm.training import recipes
from kerasllm.training.fast import speed_up, train_in_parts
from kerasllm.training.run_corpus import SPLITS, Corpus, find_corpus, make_tokenizer
from kerasllm.training.run_folder import MODEL, STATE, TOKENIZER, check_free, claimed
from kerasllm.training.run_log import Clock, RunLog
from kerasllm.training.run_model import build_model, check_memory, model_settings, on_cpu
from kerasllm.training.run_settings import SETTINGS, RunError, RunSettings, StoredRun, read_run
from kerasllm.training.run_shown import PrintedRun, RunFacts, RunWatcher
from kerasllm.training.run_state import RunState

VALIDATION_TOKENS = 500_000  # a longer validation text is evaluated up to here
SMALL = 2e6  # weights of a model that trains faster in two parts; measured with 0.8 million

Save = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class _Work:
    """What a run works with, whether it is new or goes on."""

    folder: Path
    place: Path  # for files that are needed as long as it works
    corpus: Corpus
    tokenizer: Tokenizer
    save: Save
    watcher: RunWatcher


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run came to."""

    folder: Path
    steps: int  # done
    rows: list[dict[str, str]]  # of log.csv
    best: dict[str, str] | None  # the row of the stored model; None where none was stored
    finished_before: bool = False  # nothing was left to do
    stopped_early: bool = False  # by `patience`
    model: keras.Model | None = None  # with its last weights; None if nothing was left to do


def start_run(
    folder: str | Path,
    corpus: str | Path,
    settings: RunSettings | None = None,
    *,
    save: Save,
    watcher: RunWatcher | None = None,
) -> RunResult:
    """Train a GPT on a text, from the beginning.

    Memory does not grow with the text: it is read in pieces, and its tokens lie on disk while the run works. Of a file
    the first 90% of the characters are for training and the rest for validation; a data set has its own splits.

    Args:
        folder: the folder of the run: a new one, or empty.
        corpus: the path of a text file (UTF-8), or the name of a data set, such as "king-james".
        settings: what the run does; the defaults of `RunSettings` when None.
        save: how the best model is written: `kerasllm.weights.save_safetensors`. It is given here because the room
            of training stands before that of weights.
        watcher: what is shown meanwhile; `PrintedRun`, a line for each evaluation, when None.

    Returns:
        A `RunResult`.

    Raises:
        RunError: if the folder is in use, the corpus is no text or too short, or the settings do not fit each other.
        OSError: if a file cannot be written.

    Example:
        >>> import os, tempfile
        >>> from kerasllm.weights import save_safetensors
        >>> place = tempfile.mkdtemp()
        >>> with open(place + "/fox.txt", "w") as file:
        ...     _ = file.write("the quick brown fox jumps over the lazy dog\\n" * 30)
        >>> settings = RunSettings(layers=1, heads=1, width=4, context=8, batch=2, steps=2)
        >>> done = start_run(place + "/run", place + "/fox.txt", settings, save=save_safetensors, watcher=RunWatcher())
        >>> done.steps, sorted(os.listdir(place + "/run"))
        (2, ['log.csv', 'model.safetensors', 'settings.json', 'state.npz', 'tokenizer.json'])
        >>> continue_run(place + "/run", steps=3, save=save_safetensors, watcher=RunWatcher()).steps
        3
    """
    folder, settings = Path(folder), (settings or RunSettings()).settled()
    check_free(folder)
    text = Corpus(str(corpus))
    tokenizer = make_tokenizer(settings, text)
    with claimed(folder) as place:
        check_free(folder)
        work = _Work(folder, place, text, tokenizer, save, watcher or PrintedRun())
        facts = {"characters": text.characters, "vocabulary": tokenizer.vocabulary_size}
        keys = text.fingerprint, tokenizer.fingerprint
        stored = StoredRun(settings, str(corpus), *keys, facts, corpus_place=text.place)
        return _train(work, stored, None, RunState(folder / STATE))


def continue_run(
    folder: str | Path,
    *,
    corpus: str | Path | None = None,
    steps: int | None = None,
    patience: int | None = None,
    save: Save,
    watcher: RunWatcher | None = None,
) -> RunResult:
    """Go on with a run that was stopped, or make one longer.

    A stopped run ends with the weights and the losses of one that was not. A longer one goes on with the learning rate
    that its recipe has at this place of the whole run.

    Args:
        folder: the folder of the run.
        corpus: where the text is now; where it was when None. Another text is refused, whatever its name.
        steps: updates of the whole run, if it shall be longer than it was to be.
        patience: see `RunSettings`, if it shall be another one from now on.
        save: see `start_run`.
        watcher: see `start_run`.

    Returns:
        A `RunResult`.

    Raises:
        RunError: if there is no run, another process trains in it, a file of it was changed, or the corpus is not
            the one that it was started with.
        OSError: if a file cannot be written.

    Example: see `start_run`.
    """
    folder = Path(folder)
    before = read_run(folder)
    with claimed(folder) as place:
        text = _corpus_of(folder, before, corpus)
        tokenizer = _stored_tokenizer(folder, before)
        resume = RunState(folder / STATE)
        stored = _changed(folder, before, steps, patience, resume.epoch)
        clock = Clock(stored.settings.steps, stored.settings.checkpoint_every, stored.anchor)
        log = RunLog(folder, stored.settings, clock, resume)
        done = clock.step(resume.epoch)
        if resume.epoch and (done == stored.settings.steps or log.waited_enough()):
            early = done < stored.settings.steps
            return RunResult(folder, done, log.rows, log.best, finished_before=True, stopped_early=early)
        if corpus is not None:
            stored = dataclasses.replace(stored, corpus=str(corpus), corpus_place=text.place)
        work = _Work(folder, place, text, tokenizer, save, watcher or PrintedRun())
        return _train(work, stored, before, resume)


def _changed(folder: Path, stored: StoredRun, steps: int | None, patience: int | None, epochs: int) -> StoredRun:
    """What is stored with more steps or another patience."""
    settings, anchor = stored.settings, stored.anchor
    if patience is not None:
        settings = dataclasses.replace(settings, patience=patience)
    if steps is not None and whole_number("steps", steps) < settings.steps:
        raise RunError(
            f"{folder} was started with steps={settings.steps}, not {steps}: leave steps out or take more than "
            f"{settings.steps}, or start anew in another folder"
        )
    if steps is not None and steps > settings.steps:
        clock = Clock(settings.steps, settings.checkpoint_every, anchor)
        if clock.cut_short(epochs):
            anchor = (epochs, settings.steps)
        settings = dataclasses.replace(settings, steps=steps)
    return dataclasses.replace(stored, settings=settings, anchor=anchor)


def _corpus_of(folder: Path, stored: StoredRun, given: str | Path | None) -> Corpus:
    """The corpus of a run: where it was, seen from here or from its folder, unless somebody says where it is."""
    if given is not None:
        return find_corpus([str(given)], stored.corpus_fingerprint)
    names = [stored.corpus]
    if stored.corpus_place and not Path(stored.corpus).is_absolute():
        names.append(stored.corpus_place)
    beside = [str(parent / stored.corpus) for parent in list(folder.absolute().parents)[:3]]
    there = [name for name in dict.fromkeys(names + beside) if Path(name).is_file()]
    return find_corpus(there or [stored.corpus], stored.corpus_fingerprint)


def _stored_tokenizer(folder: Path, stored: StoredRun) -> Tokenizer:
    try:
        tokenizer = Tokenizer.load(folder)
    except (OSError, ValueError) as error:
        raise RunError(f"{folder}: {error}") from error
    if tokenizer.fingerprint != stored.tokenizer_fingerprint:
        raise RunError(f"{folder / TOKENIZER} was changed since the run began: start anew in another folder")
    return tokenizer


def _write_tokens(work: Path, corpus: Corpus, tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    """The ids of each split, as arrays that stay on disk."""
    try:
        return {
            split: write_tokens(corpus.pieces(split), tokenizer, work / f"{split}.tokens", end=False)
            for split in SPLITS
        }
    except ValueError as error:
        raise RunError(f"{corpus.name}: {error}") from error


def _make_model(settings: RunSettings, tokenizer: Tokenizer, tokens: dict[str, np.ndarray]) -> keras.Model:
    """The GPT with random weights, after a look at whether text and memory are enough for it."""
    chosen = model_settings(settings, tokenizer.vocabulary_size)
    context = chosen.context_length
    for split, name in zip(SPLITS, ("training", "validation"), strict=True):
        count = len(tokens[split])
        if count <= context:
            shorter = f"take context={count - 1}, or " if count > 1 else ""
            raise RunError(
                f"the {name} text has {count} tokens, too few for a window of {context} and the token behind it: "
                f"{shorter}take a longer text"
            )
    check_memory(settings, chosen)
    keras.utils.set_random_seed(settings.seed)
    return build_model(settings, chosen)


def make_optimizer(settings: RunSettings) -> keras.optimizers.Optimizer:
    """The recipe's optimizer. Keras counts each batch as a step of the schedule."""
    changes = {"learning_rate": settings.learning_rate} if settings.learning_rate else {}
    if settings.recipe == "classic":
        changes["fused"] = True  # the same numbers in one operation
    recipe = getattr(recipes, settings.recipe)
    return recipe(settings.steps * settings.accumulate, accumulate=settings.accumulate, **changes)


def _fast(model: keras.Model, settings: RunSettings, batches: int) -> dict[str, Any]:
    """Fast paths for this machine, and the arguments of `compile` that they need; no number of the run changes.

    This is the only place where a run differs from plain Keras.
    """
    small = model.count_params() < SMALL
    # The way back to Python between two steps of a small model counts.
    at_once = max(n for n in range(1, 11) if batches % n == 0) if model.count_params() < 1e7 else 1
    if not on_cpu() or keras.backend.backend() != "tensorflow":
        return {"steps_per_execution": at_once}
    speed_up(model)
    if not small or settings.batch % 2 or (os.cpu_count() or 1) < 2:
        return {"steps_per_execution": at_once}
    train_in_parts(model, 2)
    return {"steps_per_execution": at_once, "jit_compile": False}


def _train(work: _Work, stored: StoredRun, before: StoredRun | None, resume: RunState) -> RunResult:
    """The steps of a run that are left; `before` is what settings.json held."""
    settings, folder = stored.settings, work.folder
    clock = Clock(settings.steps, settings.checkpoint_every, stored.anchor)
    done = clock.step(resume.epoch)
    tokens = _write_tokens(work.place, work.corpus, work.tokenizer)
    model = _make_model(settings, work.tokenizer, tokens)
    train, validation = _feeds(settings, tokens, model.context_length, done)
    batches = settings.checkpoint_every * settings.accumulate
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(make_optimizer(settings), loss, **_fast(model, settings, batches))
    if before is None:
        stored = dataclasses.replace(stored, facts={**stored.facts, "parameters": model.count_params()})
        work.tokenizer.save(folder)
    if stored != before:
        stored.write(folder)  # last: now it can be resumed
    per_token = work.corpus.characters["validation"] / len(tokens["validation"])
    log = RunLog(folder, settings, clock, resume, validation, per_token, work.save, work.watcher)
    work.watcher.begins(_facts(work, settings, done, tokens, model))
    _fit(model, train, clock, batches, [log, resume], work.watcher)
    if log.best is None:
        raise RunError(
            f"no {MODEL} was written: the validation loss was never a number. Start anew in another folder with a "
            "lower learning_rate"
        )
    done = clock.step(resume.epoch)
    return RunResult(folder, done, log.rows, log.best, stopped_early=done < settings.steps, model=model)


def _feeds(settings: RunSettings, tokens: dict[str, np.ndarray], context: int, done: int):
    """The batches that are left to train on, and those to evaluate on."""
    rows = max(settings.batch, 4096 // context)  # windows that are evaluated at once
    used = tokens["validation"][:VALIDATION_TOKENS]
    try:
        train = windows(
            tokens["train"],
            context=context,
            batch_size=settings.batch,
            seed=settings.seed,
            start_step=done * settings.accumulate,
            steps=(settings.steps - done) * settings.accumulate,
        )
        return train, windows(used, context=context, batch_size=rows, shuffle=False)
    except ValueError as error:  # a batch larger than the text
        raise RunError(" ".join(str(error).split())) from error


def _facts(work: _Work, settings: RunSettings, done: int, tokens: dict[str, np.ndarray], model) -> RunFacts:
    unknown, used = work.tokenizer.unknown_id, tokens["validation"][:VALIDATION_TOKENS]
    return RunFacts(
        folder=work.folder,
        settings=settings,
        done=done,
        parameters=model.count_params(),
        vocabulary_size=work.tokenizer.vocabulary_size,
        tokens={split: len(ids) for split, ids in tokens.items()},
        evaluated=len(used),
        unknown=0.0 if unknown is None else float((used == unknown).mean()),
        tokens_of_a_step=settings.batch * settings.accumulate * model.context_length,
    )


def _fit(model, train, clock: Clock, batches: int, callbacks: list, watcher: RunWatcher) -> None:
    """The callbacks come in this order: a step that the state knows of stands in the log."""
    resume = callbacks[-1]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Your input ran out of data")  # the last epoch may be shorter
            model.fit(
                train,
                epochs=clock.epochs,
                initial_epoch=resume.epoch,
                steps_per_epoch=batches,
                shuffle=False,
                verbose=0,
                callbacks=callbacks,
            )
    finally:
        watcher.ends()


__all__ = ["SETTINGS", "PrintedRun", "RunError", "RunResult", "RunSettings", "RunWatcher", "continue_run", "start_run"]
