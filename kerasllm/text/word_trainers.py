"""Training of the two tokenizers that cut a text into words first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from kerasllm.common import whole_number
from kerasllm.text.cutting import UNSPACED, by_words
from kerasllm.text.roles import ROLES
from kerasllm.text.tokenizer import Tokenizer
from kerasllm.text.training_input import checked_count, checked_size, corpus, special_names

LONGEST_WORD = 100  # characters; a longer one is <unk> in WordPiece, as in BERT


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
        ValueError: if there is no text, or `vocabulary_size` is too small, or larger than 4,194,304.
        TypeError: if a text is not a str.

    Example:
        >>> tokenizer = train_words(["The cat sat.", "我喜欢猫。"], 20, lower=True)
        >>> tokenizer.tokens("the dog 喜欢。")
        ['the', '<unk>', '喜', '欢', '。']
    """
    special = special_names(True, bos, eos, mask, extra)
    size = checked_size(vocabulary_size, len(special) + 1, f"{len(special)} special tokens and one word")
    minimum_count = checked_count("minimum_count", minimum_count)
    backend = _word_backend(models.WordLevel(unk_token=ROLES["unknown"][0]), lower)
    trainer = trainers.WordLevelTrainer(
        vocab_size=size, min_frequency=minimum_count, special_tokens=special, show_progress=False
    )
    backend.train_from_iterator(corpus(texts), trainer)
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
    frequent pairs, as the `tokenizers` library does; the published method scores pairs otherwise. A word of more
    than 100 characters is ``<unk>`` as well; its parts count in training, 100 characters at a time.

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
        ValueError: if there is no text, or `vocabulary_size` is too small for the alphabet, or larger than
            4,194,304.
        TypeError: if a text is not a str.

    Example:
        >>> tokenizer = train_wordpiece(["low lower lowest"], 17)
        >>> tokenizer.tokens("lowest")
        ['low', '##e', '##s', '##t']

    Reference: Schuster and Nakajima (2012), "Japanese and Korean Voice Search", section 2.
    """
    special = special_names(True, bos, eos, mask, extra)
    size = checked_size(vocabulary_size, len(special) + 1, f"{len(special)} special tokens and one character")
    minimum_count = checked_count("minimum_count", minimum_count)
    alphabet_size = whole_number("alphabet_size", alphabet_size, optional=True)
    backend = _word_backend(models.WordPiece(unk_token=ROLES["unknown"][0]), lower)
    counts = _count_words(texts, backend)
    characters, inner, counts = _alphabet(counts, alphabet_size)
    needed = len(special) + len(characters) + len(inner)
    parts = f"{len(special)} special tokens and an alphabet of {len(characters)} characters and {len(inner)} with ##"
    checked_size(size, needed, parts, " or a smaller alphabet_size")
    # The trainer numbers "##" characters in the order of a hash table, which differs from run to run. It numbers
    # special tokens in the order given: so the alphabet goes in as special tokens.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=minimum_count,
        special_tokens=special + characters + inner,
        show_progress=False,
    )
    learner = Backend(models.WordPiece(unk_token=ROLES["unknown"][0]))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    learner.train_from_iterator(_repeated(counts), trainer)
    backend.model = models.WordPiece(
        vocab=learner.get_vocab(), unk_token=ROLES["unknown"][0], max_input_chars_per_word=LONGEST_WORD
    )
    backend.add_special_tokens(special)
    return Tokenizer(backend)


# Parts of the above -------------------------------------------------------------------------------


def _word_backend(model: models.Model, lower: bool) -> Backend:
    backend = Backend(model)
    if lower:
        backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = by_words()
    opening, closing = r"(\[{“‘（【《「『", r".,!?;:)\]}%”’、。，！？；：）】》」』"
    backend.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(rf"(?<=[{UNSPACED}、。，！？；：]) (?=[{UNSPACED}])"), ""),
            decoders.Replace(Regex(rf" (?=[{closing}])|(?<=[{opening}]) "), ""),
        ]
    )
    return backend


def _count_words(texts: Iterable[str], backend: Backend) -> Counter:
    counts = Counter()
    for text in corpus(texts):
        if backend.normalizer:
            text = backend.normalizer.normalize_str(text)
        counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text))
    for word in [word for word in counts if len(word) > LONGEST_WORD]:
        count = counts.pop(word)
        for start in range(0, len(word), LONGEST_WORD):
            counts[word[start : start + LONGEST_WORD]] += count
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
