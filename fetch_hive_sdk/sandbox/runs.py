"""What the sandbox remembers of a run and of its callbacks. Every record is a snapshot and never changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from .answers import Answer

__all__ = ["Callback", "CallbackAttempt", "Kind", "Reply", "Run"]

Kind = Literal["prompt", "workflow", "agent"]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP reply.

    Attributes:
        status: HTTP status.
        headers: Its headers, without `Content-Length`.
        body: All of it, or the chunks of a stream in their order. Not in `repr`: it may carry a webhook
            secret.
        unfinished: Request id of a run that goes on after this reply, by `Engine.finish`; else None.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | Iterable[bytes] = field(repr=False)
    unfinished: str | None = None


@dataclass(frozen=True, kw_only=True)
class CallbackAttempt:
    """One attempt to deliver a callback.

    Attributes:
        started_at: When it began.
        duration: Seconds it took.
        status_code: What the receiver answered; None if it did not, or was not contacted.
        error: Why there is no answer; None if there is one.
        withheld: True if nothing was contacted, because the host is neither loopback nor allowed.
    """

    started_at: datetime
    duration: float
    status_code: int | None = None
    error: str | None = None
    withheld: bool = False

    @property
    def accepted(self) -> bool:
        """True if the receiver answered 2xx."""
        return self.status_code is not None and 200 <= self.status_code < 300


@dataclass(frozen=True, kw_only=True)
class Callback:
    """A signed callback, ready for `client.post(path, content=callback.body, headers=callback.headers)`.

    Attributes:
        url: The run's `callback_url`.
        body: The exact bytes that were signed.
        headers: `Content-Type` and `X-Fetch-Hive-Signature`.
        event_type: Such as `workflow.completed`; also in the body.
        request_id: The run it belongs to; also in the body.
        attempts: What the server tried so far, oldest first. Always empty in the transport, which delivers
            nothing.
    """

    url: str
    body: bytes
    headers: Mapping[str, str]
    event_type: str
    request_id: str
    attempts: tuple[CallbackAttempt, ...] = ()

    @property
    def delivered(self) -> bool:
        """True once a receiver has answered 2xx."""
        return any(attempt.accepted for attempt in self.attempts)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One accepted run. A refused request is none: the service refuses before a run starts.

    Attributes:
        kind: `"prompt"`, `"workflow"` or `"agent"`.
        request_id: `req_` and 32 hexadecimal digits.
        deployment: Deployment of a prompt or workflow; None for agents.
        variant: Its variant; None if none was sent, which only a lenient sandbox accepts, and for agents.
        agent: The agent; None for prompts and workflows.
        inputs: Inputs of a prompt or workflow.
        message: Message to an agent; else None.
        metadata: The caller's metadata.
        user: The caller's user id, if any.
        request: The whole request body.
        status: `"running"`, `"completed"` or `"failed"`.
        reply: The HTTP reply; None until it is made.
        answer: What the run came to, with its `usage` counted; None while it runs.
        started_at: When it was accepted.
        ended_at: When it ended; None while it runs.
        callbacks: What is to be told about its end, if it was asked for with callback delivery.
    """

    kind: Kind
    request_id: str
    deployment: str | None = None
    variant: str | None = None
    agent: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    message: str | None = None
    metadata: Mapping[str, str | int | float | bool | None] = field(
        default_factory=dict[str, "str | int | float | bool | None"]
    )
    user: str | None = None
    request: Mapping[str, Any]
    status: Literal["running", "completed", "failed"] = "running"
    reply: Reply | None = None
    answer: Answer | None = None
    started_at: datetime
    ended_at: datetime | None = None
    callbacks: tuple[Callback, ...] = ()
