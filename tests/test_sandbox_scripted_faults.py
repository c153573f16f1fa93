"""Faults on order, as the engine obeys them: what is refused, what begins and fails, what is damaged on its way."""

from __future__ import annotations

from typing import Any

import pytest

from fetch_hive_sdk.errors import ConfigurationError
from fetch_hive_sdk.sandbox import Choices, Fault, Sandbox
from fetch_hive_sdk.sandbox.chunks import Cut

from .sandbox_requests import (
    AGENT,
    BODIES,
    DELIVERED,
    KEY,
    PROMPT,
    URL,
    WORKFLOW,
    ask,
    events_of,
    go_on,
    invoke,
    look_up,
    read,
    ticking_sandbox,
    timeline,
    told,
)


@pytest.fixture
def sandbox() -> Sandbox:
    return ticking_sandbox()


@pytest.fixture
def lite() -> Sandbox:
    """A sandbox in which one workflow may run at once."""
    return ticking_sandbox(plan="lite")


# --- scripted faults ----------------------------------------------------------------------------------


def test_a_refusal_on_order_starts_no_run(sandbox: Sandbox) -> None:
    """`fail_next` lets so many requests be refused as the service would; no run begins, and the log says why."""
    sandbox.fail_next("too_many_requests", times=2)
    for _ in range(2):
        reply = ask(sandbox, "prompt", PROMPT)
        assert (reply.status, read(reply)["error_code"]) == (429, "too_many_requests")
    assert sandbox.runs == []
    assert invoke(sandbox, "prompt")["response"]
    [_, refused] = sandbox.engine.store.refused()
    assert (refused.status, refused.error, refused.error_code) == (
        429,
        "Scripted fault: error_code=too_many_requests",
        "too_many_requests",
    )


def test_a_failure_on_order_starts_a_run_that_fails(sandbox: Sandbox) -> None:
    """A server error on order is the end of a run that began, which calls back if it was to."""
    for status, body in ((500, PROMPT), (504, WORKFLOW), (500, DELIVERED)):
        sandbox.fail_next(status)
        reply = ask(sandbox, "prompt" if body is PROMPT else "workflow", body)
        assert (reply.status, reply.unfinished) == (status, None)
        run = sandbox.runs[-1]
        assert (run.status, run.answer and run.answer.error) == ("failed", read(reply)["error"])
        assert timeline(run)[-1] == f"Scripted fault: status={status}"
    assert [event_type for event_type, _ in told(sandbox)] == ["workflow.failed"]


def test_damage_on_order_happens_to_the_reply_of_a_good_run(sandbox: Sandbox) -> None:
    """A reply that is damaged on its way is that of a run that ends well, and whose record has it whole."""
    sandbox.fail_next(Fault(cut="reset", after=1), kind="agent")
    reply = ask(sandbox, "agent", {**AGENT, "streaming": True})
    assert not isinstance(reply.body, bytes)
    assert list(reply.body)[-1] == Cut("reset")
    [run] = sandbox.runs
    assert (run.status, timeline(run)[-1]) == ("completed", "Scripted fault: cut=reset")
    assert run.reply is not None
    assert events_of(run.reply)[-1] == "[DONE]"


def test_damage_on_order_keeps_a_run_going(sandbox: Sandbox) -> None:
    """A run with callback delivery whose reply is damaged goes on and calls back."""
    sandbox.fail_next("truncate")
    reply = ask(sandbox, "workflow", DELIVERED)
    assert go_on(sandbox, reply).status == "completed"
    assert len(sandbox.callbacks) == 1


def test_a_fault_waits_for_what_it_is_for(sandbox: Sandbox) -> None:
    """A fault for one kind or name passes the others by, and a reset forgets it."""
    sandbox.fail_next(503, kind="agent")
    sandbox.fail_next(502, name="research-brief")
    assert [ask(sandbox, kind, BODIES[kind]).status for kind in BODIES] == [200, 502, 503, 202]
    sandbox.fail_next(503)
    sandbox.reset()
    assert ask(sandbox, "prompt", PROMPT).status == 200


def test_a_request_can_ask_for_its_own_fault(sandbox: Sandbox) -> None:
    """The header orders a fault for its request alone, before any that waits; a wrong one is refused by name."""
    sandbox.fail_next(503)
    headers = {**KEY, "X-Fetch-Hive-Sandbox-Fault": "model_deprecated"}
    assert read(ask(sandbox, "prompt", PROMPT, headers=headers))["error_code"] == "model_deprecated"
    wrong = ask(sandbox, "prompt", PROMPT, headers={**KEY, "X-Fetch-Hive-Sandbox-Fault": "colour=red"})
    assert wrong.status == 400
    assert "x-fetch-hive-sandbox-fault: fault: 'colour' is unknown" in read(wrong)["error"]
    assert ask(sandbox, "prompt", PROMPT).status == 503
    assert sandbox.runs == []


def test_look_ups_can_fail_too(sandbox: Sandbox) -> None:
    """A fault for any request meets a look-up: refused, failed, or damaged on its way."""
    request_id = invoke(sandbox, "prompt")["request_id"]
    path = f"/v1/public/requests/{request_id}"
    for fault, status in (("too_many_requests", 429), (500, 500), (502, 502)):
        sandbox.fail_next(fault)
        assert ask(sandbox, "", b"", method="GET", path=path).status == status
    sandbox.fail_next("not_json")
    damaged = ask(sandbox, "", b"", method="GET", path=path)
    assert (damaged.status, damaged.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert look_up(sandbox, f"/public/requests/{request_id}")["status"] == "completed"
    assert len(sandbox.runs) == 1


def test_a_webhook_trigger_can_be_refused_on_order(sandbox: Sandbox) -> None:
    """A trigger meets the faults of its kind and name."""
    sandbox.fail_next("account_credit_cap_reached", kind="agent", name="AGENT_UUID")
    headers = {"X-Fetch-Hive-Webhook-Secret": sandbox.webhook_secret("AGENT_UUID", kind="agent")}
    body = {"message": "Hi", "async": {"callback_url": URL}}
    assert ask(sandbox, "", body, path="/v1/agent/webhooks/AGENT_UUID", headers=headers).status == 422


@pytest.mark.parametrize("options", [{"fault": "colour"}, {"fault": 503, "times": 0}, {"fault": 503, "kind": "x"}])
def test_a_wrong_fault_is_told_at_once(sandbox: Sandbox, options: dict[str, Any]) -> None:
    """`fail_next` refuses what it could not do."""
    with pytest.raises(ConfigurationError, match=list(options)[-1]):
        sandbox.fail_next(**options)


def test_a_failure_on_order_counts_for_the_plan(lite: Sandbox) -> None:
    """A workflow that is to fail needs a place as any other, and frees it."""
    lite.fail_next(500, times=2)
    for _ in range(2):
        assert ask(lite, "workflow", WORKFLOW).status == 500
    assert ask(lite, "workflow", WORKFLOW).status == 200


def test_faults_follow_the_choices_about_errors() -> None:
    """An error on order has the form that the choices name."""
    sandbox = ticking_sandbox(choices=Choices(error_only=True))
    sandbox.fail_next("model_deprecated")
    assert list(read(ask(sandbox, "prompt", PROMPT))) == ["error"]
