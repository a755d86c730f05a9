"""What surrounds a training run: recipes, schedules, callbacks, adapters, weights of classes, fast paths; and tuning.

| a model learns from | by | file |
|---|---|---|
| conversations | `Instructions`, `supervise` | instruct |
| pairs of replies, of which one is better | `preferences`, `DPO` | prefer |
| rewards for what it writes | `GRPO` | reinforce |
"""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.optimizers import AdamW, WarmupLinear
from kerasllm.training.adapters import add_lora, load_adapter, merge_adapter, save_adapter
from kerasllm.training.callbacks import ProgressLine
from kerasllm.training.classes import class_weights
from kerasllm.training.conversation_file import read_conversations
from kerasllm.training.fast import fuse, speed_up, train_in_parts
from kerasllm.training.instruct import Instructions, shuffle_replies, supervise
from kerasllm.training.nan import StopAtNaN
from kerasllm.training.prefer import DPO, Preferences, dpo_loss, preferences
from kerasllm.training.recipes import classic, modern
from kerasllm.training.reinforce import GRPO, group_advantages, grpo_loss
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
from kerasllm.training.samples import Samples
from kerasllm.training.schedules import warmup_cosine, warmup_linear
from kerasllm.training.tune_run import TuneResult, TuneSettings, tune_adapter

__all__ = [
    "DPO",
    "GRPO",
    "AdamW",
    "Instructions",
    "Preferences",
    "PrintedRun",
    "ProgressLine",
    "Resume",
    "RunError",
    "RunResult",
    "RunSettings",
    "RunWatcher",
    "Samples",
    "StopAtNaN",
    "TuneResult",
    "TuneSettings",
    "WarmupLinear",
    "add_lora",
    "class_weights",
    "classic",
    "continue_run",
    "dpo_loss",
    "fuse",
    "group_advantages",
    "grpo_loss",
    "load_adapter",
    "merge_adapter",
    "modern",
    "preferences",
    "read_conversations",
    "save_adapter",
    "shuffle_replies",
    "speed_up",
    "start_run",
    "supervise",
    "train_in_parts",
    "tune_adapter",
    "warmup_cosine",
    "warmup_linear",
]
