"""GPT: a stack of causal transformer blocks that predicts the next token."""

import keras

from kerasllm.common import whole_number
from kerasllm.layers import TransformerBlock
from kerasllm.layers.composite import copy_of
from kerasllm.models.counting import flops_per_token, table_of_parts
from kerasllm.models.decoder import Decoder
from kerasllm.models.settings import GPTSettings, gpt_settings
from kerasllm.models.stack import Stack


@keras.saving.register_keras_serializable(package="kerasllm")
class GPT(Decoder, Stack):
    """Predicts the next token from all tokens before it, through transformer blocks.

    GPT-2, Llama, Qwen, Gemma and a mixture of experts are settings of this model, see `preset`. It has its weights as
    soon as it is made.

    Args:
        settings: `GPTSettings`, from `preset`, `gpt_settings` or made of parts.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids; or a dictionary with "ids" and any of "mask", "segment_ids" and
            "positions", as batches for `fit` have it.
        mask: bool tensor (batch, time), True at real tokens. Padding may stand on any side; nobody looks at it, and
            the logits there mean nothing.
        segment_ids: int tensor (batch, time): tokens see those of their own segment alone, and positions begin at 0
            in each. So several documents share one row of a batch. Segments touch; with a cache there are none.
        positions: int tensor (time,) or (batch, time) in place of those that follow from the other arguments; below 0
            is padding.
        cache: what `make_cache` or an earlier call returned, when the text before `inputs` was seen already.
        return_features: whether to return what the head would turn into logits, in its place.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, time, vocabulary_size): at each position the logits of the next token. With
        `return_features` float tensor (batch, time, embedding_dim). With `cache` a pair of it and the new cache.

    Raises:
        TypeError: if `settings` are none.
        ValueError: if a text with learned positions is longer than `context_length`, a mask or segments have another
            shape than the ids, or arguments come together that exclude each other.

    Example:
        >>> import numpy as np
        >>> model = GPT(gpt_settings(vocabulary_size=50, num_layers=2, num_heads=2, embedding_dim=8))
        >>> tuple(model(np.ones((2, 10), "int32")).shape)
        (2, 10, 50)

    Reference: Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", section 2.3.
    """

    kind, example = GPTSettings, "GPT(preset('nano', vocabulary_size=...))"

    def __init__(self, settings, **kwargs):
        super().__init__(settings, **kwargs)
        policy, count = self.dtype_policy, range(settings.num_layers)
        self.embed = self.token_table(settings.embedding_initializer)
        self.place = settings.positions and copy_of(settings.positions, "positions", policy)
        self.drop = keras.layers.Dropout(settings.dropout, dtype=policy)
        self.blocks = [
            TransformerBlock(
                self._attention(settings.attention[i % len(settings.attention)]),
                settings.feed_forward[i % len(settings.feed_forward)],
                settings.norm,
                settings.placement,
                dropout=settings.dropout,
                dtype=policy,
                name=f"block_{i + 1}",
            )
            for i in count
        ]
        self.final_norm = copy_of(settings.norm, "final_norm", policy)
        if not settings.tied:
            self.logits = keras.layers.Dense(
                settings.vocabulary_size,
                use_bias=False,
                kernel_initializer=settings.head_initializer.clone(),
                dtype=policy,
                name="logits",
            )
        self.build((None, None))

    def _attention(self, attention):
        """A block's attention. Positions that are turned have no end: the context is what a token sees."""
        if self.limited:
            return attention
        return copy_of(attention, window=min(attention.window or self.context_length, self.context_length))

    def build(self, input_shape):
        if self.built:
            return
        self.embed.build((None, None))
        for layer in filter(None, [self.place, *self.blocks, self.final_norm, getattr(self, "logits", None)]):
            layer.build((None, None, self.settings.embedding_dim))
        self.restore_parts()

    def call(
        self,
        inputs,
        mask=None,
        segment_ids=None,
        positions=None,
        cache=None,
        return_features=False,
        training=None,
    ):
        ids, positions, pairs = self.placed(inputs, mask, segment_ids, positions, cache)
        x = self.embed(ids) * self.settings.embedding_scale  # (batch, time, embedding_dim)
        x = self.drop(x if self.place is None else self.place(x, positions=positions), training=training)
        caches = []
        for block, before in zip(self.blocks, cache or [None] * len(self.blocks), strict=True):
            x = block(x, mask=pairs, positions=positions, cache=before, training=training)
            x, *after = x if cache is not None else [x]
            caches += after
        x = self.final_norm(x) if return_features else self.head(self.final_norm(x))
        return x if cache is None else (x, caches)

    def head(self, features):
        """The logits (..., vocabulary_size) of features (..., embedding_dim)."""
        return self.embed(features, reverse=True) if self.settings.tied else self.logits(features)

    def make_cache(self, batch_size, capacity=None):
        """An empty cache for `batch_size` texts.

        Args:
            batch_size: number of texts.
            capacity: number of tokens it holds; `context_length` when None. With learned positions it ends there.
                Otherwise it is a ring: a text may go on for ever, and tokens that are too far back to be seen are
                overwritten.

        Returns:
            For each block a `kerasllm.layers.Cache`.
        """
        capacity = self.context_length if capacity is None else whole_number("capacity", capacity)
        return [block.make_cache(batch_size, capacity) for block in self.blocks]

    def flops_per_token(self, context=None, training=False):
        """Floating-point operations for one token, see `kerasllm.models.counting.flops_per_token`."""
        return flops_per_token(self, context, training)

    def describe(self):
        """A short table of the parts: parameters, and FLOPs a token in training."""
        return table_of_parts(self)

    @classmethod
    def from_config(cls, config):
        if "settings" in config:
            return cls(**{**config, "settings": GPTSettings.from_config(config["settings"])})
        base = {name: config[name] for name in ("name", "trainable", "dtype") if name in config}
        flags = {name: value for name, value in config.items() if name not in base}  # the first edition
        return cls(gpt_settings(**flags), **base)
