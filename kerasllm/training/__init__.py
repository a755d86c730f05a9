"""What surrounds a training run: recipes, learning-rate schedules, callbacks, weights of classes."""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.training.callbacks import ProgressLine
from kerasllm.training.classes import class_weights
from kerasllm.training.faster_steps import AdamW, train_in_parts
from kerasllm.training.nan import StopAtNaN
from kerasllm.training.recipes import classic, modern
from kerasllm.training.resume import Resume
from kerasllm.training.schedules import WarmupLinear, warmup_cosine, warmup_linear

__all__ = [
    "AdamW",
    "ProgressLine",
    "Resume",
    "StopAtNaN",
    "WarmupLinear",
    "class_weights",
    "classic",
    "modern",
    "train_in_parts",
    "warmup_cosine",
    "warmup_linear",
]
