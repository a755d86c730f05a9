"""Training steps that take less time on TensorFlow: the one file of training that differs between backends."""

import keras


def train_in_parts(model, parts=2):
    """Let `model.fit` compute the parts of a batch side by side, each on a core of its own; updates stay the same.

    The operations of a small network are too short to be shared out among cores one by one. Here XLA compiles
    the whole of a part, loss and gradients included, and TensorFlow runs the parts at the same time. With two parts on
    two cores a training step of the nano setting takes an eighth less than one that XLA compiles whole, see
    ``benchmarks/train_gpt.py``. Other sizes were not measured.

    A batch is computed whole if it cannot be cut into equal parts, has sample weights, or comes from a data set that
    does not state its batches' size: `kerasllm.batches.windows` does, and arrays whose length the batch size divides.
    Other backends than TensorFlow compute every batch whole.

    Args:
        model: a Keras model whose loss is a mean over the batch. Compile it with ``jit_compile=False``.
        parts: number of parts; the number of cores is a good choice.

    Returns:
        The model.

    Raises:
        ValueError: if `parts` is not a positive whole number. In `fit`: if XLA is to compile the whole step too,
            or the loss is not a mean.

    Example:
        >>> model = keras.Sequential([keras.layers.Dense(1)])
        >>> train_in_parts(model).compile("adam", "mean_squared_error", jit_compile=False)
        >>> model.fit(keras.ops.ones((8, 3)), keras.ops.ones((8, 1)), verbose=0).epoch
        [0]
    """
    if not isinstance(parts, int) or parts < 1:
        raise ValueError(f"parts must be a whole number from 1 up, not {parts!r}.")
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
        if sample_weight is not None or len(rows) > 1 or None in rows or min(rows) % parts:
            return type(model).train_step(model, data)
        pieces = zip(*(tf.split(tensor, parts) for tensor in tf.nest.flatten((x, y))), strict=True)
        compiled = tf.function(step_of_a_part, jit_compile=not model.run_eagerly, autograph=False)
        results = [compiled(*tf.nest.pack_sequence_as((x, y), piece)) for piece in pieces]
        losses, outputs, gradients = zip(*results, strict=True)
        sums = [None if None in of_one else tf.add_n(of_one) for of_one in zip(*gradients, strict=True)]
        model.optimizer.apply(sums, model.trainable_variables)
        model._loss_tracker.update_state(tf.add_n(losses), sample_weight=min(rows))
        return model.compute_metrics(x, y, tf.nest.map_structure(lambda *all_: tf.concat(all_, 0), *outputs))

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


@keras.saving.register_keras_serializable(package="kerasllm")
class AdamW(keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` with the update of a variable in one operation instead of twelve.

    Numbers and arguments are those of the class it extends. TensorFlow has the operation; on other backends, with
    ``amsgrad=True``, under a distribution strategy and for sparse gradients the update is the inherited one.

    Example:
        >>> AdamW(1e-3, weight_decay=0.1).weight_decay
        0.1

    Reference: Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2.
    """

    def _in_one_operation(self):
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            return False
        import tensorflow as tf

        return not tf.distribute.has_strategy()

    def _clip_gradients(self, grads):
        if not self.global_clipnorm or not self._in_one_operation():
            return super()._clip_gradients(grads)
        import tensorflow as tf

        if any(isinstance(gradient, tf.IndexedSlices) for gradient in grads):
            return super()._clip_gradients(grads)  # TensorFlow's norm of rows that occur twice is another one
        return tf.clip_by_global_norm(grads, self.global_clipnorm)[0]  # reads the gradients once for their norm

    def _apply_weight_decay(self, variables):
        if self.weight_decay is None or not self._in_one_operation():
            return super()._apply_weight_decay(variables)
        keep = 1 - self.weight_decay * self.learning_rate  # computed once, not for each variable
        for variable in filter(self._use_weight_decay, variables):
            variable.assign(variable * keras.ops.cast(keep, variable.dtype))

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if not self._in_one_operation():
            return super()._backend_update_step(grads, trainable_variables, learning_rate)
        import tensorflow as tf

        step = keras.ops.cast(self.iterations + 1, "float32")
        numbers = {
            "lr": learning_rate,
            "beta1_power": keras.ops.power(self.beta_1, step),
            "beta2_power": keras.ops.power(self.beta_2, step),
            "beta1": self.beta_1,
            "beta2": self.beta_2,
            "epsilon": self.epsilon,
        }
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            if isinstance(gradient, tf.IndexedSlices):
                self.update_step(gradient, variable, learning_rate)
                continue
            index = self._get_variable_index(variable)
            cast = {name: tf.cast(number, variable.dtype) for name, number in {**numbers, "grad": gradient}.items()}
            places = {"var": variable, "m": self._momentums[index], "v": self._velocities[index]}
            tf.raw_ops.ResourceApplyAdam(**{name: place.handle for name, place in places.items()}, **cast)
