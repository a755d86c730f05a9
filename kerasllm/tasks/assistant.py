"""An assistant: a conversation with a model that may call tools, and answers from documents or says that it cannot."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kerasllm.common import choice, whole_number, write_whole
from kerasllm.generation import Session
from kerasllm.tasks.passages import FROM_SOURCES, Found, Retriever, with_sources
from kerasllm.tasks.tools import Tool
from kerasllm.text import ChatTemplate, check_tokenizer
from kerasllm.text.checks import check_text
from kerasllm.text.tool_calls import CallFinder, ToolCall, prompt_ids

MARK = "^"  # between the words of a marked quotation


@dataclass(frozen=True)
class AssistantSettings:
    """What an assistant says and does, in numbers and sentences that are saved.

    Args:
        system: what the system says first.
        max_new_tokens: the largest number of tokens of a reply; fewer where the context has no more room.
        max_steps: how often tools may be called within one turn of the user. Then the model has to answer.
        passages: how many passages are looked up for a turn, at most.
        threshold: the least score of a passage that counts. What it should be depends on the index: choose it on
            questions of which some have no answer.
        unknown: what is said where there is neither a passage nor a result of a tool.
        order: what the model is told about quotations.
        quotation: how passages are quoted, "plain", or "marked" with a sign between their words.
        guarded: whether tools that act are kept from the model while it reads passages, which may be a stranger's. What
            tools return, and what it said about a passage in an earlier turn, is read without this guard.

    Raises:
        TypeError: if a sentence is no text.
        ValueError: if a number is outside its range, or there is no such quotation.
    """

    system: str = "You are a helpful assistant."
    max_new_tokens: int = 256
    max_steps: int = 4
    passages: int = 3
    threshold: float = 0.0
    unknown: str = "I do not know. My sources do not say it."
    order: str = FROM_SOURCES
    quotation: str = "plain"
    guarded: bool = True

    def __post_init__(self):
        for place, name in enumerate(("system", "unknown", "order")):
            check_text(getattr(self, name), place)
        whole_number("max_new_tokens", self.max_new_tokens)
        whole_number("max_steps", self.max_steps, 0)
        whole_number("passages", self.passages)
        choice("quotation", self.quotation, ("plain", "marked"))
        choice("guarded", self.guarded, (True, False))
        if isinstance(self.threshold, bool) or not float(self.threshold) < float("inf"):
            raise ValueError(f"threshold must be a finite number, not {self.threshold!r}.")


@dataclass(frozen=True)
class Called:
    """A tool that was called.

    Attributes:
        name: of the tool.
        arguments: as the model wrote them.
        answer: what came back, JSON with "result" or "error".
    """

    name: str
    arguments: str
    answer: str


@dataclass(frozen=True)
class AssistantReply:
    """What an assistant says to a turn, and what it rests on.

    Attributes:
        text: the reply.
        sources: the passages that the model read for it, with their scores; none where it said that it does not know.
        calls: the tools that were called for it, in order.
        ended: "stop" at the end of a turn, "length", "steps" where no more tools could be called, or "unknown".
    """

    text: str
    sources: list[Found] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    ended: str = "stop"


class Assistant:
    """A conversation in which a model may call tools and read passages of documents.

        assistant = Assistant(model, tokenizer, tools=[Tool(calculator)], retriever=retriever)
        answer = assistant.ask("How do I join two paths?")
        print(answer.text, *(found.passage.title for found in answer.sources))

    For each turn of the user: passages are looked up and quoted in the system's turn, this time only. The model writes;
    where it calls tools, they are called, their answers become turns, and it writes again, at most `max_steps` times. A
    reply that rests on nothing, neither on a passage nor on a tool, is replaced by "I do not know" where there is a
    retriever. Without tools the model is then not even asked.

    A tool is called with arguments that keep to its schema, and told to the model in whatever way its template has; a
    template without a place for tools has them in the system's turn. Greedy replies are the same every time.

    A model sees its last ``context_length`` tokens. When a conversation does not fit, its oldest turns are dropped, a
    turn of the user always with all that was said to it; then the worst passages. What the system says stays.

    Args:
        model: see `kerasllm.generation.Session`; a `kerasllm.models.FastGPT` for example.
        tokenizer: its `kerasllm.text.Tokenizer`.
        settings: an `AssistantSettings`.
        tools: the `Tool`s.
        retriever: a `Retriever`, or None for a model that answers from what it knows.
        template: a `kerasllm.text.ChatTemplate` of the tokenizer, for another form or a date.
        allow: is asked before a tool that acts is called, with the `Tool` and its arguments as JSON; a call that is not
            allowed becomes an error that the model reads. None allows all.

    Attributes:
        turns: the conversation as the model still sees it, calls and answers of tools in it, passages not.
        dropped: how many turns were dropped.

    Raises:
        TypeError: if the model cannot generate, or an argument is of another kind.
        ValueError: if two tools have one name, the tokenizer has no chat template, or more tokens than the model.

    Example:
        >>> from kerasllm import models, text
        >>> tokenizer = text.train_characters(["user assistant system Hi!?\\n"], extra=["<|im_start|>", "<|im_end|>"])
        >>> sizes = {"num_layers": 1, "num_heads": 2, "embedding_dim": 8}
        >>> model = models.GPT(models.gpt_settings(tokenizer.vocabulary_size, **sizes))
        >>> template = text.ChatTemplate(tokenizer, "ChatML")
        >>> assistant = Assistant(model, tokenizer, retriever=Retriever([("cats", "A cat sleeps.")]), template=template)
        >>> assistant.ask("Hi!").text
        'I do not know. My sources do not say it.'

    Reference: Lewis et al. (2020), "Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks", section 2, for
    passages in front of a question; Yao et al. (2023), "ReAct", section 2, for steps of calls and answers.
    """

    def __init__(
        self,
        model,
        tokenizer,
        settings: AssistantSettings | None = None,
        *,
        tools: Sequence[Tool] = (),
        retriever: Retriever | None = None,
        template: ChatTemplate | None = None,
        allow: Callable[[Tool, str], bool] | None = None,
    ):
        self.model, self.tokenizer = model, check_tokenizer(tokenizer)
        for name, value, kind in (
            ("settings", settings, AssistantSettings),
            ("retriever", retriever, Retriever),
            ("template", template, ChatTemplate),
        ):
            if value is not None and not isinstance(value, kind):
                raise TypeError(f"{name} must be a {kind.__module__}.{kind.__name__}, not {value!r:.60}.")
        self.settings = AssistantSettings() if settings is None else settings
        self.retriever, self.allow = retriever, allow
        self.template = ChatTemplate(tokenizer) if template is None else template
        self.tools = _named(tools)
        self._session = Session(model, tokenizer)
        ends = [*tokenizer.stop_ids, self.template.end_id]
        self._stops = list(dict.fromkeys(id for id in ends if id is not None))
        self.reset()

    def reset(self) -> None:
        """Begin a new conversation."""
        self.turns, self.dropped = [], 0

    def ask(self, text: str, sampler=None, *, seed: int | None = None) -> AssistantReply:
        """What the assistant replies to a turn of the user.

        Args:
            text: what the user says.
            sampler: `kerasllm.generation.Greedy` or `kerasllm.generation.Sampling`; greedy when None.
            seed: a whole number: the same seed gives the same reply to the same conversation.

        Returns:
            An `AssistantReply`. A turn that fails leaves the conversation as it was; what tools did stays done.

        Raises:
            TypeError: if `text` is none.
            ValueError: if the turn alone is too long for the model, or for a reason of `Session.write`.
        """
        if not isinstance(text, str):
            raise TypeError(f"What the user says is a text, not {text!r:.60} ({type(text).__name__}).")
        check_text(text, 0)
        turns, sources = [*self.turns, {"role": "user", "content": text}], self._look_up(text)
        answer, dropped = AssistantReply(self.settings.unknown, ended="unknown"), self.dropped
        if sources or self.tools or self.retriever is None:
            try:
                found, turns = self._steps(turns, sources, sampler, seed)
            except BaseException:
                self.dropped = dropped
                raise
            if found.sources or found.calls or self.retriever is None:  # it rests on something
                answer = found
        self.turns = [*turns, {"role": "assistant", "content": answer.text}]
        return answer

    def save(self, path: str | os.PathLike) -> None:
        """Write the settings as JSON, and the names of the tools: neither model nor documents, which have own files."""
        about = {"assistant": 1, "settings": dataclasses.asdict(self.settings), "tools": list(self.tools)}
        with write_whole(path) as unfinished:
            unfinished.write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike, model, tokenizer, *, tools: Sequence[Tool] = (), **parts) -> Assistant:
        """An assistant with the settings that `save` wrote.

        Args:
            path: of the file.
            model, tokenizer, tools: see the class; the tools have the names of those that were there.
            **parts: retriever, template and allow, see the class.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it holds no settings, or the tools are others.
        """
        try:
            about = json.loads(Path(path).read_text("utf-8"))
            settings, names = AssistantSettings(**about["settings"]), list(about["tools"])
        except FileNotFoundError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no settings of an assistant: {error}") from error
        if sorted(_named(tools)) != sorted(names):
            raise ValueError(f"{path} is of an assistant with the tools {names}, not {list(_named(tools))}.")
        return cls(model, tokenizer, settings, tools=tools, **parts)

    # Inside ----------------------------------------------------------------------------------

    def _look_up(self, text: str) -> list[Found]:
        if self.retriever is None:
            return []
        found = self.retriever.search(text, self.settings.passages)
        return [one for one in found if one.score >= self.settings.threshold]

    def _steps(self, turns, sources, sampler, seed):
        """The answer, and the turns before it that are left."""
        tools = self._offered(sources)
        calls: list[Called] = []
        for step in range(self.settings.max_steps + 1):
            offered = tools if step < self.settings.max_steps else {}
            written, turns, sources = self._write(turns, sources, offered, sampler, seed)
            finder = CallFinder(offered)
            said, found = finder.add(written.text, last=True)
            if not found:
                break
            done = [Called(one.name, one.arguments, self._call(offered[one.name], one)) for one in found]
            calls += done
            asked = [{"name": one.name, "arguments": _object(one.arguments)} for one in done]
            turns = [*turns, {"role": "assistant", "content": said, "tool_calls": asked}]
            turns += [{"role": "tool", "content": one.answer} for one in done]
        ended = "steps" if calls and not offered else written.ended
        return AssistantReply(said, sources, calls, ended), turns

    def _offered(self, sources) -> dict[str, Tool]:
        """The tools that the model may call: none that acts while it reads what a stranger may have written."""
        kept = sources and self.settings.guarded
        return {name: tool for name, tool in self.tools.items() if not (kept and tool.acts)}

    def _call(self, tool: Tool, asked: ToolCall) -> str:
        if tool.acts and self.allow is not None and not self.allow(tool, asked.arguments):
            return json.dumps({"error": "this was not allowed"})
        return tool.call(asked.arguments)

    def _write(self, turns, sources, offered, sampler, seed):
        ids, turns, sources = self._fitted(turns, sources, offered)
        context = getattr(self.model, "context_length", None)
        room = (
            self.settings.max_new_tokens if context is None else min(self.settings.max_new_tokens, context - len(ids))
        )
        try:
            self._session.rewrite(ids)
            [reply] = self._session.write(room, sampler, stop_tokens=self._stops, seed=seed)
        except BaseException:  # in the middle of a step: the memory may be half changed
            self._session = Session(self.model, self.tokenizer)
            raise
        return reply, turns, sources

    def _fitted(self, turns, sources, offered):
        """The ids of a prompt that leaves room for a reply, and the turns and sources that are in it."""
        context = getattr(self.model, "context_length", None)
        wanted = self.settings.max_new_tokens
        while True:
            ids = self._ids(turns, sources, offered)
            if context is None or len(ids) + min(wanted, context // 2) <= context:
                return ids, turns, sources
            later = [place for place, turn in enumerate(turns) if place and turn["role"] == "user"]
            if later:
                self.dropped, turns = self.dropped + later[0], turns[later[0] :]
            elif sources:
                sources = sources[:-1]
            elif len(ids) < context:  # nothing is left to drop: a shorter reply
                return ids, turns, sources
            else:
                raise ValueError(
                    f"The turn has {len(ids)} tokens, with what system and tools say; the model sees {context}. Say "
                    "it in fewer words, or give fewer tools."
                )

    def _ids(self, turns, sources, offered) -> list[int]:
        turns = [{"role": "system", "content": self.settings.system}, *turns]
        if sources:
            mark = MARK if self.settings.quotation == "marked" else ""
            turns = with_sources(turns, [one.passage for one in sources], self.settings.order, mark)
        return prompt_ids(self.template, turns, [tool.described for tool in offered.values()])


def _named(tools: Sequence[Tool]) -> dict[str, Tool]:
    found: dict[str, Tool] = {}
    for tool in tools:
        if not isinstance(tool, Tool):
            raise TypeError(f"A tool is a kerasllm.tasks.tools.Tool, not {tool!r:.60}: Tool(function).")
        if tool.name in found:
            raise ValueError(f"Two tools are called {tool.name}: a call would not tell which one is meant.")
        found[tool.name] = tool
    return found


def _object(arguments: str) -> dict:
    """Arguments as the templates take them; what is no object was refused, and stands there as a text."""
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        found = arguments
    return found if isinstance(found, dict) else {"arguments": found}
