"""What the special tokens of a tokenizer are for: said by files, or else read from their names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers

from kerasllm.common import whole_number

# The first name is ours. The others: BERT; RoBERTa, T5 and Llama 2; Llama 3; GPT-2; the Qwen family.
ROLES = {
    "pad": ("<pad>", "[PAD]", "<|finetune_right_pad_id|>"),
    "unknown": ("<unk>", "[UNK]"),
    "bos": ("<bos>", "[CLS]", "<s>", "<|begin_of_text|>", "<|endoftext|>"),
    "eos": ("<eos>", "[SEP]", "</s>", "<|end_of_text|>", "<|endoftext|>"),
    "mask": ("<mask>", "[MASK]"),
    "end_of_turn": ("<end_of_turn>", "<|eot_id|>", "<|im_end|>"),
}
# BERT has a token for the class in front and one that separates; in a single text they are its two ends.
_KEYS = {
    "pad": ("pad_token",),
    "unknown": ("unk_token",),
    "bos": ("bos_token", "cls_token"),
    "eos": ("eos_token", "sep_token"),
    "mask": ("mask_token",),
    "end_of_turn": ("eot_token",),
}
_KEY = "kerasllm"


@dataclass(frozen=True)
class Roles:
    """What files say about the special tokens, and what they say beside.

    Args:
        tokens: for each role that they speak of its token, or None where they say that there is none.
        stop_ids: more ids that end a text.
        chat_template: the Jinja template of a conversation.
    """

    tokens: Mapping[str, str | None] = field(default_factory=dict)
    stop_ids: tuple[int, ...] = ()
    chat_template: str | None = None

    def __bool__(self) -> bool:
        return bool(self.tokens or self.stop_ids or self.chat_template is not None)

    def resolved(self, special: Mapping[str, int]) -> dict[str, str]:
        """The token of each role that there is: as the files say, or else by its name.

        Args:
            special: the special tokens and their ids.
        """
        found = {}
        for role, names in ROLES.items():
            token = self.tokens[role] if role in self.tokens else _by_name(role, names, special)
            if token in special:
                found[role] = token
        return found

    def written_into(self, text: str) -> str:
        """The text of a tokenizer.json that holds all this too.

        It goes into the part about the model: there other programs skip what they do not know.
        """
        if not self:
            return text
        content = json.loads(text)
        parts = {"roles": dict(self.tokens), "stop_ids": list(self.stop_ids), "chat_template": self.chat_template}
        content["model"][_KEY] = {name: part for name, part in parts.items() if part}
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def roles_in(text: str, what: str) -> Roles | None:
    """What `Roles.written_into` wrote, or None.

    Args:
        text: the text of a tokenizer.json.
        what: a name of the text, for the message.

    Raises:
        ValueError: if something else stands in its place.
    """
    if f'"{_KEY}"' not in text:
        return None
    parts = json.loads(text)["model"].get(_KEY)
    if parts is None:
        return None
    try:
        tokens = {role: _token(parts["roles"][role], role, what) for role in ROLES if role in parts.get("roles", {})}
        stop_ids = tuple(_id(id, "stop_ids", what) for id in parts.get("stop_ids", ()))
        return Roles(tokens, stop_ids, _template(parts.get("chat_template"), what))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"The part {_KEY!r} of {what} cannot be read ({error}). Save the tokenizer again.") from None


def roles_beside(folder: Path, backend: tokenizers.Tokenizer) -> Roles:
    """What the files beside a tokenizer.json say: tokenizer_config.json and others, as transformers writes them.

    Args:
        folder: the folder of the tokenizer.json.
        backend: the tokenizer.

    Raises:
        ValueError: if one of the files is broken, or speaks of a token that the tokenizer does not have.
    """
    config_path, map_path = folder / "tokenizer_config.json", folder / "special_tokens_map.json"
    generation_path = folder / "generation_config.json"
    config, special_map, generation = (_content(path) for path in (config_path, map_path, generation_path))
    tokens: dict[str, str | None] = {}
    for role, keys in _KEYS.items():
        said = [(file[key], key, path) for file, path in ((config, config_path), (special_map, map_path))
                for key in keys if key in file]  # fmt: skip
        named = [(token, key, path) for value, key, path in said if (token := _token(value, key, path)) is not None]
        if named:
            tokens[role] = _known(*named[0], backend)
        elif said:
            tokens[role] = None
    special = {id: token.content for id, token in backend.get_added_tokens_decoder().items() if token.special}
    for role in ("bos", "eos", "pad"):
        if role not in tokens:
            ids = _ids(generation, f"{role}_token_id", generation_path, backend)
            if ids and ids[0] in special:
                tokens[role] = special[ids[0]]
    stop_ids = _ids(generation, "eos_token_id", generation_path, backend)
    template = _template(config.get("chat_template"), config_path)
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        template = _template(jinja.read_text("utf-8"), jinja)
    return Roles(tokens, stop_ids, template)


def with_special(backend: tokenizers.Tokenizer, roles: Roles) -> tokenizers.Tokenizer:
    """The tokenizer, or a copy in which the tokens with a role are special, where they are no ordinary text."""
    added = {token.content: token.special for token in backend.get_added_tokens_decoder().values()}
    names = [token for token in roles.tokens.values() if token is not None and not added.get(token, False)]
    # Brackets around it, and in the vocabulary: as files made from SentencePiece have "</s>".
    bracketed = [token for token in names if token[:1] + token[-1:] in ("<>", "[]")]
    missing = [
        token for token in names if token in added or (token in bracketed and backend.token_to_id(token) is not None)
    ]
    if not missing:
        return backend
    copy = tokenizers.Tokenizer.from_str(backend.to_str())
    copy.add_special_tokens(missing)
    return copy


def _by_name(role: str, names: tuple[str, ...], special: Mapping[str, int]) -> str | None:
    # GPT-2 has one token for both ends. The Qwen family has it too, and begins a text with none.
    if role == "bos" and "<|im_end|>" in special:
        names = tuple(name for name in names if name != "<|endoftext|>")
    return next((name for name in names if name in special), None)


def _content(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file ({error}). Mend it, fetch it again, or take it away.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not an object {{...}}. Fetch it again.")
    return content


def _token(value: Any, key: str, where: object) -> str | None:
    if isinstance(value, dict):
        value = value.get("content")
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} in {where} must be a text or null, not {value!r}.")
    return value


def _known(token: str, key: str, path: Path, backend: tokenizers.Tokenizer) -> str:
    if backend.token_to_id(token) is None:
        raise ValueError(
            f"{path} names the {key} {token!r}, which tokenizer.json beside it does not have. "
            "Fetch both files again, or take the line out."
        )
    return token


def _ids(content: dict, key: str, path: Path, backend: tokenizers.Tokenizer) -> tuple[int, ...]:
    value = content.get(key)
    found = tuple(_id(id, key, path) for id in (value if isinstance(value, list) else [] if value is None else [value]))
    for id in found:
        if backend.id_to_token(id) is None:
            raise ValueError(
                f"{path} names the {key} {id}, an id that tokenizer.json beside it does not have. "
                "Fetch both files again, or take the line out."
            )
    return found


def _id(value: Any, key: str, where: object) -> int:
    return whole_number(f"{key} in {where}", value, 0, (1 << 32) - 1)


def _template(value: Any, where: object) -> str | None:
    """One template, or the one called "default" of a list of them."""
    if isinstance(value, list):
        named = {one.get("name"): one.get("template") for one in value if isinstance(one, dict)}
        value = named.get("default")
    if value is not None and not isinstance(value, str):
        raise ValueError(f"chat_template in {where} must be a text, a list of templates or null, not {value!r}.")
    return value or None
