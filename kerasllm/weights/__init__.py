"""Models and files of weights: a trained model as one safetensors file, and back.

    from kerasllm import weights

    weights.save_safetensors(model, "gpt.safetensors", dtype="float16")
    model = weights.load_safetensors("gpt.safetensors")

Such a file holds numbers and text, no code: it is safe to open one of a stranger. ``model.save("gpt.keras")`` is the
other way; it also holds the optimizer.

Files of llama.cpp hold a model with its settings and tokenizer. They are read piece by piece, and written:

    with weights.read_gguf("model.gguf") as file:
        config, tensors = weights.hugging_face_view(file)     # as a config.json and safetensors would have them
        tokenizer = weights.tokenizer_of(file)
"""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.weights.gguf import (
    GGUF,
    gguf_view,
    hugging_face_view,
    read_gguf,
    tokenizer_metadata,
    tokenizer_of,
    write_gguf,
)
from kerasllm.weights.safetensors_file import load_safetensors, read_metadata, save_safetensors
from kerasllm.weights.shipped import folder_of, pretrained

__all__ = [
    "GGUF",
    "folder_of",
    "gguf_view",
    "hugging_face_view",
    "load_safetensors",
    "pretrained",
    "read_gguf",
    "read_metadata",
    "save_safetensors",
    "tokenizer_metadata",
    "tokenizer_of",
    "write_gguf",
]
