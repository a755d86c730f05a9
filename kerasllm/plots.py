"""The name under which the lessons of the first edition import `kerasllm.course.figures`."""

from kerasllm.course.figures import *  # noqa: F403
