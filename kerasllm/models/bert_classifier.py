"""A BERT that classifies: one dense layer on its vectors, of the whole text or of each token."""

from __future__ import annotations

import keras
from keras import ops

from kerasllm.common import choice, share, whole_number
from kerasllm.layers.composite import CompositeModel, made, stored
from kerasllm.layers.masks import as_mask
from kerasllm.layers.pooling import MaskedMax, MaskedMean
from kerasllm.models.bert import BERT
from kerasllm.models.inputs import unpacked

POOLINGS = {"first": None, "mean": MaskedMean, "max": MaskedMax, "pooler": None, None: None}


@keras.saving.register_keras_serializable(package="kerasllm")
class BERTClassifier(CompositeModel):
    """Classifies a text, or each of its tokens, by a BERT, dropout and a dense layer.

    `kerasllm.tasks.TextClassifier` joins it with a tokenizer and the names of the classes; without pooling
    `TokenTagger` does, and `SpanFinder` with two logits a token. A pretrained BERT becomes a body by
    ``pretrained.with_(head=False, pooler=False, dropout=0.1)``; ``encoder.freeze(4)`` keeps its lower blocks.

    Args:
        encoder: a `BERT` without a head. It is trained with the rest, and is part of this model, no copy.
        num_classes: number of classes, one logit each.
        pooling: how the vectors of a text become one: the "first" token's, their "mean", their "max" in each
            dimension, or the first token's through the BERT's "pooler". None gives logits for each token.
        dropout: share of the vector's dimensions that is set to 0 while training.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids, or a dictionary, see `BERT`.
        mask: bool tensor (batch, time), True at real tokens; those other than the encoder's padding when None.
        training: whether dropout is active.

    Returns:
        Float32 tensor (batch, num_classes): logits; (batch, time, num_classes) without pooling.

    Raises:
        ValueError: if the encoder is no BERT or has a part that would learn nothing, a number does not fit, or
            `pooling` is unknown.

    Example:
        >>> import numpy as np
        >>> from kerasllm.models import BERTSettings
        >>> encoder = BERT(BERTSettings(vocabulary_size=50, embedding_dim=8, num_layers=2, num_heads=2))
        >>> tuple(BERTClassifier(encoder, num_classes=3)(np.array([[4, 7, 9, 0], [5, 8, 0, 0]])).shape)
        (2, 3)

    Reference: Devlin et al. (2019), "BERT", section 4.1 for texts, 5.3 for tokens; Sun et al. (2019), "How to Fine-Tune
    BERT for Text Classification?", section 3.
    """

    def __init__(
        self,
        encoder: BERT,
        num_classes: int,
        pooling: str | None = "first",
        dropout: float = 0.1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.num_classes = whole_number("num_classes", num_classes)
        self.pooling = choice("pooling", pooling, POOLINGS)
        self.dropout = share("dropout", dropout)
        self.encoder = _checked(encoder, self.pooling)
        self.pool = POOLINGS[pooling] and POOLINGS[pooling](dtype="float32", name="pool")
        self.drop = keras.layers.Dropout(self.dropout, dtype="float32", name="dropout")
        small = keras.initializers.TruncatedNormal(stddev=0.02)  # as in the BERT
        self.logits = keras.layers.Dense(self.num_classes, kernel_initializer=small, dtype="float32", name="logits")
        self.build((None, None))

    def build(self, input_shape):
        if self.built:
            return
        dim = self.encoder.settings.embedding_dim
        self.logits.build((None, dim) if self.pooling else (None, None, dim))
        self.restore_parts()

    def call(self, inputs, mask=None, training=None):
        given = unpacked(inputs, BERT.names, mask, *[None] * 3)
        ids, mask, *others = given
        if mask is None:
            mask = ops.ones_like(ids, "bool") if self.pad_id is None else ops.not_equal(ids, self.pad_id)
        mask = as_mask(mask, tuple(ids.shape))
        features = self.encoder(ids, mask, *others, training=training)  # (batch, time, embedding_dim)
        vectors = self._pooled(features, mask)  # (batch, embedding_dim), or the features
        return self.logits(self.drop(ops.cast(vectors, "float32"), training=training))

    def _pooled(self, features, mask):
        if self.pool is not None:
            return self.pool(features, mask=mask)
        if self.pooling == "pooler":
            return self.encoder.pooled(features)
        return features[:, 0] if self.pooling == "first" else features

    def compute_mask(self, inputs, mask=None):
        return None  # weights say what counts in a loss

    def compute_output_shape(self, input_shape):
        shape = input_shape["ids"] if isinstance(input_shape, dict) else input_shape
        return (*(shape[:1] if self.pooling else shape), self.num_classes)

    @property
    def vocabulary_size(self):
        """The number of rows of the encoder's embedding."""
        return self.encoder.vocabulary_size

    @property
    def context_length(self):
        """The longest text that the encoder reads, in tokens."""
        return self.encoder.context_length

    @property
    def pad_id(self):
        """The id of padding, or None."""
        return self.encoder.pad_id

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": stored(self.encoder),
            "num_classes": self.num_classes,
            "pooling": self.pooling,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "encoder": made(config["encoder"])})


def _checked(encoder, pooling):
    if not isinstance(encoder, BERT):
        raise ValueError(f"encoder must be a BERT, not {encoder!r}: BERT(BERTSettings(...)), or a pretrained one.")
    for part, wanted in (("head", False), ("pooler", pooling == "pooler")):
        found = getattr(encoder.settings, part)
        if found and not wanted:
            raise ValueError(f"The encoder has a {part}, which would learn nothing: give encoder.with_({part}=False).")
        if wanted and not found:
            raise ValueError(f"The encoder has no {part}: take another pooling, or encoder.with_({part}=True).")
    return encoder
