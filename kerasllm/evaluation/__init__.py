"""Evaluation: what a model's answers are worth, in numbers."""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.evaluation.likelihood import Choice, LogProbabilities, bits_per_character, choose, log_probability

__all__ = ["Choice", "LogProbabilities", "bits_per_character", "choose", "log_probability"]
