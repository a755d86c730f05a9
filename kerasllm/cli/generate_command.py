"""``kerasllm generate``: text from a model that was trained here or elsewhere."""

from __future__ import annotations

import sys

from kerasllm.cli.errors import UserError, told
from kerasllm.cli.models import load_model

PROMPT = 1 << 24  # most characters of a prompt: a model sees the last thousands of them


def write_text(options) -> None:
    """Continue a prompt, each piece printed as soon as it is there."""
    prompt = _prompt(options)
    model, tokenizer = load_model(options.model, options.numbers)
    from kerasllm.generation import Greedy, Sampling, stream

    with told(ValueError):
        sampler = Greedy()
        if options.temperature:
            sampler = Sampling(options.temperature, options.top_k, options.top_p, options.min_p)
        made = stream(model, prompt, options.tokens, sampler, seed=options.seed, tokenizer=tokenizer)
    print(prompt, end="", flush=True)
    for piece in made:
        print(piece, end="", flush=True)
    print()


def _prompt(options) -> str:
    """The prompt of --prompt, of a file, or of stdin. The line end with which editors end a file is not part of it."""
    if options.prompt_file is None and options.prompt != "-":
        return options.prompt
    if options.prompt_file is None:
        prompt = _from_stdin()
    else:
        from kerasllm import data

        prompt = ""
        with told(data.DataError, about="--prompt-file: "):
            for piece in data.text_pieces(options.prompt_file):
                prompt += piece
                _check_length(prompt)
    return prompt.removesuffix("\n")


def _from_stdin() -> str:
    stream = getattr(sys.stdin, "buffer", None)
    content = sys.stdin.read(PROMPT + 1) if stream is None else stream.read(4 * PROMPT + 1)
    if isinstance(content, bytes):
        try:
            content = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"--prompt -: the text on stdin is not UTF-8 (byte {error.start}): convert it") from None
    content = content.replace("\r\n", "\n")
    _check_length(content)
    return content


def _check_length(prompt: str) -> None:
    if len(prompt) > PROMPT:
        raise UserError(f"the prompt has more than {PROMPT:,} characters: give its end, the model sees no more")
