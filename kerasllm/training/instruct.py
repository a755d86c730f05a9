"""Supervised tuning on conversations: a model learns to reply as the replies that it is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from kerasllm.batches.converse import conversations as conversation_batches
from kerasllm.common import choice, whole_number
from kerasllm.text import ChatTemplate
from kerasllm.training.tuner import check_language_model, token_log_probabilities

LEARNED = ("replies", "everything")


@dataclasses.dataclass(frozen=True)
class Instructions:
    """Conversations as ids, with what of them a model is to learn.

        told = Instructions.of(template, conversations, context=256)
        supervise(model, training.classic(steps=100, learning_rate=1e-3, weight_decay=0.0))
        model.fit(told.feed(batch_size=8, shuffle=True, epochs=3), shuffle=False)

    Attributes:
        ids: for each conversation its ids.
        learned: for each one whether each of its ids is to be learned.
        context: the most ids that a model reads of one; what is behind them is cut.
        left_out: the places of those that were given and are not here: nothing of a reply stands in their first
            `context` ids.

    Reference: Ouyang et al. (2022), "Training language models to follow instructions with human feedback", section
    3.5 (supervised fine-tuning); Touvron et al. (2023), "Llama 2", section 3.1 (the loss on the replies alone).
    """

    ids: list[list[int]]
    learned: list[list[bool]]
    context: int
    left_out: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        template: ChatTemplate,
        conversations: Sequence[Sequence[dict]],
        *,
        context: int,
        learn: str = "replies",
        tools: Sequence[dict] | None = None,
    ) -> Instructions:
        """The ids of conversations, as a chat template writes them.

        Args:
            template: a `kerasllm.text.ChatTemplate`.
            conversations: for each one its turns: dictionaries with "role" and "content". With a template that
                `takes_calls` the assistant may call tools, which is learned, and tools answer, which is not; see
                `kerasllm.text.check_turns`.
            context: the most ids that the model reads at a time.
            learn: "replies" for what the assistant says and what ends it, or "everything", the turns of the user and
                the words of the template too. Both have the same conversations and windows, so that they compare.
            tools: descriptions of the functions that may be called, the same for all; for a template that
                `takes_tools`.

        Returns:
            The `Instructions`.

        Raises:
            TypeError, ValueError: if nothing is left to learn, an argument makes no sense, or for a reason of
                `kerasllm.text.ChatTemplate`; the message names the conversation.

        Example:
            >>> from kerasllm import text
            >>> tokenizer = text.train_characters(["user assistant Hi!\\n"], extra=["<|im_start|>", "<|im_end|>"])
            >>> turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi!"}]
            >>> told = Instructions.of(text.ChatTemplate(tokenizer, "ChatML"), [turns], context=64)
            >>> [tokenizer.token_of(id) for id, one in zip(told.ids[0], told.learned[0]) if one]
            ['H', 'i', '!', '<|im_end|>']
        """
        found = []
        for place, turns in enumerate(conversations):
            try:
                found.append(template.encode_learned(turns, tools))
            except (TypeError, ValueError) as error:
                raise type(error)(f"Conversation {place}: {error}") from error
        return cls._chosen(found, context, learn)

    @classmethod
    def of_pairs(
        cls,
        prompts: Sequence[Sequence[int]],
        replies: Sequence[Sequence[int]],
        *,
        context: int,
        learn: str = "replies",
    ) -> Instructions:
        """Prompts and replies that are ids already, without a template.

        Args:
            prompts: for each pair the ids of what stands before the reply.
            replies: for each pair the ids of the reply; end them with the id at which the model is to stop.
            context, learn: see `of`.

        Returns:
            The `Instructions`.

        Raises:
            ValueError: if there is another number of replies than of prompts, or for a reason of `of`.

        Example:
            >>> Instructions.of_pairs([[1, 2]], [[5, 0]], context=8).learned
            [[False, False, True, True]]
        """
        if len(prompts) != len(replies):
            raise ValueError(f"There are {len(prompts)} prompts and {len(replies)} replies. Give one each.")
        found = [
            ([*map(int, prompt), *map(int, reply)], [False] * len(prompt) + [True] * len(reply))
            for prompt, reply in zip(prompts, replies, strict=True)
        ]
        return cls._chosen(found, context, learn)

    @classmethod
    def _chosen(cls, found, context, learn) -> Instructions:
        context = whole_number("context", context, least=2)
        choice("learn", learn, LEARNED)
        left_out = tuple(place for place, (_, learned) in enumerate(found) if not any(learned[1 : context + 1]))
        kept = [one for place, one in enumerate(found) if place not in set(left_out)]
        if not kept:
            raise ValueError(
                f"There is nothing to learn from: of {len(found)} conversations none has a reply that begins in its "
                f"first context={context} ids. Take a larger context, or shorter conversations."
            )
        ids = [list(one) for one, _ in kept]
        learned = [list(one) if learn == "replies" else [True] * len(one) for _, one in kept]
        return cls(ids, learned, context, left_out)

    def feed(self, *, packed: bool = True, pad_id: int = 0, **order):
        """Batches for `fit`.

        Args:
            packed: whether several conversations share a window of `context` ids, none of which sees another: fewer
                places are padding. It needs a model that reads "segment_ids", such as `kerasllm.models.GPT`.
                Otherwise each row is one conversation.
            pad_id: what fills rows up.
            order: ``batch_size`` and the other arguments of `kerasllm.batches.conversations`.

        Returns:
            A feed, as of `kerasllm.batches.conversations`.

        Raises:
            ValueError: for a reason of `kerasllm.batches.conversations`.
        """
        length = {"context": self.context} if packed else {"max_length": self.context}
        if not packed and order.get("buckets") is not None:
            whole_number("buckets", order["buckets"])
        return conversation_batches(self.ids, self.learned, pad_id=pad_id, **length, **order)

    def losses(self, model: keras.Model, batch_size: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """For each conversation the sum of the losses of what is to be learned, and the number of its ids.

        Args:
            model: the model; it reads the dictionary of a batch.
            batch_size: conversations at a time.

        Returns:
            float64 array (conversations,) in nats, and int64 array (conversations,).
        """
        sums, counts = [], []
        buckets = min(4, len({len(one) for one in self.ids}))
        for inputs, targets, weights in self.feed(packed=False, batch_size=batch_size, buckets=buckets):
            found = token_log_probabilities(model(inputs, training=False), targets) * weights
            sums.append(-ops.convert_to_numpy(ops.sum(found, axis=1)).astype("float64"))
            counts.append(np.asarray(weights).sum(1).astype("int64"))
        return np.concatenate(sums), np.concatenate(counts)

    def loss(self, model: keras.Model, batch_size: int = 8) -> float:
        """The mean loss of an id that is to be learned, in nats: what `fit` makes small, on held-out conversations.

        Args:
            model, batch_size: see `losses`.
        """
        sums, counts = self.losses(model, batch_size)
        return float(sums.sum() / counts.sum())


def supervise(model: keras.Model, optimizer: keras.optimizers.Optimizer | str, **options) -> keras.Model:
    """Compile a model so that `fit` makes the mean loss of the ids small that are to be learned.

    Keras' own mean is over all places of a batch, so that a batch with more padding would teach less.

    Args:
        model: a causal language model; with `add_lora` before, only the adapters learn.
        optimizer: a Keras optimizer, such as that of `kerasllm.training.classic`.
        **options: arguments of `keras.Model.compile`, such as ``jit_compile=False``.

    Returns:
        The model.

    Raises:
        TypeError: if `model` is no language model, or has nothing to train.

    Example:
        >>> from kerasllm.models import GPT, gpt_settings
        >>> model = GPT(gpt_settings(vocabulary_size=20, num_layers=1, num_heads=2, embedding_dim=8))
        >>> told = Instructions.of_pairs([[1, 2]], [[5, 0]], context=8)
        >>> before = told.loss(model)
        >>> model = supervise(model, keras.optimizers.Adam(0.01), jit_compile=False)
        >>> _ = model.fit(told.feed(batch_size=1), epochs=9, shuffle=False, verbose=0)
        >>> told.loss(model) < before
        True
    """
    check_language_model(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(optimizer, loss, **options)
    return model


def shuffle_replies(conversations: Sequence[Sequence[dict]], seed: int = 0) -> list[list[dict]]:
    """Every conversation with the last reply of another one: the control that shows what replies teach beside manner.

    Args:
        conversations: two or more, each of which ends with a turn of the assistant.
        seed: the same seed gives the same pairs.

    Returns:
        As many conversations with the same turns up to the last; no reply stands at its own place.

    Raises:
        ValueError: if there is one conversation alone, or one does not end with a reply.

    Example:
        >>> told = [[{"role": "user", "content": c}, {"role": "assistant", "content": c.upper()}] for c in "abc"]
        >>> [turns[1]["content"] in turns[0]["content"].upper() for turns in shuffle_replies(told)]
        [False, False, False]
    """
    if len(conversations) < 2:
        raise ValueError(f"There are {len(conversations)} conversations: replies change places between two or more.")
    for place, turns in enumerate(conversations):
        if not turns or turns[-1]["role"] != "assistant":
            raise ValueError(f"Conversation {place} does not end with a turn of the assistant: leave it out.")
    order = np.random.default_rng(whole_number("seed", seed, least=0)).permutation(len(conversations))
    other = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))  # one ring, so none keeps its own
    return [[*turns[:-1], conversations[other[place]][-1]] for place, turns in enumerate(conversations)]


def prompt_and_reply(template: ChatTemplate, turns: str | Sequence[dict], reply: str) -> tuple[list[int], list[int]]:
    """The ids that stand before a reply, and those of the reply with its end.

    Args:
        template: a `kerasllm.text.ChatTemplate`.
        turns: the turns before the reply, or what the user says alone.
        reply: what the assistant says.

    Raises:
        TypeError, ValueError: for a reason of `kerasllm.text.ChatTemplate`.
    """
    turns = [{"role": "user", "content": turns}] if isinstance(turns, str) else list(turns)
    ids, learned = template.encode_learned([*turns, {"role": "assistant", "content": reply}])
    last = len(learned) - learned[::-1].index(True)  # behind the last id of the reply
    first = last
    while first and learned[first - 1]:
        first -= 1
    return ids[:first], ids[first:last]
