"""GGUF, the files of llama.cpp. Read on in this order: header, blocks, file, writer; architectures, config, models;
pieces, tokenizer."""

from kerasllm.weights.gguf.file import GGUF, read_gguf
from kerasllm.weights.gguf.models import gguf_view, hugging_face_view
from kerasllm.weights.gguf.tokenizer import tokenizer_metadata, tokenizer_of
from kerasllm.weights.gguf.writer import write_gguf

__all__ = [
    "GGUF",
    "gguf_view",
    "hugging_face_view",
    "read_gguf",
    "tokenizer_metadata",
    "tokenizer_of",
    "write_gguf",
]
