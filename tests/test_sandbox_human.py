"""Human in the Loop: a workflow that waits until somebody chooses, or until nobody has in time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import pytest

from fetch_hive_sdk.errors import InvalidRequestError
from fetch_hive_sdk.sandbox import HumanInTheLoop, Run, Sandbox
from fetch_hive_sdk.sandbox.refusals import Refusal

from .sandbox_requests import DELIVERED, START, WORKFLOW, Clock, ask, go_on, look_up, read, timeline, told


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return Sandbox(clock=clock)


def paused(sandbox: Sandbox, **options: Any) -> Run:
    """A run that waits for a choice, which is then its output."""
    step = HumanInTheLoop(**options)
    sandbox.workflow("research-brief", reply=lambda _inputs, choice: f"Chosen: {choice}", human_in_the_loop=step)
    run = go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    assert run.status == "paused"
    return run


def test_a_direct_call_of_a_workflow_with_a_human_step_is_refused(sandbox: Sandbox) -> None:
    """A workflow that waits for somebody must be called with callback delivery; a direct call is refused."""
    sandbox.workflow("research-brief", reply="", human_in_the_loop=True)
    reply = ask(sandbox, "workflow", WORKFLOW)
    assert (reply.status, read(reply)["error"]) == (
        400,
        "Workflows with a Human in the Loop step must use callback delivery",
    )
    assert sandbox.runs == []


def test_a_run_pauses_until_somebody_chooses(sandbox: Sandbox, clock: Clock) -> None:
    """The run waits with its question; the choice goes to the reply function, and the end is called back."""
    run = paused(sandbox, question="Publish?", options=["yes", "no"])
    step = run.human_step
    assert step is not None
    assert (step.question, step.options, step.expires_at, step.open) == ("Publish?", ("yes", "no"), None, True)
    assert sandbox.callbacks == []
    assert look_up(sandbox, f"/public/requests/{run.request_id}")["status"] == "paused"
    clock.pass_by(90)
    ended = sandbox.choose(run.request_id, "no")
    assert (ended.status, ended.answer and ended.answer.text) == ("completed", "Chosen: no")
    assert ended.human_step is not None
    assert (ended.human_step.choice, ended.human_step.chosen_at, ended.human_step.open) == (
        "no",
        START + timedelta(seconds=90),
        False,
    )
    assert timeline(ended) == ["Accepted", "Started", "Waits for a choice", "Chosen: no", "Started", "Completed"]
    assert told(sandbox) == [("workflow.completed", {"output": "Chosen: no", "run_status": "completed"})]


def test_a_choice_in_the_browser_is_told_apart(sandbox: Sandbox) -> None:
    """The timeline says where somebody chose; without a server the engine leaves the run to be carried on."""
    run = paused(sandbox)
    chosen = sandbox.engine.choose(run.request_id, "approve", via="dashboard")
    assert chosen.status == "running"
    assert "Chosen (in the browser): approve" in timeline(chosen)
    assert sandbox.runs[0].status == "completed"


def test_choosing_what_cannot_be_chosen(sandbox: Sandbox) -> None:
    """A wrong option, a second choice, a run that never waited and an unknown one are errors; nothing changes."""
    run = paused(sandbox)
    with pytest.raises(InvalidRequestError, match=r"choice must be one of: approve, reject\."):
        sandbox.choose(run.request_id, "maybe")
    sandbox.choose(run.request_id, "reject")
    with pytest.raises(InvalidRequestError, match="does not wait for a choice"):
        sandbox.choose(run.request_id, "approve")
    with pytest.raises(InvalidRequestError, match="Request not found"):
        sandbox.choose("req_nothing", "approve")
    other = ask(sandbox, "workflow", {**DELIVERED, "deployment": "other"})
    with pytest.raises(InvalidRequestError, match="does not wait for a choice"):
        sandbox.choose(other.unfinished or "", "approve")
    assert told(sandbox) == [("workflow.completed", {"output": "Chosen: reject", "run_status": "completed"})]


def test_choosing_tells_the_engines_caller_by_status(sandbox: Sandbox) -> None:
    """The engine's refusals have a status for each: 404 unknown, 409 not waiting, 422 no such option."""
    run = paused(sandbox)

    def status_of(request_id: str, choice: str) -> int | None:
        with pytest.raises(Refusal) as refused:
            sandbox.engine.choose(request_id, choice)
        return refused.value.status

    statuses = [status_of("req_nothing", "approve"), status_of(run.request_id, "maybe")]
    sandbox.choose(run.request_id, "approve")
    assert [*statuses, status_of(run.request_id, "approve")] == [404, 422, 409]


@pytest.mark.parametrize(
    ("on_timeout", "event"),
    [
        ("fail", ("workflow.failed", {"error": "Nobody chose in time", "run_status": "failed"})),
        ("continue", ("workflow.completed", {"output": "Chosen: None", "run_status": "completed"})),
    ],
)
def test_a_wait_ends_in_time(
    sandbox: Sandbox, clock: Clock, on_timeout: Literal["fail", "continue"], event: object
) -> None:
    """When the time is over the run fails, or goes on without a choice, as the step says; and not before."""
    run = paused(sandbox, timeout=60, on_timeout=on_timeout)
    assert run.human_step is not None
    assert run.human_step.expires_at == sandbox.engine.lifecycle.next_deadline() == START + timedelta(seconds=60)
    clock.pass_by(59)
    assert (sandbox.runs[0].status, sandbox.callbacks) == ("paused", [])
    clock.pass_by(1)
    assert told(sandbox) == [event]
    [ended] = sandbox.runs
    assert ended.human_step is not None
    assert (ended.human_step.choice, ended.human_step.chosen_at) == (None, START + timedelta(seconds=60))
    assert sandbox.engine.lifecycle.next_deadline() is None
    with pytest.raises(InvalidRequestError, match="does not wait"):
        sandbox.choose(run.request_id, "approve")


@pytest.mark.parametrize("by", ["choice", "cancel"])
def test_a_wait_that_is_over_does_not_end_again(sandbox: Sandbox, clock: Clock, by: str) -> None:
    """A run that was answered or cancelled is not ended a second time when its time is over."""
    run = paused(sandbox, timeout=60)
    other = go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    if by == "choice":
        sandbox.choose(run.request_id, "approve")
    else:
        sandbox.cancel(run.request_id)
    assert sandbox.engine.lifecycle.next_deadline() == START + timedelta(seconds=60)
    clock.pass_by(60)
    assert [one.status for one in sandbox.runs][1:] == ["failed"]
    assert [callback.request_id for callback in sandbox.callbacks] == [run.request_id, other.request_id]


def test_a_paused_run_gives_its_place_away(clock: Clock) -> None:
    """While a run waits another may run; answered, it waits for a place again."""
    sandbox = Sandbox(clock=clock, plan="lite")
    run = paused(sandbox)
    other = ask(sandbox, "workflow", {**DELIVERED, "deployment": "other"})
    assert read(other)["run_status"] == "running"
    assert sandbox.choose(run.request_id, "approve").status == "queued"
    go_on(sandbox, other)
    assert [one.status for one in sandbox.runs] == ["completed", "completed"]


def test_a_human_step_that_is_gone_is_not_waited_for_again(sandbox: Sandbox) -> None:
    """A run that waited goes on though its deployment was registered anew, with the reply that is there now."""
    run = paused(sandbox)
    sandbox.workflow("research-brief", reply=lambda inputs: inputs["topic"])
    ended = sandbox.choose(run.request_id, "approve")
    assert ended.answer is not None
    assert ended.answer.text == "AI infrastructure trends"


@pytest.mark.parametrize("by", ["cancel", "reset"])
def test_a_run_that_is_over_before_it_could_pause(sandbox: Sandbox, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is cancelled or reset at the moment it was to pause stays so."""
    sandbox.workflow("research-brief", reply="", human_in_the_loop=HumanInTheLoop(timeout=60))
    reply = ask(sandbox, "workflow", DELIVERED)
    find = sandbox.engine.deployments.find

    def find_and_end(*asked: Any) -> Any:
        sandbox.reset() if by == "reset" else sandbox.engine.cancel(reply.unfinished or "")
        return find(*asked)

    monkeypatch.setattr(sandbox.engine.deployments, "find", find_and_end)
    sandbox.engine.lifecycle.finish(reply.unfinished or "")
    assert [run.status for run in sandbox.runs] == (["cancelled"] if by == "cancel" else [])
    assert sandbox.engine.lifecycle.next_deadline() is None
