"""Models and files of weights: a trained model as one safetensors file, and back.

    from kerasllm import weights

    weights.save_safetensors(model, "gpt.safetensors", dtype="float16")
    model = weights.load_safetensors("gpt.safetensors")

Such a file holds numbers and text, no code: it is safe to open one of a stranger. ``model.save("gpt.keras")`` is the
other way; it also holds the optimizer.

Models that others published become a `kerasllm.models.GPT`, and a GPT of ours can be written for their programs:

    model, tokenizer = weights.from_hugging_face("SmolLM2-135M-Instruct")     # a folder with config.json
    model, tokenizer = weights.from_gguf("SmolLM2-135M-Instruct-Q8_0.gguf")   # a file of llama.cpp
    weights.to_hugging_face(model, "mine", tokenizer)
    weights.to_gguf(model, "mine.gguf", kind="Q8_0", tokenizer=tokenizer)

Below that, files of llama.cpp are read piece by piece, and written:

    with weights.read_gguf("model.gguf") as file:
        config, tensors = weights.hugging_face_view(file)     # as a config.json and safetensors would have them
        tokenizer = weights.tokenizer_of(file)

Models that others trained come by their names, fetched once and verified, or from a folder that sentence-transformers
wrote:

    model, tokenizer = weights.pretrained("bert-tiny")
    tokenizer = weights.pretrained_tokenizer("smollm2-135m-instruct")         # without the weights
    vectors = weights.sentence_encoder("minilm").embed(["A man is eating.", "Somebody has a meal."])
    encoder = weights.from_sentence_transformers("folder")
    model, images = weights.pretrained("efficientnet-lite0")
    features = model(images([photograph]), return_features=True)              # (1, 7, 7, 1280)

A file of PyTorch is a program, and that of a stranger can do harm where it is opened. `read_torch` reads tensors alone:

    with weights.read_torch("model.pth") as tensors:
        tensors["fc.weight"].read()                           # a NumPy array
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
from kerasllm.weights.hub import from_gguf, from_hugging_face, to_gguf, to_hugging_face
from kerasllm.weights.safetensors_file import load_safetensors, read_metadata, save_safetensors
from kerasllm.weights.sentence_folder import from_sentence_transformers
from kerasllm.weights.shipped import folder_of, pretrained, pretrained_tokenizer, sentence_encoder
from kerasllm.weights.torch_file import read_torch

__all__ = [
    "GGUF",
    "folder_of",
    "from_gguf",
    "from_hugging_face",
    "from_sentence_transformers",
    "gguf_view",
    "hugging_face_view",
    "load_safetensors",
    "pretrained",
    "pretrained_tokenizer",
    "read_gguf",
    "read_metadata",
    "read_torch",
    "save_safetensors",
    "sentence_encoder",
    "to_gguf",
    "to_hugging_face",
    "tokenizer_metadata",
    "tokenizer_of",
    "write_gguf",
]
