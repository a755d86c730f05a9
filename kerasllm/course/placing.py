"""Where to write words so that they do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from kerasllm.course.palette import GREY, THIN


def apart(places: Sequence[float], step: float, least: float = -np.inf) -> list[float]:
    """Move numbers as little as needed until neighbours are `step` apart.

    Args:
        places: where things should stand.
        step: how far they must be from each other.
        least: none stands below this.

    Returns:
        Where they stand, in the order given.

    Example:
        >>> apart([0.0, 0.5, 10.0], 1.0)
        [-0.25, 0.75, 10.0]
    """
    # Things that touch become one group, which stands around the mean of its places.
    groups: list[list[int]] = []
    for i in np.argsort(places, kind="stable"):
        groups.append([int(i)])
        while len(groups) > 1 and _first(groups[-1], places, step) - _last(groups[-2], places, step) < step:
            groups[-2:] = [groups[-2] + groups[-1]]
    result = [0.0] * len(places)
    for group in groups:
        for rank, i in enumerate(group):
            result[i] = _first(group, places, step) + rank * step
    for i in np.argsort(result, kind="stable"):
        result[i] = max(result[i], least)
        least = result[i] + step
    return result


def _first(group: list[int], places: Sequence[float], step: float) -> float:
    return float(np.mean([places[i] for i in group])) - step * (len(group) - 1) / 2


def _last(group: list[int], places: Sequence[float], step: float) -> float:
    return _first(group, places, step) + step * (len(group) - 1)


def place_words(ax: Axes, words: Sequence[str], points: np.ndarray, colors: Sequence[str], fontsize: float = 9) -> None:
    """Write each word beside its point, at the nearest place where it covers no other word and no point.

    Args:
        ax: the axes; their limits must be final.
        words: the words.
        points: their points, (words, 2).
        colors: a colour for each word.
        fontsize: in points.
    """
    figure = ax.figure
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    at = ax.transData.transform(points)
    dots = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in at]
    taken: list[Bbox] = []
    for i, word in enumerate(words):
        text = ax.annotate(
            word, points[i], (0, 0), textcoords="offset pixels", ha="center", va="center", fontsize=fontsize,
            color=colors[i], zorder=4,
        )  # fmt: skip
        box = text.get_window_extent(renderer)
        others = taken + dots[:i] + dots[i + 1 :]
        dx, dy, used = _nearest_free(at[i], box.width, box.height, others, ax.bbox)
        text.set_position((dx, dy))
        taken.append(used)
        if np.hypot(dx, dy) > box.width / 2 + 14:  # far away: a thin line leads back
            ax.annotate(
                "", points[i], (dx, dy), textcoords="offset pixels", zorder=2,
                arrowprops={"arrowstyle": "-", "color": GREY, "lw": THIN * 0.6, "shrinkA": 5, "shrinkB": 3},
            )  # fmt: skip


def _nearest_free(point, width: float, height: float, others: list[Bbox], inside: Bbox) -> tuple[float, float, Bbox]:
    """The first place, from near to far and all around, where a word meets nothing; the nearest if there is none."""
    first = None
    for far in np.arange(0, 90, 6):
        for angle in np.deg2rad([0, 180, 90, 270, 45, 135, 315, 225]):
            dx = np.cos(angle) * (width / 2 + 7 + far)
            dy = np.sin(angle) * (height / 2 + 5 + far)
            box = Bbox.from_bounds(point[0] + dx - width / 2, point[1] + dy - height / 2, width, height)
            first = first or (dx, dy, box)
            within = inside.x0 < box.x0 and box.x1 < inside.x1 and inside.y0 < box.y0 and box.y1 < inside.y1
            if within and not any(box.overlaps(other) for other in others):
                return dx, dy, box
    return first
