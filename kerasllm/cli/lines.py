"""The lines that come through stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from kerasllm.cli.errors import UserError

LINE = 1 << 20  # most characters of a line: a model sees thousands of them


def piped_lines() -> Iterator[str]:
    """The lines of a pipe or a file, each as soon as it is there.

    Yields:
        Lines without their ends.

    Raises:
        UserError: if a line is too long or no UTF-8.
    """
    stream = getattr(sys.stdin, "buffer", sys.stdin)
    number = 0
    while stream is not None and (line := stream.readline(4 * LINE + 1)):
        number += 1
        if isinstance(line, bytes):
            try:
                line = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise UserError(f"line {number} on stdin is not UTF-8: convert it") from None
        if len(line) > LINE:
            raise UserError(f"line {number} on stdin has more than {LINE:,} characters: break it into several")
        yield line.rstrip("\r\n")
