"""Figures of the lessons: one look, and a description for readers who cannot see them."""

from __future__ import annotations

import io
from base64 import b64encode

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

# Okabe and Ito (2008): eight colours that readers with any colour vision can tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000",
)  # fmt: skip

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
