"""Chat templates as programs: Jinja in a sandbox, for the templates that are not known by name."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kerasllm.common.extras import needed

MOST_CHARACTERS = 1 << 20  # of what a template adds to what the turns say, and of each text that it puts together
MOST_STEPS = 1 << 18  # of all loops together
# These make texts of any size from a small one.
_WITHOUT = ("batch", "center", "format", "indent", "slice", "wordwrap", "lipsum", "cycler", "random")


class TemplateError(ValueError):
    """What ``raise_exception`` of a template says, or what went wrong inside it."""


class JinjaForm:
    """A chat template that is run.

    It comes with files of others, so it runs in Jinja's sandbox: no attribute with an underscore, nothing that changes
    what it is given, and limits on its output, its loops and the texts it puts together. The names it finds are those
    of transformers' `apply_chat_template`: ``messages``, ``add_generation_prompt``, ``bos_token``, ...,
    ``raise_exception``, ``strftime_now``, ``tools``, and ``documents``, which are None.

    Args:
        source: the text of the template.
        mark: is given every text that stands in the template, and the tokens; nothing of what the turns say.

    Raises:
        ImportError: if jinja2 is not installed.
        ValueError: if the template cannot be read.
    """

    def __init__(self, source: str, mark: Callable[[str], str]):
        jinja2 = needed("jinja2", "chat")
        environment = _environment()
        try:
            tree = _marking(mark).visit(environment.parse(source))
            code = environment.compile(tree)
        except (jinja2.TemplateError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            where = f"line {line}: " if line else ""
            raise ValueError(
                f"The chat template of this tokenizer is no Jinja template ({where}{error}). Fetch its files again, or "
                "name a form: ChatTemplate(tokenizer, form='ChatML')."
            ) from None
        self.template = environment.template_class.from_code(environment, code, environment.make_globals(None))
        self.mark = mark

    def text(
        self,
        turns: Sequence[Mapping[str, Any]],
        open_reply: bool,
        tokens: Mapping[str, str],
        date: datetime.date,
        dated: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The text of a conversation.

        Args:
            turns: the turns, checked.
            open_reply: whether the head of a reply stands at the end.
            tokens: special tokens by the names they have in templates, such as ``bos_token``.
            date: the day that the template may ask for.
            dated: whether the day was chosen: the templates of Llama 3 then have it, whatever theirs is.
            tools: descriptions of functions that the model may call.

        Raises:
            TemplateError: if the template raises an error, or goes beyond a limit.
        """
        known: dict[str, Any] = {name: self.mark(token) for name, token in tokens.items()}
        known |= {"tools": [dict(tool) for tool in tools] if tools else None, "documents": None}
        known["add_generation_prompt"] = open_reply
        known |= {"messages": [dict(turn) for turn in turns], "strftime_now": date.strftime}
        if dated:
            known["date_string"] = f"{date:%d %b %Y}"
        most = MOST_CHARACTERS + 2 * sum(len(turn["content"]) for turn in turns)
        most += 2 * len(json.dumps([tools, [turn.get("tool_calls") for turn in turns]]))
        parts, size = [], 0
        try:
            for part in self.template.generate(known, counted_=_counter()):
                size += len(part)
                if size > most:
                    raise TemplateError(f"it writes more than {most:,} characters")
                parts.append(part)
        except TemplateError:
            raise
        except Exception as error:  # whatever a program of others does
            raise TemplateError(str(error) or type(error).__name__) from None
        return "".join(parts)


def _counter() -> Callable[[Iterable], Iterable]:
    """Something to walk through, counted; one count for all loops of a rendering."""
    steps = 0

    def counted(items):
        nonlocal steps
        for item in items:
            steps += 1
            if steps > MOST_STEPS:
                raise TemplateError(f"its loops take more than {MOST_STEPS:,} steps")
            yield item

    return counted


def _refuse(message: object) -> None:
    raise TemplateError(str(message))


def _json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    """JSON without Jinja's care for HTML, as transformers has it."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _checked(operator: str, left, right) -> None:
    """Refuse a sum, a product or a power that is larger than any template needs."""
    sized = [len(value) for value in (left, right) if isinstance(value, str | list | tuple)]
    numbers = [abs(value) for value in (left, right) if isinstance(value, int)]
    size = sum(sized) if operator == "+" else max(sized, default=1) * max(numbers, default=1)
    if operator == "**":
        size = max(numbers, default=0) ** 2 if max(numbers, default=0) < 1000 else MOST_CHARACTERS + 1
    if operator == "%" and isinstance(left, str):
        size = MOST_CHARACTERS + 1  # "%99999999d"
    if size > MOST_CHARACTERS:
        raise TemplateError(f"it makes something of {size:,} with {operator}")


@functools.cache
def _environment():
    needed("jinja2", "chat")
    from jinja2 import ext, sandbox

    class Generation(ext.Extension):
        """Templates that say themselves what is a reply: ``{% generation %}``; we find it in all of them."""

        tags = {"generation"}  # noqa: RUF012  Jinja's own way

        def parse(self, parser):
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    class Environment(sandbox.ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("*", "+", "**", "%"))

        def call_binop(self, context, operator, left, right):
            if isinstance(left, int) and isinstance(right, int) and operator in "+%":
                return super().call_binop(context, operator, left, right)
            _checked(operator, left, right)
            return super().call_binop(context, operator, left, right)

        def call(self, context, thing, *arguments, **named):
            if any(isinstance(one, int) and abs(one) > MOST_STEPS for one in arguments):
                raise TemplateError(f"it calls something with a number beyond {MOST_STEPS:,}")
            return super().call(context, thing, *arguments, **named)

    made = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols])
    for name in _WITHOUT:
        made.filters.pop(name, None)
        made.globals.pop(name, None)
    made.filters["tojson"] = _json
    made.globals["raise_exception"] = _refuse
    return made


def _marking(mark: Callable[[str], str]):
    """A visitor that marks the texts of a template, counts its loops, and joins texts where sizes are checked."""
    from jinja2 import nodes, visitor

    class Marking(visitor.NodeTransformer):
        def visit_TemplateData(self, node):  # noqa: N802  Jinja's name
            return nodes.TemplateData(mark(node.data), lineno=node.lineno)

        def visit_Const(self, node):  # noqa: N802
            return nodes.Const(mark(node.value), lineno=node.lineno) if isinstance(node.value, str) else node

        def visit_For(self, node):  # noqa: N802
            node = self.generic_visit(node)
            name = nodes.Name("counted_", "load", lineno=node.lineno)
            node.iter = nodes.Call(name, [node.iter], [], None, None, lineno=node.lineno)
            return node

        def visit_Concat(self, node):  # noqa: N802
            texts = [
                nodes.Filter(self.visit(one), "string", [], [], None, None, lineno=node.lineno) for one in node.nodes
            ]
            return functools.reduce(lambda left, right: nodes.Add(left, right, lineno=node.lineno), texts)

    return Marking()
