"""Writes chat.json: the ids that transformers gives to the conversations of tests/text/chat_cases.py.

    python tests/text/data/make_chat.py TEMPLATES [tokenizer.json of SmolLM2]

needs transformers and jinja2, and tests/text on PYTHONPATH. TEMPLATES is a folder with the templates as their makers
publish them, named as in SOURCES; the files of TRL 1.16 (trl/chat_templates) are such copies. Templates under the
Apache licence are kept in chat.json; of the others, under licences of their own, only ids and the SHA-256. Prints that
table for kerasllm/text/chat_forms.py, after every form was compared with its template on every conversation.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import tokenizers
import transformers
from chat_cases import CONVERSATIONS, backend, config

from kerasllm.text import Tokenizer
from kerasllm.text.chat import ChatTemplate

# Form, file, whether it may be kept. SmolLM2's is in its tokenizer_config.json, and in files of llama.cpp made from it.
SOURCES = [
    ("SmolLM2", "smollm2.jinja", True),
    ("Qwen 2.5", "qwen2_5.jinja", True),
    ("Llama 3", "llama3.jinja", False),
    ("Llama 3.2", "llama3_2.jinja", False),
    ("Llama 3.2", "llama3_1.jinja", False),
    ("Gemma 3", "gemma3.jinja", False),
]
LLAMAS_DATE = {"date_string": "26 Jul 2024"}  # transformers would say today's


def asked(tokenizer, turns, open_reply, tokenize):
    return tokenizer.apply_chat_template(
        turns, add_generation_prompt=open_reply, tokenize=tokenize, return_dict=False, **LLAMAS_DATE
    )


def compared(form, template, made):
    """The ids of all conversations, after a comparison with ours."""
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=made, **config(form, template))
    folder = Path(tempfile.mkdtemp())
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config(form, template)), "utf-8")
    ours = ChatTemplate(Tokenizer.load(folder), form)
    found = {}
    for name, turns in CONVERSATIONS.items():
        for open_reply in {False, turns[-1]["role"] == "user"}:
            ids = asked(theirs, turns, open_reply, True)
            assert ours.text(turns, open_reply) == asked(theirs, turns, open_reply, False), (form, name)
            assert ours.encode(turns, open_reply) == ids, (form, name)
            found[f"{name}, open" if open_reply else name] = ids
    return found


def main(folder, smollm2=None):
    kept, table, ids = {}, {}, {}
    for form, file, free in SOURCES:
        template = (Path(folder) / file).read_text("utf-8").removesuffix("\n")
        table[hashlib.sha256(template.encode()).hexdigest()] = form
        kept |= {form: template} if free else {}
        found = compared(form, template, backend(form))
        assert ids.setdefault(form, found) == found
    if smollm2:
        ids["SmolLM2 itself"] = compared("SmolLM2", kept["SmolLM2"], tokenizers.Tokenizer.from_file(smollm2))
    content = {"transformers": transformers.__version__, "known": table, "templates": kept, "ids": ids}
    (Path(__file__).parent / "chat.json").write_text(json.dumps(content, indent=0, ensure_ascii=False), "utf-8")
    print(json.dumps(table, indent=4))


if __name__ == "__main__":
    main(*sys.argv[1:])
