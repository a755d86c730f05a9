"""What attention and positions promise beyond the battery: masks, caches, parity with Keras and KerasHub."""

import keras
import numpy as np
import pytest
from battery import keras_attention, keras_hub_block
from keras import ops

from kerasllm.layers import (
    FeedForward,
    LearnedPositions,
    MultiHeadAttention,
    RotaryPositions,
    SinusoidalPositions,
    TransformerBlock,
    rotate,
)
from kerasllm.layers.attention import allowed_pairs, softmax

BATCH, TIME, DIM = 3, 20, 16
WINDOW, RING = 3, 5  # a text four times as long as the cache
ROTARY, NORM = {"rotary": RotaryPositions(100.0)}, {"qk_norm": keras.layers.RMSNormalization(epsilon=1e-6)}
VARIANTS = {
    "plain": {},
    "rotary": ROTARY,
    "grouped": {"num_kv_heads": 2},
    "multi_query": {"num_kv_heads": 1, "head_dim": 6},
    "qk_norm": NORM,
    "window": {"window": WINDOW},
    "all": {**ROTARY, **NORM, "num_kv_heads": 2, "window": WINDOW, "use_bias": False},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def vectors(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def array(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def compiled(function):
    """The function as one graph of the backend that runs."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "torch":  # nothing is compiled there
        return function
    import tensorflow

    return tensorflow.function(function)


def attention(variant, **kwargs):
    keras.utils.set_random_seed(1)
    layer = MultiHeadAttention(4, causal=True, **VARIANTS[variant], **kwargs)
    layer.build((None, None, DIM))
    for weight in layer.weights:  # biases and scales that matter
        if len(weight.shape) == 1:
            weight.assign(vectors(*weight.shape, seed=2))
    return layer


def block(num_heads=4, hidden_dim=24, *, causal=True, cross=False, placement="before", epsilon=1e-3, **attention):
    return TransformerBlock(
        MultiHeadAttention(num_heads, causal=causal, **attention),
        FeedForward(hidden_dim),
        keras.layers.LayerNormalization(epsilon=epsilon),
        placement,
        context_attention=MultiHeadAttention(num_heads) if cross else None,
    )


def some_mask(batch, time):
    """Padding of different lengths at the end."""
    return np.arange(time) < time - 2 * np.arange(batch)[:, None]


# Masks


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 1, 3, 9])
def test_allowed_pairs_follow_their_definition(causal, window):
    queries, keys = np.array([2, 3, 4]), np.array([-1, 0, 4, 1, 3, 2])
    expected = [
        [k >= 0 and (k <= q or not causal) and (window is None or abs(q - k) < window) for k in keys] for q in queries
    ]
    np.testing.assert_array_equal(array(allowed_pairs(queries, keys, causal, window)), expected)


@pytest.mark.parametrize(
    "given", [{}, {"causal": True}, {"window": 3}, *({"causal": True, "window": n} for n in (2, 5, 6))]
)
def test_an_output_depends_on_the_allowed_positions_and_on_no_other(given):
    time = 6
    layer, inputs = MultiHeadAttention(2, **given), vectors(1, time, 8)
    changed = np.repeat(inputs, time, axis=0)
    changed[np.arange(time), np.arange(time)] += 1  # text number j has something else at position j
    difference = np.abs(array(layer(changed)) - array(layer(inputs))).max(axis=-1)  # (changed, time)
    allowed = array(allowed_pairs(np.arange(time), np.arange(time), **given))
    np.testing.assert_array_equal(difference.T > 1e-5, allowed)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("given", [{}, {"num_kv_heads": 2, **ROTARY, "window": 3}])
def test_weights_add_up_to_1_and_are_0_where_nothing_may_be_seen(policy, given):
    layer = MultiHeadAttention(4, causal=True, dtype=policy, **given)
    mask = some_mask(2, 6)
    _, weights = layer(vectors(2, 6, 16), mask=mask, return_weights=True)
    weights = array(weights)
    assert weights.shape == (2, 4, 6, 6)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6 if policy == "float32" else 0.01)
    allowed = array(allowed_pairs(np.arange(6), np.arange(6), True, layer.window)) * mask[:, None]
    real = allowed.any(axis=-1)[:, None] & np.ones((1, 4, 1), bool)
    np.testing.assert_array_equal((weights > 0)[real], np.broadcast_to(allowed[:, None] > 0, weights.shape)[real])


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_row_that_sees_nothing_gives_no_nan(policy):
    layer = MultiHeadAttention(2, causal=True, dtype=policy)
    inputs, mask = 100 * vectors(2, 5, 8), np.zeros((2, 5), bool)
    outputs, weights = layer(inputs, mask=mask, return_weights=True)
    assert np.isfinite(array(outputs)).all()
    assert np.isfinite(array(weights)).all()
    scores = ops.cast(np.array([[-60_000.0, 60_000.0, 0.0]]), layer.compute_dtype)
    assert np.isfinite(array(softmax(scores, np.array([[False, False, False]])))).all()
    np.testing.assert_array_equal(array(softmax(scores, np.array([[True, False, False]]))), [[1, 0, 0]])


def test_masks_of_any_dtype_and_of_padding_or_pairs_say_the_same():
    layer, inputs, mask = attention("grouped"), vectors(BATCH, 6, DIM), some_mask(BATCH, 6)
    expected = array(layer(inputs, mask=mask))
    pairs = np.repeat(mask[:, None], 6, axis=1)
    for given in (mask.astype("int32"), mask.astype("int64"), pairs, pairs.astype("uint8")):
        np.testing.assert_array_equal(array(layer(inputs, mask=given)), expected)


@pytest.mark.parametrize("make", [lambda: attention("plain"), block])
def test_what_is_no_mask_is_refused_before_it_turns_attention_round(make):
    layer, inputs, mask = make(), vectors(BATCH, 6, DIM), some_mask(BATCH, 6)
    with pytest.raises(ValueError, match=r"additive mask.* give mask >= 0"):
        layer(inputs, mask=np.where(mask, 0, -1e9).astype("float32"))
    for wrong in (mask[:, :5], mask[0], mask[:, None, None]):
        with pytest.raises(ValueError, match=r"mask has the shape .* but must have \(any, 6\) or \(any, 6, 6\)"):
            layer(inputs, mask=wrong)


def test_the_mask_that_comes_with_the_inputs_is_used_and_handed_on():
    ids, layer = np.array([[3, 1, 2, 0, 0], [1, 2, 3, 4, 5]]), block(2, 16, causal=False)
    embedded = keras.layers.Embedding(6, 8, mask_zero=True)(ids)
    outputs = layer(embedded)
    np.testing.assert_allclose(array(outputs), array(layer(array(embedded), mask=ids > 0)), atol=1e-6)
    if keras.backend.backend() == "tensorflow":  # arrays of JAX carry no mask
        np.testing.assert_array_equal(array(outputs._keras_mask), ids > 0)


@pytest.mark.parametrize("make", [lambda: MultiHeadAttention(2), lambda: block(2, 16)])
def test_a_mask_of_pairs_is_not_taken_for_one_of_the_outputs(make):
    inputs, pairs = keras.Input((5, 8)), keras.Input((5, 5), dtype="bool")
    model = keras.Model([inputs, pairs], make()(inputs, mask=pairs))
    model.compile("sgd", "mse")
    some = vectors(2, 5, 8)
    assert np.isfinite(model.train_on_batch([some, np.tril(np.ones((2, 5, 5), bool))], some))


# Parity


@pytest.mark.parametrize("masked", [None, "padding", "pairs"])
@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize(
    "given",
    [{}, {"causal": True}, {"num_kv_heads": 2, "causal": True}, {"num_kv_heads": 1, "window": 3}],
    ids=["plain", "causal", "grouped", "multi_query"],
)
def test_parity_with_keras(given, crossed, masked):
    layer = MultiHeadAttention(4, head_dim=6, **given)
    context = {"context": vectors(BATCH, 7, 10, seed=1)} if crossed else {}
    inputs = vectors(BATCH, 9, DIM)
    mask = some_mask(BATCH, 7 if crossed else 9) if masked else None
    if masked == "pairs":
        mask = mask[:, None] & (np.random.default_rng(2).random((BATCH, 9, mask.shape[1])) > 0.3)
        mask[..., 0] = True
    outputs, weights = layer(inputs, mask=mask, return_weights=True, **context)
    expected, expected_weights = keras_attention(layer, inputs, mask=mask, **context)
    # With a window, late queries of cross attention and padded ones see nothing: what they give means nothing.
    keys = np.arange(weights.shape[-1])
    seen = array(allowed_pairs(np.arange(9), keys, layer.causal, layer.window)).astype(bool)
    if mask is not None:
        seen = seen & (mask if mask.ndim == 3 else mask[:, None])
    seen = np.broadcast_to(seen.any(axis=-1), (BATCH, 9))
    np.testing.assert_allclose(array(outputs)[seen], array(expected)[seen], atol=1e-5)
    heads_last = np.moveaxis(array(weights), 1, 2)[seen]
    np.testing.assert_allclose(heads_last, np.moveaxis(array(expected_weights), 1, 2)[seen], atol=1e-5)


@pytest.mark.parametrize("placement", ["before", "after"])
@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_parity_with_keras_hub(kind, placement):
    crossed = kind == "cross"
    layer = block(causal=kind != "encoder", cross=crossed, placement=placement)
    inputs = vectors(BATCH, 8, DIM)
    given = {"mask": some_mask(BATCH, 8)}
    if crossed:
        given |= {"context": vectors(BATCH, 6, DIM, seed=1), "context_mask": some_mask(BATCH, 6)}
    outputs = layer(inputs, **given)
    layer.set_weights([vectors(*w.shape, seed=i) / 4 for i, w in enumerate(layer.get_weights())])
    outputs, expected = array(layer(inputs, **given)), array(keras_hub_block(layer, inputs, **given))
    np.testing.assert_allclose(outputs[given["mask"]], expected[given["mask"]], atol=1e-5)


def test_rotate_is_the_rotary_embedding_of_keras_hub():
    keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)  # it stands behind the newest Keras

    theirs = keras_hub.layers.RotaryEmbedding(max_wavelength=500, sequence_axis=2)
    x = vectors(2, 3, 7, 8)
    np.testing.assert_allclose(array(rotate(x, np.arange(7), 500)), array(theirs(x)), atol=1e-5)
    np.testing.assert_allclose(array(rotate(x, np.arange(7) + 40, 500)), array(theirs(x, start_index=40)), atol=1e-5)
    each = np.array([[0, 2, 4, 6, 8, 10, 12], [5, 6, 7, 8, 9, 10, 11]])
    apart = [array(rotate(x[i : i + 1], positions, 500))[0] for i, positions in enumerate(each)]
    np.testing.assert_allclose(array(rotate(x, each, 500)), apart, atol=1e-6)


def test_sinusoidal_positions_are_those_of_keras_hub_in_another_order():
    keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)  # it stands behind the newest Keras

    x = vectors(2, 7, 8)
    theirs = array(keras_hub.layers.SinePositionEncoding(max_wavelength=500)(x))
    expected = x + np.concatenate([theirs[..., 0::2], theirs[..., 1::2]], axis=-1)
    np.testing.assert_allclose(array(SinusoidalPositions(500)(x)), expected, atol=1e-5)


# Positions


def test_rotary_scores_depend_on_the_distance_alone():
    queries, keys = vectors(1, 1, 5, 8), vectors(1, 1, 5, 8, seed=1)
    positions = np.array([0, 3, 4, 11, 30])

    def scores(shift):
        turned = (array(rotate(x, positions + shift))[0, 0] for x in (queries, keys))
        return np.matmul(next(turned), next(turned).T)

    np.testing.assert_allclose(scores(200), scores(0), atol=1e-4)
    assert np.abs(scores(0) - queries[0, 0] @ keys[0, 0].T).max() > 0.1


@pytest.mark.parametrize("layer", [SinusoidalPositions(100.0), LearnedPositions(32), RotaryPositions(100.0)])
def test_positions_are_those_that_are_told(layer):
    x = vectors(2, 4, 12, 8)
    x = x if isinstance(layer, RotaryPositions) else x[:, 0]
    whole, later, told = array(layer(x)), x[..., 5:8, :], np.arange(5, 8)
    run = compiled(lambda x, positions: layer(x, positions=positions))
    for positions in (told, told.tolist(), told.astype("int32"), np.stack([told, told])):
        np.testing.assert_allclose(array(layer(later, positions=positions)), whole[..., 5:8, :], atol=1e-5)
    given = ops.convert_to_tensor(told, "int32")
    np.testing.assert_allclose(array(run(later, given)), whole[..., 5:8, :], atol=1e-5)
    two = array(layer(later, positions=np.stack([told, told + 4])))
    np.testing.assert_allclose(two[0], whole[0, ..., 5:8, :], atol=1e-5)
    np.testing.assert_allclose(two[1], array(layer(later, positions=told + 4))[1], atol=1e-5)


def test_slow_pairs_are_slowed_down_as_llama_3_does_it():
    plain, factor, low, high, context = 5e5 ** (-np.arange(0, 64, 2) / 64), 32, 1, 4, 8192
    expected = []
    for speed in plain:  # as in the configuration's own code: by wavelength
        wavelength = 2 * np.pi / speed
        if wavelength < context / high:
            expected.append(speed)
        elif wavelength > context / low:
            expected.append(speed / factor)
        else:
            smooth = (context / wavelength - low) / (high - low)
            expected.append((1 - smooth) * speed / factor + smooth * speed)
    found = RotaryPositions(5e5, factor=32, original_context=8192).speeds(64)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert 0 < np.isclose(found, plain, rtol=1e-5).sum() < 32
    np.testing.assert_allclose(RotaryPositions(100.0, factor=4).speeds(8), RotaryPositions(100.0).speeds(8) / 4)


def test_learned_positions_end_with_the_context():
    layer = LearnedPositions(6)
    assert layer(vectors(1, 6, 4)).shape == (1, 6, 4)
    for inputs in (vectors(1, 7, 4), keras.KerasTensor((None, 7, 4))):
        with pytest.raises(ValueError, match="7 tokens does not fit context_length=6"):
            layer(inputs)
    told = array(layer(np.zeros((1, 4, 4), "float32"), positions=np.array([-2, -1, 5, 6])))[0]
    np.testing.assert_allclose(told[:3], layer.get_weights()[0][[0, 0, 5]])
    assert np.isnan(told[3]).all()


@pytest.mark.parametrize("layer", [SinusoidalPositions, RotaryPositions])
def test_far_positions_stay_exact_in_half_precision(layer):
    x = vectors(1, 2, 4, 8) if layer is RotaryPositions else vectors(1, 4, 8)
    full, half = (
        array(layer(dtype=policy)(x, positions=np.arange(30_001, 30_005))) for policy in ("float32", "mixed_bfloat16")
    )
    np.testing.assert_allclose(half, full, atol=0.05)


@pytest.mark.parametrize(
    ("layer", "shape"), [(RotaryPositions(), (1, 2, 4, 5)), (SinusoidalPositions(), (1, 4, 5))], ids=["rotary", "sinus"]
)
def test_positions_of_an_odd_size_are_refused(layer, shape):
    with pytest.raises(ValueError, match="must be even"):
        layer(vectors(*shape))


def test_the_order_of_a_context_plays_no_role():
    layer, inputs, context = MultiHeadAttention(2, num_kv_heads=1), vectors(2, 5, 8), vectors(2, 6, 8, seed=1)
    mask, order = some_mask(2, 6), np.random.default_rng(0).permutation(6)
    expected = array(layer(inputs, context=context, mask=mask))
    mixed = array(layer(inputs, context=context[:, order], mask=mask[:, order]))
    np.testing.assert_allclose(mixed, expected, atol=1e-5)


# Caches


def pieces(layer, one_by_one):
    """Positions where calls begin and end: single steps, or a longer piece before and between them."""
    if one_by_one:
        return [(i, i + 1) for i in range(TIME)]
    if layer.window:  # as long as the ring allows
        return [piece for i in range(0, TIME, RING) for piece in ((i, i + 3), (i + 3, i + 5))]
    return [(0, 7), *((i, i + 1) for i in range(7, 15)), (15, 20)]


def cached(layer, inputs, cuts, run, positions=None, cache=None):
    """The outputs of many calls with a cache, side by side."""
    cache, outputs = cache or layer.make_cache(len(inputs), RING if layer.window else TIME + 3), []
    for begin, end in cuts:
        given = {} if positions is None else {"positions": positions[:, begin:end]}
        one, cache = run(inputs[:, begin:end], cache, **given)
        outputs.append(array(one))
    return np.concatenate(outputs, axis=1)


def eager(layer):
    return lambda inputs, cache, **given: layer(inputs, cache=cache, **given)


def traced(layer):
    """The layer in a compiled function."""
    function = compiled(lambda inputs, cache, given: layer(inputs, cache=cache, **given))
    return lambda inputs, cache, **given: function(ops.convert_to_tensor(inputs), cache, given)


def padded_on_the_left(padding):
    """The positions of texts with padding in front, and which are real."""
    positions = np.arange(TIME, dtype="int32") - padding[:, None]
    return np.maximum(positions, -1), positions >= 0


@every_variant
@pytest.mark.parametrize("one_by_one", [True, False], ids=["steps", "pieces"])
def test_a_cache_changes_no_output(variant, one_by_one):
    layer, inputs = attention(variant), vectors(BATCH, TIME, DIM)
    expected = array(layer(inputs))
    np.testing.assert_allclose(cached(layer, inputs, pieces(layer, one_by_one), eager(layer)), expected, atol=1e-5)


@every_variant
def test_a_compiled_cache_and_padding_on_the_left_change_no_output(variant):
    layer, inputs = attention(variant), vectors(BATCH, TIME, DIM)
    positions, mask = padded_on_the_left(np.array([0, 2, 9]))
    whole = array(layer(inputs, positions=positions))
    in_pieces = cached(layer, inputs, pieces(layer, False), traced(layer), positions)
    np.testing.assert_allclose(in_pieces[mask], whole[mask], atol=1e-5)


@every_variant
def test_padding_on_the_left_gives_what_the_text_alone_gives(variant):
    layer, inputs, padding = attention(variant), vectors(BATCH, TIME, DIM), np.array([0, 2, 9])
    positions, mask = padded_on_the_left(padding)
    alone = np.concatenate([array(layer(inputs[i : i + 1, n:]))[0] for i, n in enumerate(padding)])
    np.testing.assert_allclose(array(layer(inputs, positions=positions))[mask], alone, atol=1e-5)
    in_pieces = cached(layer, inputs, pieces(layer, False), eager(layer), positions)
    np.testing.assert_allclose(in_pieces[mask], alone, atol=1e-5)


@every_variant
def test_positions_that_are_told_are_obeyed_without_a_cache_too(variant):
    layer, inputs = attention(variant), vectors(1, 5, DIM)
    told = array(layer(inputs, positions=np.array([0, 4, 8, 9, 30])))
    moved = np.abs(told - array(layer(inputs))).max()
    if VARIANTS[variant].get("rotary") or layer.window:
        assert moved > 1e-3
    else:  # these see an order and nothing else of it
        assert moved < 1e-6


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_compiled_cache_in_half_precision_changes_no_output(policy):
    layer, inputs = attention("all", dtype=policy), vectors(BATCH, TIME, DIM)
    cache, run = layer.make_cache(BATCH, RING), traced(layer)
    _, written = run(inputs[:, :2], cache)
    for entry in (*cache[:2], *written[:2]):
        assert keras.backend.standardize_dtype(entry.dtype) == layer.compute_dtype
    outputs = cached(layer, inputs, pieces(layer, False), run)
    np.testing.assert_allclose(outputs, array(compiled(layer)(ops.convert_to_tensor(inputs))), atol=0.05)


@pytest.mark.parametrize("given", [{"placement": "after", "cross": True}, VARIANTS["all"]], ids=["cross", "all"])
def test_a_block_with_a_cache_gives_the_same_and_its_weights(given):
    layer, inputs, crossed = block(**given), vectors(2, TIME, DIM), "cross" in given
    context = {"context": vectors(2, 4, DIM, seed=1)} if crossed else {}
    masks = {"context_mask": some_mask(2, 4)} if crossed else {}
    positions, mask = padded_on_the_left(np.array([0, 3]))
    expected, weights = layer(inputs, positions=positions, return_weights=True, **context, **masks)
    assert weights.shape == (2, 4, TIME, 4 if crossed else TIME)
    width = 4 if crossed else RING

    def run(piece, cache, positions):
        outputs, weights, cache = layer(piece, positions=positions, cache=cache, return_weights=True, **masks)
        assert weights.shape == (2, 4, piece.shape[1], width)
        return outputs, cache

    cache = layer.make_cache(2, RING if layer.attention.window else TIME, **context)
    outputs = cached(layer.attention, inputs, pieces(layer.attention, False), run, positions, cache)
    np.testing.assert_allclose(outputs[mask], array(expected)[mask], atol=1e-5)


def test_a_context_is_projected_once_for_all_written_tokens(monkeypatch):
    layer, inputs, context = block(cross=True), vectors(2, 3, DIM), vectors(2, 7, DIM, seed=1)
    expected = array(layer(inputs, context=context))
    calls, dense = [], keras.layers.Dense.call
    count = lambda self, x, **given: calls.append(tuple(x.shape)) or dense(self, x, **given)  # noqa: E731
    monkeypatch.setattr(keras.layers.Dense, "call", count)
    cache, outputs = layer.make_cache(2, 3, context=context), []
    for i in range(3):
        one, cache = layer(inputs[:, i : i + 1], cache=cache)
        outputs.append(array(one))
    assert calls.count((2, 7, DIM)) == 2  # keys and values, when the cache was made
    np.testing.assert_allclose(np.concatenate(outputs, axis=1), expected, atol=1e-5)


@pytest.mark.parametrize("variant", ["plain", "all"])
def test_symbolic_calls_say_what_eager_calls_with_a_cache_and_weights_give(variant):
    layer, inputs = attention(variant), vectors(2, 3, DIM)
    given = {"cache": layer.make_cache(2, 5), "return_weights": True}
    symbols = keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), given["cache"])
    spec = layer(keras.KerasTensor(inputs.shape), **{**given, "cache": symbols})
    found = layer(inputs, **given)
    for symbol, value in zip(keras.tree.flatten(spec), keras.tree.flatten(found), strict=True):
        assert tuple(symbol.shape) == tuple(value.shape)
        assert keras.backend.standardize_dtype(symbol.dtype) == keras.backend.standardize_dtype(value.dtype)


def test_a_compiled_function_may_hold_several_steps():
    layer, inputs = attention("all"), vectors(1, 7, DIM)

    def steps(inputs, cache):
        outputs = []
        for begin, end in ((0, 3), (3, 5), (5, 7)):
            one, cache = layer(inputs[:, begin:end], cache=cache)
            outputs.append(one)
        return ops.concatenate(outputs, axis=1)

    outputs = compiled(steps)(ops.convert_to_tensor(inputs), layer.make_cache(1, RING))
    np.testing.assert_allclose(array(outputs), array(layer(inputs)), atol=1e-5)


@every_variant
def test_a_cache_that_is_rewound_forgets_a_guess(variant):
    layer, inputs, guess = attention(variant), vectors(BATCH, 6, DIM), vectors(BATCH, 2, DIM, seed=1)
    first, before = layer(inputs[:, :3], cache=layer.make_cache(BATCH, 8))
    _, after = layer(guess, cache=before)
    again = after.rewind(3)
    for one, other in ((again.positions, before.positions), (again.written, before.written)):
        np.testing.assert_array_equal(array(one), array(other))
    rest, _ = layer(inputs[:, 3:], cache=again)
    outputs = np.concatenate([array(first), array(rest)], axis=1)
    np.testing.assert_allclose(outputs, array(layer(inputs)), atol=1e-5)


def test_a_cache_without_room_is_refused():
    layer, inputs = attention("plain"), vectors(1, 8, DIM)
    _, cache = layer(inputs[:, :6], cache=layer.make_cache(1, 6))
    with pytest.raises(ValueError, match="cache of 6 has no room for tokens 6 to 6"):
        layer(inputs[:, :1], cache=cache)
    layer = attention("window")
    _, four = layer(inputs[:, :4], cache=layer.make_cache(1, RING))
    _, five = layer(inputs[:, 4:5], cache=four)
    layer(inputs[:, :3], cache=five)
    with pytest.raises(ValueError, match="tokens 4 to 5 with window=3"):  # over the end of the ring
        layer(inputs[:, :2], cache=four)
    with pytest.raises(ValueError, match="tokens 5 to 8 with window=3"):  # token 3 would be overwritten
        layer(inputs[:, :4], cache=five)


# What is refused


def test_calls_that_make_no_sense_are_refused():
    x = vectors(1, 4, 6)
    with pytest.raises(ValueError, match="num_heads=4"):
        MultiHeadAttention(4)(x)
    with pytest.raises(ValueError, match="head_dim must be even, not 3"):
        MultiHeadAttention(2, **ROTARY)(x)
    layer = MultiHeadAttention(2, causal=True)
    with pytest.raises(ValueError, match="Call or build"):
        layer.make_cache(1, 4)
    layer.build(x.shape)
    for given in ({"context": x}, {"mask": np.ones((1, 4), bool)}):
        with pytest.raises(ValueError, match="without context and mask"):
            layer(x, cache=layer.make_cache(1, 4), **given)
    with pytest.raises(ValueError, match="takes no context"):
        block(2, 8)(x, context=x)
    crossed = block(2, 8, cross=True)
    crossed.build(x.shape)
    with pytest.raises(ValueError, match="needs a context"):
        crossed(x)
    with pytest.raises(ValueError, match="needs a context"):
        crossed.make_cache(1, 4)
    with pytest.raises(ValueError, match="holds the context already"):
        crossed(x, context=x, cache=crossed.make_cache(1, 4, context=x))


def test_zeros_for_the_output_make_a_pre_norm_block_the_identity():
    x = vectors(2, 4, 8)
    start = {"output_initializer": "zeros"}
    attention, crossed = MultiHeadAttention(2, causal=True, **start), MultiHeadAttention(2, **start)
    layer = TransformerBlock(attention, FeedForward(16, gated=True, **start), context_attention=crossed)
    np.testing.assert_array_equal(array(layer(x, context=vectors(2, 3, 8))), x)
