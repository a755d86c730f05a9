"""Matrices packed for one text after another on a CPU, where a token costs as long as its matrices take to read.

Equal blocks are gone through in a loop, so that one block is compiled and not thirty. Their matrices stand in one
array, cut so that a compiled loop reads each byte once and multiplies whole rows of columns:

    codes    (count, parts, rows, columns)   `rows` rows of the matrix beside each other are summed in one go
    scales   (count, inputs / 32, columns)   of blocks of 32 rows, and minima likewise: number = scale x code + minimum

Reference: the blocks are those of GGUF's Q8_0 and Q4_1, see `kerasllm.weights.gguf.blocks`.
"""

import keras
import numpy as np
from keras import ops

from kerasllm.common import choice
from kerasllm.common.memory import returned_zeros
from kerasllm.layers.backend import handed_over, summed

BLOCK = 32  # rows that share a scale
NUMBERS = ("float32", "bfloat16", "int8", "int4")
FEW = 3  # so many vectors are multiplied one by one; more of them by a matrix that is unpacked for them


class PackedMatrices:
    """Several matrices of one shape, and what each multiplies.

    Args:
        numbers: "float32", "bfloat16", "int8" or "int4": what is stored. Sums are of float32 always.
        inputs: rows of each matrix: the size of the vectors.
        columns: of each matrix: the size of the products.
        count: how many matrices.

    Attributes:
        variables: once `store` was called, the variables that hold them.

    Raises:
        ValueError: if there are no such numbers; from `put`, if "int8" or "int4" are to hold NaN or infinity.

    Example:
        >>> packed = PackedMatrices("int8", inputs=64, columns=3, count=2)
        >>> packed.put(0, np.eye(64, 3)), packed.put(1, 2 * np.eye(64, 3))
        (None, None)
        >>> [round(float(x), 2) for x in packed.store()(keras.ops.arange(64.0)[None], 1)[0]]
        [0.0, 2.0, 4.0]
    """

    def __init__(self, numbers, inputs, columns, count=1):
        self.numbers = choice("numbers", numbers, NUMBERS)
        self.inputs, self.columns, self.count = inputs, columns, count
        self.padded = -(-inputs // BLOCK) * BLOCK
        self.halves = 2 if numbers == "int4" else 1  # numbers in a byte: row r and row r + 16 of a block
        most = self.padded // self.halves
        # The sum over the parts is apart from that in a part only if it has more than 32 terms, see `summed`.
        self.rows = next((r for r in (32 // self.halves, 16, 8, 4, 2) if most / r > 32), 1)
        self.parts = most // self.rows
        dtype = {"int8": "int8", "int4": "uint8", "float32": "float32", "bfloat16": "uint16"}[numbers]
        self._codes = returned_zeros((count, self.parts, self.rows, columns), dtype)
        self._scales = self._minima = None
        self.variables = []

    def put(self, index, matrix, at=0):
        """Pack a matrix, or columns of one.

        Args:
            index: which of the matrices it is.
            matrix: float array (inputs, columns); or (codes, scales, minima) of blocks of 32 along each column: int8
                (columns, inputs), float (columns, inputs / 32), and minima of that shape or None. Codes of 4 bits are
                from 0 to 15, and from -8 to 7 where there are no minima.
            at: the column that its first one becomes.
        """
        if self.numbers in ("float32", "bfloat16"):
            return self._put_floats(index, np.asarray(matrix, "float32"), at)
        codes, scales, minima = matrix if isinstance(matrix, tuple) else self._quantized(np.asarray(matrix, "float32"))
        if self.numbers == "int4" and minima is None:
            codes, minima = codes + np.int8(8), -8 * scales
        columns = slice(at, at + len(codes))
        groups = self._padded(codes).reshape(len(codes), -1, 2, BLOCK // 2)
        if self.numbers == "int4":
            packed = groups.astype("uint8")
            packed = packed[:, :, 0] | packed[:, :, 1] << 4
        else:
            packed = groups
        self._codes[index, :, :, columns] = packed.reshape(len(codes), self.parts, self.rows).transpose(1, 2, 0)
        self._put_scales("_scales", index, scales, columns)
        if minima is not None or self._minima is not None:
            self._put_scales("_minima", index, np.zeros_like(scales) if minima is None else minima, columns)
        return None

    def _put_floats(self, index, matrix, at):
        numbers = np.zeros((self.padded, matrix.shape[1]), self.numbers)
        numbers[: self.inputs] = matrix
        if self.numbers == "bfloat16":
            numbers = numbers.view("uint16")
        self._codes[index, :, :, at : at + matrix.shape[1]] = numbers.reshape(self.parts, self.rows, -1)

    def _padded(self, codes):
        return codes if codes.shape[1] == self.padded else np.pad(codes, [(0, 0), (0, self.padded - codes.shape[1])])

    def _put_scales(self, name, index, values, columns):
        """Scales are float16, as in a file; float32 from the first one on that float16 cannot hold."""
        stack = getattr(self, name)
        if stack is None:
            stack = returned_zeros((self.count, self.padded // BLOCK, self.columns), "float16")
        with np.errstate(over="ignore"):
            exact = np.array_equal(values.astype("float16").astype("float32"), values)
        stack = stack if exact or stack.dtype == "float32" else stack.astype("float32")
        stack[index, : values.shape[1], columns] = values.T
        setattr(self, name, stack)

    def _quantized(self, matrix):
        """Codes, scales and minima of a float matrix, by the extremes of each block."""
        if not np.isfinite(matrix).all():
            raise ValueError(f"A matrix holds NaN or infinity, which {self.numbers} cannot: mend it, or use float32.")
        blocks = np.pad(matrix, [(0, self.padded - len(matrix)), (0, 0)]).T.reshape(matrix.shape[1], -1, BLOCK)
        if self.numbers == "int8":
            scales, minima = _as_half(np.abs(blocks).max(-1) / 127), None
            codes = blocks / np.where(scales, scales, 1)[..., None]
        else:
            minima = _as_half(blocks.min(-1))
            scales = _as_half((blocks.max(-1) - minima) / 15)
            codes = (blocks - minima[..., None]) / np.where(scales, scales, 1)[..., None]
        codes = np.clip(np.rint(codes), *((-127, 127) if minima is None else (0, 15))).astype("int8")
        return codes.reshape(len(codes), -1), scales, minima

    def store(self):
        """Make variables of what was put, and forget the arrays. Returns itself."""
        for name in ("_codes", "_scales", "_minima"):
            values = getattr(self, name)
            if values is not None:
                dtype = str(values.dtype)
                variable = keras.Variable(handed_over(values), dtype=dtype, trainable=False, name=name[1:])
                setattr(self, name, variable)
                self.variables.append(variable)
                del values
        return self

    @property
    def bytes(self):
        """Bytes of all matrices together, scales included."""
        return sum(int(np.prod(one.shape)) * np.dtype(str(one.dtype)).itemsize for one in self.variables)

    def __call__(self, x, index):
        """The vectors multiplied by one of the matrices.

        Args:
            x: float tensor (vectors, inputs); the number of vectors is known before it runs.
            index: which matrix: a whole number or an int scalar.

        Returns:
            Float32 tensor (vectors, columns).
        """
        x = ops.cast(x, "float32")
        if self.padded > self.inputs:
            x = ops.pad(x, [[0, 0], [0, self.padded - self.inputs]])
        if x.shape[0] not in range(1, FEW + 1) or keras.backend.backend() == "torch":
            return self._many(x, index)
        return ops.concatenate([self._one(x[n], index)[None] for n in range(x.shape[0])])

    def _one(self, x, index):
        """float32 (padded,) -> (columns,): each byte is read once, and no matrix of floats is written."""
        x = self._cut(x)  # (halves, parts, rows)
        products = 0.0
        for row in range(self.rows):
            for half, numbers in enumerate(self._unpacked(self._slice(self._codes, index, row)[0, :, 0])):
                products = products + numbers * x[half, :, row, None]
        if self._scales is not None:
            products = products * self._of_parts(self._scales, index)
        if self._minima is not None:
            products = products + self._of_parts(self._minima, index) * ops.sum(x, axis=(0, 2))[:, None]
        return summed(products)

    def _many(self, x, index):
        """float32 (vectors, padded) -> (vectors, columns), by the unpacked matrix."""
        codes = ops.reshape(self._slice(self._codes, index)[0], (-1, self.columns))
        x = ops.reshape(x, (-1, self.padded // BLOCK, self.halves, BLOCK // self.halves))
        found = 0.0
        for half, numbers in enumerate(self._unpacked(codes)):
            if self._scales is not None:
                numbers = ops.reshape(numbers, (self.padded // BLOCK, -1, self.columns))
                numbers = numbers * ops.cast(self._slice(self._scales, index)[0], "float32")[:, None]
                if self._minima is not None:
                    numbers = numbers + ops.cast(self._slice(self._minima, index)[0], "float32")[:, None]
                numbers = ops.reshape(numbers, (-1, self.columns))
            found = found + ops.matmul(ops.reshape(x[:, :, half], (-1, numbers.shape[0])), numbers)
        return found

    def take(self, columns):
        """Columns of the matrices laid beside each other: of a table of embeddings the vectors of tokens.

        Args:
            columns: int tensor of any shape, below ``count * columns``.

        Returns:
            Float32 tensor of that shape and (inputs,) more.
        """
        flat = ops.reshape(ops.cast(columns, "int32"), (-1,))
        if flat.shape[0] in range(1, FEW + 1):
            found = ops.stack([self._column(flat[n]) for n in range(flat.shape[0])])
        else:
            found = ops.map(self._column, flat)
        return ops.reshape(found, (*ops.shape(columns), self.inputs))

    def _column(self, column):
        """float32 (inputs,)"""
        index, column = column // self.columns, column % self.columns

        def of(stack):
            start = [index] + [0] * (len(stack.shape) - 2) + [column]
            found = ops.slice(ops.convert_to_tensor(stack), start, (1, *stack.shape[1:-1], 1))
            return ops.reshape(found, (self.padded // BLOCK, -1))

        numbers = ops.concatenate(self._unpacked(of(self._codes)), axis=-1)  # (blocks, 32)
        numbers = numbers if self._scales is None else numbers * ops.cast(of(self._scales), "float32")
        numbers = numbers if self._minima is None else numbers + ops.cast(of(self._minima), "float32")
        return ops.reshape(numbers, (-1,))[: self.inputs]

    def _cut(self, x):
        """(padded,) -> (halves, parts, rows), in the order of the codes."""
        x = ops.reshape(x, (self.padded // BLOCK, self.halves, -1, self.rows)) if self.halves == 2 else x[None]
        x = ops.transpose(x, (1, 0, 2, 3)) if self.halves == 2 else x
        return ops.reshape(x, (self.halves, self.parts, self.rows))

    def _unpacked(self, codes):
        """The numbers in codes, float32, before scales: for each half."""
        if self.numbers == "int4":
            return [ops.cast(ops.bitwise_and(codes, 15), "float32"), ops.cast(ops.right_shift(codes, 4), "float32")]
        if self.numbers == "bfloat16":
            return [ops.view(ops.left_shift(ops.cast(codes, "uint32"), 16), "float32")]
        return [ops.cast(codes, "float32")]

    def _slice(self, stack, index, row=None):
        """One matrix of a stack, or one row of each of its parts: taken straight from the stack, or XLA copies it."""
        start, size = [index] + [0] * (len(stack.shape) - 1), [1, *stack.shape[1:]]
        if row is not None:
            start[2], size[2] = row, 1
        return ops.slice(ops.convert_to_tensor(stack), start, size)

    def _of_parts(self, stack, index):
        """The scales of one matrix, float32 (parts, columns)."""
        scales = ops.cast(self._slice(stack, index)[0], "float32")[:, None]
        parts = self.parts // scales.shape[0]
        return ops.reshape(ops.broadcast_to(scales, (scales.shape[0], parts, self.columns)), (-1, self.columns))


def _as_half(scales):
    """Scales as float16 has them, where it has them with its usual precision."""
    found = scales.astype("float16").astype("float32")
    return np.where((np.abs(scales) < 6e4) & ((np.abs(scales) > 6.2e-5) | (scales == 0)), found, scales)
