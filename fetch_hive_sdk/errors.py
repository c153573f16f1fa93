"""Every error of the SDK, as one tree.

* FetchHiveError
    * ConfigurationError (ValueError)            a setting of the client is missing or wrong
    * ClientClosedError (RuntimeError)           the client was closed, or belongs to another event loop
    * InvalidRequestError (ValueError)           the arguments of a call are wrong; nothing was sent
    * WaitTimeoutError (TimeoutError)            a run had not ended when the time to wait for it was over
    * APIConnectionError (httpx.TransportError)  no complete answer came back
        * APITimeoutError (httpx.TimeoutException)
    * APIStatusError (httpx.HTTPStatusError)     the service answered with an error status
        * BadRequestError                        400
        * AuthenticationError                    401
        * PaymentRequiredError                   402
        * PermissionDeniedError                  403
        * NotFoundError                          404
        * ConflictError                          409
        * UnprocessableEntityError               422
        * RateLimitError                         429
            * DailyLimitError                    the plan's daily cap; resets at midnight UTC
            * ConcurrencyLimitError              too many workflows of the plan run at once
        * InternalServerError                    500 and above
    * UnexpectedResponseError (ValueError)       the answer came, and is not what the API promises
    * StreamError                                a stream did not end as it should
        * StreamFailedError                      the run failed: the service sent an error event
        * StreamInterruptedError (APIConnectionError)
            * StreamIdleTimeoutError (APITimeoutError)
        * StreamClosedError                      the stream was left early and is read again
    * CallbackVerificationError (ValueError)     a callback is not from Fetch Hive, or is unreadable
    * DeliveryInProgressError                    the same callback is being handled at this moment

The classes in brackets are further bases: code that catches httpx's errors or ValueError keeps working. What httpx
has a narrower class for, such as httpx.ReadTimeout, is caught as that too.
Each error says what happened, what that means and what to do next. All survive pickle and copy.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import quote, quote_plus

import httpx

from .error_codes import ERROR_CODES

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "CallbackVerificationError",
    "ClientClosedError",
    "ConcurrencyLimitError",
    "ConfigurationError",
    "ConflictError",
    "DailyLimitError",
    "DeliveryInProgressError",
    "FetchHiveError",
    "InternalServerError",
    "InvalidRequestError",
    "NotFoundError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "StreamClosedError",
    "StreamError",
    "StreamFailedError",
    "StreamIdleTimeoutError",
    "StreamInterruptedError",
    "UnexpectedResponseError",
    "UnprocessableEntityError",
    "WaitTimeoutError",
]

ErrorT = TypeVar("ErrorT", bound="FetchHiveError")

_EXCERPT_LENGTH = 200
_SHORTEST_SECRET = 8
# Also where the text was cut in the middle of the secret.
_WEBHOOK_SECRET = re.compile(rb'("webhook_secret"\s*:\s*")(?:[^"\\]|\\.)*')
WEBHOOK_SECRET_HEADER = "X-Fetch-Hive-Webhook-Secret"  # noqa: S105 - its name


class FetchHiveError(Exception):
    """Base of every error this SDK raises.

    Attributes:
        message: What happened, with the service's own words where it sent any.
        hint: What that means and what to do next.
        request_id: The run's id (`req_…`), once the service has given one.
        error_code: The service's stable code (`error_code`, or its older alias `code`).
        status_code: The HTTP status, where an answer came.
        body: The answer's body: parsed JSON, or the text if it is not JSON.
        may_have_run: True if the service could have started the run, or made the change. Repeating the call
            may then run, and bill, it a second time.
        retryable: True if the same call can succeed later without a change, and repeating it is safe.
        retry_after: Seconds the service asked to wait, where it did.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        request_id: str | None = None,
        error_code: str | None = None,
        status_code: int | None = None,
        body: Any = None,
        may_have_run: bool = False,
        retryable: bool = False,
        retry_after: float | None = None,
        **other_base: Any,
    ) -> None:
        # What is left over belongs to the second base: `request` and `response` of httpx's errors.
        super().__init__(f"{message} {hint}".strip(), **other_base)
        self.message = message
        self.hint = hint
        self.request_id = request_id
        self.error_code = error_code
        self.status_code = status_code
        self.body = body
        self.may_have_run = may_have_run
        self.retryable = retryable
        self.retry_after = retry_after

    def __reduce__(self) -> Any:
        state = {name: _picklable(value) for name, value in self.__dict__.items()}
        return _restore, (*(self._made_of or (type(self), None)), str(self), state)

    # The class and httpx's class that `also` has made this one of.
    _made_of: ClassVar[tuple[type[FetchHiveError], type[BaseException]] | None] = None


def _restore(cls: type[ErrorT], cause: type[BaseException] | None, text: str, state: dict[str, Any]) -> ErrorT:
    """Rebuild a pickled error without running `__init__`, whose arguments differ from class to class."""
    cls = cls if cause is None else also(cls, cause)
    error = cls.__new__(cls, text)
    error.args = (text,)  # a TimeoutError takes them in `__init__`
    error.__dict__.update(state)
    return error


def _picklable(value: Any) -> Any:
    """A request or response as it may leave the process: without the key or secret it was sent with."""
    if isinstance(value, httpx.Response):
        kept = [
            (name, without_secrets(written, value.request))
            for name, written in value.headers.raw  # as they came: not all are ASCII
            if not name.lower().startswith(b"content-")
        ]
        content = without_secrets(value.content, value.request) if value.is_closed else b""
        copy = httpx.Response(value.status_code, headers=kept, content=content)
        copy.request = _picklable(value.request)
        return copy
    if isinstance(value, httpx.Request):
        return httpx.Request(value.method, value.url.copy_with(query=None))
    return value


class ConfigurationError(FetchHiveError, ValueError):
    """A setting of the client is missing or cannot work; raised when the client is made."""


class ClientClosedError(FetchHiveError, RuntimeError):
    """The client was closed, or an async client is used from a second event loop."""


class InvalidRequestError(FetchHiveError, ValueError):
    """The arguments of a call are wrong. Raised before anything is sent; the message names the field."""


class WaitTimeoutError(FetchHiveError, TimeoutError):
    """A run had not ended when the time to wait for it was over. It goes on; wait again, or look it up later.

    Attributes:
        record: The run as it was when last looked up, a `RequestRecord`; None if no look-up was answered.
    """

    def __init__(self, message: str, *, record: Any = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.record = record


class APIConnectionError(FetchHiveError, httpx.TransportError):
    """No complete answer came back: the connection failed, broke, or could not be made."""


class APITimeoutError(APIConnectionError, httpx.TimeoutException):
    """The call took longer than its `timeout`."""


class APIStatusError(FetchHiveError, httpx.HTTPStatusError):
    """The service answered with an error status.

    Besides the attributes of `FetchHiveError` it has `response` and `request` of httpx.
    """


class BadRequestError(APIStatusError):
    """400: the service refused the request as invalid."""


class AuthenticationError(APIStatusError):
    """401: the API key is missing, wrong or revoked."""


class PaymentRequiredError(APIStatusError):
    """402: credits or a limit of the plan are used up."""


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this."""


class NotFoundError(APIStatusError):
    """404: no such resource in this workspace."""


class ConflictError(APIStatusError):
    """409: the resource is no longer in a state that allows this, such as an approval already decided."""


class UnprocessableEntityError(APIStatusError):
    """422: understood, and not possible: an unknown agent, a missing credential, a credit cap."""


class RateLimitError(APIStatusError):
    """429: too many requests."""


class DailyLimitError(RateLimitError):
    """429: the plan's daily number of API calls is used up. Waiting seconds does not help.

    Attributes:
        limit: Calls allowed a day, where the service says it.
        current: Calls made today, where the service says it.
        resets_at: The next midnight UTC, when the service counts anew.
    """

    def __init__(self, message: str, *, body: Any = None, now: datetime | None = None, **fields: Any) -> None:
        super().__init__(message, body=body, **fields)
        self.limit: int | None = _number(body, "limit")
        self.current: int | None = _number(body, "current")
        today = now or datetime.now(timezone.utc)
        self.resets_at: datetime = today.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


class ConcurrencyLimitError(RateLimitError):
    """429: as many workflows run as the plan allows. Callback delivery queues the run instead."""


class InternalServerError(APIStatusError):
    """500 and above: the service, its provider or a proxy in between failed."""


class UnexpectedResponseError(FetchHiveError, ValueError):
    """An answer came that is not what the API promises: truncated JSON, a page of HTML, a broken encoding.

    Attributes:
        response: The httpx response.
    """

    def __init__(self, message: str, *, response: httpx.Response, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.response = response


class StreamError(FetchHiveError):
    """A stream did not end as it should.

    Attributes:
        partial: What had come until then, as the result the plain call would return: a
            `PromptResult` or an `AgentReply`. Its `response` is the text so far.
    """

    def __init__(self, message: str, *, partial: Any = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.partial = partial


class StreamFailedError(StreamError):
    """The run failed after the stream had opened: the service sent an `error` event."""


class StreamInterruptedError(StreamError, APIConnectionError):
    """The stream ended, broke or turned unreadable before the service said that it was complete."""


class StreamIdleTimeoutError(StreamInterruptedError, APITimeoutError):
    """No event came for `idle_timeout` seconds."""


class StreamClosedError(StreamError):
    """The stream was left early, by `break` or `close()`, and is read again."""


class CallbackVerificationError(FetchHiveError, ValueError):
    """A callback must not be trusted. Answer it with status 400 and do nothing else.

    Attributes:
        reason: `missing_signature`, `malformed_signature`, `wrong_signature`, `unreadable_body`
            (signed, but not a JSON object), `unreadable_request` (no raw body or no headers given) or `too_large`
            (longer than the verifier's `max_body_size`).
    """

    def __init__(self, message: str, *, reason: str, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.reason = reason


class DeliveryInProgressError(FetchHiveError):
    """Another request is handling the same callback. Answer with status 503, so that it is delivered again.

    It cannot be answered as done, because the other may still fail.
    """


_MADE: dict[tuple[Any, Any], Any] = {}


def also(cls: type[ErrorT], cause: type[BaseException]) -> type[ErrorT]:
    """An error class for what httpx has a class of its own for: code that catches that one catches this too.

    Args:
        cls: The class as which the error is documented, and as which it shows.
        cause: The class of httpx's error, or one derived from it.
    """
    known: type[BaseException] | None = next((base for base in cause.__mro__ if base.__module__ == "httpx"), None)
    # Errors of reading a stream that is closed are of no use to catch, and are made in another way.
    if known is None or issubclass(cls, known) or issubclass(known, httpx.StreamError):
        return cls
    if (cls, known) not in _MADE:
        names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        made = type(cls.__name__, (cls, known), {**names, "_made_of": (cls, known)})
        return cast("type[ErrorT]", _MADE.setdefault((cls, known), made))
    return cast("type[ErrorT]", _MADE[cls, known])


# --- from an answer to the error it means -----------------------------------------------------------

_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}

_STATUS_HINTS = {
    400: "The service refused the request before anything ran. Correct the named field.",
    401: "The API key is missing, wrong or revoked. Check FETCH_HIVE_API_KEY or api_key=, and that base_url "
    "is the service the key belongs to.",
    402: "Credits or a limit of your plan are used up. Add credits or change the plan in the dashboard.",
    403: "This key may not do that. Give it the permission in the dashboard, or leave the option out.",
    404: "There is no such resource in this key's workspace. Check the id.",
    409: "It was changed or decided in the meantime. Read its state before you try again.",
    422: "The service understood the request and cannot carry it out. Correct what it names; an id may be wrong.",
    429: "Too many requests. Wait, then try again.",
}

# Without the one that comes with several statuses: there the status tells more.
_CODE_HINTS = {entry.code: entry.client_action for entry in ERROR_CODES if entry.code != "validation_error"}

# A call by webhook secret, or one that is documented to need neither.
_NO_KEY_HINT = (
    "No API key was sent. Check the webhook secret, if the call has one: it is the signing secret on the deployment's "
    "page in the dashboard, and of this deployment. Check base_url too."
)
_DAILY_HINT = "The count starts anew at midnight UTC (see resets_at); a higher plan allows more."
_CONCURRENCY_HINT = "Try again when a workflow has ended, or pass callback_url=: callback delivery queues."
MAY_HAVE_RUN_HINT = (
    "The run may have started, and may be billed: look it up in the dashboard before you repeat the call."
)
MAY_BE_DONE_HINT = "It may have been done all the same: look before you repeat the call."
MAY_BE_GONE_HINT = "An attempt before this one failed on the way, and may have deleted it all the same."


def status_error(
    response: httpx.Response,
    body: Any,
    *,
    call: str,
    may_have_run: bool,
    retryable: bool,
    retry_after: float | None,
    advice: str = "",
) -> APIStatusError:
    """Turn an error answer into the error class its status and code mean.

    Args:
        response: The answer, already read.
        body: What `response_body` made of it.
        call: The method and path that were called, for the message.
        may_have_run: Whether the service could have started the run.
        retryable: Whether repeating the call is safe and can help.
        retry_after: Seconds to wait as the service asked, if it did.
        advice: What else to say about repeating the call.
    """
    status = response.status_code
    code = error_code_of(body)
    cls = _BY_STATUS.get(status, InternalServerError if status >= 500 else APIStatusError)
    hint = _CODE_HINTS.get(code or "") or _STATUS_HINTS.get(status) or _other_hint(response)
    if status == 404:
        hint = _not_found_hint(response.request.url.path, said_by_service(body)) or hint
    if status == 401 and "Authorization" not in response.request.headers:
        hint = _NO_KEY_HINT
    did_not_run = "" if may_have_run else "The call did not run. "  # unless an attempt before this one did
    if is_daily_limit(status, body):
        cls, hint = DailyLimitError, f"{did_not_run}{_DAILY_HINT}"
    elif status == 429 and "concurrency" in said_by_service(body).lower():
        cls, hint = ConcurrencyLimitError, f"{did_not_run}{_CONCURRENCY_HINT}"
    hint = f"{hint} {advice}".rstrip()
    if retry_after is not None:
        hint = f"{hint} The service asks to wait {retry_after:g} s."
    reason = f" {excerpt(told(response.reason_phrase, response.request))}".rstrip()
    said = excerpt(said_by_service(body)) or "(no text)"
    return cls(
        f"{call} was answered {status}{reason}: {said}{'' if said.endswith('.') else '.'}",
        hint=hint,
        request_id=request_id_of(body),
        error_code=code,
        status_code=status,
        body=body,
        may_have_run=may_have_run,
        retryable=retryable,
        retry_after=retry_after,
        request=response.request,
        response=response,
    )


def excerpt(text: str) -> str:
    """A text of somebody else's, as long as a message may quote it."""
    return text if len(text) <= _EXCERPT_LENGTH else f"{text[:_EXCERPT_LENGTH]}…"


def response_body(response: httpx.Response) -> Any:
    """The body as JSON, or as text where it is not JSON. Never raises."""
    content = without_secrets(response.content, response.request)
    try:
        import pydantic_core  # loaded where there is JSON to be read, and not before

        return pydantic_core.from_json(content)
    except ValueError:
        return content.decode("utf-8", errors="replace")


def without_secrets(text: bytes, request: httpx.Request) -> bytes:
    """What was answered, safe to show: without the key or secret it was asked with, which a page may echo.

    A run's `webhook_secret` is left out too: an error is shown to more people than a result.
    """
    secrets = {
        b"[api key]": request.headers.get("Authorization", "").removeprefix("Bearer "),
        b"[webhook secret]": request.headers.get(WEBHOOK_SECRET_HEADER) or request.url.params.get("secret", ""),
    }
    for mask, secret in secrets.items():
        # A word as short as "test" is no real key, and would be cut out of the service's own words.
        if len(secret) >= _SHORTEST_SECRET:
            for written in _ways_to_write(secret):
                text = text.replace(written.encode(), mask)
    return _WEBHOOK_SECRET.sub(rb"\g<1>[webhook secret]", text) if b"webhook_secret" in text else text


def told(text: str, request: httpx.Request) -> str:
    """The same for a text."""
    return without_secrets(text.encode("utf-8", "surrogatepass"), request).decode("utf-8", "surrogatepass")


def _ways_to_write(secret: str) -> dict[str, None]:
    """A secret as it may stand in JSON, in a page, in an address and in Python's quotes; the longest escapes first."""
    import html  # only an error needs it

    in_json = json.dumps(secret)[1:-1]
    written = [
        json.dumps(in_json)[1:-1],
        in_json,
        in_json.replace("/", "\\/"),
        html.escape(secret),
        html.escape(secret, quote=False),
        quote(quote(secret, safe=""), safe=""),  # an address in an address
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        repr(secret)[1:-1],
        repr(secret.encode())[2:-1],
        secret,
    ]
    return dict.fromkeys(written)


def error_code_of(body: Any) -> str | None:
    """The service's stable code: `error_code`, or the older `code`."""
    if isinstance(body, dict):
        for key in ("error_code", "code"):
            if isinstance(code := body.get(key), str) and code:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
                return code
    return None


def request_id_of(body: Any) -> str | None:
    """The run's id, if the body names one."""
    if isinstance(body, str):  # JSON that was cut may still tell it
        found = re.search(r"\breq_[0-9a-f]{32}\b", body)
        return found.group() if found else None
    request_id: Any = body.get("request_id") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return request_id if isinstance(request_id, str) and request_id else None


def said_by_service(body: Any) -> str:
    """The service's own sentence from an error body, or the words of a page that a proxy has sent instead."""
    if isinstance(body, str):
        return " ".join(re.sub(r"<[^<>]*>", " ", body).split())
    if not isinstance(body, dict):
        return ""
    texts: list[str] = []
    for key in ("error", "message", "errors"):
        value: Any = body.get(key)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        for text in value if isinstance(value, list) else [value]:  # pyright: ignore[reportUnknownVariableType]
            if isinstance(text, str) and text and text not in texts:
                texts.append(text)
    return " – ".join(texts)


def is_daily_limit(status: int, body: Any) -> bool:
    """Tell the daily cap from the other 429s: by its code, or by the `limit` and `current` it carries."""
    if status != 429:
        return False
    if error_code_of(body) == "api_rate_limit_exceeded":
        return True
    return error_code_of(body) is None and None not in (_number(body, "limit"), _number(body, "current"))


def _number(body: Any, key: str) -> int | None:
    value: Any = body.get(key) if isinstance(body, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _not_found_hint(path: str, said: str) -> str:
    """What else than an id may be wrong; empty where nothing hints at it."""
    if "/v1/" not in path:
        return "There is no such address. base_url has to end with /v1."
    if "/v1/v1/" in path:
        return "There is no such address: it has /v1 twice. A path begins after base_url, which ends with /v1."
    if "workspace" in said.lower():
        return "The key has no such workspace. Check workspace_id= or FETCH_HIVE_WORKSPACE_ID, and whose key it is."
    return ""


def _other_hint(response: httpx.Response) -> str:
    if response.status_code >= 500:
        return "Fetch Hive, its provider or a proxy in between failed."
    if response.is_redirect:
        # It may repeat the query, with the webhook secret in it.
        location = excerpt(told(response.headers.get("Location", "?"), response.request))
        return (
            f"base_url points to an address that redirects (to {location!r}); "
            "redirects are not followed, so that your key goes nowhere else. Set base_url to the final address."
        )
    return "The service refused the request."
