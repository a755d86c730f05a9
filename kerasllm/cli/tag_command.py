"""``kerasllm tag``: the names in texts, or the label of each word, by a saved `TokenTagger`."""

from __future__ import annotations

from kerasllm.cli.errors import told
from kerasllm.cli.saved_tasks import asked_texts, load_task, print_json, print_line


def tag_texts(options) -> None:
    """Print a line for each text."""
    model = load_task(options.model, "TokenTagger")
    # A tagger of parts of speech marks no names.
    names = not options.words and any(label.startswith("B-") for label in model.labels)
    for texts in asked_texts(options.texts):
        with told(ValueError, TypeError):
            found = model.entities(texts) if names else model.tag(texts)
        for text, one in zip(texts, found, strict=True):
            if options.json and names:
                print_json(text=text, entities=[entity._asdict() for entity in one])
            elif options.json:
                print_json(text=text, words=[{"word": word, "label": label} for word, label in one])
            elif names:
                print_line("\t".join(f"{' '.join(entity.text.split())} ({entity.type})" for entity in one))
            else:
                print_line("\t".join(f"{word}/{label}" for word, label in one))
