"""The colours of the course: one colour has one meaning, in every figure and drawing. And the look of figures."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.colors import LinearSegmentedColormap, to_rgb

# Okabe and Ito (2008): eight colours that readers with any colour vision can tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000",
)  # fmt: skip
GREY, INK, PAPER = "#8C8C8C", "#262626", "#FFFFFF"

# The legend of the course. A drawing asks for a meaning, never for a colour.
MEANINGS = {
    "subject": BLUE,  # what the lesson is about: its model in a figure,
    "query": BLUE,  # and in attention what asks
    "control": ORANGE,  # what it is held against: the other run in a figure,
    "key": ORANGE,  # and in attention what is asked
    "output": GREEN,  # what comes out and is right: an answer,
    "value": GREEN,  # and in attention what is handed over
    "error": RED,  # what is wrong: a loss, a mistake, a gradient
    "weights": PURPLE,  # what training changes
    "state": SKY,  # a vector on its way: a hidden state, an embedding
    "given": GREY,  # what nobody trained: tokens, counts, chance; what is masked
    "look": YELLOW,  # look here
}

# From nothing to all: attention weights, shares, counts.
AMOUNT = LinearSegmentedColormap.from_list("amount", ["#FFFFFF", "#A9D0E8", BLUE, "#003A5C"])
# From wrong to right around a middle: differences, scores with a sign.
SIGNED = LinearSegmentedColormap.from_list("signed", ["#8A3C00", RED, "#F3C7A8", "#FFFFFF", "#A9D0E8", BLUE, "#003A5C"])

LINE, THIN = 1.8, 1.0  # points: curves and arrows; outlines and guides

STYLE = {
    "axes.prop_cycle": mpl.cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "figure.constrained_layout.use": True,
    "image.cmap": "cividis",
}


def color(meaning: str) -> str:
    """The colour of a meaning; a colour itself passes through.

    Args:
        meaning: a key of `MEANINGS`, or anything matplotlib takes for a colour.

    Returns:
        The colour.

    Raises:
        ValueError: if it is neither.

    Example:
        >>> color("weights") == PURPLE
        True
    """
    if meaning in MEANINGS:
        return MEANINGS[meaning]
    if not mpl.colors.is_color_like(meaning):
        raise ValueError(f"{meaning!r} has no colour. Use a meaning, one of {', '.join(MEANINGS)}, or a colour.")
    return meaning


def tint(meaning: str, strength: float = 0.2) -> tuple[float, float, float]:
    """A lighter shade of a meaning's colour, for areas that carry text.

    Args:
        meaning: see `color`.
        strength: from 0, white, to 1, the colour itself.

    Returns:
        Red, green and blue from 0 to 1.
    """
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(color(meaning)))
    return red, green, blue


def text_on(background) -> str:
    """Black or white, whichever is readable on a colour.

    Args:
        background: anything matplotlib takes for a colour.

    Returns:
        The colour for the text.
    """
    red, green, blue = to_rgb(background)
    return INK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.55 else PAPER
