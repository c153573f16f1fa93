"""What streams yield: one class per `type`, `UnknownEvent` for the rest.

Like results they are typed by attribute and the service's JSON by key: `event.response`, `event["response"]`.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, Union, cast

from pydantic import Field, TypeAdapter, ValidationError

from .answers import keep, read_object
from .results import (
    AutoApprovedToolCall,
    DeniedToolCall,
    GeneratedArtifact,
    PendingToolApproval,
    Result,
    Usage,
    make_tolerantly,
)

__all__ = [
    "ArtifactEvent",
    "ErrorEvent",
    "ReasoningEvent",
    "ResponseEvent",
    "StreamEvent",
    "SummaryEvent",
    "ToolApprovalEvent",
    "ToolEvent",
    "UnknownEvent",
    "UsageEvent",
]


class Event(Result, frozen=True):
    """Base of all events. `request_id` is the run's id, where the event carries it."""

    request_id: str | None = None


class ReasoningEvent(Event, frozen=True):
    """A piece of the model's reasoning, in `response`. `done` marks an agent's last piece."""

    type: Literal["reasoning"] = "reasoning"
    response: str = ""
    model: str | None = None
    done: bool | None = None


class ResponseEvent(Event, frozen=True):
    """A piece of the answer's text, in `response`. `done` marks an agent's last piece."""

    type: Literal["response"] = "response"
    response: str = ""
    model: str | None = None
    done: bool | None = None


class ToolEvent(Event, frozen=True):
    """A tool that an agent used: its name in `tool`, what it answered as JSON text in `observation`."""

    type: Literal["tool"] = "tool"
    tool: str = ""
    tool_id: str | None = None
    tool_type: str | None = None
    tool_input: Any = None
    observation: str = ""


class ArtifactEvent(Event, frozen=True):
    """A file that an agent made."""

    type: Literal["artifact"] = "artifact"
    artifact: GeneratedArtifact | None = None


class ToolApprovalEvent(Event, frozen=True):
    """A tool call of an agent that waits for a decision."""

    type: Literal["tool_approval"] = "tool_approval"
    approval: PendingToolApproval | None = None


class SummaryEvent(Event, frozen=True):
    """The thread's history was compressed to fit the model; token counts are before and at most."""

    type: Literal["summary"] = "summary"
    summary_text: str = ""
    original_token_count: int | None = None
    context_limit: int | None = None
    provider: str | None = None
    model: str | None = None


class UsageEvent(Event, frozen=True):
    """The end of the answer: tokens and time, and for agents the state of the run."""

    type: Literal["usage"] = "usage"
    usage: Usage | None = None
    stop_reason: str | None = None
    status: str | None = None
    run_id: str | None = None
    thread_id: str | None = None
    tool_approval: str | None = None
    pending_tool_approvals: tuple[PendingToolApproval, ...] = ()
    denied_tool_calls: tuple[DeniedToolCall, ...] = ()
    auto_approved_tool_calls: tuple[AutoApprovedToolCall, ...] = ()


class ErrorEvent(Event, frozen=True):
    """The run failed. The stream raises `StreamFailedError` at its next step."""

    type: Literal["error"] = "error"
    error: str = ""
    message: str | None = None
    error_code: str | None = None


class UnknownEvent(Event, frozen=True):
    """An event of a type this SDK does not know; its JSON is there by key."""

    type: str = ""


KnownEvent = Union[
    ReasoningEvent,
    ResponseEvent,
    ToolEvent,
    ArtifactEvent,
    ToolApprovalEvent,
    SummaryEvent,
    UsageEvent,
    ErrorEvent,
]
StreamEvent = Union[KnownEvent, UnknownEvent]
"""Any event of a stream; tell them apart by `event.type`, `isinstance` or `match`."""

_KNOWN_TYPES = ("reasoning", "response", "tool", "artifact", "tool_approval", "summary", "usage", "error")
_TaggedEvent = Annotated[KnownEvent, Field(discriminator="type")]


@cache
def _validator() -> Any:
    return TypeAdapter(_TaggedEvent).validator  # built when the first event comes; the adapter itself would add a call


def read_event(data: bytes) -> StreamEvent:
    """Read the data of one server-sent event.

    Raises:
        ValueError: It is not a JSON object.
    """
    event: StreamEvent | None
    try:
        event = _validator().validate_json(data)
    except ValidationError:
        event = None  # read on outside of the handler: no error shall show this one, which may quote secrets
    if event is None:
        event = _read_tolerantly(read_object(data))
    keep(event, "_json", data)
    return event


def _read_tolerantly(fields: dict[str, Any]) -> StreamEvent:
    if fields.get("type") in _KNOWN_TYPES:
        return cast("StreamEvent", make_tolerantly(_validator().validate_python, fields, tagged=True))
    # An error without a type is an error all the same.
    cls = ErrorEvent if "error" in fields and "type" not in fields else UnknownEvent
    return cast("StreamEvent", make_tolerantly(cls.model_validate, fields))
