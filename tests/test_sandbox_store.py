"""What the sandbox remembers: records as they were, filters, counts, files, threads, processes."""

from __future__ import annotations

import gc
import itertools
import os
import sqlite3
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from fetch_hive_sdk.errors import ConfigurationError
from fetch_hive_sdk.sandbox.answers import Answer
from fetch_hive_sdk.sandbox.chunks import Cut, Pause
from fetch_hive_sdk.sandbox.runs import (
    Approval,
    Callback,
    CallbackAttempt,
    Delegation,
    HttpRequest,
    HumanStep,
    Moment,
    Refused,
    Reply,
    Run,
)
from fetch_hive_sdk.sandbox.store import ANY, MetadataFilter, RunFilter, Store

NOON = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)

HARD: dict[str, Any] = {
    "big": 2**200,
    "negative": -(2**64),
    "whole": 3.0,
    "tiny": 5e-324,
    "zero": -0.0,
    "true": True,
    "one": 1,
    "null": None,
    "half": "\ud800",
    "halves": "\ud83d\ude00",
    "emoji": "😀",
    "nul": "a\0b",
    "line": "\u2028\r\n",
    "empty": {},
    "lists": [[], [[1, [2.0, None]]], {"deep": [{"": False}]}],
}


def identifier(number: int) -> str:
    return f"req_{number:032x}"


def make_run(number: int = 1, **more: Any) -> Run:
    """A run that a prompt's request began."""
    values: dict[str, Any] = {
        "kind": "prompt",
        "request_id": identifier(number),
        "deployment": "support-classifier",
        "request": {"deployment": "support-classifier"},
        "started_at": NOON + timedelta(seconds=number),
    }
    return Run(**values | more)


def make_ended(number: int = 1, **more: Any) -> Run:
    """A run that a prompt's request began and ended."""
    values: dict[str, Any] = {
        "status": "completed",
        "reply": Reply(status=200, headers={"Content-Type": "application/json"}, body=b"{}"),
        "answer": Answer("Hi", usage={"total_tokens": 1}),
        "ended_at": NOON + timedelta(seconds=number + 1),
    }
    return make_run(number, **values | more)


def make_callback(number: int = 1, run: int = 1) -> Callback:
    return Callback(
        id=f"callback-{number}",
        url="https://example.com/callback",
        body=b'{"n":\xff}',
        headers={"Content-Type": "application/json"},
        event_type="workflow.completed",
        request_id=identifier(run),
    )


def make_approval(number: int = 1, run: int = 1, **more: Any) -> Approval:
    values: dict[str, Any] = {
        "id": f"approval-{number}",
        "request_id": identifier(run),
        "agent": "AGENT",
        "tool_name": "send_email",
        "summary": "Send an email",
        "created_at": NOON,
    }
    return Approval(**values | more)


def make_delegation(number: int = 1, run: int = 1, **more: Any) -> Delegation:
    values: dict[str, Any] = {
        "id": f"delegation-{number}",
        "parent_request_id": identifier(run),
        "request_id": identifier(100 + number),
        "thread_id": "thread",
        "tool_call_id": "call_1",
        "name": "research-brief",
        "created_at": NOON,
    }
    return Delegation(**values | more)


def make_refused(number: int) -> Refused:
    request = HttpRequest(method="POST", path="/v1/prompt/invoke", body=b"{")
    return Refused(at=NOON + timedelta(seconds=number), request=request, status=400, error=f"No {number}")


def same(one: object, other: object) -> bool:
    """Equal, and in each part of the same type: 1 is not 1.0, a list is no tuple, a proxy is no dict."""
    return one == other and repr(one) == repr(other)


def ids(runs: list[Run]) -> list[int]:
    return [int(run.request_id.removeprefix("req_"), 16) for run in runs]


@pytest.fixture
def store() -> Iterator[Store]:
    """A store in memory."""
    with closing(Store()) as store:
        yield store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store's file may be made."""
    return tmp_path / "runs.sqlite"


@pytest.fixture(params=["memory", "file"])
def either(request: pytest.FixtureRequest, path: Path) -> Iterator[Store]:
    """A store in memory, and one in a file."""
    with closing(Store(path if request.param == "file" else None)) as store:
        yield store


# --- records ----------------------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was(either: Store) -> None:
    """A run with every field filled comes back equal, each value of the same type, with all that belongs to it."""
    run = make_run(
        kind="agent",
        trigger="webhook",
        deployment=None,
        agent="AGENT \ud83d",
        variant="v",
        inputs=HARD,
        message="\udfff",
        thread_id="\ud800",
        metadata={"text": "\ud800", "\udc00": 1, "float": 1.0, "bool": True, "none": None, "big": 10**40, "f": 0.1},
        user="me",
        request=HARD,
        http=HttpRequest(method="POST", path="/v1/agent/invoke", headers={"Accept": "*/*"}, body=bytes(range(256))),
        status="awaiting_approval",
        reply=Reply(status=200, headers={"Content-Type": "a/b"}, body=bytes(range(256)), unfinished="req_x"),
        answer=Answer(
            "Text",
            reasoning="Why",
            model="m",
            usage={"whole": 2.0, "big": 2**70, "nested": [{"a": [None, True]}]},
            tool_calls=[{"tool_name": "t", "tool_input": {"a": 1.0}}, {"tool_name": "u", "observation": [1]}],
            artifacts=({"file_url": "https://example.com/a", "size": 1.0},),
            background=[{"deployment": "research-brief", "inputs": {"n": 1.0}}],
            error="Error",
            error_code="code",
        ),
        ended_at=NOON + timedelta(days=1, microseconds=7),
        human_step=HumanStep(
            question="?", options=("yes", "no"), expires_at=NOON, on_timeout="continue", choice="no", chosen_at=NOON
        ),
        timeline=(Moment(at=NOON, what="Started"), Moment(at=NOON + timedelta(microseconds=1), what="Ended")),
        callbacks=(
            replace(
                make_callback(1),
                pending=False,
                attempts=(
                    CallbackAttempt(started_at=NOON, duration=1.0, error="refused", withheld=True),
                    CallbackAttempt(started_at=NOON, duration=0.25, status_code=200, response="ok \ud800"),
                ),
            ),
            make_callback(2),
        ),
        approvals=(
            make_approval(1, arguments=HARD, destructive=True),
            make_approval(2, status="denied", decided_at=NOON, decided_via="dashboard"),
        ),
        delegations=(
            make_delegation(1, thread_id=None, result={"output": 1.0}, status="completed", delivered_at=NOON),
            make_delegation(2, delivery_error="no"),
        ),
    )
    either.add(run)
    found = either.get(run.request_id)
    assert found is not None
    assert same(found, run)
    assert found.reply is not None
    assert same(found.reply.body, bytes(range(256)))
    assert same(either.runs(), [run])


def test_a_bare_run_comes_back_as_it_was(store: Store) -> None:
    """A run of which nothing is known but its beginning comes back equal."""
    run = make_run()
    store.add(run)
    assert same(store.get(run.request_id), run)


def test_an_answer_without_usage_comes_back_with_its_defaults(store: Store) -> None:
    """A bare answer comes back equal, and is as immutable and replaceable as any."""
    store.add(make_run(answer=Answer("Hi")))
    found = store.get(identifier(1))
    assert found is not None
    assert found.answer is not None
    assert same(found.answer, Answer("Hi"))
    assert replace(found.answer, text="Ho").text == "Ho"
    with pytest.raises(AttributeError):
        found.answer.text = "Ho"  # type: ignore[misc]


def test_times_come_back_in_utc(store: Store) -> None:
    """A time of any zone comes back as the same instant in UTC, to the microsecond."""
    started = datetime(2026, 6, 1, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-7)))
    store.add(make_run(started_at=started))
    found = store.get(identifier(1))
    assert found is not None
    assert found.started_at == started
    assert found.started_at.tzinfo is timezone.utc
    assert found.started_at.microsecond == 999_999


def test_mappings_come_back_as_dicts(store: Store) -> None:
    """A mapping that is no dict comes back as a dict, at any depth."""
    proxy: Mapping[str, Any] = MappingProxyType({"a": MappingProxyType({"b": 1})})
    store.add(make_run(inputs=proxy, request=proxy, metadata=MappingProxyType({"k": "v"})))
    found = store.get(identifier(1))
    assert found is not None
    assert same(found.inputs, {"a": {"b": 1}})
    assert same(found.request, {"a": {"b": 1}})
    assert same(found.metadata, {"k": "v"})


def test_an_empty_text_of_an_answer_comes_back(store: Store) -> None:
    """A text that was given as empty is not taken for one that was not given."""
    answer = Answer("", model="", error="", text_if_denied="", error_code="", usage={})
    store.add(make_run(answer=answer))
    found = store.get(identifier(1))
    assert found is not None
    assert same(found.answer, answer)


@pytest.mark.parametrize("kind", [tuple, list])
def test_sequences_of_an_answer_keep_their_type(store: Store, kind: Callable[[Any], Any]) -> None:
    """What an answer was given as a list comes back as a list, and a tuple as a tuple, if empty too."""
    answer = Answer(tool_calls=kind([{"tool_name": "t", "observation": kind([1])}]), artifacts=kind([]))
    store.add(make_run(answer=answer))
    found = store.get(identifier(1))
    assert found is not None
    assert same(found.answer, answer)


def test_other_sequences_of_an_answer_come_back_as_lists(store: Store) -> None:
    """A sequence of some other type comes back as a list of the same items."""
    store.add(make_run(answer=Answer(tool_calls=deque([{"tool_name": "t"}]))))
    found = store.get(identifier(1))
    assert found is not None
    assert found.answer is not None
    assert same(found.answer.tool_calls, [{"tool_name": "t"}])


@pytest.mark.parametrize("body", [(b"data: 1\n\n", Pause(float("inf")), b"\xff", Cut("reset"), b""), ()])
def test_a_stream_keeps_its_bytes(store: Store, body: tuple[Any, ...]) -> None:
    """Of a streamed reply the chunks of bytes come back, as a tuple; pauses and cuts do not."""
    store.add(make_run(reply=Reply(status=200, headers={}, body=body)))
    found = store.get(identifier(1))
    assert found is not None
    assert found.reply is not None
    assert found.reply.body == tuple(chunk for chunk in body if isinstance(chunk, bytes))


def test_what_has_no_json_form_is_refused(store: Store) -> None:
    """A value that could not come back as it was is a TypeError, and nothing of the run is kept."""
    with pytest.raises(TypeError):
        store.add(make_run(inputs={"value": {1, 2}}))
    assert store.count() == 0


# --- runs -------------------------------------------------------------------------------------------


def test_saving_changes_the_run_alone(either: Store) -> None:
    """Saving keeps the run's new state and its place, and touches none of what belongs to it."""
    run = make_run(1, callbacks=(make_callback(),))
    either.add(run)
    either.add(make_run(2))
    either.add_approval(make_approval())
    ended = replace(run, status="completed", answer=Answer("Done"), ended_at=NOON + timedelta(seconds=3), callbacks=())
    assert either.save(ended)
    assert either.runs() == [replace(ended, callbacks=(make_callback(),), approvals=(make_approval(),)), make_run(2)]
    assert either.counts() == {"completed": 1, "running": 1}


def test_saving_a_run_that_is_not_there(store: Store) -> None:
    """Saving an unknown run says so, and adds nothing."""
    assert not store.save(make_run())
    assert store.get(identifier(1)) is None
    assert store.runs() == []


def test_a_request_id_that_was_used(store: Store) -> None:
    """A second run of the same id is refused with what to change, and the first stays."""
    store.add(make_run(user="first"))
    with pytest.raises(ConfigurationError, match=f"a run {identifier(1)} already.*new_request_id"):
        store.add(make_run(user="second"))
    assert [run.user for run in store.runs()] == ["first"]


def test_runs_are_in_order_of_arrival(store: Store) -> None:
    """Runs come in the order they were added, whatever their times and ids; newest first is the opposite."""
    for number in (2, 3, 1):
        store.add(make_run(number))
    assert ids(store.runs()) == [2, 3, 1]
    assert ids(store.runs(newest_first=True)) == [1, 3, 2]
    assert ids(store.runs(limit=2)) == [2, 3]
    assert ids(store.runs(newest_first=True, limit=1)) == [1]
    assert store.runs(limit=0) == []


def test_paging(store: Store) -> None:
    """With `before`, each page goes on where the one before it ended, while new runs arrive."""
    for number in range(1, 8):
        store.add(make_run(number, kind="prompt" if number % 2 else "agent"))
    prompts = RunFilter(kinds=("prompt",))
    first = store.runs(prompts, newest_first=True, limit=2)
    store.add(make_run(9))
    second = store.runs(prompts, newest_first=True, limit=2, before=first[-1].request_id)
    third = store.runs(prompts, newest_first=True, limit=2, before=second[-1].request_id)
    assert [ids(first), ids(second), ids(third)] == [[7, 5], [3, 1], []]
    assert ids(store.runs(before=identifier(3))) == [1, 2]
    assert store.runs(before="req_unknown") == []


def test_more_runs_than_one_question_takes(store: Store) -> None:
    """What belongs to a run comes with it among a thousand and more runs too, in the order it was made."""
    numbers = range(1, 1102)
    with store.transaction():
        for number in numbers:
            mine = tuple(make_callback(10 * number + i, number) for i in range(2))
            store.add(make_run(number, callbacks=mine, approvals=(make_approval(number, number),)))
    runs = store.runs()
    assert ids(runs) == list(numbers)
    for number, run in zip(numbers, runs, strict=True):
        assert [callback.id for callback in run.callbacks] == [f"callback-{10 * number + i}" for i in range(2)]
        assert [approval.id for approval in run.approvals] == [f"approval-{number}"]


FILTERS: list[tuple[RunFilter, list[int]]] = [
    (RunFilter(), [1, 2, 3, 4]),
    (RunFilter(kinds=("prompt",)), [1, 2]),
    (RunFilter(kinds=("workflow", "agent")), [3, 4]),
    (RunFilter(kinds=("hive_agent",)), []),
    (RunFilter(statuses=("queued", "failed")), [2, 3]),
    (RunFilter(kinds=("prompt",), statuses=("failed",)), [2]),
    (RunFilter(name="support-classifier"), [1, 2]),
    (RunFilter(name="AGENT"), [4]),
    (RunFilter(name="Support-Classifier"), []),
    (RunFilter(name="\ud800"), []),
    (RunFilter(variant="b"), [2]),
    (RunFilter(since=NOON + timedelta(seconds=3)), [3, 4]),
    (RunFilter(until=NOON + timedelta(seconds=3)), [1, 2]),
    (RunFilter(since=(NOON + timedelta(seconds=2)).astimezone(timezone(timedelta(hours=9)))), [2, 3, 4]),
    (RunFilter(since=NOON + timedelta(seconds=2), until=NOON + timedelta(seconds=2, microseconds=1)), [2]),
    (RunFilter(request_id=""), [1, 2, 3, 4]),
    (RunFilter(request_id="req_"), [1, 2, 3, 4]),
    (RunFilter(request_id=identifier(3)), [3]),
    (RunFilter(request_id="eq_"), []),
    (RunFilter(request_id="req_%"), []),
    (RunFilter(request_id="\ud800"), []),
    (RunFilter(name="support-classifier", metadata=(MetadataFilter(key="beta"),)), [1]),
]


@pytest.mark.parametrize(("wanted", "expected"), FILTERS)
def test_filters(store: Store, wanted: RunFilter, expected: list[int]) -> None:
    """A run matches if each field that is given matches; runs, count and counts agree about it."""
    store.add(make_run(1, variant="a", metadata={"beta": True}))
    store.add(make_run(2, variant="b", status="failed"))
    store.add(make_run(3, kind="workflow", deployment="research-brief", status="queued"))
    store.add(make_run(4, kind="agent", deployment=None, agent="AGENT", metadata={"beta": False}))
    assert ids(store.runs(wanted)) == expected
    assert store.count(wanted) == len(expected)
    assert sum(store.counts(wanted).values()) == len(expected)


def test_counts_by_status(store: Store) -> None:
    """Runs are counted by status, with the filter and without; statuses that none has are left out."""
    for number, status in enumerate(("running", "completed", "completed", "failed"), 1):
        store.add(make_run(number, status=status, user=None, variant="v" if number > 1 else None))
    assert store.counts() == {"running": 1, "completed": 2, "failed": 1}
    assert store.counts(RunFilter(variant="v")) == {"completed": 2, "failed": 1}
    assert store.counts(RunFilter(name="unknown")) == {}


def test_active_runs_are_counted(store: Store) -> None:
    """Active runs are counted by kind and status, and the count follows what is saved."""
    run = make_run(1, kind="workflow")
    store.add(run)
    store.add(make_run(2, kind="workflow", status="queued"))
    store.add(make_run(3, kind="prompt"))
    assert store.active(("workflow",), ("running", "paused")) == 1
    assert store.active(("workflow", "prompt"), ("running", "queued")) == 3
    store.save(replace(run, status="completed"))
    assert store.active(("workflow",), ("running", "paused")) == 0


def test_durations(store: Store) -> None:
    """Durations are those of the newest ended runs that match, oldest first: start, seconds and status."""
    for number, status in enumerate(("completed", "running", "failed", "completed"), 1):
        ended = None if status == "running" else NOON + timedelta(seconds=number, milliseconds=250 * number)
        store.add(make_run(number, kind="agent" if number == 4 else "prompt", status=status, ended_at=ended))
    times = [NOON + timedelta(seconds=number) for number in range(5)]
    everything = [(times[1], 0.25, "completed"), (times[3], 0.75, "failed"), (times[4], 1.0, "completed")]
    assert store.durations() == everything
    assert store.durations(limit=2) == everything[1:]
    assert store.durations(RunFilter(kinds=("prompt",))) == everything[:2]
    assert store.durations(RunFilter(metadata=(MetadataFilter(key="none"),))) == []


def test_names(store: Store) -> None:
    """Names are those that were seen, each once and sorted, by kind; a name with half a surrogate pair too."""
    for number, name in enumerate(("b", "a", "b", "\ud800", "é"), 1):
        store.add(make_run(number, deployment=name))
    store.add(make_run(6, kind="agent", deployment=None, agent="AGENT"))
    assert store.names(("prompt",)) == ["a", "b", "é", "\ud800"]
    assert store.names(("prompt", "agent")) == store.names() == ["AGENT", "a", "b", "é", "\ud800"]
    assert store.names(("workflow",)) == []
    assert ids(store.runs(RunFilter(name="\ud800"))) == [4]


# --- metadata ---------------------------------------------------------------------------------------

METADATA: dict[int, dict[str, Any]] = {
    1: {"beta_user": True, "renewal_window_days": 30},
    2: {"beta_user": "true", "renewal_window_days": 30.0},
    3: {"beta_user": 1, "renewal_window_days": "30"},
    4: {"beta_user": None, "renewal_window_days": 30.5},
    5: {"beta_user": False, "big": 2**100},
    6: {"beta_user": "", "big": float(2**100)},
    7: {"beta_user": 0, "big": 2**100 + 1},
    8: {},
    9: {"\ud800": "\ud800", "half": "\ud800"},
}

MATCHES: list[tuple[tuple[MetadataFilter, ...], list[int]]] = [
    ((), [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ((MetadataFilter(key="beta_user"),), [1, 2, 3, 4, 5, 6, 7]),
    ((MetadataFilter(key="beta_user", value=ANY),), [1, 2, 3, 4, 5, 6, 7]),
    ((MetadataFilter(key="beta_user", value=True),), [1]),
    ((MetadataFilter(key="beta_user", value="true"),), [2]),
    ((MetadataFilter(key="beta_user", value=1),), [3]),
    ((MetadataFilter(key="beta_user", value=1.0),), [3]),
    ((MetadataFilter(key="beta_user", value=None),), [4]),
    ((MetadataFilter(key="beta_user", value=False),), [5]),
    ((MetadataFilter(key="beta_user", value=""),), [6]),
    ((MetadataFilter(key="beta_user", value=0),), [7]),
    ((MetadataFilter(key="beta_user", value=-0.0),), [7]),
    ((MetadataFilter(key="beta_user", value="True"),), []),
    ((MetadataFilter(key="renewal_window_days", value=30),), [1, 2]),
    ((MetadataFilter(key="renewal_window_days", value=30.0),), [1, 2]),
    ((MetadataFilter(key="renewal_window_days", value="30"),), [3]),
    ((MetadataFilter(key="renewal_window_days", value=30.5),), [4]),
    ((MetadataFilter(key="renewal_window_days", value=float("nan")),), []),
    ((MetadataFilter(key="renewal_window_days", value=float("inf")),), []),
    ((MetadataFilter(key="big", value=2**100),), [5, 6]),
    ((MetadataFilter(key="big", value=2**100 + 1),), [7]),
    ((MetadataFilter(key="Beta_user"),), []),
    ((MetadataFilter(key="half"),), [9]),
    ((MetadataFilter(key="\ud800", value="\ud800"),), [9]),
    ((MetadataFilter(key="beta_user"), MetadataFilter(key="big")), [5, 6, 7]),
    ((MetadataFilter(key="big", value=2**100), MetadataFilter(key="beta_user", value=False)), [5]),
    ((MetadataFilter(key="beta_user", value=True), MetadataFilter(key="beta_user", value=False)), []),
]


@pytest.mark.parametrize(("filters", "expected"), MATCHES)
def test_metadata_filters(store: Store, filters: tuple[MetadataFilter, ...], expected: list[int]) -> None:
    """A key finds the runs that have it; a value those where it is equal, type and all; several must all match."""
    for number, metadata in METADATA.items():
        store.add(make_run(number, metadata=metadata))
    assert ids(store.runs(RunFilter(metadata=filters))) == expected


def test_ended_runs_are_there_whenever_they_are_looked_for(store: Store, path: Path) -> None:
    """Runs that are added when they have ended are found at once, in their order, in memory as in a file."""
    with closing(Store(path)) as in_file:
        for either in (store, in_file):
            for number in range(1, 251):
                either.add_ended(make_ended(number, metadata={"number": number}))
                if number in (1, 120):
                    assert either.get(identifier(number)) is not None
            assert [run.request_id for run in either.runs()] == [identifier(number) for number in range(1, 251)]
            assert either.count(RunFilter(metadata=(MetadataFilter(key="number", value=249),))) == 1


@pytest.mark.parametrize("read", [True, False])
def test_an_ended_run_needs_an_id_of_its_own(store: Store, read: bool) -> None:
    """A second run with the same id is refused, whether the first was looked at meanwhile or not."""
    store.add_ended(make_ended())
    assert not read or store.count() == 1
    with pytest.raises(ConfigurationError, match="already"):
        store.add_ended(make_ended(status="failed"))
    assert [run.status for run in store.runs()] == ["completed"]


def test_an_ended_run_is_remembered_as_it_was(store: Store) -> None:
    """What changes in a run's values after it was added does not change what is remembered."""
    inputs, metadata = {"topic": ["AI"]}, {"plan": "starter"}
    run = make_ended(inputs=inputs, metadata=metadata, request={"inputs": inputs, "metadata": {}, "n": {"m": 1}})
    before = deepcopy(run)
    store.add_ended(run)
    inputs["topic"].append("something else")
    metadata["plan"] = "pro"
    assert run.reply is not None
    assert run.answer is not None
    assert run.answer.usage is not None
    for values in (run.request["n"], run.reply.headers, run.answer.usage):
        values["more"] = "something else"
    assert store.runs() == [before]


@pytest.mark.parametrize(
    "more",
    [
        {"answer": Answer("Hi", artifacts=[{"file_url": "https://example.com/a"}], tool_calls=[{"tool_name": "t"}])},
        {"answer": None, "reply": None},
        {"human_step": HumanStep(question="Go on?", options=("yes",), chosen_at=NOON)},
        {"inputs": HARD},
        {"metadata": {"half \ud800": "\ud800", "whole": 3.0}},
        {"user": "\ud800"},
        {"request": {"inputs": {"big": 2**200}}},
        {"http": HttpRequest(method="POST", path="/v1/prompt/invoke", body=b"\xff")},
        {"reply": Reply(status=200, headers={}, body=(b"data: 1\n\n", b"\xff"))},
    ],
)
def test_an_ended_run_comes_back_as_it_was(store: Store, more: dict[str, Any]) -> None:
    """An ended run comes back equal to what it was, whatever its values are."""
    run = make_ended(**more)
    store.add_ended(run)
    assert store.count() == 1
    assert same(store.get(run.request_id), run)


@pytest.mark.parametrize("value", [{1, 2}, {("a", "b"): 1}])
def test_an_ended_run_without_a_json_form_is_refused(store: Store, value: object) -> None:
    """A value of an ended run that could not come back as it was is a TypeError at once, and nothing is kept."""
    with pytest.raises(TypeError):
        store.add_ended(make_ended(inputs={"value": value}))
    assert store.runs() == []


def test_metadata_keys(store: Store) -> None:
    """The keys that are suggested are those that were sent, by kind, sorted."""
    store.add(make_run(1, metadata={"z": 1, "a": 2}))
    store.add(make_run(2, metadata={"a": 3, "\ud800": None}))
    store.add(make_run(3, kind="agent", deployment=None, agent="A", metadata={"m": 1}))
    assert store.metadata_keys(("prompt",)) == ["a", "z", "\ud800"]
    assert store.metadata_keys(("agent",)) == ["m"]
    assert store.metadata_keys() == ["a", "m", "z", "\ud800"]
    assert store.metadata_keys(("workflow",)) == []


# --- callbacks --------------------------------------------------------------------------------------


def test_attempts_are_added_to_their_callback(either: Store) -> None:
    """Attempts are remembered in their order, with the callback and with its run."""
    either.add(make_run())
    either.add_callback(make_callback(1))
    either.add_callback(make_callback(2))
    attempts = tuple(CallbackAttempt(started_at=NOON, duration=float(i), status_code=500 - i) for i in range(3))
    for attempt in attempts:
        assert either.add_attempt("callback-1", attempt)
    expected = replace(make_callback(1), attempts=attempts)
    assert same(either.callback("callback-1"), expected)
    assert either.callbacks() == [expected, make_callback(2)]
    found = either.get(identifier(1))
    assert found is not None
    assert found.callbacks == (expected, make_callback(2))


def test_pending_callbacks(store: Store) -> None:
    """A callback is among the pending ones until it is said to be done, and again when it is to be repeated."""
    store.add(make_run(callbacks=(make_callback(1), make_callback(2))))
    assert store.pending_callbacks() == [make_callback(1), make_callback(2)]
    assert store.set_pending("callback-1", pending=False)
    assert store.pending_callbacks() == [make_callback(2)]
    assert store.callback("callback-1") == replace(make_callback(1), pending=False)
    assert store.add_attempt("callback-1", CallbackAttempt(started_at=NOON, duration=0.0))
    assert store.pending_callbacks() == [make_callback(2)]
    assert store.set_pending("callback-1", pending=True)
    assert [callback.id for callback in store.pending_callbacks()] == ["callback-1", "callback-2"]


def test_an_unknown_callback(store: Store) -> None:
    """What is asked of a callback that is not there is answered with None or False."""
    assert store.callback("unknown") is None
    assert not store.add_attempt("unknown", CallbackAttempt(started_at=NOON, duration=0.0))
    assert not store.set_pending("unknown", pending=False)
    assert store.callbacks() == store.pending_callbacks() == []


@pytest.mark.parametrize(
    "add",
    [
        lambda store: store.add_callback(make_callback()),
        lambda store: store.add_approval(make_approval()),
        lambda store: store.add_delegation(make_delegation()),
    ],
)
def test_what_belongs_to_no_run(store: Store, add: Callable[[Store], None]) -> None:
    """A callback, approval or delegation of a run that is not there is refused."""
    with pytest.raises(sqlite3.IntegrityError):
        add(store)
    assert store.callbacks() == store.approvals() == store.delegations("thread") == []


# --- approvals, delegations, refused requests -------------------------------------------------------


def test_approvals(either: Store) -> None:
    """Approvals are listed newest first, by status, agent and run, page by page, and follow what is saved."""
    either.add(make_run(1))
    either.add(make_run(2))
    made = [make_approval(i, 1 + i % 2, agent="A" if i < 3 else "B", arguments=HARD) for i in range(5)]
    for approval in made:
        either.add_approval(approval)
    decided = replace(made[1], status="allowed", decided_at=NOON, decided_via="api")
    assert either.save_approval(decided)
    assert same(either.approval("approval-1"), decided)
    assert either.approvals() == [made[4], made[3], made[2], decided, made[0]]
    assert either.approvals(status="allowed") == [decided]
    assert either.approvals(status="pending", agent="A") == [made[2], made[0]]
    assert either.approvals(request_id=identifier(2)) == [made[3], decided]
    assert either.approvals(limit=2) == [made[4], made[3]]
    assert either.approvals(limit=2, before="approval-3") == [made[2], decided]
    assert either.approvals(before="unknown") == []


def test_an_unknown_approval(store: Store) -> None:
    """An approval that is not there is None, and saving it says so."""
    assert store.approval("unknown") is None
    assert not store.save_approval(make_approval())


def test_delegations(either: Store) -> None:
    """A delegation is found by its id, by the run it started, and by its thread as long as it has not ended."""
    either.add(make_run())
    made = [make_delegation(i, status=status) for i, status in enumerate(("pending", "running", "expired"))]
    for delegation in (*made, make_delegation(3, thread_id=None), make_delegation(4, thread_id="other")):
        either.add_delegation(delegation)
    assert either.delegations("thread") == made[:2]
    assert either.delegation("delegation-2") == made[2]
    assert either.delegation_of(identifier(101)) == made[1]
    done = replace(made[1], status="completed", result={"output": {"n": 1.0}}, delivered_at=NOON)
    assert either.save_delegation(done)
    assert same(either.delegation("delegation-1"), done)
    assert either.delegations("thread") == made[:1]


def test_an_unknown_delegation(store: Store) -> None:
    """A delegation that is not there is None, and saving it says so."""
    assert store.delegation("unknown") is None
    assert store.delegation_of("unknown") is None
    assert not store.save_delegation(make_delegation())


def test_refused_requests(store: Store) -> None:
    """Refused requests come newest first, and only the newest thousand are kept."""
    with store.transaction():
        for number in range(1005):
            store.add_refused(make_refused(number))
    assert [refused.error for refused in store.refused(3)] == ["No 1004", "No 1003", "No 1002"]
    assert len(store.refused()) == 100
    assert same(store.refused(1), [make_refused(1004)])
    kept = store.refused(5000)
    assert (len(kept), kept[-1].error) == (1000, "No 5")


# --- values and counts ------------------------------------------------------------------------------


def test_values(either: Store) -> None:
    """A value is None until it is set, and then the last one that was set."""
    assert either.value("seed") is None
    either.set_value("seed", b"\0\xff")
    either.set_value("other", b"")
    either.set_value("seed", b"new")
    assert either.value("seed") == b"new"
    assert either.value("other") == b""


def test_calls_are_counted_by_day(either: Store) -> None:
    """Each call adds one to its day, and to no other."""
    assert either.daily("2026-06-01") == 0
    assert [either.count_call("2026-06-01") for _ in range(3)] == [1, 2, 3]
    assert either.count_call("2026-06-02") == 1
    assert either.daily("2026-06-01") == 3


def test_clear_forgets_all_but_the_values(either: Store) -> None:
    """Clearing forgets runs, what belongs to them, refused requests and counts; the values stay; new runs can come."""
    run = make_run(
        metadata={"a": 1}, callbacks=(make_callback(),), approvals=(make_approval(),), delegations=(make_delegation(),)
    )
    either.add(run)
    either.add_refused(make_refused(1))
    either.count_call("2026-06-01")
    either.set_value("seed", b"seed")
    either.clear()
    assert either.runs() == either.callbacks() == either.approvals() == either.delegations("thread") == []
    assert either.names() == either.metadata_keys() == either.refused() == []
    assert either.daily("2026-06-01") == 0
    assert either.value("seed") == b"seed"
    either.add(run)
    assert either.runs() == [run]


# --- transactions and threads -----------------------------------------------------------------------


def test_a_transaction_rolls_back_as_one(either: Store) -> None:
    """An exception undoes all that was done in the block and in blocks inside it, and passes on as it is."""
    either.add(make_run(1))

    def fail() -> None:
        with either.transaction():
            either.add(make_run(2, callbacks=(make_callback(1, 2),)))
            with either.transaction():
                either.save(make_run(1, status="failed"))
                either.count_call("2026-06-01")
            assert either.count() == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert either.runs() == [make_run(1)]
    assert either.callbacks() == []
    assert either.daily("2026-06-01") == 0
    with either.transaction():
        either.add(make_run(3))
    assert ids(either.runs()) == [1, 3]


def test_a_run_is_added_whole_or_not_at_all(store: Store) -> None:
    """If a part of a run cannot be kept, nothing of it is."""
    with pytest.raises(sqlite3.IntegrityError):
        store.add(make_run(1, metadata={"a": 1}, callbacks=(make_callback(1), make_callback(1))))
    assert store.count() == 0
    assert store.metadata_keys() == []
    assert store.callbacks() == []


def test_other_threads_see_a_transaction_whole(either: Store) -> None:
    """A thread that asks in the middle of another's transaction is answered after it."""
    with ThreadPoolExecutor(1) as pool:
        with either.transaction():
            either.add(make_run(1))
            asked = threading.Event()
            counted = pool.submit(lambda: (asked.set(), either.count())[1])
            asked.wait()
            either.add(make_run(2))
        assert counted.result() == 2


def test_many_threads_write_and_read(either: Store) -> None:
    """Threads that write and read at once lose nothing and mix nothing up."""
    workers, each = 8, 25
    barrier = threading.Barrier(workers, timeout=30)

    def work(worker: int) -> list[int]:
        barrier.wait()
        counted: list[int] = []
        for number in range(worker * each, (worker + 1) * each):
            run = make_run(number, metadata={"worker": worker}, callbacks=(make_callback(number, number),))
            either.add(run)
            either.add_attempt(f"callback-{number}", CallbackAttempt(started_at=NOON, duration=0.0, status_code=200))
            assert either.save(replace(run, status="completed", ended_at=run.started_at))
            found = either.get(run.request_id)
            assert found is not None
            assert [callback.delivered for callback in found.callbacks] == [True]
            mine = either.runs(RunFilter(metadata=(MetadataFilter(key="worker", value=worker),)))
            assert ids(mine) == list(range(worker * each, number + 1))
            counted.append(either.count_call("2026-06-01"))
        return counted

    with ThreadPoolExecutor(workers) as pool:
        counted = list(itertools.chain(*pool.map(work, range(workers))))
    assert sorted(counted) == list(range(1, workers * each + 1))
    assert either.counts() == {"completed": workers * each}
    assert len(either.callbacks()) == workers * each


# --- files and processes ----------------------------------------------------------------------------


def test_a_file_outlives_the_store(path: Path) -> None:
    """What was written is there when the file is opened again, and new runs arrive after the old ones."""
    run = make_run(1, metadata={"a": True}, callbacks=(make_callback(),))
    with closing(Store(str(path))) as store:
        store.add(run)
        store.set_value("seed", b"seed")
    with closing(Store(path)) as store:
        assert store.runs(RunFilter(metadata=(MetadataFilter(key="a", value=True),))) == [run]
        assert store.value("seed") == b"seed"
        store.add(make_run(0))
        assert ids(store.runs()) == [1, 0]


KILLED = """
import sys
from datetime import datetime, timezone
from fetch_hive_sdk.sandbox.runs import Callback, CallbackAttempt, Run
from fetch_hive_sdk.sandbox.store import Store

noon = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
store = Store(sys.argv[1])

def add(number):
    run = f"req_{number:032x}"
    told = Callback(id=f"callback-{number}", url="", body=b"", headers={}, event_type="", request_id=run)
    store.add(Run(kind="workflow", request_id=run, request={}, started_at=noon, callbacks=(told,)))

store.set_value("seed", b"seed")
for number in range(50):
    add(number)
store.save(Run(kind="workflow", request_id=f"req_{7:032x}", request={}, started_at=noon, status="failed"))
store.add_attempt("callback-7", CallbackAttempt(started_at=noon, duration=0.5))
with store.transaction():
    add(99)
    print("written", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_loses_nothing(path: Path) -> None:
    """After SIGKILL all that was written is there, and nothing of a transaction that was open."""
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.kill()
    with closing(Store(path)) as store:
        assert ids(store.runs()) == list(range(50))
        assert store.counts() == {"running": 49, "failed": 1}
        assert store.value("seed") == b"seed"
        assert len(store.pending_callbacks()) == 50
        callback = store.callback("callback-7")
        assert callback is not None
        assert callback.attempts == (CallbackAttempt(started_at=NOON, duration=0.5),)


def test_a_reader_beside_a_writer(path: Path) -> None:
    """A second store on the file reads on while the first one writes, and sees what is written once it is whole."""
    with closing(Store(path)) as writer, closing(Store(path)) as reader:
        writer.add(make_run(1))
        assert ids(reader.runs()) == [1]
        with writer.transaction():
            writer.add(make_run(2))
            writer.save(make_run(1, status="failed"))
            assert reader.runs() == [make_run(1)]
            assert reader.counts() == {"running": 1}
        assert reader.counts() == {"running": 1, "failed": 1}


def test_a_writer_that_waits_in_vain(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another store does not stop writing, a change fails as SQLite says it, and can be made later."""
    monkeypatch.setattr("fetch_hive_sdk.sandbox.database.BUSY_TIMEOUT", 0.0)
    with closing(Store(path)) as first, closing(Store(path)) as second:
        with first.transaction(), pytest.raises(sqlite3.OperationalError, match="locked"):
            second.add(make_run())
        assert second.count() == 0
        second.add(make_run())
        assert first.count() == 1


def test_two_stores_write_to_one_file(path: Path) -> None:
    """Two stores that write to one file at once wait for each other, and nothing is lost or counted twice."""
    barrier = threading.Barrier(2, timeout=30)

    def work(worker: int) -> list[int]:
        with closing(Store(path)) as store:
            barrier.wait()
            for number in range(50):
                store.add(make_run(100 * worker + number))
            return [store.count_call("2026-06-01") for _ in range(50)]

    with ThreadPoolExecutor(2) as pool:
        counted = list(itertools.chain(*pool.map(work, range(2))))
    assert sorted(counted) == list(range(1, 101))
    with closing(Store(path)) as store:
        assert store.count() == 100


def test_a_new_file_is_made_once(tmp_path: Path) -> None:
    """Stores that open a new file at the same moment all work with it."""
    workers = 6
    barrier = threading.Barrier(workers, timeout=30)

    def work(path: Path, number: int) -> None:
        barrier.wait()
        with closing(Store(path)) as store:
            store.add(make_run(number))

    with ThreadPoolExecutor(workers) as pool:
        for attempt in range(10):
            path = tmp_path / str(attempt)
            list(pool.map(work, [path] * workers, range(workers)))
            with closing(Store(path)) as store:
                assert sorted(ids(store.runs())) == list(range(workers))


# --- files that cannot be used ----------------------------------------------------------------------


def test_a_file_that_is_no_database(path: Path) -> None:
    """A file of something else is refused by its path, and left as it is."""
    content = b"Dear diary, today I was no database.\n" * 50
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="no database, or is damaged") as caught:
        Store(path)
    assert str(path) in caught.value.message
    assert "Name another file" in caught.value.hint
    assert path.read_bytes() == content


def test_a_database_of_another_program(path: Path) -> None:
    """A database of another program is refused by its path, and left as it is."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE runs (mine)")
    content = path.read_bytes()
    with pytest.raises(ConfigurationError, match="a database of another program") as caught:
        Store(path)
    assert str(path) in caught.value.message
    assert "Name another file" in caught.value.hint
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_file_of_a_newer_version(path: Path) -> None:
    """A file that a newer version has written is refused, with the advice to upgrade."""
    Store(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 1000")
    with pytest.raises(ConfigurationError, match="newer version of fetch-hive-sdk: its format is 1000") as caught:
        Store(path)
    assert str(path) in caught.value.message
    assert "Upgrade" in caught.value.hint


def test_a_file_in_no_folder(tmp_path: Path) -> None:
    """A file whose folder is not there is refused by its path, with what to check."""
    path = tmp_path / "none" / "runs.sqlite"
    with pytest.raises(ConfigurationError, match="unable to open database file") as caught:
        Store(path)
    assert str(path) in caught.value.message
    assert "folder exists" in caught.value.hint


def test_a_file_that_another_program_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that stays locked is refused once the wait is over, with what to check."""
    monkeypatch.setattr("fetch_hive_sdk.sandbox.database.BUSY_TIMEOUT", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("CREATE TABLE mine (value)")
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigurationError, match=r"cannot be used.*locked.*no other program holds it"):
            Store(path)


def test_a_file_that_is_being_made_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store waits until another process has made the file; if that does not end, it says that the file is locked."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                other.execute("ROLLBACK")

        monkeypatch.setattr("fetch_hive_sdk.sandbox.database.sleep", wait)
        with closing(Store(path)) as store:
            assert store.count() == 0
        assert len(waits) == 3

        path.unlink()
        monkeypatch.setattr("fetch_hive_sdk.sandbox.database.BUSY_TIMEOUT", 0.0)
        with closing(sqlite3.connect(path, isolation_level=None)) as stuck:
            stuck.execute("BEGIN IMMEDIATE")
            with pytest.raises(ConfigurationError, match=r"cannot be used.*locked"):
                Store(path)


def test_an_empty_file_is_filled(path: Path) -> None:
    """An empty file, as `tempfile` makes one, is good for a store."""
    path.touch()
    with closing(Store(path)) as store:
        store.add(make_run())
        assert store.count() == 1


def test_a_damaged_file(path: Path) -> None:
    """Damage that shows only when a run is read is told as such, with the path and what to do."""
    with closing(Store(path)) as store, store.transaction():
        for number in range(200):
            store.add(make_run(number, message="x" * 4000))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff" * (len(content) - len(content) // 2))
    with closing(Store(path)) as store:
        with pytest.raises(ConfigurationError, match="damaged") as caught:
            store.runs()
        assert str(path) in caught.value.message
        assert "move this one away" in caught.value.hint


# --- closing ----------------------------------------------------------------------------------------


def test_closing_twice(either: Store) -> None:
    """A closed store can be closed again, and takes no more runs."""
    either.close()
    either.close()
    with pytest.raises(sqlite3.ProgrammingError):
        either.add(make_run())


def test_the_last_store_tidies_up(path: Path) -> None:
    """A closed file is one file again."""
    with closing(Store(path)) as store:
        store.add(make_run())
    assert list(path.parent.iterdir()) == [path]


def test_an_unclosed_store_is_closed_when_it_is_forgotten(path: Path) -> None:
    """A store nobody refers to any more closes its file."""
    store = Store(path)
    store.add(make_run())
    assert len(list(path.parent.iterdir())) > 1
    del store
    gc.collect()
    assert list(path.parent.iterdir()) == [path]


UNCLOSED = """
import gc
from fetch_hive_sdk.sandbox.store import Store

Store()
gc.collect()
kept = Store()
"""


def test_an_unclosed_store_gives_no_warning() -> None:
    """Neither a forgotten store nor one that lives to the end of the program warns of an open connection."""
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", UNCLOSED]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="other systems have other rights")
def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Nobody else may read a new file, nor what SQLite keeps beside it; the rights of an older one stay."""
    Store(tmp_path / "runs.sqlite").close()
    store = Store(tmp_path / "runs.sqlite")
    store.set_value("key", b"value")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    store.close()
    (tmp_path / "runs.sqlite").chmod(0o640)
    Store(tmp_path / "runs.sqlite").close()
    assert (tmp_path / "runs.sqlite").stat().st_mode & 0o777 == 0o640


def test_a_child_of_fork_leaves_the_connection_to_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """In another process than the one that opened it, closing does nothing: neither waits nor closes."""
    store = Store()
    store.set_value("key", b"value")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    store.close()
    monkeypatch.undo()
    assert store.value("key") == b"value"
    store._db._connection.close()  # nobody else will, as this process was the parent all along


def test_a_page_of_runs_sorts_no_records(tmp_path: Path) -> None:
    """To show a page, SQLite sorts the numbers of runs alone, however large their records are."""
    store = Store(tmp_path / "runs.sqlite")
    store.runs(RunFilter(kinds=("prompt",)), newest_first=True, limit=1)
    seen: list[str] = []
    store._db._connection.set_trace_callback(seen.append)
    store.runs(RunFilter(kinds=("prompt",)), newest_first=True, limit=1)
    store._db._connection.set_trace_callback(None)
    query = next(sql for sql in seen if "record" in sql)
    plan = [row[3] for row in store._db.rows(f"EXPLAIN QUERY PLAN {query}")]
    outer = plan[: next(index for index, step in enumerate(plan) if "SUBQUERY" in step)]
    assert outer
    assert not [step for step in outer if "TEMP B-TREE" in step]
    store.close()
