"""What the tests of the command line share."""

import csv

from kerasllm import cli

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on.\n" * 40
SMALL = ["--layers", "1", "--heads", "2", "--width", "8", "--context", "16", "--batch", "4"]
RUN = [*SMALL, "--steps", "18", "--evaluate-every", "8", "--checkpoint-every", "4", "--dropout", "0.1"]


def kerasllm(*arguments):
    """The exit code of a command."""
    return cli.main([str(argument) for argument in arguments])


def fails(capsys, *arguments):
    """The one line of an error."""
    try:
        code = kerasllm(*arguments)
    except SystemExit as error:  # argparse
        code = error.code
    printed = capsys.readouterr()
    assert code == 2
    [line] = printed.err.splitlines()
    assert line.startswith("kerasllm: ")
    assert "Traceback" not in printed.out
    return line


def log(folder):
    """The rows of a run's log."""
    with open(folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))
