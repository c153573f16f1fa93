"""The switches of `Choices`: each test shows what one of them changes, beside its default.

Those about delivery, which only a server does, are tested with the server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from fetch_hive_sdk.sandbox import Answer, Choices, HumanInTheLoop, Sandbox, ToolCall
from fetch_hive_sdk.sandbox.ids import WORKSPACE_ID
from fetch_hive_sdk.sandbox.lifecycle import Job

from .sandbox_requests import (
    AGENT,
    DELIVERED,
    HIVE_AGENT,
    KEY,
    PROMPT,
    URL,
    WORKFLOW,
    Clock,
    ask,
    go_on,
    look_up,
    read,
    stream,
    told,
)

Show = Callable[[Sandbox], object]


def status_of_a_refusal(sandbox: Sandbox) -> object:
    return ask(sandbox, "workflow", {}).status


def error_bodies(sandbox: Sandbox) -> object:
    sandbox.prompt("support-classifier", reply=Answer(error="no", error_code="model_deprecated"))
    bodies = [ask(sandbox, "workflow", {}), ask(sandbox, "prompt", PROMPT)]
    event = {key: text for key, text in stream(sandbox, "prompt")[0].items() if key not in ("type", "request_id")}
    return [*(list(read(reply)) for reply in bodies), list(event)]


def status_of_what_is_called_back(sandbox: Sandbox) -> object:
    return [ask(sandbox, "workflow", DELIVERED).status, ask(sandbox, "hive-agent", HIVE_AGENT).status]


def failed_workflow(sandbox: Sandbox) -> object:
    sandbox.workflow("research-brief", reply=Answer(error="no"))
    reply = ask(sandbox, "workflow", WORKFLOW)
    return reply.status, read(reply).get("run_status"), read(reply)["error"]


def end_of_a_failed_stream(sandbox: Sandbox) -> object:
    sandbox.prompt("support-classifier", reply=Answer(error="no"))
    return [event if event == "[DONE]" else event["type"] for event in stream(sandbox, "prompt")]


def accepted_callback_urls(sandbox: Sandbox) -> object:
    urls = ("https://example.com/a", "http://localhost/a", "http://example.com/a")
    bodies = [{**WORKFLOW, "async": {"enabled": True, "callback_url": url}} for url in urls]
    return [ask(sandbox, "workflow", body).status == 202 for body in bodies]


def status_of_a_large_body(sandbox: Sandbox) -> object:
    return ask(sandbox, "prompt", {**PROMPT, "user": "x" * 2_000}).status


def status_of_an_unknown_agent(sandbox: Sandbox) -> object:
    return ask(Sandbox(strict=True, choices=sandbox.engine.choices), "agent", AGENT).status


def missing_inputs(sandbox: Sandbox) -> object:
    sandbox.workflow("research-brief", reply="A brief.", inputs={"topic": str, "days": int})
    return read(ask(sandbox, "workflow", WORKFLOW)).get("error")


def triggered(sandbox: Sandbox, body: object, secret: str | None = None) -> Any:
    secret = secret or sandbox.webhook_secret("research-brief")
    path = "/v1/workflow/webhooks/research-brief/variants/default"
    return ask(sandbox, "", body, path=path, headers={"X-Fetch-Hive-Webhook-Secret": secret})


def webhook_body_without_inputs(sandbox: Sandbox) -> object:
    reply = triggered(sandbox, {"topic": "AI", "async": {"callback_url": URL}})
    return reply.status, read(reply).get("error")


def status_of_a_wrong_webhook_secret(sandbox: Sandbox) -> object:
    return triggered(sandbox, {"async": {"callback_url": URL}}, secret="wrong").status


def secret_in_the_reply_to_a_trigger(sandbox: Sandbox) -> object:
    return "webhook_secret" in read(triggered(sandbox, {"async": {"callback_url": URL}}))


def paused_run(sandbox: Sandbox, **options: Any) -> str:
    sandbox.workflow(
        "research-brief", reply=lambda _inputs, choice: choice, human_in_the_loop=HumanInTheLoop(**options)
    )
    return go_on(sandbox, ask(sandbox, "workflow", DELIVERED)).request_id


def status_of_a_paused_run(sandbox: Sandbox) -> object:
    return look_up(sandbox, f"/public/requests/{paused_run(sandbox)}")["status"]


def end_of_an_approved_run(sandbox: Sandbox) -> object:
    sandbox.agent("AGENT_UUID", reply=Answer("Paid.", tool_calls=[{"tool_name": "pay", "needs_approval": True}]))
    ask(sandbox, "agent", {**AGENT, "async": {"callback_url": URL}})
    ask(sandbox, "agent", AGENT)
    for approval in sandbox.approvals:
        sandbox.decide(approval.id, "allow_once")
    return told(sandbox)


def calls_until_the_limit(sandbox: Sandbox) -> object:
    sandbox = Sandbox(choices=sandbox.engine.choices, daily_limit=2)
    paths = ["/v1/public/requests/req_1", "/v1/error_codes"] * 3
    looked_up = [ask(sandbox, "", b"", method="GET", path=path).status for path in paths]
    return looked_up, ask(sandbox, "prompt", PROMPT).status


def key_of_the_daily_code(sandbox: Sandbox) -> object:
    body = read(ask(Sandbox(choices=sandbox.engine.choices, daily_limit=0), "prompt", PROMPT))
    return [key for key, value in body.items() if value == "api_rate_limit_exceeded"]


def hive_agent_event(sandbox: Sandbox) -> object:
    go_on(sandbox, ask(sandbox, "hive-agent", HIVE_AGENT))
    return told(sandbox)[0][0]


def workflow_events(sandbox: Sandbox) -> object:
    sandbox.workflow("research-brief", variant="bad", reply=Answer(error="no"))
    for body in (DELIVERED, {**DELIVERED, "variant": "bad"}):
        go_on(sandbox, ask(sandbox, "workflow", body))
    return [event_type for event_type, _ in told(sandbox)]


def callback_jobs(sandbox: Sandbox) -> object:
    """What a server is given to deliver: of a run that ended before it came, and of one that ends with it there."""
    lifecycle = sandbox.engine.lifecycle
    go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    lifecycle.attach(lambda: None)
    ask(sandbox, "workflow", DELIVERED)
    lifecycle.finish(sandbox.runs[1].request_id)
    kinds: list[str] = []
    while (job := lifecycle.next_job()) is not None:
        kinds.append(job.kind)
    sandbox.redeliver(sandbox.callbacks[0])
    assert lifecycle.next_job() == Job("redelivery", sandbox.callbacks[0].id)
    return kinds


def resource(sandbox: Sandbox, method: str, path: str, body: object = b"", **more: Any) -> Any:
    return ask(sandbox, "", body, method=method, path=f"/v1/public/workspaces/{WORKSPACE_ID}{path}", **more)


def response_to_a_search(sandbox: Sandbox) -> object:
    base = read(resource(sandbox, "POST", "/knowledge_bases", {"knowledge_base": {"name": "Policies"}}))
    query = {
        "search_query": "refund",
        "search_type": "hybrid",
        "search_chunk_limit": 5,
        "search_score_threshold": 0,
    }
    found = resource(sandbox, "POST", f"/knowledge_bases/{base['knowledge_base']['id']}/search", query)
    return read(found)["response"]


def uploads_until_the_limit(sandbox: Sandbox) -> object:
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n0123456789\r\n--b--\r\n'
    headers = {**KEY, "Content-Type": "multipart/form-data; boundary=b"}
    return [resource(sandbox, "POST", "/assets", form, headers=headers).status for _ in range(3)]


def pages_of_approvals(sandbox: Sandbox) -> object:
    """What stands beside the approvals on each page, and whether it is the id of the page's last one."""
    calls: list[ToolCall] = [{"tool_name": name, "needs_approval": True} for name in "abcd"]
    sandbox.agent("AGENT_UUID", reply=Answer("Done.", tool_calls=calls))
    ask(sandbox, "agent", AGENT)
    first = read(resource(sandbox, "GET", "/tool_action_approvals?limit=2"))
    last_id = first["approvals"][-1]["id"]
    last = read(resource(sandbox, "GET", f"/tool_action_approvals?limit=2&cursor={last_id}"))
    pages = [
        {key: value == last_id if value else value for key, value in page.items() if key != "approvals"}
        for page in (first, last)
    ]
    return [len(page["approvals"]) for page in (first, last)], pages


CONCURRENCY = "You've reached your concurrency limit. Try again later or use async mode."
PAID = ("agent.completed", {"response": "Paid."})
SWITCHES: list[tuple[str, Show, object, object, object]] = [
    ("validation_status", status_of_a_refusal, 422, 400, 422),
    (
        "error_only",
        error_bodies,
        True,
        [["error", "message", "error_code"]] * 3,
        [["error"]] * 3,
    ),
    ("callback_status", status_of_what_is_called_back, 200, [202, 202], [200, 202]),
    ("failed_workflow", failed_workflow, "state", (422, None, "no"), (200, "failed", "no")),
    ("failed_workflow_status", failed_workflow, 500, (422, None, "no"), (500, None, "no")),
    ("done_after_error", end_of_a_failed_stream, True, ["error"], ["error", "[DONE]"]),
    ("http_callbacks", accepted_callback_urls, "any", [True, True, False], [True, True, True]),
    ("http_callbacks", accepted_callback_urls, "never", [True, True, False], [True, False, False]),
    ("max_body", status_of_a_large_body, 1_000, 200, 413),
    ("unknown_status", status_of_an_unknown_agent, 422, 404, 422),
    ("missing_inputs", missing_inputs, "refuse", None, "Missing required input: days"),
    ("webhook_body", webhook_body_without_inputs, "refuse", (202, None), (400, "Missing required field: inputs")),
    ("trigger_secret_status", status_of_a_wrong_webhook_secret, 403, 401, 403),
    ("trigger_tells_secret", secret_in_the_reply_to_a_trigger, True, False, True),
    ("paused_status", status_of_a_paused_run, "awaiting_input", "paused", "awaiting_input"),
    ("approval_callback", end_of_an_approved_run, True, [], [PAID]),
    ("daily_limit_counts", calls_until_the_limit, "all", ([404, 200] * 3, 200), ([404, 200, 404, 200, 429, 200], 429)),
    ("daily_limit_code_key", key_of_the_daily_code, "error_code", ["code"], ["error_code"]),
    ("hive_agent_event_prefix", hive_agent_event, "hive", "hive_agent.completed", "hive.completed"),
    (
        "workflow_completed_event",
        workflow_events,
        "workflow.done",
        ["workflow.completed", "workflow.failed"],
        ["workflow.done", "workflow.failed"],
    ),
    (
        "workflow_failed_event",
        workflow_events,
        "workflow.error",
        ["workflow.completed", "workflow.failed"],
        ["workflow.completed", "workflow.error"],
    ),
    ("search_results_key", response_to_a_search, "chunks", {"results": []}, {"chunks": []}),
    ("asset_storage_limit", uploads_until_the_limit, 20, [200, 200, 200], [200, 200, 402]),
    (
        "next_cursor_key",
        pages_of_approvals,
        "next_cursor",
        ([2, 2], [{}, {}]),
        ([2, 2], [{"next_cursor": True}, {"next_cursor": None}]),
    ),
    ("callback_delivery", callback_jobs, "manual", ["callback", "callback"], []),
]


@pytest.mark.parametrize(
    ("name", "show", "value", "by_default", "switched"),
    SWITCHES,
    ids=[f"{name}={value}" for name, _, value, _, _ in SWITCHES],
)
def test_a_switch_changes_what_it_names(
    name: str, show: Show, value: object, by_default: object, switched: object
) -> None:
    """With its default the sandbox does the one, with another value of the switch the other."""
    assert show(Sandbox()) == by_default
    chosen: dict[str, Any] = {name: value}
    assert show(Sandbox(choices=Choices(**chosen))) == switched


def test_a_429_may_say_when_to_come_again() -> None:
    """By choice the 429 over the plan's limit has a `Retry-After` header, which is not there by default."""
    for seconds, header in ((None, None), (2.5, "2.5"), (30, "30"), (1_234_567, "1234567")):
        sandbox = Sandbox(plan="lite", choices=Choices(retry_after=seconds))
        ask(sandbox, "workflow", DELIVERED)
        reply = ask(sandbox, "workflow", WORKFLOW)
        assert (reply.status, read(reply)["error"], reply.headers.get("Retry-After")) == (429, CONCURRENCY, header)


def test_a_paused_run_may_hold_its_place() -> None:
    """By choice a run that waits for somebody counts for the plan, and goes on before any that is queued."""
    for holds, status in ((False, "completed"), (True, "queued")):
        sandbox = Sandbox(plan="lite", choices=Choices(paused_run_holds_place=holds))
        paused = paused_run(sandbox)
        other = go_on(sandbox, ask(sandbox, "workflow", {**DELIVERED, "deployment": "other"}))
        assert other.status == status
        assert sandbox.choose(paused, "approve").status == "completed"
        assert [run.status for run in sandbox.runs] == ["completed"] * 2
        ends = sorted((run.ended_at, run.request_id) for run in sandbox.runs if run.ended_at)
        assert (ends[0][1] == paused) == holds


def test_a_wait_that_ends_keeps_its_place_too() -> None:
    """A run that held its place goes on first after a timeout as well."""
    clock = Clock()
    sandbox = Sandbox(plan="lite", clock=clock, choices=Choices(paused_run_holds_place=True))
    paused = paused_run(sandbox, timeout=60, on_timeout="continue", options=["approve"])
    go_on(sandbox, ask(sandbox, "workflow", {**DELIVERED, "deployment": "other"}))
    clock.pass_by(60)
    assert [callback.request_id == paused for callback in sandbox.callbacks] == [True, False]


@pytest.mark.parametrize("form", ["hex", "sha256=hex", "base64"])
def test_a_signature_has_the_form_that_was_chosen(form: Any) -> None:
    """The signature is the HMAC-SHA256 of the exact body: in hex, in hex with a prefix, or in base64."""
    sandbox = Sandbox(choices=Choices(signature=form))
    go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    [callback] = sandbox.callbacks
    mac = hmac.new(sandbox.webhook_secret("research-brief").encode(), callback.body, hashlib.sha256)
    expected = {
        "hex": mac.hexdigest(),
        "sha256=hex": f"sha256={mac.hexdigest()}",
        "base64": base64.b64encode(mac.digest()).decode(),
    }
    assert callback.headers["X-Fetch-Hive-Signature"] == expected[form]
    assert Choices().signature == "hex"


def test_every_switch_is_shown() -> None:
    """No switch is left out here but those that only a server obeys."""
    shown = {name for name, *_ in SWITCHES} | {"signature", "retry_after", "paused_run_holds_place"}
    by_the_server = {"callback_retry_delays", "callback_copies", "callbacks_first", "callback_timeout"}
    assert {field.name for field in fields(Choices)} == shown | by_the_server


@pytest.mark.parametrize(
    "options",
    [
        {"signature": "md5"},
        {"callback_timeout": 0},
        {"retries": 3},
        {"callback_status": 101},
        {"callback_status": 204},
        {"search_results_key": ""},
        {"next_cursor_key": ""},
        {"asset_storage_limit": -1},
    ],
)
def test_a_wrong_choice_is_told_at_once(options: dict[str, Any]) -> None:
    """A choice that does not exist, or a value it does not allow, is refused."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Choices(**options)
