"""What a terminal shows of a run: its lines, and a bar below them."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from kerasllm.training import PrintedRun


class BarRun(PrintedRun):
    """The lines of `PrintedRun`, and a bar that goes when the run ends."""

    bar = None

    def begins(self, facts):
        super().begins(facts)
        columns = (
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[note]}"),
        )
        self.bits = ""
        self.bar = Progress(*columns, TimeRemainingColumn(compact=True), console=Console(), transient=True)
        self.task = self.bar.add_task("", total=facts.settings.steps, completed=facts.done, note="compiling")
        self.bar.start()

    def step(self, step, loss, rate):
        self.bar.update(self.task, completed=step, note=f"loss {loss:.3f}{self.bits}  {rate:,.0f} tokens/s")

    def evaluated(self, row, rate):
        self.bits = f"  {row['bits_per_character']} bits/char"
        super().evaluated(row, rate)

    def line(self, text):
        if self.bar is None:
            super().line(text)
        else:
            self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def ends(self):
        if self.bar is not None:
            self.bar.stop()
