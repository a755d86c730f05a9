"""A progress bar that leaves nothing behind: on stderr in a terminal, as HTML in a notebook."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kerasllm.common.notebook import in_notebook

Update = Callable[[int, int], None]


@contextmanager
def progress(line: str) -> Iterator[Update]:
    """Show `line` and a bar while the block runs.

    In a terminal the line stays and the bar goes; in a notebook both go. Nothing is shown where
    nobody looks (stderr is a file or a pipe) and with ``KERASLLM_PROGRESS=0``.

    Args:
        line: one line that says what is done.

    Yields:
        A function of (done, total). Until its first call the bar only shows that something runs.
    """
    if os.environ.get("KERASLLM_PROGRESS") == "0":
        yield _ignore
    elif in_notebook():
        yield from _in_notebook(line)
    elif sys.stderr.isatty():
        yield from _in_terminal(line)
    else:
        yield _ignore


def _ignore(done: int, total: int) -> None:
    pass


def _in_terminal(line: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    console.print(line, markup=False, highlight=False)
    with Progress(BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _in_notebook(line: str) -> Iterator[Update]:
    from IPython.display import display

    def bundle(state: str, note: str = "") -> dict[str, str]:
        return {
            "text/plain": f"{line}{note}",
            "text/html": f"{html.escape(line)}{note}<br><progress {state}></progress>",
        }

    def update(done: int, total: int) -> None:
        if total:
            handle.update(bundle(f'value="{done}" max="{total}"', f" ({done / total:.0%})"), raw=True)

    handle = display(bundle(""), raw=True, display_id=True)
    try:
        yield update
    finally:
        # clear_output would also take away what the reader's cell printed before.
        handle.update({}, raw=True)
