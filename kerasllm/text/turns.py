"""Turns of a conversation: who may speak when, how tools are called, and how that is said in plain turns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kerasllm.text.checks import check_text

SPEAKERS = ("system", "user", "assistant", "tool")
_MORE = {"assistant": {"tool_calls"}, "tool": {"tool_call_id", "name"}}  # keys beside role and content
OPEN, CLOSE = "<tool_call>", "</tool_call>"  # what Qwen, SmolLM2 1.7B and models tuned after Hermes write
EXPLAINED = """You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""  # the words of Qwen 2.5's template, on which many models were tuned


def check_turns(turns: Any, open_reply: bool = False) -> None:
    """Raise for what is no conversation.

    Tools are called as OpenAI's API has it: a turn of the assistant has "tool_calls", each with the name of a function
    and its arguments as JSON, and its content may be None. A turn with the role "tool" answers each call.

    Args:
        turns: what should be a list of dictionaries with "role" and "content".
        open_reply: whether a reply is to follow.

    Raises:
        TypeError: if it is no list of dictionaries, or a content is no text.
        ValueError: if turns are out of order, a role is unknown, or calls and their answers do not fit; the message
            names the place.

    Example:
        >>> check_turns([{"role": "user", "content": "Hi"}, {"role": "robot", "content": "Hello"}])
        Traceback (most recent call last):
        ValueError: Turn 1 has the role 'robot'. Use one of system, user, assistant, tool.
        >>> call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
        >>> asked = [{"role": "user", "content": "1 + 2?"}, {"role": "assistant", "tool_calls": [call]}]
        >>> check_turns([*asked, {"role": "tool", "tool_call_id": "1", "content": "3"}], open_reply=True)
    """
    check_form(turns)
    first = int(turns[0]["role"] == "system")
    due, waiting = "user", []  # the ids of calls that no tool has answered yet
    for place, turn in enumerate(turns[first:], first):
        role = turn["role"]
        if role != due:
            raise ValueError(_disorder(place, role, due, first))
        if role == "tool":
            _answered(place, turn.get("tool_call_id"), waiting)
        elif role == "assistant":
            waiting = [call.get("id") for call in turn.get("tool_calls") or ()]
        due = "tool" if waiting else "user" if role == "assistant" else "assistant"
    if open_reply and due != "assistant":
        raise ValueError(
            f"A reply follows a turn of the user or the answers of all tools; turn {len(turns) - 1}, the last, is by "
            f"the {turns[-1]['role']}."
        )


def check_form(turns: Any) -> None:
    """Raise for what is no list of turns, in whatever order.

    Raises:
        TypeError, ValueError: see `check_turns`.
    """
    if isinstance(turns, str | Mapping) or not isinstance(turns, Sequence):
        raise TypeError(f"A conversation is a list of turns, not {turns!r:.60}: [{{'role': 'user', 'content': 'Hi'}}].")
    if not turns:
        raise ValueError("The conversation has no turns. It begins with one of the system or of the user.")
    for place, turn in enumerate(turns):
        _check_turn(place, turn)


def has_calls(turns: Sequence[Mapping]) -> bool:
    """Whether tools are called, or answer, in a conversation."""
    return any(turn["role"] == "tool" or turn.get("tool_calls") for turn in turns)


def decoded_turns(turns: Sequence[Mapping]) -> list[dict]:
    """Turns as chat templates take them: arguments of calls as objects, not as JSON, and "" where nothing is said.

    Args:
        turns: the turns, checked.

    Example:
        >>> call = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        >>> decoded_turns([{"role": "assistant", "content": None, "tool_calls": [call]}])[0]["tool_calls"]
        [{'type': 'function', 'function': {'name': 'add', 'arguments': {'a': 1}}}]
    """
    found = []
    for turn in turns:
        one = {key: value for key, value in turn.items() if value is not None} | {"content": turn.get("content") or ""}
        calls = one.pop("tool_calls", None)
        if calls:
            one["tool_calls"] = [
                {**call, "type": "function", "function": {**call["function"], "arguments": _arguments(call)}}
                for call in calls
            ]
        found.append(one)
    return found


def plain_tool_turns(turns: Sequence[Mapping], tools: Sequence[Mapping] = ()) -> list[dict]:
    """A conversation in which tools are called as turns of system, user and assistant alone.

    For chat templates that have no place for tools. Calls and answers stand between the signs that many models were
    tuned on, ``<tool_call>`` and ``<tool_response>``; answers are said by the user. `kerasllm.serving` does the same.

    Args:
        turns: see `check_turns`; their order is left to the template.
        tools: descriptions of functions, ``{"type": "function", "function": {"name": ...}}``; with some, the words of
            Qwen 2.5 that explain them stand at the end of the system's turn.

    Returns:
        The turns, without "tool_calls" and without the role "tool".

    Raises:
        TypeError, ValueError: see `check_turns`.

    Example:
        >>> call = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
        >>> turns = [{"role": "user", "content": "1 + 2?"}, {"role": "assistant", "tool_calls": [call]}]
        >>> for turn in plain_tool_turns([*turns, {"role": "tool", "content": "3"}]):
        ...     print(turn["role"], repr(turn["content"]))
        user '1 + 2?'
        assistant '<tool_call>\\n{"name": "add", "arguments": {"a": 1, "b": 2}}\\n</tool_call>'
        user '<tool_response>\\n3\\n</tool_response>'
    """
    check_form(turns)
    found: list[dict] = []
    for turn in decoded_turns(turns):
        role, content = turn["role"], turn["content"]
        if "tool_calls" in turn:
            calls = [json.dumps(_said(call["function"]), ensure_ascii=False) for call in turn["tool_calls"]]
            content = "\n".join([*([content] if content else []), *(f"{OPEN}\n{call}\n{CLOSE}" for call in calls)])
        if role == "tool":
            role, content = "user", f"<tool_response>\n{content}\n</tool_response>"
        if role == "user" and found and found[-1]["role"] == "user":
            found[-1] = {"role": role, "content": f"{found[-1]['content']}\n{content}"}
        else:
            found.append({"role": role, "content": content})
    if tools:
        described = EXPLAINED.format(tools="\n".join(json.dumps(one, ensure_ascii=False) for one in tools))
        if found[0]["role"] == "system":
            found[0] = {"role": "system", "content": f"{found[0]['content']}\n\n{described}"}
        else:
            found.insert(0, {"role": "system", "content": described})
    return found


def _said(function: Mapping) -> dict:
    return {"name": function["name"], "arguments": function["arguments"]}


def _disorder(place: int, role: str, due: str, first: int) -> str:
    fix = "Join the two turns of one speaker into one"
    if role == "system":
        fix = "Put it first"
    elif role == "tool":
        fix = "Put it behind the turn of the assistant that calls it, once for each call"
    elif due == "tool":
        fix = "Put the answer of each call behind the turn that calls: {'role': 'tool', 'content': ...}"
    elif place == first and role == "assistant":
        fix = "Begin with what the user says"
    return (
        f"Turn {place} is by the {role} and should be by the {due}: after a system turn, if there is one, user and "
        f"assistant speak in turns, and tools answer the calls of the assistant. {fix}."
    )


def _answered(place: int, answered: str | None, waiting: list) -> None:
    """Take the call that a turn answers from those that wait for an answer."""
    known = [one for one in waiting if one is not None]
    if answered is None or not known:
        waiting.pop(0)
    elif answered in known:
        waiting.remove(answered)
    else:
        raise ValueError(
            f"Turn {place} answers the call {answered!r}; those that wait are {', '.join(map(repr, known))}."
        )


def _check_turn(place: int, turn: Any) -> None:
    if not isinstance(turn, Mapping):
        raise TypeError(f"Turn {place} is {turn!r:.60}, not a dictionary {{'role': 'user', 'content': 'Hi'}}.")
    if turn.get("role") is None:
        raise ValueError(f"Turn {place} has no role. A turn is {{'role': 'user', 'content': 'Hi'}}.")
    role = turn["role"]
    if role not in SPEAKERS:
        raise ValueError(f"Turn {place} has the role {role!r}. Use one of {', '.join(SPEAKERS)}.")
    more = [key for key in turn if key not in ("role", "content") and turn[key] is not None]
    unknown = next((key for key in more if key not in _MORE.get(role, ())), None)
    if unknown is not None:
        raise ValueError(
            f"Turn {place} has more than role and content: {unknown!r}. No form has a place for it in a turn of the "
            f"{role}: drop it."
        )
    if "tool_calls" in more:
        _check_calls(place, turn["tool_calls"])
    if turn.get("content") is None:
        if turn.get("tool_calls"):
            return
        raise ValueError(f"Turn {place} has no content. A turn is {{'role': 'user', 'content': 'Hi'}}.")
    try:
        check_text(turn["content"], 0)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("Text 0", f"The content of turn {place}", 1)) from None


def _check_calls(place: int, calls: Any) -> None:
    form = "{'id': '1', 'type': 'function', 'function': {'name': 'add', 'arguments': '{\"a\": 1}'}}"
    if isinstance(calls, str | Mapping) or not isinstance(calls, Sequence):
        raise TypeError(f"The tool_calls of turn {place} are {calls!r:.60}, not a list of calls [{form}].")
    for call in calls:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
            raise ValueError(f"A call in turn {place} is {call!r:.80}. It names a function: {form}.")
        arguments = _arguments(call)
        if not isinstance(arguments, Mapping):
            raise ValueError(
                f"The arguments of {function['name']} in turn {place} are no JSON object: "
                f"{function.get('arguments')!r:.60}. Write them as '{{\"a\": 1}}'."
            )
        try:
            check_text(json.dumps([function["name"], arguments], ensure_ascii=False), 0)
        except (TypeError, ValueError) as error:
            what = str(error).replace("Text 0", "the text", 1)
            raise ValueError(
                f"The call of {function['name']} in turn {place} cannot be written as JSON: {what}"
            ) from None


def _arguments(call: Mapping) -> Any:
    """The arguments of a call as an object; what they are if they are none."""
    found = call["function"].get("arguments", {})
    if not isinstance(found, str):
        return found
    try:
        return json.loads(found)
    except (ValueError, RecursionError):
        return found
