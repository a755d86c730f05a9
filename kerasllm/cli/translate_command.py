"""``kerasllm translate``: texts of the command line, or each line of stdin, through a saved `Translator`."""

from __future__ import annotations

from kerasllm.cli.errors import told
from kerasllm.cli.saved_tasks import asked_texts, load_task, print_json, print_line


def translate_texts(options) -> None:
    """Print a line for each text."""
    model = load_task(options.model, "Translator")
    for texts in asked_texts(options.texts):
        with told(ValueError, TypeError):
            answers = model.translate(texts, options.beams, options.length_penalty)
        for text, answer in zip(texts, answers, strict=True):
            if options.json:
                print_json(text=text, translation=answer)
            else:
                print_line(answer)
