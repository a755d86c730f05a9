"""What differs between backends in this room."""

import keras
import numpy as np
from keras import ops

from kerasllm.common.memory import LARGE, returned_zeros


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


def handed_over(array, dtype=None):
    """A tensor in the memory of an array, where the backend can do that: on TensorFlow, which else copies it twice.

    A large array that TensorFlow cannot hold where it stands is copied once, to memory where it can.

    Args:
        array: NumPy array that nobody writes to or reads any more.
        dtype: that of the tensor; that of the array when None.

    Returns:
        What `keras.Variable` takes.
    """
    dtype = array.dtype if dtype is None else np.dtype(dtype)
    half = dtype == "bfloat16"  # which the protocol of arrays does not know
    if keras.backend.backend() != "tensorflow" or not (half or dtype.kind in "iuf"):
        return array.astype(dtype, copy=False)
    # TensorFlow aborts where memory is not aligned.
    if array.dtype != dtype or not array.flags.carray or array.ctypes.data % 64:
        if array.size * dtype.itemsize < LARGE:
            return array.astype(dtype, copy=False)
        array, other = returned_zeros(array.shape, dtype), array
        array[...] = other
    import tensorflow as tf

    tensor = tf.experimental.dlpack.from_dlpack((array.view("uint16") if half else array).__dlpack__())
    return tf.bitcast(tensor, "bfloat16") if half else tensor


def scanned(step, state, inputs):
    """The state after each step of a loop over the first axis, with gradients, however long it is.

    On TensorFlow `keras.ops.scan` has a loop without a bound, whose gradient XLA cannot compile.

    Args:
        step: function of a state and the inputs at one place that returns the next state.
        state: nested tensors, the state before the first step.
        inputs: nested tensors (time, ...).

    Returns:
        Nested tensors (time, ...) in the structure of the state.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.scan(step, inputs, state)

    def both(state, now):
        state = step(state, now)
        return state, state

    return ops.scan(both, state, inputs)[1]
