"""The forms of conversations that are known by name: what stands around what is said, in a few texts."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Turn = Mapping[str, Any]  # role, content, and tool_calls of some: see check_turns
DATE = datetime.date(2024, 7, 26)  # what the templates of Llama 3.1 and 3.2 say where they are told no date


@dataclass(frozen=True)
class Form:
    """What stands around what is said.

    Args:
        head: what stands before a turn; ``{role}`` is its role.
        end: the special token behind a turn.
        after: what follows it.
        begins: whether the conversation begins with the tokenizer's token for the beginning of a text.
        trimmed: whether white space at both ends of a turn is left out.
        system: what the system says in a conversation without a system turn; None for no such turn.
        preamble: what stands in front of the system's words, with ``{date}``.
        joined: whether the system's words are the beginning of the first user's turn.
        names: other names of roles.
    """

    head: str
    end: str
    after: str = ""
    begins: bool = False
    trimmed: bool = False
    system: str | None = None
    preamble: str = ""
    joined: bool = False
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def tokens(self) -> list[str]:
        """The special tokens that the form needs."""
        return list(dict.fromkeys(re.findall(r"<[^<>]+>", self.head + self.end)))

    def text(
        self, turns: Sequence[Turn], open_reply: bool, bos: str, date: datetime.date, mark: Callable[[str], str]
    ) -> str:
        """The text of a conversation.

        Args:
            turns: the turns, checked.
            open_reply: whether the head of a reply stands at the end.
            bos: the token for the beginning of a text.
            date: the day for the preamble.
            mark: is given everything that the form says itself, and nothing of what the turns say.
        """
        parts = [mark(bos)] if self.begins else []
        said, turns = self._system(turns)
        if said is not None and not self.joined:
            parts += [
                mark(self._head("system") + self.preamble.format(date=f"{date:%d %b %Y}")),
                said,
                mark(self._tail),
            ]
        for place, turn in enumerate(turns):
            parts.append(mark(self._head(turn["role"])))
            if place == 0 and self.joined and said is not None:
                parts += [said, "\n\n"]
            parts += [self._trimmed(turn["content"]), mark(self._tail)]
        if open_reply:
            parts.append(mark(self._head("assistant")))
        return "".join(parts)

    def _system(self, turns: Sequence[Turn]) -> tuple[str | None, Sequence[Turn]]:
        """What the system says, and the other turns."""
        if turns[0]["role"] != "system":
            return self.system, turns
        said = turns[0]["content"]
        return said if self.joined else self._trimmed(said), turns[1:]

    @property
    def _tail(self) -> str:
        return self.end + self.after

    def _head(self, role: str) -> str:
        return self.head.format(role=self.names.get(role, role))

    def _trimmed(self, text: str) -> str:
        return text.strip() if self.trimmed else text


_CHATML = {"head": "<|im_start|>{role}\n", "end": "<|im_end|>", "after": "\n"}
_LLAMA = {
    "head": "<|start_header_id|>{role}<|end_header_id|>\n\n",
    "end": "<|eot_id|>",
    "begins": True,
    "trimmed": True,
}
_GEMMA = {
    **{"head": "<start_of_turn>{role}\n", "end": "<end_of_turn>", "after": "\n", "begins": True, "trimmed": True},
    "names": {"assistant": "model"},
}
_DATED = {"system": "", "preamble": "Cutting Knowledge Date: December 2023\nToday Date: {date}\n\n"}
FORMS = {
    "ChatML": Form(**_CHATML),
    "SmolLM2": Form(**_CHATML, system="You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    "Qwen 2.5": Form(**_CHATML, system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    "Llama 3": Form(**_LLAMA),
    "Llama 3.2": Form(**_LLAMA, **_DATED),  # and 3.1
    "Gemma 3": Form(**_GEMMA, joined=True),
}

# SHA-256 of templates as their makers publish them, without a line end behind them. For each the form was compared with
# what transformers 5.24 makes of the template, on all conversations of tests/text/data/make_chat.py, which also prints
# this table. The same text cannot mean anything else; of another text nothing is guessed: Jinja reads it.
KNOWN = {
    "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788": "SmolLM2",
    "55b2f4a26ac9ee719330a61a0c39d9e538b0e9322212f048326318cff4f8674a": "Qwen 2.5",
    "ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122": "Llama 3",
    "d82792f95932f1c9cef5c4bd992f171225e3bf8c7b609b4557c9e1ec96be819f": "Llama 3.2",
    "93c0e9aa3629bbd77e68dbc0f5621f6e6b23aa8d74b932595cdb8d64684526d7": "Llama 3.2",
    "8d9e3a3c114fb2053ec500184677af4f7e5f8ec2582443cd535834e68b3ade29": "Gemma 3",
}


def known_form(template: str) -> str | None:
    """The name of the form that a template is known to have, or None.

    Args:
        template: the text of a Jinja template.
    """
    return KNOWN.get(hashlib.sha256(template.removesuffix("\n").encode("utf-8", "surrogatepass")).hexdigest())
