"""Where the tests find the lesson builder and their own helpers, and how exactly a GPU computes in them."""

import gc
import os
import sys
from pathlib import Path

# A GPU rounds what it multiplies to ten bits unless it is told not to; parity is tested in float32.
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]


FEW = 40  # tests whose objects a collection may look at


def pytest_collection_finish():
    _settle()


def pytest_runtest_setup(item):
    _settle.tests += 1
    if _settle.tests % FEW == 0:
        _settle()


def _settle():
    """What is there by now stays. Keras collects garbage for each kernel that it quantises, and looks at all of it."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


_settle.tests = 0
