"""Compiling for the backend at hand: the one file of generation that differs between backends."""

import weakref
from functools import partial

import keras
from keras import ops, tree

# Functions hold their model weakly too, or no model would ever be freed.
_functions = weakref.WeakKeyDictionary()


def compiled(function, model, key, xla=True):
    """``function(model, *tensors)``, compiled once for each model and key; it is called with the tensors alone.

    The weights are read at each call: a model may be trained further in between. New shapes of the tensors
    are compiled anew.

    Args:
        function: a function of a model and (nested) tensors.
        model: a Keras model that is built.
        key: names the function and everything else that it depends on.
        xla: whether TensorFlow compiles with XLA. It makes the loop over tokens four times as fast, and costs a
            second; what runs once does not earn that.

    Returns:
        A function of the tensors, which may be NumPy arrays.
    """
    key = (key, *(id(variable) for variable in model.variables))  # other variables after quantize or enable_lora
    known = _functions.setdefault(model, {})
    if key not in known:
        known[key] = _compile(function, weakref.ref(model), xla)
    return known[key]


def _call(function, model, *tensors):
    return function(model(), *tensors)


def _compile(function, model, xla):
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # A partial: TensorFlow counts traces by code, and would take two models for one that is traced again.
        return tf.function(partial(_call, function, model), jit_compile=xla, autograph=False)
    if backend == "jax":
        import jax

        @jax.jit
        def pure(values, *tensors):
            with keras.StatelessScope(state_mapping=list(zip(model().variables, values, strict=True))):
                return _call(function, model, *tensors)

        return lambda *tensors: pure([variable.value for variable in model().variables], *tensors)
    if backend == "torch":
        import torch

        @torch.no_grad()
        def eager(*tensors):
            return _call(function, model, *tree.map_structure(ops.convert_to_tensor, tensors))

        return eager
    raise RuntimeError(f"Generation runs on the backends tensorflow, jax and torch, not on {backend!r}.")
