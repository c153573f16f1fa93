"""Load: many threads on one client, thousands of streams on another, and forks while calls are in flight.

    python -m trust.load [--quick] [--only threads|streams|fork|gunicorn|celery]…

The server is a process of its own that answers each call with the call's own name, and counts runs, connections and
which processes use them (load_server.py). gunicorn and Celery are optional.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
from typing_extensions import Self

from fetch_hive_sdk import AsyncConnectionPool, AsyncFetchHive, ConnectionPool, FetchHive
from trust.figures import OURS, Options, Report, main, versions
from trust.load_peers import FORK_SECONDS, fork_alone, peers
from trust.load_server import PIECES, ROOT, LoadServer, allow_descriptors, order

__all__ = [
    "InFlight",
    "Tally",
    "call",
    "call_as_child",
    "call_from_threads",
    "call_through_forks",
    "call_through_processes",
    "descriptors",
    "fork",
    "stream_at_once",
]

KEY = "fhk_load"
CHILD_SECONDS = 60  # after which a child that hangs is killed, and counted as failed
WHOLE_SECONDS = 600  # in which everything is over


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


@dataclass
class Tally:
    """How calls went.

    Attributes:
        right: Calls whose answer was their own, as a whole.
        problems: What happened in the others.
    """

    right: int = 0
    problems: list[str] = field(default_factory=list[str])

    def note(self, name: str, text: str, *, pieces: int = 1) -> None:
        """Compare an answer's text with what its call has to get."""
        if text == name * pieces:
            self.right += 1
        else:
            self.problems.append(f"{name} got {text[:60]!r}")

    def add(self, right: int, problems: Sequence[str]) -> None:
        """Add what another process has counted."""
        self.right += right
        self.problems += problems


def call(client: FetchHive, name: str, tally: Tally, deed: str = "answer") -> None:
    """Make a plain call, and see that its answer is its own."""
    try:
        answer = client.invoke_prompt(deployment="load", variant="default", inputs={"call": order(name, deed)})
        tally.note(name, answer.response)
    except Exception as error:
        tally.problems.append(f"{name} got {error!r}")


def stream(client: FetchHive, name: str, tally: Tally, deed: str = "answer") -> None:
    """Read a stream, and see that its text is its own."""
    try:
        with client.invoke_prompt_stream(
            deployment="load", variant="default", inputs={"call": order(name, deed)}
        ) as opened:
            tally.note(name, "".join(opened.text), pieces=PIECES)
    except Exception as error:
        tally.problems.append(f"{name} got {error!r}")


# --- threads --------------------------------------------------------------------------------------------------


def call_from_threads(client: FetchHive, threads: int, each: int) -> Tally:
    """Make so many calls from each of so many threads, all of which begin at once."""
    tallies = [Tally() for _ in range(threads)]
    together = threading.Barrier(threads)

    def work(number: int) -> None:
        together.wait()
        for count in range(each):
            call(client, f"thread{number}-{count}", tallies[number])

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    total = Tally()
    for tally in tallies:
        total.add(tally.right, tally.problems)
    return total


# --- streams --------------------------------------------------------------------------------------------------


async def stream_at_once(client: AsyncFetchHive, server: LoadServer, count: int, places: int) -> Tally:
    """Open so many streams in one event loop. The server holds each after its first event until `places` are open."""
    tally = Tally()

    async def read(name: str) -> None:
        try:
            async with client.invoke_prompt_stream(
                deployment="load", variant="default", inputs={"call": order(name, "hold")}
            ) as opened:
                tally.note(name, "".join([piece async for piece in opened.text]), pieces=PIECES)
        except Exception as error:
            tally.problems.append(f"{name} got {error!r}")

    def let_go() -> None:
        server.wait(lambda told: told["held"] >= min(count, places))
        server.release()

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(read, f"stream{number}")
        await anyio.to_thread.run_sync(let_go)
    return tally


# --- forks ----------------------------------------------------------------------------------------------------


class InFlight:
    """A call and a stream of this process that the server holds while the block lasts: under way at every fork.

    Args:
        client: What they are made with.
        server: What holds them. At the block's end it lets go of them.
        name: What they are called.

    Attributes:
        tally: How they went, after the block.
    """

    def __init__(self, client: FetchHive, server: LoadServer, name: str) -> None:
        self._server = server
        self.tally = Tally()
        self._threads = [
            threading.Thread(target=make, args=(client, f"{name}-{make.__name__}", self.tally, "hold"), daemon=True)
            for make in (call, stream)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self._server.wait(lambda told: told["held"] >= len(self._threads) or bool(self.tally.problems))
        return self

    def __exit__(self, *_: object) -> None:
        self._server.release()
        self.wait()

    def wait(self) -> None:
        """Wait for their ends."""
        for thread in self._threads:
            thread.join(WHOLE_SECONDS)
            if thread.is_alive():
                self.tally.problems.append(f"{thread.name} of the parent never ended")


@contextlib.contextmanager
def busy_threads(client: FetchHive, tally: Tally, threads: int) -> Iterator[None]:
    """Threads that call all the time, so that whatever may be held at a fork is held at some."""
    stopping = threading.Event()

    def work(number: int) -> None:
        count = 0
        while not stopping.is_set():
            (stream if count % 4 == 3 else call)(client, f"parent{number}-{count}", tally)
            count += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stopping.set()
        for worker in workers:
            worker.join()


def call_as_child(client: FetchHive, name: str, calls: int) -> Tally:
    """What a child does with the client it has inherited or was sent: calls, streams, and async calls."""
    tally = Tally()
    for count in range(calls):
        (stream if count % 4 == 3 else call)(client, f"{name}-{count}", tally)
    return tally


async def _call_as_async_child(client: AsyncFetchHive, name: str, tally: Tally) -> None:
    async with client:
        answer = await client.invoke_prompt(deployment="load", variant="default", inputs={"call": order(name)})
        tally.note(name, answer.response)


def call_through_forks(
    client: FetchHive, unused: AsyncFetchHive, children: int, calls: int, *, threads: int
) -> tuple[Tally, Tally, int]:
    """Fork bare children while threads of this process call; each calls with the clients it has inherited.

    Args:
        client: The client that all share.
        unused: A client that the parent has made, but does not call with.
        children: How many; four of them are alive at a time.
        calls: Of each child; one of them is async.
        threads: Of the parent.

    Returns:
        How the parent's calls went, how the children's, and how many children there were that said so.
    """
    ours, theirs = Tally(), Tally()
    told = 0
    with tempfile.TemporaryDirectory() as folder, busy_threads(client, ours, threads):
        for first in range(0, children, 4):
            running: dict[int, Path] = {}
            for number in range(first, min(first + 4, children)):
                file = Path(folder) / f"child{number}"
                child = fork(partial(_be_child, client, unused, f"child{number}", calls, file))
                running[child] = file
            for child, file in running.items():
                _, status = os.waitpid(child, 0)
                if status or not file.exists():
                    theirs.problems.append(f"{file.name} ended with status {status}")
                    continue
                told += 1
                theirs.add(**json.loads(file.read_text()))
    return ours, theirs, told


def fork(work: Callable[[], None]) -> int:
    """Start a child that does this and ends, with 0 if nothing was raised. Returns its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads, which is the question
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.alarm(CHILD_SECONDS)
        work()
        status = 0
    finally:
        os._exit(status)


def _be_child(client: FetchHive, unused: AsyncFetchHive, name: str, calls: int, file: Path) -> None:
    tally = call_as_child(client, name, calls - 1)
    try:
        asyncio.run(_call_as_async_child(unused, f"{name}-async", tally))
    except Exception as error:
        tally.problems.append(f"{name}-async got {error!r}")
    client.close()
    file.write_text(json.dumps({"right": tally.right, "problems": tally.problems}))


def call_through_processes(client: FetchHive, method: str, children: int, calls: int) -> tuple[Tally, int]:
    """Let children of multiprocessing call with a client of this process.

    Args:
        client: The client; `fork` hands it on as it is, the others pickle it.
        method: `fork`, `forkserver` or `spawn`.
        children: How many.
        calls: Of each.

    Returns:
        How the calls went, and how many children there were that said so.
    """
    total, told = Tally(), 0
    context: Any = multiprocessing.get_context(method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        receivers: list[Any] = []
        running: list[Any] = []
        for number in range(children):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_tell_parent, args=(client, f"{method}{number}", calls, sender))
            process.start()
            sender.close()
            receivers.append(receiver)
            running.append(process)
    for receiver, process in zip(receivers, running, strict=True):
        with contextlib.suppress(EOFError):
            if receiver.poll(CHILD_SECONDS):
                total.add(*receiver.recv())
                told += 1
        receiver.close()
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
        if process.exitcode:
            total.problems.append(f"a child of {method} ended with {process.exitcode}")
        process.close()
    return total, told


def _tell_parent(client: FetchHive, name: str, calls: int, sender: Any) -> None:
    tally = call_as_child(client, name, calls)
    sender.send((tally.right, tally.problems))
    sender.close()


# --- gunicorn and Celery, each in a process of its own ----------------------------------------------------------


@dataclass
class Served:
    """What came of the calls that a server's workers made.

    Attributes:
        theirs: How the workers' calls went.
        ours: How those went that were in flight in the master.
        workers: The workers' processes.
        told: What the load server counted.
    """

    theirs: Tally
    ours: Tally
    workers: set[int]
    told: dict[str, Any]


def call_through_gunicorn(server: LoadServer, worker_class: str, requests: int) -> Served:
    """Have gunicorn preload an app with a client, calls of which are in flight in the master, and ask its workers."""
    server.start_anew()
    with tempfile.TemporaryDirectory() as name, _role("gunicorn", server, name, worker_class) as check:
        place = Path(name) / "socket"
        _wait_for(place.exists, check)

        def ask(number: int) -> dict[str, Any]:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(place)), timeout=CHILD_SECONDS) as asking:
                answer: dict[str, Any] = (
                    asking.get(f"http://gunicorn/{worker_class}-{number}").raise_for_status().json()
                )
                return answer

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(ask, range(requests)))
        return _served(server, Path(name), answers, check)


def call_through_celery(server: LoadServer, tasks: int) -> Served:
    """Have Celery fork its workers while calls of a client are in flight, and send them tasks by a folder."""
    server.start_anew()
    with tempfile.TemporaryDirectory() as name, _role("celery", server, name) as check:
        app = _celery(Path(name))
        server.wait(lambda told: told["held"] >= 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Celery's own
            sent = [app.send_task("call", [f"celery-{number}", number]) for number in range(tasks)]
            answers = [result.get(timeout=CHILD_SECONDS, interval=0.02) for result in sent]
        return _served(server, Path(name), answers, check)


def _served(server: LoadServer, folder: Path, answers: list[dict[str, Any]], check: Callable[[], None]) -> Served:
    theirs, ours = Tally(), Tally()
    for answer in answers:
        theirs.add(answer["right"], answer["problems"])
    server.release()
    _wait_for((folder / "master").exists, check)
    ours.add(**json.loads((folder / "master").read_text()))
    return Served(theirs, ours, {answer["process"] for answer in answers}, server.told())


@contextlib.contextmanager
def _role(role: str, server: LoadServer, folder: str, *more: str) -> Iterator[Callable[[], None]]:
    """A process in another role, ended in good order; a call of what it gives raises if the process has ended."""
    command = [sys.executable, "-W", "ignore", "-m", "trust.load", "--role", role, server.address, folder, *more]
    log = Path(folder) / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def check() -> None:
        if process.poll() is not None:
            raise RuntimeError(f"{role} ended with {process.returncode}:\n{log.read_text()}")

    try:
        yield check
    finally:
        process.terminate()
        try:
            process.wait(CHILD_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(reached: Callable[[], bool], check: Callable[[], None]) -> None:
    until = time.monotonic() + CHILD_SECONDS
    while not reached():
        check()
        if time.monotonic() > until:
            raise TimeoutError("It did not come to that.")
        time.sleep(0.02)


def _hold_two(address: str, folder: Path) -> FetchHive:
    """A client with a call and a stream in flight, whose ends will be told in the folder."""
    server = LoadServer(address)
    client = FetchHive(KEY, server.base_url, idle_timeout=WHOLE_SECONDS)
    in_flight = InFlight(client, server, "master")
    in_flight.__enter__()

    def tell() -> None:
        in_flight.wait()
        file = folder / "unfinished"
        file.write_text(json.dumps({"right": in_flight.tally.right, "problems": in_flight.tally.problems}))
        file.rename(folder / "master")

    threading.Thread(target=tell, daemon=True).start()
    return client


def _call_as_worker(client: FetchHive, name: str, number: int) -> dict[str, Any]:
    tally = Tally()
    (stream if number % 4 == 3 else call)(client, name, tally)
    return {"process": os.getpid(), "right": tally.right, "problems": tally.problems}


def _be_gunicorn(address: str, folder: str, worker_class: str) -> None:
    from gunicorn.app.base import BaseApplication

    settings = {
        "bind": f"unix:{folder}/socket",
        "workers": 2,
        "worker_class": worker_class,
        "threads": 4 if worker_class == "gthread" else 1,
        "preload_app": True,
        "max_requests": 25,  # so that the master forks again and again
        "loglevel": "warning",
    }

    class Application(BaseApplication):
        def load_config(self) -> None:
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            client = _hold_two(address, Path(folder))

            def respond(environ: dict[str, Any], start_response: Any) -> list[bytes]:
                name = environ["PATH_INFO"].removeprefix("/")
                body = json.dumps(_call_as_worker(client, name, int(name.rpartition("-")[2]))).encode()
                start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
                return [body]

            return respond

    Application().run()


def _celery(folder: Path) -> Any:
    from celery import Celery

    places = {name: str(folder / name) for name in ("queue", "processed", "control", "results")}
    for place in places.values():
        Path(place).mkdir(exist_ok=True)
    app: Any = Celery("load", broker="filesystem://", backend=f"file://{places['results']}")
    app.conf.update(
        broker_transport_options={
            "data_folder_in": places["queue"],
            "data_folder_out": places["queue"],
            "control_folder": places["control"],
            "polling_interval": 0.02,
        },
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=25,
    )
    return app


def _be_celery(address: str, folder: str) -> None:
    app = _celery(Path(folder))
    client = _hold_two(address, Path(folder))

    @app.task(name="call")
    def make_call(name: str, number: int) -> dict[str, Any]:
        return _call_as_worker(client, name, number)

    assert make_call is not None
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
    app.worker_main(["worker", "--pool=prefork", "--concurrency=2", *quiet])


# --- the report -------------------------------------------------------------------------------------------------

PARTS = ("threads", "streams", "fork", "gunicorn", "celery")


def measure(options: Options) -> Report:
    """Put load on the clients, part by part."""
    report = Report("Load: does each call get its own answer, from threads, thousands of streams, and across forks?")
    allow_descriptors()
    only = getattr(options.arguments, "only", None) or PARTS
    measures = {"threads": _threads, "streams": _streams, "fork": _forks, "gunicorn": _gunicorn, "celery": _celeries}
    for part in PARTS:
        if part in only:
            with LoadServer() as server:
                measures[part](report, server, quick=options.quick)
    return report


def _judge(
    report: Report,
    what: str,
    tallies: Sequence[Tally],
    told: dict[str, Any],
    calls: int,
    *,
    most_open: int | None = None,
) -> None:
    """Add the row of a part: how many calls got their own answers, and what was wrong beside."""
    right = sum(tally.right for tally in tallies)
    problems = [problem for tally in tallies for problem in tally.problems]
    problems += [f"{name} was started twice" for name in told["twice"]]
    if told["shared"]:
        problems.append(f"{told['shared']} connections were used by two processes")
    if told["runs"] != calls:
        problems.append(f"{told['runs']} runs were started for {calls} calls")
    if most_open is not None and told["most_open"] > most_open:
        problems.append(f"{told['most_open']} connections were open, of {most_open} allowed")
    report.add(
        f"{what}: calls with their own answer, of {calls:,}",
        {OURS: right},
        "each, of one run, on a connection of its process",
        right == calls and not problems,
    )
    report.failures += [f"{what}: {problem}" for problem in problems[:20]]


def _threads(report: Report, server: LoadServer, *, quick: bool) -> None:
    threads, each = 64, 50 if quick else 1000
    before = descriptors()
    began = time.perf_counter()
    with FetchHive(KEY, server.base_url) as client:
        tally = call_from_threads(client, threads, each)
    seconds = time.perf_counter() - began
    told = server.told()
    what = f"{threads} threads x {each:,} calls of one client"
    _judge(report, what, [tally], told, threads * each, most_open=threads)
    report.add(f"{what}: calls a second", {OURS: round(threads * each / seconds)})
    report.add(f"{what}: connections open at once", {OURS: told["most_open"]}, f"at most {threads}")
    _same(report, f"{what}: descriptors afterwards", before, descriptors())
    server.start_anew()
    places, each = 16, each // 10
    with (
        ConnectionPool(limits=httpx.Limits(max_connections=places)) as pool,
        FetchHive(KEY, server.base_url, http_client=pool) as client,
    ):
        tally = call_from_threads(client, threads, each)
    what = f"{threads} threads x {each:,} calls on {places} connections"
    _judge(report, what, [tally], server.told(), threads * each, most_open=places)


def _streams(report: Report, server: LoadServer, *, quick: bool) -> None:
    count = 300 if quick else 2000
    loops = ["asyncio"]
    if importlib.util.find_spec("trio"):
        loops.append("trio")
    else:
        report.notes.append("streams on trio: skipped, it is not installed")
    for loop in loops:
        for places in (count, count // 2):
            server.start_anew()
            began = time.perf_counter()
            before, tally, after = anyio.run(_stream_in_loop, server, count, places, backend=loop)
            seconds = time.perf_counter() - began
            what = f"{count:,} streams at once on {places:,} connections, {loop}"
            _judge(report, what, [tally], server.told(), count, most_open=places)
            _same(report, f"{what}: descriptors afterwards", before, after)
            report.add(f"{what}: seconds", {OURS: seconds})


async def _stream_in_loop(server: LoadServer, count: int, places: int) -> tuple[int, Tally, int]:
    before = descriptors()
    limits = httpx.Limits(max_connections=places, max_keepalive_connections=places)
    async with (
        AsyncConnectionPool(limits=limits) as pool,
        AsyncFetchHive(KEY, server.base_url, http_client=pool) as client,
    ):
        tally = await stream_at_once(client, server, count, places)
    return before, tally, descriptors()


def _forks(report: Report, server: LoadServer, *, quick: bool) -> None:
    children, calls, threads = 8 if quick else 100, 10 if quick else 20, 8
    client, unused = FetchHive(KEY, server.base_url, idle_timeout=WHOLE_SECONDS), AsyncFetchHive(KEY, server.base_url)
    with client, InFlight(client, server, "held") as held:
        ours, theirs, told = call_through_forks(client, unused, children, calls, threads=threads)
    counted = server.told()
    what = f"os.fork, {children} children while {threads} threads call"
    _judge(report, what, [held.tally, ours, theirs], counted, 2 + ours.right + children * calls)
    report.add(f"{what}: children whose calls came back", {OURS: told}, "all", told == children)
    _fork_all(report, server, 20, 3 if quick else 20)
    for method in multiprocessing.get_all_start_methods():
        server.start_anew()
        some = 2 if quick else 8
        with FetchHive(KEY, server.base_url) as client, InFlight(client, server, "held") as held:
            tally, told = call_through_processes(client, method, some, calls)
        what = f"multiprocessing, {method}, {some} children"
        _judge(report, what, [held.tally, tally], server.told(), 2 + some * calls)


def _fork_all(report: Report, server: LoadServer, calls: int, times: int) -> None:
    right: dict[str, str] = {}
    twice: dict[str, int] = {}
    shared: dict[str, int] = {}
    kept = False
    for name, shown, python in peers(report):
        server.start_anew()
        counted = fork_alone(name, server.base_url, calls, times, python)
        if name == OURS:
            kept = counted == [calls] * times
        right[shown] = f"{sum(counted):,} ({min(counted)} to {max(counted)} each time)"
        told = server.told()
        twice[shown], shared[shown] = len(told["twice"]), told["shared"]
    what = "A call, os.fork, and both processes call on at once"
    of = f"{calls * times:,} ({times} times {calls})"
    report.add(f"{what}: calls with their own answer, of {of}", right, "all", kept)
    report.add(f"{what}: runs started twice, of {of}", twice, "0", twice[OURS] == 0)
    report.add(f"{what}: connections that both used, of {times}", shared, "0", shared[OURS] == 0)
    if len(right) > 1:
        report.notes.append(f"{what}: each SDK with its own defaults for retries, and a timeout of {FORK_SECONDS:g} s.")


def _gunicorn(report: Report, server: LoadServer, *, quick: bool) -> None:
    if not (found := versions(["gunicorn"])):
        report.notes.append("gunicorn: skipped, it is not installed")
        return
    for worker_class in ("sync", "gthread"):
        requests = 100 if quick else 500
        served = call_through_gunicorn(server, worker_class, requests)
        what = f"{found['gunicorn']}, {worker_class}, preload_app, calls in flight in the master"
        _judge(report, what, [served.theirs, served.ours], served.told, requests + 2)
        report.add(f"{what}: worker processes", {OURS: len(served.workers)})


def _celeries(report: Report, server: LoadServer, *, quick: bool) -> None:
    if not (found := versions(["celery"])):
        report.notes.append("Celery: skipped, it is not installed")
        return
    tasks = 60 if quick else 500
    served = call_through_celery(server, tasks)
    what = f"{found['celery']}, prefork, calls in flight in the parent"
    _judge(report, what, [served.theirs, served.ours], served.told, tasks + 2)
    report.add(f"{what}: worker processes", {OURS: len(served.workers)})


def _same(report: Report, what: str, before: int, after: int) -> None:
    report.add(what, {OURS: after}, f"as before: {before}", after == before)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; may be repeated")


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {"gunicorn": _be_gunicorn, "celery": _be_celery}
    if sys.argv[1:2] == ["--role"]:
        roles[sys.argv[2]](*sys.argv[3:])
    else:
        main(measure, _options)
