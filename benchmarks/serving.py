"""Eight chats at once against the same eight one after the other, over HTTP, with SmolLM2-135M-Instruct.

    python benchmarks/serving.py
    python benchmarks/serving.py --numbers int4 --rounds 1

Server and clients are one process on one machine; a client waits for a reply and costs next to nothing. What is
compiled is compiled before the clock runs. A round is the eight chats one after the other, then all at once, with the
same prompts, greedy, to the same number of tokens or to the model's own end. Tokens per second are the tokens of all
replies by the time from the first request to the last reply, reading of prompts included; the best round counts, and
the two that are compared are of one round. It also compares the texts: greedy replies have to be equal.

``full`` is the model as it is trained, in float32, which is what ``kerasllm serve`` takes for a batch of eight; fewer
bits write faster at batch 1 and are unpacked at each step of a larger batch.
"""

import argparse
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import httpx

from kerasllm.generation import Greedy
from kerasllm.serving import Engine
from kerasllm.serving.app import Served
from kerasllm.serving.server import make_server
from kerasllm.text import ChatTemplate
from kerasllm.weights import pretrained

NAME = "smollm2-135m-instruct"
QUESTIONS = (
    "What is the capital of France, and what is it known for?",
    "Explain in a few sentences why the sky is blue.",
    "Write a short story about a cat that learns to swim.",
    "How do I boil an egg? List the steps.",
    "What is the difference between a list and a tuple in Python?",
    "Give me three reasons to learn a second language.",
    "Who was Ada Lovelace?",
    "Describe the water cycle for a child.",
)


def started(engine, template):
    """A server in a thread, and a client of it."""
    server = make_server({NAME: Served(engine, template)}, port=0, seconds=3600)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    return server, thread, httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=3600)


def asked(client, question, tokens):
    """The text of a reply, and how many tokens it has."""
    body = {"model": NAME, "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": tokens}
    reply = client.post("/v1/chat/completions", json=body).raise_for_status().json()
    return reply["choices"][0]["message"]["content"], reply["usage"]["completion_tokens"]


def timed(client, tokens, at_once):
    """The texts, their tokens together, and the seconds they took."""
    start = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(lambda question: asked(client, question, tokens), QUESTIONS))
    seconds = time.perf_counter() - start
    return [text for text, _ in found], sum(count for _, count in found), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--numbers", default="full", help="full, float32, bfloat16, int8 or int4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64, help="most tokens of a reply")
    options = parser.parse_args()
    model, tokenizer = pretrained(NAME, None if options.numbers == "full" else options.numbers)
    engine = Engine(model, tokenizer, max_batch=len(QUESTIONS))
    engine.warm_up([Greedy()])
    server, thread, client = started(engine, ChatTemplate(tokenizer))
    timed(client, 2, len(QUESTIONS))  # reading prompts is compiled too
    best = None
    for number in range(options.rounds):
        alone, tokens, seconds = timed(client, options.tokens, 1)
        together, more, fewer_seconds = timed(client, options.tokens, len(QUESTIONS))
        speeds = tokens / seconds, more / fewer_seconds
        equal = sum(one == other for one, other in zip(alone, together, strict=True))
        print(f"round {number + 1}: {speeds[0]:.1f} and {speeds[1]:.1f} tokens/s, {equal} of {len(alone)} texts equal")
        best = max(best or speeds, speeds, key=lambda pair: pair[1])
    print(f"\n| numbers | one after the other | {len(QUESTIONS)} at once | ratio |\n|---|---|---|---|")
    print(f"| {options.numbers} | {best[0]:.1f} | {best[1]:.1f} | {best[1] / best[0]:.2f} |")
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    main()
