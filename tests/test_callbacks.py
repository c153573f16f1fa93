"""Signed callbacks: what passes, what is refused and how, and that no input does anything else."""

from __future__ import annotations

import base64
import email.message
import hashlib
import hmac
import json
import pickle
import random
import string
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPMessage
from typing import Any

import httpx
import pydantic
import pytest
from starlette.datastructures import Headers as StarletteHeaders
from werkzeug.datastructures import Headers as WerkzeugHeaders

import fetch_hive_sdk
from fetch_hive_sdk import (
    SIGNATURE_HEADER,
    AgentCompletedEvent,
    AgentDelegation,
    AgentDelegationEvent,
    AgentFailedEvent,
    CallbackEvent,
    CallbackVerificationError,
    CallbackVerifier,
    ConfigurationError,
    HiveAgentCancelledEvent,
    HiveAgentCompletedEvent,
    HiveAgentFailedEvent,
    WorkflowCompletedEvent,
    WorkflowFailedEvent,
    unwrap_callback,
    verify_callback,
)
from trust.callbacks import rotation_cases

SECRET = "whsec_test"
BODY = b'{"event_type":"workflow.completed","request_id":"req_1","data":{"output":"Brief"}}'
# printf '%s' "$BODY" | openssl dgst -sha256 -hmac whsec_test
SIGNATURE = "da6b5e84458d95ab0ceb7dfe77d9e5e0b6198f5f0de01c4eb0ab4e934444eaab"
MAC = bytes.fromhex(SIGNATURE)

VERIFIER = CallbackVerifier(SECRET)


def signed(signature: object = SIGNATURE) -> dict[str, object]:
    return {SIGNATURE_HEADER: signature}


def reason(body: Any, headers: Any, verifier: CallbackVerifier = VERIFIER) -> str:
    """Why a callback is refused, by verify and by unwrap alike."""
    with pytest.raises(CallbackVerificationError) as caught:
        verifier.unwrap(body, headers)
    with pytest.raises(CallbackVerificationError) as of_verify:
        verifier.verify(body, headers)
    assert caught.value.reason == of_verify.value.reason
    assert caught.value.hint
    assert isinstance(caught.value, ValueError)
    return caught.value.reason


def unwrap(value: object) -> Any:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return VERIFIER.unwrap(body, signed(VERIFIER.sign(body)))


# --- known answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "body", "signature"),
    [
        pytest.param(SECRET, BODY, SIGNATURE, id="openssl"),
        pytest.param(
            "g\u00e4heim",
            b"caf\xc3\xa9 \xff\x00\r\n",
            "889ac6f68b5c9e0c70afa9335be7cadee13febf7f9802508991c1adb2cfd2297",
            id="openssl, not ASCII",
        ),
        pytest.param(
            b"Jefe",
            "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            id="RFC 4231, case 2",
        ),
    ],
)
def test_known_answers(secret: str | bytes, body: str | bytes, signature: str) -> None:
    """Signatures equal those of openssl and of RFC 4231, and are accepted."""
    verifier = CallbackVerifier(secret)

    assert signature == verifier.sign(body)
    verifier.verify(body, {SIGNATURE_HEADER: signature})


# --- what is accepted ---------------------------------------------------------------------------------

ENCODINGS: dict[str, str | bytes] = {
    "hex": SIGNATURE,
    "upper-case hex": SIGNATURE.upper(),
    "hex with a prefix": f"sha256={SIGNATURE}",
    "upper-case hex with a prefix": f"SHA256={SIGNATURE.upper()}",
    "base64": base64.b64encode(MAC).decode(),
    "base64 without padding": base64.b64encode(MAC).decode().rstrip("="),
    "base64 for URLs": base64.urlsafe_b64encode(MAC).decode(),
    "base64 for URLs without padding": base64.urlsafe_b64encode(MAC).decode().rstrip("="),
    "base64 with a prefix": f"sha256={base64.b64encode(MAC).decode()}",
    "white space around": f" \t{SIGNATURE}\r\n",
    "bytes": SIGNATURE.encode(),
}


@pytest.mark.parametrize("signature", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_encodings(signature: str | bytes) -> None:
    """Every usual encoding of the one right MAC is accepted."""
    VERIFIER.verify(BODY, signed(signature))


def test_both_alphabets_of_base64() -> None:
    """A MAC whose base64 has both special characters is accepted in the standard alphabet and in that for URLs."""
    body = next(
        body
        for body in (str(number).encode() for number in range(10_000))
        if {"+", "/"} <= set(base64.b64encode(bytes.fromhex(VERIFIER.sign(body))).decode())
    )
    mac = bytes.fromhex(VERIFIER.sign(body))

    for signature in (base64.b64encode(mac), base64.urlsafe_b64encode(mac)):
        VERIFIER.verify(body, signed(signature))


BODIES: dict[str, Any] = {
    "bytes": BODY,
    "str": BODY.decode(),
    "bytearray": bytearray(BODY),
    "memoryview": memoryview(BODY),
    "part of a memoryview": memoryview(b"x" + BODY + b"x")[1:-1],
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_bodies(body: Any) -> None:
    """The raw body may be bytes, or text, or a view of bytes."""
    VERIFIER.verify(body, signed())

    assert "Brief" == VERIFIER.unwrap(body, signed())["data"]["output"]
    assert SIGNATURE == VERIFIER.sign(body)


def message(cls: type[email.message.Message]) -> email.message.Message:
    headers = cls()
    headers["Content-Type"] = "application/json"
    headers[SIGNATURE_HEADER] = SIGNATURE
    return headers


HEADERS: dict[str, Any] = {
    "dict": {"Content-Type": "application/json", SIGNATURE_HEADER: SIGNATURE},
    "lower case": {SIGNATURE_HEADER.lower(): SIGNATURE},
    "upper case": {SIGNATURE_HEADER.upper(): SIGNATURE},
    "WSGI environ": {"REQUEST_METHOD": "POST", "wsgi.input": object(), "HTTP_X_FETCH_HIVE_SIGNATURE": SIGNATURE},
    "environ without HTTP_": {"X_FETCH_HIVE_SIGNATURE": SIGNATURE},
    "ASGI pairs": [(b"content-type", b"application/json"), (b"x-fetch-hive-signature", SIGNATURE.encode())],
    "ASGI lists": [[b"x-fetch-hive-signature", SIGNATURE.encode()]],
    "iterator of pairs": "made anew for each test",
    "dict of bytes": {SIGNATURE_HEADER.encode(): SIGNATURE.encode()},
    "dict of lists": {SIGNATURE_HEADER: [SIGNATURE]},
    "dict of tuples": {SIGNATURE_HEADER: (SIGNATURE,)},
    "dict of lists of bytes": {SIGNATURE_HEADER: [SIGNATURE.encode()]},
    "twice the same": [(SIGNATURE_HEADER, SIGNATURE), (SIGNATURE_HEADER.lower(), SIGNATURE)],
    "email.message": message(email.message.Message),
    "http.client": message(HTTPMessage),
    "httpx": httpx.Headers({SIGNATURE_HEADER: SIGNATURE}),
    "Starlette": StarletteHeaders({SIGNATURE_HEADER: SIGNATURE}),
    "Starlette from ASGI": StarletteHeaders(raw=[(b"x-fetch-hive-signature", SIGNATURE.encode())]),
    "Werkzeug": WerkzeugHeaders({SIGNATURE_HEADER: SIGNATURE}),
    "values of other types beside": {SIGNATURE_HEADER: SIGNATURE, 5: None, None: 5, "X-A": ["a", 5, None], b"\xff": {}},
}


@pytest.mark.parametrize("kind", list(HEADERS))
def test_header_shapes(kind: str) -> None:
    """The header is found in whatever a framework calls headers, in any case and spelling."""
    headers = iter([(SIGNATURE_HEADER, SIGNATURE)]) if kind == "iterator of pairs" else HEADERS[kind]

    VERIFIER.verify(BODY, headers)


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        [],
        iter(()),
        {"Content-Type": "application/json"},
        {"X-Hub-Signature-256": SIGNATURE},
        {"Fetch-Hive-Signature": SIGNATURE},
        {"X-Fetch-Hive-Signature-2": SIGNATURE},
        {"HTTP_HTTP_X_FETCH_HIVE_SIGNATURE": SIGNATURE},
        signed(""),
        signed(b""),
        signed(" \r\n"),
        signed([]),
        httpx.Headers(),
    ],
)
def test_missing(headers: Any) -> None:
    """A callback without a signature is refused as such."""
    with pytest.raises(CallbackVerificationError) as caught:
        VERIFIER.verify(BODY, headers)

    assert "missing_signature" == caught.value.reason
    assert SIGNATURE_HEADER in caught.value.message


MALFORMED: dict[str, Any] = {
    "a word": "signature",
    "not ASCII": "\u00fc" * 10,
    "half a surrogate pair": "\ud800",
    "half a surrogate pair and the rest": f"{SIGNATURE}\ud800",
    "broken base64": "a" * 41 + "==",
    "one hex digit less": SIGNATURE[:-1],
    "one hex digit more": f"{SIGNATURE}0",
    "the wrong prefix": f"sha1={SIGNATURE}",
    "the prefix alone": "sha256=",
    "the prefix twice": f"sha256=sha256={SIGNATURE}",
    "the shape of Stripe": f"t=1492774577,v1={SIGNATURE}",
    "the shape of Standard Webhooks": f"v1,{base64.b64encode(MAC).decode()}",
    "entries": f"{SIGNATURE},{SIGNATURE}",
    "several in one": f"{SIGNATURE} {SIGNATURE}",
    "bytes of another kind": b"\xff\xfe",
    "number": 5,
    "None": None,
    "dict": {"value": SIGNATURE},
    "list in a list": [[SIGNATURE]],
    "two different values": [SIGNATURE, "0" * 64],
    "very long": "0" * 100_000,
    "quoted": f'"{SIGNATURE}"',
    "NUL": f"{SIGNATURE}\0",
}


@pytest.mark.parametrize("signature", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(signature: Any) -> None:
    """A header that cannot be a MAC, by whichever crash row of other libraries, is refused as malformed."""
    assert "malformed_signature" == reason(BODY, signed(signature))


def test_two_headers() -> None:
    """Two different signatures are refused, even if one of them is right."""
    for pairs in ([SIGNATURE, "0" * 64], ["0" * 64, SIGNATURE], [SIGNATURE, ""]):
        headers = [(SIGNATURE_HEADER, value) for value in pairs]
        assert "malformed_signature" == reason(BODY, headers)
        assert "malformed_signature" == reason(BODY, httpx.Headers(headers))


WRONG: dict[str, Any] = {
    "zeros": "0" * 64,
    "no hex": "g" * 64,
    "another MAC in base64": base64.b64encode(b"x" * 32).decode(),
    "base64 in another case": base64.b64encode(MAC).decode().swapcase(),
    "the MAC backwards": MAC[::-1].hex(),
    "64 characters that are not ASCII": "\u00e9" * 32,
    "SHA-256 without the key": hashlib.sha256(BODY).hexdigest(),
    "HMAC with SHA-1, padded": hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest().ljust(64, "0"),
}


@pytest.mark.parametrize("signature", WRONG.values(), ids=WRONG.keys())
def test_wrong(signature: str) -> None:
    """A MAC that is not the right one is refused as wrong."""
    assert "wrong_signature" == reason(BODY, signed(signature))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(BODY + b" ", id="a space more"),
        pytest.param(BODY + b"\n", id="a line end more"),
        pytest.param(BODY[:-1], id="a byte less"),
        pytest.param(b"\xef\xbb\xbf" + BODY, id="a BOM more"),
        pytest.param(BODY.replace(b"Brief", b"brief"), id="another letter"),
        pytest.param(BODY.replace(b"Brief", b"\\u0042rief"), id="the same text escaped"),
        pytest.param(json.dumps(json.loads(BODY)).encode(), id="parsed and written again"),
        pytest.param(BODY.decode().encode("utf-16"), id="another encoding"),
        pytest.param(b"\xff\xfe\x00", id="not UTF-8"),
    ],
)
def test_tampered_body(body: bytes) -> None:
    """Any change of the body's bytes makes the signature wrong."""
    assert "wrong_signature" == reason(body, signed())


@pytest.mark.parametrize("position", range(64))
def test_every_digit_counts(position: int) -> None:
    """Changing any one digit of the signature makes it wrong."""
    digit = "0" if SIGNATURE[position] != "0" else "1"

    assert "wrong_signature" == reason(BODY, signed(SIGNATURE[:position] + digit + SIGNATURE[position + 1 :]))


@pytest.mark.parametrize("secret", ["whsec_tesT", "whsec_test2", "test", b"\0", "x" * 100])
def test_another_secret(secret: str | bytes) -> None:
    """A callback signed with another secret is refused."""
    assert "wrong_signature" == reason(BODY, signed(), CallbackVerifier(secret))


def released() -> memoryview:
    view = memoryview(bytearray(BODY))
    view.release()
    return view


@pytest.mark.parametrize(
    "body",
    [None, 5, [BODY], (BODY,), object(), iter([BODY]), released(), "\ud800", {1, 2}, json],
    ids=lambda b: type(b).__name__,
)
def test_unreadable_body(body: Any) -> None:
    """A body that has no bytes to be read is refused as a request that cannot be checked."""
    assert "unreadable_request" == reason(body, signed())


class Explosive:
    """Something that raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Broken(dict[str, str]):
    def items(self) -> Any:
        raise KeyError("items")


@pytest.mark.parametrize(
    "headers",
    [
        None,
        5,
        "headers",
        b"headers",
        [5],
        [("a",)],
        [("a", "b", "c")],
        [None],
        object(),
        Explosive(),
        Broken(a="b"),
        [SIGNATURE_HEADER],
    ],
    ids=lambda headers: type(headers).__name__,
)
def test_unreadable_headers(headers: Any) -> None:
    """Headers that are none are refused as a request that cannot be checked."""
    assert "unreadable_request" == reason(BODY, headers)


@pytest.mark.parametrize("body", [{}, json.loads(BODY), httpx.Headers()])
def test_parsed_body(body: Any) -> None:
    """A body that was parsed gets a TypeError with the recipe of each framework for the raw one."""
    for check in (VERIFIER.verify, VERIFIER.unwrap):
        with pytest.raises(TypeError) as caught:
            check(body, signed())
        for recipe in ("await request.body()", "request.get_data()", "request.body"):
            assert recipe in str(caught.value)
    with pytest.raises(TypeError, match="raw bytes"):
        VERIFIER.sign(body)


UNREADABLE: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"hello",
    "truncated": BODY[:-1],
    "array": b"[1]",
    "null": b"null",
    "text": b'"text"',
    "number": b"5",
    "binary": b"\xff\x00",
    "UTF-16": BODY.decode().encode("utf-16"),
    "far too deep": b"[" * 100_000 + b"]" * 100_000,
    "far too deep in an object": b'{"data":' * 100_000 + b"1" + b"}" * 100_000,
    "a number of 5000 digits": b'{"event_type":"agent.completed","data":{"n":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_signed_and_unreadable(body: bytes) -> None:
    """A body that is signed and no JSON object passes verify, and unwrap refuses it."""
    headers = signed(VERIFIER.sign(body))

    VERIFIER.verify(body, headers)
    with pytest.raises(CallbackVerificationError) as caught:
        VERIFIER.unwrap(body, headers)
    assert "unreadable_body" == caught.value.reason


def nested(depth: int, start: bytes, end: bytes) -> bytes:
    return b'{"event_type":"agent.completed","request_id":"r","data":{"response":%s1%s}}' % (start * depth, end * depth)


@pytest.mark.parametrize(("start", "end"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["array", "object"])
def test_depth_of_json(start: bytes, end: bytes) -> None:
    """However deep a signed body is nested, it is an event that can be used, or refused as unreadable."""
    told: set[str] = set()
    for depth in [*range(1, 40), *range(40, 1_200, 20), 5_000, 50_000]:
        body = nested(depth, start, end)
        try:
            event = unwrap(body)
        except CallbackVerificationError as error:
            told.add(error.reason)
        else:
            told.add("event")
            assert "1" == event.response.strip('[]{}"a:')
            assert event.to_dict()
            assert event.delivery_key
            assert event == pickle.loads(pickle.dumps(event))

    assert {"event", "unreadable_body"} == told


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("9" * 4300, "9" * 4300),
        ("-0", "0"),
        ("1e5", "100000.0"),
        ("1e999", "Infinity"),
        ("-1e999", "-Infinity"),
        ("1e-999", "0.0"),
        ("0." + "1" * 5000, "0.1111111111111111"),
    ],
    ids=lambda text: text[:6],
)
def test_huge_numbers(number: str, shown: str) -> None:
    """A huge number in a signed body is read as JSON parsers do, and as a text it is JSON again."""
    event = unwrap(
        b'{"event_type":"agent.completed","request_id":%s,"data":{"response":%s}}' % (2 * (number.encode(),))
    )

    assert (shown, shown) == (event.request_id, event.response)
    assert 64 == len(event.delivery_key)


def test_repeated_keys() -> None:
    """Of a key that stands twice in a signed body the last value counts, by attribute, by key and for the class."""
    event = unwrap(
        b'{"event_type":"agent.failed","event_type":"agent.completed","request_id":"a","request_id":"b",'
        b'"data":{"response":"x"},"data":{"response":"y","response":"z"}}'
    )

    assert AgentCompletedEvent is type(event)
    assert ("b", "z", "b") == (event.request_id, event.response, event["request_id"])


# --- size ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, bytes.decode], ids=lambda form: form.__name__)
def test_size_limit(form: Callable[[bytes], Any]) -> None:
    """A body may have as many bytes as `max_body_size`, and with one more it is refused, though it is signed."""
    verifier = CallbackVerifier(SECRET, max_body_size=len(BODY))
    longer = BODY + b" "

    assert "Brief" == verifier.unwrap(form(BODY), signed())["data"]["output"]
    headers = signed(verifier.sign(longer))
    assert "too_large" == reason(form(longer), headers, verifier)
    with pytest.raises(CallbackVerificationError, match=f"has {len(longer)} bytes; up to {len(BODY)} are accepted"):
        verifier.verify(form(longer), headers)


def test_size_is_counted_in_bytes() -> None:
    """A text counts with the bytes that it has in UTF-8."""
    verifier = CallbackVerifier(SECRET, max_body_size=4)

    verifier.verify("\u00fc\u00fc", signed(verifier.sign("\u00fc\u00fc")))
    assert "too_large" == reason("\u00fc\u00fc1", {}, verifier)


def test_default_size_limit() -> None:
    """Without a setting a body may have 16 MiB; None takes any."""
    body = BODY[:-1] + b" " * (16 * 2**20 - len(BODY)) + b"}"

    assert "req_1" == unwrap(body).request_id
    headers = signed(VERIFIER.sign(body + b" "))
    assert "too_large" == reason(body + b" ", headers)
    assert "req_1" == CallbackVerifier(SECRET, max_body_size=None).unwrap(body + b" ", headers).request_id


def test_what_is_too_large_is_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is too long is refused before its signature is computed, and whatever its headers are."""
    verifier = CallbackVerifier(SECRET, max_body_size=10)

    def never(*_: object) -> Any:
        raise AssertionError("it was hashed")

    monkeypatch.setattr(CallbackVerifier, "_digests", never)
    for headers in (signed(), signed("nonsense"), {}, None):
        assert "too_large" == reason(BODY, headers, verifier)


@pytest.mark.parametrize("size", [0, -1, 1.5, "16", True, b"", float("inf")])
def test_refused_size_limits(size: Any) -> None:
    """A limit that is no positive whole number is refused when the verifier is made."""
    with pytest.raises(ConfigurationError, match=r"max_body_size: .* is no positive number of bytes"):
        CallbackVerifier(SECRET, max_body_size=size)


@pytest.mark.parametrize("size", [10, None])
def test_size_limit_survives_pickle(size: int | None) -> None:
    """A verifier that travelled to another process has its limit still."""
    verifier = pickle.loads(pickle.dumps(CallbackVerifier(SECRET, max_body_size=size)))

    if size is None:
        verifier.verify(b" " * (16 * 2**20 + 1), signed(VERIFIER.sign(b" " * (16 * 2**20 + 1))))
    else:
        assert "too_large" == reason(BODY, signed(), verifier)


def test_unauthenticated_data_is_never_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is parsed only after its signature was found right."""
    parsed: list[bytes] = []

    def read_json(data: bytes) -> Any:
        parsed.append(data)
        return json.loads(data)

    monkeypatch.setattr("fetch_hive_sdk.callbacks.read_json", read_json)

    reason(BODY, signed("0" * 64))
    assert [] == parsed
    VERIFIER.unwrap(BODY, signed())
    assert [BODY] == parsed


def test_errors_show_no_body() -> None:
    """The text of a refusal shows neither the body, nor the secret, nor the right signature."""
    with pytest.raises(CallbackVerificationError) as caught:
        VERIFIER.verify(BODY, signed("0" * 64))

    for hidden in (SECRET, SIGNATURE, base64.b64encode(MAC).decode(), "Brief", "0" * 64):
        assert hidden not in f"{caught.value}{caught.value!r}"


# --- secrets ------------------------------------------------------------------------------------------

SECRETS: dict[str, Callable[[], Any]] = {
    "str": lambda: SECRET,
    "bytes": SECRET.encode,
    "SecretStr": lambda: pydantic.SecretStr(SECRET),
    "SecretBytes": lambda: pydantic.SecretBytes(SECRET.encode()),
    "list": lambda: [SECRET],
    "first of two": lambda: [SECRET, "whsec_old"],
    "second of two": lambda: ("whsec_old", SECRET),
    "in the middle": lambda: ["whsec_older", SECRET.encode(), pydantic.SecretStr("whsec_old")],
    "set": lambda: {SECRET},
    "generator": lambda: (secret for secret in (SECRET, "other")),
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_secrets(secret: Callable[[], Any]) -> None:
    """The secret may be of each text type, and one of several is enough, wherever it stands."""
    CallbackVerifier(secret()).verify(BODY, signed())
    verify_callback(BODY, signed(), secret())

    assert "Brief" == unwrap_callback(BODY, signed(), secret())["data"]["output"]


def test_order_of_secrets() -> None:
    """While a secret is renewed, old and new ones are accepted in any order, and one that was given up is not."""
    cases = list(rotation_cases())

    assert 12 == len(cases)
    assert [] == [case for case, expected, accepted in cases if expected is not accepted]


def test_every_secret_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of several secrets is compared with, whichever fits, so that time tells nothing."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr("fetch_hive_sdk.callbacks.hmac.compare_digest", compare)
    for secrets in ([SECRET, "b", "c"], ["b", SECRET, "c"], ["b", "c", SECRET]):
        compared.clear()
        CallbackVerifier(secrets).verify(BODY, signed())
        assert 3 == len(compared)


def test_none_of_several() -> None:
    """If none of several secrets fits, the callback is refused."""
    assert "wrong_signature" == reason(BODY, signed(), CallbackVerifier(["a", "b", "c"]))


def test_sign_uses_the_first_secret() -> None:
    """Signing takes the first of several secrets."""
    assert SIGNATURE == CallbackVerifier([SECRET, "whsec_old"]).sign(BODY)


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("", "it is empty"),
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"\t\r\n ", "it is empty"),
        (pydantic.SecretStr(""), "it is empty"),
        (pydantic.SecretBytes(b""), "it is empty"),
        (" ", "spaces or line breaks"),
        ("whsec_test\n", "spaces or line breaks"),
        (" whsec_test", "spaces or line breaks"),
        ([], "secret: none was passed"),
        ((), "secret: none was passed"),
        (iter(()), "secret: none was passed"),
        (["whsec_test", ""], "secret[1]: it is empty"),
        ([b"", "whsec_test"], "secret[0]: it is empty"),
        (["whsec_test", None], "secret[1]: None is not allowed"),
        (None, "secret: it is None; is its environment variable set?"),
        (5, "secret: an int is not allowed"),
        ([5], "secret[0]: an int is not allowed"),
        ([["whsec_test"]], "secret[0]: a list is not allowed"),
        (object(), "secret: an object is not allowed"),
        (bytearray(b"whsec_test"), "secret: a bytearray is not allowed"),
        (memoryview(b"whsec_test"), "secret: a memoryview is not allowed"),
        ("\ud800", "it is not valid text"),
    ],
)
def test_refused_secrets(secret: Any, problem: str) -> None:
    """A secret that is missing, blank or of another type is refused when the verifier is made."""
    for make in (CallbackVerifier, partial(verify_callback, BODY, signed())):
        with pytest.raises(ConfigurationError) as caught:
            make(secret)
        assert problem in caught.value.message
        assert "whsec_test" not in str(caught.value)
        assert "dashboard" in caught.value.hint


def test_secret_by_name() -> None:
    """A dict of named secrets is refused: its keys are no secrets."""
    with pytest.raises(ConfigurationError, match="dict is not allowed"):
        CallbackVerifier({"production": SECRET})


def test_empty_secret_lets_nobody_sign() -> None:
    """A callback signed with the empty key never passes."""
    forged = hmac.new(b"", BODY, hashlib.sha256).hexdigest()

    assert "wrong_signature" == reason(BODY, signed(forged))


def test_pickle() -> None:
    """A verifier can travel to another process, with all its secrets."""
    again = pickle.loads(pickle.dumps(CallbackVerifier(["whsec_old", SECRET])))

    again.verify(BODY, signed())
    assert CallbackVerifier("whsec_old").sign(BODY) == again.sign(BODY)


def test_repr() -> None:
    """The repr of a verifier tells how many secrets it has and none of them."""
    assert "CallbackVerifier(1 secret)" == repr(VERIFIER) == str(VERIFIER)
    assert "CallbackVerifier(2 secrets)" == repr(CallbackVerifier([SECRET, "whsec_old"]))


def test_reuse() -> None:
    """One verifier checks any number of callbacks, and a refused one leaves no trace."""
    for number in range(20):
        body = str(number).encode()
        VERIFIER.verify(body, signed(VERIFIER.sign(body)))
        reason(body, signed())


# --- events -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_type", "cls", "outcome"),
    [
        ("workflow.completed", WorkflowCompletedEvent, "completed"),
        ("workflow.failed", WorkflowFailedEvent, "failed"),
        ("workflow.run.completed", WorkflowCompletedEvent, "completed"),
        ("workflow_run.failed", WorkflowFailedEvent, "failed"),
        ("Workflow.Completed", WorkflowCompletedEvent, "completed"),
        ("agent.completed", AgentCompletedEvent, "completed"),
        ("agent.failed", AgentFailedEvent, "failed"),
        ("agent_run.completed", AgentCompletedEvent, "completed"),
        ("agent.run.failed", AgentFailedEvent, "failed"),
        ("agent.delegation.completed", AgentDelegationEvent, "completed"),
        ("agent.delegation.failed", AgentDelegationEvent, "failed"),
        ("agent.delegation.expired", AgentDelegationEvent, "expired"),
        ("hive_agent.completed", HiveAgentCompletedEvent, "completed"),
        ("hive_agent.failed", HiveAgentFailedEvent, "failed"),
        ("hive_agent.cancelled", HiveAgentCancelledEvent, "cancelled"),
        ("hive_agent.canceled", HiveAgentCancelledEvent, "cancelled"),
        ("hive-agent.completed", HiveAgentCompletedEvent, "completed"),
        ("hiveagent.failed", HiveAgentFailedEvent, "failed"),
        ("HiveAgent.Completed", HiveAgentCompletedEvent, "completed"),
        ("hive_agent_run.completed", HiveAgentCompletedEvent, "completed"),
        ("hive_agent.run.cancelled", HiveAgentCancelledEvent, "cancelled"),
        ("workflow.cancelled", CallbackEvent, "cancelled"),
        ("workflow.paused", CallbackEvent, "paused"),
        ("prompt.completed", CallbackEvent, "completed"),
        ("tool_approval.requested", CallbackEvent, "requested"),
        ("something.new.failed", CallbackEvent, "failed"),
        ("completed", CallbackEvent, "completed"),
        ("workflow.", CallbackEvent, ""),
        (".", CallbackEvent, ""),
        ("\u00fcber", CallbackEvent, "\u00fcber"),
    ],
)
def test_event_types(event_type: str, cls: type[CallbackEvent], outcome: str) -> None:
    """Each event type, in every plausible spelling, has its class; an unknown one is a plain CallbackEvent."""
    fields = {"event_type": event_type, "request_id": "req_1", "data": {"a": 1}}
    event = unwrap(fields)

    assert cls is type(event)
    assert (event_type, "req_1", {"a": 1}, outcome) == (event.event_type, event.request_id, event.data, event.outcome)
    assert fields == dict(event)


@pytest.mark.parametrize(
    ("fields", "cls", "outcome"),
    [
        ({"request_id": "req_1", "run_status": "completed", "output": "x"}, WorkflowCompletedEvent, "completed"),
        ({"run_status": "FAILED", "error": "e"}, WorkflowFailedEvent, "failed"),
        ({"data": {"run_status": "completed", "output": "x"}}, WorkflowCompletedEvent, "completed"),
        ({"event_type": None, "run_status": "failed"}, WorkflowFailedEvent, "failed"),
        ({"event_type": "", "run_status": "running"}, CallbackEvent, "running"),
        ({"run_status": 5}, CallbackEvent, ""),
        ({"data": {}, "run_status": "completed"}, WorkflowCompletedEvent, "completed"),
        ({"data": {"response": "x"}}, CallbackEvent, ""),
        ({}, CallbackEvent, ""),
    ],
)
def test_no_event_type(fields: dict[str, Any], cls: type[CallbackEvent], outcome: str) -> None:
    """A body without an event type is read by its run's status."""
    event = unwrap(fields)

    assert cls is type(event)
    assert outcome == event.outcome
    assert fields == dict(event)


@pytest.mark.parametrize(
    ("event_type", "shown"),
    [(5, "5"), (True, "true"), (["workflow.completed"], '["workflow.completed"]'), ({"a": 1}, '{"a":1}'), (1.5, "1.5")],
)
def test_odd_event_type(event_type: object, shown: str) -> None:
    """An event type that is no text makes a plain event, with the type as JSON text."""
    event = unwrap({"event_type": event_type, "request_id": 7})

    assert CallbackEvent is type(event)
    assert (shown, "7") == (event.event_type, event.request_id)
    assert event_type == event["event_type"]
    assert isinstance(event.outcome, str)


@pytest.mark.parametrize(
    ("event_type", "attribute", "fields", "text"),
    [
        ("workflow.completed", "output", {"data": {"output": "x"}}, "x"),
        ("workflow.completed", "output", {"data": {"response": "x"}}, "x"),
        ("workflow.completed", "output", {"data": {"result": "x"}}, "x"),
        ("workflow.completed", "output", {"data": {"output": None, "result": "x"}}, "x"),
        ("workflow.completed", "output", {"data": {"output": {"a": ["\u00e4"]}}}, '{"a":["\u00e4"]}'),
        ("workflow.completed", "output", {"data": {"output": 5}}, "5"),
        ("workflow.completed", "output", {"data": {"output": ""}}, ""),
        ("workflow.completed", "output", {"output": "beside"}, "beside"),
        ("workflow.completed", "output", {"data": {"output": "x"}, "output": "beside"}, "x"),
        ("workflow.completed", "output", {"data": "text", "output": "beside"}, "beside"),
        ("workflow.completed", "output", {"data": {}}, ""),
        ("workflow.completed", "output", {}, ""),
        ("workflow.failed", "error", {"data": {"error": "e"}}, "e"),
        ("workflow.failed", "error", {"data": {"message": "e"}}, "e"),
        ("workflow.failed", "error", {"error": {"code": 5}}, '{"code":5}'),
        ("workflow.failed", "error", {}, ""),
        ("agent.completed", "response", {"data": {"response": "x"}}, "x"),
        ("agent.completed", "response", {"data": {"output": "x"}}, "x"),
        ("agent.completed", "response", {"response": "flat"}, "flat"),
        ("agent.failed", "error", {"data": {"error": "e"}}, "e"),
        ("hive_agent.completed", "response", {"data": {"result": "x"}}, "x"),
        ("hive_agent.failed", "error", {"data": {"error": "e"}}, "e"),
    ],
)
def test_texts(event_type: str, attribute: str, fields: dict[str, Any], text: str) -> None:
    """The text of an event is found in `data` or beside it, and is JSON text where it came as another value."""
    assert text == getattr(unwrap({"event_type": event_type, **fields}), attribute)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_text_that_is_no_json(number: str) -> None:
    """NaN and infinity in an output are told as such, not as null."""
    event = unwrap(b'{"event_type":"workflow.completed","data":{"output":[%s]}}' % number.encode())

    assert f"[{number}]" == event.output


def test_delegation() -> None:
    """A delegation event has the delegation as a typed object."""
    data = {
        "id": "d1",
        "status": "failed",
        "kind": "workflow",
        "target": {"name": "Brief"},
        "result": None,
        "parent_request_id": "req_1",
        "tool_call_id": "call_1",
        "created_at": "2026-06-01T00:00:00Z",
        "later": 1,
    }
    delegation = unwrap({"event_type": "agent.delegation.completed", "data": data}).delegation

    assert AgentDelegation is type(delegation)
    assert ("d1", "failed", {"name": "Brief"}, None) == (
        delegation.id,
        delegation.status,
        delegation.target,
        delegation.result,
    )
    assert data == dict(delegation)


def test_odd_delegation() -> None:
    """A delegation with odd fields has defaults or JSON text by attribute, and by key what came."""
    data = {"id": 5, "status": ["failed"], "target": "Brief", "result": {"a": 1}}
    delegation = unwrap({"event_type": "agent.delegation.completed", "data": data}).delegation

    assert ("5", '["failed"]', None, {"a": 1}) == (
        delegation.id,
        delegation.status,
        delegation.target,
        delegation.result,
    )
    assert data == dict(delegation)


def test_no_delegation() -> None:
    """A delegation event without data has an empty delegation."""
    delegation = unwrap({"event_type": "agent.delegation.completed"}).delegation

    assert ("", "", {}) == (delegation.id, delegation.status, dict(delegation))


def test_changes_reach_nobody() -> None:
    """What a handler changes in `data` does not change the event's JSON by key."""
    event = unwrap({"event_type": "workflow.completed", "data": {"output": "x", "list": [{"a": 1}]}})

    event["data"]["list"].clear()
    event.data["list"][0]["a"] = 2
    event.data["output"] = "changed"

    assert {"output": "x", "list": [{"a": 1}]} == event["data"]


def test_event_is_a_result() -> None:
    """An event is frozen, equals its JSON, keeps unknown fields and survives pickle."""
    fields = {"event_type": "agent.completed", "request_id": "req_1", "data": {"response": "x"}, "attempt": 2}
    event = unwrap(fields)

    assert fields == event == pickle.loads(pickle.dumps(event))
    assert "x" == pickle.loads(pickle.dumps(event)).response
    assert 2 == event["attempt"] == event.attempt
    with pytest.raises(ValueError, match="frozen"):
        event.request_id = "req_2"


@pytest.mark.parametrize(
    ("body", "output"),
    [
        (b'\xef\xbb\xbf{"event_type":"workflow.completed","data":{"output":"x"}}', "x"),
        (b'{"event_type":"workflow.completed","data":{"output":"a\xffb"}}', "a\ufffdb"),
        (b'{"event_type":"workflow.completed","data":{"output":"a\\ud800b"}}', "a\ufffdb"),
        (b' {"event_type":"workflow.completed","data":{"output":"x"}}\r\n', "x"),
    ],
)
def test_odd_bytes(body: bytes, output: str) -> None:
    """A BOM, stray bytes and half surrogate pairs do not cost a signed event."""
    assert output == unwrap(body).output


@pytest.mark.parametrize("depth", [100, 190, 210, 250, 300, 400, 600, 900])
@pytest.mark.parametrize(
    "body",
    [b'{"event_type":"workflow.completed","data":{"output":%s}}', b'{"event_type":"workflow.completed","data":%s}'],
    ids=["output", "data"],
)
def test_depth(body: bytes, depth: int) -> None:
    """However deep a signed body is nested, it is read or refused, and an event that was read can be used."""
    nested = b"[" * depth + b"]" * depth
    try:
        event = unwrap(body % nested)
    except CallbackVerificationError as error:
        told = error.reason
    else:
        told = "read"
        assert event.output in ("", nested.decode())
        assert isinstance(event["data"], (dict, list))

    assert told in ("read", "unreadable_body")
    assert "read" == told or depth > 150


# --- one-off functions, and fuzz ----------------------------------------------------------------------


def test_functions() -> None:
    """The module's functions do what a verifier does."""
    verify_callback(BODY, signed(), SECRET)

    assert isinstance(unwrap_callback(BODY, signed(), SECRET), WorkflowCompletedEvent)
    for check in (verify_callback, unwrap_callback):
        with pytest.raises(CallbackVerificationError):
            check(BODY, signed("0" * 64), SECRET)


def test_module_name_is_exported() -> None:
    """The header's name is public, for receivers that look it up themselves."""
    assert "X-Fetch-Hive-Signature" == fetch_hive_sdk.SIGNATURE_HEADER


def random_json(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(9 if depth < 3 else 6)
    if kind < 6:
        return chance.choice(
            [None, True, 5, -1.5, float("nan"), 10**20, "", "completed", "\ud800", "\u2028", "workflow.completed"]
        )
    if kind == 6:
        return [random_json(chance, depth + 1) for _ in range(chance.randrange(3))]
    names = [
        "event_type",
        "request_id",
        "data",
        "run_status",
        "output",
        "error",
        "id",
        "target",
        "completed",
        "",
        "_json",
    ]
    return {chance.choice(names): random_json(chance, depth + 1) for _ in range(chance.randrange(5))}


def random_event(chance: random.Random) -> bytes:
    event = {"event_type": random_json(chance), "request_id": random_json(chance), "data": random_json(chance)}
    if chance.random() < 0.7:
        subject = chance.choice(["workflow", "agent", "agent.delegation", "hive_agent", "x"])
        event["event_type"] = f"{subject}.{chance.choice(['completed', 'failed', 'cancelled'])}"
    if chance.random() < 0.7:
        keys = ["output", "response", "error", "result", "id", "target", "status", "run_status"]
        event["data"] = {key: random_json(chance) for key in chance.sample(keys, chance.randrange(5))}
    for name in chance.sample(sorted(event), chance.randrange(3)):
        del event[name]
    return json.dumps(event).encode()


def random_bytes(chance: random.Random) -> bytes:
    return bytes(chance.randrange(256) for _ in range(chance.randrange(100)))


def random_body(chance: random.Random) -> Any:
    body = chance.choice([random_event, random_event, random_bytes])(chance)
    if chance.random() < 0.2:
        position = chance.randrange(len(body) + 1)
        body = body[:position] + random_bytes(chance)[:3] + body[position:]
    kind = chance.randrange(12)
    if kind == 0:
        return body.decode("latin-1")
    if kind == 1:
        return bytearray(body)
    if kind == 2:
        return memoryview(body)
    return chance.choice([None, 5, [body], "\ud800", object()]) if kind == 3 else body


def random_signature(chance: random.Random, body: Any) -> Any:
    try:
        right = VERIFIER.sign(body)
    except CallbackVerificationError:
        right = SIGNATURE
    text = "".join(chance.choice(string.printable + "\u00e9\ud800\0") for _ in range(chance.randrange(80)))
    return chance.choice(
        [
            *[right, right, right, f"sha256={right}", right.upper(), right.encode(), [right]],
            base64.b64encode(bytes.fromhex(right)).decode(),
            *[right[:-1], right + text, text, text.encode("utf-8", "replace"), random_bytes(chance)],
            *["", None, 5, [], [right, text], {"a": right}, object(), right, right, right[::-1]],
        ]
    )


def random_headers(chance: random.Random, value: Any) -> Any:
    name: Any = chance.choice([SIGNATURE_HEADER, SIGNATURE_HEADER.lower(), "HTTP_X_FETCH_HIVE_SIGNATURE"])
    name = name.encode() if chance.random() < 0.2 else name
    sound: list[Any] = [
        {name: value},
        [(name, value)],
        iter([(name, value)]),
        {name: value, "X-A": random_json(chance)},
    ]
    odd: list[Any] = [[(name, value), (name, "x")], [name, value], {}, {"X-Other": value}, None, 5, "headers", [5]]
    return chance.choice(sound if chance.random() < 0.8 else [*odd, object(), Explosive(), Broken(), [(name,)]])


def cases() -> Iterator[tuple[Any, Any]]:
    chance = random.Random(20260601)
    for _ in range(8_000):
        body = random_body(chance)
        yield body, random_headers(chance, random_signature(chance, body))


def test_fuzz() -> None:
    """Thousands of odd bodies and headers give an event that can be used, or a refusal, and nothing else ever."""
    told: dict[str, int] = {}
    for body, headers in cases():
        try:
            event = VERIFIER.unwrap(body, headers)
        except CallbackVerificationError as error:
            outcome = error.reason
        else:
            outcome = "event"
            assert isinstance(event, CallbackEvent)
            for name in ("event_type", "request_id", "outcome", "output", "response", "error"):
                assert isinstance(getattr(event, name, ""), (str, int, float, list, dict, type(None)))
            assert isinstance(event.data, dict)
            assert isinstance(repr(event) + str(dict(event)), str)
            assert not isinstance(event, AgentDelegationEvent) or isinstance(event.delegation, AgentDelegation)
        told[outcome] = told.get(outcome, 0) + 1

    assert {
        "event",
        "malformed_signature",
        "missing_signature",
        "unreadable_body",
        "unreadable_request",
        "wrong_signature",
    } == set(told)
    assert min(told.values()) > 50, told
