"""A sandbox that is started on the file of an earlier one goes on where that one stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fetch_hive_sdk import CallbackVerifier
from fetch_hive_sdk.sandbox import Answer, CallbackAttempt, HumanInTheLoop, Sandbox
from fetch_hive_sdk.sandbox.lifecycle import Job

from .sandbox_requests import (
    AGENT,
    DELIVERED,
    HIVE_AGENT,
    KEY,
    PROMPT,
    START,
    URL,
    WORKFLOW,
    Clock,
    ask,
    counted_ids,
    go_on,
    look_up,
    read,
    timeline,
    told,
)

Start = Callable[..., Sandbox]
STOPPED = "The sandbox was stopped while this ran"


class Killed(BaseException):
    """The process dies, and nothing more is written."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(tmp_path: Path, clock: Clock) -> Iterator[Start]:
    """Starts a sandbox on the one file; the one before it is stopped where it stands."""
    ids = counted_ids()
    last: list[Sandbox] = []

    def start(**options: Any) -> Sandbox:
        if last:
            last.pop().close()
        sandbox = Sandbox(clock=clock, new_request_id=lambda: next(ids), db=tmp_path / "runs.sqlite", **options)
        sandbox.workflow("research-brief", reply=lambda inputs: f"Brief on {inputs['topic']}")
        last.append(sandbox)
        return sandbox

    yield start
    last.pop().close()


def test_what_was_accepted_goes_on(start: Start) -> None:
    """Runs that were accepted, begun or queued, run in the order in which they came, and call back."""
    before = start(plan="lite")
    replies = [ask(before, "workflow", {**DELIVERED, "inputs": {"topic": topic}}) for topic in "abc"]
    assert [read(reply)["run_status"] for reply in replies] == ["running", "queued", "queued"]
    after = start(plan="lite")
    assert [run.status for run in after.runs] == ["completed"] * 3
    assert [data["output"] for _, data in told(after)] == ["Brief on a", "Brief on b", "Brief on c"]
    assert [run.reply for run in after.runs] == replies
    assert timeline(after.runs[1]) == ["Accepted", "Queued", "Started", "Completed"]


def test_more_places_start_more(start: Start) -> None:
    """What was queued begins at once in a sandbox without that limit."""
    before = start(plan="lite")
    for _ in range(3):
        ask(before, "workflow", DELIVERED)
    after = start()
    assert [run.status for run in after.engine.runs] == ["running"] * 3
    assert [run.status for run in after.runs] == ["completed"] * 3


def test_secrets_outlive_the_process(start: Start) -> None:
    """The sandbox's own secrets are those of the file, so callbacks made later verify with the one that was told."""
    secret = read(ask(start(), "workflow", DELIVERED))["webhook_secret"]
    [callback] = start().callbacks
    CallbackVerifier(secret).verify(callback.body, callback.headers)


@pytest.mark.parametrize("kind", ["hive-agent", "trigger"])
def test_agents_that_were_accepted_go_on(start: Start, kind: str) -> None:
    """Hive agents and triggered agents go on too, whatever else their request says."""
    before = start()
    if kind == "trigger":
        secret = before.webhook_secret("AGENT_UUID", kind="agent")
        body = {"message": "Hi", "async": {"callback_url": URL}, "streaming": True}
        ask(before, "", body, path=f"/v1/agent/webhooks/AGENT_UUID?secret={secret}", headers={})
    else:
        ask(before, kind, HIVE_AGENT)
    after = start()
    assert [run.status for run in after.runs] == ["completed"]
    assert len(after.callbacks) == 1


@pytest.mark.parametrize(("kind", "body"), [("prompt", PROMPT), ("workflow", WORKFLOW), ("agent", AGENT)])
def test_a_direct_run_is_lost(start: Start, kind: str, body: dict[str, Any]) -> None:
    """A run whose caller waited for its reply is marked failed with the reason; it holds no place."""
    before = start(plan="lite")

    def die(_given: object) -> str:
        before.close()  # nothing is written from here on
        raise Killed

    before.workflow("research-brief", reply=die)
    before.prompt("support-classifier", reply=die)
    before.agent("AGENT_UUID", reply=die)
    with pytest.raises(Exception, match="closed"):
        ask(before, kind, body)
    after = start(plan="lite")
    [run] = after.runs
    assert (run.status, run.answer and run.answer.error, run.reply) == ("failed", STOPPED, None)
    assert look_up(after, f"/public/requests/{run.request_id}")["message"] == STOPPED
    assert ask(after, "workflow", WORKFLOW).status == 200


def test_a_stream_that_was_cut_is_lost(start: Start) -> None:
    """A run whose stream was being sent is marked failed: nobody knows how much of it came."""
    before = start()
    before.prompt("support-classifier", reply=Answer("one two", duration=2.0))
    ask(before, "prompt", {**PROMPT, "streaming": True})
    [run] = start().runs
    assert (run.status, run.answer and run.answer.error) == ("failed", STOPPED)


def test_a_paused_run_waits_on(start: Start, clock: Clock) -> None:
    """A run that waits for a choice still does, until its time is over, which may be at once."""
    human = HumanInTheLoop(timeout=60)
    before = start()
    before.workflow("research-brief", reply="", human_in_the_loop=human)
    before.workflow("other", reply="", human_in_the_loop=True)
    for deployment in ("research-brief", "other", "research-brief"):
        go_on(before, ask(before, "workflow", {**DELIVERED, "deployment": deployment}))
    after = start()
    first, second, third = after.runs
    assert [run.status for run in after.runs] == ["paused"] * 3
    assert after.engine.lifecycle.next_deadline() == START + timedelta(seconds=60)
    assert after.choose(first.request_id, "approve").status == "completed"
    clock.pass_by(60)
    last = start()
    assert [run.status for run in last.runs] == ["completed", "paused", "failed"]
    assert last.choose(second.request_id, "reject").status == "completed"
    assert last.engine.run(third.request_id) == last.runs[2]


def test_a_choice_that_was_made_counts(start: Start) -> None:
    """A run that was answered, and had not gone on yet, goes on with that answer."""
    before = start()
    before.workflow("research-brief", reply="", human_in_the_loop=True)
    run = go_on(before, ask(before, "workflow", DELIVERED))
    before.engine.choose(run.request_id, "reject")
    after = start()
    after.workflow("research-brief", reply=lambda _inputs, choice: choice, human_in_the_loop=True)
    assert told(after) == [("workflow.completed", {"output": "reject", "run_status": "completed"})]


@pytest.mark.parametrize("streaming", [True, False])
def test_an_agent_that_waits_for_an_approval_waits_on(start: Start, streaming: bool) -> None:
    """An agent that waits still does; one whose approvals were decided just then goes on with what it had."""
    before = start()
    before.agent("AGENT_UUID", reply=Answer("Paid.", tool_calls=[{"tool_name": "pay", "needs_approval": True}]))
    for _ in range(2):
        ask(before, "agent", {**AGENT, "streaming": streaming})
    decided, waiting = before.approvals
    before.engine.decide(decided.id, "allow_once", via="api")
    after = start()
    assert [(run.status, run.answer and run.answer.text) for run in after.runs] == [
        ("completed", "Paid."),
        ("awaiting_approval", "Paid."),
    ]
    assert after.approvals == [waiting]
    assert after.decide(waiting.id, "deny").status == "completed"


def test_delegations_go_on(start: Start) -> None:
    """Workflows that an agent started in the background go on, begun or queued, and are called back."""
    before = start(plan="lite")
    before.agent("AGENT_UUID", reply=Answer("Begun.", background=[{"deployment": "a"}, {"deployment": "b"}]))
    ask(before, "agent", {**AGENT, "async": {"callback_url": URL}})
    after = start(plan="lite")
    assert [run.status for run in after.runs] == ["completed"] * 3
    assert [data["target"]["name"] for _, data in told(after)] == ["a", "b"]


def test_a_workflow_that_an_agent_waited_for_is_lost_with_it(start: Start) -> None:
    """A workflow that ran before its agent's reply is not carried on when that agent is lost."""
    before = start()

    def die(inputs: object) -> str:
        before.close()
        raise Killed

    before.workflow("research-brief", reply=die)
    before.agent("AGENT_UUID", reply=Answer("Begun.", background=[{"deployment": "research-brief"}]))
    with pytest.raises(Exception, match="closed"):
        ask(before, "agent", AGENT)
    after = start()
    assert [(run.status, run.answer and run.answer.error) for run in after.runs] == [("failed", STOPPED)] * 2


def test_undelivered_callbacks_are_delivered_by_the_next_server(start: Start) -> None:
    """What was not delivered, or not accepted yet, is the next server's job; what was delivered is not."""
    before = start()
    for _ in range(3):
        go_on(before, ask(before, "workflow", DELIVERED))
    done, tried, untried = before.callbacks
    for callback, status_code in ((done, 200), (tried, 500)):
        attempt = CallbackAttempt(started_at=START, duration=0.1, status_code=status_code)
        before.engine.lifecycle.record_attempt(callback, attempt, pending=status_code != 200)
    lifecycle = start().engine.lifecycle
    lifecycle.attach(lambda: None)
    assert [lifecycle.next_job() for _ in range(3)] == [Job("callback", tried.id), Job("callback", untried.id), None]


def test_what_has_ended_stays_as_it_is(start: Start) -> None:
    """Ended runs, counts of the day and refusals are there as before."""
    before = start(daily_limit=2)
    ask(before, "prompt", PROMPT)
    ask(before, "prompt", {})
    runs = before.runs
    after = start(daily_limit=2)
    assert (after.runs, len(after.engine.store.refused())) == (runs, 1)
    assert ask(after, "prompt", PROMPT).status == 429


def test_metadata_and_odd_text_outlive_the_process(start: Start) -> None:
    """Half a surrogate pair, big numbers and other scripts in names, inputs and metadata are there as they came."""
    metadata = rb'"metadata":{"\ud800":12345678901234567890}'
    body = rb'{"deployment":"\ud800 \u6982","variant":"v","inputs":{"\udfff":1e3},' + metadata + b"}"
    before = start()
    before.engine.handle("POST", "/v1/workflow/invoke", KEY, body)
    [run] = start().runs
    assert (run.deployment, run.inputs, run.metadata) == (
        "\ud800 概",
        {"\udfff": 1000.0},
        {"\ud800": 12345678901234567890},
    )
    assert run.request == json.loads(body)


def test_workflows_that_an_agent_began_are_not_begun_again(tmp_path: Path) -> None:
    """Killed while a triggered agent starts its workflows: it goes on, and starts those that are missing alone."""
    ids = counted_ids()

    def new_request_id() -> str:
        made = next(ids)
        if made.endswith("3"):  # the agent has its id, and its first workflow
            before.close()
            raise Killed
        return made

    db = tmp_path / "runs.sqlite"
    answer = Answer("Begun.", background=[{"deployment": "a"}, {"deployment": "b"}])
    before = Sandbox(db=db, new_request_id=new_request_id)
    before.agent("AGENT_UUID", reply=answer)
    path = f"/v1/agent/webhooks/AGENT_UUID?secret={before.webhook_secret('AGENT_UUID', kind='agent')}"
    accepted = ask(before, "", {"message": "Hi", "async": {"callback_url": URL}}, path=path, headers={})
    with pytest.raises(Killed):
        go_on(before, accepted)
    with Sandbox(db=db) as after:
        after.agent("AGENT_UUID", reply=answer)
        assert [(run.name, run.status) for run in after.runs] == [
            ("AGENT_UUID", "completed"),
            ("a", "completed"),
            ("b", "completed"),
        ]
        assert sorted(data["target"]["name"] for _, data in told(after) if "target" in data) == ["a", "b"]
