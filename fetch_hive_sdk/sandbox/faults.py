"""Faults on order: errors the service would answer, and damage to a reply on its way.

A fault is written in one way everywhere: in Python, in a configuration file and in the request header
`X-Fetch-Hive-Sandbox-Fault`.

    503                                      a status, with the text the documentation has for it
    too_many_requests                        a code of the catalog, with its status and text
    status=503, retry_after=2                fields of `Fault`; values with a comma go in double quotes
    truncate                                 a field that is only switched on
    cut=reset, after=3, delay=0.5            several at once
    {"status": 502, "body": {"a": [1, 2]}}   the same as JSON
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from http import HTTPStatus
from threading import Lock
from typing import Annotated, Any, Literal, Union, cast, get_args

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from typing_extensions import Self

from ..error_codes import BY_CODE
from ..errors import ConfigurationError
from ..jsonable import article, plain
from .catalog import CONCURRENCY_LIMIT, DAILY_LIMIT, concurrency_limit, daily_limit_body
from .choices import Choices
from .chunks import Chunk, Cut, Pause
from .fault_text import FLAGS, read_fault, refused, unknown
from .refusals import error_body
from .runs import Kind, Reply
from .wire import DONE, frame, json_bytes, json_text

__all__ = ["FAULT_HEADER", "Fault", "FaultLike", "Faults", "fault_of"]

FAULT_HEADER = "x-fetch-hive-sandbox-fault"

PAGE = "<!DOCTYPE html>\n<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n"
PROVIDER_ERROR = "openai API error: provider rejected the request"
EXAMPLES = {"model": "sandbox", "limit": "50"}  # what a code's text names
COMMENT = b": keep-alive\n\n"

# Text and code of an error that is ordered by its status alone, as the documentation shows it.
_BY_STATUS: dict[int, tuple[str, str | None]] = {
    400: ("Missing required field: deployment or variant", "validation_error"),
    401: ("Invalid access.", "validation_error"),
    402: (BY_CODE["insufficient_hosted_llm_credits"].message, "insufficient_hosted_llm_credits"),
    403: (BY_CODE["tool_approval_override_not_permitted"].message, "tool_approval_override_not_permitted"),
    404: ("Request not found", None),
    409: ("This approval has already been decided.", None),
    422: ("Agent not found.", None),
    429: (CONCURRENCY_LIMIT, None),
    500: (BY_CODE["internal_server_error"].message, "internal_server_error"),
    502: (PROVIDER_ERROR, None),
}
_REDIRECTS = (301, 302, 303, 307, 308)
_OF_THE_CONNECTION = ("connection", "content-length", "transfer-encoding")


def _status(status: int) -> int:
    if status not in _REDIRECTS and not 400 <= status <= 599:
        raise ValueError("an error is 400 to 599, and a redirect 301, 302, 303, 307 or 308")
    return status


def _headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ValueError(f"{name!r} is not a header name")
        if name.lower() in _OF_THE_CONNECTION:
            raise ValueError(f"{name} cannot be chosen; truncate and cut make a body shorter than announced")
        if not re.fullmatch(r"[\x20-\x7e\xa0-\xff]*", value) or value != value.strip():
            raise ValueError(f"the value of {name} has a line break, a space at its end or a character outside Latin-1")
    return headers


def _json(value: object) -> Any:
    return plain(value, "body")


Text = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Fault:
    """What goes wrong with one request. Every field can be left out, and all go together unless noted.

    An error of the service comes by `status`, `error_code` or `error`. Statuses from 500, but 503, mean that
    the run began and failed; all others that it was refused and none began. Everything below `headers` is damage
    to the reply on its way: of an error, or of a run that went well.

    Attributes:
        status: HTTP status, an error or a redirect. Default: that of `error_code`; else, with `error`, 502. By
            itself it has the text that the documentation shows for it: 429 is the limit of concurrent
            workflows, 502 a provider that failed.
        error: The error's text. Default: that of `error_code` or `status`.
        error_code: A code of the catalog, which has its status and text; with `status` any code.
        body: Instead of the reply's body: a text as it stands, or any JSON value.
        not_json: A page of HTML instead of the reply's body; a text is that page.
        retry_after: Seconds in the error's `Retry-After` header.
        headers: Further headers of the reply, or others in place of its own.
        delay: Seconds before the first byte; infinite: none ever comes.
        silence: Seconds in which nothing comes in the middle of the reply: after `after` events of a stream,
            or after half of any other body.
        after: How many events of a stream come before `silence`, `stream_error` or `cut`. Default 1. With 0 a
            reply of any kind is cut before its first byte.
        stream_error: A stream goes on with an `error` event of this text, and ends. A code of the catalog has
            its text; True is a provider that failed. Other replies are not changed.
        cut: The connection ends in the middle of the reply: `"close"`, in order, or `"reset"`.
        truncate: The reply ends after half of the body that its `Content-Length` announces.
        split: Bytes in each piece the body is sent in; 1 is every byte by itself.
        crlf: Lines of a stream end in CR LF.
        comments: A comment comes before each event of a stream.
        no_space: No space comes after a stream's `data:`.

    Raises:
        pydantic.ValidationError: (a ValueError) A value is none of those its field allows.
    """

    status: Annotated[int, AfterValidator(_status)] | None = None
    error: Text | None = None
    error_code: Text | None = None
    body: Annotated[Any, BeforeValidator(_json)] = None
    not_json: Union[bool, Text] = False
    retry_after: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    headers: Annotated[Mapping[str, str], AfterValidator(_headers)] = Field(default_factory=dict[str, str])
    delay: Seconds = 0.0
    silence: Seconds = 0.0
    after: Annotated[int, Field(ge=0)] = 1
    stream_error: Union[bool, Text] = False
    cut: Literal["close", "reset"] | None = None
    truncate: bool = False
    split: Annotated[int, Field(ge=1)] | None = None
    crlf: bool = False
    comments: bool = False
    no_space: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.error_code and self.status is None and self.error_code not in BY_CODE:
            raise ValueError(f"error_code: {unknown(self.error_code, BY_CODE)}; with status= any code can be sent")
        if self.retry_after is not None and self._said is None:
            raise ValueError("retry_after: it goes with status, error_code or error")
        if self.not_json and self.body is not None:
            raise ValueError("not_json: it goes with no body")
        if self.truncate and self.cut:
            raise ValueError("truncate: it goes with no cut")
        return self

    def __str__(self) -> str:
        """The fault as `fault_of` reads it, without what is left out."""
        return ", ".join(
            name if value is True and name in FLAGS else f"{name}={_spelling(value)}"
            for name, default in _DEFAULTS.items()
            if (value := getattr(self, name)) != default
        )

    @property
    def failure(self) -> tuple[int, str, str | None] | None:
        """Status, text and code of a run that begins and fails; None if this is no such fault."""
        said = self._said
        return said if said and _begins(said[0]) else None

    def refusal(self, choices: Choices) -> Reply | None:
        """The reply in place of a run that never begins; None if this is no such fault.

        Args:
            choices: The forms of errors.
        """
        said = self._said
        if said is None or _begins(said[0]):
            return None
        status, text, code = said
        headers = {"Content-Type": "application/json; charset=utf-8"}
        body: Mapping[str, Any] = error_body(text, code, error_only=choices.error_only)
        if self.error is None and status == 429 and code == DAILY_LIMIT:
            body = daily_limit_body(50, 50, choices)
        elif self.error is None and status == 429 and code is None:
            body, more = concurrency_limit(choices)
            headers.update(more)
        return self._replaced(Reply(status=status, headers=headers, body=json_bytes(body)))

    def damage(self, reply: Reply, choices: Choices) -> Reply:
        """What becomes of a reply: of a run's, and of a refusal too.

        Args:
            reply: The reply. If it is a stream, all of it is read.
            choices: The forms of errors, and how a stream ends after one.
        """
        reply = self._replaced(reply)
        whole: list[Chunk] = [reply.body] if isinstance(reply.body, bytes) else list(reply.body)
        stream = reply.headers.get("Content-Type", "").startswith("text/event-stream")
        chunks = self._stream(whole, choices) if stream else self._plain(whole)
        headers = dict(reply.headers)
        if self.truncate or (self.cut and not stream):
            headers["Content-Length"] = str(len(_joined(chunks if stream else whole)))
        if self.truncate:
            chunks = list(_first_half(chunks))
        if self.split:
            chunks = list(_pieces(chunks, self.split))
        if self.delay:
            chunks.insert(0, Pause(self.delay))
        if chunks == [reply.body]:
            return reply
        return replace(reply, headers=headers, body=tuple(chunks))

    @property
    def _said(self) -> tuple[int, str, str | None] | None:
        if self.status is None and self.error is None and self.error_code is None:
            return None
        entry = BY_CODE.get(self.error_code or "")
        status = self.status or (entry.status if entry else 502)
        if self.error is not None:
            return status, self.error, self.error_code
        if entry:
            return status, _text_of(entry.code), entry.code
        if self.error_code is not None:
            return status, _phrase(status), self.error_code
        text, code = _BY_STATUS.get(status) or (_phrase(status), None)
        return status, text, code

    def _replaced(self, reply: Reply) -> Reply:
        """The reply with another body and other headers, as far as they are given."""
        headers = dict(reply.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:.15g}"
        body = reply.body
        if self.not_json:
            headers["Content-Type"] = "text/html; charset=utf-8"
            body = (PAGE if self.not_json is True else self.not_json).encode("utf-8", "backslashreplace")
        elif isinstance(self.body, str):
            body = self.body.encode("utf-8", "backslashreplace")
        elif self.body is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
            body = json_bytes(self.body)
        known = {name.lower(): name for name in headers}
        headers.update({known.get(name.lower(), name): value for name, value in self.headers.items()})
        return replace(reply, headers=headers, body=body)

    def _plain(self, chunks: list[Chunk]) -> list[Chunk]:
        if not self.silence and not self.cut:
            return chunks
        data = _joined(chunks)
        half = len(data) // 2
        broken: list[Chunk] = [chunk for chunk in chunks if not isinstance(chunk, bytes)]
        if self.silence or self.after:
            broken.append(data[:half])
        if self.silence:
            broken.append(Pause(self.silence))
        broken.append(Cut(self.cut) if self.cut else data[half:])
        return broken

    def _stream(self, chunks: list[Chunk], choices: Choices) -> list[Chunk]:
        events = list(_events(chunks))
        if self.silence or self.stream_error or self.cut:
            before = list(_first(events, self.after))
            after: list[Chunk] = events[len(before) :]
            if self.silence:
                # The head of the reply goes out before the silence, even if no event does.
                before += [Pause(self.silence)] if before else [b"", Pause(self.silence)]
            if self.stream_error:
                before.append(self._error_event(events, choices))
                after = [DONE] if choices.done_after_error else []
            events = [*before, Cut(self.cut)] if self.cut else [*before, *after]
        if not (self.crlf or self.comments or self.no_space):
            return events
        return [self._spelled(event) if isinstance(event, bytes) and event else event for event in events]

    def _error_event(self, events: Iterable[Chunk], choices: Choices) -> bytes:
        text, code = PROVIDER_ERROR if self.stream_error is True else str(self.stream_error), None
        if text in BY_CODE:
            text, code = _text_of(text), text
        request_id = next((found for event in events if (found := _request_id(event))), None)
        known = {"request_id": request_id} if request_id else {}
        return frame({**known, "type": "error", **error_body(text, code, error_only=choices.error_only)})

    def _spelled(self, event: bytes) -> bytes:
        if self.no_space:
            event = event.replace(b"data: ", b"data:", 1)
        if self.comments:
            event = COMMENT + event
        return event.replace(b"\n", b"\r\n") if self.crlf else event


def _begins(status: int) -> bool:
    return status >= 500 and status != 503


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Error {status}"


def _text_of(code: str) -> str:
    return re.sub(r"%\{(\w+)\}", lambda name: EXAMPLES[name[1]], BY_CODE[code].message)


# --- pieces of replies --------------------------------------------------------------------------------


def _joined(chunks: Iterable[Chunk]) -> bytes:
    return b"".join(chunk for chunk in chunks if isinstance(chunk, bytes))


def _events(chunks: Iterable[Chunk]) -> Iterable[Chunk]:
    """The chunks, with one event in each."""
    for chunk in chunks:
        if isinstance(chunk, bytes):
            yield from (event for event in re.split(rb"(?<=\n\n)", chunk) if event)
        else:
            yield chunk


def _first(events: Iterable[Chunk], number: int) -> Iterable[Chunk]:
    """So many events, and what is between them."""
    for event in events:
        if not number:
            return
        number -= isinstance(event, bytes)
        yield event


def _first_half(chunks: list[Chunk]) -> Iterable[Chunk]:
    left = len(_joined(chunks)) // 2
    for chunk in chunks:
        if not isinstance(chunk, bytes):
            yield chunk
            continue
        yield chunk[:left]
        if len(chunk) > left:
            return
        left -= len(chunk)


def _pieces(chunks: Iterable[Chunk], size: int) -> Iterable[Chunk]:
    """The chunks in pieces of one size, which go across the ends of events and not across pauses."""
    data = b""
    for chunk in [*chunks, None]:
        if isinstance(chunk, bytes):
            yield from () if chunk else (chunk,)  # an empty one has its meaning
            data += chunk
            continue
        yield from (data[start : start + size] for start in range(0, len(data), size))
        data = b""
        if chunk is not None:
            yield chunk


def _request_id(event: Chunk) -> str | None:
    try:
        value: object = json.loads(event.removeprefix(b"data:")) if isinstance(event, bytes) else None
    except ValueError:
        return None
    request_id = cast("dict[str, object]", value).get("request_id") if isinstance(value, dict) else None
    return request_id if isinstance(request_id, str) else None


# --- the spelling of faults ---------------------------------------------------------------------------

FaultLike = Union[Fault, str, int, Mapping[str, Any]]

_FIELDS = tuple(field.name for field in fields(cast("Any", Fault)))
_DEFAULTS = {name: getattr(Fault(), name) for name in _FIELDS}


def _spelling(value: object) -> str:
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    if isinstance(value, str) and re.fullmatch(r"\w[\w .:;/-]*\w|\w", value) and value not in ("true", "false"):
        return value
    return json_text(value)


def fault_of(value: FaultLike) -> Fault:
    """The fault that is meant.

    Args:
        value: A `Fault`; an HTTP status; a mapping of its fields; or a text, as the head of this module has it.
            A bare word in a text is a field that is switched on, a code of the catalog, a status, or one of
            `concurrency_limit`, `daily_limit` and `provider_error`.

    Raises:
        ConfigurationError: It means none; the message names the field, and what is allowed there.
    """
    if isinstance(value, Fault):
        return value
    given = _given(value)
    for name in given:
        if name not in _FIELDS:
            raise refused(f"{unknown(name, _FIELDS)}", f"The fields are {', '.join(_FIELDS)}.")
    if not given:
        raise refused("it is empty", f"Give one of {', '.join(_FIELDS)}.")
    try:
        return Fault(**given)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = f"{problem['loc'][0]}: " if problem["loc"] else ""
        told = problem["msg"].removeprefix("Value error, ")
        raise refused(f"{where}{told}", "See sandbox.Fault for what each field takes.") from None


def _given(value: str | int | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(value, str):
        return read_fault(value, _FIELDS)
    if isinstance(value, int):
        return {"status": value}
    if isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        return value
    raise refused(f"{article(value)} is not allowed", "Pass a text, a status, a dict or a Fault(...).")


# --- those to come ------------------------------------------------------------------------------------

# A fault, the kind and the name of whom it is for, and to how many requests it is still to happen.
Waiting = tuple[Fault, Union[Kind, None], Union[str, None], int]


class Faults:
    """The faults that wait for requests to meet. Safe to use from several threads."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._lock = Lock()

    def add(self, fault: FaultLike, *, times: int = 1, kind: Kind | None = None, name: str | None = None) -> None:
        """Let the next requests fail.

        Args:
            fault: What happens to each; see `fault_of`.
            times: To how many. Default 1.
            kind: Only to runs of this kind. Default: to any request.
            name: Only to this deployment or agent. Default: to any.

        Raises:
            ConfigurationError: An argument is none of those allowed.
        """
        made = fault_of(fault)
        if isinstance(times, bool) or not isinstance(times, int) or times < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"times: {times!r} is not allowed.", hint="Pass a whole number from 1.")
        _check_kind(kind)
        if name is not None and (not isinstance(name, str) or not name):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"name: {name!r} is not allowed.", hint="Pass a deployment's or agent's name.")
        with self._lock:
            self._waiting.append((made, kind, name, times))

    def take(self, kind: Kind | None, name: str | None) -> Fault | None:
        """The fault that a request meets, which is then used up; None if it meets none.

        Args:
            kind: What it invokes; None if nothing.
            name: Of the deployment or agent; None if it names none.
        """
        with self._lock:
            for index, (fault, of_kind, of_name, times) in enumerate(self._waiting):
                if of_kind in (None, kind) and of_name in (None, name):
                    self._waiting[index : index + 1] = [(fault, of_kind, of_name, times - 1)] if times > 1 else []
                    return fault
        return None

    def clear(self) -> None:
        """Forget those that still wait."""
        with self._lock:
            self._waiting.clear()


def _check_kind(kind: str | None) -> None:
    kinds: tuple[str, ...] = get_args(Kind)
    if kind is not None and kind not in kinds:
        raise ConfigurationError(f"kind: {unknown(kind, kinds)}.", hint=f"Pass one of {', '.join(kinds)}.")
