"""Any input whatever: a bounded part of `make fuzz`, chosen by hypothesis and at random, and what fuzzing has found."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from itertools import accumulate
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from fetch_hive_sdk import (
    APIStatusError,
    AsyncStream,
    CallbackVerificationError,
    CallbackVerifier,
    ConfigurationError,
    FetchHive,
    InvalidRequestError,
    Stream,
    UnexpectedResponseError,
    streams,
)
from fetch_hive_sdk.results import AgentReply, Entity, Record, Result
from fetch_hive_sdk.sse import EventTooLargeError, SSEDecoder
from fetch_hive_sdk.streams import StreamReader
from trust.fuzz import CASES, run_batch
from trust.fuzz_inputs import EMPTY, RECORDS, CallbackInput, SentInput, StreamInput, names_read, record_like
from trust.fuzz_properties import BY_NAME, check_callback, check_decoder, check_record, meant, read_whole

# What a property gets here: examples of hypothesis, which are slow and shrink to the smallest; and random cases.
EXAMPLES = {
    "sse": (100, 1_500),
    "reader": (30, 120),
    "stream": (10, 20),
    "callback": (150, 5_000),
    "answer": (50, 300),
    "argument": (50, 400),
    "request": (50, 400),
    "error": (25, 60),
    "retry-after": (100, 2_500),
    "sandbox": (5, 25),
    "command": (5, 10),
}


def test_all_properties_are_tried() -> None:
    """Each property has its share of cases here and in the long run."""
    assert BY_NAME.keys() == CASES.keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_by_hypothesis(name: str) -> None:
    """Whatever hypothesis chooses, the promise holds."""
    tested = BY_NAME[name]

    @settings(
        max_examples=EXAMPLES[name][0],
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def holds(random: Random) -> None:
        tested.check(tested.make(random))

    holds()


@pytest.mark.parametrize("name", EXAMPLES)
def test_at_random(name: str) -> None:
    """Whatever comes at random, the promise holds; the long run has other batches, and more of them."""
    tally = run_batch(name, 0, -1, EXAMPLES[name][1])

    assert [] == [*tally.failures.values()]
    assert EXAMPLES[name][1] == tally.cases
    assert name != "callback" or 0.2 < tally.hits / tally.cases < 0.5


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
def test_each_field(cls: type[Record]) -> None:
    """Whatever comes under any one name that a record reads, the record can be used."""
    for name in names_read(cls):
        for value in [*EMPTY, None, True, 0, -1.5, "x", ["x"], {"total_tokens": []}]:
            check_record(record_of(cls, {name: value}))


def record_of(cls: type[Record], fields: dict[str, Any]) -> Record:
    if issubclass(cls, (Result, Entity)):
        return cls.from_json(json.dumps(fields).encode())
    return cls.model_validate(fields)


@pytest.mark.parametrize("name", ["prompt_tokens", "output_tokens"])
def test_records_in_records(name: str) -> None:
    """Records inside of records are filled with their own names, the older ones too, and with what nobody expects."""
    made = [record_like(Random(seed), AgentReply) for seed in range(3_000)]

    counts = [one["usage"].get(name) for one in made if isinstance(one.get("usage"), dict)]
    assert [] in counts
    assert any(isinstance(count, dict) and "total_tokens" in count for count in counts)
    calls = [call for one in made if isinstance(one.get("tool_calls"), list) for call in one["tool_calls"]]
    assert any(isinstance(call, dict) and isinstance(call.get("tool_input"), (list, dict)) for call in calls)


# --- the checks themselves --------------------------------------------------------------------------------


def test_a_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that accepts what it should not is found, and the failing case is told with what repeats it."""
    monkeypatch.setattr(CallbackVerifier, "_verify", lambda *_: None)

    tally = run_batch("callback", 5, 2, 200)

    assert tally.failed > 50
    [told] = [one for one in tally.failures.values() if "a forgery was accepted" in one]
    assert "(--seed 5 --only callback --batch 2)" in told
    assert "headers: " in told


def test_a_refusal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that refuses a genuine callback is found."""
    signature = CallbackVerifier("whsec_one").sign(b"{}")
    pair = ("X-Fetch-Hive-Signature", signature)
    genuine = CallbackInput(0, b"{}", [pair], b"{}", [pair])
    assert check_callback(genuine) is True

    monkeypatch.setattr(CallbackVerifier, "_digests", lambda *_: [b"\0" * 32])
    with pytest.raises(AssertionError, match="a genuine callback was refused"):
        check_callback(genuine)


def test_a_wrong_decoder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that loses what a cut tears apart is found."""
    monkeypatch.setattr(SSEDecoder, "_hold", lambda *_: None)

    with pytest.raises(AssertionError, match="cut it is"):
        check_decoder(StreamInput(b"data: a\n\n", (4,), 100))


@pytest.mark.parametrize("least", [2, 13, 60])
@pytest.mark.parametrize("kind", [Stream, AsyncStream])
def test_a_lost_piece_is_found(monkeypatch: pytest.MonkeyPatch, kind: type, least: int) -> None:
    """A stream that loses the last of the pieces that came together is found, however many those are."""
    count = kind._more_behind

    def lose(self: Any, piece: bytes) -> int:
        more: int = count(self, piece)
        feed = partial(StreamReader.feed, self._reader)
        # As the pieces are joined, so a byte is missing at their end.
        self._reader.feed = (lambda data: feed(data[:-1])) if more + 1 >= least else feed
        return more

    monkeypatch.setattr(kind, "_more_behind", lose)

    check = BY_NAME["stream"].check
    check(in_bundles(least - 1))
    with pytest.raises(AssertionError, match=r"had come, and it waited|from a connection"):
        check(in_bundles(least))


def in_bundles(count: int, *bundled: int) -> SentInput:
    """So many events, each a chunk, that are sent together or cut at some places."""
    events = [b'data: {"type":"response","response":"%d"}\n\n' % number for number in range(count)]
    parts = [part for event in events for part in (b"\r\n%x\r\n" % len(event), event)]
    parts = [parts[0][2:], *parts[1:], b"\r\n0\r\n\r\n"]
    cuts = tuple(accumulate(map(len, events[:-1])))
    return SentInput(b"".join(events), cuts, 1000, "", "chunked", tuple(parts), bundled, broken=False)


def test_a_held_event_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that waits for a piece that has not come, while it holds an event, is found."""
    given = in_bundles(2, 51)  # in the head of the second chunk
    assert [1, 1] == [data.count(b"\n\n") for _, data in given.bundles]
    BY_NAME["stream"].check(given)

    monkeypatch.setattr(streams, "pieces_at_hand", lambda *_: 1)
    with pytest.raises(AssertionError, match="1 events had come, and it waited after \\[\\]"):
        BY_NAME["stream"].check(given)


def test_the_reference() -> None:
    """The reading of the WHATWG text that the decoder is compared with gives the text's own examples."""
    assert ["YHOO\n+2\n10"] == read_whole(b"data: YHOO\ndata: +2\ndata: 10\n\n")
    four = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    assert ["first event", "second event", " third event"] == read_whole(four)
    assert ["", "\n"] == read_whole(b"data\n\ndata\ndata\n\ndata:")
    assert ["test", "test"] == read_whole(b"data:test\r\rdata: test\r\n\r\n")


# --- what it has found ------------------------------------------------------------------------------------


class OwnError(Exception):
    """What the caller's own objects raise."""


def fails(*_: Any, **__: Any) -> Any:
    raise OwnError


class Unreadable(Mapping[str, Any]):
    __getitem__ = __iter__ = __len__ = items = fails


class OddText(str):
    __slots__ = ()
    __hash__ = str.__hash__
    encode = isascii = __str__ = __format__ = __len__ = fails


class OddBytes(bytes):
    __slots__ = ()
    __hash__ = bytes.__hash__
    strip = lower = rstrip = decode = fails


class OddNumber(int):
    __int__ = bit_length = fails


class Faceless:
    __class__ = property(fails)  # type: ignore[assignment]


class Form(BaseModel):
    value: Any


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(Faceless(), {}, id="a body that does not say what it is"),
        pytest.param(b"{}", {"X-Fetch-Hive-Signature": [Faceless()]}, id="a value that does not say what it is"),
        pytest.param(b"{}", {"X-Fetch-Hive-Signature": OddBytes(b"a" * 64)}, id="bytes with methods of their own"),
        pytest.param(b"{}", {"X-Fetch-Hive-Signature": OddText("a" * 64)}, id="a text with methods of its own"),
        pytest.param(OddText("{}"), {"X-Fetch-Hive-Signature": "a" * 64}, id="a body with methods of its own"),
    ],
)
def test_hostile_callbacks(body: Any, headers: Any) -> None:
    """Bodies and headers whose own methods fail are refused as any other callback that is not genuine."""
    with pytest.raises(CallbackVerificationError):
        CallbackVerifier("whsec_one").unwrap(body, headers)


def test_bytes_of_another_class() -> None:
    """A body and a signature are what bytes they hold, whatever else their classes do."""
    verifier = CallbackVerifier("whsec_one")
    signature = verifier.sign(b"{}").encode()

    verifier.verify(OddBytes(b"{}"), {"X-Fetch-Hive-Signature": OddBytes(signature)})
    verifier.verify(OddText("{}"), {"X-Fetch-Hive-Signature": signature})


@pytest.fixture
def sent() -> list[httpx.Request]:
    """What was sent."""
    return []


@pytest.fixture
def client(sent: list[httpx.Request]) -> FetchHive:
    """A client that is answered with a run, or a record."""

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"id": "1", "request_id": "req_1", "response": "r"})

    return FetchHive("fhk_test", http_client=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param({"a": [Unreadable()]}, "inputs.a[0]: an Unreadable cannot be read (OwnError).", id="a mapping"),
        pytest.param(Unreadable(), "inputs: an Unreadable cannot be read (OwnError).", id="inputs themselves"),
        pytest.param({"a": Faceless()}, "inputs.a: a Faceless cannot be read (OwnError).", id="an unknown object"),
        pytest.param({"a": type("", (), {})()}, "inputs.a: a  has no JSON form.", id="a class without a name"),
        pytest.param(
            {"red": 1, Colour.RED: 2}, "inputs: two of its keys are the same text.", id="an enum beside its value"
        ),
        pytest.param(
            {"a": Form(value=[iter("ab")])}, "inputs.a.value[0]: an iterator can be read only once.", id="an iterator"
        ),
    ],
)
def test_hostile_inputs(client: FetchHive, sent: list[httpx.Request], value: Any, problem: str) -> None:
    """Objects whose own methods fail, or that would lose something on the way, are refused by their path."""
    with pytest.raises(InvalidRequestError) as caught:
        client.invoke_prompt(deployment="d", inputs=value)

    assert problem == caught.value.message
    assert [] == sent


def test_hostile_metadata(client: FetchHive, sent: list[httpx.Request]) -> None:
    """So it is with metadata."""
    with pytest.raises(InvalidRequestError, match=r"^metadata: an Unreadable cannot be read \(OwnError\)"):
        client.invoke_prompt(deployment="d", metadata=Unreadable())

    assert [] == sent


def test_iterators_of_a_model_stay(client: FetchHive) -> None:
    """A refused iterator inside a model has not been read."""
    letters = iter("ab")
    with pytest.raises(InvalidRequestError, match="only once"):
        client.invoke_prompt(deployment="d", inputs={"a": Form(value=letters)})

    assert ["a", "b"] == [*letters]


def test_numbers_and_texts_of_another_class(client: FetchHive, sent: list[httpx.Request]) -> None:
    """A number and a text are sent as what they hold, whatever else their classes do."""
    client.invoke_prompt(deployment="d", inputs={"a": OddNumber(7), "b": OddText("t")}, metadata={"c": OddText("u")})

    assert b'{"a":7,"b":"t"}' in sent[0].content
    assert b'{"c":"u"}' in sent[0].content
    assert {"a": 7} == meant({"a": OddNumber(7)})


@pytest.mark.parametrize("host", ["a<b>", "a|b", "*", "%2e", "a\\b", "a`b", 'a"b'])
def test_hosts(host: str) -> None:
    """A host with a character that no host has is refused when the client is made."""
    with pytest.raises(ConfigurationError, match=r"^base_url: "):
        FetchHive("fhk_test", f"https://{host}/v1")


@pytest.mark.parametrize("path", ["/a/%2e%2e/b", "/%2E%2e", "/a/.%2E/b", "/%2e/b", "/a%2F..%2Fb", "/a/..%5Cb"])
def test_dots_in_other_words(client: FetchHive, sent: list[httpx.Request], path: str) -> None:
    """A path that leads elsewhere once it is decoded is refused like one that says so plainly."""
    with pytest.raises(InvalidRequestError, match=r"^path: "):
        client.request("GET", path)

    assert [] == sent


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda client: client.requests.get("a" * 70_000), id="an id"),
        pytest.param(lambda client: client.request("GET", "/x", params={"a": "b" * 70_000}), id="params"),
    ],
)
def test_too_long(client: FetchHive, sent: list[httpx.Request], call: Callable[[FetchHive], Any]) -> None:
    """An id or parameters beyond what a URL can have are refused, and no error of httpx comes out."""
    with pytest.raises(InvalidRequestError, match=r"too long for a URL"):
        call(client)

    assert [] == sent


KEY = "fhk_canary_0123456789"


def refused_with(status: int, headers: list[tuple[bytes, bytes]], reason: bytes) -> APIStatusError:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, extensions={"reason_phrase": reason})

    client = FetchHive(KEY, max_retries=0, http_client=httpx.MockTransport(answer))
    with pytest.raises(APIStatusError) as caught:
        client.invoke_prompt(deployment="d")
    return caught.value


def test_pickle_with_odd_headers() -> None:
    """An error whose answer has a header that is not ASCII can be pickled, and keeps the header as it came."""
    error = refused_with(400, [(b"X-Odd", b"caf\xc3\xa9 \xff")], b"Bad Request")

    copied = pickle.loads(pickle.dumps(error))

    assert str(error) == str(copied)
    assert (b"X-Odd", b"caf\xc3\xa9 \xff") in copied.response.headers.raw


@pytest.mark.parametrize(
    ("headers", "reason"),
    [([], b"r" * 5000), ([(b"Location", b"https://example.com/" + b"l" * 5000)], b"Found")],
    ids=["reason", "Location"],
)
def test_long_words_of_others(headers: list[tuple[bytes, bytes]], reason: bytes) -> None:
    """However long a reason phrase or a redirect's address is, the error stays readable."""
    assert len(str(refused_with(302, headers, reason))) < 1000


def test_long_words_inside_an_answer() -> None:
    """However long the error in a 200 answer or its content type is, the error stays readable, and has all of it."""
    number = b"1" * 4000
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"Content-Type": "t" * 4000}, content=b'{"error":%s}' % number)
    )
    with pytest.raises(UnexpectedResponseError) as caught:
        FetchHive(KEY, http_client=transport).invoke_prompt(deployment="d")
    assert len(str(caught.value)) < 1000
    assert {"error": int(number)} == caught.value.body


def test_key_in_the_reason() -> None:
    """A proxy that echoes the key in the reason phrase does not get it into the error."""
    error = refused_with(400, [], f"No such key: {KEY}".encode())

    assert KEY not in str(error) + repr(error)
    assert "No such key: [api key]" in str(error)


@pytest.mark.parametrize(
    "chunks",
    [
        [b"\n\n: c\n", b"\ndata: 1234\n\n"],
        [b": c\n: d\n: e\n", b"data: 1234\n\n"],
        [b": cccccccc\n", b"data: 1234\n\n"],
        [b": ccccccccc\n", b"data: 1234\n\n"],
        [b": c\n: ddddddddd\n", b"data: 1234\n\n"],
    ],
)
def test_the_limit_and_comments(chunks: list[bytes]) -> None:
    """Whether an event with comments before it is too large does not depend on where the bytes were cut."""

    def told(*pieces: bytes) -> list[bytes] | str:
        decoder = SSEDecoder(10)
        try:
            return [event for piece in pieces for event in decoder.feed(piece)]
        except EventTooLargeError as error:
            return str(error)

    whole = b"".join(chunks)
    assert told(whole) == told(*chunks) == told(*(whole[index : index + 1] for index in range(len(whole))))
