"""The LSTM language model."""

from __future__ import annotations

import keras
from keras import ops

from kerasllm.common import share, whole_number
from kerasllm.layers.composite import CompositeModel


@keras.saving.register_keras_serializable(package="kerasllm")
class LSTMLanguageModel(CompositeModel):
    """Predicts the next token from all tokens before it, through one or more LSTM layers.

    Args:
        vocabulary_size: number of tokens.
        embedding_dim: size of an embedding.
        units: size of the state of each LSTM layer.
        depth: number of LSTM layers.
        dropout: share of the numbers set to 0 while training: in the embeddings, between the layers
            and before the head.
        tied: whether the head's matrix is the transposed embedding matrix. It needs
            ``units == embedding_dim``.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids.
        states: what an earlier call returned for the text before these tokens; zeros when None.
        return_states: whether the states after the last token are returned too.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, time, vocabulary_size): at each position the logits of the next token.
        With `return_states` a pair of it and the states: for each layer a list of two tensors
        (batch, units).

    Raises:
        ValueError: if a size is not positive, `dropout` is no share, or a tied head does not fit.

    Example:
        >>> import numpy as np
        >>> model = LSTMLanguageModel(vocabulary_size=50, embedding_dim=8, units=16)
        >>> tuple(model(np.ones((2, 10), "int32")).shape)
        (2, 10, 50)
        >>> logits, states = model.step(np.ones((2,), "int32"))
        >>> logits, states = model.step(np.ones((2,), "int32"), states)
        >>> tuple(logits.shape)
        (2, 50)

    Reference: Zaremba et al. (2014), "Recurrent Neural Network Regularization", section 3; Press and Wolf (2017) for
    the tied head.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int = 64,
        units: int = 256,
        depth: int = 1,
        dropout: float = 0.0,
        tied: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = whole_number("vocabulary_size", vocabulary_size)
        self.embedding_dim = whole_number("embedding_dim", embedding_dim)
        self.units = whole_number("units", units)
        self.depth = whole_number("depth", depth)
        self.dropout = share("dropout", dropout)
        self.tied = bool(tied)
        if self.tied and self.units != self.embedding_dim:
            raise ValueError(f"A tied head needs units equal to embedding_dim, not {units} and {embedding_dim}.")
        policy = self.dtype_policy
        self.embed = keras.layers.ReversibleEmbedding(
            self.vocabulary_size, self.embedding_dim, reverse_dtype=self.compute_dtype, dtype=policy, name="embedding"
        )
        self.drops = [keras.layers.Dropout(self.dropout, dtype=policy) for _ in range(self.depth + 1)]
        self.lstms = [
            keras.layers.LSTM(self.units, return_sequences=True, return_state=True, dtype=policy, name=f"lstm_{i}")
            for i in range(1, self.depth + 1)
        ]
        if not self.tied:
            self.logits = keras.layers.Dense(self.vocabulary_size, dtype=policy, name="logits")

    def build(self, input_shape):
        if self.built:
            return
        self.embed.build(input_shape)
        for i, lstm in enumerate(self.lstms):
            lstm.build((*input_shape, self.units if i else self.embedding_dim))
        if not self.tied:
            self.logits.build((*input_shape, self.units))
        self.restore_parts()

    def call(self, inputs, states=None, return_states=False, training=None):
        hidden = self.embed(inputs)  # (batch, time, embedding_dim)
        after = []
        for i, lstm in enumerate(self.lstms):
            hidden = self.drops[i](hidden, training=training)
            hidden, *state = lstm(hidden, initial_state=states and states[i])  # (batch, time, units)
            after.append(state)
        logits = self.head(self.drops[-1](hidden, training=training))  # (batch, time, vocabulary_size)
        return (logits, after) if return_states else logits

    def head(self, hidden):
        """The logits (..., vocabulary_size) of hidden states (..., units)."""
        return self.embed(hidden, reverse=True) if self.tied else self.logits(hidden)

    def step(self, tokens, states=None):
        """One token further: what sampling calls once for each token.

        Args:
            tokens: int tensor (batch,), the last token of each text.
            states: what the step or call before returned; None at the start of a text.

        Returns:
            The logits of the next token, float tensor (batch, vocabulary_size), and the new states.
        """
        self.build((None, None))  # what is built stays as it is
        hidden = self.embed(ops.convert_to_tensor(tokens))  # (batch, embedding_dim)
        after = []
        for i, lstm in enumerate(self.lstms):
            before = states[i] if states else lstm.get_initial_state(ops.shape(hidden)[0])
            # The cell alone: on a GPU the layer calls cuDNN, which XLA cannot compile into the loop over tokens.
            hidden, state = lstm.cell(hidden, before, training=False)  # (batch, units)
            after.append(list(state))
        return self.head(hidden), after

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.vocabulary_size)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "embedding_dim": self.embedding_dim,
            "units": self.units,
            "depth": self.depth,
            "dropout": self.dropout,
            "tied": self.tied,
        }
