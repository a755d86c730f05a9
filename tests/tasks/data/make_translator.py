"""Writes translator.keras and translator.json, as the library wrote them while a translator stood on no common base.

    python tests/tasks/data/make_translator.py

ran on commit 51c3441; a later one writes other bytes and, it is hoped, the same answers.
"""

import json
from pathlib import Path

import keras
import numpy as np

from kerasllm import models, tasks, text

GERMAN, ENGLISH = ["ein guter Film", "der Film ist gut", "gut, so gut"], ["a good film", "the film is good", "so good"]

if __name__ == "__main__":
    keras.utils.set_random_seed(3)
    reads = text.train_words(GERMAN, vocabulary_size=20)
    writes = text.train_words(ENGLISH, vocabulary_size=20, bos=True, eos=True)
    settings = models.Seq2SeqSettings(
        writes.vocabulary_size, reads.vocabulary_size, embedding_dim=8, num_layers=1, num_heads=2
    )
    model = tasks.Translator(models.Seq2Seq(settings), reads, writes, max_length=9)
    random = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(weight + random.normal(0, 0.5, weight.shape))
    folder = Path(__file__).parent
    model.compile("sgd", "mse")
    model.save(folder / "translator.keras")
    texts = [*GERMAN, "ein Film", "", "gut " * 20]
    answers = {str(beams): model.translate(texts, num_beams=beams) for beams in (1, 3)}
    logits = np.array(model(model.encode(texts[:3]), np.full((3, 2), writes.bos_id)))
    found = {"texts": texts, "answers": answers, "logits": logits.round(5).tolist()}
    (folder / "translator.json").write_text(json.dumps(found, ensure_ascii=False, indent=0) + "\n", "utf-8")
