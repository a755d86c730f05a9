"""Seq2Seq: one stack of transformer blocks reads a text, another writes one and looks at what was read."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
from keras import ops

from kerasllm.common import choice, share, whole_number
from kerasllm.layers import (
    FeedForward,
    LearnedPositions,
    MultiHeadAttention,
    RotaryPositions,
    SinusoidalPositions,
    TransformerBlock,
)
from kerasllm.layers.cache import next_positions
from kerasllm.layers.feed_forward import activation_of
from kerasllm.layers.transformer import PLACEMENTS
from kerasllm.models.encoder_decoder import EncoderDecoder, State
from kerasllm.models.inputs import positions_of
from kerasllm.models.stack import Stack


@dataclass(frozen=True)
class Seq2SeqSettings:
    """The settings of a `Seq2Seq`. Sizes are small; what the rest is, is the first transformer's but for `placement`.

    Attributes:
        vocabulary_size: number of tokens that can be written: rows of the target's embedding, which is the head too.
        source_vocabulary_size: number of tokens that can be read; `vocabulary_size` when None.
        shared: whether source and target share one table of embeddings. It needs one vocabulary for both, and saves a
            matrix where the languages share words.
        embedding_dim: size of the vector that runs through the blocks.
        num_layers: number of blocks that read.
        decoder_layers: number of blocks that write; `num_layers` when None.
        num_heads: heads of attention in a block; `embedding_dim` is a multiple of it.
        hidden_dim: units in the middle of the feed-forward network; ``4 * embedding_dim`` when None.
        context_length: the longest text on either side, in tokens. With learned positions there is nothing beyond.
        positions: "sinusoidal", "learned", "rotary", or None for none at all.
        placement: where the blocks normalise, see `TransformerBlock`. "after" is the first transformer's, which needs
            a warm-up of the learning rate; "before" trains without.
        activation: of the feed-forward network, see `FeedForward`.
        dropout: share of the embeddings, the attention weights and each part's output set to 0 while training; 0.1 for
            a set of some ten thousands of pairs, more for a smaller one.
        pad_id: the id of padding: where no mask of the source is given, all other tokens are real. None takes all for
            real.

    Raises:
        ValueError: if a size is not positive, a name is unknown, the heads do not fit the embeddings, or a shared
            table is wanted for two vocabularies.
    """

    vocabulary_size: int
    source_vocabulary_size: int | None = None
    shared: bool = False
    embedding_dim: int = 256
    num_layers: int = 3
    decoder_layers: int | None = None
    num_heads: int = 4
    hidden_dim: int | None = None
    context_length: int = 256
    positions: str | None = "sinusoidal"
    placement: str = "before"
    activation: Any = "relu"
    dropout: float = 0.0
    pad_id: int | None = 0

    def __post_init__(self):
        sizes = ("vocabulary_size", "embedding_dim", "num_layers", "num_heads", "context_length")
        for name in sizes:
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        others = {
            "source_vocabulary_size": self.vocabulary_size,
            "decoder_layers": self.num_layers,
            "hidden_dim": 4 * self.embedding_dim,
        }
        for name, usual in others.items():
            given = getattr(self, name)
            object.__setattr__(self, name, usual if given is None else whole_number(name, given))
        whole_number("pad_id", self.pad_id, 0, self.source_vocabulary_size - 1, optional=True)
        choice("positions", self.positions, ("sinusoidal", "learned", "rotary", None))
        choice("placement", self.placement, PLACEMENTS)
        share("dropout", self.dropout)
        if not isinstance(self.activation, str):  # a name stays as it is, a function becomes what a file can hold
            stored = keras.activations.serialize(activation_of(self.activation))
            object.__setattr__(self, "activation", stored)
        if self.embedding_dim % self.num_heads:
            raise ValueError(
                f"embedding_dim={self.embedding_dim} cannot be cut into num_heads={self.num_heads} equal heads."
            )
        if self.shared and self.source_vocabulary_size != self.vocabulary_size:
            raise ValueError(
                f"A shared table needs one vocabulary, not {self.source_vocabulary_size} tokens to read and "
                f"{self.vocabulary_size} to write: train one tokenizer on both languages, or leave shared out."
            )

    def with_(self, **changes) -> Seq2SeqSettings:
        """The same settings but for some.

        Args:
            **changes: attributes that differ.

        Returns:
            New settings.
        """
        return replace(self, **changes)

    def get_config(self) -> dict[str, Any]:
        """The settings as JSON values: what a file of a model holds."""
        return asdict(self)


@keras.saving.register_keras_serializable(package="kerasllm")
class Seq2Seq(EncoderDecoder, Stack):
    """Reads a text and predicts the next token of another, such as its translation: the first transformer.

    It has its weights as soon as it is made. Batches for `fit` come from `kerasllm.batches.paired`; texts are written
    by `kerasllm.generation.beam_search`, and `kerasllm.tasks.Translator` joins it with its tokenizers.

    Args:
        settings: `Seq2SeqSettings`.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, source time) of ids that are read; or a dictionary with "source_ids", "target_ids"
            and, if wanted, "source_mask" and "target_mask", as `batches.paired` makes it.
        target_ids: int tensor (batch, target time): the id to start with, and what was written so far.
        source_mask: bool tensor (batch, source time), True at real tokens; those other than ``settings.pad_id`` when
            None. Padding may stand on any side; nobody looks at it.
        target_mask: the same for the target; all are real when None, for padding on the right is seen by none before.
        return_weights: whether the attention to the source is returned too.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, target time, vocabulary_size): at each position the logits of the next token. With
        `return_weights` also float tensor (batch, decoder_layers, num_heads, target time, source time): how much each
        written token looked at each that was read.

    Raises:
        TypeError: if `settings` are none.
        ValueError: if a text with learned positions is longer than `context_length`, there are no target ids, or a
            mask has another shape than its ids.

    Example:
        >>> import numpy as np
        >>> model = Seq2Seq(Seq2SeqSettings(30, source_vocabulary_size=50, embedding_dim=8, num_layers=1, num_heads=2))
        >>> source, target = np.array([[4, 47, 9, 0]]), np.array([[1, 7, 8]])
        >>> logits, weights = model(source, target, return_weights=True)
        >>> tuple(logits.shape), tuple(weights.shape)
        ((1, 3, 30), (1, 1, 2, 3, 4))

    Reference: Vaswani et al. (2017), "Attention Is All You Need", sections 3.1 and 3.4; Xiong et al. (2020), "On Layer
    Normalization in the Transformer Architecture", section 3, for the normalisation before each part.
    """

    kind, example = Seq2SeqSettings, "Seq2Seq(Seq2SeqSettings(vocabulary_size=9))"

    def __init__(self, settings, **kwargs):
        super().__init__(settings, **kwargs)
        policy, dim = self.dtype_policy, settings.embedding_dim
        start = keras.initializers.RandomNormal(0, dim**-0.5)  # times `scale` as large as sines and cosines
        self.scale = math.sqrt(dim)
        self.embed = self.token_table(start)
        self.source_embed = None
        if not settings.shared:
            rows = settings.source_vocabulary_size
            self.source_embed = keras.layers.Embedding(rows, dim, start.clone(), dtype=policy, name="source_embedding")
        self.place = self._positions(start, "positions")
        self.source_place = self._positions(start, "source_positions")
        self.drop = keras.layers.Dropout(settings.dropout, dtype=policy)
        self.encoder = [self._block(f"encoder_{i + 1}", False) for i in range(settings.num_layers)]
        self.decoder = [self._block(f"decoder_{i + 1}", True) for i in range(settings.decoder_layers)]
        self.encoder_norm = self.decoder_norm = None  # after the sums is also after the last sum
        if settings.placement != "after":
            self.encoder_norm, self.decoder_norm = (
                keras.layers.LayerNormalization(epsilon=1e-5, dtype=policy, name=f"{side}_norm")
                for side in ("encoder", "decoder")
            )
        self.build((None, None))

    def _positions(self, start, name):
        kind = self.settings.positions
        if kind == "learned":
            return LearnedPositions(self.context_length, start.clone(), dtype=self.dtype_policy, name=name)
        return SinusoidalPositions(dtype=self.dtype_policy, name=name) if kind == "sinusoidal" else None

    def _block(self, name, writes):
        settings, dropout = self.settings, self.settings.dropout
        rotary = RotaryPositions() if settings.positions == "rotary" else None
        return TransformerBlock(
            MultiHeadAttention(settings.num_heads, causal=writes, rotary=rotary, dropout=dropout),
            FeedForward(settings.hidden_dim, activation=activation_of(settings.activation)),
            placement=settings.placement,
            context_attention=MultiHeadAttention(settings.num_heads, dropout=dropout) if writes else None,
            dropout=dropout,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape):
        if self.built:
            return
        shape = (None, None, self.settings.embedding_dim)
        for table in filter(None, [self.embed, self.source_embed]):
            table.build((None, None))
        parts = [self.place, self.source_place, *self.encoder, self.encoder_norm, *self.decoder, self.decoder_norm]
        for layer in filter(None, parts):
            layer.build(shape)
        self.restore_parts()

    def call(self, inputs, target_ids=None, source_mask=None, target_mask=None, return_weights=False, training=None):
        source_ids, source_mask, target_ids, target_mask = self.told(inputs, target_ids, source_mask, target_mask)
        context = self.encode(source_ids, source_mask, training=training)  # (batch, source time, embedding_dim)
        positions = None if target_mask is None else positions_of(target_ids, target_mask)
        x, weights = self._entered(self.embed, self.place, target_ids, positions, training), []
        for block in self.decoder:
            given = {"context": context, "context_mask": source_mask, "return_weights": return_weights}
            x = block(x, positions=positions, training=training, **given)
            x, *seen = x if return_weights else [x]
            weights += seen
        logits = self.head(x)
        return (logits, ops.stack(weights, axis=1)) if return_weights else logits

    def encode(self, source_ids, source_mask=None, training=None):
        """What the decoder looks at: a vector for each token that was read, and zeros at padding.

        Args:
            source_ids, source_mask, training: see `Seq2Seq`.

        Returns:
            Float tensor (batch, source time, embedding_dim).
        """
        mask = self.real(source_ids, source_mask)
        positions = positions_of(source_ids, mask)
        table = self.embed if self.source_embed is None else self.source_embed
        x = self._entered(table, self.source_place, source_ids, positions, training)
        for block in self.encoder:
            x = block(x, positions=positions, training=training)
        x = x if self.encoder_norm is None else self.encoder_norm(x)
        return ops.where(mask[..., None], x, ops.zeros_like(x))  # so a text without a token is always the same

    def _entered(self, table, place, ids, positions, training=None):
        time = ids.shape[1]
        if self.limited and isinstance(time, int) and time > self.context_length:
            raise ValueError(f"A text of {time} tokens does not fit context_length={self.context_length}: shorten it.")
        x = table(ids) * self.scale  # (batch, time, embedding_dim)
        return self.drop(x if place is None else place(x, positions=positions), training=training)

    def head(self, features):
        """The logits (..., vocabulary_size) of what the last block gives, (..., embedding_dim)."""
        features = features if self.decoder_norm is None else self.decoder_norm(features)
        return self.embed(features, reverse=True)

    def read(self, source_ids, source_mask=None, capacity=None):
        """Read a source, so that `step` can write.

        Args:
            source_ids, source_mask: see `Seq2Seq`.
            capacity: how many tokens may be written; `context_length` when None.

        Returns:
            A `State`: keys and values of the source, projected once for each block, and empty caches for what is
            written.
        """
        capacity = self.context_length if capacity is None else whole_number("capacity", capacity)
        mask = self.real(source_ids, source_mask)
        context = self.encode(source_ids, mask, training=False)
        caches = [block.make_cache(source_ids.shape[0], capacity, context) for block in self.decoder]
        return State(([read for _, read in caches], mask), [own for own, _ in caches])

    def step(self, tokens, state):
        """One token further.

        Args:
            tokens: int tensor (batch,), the last token of each text; at first the id to start with.
            state: what `read` or the step before returned.

        Returns:
            The logits of the next token, float tensor (batch, vocabulary_size), and the new `State`.
        """
        (contexts, mask), caches = state.source, []
        positions = next_positions(state.written[0], 1)  # (batch, 1)
        x = self._entered(self.embed, self.place, ops.convert_to_tensor(tokens)[:, None], positions, training=False)
        for block, read, own in zip(self.decoder, contexts, state.written, strict=True):
            x, (own, _) = block(x, context_mask=mask, positions=positions, cache=(own, read), training=False)
            caches.append(own)
        return self.head(x)[:, 0], State(state.source, caches)

    @property
    def limited(self):
        """Whether a text can be no longer than `context_length`, because later positions have no vector."""
        return self.settings.positions == "learned"

    @property
    def source_vocabulary_size(self):
        """The number of tokens that can be read."""
        return self.settings.source_vocabulary_size

    @property
    def pad_id(self):
        """The id of padding in a source, or None."""
        return self.settings.pad_id

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "settings": Seq2SeqSettings(**config["settings"])})
