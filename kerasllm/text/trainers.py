"""Training of tokenizers: from texts, or a stream of them, to a `Tokenizer`.

The same texts give the same tokenizer, in every process. Texts are read once, so a generator or an open
file serves; only words or characters and their counts are kept. A text without spaces may have any length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from kerasllm.text.characters import BYTE_TOKENS
from kerasllm.text.cutting import by_bytes
from kerasllm.text.roles import ROLES
from kerasllm.text.tokenizer import Tokenizer
from kerasllm.text.training_input import checked_count, checked_size, corpus, special_names

# Bytes without a break, in training. The library's work on a run grows with the square of its length; at this one
# it is not felt, and one pair in a thousand is not counted.
LONGEST_RUN = 1024


def train_characters(
    texts: Iterable[str],
    *,
    vocabulary_size: int | None = None,
    byte_fallback: bool = True,
    lower: bool = False,
    bos: bool = False,
    eos: bool = False,
    mask: bool = False,
    extra: Sequence[str] = (),
) -> Tokenizer:
    """A tokenizer whose tokens are characters (Unicode code points).

    A character that was not in `texts` is spelled as its one to four UTF-8 bytes, for which the
    vocabulary holds 256 tokens ``<0x00>`` to ``<0xFF>``. So every text decodes to itself.

    Args:
        texts: the texts, any iterable of str.
        vocabulary_size: the largest vocabulary; the rarest characters are left out. All characters when None.
        byte_fallback: False for a small vocabulary: unknown characters become ``<unk>`` and are lost.
        lower: whether texts are lower-cased first; decoding then returns the lower-cased text.
        bos: whether there is a special token ``<bos>`` for the beginning of a text.
        eos: whether there is ``<eos>`` for its end.
        mask: whether there is ``<mask>``.
        extra: more special tokens, written like ``<user>`` or ``[SEP]``.

    Returns:
        The `Tokenizer`. Ids: special tokens, bytes, then characters by code point.

    Raises:
        ValueError: if there is no text, or `vocabulary_size` is too small, or larger than 4,194,304.
        TypeError: if a text is not a str.

    Example:
        >>> tokenizer = train_characters(["banana"], byte_fallback=False)
        >>> tokenizer.vocabulary
        ['<pad>', '<unk>', 'a', 'b', 'n']
    """
    special = special_names(not byte_fallback, bos, eos, mask, extra)
    fixed = special + (BYTE_TOKENS if byte_fallback else [])
    if vocabulary_size is not None:
        needed = f"{len(fixed)} special and byte tokens and one character"
        vocabulary_size = checked_size(vocabulary_size, len(fixed) + 1, needed)
    normalizer = normalizers.Lowercase() if lower else None
    counts = Counter()
    for text in corpus(texts):
        counts.update(normalizer.normalize_str(text) if normalizer else text)
    characters = sorted(counts, key=lambda character: (-counts[character], character))
    if vocabulary_size is not None:
        characters = characters[: vocabulary_size - len(fixed)]
    vocabulary = {token: id for id, token in enumerate(fixed + sorted(characters))}
    unknown = None if byte_fallback else ROLES["unknown"][0]
    backend = Backend(models.BPE(vocab=vocabulary, merges=[], byte_fallback=byte_fallback, unk_token=unknown))
    if normalizer:
        backend.normalizer = normalizer
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens(special)
    return Tokenizer(backend)


def train_bpe(
    texts: Iterable[str],
    vocabulary_size: int,
    *,
    minimum_count: int = 1,
    lower: bool = False,
    bos: bool = False,
    eos: bool = False,
    mask: bool = False,
    extra: Sequence[str] = (),
) -> Tokenizer:
    """A byte-pair encoding on bytes, as GPT-2 has it. Every text decodes to itself.

    It starts from the 256 bytes of UTF-8 and joins the most frequent pair of neighbours, again and
    again. A space belongs to the word behind it. Chinese needs nothing else: its characters are
    three bytes each, and frequent characters and words become tokens.

    Args:
        texts: the texts, any iterable of str.
        vocabulary_size: the number of tokens, special ones and 256 bytes included. Fewer when the texts
            have no more pairs.
        minimum_count: how often a pair must occur to be joined.
        lower: whether texts are lower-cased first; decoding then returns the lower-cased text.
        bos: whether there is a special token ``<bos>`` for the beginning of a text.
        eos: whether there is ``<eos>`` for its end.
        mask: whether there is ``<mask>``.
        extra: more special tokens, written like ``<user>`` or ``[SEP]``.

    Returns:
        The `Tokenizer`. Ids: special tokens, bytes, then joined pairs in the order of training.

    Raises:
        ValueError: if there is no text, or `vocabulary_size` is too small, or larger than 4,194,304.
        TypeError: if a text is not a str.

    Example:
        >>> tokenizer = train_bpe(["low lower lowest"], 260)
        >>> tokenizer.tokens("lowest")
        ['low', 'e', 's', 't']

    Reference: Sennrich et al. (2016), "Neural Machine Translation of Rare Words with Subword Units",
    section 3.2; Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", section 2.2.
    """
    special = special_names(False, bos, eos, mask, extra)
    size = checked_size(vocabulary_size, len(special) + 256, f"{len(special)} special tokens and 256 bytes")
    backend = Backend(models.BPE())
    runs = pre_tokenizers.Split(Regex(f".{{{LONGEST_RUN}}}"), "isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence([by_bytes(), runs])
    backend.decoder = decoders.ByteLevel()
    if lower:
        backend.normalizer = normalizers.Lowercase()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=checked_count("minimum_count", minimum_count),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(corpus(texts), trainer)
    backend.pre_tokenizer = by_bytes()
    return Tokenizer(backend)
