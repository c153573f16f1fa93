"""What a run answers: the text and whatever comes with it. Nothing here knows about HTTP."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass
from typing_extensions import NotRequired, TypedDict

from ..jsonable import plain
from .wire import json_text

__all__ = ["Answer", "BackgroundWorkflow", "ToolCall", "answer_of", "count_usage"]

_TOKEN = re.compile(r"\w+|[^\w\s]")


def _plain(value: object) -> Any:
    return plain(value, "value")


Json = Annotated[Any, BeforeValidator(_plain)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(_plain)]


class ToolCall(TypedDict):
    """A tool an agent used: its name, what went in and what came out, both any JSON value.

    With `needs_approval` the run waits for a decision first, unless the request says
    `tool_approval: "auto_approve"`. With `destructive` it waits even then. `denied` is a call that the workspace's
    rules forbid: it is reported, and not made.
    """

    tool_name: str
    tool_input: NotRequired[Json]
    observation: NotRequired[Json]
    summary: NotRequired[str]
    needs_approval: NotRequired[bool]
    destructive: NotRequired[bool]
    denied: NotRequired[bool]


class BackgroundWorkflow(TypedDict):
    """A workflow an agent starts: it runs in the background where the request allows that, else before the reply."""

    deployment: str
    variant: NotRequired[str]
    inputs: NotRequired[JsonObject]


def _artifact(value: object) -> Any:
    artifact = plain(value, "value")
    if not isinstance(artifact, dict) or not isinstance(cast("dict[str, Any]", artifact).get("file_url"), str):
        raise ValueError("an artifact is an object with file_url, a text")
    return cast("dict[str, Any]", artifact)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Answer:
    """A reply with more to it than its text.

    Attributes:
        text: The final text: `response` of prompts and agents, `output` of workflows. With `error` set, a
            stream sends it before it fails.
        reasoning: The model's reasoning. Sent in streams only, before the text.
        summary: Text of a `summary` event, sent first in an agent's stream: its thread's history was
            compressed.
        model: The model's name in the reply. Default `"sandbox"`.
        usage: Token usage as it is sent. Default: counted from the request's and the reply's words.
        tool_calls: Tools an agent used, each `{"tool_name": …, "tool_input": …, "observation": …}`.
        artifacts: Files an agent made, each `{"file_url": …, …}`.
        background: Workflows an agent starts, each `{"deployment": …, "variant": …, "inputs": …}`.
        text_if_denied: The final text of an agent if a tool call that needed approval is denied. Default:
            `text`.
        duration: Seconds the run takes. The server really takes them, between the events of a stream; in the
            transport no time passes. Default None: as long as it takes.
        error: The run fails with this text. Prompts and agents answer 502, or an `error` event when
            streaming.
        error_code: The service's stable code for the error, such as `"model_deprecated"`. Default: none is
            sent.

    Raises:
        pydantic.ValidationError: (a ValueError) A value has the wrong type or no JSON form.
    """

    text: str = ""
    reasoning: str = field(default="", kw_only=True)
    model: str = field(default="sandbox", kw_only=True)
    usage: JsonObject | None = field(default=None, kw_only=True)
    summary: str = field(default="", kw_only=True)
    tool_calls: Sequence[ToolCall] = field(default=(), kw_only=True)
    artifacts: Sequence[Annotated[dict[str, Any], BeforeValidator(_artifact)]] = field(default=(), kw_only=True)
    background: Sequence[BackgroundWorkflow] = field(default=(), kw_only=True)
    text_if_denied: str | None = field(default=None, kw_only=True)
    duration: Annotated[float, Field(ge=0, le=86_400)] | None = field(default=None, kw_only=True)
    error: str | None = field(default=None, kw_only=True)
    error_code: str | None = field(default=None, kw_only=True)


def answer_of(value: object) -> Answer:
    """The answer a registered reply stands for: an `Answer` itself, a text, or a JSON value as its text."""
    if isinstance(value, Answer):
        return value
    value = plain(value, "reply")
    return Answer(value if isinstance(value, str) else json_text(value))


def _tokens(text: str) -> int:
    return len(_TOKEN.findall(text)) if text else 0


def count_usage(sent: str, answer: Answer, *, seconds: float) -> dict[str, Any]:
    """Token usage in the documented shape. A token is a word or a mark, so equal runs count equally.

    Args:
        sent: What the run was given, as text.
        answer: What it answers.
        seconds: How long that took.
    """
    prompt, reasoning, text = _tokens(sent), _tokens(answer.reasoning), _tokens(answer.text)
    return {
        "duration": round(seconds, 3),
        "prompt_tokens": {"total_tokens": prompt, "cached_tokens": 0},
        "completion_tokens": {"total_tokens": reasoning + text, "reasoning_tokens": reasoning},
        "total_tokens": prompt + reasoning + text,
    }
