"""DPO: a model learns which of two replies is better, straight from pairs, without a model of rewards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kerasllm.batches.prefer import preferred, shortened
from kerasllm.common import positive, share
from kerasllm.evaluation import log_probability
from kerasllm.text import ChatTemplate
from kerasllm.training.instruct import prompt_and_reply
from kerasllm.training.tuner import Tuner, token_log_probabilities


class Preferences(NamedTuple):
    """Prompts with two replies each, as ids.

    Attributes:
        prompts: for each pair the ids of what stands before the reply.
        chosen: for each pair the ids of the better reply and of what ends it.
        rejected: those of the worse one.
    """

    prompts: list[list[int]]
    chosen: list[list[int]]
    rejected: list[list[int]]


def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta: float = 0.1, label_smoothing: float = 0.0):
    r"""The loss of each pair, $-\log \sigma(\beta \Delta)$, and the implicit rewards of its two replies.

    $\Delta$ is how much more the model has raised the log-probability of the chosen reply over its reference's than
    that of the rejected one. The reward of a reply is $\beta \log (\pi(y \mid x) / \pi_{ref}(y \mid x))$.

    Args:
        chosen, rejected: float tensors (pairs,), the log-probabilities of whole replies under the model.
        reference_chosen, reference_rejected: those under the reference model.
        beta: how dear it is to leave the reference: a larger one holds the model closer to it.
        label_smoothing: the share of pairs whose order is taken to be wrong, below 1/2.

    Returns:
        The losses, the rewards of the chosen and those of the rejected replies: float tensors (pairs,).

    Example:
        >>> loss, better, worse = dpo_loss(ops.array([-1.0]), ops.array([-3.0]), ops.array([-2.0]), ops.array([-2.0]))
        >>> round(float(loss[0]), 4), round(float(better[0]), 4), round(float(worse[0]), 4)
        (0.5981, 0.1, -0.1)

    Reference: Rafailov et al. (2023), "Direct Preference Optimization", equation 7; section 5.1 for the rewards.
    Mitchell (2023), "A note on DPO with noisy preferences", equation 3, for the smoothing.
    """
    better, worse = beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)
    margin = better - worse
    loss = -ops.log_sigmoid(margin)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * ops.log_sigmoid(-margin)
    return loss, better, worse


class DPO(Tuner):
    """Tunes a language model on pairs of replies, with the loss of `dpo_loss`.

        tuner = DPO(model, beta=0.1)                             # model: supervised first, with adapters or without
        tuner.compile(keras.optimizers.Adam(1e-5))
        feed = tuner.feed(pairs, batch_size=8, shuffle=True, epochs=2)
        tuner.fit(feed, epochs=2, steps_per_epoch=batches.steps_per_epoch(feed), shuffle=False)

    The reference is the model as it is when the feed is made; its log-probabilities are computed there, once. Beside
    the loss, `fit` and `evaluate` give the mean implicit rewards ``chosen_reward`` and ``rejected_reward``, their
    difference ``margin``, and ``accuracy``, the share of pairs whose chosen reply has the larger reward: 0 before the
    first step, when both are equal.

    The control is supervised tuning on the chosen replies alone, with as many steps:
    ``Instructions.of_pairs(pairs.prompts, pairs.chosen)``.

    Args:
        model: a causal language model, such as `kerasllm.models.GPT`; it is trained in place. Dropout is off.
        beta: see `dpo_loss`.
        label_smoothing: see `dpo_loss`.
        **kwargs: arguments of `keras.Model`.

    Raises:
        TypeError: if `model` is no language model, or has nothing to train.
        ValueError: if `beta` is not positive, or `label_smoothing` not from 0 to below 1/2.

    Example:
        >>> from kerasllm.models import GPT, gpt_settings
        >>> model = GPT(gpt_settings(vocabulary_size=20, num_layers=1, num_heads=2, embedding_dim=8))
        >>> tuner = DPO(model, beta=0.5)
        >>> tuner.compile(keras.optimizers.Adam(0.01), jit_compile=False)
        >>> feed = tuner.feed(Preferences([[1, 2]], [[5, 0]], [[6, 0]]), batch_size=1, epochs=9)
        >>> history = tuner.fit(feed, epochs=9, steps_per_epoch=1, shuffle=False, verbose=0).history
        >>> history["loss"][-1] < history["loss"][0], history["accuracy"][-1]
        (True, 1.0)

    Reference: Rafailov et al. (2023), "Direct Preference Optimization: Your Language Model is Secretly a Reward
    Model", equation 7.
    """

    def __init__(self, model: keras.Model, beta: float = 0.1, label_smoothing: float = 0.0, **kwargs):
        super().__init__(model, ("accuracy", "margin", "chosen_reward", "rejected_reward"), **kwargs)
        self.beta = positive("beta", beta)
        self.label_smoothing = share("label_smoothing", label_smoothing, most=0.5)

    def feed(self, pairs: Preferences, *, max_length: int | None = None, pad_id: int = 0, **order):
        """Batches of pairs with the log-probabilities of their replies under the model as it is now.

        Args:
            pairs: the `Preferences`, from `preferences` or of ids of your own.
            max_length: see `kerasllm.batches.preferred`; the model's ``context_length``, if it has one, where a pair
                is longer.
            pad_id: see there.
            order: ``batch_size`` and the other arguments that are explained there.

        Returns:
            A feed, as of `kerasllm.batches.preferred`. Make that of held-out pairs before the training, too.

        Raises:
            ValueError: for a reason of `kerasllm.batches.preferred`.
        """
        longest = getattr(self.model, "context_length", None)
        if longest is not None and max_length is None and _longest(pairs) > longest + 1:
            max_length = longest
        rows = shortened(*pairs, max_length)
        reference = [log_probability(self.model, rows[0], replies).total for replies in rows[1:]]
        return preferred(*rows, reference=np.stack(reference, 1), max_length=max_length, pad_id=pad_id, **order)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        totals = ops.sum(token_log_probabilities(y_pred, y) * sample_weight, axis=-1)  # (pairs, 2)
        (chosen, rejected), reference = ops.unstack(totals, 2, axis=1), ops.unstack(x["reference"], 2, axis=1)
        losses, better, worse = dpo_loss(chosen, rejected, *reference, self.beta, self.label_smoothing)
        real = ops.cast(ops.any(sample_weight > 0, axis=(1, 2)), "float32")  # hosts fill a batch up with empty pairs
        self.measure(
            real,
            accuracy=ops.cast(better > worse, "float32"),
            margin=better - worse,
            chosen_reward=better,
            rejected_reward=worse,
        )
        return ops.sum(losses * real) / ops.maximum(ops.sum(real), 1.0) + sum(self.losses)


def preferences(
    template: ChatTemplate, conversations: Sequence[Sequence[dict]], chosen: Sequence[str], rejected: Sequence[str]
) -> Preferences:
    """Pairs of replies to conversations, as the ids of a chat template.

    Args:
        template: a `kerasllm.text.ChatTemplate`.
        conversations: for each pair the turns before the reply: dictionaries with "role" and "content", the last one
            by the user. Or only what the user says, as a text.
        chosen: for each pair the text of the better reply.
        rejected: that of the worse one.

    Returns:
        The `Preferences`. The end of a reply that the template writes stands in it.

    Raises:
        TypeError, ValueError: if lists differ in length, or for a reason of `kerasllm.text.ChatTemplate`.

    Example:
        >>> from kerasllm import text
        >>> tokenizer = text.train_characters(["user assistant Hi!\\n"], extra=["<|im_start|>", "<|im_end|>"])
        >>> pairs = preferences(text.ChatTemplate(tokenizer, "ChatML"), ["Hi"], ["Hi!"], ["!"])
        >>> [tokenizer.token_of(id) for id in pairs.chosen[0]]
        ['H', 'i', '!', '<|im_end|>']
    """
    if not len(conversations) == len(chosen) == len(rejected):
        raise ValueError(
            f"There are {len(conversations)} conversations, {len(chosen)} chosen and {len(rejected)} rejected replies. "
            "Give one of each a pair."
        )
    found = Preferences([], [], [])
    for turns, better, worse in zip(conversations, chosen, rejected, strict=True):
        (prompt, one), (other_prompt, other) = (prompt_and_reply(template, turns, said) for said in (better, worse))
        if prompt != other_prompt:  # a template that looks ahead
            raise ValueError(f"The template writes another prompt before {better!r:.40} than before {worse!r:.40}.")
        for rows, ids in zip(found, (prompt, one, other), strict=True):
            rows.append(ids)
    return found


def _longest(pairs: Preferences) -> int:
    return max(
        (len(prompt) + max(map(len, replies)) for prompt, *replies in zip(*pairs, strict=False)),
        default=0,
    )
