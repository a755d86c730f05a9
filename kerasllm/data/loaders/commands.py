"""Commands to a house, made from templates: every one with its intent and the places of its slots."""

from __future__ import annotations

import hashlib
import json
import random
import re
import tomllib
from functools import cache
from itertools import groupby

from kerasllm.common.extras import needed
from kerasllm.data.catalogue import Dataset, folder
from kerasllm.data.errors import ArchiveError
from kerasllm.data.loaders.registry import loads, members
from kerasllm.data.splits import clean, fold

pd = needed("pandas", "data")

EACH = 8  # commands made of one template, fewer where it has fewer
LANGUAGES = ["english", "chinese"]  # the order of the members in the catalogue

Piece = tuple[str, str]  # some text, and the slot that it fills or ""
Part = str | tuple[str, list]  # a text, or the kind of a bracket and its options
_TOKEN = re.compile(r"[\u4e00-\u9fff]|[^\W\d\u4e00-\u9fff]+(?:'[a-z]+)?|\d+|[^\w\s]")


@loads("home-assistant-intents")
def _home_assistant_intents(dataset: Dataset) -> pd.DataFrame:
    with open(folder() / "home-assistant-slots.toml", "rb") as file:
        ours = tomllib.load(file)
    rows = []
    for language, content in zip(LANGUAGES, members(dataset), strict=True):
        table = json.loads(content)
        grammar = Grammar(table["expansion_rules"], table["lists"], ours[language])
        for intent, entry in table["intents"].items():
            for block in entry["data"]:
                domain = block.get("requires_context", {}).get("domain", "any")
                for template in block["sentences"]:
                    made = grammar.commands(template, domain if isinstance(domain, str) else domain[0])
                    rows += [(*command, intent.removeprefix("Hass"), language, template) for command in made]
    frame = pd.DataFrame(rows, columns=["text", "words", "tags", "label", "language", "template"])
    frame["label"] = pd.Categorical(frame["label"])
    frame["language"] = pd.Categorical(frame["language"], LANGUAGES)
    result = clean(frame, frame["text"].map(fold), frame["template"].map(str.encode))
    return result[["text", "label", "split", "words", "tags", "language", "template"]]


class Grammar:
    """The templates' language: ``[may be left out]``, ``(one|other)``, ``(any;order)``, ``<rule>``, ``{list:slot}``.

    Args:
        rules: the text of each rule.
        lists: what may stand for a list: values, or a range of numbers.
        ours: values for lists that the user of a house would fill in, for some by domain ("name-light").
    """

    def __init__(self, rules: dict[str, str], lists: dict[str, dict], ours: dict[str, list[str]]):
        self.rules, self.lists, self.ours = rules, lists, ours

    def commands(self, template: str, domain: str = "any") -> list[tuple[str, str, str]]:
        """Up to `EACH` different commands of a template, always the same: text, words, tags.

        Raises:
            ArchiveError: if the template cannot be read.

        Example:
            >>> Grammar({}, {}, {"area": ["hall"]}).commands("(light|lamp) in [the] {area}")[0]
            ('light in hall', 'light in hall', 'O O B-area')
        """
        found: dict[str, tuple[str, str, str]] = {}
        for number in range(3 * EACH):
            seed = hashlib.sha256(f"{domain} {template} {number}".encode()).digest()
            chance = random.Random(int.from_bytes(seed[:8], "big"))
            command = _tagged(self._make(parse(template), chance, domain))
            found.setdefault(command[0], command)
            if len(found) == EACH:
                break
        return list(found.values())

    def _make(self, part: Part, chance: random.Random, domain: str) -> list[Piece]:
        if not isinstance(part, str):
            kind, options = part
            if kind == "[" and chance.random() < 0.5:
                return []
            # What may stand in any order is set apart by spaces.
            apart = [[*option, " "] for option in options]
            chosen = chance.sample(apart, len(apart)) if kind == ";" else [chance.choice(options)]
            return [piece for option in chosen for inner in option for piece in self._make(inner, chance, domain)]
        if part.startswith("<"):
            return self._make(parse(self.rules[part[1:-1]]), chance, domain)
        if part.startswith("{"):
            name, _, slot = part[1:-1].partition(":")
            return [(self._value(name, chance, domain), slot or name)]
        return [(part, "")]

    def _value(self, name: str, chance: random.Random, domain: str) -> str:
        """Something that may stand for a list."""
        known = self.lists.get(name, {})
        if "range" in known:
            numbers = known["range"]
            return str(chance.randrange(numbers["from"], numbers["to"] + 1, numbers.get("step", 1)))
        if "values" in known:
            value = chance.choice(known["values"])
            template = value if isinstance(value, str) else value["in"]
            return "".join(text for text, _ in self._make(parse(template), chance, domain))
        values = self.ours.get(f"{name}-{domain}") or self.ours.get(name)
        if not values:
            raise ArchiveError(f"Nothing is known to stand for {{{name}}}. Add it to home-assistant-slots.toml.")
        return chance.choice(values)


@cache
def parse(template: str) -> Part:
    """The parts of a template: texts, and brackets with their kind and what stands between their bars.

    Raises:
        ArchiveError: if a bracket is not closed or never opened.

    Example:
        >>> parse("[the] <light> (on|off)")
        ('(', [[('[', [['the']]), ' ', '<light>', ' ', ('(', [['on'], ['off']])]])
    """
    tokens = re.findall(r"<[^>]*>|\{[^}]*\}|[^()\[\]|;<{]+|.", template)[::-1]

    def sequence(kind: str, end: str) -> Part:
        options: list[list[Part]] = [[]]
        while tokens and tokens[-1] not in (")", "]"):
            token = tokens.pop()
            if token in ("|", ";"):
                kind = ";" if token == ";" else kind
                options.append([])
            elif token in ("(", "["):
                options[-1].append(sequence(token, ")" if token == "(" else "]"))
            else:
                options[-1].append(token)
        if (tokens.pop() if tokens else "") != end:
            raise ArchiveError(f"The template {template!r} has a bracket that is not closed, or never opened.")
        return kind, options

    return sequence("(", "")


def _tagged(pieces: list[Piece]) -> tuple[str, str, str]:
    """Text, words and tags of a command: a Chinese character, a word, a number or a mark is one token."""
    words, tags, text = [], [], "".join(text for text, _ in pieces)
    # Texts side by side are one: "light" and "s".
    for slot, group in groupby(enumerate(pieces), key=lambda one: (one[0], one[1][1]) if one[1][1] else ""):
        found = _TOKEN.findall("".join(piece[0] for _, piece in group))
        name = slot[1] if slot else ""
        words += found
        tags += [f"B-{name}"] + [f"I-{name}"] * (len(found) - 1) if name else ["O"] * len(found)
    return " ".join(text.split()), " ".join(words), " ".join(tags)
