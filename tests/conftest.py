"""Where the tests find the lesson builder and their own helpers, and how exactly a GPU computes in them."""

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

# A GPU rounds what it multiplies to ten bits unless it is told not to; parity is tested in float32.
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]

import nursery  # noqa: E402


def pytest_configure(config):
    if nursery.FOLDER not in os.environ:  # else it is that of the process which started this one
        folder = tempfile.mkdtemp()
        nursery.open_nursery(folder)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


# What takes longest goes first, so that no worker is left alone with it at the end.
LONGEST = (
    "test_runs_at_smoke_scale",
    "on_jax",
    "test_a_quantised_model_stays_close_and_gives_the_same_in_a_fresh",
    "test_a_real_model_knows_the_capital_of_france",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not any(name in item.name for name in LONGEST))  # all others stay as they were


FEW, MANY = 5, 80  # tests between two collections of what is new, and of all


def pytest_collection_finish():
    _settle(of_all=True)


def pytest_runtest_setup(item):
    _settle.tests += 1
    if _settle.tests % FEW == 0:
        _settle(of_all=_settle.tests % MANY == 0)


def _settle(of_all):
    """What is there by now stays. Keras collects garbage for each kernel that it quantises, and looks at all of it."""
    if of_all:
        gc.unfreeze()
    gc.collect()
    gc.freeze()


_settle.tests = 0
