"""Conversations from a file of JSON lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

from kerasllm.text import check_turns

PAIRS = (("prompt", "reply"), ("prompt", "completion"), ("prompt", "response"), ("instruction", "output"))


def read_conversations(path: str | os.PathLike) -> list[list[dict]]:
    """The conversations of a file in which every line is a JSON object.

    An object has "messages", a list of turns with "role" and "content" as the interfaces of chat services have them; or
    "prompt" and "reply" (also "completion" or "response", or "instruction" and "output"). Tools may be called in turns,
    see `kerasllm.text.check_turns`; descriptions of tools and other keys beside "messages" are not read.

    Args:
        path: the file, UTF-8. Empty lines are passed over.

    Returns:
        For each line its turns: dictionaries with "role" and "content".

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line is none of these, a conversation has no reply, or the file holds none. The message names
            the line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "talks.jsonl"
        >>> _ = path.write_text('{"prompt": "Hi", "reply": "Hello!"}\\n', "utf-8")
        >>> read_conversations(path)
        [[{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello!'}]]
    """
    path, found = Path(path), []
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}. Give the path of a file of JSON lines.")
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    found.append(_turns(json.loads(line)))
                except (ValueError, TypeError) as error:
                    raise ValueError(f"{path}, line {number}: {error}") from error
    if not found:
        raise ValueError(f'{path} holds no conversation: a line is {{"prompt": "...", "reply": "..."}}.')
    return found


def _turns(document) -> list[dict]:
    if not isinstance(document, dict):
        raise ValueError(f"this is a {type(document).__name__}, not an object with messages, or prompt and reply")
    if "messages" in document:
        turns = document["messages"]
    else:
        names = next((names for names in PAIRS if all(name in document for name in names)), None)
        if names is None:
            raise ValueError(f"it has {', '.join(document) or 'nothing'}, not messages, nor prompt and reply")
        asked, said = (document[name] for name in names)
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    check_turns(turns)
    if not any(turn["role"] == "assistant" for turn in turns):
        raise ValueError("there is no reply in it, a turn of the assistant")
    return turns
