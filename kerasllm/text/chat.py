"""Conversations as ids: a tokenizer's chat template, with a mask that is True at what the assistant says."""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kerasllm.text.chat_forms import DATE, FORMS, Turn, known_form
from kerasllm.text.chat_jinja import JinjaForm, TemplateError
from kerasllm.text.chat_marks import Marks, free_marker
from kerasllm.text.tokenizer import Tokenizer, check_tokenizer
from kerasllm.text.turns import check_form, check_turns, decoded_turns, has_calls

_PROBE = ({"role": "user", "content": "xwzq"}, {"role": "assistant", "content": "qzwx"})
_TOOL = {
    "type": "function",
    "function": {"name": "xzqw", "description": "wqxz", "parameters": {"type": "object", "properties": {}}},
}
_CALLED = (  # words that stand nowhere by chance, and an id of the length that Mistral's templates want
    _PROBE[0],
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "abcdefgh1", "type": "function", "function": {"name": "qwzx", "arguments": {"zwqx": "xqzw"}}}
        ],
    },
    {"role": "tool", "tool_call_id": "abcdefgh1", "name": "qwzx", "content": "zxwq"},
    _PROBE[1],
)


class _UnseenError(ValueError):
    """A template does not show where a reply begins."""


class ChatTemplate:
    """How a conversation becomes the ids that a model was trained on.

    The ids are those of transformers' ``apply_chat_template`` for the same template. One thing differs, on purpose: a
    special token that somebody spells out in a turn, such as ``<|im_end|>``, stays text here. There it ends the turn,
    and who types it can speak as the system.

    A template is a program in the language Jinja. Those of SmolLM2, Qwen 2.5, Llama 3 and Gemma 3 are known by the
    SHA-256 of their text, and done in Python; any other one runs in Jinja's sandbox, which needs the extra ``chat``.

    Args:
        tokenizer: a `kerasllm.text.Tokenizer`; its ``chat_template`` is used.
        form: in place of it, a form by its name: "ChatML", "SmolLM2", "Qwen 2.5", "Llama 3", "Llama 3.2" (and 3.1),
            "Gemma 3". Its special tokens must be in the tokenizer.
        date: the day that templates with a date say is today. When None, 26 Jul 2024: Llama's own, so that the same
            conversation has the same ids every day.

    Attributes:
        form: the name of the form; "Jinja" for another template.
        end_id: the id that ends a reply; None where a template ends it with ordinary text.

    Raises:
        TypeError: if the tokenizer is none, or `date` no date.
        ValueError: if there is no template, no such form, a special token is missing, or the template cannot be read.
        ImportError: if the template needs jinja2 and it is not installed.

    Example:
        >>> from kerasllm import text
        >>> tokenizer = text.train_characters(["user assistant Hi!\\n"], extra=["<|im_start|>", "<|im_end|>"])
        >>> template = ChatTemplate(tokenizer, "ChatML")
        >>> turns = [{"role": "user", "content": "Hi!"}]
        >>> template.text(turns, open_reply=True)
        '<|im_start|>user\\nHi!<|im_end|>\\n<|im_start|>assistant\\n'
        >>> ids, learned = template.encode_learned([*turns, {"role": "assistant", "content": "Hi"}])
        >>> [tokenizer.token_of(id) for id, one in zip(ids, learned) if one]
        ['H', 'i', '<|im_end|>']

    Reference:
        transformers 5.24, `utils/chat_template_utils.py`, for the names a template finds and how it is run.
    """

    def __init__(self, tokenizer: Tokenizer, form: str | None = None, *, date: datetime.date | None = None) -> None:
        self.tokenizer = check_tokenizer(tokenizer)
        if date is not None and not isinstance(date, datetime.date):
            raise TypeError(f"date must be a datetime.date, not {date!r}: datetime.date.today() for today.")
        self._date, self._dated = date or DATE, date is not None
        self._special = {token: tokenizer.id_of(token) for token in tokenizer.special_tokens}
        self._marks = functools.lru_cache(4)(self._marks_with)
        self._jinja = functools.lru_cache(4)(lambda marks: JinjaForm(tokenizer.chat_template, marks.mark))
        self.form = self._form_of(form)
        self.end_id: int | None = None
        self.end_id = self._end_id()

    def _form_of(self, form: str | None) -> str:
        template = self.tokenizer.chat_template
        if form is not None and form not in FORMS:
            raise ValueError(f"There is no form {form!r}. Use one of {', '.join(FORMS)}.")
        if form is None and template is None:
            raise ValueError(
                "This tokenizer came without a chat template: its model was not trained on conversations. Name the "
                "form that it was trained on, or will be: ChatTemplate(tokenizer, 'ChatML')."
            )
        form = form or known_form(template)
        missing = [token for token in FORMS[form].tokens if token not in self._special] if form else []
        if missing:
            raise ValueError(
                f"The form {form!r} needs the special tokens {' '.join(missing)}, which this tokenizer does not have. "
                "Train one with extra=[...], or take another form."
            )
        return form or "Jinja"

    def _end_id(self) -> int | None:
        """What ends a reply, found in a small conversation; refuse a template that cannot be used."""
        marks = self._marks(free_marker(()))
        whole = self._marked(_PROBE, False, marks)
        if not all(turn["content"] in whole for turn in _PROBE):
            raise ValueError(
                "The chat template of this tokenizer leaves out what is said: it takes lists of texts and pictures. "
                "Name a form: ChatTemplate(tokenizer, 'ChatML')."
            )
        spelled = marks.spelled(whole)
        if spelled is not None:
            raise ValueError(
                f"The chat template of this tokenizer puts {spelled} together from pieces, so that it cannot be told "
                "from the same text typed by a user. Name a form: ChatTemplate(tokenizer, 'ChatML')."
            )
        try:
            [(start, end)] = self._replies(_PROBE, marks)
        except _UnseenError:  # such a template still serves those who only encode
            return None
        ends = marks.twins_in(whole[:end], start)
        return self._special[ends[-1][0]] if ends else None

    # Conversations ---------------------------------------------------------------------------

    def text(
        self, turns: Sequence[Turn], open_reply: bool = False, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> str:
        """The text of a conversation, special tokens spelled out. For reading; for a model use `encode`.

        Args:
            turns: a dictionary with "role" and "content" for each turn: if wanted "system", then "user" and "assistant"
                in turns. With a template that has words for them the assistant may call tools, as OpenAI's API has it:
                see `check_turns`.
            open_reply: whether the beginning of a reply stands at the end, for a model to go on.
            tools: descriptions of functions that the model may call, for a template that `takes_tools`. The order of
                turns is then left to the template.

        Raises:
            TypeError: if a turn is no dictionary or its content no text.
            ValueError: if turns are out of order, a role is unknown, the template refuses them, or it has no words for
                tools: `plain_tool_turns` says them in turns of system, user and assistant.
        """
        turns, tools, marks = self._checked(turns, open_reply, tools)
        return marks.plain(self._marked(turns, open_reply, marks, tools))

    def encode(
        self, turns: Sequence[Turn], open_reply: bool = False, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """The ids of a conversation. See `text`."""
        turns, tools, marks = self._checked(turns, open_reply, tools)
        return marks.encoded(self._marked(turns, open_reply, marks, tools))[0]

    @functools.cached_property
    def takes_tools(self) -> bool:
        """Whether the tokenizer's template has a place for descriptions of tools."""
        if re.search(r"\btools\b", self.tokenizer.chat_template or "") is None:
            return False
        try:
            return _TOOL["function"]["name"] in self._run(_PROBE, False, self._marks(free_marker(())), [_TOOL])
        except TemplateError:  # it looks at them
            return True

    @property
    def takes_calls(self) -> bool:
        """Whether the tokenizer's template has words for calls of tools and for what tools answer."""
        return not self._calls_problem

    def encode_learned(
        self, turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[list[int], list[bool]]:
        """The ids of a conversation, and which of them a model is to learn: the replies and what ends them.

        A token that begins in front of a reply is not learned, though the reply may begin inside it: a model that
        writes finds it read already. What a template puts between the opened reply and what is said, such as the signs
        around a thought, is learned, for the model has to write it. So are calls of tools; what tools answer is not.

        Args:
            turns: see `text`; here in order, whatever the tools.
            tools: see `text`.

        Returns:
            The ids, and for each True within what the assistant says and at the token that ends it.

        Raises:
            TypeError, ValueError: see `text`; and if the template does not show where a reply begins.
        """
        check_turns(turns)
        turns, tools, marks = self._checked(turns, False, tools)
        ids, places = marks.encoded(self._marked(turns, False, marks, tools))
        learned = [False] * len(ids)
        for start, end in self._replies(turns, marks, tools):
            for number, (first, _) in enumerate(places):
                learned[number] |= start <= first < end
        return ids, learned

    # Inside ----------------------------------------------------------------------------------

    def _marks_with(self, marker: str) -> Marks:
        return Marks(self.tokenizer.to_json(), self._special, marker)

    def _checked(
        self, turns: Any, open_reply: bool, tools: Sequence | None
    ) -> tuple[Sequence[Turn], Sequence | None, Marks]:
        """Turns and tools as a template takes them, and marks that stand in none of them; no tools for a form."""
        if tools is None:
            check_turns(turns, open_reply)
        else:
            check_form(turns)
            if not self.takes_tools:
                raise ValueError(
                    "The chat template of this tokenizer has no place for tools: describe them in a turn, with "
                    "kerasllm.text.plain_tool_turns(turns, tools)."
                )
        if has_calls(turns):
            if self._calls_problem:
                raise ValueError(
                    f"{self._calls_problem}: say calls and answers in plain turns, with "
                    "kerasllm.text.plain_tool_turns(turns)."
                )
            tools = tools or ()
        if tools is None:
            return turns, None, self._marks(free_marker(turn["content"] for turn in turns))
        turns, tools = decoded_turns(turns), list(tools)
        return turns, tools, self._marks(free_marker([json.dumps([turns, tools], ensure_ascii=False)]))

    @functools.cached_property
    def _calls_problem(self) -> str:
        """Why calls of tools cannot be written; "" where they can."""
        if self.tokenizer.chat_template is None:
            return f"The form {self.form!r} has no words for tools"
        tools = [_TOOL] if self.takes_tools else None
        try:
            text = self._run(_CALLED, False, self._marks(free_marker(())), tools)
        except TemplateError as error:
            return f"The chat template of this tokenizer refuses calls of tools ({error})"
        if all(word in text for word in ("qwzx", "zwqx", "xqzw", "zxwq", "qzwx")):
            return ""
        return "The chat template of this tokenizer leaves out what is called, or what tools answer"

    def _marked(self, turns: Sequence[Turn], open_reply: bool, marks: Marks, tools: Sequence | None = None) -> str:
        """The text of a conversation with twins in place of the template's special tokens."""
        if tools is not None:
            try:
                return self._run(turns, open_reply, marks, tools)
            except TemplateError as error:
                raise ValueError(f"The chat template of this tokenizer refuses turns or tools: {error}.") from None
        if self.form != "Jinja":
            bos = self.tokenizer.roles.get("bos", "")
            return FORMS[self.form].text(turns, open_reply, bos, self._date, marks.mark)
        try:
            return self._run(turns, open_reply, marks)
        except TemplateError as error:
            place = next((n for n in range(1, len(turns)) if self._refuses(turns[:n], marks)), len(turns)) - 1
            raise ValueError(
                f"The chat template of this tokenizer refuses turn {place} ({turns[place]['role']}): {error}. Change "
                "the turn, or name another form: ChatTemplate(tokenizer, 'ChatML')."
            ) from None

    def _run(self, turns: Sequence[Turn], open_reply: bool, marks: Marks, tools: Sequence | None = None) -> str:
        roles = self.tokenizer.roles
        names = {
            "bos_token": "bos",
            "eos_token": "eos",
            "unk_token": "unknown",
            "pad_token": "pad",
            "mask_token": "mask",
        }
        tokens = {name: roles[role] for name, role in names.items() if role in roles}
        return self._jinja(marks).text(turns, open_reply, tokens, self._date, self._dated, tools)

    def _refuses(self, turns: Sequence[Turn], marks: Marks) -> bool:
        try:
            self._run(turns, False, marks)
        except TemplateError:
            return True
        return False

    def _replies(self, turns: Sequence[Turn], marks: Marks, tools: Sequence | None = None) -> list[tuple[int, int]]:
        """For each reply where it begins in the marked text, and where what ends it ends.

        It begins where the text of the turns before it, with a reply opened, goes on as the whole does.
        """
        whole, found = self._marked(turns, False, marks, tools), []
        for place, turn in enumerate(turns):
            if turn["role"] != "assistant":
                continue
            opened = self._marked(turns[:place], True, marks, tools)
            start = marks.shared(whole, opened)
            if start < marks.shared(opened, self._marked(turns[:place], False, marks, tools)):
                raise _UnseenError(
                    f"The chat template of this tokenizer changes what stands before turn {place} when more turns "
                    "follow, so that nobody can tell where the reply begins. Name a form: "
                    "ChatTemplate(tokenizer, 'ChatML')."
                )
            ends = self._calls_end if turn.get("tool_calls") else self._reply_end
            found.append((start, ends(turns, place, marks, tools, whole, opened)))
        return found

    def _reply_end(self, turns, place: int, marks: Marks, tools, whole: str, opened: str) -> int:
        """The place behind what ends a reply: behind the first special token after what is said.

        What is said may be empty, or look like what stands around it. So a word takes its place, and the special tokens
        up to the end are counted.
        """
        asked = [*turns[:place], _PROBE[1], *turns[place + 1 :]]
        probed, alone = (self._marked(one, False, marks, tools) for one in (asked, asked[: place + 1]))
        counts = []
        for text in (probed, alone):
            start = marks.shared(text, opened)
            twins = [end for _, _, end in marks.twins_in(text, start)]
            said = text.find(_PROBE[1]["content"], start)
            counts.append((sum(end <= said for end in twins), len(twins)))
        (before, count), (before_alone, count_alone) = counts
        twins = marks.twins_in(whole, marks.shared(whole, opened))
        # Where no token follows the last reply, what follows an earlier one is not its end but the next turn.
        if before < min(count, len(twins)) and before_alone < count_alone:
            return twins[before][2]
        return self._turn_end(turns, place, marks, tools, whole)

    def _calls_end(self, turns, place: int, marks: Marks, tools, whole: str, opened: str) -> int:
        """The place behind what ends calls of tools: special tokens may stand around each of them."""
        end = self._turn_end(turns, place, marks, tools, whole)
        twins = marks.twins_in(whole[:end], marks.shared(whole, opened))
        return next((behind for token, _, behind in twins[::-1] if self._special[token] == self.end_id), end)

    def _turn_end(self, turns, place: int, marks: Marks, tools, whole: str) -> int:
        """The place where the text of a turn ends in the whole."""
        return marks.shared(whole, self._marked(turns[: place + 1], False, marks, tools))
