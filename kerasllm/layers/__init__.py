"""Building blocks, one idea a file. They run on every Keras backend."""

from kerasllm.layers.feed_forward import FeedForward
from kerasllm.layers.lstm import LSTMCell
from kerasllm.layers.pooling import MaskedMax, MaskedMean

__all__ = ["FeedForward", "LSTMCell", "MaskedMax", "MaskedMean"]
