"""``kerasllm serve``: models behind an HTTP API."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from kerasllm.cli.errors import UserError, told
from kerasllm.cli.models import load_model

FEW = 3  # rows up to which a FastGPT writes faster than a GPT


def serve_models(options) -> None:
    """Load models and answer until Ctrl-C."""
    from kerasllm.common.extras import needed

    for module in ("fastapi", "uvicorn"):
        needed(module, "serve")
    key = options.key or os.environ.get("KERASLLM_KEY") or None
    if not _of_this_machine(options.host) and key is None:
        raise UserError(f"--host {options.host} is open to other machines: name a --key that clients must have")
    names = [Path(name).stem if Path(name).is_file() else Path(name).name for name in options.models]
    if len(set(names)) < len(names):
        raise UserError(f"two models have the same name ({', '.join(names)}): rename a folder or a file")
    sources = _sources(options)
    models = {name: _served(name, path, options, sources) for name, path in zip(names, options.models, strict=True)}
    from kerasllm.serving.server import make_server

    limits = {"key": key, "most_tokens": options.max_tokens, "seconds": options.timeout}
    server = make_server(models, options.host, options.port, told=_announce, **limits)
    try:
        server.run()
    except SystemExit:  # uvicorn's word for an address that is taken
        raise UserError(f"nobody can listen at {options.host}:{options.port}: take another --port") from None


def _of_this_machine(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sources(options):
    """What looks passages up for a question; None without --documents."""
    if options.documents is None:
        return None
    from kerasllm.cli.documents import open_documents
    from kerasllm.cli.starting import load_keras

    load_keras()
    retriever = open_documents(options.documents)
    print(f"{options.documents}: {len(retriever):,} passages", flush=True)

    def look_up(question: str) -> list[dict]:
        found = retriever.search(question, options.passages)
        return [one.passage._asdict() for one in found if one.score >= options.threshold]

    return look_up


def _served(name: str, path: str, options, sources):
    print(f"{name}: loading", flush=True)
    numbers = options.numbers or ("auto" if options.max_batch <= FEW else "full")
    model, tokenizer = load_model(path, numbers)
    from kerasllm.serving import Engine
    from kerasllm.serving.app import Served
    from kerasllm.tasks.assistant import AssistantSettings
    from kerasllm.text import ChatTemplate

    limits = {"max_batch": options.max_batch, "max_waiting": options.max_waiting}
    with told(ValueError, TypeError):
        template = None if tokenizer.chat_template is None else ChatTemplate(tokenizer)
        if sources and not template:
            raise UserError(f"{path} has no chat template: it cannot chat about --documents")
        context = getattr(model, "context_length", None)
        length = min(options.context, context) if options.context and context else options.context
        engine = Engine(model, tokenizer, max_length=length, **limits)
    if not options.no_warm_up:
        print(f"{name}: compiling", flush=True)
        engine.warm_up()
    return Served(engine, template, sources, None if sources is None else AssistantSettings().unknown)


def _announce(host: str, port: int) -> None:
    address = f"[{host}]" if ":" in host else host
    print(f"for people: http://{address}:{port}/   for clients: http://{address}:{port}/v1   Ctrl-C ends", flush=True)
