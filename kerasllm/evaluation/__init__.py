"""Evaluation: what a model's answers are worth, in numbers."""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.evaluation.likelihood import Choice, LogProbabilities, bits_per_character, choose, log_probability
from kerasllm.evaluation.translation import Comparison, TranslationScore, bleu, chrf, compare_translations

__all__ = [
    "Choice",
    "Comparison",
    "LogProbabilities",
    "TranslationScore",
    "bits_per_character",
    "bleu",
    "choose",
    "chrf",
    "compare_translations",
    "log_probability",
]
