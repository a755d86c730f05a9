"""GPT: a stack of causal transformer blocks that predicts the next token."""

import math

import keras
from keras import layers, ops

from kerasllm.layers import (
    LayerNormalization,
    LearnedPositions,
    RMSNormalization,
    SinusoidalPositions,
    TransformerBlock,
)

ARGUMENTS = (
    "vocabulary_size",
    "context_length",
    "num_layers",
    "num_heads",
    "embedding_dim",
    "hidden_dim",
    "num_kv_heads",
    "positions",
    "norm",
    "activation",
    "gated",
    "qk_norm",
    "window",
    "use_bias",
    "tied",
    "zero_init",
    "dropout",
)
POSITIONS = ("learned", "sinusoidal", "rotary", None)
MODERN = {
    "positions": "rotary",
    "norm": "rms_norm",
    "activation": "squared_relu",
    "qk_norm": True,
    "use_bias": False,
    "tied": False,
    "zero_init": True,
}
GPT2 = {"vocabulary_size": 50257, "context_length": 1024, "activation": "gelu_tanh"}
CONFIGURATIONS = {
    # The setting that nanoGPT publishes for a laptop, and the same size with the blocks of today.
    "nano": {"context_length": 64, "num_layers": 4, "num_heads": 4, "embedding_dim": 128, "use_bias": False},
    "nano-modern": {"context_length": 64, "num_layers": 4, "num_heads": 4, "embedding_dim": 128, **MODERN},
    # Radford et al. (2019), table 2.
    "gpt2": {"num_layers": 12, "num_heads": 12, "embedding_dim": 768, **GPT2},
    "gpt2-medium": {"num_layers": 24, "num_heads": 16, "embedding_dim": 1024, **GPT2},
    "gpt2-large": {"num_layers": 36, "num_heads": 20, "embedding_dim": 1280, **GPT2},
    "gpt2-xl": {"num_layers": 48, "num_heads": 25, "embedding_dim": 1600, **GPT2},
}


def gpt(name, **changes):
    """The GPT of a named configuration.

    Args:
        name: "nano", "nano-modern", "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl".
        **changes: arguments of `GPT` that differ from the configuration. The two small ones need a
            ``vocabulary_size``.

    Returns:
        A `GPT` with random weights.

    Raises:
        ValueError: if there is no such configuration.

    Example:
        >>> gpt("nano", vocabulary_size=65).count_params()
        804096

    """
    if name not in CONFIGURATIONS:
        raise ValueError(f"There is no configuration {name!r}. Use one of {', '.join(CONFIGURATIONS)}.")
    model = GPT(**{**CONFIGURATIONS[name], **changes})
    model.build((None, None))
    return model


@keras.saving.register_keras_serializable(package="kerasllm")
class GPT(keras.Model):
    """Predicts the next token from all tokens before it, through transformer blocks.

    The defaults are GPT-2's choices. Rotary positions, RMS normalisation, squared ReLU, normalised
    queries and keys and an untied head that starts at 0 are those of many models since.

    Args:
        vocabulary_size: number of tokens.
        context_length: the longest text that the model is trained on, in tokens.
        num_layers: number of blocks.
        num_heads: heads of attention in a block.
        embedding_dim: size of an embedding and of the vector that runs through the blocks.
        hidden_dim: units in the middle of the feed-forward network; ``4 * embedding_dim`` when None.
        num_kv_heads: heads of keys and values; `num_heads` when None.
        positions: "learned", "sinusoidal", "rotary", or None for none at all.
        norm: "layer_norm" or "rms_norm".
        activation: activation of the feed-forward network, see `FeedForward`.
        gated: whether the feed-forward network is gated.
        qk_norm: whether queries and keys are normalised.
        window: how many tokens a token sees, itself included. When None, `context_length`; with
            learned positions a text cannot be longer than that anyway.
        use_bias: whether projections and layer normalisation have a bias.
        tied: whether the head's matrix is the transposed embedding matrix.
        zero_init: whether the last kernel of each part and an untied head start at 0, so that an
            untrained model gives every token the same probability.
        dropout: share set to 0 while training: of the embeddings, the attention weights and each
            part's output.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids.
        cache: what `make_cache` or an earlier call returned, when the text before `inputs` was seen already.
        position: with a cache: how many tokens came before `inputs`, an int scalar.
        padding: with a cache: int tensor (batch,), how many positions at the beginning of each text
            are padding; 0 when None.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, time, vocabulary_size): at each position the logits of the next token.
        With `cache` a pair of it and the new cache.

    Raises:
        ValueError: if a size is not positive, a name is unknown, or a text with learned positions is
            longer than `context_length`.

    Example:
        >>> import numpy as np
        >>> model = GPT(vocabulary_size=50, context_length=16, num_layers=2, num_heads=2, embedding_dim=8)
        >>> tuple(model(np.ones((2, 10), "int32")).shape)
        (2, 10, 50)

    Reference: Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", section 2.3.
    """

    def __init__(
        self,
        vocabulary_size,
        context_length=256,
        num_layers=4,
        num_heads=4,
        embedding_dim=128,
        hidden_dim=None,
        num_kv_heads=None,
        positions="learned",
        norm="layer_norm",
        activation="gelu",
        gated=False,
        qk_norm=False,
        window=None,
        use_bias=True,
        tied=True,
        zero_init=False,
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sizes = {
            "vocabulary_size": vocabulary_size,
            "context_length": context_length,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "embedding_dim": embedding_dim,
        }
        for name, size in sizes.items():
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a whole number from 1 up, not {size!r}.")
        if embedding_dim % num_heads:
            raise ValueError(f"embedding_dim={embedding_dim} cannot be cut into num_heads={num_heads} equal heads.")
        if positions not in POSITIONS:
            raise ValueError(f"positions must be 'learned', 'sinusoidal', 'rotary' or None, not {positions!r}.")
        self.vocabulary_size = vocabulary_size
        self.context_length = context_length
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.embedding_dim = embedding_dim
        self.hidden_dim = hidden_dim or 4 * embedding_dim
        self.num_kv_heads = num_kv_heads
        self.positions = positions
        self.norm = norm
        self.activation = activation
        self.gated = gated
        self.qk_norm = qk_norm
        self.window = window
        self.use_bias = use_bias
        self.tied = tied
        self.zero_init = zero_init
        self.dropout = dropout
        policy = self.dtype_policy
        # GPT-2's start: small normal numbers, smaller where num_layers outputs are added up (section 2.3).
        small, smaller = (keras.initializers.RandomNormal(0, 0.02 / n) for n in (1, math.sqrt(2 * num_layers)))
        self.embed = layers.Embedding(
            vocabulary_size, embedding_dim, embeddings_initializer=small, dtype=policy, name="embedding"
        )
        self.place = None
        if positions == "learned":
            self.place = LearnedPositions(context_length, initializer=small.clone(), dtype=policy, name="positions")
        elif positions == "sinusoidal":
            self.place = SinusoidalPositions(dtype=policy, name="positions")
        self.drop = layers.Dropout(dropout, dtype=policy)
        self.blocks = [
            TransformerBlock(
                num_heads,
                self.hidden_dim,
                causal=True,
                norm=norm,
                activation=activation,
                gated=gated,
                num_kv_heads=num_kv_heads,
                window=self.sees if positions != "learned" or window else None,
                rotary_wavelength=10000.0 if positions == "rotary" else None,
                qk_norm=qk_norm,
                use_bias=use_bias,
                dropout=dropout,
                kernel_initializer=small,
                output_initializer="zeros" if zero_init else smaller,
                dtype=policy,
                name=f"block_{i}",
            )
            for i in range(1, num_layers + 1)
        ]
        if norm == "rms_norm":
            self.final_norm = RMSNormalization(dtype=policy, name="final_norm")
        else:
            self.final_norm = LayerNormalization(center=use_bias, dtype=policy, name="final_norm")
        if not tied:
            head = "zeros" if zero_init else small.clone()
            self.logits = layers.Dense(
                vocabulary_size, use_bias=False, kernel_initializer=head, dtype=policy, name="logits"
            )

    @property
    def sees(self):
        """How many tokens a token sees, itself included."""
        return min(self.window or self.context_length, self.context_length)

    def build(self, input_shape):
        shape = (*input_shape, self.embedding_dim)
        self.embed.build(input_shape)
        for layer in filter(None, [self.place, *self.blocks, self.final_norm, None if self.tied else self.logits]):
            layer.build(shape)

    def call(self, inputs, cache=None, position=0, padding=None, training=None):
        results = self.features(inputs, cache, position, padding, training)
        return self.head(results) if cache is None else (self.head(results[0]), results[1])

    def features(self, inputs, cache=None, position=0, padding=None, training=None):
        """What the head turns into logits: float tensor (batch, time, embedding_dim); with `cache` also the new one."""
        x = self.embed(inputs)  # (batch, time, embedding_dim)
        if self.place is not None:
            x = self.place(x, start=position if padding is None else position - padding)
        x = self.drop(x, training=training)
        written = []
        for i, block in enumerate(self.blocks):
            if cache is None:
                x = block(x, training=training)
            else:
                x, entry = block(x, cache=cache[i], position=position, padding=padding, training=training)
                written.append(entry)
        x = self.final_norm(x)
        return x if cache is None else (x, written)

    def head(self, features):
        """The logits (..., vocabulary_size) of features (..., embedding_dim)."""
        if not self.tied:
            return self.logits(features)
        return ops.matmul(features, ops.transpose(ops.cast(self.embed.embeddings, features.dtype)))

    def make_cache(self, batch_size, capacity=None):
        """An empty cache for `batch_size` texts.

        Args:
            batch_size: number of texts.
            capacity: number of tokens it holds; `context_length` when None. With learned positions
                it ends there. Otherwise it is a ring: a text may go on for ever, and tokens that are too
                far back to be seen are overwritten.

        Returns:
            For each block a pair of keys and values.
        """
        capacity = self.context_length if capacity is None else capacity
        return [block.attention.make_cache(batch_size, capacity) for block in self.blocks]

    def flops_per_token(self, context=None, training=False):
        """Floating-point operations for one token, an addition and a multiplication counted as two.

        Two for each weight of a matrix product, and two for each number that attention multiplies. A
        training step takes three times as many: the backward pass computes two products for each one.

        Args:
            context: how many tokens a token sees on average; half of `context_length` when None.
            training: whether to count a training step.

        Returns:
            A whole number.

        Reference: Kaplan et al. (2020), "Scaling Laws for Neural Language Models", section 2.1.
        """
        context = self.context_length / 2 if context is None else context
        matrices = sum(math.prod(w.shape) for w in self.trainable_variables if len(w.shape) == 2)
        looked_up = [self.embed.embeddings] if not self.tied else []
        looked_up += [self.place.embeddings] if self.positions == "learned" else []
        matrices -= sum(math.prod(w.shape) for w in looked_up)
        attention = 2 * self.num_layers * context * self.embedding_dim
        return round((6 if training else 2) * (matrices + attention))

    def describe(self):
        """A short table of the parts: parameters, and FLOPs a token in training."""
        rows = [("embedding", self.embed.count_params())]
        if self.positions == "learned":
            rows.append(("positions", self.place.count_params()))
        rows.append((f"{self.num_layers} blocks", sum(block.count_params() for block in self.blocks)))
        rows.append(("final norm", self.final_norm.count_params()))
        rows.append(("head", "tied to the embedding" if self.tied else self.logits.count_params()))
        rows.append(("parameters", self.count_params()))
        rows.append(("training FLOPs a token", self.flops_per_token(training=True)))
        return "\n".join(
            f"{name:<24}{value:>22,}" if value != str(value) else f"{name:<24}{value:>22}" for name, value in rows
        )

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.vocabulary_size)

    def get_config(self):
        return {**super().get_config(), **{name: getattr(self, name) for name in ARGUMENTS}}
