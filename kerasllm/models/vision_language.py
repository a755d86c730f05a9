"""VisionLanguage: a GPT that reads pictures. A picture becomes vectors that stand where tokens stand."""

from __future__ import annotations

import keras
from keras import ops

from kerasllm.common import whole_number
from kerasllm.layers import FeedForward
from kerasllm.layers.composite import CompositeModel, made, stored
from kerasllm.layers.masks import as_mask
from kerasllm.models.gpt import GPT
from kerasllm.models.inputs import unpacked


@keras.saving.register_keras_serializable(package="kerasllm")
class VisionLanguage(CompositeModel):
    """Predicts the next token from pictures and tokens: features of a picture, projected, and then a GPT.

    One token of the vocabulary stands for a place in a picture. A text holds as many of it as the picture has places,
    usually in front, and at the n-th of them the GPT reads the n-th feature in place of an embedding. So everything
    that holds for ids holds for pictures too: masks, positions, the cache.

    Either part may be frozen: ``model.decoder.trainable = False`` trains the projection alone. `looking_at` gives what
    a `kerasllm.generation.Session` takes.

    Args:
        decoder: a `GPT`. It is part of this model, no copy.
        picture_id: the id that stands for a place in a picture; a special token, which no text needs.
        features_dim: how many numbers a feature has.
        encoder: a model or layer from pictures to features (batch, places, features_dim) or (batch, height, width,
            features_dim), such as a `PatchEncoder` or an `EfficientNet` without a head. None where the pictures that
            are given are features already: a frozen encoder needs to look at each picture once.
        hidden_dim: units between two layers of the projection; None for a single matrix.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor (batch, time) of token ids; or a dictionary with "ids" and any of "mask", "pictures" and
            "positions", as batches for `fit` have it.
        pictures: what the encoder takes, or features, for each text. None for texts without pictures. Where a text
            holds `picture_id` more often than its picture has places, its logits are not numbers.
        mask, positions, cache, return_features, training: see `GPT`. With a cache a picture is read in one call.

    Returns:
        As `GPT` does: float tensor (batch, time, vocabulary_size), with a cache also the new one.

    Raises:
        TypeError: if the decoder is no GPT, or the encoder no layer.
        ValueError: if a number does not fit, or arguments come together that exclude each other.

    Example:
        >>> import numpy as np
        >>> from kerasllm.models import gpt_settings
        >>> gpt = GPT(gpt_settings(vocabulary_size=50, num_layers=1, num_heads=2, embedding_dim=8))
        >>> model = VisionLanguage(gpt, picture_id=49, features_dim=12)
        >>> ids, features = np.array([[49, 49, 49, 49, 3, 7]]), np.ones((1, 2, 2, 12))
        >>> tuple(model(ids, features).shape)
        (1, 6, 50)

    Reference: Liu et al. (2023), "Visual Instruction Tuning", section 4.1, equation 1, for the matrix; Liu et al.
    (2024), "Improved Baselines with Visual Instruction Tuning", section 3.2, for two layers; Tsimpoukelli et al.
    (2021), "Multimodal Few-Shot Learning with Frozen Language Models", section 3, for a frozen GPT.
    """

    names = ("ids", "mask", "pictures", "positions")  # what a batch that is a dictionary may hold

    def __init__(self, decoder, picture_id, features_dim, encoder=None, hidden_dim=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(decoder, GPT):
            raise TypeError(f"decoder must be a GPT, not {decoder!r}: GPT(gpt_settings(vocabulary_size=...)).")
        self.decoder, self.encoder = decoder, checked_encoder("encoder", encoder)
        self.picture_id = whole_number("picture_id", picture_id, 0, decoder.vocabulary_size - 1)
        self.features_dim = whole_number("features_dim", features_dim)
        self.hidden_dim = whole_number("hidden_dim", hidden_dim, optional=True)
        self.supports_masking = True
        policy, dim = self.dtype_policy, decoder.settings.embedding_dim
        small = keras.initializers.RandomNormal(0, 0.02)
        # An encoder's features may be of any size; the projection meets all at one.
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=policy, name="features_norm")
        if hidden_dim is None:
            self.project = keras.layers.Dense(dim, kernel_initializer=small, dtype=policy, name="projection")
        else:
            given = {"output_dim": dim, "kernel_initializer": small, "dtype": policy, "name": "projection"}
            self.project = FeedForward(self.hidden_dim, **given)
        self.build((None, None))

    def build(self, input_shape):
        if self.built:
            return
        for layer in (self.norm, self.project):
            layer.build((None, None, self.features_dim))
        self.restore_parts()

    def vectors(self, pictures, training=None):
        """What the GPT reads of pictures: float tensor (batch, places, embedding_dim)."""
        features = pictures if self.encoder is None else self.encoder(pictures, training=training)
        features = ops.convert_to_tensor(features, dtype=self.compute_dtype)
        if len(features.shape) == 4:
            features = ops.reshape(features, (-1, features.shape[1] * features.shape[2], self.features_dim))
        return self.project(self.norm(features))

    def call(
        self,
        inputs,
        pictures=None,
        mask=None,
        positions=None,
        cache=None,
        return_features=False,
        training=None,
    ):
        ids, mask, pictures, positions = unpacked(inputs, self.names, mask, pictures, positions)
        vectors = None if pictures is None else self.vectors(pictures, training)
        return self.read(ids, vectors, mask, positions, cache, return_features, training)

    def read(self, ids, vectors=None, mask=None, positions=None, cache=None, return_features=False, training=None):
        """What `call` gives, of pictures that are projected already: `vectors`, see there."""
        decoder = self.decoder
        ids, positions, pairs = decoder.placed(ids, mask, None, positions, cache)
        x = decoder.embed(ids) * decoder.settings.embedding_scale  # (batch, time, embedding_dim)
        x = x if vectors is None else self._filled(x, ids, vectors, mask)
        x = decoder.drop(x if decoder.place is None else decoder.place(x, positions=positions), training=training)
        caches = []
        for block, before in zip(decoder.blocks, cache or [None] * len(decoder.blocks), strict=True):
            x = block(x, mask=pairs, positions=positions, cache=before, training=training)
            x, *after = x if cache is not None else [x]
            caches += after
        x = decoder.final_norm(x) if return_features else decoder.head(decoder.final_norm(x))
        return x if cache is None else (x, caches)

    def _filled(self, x, ids, vectors, mask):
        """The embeddings with vectors of the picture in place of those of `picture_id`, the n-th for the n-th."""
        here = ops.equal(ids, self.picture_id)
        if mask is not None:
            here = ops.logical_and(here, as_mask(mask, tuple(ids.shape)))
        number, places = ops.cumsum(ops.cast(here, "int32"), axis=1) - 1, vectors.shape[1]
        found = ops.take_along_axis(vectors, ops.clip(number, 0, places - 1)[..., None], axis=1)
        # A compiled function cannot raise: not a number is seen, a wrong vector is not.
        found = ops.where((number < places)[..., None], ops.cast(found, x.dtype), float("nan"))
        return ops.where(here[..., None], found, x)

    def looking_at(self, pictures):
        """The model before pictures, one for each text, as `kerasllm.generation` takes it; see `Looking`."""
        return Looking(self, pictures)

    @property
    def vocabulary_size(self):
        """The number of rows of the decoder's embedding."""
        return self.decoder.vocabulary_size

    @property
    def context_length(self):
        """The longest text with its picture, in tokens."""
        return self.decoder.context_length

    def compute_output_shape(self, input_shape, *others, **more):
        shape = input_shape["ids"] if isinstance(input_shape, dict) else input_shape
        return (*shape, self.vocabulary_size)

    def get_config(self):
        return {
            **super().get_config(),
            "decoder": stored(self.decoder),
            "picture_id": self.picture_id,
            "features_dim": self.features_dim,
            "encoder": stored(self.encoder),
            "hidden_dim": self.hidden_dim,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "decoder": part_of(config["decoder"]), "encoder": part_of(config["encoder"])})


class Looking:
    """A `VisionLanguage` before one picture for each text: to `kerasllm.generation` a model like any other.

        looking = model.looking_at(features)                       # projected once
        session = Session(looking, tokenizer, rows=len(features))
        session.rewrite([[picture_id] * places + tokenizer.encode("What is it?")] * len(features))
        replies = session.write(20)

    Prompts are ids, because no text has the token of a picture in it, so they come by `Session.rewrite` where there is
    a tokenizer. Pictures stand in the first turn. The token of a picture is never written.

    Args:
        model: the `VisionLanguage`.
        pictures: what it takes, one for each row of a session.

    Example:
        >>> import numpy as np
        >>> from kerasllm.generation import generate
        >>> from kerasllm.models import gpt_settings
        >>> gpt = GPT(gpt_settings(vocabulary_size=50, num_layers=1, num_heads=2, embedding_dim=8))
        >>> looking = VisionLanguage(gpt, picture_id=49, features_dim=12).looking_at(np.ones((2, 1, 12)))
        >>> [len(ids) for ids in generate(looking, [[49, 3], [49]], max_new_tokens=4)]
        [6, 5]
    """

    built = True

    def __init__(self, model, pictures):
        self.model = model
        vectors = model.vectors(pictures, training=False)
        # A variable, so that other pictures compile nothing anew.
        self._vectors = keras.Variable(vectors, trainable=False, name="vectors")

    def look(self, pictures):
        """Look at other pictures, as many as before. Sessions that were begun keep what they have read."""
        self._vectors.assign(self.model.vectors(pictures, training=False))

    def __call__(self, ids, mask=None, cache=None, return_features=False, training=None):
        vectors = ops.convert_to_tensor(self._vectors)
        if ids.shape[0] != vectors.shape[0]:  # several beams of a text look at one picture
            vectors = ops.repeat(vectors, ids.shape[0] // vectors.shape[0], axis=0)
        found = self.model.read(ids, vectors, mask, None, cache, return_features, training)
        if return_features:
            return found
        logits, *caches = found if cache is not None else [found]
        never = ops.equal(ops.arange(self.vocabulary_size), self.model.picture_id)
        logits = ops.where(never, -1e4, logits)  # float16 ends at 65,504
        return (logits, *caches) if caches else logits

    @property
    def variables(self):
        """The weights that are read, and the vectors of the pictures."""
        return [*self.model.variables, self._vectors]

    @property
    def vocabulary_size(self):
        """See `VisionLanguage`."""
        return self.model.vocabulary_size

    @property
    def context_length(self):
        """See `VisionLanguage`."""
        return self.model.context_length

    @property
    def limited(self):
        """See `kerasllm.models.decoder.Decoder`."""
        return self.model.decoder.limited

    @property
    def sees(self):
        """See `kerasllm.models.decoder.Decoder`."""
        return self.model.decoder.sees

    def make_cache(self, batch_size, capacity=None):
        """See `GPT`."""
        return self.model.decoder.make_cache(batch_size, capacity)


def checked_encoder(name, encoder):
    """`encoder`, if it is a layer or None."""
    if encoder is not None and not isinstance(encoder, keras.layers.Layer):
        raise TypeError(f"{name} must be a layer or a model, or None for features, not {encoder!r}.")
    return encoder


def part_of(config):
    """The part that `stored` wrote down; one that was frozen is frozen with all that is in it."""
    part = made(config)
    if part is not None and not part.trainable:
        part.trainable = True  # a value that is there already would not reach the layers inside
        part.trainable = False
    return part
