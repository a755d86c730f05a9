"""Where the lessons, their notebooks and the library stand, and what a lesson may take."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ROOT / "lessons"
SOURCES = LESSONS / "src"
KERNEL_LOG = ROOT / "build" / "kernel.log"

CELL_TIMEOUT = 900  # seconds; a cell that takes longer hangs
MAX_SECONDS, MAX_MIB = 180, 4096  # what a lesson may take at cpu scale
MAX_BYTES = 1_500_000  # size of a notebook


class LessonError(Exception):
    """A lesson cannot be published; the message says which cell and why."""
