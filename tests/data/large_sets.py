"""Which sets the tests look at only where the cache has their archive already."""

import pytest

from kerasllm.data.catalogue import datasets
from kerasllm.data.fetching import cache_folder

# Large archives of which no other set is made: elsewhere small made ones must do.
NOT_FETCHED = {
    name: [pytest.mark.skipif(not (cache_folder() / archive.file).exists(), reason=f"{archive.file} not in the cache")]
    for name in ("home-assistant", "rotten-tomatoes", "openmoji")
    for archive in [datasets()[name].archive]
}
