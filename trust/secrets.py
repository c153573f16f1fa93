"""Are the API key and the webhook secret really nowhere to be seen?

A canary stands in for each. Every call is made to fail in every way, by every kind of connection, and all that comes
out of it is searched: texts, variables, pickles and tracebacks of errors, logs at every level, warnings. So is what the
examples, the documentation's code and the command line print, and what the sandbox shows and stores.

Not searched is what is asked for by name: `run["webhook_secret"]`, `error.response.content`, the headers of a request.
Where the documentation says that a secret is, it is looked up, too: there it has to be found.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import pickle
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import httpx
from pydantic import SecretStr

from fetch_hive_sdk import (
    AsyncFetchHive,
    CallbackVerifier,
    FetchHive,
    FetchHiveError,
    unwrap_callback,
    verify_callback,
)
from fetch_hive_sdk.callbacks import SIGNATURE_HEADER
from fetch_hive_sdk.sandbox import Sandbox
from tests.faulty_server import (
    Exchange,
    FaultyServer,
    Step,
    chunked,
    close,
    drip,
    json_reply,
    reply,
    reset,
    say_nothing,
    stream,
)

from .canaries import Canary, Given, Log, Place, Search, broken_writes
from .figures import OURS, Options, Report, main

__all__ = ["CALLS", "FAULTS", "WAYS", "canaries", "fail", "measure"]

ROOT = Path(__file__).resolve().parent.parent
ID = "00000000-0000-7000-8000-000000000001"
CALLBACK_URL = "https://example.com/callback"
PATIENCE = 0.3

KEY = Canary("fhk_")
SECRET = Canary("whsec_")


def canaries() -> dict[str, Canary]:
    """What is looked for."""
    return {"API key": KEY, "webhook secret": SECRET}


def _plain(canary: Canary) -> str:
    # A call, and no attribute: some tracebacks look up the names in a line of code.
    return canary.text


# --- the calls ------------------------------------------------------------------------------------------
# They name the canaries only inside, so that no variable of theirs holds one.


async def _read(opened: Any) -> None:
    async with opened as events:
        async for _ in events:
            pass


async def _trigger(client: Any, via: str) -> None:
    await client.triggers.workflow(ID, ID, webhook_secret=_plain(SECRET), callback_url=CALLBACK_URL, via=via)


CALLS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "prompt": lambda client: client.invoke_prompt(deployment="greeter", variant="default"),
    "prompt stream": lambda client: _read(client.invoke_prompt_stream(deployment="greeter", variant="default")),
    "workflow": lambda client: client.invoke_workflow(deployment="brief", variant="default", callback_url=CALLBACK_URL),
    "agent": lambda client: client.invoke_agent(agent="AGENT", message="Hello."),
    "hive agent": lambda client: client.invoke_hive_agent(
        hive_agent="HIVE", objective="All.", callback_url=CALLBACK_URL
    ),
    "look-up": lambda client: client.requests.get("req_1"),
    "upload": lambda client: client.assets.upload(("notes.txt", b"x" * 200_000), workspace_id=ID),
    "trigger": lambda client: _trigger(client, "header"),
    "agent trigger": lambda client: client.triggers.agent(
        ID, message="Hello.", webhook_secret=_plain(SECRET), callback_url=CALLBACK_URL
    ),
    "trigger by query": lambda client: _trigger(client, "query"),
}


# --- the faults -----------------------------------------------------------------------------------------


def _lines(exchange: Exchange) -> list[str]:
    """What was sent, line by line, and the secret in the query once more as it was meant."""
    head = exchange.head.decode("latin-1")
    return [*head.split("\r\n"), SECRET.text if quote_plus(SECRET.text) in head else ""]


def _echo_json(status: int) -> Step:
    """Say in JSON all that was sent."""

    def step(exchange: Exchange) -> None:
        lines = _lines(exchange)
        said = {"error": f"Refused: {' '.join(lines)}", "message": lines, "sent": dict(enumerate(lines))}
        json_reply(json.dumps(said), status)(exchange)

    return step


def _echo_in_headers(exchange: Exchange) -> None:
    """Say it in headers, and where it redirects to."""
    lines = _lines(exchange)
    echoed = {f"X-Echo-{number}": line for number, line in enumerate(lines) if line}
    json_reply("{}", 307, **echoed, Location=f"http://127.0.0.2/?back={quote(' '.join(lines))}")(exchange)


def _echo_text(status: int, before: str = "", kind: str = "text/html") -> Step:
    """Say in a page, or in what is no JSON, all that was sent."""
    return lambda exchange: reply(status, (before + "\n".join(_lines(exchange))).encode(), kind=kind)(exchange)


def _echo_on_success(exchange: Exchange) -> None:
    json_reply(json.dumps({"error": f"Not today: {' '.join(_lines(exchange))}"}))(exchange)


def _echo_in_event(exchange: Exchange) -> None:
    event = {"type": "error", "error": f"Bad header: {' '.join(_lines(exchange))}"}
    stream('{"type":"response","response":"Well"}', json.dumps(event))(exchange)


def _cut_reply_with_secret(exchange: Exchange) -> None:
    """The start of a run, with its webhook secret, in JSON that breaks off."""
    reply(200, f'{{"request_id":"req_1","webhook_secret":{json.dumps(SECRET.text)},"run_sta'.encode())(exchange)


def _odd_reply_with_secret(exchange: Exchange) -> None:
    """An error in a success, beside a webhook secret."""
    reply(200, json.dumps({"error": "No.", "webhook_secret": SECRET.text}).encode())(exchange)


def _echo_as_status_line(exchange: Exchange) -> None:
    exchange.send("\r\n".join([" ".join(_lines(exchange)), "", ""]).encode())
    exchange.connection.close()


def _echo_as_header_line(exchange: Exchange) -> None:
    exchange.send("\r\n".join(["HTTP/1.1 200 OK", " ".join(_lines(exchange)).replace(":", " "), "", ""]).encode())
    exchange.connection.close()


def _cut(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    exchange.connection.close()


def _broken_encoding(exchange: Exchange) -> None:
    reply(200, b"no gzip", Content_Encoding="gzip")(exchange)


STATUSES = [400, 401, 402, 403, 404, 409, 422, 429, 500, 502, 503, 529]

# httpcore logs the head of answers at DEBUG, whatever is in it.
ECHO_IN_STATUS_LINE = "a status line that echoes the request"
ECHO_IN_HEADER_LINE = "a header line that echoes the request"
ECHO_IN_HEADERS = "307 to elsewhere with headers that echo the request"

FAULTS: dict[str, Step] = {
    **{f"{status} that echoes the request": _echo_json(status) for status in STATUSES},
    ECHO_IN_HEADERS: _echo_in_headers,
    "502 with a page that echoes the request": _echo_text(502),
    "200 with a page that echoes the request": _echo_text(200),
    "200 with broken JSON that echoes the request": _echo_text(200, '{"a": "', kind="application/json"),
    "200 with an error that echoes the request": _echo_on_success,
    "200 with a stream whose error echoes the request": _echo_in_event,
    "200 with a webhook secret in broken JSON": _cut_reply_with_secret,
    "200 with a webhook secret beside an error": _odd_reply_with_secret,
    "a broken content encoding": _broken_encoding,
    ECHO_IN_STATUS_LINE: _echo_as_status_line,
    ECHO_IN_HEADER_LINE: _echo_as_header_line,
    "a body cut short": _cut,
    "a stream cut short": chunked(b'data: {"type":"response","response":"We"}\n\n', end=close),
    "a reset": reset,
    "a close": close,
    "silence": say_nothing,
    "an answer that drips": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b" ", 0.05),
}

# Without a server: where the request goes instead, or how its writing fails.
NO_CONNECTION = "no connection"
NO_TLS = "no TLS at the other end"
BROKEN_WRITE = "a connection that breaks while it is written to"
INTERRUPT = "Ctrl-C while it is written"
OTHER_FAULTS = [NO_CONNECTION, NO_TLS, BROKEN_WRITE, INTERRUPT]


# --- the ways -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """A client, and the event loop that it needs, if any."""

    client: Callable[..., Any]
    http_client: Callable[[], Any] = lambda: None
    loop: str = ""


def _ways() -> dict[str, Way]:
    ways = {
        "own connections": Way(FetchHive),
        "httpx": Way(FetchHive, lambda: httpx.Client(trust_env=False)),
        "own connections on asyncio": Way(AsyncFetchHive, loop="asyncio"),
        "httpx on asyncio": Way(AsyncFetchHive, lambda: httpx.AsyncClient(trust_env=False), loop="asyncio"),
    }
    if importlib.util.find_spec("trio"):
        ways["own connections on trio"] = Way(AsyncFetchHive, loop="trio")
    if importlib.util.find_spec("aiohttp"):
        ways["aiohttp"] = Way(AsyncFetchHive, lambda: "aiohttp", loop="asyncio")
    if importlib.util.find_spec("httpx2"):
        httpx2 = importlib.import_module("httpx2")
        ways["httpx2"] = Way(FetchHive, lambda: httpx2.Client(trust_env=False))
        ways["httpx2 on asyncio"] = Way(AsyncFetchHive, lambda: httpx2.AsyncClient(trust_env=False), loop="asyncio")
    return ways


WAYS = _ways()


class _Awaited:
    """The sync client under the async client's surface."""

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if name.endswith("_stream"):
            return lambda **arguments: _AwaitedStream(found(**arguments))
        if not callable(found):
            return _Awaited(found)

        async def call(*ids: Any, **arguments: Any) -> Any:
            given, arguments = Given(arguments), {}
            return given.passed_to(found, ids)

        return call


class _AwaitedStream:
    def __init__(self, opened: Any) -> None:
        self._opened = opened

    async def __aenter__(self) -> Any:
        self._opened.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._opened.close()

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._opened)  # in no variable of this script: it is the service's word, as it came
        except StopIteration:
            raise StopAsyncIteration from None


def fail(way: Way, call: str, fault: str, *, max_retries: int = 0) -> BaseException | None:
    """Make a call that meets a fault, and hand out what it raised.

    Args:
        way: By which client.
        call: Of `CALLS`.
        fault: Of `FAULTS` or `OTHER_FAULTS`.
        max_retries: As the client has it.
    """
    with contextlib.ExitStack() as stack:
        if fault in FAULTS:
            server = stack.enter_context(FaultyServer())
            server.then(FAULTS[fault])
            base_url = server.base_url
        elif fault == NO_TLS:
            server = stack.enter_context(FaultyServer())
            server.then(close)
            base_url = server.base_url.replace("http:", "https:")
        elif fault == NO_CONNECTION:
            base_url = "http://127.0.0.1:9/v1"
        else:
            server = stack.enter_context(FaultyServer())
            server.then(say_nothing)
            base_url = server.base_url
            stack.enter_context(broken_writes(KeyboardInterrupt if fault == INTERRUPT else BrokenPipeError))
        options = {"base_url": base_url, "timeout": PATIENCE, "idle_timeout": PATIENCE, "max_retries": max_retries}
        return _outcome(way, CALLS[call], options)


def _outcome(way: Way, call: Callable[[Any], Awaitable[Any]], options: dict[str, Any]) -> BaseException | None:
    if not way.loop:
        http_client = way.http_client()
        with (
            contextlib.closing(http_client) if http_client is not None else contextlib.nullcontext(),
            way.client(api_key=_plain(KEY), http_client=http_client, **options) as client,
        ):
            try:
                _finish(call(_Awaited(client)))
            except BaseException as error:
                return error
        return None

    async def run() -> BaseException | None:
        http_client = way.http_client()
        try:
            async with way.client(api_key=_plain(KEY), http_client=http_client, **options) as client:
                try:
                    await call(client)
                except BaseException as error:
                    return error
        finally:
            if hasattr(http_client, "aclose"):
                await http_client.aclose()
        return None

    import anyio

    return anyio.run(run, backend=way.loop)


def _finish(coroutine: Any) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


def search_failing_calls(search: Search, cases: list[tuple[str, str, str]]) -> int:
    """Make each of these calls fail, and search what came out.

    Args:
        search: Looks.
        cases: Names of `WAYS`, `CALLS` and faults.

    Returns:
        How many raised an error; a run that is told as failed inside an answer may be one.
    """
    raised = 0
    with Log() as log:
        for way, call, fault in cases:
            scenario = f"{call} by {way}: {fault}"
            error = fail(WAYS[way], call, fault)
            if error is not None:
                raised += 1
                search.look_at_error(scenario, error)
            for channel, text in log.take():
                search.look(scenario, channel, text, documented=_is_documented(way, call, fault, channel))
    return raised


def _is_documented(way: str, call: str, fault: str, channel: str) -> bool:
    """Whether the documentation says that a secret shows there: in lines that the libraries below write themselves."""
    if channel in ("the log of httpcore", "the log of httpcore2"):  # the head of an answer, whatever is in it
        return fault in (ECHO_IN_HEADERS, ECHO_IN_STATUS_LINE, ECHO_IN_HEADER_LINE)
    # Addresses, at INFO: only by a client that the caller has made.
    return channel in ("the log of httpx", "the log of httpx2") and call == "trigger by query" and "httpx" in way


def _answers_calmly(call: str, fault: str) -> bool:
    """Whether a fault is none for this call."""
    return "stream" in fault and "stream" not in call


def all_cases(*, quick: bool) -> list[tuple[str, str, str]]:
    """Every call by every way with every fault; or, quick, each of them with each of the others once."""
    faults = [*FAULTS, *OTHER_FAULTS]
    cases = [
        (way, call, fault)
        for way in WAYS
        for call in CALLS
        for fault in faults
        if not _answers_calmly(call, fault)
        # A patched socket that raises inside an event loop's own callbacks ends the loop.
        and not (fault == INTERRUPT and WAYS[way].loop)
    ]
    if not quick:
        return cases
    ways, calls = list(WAYS), list(CALLS)
    return [
        (way, call, fault)
        for way, call, fault in cases
        if (ways.index(way) + 3 * calls.index(call) + faults.index(fault)) % 16 == 0
        or (ways.index(way) < 2 and call == "trigger by query" and fault in (*OTHER_FAULTS, ECHO_IN_HEADERS))
        or (call == "prompt stream" and "a stream" in fault)
    ]


# --- wrong settings, and what holds a secret ------------------------------------------------------------

_WRONG: dict[str, Callable[[], Any]] = {
    "a wrong timeout": lambda: FetchHive(api_key=_plain(KEY), timeout=-1),
    "a wrong timeout, async": lambda: AsyncFetchHive(api_key=_plain(KEY), timeout=-1),
    "a key of two words": lambda: FetchHive(api_key=f"{_plain(KEY)} x"),
    "a key of bytes": lambda: FetchHive(api_key=_plain(KEY).encode()),  # type: ignore[arg-type]
    "a base URL with a password": lambda: FetchHive(
        api_key=_plain(KEY), base_url=f"http://user:{quote(_plain(SECRET), safe='')}@localhost/v1"
    ),
    "a base URL with a secret in its query": lambda: FetchHive(
        api_key=_plain(KEY), base_url=f"http://localhost/v1?{urlencode({'secret': _plain(SECRET)})}"
    ),
    "a wrong http_client": lambda: FetchHive(api_key=_plain(KEY), http_client=42),  # type: ignore[arg-type]
    "a wrong option of a copy": lambda: FetchHive(api_key=_plain(KEY)).with_options(idle_timeout=0),
    "a client that is closed": lambda: _closed_client().invoke_prompt(deployment="d", variant="v"),
    "wrong arguments": lambda: FetchHive(api_key=_plain(KEY)).invoke_prompt(deployment="", variant="v"),
    "a client with an http_client in a pickle": lambda: pickle.dumps(
        FetchHive(api_key=_plain(KEY), http_client=httpx.Client())
    ),
    "a webhook secret with a line break": lambda: FetchHive(api_key=_plain(KEY)).triggers.agent(
        ID, message="Hello.", webhook_secret=f"{_plain(SECRET)}\n", callback_url=CALLBACK_URL
    ),
    "a webhook secret of bytes": lambda: FetchHive(api_key=_plain(KEY)).triggers.workflow(
        ID,
        ID,
        webhook_secret=_plain(SECRET).encode(),
        callback_url=CALLBACK_URL,  # type: ignore[arg-type]
    ),
    "a verifier's secret with a line break": lambda: CallbackVerifier(f"{_plain(SECRET)}\n"),
    "a verifier's secrets, one of them empty": lambda: CallbackVerifier([_plain(SECRET), ""]),
    "a verifier's secrets in a dict": lambda: CallbackVerifier({"secret": _plain(SECRET)}),  # type: ignore[arg-type]
    "a verifier's secret of another type": lambda: CallbackVerifier(bytearray(_plain(SECRET), "ascii")),  # type: ignore[arg-type]
    "a verifier's wrong size": lambda: CallbackVerifier(_plain(SECRET), max_body_size=0),
    "a forged callback": lambda: CallbackVerifier(_plain(SECRET)).unwrap(b"{}", {SIGNATURE_HEADER: "0" * 64}),
    "a forged callback, by the function": lambda: unwrap_callback(b"{}", {SIGNATURE_HEADER: "0" * 64}, _plain(SECRET)),
    "an unsigned callback, by the function": lambda: verify_callback(b"{}", {}, [_plain(SECRET)]),
    "a callback that was parsed": lambda: verify_callback({}, {}, _plain(SECRET)),  # type: ignore[arg-type]
    "a secret among the inputs": lambda: FetchHive(api_key=_plain(KEY)).invoke_prompt(
        deployment="d", variant="v", inputs={"secret": SecretStr(_plain(SECRET))}
    ),
}


def _closed_client() -> FetchHive:
    client = FetchHive(api_key=_plain(KEY))
    client.close()
    return client


def search_wrong_settings(search: Search) -> None:
    """What is refused before anything is sent, and what the verifier refuses."""
    with Log() as log:
        for name, use in _WRONG.items():
            try:
                use()
            except Exception as error:
                search.look_at_error(name, error)
            else:
                search.found.append(f"{name}: it was not refused")
            for channel, text in log.take():
                search.look(name, channel, text)


def search_proxies(search: Search) -> None:
    """A proxy whose password is a canary: it refuses, and it is not there at all."""
    with FaultyServer() as proxy, Log() as log:
        proxy.then(reply(407, b"{}"))
        port = proxy.base_url.split(":")[2].removesuffix("/v1")
        for kind, at in (("refuses", port), ("is not there", "9")):
            address = f"http://user:{quote(_plain(SECRET), safe='')}@127.0.0.1:{at}"
            with _environment(HTTP_PROXY=address, http_proxy=address, NO_PROXY="", no_proxy=""):
                for name in ("own connections", "own connections on asyncio", "aiohttp"):
                    if name not in WAYS:
                        continue
                    options = {"base_url": "http://api.test/v1", "timeout": PATIENCE, "max_retries": 0}
                    scenario = f"prompt by {name}: a proxy with a password that {kind}"
                    error = _outcome(WAYS[name], CALLS["prompt"], options)
                    if error is not None:
                        search.look_at_error(scenario, error)
                    for channel, text in log.take():
                        search.look(scenario, channel, text)


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def search_objects(search: Search) -> None:
    """Everything public that holds a secret; and the places where the documentation says that it is."""
    secret = json.dumps(_plain(SECRET))
    body = f'{{"request_id":"req_1","run_status":"running","webhook_secret":{secret}}}'
    with FaultyServer() as server:
        server.then(json_reply(body))
        with FetchHive(api_key=_plain(KEY), base_url=server.base_url) as client:
            run = client.invoke_workflow(deployment="brief", variant="default", callback_url=CALLBACK_URL)
            hive = client.invoke_hive_agent(hive_agent="HIVE", objective="All.", callback_url=CALLBACK_URL)
            agent = client.triggers.agent(
                ID, message="Hello.", webhook_secret=_plain(SECRET), callback_url=CALLBACK_URL
            )
            prompt = client.invoke_prompt(deployment="greeter", variant="default")
            verifier = CallbackVerifier([_plain(SECRET), _plain(KEY)])
            things: list[object] = [client, client.with_options(timeout=1), verifier, run, hive, agent]
            things += [run.callback_verifier(), client.triggers, client.requests]
            things += [AsyncFetchHive(api_key=_plain(KEY)), client.invoke_prompt_stream(deployment="d", variant="v")]
            for thing in things:
                search.look_at_object("what is public and holds a secret", thing)
            # Neither is documented to hold one: their fields are shown as they came, to whoever asks for them.
            for thing in (prompt, run.http_response):
                search.look("what is public and holds a secret", f"the repr of {type(thing).__name__}", repr(thing))
            by_name: dict[str, Place] = {
                "the pickle of a client": pickle.dumps(client),
                "the pickle of a verifier": pickle.dumps(verifier),
                "the pickle of a run": pickle.dumps(run),
                'run["webhook_secret"]': run["webhook_secret"],
                "run.to_dict()": repr(run.to_dict()),
                "run.http_response.content": run.http_response.content if run.http_response else b"",
            }
    for place, text in by_name.items():
        search.look("where the documentation says it is", place, text, documented=True)


# --- programs -------------------------------------------------------------------------------------------


def _program_environment(base_url: str, **more: str) -> dict[str, str]:
    ours = {
        "FETCH_HIVE_API_KEY": _plain(KEY),
        "FETCH_HIVE_BASE_URL": base_url,
        "FETCH_HIVE_WORKSPACE_ID": ID,
        "FETCH_HIVE_WEBHOOK_SECRET": _plain(SECRET),
        "FETCH_HIVE_LOG": "debug",
        "PYTHONWARNINGS": "always",
        "PYTHONASYNCIODEBUG": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "no_proxy": "127.0.0.1",
        "PORT": "0",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FETCH_HIVE")}
    return {**inherited, **ours, **more}


SCRIPTS = [
    "quickstart",
    "error_handling",
    "streaming",
    "async_fan_out",
    "workflow_callback",
    "metadata",
    "knowledge_base",
    "demo",
]
APPS = {
    "fastapi_callback": [],
    "flask_callback": [],
    "django_callback": ["runserver", "--noreload", "127.0.0.1:0"],
}


@contextlib.contextmanager
def _served() -> Iterator[Any]:
    """A sandbox that takes the canary for its key, and signs with the canary."""
    with _sandbox() as sandbox, sandbox.serve() as server:
        yield server


def _sandbox(db: Path | None = None) -> Sandbox:
    sandbox = Sandbox(api_key=_plain(KEY), **({} if db is None else {"db": db}))
    for name in ("research-brief", "brief"):
        sandbox.workflow(name, reply="A brief.", secret=_plain(SECRET))
    sandbox.agent("AGENT", reply="Hello.", secret=_plain(SECRET))
    sandbox.hive_agent("HIVE", reply="All done.", secret=_plain(SECRET))
    return sandbox


def search_examples(search: Search, *, quick: bool) -> None:
    """The examples as programs, with debug logs and warnings; against the sandbox and against nobody."""
    scripts, apps = (SCRIPTS[:2], list(APPS)[1:2]) if quick else (SCRIPTS, list(APPS))
    with _served() as server, ThreadPoolExecutor(2) as starter:
        addresses = {"": server.base_url, ", and no service": "http://127.0.0.1:9/v1"}
        runs = {
            f"examples/{name}.py{kind}": starter.submit(_printed_by, name, address)
            for name in scripts
            for kind, address in addresses.items()
        }
        runs |= {f"examples/{name}.py": starter.submit(_printed_by_app, name, server.base_url) for name in apps}
        for scenario, run in runs.items():
            search.look(scenario, "standard output and error", run.result())


def _printed_by(name: str, base_url: str) -> bytes:
    command = [sys.executable, "-X", "dev", str(ROOT / "examples" / f"{name}.py")]
    env = _program_environment(base_url)
    return subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False
    ).stdout


def _printed_by_app(name: str, base_url: str) -> bytes:
    """A web app that gets a callback, a forged one and one that it cannot read."""
    command = [sys.executable, "-X", "dev", str(ROOT / "examples" / f"{name}.py"), *APPS[name]]
    env = _program_environment(base_url)
    body = b'{"event_type":"workflow.completed","request_id":"req_1","data":{"output":"Done."}}'
    signature = CallbackVerifier(_plain(SECRET)).sign(body)
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as app:
        assert app.stdout is not None
        printed = b""
        while (found := re.search(rb"https?://127\.0\.0\.1:\d+", printed)) is None:
            line = app.stdout.readline()
            if not line:
                return printed
            printed += line
        for given in (signature, "0" * 64, "", "\x01"):
            headers = {"Content-Type": "application/json", SIGNATURE_HEADER: given.encode()}
            with contextlib.suppress(httpx.TransportError):
                printed += httpx.post(
                    f"{found.group().decode()}/callback", content=body, headers=headers, trust_env=False, timeout=30
                ).content
        app.terminate()
        return printed + app.stdout.read()


def search_documentation(search: Search, *, quick: bool) -> None:
    """The Python blocks of the documentation, run as its tests run them."""
    try:
        pages = importlib.import_module("tests.test_docs")
    except ImportError:  # without the tests' dependencies
        search.skipped.append("the documentation's code needs pytest")
        return
    chains = pages.SNIPPETS[::12] if quick else pages.SNIPPETS
    sandbox = Sandbox.from_config(pages.EXAMPLES, api_key=_plain(KEY))
    for name in ("research-brief", "AGENT_UUID"):
        sandbox.engine.set_secret("workflow" if name == "research-brief" else "agent", name, _plain(SECRET))
    here = Path.cwd()
    with sandbox.serve() as server, tempfile.TemporaryDirectory() as folder, Log() as log:
        env = _program_environment(server.base_url, FETCH_HIVE_WORKSPACE_ID=server.workspace_id)
        try:
            os.chdir(folder)
            for chain in chains:
                scenario = f"documentation, {chain[0].name}"
                with _environment(**{name: env[name] for name in env if name.startswith("FETCH_HIVE")}):
                    _run_blocks(search, scenario, chain)
                for channel, text in log.take():
                    search.look(scenario, channel, text)
        finally:
            os.chdir(here)


def _run_blocks(search: Search, scenario: str, chain: list[Any]) -> None:
    namespace: dict[str, Any] = {"__name__": "docs"}
    for block in chain:
        try:
            exec(compile(block.source, block.page, "exec", dont_inherit=True), namespace)
        except Exception as error:
            if error.__traceback__ is not None:  # without the block's own lines, whose variables are the reader's
                error.__traceback__ = error.__traceback__.tb_next and error.__traceback__.tb_next.tb_next
            search.look_at_error(scenario, error)
    for value in list(namespace.values()):
        if isinstance(value, (FetchHive, httpx.Client)):
            value.close()


def search_command_line(search: Search, *, quick: bool) -> None:
    """Every command: its help, its work and its errors, with the secrets as options, in the environment and typed."""
    try:
        runner = importlib.import_module("tests.cli_runner")
    except ImportError:
        search.skipped.append("the command line needs the extra [cli]")
        return
    body = b'{"event_type":"workflow.completed","request_id":"req_1","data":{"output":"Done."}}'
    signature = CallbackVerifier(_plain(SECRET)).sign(body)
    key, secret = ["--api-key", _plain(KEY)], ["--secret", _plain(SECRET)]
    password = quote(_plain(SECRET), safe="")
    with _served() as server, FaultyServer() as echo:
        echo.then(_echo_json(401))
        at_echo = ["--base-url", echo.base_url]
        nowhere = ["--base-url", "http://127.0.0.1:9/v1", "--timeout", "1"]
        prompt = ["invoke", "prompt", "greeter", "--variant", "default"]
        workflow = ["invoke", "workflow", "brief", "--variant", "default", "--callback-url", CALLBACK_URL]
        commands: list[tuple[list[str], bytes | None]] = [
            *(([*command, "--help"], None) for command in _COMMANDS),
            (prompt, None),
            ([*prompt, *key, "--json"], None),
            ([*prompt, *key, *at_echo], None),
            ([*prompt, *key, *nowhere], None),
            ([*prompt, "--stream", *key, *at_echo, "--json"], None),
            ([*prompt, "--api-key", f"{_plain(KEY)} x"], None),
            ([*prompt, *key, "--base-url", f"http://user:{password}@127.0.0.1:9/v1"], None),
            (workflow, None),
            ([*workflow, "--json"], None),
            (["invoke", "agent", "AGENT", "Hello.", "--json"], None),
            (["runs", "get", "req_1", *key], None),
            (["runs", "get", "req_1", *key, *at_echo], None),
            (["doctor"], None),
            (["doctor", "--json", *key], None),
            (["doctor", *key, *at_echo], None),
            (["doctor", *key, "--base-url", f"http://user:{password}@127.0.0.1:9/v1"], None),
            (["verify", "--body", "-", "--signature", signature], body),
            (["verify", "--body", "-", "--signature", signature, *secret, "--json"], body),
            (["verify", "--body", "-", "--signature", "0" * 64, *secret], body),
            (["verify", "--body", "-", "--signature", "0" * 64, "--secret", f" {_plain(SECRET)}"], body),
            (["send-callback", "--to", f"http://user:{password}@127.0.0.1:9/", "--body", "-", *secret], body),
            (["send-callback", "--to", echo.base_url, "--body", "-"], body),
            (["listen", "--forward-to", f"ftp://user:{password}@127.0.0.1/", *secret], None),
            (["listen", "--port", str(echo.base_url.split(":")[2].removesuffix("/v1")), *secret], None),
            (["sandbox", "--port", str(echo.base_url.split(":")[2].removesuffix("/v1")), *key], None),
        ]
        with _environment(**_program_environment(server.base_url)), Log() as log:
            for arguments, typed in commands[::2] if quick else commands:
                scenario = " ".join(["fetch-hive", *(_without_canaries(word) for word in arguments)])
                ended = runner.run(*arguments, stdin=typed)
                search.look(scenario, "standard output", ended.out)
                search.look(scenario, "standard error", ended.err)
                for channel, text in log.take():
                    search.look(scenario, channel, text)
            shown = runner.run(*workflow, "--show-secret", "--json").out
            search.look("where the documentation says it is", "--show-secret", shown, documented=True)
            if not quick:
                _search_serving_commands(search, runner, signature, body, password)


_COMMANDS = [
    [],
    *(["invoke", kind] for kind in ("prompt", "workflow", "agent")),
    ["runs", "get"],
    *([name] for name in ("sandbox", "listen", "send-callback", "verify", "doctor")),
]


def _without_canaries(word: str) -> str:
    return "…" if any(canary.is_in(word) for canary in canaries().values()) else word


def _search_serving_commands(search: Search, runner: Any, signature: str, body: bytes, password: str) -> None:
    printed: list[str] = []

    def post_callbacks(first: str, lines: Iterator[str]) -> None:
        printed.append(first)
        url = json.loads(first)["url"]
        for given in (signature, "0" * 64):
            httpx.post(url, content=body, headers={SIGNATURE_HEADER: given}, trust_env=False)
            printed.append(next(lines))

    runner.serve(
        *("listen", "--port", "0", "--json", "--forward-to", f"http://user:{password}@127.0.0.1:9/"),
        visit=post_callbacks,
    )

    def call(first: str, lines: Iterator[str]) -> None:
        printed.append(first)
        ready = json.loads(first)
        with FetchHive(api_key=_plain(KEY), base_url=ready["base_url"]) as client:
            for name in ("prompt", "workflow", "trigger by query"):
                with contextlib.suppress(FetchHiveError):
                    _finish(CALLS[name](_Awaited(client)))
                printed.append(next(lines))

    runner.serve("sandbox", "--port", "0", "--json", "--api-key", _plain(KEY), visit=call)
    search.look("fetch-hive listen and sandbox, serving", "standard output", "\n".join(printed))


# --- the sandbox ----------------------------------------------------------------------------------------


def search_sandbox(search: Search) -> None:
    """What a served sandbox keeps, shows, tells and prints, after calls that it took and calls that it refused."""
    with tempfile.TemporaryDirectory() as folder, Log() as log:
        path = Path(folder, "runs.sqlite")
        with _sandbox(path) as sandbox, sandbox.serve() as server:
            with FetchHive(api_key=_plain(KEY), base_url=server.base_url) as client:
                for name, call in CALLS.items():
                    if name != "upload":
                        with contextlib.suppress(FetchHiveError):
                            _finish(call(_Awaited(client)))
            with FetchHive(api_key=f"{_plain(KEY)}x", base_url=server.base_url, max_retries=0) as stranger:
                for name in ("prompt", "workflow"):
                    with contextlib.suppress(FetchHiveError):
                        _finish(CALLS[name](_Awaited(stranger)))
            server.wait_for_callbacks()
            for thing in (sandbox, server, *sandbox.runs, *sandbox.callbacks):
                search.look("a served sandbox", f"the repr of {type(thing).__name__}", repr(thing))
            _search_pages(search, server, [run.request_id for run in sandbox.runs])
        search.look("a served sandbox", "its file, for the API key", _file_without(path, SECRET))
        search.look("where the documentation says it is", "a sandbox's file", path.read_bytes(), documented=True)
        for channel, text in log.take():
            search.look(
                "a served sandbox",
                channel,
                text,
                # The server's own log of addresses, at its level TRACE, and that of a browser that is httpx.
                documented=channel in ("the log of uvicorn", "the log of httpx"),
            )


def _file_without(path: Path, canary: Canary) -> bytes:
    """A sandbox's file without a canary: of the webhook secret the documentation says that it is there."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        dump = "\n".join(database.iterdump())
    return dump.replace(canary.text, "").replace(json.dumps(canary.text)[1:-1], "").encode()


def _search_pages(search: Search, server: Any, request_ids: list[str]) -> None:
    origin = server.dashboard_url.rstrip("/")
    with httpx.Client(base_url=origin, trust_env=False, follow_redirects=True) as browser:
        page = browser.get("/sign-in")
        search.look("a served sandbox", "its sign-in page", page.text)
        token = re.search(r'name="token" value="([^"]*)"', page.text)
        form = {"key": _plain(KEY), "next": "/", "token": token.group(1) if token else ""}
        signed_in = browser.post("/sign-in", data=form)
        assert signed_in.status_code == 200, signed_in.text
        paths = ["/prompts", "/workflows", "/agents", "/hive-agents", "/deployments", "/refused", "/approvals"]
        for path in [*paths, "/resources", *(f"/runs/{request_id}" for request_id in request_ids)]:
            page = browser.get(path)
            search.look("a served sandbox", f"its page {path.partition('/req_')[0]}", page.content)
        with_key = {"Authorization": f"Bearer {_plain(KEY)}"}
        for path in ["/sandbox/runs", *(f"/sandbox/runs/{request_id}" for request_id in request_ids)]:
            answer = browser.get(path, headers=with_key)
            assert answer.status_code == 200, answer.text
            search.look("a served sandbox", "its control API", answer.content)


# --- the report -----------------------------------------------------------------------------------------


def measure(options: Options) -> Report:
    """Search all of it, and tell."""
    report = Report("Secrets: are the API key and the webhook secret anywhere to be seen?")
    search = Search(canaries())
    cases = all_cases(quick=options.quick)
    raised = search_failing_calls(search, cases)
    search_wrong_settings(search)
    search_proxies(search)
    search_objects(search)
    search_examples(search, quick=options.quick)
    search_documentation(search, quick=options.quick)
    search_command_line(search, quick=options.quick)
    search_sandbox(search)
    report.add("scenarios with a canary key and a canary webhook secret", {OURS: len(search.scenarios)})
    report.add("of them calls that raised an error", {OURS: raised})
    report.add("texts searched: errors, logs, tracebacks with variables, pickles, pages", {OURS: search.places})
    report.add("canaries found", {OURS: len(search.found)}, "0", not search.found)
    report.add("canaries found where the documentation says they are", {OURS: len(search.documented)})
    report.failures += search.found
    report.notes += search.skipped
    report.notes.append(
        "Each canary is looked for plain, escaped, quoted for URLs, in hex, in UTF-16 and in base64, whole and cut."
    )
    return report


if __name__ == "__main__":
    main(measure)
