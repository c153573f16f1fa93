"""The sandbox as a real server: real sockets, real callbacks, and nothing left behind."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from fetch_hive_sdk import CallbackVerifier
from fetch_hive_sdk.sandbox import Choices, Sandbox, SandboxServer

PROMPT = {
    "deployment": "support-classifier",
    "variant": "default",
    "inputs": {"ticket_text": "It is disabled."},
}
AT_ONCE = Choices(callback_retry_delays=(0.0, 0.0))


def http_client(server: SandboxServer) -> httpx.Client:
    """A plain client with the server's address and key."""
    headers = {"Authorization": f"Bearer {server.api_key}"}
    return httpx.Client(base_url=server.base_url, headers=headers, trust_env=False)


def delivered_to(url: str) -> dict[str, Any]:
    """A workflow request whose result is called back to a URL."""
    return {
        "deployment": "research-brief",
        "variant": "default",
        "async": {"enabled": True, "callback_url": url},
    }


class Receiver:
    """A callback receiver on a socket: it answers with one status after the other, and the last from then on."""

    def __init__(self, statuses: Iterable[int]) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self._statuses = list(statuses)
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
        handler.send_header("Content-Length", "0")
        handler.end_headers()


@contextmanager
def receiver(*statuses: int) -> Generator[Receiver, None, None]:
    """A receiver that answers while the block lasts."""
    made = Receiver(statuses or (200,))
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_server_answers_over_a_socket_and_leaves_nothing_behind() -> None:
    """A server answers as soon as its block is entered; after the block its port is closed and no thread is left."""
    before = set(threading.enumerate())
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
    assert set(threading.enumerate()) == before
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
    sandbox = Sandbox(choices=Choices(callback_retry_delays=()))
    with receiver(307) as hook, sandbox.serve() as server, http_client(server) as client:
        client.post("/workflow/invoke", json=delivered_to(hook.url))
        server.wait_for_callbacks()
    assert len(hook.requests) == 1
    assert [attempt.status_code for attempt in sandbox.callbacks[0].attempts] == [307]


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
    before = set(threading.enumerate())
    with Sandbox().serve() as server:
        server.wait_for_callbacks(timeout=0)
    assert set(threading.enumerate()) == before


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
        Sandbox().serve(host=host) as server,
        http_client(server) as client,
    ):
        response = client.post("/prompt/invoke", json=PROMPT)
    assert response.status_code == 200
    assert response.url.host == reached_at
    assert [warning.filename for warning in warned] == [__file__]


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
