"""What a dialogue has understood so far, and what is to be said next: a state machine, without any model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kerasllm.common import share, whole_number

_KNOWN = ("yes", "no", "cancel", "tell")


@dataclass(frozen=True)
class Heard:
    """What a model makes of one turn of the user.

    Attributes:
        intent: what is meant; "yes", "no", "cancel" and "tell", which is nothing but the value of a slot that was asked
            for, are known to every dialogue.
        slots: what fills the slots of the intent.
        sure: how sure the model is, from 0 to 1.
    """

    intent: str
    slots: Mapping[str, str] = field(default_factory=dict)
    sure: float = 1.0


@dataclass(frozen=True)
class State:
    """Where a dialogue stands.

    Attributes:
        intent: what is to be done; None while nothing is.
        slots: what is known of it.
        waits_for: the slot that was asked for, or "yes" where a confirmation was; None while nothing is.
        failed: how many turns in a row were not understood.
    """

    intent: str | None = None
    slots: Mapping[str, str] = field(default_factory=dict)
    waits_for: str | None = None
    failed: int = 0


@dataclass(frozen=True)
class Act:
    """What is to happen next.

    Attributes:
        kind: "ask" for a slot, "confirm", "do", "repeat" where nothing was understood, "cancelled", or "give up".
        intent: what it is about.
        slots: of a "do" or "confirm" all slots; of an "ask" the one that is missing, with "" for its value.
    """

    kind: str
    intent: str | None = None
    slots: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DialogueManager:
    """The rules of a dialogue: from a state and what was heard to the next state and an act.

        manager = DialogueManager({"set timer": ("time",), "unlock": ("name",)}, risky={"unlock"})
        state, act = manager.next(State(), Heard("unlock", {"name": "front door"}))

    A model may mishear; whatever it says, these hold. Nothing is done whose slots are not all filled, or whose intent
    is not known. Nothing risky is done without a yes to the question whether it shall be. "cancel" ends everything, and
    so do `patience` turns in a row that are not understood.

    Args:
        needs: for each intent the slots without which it cannot be done, in the order in which they are asked for.
        risky: intents that are confirmed first.
        least: how sure the model must be; below that a turn counts as not understood.
        patience: how many turns in a row may fail.

    Raises:
        ValueError: if a risky intent is not among those of `needs`, an intent has a name that is known to every
            dialogue, a slot is named "yes", or a number is outside its range.

    Example:
        >>> manager = DialogueManager({"set timer": ("time",)})
        >>> state, act = manager.next(State(), Heard("set timer"))
        >>> act.kind, act.slots
        ('ask', {'time': ''})
        >>> state, act = manager.next(state, Heard("tell", {"time": "10 minutes"}))
        >>> act.kind, act.slots
        ('do', {'time': '10 minutes'})

    Reference: Jurafsky and Martin (2025), "Speech and Language Processing", chapter on dialogue and its frames.
    """

    needs: Mapping[str, tuple[str, ...]]
    risky: frozenset[str] = frozenset()
    least: float = 0.5
    patience: int = 2

    def __post_init__(self):
        object.__setattr__(self, "risky", frozenset(self.risky))
        unknown = sorted(self.risky - set(self.needs))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is risky and has no slots: put it into needs, with () where it has none.")
        taken = [one for one in _KNOWN if one in self.needs]
        taken += [slot for slots in self.needs.values() for slot in slots if slot == "yes"]
        if taken:
            raise ValueError(f"{taken[0]!r} means something to every dialogue: choose another name.")
        share("least", self.least, closed=True)
        whole_number("patience", self.patience)

    def next(self, state: State, heard: Heard) -> tuple[State, Act]:
        """The next state, and what is to happen.

        Args:
            state: where the dialogue stands; ``State()`` at its beginning.
            heard: what the model makes of the user's turn.
        """
        if heard.intent == "cancel" and heard.sure >= self.least:
            return State(), Act("cancelled", state.intent)
        if heard.sure < self.least or not self._fits(state, heard):
            failed = state.failed + 1
            if failed >= self.patience:
                return State(), Act("give up", state.intent)
            return replace(state, failed=failed), Act("repeat", state.intent)
        if heard.intent == "no":
            return State(), Act("cancelled", state.intent)
        if heard.intent == "yes":
            return State(), Act("do", state.intent, state.slots)
        intent = state.intent if heard.intent == "tell" else heard.intent
        slots = {**(state.slots if intent == state.intent else {}), **heard.slots}
        return self._go_on(intent, {name: value for name, value in slots.items() if value})

    def _fits(self, state: State, heard: Heard) -> bool:
        """Whether what was heard has a meaning here: an answer needs a question."""
        if heard.intent in ("yes", "no"):
            return state.waits_for == "yes"
        if heard.intent == "tell":
            return bool(heard.slots.get(state.waits_for))
        return heard.intent in self.needs

    def _go_on(self, intent: str, slots: dict) -> tuple[State, Act]:
        missing = [name for name in self.needs[intent] if name not in slots]
        if missing:
            return State(intent, slots, missing[0]), Act("ask", intent, {missing[0]: ""})
        if intent in self.risky:
            return State(intent, slots, "yes"), Act("confirm", intent, slots)
        return State(), Act("do", intent, slots)
