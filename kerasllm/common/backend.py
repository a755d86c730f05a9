"""Import Keras, or say what to install: imported first by every room that computes."""

_BACKENDS = ("tensorflow", "jax", "torch", "openvino")

try:
    import keras  # noqa: F401
except ModuleNotFoundError as error:
    from importlib.util import find_spec

    wanted = (error.name or "").split(".")[0]
    if wanted not in _BACKENDS:
        raise
    there = [name for name in ("tensorflow", "jax", "torch") if name != wanted and find_spec(name)]
    advice = (
        f"{there[0]} is there: set the environment variable KERAS_BACKEND={there[0]} before Python starts."
        if there
        else 'Install one: pip install "kerasllm[tensorflow]", or "kerasllm[jax]", or "kerasllm[torch]" '
        "(with the last two, set KERAS_BACKEND=jax or KERAS_BACKEND=torch)."
    )
    raise ImportError(
        f"Keras is set to compute with {wanted}, which is not installed. {advice}", name=wanted
    ) from error
