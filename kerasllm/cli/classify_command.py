"""``kerasllm classify``: the label of texts, by a saved `TextClassifier`."""

from __future__ import annotations

from kerasllm.cli.errors import told
from kerasllm.cli.saved_tasks import asked_texts, load_task, print_json, print_line


def classify_texts(options) -> None:
    """Print a line for each text."""
    model = load_task(options.model, "TextClassifier")
    for texts in asked_texts(options.texts):
        with told(ValueError, TypeError):
            frame = model.classify(texts)
        for text, label, row in zip(texts, frame["label"], frame[model.labels].to_numpy().tolist(), strict=True):
            probabilities = dict(zip(model.labels, row, strict=True))
            if options.json:
                print_json(text=text, label=label, probabilities=probabilities)
            else:
                print_line(f"{label}\t{probabilities[label]:.4f}")
