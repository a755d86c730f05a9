"""What is shown while a run works. Watchers only look: nothing in the run depends on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from kerasllm.training.run_settings import RunSettings


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What is known when a run begins."""

    folder: Path
    settings: RunSettings
    done: int  # steps that are done already
    parameters: int
    vocabulary_size: int
    tokens: dict[str, int]  # of each split
    evaluated: int  # of the validation tokens
    unknown: float  # share of the validation tokens that are <unk>
    tokens_of_a_step: int


class RunWatcher:
    """Is told what happens in a run, and shows nothing. Override what you need.

    Example:
        >>> class Losses(RunWatcher):
        ...     def evaluated(self, row, rate):
        ...         print(row["step"], row["val_loss"])
    """

    def begins(self, facts: RunFacts) -> None:
        """The first step comes now."""

    def step(self, step: int, loss: float, rate: float) -> None:
        """So many steps are done; `rate` is in tokens a second, 0 while it is not known."""

    def evaluated(self, row: dict[str, str], rate: float) -> None:
        """A row of log.csv was written."""

    def ends(self) -> None:
        """The last step is done, or an error ends the run."""


class PrintedRun(RunWatcher):
    """Prints a line about the run and one for each evaluation."""

    def begins(self, facts: RunFacts) -> None:
        self.facts = facts
        tokens = facts.tokens
        self.line(
            f"{facts.settings.config}: {facts.parameters:,} parameters, {facts.vocabulary_size} tokens, "
            f"{tokens['train']:,} to train on, {tokens['validation']:,} for validation"
            + (f" (the first {facts.evaluated:,} are used)" if tokens["validation"] > facts.evaluated else "")
        )
        if facts.unknown:
            self.line(
                f"{facts.unknown:.1%} of the validation tokens are <unk>: bits per character are too low by what "
                "they hide"
            )
        if facts.done:
            self.line(f"going on after step {facts.done} of {facts.settings.steps}")

    def evaluated(self, row: dict[str, str], rate: float) -> None:
        steps, step = self.facts.settings.steps, int(row["step"])
        left = (steps - step) * self.facts.tokens_of_a_step / rate if rate else 0
        self.line(
            f"step {step:>{len(str(steps))}}/{steps}  loss {float(row['loss']):.4f}  "
            f"validation {float(row['val_loss']):.4f}  {row['bits_per_character']} bits per character  "
            f"{rate:,.0f} tokens/s" + (f"  {left // 60:.0f}:{left % 60:02.0f} left" if left else "")
        )

    def line(self, text: str) -> None:
        """Print one line; a bar does it in its own way."""
        print(text, flush=True)
