"""Evaluation: what a model's answers are worth, in numbers."""

from kerasllm.evaluation.likelihood import Choice, LogProbabilities, bits_per_character, choose, log_probability

__all__ = ["Choice", "LogProbabilities", "bits_per_character", "choose", "log_probability"]
