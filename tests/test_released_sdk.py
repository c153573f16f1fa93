"""The released fetch-hive-sdk 0.4.1 beside this one: one program, two sandboxes; the same is sent, and the same comes.

The program calls every method of 0.4.1. What differs on purpose is listed here, one by one; anything else is a failure.
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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fetch_hive_sdk
from fetch_hive_sdk.sandbox import Answer, Choices, Sandbox

from .sandbox_requests import START, counted_ids

RELEASED = "fetch-hive-sdk==0.4.1"
SHA256 = "a885b70c15f16eb16ec7e037c001cc31b3ff20541fc723c36442ca4a962c72a1"
REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Calls every method at least once; prints what each gave as JSON, and what the methods' arguments are.
PROGRAM = """
import asyncio, inspect, json, sys
import fetch_hive_sdk
import httpx
from fetch_hive_sdk import FetchHive

package, base_url, workspace_id = sys.argv[1:]
assert fetch_hive_sdk.__file__.startswith(package), fetch_hive_sdk.__file__
client = FetchHive(api_key="fhk_test", base_url=base_url)
about = {"user": "user-1", "metadata": {"plan": "pro", "seats": 3, "beta": True, "note": None}}
given = {}

async def collect(events):
    return [event async for event in events]

def call(method, *arguments, label=None, **keywords):
    result = getattr(client, method)(*arguments, **keywords)
    if method.startswith("ainvoke"):
        result = asyncio.run(collect(result))
    assert (label or method) not in given
    given[label or method] = dict(result) if hasattr(result, "keys") else [dict(event) for event in result]
    return given[label or method]

def refused(method, *arguments, label, client=client, **keywords):
    try:
        list(getattr(client, method)(*arguments, **keywords))
    except httpx.HTTPStatusError as error:
        answer = None if "stream" in method else error.response.json()  # which 0.4.1 has not read
        given[label] = [error.response.status_code, str(error.request.url), answer]

prompt = {"deployment": "greeter", "inputs": {"name": "Ann"}, **about}
call("invoke_prompt", **prompt)
call("invoke_prompt", label="with variant", variant="default", **prompt)
call("invoke_prompt_stream", **prompt)
call("ainvoke_prompt_stream", **prompt)

workflow = {"deployment": "brief", "inputs": {"topic": "AI"}, "tool_approval": "policy", **about}
call("invoke_workflow", **workflow)
url = "https://example.com/callback"
call("invoke_workflow", label="with callback", async_mode=True, callback_url=url, **workflow)
call("invoke_workflow", label="without async_mode", callback_url=url, **workflow)
call("invoke_workflow", label="async_mode=False", async_mode=False, callback_url=url, **workflow)

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
call("invoke_agent", label="with both", **{**agent, "image_urls": ["https://example.com/a.png"]})
call("invoke_agent", label="with empty lists", agent="helper", message="Hi", attachments=[], image_urls=[], messages=[])
call("invoke_agent", label="with no artifacts", agent="helper", message="Hi", known_artifact_refs=[], artifact_refs=[])
call("invoke_agent", label="with empty texts", agent="helper", message="Hi", thread_id="", user="", metadata={})
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
call("list_thread_delegations", "thread-2/delegations?x=", label="escaped")

knowledge_base = {"name": "Handbook", "search_type": "hybrid", "search_score_threshold": 0.0, "search_chunk_limit": 5}
made = call("create_knowledge_base", workspace_id, knowledge_base)["knowledge_base"]["id"]
call("list_knowledge_bases", workspace_id)
call("get_knowledge_base", workspace_id, made)
call("update_knowledge_base", workspace_id, made, {"description": None, "name": "Book"})
item = {"name": "Holidays", "item_type": "custom", "data_content": "There are 30 holidays.", "data_query": None}
within = workspace_id, made, call("create_knowledge_base_item", workspace_id, made, item)["knowledge_base_item"]["id"]
call("list_knowledge_base_items", workspace_id, made)
call("get_knowledge_base_item", *within)
call("update_knowledge_base_item", *within, {"name": "Days off", "chunk_overlap": 1})
call("regenerate_knowledge_base_item", *within)
search = {"search_query": "holidays", "search_type": "full_text", "search_chunk_limit": 3, "search_score_threshold": 0}
call("search_knowledge_base", workspace_id, made, **search)
call("delete_knowledge_base_item", *within)
call("delete_knowledge_base", workspace_id, made)

new = {"name": "Ann", "llm_model": "sandbox-model", "model_type": "llm", "temperature": 0.5, "max_token": 100}
made = call("create_agent", workspace_id, new)["agent"]["id"]
call("list_agents", workspace_id)
call("get_agent", workspace_id, made)
call("update_agent", workspace_id, made, {"reasoning_effort": "low", "description": "Helps"})
within = workspace_id, made, call("create_agent_chat", workspace_id, made, {"name": "Chat"})["chat"]["id"]
call("get_agent_chat", *within)
call("update_agent_chat", *within, {"name": "Renewal"})
call("list_agent_chat_messages", *within)
call("clear_agent_chat_messages", *within)
call("delete_agent_chat", *within)
call("delete_agent", workspace_id, made)

refused("get_request", "req_unknown", label="unknown request")
refused("get_knowledge_base", workspace_id, "unknown", label="unknown knowledge base")
refused("get_agent", "another-workspace", made, label="another workspace")
wrong = FetchHive(api_key="fhk_wrong", base_url=base_url)
refused("invoke_prompt", deployment="greeter", client=wrong, label="wrong key")
refused("invoke_prompt_stream", deployment="greeter", client=wrong, label="wrong key of a stream")

given["failing stream"] = []
try:
    for event in client.invoke_prompt_stream(deployment="failing"):
        given["failing stream"].append(dict(event))
except Exception as error:
    failure = type(error).__name__
else:
    failure = None

functions = {name: getattr(FetchHive, name) for name in dir(FetchHive) if not name.startswith("_")}
methods = {
    name: [[one.name, one.kind.name, repr(one.default)] for one in inspect.signature(function).parameters.values()]
    for name, function in {"__init__": FetchHive.__init__, **functions}.items()
    if callable(function)
}
print(json.dumps([given, methods, failure]))
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


@dataclass
class Ran:
    """What came of the program with one of the SDKs.

    Attributes:
        given: What each call gave.
        sent: The request of each call: method, path with query, and JSON body.
        methods: Name, kind and default of the arguments of each method.
        failure: What a stream whose run fails has raised, after its events.
        resumed: The run that waited for a decision, at the end.
    """

    given: dict[str, Any]
    sent: dict[str, Any]
    methods: dict[str, list[list[str]]]
    failure: str | None
    resumed: Any


def run_program(package: Path, folder: Path) -> Ran:
    """The program, run with the package that is in a folder."""
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    sandbox = lenient_sandbox()
    requests: list[Any] = []
    handle = sandbox.engine.handle

    def record(method: str, path: str, headers: Mapping[str, str], body: bytes, **more: Any) -> Any:
        requests.append([method, path, json.loads(body) if body else None])
        return handle(method, path, headers, body, **more)

    sandbox.engine.handle = record  # type: ignore[method-assign]
    with sandbox.serve() as server:
        ended = subprocess.run(
            [sys.executable, "program.py", str(package), server.base_url, sandbox.workspace_id],
            cwd=folder,
            env={"PYTHONPATH": str(package), "no_proxy": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        server.wait_for_callbacks()
    assert ended.returncode == 0, ended.stderr
    origin = server.base_url.removesuffix("/v1")
    given, methods, failure = json.loads(ended.stdout.replace(origin, "http://sandbox"))
    assert len(given) == len(requests)
    sent = dict(zip(given, requests, strict=True))
    return Ran(given, sent, methods, failure, sandbox.engine.run(given["waiting"]["request_id"]))


@pytest.fixture(scope="module")
def old(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """What came of the program with the released SDK."""
    return run_program(released, tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def new(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """What came of the program with this one."""
    return run_program(Path(fetch_hive_sdk.__file__).parent.parent, tmp_path_factory.mktemp("new"))


@pytest.fixture(scope="module")
def given(old: Ran) -> dict[str, Any]:
    """What each method of the released SDK gave."""
    return old.given


def lenient_sandbox() -> Sandbox:
    """What the program calls. Its clock stands still, its request ids are counted."""
    ids = counted_ids()
    sandbox = Sandbox(
        api_key="fhk_test",
        lenient=True,
        choices=Choices(callback_delivery="manual"),  # else a delegation tells that it was delivered, or not yet
        clock=lambda: START,
        new_request_id=lambda: next(ids),
    )
    sandbox.prompt("greeter", reply=Answer("Hello Ann", reasoning="A name."))
    sandbox.prompt("failing", reply=Answer("Hel", error="The provider failed", error_code="internal_server_error"))
    sandbox.workflow("brief", reply="A brief.", secret="whsec_brief")
    sandbox.workflow("asks", human_in_the_loop=True, reply=lambda inputs, choice: "Asked.")
    sandbox.agent("helper", reply=Answer("Hi.", tool_calls=[{"tool_name": "look_up", "observation": {"found": 1}}]))
    sandbox.agent("manager", reply=Answer("Started.", background=[{"deployment": "asks"}]))
    sandbox.agent("clerk", reply=Answer("Sent.", tool_calls=[{"tool_name": "send_mail", "needs_approval": True}]))
    sandbox.hive_agent("hive", reply="Found.", secret="whsec_hive")
    return sandbox


# --- side by side ---------------------------------------------------------------------------------------

# The requests that differ on purpose: the defect of 0.4.1 that is no more, what it sends, and what this SDK sends.
DIFFERENT_REQUESTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "without async_mode": (
        "8: callback_url is ignored without async_mode=True, and the workflow runs synchronously",
        {},
        {"async": {"enabled": True, "callback_url": "https://example.com/callback"}},
    ),
    "with images": (
        "9: image_urls are sent as attachments",
        {"attachments": ["https://example.com/a.png"]},
        {"image_urls": ["https://example.com/a.png"]},
    ),
    "with both": (
        "9: image_urls are dropped beside attachments",
        {},
        {"image_urls": ["https://example.com/a.png"]},
    ),
    "with empty lists": ("9: empty lists are dropped", {}, {"attachments": [], "image_urls": []}),
    "with no artifacts": ("9: empty lists are dropped", {}, {"known_artifact_refs": [], "artifact_refs": []}),
}
ESCAPED = "10: ids are pasted into the path as they are"


def with_places(ran: Ran) -> Any:
    """Results and requests, where a random id is a number: that of its first appearance."""
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return numbers.setdefault(found[0], f"<id {len(numbers)}>")

    text = json.dumps([ran.given, ran.sent])
    return json.loads(re.sub(rf"{UUID.pattern}|{REQUEST_ID.pattern}", number, text))


def test_same_requests(old: Ran, new: Ran) -> None:
    """Every call sends what it sent with 0.4.1, but for the listed defects of that."""
    sent, sends = with_places(old)[1], with_places(new)[1]
    assert (sent.pop("escaped")[1], sends.pop("escaped")[1]) == (
        "/v1/agent/threads/thread-2/delegations?x=/delegations",
        "/v1/agent/threads/thread-2%2Fdelegations%3Fx%3D/delegations",
    ), ESCAPED
    for label, (_, only_old, only_new) in DIFFERENT_REQUESTS.items():
        assert only_old.items() <= sent[label][2].items()
        assert only_new.items() <= sends[label][2].items()
        sent[label][2] = {name: value for name, value in sent[label][2].items() if name not in only_old}
        sends[label][2] = {name: value for name, value in sends[label][2].items() if name not in only_new}
    assert sent == sends


def test_same_results(old: Ran, new: Ran) -> None:
    """Every call gives what it gave with 0.4.1, as plain dicts; what was refused then is refused alike."""
    gave, gives = with_places(old)[0], with_places(new)[0]
    # Run synchronously then, with callback delivery now: defect 8.
    assert (gave.pop("without async_mode")["run_status"], gives.pop("without async_mode")["run_status"]) == (
        "completed",
        "running",
    )
    assert gave == gives


def test_failing_stream(old: Ran, new: Ran) -> None:
    """A run that fails while it is streamed gives the same events; after them comes an error, and no silent end."""
    assert [event["type"] for event in new.given["failing stream"]] == ["response", "error"]
    assert (old.failure, new.failure) == (None, "StreamFailedError"), "7: error events are never raised"


# Defaults that differ on purpose.
LEFT_OUT = "what is left out is None, and not an empty text"
DIFFERENT_DEFAULTS: dict[tuple[str, str], tuple[str, str, str]] = {
    ("__init__", "base_url"): ("'https://api.fetchhive.com/v1'", "None", "FETCH_HIVE_BASE_URL may name it"),
    ("__init__", "timeout"): ("120.0", "300.0", "4: a workflow may take longer than 120 s"),
    ("invoke_prompt", "variant"): ("''", "None", LEFT_OUT),
    ("invoke_prompt_stream", "variant"): ("''", "None", LEFT_OUT),
    ("invoke_workflow", "variant"): ("''", "None", LEFT_OUT),
    ("invoke_workflow", "async_mode"): ("False", "None", "8: callback_url= alone asks for callback delivery"),
    ("invoke_agent", "thread_id"): ("''", "None", LEFT_OUT),
    ("invoke_agent_stream", "thread_id"): ("''", "None", LEFT_OUT),
}


def test_same_arguments(old: Ran, new: Ran) -> None:
    """Every method of 0.4.1 is there, with its arguments in their order and its defaults, but for the listed ones."""
    different: dict[tuple[str, str], tuple[str, str]] = {}
    for method, was in old.methods.items():
        now = {name: [kind, default] for name, kind, default in new.methods[method]}
        shared = [name for name in now if name in [argument[0] for argument in was]]
        assert [argument[0] for argument in was] == shared, method
        # By position, none comes before those that were there.
        positional = [name for name, (kind, _) in now.items() if kind == "POSITIONAL_OR_KEYWORD"]
        assert [name for name, kind, _ in was if kind == "POSITIONAL_OR_KEYWORD"] == positional, method
        for name, kind, default in was:
            assert now[name][0] == kind, (method, name)
            if now[name][1] != default:
                different[method, name] = (default, now[name][1])
    assert different == {place: values[:2] for place, values in DIFFERENT_DEFAULTS.items()}


def test_same_names(released: Path) -> None:
    """What could be imported from 0.4.1's modules can be imported from the same places."""
    public = re.compile(r"^(?:async def|def|class) ([A-Za-z]\w*)|^([A-Z]\w*) = ", re.MULTILINE)
    for file in sorted((released / "fetch_hive_sdk").glob("*.py")):
        module = "fetch_hive_sdk" if file.stem == "__init__" else f"fetch_hive_sdk.{file.stem}"
        text = file.read_text(encoding="utf-8")
        names = {one or other for one, other in public.findall(text)}
        if file.stem == "__init__":
            names = set(re.findall(r'"(\w+)"', text.partition("__all__ = ")[2]))
        assert names
        exec(f"from {module} import {', '.join(sorted(names))}", {})


def readme(released: Path) -> list[str]:
    """The Python snippets of the released README."""
    [metadata] = released.glob("*.dist-info/METADATA")
    return re.findall(r"^```python\n(.*?)^```", metadata.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_readme(released: Path, tmp_path: Path) -> None:
    """The snippets of 0.4.1's README run, unchanged but for the ids, and print what they promise."""
    sandbox = Sandbox(lenient=True, choices=Choices(callback_retry_delays=()))
    sandbox.prompt("my-prompt", reply="Hello Alice")
    sandbox.workflow("my-workflow", reply="A brief.")
    sandbox.agent("my-agent", reply=Answer("It rains.", tool_calls=[{"tool_name": "look_up"}]))
    sandbox.agent("vision-agent", reply="A cat.")
    sandbox.agent("clerk", reply=Answer("Sent.", tool_calls=[{"tool_name": "send_mail", "needs_approval": True}]))
    waiting = sandbox.client().invoke_agent(agent="clerk", message="Write")
    snippets = readme(released)
    text = "\n".join(snippets).replace("WORKSPACE_ID", sandbox.workspace_id)
    text = text.replace("APPROVAL_ID", waiting.pending_tool_approvals[0].approval_id)
    (tmp_path / "readme.py").write_text(text, encoding="utf-8")
    with sandbox.serve() as server:
        ended = subprocess.run(
            [sys.executable, "readme.py"],
            cwd=tmp_path,
            env={
                "PYTHONPATH": str(Path(fetch_hive_sdk.__file__).parent.parent),
                "FETCH_HIVE_BASE_URL": server.base_url,
                "FETCH_HIVE_API_KEY": "fhk_test",
                "no_proxy": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (len(snippets), ended.returncode) == (11, 0), ended.stderr
    streamed = "It rains."
    for printed in ("Hello Alice\n", "completed A brief.\n", "\n[Calling tool: look_up]", "\nUsage: {", "A cat.\n"):
        assert printed in ended.stdout
    assert re.search(r"^Queued: req_[0-9a-f]{32}$", ended.stdout, re.MULTILINE)
    assert ended.stdout.count(streamed) == 3
    assert [run.status for run in sandbox.runs if run.request_id == waiting.request_id] == ["completed"]


# --- the released SDK against the sandbox -----------------------------------------------------------------


def test_every_method_was_called(old: Ran) -> None:
    """No method of the released client was left out."""
    assert old.methods.keys() - {"__init__"} <= old.given.keys()
    assert len(old.methods) == 1 + 38


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


def test_approvals(old: Ran) -> None:
    """A tool call that waits is listed, looked up and allowed; then the run resumes on the server."""
    given = old.given
    [asked] = given["waiting"]["pending_tool_approvals"]
    lists = [given["list_tool_action_approvals"], given["by run"]]
    assert [[approval["id"] for approval in found["approvals"]] for found in lists] == [[asked["approval_id"]]] * 2
    assert given["get_tool_action_approval"]["approval"]["status"] == "pending"
    assert given["decide_tool_action_approval"]["approval"]["decision"] == "allow_once"
    assert (given["waiting"]["status"], old.resumed.status) == ("awaiting_approval", "completed")
