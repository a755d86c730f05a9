"""A folder as Hugging Face has it: config.json, and weights in one safetensors file or in several with an index."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kerasllm.weights.tensors import Tensor, read_tensors, shown

CONFIG, ONE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
# The largest index of a known model, with 36,000 tensors, has 3.3 MB. JSON takes up to 20 times its size in memory.
MOST_CONFIG, MOST_INDEX, MOST_HEADER = 1 << 20, 4 << 20, 5 << 20
MOST_FILES = 1000


class Folder(NamedTuple):
    """What a folder holds; tensors are read while it is open.

    Args:
        path: of the folder.
        config: what stands in config.json.
        tensors: from name to `Tensor`, of all files.
        files: from name to the file that holds it.
    """

    path: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    files: dict[str, Path]


@contextmanager
def open_folder(path: str | os.PathLike) -> Iterator[Folder]:
    """The settings and the tensors of a model in a folder.

    Only JSON and safetensors are opened: the other kinds of files hold pickles, which can run code.

    Args:
        path: the folder.

    Yields:
        A `Folder`.

    Raises:
        FileNotFoundError: if there is no such folder, or no config.json or weights in it.
        ValueError: if a file is damaged, or the index does not fit the files. The message names the file.
    """
    path = Path(path)
    if not path.is_dir():
        what = "is a file; give the folder that holds it" if path.is_file() else "does not exist"
        raise FileNotFoundError(
            f"{path} {what}. A model of the hub comes to a folder with: hf download OWNER/NAME --local-dir {path.name}"
        )
    if not (path / CONFIG).is_file():
        raise FileNotFoundError(f"{path} has no {CONFIG}, which says what the weights are.")
    config = read_json(path / CONFIG, MOST_CONFIG)
    with ExitStack() as stack:
        tensors: dict[str, Tensor] = {}
        files: dict[str, Path] = {}
        index, names = _files(path)
        for name in names:
            found = _opened(stack, path / name)
            for key, tensor in found.items():
                if key in files:
                    raise ValueError(f"{path / name} has {shown(key)}, which {files[key].name} has too.")
                tensors[key], files[key] = tensor, path / name
        if index is not None:
            _check_index(path / INDEX, index, files)
        yield Folder(path, config, tensors, files)


def _files(path: Path) -> tuple[dict[str, str] | None, list[str]]:
    """The map of the index, if that counts, and the names of the files with weights."""
    if (path / ONE).is_file():  # it counts where both are there, as in transformers
        return None, [ONE]
    if not (path / INDEX).is_file():
        raise FileNotFoundError(_without_weights(path))
    content = read_json(path / INDEX, MOST_INDEX)
    index = content.get("weight_map")
    if not isinstance(index, dict) or not index or not all(isinstance(name, str) for name in index.values()):
        raise ValueError(f"{path / INDEX} has no weight_map from the names of tensors to those of files.")
    names = list(dict.fromkeys(index.values()))
    if len(names) > MOST_FILES:
        raise ValueError(f"{path / INDEX} names {len(names):,} files; the most is {MOST_FILES:,}.")
    for name in names:
        # A name alone: a path could lead out of the folder.
        if (
            not name.endswith(".safetensors")
            or name != os.path.basename(name)
            or "\\" in name
            or not name.isprintable()
        ):
            raise ValueError(
                f"{path / INDEX} names the file {shown(name)!r}; it must be a .safetensors file beside it."
            )
        if not (path / name).is_file():
            raise ValueError(f"{path / INDEX} names the file {shown(name)}, which is not there. Fetch it too.")
    return index, names


def _without_weights(path: Path) -> str:
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".ckpt", ".h5"))
    if not pickles:
        return f"{path} has neither {ONE} nor {INDEX}."
    return (
        f"{path} has its weights in {pickles[0]} alone, a format that is not read here: files of PyTorch are pickles, "
        "which can run code. Convert it where you trust it, with transformers: "
        f"AutoModelForCausalLM.from_pretrained({str(path)!r}).save_pretrained({str(path)!r})"
    )


def _opened(stack: ExitStack, file: Path) -> dict[str, Tensor]:
    with open(file, "rb") as content:  # before its header is parsed
        length = int.from_bytes(content.read(8), "little")
    if length > min(MOST_HEADER, file.stat().st_size):
        raise ValueError(
            f"{file} is damaged: its header has {length:,} bytes, and the file {file.stat().st_size:,}; the most is "
            f"{MOST_HEADER:,}. Bring it anew."
        )
    return stack.enter_context(read_tensors(file))[0]


def _check_index(file: Path, index: dict[str, str], files: dict[str, Path]) -> None:
    for key, name in index.items():
        if key not in files or files[key].name != name:
            where = f"it is in {files[key].name}" if key in files else "it is in no file"
            raise ValueError(f"{file} says that {shown(key)} is in {shown(name)}, but {where}.")
    for key, found in files.items():
        if key not in index:
            raise ValueError(f"{found} has the tensor {shown(key)}, of which {file.name} does not know.")


def read_json(file: Path, most: int = MOST_CONFIG, kind: type = dict) -> Any:
    """The object or the list in a JSON file.

    Args:
        file: its path.
        most: how many bytes it may have.
        kind: what it must hold: a dict or a list.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is larger, no JSON, says a key twice, or holds something else.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist. Bring all files of the model into one folder.")
    size = file.stat().st_size
    if size > most:
        raise ValueError(f"{file} has {size:,} bytes; such a file has at most {most:,}.")
    try:
        content = json.loads(file.read_bytes().decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON file, or not a whole one ({error}). Bring it anew.") from None
    if not isinstance(content, kind):
        wanted = "an object {...}" if kind is dict else "a list [...]"
        raise ValueError(f"{file} holds a {type(content).__name__}, not {wanted}.")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        again = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"{shown(again)} stands there twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number")
