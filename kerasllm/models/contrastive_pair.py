"""ContrastivePair: two encoders learn to put a picture and its text at the same place, as CLIP does."""

from __future__ import annotations

import math

import keras
from keras import ops

from kerasllm.common import positive, whole_number
from kerasllm.layers.composite import CompositeModel, stored
from kerasllm.models.vision_language import checked_encoder, part_of

LARGEST_SCALE = 100.0  # CLIP's: beyond it the training becomes unstable


def clip_loss(pictures, texts, scale):
    r"""How badly pictures and texts of a batch find each other: the mean of two cross-entropies.

    $$ -\frac{1}{2n} \sum_i \left( \log \frac{e^{s\, u_i \cdot v_i}}{\sum_j e^{s\, u_i \cdot v_j}} +
       \log \frac{e^{s\, u_i \cdot v_i}}{\sum_j e^{s\, u_j \cdot v_i}} \right) $$

    Each picture chooses among the texts of the batch, each text among its pictures; picture i belongs to text i.

    Args:
        pictures: float tensor (batch, dim), vectors $u_i$ of length 1.
        texts: float tensor (batch, dim), vectors $v_i$ of length 1.
        scale: what products are multiplied by, one over the temperature.

    Returns:
        Float32 scalar. ``log(batch)`` if all vectors are equal.

    Example:
        >>> one = ops.eye(2)
        >>> [round(float(clip_loss(one, texts, scale=2.0)), 3) for texts in (one, one[::-1])]
        [0.127, 2.127]

    Reference: Radford et al. (2021), "Learning Transferable Visual Models From Natural Language Supervision", figure 3;
    Zhang et al. (2022), "Contrastive Learning of Medical Visual Representations from Paired Images and Text",
    equations 2 and 3.
    """
    pictures, texts = ops.cast(pictures, "float32"), ops.cast(texts, "float32")
    logits = ops.cast(scale, "float32") * ops.matmul(pictures, ops.transpose(texts))  # (batch of pictures, of texts)
    own, both = ops.arange(ops.shape(logits)[0]), (logits, ops.transpose(logits))
    losses = [ops.sparse_categorical_crossentropy(own, one, from_logits=True) for one in both]
    return ops.mean(losses[0] + losses[1]) / 2


@keras.saving.register_keras_serializable(package="kerasllm")
class ContrastivePair(CompositeModel):
    """Gives pictures and texts vectors of length 1 that lie together where a picture and a text belong together.

    An encoder for each side, the mean over its places, and a matrix to the common size. `compile` it with an optimizer
    and no loss: its loss is `clip_loss`, of a batch of pairs. Large batches are harder and teach more. A pair that
    stands in a batch twice is taken for a mistake.

    Args:
        picture_dim: how many numbers a picture's features have.
        text_dim: how many a text's features have.
        output_dim: size of the common vectors.
        picture_encoder: a model or layer from pictures to features (batch, picture_dim), or with places between,
            (batch, ..., picture_dim), of which the mean is taken. None where features are given.
        text_encoder: the same for texts. Padding must not reach the mean: such an encoder gives one vector a text.
        temperature: products are divided by it in the loss; it is trained, too.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: what the encoder of pictures takes; or a dictionary with "pictures" and "texts", as `fit` has it.
        texts: what the encoder of texts takes, beside pictures that are no dictionary.
        training: whether dropout is active.

    Returns:
        Float tensor (batch, 2, output_dim): of each pair the vector of the picture and that of the text.

    Raises:
        TypeError: if an encoder is no layer.
        ValueError: if a number does not fit, or the texts are missing.

    Example:
        >>> import numpy as np
        >>> pair = ContrastivePair(picture_dim=12, text_dim=5, output_dim=4)
        >>> pair.compile("adam")
        >>> data = {"pictures": np.ones((3, 2, 2, 12)), "texts": np.ones((3, 5))}
        >>> round(pair.fit(data, verbose=0).history["loss"][0], 3)  # all alike: log 3
        1.099
        >>> tuple(pair.text_vectors(np.ones((7, 5))).shape)
        (7, 4)

    Reference: Radford et al. (2021), "Learning Transferable Visual Models From Natural Language Supervision", section
    2.3 and figure 3; Zhai et al. (2022), "LiT: Zero-Shot Transfer with Locked-image text Tuning", for a frozen encoder.
    """

    def __init__(
        self,
        picture_dim,
        text_dim,
        output_dim=128,
        picture_encoder=None,
        text_encoder=None,
        temperature=0.07,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.picture_dim, self.text_dim = whole_number("picture_dim", picture_dim), whole_number("text_dim", text_dim)
        self.output_dim = whole_number("output_dim", output_dim)
        self.picture_encoder = checked_encoder("picture_encoder", picture_encoder)
        self.text_encoder = checked_encoder("text_encoder", text_encoder)
        self.temperature = positive("temperature", temperature)
        self.picture_norm, self.text_norm = (
            keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name=f"{side}_norm")
            for side in ("picture", "text")
        )
        self.picture_project, self.text_project = (
            keras.layers.Dense(self.output_dim, use_bias=False, dtype=self.dtype_policy, name=f"{side}_projection")
            for side in ("picture", "text")
        )
        self.build((None, self.picture_dim))

    def build(self, input_shape):
        if self.built:
            return
        for side, dim in (("picture", self.picture_dim), ("text", self.text_dim)):
            for layer in (getattr(self, f"{side}_norm"), getattr(self, f"{side}_project")):
                layer.build((None, dim))
        start = keras.initializers.Constant(math.log(1 / self.temperature))
        self.log_scale = self.add_weight(name="log_scale", shape=(), initializer=start)
        self.restore_parts()

    @property
    def scale(self):
        """What products are multiplied by in the loss: one over the temperature, at most 100."""
        return ops.minimum(ops.exp(self.log_scale), LARGEST_SCALE)

    def call(self, inputs, texts=None, training=None):
        if isinstance(inputs, dict):
            inputs, texts = inputs["pictures"], inputs["texts"]
        if texts is None:
            raise ValueError("There are no texts: call with pictures and texts, or use picture_vectors(pictures).")
        return ops.stack([self.picture_vectors(inputs, training), self.text_vectors(texts, training)], axis=1)

    def picture_vectors(self, pictures, training=None):
        """The vectors of pictures, float tensor (batch, output_dim), of length 1."""
        return self._vectors(self.picture_encoder, self.picture_norm, self.picture_project, pictures, training)

    def text_vectors(self, texts, training=None):
        """The vectors of texts, float tensor (batch, output_dim), of length 1."""
        return self._vectors(self.text_encoder, self.text_norm, self.text_project, texts, training)

    def _vectors(self, encoder, norm, project, given, training):
        x = given if encoder is None else encoder(given, training=training)
        x = ops.convert_to_tensor(x, dtype=self.compute_dtype)
        if len(x.shape) > 2:
            x = ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)))
        return ops.normalize(project(norm(x)), axis=-1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return clip_loss(y_pred[:, 0], y_pred[:, 1], self.scale)

    def compute_output_shape(self, input_shape, *others, **more):
        shape = input_shape["pictures"] if isinstance(input_shape, dict) else input_shape
        return (shape[0], 2, self.output_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "picture_dim": self.picture_dim,
            "text_dim": self.text_dim,
            "output_dim": self.output_dim,
            "picture_encoder": stored(self.picture_encoder),
            "text_encoder": stored(self.text_encoder),
            "temperature": self.temperature,
        }

    @classmethod
    def from_config(cls, config):
        encoders = {name: part_of(config[name]) for name in ("picture_encoder", "text_encoder")}
        return cls(**{**config, **encoders})
