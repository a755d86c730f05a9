"""EfficientNet: a stack of inverted residuals, whose depth and width were found by search. Images in, features out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
from keras import ops

from kerasllm.common import positive, share, whole_number
from kerasllm.layers.composite import CompositeModel
from kerasllm.layers.inverted_residual import InvertedResidual, convolution, norm


@dataclass(frozen=True)
class Stage:
    """Blocks in a row that have the same number of channels.

    Attributes:
        blocks: how many there are.
        channels: of the output of each.
        strides: of the first block; the others have 1.
        kernel_size: of each block.
        expansion: of each block, see `kerasllm.layers.InvertedResidual`.
    """

    blocks: int
    channels: int
    strides: int = 1
    kernel_size: int = 3
    expansion: int = 6

    def __post_init__(self):
        for name in ("blocks", "channels", "strides", "kernel_size", "expansion"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))


# EfficientNet-B0's, table 1 of the paper, which was found by search.
STAGES = (
    Stage(1, 16, expansion=1),
    Stage(2, 24, strides=2),
    Stage(2, 40, strides=2, kernel_size=5),
    Stage(3, 80, strides=2),
    Stage(3, 112, kernel_size=5),
    Stage(4, 192, strides=2, kernel_size=5),
    Stage(1, 320),
)


@dataclass(frozen=True)
class EfficientNetSettings:
    """The settings of an `EfficientNet`. The defaults are those of EfficientNet-Lite0.

    Attributes:
        num_classes: number of classes, one logit each; None for a model without a head, which gives features alone.
        stages: the blocks, from the image to the features: `Stage`, or dictionaries of their attributes.
        stem_dim: channels of the first convolution, which halves height and width.
        features_dim: channels of the last one. The Lite models keep both at B0's numbers.
        epsilon: the small number that a normalisation adds to the variance. Trained weights fit their own alone.
        dropout: share of the pooled features set to 0 while training a head. Lite0 was trained with 0.2.

    Raises:
        ValueError: if a size is not positive, a number does not fit, or there is no stage.

    Example:
        >>> sum(stage.blocks for stage in EfficientNetSettings().stages)
        16
    """

    num_classes: int | None = 1000
    stages: Sequence[Stage] = STAGES
    stem_dim: int = 32
    features_dim: int = 1280
    epsilon: float = 1e-3
    dropout: float = 0.0

    def __post_init__(self):
        whole_number("num_classes", self.num_classes, optional=True)
        for name in ("stem_dim", "features_dim"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        stages = tuple(Stage(**one) if isinstance(one, dict) else one for one in self.stages)
        if not stages or not all(isinstance(one, Stage) for one in stages):
            raise ValueError(f"stages must be at least one Stage(blocks, channels), not {self.stages!r}.")
        object.__setattr__(self, "stages", stages)
        positive("epsilon", self.epsilon)
        share("dropout", self.dropout)

    def with_(self, **changes) -> EfficientNetSettings:
        """The same settings but for some.

        Args:
            **changes: attributes that differ.

        Returns:
            New settings.
        """
        return replace(self, **changes)

    def get_config(self) -> dict[str, Any]:
        """The settings as JSON values: what a file of a model holds."""
        return {**asdict(self), "stages": [asdict(one) for one in self.stages]}


@keras.saving.register_keras_serializable(package="kerasllm")
class EfficientNet(CompositeModel):
    """Gives each part of an image a vector of what is to be seen there, or says of which class the image is.

    EfficientNet-Lite0 is what the settings are by default. It has its weights as soon as it is made.
    `kerasllm.batches.ImageInput` makes its inputs of images, `kerasllm.weights.pretrained` brings trained weights.
    KerasHub's ``EfficientNetBackbone`` has the Lite models too, with weights of its own; this one needs Keras alone.

    Args:
        settings: `EfficientNetSettings`; those of EfficientNet-Lite0 when None.
        **kwargs: arguments of `keras.Model`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor (batch, height, width, 3): red, green and blue as (value - 127) / 128. Lite0 was trained
            with 224 by 224; any size from 32 on gives something.
        return_features: whether a model with a head returns the features, in place of logits.
        training: whether dropout is active and normalisations take mean and variance of the batch. To train something
            that stands behind features keep ``model.trainable = False``.

    Returns:
        Float tensor (batch, num_classes): logits. With `return_features`, or without a head, the features: float tensor
        (batch, height / 32, width / 32, features_dim), rounded up: 7 by 7 for an image of 224 by 224.

    Raises:
        TypeError: if `settings` are none.
        ValueError: if the inputs have no three channels.

    Example:
        >>> import numpy as np
        >>> model = EfficientNet(EfficientNetSettings(10, [Stage(1, 8, strides=2)], stem_dim=4, features_dim=16))
        >>> image = np.zeros((1, 32, 32, 3))
        >>> tuple(model(image).shape), tuple(model(image, return_features=True).shape)
        ((1, 10), (1, 8, 8, 16))

    Reference: Tan and Le (2019), "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", section 4
    and table 1; the Lite models (without squeeze and excitation, with ReLU6): R. Liu (2020),
    https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html.
    """

    def __init__(self, settings=None, **kwargs):
        super().__init__(**kwargs)
        settings = EfficientNetSettings() if settings is None else settings
        if not isinstance(settings, EfficientNetSettings):
            raise TypeError(f"settings must be EfficientNetSettings, not {settings!r}: EfficientNetSettings(10).")
        self.settings = settings
        policy, epsilon = self.dtype_policy, settings.epsilon
        normal = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")  # EfficientNet's own
        self.stem = convolution("stem", settings.stem_dim, 3, 2, normal, policy)
        self.stem_norm = norm("stem_norm", epsilon, policy)
        shared = {"epsilon": epsilon, "kernel_initializer": normal, "dtype": policy}
        kinds = [(one, one.strides if i == 0 else 1) for one in settings.stages for i in range(one.blocks)]
        self.blocks = [
            InvertedResidual(one.channels, one.expansion, one.kernel_size, strides, name=f"block_{number}", **shared)
            for number, (one, strides) in enumerate(kinds, 1)
        ]
        self.top = convolution("top", settings.features_dim, 1, 1, normal, policy)
        self.top_norm = norm("top_norm", epsilon, policy)
        if settings.num_classes is not None:
            self.drop = keras.layers.Dropout(settings.dropout, dtype=policy)
            self.logits = keras.layers.Dense(settings.num_classes, dtype=policy, name="logits")
        self.build((None, None, None, 3))

    def build(self, input_shape):
        if self.built:
            return
        settings, channels = self.settings, self.settings.stem_dim
        self.stem.build((None, None, None, 3))
        self.stem_norm.build((None, None, None, channels))
        for block in self.blocks:
            block.build((None, None, None, channels))
            channels = block.channels
        self.top.build((None, None, None, channels))
        self.top_norm.build((None, None, None, settings.features_dim))
        if settings.num_classes is not None:
            self.logits.build((None, settings.features_dim))
        self.restore_parts()

    def call(self, inputs, return_features=False, training=None):
        x = ops.relu6(self.stem_norm(self.stem(inputs), training=training))  # (batch, height / 2, width / 2, stem_dim)
        for block in self.blocks:
            x = block(x, training=training)
        x = ops.relu6(self.top_norm(self.top(x), training=training))  # (batch, height / 32, width / 32, features_dim)
        return x if return_features or self.settings.num_classes is None else self.head(x, training)

    def pooled(self, features):
        """One vector an image, float tensor (batch, features_dim): the mean of its features over height and width."""
        return ops.mean(features, axis=(1, 2))

    def head(self, features, training=None):
        """The logits of the classes, (batch, num_classes), of features.

        Raises:
            ValueError: if the model has no head.
        """
        if self.settings.num_classes is None:
            raise ValueError("This EfficientNet has no head: make it with EfficientNetSettings(num_classes=...).")
        return self.logits(self.drop(self.pooled(features), training=training))

    def get_config(self):
        return {**super().get_config(), "settings": self.settings.get_config()}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "settings": EfficientNetSettings(**config["settings"])})
