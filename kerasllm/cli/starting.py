"""Loading Keras without what its backend writes meanwhile."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from kerasllm.cli.errors import UserError, explained

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def load_keras() -> None:
    """Import Keras and let its backend start, quietly.

    Raises:
        UserError: if the backend is not installed or has no such name.
    """
    try:
        with quiet():
            import keras

            keras.ops.zeros(())  # the backend looks for its devices now
    except ValueError as error:  # an unknown name
        if "backend" not in str(error):
            raise
        raise UserError(f"KERAS_BACKEND: {' '.join(str(error).split())}. Use tensorflow, jax or torch") from error
    except ImportError as error:
        raise UserError(explained(error) or f"Keras cannot be imported: {error}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back what a backend writes to stderr while it starts; show it if that fails.

    Set TF_CPP_MIN_LOG_LEVEL to 0, 1 or 2 to see it.
    """
    if os.environ.setdefault(LEVEL, "3") in ("0", "1", "2"):  # 3 says less, not nothing
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except (UserError, ImportError, ValueError):  # has its own line
            raise
        except BaseException:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
