"""Calls of functions: how a prompt describes them to a model, and how they are found in what it writes."""

import json
import re
import uuid
from dataclasses import dataclass, field

from kerasllm.text.turns import CLOSE, OPEN, plain_tool_turns


@dataclass(frozen=True)
class ToolCall:
    """A call that a model asks for.

    Attributes:
        name: the name of the function.
        arguments: its arguments as JSON, as the model wrote them; nobody has checked them against its parameters.
        id: a name for the call, which the answer to it repeats.
    """

    name: str
    arguments: str
    id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex[:24]}")


def prompt_ids(template, turns, tools):
    """The ids of a conversation in which functions may be called, a reply opened.

    A template that has a place for tools is asked; for another one the functions are described in the system's turn,
    and answers of tools stand in a turn of the user.

    Args:
        template: a `kerasllm.text.ChatTemplate`.
        turns: dictionaries with "role" and "content"; of the assistant also "tool_calls", a list of dictionaries with
            "name" and "arguments", an object.
        tools: descriptions as OpenAI has them, ``{"type": "function", "function": {"name": ...}}``; may be empty.

    Returns:
        A list of ids.

    Raises:
        TypeError, ValueError: see `ChatTemplate.encode`.
    """
    called = any(turn.get("tool_calls") or turn["role"] == "tool" for turn in turns)
    if not tools and not called:
        return template.encode(turns, open_reply=True)
    wrapped = [
        {**turn, "tool_calls": [{"type": "function", "function": one} for one in turn["tool_calls"]]}
        if turn.get("tool_calls")
        else turn
        for turn in turns
    ]
    if not template.takes_tools or (called and not template.takes_calls):
        return template.encode(plain_tool_turns(wrapped, tools), open_reply=True)
    return template.encode(wrapped, open_reply=True, tools=tools)


class CallFinder:
    """Parts what a model writes, piece by piece, into text and calls.

    Calls stand between ``<tool_call>`` and ``</tool_call>``, or are all there is: an object with "name" and "arguments"
    or, as Llama 3 writes it, "parameters". What looks like a call and is none, because it is no JSON or names no
    function that there is, is text.

    Args:
        names: the names of the functions that there are; without any, everything is text.

    Attributes:
        calls: how many were found.

    Example:
        >>> finder = CallFinder(["add"])
        >>> finder.add("Let me see. <tool_")
        ('Let me see. ', [])
        >>> text, [call] = finder.add('call>{"name": "add", "arguments": {"a": 1}}</tool_call>')
        >>> text, call.name, call.arguments
        ('', 'add', '{"a": 1}')
    """

    def __init__(self, names):
        self.names, self.calls = frozenset(names), 0
        self._held, self._begun, self._behind = "", False, False

    def add(self, text, last=False):
        """The text and the calls that are now certain.

        Args:
            text: what comes next.
            last: whether nothing comes behind it.

        Returns:
            A text, and a list of `ToolCall`s.
        """
        if not self.names:
            return text, []
        self._held += text
        if self._behind:  # a line end between two calls is nobody's text
            self._held = self._held.lstrip("\n")
            self._behind = not self._held
        said, calls = "", []
        if not self._begun and not last and re.match(r"\s*($|[{\[])", self._held):
            return "", []  # may be a call from its first character on: the end will tell
        if not self._begun and last and (whole := self._read(self._held)):
            self._held, calls = "", whole
        while (start := self._held.find(OPEN)) >= 0:
            said, self._held, self._begun = said + self._held[:start], self._held[start:], True
            end = self._held.find(CLOSE)
            if end < 0 and not last:
                break
            inside = self._held[len(OPEN) : end if end >= 0 else None]
            found = self._read(inside)
            if not found:
                said += self._held[: len(OPEN)]
                self._held = self._held[len(OPEN) :]
                continue
            calls += found
            self._held = self._held[end + len(CLOSE) :].lstrip("\n") if end >= 0 else ""
            self._behind = not self._held
        if start < 0:
            keep = 0 if last else _beginning(self._held)
            said, self._held = said + self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        self._begun = self._begun or bool(said.strip())
        self.calls += len(calls)
        return said, calls

    def _read(self, text):
        """The calls that a text is, or none."""
        try:
            found = json.loads(text.strip())
        except (ValueError, RecursionError):
            return []
        calls = [self._call(one) for one in (found if isinstance(found, list) else [found])]
        return calls if calls and None not in calls else []

    def _call(self, one):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str) or one["name"] not in self.names:
            return None
        arguments = one.get("arguments", one.get("parameters", {}))
        if isinstance(arguments, str):  # JSON within JSON
            return ToolCall(one["name"], arguments)
        return ToolCall(one["name"], json.dumps(arguments, ensure_ascii=False))


def _beginning(text):
    """How many characters at the end of a text may be the beginning of a call."""
    return next((n for n in range(min(len(text), len(OPEN) - 1), 0, -1) if OPEN.startswith(text[-n:])), 0)
