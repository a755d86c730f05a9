"""GRPO: a model writes several replies to a prompt, and learns from which of them were rewarded most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from kerasllm.common import positive, share, whole_number
from kerasllm.generation import Sampling
from kerasllm.generation.compiling import compiled
from kerasllm.text import ChatTemplate, Tokenizer
from kerasllm.training.resume import Resume
from kerasllm.training.samples import ReplyWriter, Samples
from kerasllm.training.tuner import Snapshot, Tuner, token_log_probabilities


def group_advantages(rewards) -> np.ndarray:
    r"""How much better each reply was than its group, $(r - \mathrm{mean}(r)) / \mathrm{std}(r)$.

    In a group whose rewards are all equal there is nothing to learn from: its advantages are 0.

    Args:
        rewards: float array (prompts, group) of finite numbers.

    Returns:
        float64 array (prompts, group).

    Example:
        >>> group_advantages([[0.0, 1.0], [3.0, 3.0]]).tolist()
        [[-1.0, 1.0], [0.0, 0.0]]

    Reference: Shao et al. (2024), "DeepSeekMath", section 4.1.2 (outcome supervision).
    """
    rewards = np.asarray(rewards, "float64")
    equal = (rewards == rewards[:, :1]).all(1, keepdims=True)  # by rounding, their deviation is not always 0
    spread = np.where(equal, 1.0, rewards.std(1, keepdims=True))
    return np.where(equal, 0.0, (rewards - rewards.mean(1, keepdims=True)) / spread)


def grpo_loss(new, old, reference, advantages, weights, clip: float = 0.2, kl: float = 0.04):
    r"""The loss of each reply, and what it is made of.

    For each token $\min(r A, \mathrm{clip}(r, 1 \pm \epsilon) A) - \beta D$, with the ratio $r = \pi / \pi_{old}$ and
    the estimate $D = \pi_{ref} / \pi - \log(\pi_{ref} / \pi) - 1$ of the divergence, which is never below 0. The loss
    is minus the mean of it over the tokens of a reply.

    Args:
        new, old, reference: float tensors (replies, time), the log-probability of each token under the model, under
            the one that wrote it, and under the reference.
        advantages: float tensor (replies,).
        weights: float tensor (replies, time), 1 at tokens of a reply and 0 elsewhere.
        clip: how far the ratio may leave 1 before a token teaches no more.
        kl: the factor of the divergence, $\beta$.

    Returns:
        The losses, the divergence from the reference and the share of clipped tokens: float tensors (replies,).

    Example:
        >>> one = ops.ones((1, 1))
        >>> loss, divergence, clipped = grpo_loss(0.5 * one, 0 * one, 0.5 * one, ops.array([2.0]), one)
        >>> round(float(loss[0]), 4), float(divergence[0]), float(clipped[0])     # exp(0.5) is clipped to 1.2
        (-2.4, 0.0, 1.0)

    Reference: Shao et al. (2024), "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models",
    equations 3 and 4.
    """
    chosen, gains = weights > 0, advantages[:, None]
    # Where nothing counts nothing may overflow, or its gradient would be no number.
    ratio = ops.exp(ops.where(chosen, new - old, 0.0))
    away = ops.where(chosen, reference - new, 0.0)
    held = ops.clip(ratio, 1 - clip, 1 + clip)
    divergence = ops.exp(away) - away - 1
    gained = ops.minimum(ratio * gains, held * gains)
    clipped = ops.cast(held * gains < ratio * gains, "float32")

    def mean(values):
        return ops.sum(values * weights, axis=-1) / ops.maximum(ops.sum(weights, axis=-1), 1.0)

    held_back = kl * divergence if kl else 0.0  # 0 times what overflows would be no number
    return mean(held_back - gained), mean(divergence), mean(clipped)


class GRPO(Tuner):
    """Tunes a language model on rewards for what it writes, with the loss of `grpo_loss`.

        def reward(prompt, reply):
            return float(reply.strip() == answers[prompt])

        tuner = GRPO(model, reward, tokenizer, template=template, group=8)
        tuner.compile(keras.optimizers.Adam(1e-5))
        log = tuner.run(prompts, steps=100, prompts_at_once=8, seed=0)

    A step takes some prompts, writes `group` replies to each at temperature 1, rewards them, and updates the weights.
    The reference of the divergence is the model as it is when the tuner is made; what can be trained is copied for it.

    Where all rewards of a group are equal, its replies are neither better nor worse than each other: their advantages
    are 0, and of them only the divergence from the start teaches (with ``kl=0`` nothing). So a task at which the model
    never or always succeeds teaches nothing; ``equal`` in the log is the share of such groups. An optimizer with
    momentum moves on even then.

    Args:
        model: a causal language model that can generate, such as `kerasllm.models.GPT`; trained in place, dropout off.
        reward: a function of a prompt and a reply that returns a finite number. It gets the prompt as it was given,
            and the reply as a text without its end; without a tokenizer as a list of ids.
        tokenizer: the `kerasllm.text.Tokenizer`; without one prompts are lists of ids.
        template: a `kerasllm.text.ChatTemplate` of the tokenizer: a prompt is what the user says, or a list of turns.
        stop_id: the id that ends a reply; it is learned like the others. When None that of the template or the
            tokenizer's ``eos_id``; without any, each reply has `max_new_tokens`.
        group: replies to one prompt, 2 or more.
        max_new_tokens: the most tokens of a reply.
        clip, kl: see `grpo_loss`. With ``kl=0`` the divergence is logged, and holds nothing back.
        updates: how often the same replies are learned from.
        batch_size: replies of an update; all of a step when None.
        **kwargs: arguments of `keras.Model`.

    Raises:
        TypeError: if `model` is no language model, has nothing to train or cannot generate, or `reward` no function.
        ValueError: if a number makes no sense, or tokenizer and model do not fit each other.

    Example:
        >>> from kerasllm.models import GPT, gpt_settings
        >>> keras.utils.set_random_seed(0)
        >>> model = GPT(gpt_settings(vocabulary_size=6, num_layers=1, num_heads=2, embedding_dim=8, context_length=8))
        >>> tuner = GRPO(model, lambda prompt, reply: reply.count(5), group=8, max_new_tokens=2, kl=0.0)
        >>> tuner.compile(keras.optimizers.Adam(0.05), jit_compile=False)
        >>> log = tuner.run([[1, 2]], steps=15, prompts_at_once=1)
        >>> log[-1]["reward"] > log[0]["reward"]
        True

    Reference: Shao et al. (2024), "DeepSeekMath", section 4.1 and algorithm 1.
    """

    def __init__(
        self,
        model: keras.Model,
        reward: Callable,
        tokenizer: Tokenizer | None = None,
        *,
        template: ChatTemplate | None = None,
        stop_id: int | None = None,
        group: int = 8,
        max_new_tokens: int = 64,
        clip: float = 0.2,
        kl: float = 0.04,
        updates: int = 1,
        batch_size: int | None = None,
        **kwargs,
    ):
        super().__init__(model, ("entropy", "kl", "clipped"), **kwargs)
        if whole_number("group", group) < 2:
            raise ValueError("group=1 has nothing to compare a reply with, so that no reply is better: take 2 or more.")
        self.writer = ReplyWriter(model, reward, tokenizer, template, stop_id, max_new_tokens)
        self.group = group
        self.clip, self.kl = positive("clip", clip), share("kl", kl, most=np.inf)
        self.updates = whole_number("updates", updates)
        self.batch_size = whole_number("batch_size", batch_size, optional=True)
        self.start = Snapshot(model)

    def sample(self, prompts: Sequence, seed: int | None = None) -> Samples:
        """A group of replies to each prompt, with their rewards.

        Args:
            prompts: texts, or lists of turns with a template, or lists of ids without a tokenizer.
            seed: the same seed gives the same replies of the same model.

        Raises:
            TypeError: if a prompt is of another kind.
            ValueError: if a prompt leaves no room for a reply, or a reward is no finite number.
        """
        return self.writer.write(prompts, self.group, Sampling(), seed)

    def rewards(self, prompts: Sequence, sampler=None, seed: int | None = None) -> np.ndarray:
        """The reward of one reply to each prompt: how good the model is by now, on prompts that were held out.

        Args:
            prompts: see `sample`.
            sampler: see `kerasllm.generation`; greedy when None.
            seed: see `sample`.

        Returns:
            float64 array (prompts,).
        """
        return self.writer.write(prompts, 1, sampler, seed).rewards[:, 0]

    def learn(self, samples: Samples) -> dict[str, float]:
        """Update the weights from replies, `updates` times.

        Args:
            samples: what `sample` returned, of the model as it is now.

        Returns:
            "loss", "entropy" (of the model's next token, in nats), "kl" (the divergence from the start, in nats a
            token) and "clipped" (the share of tokens), means over the updates.

        Raises:
            ValueError: if `batch_size` does not divide the replies.
        """
        inputs, targets, weights = samples.arrays(getattr(self.model, "context_length", None))
        rows = len(targets)
        size = rows if self.batch_size is None else self.batch_size
        if rows % size:
            raise ValueError(f"batch_size={size} does not divide the {rows} replies of a step: take a divisor.")
        inputs["advantages"] = group_advantages(samples.rewards).ravel().astype("float32")
        with self.start.restored():
            inputs["reference"] = self._scores(inputs["ids"], targets, size)
        inputs["old"] = self._scores(inputs["ids"], targets, size)
        # The same order for the same replies: nothing but the sampling is random.
        order = np.random.default_rng(rows)
        logs = []
        for _ in range(self.updates):
            for part in np.split(order.permutation(rows), rows // size):
                part_of = {name: array[part] for name, array in inputs.items()}
                logs.append(self.train_on_batch(part_of, targets[part], sample_weight=weights[part], return_dict=True))
        return {name: float(np.mean([float(one[name]) for one in logs])) for name in logs[0]}

    def _scores(self, ids, targets, size) -> np.ndarray:
        score = compiled(_score, self.model, "grpo", xla=False)
        starts = range(0, len(ids), size)
        parts = [score(ids[start : start + size], targets[start : start + size]) for start in starts]
        return np.concatenate([ops.convert_to_numpy(part) for part in parts])

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        logits = ops.cast(y_pred, "float32")
        losses, divergence, clipped = grpo_loss(
            token_log_probabilities(logits, y),
            *(x[name] for name in ("old", "reference", "advantages")),
            sample_weight,
            self.clip,
            self.kl,
        )
        logs = ops.log_softmax(ops.stop_gradient(logits), axis=-1)
        entropy = -ops.sum(ops.exp(logs) * logs, axis=-1)  # (replies, time)
        self.measure(sample_weight, entropy=entropy)
        self.measure(kl=divergence, clipped=clipped)
        return ops.mean(losses) + sum(self.losses)

    def run(
        self,
        prompts: Sequence,
        steps: int,
        prompts_at_once: int = 8,
        seed: int = 0,
        each: Callable[[dict, Samples], None] | None = None,
        resume: Resume | None = None,
        every: int = 10,
    ) -> list[dict]:
        """Sample and learn, again and again; every prompt has its turn before one comes again.

        With ``resume=Resume(path)`` the same script goes on where it was killed, and ends with the weights and the log
        of a run that was not: it makes the tuner from the same start, for the reference is not in the file. A reward
        that draws lots takes them from Python's or NumPy's global generator, whose state is.

        Args:
            prompts: see `sample`.
            steps: how often prompts are sampled.
            prompts_at_once: prompts of a step, at most as many as there are.
            seed: the same seed gives the same run.
            each: called after each step with its row of the log and its `Samples`; not again for steps of before.
            resume: a `kerasllm.training.Resume`, whose file holds the weights, the optimizer and the log.
            every: steps between two writings of that file, which a kill may cost.

        Returns:
            For each step a row: "step"; "reward", its mean; "spread", the mean standard deviation in a group; "equal",
            the share of groups whose rewards are all equal; "length", the mean tokens of a reply; "stopped", the share
            that ended by themselves; and what `learn` returns.

        Raises:
            TypeError, ValueError: see `sample` and `learn`; if the tuner is not compiled, or a number makes no sense.
        """
        prompts = list(prompts)
        steps = whole_number("steps", steps)
        count = whole_number("prompts_at_once", prompts_at_once, most=max(1, len(prompts)))
        every, random = whole_number("every", every), np.random.default_rng(whole_number("seed", seed, least=0))
        if not self.compiled:
            raise ValueError("The tuner has no optimizer yet: tuner.compile(keras.optimizers.Adam(1e-5)).")
        waiting, log = [], self._log_of(resume)
        done = len(log)
        for step in range(1, steps + 1):
            if len(waiting) < count:
                waiting += random.permutation(len(prompts)).tolist()
            now, waiting = waiting[:count], waiting[count:]
            draw = int(random.integers(2**31))
            if step <= done:  # before the kill: what it drew is drawn again, so that the next step draws what follows
                continue
            samples = self.sample([prompts[place] for place in now], draw)
            log.append({"step": step, **samples.facts(), **self.learn(samples)})
            if each is not None:
                each(log[-1], samples)
            if resume is not None and (step % every == 0 or step == steps):
                rows, done = log[done:], step
                resume.on_epoch_begin(resume.epoch)
                resume.on_epoch_end(resume.epoch, {name: [row[name] for row in rows] for name in rows[0]})
        return log

    def _log_of(self, resume: Resume | None) -> list[dict]:
        """The rows of the log that a file of `resume` holds; weights and optimizer are loaded."""
        if resume is None:
            return []
        resume.set_model(self)
        resume.on_train_begin()
        columns = {name: [value for some in blocks for value in some] for name, blocks in resume.history.items()}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return [{**row, "step": int(row["step"])} for row in rows]


def _score(model, ids, targets):
    return token_log_probabilities(model(ids, training=False), targets)
