"""The course of a run: places and queues, cancelling, jobs of a server, listeners."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from fetch_hive_sdk.errors import ConfigurationError, InvalidRequestError
from fetch_hive_sdk.sandbox import Answer, CallbackAttempt, Sandbox
from fetch_hive_sdk.sandbox.changes import Change
from fetch_hive_sdk.sandbox.lifecycle import Job

from .sandbox_requests import (
    BODIES,
    DELIVERED,
    KEY,
    PROMPT,
    START,
    WORKFLOW,
    ask,
    go_on,
    invoke,
    look_up,
    read,
    ticking_sandbox,
    timeline,
    told,
)

CONCURRENCY = "You've reached your concurrency limit. Try again later or use async mode."


@pytest.fixture
def sandbox() -> Sandbox:
    return ticking_sandbox()


@pytest.fixture
def lite() -> Sandbox:
    """A sandbox in which one workflow may run at once."""
    return ticking_sandbox(plan="lite")


def statuses(sandbox: Sandbox) -> list[str]:
    return [run.status for run in sandbox.runs]


# --- places -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("plan", "places"), [("lite", 1), ("starter", 3), ("pro", 5)])
def test_a_plan_has_so_many_places(plan: str, places: int) -> None:
    """Over the plan's limit a direct workflow gets the documented 429, and prompts and agents run as ever."""
    sandbox = ticking_sandbox(plan=plan)
    for _ in range(places):
        assert read(ask(sandbox, "workflow", DELIVERED))["run_status"] == "running"
    refused = ask(sandbox, "workflow", WORKFLOW)
    assert refused.status == 429
    assert read(refused) == {"error": CONCURRENCY}
    assert "Retry-After" not in refused.headers
    assert read(ask(sandbox, "workflow", DELIVERED))["run_status"] == "queued"
    for kind, status in (("prompt", 200), ("agent", 200), ("hive-agent", 202)):
        assert ask(sandbox, kind, BODIES[kind]).status == status
    assert statuses(sandbox)[: places + 1] == ["running"] * places + ["queued"]


def test_a_queued_run_begins_when_a_place_frees(lite: Sandbox) -> None:
    """Runs over the limit wait in the order in which they came, and each begins when the one before has ended."""
    ran: list[str] = []

    def brief(inputs: dict[str, Any]) -> str:
        ran.append(inputs["topic"])
        running = [run.inputs["topic"] for run in lite.engine.runs if run.status == "running"]
        assert running == [inputs["topic"]]
        return ""

    lite.workflow("research-brief", reply=brief)
    replies = [ask(lite, "workflow", {**DELIVERED, "inputs": {"topic": topic}}) for topic in "abc"]
    assert [read(reply)["run_status"] for reply in replies] == ["running", "queued", "queued"]
    for reply in reversed(replies[1:]):
        lite.engine.release(reply.unfinished or "")
    assert statuses(lite) == ["running", "queued", "queued"]
    assert timeline(go_on(lite, replies[0])) == ["Accepted", "Started", "Completed"]
    assert ran == ["a", "c", "b"]
    assert [timeline(run) for run in lite.runs[1:]] == [["Accepted", "Queued", "Started", "Completed"]] * 2
    assert len(lite.callbacks) == 3


def test_a_direct_workflow_frees_its_place_for_a_queued_one(lite: Sandbox) -> None:
    """A run that was queued behind a direct workflow begins when that has answered."""

    @lite.workflow("research-brief")
    def brief(inputs: dict[str, Any]) -> str:
        reply = ask(lite, "workflow", {**DELIVERED, "deployment": "other"})
        assert go_on(lite, reply).status == "queued"
        return "A brief."

    assert invoke(lite, "workflow")["output"] == "A brief."
    assert statuses(lite) == ["completed", "completed"]
    assert callable(brief)


def test_a_direct_workflow_that_is_interrupted_frees_its_place(lite: Sandbox) -> None:
    """An interrupted run lets the queued one begin too."""

    def interrupt(inputs: dict[str, Any]) -> str:
        lite.engine.release(ask(lite, "workflow", {**DELIVERED, "deployment": "other"}).unfinished or "")
        raise KeyboardInterrupt

    lite.workflow("research-brief", reply=interrupt)
    with pytest.raises(KeyboardInterrupt):
        invoke(lite, "workflow")
    assert statuses(lite) == ["failed", "completed"]


def test_a_queued_run_keeps_its_reply(lite: Sandbox) -> None:
    """The reply of a queued run is `queued`, with the secret; the look-up tells when it really began."""
    ask(lite, "workflow", DELIVERED)
    reply = ask(lite, "workflow", DELIVERED)
    assert read(reply) == {
        "request_id": reply.unfinished,
        "run_status": "queued",
        "webhook_secret": lite.webhook_secret("research-brief"),
    }
    looked_up = look_up(lite, f"/public/requests/{reply.unfinished}")
    assert (looked_up["status"], looked_up["started_at"], looked_up["data"]) == ("queued", None, None)


def test_releasing_twice_runs_once(sandbox: Sandbox) -> None:
    """However often a run is released and carried on, its reply is computed once and told once."""
    computed: list[object] = []

    def brief(inputs: dict[str, Any]) -> str:
        computed.append(inputs)
        return "A brief."

    sandbox.workflow("research-brief", reply=brief)
    reply = ask(sandbox, "workflow", DELIVERED)
    for _ in range(2):
        sandbox.engine.release(reply.unfinished or "")
    go_on(sandbox, reply)
    sandbox.engine.lifecycle.finish(reply.unfinished or "")
    assert (len(computed), len(sandbox.callbacks)) == (1, 1)


def test_releasing_a_queued_run_twice_runs_once(lite: Sandbox) -> None:
    """A run that stands in the queue twice begins once."""
    first, second = (ask(lite, "workflow", DELIVERED) for _ in range(2))
    for _ in range(2):
        lite.engine.release(second.unfinished or "")
    go_on(lite, first)
    assert [timeline(run).count("Started") for run in lite.runs] == [1, 1]
    assert len(lite.callbacks) == 2


def test_a_run_is_carried_on_once_at_a_time(sandbox: Sandbox) -> None:
    """Carrying on a run that is being carried on does nothing."""

    @sandbox.workflow("research-brief")
    def brief(inputs: dict[str, Any]) -> str:
        sandbox.engine.lifecycle.finish(sandbox.engine.runs[0].request_id)
        return "A brief."

    go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    assert (statuses(sandbox), len(sandbox.callbacks)) == (["completed"], 1)
    assert callable(brief)


def test_seconds_pass_where_a_run_has_a_duration(sandbox: Sandbox) -> None:
    """What a run is to take is waited for: before a direct reply, and before the end of one that was accepted."""
    sandbox.workflow("research-brief", reply=Answer("A brief.", duration=2.5))
    waited: list[float] = []
    body = json.dumps(WORKFLOW).encode()
    sandbox.engine.handle("POST", "/v1/workflow/invoke", KEY, body, wait=waited.append)
    run_id = ask(sandbox, "workflow", DELIVERED).unfinished or ""
    sandbox.engine.lifecycle.finish(run_id, wait=waited.append)
    assert (waited, statuses(sandbox)) == ([2.5, 2.5], ["completed", "completed"])


class Stopped(BaseException):
    """The server stops while a run takes its time."""


def stop(_seconds: float) -> None:
    raise Stopped


def test_a_wait_that_is_broken_off_ends_a_direct_run(sandbox: Sandbox) -> None:
    """A direct run whose server stops is marked failed with the reason; nobody waits for its reply."""
    sandbox.prompt("support-classifier", reply=Answer("billing", duration=2.5))
    with pytest.raises(Stopped):
        sandbox.engine.handle("POST", "/v1/prompt/invoke", KEY, json.dumps(PROMPT).encode(), wait=stop)
    [run] = sandbox.runs
    assert (run.status, run.answer and run.answer.error) == ("failed", "The sandbox was stopped while this ran")


def test_a_wait_that_is_broken_off_is_made_good(sandbox: Sandbox) -> None:
    """A run that was accepted is carried on by whoever comes after the server that stopped."""
    sandbox.workflow("research-brief", reply=Answer("A brief.", duration=2.5))
    request_id = ask(sandbox, "workflow", DELIVERED).unfinished or ""
    with pytest.raises(Stopped):
        sandbox.engine.lifecycle.finish(request_id, wait=stop)
    assert statuses(sandbox) == ["completed"]


# --- cancelling ---------------------------------------------------------------------------------------


def test_a_run_can_be_cancelled(sandbox: Sandbox) -> None:
    """A cancelled workflow calls back as failed, and does not run when its turn comes."""
    run = sandbox.cancel(ask(sandbox, "workflow", DELIVERED).unfinished or "")
    assert (run.status, timeline(run)) == ("cancelled", ["Accepted", "Started", "Cancelled"])
    sandbox.engine.release(run.request_id)
    assert told(sandbox) == [("workflow.failed", {"error": "The run was cancelled", "run_status": "failed"})]
    looked_up = look_up(sandbox, f"/public/requests/{run.request_id}")
    assert (looked_up["status"], looked_up["message"]) == ("cancelled", "The run was cancelled")


def test_a_queued_run_can_be_cancelled(lite: Sandbox) -> None:
    """A run that is cancelled in the queue never begins."""
    first = ask(lite, "workflow", DELIVERED)
    second = ask(lite, "workflow", DELIVERED)
    lite.engine.release(second.unfinished or "")
    assert lite.cancel(second.unfinished or "").status == "cancelled"
    go_on(lite, first)
    assert statuses(lite) == ["completed", "cancelled"]
    assert "Started" not in timeline(lite.runs[1])


def test_cancelling_frees_the_place(lite: Sandbox) -> None:
    """When the run is cancelled that holds the place, the queued one begins."""
    first = ask(lite, "workflow", DELIVERED)
    lite.engine.release(ask(lite, "workflow", DELIVERED).unfinished or "")
    lite.cancel(first.unfinished or "")
    assert statuses(lite) == ["cancelled", "completed"]


def test_a_direct_run_that_is_cancelled_answers_so(sandbox: Sandbox) -> None:
    """Whoever waits for a run that somebody cancels is answered with an error, which the record keeps."""

    @sandbox.workflow("research-brief")
    def brief(inputs: dict[str, Any]) -> str:
        sandbox.cancel(sandbox.engine.runs[0].request_id)
        return "A brief."

    reply = ask(sandbox, "workflow", WORKFLOW)
    assert (reply.status, read(reply)["error"]) == (422, "The run was cancelled")
    assert (sandbox.runs[0].status, sandbox.runs[0].reply) == ("cancelled", reply)
    assert callable(brief)


def test_a_run_that_is_cancelled_while_it_is_carried_on_stays_so(sandbox: Sandbox) -> None:
    """What a cancelled run comes to is not told, and its reply is the one that was sent."""

    @sandbox.workflow("research-brief")
    def brief(inputs: dict[str, Any]) -> str:
        sandbox.cancel(sandbox.engine.runs[0].request_id)
        return "A brief."

    reply = ask(sandbox, "workflow", DELIVERED)
    run = go_on(sandbox, reply)
    assert (run.status, run.reply, len(sandbox.callbacks)) == ("cancelled", reply, 1)
    assert callable(brief)


def test_what_has_ended_cannot_be_cancelled(sandbox: Sandbox) -> None:
    """Cancelling a run that has ended, or is not there, is an error that says so."""
    invoke(sandbox, "prompt")
    with pytest.raises(InvalidRequestError, match="already ended"):
        sandbox.cancel(sandbox.runs[0].request_id)
    with pytest.raises(InvalidRequestError, match="not found"):
        sandbox.cancel("req_nothing")


# --- jobs and callbacks -------------------------------------------------------------------------------


def test_a_server_does_the_jobs(sandbox: Sandbox) -> None:
    """With a server attached, runs and callbacks are its jobs: it is notified, and `settle` leaves them to it."""
    lifecycle = sandbox.engine.lifecycle
    noticed: list[Job | None] = []
    go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    [before] = sandbox.callbacks
    lifecycle.attach(lambda: noticed.append(lifecycle.next_job()))
    assert noticed == [Job("callback", before.id)]
    reply = ask(sandbox, "workflow", DELIVERED)
    sandbox.engine.release(reply.unfinished or "")
    sandbox.engine.settle()
    assert noticed[1:] == [Job("run", reply.unfinished or "")]
    assert statuses(sandbox) == ["completed", "running"]
    lifecycle.finish(reply.unfinished or "")
    assert noticed[2:] == [Job("callback", sandbox.callbacks[1].id)]
    assert lifecycle.idle


def test_what_a_server_leaves_undone_is_done_after_it(sandbox: Sandbox) -> None:
    """Jobs of a server that stops, taken ones too, go to the next: runs go on, callbacks are delivered."""
    lifecycle = sandbox.engine.lifecycle
    lifecycle.attach(lambda: None)
    for _ in range(2):
        sandbox.engine.release(ask(sandbox, "workflow", DELIVERED).unfinished or "")
    assert lifecycle.next_job() is not None
    lifecycle.detach()
    assert not lifecycle.idle
    assert statuses(sandbox) == ["completed", "completed"]
    lifecycle.attach(lambda: None)
    assert [lifecycle.next_job() for _ in range(3)] == [
        *(Job("callback", callback.id) for callback in sandbox.callbacks),
        None,
    ]


def test_redelivery_needs_a_server_and_a_callback(sandbox: Sandbox) -> None:
    """A callback is delivered again by a server alone; one that is forgotten is not found."""
    lifecycle = sandbox.engine.lifecycle
    go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    [callback] = sandbox.callbacks
    attempt = CallbackAttempt(started_at=START, duration=0.1, status_code=200)
    lifecycle.record_attempt(callback, attempt, pending=False)
    with pytest.raises(InvalidRequestError, match="No server runs"):
        sandbox.redeliver(callback)
    lifecycle.attach(lambda: None)
    assert sandbox.engine.redeliver(callback.id).pending
    assert sandbox.callbacks[0].pending
    assert lifecycle.next_job() == Job("redelivery", callback.id)
    sandbox.reset()
    with pytest.raises(InvalidRequestError, match="Callback not found"):
        sandbox.redeliver(callback)


def test_a_reset_forgets_what_was_to_be_done(lite: Sandbox) -> None:
    """After a reset nothing is queued, waits or holds a place."""
    lite.workflow("research-brief", reply="A brief.", human_in_the_loop=True)
    go_on(lite, ask(lite, "workflow", DELIVERED))
    for _ in range(3):
        lite.engine.release(ask(lite, "workflow", {**DELIVERED, "deployment": "other"}).unfinished or "")
    lite.reset()
    assert (lite.runs, lite.engine.lifecycle.idle, lite.engine.lifecycle.next_deadline()) == ([], True, None)
    assert read(ask(lite, "workflow", DELIVERED))["run_status"] == "running"


@pytest.mark.parametrize("body", [WORKFLOW, DELIVERED])
def test_a_reset_while_a_run_is_under_way(sandbox: Sandbox, body: dict[str, Any]) -> None:
    """A run that is reset while it runs answers whoever waits, and leaves no trace."""

    def reset(inputs: dict[str, Any]) -> str:
        sandbox.reset()
        return "A brief."

    sandbox.workflow("research-brief", reply=reset)
    reply = ask(sandbox, "workflow", body)
    if reply.unfinished:
        sandbox.engine.release(reply.unfinished)
        sandbox.engine.settle()
    else:
        assert read(reply)["output"] == "A brief."
    assert (sandbox.runs, sandbox.callbacks) == ([], [])


# --- listeners ----------------------------------------------------------------------------------------


def test_listeners_hear_of_each_change(sandbox: Sandbox) -> None:
    """A listener hears of runs, callbacks, refusals and resets, and of nothing more once it is let go."""
    heard: list[Change] = []
    unsubscribe = sandbox.engine.subscribe(heard.append)
    run = go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    assert set(heard) == {Change("run", run.request_id)}
    heard.clear()
    attempt = CallbackAttempt(started_at=START, duration=0.1, status_code=200)
    sandbox.engine.lifecycle.record_attempt(run.callbacks[0], attempt, pending=False)
    ask(sandbox, "prompt", {})
    sandbox.reset()
    assert heard == [Change("callback", run.request_id), Change("refused"), Change("reset")]
    unsubscribe()
    unsubscribe()
    invoke(sandbox, "prompt")
    assert len(heard) == 3


def test_a_listener_may_use_the_sandbox_and_leave(sandbox: Sandbox) -> None:
    """A listener is called after the change is written: it may read it, start runs, and end its own listening."""
    seen: list[str] = []

    def listen(change: Change) -> None:
        unsubscribe()
        seen.extend(run.status for run in sandbox.runs)
        invoke(sandbox, "agent")

    sandbox.prompt("support-classifier", reply=lambda _inputs: "billing")
    unsubscribe = sandbox.engine.subscribe(listen)
    invoke(sandbox, "prompt")
    assert seen == ["running"]
    assert statuses(sandbox) == ["completed", "completed"]


def test_a_listener_that_fails_stops_nothing(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """What a listener raises is logged; runs, refusals and the other listeners go on."""

    def fail(change: Change) -> None:
        raise LookupError("nobody is there")

    heard: list[Change] = []
    sandbox.engine.subscribe(fail)
    sandbox.engine.subscribe(heard.append)
    with caplog.at_level(logging.ERROR, "fetch_hive_sdk"):
        run = go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
        assert ask(sandbox, "prompt", {}).status == 400
    assert (run.status, len(run.callbacks)) == ("completed", 1)
    assert heard[-1] == Change("refused")
    assert len(caplog.records) == len(heard)
    assert "nobody is there" in caplog.text


def test_a_second_server_is_refused() -> None:
    """While one server does a sandbox's jobs there can be no other; after it, there can."""
    lifecycle = Sandbox().engine.lifecycle
    lifecycle.attach(lambda: None)
    with pytest.raises(ConfigurationError, match="served already"):
        lifecycle.attach(lambda: None)
    lifecycle.detach()
    lifecycle.attach(lambda: None)


def test_a_run_that_cannot_be_ended_fails_with_the_reason(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the sandbox itself fails the run that met it, and no other."""
    accepted = ask(sandbox, "workflow", DELIVERED)
    answers = iter([RuntimeError("out of words")])

    def count(*_given: object, **_more: object) -> dict[str, int]:
        for failure in answers:
            raise failure
        return {"total_tokens": 1}

    monkeypatch.setattr("fetch_hive_sdk.sandbox.lifecycle.count_usage", count)
    sandbox.engine.release(accepted.unfinished or "")
    with pytest.raises(RuntimeError, match="out of words"):
        sandbox.engine.settle()
    go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    assert [(run.status, run.answer and run.answer.error) for run in sandbox.runs] == [
        ("failed", "The sandbox failed: out of words"),
        ("completed", None),
    ]


def test_a_direct_run_that_meets_an_error_of_the_sandbox_fails_with_the_reason(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A direct run that the sandbox itself cannot end is marked failed, and does not stay under way."""

    def fail(*_given: object, **_more: object) -> dict[str, int]:
        raise RuntimeError("out of words")

    monkeypatch.setattr("fetch_hive_sdk.sandbox.lifecycle.count_usage", fail)
    with pytest.raises(RuntimeError, match="out of words"):
        ask(sandbox, "prompt", PROMPT)
    [run] = sandbox.runs
    assert (run.status, run.answer and run.answer.error) == ("failed", "The sandbox failed: out of words")


def test_an_async_reply_is_refused_at_once(sandbox: Sandbox) -> None:
    """An async function cannot be a reply, and the error says what can."""

    async def reply(inputs: dict[str, Any]) -> str:
        return "never"

    with pytest.raises(ConfigurationError, match=r"reply of 'brief': an async function .* Pass a plain function"):
        sandbox.workflow("brief", reply=reply)
