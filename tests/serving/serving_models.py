"""Small models for the tests of serving: one with random weights, and one that says what it was told to say."""

import functools

import keras
import numpy as np
from keras import ops, tree

from kerasllm import text
from kerasllm.models import GPT, LSTMLanguageModel, gpt_settings

CHATML = ["<|im_start|>", "<|im_end|>"]
LETTERS = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;!?'\"(){}[]<>/_-+*=&#|\\\n\t你好é🙂",
]
VOCABULARY = 40

KEY = "a key"


def eager(function, model, key, xla=False):
    """`compiled` that compiles nothing: loops of a few tokens on a tiny model are over before a graph is made."""

    def run(*tensors):
        return function(model, *tree.map_structure(ops.convert_to_tensor, tensors))

    return run


def numbers_tokenizer():
    """A tokenizer of characters; the models have a few more rows, which are no tokens."""
    return text.train_characters(["".join(map(chr, range(65, 61 + VOCABULARY)))], byte_fallback=False)


@functools.cache
def tiny_gpt(**changes):
    """Weights are large enough that no two logits are about equal and that texts vary."""
    settings = {"vocabulary_size": VOCABULARY, "context_length": 64, "num_layers": 1, "num_heads": 2}
    model = GPT(gpt_settings(**{**settings, "embedding_dim": 16, **changes}))
    random = np.random.default_rng(1)
    for variable in model.variables:
        variable.assign(variable + random.normal(0, 0.3, variable.shape))
    return model


@functools.cache
def tiny_lstm():
    model = LSTMLanguageModel(VOCABULARY, 8, 12)
    model.build((None, None))
    random = np.random.default_rng(2)
    for variable in model.variables:
        variable.assign(random.normal(0, 0.7, variable.shape))
    return model


@functools.cache
def chat_tokenizer():
    return text.train_characters(LETTERS, extra=CHATML)


class Parrot(keras.Model):
    """Says one thing after each "<|im_start|>assistant\\n", whatever was asked, then ends its turn.

    Its state counts the tokens since the last "<|im_start|>"; a table says which token follows at each count.
    """

    HEAD = len("assistant\n")

    def __init__(self, tokenizer, said, context_length=4096):
        super().__init__()
        self.vocabulary_size, self.context_length = tokenizer.vocabulary_size, context_length
        self.begin = tokenizer.id_of("<|im_start|>")
        script = [0] * self.HEAD + list(tokenizer.encode(said)) + [tokenizer.id_of("<|im_end|>")]
        self.table = self.add_weight(shape=(len(script),), dtype="int32", initializer="zeros", trainable=False)
        self.table.assign(script)
        self.built = True

    def step(self, tokens, states=None):
        count = ops.zeros((tokens.shape[0], 1), "int32") if states is None else states
        count = ops.where(tokens[:, None] == self.begin, 0, count + 1)
        due = ops.take(self.table, ops.minimum(count[:, 0], self.table.shape[0] - 1))
        return 20.0 * ops.one_hot(due, self.vocabulary_size), count


def chat_template():
    return text.ChatTemplate(chat_tokenizer(), "ChatML")
