"""What a GPT is made of: one frozen dataclass, and the settings of models that others published."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

import keras

from kerasllm.common import choice, positive, share, whole_number
from kerasllm.layers import FeedForward, LearnedPositions, MultiHeadAttention, RotaryPositions, SinusoidalPositions
from kerasllm.layers.composite import made, stored, template
from kerasllm.layers.transformer import PLACEMENTS


@dataclass(frozen=True)
class GPTSettings:
    """The settings of a `GPT`: sizes, and its parts as templates.

    Attributes:
        vocabulary_size: number of rows of the embedding and of logits; at least the number of tokens. More than that
            is usual: matrices whose size is a multiple of 64 or 128 multiply faster.
        embedding_dim: size of the vector that runs through the blocks.
        num_layers: number of blocks.
        attention: a `MultiHeadAttention` with ``causal=True``, or several that the blocks take in turn.
        feed_forward: a `FeedForward` or `MixtureOfExperts`, or several that the blocks take in turn.
        norm: the normalisation of the blocks and before the head.
        context_length: the longest text that the model is trained on, in tokens. No token sees farther.
        positions: a layer that adds positions to the embeddings, such as `LearnedPositions`; None where attention
            turns its queries and keys.
        placement: where the blocks normalise, see `TransformerBlock`.
        embedding_scale: what embeddings are multiplied by, so that they are as large as what the blocks add.
        tied: whether the head's matrix is the transposed embedding matrix, which saves a matrix and is better in
            small models.
        dropout: share of the embeddings and of each part's output set to 0 while training; for small texts.
        embedding_initializer: how embeddings start: small, since in a tied head they are also the logits' matrix.
        head_initializer: how an untied head starts; "zeros" gives every token the same probability at first.

    Raises:
        ValueError: if a size is not positive, or a part is no layer.
    """

    vocabulary_size: int
    embedding_dim: int
    num_layers: int
    attention: Any
    feed_forward: Any
    norm: Any
    context_length: int = 256
    positions: Any = None
    placement: str = "before"
    embedding_scale: float = 1.0
    tied: bool = True
    dropout: float = 0.0
    embedding_initializer: Any = field(default_factory=lambda: keras.initializers.RandomNormal(0, 0.02))
    head_initializer: Any = field(default_factory=lambda: keras.initializers.RandomNormal(0, 0.02))

    def __post_init__(self):
        for name in ("vocabulary_size", "embedding_dim", "num_layers", "context_length"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        for name in ("attention", "feed_forward"):
            found = getattr(self, name)
            found = tuple(found) if isinstance(found, list | tuple) else (found,)
            if not found:
                raise ValueError(f"{name} must be a layer or several, not none.")
            object.__setattr__(self, name, tuple(template(name, one) for one in found))
        for one in self.attention:
            if not isinstance(one, MultiHeadAttention) or not one.causal:
                raise ValueError(f"attention must be MultiHeadAttention(..., causal=True), not {one!r}: a GPT guesses.")
        template("norm", self.norm)
        template("positions", self.positions, optional=True)
        choice("placement", self.placement, PLACEMENTS)
        share("dropout", self.dropout)
        positive("embedding_scale", self.embedding_scale)
        for name in ("embedding_initializer", "head_initializer"):
            object.__setattr__(self, name, keras.initializers.get(getattr(self, name)))

    def with_(self, **changes) -> GPTSettings:
        """The same settings but for some.

        Args:
            **changes: attributes that differ.

        Returns:
            New settings.
        """
        return replace(self, **changes)

    def get_config(self) -> dict[str, Any]:
        """The settings as JSON values: what a file of a model holds."""
        return {one.name: _stored(getattr(self, one.name), one.name) for one in fields(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GPTSettings:
        """The settings of `get_config`."""
        return cls(**{name: _made(value) for name, value in config.items()})


def _stored(value, name):
    if isinstance(value, tuple):
        return [_stored(one, name) for one in value]
    if isinstance(value, keras.layers.Layer):
        return stored(value, name)
    return keras.saving.serialize_keras_object(value) if hasattr(value, "get_config") else value


def _made(value):
    if isinstance(value, list):
        return tuple(_made(one) for one in value)
    return made(value) if isinstance(value, dict) else value


def gpt_settings(
    vocabulary_size,
    context_length=256,
    num_layers=4,
    num_heads=4,
    embedding_dim=128,
    hidden_dim=None,
    num_kv_heads=None,
    head_dim=None,
    positions="learned",
    max_wavelength=10000.0,
    norm="layer_norm",
    epsilon=1e-5,
    activation="gelu",
    gated=False,
    qk_norm=False,
    window=None,
    use_bias=True,
    qkv_bias=None,
    tied=True,
    zero_init=False,
    dropout=0.0,
):
    """Settings of a GPT in which all blocks are alike, from numbers and names.

    The defaults are GPT-2's choices. Rotary positions, RMS normalisation, a gate, normalised queries and keys and an
    untied head are those of many models since. What this function has no argument for is a part: `GPTSettings`.

    Args:
        vocabulary_size: see `GPTSettings`.
        context_length: see `GPTSettings`.
        num_layers: number of blocks.
        num_heads: heads of attention in a block.
        embedding_dim: size of an embedding and of the vector that runs through the blocks.
        hidden_dim: units in the middle of the feed-forward network; ``4 * embedding_dim`` when None.
        num_kv_heads: heads of keys and values; `num_heads` when None.
        head_dim: size of a head; ``embedding_dim / num_heads`` when None.
        positions: "learned", "sinusoidal", "rotary", or None for none at all.
        max_wavelength: of rotary positions.
        norm: "layer_norm" or "rms_norm".
        epsilon: the small number that a normalisation adds to the variance.
        activation: activation of the feed-forward network, see `FeedForward`.
        gated: whether the feed-forward network is gated.
        qk_norm: whether queries and keys are normalised.
        window: how many tokens a token sees, itself included; `context_length` when None.
        use_bias: whether projections and layer normalisation have a bias.
        qkv_bias: whether the projections of queries, keys and values have one; as `use_bias` when None.
        tied: see `GPTSettings`.
        zero_init: whether the last kernel of each part and an untied head start at 0, so that an untrained model gives
            every token the same probability.
        dropout: share set to 0 while training: of the embeddings, the attention weights and each part's output.

    Returns:
        `GPTSettings`.

    Raises:
        ValueError: if a size is not positive, a name is unknown, or the heads do not fit the embeddings.

    Reference: Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", section 2.3.
    """
    for name, size in (("num_layers", num_layers), ("num_heads", num_heads), ("embedding_dim", embedding_dim)):
        whole_number(name, size)
    if head_dim is None and embedding_dim % num_heads:
        raise ValueError(f"embedding_dim={embedding_dim} cannot be cut into num_heads={num_heads} equal heads.")
    small, smaller = starts(num_layers)
    shared = {"kernel_initializer": small, "output_initializer": "zeros" if zero_init else smaller}
    return GPTSettings(
        vocabulary_size=vocabulary_size,
        embedding_dim=embedding_dim,
        num_layers=num_layers,
        context_length=context_length,
        attention=MultiHeadAttention(
            num_heads,
            head_dim=head_dim,
            num_kv_heads=num_kv_heads,
            causal=True,
            window=window,
            rotary=RotaryPositions(max_wavelength) if positions == "rotary" else None,
            qk_norm=keras.layers.RMSNormalization(epsilon=1e-6) if qk_norm else None,
            use_bias=use_bias if qkv_bias is None else qkv_bias,
            output_bias=use_bias,
            dropout=dropout,
            **shared,
        ),
        feed_forward=FeedForward(
            4 * embedding_dim if hidden_dim is None else hidden_dim, None, activation, gated, use_bias, **shared
        ),
        norm=_norm(norm, epsilon, use_bias),
        positions=_positions(positions, context_length),
        tied=tied,
        dropout=dropout,
        embedding_initializer=small,
        head_initializer="zeros" if zero_init else small,
    )


def starts(num_layers):
    """GPT-2's initial values: small normal numbers, smaller where 2 * num_layers outputs are added up (section 2.3)."""
    return tuple(keras.initializers.RandomNormal(0, 0.02 / n) for n in (1, math.sqrt(2 * num_layers)))


def _norm(norm, epsilon, use_bias):
    if choice("norm", norm, ("layer_norm", "rms_norm")) == "rms_norm":
        return keras.layers.RMSNormalization(epsilon=epsilon)
    return keras.layers.LayerNormalization(epsilon=epsilon, center=use_bias)


def _positions(positions, context_length):
    choice("positions", positions, ("learned", "sinusoidal", "rotary", None))
    if positions == "learned":
        return LearnedPositions(context_length, initializer=keras.initializers.RandomNormal(0, 0.02))
    return SinusoidalPositions() if positions == "sinusoidal" else None
