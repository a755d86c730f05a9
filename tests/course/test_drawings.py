"""Figures and diagrams: nothing covers anything, one colour has one meaning, every picture has its words."""

import itertools
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

mpl.use("Agg")

from kerasllm.course import diagrams, figures
from kerasllm.course.palette import MEANINGS, color, text_on, tint
from kerasllm.course.placing import apart

rng = np.random.default_rng(0)
WORDS = "then Shadrach Meshach and Abednego came forth of the midst of the fire".split()
LOOKS = np.tril(rng.random((7, 7)))


def figure_of(kind: str):
    """One figure of every kind, with content that is likely to collide."""
    n = np.array([6, 12, 24, 48, 96])
    ends = {"attention": 1 / n, "LSTM": 1.1 / n, "GRU": rng.normal(0.02, 0.01, (3, 5)), "chance": 0 / n}
    seeds = {"bag": [0.61, 0.612, 0.616], "LSTM, words shuffled": [0.60, 0.61, 0.62], "LSTM": 0.65}
    titled = {"title": "What it shows", "x_label": "words"}
    return {
        "curves": lambda: figures.curves(n, ends, y_label="share", log_x=True, dashed=["chance"], **titled),
        "bars": lambda: figures.bars(seeds, reference=(0.5, "chance"), **titled),
        "dots": lambda: figures.bars(seeds, start=0.59, digits=3, **titled),
        "heat map": lambda: figures.heat_map(LOOKS, rows=WORDS[:7], columns=WORDS[:7], **titled),
        "signed": lambda: figures.heat_map(-LOOKS, rows=WORDS[:7], columns=list("abcdefg"), signed=True, **titled),
        "word map": lambda: figures.word_map(WORDS, rng.normal(size=(13, 2)), title="Words", groups={"a": WORDS[:3]}),
        "look up": lambda: diagrams.look_up(WORDS[:5], [0.1, 0.2, 0.5, 0.1, 0.1], "Shadrach", [0.3, -0.2, 4, 0, -9]),
        "look up in numbers": lambda: diagrams.look_up(
            WORDS[:4],
            [0.0, 1.0, 0.0, 0.0],
            "in",
            [0, 9, 0, 0],
            numbers=(np.ones(4), np.eye(4), np.eye(4)),
            key_before=True,
        ),
        "six looks": lambda: diagrams.look_up(WORDS[:6], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0], "Shadrach"),
        "attention": lambda: diagrams.attention_grid(LOOKS, WORDS[:7], title="Weights", digits=2, allowed=LOOKS > 0),
        "heads": lambda: diagrams.attention_grid({f"head {i}": LOOKS for i in range(3)}, WORDS[:7]),
        "unrolled": lambda: diagrams.unrolled(WORDS[:5], ["", "", "", "", "and"]),
        "long unrolled": lambda: diagrams.unrolled(WORDS[:7], cell="GRU"),
        "block": lambda: diagrams.transformer_block(),
        "several heads": lambda: diagrams.several_heads(4),
        "product": lambda: diagrams.product(
            ("Q", (3, 2), "query"),
            ("K", (2, 3), "key"),
            ("scores", "state"),
            ("(time, d)", "(d, time)", "(time, time)"),
        ),
    }[kind]()


KINDS = [
    "curves", "bars", "dots", "heat map", "signed", "word map", "look up", "six looks", "attention", "heads",
    "unrolled", "long unrolled", "block", "several heads", "product",
]  # fmt: skip


def beyond(axis):
    """The ticks that matplotlib keeps outside of the axes."""
    low, high = sorted(axis.get_view_interval())
    return [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]


@pytest.mark.parametrize("kind", KINDS)
def test_words_stand_inside_the_picture_and_do_not_cover_each_other(kind):
    figure = figure_of(kind)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    unseen = {tick.label1 for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for tick in beyond(axis)}
    texts = [one for one in figure.findobj(Text) if one.get_visible() and one.get_text().strip() and one not in unseen]
    # Turned words have a box far larger than their letters: only their place is looked at.
    boxes = [
        (one.get_text(), one.get_window_extent(canvas.get_renderer())) for one in texts if one.get_rotation() % 90 == 0
    ]
    for text, box in boxes:
        assert min(box.x0, figure.bbox.x1 - box.x1) >= -1, f"{text!r} runs out at the side"
        assert min(box.y0, figure.bbox.y1 - box.y1) >= -1, f"{text!r} runs out above or below"
    for (one, box), (other, beside) in itertools.combinations(boxes, 2):
        width = min(box.x1, beside.x1) - max(box.x0, beside.x0)
        height = min(box.y1, beside.y1) - max(box.y0, beside.y0)
        assert width <= 1.5 or height <= 1.5, f"{one!r} and {other!r} cover each other"


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_fit_the_width_of_a_notebook(kind):
    width, height = figure_of(kind).get_size_inches()
    assert width <= 9.2
    assert height <= 6


def test_meanings_have_colours_and_a_query_is_the_subject_of_attention():
    assert color("query") == color("subject")
    assert color("key") == color("control")
    assert len({MEANINGS[name] for name in ("query", "key", "value", "weights", "state", "error", "given")}) == 7
    assert color("#123456") == "#123456"
    with pytest.raises(ValueError, match=r"'queri' has no colour.*query"):
        color("queri")


def test_text_is_readable_on_every_meaning():
    for meaning in MEANINGS:
        for strength in (0.2, 0.5, 1.0):
            background = tint(meaning, strength)
            light = np.dot(background, [0.2126, 0.7152, 0.0722])
            assert (text_on(background) == "#FFFFFF") <= (light < 0.6)
    assert text_on("#003A5C") == "#FFFFFF"
    assert text_on("#FFFFFF") != "#FFFFFF"


def test_asked_colours_are_not_given_to_others():
    figure = figures.bars({"a": 1, "b": 2, "c": 3}, colors={"c": "subject"}, title="-", x_label="-")
    paints = [tuple(patch.get_facecolor()) for patch in figure.axes[0].patches]
    assert len(set(paints)) == 3


@pytest.mark.parametrize("places", [[0, 0, 0], [5, 0, 0.1], [3, 2, 1], [0.0, 10.0], [1.0]])
def test_names_are_moved_apart_and_keep_their_order(places):
    moved = apart(places, 1.0)
    assert np.all(np.diff(np.sort(moved)) >= 1 - 1e-9)
    assert list(np.argsort(moved, kind="stable")) == list(np.argsort(places, kind="stable"))
    assert min(apart(places, 1.0, least=2.0)) >= 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: figures.curves([1, 2], {"a": [1, 2, 3]}, title="-", x_label="-"), "3 values for 2 places"),
        (lambda: figures.heat_map(np.ones((2, 2)), rows=["a"], columns=["b"], title="-"), "shape"),
        (lambda: figures.word_map(["a"], np.ones((2, 2)), title="-"), r"\(1, 2\)"),
        (lambda: diagrams.look_up(["a", "b"], [1.0], "a"), "2 words"),
        (lambda: diagrams.attention_grid(np.ones((2, 3)), ["a", "b"]), "2 queries and 2 keys"),
        (lambda: diagrams.unrolled(["a"], ["b", "c"]), "1 words"),
        (lambda: diagrams.transformer_block(("norm",)), "four parts"),
        (lambda: diagrams.product(("A", (1, 2), "key"), ("B", (3, 1), "key"), ("C", "key")), "2 columns"),
        (lambda: figures.show(None, "short"), "too short"),
    ],
)
def test_what_does_not_fit_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_exercises_and_claims_load_no_drawing_library():
    code = "import sys, kerasllm.course; print(any(name.startswith('matplotlib') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
