"""What a server has done, in the text that Prometheus reads."""

from collections.abc import Iterator

ENDS = ("stop", "stop string", "length", "timeout", "cancelled", "error")


def prometheus(engines, seen) -> str:
    """The metrics of a server.

    Args:
        engines: from the name of a model to its `Engine`.
        seen: a Counter of (path, status).

    Returns:
        Text in Prometheus' format, version 0.0.4.

    Reference: the section "Text-based format" of "Exposition formats" in Prometheus' documentation.
    """
    lines = []
    for name, kind, what, values in _families(engines, seen):
        lines += [f"# HELP kerasllm_{name} {what}", f"# TYPE kerasllm_{name} {kind}"]
        lines += [f"kerasllm_{name}{_labels(labels)} {value}" for labels, value in values]
    return "\n".join(lines) + "\n"


def _families(engines, seen) -> Iterator[tuple]:
    def each(value):
        return [({"model": name}, value(engine)) for name, engine in engines.items()]

    yield (
        *("http_requests_total", "counter", "Requests by path and status."),
        [({"path": path, "status": status}, count) for (path, status), count in sorted(seen.items())],
    )
    yield "requests_running", "gauge", "Requests in the batch.", each(lambda one: one.running)
    yield "requests_waiting", "gauge", "Requests in the queue.", each(lambda one: one.waiting)
    yield "batch_rows", "gauge", "Requests that fit into the batch.", each(lambda one: one.max_batch)
    yield "requests_refused_total", "counter", "Requests for which the queue was full.", each(_count("refused"))
    ended = [({"model": name, "ended": end}, one.counts[end]) for name, one in engines.items() for end in ENDS]
    yield "requests_ended_total", "counter", "Requests by how they ended.", ended
    yield "prompt_tokens_total", "counter", "Tokens of prompts that were read.", each(_count("tokens read"))
    yield "written_tokens_total", "counter", "Tokens that were written.", each(_count("tokens written"))
    begun, seconds = (lambda one: one.first_tokens[0]), (lambda one: one.first_tokens[1])
    yield "first_tokens_total", "counter", "Replies that have a first token.", each(begun)
    yield "first_token_seconds_total", "counter", "Seconds that they waited for it, all together.", each(seconds)


def _count(key):
    return lambda engine: engine.counts[key]


def _labels(labels) -> str:
    def quoted(value):
        text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{text}"'

    return "{" + ",".join(f"{name}={quoted(value)}" for name, value in labels.items()) + "}"
