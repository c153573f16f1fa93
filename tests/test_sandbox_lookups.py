"""Look-ups: requests, workflow runs, the catalog of error codes; and what is at no path at all."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from fetch_hive_sdk.error_codes import ERROR_CODES
from fetch_hive_sdk.sandbox import Answer, Sandbox
from fetch_hive_sdk.sandbox.ids import new_request_id, request_id_of_uuid, uuid_of_request_id

from .sandbox_requests import (
    DELIVERED,
    HIVE_AGENT,
    KEY,
    PROMPT,
    START,
    URL,
    WORKFLOW,
    ask,
    go_on,
    invoke,
    look_up,
    read,
    stream,
    ticking_sandbox,
)

RUN = "req_00000000000000000000000000000001"
UUID = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def sandbox() -> Sandbox:
    return ticking_sandbox()


def after(seconds: int) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


def looked_up(sandbox: Sandbox) -> Any:
    """The look-up of the run that was accepted last."""
    return look_up(sandbox, f"/public/requests/{sandbox.engine.runs[-1].request_id}")


# --- requests -----------------------------------------------------------------------------------------


def test_a_request_is_looked_up(sandbox: Sandbox) -> None:
    """The look-up tells id, state, times, the caller's metadata, and the result once there is one."""
    sandbox.workflow("research-brief", reply="A brief.")
    reply = ask(sandbox, "workflow", {**DELIVERED, "metadata": {"plan": "pro"}})
    running = {
        "id": UUID,
        "request_id": RUN,
        "status": "running",
        "request_type": "workflow",
        "requestable_type": None,
        "requestable_id": None,
        "message": None,
        "generated_at": after(0),
        "started_at": after(0),
        "ended_at": None,
        "metadata": {},
        "user_metadata": {"plan": "pro"},
        "data": None,
    }
    assert looked_up(sandbox) == running
    run = go_on(sandbox, reply)
    assert run.ended_at is not None
    assert looked_up(sandbox) == {
        **running,
        "status": "completed",
        "ended_at": run.ended_at.isoformat(),
        "data": {"output": "A brief."},
    }


def test_the_result_of_each_kind_is_that_of_its_reply(sandbox: Sandbox) -> None:
    """The result of a prompt or agent is its reply's body, streamed or not; that of a hive agent is as a prompt's."""
    answer = Answer("Done.", tool_calls=[{"tool_name": "search"}], usage={"total_tokens": 3})
    sandbox.prompt("support-classifier", reply=answer)
    sandbox.agent("AGENT_UUID", reply=answer)
    sandbox.hive_agent("HIVE_UUID", reply=answer)
    for kind in ("prompt", "agent"):
        assert looked_up_of(sandbox, kind) == (kind, invoke(sandbox, kind))
        stream(sandbox, kind)
        data = looked_up(sandbox)["data"]
        assert (data["response"], data["usage"]) == ("Done.", {"total_tokens": 3})
    go_on(sandbox, ask(sandbox, "hive-agent", HIVE_AGENT))
    told = looked_up(sandbox)
    assert (told["request_type"], set(told["data"])) == ("hive_agent", {"request_id", "response", "model", "usage"})


def looked_up_of(sandbox: Sandbox, kind: str) -> tuple[str, Any]:
    """Type and data of the look-up of a new run, with the id of the run that comes after it."""
    invoke(sandbox, kind)
    told = looked_up(sandbox)
    following = f"req_{int(told['request_id'][4:], 16) + 1:032x}"
    ids = {key: following for key in ("request_id", "run_id") if key in told["data"]}
    return told["request_type"], {**told["data"], **ids}


def test_a_failed_request_tells_its_error(sandbox: Sandbox) -> None:
    """A run that failed tells the error's text, and as its data the error object with the code."""
    sandbox.prompt("support-classifier", reply=Answer(error="The model is gone", error_code="model_deprecated"))
    assert ask(sandbox, "prompt", PROMPT).status == 502
    told = looked_up(sandbox)
    assert (told["status"], told["message"]) == ("failed", "The model is gone")
    assert told["data"] == {
        "error": "The model is gone",
        "message": "The model is gone",
        "error_code": "model_deprecated",
    }


# --- workflow runs ------------------------------------------------------------------------------------


def test_a_workflow_run_is_looked_up(sandbox: Sandbox) -> None:
    """The older look-up finds a workflow's run by its UUID or its request id, while it runs and after."""
    sandbox.workflow("research-brief", reply=Answer("A brief.", usage={"total_tokens": 41}))
    reply = ask(sandbox, "workflow", DELIVERED)
    running = {
        "id": UUID,
        "started_at": after(0),
        "ended_at": None,
        "start_inputs": WORKFLOW["inputs"],
        "error_message": None,
        "duration": None,
        "total_charge": "0.0",
        "total_tokens": 0,
        "output_content": None,
        "async_webhook_url": URL,
        "token": RUN,
        "run_status": "running",
        "run_async": True,
    }
    assert look_up(sandbox, f"/workflow_runs/{UUID}") == {"workflow_run": running}
    run = go_on(sandbox, reply)
    assert run.ended_at is not None
    assert look_up(sandbox, f"/workflow_runs/{RUN}") == {
        "workflow_run": {
            **running,
            "ended_at": run.ended_at.isoformat(),
            "duration": (run.ended_at - START).total_seconds(),
            "total_tokens": 41,
            "output_content": "A brief.",
            "run_status": "completed",
        }
    }


def test_a_direct_workflow_run_is_looked_up_too(sandbox: Sandbox) -> None:
    """A direct run has no callback URL; a failed one tells its error, and has no output and no tokens."""
    sandbox.workflow("research-brief", reply=Answer(error="no"))
    ask(sandbox, "workflow", WORKFLOW)
    run = look_up(sandbox, f"/workflow_runs/{UUID.upper()}")["workflow_run"]
    assert (run["run_status"], run["error_message"], run["output_content"]) == ("failed", "no", "")
    assert (run["async_webhook_url"], run["run_async"]) == (None, False)


# --- what is not there --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/public/requests/req_nothing", "Request not found"),
        ("/public/requests/%F0%9F%98%80", "Request not found"),
        ("/public/requests/%FF%ED%A0%80", "Request not found"),
        ("/workflow_runs/nothing", "Prompt workflow run not found"),
        (f"/workflow_runs/{UUID}", "Prompt workflow run not found"),
        ("/agent/delegations/nothing", "Delegation not found"),
        ("/agent/delegations/nothing/cancel", "Delegation not found"),
    ],
)
def test_unknown_ids_are_not_found(sandbox: Sandbox, path: str, text: str) -> None:
    """An id that is not there, or is that of another kind, is 404 with the documented text and no code."""
    invoke(sandbox, "prompt")
    reply = ask(sandbox, "", b"", method="POST" if path.endswith("cancel") else "GET", path=f"/v1{path}")
    assert (reply.status, read(reply)) == (404, {"error": text, "message": text})


def test_a_thread_without_delegations_has_none(sandbox: Sandbox) -> None:
    """An unknown thread is not an error: nothing runs in it."""
    assert look_up(sandbox, "/agent/threads/nothing/delegations") == {"delegations": []}


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("POST", "/v1/nothing", 404, None),
        ("GET", "/", 404, None),
        ("POST", "/v1/prompt/invoke/", 404, None),
        ("POST", "/prompt/invoke", 404, None),
        ("GET", "/v1/public/requests/", 404, None),
        ("GET", "/v1/public/requests/a/b", 404, None),
        ("GET", "/v1/agent/invoke", 405, "POST"),
        ("DELETE", "/v1/public/requests/a", 405, "GET"),
        ("PUT", "/v1/agent/delegations/a/cancel", 405, "POST"),
        ("POST", "/v1/error_codes", 405, "GET"),
    ],
)
def test_unknown_paths_and_methods(sandbox: Sandbox, method: str, path: str, status: int, allowed: str | None) -> None:
    """An unknown path is 404 and a wrong method 405 with what is allowed, both with an error object."""
    text = "Not found" if status == 404 else "Method not allowed"
    reply = ask(sandbox, "", b"", method=method, path=path)
    assert (reply.status, read(reply), reply.headers.get("Allow")) == (
        status,
        {"error": text, "message": text},
        allowed,
    )


@pytest.mark.parametrize("path", ["/public/requests/a", "/workflow_runs/a", "/agent/threads/a/delegations"])
def test_look_ups_need_a_key(sandbox: Sandbox, path: str) -> None:
    """Without a key nothing is looked up; the method's case does not matter."""
    assert ask(sandbox, "", b"", method="get", path=f"/v1{path}", headers={}).status == 401


# --- the catalog --------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?locale=en", "?locale=xx"])
def test_the_catalog_of_error_codes_needs_no_key(sandbox: Sandbox, query: str) -> None:
    """The catalog has every code in its documented form, in English for any language, and for anybody."""
    reply = ask(sandbox, "", b"", method="GET", path=f"/v1/error_codes{query}", headers={})
    assert reply.status == 200
    body = read(reply)
    assert {key: body[key] for key in ("locale", "default_field", "compatibility_aliases")} == {
        "locale": "en",
        "default_field": "error_code",
        "compatibility_aliases": ["code"],
    }
    assert [entry["code"] for entry in body["codes"]] == [entry.code for entry in ERROR_CODES]
    assert body["codes"][0] == {
        "code": "model_deprecated",
        "status": 422,
        "field": "error_code",
        "message_key": "errors.codes.model_deprecated",
        "message": ERROR_CODES[0].message,
        "field_aliases": [],
        "category": "runtime",
        "client_action_key": "errors.client_actions.model_deprecated",
        "client_action": ERROR_CODES[0].client_action,
    }


# --- ids ----------------------------------------------------------------------------------------------


def test_request_ids_and_uuids_stand_for_each_other() -> None:
    """A request id is the UUID it is made of, and back; one of another form stands for itself."""
    request_id = new_request_id()
    assert request_id_of_uuid(uuid_of_request_id(request_id)) == request_id == request_id_of_uuid(request_id)
    assert uuid_of_request_id("req_mine") == "req_mine"


def test_what_browsers_look_for_is_not_listed_as_refused(sandbox: Sandbox) -> None:
    """A GET outside of the API leaves no trace; a wrong path within it, and a POST anywhere, are listed as refused."""
    for method, path in [("GET", "/favicon.png"), ("GET", "/v1/prompts"), ("POST", "/prompt/invoke")]:
        assert sandbox.engine.handle(method, path, {}, b"").status == 404
    assert [one.request.path for one in sandbox.engine.store.refused()] == ["/prompt/invoke", "/v1/prompts"]


def test_refused_bodies_are_kept_in_part(sandbox: Sandbox) -> None:
    """Of a refused body its beginning is kept, and nothing of one that came without a key; no secret of its query."""
    body = json.dumps({"deployment": "x" * 100_000}).encode()
    sandbox.engine.handle("POST", "/v1/prompt/invoke?Secret=whsec_1&a=1", KEY, body)
    sandbox.engine.handle("POST", "/v1/prompt/invoke", {}, body)
    without_key, without_variant = (one.request for one in sandbox.engine.store.refused())
    assert (without_variant.body, without_variant.path) == (body[:65_536], "/v1/prompt/invoke?a=1")
    assert without_key.body == b""
