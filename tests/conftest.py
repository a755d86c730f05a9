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


def pytest_collection_finish():
    """What is loaded by now stays. Keras collects garbage for each kernel that it quantises, and looks at all of it."""
    gc.collect()
    gc.freeze()
