"""The API key and the webhook secret are nowhere to be seen: a bounded part of `python -m trust.secrets`."""

from __future__ import annotations

import base64
import html
import json
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest

from fetch_hive_sdk import (
    APIConnectionError,
    CallbackVerificationError,
    CallbackVerifier,
    ConfigurationError,
    ConnectionPool,
    FetchHive,
    UnexpectedResponseError,
)
from fetch_hive_sdk.causes import chain_of, shown, without_text
from trust import secrets
from trust.canaries import Canary, Search, channels_of

from .faulty_server import FaultyServer, json_reply, reset


@pytest.fixture
def search() -> Search:
    return Search(secrets.canaries())


CASES = secrets.all_cases(quick=True)[::5]


@pytest.mark.parametrize("way", secrets.WAYS)
def test_failing_calls(search: Search, way: str) -> None:
    """Calls that fail in every way show neither canary: in no error, traceback, variable, pickle, log or warning."""
    cases = [case for case in CASES if case[0] == way]
    secrets.search_failing_calls(search, cases)
    assert search.found == []
    assert search.places > len(cases)


@pytest.mark.parametrize("fault", [secrets.BROKEN_WRITE, secrets.INTERRUPT])
@pytest.mark.parametrize("way", ["own connections", "httpx"])
def test_while_a_request_is_written(search: Search, way: str, fault: str) -> None:
    """An error in the moment in which the key is in the hands of the socket does not show it."""
    secrets.search_failing_calls(search, [(way, "prompt", fault), (way, "trigger by query", fault)])
    assert search.found == []
    assert len(search.scenarios) == 2


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("trigger by query", secrets.ECHO_IN_HEADERS),
        ("prompt stream", "200 with a stream whose error echoes the request"),
    ],
)
def test_what_the_service_repeats(search: Search, call: str, fault: str) -> None:
    """What was sent and comes back in a redirect, or in the error of a stream, is masked."""
    secrets.search_failing_calls(search, [("own connections", call, fault)])
    assert search.found == []


@pytest.mark.parametrize(
    "look",
    [
        secrets.search_wrong_settings,
        secrets.search_proxies,
        secrets.search_sandbox,
        lambda search: secrets.search_command_line(search, quick=True),
    ],
    ids=["wrong settings", "proxies", "sandbox", "command line"],
)
def test_everything_else(search: Search, look: Callable[[Search], None]) -> None:
    """Neither canary is in what is refused, in what a proxy does, in what a sandbox shows or what commands print."""
    look(search)
    assert search.found == []
    assert search.places > 10


def test_where_the_documentation_says_they_are(search: Search) -> None:
    """What is public shows no secret of itself; each place that the documentation names has it, when asked for it."""
    secrets.search_objects(search)
    assert search.found == []
    assert {found.rpartition(" in ")[2] for found in search.documented} == {
        "the pickle of a client",
        "the pickle of a verifier",
        "the pickle of a run",
        'run["webhook_secret"]',
        "run.to_dict()",
        "run.http_response.content",
    }


@pytest.mark.parametrize(
    "write",
    [
        str,
        lambda text: json.dumps(json.dumps(text)),
        lambda text: repr(text.encode()),
        html.escape,
        lambda text: quote(text, safe=""),
        quote_plus,
        lambda text: text.encode().hex().upper(),
        lambda text: base64.b64encode(text.encode()),
        lambda text: base64.b64encode(b"a" + text.encode()),
        lambda text: base64.urlsafe_b64encode(b"ab" + text.encode()),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text[:24],
        lambda text: text[-20:],
        lambda text: repr(list(text.encode())),
    ],
)
def test_a_canary_is_found(write: Callable[[str], Any]) -> None:
    """The search finds a canary however it is written, and nothing where there is none: it can fail."""
    canary = Canary("fhk_", seed=7)
    assert canary.is_in(write(canary.text))
    assert not canary.is_in(write(Canary("fhk_", seed=8).text))


def test_channels_find_what_is_there() -> None:
    """A secret in a local variable is found in every kind of traceback that shows variables."""
    canary = Canary("fhk_")

    def fail() -> None:
        header = f"Bearer {canary.text}"
        raise ValueError(len(header))

    with pytest.raises(ValueError, match=r"\d") as caught:
        fail()
    found = {channel for channel, place in channels_of(caught.value) if canary.is_in(place)}
    assert {"the traceback with local variables", "the variables of its frames"} <= found


# --- what is left to find the mistake by ----------------------------------------------------------------


def test_cause_stays() -> None:
    """The causes of a broken connection keep their classes and their words, without the lines of the libraries."""
    with FaultyServer() as server, FetchHive(api_key="fhk_test", base_url=server.base_url, max_retries=0) as client:
        server.then(reset)
        with pytest.raises(APIConnectionError) as caught:
            client.invoke_prompt(deployment="greeter", variant="default")
    cause = caught.value.__cause__
    assert isinstance(cause, httpx.TransportError)
    assert "reset" in str(cause)
    assert type(cause.__cause__).__module__.startswith("httpcore")
    written = "".join(traceback.format_exception(type(cause), cause, cause.__traceback__))
    assert "drivers.py" in written
    assert "/httpcore/" not in written


def test_lines_of_a_caller_stay() -> None:
    """A transport of the caller's own that fails is in the traceback, with the line where it does."""

    def my_transport(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("my mistake", request=request)

    http_client = httpx.Client(transport=httpx.MockTransport(my_transport))
    client = FetchHive(api_key="fhk_test", max_retries=0, http_client=http_client)
    with http_client, pytest.raises(APIConnectionError) as caught:
        client.invoke_prompt(deployment="greeter", variant="default")
    written = "".join(traceback.format_exception(type(caught.value), caught.value, caught.value.__traceback__))
    assert "my_transport" in written


def test_causes_in_a_circle() -> None:
    """Errors that are each other's causes are gone through once."""
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__context__ = second, first
    assert chain_of(first) == [first, second]


def test_cause_that_cannot_be_told() -> None:
    """A cause whose words are its own and quote the key is left out; what can be told without it is."""

    class Quoting(Exception):
        def __str__(self) -> str:
            return f"refused: {vars(self)['header']}"

    request = httpx.Request("GET", "https://example.com", headers={"Authorization": "Bearer fhk_0123456789"})
    quoting = Quoting()
    quoting.__dict__["header"] = "Bearer fhk_0123456789"
    failure = httpx.ReadError("after 'Bearer fhk_0123456789'")
    failure.__cause__ = quoting
    assert str(shown(failure, request)) == "after 'Bearer [api key]'"
    assert failure.__cause__ is None


def test_unreadable_text_is_not_kept() -> None:
    """The error of the JSON parser does not hold the answer that it could not read."""
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads('{"webhook_secret": "whsec_1')
    assert without_text(caught.value).doc == ""


def test_webhook_secret_in_an_error() -> None:
    """Of an answer that is an error, `error.body` has the webhook secret masked, and `error.response` as it came."""
    with FaultyServer() as server, FetchHive(api_key="fhk_test", base_url=server.base_url) as client:
        server.then(json_reply('{"error": "No.", "webhook_secret": "whsec_1"}'))
        with pytest.raises(UnexpectedResponseError) as caught:
            client.invoke_prompt(deployment="greeter", variant="default")
    assert caught.value.body == {"error": "No.", "webhook_secret": "[webhook secret]"}
    assert caught.value.response.json()["webhook_secret"] == "whsec_1"


def test_agent_trigger_with_a_secret() -> None:
    """A secret in the answer to an agent's trigger, which is not documented, is masked, and makes a verifier."""
    with FaultyServer() as server, FetchHive(api_key="fhk_test", base_url=server.base_url) as client:
        server.then(json_reply('{"request_id": "req_1", "webhook_secret": "whsec_1"}'))
        run = client.triggers.agent(
            "agent", message="Hello.", webhook_secret="whsec_0", callback_url="https://example.com/callback"
        )
    assert "whsec_1" not in repr(run)
    assert run["webhook_secret"] == "whsec_1"
    assert run.callback_verifier().sign(b"{}") == CallbackVerifier("whsec_1").sign(b"{}")


# --- tracebacks with variables --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: FetchHive(api_key="fhk_test", timeout=-1),
        lambda: CallbackVerifier(""),
        lambda: ConnectionPool(http2=True),
    ],
    ids=["client", "verifier", "pool"],
)
def test_variables_of_a_constructor(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback with variables can be made where a constructor fails, whose object is not whole."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises((ConfigurationError, ImportError)) as caught:
        make()
    whole = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "self = " in "".join(whole.format())


def test_right_signature_is_not_told() -> None:
    """A traceback with variables of a forged callback does not hold the signature that would have been right."""
    verifier, body = CallbackVerifier("whsec_1"), b'{"event_type": "workflow.completed"}'
    right = verifier.sign(body)
    with pytest.raises(CallbackVerificationError) as caught:
        verifier.verify(body, {"X-Fetch-Hive-Signature": "0" * 64})
    whole = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    inner = whole[whole.index("callbacks.py") :]
    assert right not in inner
    assert repr(bytes.fromhex(right)) not in inner
