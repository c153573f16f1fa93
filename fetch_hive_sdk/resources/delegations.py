"""Delegations: background work that agents have started."""

from __future__ import annotations

from uuid import UUID

from ..arguments import encoded
from ..operations import Operation
from ..results import AgentDelegation
from ..urls import segment
from .base import AsyncResource, ResultList, SyncResource, enveloped, listed

__all__: list[str] = []


def get(delegation_id: object) -> Operation[AgentDelegation]:
    """GET /agent/delegations/{id}."""
    return Operation("GET", _path(delegation_id), b"", enveloped("delegation", AgentDelegation), effect="nothing")


def cancel(delegation_id: object) -> Operation[AgentDelegation]:
    """POST /agent/delegations/{id}/cancel, which leaves what has ended as it is."""
    path = f"{_path(delegation_id)}/cancel"
    return Operation("POST", path, encoded({}), enveloped("delegation", AgentDelegation), effect="nothing")


def list_of_thread(thread_id: object) -> Operation[ResultList[AgentDelegation]]:
    """GET /agent/threads/{thread_id}/delegations."""
    path = f"/agent/threads/{segment('thread_id', thread_id)}/delegations"
    return Operation("GET", path, b"", listed("delegations", AgentDelegation), effect="nothing")


def _path(delegation_id: object) -> str:
    return f"/agent/delegations/{segment('delegation_id', delegation_id)}"


class Delegations(SyncResource):
    """Background work that agents have started."""

    def get(self, delegation_id: str | UUID) -> AgentDelegation:
        """Look a delegation up: for invokes without a thread and without a callback.

        Args:
            delegation_id: The delegation's id, such as `reply.pending_delegations[0].id`.

        Raises:
            InvalidRequestError: The id is no str or UUID, or empty; nothing was sent.
            NotFoundError: There is no such delegation.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(get(delegation_id))

    def cancel(self, delegation_id: str | UUID) -> AgentDelegation:
        """Cancel a delegation. One that has ended stays as it is, so `status` tells what came of it.

        Args:
            delegation_id: The delegation's id, such as `reply.pending_delegations[0].id`.

        Raises:
            InvalidRequestError: The id is no str or UUID, or empty; nothing was sent.
            NotFoundError: There is no such delegation.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(cancel(delegation_id))

    def list(self, thread_id: str) -> ResultList[AgentDelegation]:
        """List the delegations of a thread that have not ended.

        Args:
            thread_id: Your name of the conversation, as it was given to `invoke_agent`.

        Raises:
            InvalidRequestError: The name is no str, or empty; nothing was sent.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(list_of_thread(thread_id))


class AsyncDelegations(AsyncResource):
    """Background work that agents have started."""

    async def get(self, delegation_id: str | UUID) -> AgentDelegation:
        """Look a delegation up: for invokes without a thread and without a callback.

        As `Delegations.get`.
        """
        return await self._run(get(delegation_id))

    async def cancel(self, delegation_id: str | UUID) -> AgentDelegation:
        """Cancel a delegation. One that has ended stays as it is, so `status` tells what came of it.

        As `Delegations.cancel`.
        """
        return await self._run(cancel(delegation_id))

    async def list(self, thread_id: str) -> ResultList[AgentDelegation]:
        """List the delegations of a thread that have not ended.

        As `Delegations.list`.
        """
        return await self._run(list_of_thread(thread_id))
