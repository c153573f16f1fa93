"""`fetch-hive invoke` and `fetch-hive runs` against a sandbox on a real socket."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from fetch_hive_sdk import FetchHive
from fetch_hive_sdk.sandbox import Answer, Choices, Run, Sandbox

from . import cli_runner
from .cli_runner import Ended
from .faulty_server import FaultyServer, json_reply, say_nothing, stream

FAILURE = Answer(error="step 3 failed", error_code="iteration_limit_exceeded")


@pytest.fixture
def sandbox() -> Sandbox:
    """A sandbox with a reply for each kind of run."""
    sandbox = Sandbox()
    sandbox.prompt("classifier", reply="billing")
    sandbox.prompt("broken", reply=FAILURE)
    sandbox.workflow("brief", reply=lambda inputs: f"A brief on {inputs.get('topic')}.", secret="whsec_of_brief")
    sandbox.agent("helper", reply=Answer("Done.\n", tool_calls=[{"tool_name": "search", "observation": "2 hits"}]))
    return sandbox


@pytest.fixture
def service(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The sandbox, served, and the environment set to it."""
    with sandbox.serve() as server:
        monkeypatch.setenv("FETCH_HIVE_BASE_URL", server.base_url)
        monkeypatch.setenv("FETCH_HIVE_API_KEY", server.api_key)
        yield sandbox


def invoke(*arguments: str, stdin: str | None = None) -> Ended:
    """Run `fetch-hive invoke`."""
    return cli_runner.run("invoke", *arguments, stdin=stdin)


def only_run(sandbox: Sandbox) -> Run:
    """The one run that was accepted."""
    (run,) = sandbox.runs
    return run


# --- prompts --------------------------------------------------------------------------------------------


def test_a_prompt_answers_on_standard_output(service: Sandbox) -> None:
    """The answer alone is on standard output; run, model, time and tokens stand on standard error."""
    ended = invoke("prompt", "classifier", "--variant", "default")
    run = only_run(service)

    assert (0, "billing\n") == (ended.exit_code, ended.out)
    assert ended.err.startswith(run.request_id)
    assert ended.err.endswith(" tokens\n")


def test_what_a_prompt_is_sent(service: Sandbox) -> None:
    """Inputs are text or JSON as asked for, metadata are typed, and the user is passed on."""
    ended = invoke(
        *["prompt", "classifier", "--variant", "v2", "--input", "ticket=30", "--input-json", 'tags=["a", {"b": null}]'],
        *["--metadata", "plan=pro", "--metadata", "beta_user=true", "--metadata", "renewal_window_days=30"],
        *["--metadata", 'zip="01234"', "--user", "ann"],
    )
    run = only_run(service)

    assert 0 == ended.exit_code
    assert ("v2", "ann") == (run.variant, run.user)
    assert {"ticket": "30", "tags": ["a", {"b": None}]} == run.inputs
    assert {"plan": "pro", "beta_user": True, "renewal_window_days": 30, "zip": "01234"} == run.metadata


def test_inputs_from_standard_input(service: Sandbox) -> None:
    """A file of inputs may be standard input."""
    invoke("prompt", "classifier", "--variant", "v", "--inputs-file", "-", stdin='{"a": 1}')

    assert {"a": 1} == only_run(service).inputs


def test_a_prompt_as_json(service: Sandbox) -> None:
    """With --json the answer is the service's own, in one line, and nothing else is written."""
    ended = invoke("prompt", "classifier", "--variant", "default", "--json")
    answer = json.loads(ended.out)

    assert (0, "", 1) == (ended.exit_code, ended.err, ended.out.count("\n"))
    assert ("billing", only_run(service).request_id) == (answer["response"], answer["request_id"])


def test_a_streamed_prompt(service: Sandbox) -> None:
    """Streamed text comes to standard output in one piece; with --json each event is one line."""
    service.prompt("poet", reply="One two three")
    ended = invoke("prompt", "poet", "--variant", "default", "--stream")

    assert (0, "One two three\n") == (ended.exit_code, ended.out)
    assert ended.err.startswith("req_")

    ended = invoke("prompt", "poet", "--variant", "default", "--stream", "--json")
    events = [json.loads(line) for line in ended.out.splitlines()]

    assert (0, "") == (ended.exit_code, ended.err)
    assert "One two three" == "".join(event.get("response", "") for event in events)
    assert "usage" == events[-1]["type"]


def test_a_run_that_fails_in_a_stream(service: Sandbox) -> None:
    """A run that fails while it is streamed ends with exit code 1 and its error."""
    ended = invoke("prompt", "broken", "--variant", "default", "--stream")

    assert (1, "") == (ended.exit_code, ended.out)
    assert "step 3 failed" in ended.err
    assert only_run(service).request_id in ended.err


def test_a_stream_that_breaks_off(faulty: FaultyServer) -> None:
    """What came of a stream that broke off is on standard output, the line is ended, and the exit code is 5."""
    faulty.then(stream('{"type":"response","response":"One tw","request_id":"req_1"}'))
    ended = invoke("prompt", "poet", "--stream", "--base-url", faulty.base_url, "--api-key", "fhk_x")

    assert (5, "One tw\n") == (ended.exit_code, ended.out)
    assert "interrupted" in ended.err


def test_a_refused_call(service: Sandbox) -> None:
    """What the service refuses ends with exit code 4, its words and what to do."""
    ended = invoke("prompt", "classifier")

    assert (4, "") == (ended.exit_code, ended.out)
    assert "Error: POST /prompt/invoke was answered 400" in ended.err
    assert "deployment or variant" in ended.err


def test_arguments_that_the_sdk_refuses(service: Sandbox) -> None:
    """What the SDK refuses to send is wrong usage."""
    ended = invoke("prompt", " ")

    assert (2, "") == (ended.exit_code, ended.out)
    assert "deployment: it is empty." in ended.err
    assert [] == service.runs


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
@pytest.mark.parametrize("kind", ["prompt", "workflow"])
def test_a_timeout_that_is_none(kind: str, seconds: str, service: Sandbox) -> None:
    """A timeout that is not above 0 is wrong usage."""
    ended = invoke(kind, "x", "--timeout", seconds)

    assert (2, "") == (ended.exit_code, ended.out)
    assert "'--timeout'" in ended.err
    assert [] == service.runs


def test_an_empty_key_is_a_mistake(service: Sandbox) -> None:
    """`--api-key "$NOT_SET"` says that it is empty, and takes no other key."""
    ended = invoke("prompt", "x", "--api-key", "")

    assert (2, "") == (ended.exit_code, ended.out)
    assert "Invalid value for --api-key: it is empty." in ended.err


def test_nobody_answers(faulty: FaultyServer) -> None:
    """Where nobody answers the exit code is 5, and the timeout is the one given."""
    faulty.then(say_nothing)
    ended = invoke("prompt", "x", "--base-url", faulty.base_url, "--api-key", "fhk_x", "--timeout", "0.2")

    assert (5, "") == (ended.exit_code, ended.out)
    assert "no complete answer came in time" in ended.err
    assert "longer than --timeout allows" in ended.err


def test_an_interrupted_run_goes_on(service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a run is waited for says that it goes on."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FetchHive, "invoke_prompt", interrupt)
    ended = invoke("prompt", "classifier")

    assert (130, "A run that has started goes on, and may be billed.\nInterrupted.\n") == (ended.exit_code, ended.err)


def test_keys_are_never_shown(service: Sandbox) -> None:
    """A wrong key is refused without being shown."""
    with Sandbox(api_key="fhk_right").serve() as server:
        ended = invoke("prompt", "x", "--variant", "d", "--base-url", server.base_url, "--api-key", "fhk_secret_wrong")

    assert 4 == ended.exit_code
    assert "--api-key" in ended.err
    assert "fhk_secret_wrong" not in ended.err


# --- workflows ------------------------------------------------------------------------------------------


def test_a_workflow(service: Sandbox) -> None:
    """A direct run's output is on standard output, its id on standard error."""
    ended = invoke("workflow", "brief", "--variant", "default", "--input", "topic=AI")

    assert Ended(0, "A brief on AI.\n", f"{only_run(service).request_id}\n") == ended


def test_a_workflow_as_json(service: Sandbox) -> None:
    """With --json a workflow's answer is the service's own."""
    ended = invoke("workflow", "brief", "--variant", "default", "--json")

    assert (0, "") == (ended.exit_code, ended.err)
    assert {"request_id", "run_status", "output"} == set(json.loads(ended.out))


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_workflow_that_fails(more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends in failure has exit code 1; its error is on standard error, or in the JSON."""
    sandbox = Sandbox(choices=Choices(failed_workflow="state"))
    sandbox.workflow("brief", reply=FAILURE)
    with sandbox.serve() as server:
        ended = invoke("workflow", "brief", "--variant", "d", *more, "--base-url", server.base_url, "--api-key", "k")

    assert 1 == ended.exit_code
    if more:
        assert ("step 3 failed", "") == (json.loads(ended.out)["error"], ended.err)
    else:
        assert "" == ended.out
        assert ended.err.startswith("The workflow failed: step 3 failed\nreq_")


def test_a_workflow_with_callback_delivery(service: Sandbox) -> None:
    """With a callback URL the command returns at once; the secret is shown only where asked for."""
    arguments = ["workflow", "brief", "--variant", "default", "--callback-url", "http://127.0.0.1:9/hook"]

    ended = invoke(*arguments)
    lines = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert (0, "") == (ended.exit_code, ended.err)
    assert "running" == lines["run_status"]
    assert lines["request_id"].startswith("req_")
    assert "**********  (--show-secret shows it)" == lines["webhook_secret"]

    assert "whsec_of_brief" in invoke(*arguments, "--show-secret").out
    assert "**********" == json.loads(invoke(*arguments, "--json").out)["webhook_secret"]
    assert "whsec_of_brief" == json.loads(invoke(*arguments, "--json", "--show-secret").out)["webhook_secret"]


def test_a_workflow_in_an_unknown_state(faulty: FaultyServer) -> None:
    """A state that is newer than the SDK is shown as it is."""
    faulty.then(json_reply('{"request_id": "req_1", "run_status": "dreaming"}'))
    ended = invoke("workflow", "brief", "--base-url", faulty.base_url, "--api-key", "fhk_x")

    assert Ended(0, "run_status      dreaming\nrequest_id      req_1\n", "") == ended


def test_tool_approval_is_passed_on(service: Sandbox) -> None:
    """--tool-approval is sent with workflows and agents."""
    invoke("workflow", "brief", "--variant", "default", "--tool-approval", "auto_approve")
    invoke("agent", "helper", "Hello", "--tool-approval", "policy")

    assert ["auto_approve", "policy"] == [run.request["tool_approval"] for run in service.runs]


# --- agents ---------------------------------------------------------------------------------------------


def test_an_agent(service: Sandbox) -> None:
    """An agent's reply is on standard output as it is; the thread, metadata and callback URL are passed on."""
    ended = invoke(
        *["agent", "helper", "Hello", "--thread-id", "t 1", "--metadata", "n=1", "--user", "ann"],
        *["--callback-url", "http://127.0.0.1:9/hook"],
    )
    run = only_run(service)

    assert (0, "Done.\n") == (ended.exit_code, ended.out)
    assert ("Hello", "t 1", {"n": 1}, "ann") == (run.message, run.thread_id, run.metadata, run.user)
    assert {"callback_url": "http://127.0.0.1:9/hook"} == run.request["async"]


def test_a_message_from_standard_input(service: Sandbox) -> None:
    """A message of - is standard input, line breaks and all."""
    invoke("agent", "helper", "-", stdin="Dear…\nall")

    assert "Dear…\nall" == only_run(service).message


def test_a_streamed_agent(service: Sandbox) -> None:
    """A streamed reply comes to standard output, the tools it used to standard error."""
    ended = invoke("agent", "helper", "Hello", "--stream")

    assert (0, "Done.\n") == (ended.exit_code, ended.out)
    assert ended.err.startswith("tool: search\n")


def test_what_is_said_about_a_reply(faulty: FaultyServer) -> None:
    """Files, waiting approvals, denied tools and background work are told on standard error, a line each."""
    answer = {
        "request_id": "req_1",
        "response": "Wait.",
        "status": "awaiting_approval",
        "artifacts": [{"file_name": "a.pdf", "file_url": "https://files.test/a.pdf"}],
        "pending_tool_approvals": [
            {"approval_id": "a1", "tool_name": "mail", "summary": "to\nAnn", "review_url": "https://app.test/a1"},
            {"approval_id": "a2", "tool_name": "mail", "summary": "to Bob"},
        ],
        "denied_tool_calls": [{"tool_name": "shell"}],
        "pending_delegations": [{"id": "d1", "kind": "workflow"}],
        "usage": {},
    }
    faulty.then(json_reply(json.dumps(answer)))
    ended = invoke("agent", "helper", "Hello", "--base-url", faulty.base_url, "--api-key", "fhk_x")

    assert (0, "Wait.\n") == (ended.exit_code, ended.out)
    assert [
        "artifact: a.pdf https://files.test/a.pdf",
        "waits for approval: mail: to Ann (a1) https://app.test/a1",
        "waits for approval: mail: to Bob (a2)",
        "Decide it in the dashboard, or in the sandbox's run log; the run then goes on by itself.",
        "denied: shell",
        "in the background: workflow d1",
        "req_1",
    ] == ended.err.splitlines()


# --- runs -----------------------------------------------------------------------------------------------


def test_a_run_is_looked_up(service: Sandbox) -> None:
    """A run is shown with its state, times, metadata and what came of it; with --json as the service tells it."""
    invoke("workflow", "brief", "--variant", "default", "--input", "topic=AI", "--metadata", "plan=pro")
    request_id = only_run(service).request_id
    ended = cli_runner.run("runs", "get", request_id)
    shown = [line.split(maxsplit=1) for line in ended.out.splitlines()]

    assert (0, "") == (ended.exit_code, ended.err)
    assert [["request_id", request_id], ["type", "workflow"], ["status", "completed"]] == shown[:3]
    assert ["metadata", "plan = pro"] in shown
    assert ["started", "ended"] == [name for name, _ in shown if name in ("started", "ended")]
    assert " ms)" in ended.out

    assert request_id == json.loads(cli_runner.run("runs", "get", request_id, "--json").out)["request_id"]


def test_a_run_is_waited_for(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --wait a run that has ended is shown at once; one that goes on ends with exit code 5 and what to do."""
    sandbox.workflow("asks", human_in_the_loop=True, reply=lambda inputs, choice: "Asked.")
    with sandbox.client() as client:  # without a server the run has paused when the call returns
        url = "https://example.com/callback"
        request_id = client.invoke_workflow(deployment="asks", variant="default", callback_url=url).request_id
    with sandbox.serve() as server:
        monkeypatch.setenv("FETCH_HIVE_BASE_URL", server.base_url)
        monkeypatch.setenv("FETCH_HIVE_API_KEY", server.api_key)
        early = cli_runner.run("runs", "get", request_id, "--wait", "0")
        sandbox.choose(request_id, "approve")
        server.wait_for_callbacks()

        assert (5, "") == (early.exit_code, early.out)
        assert "the run had not ended after 0 s; its status is 'paused'." in early.err
        assert "It waits for somebody's decision" in early.err
        assert "completed" in cli_runner.run("runs", "get", request_id, "--wait", "60").out
        assert 2 == cli_runner.run("runs", "get", request_id, "--wait", "-1").exit_code


LOOKED_UP: dict[str, Any] = {
    "request_id": "req_1",
    "status": "failed",
    "request_type": "prompt",
    "message": "It\nfailed.",
    "started_at": "2026-06-01T00:00:00Z",
    "ended_at": "2026-06-01T00:00:03Z",
    "user_metadata": None,
    "data": {"error": "step 3", "tries": 2},
}


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "2026-06-01T00:00:03Z (3.0 s)"),
        ({"ended_at": "2026-06-01T00:00:03"}, "2026-06-01T00:00:03"),
        ({"started_at": None}, "2026-06-01T00:00:03Z"),
        ({"ended_at": "yesterday"}, "yesterday"),
    ],
    ids=["whole", "without a zone", "without a start", "no time"],
)
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
def test_a_failed_run_is_found(wrapped: bool, changes: dict[str, Any], shown: str, faulty: FaultyServer) -> None:
    """A failed run is found like any other, whatever form its times have, and whether it is wrapped once more."""
    found = {**LOOKED_UP, **changes}
    faulty.then(json_reply(json.dumps({"request": found} if wrapped else found)))
    ended = cli_runner.run("runs", "get", "req/1", "--base-url", faulty.base_url, "--api-key", "fhk_x")
    lines = ended.out.splitlines()

    assert 0 == ended.exit_code
    assert "message     It failed." in lines
    assert f"ended       {shown}" in lines
    assert ["data        error = step 3", "data        tries = 2"] == lines[-2:]
    assert b"GET /v1/public/requests/req%2F1 HTTP/1.1" == faulty.requests[0].head.partition(b"\r\n")[0]


def test_a_run_that_is_not_there(service: Sandbox) -> None:
    """An unknown run ends with exit code 4; an empty id is wrong usage."""
    ended = cli_runner.run("runs", "get", "req_1")
    assert (4, "") == (ended.exit_code, ended.out)
    assert "Request not found" in ended.err

    assert 2 == cli_runner.run("runs", "get", " ").exit_code


def test_a_run_that_has_not_begun(faulty: FaultyServer) -> None:
    """What a run has not yet is not shown."""
    faulty.then(json_reply('{"request_id": "req_1", "status": "queued", "request_type": "workflow"}'))
    ended = cli_runner.run("runs", "get", "req_1", "--base-url", faulty.base_url, "--api-key", "fhk_x")

    assert ["request_id", "type", "status"] == [line.split()[0] for line in ended.out.splitlines()]


# --- as programs ----------------------------------------------------------------------------------------


def test_the_program_itself(service: Sandbox) -> None:
    """As a program of its own it streams, exits with its code, and reads its key from the environment."""
    arguments = ["invoke", "prompt", "classifier", "--variant", "default", "--stream"]
    ended = subprocess.run(
        [sys.executable, "-m", "fetch_hive_sdk.cli", *arguments],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (0, "billing\n") == (ended.returncode, ended.stdout)
    assert ended.stderr.startswith("req_")


def test_progress_gives_way_to_the_answer(service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that shows the waiting is taken away before the first text is written."""
    order: list[str] = []

    class Waiting:
        def __enter__(self) -> Any:
            return lambda: order.append("stop")

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("fetch_hive_sdk.cli.invoke.waiting", lambda _: Waiting())
    monkeypatch.setattr("fetch_hive_sdk.cli.invoke.say", lambda text, end="\n": order.append(text))
    invoke("prompt", "classifier", "--variant", "default", "--stream")

    assert ["stop", "billing"] == order[:2]


@pytest.mark.parametrize(
    "command",
    [
        ["prompt", "classifier", "--variant", "default"],
        ["prompt", "classifier", "--variant", "default", "--json"],
        ["workflow", "brief", "--variant", "default"],
    ],
)
def test_a_full_disk_takes_no_run_away(service: Sandbox, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the output cannot be written, one line says so and another which run it was; no traceback."""

    def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
        if not err:
            raise OSError(28, "No space left on device")
        click_echo(text, err=True, nl=nl)

    click_echo = typer.echo
    monkeypatch.setattr(typer, "echo", echo)
    ended = invoke(*command)
    assert ended.exit_code == 3
    assert ended.err.splitlines() == [
        f"The run is {only_run(service).request_id}.",
        "Error: The output cannot be written: No space left on device.",
    ]


def test_an_answer_without_a_text_prints_no_empty_line(service: Sandbox) -> None:
    """An agent that waits for an approval has no text yet: standard output stays empty."""
    mail = {"tool_name": "mail", "needs_approval": True}
    service.agent("helper", reply=Answer("Sent.", tool_calls=[mail]))
    ended = invoke("agent", "helper", "Write to Ann")
    assert (ended.exit_code, ended.out) == (0, "")
    assert ended.err.startswith("waits for approval: mail")


def test_a_reader_that_has_enough_is_no_error(service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the output is closed, as by `head`, the program ends without a word about it."""

    def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(typer, "echo", echo)
    assert invoke("prompt", "classifier", "--variant", "default").err == ""
