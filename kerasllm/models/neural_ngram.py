"""The neural n-gram: the first neural language model."""

from __future__ import annotations

import keras

from kerasllm.common import share, whole_number
from kerasllm.layers.composite import CompositeModel


@keras.saving.register_keras_serializable(package="kerasllm")
class NeuralNGram(CompositeModel):
    """Predicts the next token from the embeddings of the last ``order - 1`` tokens.

    The embeddings of the last tokens are concatenated and go through a hidden layer to a softmax
    over the vocabulary. For all positions of a window at once, "concatenate the last n vectors,
    then multiply by a matrix" is a causal convolution of width n: `keras.layers.Conv1D`.
    Before the start of the window it sees zeros.

    Args:
        vocabulary_size: number of tokens.
        order: n of the n-gram: the predicted token is the n-th; at least 2.
        embedding_dim: size of an embedding.
        hidden_dim: units of the hidden layer.
        dropout: share of the hidden units that is set to 0 while training.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, time, vocabulary_size): at each position the logits of the next token.

    Raises:
        ValueError: if a size is not positive, `order` is below 2, or `dropout` is no share.

    Example:
        >>> import numpy as np
        >>> model = NeuralNGram(vocabulary_size=50, order=4, embedding_dim=8, hidden_dim=16)
        >>> tuple(model(np.ones((2, 10), "int32")).shape)
        (2, 10, 50)

    Reference: Bengio et al. (2003), "A Neural Probabilistic Language Model", section 2, equation 1
    (without its direct connections).
    """

    def __init__(
        self,
        vocabulary_size: int,
        order: int = 5,
        embedding_dim: int = 64,
        hidden_dim: int = 256,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = whole_number("vocabulary_size", vocabulary_size)
        self.order = whole_number("order", order, 2)
        self.embedding_dim = whole_number("embedding_dim", embedding_dim)
        self.hidden_dim = whole_number("hidden_dim", hidden_dim)
        self.dropout = share("dropout", dropout)
        policy = self.dtype_policy
        self.embed = keras.layers.Embedding(self.vocabulary_size, self.embedding_dim, dtype=policy, name="embedding")
        self.hidden = keras.layers.Conv1D(
            self.hidden_dim, self.order - 1, padding="causal", activation="tanh", dtype=policy, name="hidden"
        )
        self.drop = keras.layers.Dropout(self.dropout, dtype=policy)
        self.logits = keras.layers.Dense(self.vocabulary_size, dtype=policy, name="logits")

    def build(self, input_shape):
        if self.built:
            return
        self.embed.build(input_shape)
        self.hidden.build((*input_shape, self.embedding_dim))
        self.logits.build((*input_shape, self.hidden_dim))
        self.restore_parts()

    def call(self, inputs, training=None):
        vectors = self.embed(inputs)  # (batch, time, embedding_dim)
        hidden = self.hidden(vectors)  # (batch, time, hidden_dim)
        return self.logits(self.drop(hidden, training=training))  # (batch, time, vocabulary_size)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.vocabulary_size)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "order": self.order,
            "embedding_dim": self.embedding_dim,
            "hidden_dim": self.hidden_dim,
            "dropout": self.dropout,
        }
