"""What `GPT` and `BERT` share: settings, a table of tokens, and blocks in which whole texts are seen at once."""

import keras

from kerasllm.layers.composite import CompositeModel


class Stack(CompositeModel):
    """A model that is made of settings and has its weights as soon as it is made.

    Args:
        settings: of the class `kind`.
        **kwargs: arguments of `keras.Model`.

    Raises:
        TypeError: if `settings` are something else.
    """

    kind: type
    example: str  # how such a model is made, for the message
    names: tuple[str, ...]  # what a batch that is a dictionary may hold

    def __init__(self, settings, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(settings, self.kind):
            raise TypeError(f"settings must be {self.kind.__name__}, not {settings!r}: {self.example}.")
        self.settings = settings
        self.supports_masking = True

    def token_table(self, initializer):
        """The embedding of tokens, which also turns features into logits, in the model's own precision."""
        return keras.layers.ReversibleEmbedding(
            self.settings.vocabulary_size,
            self.settings.embedding_dim,
            embeddings_initializer=initializer.clone(),
            reverse_dtype=self.compute_dtype,
            dtype=self.dtype_policy,
            name="embedding",
        )

    @property
    def vocabulary_size(self):
        """The number of rows of the embedding: at least the number of tokens."""
        return self.settings.vocabulary_size

    @property
    def context_length(self):
        """The longest text that the model is trained on, in tokens."""
        return self.settings.context_length

    def get_config(self):
        return {**super().get_config(), "settings": self.settings.get_config()}
