"""The position-wise feed-forward network: two dense layers with an activation between them."""

import keras
from keras import layers


@keras.saving.register_keras_serializable(package="kerasllm")
class FeedForward(layers.Layer):
    """Two dense layers with an activation between them, applied to the last axis.

    Between a perceptron and a transformer this is the part that stays the same: with one vector a
    sample it is the multi-layer perceptron of lesson 02, with one vector a token it is the
    feed-forward sub-layer of a transformer block.

    Args:
        hidden_dim: units of the layer in the middle.
        output_dim: units of the last layer; the size of the input's last axis when None.
        activation: name or function of the activation in the middle.
        use_bias: whether both dense layers add a bias.
        dropout: share of the hidden units that is set to 0 while training, from 0 to below 1.
        kernel_initializer: initializer of both kernels; each kernel gets its own clone.
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

    Reference: Vaswani et al. (2017), "Attention Is All You Need", section 3.3, equation 2.
    """

    def __init__(
        self,
        hidden_dim,
        output_dim=None,
        activation="gelu",
        use_bias=True,
        dropout=0.0,
        kernel_initializer="glorot_uniform",
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
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.expand = self._dense(hidden_dim, self.activation, "expand")
        self.drop = layers.Dropout(dropout, dtype=self.dtype_policy)
        self.supports_masking = True

    def _dense(self, units, activation, name):
        # One seeded initializer used twice would give two equal kernels: clone it.
        initializer = self.kernel_initializer.__class__.from_config(self.kernel_initializer.get_config())
        return layers.Dense(
            units,
            activation=activation,
            use_bias=self.use_bias,
            kernel_initializer=initializer,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape):
        self.project = self._dense(self.output_dim or input_shape[-1], None, "project")
        self.expand.build(input_shape)
        self.project.build((*input_shape[:-1], self.hidden_dim))

    def call(self, inputs, training=None):
        hidden = self.expand(inputs)  # (..., hidden_dim)
        return self.project(self.drop(hidden, training=training))  # (..., output_dim)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.output_dim or input_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "output_dim": self.output_dim,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
