"""Conversations and small tokenizers for the tests of chat templates; make_chat.py has them too."""

import json

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from kerasllm.text import ChatTemplate, Tokenizer

CORPUS = [
    "system user assistant model\n\nYou are a helpful AI assistant.\n\n\nHello! How are you today? 你好，世界。\n",
    "Cutting Knowledge Date: December 2023 Today Date: 26 Jul 2024\n\nWhat is the weather like? It is sunny.  \n",
    "user\n\n assistant\n\n\tmodel\n<|im_end|> <end_of_turn> 🙂👍🏽 é café 12345\n",
] * 3
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SPECIAL = {
    "SmolLM2": CHATML,
    "Qwen 2.5": CHATML,
    "Llama 3": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "Gemma 3": ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
}
SPECIAL["Llama 3.2"] = SPECIAL["Llama 3"]
BEGINS = {"Llama 3": "<|begin_of_text|>", "Llama 3.2": "<|begin_of_text|>", "Gemma 3": "<bos>"}
ENDS = {"Llama 3": "<|eot_id|>", "Llama 3.2": "<|eot_id|>", "Gemma 3": "<eos>"}  # <|im_end|> of the others


def turns(*contents, system=None):
    """The user begins, the assistant answers, and so on."""
    first = [] if system is None else [{"role": "system", "content": system}]
    return first + [
        {"role": ("user", "assistant")[place % 2], "content": content} for place, content in enumerate(contents)
    ]


CONVERSATIONS = {
    "one turn": turns("Hello!"),
    "a reply": turns("Hello! How are you?", "I am well."),
    "a system turn": turns("Hello!", "Hi.", system="You are a pirate."),
    "many turns": turns("One", "Two", "Three", "Four", "Five", "Six", "Seven"),
    "many turns and a system": turns("One", "Two", "Three", "Four", system="Count.\n"),
    "nothing": turns("", "", "", system=""),
    "spaces": turns("  two before", "two after  ", "\tboth\t", " ", "x", "   "),
    "line ends": turns("\nbefore", "\n\nHello", "after\n", "after\n\n", "\r\n", "\n", system="\n\nSystem\n"),
    "languages": turns("你好，世界。", "你好！🙂", "👍🏽 café", "cafe\u0301 ÅΩ", system="用中文回答。"),
    "paragraphs": turns("One.\n\nTwo.\n\n\n  Three.", "- a\n- b\n\n```\nx = 1\n```\n"),
    "looks like code": turns("{{ x }} {% if %} {role}", "<b>&amp;</b> 'quoted' \"twice\" \\n"),
}


def backend(form):
    """A small tokenizer of the same make as the real one of a form."""
    if form == "Gemma 3":
        made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        made.normalizer = normalizers.Replace(" ", "▁")
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        special = SPECIAL[form][:4] + [f"<0x{byte:02X}>" for byte in range(256)] + SPECIAL[form][4:]
        trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False)
        made.train_from_iterator(CORPUS, trainer)
        content = json.loads(made.to_str())  # the bytes are no special tokens in the real one
        content["added_tokens"] = [one for one in content["added_tokens"] if one["content"] in SPECIAL[form]]
        return tokenizers.Tokenizer.from_str(json.dumps(content))
    made = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), split]) if form == "SmolLM2" else split
    )
    made.normalizer = normalizers.NFC() if form == "Qwen 2.5" else None
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    made.add_special_tokens(SPECIAL[form])
    if form == "Qwen 2.5":
        made.add_tokens([AddedToken("<tool_call>", special=False)])
    return made


def config(form, template):
    """What stands in the tokenizer_config.json beside it."""
    return {
        "bos_token": BEGINS.get(form),
        "eos_token": ENDS.get(form, "<|im_end|>"),
        "unk_token": "<unk>" if form == "Gemma 3" else None,
        "chat_template": template,
    }


def loaded(form, folder, template=None):
    """The small tokenizer of a form, with a template beside it."""
    backend(form).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config(form, template)), "utf-8")
    return Tokenizer.load(folder)


def with_template(template, tmp_path, form="SmolLM2"):
    return ChatTemplate(loaded(form, tmp_path, template))
