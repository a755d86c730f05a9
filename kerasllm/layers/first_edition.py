"""Files of the first edition: its configs in the words of this one, and the classes that it had of its own."""

import keras

from kerasllm.layers.composite import stored

# These two were Keras's layers with a gradient written by hand. Files name them; Keras's own take their place.
keras.saving.get_custom_objects().update(
    {
        "kerasllm>LayerNormalization": keras.layers.LayerNormalization,
        "kerasllm>RMSNormalization": keras.layers.RMSNormalization,
    }
)


def first_edition_attention(config):
    """The config of a `MultiHeadAttention` whose positions and normalisation were flags, with parts in their place."""
    from kerasllm.layers.position import RotaryPositions

    config = dict(config)
    wavelength, normalised = config.pop("rotary_wavelength"), config.pop("qk_norm")
    rotary = RotaryPositions(wavelength) if wavelength is not None else None
    norm = keras.layers.RMSNormalization(epsilon=1e-6) if normalised else None
    return {**config, "rotary": stored(rotary), "qk_norm": stored(norm)}


def first_edition_block(config):
    """The config of a `TransformerBlock` that passed eighteen flags on to its parts, with the parts in their place."""
    from kerasllm.layers.attention import MultiHeadAttention
    from kerasllm.layers.feed_forward import FeedForward

    shared = {name: config[name] for name in ("use_bias", "kernel_initializer", "output_initializer")}
    heads = {name: config[name] for name in ("num_heads", "head_dim", "num_kv_heads", "qk_norm", "dropout")}
    seen = {name: config[name] for name in ("causal", "window", "rotary_wavelength")}
    attention = MultiHeadAttention.from_config({**heads, **seen, **shared})
    plain = {"causal": False, "window": None, "rotary_wavelength": None}
    crossed = MultiHeadAttention.from_config({**heads, **plain, **shared}) if config["cross_attention"] else None
    dense = {name: config[name] for name in ("hidden_dim", "activation", "gated")}
    norm = keras.layers.RMSNormalization(epsilon=config["norm_epsilon"])
    if config["norm"] == "layer_norm":
        norm = keras.layers.LayerNormalization(epsilon=config["norm_epsilon"], center=config["use_bias"])
    return {
        **{name: config[name] for name in ("name", "trainable", "dtype", "dropout") if name in config},
        "attention": stored(attention),
        "feed_forward": stored(FeedForward.from_config({**dense, **shared})),
        "norm": stored(norm),
        "context_attention": stored(crossed),
        "placement": "before" if config["norm_first"] else "after",
    }
