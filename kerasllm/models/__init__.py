"""Models, one a file: layers wired together. They run on every Keras backend."""

from kerasllm.models.bag_of_embeddings import bag_of_embeddings
from kerasllm.models.bilstm import bilstm
from kerasllm.models.gpt import GPT, gpt
from kerasllm.models.lstm_language_model import LSTMLanguageModel
from kerasllm.models.neural_ngram import NeuralNGram
from kerasllm.models.text_classifier import TextClassifier

__all__ = ["GPT", "LSTMLanguageModel", "NeuralNGram", "TextClassifier", "bag_of_embeddings", "bilstm", "gpt"]
