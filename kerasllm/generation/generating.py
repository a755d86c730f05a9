"""Text in, text out: what happens around the compiled loop."""

import random
from functools import partial

import numpy as np
from keras import ops

from kerasllm.generation.compiled import compiled
from kerasllm.generation.decoding import STEPS, decode, encode
from kerasllm.generation.samplers import Beam, Greedy
from kerasllm.text.tokenizer import BYTE_TOKENS


def generate(model, prompts, max_new_tokens=100, sampler=None, *, stop_tokens=None, seed=None, tokenizer=None):
    """Continue one text or several.

    Each text of a batch is what its prompt alone would give. Calls with prompts of similar length reuse what was
    compiled: lengths are filled up to a power of two.

    A GPT sees at most its ``context_length`` of tokens: of a longer prompt the last ones. Past it, a model without
    learned positions goes on and forgets the oldest token. With learned positions there is no next position: when
    the context is full, the last half of it is read anew and the text goes on behind it.

    Args:
        model: a `GPT`, or a model with ``vocabulary_size`` and a ``step`` like `LSTMLanguageModel`.
        prompts: a text or a list of texts, with a `tokenizer`; or a list of token ids, or a list of such lists.
            An empty prompt starts from the tokenizer's ``bos_id``. A character that the tokenizer does not know
            is to the model what the tokenizer makes of it, bytes or ``<unk>``; in the result it stands unchanged.
        max_new_tokens: the largest number of tokens to write; 0 returns the prompts.
        sampler: `Greedy`, `Sampling` or `Beam`; greedy when None.
        stop_tokens: ids of tokens that end a text; they are not part of the result. When None the tokenizer's
            ``eos_id``; an empty list for none.
        seed: a whole number: the same seed gives the same text. Text i of a batch draws from a stream of its own,
            made from the seed and i; a list gives each text a seed, and the text that it would get alone. When
            None, another text each time, unless ``keras.utils.set_random_seed`` was called.
        tokenizer: the `kerasllm.text.Tokenizer` of texts.

    Returns:
        The prompts with their continuations, of the same kind: a text, a list of ids, or a list of these.

    Raises:
        TypeError: if prompts are of another kind, or texts without a tokenizer.
        ValueError: if a prompt is empty without a token to begin with, an id is outside the vocabulary, or
            tokenizer and model do not fit each other.

    Example:
        >>> from kerasllm.models import GPT, gpt_settings
        >>> model = GPT(gpt_settings(vocabulary_size=50, num_layers=1, num_heads=2, embedding_dim=8))
        >>> texts = generate(model, [[1, 2, 3], [4]], max_new_tokens=5)
        >>> [len(text) for text in texts], texts[0][:3]
        ([8, 6], [1, 2, 3])
    """
    one = isinstance(prompts, str) or (len(prompts) > 0 and all(isinstance(x, int | np.integer) for x in prompts))
    prompts = [prompts] if one else list(prompts)
    ids = _ids(model, prompts, max_new_tokens, tokenizer)
    if not ids or max_new_tokens == 0:
        texts = [prompt if isinstance(prompt, str) else list(map(int, prompt)) for prompt in prompts]
        return texts[0] if one else texts
    sampler = sampler or Greedy()
    stop, seeds = _stop(stop_tokens, tokenizer), _seeds(seed, len(ids))
    *_, new = _written(model, ids, max_new_tokens, sampler, stop, seeds)
    if tokenizer is None:
        texts = [list(map(int, prompt)) + more for prompt, more in zip(prompts, new, strict=True)]
    else:
        pieces = (_Text(tokenizer, before).add(more, last=True) for before, more in zip(ids, new, strict=True))
        texts = [prompt + piece for prompt, piece in zip(prompts, pieces, strict=True)]
    return texts[0] if one else texts


def stream(model, prompt, max_new_tokens=100, sampler=None, *, stop_tokens=None, seed=None, tokenizer=None, every=8):
    """Continue one text and give out each piece as soon as it is written.

    Args:
        model, max_new_tokens, sampler, stop_tokens, seed, tokenizer: see `generate`. Beam search cannot stream:
            it changes its mind.
        prompt: one text, with a `tokenizer`, or one list of token ids.
        every: how many tokens are written at a time; the first ones come after 1, 2, 4, ... tokens.

    Yields:
        Pieces of text, which joined and put behind the prompt are the text of `generate`. A character whose
        bytes are not complete waits for the rest. Without a tokenizer: one id after another.

    Example:
        >>> from kerasllm.models import GPT, gpt_settings
        >>> model = GPT(gpt_settings(vocabulary_size=50, num_layers=1, num_heads=2, embedding_dim=8))
        >>> list(stream(model, [1, 2], 5)) == generate(model, [1, 2], 5)[2:]
        True
    """
    sampler = sampler or Greedy()
    if isinstance(sampler, Beam):
        raise ValueError("Beam search cannot stream: its best text is known at the end only. Use generate.")
    if not isinstance(every, int) or not 1 <= every <= STEPS:
        raise ValueError(f"every must be a whole number from 1 to {STEPS}, not {every!r}.")
    [ids] = _ids(model, [prompt], max_new_tokens, tokenizer)
    return _pieces(
        model, ids, max_new_tokens, sampler, _stop(stop_tokens, tokenizer), _seeds(seed, 1), tokenizer, every
    )


def _pieces(model, ids, max_new_tokens, sampler, stop, seeds, tokenizer, every):
    text, sent = None if tokenizer is None else _Text(tokenizer, ids), 0
    for [new] in _written(model, [ids], max_new_tokens, sampler, stop, seeds, every) if max_new_tokens else ():
        if text is None:
            yield from new[sent:]
        elif piece := text.add(new[sent:]):
            yield piece
        sent = len(new)
    if text is not None and (piece := text.add([], last=True)):
        yield piece


def _written(model, prompts, max_new_tokens, sampler, stop, seeds, every=None):
    """Yield the new ids of each prompt, all of them so far, after each call of the compiled loop."""
    if not model.built:
        model(np.zeros((1, 2), "int32"))
    context = getattr(model, "context_length", None)
    windows = [prompt[-context:] if context else prompt for prompt in prompts for _ in range(sampler.rows)]
    rows = len(windows)
    new, done = [[] for _ in windows], np.zeros(rows, bool)
    state = sampler.start([prompt for prompt in prompts for _ in range(sampler.rows)], model.vocabulary_size)
    draws = [np.random.default_rng(seed) for seed in seeds for _ in range(sampler.rows)]
    write = compiled(partial(_decode, sampler), model, ("decode", sampler.kind))
    left, steps, capacity = max_new_tokens, 1 if every else STEPS, 0
    while left and not done.all():
        room = left
        if getattr(model, "limited", False):
            windows = [window if len(window) <= context else window[-max(1, context // 2) :] for window in windows]
            longest = max(len(window) for window, finished in zip(windows, done, strict=True) if not finished)
            room = min(left, context + 1 - longest)
        tokens, padding = _filled_up([window[:-1] for window in windows], context)
        position = tokens.shape[1]
        # Once large enough for every later turn: another capacity compiles anew.
        needed = position + room if room == left else max(position + room, context + context // 2)
        capacity = max(capacity, _capacity(model, position, needed))
        memory = compiled(partial(_encode, capacity), model, ("encode", capacity), xla=False)(tokens, padding)
        tokens = np.array([window[-1] for window in windows], "int32")
        while room and not done.all():
            count = min(steps, room)
            uniforms = np.ones((rows, STEPS), "float32")
            uniforms[:, :count] = [1 - draw.random(count) for draw in draws]
            *memories, written, origin = write(
                tokens,
                memory,
                done,
                state,
                uniforms,
                stop,
                np.array(count, "int32"),
            )
            tokens, memory, done, state = memories
            done, written, origin = (ops.convert_to_numpy(x) for x in (done, written, origin))
            more = [row[row >= 0].tolist() for row in written]
            windows = [windows[before] + ids for before, ids in zip(origin, more, strict=True)]
            new = [new[before] + ids for before, ids in zip(origin, more, strict=True)]
            room, left = room - count, left - count
            steps = min(2 * steps, every or STEPS)
            yield np.array(new, object)[sampler.best(state)].tolist() if sampler.rows > 1 else new


def _decode(sampler, model, *tensors):
    return decode(model, sampler, *tensors)


def _encode(capacity, model, tokens, padding):
    return encode(model, tokens, padding, capacity)


def _filled_up(windows, context):
    """Int arrays (rows, time) of ids, padded on the left to a power of two, and (rows,), how much each was padded."""
    time = 1 << max(4, (max(map(len, windows)) - 1).bit_length())
    time = min(time, context) if context else time
    tokens = np.zeros((len(windows), time), "int32")
    for row, window in zip(tokens, windows, strict=True):
        row[time - len(window) :] = window
    return tokens, np.array([time - len(window) for window in windows], "int32")


def _capacity(model, position, needed):
    """How many tokens a cache holds: at least `needed`, in one of four sizes between n and 2 n.

    A ring needs no more than what a token sees; states need none.
    """
    if not hasattr(model, "make_cache"):
        return 0
    step = 1 << max(2, (needed - 1).bit_length() - 3)
    capacity = -(-needed // step) * step
    return capacity if model.limited else min(capacity, max(position, model.sees))


# Arguments ---------------------------------------------------------------------------------------


def _ids(model, prompts, max_new_tokens, tokenizer):
    """The ids of the prompts, each at least one, checked."""
    if not hasattr(model, "vocabulary_size") or not (hasattr(model, "make_cache") or hasattr(model, "step")):
        raise TypeError(f"{type(model).__name__} cannot generate: it needs vocabulary_size, and make_cache or step.")
    if not isinstance(max_new_tokens, int) or max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be a whole number from 0 up, not {max_new_tokens!r}.")
    size = model.vocabulary_size
    if tokenizer is not None:
        if tokenizer.vocabulary_size != size:
            raise ValueError(
                f"The tokenizer has {tokenizer.vocabulary_size} tokens, the model {size}: use that of its training."
            )
        for prompt in prompts:
            if not isinstance(prompt, str):
                raise TypeError(f"With a tokenizer prompts are texts, not {prompt!r}: leave the tokenizer out for ids.")
        ids = tokenizer.encode_batch(prompts)
    else:
        for prompt in prompts:
            if isinstance(prompt, str):
                raise TypeError(f"The prompt {prompt[:40]!r} is a text: give its tokenizer too, tokenizer=...")
        ids = [_checked(prompt, size) for prompt in prompts]
    if max_new_tokens and not all(ids):
        first = getattr(tokenizer, "bos_id", None)
        if first is None:
            raise ValueError(
                "A prompt is empty and there is no token to begin with: give at least one character or id, or a "
                "tokenizer with <bos> (trained with bos=True)."
            )
        ids = [one or [first] for one in ids]
    return ids


def _checked(prompt, size):
    prompt = np.asarray(prompt)
    if prompt.ndim != 1 or (len(prompt) and not np.issubdtype(prompt.dtype, np.integer)):
        raise TypeError(f"A prompt is a text or a flat list of ids, not {str(prompt.tolist())[:60]}.")
    for place, id in enumerate(prompt.tolist()):
        if not 0 <= id < size:
            raise ValueError(f"Id {id} at position {place} of a prompt is outside the vocabulary (0 to {size - 1}).")
    return prompt.tolist()


def _stop(stop_tokens, tokenizer):
    """Stop ids as an array, filled up with -1: another number of them compiles nothing anew."""
    if stop_tokens is None:
        stop_tokens = [] if getattr(tokenizer, "eos_id", None) is None else [tokenizer.eos_id]
    stop_tokens = list(stop_tokens)
    for token in stop_tokens:
        if not isinstance(token, int | np.integer):
            raise TypeError(f"stop_tokens are ids, not {token!r}: use tokenizer.id_of(token).")
    stop = np.full(-(-max(1, len(stop_tokens)) // 8) * 8, -1, "int32")
    stop[: len(stop_tokens)] = stop_tokens
    return stop


def _seeds(seed, texts):
    """For each text what its random numbers are made from."""
    if seed is None:
        seed = random.getrandbits(31)
    if isinstance(seed, int | np.integer):
        seeds = [[seed, i] for i in range(texts)]
    else:
        seeds = [[one, 0] for one in seed]
        if len(seeds) != texts:
            raise ValueError(f"There are {len(seeds)} seeds for {texts} prompts: give one each, or one number for all.")
    for one, _ in seeds:
        if not isinstance(one, int | np.integer) or one < 0:
            raise ValueError(f"A seed is a whole number from 0 up, not {one!r}.")
    return seeds


class _Text:
    """The text of ids that come bit by bit; the bytes of an unfinished character wait."""

    def __init__(self, tokenizer, before):
        self.tokenizer = tokenizer
        self.special = {tokenizer.id_of(token) for token in tokenizer.special_tokens}
        # A tokenizer of words puts a space between two words: keep the last one before.
        self.before = [id for id in before if id not in self.special and not self._byte(id)][-1:]
        self.waiting = []

    def _byte(self, id):
        return self.tokenizer.token_of(id) in BYTE_TOKENS

    def add(self, ids, last=False):
        """The text that is now certain; with `last` all of it."""
        self.waiting += [id for id in ids if id not in self.special]
        text = self.tokenizer.decode(self.before + self.waiting)[len(self.tokenizer.decode(self.before)) :]
        if not self.waiting or (not last and (text.endswith("\ufffd") or self._byte(self.waiting[-1]))):
            return ""
        self.before, self.waiting = self.waiting[-1:], []
        return text
