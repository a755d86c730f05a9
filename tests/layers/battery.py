"""The cases of the battery: one entry a layer or model, shared by every test in test_layers.py."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import images_in_numpy
import numpy as np
import pytest
import seq2seq_in_numpy
from keras import layers, ops

from kerasllm import models
from kerasllm.layers import (
    CRF,
    FeedForward,
    InvertedResidual,
    LearnedPositions,
    LSTMCell,
    MaskedMax,
    MaskedMean,
    MixtureOfExperts,
    MultiHeadAttention,
    PairEmbedding,
    PatchEmbedding,
    RotaryPositions,
    SinusoidalPositions,
    TransformerBlock,
)


@dataclass(frozen=True, eq=False)  # each case is itself: layers are kept by it
class LayerCase:
    """How to make a layer or model, what to feed it, and what it promises.

    Attributes:
        make: makes the layer from keyword arguments of `keras.layers.Layer` (name, dtype).
        input_shape: shape of one batch of inputs, the batch first.
        vocabulary: 0 for float inputs; otherwise the inputs are ids from 1 to below this number.
        positionwise: a position's output depends on that position alone.
        causal: an output never depends on a later position.
        masked: the layer takes ``mask`` (batch, time); padded positions never matter.
        padded: ids of 0 at the end are padding; more or less of it never matters.
        pooled: the output has no time axis.
        context_shape: shape of a second input, the argument `context_name`; none when empty.
        context_name: see there.
        context_mask: name of the argument that says which positions of the context are real.
        reads: 0, or the inputs are the ids that a model writes; it is called with what it reads before them, ids from
            1 to below this number of the context's shape, and its masks are `target_mask` and `source_mask`.
        weightless: there is nothing to train in it.
        unreached: how the names of those weights end that no gradient reaches; one ending, or several.
        output_dtype: what the output is under every policy; the compute dtype when None.
        reference: the output that another implementation gives with the layer's own weights.
        refused: constructor arguments that must raise ValueError, with a word of the message.
        refuses: what is called with them; the layer's class when None.
        quantised: there are dense layers or embeddings inside, which are quantised and adapted with LoRA.
    """

    name: str
    make: Callable[..., layers.Layer]
    input_shape: tuple[int, ...]
    vocabulary: int = 0
    positionwise: bool = False
    causal: bool = False
    masked: bool = False
    padded: bool = False
    pooled: bool = False
    context_shape: tuple[int, ...] = ()
    context_name: str = "context"
    context_mask: str = ""
    reads: int = 0
    weightless: bool = False
    unreached: str | tuple[str, ...] | None = None
    output_dtype: str | None = None
    reference: Callable[..., Any] | None = None
    refused: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    refuses: Callable[..., Any] | None = None
    quantised: bool = False

    def inputs(self, seed: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        if self.vocabulary:
            return random.integers(1, self.vocabulary, self.input_shape, dtype="int32")
        return random.normal(size=self.input_shape).astype("float32")

    def context(self, seed: int = 1) -> dict[str, np.ndarray]:
        if self.reads:
            ids = np.random.default_rng(seed).integers(1, self.reads, self.context_shape, dtype="int32")
            return {"source_ids": ids}
        if not self.context_shape:
            return {}
        return {self.context_name: np.random.default_rng(seed).normal(size=self.context_shape).astype("float32")}

    def masks(self, texts: slice = slice(1)) -> dict[str, np.ndarray]:
        """The masks that the layer takes: the last two positions of some texts, else of the first, are padding."""
        shapes = {"target_mask" if self.reads else "mask": self.input_shape} if self.masked else {}
        if self.context_mask:
            shapes[self.context_mask] = self.context_shape
        masks = {name: np.ones(shape[:2], bool) for name, shape in shapes.items()}
        for mask in masks.values():
            mask[texts, -2:] = False
        return masks


def dense_stack(layer, inputs):
    """Two Keras dense layers with the weights of a FeedForward."""
    middle = layers.Dense(layer.hidden_dim, activation=layer.activation, use_bias=layer.use_bias)
    last = layers.Dense(layer.output_dim or inputs.shape[-1], use_bias=layer.use_bias)
    hidden = middle(ops.convert_to_tensor(inputs))
    last.build(hidden.shape)
    for dense, own in ((middle, layer.expand), (last, layer.project)):
        dense.set_weights(own.get_weights())
    return last(middle(inputs))


def gated_product(layer, inputs):
    """Equation 6 of Shazeer (2020) in NumPy: SwiGLU."""
    expand, expand_bias, gate, gate_bias, project, project_bias = layer.get_weights()
    gates = inputs @ gate + gate_bias
    return (gates / (1 + np.exp(-gates)) * (inputs @ expand + expand_bias)) @ project + project_bias


def chosen_experts(layer, inputs):
    """Section 2.1 of Jiang et al. (2024) in NumPy: token by token, the chosen experts alone."""
    router, expand, gate, project = (ops.convert_to_numpy(w) for w in named(layer, "router expand gate project"))
    outputs = np.zeros(inputs.shape)
    for place in np.ndindex(inputs.shape[:2]):
        x = inputs[place]
        scores = np.exp(x @ router)
        best = np.argsort(-scores)[: layer.experts_per_token]
        for expert in best:
            gates = x @ gate[expert]
            hidden = gates / (1 + np.exp(-gates)) * (x @ expand[expert])
            outputs[place] += scores[expert] / scores[best].sum() * (hidden @ project[expert])
    return outputs


def named(layer, parts):
    return [getattr(layer, part).kernel for part in parts.split()]


# Every pair of seven tokens but (3, 3), so that the row of the others has its turn.
PAIRS = [(left, right) for left in range(7) for right in range(7) if (left, right) != (3, 3)]


def pairs_in_a_dictionary(layer, inputs):
    """The rows found by a dictionary in place of a sorted search."""
    (table,) = layer.get_weights()
    place = {pair: 7 + i for i, pair in enumerate(sorted(PAIRS))}
    rows = [
        [place.get(pair, len(table) - 1) for pair in zip([None, *text[:-1]], text, strict=True)]
        for text in inputs.tolist()
    ]
    return table[inputs] + table[rows]


def copy_weights(theirs, ours):
    """Give a layer of others the weights of ours: the same numbers, theirs with an axis for the heads."""
    pairs = zip(ours.get_weights(), theirs.get_weights(), strict=True)
    theirs.set_weights([weight.reshape(shaped.shape) for weight, shaped in pairs])


def keras_attention(layer, inputs, context=None, mask=None):
    """Keras's attention with the weights of a MultiHeadAttention, and its attention weights."""
    given = {"use_bias": layer.use_bias, "sliding_window": layer.window}
    head_dim = layer.head_dim or inputs.shape[-1] // layer.num_heads
    if layer.num_kv_heads is None:
        theirs = layers.MultiHeadAttention(layer.num_heads, head_dim, **given)
    else:
        theirs = layers.GroupQueryAttention(head_dim, layer.num_heads, layer.num_kv_heads, **given)
    context = inputs if context is None else context
    theirs(inputs, context)
    copy_weights(theirs, layer)
    if mask is not None:
        mask = mask if mask.ndim == 3 else np.repeat(mask[:, None], inputs.shape[1], axis=1)
    return theirs(inputs, context, attention_mask=mask, use_causal_mask=layer.causal, return_attention_scores=True)


def keras_hub_block(layer, inputs, context=None, mask=None, context_mask=None):
    """KerasHub's encoder or decoder block with the weights of a TransformerBlock."""
    keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)  # it stands behind the newest Keras

    causal = layer.attention.causal
    kind = keras_hub.layers.TransformerDecoder if causal else keras_hub.layers.TransformerEncoder
    theirs = kind(
        layer.feed_forward.hidden_dim,
        layer.attention.num_heads,
        activation=layer.feed_forward.activation,
        layer_norm_epsilon=layer.attention_norm.epsilon,
        normalize_first=layer.placement == "before",
    )
    if causal:
        given = {"decoder_padding_mask": mask, "encoder_sequence": context, "encoder_padding_mask": context_mask}
    else:
        given = {"padding_mask": mask}
    theirs(inputs, **given)
    pairs = [
        (theirs._self_attention_layer, layer.attention),
        (theirs._self_attention_layer_norm, layer.attention_norm),
        (theirs._feedforward_intermediate_dense, layer.feed_forward.expand),
        (theirs._feedforward_output_dense, layer.feed_forward.project),
        (theirs._feedforward_layer_norm, layer.feed_forward_norm),
    ]
    if context is not None:
        pairs.append((theirs._cross_attention_layer, layer.context_attention))
        pairs.append((theirs._cross_attention_layer_norm, layer.context_norm))
    for pair in pairs:
        copy_weights(*pair)
    return theirs(inputs, **given)


def keras_lstm(layer, inputs):
    """The LSTM of Keras with the weights of an RNN around an LSTMCell."""
    lstm = layers.LSTM(layer.cell.units, return_sequences=True)
    lstm.build(inputs.shape)
    lstm.set_weights(layer.get_weights())
    return lstm(inputs)


def all_sequences(layer, inputs):
    """The share of each label at each place among all sequences of labels, each with its own score."""
    transitions, first, last = layer.get_weights()
    shares = np.zeros(inputs.shape)
    for path in itertools.product(range(inputs.shape[2]), repeat=inputs.shape[1]):
        rows, path = np.arange(len(path)), np.array(path)
        score = first[path[0]] + last[path[-1]] + transitions[path[:-1], path[1:]].sum()
        shares[:, rows, path] += np.exp(score + inputs[:, rows, path].sum(1))[:, None]
    return shares / shares.sum(axis=-1, keepdims=True)


def concatenated_embeddings(model, inputs):
    """Equation 1 of Bengio et al. (2003), position by position, in NumPy."""
    embeddings, kernel, hidden_bias, head, bias = model.get_weights()
    seen = model.order - 1
    batch, time = inputs.shape
    vectors = np.concatenate([np.zeros((batch, seen - 1, model.embedding_dim)), embeddings[inputs]], axis=1)
    flat = [vectors[:, t : t + seen].reshape(batch, -1) for t in range(time)]  # (batch, seen * embedding_dim) each
    hidden = np.tanh(np.stack(flat, axis=1) @ kernel.reshape(-1, model.hidden_dim) + hidden_bias)
    return hidden @ head + bias


def step_by_step(model, inputs):
    """The logits of an LSTM language model, one token at a time."""
    states, logits = None, []
    for position in range(inputs.shape[1]):
        one, states = model.step(inputs[:, position], states)
        logits.append(one)
    return ops.stack(logits, axis=1)


def with_a_cache(model, inputs):
    """The logits of a GPT, one token at a time."""
    cache, logits = model.make_cache(len(inputs)), []
    for position in range(inputs.shape[1]):
        one, cache = model(inputs[:, position : position + 1], cache=cache)
        logits.append(one)
    return ops.concatenate(logits, axis=1)


def two_in_a_row(model, inputs):
    """The features of a BERT, the first three tokens as a document of its own in the row of the others."""
    parts = [model(part) for part in (inputs[:, :3], inputs[:, 3:])]
    packed = model(inputs, segment_ids=np.array([[0, 0, 0, 1, 1, 1]] * len(inputs)))
    np.testing.assert_allclose(ops.convert_to_numpy(packed), np.concatenate(parts, axis=1), atol=1e-5)
    return model({"ids": inputs, "mask": np.ones(inputs.shape, bool), "type_ids": np.zeros_like(inputs)})


def seq2seq(*arguments, **named):
    return lambda **kwargs: models.Seq2Seq(models.Seq2SeqSettings(*arguments, **named), **kwargs)


def bert(*arguments, **named):
    return lambda **kwargs: models.BERT(models.BERTSettings(*arguments, **named), **kwargs)


def bert_classifier(num_classes, pooling, **named):
    settings = models.BERTSettings(30, 8, 1, 2, context_length=7, **named)

    def make(dtype=None, **kwargs):
        return models.BERTClassifier(models.BERT(settings, dtype=dtype), num_classes, pooling, dtype=dtype, **kwargs)

    return make


def efficientnet(*arguments, **named):
    return lambda **kwargs: models.EfficientNet(models.EfficientNetSettings(*arguments, **named), **kwargs)


def convolved(layer, inputs):
    """Keras's convolution whose kernel is as large as its steps."""
    theirs = layers.Conv2D(layer.output_dim, layer.patch_size, layer.patch_size, data_format="channels_last")
    theirs.build(inputs.shape)
    copy_weights(theirs, layer)
    return ops.reshape(theirs(inputs), (len(inputs), -1, layer.output_dim))


def patch_encoder(*arguments, **named):
    return lambda **kwargs: models.PatchEncoder(models.PatchEncoderSettings(*arguments, **named), **kwargs)


def vision_language(picture_id, features_dim, encoder=None, hidden_dim=None, **named):
    settings = models.gpt_settings(5, 8, num_heads=2, embedding_dim=8, **named)

    def make(dtype=None, **kwargs):
        decoder, given = models.GPT(settings, dtype=dtype), {"hidden_dim": hidden_dim, "dtype": dtype, **kwargs}
        return models.VisionLanguage(decoder, picture_id, features_dim, encoder and encoder(dtype=dtype), **given)

    return make


def tokens_of_their_own(model, inputs, pictures):
    """The logits of a GPT whose table has a row for each place of each picture."""
    vectors = ops.convert_to_numpy(model.vectors(pictures))
    rows, own = ops.convert_to_numpy(model.decoder.embed.embeddings), inputs.copy()
    for text, row in enumerate(own):
        row[row == model.picture_id] = len(rows) + text * vectors.shape[1] + np.arange((row == model.picture_id).sum())
    table = np.concatenate([rows, *(vectors / model.decoder.settings.embedding_scale)])
    larger = models.GPT(model.decoder.settings.with_(vocabulary_size=len(table)))
    *others, head = model.decoder.get_weights()[1:]
    larger.set_weights([table, *others, np.pad(head, ((0, 0), (0, len(table) - len(rows))))])
    return larger(own)[..., : len(rows)]


def unit_vectors(pair, inputs, texts):
    """Projected means of length 1, in NumPy."""
    found = []
    for side, x in (("picture", inputs.mean(axis=(1, 2))), ("text", texts)):
        gamma, beta = getattr(pair, f"{side}_norm").get_weights()
        x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5) * gamma + beta
        x = x @ getattr(pair, f"{side}_project").get_weights()[0]
        found.append(x / np.linalg.norm(x, axis=-1, keepdims=True))
    return np.stack(found, axis=1)


def gpt(*arguments, **named):
    return lambda **kwargs: models.GPT(models.gpt_settings(*arguments, **named), **kwargs)


def preset(name, **changes):
    return lambda **kwargs: models.GPT(models.preset(name, **changes), **kwargs)


def built_dense():
    dense = layers.Dense(8)
    dense.build((None, 8))
    return dense


PARTS = {"attention": MultiHeadAttention(2), "feed_forward": FeedForward(8)}
LLAMA = {"positions": "rotary", "norm": "rms_norm", "activation": "silu", "gated": True, "use_bias": False}
STAGE = models.Stage(2, 8, strides=2, kernel_size=5, expansion=2)

FEED_FORWARD_REFUSED = [
    ({"hidden_dim": 0}, "hidden_dim"),
    ({"hidden_dim": 4.5}, "hidden_dim"),
    ({"hidden_dim": True}, "hidden_dim"),
    ({"hidden_dim": 4, "activation": lambda x: x}, "could not be saved"),
    ({"hidden_dim": 4, "output_dim": -1}, "output_dim"),
    ({"hidden_dim": 4, "dropout": 1.0}, "dropout"),
    ({"hidden_dim": 4, "activation": "no-such-activation"}, "no-such-activation"),
]

ATTENTION_REFUSED = [
    ({"num_heads": 0}, "num_heads"),
    ({"num_heads": 2.0}, "num_heads"),
    ({"num_heads": None}, "num_heads"),
    ({"num_heads": 2, "head_dim": 0}, "head_dim"),
    ({"num_heads": 4, "num_kv_heads": 3}, "num_kv_heads=3"),
    ({"num_heads": 2, "num_kv_heads": 4}, "num_kv_heads=4"),
    ({"num_heads": 2, "window": 0}, "window"),
    ({"num_heads": True}, "num_heads"),
    ({"num_heads": 2, "rotary": 10000}, "RotaryPositions"),
    ({"num_heads": 2, "qk_norm": True}, "qk_norm must be a layer"),
    ({"num_heads": 2, "scale": 0}, "scale"),
    ({"num_heads": 2, "dropout": 1}, "dropout"),
]
# Everything that attention can do at once.
ALL = {
    "causal": True,
    "head_dim": 6,
    "num_kv_heads": 2,
    "window": 3,
    "rotary": RotaryPositions(100.0),
    "qk_norm": layers.RMSNormalization(epsilon=1e-6),
    "scale": 0.3,
    "use_bias": False,
    "output_bias": True,
    "dropout": 0.2,
    "kernel_initializer": "glorot_normal",
    "output_initializer": "orthogonal",
}

CASES = [
    LayerCase(
        "feed_forward",
        lambda **kwargs: FeedForward(16, **kwargs),
        (2, 5, 8),
        positionwise=True,
        causal=True,
        reference=dense_stack,
        refused=FEED_FORWARD_REFUSED,
        quantised=True,
    ),
    LayerCase(
        "feed_forward_all_arguments",
        lambda **kwargs: FeedForward(
            16, output_dim=3, activation="tanh", use_bias=False, dropout=0.3, kernel_initializer="he_normal", **kwargs
        ),
        (4, 8),
        reference=dense_stack,
        quantised=True,
    ),
    LayerCase(
        "feed_forward_swiglu",
        lambda **kwargs: FeedForward(16, activation="silu", gated=True, **kwargs),
        (2, 5, 8),
        positionwise=True,
        reference=gated_product,
        quantised=True,
    ),
    LayerCase(
        "feed_forward_squared_relu",
        lambda **kwargs: FeedForward(16, activation="squared_relu", output_initializer="orthogonal", **kwargs),
        (2, 5, 8),
        positionwise=True,
        reference=dense_stack,
        quantised=True,
    ),
    LayerCase(
        "mixture_of_experts",
        lambda **kwargs: MixtureOfExperts(3, 2, 12, output_initializer="he_normal", **kwargs),
        (2, 5, 8),
        positionwise=True,
        reference=chosen_experts,
        refused=[
            ({"num_experts": 0, "experts_per_token": 1, "hidden_dim": 4}, "num_experts"),
            ({"num_experts": 2, "experts_per_token": 3, "hidden_dim": 4}, "experts_per_token"),
            ({"num_experts": 2, "experts_per_token": 1, "hidden_dim": False}, "hidden_dim"),
            ({"num_experts": 2, "experts_per_token": 1, "hidden_dim": 4, "balance": -1}, "balance"),
        ],
        quantised=True,
    ),
    LayerCase(
        "rotary_positions",
        lambda **kwargs: RotaryPositions(max_wavelength=100.0, **kwargs),
        (2, 3, 5, 8),
        positionwise=True,
        weightless=True,
        refused=[({"max_wavelength": 1}, "max_wavelength")],
    ),
    LayerCase(
        "sinusoidal_positions",
        lambda **kwargs: SinusoidalPositions(max_wavelength=100.0, **kwargs),
        (2, 5, 8),
        positionwise=True,
        weightless=True,
        refused=[({"max_wavelength": -1}, "max_wavelength")],
    ),
    LayerCase(
        "learned_positions",
        lambda **kwargs: LearnedPositions(7, initializer="glorot_normal", **kwargs),
        (2, 5, 8),
        positionwise=True,
        reference=lambda layer, inputs: inputs + layer.get_weights()[0][:5],
        refused=[({"context_length": 0}, "context_length"), ({"context_length": 4.0}, "context_length")],
    ),
    LayerCase(
        "attention",
        lambda **kwargs: MultiHeadAttention(2, causal=True, **kwargs),
        (2, 5, 8),
        causal=True,
        masked=True,
        unreached="key/bias",  # it adds the same to all scores of a query
        reference=lambda *given: keras_attention(*given)[0],
        refused=ATTENTION_REFUSED,
        quantised=True,
    ),
    LayerCase(
        "attention_cross",
        lambda **kwargs: MultiHeadAttention(4, num_kv_heads=2, head_dim=6, **kwargs),
        (2, 5, 8),
        positionwise=True,
        context_shape=(2, 4, 10),
        context_mask="mask",
        unreached="key/bias",
        reference=lambda *given, **context: keras_attention(*given, **context)[0],
        quantised=True,
    ),
    LayerCase(
        "attention_all_arguments",
        lambda **kwargs: MultiHeadAttention(4, **ALL, **kwargs),
        (2, 5, 8),
        causal=True,
        masked=True,
        quantised=True,
    ),
    LayerCase(
        "block_pre_norm",
        lambda **kwargs: TransformerBlock(MultiHeadAttention(2, causal=True), FeedForward(16), **kwargs),
        (2, 5, 8),
        causal=True,
        masked=True,
        unreached="attention/key/bias",
        reference=keras_hub_block,
        refused=[
            ({"attention": layers.Dense(8), "feed_forward": FeedForward(8)}, "MultiHeadAttention"),
            ({"attention": MultiHeadAttention, "feed_forward": FeedForward(8)}, r"write MultiHeadAttention\("),
            ({"attention": MultiHeadAttention(2), "feed_forward": 8}, "feed_forward must be a layer"),
            ({"attention": MultiHeadAttention(2), "feed_forward": built_dense()}, "weights already"),
            ({**PARTS, "norm": "rms_norm"}, "norm must be a layer"),
            ({**PARTS, "placement": "pre"}, "placement"),
            ({**PARTS, "dropout": 1}, "dropout"),
        ],
        quantised=True,
    ),
    LayerCase(
        "block_post_norm",
        lambda **kwargs: TransformerBlock(
            MultiHeadAttention(2),
            FeedForward(16, activation="relu"),
            layers.LayerNormalization(epsilon=1e-3),
            placement="after",
            **kwargs,
        ),
        (2, 5, 8),
        masked=True,
        unreached="attention/key/bias",
        reference=keras_hub_block,
        quantised=True,
    ),
    LayerCase(
        "block_cross",
        lambda **kwargs: TransformerBlock(
            MultiHeadAttention(2, causal=True),
            FeedForward(16),
            placement="after",
            context_attention=MultiHeadAttention(2),
            **kwargs,
        ),
        (2, 5, 8),
        causal=True,
        masked=True,
        context_shape=(2, 4, 8),
        context_mask="context_mask",
        unreached="attention/key/bias",
        reference=keras_hub_block,
        quantised=True,
    ),
    LayerCase(
        "block_all_arguments",
        lambda **kwargs: TransformerBlock(
            MultiHeadAttention(4, **ALL),
            MixtureOfExperts(3, 2, 16, "squared_relu", balance=0.01),
            layers.RMSNormalization(epsilon=1e-6),
            placement="both",
            context_attention=MultiHeadAttention(4, num_kv_heads=2, use_bias=False),
            dropout=0.2,
            **kwargs,
        ),
        (2, 5, 8),
        causal=True,
        masked=True,
        context_shape=(2, 4, 10),
        context_mask="context_mask",
        quantised=True,
    ),
    LayerCase(
        "pair_embedding",
        lambda **kwargs: PairEmbedding(7, PAIRS[::-1], 8, **kwargs),
        (2, 6),
        vocabulary=7,
        causal=True,
        reference=pairs_in_a_dictionary,
        refused=[
            ({"vocabulary_size": 0, "pairs": [(1, 2)], "output_dim": 4}, "vocabulary_size"),
            ({"vocabulary_size": 50_000, "pairs": [(1, 2)], "output_dim": 4}, "46340"),
            ({"vocabulary_size": 7, "pairs": [(1, 7)], "output_dim": 4}, "1 to 7"),
            ({"vocabulary_size": 7, "pairs": [(1, 2, 3)], "output_dim": 4}, "shape"),
            ({"vocabulary_size": 7, "pairs": [], "output_dim": 4}, "at least one"),
            ({"vocabulary_size": 7, "pairs": [(1, 2.5)], "output_dim": 4}, "whole numbers"),
            ({"vocabulary_size": 7, "pairs": [(1, 2)], "output_dim": 0}, "output_dim"),
        ],
    ),
    LayerCase(
        "masked_mean",
        MaskedMean,
        (2, 5, 8),
        masked=True,
        pooled=True,
        weightless=True,
        reference=lambda layer, inputs: inputs.mean(axis=1),
    ),
    LayerCase(
        "masked_max",
        MaskedMax,
        (2, 5, 8),
        masked=True,
        pooled=True,
        weightless=True,
        reference=lambda layer, inputs: inputs.max(axis=1),
    ),
    LayerCase(
        "crf",
        CRF,
        (2, 5, 4),
        masked=True,
        reference=all_sequences,
    ),
    LayerCase(
        "lstm_cell",
        lambda dtype=None, **kwargs: layers.RNN(LSTMCell(8, dtype=dtype), return_sequences=True, dtype=dtype, **kwargs),
        (2, 5, 6),
        causal=True,
        masked=True,
        reference=keras_lstm,
        refused=[({"units": 0}, "units"), ({"units": 2.5}, "units")],
        refuses=LSTMCell,
    ),
    LayerCase(
        "inverted_residual",
        lambda **kwargs: InvertedResidual(4, expansion=3, **kwargs),
        (2, 5, 6, 4),
        reference=images_in_numpy.inverted_residual,
        refused=[
            ({"channels": 0}, "channels"),
            ({"channels": 4, "expansion": 1.5}, "expansion"),
            ({"channels": 4, "kernel_size": 0}, "kernel_size"),
            ({"channels": 4, "strides": True}, "strides"),
            ({"channels": 4, "epsilon": 0}, "epsilon"),
        ],
    ),
    LayerCase(
        "inverted_residual_all_arguments",
        lambda **kwargs: InvertedResidual(6, 1, 5, 2, 1e-2, "he_uniform", **kwargs),
        (2, 7, 6, 4),
        pooled=True,
        reference=images_in_numpy.inverted_residual,
    ),
    LayerCase(
        "patch_embedding",
        lambda **kwargs: PatchEmbedding(2, 8, **kwargs),
        (2, 6, 4, 3),
        pooled=True,
        reference=convolved,
        refused=[
            ({"patch_size": 0, "output_dim": 4}, "patch_size"),
            ({"patch_size": 2, "output_dim": True}, "output_dim"),
        ],
        quantised=True,
    ),
    LayerCase(
        "neural_ngram",
        lambda **kwargs: models.NeuralNGram(30, order=3, embedding_dim=8, hidden_dim=16, dropout=0.3, **kwargs),
        (2, 6),
        vocabulary=30,
        causal=True,
        reference=concatenated_embeddings,
        refused=[
            ({"vocabulary_size": 0}, "vocabulary_size"),
            ({"vocabulary_size": 9, "order": 1}, "order"),
            ({"vocabulary_size": 9, "hidden_dim": 0.5}, "hidden_dim"),
            ({"vocabulary_size": 9, "dropout": 1}, "dropout"),
        ],
        quantised=True,
    ),
    LayerCase(
        "lstm_language_model",
        lambda **kwargs: models.LSTMLanguageModel(30, embedding_dim=8, units=16, dropout=0.3, **kwargs),
        (2, 6),
        vocabulary=30,
        causal=True,
        reference=step_by_step,
        refused=[
            ({"vocabulary_size": -1}, "vocabulary_size"),
            ({"vocabulary_size": 9, "depth": 0}, "depth"),
            ({"vocabulary_size": 9, "dropout": -0.1}, "dropout"),
            ({"vocabulary_size": 9, "embedding_dim": 4, "units": 8, "tied": True}, "tied"),
        ],
        quantised=True,
    ),
    LayerCase(
        "lstm_language_model_tied",
        lambda **kwargs: models.LSTMLanguageModel(30, embedding_dim=8, units=8, tied=True, **kwargs),
        (2, 6),
        vocabulary=30,
        causal=True,
        quantised=True,
    ),
    LayerCase(
        "gpt",
        gpt(30, 8, num_layers=2, num_heads=2, embedding_dim=8, dropout=0.2),
        (2, 6),
        vocabulary=30,
        causal=True,
        masked=True,
        unreached="key/bias",
        reference=with_a_cache,
        refused=[
            ({"vocabulary_size": 0}, "vocabulary_size"),
            ({"vocabulary_size": 9, "hidden_dim": 0}, "hidden_dim"),
            ({"vocabulary_size": 9, "num_layers": np.float64(2)}, "num_layers"),
            ({"vocabulary_size": 9, "num_heads": 3}, "num_heads=3"),
            ({"vocabulary_size": 9, "positions": "absolute"}, "positions"),
            ({"vocabulary_size": 9, "norm": "batch"}, "norm"),
        ],
        refuses=lambda **given: models.GPT(models.gpt_settings(**given)),
        quantised=True,
    ),
    LayerCase(
        "gpt_modern",
        gpt(30, 4, num_layers=2, num_heads=4, embedding_dim=8, num_kv_heads=2, tied=False, qk_norm=True, **LLAMA),
        (2, 6),  # longer than the context: the cache is a ring
        vocabulary=30,
        causal=True,
        masked=True,
        reference=with_a_cache,
        quantised=True,
    ),
    LayerCase(
        "gpt_gemma",
        preset(
            "gemma-3-270m",
            vocabulary_size=30,
            context_length=8,
            num_layers=3,
            head_dim=6,
            embedding_dim=10,
            hidden_dim=14,
            window=3,
            local_per_global=2,
        ),
        (2, 6),
        vocabulary=30,
        causal=True,
        masked=True,
        reference=with_a_cache,
        quantised=True,
    ),
    LayerCase(
        "gpt_mixture",
        preset(
            "mixtral-8x7b",
            vocabulary_size=30,
            context_length=8,
            num_layers=2,
            num_heads=3,
            num_kv_heads=1,
            embedding_dim=9,
            head_dim=4,
            num_experts=3,
            hidden_dim=7,
        ),
        (2, 6),
        vocabulary=30,
        causal=True,
        masked=True,
        reference=with_a_cache,
        quantised=True,
    ),
    LayerCase(
        "bert",
        bert(30, 8, 2, 2, context_length=7, dropout=0.2),
        (2, 6),
        vocabulary=30,
        masked=True,
        unreached="key/bias",
        reference=two_in_a_row,
        refused=[
            ({"vocabulary_size": 0}, "vocabulary_size"),
            ({"vocabulary_size": 9, "num_layers": True}, "num_layers"),
            ({"vocabulary_size": 9, "num_heads": 5}, "num_heads=5"),
            ({"vocabulary_size": 9, "pad_id": 9}, "pad_id"),
            ({"vocabulary_size": 9, "epsilon": 0}, "epsilon"),
            ({"vocabulary_size": 9, "type_vocabulary_size": -1}, "type_vocabulary_size"),
            ({"vocabulary_size": 9, "activation": lambda x: x}, "could not be saved"),
        ],
        refuses=lambda **given: models.BERT(models.BERTSettings(**given)),
        quantised=True,
    ),
    LayerCase(
        "bert_masked_language_model",
        bert(30, 6, 1, 3, 14, 6, 1, epsilon=1e-5, activation="gelu_tanh", pad_id=None, head=True, pooler=True),
        (2, 6),
        vocabulary=30,
        masked=True,
        unreached=("key/bias", "pooler/kernel", "pooler/bias"),
        reference=lambda model, inputs: model.head(model(inputs, return_features=True)),
        quantised=True,
    ),
    LayerCase(
        "seq2seq",
        seq2seq(30, 20, embedding_dim=8, num_layers=2, decoder_layers=1, num_heads=2, hidden_dim=12, dropout=0.2),
        (2, 6),
        vocabulary=30,
        causal=True,
        masked=True,
        context_shape=(2, 5),
        context_mask="source_mask",
        reads=20,
        unreached="key/bias",
        reference=seq2seq_in_numpy.transformer,
        refused=[
            ({"vocabulary_size": 0}, "vocabulary_size"),
            ({"vocabulary_size": 9, "source_vocabulary_size": 2.5}, "source_vocabulary_size"),
            (
                {"vocabulary_size": 9, "source_vocabulary_size": 8, "shared": True},
                "A shared table needs one vocabulary",
            ),
            ({"vocabulary_size": 9, "source_vocabulary_size": 4, "pad_id": 4}, "pad_id"),
            ({"vocabulary_size": 9, "num_heads": 3}, "num_heads=3"),
            ({"vocabulary_size": 9, "decoder_layers": 0}, "decoder_layers"),
            ({"vocabulary_size": 9, "hidden_dim": True}, "hidden_dim"),
            ({"vocabulary_size": 9, "positions": "absolute"}, "positions"),
            ({"vocabulary_size": 9, "placement": "pre"}, "placement"),
            ({"vocabulary_size": 9, "dropout": 1}, "dropout"),
            ({"vocabulary_size": 9, "activation": lambda x: x}, "could not be saved"),
        ],
        refuses=lambda **given: models.Seq2Seq(models.Seq2SeqSettings(**given)),
        quantised=True,
    ),
    LayerCase(
        "seq2seq_shared",
        seq2seq(
            *(30, None, True, 8, 1, 2),
            num_heads=2,
            context_length=7,
            positions="learned",
            pad_id=None,
        ),
        (2, 6),
        vocabulary=30,
        causal=True,
        masked=True,
        context_shape=(2, 5),
        context_mask="source_mask",
        reads=30,
        unreached="key/bias",
        reference=seq2seq_in_numpy.transformer,
        quantised=True,
    ),
    LayerCase(
        "lstm_seq2seq",
        lambda **kwargs: models.LSTMSeq2Seq(30, 20, False, 8, 12, 2, dropout=0.2, **kwargs),
        (2, 6),
        vocabulary=30,
        causal=True,
        masked=True,
        context_shape=(2, 5),
        context_mask="source_mask",
        reads=20,
        reference=seq2seq_in_numpy.recurrent,
        refused=[
            ({"vocabulary_size": True}, "vocabulary_size"),
            ({"vocabulary_size": 9, "source_vocabulary_size": 0}, "source_vocabulary_size"),
            (
                {"vocabulary_size": 9, "source_vocabulary_size": 8, "shared": True},
                "A shared table needs one vocabulary",
            ),
            ({"vocabulary_size": 9, "units": 7}, "units=7 cannot be halved"),
            ({"vocabulary_size": 9, "depth": 0}, "depth"),
            ({"vocabulary_size": 9, "embedding_dim": 0}, "embedding_dim"),
            ({"vocabulary_size": 9, "dropout": 1}, "dropout"),
            ({"vocabulary_size": 9, "pad_id": 9}, "pad_id"),
        ],
        quantised=True,
    ),
    LayerCase(
        "bert_classifier",
        bert_classifier(3, "mean", dropout=0.2),
        (2, 6),
        vocabulary=30,
        masked=True,
        pooled=True,
        unreached="key/bias",
        output_dtype="float32",
        refused=[
            ({"encoder": bert(9, 8, 1, 2)(), "num_classes": 0}, "num_classes"),
            ({"encoder": bert(9, 8, 1, 2)(), "num_classes": 2, "pooling": "last"}, "pooling"),
            ({"encoder": bert(9, 8, 1, 2)(), "num_classes": 2, "dropout": 1}, "dropout"),
            ({"encoder": layers.Dense(2), "num_classes": 2}, "encoder must be a BERT"),
        ],
        refuses=models.BERTClassifier,
        quantised=True,
    ),
    LayerCase(
        "bert_tagger",
        bert_classifier(3, None, type_vocabulary_size=0),
        (2, 6),
        vocabulary=30,
        masked=True,
        unreached="key/bias",
        output_dtype="float32",
        quantised=True,
    ),
    LayerCase(
        "efficientnet",
        efficientnet(5, [STAGE], stem_dim=4, features_dim=12, epsilon=1e-2, dropout=0.2),
        (4, 17, 14, 3),
        pooled=True,
        unreached="project_norm/beta",  # what is the same everywhere, the next normalisation takes away
        reference=images_in_numpy.efficientnet,
        refused=[
            ({"num_classes": 0}, "num_classes"),
            ({"stages": []}, "stages must be at least one"),
            ({"stages": [(1, 16)]}, r"Stage\(blocks, channels\)"),
            ({"stages": [{"blocks": 0, "channels": 4}]}, "blocks"),
            ({"stem_dim": 0}, "stem_dim"),
            ({"features_dim": 2.0}, "features_dim"),
            ({"epsilon": -1}, "epsilon"),
            ({"dropout": 1}, "dropout"),
        ],
        refuses=lambda **given: models.EfficientNet(models.EfficientNetSettings(**given)),
        quantised=True,
    ),
    LayerCase(
        "patch_encoder",
        patch_encoder(8, 4, embedding_dim=8, num_layers=1, num_heads=2, dropout=0.2),
        (2, 8, 8, 3),
        pooled=True,
        unreached="key/bias",
        reference=lambda model, inputs: model.final_norm(model.blocks[0](model.embed(inputs) + model.place.embeddings)),
        refused=[
            ({"image_size": 0}, "image_size"),
            ({"image_size": 10, "patch_size": 4}, "image_size=10 is no multiple"),
            ({"embedding_dim": 10, "num_heads": 4}, "num_heads=4"),
            ({"channels": 1.0}, "channels"),
            ({"dropout": 1}, "dropout"),
        ],
        refuses=lambda **given: models.PatchEncoder(models.PatchEncoderSettings(**given)),
        quantised=True,
    ),
    LayerCase(
        "vision_language",  # many of five tokens are places of a picture
        vision_language(2, 10, num_layers=2, hidden_dim=12, tied=False, positions="rotary"),
        (2, 6),
        vocabulary=5,
        causal=True,
        masked=True,
        context_shape=(2, 6, 10),
        context_name="pictures",
        reference=tokens_of_their_own,
        refused=[
            ({"decoder": gpt(9)(), "picture_id": 9, "features_dim": 4}, "picture_id"),
            ({"decoder": gpt(9)(), "picture_id": 1, "features_dim": 0}, "features_dim"),
            ({"decoder": gpt(9)(), "picture_id": 1, "features_dim": 4, "hidden_dim": 0}, "hidden_dim"),
        ],
        refuses=models.VisionLanguage,
        quantised=True,
    ),
    LayerCase(
        "vision_language_encoder",
        vision_language(2, 8, patch_encoder(6, 2, 1, 8, 1, 2), num_layers=1),
        (2, 6),
        vocabulary=5,
        causal=True,
        context_shape=(2, 6, 6, 1),
        context_name="pictures",
        unreached="key/bias",
        reference=lambda model, inputs, pictures: model({"ids": inputs, "pictures": pictures}),
        quantised=True,
    ),
    LayerCase(
        "contrastive_pair",
        lambda **kwargs: models.ContrastivePair(6, 5, 12, temperature=0.1, **kwargs),
        (2, 3, 2, 6),
        pooled=True,
        context_shape=(2, 5),
        context_name="texts",
        unreached="log_scale",  # the loss alone reads it
        reference=unit_vectors,
        refused=[
            ({"picture_dim": 0, "text_dim": 4}, "picture_dim"),
            ({"picture_dim": 4, "text_dim": 4, "output_dim": 0.5}, "output_dim"),
            ({"picture_dim": 4, "text_dim": 4, "temperature": 0}, "temperature"),
        ],
        quantised=True,
    ),
    LayerCase(
        "bag_of_embeddings",
        lambda **kwargs: models.BagOfEmbeddings(12, 2, 8, token_dropout=0.2, dropout=0.3, **kwargs),
        (2, 6),
        vocabulary=12,
        padded=True,
        pooled=True,
        output_dtype="float32",
        refused=[
            (
                {"vocabulary_size": 12, "num_classes": 2, "embedding_dim": 8, "embeddings": np.zeros((3, 8))},
                "vocabulary",
            ),
            ({"vocabulary_size": 12, "num_classes": 0}, "num_classes"),
            ({"vocabulary_size": 12, "num_classes": 2, "dropout": 1}, "dropout"),
        ],
        quantised=True,
    ),
    LayerCase(
        "bilstm",
        lambda **kwargs: models.BiLSTM(12, 2, 8, units=4, token_dropout=0.2, dropout=0.3, **kwargs),
        (2, 6),
        vocabulary=12,
        padded=True,
        pooled=True,
        output_dtype="float32",
        refused=[
            ({"vocabulary_size": 12, "num_classes": 2, "pooling": "sum"}, "pooling"),
            ({"vocabulary_size": 12, "num_classes": 2, "depth": 0}, "depth"),
            ({"vocabulary_size": 12, "num_classes": 2, "embedding_dim": 8, "embeddings": np.zeros((3, 8))}, "shape"),
        ],
        quantised=True,
    ),
    LayerCase(
        "bilstm_tagger",
        lambda **kwargs: models.BiLSTM(12, 3, 8, units=4, depth=2, pooling=None, **kwargs),
        (2, 6),
        vocabulary=12,
        output_dtype="float32",
        quantised=True,
    ),
]
