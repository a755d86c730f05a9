"""What is published: executed notebooks made reproducible, and refused where they would tell of this machine."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from PIL import Image

from kerasllm.course import CLAIM_MIME
from lesson_tools.places import ROOT, LessonError
from lesson_tools.sources import has_tag

# TensorFlow's C++ side writes these whatever its log level; they say nothing about the lesson.
PLATFORM_NOISE = re.compile(
    r"^(WARNING: All log messages before absl::InitializeLog"
    r"|[IWE]0000 00:00:\d|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
    r"|[IWE]\d{4} \d\d:\d\d:\d\d"
    r"|To enable the following instructions: |\s*$)"
)
# A lesson that compares many small models compiles many; TensorFlow's hint goes to either stream.
RETRACING = re.compile(r"^WARNING:tensorflow:\d+ out of the last \d+ calls to .* triggered tf\.function retracing")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|Users|root|tmp|private|var/folders|opt|usr|mnt|work|workspace)/\S+")
OBJECT_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")


def normalise(book: NotebookNode, name: str) -> list[dict[str, Any]]:
    """Make an executed notebook reproducible and fit to publish, in place.

    Returns:
        The claims found in it.

    Raises:
        LessonError: for output on stderr, a path of this machine, an object's address, or a
            picture without a description.
    """
    claims: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    number = 0
    for cell in book.cells:
        digest = hashlib.sha256(f"{name}\n{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        counts[digest] = counts.get(digest, -1) + 1
        cell["id"] = digest + (f"-{counts[digest]}" if counts[digest] else "")
        cell.metadata = NotebookNode({key: cell.metadata[key] for key in ("tags", "nbgrader") if key in cell.metadata})
        if has_tag(cell, "hide"):
            _fold(cell)
        if cell.cell_type != "code":
            continue
        number += 1
        cell.execution_count = number if cell.get("execution_count") else None
        cell.outputs = _joined(cell.outputs)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
            if output.output_type in ("display_data", "execute_result"):
                if CLAIM_MIME in output.data:
                    shown = output.data.pop(CLAIM_MIME)  # one claim, or those of a table
                    claims += [dict(one) for one in (shown if isinstance(shown, list) else [shown])]
                _finish_picture(output, number)
        refuse_leaks(cell, number)
    book.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
    )
    book.nbformat, book.nbformat_minor = 4, 5
    return claims


def _fold(cell: NotebookNode) -> None:
    """Fold the code of a cell tagged ``hide``; its output stays in sight."""
    if cell.cell_type != "code" or not re.match(r"# ?@title \S", cell.source):
        # Colab shows the title in place of the code; without one it shows an empty line.
        first = cell.source.splitlines()[0] if cell.source else "an empty cell"
        raise LessonError(f'A cell tagged "hide" is code and begins with "# @title what it draws", not: {first}')
    cell.metadata["tags"] = [tag for tag in cell.metadata["tags"] if tag != "hide-input"] + ["hide-input"]  # web pages
    cell.metadata["jupyter"] = {"source_hidden": True}  # JupyterLab, VS Code
    cell.metadata["cellView"] = "form"  # Colab


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream become one; start-up noise of the platform goes."""
    result: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            kept = [line for line in output.text.splitlines(keepends=True) if not RETRACING.match(line)]
            if output.name == "stderr":
                kept = [line for line in kept if not PLATFORM_NOISE.match(line)]
            if not kept:
                continue
            output.text = "".join(kept)
        last = result[-1] if result else None
        if last and last.output_type == output.output_type == "stream" and last.name == output.name:
            last.text += output.text
        else:
            result.append(output)
    return result


def _finish_picture(output: NotebookNode, number: int) -> None:
    if "image/png" not in output.data:
        output.metadata = NotebookNode()
        return
    alt = output.metadata.get("image/png", {}).get("alt")
    if not alt:
        raise LessonError(
            f"code cell {number}: a picture has no description. Use kerasllm.course.figures.show(figure, alt)."
        )
    output.data["image/png"] = _compressed(output.data["image/png"])
    output.metadata = NotebookNode({"image/png": NotebookNode(alt=alt)})


def _compressed(png: str) -> str:
    """A PNG of at most 256 colours, in base64: half the size, and the eye sees no difference."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def refuse_leaks(cell: NotebookNode, number: int) -> None:
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            raise LessonError(f"code cell {number} writes to stderr; a warning is a defect:\n{output.text.rstrip()}")
        if output.output_type == "error":
            raise LessonError(f"code cell {number} holds an error: {output.ename}: {output.evalue}")
        texts = (
            [output.text]
            if "text" in output
            else [value for kind, value in output.data.items() if kind.startswith("text/")]
        )
        for text in texts:
            for what, pattern in (("a path of this machine", MACHINE_PATH), ("an object's address", OBJECT_ADDRESS)):
                if match := pattern.search(text):
                    raise LessonError(f"code cell {number} prints {what}: {match[0]}")
            for folder in (ROOT, Path.home()):
                if _names(text, folder):
                    raise LessonError(f"code cell {number} prints a path of this machine: {folder}")


def _names(text: str, folder: Path) -> bool:
    """Whether a text holds the path of a folder. The root of the disk says nothing: "1/6" is no path."""
    if folder == Path(folder.anchor):
        return False
    return re.search(rf"(?<![\w./]){re.escape(str(folder))}(?![\w.-])", text) is not None
