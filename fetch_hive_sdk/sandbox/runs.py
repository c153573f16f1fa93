"""What the sandbox remembers of a run and of what belongs to it. Every record is a snapshot and never changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar

from .answers import Answer
from .chunks import Chunk

__all__ = [
    "ENDED",
    "Approval",
    "Callback",
    "CallbackAttempt",
    "Delegation",
    "HttpRequest",
    "HumanStep",
    "Kind",
    "Metadata",
    "Moment",
    "Refused",
    "Reply",
    "Run",
    "Status",
    "with_changes",
]

Kind = Literal["prompt", "workflow", "agent", "hive_agent"]
Status = Literal["queued", "running", "paused", "awaiting_approval", "completed", "failed", "cancelled"]
Metadata = Mapping[str, "str | int | float | bool | None"]

ENDED: tuple[Status, ...] = ("completed", "failed", "cancelled")

RecordT = TypeVar("RecordT")


def with_changes(record: RecordT, **changes: Any) -> RecordT:
    """A copy of a record with some fields changed: `dataclasses.replace` in a tenth of its time, without its checks.

    Args:
        record: A frozen dataclass of this sandbox.
        changes: Fields that it has, and values that are right.
    """
    copy = object.__new__(type(record))
    vars(copy).update(vars(record), **changes)
    return copy


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """A request as it came, without the key and the webhook secret.

    Attributes:
        method: HTTP method.
        path: The path with its query string; a `secret` in it is left out.
        headers: `Content-Type`, `Accept` and `User-Agent`, as far as they were sent.
        body: The exact body.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP reply.

    Attributes:
        status: HTTP status.
        headers: Its headers. `Content-Length` is among them only where it is a lie.
        body: All of it, or the chunks of a stream in their order. Not in `repr`: it may carry a webhook
            secret.
        unfinished: Request id of a run that goes on once this reply is sent, by `Engine.release`; else None.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | Iterable[Chunk] = field(repr=False)
    unfinished: str | None = None


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A request that was refused, so that no run began.

    Attributes:
        at: When.
        request: What was asked. Of its body the first 64 KiB are kept; without an accepted key, nothing.
        status: HTTP status of the refusal.
        error: Its text.
        error_code: Its stable code, if it has one.
    """

    at: datetime
    request: HttpRequest
    status: int
    error: str
    error_code: str | None = None


@dataclass(frozen=True, kw_only=True)
class CallbackAttempt:
    """One attempt to deliver a callback.

    Attributes:
        started_at: When it began.
        duration: Seconds it took.
        status_code: What the receiver answered; None if it did not, or was not contacted.
        error: Why there is no answer; None if there is one.
        withheld: True if nothing was contacted, because the host is neither loopback nor allowed.
        response: The first 2,000 characters of what the receiver answered.
    """

    started_at: datetime
    duration: float
    status_code: int | None = None
    error: str | None = None
    withheld: bool = False
    response: str = ""

    @property
    def accepted(self) -> bool:
        """True if the receiver answered 2xx."""
        return self.status_code is not None and 200 <= self.status_code < 300


@dataclass(frozen=True, kw_only=True)
class Callback:
    """A signed callback, ready for `client.post(path, content=callback.body, headers=callback.headers)`.

    Attributes:
        id: A UUID of its own, known to the sandbox alone.
        url: The run's `callback_url`.
        body: The exact bytes that were signed.
        headers: `Content-Type` and `X-Fetch-Hive-Signature`.
        event_type: Such as `workflow.completed`; also in the body.
        request_id: The run it belongs to; also in the body.
        pending: True until a server has delivered it, given it up or withheld it. The transport delivers nothing.
        attempts: What the server tried so far, oldest first. Always empty in the transport.
    """

    id: str
    url: str
    body: bytes
    headers: Mapping[str, str]
    event_type: str
    request_id: str
    pending: bool = True
    attempts: tuple[CallbackAttempt, ...] = ()

    @property
    def delivered(self) -> bool:
        """True once a receiver has answered 2xx."""
        return any(attempt.accepted for attempt in self.attempts)


@dataclass(frozen=True, kw_only=True)
class HumanStep:
    """A workflow's pause until somebody chooses.

    Attributes:
        question: What is asked.
        options: What may be chosen.
        expires_at: When the wait ends; None: never.
        on_timeout: What happens then: the run fails, or goes on without a choice.
        choice: What was chosen; None while it is open, and after a timeout.
        chosen_at: When; also the time of a timeout.
    """

    question: str
    options: tuple[str, ...]
    expires_at: datetime | None = None
    on_timeout: Literal["fail", "continue"] = "fail"
    choice: str | None = None
    chosen_at: datetime | None = None

    @property
    def open(self) -> bool:
        """True while the choice is awaited."""
        return self.chosen_at is None


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A tool call of an agent that waits, or waited, for a decision.

    Attributes:
        id: A UUID.
        request_id: The run that waits.
        agent: Its agent.
        tool_name: The tool.
        summary: What it is about to do, in words.
        arguments: What it is called with.
        destructive: True if a human must always be asked, `auto_approve` or not.
        status: `pending`, `allowed` or `denied`.
        created_at: When it was asked for.
        decided_at: When it was decided.
        decided_via: `api` or `dashboard`.
    """

    id: str
    request_id: str
    agent: str
    tool_name: str
    summary: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    destructive: bool = False
    status: Literal["pending", "allowed", "denied"] = "pending"
    created_at: datetime
    decided_at: datetime | None = None
    decided_via: Literal["api", "dashboard"] | None = None


@dataclass(frozen=True, kw_only=True)
class Delegation:
    """A workflow that an agent started in the background.

    Attributes:
        id: A UUID.
        parent_request_id: The agent's run.
        request_id: The workflow's run.
        thread_id: The thread of the agent's run, if it has one.
        tool_call_id: Which tool call began it.
        name: The workflow's deployment.
        status: As the service names it.
        result: What came out: `{"output": …}` or `{"error": …}`; None while it runs.
        created_at: When it began.
        delivered_at: When a receiver accepted its callback.
        delivery_error: Why its callback was not accepted.
    """

    id: str
    parent_request_id: str
    request_id: str
    thread_id: str | None
    tool_call_id: str
    name: str
    status: Literal["pending", "running", "completed", "failed", "cancelled", "expired"] = "running"
    result: Mapping[str, Any] | None = None
    created_at: datetime
    delivered_at: datetime | None = None
    delivery_error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One line of a run's timeline: when, and what happened in plain words, such as "Started"."""

    at: datetime
    what: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """One accepted run. A refused request is none: the service refuses before a run starts.

    Attributes:
        kind: `"prompt"`, `"workflow"`, `"agent"` or `"hive_agent"`.
        request_id: `req_` and 32 hexadecimal digits.
        trigger: What started it: an `api` call, a `webhook` trigger, or an agent's `delegation`.
        deployment: Deployment of a prompt or workflow; None for agents.
        variant: Its variant; None if none was sent, which only a lenient sandbox accepts, and for agents.
        agent: The agent or hive agent; None for prompts and workflows.
        inputs: Inputs of a prompt or workflow.
        message: Message to an agent, objective of a hive agent; else None.
        thread_id: Thread of an agent, if one was sent.
        metadata: The caller's metadata.
        user: The caller's user id, if any.
        request: The whole request body.
        http: The request as it came over HTTP; None for a delegation.
        status: `queued`, `running`, `paused` (for a human's choice), `awaiting_approval`, `completed`,
            `failed` or `cancelled`.
        reply: The HTTP reply; None until it is made.
        answer: What the run came to, with its `usage` counted; None while it runs.
        started_at: When it was accepted.
        ended_at: When it ended; None while it runs.
        human_step: The choice it waits for, or waited for.
        timeline: What happened to it, oldest first.
        callbacks: What is to be told about its end, if it was asked for with callback delivery.
        approvals: Tool calls that wait for a decision, or waited.
        delegations: Workflows it started in the background.
    """

    kind: Kind
    request_id: str
    trigger: Literal["api", "webhook", "delegation"] = "api"
    deployment: str | None = None
    variant: str | None = None
    agent: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    message: str | None = None
    thread_id: str | None = None
    metadata: Metadata = field(default_factory=dict[str, "str | int | float | bool | None"])
    user: str | None = None
    request: Mapping[str, Any]
    http: HttpRequest | None = None
    status: Status = "running"
    reply: Reply | None = None
    answer: Answer | None = None
    started_at: datetime
    ended_at: datetime | None = None
    human_step: HumanStep | None = None
    timeline: tuple[Moment, ...] = ()
    callbacks: tuple[Callback, ...] = ()
    approvals: tuple[Approval, ...] = ()
    delegations: tuple[Delegation, ...] = ()

    @property
    def name(self) -> str:
        """The deployment, or the agent."""
        return self.agent or self.deployment or ""

    @property
    def ended(self) -> bool:
        """True once nothing more happens to it but the delivery of its callbacks."""
        return self.status in ENDED
