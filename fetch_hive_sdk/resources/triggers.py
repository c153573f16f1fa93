"""Webhook triggers: workflows and agents started by the secret of their deployment, without an API key."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from pydantic import SecretStr

from ..arguments import (
    callback_address,
    choice,
    encoded,
    filled,
    inputs_object,
    merged_metadata,
    optional_text,
)
from ..errors import WEBHOOK_SECRET_HEADER
from ..jsonable import article, refused
from ..operations import Inputs, Metadata, Operation
from ..results import CallbackRun, WorkflowRun
from ..settings import Settings
from ..urls import segment
from .base import AsyncResource, SyncResource

__all__ = ["AgentRun"]

SecretVia = Literal["header", "query"]


class AgentRun(CallbackRun, frozen=True):
    """A run of an agent that a webhook trigger has started. Its end is told by a signed callback.

    Attributes:
        request_id: The run's id, `req_…`.
        run_status: `running`.
        webhook_secret: What signs the callback, if the answer tells it, which is not documented: None or a `SecretStr`.
    """

    request_id: str = ""
    run_status: str = ""


def workflow(
    settings: Settings,
    endpoint_id: object,
    variant_id: object,
    webhook_secret: object,
    callback_url: object,
    inputs: object,
    user: object,
    metadata: object,
    via: object,
) -> Operation[WorkflowRun]:
    """POST /workflow/webhooks/{workflow_endpoint_id}/variants/{variant_id}."""
    body: dict[str, Any] = {
        # Always sent: what becomes of a body without `inputs` is not documented.
        "inputs": inputs_object({} if inputs is None else inputs),
        "async": {"callback_url": callback_address("callback_url", callback_url)},
        "metadata": merged_metadata(settings, metadata),
        "user": optional_text("user", user),
    }
    path = (
        f"/workflow/webhooks/{segment('workflow_endpoint_id', endpoint_id)}"
        f"/variants/{segment('variant_id', variant_id)}"
    )
    return Operation("POST", path, encoded(body), WorkflowRun.from_json, **_credential(webhook_secret, via))


def agent(
    settings: Settings,
    agent_id: object,
    message: object,
    webhook_secret: object,
    callback_url: object,
    thread_id: object,
    user: object,
    metadata: object,
    via: object,
) -> Operation[AgentRun]:
    """POST /agent/webhooks/{agent_id}."""
    body: dict[str, Any] = {
        "message": filled("message", message, "Pass what to say to the agent."),
        "thread_id": optional_text("thread_id", thread_id) or None,
        "metadata": merged_metadata(settings, metadata),
        "user": optional_text("user", user),
        "async": {"callback_url": callback_address("callback_url", callback_url)},
    }
    path = f"/agent/webhooks/{segment('agent_id', agent_id)}"
    return Operation("POST", path, encoded(body), AgentRun.from_json, **_credential(webhook_secret, via))


def _credential(webhook_secret: object, via: object) -> dict[str, Any]:
    """How an operation carries the secret, instead of the key."""
    # Nothing of the secret is quoted, nor in a variable where an error is raised.
    if not isinstance(_plain(webhook_secret), str):
        problem = f"{article(_plain(webhook_secret))} is not allowed"
        raise refused("webhook_secret", problem, "Pass the signing secret as a str.")
    if not _can_be_sent(_plain(webhook_secret)):
        raise refused(
            "webhook_secret",
            "it is empty, or has a space at an end, a line break or a character outside ASCII in it",
            "Copy the signing secret again from the deployment's page in the dashboard.",
        )
    if choice("via", via, "header", "query") == "query":
        return {"query": urlencode({"secret": _plain(webhook_secret)}), "with_key": False}
    return {"headers": {WEBHOOK_SECRET_HEADER: _plain(webhook_secret)}, "with_key": False}


def _hidden(secret: str | SecretStr) -> SecretStr:
    """The secret as a variable that tracebacks may show."""
    return secret if isinstance(secret, SecretStr) else SecretStr(secret)


def _plain(secret: Any) -> Any:
    return secret.get_secret_value() if isinstance(secret, SecretStr) else secret


def _can_be_sent(secret: str) -> bool:
    return bool(secret) and secret.isascii() and secret.isprintable() and secret == secret.strip()


class Triggers(SyncResource):
    """Webhook triggers of workflows and agents."""

    def workflow(
        self,
        workflow_endpoint_id: str | UUID,
        variant_id: str | UUID,
        *,
        webhook_secret: str | SecretStr,
        callback_url: str,
        inputs: Inputs | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        via: SecretVia = "header",
    ) -> WorkflowRun:
        """Start a workflow by its webhook trigger; the result comes by callback.

        Args:
            workflow_endpoint_id: The id of the workflow's deployment, from the trigger's address in the dashboard.
            variant_id: The id of its variant, from there too.
            webhook_secret: The deployment's signing secret. It is sent instead of the API key, and the callback is
                signed with it.
            callback_url: Where Fetch Hive posts the signed result.
            inputs: Values for the Start step. Default: none, sent as an empty object.
            user: Your own id of the person or system that asks.
            metadata: Flat fields of yours for the log: str, int, float, bool or None. Not an input.
            via: `"header"`, or `"query"` where something in between takes headers away. An address is written
                into more logs than a header: httpx itself logs it at INFO, the secret included.

        Returns:
            `WorkflowRunning` or `WorkflowQueued`.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            AuthenticationError: The secret is wrong. With which status that is answered is not documented.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came; `may_have_run` says whether it may have run.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        webhook_secret = _hidden(webhook_secret)
        return self._run(
            workflow(
                self._settings,
                workflow_endpoint_id,
                variant_id,
                webhook_secret,
                callback_url,
                inputs,
                user,
                metadata,
                via,
            )
        )

    def agent(
        self,
        agent_id: str | UUID,
        *,
        message: str,
        webhook_secret: str | SecretStr,
        callback_url: str,
        thread_id: str | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        via: SecretVia = "header",
    ) -> AgentRun:
        """Start an agent by its webhook trigger; the reply comes by callback.

        Args:
            agent_id: The agent's id.
            message: What to say to it.
            webhook_secret: The agent's signing secret. It is sent instead of the API key, and the callback is signed
                with it.
            callback_url: Where Fetch Hive posts the signed reply, as `agent.completed` or `agent.failed`.
            thread_id: A name of yours for the conversation: made at its first use, resumed later.
            user: Your own id of the person or system that asks.
            metadata: Flat fields of yours for the log: str, int, float, bool or None. Not an input.
            via: `"header"`, or `"query"` where something in between takes headers away. An address is written
                into more logs than a header: httpx itself logs it at INFO, the secret included.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            AuthenticationError: The secret is wrong. With which status that is answered is not documented.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came; `may_have_run` says whether it may have run.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        webhook_secret = _hidden(webhook_secret)
        return self._run(
            agent(self._settings, agent_id, message, webhook_secret, callback_url, thread_id, user, metadata, via)
        )


class AsyncTriggers(AsyncResource):
    """Webhook triggers of workflows and agents."""

    async def workflow(
        self,
        workflow_endpoint_id: str | UUID,
        variant_id: str | UUID,
        *,
        webhook_secret: str | SecretStr,
        callback_url: str,
        inputs: Inputs | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        via: SecretVia = "header",
    ) -> WorkflowRun:
        """Start a workflow by its webhook trigger; the result comes by callback.

        As `Triggers.workflow`.
        """
        webhook_secret = _hidden(webhook_secret)
        return await self._run(
            workflow(
                self._settings,
                workflow_endpoint_id,
                variant_id,
                webhook_secret,
                callback_url,
                inputs,
                user,
                metadata,
                via,
            )
        )

    async def agent(
        self,
        agent_id: str | UUID,
        *,
        message: str,
        webhook_secret: str | SecretStr,
        callback_url: str,
        thread_id: str | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        via: SecretVia = "header",
    ) -> AgentRun:
        """Start an agent by its webhook trigger; the reply comes by callback.

        As `Triggers.agent`.
        """
        webhook_secret = _hidden(webhook_secret)
        return await self._run(
            agent(self._settings, agent_id, message, webhook_secret, callback_url, thread_id, user, metadata, via)
        )
