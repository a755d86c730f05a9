"""Search in a collection of texts: by their words, by their meaning, or by both."""

from __future__ import annotations

import json
import math
import os
import re
import unicodedata
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from kerasllm.common import share, whole_number, write_whole
from kerasllm.tasks.texts import checked_texts

# Scripts without spaces between words: each character is a word, as for our tokenizers of words.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_PROBE = "By the vector of this sentence an encoder is recognised."

# What NumPy, zip and JSON say of a file that is not what it should be.
_DAMAGED = (AttributeError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError)
_DAMAGED += (zipfile.BadZipFile, zlib.error)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters and digits, and each Chinese or Japanese character.

    Example:
        >>> words_of("os.path.join joins TWO path_parts; 我喜欢猫 🙂")
        ['os', 'path', 'join', 'joins', 'two', 'path', 'parts', '我', '喜', '欢', '猫']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class _Index:
    """What all indexes share: a question in words, the places of the best texts out."""

    def __len__(self) -> int:
        """How many texts there are."""
        raise NotImplementedError

    def _scores(self, queries: list[str]) -> Iterator[np.ndarray]:
        """For each query the score of every text, (texts,)."""
        raise NotImplementedError

    def search(self, queries: Sequence[str], k: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """The best texts for each query.

        Args:
            queries: a list, column or array of strings.
            k: how many texts; all of them where there are fewer.

        Returns:
            Their places in the order in which they were added, int64 (queries, k), the best first and equal ones in
            that order; and their scores, float32 (queries, k).

        Raises:
            TypeError: if `queries` is one string, or holds something that is not a string.
            ValueError: if `k` is not positive.
        """
        queries = checked_texts(queries, "search")
        k = min(whole_number("k", k), len(self))
        places, scores = np.zeros((len(queries), k), "int64"), np.zeros((len(queries), k), "float32")
        for row, found in enumerate(self._scores(queries) if k else ()):
            best = np.argsort(-found, kind="stable")[:k]
            places[row], scores[row] = best, found[best]
        return places, scores


class BM25(_Index):
    """Search by words: a text scores by the words that it shares with the query, rare words more than frequent ones.

    With N texts, of which n hold a word, a text that holds the word tf times and has dl words, avdl on average, gets

        log(1 + (N - n + 0.5) / (n + 0.5)) * tf / (tf + k1 * (1 - b + b * dl / avdl))

    for each time that the word stands in the query. Without the "1 +", which Lucene added, a word of more than half of
    the texts would count against them. Many libraries multiply by k1 + 1, which changes no order.

    Args:
        texts: a list, column or array of strings; more can be added. Nothing is kept of them but their words.
        k1: how much is gained by a word that stands there again. 0: nothing.
        b: how much a long text must hold a word more often than a short one, from 0, not at all, to 1, in proportion.
        words: a function from a text to the list of its words.

    Raises:
        TypeError: if `texts` is one string, or holds something that is not a string.
        ValueError: if `k1` is below 0, or `b` is not from 0 to 1.

    A query without a word of the collection has scores of 0 for all texts.

    Example:
        >>> index = BM25(["The cat sat.", "A dog ran.", "Cats and dogs."])
        >>> places, scores = index.search(["Where is my dog?"], k=2)
        >>> places.tolist(), round(float(scores[0, 0]), 4)
        ([[1, 0]], 0.4458)

    Reference: Robertson and Zaragoza (2009), "The Probabilistic Relevance Framework: BM25 and Beyond", section 3.4.
    """

    def __init__(
        self,
        texts: Sequence[str] = (),
        k1: float = 1.2,
        b: float = 0.75,
        words: Callable[[str], list[str]] = words_of,
    ):
        self.k1, self.b, self.words = share("k1", k1, most=math.inf), share("b", b, closed=True), words
        self._lengths = array("i")
        # For each word the texts that hold it, and how often. Scores wait for the query: each new text changes all.
        self._postings: dict[str, tuple[array, array]] = {}
        self.add(texts)

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, texts: Sequence[str]) -> None:
        """Put more texts behind those that are there.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string; then none is added.
        """
        for words in list(map(self.words, checked_texts(texts, "add"))):
            for word, count in Counter(words).items():
                rows, counts = self._postings.setdefault(word, (array("i"), array("i")))
                rows.append(len(self))
                counts.append(count)
            self._lengths.append(len(words))

    def remove(self, places: Iterable[int]) -> None:
        """Take texts out. Those behind them move up, and the index is what it would be without them from the start.

        Args:
            places: where the texts stand, as `search` gives them.

        Raises:
            ValueError: if there is no text at a place; then none is taken out.
        """
        kept = _kept(places, len(self))
        new = np.cumsum(kept) - 1  # the place of each text that stays
        self._lengths = array("i", np.array(self._lengths, "int32")[kept].tobytes())
        before, self._postings = self._postings, {}
        for word, (rows, counts) in before.items():
            rows, counts = np.array(rows), np.array(counts)
            stays = kept[rows]
            if stays.any():
                pair = new[rows[stays]].astype("int32"), counts[stays].astype("int32")
                self._postings[word] = tuple(array("i", one.tobytes()) for one in pair)

    def _scores(self, queries: list[str]) -> Iterator[np.ndarray]:
        lengths = np.array(self._lengths)
        norm = self.k1 * (1 - self.b + self.b * lengths / (lengths.mean() or 1))  # (texts,)
        for query in queries:
            total = np.zeros(len(self))
            for word, times in Counter(self.words(query)).items():
                if word in self._postings:
                    rows, counts = map(np.array, self._postings[word])  # the n texts that hold it
                    rarity = math.log(1 + (len(self) - len(rows) + 0.5) / (len(rows) + 0.5))
                    total[rows] += times * rarity * counts / (counts + norm[rows])
            yield total

    def save(self, path: str | os.PathLike) -> None:
        """Write the index as one file of NumPy, ``.npz``; whole or not at all."""
        postings = self._postings.values()
        _write(
            path,
            {"index": "BM25", "k1": self.k1, "b": self.b, "words": _name(self.words), "known": list(self._postings)},
            lengths=np.array(self._lengths, "int32"),
            sizes=np.array([len(rows) for rows, _ in postings], "int64"),
            rows=np.frombuffer(b"".join(rows.tobytes() for rows, _ in postings), "int32"),
            counts=np.frombuffer(b"".join(counts.tobytes() for _, counts in postings), "int32"),
        )

    @classmethod
    def load(cls, path: str | os.PathLike, words: Callable[[str], list[str]] = words_of) -> BM25:
        """An index that `save` wrote.

        Args:
            path: of the file.
            words: the function that the index was made with.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it holds no such index, is damaged, or was made with another function `words`.
        """
        settings, (lengths, sizes, rows, counts) = _read(path, "BM25", "lengths", "sizes", "rows", "counts")
        if settings["words"] != _name(words):
            raise ValueError(
                f"{path} was made with words={settings['words']}, not {_name(words)}: give the same function to load."
            )
        index = cls(k1=settings["k1"], b=settings["b"], words=words)
        known, ends = settings["known"], np.cumsum(sizes)
        if len(known) != len(sizes) or {len(rows), len(counts)} != {int(ends[-1]) if len(ends) else 0}:
            raise ValueError(f"{path} is damaged: its parts do not fit. Make the index again and save it.")
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(lengths):
            raise ValueError(f"{path} is damaged: it names texts that it does not have.")
        index._lengths.frombytes(lengths.tobytes())
        for word, start, end in zip(known, ends - sizes, ends, strict=True):
            index._postings[word] = array("i", rows[start:end].tobytes()), array("i", counts[start:end].tobytes())
        return index


class EmbeddingIndex(_Index):
    """Search by meaning: a text scores by the cosine of its vector with that of the query.

    Args:
        encoder: a `kerasllm.tasks.SentenceEncoder`, or anything with a method ``embed`` from a list of n texts to an
            array (n, dim). `kerasllm.weights.sentence_encoder` brings trained ones.
        texts: a list, column or array of strings; more can be added. Only their vectors are kept.
        prefix: stands in front of each text, in place of the encoder's own, which then is for queries: "passage: " for
            E5. None leaves it to the encoder.

    Raises:
        TypeError: if `texts` is one string, or holds something that is not a string.

    Example:
        >>> class Letters:
        ...     def embed(self, texts):
        ...         return np.array([[text.count("a"), text.count("b")] for text in texts])
        >>> EmbeddingIndex(Letters(), ["aaa", "bb", "ab"]).search(["aab"], k=2)[0].tolist()
        [[2, 0]]

    Reference: Reimers and Gurevych (2019), "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", section 1.
    """

    def __init__(self, encoder, texts: Sequence[str] = (), prefix: str | None = None):
        self.encoder, self.prefix = encoder, prefix
        self.vectors = np.zeros((0, 0), "float32")  # (texts, dim)
        self.add(texts)

    def __len__(self) -> int:
        return len(self.vectors)

    def add(self, texts: Sequence[str]) -> None:
        """Put more texts behind those that are there.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string; then none is added.
        """
        texts = checked_texts(texts, "add")
        if texts:
            found = self._embed(texts, **({} if self.prefix is None else {"prefix": self.prefix}))
            self.vectors = np.concatenate([self.vectors, found]) if len(self) else found

    def remove(self, places: Iterable[int]) -> None:
        """Take texts out; those behind them move up. See `BM25.remove`."""
        self.vectors = self.vectors[_kept(places, len(self))]

    def _embed(self, texts: list[str], **prefix) -> np.ndarray:
        vectors = np.asarray(self.encoder.embed(texts, **prefix), "float32")
        return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)

    def _scores(self, queries: list[str]) -> Iterator[np.ndarray]:
        for vector in self._embed(queries) if queries else ():
            yield self.vectors @ vector

    def save(self, path: str | os.PathLike) -> None:
        """Write the vectors as one file of NumPy, ``.npz``, whole or not at all. The encoder is not in it."""
        settings = {"index": "EmbeddingIndex", "prefix": self.prefix}
        _write(path, settings, vectors=self.vectors, probe=self._embed([_PROBE]))

    @classmethod
    def load(cls, path: str | os.PathLike, encoder) -> EmbeddingIndex:
        """An index that `save` wrote.

        Args:
            path: of the file.
            encoder: the one that the index was made with.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it holds no such index, is damaged, or was made with another encoder.
        """
        settings, (vectors, known) = _read(path, "EmbeddingIndex", "vectors", "probe")
        index = cls(encoder, prefix=settings["prefix"])
        probe = index._embed([_PROBE])
        # Other numbers (bfloat16) change a cosine in the third digit, another encoder in the first.
        if probe.shape != known.shape or (probe * known).sum() < 0.99:
            raise ValueError(f"{path} was made with another encoder: load it with that one, or make the index again.")
        index.vectors = vectors
        return index


class RankFusion(_Index):
    """Search in several indexes of the same texts at once: reciprocal rank fusion.

    A text gets 1 / (constant + rank) from each index that has it among its best `depth` ones with a score above 0.
    Ranks are used, for the scores of different indexes cannot be compared.

    Args:
        indexes: such as a `BM25` and an `EmbeddingIndex`, of the same texts in the same order.
        constant: the larger, the less the first places count more than later ones.
        depth: how many texts of each index count.

    Raises:
        ValueError: if there is no index, or `constant` or `depth` is not positive; in a search, if the indexes have
            different numbers of texts.

    Example:
        >>> texts = ["The cat sat.", "A dog ran."]
        >>> RankFusion([BM25(texts), BM25(texts, b=0)]).search(["dog"], k=1)[0].tolist()
        [[1]]

    Reference: Cormack, Clarke and Büttcher (2009), "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
    Learning Methods", section 2.
    """

    def __init__(self, indexes: Sequence[_Index], constant: int = 60, depth: int = 100):
        self.indexes = list(indexes)
        if not self.indexes:
            raise ValueError("Give at least one index, such as BM25(texts).")
        self.constant, self.depth = whole_number("constant", constant), whole_number("depth", depth)

    def __len__(self) -> int:
        return len(self.indexes[0])

    def add(self, texts: Sequence[str]) -> None:
        """Put more texts behind those that are there, in each index.

        Raises:
            TypeError: if `texts` is one string, or holds something that is not a string; then none is added.
        """
        texts = checked_texts(texts, "add")
        for index in self.indexes:
            index.add(texts)

    def remove(self, places: Iterable[int]) -> None:
        """Take texts out of each index; those behind them move up. See `BM25.remove`."""
        self._check_sizes()
        places = list(places)
        for index in self.indexes:
            index.remove(places)

    def _check_sizes(self) -> None:
        sizes = list(map(len, self.indexes))
        if len(set(sizes)) > 1:
            raise ValueError(f"The indexes have {sizes} texts: make all of them from the same texts.")

    def _scores(self, queries: list[str]) -> Iterator[np.ndarray]:
        self._check_sizes()
        answers = [index.search(queries, self.depth) for index in self.indexes]
        for row in range(len(queries)):
            total = np.zeros(len(self))
            for places, scores in answers:
                found = places[row][scores[row] > 0]
                total[found] += 1 / (self.constant + 1 + np.arange(len(found)))
            yield total


def _kept(places: Iterable[int], count: int) -> np.ndarray:
    """For each text whether it stays, bool (texts,)."""
    kept = np.ones(count, bool)
    for place in places:
        if not count:
            raise ValueError(f"There is no text at place {place!r}: the index is empty.")
        kept[whole_number("place", place, 0, count - 1)] = False
    return kept


def _name(function: Callable) -> str:
    kind = type(function)
    return f"{getattr(function, '__module__', kind.__module__)}.{getattr(function, '__qualname__', kind.__qualname__)}"


def _write(path: str | os.PathLike, settings: dict, **arrays: np.ndarray) -> None:
    # One file, not two: a kill between them would leave parts that do not belong together.
    with write_whole(path) as unfinished, open(unfinished, "wb") as file:
        np.savez_compressed(file, settings=np.frombuffer(json.dumps(settings).encode(), "uint8"), **arrays)


def _read(path: str | os.PathLike, kind: str, *names: str) -> tuple[dict, list[np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            settings = json.loads(file["settings"].tobytes())
            found = settings["index"]
            arrays = [file[name] for name in names] if found == kind else []
    except FileNotFoundError:
        raise
    except _DAMAGED as error:
        raise ValueError(f"{path} is no index that save wrote, or it is damaged: {error}") from error
    if found != kind:
        raise ValueError(f"{path} holds a {found}: kerasllm.tasks.{found}.load reads it.")
    return settings, arrays
