"""`fetch-hive sandbox`: Fetch Hive on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..version import VERSION
from .arguments import Json, check_filled
from .news import News
from .serving import Host, Inbox, cannot_listen, ending_in_order
from .terminal import note, say, say_json, styled

if TYPE_CHECKING:
    from ..sandbox import Sandbox, SandboxServer
    from ..sandbox.changes import Change

__all__ = ["Plan", "sandbox"]

NO_MODEL = "No model runs in it."
EXAMPLES = Path(__file__).parent.parent / "sandbox" / "examples.toml"


class Plan(str, Enum):
    """Whose limit of workflows at once holds."""

    LITE = "lite"
    STARTER = "starter"
    PRO = "pro"


def sandbox(
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="The port; 0 takes one that is free.")
    ] = 8787,
    db: Annotated[
        Path | None, typer.Option("--db", metavar="FILE", help="Keep the runs in this file. Default: in memory.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", exists=True, dir_okay=False, help="Deployments and settings, as TOML."
        ),
    ] = None,
    examples: Annotated[
        bool, typer.Option("--examples", help="The deployments of the documentation's examples. Not with --config.")
    ] = False,
    plan: Annotated[Plan | None, typer.Option("--plan", help="Whose limit of workflows at once holds.")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            help="The one key accepted; better in FETCH_HIVE_SANDBOX_API_KEY. Default: any. An address other than "
            "loopback needs one.",
        ),
    ] = None,
    lenient: Annotated[
        bool | None,
        typer.Option("--lenient/--no-lenient", help="Take calls without a variant, and answer with older keys too."),
    ] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict/--no-strict", help="Refuse deployments that are not registered.")
    ] = None,
    daily_limit: Annotated[
        int | None, typer.Option("--daily-limit", min=0, metavar="N", help="Calls allowed on a day.")
    ] = None,
    deliver_to: Annotated[
        list[str] | None,
        typer.Option("--deliver-to", metavar="HOST", help="Deliver callbacks to this host too. May be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run Fetch Hive on this machine, until Ctrl-C.

    The service's HTTP contract with streams and signed callbacks, and a run log in the browser. No model runs in
    it: replies are those of --config or --examples, or an echo. Ctrl-C or SIGTERM ends it, with exit code 0.
    """
    check_filled(api_key, "--api-key")
    if examples:
        if config is not None:
            raise typer.BadParameter("it does not go with --config.", param_hint="--examples")
        config = EXAMPLES
    given = {
        "db": db,
        "plan": plan and plan.value,
        "api_key": api_key or os.environ.get("FETCH_HIVE_SANDBOX_API_KEY") or None,
        "lenient": lenient,
        "strict": strict,
        "daily_limit": daily_limit,
        "deliver_to": deliver_to or None,
    }
    made = _make(config, {name: value for name, value in given.items() if value is not None})
    inbox: Inbox[Change] = Inbox()
    waiting: set[Change] = set()

    def notice(change: Change) -> None:
        # What waits to be told already is told as it is by then: a busy sandbox does not wait for its terminal.
        if change not in waiting:
            waiting.add(change)
            inbox.put(change)

    with ExitStack() as stack:
        stack.enter_context(made)
        stack.enter_context(ending_in_order(inbox))
        stack.callback(made.engine.subscribe(notice))
        since = made.engine.clock()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)  # those of the sandbox, and no library's about itself
            try:
                server = stack.enter_context(made.serve(host=host, port=port))
            except OSError as error:
                raise cannot_listen(error, host, port) from None
        for warning in caught:
            note(f"Warning: {warning.message}")
        _say_ready(server, own_key=made.engine.api_key is not None, as_json=as_json)
        news = News(made.engine, server.dashboard_url, since=since)
        for change in inbox:
            waiting.discard(change)
            for line, event in news.of(change):
                if as_json:
                    say_json(event)
                else:
                    say(line)


def _make(config: Path | None, options: dict[str, Any]) -> Sandbox:
    from ..sandbox import Sandbox

    return Sandbox(**options) if config is None else Sandbox.from_config(config, **options)


def _say_ready(server: SandboxServer, *, own_key: bool, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "event": "ready",
                "base_url": server.base_url,
                "api_key": None if own_key else server.api_key,  # a key of the user's own is not shown
                "workspace_id": server.workspace_id,
                "dashboard_url": server.dashboard_url,
                "version": VERSION,
                "note": NO_MODEL,
            }
        )
        return
    say(f"Fetch Hive sandbox {VERSION}. {NO_MODEL}\n")
    say(f"  Run log   {styled(server.dashboard_url, 'cyan')}")
    say(f"  Base URL  {server.base_url}\n")
    say("Your app finds it with:\n")
    say(f"  export FETCH_HIVE_BASE_URL={server.base_url}")
    say("  FETCH_HIVE_API_KEY is the key you gave it" if own_key else f"  export FETCH_HIVE_API_KEY={server.api_key}")
    say(f"  export FETCH_HIVE_WORKSPACE_ID={server.workspace_id}\n")
    say("Ctrl-C ends it.")
