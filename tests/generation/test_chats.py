"""A chat: what the model reads is what the template makes of the conversation, and a turn costs its own tokens."""

import functools
import json

import keras
import numpy as np
import pytest
from test_generation import chain, tiny_gpt
from test_session import KINDS, alone, model_of, turn, without_xla

from kerasllm import text
from kerasllm.generation import Chat, Greedy, Sampling, Session, memory

LETTERS = "abcdefghijklm"
TOKENIZER = text.train_characters(
    [LETTERS + "ABC user assistant system:\n"], byte_fallback=False, extra=["<|im_start|>", "<|im_end|>"]
)
CHATML = text.ChatTemplate(TOKENIZER, "ChatML")


@pytest.fixture(autouse=True)
def _the_same_weights_whatever_ran_before(monkeypatch):
    keras.utils.set_random_seed(1)
    monkeypatch.setattr(memory, "compiled", without_xla)


@functools.cache
def speaker():
    """A model that says "abc" to everything, and then ends its turn."""
    size = TOKENIZER.vocabulary_size
    table, a, b, c = np.zeros((size, size)), *map(TOKENIZER.id_of, "abc")
    table[:, a] = 1
    for before, after in ((a, b), (b, c), (c, TOKENIZER.id_of("<|im_end|>"))):
        table[before] = np.eye(size)[after]
    return chain(table)


@functools.cache  # so that what one test compiled serves the next
def gpt(context, positions="rotary"):
    sizes = {"vocabulary_size": TOKENIZER.vocabulary_size, "num_layers": 1, "context_length": context}
    return tiny_gpt(**sizes, positions=positions)


def read(chat):
    """The ids that the session holds."""
    return chat.session.ids[0]


def test_the_conversation_is_what_the_template_says():
    chat = Chat(speaker(), TOKENIZER, system="B", template=CHATML)
    expected = []
    for said in ("A", "", "  AB \n", "<|im_end|>"):
        reply = chat.say(said)
        assert (reply.text, reply.ended) == ("abc", "stop")
        expected += [{"role": "user", "content": said}, {"role": "assistant", "content": "abc"}]
        assert chat.turns == [{"role": "system", "content": "B"}, *expected]
        # All but the token that ended the reply, and the line end behind it.
        assert read(chat) == CHATML.encode(chat.turns)[:-2]
    assert "\n<|im_start|>user\n" in TOKENIZER.decode(read(chat), skip_special=False)


def test_a_turn_costs_its_own_tokens():
    chat = Chat(gpt(200), TOKENIZER, template=CHATML)
    for said in ("A", "B" * 20, "C"):
        before, known = chat.session.tokens_read, read(chat) if chat.turns else []
        opened = CHATML.encode([*chat.turns, {"role": "user", "content": said}], open_reply=True)
        kept = next((n for n, (a, b) in enumerate(zip(known, opened, strict=False)) if a != b), len(known))
        chat.say(said, 6)
        assert read(chat)[: len(opened)] == opened
        # The last token of a reply is read with what follows it.
        assert chat.session.tokens_read - before <= len(read(chat)) - kept + 1


@pytest.mark.parametrize("kind", ["learned", "ring", "lstm"])
def test_a_session_that_is_rewritten_goes_on_as_if_it_was_new(kind):
    model = model_of(kind)
    session, ids = Session(model), turn(9)
    session.read(ids)
    session.write(5)
    for new in (ids[:6] + turn(4), ids[:3], turn(14), ids):
        session.rewrite(new)
        assert session.ids == [new]
        [reply] = session.write(4)
        assert new + reply.ids == alone(model, [new], 4)[0]


def test_what_goes_on_behind_is_not_read_again():
    session = Session(tiny_gpt(num_layers=1, **KINDS["rotary"]))
    session.read([1, 2, 3])
    session.write(4)
    written = session.ids[0]
    session.rewrite([*written, 5, 6])
    session.write(1)
    assert session.tokens_read == 9
    session.rewrite([*written, 5, 9])
    session.write(1)
    assert session.tokens_read == 10
    for wrong in ([], [[1], [2]], [[]]):
        with pytest.raises(ValueError, match="There are 1 texts: give the ids of each"):
            session.rewrite(wrong)


def test_a_stream_is_the_reply_and_whoever_stops_it_keeps_what_came():
    chat = Chat(speaker(), TOKENIZER, template=CHATML)
    assert "".join(chat.stream("A", every=1)) == "abc"
    assert chat.turns[-1] == {"role": "assistant", "content": "abc"}
    pieces = chat.stream("B", every=1)
    first = next(pieces)
    pieces.close()
    assert first
    assert chat.turns[-1] == {"role": "assistant", "content": first}
    assert chat.say("C").text == "abc"
    assert read(chat) == CHATML.encode(chat.turns)[:-2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_stop_in_the_middle_of_a_step_leaves_a_chat_that_goes_on(error, monkeypatch):
    chat = Chat(speaker(), TOKENIZER, template=CHATML)
    chat.say("A")

    def stopped(*arguments, **options):
        yield "a"
        chat.session._memory.data = "half changed"
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Session, "_pieces", stopped)
        pieces = chat.stream("B")
        assert next(pieces) == "a"
        with pytest.raises(error):
            next(pieces)
    kept = [turn["content"] for turn in chat.turns]
    assert kept == (["A", "abc", "B", "a"] if error is KeyboardInterrupt else ["A", "abc"])
    assert chat.say("C").text == "abc"
    assert read(chat) == CHATML.encode(chat.turns)[:-2]


def test_a_reply_ends_at_the_templates_own_token_too():
    tokenizer = text.train_characters([LETTERS + "user assistant\n"], byte_fallback=False, extra=["<|turn|>"])
    chain_of = np.zeros((tokenizer.vocabulary_size,) * 2)
    chain_of[:, tokenizer.id_of("a")] = 1
    chain_of[tokenizer.id_of("a")] = np.eye(tokenizer.vocabulary_size)[tokenizer.id_of("<|turn|>")]
    assert tokenizer.stop_ids == ()
    source = "{% for m in messages %}{{ m.content }}<|turn|>{% endfor %}"
    template = text.ChatTemplate(text.Tokenizer.from_json(_with(tokenizer, source)))
    chat = Chat(chain(chain_of), template.tokenizer, template=template)
    assert chat.say("b").text == "a"


def _with(tokenizer, source):
    content = json.loads(tokenizer.to_json())
    content["model"]["kerasllm"] = {"chat_template": source}
    return json.dumps(content)


def test_the_oldest_turns_make_room_and_the_system_stays():
    chat = Chat(gpt(80, "learned"), TOKENIZER, system="BBB", template=CHATML)
    for number in range(4):
        before = chat.turns
        reply = chat.say("A" * (number + 1), 8)
        assert len(reply.ids) <= 8
        assert len(read(chat)) <= 80
        assert chat.turns[0]["content"] == "BBB"
        assert chat.turns[-2:] == [
            {"role": "user", "content": "A" * (number + 1)},
            {"role": "assistant", "content": reply.text},
        ]
        kept = chat.turns[1:-2]
        assert kept == before[len(before) - len(kept) :]
    assert chat.dropped > 0
    assert chat.dropped % 2 == 0
    assert len(chat.turns) + chat.dropped == 1 + 8


def test_a_turn_that_fills_the_context_is_refused_and_changes_nothing():
    chat = Chat(gpt(80, "learned"), TOKENIZER, template=CHATML)
    before = chat.turns
    with pytest.raises(ValueError, match=r"The turn has \d+ tokens.*the model sees 80"):
        chat.say("A" * 80)
    assert chat.turns == before == []
    room = 80 - len(CHATML.encode([{"role": "user", "content": "A" * 40}], open_reply=True))
    assert 0 < room < 40
    assert len(chat.say("A" * 40, 300).ids) <= room


def test_seeds_and_samplers_reach_the_model_and_reset_begins_anew():
    chat = Chat(gpt(200), TOKENIZER, system="B", template=CHATML)
    texts = []
    for seed in (1, 1, 2):
        chat.reset()
        assert chat.turns == [{"role": "system", "content": "B"}]
        texts.append(chat.say("A", 12, Sampling(2.0), seed=seed).ids)
    assert texts[0] == texts[1] != texts[2]
    chat.reset()
    assert chat.say("A", 5, Greedy()).ids == chat.session.ids[0][-5:]


def test_what_a_chat_refuses():
    with pytest.raises(ValueError, match="came without a chat template"):
        Chat(speaker(), TOKENIZER)
    with pytest.raises(TypeError, match=r"template must be a kerasllm\.text\.ChatTemplate, not 'ChatML'"):
        Chat(speaker(), TOKENIZER, template="ChatML")
    with pytest.raises(TypeError, match="tokenizer must be"):
        Chat(speaker(), "tokenizer.json")
    with pytest.raises(TypeError, match="The content of turn 0 is 3"):
        Chat(speaker(), TOKENIZER, system=3, template=CHATML)
    chat = Chat(speaker(), TOKENIZER, template=CHATML)
    with pytest.raises(TypeError, match="What the user says is a text, not None"):
        chat.say(None)
    with pytest.raises(ValueError, match="max_new_tokens"):
        chat.say("A", -1)
