"""Tools: schemas from annotations, arguments that are checked, a calculator and a calendar that do no harm."""

import json
import math
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasllm.tasks.tools import Calendar, Tool, ToolError, calculator, checked


def greet(name: str, times: int = 1, loud: bool = False, names: list[str] = (), how: Literal["hi", "hello"] = "hi"):
    """Greet somebody.

    More about it.
    """
    return f"{how} {name}" * times


def test_a_schema_is_made_of_annotations():
    about = Tool(greet).described
    assert about["type"] == "function"
    assert about["function"]["name"] == "greet"
    assert about["function"]["description"] == "Greet somebody."
    assert about["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "times": {"type": "integer"},
            "loud": {"type": "boolean"},
            "names": {"type": "array", "items": {"type": "string"}},
            "how": {"type": "string", "enum": ["hi", "hello"]},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    json.dumps(about)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"name": "Ada", "times": 2}', {"result": "hi Adahi Ada"}),
        ({"name": "Ada"}, {"result": "hi Ada"}),
        ('{"name": "Ada", "how": "hey"}', {"error": "how must be one of hi, hello, not 'hey'"}),
        ('{"name": 7}', {"error": "name must be a string, not 7"}),
        ('{"times": 2}', {"error": "name is missing"}),
        ('{"name": "Ada", "times": true}', {"error": "times must be an integer, not True"}),
        ('{"name": "Ada", "times": 2.0}', {"error": "times must be an integer, not 2.0"}),
        ('{"name": "Ada", "names": ["Ben", 7]}', {"error": "names[1] must be a string, not 7"}),
        ('["Ada"]', {"error": "the arguments must be an object, not ['Ada']"}),
        ('{"name": "Ada", "age": 7}', {"error": "there is no age; there are name, times, loud, names, how"}),
    ],
)
def test_arguments_keep_to_the_schema_or_become_an_error(arguments, said):
    assert json.loads(Tool(greet).call(arguments)) == said


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "NaN", '{"name": NaN}', "\ud800"])
def test_whatever_a_model_writes_is_answered_with_an_error(text):
    assert set(json.loads(Tool(greet).call(text))) == {"error"}


def test_limits_and_patterns_are_checked():
    schema = {"type": "object", "properties": {"n": {"type": "number", "minimum": 1, "maximum": 3}}}
    for good in (1, 2.5, 3):
        checked(schema, {"n": good})
    for bad, message in ((0, "n must be at least 1, not 0"), (4, "n must be at most 3, not 4")):
        with pytest.raises(ToolError, match=message):
            checked(schema, {"n": bad})
    inner = {"type": "object", "properties": {"day": {"type": "string", "pattern": r"^\d\d$"}}, "required": ["day"]}
    nested = {"type": "object", "properties": {"when": inner}}
    checked(nested, {"when": {"day": "07"}})
    with pytest.raises(ToolError, match=r"when\.day must be like"):
        checked(nested, {"when": {"day": "7"}})
    with pytest.raises(ToolError, match=r"when\.day is missing"):
        checked(nested, {"when": {}})


def test_a_function_that_fails_gives_away_nothing_and_a_tool_error_is_told():
    def broken(secret: str):
        """Fails."""
        raise RuntimeError(f"the password is {secret}")

    def strict():
        """Refuses."""
        raise ToolError("not on Sundays")

    def odd():
        """Returns what JSON cannot hold."""
        return math.nan

    assert json.loads(Tool(broken).call({"secret": "xyz"})) == {"error": "broken failed (RuntimeError)"}
    assert json.loads(Tool(strict).call({})) == {"error": "not on Sundays"}
    assert json.loads(Tool(odd).call({})) == {"error": "odd failed (ValueError)"}
    assert json.loads(Tool(lambda: object(), "thing", "Returns a thing.").call({}))["error"].startswith("thing failed")


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Tool("add"), TypeError, "made of a function"),
        (lambda: Tool(lambda: 1, "one"), ValueError, "has no description"),
        (lambda: Tool(lambda: 1, "", "One."), ValueError, "is no name for a tool"),
        (lambda: Tool(greet, "greet somebody"), ValueError, "is no name for a tool"),
        (lambda: Tool(lambda x: x, "same", "The same."), TypeError, "has the annotation None"),
        (lambda: Tool(print), TypeError, "cannot be given by name|annotation"),
        (lambda: Tool(greet, parameters={"type": "string"}), ValueError, "a JSON schema of an object"),
        (lambda: Tool(greet, parameters={"type": "object", "oneOf": []}), ValueError, "'oneOf', which nobody would"),
        (
            lambda: Tool(greet, parameters={"type": "object", "properties": {"name": {"format": "date"}}}),
            ValueError,
            "'format', which nobody would check",
        ),
    ],
)
def test_a_tool_that_could_not_be_called_well_is_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


# The calculator -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2 * 2 * 38", 152),
        ("(304.5 - 60) / 6", 40.75),
        ("0.1 + 0.2", 0.3),
        ("-2 ** 2", -4),
        ("2 ** 0.5 ** 2", 2**0.25),
        ("sqrt(16) + round(2 / 3, 2)", 4.67),
        (" 7 ", 7),
        ("10 ** 15", 10**15),
    ],
)
def test_the_calculator_calculates(expression, result):
    assert calculator(expression) == pytest.approx(result, rel=1e-11)


@settings(max_examples=80, deadline=None)
@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from(["+", "-", "*"]))
def test_whole_numbers_stay_whole(a, b, sign):
    found = calculator(f"{a} {sign} ({b})")
    assert isinstance(found, int)
    assert found == {"+": a + b, "-": a - b, "*": a * b}[sign]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 / 0", "division by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("10 ** 15 * 10 ** 15", "too large"),
        ("1e400", "too large"),
        ("(-8) ** 0.5", "no real number"),
        ("sqrt(-1)", "cannot read"),
        ("1 +", "cannot read"),
        ("", "cannot read"),
        ("True + 1", "cannot read"),
        ("'a' * 9", "cannot read"),
        ("__import__('os').system('true')", "cannot read"),
        ("().__class__", "cannot read"),
        ("open('x')", "cannot read"),
        ("[1, 2]", "cannot read"),
        ("x", "cannot read"),
        ("round(2, ndigits=1)", "cannot read"),
        ("1 if 1 else 2", "cannot read"),
        ("(" * 99 + "1" + ")" * 99, "cannot read|^1$"),
        ("1" * 201, "at most 200 characters"),
    ],
)
def test_nothing_but_arithmetic_is_done(expression, message):
    try:
        found = str(calculator(expression))
    except ToolError as error:
        found = str(error)
    assert __import__("re").search(message, found)


# The calendar -------------------------------------------------------------------------------------


def diary():
    return Calendar([{"id": "e7", "title": "Dentist", "date": "2025-03-04", "start": "14:00", "end": "15:00"}])


def called(tools, name, **arguments):
    [tool] = [tool for tool in tools if tool.name == name]
    return json.loads(tool.call(arguments))


def test_events_are_listed_added_and_deleted():
    tools = diary().tools
    assert called(tools, "list_events", start="2025-03-05") == {"result": []}
    new = {"title": "Tea", "date": "2025-03-04", "start": "15:00", "minutes": 30}
    assert called(tools, "add_event", **new)["result"] == {
        "id": "e8", "title": "Tea", "date": "2025-03-04", "start": "15:00", "end": "15:30",
    }  # fmt: skip
    listed = called(tools, "list_events", start="2025-03-01", end="2025-03-31")["result"]
    assert [one["title"] for one in listed] == ["Dentist", "Tea"]
    assert called(tools, "delete_event", id="e7") == {"result": "e7 is deleted"}
    assert [one["id"] for one in called(tools, "list_events", start="2025-03-04")["result"]] == ["e8"]
    assert called(tools, "delete_event", id="e7") == {"error": "there is no event 'e7'"}


@pytest.mark.parametrize(
    ("start", "minutes", "fits"),
    [("13:00", 60, True), ("13:00", 61, False), ("14:30", 10, False), ("13:00", 200, False), ("15:00", 10, True)],
)
def test_events_do_not_overlap(start, minutes, fits):
    found = called(diary().tools, "add_event", title="Tea", date="2025-03-04", start=start, minutes=minutes)
    assert ("result" in found) is fits
    if not fits:
        assert found["error"] == "overlaps with e7 'Dentist', 14:00 to 15:00"
        assert "result" in called(
            diary().tools, "add_event", title="Tea", date="2025-03-05", start=start, minutes=minutes
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"date": "2025-02-30"}, "'2025-02-30' is not a date"),
        ({"date": "tomorrow"}, "date must be like YYYY-MM-DD"),
        ({"start": "25:00"}, "start must be like HH:MM"),
        ({"minutes": 0}, "minutes must be at least 1"),
        ({"start": "23:30", "minutes": 30}, "ends on the day on which it begins"),
    ],
)
def test_an_event_that_cannot_be_is_refused(arguments, message):
    event = {"title": "Tea", "date": "2025-03-05", "start": "10:00", "minutes": 30, **arguments}
    calendar = diary()
    assert message in called(calendar.tools, "add_event", **event)["error"]
    assert len(calendar.events) == 1


def test_what_reads_and_what_acts_is_known():
    assert {tool.name: tool.acts for tool in diary().tools} == {
        "list_events": False, "add_event": True, "delete_event": True,
    }  # fmt: skip


def test_the_events_given_stay_as_they_are():
    events = [{"id": "e1", "title": "Tea", "date": "2025-03-04", "start": "10:00", "end": "11:00"}]
    calendar = Calendar(events)
    calendar.delete_event("e1")
    assert len(events) == 1
    assert calendar.add_event("Tea", "2025-03-04", "10:00", 5)["id"] == "e2"
