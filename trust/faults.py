"""The faults of a server, as data: what it does with a call, and what the client has to make of that.

A fault is given the right answer of the call that it is played to, and makes its own of it. So the same list serves
every call of this SDK, and those of others.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import cycle

from tests.faulty_server import Exchange, Step, Welcome, close, drip, drop, reset, say_nothing

__all__ = ["REQUEST_ID", "Answer", "Fault", "Outcome", "cuts", "faults"]

REQUEST_ID = "req_019d52846ea37682b03522fd0695cc43"

# Seconds a call may take where the server is slow on purpose.
LIMIT = 0.4
# Seconds after which the server ends a connection on which nothing happens: only a client that hangs gets there.
HANGS = 8.0


@dataclass(frozen=True)
class Answer:
    """The right answer of a call.

    Attributes:
        body: Its body.
        events: The same in pieces, where it is a stream of events; none of them is empty.
        needed: How many of the events the answer is complete with.
        elsewhere: The origin of another server, for redirects.
    """

    body: bytes
    events: tuple[bytes, ...] = ()
    needed: int = 0
    elsewhere: str = "http://elsewhere.invalid"

    @property
    def kind(self) -> str:
        """Its content type."""
        return "text/event-stream" if self.events else "application/json"

    @property
    def whole(self) -> bytes:
        """All of it as it is sent: a stream in chunks, everything else with its length."""
        return self.sent() if not self.events else _head(self.kind, CHUNKED) + _chunks(self.events) + LAST_CHUNK

    @property
    def enough(self) -> int:
        """After how many bytes of `whole` the client has the answer."""
        if not self.events:
            return len(self.whole)
        return len(_head(self.kind, CHUNKED) + _chunks(self.events[: self.needed])) - len(b"\r\n")

    def sent(
        self,
        *headers: str,
        status: str = "200 OK",
        body: bytes | None = None,
        length: int | None = None,
        kind: str = "",
    ) -> bytes:
        """It as it is sent with its length, or something else in its place."""
        body = self.body if body is None else body
        lines = [f"Content-Length: {len(body) if length is None else length}", *headers]
        return _head(kind or self.kind, *lines, status=status) + body


@dataclass(frozen=True)
class Outcome:
    """What the client may make of a fault.

    Attributes:
        error: The class of the error, or one above it; "" for the right result.
        status: The status code that it carries.
        refused: Whether the server provably refused, or nothing was sent: nothing can have run.
        again: When the call is made again by itself: `never`; if it is `harmless`, as one that changes nothing; or
            `always`.
        too_late: Whether the server asks for a wait that is too long to be sat out: it is not made again at once.
        requests: How many requests arrive complete at each attempt.
        retry_after: The seconds that the error has to tell, about.
        request_id: Whether the answer tells the run's id.
        words: What the result has to say, if it is not all of the right one.
    """

    error: str = ""
    status: int | None = None
    refused: bool = False
    again: str = "never"
    too_late: bool = False
    requests: int = 1
    retry_after: float | None = None
    request_id: bool = False
    words: str | None = None


RESULT = Outcome()
BROKEN = Outcome("APIConnectionError", again="harmless")
UNHEARD = replace(BROKEN, requests=0)  # as a broken one, but the server has not even got the request
SLOW = Outcome("APITimeoutError", again="harmless")
SLOW_UNHEARD = replace(SLOW, requests=0)
NO_CONNECTION = Outcome("APIConnectionError", refused=True, again="always", requests=0)
NO_CONNECTION_IN_TIME = replace(NO_CONNECTION, error="APITimeoutError")
UNTRUSTED = replace(NO_CONNECTION, again="never")
UNREADABLE = Outcome("UnexpectedResponseError", status=200)
INTERRUPTED = Outcome("StreamInterruptedError")
IDLE = Outcome("StreamIdleTimeoutError")


@dataclass(frozen=True)
class Fault:
    """One way of a server to misbehave.

    Attributes:
        name: What it does, in words.
        acts: Makes of the right answer what the requests are answered with, in order; the last is repeated.
        plain: The outcomes that are right for a call whose answer is JSON; none: it is not made for such a call.
        streamed: The same for a stream of events.
        before: Makes of the right answer how the good call before this one is answered.
        settled: Whether the server is done with that when the call is made.
        welcome: What it does to each new connection.
        listens: Whether anything listens at all.
        certificate: By which of the certificates it is known; "" for no TLS.
        secure: Whether the client expects TLS.
        waits: Whether the client has to wait for its limits of time.
        upload: Whether it is made for uploads alone, and for a large one.
        quick: Whether it belongs to the small part too.
    """

    name: str
    acts: tuple[Callable[[Answer], Step], ...]
    plain: tuple[Outcome, ...]
    streamed: tuple[Outcome, ...]
    before: Callable[[Answer], Step] | None = None
    settled: bool = True
    welcome: Welcome | None = None
    listens: bool = True
    certificate: str = ""
    secure: bool = False
    waits: bool = False
    upload: bool = False
    quick: bool = True

    @property
    def own_server(self) -> bool:
        """Whether it shows at new connections, or takes long, so that it needs a server for itself."""
        return self.waits or self.secure or self.welcome is not None or not self.listens


# --- how bytes are put together -----------------------------------------------------------------------------

CHUNKED = "Transfer-Encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"


def _head(kind: str, *lines: str, status: str = "200 OK") -> bytes:
    content_type = [f"Content-Type: {kind}"] if kind else []
    return "\r\n".join([f"HTTP/1.1 {status}", *content_type, *lines, "", ""]).encode("latin-1")


def _chunks(pieces: Sequence[bytes]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def _send(make: Callable[[Answer], bytes], then: Step | None = close) -> Callable[[Answer], Step]:
    """Send bytes, and then close the connection or do something else; None: keep it open for the next request."""

    def act(answer: Answer) -> Step:
        data = make(answer)

        def step(exchange: Exchange) -> None:
            exchange.send(data)
            if then is not None:
                then(exchange)

        return step

    return act


def _good(answer: Answer) -> Step:
    return lambda exchange: exchange.send(answer.whole)


def _do(step: Step) -> Callable[[Answer], Step]:
    return lambda _: step


def _close_written(exchange: Exchange) -> None:
    """Close the connection for writing alone, and go on reading."""
    exchange.connection.shutdown(socket.SHUT_WR)
    exchange.wait_for_hang_up()


def _then(act: Callable[[Answer], Step], *steps: Step) -> Callable[[Answer], Step]:
    def both(answer: Answer) -> Step:
        first = act(answer)

        def step(exchange: Exchange) -> None:
            for one in (first, *steps):
                one(exchange)

        return step

    return both


def _say(data: bytes) -> Step:
    return lambda exchange: exchange.send(data)


def _slowly(make: Callable[[Answer], bytes], every: float) -> Callable[[Answer], Step]:
    """Send bytes one by one, and begin again at the end with the last one, for ever."""

    def act(answer: Answer) -> Step:
        data = make(answer)

        def step(exchange: Exchange) -> None:
            for at in _counted(len(data)):
                try:
                    exchange.connection.sendall(data[at : at + 1])
                except OSError:
                    return
                if not exchange.pause(every):
                    return

        return step

    return act


def _counted(length: int) -> Iterator[int]:
    yield from range(length)
    while True:
        yield length - 1


def _for_ever(first: Callable[[Answer], bytes], piece: bytes, every: float) -> Callable[[Answer], Step]:
    """Send bytes, and then a piece again and again."""
    return lambda answer: drip(first(answer), piece, every)


# --- the list -------------------------------------------------------------------------------------------------


def faults() -> list[Fault]:
    """All of them, but for the cuts at every byte."""
    made = [*_connections(), *_kept_connections(), *_heads(), *_bodies(), *_statuses(), *_retry_afters()]
    made += [*_redirects(), *_streams(), *_slow()]
    assert len(made) == len({fault.name for fault in made})
    return made


def cuts(answer: Answer, every: int = 1) -> list[Fault]:
    """A right answer that ends after each number of bytes: in good order, and by reset."""
    found: list[Fault] = []
    for at, (word, end) in zip(range(0, len(answer.whole), every), cycle((("cut", close), ("reset", reset)))):
        # After a reset the client may lose what it had not read yet.
        outcomes = (BROKEN,) if at < answer.enough else (RESULT, BROKEN)
        act = _send(lambda answer, at=at: answer.whole[:at], end)
        found.append(Fault(f"{word} after byte {at}", (act,), outcomes, outcomes))
    return found


def _both(name: str, act: Callable[[Answer], Step], *outcomes: Outcome, **others: object) -> Fault:
    return Fault(name, (act,), outcomes, outcomes, **others)  # type: ignore[arg-type]


def _connections() -> list[Fault]:
    """What goes wrong before there is a connection, or before the request has arrived."""

    def hang(connection: socket.socket, stopping: threading.Event) -> None:
        try:
            while connection.recv(65536):
                pass
        except OSError:
            pass
        connection.close()

    def let_in(connection: socket.socket, stopping: threading.Event) -> None:
        """Nothing; but a new connection is what the fault is played to."""

    def shut(connection: socket.socket, stopping: threading.Event) -> None:
        connection.close()

    def reset_it(connection: socket.socket, stopping: threading.Event) -> None:
        drop(connection)

    def read_some(connection: socket.socket, stopping: threading.Event) -> None:
        connection.recv(10)
        drop(connection)

    def hello_and(answer: bytes, *, drip: bool = False) -> Welcome:
        def welcome(connection: socket.socket, stopping: threading.Event) -> None:
            try:
                connection.recv(65536)
                for piece in [answer[at : at + 1] for at in range(len(answer))] if drip else [answer]:
                    connection.sendall(piece)
                    if drip and stopping.wait(0.02):
                        break
            except OSError:
                pass
            connection.close()

        return welcome

    alert = b"\x15\x03\x03\x00\x02\x02\x28"
    hello = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03" + bytes(4096)
    secure = {"secure": True}
    return [
        _both("refuses the connection", _good, NO_CONNECTION, listens=False),
        _both("closes each connection at once", _good, UNHEARD, NO_CONNECTION, welcome=shut),
        _both("resets each connection at once", _good, UNHEARD, NO_CONNECTION, welcome=reset_it),
        _both("reads ten bytes and resets", _good, UNHEARD, welcome=read_some),
        _both("accepts and says nothing", _do(say_nothing), SLOW, welcome=let_in, waits=True),
        _both("speaks no TLS", _good, NO_CONNECTION, **secure, welcome=hello_and(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        _both("closes instead of a TLS handshake", _good, NO_CONNECTION, **secure, welcome=shut),
        _both("resets instead of a TLS handshake", _good, NO_CONNECTION, **secure, welcome=reset_it),
        _both("closes in the TLS handshake", _good, NO_CONNECTION, **secure, welcome=hello_and(hello[:20])),
        _both("sends a TLS alert", _good, NO_CONNECTION, **secure, welcome=hello_and(alert)),
        _both("is silent in the TLS handshake", _good, NO_CONNECTION_IN_TIME, **secure, welcome=hang, waits=True),
        _both(
            "drips in the TLS handshake",
            _good,
            NO_CONNECTION_IN_TIME,
            **secure,
            welcome=hello_and(hello, drip=True),
            waits=True,
        ),
        *(
            _both(f"has a certificate that is {name}", _good, UNTRUSTED, **secure, certificate=name)
            for name in ("expired", "self-signed", "wrong host")
        ),
        _both("is right, over TLS", _good, RESULT, **secure, certificate="trusted"),
        _both("resets over TLS", _do(reset), BROKEN, **secure, certificate="trusted"),
        _both(
            "ends over TLS without saying so",
            _send(lambda answer: answer.whole[: answer.enough - 10], _end_raw),
            BROKEN,
            **secure,
            certificate="trusted",
        ),
        _both(
            "sends no TLS in the middle of an answer",
            _send(lambda answer: answer.whole[: answer.enough - 10], _no_tls),
            BROKEN,
            **secure,
            certificate="trusted",
        ),
    ]


def _end_raw(exchange: Exchange) -> None:
    """End a TLS connection without its own goodbye."""
    socket.socket.shutdown(exchange.connection, socket.SHUT_WR)
    exchange.connection.close()


def _no_tls(exchange: Exchange) -> None:
    """Send bytes past the encryption."""
    socket.socket.send(exchange.connection, b"HTTP/1.1 200 OK\r\n\r\n")
    _end_raw(exchange)


def _kept_connections() -> list[Fault]:
    """What becomes of a connection between two calls."""

    def reset_at_next(exchange: Exchange) -> None:
        try:
            exchange.connection.recv(10)
        except OSError:
            return
        exchange.reset()

    def raced(exchange: Exchange) -> None:
        exchange.pause(0.0005)
        exchange.connection.shutdown(socket.SHUT_RDWR)

    timeout = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    def surplus(answer: Answer) -> bytes:
        other = answer.body.replace(REQUEST_ID.encode(), b"req_ffffffffffffffffffffffffffffffff")
        return answer.whole + answer.sent(body=other)

    return [
        _both("closes the idle connection", _good, RESULT, before=_send(lambda answer: answer.whole)),
        _both("resets the idle connection", _good, RESULT, before=_send(lambda answer: answer.whole, reset)),
        _both(
            "closes its half of the idle connection",
            _good,
            RESULT,
            before=_then(_good, lambda exchange: exchange.connection.shutdown(socket.SHUT_WR)),
        ),
        _both("sends 408 on the idle connection", _good, RESULT, before=_then(_good, _say(timeout), close)),
        _both("sends 408 on the idle connection, and keeps it", _good, RESULT, before=_then(_good, _say(timeout))),
        _both("sends bytes on the idle connection", _good, RESULT, before=_then(_good, _say(b"\x00garbage"))),
        _both("sends a second answer later", _good, RESULT, before=_then(_good, lambda e: e.send(timeout * 2))),
        _both("sends two answers in one", _good, RESULT, before=_send(surplus, None)),
        _both(
            "promises to keep the connection and closes it",
            _good,
            RESULT,
            before=_send(lambda answer: answer.whole.replace(b"\r\n", b"\r\nKeep-Alive: timeout=60\r\n", 1)),
        ),
        _both(
            "says that it closes and does not",
            _good,
            RESULT,
            before=_send(lambda answer: answer.whole.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), None),
        ),
        _both(
            "resets as the next request comes",
            _good,
            UNHEARD,
            RESULT,
            before=_then(_good, reset_at_next),
            settled=False,
        ),
        _both(
            "closes just about when the next call is made",
            _good,
            RESULT,
            UNHEARD,
            BROKEN,
            before=_then(_good, raced),
            settled=False,
        ),
    ]


def _heads() -> list[Fault]:
    """What is wrong with an answer before its body."""

    def with_lines(*lines: str) -> Callable[[Answer], Step]:
        return _send(lambda answer: answer.sent(*lines), None)

    def instead(data: bytes, then: Step = close) -> Callable[[Answer], Step]:
        return _send(lambda _: data, then)

    def first_line(line: bytes) -> Callable[[Answer], Step]:
        return _send(lambda answer: line + answer.sent()[len(b"HTTP/1.1 200 OK") :], None)

    def both_lengths(answer: Answer) -> bytes:
        return _head(answer.kind, CHUNKED, "Content-Length: 5") + _chunks([answer.body]) + LAST_CHUNK

    return [
        _both("resets", _do(reset), BROKEN),
        _both("closes", _do(close), BROKEN),
        _both("closes its half and waits", _do(_close_written), BROKEN),
        _both("sends garbage", instead(b"\x00\x01 this is not HTTP\r\n\r\n"), BROKEN),
        _both("sends an empty line", instead(b"\r\n"), BROKEN),
        _both("sends a head without end", instead(b"HTTP/1.1 200 OK\r\nX: y\r\n"), BROKEN),
        _both("speaks HTTP/2", instead(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)), BROKEN),
        _both("speaks TLS where none is expected", instead(b"\x15\x03\x01\x00\x02\x02\x46"), BROKEN),
        _both("speaks HTTP/0.9", instead(b"<html>hello</html>"), BROKEN),
        _both("speaks HTTP/9.9", first_line(b"HTTP/9.9 200 OK"), BROKEN, RESULT),
        _both("speaks HTTP/1.0", first_line(b"HTTP/1.0 200 OK"), RESULT, BROKEN),
        _both("gives no reason", first_line(b"HTTP/1.1 200"), RESULT),
        _both("gives a reason in Latin-1", first_line(b"HTTP/1.1 200 Tr\xe8s bien"), RESULT),
        _both("has a status that is no number", first_line(b"HTTP/1.1 two OK"), BROKEN),
        _both("has a status of two digits", first_line(b"HTTP/1.1 20 OK"), BROKEN),
        _both("has the status 000", first_line(b"HTTP/1.1 000 Nothing"), BROKEN),
        _both("ends lines with LF alone", _send(lambda answer: answer.sent().replace(b"\r\n", b"\n")), RESULT, BROKEN),
        _both("has a header without a colon", with_lines("no colon"), BROKEN),
        _both("has a header with a space in its name", with_lines("X Y: z"), BROKEN),
        _both("has a header with a NUL", with_lines("X: \0"), BROKEN, RESULT),
        _both("has a header in Latin-1", with_lines("X: \xe9\xff"), RESULT),
        _both("folds a header", with_lines("X: a\r\n b"), RESULT, BROKEN),
        _both("has a header of 60 KB", with_lines("X: " + "x" * 60_000), RESULT),
        _both("has a header of 2 MB", with_lines("X: " + "x" * 2_000_000), BROKEN),
        _both("has 20,000 headers", with_lines(*["X: y"] * 20_000), BROKEN, RESULT),
        _both("has two lengths", with_lines("Content-Length: 3"), BROKEN),
        _both("has a length below 0", _send(lambda answer: answer.sent(length=-1)), BROKEN),
        _both(
            "has a length that is no number",
            _send(lambda answer: answer.sent().replace(b"Length: ", b"Length: x")),
            BROKEN,
        ),
        _both("has a length of 30 digits", _send(lambda answer: answer.sent(length=10**30)), BROKEN),
        _both("has a length and chunks", _send(both_lengths), RESULT, BROKEN),
        _both("encodes the transfer in an unknown way", with_lines("Transfer-Encoding: secret"), BROKEN),
        _both("sends 100 first", _send(lambda answer: b"HTTP/1.1 100 Continue\r\n\r\n" + answer.whole, None), RESULT),
        _both(
            "sends 103 first",
            _send(lambda answer: b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 5 + answer.whole, None),
            RESULT,
        ),
        _both("sends 100 and closes", instead(b"HTTP/1.1 100 Continue\r\n\r\n"), BROKEN),
        _both(
            "switches protocols",
            instead(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            Outcome("APIStatusError", status=101),
            BROKEN,
        ),
        _both(
            "refuses an upload before it has come",
            _send(
                lambda answer: answer.sent(
                    status="413 Content Too Large", body=b'{"error":"too large"}', kind="application/json"
                ),
                None,
            ),
            Outcome("APIStatusError", status=413, refused=True),
        ),
    ]


def _bodies() -> list[Fault]:
    """What is wrong with the body of a success."""

    def body(make: Callable[[bytes], bytes], *lines: str, kind: str = "") -> Callable[[Answer], Step]:
        return _send(lambda answer: answer.sent(*lines, body=make(answer.body), kind=kind), None)

    def is_plain(name: str, act: Callable[[Answer], Step], *outcomes: Outcome, **others: object) -> Fault:
        return Fault(name, (act,), outcomes, (), **others)  # type: ignore[arg-type]

    def chunked(make: Callable[[bytes], bytes], then: Step = close) -> Callable[[Answer], Step]:
        return _send(lambda answer: _head(answer.kind, CHUNKED) + make(answer.body), then)

    def as_json(value: object) -> Callable[[Answer], Step]:
        return body(lambda _: json.dumps(value).encode(), kind="application/json")

    def packed(data: bytes, wbits: int = 31) -> bytes:
        packer = zlib.compressobj(wbits=wbits)
        return packer.compress(data) + packer.flush()

    def cut_short(answer: Answer) -> bytes:
        return answer.sent(length=len(answer.body) + 10)

    gzipped = "Content-Encoding: gzip"
    half = (INTERRUPTED, BROKEN)
    return [
        Fault("ends before its length", (_send(cut_short),), (BROKEN,), (RESULT, BROKEN)),
        Fault("resets before its length", (_send(cut_short, reset),), (BROKEN,), (RESULT, BROKEN)),
        Fault(
            "has a length that is too small",
            (_send(lambda a: a.sent(length=len(a.body) // 2), None),),
            (UNREADABLE,),
            half,
        ),
        Fault(
            "ends with the connection",
            (_send(lambda a: _head(a.kind, "Connection: close") + a.body),),
            (RESULT,),
            (RESULT,),
        ),
        Fault(
            "is cut, and ends with the connection",
            (_send(lambda a: _head(a.kind, "Connection: close") + a.body[: len(a.body) // 2]),),
            (UNREADABLE,),
            half,
        ),
        Fault("has no body", (body(lambda _: b""),), (UNREADABLE,), half),
        Fault(
            "says 204",
            (_send(lambda _: b"HTTP/1.1 204 No Content\r\n\r\n", None),),
            (replace(UNREADABLE, status=204),),
            (INTERRUPTED, replace(UNREADABLE, status=204)),
        ),
        Fault(
            "says 206",
            (_send(lambda a: a.sent(status="206 Partial Content"), None),),
            (RESULT, replace(UNREADABLE, status=206)),
            (RESULT,),
        ),
        Fault("says 299", (_send(lambda a: a.sent(status="299 Odd"), None),), (RESULT,), (RESULT,)),
        # Chunks.
        _both("sends it in chunks", chunked(lambda b: _chunks([b]) + LAST_CHUNK), RESULT),
        _both(
            "sends it in chunks of one byte",
            chunked(lambda b: _chunks([b[i : i + 1] for i in range(len(b))]) + LAST_CHUNK),
            RESULT,
        ),
        _both("has trailers", chunked(lambda b: _chunks([b]) + b"0\r\nX-Trailer: y\r\n\r\n"), RESULT),
        _both(
            "has extensions of chunks",
            chunked(lambda b: _chunks([b]).replace(b"\r\n", b";x=y\r\n", 1) + LAST_CHUNK),
            RESULT,
            BROKEN,
        ),
        Fault("has no last chunk", (chunked(lambda b: _chunks([b])),), (BROKEN,), (RESULT,)),
        Fault("has a cut last chunk", (chunked(lambda b: _chunks([b]) + b"0\r\n"),), (BROKEN,), (RESULT,)),
        _both("has a chunk size that is no number", chunked(lambda b: b"xyz\r\n" + b), BROKEN),
        _both("has a chunk size below 0", chunked(lambda b: b"-5\r\n" + b), BROKEN),
        _both("has a chunk size of 30 digits", chunked(lambda b: b"f" * 30 + b"\r\n" + b[:20]), BROKEN),
        _both("has an endless chunk extension", chunked(lambda b: b"5;" + b"x" * 300_000), BROKEN),
        Fault(
            "has a chunk longer than its size",
            (chunked(lambda b: b"5\r\n" + b + b"\r\n" + LAST_CHUNK),),
            (BROKEN,),
            (BROKEN,),
        ),
        _both("has a chunk shorter than its size", chunked(lambda b: b"%x\r\n%s" % (len(b) + 50, b[:20])), BROKEN),
        # Encodings.
        _both("packs it with gzip", body(packed, gzipped), RESULT),
        _both("packs it with deflate", body(lambda b: packed(b, 15), "Content-Encoding: deflate"), RESULT),
        _both("packs it twice", body(lambda b: packed(packed(b)), "Content-Encoding: gzip, gzip"), RESULT, BROKEN),
        _both("says gzip and is not", body(lambda b: b, gzipped), BROKEN),
        _both("says deflate and is not", body(lambda b: b"\x78\x9c" + b, "Content-Encoding: deflate"), BROKEN),
        Fault(
            "sends gzip that is cut", (body(lambda b: packed(b)[:-12], gzipped),), (UNREADABLE, BROKEN), (RESULT, *half)
        ),
        Fault(
            "sends gzip that is cut in half",
            (body(lambda b: packed(b)[: len(packed(b)) // 2], gzipped),),
            (UNREADABLE, BROKEN),
            half,
        ),
        Fault(
            "sends gzip with a wrong checksum",
            (body(lambda b: packed(b)[:-8] + b"x" * 8, gzipped),),
            (BROKEN,),
            (RESULT, BROKEN),
        ),
        Fault(
            "sends gzip with a byte changed",
            (body(lambda b: _changed(packed(b)), gzipped),),
            (BROKEN, UNREADABLE),
            half,
        ),
        Fault(
            "says an encoding that nobody knows",
            (body(lambda b: b, "Content-Encoding: secret"),),
            (RESULT, BROKEN, UNREADABLE),
            (RESULT, *half),
        ),
        Fault(
            "says br and is not",
            (body(lambda b: b, "Content-Encoding: br"),),
            (RESULT, BROKEN, UNREADABLE),
            (RESULT, *half),
        ),
        # Kinds.
        Fault(
            "has no content type",
            (_send(lambda a: a.whole.replace(b"Content-Type: ", b"X-Type: "), None),),
            (RESULT,),
            (RESULT,),
        ),
        Fault("says it is text", (body(lambda b: b, kind="text/plain"),), (RESULT,), (UNREADABLE,)),
        Fault("says it is a picture", (body(lambda b: b, kind="image/png"),), (RESULT,), (UNREADABLE,)),
        Fault("has a content type of nonsense", (body(lambda b: b, kind=";;;=\xff"),), (RESULT,), (UNREADABLE,)),
        Fault(
            "says another charset",
            (body(lambda b: b, kind="application/json; charset=utf-16"),),
            (RESULT,),
            (UNREADABLE,),
        ),
        Fault(
            "says a charset that nobody knows",
            (body(lambda b: b, kind="application/json; charset=x\x00"),),
            (RESULT, BROKEN),
            (UNREADABLE, BROKEN),
        ),
        Fault(
            "sends JSON for a stream",
            (body(lambda _: b'{"response":"hi"}', kind="application/json"),),
            (),
            (UNREADABLE,),
        ),
        Fault(
            "sends a page",
            (body(lambda _: b"<!doctype html><title>Maintenance</title>", kind="text/html"),),
            (UNREADABLE,),
            (UNREADABLE,),
        ),
        Fault("sends a page as the right type", (body(lambda _: b"<html>Maintenance</html>"),), (UNREADABLE,), half),
        Fault(
            "sends an error as a success",
            (as_json({"error": "It failed.", "request_id": REQUEST_ID}),),
            # A workflow's run that has failed is a result, too.
            (replace(UNREADABLE, request_id=True), replace(RESULT, words="It failed.")),
            (replace(UNREADABLE, request_id=True),),
        ),
        Fault(
            "sends the end of an answer twice", (_send(lambda a: a.whole + a.whole[-7:], None),), (RESULT,), (RESULT,)
        ),
        is_plain("starts it with a BOM", body(lambda b: b"\xef\xbb\xbf" + b), RESULT, UNREADABLE),
        is_plain(
            "sends it in Latin-1",
            body(lambda b: b.decode().encode("latin-1")),
            UNREADABLE,
            replace(RESULT, words="Ol\ufffd, w\ufffdrld"),
        ),
        is_plain("sends it in UTF-16", body(lambda b: b.decode().encode("utf-16")), UNREADABLE),
        is_plain("sends NUL bytes", body(lambda b: bytes(len(b))), UNREADABLE),
        is_plain("sends JSON that is cut", body(lambda b: b[:-3]), replace(UNREADABLE, request_id=True)),
        is_plain("sends JSON and more", body(lambda b: b + b" {}"), UNREADABLE),
        is_plain("sends JSON with blanks around it", body(lambda b: b" \r\n\t" + b + b" \n"), RESULT),
        is_plain("sends a million blanks first", body(lambda b: b" " * 1_000_000 + b), RESULT),
        is_plain("sends deep JSON", body(lambda _: b"[" * 100_000), UNREADABLE),
        is_plain("sends deep objects", body(lambda b: b'{"a":' * 50_000 + b"1" + b"}" * 50_000), UNREADABLE),
        *(
            is_plain(f"sends {name}", as_json(value), UNREADABLE)
            for name, value in {"an array": [1], "a string": "ok", "a number": 1, "null": None, "true": True}.items()
        ),
        is_plain("sends NaN", body(lambda _: b"NaN"), UNREADABLE),
        is_plain(
            "sends a number of 10,000 digits in it",
            body(lambda b: b[:-1] + b',"n":' + b"9" * 10_000 + b"}"),
            RESULT,
            UNREADABLE,
        ),
        is_plain("sends half of a surrogate in it", body(lambda b: b[:-1] + b',"s":"\\ud800"}'), RESULT, UNREADABLE),
        is_plain("sends its keys twice", body(lambda b: b[:-1] + b"," + b[1:]), RESULT),
        is_plain("sends a megabyte more", body(lambda b: b[:-1] + b',"more":"' + b"x" * 1_000_000 + b'"}'), RESULT),
    ]


def _changed(packed: bytes) -> bytes:
    at = len(packed) // 2
    return packed[:at] + bytes([packed[at] ^ 0xFF]) + packed[at + 1 :]


STATUSES = (
    *(300, 301, 302, 303, 304, 305, 307, 308, 399),
    *(
        400,
        401,
        402,
        403,
        404,
        405,
        406,
        407,
        408,
        409,
        410,
        411,
        412,
        413,
        414,
        415,
        417,
        418,
        421,
        422,
        423,
        424,
        425,
    ),
    *(426, 428, 429, 431, 451, 460, 499),
    *(500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 521, 522, 523, 524, 525, 526, 529, 530, 598, 599, 600, 999),
)
_CLASSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    402: "PaymentRequiredError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}
# What a service, its provider or something in between answers an error with: the content type, the body and, where it
# is one, the encoding.
BODIES: dict[str, tuple[str, bytes, str]] = {
    "a JSON error": ("application/json", b'{"error":"no","request_id":"%s"}' % REQUEST_ID.encode(), ""),
    "no body": ("", b"", ""),
    "a page": ("text/html", b"<html><h1>Oh no</h1></html>", ""),
    "text in Latin-1": ("text/plain; charset=iso-8859-1", "Très désolé".encode("latin-1"), ""),
    "a BOM and JSON": ("application/json", b'\xef\xbb\xbf{"error":"no"}', ""),
    "JSON that is cut": ("application/json", b'{"error":"n', ""),
    "an array": ("application/json", b'["no"]', ""),
    "a string": ("application/json", b'"no"', ""),
    "a number": ("application/json", b"1e999", ""),
    "null": ("application/json", b"null", ""),
    "deep JSON": ("application/json", b"[" * 100_000, ""),
    "an error that is an object": ("application/json", b'{"error":{"message":["no"]},"code":{},"request_id":7}', ""),
    "half of a surrogate": ("application/json", b'{"error":"\\ud800","message":"\\udfff"}', ""),
    "a huge number": ("application/json", b'{"error":"no","limit":%s,"current":1e400}' % (b"9" * 5000), ""),
    "NUL bytes": ("application/octet-stream", bytes(100), ""),
    "a megabyte": ("text/plain", b"no " * 350_000, ""),
    "gzip": ("application/json", gzip.compress(b'{"error":"no"}', mtime=0), "gzip"),
    "events": ("text/event-stream", b'data: {"type":"error","error":"no"}\n\n', ""),
    "terminal codes": ("text/plain", b"\x1b[2J\x1b]0;owned\x07\r\n", ""),
}


def _statuses() -> list[Fault]:
    """Every status with every kind of body. In the small part each status has one of them."""
    turns = cycle(BODIES)
    made: list[Fault] = []
    for status in STATUSES:
        chosen = next(turns)
        for name, (kind, body, encoding) in BODIES.items():
            if status == 304 and body:
                continue  # it has none by definition
            lines = [f"Content-Encoding: {encoding}"] if encoding else []
            act = _send(
                lambda answer, status=status, body=body, kind=kind, lines=lines: (
                    _head(kind, f"Content-Length: {len(body)}", *lines, status=f"{status} Odd") + body
                ),
                None,
            )
            outcome = replace(status_outcome(status), request_id=name == "a JSON error")
            made.append(_both(f"answers {status} with {name}", act, outcome, quick=name == chosen))
    echo = _send_request_back()
    made += [_both(f"answers {status} with the request", echo(status), status_outcome(status)) for status in (400, 500)]
    cut = _send(lambda answer: answer.sent(status="429 Too Many", length=999, body=b'{"error":"slow'))
    made.append(_both("answers 429 and cuts it", cut, BROKEN, status_outcome(429)))
    cut = _send(lambda answer: answer.sent(status="500 Oh", length=999, body=b'{"error":"oh'))
    made.append(_both("answers 500 and cuts it", cut, BROKEN, status_outcome(500)))
    daily = json.dumps({"error": "Daily limit", "code": "api_rate_limit_exceeded", "limit": 5, "current": 5}).encode()
    act = _send(lambda answer: answer.sent(status="429 Too Many", body=daily, kind="application/json"), None)
    made.append(_both("answers that the daily limit is reached", act, Outcome("DailyLimitError", 429, refused=True)))
    return made


def _send_request_back() -> Callable[[int], Callable[[Answer], Step]]:
    def with_status(status: int) -> Callable[[Answer], Step]:
        def act(answer: Answer) -> Step:
            return lambda exchange: exchange.send(
                answer.sent(status=f"{status} Odd", body=exchange.head + exchange.body, kind="text/plain")
            )

        return act

    return with_status


def status_outcome(status: int, retry_after: float | None = None) -> Outcome:
    """What an error status has to become."""
    refused = status < 500 and status not in (303, 408)
    if status == 429 or (status == 503 and retry_after is not None):
        again, refused = "always", True
    else:
        again = "harmless" if status >= 500 else "never"
    error = _CLASSES.get(status, "InternalServerError" if status >= 500 else "APIStatusError")
    return Outcome(error, status, refused, again, too_late=(retry_after or 0) > 60, retry_after=retry_after)


def _retry_afters() -> list[Fault]:
    """Every form of `Retry-After`, with the seconds that it means; None where it means nothing."""
    now = datetime.now(timezone.utc)
    past, later = now - timedelta(days=1), now + timedelta(hours=2)
    forms: dict[str, tuple[str, float | None]] = {
        "0": ("0", 0),
        "a float": ("0.01", 0.01),
        "a float without digits after it": ("0.", 0),
        "61": ("61", 61),
        "0 with blanks": ("  0  ", 0),
        "a past date": (format_datetime(past, usegmt=True), 0),
        "a past date of RFC 850": (past.strftime("%A, %d-%b-%y %H:%M:%S GMT"), 0),
        "a past date of asctime": (past.strftime("%a %b %d %H:%M:%S %Y"), 0),
        "a date in two hours": (format_datetime(later, usegmt=True), 7200),
        "a date in two hours of RFC 850": (later.strftime("%A, %d-%b-%y %H:%M:%S GMT"), 7200),
        "a date in two hours of asctime": (later.strftime("%a %b %d %H:%M:%S %Y"), 7200),
        "the year 100000": ("Fri, 31 Dec 100000 23:59:59 GMT", None),
        "the year 0": ("Fri, 31 Dec 0000 23:59:59 GMT", 0),
        "the 32nd": ("Fri, 32 Dec 2020 23:59:59 GMT", None),
        "a zone that is absurd": ("Fri, 31 Dec 2100 23:59:59 +9999999999", None),
        "-1": ("-1", None),
        "-0": ("-0", None),
        "inf": ("inf", None),
        "nan": ("nan", None),
        "1e3": ("1e3", None),
        "a hundred digits": ("9" * 100, float("9" * 100)),
        "400 digits": ("9" * 400, None),
        "0x10": ("0x10", None),
        "other digits": ("\xb2", None),
        "nothing": ("", None),
        "words": ("in a moment", None),
        "two values": ("0, 0", None),
    }
    made: list[Fault] = []
    for number, (name, (value, seconds)) in enumerate(forms.items()):
        for status in (429, 503):
            act = _send(
                lambda answer, status=status, value=value: answer.sent(
                    f"Retry-After: {value}",
                    status=f"{status} Later",
                    body=b'{"error":"later"}',
                    kind="application/json",
                ),
                None,
            )
            made.append(
                _both(
                    f"answers {status} with Retry-After {name}",
                    act,
                    status_outcome(status, seconds),
                    quick=status == 503 or number % 4 == 0,
                )
            )
    return made


def _redirects() -> list[Fault]:
    """Redirects are not followed: the key belongs to one address."""
    targets = {"to itself": "/v1/prompt/invoke", "elsewhere": "{elsewhere}/v1/prompt/invoke"}
    targets |= {"without a scheme": "//elsewhere.invalid/", "to a file": "file:///etc/passwd", "nowhere": ""}
    targets |= {"to nonsense": "http://[::1", "to text": "\xff\xfe"}
    return [
        _both(
            f"redirects with {status} {name}",
            _send(
                lambda answer, status=status, target=target: answer.sent(
                    f"Location: {target.replace('{elsewhere}', answer.elsewhere)}",
                    status=f"{status} Moved",
                    body=b"",
                    kind="text/html",
                ),
                None,
            ),
            status_outcome(status),
            quick=name in ("elsewhere", "to itself") or status == 307,
        )
        for status in (301, 302, 303, 307, 308)
        for name, target in targets.items()
    ]


def _streams() -> list[Fault]:
    """What is wrong with a stream of events."""

    def events(
        name: str, make: Callable[[Answer], Sequence[bytes]], *outcomes: Outcome, end: Step | None = None
    ) -> Fault:
        def whole(answer: Answer) -> bytes:
            last = LAST_CHUNK if end is None else b""
            return _head(answer.kind, CHUNKED) + _chunks(make(answer)) + last

        return Fault(name, (_send(whole, end),), (), outcomes)

    def first(answer: Answer) -> bytes:
        return answer.events[0]

    failed = Outcome("StreamFailedError")
    error = b'data: {"type":"error","error":"It failed."}\n\n'
    return [
        events("streams nothing but its end", lambda a: [b"data: [DONE]\n\n"], replace(RESULT, words=""), INTERRUPTED),
        events("ends a stream early", lambda a: [first(a)], INTERRUPTED),
        events("closes a stream early", lambda a: [first(a)], INTERRUPTED, end=close),
        events("resets a stream", lambda a: [first(a)], INTERRUPTED, BROKEN, end=reset),
        events("cuts an event", lambda a: [first(a), a.events[1][:20]], INTERRUPTED),
        events("leaves out the last blank line", lambda a: [a.body.rstrip()], RESULT, INTERRUPTED),
        events("leaves out the end of a stream", lambda a: a.events[: a.needed], RESULT),
        events("resets after the last event", lambda a: a.events, RESULT, INTERRUPTED, BROKEN, end=reset),
        events("says that a run failed", lambda a: [first(a), error], failed),
        events("says that a run failed, and resets", lambda a: [first(a), error], failed, BROKEN, end=reset),
        events("streams an error without words", lambda a: [b'data: {"type":"error"}\n\n'], failed),
        events("streams garbage", lambda a: [first(a), b"data: \x00\xff{\n\n"], INTERRUPTED),
        events("streams a page", lambda a: [b"<html>\n\n</html>\n\n"], INTERRUPTED),
        events("streams JSON that is no object", lambda a: [first(a), b"data: [1]\n\n"], INTERRUPTED),
        events("streams JSON that is cut", lambda a: [first(a), b'data: {"type":"respo\n\n'], INTERRUPTED),
        events("streams deep JSON", lambda a: [b"data: " + b"[" * 100_000 + b"\n\n"], INTERRUPTED),
        events("streams Latin-1", lambda a: [b'data: {"type":"response","response":"\xe9"}\n\n'], INTERRUPTED),
        events("streams an event that is too large", lambda a: [b"data: " + b"x" * 3_000_000], INTERRUPTED, end=close),
        events(
            "streams a line that is too large", lambda a: [b"x" * 65_000 for _ in range(40)], INTERRUPTED, end=close
        ),
        events("streams events of nonsense", lambda a: [b'data: {"type":7,"response":[]}\n\n', *a.events], RESULT),
        events("streams comments and fields", lambda a: [b": x\n\nid: 1\nretry: 0\nfoo\n\n", *a.events], RESULT),
        events("streams with a BOM", lambda a: [b"\xef\xbb\xbf" + a.body], RESULT),
        events("streams with CRLF", lambda a: [a.body.replace(b"\n", b"\r\n")], RESULT),
        events("streams with CR", lambda a: [a.body.replace(b"\n", b"\r")], RESULT),
        events("streams after the end", lambda a: [*a.events, b"data: garbage\n\n" * 100], RESULT),
        events("streams a megabyte after the end", lambda a: [*a.events, *[b"x" * 50_000] * 20], RESULT),
        events("streams byte by byte", lambda a: [a.body[i : i + 1] for i in range(len(a.body))], RESULT),
    ]


def _slow() -> list[Fault]:
    """What lasts until the client's limits end it."""

    def slow(name: str, act: Callable[[Answer], Step], *outcomes: Outcome, **others: object) -> Fault:
        return _both(name, act, *outcomes, waits=True, **others)

    def body_begun(answer: Answer) -> bytes:
        return answer.sent(length=99_999_999, body=b" ")

    def streamed(name: str, act: Callable[[Answer], Step], *outcomes: Outcome) -> Fault:
        return Fault(name, (act,), (), outcomes, waits=True)

    def events_begun(answer: Answer) -> bytes:
        return _head(answer.kind, CHUNKED) + _chunks(answer.events[:1])

    def event_begun(answer: Answer) -> bytes:
        return events_begun(answer) + _chunks([b"data: "])

    start = b"HTTP/1.1 200 OK\r\n"
    comment = _chunks([b": still here\n\n"])
    made = [
        slow("never answers", _do(say_nothing), SLOW),
        slow("sends half a head and nothing more", _send(lambda _: start, say_nothing), SLOW),
        slow("drips its head", _slowly(lambda _: start + b"X-Slow: x", 0.02), SLOW),
        slow("sends headers without end", _for_ever(lambda _: start, b"X: y\r\n", 0.005), SLOW),
        slow(
            "sends early hints without end", _for_ever(lambda _: b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.005), SLOW
        ),
        slow("sends empty lines without end", _for_ever(lambda _: start[:-2], b" ", 0.005), SLOW),
        slow("sends half a body and nothing more", _send(lambda a: a.sent(length=9999), say_nothing), SLOW, RESULT),
        slow("drips its body", _for_ever(body_begun, b" ", 0.02), SLOW),
        slow("sends a body without end", _for_ever(body_begun, b" " * 4000, 0.001), SLOW),
        slow("sends chunks without end", _for_ever(lambda a: _head(a.kind, CHUNKED), b"1\r\n \r\n", 0.01), SLOW),
        slow(
            "drips an error",
            _for_ever(lambda a: a.sent(status="500 Oh", length=9999, body=b"{", kind="text/plain"), b" ", 0.02),
            SLOW,
        ),
        slow(
            "sends trailers without end",
            _for_ever(lambda a: _head(a.kind, CHUNKED) + b"0\r\n", b"X: y\r\n", 0.01),
            SLOW,
            INTERRUPTED,
        ),
        Fault("does not read an upload", (_good,), (SLOW_UNHEARD,), (), waits=True, upload=True, welcome=_deaf),
        streamed("is silent in a stream", _send(events_begun, say_nothing), IDLE),
        streamed("keeps a stream alive with comments", _for_ever(events_begun, comment, 0.02), IDLE),
        streamed("keeps a stream alive with blank lines", _for_ever(events_begun, _chunks([b"\n\n"]), 0.02), IDLE),
        streamed("keeps a stream alive with empty fields", _for_ever(events_begun, _chunks([b"data\n\n"]), 0.02), IDLE),
        streamed("drips an event", _for_ever(event_begun, _chunks([b"x"]), 0.02), IDLE),
        streamed("drips a chunk's size", _for_ever(events_begun, b"0", 0.02), IDLE, INTERRUPTED),
        streamed(
            "never ends a stream that is complete",
            _send(lambda a: _head(a.kind, CHUNKED) + _chunks(a.events), say_nothing),
            RESULT,
        ),
        streamed(
            "keeps a stream that is complete alive",
            _for_ever(lambda a: _head(a.kind, CHUNKED) + _chunks(a.events[: a.needed]), comment, 0.02),
            RESULT,
        ),
    ]
    # A stream without end is one that a stream may be; only its events have to keep coming.
    as_stream = {"drips its body", "sends a body without end", "sends chunks without end"}
    return [replace(fault, streamed=(IDLE, SLOW)) if fault.name in as_stream else fault for fault in made]


def _deaf(connection: socket.socket, stopping: threading.Event) -> None:
    """Read nothing at all, and have little room for what is sent."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    if not stopping.wait(HANGS):
        drop(connection)  # a close in good order would leave a client waiting for room
