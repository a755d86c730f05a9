"""What is asked of the loop, checked: prompts, stops, seeds."""

import random

import numpy as np

from kerasllm.common import whole_number
from kerasllm.generation.samplers import Beam, Greedy


def check_model(model, tokenizer):
    """Refuse a model that cannot generate, and a tokenizer with more tokens than the model has rows."""
    if not hasattr(model, "vocabulary_size") or not (hasattr(model, "make_cache") or hasattr(model, "step")):
        raise TypeError(f"{type(model).__name__} cannot generate: it needs vocabulary_size, and make_cache or step.")
    if tokenizer is not None and not hasattr(tokenizer, "encode_batch"):
        raise TypeError(f"tokenizer must be a Tokenizer, not {tokenizer!r}: Tokenizer.load(path).")
    if tokenizer is not None and tokenizer.vocabulary_size > model.vocabulary_size:
        raise ValueError(
            f"The tokenizer has {tokenizer.vocabulary_size} tokens, the model only {model.vocabulary_size}: use that "
            "of its training."
        )


def check_sampler(sampler):
    """`sampler`, or `Greedy` for None; an error that names the fix for anything that is none."""
    if sampler is None:
        return Greedy()
    if isinstance(sampler, type) or not all(hasattr(sampler, name) for name in ("choose", "start", "kind", "rows")):
        shown = sampler.__name__ if isinstance(sampler, type) else repr(sampler)
        raise TypeError(f"sampler must be an object such as Greedy(), Sampling(0.8) or Beam(4), not {shown}.")
    return sampler


def refuse_beam(sampler):
    """Beam search changes its mind: its text is known at the end only."""
    if isinstance(sampler, Beam):
        raise ValueError("Beam search cannot stream: its best text is known at the end only. Use generate.")


def ids_of(prompts, vocabulary_size, tokenizer):
    """The ids of the prompts, checked."""
    if tokenizer is not None:
        for prompt in prompts:
            if not isinstance(prompt, str):
                raise TypeError(f"With a tokenizer prompts are texts, not {prompt!r}: leave the tokenizer out for ids.")
        return [list(ids) for ids in tokenizer.encode_batch(prompts)]
    for prompt in prompts:
        if isinstance(prompt, str):
            raise TypeError(f"The prompt {prompt[:40]!r} is a text: give its tokenizer too, tokenizer=...")
    return [_checked(prompt, vocabulary_size) for prompt in prompts]


def _checked(prompt, size):
    prompt = np.asarray(prompt)
    if prompt.ndim != 1 or (len(prompt) and not np.issubdtype(prompt.dtype, np.integer)):
        raise TypeError(f"A prompt is a text or a flat list of ids, not {str(prompt.tolist())[:60]}.")
    for place, id in enumerate(prompt.tolist()):
        if not 0 <= id < size:
            raise ValueError(f"Id {id} at position {place} of a prompt is outside the vocabulary (0 to {size - 1}).")
    return prompt.tolist()


def stop_ids(stop_tokens, tokenizer):
    """Stop ids as an array, filled up with -1: another number of them compiles nothing anew."""
    if stop_tokens is None:
        stop_tokens = getattr(tokenizer, "stop_ids", ())
    stop_tokens = list(stop_tokens)
    for token in stop_tokens:
        if isinstance(token, bool) or not isinstance(token, int | np.integer):
            raise TypeError(f"stop_tokens are ids, not {token!r}: use tokenizer.id_of(token).")
    stop = np.full(-(-max(1, len(stop_tokens)) // 8) * 8, -1, "int32")
    stop[: len(stop_tokens)] = stop_tokens
    return stop


def check_stop_strings(stop_strings, tokenizer):
    """Stop strings as a tuple; they need a tokenizer."""
    strings = (stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings)
    for one in strings:
        if not isinstance(one, str) or not one:
            raise ValueError(f"stop_strings are texts of at least one character, not {one!r}.")
    if strings and tokenizer is None:
        raise ValueError("stop_strings need a tokenizer, which tells what ids are in text: tokenizer=...")
    return strings


def seeds_of(seed, texts):
    """For each text what its random numbers are made from."""
    if seed is None:
        seed = random.getrandbits(31)
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        seeds = [[seed, i] for i in range(texts)]
    elif isinstance(seed, bool) or isinstance(seed, str | float) or not hasattr(seed, "__iter__"):
        raise ValueError(f"A seed is a whole number from 0 up, or one for each text, not {seed!r}.")
    else:
        seeds = [[one, 0] for one in seed]
        if len(seeds) != texts:
            raise ValueError(f"There are {len(seeds)} seeds for {texts} prompts: give one each, or one number for all.")
    return [[whole_number("seed", one, 0), place] for one, place in seeds]


def barred_ids(model, tokenizer):
    """Which rows of the model are no token, so that they are never written: bool (vocabulary_size,); None if none."""
    size, known = model.vocabulary_size, model.vocabulary_size if tokenizer is None else tokenizer.vocabulary_size
    holes = sorted(getattr(tokenizer, "holes", ()))
    if known == size and not holes:
        return None
    barred = np.arange(size) >= known
    barred[holes] = True
    return barred
