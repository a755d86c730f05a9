"""The LSTM that reads a text, writes another, and looks back at what it read."""

from __future__ import annotations

import keras
from keras import ops

from kerasllm.common import share, whole_number
from kerasllm.layers.attention import softmax
from kerasllm.layers.composite import CompositeModel
from kerasllm.models.encoder_decoder import EncoderDecoder, State


@keras.saving.register_keras_serializable(package="kerasllm")
class LSTMSeq2Seq(EncoderDecoder, CompositeModel):
    """Reads a text and predicts the next token of another, by LSTM layers and attention: what was before transformers.

    A bidirectional LSTM reads. What it knows at the end is where the LSTM that writes begins; at each token that one
    looks at all that was read, too. It has the interface of `Seq2Seq`, for the same batches and the same search, so
    that the two are compared with nothing else changed. Its attention has no input feeding (section 3.3 of the
    reference): each step would wait for the one before, and training be many times as slow.

    Args:
        vocabulary_size: number of tokens that can be written.
        source_vocabulary_size: number of tokens that can be read; `vocabulary_size` when None.
        shared: whether source and target share one table of embeddings. It needs one vocabulary for both.
        embedding_dim: size of an embedding. The head's matrix is the transposed one of the target.
        units: size of the state of each LSTM layer; in the encoder half of it for each direction, so it is even.
        depth: number of LSTM layers on each side.
        dropout: share of the numbers set to 0 while training: in the embeddings, between the layers and before the
            head.
        pad_id: the id of padding: where no mask of the source is given, all other tokens are real. None takes all for
            real.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, source time) of ids that are read; or a dictionary with "source_ids", "target_ids"
            and, if wanted, "source_mask" and "target_mask", as `batches.paired` makes it.
        target_ids: int tensor (batch, target time): the id to start with, and what was written so far.
        source_mask: bool tensor (batch, source time), True at real tokens; those other than `pad_id` when None. On a
            GPU padding stands on the right.
        target_mask: the same for the target; all are real when None, for padding on the right is seen by none before.
        return_weights: whether the attention to the source is returned too.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, target time, vocabulary_size): at each position the logits of the next token. With
        `return_weights` also float tensor (batch, 1, 1, target time, source time), with the axes of `Seq2Seq`: this
        model has one layer and one head of attention.

    Raises:
        ValueError: if a size is not positive, `units` is odd, `dropout` is no share, a shared table is wanted for two
            vocabularies, there are no target ids, or a mask has another shape than its ids.

    Example:
        >>> import numpy as np
        >>> model = LSTMSeq2Seq(30, source_vocabulary_size=50, embedding_dim=8, units=16)
        >>> source, target = np.array([[4, 47, 9, 0]]), np.array([[1, 7, 8]])
        >>> logits, weights = model(source, target, return_weights=True)
        >>> tuple(logits.shape), tuple(weights.shape)
        ((1, 3, 30), (1, 1, 1, 3, 4))

    Reference: Luong et al. (2015), "Effective Approaches to Attention-based Neural Machine Translation", section 3.1,
    equations 5 to 8 with the score "general"; Bahdanau et al. (2015), "Neural Machine Translation by Jointly Learning
    to Align and Translate", section 3.2, for the two directions.
    """

    def __init__(
        self,
        vocabulary_size: int,
        source_vocabulary_size: int | None = None,
        shared: bool = False,
        embedding_dim: int = 64,
        units: int = 256,
        depth: int = 1,
        dropout: float = 0.0,
        pad_id: int | None = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = whole_number("vocabulary_size", vocabulary_size)
        source_size = self.vocabulary_size if source_vocabulary_size is None else source_vocabulary_size
        self.source_vocabulary_size = whole_number("source_vocabulary_size", source_size)
        self.shared = bool(shared)
        self.embedding_dim = whole_number("embedding_dim", embedding_dim)
        self.units = whole_number("units", units)
        self.depth = whole_number("depth", depth)
        self.dropout = share("dropout", dropout)
        self.pad_id = whole_number("pad_id", pad_id, 0, self.source_vocabulary_size - 1, optional=True)
        if self.units % 2:
            raise ValueError(f"units={units} cannot be halved for the two directions: take an even number.")
        if self.shared and self.source_vocabulary_size != self.vocabulary_size:
            raise ValueError(
                f"A shared table needs one vocabulary, not {self.source_vocabulary_size} tokens to read and "
                f"{self.vocabulary_size} to write: train one tokenizer on both languages, or leave shared out."
            )
        policy = self.dtype_policy
        self.embed = keras.layers.ReversibleEmbedding(
            self.vocabulary_size, self.embedding_dim, reverse_dtype=self.compute_dtype, dtype=policy, name="embedding"
        )
        self.source_embed = None
        if not self.shared:
            self.source_embed = keras.layers.Embedding(
                self.source_vocabulary_size, self.embedding_dim, dtype=policy, name="source_embedding"
            )
        self.drop = keras.layers.Dropout(self.dropout, dtype=policy)
        self.encoder = [
            keras.layers.Bidirectional(self._lstm(self.units // 2, "lstm"), dtype=policy, name=f"encoder_{i + 1}")
            for i in range(self.depth)
        ]
        self.decoder = [self._lstm(self.units, f"decoder_{i + 1}") for i in range(self.depth)]
        dense = {"use_bias": False, "dtype": policy}
        self.query = keras.layers.Dense(self.units, name="query", **dense)
        self.combine = keras.layers.Dense(self.embedding_dim, "tanh", name="combine", **dense)
        self.build((None, None))

    def _lstm(self, units, name):
        return keras.layers.LSTM(units, return_sequences=True, return_state=True, dtype=self.dtype_policy, name=name)

    def build(self, input_shape):
        if self.built:
            return
        for table in filter(None, [self.embed, self.source_embed]):
            table.build((None, None))
        for i, (reads, writes) in enumerate(zip(self.encoder, self.decoder, strict=True)):
            shape = (None, None, self.units if i else self.embedding_dim)
            reads.build(shape)
            writes.build(shape)
        self.query.build((None, None, self.units))
        self.combine.build((None, None, 2 * self.units))
        self.restore_parts()

    def call(self, inputs, target_ids=None, source_mask=None, target_mask=None, return_weights=False, training=None):
        source_ids, source_mask, target_ids, target_mask = self.told(inputs, target_ids, source_mask, target_mask)
        context, states = self.encode(source_ids, source_mask, training=training)
        hidden = self.embed(target_ids)  # (batch, target time, embedding_dim)
        counted = None if target_mask is None else _counted(target_mask)
        for lstm, state in zip(self.decoder, states, strict=True):
            hidden = self.drop(hidden, training=training)
            hidden, *_ = lstm(hidden, initial_state=state, mask=counted, training=training)
        hidden, weights = self.attend(hidden, context, source_mask)
        logits = self.head(self.drop(hidden, training=training))
        return (logits, weights[:, None, None]) if return_weights else logits

    def encode(self, source_ids, source_mask=None, training=None):
        """What the decoder looks at, and where it begins.

        Args:
            source_ids, source_mask, training: see `LSTMSeq2Seq`.

        Returns:
            A vector for each token that was read, float tensor (batch, source time, units), zeros at padding; and for
            each layer a list of two tensors (batch, units), the states after the last token of both directions.
        """
        mask = self.real(source_ids, source_mask)
        hidden = _only(mask, (self.embed if self.source_embed is None else self.source_embed)(source_ids))
        states = []
        for bilstm in self.encoder:
            hidden = self.drop(hidden, training=training)
            hidden, *last = bilstm(hidden, mask=_counted(mask), training=training)  # (batch, source time, units)
            forward, backward = last[:2], last[2:]  # h and c of each
            states.append([ops.concatenate(pair, axis=-1) for pair in zip(forward, backward, strict=True)])
        return _only(mask, hidden), states

    def attend(self, hidden, context, mask):
        """Look at the source from each state.

        Args:
            hidden: float tensor (batch, target time, units).
            context: float tensor (batch, source time, units).
            mask: bool tensor (batch, source time).

        Returns:
            Float tensor (batch, target time, embedding_dim), and the weights (batch, target time, source time).
        """
        scores = ops.matmul(self.query(hidden), ops.transpose(context, (0, 2, 1)))  # equation 8, "general"
        weights = softmax(scores, mask[:, None])  # equation 7
        seen = ops.matmul(weights, context)  # (batch, target time, units)
        return self.combine(ops.concatenate([seen, hidden], axis=-1)), weights  # equation 5

    def head(self, features):
        """The logits (..., vocabulary_size) of what `attend` gives, (..., embedding_dim)."""
        return self.embed(features, reverse=True)

    def read(self, source_ids, source_mask=None, capacity=None):
        """Read a source, so that `step` can write.

        Args:
            source_ids, source_mask: see `LSTMSeq2Seq`.
            capacity: has no effect here: a state is as large after a thousand tokens as after one.

        Returns:
            A `State`: the vectors of the source, and the states of the layers that write.
        """
        mask = self.real(source_ids, source_mask)
        context, states = self.encode(source_ids, mask, training=False)
        return State((context, mask), states)

    def step(self, tokens, state):
        """One token further.

        Args:
            tokens: int tensor (batch,), the last token of each text; at first the id to start with.
            state: what `read` or the step before returned.

        Returns:
            The logits of the next token, float tensor (batch, vocabulary_size), and the new `State`.
        """
        hidden, after = self.embed(ops.convert_to_tensor(tokens)), []  # (batch, embedding_dim)
        for lstm, before in zip(self.decoder, state.written, strict=True):
            # The cell alone: on a GPU the layer calls cuDNN, which XLA cannot compile into the loop over tokens.
            hidden, now = lstm.cell(hidden, before, training=False)  # (batch, units)
            after.append(list(now))
        hidden, _ = self.attend(hidden[:, None], *state.source)
        return self.head(hidden)[:, 0], State(state.source, after)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "source_vocabulary_size": self.source_vocabulary_size,
            "shared": self.shared,
            "embedding_dim": self.embedding_dim,
            "units": self.units,
            "depth": self.depth,
            "dropout": self.dropout,
            "pad_id": self.pad_id,
        }


def _counted(mask):
    """The mask of an LSTM. cuDNN refuses a text without a real token: of such a one the first position counts."""
    first = ops.arange(ops.shape(mask)[1]) == 0
    return ops.logical_or(mask, ops.logical_and(first, ops.logical_not(ops.any(mask, axis=1, keepdims=True))))


def _only(mask, x):
    """`x` where the mask is True, zeros elsewhere: so a text without a token is always the same."""
    return ops.where(mask[..., None], x, ops.zeros_like(x))
