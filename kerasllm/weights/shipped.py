"""The models that ship with the course."""

from pathlib import Path

from kerasllm.text import Tokenizer
from kerasllm.weights.safetensors_file import load_safetensors

PACKAGE = Path(__file__).resolve().parents[1]
# A checkout has them beside the package, an installed package inside it.
CHECKPOINTS = next((f for f in (PACKAGE / "_checkpoints", PACKAGE.parent / "checkpoints") if f.is_dir()), None)
NAMES = ("king-james-gpt",)


def pretrained(name):
    """A trained model and its tokenizer, from files inside this package: no network is used.

    "king-james-gpt" is a GPT of 6 blocks, width 256 and a context of 256 tokens. It was trained on the training books
    of ``kerasllm.data.load("king-james")`` alone. The settings and the log of its training lie beside it; the run was
    cut off at the last step of the log, before its learning rate had fallen to 0.

    Args:
        name: "king-james-gpt".

    Returns:
        A pair of a `kerasllm.models.GPT` and a `kerasllm.text.Tokenizer`.

    Raises:
        ValueError: if there is no such model.

    Example:
        >>> model, tokenizer = pretrained("king-james-gpt")
        >>> model.vocabulary_size == tokenizer.vocabulary_size
        True
    """
    folder = folder_of(name)
    return load_safetensors(folder / "model.safetensors"), Tokenizer.load(folder)


def folder_of(name):
    """The folder of a trained model: weights, tokenizer, card, settings and log.

    Args:
        name: see `pretrained`.

    Returns:
        A path.

    Raises:
        ValueError: if there is no such model.

    Example:
        >>> sorted(file.name for file in folder_of("king-james-gpt").iterdir())
        ['README.md', 'log.csv', 'model.safetensors', 'settings.json', 'tokenizer.json']
    """
    if name not in NAMES:
        raise ValueError(f"There is no model {name!r}. Use one of {', '.join(NAMES)}.")
    return CHECKPOINTS / name
