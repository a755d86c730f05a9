"""The transformer block: attention, then a feed-forward network, each added to what came in."""

import keras

from kerasllm.common import choice, share
from kerasllm.layers.attention import MultiHeadAttention
from kerasllm.layers.cache import ContextCache
from kerasllm.layers.composite import Composite, copy_of, made, stored, template
from kerasllm.layers.first_edition import first_edition_block

PLACEMENTS = ("before", "after", "both")


@keras.saving.register_keras_serializable(package="kerasllm")
class TransformerBlock(Composite, keras.layers.Layer):
    """One block of an encoder, of a decoder that looks at an encoder, or of a GPT.

    The parts are templates: the block makes a copy of each, with its own dtype policy.

    Args:
        attention: a `MultiHeadAttention`: how a token looks at the others.
        feed_forward: a `FeedForward`, a `MixtureOfExperts`, or any layer from (batch, time, dim) to the same.
        norm: the normalisation, such as `keras.layers.RMSNormalization()`; the block makes as many copies as it has
            places for it. `keras.layers.LayerNormalization(epsilon=1e-5)` when None.
        placement: where each part is normalised: "before", what comes into it (pre-norm, GPT-2); "after", the sum that
            goes out (post-norm, the first transformer and BERT); or "both", what comes in and what comes out before
            it is added (Gemma).
        context_attention: a `MultiHeadAttention` that looks at a `context`, between the two other parts; none when
            None.
        dropout: share of each part's output that is set to 0 while training, from 0 to below 1.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, time, dim).
        mask: bool tensor (batch, time), True at real tokens, or (batch, time, time), True where one may look.
        context: float tensor (batch, context_time, dim), with `context_attention` only.
        context_mask: bool tensor (batch, context_time), True at real tokens of the context.
        positions: see `MultiHeadAttention`.
        cache: what `make_cache` or an earlier call returned; with it the context is left out.
        return_weights: whether the weights of the attention are returned too; with `context_attention` those of the
            attention to the context.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, time, dim); with `return_weights` also the weights, with `cache` also the new cache, in
        this order.

    Raises:
        ValueError: if a part is no layer, or has weights already; if a context is given to a block that does not look
            at one, or is missing in one that does.

    Example:
        >>> from kerasllm.layers import FeedForward
        >>> block = TransformerBlock(MultiHeadAttention(num_heads=2, causal=True), FeedForward(32))
        >>> tuple(block(keras.ops.ones((2, 5, 8))).shape)
        (2, 5, 8)

    Reference: Vaswani et al. (2017), "Attention Is All You Need", section 3.1; Xiong et al. (2020), "On Layer
    Normalization in the Transformer Architecture", section 3, for "before" and "after"; Gemma Team (2024), "Gemma 2",
    section 2, for "both".
    """

    def __init__(
        self,
        attention,
        feed_forward,
        norm=None,
        placement="before",
        context_attention=None,
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, one in (("attention", attention), ("context_attention", context_attention)):
            if template(name, one, optional=name != "attention") and not isinstance(one, MultiHeadAttention):
                raise ValueError(f"{name} must be a MultiHeadAttention of kerasllm, not {one!r}.")
        template("feed_forward", feed_forward)
        norm = template("norm", norm, optional=True) or keras.layers.LayerNormalization(epsilon=1e-5)
        self.placement = choice("placement", placement, PLACEMENTS)
        self.dropout = share("dropout", dropout)
        policy = self.dtype_policy
        self.attention = copy_of(attention, "attention", policy)
        self.attention_norm = copy_of(norm, "attention_norm", policy)
        self.context_attention = context_attention and copy_of(context_attention, "context_attention", policy)
        self.context_norm = context_attention and copy_of(norm, "context_norm", policy)
        self.feed_forward = copy_of(feed_forward, "feed_forward", policy)
        self.feed_forward_norm = copy_of(norm, "feed_forward_norm", policy)
        if placement == "both":
            self.attention_post_norm = copy_of(norm, "attention_post_norm", policy)
            self.context_post_norm = context_attention and copy_of(norm, "context_post_norm", policy)
            self.feed_forward_post_norm = copy_of(norm, "feed_forward_post_norm", policy)
        self.drop = keras.layers.Dropout(self.dropout, dtype=policy)
        self.supports_masking = True

    def build(self, inputs_shape, context_shape=None):
        for name in ("attention", "context", "feed_forward"):
            for norm in (getattr(self, f"{name}_norm"), getattr(self, f"{name}_post_norm", None)):
                if norm is not None:
                    norm.build(inputs_shape)
        self.attention.build(inputs_shape)
        if self.context_attention is not None:
            self.context_attention.build(inputs_shape, context_shape or inputs_shape)
        self.feed_forward.build(inputs_shape)
        self.restore_parts()

    def make_cache(self, batch_size, capacity, context=None):
        """An empty cache for `batch_size` texts with room for `capacity` tokens.

        Args:
            batch_size: number of texts.
            capacity: see `MultiHeadAttention.make_cache`.
            context: what a block with `context_attention` looks at, float tensor (batch, context_time, dim). It is
                projected here, once, and no more for each written token.

        Returns:
            A `Cache`; with a context a pair of it and a `ContextCache`.
        """
        self._check_context(context is not None)
        cache = self.attention.make_cache(batch_size, capacity)
        return cache if context is None else (cache, self.context_attention.read_context(context))

    def call(
        self,
        inputs,
        mask=None,
        context=None,
        context_mask=None,
        positions=None,
        cache=None,
        return_weights=False,
        training=None,
    ):
        own, read = cache if self.context_attention is not None and cache is not None else (cache, None)
        if read is not None and context is not None:
            raise ValueError("The cache holds the context already: give one of the two.")
        self._check_context(context is not None or isinstance(read, ContextCache))
        given = {"return_weights": return_weights, "training": training}
        entered = self._enter(inputs, "attention")
        results = self.attention(entered, mask=mask, positions=positions, cache=own, **given)
        attended, *extras = results if isinstance(results, tuple | list) else [results]
        x = self._leave(inputs, attended, "attention", training)
        if self.context_attention is not None:
            entered = self._enter(x, "context")
            results = self.context_attention(entered, context, mask=context_mask, cache=read, **given)
            attended, *more = results if isinstance(results, tuple | list) else [results]
            extras = [*more[: int(return_weights)], *([] if cache is None else [(extras[-1], read)])]
            x = self._leave(x, attended, "context", training)
        hidden = self.feed_forward(self._enter(x, "feed_forward"), training=training)
        x = self._leave(x, hidden, "feed_forward", training)
        return (x, *extras) if extras else x

    def _check_context(self, given):
        wanted = self.context_attention is not None
        if wanted != given:
            need = "needs a context" if wanted else "takes no context"
            raise ValueError(f"A block {'with' if wanted else 'without'} context_attention {need}.")

    def _enter(self, x, part):
        return x if self.placement == "after" else getattr(self, f"{part}_norm")(x)

    def _leave(self, x, output, part, training):
        if self.placement == "both":
            output = getattr(self, f"{part}_post_norm")(output)
        x = x + self.drop(output, training=training)
        return getattr(self, f"{part}_norm")(x) if self.placement == "after" else x

    def compute_mask(self, inputs, previous_mask):
        return getattr(inputs, "_keras_mask", None)  # the argument `mask` may be one of pairs

    def get_config(self):
        parts = {"attention": self.attention, "feed_forward": self.feed_forward, "norm": self.attention_norm}
        parts["context_attention"] = self.context_attention
        return {
            **super().get_config(),
            **{name: stored(part) for name, part in parts.items()},
            "placement": self.placement,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config):
        config = first_edition_block(config) if "num_heads" in config else dict(config)
        for name in ("attention", "feed_forward", "norm", "context_attention"):
            config[name] = made(config.get(name))
        return cls(**config)
