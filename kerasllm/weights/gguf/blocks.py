"""How a GGUF file stores numbers: blocks of bytes to float32 and back.

A quantised kind cuts each row into blocks of 32 or 256 numbers. A block holds one or two scales and a small whole
number, the code, for each of its numbers:

    Q8_0   number = scale x code, codes of 8 bits from -128 to 127
    Q4_0   number = scale x (code - 8), Q5_0: number = scale x (code - 16)
    Q4_1   number = scale x code + minimum, Q5_1 too: codes from 0
    Q4_K   256 numbers as 8 groups of 32; the scale and the minimum of a group are themselves codes of 6 bits,
           multiplied by two float16 of the block; Q5_K adds one bit to each code
    Q6_K   256 numbers as 16 groups of 16, a scale of 8 bits each

Reference: ggml-common.h (the structures ``block_q4_0`` and so on) and ggml-quants.c (``dequantize_row_...``,
``quantize_row_q8_0_ref``) in https://github.com/ggml-org/llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Kind(NamedTuple):
    """A way to store numbers: its name, its number in a file, and the size of a block."""

    name: str
    code: int
    numbers: int  # in a block
    bytes: int  # of a block


KINDS = {
    kind.name: kind
    for kind in (
        Kind("F32", 0, 1, 4),
        Kind("F16", 1, 1, 2),
        Kind("Q4_0", 2, 32, 18),
        Kind("Q4_1", 3, 32, 20),
        Kind("Q5_0", 6, 32, 22),
        Kind("Q5_1", 7, 32, 24),
        Kind("Q8_0", 8, 32, 34),
        Kind("Q4_K", 12, 256, 144),
        Kind("Q5_K", 13, 256, 176),
        Kind("Q6_K", 14, 256, 210),
        Kind("BF16", 30, 1, 2),
    )
}
BY_CODE = {kind.code: kind for kind in KINDS.values()}
# What llama.cpp writes too and we do not read: named in the message.
OTHERS = {
    **{9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S"},
    **{20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64"},
    **{29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4"},
}


class Quantized(NamedTuple):
    """The parts of a quantised tensor: number = scale of its block x code + minimum of its block.

    Args:
        codes: int8, of the tensor's shape.
        scales: float32 (..., columns / 32).
        minima: float32 (..., columns / 32), or None where they are all 0.
    """

    codes: np.ndarray
    scales: np.ndarray
    minima: np.ndarray | None


class ScaleError(ValueError):
    """A scale or a minimum is not a finite number."""


def decoded(kind: str, blocks: np.ndarray) -> np.ndarray:
    """The numbers of blocks.

    Args:
        kind: a name of `KINDS`.
        blocks: uint8 (blocks, bytes of a block).

    Returns:
        float32 (blocks, numbers of a block).

    Raises:
        ScaleError: if a scale or a minimum in a block is NaN or infinite. Numbers that stand alone (F32, F16, BF16)
            are returned as they are.

    Example:
        >>> block = np.frombuffer(np.float16(0.5).tobytes() + bytes(range(32)), "uint8")
        >>> decoded("Q8_0", block[None])[0, :4].tolist()
        [0.0, 0.5, 1.0, 1.5]
    """
    return _DECODERS[kind](blocks)


def parts_of(kind: str, blocks: np.ndarray) -> Quantized:
    """Codes, scales and minima of blocks of 32 numbers; arguments and errors as those of `decoded`.

    Returns:
        A `Quantized` of arrays (blocks, 32), (blocks,) and (blocks,).
    """
    codes, scales, minima = _PARTS[kind](blocks)
    return Quantized(codes, scales[:, 0], None if minima is None else minima[:, 0])


def has_parts(kind: str) -> bool:
    """Whether `parts_of` knows the kind: those whose blocks have one scale."""
    return kind in _PARTS


def encoded(kind: str, numbers: np.ndarray) -> np.ndarray:
    """The blocks of numbers, in the kind F32, F16, BF16 or Q8_0. Rounds to nearest.

    Args:
        kind: the kind.
        numbers: float32 (numbers,); for Q8_0 a multiple of 32.

    Returns:
        uint8 (bytes,).

    Raises:
        ScaleError: if the kind cannot hold a number: in Q8_0 NaN and infinity, in F16 what is beyond 65504.

    Example:
        >>> blocks = encoded("Q8_0", np.linspace(-1, 1, 32, dtype="float32"))
        >>> round(float(decoded("Q8_0", blocks[None])[0, 0]), 3), len(blocks)
        (-1.0, 34)
    """
    return np.ascontiguousarray(_ENCODERS[kind](numbers)).reshape(-1).view("uint8")


# Reading --------------------------------------------------------------------------------------------------------------


def _halves(blocks: np.ndarray, *starts: int) -> list[np.ndarray]:
    """The float16 that stand at these bytes of each block, as float32 (blocks, 1)."""
    found = [np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype("float32") for at in starts]
    for numbers in found:
        finite = np.isfinite(numbers[:, 0])
        if not finite.all():
            place = int(np.argmin(finite))
            raise ScaleError(f"{numbers[place, 0]} as a scale in block {place}")
    return found


def _nibbles(packed: np.ndarray) -> np.ndarray:
    """uint8 (blocks, n) -> (blocks, 2 n): first the low four bits of all bytes, then the high ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _fifth_bits(packed: np.ndarray) -> np.ndarray:
    """uint8 (blocks, 4) -> (blocks, 32): 16 where the bit is set."""
    return np.unpackbits(packed, axis=1, bitorder="little") << 4


def _q8_0(blocks):
    (scales,) = _halves(blocks, 0)
    return blocks[:, 2:].view("int8"), scales, None


def _q4_0(blocks):
    (scales,) = _halves(blocks, 0)
    return _nibbles(blocks[:, 2:]).view("int8") - np.int8(8), scales, None


def _q4_1(blocks):
    scales, minima = _halves(blocks, 0, 2)
    return _nibbles(blocks[:, 4:]).view("int8"), scales, minima


def _q5_0(blocks):
    (scales,) = _halves(blocks, 0)
    codes = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6])
    return codes.view("int8") - np.int8(16), scales, None


def _q5_1(blocks):
    scales, minima = _halves(blocks, 0, 2)
    return (_nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])).view("int8"), scales, minima


_PARTS = {"Q8_0": _q8_0, "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1}


def _from_parts(kind: str) -> Callable[[np.ndarray], np.ndarray]:
    def decode(blocks: np.ndarray) -> np.ndarray:
        codes, scales, minima = _PARTS[kind](blocks)
        numbers = codes.astype("float32")
        numbers *= scales
        if minima is not None:
            numbers += minima
        return numbers

    return decode


def _six_bits(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 8 scales and 8 minima of 6 bits in 12 bytes: uint8 (blocks, 12) -> two of (blocks, 8).

    The first four of each are the low 6 bits of bytes 0 to 3 and 4 to 7. The other four have their low 4 bits in
    bytes 8 to 11, those of the scale first, and their high 2 bits on top of the first eight bytes.
    """
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6) << 4], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6) << 4], axis=1)
    return scales, minima


def _groups_of_32(blocks: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Codes uint8 (blocks, 8, 32) times the scales of their groups, less the minima."""
    scale, minimum = _halves(blocks, 0, 2)
    scales, minima = _six_bits(blocks[:, 4:16])
    numbers = codes.astype("float32")
    numbers *= (scale * scales)[:, :, None]
    numbers -= (minimum * minima)[:, :, None]
    return numbers.reshape(-1, 256)


def _q4_k(blocks):
    packed = blocks[:, 16:].reshape(-1, 4, 1, 32)  # 32 bytes hold two groups: low halves, then high halves
    return _groups_of_32(blocks, np.concatenate([packed & 15, packed >> 4], axis=2).reshape(-1, 8, 32))


def _q5_k(blocks):
    packed = blocks[:, 48:].reshape(-1, 4, 1, 32)
    codes = np.concatenate([packed & 15, packed >> 4], axis=2).reshape(-1, 8, 32)
    # Bit g of byte i is the fifth bit of number i in group g.
    fifth = (blocks[:, 16:48, None] >> np.arange(8, dtype="uint8") & 1).swapaxes(1, 2)
    return _groups_of_32(blocks, codes | fifth << 4)


def _q6_k(blocks):
    low = blocks[:, :128].reshape(-1, 2, 1, 64)  # of each half of 128 numbers: four bits, low halves first
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], "uint8")[:, None] & 3
    codes = (low | high << 4).view("int8") - np.int8(32)
    (scale,) = _halves(blocks, 208)
    scales = scale * np.ascontiguousarray(blocks[:, 192:208]).view("int8")
    numbers = codes.reshape(-1, 16, 16).astype("float32")
    numbers *= scales[:, :, None]
    return numbers.reshape(-1, 256)


def _bf16(blocks):
    return (np.ascontiguousarray(blocks).view("<u2").astype("uint32") << 16).view("float32")


_DECODERS = {
    "F32": lambda blocks: np.ascontiguousarray(blocks).view("<f4").astype("float32", copy=False),
    "F16": lambda blocks: np.ascontiguousarray(blocks).view("<f2").astype("float32"),
    "BF16": _bf16,
    **{kind: _from_parts(kind) for kind in _PARTS},
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}


# Writing --------------------------------------------------------------------------------------------------------------


def _to_f16(numbers: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        rounded = numbers.astype("<f2")
    lost = np.isfinite(numbers) & ~np.isfinite(rounded)
    if lost.any():
        raise ScaleError(f"{numbers[lost][0]:g}, which F16 cannot hold (BF16 and F32 can)")
    return rounded


def _to_bf16(numbers: np.ndarray) -> np.ndarray:
    bits = numbers.view("uint32")
    odd = bits >> 16 & 1
    rounded = (bits + (np.uint32(0x7FFF) + odd)) >> 16  # a tie goes to the even neighbour
    quiet = bits >> 16 | 64  # NaN stays NaN
    return np.where(np.isnan(numbers), quiet, rounded).astype("<u2")


def _to_q8_0(numbers: np.ndarray) -> np.ndarray:
    if not np.isfinite(numbers).all():
        raise ScaleError(f"{numbers[~np.isfinite(numbers)][0]}, which Q8_0 cannot hold")
    numbers = numbers.reshape(-1, 32)
    scales = np.abs(numbers).max(axis=1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scales
    # Where the largest number is 0, or so small that its inverse is infinite, the stored scale is 0 too.
    inverse[~np.isfinite(inverse)] = 0
    scaled = numbers * inverse
    # C's roundf: halves go away from zero. NumPy's rint would take them to the even neighbour.
    whole = np.trunc(scaled)
    whole += np.sign(scaled) * (np.abs(scaled - whole) >= 0.5)
    blocks = np.empty((len(numbers), 34), "uint8")
    blocks[:, :2] = _to_f16(scales).view("uint8")
    blocks[:, 2:] = whole.astype("int8").view("uint8")
    return blocks


_ENCODERS = {
    "F32": lambda numbers: numbers.astype("<f4", copy=False),
    "F16": _to_f16,
    "BF16": _to_bf16,
    "Q8_0": _to_q8_0,
}
WRITTEN = tuple(_ENCODERS)
