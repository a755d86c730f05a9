"""What every room needs: checks of arguments, and files that are written whole or not at all."""

from kerasllm.common.checks import choice, positive, share, whole_number
from kerasllm.common.files import write_whole

__all__ = ["choice", "positive", "share", "whole_number", "write_whole"]
