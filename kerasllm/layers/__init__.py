"""Building blocks, one idea a file. They run on every Keras backend.

What Keras has already is used from there: `keras.layers.LayerNormalization`, `RMSNormalization`, `ReversibleEmbedding`.
"""

import kerasllm.common.backend
import kerasllm.optimizers  # noqa: F401  (the file of a compiled model names its classes)
from kerasllm.layers.attention import MultiHeadAttention, allowed_pairs
from kerasllm.layers.cache import Cache, ContextCache, LayerCache
from kerasllm.layers.crf import CRF, viterbi
from kerasllm.layers.feed_forward import FeedForward
from kerasllm.layers.inverted_residual import InvertedResidual
from kerasllm.layers.lstm import LSTMCell
from kerasllm.layers.masks import as_mask
from kerasllm.layers.mixture import MixtureOfExperts
from kerasllm.layers.pairs import PairEmbedding
from kerasllm.layers.patches import PatchEmbedding
from kerasllm.layers.pooling import MaskedMax, MaskedMean
from kerasllm.layers.position import LearnedPositions, RotaryPositions, SinusoidalPositions, rotate
from kerasllm.layers.transformer import TransformerBlock

__all__ = [
    "CRF",
    "Cache",
    "ContextCache",
    "FeedForward",
    "InvertedResidual",
    "LSTMCell",
    "LayerCache",
    "LearnedPositions",
    "MaskedMax",
    "MaskedMean",
    "MixtureOfExperts",
    "MultiHeadAttention",
    "PairEmbedding",
    "PatchEmbedding",
    "RotaryPositions",
    "SinusoidalPositions",
    "TransformerBlock",
    "allowed_pairs",
    "as_mask",
    "rotate",
    "viterbi",
]
