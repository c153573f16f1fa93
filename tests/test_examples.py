"""The examples run as a reader runs them: the scripts as programs, the web apps as servers that get posted to."""

from __future__ import annotations

import base64
import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from fetch_hive_sdk import CallbackVerifier, FetchHive
from fetch_hive_sdk.sandbox import Sandbox

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SECRET = "whsec_of_the_examples"
SECONDS = 60

SCRIPTS = [
    "quickstart",
    "streaming",
    "async_fan_out",
    "workflow_callback",
    "metadata",
    "error_handling",
    "knowledge_base",
]
APPS = {
    "fastapi_callback": [],
    "flask_callback": [],
    "django_callback": ["runserver", "--noreload", "127.0.0.1:0"],
}

REQUEST_ID = r"req_[0-9a-f]{32}"

Run = subprocess.CompletedProcess[str]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without any setting of the SDK, and with some of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FETCH_HIVE")}
    return {**inherited, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "PYTHONWARNINGS": "error", "PORT": "0", **more}


def run_script(name: str, env: Mapping[str, str]) -> Run:
    """Run an example to its end."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Sandbox, dict[str, str]]]:
    """A sandbox without registered replies, and the environment that leads to it."""
    sandbox = Sandbox(api_key="fhk_of_the_tests")
    with sandbox.serve() as server:
        yield (
            sandbox,
            environment(
                FETCH_HIVE_API_KEY=server.api_key,
                FETCH_HIVE_BASE_URL=server.base_url,
                FETCH_HIVE_WORKSPACE_ID=sandbox.workspace_id,
                no_proxy="127.0.0.1",
            ),
        )


@pytest.fixture(scope="module")
def runs(served: tuple[Sandbox, dict[str, str]]) -> Iterator[dict[tuple[str, str], Future[Run]]]:
    """Every script, started once without a key and once with one; a few at a time."""
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as starter:
        without_key = {("no key", name): starter.submit(run_script, name, environment()) for name in [*SCRIPTS, "demo"]}
        with_key = {("key", name): starter.submit(run_script, name, served[1]) for name in SCRIPTS}
        yield without_key | with_key


def output_of(run: Future[Run]) -> str:
    """What a script printed, once it has ended well; request ids are written `req_…`."""
    ended = run.result()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return re.sub(REQUEST_ID, "req_…", ended.stdout)


# --- the scripts against the embedded sandbox ---------------------------------------------------------


def test_quickstart_prints_the_answer(runs: dict[tuple[str, str], Future[Run]]) -> None:
    """The first example prints the answer, the request id and the tokens."""
    assert output_of(runs["no key", "quickstart"]) == (
        "This is a ticket about: bug report.\nrequest id: req_…\ntokens: 23\n"
    )


def test_streaming_prints_text_and_events(runs: dict[tuple[str, str], Future[Run]]) -> None:
    """The streaming example prints a prompt's text, then an agent's tool, text and end."""
    assert output_of(runs["no key", "streaming"]) == (
        "This is a ticket about: bug report.\n[req_…]\n\n"
        '[used crm_lookup: {"open_tickets":2}]\n'
        "The account renews in 30 days. Usage is up, two tickets are open.\n[req_…, completed]\n"
    )


def test_fan_out_keeps_the_order_and_loses_nothing(runs: dict[tuple[str, str], Future[Run]]) -> None:
    """The fan-out prints one line a ticket, in order, and the one that fails stands among the others."""
    assert output_of(runs["no key", "async_fan_out"]).splitlines() == [
        "'The export button is disabled.': This is a ticket about: bug report.",
        "'My invoice shows the wrong address.': This is a ticket about: billing.",
        (
            "b'\\xff\\xfe from an old mail system': InvalidRequestError: inputs.ticket_text: bytes are not JSON. "
            "Decode them to str, or encode them with base64."
        ),
        "'I forgot my password.': This is a ticket about: account access.",
        "'Do you have an office in Lisbon?': This is a general question.",
    ]


def test_workflow_callback_is_received_and_verified(runs: dict[tuple[str, str], Future[Run]]) -> None:
    """The callback example prints the run's state, the verified event of the same run and its output."""
    run = runs["no key", "workflow_callback"]
    assert output_of(run) == (
        "running: req_…\nverified: workflow.completed of req_…\n"
        "A brief on AI infrastructure trends: three findings, two risks.\n"
    )
    assert len(set(re.findall(REQUEST_ID, run.result().stdout))) == 1


def test_metadata_goes_with_every_kind_of_call(runs: dict[tuple[str, str], Future[Run]]) -> None:
    """The metadata example runs a prompt, a workflow and an agent, and shows that a list is refused."""
    lines = output_of(runs["no key", "metadata"]).splitlines()
    assert [line.split(":")[0] for line in lines] == ["prompt req_…", "workflow req_…", "agent req_…", "refused"]
    assert lines[-1].startswith("refused: metadata.tags: a list is not allowed;")


def test_knowledge_base_is_filled_searched_and_deleted(runs: dict[tuple[str, str], Future[Run]]) -> None:
    """The knowledge base example uploads a file, waits until it is read, finds it, and leaves nothing behind."""
    assert output_of(runs["no key", "knowledge_base"]).splitlines() == [
        "0 of 59 bytes",
        "59 of 59 bytes",
        "req_…: completed",
        '{"results": [{"knowledge_base_item_id": ',
        "Knowledge base deleted.",
    ]


def test_each_error_is_told_with_what_to_do(runs: dict[tuple[str, str], Future[Run]]) -> None:
    """The error example prints one line for each kind of failure, and ends well itself."""
    output = output_of(runs["no key", "error_handling"])
    assert re.findall(r"^ {2}(.*?)[:;.]", output, re.MULTILINE) == [
        "This is a ticket about",
        "wrong argument",
        "status 400, code validation_error",
        "try again later",
        "api_key",
    ]
    assert "Nothing was run." in output


def test_scripts_say_that_no_model_runs(runs: dict[tuple[str, str], Future[Run]]) -> None:
    """Without a key each script says on standard error that it runs against the sandbox."""
    for name in SCRIPTS:
        assert runs["no key", name].result().stderr == (
            "FETCH_HIVE_API_KEY is not set: this runs against the sandbox, in which no model runs.\n"
        )


def test_demo_shows_all_five_calls(runs: dict[tuple[str, str], Future[Run]]) -> None:
    """The demo prints five calls with five request ids, and a callback that was verified and a forgery refused."""
    run = runs["no key", "demo"]
    output = output_of(run)
    assert re.findall(r"^(\d\. .*)$", output, re.MULTILINE) == [
        "1. Prompt",
        "2. Streamed prompt",
        "3. Direct workflow",
        "4. Workflow with callback",
        "5. Agent",
    ]
    assert output.count("request id   req_…") == 5
    assert len(set(re.findall(REQUEST_ID, run.result().stdout))) == 5
    assert "verified     workflow.completed of req_…" in output
    assert "forged copy  refused: The callback's signature is wrong." in output
    assert "text         This is a ticket about: bug report." in output


def test_demo_fails_loudly(tmp_path: Path) -> None:
    """If a call of the demo fails, its exit status says so."""
    broken = "import demo, fetch_hive_sdk as f\ndemo.TICKET = {'ticket_text': b''}\ndemo.main()\n"
    command = [sys.executable, "-c", broken]
    env = environment(PYTHONPATH=str(EXAMPLES))
    ended = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == 1
    assert "InvalidRequestError: inputs.ticket_text: bytes are not JSON." in ended.stderr


# --- the scripts against a service that is told by the environment --------------------------------------


def test_scripts_run_with_a_key(
    runs: dict[tuple[str, str], Future[Run]], served: tuple[Sandbox, dict[str, str]]
) -> None:
    """With a key and a base URL each script talks to that service, and starts no sandbox of its own."""
    for name in SCRIPTS:
        output = output_of(runs["key", name])
        if name == "knowledge_base":  # nothing in it echoes
            assert [asset.file_name for asset in served[0].client().assets.list()] == ["handbook.md"]
        else:
            assert "Sandbox echo of" in output, name
        assert runs["key", name].result().stderr == "", name


def test_what_the_scripts_sent(
    runs: dict[tuple[str, str], Future[Run]], served: tuple[Sandbox, dict[str, str]]
) -> None:
    """The service saw the names and the merged metadata that the examples speak of."""
    for name in SCRIPTS:
        runs["key", name].result()
    recorded = served[0].runs
    assert {run.deployment for run in recorded} == {"support-classifier", "research-brief", None}
    assert {run.variant for run in recorded if run.kind != "agent"} == {"default"}
    of_the_tenant = [run for run in recorded if run.metadata.get("renewal_window_days") == 30]
    assert [dict(run.metadata) for run in of_the_tenant] == [
        {"service": "helpdesk", "region": "us-east-1", "customer_id": "cus_123", "renewal_window_days": 30}
    ]


def test_callback_example_asks_for_a_public_url() -> None:
    """With a real key and no public URL the callback example says what to set, and calls nobody."""
    ended = run_script("workflow_callback", environment(FETCH_HIVE_API_KEY="fhk_real"))
    assert ended.returncode == 1
    assert ended.stderr.startswith("Set FETCH_HIVE_CALLBACK_URL to a public https URL")


# --- the web apps ---------------------------------------------------------------------------------------


class App:
    """An example app that runs as a server of its own, with everything it printed."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, str(EXAMPLES / f"{name}.py"), *APPS[name]]
        env = environment(FETCH_HIVE_WEBHOOK_SECRET=SECRET, PYTHONWARNINGS="default")
        self._process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.printed: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        self.url = f"{self.wait_for(r'https?://127.0.0.1:[0-9]+')[0]}/callback"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line that holds the pattern, of those not yet waited for."""
        while (line := self._lines.get(timeout=SECONDS)) is not None:
            self.printed.append(line)
            if (match := re.search(pattern, line)) is not None:
                return match
        raise AssertionError(f"The app ended without printing {pattern}:\n{''.join(self.printed)}")

    def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        return httpx.post(self.url, content=body, headers=dict(headers), timeout=SECONDS, trust_env=False).status_code

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(SECONDS)
        assert self._process.stdout is not None
        while self._lines.get(timeout=SECONDS) is not None:
            pass
        self._process.stdout.close()


@pytest.fixture(scope="module")
def started_apps() -> Iterator[dict[str, Future[App]]]:
    """The three apps, started at the same time."""
    with ThreadPoolExecutor(max_workers=len(APPS)) as starter:
        apps = {name: starter.submit(App, name) for name in APPS}
        yield apps
        for app in apps.values():
            app.result().stop()


@pytest.fixture(params=list(APPS))
def app(request: pytest.FixtureRequest, started_apps: dict[str, Future[App]]) -> App:
    """Each of the apps in turn."""
    return started_apps[request.param].result()


def signed(body: bytes, form: str = "hex") -> dict[str, str]:
    """The headers of a genuine callback."""
    digest = CallbackVerifier(SECRET).sign(body)
    base64_form = base64.b64encode(bytes.fromhex(digest)).decode()
    signature = {"hex": digest, "sha256=": f"sha256={digest}", "base64": base64_form}[form]
    return {"Content-Type": "application/json", "X-Fetch-Hive-Signature": signature}


def callback(event_type: str, request_id: str, **data: str) -> bytes:
    """A callback's body."""
    return json.dumps({"event_type": event_type, "request_id": request_id, "data": data}).encode()


@pytest.mark.parametrize("form", ["hex", "sha256=", "base64"])
def test_apps_accept_what_is_signed(app: App, form: str) -> None:
    """A callback signed in any usual form is answered with 204, and its event is handled."""
    request_id = f"req_{form}"
    body = callback("workflow.completed", request_id, output="A brief – with an umlaut: ü")
    assert app.post(body, signed(body, form)) == 204
    app.wait_for(f"{request_id} completed: A brief – with an umlaut: ü")


@pytest.mark.parametrize(
    ("event_type", "data", "line"),
    [
        ("workflow.failed", {"error": "step 3 failed"}, "failed: step 3 failed"),
        ("agent.completed", {"response": "Done."}, "answered: Done."),
        ("agent.failed", {"error": "no model"}, "failed: no model"),
        ("moon.risen", {"phase": "full"}, "sent moon.risen: {'phase': 'full'}"),
    ],
)
def test_apps_handle_every_type(app: App, event_type: str, data: dict[str, str], line: str) -> None:
    """Each kind of event is told apart, and a type that is new to the SDK is no error."""
    body = callback(event_type, "req_kinds", **data)
    assert app.post(body, signed(body)) == 204
    app.wait_for(re.escape(f"req_kinds {line}"))


GENUINE = callback("workflow.completed", "req_untrusted", output="text")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(GENUINE.replace(b"text", b"lies"), signed(GENUINE), id="forged body"),
        pytest.param(
            GENUINE, {"X-Fetch-Hive-Signature": CallbackVerifier("whsec_other").sign(GENUINE)}, id="other secret"
        ),
        pytest.param(GENUINE, {"Content-Type": "application/json"}, id="no signature"),
        pytest.param(GENUINE, {"X-Fetch-Hive-Signature": ""}, id="empty signature"),
        pytest.param(GENUINE, {"X-Fetch-Hive-Signature": "sha256=not-hex"}, id="malformed signature"),
        pytest.param(GENUINE, {"X-Fetch-Hive-Signature": "é" * 64}, id="no ASCII in the signature"),
        pytest.param(b"", {}, id="nothing at all"),
        pytest.param(b"no JSON", signed(b"no JSON"), id="signed, no JSON"),
        pytest.param(b"[1]", signed(b"[1]"), id="signed, no object"),
        pytest.param(b"\xff\x00", signed(b"\xff\x00"), id="signed, no text"),
        pytest.param(b"[" * 100_000, signed(b"[" * 100_000), id="signed, too deep"),
        pytest.param(b"a=1&b=2", {"Content-Type": "application/x-www-form-urlencoded"}, id="a form"),
    ],
)
def test_apps_refuse_the_rest(app: App, body: bytes, headers: dict[str, str]) -> None:
    """What is not signed, or signed and no callback, is answered with 400 and never with 500."""
    assert app.post(body, {name: value.encode() for name, value in headers.items()}) == 400  # type: ignore[misc]


def test_apps_handle_a_duplicate_once(app: App) -> None:
    """The same callback twice is answered with 204 twice, and handled once."""
    body = callback("agent.completed", "req_twice", response="Done.")
    assert [app.post(body, signed(body)), app.post(body, signed(body))] == [204, 204]
    last = callback("agent.completed", "req_last", response="Done.")
    app.post(last, signed(last))
    app.wait_for("req_last answered")
    assert sum("req_twice answered" in line for line in app.printed) == 1


def test_apps_take_a_large_callback(app: App) -> None:
    """A workflow's long output arrives whole."""
    body = callback("workflow.completed", "req_long", output="x" * 5_000_000)
    assert app.post(body, signed(body)) == 204
    assert len(app.wait_for(r"req_long completed: (x+)")[1]) == 5_000_000


def test_apps_refuse_get(app: App) -> None:
    """The address answers nothing but POST."""
    assert httpx.get(app.url, trust_env=False).status_code == 405


def test_apps_take_what_the_sandbox_delivers(app: App) -> None:
    """A workflow run with callback delivery reaches the app, signed, at the first attempt."""
    sandbox = Sandbox()
    sandbox.workflow("research-brief", reply="A brief on AI.", secret=SECRET)
    with sandbox.serve() as server, FetchHive(api_key=server.api_key, base_url=server.base_url) as client:
        run = client.invoke_workflow(deployment="research-brief", variant="default", callback_url=app.url)
        server.wait_for_callbacks()
    assert [attempt.status_code for attempt in sandbox.callbacks[0].attempts] == [204]
    app.wait_for(f"{run.request_id} completed: A brief on AI.")


def test_apps_need_their_secret() -> None:
    """Without a secret no app starts; it could trust nobody."""
    for name in APPS:
        ended = run_script(name, environment(PYTHONWARNINGS="default"))
        assert ended.returncode == 1
        assert "FETCH_HIVE_WEBHOOK_SECRET" in ended.stderr
