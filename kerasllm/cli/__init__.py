"""The command line.

    kerasllm data                                  # the data sets there are
    kerasllm train king-james --out runs/bible     # train a GPT on one, or on any text file
    kerasllm tune smollm2-135m-instruct talks.jsonl --out runs/tuned
    kerasllm evaluate runs/bible other.txt         # bits per character of a text
    kerasllm generate runs/bible --prompt "In the beginning"
    kerasllm chat SmolLM2-135M-Instruct.gguf       # a conversation, each line a turn
    kerasllm serve smollm2-135m-instruct           # the same over HTTP, for OpenAI's clients and a page
    kerasllm translate translator.keras "Good morning"      # saved tasks: texts, or lines of stdin
    kerasllm classify spam.keras < mails.txt
    kerasllm tag names.keras "Ada met Bob in Rome" --json
    kerasllm answer finder.keras --passage moons.txt "Who found them?"

``python -m kerasllm`` is the same. Each command has ``--help``. What goes wrong is one line on stderr that names the
fix, and exit code 2.
"""

from kerasllm.cli.door import main

__all__ = ["main"]
