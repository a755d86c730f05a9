"""PatchEncoder: transformer blocks over the patches of a picture, each of which sees all others."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import keras

from kerasllm.common import share, whole_number
from kerasllm.layers import FeedForward, LearnedPositions, MultiHeadAttention, PatchEmbedding, TransformerBlock
from kerasllm.layers.composite import CompositeModel


@dataclass(frozen=True)
class PatchEncoderSettings:
    """The settings of a `PatchEncoder`. The defaults are small: pictures of 64 pixels and a few thousand of them.

    Attributes:
        image_size: height and width of a picture, in pixels.
        patch_size: height and width of a patch; `image_size` is a multiple of it.
        channels: numbers of a pixel.
        embedding_dim: size of a patch's vector.
        num_layers: number of blocks.
        num_heads: heads of attention in a block; `embedding_dim` is a multiple of it.
        hidden_dim: units in the middle of the feed-forward network; ``4 * embedding_dim`` when None.
        dropout: share of the embeddings, the attention weights and each part's output set to 0 while training.

    Raises:
        ValueError: if a size is not positive, the patches do not fill the picture, or the heads do not fit.
    """

    image_size: int = 64
    patch_size: int = 8
    channels: int = 3
    embedding_dim: int = 64
    num_layers: int = 2
    num_heads: int = 4
    hidden_dim: int | None = None
    dropout: float = 0.0

    def __post_init__(self):
        for name in ("image_size", "patch_size", "channels", "embedding_dim", "num_layers", "num_heads"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        hidden = 4 * self.embedding_dim if self.hidden_dim is None else whole_number("hidden_dim", self.hidden_dim)
        object.__setattr__(self, "hidden_dim", hidden)
        share("dropout", self.dropout)
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size={self.image_size} is no multiple of patch_size={self.patch_size}.")
        if self.embedding_dim % self.num_heads:
            raise ValueError(
                f"embedding_dim={self.embedding_dim} cannot be cut into num_heads={self.num_heads} equal heads."
            )

    def with_(self, **changes) -> PatchEncoderSettings:
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
class PatchEncoder(CompositeModel):
    """Gives each patch of a picture a vector that knows of all other patches: a small vision transformer.

    It has its weights as soon as it is made. There is no token of a class: who wants one vector takes the mean.

    Args:
        settings: `PatchEncoderSettings`.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, image_size, image_size, channels).
        training: whether dropout is active.

    Returns:
        Float tensor (batch, places, embedding_dim), ``(image_size / patch_size) ** 2`` places row by row.

    Raises:
        TypeError: if `settings` are none.

    Example:
        >>> import numpy as np
        >>> model = PatchEncoder(PatchEncoderSettings(image_size=16, embedding_dim=8, num_heads=2))
        >>> tuple(model(np.zeros((2, 16, 16, 3))).shape)
        (2, 4, 8)

    Reference: Dosovitskiy et al. (2021), "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
    section 3.1, equations 1 to 3.
    """

    def __init__(self, settings, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(settings, PatchEncoderSettings):
            raise TypeError(f"settings must be PatchEncoderSettings, not {settings!r}: PatchEncoderSettings(64, 8).")
        self.settings = settings
        policy, dropout = self.dtype_policy, settings.dropout
        self.embed = PatchEmbedding(settings.patch_size, settings.embedding_dim, dtype=policy, name="patches")
        small = keras.initializers.RandomNormal(0, 0.02)
        self.place = LearnedPositions(self.places, small, dtype=policy, name="positions")
        self.drop = keras.layers.Dropout(dropout, dtype=policy)
        self.blocks = [
            TransformerBlock(
                MultiHeadAttention(settings.num_heads, dropout=dropout),
                FeedForward(settings.hidden_dim),
                dropout=dropout,
                dtype=policy,
                name=f"block_{i + 1}",
            )
            for i in range(settings.num_layers)
        ]
        self.final_norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=policy, name="final_norm")
        self.build((None, settings.image_size, settings.image_size, settings.channels))

    @property
    def places(self):
        """How many patches a picture has."""
        return (self.settings.image_size // self.settings.patch_size) ** 2

    def build(self, input_shape):
        if self.built:
            return
        self.embed.build(input_shape)
        for layer in (self.place, *self.blocks, self.final_norm):
            layer.build((None, self.places, self.settings.embedding_dim))
        self.restore_parts()

    def call(self, inputs, training=None):
        x = self.drop(self.place(self.embed(inputs)), training=training)  # (batch, places, embedding_dim)
        for block in self.blocks:
            x = block(x, training=training)
        return self.final_norm(x)

    def get_config(self):
        return {**super().get_config(), "settings": self.settings.get_config()}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "settings": PatchEncoderSettings(**config["settings"])})
