"""Building blocks, one idea a file. They run on every Keras backend."""

from kerasllm.layers.feed_forward import FeedForward

__all__ = ["FeedForward"]
