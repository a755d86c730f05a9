# %% [markdown]
# # Exercises 20 · Pretrained weights
#
# Four exercises and an experiment, each alone. They need NumPy and no training; the experiment rounds the weights of
# the GPT that comes with the course. Where the text says *predict*, write your guess down before you run anything.

# %%
import json
import struct

import numpy as np
from safetensors.numpy import load, load_file

from kerasllm import weights
from kerasllm.course import between, case, check

# %% [markdown]
# ## Exercise 1: write a safetensors file
#
# The lesson reads such a file. Write one: 8 bytes with the length of the header ("<Q": a whole number, the smallest
# byte first), the header as JSON, and the numbers of all arrays, one behind the other. The header has an entry for
# each name: `{"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}`. Offsets are counted from the end of the
# header. All arrays are float32. The check reads your bytes with the package that others use.
#
# *Predict:* how long is the file of one array of 1,000 numbers, about?


# %% tags=["answer"]
def safetensors_of(arrays):
    """arrays: from each name to a float32 array. Returns the bytes of the file."""
    ### BEGIN SOLUTION
    header, numbers = {}, b""
    for name, array in arrays.items():
        more = np.ascontiguousarray(array, "<f4").tobytes()
        place = [len(numbers), len(numbers) + len(more)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": place}
        numbers += more
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers
    ### END SOLUTION


# %% tags=["check"]
wide = np.arange(6, dtype="float32").reshape(2, 3)


def read_again(arrays):
    """What the package safetensors finds in the answer's bytes."""
    return load(bytes(safetensors_of(arrays)))


def same_arrays(wanted):
    def compared(found):
        if set(found) != set(wanted):
            return f"the file holds the names {sorted(found)}."
        for name, array in wanted.items():
            if found[name].shape != array.shape:
                return f"{name} has the shape {found[name].shape}."
            if found[name].dtype != np.float32 or not np.array_equal(found[name], array):
                return f"{name} holds other numbers."
        return None

    return compared


check(
    safetensors_of,
    case("it is made of bytes", {"a": wide}, expect=lambda found: None if bytes(found) else "nothing was written."),
    nudge="Which three parts does the file have?",
    hint="struct.pack for the length, json.dumps(...).encode() for the header, array.tobytes() for the numbers.",
)
check(
    read_again,
    case("one array", {"a": wide}, expect=same_arrays({"a": wide})),
    case("two arrays", {"a": wide, "b": wide + 7}, expect=same_arrays({"a": wide, "b": wide + 7})),
    case("a turned array", {"a": wide.T, "b": wide}, expect=same_arrays({"a": wide.T, "b": wide})),
    case("a name that is no ASCII", {"größe": wide[0]}, expect=same_arrays({"größe": wide[0]})),
    nudge="Where does the second array begin, counted from the end of the header? Is the length that of the bytes,"
    " and has it eight of them itself?",
    hint="Encode the header before you count it; each array begins where the one before it ends.",
)


# %% tags=["right"]
def safetensors_of(arrays):  # the header last: first all places, with numbers from cumsum
    sizes = [4 * array.size for array in arrays.values()]
    ends = np.cumsum(sizes).tolist()
    header = {
        name: {"dtype": "F32", "shape": array.shape, "data_offsets": (end - size, end)}
        for (name, array), size, end in zip(arrays.items(), sizes, ends, strict=True)
    }
    head = json.dumps(header, ensure_ascii=False).encode("utf-8")
    parts = [len(head).to_bytes(8, "little"), head, *(array.astype("<f4").tobytes("C") for array in arrays.values())]
    return b"".join(parts)


# %% tags=["right"]
def safetensors_of(arrays):  # library
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


# %% tags=["right"]
def safetensors_of(arrays):  # a bytearray that is packed number by number
    body, header = bytearray(), {}
    for name in arrays:
        start = len(body)
        for number in np.ravel(arrays[name]):
            body += struct.pack("<f", number)
        header[name] = dict(dtype="F32", shape=[*arrays[name].shape], data_offsets=[start, len(body)])
    text = json.dumps(header)
    return bytearray(struct.pack("<Q", len(text))) + text.encode("ascii") + body


# %% tags=["wrong"]
def safetensors_of(arrays):
    header, numbers = {}, b""
    for name, array in arrays.items():
        more = array.tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [0, len(more)]}  # all at 0
        numbers += more
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


# %% tags=["wrong"]
def safetensors_of(arrays):
    header, numbers = {}, b""
    for name, array in arrays.items():
        more = array.tobytes()
        place = [len(numbers), len(numbers) + len(more)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": place}
        numbers += more
    text = json.dumps(header).encode()
    return struct.pack(">Q", len(text)) + text + numbers  # the largest byte first


# %% tags=["wrong"]
def safetensors_of(arrays):
    header, numbers = {}, b""
    for name, array in arrays.items():
        more = array.tobytes("A")  # a turned array as it lies in memory
        place = [len(numbers), len(numbers) + len(more)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": place}
        numbers += more
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


# %% tags=["wrong"]
def safetensors_of(arrays):
    header, numbers = {}, b""
    for name, array in arrays.items():
        more = array.tobytes()
        place = [len(numbers), len(numbers) + len(more)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": place}
        numbers += more
    text = json.dumps(header, ensure_ascii=False)
    return struct.pack("<Q", len(text)) + text.encode() + numbers  # characters are not bytes


# %% [markdown]
# 1,000 numbers take 4,000 bytes and the header some 70 more. A format that needs so little is easy to check. A reader
# can refuse offsets that overlap or leave the file, before it makes one array.
#
# ## Exercise 2: round a block to four bits
#
# The lesson undoes blocks of the kind Q4_1. Make one: from 32 numbers a scale, a minimum and 32 codes from 0 to 15,
# such that scale · code + minimum comes as near to each number as 16 even steps from the smallest to the largest
# allow. If all numbers are equal, the scale is 0, and so are the codes. (In a file scale and minimum are rounded to
# 16 bits; leave that out.)
#
# *Predict:* how far from its number can the result be, in scales?


# %% tags=["answer"]
def block_of(numbers):
    """numbers (32,). Returns scale, minimum, codes (32,)."""
    ### BEGIN SOLUTION
    minimum = numbers.min()
    scale = (numbers.max() - minimum) / 15
    if scale == 0:
        return 0.0, minimum, np.zeros(len(numbers), int)
    return scale, minimum, np.rint((numbers - minimum) / scale).astype(int)
    ### END SOLUTION


# %% tags=["check"]
steps = np.tile(np.arange(16.0), 2)
uneven = np.sin(np.arange(32.0) ** 2) + 3


def undone(numbers):
    """What the answer's block gives back."""
    scale, minimum, codes = block_of(numbers)
    return scale * np.asarray(codes, float) + minimum


def within_half_a_step(result):
    step = (uneven.max() - uneven.min()) / 15
    return None if np.abs(result - uneven).max() <= 0.5001 * step else "a number is farther away than half a step."


check(
    block_of,
    case("sixteen values, no rounding", steps / 2 - 3, expect=(0.5, -3.0, steps)),
    case("all equal", np.full(32, 0.25), expect=(0.0, 0.25, np.zeros(32))),
    case("all below zero", -1 - steps, expect=(1.0, -16.0, 15 - steps)),
    case("rounded to the nearest", np.append(steps[:30], [0.4, 14.6]), expect=(1.0, 0.0, [*steps[:30], 0, 15])),
    nudge="How many steps lie between 16 values? And to which code does 0.6 of a step belong?",
    hint="The scale is the range divided by 15; the code is the distance from the minimum in scales, rounded.",
)
check(
    undone,
    case("nothing is far away", uneven, expect=within_half_a_step),
    nudge="Which number is farthest from what its code gives back?",
    hint="Round to the nearest code; do not cut off.",
)


# %% tags=["right"]
def block_of(numbers):  # a loop
    low, high = min(numbers), max(numbers)
    scale = (high - low) / 15
    codes = []
    for number in numbers:
        codes.append(0 if scale == 0 else int((number - low) / scale + 0.5))
    return scale, low, codes


# %% tags=["right"]
def block_of(numbers):  # the nearest of all sixteen values
    values = np.linspace(numbers.min(), numbers.max(), 16)
    codes = np.abs(numbers[:, None] - values).argmin(axis=1)
    return values[1] - values[0], values[0], codes


# %% tags=["right"]
def block_of(numbers):  # a scale of 0 replaced before the division
    minimum, width = numbers.min(), np.ptp(numbers)
    codes = np.round((numbers - minimum) * 15 / (width or 1)).astype("uint8")
    return width / 15, minimum, codes


# %% tags=["wrong"]
def block_of(numbers):
    minimum = numbers.min()
    scale = (numbers.max() - minimum) / 16  # sixteen values have fifteen steps
    codes = np.zeros(len(numbers), int) if scale == 0 else np.rint((numbers - minimum) / scale).astype(int)
    return scale, minimum, codes


# %% tags=["wrong"]
def block_of(numbers):
    minimum = numbers.min()
    scale = (numbers.max() - minimum) / 15
    codes = np.zeros(len(numbers), int) if scale == 0 else ((numbers - minimum) / scale).astype(int)  # cut off
    return scale, minimum, codes


# %% tags=["wrong"]
def block_of(numbers):
    scale = np.abs(numbers).max() / 15  # without a minimum
    return scale, 0.0, np.rint(numbers / scale).astype(int) if scale else np.zeros(len(numbers), int)


# %% tags=["wrong"]
def block_of(numbers):
    minimum = numbers.min()
    scale = (numbers.max() - minimum) / 15
    with np.errstate(invalid="ignore", divide="ignore"):
        codes = np.rint((numbers - minimum) / scale)  # 0 / 0 where all are equal
    return scale, minimum, codes


# %% [markdown]
# Half a scale. Therefore one large number makes the error of all 31 others large, and blocks are kept short.
#
# ## Exercise 3: another order that nobody checks
#
# GPT-NeoX and BLOOM keep queries, keys and values of a block in one matrix. Its rows come head by head: first the
# query rows of head 0, then its key rows, then its value rows, then those of head 1. Take it apart into three
# matrices, whose rows are those of head 0, head 1 and so on. GPT-2 has all queries in front, then all keys, then all
# values: a reader made for it would find the same shapes here.
#
# *Predict:* for how many heads is the reader of GPT-2 right by accident?


# %% tags=["answer"]
def taken_apart(matrix, heads):
    """matrix (heads * 3 * d, dim). Returns queries, keys, values, each (heads * d, dim)."""
    ### BEGIN SOLUTION
    parts = matrix.reshape(heads, 3, -1, matrix.shape[-1])  # (heads, 3, d, dim)
    return tuple(parts[:, which].reshape(-1, matrix.shape[-1]) for which in range(3))
    ### END SOLUTION


# %% tags=["check"]
def numbered(heads, d, dim):
    """A matrix whose numbers say head, kind (0 query, 1 key, 2 value), row and column; and its three parts."""
    head, kind, row, column = np.indices((heads, 3, d, dim))
    whole = 1000 * head + 100 * kind + 10 * row + column
    return whole.reshape(-1, dim), tuple(whole[:, which].reshape(-1, dim) for which in range(3))


(two, two_apart), (one, one_apart), (square, square_apart) = numbered(2, 4, 5), numbered(1, 2, 6), numbered(3, 3, 3)
check(
    taken_apart,
    case("one head", one, 1, expect=one_apart),
    case("two heads", two, 2, expect=two_apart),
    case("as many heads as parts", square, 3, expect=square_apart),
    nudge="In which order do heads, kinds and rows change when you walk down the matrix? The last one changes fastest.",
    hint="Give the rows three axes, (heads, 3, d), choose one of the second, and flatten.",
)


# %% tags=["right"]
def taken_apart(matrix, heads):  # a loop over heads
    found = [], [], []
    for part in np.split(matrix, heads):
        for rows, more in zip(found, np.split(part, 3), strict=True):
            rows.append(more)
    return [np.concatenate(rows) for rows in found]


# %% tags=["right"]
def taken_apart(matrix, heads):  # whole axes turned
    rows, dim = matrix.shape
    return np.swapaxes(matrix.reshape(heads, 3, rows // heads // 3, dim), 0, 1).reshape(3, rows // 3, dim)


# %% tags=["right"]
def taken_apart(matrix, heads):  # places of rows
    d = len(matrix) // heads // 3
    places = np.arange(len(matrix))
    return tuple(matrix[places // d % 3 == which] for which in range(3))


# %% tags=["wrong"]
def taken_apart(matrix, heads):
    return tuple(np.split(matrix, 3))  # GPT-2's order


# %% tags=["wrong"]
def taken_apart(matrix, heads):
    parts = matrix.reshape(3, heads, -1, matrix.shape[-1])  # kinds in front of heads
    return tuple(parts[which].reshape(-1, matrix.shape[-1]) for which in range(3))


# %% tags=["wrong"]
def taken_apart(matrix, heads):
    parts = matrix.reshape(heads, -1, 3, matrix.shape[-1])  # the kind changes fastest
    return tuple(parts[:, :, which].reshape(-1, matrix.shape[-1]) for which in range(3))


# %% tags=["wrong"]
def taken_apart(matrix, heads):
    return tuple(matrix[which::3] for which in range(3))  # every third row


# %% [markdown]
# For one head. A test with one head would pass the wrong reader, and one with the right shapes passes it always.
#
# ## Exercise 4: merge adapters
#
# An adapter is a pair of thin matrices and a number $\alpha$. With the rank $r$, the number of columns of $A$, it
# changes a kernel to $W + \frac{\alpha}{r} A B$. Merge a list of adapters into one kernel: all of their changes are
# added. Their ranks may differ. The kernel that was given stays as it is.
#
# *Predict:* can the adapters be taken out of the merged kernel again, if you have only the kernel?


# %% tags=["answer"]
def merged(kernel, adapters):
    """kernel (in, out); adapters: list of (a (in, r), b (r, out), alpha). Returns the new kernel."""
    ### BEGIN SOLUTION
    new = kernel.copy()
    for a, b, alpha in adapters:
        new += alpha / a.shape[1] * a @ b
    return new
    ### END SOLUTION


# %% tags=["check"]
rng = np.random.default_rng(0)
kernel = rng.normal(size=(4, 6))
first = rng.normal(size=(4, 2)), rng.normal(size=(2, 6)), 2.0
second = rng.normal(size=(4, 3)), rng.normal(size=(3, 6)), 12.0
outer = np.array([[1.0], [2.0]]), np.array([[10.0, 20.0]]), 1.0


def kernel_stays(kernel, adapters):
    """Whether the kernel that is given is the same after the call."""
    given = kernel.copy()
    merged(given, adapters)
    return given


check(
    merged,
    case("no adapters", kernel, [], expect=kernel),
    case("rank 1", np.zeros((2, 2)), [outer], expect=np.array([[10.0, 20.0], [20.0, 40.0]])),
    case("alpha is the rank", kernel, [first], expect=kernel + first[0] @ first[1]),
    case("alpha is not the rank", kernel, [second], expect=kernel + 4 * (second[0] @ second[1])),
    case("two adapters", kernel, [first, second], expect=kernel + first[0] @ first[1] + 4 * (second[0] @ second[1])),
    nudge="Which of the two numbers of a's shape is the rank? And does each adapter have a factor of its own?",
    hint="The factor is alpha divided by the columns of a; add factor times a @ b for each adapter.",
)
check(
    kernel_stays,
    case("the kernel that was given", kernel, [first], expect=kernel),
    nudge="Does your answer change an array that belongs to somebody else?",
    hint="Begin with a copy.",
)


# %% tags=["right"]
def merged(kernel, adapters):  # one product: all thin matrices side by side
    if not adapters:
        return kernel
    wide = np.concatenate([a * alpha / a.shape[1] for a, _, alpha in adapters], axis=1)
    return kernel + wide @ np.concatenate([b for _, b, _ in adapters])


# %% tags=["right"]
def merged(kernel, adapters):  # rank by rank, as outer products
    new = np.array(kernel)
    for a, b, alpha in adapters:
        for column, row in zip(a.T, b, strict=True):
            new = new + alpha / len(b) * np.outer(column, row)
    return new


# %% tags=["right"]
def merged(kernel, adapters):  # einsum in a sum
    return kernel + sum(np.einsum("ir,ro->io", a, b) * alpha / len(b) for a, b, alpha in adapters)


# %% tags=["wrong"]
def merged(kernel, adapters):
    return kernel + sum(alpha * a @ b for a, b, alpha in adapters)  # not divided by the rank


# %% tags=["wrong"]
def merged(kernel, adapters):
    return kernel + sum(alpha / len(a) * a @ b for a, b, alpha in adapters)  # by the rows of a


# %% tags=["wrong"]
def merged(kernel, adapters):
    for a, b, alpha in adapters:
        kernel += alpha / a.shape[1] * a @ b  # changes what was given
    return kernel


# %% tags=["wrong"]
def merged(kernel, adapters):
    for a, b, alpha in adapters:
        new = kernel + alpha / a.shape[1] * a @ b  # only the last one stays
    return new if adapters else kernel


# %% [markdown]
# No: many pairs of kernel and adapters have the same sum. So keep the adapter's file.
#
# ## Experiment: how long should a block be?
#
# Take a matrix of the GPT of the King James Bible, which nobody has rounded to blocks. Its numbers, row by row, are
# cut into blocks of `size`. In each block they are rounded to 16 even steps from the smallest to the largest, as in
# exercise 2. Return the error: the root of the mean squared difference, divided by the root of the mean square of the
# numbers. Change the size from 8 to 1,024 and measure; everything else stays.
#
# *Predict:* the error at 8, at 32 and at 1,024. And what does a number cost in bits, if scale and minimum of a block
# have 16 bits each?


# %% tags=["answer"]
def error_of(matrix, size):
    """matrix: numbers that blocks of `size` divide without a rest. Returns the relative error, one number."""
    ### BEGIN SOLUTION
    blocks = matrix.reshape(-1, size)
    minimum = blocks.min(axis=1, keepdims=True)
    scale = (blocks.max(axis=1, keepdims=True) - minimum) / 15
    rounded = minimum + scale * np.rint((blocks - minimum) / scale)
    return float(np.sqrt(np.mean((rounded - blocks) ** 2) / np.mean(blocks**2)))
    ### END SOLUTION


# %% tags=["check"]
stored = load_file(weights.folder_of("king-james-gpt") / "model.safetensors")
matrix = stored["block_1/feed_forward/expand/kernel"].astype("float32")  # (256, 1024)
check(
    error_of,
    case("blocks of 8", matrix, 8, expect=between(0.048, 0.052)),
    case("blocks of 32", matrix, 32, expect=between(0.079, 0.083)),
    case("blocks of 1,024", matrix, 1024, expect=between(0.131, 0.138)),
    nudge="Does each block have a scale and a minimum of its own? Are codes rounded to the nearest?",
    hint="Reshape to (-1, size), take minimum and maximum along axis 1, and round (x - minimum) / scale.",
)


# %% tags=["right"]
def error_of(matrix, size):  # block by block
    squared = 0.0
    for block in np.split(matrix.ravel(), matrix.size // size):
        values = np.linspace(block.min(), block.max(), 16)
        nearest = values[np.abs(block[:, None] - values).argmin(axis=1)]
        squared += ((nearest - block) ** 2).sum()
    return np.sqrt(squared / (matrix**2).sum())


# %% tags=["right"]
def error_of(matrix, size):  # scales of 16 bits, as in a file
    x = np.asarray(matrix, "float64").reshape(-1, size)
    low = x.min(axis=1).astype("float16").astype(float)[:, None]
    step = (np.ptp(x, axis=1) / 15).astype("float16").astype(float)[:, None]
    codes = np.clip(np.round((x - low) / step), 0, 15)
    return np.linalg.norm(codes * step + low - x) / np.linalg.norm(x)


# %% tags=["wrong"]
def error_of(matrix, size):
    scale = (matrix.max() - matrix.min()) / 15  # one scale for the whole matrix
    rounded = matrix.min() + scale * np.rint((matrix - matrix.min()) / scale)
    return float(np.sqrt(np.mean((rounded - matrix) ** 2) / np.mean(matrix**2)))


# %% tags=["wrong"]
def error_of(matrix, size):
    blocks = matrix.reshape(-1, size)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 7  # no minimum: another kind of block
    return float(np.sqrt(np.mean((scale * np.rint(blocks / scale) - blocks) ** 2) / np.mean(blocks**2)))


# %% tags=["wrong"]
def error_of(matrix, size):
    blocks = matrix.reshape(-1, size)
    minimum = blocks.min(axis=1, keepdims=True)
    scale = (blocks.max(axis=1, keepdims=True) - minimum) / 15
    rounded = minimum + scale * np.floor((blocks - minimum) / scale)  # cut off
    return float(np.sqrt(np.mean((rounded - blocks) ** 2) / np.mean(blocks**2)))


# %% tags=["wrong"]
def error_of(matrix, size):
    blocks = matrix.reshape(-1, size)
    minimum = blocks.min(axis=1, keepdims=True)
    scale = (blocks.max(axis=1, keepdims=True) - minimum) / 15
    rounded = minimum + scale * np.rint((blocks - minimum) / scale)
    return float(np.sqrt(np.mean((rounded - blocks) ** 2)))  # not divided by the size of the numbers


# %% [markdown]
# The more numbers share a scale, the larger is the largest of them, and the error grows. But a number costs $4 + 32 /
# \text{size}$ bits: 8 bits in blocks of 8, where 256 even steps would fit as well, 5 bits in blocks of 32 and hardly
# more than 4 in blocks of 1,024. From 32 to 1,024 one saves a bit of five and pays with an error that is larger by
# two thirds. So 32 is a bargain between the two, and other kinds of blocks are other bargains.
