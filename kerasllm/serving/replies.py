"""Replies in the form of OpenAI's API: whole ones, and the events of a stream."""

import json
import time
import uuid

from kerasllm.serving.schemas import RequestError
from kerasllm.text.tool_calls import CallFinder

FINISHED = {"stop": "stop", "stop string": "stop", "length": "length"}
FAILED = {
    "timeout": (504, "The request took longer than this server allows.", "timeout_error", "timeout"),
    "cancelled": (503, "The server is stopping.", "server_error", "stopping"),
    "error": (500, "The model failed on this request.", "server_error", "internal_error"),
}


def failure(ended) -> RequestError:
    """The error for a reply that ended badly."""
    status, message, kind, code = FAILED[ended]
    return RequestError(status, message, kind, code)


class Writing:
    """What a reply of one kind looks like; see `ChatWriting` and `TextWriting`.

    Args:
        asked: the request.
        tokenizer: that of the model.
        prompt_tokens: how many tokens the prompt has.
    """

    prefix, whole, part = "", "", ""

    def __init__(self, asked, tokenizer, prompt_tokens):
        self.asked, self.tokenizer, self.prompt_tokens = asked, tokenizer, prompt_tokens
        self.id, self.created = f"{self.prefix}-{uuid.uuid4().hex[:24]}", int(time.time())

    def usage(self, written):
        """What the reply has cost, in tokens."""
        total = self.prompt_tokens + written
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": written, "total_tokens": total}

    def reply(self, pieces, written):
        """The whole reply, of all its pieces."""
        return {**self._head(self.whole), "choices": [self.choice(pieces)], "usage": self.usage(written)}

    def event(self, choice):
        """One event of a stream."""
        return _event({**self._head(self.part), "choices": [{"index": 0, **choice}], **self._no_usage()})

    def usage_event(self, written):
        """The last event of a stream that counts."""
        return _event({**self._head(self.part), "choices": [], "usage": self.usage(written)})

    def _no_usage(self):
        return {"usage": None} if self.asked.counts_usage else {}

    def _head(self, kind):
        return {"id": self.id, "object": kind, "created": self.created, "model": self.asked.model}

    def spelled(self, id):
        """The text of one token."""
        return self.tokenizer.decode([id]) or self.tokenizer.token_of(id)

    def finish(self, ended):
        """OpenAI's word for an end."""
        return FINISHED[ended]


class TextWriting(Writing):
    """Replies of /v1/completions."""

    prefix, whole, part = "cmpl", "text_completion", "text_completion"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._offset = 0

    def begin(self):
        """The first events."""
        return []

    def events(self, piece):
        """The events of a piece."""
        choice = {"text": piece.text, "logprobs": self._scores(piece.tokens), "finish_reason": None}
        if piece.ended is not None:
            choice["finish_reason"] = self.finish(piece.ended)
        return [self.event(choice)]

    def choice(self, pieces):
        """The one choice of a whole reply."""
        tokens = [token for piece in pieces for token in piece.tokens]
        text = "".join(piece.text for piece in pieces)
        finished = self.finish(pieces[-1].ended)
        return {"index": 0, "text": text, "logprobs": self._scores(tokens), "finish_reason": finished}

    def _scores(self, tokens):
        if self.asked.alternatives is None:
            return None
        spelled = [self.spelled(one.id) for one in tokens]
        offsets = []
        for text in spelled:
            offsets.append(self._offset)
            self._offset += len(text)
        return {
            "tokens": spelled,
            "token_logprobs": [one.log_probability for one in tokens],
            "top_logprobs": [{self.spelled(id): score for id, score in one.alternatives} for one in tokens],
            "text_offset": offsets,
        }


class ChatWriting(Writing):
    """Replies of /v1/chat/completions.

    Args:
        asked, tokenizer, prompt_tokens: see `Writing`.
        sources: what the model was given to answer from, a list of dictionaries; None where nothing was looked up.
    """

    prefix, whole, part = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, asked, tokenizer, prompt_tokens, sources=None):
        super().__init__(asked, tokenizer, prompt_tokens)
        self.sources = {} if sources is None else {"sources": sources}
        self.finder = CallFinder(tool["function"]["name"] for tool in asked.offered)

    def begin(self):
        """The first events."""
        return [self._delta({"role": "assistant", "content": "", **self.sources})]

    def events(self, piece):
        """The events of a piece."""
        before = self.finder.calls
        text, calls = self.finder.add(piece.text, last=piece.ended is not None)
        scores = piece.tokens and self.asked.alternatives is not None
        events = [self._delta({"content": text}, piece.tokens)] if text or scores else []
        for place, call in enumerate(calls, before):
            events.append(self._delta({"tool_calls": [{"index": place, **_call(call)}]}))
        if piece.ended is not None:
            events.append(self._delta({}, finished=self.finish(piece.ended)))
        return events

    def choice(self, pieces):
        """The one choice of a whole reply."""
        text, calls = self.finder.add("".join(piece.text for piece in pieces), last=True)
        message = {"role": "assistant", "content": text if text.strip() or not calls else None, "refusal": None}
        if calls:
            message["tool_calls"] = [_call(call) for call in calls]
        tokens = [token for piece in pieces for token in piece.tokens]
        choice = {"index": 0, "message": {**message, **self.sources}, "logprobs": self._scores(tokens)}
        return {**choice, "finish_reason": self.finish(pieces[-1].ended)}

    def finish(self, ended):
        """OpenAI's word for an end."""
        return "tool_calls" if self.finder.calls else super().finish(ended)

    def _delta(self, delta, tokens=(), finished=None):
        return self.event({"delta": delta, "logprobs": self._scores(tokens), "finish_reason": finished})

    def _scores(self, tokens):
        if self.asked.alternatives is None or not tokens:
            return None
        return {"content": [self._score(one) for one in tokens], "refusal": None}

    def _score(self, token):
        best = [self._scored(id, score) for id, score in token.alternatives]
        return {**self._scored(token.id, token.log_probability), "top_logprobs": best}

    def _scored(self, id, score):
        text = self.spelled(id)
        bytes_ = None if "\ufffd" in text else list(text.encode("utf-8"))  # a part of a character has no text
        return {"token": text, "logprob": score, "bytes": bytes_}


def _call(call):
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _event(content):
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def error_event(error: RequestError) -> str:
    """The event of a stream that cannot go on."""
    return _event(error.body)


DONE = "data: [DONE]\n\n"
