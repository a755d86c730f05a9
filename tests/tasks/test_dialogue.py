"""The dialogue manager: what it promises holds for every row of turns, whatever a model has heard."""

import itertools

import pytest

from kerasllm.tasks.dialogue import Act, DialogueManager, Heard, State

MANAGER = DialogueManager({"timer": ("time",), "unlock": ("name",), "status": ()}, risky={"unlock"})
# What may be heard: orders with and without slots, values, yes, no, an end, a stranger's word, something doubtful.
TURNS = [
    Heard("timer"),
    Heard("timer", {"time": "5 minutes"}),
    Heard("unlock", {"name": "front door"}),
    Heard("unlock"),
    Heard("status"),
    Heard("tell", {"time": "9 minutes"}),
    Heard("tell", {"name": "back door"}),
    Heard("yes"),
    Heard("no"),
    Heard("cancel"),
    Heard("dance"),
    Heard("unlock", {"name": "front door"}, sure=0.3),
]


def played(manager, turns):
    """The states and acts of a dialogue."""
    state, found = State(), []
    for heard in turns:
        state, act = manager.next(state, heard)
        found.append((state, act))
    return found


@pytest.fixture(scope="module")
def dialogues():
    """Every dialogue of four turns."""
    return [(turns, played(MANAGER, turns)) for turns in itertools.product(TURNS, repeat=4)]


def test_nothing_is_done_whose_slots_are_not_filled(dialogues):
    done = [act for _, found in dialogues for _, act in found if act.kind == "do"]
    assert {act.intent for act in done} == set(MANAGER.needs)
    assert all(act.slots.get(name) for act in done for name in MANAGER.needs[act.intent])


def test_nothing_risky_is_done_without_a_yes_to_the_question_about_just_that(dialogues):
    count = 0
    for turns, found in dialogues:
        for place, (_, act) in enumerate(found):
            if act.kind == "do" and act.intent == "unlock":
                count += 1
                assert turns[place].intent == "yes"
                # Between the question and the yes there is nothing but turns that were not understood.
                before = [one for _, one in found[:place] if one.kind != "repeat"]
                assert before[-1] == Act("confirm", "unlock", act.slots)
    assert count > 100


def test_what_ends_leaves_nothing_behind(dialogues):
    for _, found in dialogues:
        for state, act in found:
            assert (state == State()) == (act.kind in ("do", "cancelled", "give up"))
            assert state.failed < MANAGER.patience


def test_cancel_ends_everything(dialogues):
    for turns, found in dialogues:
        for heard, (state, act) in zip(turns, found, strict=True):
            if heard.intent == "cancel":
                assert state == State()
                assert act.kind == "cancelled"


def test_two_turns_that_are_not_understood_end_the_dialogue(dialogues):
    for _, found in dialogues:
        kinds = [act.kind for _, act in found]
        for before, after in itertools.pairwise(kinds):
            assert (before, after) != ("repeat", "repeat")
            assert after != "give up" or before == "repeat"


def test_the_same_turns_give_the_same_acts_and_a_state_is_not_changed():
    state = State("timer", {"time": "5 minutes"}, "yes")
    for heard in TURNS:
        assert MANAGER.next(state, heard) == MANAGER.next(state, heard)
    assert state == State("timer", {"time": "5 minutes"}, "yes")


def test_a_dialogue_asks_confirms_and_does():
    acts = [act for _, act in played(MANAGER, [Heard("unlock"), Heard("tell", {"name": "side gate"}), Heard("yes")])]
    assert acts == [
        Act("ask", "unlock", {"name": ""}),
        Act("confirm", "unlock", {"name": "side gate"}),
        Act("do", "unlock", {"name": "side gate"}),
    ]


def test_another_order_takes_the_place_of_the_first_and_corrections_are_confirmed_again():
    found = played(
        MANAGER, [Heard("unlock", {"name": "front door"}), Heard("timer"), Heard("tell", {"time": "1 hour"})]
    )
    assert [act.kind for _, act in found] == ["confirm", "ask", "do"]
    assert found[-1][1] == Act("do", "timer", {"time": "1 hour"})
    other = [Heard("unlock", {"name": "front door"}), Heard("unlock", {"name": "side gate"}), Heard("yes")]
    assert played(MANAGER, other)[-1][1] == Act("do", "unlock", {"name": "side gate"})


def test_an_empty_slot_is_no_slot():
    assert MANAGER.next(State(), Heard("timer", {"time": ""}))[1].kind == "ask"


def test_a_yes_that_nobody_asked_for_is_not_understood():
    for heard in (Heard("yes"), Heard("no"), Heard("tell", {"time": "5 minutes"})):
        assert MANAGER.next(State(), heard)[1].kind == "repeat"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"needs": {"a": ()}, "risky": {"b"}}, "'b' is risky"),
        ({"needs": {"yes": ()}}, "'yes' means something"),
        ({"needs": {"a": ("yes",)}}, "'yes' means something"),
        ({"needs": {}, "least": 1.5}, "least must be"),
        ({"needs": {}, "patience": 0}, "patience must be"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DialogueManager(**settings)
