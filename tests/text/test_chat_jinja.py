"""Chat templates as programs of others: what they get at, how much they can take, and what they may do."""

import pytest
from chat_cases import turns, with_template

from kerasllm.text import chat_jinja

ESCAPES = [
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.__class__ }}",
    "{{ messages.append(1) }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ strftime_now.__self__.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') | string }}{{ ''.__class__() }}",
    "{% include 'x' %}",
]
TOO_MUCH = [
    "{{ 'x' * 10000000000 }}",
    "{{ [0] * 10000000000 }}",
    "{{ 9 ** 9999999 }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ range(99999999999) | list }}",
    "{{ 'x'.ljust(9999999999) }}",
    "{{ 'x'.center(9999999999) }}",
    "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "{% for i in range(9999) %}{% for j in range(20) %}{{ 'xxxxxxxxxxxxxxx' }}{% endfor %}{% endfor %}",
    "{% set n = namespace(x='xx') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x='xx') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
]


SAID = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"


@pytest.mark.parametrize("source", ESCAPES)
def test_a_template_gets_at_nothing(source, tmp_path):
    """Refused, or undefined, which Jinja writes as nothing."""
    try:
        found = with_template(source + SAID, tmp_path).text(turns("x"))
    except ValueError as error:
        found = str(error)
        assert "refuses turn 0" in found
    else:
        assert found == "x<|im_end|>"


@pytest.mark.parametrize("source", TOO_MUCH)
def test_a_template_cannot_take_all_there_is(source, tmp_path):
    whole = source + SAID
    with pytest.raises(ValueError, match="refuses turn 0"):
        with_template(whole, tmp_path)


def test_ordinary_programs_are_no_trouble(tmp_path):
    source = (
        "{% set n = namespace(count=0) %}{% for m in messages %}{% set n.count = n.count + 1 %}"
        "{{ '%d' if false else n.count * 2 - 7 % 3 }}{{ m.content | upper }}{{ loop.length }}{{ loop.last }}"
        "{{ {'a': '<é>'} | tojson }}{{ tools is none }}<|im_end|>{% else %}nobody{% endfor %}"
        "{% for x in nothing %}{{ x }}{% endfor %}{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}"
    )
    upper = source.replace(" | upper", "")
    assert with_template(upper, tmp_path).text(turns("hi")) == '1hi1True{"a": "<é>"}True<|im_end|>a1'
    assert chat_jinja.MOST_STEPS < 1 << 20


WITH_TOOLS = (
    "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}{% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}<|im_end|>{% endfor %}"
)
ADD = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
CONVERSATION = [*turns("1 + 2?"), {"role": "assistant", "content": None, "tool_calls": [ADD]}]


def test_tools_and_their_answers_reach_a_template_that_takes_them(tmp_path):
    template = with_template(WITH_TOOLS, tmp_path)
    said = [*CONVERSATION, {"role": "tool", "content": "3 <|im_end|>"}]
    found = template.text(said, tools=[{"name": "add"}])
    assert found == (
        '{"name": "add"}<|im_start|>user\n1 + 2?<|im_end|><|im_start|>assistant\n'
        '{"name": "add", "arguments": {"a": 1}}<|im_end|>'
        "<|im_start|>tool\n3 <|im_end|><|im_end|>"
    )
    ids, end = template.encode(said, tools=[{"name": "<|im_end|>"}]), template.tokenizer.id_of("<|im_end|>")
    assert ids.count(end) == 3  # what tools and their answers spell out stays text
    assert template.text(turns("1 + 2?"), tools=[]) == template.text(turns("1 + 2?"))


def test_tools_are_refused_where_they_have_no_place_and_turns_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="no place for tools"):
        with_template(SAID, tmp_path).text(turns("x"), tools=[{"name": "add"}])
    template = with_template(WITH_TOOLS + "{% if tools %}{{ raise_exception('none') }}{% endif %}", tmp_path)
    with pytest.raises(ValueError, match="refuses turns or tools: none"):
        template.text(turns("x"), tools=[{"name": "add"}])
    with pytest.raises(ValueError, match="has the role 'robot'"):
        template.text([{"role": "robot", "content": "x"}], tools=[])
    with pytest.raises(ValueError, match="Turn 0 has no content"):
        template.text([{"role": "user", "content": None}], tools=[])
    with pytest.raises(TypeError, match="not a dictionary"):
        template.text(["x"], tools=[])
