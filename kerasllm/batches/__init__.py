"""From ids to batches: padded texts for reading, windows of a long text for writing.

    from kerasllm import batches

    train = batches.padded(ids, labels, batch_size=32, buckets=4, shuffle=True, seed=1)
    model.fit(train, epochs=5, shuffle=False)

    tokens = batches.write_tokens(texts, tokenizer, "corpus.tokens")     # memory-mapped
    train = batches.windows(tokens, context=64, batch_size=12, seed=1, steps=2000)
    model.fit(train, steps_per_epoch=250, epochs=8, shuffle=False)

Both give a `tf.data.Dataset`: `fit`, `evaluate` and `predict` take it on the TensorFlow, JAX and PyTorch
backends of Keras. Two things about `fit`:

- Pass ``shuffle=False``. The order is decided here, by ``shuffle`` and ``seed``; `fit` cannot shuffle a
  `tf.data.Dataset`. Its own ``shuffle=True``, the default, does nothing but warn, and once the data is a NumPy array
  or a `keras.utils.PyDataset` it does change the order. Saying False keeps one order whatever the feed.
- ``steps`` of `windows` counts the batches of all epochs together: 2,000 batches are 8 epochs of 250. Without
  ``steps_per_epoch`` each epoch shows all 2,000, the same ones.

(A `PyDataset` feeds as fast, see benchmarks/, but `fit` ends one epoch more of it than it trains: a run could not be
resumed exactly.)

Importing this module does not load TensorFlow; making the first data set does.
"""

from kerasllm.batches.pad import padded
from kerasllm.batches.token_file import read_tokens, write_tokens
from kerasllm.batches.window import windows

__all__ = ["padded", "read_tokens", "windows", "write_tokens"]
