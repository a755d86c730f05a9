"""What the tests of the house share: kernels that start quickly."""

import pytest
from lesson_tools.execution import ThisPython
from nursery import python


@pytest.fixture
def quick_kernels(monkeypatch):
    """Kernels begin with TensorFlow, Keras and matplotlib imported; what a lesson itself imports is as it would be."""
    monkeypatch.setattr(ThisPython, "command", tuple(python()))
    # Read when matplotlib is imported, which is before a kernel sets it.
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
