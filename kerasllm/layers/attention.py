"""Multi-head attention: every token looks up what it needs in the others."""

import functools
import math

import keras
from keras import ops

from kerasllm.common import positive, share, whole_number
from kerasllm.layers.cache import ContextCache, empty_cache, next_positions, write
from kerasllm.layers.composite import Composite, copy_of, made, stored, template
from kerasllm.layers.first_edition import first_edition_attention
from kerasllm.layers.masks import as_mask
from kerasllm.layers.position import RotaryPositions


def allowed_pairs(query_positions, key_positions, causal=False, window=None):
    """Which position may look at which: the rule that every mask of this library is made from.

    Args:
        query_positions: int tensor (time,) or (batch, time).
        key_positions: int tensor (key_time,) or (batch, key_time). Positions below 0 hold nothing, or padding, and
            are never looked at.
        causal: whether a position sees only itself and what stands before it.
        window: how many positions one sees, itself included; all when None.

    Returns:
        Bool tensor (time, key_time), or (batch, time, key_time) if one of the two has a batch: True where the query
        may look at the key.

    Example:
        >>> import numpy as np
        >>> print(np.array(allowed_pairs(np.arange(4), np.arange(4), causal=True, window=2)).astype(int))
        [[1 0 0 0]
         [1 1 0 0]
         [0 1 1 0]
         [0 0 1 1]]
    """
    queries = ops.expand_dims(ops.convert_to_tensor(query_positions, "int32"), -1)  # (..., time, 1)
    keys = ops.expand_dims(ops.convert_to_tensor(key_positions, "int32"), -2)  # (..., 1, key_time)
    distance = queries - keys
    allowed = keys >= 0
    if causal:
        allowed = ops.logical_and(allowed, distance >= 0)
    if window is not None:
        allowed = ops.logical_and(allowed, distance < window)
        if not causal:
            allowed = ops.logical_and(allowed, distance > -window)
    return ops.broadcast_to(allowed, ops.shape(distance))


@keras.saving.register_keras_serializable(package="kerasllm")
class MultiHeadAttention(Composite, keras.layers.Layer):
    """Scaled dot-product attention in several heads, with what a language model of today adds to it.

    `keras.layers.MultiHeadAttention` and `GroupQueryAttention` compute the same sums. This layer adds rotary
    positions, a normalisation of queries and keys, a sliding window, positions that are told for each text, and a
    cache for writing one token after another.

    Args:
        num_heads: number of heads, each with queries of its own.
        head_dim: size of a query and a key; the inputs' size divided by `num_heads` when None.
        num_kv_heads: number of heads of keys and values, each shared by ``num_heads / num_kv_heads`` heads of
            queries; `num_heads` when None. 1 is multi-query attention.
        causal: whether a position sees only itself and what stands before it.
        window: how many positions one sees, itself included; all when None.
        rotary: a `RotaryPositions` layer that turns queries and keys; none when None.
        qk_norm: a layer that normalises each query and each key, such as `keras.layers.RMSNormalization`; none when
            None. It is a template: queries and keys get a copy each.
        scale: what the scores are multiplied by; ``1 / sqrt(head_dim)`` when None.
        use_bias: whether the projections of queries, keys and values add a bias.
        output_bias: whether the projection of the outputs adds one; as `use_bias` when None.
        dropout: share of the attention weights that is set to 0 while training, from 0 to below 1.
        kernel_initializer: initializer of the projections of queries, keys and values.
        output_initializer: initializer of the projection of the outputs; `kernel_initializer` when None.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, time, dim): where queries come from.
        context: float tensor (batch, key_time, dim): where keys and values come from; `inputs` when None.
        mask: bool tensor (batch, key_time), True at real tokens, False at padding; or (batch, time, key_time), True
            where a query may look. What stands in the output at a padded position means nothing.
        positions: int tensor (time,) or (batch, time), the position of each input in its text; below 0 it is padding,
            which nobody looks at. 0, 1, 2, ... when None, or what follows the cache.
        cache: a `Cache` from `make_cache` or an earlier call, for the tokens before `inputs`; or a `ContextCache` from
            `read_context`, in place of a context.
        return_weights: whether the attention weights are returned too.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, time, dim). With `return_weights` also the weights, float tensor (batch, num_heads, time,
        key_time). With `cache` also the new cache. In this order.

    Raises:
        ValueError: if a size is not positive, the heads do not fit each other or the inputs, a mask has another
            shape or is no mask, a cache comes together with a context or a mask, or it has no room for the inputs.

    Example:
        >>> layer = MultiHeadAttention(num_heads=2, causal=True)
        >>> outputs, weights = layer(keras.ops.ones((1, 3, 8)), return_weights=True)
        >>> [[round(float(w), 2) for w in row] for row in weights[0, 0]]
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.33, 0.33, 0.33]]

    Reference: Vaswani et al. (2017), "Attention Is All You Need", section 3.2; Ainslie et al. (2023), "GQA", section
    2.2, for shared keys; Henry et al. (2020), "Query-Key Normalization for Transformers", section 3, for `qk_norm`,
    here with root mean squares and one scale a dimension; Beltagy et al. (2020), "Longformer", section 3.1, for the
    window.
    """

    def __init__(
        self,
        num_heads,
        head_dim=None,
        num_kv_heads=None,
        causal=False,
        window=None,
        rotary=None,
        qk_norm=None,
        scale=None,
        use_bias=True,
        output_bias=None,
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        output_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = whole_number("num_heads", num_heads)
        self.head_dim = whole_number("head_dim", head_dim, optional=True)
        self.num_kv_heads = whole_number("num_kv_heads", num_kv_heads, optional=True)
        self.window = whole_number("window", window, optional=True)
        if self.num_heads % (self.num_kv_heads or self.num_heads):
            raise ValueError(f"num_heads={num_heads} cannot be shared evenly among num_kv_heads={num_kv_heads}.")
        if rotary is not None and not isinstance(rotary, RotaryPositions):
            raise ValueError(f"rotary must be a RotaryPositions layer, not {rotary!r}: RotaryPositions(10000.0).")
        self.causal = bool(causal)
        self.rotary = rotary and copy_of(rotary, "rotary", self.dtype_policy)
        self.scale = None if scale is None else positive("scale", scale)
        self.use_bias = bool(use_bias)
        self.output_bias = output_bias
        self.dropout = share("dropout", dropout)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.output_initializer = keras.initializers.get(output_initializer)
        template("qk_norm", qk_norm, optional=True)
        self._norm = qk_norm and functools.partial(copy_of, qk_norm, dtype=self.dtype_policy)
        self.query_norm = self.key_norm = None  # until `build`
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.supports_masking = True

    def build(self, inputs_shape, context_shape=None):
        dim = inputs_shape[-1]
        if self.head_dim is None and dim % self.num_heads:
            raise ValueError(f"Inputs of size {dim} cannot be cut into num_heads={self.num_heads} heads: set head_dim.")
        self._head_dim = self.head_dim or dim // self.num_heads
        self._kv_heads = self.num_kv_heads or self.num_heads
        if self.rotary is not None and self._head_dim % 2:
            raise ValueError(f"Rotary positions turn pairs of numbers: head_dim must be even, not {self._head_dim}.")
        output_bias = self.use_bias if self.output_bias is None else self.output_bias
        self.query = self._project(self.num_heads * self._head_dim, "query", self.use_bias)
        self.key = self._project(self._kv_heads * self._head_dim, "key", self.use_bias)
        self.value = self._project(self._kv_heads * self._head_dim, "value", self.use_bias)
        self.output_dense = self._project(dim, "output", output_bias, self.output_initializer)
        if self._norm is not None:  # after the projections: files hold an optimizer's state in the order of the weights
            self.query_norm, self.key_norm = self._norm("query_norm"), self._norm("key_norm")
        context_shape = context_shape or inputs_shape
        self.query.build(inputs_shape)
        self.key.build(context_shape)
        self.value.build(context_shape)
        self.output_dense.build((*inputs_shape[:-1], self.num_heads * self._head_dim))
        for layer in filter(None, (self.query_norm, self.key_norm, self.rotary)):
            layer.build((None, None, None, self._head_dim))
        self.restore_parts()

    def _project(self, units, name, use_bias, initializer=None):
        # One seeded initializer used twice would give two equal kernels: clone it.
        initializer = (initializer or self.kernel_initializer).clone()
        return keras.layers.Dense(
            units, use_bias=use_bias, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
        )

    def make_cache(self, batch_size, capacity):
        """An empty `Cache` for `batch_size` texts with room for `capacity` tokens.

        With a `window` the cache is a ring that a text may run round for ever: `capacity` must be at least the window.
        One call may write several tokens if they neither run over the ring's end nor overwrite what the first of
        them still sees.
        """
        if not self.built:
            raise ValueError("Call or build the layer before make_cache: the size of its heads is not known yet.")
        batch_size, capacity = whole_number("batch_size", batch_size), whole_number("capacity", capacity)
        return empty_cache(batch_size, self._kv_heads, capacity, self._head_dim, self.compute_dtype)

    def read_context(self, context):
        """The `ContextCache` of a context, float tensor (batch, key_time, dim): its keys and values, projected once."""
        return ContextCache(*self._keys_and_values(context, next_positions(None, ops.shape(context)[1])))

    def call(self, inputs, context=None, mask=None, positions=None, cache=None, return_weights=False, training=None):
        if cache is not None and (context is not None or (mask is not None and not isinstance(cache, ContextCache))):
            raise ValueError("A cache stands in place of what was read: call without context and mask.")
        known = positions is None and (cache is None or isinstance(cache, ContextCache))  # 0, 1, 2, ... on both sides
        if positions is None:
            positions = next_positions(None if known else cache, ops.shape(inputs)[1])
        query = self._turned(self._split(self.query(inputs), self.num_heads), self.query_norm, positions)
        key, value, key_positions, cache = self._remembered(inputs, context, positions, cache)
        allowed = self._allowed(positions, key_positions, mask, known)
        scores = self._scores(query * (self.scale or 1 / math.sqrt(self._head_dim)), key)
        weights = softmax(scores, allowed)  # (batch, num_heads, time, key_time)
        outputs = self._mix(self.drop(weights, training=training), value)  # (batch, time, num_heads * head_dim)
        outputs = (self.output_dense(outputs), weights if return_weights else None, cache)
        outputs = tuple(x for x in outputs if x is not None)
        return outputs if len(outputs) > 1 else outputs[0]

    def _remembered(self, inputs, context, positions, cache):
        """Keys, values, the position of each, and the cache with the inputs in it."""
        if isinstance(cache, ContextCache):
            return *cache, next_positions(None, ops.shape(cache.key)[2]), cache
        if context is not None:
            positions = next_positions(None, ops.shape(context)[1])
        key, value = self._keys_and_values(inputs if context is None else context, positions)
        if cache is None:
            return key, value, positions, None
        cache = write(cache, key, value, positions, self.window)
        return cache.key, cache.value, cache.positions, cache

    def _keys_and_values(self, source, positions):
        """Float tensors (batch, num_kv_heads, key_time, head_dim)."""
        key = self._turned(self._split(self.key(source), self._kv_heads), self.key_norm, positions)
        return key, self._split(self.value(source), self._kv_heads)

    def _turned(self, heads, norm, positions):
        heads = heads if norm is None else norm(heads)
        return heads if self.rotary is None else self.rotary(heads, positions)

    def _split(self, x, heads):
        """(batch, time, heads * head_dim) to (batch, heads, time, head_dim)."""
        return ops.transpose(ops.reshape(x, (-1, ops.shape(x)[1], heads, self._head_dim)), (0, 2, 1, 3))

    def _scores(self, query, key):
        groups, time = self.num_heads // self._kv_heads, ops.shape(query)[2]
        if groups > 1:  # the queries that share a key stand below each other
            query = ops.reshape(query, (-1, self._kv_heads, groups * time, self._head_dim))
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        return scores if groups == 1 else ops.reshape(scores, (-1, self.num_heads, time, ops.shape(key)[2]))

    def _mix(self, weights, value):
        groups, time = self.num_heads // self._kv_heads, ops.shape(weights)[2]
        if groups > 1:
            weights = ops.reshape(weights, (-1, self._kv_heads, groups * time, ops.shape(value)[2]))
        mixed = ops.matmul(weights, value)
        if groups > 1:
            mixed = ops.reshape(mixed, (-1, self.num_heads, time, self._head_dim))
        return ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, time, self.num_heads * self._head_dim))

    def _allowed(self, positions, key_positions, mask, known):
        """Bool tensor that fits (batch, num_heads, time, key_time); None when every pair is allowed."""
        allowed, (time, key_time) = None, (x.shape[-1] for x in (positions, key_positions))
        window = self.window
        if known and window is not None and isinstance(time, int) and isinstance(key_time, int):
            window = None if max(time, key_time) <= window else window  # nothing is that far away
        if self.causal or window is not None or not known:
            allowed = allowed_pairs(positions, key_positions, self.causal, window)
            allowed = allowed[None, None] if len(allowed.shape) == 2 else allowed[:, None]
        if mask is None:
            return allowed
        mask = as_mask(mask, (None, key_time), (None, time, key_time))
        mask = mask[:, None, None] if len(mask.shape) == 2 else mask[:, None]
        return mask if allowed is None else ops.logical_and(allowed, mask)

    def compute_mask(self, inputs, previous_mask):
        return getattr(inputs, "_keras_mask", None)  # the argument `mask` may be one of keys or of pairs

    def get_config(self):
        names = ("num_heads", "head_dim", "num_kv_heads", "causal", "window", "scale", "use_bias", "output_bias")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "rotary": stored(self.rotary),
            "qk_norm": stored(self._norm and self._norm("query_norm")),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "output_initializer": self.output_initializer and keras.initializers.serialize(self.output_initializer),
        }

    @classmethod
    def from_config(cls, config):
        config = first_edition_attention(config) if "rotary_wavelength" in config else dict(config)
        for name in ("rotary", "qk_norm"):
            config[name] = made(config.get(name))
        return cls(**config)


def softmax(scores, allowed=None):
    """Softmax over the last axis among the allowed places; a row that allows none gets weights that mean nothing.

    Args:
        scores: float tensor (..., time, key_time).
        allowed: bool tensor that broadcasts to it; everything is allowed when None.

    Returns:
        Float tensor of the shape and dtype of `scores`.

    Example:
        >>> [float(w) for w in softmax(keras.ops.zeros((1, 3)), keras.ops.array([[True, True, False]]))[0]]
        [0.5, 0.5, 0.0]
    """
    if allowed is None:
        return ops.softmax(scores, axis=-1)
    half = keras.backend.standardize_dtype(scores.dtype) == "float16"
    hidden = -65504.0 if half else -1e9  # float16 ends there: -1e9 would be infinite
    return ops.softmax(ops.where(allowed, scores, ops.cast(hidden, scores.dtype)), axis=-1)
