"""The sandbox as a real server: real sockets, real callbacks, and nothing left behind."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import sqlite3
import struct
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from typing_extensions import Self

from fetch_hive_sdk import CallbackVerifier, ConfigurationError, InvalidRequestError
from fetch_hive_sdk.sandbox import Answer, Callback, Choices, HumanInTheLoop, Run, Sandbox, SandboxServer, web
from fetch_hive_sdk.sandbox.faults import FAULT_HEADER
from fetch_hive_sdk.sandbox.lifecycle import STOPPED, Job

PROMPT = {
    "deployment": "support-classifier",
    "variant": "default",
    "inputs": {"ticket_text": "It is disabled."},
}
AT_ONCE = Choices(callback_retry_delays=(0.0, 0.0))
ONCE = Choices(callback_retry_delays=())
SECONDS = 10.0  # until a test gives up


def http_client(server: SandboxServer) -> httpx.Client:
    """A plain client with the server's address and key."""
    headers = {"Authorization": f"Bearer {server.api_key}"}
    return httpx.Client(base_url=server.base_url, headers=headers, trust_env=False)


def delivered_to(url: str, deployment: str = "research-brief") -> dict[str, Any]:
    """A workflow request whose result is called back to a URL."""
    return {
        "deployment": deployment,
        "variant": "default",
        "async": {"enabled": True, "callback_url": url},
    }


class Receiver:
    """A callback receiver on a socket: it answers with one status after the other, and the last from then on."""

    def __init__(self, statuses: Iterable[int], *, headers: dict[str, str] | None = None, text: str = "") -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self._statuses = list(statuses)
        self._headers = headers or {}
        self._text = text.encode()
        self._came = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.answer(self)

            def log_request(self, code: object = "-", size: object = "-") -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.requests.append((dict(handler.headers), body))
        handler.send_response(self._statuses.pop(0) if self._statuses[1:] else self._statuses[0])
        handler.send_header("Location", self.url)
        handler.send_header("Content-Length", str(len(self._text)))
        for name, value in self._headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(self._text)
        self._came.set()

    def wait_for(self, number: int) -> None:
        """Wait until so many callbacks have been answered."""
        until(self._came, lambda: len(self.requests) >= number)

    @property
    def outputs(self) -> list[object]:
        """What the callbacks told."""
        return [json.loads(body)["data"].get("output") for _, body in self.requests]


def threads_of_ours() -> list[threading.Thread]:
    """The sandbox's threads that are alive."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("fetch-hive-sandbox")]


def until(changed: threading.Event, done: Callable[[], object]) -> None:
    """Wait until something is so; the event says when it is worth to look again."""
    deadline = time.monotonic() + SECONDS
    while not done():
        assert changed.wait(deadline - time.monotonic()), "this never came"
        changed.clear()


@contextmanager
def receiver(*statuses: int, **options: Any) -> Generator[Receiver, None, None]:
    """A receiver that answers while the block lasts."""
    made = Receiver(statuses or (200,), **options)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


@contextmanager
def raw_receiver(answer: Callable[[socket.socket], object]) -> Generator[str, None, None]:
    """A receiver that does what it likes with one connection, once the callback has come on it."""

    def accept() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(SECONDS)
            with connection.makefile("rb") as request:
                request.readline()
                request.read(int(http.client.parse_headers(request)["Content-Length"]))
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)
        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
        thread.join()


class Watch:
    """Waits for something to become of a sandbox's runs, whichever thread does it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._engine = sandbox.engine
        self._changed = threading.Event()

    def __enter__(self) -> Self:
        self._unsubscribe = self._engine.subscribe(lambda _change: self._changed.set())
        return self

    def __exit__(self, *_: object) -> None:
        self._unsubscribe()

    def wait_for(self, done: Callable[[list[Run]], object]) -> None:
        until(self._changed, lambda: done(self._engine.runs))


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_server_answers_over_a_socket_and_leaves_nothing_behind() -> None:
    """A server answers as soon as its block is entered; after the block its port is closed and no thread is left."""
    sandbox = Sandbox()
    sandbox.prompt("support-classifier", reply="billing")
    with sandbox.serve() as server, http_client(server) as client:
        assert server.base_url.startswith("http://127.0.0.1:")
        assert server.base_url.endswith("/v1")
        response = client.post("/prompt/invoke?from=test", json=PROMPT)
        assert (response.status_code, response.json()["response"]) == (200, "billing")
        assert "server" not in response.headers
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.base_url, trust_env=False)
    assert not threads_of_ours()
    assert [run.kind for run in sandbox.runs] == ["prompt"]


def test_a_server_streams() -> None:
    """A streamed reply arrives as server-sent events."""
    sandbox = Sandbox()
    sandbox.prompt("support-classifier", reply="Hello you")
    with sandbox.serve() as server, http_client(server) as client:
        response = client.post("/prompt/invoke", json={**PROMPT, "streaming": True})
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    *events, end = response.text.removesuffix("\n\n").split("\n\n")
    pieces = [json.loads(event.removeprefix("data: ")) for event in events]
    assert "".join(piece.get("response", "") for piece in pieces) == "Hello you"
    assert (pieces[-1]["type"], end) == ("usage", "data: [DONE]")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/prompt/invoke", 405), ("POST", "/nothing", 404), ("PUT", "/", 404)],
)
def test_a_server_answers_every_path_with_json(method: str, path: str, status: int) -> None:
    """Unknown paths and methods get the sandbox's JSON error, not the web framework's page."""
    with Sandbox().serve() as server, http_client(server) as client:
        response = client.request(method, path)
    assert response.status_code == status
    assert set(response.json()) == {"error", "message"}


def test_a_server_asks_for_its_key() -> None:
    """A server's api_key is the sandbox's own, any other is refused, and repr does not show it."""
    with Sandbox(api_key="fhk_private").serve() as server, http_client(server) as client:
        assert server.api_key == "fhk_private"
        assert "fhk_private" not in repr(server)
        assert client.post("/prompt/invoke", json=PROMPT).status_code == 200
        assert client.post("/prompt/invoke", json=PROMPT, headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_server_can_be_given_its_port() -> None:
    """A server listens on the port it is given, and says so if that is taken."""
    port = free_port()
    with Sandbox().serve(port=port) as server:
        assert server.base_url == f"http://127.0.0.1:{port}/v1"
        with pytest.raises(OSError, match="in use"), Sandbox().serve(port=port):
            pytest.fail("two servers on one port")


def test_replies_run_side_by_side() -> None:
    """A reply that waits for another request does not keep that one from being answered."""
    sandbox = Sandbox()
    first_came, second_came = threading.Event(), threading.Event()

    @sandbox.workflow("first")
    def wait(inputs: dict[str, Any]) -> bool:
        first_came.set()
        return second_came.wait(10)

    @sandbox.workflow("second")
    def tell(inputs: dict[str, Any]) -> str:
        second_came.set()
        return "told"

    outputs: list[str] = []

    def invoke_first() -> None:
        outputs.append(client.post("/workflow/invoke", json={"deployment": "first", "variant": "v"}).json()["output"])

    with sandbox.serve() as server, http_client(server) as client:
        thread = threading.Thread(target=invoke_first)
        thread.start()
        assert first_came.wait(10)
        assert client.post("/workflow/invoke", json={"deployment": "second", "variant": "v"}).status_code == 200
        thread.join()
    assert outputs == ["true"]
    assert (wait({}), tell({})) == (True, "told")


def test_a_callback_is_really_posted_and_signed() -> None:
    """A callback arrives at its receiver with the bytes that were signed, and the attempt is recorded."""
    sandbox = Sandbox(choices=AT_ONCE)
    sandbox.workflow("research-brief", reply="A brief.")
    with receiver(200) as hook, sandbox.serve() as server, http_client(server) as client:
        response = client.post("/workflow/invoke", json=delivered_to(hook.url))
        server.wait_for_callbacks()
    assert (response.status_code, response.json()["run_status"]) == (202, "running")
    [(headers, body)] = hook.requests
    CallbackVerifier(response.json()["webhook_secret"]).verify(body, headers)
    assert json.loads(body)["data"] == {"output": "A brief.", "run_status": "completed"}
    assert headers["Content-Type"] == "application/json"
    [callback] = sandbox.callbacks
    [attempt] = callback.attempts
    assert callback.delivered
    assert (callback.body, attempt.status_code, attempt.error, attempt.withheld) == (body, 200, None, False)
    assert attempt.duration >= 0
    assert sandbox.runs[0].callbacks == (callback,)


def test_a_callback_comes_after_the_reply() -> None:
    """The reply `running` is sent while the workflow still works; its callback comes only after that."""
    sandbox = Sandbox(choices=AT_ONCE)
    replied = threading.Event()

    @sandbox.workflow("research-brief")
    def brief(inputs: dict[str, Any]) -> bool:
        return replied.wait(10)

    with receiver(200) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        replied.set()
        server.wait_for_callbacks()
    assert json.loads(hook.requests[0][1])["data"]["output"] == "true"
    assert brief({})


def test_a_callback_is_repeated_until_it_is_accepted() -> None:
    """A receiver that fails twice is tried three times; all attempts carry the same signed bytes."""
    sandbox = Sandbox(choices=AT_ONCE)
    with receiver(500, 503, 200) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        server.wait_for_callbacks()
    assert [attempt.status_code for attempt in sandbox.callbacks[0].attempts] == [500, 503, 200]
    assert sandbox.callbacks[0].delivered
    assert len({body for _, body in hook.requests}) == 1


def test_a_callback_is_given_up_after_its_attempts() -> None:
    """A receiver that is not there is tried as often as chosen, and every attempt says why it failed."""
    sandbox = Sandbox(choices=AT_ONCE)
    url = f"http://localhost:{free_port()}/hook"
    with sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(url))
        server.wait_for_callbacks()
    [callback] = sandbox.callbacks
    assert not callback.delivered
    assert [attempt.status_code for attempt in callback.attempts] == [None] * 3
    assert all(attempt.error and attempt.error.startswith("ConnectError") for attempt in callback.attempts)


def test_a_receiver_that_is_silent_is_given_up() -> None:
    """An attempt ends when its time is up, whatever the receiver does."""
    sandbox = Sandbox(choices=Choices(callback_retry_delays=(), callback_timeout=0.05))
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        sandbox.serve() as server,
        http_client(server) as client,
    ):
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        client.post("/workflow/invoke", json=delivered_to(url))
        server.wait_for_callbacks()
    [attempt] = sandbox.callbacks[0].attempts
    assert attempt.error == "TimeoutError"


def test_redirects_are_not_followed() -> None:
    """A receiver that redirects has not accepted the callback, and is not followed."""
    sandbox = Sandbox(choices=ONCE)
    with receiver(307) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        server.wait_for_callbacks()
    assert len(hook.requests) == 1
    assert [attempt.status_code for attempt in sandbox.callbacks[0].attempts] == [307]


def test_attempts_come_after_growing_delays_and_keep_the_answer() -> None:
    """Attempts wait as long as chosen, and each tells the status, how long it took and what the receiver said."""
    sandbox = Sandbox(choices=Choices(callback_retry_delays=(0.02, 0.06)))
    with receiver(500, text="Später. " * 1000) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        server.wait_for_callbacks()
    [callback] = sandbox.callbacks
    assert [(attempt.status_code, attempt.error) for attempt in callback.attempts] == [(500, None)] * 3
    assert [attempt.response for attempt in callback.attempts] == [("Später. " * 1000)[:2000]] * 3
    begins = [attempt.started_at for attempt in callback.attempts]
    ends = [attempt.started_at + timedelta(seconds=attempt.duration) for attempt in callback.attempts]
    waited = [(after - before).total_seconds() for before, after in zip(ends, begins[1:], strict=False)]
    assert waited[0] >= 0.02
    assert waited[1] >= 0.06
    assert not callback.pending


def test_attempts_have_nothing_in_common() -> None:
    """No cookie of a receiver is sent with the next callback, and its answers need no unpacking."""
    sandbox = Sandbox(choices=AT_ONCE)
    with (
        receiver(500, 200, headers={"Set-Cookie": "session=1"}) as hook,
        sandbox.serve() as server,
        http_client(server) as client,
    ):
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        server.wait_for_callbacks()
    assert len(hook.requests) == 2
    assert all("Cookie" not in headers for headers, _ in hook.requests)
    assert all(headers["Accept-Encoding"] == "identity" for headers, _ in hook.requests)


def reset(connection: socket.socket) -> None:
    """Close a connection the hard way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reset, "ReadError"),
        (lambda connection: None, "RemoteProtocolError"),
        (lambda connection: connection.sendall(b"nonsense\r\n\r\n"), "RemoteProtocolError"),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000), "RemoteProtocolError"),
    ],
    ids=["resets", "closes", "no HTTP", "endless header"],
)
def test_a_receiver_that_breaks_off_has_not_accepted(answer: Callable[[socket.socket], object], error: str) -> None:
    """A receiver whose answer does not come leaves an attempt that says so, and the sandbox lives on."""
    sandbox = Sandbox(choices=ONCE)
    with raw_receiver(answer) as url, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(url))
        server.wait_for_callbacks()
        assert client.post("/prompt/invoke", json=PROMPT).status_code == 200
    [attempt] = sandbox.callbacks[0].attempts
    assert attempt.error is not None
    assert attempt.error.split(":")[0] == error
    assert (attempt.status_code, attempt.response) == (None, "")


def test_a_receiver_that_never_stops_talking_is_cut_short() -> None:
    """Of an answer without end only the beginning is read, and the callback counts as accepted."""
    gone = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        try:
            while True:
                connection.sendall(b"on and on \xff" * 1000)
        except OSError:
            gone.set()

    sandbox = Sandbox(choices=AT_ONCE)
    with raw_receiver(talk) as url, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(url))
        server.wait_for_callbacks()
        assert gone.wait(SECONDS)
    [attempt] = sandbox.callbacks[0].attempts
    assert (attempt.status_code, attempt.response) == (200, ("on and on \N{REPLACEMENT CHARACTER}" * 1000)[:2000])


@pytest.mark.parametrize("broken", ["silent", "cut"])
def test_a_status_that_came_is_the_answer(broken: str) -> None:
    """A receiver that said 200 has accepted, also if the rest of its answer never comes; what came is kept."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nthank")
        assert broken == "cut" or over.wait(SECONDS)

    sandbox = Sandbox(choices=Choices(callback_timeout=0.1 if broken == "silent" else SECONDS))
    with raw_receiver(answer) as url, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(url))
        server.wait_for_callbacks()
        over.set()
    [attempt] = sandbox.callbacks[0].attempts
    assert (attempt.status_code, attempt.error, attempt.response) == (200, None, "thank")
    assert sandbox.callbacks[0].delivered


def test_a_host_that_was_not_allowed_is_not_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback to any host but loopback is withheld, and says so; no name is even looked up."""
    names: list[object] = []
    look_up = socket.getaddrinfo

    def record(host: Any, *arguments: Any, **options: Any) -> Any:
        names.append(host)
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", record)
    sandbox = Sandbox(choices=AT_ONCE)
    with sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to("https://example.com/callback"))
        server.wait_for_callbacks()
    [attempt] = sandbox.callbacks[0].attempts
    assert attempt.withheld
    assert attempt.status_code is None
    assert attempt.error == "Withheld: the host is neither loopback nor named in deliver_to"
    assert "example.com" not in names


def test_a_host_that_was_allowed_is_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host named in deliver_to gets its callback, and no proxy of the environment is asked."""
    look_up = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        return look_up("127.0.0.1" if host in ("hooks.test", b"hooks.test") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    sandbox = Sandbox(choices=Choices(callback_retry_delays=(), http_callbacks="any"), deliver_to=["Hooks.test"])
    with receiver(200) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url.replace("127.0.0.1", "hooks.test")))
        server.wait_for_callbacks()
    assert [attempt.status_code for attempt in sandbox.callbacks[0].attempts] == [200]
    assert len(hook.requests) == 1


def test_waiting_for_callbacks_has_an_end() -> None:
    """Waiting for a callback that does not end raises; leaving the block then ends it, and waiting is over."""
    sandbox = Sandbox(choices=Choices(callback_retry_delays=(3600.0,)))
    with receiver(500) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        with pytest.raises(TimeoutError, match="still under way"):
            server.wait_for_callbacks(timeout=0.01)
    server.wait_for_callbacks()
    assert not any(callback.delivered for callback in sandbox.callbacks)


def test_a_server_that_nobody_asked_has_nothing_to_wait_for() -> None:
    """A block can be left, and waited in, as soon as it is entered."""
    with Sandbox().serve() as server:
        server.wait_for_callbacks(timeout=0)
    assert not threads_of_ours()


def test_a_reset_drops_a_run_under_way() -> None:
    """A run that is forgotten before it ends calls nobody back."""
    sandbox = Sandbox(choices=AT_ONCE)

    @sandbox.workflow("research-brief")
    def brief(inputs: dict[str, Any]) -> str:
        sandbox.reset()
        return "A brief."

    with receiver(200) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        server.wait_for_callbacks()
    assert sandbox.runs == []
    assert brief({}) == "A brief."
    assert hook.requests == []


def test_a_caller_who_hangs_up_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that closes in the middle of a request is forgotten without a word in the log."""
    sandbox = Sandbox()
    with caplog.at_level(logging.WARNING), sandbox.serve() as server, http_client(server) as client:
        address = httpx.URL(server.base_url)
        with socket.create_connection((address.host, address.port or 0)) as connection:
            connection.sendall(b"POST /v1/prompt/invoke HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 99\r\n\r\n{")
        assert client.post("/prompt/invoke", json=PROMPT).status_code == 200
    assert caplog.records == []
    assert len(sandbox.runs) == 1


@pytest.mark.parametrize(("host", "reached_at"), [("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1")])
def test_listening_beyond_loopback_is_warned_of(host: str, reached_at: str) -> None:
    """A server that others can reach warns at the line that opened it, and still tells an address that works."""
    with (
        pytest.warns(UserWarning, match="others on the network can reach it") as warned,
        Sandbox(api_key="fhk_private").serve(host=host) as server,
        http_client(server) as client,
    ):
        response = client.post("/prompt/invoke", json=PROMPT)
    assert response.status_code == 200
    assert response.url.host == reached_at
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1"])
def test_listening_beyond_loopback_needs_a_key(host: str) -> None:
    """A server that others could reach is refused, not warned of, unless it has a key."""
    enter: Callable[[], object] = Sandbox().serve(host=host).__enter__
    with pytest.raises(ConfigurationError, match="without an API key"):
        enter()


def test_a_server_can_listen_on_ipv6() -> None:
    """A server on the IPv6 loopback address has brackets in its base_url and answers there, without a warning."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with Sandbox().serve(host="::1") as server, http_client(server) as client:
        assert server.base_url.startswith("http://[::1]:")
        assert client.post("/prompt/invoke", json=PROMPT).status_code == 200


@pytest.mark.parametrize("missing", ["uvicorn", "starlette.applications"])
def test_without_the_extra_the_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Where starlette or uvicorn is not installed, entering the server tells the one command that mends it."""
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "fetch_hive_sdk.sandbox.web", raising=False)
    enter: Callable[[], object] = Sandbox().serve().__enter__
    with pytest.raises(ImportError, match=r"pip install 'fetch-hive-sdk\[sandbox\]'"):
        enter()


# --- the order of replies and callbacks -----------------------------------------------------------------


def test_callback_copies_are_all_delivered() -> None:
    """A receiver gets as many copies of a callback as chosen, equal to the byte, once it has accepted the first."""
    sandbox = Sandbox(choices=Choices(callback_copies=3, callback_retry_delays=(0.0,)))
    with receiver(500, 200) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        server.wait_for_callbacks()
    [callback] = sandbox.callbacks
    assert [attempt.status_code for attempt in callback.attempts] == [500, 200, 200, 200]
    assert [body for _, body in hook.requests] == [callback.body] * 4


def happened_first(
    sandbox: Sandbox, body: dict[str, Any], path: str = "/workflow/invoke"
) -> tuple[str, httpx.Response]:
    """What comes first after a request: its callback, which the receiver tells at once, or its reply."""
    order: list[str] = []
    answered = threading.Event()

    def answer(connection: socket.socket) -> None:
        order.append("callback")
        # Before the reply the callback is waited for; after it there is time for the reply to come first.
        assert sandbox.engine.choices.callbacks_first or answered.wait(SECONDS)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with raw_receiver(answer) as url, sandbox.serve() as server, http_client(server) as client:
        body["async"]["callback_url"] = url
        response = client.post(path, json=body)
        order.append("reply")
        answered.set()
        server.wait_for_callbacks()
    return order[0], response


def test_callbacks_first() -> None:
    """Where it is chosen so, a callback has been delivered before the reply that announces its run is sent."""
    sandbox = Sandbox(choices=Choices(callbacks_first=True))
    first, response = happened_first(sandbox, delivered_to(""))
    assert (first, response.json()["run_status"]) == ("callback", "running")


def test_callbacks_first_of_a_background_workflow() -> None:
    """The callback of a workflow that an agent started comes before the agent's reply, if it is chosen so."""
    sandbox = Sandbox(choices=Choices(callbacks_first=True))
    sandbox.agent("helper", reply=Answer("Started.", background=[{"deployment": "research-brief"}]))
    body = {"agent": "helper", "message": "Go.", "async": {}}
    first, response = happened_first(sandbox, body, "/agent/invoke")
    assert (first, response.json()["response"]) == ("callback", "Started.")


def test_callbacks_first_waits_for_nothing_that_does_not_come() -> None:
    """With callbacks first, replies are sent where no callback is to come: or not before somebody acts."""
    sandbox = Sandbox(choices=Choices(callbacks_first=True))
    sandbox.agent("helper", reply=Answer("Started.", background=[{"deployment": "research-brief"}]))
    sandbox.agent("boss", reply=Answer("Asked.", background=[{"deployment": "asks"}]))
    sandbox.agent("clerk", reply=Answer("Sent.", tool_calls=[{"tool_name": "send", "needs_approval": True}]))
    sandbox.prompt("slow", reply=Answer("one two", duration=0.01))
    sandbox.workflow("asks", human_in_the_loop=True, reply=lambda inputs, choice: "Chosen.")
    sandbox.workflow("forgotten", reply=lambda inputs: sandbox.reset() or "Never told.")
    with receiver(200) as hook, sandbox.serve() as server, http_client(server) as client:
        helper = {"agent": "helper", "message": "Go.", "async": {"allow_background": True}}
        assert client.post("/agent/invoke", json=helper).json()["response"] == "Started."
        boss = {"agent": "boss", "message": "Go.", "async": {"callback_url": hook.url}}
        assert client.post("/agent/invoke", json=boss).json()["response"] == "Asked."
        streamed = {"deployment": "slow", "variant": "default", "streaming": True}
        assert "[DONE]" in client.post("/prompt/invoke", json=streamed).text
        asking = client.post("/workflow/invoke", json=delivered_to(hook.url, "asks"))
        assert asking.json()["run_status"] == "running"
        secret = {"X-Fetch-Hive-Webhook-Secret": sandbox.webhook_secret("clerk", kind="agent")}
        triggered = {"message": "Go.", "async": {"callback_url": hook.url}}
        assert client.post("/agent/webhooks/clerk", json=triggered, headers=secret).status_code == 202
        assert client.post("/workflow/invoke", json=delivered_to(hook.url, "forgotten")).status_code == 202
        server.wait_for_callbacks()
    assert hook.requests == []


def test_stopping_while_the_callback_is_waited_for() -> None:
    """A reply that waits for its callback does not keep the server from stopping."""
    sandbox = Sandbox(choices=Choices(callbacks_first=True))
    sandbox.workflow("research-brief", reply=Answer("A brief.", duration=3600))
    with Watch(sandbox) as watch, ThreadPoolExecutor(1) as pool, ExitStack() as serving, receiver(200) as hook:
        server = serving.enter_context(sandbox.serve())
        with http_client(server) as client:
            call = pool.submit(client.post, "/workflow/invoke", json=delivered_to(hook.url))
            watch.wait_for(lambda runs: runs)
            serving.close()
            assert call.result(SECONDS).json()["run_status"] == "running"
    assert hook.requests == []


def test_callbacks_by_hand_come_in_the_order_of_the_hand() -> None:
    """With manual delivery nothing is posted until it is asked for, and then in the order asked."""
    sandbox = Sandbox(choices=Choices(callback_delivery="manual", callbacks_first=True))
    sandbox.workflow("first", reply="1")
    sandbox.workflow("second", reply="2")
    with receiver(200) as hook, sandbox.serve() as server, http_client(server) as client:
        for deployment in ("first", "second"):
            assert client.post("/workflow/invoke", json=delivered_to(hook.url, deployment)).status_code == 202
        server.wait_for_callbacks()
        assert hook.requests == []
        first, second = sandbox.callbacks
        assert (first.pending, second.pending) == (True, True)
        for callback in (second, first, second):
            sandbox.redeliver(callback)
            server.wait_for_callbacks()
    assert hook.outputs == ["2", "1", "2"]
    assert [len(callback.attempts) for callback in sandbox.callbacks] == [1, 2]


# --- delivered again --------------------------------------------------------------------------------------


def test_a_callback_can_be_delivered_again() -> None:
    """A callback that was delivered is posted once more by hand, over HTTP too, with the same signed bytes."""
    sandbox = Sandbox(choices=ONCE)
    with receiver(200, 500, 200) as hook, sandbox.serve() as server, http_client(server) as client:
        secret = client.post("/workflow/invoke", json=delivered_to(hook.url)).json()["webhook_secret"]
        server.wait_for_callbacks()
        sandbox.redeliver(sandbox.callbacks[0])
        server.wait_for_callbacks()
        again = client.post(f"{server.dashboard_url}sandbox/callbacks/{sandbox.callbacks[0].id}/redeliver")
        server.wait_for_callbacks()
    assert again.status_code == 200
    [callback] = sandbox.callbacks
    assert [attempt.status_code for attempt in callback.attempts] == [200, 500, 200]
    assert not callback.pending
    for headers, body in hook.requests:
        CallbackVerifier(secret).verify(body, headers)
    with pytest.raises(InvalidRequestError, match="No server runs"):
        sandbox.redeliver(callback)


def test_a_withheld_callback_stays_withheld() -> None:
    """Delivering by hand contacts no host that was not allowed either."""
    sandbox = Sandbox(choices=AT_ONCE)
    with sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to("https://example.com/callback"))
        server.wait_for_callbacks()
        sandbox.redeliver(sandbox.callbacks[0])
        server.wait_for_callbacks()
    assert [attempt.withheld for attempt in sandbox.callbacks[0].attempts] == [True, True]
    assert not sandbox.callbacks[0].pending


@pytest.fixture
def retries(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Retries come when this is set, and not before."""
    come = threading.Event()
    sleep = anyio.sleep

    async def wait(seconds: float) -> None:
        while not come.is_set():
            await sleep(0.001)

    monkeypatch.setattr(anyio, "sleep", wait)
    return come


def test_a_callback_accepted_meanwhile_is_not_tried_again(retries: threading.Event) -> None:
    """While a retry waits, a delivery by hand may succeed; then the retry is not made."""
    sandbox = Sandbox(choices=Choices(callback_retry_delays=(1.0, 1.0)))
    with (
        Watch(sandbox) as watch,
        receiver(500, 503, 200) as hook,
        sandbox.serve() as server,
        http_client(server) as client,
    ):
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        for number in (1, 2, 3):
            watch.wait_for(
                lambda runs, number=number: len(runs[0].callbacks[0].attempts) == number if runs[0].callbacks else False
            )
            if number < 3:
                sandbox.redeliver(sandbox.callbacks[0])
        retries.set()
        server.wait_for_callbacks()
    assert [attempt.status_code for attempt in sandbox.callbacks[0].attempts] == [500, 503, 200]
    assert len(hook.requests) == 3


def test_a_callback_forgotten_meanwhile_is_not_tried_again(retries: threading.Event) -> None:
    """While a retry waits, the sandbox may be reset; then nothing more is posted, by the server or by hand."""
    sandbox = Sandbox(choices=Choices(callback_retry_delays=(1.0, 1.0)))
    with (
        Watch(sandbox) as watch,
        receiver(500) as hook,
        sandbox.serve() as server,
        http_client(server) as client,
    ):
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        watch.wait_for(lambda runs: any(callback.attempts for callback in runs[0].callbacks))
        [callback] = sandbox.callbacks
        sandbox.reset()
        retries.set()
        server.wait_for_callbacks()
        with pytest.raises(InvalidRequestError, match="Callback not found"):
            sandbox.redeliver(callback)
    assert (len(hook.requests), sandbox.callbacks) == (1, [])


def test_jobs_that_were_forgotten_do_nothing() -> None:
    """Deliveries that were asked for just before a reset post nothing."""
    sandbox = Sandbox()
    with sandbox.serve() as server:
        for kind in ("callback", "redelivery"):
            sandbox.engine.lifecycle._jobs.append(Job(kind, "forgotten"))
        sandbox.engine.release("forgotten")
        server.wait_for_callbacks()
    assert sandbox.callbacks == []


# --- runs that wait ---------------------------------------------------------------------------------------


def test_a_plan_queues_and_refuses() -> None:
    """At the plan's limit a direct call gets 429 and one with a callback is queued; it starts when a place frees."""
    sandbox = Sandbox(plan="lite", choices=ONCE)
    free = threading.Event()
    sandbox.workflow("long", reply=lambda inputs: free.wait(SECONDS))
    sandbox.workflow("short", reply="short")
    with receiver(200) as hook, sandbox.serve() as server, http_client(server) as client:
        replies = [client.post("/workflow/invoke", json=delivered_to(hook.url, name)) for name in ("long", "short")]
        refused = client.post("/workflow/invoke", json={"deployment": "short", "variant": "default"})
        queued = client.get(f"/public/requests/{replies[1].json()['request_id']}").json()["status"]
        free.set()
        server.wait_for_callbacks()
    assert [(reply.status_code, reply.json()["run_status"]) for reply in replies] == [(202, "running"), (202, "queued")]
    assert all(reply.json()["webhook_secret"] for reply in replies)
    assert (refused.status_code, queued) == (429, "queued")
    assert refused.json()["error"] == "You've reached your concurrency limit. Try again later or use async mode."
    assert sorted(hook.outputs) == ["short", "true"]  # whose callback is there first is open


def test_a_place_that_a_direct_call_had_goes_to_the_queue() -> None:
    """A run that was queued behind a direct call starts when that one ends, and is waited for."""
    sandbox = Sandbox(plan="lite", choices=ONCE)
    free = threading.Event()
    sandbox.workflow("long", reply=lambda inputs: free.wait(SECONDS))
    with (
        Watch(sandbox) as watch,
        receiver(200) as hook,
        sandbox.serve() as server,
        http_client(server) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        direct = pool.submit(client.post, "/workflow/invoke", json={"deployment": "long", "variant": "default"})
        watch.wait_for(lambda runs: runs)
        reply = client.post("/workflow/invoke", json=delivered_to(hook.url))
        assert reply.json()["run_status"] == "queued"
        with pytest.raises(TimeoutError, match="still under way"):
            server.wait_for_callbacks(timeout=0.01)
        free.set()
        server.wait_for_callbacks()
        assert direct.result(SECONDS).json()["output"] == "true"
    assert [run.status for run in sandbox.runs] == ["completed", "completed"]
    assert len(hook.requests) == 1


@pytest.mark.parametrize("how", ["python", "http"])
def test_a_choice_is_made_while_the_server_runs(how: str) -> None:
    """A run that waits for a human goes on with the choice, and only then calls back."""
    sandbox = Sandbox(choices=ONCE)
    human = HumanInTheLoop("Send it?", options=("yes", "no"))
    sandbox.workflow("asks", human_in_the_loop=human, reply=lambda inputs, choice: f"Chosen: {choice}")
    with receiver(200) as hook, sandbox.serve() as server, http_client(server) as client:
        direct = client.post("/workflow/invoke", json={"deployment": "asks", "variant": "default"})
        assert (direct.status_code, sandbox.runs) == (400, [])
        request_id = client.post("/workflow/invoke", json=delivered_to(hook.url, "asks")).json()["request_id"]
        server.wait_for_callbacks()
        assert client.get(f"/public/requests/{request_id}").json()["status"] == "paused"
        assert hook.requests == []
        if how == "python":
            sandbox.choose(request_id, "yes")
        else:
            chosen = client.post(f"{server.dashboard_url}sandbox/runs/{request_id}/choice", json={"choice": "yes"})
            assert chosen.status_code == 200
        server.wait_for_callbacks()
        assert client.get(f"/public/requests/{request_id}").json()["status"] == "completed"
    assert hook.outputs == ["Chosen: yes"]


@pytest.mark.parametrize(("on_timeout", "event"), [("fail", "workflow.failed"), ("continue", "workflow.completed")])
def test_a_wait_for_a_human_ends_by_itself(on_timeout: Any, event: str) -> None:
    """Nobody has to ask: the server's timer ends the wait, and the run fails or goes on, and calls back."""
    sandbox = Sandbox(choices=ONCE)
    human = HumanInTheLoop(timeout=0.05, on_timeout=on_timeout)
    sandbox.workflow("asks", human_in_the_loop=human, reply=lambda inputs, choice: f"Chosen: {choice}")
    with receiver(200) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url, "asks"))
        hook.wait_for(1)
    assert json.loads(hook.requests[0][1])["event_type"] == event


def test_each_wait_has_its_own_end() -> None:
    """A wait that was answered frees the timer for the next one, however they are mixed."""
    sandbox = Sandbox(choices=ONCE)
    for name, timeout in (("long", 3600), ("short", 0.05), ("longer", 7200)):
        human = HumanInTheLoop(timeout=timeout, on_timeout="continue")
        sandbox.workflow(name, human_in_the_loop=human, reply=lambda inputs, choice, name=name: f"{name} {choice}")
    with receiver(200) as hook, sandbox.serve() as server, http_client(server) as client:
        for name in ("long", "short", "longer"):
            client.post("/workflow/invoke", json=delivered_to(hook.url, name))
        hook.wait_for(1)
        sandbox.choose(sandbox.engine.runs[0].request_id, "approve")
        hook.wait_for(2)
        server.wait_for_callbacks()
    assert hook.outputs == ["short None", "long approve"]
    assert sandbox.engine.runs[2].status == "paused"


def test_a_timer_that_is_too_early_is_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the sandbox's clock lags behind the machine's, a wait ends when the sandbox's clock says so."""
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    sandbox = Sandbox(choices=ONCE, clock=lambda: now)
    human = HumanInTheLoop(timeout=0.005)
    sandbox.workflow("asks", human_in_the_loop=human, reply=lambda inputs, choice: "")
    lifecycle = sandbox.engine.lifecycle
    looked, expire = threading.Semaphore(0), lifecycle.expire

    def look() -> None:
        expire()
        looked.release()

    monkeypatch.setattr(lifecycle, "expire", look)
    with receiver(200) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url, "asks"))
        assert looked.acquire(timeout=SECONDS)
        assert looked.acquire(timeout=SECONDS)
        assert hook.requests == []
        now += timedelta(seconds=1)
        hook.wait_for(1)


@pytest.mark.parametrize(("decision", "text"), [("allow_once", "Sent."), ("deny", "Not sent.")])
def test_an_approval_is_decided_over_http(decision: str, text: str) -> None:
    """An agent that waits for an approval resumes on the server once it is decided, and its look-up tells the end."""
    sandbox = Sandbox()
    call: Any = {"tool_name": "send_mail", "tool_input": {"to": "ann"}, "needs_approval": True}
    sandbox.agent("clerk", reply=Answer("Sent.", tool_calls=[call], text_if_denied="Not sent."))
    approvals = f"/public/workspaces/{sandbox.workspace_id}/tool_action_approvals"
    with sandbox.serve() as server, http_client(server) as client:
        reply = client.post("/agent/invoke", json={"agent": "clerk", "message": "Write."}).json()
        [pending] = client.get(approvals).json()["approvals"]
        decided = client.post(f"{approvals}/{pending['id']}/decide", json={"decision": decision})
        again = client.post(f"{approvals}/{pending['id']}/decide", json={"decision": decision})
        server.wait_for_callbacks()
        found = client.get(f"/public/requests/{reply['request_id']}").json()
    assert (reply["status"], reply["pending_tool_approvals"][0]["approval_id"]) == ("awaiting_approval", pending["id"])
    assert (decided.status_code, decided.json()["approval"]["decision"], again.status_code) == (200, decision, 409)
    assert (found["status"], found["data"]["response"]) == ("completed", text)


# --- runs that take their time ----------------------------------------------------------------------------


def test_a_direct_call_takes_its_time() -> None:
    """A run with a duration is not over before that."""
    sandbox = Sandbox()
    sandbox.workflow("research-brief", reply=Answer("A brief.", duration=0.05))
    with sandbox.serve() as server, http_client(server) as client:
        reply = client.post("/workflow/invoke", json={"deployment": "research-brief", "variant": "default"})
    [run] = sandbox.runs
    assert reply.json()["output"] == "A brief."
    assert run.ended_at is not None
    assert run.ended_at - run.started_at >= timedelta(seconds=0.05)


def test_a_stream_is_paced() -> None:
    """Events of a stream with a duration arrive one by one while its run is running; it ends with the last."""
    sandbox = Sandbox()
    sandbox.prompt("support-classifier", reply=Answer("word " * 5, duration=0.1))
    sandbox.prompt("endless", reply=Answer("word " * 5_000, duration=500))
    with Watch(sandbox) as watch, sandbox.serve() as server, http_client(server) as client:
        whole = client.post("/prompt/invoke", json={**PROMPT, "streaming": True}).text
        server.wait_for_callbacks()
        assert whole.endswith("data: [DONE]\n\n")
        [paced] = sandbox.runs
        assert (paced.status, paced.ended_at and paced.ended_at - paced.started_at >= timedelta(seconds=0.1)) == (
            "completed",
            True,
        )

        endless = {**PROMPT, "deployment": "endless", "streaming": True}
        with client.stream("POST", "/prompt/invoke", json=endless) as stream:
            assert "word" in next(stream.iter_lines())
            assert sandbox.engine.runs[1].status == "running"
        watch.wait_for(lambda runs: runs[1].status == "completed")  # its reader has gone


def test_a_scripted_fault_comes_over_the_socket() -> None:
    """A fault that breaks the connection really breaks it, and its run is there all the same."""
    sandbox = Sandbox()
    with sandbox.serve() as server, http_client(server) as client:
        with pytest.raises(httpx.ReadError):
            client.post("/prompt/invoke", json=PROMPT, headers={FAULT_HEADER: "cut=reset, after=0"})
        sandbox.fail_next("too_many_requests")
        assert client.post("/prompt/invoke", json=PROMPT).status_code == 429
    assert [run.status for run in sandbox.runs] == ["completed"]


# --- starting and stopping ------------------------------------------------------------------------------


def test_what_keeps_a_server_from_starting_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where serving fails from the beginning, entering the block raises why, and leaves nothing behind."""

    def broken() -> None:
        raise OSError("no certificates")

    monkeypatch.setattr("fetch_hive_sdk.sandbox.delivery.tls_context", broken)
    enter: Callable[[], object] = Sandbox().serve().__enter__
    with pytest.raises(OSError, match="no certificates"):
        enter()
    assert not threads_of_ours()


def test_stopping_ends_a_long_call_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """A caller whose run would take an hour sees its connection close when the server stops; nothing is logged."""
    sandbox = Sandbox()
    sandbox.prompt("support-classifier", reply=Answer("billing", duration=3600))
    with (
        caplog.at_level(logging.WARNING),
        Watch(sandbox) as watch,
        ThreadPoolExecutor(1) as pool,
        ExitStack() as serving,
    ):
        server = serving.enter_context(sandbox.serve())
        with http_client(server) as client:
            call = pool.submit(client.post, "/prompt/invoke", json=PROMPT)
            watch.wait_for(lambda runs: runs)
            request_id = sandbox.engine.runs[0].request_id
            assert client.get(f"/public/requests/{request_id}").json()["status"] == "running"
            serving.close()
            with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
                call.result(SECONDS)
    [run] = sandbox.runs
    assert run.answer is not None
    assert (run.status, run.answer.error) == ("failed", STOPPED)
    assert caplog.records == []


def test_stopping_ends_a_paced_stream_at_once() -> None:
    """A stream that would take minutes ends with its connection when the server stops."""
    sandbox = Sandbox()
    sandbox.prompt("support-classifier", reply=Answer("word " * 5_000, duration=500))
    with ExitStack() as serving:
        server = serving.enter_context(sandbox.serve())
        with (
            http_client(server) as client,
            client.stream("POST", "/prompt/invoke", json={**PROMPT, "streaming": True}) as stream,
        ):
            arriving = stream.iter_lines()
            assert "word" in next(arriving)
            serving.close()
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                list(arriving)


def test_stopping_ends_the_events_of_an_open_page(caplog: pytest.LogCaptureFixture) -> None:
    """A browser that has the run log open does not keep the server from stopping, and its events end in order."""
    with caplog.at_level(logging.WARNING), ExitStack() as serving:
        server = serving.enter_context(Sandbox().serve())
        with http_client(server) as client, client.stream("GET", f"{server.dashboard_url}live") as events:
            arriving = events.iter_lines()
            assert next(arriving).startswith("retry:")
            serving.close()
            list(arriving)
    assert caplog.records == []


def test_the_next_server_on_a_file_goes_on(tmp_path: Path) -> None:
    """The next server on a file carries on what was accepted and calls back; a direct call that was cut has failed."""
    db = tmp_path / "runs.sqlite"
    direct = {"deployment": "research-brief", "variant": "default"}
    with receiver(200) as hook:
        with (
            Sandbox(db=db) as sandbox,
            Watch(sandbox) as watch,
            ThreadPoolExecutor(1) as pool,
            ExitStack() as serving,
        ):
            sandbox.workflow("research-brief", reply=Answer("never", duration=3600))
            server = serving.enter_context(sandbox.serve())
            with http_client(server) as client:
                call = pool.submit(client.post, "/workflow/invoke", json=direct)
                watch.wait_for(lambda runs: runs)
                accepted = client.post("/workflow/invoke", json=delivered_to(hook.url)).json()
                serving.close()
                with pytest.raises(httpx.RemoteProtocolError):
                    call.result(SECONDS)
        assert hook.requests == []
        with Sandbox(db=db) as sandbox:
            sandbox.workflow("research-brief", reply="A brief.")
            cut, going_on = sandbox.engine.runs
            assert (cut.status, cut.answer and cut.answer.error) == ("failed", STOPPED)
            assert (going_on.request_id, going_on.status) == (accepted["request_id"], "running")
            with sandbox.serve() as server:
                server.wait_for_callbacks()
            assert sandbox.engine.runs[1].status == "completed"
    [(headers, body)] = hook.requests
    CallbackVerifier(accepted["webhook_secret"]).verify(body, headers)


def test_the_next_server_delivers_what_is_left(tmp_path: Path) -> None:
    """A callback that no receiver took is delivered by the next server on the file, with the attempts that are left."""
    db = tmp_path / "runs.sqlite"
    hours = Choices(callback_retry_delays=(3600.0,))
    with receiver(503, 200) as hook:
        with (
            Sandbox(db=db, choices=hours) as sandbox,
            Watch(sandbox) as watch,
            sandbox.serve() as server,
            http_client(server) as client,
        ):
            client.post("/workflow/invoke", json=delivered_to(hook.url))
            watch.wait_for(lambda runs: any(callback.attempts for callback in runs[0].callbacks))
        with Sandbox(db=db, choices=AT_ONCE) as sandbox, sandbox.serve() as server:
            server.wait_for_callbacks()
            [callback] = sandbox.callbacks
    assert [attempt.status_code for attempt in callback.attempts] == [503, 200]
    assert not callback.pending


def test_a_sandbox_can_be_served_again() -> None:
    """What one server leaves undone, the next one of the same sandbox does."""
    sandbox = Sandbox(choices=ONCE)
    sandbox.workflow("research-brief", reply=Answer("never", duration=3600))
    with receiver(200) as hook:
        with sandbox.serve() as server, http_client(server) as client, Watch(sandbox) as watch:
            client.post("/workflow/invoke", json=delivered_to(hook.url))
            watch.wait_for(lambda runs: runs[0].status == "running")
        sandbox.workflow("research-brief", reply="A brief.")
        with sandbox.serve() as server:
            server.wait_for_callbacks()
    assert hook.outputs == ["A brief."]


def test_hosts_may_be_addresses() -> None:
    """An IPv6 address is a host that callbacks may be allowed to go to."""
    assert Sandbox(deliver_to=["2001:db8::1", "192.0.2.1", "hooks.internal"])


# --- limits ---------------------------------------------------------------------------------------------


def test_slow_runs_do_not_keep_others_from_being_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many runs under way as there can be at once, runs are still looked up and shown."""
    monkeypatch.setattr(web, "MOST_RUNS", 3)
    sandbox = Sandbox(choices=ONCE)
    begun = threading.Semaphore(0)
    free = threading.Event()

    @sandbox.workflow("long")
    def reply(inputs: dict[str, Any]) -> str:
        begun.release()
        return str(free.wait(SECONDS))

    with receiver() as hook, sandbox.serve() as server, http_client(server) as client:
        accepted = [client.post("/workflow/invoke", json=delivered_to(hook.url, "long")).json() for _ in range(3)]
        assert [begun.acquire(timeout=SECONDS) for _ in range(3)] == [True] * 3
        looked_up = [client.get(f"/public/requests/{run['request_id']}").json()["status"] for run in accepted]
        page = httpx.get(f"{server.dashboard_url}workflows", trust_env=False).status_code
        free.set()
        server.wait_for_callbacks()
    assert (looked_up, page) == (["running"] * 3, 200)
    assert hook.outputs == ["True"] * 3


def test_a_body_that_is_too_large_is_refused() -> None:
    """A body over the limit gets 413, is not kept, and no run begins; the next request is answered."""
    sandbox = Sandbox(choices=Choices(max_body=10_000))
    with sandbox.serve() as server, http_client(server) as client:
        large = client.post("/prompt/invoke", json={**PROMPT, "user": "x" * 300_000})
        small = client.post("/prompt/invoke", json=PROMPT)
    assert (large.status_code, large.json()["error"]) == (413, "The request body is larger than 10000 bytes")
    assert (small.status_code, len(sandbox.runs)) == (200, 1)
    assert sandbox.engine.store.refused()[0].request.body == b""


def test_a_run_that_cannot_be_recorded_now_is_recorded_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program holds the database file, a run's end waits, and is recorded once that lets go."""
    monkeypatch.setattr(web, "SECONDS_UNTIL_TRIED_AGAIN", 0.0)
    sandbox = Sandbox(choices=ONCE)
    failures = iter([sqlite3.OperationalError("database is locked")] * 3)
    add_callback = sandbox.engine.store.add_callback

    def held(callback: Callback) -> None:
        for failure in failures:
            raise failure
        add_callback(callback)

    monkeypatch.setattr(sandbox.engine.store, "add_callback", held)
    with receiver() as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        hook.wait_for(1)
        server.wait_for_callbacks()
    assert [run.status for run in sandbox.runs] == ["completed"]
    assert len(hook.requests) == 1


def test_a_delivery_by_hand_leaves_the_attempts_to_come(tmp_path: Path) -> None:
    """A redelivery that fails between two attempts takes none of those away that are still to come."""
    sandbox = Sandbox(choices=Choices(callback_retry_delays=(3600.0,)))
    with receiver(500) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        hook.wait_for(1)
        with Watch(sandbox) as watch:
            watch.wait_for(lambda runs: runs[0].callbacks and runs[0].callbacks[0].attempts)
            sandbox.redeliver(sandbox.callbacks[0])
            watch.wait_for(lambda runs: len(runs[0].callbacks[0].attempts) == 2)
        assert sandbox.callbacks[0].pending
