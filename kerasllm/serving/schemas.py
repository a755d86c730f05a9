"""What a request may hold, as OpenAI's API has it. What would be ignored is refused."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from kerasllm.generation import Greedy, Sampling
from kerasllm.serving.jobs import Asked
from kerasllm.serving.row_sampling import MOST_ALTERNATIVES


class RequestError(Exception):
    """A request that cannot be served; becomes an error in OpenAI's form.

    Args:
        status: the status of HTTP.
        message: what is wrong and what would be right.
        kind: OpenAI's type of error.
        code: a word for programs.
        param: the field that is wrong.
    """

    def __init__(self, status, message, kind="invalid_request_error", code=None, param=None):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


class Strict(BaseModel):
    """Refuses fields that nobody reads."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TextPart(Strict):
    """A text as a part of a message."""

    type: Literal["text"]
    text: str


class CalledFunction(Strict):
    """The function of a call, its arguments as JSON."""

    name: str
    arguments: str


class Call(Strict):
    """A call that an assistant has made."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(BaseModel):
    """A turn. Fields that replies have and nobody reads again, such as "refusal", may stand there."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """What is said."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class Function(Strict):
    """What a function is called, what it does, and a JSON schema of its arguments."""

    name: Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})
    strict: Literal[False] | None = None  # nothing forces a model to keep to the schema


class Tool(Strict):
    """A function that may be called."""

    type: Literal["function"]
    function: Function


class StreamOptions(BaseModel):
    """What a stream tells beside the reply."""

    include_usage: bool = False


class TextFormat(Strict):
    """The one form of a reply that there is."""

    type: Literal["text"]


def _one_or_more(stop):
    return [] if stop is None else [stop] if isinstance(stop, str) else stop


StopString = Annotated[str, Field(min_length=1, max_length=256)]


class Common(Strict):
    """What both kinds of requests may hold."""

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    stop: Annotated[list[StopString], BeforeValidator(_one_or_more), Field(max_length=4)] = []
    n: Literal[1] | None = 1
    presence_penalty: Literal[0] | None = 0
    frequency_penalty: Literal[0] | None = 0
    user: str | None = None  # names the caller to OpenAI; nothing depends on it

    def asked(self, ids, most, seconds, stop_tokens=None) -> Asked:
        """The request for an engine; `most` tokens where it names no number."""
        drawn = self.temperature > 0
        return Asked(
            ids,
            max_new_tokens=min(self.wanted_tokens or most, most),
            sampler=Sampling(self.temperature, top_p=self.top_p) if drawn else Greedy(),
            stop_tokens=stop_tokens,
            stop_strings=tuple(self.stop),
            seed=self.seed,
            alternatives=self.alternatives,
            seconds=seconds,
        )

    @property
    def counts_usage(self) -> bool:
        """Whether a stream ends with what the reply has cost."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(Common):
    """The body of /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1024)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_ALTERNATIVES)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None  # how many calls there are is the model's choice
    response_format: TextFormat | None = None

    @property
    def wanted_tokens(self) -> int | None:
        """The largest number of tokens that the request names."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def alternatives(self) -> int | None:
        """See `Asked`."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def offered(self) -> list[dict]:
        """The tools that the model is told of."""
        return [] if self.tool_choice == "none" else [tool.model_dump(exclude_none=True) for tool in self.tools or []]

    def turns(self) -> list[dict]:
        """The conversation as `kerasllm.text.tool_calls.prompt_ids` takes it.

        Raises:
            RequestError: if the arguments of a call are no JSON object, or a turn says nothing.
        """
        return [_turn(place, message) for place, message in enumerate(self.messages)]


class CompletionRequest(Common):
    """The body of /v1/completions."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)] | list[int]
    max_tokens: Annotated[int, Field(ge=1)] | None = 16
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    best_of: Literal[1] | None = 1
    echo: Literal[False] | None = False
    suffix: Literal[""] | None = None

    @property
    def wanted_tokens(self) -> int | None:
        """The largest number of tokens that the request names."""
        return self.max_tokens

    @property
    def alternatives(self) -> int | None:
        """See `Asked`."""
        return self.logprobs


def _turn(place, message):
    turn = {"role": "system" if message.role == "developer" else message.role, "content": message.text}
    if message.content is None and not message.tool_calls:
        raise RequestError(400, f"Message {place} has no content.", param=f"messages[{place}].content")
    if message.tool_calls:
        turn["tool_calls"] = [
            {"name": one.function.name, "arguments": _object(one.function.arguments, place)}
            for one in message.tool_calls
        ]
    return turn


def _object(arguments, place):
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        message = f"The arguments of a call in message {place} are no JSON object: {arguments!r:.60}."
        raise RequestError(400, message, param=f"messages[{place}].tool_calls")
    return found
