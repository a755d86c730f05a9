"""BERT: a stack of transformer blocks in which every token sees all others, before it and after it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
from keras import ops

from kerasllm.common import positive, share, whole_number
from kerasllm.layers import FeedForward, LearnedPositions, MultiHeadAttention, TransformerBlock, as_mask
from kerasllm.layers.composite import copy_of, named, parts_of
from kerasllm.layers.feed_forward import activation_of
from kerasllm.models.inputs import positions_of, same_segment, unpacked
from kerasllm.models.stack import Stack


@dataclass(frozen=True)
class BERTSettings:
    """The settings of a `BERT`. The defaults are those of BERT-base, but for dropout.

    Attributes:
        vocabulary_size: number of rows of the embedding; at least the number of tokens.
        embedding_dim: size of the vector that runs through the blocks.
        num_layers: number of blocks.
        num_heads: heads of attention in a block; `embedding_dim` is a multiple of it.
        hidden_dim: units in the middle of the feed-forward network; ``4 * embedding_dim`` when None.
        context_length: the longest text, in tokens: later positions have no vector.
        type_vocabulary_size: kinds of tokens, which a vector each tells apart: 2 where a model read pairs of texts, 1
            in RoBERTa, 0 for none.
        epsilon: the small number that a normalisation adds to the variance. BERT's is much smaller than Keras's, and
            a file of weights fits its own alone.
        activation: of the feed-forward network and of the head, see `FeedForward`.
        dropout: share of the embeddings, the attention weights and each part's output set to 0 while training. BERT
            was trained with 0.1.
        pad_id: the id of padding: where no mask is given, all other tokens are real. None takes all for real.
        head: whether there is a head that says which token stands at each place; without it the model gives vectors.
        pooler: whether there is a dense layer with tanh for the first token's vector, see `BERT.pooled`.

    Raises:
        ValueError: if a size is not positive, a number does not fit, or the heads do not fit the embeddings.
    """

    vocabulary_size: int
    embedding_dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    hidden_dim: int | None = None
    context_length: int = 512
    type_vocabulary_size: int = 2
    epsilon: float = 1e-12
    activation: Any = "gelu"
    dropout: float = 0.0
    pad_id: int | None = 0
    head: bool = False
    pooler: bool = False

    def __post_init__(self):
        if self.hidden_dim is None:
            object.__setattr__(self, "hidden_dim", 4 * whole_number("embedding_dim", self.embedding_dim))
        for name in ("vocabulary_size", "embedding_dim", "num_layers", "num_heads", "hidden_dim", "context_length"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        whole_number("type_vocabulary_size", self.type_vocabulary_size, 0)
        whole_number("pad_id", self.pad_id, 0, self.vocabulary_size - 1, optional=True)
        positive("epsilon", self.epsilon)
        share("dropout", self.dropout)
        if not isinstance(self.activation, str):  # a name stays as it is, a function becomes what a file can hold
            stored = keras.activations.serialize(activation_of(self.activation))
            object.__setattr__(self, "activation", stored)
        if self.embedding_dim % self.num_heads:
            raise ValueError(
                f"embedding_dim={self.embedding_dim} cannot be cut into num_heads={self.num_heads} equal heads."
            )

    def with_(self, **changes) -> BERTSettings:
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


class Bias(keras.layers.Layer):
    """Adds a number to each logit: a layer, so that `BERT.head` may stand in a functional model and still train it."""

    def build(self, input_shape):
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs):
        return inputs + self.bias


@keras.saving.register_keras_serializable(package="kerasllm")
class BERT(Stack):
    """Gives each token a vector that depends on the whole text around it, or says which token belongs there.

    BERT, RoBERTa, XLM-RoBERTa and MiniLM are settings of this model. It has its weights as soon as it is made.

    Args:
        settings: `BERTSettings`.
        frozen: see `freeze`, which sets it.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids; or a dictionary with "ids" and any of "mask", "segment_ids",
            "type_ids" and "positions", as batches for `fit` have it.
        mask: bool tensor (batch, time), True at real tokens; those other than ``settings.pad_id`` when None. Nobody
            looks at padding, and what stands there in the output means nothing.
        segment_ids: int tensor (batch, time): tokens see those of their own segment alone, and positions begin at 0
            in each. So several documents share one row of a batch. Segments touch.
        type_ids: int tensor (batch, time), the kind of each token: for a pair of texts 0 in the first and 1 in the
            second. All are 0 when None. (BERT's paper calls these two parts segments; they see each other.)
        positions: int tensor (time,) or (batch, time) in place of those that follow from the other arguments; below 0
            is padding.
        return_features: whether a model with a head returns what the head would turn into logits, in its place.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, time, embedding_dim): a vector for each token. With ``settings.head`` float tensor
        (batch, time, vocabulary_size): logits of the token at each place, unless `return_features`.

    Raises:
        TypeError: if `settings` are none.
        ValueError: if a text is longer than `context_length`, a mask has another shape than the ids, or arguments
            come together that exclude each other.

    Example:
        >>> import numpy as np
        >>> model = BERT(BERTSettings(vocabulary_size=50, embedding_dim=8, num_layers=2, num_heads=2))
        >>> tuple(model(np.array([[4, 7, 9, 0], [5, 8, 0, 0]])).shape)
        (2, 4, 8)

    Reference: Devlin et al. (2019), "BERT: Pre-training of Deep Bidirectional Transformers for Language
    Understanding", section 3; Liu et al. (2019), "RoBERTa", section 3, for the same without types.
    """

    kind, example = BERTSettings, "BERT(BERTSettings(vocabulary_size=9))"
    names = ("ids", "mask", "segment_ids", "type_ids", "positions")

    def __init__(self, settings, frozen=None, **kwargs):
        super().__init__(settings, **kwargs)
        policy, dim = self.dtype_policy, settings.embedding_dim
        small = keras.initializers.TruncatedNormal(stddev=0.02)  # BERT's own, for kernels and embeddings
        norm = keras.layers.LayerNormalization(epsilon=settings.epsilon)
        dense = {"kernel_initializer": small, "dtype": policy}
        self.embed = self.token_table(small)
        self.place = LearnedPositions(settings.context_length, small.clone(), dtype=policy, name="positions")
        self.types = settings.type_vocabulary_size and keras.layers.Embedding(
            settings.type_vocabulary_size, dim, small.clone(), dtype=policy, name="types"
        )
        self.norm = copy_of(norm, "embedding_norm", policy)
        self.drop = keras.layers.Dropout(settings.dropout, dtype=policy)
        attention = MultiHeadAttention(settings.num_heads, dropout=settings.dropout, kernel_initializer=small)
        feed_forward = FeedForward(
            settings.hidden_dim, activation=activation_of(settings.activation), kernel_initializer=small
        )
        self.blocks = [
            TransformerBlock(
                attention, feed_forward, norm, "after", dropout=settings.dropout, dtype=policy, name=f"block_{i + 1}"
            )
            for i in range(settings.num_layers)
        ]
        if settings.pooler:
            self.pooler = keras.layers.Dense(dim, "tanh", name="pooler", **dense)
        if settings.head:
            activation = activation_of(settings.activation)
            self.head_dense = keras.layers.Dense(dim, activation, name="head_dense", **dense)
            self.head_norm = copy_of(norm, "head_norm", policy)
            self.head_bias = Bias(dtype=policy, name="head_bias")
        self.build((None, None))
        self.frozen = None
        if frozen is not None:
            self.freeze(frozen)

    def build(self, input_shape):
        if self.built:
            return
        dim = self.settings.embedding_dim
        for layer in filter(None, [self.embed, self.types]):
            layer.build((None, None))
        for layer in [self.place, self.norm, *self.blocks]:
            layer.build((None, None, dim))
        if self.settings.pooler:
            self.pooler.build((None, dim))
        if self.settings.head:
            self.head_dense.build((None, None, dim))
            self.head_norm.build((None, None, dim))
            self.head_bias.build((None, None, self.settings.vocabulary_size))
        self.restore_parts()

    def call(
        self,
        inputs,
        mask=None,
        segment_ids=None,
        type_ids=None,
        positions=None,
        return_features=False,
        training=None,
    ):
        ids, type_ids, positions, pairs = self._placed(inputs, mask, segment_ids, type_ids, positions)
        x = self.place(self.embed(ids), positions=positions)  # (batch, time, embedding_dim)
        x = x + self.types(type_ids) if self.types else x
        x = self.drop(self.norm(x), training=training)
        for block in self.blocks:
            x = block(x, mask=pairs, positions=positions, training=training)
        return self.head(x) if self.settings.head and not return_features else x

    def head(self, features):
        """The logits of the token at each place, (..., vocabulary_size), of features (..., embedding_dim).

        Raises:
            ValueError: if the model has no head.
        """
        self._need("head")
        return self.head_bias(self.embed(self.head_norm(self.head_dense(features)), reverse=True))

    def pooled(self, features):
        """One vector a text, float tensor (batch, embedding_dim), from the features of its first token.

        Padding stands on the right. The dense layer was trained to tell whether two texts follow each other; for a
        task of one's own it is a start.

        Raises:
            ValueError: if the model has no pooler.
        """
        self._need("pooler")
        return self.pooler(features[:, 0])

    def _need(self, part):
        if not getattr(self.settings, part):
            raise ValueError(f"This BERT has no {part}: make it with BERTSettings(..., {part}=True).")

    def _placed(self, inputs, mask, segment_ids, type_ids, positions):
        """Ids, types, the position of each token or None for 0, 1, 2, ..., and which pairs are of one segment."""
        given = unpacked(inputs, self.names, mask, segment_ids, type_ids, positions)
        inputs, mask, segment_ids, type_ids, positions = given
        time = inputs.shape[1]
        if isinstance(time, int) and time > self.context_length:
            raise ValueError(f"A text of {time} tokens does not fit context_length={self.context_length}: shorten it.")
        if mask is not None:
            mask = as_mask(mask, tuple(inputs.shape))
        elif self.settings.pad_id is not None:
            mask = ops.not_equal(inputs, self.settings.pad_id)
        if positions is not None:
            positions = positions if mask is None else ops.where(mask, positions, -1)
        elif not (mask is None and segment_ids is None):
            positions = positions_of(inputs, mask, segment_ids)
        type_ids = ops.zeros_like(inputs) if type_ids is None else type_ids
        return inputs, type_ids, positions, None if segment_ids is None else same_segment(segment_ids)

    def with_(self, **changes):
        """A BERT with some other settings and a copy of the weights: the body of a pretrained one for another task.

        Args:
            **changes: settings that differ: ``head=False`` leaves the head out, ``dropout=0.1`` is for fine-tuning,
                ``num_layers=3`` keeps the lowest blocks. What this model lacks begins anew.

        Returns:
            A `BERT` that shares nothing with this one and is not compiled.

        Raises:
            ValueError: if a weight would have another shape, or this model is quantised or has adapters.

        Example:
            >>> settings = BERTSettings(vocabulary_size=50, embedding_dim=8, num_layers=2, num_heads=2, head=True)
            >>> body = BERT(settings).with_(head=False, dropout=0.1)
            >>> body.settings.head, body.settings.dropout
            (False, 0.1)
        """
        if "quantized" in self.get_config() or any(getattr(part, "lora_enabled", False) for _, part in parts_of(self)):
            raise ValueError("The weights are quantised or have adapters: take the model as it was before.")
        new = type(self)(self.settings.with_(**changes), dtype=self.dtype_policy)
        ours = named(self)
        for name, weight in named(new).items():
            if name not in ours:
                continue
            if tuple(weight.shape) != tuple(ours[name].shape):
                raise ValueError(
                    f"{name} has the shape {tuple(ours[name].shape)}, and would have {tuple(weight.shape)} with "
                    f"{', '.join(f'{key}={value!r}' for key, value in changes.items())}: leave sizes as they are."
                )
            weight.assign(ours[name])
        return new

    def freeze(self, blocks=0):
        """Keep the embeddings and the lowest blocks as they are in training; all others learn. Compile afterwards.

        A file of the model keeps this.

        Args:
            blocks: how many blocks are kept, from the lowest one up; None lets everything learn.

        Raises:
            ValueError: if there are fewer blocks.

        Reference: Howard and Ruder (2018), "Universal Language Model Fine-tuning for Text Classification", section
        3.3, for learning from the top down.
        """
        self.frozen = whole_number("blocks", blocks, 0, self.settings.num_layers, optional=True)
        for layer in filter(None, [self.embed, self.place, self.types, self.norm]):
            layer.trainable = self.frozen is None
        for number, block in enumerate(self.blocks):
            block.trainable = self.frozen is None or number >= self.frozen

    @property
    def pad_id(self):
        """The id of padding, or None."""
        return self.settings.pad_id

    def get_config(self):
        return {**super().get_config(), **({} if self.frozen is None else {"frozen": self.frozen})}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "settings": BERTSettings(**config["settings"])})
