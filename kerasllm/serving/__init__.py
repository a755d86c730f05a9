"""Serving: many requests at once to language models, and an HTTP API that clients of OpenAI's speak.

    from kerasllm.serving import Asked, Engine

    engine = Engine(model, tokenizer, max_batch=8)
    engine.start()
    jobs = [engine.submit(Asked(tokenizer.encode(text), max_new_tokens=50)) for text in texts]
    print([job.result().text for job in jobs])
    engine.stop()

An `Engine` writes to all requests side by side: one joins the running batch when it comes and leaves when it has ended,
and each gets the reply that `kerasllm.generation.generate` alone would give it. It knows nothing of HTTP; the API is
made of engines by `kerasllm.serving.app.make_app`, which needs the extra ``serve``. On the command line:
``kerasllm serve smollm2-135m-instruct``.
"""

import kerasllm.common.backend  # noqa: F401  says what to install where Keras has no backend
from kerasllm.serving.batch import Batch, Writer, Written
from kerasllm.serving.engine import Engine, QueueFullError, StoppedError, TooLongError
from kerasllm.serving.jobs import Asked, Job, Piece, Token

__all__ = [
    "Asked",
    "Batch",
    "Engine",
    "Job",
    "Piece",
    "QueueFullError",
    "StoppedError",
    "Token",
    "TooLongError",
    "Writer",
    "Written",
]
