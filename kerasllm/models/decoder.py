"""What the ways to compute a GPT share: what its settings say, and what its inputs mean."""

from keras import ops

from kerasllm.layers import LearnedPositions, as_mask
from kerasllm.layers.cache import next_positions, number_of
from kerasllm.models.inputs import positions_of, same_segment, unpacked


class Decoder:
    """Mixin for a GPT with its `settings`, `kerasllm.models.GPTSettings`, and their `context_length`."""

    names = ("ids", "mask", "segment_ids", "positions")  # what a batch that is a dictionary may hold

    def placed(self, inputs, mask, segment_ids, positions, cache):
        """The ids, the position of each or None for 0, 1, 2, ..., and which pairs may look, beyond their positions."""
        inputs, mask, segment_ids, positions = unpacked(inputs, self.names, mask, segment_ids, positions)
        if segment_ids is not None and cache is not None:
            raise ValueError("Segments and a cache exclude each other: a cache holds one text a row.")
        shape = tuple(inputs.shape)
        pairs, start = None, None
        if cache is not None and positions is None:
            start = next_positions(cache[0], 1)  # (batch, 1)
        if segment_ids is not None:
            pairs = same_segment(segment_ids)
        if mask is not None:
            mask = as_mask(mask, shape)
            positions = None if positions is None else ops.where(mask, positions, -1)
        if positions is None and not (mask is None and segment_ids is None and start is None):
            positions = positions_of(inputs, mask, segment_ids, start)
        self._check_length(shape[1], positions)
        return inputs, positions, pairs

    def _check_length(self, time, positions):
        if not self.limited:
            return
        last = None if positions is None else number_of(ops.max(positions))  # padding takes no position
        total = time if last is None else last + 1
        if isinstance(total, int) and total > self.context_length:
            raise ValueError(f"A text of {total} tokens does not fit context_length={self.context_length}: shorten it.")

    @property
    def limited(self):
        """Whether a text can be no longer than `context_length`, because later positions have no vector."""
        return isinstance(self.settings.positions, LearnedPositions)

    @property
    def sees(self):
        """How many tokens a token sees at most, itself included."""
        return min(max(one.window or self.context_length for one in self.settings.attention), self.context_length)
