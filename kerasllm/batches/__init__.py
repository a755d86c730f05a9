"""From ids to batches: padded texts for reading, windows of a long text for writing.

    from kerasllm import batches

    train = batches.padded(ids, labels, batch_size=32, buckets=4, shuffle=True, seed=1)
    model.fit(train, epochs=5)

    tokens = batches.write_tokens(texts, tokenizer, "corpus.tokens")     # memory-mapped
    train = batches.windows(tokens, context=64, batch_size=12, seed=1, steps=2000)
    model.fit(train, steps_per_epoch=250, epochs=8)

Both give a `tf.data.Dataset`: `fit`, `evaluate` and `predict` take it on the TensorFlow, JAX and PyTorch
backends of Keras. (A `keras.utils.PyDataset` feeds as fast, see benchmarks/, but `fit` changes the order of its
batches unless told not to, and ends one epoch more than it trains: a run could not be resumed exactly.)
Importing this module does not load TensorFlow; making the first data set does.
"""

from kerasllm.batches.pad import padded
from kerasllm.batches.token_file import read_tokens, write_tokens
from kerasllm.batches.window import windows

__all__ = ["padded", "read_tokens", "windows", "write_tokens"]
