"""The door of the command line: every command goes through `main`, and no error leaves it as a riddle."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from kerasllm.cli.errors import UserError, explained
from kerasllm.cli.options import parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what stands behind ``kerasllm``; those of this process when None.

    Returns:
        The exit code: 0, or 2 after an error that the user can mend, or 130 after Ctrl-C. A bug of ours leaves as
        what it is, with its traceback.
    """
    with _any_character():
        options = parser().parse_args(arguments)
        try:
            options.command(options)
        except BrokenPipeError:  # whoever read our output, such as `head`, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            return _say(f"stopped. {options.stopped(options)}".rstrip(), 130, before="\n")
        except UserError as problem:
            return _say(str(problem), 2)
        except Exception as error:
            line = explained(error)
            if line is None:
                raise
            return _say(f"{line}. {options.stopped(options)}".rstrip(), 2)
    return 0


def _say(line: str, code: int, before: str = "") -> int:
    print(f"{before}kerasllm: {' '.join(line.split())}", file=sys.stderr)
    return code


@contextlib.contextmanager
def _any_character() -> Iterator[None]:
    r"""Characters that the encoding of stdout lacks (cp1252 on Windows) are printed as \u4e2d, they end nothing."""
    stream = sys.stdout
    before = getattr(stream, "errors", None)
    if not hasattr(stream, "reconfigure") or before not in ("strict", "surrogateescape"):
        yield
        return
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):  # closed by whoever read it
            stream.reconfigure(errors=before)
