"""What several tests of files need: a small model, a file taken apart, and the memory that a call takes."""

import json
import struct
from pathlib import Path

import keras
import pytest

from kerasllm import models, weights
from kerasllm.weights.tensors import Tensor, read_tensors, write_tensors

SIZES = {"vocabulary_size": 9, "context_length": 8, "num_layers": 2, "num_heads": 2, "embedding_dim": 8}


class Parts:
    """A safetensors file as its header and its numbers; `write` puts it together, right or wrong."""

    def __init__(self, path):
        self.path = path
        content = path.read_bytes()
        (self.length,) = struct.unpack("<Q", content[:8])
        self.header, self.numbers = json.loads(content[8 : 8 + self.length]), content[8 + self.length :]
        self.facts = self.header["__metadata__"]

    def write(self, header=None, length=None, numbers=None):
        header = json.dumps(self.header) if header is None else header
        header = header if isinstance(header, bytes) else header.encode()
        size = struct.pack("<Q", len(header) if length is None else length)
        self.path.write_bytes(size + header + (self.numbers if numbers is None else numbers))


@pytest.fixture
def small_gpt():
    keras.utils.set_random_seed(1)
    return models.GPT(models.preset("nano", **SIZES))


@pytest.fixture
def parts_of():
    return Parts


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "m.safetensors"
    model = models.GPT(models.preset("nano", **SIZES))
    weights.save_safetensors(model, path)
    return path.read_bytes()


@pytest.fixture
def parts(saved, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(saved)
    return Parts(path)


def _status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))


@pytest.fixture
def peak():
    """A function that calls another and returns by how many bytes the process grew meanwhile, at most."""

    def measure(function):
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # the largest size so far is forgotten
            before = _status("VmRSS")
        except OSError:
            pytest.skip("This system does not tell how large a process was.")
        function()
        return _status("VmHWM") - before

    return measure


HUB = Path(__file__).parent / "data" / "hugging_face"


def hub_tensors(folder):
    """The arrays in all safetensors files of a folder, by name."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with read_tensors(file) as (tensors, _):
            found |= {name: tensor.read() for name, tensor in tensors.items()}
    return found


def write_hub_tensors(path, arrays):
    """Arrays as a safetensors file."""
    write_tensors(
        path, {name: Tensor(str(array.dtype), array.shape, lambda a=array: a) for name, array in arrays.items()}, {}
    )


@pytest.fixture
def hub_folder(tmp_path):
    """A function that writes a folder of data/hugging_face anew, with other settings (None takes away) or tensors."""

    def write(name, change=None, path=None, **settings):
        path = path or tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        path.mkdir()
        config = json.loads((HUB / name / "config.json").read_text()) | settings
        (path / "config.json").write_text(
            json.dumps({key: value for key, value in config.items() if value is not None})
        )
        arrays = hub_tensors(HUB / name)
        write_hub_tensors(path / "model.safetensors", arrays if change is None else change(arrays))
        return path

    return write
