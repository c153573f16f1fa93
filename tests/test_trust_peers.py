"""What is said of other SDKs can fail: this SDK's own calls stand for them here, and are made to go wrong."""

from __future__ import annotations

import gc
import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from trust import peers
from trust.faults import Answer, faults
from trust.figures import OURS, Report
from trust.peers import ERROR_ANSWER, NO_ANSWER, Case, Found

BY_NAME = {fault.name: fault for fault in faults()}
PEERS = {peer.name.rpartition(", ")[2]: peer for peer in peers.ours("1.0")}

# Faults in spite of which each kind of call is answered rightly; after some of them an error would be right, too.
ANSWERED = ["gives no reason", "says 206", "speaks HTTP/1.0", "has trailers", "packs it with gzip"]


def judged(name: str, ask: Callable[[Any], Any], *, call: str = "prompt", **others: Any) -> Case:
    """What is said of a peer that makes its call like that."""
    return peers.judge(replace(PEERS[call], ask=ask, **others), BY_NAME[name])


@pytest.mark.parametrize("call", PEERS)
def test_a_wrong_answer_is_told(call: str) -> None:
    """An answer in other words is a wrong result, also where the right one was allowed; the right one survives."""
    peer, chosen = PEERS[call], [BY_NAME[name] for name in ANSWERED]

    def garbled(client: Any) -> str:
        peer.ask(client)
        return "garbage"

    found, good = peers.play(replace(peer, ask=garbled), chosen), peers.play(peer, chosen)
    assert (0, len(ANSWERED)) == (found.survived, found.tried)
    assert ANSWERED == [case.fault for case in found.that("wrong")]
    assert {"'garbage'"} == {case.what for case in found.cases}
    assert (len(ANSWERED), []) == (good.survived, good.that("wrong"))


def test_words_that_a_fault_allows() -> None:
    """Other words are right in the fault that allows just these, and in no other."""
    other = "Ol\ufffd, w\ufffdrld"
    assert "survived" == judged("sends it in Latin-1", lambda client: other).came
    assert "wrong" == judged("gives no reason", lambda client: other).came


def test_the_answer_of_another_call_is_wrong() -> None:
    """Who gives what the call before was answered with is not taken to be right."""
    answers: list[str] = []

    def first(client: Any) -> str:
        answers.append(PEERS["prompt"].ask(client))
        return answers[0]

    case = judged("sends two answers in one", first)
    assert ("wrong", repr(peers.BEFORE)) == (case.came, case.what)
    assert answers[1:] == [PEERS["prompt"].words]


@pytest.mark.parametrize(("fault", "came"), [("resets", "survived"), ("gives no reason", "wrong")])
def test_errors_are_told_apart(fault: str, came: str) -> None:
    """An error of the SDK's own is survived; any other is named, and no nonsense in its place is survived."""

    def foreign(client: Any) -> Any:
        try:
            PEERS["prompt"].ask(client)
        except Exception as error:
            raise LookupError("nothing there") from error

    assert came == judged(fault, PEERS["prompt"].ask if came == "survived" else foreign).came
    told = judged("resets", foreign)
    assert ("foreign", "LookupError") == (told.came, told.what)


def test_what_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that does not end is one that hangs, and its requests are counted all the same."""
    asked, ended = threading.Event(), threading.Event()

    def hang(client: Any) -> None:
        for _ in range(2):
            with pytest.raises(PEERS["prompt"].family):
                PEERS["prompt"].ask(client)
        asked.set()
        ended.wait(60)

    monkeypatch.setattr(peers, "_bound", lambda fault: 0.1 if asked.wait(20) else 0)
    case = judged("resets", hang)
    ended.set()
    assert ("hung", 2, NO_ANSWER) == (case.came, case.requests, case.repeated)


class Connection:
    """One that is closed when it is collected, which only a whole collection does: it holds itself."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("http://").removesuffix("/v1").split(":")
        self.socket, self.itself = socket.create_connection((host, int(port))), self
        gc.collect()

    def __del__(self) -> None:
        self.socket.close()


@pytest.mark.parametrize("kept", [False, True])
def test_a_connection_left_open_is_told(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that somebody still holds is left open; one that only the error held is closed with it."""
    monkeypatch.setattr(peers, "CLOSED_IN", 0.2 if kept else 5)
    held: list[Connection] = []

    def ask(address: str) -> None:
        connection = Connection(address)
        if kept:
            held.append(connection)
        raise LookupError(connection)

    case = judged("gives no reason", ask, make=lambda url, timeout: url)
    for connection in held:
        connection.socket.close()
    assert (kept, "foreign") == (case.open, case.came)


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        ("resets", NO_ANSWER),
        ("has a length of 30 digits", NO_ANSWER),
        ("answers 500 with the request", ERROR_ANSWER),
        ("answers 500 and cuts it", ERROR_ANSWER),
        ("answers 503 with Retry-After words", ERROR_ANSWER),
        ("answers 408 with events", ERROR_ANSWER),
        ("answers 503 with Retry-After 0", ""),
        ("answers 400 with the request", ""),
        ("answers 429 and cuts it", ""),
        ("sends 408 on the idle connection, and keeps it", ERROR_ANSWER),
        ("sends bytes on the idle connection", NO_ANSWER),
    ],
)
def test_repetitions_are_told_apart(fault: str, after: str) -> None:
    """A request that is repeated counts by what the first was answered with; after a refusal it does not count."""

    def twice(client: Any) -> Any:
        with suppress(*PEERS["prompt"].family):
            PEERS["prompt"].ask(client)
        return PEERS["prompt"].ask(client)

    case = judged(fault, twice)
    assert (after, True) == (case.repeated, case.requests >= 2)


def test_what_starts_nothing_is_no_repetition() -> None:
    """A look-up behind a call that failed does not count as its repetition."""

    def look_up(client: Any) -> Any:
        with pytest.raises(PEERS["prompt"].family):
            PEERS["prompt"].ask(client)
        return client.with_options(max_retries=0).requests.get("req_1")

    case = judged("resets", look_up)
    assert ("survived", 1, "") == (case.came, case.requests, case.repeated)


def test_the_call_before_is_no_request_of_this_one() -> None:
    """The good call that a fault is played after does not count."""
    case = judged("closes the idle connection", PEERS["prompt"].ask)
    assert ("survived", 1, "") == (case.came, case.requests, case.repeated)


def test_ours_repeats_what_was_refused() -> None:
    """This SDK repeats after a 503 with `Retry-After`, as documented, and this breaks no promise; after a 500 never."""
    refused, failed = (
        judged(f"answers {answer}", PEERS["prompt"].ask)
        for answer in ("503 with Retry-After 0", "500 with the request")
    )
    assert (3, "", []) == (refused.requests, refused.repeated, refused.problems)
    assert (1, "", []) == (failed.requests, failed.repeated, failed.problems)


@pytest.mark.parametrize(
    "wrong",
    [
        Case("resets", "hung"),
        Case("resets", "foreign", "LookupError"),
        Case("resets", "wrong", "'x'"),
        Case("resets", "survived", open=True),
        Case("resets", "survived", requests=2, repeated=NO_ANSWER),
        Case("resets", "survived", requests=2, repeated=ERROR_ANSWER),
    ],
)
def test_only_ours_can_break_a_promise(wrong: Case) -> None:
    """Whatever goes wrong with this SDK breaks a promise in a sentence of its own; of others it is a figure."""
    good = Case("closes", "survived", requests=1)
    report = peers.as_report(Report("Peers"), {f"{OURS} 1.0, prompt": Found([good, wrong])})
    assert not report.kept
    [sentence] = report.failures
    assert sentence.startswith(f"{OURS} 1.0, prompt: resets: ")
    assert any(row.kept is False for row in report.rows)
    others = {f"{OURS} 1.0, prompt": Found([good]), "other 2.0, chat": Found([good, wrong])}
    report = peers.as_report(Report("Peers"), others)
    assert report.kept
    found = {row.what: row.figures["other 2.0, chat"] for row in report.rows}
    row = f"request repeated after {wrong.repeated}" if wrong.repeated else "faults survived"
    assert (2, 1) == (found["faults tried"], found[row])


def test_the_notes_are_short() -> None:
    """What a peer did not survive is told by a few examples of each kind, and by how many more there are."""
    cases = [Case(f"resets {number}", "hung") for number in range(9)]
    cases += [Case("sends a page", "foreign", "json.JSONDecodeError")] * 4 + [Case("closes", "foreign", "KeyError")]
    cases += [Case("has no body", "wrong", "''"), Case("says 204", "survived", open=True)]
    [note] = peers.as_report(Report("Peers"), {"other 2.0, chat": Found(cases)}).notes
    assert note == (
        "Not survived by other 2.0, chat: hung where the server resets 0, resets 1, resets 2, and 6 more; "
        "foreign errors json.JSONDecodeError (4), KeyError (1); wrong results '' (has no body); "
        "connections left open where the server says 204."
    )


def test_others_are_refused_in_their_own_words() -> None:
    """Another service tells an error in an object; a success, and what is no JSON or is cut, stays as it is."""
    answer = peers.OthersAnswer(b'{"id":"1"}')
    told = answer.sent("Retry-After: 0", status="503 Later", body=b'{"error":"later"}')
    head, _, body = told.partition(b"\r\n\r\n")
    assert {"error": {"type": "api_error", "message": "later"}} == json.loads(body)
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    assert b"Retry-After: 0" in head.split(b"\r\n")
    for status, sent, length in (("200 OK", b'{"error":"x"}', None), ("500 Oh", b"<p>", None), ("500 Oh", b'{"e', 99)):
        kept = Answer(answer.body).sent(status=status, body=sent, length=length)
        assert kept == answer.sent(status=status, body=sent, length=length)


def test_what_is_left_out() -> None:
    """The faults that are left out for all are there, and none of them is played."""
    chosen = {fault.name for fault in peers.suitable(quick=False)}
    left_out = {f"answers {status} with Retry-After {form}" for status in (429, 503) for form in peers.LONG_WAITS}
    left_out |= peers.OF_FETCH_HIVE
    assert set(BY_NAME) >= peers.SEND_408
    assert left_out <= set(BY_NAME)
    assert not left_out & chosen
    assert {"answers 503 with Retry-After 0", "answers 503 with Retry-After -1", "never answers"} <= chosen
