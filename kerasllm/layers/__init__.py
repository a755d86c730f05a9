"""Building blocks, one idea a file. They run on every Keras backend."""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.layers.attention import MultiHeadAttention
from kerasllm.layers.feed_forward import FeedForward
from kerasllm.layers.lstm import LSTMCell
from kerasllm.layers.normalization import LayerNormalization, RMSNormalization
from kerasllm.layers.pairs import PairEmbedding
from kerasllm.layers.pooling import MaskedMax, MaskedMean
from kerasllm.layers.position import LearnedPositions, RotaryPositions, SinusoidalPositions, rotate
from kerasllm.layers.transformer import TransformerBlock

__all__ = [
    "FeedForward",
    "LSTMCell",
    "LayerNormalization",
    "LearnedPositions",
    "MaskedMax",
    "MaskedMean",
    "MultiHeadAttention",
    "PairEmbedding",
    "RMSNormalization",
    "RotaryPositions",
    "SinusoidalPositions",
    "TransformerBlock",
    "rotate",
]
