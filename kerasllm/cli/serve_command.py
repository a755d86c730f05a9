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
    models = {name: _served(name, path, options) for name, path in zip(names, options.models, strict=True)}
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


def _served(name: str, path: str, options):
    print(f"{name}: loading", flush=True)
    numbers = options.numbers or ("auto" if options.max_batch <= FEW else "full")
    model, tokenizer = load_model(path, numbers)
    from kerasllm.serving import Engine
    from kerasllm.serving.app import Served
    from kerasllm.text import ChatTemplate

    limits = {"max_batch": options.max_batch, "max_waiting": options.max_waiting}
    with told(ValueError, TypeError):
        template = None if tokenizer.chat_template is None else ChatTemplate(tokenizer)
        context = getattr(model, "context_length", None)
        length = min(options.context, context) if options.context and context else options.context
        engine = Engine(model, tokenizer, max_length=length, **limits)
    if not options.no_warm_up:
        print(f"{name}: compiling", flush=True)
        engine.warm_up()
    return Served(engine, template)


def _announce(host: str, port: int) -> None:
    address = f"[{host}]" if ":" in host else host
    print(f"for people: http://{address}:{port}/   for clients: http://{address}:{port}/v1   Ctrl-C ends", flush=True)
