"""``kerasllm chat``: a conversation with a model in the terminal, or with each line of stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from kerasllm.cli.errors import UserError, told, worded
from kerasllm.cli.lines import piped_lines
from kerasllm.cli.models import load_model

HELP = "A line is a turn. /reset begins anew, /quit or Ctrl-D ends, Ctrl-C stops a reply."


def converse(options) -> None:
    """Reply to each line, piece by piece."""
    model, tokenizer = load_model(options.model, options.numbers)
    if tokenizer.chat_template is None:
        raise UserError(
            f"{options.model} was not trained on conversations, its tokenizer has no chat template: use generate, or "
            "another model"
        )
    from kerasllm.generation import Chat, Greedy, Sampling

    with told(ValueError, TypeError):
        sampler = Sampling(options.temperature, top_p=options.top_p) if options.temperature else Greedy()
        chat = Chat(model, tokenizer, options.system)
    typed = sys.stdin is not None and sys.stdin.isatty()
    if typed:
        print(HELP)
    for number, line in enumerate(_typed() if typed else piped_lines()):
        if line.strip() == "/quit":
            break
        if line.strip() == "/reset":
            chat.reset()
        elif line.strip():
            seed = None if options.seed is None else options.seed + number
            try:
                _reply(chat, line, options.max_new_tokens, sampler, seed)
            except ValueError as error:  # such as a turn that is too long
                if not typed:
                    raise UserError(worded(str(error))) from error
                print(f"kerasllm: {worded(str(error))}", file=sys.stderr)


def _reply(chat, line: str, most: int, sampler, seed: int | None) -> None:
    """Print a reply as it comes. Ctrl-C ends it, not the conversation."""
    pieces = None
    try:
        pieces = chat.stream(line, most, sampler, seed=seed)
        for piece in pieces:
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        if pieces is not None:
            pieces.close()  # keeps what was said so far
    print(flush=True)


def _typed() -> Iterator[str]:
    """The lines of somebody at a terminal, until Ctrl-D. Ctrl-C drops a line half typed."""
    import contextlib

    with contextlib.suppress(ImportError):  # not on Windows
        import readline  # noqa: F401  keys to move and to call up earlier lines
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print(f"\n{HELP}")
