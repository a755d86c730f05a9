"""A server of its own for the application: an address, a log, an end that is clean."""

import contextlib
from collections.abc import Callable, Mapping

import uvicorn

from kerasllm.serving.app import Served, make_app
from kerasllm.serving.guard import LOOPBACK


class Server(uvicorn.Server):
    """A server that says where it listens, once it does.

    Args:
        config: a `uvicorn.Config`.
        told: is called with the address and the port.
    """

    def __init__(self, config, told=None):
        super().__init__(config)
        self.told = told

    @property
    def port(self) -> int:
        """The port at which it listens, once it was started."""
        return self.servers[0].sockets[0].getsockname()[1]

    def run(self, sockets=None):
        """Serve until Ctrl-C or SIGTERM."""
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises Ctrl-C once more after it has ended cleanly
            super().run(sockets)

    async def startup(self, sockets=None):
        await super().startup(sockets)
        if self.started and self.told is not None:
            self.told(self.config.host, self.port)


def make_server(
    models: Mapping[str, Served],
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    told: Callable[[str, int], None] | None = None,
    **settings,
) -> Server:
    """A server for models; its ``run`` serves until Ctrl-C or SIGTERM, and lets replies that are under way end first.

    Args:
        models: see `make_app`.
        host: the address to listen at. At one that only this machine reaches it answers to the names of this machine
            alone.
        port: the port; 0 for any that is free.
        told: is called with the address and the port as soon as it listens.
        **settings: see `make_app`.

    Returns:
        A `Server`.
    """
    app = make_app(models, hosts=LOOPBACK if host in LOOPBACK else None, **settings)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=max(1, round(settings.get("drain_seconds", 5.0))),
    )
    return Server(config, told)
