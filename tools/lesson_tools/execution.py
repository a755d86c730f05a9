"""A notebook is run in a fresh kernel of this Python, whatever other kernels the machine has."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert.preprocessors import ExecutePreprocessor
from nbformat import NotebookNode
from traitlets import default

from lesson_tools.places import CELL_TIMEOUT, KERNEL_LOG, LessonError


class ThisPython(KernelSpecManager):
    """One kernel: ipykernel in the Python that runs the builder. Kernels of the same name elsewhere do not matter.

    Attributes:
        command: how a command of this Python begins.
    """

    command = (sys.executable,)

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [*self.command, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


class OurKernel(AsyncKernelManager):
    @default("kernel_spec_manager")
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return ThisPython(parent=self)


class Runner(ExecutePreprocessor):
    """nbconvert's executor, with a kernel whose surroundings we choose.

    Args:
        scale: the scale the kernel sees.
        **kwargs: traits of `ExecutePreprocessor`.
    """

    def __init__(self, scale: str, **kwargs: Any):
        kernel = {"kernel_name": "python3", "kernel_manager_class": OurKernel}
        super().__init__(timeout=CELL_TIMEOUT, record_timing=False, **kernel, **kwargs)
        self.environment = {
            "KERAS_BACKEND": "tensorflow",
            **os.environ,
            "KERASLLM_SCALE": scale,
            "KERASLLM_PROGRESS": "0",
            "PYTHONHASHSEED": "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        # Under pytest a kernel would not show what libraries write to stderr below Python.
        self.environment.pop("PYTEST_CURRENT_TEST", None)

    def start_new_kernel(self, **kwargs: Any) -> None:
        # The kernel's own log lines belong in a file, not between ours.
        KERNEL_LOG.parent.mkdir(parents=True, exist_ok=True)
        with KERNEL_LOG.open("w") as log:
            super().start_new_kernel(env=self.environment, stderr=log, **kwargs)


class PeakMemory(threading.Thread):
    """The largest resident memory of a process and its children, sampled five times a second."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.process = psutil.Process(pid)
        self.peak = 0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.is_set():
            with contextlib.suppress(psutil.Error):
                family = [self.process, *self.process.children(recursive=True)]
                self.peak = max(self.peak, sum(one.memory_info().rss for one in family))
            self._done.wait(0.2)

    def stop(self) -> float:
        """End the sampling; returns MiB."""
        self._done.set()
        return self.peak / 2**20


def execute(book: NotebookNode, folder: Path, scale: str, on_cell: Callable[[int], None] | None = None) -> float:
    """Run a notebook in place in a fresh kernel.

    Args:
        book: the notebook; its cells receive their outputs.
        folder: working directory of the kernel.
        scale: one of `kerasllm.course.SCALES`.
        on_cell: called with the number of cells begun so far.

    Returns:
        Peak memory in MiB.

    Raises:
        LessonError: if a cell raises, hangs, or the kernel dies or does not start.
    """
    begun: list[int] = []
    watch: list[PeakMemory] = []

    def start(**_: Any) -> None:
        watch.append(PeakMemory(runner.km.provisioner.pid))
        watch[0].start()

    def cell_start(cell: NotebookNode, cell_index: int) -> None:
        begun.append(cell_index)
        if on_cell:
            on_cell(len(begun))

    runner = Runner(scale, on_notebook_start=start, on_cell_execute=cell_start)
    try:
        runner.preprocess(book, {"metadata": {"path": str(folder)}})
    except CellExecutionError as error:
        raise LessonError(_cell_report(book, begun[-1], error.traceback)) from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise LessonError(_cell_report(book, begun[-1] if begun else 0, str(error)) + _kernel_said()) from None
    except (RuntimeError, OSError) as error:
        raise LessonError(f"the kernel does not start: {error}{_kernel_said()}") from None
    finally:
        peak = watch[0].stop() if watch else 0.0
    return peak


def _kernel_said() -> str:
    """The end of the kernel's log, and where the rest is."""
    last = KERNEL_LOG.read_text("utf-8", errors="replace").splitlines()[-8:] if KERNEL_LOG.exists() else []
    said = "".join(f"\n    {line}" for line in last)
    return f"\n\nThe kernel's log, {os.path.relpath(KERNEL_LOG)}, ends with:{said or ' nothing'}"


def _cell_report(book: NotebookNode, index: int, reason: str) -> str:
    cell = book.cells[index]
    number = sum(one.cell_type == "code" for one in book.cells[: index + 1])
    source = "\n".join(f"    {line}" for line in cell.source.splitlines())
    plain = re.sub(r"\x1b\[[0-9;]*m", "", reason).strip()
    return f"code cell {number}:\n{source}\n\n{plain}"
