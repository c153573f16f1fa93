"""The two clients: signatures and docstrings. What a call sends stands in `operations`, how in `exchange`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union, overload
from uuid import UUID

import httpx
from typing_extensions import Self

from . import compat, operations, resources
from .drivers import drive, drive_async
from .exchange import run
from .http import AsyncPool, SyncPool, async_pool, sync_way
from .http_clients import AsyncHTTPClient, HTTPClient
from .loading import loading
from .logs import setup_from_environment
from .operations import (
    AgentAsyncOptions,
    AgentMessage,
    Attachment,
    BudgetPolicy,
    HiveAgentSources,
    Inputs,
    Metadata,
    Operation,
    ToolApproval,
)
from .retries import DEFAULT_MAX_RETRIES, RetryPolicy
from .settings import DEFAULT_BASE_URL as DEFAULT_BASE_URL  # noqa: PLC0414 - 0.4.1 had it here
from .settings import DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_EVENT_SIZE, DEFAULT_TIMEOUT, Hidden, Settings

if TYPE_CHECKING:
    from .resources.agents import Agents, AsyncAgents
    from .resources.approvals import Approvals, AsyncApprovals
    from .resources.assets import Assets, AsyncAssets
    from .resources.chats import AsyncChats, Chats
    from .resources.delegations import AsyncDelegations, Delegations
    from .resources.error_codes import ErrorCatalog
    from .resources.knowledge_bases import AsyncKnowledgeBases, KnowledgeBases
    from .resources.models import AsyncModels, Models
    from .resources.requests import AsyncRequests, Requests
    from .resources.search_services import AsyncSearchServices, SearchServices
    from .resources.triggers import AsyncTriggers, Triggers
    from .resources.workflow_runs import AsyncWorkflowRuns, WorkflowRuns
    from .results import AgentReply, HiveAgentRun, PromptResult, WorkflowRun
    from .streams import AsyncStream, Stream

__all__ = ["AsyncFetchHive", "FetchHive"]

ResultT = TypeVar("ResultT")
PoolT = TypeVar("PoolT", bound=Union[SyncPool, AsyncPool])


class _Client(Generic[PoolT]):
    """What both clients are: settings, and a pool that their copies share."""

    def _start(self, settings: Settings, pool: PoolT, *, owns_pool: bool = True) -> Self:
        setup_from_environment()
        self._settings = settings
        self._pool = pool
        self._owns_pool = owns_pool
        return self

    def _copy(self, settings: Settings) -> Self:
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied._start(settings, self._pool, owns_pool=False)

    def __repr__(self) -> str:
        if "_settings" not in self.__dict__:  # a wrong setting, in a traceback that shows variables
            return f"{type(self).__name__}()"
        return f"{type(self).__name__}(base_url={self._settings.base_url!r})"

    def __reduce__(self) -> Any:
        if self._pool.given:
            raise TypeError(
                f"This {type(self).__name__} cannot be pickled or copied: it has an http_client of yours. "
                "Make a new client where it is needed, or share this one by with_options()."
            )
        return type(self)._restore, (self._settings, type(self._pool))

    @classmethod
    def _restore(cls, settings: Settings, pool: type[PoolT]) -> Self:
        """Rebuild a pickled client: its settings travel, the key included, its connections do not."""
        return cls.__new__(cls)._start(settings, pool(None))


class FetchHive(compat.OldMethods, _Client[SyncPool]):
    """The client of Fetch Hive for code that blocks. Threads may share it; make one and keep it.

        with FetchHive() as client:
            result = client.invoke_prompt(deployment="greeter", variant="default", inputs={"name": "Ann"})
            print(result.response)

    Args:
        api_key: The workspace's API key, `fhk_…`. Default: the environment variable `FETCH_HIVE_API_KEY`.
        base_url: The service's address with its version. Default: `FETCH_HIVE_BASE_URL`, else
            `https://api.fetchhive.com/v1`.
        timeout: Seconds one attempt of a call may take as a whole, connecting (at most 5 s) and bytes that
            drip in included; an `httpx.Timeout` sets the phases instead, `float("inf")` no limit. Default
            300. At worst a call takes `timeout * (max_retries + 1)` and the waits between: up to 8 s each,
            or up to 60 s where the service asks for it with `Retry-After`. Streams keep to `idle_timeout`.
        workspace_id: The workspace whose knowledge bases, agents, chats, assets and approvals are meant, where a call
            does not name one. Default: the environment variable `FETCH_HIVE_WORKSPACE_ID`. Runs do not need it.
        max_retries: Further attempts after a failed one, default 2. An invoke is repeated only where it
            provably did not run: the connection could not be made, 429 other than the daily cap, 503
            with `Retry-After`.
        idle_timeout: Seconds a stream may stay without an event, default 60. Comments do not count.
        max_event_size: The most bytes one event of a stream may have, default 16 MiB. A larger one raises
            `StreamInterruptedError`, so that a stream cannot fill the memory.
        retry_policy: The whole of the rules for repeating. Its own `max_retries` counts, unless another
            number than the default is passed beside it.
        default_headers: Headers sent with every request.
        default_metadata: Metadata merged under each call's own.
        http_client: Your own `httpx.Client`, for proxies, certificates, hooks or another transport; or an
            `httpx2.Client`, or a transport of httpx. It is used as it is and never closed for you.

    Raises:
        ConfigurationError: A setting is missing or wrong (it is a `ValueError`).
        TypeError: `http_client` is none of these.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        *,
        workspace_id: str | UUID | None = None,
        max_retries: int = DEFAULT_MAX_RETRIES,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
        retry_policy: RetryPolicy | None = None,
        default_headers: Mapping[str, str] | None = None,
        default_metadata: Metadata | None = None,
        http_client: HTTPClient | None = None,
    ) -> None:
        # Or the traceback of a wrong setting may show it.
        key, api_key = Hidden(api_key), None
        address, base_url = Hidden(base_url), None
        pool = SyncPool(sync_way(http_client))
        settings = Settings.resolve(
            api_key=key,
            base_url=address,
            workspace_id=workspace_id,
            timeout=timeout,
            max_retries=None if retry_policy and max_retries == DEFAULT_MAX_RETRIES else max_retries,
            idle_timeout=idle_timeout,
            max_event_size=max_event_size,
            retry_policy=retry_policy,
            default_headers=default_headers,
            default_metadata=default_metadata,
        )
        self._start(settings, pool)

    def with_options(
        self,
        *,
        workspace_id: str | UUID | None = None,
        timeout: float | httpx.Timeout | None = None,
        max_retries: int | None = None,
        idle_timeout: float | None = None,
        max_event_size: int | None = None,
        retry_policy: RetryPolicy | None = None,
        default_headers: Mapping[str, str] | None = None,
        default_metadata: Metadata | None = None,
    ) -> Self:
        """A copy of this client with some settings changed, on the same connections; it costs nothing.

        Headers and metadata are added to those already set. The connections belong to the client you made
        first: closing a copy does nothing.

        Raises:
            ConfigurationError: A setting is wrong.
        """
        settings = self._settings.changed(
            workspace_id=workspace_id,
            timeout=timeout,
            max_retries=max_retries,
            idle_timeout=idle_timeout,
            max_event_size=max_event_size,
            retry_policy=retry_policy,
            default_headers=default_headers,
            default_metadata=default_metadata,
        )
        return self._copy(settings)

    def invoke_prompt(
        self,
        *,
        deployment: str,
        variant: str | None = None,
        inputs: Inputs | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
    ) -> PromptResult:
        """Run a prompt deployment and wait for its answer.

        Args:
            deployment: The prompt deployment's name.
            variant: The deployment's variant. The service's documentation requires it; left out, it is not sent.
            inputs: The prompt's variables. What pydantic can write as JSON is accepted.
            user: Your own id of the person or system that asks, shown in User Tracking.
            metadata: Flat fields of yours for the log: str, int, float, bool or None. Not an input.

        Returns:
            The answer; `result.response` is its text.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            APIStatusError: The service refused the call, or the run failed.
            APIConnectionError: No complete answer came; `may_have_run` says whether it may have run.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(operations.invoke_prompt(self._settings, deployment, variant, inputs, user, metadata))

    def invoke_prompt_stream(
        self,
        *,
        deployment: str,
        variant: str | None = None,
        inputs: Inputs | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
    ) -> Stream[PromptResult]:
        """Run a prompt deployment and read its answer while it is written.

        The arguments are those of `invoke_prompt`.

        Returns:
            A stream of events. The call is made when it is entered or first read.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
        """
        return self._stream(
            operations.invoke_prompt(self._settings, deployment, variant, inputs, user, metadata, streaming=True)
        )

    def invoke_workflow(
        self,
        *,
        deployment: str,
        variant: str | None = None,
        inputs: Inputs | None = None,
        async_mode: bool | None = None,
        callback_url: str | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        tool_approval: ToolApproval | None = None,
    ) -> WorkflowRun:
        """Run a workflow deployment: wait for its end, or have the result delivered by callback.

        Args:
            deployment: The workflow deployment's key.
            variant: The deployment's variant. The service's documentation requires it; left out, it is not sent.
            inputs: Values for the Start step: text as str, arrays as lists.
            async_mode: Superseded, for code written for 0.4.1: True asks for callback delivery, False
                for direct delivery whatever `callback_url` is.
            callback_url: Where Fetch Hive posts the signed result. Passing it switches callback delivery on:
                the call returns at once. Workflows with a Human in the Loop step need it.
            user: Your own id of the person or system that asks, shown in User Tracking.
            metadata: Flat fields of yours for the log: str, int, float, bool or None. Not an input.
            tool_approval: `"policy"` follows the saved rules, `"auto_approve"` allows actions for this run.

        Returns:
            `WorkflowCompleted` or `WorkflowFailed` after direct delivery, `WorkflowRunning` or
            `WorkflowQueued` with callback delivery.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            ConcurrencyLimitError: As many workflows run as the plan allows; callback delivery would queue.
            APIStatusError: The service refused the call, or the run failed.
            APIConnectionError: No complete answer came; `may_have_run` says whether it may have run.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(
            operations.invoke_workflow(
                self._settings,
                deployment,
                variant,
                inputs,
                compat.delivery(callback_url, async_mode),
                user,
                metadata,
                tool_approval,
            )
        )

    def invoke_agent(
        self,
        *,
        agent: str,
        message: str,
        thread_id: str | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        messages: Sequence[AgentMessage] | None = None,
        image_urls: Sequence[str] | None = None,
        attachments: Sequence[str | Attachment] | None = None,
        known_artifact_refs: Sequence[str | UUID] | None = None,
        artifact_refs: Sequence[str | UUID] | None = None,
        async_options: AgentAsyncOptions | None = None,
        tool_approval: ToolApproval | None = None,
    ) -> AgentReply:
        """Send a message to an agent and wait for its reply.

        Args:
            agent: The agent's id.
            message: What to say to it.
            thread_id: A name of yours for the conversation: made at its first use, resumed later. Without
                one the agent remembers nothing.
            messages: A history that you keep yourself; it wins over the thread's.
            attachments: Files for this message: https URLs or `Attachment` dicts. At most 5, together with
                `image_urls` and `artifact_refs`.
            image_urls: Images for this message by https URL; the right field for a URL without an extension.
            known_artifact_refs: Ids of at most 50 assets the agent may discover in a history you keep.
            artifact_refs: Ids of at most 5 assets for this message; each also in `known_artifact_refs` if
                you pass those.
            async_options: How workflows that the agent starts in the background report. The call itself
                still waits for the reply.
            user: Your own id of the person or system that asks, shown in User Tracking.
            metadata: Flat fields of yours for the log: str, int, float, bool or None. Not an input.
            tool_approval: `"policy"` follows the saved rules, `"auto_approve"` allows actions for this run.

        Returns:
            The reply; with `awaiting_approval` the run goes on by itself after the decision.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            APIStatusError: The service refused the call, or the run failed.
            APIConnectionError: No complete answer came; `may_have_run` says whether it may have run.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(
            operations.invoke_agent(
                self._settings,
                agent,
                message,
                thread_id,
                messages,
                attachments,
                image_urls,
                known_artifact_refs,
                artifact_refs,
                async_options,
                user,
                metadata,
                tool_approval,
            )
        )

    def invoke_agent_stream(
        self,
        *,
        agent: str,
        message: str,
        thread_id: str | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        messages: Sequence[AgentMessage] | None = None,
        image_urls: Sequence[str] | None = None,
        attachments: Sequence[str | Attachment] | None = None,
        known_artifact_refs: Sequence[str | UUID] | None = None,
        artifact_refs: Sequence[str | UUID] | None = None,
        async_options: AgentAsyncOptions | None = None,
        tool_approval: ToolApproval | None = None,
    ) -> Stream[AgentReply]:
        """Send a message to an agent and read its reply while it works.

        The arguments are those of `invoke_agent`.

        Returns:
            A stream of events. The call is made when it is entered or first read.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
        """
        return self._stream(
            operations.invoke_agent(
                self._settings,
                agent,
                message,
                thread_id,
                messages,
                attachments,
                image_urls,
                known_artifact_refs,
                artifact_refs,
                async_options,
                user,
                metadata,
                tool_approval,
                streaming=True,
            )
        )

    def invoke_hive_agent(
        self,
        *,
        hive_agent: str,
        objective: str,
        callback_url: str,
        sources: HiveAgentSources | None = None,
        metadata: Metadata | None = None,
        unattended: bool | None = None,
        budget_policy: BudgetPolicy | None = None,
    ) -> HiveAgentRun:
        """Start a hive agent. Its result comes by callback alone.

        Args:
            hive_agent: The hive agent's id.
            objective: What it is to achieve.
            callback_url: Where Fetch Hive posts the signed result, when the run has completed, failed or was
                cancelled.
            sources: What it may draw on: `website_urls`, `asset_ids`, `knowledge_base_ids`,
                `knowledge_base_item_ids`.
            metadata: Flat fields of yours for the log: str, int, float, bool or None. Not an input.
            unattended: True: the run never pauses for clarification or for its budget's approval.
            budget_policy: For unattended runs over their budget: `"stop"` fails the run, `"proceed_to_cap"` goes on
                to the hard cap.

        Returns:
            The run, whose `callback_verifier()` verifies the callback.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came; `may_have_run` says whether it may have run.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(
            operations.invoke_hive_agent(
                self._settings, hive_agent, objective, callback_url, sources, metadata, unattended, budget_policy
            )
        )

    @property
    def requests(self) -> Requests:
        """Runs by their request id: look one up, or wait for its end."""
        return resources.requests.Requests(self._settings, self._pool)

    @property
    def workflow_runs(self) -> WorkflowRuns:
        """Runs of workflows by their UUID, as older versions of the API had them."""
        return resources.workflow_runs.WorkflowRuns(self._settings, self._pool)

    @property
    def triggers(self) -> Triggers:
        """Webhook triggers: start workflows and agents by their secret instead of the key."""
        return resources.triggers.Triggers(self._settings, self._pool)

    @property
    def delegations(self) -> Delegations:
        """Background work that agents have started."""
        return resources.delegations.Delegations(self._settings, self._pool)

    @property
    def approvals(self) -> Approvals:
        """Tool calls that wait for a decision."""
        return resources.approvals.Approvals(self._settings, self._pool)

    @property
    def knowledge_bases(self) -> KnowledgeBases:
        """Knowledge bases, their items, and searching them."""
        return resources.knowledge_bases.KnowledgeBases(self._settings, self._pool)

    @property
    def agents(self) -> Agents:
        """The workspace's agents."""
        return resources.agents.Agents(self._settings, self._pool)

    @property
    def chats(self) -> Chats:
        """Chats with agents, and their messages."""
        return resources.chats.Chats(self._settings, self._pool)

    @property
    def assets(self) -> Assets:
        """The workspace's files."""
        return resources.assets.Assets(self._settings, self._pool)

    @property
    def models(self) -> Models:
        """The models that prompts and agents may use."""
        return resources.models.Models(self._settings, self._pool)

    @property
    def search_services(self) -> SearchServices:
        """Search services, and the countries they search in."""
        return resources.search_services.SearchServices(self._settings, self._pool)

    def error_codes(self, *, locale: str | None = None) -> ErrorCatalog:
        """The service's catalog of error codes, as it is now. No key is sent.

        Args:
            locale: The language of the texts, such as `"es"`. Default: the service's; so for one it does not have.

        Raises:
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(resources.error_codes.catalog(locale))

    @overload
    def request(self, method: str, path: str, *, json: Any = None, params: Mapping[str, Any] | None = None) -> Any: ...
    @overload
    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        cast_to: type[ResultT],
    ) -> ResultT: ...
    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        cast_to: Any = None,
    ) -> Any:
        """Call any endpoint, also one that has no method yet: with the key, retries and errors of every other call.

        A POST is repeated only where the first one provably did nothing; any other method is repeated after
        failures on the way and 5xx too.

        Args:
            method: The HTTP method.
            path: The path after `base_url`, such as `/public/models`. Escape ids in it by `urllib.parse.quote`.
            json: The JSON body: what pydantic can write as JSON. Default: none.
            params: The query. None is left out, a list is sent as repeated parameters.
            cast_to: What to read the answer as: any type that pydantic reads, such as `list[int]` or a model of
                yours; `HTTPResponse` for status, headers and bytes. Default: plain JSON values, None for no body.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is no JSON, or does not fit `cast_to`.
        """
        return self._run(operations.request(method, path, json, params, cast_to))

    def close(self) -> None:
        """Close the connections. A second time does nothing; a call afterwards raises `ClientClosedError`."""
        if self._owns_pool:
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, operation: Operation[ResultT]) -> ResultT:
        return drive(run(operation, self._settings), self._pool)

    def _stream(self, operation: Operation[ResultT]) -> Stream[ResultT]:
        with loading:
            from .streams import Stream  # loaded with the first stream

        return Stream(operation, self._settings, self._pool)


class AsyncFetchHive(_Client[AsyncPool]):
    """The client of Fetch Hive for asyncio and trio. Make one per event loop and keep it.

        async with AsyncFetchHive() as client:
            result = await client.invoke_prompt(deployment="greeter", variant="default", inputs={"name": "Ann"})
            print(result.response)

    The arguments are those of `FetchHive`; `http_client` is an `httpx.AsyncClient` or `httpx2.AsyncClient` here, or an
    async transport of httpx, or `"aiohttp"`: connections of aiohttp, the fastest where many calls run at once. They
    are the SDK's own, need `pip install 'fetch-hive-sdk[aiohttp]'`, and work on asyncio alone.

    Raises:
        ConfigurationError: A setting is missing or wrong (it is a `ValueError`), or aiohttp is not installed.
        TypeError: `http_client` is none of these.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        *,
        workspace_id: str | UUID | None = None,
        max_retries: int = DEFAULT_MAX_RETRIES,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
        retry_policy: RetryPolicy | None = None,
        default_headers: Mapping[str, str] | None = None,
        default_metadata: Metadata | None = None,
        http_client: AsyncHTTPClient | None = None,
    ) -> None:
        # Or the traceback of a wrong setting may show it.
        key, api_key = Hidden(api_key), None
        address, base_url = Hidden(base_url), None
        pool = async_pool(http_client)
        settings = Settings.resolve(
            api_key=key,
            base_url=address,
            workspace_id=workspace_id,
            timeout=timeout,
            max_retries=None if retry_policy and max_retries == DEFAULT_MAX_RETRIES else max_retries,
            idle_timeout=idle_timeout,
            max_event_size=max_event_size,
            retry_policy=retry_policy,
            default_headers=default_headers,
            default_metadata=default_metadata,
        )
        self._start(settings, pool)

    def with_options(
        self,
        *,
        workspace_id: str | UUID | None = None,
        timeout: float | httpx.Timeout | None = None,
        max_retries: int | None = None,
        idle_timeout: float | None = None,
        max_event_size: int | None = None,
        retry_policy: RetryPolicy | None = None,
        default_headers: Mapping[str, str] | None = None,
        default_metadata: Metadata | None = None,
    ) -> Self:
        """A copy of this client with some settings changed, on the same connections; it costs nothing.

        Arguments, result and errors are those of `FetchHive.with_options`.
        """
        settings = self._settings.changed(
            workspace_id=workspace_id,
            timeout=timeout,
            max_retries=max_retries,
            idle_timeout=idle_timeout,
            max_event_size=max_event_size,
            retry_policy=retry_policy,
            default_headers=default_headers,
            default_metadata=default_metadata,
        )
        return self._copy(settings)

    async def invoke_prompt(
        self,
        *,
        deployment: str,
        variant: str | None = None,
        inputs: Inputs | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
    ) -> PromptResult:
        """Run a prompt deployment and wait for its answer.

        Arguments, result and errors are those of `FetchHive.invoke_prompt`.
        """
        return await self._run(operations.invoke_prompt(self._settings, deployment, variant, inputs, user, metadata))

    def invoke_prompt_stream(
        self,
        *,
        deployment: str,
        variant: str | None = None,
        inputs: Inputs | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
    ) -> AsyncStream[PromptResult]:
        """Run a prompt deployment and read its answer while it is written.

        Arguments, result and errors are those of `FetchHive.invoke_prompt_stream`.
        """
        return self._stream(
            operations.invoke_prompt(self._settings, deployment, variant, inputs, user, metadata, streaming=True)
        )

    async def invoke_workflow(
        self,
        *,
        deployment: str,
        variant: str | None = None,
        inputs: Inputs | None = None,
        async_mode: bool | None = None,
        callback_url: str | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        tool_approval: ToolApproval | None = None,
    ) -> WorkflowRun:
        """Run a workflow deployment: wait for its end, or have the result delivered by callback.

        Arguments, result and errors are those of `FetchHive.invoke_workflow`.
        """
        return await self._run(
            operations.invoke_workflow(
                self._settings,
                deployment,
                variant,
                inputs,
                compat.delivery(callback_url, async_mode),
                user,
                metadata,
                tool_approval,
            )
        )

    async def invoke_agent(
        self,
        *,
        agent: str,
        message: str,
        thread_id: str | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        messages: Sequence[AgentMessage] | None = None,
        image_urls: Sequence[str] | None = None,
        attachments: Sequence[str | Attachment] | None = None,
        known_artifact_refs: Sequence[str | UUID] | None = None,
        artifact_refs: Sequence[str | UUID] | None = None,
        async_options: AgentAsyncOptions | None = None,
        tool_approval: ToolApproval | None = None,
    ) -> AgentReply:
        """Send a message to an agent and wait for its reply.

        Arguments, result and errors are those of `FetchHive.invoke_agent`.
        """
        return await self._run(
            operations.invoke_agent(
                self._settings,
                agent,
                message,
                thread_id,
                messages,
                attachments,
                image_urls,
                known_artifact_refs,
                artifact_refs,
                async_options,
                user,
                metadata,
                tool_approval,
            )
        )

    def invoke_agent_stream(
        self,
        *,
        agent: str,
        message: str,
        thread_id: str | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        messages: Sequence[AgentMessage] | None = None,
        image_urls: Sequence[str] | None = None,
        attachments: Sequence[str | Attachment] | None = None,
        known_artifact_refs: Sequence[str | UUID] | None = None,
        artifact_refs: Sequence[str | UUID] | None = None,
        async_options: AgentAsyncOptions | None = None,
        tool_approval: ToolApproval | None = None,
    ) -> AsyncStream[AgentReply]:
        """Send a message to an agent and read its reply while it works.

        Arguments, result and errors are those of `FetchHive.invoke_agent_stream`.
        """
        return self._stream(
            operations.invoke_agent(
                self._settings,
                agent,
                message,
                thread_id,
                messages,
                attachments,
                image_urls,
                known_artifact_refs,
                artifact_refs,
                async_options,
                user,
                metadata,
                tool_approval,
                streaming=True,
            )
        )

    async def invoke_hive_agent(
        self,
        *,
        hive_agent: str,
        objective: str,
        callback_url: str,
        sources: HiveAgentSources | None = None,
        metadata: Metadata | None = None,
        unattended: bool | None = None,
        budget_policy: BudgetPolicy | None = None,
    ) -> HiveAgentRun:
        """Start a hive agent. Its result comes by callback alone.

        Arguments, result and errors are those of `FetchHive.invoke_hive_agent`.
        """
        return await self._run(
            operations.invoke_hive_agent(
                self._settings, hive_agent, objective, callback_url, sources, metadata, unattended, budget_policy
            )
        )

    @property
    def requests(self) -> AsyncRequests:
        """Runs by their request id: look one up, or wait for its end."""
        return resources.requests.AsyncRequests(self._settings, self._pool)

    @property
    def workflow_runs(self) -> AsyncWorkflowRuns:
        """Runs of workflows by their UUID, as older versions of the API had them."""
        return resources.workflow_runs.AsyncWorkflowRuns(self._settings, self._pool)

    @property
    def triggers(self) -> AsyncTriggers:
        """Webhook triggers: start workflows and agents by their secret instead of the key."""
        return resources.triggers.AsyncTriggers(self._settings, self._pool)

    @property
    def delegations(self) -> AsyncDelegations:
        """Background work that agents have started."""
        return resources.delegations.AsyncDelegations(self._settings, self._pool)

    @property
    def approvals(self) -> AsyncApprovals:
        """Tool calls that wait for a decision."""
        return resources.approvals.AsyncApprovals(self._settings, self._pool)

    @property
    def knowledge_bases(self) -> AsyncKnowledgeBases:
        """Knowledge bases, their items, and searching them."""
        return resources.knowledge_bases.AsyncKnowledgeBases(self._settings, self._pool)

    @property
    def agents(self) -> AsyncAgents:
        """The workspace's agents."""
        return resources.agents.AsyncAgents(self._settings, self._pool)

    @property
    def chats(self) -> AsyncChats:
        """Chats with agents, and their messages."""
        return resources.chats.AsyncChats(self._settings, self._pool)

    @property
    def assets(self) -> AsyncAssets:
        """The workspace's files."""
        return resources.assets.AsyncAssets(self._settings, self._pool)

    @property
    def models(self) -> AsyncModels:
        """The models that prompts and agents may use."""
        return resources.models.AsyncModels(self._settings, self._pool)

    @property
    def search_services(self) -> AsyncSearchServices:
        """Search services, and the countries they search in."""
        return resources.search_services.AsyncSearchServices(self._settings, self._pool)

    async def error_codes(self, *, locale: str | None = None) -> ErrorCatalog:
        """The service's catalog of error codes, as it is now. No key is sent.

        Arguments, result and errors are those of `FetchHive.error_codes`.
        """
        return await self._run(resources.error_codes.catalog(locale))

    @overload
    async def request(
        self, method: str, path: str, *, json: Any = None, params: Mapping[str, Any] | None = None
    ) -> Any: ...
    @overload
    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        cast_to: type[ResultT],
    ) -> ResultT: ...
    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        cast_to: Any = None,
    ) -> Any:
        """Call any endpoint, also one that has no method yet: with the key, retries and errors of every other call.

        Arguments, result and errors are those of `FetchHive.request`.
        """
        return await self._run(operations.request(method, path, json, params, cast_to))

    async def aclose(self) -> None:
        """Close the connections. A second time does nothing; a call afterwards raises `ClientClosedError`."""
        if self._owns_pool:
            await self._pool.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, operation: Operation[ResultT]) -> ResultT:
        return await drive_async(run(operation, self._settings), self._pool)

    def _stream(self, operation: Operation[ResultT]) -> AsyncStream[ResultT]:
        with loading:
            from .streams import AsyncStream  # loaded with the first stream

        return AsyncStream(operation, self._settings, self._pool)
