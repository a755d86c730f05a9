"""A classifier of your own texts, from a CSV file with one column of texts and one of labels.

pip install "kerasllm[data,tensorflow]"        # or jax, with KERAS_BACKEND=jax
python classify_your_texts.py reviews.csv --text review --label stars
"""

import argparse

import keras

from kerasllm import batches, data, models, tasks, text

options = argparse.ArgumentParser(description="Train a classifier on a CSV file.")
options.add_argument("file")
options.add_argument("--text", default="text", help="the column of the texts")
options.add_argument("--label", default="label", help="the column of the labels")
options.add_argument("--epochs", type=int, default=20)
options = options.parse_args()

# One printed line says what was dropped, and why. Near-copies are in one part, so the test is honest.
frame = data.from_csv(options.file, text=options.text, label=options.label)
train, validation, test = (frame[frame["split"] == part] for part in ("train", "validation", "test"))
labels = list(frame["label"].cat.categories)

# The tokenizer learns from the training texts alone: what it knows is part of the model.
tokenizer = text.train_bpe(list(train["text"]), 4_000)
network = models.BagOfEmbeddings(tokenizer.vocabulary_size, num_classes=len(labels), token_dropout=0.2)
model = tasks.TextClassifier(network, tokenizer, labels, max_length=400)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])


def feed(rows, **order):
    """Batches of ids and label numbers from rows of the table."""
    ids = tokenizer.encode_batch(list(rows["text"]))
    return batches.padded(ids, rows["label"].cat.codes.to_numpy(), batch_size=32, max_length=400, **order)


epochs = feed(train, shuffle=True, seed=1, epochs=options.epochs)
model.fit(
    epochs,
    epochs=options.epochs,
    steps_per_epoch=batches.steps_per_epoch(epochs),
    validation_data=feed(validation),
    callbacks=[keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)],
    shuffle=False,
    verbose=2,
)
answers = model.classify(test["text"])
right = (answers["label"] == test["label"].astype(str)).mean()
most = (test["label"] == train["label"].mode()[0]).mean()  # what always saying the same would give
print(f"Right on {right:.1%} of {len(test):,} test texts; the most frequent label alone gives {most:.1%}.")

model.save("classifier.keras")  # weights, tokenizer and labels in one file
again = keras.saving.load_model("classifier.keras")
print(again.classify(list(test["text"][:3])).round(3).to_string())
