"""Asks a sandbox's engine directly, and reads what it answers: no server, no client, no socket."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from fetch_hive_sdk.sandbox import Run, Sandbox
from fetch_hive_sdk.sandbox.runs import Reply

URL = "https://example.com/callback"
PROMPT: dict[str, Any] = {
    "deployment": "support-classifier",
    "variant": "default",
    "inputs": {"ticket_text": "The export button is disabled."},
}
WORKFLOW: dict[str, Any] = {
    "deployment": "research-brief",
    "variant": "default",
    "inputs": {"topic": "AI infrastructure trends"},
}
DELIVERED: dict[str, Any] = {**WORKFLOW, "async": {"enabled": True, "callback_url": URL}}
AGENT: dict[str, Any] = {"agent": "AGENT_UUID", "message": "Summarize this account before renewal."}
HIVE_AGENT: dict[str, Any] = {
    "hive_agent": "HIVE_UUID",
    "objective": "Compare three vendors.",
    "async": {"enabled": True, "callback_url": URL},
}
BODIES: dict[str, dict[str, Any]] = {
    "prompt": PROMPT,
    "workflow": WORKFLOW,
    "agent": AGENT,
    "hive-agent": HIVE_AGENT,
}
KEY = {"Authorization": "Bearer fhk_test"}
START = datetime(2026, 6, 1, tzinfo=timezone.utc)


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now += timedelta(seconds=seconds)


def counted_ids() -> Iterator[str]:
    """Request ids that count from 1."""
    return (f"req_{number:032x}" for number in itertools.count(1))


def ticking_sandbox(**options: Any) -> Sandbox:
    """A sandbox where each look at the clock is one second later, and ids are counted."""
    seconds = itertools.count()
    ids = counted_ids()
    return Sandbox(clock=lambda: START + timedelta(seconds=next(seconds)), new_request_id=lambda: next(ids), **options)


def ask(
    sandbox: Sandbox,
    kind: str,
    body: object,
    *,
    method: str = "POST",
    path: str | None = None,
    headers: Mapping[str, str] = KEY,
) -> Reply:
    """The reply to one request; by default the right method, path and key."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return sandbox.engine.handle(method, path or f"/v1/{kind}/invoke", headers, content)


def read(reply: Reply) -> Any:
    """The JSON a reply carries."""
    assert isinstance(reply.body, bytes)
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    return json.loads(reply.body)


def invoke(sandbox: Sandbox, kind: str, **more: object) -> Any:
    """The JSON an ordinary request of a kind is answered with."""
    return read(ask(sandbox, kind, {**BODIES[kind], **more}))


def look_up(sandbox: Sandbox, path: str) -> Any:
    """The JSON a GET below `/v1` is answered with."""
    reply = ask(sandbox, "", b"", method="GET", path=f"/v1{path}")
    assert reply.status == 200
    return read(reply)


def events_of(reply: Reply) -> list[Any]:
    """The events of a streamed reply; `[DONE]` stands for itself."""
    assert not isinstance(reply.body, bytes)
    assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    events: list[Any] = []
    for chunk in reply.body:
        if isinstance(chunk, bytes):
            data = re.fullmatch(r"data: (.+)\n\n", chunk.decode())
            assert data is not None
            events.append(data[1] if data[1] == "[DONE]" else json.loads(data[1]))
    return events


def stream(sandbox: Sandbox, kind: str, **more: object) -> list[Any]:
    """The events of an ordinary streamed request of a kind."""
    return events_of(ask(sandbox, kind, {**BODIES[kind], "streaming": True, **more}))


def go_on(sandbox: Sandbox, reply: Reply) -> Run:
    """Let the run behind a reply go on, as a door does once the reply is sent; and the run as it is then."""
    assert reply.unfinished is not None
    sandbox.engine.release(reply.unfinished)
    sandbox.engine.settle()
    run = sandbox.engine.run(reply.unfinished)
    assert run is not None
    return run


def told(sandbox: Sandbox) -> list[tuple[str, Any]]:
    """Event type and data of each callback, in their order."""
    return [(callback.event_type, json.loads(callback.body)["data"]) for callback in sandbox.callbacks]


def timeline(run: Run) -> list[str]:
    """What happened to a run, in words."""
    return [moment.what for moment in run.timeline]
