"""Libraries that only some rooms need: they come with an extra of the package, not with every installation."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def needed(module: str, extra: str) -> ModuleType:
    """Import a library that comes with an extra of kerasllm.

    Args:
        module: its name, such as ``"pandas"``.
        extra: the extra that installs it.

    Returns:
        The module.

    Raises:
        ImportError: if it is not installed; the message has the command that installs it.

    Example:
        >>> needed('no_such_library', 'data')
        Traceback (most recent call last):
        ImportError: This needs no_such_library, which is not installed: pip install "kerasllm[data]"
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # it is there, and misses something of its own
        raise ImportError(
            f'This needs {module}, which is not installed: pip install "kerasllm[{extra}]"', name=module
        ) from error
