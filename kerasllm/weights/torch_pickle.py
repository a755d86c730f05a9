"""The pickles inside a file of PyTorch, followed instruction by instruction.

A pickle is a program: it may name any function and call it. A dictionary of tensors needs some thirty of its
instructions and a dozen names; these are carried out here, by our own hand, and everything else is refused. So nothing
of the file runs. `pickle.Unpickler` with a `find_class` that refuses names is not enough: six bytes let it take 4 GB
for a memo, tuples in tuples as a key end the process or keep it busy for hours.

Reference: Python's pickletools.py, "opcodes"; ``_rebuild_tensor_v2`` in torch/_utils.py of PyTorch.
"""

from __future__ import annotations

import io
import pickletools
from dataclasses import dataclass
from typing import Any

from kerasllm.weights.tensors import shown

MOST_BYTES = 4 << 20  # of pickles in a file; 300 tensors take 43,000
MOST_STEPS = 1 << 18  # a tensor takes about 36

# The only names, and what each becomes: no module is imported. Of a storage it is the dtype, in NumPy's word.
DICTIONARY, TENSOR = "a dictionary", "a tensor"
STORAGES = {
    **{"DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16"},
    **{"LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8"},
    **{"ByteStorage": "uint8", "BoolStorage": "bool"},
}
NAMES = {"collections OrderedDict": DICTIONARY, "torch._utils _rebuild_tensor_v2": TENSOR}
NAMES |= {f"torch {name}": dtype for name, dtype in STORAGES.items()}


@dataclass(frozen=True)
class Name:
    """One of the names above, on the stack."""

    meaning: str


@dataclass(frozen=True)
class Storage:
    """A row of numbers in the file, which tensors are cut from."""

    key: str
    dtype: str
    numbers: int


@dataclass(frozen=True)
class Cut:
    """A tensor as the pickle describes it; nothing is checked but the types."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def follow(content: io.BytesIO, storages: dict[str, Storage], legacy: bool = False) -> Any:
    """What the next pickle makes: dictionaries, lists, tuples, text, whole numbers, and a `Cut` for each tensor.

    Args:
        content: bytes, of which a pickle begins at the present place; afterwards the place is behind it.
        storages: those that it names are added, by their keys.
        legacy: whether it is of the older form, in which a storage has a sixth part.

    Returns:
        The value.

    Raises:
        ValueError: if the pickle is cut, or does anything that a dictionary of tensors does not need.

    Example:
        >>> import pickle
        >>> follow(io.BytesIO(pickle.dumps({"steps": [1, 2]}, 2)), {})
        {'steps': [1, 2]}
        >>> follow(io.BytesIO(pickle.dumps(print, 2)), {})
        Traceback (most recent call last):
        ValueError: names __builtin__ print, which no tensor needs: it is not read, for it could do harm
    """
    machine = Machine(storages, 6 if legacy else 5)
    try:
        for step, (code, argument, _) in enumerate(pickletools.genops(content)):
            if step == MOST_STEPS:
                raise ValueError(f"has a pickle of more than {MOST_STEPS:,} instructions")
            if code.name == "STOP":
                return machine.pop()
            machine.do(code.name, argument)
    except IndexError:  # of a list that is empty
        raise ValueError("has a pickle that takes what is not there: it is damaged") from None
    except Warning as warning:  # where warnings are errors
        raise ValueError(f"has a damaged pickle ({warning})") from None
    raise ValueError("has a pickle without an end")


class Machine:
    """The stack, the memo and the instructions of a pickle that are carried out."""

    def __init__(self, storages: dict[str, Storage], storage_parts: int) -> None:
        self.storages, self.storage_parts = storages, storage_parts
        self.stack: list = []
        self.below: list[list] = []  # the stacks that a mark has put away
        self.memo: dict[int, Any] = {}

    def do(self, code: str, argument: Any) -> None:
        """Carry out one instruction."""
        if code in ("PROTO", "FRAME"):
            return
        if code in CONSTANTS:
            self.stack.append(CONSTANTS[code])
        elif code in WRITTEN_OUT:
            self.stack.append(argument)
        elif code in EMPTY:
            self.stack.append(EMPTY[code]())
        elif code in TUPLES:
            self.stack.append(tuple([self.pop() for _ in range(TUPLES[code])][::-1]))
        elif code in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if code == "MEMOIZE" else argument] = self.stack[-1]
        elif code in ("BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise ValueError(f"has a pickle that asks for number {argument:,} of a memo without it: it is damaged")
            self.stack.append(self.memo[argument])
        elif code in INSTRUCTIONS:
            INSTRUCTIONS[code](self, argument)
        else:
            raise ValueError(f"has a pickle with the instruction {code}, which no tensor needs: it is not read")

    def pop(self, kind: type = object, what: str = "a value") -> Any:
        """The last value, if it is exactly of a kind: not of a class that inherits from it."""
        value = self.stack.pop()
        if kind is not object and type(value) is not kind:
            raise ValueError(f"has a pickle with a {type(value).__name__} as {what}")
        return value

    def mark(self, _) -> None:
        self.below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list:
        values, self.stack = self.stack, self.below.pop()
        return values

    def last(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"has a pickle that puts something into a {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def all_as_tuple(self, _) -> None:
        values = tuple(self.pop_mark())  # first: it puts another stack in place
        self.stack.append(values)

    def append(self, _) -> None:
        value = self.pop()
        self.last(list).append(value)

    def appends(self, _) -> None:
        values = self.pop_mark()
        self.last(list).extend(values)

    def set_item(self, _) -> None:
        value, key = self.pop(), self.pop()
        self.put([key, value])

    def set_items(self, _) -> None:
        self.put(self.pop_mark())

    def put(self, values: list) -> None:
        found = self.last(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):  # an odd number is a ValueError
            if type(key) is not str:  # a tuple could take hours to be a key
                raise ValueError(f"has a dictionary with a {type(key).__name__} as a key: it is no state_dict()")
            if key in found:
                raise ValueError(f"has {shown(key)!r} twice in a dictionary")
            found[key] = value

    # What calls in other pickles. Here a name stands for what we do.

    def name(self, argument) -> None:
        if argument not in NAMES:
            raise ValueError(f"names {shown(argument)}, which no tensor needs: it is not read, for it could do harm")
        self.stack.append(Name(NAMES[argument]))

    def name_from_stack(self, _) -> None:
        name, module = self.pop(str, "a name"), self.pop(str, "a module")
        self.name(f"{module} {name}")

    def call(self, _) -> None:
        given, name = self.pop(tuple, "arguments"), self.pop(Name, "a function")
        if name.meaning == TENSOR:
            self.stack.append(_cut(given))
        elif name.meaning == DICTIONARY and not given:
            self.stack.append({})
        else:
            raise ValueError(f"has a pickle that calls {name.meaning} with {len(given)} arguments")

    def set_state(self, _) -> None:
        """The attribute ``_metadata`` of an OrderedDict, versions of modules: it is left away."""
        self.pop(dict, "a state")
        self.last(dict)

    def storage(self, _) -> None:
        given = self.pop(tuple, "a storage")
        if len(given) != self.storage_parts or [type(one) for one in given[:5]] != [str, Name, str, str, int]:
            raise ValueError("has a storage whose description is none")
        word, name, key, _device, numbers = given[:5]
        if word != "storage" or name.meaning not in STORAGES.values() or numbers < 0 or any(given[5:]):
            raise ValueError(f"has a storage {shown(key)!r} of {shown(str(numbers))} numbers whose description is none")
        found = Storage(key, name.meaning, numbers)
        if self.storages.setdefault(key, found) != found:
            raise ValueError(f"has two descriptions of the storage {shown(key)!r}")
        self.stack.append(found)


CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
WRITTEN_OUT = {"BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"}
INSTRUCTIONS = {
    **{"MARK": Machine.mark, "TUPLE": Machine.all_as_tuple, "APPEND": Machine.append, "APPENDS": Machine.appends},
    **{"SETITEM": Machine.set_item, "SETITEMS": Machine.set_items, "GLOBAL": Machine.name},
    **{"STACK_GLOBAL": Machine.name_from_stack, "REDUCE": Machine.call, "BUILD": Machine.set_state},
    "BINPERSID": Machine.storage,
}


def _cut(given: tuple) -> Cut:
    kinds = [Storage, int, tuple, tuple, bool, dict]  # the last two: whether it is trained, and its hooks
    if [type(one) for one in given] != kinds or given[5]:
        raise ValueError("has a tensor whose description is none: store model.state_dict() with torch.save")
    storage, offset, shape, strides = given[:4]
    if len(shape) != len(strides) or any(type(one) is not int for one in (*shape, *strides)):
        raise ValueError("has a tensor whose shape and strides are none")
    return Cut(storage, offset, shape, strides)
