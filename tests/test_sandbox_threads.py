"""The sandbox under several threads at once: places are never exceeded, and everything happens exactly once."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fetch_hive_sdk.sandbox import Answer, BackgroundWorkflow, Sandbox
from fetch_hive_sdk.sandbox.changes import Change

from .sandbox_requests import AGENT, BODIES, DELIVERED, URL, WORKFLOW, ask, go_on, read, told

OTHER: BackgroundWorkflow = {"deployment": "other"}
LONGEST = 20.0  # seconds until a test that hangs fails


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """Threads take turns more often than they would, so that what can go wrong between them does."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-3)
    yield
    sys.setswitchinterval(interval)


def at_once(number: int, work: Callable[[int], object]) -> list[Any]:
    """What so many threads return that begin at the same moment."""
    begin = threading.Barrier(number)

    def one(index: int) -> object:
        begin.wait(LONGEST)
        return work(index)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


class Running:
    """A reply function that counts how many of it run at the same time. None ends before the gate is open."""

    def __init__(self, *, closed: bool = False) -> None:
        self.most = 0
        self.gate = threading.Event()
        if not closed:
            self.gate.set()
        self._now = 0
        self._lock = threading.Lock()

    def __call__(self, inputs: dict[str, Any]) -> str:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        assert self.gate.wait(LONGEST)
        for _ in range(200):
            threading.Event().is_set()  # gives others their turn
        with self._lock:
            self._now -= 1
        return str(inputs["topic"])


@contextmanager
def serving(sandbox: Sandbox, threads: int) -> Generator[list[str], None, None]:
    """Threads that do a sandbox's jobs as a server does, until all is done; and the callbacks they took to deliver."""
    lifecycle = sandbox.engine.lifecycle
    work = threading.Semaphore(0)
    delivered: list[str] = []
    stopping = threading.Event()

    def serve() -> None:
        while work.acquire(timeout=LONGEST):
            while (job := lifecycle.next_job()) is not None:
                if job.kind == "run":
                    lifecycle.finish(job.id)
                else:
                    delivered.append(job.id)
            if stopping.is_set():
                return

    lifecycle.attach(work.release)
    workers = [threading.Thread(target=serve) for _ in range(threads)]
    for worker in workers:
        worker.start()
    yield delivered
    ended = threading.Event()

    def look(_change: Change) -> None:
        if all(run.ended for run in sandbox.engine.runs):
            ended.set()

    unsubscribe = sandbox.engine.subscribe(look)
    look(Change("run"))
    assert ended.wait(LONGEST)
    unsubscribe()
    stopping.set()
    for _ in workers:
        work.release()
    for worker in workers:
        worker.join()
    while (job := lifecycle.next_job()) is not None:
        delivered.append(job.id)
    lifecycle.detach()


@pytest.mark.parametrize("kept", ["in memory", "in a file"])
def test_a_plan_holds_among_threads(tmp_path: Path, kept: str) -> None:
    """Of 60 workflows that 20 threads start, never more than 3 run at once; each ends, and is told, exactly once."""
    db = tmp_path / "runs.sqlite" if kept == "in a file" else None
    with Sandbox(plan="starter", db=db) as sandbox:
        running = Running(closed=True)
        sandbox.workflow("research-brief", reply=running)

        def start(index: int) -> list[str]:
            replies = [ask(sandbox, "workflow", {**DELIVERED, "inputs": {"topic": f"{index}.{n}"}}) for n in range(3)]
            for reply in replies:
                sandbox.engine.release(reply.unfinished or "")
            return [str(read(reply)["run_status"]) for reply in replies]

        with serving(sandbox, 8) as delivered:
            statuses = Counter(status for some in at_once(20, start) for status in some)
            running.gate.set()
        assert running.most <= 3
        assert statuses == {"running": 3, "queued": 57}
        runs = sandbox.runs
        assert [run.status for run in runs] == ["completed"] * 60
        assert all([moment.what for moment in run.timeline].count("Completed") == 1 for run in runs)
        assert sorted(data["output"] for _, data in told(sandbox)) == sorted(
            f"{index}.{n}" for index in range(20) for n in range(3)
        )
        assert sorted(delivered) == sorted(callback.id for callback in sandbox.callbacks)


def test_direct_and_queued_workflows_share_the_places() -> None:
    """Direct calls are refused where there is no place, and leave theirs to what is queued: nothing stays behind."""
    sandbox = Sandbox(plan="starter")
    running = Running()
    sandbox.workflow("research-brief", reply=running)

    def start(index: int) -> int:
        reply = ask(sandbox, "workflow", WORKFLOW if index % 2 else DELIVERED)
        if reply.unfinished:
            go_on(sandbox, reply)
        return reply.status

    statuses = at_once(20, start)
    assert running.most <= 3
    assert set(statuses) <= {200, 202, 429}
    assert statuses.count(202) == 10 == len(sandbox.callbacks)
    assert [run.status for run in sandbox.runs] == ["completed"] * (20 - statuses.count(429))


def test_two_decisions_at_once() -> None:
    """Of two threads that decide the same approval one wins, and the other gets 409."""
    sandbox = Sandbox()
    sandbox.agent("AGENT_UUID", reply=Answer("Paid.", tool_calls=[{"tool_name": "pay", "needs_approval": True}]))
    path = f"/v1/public/workspaces/{sandbox.workspace_id}/tool_action_approvals"
    for _ in range(20):
        request_id = read(ask(sandbox, "agent", AGENT))["request_id"]
        [approval] = sandbox.approvals

        def decide(index: int, approval_id: str = approval.id) -> int:
            decision = {"decision": ("allow_once", "deny")[index]}
            return ask(sandbox, "", decision, path=f"{path}/{approval_id}/decide").status

        statuses = at_once(2, decide)
        assert sorted(statuses) == [200, 409]
        sandbox.engine.settle()
        run = sandbox.engine.run(request_id)
        assert run is not None
        assert run.status == "completed"
        assert run.approvals[0].status == ("allowed", "denied")[statuses.index(200)]
        assert len([moment for moment in run.timeline if moment.what in ("Allowed: pay", "Denied: pay")]) == 1


def test_two_choices_at_once() -> None:
    """Of two threads that choose for the same run one wins; the run goes on once, with that choice."""
    sandbox = Sandbox()
    sandbox.workflow("research-brief", reply=lambda _inputs, choice: choice, human_in_the_loop=True)
    for _ in range(20):
        run = go_on(sandbox, ask(sandbox, "workflow", DELIVERED))

        def choose(index: int, request_id: str = run.request_id) -> str | None:
            option = ("approve", "reject")[index]
            try:
                sandbox.choose(request_id, option)
            except ValueError:
                return None
            return option

        [won] = [option for option in at_once(2, choose) if option]
        sandbox.engine.settle()
        assert told(sandbox)[-1][1]["output"] == won
    assert len(sandbox.callbacks) == 20


def test_a_choice_at_the_moment_of_the_pause() -> None:
    """A run that is answered as soon as it is seen to be paused goes on, though its thread has not returned yet."""
    sandbox = Sandbox()
    sandbox.workflow("research-brief", reply=lambda _inputs, choice: choice, human_in_the_loop=True)

    def answer(change: Change) -> None:
        run = sandbox.engine.run(change.request_id or "")
        if run is not None and run.status == "paused":
            sandbox.choose(run.request_id, "approve")

    sandbox.engine.subscribe(answer)
    assert go_on(sandbox, ask(sandbox, "workflow", DELIVERED)).status == "completed"


def test_cancelling_against_finishing() -> None:
    """A run that is cancelled while it is carried on ends one way or the other, and is told once."""
    sandbox = Sandbox()
    sandbox.workflow("research-brief", reply=Running())
    for _ in range(20):
        reply = ask(sandbox, "workflow", DELIVERED)

        def end(index: int, request_id: str = reply.unfinished or "") -> None:
            if index:
                sandbox.engine.release(request_id)
                sandbox.engine.settle()
                return
            try:
                sandbox.cancel(request_id)
            except ValueError:
                assert sandbox.engine.runs[-1].status == "completed"

        at_once(2, end)
    assert {run.status for run in sandbox.runs} <= {"completed", "cancelled"}
    assert all(len(run.callbacks) == 1 for run in sandbox.runs)


def test_resetting_against_everything() -> None:
    """Runs of all kinds, decisions and look-ups go on while others reset: nothing fails, and no place stays taken."""
    sandbox = Sandbox(plan="starter")
    sandbox.workflow("research-brief", reply=Running())
    calls: Any = [{"tool_name": "pay", "needs_approval": True}]
    sandbox.agent("AGENT_UUID", reply=Answer(tool_calls=calls, background=[OTHER] * 2))

    def work(index: int) -> set[int]:
        statuses: set[int] = set()
        for number in range(10):
            if index == 0:
                sandbox.reset()
                continue
            kind = list(BODIES)[(index + number) % 4]
            body = {**BODIES[kind], "thread_id": "t-1"} if kind == "agent" else BODIES[kind]
            reply = ask(sandbox, kind, DELIVERED if kind == "workflow" else body)
            statuses.add(reply.status)
            if reply.unfinished:
                sandbox.engine.release(reply.unfinished)
            sandbox.engine.settle()
            for approval in sandbox.approvals:
                path = f"/v1/public/workspaces/{sandbox.workspace_id}/tool_action_approvals/{approval.id}/decide"
                statuses.add(ask(sandbox, "", {"decision": "deny"}, path=path).status)
        return statuses

    statuses = set[int]().union(*at_once(6, work))
    assert statuses <= {200, 202, 404, 409}
    sandbox.engine.settle()
    assert all(run.ended for run in sandbox.runs)
    sandbox.reset()
    assert [read(ask(sandbox, "workflow", DELIVERED))["run_status"] for _ in range(4)] == ["running"] * 3 + ["queued"]


def test_a_server_that_comes_while_runs_end_gets_each_callback_once() -> None:
    """Attached in the middle, a server is given each callback exactly once: made before it, or after."""
    for _ in range(10):
        sandbox = Sandbox()
        lifecycle = sandbox.engine.lifecycle

        def work(index: int, sandbox: Sandbox = sandbox) -> None:
            if index == 0:
                sandbox.engine.lifecycle.attach(lambda: None)
                return
            reply = ask(sandbox, "workflow", DELIVERED)
            sandbox.engine.lifecycle.finish(reply.unfinished or "")

        at_once(4, work)
        taken: list[str] = []
        while (job := lifecycle.next_job()) is not None:
            taken.append(job.id)
        assert sorted(taken) == sorted(callback.id for callback in sandbox.callbacks)


def test_listeners_come_and_go_among_threads() -> None:
    """Listeners may subscribe and leave while runs go on; one that stays hears of every run."""
    sandbox = Sandbox()
    heard: set[str | None] = set()
    sandbox.engine.subscribe(lambda change: heard.add(change.request_id))

    def work(index: int) -> str:
        unsubscribe = sandbox.engine.subscribe(lambda _change: None)
        request_id = go_on(sandbox, ask(sandbox, "workflow", DELIVERED)).request_id
        unsubscribe()
        return request_id

    assert set(at_once(8, work)) <= heard


def test_a_listener_may_wait_for_another_thread() -> None:
    """What a listener hears of is written: other threads can use the sandbox while it is called."""
    sandbox = Sandbox()
    seen: list[str] = []
    with ThreadPoolExecutor(1) as other:

        def listen(change: Change) -> None:
            run = other.submit(sandbox.engine.run, change.request_id or "").result(LONGEST)
            seen.append(run.status if run else "")

        sandbox.engine.subscribe(listen)
        go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    assert seen == ["running", "completed"]


def test_each_delegation_is_told_once() -> None:
    """Agents on several threads that start workflows under a plan: each workflow runs, and is told, exactly once."""
    sandbox = Sandbox(plan="starter")
    running = Running()
    sandbox.workflow("research-brief", reply=running)
    workflow: Any = {"deployment": "research-brief", "inputs": {"topic": "AI"}}
    sandbox.agent("AGENT_UUID", reply=Answer(background=[workflow] * 3))
    at_once(6, lambda _index: go_on(sandbox, ask(sandbox, "agent", {**AGENT, "async": {"callback_url": URL}})))
    runs = sandbox.runs
    assert running.most <= 3
    assert [run.status for run in runs] == ["completed"] * 24
    ids = [data["id"] for _, data in told(sandbox)]
    assert len(ids) == len(set(ids)) == 18
