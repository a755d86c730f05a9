"""log.csv and the best model of a run, written while it goes on."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import math
import time
from pathlib import Path

import keras

from kerasllm.common import write_whole
from kerasllm.training.run_folder import LOG, MODEL
from kerasllm.training.run_settings import RunError, RunSettings
from kerasllm.training.run_shown import RunWatcher

COLUMNS = ("step", "loss", "val_loss", "bits_per_character", "seconds", "tokens_per_second")
FORMATS = ("d", ".5f", ".5f", ".4f", ".1f", ".0f")


@dataclasses.dataclass(frozen=True)
class Clock:
    """Which step an epoch of `fit` ends with. An epoch is what lies between two checkpoints; the last may be shorter.

    Example:
        >>> clock = Clock(steps=18, every=4)
        >>> clock.epochs, clock.step(3), clock.step(5), clock.cut_short(5)
        (5, 12, 18, True)
        >>> longer = Clock(steps=30, every=4, anchor=(5, 18))   # the same run goes on behind its short epoch
        >>> longer.epochs, longer.step(5), longer.step(6)
        (8, 18, 22)
    """

    steps: int
    every: int  # steps between two checkpoints
    anchor: tuple[int, int] = (0, 0)  # so many epochs ended with this step

    def _whole(self, epochs: int) -> int:
        return self.anchor[1] + (epochs - self.anchor[0]) * self.every

    def step(self, epochs: int) -> int:
        """The step after so many epochs."""
        return max(0, min(self.steps, self._whole(epochs)))

    def cut_short(self, epochs: int) -> bool:
        """Whether the last of so many epochs had fewer steps than the others."""
        return self._whole(epochs) > self.steps

    @property
    def epochs(self) -> int:
        """Epochs of the whole run."""
        return self.anchor[0] + -(-(self.steps - self.anchor[1]) // self.every)


class RunLog(keras.callbacks.Callback):
    """Evaluates, writes log.csv, stores the best model, and stops a run that gets no better.

    Args:
        folder: the folder of the run.
        settings: its settings.
        clock: which epoch ends with which step.
        resume: the callback that knows how many epochs are done, and what they measured.
        validation: batches to evaluate on.
        characters: in a token, on average.
        save: how the model is written.
        watcher: is told.
    """

    def __init__(
        self,
        folder: Path,
        settings: RunSettings,
        clock: Clock,
        resume,
        validation=None,
        characters: float = 1.0,
        save=None,
        watcher: RunWatcher | None = None,
    ):
        super().__init__()
        self.folder, self.settings, self.clock, self.resume = folder, settings, clock, resume
        self.validation, self.characters, self.save = validation, characters, save
        self.watcher = watcher or RunWatcher()
        self.rows = _rows(folder / LOG, until=clock.step(resume.epoch))
        measured = [row for row in self.rows if math.isfinite(float(row["val_loss"]))]
        # Without its file the best row is history: the next evaluation stores a model.
        there = (folder / MODEL).is_file()
        self.best = min(measured, key=lambda row: float(row["val_loss"]), default=None) if there else None
        self.seconds = float(self.rows[-1]["seconds"]) if self.rows else 0.0

    def waited_enough(self) -> bool:
        """Whether the last evaluations, as many as `patience` says, were no better than the best one before."""
        patience = self.settings.patience
        if patience is None or self.best is None:
            return False
        return sum(int(row["step"]) > int(self.best["step"]) for row in self.rows) >= patience

    def on_train_begin(self, logs=None):
        text = "".join(",".join(row[name] for name in COLUMNS) + "\n" for row in self.rows)
        with write_whole(self.folder / LOG) as unfinished:
            unfinished.write_text(",".join(COLUMNS) + "\n" + text, "utf-8")
        self.tokens = self.settings.batch * self.settings.accumulate * self.model.context_length  # in a step
        self.started = self.measured = time.perf_counter()
        self.counted = None  # steps since `measured`; the first call, which compiles, does not count

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        before = self.clock.step(self.resume.epoch)
        step = min(self.settings.steps, before + (batch + 1) // self.settings.accumulate)
        if self.counted is None:
            self.counted, self.measured = step, now
        if type(self.watcher).step is not RunWatcher.step:  # reading the loss waits for the device
            self.watcher.step(step, float(logs["loss"]), self._rate(step, now))

    def _rate(self, step, now):
        """Tokens a second since the last evaluation."""
        return (step - self.counted) * self.tokens / (now - self.measured) if step > self.counted else 0.0

    def on_epoch_end(self, epoch, logs=None):
        before, step = self.clock.step(epoch), self.clock.step(epoch + 1)
        if not math.isfinite(logs["loss"]):
            raise RunError(
                f"the loss is {logs['loss']} before step {step}: start anew in another folder with a lower "
                "learning_rate"
            )
        every = self.settings.evaluate_every
        if step // every == before // every and step < self.settings.steps:
            return
        now = time.perf_counter()
        self.seconds += now - self.started
        rate = self._rate(step, now)
        row = self._evaluated(step, self._loss_since(epoch + 1, float(logs["loss"])), rate)
        with open(self.folder / LOG, "a", encoding="utf-8") as file:
            file.write(",".join(row.values()) + "\n")
        self.rows.append(row)
        self._keep_best(row)
        self.watcher.evaluated(row, rate)
        if self.waited_enough():
            self.model.stop_training = True
        self.started = self.measured = time.perf_counter()
        self.counted = step

    def _evaluated(self, step, loss, rate):
        val_loss = float(self.model.evaluate(self.validation, verbose=0, return_dict=True)["loss"])
        bits = val_loss / self.characters / math.log(2)
        values = (step, loss, val_loss, bits, self.seconds, rate)
        return {name: format(value, form) for name, value, form in zip(COLUMNS, values, FORMATS, strict=True)}

    def _keep_best(self, row):
        """Store the model if it is the best one so far. A loss that is no number is never the best."""
        loss = float(row["val_loss"])
        if not math.isfinite(loss) or (self.best is not None and loss >= float(self.best["val_loss"])):
            return
        dtype = None if self.settings.dtype == "float32" else self.settings.dtype
        try:
            self.save(self.model, self.folder / MODEL, dtype, {name: row[name] for name in COLUMNS[:4]})
        except ValueError as error:
            raise RunError(" ".join(str(error).split())) from error
        self.best = row

    def _loss_since(self, epochs, last):
        """The mean training loss of the steps since the evaluation before."""
        before = int(self.rows[-1]["step"]) if self.rows else 0
        losses = [*self.resume.history.get("loss", []), last]
        ends = [self.clock.step(epoch) for epoch in range(epochs + 1)]
        parts = [
            (loss, end - max(start, before))
            for loss, start, end in zip(losses, ends[:-1], ends[1:], strict=True)
            if end > before
        ]
        return sum(loss * size for loss, size in parts) / sum(size for _, size in parts)


def _rows(path: Path, until: int) -> list[dict[str, str]]:
    """The rows of a log up to a step. Rows that were cut off, and what is no row, are left out."""
    rows = []
    if path.exists():
        with open(path, newline="", encoding="utf-8", errors="replace") as file, contextlib.suppress(csv.Error):
            for row in csv.DictReader(file):
                with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
                    row = {name: row[name] for name in COLUMNS}
                    seconds = [float(row[name]) for name in COLUMNS[1:]][3]
                    if int(row["step"]) <= until and math.isfinite(seconds):
                        rows.append(row)
    return rows
