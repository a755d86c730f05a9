"""Faster training steps for TensorFlow on a CPU, to be switched on by name; the one file that uses Keras' private API.

Three switches, each for itself: `speed_up` gives layers gradients written by hand, `train_in_parts` computes the parts
of a batch side by side, `fuse` makes an optimizer's update one operation. None changes what is computed, or what stands
in a file: a model or an optimizer that is saved and loaded is a plain one again.
"""

from __future__ import annotations

from functools import partial
from types import MethodType

import keras
from keras import ops

from kerasllm.common import whole_number
from kerasllm.common.inside_keras import all_layers


def every_layer(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The model itself and all layers inside it, at any depth, each once.

    Example:
        >>> [layer.name for layer in every_layer(keras.Sequential([keras.layers.Dense(1, name="head")], name="net"))]
        ['net', 'head']
    """
    return all_layers(model)


# Gradients written by hand ---------------------------------------------------------------------


def speed_up(model: keras.Model) -> keras.Model:
    """Give the layers of a model gradients written by hand, which take less time on a CPU; the numbers stay the same.

    They are for `keras.layers.LayerNormalization` and `keras.layers.RMSNormalization` over the last axis, and for
    `keras.layers.Dense` with more inputs than units. Automatic differentiation of a normalisation passes over memory
    nearly twice as often. XLA computes the gradient of a tall kernel at half the speed of the transposed product. A
    training step of a small GPT is 2 to 8% shorter; on GPUs nothing was measured.

    A layer computes as Keras does where it is quantised, has LoRA or computes in float64, on other backends, and
    when the model comes back from a file.

    Args:
        model: a Keras model, built or not.

    Returns:
        The model.

    Example:
        >>> model = speed_up(keras.Sequential([keras.layers.LayerNormalization(), keras.layers.Dense(1)]))
        >>> tuple(model(keras.ops.ones((2, 8))).shape)
        (2, 1)

    Reference: Ba et al. (2016), "Layer Normalization", section 3; Zhang and Sennrich (2019), "Root Mean Square
    Layer Normalization", section 4.
    """
    if keras.backend.backend() != "tensorflow":
        return model
    for layer in every_layer(model):
        for kind, call in _CALLS.items():
            if isinstance(layer, kind) and type(layer).call is kind.call:  # a subclass may compute something else
                layer.call = MethodType(call, layer)
    model.train_function = None  # one compiled earlier has the earlier gradients in it
    return model


def _layer_normalization(layer, inputs):
    if layer.gamma is None or layer.rms_scaling or not _fits(layer, inputs, layer.axis):
        return type(layer).call(layer, inputs)
    outputs = normalize(ops.cast(inputs, "float32"), ops.cast(layer.gamma, "float32"), layer.epsilon)
    if layer.beta is not None:
        outputs = outputs + ops.cast(layer.beta, "float32")
    return ops.cast(outputs, layer.compute_dtype)


def _rms_normalization(layer, x):
    if not _fits(layer, x, layer.axis):
        return type(layer).call(layer, x)
    outputs = normalize(ops.cast(x, "float32"), ops.cast(layer.scale, "float32"), layer.epsilon, center=False)
    return ops.cast(outputs, x.dtype)


def _dense(layer, inputs, training=None):
    tall = layer.kernel.shape[0] > layer.units
    if not tall or layer.lora_enabled or layer.quantization_mode or not _fits(layer, inputs, [-1]):
        return type(layer).call(layer, inputs, training=training)
    outputs = _product(inputs, ops.cast(layer.kernel, inputs.dtype))
    if layer.bias is not None:
        outputs = ops.add(outputs, layer.bias)
    return outputs if layer.activation is None else layer.activation(outputs)


_CALLS = {
    keras.layers.LayerNormalization: _layer_normalization,
    keras.layers.RMSNormalization: _rms_normalization,
    keras.layers.Dense: _dense,
}


def _fits(layer, inputs, axis):
    """Whether the inputs are a dense tensor of a usual dtype, and `axis` is the last of it."""
    import tensorflow as tf

    return (
        isinstance(inputs, tf.Tensor | tf.Variable)
        and inputs.dtype in (tf.float32, tf.bfloat16, tf.float16)
        and layer.compute_dtype != "float64"
        and layer.variable_dtype != "float64"
        and inputs.shape.rank is not None
        and list(axis) in ([-1], [inputs.shape.rank - 1])
    )


def normalize(x, scale, epsilon: float, center: bool = True):
    """Normalise the last axis to mean 0 and variance 1, or without `center` to a root mean square of 1, and scale it.

    Args:
        x: float tensor (..., dim).
        scale: float tensor (dim,).
        epsilon: the small number added to the variance.
        center: whether the mean is subtracted.

    Returns:
        Float tensor (..., dim).

    Example:
        >>> [round(float(y), 2) for y in normalize(ops.array([1.0, 2.0, 3.0]), ops.ones(3), 1e-5)]
        [-1.22, 0.0, 1.22]
    """

    def mean(x):
        return ops.mean(x, axis=-1, keepdims=True)

    @ops.custom_gradient
    def normalized(x, scale):
        centered = x - mean(x) if center else x
        inverse = ops.rsqrt(mean(ops.square(centered)) + epsilon)
        unit = centered * inverse

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream  # PyTorch names it, the others do not
            along = upstream * unit
            direct = upstream * scale
            dx = direct - unit * mean(along * scale)
            if center:
                dx = dx - mean(direct)
            return dx * inverse, ops.sum(ops.reshape(along, (-1, along.shape[-1])), axis=0)

        return unit * scale, gradient

    return normalized(x, scale)


@ops.custom_gradient
def _product(inputs, kernel):
    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        rows, above = (ops.reshape(x, (-1, x.shape[-1])) for x in (inputs, upstream))
        # A one that XLA cannot foresee: it would undo a product that is only transposed.
        one = 1 + 0 * ops.sum(above[:1, :1])
        slope = ops.transpose(one * ops.matmul(ops.transpose(above), rows))
        return ops.reshape(ops.matmul(above, ops.transpose(kernel)), ops.shape(inputs)), slope

    return ops.matmul(inputs, kernel), gradient


# Parts of a batch ------------------------------------------------------------------------------


def train_in_parts(model: keras.Model, parts: int = 2) -> keras.Model:
    """Let `model.fit` compute the parts of a batch side by side, each on a core of its own; updates stay the same.

    The operations of a small network are too short to be shared out among cores one by one. Here XLA compiles
    the whole of a part, loss and gradients included, and TensorFlow runs the parts at the same time. With two parts on
    two cores a training step of the nano setting takes an eighth less than one that XLA compiles whole, see
    ``benchmarks/train_gpt.py``. Other sizes were not measured.

    A batch is computed whole if it cannot be cut into equal parts, has sample weights, or comes from a data set that
    does not state its batches' size: `kerasllm.batches.windows` does, and arrays whose length the batch size divides.
    Other backends than TensorFlow, and distribution strategies, compute every batch whole.

    Args:
        model: a Keras model whose loss is a mean over the batch. Compile it with ``jit_compile=False``.
        parts: number of parts; the number of cores is a good choice.

    Returns:
        The model.

    Raises:
        ValueError: if `parts` is not a positive whole number, or the model has a `train_step` of its own, which would
            not be called. In `fit`: if XLA is to compile the whole step too, the loss is not a mean, or a layer
            looks at the batch as a whole (batch normalisation).

    Example:
        >>> model = keras.Sequential([keras.layers.Dense(1)])
        >>> train_in_parts(model).compile("adam", "mean_squared_error", jit_compile=False)
        >>> model.fit(keras.ops.ones((8, 3)), keras.ops.ones((8, 1)), verbose=0).epoch
        [0]
    """
    parts = whole_number("parts", parts)
    own = vars(model).get("train_step", getattr(type(model), "train_step", None))
    if own is not keras.Model.train_step and not hasattr(own, "parts"):
        raise ValueError(
            f"{model.name} has a train_step of its own, which would not be called: train it without parts."
        )
    if keras.backend.backend() == "tensorflow":
        model.train_step = _step_in_parts(model, parts)
        model.train_function = None  # one compiled earlier has the earlier step in it
    return model


def _step_in_parts(model, parts):
    import tensorflow as tf

    def step_of_a_part(x, y):
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            loss = model.compute_loss(x=x, y=y, y_pred=outputs, training=True) / parts
            scaled = model.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [variable.value for variable in model.trainable_variables])
        return loss, outputs, [None if of_one is None else tf.convert_to_tensor(of_one) for of_one in gradients]

    def train_step(data):
        _check(model)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        rows = {tensor.shape[0] for tensor in tf.nest.flatten((x, y))}
        cut = sample_weight is None and len(rows) == 1 and None not in rows and min(rows) % parts == 0
        if not cut or tf.distribute.has_strategy():  # a strategy shares the batch out, and scales the loss
            return type(model).train_step(model, data)
        pieces = zip(*(tf.split(tensor, parts) for tensor in tf.nest.flatten((x, y))), strict=True)
        compiled = tf.function(step_of_a_part, jit_compile=not model.run_eagerly, autograph=False)
        results = [compiled(*tf.nest.pack_sequence_as((x, y), piece)) for piece in pieces]
        losses, outputs, gradients = zip(*results, strict=True)
        sums = [None if None in of_one else tf.add_n(of_one) for of_one in zip(*gradients, strict=True)]
        model.optimizer.apply(sums, model.trainable_variables)
        model._loss_tracker.update_state(tf.add_n(losses), sample_weight=min(rows))
        return model.compute_metrics(x, y, tf.nest.map_structure(lambda *all_: tf.concat(all_, 0), *outputs))

    train_step.parts = parts  # known again when the model is to be trained in other parts
    return train_step


def _check(model):
    if model.jit_compile is True:
        raise ValueError(
            "The parts of a batch are compiled one by one, to run side by side: compile the model with "
            "jit_compile=False (it is True, which is also what 'auto' can become)."
        )
    reduction = getattr(model.loss, "reduction", "sum_over_batch_size")
    if reduction not in ("sum_over_batch_size", "mean"):
        raise ValueError(f"The loss must be a mean over the batch: its reduction is {reduction!r}; leave it out.")
    for layer in every_layer(model):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            raise ValueError(f"{layer.name} takes means over the whole batch: train the model without parts.")


# The update of a weight in one operation -------------------------------------------------------


def fuse(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Let AdamW update a weight in one operation of TensorFlow instead of twelve; the numbers stay the same.

    On other backends, with ``amsgrad=True``, under a distribution strategy and for sparse gradients the update is
    that of Keras. So it is when the optimizer comes back from a file.

    Args:
        optimizer: a `keras.optimizers.AdamW`, `keras.optimizers.Adam` or `kerasllm.training.AdamW`.

    Returns:
        The optimizer.

    Raises:
        ValueError: if the optimizer has other steps than those of Adam.

    Example:
        >>> fuse(keras.optimizers.AdamW(1e-3, weight_decay=0.1)).weight_decay
        0.1

    Reference: Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2.
    """
    if getattr(type(optimizer), "update_step", None) is not keras.optimizers.Adam.update_step:
        raise ValueError(f"{type(optimizer).__name__} has other steps than Adam: fuse takes Adam and AdamW.")
    if keras.backend.backend() == "tensorflow" and not optimizer.amsgrad:
        for name, method in _FUSED.items():
            setattr(optimizer, name, partial(method, optimizer))
    return optimizer


def _clip_gradients(optimizer, grads):
    import tensorflow as tf

    # TensorFlow's norm of rows that occur twice is another one.
    sparse = any(isinstance(gradient, tf.IndexedSlices) for gradient in grads)
    if not optimizer.global_clipnorm or sparse or tf.distribute.has_strategy():
        return type(optimizer)._clip_gradients(optimizer, grads)
    return tf.clip_by_global_norm(grads, optimizer.global_clipnorm)[0]  # reads the gradients once for their norm


def _apply_weight_decay(optimizer, variables):
    import tensorflow as tf

    if optimizer.weight_decay is None or tf.distribute.has_strategy():
        return type(optimizer)._apply_weight_decay(optimizer, variables)
    keep = 1 - optimizer.weight_decay * optimizer.learning_rate  # computed once, not for each variable
    for variable in variables:
        if optimizer._use_weight_decay(variable.value):  # by the name that Keras itself looks at here
            variable.assign(variable * ops.cast(keep, variable.dtype))


def _update_step(optimizer, grads, trainable_variables, learning_rate):
    import tensorflow as tf

    if tf.distribute.has_strategy():
        return type(optimizer)._backend_update_step(optimizer, grads, trainable_variables, learning_rate)
    step = ops.cast(optimizer.iterations + 1, "float32")
    numbers = {
        "lr": learning_rate,
        "beta1_power": ops.power(optimizer.beta_1, step),
        "beta2_power": ops.power(optimizer.beta_2, step),
        "beta1": optimizer.beta_1,
        "beta2": optimizer.beta_2,
        "epsilon": optimizer.epsilon,
    }
    for gradient, variable in zip(grads, trainable_variables, strict=True):
        if isinstance(gradient, tf.IndexedSlices):
            optimizer.update_step(gradient, variable, learning_rate)
            continue
        index = optimizer._get_variable_index(variable)
        cast = {name: tf.cast(number, variable.dtype) for name, number in {**numbers, "grad": gradient}.items()}
        places = {"var": variable, "m": optimizer._momentums[index], "v": optimizer._velocities[index]}
        tf.raw_ops.ResourceApplyAdam(**{name: place.handle for name, place in places.items()}, **cast)


_FUSED = {
    "_clip_gradients": _clip_gradients,
    "_apply_weight_decay": _apply_weight_decay,
    "_backend_update_step": _update_step,
}
