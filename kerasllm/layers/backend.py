"""What differs between backends in this room."""

import keras
from keras import ops


def summed(x):
    """The sum over the first axis, made after `x` and not while it is made.

    XLA may put a sum into the loop that makes its terms. That loop then runs along the sum, one number at a time,
    where the loop over columns alone runs many at a time: the product of a vector and a matrix takes ten times as
    long. XLA for TensorFlow leaves a sum of more than 32 terms alone, that of JAX a product with ones.

    Args:
        x: float tensor (terms, columns).

    Returns:
        Float tensor (columns,).
    """
    if keras.backend.backend() == "jax":
        return ops.einsum("tc,t->c", x, ops.ones((x.shape[0],), x.dtype))
    return ops.sum(x, axis=0)


def handed_over(array):
    """A tensor in the memory of an array, where the backend can do that: on TensorFlow, which else copies it twice.

    Args:
        array: NumPy array that nobody writes to or reads any more.

    Returns:
        What `keras.Variable` takes.
    """
    if keras.backend.backend() != "tensorflow" or array.ctypes.data % 64:  # it aborts where memory is not aligned
        return array
    import tensorflow as tf

    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
