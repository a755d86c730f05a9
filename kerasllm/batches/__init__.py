"""From ids to batches: what `fit`, `evaluate` and `predict` read.

| feed | from | a batch |
|---|---|---|
| `padded` | texts, a label each | ids, labels; with ``as_dict`` or ``side="left"`` inputs, labels |
| `tagged` | texts, a label for each token | ids, tags, weights |
| `paired` | texts and what is written from them | inputs of source and target, labels, weights |
| `masked` | texts | ids with some hidden, the original ids, weights of the hidden ones |
| `prompted` | prompts and replies | inputs, targets, weights of the replies |
| `preferred` | prompts with a better and a worse reply | inputs of both texts, targets, weights of the replies |
| `conversations` | conversations and masks | inputs, targets, weights of what the assistant says |
| `packed` | documents, several in a window | inputs, targets, weights |
| `spans` | questions, each with a passage | ids, types and places, where the answer begins and ends |
| `windows` | one long text | ids, targets; in order also weights, 0 behind the end |

`ImageInput` makes an array for a network of images. `write_tokens` and `read_tokens` keep the ids of a corpus in a file
that `windows` reads piece by piece.

    from kerasllm import batches

    train = batches.padded(ids, labels, batch_size=32, buckets=4, shuffle=True, seed=1, epochs=5)
    model.fit(train, epochs=5, steps_per_epoch=batches.steps_per_epoch(train), shuffle=False)

    tokens = batches.write_tokens(texts, tokenizer, "corpus.tokens")     # memory-mapped
    train = batches.windows(tokens, context=64, batch_size=12, seed=1, steps=2000)
    model.fit(train, steps_per_epoch=250, epochs=8, shuffle=False)

What holds for all of them:

- **Batch k is a function of the arguments and k.** A feed is one stream, of all epochs of a training: it begins at its
  start for everybody who reads it, so an `evaluate` in between changes nothing, and ``start_epoch`` and ``start_step``
  give the rest of the stream of a run that was killed. Tell `fit` the ``steps_per_epoch``; without it each epoch shows
  the whole stream, the same one.
- **Pass** ``shuffle=False`` **to fit.** The order is decided here, by ``shuffle`` and ``seed``. `fit` cannot shuffle a
  `tf.data.Dataset` and only warns; without TensorFlow it would, and the feed refuses.
- **Inputs** are ids, int32 (batch, time), or a dictionary: "ids"; "mask", True at what is not padding; "segment_ids",
  the number of the document in its row, 0 at padding; "positions" of the ids in their document. The GPT of this library
  takes it as it is; a functional model names its inputs in a list, ``keras.Model([ids, mask], outputs)``, and gets
  those of its names.
- **Weights** are `sample_weight`, (batch, time): the loss of a chosen part. Keras's losses divide by all places; for
  the mean over the chosen ones give the loss ``reduction="mean_with_sample_weight"``, and measure with
  ``weighted_metrics``.
- **Several hosts** share each batch: ``shard=(index, count)``. On JAX set ``auto_shard_dataset=False`` in the
  distribution, for the feed is cut already.
- **A strategy of TensorFlow**: before it trains Keras takes the mean of a batch over the devices, which TensorFlow does
  not have of bools. Under `MirroredStrategy` leave the mask out, "segment_ids" says the same:
  ``feed.map(lambda inputs, *rest: ({k: v for k, v in inputs.items() if k != "mask"}, *rest))``.

Where TensorFlow can be imported the feeds are `tf.data.Dataset`, on every backend of Keras; elsewhere (JAX or PyTorch
alone) a `keras.utils.PyDataset` with the same batches. `fit` reports the end of one epoch too many to a `PyDataset`;
ours has no epochs that it could lose count of. Importing this module does not load TensorFlow; making the first feed
does.
"""

from kerasllm.batches.converse import conversations
from kerasllm.batches.images import ImageInput
from kerasllm.batches.mask import masked
from kerasllm.batches.pack import packed
from kerasllm.batches.pad import padded, tagged
from kerasllm.batches.pair import paired
from kerasllm.batches.pipeline import steps_per_epoch
from kerasllm.batches.prefer import preferred
from kerasllm.batches.prompt import prompted
from kerasllm.batches.span import span_inputs, spans
from kerasllm.batches.token_file import read_tokens, write_tokens
from kerasllm.batches.window import windows

__all__ = [
    "ImageInput",
    "conversations",
    "masked",
    "packed",
    "padded",
    "paired",
    "preferred",
    "prompted",
    "read_tokens",
    "span_inputs",
    "spans",
    "steps_per_epoch",
    "tagged",
    "windows",
    "write_tokens",
]
