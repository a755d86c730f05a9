"""Figures of the lessons: one look, ready kinds, and a description for readers who cannot see them."""

from __future__ import annotations

import io
import itertools
from base64 import b64encode
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerasllm.course.palette import (
    AMOUNT,
    BLACK,
    BLUE,
    GREEN,
    GREY,
    INK,
    LINE,
    ORANGE,
    PURPLE,
    RED,
    SIGNED,
    SKY,
    STYLE,
    THIN,
    YELLOW,
    color,
    text_on,
    tint,
)  # fmt: skip
from kerasllm.course.placing import apart, place_words

__all__ = [
    "BLACK", "BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "RED", "SKY", "YELLOW",
    "bars", "curves", "heat_map", "show", "use_style", "word_map",
]  # fmt: skip

Series = Sequence[float] | np.ndarray


def use_style() -> None:
    """Give every later figure the look of the course (fonts, colours, a quiet grid)."""
    plt.rcParams.update(STYLE)


def show(figure: Figure, alt: str) -> None:
    """Show a figure in a notebook together with a text for readers who cannot see it.

    Args:
        figure: the matplotlib figure; it is closed afterwards.
        alt: what the figure shows, in one or two sentences, without "figure of".

    Raises:
        ValueError: if `alt` is shorter than 20 characters: that describes nothing.
    """
    if len(alt.strip()) < 20:
        raise ValueError(f"The description {alt!r} is too short: say in a sentence what the figure shows.")
    from IPython.display import display

    buffer = io.BytesIO()
    # No software version in the file: the same figure gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    plt.close(figure)
    display(
        {"image/png": b64encode(buffer.getvalue()).decode(), "text/plain": alt},
        metadata={"image/png": {"alt": alt}},
        raw=True,
    )


def curves(
    x: Series,
    lines: Mapping[str, Series],
    *,
    title: str,
    x_label: str,
    y_label: str = "",
    colors: Mapping[str, str] | None = None,
    dashed: Sequence[str] = (),
    log_x: bool = False,
    log_y: bool = False,
    size: tuple[float, float] = (7, 3.4),
) -> Figure:
    """Lines over a common axis, each with its name at its end.

    Args:
        x: the places, one for each point.
        lines: a name and its values; a table (seeds, points) gives the mean with the range of the seeds as a band.
        title: the finding, in a sentence.
        x_label: what is turned.
        y_label: what is measured.
        colors: a meaning or a colour for each name; the first two are the subject and its control otherwise.
        dashed: names of lines that are drawn dashed.
        log_x: equal steps on the horizontal axis are equal factors.
        log_y: the same for the vertical axis.
        size: inches.

    Returns:
        The figure; its axes are ``figure.axes[0]``.

    Raises:
        ValueError: if a line does not have one value for each place.
    """
    with mpl.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=size)
        ax.set(xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
        ends = []
        for (name, values), paint in zip(lines.items(), _paints(lines, colors), strict=True):
            table = np.atleast_2d(np.asarray(values, dtype=float))  # (seeds, points)
            if table.shape[-1] != len(x):
                raise ValueError(f"{name!r} has {table.shape[-1]} values for {len(x)} places.")
            mean = table.mean(axis=0)
            if len(table) > 1:
                ax.fill_between(x, table.min(axis=0), table.max(axis=0), color=paint, alpha=0.15, lw=0)
            marker = "o" if len(x) <= 12 else ""
            ax.plot(x, mean, "--" if name in dashed else "-", color=paint, lw=LINE, marker=marker, ms=4.5)
            ends.append((name, mean[np.isfinite(mean)][-1], paint))
        if log_x and len(x) <= 12:
            ax.set_xticks(x, [f"{value:g}" for value in x])
            ax.minorticks_off()
        ax.set(title=title, xlabel=x_label, ylabel=y_label)
        ax.margins(x=0.03)
        _name_ends(ax, x[-1], ends)
    return figure


def bars(
    values: Mapping[str, float | Series],
    *,
    title: str,
    x_label: str,
    colors: Mapping[str, str] | None = None,
    digits: int = 2,
    reference: tuple[float, str] | None = None,
    start: float | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """One bar a name, its mean at its end, every seed as a dot.

    Args:
        values: a name and its number, or its numbers, one for each seed.
        title: the finding, in a sentence.
        x_label: what is measured.
        colors: a meaning or a colour for each name.
        digits: digits after the point of the numbers written.
        reference: a value and its name: a line across all bars, such as chance.
        start: where the axis starts; 0 when left out. The bars become dots then, for a bar that does not start at
            zero shows a wrong ratio.
        size: inches; from the number of bars when left out.

    Returns:
        The figure; its axes are ``figure.axes[0]``.
    """
    with mpl.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=size or (7, 0.9 + 0.42 * len(values) + (0.25 if reference else 0)))
        tables = [np.atleast_1d(np.asarray(one, dtype=float)) for one in values.values()]
        low = 0.0 if start is None else start
        longest = max(table.max() for table in tables)
        gap = 0.015 * (longest - low)
        for row, (table, paint) in enumerate(zip(tables, _paints(values, colors), strict=True)):
            if start is None:
                ax.barh(row, table.mean(), height=0.62, color=tint(paint, 0.35), lw=0)
            else:
                ax.plot([low, table.mean()], [row, row], color=paint, lw=THIN, alpha=0.5)
            ax.plot([table.mean()] * 2, [row - 0.31, row + 0.31], color=paint, lw=2.5, solid_capstyle="butt")
            if len(table) > 1:
                ax.plot(table, np.full(len(table), row), "o", color=paint, ms=4.5, mec="white", mew=0.6)
            label = f"{table.mean():.{digits}f}"
            if len(table) > 1:
                label += f" ± {table.std(ddof=1):.{digits}f}"
            ax.text(max(table.max(), table.mean()) + gap, row, label, va="center", fontsize=9, color=INK)
        ax.set_yticks(range(len(values)), list(values))
        ax.set(
            title=title, xlabel=x_label, ylim=(len(values) - 0.4, -0.6), xlim=(low, longest + 0.16 * (longest - low))
        )
        ax.tick_params(axis="y", length=0)
        ax.grid(False, axis="y")
        if reference:
            ax.xaxis.labelpad = 16  # the name of the line stands between
            ax.axvline(reference[0], color=GREY, lw=THIN, ls="--", zorder=3)
            ax.annotate(
                reference[1], (reference[0], 0), (0, -17), xycoords=("data", "axes fraction"),
                textcoords="offset points", ha="center", va="top", fontsize=9, color=GREY,
            )  # fmt: skip
    return figure


def heat_map(
    table: Series,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    x_label: str = "",
    y_label: str = "",
    digits: int | None = 2,
    signed: bool = False,
    most: float | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """A table of numbers as a grid of colours, with the numbers in it.

    Args:
        table: numbers (rows, columns); NaN leaves a cell empty.
        rows: a name for each row.
        columns: a name for each column.
        title: the finding, in a sentence.
        x_label: what the columns are.
        y_label: what the rows are.
        digits: digits after the point; None writes no numbers.
        signed: whether the middle of the colours is zero.
        most: the number with the full colour; the largest of the table when left out.
        size: inches; from the table when left out.

    Returns:
        The figure; its axes are ``figure.axes[0]``.

    Raises:
        ValueError: if the names do not fit the table.
    """
    table = np.asarray(table, dtype=float)
    if table.shape != (len(rows), len(columns)):
        raise ValueError(
            f"The table has shape {table.shape}, with {len(rows)} names of rows, {len(columns)} of columns."
        )
    most = most or float(np.nanmax(np.abs(table))) or 1.0
    colors, low = (SIGNED, -most) if signed else (AMOUNT, 0.0)
    width = 0.62 if digits is not None else 0.34
    size = size or (min(9.0, 1.4 + width * len(columns)), 1.1 + 0.34 * len(rows))
    with mpl.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=size)
        ax.pcolormesh(table, cmap=colors, vmin=low, vmax=most, edgecolors="white", linewidth=1.5)
        if digits is not None:
            for (row, column), value in np.ndenumerate(table):
                if np.isfinite(value):
                    ink = text_on(colors((value - low) / (most - low)))
                    number = f"{round(value, digits) + 0.0:.{digits}f}"  # no minus before a zero
                    ax.text(column + 0.5, row + 0.5, number, ha="center", va="center", fontsize=8.5, color=ink)
        long = max(map(len, columns)) > (6 if digits is not None else 2)
        turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if long else {}
        ax.set_xticks(np.arange(len(columns)) + 0.5, columns, **turn)
        ax.set_yticks(np.arange(len(rows)) + 0.5, rows)
        ax.set(title=title, xlabel=x_label, ylabel=y_label, ylim=(len(rows), 0))
        ax.tick_params(length=0)
        ax.grid(False)
        ax.spines[:].set_visible(False)
    return figure


def word_map(
    words: Sequence[str],
    points: Series,
    *,
    title: str,
    groups: Mapping[str, Sequence[str]] | None = None,
    colors: Mapping[str, str] | None = None,
    size: tuple[float, float] = (7, 4.6),
) -> Figure:
    """Words at points of a plane; their letters do not cover each other.

    Args:
        words: the words.
        points: their places, (words, 2).
        title: the finding, in a sentence.
        groups: a name and the words that belong to it; they share a colour and the legend names it.
        colors: a meaning or a colour for each group.
        size: inches.

    Returns:
        The figure; its axes are ``figure.axes[0]``.

    Raises:
        ValueError: if there is not one point for each word.
    """
    points = np.asarray(points, dtype=float)
    if points.shape != (len(words), 2):
        raise ValueError(f"{len(words)} words need points of shape ({len(words)}, 2), not {points.shape}.")
    groups = groups or {}
    paint_of = dict.fromkeys(words, INK)
    with mpl.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=size)
        for (name, members), paint in zip(groups.items(), _paints(groups, colors), strict=True):
            paint_of |= dict.fromkeys(members, paint)
            ax.plot([], [], "o", color=paint, label=name)
        ax.scatter(*points.T, s=14, color=[paint_of[word] for word in words], zorder=3)
        ax.set(title=title, xticks=[], yticks=[])
        ax.margins(0.12, 0.1)
        ax.spines[:].set_color("#D0D0D0")
        ax.spines[:].set_visible(True)
        if groups:
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=len(groups), handletextpad=0.1)
        place_words(ax, words, points, [paint_of[word] for word in words])
    return figure


def _paints(names: Mapping, colors: Mapping[str, str] | None) -> list[str]:
    """A colour for each name: the one asked for, or the next of the course's that nobody asked for."""
    chosen = {name: color(meaning) for name, meaning in (colors or {}).items()}
    free = [paint for paint in (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, INK) if paint not in chosen.values()]
    cycle = itertools.cycle(free or [INK])
    return [chosen[name] if name in chosen else next(cycle) for name in names]


def _name_ends(ax: Axes, x: float, ends: list[tuple[str, float, str]]) -> None:
    """Write each name to the right of the end of its line, moved apart where two would touch."""
    ax.figure.draw_without_rendering()  # the axes know their size only then
    pixels = ax.figure.dpi / 72
    heights = [ax.transData.transform((x, value))[1] for _, value, _ in ends]
    for (name, value, paint), height, free in zip(
        ends, heights, apart(heights, 13 * pixels, ax.bbox.y0 + 7 * pixels), strict=True
    ):
        ax.annotate(
            name, (x, value), (9, (free - height) / pixels), textcoords="offset points", va="center", color=paint,
            annotation_clip=False,
        )  # fmt: skip
