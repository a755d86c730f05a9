"""Images of any size and kind become what a network of images reads."""

import json

import numpy as np
import pytest
from PIL import Image

from kerasllm.batches import ImageInput
from kerasllm.batches.images import as_pixels, resized

RANDOM = np.random.default_rng(0)
PHOTO = RANDOM.integers(0, 256, (40, 60, 3), dtype="uint8")
WHOLE = ImageInput(size=8, border=0, mean=0, scale=1)


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (8, 8), (5, 7), (1, 1), (3, 200), (200, 3)])
@pytest.mark.parametrize("size", [8, 33])
def test_resizing_is_that_of_pillow_up_to_its_rounding(shape, size):
    image = RANDOM.integers(0, 256, (*shape, 3), dtype="uint8")
    expected = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR), "float32")
    found = resized(image, size)
    assert (found.shape, found.dtype) == ((size, size, 3), np.float32)
    assert np.abs(found - expected).max() <= 1.01  # Pillow rounds twice, after each axis


def test_the_middle_square_is_cut_out_and_scaled():
    """Of 40 by 60 remain 35 by 35 from (2, 12) on, 7/8 of the shorter side."""
    found = ImageInput(size=35, border=5)([PHOTO])
    expected = (PHOTO[2:37, 12:47].astype("float32") - 127) / 128
    np.testing.assert_allclose(found, expected[None], atol=1e-6)
    upright = ImageInput(size=35, border=5)([PHOTO.transpose(1, 0, 2)])
    np.testing.assert_allclose(upright[0].transpose(1, 0, 2), found[0], atol=1e-6)


def test_images_of_several_kinds_give_the_same():
    opaque = np.concatenate([PHOTO, np.full((40, 60, 1), 255, "uint8")], axis=-1)
    kinds = [PHOTO, opaque, Image.fromarray(PHOTO), Image.fromarray(opaque), Image.fromarray(PHOTO[:, ::-1])]
    exif = kinds[-1].getexif()
    exif[0x0112] = 2  # "mirrored", as a camera notes it
    found = WHOLE(kinds)
    assert found.shape == (5, 8, 8, 3)
    np.testing.assert_array_equal(found, np.stack([found[0]] * 5))
    np.testing.assert_array_equal(WHOLE(np.stack([PHOTO, PHOTO])), found[:2])
    grey = PHOTO[..., 0]
    np.testing.assert_array_equal(WHOLE([grey]), WHOLE([np.stack([grey] * 3, axis=-1)]))
    np.testing.assert_array_equal(WHOLE([Image.fromarray(grey)]), WHOLE([grey]))
    palette = Image.fromarray(PHOTO).convert("P")
    np.testing.assert_array_equal(WHOLE([palette]), WHOLE([np.asarray(palette.convert("RGB"))]))
    assert WHOLE([]).shape == (0, 8, 8, 3)


TRANSPARENT = np.zeros((4, 4, 4), "uint8")


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (PHOTO, TypeError, r"not one image: write \[image\]"),
        (Image.fromarray(PHOTO), TypeError, r"not one image: write \[image\]"),
        ([PHOTO, "cat.jpg"], TypeError, "image 1 must be an array or an image of Pillow, not str"),
        ([PHOTO / 255], ValueError, r"image 0 must be uint8, from 0 to 255, not float64: \(image \* 255\)"),
        ([PHOTO, TRANSPARENT], ValueError, "image 1 is transparent. Put it on a ground"),
        ([Image.fromarray(TRANSPARENT)], ValueError, "image 0 is transparent"),
        ([PHOTO.transpose(2, 0, 1)], ValueError, r"must have the shape \(height, width, 3\).*not \(3, 40, 60\)"),
        ([np.zeros((0, 5, 3), "uint8")], ValueError, r"not \(0, 5, 3\)"),
        ([np.zeros((2, 5, 5, 3), "uint8")], ValueError, r"not \(2, 5, 5, 3\)"),
        ([np.broadcast_to(np.uint8(0), (2**15, 2**15, 3))], ValueError, "at most 134,217,728 pixels"),
    ],
)
def test_what_is_no_image_is_refused_with_its_number_and_the_fix(images, error, message):
    with pytest.raises(error, match=message):
        WHOLE(images)


@pytest.mark.parametrize(
    "given", [{"size": 0}, {"size": 2.5}, {"border": -1}, {"scale": 0}, {"mean": float("nan")}, {"size": 2**20}]
)
def test_bad_arguments_are_refused_by_name(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        ImageInput(**given)


def test_settings_are_json_and_make_it_again():
    images = ImageInput(size=8, border=2, mean=1, scale=3)
    assert ImageInput(**json.loads(json.dumps(images.get_config()))) == images


def test_pixels_are_not_changed_and_not_copied_without_need():
    before = PHOTO.copy()
    assert np.shares_memory(as_pixels(PHOTO), PHOTO)
    WHOLE([PHOTO])
    np.testing.assert_array_equal(PHOTO, before)
