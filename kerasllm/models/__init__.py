"""Models, one a file: layers wired together, ids or images in, numbers out. They run on every Keras backend."""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.models.bag_of_embeddings import BagOfEmbeddings
from kerasllm.models.bert import BERT, BERTSettings
from kerasllm.models.bert_classifier import BERTClassifier
from kerasllm.models.bilstm import BiLSTM
from kerasllm.models.contrastive_pair import ContrastivePair, clip_loss
from kerasllm.models.efficientnet import EfficientNet, EfficientNetSettings, Stage
from kerasllm.models.fast_gpt import FastGPT
from kerasllm.models.gpt import GPT
from kerasllm.models.gpt_presets import preset
from kerasllm.models.lstm_language_model import LSTMLanguageModel
from kerasllm.models.lstm_seq2seq import LSTMSeq2Seq
from kerasllm.models.neural_ngram import NeuralNGram
from kerasllm.models.patch_encoder import PatchEncoder, PatchEncoderSettings
from kerasllm.models.seq2seq import Seq2Seq, Seq2SeqSettings
from kerasllm.models.settings import GPTSettings, gpt_settings
from kerasllm.models.vision_language import VisionLanguage

__all__ = [
    "BERT",
    "GPT",
    "BERTClassifier",
    "BERTSettings",
    "BagOfEmbeddings",
    "BiLSTM",
    "ContrastivePair",
    "EfficientNet",
    "EfficientNetSettings",
    "FastGPT",
    "GPTSettings",
    "LSTMLanguageModel",
    "LSTMSeq2Seq",
    "NeuralNGram",
    "PatchEncoder",
    "PatchEncoderSettings",
    "Seq2Seq",
    "Seq2SeqSettings",
    "Stage",
    "VisionLanguage",
    "clip_loss",
    "gpt_settings",
    "preset",
]
