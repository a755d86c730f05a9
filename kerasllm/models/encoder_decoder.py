"""What models that read one text and write another share: what their inputs mean, and what they remember."""

from typing import Any, NamedTuple

from keras import ops

from kerasllm.layers import as_mask


class State(NamedTuple):
    """What a model remembers while it writes one token after another. The first axis of each tensor is the batch.

    Attributes:
        source: nested tensors of the text that was read. They stay as they are from token to token.
        written: nested tensors of the tokens so far. Each token changes them.
    """

    source: Any
    written: Any


class EncoderDecoder:
    """Mixin for a model that reads a source and writes a target, with a `pad_id`.

    Such a model has also `read`, from a source to a `State`, and `step`, from the last token of each text and a `State`
    to the logits of the next one and the new `State`: what `kerasllm.generation.beam_search` calls.
    """

    names = ("source_ids", "source_mask", "target_ids", "target_mask")  # what a batch that is a dictionary may hold

    def told(self, inputs, target_ids, source_mask, target_mask):
        """Ids and mask of the source, ids and mask of the target: from a dictionary, or from arguments of a call.

        Args:
            inputs: int tensor (batch, source time) of ids; or a dictionary with "source_ids", "target_ids" and, if
                wanted, "source_mask" and "target_mask".
            target_ids, source_mask, target_mask: the other parts; beside a dictionary all must be None.

        Returns:
            Four tensors. A mask of the source is always there, one of the target is None where none was given.

        Raises:
            ValueError: if ids are missing, a name is unknown, a part is given beside the dictionary, or a mask has
                another shape than its ids.
        """
        if isinstance(inputs, dict):
            wrong = set(inputs) - set(self.names) or not {"source_ids", "target_ids"} <= set(inputs)
            if wrong or not (target_ids is None and source_mask is None and target_mask is None):
                raise ValueError(
                    "Inputs as a dictionary hold 'source_ids', 'target_ids' and, if wanted, 'source_mask' and "
                    f"'target_mask', and none of these is given beside it; found {sorted(inputs)}."
                )
            inputs, source_mask, target_ids, target_mask = (inputs.get(name) for name in self.names)
        if target_ids is None:
            raise ValueError("There are no target_ids: call with the ids to read and those written so far.")
        if target_mask is not None:
            target_mask = as_mask(target_mask, tuple(target_ids.shape), name="target_mask")
        return inputs, self.real(inputs, source_mask), target_ids, target_mask

    def real(self, source_ids, source_mask=None):
        """Which tokens of a source are real: bool tensor (batch, source time)."""
        if source_mask is not None:
            return as_mask(source_mask, tuple(source_ids.shape), name="source_mask")
        if self.pad_id is None:
            return ops.ones_like(source_ids, dtype="bool")
        return ops.not_equal(source_ids, self.pad_id)
