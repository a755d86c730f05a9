"""Pictures with names: emoji, drawn from a font of colours."""

from __future__ import annotations

import io
import json
import re

import numpy as np

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset, find
from kerasllm.data.errors import DataError
from kerasllm.data.loaders.registry import LOADERS, loads, members, whole
from kerasllm.data.splits import clean, fold, linked

pd = needed("pandas", "data")

SIDE = 64  # pixels of a picture
FULLY_QUALIFIED = 2  # of several ways to write an emoji the one that Unicode recommends
# Skin tones, the mark "in colours", and "of a woman", "of a man", "facing right" at the end of a sequence.
_VARIANT = re.compile("[\U0001f3fb-\U0001f3ff\ufe0f]|\u200d[\u2640\u2642\u27a1]")
_PERSON = re.compile("[\U0001f468\U0001f469]")  # man, woman


@loads("emoji-names")
def _emoji_names(dataset: Dataset) -> pd.DataFrame:
    table, chinese = map(json.loads, members(dataset))
    rows = [
        (emoji, _spoken(names["en"]), chinese[emoji].strip(":").replace("_", " "))
        for emoji, names in table.items()
        if names["status"] == FULLY_QUALIFIED and emoji in chinese
    ]
    frame = pd.DataFrame(rows, columns=["emoji", "english", "chinese"])
    # A wave in six skin tones, a man and a woman who run: one picture in the eyes of a model.
    plain = frame["emoji"].map(lambda emoji: _PERSON.sub("\U0001f9d1", _VARIANT.sub("", emoji)))
    groups = linked(zip(plain, frame["english"].map(fold), frame["chinese"].map(fold), strict=True))
    return whole(clean(frame, frame["emoji"], pd.Series(groups, dtype=object)))


def _spoken(name: str) -> str:
    return name.strip(":").replace("_", " ").replace("’", "'")


@loads("openmoji")
def _openmoji(dataset: Dataset) -> pd.DataFrame:
    needed("PIL", "course")
    from PIL import Image, ImageDraw, ImageFont, features

    if not features.check("raqm"):
        raise DataError("Pillow cannot join emoji of several characters here: it lacks Raqm. Install libraqm.")
    (content,) = members(dataset)
    frame = LOADERS["emoji-names"](find("emoji-names"))
    font = ImageFont.truetype(io.BytesIO(content), SIDE * 3 // 4)

    def picture(emoji: str) -> np.ndarray:
        page = Image.new("RGB", (SIDE, SIDE), "white")
        ImageDraw.Draw(page).text((SIDE // 2, SIDE // 2), emoji, font=font, anchor="mm", embedded_color=True)
        return np.asarray(page)

    frame["picture"] = [picture(emoji) for emoji in frame["emoji"]]
    seen = frame["picture"].map(bytes)
    white = frame["picture"].map(np.min) == 255
    twin = ~white & seen.duplicated()  # the font lacks some skin tones: one picture has one name
    frame = frame[~white & ~twin].reset_index(drop=True)
    return whole(frame, dropped_empty=int(white.sum()), dropped_duplicates=int(twin.sum()))
