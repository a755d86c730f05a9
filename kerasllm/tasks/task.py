"""What tasks share: a network and its tokenizer in one file, and a clear word where ids belong and texts come."""

from __future__ import annotations

import keras

import kerasllm.models  # noqa: F401  registers the networks that a file may hold
from kerasllm.tasks.texts import refuse_texts
from kerasllm.text import Tokenizer, check_tokenizer


class Task(keras.Model):
    """A network and the tokenizer that makes its ids, as one model.

    Args:
        network: a Keras model.
        tokenizer: the `kerasllm.text.Tokenizer` of the network, or its JSON text.
        **kwargs: arguments of `keras.Model`, such as `name`.
    """

    answers: str  # the call that takes texts, for messages
    makes_ids: str = "encode(texts)"  # the call that makes what `fit` takes

    def __init__(self, network: keras.Model, tokenizer: Tokenizer | str, **kwargs):
        super().__init__(**kwargs)
        self.tokenizer = Tokenizer.from_json(tokenizer) if isinstance(tokenizer, str) else check_tokenizer(tokenizer)
        self.network = network

    def build(self, input_shape):
        if not self.network.built:
            self.network.build(input_shape)

    # What Keras calls with ids says what to do with texts.

    def __call__(self, inputs, *args, **kwargs):
        refuse_texts("the call", inputs, self.answers, self.makes_ids)
        return super().__call__(inputs, *args, **kwargs)

    def fit(self, x=None, y=None, *args, **kwargs):
        refuse_texts("fit", x, self.answers, self.makes_ids)
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        refuse_texts("evaluate", x, self.answers, self.makes_ids)
        return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        refuse_texts("predict", x, self.answers, self.makes_ids)
        return super().predict(x, *args, **kwargs)

    def get_config(self):
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "tokenizer": self.tokenizer.to_json(),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        network = keras.saving.deserialize_keras_object(config["network"], custom_objects=custom_objects)
        return cls(**{**config, "network": network})


def ends_of(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that stand around a text: [CLS] and [SEP] of BERT, nothing where the tokenizer has no such tokens."""
    begin, end = ([] if id is None else [id] for id in (tokenizer.bos_id, tokenizer.eos_id))
    return begin, end


def check_fit(network, tokenizer: Tokenizer, outputs: int, what: str, rank: int = 2) -> None:
    """Raise where a network does not fit the tokenizer, or the logits that are wanted of it.

    Args:
        network: what should be a Keras model from ids to logits.
        tokenizer: the tokenizer.
        outputs: how many logits there must be.
        what: what they are for, as in "labels".
        rank: 2 for logits of texts, 3 for logits of tokens.

    Raises:
        ValueError: with the fix.
    """
    if not isinstance(network, keras.Model):
        raise ValueError(f"network must be a Keras model from ids to logits, not {network!r}.")
    shape = getattr(network, "output_shape", None) or network.compute_output_shape((None, None))
    if len(shape) != rank:
        each = "each token: make it with pooling=None" if rank == 3 else "a text: make it with another pooling"
        raise ValueError(f"The network gives the shape {tuple(shape)}, but logits are needed for {each}.")
    if shape[-1] != outputs:
        raise ValueError(f"The network gives {shape[-1]} logits, but there are {outputs} {what}.")
    rows = getattr(network, "vocabulary_size", tokenizer.vocabulary_size)
    if rows < tokenizer.vocabulary_size:
        raise ValueError(f"The network knows {rows} tokens, the tokenizer has {tokenizer.vocabulary_size}.")
    pad_id = getattr(network, "pad_id", tokenizer.pad_id)
    if pad_id != tokenizer.pad_id:
        raise ValueError(
            f"The network takes the id {pad_id} for padding, the tokenizer {tokenizer.pad_id}: "
            f"make the network with pad_id={tokenizer.pad_id}."
        )
