"""`fetch-hive doctor`: what is wrong with the key, the network or the clock, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from .arguments import ApiKey, BaseUrl, Json
from .failures import ExitCode
from .terminal import say, say_json, styled, waiting

if TYPE_CHECKING:
    from .checks import Check

__all__ = ["doctor"]

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}


def doctor(api_key: ApiKey = None, base_url: BaseUrl = None, as_json: Json = False) -> None:
    """Find out what is wrong, and how to mend it.

    Checked are the key, the address, the network, TLS, the clock, the workspace and the versions. Nothing is run and
    nothing is billed. The key is never shown, at most its last four characters. The exit code is 1 if a check failed.
    """
    from .checks import examine

    checks: list[Check] = []
    with waiting("Checking") as stop_waiting:
        for check in examine(api_key, base_url):
            stop_waiting()
            checks.append(check)
            if not as_json:
                _say(check)
    failed = any(check.outcome == "fail" for check in checks)
    if as_json:
        say_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _say(check: Check) -> None:
    say(f"{styled(f'{check.outcome:<4}', _COLORS[check.outcome])}  {check.name:<14}  {check.found}")
    if check.mend:
        say(f"{'':<22}{check.mend}")
