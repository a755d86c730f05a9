"""``kerasllm tune``: a thin user of `kerasllm.training.tune_adapter`."""

from __future__ import annotations

import dataclasses

from kerasllm.cli.errors import UserError, command, told
from kerasllm.cli.models import load_model


def how_to_tune_on(options) -> str:
    """What to say when a run is stopped."""
    if not (options.out / "state.npz").exists():
        return ""
    return f"To go on: {command('tune', '--out', options.out, '--resume')}"


def tune_model(options) -> None:
    """Teach a model the conversations of a file, from the beginning or from the last state."""
    from kerasllm.cli.starting import load_keras

    if not options.resume and (options.model is None or options.data is None):
        raise UserError(f"name a model and a file: {command('tune', 'MODEL', 'talks.jsonl', '--out', 'runs/tuned')}")
    load_keras()
    from kerasllm import training
    from kerasllm.training.conversation_file import read_conversations
    from kerasllm.training.tune_run import TuneSettings, read_tuned, tune_adapter

    names = [field.name for field in dataclasses.fields(TuneSettings)]
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    with told(training.RunError, ValueError):
        stored = read_tuned(options.out) if options.resume else {"settings": {}, "base": "", "data": ""}
        settings = TuneSettings(**{**stored["settings"], **given})
    base, data = options.model or stored["base"], options.data or stored["data"]
    with told(OSError, ValueError):
        conversations = read_conversations(data)
    model, tokenizer = load_model(base, "full")
    with told(training.RunError, ValueError, TypeError):
        result = tune_adapter(
            *(options.out, model, tokenizer, conversations, settings),
            base=base,
            data=data,
            resume=options.resume,
            show=lambda line: print(line, flush=True),
        )
    _summary(options, result)


def _summary(options, result) -> None:
    if result.left_out:
        print(f"{result.left_out} conversations were left out: no reply begins within --context.")
    start, best = result.rows[0]["val_loss"], result.best
    print(f"Best: step {best['step']}, {best['val_loss']:.4f} nats a token of held-out replies; {start:.4f} before.")
    if not best["val_loss"] < start:
        print("No better than the model as it was: take more conversations, or another --learning-rate.")
    print(f"Talk to it: {command('chat', options.out)}")
