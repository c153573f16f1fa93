"""Runs of workflows by their UUID, as older versions of the API had them."""

from __future__ import annotations

from typing import Any, Union
from uuid import UUID

from pydantic import Field

from ..operations import Operation
from ..results import Entity
from ..urls import segment
from .base import AsyncResource, SyncResource, enveloped

__all__ = ["WorkflowRunRecord"]


class WorkflowRunRecord(Entity, frozen=True):
    """What the service knows of a workflow's run. Times are ISO 8601, as the service writes them.

    Attributes:
        id: The run's UUID.
        run_status: Where it stands. Which words there are is not documented.
        started_at: When it began.
        ended_at: When it ended; None while it runs.
        start_inputs: What it was started with.
        output_content: What came of it.
        error_message: What went wrong; None if nothing did.
        duration: How long it took. The unit is not documented.
        total_tokens: All tokens.
        total_charge: What it cost, as the service writes it.
        run_async: Whether it was started with callback delivery.
        async_webhook_url: Where its callback goes.
        token: The run's token. Not shown by `repr`: what it opens is not documented.
    """

    id: str = ""
    run_status: str = ""
    started_at: str | None = None
    ended_at: str | None = None
    start_inputs: Union[dict[str, Any], None] = None
    output_content: str | None = None
    error_message: str | None = None
    duration: float | None = None
    total_tokens: int | None = None
    total_charge: str | None = None
    run_async: bool | None = None
    async_webhook_url: str | None = None
    token: str | None = Field(default=None, repr=False)


def get(workflow_run_id: object) -> Operation[WorkflowRunRecord]:
    """GET /workflow_runs/{id}."""
    path = f"/workflow_runs/{segment('workflow_run_id', workflow_run_id)}"
    return Operation("GET", path, b"", enveloped("workflow_run", WorkflowRunRecord), effect="nothing")


class WorkflowRuns(SyncResource):
    """Runs of workflows by their UUID. The service may answer no longer: prefer `client.requests`."""

    def get(self, workflow_run_id: str | UUID) -> WorkflowRunRecord:
        """Look a workflow's run up by its UUID.

        The newest description of the API does not have this call any more, and whether the service still answers it
        is not documented. A `request_id` is looked up with `client.requests.get`, which every run has.

        Args:
            workflow_run_id: The run's UUID, such as `AgentDelegation.workflow_run_id`; no `req_…`.

        Raises:
            InvalidRequestError: The id is no str or UUID, or empty; nothing was sent.
            NotFoundError: There is no such run, or no such call any more.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(get(workflow_run_id))


class AsyncWorkflowRuns(AsyncResource):
    """Runs of workflows by their UUID. The service may answer no longer: prefer `client.requests`."""

    async def get(self, workflow_run_id: str | UUID) -> WorkflowRunRecord:
        """Look a workflow's run up by its UUID.

        As `WorkflowRuns.get`.
        """
        return await self._run(get(workflow_run_id))
