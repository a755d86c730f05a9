"""What this library needs of Keras and Keras does not promise, in one place (`training/fast.py` has its own)."""

from keras.src.backend.common import global_state


def inner_layers(layer):
    """The layers that a layer or model holds itself, not those inside them."""
    return layer._flatten_layers(include_self=False, recursive=False)


def all_layers(layer):
    """The layer itself and all layers inside it, at any depth, each once."""
    return layer._flatten_layers()


def set_initializer(variable, initializer):
    """Another start for a variable that waits for its numbers: a function of shape and dtype."""
    variable._initializer = initializer


def forget_waiting_variables():
    """Forget the variables of a `keras.StatelessScope` that wait for their numbers, after one could not get them.

    Keras would try them again at the end of the next scope, of whatever model, and fail again.
    """
    global_state.set_global_attribute("uninitialized_variables", [])
