"""What the command line understands. No library is imported here: --help is there at once."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import kerasllm
from kerasllm.cli.errors import program

COMMANDS = "data | train | tune | evaluate | generate | chat | serve | translate | classify | tag | answer"

NAMED = ("king-james-gpt", "smollm2-135m-instruct")  # the first comes with the package, the other is fetched once
NUMBERS = {
    "choices": ("auto", "full", "int4", "int8", "bfloat16", "float32"),
    "default": "auto",
    "help": "what the weights are held as; on a CPU fewer bits write faster. auto is what the file has, full the model "
    "as it is trained (auto)",
}
MODEL = (
    f"the folder that train --out or tune --out wrote, a folder from Hugging Face, a *.gguf file, or {', '.join(NAMED)}"
)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    texts: str | None = None  # the name of an argument that takes all texts, also those behind an option

    def error(self, message):
        self.exit(2, f"kerasllm: {message}. See {self.prog} --help.\n")

    def parse_known_args(self, args=None, namespace=None):
        found, rest = super().parse_known_args(args, namespace)
        # Before Python 3.12 argparse ends a list of texts at the first option and knows nothing of those behind it.
        place = rest.index("--") if "--" in rest else len(rest)
        if self.texts and not any(one.startswith("-") for one in rest[:place]):
            setattr(found, self.texts, getattr(found, self.texts) + rest[:place] + rest[place + 1 :])
            rest = []
        return found, rest


def parser() -> Parser:
    """The parser of all commands."""
    whole = Parser(
        prog=program(),
        description="Data, training, tuning, evaluation, generation, chat and serving of kerasllm, and saved tasks: "
        "translation, classification, tagging, answers.",
    )
    whole.add_argument("--version", action="version", version=f"kerasllm {kerasllm.__version__}")
    commands = whole.add_subparsers(required=True, metavar=COMMANDS)
    for add in (_data, _train, _tune, _evaluate, _generate, _chat, _serve, _translate, _classify, _tag, _answer):
        add(commands)
    return whole


def _data(commands) -> None:
    data = commands.add_parser("data", help="list the data sets, or show the card of one and load it")
    data.add_argument("name", nargs="?", help="a data set; all are listed when left out")
    data.set_defaults(command=_command("data_command", "show_data"), stopped=_nothing)


def _train(commands) -> None:
    train = commands.add_parser(
        "train",
        help="train a GPT on a text file or a data set",
        description="Train a GPT. The folder gets tokenizer.json, settings.json, log.csv, model.safetensors (the "
        "weights with the best validation loss so far) and state.npz (from which --resume goes on). Of a file the "
        "first 90% of the characters are for training and the rest for validation; a data set has its own splits.",
    )
    train.add_argument("corpus", nargs="?", help="a text file (UTF-8), or a data set with texts, such as king-james")
    train.add_argument("--out", required=True, metavar="DIR", type=Path, help="the folder of this run")
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run of this folder; with a larger --steps make it longer, with a corpus say where its "
        "text is now",
    )
    option = train.add_argument_group("model").add_argument
    option("--config", metavar="NAME", help="nano, nano-modern, gpt2, ... (nano-modern)")
    for name, what in (("layers", "blocks"), ("heads", "heads of attention"), ("width", "size of an embedding")):
        option(f"--{name}", metavar="N", type=whole_number, help=f"{what}, in place of the configuration's")
    option("--context", metavar="N", type=whole_number, help="tokens in a window, in place of the configuration's")
    option("--dropout", metavar="SHARE", type=share, help="helps against overfitting of small texts (0)")
    option("--tokenizer", metavar="KIND", help="characters, bpe, or the path of a tokenizer.json (characters)")
    option("--vocabulary", metavar="N", type=whole_number, help="most tokens (all characters; 4096 for bpe)")
    option = train.add_argument_group("training").add_argument
    option("--steps", metavar="N", type=whole_number, help="updates of the weights (2000)")
    option("--batch", metavar="N", type=whole_number, help="windows in a batch (12)")
    option("--accumulate", metavar="N", type=whole_number, help="batches that make one update (1)")
    option("--recipe", choices=("modern", "classic"), help="Muon, or AdamW as GPT-2's followers have it (modern)")
    option("--learning-rate", metavar="RATE", type=positive, help="the highest one (the recipe's)")
    option("--mixed-precision", choices=("bfloat16", "float16"), help="compute in half precision, for GPUs (off)")
    option("--evaluate-every", metavar="N", type=whole_number, help="updates between evaluations (250)")
    option("--checkpoint-every", metavar="N", type=whole_number, help="updates between states (--evaluate-every)")
    option("--patience", metavar="N", type=whole_number, help="stop after N evaluations without a better one (off)")
    option("--seed", metavar="N", type=natural, help="the same seed gives the same run (0)")
    option("--dtype", choices=("float32", "float16", "bfloat16"), help="numbers of model.safetensors (float32)")
    train.set_defaults(
        command=_command("train_command", "train_model"), stopped=_command("train_command", "how_to_go_on")
    )


def _tune(commands) -> None:
    tune = commands.add_parser(
        "tune",
        help="teach a model conversations, through an adapter (LoRA)",
        description='Each line of the file is {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", '
        '"content": "..."}]}, or {"prompt": "...", "reply": "..."}. A tenth of them is held out. The folder gets '
        "adapter.safetensors (the best so far), log.csv, tune.json and state.npz (from which --resume goes on).",
    )
    tune.add_argument("model", nargs="?", metavar="MODEL", help=MODEL)
    tune.add_argument("data", nargs="?", metavar="FILE", help="a file of JSON lines (UTF-8)")
    tune.add_argument("--out", required=True, metavar="DIR", type=Path, help="the folder of this run")
    tune.add_argument("--resume", action="store_true", help="go on with the run of this folder")
    option = tune.add_argument
    option("--steps", metavar="N", type=whole_number, help="updates of the adapter (100)")
    option("--batch", metavar="N", type=whole_number, help="windows in a batch (4)")
    option("--context", metavar="N", type=whole_number, help="tokens in a window (256)")
    option("--rank", metavar="N", type=whole_number, help="that of the adapter's matrices (8)")
    option("--learning-rate", metavar="RATE", type=positive, help="the highest one (0.001)")
    option("--evaluate-every", metavar="N", type=whole_number, help="updates between evaluations and states (25)")
    option("--learn", choices=("replies", "everything"), help="what of a conversation is learned (replies)")
    option("--seed", metavar="N", type=natural, help="the same seed gives the same run (0)")
    tune.set_defaults(
        command=_command("tune_command", "tune_model"), stopped=_command("tune_command", "how_to_tune_on")
    )


def _evaluate(commands) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="bits per character of a text under a trained model",
        description="How well a model predicts a text, in bits per character: lower is better, and models with "
        "different tokenizers compare. Evaluate on a text that the model was not trained on.",
    )
    evaluate.add_argument("folder", metavar="DIR", type=Path, help="the folder that train --out wrote")
    evaluate.add_argument("text", metavar="FILE", help="a text file (UTF-8)")
    evaluate.set_defaults(command=_command("evaluate_command", "show_bits"), stopped=_nothing)


def _generate(commands) -> None:
    generate = commands.add_parser("generate", help="write text with a model")
    generate.add_argument("model", metavar="MODEL", help=MODEL)
    prompt = generate.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", default="\n", help="the text to continue, or - to read it from stdin (a line end)")
    prompt.add_argument(
        "--prompt-file", metavar="FILE", help="a file with the text to continue; its last line end does not count"
    )
    option = generate.add_argument
    option("--tokens", metavar="N", type=natural, default=200, help="how many tokens to write (200)")
    option("--temperature", metavar="T", type=natural_or_more, default=0.8, help="0 is greedy (0.8)")
    option("--top-k", metavar="N", type=whole_number, help="only the N most probable tokens (all)")
    option("--top-p", metavar="SHARE", type=positive, default=1.0, help="only the most probable that reach it (1)")
    option("--min-p", metavar="SHARE", type=share, default=0.0, help="only this share of the largest or more (0)")
    option("--seed", metavar="N", type=natural, help="the same seed writes the same text (another each time)")
    option("--numbers", **NUMBERS)
    generate.set_defaults(command=_command("generate_command", "write_text"), stopped=_nothing)


def _chat(commands) -> None:
    chat = commands.add_parser(
        "chat",
        help="talk with a model that was trained on conversations",
        description="Each line that you type, or that comes through a pipe, is a turn. /reset begins a new "
        "conversation, /quit or Ctrl-D ends, Ctrl-C stops a reply and keeps what was said. When the conversation is "
        "longer than the model's context, its oldest turns are forgotten.",
    )
    chat.add_argument("model", metavar="MODEL", help=MODEL)
    option = chat.add_argument
    option("--system", metavar="TEXT", help="what the system says first (what the model's template says)")
    option("--temperature", metavar="T", type=natural_or_more, default=0.7, help="0 is greedy (0.7)")
    option("--top-p", metavar="SHARE", type=positive, default=0.95, help="only the most probable that reach it (0.95)")
    option("--max-new-tokens", metavar="N", type=whole_number, default=512, help="most tokens of a reply (512)")
    option("--seed", metavar="N", type=natural, help="the same seed gives the same replies (others each time)")
    option("--numbers", **NUMBERS)
    chat.set_defaults(command=_command("chat_command", "converse"), stopped=_nothing)


def _serve(commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="answer over HTTP, as OpenAI's API does",
        description="Serve models until Ctrl-C: /v1/chat/completions, /v1/completions and /v1/models for programs, a "
        "page to chat at / for people, /health and /metrics for those who look after it.",
    )
    serve.add_argument("models", metavar="MODEL", nargs="+", help=MODEL)
    option = serve.add_argument
    option(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="where to listen; beyond this machine with a key only (127.0.0.1)",
    )
    option("--port", metavar="N", type=natural, default=8000, help="the port; 0 for one that is free (8000)")
    option("--key", help="what clients must have; or set KERASLLM_KEY, which no list of processes shows (none)")
    option("--max-batch", metavar="N", type=whole_number, default=8, help="most replies written side by side (8)")
    option("--max-waiting", metavar="N", type=natural, default=64, help="most requests that wait (64)")
    option("--max-tokens", metavar="N", type=whole_number, default=1024, help="most tokens of a reply (1024)")
    option("--context", metavar="N", type=whole_number, help="most tokens of prompt and reply together (the model's)")
    option("--timeout", metavar="SECONDS", type=positive, default=120.0, help="longest time of a request (120)")
    documents = (
        "what chats answer from, with sources: a folder or a file of texts (.txt, .md, .rst), a file that "
        "Retriever.save wrote, or a data set with titles and texts, such as python-documentation"
    )
    option("--documents", metavar="PATH", help=documents)
    option("--passages", metavar="N", type=whole_number, default=3, help="most passages that a chat answers from (3)")
    option(
        "--threshold",
        metavar="SCORE",
        type=float,
        default=0.0,
        help="the least score of a passage that counts; where none has it, the server says that it does not know (0)",
    )
    option("--no-warm-up", action="store_true", help="compile when a request needs it, not before the first")
    numbers = (
        "what the weights are held as (auto for a batch of up to 3, which few bits write fastest; full for a "
        "larger one, for which they would be unpacked at each step)"
    )
    option("--numbers", choices=NUMBERS["choices"], help=numbers)
    serve.set_defaults(command=_command("serve_command", "serve_models"), stopped=_nothing)


def _translate(commands) -> None:
    translate = _task(commands, "translate", "Translator", "translate texts with a saved translator", "TEXT")
    option = translate.add_argument
    option("--beams", metavar="N", type=whole_number, default=4, help="how many beginnings the search keeps (4)")
    option(
        "--length-penalty",
        metavar="A",
        type=natural_or_more,
        default=0.6,
        help="0 favours short answers, a larger one long ones (0.6)",
    )
    translate.set_defaults(command=_command("translate_command", "translate_texts"), stopped=_nothing)


def _classify(commands) -> None:
    line = "A line is the most probable label and, behind a tab, its probability."
    classify = _task(commands, "classify", "TextClassifier", "the label of texts, by a saved classifier", "TEXT", line)
    classify.set_defaults(command=_command("classify_command", "classify_texts"), stopped=_nothing)


def _tag(commands) -> None:
    line = "A line is the names in the text with their kinds, tabs between them; without names it is empty."
    tag = _task(commands, "tag", "TokenTagger", "the names in texts, by a saved tagger", "TEXT", line)
    tag.add_argument("--words", action="store_true", help="each word with its label, in place of names")
    tag.set_defaults(command=_command("tag_command", "tag_texts"), stopped=_nothing)


def _answer(commands) -> None:
    line = "A line is the words of the passage that answer, or (no answer)."
    answer = _task(commands, "answer", "SpanFinder", "answer questions with the words of a passage", "QUESTION", line)
    passage = "a text file (UTF-8), a text, or - to read stdin"
    answer.add_argument("--passage", metavar="FILE|TEXT", required=True, help=passage)
    answer.set_defaults(command=_command("answer_command", "answer_questions"), stopped=_nothing)


def _task(commands, name: str, task: str, what: str, text: str, line: str = "") -> Parser:
    """The parser of a command that asks a saved task: its file, and texts or lines of stdin."""
    asked = text.lower()
    about = f"Print a line for each {asked} or, where none is given, for each line of stdin (64 of a pipe at a time)."
    parser = commands.add_parser(name, help=what, description=f"{about} {line}".strip())
    saved = f"a *.keras file that kerasllm.tasks.{task}.save wrote"
    parser.add_argument("model", metavar="MODEL", type=Path, help=saved)
    several = "questions" if asked == "question" else "texts"
    parser.add_argument(several, metavar=text, nargs="*", help=f"a {asked}; without one stdin is read")
    parser.texts = several
    parser.add_argument("--json", action="store_true", help="each line is a JSON object with all that was found")
    return parser


def _nothing(options) -> str:
    return ""


def _command(module: str, name: str) -> Callable:
    """A function of a module that is imported when it is called."""

    def call(options):
        from importlib import import_module

        return getattr(import_module(f"kerasllm.cli.{module}"), name)(options)

    return call


def _number(kind, fits, what):
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return read


whole_number = _number(int, lambda value: value >= 1, "a whole number from 1 up")
natural = _number(int, lambda value: value >= 0, "a whole number from 0 up")
positive = _number(float, lambda value: 0 < value < math.inf, "a number above 0")
natural_or_more = _number(float, lambda value: 0 <= value < math.inf, "a number from 0 up")
share = _number(float, lambda value: 0 <= value < 1, "a share from 0 to below 1")
