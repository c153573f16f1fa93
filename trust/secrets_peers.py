"""In how many of the same places does the key of other SDKs show, where the same call fails?

The call is the first that each SDK is for. A channel counts once for each fault in which the key shows there. Not
counted are the debug logs of the HTTP libraries, which write whatever head an answer has.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tests.faulty_server import Exchange, FaultyServer, json_reply, reset

from .canaries import Canary, Log, Search, broken_writes, channels_of
from .figures import OURS, Options, Report, main, versions

__all__ = ["measure"]

KEY = Canary("sk_test_")
LOGS_OF_LIBRARIES = {f"the log of {name}" for name in ("httpcore", "httpcore2", "httpx", "httpx2", "urllib3")}
NOWHERE = "http://127.0.0.1:9/v1"


def _plain(canary: Canary) -> str:
    # A call, and no attribute: some tracebacks look up the names in a line of code.
    return canary.text


def _echo(exchange: Exchange) -> None:
    """Refuse, and repeat the request."""
    lines = exchange.head.decode("latin-1").split("\r\n")
    said = {"error": {"message": f"Bad header: {' '.join(lines)}", "type": "invalid_request_error"}}
    json_reply(json.dumps(said), 401)(exchange)


def _broken_line(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n" + exchange.head.replace(b":", b" ").replace(b"\r\n", b" ") + b"\r\n\r\n")
    exchange.connection.close()


def _unreadable(exchange: Exchange) -> None:
    json_reply('{"id": ')(exchange)


BROKEN_WRITE = "a connection that breaks while it is written to"

FAULTS: dict[str, Callable[[Exchange], None] | None] = {
    "401": json_reply('{"error": {"message": "No."}}', 401),
    "401 that echoes the request": _echo,
    "500": json_reply('{"error": {"message": "No."}}', 500),
    "broken JSON": _unreadable,
    "a reset": reset,
    "a header line that echoes the request": _broken_line,
    "no connection": None,
    BROKEN_WRITE: reset,
}


def _fetch_hive(base_url: str) -> tuple[Any, Callable[[], Any]]:
    sdk = importlib.import_module("fetch_hive_sdk")
    client = sdk.FetchHive(api_key=_plain(KEY), base_url=base_url, max_retries=0)
    return client, lambda: client.invoke_prompt(deployment="greeter", variant="default")


def _released(base_url: str) -> tuple[Any, Callable[[], Any]]:
    client = importlib.import_module("fetch_hive_sdk").FetchHive(api_key=_plain(KEY), base_url=base_url)
    return client, lambda: client.invoke_prompt(deployment="greeter", variant="default", inputs={})


def _search_released(folder: Path) -> tuple[int, dict[str, int], list[str]]:
    """The same for 0.4.1, which has this SDK's import name, in a process of its own."""
    code = (
        f"import sys, json; sys.path.insert(0, {str(folder)!r}); from trust import secrets_peers as peers;"
        "print(json.dumps(peers._search(peers._released)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    found: tuple[int, dict[str, int], list[str]] = json.loads(ended.stdout.splitlines()[-1])
    return found


def _openai(base_url: str) -> tuple[Any, Callable[[], Any]]:
    client = importlib.import_module("openai").OpenAI(api_key=_plain(KEY), base_url=base_url, max_retries=0)
    return client, lambda: client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello."}])


def _anthropic(base_url: str) -> tuple[Any, Callable[[], Any]]:
    client = importlib.import_module("anthropic").Anthropic(api_key=_plain(KEY), base_url=base_url, max_retries=0)
    return client, lambda: client.messages.create(
        model="m", max_tokens=9, messages=[{"role": "user", "content": "Hello."}]
    )


def _stripe(base_url: str) -> tuple[Any, Callable[[], Any]]:
    stripe = importlib.import_module("stripe")
    origin = base_url.removesuffix("/v1")
    client = stripe.StripeClient(_plain(KEY), base_addresses={"api": origin}, max_network_retries=0)
    return client, lambda: client.v1.customers.retrieve("cus_1")


SDKS: dict[str, tuple[str, Callable[[str], tuple[Any, Callable[[], Any]]]]] = {
    OURS: ("fetch_hive_sdk", _fetch_hive),
    "openai": ("openai", _openai),
    "anthropic": ("anthropic", _anthropic),
    "stripe": ("stripe", _stripe),
}


def measure(options: Options) -> Report:
    """Let each SDK fail, and count where its key shows."""
    report = Report("Secrets: where does the key show when a call fails, in this SDK and in others?")
    names = {**versions(list(SDKS)), OURS: OURS}
    results: dict[str, tuple[int, dict[str, int], list[str]]] = {}
    searched: dict[str, int] = {}
    showing: dict[str, int] = {}
    channels: dict[str, str] = {}
    objects: dict[str, str] = {}
    for sdk, (module, make) in SDKS.items():
        if importlib.util.find_spec(module) is None:
            report.notes.append(f"{sdk} is not installed, and was skipped.")
            continue
        results[names.get(sdk, sdk)] = _search(make)
    if (released := Path(sys.prefix, f"{OURS}-0.4.1")).is_dir():
        results[f"{OURS} 0.4.1"] = _search_released(released)
    for name, (places, found, shown_by_client) in results.items():
        searched[name], showing[name] = places, sum(found.values())
        channels[name] = ", ".join(f"{channel} ({number})" for channel, number in found.items()) or "none"
        objects[name] = ", ".join(shown_by_client) or "none"
    report.add(f"texts searched after {len(FAULTS)} failing calls", searched)
    report.add("faults times channels in which the API key shows", showing, "0", showing.get(OURS) in (0, None))
    report.add("in which channels, and how often", channels)
    report.add("what of the client itself shows the key", objects)
    if options.quick:
        report.notes.append("There is no smaller part: the whole takes seconds.")
    return report


def _search(make: Callable[[str], tuple[Any, Callable[[], Any]]]) -> tuple[int, dict[str, int], list[str]]:
    search = Search({"API key": KEY})
    with Log() as log:
        for fault, step in FAULTS.items():
            breaking = broken_writes(BrokenPipeError) if fault == BROKEN_WRITE else nullcontext()
            with FaultyServer() as server, breaking:
                if step is not None:
                    server.then(step)
                for channel, place in [*_places(make, NOWHERE if step is None else server.base_url), *log.take()]:
                    search.look(fault, channel, place, documented=channel in LOGS_OF_LIBRARIES)
        counts = Counter(found.rpartition(" in ")[2] for found in dict.fromkeys(search.found))
        client, _ = make(NOWHERE)
        shown = {"repr": repr(client), "str": str(client)}
        try:
            shown["pickle"] = pickle.dumps(client).decode("latin-1")
        except Exception as refusal:
            shown["pickle"] = str(refusal)  # it cannot be pickled
        of_the_client = [channel for channel, text in shown.items() if KEY.is_in(text)]
    return search.places, dict(counts.most_common()), of_the_client


def _places(make: Callable[[str], tuple[Any, Callable[[], Any]]], base_url: str) -> list[tuple[str, Any]]:
    client, call = make(base_url)
    try:
        call()
    except Exception as error:
        return list(channels_of(error))
    finally:
        getattr(client, "close", lambda: None)()
    return []


if __name__ == "__main__":
    main(measure)
