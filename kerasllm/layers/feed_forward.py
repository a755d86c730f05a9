"""The position-wise feed-forward network: two dense layers with an activation between them."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="kerasllm")
def squared_relu(x):
    """``max(x, 0) ** 2``: cheaper than GELU, and at least as good in language models.

    Reference: So et al. (2021), "Primer: Searching for Efficient Transformers for Language Modeling", section 4.

    Example:
        >>> [float(y) for y in squared_relu(keras.ops.array([-1.0, 3.0]))]
        [0.0, 9.0]
    """
    return ops.square(ops.relu(x))


@keras.saving.register_keras_serializable(package="kerasllm")
def gelu_tanh(x):
    """GELU by its tanh formula, as GPT-2 computes it; it differs from the exact one by less than 0.001.

    Reference: Hendrycks and Gimpel (2016), "Gaussian Error Linear Units", section 2.

    Example:
        >>> [round(float(y), 3) for y in gelu_tanh(keras.ops.array([-1.0, 1.0]))]
        [-0.159, 0.841]
    """
    return keras.activations.gelu(x, approximate=True)


ACTIVATIONS = {"squared_relu": squared_relu, "gelu_tanh": gelu_tanh}


class _TallDense(layers.Dense):
    """`keras.layers.Dense` for kernels with more rows than columns, faster to train where XLA compiles for a CPU.

    XLA computes the gradient of such a kernel, inputs^T @ upstream, at half the speed of the transposed product,
    upstream^T @ inputs.
    """

    def call(self, inputs, training=None):
        outputs = _product(inputs, ops.cast(self.kernel, inputs.dtype))
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return self.activation(outputs)


@ops.custom_gradient
def _product(inputs, kernel):
    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream  # PyTorch names it, the others do not
        rows, above = (ops.reshape(x, (-1, x.shape[-1])) for x in (inputs, upstream))
        one = 1 + 0 * above[0, 0]  # a one that XLA cannot foresee: it would undo a product that is only transposed
        slope = ops.transpose(one * ops.matmul(ops.transpose(above), rows))
        return ops.reshape(ops.matmul(above, ops.transpose(kernel)), ops.shape(inputs)), slope

    return ops.matmul(inputs, kernel), gradient


@keras.saving.register_keras_serializable(package="kerasllm")
class FeedForward(layers.Layer):
    """Two dense layers with an activation between them, applied to the last axis.

    Between a perceptron and a transformer this is the part that stays the same: with one vector a
    sample it is the multi-layer perceptron of lesson 02, with one vector a token it is the
    feed-forward sub-layer of a transformer block.

    Args:
        hidden_dim: units of the layer in the middle.
        output_dim: units of the last layer; the size of the input's last axis when None.
        activation: name or function of the activation in the middle; "squared_relu" and "gelu_tanh" are two more.
        gated: whether the hidden units are multiplied by a third dense layer without activation. With
            ``activation="silu"`` this is SwiGLU.
        use_bias: whether the dense layers add a bias.
        dropout: share of the hidden units that is set to 0 while training, from 0 to below 1.
        kernel_initializer: initializer of the kernels; each kernel gets its own clone.
        output_initializer: initializer of the last kernel; `kernel_initializer` when None.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (..., input_dim).
        training: whether dropout is active.

    Returns:
        Float tensor (..., output_dim).

    Raises:
        ValueError: if a size is not positive, or `dropout` is not in [0, 1).

    Example:
        >>> import keras
        >>> layer = FeedForward(hidden_dim=32)
        >>> tuple(layer(keras.ops.ones((2, 5, 8))).shape)
        (2, 5, 8)

    Reference: Vaswani et al. (2017), "Attention Is All You Need", section 3.3, equation 2;
    Shazeer (2020), "GLU Variants Improve Transformer", section 2, for the gate.
    """

    def __init__(
        self,
        hidden_dim,
        output_dim=None,
        activation="gelu",
        gated=False,
        use_bias=True,
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        output_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, size in (("hidden_dim", hidden_dim), ("output_dim", output_dim)):
            if size is not None and (not isinstance(size, int) or size < 1):
                raise ValueError(f"{name} must be a whole number from 1 up, not {size!r}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be a share from 0 to below 1, not {dropout!r}.")
        self.hidden_dim = hidden_dim
        self.output_dim = output_dim
        named = ACTIVATIONS.get(activation) if isinstance(activation, str) else None
        self.activation = keras.activations.get(named or activation)
        self.gated = gated
        self.use_bias = use_bias
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.output_initializer = keras.initializers.get(output_initializer)
        self.expand = self._dense(hidden_dim, None if gated else self.activation, "expand")
        if gated:
            self.gate = self._dense(hidden_dim, self.activation, "gate")
        self.drop = layers.Dropout(dropout, dtype=self.dtype_policy)
        self.supports_masking = True

    def _dense(self, units, activation, name, initializer=None, kind=layers.Dense):
        # One seeded initializer used twice would give two equal kernels: clone it.
        initializer = initializer or self.kernel_initializer
        initializer = initializer.__class__.from_config(initializer.get_config())
        return kind(
            units,
            activation=activation,
            use_bias=self.use_bias,
            kernel_initializer=initializer,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape):
        units = self.output_dim or input_shape[-1]
        kind = _TallDense if units < self.hidden_dim else layers.Dense
        self.project = self._dense(units, None, "project", self.output_initializer, kind)
        self.expand.build(input_shape)
        if self.gated:
            self.gate.build(input_shape)
        self.project.build((*input_shape[:-1], self.hidden_dim))

    def call(self, inputs, training=None):
        hidden = self.expand(inputs)  # (..., hidden_dim)
        if self.gated:
            hidden = hidden * self.gate(inputs)
        return self.project(self.drop(hidden, training=training))  # (..., output_dim)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.output_dim or input_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "output_dim": self.output_dim,
            "activation": keras.activations.serialize(self.activation),
            "gated": self.gated,
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "output_initializer": self.output_initializer and keras.initializers.serialize(self.output_initializer),
        }
