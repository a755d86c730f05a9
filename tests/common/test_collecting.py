"""Collections are short inside, and as they were before outside."""

import gc

import pytest

from kerasllm.common.collecting import short_collections


@pytest.fixture
def _thawed():
    gc.unfreeze()
    yield
    gc.freeze()


def _fails():
    with short_collections():
        assert gc.get_freeze_count() > 1000
        with short_collections():
            pass
        assert gc.get_freeze_count() > 1000
        raise KeyError


@pytest.mark.usefixtures("_thawed")
def test_old_objects_are_left_out_and_looked_at_again_afterwards():
    with pytest.raises(KeyError):
        _fails()
    assert gc.get_freeze_count() == 0
