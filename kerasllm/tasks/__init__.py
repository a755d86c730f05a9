"""Tasks: a network, its tokenizer and its labels in one `.keras` file. Strings in, answers out."""

from kerasllm.tasks.text_classifier import TextClassifier

__all__ = ["TextClassifier"]
