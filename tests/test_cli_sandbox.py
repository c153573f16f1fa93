"""`fetch-hive sandbox`: it says where it is, tells what happens, and ends in order."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest

from fetch_hive_sdk import BadRequestError, FetchHive, NotFoundError
from fetch_hive_sdk.cli import news
from fetch_hive_sdk.cli.news import News
from fetch_hive_sdk.sandbox import Answer, Sandbox
from fetch_hive_sdk.sandbox.changes import Change

from .cli_runner import run, serve
from .faulty_server import FaultyServer, reply


@pytest.fixture(autouse=True)
def no_key_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees a sandbox's key that is set on the machine it runs on."""
    monkeypatch.delenv("FETCH_HIVE_SANDBOX_API_KEY", raising=False)


START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def served(*options: str, visit: Callable[[dict[str, Any], Iterator[str]], None], ended_by: int = signal.SIGINT) -> int:
    """Run `fetch-hive sandbox --json --port 0` while a visitor uses it; the visitor is given its first line."""
    arguments = ["sandbox", "--port", "0", "--json", *options]
    return serve(*arguments, visit=lambda first, lines: visit(json.loads(first), lines), ended_by=ended_by)


def client_of(ready: dict[str, Any], api_key: str | None = None) -> FetchHive:
    """A client of the sandbox that said this."""
    return FetchHive(api_key or ready["api_key"], ready["base_url"], max_retries=0)


# --- where it is ----------------------------------------------------------------------------------------


def test_it_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints the run log's address, the lines to copy, and that no model runs in it; they work as printed."""
    said: list[str] = []

    def visit(first: str, lines: Iterator[str]) -> None:
        said.append(first)
        while "Ctrl-C" not in said[-1]:
            said.append(next(lines))
        exports = dict(line.split()[1].split("=", 1) for line in said if line.strip().startswith("export "))
        with FetchHive(exports["FETCH_HIVE_API_KEY"], exports["FETCH_HIVE_BASE_URL"]) as client:
            result = client.invoke_prompt(deployment="classifier", variant="v1")
            assert [] == client.agents.list(workspace_id=exports["FETCH_HIVE_WORKSPACE_ID"])
        line = next(lines)
        assert "  prompt      classifier (v1)  completed  " in line
        assert line.endswith(f"  {result.request_id}\n")
        dashboard = next(line.split()[-1] for line in said if "Run log" in line)
        assert 200 == httpx.get(dashboard, trust_env=False, follow_redirects=True).status_code

    assert 0 == serve("sandbox", "--port", "0", visit=visit)
    assert "No model runs in it.\n" in said[0]


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_order(ended_by: int) -> None:
    """Ctrl-C and SIGTERM end it with exit code 0, and nobody listens any more."""
    address: list[str] = []

    def visit(ready: dict[str, Any], lines: Iterator[str]) -> None:
        address.append(ready["base_url"])

    assert 0 == served(visit=visit, ended_by=ended_by)
    with pytest.raises(httpx.ConnectError):
        httpx.get(address[0], trust_env=False)


def test_ready_as_json() -> None:
    """With --json the first line says where it is and with which key."""

    def visit(ready: dict[str, Any], lines: Iterator[str]) -> None:
        assert ("ready", "fhk_sandbox") == (ready["event"], ready["api_key"])
        assert Sandbox.workspace_id == ready["workspace_id"]
        assert ready["base_url"] == f"{ready['dashboard_url']}v1"
        assert "No model runs in it." == ready["note"]

    assert 0 == served(visit=visit)


def test_a_key_of_ones_own_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was passed, or set in the environment, is the only one accepted, and is not printed."""

    def visit(ready: dict[str, Any], lines: Iterator[str]) -> None:
        assert ready["api_key"] is None
        with client_of(ready, "fhk_my_own") as client:
            client.invoke_prompt(deployment="classifier", variant="v1")

    monkeypatch.setenv("FETCH_HIVE_SANDBOX_API_KEY", "fhk_my_own")
    assert 0 == served(visit=visit)

    said: list[str] = []

    def read(first: str, lines: Iterator[str]) -> None:
        said.append(first)
        while "Ctrl-C" not in said[-1]:
            said.append(next(lines))

    assert 0 == serve("sandbox", "--port", "0", "--api-key", "fhk_my_other", visit=read)
    assert "  FETCH_HIVE_API_KEY is the key you gave it\n" in said
    assert "fhk_my" not in "".join(said)


@pytest.mark.parametrize("key", ["", " "])
def test_an_empty_key_does_not_mean_any(key: str) -> None:
    """`--api-key "$NOT_SET"` does not start a sandbox that accepts every key."""
    ended = run("sandbox", "--port", "0", "--api-key", key)

    assert (2, "") == (ended.exit_code, ended.out)
    assert "Invalid value for --api-key: it is empty." in ended.err


def test_the_service_key_is_not_the_sandbox_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the live service in the environment is not taken for the sandbox's."""
    monkeypatch.setenv("FETCH_HIVE_API_KEY", "fhk_live")

    def visit(ready: dict[str, Any], lines: Iterator[str]) -> None:
        with client_of(ready) as client:
            client.invoke_prompt(deployment="classifier", variant="v1")

    assert 0 == served(visit=visit)


def test_other_addresses_need_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    """On an address that others can reach it does not start without a key, and warns with one."""
    ended = run("sandbox", "--host", "0.0.0.0", "--port", "0")
    assert (3, "") == (ended.exit_code, ended.out)
    assert "without an API key" in ended.err

    assert 0 == served("--host", "0.0.0.0", "--api-key", "fhk_x", visit=lambda ready, lines: None)
    assert "Warning: The sandbox listens on 0.0.0.0: others on the network can reach it\n" == capsys.readouterr().err


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the web server's packages one line says what to install."""
    monkeypatch.setitem(sys.modules, "fetch_hive_sdk.sandbox.web", None)
    ended = run("sandbox", "--port", "0")

    assert (3, "") == (ended.exit_code, ended.out)
    assert "pip install 'fetch-hive-sdk[sandbox]'" in ended.err


# --- its options ----------------------------------------------------------------------------------------


def test_options_reach_the_sandbox() -> None:
    """Leniency, strictness and the daily limit do what they say."""

    def lenient(ready: dict[str, Any], lines: Iterator[str]) -> None:
        with client_of(ready) as client:
            assert "completed" == client.invoke_workflow(deployment="brief").run_status

    def strict(ready: dict[str, Any], lines: Iterator[str]) -> None:
        with client_of(ready) as client, pytest.raises(NotFoundError):
            client.invoke_workflow(deployment="brief", variant="default")

    def limited(ready: dict[str, Any], lines: Iterator[str]) -> None:
        with client_of(ready) as client, pytest.raises(Exception, match="daily limit"):
            client.invoke_workflow(deployment="brief", variant="default")

    assert 0 == served("--lenient", visit=lenient)
    assert 0 == served("--strict", visit=strict)
    assert 0 == served("--daily-limit", "0", visit=limited)


def test_runs_are_kept_in_a_file(tmp_path: pathlib.Path) -> None:
    """With --db a run is there after a restart; what the file holds is no news."""
    ids: list[str] = []

    def first(ready: dict[str, Any], lines: Iterator[str]) -> None:
        with client_of(ready) as client:
            ids.append(client.invoke_prompt(deployment="classifier", variant="v1").request_id)

    def second(ready: dict[str, Any], lines: Iterator[str]) -> None:
        url = f"{ready['base_url']}/public/requests/{ids[0]}"
        assert 200 == httpx.get(url, headers={"Authorization": "Bearer x"}, trust_env=False).status_code
        first(ready, lines)
        assert ids[1] == json.loads(next(lines))["request_id"]

    database = str(tmp_path / "runs.sqlite")
    assert 0 == served("--db", database, visit=first)
    assert 0 == served("--db", database, visit=second)


def test_a_configuration_file(tmp_path: pathlib.Path) -> None:
    """Deployments and settings come from the file, and options go before them."""
    config = tmp_path / "sandbox.toml"
    config.write_text('plan = "lite"\nstrict = true\n[[prompt]]\nname = "classifier"\nreply = "billing"\n')

    def visit(ready: dict[str, Any], lines: Iterator[str]) -> None:
        with client_of(ready) as client:
            assert "billing" == client.invoke_prompt(deployment="classifier", variant="v1").response
            client.invoke_prompt(deployment="unknown", variant="v1")

    options = ["--config", str(config), "--no-strict", "--plan", "pro", "--deliver-to", "hooks.internal"]
    assert 0 == served(*options, visit=visit)


def test_a_configuration_file_that_is_wrong(tmp_path: pathlib.Path) -> None:
    """A file that is not there is wrong usage; one with a mistake in it is a wrong configuration, and named."""
    assert 2 == run("sandbox", "--config", str(tmp_path / "nowhere.toml")).exit_code

    config = tmp_path / "sandbox.toml"
    config.write_text("colour = 1\n")
    ended = run("sandbox", "--config", str(config))
    assert (3, "") == (ended.exit_code, ended.out)
    assert "colour" in ended.err


def test_the_examples_of_the_documentation(tmp_path: pathlib.Path) -> None:
    """With --examples the documented deployments and agents are there, under the documented webhook secret."""

    def visit(ready: dict[str, Any], lines: Iterator[str]) -> None:
        with client_of(ready) as client:
            assert "billing" == client.invoke_prompt(deployment="support-classifier", variant="default").response
            refund = client.invoke_agent(agent="REFUNDS_AGENT_UUID", message="Refund the last invoice.")
            assert refund.awaiting_approval
            research = client.invoke_agent(
                agent="RESEARCH_AGENT_UUID", message="Start it.", async_options={"allow_background": True}
            )
            assert 1 == len(research.pending_delegations)
            triggered = client.triggers.workflow(
                "research-brief",
                "default",
                webhook_secret="whsec_of_the_examples",
                callback_url="https://example.com/callback",
            )
            assert "running" == triggered.run_status

    assert 0 == served("--examples", visit=visit)

    config = tmp_path / "sandbox.toml"
    config.write_text("")
    ended = run("sandbox", "--examples", "--config", str(config))
    assert (2, "") == (ended.exit_code, ended.out)
    assert "it does not go with --config." in ended.err


# --- what it tells --------------------------------------------------------------------------------------


def test_what_happens_is_told(faulty: FaultyServer) -> None:
    """A run's end, each attempt to deliver its callback, and refused requests are told as they happen."""
    faulty.then(reply(204))

    def visit(ready: dict[str, Any], lines: Iterator[str]) -> None:
        with client_of(ready) as client:
            run = client.invoke_workflow(deployment="brief", variant="v1", callback_url=faulty.base_url)
            told = [json.loads(next(lines)), json.loads(next(lines))]
            assert ["run", "callback"] == [one["event"] for one in told]
            assert [run.request_id] * 2 == [one["request_id"] for one in told]
            assert ("workflow", "brief", "v1", "completed", None) == tuple(
                told[0][name] for name in ("kind", "name", "variant", "status", "error")
            )
            assert f"{ready['dashboard_url']}runs/{run.request_id}" == told[0]["url"]
            assert (faulty.base_url, 204, True, False) == tuple(
                told[1][name] for name in ("url", "status_code", "accepted", "withheld")
            )
            with pytest.raises(BadRequestError):
                client.invoke_prompt(deployment="classifier")
            refused = json.loads(next(lines))
            assert ("refused", "POST", "/v1/prompt/invoke", 400) == tuple(
                refused[name] for name in ("event", "method", "path", "status_code")
            )

    assert 0 == served(visit=visit)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(clock=clock) as sandbox:
        yield sandbox


def listening(sandbox: Sandbox) -> tuple[News, list[Change]]:
    """News of a sandbox from now on, and the changes as they come."""
    changes: list[Change] = []
    sandbox.engine.subscribe(changes.append)
    return News(sandbox.engine, "http://127.0.0.1:8787/", since=sandbox.engine.clock()), changes


def told(told_by: News, changes: list[Change]) -> list[str]:
    """The lines for all changes until now."""
    lines = [line for change in changes for line, _ in told_by.of(change)]
    changes.clear()
    return [line[10:] for line in lines]


def test_a_failed_run_is_told_with_its_error(sandbox: Sandbox) -> None:
    """A run that fails is told once, with its error in one line."""
    sandbox.agent("helper", reply=Answer(error="step 3\nfailed"))
    told_by, changes = listening(sandbox)
    with sandbox.client(max_retries=0) as client, pytest.raises(Exception, match="step 3"):
        client.invoke_agent(agent="helper", message="Hello")
    (line,) = told(told_by, changes)

    assert line.startswith("agent       helper  failed  0 ms  req_")
    assert line.endswith("  step 3 failed")
    assert [] == told(told_by, [Change("run", sandbox.runs[0].request_id)])


def test_a_run_that_waits_is_told_with_its_page(sandbox: Sandbox) -> None:
    """A run that waits for somebody is told with its page's address, and told again when it has ended."""
    sandbox.workflow("brief", reply="A brief.", human_in_the_loop=True)
    told_by, changes = listening(sandbox)
    with sandbox.client() as client:
        run = client.invoke_workflow(deployment="brief", variant="v1", callback_url="https://example.com/cb")
    sandbox.engine.settle()

    (line,) = told(told_by, changes)
    page = f"http://127.0.0.1:8787/runs/{run.request_id}"
    assert f"workflow    brief (v1)  waits for a choice  {page}  {run.request_id}" == line

    step = sandbox.runs[0].human_step
    assert step is not None
    sandbox.choose(run.request_id, step.options[0])
    (line,) = told(told_by, changes)
    assert line.startswith("workflow    brief (v1)  completed  0 ms")


def test_refused_requests_are_told_once_and_in_order(sandbox: Sandbox, clock: Clock) -> None:
    """Refused requests are told each once, the oldest first, and not those from before."""
    for path in ("/before", "/one", "/two"):
        sandbox.engine.handle("POST", path, {}, b"")
        if path == "/before":
            clock.now = START.replace(year=2027)
            told_by, changes = listening(sandbox)

    lines = told(told_by, changes)
    assert ["POST /one", "POST /two"] == [line.split("  ")[2].strip() for line in lines]
    assert [] == told(told_by, [Change("refused")])


def test_what_happened_before_is_no_news(sandbox: Sandbox, clock: Clock) -> None:
    """A run that ended before the server was started is not told of; nor is one that is forgotten, or not known."""
    with sandbox.client() as client:
        client.invoke_prompt(deployment="classifier", variant="v1")
    clock.now = START.replace(year=2027)
    told_by, changes = listening(sandbox)
    request_id = sandbox.runs[0].request_id
    sandbox.reset()

    assert [] == told(told_by, [Change("run", request_id), Change("run", "req_1"), *changes])


def test_memory_has_a_bound(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told is remembered of so many runs, the newest ones."""
    monkeypatch.setattr(news, "_MOST_REMEMBERED", 1)
    told_by, changes = listening(sandbox)
    with sandbox.client() as client:
        for _ in range(2):
            client.invoke_prompt(deployment="classifier", variant="v1")
    first, second = (Change("run", run.request_id) for run in sandbox.runs)

    assert 2 == len(told(told_by, changes))
    assert [] == told(told_by, [second])
    assert 1 == len(told(told_by, [first]))


def test_a_change_that_waits_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the terminal is slow, changes of the same run are told together, as the run is by then."""
    looked = 0
    told_by = News.of

    def of(self: News, change: Change) -> Iterator[tuple[str, dict[str, Any]]]:
        nonlocal looked
        looked += 1
        if looked == 1:
            for _ in range(5):
                self._engine.tell(change)
        return told_by(self, change)

    monkeypatch.setattr(News, "of", of)

    def visit(ready: dict[str, Any], lines: Iterator[str]) -> None:
        url = f"{ready['base_url']}/nothing"
        assert 404 == httpx.get(url, trust_env=False).status_code
        assert "refused" == json.loads(next(lines))["event"]

    assert 0 == served(visit=visit)
    assert 2 == looked


# --- as a program ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_the_program_itself(ended_by: int) -> None:
    """As a program of its own it serves, tells of a run, and ends with exit code 0 and nothing on standard error."""
    program = [sys.executable, "-m", "fetch_hive_sdk.sandbox", "--port", "0", "--json"]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        with client_of(json.loads(process.stdout.readline())) as client:
            result = client.invoke_prompt(deployment="classifier", variant="v1")
        assert result.request_id == json.loads(process.stdout.readline())["request_id"]
        process.send_signal(ended_by)
        out, err = process.communicate(timeout=30)

    assert (0, "", "") == (process.returncode, out, err)
