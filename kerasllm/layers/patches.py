"""A picture becomes a row of vectors: it is cut into squares, and each square is projected like a token."""

import keras
from keras import ops

from kerasllm.common import whole_number
from kerasllm.layers.composite import Composite


def cut(pictures, size):
    """The squares of pictures, row by row from the left at the top.

    Args:
        pictures: float tensor (batch, height, width, channels); height and width are multiples of `size`.
        size: height and width of a square, in pixels.

    Returns:
        Float tensor (batch, places, size * size * channels): the pixels of a square row by row, the channels of a pixel
        side by side.

    Raises:
        ValueError: if a side is no multiple of `size`.

    Example:
        >>> import numpy as np
        >>> picture = np.arange(16.0).reshape(1, 4, 4, 1)
        >>> ops.convert_to_numpy(cut(picture, 2))[0, 1].tolist()
        [2.0, 3.0, 6.0, 7.0]
    """
    height, width, channels = pictures.shape[1:]
    if height % size or width % size:
        raise ValueError(f"A picture of {height} by {width} pixels cannot be cut into squares of {size} by {size}.")
    rows, columns = height // size, width // size
    x = ops.reshape(pictures, (-1, rows, size, columns, size, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (batch, rows, columns, size, size, channels)
    return ops.reshape(x, (-1, rows * columns, size * size * channels))


@keras.saving.register_keras_serializable(package="kerasllm")
class PatchEmbedding(Composite, keras.layers.Layer):
    """Cuts pictures into squares, the patches, and makes a vector of each with one matrix.

    It does what a convolution does whose kernel is as large as its steps.

    Args:
        patch_size: height and width of a patch, in pixels.
        output_dim: size of a patch's vector.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, height, width, channels); height and width are multiples of `patch_size`.

    Returns:
        Float tensor (batch, places, output_dim), places row by row from the left at the top.

    Raises:
        ValueError: if a size is not positive, or a side is no multiple of `patch_size`.

    Example:
        >>> import numpy as np
        >>> tuple(PatchEmbedding(8, 16)(np.zeros((2, 32, 24, 3))).shape)
        (2, 12, 16)

    Reference: Dosovitskiy et al. (2021), "An Image is Worth 16x16 Words", section 3.1, equation 1.
    """

    def __init__(self, patch_size, output_dim, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = whole_number("patch_size", patch_size)
        self.output_dim = whole_number("output_dim", output_dim)
        self.project = keras.layers.Dense(self.output_dim, dtype=self.dtype_policy, name="project")

    def build(self, input_shape):
        self.project.build((None, None, self.patch_size**2 * input_shape[-1]))
        self.restore_parts()

    def call(self, inputs):
        return self.project(cut(inputs, self.patch_size))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, (height // self.patch_size) * (width // self.patch_size), self.output_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "output_dim": self.output_dim,
        }
