"""kerasllm: layers, models and data for the course "from a perceptron to an assistant", in Keras 3.

The rooms of this package, in the order in which text flows and in which to read them. Each uses only those
before it:

    data         which data sets there are; fetch, verify and cache them; tables of one's own; plain texts
    text         cleaning, tokenizers, chat templates: from text to ids and back
    batches      ids become padded, windowed or packed batches; images become arrays of one size
    optimizers   the optimizer and the schedule that files of compiled models name
    layers       one idea a file: attention, positions, feed-forward, experts, recurrence, pooling, convolution
    models       networks, ids or images in and numbers out: GPT, FastGPT, BERT, Seq2Seq, EfficientNet, BiLSTM
    generation   samplers and the loop that writes; beam search from one text to another
    evaluation   how good it is: bits per character, probabilities, BLEU, chrF, ROUGE, entities, spans, ranks, SQL
    tasks        network + tokenizer + labels: strings in, answers out; search by words and by meaning
    training     recipes, schedules, resuming, runs in a folder, adapters, tuning by replies, pairs and rewards
    weights      files of weights; models that others trained, by name, from a folder or a file, and written for them
    serving      many requests at once to one model; an HTTP API that OpenAI's clients speak
    cli          the commands: kerasllm data, train, tune, evaluate, generate, chat, serve, and one a task

Below them all lies ``common`` (checks of arguments, files written whole); beside them ``course``, which only
lessons use. A room is loaded when it is named, ``kerasllm.layers`` or ``from kerasllm import layers``; importing
the package itself loads nothing, touches no file and opens no connection.
"""

__version__ = "0.1.0"

_ROOMS = (
    *("common", "data", "text", "batches", "optimizers", "layers", "models", "generation", "evaluation", "tasks"),
    *("training", "weights", "serving", "cli", "course"),
)


def __getattr__(name: str):
    if name in _ROOMS:
        from importlib import import_module

        try:
            return import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise  # the room is there, and misses something
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}. Its rooms: {', '.join(_ROOMS)}.")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
