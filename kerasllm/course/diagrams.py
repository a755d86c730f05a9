"""Ready drawings of mechanisms: a product of matrices, attention, an unrolled network, a transformer block.

Each returns a figure for `kerasllm.course.figures.show`, which asks for a description in words. A drawing that is
not here is made with `Diagram`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kerasllm.course.palette import AMOUNT, GREY, INK, LINE, THIN, text_on
from kerasllm.course.sheet import CELL, SMALL, Diagram, Part, Point

__all__ = [
    "Diagram",
    "Part",
    "attention_grid",
    "look_up",
    "product",
    "several_heads",
    "transformer_block",
    "unrolled",
]


def product(
    left: tuple[str, tuple[int, int], str],
    right: tuple[str, tuple[int, int], str],
    result: tuple[str, str],
    notes: tuple[str, str, str] = ("", "", ""),
) -> Figure:
    """A product of two matrices as grids, with shapes: rows of the left meet columns of the right.

    Args:
        left: its name, its shape as drawn, its meaning.
        right: the same; it has as many rows as the left has columns.
        result: the name and the meaning of the product.
        notes: the shapes in words, written below the three.

    Returns:
        The figure.

    Raises:
        ValueError: if the shapes do not fit.
    """
    (rows, inner), (inner_too, columns) = left[1], right[1]
    if inner != inner_too:
        raise ValueError(
            f"{left[0]} has {inner} columns and {right[0]} has {inner_too} rows; a product needs equal ones."
        )
    cell = 0.22
    widths = [inner * cell, columns * cell, columns * cell]
    gap = 0.75
    height = max(rows, inner) * cell + 1.0
    sheet = Diagram(sum(widths) + 2 * gap + 1.2, height)
    y, x = height / 2, 0.6
    places = []
    parts = [left, right, (result[0], (rows, columns), result[1])]
    for (name, shape, meaning), width, note in zip(parts, widths, notes, strict=True):
        place = sheet.grid((x + width / 2, y), shape, meaning=meaning, name=name, cell=cell)
        sheet.text((place.x, 0.14), note, meaning=GREY, size=SMALL)
        places.append(place)
        x += width + gap
    for sign, before, after in (("×", *places[:2]), ("=", *places[1:])):
        sheet.text(((before.right[0] + after.left[0]) / 2, y), sign, size=14)
    return sheet.figure


def look_up(
    words: Sequence[str],
    weights: Sequence[float],
    asking: str,
    scores: Sequence[float] | None = None,
    *,
    numbers=None,
    key_before: bool = False,
) -> Figure:
    """Attention as a soft dictionary: one query meets every key, the values come out in the mix of the weights.

    Args:
        words: the words that can be looked at, from left to right; up to eight fit.
        weights: the weight of each; they sum to 1.
        asking: the word whose query it is.
        scores: query times key for each word, written where they arise.
        numbers: the query (cells,), the keys and the values (words, cells), written into their cells.
        key_before: the key of a word comes from the word before it.

    Returns:
        The figure.

    Raises:
        ValueError: if there is not one weight for each word.
    """
    weights = np.asarray(weights, dtype=float)
    if len(weights) != len(words):
        raise ValueError(f"{len(words)} words need as many weights, not {len(weights)}.")
    step = min(1.05, 6.2 / len(words))
    start = 1.95
    sheet = Diagram(start + step * len(words) + 0.55, 4.1)
    query_numbers, key_numbers, value_numbers = (None,) * 3 if numbers is None else numbers
    query = _written(sheet, (0.5, 2.1), query_numbers, "query")
    sheet.text((0.5, 1.52), f"query of\n“{asking}”", meaning="query", size=SMALL)
    last = start + step * (len(words) - 1)
    sheet.arrow((query.right[0] + 0.05, 2.1), (last, 2.1), meaning="query", head=False, width=THIN)
    mixed = None if numbers is None else weights @ np.asarray(value_numbers)
    output = _written(sheet, (last + 0.62, 3.62), mixed, "output")
    sheet.text((last + 0.3, 2.1), "query · key", meaning="query", size=SMALL, align="left")
    before = None
    for i, (word, weight) in enumerate(zip(words, weights, strict=True)):
        x = start + i * step
        token = sheet.box(word, (x, 0.32), width=min(step - 0.12, 0.9), size=SMALL)
        key = _written(sheet, (x - 0.17, 1.12), None if numbers is None else key_numbers[i], "key")
        value = _written(sheet, (x + 0.17, 1.12), None if numbers is None else value_numbers[i], "value")
        sheet.arrow((value.x, token.top[1]), (value.x, value.bottom[1] - 0.03), width=THIN)
        source = before if key_before else (key.x, token.top[1])
        if source:
            sheet.arrow(source, (key.x, key.bottom[1] - 0.03), width=THIN, meaning="key" if key_before else INK)
        before = (token.x + 0.3 * token.width, token.top[1])
        sheet.arrow((key.x, key.top[1] + 0.02), (key.x, 1.95), meaning="key", width=THIN)
        dot = sheet.circle("·", (key.x, 2.1), meaning="query", size=0.24)
        if scores is not None:
            sheet.text((key.x - 0.15, 2.33), f"{scores[i]:.1f}", size=SMALL, align="right")
        sheet.arrow((key.x, dot.top[1] + 0.01), (key.x, 2.6), width=THIN)
        bar = Rectangle(
            (key.x - 0.13, 2.64), 0.26, max(0.015, 0.5 * weight), fc=AMOUNT(0.25 + 0.75 * weight), lw=0, zorder=3
        )
        sheet.ax.add_patch(bar)
        sheet.text((key.x, 2.64 + 0.5 * weight + 0.1), f"{weight:.2f}", size=SMALL)
        sheet.arrow(
            (value.x, value.top[1] + 0.02), (output.left[0] - 0.06, 3.62), through=[(value.x, 3.62)], meaning="value",
            width=0.4 + 4.6 * weight, head=False,
        )  # fmt: skip
    rows = [(1.12, "keys, values", INK), (2.86, "weights", "query"), (3.62, "values, mixed", "value")]
    if scores is not None:
        rows.append((2.33, "scores", INK))
    for y, text, meaning in rows:
        sheet.text((start - 0.65, y), text, size=SMALL, meaning=meaning, align="right")
    sheet.text((output.x, 3.15), "output", meaning="output", size=SMALL)
    return sheet.figure


def _written(sheet: Diagram, at: Point, numbers, meaning: str) -> Part:
    """A vector with its numbers in its cells, the larger the stronger; without numbers the cells of any vector."""
    if numbers is None:
        return sheet.vector(at, meaning=meaning)
    numbers = np.asarray(numbers, dtype=float)
    part = sheet.vector(at, len(numbers), meaning=meaning, values=0.7 * numbers / max(numbers.max(), 1e-9))
    for i, number in enumerate(numbers):
        place = (at[0], part.top[1] - (i + 0.5) * part.height / len(numbers))
        sheet.text(place, f"{number:.2f}".lstrip("0") if number % 1 else f"{number:g}", size=6, zorder=4)
    return part


def attention_grid(
    weights,
    queries: Sequence[str],
    keys: Sequence[str] | None = None,
    *,
    title: str = "",
    allowed=None,
    digits: int | None = None,
) -> Figure:
    """Attention weights with their words: a row for each word that asks, a column for each that is looked at.

    Args:
        weights: numbers (queries, keys), or several tables by name: one panel each.
        queries: the words that ask.
        keys: the words that are looked at; the same ones when left out.
        title: the finding, over one table; several tables have their names.
        allowed: True (queries, keys) where looking is allowed, or such a table by name; the rest is hatched.
        digits: writes the weights with so many digits after the point; none when left out.

    Returns:
        The figure.

    Raises:
        ValueError: if the words do not fit the weights.
    """
    tables = dict(weights) if isinstance(weights, dict) else {title: weights}
    keys = queries if keys is None else keys
    cell = 0.44 if digits is not None else min(0.34, 7.6 / len(keys) / len(tables))
    side = 0.35 + 0.085 * max(map(len, queries))
    foot = 0.2 + 0.064 * max(map(len, keys))
    panel = len(keys) * cell + 0.25
    sheet = Diagram(side + panel * len(tables), len(queries) * cell + foot + 0.62)
    bottom = foot + 0.1
    for number, (name, table) in enumerate(tables.items()):
        table = np.asarray(table, dtype=float)
        if table.shape != (len(queries), len(keys)):
            raise ValueError(f"{len(queries)} queries and {len(keys)} keys do not fit weights of shape {table.shape}.")
        x = side + number * panel
        may = allowed.get(name) if isinstance(allowed, dict) else allowed
        _weights(sheet, table, (x, bottom), cell, may, digits)
        sheet.text((x, bottom + len(queries) * cell + 0.22), name, align="left", size=11)
        for column, word in enumerate(keys):
            place = (x + (column + 0.5) * cell + 0.03, bottom - 0.07)
            sheet.ax.text(
                *place, word, rotation=50, ha="right", va="top", fontsize=SMALL, rotation_mode="anchor", color=INK
            )
    for row, word in enumerate(queries):
        sheet.text((side - 0.08, bottom + (len(queries) - row - 0.5) * cell), word, align="right", size=SMALL)
    return sheet.figure


def _weights(sheet: Diagram, table: np.ndarray, corner: Point, cell: float, allowed, digits: int | None) -> None:
    """The cells of one table of attention weights; `corner` is at the left and the bottom."""
    for (row, column), weight in np.ndenumerate(table):
        place = (corner[0] + column * cell, corner[1] + (len(table) - 1 - row) * cell)
        forbidden = allowed is not None and not np.asarray(allowed)[row, column]
        fill = "#F2F2F2" if forbidden else AMOUNT(float(np.clip(weight, 0, 1)))
        patch = Rectangle(place, cell, cell, fc=fill, ec="#CFCFCF", lw=THIN * 0.7, zorder=3)
        if forbidden:
            patch.set(hatch="////", ec="#CFCFCF")
        sheet.ax.add_patch(patch)
        if digits is not None and not forbidden:
            middle = (place[0] + cell / 2, place[1] + cell / 2)
            sheet.text(middle, f"{weight:.{digits}f}", meaning=text_on(fill), size=SMALL, zorder=4)


def unrolled(
    words: Sequence[str], outputs: Sequence[str] | None = None, *, cell: str = "LSTM", state: str = "state"
) -> Figure:
    """A recurrent network, drawn once for each word: the same weights, one state that is handed on.

    Args:
        words: what is read, in order.
        outputs: what is said after each word; an empty string says nothing.
        cell: the name in the boxes.
        state: the name of what is handed on.

    Returns:
        The figure.

    Raises:
        ValueError: if there is not one output for each word.
    """
    if outputs is not None and len(outputs) != len(words):
        raise ValueError(f"{len(words)} words need as many outputs, not {len(outputs)}.")
    step, y = min(1.5, 7.4 / len(words)), 1.35
    sheet = Diagram(0.75 + step * len(words), 2.55 if outputs else 1.85)
    before = None
    for i, word in enumerate(words):
        x = 0.35 + step * (i + 0.5)
        token = sheet.box(word, (x, 0.34), width=min(step - 0.2, 0.9), size=SMALL)
        block = sheet.box(cell, (x, y), meaning="weights", width=min(step - 0.5, 0.9), height=0.5)
        sheet.arrow(token.top, block.bottom)
        if before:
            sheet.arrow(before.right, block.left, state if step > 1.2 else "", meaning="state", width=LINE)
        if outputs and outputs[i]:
            said = sheet.box(outputs[i], (x, 2.25), meaning="output", width=min(step - 0.2, 0.9), size=SMALL)
            sheet.arrow(block.top, said.bottom, meaning="output")
        before = block
    sheet.arrow((0.08, y), (0.35 + step / 2 - min(step - 0.5, 0.9) / 2, y), meaning="state", width=LINE)
    sheet.arrow(before.right, (before.right[0] + 0.4, y), meaning="state", width=LINE)
    return sheet.figure


def transformer_block(
    parts: Sequence[str] = ("norm", "attention", "norm", "feed-forward"), note: str = "(batch, time, dim)"
) -> Figure:
    """A transformer block: a stream of vectors runs through; attention and a small network read it and add to it.

    Args:
        parts: the names of the four boxes, in the order in which the stream meets them.
        note: the shape of the stream, in words.

    Returns:
        The figure.

    Raises:
        ValueError: if there are not four parts.
    """
    if len(parts) != 4:
        raise ValueError(f"A block has four parts: norm, attention, norm, feed-forward; not {len(parts)}.")
    sheet = Diagram(8, 2.05)
    low, high = 0.55, 1.5
    stream = {"meaning": "state", "width": LINE * 1.6}
    x = 0.35
    for norm, layer, what in ((*parts[:2], "between\nplaces"), (*parts[2:], "at each place\nalone")):
        leaves, first, second, joins = x + 0.45, x + 1.05, x + 2.25, x + 3.3
        plus = sheet.circle("+", (joins, low), meaning="state")
        sheet.arrow((x, low), plus.left, head=True, **stream)
        small = sheet.box(norm, (first, high), meaning="state", width=0.72)
        large = sheet.box(layer, (second, high), meaning="weights", width=1.12, height=0.5)
        sheet.arrow((leaves, low), small.left, through=[(leaves, high)])
        sheet.arrow(small.right, large.left)
        sheet.arrow(large.right, plus.top, through=[(joins, high)])
        sheet.text((second, 1.03), what, meaning=GREY, size=SMALL)
        x = plus.right[0]
    sheet.arrow((x, low), (7.85, low), **stream)
    sheet.text((0.35, 0.24), f"the stream {note}", meaning="state", size=SMALL, align="left")
    return sheet.figure


def several_heads(heads: int = 3, note: str = "dim / heads numbers each") -> Figure:
    """Multi-head attention: one vector is cut into parts, each part looks for itself, a last matrix mixes them.

    Args:
        heads: how many; up to four fit.
        note: what each part is, in words.

    Returns:
        The figure.
    """
    meanings = ("query", "key", "value")
    height = 0.75 * heads + 0.6
    sheet = Diagram(7.6, height)
    middle = height / 2 + 0.02
    source = sheet.vector((0.4, middle), 3 * heads, meaning="state", name="token")
    mixed = sheet.vector((7.2, middle), 3 * heads, meaning="output", name="output")
    joined = sheet.vector((5.3, middle), 3 * heads, meaning="value", name="joined")
    project = sheet.box("Q, K, V", (1.45, middle), meaning="weights", width=0.8, height=0.5)
    mix = sheet.box("mix", (6.25, middle), meaning="weights", width=0.62, height=0.5)
    sheet.arrow((source.right[0] + 0.04, middle), project.left)
    sheet.arrow((joined.right[0] + 0.04, middle), mix.left)
    sheet.arrow(mix.right, (mixed.left[0] - 0.04, middle))
    for head in range(heads):
        y = middle + 0.75 * ((heads - 1) / 2 - head)
        for i, meaning in enumerate(meanings):
            sheet.vector((2.5 + 0.24 * i, y), 3, meaning=meaning)
        look = sheet.box(f"attention {head + 1}", (3.95, y), meaning="given", width=1.1, height=0.4, size=SMALL + 0.5)
        sheet.arrow(project.right, (2.5 - CELL, y), width=THIN)
        sheet.arrow((2.98 + CELL * 0.7, y), look.left, width=THIN)
        part = (joined.left[0] - 0.04, middle + 3 * CELL * ((heads - 1) / 2 - head))
        sheet.arrow(look.right, part, meaning="value", width=THIN)
    sheet.text((2.74, 0.12), note, meaning=GREY, size=SMALL)
    sheet.text((3.95, middle + 0.375 * (heads - 1) + 0.34), "over all tokens", meaning=GREY, size=SMALL)
    return sheet.figure
