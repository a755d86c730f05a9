"""One small case of each feed, and a process that trains on all of them.

    python tests/batches/feed_cases.py

prints what it found as JSON, without TensorFlow and then with it: for each feed a fingerprint of its batches, and what
`fit`, `evaluate` and `predict` gave.
"""

import functools
import hashlib
import json
import sys

import numpy as np

SIZE = 12  # of the vocabulary: 0 padding, 1 start, 2 end, 3 mask


def rows(count: int, seed: int, least: int = 1, most: int = 9) -> list[list[int]]:
    """Rows of ordinary ids of different lengths."""
    random = np.random.default_rng(seed)
    return [random.integers(4, SIZE, random.integers(least, most + 1)).tolist() for _ in range(count)]


IDS, OTHERS = rows(22, 0), rows(22, 1)
TAGS = [[number % 5 - 1 for number in row] for row in IDS]
TALKS = rows(22, 2, least=2)
LEARNED = [[place % 3 > 0 for place in range(len(row))] for row in TALKS]
WORSE = [[4, *row] for row in OTHERS]
REFERENCE = np.arange(44).reshape(22, 2) / -10
LABELS = np.arange(22) % 3
ASKED = [[1, 2, *row, 2] for row in IDS]
FOUND = [(2, 1 + len(row)) if len(row) % 3 else (0, 0) for row in IDS]
TOKENS = (np.arange(22 * 9 + 3) ** 2 % 8 + 4).astype("uint16")


def cases() -> dict:
    """For each feed its function, its class and the arguments that it needs."""
    from kerasllm import batches
    from kerasllm.batches import converse, mask, pack, pad, pair, prefer, prompt, span

    hiding = {"mask_id": 3, "vocabulary_size": SIZE, "special_ids": (1, 2)}
    talks = {"ids": TALKS, "learned": LEARNED}
    pairs = {"prompts": IDS, "chosen": OTHERS, "rejected": WORSE, "reference": REFERENCE}
    return {
        "padded": (batches.padded, pad.Padded, {"ids": IDS, "labels": LABELS}),
        "padded on the left": (batches.padded, pad.Padded, {"ids": IDS, "labels": LABELS, "side": "left"}),
        "tagged": (batches.tagged, pad.Tagged, {"ids": IDS, "tags": TAGS}),
        "paired": (batches.paired, pair.Paired, {"sources": IDS, "targets": OTHERS, "start_id": 1, "end_id": 2}),
        "masked": (batches.masked, mask.Masked, {"ids": IDS, **hiding}),
        "prompted": (batches.prompted, prompt.Prompted, {"prompts": IDS, "replies": OTHERS, "max_length": 12}),
        "conversations": (batches.conversations, converse.Conversations, talks),
        "conversations, packed": (batches.conversations, converse.Conversations, {**talks, "context": 12}),
        "preferred": (batches.preferred, prefer.Preferred, pairs),
        "packed": (batches.packed, pack.Packed, {"documents": IDS + OTHERS, "context": 12}),
        "spans": (batches.spans, span.Spans, {"ids": ASKED, "passages": [2] * 22, "answers": FOUND}),
    }


def feeds(batch_size: int = 4, **order) -> dict:
    """A function of more arguments for each shuffled feed, windows too: all have two or more batches in an epoch."""
    from kerasllm import batches

    made = {
        name: functools.partial(function, **arguments, batch_size=batch_size, shuffle=True, **({"epochs": 1} | order))
        for name, (function, _, arguments) in cases().items()
    }

    def windows(epochs=1, start_epoch=0, start_step=0, drop_remainder=True, **arguments):
        steps = 5 * epochs - start_step
        start = 5 * start_epoch + start_step
        return batches.windows(TOKENS, context=9, batch_size=batch_size, start_step=start, steps=steps, **arguments)

    return made | {"windows": functools.partial(windows, **order)}


def arrays(feed) -> list[list[np.ndarray]]:
    """The batches of a reading, each as a flat list of arrays."""
    from keras import tree

    return [tree.flatten(batch) for batch in feed.as_numpy_iterator()]


def fingerprint(feed) -> str:
    found = hashlib.sha256()
    for batch in arrays(feed):
        for array in batch:
            found.update(f"{array.dtype} {array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def model_for(feed):
    """A small model that reads every input of the feed; feeds with equal inputs share one, compiled once."""
    batch = next(iter(feed.as_numpy_iterator()))
    named = batch[0] if isinstance(batch[0], dict) else {"ids": batch[0]}
    labels = 1 if batch[1].ndim == 1 else 2 if "places" in named else None  # of a row; None for one at each place
    return small_model(tuple((name, array.dtype.name) for name, array in named.items()), labels)


@functools.cache
def small_model(named: tuple[tuple[str, str], ...], labels: int | None):
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    two = any(name == "reference" for name, _ in named)  # texts that are compared
    shapes = {"reference": (2,), "ids": (2, None)} if two else {}
    inputs = [keras.Input(shapes.get(name, (None,)), name=name, dtype=dtype) for name, dtype in named]
    texts = [layers.Embedding(24, 4)(one) for one in inputs if one.dtype == "int32"]
    if inputs[0].name == "source_ids":  # its length is another one
        source = layers.GlobalAveragePooling1D()(texts[0])
        texts = [texts[1] + layers.Reshape((1, 4))(source)]
    x = layers.add(texts) if len(texts) > 1 else texts[0]
    x = layers.GlobalMaxPooling1D()(x) if labels else x
    x = layers.RepeatVector(2)(x) if labels == 2 else x
    model = keras.Model(inputs, layers.Dense(SIZE)(x))
    model.compile(keras.optimizers.SGD(0.3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def trained(make) -> dict:
    """Training on three epochs at once, and in two parts with an evaluation between them."""
    from kerasllm import batches

    feed = make(epochs=3)
    steps = batches.steps_per_epoch(feed)
    model = model_for(feed)
    start = model.get_weights()
    losses = model.fit(feed, epochs=3, steps_per_epoch=steps, shuffle=False, verbose=0).history["loss"]
    end = model.get_weights()
    model.set_weights(start)
    model.fit(feed, steps_per_epoch=steps + 1, shuffle=False, verbose=0)
    between = model.evaluate(feed, verbose=0)
    model.fit(make(epochs=3, start_step=steps + 1), shuffle=False, verbose=0)
    apart = [np.abs(one - other).max() for one, other in zip(model.get_weights(), end, strict=True)]
    found = {
        "fingerprint": fingerprint(feed),
        "kind": type(feed).__name__,
        "losses": losses,
        "evaluate": between,
        "apart": float(max(apart)),
        "predict": float(np.sum(model.predict(make(epochs=1), verbose=0))),
    }
    model.set_weights(start)  # for the next feed with these inputs
    return found


if __name__ == "__main__":
    sys.modules["tensorflow"] = None  # what `import tensorflow` finds where it is not installed
    import keras

    made = feeds(drop_remainder=True)
    result = {"backend": keras.backend.backend()}
    result["without"] = {name: trained(make) for name, make in made.items()}
    of_python = made["padded"](epochs=3)
    del sys.modules["tensorflow"]  # the same models, so that nothing is compiled twice
    result["with"] = {name: trained(make) for name, make in made.items()}
    try:
        model_for(of_python).fit(of_python, verbose=0)  # without shuffle=False; the model is of no use after it
    except ValueError as error:
        result["refused"] = str(error)
    json.dump(result, sys.stdout)
