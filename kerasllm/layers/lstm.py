"""One step of the LSTM, written out."""

from __future__ import annotations

import keras
from keras import ops

from kerasllm.common import whole_number


@keras.saving.register_keras_serializable(package="kerasllm")
class LSTMCell(keras.layers.Layer):
    """One step of the LSTM: from a token's vector and the state before it to the state after it.

    Gates decide what the cell forgets, adds and shows. `keras.layers.RNN` runs it over time:
    ``keras.layers.RNN(LSTMCell(64), return_sequences=True)`` computes what `keras.layers.LSTM` does,
    with the same weights in the same order. The models of this package use `keras.layers.LSTM`,
    which runs on cuDNN where there is a GPU; this one is for reading and for changing.

    Args:
        units: size of the state.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, input_dim), one position of each text.
        states: list of two float tensors (batch, units): hidden state h and cell state c.

    Returns:
        The new h, float tensor (batch, units), and the list of the new h and c.

    Raises:
        ValueError: if `units` is not positive.

    Example:
        >>> import keras
        >>> cell, zeros = LSTMCell(3), keras.ops.zeros((2, 3))
        >>> output, (h, c) = cell(keras.ops.ones((2, 5)), [zeros, zeros])
        >>> tuple(output.shape)
        (2, 3)

    Reference: Hochreiter and Schmidhuber (1997), "Long Short-Term Memory"; Gers et al. (2000) for
    the forget gate; Jozefowicz et al. (2015), section 2.2, for its bias of 1.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = whole_number("units", units)
        self.state_size = [self.units, self.units]
        self.output_size = self.units

    def build(self, input_shape):
        size = 4 * self.units  # three gates and the new content
        self.kernel = self.add_weight((input_shape[-1], size), "glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight((self.units, size), "orthogonal", name="recurrent_kernel")
        self.bias = self.add_weight((size,), self._initial_bias, name="bias")

    def _initial_bias(self, shape, dtype=None):
        # The forget gate starts open: what the cell holds survives until training says otherwise.
        zeros = ops.zeros((self.units,), dtype)
        return ops.concatenate([zeros, ops.ones((self.units,), dtype), zeros, zeros])

    def call(self, inputs, states):
        h, c = states  # (batch, units) each
        z = ops.matmul(inputs, self.kernel) + ops.matmul(h, self.recurrent_kernel) + self.bias  # (batch, 4 * units)
        i, f, g, o = ops.split(z, 4, axis=-1)  # (batch, units) each
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)  # forget a part, add a part
        h = ops.sigmoid(o) * ops.tanh(c)  # show a part
        return h, [h, c]

    def get_config(self):
        return {**super().get_config(), "units": self.units}
