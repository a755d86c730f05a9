"""Images of any size become one array that a network of images reads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kerasllm.common import positive, whole_number

LARGEST = 2**27  # pixels of an image; a telephone's has 2**24 to 2**26


@dataclass(frozen=True)
class ImageInput:
    """Cuts the middle square out of each image, brings it to one size, and scales its numbers.

    What stands at the border is lost: of the shorter side ``size / (size + border)`` remains, 7/8 by default. Smaller
    images are made with a mean over the pixels that fall on each other, as Pillow's bilinear resizing does, so that
    fine patterns do not become wrong ones.

    Args:
        size: height and width of what comes out.
        border: how many pixels more than `size` the shorter side of the image would have; 0 keeps all of it.
        mean: is taken away from each number,
        scale: then they are divided by this. The defaults are those of EfficientNet-Lite.

    Call arguments:
        images: a list of images, or an array (images, height, width, 3): arrays uint8 (height, width, 3) or, in grey,
            (height, width); or images of Pillow, turned as their camera noted. Transparent ones are refused.

    Returns:
        Float32 array (images, size, size, 3).

    Raises:
        TypeError: if `images` is one image, or something in it is none.
        ValueError: if a number does not fit, an image is empty, not of uint8, has other channels or is transparent; the
            message says which image and what to do.

    Example:
        >>> images = ImageInput(size=2, border=0)([np.full((8, 6), 255, "uint8"), np.zeros((3, 3, 3), "uint8")])
        >>> images.shape, images[:, 0, 0, 0].tolist()
        ((2, 2, 2, 3), [1.0, -0.9921875])

    Reference: ``decode_and_center_crop`` in models/official/efficientnet/preprocessing.py of
    https://github.com/tensorflow/tpu, which resizes without the mean.
    """

    size: int = 224
    border: int = 32
    mean: float = 127.0
    scale: float = 128.0

    def __post_init__(self):
        whole_number("size", self.size, most=2**14)
        whole_number("border", self.border, 0)
        positive("scale", self.scale)
        if not np.isfinite(self.mean):
            raise ValueError(f"mean must be a finite number, not {self.mean!r}.")

    def __call__(self, images: Sequence[Any] | np.ndarray) -> np.ndarray:
        if _is_image(images):
            raise TypeError("images must be a list of images, not one image: write [image].")
        found = np.empty((len(images), self.size, self.size, 3), "float32")
        for number, image in enumerate(images):
            pixels = _middle(as_pixels(image, f"image {number}"), self.size / (self.size + self.border))
            found[number] = (resized(pixels, self.size) - self.mean) / self.scale
        return found

    def get_config(self) -> dict[str, Any]:
        """The arguments as JSON values: ``ImageInput(**config)`` makes it again."""
        return asdict(self)


def as_pixels(image: Any, name: str = "the image") -> np.ndarray:
    """An image as red, green and blue: uint8 array (height, width, 3).

    Args:
        image: an array, or an image of Pillow.
        name: for messages.

    Raises:
        TypeError: if it is no image.
        ValueError: if it is empty, too large, not of uint8, has other channels or is transparent.

    Example:
        >>> as_pixels(np.array([[7]], "uint8")).tolist()
        [[[7, 7, 7]]]
    """
    if _is_pillow(image):
        from PIL import ImageOps

        image = ImageOps.exif_transpose(image)
        transparent = "A" in image.getbands() or "transparency" in image.info
        image = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"{name} must be an array or an image of Pillow, not {type(image).__name__}: numpy.asarray(it)."
        )
    if image.dtype != np.uint8:
        raise ValueError(
            f"{name} must be uint8, from 0 to 255, not {image.dtype}: (image * 255).astype('uint8'), if it goes to 1."
        )
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=-1)
    if image.ndim != 3 or image.shape[-1] not in (3, 4) or not 0 < image.size <= 4 * LARGEST:
        raise ValueError(
            f"{name} must have the shape (height, width, 3), or (height, width) in grey, and at most {LARGEST:,} "
            f"pixels, not {image.shape}."
        )
    if image.shape[-1] == 4 and image[..., 3].min() < 255:
        raise ValueError(
            f"{name} is transparent. Put it on a ground: PIL.Image.alpha_composite(PIL.Image.new('RGBA', image.size, "
            "'white'), image)."
        )
    return image[..., :3]


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """An image in another size: each number the mean of those around its place, the nearer the heavier.

    Args:
        pixels: array (height, width, channels).
        size: height and width of the result.

    Returns:
        Float32 array (size, size, channels).

    Example:
        >>> resized(np.array([[[0.0], [4.0]], [[8.0], [12.0]]]), 1).tolist()
        [[[6.0]]]
    """
    for axis in (0, 1):
        weights, first = _neighbours(pixels.shape[axis], size)
        # Few rows count for each one: a product with the whole matrix would be mostly zeros.
        lines = [
            np.tensordot(line, pixels.take(range(start, start + len(line)), axis).astype("float32"), (0, axis))
            for start, line in zip(first, weights, strict=True)
        ]
        pixels = np.stack(lines, axis)
    return pixels


def _neighbours(length: int, size: int) -> tuple[list[np.ndarray], list[int]]:
    """For each of `size` places the weights of what lies around it, and where that begins."""
    step = length / size
    reach = max(step, 1.0)
    weights, first = [], []
    for centre in (np.arange(size) + 0.5) * step - 0.5:
        places = np.arange(max(0, int(np.ceil(centre - reach))), min(length, int(centre + reach) + 1))
        near = np.maximum(0, 1 - np.abs(places - centre) / reach)
        weights.append((near / near.sum()).astype("float32"))
        first.append(int(places[0]))
    return weights, first


def _middle(pixels: np.ndarray, share: float) -> np.ndarray:
    """The square in the middle, `share` of the shorter side."""
    height, width = pixels.shape[:2]
    side = max(1, round(share * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def _is_pillow(image: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")  # whoever has an image of it, has imported it
    return pillow is not None and isinstance(image, pillow.Image)


def _is_image(images: Any) -> bool:
    return _is_pillow(images) or (isinstance(images, np.ndarray) and images.dtype != object and images.ndim < 4)
