"""The tools of the set tool-dialogues, so that a test can call them again: a plain desk without a model."""

import ast
import calendar
import datetime
import math
import operator
import re

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
}
FUNCTIONS = {"round": round, "sqrt": math.sqrt}
# To metres, kilograms, litres, metres a second; temperatures have a rule of their own.
UNITS = {
    "length": {"mm": 0.001, "cm": 0.01, "m": 1, "km": 1000, "in": 0.0254, "ft": 0.3048, "yd": 0.9144, "mi": 1609.344},
    "mass": {"g": 0.001, "kg": 1, "oz": 0.028349523125, "lb": 0.45359237},
    "volume": {"ml": 0.001, "l": 1, "pt": 0.473176473, "gal": 3.785411784},
    "speed": {"m/s": 1, "km/h": 1 / 3.6, "mph": 0.44704},
}
KELVIN = {"C": (1, 273.15), "F": (5 / 9, 459.67 * 5 / 9), "K": (1, 0)}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")  # in no other language
SMALL = set("a an the of in on at to for is are do does can i my we with and or what how when which there it".split())


class ToolError(Exception):
    """What a tool answers instead of a result."""


class Desk:
    """Calculator, units, a calendar that changes, and documents to search in."""

    def __init__(self, events, documents):
        self.events = [dict(event) for event in events]
        self.documents = documents
        self.number = len(events)  # of the newest event; none is given twice

    def call(self, name, arguments):
        """The answer of a tool: its result, or an object with "error"."""
        try:
            return getattr(self, name)(**arguments)
        except ToolError as error:
            return {"error": str(error)}

    # ----- numbers -----

    def calculator(self, expression):
        def value(node):
            match node:
                case ast.Constant(value=int() | float() as number):
                    return number
                case ast.BinOp(left=left, op=op, right=right):
                    return OPERATORS[type(op)](value(left), value(right))
                case ast.UnaryOp(op=ast.USub(), operand=operand):
                    return -value(operand)
                case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                    return FUNCTIONS[name](*map(value, arguments))
            raise KeyError(type(node))

        try:
            found = value(ast.parse(expression, mode="eval").body)
        except ZeroDivisionError:
            raise ToolError("division by zero") from None
        except (KeyError, SyntaxError, TypeError, ValueError):
            raise ToolError(f"cannot read {expression!r}") from None
        return {"result": tidy(found, 12)}

    def convert_units(self, value, source, target):
        if source in KELVIN and target in KELVIN:
            factor, shift = KELVIN[source]
            back, less = KELVIN[target]
            return {"result": tidy((value * factor + shift - less) / back, 6), "unit": target}
        kinds = [next((kind for kind, units in UNITS.items() if unit in units), None) for unit in (source, target)]
        for unit, kind in zip((source, target), kinds, strict=True):
            if kind is None and unit not in KELVIN:
                raise ToolError(f"unknown unit {unit!r}")
        if kinds[0] != kinds[1]:
            raise ToolError(f"cannot convert {source} to {target}")
        units = UNITS[kinds[0]]
        return {"result": tidy(value * units[source] / units[target], 6), "unit": target}

    # ----- dates -----

    def add_to_date(self, date, days=0, weeks=0, months=0):
        start = day(date)
        month = start.year * 12 + start.month - 1 + months
        year, month = divmod(month, 12)
        last = calendar.monthrange(year, month + 1)[1]
        moved = start.replace(year=year, month=month + 1, day=min(start.day, last))
        moved += datetime.timedelta(days=days, weeks=weeks)
        return {"date": moved.isoformat(), "weekday": WEEKDAYS[moved.weekday()]}

    def days_between(self, start, end):
        return {"days": (day(end) - day(start)).days}

    def list_events(self, start, end=None):
        first, last = day(start), day(end or start)
        found = [event for event in self.events if first <= day(event["date"]) <= last]
        return {"events": sorted(found, key=lambda event: (event["date"], event["start"]))}

    def add_event(self, title, date, start, minutes):
        event = self.placed({"id": f"e{self.number + 1}", "title": title}, date, start, minutes)
        self.number += 1
        self.events.append(event)
        return dict(event)

    def move_event(self, id, date, start):
        old = self.known(id)
        minutes = clock(old["end"]) - clock(old["start"])
        old.update(self.placed({"id": id, "title": old["title"]}, date, start, minutes))
        return dict(old)

    def delete_event(self, id):
        self.events.remove(self.known(id))
        return {"deleted": id}

    def known(self, id):
        for event in self.events:
            if event["id"] == id:
                return event
        raise ToolError(f"there is no event {id!r}")

    def placed(self, event, date, start, minutes):
        first = clock(start)
        end = f"{(first + minutes) // 60:02}:{(first + minutes) % 60:02}"
        for other in self.events:
            same = other["date"] == day(date).isoformat() and other["id"] != event["id"]
            if same and first < clock(other["end"]) and clock(other["start"]) < first + minutes:
                raise ToolError(f"overlaps with {other['id']} {other['title']!r}, {other['start']} to {other['end']}")
        return {**event, "date": date, "start": start, "end": end}

    # ----- documents -----

    def search_documents(self, query, limit=2):
        asked = terms(query)
        scores = [len(asked & terms(one["title"] + " " + one["text"])) for one in self.documents]
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        return {"results": [self.documents[place] for place in order if scores[place]][:limit]}


def tidy(number, digits):
    """A number as it is shown: whole where it is whole, else with so many digits."""
    rounded = float(f"{number:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded


def day(text):
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ToolError(f"{text!r} is not a date") from None


def clock(text):
    """Minutes since midnight."""
    hour, minute = map(int, text.split(":"))
    return hour * 60 + minute


def terms(text):
    """The words of a text without small ones and plural endings; of Chinese, the pairs of characters."""
    words = {re.sub(r"(?<=\w\w\w)s$", "", one) for one in re.findall(r"[a-z0-9]+", text.casefold())} - SMALL
    pairs = {run[place : place + 2] for run in re.findall(r"[\u4e00-\u9fff]+", text) for place in range(len(run) - 1)}
    return words | pairs
