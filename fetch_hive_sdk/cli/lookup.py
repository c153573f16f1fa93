"""The look-up of a run by its request id: GET /public/requests/{request_id}."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pydantic_core
from pydantic import Field

from ..drivers import drive
from ..exchange import run
from ..http import SyncPool
from ..operations import Operation
from ..results import Result, read_object
from ..settings import Settings

__all__ = ["RunRecord", "look_up"]


class RunRecord(Result, frozen=True):
    """What the service knows of a run. Times are ISO 8601, as the service writes them.

    Attributes:
        request_id: The run's id, `req_…`.
        status: Where it stands, such as `completed`.
        request_type: What was run, such as `workflow`.
        message: What the service says about it.
        started_at: When it began.
        ended_at: When it ended.
        user_metadata: The caller's metadata.
        data: What came of it, where the service gives it.
    """

    request_id: str = ""
    status: str = ""
    request_type: str = ""
    message: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    user_metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    data: dict[str, Any] | None = None


def look_up(request_id: str, settings: Settings) -> RunRecord:
    """Ask the service for a run.

    Args:
        request_id: The run's id.
        settings: As a client has them.

    Raises:
        NotFoundError: There is no such run in the key's workspace.
        FetchHiveError: Any other error of a call.
    """
    path = f"/public/requests/{quote(request_id, safe='')}"
    operation = Operation("GET", path, b"", _read, starts_run=False)
    pool = SyncPool(None)
    try:
        return drive(run(operation, settings), pool)
    finally:
        pool.close()


def _read(data: bytes) -> RunRecord:
    # The service's own tests wrap the object once more.
    inner = read_object(data).get("request")
    return RunRecord.from_json(pydantic_core.to_json(inner) if isinstance(inner, dict) else data)
