"""The released fetch-hive-sdk 0.4.1 against the server of a lenient sandbox: every documented call of it works.

The wheel is downloaded from PyPI, or named by FETCH_HIVE_RELEASED_WHEEL; without either, this is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fetch_hive_sdk.sandbox import Answer, Choices, Sandbox

RELEASED = "fetch-hive-sdk==0.4.1"
SHA256 = "a885b70c15f16eb16ec7e037c001cc31b3ff20541fc723c36442ca4a962c72a1"
REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Calls every method once; prints what each gave as JSON.
PROGRAM = """
import asyncio, json, sys
import fetch_hive_sdk
from fetch_hive_sdk import FetchHive

wheel, base_url, workspace_id = sys.argv[1:]
assert fetch_hive_sdk.__file__.startswith(wheel), fetch_hive_sdk.__file__
client = FetchHive(api_key="fhk_test", base_url=base_url)
about = {"user": "user-1", "metadata": {"plan": "pro", "seats": 3, "beta": True, "note": None}}
given = {}

async def collect(events):
    return [event async for event in events]

def call(method, *arguments, label=None, **keywords):
    result = getattr(client, method)(*arguments, **keywords)
    if method.startswith("ainvoke"):
        result = asyncio.run(collect(result))
    given[label or method] = result if isinstance(result, dict) else list(result)
    return given[label or method]

prompt = {"deployment": "greeter", "inputs": {"name": "Ann"}, **about}
call("invoke_prompt", **prompt)
call("invoke_prompt", label="with variant", variant="default", **prompt)
call("invoke_prompt_stream", **prompt)
call("ainvoke_prompt_stream", **prompt)

workflow = {"deployment": "brief", "inputs": {"topic": "AI"}, "tool_approval": "policy", **about}
call("invoke_workflow", **workflow)
url = "https://example.com/callback"
call("invoke_workflow", label="with callback", async_mode=True, callback_url=url, **workflow)

artifact = "01900000-0000-7000-8000-000000000001"
agent = {
    "agent": "helper",
    "message": "Hello",
    "thread_id": "thread-1",
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    "attachments": ["https://example.com/a.pdf", {"file_url": "https://example.com/b.csv"}],
    "known_artifact_refs": [artifact],
    "artifact_refs": [artifact],
    "tool_approval": "auto_approve",
    **about,
}
call("invoke_agent", **agent)
call("invoke_agent", label="with images", agent="helper", message="Look", image_urls=["https://example.com/a.png"])
call("invoke_agent_stream", **agent)
call("ainvoke_agent_stream", **agent)
call(
    "invoke_hive_agent",
    hive_agent="hive",
    objective="Find out",
    callback_url=url,
    sources={"website_urls": ["https://example.com"]},
    metadata={"plan": "pro"},
    unattended=True,
    budget_policy="stop",
)

call("get_request", given["invoke_workflow"]["request_id"])
background = {"thread_id": "thread-2", "async_options": {"callback_url": url}}
started = call("invoke_agent", label="delegating", agent="manager", message="Go", **background)
[pending] = started["pending_delegations"]
call("list_thread_delegations", "thread-2")
call("get_agent_delegation", pending["id"])
call("cancel_agent_delegation", pending["id"])

waiting = call("invoke_agent", label="waiting", agent="clerk", message="Write")
[asked] = waiting["pending_tool_approvals"]
filters = {"status": "pending", "agent_id": "clerk", "request_id": waiting["request_id"], "limit": 10}
call("list_tool_action_approvals", workspace_id, **filters)
call("list_tool_action_approvals", workspace_id, label="by run", run_id=waiting["run_id"], cursor=None)
call("get_tool_action_approval", workspace_id, asked["approval_id"])
call("decide_tool_action_approval", workspace_id, asked["approval_id"], "allow_once")
given["methods"] = [name for name in dir(FetchHive) if not name.startswith("_")]
print(json.dumps(given))
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the released package in it."""
    folder = tmp_path_factory.mktemp("released")
    named = os.environ.get("FETCH_HIVE_RELEASED_WHEEL")
    wheel = Path(named) if named else download(folder)
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == SHA256
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder / "package")
    return folder / "package"


def download(folder: Path) -> Path:
    """The released wheel, from PyPI."""
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    ended = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, "--timeout", "10", "--retries", "1", RELEASED],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ended.returncode != 0:
        why = ended.stderr.strip().rpartition("\n")[2]
        pytest.skip(f"THE TESTS OF THE RELEASED SDK DID NOT RUN. pip cannot download {RELEASED}: {why}")
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def given(released: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each method of the released SDK gave."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    sandbox = lenient_sandbox()
    with sandbox.serve() as server:
        ended = subprocess.run(
            [sys.executable, "program.py", str(released), server.base_url, sandbox.workspace_id],
            cwd=folder,
            env={"PYTHONPATH": str(released), "no_proxy": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        server.wait_for_callbacks()
    assert ended.returncode == 0, ended.stderr
    results: dict[str, Any] = json.loads(ended.stdout)
    results["resumed"] = sandbox.engine.run(results["waiting"]["request_id"])
    return results


def lenient_sandbox() -> Sandbox:
    """What the program calls."""
    sandbox = Sandbox(lenient=True, choices=Choices(callback_retry_delays=()))
    sandbox.prompt("greeter", reply=Answer("Hello Ann", reasoning="A name."))
    sandbox.workflow("brief", reply="A brief.")
    sandbox.workflow("asks", human_in_the_loop=True, reply=lambda inputs, choice: "Asked.")
    sandbox.agent("helper", reply=Answer("Hi.", tool_calls=[{"tool_name": "look_up", "observation": {"found": 1}}]))
    sandbox.agent("manager", reply=Answer("Started.", background=[{"deployment": "asks"}]))
    sandbox.agent("clerk", reply=Answer("Sent.", tool_calls=[{"tool_name": "send_mail", "needs_approval": True}]))
    sandbox.hive_agent("hive", reply="Found.")
    return sandbox


def test_every_method_was_called(given: dict[str, Any]) -> None:
    """No method of the released client was left out but those of the management resources."""
    resources = re.compile(r"_(knowledge_base|agent|agent_chat|knowledge_base_item)(s|_items|_messages)?$")
    verbs = ("list_", "get_", "create_", "update_", "delete_", "search_", "regenerate_", "clear_")
    management = {name for name in given["methods"] if name.startswith(verbs) and resources.search(name)}
    assert set(given["methods"]) - management == given.keys() & set(given["methods"])
    assert len(management) == 23


@pytest.mark.parametrize("call", ["invoke_prompt", "with variant"])
def test_prompts(given: dict[str, Any], call: str) -> None:
    """A prompt gives its response, with or without a variant."""
    reply = given[call]
    assert (reply["response"], reply["usage"]["total_tokens"] > 0) == ("Hello Ann", True)
    assert REQUEST_ID.fullmatch(reply["request_id"])


@pytest.mark.parametrize("call", ["invoke_prompt_stream", "ainvoke_prompt_stream"])
def test_prompt_streams(given: dict[str, Any], call: str) -> None:
    """A prompt's stream gives reasoning, the response in pieces, and usage at the end."""
    events = given[call]
    texts = {
        kind: "".join(event["response"] for event in events if event["type"] == kind)
        for kind in ("reasoning", "response")
    }
    assert texts == {"reasoning": "A name.", "response": "Hello Ann"}
    assert (events[-1]["type"], events[-1]["stop_reason"]) == ("usage", "completed")


def test_workflows(given: dict[str, Any]) -> None:
    """A workflow gives the documented keys, and those that the old README reads: `status` and `run_id`."""
    direct, deferred = given["invoke_workflow"], given["with callback"]
    assert (direct["run_status"], direct["status"], direct["output"]) == ("completed", "completed", "A brief.")
    assert (deferred["run_status"], deferred["status"], bool(deferred["webhook_secret"])) == (
        "running",
        "running",
        True,
    )
    for reply in (direct, deferred):
        assert reply["run_id"] == reply["request_id"]


@pytest.mark.parametrize("call", ["invoke_agent", "with images"])
def test_agents(given: dict[str, Any], call: str) -> None:
    """An agent gives its response, tool calls and thread, with every argument or with few."""
    reply = given[call]
    assert (reply["response"], reply["status"], reply["run_id"]) == ("Hi.", "completed", reply["request_id"])
    assert reply["tool_calls"] == [{"tool_name": "look_up", "tool_input": "{}", "observation": '{"found":1}'}]
    assert reply["thread_id"] == ("thread-1" if call == "invoke_agent" else None)


@pytest.mark.parametrize("call", ["invoke_agent_stream", "ainvoke_agent_stream"])
def test_agent_streams(given: dict[str, Any], call: str) -> None:
    """An agent's stream gives the tool, the response and a final usage event with its state."""
    events = given[call]
    assert [event["type"] for event in events] == ["tool", "response", "usage"]
    assert (events[0]["tool"], events[1]["response"]) == ("look_up", "Hi.")
    assert (events[2]["status"], events[2]["thread_id"]) == ("completed", "thread-1")


def test_hive_agents(given: dict[str, Any]) -> None:
    """A hive agent gives ids, `pending` and the secret of its callback."""
    reply = given["invoke_hive_agent"]
    assert reply.keys() == {"run_id", "request_id", "status", "webhook_secret"}
    assert (reply["status"], UUID.fullmatch(reply["run_id"]) is not None) == ("pending", True)


def test_look_ups(given: dict[str, Any]) -> None:
    """A request's look-up tells what kind of run it was, how it ended, and the caller's metadata."""
    found = given["get_request"]
    assert (found["status"], found["request_type"]) == ("completed", "workflow")
    assert found["user_metadata"] == {"plan": "pro", "seats": 3, "beta": True, "note": None}
    assert {"id", "message", "generated_at", "started_at", "ended_at", "data"} <= found.keys()


def test_delegations(given: dict[str, Any]) -> None:
    """A workflow in the background is listed with its thread, looked up, and cancelled."""
    [pending] = given["delegating"]["pending_delegations"]
    [listed] = given["list_thread_delegations"]["delegations"]
    assert (pending["id"], pending["kind"]) == (listed["id"], "workflow")
    assert listed["parent_request_id"] == given["delegating"]["request_id"]
    assert given["get_agent_delegation"]["status"] == "running"
    assert (given["cancel_agent_delegation"]["id"], given["cancel_agent_delegation"]["status"]) == (
        pending["id"],
        "cancelled",
    )


def test_approvals(given: dict[str, Any]) -> None:
    """A tool call that waits is listed, looked up and allowed; then the run resumes on the server."""
    [asked] = given["waiting"]["pending_tool_approvals"]
    lists = [given["list_tool_action_approvals"], given["by run"]]
    assert [[approval["id"] for approval in found["approvals"]] for found in lists] == [[asked["approval_id"]]] * 2
    assert given["get_tool_action_approval"]["approval"]["status"] == "pending"
    assert given["decide_tool_action_approval"]["approval"]["decision"] == "allow_once"
    assert (given["waiting"]["status"], given["resumed"].status) == ("awaiting_approval", "completed")
