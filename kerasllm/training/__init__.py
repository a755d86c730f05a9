"""What surrounds a training run: recipes, schedules, callbacks, adapters, weights of classes, fast paths."""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.optimizers import AdamW, WarmupLinear
from kerasllm.training.adapters import add_lora, load_adapter, merge_adapter, save_adapter
from kerasllm.training.callbacks import ProgressLine
from kerasllm.training.classes import class_weights
from kerasllm.training.fast import fuse, speed_up, train_in_parts
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
from kerasllm.training.schedules import warmup_cosine, warmup_linear

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
    "add_lora",
    "class_weights",
    "classic",
    "continue_run",
    "fuse",
    "load_adapter",
    "merge_adapter",
    "modern",
    "save_adapter",
    "speed_up",
    "start_run",
    "train_in_parts",
    "warmup_cosine",
    "warmup_linear",
]
