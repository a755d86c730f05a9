"""Tasks: a network, its tokenizer and its labels in one `.keras` file. Strings in, answers out; search in texts."""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.tasks.retriever import BM25, EmbeddingIndex, RankFusion
from kerasllm.tasks.sentence_encoder import SentenceEncoder
from kerasllm.tasks.span_finder import Answer, SpanFinder
from kerasllm.tasks.text_classifier import TextClassifier
from kerasllm.tasks.token_tagger import Entity, TokenTagger
from kerasllm.tasks.translator import Translator

__all__ = [
    "BM25",
    "Answer",
    "EmbeddingIndex",
    "Entity",
    "RankFusion",
    "SentenceEncoder",
    "SpanFinder",
    "TextClassifier",
    "TokenTagger",
    "Translator",
]
