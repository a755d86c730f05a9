"""Processes of their own that begin with what takes longest imported.

    command = [*nursery.python(), "-c", code, path]

runs code as `[sys.executable, "-c", code, path]` does, also with "-m" or a script, but spares five seconds of importing
TensorFlow and Keras, or two of JAX: a server, one for each backend, has imported them, and forks for each request. What
is ours the process imports itself, so nothing that a test has made is known in it. Arguments, working directory,
environment, standard streams, signals and the exit status are those of the process that was started. Where nothing can
be forked, and where lines are counted, `python` gives the plain Python.

Not for what is read when Python starts or when JAX or matplotlib is imported, which Keras does: PYTHONHASHSEED,
PYTHONIOENCODING, JAX_NUM_CPU_DEVICES, MPLBACKEND.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
import types
from collections.abc import Callable

FOLDER, OWNER = "NURSERY_FOLDER", "NURSERY_OWNER"  # variables: where the servers listen, and whose end is theirs
OF_BACKEND = {"tensorflow": ["tensorflow"], "jax": ["jax"]}
# The second backend, in a process of its own. What is compiled there is called once: XLA may take less care.
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
ON_JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK}
IMPORTED = {"tensorflow": ["keras", "pandas", "pytest"], "jax": ["keras", "pandas", "pytest"]}


def python() -> list[str]:
    """How a command begins whose process is forked; the plain Python where there is no nursery."""
    alone = FOLDER not in os.environ or any(name.startswith("COVERAGE_PROCESS") for name in os.environ)
    return [sys.executable] if alone else [sys.executable, "-I", "-S", os.path.abspath(__file__), "begin"]


def open_nursery(folder: str) -> None:
    """Let servers that are needed listen in a folder, for as long as this process runs and the folder is there."""
    if sys.platform == "linux" and FOLDER not in os.environ:
        os.environ[FOLDER], os.environ[OWNER] = folder, str(os.getpid())


# What the command does: it asks for a process and waits for its end


def begin(arguments: list[str]) -> int:
    """Have a process forked that does what Python would do with these arguments; returns its exit code."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend not in OF_BACKEND:
        os.execv(sys.executable, [sys.executable, *arguments])
    connection = _connected(f"{os.environ[FOLDER]}/{backend}", backend)
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    request = json.dumps(request).encode()
    handed_on = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, handed_on)  # they wait until it is known to whom they go
    socket.send_fds(connection, [len(request).to_bytes(8)], [0, 1, 2])
    connection.sendall(request)
    pid = _number(connection)
    for number in handed_on:
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handed_on)
    code = os.waitstatus_to_exitcode(_number(connection))
    if code < 0:  # end as it did
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    return code


def _connected(address: str, backend: str) -> socket.socket:
    """A connection to the server, which the first of those who ask starts."""
    import fcntl
    import subprocess

    connection = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        connection.connect(address)
        return connection
    with open(f"{address}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(address):
            # Not the environment of this request: the server is everybody's.
            environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "XLA_"))}
            environment |= {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
            with open(f"{address}.log", "w") as log:
                server = subprocess.Popen(
                    [sys.executable, "-P", __file__, "serve", address, backend],
                    env=environment | {"PYTHONHASHSEED": "0"},
                    cwd=os.environ[FOLDER],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,
                )
            while not os.path.exists(address):
                if server.poll() is not None:
                    with open(f"{address}.log") as log:
                        raise SystemExit(f"The nursery does not open: {log.read()}")
                time.sleep(0.02)
    connection.connect(address)
    return connection


def _number(connection: socket.socket) -> int:
    return int.from_bytes(_bytes(connection, 8))


def _bytes(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = connection.recv(count - len(found))
        if not piece:
            raise ConnectionError("the other side of the nursery is gone")
        found += piece
    return found


# The server


def serve(address: str, backend: str) -> tuple[dict, list[int]] | None:
    """Fork for each request until the owner is gone. Only in a forked process it gives the request and its streams."""
    import gc
    import importlib

    for name in OF_BACKEND[backend] + IMPORTED[backend]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if backend == "jax":
        _start_weights_without_compiling()
    gc.collect()
    gc.freeze()  # collections of a child need not look at it, nor copy its pages
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen(64)
    os.rename(f"{address}.new", address)  # there when it listens, not before
    owner = int(os.environ[OWNER])
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while os.path.exists(address) and _runs(owner):
        for key, _ in selector.select(1.0):
            if key.fileobj is not listener:
                key.data()
                continue
            connection, _ = listener.accept()
            with contextlib.suppress(ConnectionError):
                size, streams, _, _ = socket.recv_fds(connection, 8, 3)
                request = json.loads(_bytes(connection, int.from_bytes(size)))
                pid = os.fork()
                if not pid:
                    _close(selector, connection)
                    return request, streams
                for stream in streams:
                    os.close(stream)
                _watch(selector, connection, pid)
                connection.sendall(pid.to_bytes(8))
    return None


def _start_weights_without_compiling() -> None:
    """NumPy draws what weights start with. JAX compiles a function for each kind and shape, and is called once."""
    import jax
    import numpy as np
    from keras.src.backend.jax import random

    def normal(numbers, shape, mean=0.0, stddev=1.0):
        return numbers.normal(mean, stddev, shape)

    def uniform(numbers, shape, minval=0.0, maxval=1.0):
        return numbers.uniform(minval, maxval, shape)

    def truncated_normal(numbers, shape, mean=0.0, stddev=1.0):
        found = numbers.normal(size=shape)
        while (far := np.abs(found) > 2).any():
            found[far] = numbers.normal(size=far.sum())
        return found * stddev + mean

    def without_compiling(draw, plain):
        def drawn(shape, *arguments, dtype=None, seed=None, **named):
            seed = random.jax_draw_seed(seed)
            if isinstance(seed, jax.core.Tracer):  # in a compiled function
                return plain(shape, *arguments, dtype=dtype, seed=seed, **named)
            found = draw(np.random.default_rng(np.asarray(seed)), tuple(shape), *arguments, **named)
            return jax.numpy.asarray(found, dtype or random.floatx())

        return drawn

    for draw in (normal, uniform, truncated_normal):
        setattr(random, draw.__name__, without_compiling(draw, getattr(random, draw.__name__)))


def _runs(pid: int) -> bool:
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def _close(selector: selectors.BaseSelector, connection: socket.socket) -> None:
    """What belongs to the server is not the business of its child."""
    for known in [*selector.get_map().values()]:
        os.close(known.fileobj) if isinstance(known.fileobj, int) else known.fileobj.close()
    selector.close()
    connection.close()


def _watch(selector: selectors.BaseSelector, connection: socket.socket, pid: int) -> None:
    """Tell the one who asked how the process ended; end it when the one who asked is gone."""
    process = os.pidfd_open(pid)

    def ended() -> None:
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(OSError):
            connection.sendall(status.to_bytes(8))
        for one in (process, connection):
            with contextlib.suppress(KeyError):
                selector.unregister(one)
        os.close(process)
        connection.close()

    def gone() -> None:
        with contextlib.suppress(KeyError, ValueError):  # it has ended in the same moment
            selector.unregister(connection)
            os.kill(pid, signal.SIGKILL)

    selector.register(process, selectors.EVENT_READ, ended)
    selector.register(connection, selectors.EVENT_READ, gone)


# The forked process


def become(request: dict, streams: list[int]) -> Callable[[], None]:
    """Take on what was asked for; returns what is to be done."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    _reopen()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # Python's own generator does it itself
    kind, *rest = request["arguments"]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if kind == "-m":
        import runpy

        sys.argv, sys.path[:0] = rest, [os.getcwd(), *paths]
        return lambda: runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if kind == "-c":
        code = compile(rest[0], "<string>", "exec")
        sys.argv, sys.path[:0] = ["-c", *rest[1:]], ["", *paths]
    else:
        with open(kind, "rb") as file:
            code = compile(file.read(), kind, "exec")
        main.__file__ = kind
        sys.argv, sys.path[:0] = [kind, *rest], [os.path.dirname(os.path.abspath(kind)), *paths]
    return lambda: exec(code, main.__dict__)


def _reopen() -> None:
    """Standard streams of the kind that is there now: those of the server cannot be asked for a place in a pipe."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        before = getattr(sys, name)
        stream = open(number, mode, encoding=before.encoding, errors=before.errors, closefd=False)
        if number == 2 or (mode == "w" and os.environ.get("PYTHONUNBUFFERED")):
            stream.reconfigure(line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    action, *arguments = sys.argv[1:]
    if action == "begin":
        sys.exit(begin(arguments))
    asked = serve(*arguments)
    if asked:
        become(*asked)()
