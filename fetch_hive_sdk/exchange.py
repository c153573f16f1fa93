"""One call from its first request to its result or error, without I/O.

`run` and `open_stream` are generators of steps. A driver carries each step out and sends back what came of
it; so retries, errors, logging and the reading of answers stand here once, for both clients.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar, Union, cast

import httpx

from . import errors, retries
from .answers import Answered, HTTPResponse
from .causes import chain_of, shown, without_text
from .deadlines import Trace
from .errors import (
    MAY_BE_DONE_HINT,
    MAY_BE_GONE_HINT,
    MAY_HAVE_RUN_HINT,
    APIConnectionError,
    APITimeoutError,
    FetchHiveError,
    UnexpectedResponseError,
    also,
)
from .logs import logger
from .operations import Operation
from .retries import RetryPolicy
from .settings import Settings

__all__ = ["Arrived", "Exchange", "Failure", "Send", "Sleep", "Step", "is_event_stream", "open_stream", "run"]

ResultT = TypeVar("ResultT")

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    UnicodeError,
)
# Failures that the same call cannot but meet again.
_HOPELESS = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError)


@dataclass(slots=True)
class Send:
    """Send the request once. Answer with what has `Arrived`, or with the `Failure` that came instead."""

    operation: Operation[Any]
    settings: Settings


@dataclass(slots=True)
class Sleep:
    """Wait for so many seconds. Answer with None."""

    seconds: float


@dataclass(slots=True)
class Arrived:
    """A response, and its body: read to its end, or None for the stream of events that was asked for, still open."""

    response: httpx.Response
    content: bytes | None = field(repr=False)


@dataclass(slots=True)
class Failure:
    """The exception that came instead of an answer, and what is known of the attempt."""

    error: Exception
    request: httpx.Request
    trace: Trace

    @property
    def sent(self) -> bool:
        """Whether the service could have got the request. What cannot be known counts as sent."""
        if self.trace.seen:
            return self.trace.sent
        return not isinstance(self.error, _NEVER_SENT)

    @property
    def hopeless(self) -> bool:
        """Whether trying again cannot help."""
        refused_by_proxy = isinstance(self.error, httpx.ProxyError) and "407" in str(self.error)
        return isinstance(self.error, _HOPELESS) or refused_by_proxy or _is_untrusted(self.error)


Step = Union[Send, Sleep]
Outcome = Union[Arrived, Failure, None]
Exchange = Generator[Step, Outcome, ResultT]


def run(operation: Operation[ResultT], settings: Settings) -> Exchange[ResultT]:
    """A call that ends with its result."""
    arrived = yield from _accepted(operation, settings)
    response = arrived.response
    # The body is in no variable of this function: a traceback may show them, and there may be a secret in it.
    answer = HTTPResponse(response.status_code, response.headers, arrived.content or b"")
    if operation.whole:
        return cast("ResultT", answer)
    try:
        result = operation.read(answer.content)
    except ValueError as error:
        raise _unexpected(operation, arrived, f"cannot be read: {error}") from without_text(error)
    # Looked for in the bytes first: to ask the result for a key would parse each answer a second time.
    if b'"error"' in answer.content and (refusal := _error_in(operation, arrived, result)):
        del result  # it may repeat what it was asked with
        raise refusal
    if isinstance(result, Answered):
        result.answered_with(answer)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s: request_id %s", operation.name, getattr(result, "request_id", None))
    return result


def open_stream(operation: Operation[Any], settings: Settings) -> Exchange[httpx.Response]:
    """A call that ends with an open response, whose body is the stream of events."""
    arrived = yield from _accepted(operation, settings)
    if arrived.content is not None:
        raise _unexpected(operation, arrived, "is not the stream of events that was asked for")
    return arrived.response


def is_event_stream(response: httpx.Response) -> bool:
    """Whether an answer is a stream of events; one without a content type is taken for it."""
    kind: str = response.headers.get("Content-Type") or "text/event-stream"
    return kind.lower().startswith("text/event-stream")


def _accepted(operation: Operation[Any], settings: Settings) -> Exchange[Arrived]:
    policy = settings.retry_policy
    attempt = 0
    unanswered = False  # an attempt may have reached the service
    doubtful = False  # an attempt may have run: whatever comes of a later one, the call may have
    while True:
        attempt += 1
        started = time.monotonic()
        outcome = yield Send(operation, settings)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: %s after %.3f s", operation.name, _told(outcome), time.monotonic() - started)
        error: FetchHiveError
        if isinstance(outcome, Arrived):
            if outcome.response.is_success:
                return outcome
            error, again = _status_error(
                operation, settings, outcome.response, unanswered=unanswered, doubtful=doubtful
            )
            unanswered = unanswered or outcome.response.status_code >= 500
        else:
            assert outcome is not None
            error, again = _failure(operation, settings, outcome, doubtful=doubtful)
            unanswered = unanswered or outcome.sent
        doubtful = error.may_have_run
        again = again and operation.can_be_sent_again
        if not again or attempt > policy.max_retries or (error.retry_after or 0) > policy.max_retry_after:
            raise error from (shown(outcome.error, outcome.request) if isinstance(outcome, Failure) else None)
        delay = policy.delay(attempt, error.retry_after)
        logger.warning(
            "%s: %s; retry %d of %d in %.2f s", operation.name, _told(outcome), attempt, policy.max_retries, delay
        )
        yield Sleep(delay)


def _status_error(
    operation: Operation[Any], settings: Settings, response: httpx.Response, *, unanswered: bool, doubtful: bool
) -> tuple[errors.APIStatusError, bool]:
    status = response.status_code
    body = errors.response_body(response)
    retry_after = retries.parse_retry_after(response.headers)

    def repeated_by(policy: RetryPolicy) -> bool:
        return policy.repeats_status(
            status,
            effect=operation.effect,
            daily_limit=errors.is_daily_limit(status, body),
            retry_after=retry_after,
        )

    may_have_run = doubtful or (
        operation.effect != "nothing"
        and retries.may_have_run(status, direct_workflow=operation.direct_workflow, retry_after=retry_after)
    )
    gone = MAY_BE_GONE_HINT if unanswered and operation.method == "DELETE" and status in (404, 410, 422) else ""
    error = errors.status_error(
        response,
        body,
        call=operation.name,
        may_have_run=may_have_run,
        advice=_doubt(operation) if may_have_run else gone,
        retryable=repeated_by(RetryPolicy()) and not doubtful,
        retry_after=retry_after,
    )
    return error, repeated_by(settings.retry_policy)


def _failure(
    operation: Operation[Any], settings: Settings, failure: Failure, *, doubtful: bool
) -> tuple[APIConnectionError, bool]:
    timed_out = isinstance(failure.error, httpx.TimeoutException)
    sent = operation.effect != "nothing" and failure.sent
    may_have_run = doubtful or sent
    what, hint = _what_happened(operation, failure)
    error = also(APITimeoutError if timed_out else APIConnectionError, type(failure.error))(
        f"{operation.name}: {what}.",
        hint=f"{hint} {_doubt(operation) if may_have_run else _nothing_done(operation)}".strip(),
        may_have_run=may_have_run,
        retryable=not may_have_run and not failure.hopeless,
        request=failure.request,
    )
    again = settings.retry_policy.repeats_failure(effect=operation.effect, may_have_run=sent)
    return error, again and not failure.hopeless


def _what_happened(operation: Operation[Any], failure: Failure) -> tuple[str, str]:
    """A failure on the way in one sentence, and what to do about it."""
    error = failure.error
    host = failure.request.url.netloc.decode()
    detail = f" ({errors.told(str(error), failure.request)})" if str(error) else ""
    if isinstance(error, httpx.PoolTimeout):
        return "no connection became free in time", "Lower the number of calls at once, or raise timeout=."
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refused the connection{detail}", "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY."
    if isinstance(error, httpx.DecodingError):
        return f"the answer's content encoding is broken{detail}", "A proxy in between may have changed it."
    if isinstance(error, httpx.LocalProtocolError):
        # Without the detail: it may quote a header.
        return "the request is not valid HTTP", "Check the headers that your http_client and default_headers add."
    if isinstance(error, httpx.TimeoutException):
        return _timed_out(operation, host, sent=failure.sent)
    if not failure.sent:
        if _is_untrusted(error):
            hint = "Its certificate is not trusted: set SSL_CERT_FILE to your company's CA, or check base_url."
            return f"{host} could not prove its identity{detail}", hint
        hint = "Check base_url, the network and the proxy; if it is a sandbox, that it is running."
        return f"no connection to {host} could be made{detail}", hint
    again = "" if operation.effect != "nothing" else "Try again; if it goes on, look at the network and at base_url."
    return f"the connection to {host} broke before the whole answer was there{detail}", again


def _timed_out(operation: Operation[Any], host: str, *, sent: bool) -> tuple[str, str]:
    if not sent:
        return f"{host} did not accept a connection in time", "Check the network, the proxy and base_url."
    if operation.streaming:
        return "the stream did not open in time", "The first event may take longer than idle_timeout= allows: raise it."
    return (
        "no complete answer came in time",
        "A run may take longer than timeout= allows: raise it, or use callback delivery for long workflows.",
    )


def _is_untrusted(error: BaseException) -> bool:
    """Whether a certificate was refused; trio's error only has that for a cause."""
    return any("CERTIFICATE_VERIFY_FAILED" in str(one) for one in chain_of(error))


def _error_in(operation: Operation[Any], arrived: Arrived, result: Any) -> UnexpectedResponseError | None:
    failure = operation.failure(result)
    if not failure:
        return None
    said = errors.excerpt(errors.told(failure, arrived.response.request))
    return _unexpected(operation, arrived, f"is an error, and not an answer: {said}")


def _unexpected(operation: Operation[Any], arrived: Arrived, problem: str) -> UnexpectedResponseError:
    response = _whole(arrived)
    body = errors.response_body(response)
    kind = errors.excerpt(errors.told(response.headers.get("Content-Type", "no content type"), response.request))
    return UnexpectedResponseError(
        errors.told(
            f"{operation.name} was answered {response.status_code} ({kind}), and the body {problem}.", response.request
        ),
        hint="It is in error.body as it came. A proxy may stand in between, or base_url be wrong."
        f" {_doubt(operation)}".rstrip(),
        request_id=errors.request_id_of(body),
        status_code=response.status_code,
        body=body,
        may_have_run=operation.effect != "nothing",
        response=response,
    )


def _whole(arrived: Arrived) -> httpx.Response:
    """The response with its body in it, which it lacks where the body was read past it."""
    response = arrived.response
    if response.is_stream_consumed:
        return response
    whole = httpx.Response(
        response.status_code,
        headers=response.headers,
        content=arrived.content,
        request=response.request,
        extensions=response.extensions,
    )
    whole.elapsed = response.elapsed
    return whole


def _doubt(operation: Operation[Any]) -> str:
    """What to think of a call that the service may have carried out."""
    return {"run": MAY_HAVE_RUN_HINT, "change": MAY_BE_DONE_HINT, "nothing": ""}[operation.effect]


def _nothing_done(operation: Operation[Any]) -> str:
    return {"run": "Nothing was run.", "change": "Nothing was changed.", "nothing": ""}[operation.effect]


def _told(outcome: Outcome) -> str:
    if isinstance(outcome, Arrived):
        return str(outcome.response.status_code)
    return type(outcome.error).__name__ if isinstance(outcome, Failure) else "nothing"
