"""Multi-head attention: every token looks up what it needs in the others."""

import math

import keras
from keras import layers, ops

from kerasllm.layers.normalization import RMSNormalization
from kerasllm.layers.position import check_wavelength, rotate

ARGUMENTS = (
    "num_heads",
    "head_dim",
    "num_kv_heads",
    "causal",
    "window",
    "rotary_wavelength",
    "qk_norm",
    "use_bias",
    "dropout",
)


def allowed_pairs(query_positions, key_positions, causal=False, window=None):
    """Which position may look at which: the rule that every mask of this library is made from.

    Args:
        query_positions: int tensor (time,).
        key_positions: int tensor (key_time,). Positions below 0 hold nothing and are never looked at.
        causal: whether a position sees only itself and what stands before it.
        window: how many positions one sees, itself included; all when None.

    Returns:
        Bool tensor (time, key_time), True where the query may look at the key.

    Example:
        >>> import numpy as np
        >>> print(np.array(allowed_pairs(np.arange(4), np.arange(4), causal=True, window=2)).astype(int))
        [[1 0 0 0]
         [1 1 0 0]
         [0 1 1 0]
         [0 0 1 1]]
    """
    distance = ops.expand_dims(query_positions, 1) - ops.expand_dims(key_positions, 0)
    allowed = ops.expand_dims(key_positions >= 0, 0)
    if causal:
        allowed = ops.logical_and(allowed, distance >= 0)
    if window is not None:
        allowed = ops.logical_and(allowed, distance < window)
        if not causal:
            allowed = ops.logical_and(allowed, distance > -window)
    return ops.broadcast_to(allowed, ops.shape(distance))


@keras.saving.register_keras_serializable(package="kerasllm")
class MultiHeadAttention(layers.Layer):
    """Scaled dot-product attention in several heads, with what a GPT of today adds to it.

    `keras.layers.MultiHeadAttention` and `GroupQueryAttention` compute the same sums. This layer adds
    rotary positions, a normalisation of queries and keys, a sliding window and a cache for writing
    one token after another.

    Args:
        num_heads: number of heads, each with queries of its own.
        head_dim: size of a query and a key; the inputs' size divided by `num_heads` when None.
        num_kv_heads: number of heads of keys and values, each shared by ``num_heads / num_kv_heads``
            heads of queries; `num_heads` when None. 1 is multi-query attention.
        causal: whether a position sees only itself and what stands before it.
        window: how many positions one sees, itself included; all when None.
        rotary_wavelength: `max_wavelength` of rotary positions, usually 10000; none when None.
        qk_norm: whether queries and keys are scaled to a root mean square of 1 and by a learned scale.
        use_bias: whether the four projections add a bias.
        dropout: share of the attention weights that is set to 0 while training, from 0 to below 1.
        kernel_initializer: initializer of the projections of queries, keys and values.
        output_initializer: initializer of the projection of the outputs; `kernel_initializer` when None.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, time, dim): where queries come from.
        context: float tensor (batch, key_time, dim): where keys and values come from; `inputs` when None.
        mask: bool tensor (batch, key_time), True at real tokens, False at padding; or
            (batch, time, key_time), True where a query may look. Padding is never looked at. What
            stands in the output at a padded position means nothing.
        cache: a pair of keys and values from `make_cache` or an earlier call, for `inputs` alone.
        position: with a cache: how many tokens came before `inputs`, an int scalar.
        padding: with a cache: int tensor (batch,), how many positions at the beginning of each text
            are padding; 0 when None.
        return_weights: whether the attention weights are returned too.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, time, dim). With `return_weights` also the weights, float tensor
        (batch, num_heads, time, key_time). With `cache` also the new cache. In this order.

    Raises:
        ValueError: if a size is not positive, the heads do not fit each other or the inputs, or a
            cache comes together with a context or a mask, or has no room for the inputs (this is
            seen when `position` is a number, not a tensor).

    Example:
        >>> layer = MultiHeadAttention(num_heads=2, causal=True)
        >>> outputs, weights = layer(keras.ops.ones((1, 3, 8)), return_weights=True)
        >>> [[round(float(w), 2) for w in row] for row in weights[0, 0]]
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.33, 0.33, 0.33]]

    Reference: Vaswani et al. (2017), "Attention Is All You Need", section 3.2; Ainslie et al. (2023),
    "GQA", section 2.2, for shared keys; Henry et al. (2020), "Query-Key Normalization for Transformers",
    section 3, for `qk_norm`, here with root mean squares and one scale a dimension; Beltagy et al. (2020),
    "Longformer", section 3.1, for the window.
    """

    def __init__(
        self,
        num_heads,
        head_dim=None,
        num_kv_heads=None,
        causal=False,
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
        sizes = {"num_heads": num_heads, "head_dim": head_dim, "num_kv_heads": num_kv_heads, "window": window}
        for name, size in sizes.items():
            if not (size is None and name != "num_heads") and (not isinstance(size, int) or size < 1):
                raise ValueError(f"{name} must be a whole number from 1 up, not {size!r}.")
        if num_heads % (num_kv_heads or num_heads):
            raise ValueError(f"num_heads={num_heads} cannot be shared evenly among num_kv_heads={num_kv_heads}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be a share from 0 to below 1, not {dropout!r}.")
        if rotary_wavelength is not None:
            check_wavelength(rotary_wavelength, "rotary_wavelength")
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.num_kv_heads = num_kv_heads
        self.causal = causal
        self.window = window
        self.rotary_wavelength = rotary_wavelength
        self.qk_norm = qk_norm
        self.use_bias = use_bias
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.output_initializer = keras.initializers.get(output_initializer)
        self.drop = layers.Dropout(dropout, dtype=self.dtype_policy)
        self.supports_masking = True

    def build(self, inputs_shape, context_shape=None):
        dim = inputs_shape[-1]
        if self.head_dim is None and dim % self.num_heads:
            raise ValueError(f"Inputs of size {dim} cannot be cut into num_heads={self.num_heads} heads: set head_dim.")
        self._head_dim = self.head_dim or dim // self.num_heads
        self._kv_heads = self.num_kv_heads or self.num_heads
        if self.rotary_wavelength is not None and self._head_dim % 2:
            raise ValueError(f"Rotary positions turn pairs of numbers: head_dim must be even, not {self._head_dim}.")
        self.query = self._project(self.num_heads * self._head_dim, "query")
        self.key = self._project(self._kv_heads * self._head_dim, "key")
        self.value = self._project(self._kv_heads * self._head_dim, "value")
        self.output_dense = self._project(dim, "output", self.output_initializer)
        context_shape = context_shape or inputs_shape
        self.query.build(inputs_shape)
        self.key.build(context_shape)
        self.value.build(context_shape)
        self.output_dense.build((*inputs_shape[:-1], self.num_heads * self._head_dim))
        if self.qk_norm:
            self.query_norm = RMSNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="query_norm")
            self.key_norm = RMSNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="key_norm")
            self.query_norm.build((None, None, None, self._head_dim))
            self.key_norm.build((None, None, None, self._head_dim))

    def _project(self, units, name, initializer=None):
        # One seeded initializer used twice would give two equal kernels: clone it.
        initializer = initializer or self.kernel_initializer
        initializer = initializer.__class__.from_config(initializer.get_config())
        return layers.Dense(
            units, use_bias=self.use_bias, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
        )

    def make_cache(self, batch_size, capacity):
        """An empty cache: keys and values of `capacity` positions, each (batch, num_kv_heads, capacity, head_dim).

        With a `window` the cache is a ring: `capacity` must be at least the window, and position p
        stands in slot ``p % capacity``. One call may write several tokens if they neither run over
        the ring's end nor overwrite what the first of them still sees.
        """
        if not self.built:
            raise ValueError("Call or build the layer before make_cache: the size of its heads is not known yet.")
        shape = (batch_size, self._kv_heads, capacity, self._head_dim)
        return ops.zeros(shape, self.compute_dtype), ops.zeros(shape, self.compute_dtype)

    def call(
        self,
        inputs,
        context=None,
        mask=None,
        cache=None,
        position=0,
        padding=None,
        return_weights=False,
        training=None,
    ):
        source = inputs if context is None else context
        position = position if isinstance(position, int) else ops.cast(position, "int32")
        query = self._split(self.query(inputs), self.num_heads)  # (batch, num_heads, time, head_dim)
        key = self._split(self.key(source), self._kv_heads)  # (batch, num_kv_heads, key_time, head_dim)
        value = self._split(self.value(source), self._kv_heads)
        if self.qk_norm:
            query, key = self.query_norm(query), self.key_norm(key)
        query_positions = position + ops.arange(ops.shape(inputs)[1], dtype="int32")
        key_positions = query_positions if context is None else ops.arange(ops.shape(source)[1], dtype="int32")
        if self.rotary_wavelength is not None:
            query = rotate(query, query_positions, self.rotary_wavelength)
            key = rotate(key, key_positions, self.rotary_wavelength)
        if cache is not None:
            if context is not None or mask is not None:
                raise ValueError("A cache holds the text before the inputs: call without context and mask.")
            cache, key_positions = self._write(cache, key, value, position)
            key, value = cache
            if padding is not None:
                mask = key_positions >= ops.expand_dims(ops.cast(padding, "int32"), 1)  # (batch, capacity)
        allowed = self._allowed(query_positions, key_positions, mask, cache is not None)
        scores = self._scores(query * (1 / math.sqrt(self._head_dim)), key)  # (batch, num_heads, time, key_time)
        weights = softmax(scores, allowed)
        outputs = self._mix(self.drop(weights, training=training), value)  # (batch, time, num_heads * head_dim)
        outputs = (self.output_dense(outputs), weights if return_weights else None, cache)
        outputs = tuple(x for x in outputs if x is not None)
        return outputs if len(outputs) > 1 else outputs[0]

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

    def _allowed(self, query_positions, key_positions, mask, cached):
        """Bool tensor that fits (batch, num_heads, time, key_time); None when every pair is allowed."""
        allowed = None
        if self.causal or self.window is not None or cached:
            allowed = allowed_pairs(query_positions, key_positions, self.causal, self.window)[None, None]
        if mask is None:
            return allowed
        mask = ops.cast(mask, "bool")
        mask = mask[:, None, None] if len(mask.shape) == 2 else mask[:, None]
        return mask if allowed is None else ops.logical_and(allowed, mask)

    def _write(self, cache, key, value, position):
        """The cache with the new keys and values in it, and the position that each of its slots holds."""
        capacity, time = cache[0].shape[2], ops.shape(key)[2]
        if isinstance(position, int) and isinstance(time, int):
            self._check_room(position, time, capacity)
        at = (0, 0, position % capacity, 0)
        pairs = zip(cache, (key, value), strict=True)
        cache = tuple(ops.slice_update(old, at, ops.cast(new, old.dtype)) for old, new in pairs)
        last = position + time - 1
        slots = ops.arange(capacity, dtype="int32")
        return cache, last - (last - slots) % capacity  # negative where nothing was written yet

    def _check_room(self, position, time, capacity):
        """Refuse what the ring cannot hold, where position and time are known before the call."""
        needed = position + time if self.window is None else min(position + time, self.window + time - 1)
        if max(needed, position % capacity + time) > capacity:
            raise ValueError(
                f"A cache of {capacity} has no room for positions {position} to {position + time - 1} with "
                f"window={self.window}: make it larger, or write fewer tokens in one call."
            )

    def compute_mask(self, inputs, previous_mask):
        return getattr(inputs, "_keras_mask", None)  # the argument `mask` may be one of keys or of pairs

    def compute_output_spec(
        self,
        inputs,
        context=None,
        mask=None,
        cache=None,
        position=0,
        padding=None,
        return_weights=False,
        training=None,
    ):
        source = inputs if context is None else context
        key_time = source.shape[1] if cache is None else cache[0].shape[2]
        outputs = [keras.KerasTensor(inputs.shape, self.compute_dtype)]
        if return_weights:
            shape = (inputs.shape[0], self.num_heads, inputs.shape[1], key_time)
            outputs.append(keras.KerasTensor(shape, self.compute_dtype))
        if cache is not None:
            outputs.append(tuple(keras.KerasTensor(x.shape, x.dtype) for x in cache))
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    def get_config(self):
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in ARGUMENTS},
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "output_initializer": self.output_initializer and keras.initializers.serialize(self.output_initializer),
        }


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
