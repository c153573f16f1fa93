"""What the fuzzing feeds: texts, JSON, streams, requests and objects that nobody would send on purpose.

Every maker takes its choices from a `random.Random` and from nothing else. So a seed repeats a case, and hypothesis or
a coverage-guided fuzzer can make the choices in its place.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import math
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from functools import cache
from itertools import accumulate, pairwise
from pathlib import PurePosixPath
from random import Random
from types import CodeType
from typing import Any, get_args, get_origin
from urllib.parse import quote, quote_plus
from uuid import UUID

from pydantic import AliasChoices, BaseModel, SecretStr, field_serializer

from fetch_hive_sdk import resources
from fetch_hive_sdk.callbacks import CallbackEvent
from fetch_hive_sdk.events import Event, UsageEvent
from fetch_hive_sdk.results import AgentReply, Record

for _module in resources.__all__:
    getattr(resources, _module)  # loads it, and its records with it


def records(cls: type[Record] = Record) -> Iterator[type[Record]]:
    """Every class of a JSON object that the SDK has."""
    for derived in cls.__subclasses__():
        yield derived
        yield from records(derived)


RECORDS = sorted({*records()}, key=lambda cls: cls.__name__)
assert {CallbackEvent, Event} <= set(RECORDS)

# --- text and JSON ----------------------------------------------------------------------------------------

REQUEST_ID = "req_0190aaaabbbbccccddddeeeeffff0001"
FIELD_NAMES = sorted(
    {name for cls in RECORDS for name in cls.model_fields}
    | {"", "_json", "_http_response", "__class__", "code", "errors", "input_tokens", "output_tokens", "kept", "\ud800"}
    | {"limit", "current", "model_extra", "copy", "get", "items", "knowledge_base", "agent", "chat", "asset", "request"}
    | {"approvals", "approval", "tool_action_approval", "delegation", "delegations", "services", "next_cursor"}
)
WORDS = [
    *("", " ", "completed", "failed", "running", "queued", "pending", "awaiting_approval", "usage", "error", "[DONE]"),
    *("response", "tool", "artifact", "tool_approval", "summary", "reasoning", "agent.completed", "workflow.failed"),
    *("agent.delegation.completed", "hive-agent.canceled", "x.y.z", REQUEST_ID, "0", "1", "true", "null", "{}", "[]"),
    *("\0", "\r\n", "\u2028", "\u00e9\u00e9", "\ud83d\ude00", "\ud800", "\udfff\ud800", "\ufeff", "%s{0}", "a" * 300),
]
NUMBERS: list[Any] = [
    *(0, 1, -1, 200, 2**31, 2**53 + 1, 2**64, -(2**63), 10**40, 10**400, 0.0, -0.0, 1.5, 1e-320, 1e308, 30.0),
    *(math.nan, math.inf, -math.inf),
]


def text(random: Random) -> str:
    """Any text: a word with a meaning, control characters, half surrogate pairs."""
    if random.random() < 0.7:
        return random.choice(WORDS)
    few = random.choice(
        ["ab:/ \t", "\0\x01\x7f\x85\xa0\u0130\u1e9e", "\ud800\udc00\udfff\U0001f600\u200d", "%2e./\\?#@"]
    )
    return "".join(random.choice(few) for _ in range(random.randrange(12)))


def json_value(random: Random, depth: int = 0) -> Any:
    """Any JSON value, with the names that the SDK knows; NaN and half surrogate pairs as Python writes them."""
    kind = random.randrange(10 if depth < 4 else 6)
    if kind < 2:
        return text(random)
    if kind < 4:
        return random.choice(NUMBERS)
    if kind < 6:
        return random.choice([None, True, False])
    if kind == 6:
        return [json_value(random, depth + 1) for _ in range(random.randrange(4))]
    return json_object(random, depth)


def json_object(random: Random, depth: int = 0) -> dict[str, Any]:
    """Any JSON object."""
    return {random.choice(FIELD_NAMES): json_value(random, depth + 1) for _ in range(random.randrange(7))}


EMPTY: list[Any] = ["", {}, [], [[]], [{}], [None], {"": []}]


def record_like(random: Random, cls: type[Record], depth: int = 0) -> dict[str, Any]:
    """A JSON object with some of a record's own fields: records where they belong, and values of any type."""
    names = names_read(cls) or FIELD_NAMES
    chosen = random.sample(names, random.randint(0, min(6, len(names))))
    if (parts := [*parts_of(cls)]) and random.random() < 0.5:
        chosen.append(random.choice(parts))
    some = {name: _field(random, cls, name, depth) for name in chosen}
    return some if random.random() < 0.7 else {**json_object(random, 3), **some}


def _field(random: Random, cls: type[Record], name: str, depth: int) -> Any:
    part = parts_of(cls).get(name)
    if part is not None and depth < 3 and random.random() < 0.6:
        record, listed = part
        # In a list or not, as it should be; else the other way round.
        if listed != (random.random() < 0.1):
            return [record_like(random, record, depth + 1) for _ in range(random.randrange(4))]
        return record_like(random, record, depth + 1)
    kind = random.random()
    if kind < 0.2:  # what code that takes the first, or counts on one, does not expect
        return random.choice(EMPTY)
    if kind < 0.35:  # an object that names what its neighbours name, as nested counts do
        return {one: json_value(random, 3) for one in random.choices(names_read(cls) or FIELD_NAMES, k=3)}
    return json_value(random, 2)


@cache
def parts_of(cls: type[Record]) -> dict[str, tuple[type[Record], bool]]:
    """The fields of a record that are records themselves, and whether they are many."""
    parts: dict[str, tuple[type[Record], bool]] = {}
    for name, told in cls.model_fields.items():
        inside = [*_inside(told.annotation)]
        for record in inside:
            if isinstance(record, type) and issubclass(record, Record):
                parts[name] = record, not {tuple, list}.isdisjoint(inside)
    return parts


def _inside(annotation: Any) -> Iterator[Any]:
    """A type, and all that it is made of: of `tuple[Usage, ...] | None` also `tuple` and `Usage`."""
    yield get_origin(annotation) or annotation
    for one in get_args(annotation):
        yield from _inside(one)


@cache
def names_read(cls: type[Record]) -> list[str]:
    """The names that a record reads: its fields, their aliases, and those that stand in `_normalized`."""
    names = {*cls.model_fields}
    for told in cls.model_fields.values():
        alias = told.validation_alias
        names |= {
            one for one in (alias.choices if isinstance(alias, AliasChoices) else [alias]) if isinstance(one, str)
        }
    normalized = getattr(cls, "_normalized", None)
    return sorted(names if normalized is None else {*names, *_words_in(normalized.__code__)})


def _words_in(constant: Any) -> Iterator[str]:
    if isinstance(constant, str):
        yield from [constant] if constant.isidentifier() else []
    elif isinstance(constant, CodeType):
        yield from _words_in(constant.co_consts)
    elif isinstance(constant, (tuple, frozenset)):
        for one in constant:  # pyright: ignore[reportUnknownVariableType]
            yield from _words_in(one)


def json_bytes(random: Random, value: Any) -> bytes:
    """A JSON text as some writer writes it, or what is left of it."""
    way = random.randrange(12)
    if way == 0:
        return json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")
    if way == 1:
        return b"\xef\xbb\xbf" + json.dumps(value).encode()
    if way == 2:
        return json.dumps(value).encode(random.choice(["utf-16", "utf-16-le", "utf-32"]))
    if way == 3:
        return mutated(random, json.dumps(value).encode())
    if way == 4:
        depth = random.choice([5, 150, 199, 200, 201, 260, 1500, 60_000])
        opened, closed = random.choice([(b"[", b"]"), (b'{"data":', b"}"), (b'{"output":[', b"]}")])
        return opened * depth + json.dumps(value).encode() + closed * depth
    if way == 5:
        number = random.choice([b"1" * 4300, b"-" + b"9" * 4301, b"1" * 5000 + b".5", b"1e999", b"-0", b"NaN", b"01"])
        return b'{"%s": %s}' % (random.choice(FIELD_NAMES).encode("utf-8", "replace"), number)
    if way == 6:  # a key twice
        return json.dumps(value).encode()[:-1] + b',"status":1,"status":"completed"}'
    return json.dumps(value).encode()


def mutated(random: Random, data: bytes) -> bytes:
    """The same bytes with some gone, changed or added."""
    if not data:
        return data
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(data) + 1)
        way = random.randrange(4)
        if way == 0:
            data = data[:at]
        elif way == 1:
            data = data[:at] + random.choice(PIECES) + data[at:]
        elif way == 2:
            data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        else:
            data = data[:at] + data[at : at + 9] + data[at:]
    return data


# --- streams ----------------------------------------------------------------------------------------------

PIECES = [
    *(b"data:", b"data: ", b"data", b"Data: x", b"event: e", b"id: 1", b"retry: 5", b":", b": alive", b"foo: bar"),
    *(b"\n", b"\n", b"\r", b"\r\n", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r", b"\n\r\n", b" ", b"\t", b"\0"),
    *(b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xff\xfe", b"\xc3", b"\xc3\xa9", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"x"),
    *(b"[DONE]", b"data: [DONE]", b"{}", b"null", b'"', b"{", b"}", b"\x85", b"\x1c", b"\xe2\x80\xa8", b"y" * 40),
]
ENDS = [b"\n", b"\r", b"\r\n"]


@dataclass(frozen=True)
class StreamInput:
    """The bytes of a stream, where they are cut, and the limit of the decoder."""

    stream: bytes
    cuts: tuple[int, ...]
    limit: int

    @property
    def chunks(self) -> list[bytes]:
        edges = [0, *self.cuts, len(self.stream)]
        return [self.stream[start:end] for start, end in pairwise(edges)]


def stream_input(random: Random) -> StreamInput:
    """A stream that is sound, or was once, cut anywhere."""
    stream = random.choice([_events, _events, _grammar, _grammar, _noise])(random)
    if random.random() < 0.2:
        stream = mutated(random, stream)
    if len(stream) < 200 and random.random() < 0.3:
        cuts = list(range(len(stream)))
    else:
        cuts = sorted(random.randint(0, len(stream)) for _ in range(random.choice([1, 1, 2, 3, 8])))
        if b"\n" in stream and random.random() < 0.5:  # at a line's end, as nearly all are
            end = stream.index(b"\n", random.randrange(stream.rindex(b"\n") + 1))
            cuts = sorted([*cuts, end, end + 1])
    limit = random.choice([1 << 20, 1 << 20, 64, 40, random.randint(1, 100)])
    return StreamInput(stream, tuple(cuts), limit)


def _noise(random: Random) -> bytes:
    return bytes(random.randrange(256) for _ in range(random.randrange(60)))


def _grammar(random: Random) -> bytes:
    return b"".join(random.choice(PIECES) for _ in range(random.randrange(30)))


def _events(random: Random) -> bytes:
    written: list[bytes] = [random.choice([b"", b"", b"\xef\xbb\xbf"])]
    same_end = random.choice([*ENDS, None])
    for _ in range(random.randrange(6)):
        end = same_end or random.choice(ENDS)
        if random.random() < 0.2:
            written += [random.choice([b": alive", b":", b"event: message", b"id: 7"]), end]
        data = b"[DONE]" if random.random() < 0.1 else json_bytes(random, stream_event(random))
        written += [b"data: ", data, end, end]
    return b"".join(written)


def stream_event(random: Random) -> dict[str, Any]:
    """An event of a known type with some of its fields, sound or odd."""
    if random.random() < 0.1:
        return json_object(random)
    kinds = [cls for cls in RECORDS if issubclass(cls, Event) and cls is not Event]
    cls = random.choice([*kinds, *filter(parts_of, kinds)])
    told: dict[str, Any] = {"type": cls.model_fields["type"].default, "request_id": REQUEST_ID}
    if "response" in cls.model_fields:
        told["response"] = text(random)
    if cls is UsageEvent and random.random() < 0.3:  # what it says is added to what the others have said
        told = {**told, **record_like(random, AgentReply)}
    return told if random.random() < 0.5 else {**told, **record_like(random, cls)}


@dataclass(frozen=True)
class SentInput(StreamInput):
    """A stream, and how a server sends it.

    Attributes:
        coding: The body's `Content-Encoding`, or "".
        framing: What tells where the body ends: `chunked`, `length`, or `close`, which is the end of the connection.
        parts: The body as it is sent, framing and data in turns, framing first.
        bundled: Where it is cut into the bundles that arrive one after the other.
        broken: Whether the connection breaks before the body is complete.
    """

    coding: str
    framing: str
    parts: tuple[bytes, ...]
    bundled: tuple[int, ...]
    broken: bool

    @property
    def closes(self) -> bool:
        return self.broken or self.framing == "close"

    @property
    def head(self) -> bytes:
        length = sum(map(len, self.parts)) + self.broken
        told = {"chunked": "Transfer-Encoding: chunked", "length": f"Content-Length: {length}"}
        lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", told.get(self.framing, "Connection: close")]
        lines += [f"Content-Encoding: {self.coding}"] if self.coding else []
        return "\r\n".join([*lines, "", ""]).encode()

    @property
    def bundles(self) -> list[tuple[bytes, bytes]]:
        """What is sent at once, each with the data that is in it."""
        body = b"".join(self.parts)
        is_data = b"".join((b"\0", b"\1")[number % 2] * len(part) for number, part in enumerate(self.parts))
        data, taken, told = b"".join(self.parts[1::2]), 0, list[tuple[bytes, bytes]]()
        for start, end in pairwise([0, *self.bundled, len(body)]):
            count = is_data.count(1, start, end)
            told.append((body[start:end], data[taken : taken + count]))
            taken += count
        return told


_LARGEST_BUNDLE = 16 * 1024  # one read takes it whole


def sent_input(random: Random) -> SentInput:
    """A stream on its way: its chunks are any, and what arrives together is any number of them, or a part of one."""
    given = stream_input(random) if random.random() < 0.6 else _long_stream(random)
    coding = "gzip" if random.random() < 0.1 else ""
    framing = random.choice(["chunked"] * 8 + ["length", "close"])
    broken = framing != "close" and random.random() < 0.1
    chunks = [one for one in given.chunks if one]
    if coding:
        packed = gzip.compress(given.stream, mtime=0)
        chunks = [packed[at : at + 50] for at in range(0, len(packed), 50)]
    parts = _chunked(random, chunks, broken=broken) if framing == "chunked" else [b"", b"".join(chunks)]
    edges = _bundled(random, parts)
    return SentInput(given.stream, given.cuts, given.limit, coding, framing, tuple(parts), edges, broken)


def _chunked(random: Random, chunks: list[bytes], *, broken: bool) -> list[bytes]:
    styles = [b"%x\r\n", b"%X\r\n", b"%04x\r\n", b"%x;a=b\r\n"] if random.random() < 0.3 else [b"%x\r\n"]
    parts: list[bytes] = []
    for chunk in chunks:
        parts += [(b"\r\n" if parts else b"") + random.choice(styles) % len(chunk), chunk]
    # A size that is too long, one that is none, and no end at all.
    last = [b"%030x\r\nlost" % 4, b"x\r\n", b"", b"5"] if broken else [b"0\r\n\r\n"]
    return [*parts, (b"\r\n" if parts else b"") + random.choice(last)]


def _bundled(random: Random, parts: list[bytes]) -> tuple[int, ...]:
    size = sum(map(len, parts))
    edges = {*range(_LARGEST_BUNDLE, size, _LARGEST_BUNDLE)}
    edges |= {random.randrange(size) for _ in range(random.choice([0, 0, 0, 1, 2, 6, 30])) if size}
    if random.random() < 0.3:  # in or beside what frames a chunk
        at = random.randrange(0, len(parts), 2)
        before = sum(map(len, parts[:at]))
        edges |= {before + random.randint(0, len(parts[at])) for _ in range(2)}
    return tuple(sorted(edges - {0, size}))


def _long_stream(random: Random) -> StreamInput:
    """Events of very different sizes, cut into many chunks: one for each, for each line, or for a few bytes."""
    ends = random.choice([*ENDS, b"\n"])
    events: list[bytes] = []
    for number in range(random.choice([10, 20, 50])):
        size = random.choice([0, 0, 0, 7, 100]) if random.random() < 0.98 else 20_000
        events.append(b'data: {"type":"response","response":"%d%s"}' % (number, b"x" * size) + ends * 2)
    stream = b"".join(events)
    way = random.randrange(4)
    if way == 0:
        step = random.choice([1, 2, 7, 300])
        cuts = [*range(step, min(len(stream), 2000 * step), step)]
    else:
        cuts = [*accumulate(map(len, events))][:-1]
    if way == 1:
        cuts = sorted({*cuts, *(at - len(ends) for at in cuts)})
    elif way == 2:
        cuts = random.sample(cuts, len(cuts) * 3 // 4)
    return StreamInput(stream, tuple(sorted(cuts)), random.choice([1 << 20, 1 << 20, 1 << 20, 500]))


# --- callbacks --------------------------------------------------------------------------------------------

SECRETS: list[tuple[Any, ...]] = [
    ("whsec_one",),
    ("whsec_new", "whsec_old"),
    (b"\x00\xff\x80", "x"),
    ("schl\u00fcssel \u2028 lang", SecretStr("whsec_three"), b"k" * 200),
]
SIGNATURE_NAMES = [
    *("X-Fetch-Hive-Signature", "x-fetch-hive-signature", "X-FETCH-HIVE-SIGNATURE", "HTTP_X_FETCH_HIVE_SIGNATURE"),
    *("x_fetch_hive_signature", "Http-X-Fetch-Hive-Signature"),
]
OTHER_NAMES = ["X-Fetch-Hive-Signatur", "X-Fetch-Hive-Signature ", "Content-Type", "", "X-Fetch-Hive-Signatur\u00c9"]
_EVENT_TYPES = [
    b"workflow.completed",
    b"agent.failed",
    b"agent.delegation.completed",
    b"hive_agent.cancelled",
    b"x",
    b"",
]
_BODY_PIECES = [
    *(b'"request_id":"req_1"', b'"data":{"output":"a","response":null}', b'"data":[]', b'"data":{"id":5,"target":""}'),
    *(b'"run_status":"completed"', b'"output":1e400', b'"error":{"a":[1,2]}', b'"error":"\\ud800"', b'"data":NaN'),
]


@dataclass(frozen=True)
class CallbackInput:
    """A request as a handler gets it, and what was put into it.

    Attributes:
        secrets: Which of `SECRETS` the receiver has.
        body: What is passed as body.
        headers: What is passed as headers.
        raw: The body's bytes; None where it has none.
        pairs: The headers as names and values, as far as they are readable; None where they are not.
    """

    secrets: int
    body: Any
    headers: Any
    raw: bytes | None
    pairs: list[tuple[str, Any]] | None


def secret_bytes(secret: Any) -> bytes:
    """A secret as it keys the HMAC."""
    plain = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    return plain if isinstance(plain, bytes) else plain.encode()


_KEYS = [tuple(secret_bytes(secret) for secret in several) for several in SECRETS]


def callback_input(random: Random) -> CallbackInput:
    """A callback: signed, badly signed, forged or garbled."""
    secrets = random.randrange(len(SECRETS))
    raw = _callback_body(random)
    signature = _signature(random, raw, _KEYS[secrets])
    if random.random() < 0.15:  # changed after it was signed
        raw = mutated(random, raw)
    body, known = _as_body(random, raw)
    pairs, headers = _as_headers(random, signature)
    return CallbackInput(secrets, body, headers, known, pairs)


def _callback_body(random: Random) -> bytes:
    kind = random.random()
    if kind < 0.7:
        pieces = [random.choice(_BODY_PIECES) for _ in range(random.randrange(4))]
        return b'{"event_type":"%s"%s}' % (random.choice(_EVENT_TYPES), b"".join(b"," + piece for piece in pieces))
    if kind < 0.8:
        return json_bytes(random, record_like(random, CallbackEvent))
    if kind < 0.9:
        return b"".join(random.choice(PIECES) for _ in range(random.randrange(5)))
    return random.choice(
        [b"", b"null", b"[]", b"\xff\xfe", b'"\\ud800"', b"1" * 5000, b"[" * 1000, b'{"event_type":5}']
    )


def _signature(random: Random, raw: bytes, keys: tuple[bytes, ...]) -> Any:
    kind = random.random()
    if kind < 0.08:
        return random.choice(
            [None, "", 5, b"", text(random), "a" * 64, "A" * 43, "=" * 44, "sha256=", [], {}, b"\xff" * 64]
        )
    key = random.choice(keys) if kind < 0.8 else random.choice([b"", b"whsec_two", b"whsec_one\n", keys[0] + b"\0"])
    digest = hmac.digest(key, raw, "sha256") if kind < 0.95 else hashlib.sha256(key + raw).digest()
    signature = _written(random, digest)
    if random.random() < 0.35:
        signature = _bent(random, signature)
    if random.random() < 0.3:
        signature = signature.encode("utf-8", "surrogatepass")
    return signature


def _written(random: Random, digest: bytes) -> str:
    way = random.randrange(8)
    if way == 0:
        return digest.hex().upper()
    if way == 1:
        return base64.b64encode(digest).decode()
    if way == 2:
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
    if way == 3:
        return "SHA256=" + digest.hex()
    if way == 4:
        return f" sha256={digest.hex()}\t"
    return digest.hex()


def _bent(random: Random, signature: str) -> str:
    at = random.randrange(len(signature))
    way = random.randrange(6)
    if way == 0:
        return signature[:at] + random.choice("0fF=/\0 \u00e9\ud800\u0661") + signature[at + 1 :]
    if way == 1:
        return signature[:at] + signature[at + 1 :]
    if way == 2:
        return signature + random.choice(["=", "==", " ", "\n", "0", ",", "\0"])
    if way == 3:
        return random.choice(["sha1=", "sha256=sha256=", "v1=", " ", "sha256= "]) + signature
    if way == 4:
        return signature.swapcase()
    return signature[::-1]


def _as_body(random: Random, raw: bytes) -> tuple[Any, bytes | None]:
    """What a handler passes as body, and the bytes that it stands for."""
    kind = random.random()
    if kind < 0.8:
        return raw, raw
    way = random.randrange(9)
    if way == 0:
        return bytearray(raw), raw
    if way == 1:
        return memoryview(raw), raw
    if way == 2:
        try:
            return raw.decode(), raw
        except UnicodeDecodeError:
            return raw.decode("utf-8", "surrogateescape"), None
    if way == 3:
        return memoryview(raw)[::-1], raw[::-1]
    if way == 4:
        released = memoryview(raw)
        released.release()
        return released, None
    if way == 5:
        return BytesOf(raw), raw
    if way == 6:
        return HostileText("x"), b"x"
    return random.choice([None, 5, {}, UserDict(a=1), [raw], object(), HOSTILE, HOSTILE_MAPPING, bytes, "\ud800"]), None


def _as_headers(random: Random, value: Any) -> tuple[list[tuple[str, Any]] | None, Any]:
    """The headers of a request in some framework's form, beside their names and values."""
    name = random.choice(SIGNATURE_NAMES)
    kind = random.random()
    if kind < 0.5:
        return [(name, value)], {name: value}
    if kind < 0.56:
        pairs = [("Content-Type", "application/json"), (name, value), ("X-A", "b")]
        return pairs, iter(pairs)
    if kind < 0.62:
        return [(name, value)], [[name.encode(), value]]
    if kind < 0.68:
        return [(name, value)], {"Content-Type": "x", name: [value]}
    if kind < 0.74:
        second = random.choice([value, "x", "", None, [value]])
        pairs = [(name, value), (random.choice(SIGNATURE_NAMES), second)]
        return pairs, pairs
    if kind < 0.8:
        other = random.choice(OTHER_NAMES)
        return [(other, value)], {other: value, "wsgi.input": object(), 5: 6, None: None}
    if kind < 0.86:
        return [(name, value)], UserDict({name: value})
    odd: list[Any] = [
        *(None, 5, "headers", b"headers", object(), [], {}, [5], [()], [(name,)], [(name, value, 1)], [None], HOSTILE),
        *({HOSTILE: value}, {name: HOSTILE}, {name: [HOSTILE]}, HOSTILE_MAPPING, HostilePairs((name, value)), bytes),
        *({name: ShiftingText("a" * 64)}, {name: HostileBytes(b"a" * 64)}, {HostileText(name): value}, type),
        *([(HostileText(name), value)], {name: HostileText("a" * 64)}, {name: {"a": value}}, {name: (value, HOSTILE)}),
    ]
    return None, random.choice(odd)


# --- objects whose every method fails ---------------------------------------------------------------------


class HostileError(Exception):
    """What hostile objects raise."""


def _hostile(*_: Any, **__: Any) -> Any:
    raise HostileError("never")


_METHODS = (
    "__str__",
    "__repr__",
    "__iter__",
    "__len__",
    "__getattr__",
    "__getitem__",
    "__bool__",
    "__eq__",
    "__format__",
)


class Hostile:
    """An object whose methods raise."""

    __hash__ = object.__hash__


class HostileMapping(Mapping[str, Any]):
    """A mapping whose methods raise."""

    __hash__ = object.__hash__
    __getitem__ = __iter__ = __len__ = _hostile
    items = keys = values = _hostile


class HostileText(str):
    """A text whose methods raise."""

    __slots__ = ()
    __hash__ = str.__hash__
    encode = isascii = lower = strip = removeprefix = replace = split = partition = _hostile


class HostileBytes(bytes):
    """Bytes whose methods raise."""

    __slots__ = ()
    __hash__ = bytes.__hash__
    decode = strip = lower = rstrip = translate = _hostile


class HostileInt(int):
    """A number whose methods raise."""

    __hash__ = int.__hash__
    __int__ = __index__ = bit_length = _hostile


class HostileFloat(float):
    """A number whose methods raise."""

    __slots__ = ()
    __hash__ = float.__hash__
    __float__ = is_integer = _hostile


class BytesOf(bytes):
    """Bytes under another name."""

    __slots__ = ()


class ShiftingText(str):
    """A text that writes itself as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return HostileText("other")


class HostilePairs:
    """Headers that break off after one pair."""

    def __init__(self, pair: tuple[str, Any]) -> None:
        self._pair = pair

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        yield self._pair
        raise HostileError("never")


class Faceless:
    """An object that does not say what it is."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise HostileError("never")


for _name in _METHODS:
    setattr(Hostile, _name, _hostile)
    setattr(HostileMapping, _name, _hostile)
for _name in ("__str__", "__repr__", "__format__", "__iter__", "__len__", "__bool__"):
    setattr(HostileText, _name, _hostile)
    setattr(HostileInt, _name, _hostile)
    setattr(HostileFloat, _name, _hostile)
HOSTILE, HOSTILE_MAPPING = Hostile(), HostileMapping()


# --- any Python value -------------------------------------------------------------------------------------


class Colour(Enum):
    """An enum of anything."""

    RED = "red"
    DEEP = ("a", 1)
    ODD = object()


class Level(IntEnum):
    """An enum that is a number."""

    LOW = 1


class Word(str, Enum):
    """An enum that is a text."""

    YES = "yes"


class Text(str):
    """A text under another name."""

    __slots__ = ()


class Count(int):
    """A number under another name."""


class Table(dict[Any, Any]):
    """A dict under another name."""


@dataclass
class Point:
    """A dataclass of anything."""

    x: Any
    y: Any = None


class Hidden:
    """A dataclass whose attribute cannot be read."""

    @property
    def x(self) -> Any:
        raise HostileError("never")


HiddenPoint = dataclass(
    type("HiddenPoint", (Hidden,), {"__annotations__": {"x": Any}, "__init__": lambda _: None}), init=False
)  # type: ignore[call-overload]


class Form(BaseModel):
    """A model of anything."""

    model_config = {"arbitrary_types_allowed": True}

    value: Any = None


class HostileForm(BaseModel):
    """A model that cannot be written."""

    value: int = 0

    @field_serializer("value")
    def _write(self, _: int) -> int:
        raise HostileError("never")


_LEAVES: list[Callable[[Random], Any]] = [
    text,
    text,
    lambda random: random.choice(NUMBERS),
    lambda random: random.choice([None, True, False, Colour.RED, Colour.DEEP, Colour.ODD, Level.LOW, Word.YES]),
    lambda random: random.choice(
        [b"x", bytearray(b"x"), memoryview(b"x"), 1j, object(), type, len, ..., NotImplemented]
    ),
    lambda random: random.choice([10**4299, 10**4300, -(10**5000), Decimal("1.10"), Decimal("NaN"), Fraction(1, 3)]),
    lambda _: datetime(2026, 6, 1, tzinfo=timezone.utc),
    lambda random: random.choice([date(2026, 6, 1), UUID(int=5), PurePosixPath("/a"), SecretStr("s"), range(3)]),
    lambda random: random.choice(
        [Text("t"), Text("\ud800"), Count(7), HostileText("h"), HostileInt(5), HostileFloat(1.5)]
    ),
    lambda random: random.choice([HOSTILE, HOSTILE_MAPPING, Faceless(), HostileForm(), HiddenPoint(), Hidden()]),
    lambda _: type("", (), {})(),
    lambda _: (one for one in (1, 2)),
    lambda _: iter([1]),
    lambda random: deep(random.choice([10, 190, 199, 200, 201, 250, 5000])),
    lambda _: cyclic(),
]


def deep(depth: int) -> Any:
    """A list in a list in a list, and so on."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> Any:
    """A dict that contains itself."""
    value: dict[str, Any] = {}
    value["a"] = [value]
    return value


def python_value(random: Random, depth: int = 0) -> Any:
    """Any Python value: plain, of a subclass, of another library, or hostile."""
    kind = random.randrange(14 if depth < 3 else 5)
    if kind < 5:
        return random.choice(_LEAVES)(random) if random.random() < 0.5 else text(random)

    def some() -> Iterator[Any]:
        return (python_value(random, depth + 1) for _ in range(random.randrange(4)))

    if kind < 8:
        return {_key(random): one for one in some()}
    if kind == 8:
        return list(some())
    if kind == 9:
        return random.choice([tuple, deque])(some())
    if kind == 10:
        return random.choice([set, frozenset])(one for one in some() if type(one) in (str, float, bool))
    if kind == 11:
        return random.choice([Table, UserDict, OrderedDict])({_key(random): one for one in some()})
    if kind == 12:
        return Point(python_value(random, depth + 1), python_value(random, depth + 1))
    return Form(value=python_value(random, depth + 1))


def _key(random: Random) -> Any:
    if random.random() < 0.85:
        return random.choice(["a", "b", "c", "d", "\u00e9", "type", "red"])
    return random.choice(
        ["", "\ud800", 1, 1.5, None, True, (), b"a", Text("t"), Colour.RED, Word.YES, HostileText("h"), HOSTILE]
    )


def argument(random: Random) -> Any:
    """What somebody passes as inputs or metadata: nearly always a dict."""
    if random.random() < 0.1:
        return python_value(random)
    make = random.choice(
        [python_value, lambda random: random.choice([text(random), random.choice(NUMBERS), None, True])]
    )
    return {_key(random): make(random) for _ in range(random.randrange(4))}


# --- addresses --------------------------------------------------------------------------------------------

_HOSTS = [
    *("api.example.com", "localhost:8080", "127.0.0.1", "[::1]:80", "EXAMPLE.com.", "b\u00fccher.example", "a..b", ""),
    *(
        "xn--bcher-kva.example",
        "a b",
        "a\\b",
        "u:p@h",
        "h:0",
        "h:99999",
        "h:x",
        "[::1",
        "h\n",
        "%2e",
        "\u3002",
        "a" * 300,
    ),
    *("ex\u00e4mple\u2024com", "a%2fb", "-", "\ud800", "h:080", "1", "0x7f.1", "[v1.x]", "a_b", "a<b>", "*"),
]
_PATHS = [
    *(
        "",
        "/",
        "/v1",
        "/v1/",
        "/v1//",
        "//",
        "/a/../b",
        "/a/./b",
        "/..",
        "/%2e%2e/",
        "/a b",
        "/\u00e9",
        "/a\r\nX: y",
        "/;x",
    ),
    *(
        "/v1?a=b",
        "/v1#a",
        "/\\evil",
        "/@evil",
        "/%",
        "/%zz",
        "/\0",
        "/\ud800",
        "/'\"<>",
        "/{a}",
        "/a:b@c",
        "/v1/.",
        "/v1/..",
    ),
]


def address(random: Random) -> Any:
    """What somebody sets as base_url."""
    if random.random() < 0.1:
        return random.choice([5, b"https://example.com", object(), ["https://example.com"], True, text(random)])
    scheme = random.choice(
        ["https://", "https://", "http://", "HTTPS://", "//", "https:/", "ftp://", "javascript:", "", "https:\\\\"]
    )
    around = random.choice(["", "", "", " ", "\n", "\t"])
    return (
        around + scheme + random.choice(_HOSTS) + random.choice(_PATHS) + random.choice(["", "", around, text(random)])
    )


_ID_PIECES = [
    *(
        "a",
        "..",
        ".",
        "/",
        "\\",
        "?",
        "#",
        "%2e",
        "%2F",
        "%",
        "@",
        ":",
        "//evil.example",
        "\r\n",
        "\n",
        "\0",
        " ",
        "\t",
        ";",
    ),
    *(
        "\u00e9",
        "\u2028",
        "\ud800",
        "\U0001f600",
        "&",
        "=",
        "+",
        "~",
        "'",
        '"',
        "<",
        "{",
        "|",
        "^",
        "`",
        "\x7f",
        REQUEST_ID,
    ),
]


def identifier(random: Random) -> Any:
    """What somebody passes as an id."""
    if random.random() < 0.1:
        return random.choice([5, None, b"a", UUID(int=7), object(), ["a"], "", "  ", "a" * 70_000, Text("t")])
    return "".join(random.choice(_ID_PIECES) for _ in range(random.randint(1, 5)))


def header_text(random: Random) -> Any:
    """What somebody passes as a key, a secret, or the name or value of a header."""
    if random.random() < 0.08:
        return random.choice([None, 5, b"x", ["x"], object()])
    pieces = [
        "x",
        "Key-1",
        "X-A",
        "fhk_",
        "\r\n",
        "\n",
        "\r",
        ":",
        " ",
        "\t",
        "\0",
        "\x7f",
        "\u00e9",
        "\ud800",
        "Host",
        "\x0b",
    ]
    return "".join(random.choice(pieces) for _ in range(random.randint(1, 3)))


@dataclass(frozen=True)
class RequestInput:
    """A client's settings and a call's arguments, all of them texts from somewhere."""

    base_url: Any
    api_key: Any
    headers: Any
    ids: tuple[Any, Any]
    path: Any
    secret: Any
    params: Any


def request_input(random: Random) -> RequestInput:
    """Settings and arguments of which at least one is likely odd."""

    def odd(make: Callable[[Random], Any], sound: Any) -> Any:
        return make(random) if random.random() < 0.4 else sound

    names = [header_text(random) for _ in range(random.randrange(3))]
    return RequestInput(
        odd(address, "https://api.example.com/v1"),
        odd(header_text, "fhk_test"),
        odd(
            lambda random: random.choice(
                [{name: header_text(random) for name in names if name.__hash__}, 5, [("a", "b")]]
            ),
            {},
        ),
        (identifier(random), identifier(random)),
        "/" * random.randrange(3) + str(identifier_text(random)),
        header_text(random),
        odd(lambda random: {identifier_text(random): json_value(random)}, None),
    )


def identifier_text(random: Random) -> str:
    """An odd text for a path or a parameter."""
    return "".join(random.choice(_ID_PIECES) for _ in range(random.randint(1, 5)))


# --- error answers ----------------------------------------------------------------------------------------

CANARY = 'fhk_canary&"\\/+secret'
_DATES = [
    *("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"),
    *("Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 100000 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 +1400"),
    *("6 Nov 2094 08:49:37 -0000", "6 Nov 94 08:49:37 +9999", "6 Nov 2094 99:99:99 GMT", "31 Feb 2026 00:00:00 GMT"),
]
_DATE_PIECES = [
    *"0123456789:,+- ",
    "Sun",
    "Nov",
    "GMT",
    "2026",
    "99999",
    "-0000",
    "+9999",
    "Z",
    "(",
    ")",
    "\t",
    "e",
    ".",
    "inf",
]


def retry_after(random: Random) -> str:
    """A `Retry-After` of any text that a header can have."""
    kind = random.randrange(4)
    if kind == 0:
        date_text = random.choice(_DATES)
        at = random.randrange(len(date_text))
        return (
            date_text if random.random() < 0.3 else date_text[:at] + random.choice(_DATE_PIECES) + date_text[at + 1 :]
        )
    if kind == 1:
        return "".join(random.choice(_DATE_PIECES) for _ in range(random.randrange(14)))
    odd = ["1", "0", "-1", "1.5", "1.", ".5", "1e3", "inf", "nan", "9" * 400, "0x10", "1 2", "", " 5 ", "\u0661", "5;x"]
    return random.choice(odd) if kind == 2 else "".join(chr(random.randrange(256)) for _ in range(random.randrange(8)))


@dataclass(frozen=True)
class ErrorInput:
    """An error answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    reason: bytes | None


def error_input(random: Random) -> ErrorInput:
    """An answer with an error status, of any shape, that may echo the key it was asked with."""
    echo = random.choice([CANARY, CANARY, json.dumps(CANARY)[1:-1], quote(CANARY, safe=""), quote_plus(CANARY), "x"])
    headers = [
        (b"Retry-After", retry_after(random).encode("utf-8", "replace")),
        (b"Content-Type", random.choice([b"application/json", b"text/html", b"\xff", b""])),
        (b"Location", random.choice([b"/x", b"//evil", b"\xff\xfe", b"y" * 5000, f"https://h/?k={echo}".encode()])),
    ]
    body = json_bytes(random, json_object(random)) if random.random() < 0.6 else _error_page(random, echo)
    return ErrorInput(
        random.choice([*range(300, 310), *range(400, 432), 499, *range(500, 512), 599, 600, 999, 199, 700]),
        random.sample(headers, random.randrange(4)),
        body,
        random.choice([None, b"", b"Odd \xff reason", b"r" * 3000, echo.encode()]),
    )


def _error_page(random: Random, echo: str) -> bytes:
    said = {
        random.choice(["error", "message", "errors", "error_code", "code", "request_id"]): echo,
        "limit": 5,
        "current": 6,
    }
    return random.choice(
        [
            json.dumps({"error": {"message": echo}}).encode(),
            json.dumps(said).encode(),
            json.dumps({"error": [echo, "concurrency"], "workspace": 1}).encode(),
            f"<html>{echo}</html>".encode(),
            b"\xff" + echo.encode() + b"z" * 5000,
            json.dumps({"error": "w" * 10_000}).encode(),
            mutated(random, json.dumps(said).encode()),
            b"",
        ]
    )
