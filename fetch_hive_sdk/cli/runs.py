"""`fetch-hive runs`: look a run up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import ApiKey, BaseUrl, Json, api_key_from
from .terminal import one_line, say, say_json, seconds, shown, waiting

if TYPE_CHECKING:
    from ..resources.requests import RequestRecord

__all__ = ["app", "get"]

app = typer.Typer(help="Look runs up.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def runs() -> None:
    """Look runs up."""


@app.command()
def get(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The run's id, req_….")],
    wait: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Wait until the run has ended, so long at most."),
    ] = None,
    as_json: Json = False,
    api_key: ApiKey = None,
    base_url: BaseUrl = None,
) -> None:
    """Look a run up by its request id.

    Shown is where it stands, when it ran and what came of it. A run that failed is found all the same: the exit
    code is 0.
    """
    if not request_id.strip():
        raise typer.BadParameter("it is empty.", param_hint="REQUEST_ID")
    key = api_key_from(api_key)
    from ..client import FetchHive

    with FetchHive(api_key=key, base_url=base_url) as client:
        if wait is None:
            with waiting("Looking the run up"):
                record = client.requests.get(request_id)
        else:
            with waiting("Waiting for the run's end"):
                record = client.requests.wait(request_id, timeout=wait)
    if as_json:
        say_json(record.to_dict())
        return
    for name, text in _lines(record):
        say(f"{name:<12}{text}")


def _lines(record: RequestRecord) -> Iterator[tuple[str, str]]:
    from ..answers import as_text

    yield "request_id", one_line(record.request_id)
    yield "type", one_line(record.request_type)
    yield "status", one_line(record.status)
    if record.message:
        yield "message", one_line(record.message)
    if record.started_at:
        yield "started", one_line(record.started_at)
    if record.ended_at:
        yield "ended", f"{one_line(record.ended_at)}{_duration(record)}"
    for key, value in record.user_metadata.items():
        yield "metadata", one_line(f"{key} = {as_text(value)}")
    for key, value in (record.data or {}).items():
        yield "data", shown(f"{key} = {as_text(value)}")


def _duration(record: RequestRecord) -> str:
    try:
        started, ended = (
            datetime.fromisoformat((time or "").replace("Z", "+00:00")) for time in (record.started_at, record.ended_at)
        )
        return f" ({seconds((ended - started).total_seconds())})"
    except (ValueError, TypeError):  # no times as Python reads them, or one with a zone and one without
        return ""
