"""What special tokens are for, in files as others write them; and ids without a token."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import AddedToken

from kerasllm import text
from kerasllm.text import Tokenizer

WORDS = ["low", "lower", "new"]
LLAMA = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>"]
QWEN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
GEMMA = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
T5 = ["<pad>", "</s>", "<unk>", "<extra_id_0>"]
TEMPLATE = "{% for message in messages %}{{ message['content'] }}<|im_end|>\n{% endfor %}"


def backend_with(special: list[str]) -> tokenizers.Tokenizer:
    """A small byte-level tokenizer whose special tokens stand behind the bytes, as in most files."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(WORDS, trainer)
    backend.add_special_tokens(special)
    return backend


def folder_with(path, special: list[str], **files):
    """A folder as it comes from a hub: tokenizer.json and the files beside it."""
    backend = backend_with(special)
    backend.save(str(path / "tokenizer.json"))
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content), "utf-8")
    return path


def names(tokenizer: Tokenizer) -> dict[str, str]:
    """The roles by what the ids say, not by what `roles` says."""
    ids = {
        "bos": tokenizer.bos_id,
        "eos": tokenizer.eos_id,
        "unknown": tokenizer.unknown_id,
        "mask": tokenizer.mask_id,
        "end_of_turn": tokenizer.end_of_turn_id,
        "pad": tokenizer.pad_id if "pad" in tokenizer.roles else None,
    }
    found = {role: tokenizer.token_of(id) for role, id in ids.items() if id is not None}
    assert found == tokenizer.roles
    return found


def stops(tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.token_of(id) for id in tokenizer.stop_ids]


# Names alone --------------------------------------------------------------------------------------

BY_NAME = {
    "Llama 3": (
        LLAMA,
        {"bos": "<|begin_of_text|>", "eos": "<|end_of_text|>", "end_of_turn": "<|eot_id|>"},
        ["<|end_of_text|>", "<|eot_id|>"],
    ),
    "Qwen": (QWEN, {"eos": "<|endoftext|>", "end_of_turn": "<|im_end|>"}, ["<|endoftext|>", "<|im_end|>"]),
    "Gemma": (
        GEMMA,
        {"pad": "<pad>", "eos": "<eos>", "bos": "<bos>", "unknown": "<unk>", "mask": "<mask>",
         "end_of_turn": "<end_of_turn>"},
        ["<eos>", "<end_of_turn>"],
    ),
    "GPT-2": (["<|endoftext|>"], {"bos": "<|endoftext|>", "eos": "<|endoftext|>"}, ["<|endoftext|>"]),
    "BERT": (
        BERT,
        {"pad": "[PAD]", "unknown": "[UNK]", "bos": "[CLS]", "eos": "[SEP]", "mask": "[MASK]"},
        ["[SEP]"],
    ),
    "RoBERTa": (
        ROBERTA,
        {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unknown": "<unk>", "mask": "<mask>"},
        ["</s>"],
    ),
    "T5": (T5, {"pad": "<pad>", "eos": "</s>", "unknown": "<unk>"}, ["</s>"]),
}  # fmt: skip


@pytest.mark.parametrize("family", BY_NAME)
def test_without_other_files_the_names_of_the_families_are_known(family, tmp_path):
    special, roles, ends = BY_NAME[family]
    tokenizer = Tokenizer.load(folder_with(tmp_path, special))
    assert names(tokenizer) == roles
    assert stops(tokenizer) == ends
    assert tokenizer.chat_template is None
    # No part of ours in a file where no other file said anything.
    assert "kerasllm" not in tokenizer.to_json()


# Files beside it ----------------------------------------------------------------------------------


def llama_chat(path):
    return folder_with(
        path,
        LLAMA,
        tokenizer_config={"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "chat_template": TEMPLATE},
        special_tokens_map={"bos_token": {"content": "<|begin_of_text|>", "lstrip": False}},
        generation_config={"bos_token_id": 262, "eos_token_id": [263, 266, 267], "temperature": 0.6},
    )


def qwen_chat(path):
    return folder_with(
        path,
        QWEN,
        tokenizer_config={
            "bos_token": None,
            "eos_token": {"__type": "AddedToken", "content": "<|im_end|>", "special": True},
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "chat_template": TEMPLATE,
        },
        generation_config={"bos_token_id": 262, "eos_token_id": [264, 262], "pad_token_id": 262},
    )


@pytest.fixture(params=[False, True], ids=["as loaded", "saved and loaded"])
def again(request, tmp_path):
    """Either the tokenizer, or what comes back from a file of it in another folder."""

    def keep(tokenizer):
        other = tmp_path / "other"
        other.mkdir()
        return tokenizer.save(other) or Tokenizer.load(other) if request.param else tokenizer

    return keep


def test_the_files_of_llama_say_who_ends_a_text(tmp_path, again):
    tokenizer = again(Tokenizer.load(llama_chat(tmp_path)))
    expected = {"bos": "<|begin_of_text|>", "eos": "<|eot_id|>", "end_of_turn": "<|eot_id|>"}
    assert names(tokenizer) == expected
    assert stops(tokenizer) == ["<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"]
    assert tokenizer.chat_template == TEMPLATE
    with pytest.raises(ValueError, match=r"no special token for padding.*pad='<\|eot_id\|>'"):
        _ = tokenizer.pad_id


def test_the_files_of_qwen_say_that_no_token_begins_a_text(tmp_path, again):
    tokenizer = again(Tokenizer.load(qwen_chat(tmp_path)))
    assert names(tokenizer) == {"eos": "<|im_end|>", "end_of_turn": "<|im_end|>", "pad": "<|endoftext|>"}
    assert tokenizer.bos_id is None  # generation_config.json has a number for it all the same
    assert stops(tokenizer) == ["<|im_end|>", "<|endoftext|>"]


def test_bert_and_its_two_ends(tmp_path, again):
    config = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": None}
    tokenizer = again(Tokenizer.load(folder_with(tmp_path, BERT, tokenizer_config=config)))
    assert names(tokenizer) == BY_NAME["BERT"][1]


def test_generation_config_alone_is_read(tmp_path, again):
    folder = folder_with(tmp_path, ["<x>", "<y>", "<z>"], generation_config={"eos_token_id": 264, "pad_token_id": 262})
    tokenizer = again(Tokenizer.load(folder))
    assert names(tokenizer) == {"eos": "<z>", "pad": "<x>"}
    assert tokenizer.stop_ids == (264,)


def test_an_ordinary_token_that_ends_a_text_stays_ordinary(tmp_path, again):
    end = backend_with([]).token_to_id("Ċ")
    tokenizer = again(Tokenizer.load(folder_with(tmp_path, QWEN, generation_config={"eos_token_id": [end]})))
    assert end in tokenizer.stop_ids
    assert tokenizer.decode(tokenizer.encode("a\n")) == "a\n"
    assert tokenizer.eos_id == tokenizer.id_of("<|endoftext|>")


def test_padding_with_ordinary_text_is_no_padding(tmp_path, again):
    tokenizer = again(Tokenizer.load(folder_with(tmp_path, QWEN, tokenizer_config={"pad_token": "!"})))
    assert "pad" not in tokenizer.roles
    assert tokenizer.decode(tokenizer.encode("new!")) == "new!"


def test_a_role_makes_an_added_token_special(tmp_path, again):
    backend = backend_with([])
    backend.add_tokens([AddedToken("<turn/>", special=False)])
    backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<turn/>"}')
    tokenizer = again(Tokenizer.load(tmp_path))
    assert tokenizer.special_tokens == ["<turn/>"]
    assert tokenizer.eos_id == 262
    assert 262 not in tokenizer.encode("<turn/>")
    assert tokenizer.decode([*tokenizer.encode("<turn/>"), 262]) == "<turn/>"


def test_the_choice_of_padding_wins_over_files(tmp_path, again):
    tokenizer = again(Tokenizer.load(qwen_chat(tmp_path), pad="<|im_start|>"))
    assert tokenizer.pad_id == tokenizer.id_of("<|im_start|>")
    assert tokenizer.eos_id == tokenizer.id_of("<|im_end|>")


def test_a_template_may_stand_in_a_file_of_its_own_or_in_a_list(tmp_path):
    listed = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    folder = folder_with(tmp_path, QWEN, tokenizer_config={"chat_template": listed})
    assert Tokenizer.load(folder).chat_template == "D"
    (folder / "chat_template.jinja").write_text("你好 {{ x }}", "utf-8")
    assert Tokenizer.load(folder).chat_template == "你好 {{ x }}"
    assert Tokenizer.load(folder / "tokenizer.json").chat_template == "你好 {{ x }}"


def test_what_was_read_survives_every_way_of_keeping_a_tokenizer(tmp_path):
    tokenizer = Tokenizer.load(qwen_chat(tmp_path))
    (tmp_path / "kept").mkdir()
    tokenizer.save(tmp_path / "kept" / "ours.json")
    copies = {
        "json": Tokenizer.from_json(tokenizer.to_json()),
        "pickle": pickle.loads(pickle.dumps(tokenizer)),
        "file": Tokenizer.load(tmp_path / "kept" / "ours.json"),
        "twice": Tokenizer.from_json(Tokenizer.from_json(tokenizer.to_json()).to_json()),
    }
    for way, copy in copies.items():
        assert names(copy) == names(tokenizer), way
        assert copy.stop_ids == tokenizer.stop_ids, way
        assert copy.chat_template == TEMPLATE, way
        assert copy.fingerprint == tokenizer.fingerprint, way
    # Other programs read the file, and see the same tokens.
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "kept" / "ours.json"))
    assert library.encode("lower new").ids == tokenizer.encode("lower new")
    # What stands beside a file that says all itself is not asked.
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|im_start|>"}')
    assert names(Tokenizer.load(tmp_path)) == names(tokenizer)


def test_a_vocabulary_may_hold_the_name_of_our_part(tmp_path):
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"kerasllm": 0, "<eos>": 1}, unk_token="kerasllm"))
    backend.add_special_tokens(["<eos>"])
    assert Tokenizer.from_json(backend.to_str()).eos_id == 1


def test_the_fingerprint_of_the_model_that_ships_is_what_it_was():
    tokenizer = Tokenizer.load(Path(__file__).parents[2] / "checkpoints" / "king-james-gpt")
    assert tokenizer.fingerprint == "0c2460d01cdc357b"
    assert Tokenizer.from_json(tokenizer.to_json()).fingerprint == "0c2460d01cdc357b"


WRONG_FILES = {
    "no JSON": ({"tokenizer_config.json": "{"}, r"tokenizer_config\.json is no JSON file"),
    "not UTF-8": ({"tokenizer_config.json": b"\xff\xfe{"}, r"tokenizer_config\.json is no JSON file"),
    "a list": ({"generation_config.json": "[1]"}, r"generation_config\.json holds a list"),
    "a number": ({"tokenizer_config.json": '{"eos_token": 3}'}, r"eos_token in .* must be a text or null, not 3"),
    "no such token": ({"special_tokens_map.json": '{"eos_token": "<e>"}'}, r"names the eos_token '<e>', which"),
    "no such id": ({"generation_config.json": '{"eos_token_id": [262, 999]}'}, "names the eos_token_id 999"),
    "a bool": ({"generation_config.json": '{"eos_token_id": true}'}, "whole number"),
    "an id as text": ({"generation_config.json": '{"eos_token_id": "262"}'}, "whole number"),
    "a wrong template": ({"tokenizer_config.json": '{"chat_template": 1}'}, "chat_template in .* must be a text"),
}


@pytest.mark.parametrize("wrong", WRONG_FILES)
def test_a_wrong_file_is_named(wrong, tmp_path):
    files, words = WRONG_FILES[wrong]
    folder_with(tmp_path, QWEN)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=words):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    "part", [3, [], {"roles": 3}, {"roles": {"eos": 3}}, {"stop_ids": 3}, {"stop_ids": ["a"]}, {"chat_template": {}}]
)
def test_a_part_of_ours_that_was_changed_is_refused(part, tmp_path):
    content = json.loads(Tokenizer.load(qwen_chat(tmp_path)).to_json())
    content["model"]["kerasllm"] = part
    with pytest.raises(ValueError, match=r"this text|cannot be read"):
        Tokenizer.from_json(json.dumps(content))


# Holes --------------------------------------------------------------------------------------------


def with_holes() -> Tokenizer:
    """Ids 0 to 9 of which 3, 5 and 6 have no token."""
    ids = {"<pad>": 0, "<unk>": 1, "low": 2, "lower": 4, "new": 7}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    content = json.loads(backend.to_str())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    named = {0: "<pad>", 8: "<eos>", 9: "<user>"}
    content["added_tokens"] = [{"id": id, "content": token, **flags} for id, token in named.items()]
    content["model"]["vocab"] |= {"<eos>": 8, "<user>": 9}
    return Tokenizer.from_json(json.dumps(content))


def test_every_id_that_encode_gives_is_below_the_size_and_decodes():
    tokenizer = with_holes()
    ids = tokenizer.encode("low lower new x")
    assert ids == [2, 4, 7, 1]
    assert max(ids) < tokenizer.vocabulary_size == len(tokenizer.vocabulary) == 10
    assert tokenizer.decode(ids) == "low lower new <unk>"
    assert tokenizer.decode([8, 9], skip_special=False) == "<eos> <user>"
    assert tokenizer.eos_id == 8
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.vocabulary == tokenizer.vocabulary


def test_a_hole_has_a_name_and_is_refused():
    tokenizer = with_holes()
    assert tokenizer.holes == {3, 5, 6}
    for id, token in enumerate(tokenizer.vocabulary):
        if id in tokenizer.holes:
            assert token == f"<hole {id}>"
            with pytest.raises(ValueError, match=f"'<hole {id}>' is not in the vocabulary"):
                tokenizer.id_of(token)
            for use in (
                tokenizer.token_of,
                lambda one: tokenizer.decode([2, one]),
                lambda one: tokenizer.decode_batch([[one]]),
            ):
                with pytest.raises(ValueError, match=rf"Id {id} at position [01] has no token.*hole"):
                    use(id)
        else:
            assert tokenizer.id_of(token) == id
            assert tokenizer.token_of(np.int64(id)) == token
    assert text.train_words(WORDS, 10).holes == frozenset()


def test_an_id_beyond_reason_is_refused():
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    with pytest.raises(ValueError, match="a token with the id 4000000000; ids up to 4194303"):
        Tokenizer.from_json(backend.to_str().replace('"b":1', '"b":4000000000'))
