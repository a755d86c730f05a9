"""The conditional random field: which labels stand side by side is learned, and the best sequence is found whole."""

import keras
from keras import ops

from kerasllm.layers.backend import scanned
from kerasllm.layers.masks import as_mask

FORBIDDEN = -1e9  # far below every score, and finite: a sum of two of them is no NaN


@keras.saving.register_keras_serializable(package="kerasllm")
class CRF(keras.layers.Layer):
    r"""A linear-chain conditional random field over logits: the score of a sequence of labels is a sum over its places.

    $s(x, y) = b_{y_1} + \sum_t x_{t, y_t} + \sum_t A_{y_{t-1}, y_t} + e_{y_T}$ with the logits $x$, the transitions $A$
    and the scores of the first and the last label. Its softmax over all sequences is their probability. `call` gives
    the probability of each label, `log_likelihood` what training makes large, `decode` the best sequence. The numbers
    of a new layer are 0: then each place is a softmax of its own.

    A place where the mask is False is passed over, at the ends and in between: its neighbours are neighbours then.

    Args:
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`. Sums are made in float32.

    Call arguments:
        inputs: float tensor (batch, time, labels) of logits.
        mask: bool tensor (batch, time), True at places that have a label; all have one when None.

    Returns:
        Float tensor (batch, time, labels): the probability of each label at each place, given all logits of the text.
        What stands at a place that is passed over means nothing.

    Raises:
        ValueError: if the logits have no three axes or an unknown number of labels, or a mask has another shape.

    Example:
        >>> import numpy as np
        >>> layer = CRF()
        >>> layer.build((None, None, 2))
        >>> layer.set_weights([np.array([[0, 0], [-5, 0]]), np.zeros(2), np.zeros(2)])  # label 0 hardly follows label 1
        >>> ops.convert_to_numpy(layer.decode(np.array([[[0.0, 2.0], [1.0, 0.0]]]))).tolist()
        [[1, 1]]

    Reference: Lafferty et al. (2001), "Conditional Random Fields", section 3; Lample et al. (2016), "Neural
    Architectures for Named Entity Recognition", section 2.2.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(f"A CRF takes logits (batch, time, labels), not the shape {tuple(input_shape)}.")
        labels = input_shape[-1]
        self.transitions = self.add_weight((labels, labels), "zeros", name="transitions")  # from row to column
        self.first = self.add_weight((labels,), "zeros", name="first")
        self.last = self.add_weight((labels,), "zeros", name="last")

    def call(self, inputs, mask=None):
        logits, mask = _prepared(inputs, mask)
        first, transitions, last = self._scores()
        before = _gathered(logits, mask, first, transitions)  # (time, batch, labels)
        after = _gathered(ops.flip(logits, 0), ops.flip(mask, 0), last, ops.transpose(transitions))
        both = before + ops.flip(after, 0) - logits  # each of the two has counted the place itself
        return ops.cast(ops.softmax(ops.transpose(both, (1, 0, 2))), self.compute_dtype)

    def log_likelihood(self, logits, labels, mask=None):
        """The log-probability of the right sequence of labels: float32 tensor (batch,), 0 for a text without places.

        Args:
            logits: float tensor (batch, time, labels).
            labels: int tensor (batch, time), the right labels; what stands where the mask is False plays no role.
            mask: see the call.
        """
        logits, mask = _prepared(logits, mask)
        labels = ops.transpose(ops.cast(labels, "int32"))  # (time, batch)
        right = ops.equal(labels[:, :, None], ops.arange(logits.shape[-1], dtype="int32"))
        # The score of one sequence is the sum over all of them when every other one is forbidden.
        return self._total(ops.where(right, logits, FORBIDDEN), mask) - self._total(logits, mask)

    def decode(self, logits, mask=None, may_begin=None, may_follow=None):
        """The best sequence of labels, see `viterbi`: int32 tensor (batch, time)."""
        return viterbi(logits, mask, *self._scores(), may_begin=may_begin, may_follow=may_follow)

    def _scores(self):
        return [ops.cast(weight, "float32") for weight in (self.first, self.transitions, self.last)]

    def _total(self, logits, mask):
        """The logarithm of the sum of exp(score) over all sequences: (batch,)."""
        first, transitions, last = self._scores()
        total = ops.logsumexp(_gathered(logits, mask, first, transitions)[-1] + last, axis=-1)
        return ops.where(ops.any(mask, axis=(0, 2)), total, 0.0)

    def compute_output_shape(self, input_shape):
        return input_shape


def viterbi(logits, mask=None, first=0.0, transitions=0.0, last=0.0, may_begin=None, may_follow=None):
    """The sequence of labels with the largest score, among those that are allowed.

    Args:
        logits: float tensor (batch, time, labels).
        mask: bool tensor (batch, time), True at places that have a label; all have one when None.
        first, last: float tensors (labels,), scores of the first and the last label.
        transitions: float tensor (labels, labels), score of the label of a column behind that of a row.
        may_begin: bool array (labels,), True for labels that a sequence may begin with; all may when None.
        may_follow: bool array (labels, labels), True where the label of a column may stand behind that of a row.

    Returns:
        Int32 tensor (batch, time); 0 at places that are passed over.

    Example:
        >>> import numpy as np
        >>> logits = np.array([[[1.0, 0.5, 0.0], [0.0, 0.0, 2.0]]])  # of O, B and I at two places
        >>> may_follow = np.array([[True, True, False], [True, True, True], [True, True, True]])  # no I behind an O
        >>> labels = viterbi(logits, may_begin=np.array([True, True, False]), may_follow=may_follow)
        >>> ops.convert_to_numpy(labels).tolist()
        [[1, 2]]

    Reference: Viterbi (1967); Forney (1973), "The Viterbi algorithm", section III.
    """
    logits, mask = _prepared(logits, mask)
    labels = logits.shape[-1]
    last = ops.zeros((labels,)) + last
    first = ops.zeros((labels,)) + first + _forbidden(may_begin)
    transitions = ops.zeros((labels, labels)) + transitions + _forbidden(may_follow)
    best = _gathered(logits, mask, first, transitions, ops.max)  # (time, batch, labels)
    behind = ops.transpose(transitions)  # a row for the label that follows

    def back(state, now):
        following, begun = state  # (batch, 1) each
        best, real = now
        onward = ops.where(begun, ops.take(behind, following[:, 0], axis=0), last)  # (batch, labels)
        label = ops.cast(ops.argmax(best + onward, axis=-1, keepdims=True), "int32")
        return ops.where(real, label, following), ops.logical_or(begun, real)

    nothing = (ops.cast(ops.zeros_like(mask[0]), "int32"), ops.zeros_like(mask[0]))
    found, _ = scanned(back, nothing, (ops.flip(best, 0), ops.flip(mask, 0)))
    return ops.transpose(ops.where(mask, ops.flip(found, 0), 0)[:, :, 0])


def _prepared(logits, mask):
    """Logits (time, batch, labels) in float32 and the mask (time, batch, 1)."""
    logits = ops.cast(logits, "float32")
    real = ops.ones_like(logits[:, :, 0], dtype="bool") if mask is None else as_mask(mask, tuple(logits.shape[:2]))
    return ops.transpose(logits, (1, 0, 2)), ops.transpose(real)[:, :, None]


def _forbidden(allowed):
    return 0.0 if allowed is None else ops.where(ops.convert_to_tensor(allowed, "bool"), 0.0, FORBIDDEN)


def _gathered(logits, mask, first, transitions, gather=ops.logsumexp):
    """For each place and label all sequences up to there that end in it, by `gather`: (time, batch, labels)."""

    def step(state, now):
        scores, begun = state  # (batch, labels), (batch, 1)
        logits, real = now
        come = gather(scores[:, :, None] + transitions, axis=1)  # from each label to each label
        return ops.where(real, logits + ops.where(begun, come, first), scores), ops.logical_or(begun, real)

    return scanned(step, (ops.zeros_like(logits[0]), ops.zeros_like(mask[0])), (logits, mask))[0]
