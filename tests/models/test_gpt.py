"""The GPT: its configurations and its costs. What it computes: test_parity.py."""

import keras
import numpy as np
import pytest
from keras import ops

from kerasllm.models import GPT, gpt_settings, preset
from kerasllm.training import classic, modern

SMALL = {"vocabulary_size": 50, "context_length": 16, "num_layers": 2, "num_heads": 2, "embedding_dim": 16}
IDS = np.random.default_rng(0).integers(0, 50, (4, 16)).astype("int32")


def gpt(**changes):
    kwargs = {name: changes.pop(name) for name in ("dtype", "name") if name in changes}
    return GPT(gpt_settings(**{**SMALL, **changes}), **kwargs)


def numbers(tensor):
    return ops.convert_to_numpy(tensor)


def test_embeddings_are_scaled_as_told():
    """As if the matrix itself were larger: the head is another one here."""
    model = gpt(positions="rotary", tied=False)
    random = np.random.default_rng(1)
    model.set_weights([random.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
    scaled = GPT(model.settings.with_(embedding_scale=3.0))
    scaled.set_weights(model.get_weights())
    model.embed.set_weights([3 * weight for weight in model.embed.get_weights()])
    np.testing.assert_allclose(numbers(scaled(IDS)), numbers(model(IDS)), atol=1e-4)


def test_zero_init_starts_at_equal_probabilities():
    model = gpt(tied=False, zero_init=True)
    assert np.ptp(numbers(model(IDS))) == 0
    x = np.random.default_rng(2).normal(size=(1, 5, 16)).astype("float32")
    np.testing.assert_allclose(numbers(model.blocks[0](x)), x)


def test_gpt2_start():
    keras.utils.set_random_seed(0)
    model = GPT(preset("nano", vocabulary_size=65))
    block = model.blocks[0]
    assert np.std(numbers(block.attention.query.kernel)) == pytest.approx(0.02, rel=0.05)
    assert np.std(numbers(block.feed_forward.project.kernel)) == pytest.approx(0.02 / np.sqrt(8), rel=0.05)
    kernels = [numbers(dense.kernel) for dense in (block.attention.query, block.attention.key)]
    assert not np.allclose(*kernels)


# What was published beside the weights. A mixture counts all of its experts.
PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "smollm2-135m": 134_515_008,
    "llama-3.2-1b": 1_235_814_400,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
    "gemma-3-270m": 268_098_176,
    "mixtral-8x7b": 46_702_792_704,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_settings_with_the_published_number_of_parameters(name):
    with keras.StatelessScope(initialize_variables=False):  # shapes alone: no memory is taken
        assert GPT(preset(name)).count_params() == PUBLISHED[name]
    keras.utils.clear_session()  # or the next scope of Keras initialises these weights, all of them


def test_the_setting_of_nanogpt_has_its_size():
    assert GPT(preset("nano", vocabulary_size=65)).count_params() == 804_096  # nanoGPT says 0.80 M


def test_published_models_have_their_parts():
    bias = {name: preset(name).attention[0] for name in ("gpt2", "qwen2.5-0.5b", "qwen3-0.6b")}
    assert [(one.use_bias, one.output_bias) for one in bias.values()] == [(True, True), (True, False), (False, False)]
    assert [one.get_config()["qk_norm"] is not None for one in bias.values()] == [False, False, True]
    assert preset("qwen3-0.6b").attention[0].head_dim * 16 == 2 * preset("qwen3-0.6b").embedding_dim
    gemma = preset("gemma-3-270m")
    assert [one.window for one in gemma.attention] == [512] * 5 + [None]
    assert [one.rotary.max_wavelength for one in gemma.attention] == [1e4] * 5 + [1e6]
    model = preset("gemma-3-270m", vocabulary_size=9, num_layers=7, embedding_dim=4, hidden_dim=4, head_dim=2)
    windows = [block.attention.window for block in GPT(model).blocks]
    assert windows == [512] * 5 + [32768] + [512]
    assert preset("llama-3.2-1b").attention[0].rotary.factor == 32


def test_llama_3_differs_from_other_presets_in_its_rotary_positions_alone():
    changes = {"head_dim": 6, "dropout": 0.1, "window": 7, "max_wavelength": 100.0, "qk_norm": True}
    attention = preset("llama-3.2-1b", **changes).attention[0]
    assert (attention.head_dim, attention.dropout, attention.window) == (6, 0.1, 7)
    assert attention.get_config()["qk_norm"] is not None
    assert (attention.rotary.max_wavelength, attention.rotary.factor) == (100.0, 32.0)
    assert preset("llama-3.2-1b").attention[0].rotary.max_wavelength == 500000.0


def test_mixtral_hands_its_activation_to_the_experts():
    assert preset("mixtral-8x7b", activation="gelu").feed_forward[0].activation is keras.activations.gelu
    with pytest.raises(TypeError, match="has no argument gated"):
        preset("mixtral-8x7b", gated=False)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow counts in its own graphs")
def test_flops_are_those_that_tensorflow_counts():
    import tensorflow as tf

    model = gpt(positions="rotary", num_kv_heads=1)
    concrete = tf.function(lambda ids: model(ids)).get_concrete_function(tf.TensorSpec((1, 16), "int32"))
    options = (
        tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
        .with_empty_output()
        .build()
    )
    counted = tf.compat.v1.profiler.profile(concrete.graph, options=options).total_float_ops
    ours = 16 * model.flops_per_token(context=16)  # TensorFlow multiplies by the masked half too
    assert ours == pytest.approx(counted, rel=0.15)  # TensorFlow also counts what is not a matrix product
    assert ours < counted
    assert model.flops_per_token(training=True) == 3 * model.flops_per_token()


def test_flops_do_not_depend_on_what_is_trained_or_how_it_is_stored():
    model, plain = gpt(), gpt().flops_per_token()
    assert plain > 0
    model.trainable = False
    assert model.flops_per_token() == plain
    # A frozen product costs its own gradient no longer; what attention multiplies is no weight and costs all three.
    attention = 4 * 8 * 16 * 2
    assert model.flops_per_token(training=True) == 2 * (plain - attention) + 3 * attention
    model = gpt()
    model.quantize("int8")
    assert model.flops_per_token() == plain
    model = gpt()
    for block in model.blocks:
        block.attention.query.enable_lora(2)
    assert model.flops_per_token() == plain + 2 * 2 * 2 * (16 + 16)


def test_flops_of_a_mixture_are_those_of_the_experts_that_a_token_uses():
    sizes = {"vocabulary_size": 9, "context_length": 4, "num_layers": 1, "num_heads": 1, "num_kv_heads": 1}
    sizes |= {"embedding_dim": 4, "hidden_dim": 8}
    one, two = (
        GPT(preset("mixtral-8x7b", **sizes, num_experts=4, experts_per_token=n)).flops_per_token() for n in (1, 2)
    )
    assert two - one == 2 * 3 * 4 * 8


def test_describe_adds_up():
    text = GPT(preset("nano", vocabulary_size=65)).describe()
    assert "parameters" in text
    assert "804,096" in text
    assert "tied" in text


def test_padding_in_a_cache_takes_no_room_in_the_context():
    model = gpt(num_layers=1)
    real = np.arange(15) >= 12  # 3 tokens behind 12 places of padding
    _, cache = model(IDS[:1, :15], mask=real[None], cache=model.make_cache(1, 30))
    logits, cache = model(IDS[:1, 3:16], cache=cache)  # 3 and 13 fill the context of 16
    alone = model(np.concatenate([IDS[:1, 12:15], IDS[:1, 3:16]], axis=1))
    np.testing.assert_allclose(numbers(logits), numbers(alone)[:, 3:], atol=1e-5)
    with pytest.raises(ValueError, match="17 tokens does not fit context_length=16"):
        model(IDS[:1, :1], cache=cache)


def test_padding_takes_no_room_in_the_context():
    model, ids = gpt(num_layers=1), np.tile(IDS[:1, :10], 2)  # 20 places in a context of 16
    padded = numbers(model(ids, mask=np.arange(20)[None] >= 4))[:, 4:]
    np.testing.assert_allclose(padded, numbers(model(ids[:, 4:])), atol=1e-5)
    _, cache = model(ids[:, :14], cache=model.make_cache(1, 40))
    last, _ = model(ids[:, :6], mask=np.arange(6)[None] >= 4, cache=cache)  # 14 and 2 fill it
    assert last.shape == (1, 6, model.vocabulary_size)
    with pytest.raises(ValueError, match="17 tokens does not fit context_length=16"):
        model(ids, mask=np.arange(20)[None] >= 3)
    with pytest.raises(ValueError, match="18 tokens does not fit context_length=16"):
        model(ids[:, :2], positions=np.array([16, 17]))


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match=r"no configuration 'gpt5'.*gpt2-xl"):
        preset("gpt5")
    with pytest.raises(ValueError, match="num_heads=3"):
        gpt(num_heads=3)
    with pytest.raises(ValueError, match=r"positions.*'absolute'"):
        gpt(positions="absolute")
    with pytest.raises(ValueError, match="17 tokens"):
        gpt()(np.zeros((1, 17), "int32"))


@pytest.mark.parametrize("recipe", [classic, modern])
def test_recipes_learn(recipe):
    """Each text repeats one token: a model that copies has no loss."""
    keras.utils.set_random_seed(0)
    model = gpt(norm="rms_norm", positions="rotary", tied=False, num_layers=1)
    model.compile(recipe(200, learning_rate=0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ids = np.repeat(np.arange(32, dtype="int32")[:, None], 16, axis=1)
    history = model.fit(ids, ids, batch_size=8, epochs=50, verbose=0).history["loss"]
    assert history[0] > 2
    assert history[-1] < 0.2


def test_recipes_decay_what_they_say():
    model = gpt()
    optimizer = classic(10, weight_decay=0.5)
    optimizer.build(model.trainable_variables)
    decayed = {v.path.split("/", 1)[1] for v in model.trainable_variables if optimizer._use_weight_decay(v)}
    assert all(path.endswith(("kernel", "embeddings")) for path in decayed)
    assert len(decayed) == 2 + 2 * 6


def test_muon_leaves_embeddings_and_head_to_adam():
    model = gpt(tied=False, positions="rotary", norm="rms_norm", use_bias=False)
    optimizer = modern(10)
    optimizer.build(model.trainable_variables)
    by_muon = {v.path.split("/", 1)[1] for v in model.trainable_variables if not optimizer._should_use_adamw(v)}
    assert len(by_muon) == 2 * 6
    assert all("attention/" in path or "feed_forward/" in path for path in by_muon)


def test_equal_settings_have_equal_configs_however_many_layers_were_made_before():
    first, second = (gpt(name="gpt", positions="rotary", qk_norm=True).get_config() for _ in range(2))
    assert first == second
    layers = preset("gemma-3-270m").get_config()["attention"]
    assert [one["config"]["name"] for one in layers] == ["attention"] * 6
