"""What a training run is told, and settings.json, the file of its folder that keeps it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from kerasllm.common import choice, positive, share, whole_number, write_whole

SETTINGS = "settings.json"
EVERY = 250  # updates between two evaluations, unless somebody says otherwise

# The largest whole numbers: above them a number is a mistake in typing, and would take all memory or never end.
MOST = {
    "layers": 1_000,
    "heads": 1_000,
    "width": 65_536,
    "context": 1 << 24,
    "vocabulary": 1_000_000,
    "steps": 10**9,
    "batch": 1_000_000,
    "accumulate": 100_000,
    "evaluate_every": 10**9,
    "checkpoint_every": 10**9,
    "patience": 10**6,
}


class RunError(ValueError):
    """Something about a run that its user can mend; the message is one line and says how."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run does: the model, its tokenizer, and how it is trained. Each number has its reason beside it.

    Raises:
        ValueError: if a value is of the wrong kind or out of its range; the message names both.

    Example:
        >>> RunSettings(steps=600).settled().evaluate_every
        250
        >>> RunSettings(batch=0)
        Traceback (most recent call last):
        ValueError: batch must be a whole number from 1 to 1000000, not 0.
    """

    config: str = "nano-modern"  # nanoGPT's size for a laptop, with the blocks of today
    layers: int | None = None  # None: the configuration's; so are the next three
    heads: int | None = None
    width: int | None = None  # of an embedding
    context: int | None = None  # tokens in a window
    dropout: float = 0.0  # a text that is read less than about five times needs none
    tokenizer: str = "characters"  # nothing to learn, and losses that compare; or "bpe", or the path of a file
    vocabulary: int | None = None  # None: all characters, or 4096 tokens of BPE
    steps: int = 2000  # nanoGPT's number for this size: some minutes on a laptop
    batch: int = 12  # nanoGPT's; larger ones pay off on a GPU
    recipe: str = "modern"  # Muon needs half the steps of AdamW ("classic")
    learning_rate: float | None = None  # None: the recipe's
    accumulate: int = 1  # batches that make one update: a large batch in the memory of a small one
    mixed_precision: str | None = None  # CPUs are slower in half precision
    evaluate_every: int | None = None  # None: 250 updates, or as often as there are checkpoints
    checkpoint_every: int | None = None  # None: as often as evaluated; a kill costs at most so many updates
    patience: int | None = None  # None: all steps; or stop after so many evaluations without a better one
    seed: int = 0  # the same seed gives the same run
    dtype: str = "float32"  # of the stored model; half the file in float16

    def __post_init__(self):
        for name in ("config", "tokenizer"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"{name} must be a text, not {getattr(self, name)!r}.")
        for name, most in MOST.items():
            # What may be left out is what has None as its default.
            optional = getattr(type(self), name) is None
            self._keep(name, whole_number(name, getattr(self, name), most=most, optional=optional))
        self._keep("seed", whole_number("seed", self.seed, least=0, most=2**32 - 1))
        self._keep("dropout", share("dropout", self.dropout))
        if self.learning_rate is not None:
            self._keep("learning_rate", positive("learning_rate", self.learning_rate))
        choice("recipe", self.recipe, ("modern", "classic"))
        choice("mixed_precision", self.mixed_precision, (None, "bfloat16", "float16"))
        choice("dtype", self.dtype, ("float32", "float16", "bfloat16"))

    def _keep(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen; NumPy's numbers become Python's

    def settled(self) -> RunSettings:
        """The same settings with the two intervals as numbers.

        Raises:
            RunError: if evaluations do not fall on checkpoints.
        """
        checkpoint = self.checkpoint_every or self.evaluate_every or min(EVERY, self.steps)
        evaluate = self.evaluate_every or -(-EVERY // checkpoint) * checkpoint
        if evaluate % checkpoint:
            nearest = max(1, round(evaluate / checkpoint)) * checkpoint
            raise RunError(
                f"evaluate_every={evaluate} is no multiple of checkpoint_every={checkpoint}: "
                f"take evaluate_every={nearest}"
            )
        return dataclasses.replace(self, checkpoint_every=checkpoint, evaluate_every=evaluate)


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """What settings.json holds: the settings, and what they were used on.

    Two things may be edited by hand: the corpus' name and place. Whether it is the right corpus is known from its
    content.
    """

    settings: RunSettings
    corpus: str  # a path as it was given, or the name of a data set
    corpus_fingerprint: str
    tokenizer_fingerprint: str
    facts: dict[str, Any]  # numbers for readers: characters, vocabulary, parameters
    corpus_place: str | None = None  # the whole path of a file
    anchor: tuple[int, int] = (0, 0)  # after so many epochs so many steps were done: a longer run goes on there

    def write(self, folder: Path) -> None:
        """Write settings.json, whole or not at all."""
        known = self._document()
        known["fingerprint"] = _fingerprint(known)
        text = json.dumps(known, indent=1, ensure_ascii=False) + "\n"
        try:
            content = text.encode("utf-8")
        except UnicodeEncodeError:  # the name of the corpus is no UTF-8
            content = (json.dumps(known, indent=1) + "\n").encode("ascii")
        with write_whole(folder / SETTINGS) as unfinished:
            unfinished.write_bytes(content)

    def _document(self) -> dict[str, Any]:
        settings = dataclasses.asdict(self.settings)
        if settings["patience"] is None:
            del settings["patience"]  # the first edition does not know it
        document = {
            "settings": {"corpus": self.corpus, **settings},
            "corpus_fingerprint": self.corpus_fingerprint,
            "tokenizer_fingerprint": self.tokenizer_fingerprint,
            **self.facts,
        }
        if self.corpus_place is not None:
            document["corpus_place"] = self.corpus_place
        if self.anchor != (0, 0):
            document["anchor"] = list(self.anchor)
        return document


def read_run(folder: Path) -> StoredRun:
    """What settings.json of a started run says, checked.

    Args:
        folder: the folder of the run.

    Returns:
        A `StoredRun`.

    Raises:
        RunError: if there is none, it is no settings.json, or it was changed since the run began.
    """
    path = Path(folder) / SETTINGS
    if not path.exists():
        raise RunError(f"there is no run in {folder} to resume: start one")
    try:
        document = json.loads(path.read_text("utf-8"))
        stored = _checked(document)
    except (ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise RunError(f"{path} cannot be read, start anew in another folder: {reason}") from None
    if "fingerprint" in document and document["fingerprint"] != _fingerprint(document):
        raise RunError(
            f"{path} was changed since the run began, and a run goes on with its own settings only: undo the change, "
            "or start anew in another folder (more steps are an option of resuming)"
        )
    return stored


def tokenizer_fingerprint(folder: Path) -> str | None:
    """The fingerprint of the tokenizer that a model was trained with; None where no readable settings.json is."""
    try:
        found = json.loads((Path(folder) / SETTINGS).read_text("utf-8"))["tokenizer_fingerprint"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def _checked(document: Any) -> StoredRun:
    """The document as a `StoredRun`; ValueError for what does not fit."""
    _refuse_unknown("settings.json", document, _KINDS)
    for name, kind in _KINDS.items():
        if name not in document and name in _OPTIONAL:
            continue
        if not isinstance(document.get(name), kind) or isinstance(document[name], bool):
            raise ValueError(f"{name} is {document.get(name)!r}, not a {kind.__name__}")
    settings = dict(document["settings"])
    corpus = settings.pop("corpus", None)
    if not isinstance(corpus, str) or not corpus:
        raise ValueError(f"corpus must be a text, not {corpus!r}")
    names = [field.name for field in dataclasses.fields(RunSettings)]
    _refuse_unknown("settings", settings, names)
    for name in names:
        if name not in settings and name != "patience":  # a default in its place would make another run
            raise ValueError(f"settings lacks {name}")
    for name in ("evaluate_every", "checkpoint_every"):
        whole_number(name, settings[name])  # a stored run has them settled
    anchor = document.get("anchor", [0, 0])
    if len(anchor) != 2:
        raise ValueError(f"anchor must be two numbers, not {anchor!r}")
    return StoredRun(
        settings=RunSettings(**settings).settled(),
        corpus=corpus,
        corpus_fingerprint=document["corpus_fingerprint"],
        tokenizer_fingerprint=document["tokenizer_fingerprint"],
        facts={name: document[name] for name in ("characters", "vocabulary", "parameters") if name in document},
        corpus_place=document.get("corpus_place"),
        anchor=tuple(whole_number("anchor", number, least=0) for number in anchor),
    )


_KINDS = {
    "settings": dict,
    "corpus_fingerprint": str,
    "tokenizer_fingerprint": str,
    "characters": dict,
    "vocabulary": int,
    "parameters": int,
    "corpus_place": str,
    "anchor": list,
    "fingerprint": str,
}
_OPTIONAL = ("characters", "vocabulary", "parameters", "corpus_place", "anchor", "fingerprint")


def _refuse_unknown(place: str, found: Any, known) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{place} holds {type(found).__name__}, not names with values")
    for name in found:
        if name not in known:
            raise ValueError(f"{place} has the unknown name {name!r}")


def _fingerprint(document: dict[str, Any]) -> str:
    """16 hexadecimal digits of all that a run must keep."""
    kept = {name: value for name, value in document.items() if name not in ("fingerprint", "corpus_place")}
    kept["settings"] = {name: value for name, value in document["settings"].items() if name != "corpus"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]
