"""Models, one a file: layers wired together, ids in, numbers out. They run on every Keras backend."""

from kerasllm.models.bag_of_embeddings import BagOfEmbeddings
from kerasllm.models.bilstm import BiLSTM
from kerasllm.models.gpt import GPT, gpt
from kerasllm.models.lstm_language_model import LSTMLanguageModel
from kerasllm.models.neural_ngram import NeuralNGram

__all__ = ["GPT", "BagOfEmbeddings", "BiLSTM", "LSTMLanguageModel", "NeuralNGram", "gpt"]
