"""Functions that a model may call: described to it by a JSON schema, called with arguments that were checked."""

from __future__ import annotations

import ast
import datetime
import inspect
import json
import math
import operator
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
# What of a JSON schema is checked, and what only explains. Anything else would be ignored, and is refused.
_CHECKED = {"type", "properties", "required", "additionalProperties", "enum", "pattern", "minimum", "maximum", "items"}
_EXPLAINS = {"description", "default", "title"}
DATE = {"type": "string", "description": "YYYY-MM-DD", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
CLOCK = {"type": "string", "description": "HH:MM", "pattern": r"^([01]\d|2[0-3]):[0-5]\d$"}


class ToolError(ValueError):
    """Why a tool gives no result, in words that a model and a user may read."""


@dataclass(frozen=True)
class Tool:
    """A function that a model may call.

    Args:
        function: takes its arguments by name and returns what JSON can hold. A `ToolError` of it is told to the model;
            of any other error the model hears only that there was one.
        name: of letters, digits, _ and -; the function's own when empty.
        description: for the model; the first paragraph of the function's docstring when empty.
        parameters: a JSON schema of the arguments; made from the function's annotations when None.
        acts: whether it changes something. Such a tool can be kept from a model that has read a stranger's text.

    Raises:
        TypeError: if the function is none, or an annotation has no place in a schema.
        ValueError: if there is no name or description, or the schema holds what would not be checked.

    Example:
        >>> def add(a: int, b: int = 1) -> int:
        ...     "The sum of two numbers."
        ...     return a + b
        >>> tool = Tool(add)
        >>> tool.described["function"]["parameters"]["required"]
        ['a']
        >>> tool.call('{"a": 2, "b": 3}'), tool.call('{"a": "two"}')
        ('{"result": 5}', '{"error": "a must be an integer, not \\'two\\'"}')
    """

    function: Callable
    name: str = ""
    description: str = ""
    parameters: Mapping | None = None
    acts: bool = False

    def __post_init__(self):
        if not callable(self.function):
            raise TypeError(f"A tool is made of a function, not {self.function!r:.60}.")
        name = self.name or getattr(self.function, "__name__", "")
        if not re.fullmatch(r"[\w-]{1,64}", name, re.ASCII):
            raise ValueError(f"{name!r:.80} is no name for a tool: letters, digits, _ and -, at most 64.")
        said = self.description or (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")
        if not said:
            raise ValueError(f"The tool {name} has no description: a model has nothing else to choose by.")
        schema = schema_of(self.function) if self.parameters is None else dict(self.parameters)
        _check_schema(name, schema)
        for key, value in {"name": name, "description": said, "parameters": MappingProxyType(schema)}.items():
            object.__setattr__(self, key, value)

    @property
    def described(self) -> dict:
        """The tool as OpenAI's API and the templates of models describe it."""
        about = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": about}

    def call(self, arguments: str | Mapping) -> str:
        """What the function answers, as JSON: an object with "result", or with "error". It never raises.

        Args:
            arguments: an object, or the JSON of one, as a model wrote it.
        """
        try:
            given = json.loads(arguments) if isinstance(arguments, str) else dict(arguments)
            checked(self.parameters, given)
            return json.dumps({"result": self.function(**given)}, ensure_ascii=False, allow_nan=False)
        except (ToolError, json.JSONDecodeError) as error:
            return json.dumps({"error": str(error)}, ensure_ascii=False)
        except Exception as error:  # whatever a function does, the conversation goes on
            return json.dumps({"error": f"{self.name} failed ({type(error).__name__})"})


def schema_of(function: Callable) -> dict:
    """The JSON schema of a function's arguments, from its annotations.

    Raises:
        TypeError: if an argument has no annotation, or one that is not str, int, float, bool, a list of these or a
            Literal of texts; or if the function takes any number of arguments.
    """
    hints, properties, required = typing.get_type_hints(function), {}, []
    for name, one in inspect.signature(function).parameters.items():
        if one.kind not in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            raise TypeError(
                f"{name} of {function.__name__} cannot be given by name: write the schema, parameters={{}}."
            )
        properties[name] = _schema(f"{name} of {function.__name__}", hints.get(name))
        if one.default is one.empty:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _schema(name: str, hint) -> dict:
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    if typing.get_origin(hint) is list:
        return {"type": "array", "items": _schema(name, typing.get_args(hint)[0])}
    if typing.get_origin(hint) is typing.Literal:
        return {"type": "string", "enum": list(typing.get_args(hint))}
    raise TypeError(f"{name} has the annotation {hint!r}: use str, int, float, bool, list or Literal, or a schema.")


def checked(schema: Mapping, value, name: str = "") -> None:
    """Raise where a value does not keep to a JSON schema.

    Args:
        schema: with the keywords type, properties, required, additionalProperties, enum, pattern, minimum, maximum and
            items.
        value: what JSON gave.
        name: of the value, for the message.

    Raises:
        ToolError: for the first thing that is wrong.

    Example:
        >>> checked({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}, {"n": 0})
        Traceback (most recent call last):
        kerasllm.tasks.tools.ToolError: n must be at least 1, not 0
    """
    kind, shown = schema.get("type"), f"{name or 'the arguments'}"
    if kind is not None and not _is(kind, value):
        raise ToolError(f"{shown} must be {'an' if kind[0] in 'aio' else 'a'} {kind}, not {value!r:.60}")
    if "enum" in schema and value not in schema["enum"]:
        raise ToolError(f"{shown} must be one of {', '.join(map(str, schema['enum']))}, not {value!r:.60}")
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        raise ToolError(f"{shown} must be like {schema.get('description', schema['pattern'])}, not {value!r:.60}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", -math.inf):
            raise ToolError(f"{shown} must be at least {schema['minimum']}, not {value!r:.60}")
        if value > schema.get("maximum", math.inf):
            raise ToolError(f"{shown} must be at most {schema['maximum']}, not {value!r:.60}")
    if isinstance(value, dict):
        _check_object(schema, value, f"{name}." if name else "")
    for place, one in enumerate(value if isinstance(value, list) else ()):
        checked(schema.get("items", {}), one, f"{name}[{place}]")


def _check_object(schema: Mapping, value: dict, before: str) -> None:
    known = schema.get("properties", {})
    missing = [key for key in schema.get("required", ()) if key not in value]
    if missing:
        raise ToolError(f"{before}{missing[0]} is missing")
    for key, one in value.items():
        if key in known:
            checked(known[key], one, before + key)
        elif schema.get("additionalProperties", True) is False:
            raise ToolError(f"there is no {before}{key:.40}; there are {', '.join(known) or 'no arguments'}")


def _is(kind: str, value) -> bool:
    if isinstance(value, bool):  # Python takes it for a number
        return kind == "boolean"
    types = {"string": str, "integer": int, "number": int | float, "array": list, "object": dict, "null": type(None)}
    return kind in types and isinstance(value, types[kind])


def _check_schema(tool: str, schema: Mapping, top: bool = True) -> None:
    if not isinstance(schema, Mapping) or (top and schema.get("type") != "object"):
        raise ValueError(f"The parameters of {tool} are a JSON schema of an object, not {schema!r:.60}.")
    unknown = [key for key in schema if key not in _CHECKED | _EXPLAINS]
    if unknown:
        raise ValueError(f"The parameters of {tool} use {unknown[0]!r}, which nobody would check: leave it out.")
    for one in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        _check_schema(tool, one, top=False)


# A calculator --------------------------------------------------------------------------------------

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS = {"round": round, "sqrt": math.sqrt}
_LONGEST, _LARGEST = 200, 1e15  # characters of an expression; beyond it a float loses whole numbers


def calculator(expression: str) -> float:
    """Work out an arithmetic expression with + - * / **, parentheses, round(x, digits) and sqrt(x).

    Nothing else is done: the text is read as a tree, and only numbers and these signs are taken from it.

    Raises:
        ToolError: if it cannot be read, has no result, or one that is too large.

    Example:
        >>> calculator("2 * (38 + 9)"), calculator("0.1 + 0.2"), calculator("round(2 / 3, 2)")
        (94, 0.3, 0.67)
        >>> calculator("__import__('os')")
        Traceback (most recent call last):
        kerasllm.tasks.tools.ToolError: cannot read "__import__('os')"
    """
    if len(expression) > _LONGEST:
        raise ToolError(f"an expression has at most {_LONGEST} characters")
    try:
        return _tidy(_value(ast.parse(expression.strip(), mode="eval").body))
    except ZeroDivisionError:
        raise ToolError("division by zero") from None
    except OverflowError:
        raise ToolError("the result is too large") from None
    except (KeyError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError) as error:
        if isinstance(error, ToolError):
            raise
        raise ToolError(f"cannot read {expression!r:.60}") from None


def _value(node: ast.AST) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _small(number)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _value(left), _value(right)
            if isinstance(op, ast.Pow) and abs(a) > 1 and b * math.log10(abs(a)) > 15:  # before it is worked out
                raise ToolError("the result is too large")
            return _small(_OPERATORS[type(op)](a, b))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _small(_FUNCTIONS[name](*map(_value, arguments)))
    raise KeyError(type(node))


def _small(number: float) -> float:
    if isinstance(number, complex):
        raise ToolError("the result is no real number")
    if not abs(number) <= _LARGEST:
        raise ToolError("the result is too large")
    return number


def _tidy(number: float) -> float:
    """As it is shown: whole where it is whole, else 12 digits, so that 0.1 + 0.2 is 0.3."""
    if isinstance(number, int):
        return number
    rounded = float(f"{number:.12g}")
    return int(rounded) if rounded.is_integer() else rounded


# A calendar ----------------------------------------------------------------------------------------


@dataclass
class Calendar:
    """A calendar that a model may read and change: events of one person that do not overlap.

    Args:
        events: dictionaries with "id", "title", "date" (YYYY-MM-DD), "start" and "end" (HH:MM).

    Attributes:
        events: the same, as they are by now.

    Example:
        >>> diary = Calendar()
        >>> diary.add_event("Dentist", "2025-03-04", "14:00", 60)["id"]
        'e1'
        >>> [tool.name for tool in diary.tools]
        ['list_events', 'add_event', 'delete_event']
    """

    events: Iterable[dict] = ()
    _number: int = field(default=0, repr=False)

    def __post_init__(self):
        self.events = [dict(one) for one in self.events]
        numbers = [int(one["id"][1:]) for one in self.events if re.fullmatch(r"e\d{1,9}", one["id"])]
        self._number = max([len(self.events), *numbers])

    @property
    def tools(self) -> list[Tool]:
        """The calendar as tools for an `kerasllm.tasks.assistant.Assistant`."""
        text, minutes = {"type": "string"}, {"type": "integer", "minimum": 1, "maximum": 24 * 60}
        event = {"title": text, "date": DATE, "start": CLOCK, "minutes": minutes}
        return [
            Tool(self.list_events, parameters=_object({"start": DATE, "end": DATE}, ["start"])),
            Tool(self.add_event, parameters=_object(event, list(event)), acts=True),
            Tool(self.delete_event, parameters=_object({"id": text}, ["id"]), acts=True),
        ]

    def list_events(self, start: str, end: str | None = None) -> list[dict]:
        """The events in the user's calendar on a day, or from one day to another."""
        first, last = _day(start), _day(start if end is None else end)
        found = [one for one in self.events if first <= _day(one["date"]) <= last]
        return sorted(found, key=lambda one: (one["date"], one["start"]))

    def add_event(self, title: str, date: str, start: str, minutes: int) -> dict:
        """Put an event into the user's calendar."""
        first, day = _minutes(start), _day(date).isoformat()
        if first + minutes >= 24 * 60:
            raise ToolError("an event ends on the day on which it begins")
        for other in self.events:
            if other["date"] == day and first < _minutes(other["end"]) and _minutes(other["start"]) < first + minutes:
                raise ToolError(f"overlaps with {other['id']} {other['title']!r}, {other['start']} to {other['end']}")
        self._number += 1  # no number is given twice
        end = f"{(first + minutes) // 60:02}:{(first + minutes) % 60:02}"
        event = {"id": f"e{self._number}", "title": title, "date": day, "start": start, "end": end}
        self.events.append(event)
        return dict(event)

    def delete_event(self, id: str) -> str:
        """Delete an event."""
        if id not in [one["id"] for one in self.events]:
            raise ToolError(f"there is no event {id!r:.40}")
        self.events = [one for one in self.events if one["id"] != id]
        return f"{id} is deleted"


def _object(properties: dict, required: list[str]) -> dict:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ToolError(f"{text!r:.40} is not a date") from None


def _minutes(text: str) -> int:
    """Minutes since midnight."""
    hour, minute = map(int, text.split(":"))
    return hour * 60 + minute
