"""Tasks: a network, its tokenizer and its labels in one `.keras` file. Strings in, answers out; search in texts.

| task              | asked with strings            | trained and evaluated on, with Keras' own methods   |
|-------------------|-------------------------------|-----------------------------------------------------|
| `TextClassifier`  | `classify(texts)`             | ``batches.padded(examples(texts), codes)``          |
| `TokenTagger`     | `tag(texts)`, `entities(...)` | ``batches.tagged(*examples(texts, tags))``          |
| `SpanFinder`      | `answer(questions, passages)` | ``batches.spans(*examples(questions, ...))``        |
| `Translator`      | `translate(texts)`            | ``pairs(sources, targets)``                         |
| `SentenceEncoder` | `embed(texts)`                | ``encode(texts)`` and vectors                       |

`fit`, `evaluate` and `predict` take ids, and refuse texts with the method that takes them. Each text gets the answer it
would get alone. `model.save("name.keras")` writes one file, which `keras.saving.load_model` reads after
``import kerasllm.tasks``, and the commands ``kerasllm classify``, ``tag``, ``answer`` and ``translate``. `BM25`,
`EmbeddingIndex` and `RankFusion` search in texts.

A `Summarizer` makes summaries in one of three ways, with sentences of the text, a trained `Translator` or a language
model: ``Summarizer.extract("graph").summarize(texts)``.

A language model becomes an assistant with tools and documents:

    retriever = Retriever([Passage("json.dumps", "Serialize an object to a string.")])
    assistant = Assistant(model, tokenizer, tools=[Tool(calculator)], retriever=retriever)
    answer = assistant.ask("How do I serialize an object?")
    print(answer.text, *(found.passage.title for found in answer.sources))

`read_passages` cuts the texts of a folder into passages, `kerasllm.tasks.tools` holds the calculator and a calendar,
`kerasllm.tasks.dialogue` a dialogue manager.
"""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.tasks.assistant import Assistant, AssistantReply, AssistantSettings
from kerasllm.tasks.documents import passages_of, read_passages
from kerasllm.tasks.passages import Passage, Retriever
from kerasllm.tasks.retriever import BM25, EmbeddingIndex, RankFusion
from kerasllm.tasks.sentence_encoder import SentenceEncoder
from kerasllm.tasks.span_finder import Answer, SpanFinder
from kerasllm.tasks.summarizer import Summarizer, Summary
from kerasllm.tasks.text_classifier import TextClassifier
from kerasllm.tasks.token_tagger import Entity, TokenTagger
from kerasllm.tasks.tools import Tool
from kerasllm.tasks.translator import Translator

__all__ = [
    "BM25",
    "Answer",
    "Assistant",
    "AssistantReply",
    "AssistantSettings",
    "EmbeddingIndex",
    "Entity",
    "Passage",
    "RankFusion",
    "Retriever",
    "SentenceEncoder",
    "SpanFinder",
    "Summarizer",
    "Summary",
    "TextClassifier",
    "TokenTagger",
    "Tool",
    "Translator",
    "passages_of",
    "read_passages",
]
