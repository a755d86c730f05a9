"""The corpus of a run: a text file or a data set, read in pieces, never held as a whole."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from kerasllm import data
from kerasllm.data import text_pieces
from kerasllm.data.catalogue import datasets
from kerasllm.text import Tokenizer, train_bpe, train_characters
from kerasllm.training.run_settings import RunError, RunSettings

PIECE = 1 << 20  # characters that are encoded at once
LINE = 4 * PIECE  # a longer line is cut
SPLITS = ("train", "validation")
TRAINING_SHARE = 0.9  # of a file; a data set has its own splits
BPE_VOCABULARY = 4096


class Corpus:
    """The texts for training and for validation, as streams.

    Args:
        name: the path of a text file (UTF-8), or the name of a data set.

    Attributes:
        place: the whole path of a file; None for a data set.
        characters: how many each split has.
        fingerprint: 16 hexadecimal digits of the content of both splits.

    Raises:
        RunError: if there is no such file and no such data set, the file is no text, or a split is empty.
    """

    def __init__(self, name: str):
        self.name = name
        self.place = str(Path(name).absolute()) if Path(name).is_file() else None
        try:
            self._texts = None if self.place else _texts_of(name)
            self._cut = int(TRAINING_SHARE * sum(map(len, text_pieces(name)))) if self.place else None
            self.characters, self.fingerprint = self._measured()
        except data.DataError as error:
            raise RunError(" ".join(str(error).split())) from error
        if not all(self.characters.values()):
            raise RunError(f"{name} holds {sum(self.characters.values())} characters: take a longer text")

    def pieces(self, split: str) -> Iterator[str]:
        """A split in pieces of about a million characters that end with a line."""
        if self._texts is not None:
            return joined_lines(text + "\n" for text in self._texts[split])
        start, stop = (0, self._cut) if split == "train" else (self._cut, None)
        return joined_lines(part_of(text_pieces(self.name), start, stop))

    def _measured(self) -> tuple[dict[str, int], str]:
        digest, characters = hashlib.sha256(), dict.fromkeys(SPLITS, 0)
        for split in SPLITS:
            digest.update(b"" if split == "train" else b"\0")
            for piece in self.pieces(split):
                characters[split] += len(piece)
                digest.update(piece.encode("utf-8", "surrogatepass"))
        return characters, digest.hexdigest()[:16]


def find_corpus(names: Iterable[str], fingerprint: str) -> Corpus:
    """The first of several names that leads to the text with this fingerprint.

    Raises:
        RunError: if none does.
    """
    problems = []
    for name in names:
        try:
            corpus = Corpus(name)
        except RunError as error:
            problems.append(str(error))
            continue
        if corpus.fingerprint == fingerprint:
            return corpus
        problems.insert(0, f"the text of {name} is not the one the run was started with: bring that back")
    raise RunError(f"{problems[0]}, or name the place of the corpus, or start anew in another folder")


def part_of(pieces: Iterable[str], start: int, stop: int | None) -> Iterator[str]:
    """The characters from `start` to before `stop` of a text that comes in pieces.

    Example:
        >>> list(part_of(["abc", "def", "ghi"], 2, 7))
        ['c', 'def', 'g']
    """
    place = 0
    for piece in pieces:
        part = piece[max(0, start - place) : None if stop is None else max(0, stop - place)]
        place += len(piece)
        if part:
            yield part
        if stop is not None and place >= stop:
            return


def joined_lines(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in pieces of about a million characters that end with a line, wherever they were cut before.

    A line of more than four million characters is cut behind its last space there.

    Example:
        >>> list(joined_lines(["one\\ntw", "o\\nthree"]))
        ['one\\ntwo\\nthree']
    """
    waiting = ""
    for piece in pieces:
        waiting += piece
        while end := _end(waiting):
            yield waiting[:end]
            waiting = waiting[end:]
    if waiting:
        yield waiting


def _end(text: str) -> int:
    """Where to cut; 0 to wait for more."""
    if len(text) < PIECE:
        return 0
    end = text.find("\n", PIECE, LINE) + 1
    return end or (0 if len(text) < LINE else text.rfind(" ", 0, LINE) + 1 or LINE)


def _texts_of(name: str) -> dict[str, list[str]]:
    """The texts of each split of a data set."""
    known = datasets()
    with_texts = [one for one, facts in known.items() if "train" in facts.splits and facts.language != "-"]
    if name not in known:
        path = Path(name)
        beside = [str(one) for one in path.parent.iterdir() if one.is_file()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(str(path), with_texts + beside, n=1)
        hint = f"did you mean {near[0]}" if near else f"give the path of a text, or one of {', '.join(with_texts)}"
        raise RunError(f"there is no file and no data set {name}: {hint}")
    if name not in with_texts:
        raise RunError(f"the data set {name} holds no texts to train on: take one of {', '.join(with_texts)}")
    frame = data.load(name)
    return {split: frame.loc[frame["split"] == split, "text"].tolist() for split in SPLITS}


def make_tokenizer(settings: RunSettings, corpus: Corpus) -> Tokenizer:
    """The tokenizer of a run: trained on the training part of the corpus, or read from a file.

    Raises:
        RunError: if the vocabulary is too small, or there is no such file.
    """
    kind, size = settings.tokenizer, settings.vocabulary
    try:
        if kind == "characters":
            return train_characters(corpus.pieces("train"), vocabulary_size=size)
        if kind == "bpe":
            return train_bpe(corpus.pieces("train"), size or BPE_VOCABULARY)
    except ValueError as error:
        raise RunError(f"vocabulary: {error}") from error
    if not Path(kind).exists():
        raise RunError(f"tokenizer: there is no file {kind}; write characters, bpe, or the path of a tokenizer.json")
    try:
        tokenizer = _from_file(kind)
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"tokenizer: {error}") from error
    if size not in (None, tokenizer.vocabulary_size):
        raise RunError(f"{kind} has {tokenizer.vocabulary_size} tokens: leave vocabulary={size} out")
    return tokenizer


def _from_file(path: str) -> Tokenizer:
    try:
        return Tokenizer.load(path)
    except ValueError:
        return Tokenizer.load(path, pad="<|endoftext|>")  # GPT-2's file; windows are never padded
