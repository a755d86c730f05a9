"""Files that are cut, twisted or made up: each is refused with its name and what is wrong."""

import json

import numpy as np
import pytest

from kerasllm import weights
from kerasllm.weights.tensors import read_tensors

NORM = "final_norm/gamma"


def facts(**changes):
    """Other text in the metadata."""

    def damage(parts):
        parts.facts.update({f"kerasllm.{key}": value for key, value in changes.items()})
        parts.write()

    return damage


def entry(name=NORM, **changes):
    """Another line about one tensor."""

    def damage(parts):
        parts.header[name] = parts.header[name] | changes
        parts.write()

    return damage


def twice(parts):
    text = json.dumps(parts.header)
    parts.write(header=text[:-1] + f', "{NORM}": {json.dumps(parts.header[NORM])}}}')


def overlap(parts):
    names = [name for name in parts.header if name != "__metadata__"]
    size = np.prod(parts.header[NORM]["shape"]) * 4
    same = next(name for name in names if name != NORM and parts.header[name]["shape"] == parts.header[NORM]["shape"])
    parts.header[NORM]["data_offsets"] = parts.header[same]["data_offsets"]
    assert size == np.diff(parts.header[same]["data_offsets"])
    parts.write()


def renamed(parts):
    parts.header["\x1b[2J" + "x" * 10**5] = parts.header.pop(NORM)
    parts.write()


def cut(share):
    return lambda parts: parts.path.write_bytes(parts.path.read_bytes()[: int(share * parts.path.stat().st_size)])


def whole(content):
    return lambda parts: parts.path.write_bytes(content)


BROKEN = "no safetensors file, or not a whole one"
DAMAGES = {
    **{f"cut at {share:.0%}": (cut(share), BROKEN) for share in (0, 0.001, 0.05, 0.3, 0.5, 0.7, 0.9, 0.9999)},
    "one byte more": (lambda parts: parts.write(numbers=parts.numbers + b"\0"), BROKEN),
    "one byte less": (lambda parts: parts.write(numbers=parts.numbers[:-1]), BROKEN),
    "a web page": (whole(b"<!DOCTYPE html><html><body>404</body></html>"), BROKEN),
    "a pointer of git": (whole(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"), BROKEN),
    "a zip": (whole(b"PK\x03\x04" + bytes(100)), BROKEN),
    "zeros": (whole(bytes(1000)), BROKEN),
    "header length 2**63": (lambda parts: parts.write(length=2**63), BROKEN),
    "header length 99 million": (lambda parts: parts.write(length=99_000_000), BROKEN),
    "header length 0": (lambda parts: parts.write(length=0), BROKEN),
    "header too short": (lambda parts: parts.write(length=parts.length - 9), BROKEN),
    "header is a list": (lambda parts: parts.write(header="[]"), BROKEN),
    "header is deep": (lambda parts: parts.write(header='{"a":' * 50_000), BROKEN),
    "header is no UTF-8": (lambda parts: parts.write(header=b"\xff\xfe{}"), BROKEN),
    "overlapping tensors": (overlap, BROKEN),
    "a tensor twice": (twice, f"says a thing twice: {NORM}"),
    "a shape that overflows": (entry(shape=[2**40, 2**40]), BROKEN),
    "a shape below 0": (entry(shape=[-8]), BROKEN),
    "a shape with a fraction": (entry(shape=[8.5]), BROKEN),
    "another shape of equal size": (entry(shape=[2, 4]), r"another shape of final_norm/gamma \(\(2, 4\), not \(8,\)\)"),
    "an unknown dtype": (entry(dtype="F99"), BROKEN),
    "a dtype that NumPy lacks": (entry(dtype="F4", shape=[64]), "has the dtype F4, which NumPy does not know"),
    "whole numbers for floats": (entry(dtype="I32"), r"another dtype of final_norm/gamma \(int32, not float32\)"),
    "a name that steers the terminal": (renamed, "lacks final_norm/gamma"),
    "metadata that is no text": (facts(format=2), BROKEN),
    "format": (facts(format="\x1b[2J"), r"format '\\x1b\[2J'; this version"),
    "settings that are no JSON": (facts(config="import os"), "cannot be made: Expecting value"),
    "settings cut short": (facts(config='{"vocabulary_size": 9'), "cannot be made: Expecting"),
    "settings that are a list": (facts(config="[9]"), "they are no dictionary"),
    "settings that are null": (facts(config="null"), "they are no dictionary"),
    "settings without end": (facts(config="[" * 10**5), "nested too deeply"),
    "a number of a million digits": (facts(config='{"vocabulary_size": ' + "9" * 10**6 + "}"), "cannot be made"),
    "NaN": (facts(config='{"vocabulary_size": 9, "dropout": NaN}'), "NaN is not a number"),
    "infinity": (facts(config='{"vocabulary_size": 9, "dropout": 1e999}'), "dropout is inf"),
    "a word for a number": (facts(config='{"vocabulary_size": "nine"}'), "cannot be made"),
    "an argument too many": (facts(config='{"vocabulary_size": 9, "colour": "red"}'), "colour"),
    "a dtype that Keras lacks": (facts(config='{"vocabulary_size": 9, "dtype": "float99"}'), "cannot be made"),
    "shapes that are no JSON": (facts(build="(None, None)"), "cannot be made"),
    "shapes that are a list": (facts(build="[null, null]"), "they are no dictionary"),
    "a class with a strange name": (facts(**{"class": "\x1b[2J" + "x" * 10**5}), "not registered here"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_with_its_name_and_the_reason(damage, parts, peak):
    change, message = DAMAGES[damage]
    change(parts)

    def refuse():
        with pytest.raises(ValueError, match=message) as caught:
            weights.load_safetensors(parts.path)
        assert str(parts.path) in str(caught.value)
        assert len(str(caught.value)) < 2000
        assert "\x1b" not in str(caught.value)

    assert peak(refuse) < 100e6


def test_a_file_cut_while_it_is_read_is_refused(parts):
    with read_tensors(parts.path) as (tensors, _):
        parts.path.write_bytes(parts.path.read_bytes()[:-100])
        with pytest.raises(ValueError, match="ends in the middle of"):
            [tensor.read() for tensor in tensors.values()]


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="is a folder"):
        weights.load_safetensors(tmp_path)
