"""Signed callbacks: raw bytes and headers in, a typed event out, or one family of errors. No I/O.

Fetch Hive posts a run's result to the `callback_url` with the header `X-Fetch-Hive-Signature`, an HMAC with
SHA-256 under the deployment's (or agent's) webhook secret. How the MAC is written down is not documented;
lowercase hex is what this SDK signs with, and every usual encoding of the same MAC is accepted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Union, cast

from pydantic import Field, SecretBytes, SecretStr

from .answers import as_text, keep, read_json
from .errors import CallbackVerificationError, ConfigurationError
from .jsonable import article
from .results import AgentDelegation, Result, make_tolerantly
from .settings import Hidden

__all__ = [
    "SIGNATURE_HEADER",
    "AgentCompletedEvent",
    "AgentDelegationEvent",
    "AgentFailedEvent",
    "CallbackEvent",
    "CallbackVerifier",
    "HiveAgentCancelledEvent",
    "HiveAgentCompletedEvent",
    "HiveAgentFailedEvent",
    "WorkflowCompletedEvent",
    "WorkflowFailedEvent",
    "unwrap_callback",
    "verify_callback",
]

SIGNATURE_HEADER = "X-Fetch-Hive-Signature"

Secret = Union[str, bytes, SecretStr]
Headers = Union[Mapping[Any, Any], Iterable[tuple[Any, Any]]]

# More than any documented output, and hashed in a few hundredths of a second.
_MAX_BODY_SIZE = 16 * 2**20

_BLANKS = b" \t\r\n"  # of which a secret in an empty file or variable would consist
_HEX_LENGTH = 64
_BASE64_LENGTH = 43  # without padding
_NAME_LENGTHS = (len(SIGNATURE_HEADER), len(f"HTTP_{SIGNATURE_HEADER}"))  # the second in a WSGI environ
_TO_STANDARD_BASE64 = bytes.maketrans(b"-_", b"+/")


class CallbackEvent(Result, frozen=True):
    """What Fetch Hive tells in a callback; also the class of events this SDK does not know.

    Deliveries may come twice: let `Deliveries` tell which is the first, or keep `delivery_key` yourself.

    Attributes:
        event_type: The service's word, such as `agent.completed`.
        request_id: The run's id, `req_…`.
        data: The event's own object, as it came.
    """

    event_type: str = ""
    request_id: str = ""
    data: dict[str, Any] = Field(default_factory=dict[str, Any])

    @property
    def outcome(self) -> str:
        """How the run ended: `completed`, `failed`, `cancelled` …, from the type's last word."""
        return _subject_and_outcome(self._fields())[1]

    @property
    def delivery_key(self) -> str:
        """The same for each delivery of this event, and another for every other event: 64 hex digits.

        A run ends once, so its end is told by `request_id` and `event_type`. An event that is not known to come
        once a run, or has no `request_id`, is told by all that it says: handling one twice beats losing one.
        """
        return hashlib.sha256(json.dumps(self._identity(), sort_keys=True).encode()).hexdigest()

    def _identity(self) -> object:
        if self.request_id and type(self) in _ENDS:
            return [self.request_id, self.event_type or self.outcome]
        return self._fields()

    def _text(self, *names: str) -> str:
        """The first of these fields, from `data` or from beside it; JSON text where it is no text."""
        for name in names:
            value = self.data.get(name, self.get(name))
            if value is not None:
                return as_text(value)
        return ""


class _Failed(CallbackEvent, frozen=True):
    @property
    def error(self) -> str:
        """What went wrong."""
        return self._text("error", "message")


class WorkflowCompletedEvent(CallbackEvent, frozen=True):
    """A workflow ran to its end."""

    @property
    def output(self) -> str:
        """The final text, possibly JSON to be parsed."""
        return self._text("output", "response", "result")


class WorkflowFailedEvent(_Failed, frozen=True):
    """A workflow ended with an error."""


class AgentCompletedEvent(CallbackEvent, frozen=True):
    """An agent has answered."""

    @property
    def response(self) -> str:
        """The text of the answer."""
        return self._text("response", "output")


class AgentFailedEvent(_Failed, frozen=True):
    """An agent's run failed."""


class AgentDelegationEvent(CallbackEvent, frozen=True):
    """Background work of an agent has ended. It is signed with the parent agent's secret."""

    @property
    def delegation(self) -> AgentDelegation:
        """The background work; whether it succeeded is in its `status`."""
        return AgentDelegation.model_validate(self.data)

    def _identity(self) -> object:
        # One run may have several of them.
        work = self.data.get("id")
        return [self.request_id, self.event_type, work] if work else self._fields()


class HiveAgentCompletedEvent(CallbackEvent, frozen=True):
    """A hive agent reached its objective."""

    @property
    def response(self) -> str:
        """The text of the answer; the service documents no name for it, so see `data` too."""
        return self._text("response", "output", "result")


class HiveAgentFailedEvent(_Failed, frozen=True):
    """A hive agent's run failed."""


class HiveAgentCancelledEvent(CallbackEvent, frozen=True):
    """A hive agent's run was cancelled."""


# Documented are agent.completed, agent.failed and agent.delegation.completed; the other subjects are read in
# every plausible spelling.
_CLASSES: dict[tuple[str, str], type[CallbackEvent]] = {
    ("workflow", "completed"): WorkflowCompletedEvent,
    ("workflow", "failed"): WorkflowFailedEvent,
    ("agent", "completed"): AgentCompletedEvent,
    ("agent", "failed"): AgentFailedEvent,
    ("hive_agent", "completed"): HiveAgentCompletedEvent,
    ("hive_agent", "failed"): HiveAgentFailedEvent,
    ("hive_agent", "cancelled"): HiveAgentCancelledEvent,
}
_ENDS = frozenset(_CLASSES.values())


class CallbackVerifier:
    """Checks that a callback comes from Fetch Hive and has not been changed.

        verifier = CallbackVerifier(os.environ["FETCH_HIVE_WEBHOOK_SECRET"])
        event = verifier.unwrap(raw_body, request.headers)

    Args:
        secret: The webhook secret ("Signing secret" on the deployment's page, `webhook_secret` in the reply
            of a run with callback delivery). Of several each is accepted, in any order, as while a secret is
            being renewed.
        max_body_size: Bytes that a body may have; a longer one is refused before it is hashed or parsed. The
            default is 16 MiB, None accepts any. What is read from the network, your web framework has to bound.

    Raises:
        ConfigurationError: A secret is missing, blank or of another type, or `max_body_size` is no positive
            number. An empty secret would let anybody sign.
    """

    def __init__(self, secret: Secret | Iterable[Secret], *, max_body_size: int | None = _MAX_BODY_SIZE) -> None:
        self._keys, problem = _read_secrets(secret)
        secret = ""  # or a traceback may show it
        if problem:
            raise _bad_secret(problem)
        self._macs = [hmac.new(key.get_secret_value(), digestmod=hashlib.sha256) for key in self._keys]
        self._max_body_size = _size(max_body_size)

    def __repr__(self) -> str:
        return f"CallbackVerifier({len(self._keys)} secret{'s' if len(self._keys) > 1 else ''})"

    def __reduce__(self) -> tuple[partial[CallbackVerifier], tuple[tuple[bytes, ...]]]:
        keys = tuple(key.get_secret_value() for key in self._keys)
        return partial(CallbackVerifier, max_body_size=self._max_body_size), (keys,)

    def sign(self, body: bytes | str) -> str:
        """The signature of a body under the first secret, for your tests: the value of `X-Fetch-Hive-Signature`."""
        return self._digests(_raw_body(body))[0].hex()

    def verify(self, body: bytes | str, headers: Headers) -> None:
        """Check the signature of a callback.

        Args:
            body: The request's body exactly as it arrived, before any JSON parser.
            headers: The request's headers: any mapping of any framework, a WSGI environ, or pairs; the
                case of names does not matter, and values may be str, bytes or lists.

        Raises:
            CallbackVerificationError: The signature is missing, malformed or wrong, or the body is longer than
                `max_body_size`. Answer with status 400.
            TypeError: `body` is a dict: the framework has parsed it, and the signed bytes are lost.
        """
        self._verify(_raw_body(body), headers)

    def _verify(self, body: bytes, headers: Headers) -> None:
        if len(body) > self._max_body_size:
            raise CallbackVerificationError(
                f"The callback's body has {len(body):,} bytes; up to {self._max_body_size:,} are accepted.",
                hint="Do not trust the request. If your runs say more than that, use "
                "CallbackVerifier(secret, max_body_size=...).",
                reason="too_large",
            )
        signature = _signature_from(headers)
        value = signature[7:] if signature[:7].lower() == b"sha256=" else signature
        # The length, which is no secret, tells how the MAC is written down.
        unpadded = value.rstrip(b"=")
        if len(unpadded) == _BASE64_LENGTH:
            given, written = unpadded.translate(_TO_STANDARD_BASE64), _in_base64
        elif len(value) == _HEX_LENGTH:
            given, written = value.lower(), _in_hex
        else:
            raise CallbackVerificationError(
                f"The header {SIGNATURE_HEADER} does not hold an HMAC with SHA-256.",
                hint="Expected are 64 hex digits or the same MAC in base64. Do not trust the request.",
                reason="malformed_signature",
            )
        matches = False
        for digest in self._digests(body):
            # It is compared with every secret's, so that the time does not tell to which a wrong one is close.
            matches |= hmac.compare_digest(given, written(digest))
        digest = b""  # not the right one, which a traceback may show to whoever sent a wrong one
        if not matches:
            raise CallbackVerificationError(
                "The callback's signature is wrong.",
                hint="Do not trust the request. If it should be genuine: check that the secret is this deployment's, "
                "with no line break at its end, and that body is the raw request body, not JSON that was parsed and "
                "written again.",
                reason="wrong_signature",
            )

    def unwrap(self, body: bytes | str, headers: Headers) -> CallbackEvent:
        """Check the signature, then read the event.

        Args:
            body: As for `verify`.
            headers: As for `verify`.

        Returns:
            `WorkflowCompletedEvent`, `WorkflowFailedEvent`, `AgentCompletedEvent`, `AgentFailedEvent`,
            `AgentDelegationEvent`, `HiveAgentCompletedEvent`, `HiveAgentFailedEvent` or
            `HiveAgentCancelledEvent`; a plain `CallbackEvent` for a type this SDK does not know.

        Raises:
            CallbackVerificationError: As for `verify`, or the signed body is not a JSON object.
            TypeError: As for `verify`.
        """
        raw = _raw_body(body)
        self._verify(raw, headers)
        return _read_event(raw)

    def _digests(self, body: bytes) -> list[bytes]:
        digests: list[bytes] = []
        for keyed in self._macs:
            mac = keyed.copy()
            mac.update(body)
            digests.append(mac.digest())
        return digests


def verify_callback(body: bytes | str, headers: Headers, secret: Secret | Iterable[Secret]) -> None:
    """`CallbackVerifier(secret).verify(body, headers)`, for one-off use."""
    hidden, secret = Hidden(secret), ""
    CallbackVerifier(hidden.revealed()).verify(body, headers)


def unwrap_callback(body: bytes | str, headers: Headers, secret: Secret | Iterable[Secret]) -> CallbackEvent:
    """`CallbackVerifier(secret).unwrap(body, headers)`, for one-off use."""
    hidden, secret = Hidden(secret), ""
    return CallbackVerifier(hidden.revealed()).unwrap(body, headers)


def _read_secrets(secret: object) -> tuple[tuple[SecretBytes, ...], str]:
    """The secrets as keys, and what is wrong with them. It raises nothing: a traceback may show what it works on."""
    if secret is None:
        return (), "secret: it is None; is its environment variable set?"
    alone = isinstance(secret, (str, bytes, SecretStr, SecretBytes))
    given: Any = [secret] if alone else secret
    if isinstance(given, (Mapping, bytearray, memoryview)) or not isinstance(given, Iterable):
        return (), f"secret: {article(cast('object', given))} is not allowed"
    keys: list[SecretBytes] = []
    for number, one in enumerate(cast("Iterable[object]", given)):
        key, problem = _key(one)
        if problem:
            return (), f"secret{'' if alone else f'[{number}]'}: {problem}"
        keys.append(SecretBytes(key))
    return tuple(keys), "" if keys else "secret: none was passed"


def _key(secret: object) -> tuple[bytes, str]:
    if isinstance(secret, (SecretStr, SecretBytes)):
        secret = secret.get_secret_value()
    if isinstance(secret, str):
        if secret != secret.strip():
            return b"", "it has spaces or line breaks at its ends"
        try:
            secret = secret.encode()
        except UnicodeEncodeError:
            return b"", "it is not valid text"
    if not isinstance(secret, bytes):
        return b"", f"{article(secret)} is not allowed"
    return secret, "" if secret.strip(_BLANKS) else "it is empty"


def _size(given: object) -> int:
    if given is None:
        return sys.maxsize
    if not isinstance(given, int) or isinstance(given, bool) or given <= 0:
        raise ConfigurationError(
            f"max_body_size: {given!r} is no positive number of bytes.", hint="Pass an int, or None for any size."
        )
    return given


def _bad_secret(problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"{problem}.",
        hint="Pass the signing secret from the deployment's page in the dashboard, as str or bytes, or several.",
    )


def _in_hex(digest: bytes) -> bytes:
    return digest.hex().encode()


def _in_base64(digest: bytes) -> bytes:
    return base64.b64encode(digest).rstrip(b"=")


def _raw_body(body: object) -> bytes:
    if type(body) is bytes:
        return body
    try:
        parsed, raw = isinstance(body, Mapping), _bytes_of(body)
    except Exception:  # half a surrogate pair, a memoryview that was released, an object that raises
        raise _unreadable_request("body cannot be read as bytes", "Pass the raw bytes.") from None
    if parsed:
        raise TypeError(
            "body: a dict is not allowed. The signature covers the raw bytes of the request, so pass them before "
            "any JSON parser: `await request.body()` in FastAPI and Starlette, `request.get_data()` in Flask, "
            "`request.body` in Django."
        )
    if raw is None:
        raise _unreadable_request(f"body is of type {type(body).__name__}", "Pass the raw bytes of the request's body.")
    return raw


def _bytes_of(value: object, errors: str = "strict") -> bytes | None:
    """What a text or bytes hold, whatever methods their class may have; None for anything else."""
    if isinstance(value, str):
        return str.encode(value, errors=errors)
    return memoryview(cast("bytes", value)).tobytes() if isinstance(value, (bytes, bytearray, memoryview)) else None


def _signature_from(headers: Any) -> bytes:
    """The signature header's value, from whatever a framework calls headers."""
    try:
        # A list, because a set would take another time for another hash.
        found = [
            one.encode("utf-8", "surrogatepass")
            if type(one) is str
            else _bytes_of(one if isinstance(one, bytes) else str(one), "surrogatepass")
            for name, value in (headers.items() if hasattr(headers, "items") else headers)
            if _is_signature_header(name)
            for one in (cast("Iterable[Any]", value) if isinstance(value, (list, tuple)) else (value,))
        ]
    except Exception as error:  # whatever a strange object raises, a handler has to answer 400 and not 500
        problem = f"headers of type {type(headers).__name__} cannot be read"
        raise _unreadable_request(problem, "Pass the request's headers.") from error
    if len(found) > 1 and len(set(found)) > 1:
        raise CallbackVerificationError(
            f"The header {SIGNATURE_HEADER} came more than once, with different values.",
            hint="Do not trust the request.",
            reason="malformed_signature",
        )
    value = (found[0] or b"").strip() if found else b""
    if not value:
        raise CallbackVerificationError(
            f"The header {SIGNATURE_HEADER} is missing.",
            hint="The request is not from Fetch Hive, or a proxy removed the header. Do not trust it.",
            reason="missing_signature",
        )
    return value


def _is_signature_header(name: Any) -> bool:
    if isinstance(name, (str, bytes)) and len(name) not in _NAME_LENGTHS:
        return False
    text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    return text.lower().replace("_", "-").removeprefix("http-") == "x-fetch-hive-signature"


def _unreadable_request(problem: str, hint: str) -> CallbackVerificationError:
    return CallbackVerificationError(
        f"The request cannot be checked: {problem}.", hint=hint, reason="unreadable_request"
    )


def _read_event(body: bytes) -> CallbackEvent:
    try:
        value = read_json(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CallbackVerificationError(
            "The callback is signed, and its body is not a JSON object.",
            hint="It comes from somebody who knows the secret; there is nothing to handle in it.",
            reason="unreadable_body",
        )
    fields = cast("dict[str, Any]", value)
    subject, outcome = _subject_and_outcome(fields)
    cls = AgentDelegationEvent if subject == "agent.delegation" else _CLASSES.get((subject, outcome), CallbackEvent)
    event = cast("CallbackEvent", make_tolerantly(cls.model_validate, fields))
    keep(event, "_json", body)
    return event


def _subject_and_outcome(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Who ended and how: from `event_type`, or for a body without one from the run's status."""
    words = str(fields.get("event_type") or "").lower().replace("-", "_").replace("hiveagent", "hive_agent").split(".")
    if words == [""]:
        data = cast("Any", fields.get("data"))
        status = (data.get("run_status") if isinstance(data, dict) else None) or fields.get("run_status")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return ("workflow", status.lower()) if isinstance(status, str) else ("", "")
    outcome = "cancelled" if words[-1] == "canceled" else words[-1]
    return ".".join(words[:-1]).replace("_run", "").removesuffix(".run"), outcome
