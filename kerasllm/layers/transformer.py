"""The transformer block: attention, then a feed-forward network, each added to what came in."""

import keras
from keras import layers

from kerasllm.layers.attention import MultiHeadAttention
from kerasllm.layers.feed_forward import FeedForward
from kerasllm.layers.normalization import LayerNormalization, RMSNormalization

NORMALIZATIONS = {"layer_norm": LayerNormalization, "rms_norm": RMSNormalization}
ARGUMENTS = (
    "num_heads",
    "hidden_dim",
    "causal",
    "cross_attention",
    "norm",
    "norm_first",
    "norm_epsilon",
    "gated",
    "head_dim",
    "num_kv_heads",
    "window",
    "rotary_wavelength",
    "qk_norm",
    "use_bias",
    "dropout",
)


@keras.saving.register_keras_serializable(package="kerasllm")
class TransformerBlock(layers.Layer):
    """One block of an encoder, of a decoder that looks at an encoder, or of a GPT.

    Args:
        num_heads: heads of attention.
        hidden_dim: units in the middle of the feed-forward network.
        causal: whether a position sees only itself and what stands before it.
        cross_attention: whether the block also looks at a `context`, between the two other parts.
        norm: "layer_norm" or "rms_norm".
        norm_first: whether each part normalises what comes in (pre-norm, GPT-2) or the sum that goes
            out (post-norm, the first transformer and BERT).
        norm_epsilon: the small number added to the variance.
        activation: activation of the feed-forward network.
        gated: whether the feed-forward network is gated.
        head_dim, num_kv_heads, window, rotary_wavelength, qk_norm: see `MultiHeadAttention`. Window and
            positions are those of the attention to the inputs, not of the one to a context.
        use_bias: whether projections and layer normalisation have a bias.
        dropout: share set to 0 while training: of the attention weights and of each part's output.
        kernel_initializer: initializer of the kernels.
        output_initializer: initializer of the last kernel of each part; `kernel_initializer` when None.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, time, dim).
        mask: bool tensor (batch, time), True at real tokens, or (batch, time, time).
        context: float tensor (batch, context_time, dim), with `cross_attention` only.
        context_mask: bool tensor (batch, context_time), True at real tokens of the context.
        cache, position, padding: see `MultiHeadAttention`.
        return_weights: whether the weights of the attention are returned too; with `cross_attention`
            those of the attention to the context.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, time, dim); with `return_weights` also the weights, with `cache` also
        the new cache, in this order.

    Raises:
        ValueError: if an argument does not fit; if a context is given to a block without
            `cross_attention` or is missing in one with it.

    Example:
        >>> block = TransformerBlock(num_heads=2, hidden_dim=32, causal=True)
        >>> tuple(block(keras.ops.ones((2, 5, 8))).shape)
        (2, 5, 8)

    Reference: Vaswani et al. (2017), "Attention Is All You Need", section 3.1; Xiong et al. (2020), "On Layer
    Normalization in the Transformer Architecture", section 3, for pre-norm and post-norm.
    """

    def __init__(
        self,
        num_heads,
        hidden_dim,
        causal=False,
        cross_attention=False,
        norm="layer_norm",
        norm_first=True,
        norm_epsilon=1e-5,
        activation="gelu",
        gated=False,
        head_dim=None,
        num_kv_heads=None,
        window=None,
        rotary_wavelength=None,
        qk_norm=False,
        use_bias=True,
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        output_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if norm not in NORMALIZATIONS:
            raise ValueError(f"norm must be one of {', '.join(NORMALIZATIONS)}, not {norm!r}.")
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.causal = causal
        self.cross_attention = cross_attention
        self.norm = norm
        self.norm_first = norm_first
        self.norm_epsilon = norm_epsilon
        self.gated = gated
        self.head_dim = head_dim
        self.num_kv_heads = num_kv_heads
        self.window = window
        self.rotary_wavelength = rotary_wavelength
        self.qk_norm = qk_norm
        self.use_bias = use_bias
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.output_initializer = keras.initializers.get(output_initializer)
        shared = {
            "use_bias": use_bias,
            "kernel_initializer": self.kernel_initializer,
            "output_initializer": self.output_initializer,
            "dtype": self.dtype_policy,
        }
        heads = {"head_dim": head_dim, "num_kv_heads": num_kv_heads, "qk_norm": qk_norm, "dropout": dropout, **shared}
        self.attention = MultiHeadAttention(
            num_heads, causal=causal, window=window, rotary_wavelength=rotary_wavelength, name="attention", **heads
        )
        self.attention_norm = self._norm("attention_norm")
        if cross_attention:
            self.context_attention = MultiHeadAttention(num_heads, name="context_attention", **heads)
            self.context_norm = self._norm("context_norm")
        self.feed_forward = FeedForward(hidden_dim, activation=activation, gated=gated, name="feed_forward", **shared)
        self.activation = self.feed_forward.activation
        self.feed_forward_norm = self._norm("feed_forward_norm")
        self.drop = layers.Dropout(dropout, dtype=self.dtype_policy)
        self.supports_masking = True

    def _norm(self, name):
        bias = {"center": self.use_bias} if self.norm == "layer_norm" else {}
        return NORMALIZATIONS[self.norm](epsilon=self.norm_epsilon, dtype=self.dtype_policy, name=name, **bias)

    def build(self, inputs_shape, context_shape=None):
        self.attention.build(inputs_shape)
        self.attention_norm.build(inputs_shape)
        if self.cross_attention:
            self.context_attention.build(inputs_shape, context_shape)
            self.context_norm.build(inputs_shape)
        self.feed_forward.build(inputs_shape)
        self.feed_forward_norm.build(inputs_shape)

    def call(
        self,
        inputs,
        mask=None,
        context=None,
        context_mask=None,
        cache=None,
        position=0,
        padding=None,
        return_weights=False,
        training=None,
    ):
        if self.cross_attention != (context is not None):
            need = "needs a context" if self.cross_attention else "takes no context"
            raise ValueError(f"A block with cross_attention={self.cross_attention} {need}.")
        wanted = {"return_weights": return_weights, "training": training}
        entered = self._enter(inputs, self.attention_norm)
        results = self.attention(entered, mask=mask, cache=cache, position=position, padding=padding, **wanted)
        attended, *extras = results if isinstance(results, tuple | list) else [results]
        x = self._leave(inputs, attended, self.attention_norm, training)
        if self.cross_attention:
            results = self.context_attention(self._enter(x, self.context_norm), context, mask=context_mask, **wanted)
            if return_weights:
                results, extras[0] = results
            x = self._leave(x, results, self.context_norm, training)
        hidden = self.feed_forward(self._enter(x, self.feed_forward_norm), training=training)
        x = self._leave(x, hidden, self.feed_forward_norm, training)
        return (x, *extras) if extras else x

    def _enter(self, x, norm):
        return norm(x) if self.norm_first else x

    def _leave(self, x, part, norm, training):
        x = x + self.drop(part, training=training)
        return x if self.norm_first else norm(x)

    def compute_mask(self, inputs, previous_mask):
        return getattr(inputs, "_keras_mask", None)  # the argument `mask` may be one of pairs

    def get_config(self):
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in ARGUMENTS},
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "output_initializer": self.output_initializer and keras.initializers.serialize(self.output_initializer),
        }
