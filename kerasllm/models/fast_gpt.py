"""A GPT arranged for writing on a CPU: small numbers, and equal blocks as a loop that is compiled once."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
from keras import ops

from kerasllm.common import choice, whole_number
from kerasllm.layers import FeedForward, LayerCache
from kerasllm.layers.cache import empty_cache, placed
from kerasllm.layers.composite import named
from kerasllm.layers.packed import NUMBERS, PackedMatrices
from kerasllm.models.decoder import Decoder
from kerasllm.models.gpt import GPT

TABLE, HEAD = "embedding/embeddings", "logits/kernel"
CHUNK = 4096  # tokens whose logits are computed together: their sums stay in the cache of a core


@keras.saving.register_keras_serializable(package="kerasllm")  # so that a file says why it is not saved
class FastGPT(Decoder, keras.layers.Layer):
    """A `GPT` that only writes: `kerasllm.generation` takes it in the model's place.

        fast = FastGPT.of(model, "int8")
        generate(fast, "Once upon a time", tokenizer=tokenizer)

    To write a token, a CPU reads each weight once; how many bytes that are decides how long it takes. Here a weight
    is a number of 4, 8, 16 or 32 bits, activations and sums stay float32. Blocks that are equal but for their weights
    are one loop, so that the first call compiles one block in place of all. Experts of a mixture stay float32.

    Args:
        settings: the model's `GPTSettings`.
        read: from the place of a weight in the model, such as "block_1/attention/query/kernel", to its float array.
        numbers: "int4", "int8", "bfloat16" or "float32". With "int4" the table of embeddings and the head have 8
            bits. A block of 32 weights has a scale of its own.
        parts: from the place of a matrix to (codes, scales, minima), where it was stored in such blocks of 4 or 8
            bits, and to None elsewhere; see `kerasllm.layers.packed.PackedMatrices.put`. They are taken as they are.
        **kwargs: arguments of `keras.layers.Layer`, but for `dtype`.

    Call arguments:
        inputs, mask, positions, cache, return_features: see `GPT`. One text stands in a row: there are no segments.
        training: False or None.

    Raises:
        ValueError: if there are no such numbers, a matrix holds NaN and they are "int8" or "int4", the blocks' heads
            differ in number or size, there are segments, or it is to be trained.

    Example:
        >>> from kerasllm.models import gpt_settings
        >>> model = GPT(gpt_settings(vocabulary_size=50, num_layers=3, num_heads=2, embedding_dim=32))
        >>> fast = FastGPT.of(model, "float32")
        >>> ids = np.array([[3, 1, 4, 1, 5]])
        >>> bool(np.allclose(fast(ids), model(ids), atol=1e-5))
        True

    Reference: Williams et al. (2009), "Roofline", for why bytes decide; Dettmers and Zettlemoyer (2023), "The case
    for 4-bit precision", section 5, for blocks with scales of their own.
    """

    def __init__(self, settings, read, numbers="int8", parts=None, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.settings, self.numbers = settings, choice("numbers", numbers, NUMBERS)
        self.vocabulary_size, self.context_length = settings.vocabulary_size, settings.context_length
        source = _Source(read, parts or (lambda place: None), numbers)
        period = math.lcm(len(settings.attention), len(settings.feed_forward))
        skeleton = _skeleton(replace(settings, num_layers=min(period, settings.num_layers)))
        table = source.table(TABLE, settings.vocabulary_size, settings.embedding_dim)
        self._table, self._head = table, table
        if not settings.tied:
            self._head = source.table(HEAD, settings.vocabulary_size, settings.embedding_dim)
        counts = [-(-(settings.num_layers - n) // period) for n in range(len(skeleton.blocks))]
        self._blocks = _Untracked(
            [_Blocks(block, n, period, counts[n], source) for n, block in enumerate(skeleton.blocks)]
        )
        self._heads = {(one.block.attention._kv_heads, one.block.attention._head_dim) for one in self._blocks.held}
        if len(self._heads) > 1:
            raise ValueError("The blocks' attention differs in num_kv_heads or head_dim: a loop cannot share a cache.")
        self._ends = _Untracked([one for one in (skeleton.place, skeleton.final_norm) if one is not None])
        self._end_values = [
            keras.Variable(source.read(f"{one.name}/{place}"), dtype="float32", trainable=False, name=variable.name)
            for one in self._ends.held
            for place, variable in named(one).items()
        ]
        self._stored = [*table.variables, *(self._head.variables if self._head is not table else [])]
        self._stored += [variable for one in self._blocks.held for variable in one.variables]
        self.supports_masking = True
        self.built = True

    @classmethod
    def of(cls, model, numbers="int8"):
        """The same model, arranged for writing.

        Args:
            model: a `GPT`. It stays as it is, and may be forgotten afterwards.
            numbers: see the class.

        Raises:
            TypeError: if `model` is no `GPT`.
            ValueError: if it was changed since it was made, by `quantize` or LoRA.
        """
        if not isinstance(model, GPT):
            raise TypeError(f"model must be a kerasllm.models.GPT, not {type(model).__name__}.")
        weights = named(model)
        changed = [place for place, one in weights.items() if "lora" in place or str(one.dtype).endswith("int8")]
        if changed:
            raise ValueError(f"{changed[0]}: the model was changed since it was made. Merge LoRA, and do not quantize.")
        return cls(model.settings, lambda place: ops.convert_to_numpy(weights[place].value), numbers, name=model.name)

    @property
    def bytes(self):
        """Bytes of all weights together."""
        return sum(int(np.prod(one.shape)) * np.dtype(str(one.dtype)).itemsize for one in self.variables)

    def make_cache(self, batch_size, capacity=None):
        """An empty cache for `batch_size` texts, see `GPT.make_cache`.

        Returns:
            A list of one `kerasllm.layers.Cache`, which holds the keys of all blocks beside each other.
        """
        capacity = self.context_length if capacity is None else whole_number("capacity", capacity)
        [(heads, size)] = self._heads
        return [
            empty_cache(
                whole_number("batch_size", batch_size), self.settings.num_layers * heads, capacity, size, "float32"
            )
        ]

    def call(self, inputs, mask=None, positions=None, cache=None, return_features=False, training=None):
        if training:
            raise ValueError("A FastGPT cannot be trained: train the GPT, then make a FastGPT of it.")
        ids, positions, pairs = self.placed(inputs, mask, None, positions, cache)
        if pairs is not None:
            raise ValueError("A FastGPT reads one text a row: leave segment_ids out, and give each text a row.")
        shared = slot = None
        if cache is not None:
            shared, slot = placed(cache[0], positions, None if self.limited else self.sees)
        x = self._table.take(ids) * self.settings.embedding_scale  # (batch, time, embedding_dim)
        values = [(variable, variable.value) for variable in self.variables]
        if self.settings.positions is not None:
            with keras.StatelessScope(state_mapping=[*values, *self._of_ends()]):
                x = self._ends.held[0](x, positions=positions)
        x, shared = self._run(x, positions, shared, slot, values)
        with keras.StatelessScope(state_mapping=[*values, *self._of_ends()]):
            x = self._ends.held[-1](x)
        x = x if return_features else self.head(x)
        return x if cache is None else (x, [shared])

    def _of_ends(self):
        theirs = [variable for one in self._ends.held for variable in named(one).values()]
        return [(variable, ours.value) for variable, ours in zip(theirs, self._end_values, strict=True)]

    def _run(self, x, positions, shared, slot, values):
        """All blocks: whole periods in a loop, then those that are left."""
        # What is read in the loop is not written there, or XLA copies the whole cache for each block.
        blocks, layers, [(heads, size)] = self._blocks.held, self.settings.num_layers, self._heads
        rows, time = ops.shape(x)[:2]
        new = [] if shared is None else [ops.zeros((rows, layers * heads, time, size), "float32")] * 2

        def period(n, x, *new, of=blocks):
            for number, one in enumerate(of):
                cache, head = None, (n * len(blocks) + number) * heads
                if new:
                    held = (_heads(of_all, head, heads) for of_all in shared[:2])
                    cache = LayerCache(*held, shared.positions, slot)
                x, written = one(n, x, positions, cache, values)
                new = [
                    ops.slice_update(
                        of_all, (0, head, 0, 0), ops.slice(of_one, (0, 0, slot, 0), (rows, heads, time, size))
                    )
                    for of_all, of_one in zip(new, written, strict=True)
                ]
            return n + 1, x, *new

        whole = layers // len(blocks)
        n, x, *new = ops.while_loop(lambda n, *_: n < whole, period, (ops.array(0, "int32"), x, *new))
        if layers % len(blocks):
            _, x, *new = period(n, x, *new, of=blocks[: layers % len(blocks)])
        if shared is not None:
            key, value = (ops.slice_update(old, (0, 0, slot, 0), one) for old, one in zip(shared[:2], new, strict=True))
            shared = shared._replace(key=key, value=value)
        return x, shared

    def head(self, features):
        """The logits (..., vocabulary_size) of features (..., embedding_dim)."""
        packed, shape = self._head, ops.shape(features)
        x = ops.reshape(features, (-1, shape[-1]))

        def chunk(n, found):
            return n + 1, ops.slice_update(found, (n, 0, 0), packed(x, n)[None])

        start = (ops.array(0, "int32"), ops.zeros((packed.count, ops.shape(x)[0], packed.columns), "float32"))
        found = ops.while_loop(lambda n, _: n < packed.count, chunk, start)[1]
        found = ops.reshape(ops.transpose(found, (1, 0, 2)), (-1, packed.count * packed.columns))
        return ops.reshape(found[:, : self.vocabulary_size], (*shape[:-1], self.vocabulary_size))

    def get_config(self):
        raise NotImplementedError("A FastGPT is not saved: save the GPT, and make a FastGPT of it again.")


class _Untracked:
    """Hides layers from Keras: they have no numbers of their own."""

    def __init__(self, held):
        self.held = held


class _Source:
    """Where the numbers come from, and as what they are stored."""

    def __init__(self, read: Callable, parts: Callable, numbers: str):
        self.read, self.parts, self.numbers = read, parts, numbers

    def matrix(self, place, numbers):
        """What `PackedMatrices.put` takes: the blocks as they are stored where they fit."""
        found = self.parts(place) if numbers in ("int4", "int8") else None
        if found is not None and (numbers == "int8" or _four_bits(found)):
            return tuple(found)
        return self.read(place)

    def table(self, place, tokens, dim):
        """A table of embeddings, or a head: chunks of the vocabulary are matrices."""
        numbers = "int8" if self.numbers == "int4" else self.numbers
        count = -(-tokens // CHUNK)
        columns = -(-tokens // count)
        packed, matrix = PackedMatrices(numbers, dim, columns, count), self.matrix(place, numbers)
        for n in range(count):
            rows = slice(n * columns, (n + 1) * columns)
            if isinstance(matrix, tuple):
                packed.put(n, tuple(None if part is None else part[rows] for part in matrix))
            else:
                packed.put(n, matrix[:, rows] if place == HEAD else matrix[rows].T)
        del matrix
        return packed.store()


class _Blocks:
    """Blocks that are equal but for their weights: one layer without numbers, and the numbers of all in stacks."""

    def __init__(self, block, first, period, count, source):
        self.block, self.joints, self.variables, self.mapped = block, [], [], []
        places = [f"block_{first + n * period + 1}" for n in range(count)]
        attention, inside = block.attention, block.feed_forward
        groups = [(attention, ("query", "key", "value")), (attention, ("output_dense",))]
        if type(inside) is FeedForward:  # first: each stack is copied once, so the largest are to find most room
            parts = ("expand", "gate") if inside.gated else ("expand",)
            groups = [(inside, parts), (inside, ("project",)), *groups]
        replaced = set()
        for parent, names in groups:
            layers = [getattr(parent, name) for name in names]
            joint = _Joint([f"{parent.name}/{layer.name}/kernel" for layer in layers], layers, places, source)
            replaced |= {id(layer.kernel) for layer in layers}
            for number, name in enumerate(names):
                setattr(parent, name, joint.of(number))
            self.joints.append(joint)
            self.variables += joint.packed.variables
        for place, variable in named(block).items():
            if id(variable) not in replaced:
                stack = np.stack([source.read(f"{one}/{place}") for one in places])
                stack = keras.Variable(stack, dtype="float32", trainable=False, name=variable.name)
                self.mapped.append((variable, stack))
                self.variables.append(stack)

    def __call__(self, index, x, positions, cache, values):
        """Block number `index` of these: its output, and the keys and values of the cache."""
        own = [(variable, ops.take(stack.value, index, axis=0)) for variable, stack in self.mapped]
        for joint in self.joints:
            joint.begin(index)
        with keras.StatelessScope(state_mapping=[*values, *own]):
            found = self.block(x, positions=positions, cache=cache, training=False)
        for joint in self.joints:
            joint.begin(None)
        return (found, ()) if cache is None else (found[0], found[1][:2])


class _Joint:
    """Dense layers that read the same input, multiplied as one matrix."""

    def __init__(self, kernels, layers, places, source):
        sizes = [layer.units for layer in layers]
        self.ends = np.cumsum([0, *sizes]).tolist()
        self.layers = layers
        self.packed = PackedMatrices(source.numbers, layers[0].kernel.shape[0], sum(sizes), len(places))
        for index, place in enumerate(places):
            for kernel, start in zip(kernels, self.ends, strict=False):
                self.packed.put(index, source.matrix(f"{place}/{kernel}", source.numbers), start)
        self.packed.store()
        self.begin(None)

    def begin(self, index):
        """Multiply by this matrix from now on."""
        self.index, self.kept = index, (None, None)

    def of(self, number):
        """What stands in the place of one of the layers: a function of its input."""
        layer, columns = self.layers[number], slice(*self.ends[number : number + 2])

        def project(x):
            if self.kept[0] is not x:
                found = self.packed(ops.reshape(x, (-1, x.shape[-1])), self.index)
                self.kept = x, ops.reshape(found, (*ops.shape(x)[:-1], self.ends[-1]))
            found = self.kept[1][..., columns]
            found = found + layer.bias if layer.use_bias else found
            return found if layer.activation is None else layer.activation(found)

        return project


def _skeleton(settings):
    """A GPT without numbers. A thread of its own has its own scopes: nothing is left behind when it ends."""

    def make():
        with keras.StatelessScope(initialize_variables=False):
            return GPT(settings, dtype="float32")

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(make).result()


def _heads(x, first, number):
    """float (batch, all heads, ...) -> (batch, number, ...)"""
    return ops.slice(x, (0, first, 0, 0), (x.shape[0], number, *x.shape[2:]))


def _four_bits(parts):
    codes, _, minima = parts
    return codes.min() >= (-8 if minima is None else 0) and codes.max() <= (7 if minima is None else 15)
