"""``python -m kerasllm``: the command line, see `kerasllm.cli`."""

import sys

from kerasllm.cli import main

if __name__ == "__main__":
    sys.exit(main())
