"""Replies that a model writes to prompts, each with the reward that a function of the user's gives it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np

from kerasllm.common import whole_number
from kerasllm.generation import Session
from kerasllm.text import ChatTemplate, Tokenizer

SHORTEST = 16  # ids of a batch: lengths are filled up to a power of two, so that few of them are compiled


@dataclasses.dataclass(frozen=True)
class Samples:
    """What a model wrote to some prompts, and what it was worth.

    Attributes:
        prompts: as they were given, one for each group.
        prompt_ids: for each reply the ids of its prompt; the replies to one prompt stand together.
        reply_ids: for each reply its ids, with the one at which it stopped.
        replies: for each reply its text; without a tokenizer its ids, without the one at which it stopped.
        stopped: bool array (replies,), False where the most new tokens ended it.
        rewards: float64 array (prompts, replies to each).

    Example:
        >>> stopped, rewards = np.array([True, False]), np.ones((1, 2))
        >>> samples = Samples([[1, 2]], [[1, 2]] * 2, [[5, 0], [5]], [[5], [5]], stopped, rewards)
        >>> samples.facts()["length"], samples.facts()["equal"]
        (1.5, 1.0)
    """

    prompts: list
    prompt_ids: list[list[int]]
    reply_ids: list[list[int]]
    replies: list
    stopped: np.ndarray
    rewards: np.ndarray

    def arrays(self, context: int | None = None) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """The texts as inputs, targets and weights of their replies, filled up on the right.

        Args:
            context: the longest text of the model; rows are filled up to no more where all texts fit.

        Returns:
            A dictionary of "ids", and targets, int32 (replies, time); float32 weights, 1 at targets of a reply.
        """
        texts = [prompt + reply for prompt, reply in zip(self.prompt_ids, self.reply_ids, strict=True)]
        longest = max(map(len, texts)) - 1
        time = 1 << (max(longest, SHORTEST) - 1).bit_length()
        time = time if context is None else min(time, max(longest, context))
        ids, targets = np.zeros((2, len(texts), time), "int32")
        weights = np.zeros(ids.shape, "float32")
        for row, (text, prompt) in enumerate(zip(texts, self.prompt_ids, strict=True)):
            ids[row, : len(text) - 1], targets[row, : len(text) - 1] = text[:-1], text[1:]
            weights[row, len(prompt) - 1 : len(text) - 1] = 1
        return {"ids": ids}, targets, weights

    def facts(self) -> dict[str, float]:
        """What a log says of them, see `GRPO.run`."""
        return {
            "reward": float(self.rewards.mean()),
            "spread": float(self.rewards.std(1).mean()),
            "equal": float((self.rewards == self.rewards[:, :1]).all(1).mean()),
            "length": float(np.mean([len(ids) for ids in self.reply_ids])),
            "stopped": float(self.stopped.mean()),
        }


class ReplyWriter:
    """Writes replies with a session, and rewards them. For the arguments see `GRPO`.

    Raises:
        TypeError: if the model cannot generate, or `reward` is no function.
        ValueError: if a number makes no sense, or tokenizer and model do not fit each other.
    """

    def __init__(
        self,
        model: keras.Model,
        reward: Callable,
        tokenizer: Tokenizer | None = None,
        template: ChatTemplate | None = None,
        stop_id: int | None = None,
        max_new_tokens: int = 64,
    ):
        if not callable(reward):
            raise TypeError(f"reward must be a function of a prompt and a reply, not {reward!r}.")
        if template is not None and (not isinstance(template, ChatTemplate) or template.tokenizer is not tokenizer):
            raise TypeError("template must be a kerasllm.text.ChatTemplate of the tokenizer: ChatTemplate(tokenizer).")
        Session(model, tokenizer)  # refuses a model that cannot generate, and a tokenizer that does not fit
        self.model, self.reward, self.tokenizer, self.template = model, reward, tokenizer, template
        self.max_new_tokens = whole_number("max_new_tokens", max_new_tokens)
        if stop_id is None:
            stop_id = getattr(template, "end_id", None)
        if stop_id is None:
            stop_id = getattr(tokenizer, "eos_id", None)
        self.stop_id = whole_number("stop_id", stop_id, 0, model.vocabulary_size - 1, optional=True)

    def write(self, prompts: Sequence, group: int, sampler, seed: int | None) -> Samples:
        """`group` replies to each prompt.

        Raises:
            TypeError: if a prompt is of another kind.
            ValueError: if there are no prompts, one leaves no room for a reply, or a reward is no finite number.
        """
        prompts = list(prompts)
        ids = [one for prompt in prompts for one in [self._ids(prompt)] * group]
        self._check_room(ids)
        session = Session(self.model, self.tokenizer, rows=len(ids))
        session.rewrite(ids)
        stop = [] if self.stop_id is None else [self.stop_id]
        found = session.write(self.max_new_tokens, sampler, stop_tokens=stop, seed=seed)
        stopped = np.array([one.ended == "stop" for one in found])
        # To stop is a choice of the model, and is rewarded like the others.
        reply_ids = [[*one.ids, *(stop if ended else [])] for one, ended in zip(found, stopped, strict=True)]
        replies = [one.ids if self.tokenizer is None else one.text for one in found]
        worth = [self._worth(prompts[place // group], reply) for place, reply in enumerate(replies)]
        return Samples(prompts, ids, reply_ids, replies, stopped, np.reshape(worth, (len(prompts), group)))

    def _ids(self, prompt) -> list[int]:
        if self.tokenizer is None:
            if isinstance(prompt, str):
                raise TypeError(f"The prompt {prompt[:40]!r} is a text: give its tokenizer too, GRPO(..., tokenizer).")
            return [whole_number("An id of a prompt", id, 0, self.model.vocabulary_size - 1) for id in prompt]
        if self.template is not None:
            turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            return self.template.encode(turns, open_reply=True)
        if not isinstance(prompt, str):
            raise TypeError(f"With a tokenizer a prompt is a text, not {prompt!r:.60}: turns need template=...")
        return self.tokenizer.encode(prompt)

    def _check_room(self, ids: list[list[int]]) -> None:
        if not ids or not all(ids):
            raise ValueError("There is no prompt to reply to, or one is empty: give one id at least, such as bos_id.")
        context, longest = getattr(self.model, "context_length", None), max(map(len, ids))
        if context is not None and longest + self.max_new_tokens > context:
            raise ValueError(
                f"A prompt has {longest} ids; with max_new_tokens={self.max_new_tokens} that is more than the model's "
                f"context_length={context}. Take fewer new tokens, or leave the prompt out."
            )

    def _worth(self, prompt, reply) -> float:
        found = self.reward(prompt, reply)
        try:
            value = np.nan if isinstance(found, str) else float(found)
        except (TypeError, ValueError):
            value = np.nan
        if not np.isfinite(value):
            raise ValueError(
                f"reward gave {found!r:.40} for the prompt {prompt!r:.60} and the reply {reply!r:.60}. It must give a "
                "finite number for every reply, an empty or senseless one too."
            )
        return value
