"""What has to hold for any input: each promise once, as a function that raises where it is broken.

A check takes an input of `fuzz_inputs` and calls the package as a user would. What escapes from it is the failure:
an `AssertionError` that names the promise, or the foreign error itself.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import gzip
import inspect
import json
import math
import pickle
import re
import socket
import threading
import warnings
from collections import UserDict, deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from email.message import Message
from enum import Enum
from fractions import Fraction
from functools import cache, lru_cache
from hmac import digest as hmac_digest
from pathlib import PurePath
from random import Random
from types import GeneratorType
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote
from uuid import UUID

import httpx
from pydantic import BaseModel, SecretBytes, SecretStr

from fetch_hive_sdk import (
    APIStatusError,
    AsyncFetchHive,
    CallbackVerificationError,
    CallbackVerifier,
    ConfigurationError,
    FetchHive,
    FetchHiveError,
    InvalidRequestError,
    StreamError,
    UnexpectedResponseError,
    errors,
)
from fetch_hive_sdk.events import read_event
from fetch_hive_sdk.operations import invoke_agent, invoke_prompt
from fetch_hive_sdk.results import Entity, Record, Result
from fetch_hive_sdk.retries import parse_retry_after
from fetch_hive_sdk.settings import Settings
from fetch_hive_sdk.sse import EventTooLargeError, SSEDecoder
from fetch_hive_sdk.streams import StreamReader

from . import fuzz_inputs
from .fuzz_inputs import (
    CANARY,
    SECRETS,
    CallbackInput,
    ErrorInput,
    Form,
    HostileForm,
    Point,
    RequestInput,
    SentInput,
    StreamInput,
)

KEY = "fhk_test"
URL = "https://example.com/callback"


@dataclass(frozen=True)
class Property:
    """A promise about any input.

    Attributes:
        name: What it is called on the command line.
        promise: What holds.
        make: Makes an input.
        check: Raises where the promise is broken.
    """

    name: str
    promise: str
    make: Callable[[Random], Any]
    check: Callable[[Any], object]


# --- streams ----------------------------------------------------------------------------------------------


def read_whole(stream: bytes) -> list[str]:
    """The data of all events, by the words of the WHATWG text: of the whole input, line by line."""
    text = stream.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    events: list[str] = []
    data: list[str] = []
    for line in re.split("\r\n|\r|\n", text)[:-1]:  # what comes after the last end of a line is no line yet
        if not line:
            if data:
                events.append("\n".join(data))
            data = []
            continue
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
    return events


def check_decoder(given: StreamInput) -> None:
    """Cut anywhere, the decoder gives what the uncut stream gives, and what the WHATWG text says."""
    whole = _decoded([given.stream], 1 << 30)
    assert whole == (read_whole(given.stream), False), f"the WHATWG text says {read_whole(given.stream)}, not {whole}"
    limited = _decoded([given.stream], given.limit)
    cut = _decoded(given.chunks, given.limit)
    assert cut == limited, f"cut it is {cut}, and uncut {limited}"
    assert cut[0] == whole[0][: len(cut[0])], "the limit changes more than the end"


def _decoded(chunks: list[bytes], limit: int) -> tuple[list[str], bool]:
    decoder = SSEDecoder(limit)
    events: list[str] = []
    try:
        for chunk in chunks:
            events.extend(event.decode("utf-8", "replace") for event in decoder.feed(chunk))
    except EventTooLargeError:
        return events, True
    return events, False


_SETTINGS = Settings(api_key=KEY)
_STREAMED = (
    invoke_prompt(_SETTINGS, "d", "v", None, None, None, streaming=True),
    invoke_agent(_SETTINGS, "a", "m", *[None] * 10, streaming=True),
)


def check_reader(given: StreamInput) -> None:
    """Cut anywhere, a stream yields the same events, ends with the same error or none, and adds up to the same."""
    for operation in _STREAMED:
        told = [_read(StreamReader(operation, 60, given.limit), chunks) for chunks in ([given.stream], given.chunks)]
        assert told[0] == told[1], f"uncut it is {told[0]}, and cut {told[1]}"


def _read(reader: StreamReader[Any], chunks: list[bytes]) -> list[str]:
    told: list[str] = []
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while reader.events:
                told.append(_shown(reader.next()))
        reader.end()
        reader.next()
    except StreamError as error:
        told += [type(error).__name__, str(error), _shown(error.partial)]
        pickle.loads(pickle.dumps(error))
    return [*told, f"complete={reader.complete}, request_id={reader.request_id}", _shown(reader.result())]


def _shown(record: Any) -> str:
    check_record(record)
    return f"{type(record).__name__} {canonical(record.to_dict())}"


class _Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, chunks: list[bytes], *, broken: bool) -> None:
        self._chunks = chunks
        self._broken = broken

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._broken:
            raise httpx.RemoteProtocolError("broken")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def check_stream(given: SentInput) -> None:
    """Cut, packed and bundled in any way, both clients' streams give the same events, at once, and the same end."""
    packed = gzip.compress(given.stream, mtime=0)
    halves = [packed[: len(packed) // 2], packed[len(packed) // 2 :]]
    whole = _mocked(given, [given.stream])
    for told in (
        _mocked(given, given.chunks),
        _mocked(given, halves, "gzip"),
        _loop().run_until_complete(_mocked_async(given)),
    ):
        assert told == whole, f"uncut it is {whole}, else {told}"
    _mocked(given, given.chunks, "gzip")  # which it is not
    told = _sent(given)
    assert told == whole, f"uncut it is {whole}, and from a connection {told}"
    told = _loop().run_until_complete(_sent_async(given))
    assert told == whole, f"uncut it is {whole}, and from a connection of the async client {told}"


def _transport(given: SentInput, chunks: list[bytes], coding: str = "") -> httpx.MockTransport:
    headers = {"Content-Type": "text/event-stream", **({"Content-Encoding": coding} if coding else {})}
    body = _Chunks(chunks, broken=given.broken)
    return httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=body))


def _mocked(given: SentInput, chunks: list[bytes], coding: str = "") -> list[str]:
    client = FetchHive(KEY, max_event_size=given.limit, http_client=_transport(given, chunks, coding))
    return _streamed(client, _as_it_is)


async def _mocked_async(given: SentInput) -> list[str]:
    client = AsyncFetchHive(KEY, max_event_size=given.limit, http_client=_transport(given, given.chunks))
    return await _streamed_async(client, _as_it_is)


def _sent(given: SentInput) -> list[str]:
    sending = _Sending(given, _server())
    told = _streamed(_client().with_options(max_event_size=given.limit), sending.to)
    assert not sending.problem, sending.problem
    return told


async def _sent_async(given: SentInput) -> list[str]:
    sending = _Sending(given, _server())
    told = await _streamed_async(_async_client().with_options(max_event_size=given.limit), sending.to_async)
    assert not sending.problem, sending.problem
    return told


def _as_it_is(*_: object) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def _streamed(client: FetchHive, served: Callable[..., contextlib.AbstractContextManager[None]]) -> list[str]:
    """What a stream tells, while `served` has what comes to the response sent."""
    told: list[str] = []
    try:
        with client.invoke_prompt_stream(deployment="d") as stream, served(stream.http_response, told):
            for event in stream:
                told.append(_shown(event))  # noqa: PERF401 - what came before an error counts
            told.append(_shown(stream.final()))
    except StreamError as error:
        told += [type(error).__name__, str(error), _shown(error.partial)]
    return told


async def _streamed_async(
    client: AsyncFetchHive, served: Callable[..., contextlib.AbstractContextManager[None]]
) -> list[str]:
    told: list[str] = []
    try:
        async with client.invoke_prompt_stream(deployment="d") as stream:
            with served(stream.http_response, told):
                async for event in stream:
                    told.append(_shown(event))  # noqa: PERF401 - what came before an error counts
                told.append(_shown(await stream.final()))
    except StreamError as error:
        told += [type(error).__name__, str(error), _shown(error.partial)]
    return told


class _Server:
    """Reads requests off real connections and answers with a head each; what follows, `_Sending` sends."""

    def __init__(self) -> None:
        self.head = b""
        self.connection: socket.socket | None = None  # that has had its head last
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        length = 0
        with connection, connection.makefile("rb") as reader, suppress(OSError):
            for line in reader:
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
                elif line == b"\r\n":
                    reader.read(length)
                    self.connection = connection
                    connection.sendall(self.head)


class _Sending:
    """Sends a stream bundle by bundle, each when the one before has been read: so each read gives one, every time.

    Attributes:
        problem: What was wrong with the moment of a read; "" if nothing was.
    """

    def __init__(self, given: SentInput, server: _Server) -> None:
        self.problem = ""
        self._given = given
        self._server = server
        self._told: list[str] = []
        self._left = given.bundles[::-1]
        self._due = StreamReader(_STREAMED[0], 60, given.limit)  # what those that were sent have had
        self._unread = 0
        server.head = given.head

    @contextlib.contextmanager
    def to(self, response: httpx.Response, told: list[str]) -> Generator[None, None, None]:
        """Send to a response of the sync client meanwhile; `told` has an entry for each event that was taken."""
        connection, self._told = response.extensions["network_stream"], told
        read = connection.read

        def read_next(*args: Any, **kwargs: Any) -> bytes:
            self._send()
            data: bytes = read(*args, **kwargs)
            self._unread -= len(data)
            return data

        connection.read = read_next
        try:
            yield
        finally:
            connection.read = read

    @contextlib.contextmanager
    def to_async(self, response: httpx.Response, told: list[str]) -> Generator[None, None, None]:
        """The same for the async client."""
        connection, self._told = response.extensions["network_stream"], told
        read = connection.read

        async def read_next(*args: Any, **kwargs: Any) -> bytes:
            self._send()
            data: bytes = await read(*args, **kwargs)
            self._unread -= len(data)
            return data

        connection.read = read_next
        try:
            yield
        finally:
            connection.read = read

    def _send(self) -> None:
        """Send what the next read is to give."""
        if self._unread:
            return
        if len(self._told) < len(self._due.events) and not self._given.coding:
            self.problem = self.problem or f"{len(self._due.events)} events had come, and it waited after {self._told}"
        peer = self._server.connection
        assert peer is not None
        with suppress(OSError):  # the client has hung up
            if self._left:
                sent, data = self._left.pop()
                self._due.feed(data)
                self._unread += len(sent)
                peer.sendall(sent)
            elif not self._given.closes:
                self.problem = self.problem or "it waited for more than the whole body"
            if not self._left and (self._given.closes or self.problem):
                peer.shutdown(socket.SHUT_WR)


@lru_cache(maxsize=1)
def _server() -> _Server:
    return _Server()


@lru_cache(maxsize=1)
def _client() -> FetchHive:
    return FetchHive(KEY, _server().base_url, max_retries=0)


@lru_cache(maxsize=1)
def _async_client() -> AsyncFetchHive:
    return AsyncFetchHive(KEY, _server().base_url, max_retries=0)


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


# --- callbacks --------------------------------------------------------------------------------------------

_VERIFIERS = [CallbackVerifier(several) for several in SECRETS]
_KEYS = [tuple(fuzz_inputs.secret_bytes(secret) for secret in several) for several in SECRETS]
_REASONS = {"missing_signature", "malformed_signature", "wrong_signature", "unreadable_request"}


def check_callback(given: CallbackInput) -> bool:
    """A callback is accepted if and only if its signature is right; all else is a `CallbackVerificationError`.

    Returns:
        Whether it was accepted.
    """
    verifier = _VERIFIERS[given.secrets]
    if isinstance(given.headers, Iterator):  # can be read once
        return _verified(lambda headers: verifier.verify(given.body, headers), given, given.headers)
    accepted = _verified(lambda headers: verifier.verify(given.body, headers), given, given.headers)
    if accepted or given.pairs is None:
        _check_unwrapped(verifier, given, accepted)
    return accepted


def _verified(verify: Callable[[Any], object], given: CallbackInput, headers: Any) -> bool:
    try:
        verify(headers)
    except CallbackVerificationError as error:
        assert error.reason in _REASONS, error.reason  # noqa: PT017 - no test, but what tests call
        accepted = False
    except TypeError as error:
        assert str(error).startswith("body: a dict"), error  # noqa: PT017 - no test, but what tests call
        assert isinstance(given.body, Mapping)
        accepted = False
    else:
        accepted = True
    genuine = is_genuine(given)
    assert accepted == genuine, "a forgery was accepted" if accepted else "a genuine callback was refused"
    return accepted


def _check_unwrapped(verifier: CallbackVerifier, given: CallbackInput, accepted: bool) -> None:
    try:
        event = verifier.unwrap(given.body, given.headers)
    except CallbackVerificationError as error:
        assert not accepted or error.reason == "unreadable_body", error.reason  # noqa: PT017 - no test, but what tests call
    except TypeError:
        assert isinstance(given.body, Mapping)
    else:
        assert accepted
        if len(event) % 4 == 1:  # to read them all takes as long as all the rest
            check_attributes(event)


def is_genuine(given: CallbackInput) -> bool:
    """Whether a callback is signed by one of the secrets: worked out from its parts, and without the verifier."""
    if given.raw is None or given.pairs is None:
        return False
    values: set[bytes] = set()
    for name, value in given.pairs:
        if name.lower().replace("_", "-") in ("x-fetch-hive-signature", "http-x-fetch-hive-signature"):
            for one in value if isinstance(value, list) else [value]:
                values.add(one if isinstance(one, bytes) else str(one).encode("utf-8", "surrogatepass"))
    mac = _mac_of(values.pop().strip()) if len(values) == 1 else None
    return mac is not None and any(mac == hmac_digest(key, given.raw, "sha256") for key in _KEYS[given.secrets])


def _mac_of(written: bytes) -> bytes | None:
    """The bytes of a MAC in hex or base64; None where it is neither."""
    if written[:7].lower() == b"sha256=":
        written = written[7:]
    if re.fullmatch(rb"[0-9A-Fa-f]{64}", written):
        return bytes.fromhex(written.decode())
    if re.fullmatch(rb"[-+_/0-9A-Za-z]{43}=*", written):
        mac = base64.b64decode(written[:43].replace(b"-", b"+").replace(b"_", b"/") + b"=")
        # The last character has two bits too many, which have to be zero.
        return mac if base64.b64encode(mac)[:43] == written[:43].replace(b"-", b"+").replace(b"_", b"/") else None
    return None


# --- answers ----------------------------------------------------------------------------------------------


def canonical(value: Any) -> str:
    """A JSON value as one text: equal where the values are, their types and NaN included."""
    return json.dumps(value, sort_keys=True)


@cache
def public_names(cls: type[Record]) -> list[str]:
    """A record's attributes: its fields and properties."""
    theirs = {name for name, _ in inspect.getmembers(BaseModel, lambda member: isinstance(member, property))}
    own = {name for name, _ in inspect.getmembers(cls, lambda member: isinstance(member, property))}
    return sorted({*cls.model_fields, *(own - theirs)})


def check_attributes(record: Record) -> None:
    """Every attribute of a record can be read, and shows and lists what it holds."""
    for name in public_names(type(record)):
        value = getattr(record, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Record):
                check_attributes(one)
    assert isinstance(repr(record) + str(record), str)
    assert list(record) == list(record.to_dict())


def check_record(record: Record) -> None:
    """A record can be read, shown, copied, pickled and compared, and gives its JSON back."""
    check_attributes(record)
    fields = canonical(record.to_dict())
    assert canonical(dict(record)) == fields
    assert canonical({key: record[key] for key in record}) == fields
    others = (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record), record.model_copy())
    for other in others:
        assert type(other) is type(record)
        assert canonical(other.to_dict()) == fields
        assert "NaN" in fields or (other == record and other == record.to_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record.model_dump()
        record.model_dump_json()
    with suppress(FetchHiveError):
        getattr(record, "callback_verifier", int)()


_READERS: list[tuple[str, Callable[[bytes], Any]]] = [
    *((cls.__name__, cls.from_json) for cls in fuzz_inputs.RECORDS if issubclass(cls, (Result, Entity))),
    ("read_event", read_event),
]
_RECORDS_BY_NAME = {cls.__name__: cls for cls in fuzz_inputs.RECORDS}
_W = {"workspace_id": "w"}
_TRIGGER: dict[str, Any] = {"webhook_secret": "whsec_test", "callback_url": URL}
# Each call with a reader of its own, and the class of which its answer is or lists.
CALLS: dict[str, tuple[str, Callable[[FetchHive], Any]]] = {
    "invoke_prompt": ("PromptResult", lambda client: client.invoke_prompt(deployment="d")),
    "invoke_workflow": ("WorkflowRun", lambda client: client.invoke_workflow(deployment="d")),
    "invoke_agent": ("AgentReply", lambda client: client.invoke_agent(agent="a", message="m")),
    "invoke_hive_agent": (
        "HiveAgentRun",
        lambda client: client.invoke_hive_agent(hive_agent="h", objective="o", callback_url=URL),
    ),
    "triggers.workflow": ("WorkflowRun", lambda client: client.triggers.workflow("w", "v", **_TRIGGER)),
    "triggers.agent": ("AgentRun", lambda client: client.triggers.agent("a", message="m", **_TRIGGER)),
    "requests.get": ("RequestRecord", lambda client: client.requests.get("r")),
    "workflow_runs.get": ("WorkflowRunRecord", lambda client: client.workflow_runs.get("r")),
    "delegations.get": ("AgentDelegation", lambda client: client.delegations.get("d")),
    "delegations.list": ("AgentDelegation", lambda client: client.delegations.list("t")),
    "approvals.list": ("ToolActionApproval", lambda client: client.approvals.list(**_W)),
    "approvals.get": ("ToolActionApproval", lambda client: client.approvals.get("a", **_W)),
    "error_codes": ("ErrorCatalog", lambda client: client.error_codes()),
    "knowledge_bases.list": ("KnowledgeBase", lambda client: client.knowledge_bases.list(**_W)),
    "knowledge_bases.get": ("KnowledgeBase", lambda client: client.knowledge_bases.get("k", **_W)),
    "knowledge_bases.delete": ("Done", lambda client: client.knowledge_bases.delete("k", **_W)),
    "knowledge_bases.search": (
        "KnowledgeBaseSearch",
        lambda client: client.knowledge_bases.search("k", search_query="q", **_W),
    ),
    "knowledge_bases.items.list": ("KnowledgeBaseItem", lambda client: client.knowledge_bases.items.list("k", **_W)),
    "knowledge_bases.items.regenerate": (
        "Regeneration",
        lambda client: client.knowledge_bases.items.regenerate("k", "i", **_W),
    ),
    "agents.get": ("Agent", lambda client: client.agents.get("a", **_W)),
    "chats.get": ("Chat", lambda client: client.chats.get("a", "c", **_W)),
    "chats.messages": ("ChatMessage", lambda client: client.chats.messages("a", "c", **_W)),
    "assets.list": ("Asset", lambda client: client.assets.list(**_W)),
    "assets.upload": ("Asset", lambda client: client.assets.upload(b"x", **_W)),
    "models.list": ("Model", lambda client: client.models.list()),
    "search_services.list": ("SearchService", lambda client: client.search_services.list()),
    "search_services.get": ("SearchService", lambda client: client.search_services.get("s")),
}
# Those whose records have records inside.
_NESTED_CALLS = [call for call, (name, _) in CALLS.items() if fuzz_inputs.parts_of(_RECORDS_BY_NAME[name])]
_NESTED_READERS = [
    number
    for number, (name, _) in enumerate(_READERS)
    if name not in _RECORDS_BY_NAME or fuzz_inputs.parts_of(_RECORDS_BY_NAME[name])
]
_ENVELOPES = ["request", "knowledge_base", "agent", "chat", "asset", "approvals", "tool_action_approvals", "models"]


@dataclass(frozen=True)
class AnswerInput:
    """A call, and the bytes of its answer."""

    call: str
    reader: int
    body: bytes


def answer_input(random: Random) -> AnswerInput:
    """An answer with the fields that the call's result has, of any type; in an envelope or in a list, or not."""
    nested = random.random() < 0.5
    call = random.choice(_NESTED_CALLS if nested else [*CALLS])
    reader = random.choice(_NESTED_READERS if nested else range(len(_READERS)))
    cls = _RECORDS_BY_NAME.get(CALLS[call][0] if random.random() < 0.7 else _READERS[reader][0])
    value: Any = fuzz_inputs.stream_event(random) if cls is None else fuzz_inputs.record_like(random, cls)
    if random.random() < 0.3:
        value = [value, *(fuzz_inputs.json_value(random) for _ in range(random.randrange(2)))]
    if random.random() < 0.3:
        value = {random.choice([*_ENVELOPES, call.split(".")[0], f"{call.split('.')[0]}s"]): value}
    if random.random() < 0.1:
        value = fuzz_inputs.json_value(random)
    return AnswerInput(call, reader, fuzz_inputs.json_bytes(random, value))


def check_answer(given: AnswerInput) -> None:
    """Any bytes are a result that can be used, or an `UnexpectedResponseError`; a reader alone raises `ValueError`."""
    name, read = _READERS[given.reader]
    try:
        record = read(given.body)
    except ValueError as error:
        assert type(error) is ValueError or error.__class__.__module__ in ("json.decoder", "builtins"), repr(error)  # noqa: PT017 - no test, but what tests call
    else:
        check_record(record)
        sent = _plainly(given.body)
        assert sent is None or canonical(record.to_dict()) == canonical(sent), f"{name} gives other JSON back"
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=given.body))
    try:
        result = CALLS[given.call][1](FetchHive(KEY, http_client=transport))
    except UnexpectedResponseError as error:
        assert len(str(error)) < 3000, len(str(error))  # noqa: PT017 - no test, but what tests call
        pickle.loads(pickle.dumps(error))
        return
    for one in [result] if isinstance(result, Record) else result:
        check_record(one)
    if not isinstance(result, Record):
        assert isinstance(repr(result), str)
        assert (
            "NaN" in canonical(result.to_list())
            or copy.deepcopy(result) == pickle.loads(pickle.dumps(result)) == result
        )
    sent = _plainly(given.body)
    if sent is not None and (isinstance(result, Record) or len(result)):
        come = canonical(result.to_dict() if isinstance(result, Record) else result.to_list())
        assert any(canonical(part) == come for part in _parts(sent)), f"{come} is not what came"


def _plainly(body: bytes) -> Any:
    """What Python's own parser reads; None where it is no JSON object or has what UTF-8 cannot write."""
    try:
        value = json.loads(body.decode())
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def _parts(value: Any, depth: int = 3) -> Iterator[Any]:
    yield value
    if isinstance(value, dict) and depth:
        for one in value.values():
            yield from _parts(one, depth - 1)


# --- arguments --------------------------------------------------------------------------------------------


class NotJSONError(Exception):
    """A value has no honest JSON form."""


ANY_TEXT = object()  # what stands for a text that is the writer's choice, as for a date


def meant(value: Any) -> Any:
    """The JSON value that a Python value means.

    Raises:
        NotJSONError: It means none, and has to be refused.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if issubclass(kind, Enum):
        return meant(value.value)
    if issubclass(kind, str):
        written = str.__str__(value)
        if re.search("[\ud800-\udfff]", written):
            raise NotJSONError
        return written
    if issubclass(kind, int):
        return int.__add__(value, 0)
    if issubclass(kind, float):
        if not math.isfinite(float.__add__(value, 0.0)):
            raise NotJSONError
        return float.__add__(value, 0.0)
    if kind in (Form, HostileForm):
        return _meant_by_model(value)
    if issubclass(kind, (dict, UserDict)):
        return _meant_by_dict(value)
    if kind in (list, tuple, deque):
        return [meant(one) for one in value]
    if kind in (set, frozenset):
        return {meant(one) for one in value}
    if kind is Point:
        return {"x": meant(value.x), "y": meant(value.y)}
    if kind in (datetime, date, UUID, complex, Decimal, Fraction) or issubclass(kind, PurePath):
        return ANY_TEXT
    raise NotJSONError


def _meant_by_dict(value: Any) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for key, one in value.items():
        name = meant(key)
        if not isinstance(name, str) or name in told:
            raise NotJSONError
        told[name] = meant(one)
    return told


def _meant_by_model(value: Any) -> Any:
    if isinstance(value, Form) and not _is_lossless(value.value):
        raise NotJSONError
    try:
        return json.loads(value.model_dump_json())
    except Exception as error:
        raise NotJSONError from error


def _is_lossless(value: Any) -> bool:
    """Whether pydantic, which writes models, would write this without loss."""
    kind = type(value)
    if issubclass(kind, float):
        return math.isfinite(float.__add__(value, 0.0))
    if kind is Form:
        return _is_lossless(value.value)
    if kind is Point:
        return _is_lossless(value.x) and _is_lossless(value.y)
    if kind in (list, tuple, deque):
        return all(map(_is_lossless, value))
    if issubclass(kind, dict):
        return all(map(_is_lossless, value.values()))
    return not isinstance(value, (Iterator, SecretStr, SecretBytes)) if kind is not fuzz_inputs.Faceless else False


def is_ordinary(value: Any, depth: int = 0) -> bool:
    """Whether a value is plain JSON already, so that to refuse it would be wrong."""
    kind = type(value)
    if kind is dict:
        return (
            depth < 100
            and all(type(key) is str and is_ordinary(key) for key in value)
            and all(is_ordinary(one, depth + 1) for one in value.values())
        )
    if kind is list:
        return depth < 100 and all(is_ordinary(one, depth + 1) for one in value)
    if kind is int:
        return abs(value) < 10**1000
    if kind is str:
        return not re.search("[\ud800-\udfff]", value)
    return value is None or kind is bool or (kind is float and math.isfinite(value))


def check_arguments(value: Any) -> None:
    """Inputs and metadata are refused by path before anything is sent, or sent as what they mean; never changed."""
    sent: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return httpx.Response(200, json={"response": "r"})

    client = FetchHive(KEY, http_client=httpx.MockTransport(answer))
    before = described(value)
    for name in ("inputs", "metadata"):
        sent.clear()
        try:
            client.invoke_prompt(deployment="d", **{name: value})
        except InvalidRequestError as error:
            assert not sent
            assert str(error).startswith(name), str(error)  # noqa: PT017 - no test, but what tests call
            assert not (type(value) is dict and name == "inputs" and is_ordinary(value)), f"refused: {error}"  # noqa: PT017 - no test, but what tests call
        else:
            body = json.loads(sent[0])
            if value is None:
                assert name not in body
                continue
            expected = meant(value)
            assert _is_same(body[name], expected), f"{name} was sent as {body[name]!r}, and means {expected!r}"
            assert name == "inputs" or not any(isinstance(one, (dict, list)) for one in body[name].values())
        assert described(value) == before, "the caller's value was changed"


def _is_same(sent: Any, expected: Any) -> bool:
    if expected is ANY_TEXT:
        return isinstance(sent, str)
    if isinstance(expected, dict):
        return (
            isinstance(sent, dict)
            and sent.keys() == expected.keys()
            and all(_is_same(sent[name], one) for name, one in expected.items())
        )
    if isinstance(expected, set):
        return isinstance(sent, list) and len(sent) == len(expected) and set(sent) == expected
    if isinstance(expected, list):
        return isinstance(sent, list) and len(sent) == len(expected) and all(map(_is_same, sent, expected))
    return type(sent) is type(expected) and sent == expected


def described(value: Any, outer: frozenset[int] = frozenset()) -> Any:
    """What a value is and holds, told without calling anything of its own."""
    kind = type(value)
    if id(value) in outer or len(outer) > 300:
        return "…"
    outer |= {id(value)}
    if kind is GeneratorType:
        return inspect.getgeneratorstate(value)
    if kind is type(iter([])):
        return value.__length_hint__()
    if kind is UserDict:
        value = value.data
    if issubclass(kind, dict) or kind is UserDict:
        return kind, [(id(key), described(one, outer)) for key, one in dict.items(value)]
    if kind in (list, tuple, deque):
        return kind, [described(one, outer) for one in value]
    if kind in (Point, Form):
        return kind, [described(one, outer) for one in vars(value).values()]
    return kind, id(value)


# --- addresses, ids and headers ---------------------------------------------------------------------------

_HEADER_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(rb"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?")
_TARGET = re.compile(rb"/[\x21\x22\x24-\x3e\x40-\x7e]*(?:\?[\x21\x22\x24-\x7e]*)?")


def check_request(given: RequestInput) -> None:
    """Any address, key, header, id or path is refused, or asks that origin, below that path, for what was written."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"id": "1", "request_id": "1"})

    try:
        client = FetchHive(
            given.api_key or KEY,
            given.base_url or "https://api.example.com/v1",
            default_headers=given.headers,
            http_client=httpx.MockTransport(answer),
        )
    except ConfigurationError:
        return
    client.requests.get("plain")
    base = _base_of(given.base_url or "https://api.example.com/v1", sent.pop())
    one, two = given.ids
    trigger: dict[str, Any] = {"callback_url": URL, "webhook_secret": given.secret}
    calls: list[tuple[Callable[[], Any], tuple[Any, ...] | None]] = [
        (lambda: client.requests.get(one), ("public", "requests", one)),
        (lambda: client.delegations.cancel(two), ("agent", "delegations", two, "cancel")),
        (
            lambda: client.knowledge_bases.items.get(one, two, workspace_id=two),
            ("public", "workspaces", two, "knowledge_bases", one, "items", two),
        ),
        (
            lambda: client.triggers.workflow(one, two, **trigger),
            ("workflow", "webhooks", one, "variants", two),
        ),
        (lambda: client.triggers.agent(one, message="m", via="query", **trigger), ("agent", "webhooks", one)),
        (lambda: client.request("GET", given.path, params=given.params), None),
    ]
    for call, segments in calls:
        try:
            call()
        except (InvalidRequestError, ConfigurationError):
            assert not sent
            continue
        _check_target(base, sent.pop(), segments, given.path)


def _base_of(base_url: str, request: httpx.Request) -> tuple[str, bytes, bytes]:
    """The scheme, the host and the path that all requests have to keep to."""
    scheme, rest = re.fullmatch(r"\s*(https?)://([^/\\?#]*)[^?#]*", base_url, re.IGNORECASE | re.DOTALL).groups()  # type: ignore[union-attr]
    assert request.url.scheme == scheme.lower()
    if rest.isascii():
        port = {"http": "80", "https": "443"}[scheme.lower()]
        host, colon, number = rest.strip().lower().partition("]") if "[" in rest else (rest.strip().lower(), "", "")
        whole = (host + colon + number).removesuffix(f":{port}").removesuffix(":")
        whole = re.sub(r":0+(\d)", r":\1", whole) if "[" not in whole else whole
        assert request.url.netloc.decode() in (whole, whole.removesuffix(f":{port}")), (request.url.netloc, whole)
    path = request.url.raw_path.removesuffix(b"/public/requests/plain")
    assert path != request.url.raw_path
    _check_sound(request)
    return request.url.scheme, request.url.netloc, path


def _check_sound(request: httpx.Request) -> None:
    """The request can be written to a socket, and nothing in it ends a line or begins another request."""
    assert _TARGET.fullmatch(request.url.raw_path), request.url.raw_path
    assert re.fullmatch(rb"[\x21-\x7e]+", request.url.netloc), request.url.netloc
    assert not re.search(rb"[@/?#\\%<>\"{}|^`]", request.url.netloc), request.url.netloc
    for name, value in request.headers.raw:
        assert _HEADER_NAME.fullmatch(name), name
        assert _HEADER_VALUE.fullmatch(value), value
    assert [name.lower() for name, _ in request.headers.raw].count(b"host") == 1
    assert request.headers["Host"].encode() == request.url.netloc


def _check_target(
    base: tuple[str, bytes, bytes], request: httpx.Request, segments: tuple[Any, ...] | None, path: Any
) -> None:
    _check_sound(request)
    assert (request.url.scheme, request.url.netloc) == base[:2], request.url
    target, _, query = request.url.raw_path.partition(b"?")
    assert target.startswith(base[2] + b"/"), target
    below = target[len(base[2]) + 1 :].decode().split("/")
    if segments is None:
        assert not {".", ".."} & set(re.split(r"[/\\]", unquote("/".join(below)))), target
        assert unquote("/".join(below)) == unquote(path[1:]), target
    else:
        assert [unquote(one) for one in below] == [str(one) for one in segments], target
        assert not {".", ".."} & set(below), target
    assert isinstance(parse_qsl(query.decode(), keep_blank_values=True, strict_parsing=bool(query)), list)


# --- error answers ----------------------------------------------------------------------------------------

_CLASSES = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    402: errors.PaymentRequiredError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
}


def check_error(given: ErrorInput) -> None:
    """Any error answer is the `APIStatusError` of its status: short, picklable, and without the key it echoes."""
    extensions = {} if given.reason is None else {"reason_phrase": given.reason}

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(given.status, headers=given.headers, content=given.body, extensions=extensions)

    client = FetchHive(CANARY, max_retries=0, http_client=httpx.MockTransport(answer))
    for call in (
        lambda: client.invoke_prompt(deployment="d"),
        lambda: client.invoke_prompt_stream(deployment="d").final(),
    ):
        try:
            call()
        except APIStatusError as error:
            _check_status_error(given, error)
        else:
            raise AssertionError("no error was raised")


def _check_status_error(given: ErrorInput, error: APIStatusError) -> None:
    assert isinstance(error, _CLASSES.get(given.status, APIStatusError))
    assert isinstance(error, errors.InternalServerError) == (given.status >= 500)
    assert error.status_code == given.status == error.response.status_code
    assert len(str(error)) < 1500, f"{len(str(error))} characters"
    assert error.retry_after is None or 0 <= error.retry_after < math.inf
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied)) == (type(error), str(error))
    shown = [
        str(error),
        repr(error),
        str(error.error_code),
        str(error.request_id),
        repr(vars(copied)),
        *_texts(error.body),
    ]
    shown.append(pickle.dumps(error, 0).decode("latin-1"))
    for secret in {CANARY, quote(CANARY, safe=""), quote_plus(CANARY)}:
        assert not any(secret in text for text in shown), "the key is shown"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


def check_retry_after(value: str) -> None:
    """Any `Retry-After` is finite seconds from 0, or nothing."""
    headers = Message()
    for mapping in (
        {"Retry-After": value},
        httpx.Headers([(b"Retry-After", value.encode("utf-8", "replace"))]),
        headers,
    ):
        seconds = parse_retry_after(mapping)  # type: ignore[arg-type]
        assert seconds is None or (type(seconds) is float and 0 <= seconds < math.inf), seconds
    if re.fullmatch("[0-9]{1,9}", value):
        assert parse_retry_after({"Retry-After": value}) == float(value)


# --- the sandbox and the command line ---------------------------------------------------------------------


@dataclass(frozen=True)
class SandboxInput:
    """Requests to one sandbox: method, path, body."""

    requests: list[tuple[str, str, bytes]]


_SANDBOX_PATHS = [
    *("/prompt/invoke", "/workflow/invoke", "/agent/invoke", "/hive-agent/invoke", "/workflow/webhooks/{}/variants/{}"),
    *("/agent/webhooks/{}", "/public/requests/{}", "/workflow_runs/{}", "/agent/delegations/{}/cancel"),
    *("/public/workspaces/{}/knowledge_bases", "/public/workspaces/{}/agents", "/public/workspaces/{}/assets"),
    *(
        "/public/workspaces/{}/tool_action_approvals?limit={}&cursor={}",
        "/error_codes?locale={}",
        "/{}",
        "/public/models",
    ),
    *("/public/workspaces/{}/agents/{}/chats", "/public/search_services/{}/countries"),
]
_ASKED = {
    **dict.fromkeys(("deployment", "variant", "agent", "hive_agent", "objective", "message", "name"), "x"),
    "async": {"enabled": True, "callback_url": URL},
    "knowledge_base": {"name": "k"},
    "chat": {"name": "c"},
}


def sandbox_input(random: Random) -> SandboxInput:
    """Requests whose bodies are nearly what is asked for."""

    def body() -> bytes:
        asked: dict[str, Any] = {name: value for name, value in _ASKED.items() if random.random() < 0.7}
        for _ in range(random.randrange(3)):
            odd = random.choice(
                [*_ASKED, "inputs", "metadata", "messages", "streaming", "tool_approval", "attachments"]
            )
            asked[odd] = fuzz_inputs.json_value(random, 2)
        return fuzz_inputs.json_bytes(random, asked if random.random() < 0.9 else fuzz_inputs.json_value(random))

    def path() -> str:
        pieces = random.choice(_SANDBOX_PATHS).split("{}")
        written = [quote(fuzz_inputs.identifier_text(random).encode("utf-8", "replace")) for _ in pieces[1:]]
        return pieces[0] + "".join(one + piece for one, piece in zip(written, pieces[1:], strict=True))

    return SandboxInput([(random.choice(["POST", "POST", "GET", "PATCH"]), path(), body()) for _ in range(10)])


def check_sandbox(given: SandboxInput) -> None:
    """Any request to the sandbox is answered, and never with a 5xx."""
    from fetch_hive_sdk.sandbox import Sandbox

    engine = Sandbox(api_key=KEY).engine
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    for method, path, body in given.requests:
        reply = engine.handle(method, "/v1" + path, headers, body)
        assert 200 <= reply.status < 500, f"{method} {path} was answered {reply.status}: {reply.body!r}"
        if reply.unfinished is not None:
            engine.release(reply.unfinished)
        assert (
            isinstance(reply.body, bytes) or b"".join(one for one in reply.body if isinstance(one, bytes)) is not None
        )
    engine.settle()


@dataclass(frozen=True)
class CommandInput:
    """What `fetch-hive verify` is given."""

    body: bytes
    signature: str


def command_input(random: Random) -> CommandInput:
    """A body and a signature, of which some fit together."""
    callback = fuzz_inputs.callback_input(random)
    body = callback.raw or b""
    right = hmac_digest(b"whsec_test", body, "sha256").hex()
    return CommandInput(body, right if random.random() < 0.5 else fuzz_inputs.text(random).replace("\0", ""))


def check_command(given: CommandInput) -> None:
    """`fetch-hive verify` says valid or not valid by its exit code, whatever it is given."""
    from typer.testing import CliRunner

    from fetch_hive_sdk.cli.app import app

    env = {"FETCH_HIVE_WEBHOOK_SECRET": "whsec_test"}
    arguments = ["verify", "--body", "-", f"--signature={given.signature}", "--json"]
    ended = CliRunner().invoke(app, arguments, input=given.body, env=env, prog_name="fetch-hive")
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    pairs = [("X-Fetch-Hive-Signature", given.signature)]
    mac = _mac_of(pairs[0][1].encode("utf-8", "surrogatepass").strip())
    genuine = mac is not None and mac == hmac_digest(b"whsec_test", given.body, "sha256")
    assert ended.exit_code == (0 if genuine else 1), ended.output
    assert json.loads(ended.stdout)["valid"] is genuine


PROPERTIES = [
    Property("sse", "cuts change nothing, as WHATWG reads it", fuzz_inputs.stream_input, check_decoder),
    Property("reader", "cuts change no event, error or sum", fuzz_inputs.stream_input, check_reader),
    Property("stream", "the same through both clients", fuzz_inputs.sent_input, check_stream),
    Property("callback", "accepted if and only if signed", fuzz_inputs.callback_input, check_callback),
    Property("answer", "a usable result or our error", answer_input, check_answer),
    Property("argument", "refused by path, or sent as meant", fuzz_inputs.argument, check_arguments),
    Property("request", "refused, or sent where it belongs", fuzz_inputs.request_input, check_request),
    Property("error", "the status's error, short, keyless", fuzz_inputs.error_input, check_error),
    Property("retry-after", "finite seconds or nothing", fuzz_inputs.retry_after, check_retry_after),
    Property("sandbox", "answered, and never with a 5xx", sandbox_input, check_sandbox),
    Property("command", "valid or not valid, and no traceback", command_input, check_command),
]
BY_NAME = {one.name: one for one in PROPERTIES}
