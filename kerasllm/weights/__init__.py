"""Models and files of weights: a trained model as one safetensors file, and back.

    from kerasllm import weights

    weights.save_safetensors(model, "gpt.safetensors", dtype="float16")
    model = weights.load_safetensors("gpt.safetensors")

Such a file holds numbers and text, no code: it is safe to open one of a stranger. ``model.save("gpt.keras")`` is the
other way; it also holds the optimizer.
"""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.weights.safetensors_file import load_safetensors, read_metadata, save_safetensors
from kerasllm.weights.shipped import folder_of, pretrained

__all__ = ["folder_of", "load_safetensors", "pretrained", "read_metadata", "save_safetensors"]
