"""Training of tokenizers: from texts, or a stream of them, to a `Tokenizer`.

The same texts give the same tokenizer, in every process. Texts are read once, so a generator or an open
file serves; only words or characters and their counts are kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from kerasllm.text.tokenizer import BYTE_TOKENS, ROLES, Tokenizer, check_text

# Scripts that are written without spaces between words.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTERS = rf"[\p{{L}}\p{{M}}\p{{N}}_&&[^{_UNSPACED}]]"
# One character of such a script; a word with its apostrophes; any other sign alone.
_WORD = rf"[{_UNSPACED}]\p{{M}}*|{_LETTERS}+(?:['’]{_LETTERS}+)*|[^\s]"

# A special token holds signs and letters: no tokenizer here joins the two, so no text can make one.
_SPECIAL = re.compile(r"(?!<0x)[<\[][!-~]*[A-Za-z0-9][!-~]*[>\]]")


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
        ValueError: if there is no text, or `vocabulary_size` is too small.
        TypeError: if a text is not a str.

    Example:
        >>> tokenizer = train_characters(["banana"], byte_fallback=False)
        >>> tokenizer.vocabulary
        ['<pad>', '<unk>', 'a', 'b', 'n']
    """
    special = _special(not byte_fallback, bos, eos, mask, extra)
    normalizer = normalizers.Lowercase() if lower else None
    counts = Counter()
    for text in _corpus(texts):
        counts.update(normalizer.normalize_str(text) if normalizer else text)
    characters = sorted(counts, key=lambda character: (-counts[character], character))
    fixed = special + (BYTE_TOKENS if byte_fallback else [])
    if vocabulary_size is not None:
        _check_size(vocabulary_size, len(fixed) + 1, f"{len(fixed)} special and byte tokens and one character")
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
        ValueError: if there is no text, or `vocabulary_size` is too small.
        TypeError: if a text is not a str.

    Example:
        >>> tokenizer = train_bpe(["low lower lowest"], 260)
        >>> tokenizer.tokens("lowest")
        ['low', 'e', 's', 't']

    Reference: Sennrich et al. (2016), "Neural Machine Translation of Rare Words with Subword Units",
    section 3.2; Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", section 2.2.
    """
    special = _special(False, bos, eos, mask, extra)
    _check_size(vocabulary_size, len(special) + 256, f"{len(special)} special tokens and 256 bytes")
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if lower:
        backend.normalizer = normalizers.Lowercase()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=minimum_count,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_corpus(texts), trainer)
    return Tokenizer(backend)


def train_words(
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
    """A tokenizer whose tokens are words; every other word is ``<unk>``.

    A word is a run of letters and digits, with apostrophes inside; a sign is a word of its own. Chinese,
    Japanese, Thai, Lao, Khmer and Burmese are written without spaces: there each character is a word, as in
    BERT, so that a sentence is not one token. Decoding joins the words with spaces and takes the ones out that
    English and Chinese do not write; it is not exact.

    Args:
        texts: the texts, any iterable of str.
        vocabulary_size: the number of tokens, special ones included: the most frequent words are kept.
        minimum_count: how often a word must occur to be kept.
        lower: whether texts are lower-cased first.
        bos: whether there is a special token ``<bos>`` for the beginning of a text.
        eos: whether there is ``<eos>`` for its end.
        mask: whether there is ``<mask>``.
        extra: more special tokens, written like ``<user>`` or ``[SEP]``.

    Returns:
        The `Tokenizer`. Ids: special tokens, then words by falling count.

    Raises:
        ValueError: if there is no text, or `vocabulary_size` is too small.
        TypeError: if a text is not a str.

    Example:
        >>> tokenizer = train_words(["The cat sat.", "我喜欢猫。"], 20, lower=True)
        >>> tokenizer.tokens("the dog 喜欢。")
        ['the', '<unk>', '喜', '欢', '。']
    """
    special = _special(True, bos, eos, mask, extra)
    _check_size(vocabulary_size, len(special) + 1, f"{len(special)} special tokens and one word")
    backend = _word_backend(models.WordLevel(unk_token=ROLES["unknown"][0]), lower)
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocabulary_size, min_frequency=minimum_count, special_tokens=special, show_progress=False
    )
    backend.train_from_iterator(_corpus(texts), trainer)
    return Tokenizer(backend)


def train_wordpiece(
    texts: Iterable[str],
    vocabulary_size: int,
    *,
    alphabet_size: int | None = None,
    minimum_count: int = 1,
    lower: bool = False,
    bos: bool = False,
    eos: bool = False,
    mask: bool = False,
    extra: Sequence[str] = (),
) -> Tokenizer:
    """A WordPiece tokenizer: parts of words, those inside a word marked with ``##``, as BERT has it.

    Words are cut as in `train_words`, so Chinese comes as characters. Encoding takes the longest part that
    fits, from the left. A word that cannot be put together is ``<unk>``. The parts are found by joining
    frequent pairs, as the `tokenizers` library does; the published method scores pairs otherwise.

    Args:
        texts: the texts, any iterable of str.
        vocabulary_size: the number of tokens, special ones and the alphabet included.
        alphabet_size: keep only so many of the most frequent characters; all when None.
        minimum_count: how often a pair must occur to be joined.
        lower: whether texts are lower-cased first.
        bos: whether there is a special token ``<bos>`` for the beginning of a text.
        eos: whether there is ``<eos>`` for its end.
        mask: whether there is ``<mask>``.
        extra: more special tokens, written like ``<user>`` or ``[SEP]``.

    Returns:
        The `Tokenizer`. Ids: special tokens, the alphabet, then joined pairs in the order of training.

    Raises:
        ValueError: if there is no text, or `vocabulary_size` is too small for the alphabet.
        TypeError: if a text is not a str.

    Example:
        >>> tokenizer = train_wordpiece(["low lower lowest"], 17)
        >>> tokenizer.tokens("lowest")
        ['low', '##e', '##s', '##t']

    Reference: Schuster and Nakajima (2012), "Japanese and Korean Voice Search", section 2.
    """
    special = _special(True, bos, eos, mask, extra)
    backend = _word_backend(models.WordPiece(unk_token=ROLES["unknown"][0]), lower)
    counts = _count_words(texts, backend)
    characters, inner, counts = _alphabet(counts, alphabet_size)
    needed = len(special) + len(characters) + len(inner)
    parts = f"{len(special)} special tokens and an alphabet of {len(characters)} characters and {len(inner)} with ##"
    _check_size(vocabulary_size, needed, parts, " or a smaller alphabet_size")
    # The trainer numbers "##" characters in the order of a hash table, which differs from run to run. It numbers
    # special tokens in the order given: so the alphabet goes in as special tokens.
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size,
        min_frequency=minimum_count,
        special_tokens=special + characters + inner,
        show_progress=False,
    )
    learner = Backend(models.WordPiece(unk_token=ROLES["unknown"][0]))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    learner.train_from_iterator(_repeated(counts), trainer)
    backend.model = models.WordPiece(
        vocab=learner.get_vocab(), unk_token=ROLES["unknown"][0], max_input_chars_per_word=100
    )
    backend.add_special_tokens(special)
    return Tokenizer(backend)


# Parts of the above -------------------------------------------------------------------------------


def _word_backend(model, lower: bool) -> Backend:
    backend = Backend(model)
    if lower:
        backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
    opening, closing = r"(\[{“‘（【《「『", r".,!?;:)\]}%”’、。，！？；：）】》」』"
    backend.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(rf"(?<=[{_UNSPACED}、。，！？；：]) (?=[{_UNSPACED}])"), ""),
            decoders.Replace(Regex(rf" (?=[{closing}])|(?<=[{opening}]) "), ""),
        ]
    )
    return backend


def _count_words(texts: Iterable[str], backend: Backend) -> Counter:
    counts = Counter()
    for text in _corpus(texts):
        if backend.normalizer:
            text = backend.normalizer.normalize_str(text)
        counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text))
    return counts


def _alphabet(counts: Counter, size: int | None) -> tuple[list[str], list[str], Counter]:
    """All characters, those inside a word once more with ##, and the counts of words made of kept characters."""
    if size is not None:
        characters = Counter()
        for word, count in counts.items():
            for character in word:
                characters[character] += count
        kept = set(sorted(characters, key=lambda character: (-characters[character], character))[:size])
        counts = Counter({word: count for word, count in counts.items() if kept.issuperset(word)})
    characters = sorted(set().union(*counts))
    inner = sorted({"##" + character for word in counts for character in word[1:]})
    return characters, inner, counts


def _repeated(counts: Counter, most: int = 10_000) -> Iterator[str]:
    for word, count in sorted(counts.items()):
        for start in range(0, count, most):
            yield " ".join([word] * min(most, count - start))


def _special(unknown: bool, bos: bool, eos: bool, mask: bool, extra: Sequence[str]) -> list[str]:
    wanted = {"pad": True, "unknown": unknown, "bos": bos, "eos": eos, "mask": mask}
    tokens = [ROLES[role][0] for role, present in wanted.items() if present]
    extra = [extra] if isinstance(extra, str) else list(extra)
    for token in extra:
        if not isinstance(token, str) or not _SPECIAL.fullmatch(token):
            raise ValueError(
                f"The special token {token!r} could be mistaken for text. Write it in brackets, with at least one "
                "ASCII letter or digit and no space: '<user>' or '[USER]'."
            )
    twice = [token for token, count in Counter(tokens + extra).items() if count > 1]
    if twice:
        raise ValueError(f"The special token {twice[0]!r} is given twice. Name it once.")
    return tokens + extra


def _corpus(texts: Iterable[str]) -> Iterator[str]:
    if isinstance(texts, str):
        raise TypeError(f"Expected several texts, not the one text {texts[:40]!r}. Put it into a list: [text].")
    characters = 0
    for place, text in enumerate(texts):
        check_text(text, place)
        characters += len(text)
        yield text
    if not characters:
        raise ValueError("There is no text to train on: the texts are empty. Is the generator used up already?")


def _check_size(size: int, least: int, parts: str, remedy: str = "") -> None:
    if not isinstance(size, int) or size < least:
        raise ValueError(
            f"vocabulary_size {size!r} is too small: {parts} need {least}. "
            f"Take vocabulary_size={least} or more{remedy}."
        )
