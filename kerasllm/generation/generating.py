"""Text in, text out: what happens around the compiled loop."""

import numpy as np

from kerasllm.common import whole_number
from kerasllm.generation.arguments import check_model, check_sampler, ids_of, refuse_beam
from kerasllm.generation.session import Session


def generate(
    model, prompts, max_new_tokens=100, sampler=None, *, stop_tokens=None, stop_strings=(), seed=None, tokenizer=None
):
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
            ``stop_ids``; an empty list for none.
        stop_strings: texts that end a text; they and what follows are not part of the result. They need a tokenizer.
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
    check_model(model, tokenizer)
    whole_number("max_new_tokens", max_new_tokens, 0)
    sampler = check_sampler(sampler)
    texts = [prompt if isinstance(prompt, str) else list(map(int, np.ravel(prompt))) for prompt in prompts]
    if not prompts or not max_new_tokens:
        ids_of(prompts, model.vocabulary_size, tokenizer)
        return texts[0] if one else texts
    session = Session(model, tokenizer, rows=len(prompts))
    session.read(prompts)
    wanted = {"stop_tokens": stop_tokens, "stop_strings": stop_strings, "seed": seed}
    replies = session.write(max_new_tokens, sampler, **wanted)
    new = (reply.ids if tokenizer is None else reply.text for reply in replies)
    texts = [text + more for text, more in zip(texts, new, strict=True)]
    return texts[0] if one else texts


def stream(
    model,
    prompt,
    max_new_tokens=100,
    sampler=None,
    *,
    stop_tokens=None,
    stop_strings=(),
    seed=None,
    tokenizer=None,
    every=8,
):
    """Continue one text and give out each piece as soon as it is written.

    Args:
        model, max_new_tokens, sampler, stop_tokens, stop_strings, seed, tokenizer: see `generate`. Beam search
            cannot stream: it changes its mind.
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
    refuse_beam(check_sampler(sampler))
    session = Session(model, tokenizer)
    session.read(prompt)
    wanted = {"stop_tokens": stop_tokens, "stop_strings": stop_strings, "seed": seed, "every": every}
    return session.stream(max_new_tokens, sampler, **wanted)
