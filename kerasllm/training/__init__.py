"""What surrounds a training run: recipes, learning-rate schedules, callbacks, weights of classes."""

from kerasllm.training.callbacks import ProgressLine
from kerasllm.training.classes import class_weights
from kerasllm.training.faster_steps import AdamW, train_in_parts
from kerasllm.training.nan import StopAtNaN
from kerasllm.training.recipes import classic, modern
from kerasllm.training.resume import Resume
from kerasllm.training.run import (
    PrintedRun,
    RunError,
    RunResult,
    RunSettings,
    RunWatcher,
    continue_run,
    start_run,
)
from kerasllm.training.schedules import WarmupLinear, warmup_cosine, warmup_linear

__all__ = [
    "AdamW",
    "PrintedRun",
    "ProgressLine",
    "Resume",
    "RunError",
    "RunResult",
    "RunSettings",
    "RunWatcher",
    "StopAtNaN",
    "WarmupLinear",
    "class_weights",
    "classic",
    "continue_run",
    "modern",
    "start_run",
    "train_in_parts",
    "warmup_cosine",
    "warmup_linear",
]
