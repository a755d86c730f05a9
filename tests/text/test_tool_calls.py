"""Tools: how a prompt names them, and how calls are found in a text that comes in pieces."""

import json

import pytest

from kerasllm import text
from kerasllm.text.tool_calls import CallFinder, prompt_ids

CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;!?'\"(){}[]<>/_-+*=&#|\\\n"
TOKENIZER = text.train_characters([CHARACTERS], extra=["<|im_start|>", "<|im_end|>"])
CHATML = text.ChatTemplate(TOKENIZER, "ChatML")
ADD = {"name": "add", "arguments": {"a": 1, "b": 2}}
CALL = f"<tool_call>\n{json.dumps(ADD)}\n</tool_call>"
TOOL = {"type": "function", "function": {"name": "add", "description": "The sum", "parameters": {"type": "object"}}}
TURNS = [
    {"role": "user", "content": "What is 1 + 2?"},
    {"role": "assistant", "content": "", "tool_calls": [ADD]},
    {"role": "tool", "content": "3"},
    {"role": "tool", "content": "three"},
]
# A program with the parts that templates for tools have.
TEMPLATE = (
    "{% if tools %}<|im_start|>system{% for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}<|im_end|>"
    "{% endif %}{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user<tool_response>{{ m.content }}"
    "</tool_response>"
    "{% elif m.tool_calls %}<|im_start|>assistant {% for call in m.tool_calls %}<tool_call>"
    "{{ call.function | tojson }}</tool_call>{% endfor %}{% else %}<|im_start|>{{ m.role + '\\n' + m.content }}"
    "{% endif %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def found(written, names=("add",), size=3):
    """The text and the calls of what is written, in pieces."""
    finder, said, calls = CallFinder(names), "", []
    for start in range(0, len(written), size):
        more, new = finder.add(written[start : start + size])
        said, calls = said + more, calls + new
    more, new = finder.add("", last=True)
    assert finder.calls == len(calls + new)
    return said + more, [(call.name, json.loads(call.arguments)) for call in calls + new]


ONE = [("add", {"a": 1, "b": 2})]
WRITTEN = {
    "a call": (CALL, "", ONE),
    "words and a call": (f"Let me see.\n{CALL}", "Let me see.\n", ONE),
    "two calls": (f"{CALL}\n{CALL}", "", ONE * 2),
    "a list of calls": (f"<tool_call>[{json.dumps(ADD)}, {json.dumps(ADD)}]</tool_call>", "", ONE * 2),
    "words behind": (f"{CALL}\nDone.", "Done.", ONE),
    "not closed": (CALL.removesuffix("\n</tool_call>"), "", ONE),
    "an object alone, of Llama": ('{"name": "add", "parameters": {"a": 1, "b": 2}}', "", ONE),
    "JSON in JSON": ('<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>', "", [("add", {"a": 1})]),
    "no arguments": ('<tool_call>{"name": "add"}</tool_call>', "", [("add", {})]),
    "no JSON": ("<tool_call>add(1, 2)</tool_call>", "<tool_call>add(1, 2)</tool_call>", []),
    "another function": (CALL.replace("add", "sub"), CALL.replace("add", "sub"), []),
    "no call, then one": (f"<tool_call>{{</tool_call>{CALL}", "<tool_call>{</tool_call>", ONE),
    "an object that is none": ('{"sum": 3}', '{"sum": 3}', []),
    "a smaller sign": ("1 <tool_calm> 2 <", "1 <tool_calm> 2 <", []),
    "a list of numbers": ("[1, 2]", "[1, 2]", []),
    "nothing": ("", "", []),
    "depth": ("<tool_call>" + "[" * 5000, "<tool_call>" + "[" * 5000, []),
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_calls_are_found_whatever_the_pieces_are(name, size):
    written, said, calls = WRITTEN[name]
    assert found(written, size=size) == (said, calls)


def test_without_functions_everything_is_text_at_once():
    finder = CallFinder([])
    assert finder.add(CALL) == (CALL, [])


def test_text_in_front_of_a_call_is_given_out_as_it_comes():
    finder = CallFinder(["add"])
    assert finder.add("Let me ") == ("Let me ", [])
    assert finder.add("see <too") == ("see ", [])
    assert finder.add("th>") == ("<tooth>", [])


def test_a_template_without_a_place_for_tools_has_them_in_turns_of_system_and_user():
    called = {"type": "function", "function": ADD}
    turns = text.plain_tool_turns([TURNS[0], {**TURNS[1], "tool_calls": [called]}, *TURNS[2:]], [TOOL])
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert prompt_ids(CHATML, TURNS, [TOOL]) == CHATML.encode(turns, open_reply=True)
    assert prompt_ids(CHATML, TURNS[:1], []) == CHATML.encode(TURNS[:1], open_reply=True)


def spelled(template, ids):
    """Ids of characters and special tokens as a text."""
    return "".join(map(template.tokenizer.token_of, ids))


def test_a_template_with_a_place_for_tools_is_given_them(tmp_path):
    (tmp_path / "tokenizer.json").write_text(TOKENIZER.to_json(), "utf-8")
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    template = text.ChatTemplate(text.Tokenizer.load(tmp_path))
    assert template.takes_tools
    assert not CHATML.takes_tools
    rendered = spelled(template, prompt_ids(template, TURNS, [TOOL]))
    assert rendered == (
        f"<|im_start|>system\n{json.dumps(TOOL)}<|im_end|><|im_start|>user\nWhat is 1 + 2?<|im_end|>"
        f"<|im_start|>assistant <tool_call>{json.dumps(ADD)}</tool_call><|im_end|>"
        "<|im_start|>user<tool_response>3</tool_response><|im_end|>"
        "<|im_start|>user<tool_response>three</tool_response><|im_end|><|im_start|>assistant "
    )
    assert "The sum" not in spelled(template, prompt_ids(template, TURNS, []))
