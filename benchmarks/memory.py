"""Memory: what a client that has called holds, whether it grows with the calls, and what a second client costs.

    python benchmarks/memory.py [--quick] [--json] [--only NAME]…

Each candidate has a process of its own (`--candidate`), which tells its resident memory before, between and after.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from harness import BODY, KEY, OURS, RELEASED, Options, Sample, Server, Table, tell
from programs import HTTPX_PYDANTIC

CANDIDATES = (OURS, HTTPX_PYDANTIC, "openai", "anthropic")
SECOND_CLIENTS = (OURS, "httpx", "openai", "anthropic")


def resident_mb() -> float:
    """This process's resident memory now; where the system does not tell that, its peak."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            import resource

            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


# --- in the candidate's process -------------------------------------------------------------------------------


def maker(name: str, url: str) -> Callable[[], Callable[[], str]]:
    """How to make a client, which then makes calls. Only what the candidate needs is imported."""
    messages: list[Any] = [{"role": "user", "content": "The export button is disabled."}]
    if name == OURS:
        from fetch_hive_sdk import FetchHive

        def ours() -> Callable[[], str]:
            client = FetchHive(KEY, url)
            return lambda: client.invoke_prompt(**BODY).response

        return ours
    if name in {"httpx", HTTPX_PYDANTIC}:
        import httpx

        headers = {"Authorization": f"Bearer {KEY}"}
        if name == "httpx":

            def plain() -> Callable[[], str]:
                client = httpx.Client(headers=headers)
                return lambda: client.post(f"{url}/prompt/invoke", json=BODY).json()["response"]

            return plain
        from pydantic import BaseModel

        class PromptResult(BaseModel, extra="allow"):
            request_id: str
            response: str
            model: str | None = None
            usage: dict[str, Any] | None = None
            stop_reason: str | None = None

        def typed() -> Callable[[], str]:
            client = httpx.Client(headers=headers)
            validate = PromptResult.model_validate_json
            return lambda: validate(client.post(f"{url}/prompt/invoke", json=BODY).content).response

        return typed
    if name == "openai":
        import openai

        def chat() -> Callable[[], str]:
            create: Any = openai.OpenAI(api_key=KEY, base_url=url).chat.completions.create
            return lambda: create(model="gpt-x", messages=messages).choices[0].message.content

        return chat
    import anthropic

    def claude() -> Callable[[], str]:
        create: Any = anthropic.Anthropic(api_key=KEY, base_url=url.removesuffix("/v1")).messages.create
        return lambda: create(model="claude-x", max_tokens=99, messages=messages).content[0].text

    return claude


def growth(name: str, url: str, marks: Iterable[int]) -> dict[str, float]:
    """The memory after so many calls in all."""
    call = maker(name, url)()
    made, told = 0, {}
    for mark in marks:
        for _ in range(mark - made):
            assert "disabled" in call()
        made = mark
        told[str(mark)] = resident_mb()
    return told


def second_client(name: str, url: str, times: int) -> dict[str, float]:
    """What one more client costs that makes one call, less a call of a client that is warm. In milliseconds."""
    make = maker(name, url)
    warm = make()
    warm()
    kept: list[object] = []
    costs: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        more = make()
        more()
        between = time.perf_counter()
        warm()
        costs.append((between - began - (time.perf_counter() - between)) * 1e3)
        kept.append(more)  # so that it is not closed while another is timed
    return {"ms": statistics.median(costs)}


# --- in the parent --------------------------------------------------------------------------------------------


def ask(work: str, name: str, url: str, *numbers: int) -> dict[str, float]:
    """Have a fresh process of a candidate tell its figures."""
    command = [sys.executable, __file__, "--candidate", work, name, url, *map(str, numbers)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - our own
    answer: dict[str, float] = json.loads(ended.stdout)
    return answer


def candidate(work: str, name: str, url: str, *numbers: str) -> None:
    marks = [int(number) for number in numbers]
    print(json.dumps(growth(name, url, marks) if work == "growth" else second_client(name, url, marks[0])))


def measure(options: Options, server: Server) -> dict[str, Table]:
    from released import Released

    url = server.url("now")
    pick = options.effort.pick
    early, middle, late = pick((1_000, 10_000, 100_000), (500, 1_000, 3_000), (10, 20, 30))
    present = [name for name in CANDIDATES if name == HTTPX_PYDANTIC or options.peer(name, package=_module(name))]
    held: dict[str, list[Sample]] = {}
    for name in present:
        # The others make fewer calls: what matters is that ours does not grow.
        to = (early, middle, late) if name == OURS else (early, middle)
        told = ask("growth", name, url, *to)
        grown = (told[str(to[-1])] - told[str(early)]) * 2**10 / ((to[-1] - early) / 10_000)
        held[name] = [{"rss_mb": told[str(middle)], "grown_kb": grown, "calls": to[-1]}]
    if (released := Released.start(options)) is not None:
        few = pick((500, 1_500), (40, 80), (2, 4))
        released.calls(url, few[0])
        before = released.rss()
        released.calls(url, few[1] - few[0])
        after = released.rss()
        grown = (after - before) * 2**10 / ((few[1] - few[0]) / 10_000)
        held[RELEASED] = [{"rss_mb": after, "grown_kb": grown, "calls": few[1]}]
        released.close()
    times, rounds = pick(30, 5, 2), pick(3, 1, 1)
    seconds: dict[str, list[Sample]] = {
        name: [{"wall_ms": ask("second", name, url, times)["ms"]} for _ in range(rounds)]
        for name in SECOND_CLIENTS
        if name == "httpx" or options.peer(name, package=_module(name))
    }
    return {
        "memory": Table(
            f"Import, client and {middle:,} calls",
            HTTPX_PYDANTIC,
            ("rss_mb", "grown_kb", "calls"),
            held,
        ),
        "second client": Table("One more client in the process", "httpx", ("wall_ms",), seconds),
    }


def _module(name: str) -> str:
    return "fetch_hive_sdk" if name == OURS else name


def main() -> None:
    if sys.argv[1:2] == ["--candidate"]:
        candidate(*sys.argv[2:])
        return
    options = Options.read(__doc__)
    with Server() as server:
        tell(options, measure(options, server))


if __name__ == "__main__":
    main()
