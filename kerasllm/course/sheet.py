"""A sheet to draw mechanisms on: boxes, arrows, tensors as grids of cells.

A `Diagram` is a sheet measured in inches: what is 1 wide is an inch wide, whatever else stands on the sheet. Every
part is given a meaning of `kerasllm.course.palette`, so that a query is blue and a trained matrix purple everywhere.
The ready drawings of `kerasllm.course.diagrams` are made of these parts, and so is a lesson's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path

from kerasllm.course.palette import GREY, INK, LINE, STYLE, THIN, color, tint

Point = tuple[float, float]
CELL = 0.17  # inches: one number of a drawn tensor
SMALL, MIDDLE = 8.5, 10  # points: notes and shapes; names


@dataclass(frozen=True)
class Part:
    """The place of something drawn: its middle and its size, in inches."""

    x: float
    y: float
    width: float
    height: float

    @property
    def top(self) -> Point:
        return self.x, self.y + self.height / 2

    @property
    def bottom(self) -> Point:
        return self.x, self.y - self.height / 2

    @property
    def left(self) -> Point:
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> Point:
        return self.x + self.width / 2, self.y


class Diagram:
    """An empty sheet to draw on.

    Args:
        width: inches; 8 fill the width of a notebook.
        height: inches.

    Example:
        >>> sheet = Diagram(3, 1)
        >>> word = sheet.box("word", (0.6, 0.5))
        >>> vector = sheet.vector((2.2, 0.5), meaning="state")
        >>> sheet.arrow(word.right, vector.left, "look up")
        >>> round(word.right[0], 2)
        0.95
    """

    def __init__(self, width: float, height: float):
        with mpl.rc_context(STYLE | {"figure.constrained_layout.use": False}):
            self.figure = Figure(figsize=(width, height), dpi=STYLE["figure.dpi"], layout="none")
            self.ax = self.figure.add_axes((0, 0, 1, 1))
        self.ax.set(xlim=(0, width), ylim=(0, height))
        self.ax.axis("off")

    def text(self, at: Point, text: str, *, meaning: str = INK, size: float = MIDDLE, align: str = "center", **more):
        """Write something. `align` is center, left or right; `more` goes to matplotlib."""
        # One line stands on its letters' middle, whatever hangs below it.
        upright, lift = ("center", 0.0) if "\n" in text else ("center_baseline", 0.0018 * size)
        with mpl.rc_context(STYLE):
            font = {"fontsize": size, "color": color(meaning), "linespacing": 1.25}
            self.ax.text(at[0], at[1] + lift, text, ha=align, va=upright, **font, **more)

    def box(
        self, text: str, at: Point, *, meaning: str = "given", width: float = 0.7, height: float = 0.36, size=MIDDLE
    ) -> Part:
        """A named box: a word, a layer, an operation. Returns its place."""
        left, bottom = at[0] - width / 2, at[1] - height / 2
        corner = min(0.08, height / 4)
        self.ax.add_patch(
            FancyBboxPatch(
                (left + corner, bottom + corner),
                width - 2 * corner,
                height - 2 * corner,
                lw=THIN,
                zorder=3,
                boxstyle=f"round,pad={corner}",
                fc=tint(meaning, 0.22),
                ec=color(meaning),
                mutation_aspect=1,
            )
        )
        self.text(at, text, size=size, zorder=4)
        return Part(*at, width, height)

    def circle(self, text: str, at: Point, *, meaning: str = INK, size: float = 0.26) -> Part:
        """A small round sign, such as + where two lines meet. Returns its place."""
        self.ax.add_patch(mpl.patches.Circle(at, size / 2, fc="white", ec=color(meaning), lw=THIN * 1.3, zorder=3))
        if text == "·":
            self.ax.add_patch(mpl.patches.Circle(at, 0.025, color=color(meaning), zorder=4))
        elif text == "+":  # drawn: no font has its plus in the middle
            for dx, dy in ((0.06, 0.0), (0.0, 0.06)):
                ends = [at[0] - dx, at[0] + dx], [at[1] - dy, at[1] + dy]
                self.ax.plot(*ends, color=color(meaning), lw=LINE * 0.8, zorder=4, solid_capstyle="round")
        else:
            self.text(at, text, meaning=meaning, size=12, zorder=4)
        return Part(*at, size, size)

    def grid(
        self,
        at: Point,
        shape: tuple[int, int],
        *,
        meaning: str = "state",
        name: str = "",
        note: str = "",
        values=None,
        cell: float = CELL,
    ) -> Part:
        """A tensor as a grid of cells: rows and columns, its name above, its shape below.

        Args:
            at: its middle.
            shape: rows and columns that are drawn.
            meaning: what it is.
            name: written above.
            note: written below, such as its shape in words.
            values: numbers from 0 to 1 (rows, columns): the strength of each cell's colour; a quiet pattern otherwise.
            cell: the size of a cell in inches.

        Returns:
            The place of the grid, without the words.
        """
        rows, columns = shape
        # Without values the cells differ a little, as the numbers of a vector do.
        shades = np.random.default_rng(rows * 31 + columns).uniform(0.25, 0.6, shape) if values is None else values
        left, top = at[0] - columns * cell / 2, at[1] + rows * cell / 2
        for (row, column), shade in np.ndenumerate(np.asarray(shades, dtype=float).reshape(shape)):
            place = (left + column * cell, top - (row + 1) * cell)
            self.ax.add_patch(
                Rectangle(place, cell, cell, fc=tint(meaning, shade), ec=color(meaning), lw=THIN * 0.7, zorder=3)
            )
        part = Part(*at, columns * cell, rows * cell)
        if name:
            self.text((at[0], part.top[1] + 0.14), name)
        if note:
            self.text((at[0], part.bottom[1] - 0.13), note, meaning=GREY, size=SMALL)
        return part

    def vector(
        self, at: Point, cells: int = 4, *, meaning: str = "state", upright: bool = True, name: str = "", **more
    ) -> Part:
        """A vector as a column of cells, or as a row. Returns its place."""
        return self.grid(at, (cells, 1) if upright else (1, cells), meaning=meaning, name=name, **more)

    def arrow(
        self,
        start: Point,
        end: Point,
        label: str = "",
        *,
        meaning: str = INK,
        through: Sequence[Point] = (),
        width: float = LINE * 0.75,
        head: bool = True,
        above: float = 0.12,
        dashed: bool = False,
    ) -> None:
        """An arrow from one point to another, with round corners where it goes `through` others.

        Args:
            start: where it begins.
            end: where its head is.
            label: written beside its middle.
            meaning: what flows.
            through: corners on the way.
            width: of the line, in points.
            head: whether it has a head.
            above: how far over the line the label stands, in inches.
            dashed: for what is not always there.
        """
        patch = FancyArrowPatch(
            path=_rounded([start, *through, end]),
            arrowstyle="-|>,head_width=2.4,head_length=4.5" if head else "-",
            lw=width, color=color(meaning), zorder=2, mutation_scale=1.4, joinstyle="round",
            linestyle=(0, (3, 2)) if dashed else "-", shrinkA=0, shrinkB=0, capstyle="butt",
        )  # fmt: skip
        self.ax.add_patch(patch)
        if label:
            points = [start, *through, end]
            middle = len(points) // 2
            (x0, y0), (x1, y1) = points[middle - 1], points[middle]
            self.text(((x0 + x1) / 2, (y0 + y1) / 2 + above), label, size=SMALL, meaning=meaning)


def _rounded(points: Sequence[Point], radius: float = 0.1) -> Path:
    """A path through the points whose corners are round."""
    points = [np.asarray(point, dtype=float) for point in points]
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        for other, kind in ((before, Path.LINETO), (after, Path.CURVE3)):
            reach = np.linalg.norm(other - corner)
            near = corner + (other - corner) * min(radius, reach / 2) / max(reach, 1e-9)
            if kind == Path.CURVE3:
                vertices, codes = [*vertices, corner], [*codes, Path.CURVE3]
            vertices, codes = [*vertices, near], [*codes, kind]
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])
