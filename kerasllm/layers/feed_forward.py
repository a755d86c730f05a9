"""The position-wise feed-forward network: two dense layers with an activation between them."""

import keras
from keras import ops

from kerasllm.common import share, whole_number
from kerasllm.layers.composite import Composite


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


def activation_of(activation):
    """The function of an activation's name, or the function itself if it can be saved.

    Args:
        activation: a name that Keras knows, "squared_relu", "gelu_tanh", a function, or what `keras.activations.
            serialize` made of one.

    Returns:
        A function of one tensor.

    Raises:
        ValueError: if the name is unknown, or a file could not name the function.
    """
    named = ACTIVATIONS.get(activation) if isinstance(activation, str) else None
    found = keras.activations.get(named or activation)
    try:
        again = keras.activations.deserialize(keras.activations.serialize(found))
    except (TypeError, ValueError):
        again = None
    if again is not found and not isinstance(found, keras.layers.Layer):
        raise ValueError(
            f"The activation {getattr(found, '__name__', found)} could not be saved: Keras finds no function of that "
            'name. Put @keras.saving.register_keras_serializable(package="...") above it.'
        )
    return found


@keras.saving.register_keras_serializable(package="kerasllm")
class FeedForward(Composite, keras.layers.Layer):
    """Two dense layers with an activation between them, applied to the last axis.

    Between a perceptron and a transformer this is the part that stays the same: with one vector a sample it is the
    multi-layer perceptron, with one vector a token it is the feed-forward sub-layer of a transformer block.

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
        ValueError: if a size is not positive, `dropout` is not in [0, 1), or a file could not name the activation.

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
        self.hidden_dim = whole_number("hidden_dim", hidden_dim)
        self.output_dim = whole_number("output_dim", output_dim, optional=True)
        self.activation = activation_of(activation)
        self.gated = bool(gated)
        self.use_bias = bool(use_bias)
        self.dropout = share("dropout", dropout)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.output_initializer = keras.initializers.get(output_initializer)
        self.expand = self._dense(self.hidden_dim, None if gated else self.activation, "expand")
        if gated:
            self.gate = self._dense(self.hidden_dim, self.activation, "gate")
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.supports_masking = True

    def _dense(self, units, activation, name, initializer=None):
        # One seeded initializer used twice would give two equal kernels: clone it.
        return keras.layers.Dense(
            units,
            activation=activation,
            use_bias=self.use_bias,
            kernel_initializer=(initializer or self.kernel_initializer).clone(),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape):
        self.project = self._dense(self.output_dim or input_shape[-1], None, "project", self.output_initializer)
        self.expand.build(input_shape)
        if self.gated:
            self.gate.build(input_shape)
        self.project.build((*input_shape[:-1], self.hidden_dim))
        self.restore_parts()

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
