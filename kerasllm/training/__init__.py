"""What surrounds a training run: callbacks today; schedules and recipes as lessons need them."""

from kerasllm.training.callbacks import ProgressLine

__all__ = ["ProgressLine"]
