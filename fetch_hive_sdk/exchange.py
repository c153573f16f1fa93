"""One call from its first request to its result or error, without I/O.

`run` and `open_stream` are generators of steps. A driver carries each step out and sends back what came of
it; so retries, errors, logging and the reading of answers stand here once, for both clients.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar, Union

import httpx

from . import errors, retries
from .deadlines import DeadlineExceeded
from .errors import (
    MAY_HAVE_RUN_HINT,
    APIConnectionError,
    APITimeoutError,
    FetchHiveError,
    UnexpectedResponseError,
)
from .logs import logger
from .operations import Operation
from .retries import RetryPolicy
from .settings import Settings

__all__ = ["Exchange", "Send", "Sleep", "Step", "is_event_stream", "open_stream", "run"]

ResultT = TypeVar("ResultT")

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


@dataclass(frozen=True)
class Send:
    """Send the request once. Answer with the response, or with the exception that came instead.

    The response is read to its end, except where it is the stream of events that was asked for.
    """

    operation: Operation[Any]
    settings: Settings


@dataclass(frozen=True)
class Sleep:
    """Wait for so many seconds. Answer with None."""

    seconds: float


Step = Union[Send, Sleep]
Outcome = Union[httpx.Response, Exception, None]
Exchange = Generator[Step, Outcome, ResultT]


def run(operation: Operation[ResultT], settings: Settings) -> Exchange[ResultT]:
    """A call that ends with its result."""
    response = yield from _accepted(operation, settings)
    try:
        result = operation.read(response.content)
    except ValueError as error:
        raise _unexpected(operation, response, f"cannot be read: {error}") from error
    logger.debug("%s: request_id %s", operation.name, getattr(result, "request_id", None))
    return result


def open_stream(operation: Operation[Any], settings: Settings) -> Exchange[httpx.Response]:
    """A call that ends with an open response, whose body is the stream of events."""
    response = yield from _accepted(operation, settings)
    if not is_event_stream(response):
        raise _unexpected(operation, response, "is not the stream of events that was asked for")
    return response


def is_event_stream(response: httpx.Response) -> bool:
    """Whether an answer is a stream of events; one without a content type is taken for it."""
    kind: str = response.headers.get("Content-Type", "text/event-stream")
    return kind.startswith("text/event-stream")


def _accepted(operation: Operation[Any], settings: Settings) -> Exchange[httpx.Response]:
    policy = settings.retry_policy
    attempt = 0
    while True:
        attempt += 1
        started = time.monotonic()
        outcome = yield Send(operation, settings)
        logger.debug("%s: %s after %.3f s", operation.name, _told(outcome), time.monotonic() - started)
        error: FetchHiveError
        if isinstance(outcome, httpx.Response):
            if outcome.is_success:
                return outcome
            error, again = _status_error(operation, settings, outcome)
        else:
            assert outcome is not None
            error, again = _failure(operation, settings, outcome)
        if not again or attempt > policy.max_retries or (error.retry_after or 0) > policy.max_retry_after:
            raise error from (outcome if isinstance(outcome, Exception) else None)
        delay = policy.delay(attempt, error.retry_after)
        logger.warning(
            "%s: %s; retry %d of %d in %.2f s", operation.name, _told(outcome), attempt, policy.max_retries, delay
        )
        yield Sleep(delay)


def _status_error(
    operation: Operation[Any], settings: Settings, response: httpx.Response
) -> tuple[errors.APIStatusError, bool]:
    status = response.status_code
    body = errors.response_body(response)
    retry_after = retries.parse_retry_after(response.headers)

    def repeated_by(policy: RetryPolicy) -> bool:
        return policy.repeats_status(
            status,
            starts_run=operation.starts_run,
            daily_limit=errors.is_daily_limit(status, body),
            retry_after=retry_after,
        )

    error = errors.status_error(
        response,
        body,
        call=operation.name,
        may_have_run=operation.starts_run
        and retries.may_have_run(status, direct_workflow=operation.direct_workflow, retry_after=retry_after),
        retryable=repeated_by(RetryPolicy()),
        retry_after=retry_after,
    )
    return error, repeated_by(settings.retry_policy)


def _failure(operation: Operation[Any], settings: Settings, failure: Exception) -> tuple[APIConnectionError, bool]:
    may_have_run = operation.starts_run and not isinstance(failure, _NEVER_SENT)
    cls = APITimeoutError if isinstance(failure, (httpx.TimeoutException, DeadlineExceeded)) else APIConnectionError
    what, hint = _what_happened(settings, failure)
    error = cls(
        f"{operation.name}: {what}.",
        hint=f"{hint} {MAY_HAVE_RUN_HINT if may_have_run else 'Nothing was run.'}".strip(),
        may_have_run=may_have_run,
        retryable=not may_have_run,
        request=_request_of(failure),
    )
    return error, settings.retry_policy.repeats_failure(starts_run=operation.starts_run, may_have_run=may_have_run)


def _request_of(failure: Exception) -> httpx.Request | None:
    try:
        return failure.request if isinstance(failure, httpx.RequestError) else None
    except RuntimeError:  # it was raised without one
        return None


def _what_happened(settings: Settings, failure: Exception) -> tuple[str, str]:
    """A failure on the way in one sentence, and what to do about it."""
    host = httpx.URL(settings.base_url).netloc.decode()
    detail = f" ({failure})" if str(failure) else ""
    if isinstance(failure, httpx.PoolTimeout):
        return "no connection became free in time", "Lower the number of calls at once, or raise timeout=."
    if isinstance(failure, httpx.ConnectTimeout):
        return f"{host} did not accept a connection in time", "Check the network, the proxy and base_url."
    if isinstance(failure, (httpx.TimeoutException, DeadlineExceeded)):
        return (
            "no complete answer came in time",
            "A run may take longer than timeout= allows: raise it, or use callback delivery for long workflows.",
        )
    if isinstance(failure, httpx.ProxyError):
        return f"the proxy refused the connection{detail}", "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY."
    if isinstance(failure, _NEVER_SENT):
        if "CERTIFICATE_VERIFY_FAILED" in str(failure):
            hint = "Its certificate is not trusted: set SSL_CERT_FILE to your company's CA, or check base_url."
            return f"{host} could not prove its identity{detail}", hint
        hint = "Check base_url, the network and the proxy; if it is a sandbox, that it is running."
        return f"no connection to {host} could be made{detail}", hint
    if isinstance(failure, httpx.DecodingError):
        return f"the answer's content encoding is broken{detail}", "A proxy in between may have changed it."
    return f"the connection to {host} broke before the whole answer was there{detail}", ""


def _unexpected(operation: Operation[Any], response: httpx.Response, problem: str) -> UnexpectedResponseError:
    body = errors.response_body(response)
    kind = response.headers.get("Content-Type", "no content type")
    return UnexpectedResponseError(
        f"{operation.name} was answered {response.status_code} ({kind}), and the body {problem}.",
        hint="It is in error.body as it came. A proxy may stand in between, or base_url be wrong."
        f" {MAY_HAVE_RUN_HINT if operation.starts_run else ''}".rstrip(),
        request_id=errors.request_id_of(body),
        status_code=response.status_code,
        body=body,
        may_have_run=operation.starts_run,
        response=response,
    )


def _told(outcome: Outcome) -> str:
    return str(outcome.status_code) if isinstance(outcome, httpx.Response) else type(outcome).__name__
