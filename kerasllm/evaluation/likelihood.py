"""How probable a language model finds a given text: bits per character and multiple choice stand on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kerasllm.common import choice, whole_number
from kerasllm.generation.compiling import compiled

CONTEXT = 1024  # tokens in a window for a model without a longest one
LOGITS_AT_ONCE = 2**26  # numbers in the logits of a batch: a quarter of a GiB


class LogProbabilities(NamedTuple):
    """What `log_probability` found, in nats (natural logarithm).

    Attributes:
        total: float64 array (texts,), the log-probability of each continuation: the sum of those of its tokens.
        tokens: for each text a float32 array, the log-probability of each token of its continuation.
    """

    total: np.ndarray
    tokens: list[np.ndarray]


class Choice(NamedTuple):
    """What `choose` found.

    Attributes:
        index: the place of the chosen answer.
        answer: the chosen answer.
        scores: float64 array (answers,), what was compared.
    """

    index: int
    answer: str
    scores: np.ndarray


def log_probability(
    model: keras.Model,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    *,
    context: int | None = None,
    stride: int | None = None,
    batch_size: int = 16,
) -> LogProbabilities:
    r"""The log-probability of given continuations, $\sum_t \log p(x_t \mid x_{<t})$.

    A text that is longer than `context` is read in windows that overlap. Each token of a continuation counts once, in
    the first window that holds it as a target, where it sees at least ``context - stride + 1`` tokens before it (all
    of them, where there are fewer). Each text of a batch gets what it would get alone.

    The softmax goes over all rows of the model, also those to which its tokenizer has no token (vocabularies are
    often filled up to a multiple): it is the probability that the model gives.

    Args:
        model: a causal language model from ids (batch, time) to logits (batch, time, vocabulary), such as
            `kerasllm.models.GPT`, `LSTMLanguageModel` or `NeuralNGram`.
        prompts: for each text the ids before the continuation, at least one: the model says nothing about a first
            token. A text without a prompt begins with the tokenizer's ``bos_id``.
        continuations: for each text the ids whose probability is asked for.
        context: how many tokens the model reads at a time. When None its ``context_length``, or 1024 if it has none.
        stride: how many tokens a window moves on, at most `context`. When None, half of `context`. A smaller one is
            slower, and each token sees more.
        batch_size: the largest number of windows at a time; fewer where the vocabulary is large.

    Returns:
        A `LogProbabilities`: ``total`` and ``tokens``.

    Raises:
        ValueError: if there is another number of prompts than of continuations, a prompt is empty, an id is outside
            the vocabulary, or a number is out of range.

    Example:
        >>> from kerasllm import models
        >>> model = models.NeuralNGram(vocabulary_size=50, order=3, embedding_dim=4, hidden_dim=8)
        >>> total, tokens = log_probability(model, [[4], [4, 7]], [[7, 8, 9], [8]])
        >>> [len(one) for one in tokens]
        [3, 1]
        >>> bool(abs(total[1] - tokens[0][1]) < 1e-5)  # the same token after the same two
        True

    Reference: the sliding window is that of "Perplexity of fixed-length models",
    https://huggingface.co/docs/transformers/perplexity.
    """
    context = whole_number("context", _context(model) if context is None else context, most=_longest(model))
    stride = whole_number("stride", max(1, context // 2) if stride is None else stride, most=context)
    batch_size = whole_number("batch_size", batch_size)
    if not model.built:
        model.build((None, None))
    texts, starts = _checked(model, list(prompts), list(continuations))
    tokens = [np.zeros(len(text) - start, "float32") for text, start in zip(texts, starts, strict=True)]
    windows = [
        (i, *window)
        for i, (text, start) in enumerate(zip(texts, starts, strict=True))
        for window in _windows(len(text), start, context, stride)
    ]
    for batch, time in _batches(model, windows, context, batch_size):
        for (i, begin, end, first), row in zip(batch, _scores(model, texts, batch, time), strict=False):
            tokens[i][first - starts[i] : end + 1 - starts[i]] = row[first - begin - 1 : end - begin]
    return LogProbabilities(np.array([one.sum(dtype="float64") for one in tokens]), tokens)


def bits_per_character(
    model: keras.Model, tokenizer, text: str, *, context: int | None = None, stride: int | None = None
) -> float:
    r"""The bits that a model needs for a character of a text, $-\frac{1}{n} \sum_t \log_2 p(x_t \mid x_{<t})$.

    It does not depend on how a tokenizer cuts the text, so that models with different tokens can be compared. A
    tokenizer that turns a character into ``<unk>`` hides it: the result is too low then.

    The text begins with the tokenizer's ``bos_id``. Without one the first token is given, and its characters are not
    counted.

    Args:
        model: see `log_probability`.
        tokenizer: the `kerasllm.text.Tokenizer` of the model. The model may have more rows than it has tokens.
        text: the text, of at least two tokens.
        context: see `log_probability`.
        stride: see `log_probability`.

    Returns:
        Bits for each character (a Unicode code point, as Python counts them).

    Raises:
        ValueError: if the tokenizer has more tokens than the model, or the text is too short.

    Example:
        >>> from kerasllm import models, text
        >>> tokenizer = text.train_characters(["abcd"], byte_fallback=False)
        >>> model = models.NeuralNGram(tokenizer.vocabulary_size, embedding_dim=4, hidden_dim=4)
        >>> model.build((None, None))
        >>> model.set_weights([0 * weight for weight in model.get_weights()])  # each token equally probable
        >>> bits = bits_per_character(model, tokenizer, "abcd")
        >>> bool(abs(bits - math.log2(tokenizer.vocabulary_size)) < 1e-5)
        True
    """
    ids = _encoded(model, tokenizer, text)
    start = [tokenizer.bos_id] if tokenizer.bos_id is not None else ids[:1]
    rest = ids if tokenizer.bos_id is not None else ids[1:]
    characters = len(text) if tokenizer.bos_id is not None else len(text) - len(tokenizer.decode(start))
    if not rest or characters < 1:
        raise ValueError(f"The text {text[:40]!r} is too short: the model says nothing about a first token.")
    found = log_probability(model, [start], [rest], context=context, stride=stride)
    return -float(found.total[0]) / math.log(2) / characters


def choose(
    model: keras.Model,
    tokenizer,
    question: str,
    answers: Sequence[str],
    *,
    normalize: str | None = "tokens",
    context: int | None = None,
) -> Choice:
    """The most probable answer to a question of multiple choice.

    Question and answer are encoded one by one: give an answer the space that stands before it in the text.

    Args:
        model: see `log_probability`.
        tokenizer: the `kerasllm.text.Tokenizer` of the model. The model may have more rows than it has tokens.
        question: the text before the answer; an empty one stands for the tokenizer's ``bos_id``.
        answers: the texts to choose from, at least two.
        normalize: what an answer's log-probability is divided by, so that long answers have a chance: its number of
            "tokens" or of "characters"; None compares the sums.
        context: see `log_probability`.

    Returns:
        A `Choice`: ``index``, ``answer`` and the ``scores``. Of equal scores the first wins.

    Raises:
        ValueError: if there are fewer than two answers, one of them is empty, `normalize` is unknown, the question is
            empty and the tokenizer has no ``bos_id``, or the tokenizer has more tokens than the model.

    Example:
        >>> from kerasllm import models, text
        >>> tokenizer = text.train_words(["the sky is blue", "grass is green"], vocabulary_size=20)
        >>> model = models.LSTMLanguageModel(tokenizer.vocabulary_size, embedding_dim=4, units=4)
        >>> choose(model, tokenizer, "the sky is", ["blue", "green"]).answer in ("blue", "green")
        True

    Reference: Brown et al. (2020), "Language Models are Few-Shot Learners", section 2.4, compares likelihoods
    normalised by tokens.
    """
    choice("normalize", normalize, ("tokens", "characters", None))
    answers = _checked_answers(answers)
    prompt = _encoded(model, tokenizer, question)
    if not prompt:
        if tokenizer.bos_id is None:
            raise ValueError("The question is empty, and the tokenizer has no <bos> to begin with: give some text.")
        prompt = [tokenizer.bos_id]
    ids = [_encoded(model, tokenizer, answer) for answer in answers]
    scores = log_probability(model, [prompt] * len(ids), ids, context=context).total
    if normalize is not None:
        scores = scores / [len(one) for one in (ids if normalize == "tokens" else answers)]
    index = int(np.argmax(scores))
    return Choice(index, answers[index], scores)


# Windows and batches --------------------------------------------------------------------------------


def _windows(length: int, first: int, context: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """For each window (begin, end, first): it reads the ids from begin to before end, whose targets are one further
    on, and counts the targets from first to end."""
    while first < length:
        end = min(max(context, first + stride - 1), length - 1)
        yield max(0, end - context), end, first
        first = end + 1


def _batches(model, windows, context, batch_size) -> Iterator[tuple[list, int]]:
    """Windows of similar length together, in few different shapes, with a bounded number of logits."""
    rows = getattr(model, "vocabulary_size", 2**16)
    windows = sorted(windows, key=lambda window: window[1] - window[2])  # the longest first
    while windows:
        longest = windows[0][2] - windows[0][1]
        time = min(-(-longest // 16) * 16, context)
        count = max(1, min(batch_size, LOGITS_AT_ONCE // (time * rows)))
        yield windows[:count], time
        windows = windows[count:]


def _scores(model, texts, batch, time) -> np.ndarray:
    """The log-probability of the id after each position, float32 (windows and rows of padding, time)."""
    rows = 1 << (len(batch) - 1).bit_length()
    ids, targets = np.zeros((2, rows, time), "int32")
    for (i, begin, end, _), inputs, wanted in zip(batch, ids, targets, strict=False):
        inputs[: end - begin] = texts[i][begin:end]  # padding on the right: what is causal never sees it
        wanted[: end - begin] = texts[i][begin + 1 : end + 1]
    return ops.convert_to_numpy(compiled(_score, model, "log_probability", xla=False)(ids, targets))


def _score(model, ids, targets):
    logits = ops.cast(model(ids, training=False), "float32")  # (rows, time, vocabulary)
    chosen = ops.take_along_axis(logits, ops.expand_dims(targets, -1), axis=-1)  # (rows, time, 1)
    return chosen[:, :, 0] - ops.logsumexp(logits, axis=-1)  # (rows, time)


# Arguments ----------------------------------------------------------------------------------------


def _longest(model) -> int | None:
    return getattr(model, "context_length", None)


def _context(model) -> int:
    return _longest(model) or CONTEXT


def _checked(model, prompts, continuations) -> tuple[list[np.ndarray], list[int]]:
    """Each text as one array of ids, and where its continuation begins."""
    if len(prompts) != len(continuations):
        raise ValueError(f"There are {len(prompts)} prompts for {len(continuations)} continuations: give one each.")
    texts = []
    for i, (prompt, continuation) in enumerate(zip(prompts, continuations, strict=True)):
        for name, ids in (("prompts", prompt), ("continuations", continuation)):
            _check_ids(model, f"{name}[{i}]", np.asarray(ids))
        if not len(prompt):
            raise ValueError(
                f"prompts[{i}] is empty, and a model says nothing about a first token: "
                "begin with tokenizer.bos_id, or move the first id into the prompt."
            )
        texts.append(np.concatenate([np.asarray(prompt), np.asarray(continuation)]).astype("int32"))
    return texts, [len(prompt) for prompt in prompts]


def _check_ids(model, name, ids):
    if ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be a flat list of ids, not {str(ids.tolist())[:60]}: tokenizer.encode(text).")
    size = getattr(model, "vocabulary_size", None)
    if len(ids) and (ids.min() < 0 or (size is not None and ids.max() >= size)):
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"{name} has the id {wrong}; the model knows 0 to {'its last' if size is None else size - 1}.")


def _encoded(model, tokenizer, text: str) -> list[int]:
    if not isinstance(text, str):
        raise ValueError(f"Give a text, not {text!r}.")
    size = getattr(model, "vocabulary_size", tokenizer.vocabulary_size)
    if tokenizer.vocabulary_size > size:
        raise ValueError(
            f"The tokenizer has {tokenizer.vocabulary_size} tokens, the model {size}: use that of its training."
        )
    return tokenizer.encode(text)


def _checked_answers(answers) -> list[str]:
    answers = [answers] if isinstance(answers, str) else list(answers)
    if len(answers) < 2:
        raise ValueError(f"answers must be a list of at least two texts, not {answers!r}.")
    for i, answer in enumerate(answers):
        if not isinstance(answer, str) or not answer:
            raise ValueError(f"answers[{i}] must be a text that is not empty, not {answer!r}.")
    return answers
