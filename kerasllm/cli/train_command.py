"""``kerasllm train``: a thin user of `kerasllm.training.start_run` and `continue_run`."""

from __future__ import annotations

import dataclasses
import sys

from kerasllm.cli.errors import UserError, command, told
from kerasllm.cli.starting import load_keras


def how_to_go_on(options) -> str:
    """What to say when a run is stopped."""
    if not (options.out / "settings.json").exists():
        return ""
    return f"To go on: {command('train', '--out', options.out, '--resume')}"


def train_model(options) -> None:
    """Train a GPT, from the beginning or from the last state."""
    if options.corpus is None and not options.resume:
        raise UserError(f"name a text file or a data set: {command('train', 'king-james', '--out', 'runs/bible')}")
    load_keras()
    from kerasllm import training

    given = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(training.RunSettings)
        if getattr(options, field.name) is not None
    }
    with told(training.RunError):
        result = _resume(options, given) if options.resume else _start(options, given)
    _summary(result)


def _start(options, given: dict):
    from kerasllm import training
    from kerasllm.weights import save_safetensors

    with told(ValueError):
        settings = training.RunSettings(**given)
    return training.start_run(options.out, options.corpus, settings, save=save_safetensors, watcher=_watcher())


def _resume(options, given: dict):
    from kerasllm import training
    from kerasllm.training.run_settings import read_run
    from kerasllm.weights import save_safetensors

    stored = read_run(options.out).settings
    may_change = {name: given.pop(name, None) for name in ("steps", "patience")}
    with told(ValueError):
        dataclasses.replace(stored, **{name: value for name, value in may_change.items() if value is not None})
    for name, value in given.items():
        if value != getattr(stored, name):
            flag = "--" + name.replace("_", "-")
            raise UserError(
                f"{options.out} was started with {flag} {getattr(stored, name)}, not {value}: leave {flag} out to go "
                "on with it, or start anew in another --out"
            )
    return training.continue_run(
        options.out, corpus=options.corpus, **may_change, save=save_safetensors, watcher=_watcher()
    )


def _watcher():
    from kerasllm import training

    if not sys.stdout.isatty():
        return training.PrintedRun()
    from kerasllm.cli.bar import BarRun

    return BarRun()


def _summary(result) -> None:
    """What a run came to. It names the model only if it is there."""
    model, folder = result.folder / "model.safetensors", result.folder
    if result.best is None or not model.is_file():
        raise UserError(
            f"all steps are done, but there is no {model}: bring it back, or make the run longer, "
            f"{command('train', '--out', folder, '--resume', '--steps', str(result.steps * 2))}"
        )
    if result.stopped_early:
        print(
            f"{folder}: stopped early after step {result.steps}, the validation loss got no better. To go on all the "
            "same: --resume with a larger --patience"
        )
    elif result.finished_before:
        print(f"{folder}: all {result.steps} steps are done. To make the run longer: --resume with more --steps")
    best = result.best
    print(f"best: {best['bits_per_character']} bits per character after step {best['step']}, in {model}")
    print(f'Write with it: {command("generate", folder)} --prompt "..."')
