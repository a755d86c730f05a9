"""Evaluation: what a model's answers are worth, in numbers."""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.evaluation.answers import answer_f1, answer_scores, exact_match
from kerasllm.evaluation.entities import entity_scores
from kerasllm.evaluation.likelihood import Choice, LogProbabilities, bits_per_character, choose, log_probability
from kerasllm.evaluation.retrieval import hit_rate, mean_reciprocal_rank, ranks
from kerasllm.evaluation.sql import ExecutionAccuracy, SelectError, execution_accuracy, read_only, run_select
from kerasllm.evaluation.summaries import SummaryComparison, SummaryScore, compare_summaries, rouge
from kerasllm.evaluation.translation import Comparison, TranslationScore, bleu, chrf, compare_translations

__all__ = [
    "Choice",
    "Comparison",
    "ExecutionAccuracy",
    "LogProbabilities",
    "SelectError",
    "SummaryComparison",
    "SummaryScore",
    "TranslationScore",
    "answer_f1",
    "answer_scores",
    "bits_per_character",
    "bleu",
    "choose",
    "chrf",
    "compare_summaries",
    "compare_translations",
    "entity_scores",
    "exact_match",
    "execution_accuracy",
    "hit_rate",
    "log_probability",
    "mean_reciprocal_rank",
    "ranks",
    "read_only",
    "rouge",
    "run_select",
]
