"""Between text and ids: cleaning that says what it changes, and four tokenizers with one interface.

    from kerasllm import text

    tokenizer = text.train_bpe(texts, 8_000, eos=True)
    ids = tokenizer.encode("你好, world")
    tokenizer.decode(ids)                       # the text again, exactly
    tokenizer.save("tokenizer.json")

| made by             | a token is                         | decoding returns          |
|---------------------|------------------------------------|---------------------------|
| `train_characters`  | a character; bytes for unknown ones| the text exactly          |
| `train_bpe`         | a frequent run of bytes            | the text exactly          |
| `train_wordpiece`   | a frequent part of a word          | the words, spaces guessed |
| `train_words`       | a word; a character in Chinese     | the words, spaces guessed |

Conversations follow the template that came with a tokenizer; a mask says what of it the assistant says:

    template = text.ChatTemplate(tokenizer)
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    ids, learned = template.encode_learned(turns)

Tools are called in turns as OpenAI's API has it, `check_turns`, where the template has words for it; elsewhere
`plain_tool_turns` says the same in turns of user and assistant.

A tokenizer.json of others is read with what stands beside it: `Tokenizer.load(folder)` knows then which tokens begin
and end a text or a turn, and what to pad with.

Importing this module loads neither Keras nor TensorFlow.
"""

from kerasllm.text.chat import ChatTemplate
from kerasllm.text.cleaning import clean, cleaning_report, is_blank
from kerasllm.text.offsets import encode_with_offsets
from kerasllm.text.tokenizer import Tokenizer, check_tokenizer
from kerasllm.text.trainers import train_bpe, train_characters
from kerasllm.text.turns import check_turns, plain_tool_turns
from kerasllm.text.word_trainers import train_wordpiece, train_words

__all__ = [
    "ChatTemplate",
    "Tokenizer",
    "check_tokenizer",
    "check_turns",
    "clean",
    "cleaning_report",
    "encode_with_offsets",
    "is_blank",
    "plain_tool_turns",
    "train_bpe",
    "train_characters",
    "train_wordpiece",
    "train_words",
]
