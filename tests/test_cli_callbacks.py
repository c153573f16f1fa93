"""`fetch-hive listen`, `send-callback` and `verify`: callbacks received, checked, posted on, and sent."""

from __future__ import annotations

import base64
import json
import pathlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import typer

from fetch_hive_sdk import SIGNATURE_HEADER, CallbackVerifier, FetchHive
from fetch_hive_sdk.cli import arguments, forwarding, receiver
from fetch_hive_sdk.sandbox import Sandbox

from .cli_runner import run, serve
from .faulty_server import FaultyServer, close, reply, say_nothing

SECRET = "whsec_of_the_tests"
BODY = b'{"event_type":"workflow.completed","request_id":"req_1","data":{"output":"A  brief\\non AI."}}'
SIGNED = {SIGNATURE_HEADER: CallbackVerifier(SECRET).sign(BODY)}


def post(url: str, body: bytes = BODY, headers: Any = None, **options: Any) -> httpx.Response:
    """Post as Fetch Hive does."""
    return httpx.post(url, content=body, headers=SIGNED if headers is None else headers, trust_env=False, **options)


def listened(*options: str, visit: Callable[[str, Iterator[str]], None]) -> int:
    """Run `fetch-hive listen --port 0` while a visitor posts to its address."""

    def visit_url(first: str, lines: Iterator[str]) -> None:
        url = json.loads(first)["url"] if first.startswith("{") else first.split()[2]
        visit(url, lines)

    return serve("listen", "--port", "0", *options, visit=visit_url)


# --- listen ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_a_callback_is_received_and_shown(ended_by: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signed callback is answered with 204 and shown with its answer; Ctrl-C and SIGTERM end the command with 0."""
    monkeypatch.setenv("FETCH_HIVE_WEBHOOK_SECRET", SECRET)
    shown: list[str] = []

    def visit(first: str, lines: Iterator[str]) -> None:
        assert first.endswith("/ for callbacks. Ctrl-C ends it.\n")
        assert 204 == post(f"{first.split()[2]}a/path?x=1").status_code
        shown.extend(next(lines) for _ in range(3))

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert 0 == serve("listen", "--port", "0", visit=visit, ended_by=ended_by)
    assert shown[0].endswith("  POST /a/path  workflow.completed  req_1\n")
    assert ["          output: A brief on AI.\n", "          <-- 204\n"] == shown[1:]
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (BODY + b" ", SIGNED, "wrong_signature"),
        (BODY, {}, "missing_signature"),
        (BODY, {SIGNATURE_HEADER: "nonsense"}, "malformed_signature"),
        (b"no JSON", {SIGNATURE_HEADER: CallbackVerifier(SECRET).sign(b"no JSON")}, "unreadable_body"),
    ],
    ids=["changed", "unsigned", "malformed", "no JSON"],
)
def test_a_forgery_is_refused(body: bytes, headers: dict[str, str], reason: str, faulty: FaultyServer) -> None:
    """What is not validly signed is answered with 400, shown as refused, and not posted on."""
    faulty.then(reply(200))

    def visit(url: str, lines: Iterator[str]) -> None:
        assert 400 == post(url, body, headers).status_code
        told = json.loads(next(lines))
        assert (False, reason, 400, None) == tuple(
            told[name] for name in ("accepted", "reason", "status_code", "forwarded")
        )
        assert body.decode() == told["body"]

    assert 0 == listened("--secret", SECRET, "--json", "--forward-to", faulty.base_url, visit=visit)
    assert [] == faulty.requests


def test_a_forgery_as_it_is_shown() -> None:
    """A refused callback is shown in two lines, which no foreign text can break."""

    def visit(url: str, lines: Iterator[str]) -> None:
        post(f"{url}%1b%5b2J", headers={})
        assert next(lines).endswith("  POST /\\x1b[2J  refused: The header X-Fetch-Hive-Signature is missing.\n")
        assert "          <-- 400\n" == next(lines)

    assert 0 == listened("--secret", SECRET, visit=visit)


def test_any_of_several_secrets() -> None:
    """With several secrets a callback may be signed with any."""

    def visit(url: str, lines: Iterator[str]) -> None:
        assert 204 == post(url).status_code

    assert 0 == listened("--secret", "whsec_other", "--secret", SECRET, visit=visit)


def test_on_another_address_it_warns(capsys: pytest.CaptureFixture[str]) -> None:
    """Where others can reach it, it says so."""
    assert 0 == serve("listen", "--port", "0", "--host", "0.0.0.0", "--secret", "s", visit=lambda ready, lines: None)

    assert "Warning: It listens on 0.0.0.0: others on the network can reach it\n" == capsys.readouterr().err


def test_a_password_in_a_url_is_not_shown(body: str) -> None:
    """Where it was posted to, or will be, is said without the password in the URL."""
    ended = run("send-callback", "--to", "http://user:hidden@127.0.0.1:1/", "--body", body, "--secret", "s")
    assert 5 == ended.exit_code
    assert "http://…@127.0.0.1:1/ gave no answer" in ended.err

    said: list[str] = []

    def visit(ready: str, lines: Iterator[str]) -> None:
        said.append(next(lines))

    assert 0 == serve("listen", "--port", "0", "--secret", "s", "--forward-to", "http://u:hidden@h/", visit=visit)
    assert ["Forwarding to http://…@h/\n"] == said


def test_without_checking(capsys: pytest.CaptureFixture[str]) -> None:
    """With --skip-verify everything is taken, and it is said that nothing is checked."""

    def visit(url: str, lines: Iterator[str]) -> None:
        assert [204, 204] == [post(url, headers={}).status_code, post(url, b"no JSON", {}).status_code]
        event, text = json.loads(next(lines)), json.loads(next(lines))
        assert ("workflow.completed", "req_1", json.loads(BODY)) == tuple(
            event[name] for name in ("event_type", "request_id", "body")
        )
        assert (None, None, "no JSON") == tuple(text[name] for name in ("event_type", "request_id", "body"))

    assert 0 == listened("--skip-verify", "--json", visit=visit)
    assert "Signatures are not checked.\n" == capsys.readouterr().err


def test_what_is_no_json_is_shown_as_that() -> None:
    """An unchecked body that is no JSON object is shown without an event."""

    def visit(url: str, lines: Iterator[str]) -> None:
        post(url, b"[]", {})
        assert next(lines).endswith("POST /  (no JSON object)\n")
        assert "          <-- 204\n" == next(lines)

    assert 0 == listened("--skip-verify", visit=visit)


def test_a_secret_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal a missing secret is asked for, without being shown."""
    monkeypatch.setattr(arguments, "can_ask", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda what, hide_input, err: SECRET)

    def visit(url: str, lines: Iterator[str]) -> None:
        assert 204 == post(url).status_code

    assert 0 == listened(visit=visit)


def test_only_posts_are_callbacks() -> None:
    """A request that is no POST is answered with 405, and a body beyond all bounds with 413."""

    def visit(url: str, lines: Iterator[str]) -> None:
        answer = httpx.get(url, trust_env=False)
        assert (405, "POST") == (answer.status_code, answer.headers["Allow"])
        assert "GET is not allowed: callbacks are POSTs" == json.loads(next(lines))["refusal"]

        long = (b"x" * 2**20 for _ in range(receiver.MAX_BODY // 2**20 + 1))
        assert 413 == httpx.post(url, content=long, trust_env=False).status_code
        assert 413 == json.loads(next(lines))["status_code"]

    assert 0 == listened("--secret", SECRET, "--json", visit=visit)


def test_a_sender_that_hangs_up_is_no_error() -> None:
    """A sender that goes away in the middle of its body leaves no trace, and the next one is served."""

    def visit(url: str, lines: Iterator[str]) -> None:
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port or 0)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert 204 == post(url).status_code
        assert "req_1" == json.loads(next(lines))["request_id"]

    assert 0 == listened("--secret", SECRET, "--json", visit=visit)


@pytest.mark.parametrize("status", [200, 500])
def test_callbacks_are_posted_on(status: int, faulty: FaultyServer) -> None:
    """A valid callback reaches the app byte for byte with its headers, and the app's answer goes back."""
    faulty.then(reply(status, b"noted", "text/plain"))
    odd = BODY.replace(b",", b" ,\r\n")
    headers = [(SIGNATURE_HEADER, CallbackVerifier(SECRET).sign(odd)), ("X-Two", "a"), ("X-Two", "b")]

    def visit(url: str, lines: Iterator[str]) -> None:
        assert f"Forwarding to {faulty.base_url}\n" == next(lines)
        answer = post(url, odd, [*headers, ("Connection", "close"), ("TE", "trailers")])
        assert (status, b"noted", "text/plain") == (answer.status_code, answer.content, answer.headers["Content-Type"])
        told = [next(lines) for _ in range(4)]
        assert told[2].startswith(f"          --> {faulty.base_url}  {status} in ")
        assert f"          <-- {status}\n" == told[3]

    assert 0 == listened("--secret", SECRET, "--forward-to", faulty.base_url, visit=visit)
    (got,) = faulty.requests
    head = got.head.lower()
    assert odd == got.body
    assert f"x-fetch-hive-signature: {headers[0][1]}".encode() in head
    assert 2 == head.count(b"\r\nx-two: ")
    assert b"\r\nte: " not in head
    assert 1 == head.count(b"\r\nhost: ") == head.count(b"\r\ncontent-length: ")


def test_an_answer_without_content_is_relayed(faulty: FaultyServer) -> None:
    """An app that answers without content gets its status relayed, and no type is made up."""
    faulty.then(lambda exchange: exchange.send(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"))

    def visit(url: str, lines: Iterator[str]) -> None:
        answer = post(url)
        assert (202, b"", None) == (answer.status_code, answer.content, answer.headers.get("Content-Type"))
        assert 202 == json.loads(next(lines))["forwarded"]["status_code"]

    assert 0 == listened("--secret", SECRET, "--json", "--forward-to", faulty.base_url, visit=visit)


@pytest.mark.parametrize(("step", "status"), [(close, 502), (say_nothing, 504)], ids=["closes", "is silent"])
def test_an_app_that_does_not_answer(
    step: Any, status: int, faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the app gives no answer, the sender gets 502 or 504, so that it tries again, and the reason is shown."""
    monkeypatch.setattr(forwarding, "SECONDS_TO_ANSWER", 0.2)
    faulty.then(step)

    def visit(url: str, lines: Iterator[str]) -> None:
        answer = post(url)
        told = json.loads(next(lines))
        assert status == answer.status_code == told["status_code"]
        assert "no answer" in answer.text
        assert (faulty.base_url, None, answer.text.strip()) == tuple(
            told["forwarded"][name] for name in ("url", "status_code", "error")
        )

    assert 0 == listened("--secret", SECRET, "--json", "--forward-to", faulty.base_url, visit=visit)


def test_listening_on_ipv6() -> None:
    """An IPv6 address can be listened on, and is shown as browsers write it."""

    def visit(url: str, lines: Iterator[str]) -> None:
        assert url.startswith("http://[::1]:")
        assert 204 == post(url).status_code

    assert 0 == listened("--secret", SECRET, "--host", "::1", visit=visit)


def test_the_sandbox_and_the_listener_work_together() -> None:
    """A workflow's callback goes from the sandbox through the listener, with its answer."""
    sandbox = Sandbox()
    sandbox.workflow("brief", reply="A brief.", secret=SECRET)

    def visit(url: str, lines: Iterator[str]) -> None:
        with sandbox.serve() as server, FetchHive(server.api_key, server.base_url) as client:
            run = client.invoke_workflow(deployment="brief", variant="default", callback_url=f"{url}hook")
            assert next(lines).endswith(f"  POST /hook  workflow.completed  {run.request_id}\n")
            assert "          output: A brief.\n" == next(lines)
            server.wait_for_callbacks()
        assert [204] == [attempt.status_code for attempt in sandbox.callbacks[0].attempts]

    assert 0 == listened("--secret", SECRET, visit=visit)


def test_listening_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the web server's packages one line says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "fetch_hive_sdk.cli.receiver", None)
    ended = run("listen", "--skip-verify")

    assert (3, "") == (ended.exit_code, ended.out)
    assert "Error: fetch-hive listen needs: pip install 'fetch-hive-sdk[sandbox]'\n" == ended.err


# --- send-callback --------------------------------------------------------------------------------------


@pytest.fixture
def body(tmp_path: pathlib.Path) -> str:
    """A file with a body whose bytes matter."""
    file = tmp_path / "body.json"
    file.write_bytes(BODY)
    return str(file)


def mac() -> bytes:
    return bytes.fromhex(SIGNED[SIGNATURE_HEADER])


@pytest.mark.parametrize(
    ("options", "signature"),
    [
        ([], mac().hex()),
        (["--signature", "hex"], mac().hex()),
        (["--signature", "sha256=hex"], f"sha256={mac().hex()}"),
        (["--signature", "base64"], base64.b64encode(mac()).decode()),
    ],
    ids=["default", "hex", "sha256=hex", "base64"],
)
def test_a_body_is_sent_signed(options: list[str], signature: str, body: str, faulty: FaultyServer) -> None:
    """The exact bytes are posted with a signature that verifies, in the form asked for; the answer is shown."""
    faulty.then(reply(200, b"noted\n", "text/plain"))
    ended = run("send-callback", "--to", faulty.base_url, "--body", body, "--secret", SECRET, *options)
    (sent,) = faulty.requests

    assert (0, "") == (ended.exit_code, ended.err)
    assert ended.out.startswith("200 in ")
    assert ended.out.endswith(" ms\nnoted\n")
    assert BODY == sent.body
    assert f"{SIGNATURE_HEADER}: {signature}" in sent.head.decode().splitlines()
    CallbackVerifier(SECRET).verify(sent.body, {SIGNATURE_HEADER: signature})


def test_a_body_from_standard_input(faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body may be standard input, bytes that are no text included, and the secret the environment's."""
    faulty.then(reply(204))
    monkeypatch.setenv("FETCH_HIVE_WEBHOOK_SECRET", SECRET)
    ended = run("send-callback", "--to", faulty.base_url, "--body", "-", "--json", stdin=b"\xff\r\n")

    assert 0 == ended.exit_code
    assert "Content-Type: application/json" in faulty.requests[0].head.decode()
    assert (204, "") == (json.loads(ended.out)["status_code"], json.loads(ended.out)["body"])
    assert b"\xff\r\n" == faulty.requests[0].body


def test_an_answer_without_a_body(body: str, faulty: FaultyServer) -> None:
    """An answer without a body is one line."""
    faulty.then(reply(204))
    ended = run("send-callback", "--to", faulty.base_url, "--body", body, "--secret", SECRET)

    assert (0, 1) == (ended.exit_code, ended.out.count("\n"))


@pytest.mark.parametrize("status", [400, 301, 500])
def test_a_receiver_that_does_not_accept(status: int, body: str, faulty: FaultyServer) -> None:
    """Any answer but 2xx has exit code 1, and is shown; redirects are not followed."""
    faulty.then(reply(status, b"no", Location=faulty.base_url))
    ended = run("send-callback", "--to", faulty.base_url, "--body", body, "--secret", SECRET)

    assert 1 == ended.exit_code
    assert ended.out.startswith(f"{status} in ")
    assert 1 == len(faulty.requests)


@pytest.mark.parametrize(
    ("step", "told"),
    [(close, "gave no answer"), (say_nothing, "did not answer within 0.2 s")],
    ids=["closes", "is silent"],
)
def test_a_receiver_that_does_not_answer(step: Any, told: str, body: str, faulty: FaultyServer) -> None:
    """No answer has exit code 5, and a word why."""
    faulty.then(step)
    options = ["--body", body, "--secret", SECRET, "--timeout", "0.2"]
    ended = run("send-callback", "--to", faulty.base_url, *options)

    assert (5, "") == (ended.exit_code, ended.out)
    assert told in ended.err


@pytest.mark.parametrize("command", ["verify --signature 00", "send-callback --to http://localhost"])
def test_what_cannot_be_used(command: str, body: str) -> None:
    """A body that is not there is wrong usage, a blank secret wrong configuration; neither is quoted."""
    ended = run(*command.split(), "--body", "nowhere.json", "--secret", SECRET)
    assert 2 == ended.exit_code
    assert "nowhere.json cannot be read" in ended.err

    ended = run(*command.split(), "--body", body, "--secret", " whsec_blank ")
    assert 3 == ended.exit_code
    assert "whsec_blank" not in ended.err


# --- verify ---------------------------------------------------------------------------------------------


def test_an_empty_secret_is_a_mistake(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--secret "$NOT_SET"` says that it is empty, whatever the environment holds."""
    monkeypatch.setenv("FETCH_HIVE_WEBHOOK_SECRET", "whsec_for_tests")
    ended = run("verify", "--body", body, "--signature", "00", "--secret", "")

    assert 2 == ended.exit_code
    assert "Invalid value for --secret: it is empty." in ended.err


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a standard input there is a line about it, and no traceback."""
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(typer.BadParameter, match="standard input is closed"):
        arguments.read_bytes("-", "--body")


def test_a_valid_signature(body: str) -> None:
    """A valid signature is called so, with what the body tells, and has exit code 0."""
    options = ["--body", body, "--signature", SIGNED[SIGNATURE_HEADER], "--secret", SECRET]

    ended = run("verify", *options)
    assert (0, "valid workflow.completed req_1\n", "") == (ended.exit_code, ended.out, ended.err)

    told = json.loads(run("verify", *options, "--json").out)
    assert {"valid": True, "event_type": "workflow.completed", "request_id": "req_1"} == told


def test_a_valid_signature_of_something_else() -> None:
    """A signed body that is no JSON object has a valid signature all the same."""
    signature = CallbackVerifier(SECRET).sign(b"[]")
    ended = run("verify", "--body", "-", "--signature", signature, "--secret", SECRET, stdin=b"[]")

    assert (0, "valid\n") == (ended.exit_code, ended.out)


@pytest.mark.parametrize(
    ("signature", "reason"), [("00" * 32, "wrong_signature"), ("x", "malformed_signature"), ("", "missing_signature")]
)
def test_a_signature_that_is_not_valid(signature: str, reason: str, body: str) -> None:
    """A wrong signature has exit code 1 and its reason on standard output, as text or JSON."""
    options = ["--body", body, "--signature", signature, "--secret", SECRET]

    ended = run("verify", *options)
    assert (1, "") == (ended.exit_code, ended.err)
    assert ended.out.startswith("not valid: The ")

    told = json.loads(run("verify", *options, "--json").out)
    assert (False, reason) == (told["valid"], told["reason"])
