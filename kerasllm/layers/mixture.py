"""A mixture of experts: many feed-forward networks, of which each token uses a few."""

import keras
from keras import ops

from kerasllm.common import share, whole_number
from kerasllm.layers.composite import Composite
from kerasllm.layers.feed_forward import activation_of


@keras.saving.register_keras_serializable(package="kerasllm")
class MixtureOfExperts(Composite, keras.layers.Layer):
    """Gated feed-forward networks side by side; a router chooses for each token the few that compute its output.

    A model gets more weights this way at the same number of operations a token. This layer is written to be read: it
    computes every expert for every token and multiplies what was not chosen by 0. The result is that of a layer which
    computes the chosen experts alone, the time is not.

    Args:
        num_experts: number of networks.
        experts_per_token: how many of them a token uses.
        hidden_dim: units in the middle of each network.
        activation: activation of the gate, see `FeedForward`.
        normalize: whether the weights of the chosen experts are divided by their sum.
        balance: how much the loss grows when some experts get more tokens than others; 0 switches that off, 0.01 is
            usual. Without it a router tends to use a few experts alone.
        kernel_initializer: initializer of the kernels.
        output_initializer: initializer of each expert's last kernel; `kernel_initializer` when None.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, time, dim).
        training: whether the loss of an uneven use is added.

    Returns:
        Float tensor (batch, time, dim).

    Raises:
        ValueError: if a size is not positive, or there are fewer experts than a token is to use.

    Example:
        >>> layer = MixtureOfExperts(num_experts=4, experts_per_token=2, hidden_dim=16)
        >>> tuple(layer(keras.ops.ones((2, 5, 8))).shape)
        (2, 5, 8)

    Reference: Shazeer et al. (2017), "Outrageously Large Neural Networks", section 2; Fedus et al. (2022), "Switch
    Transformers", section 2.2, equations 4 to 6, for `balance`; Jiang et al. (2024), "Mixtral of Experts", section 2.1.
    """

    def __init__(
        self,
        num_experts,
        experts_per_token,
        hidden_dim,
        activation="silu",
        normalize=True,
        balance=0.0,
        kernel_initializer="glorot_uniform",
        output_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_experts = whole_number("num_experts", num_experts)
        self.experts_per_token = whole_number("experts_per_token", experts_per_token, most=self.num_experts)
        self.hidden_dim = whole_number("hidden_dim", hidden_dim)
        self.activation = activation_of(activation)
        self.normalize = bool(normalize)
        self.balance = share("balance", balance)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.output_initializer = keras.initializers.get(output_initializer)
        self.router = keras.layers.Dense(
            self.num_experts,
            use_bias=False,
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name="router",
        )
        self.supports_masking = True

    def build(self, input_shape):
        dim, hidden, initial = input_shape[-1], self.hidden_dim, self.kernel_initializer
        self.expand = self._experts("btd,edh->bteh", hidden, "expand", initial)
        self.gate = self._experts("btd,edh->bteh", hidden, "gate", initial)
        self.project = self._experts("bteh,ehd->bted", dim, "project", self.output_initializer or initial)
        self.router.build(input_shape)
        self.expand.build((None, None, dim))
        self.gate.build((None, None, dim))
        self.project.build((None, None, self.num_experts, hidden))
        self.restore_parts()

    def _experts(self, equation, units, name, initializer):
        shape = (None, self.num_experts, units)
        return keras.layers.EinsumDense(
            equation, shape, kernel_initializer=initializer.clone(), dtype=self.dtype_policy, name=name
        )

    def call(self, inputs, training=None):
        shares = self.shares(inputs)  # (batch, time, num_experts)
        hidden = self.activation(self.gate(inputs)) * self.expand(inputs)  # (batch, time, num_experts, hidden_dim)
        outputs = self.project(hidden)  # (batch, time, num_experts, dim)
        if training and self.balance:
            self.add_loss(self.balance * self.unevenness(inputs))
        return ops.sum(outputs * ops.cast(shares, outputs.dtype)[..., None], axis=2)

    def shares(self, inputs):
        """The weight of each expert for each token, 0 where it was not chosen: float32 (batch, time, num_experts)."""
        probabilities = self._probabilities(inputs)
        _, chosen = ops.top_k(probabilities, self.experts_per_token)  # (batch, time, experts_per_token)
        chosen = ops.sum(ops.one_hot(chosen, self.num_experts, dtype="float32"), axis=-2)
        shares = probabilities * chosen
        return shares / ops.sum(shares, axis=-1, keepdims=True) if self.normalize else shares

    def unevenness(self, inputs):
        """1 where all experts are used alike, up to `num_experts` where one gets every token: a float scalar."""
        probabilities = ops.reshape(self._probabilities(inputs), (-1, self.num_experts))  # (tokens, num_experts)
        used = ops.cast(ops.reshape(self.shares(inputs), (-1, self.num_experts)) > 0, "float32")
        fractions = ops.mean(used, axis=0) / self.experts_per_token
        return self.num_experts * ops.sum(fractions * ops.mean(probabilities, axis=0))

    def _probabilities(self, inputs):
        return ops.softmax(ops.cast(self.router(inputs), "float32"), axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        names = ("num_experts", "experts_per_token", "hidden_dim", "normalize", "balance")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "output_initializer": self.output_initializer and keras.initializers.serialize(self.output_initializer),
        }
