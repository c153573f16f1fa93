"""The two clients: signatures and docstrings. What a call sends stands in `operations`, how in `exchange`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar, Union
from uuid import UUID

import httpx
from typing_extensions import Self

from . import operations
from .drivers import drive, drive_async
from .exchange import run
from .http import AsyncPool, SyncPool
from .jsonable import article
from .logs import setup_from_environment
from .operations import AgentAsyncOptions, AgentMessage, Attachment, Inputs, Metadata, Operation, ToolApproval
from .results import AgentReply, PromptResult, WorkflowRun
from .retries import DEFAULT_MAX_RETRIES, RetryPolicy
from .settings import DEFAULT_IDLE_TIMEOUT, DEFAULT_TIMEOUT, Settings
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


def _wrong_http_client(http_client: object, expected: str) -> str:
    return (
        f"http_client: {article(http_client)} of {type(http_client).__module__} is not allowed here. "
        f"Pass an {expected}; the other client class takes the other kind."
    )


class FetchHive(_Client[SyncPool]):
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
        max_retries: Further attempts after a failed one, default 2. An invoke is repeated only where it
            provably did not run: the connection could not be made, 429 other than the daily cap, 503
            with `Retry-After`.
        idle_timeout: Seconds a stream may stay without an event, default 60. Comments do not count.
        retry_policy: The whole of the rules for repeating. Its own `max_retries` counts, unless another
            number than the default is passed beside it.
        default_headers: Headers sent with every request.
        default_metadata: Metadata merged under each call's own.
        http_client: Your own `httpx.Client`, for proxies, certificates, hooks or another transport. It is
            used as it is and never closed for you.

    Raises:
        ConfigurationError: A setting is missing or wrong (it is a `ValueError`).
        TypeError: `http_client` is no `httpx.Client`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        *,
        max_retries: int = DEFAULT_MAX_RETRIES,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        retry_policy: RetryPolicy | None = None,
        default_headers: Mapping[str, str] | None = None,
        default_metadata: Metadata | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        if http_client is not None and not isinstance(http_client, httpx.Client):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(_wrong_http_client(http_client, "httpx.Client"))
        settings = Settings.resolve(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            max_retries=None if retry_policy and max_retries == DEFAULT_MAX_RETRIES else max_retries,
            idle_timeout=idle_timeout,
            retry_policy=retry_policy,
            default_headers=default_headers,
            default_metadata=default_metadata,
        )
        self._start(settings, SyncPool(http_client))

    def with_options(
        self,
        *,
        timeout: float | httpx.Timeout | None = None,
        max_retries: int | None = None,
        idle_timeout: float | None = None,
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
            timeout=timeout,
            max_retries=max_retries,
            idle_timeout=idle_timeout,
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
        callback_url: str | None = None,
        async_mode: bool | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        tool_approval: ToolApproval | None = None,
    ) -> WorkflowRun:
        """Run a workflow deployment: wait for its end, or have the result delivered by callback.

        Args:
            deployment: The workflow deployment's key.
            variant: The deployment's variant. The service's documentation requires it; left out, it is not sent.
            inputs: Values for the Start step: text as str, arrays as lists.
            callback_url: Where Fetch Hive posts the signed result. Passing it switches callback delivery on:
                the call returns at once. Workflows with a Human in the Loop step need it.
            async_mode: Only for code written for older versions: True asks for callback delivery, False
                for direct delivery whatever `callback_url` is.
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
                self._settings, deployment, variant, inputs, callback_url, async_mode, user, metadata, tool_approval
            )
        )

    def invoke_agent(
        self,
        *,
        agent: str,
        message: str,
        thread_id: str | None = None,
        messages: Sequence[AgentMessage] | None = None,
        attachments: Sequence[str | Attachment] | None = None,
        image_urls: Sequence[str] | None = None,
        known_artifact_refs: Sequence[str | UUID] | None = None,
        artifact_refs: Sequence[str | UUID] | None = None,
        async_options: AgentAsyncOptions | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
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
        messages: Sequence[AgentMessage] | None = None,
        attachments: Sequence[str | Attachment] | None = None,
        image_urls: Sequence[str] | None = None,
        known_artifact_refs: Sequence[str | UUID] | None = None,
        artifact_refs: Sequence[str | UUID] | None = None,
        async_options: AgentAsyncOptions | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
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
        return Stream(operation, self._settings, self._pool)


class AsyncFetchHive(_Client[AsyncPool]):
    """The client of Fetch Hive for asyncio and trio. Make one per event loop and keep it.

        async with AsyncFetchHive() as client:
            result = await client.invoke_prompt(deployment="greeter", variant="default", inputs={"name": "Ann"})
            print(result.response)

    The arguments are those of `FetchHive`; `http_client` is an `httpx.AsyncClient` here.

    Raises:
        ConfigurationError: A setting is missing or wrong (it is a `ValueError`).
        TypeError: `http_client` is no `httpx.AsyncClient`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        *,
        max_retries: int = DEFAULT_MAX_RETRIES,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        retry_policy: RetryPolicy | None = None,
        default_headers: Mapping[str, str] | None = None,
        default_metadata: Metadata | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        if http_client is not None and not isinstance(http_client, httpx.AsyncClient):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(_wrong_http_client(http_client, "httpx.AsyncClient"))
        settings = Settings.resolve(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            max_retries=None if retry_policy and max_retries == DEFAULT_MAX_RETRIES else max_retries,
            idle_timeout=idle_timeout,
            retry_policy=retry_policy,
            default_headers=default_headers,
            default_metadata=default_metadata,
        )
        self._start(settings, AsyncPool(http_client))

    def with_options(
        self,
        *,
        timeout: float | httpx.Timeout | None = None,
        max_retries: int | None = None,
        idle_timeout: float | None = None,
        retry_policy: RetryPolicy | None = None,
        default_headers: Mapping[str, str] | None = None,
        default_metadata: Metadata | None = None,
    ) -> Self:
        """A copy of this client with some settings changed, on the same connections; it costs nothing.

        Arguments, result and errors are those of `FetchHive.with_options`.
        """
        settings = self._settings.changed(
            timeout=timeout,
            max_retries=max_retries,
            idle_timeout=idle_timeout,
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
        callback_url: str | None = None,
        async_mode: bool | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
        tool_approval: ToolApproval | None = None,
    ) -> WorkflowRun:
        """Run a workflow deployment: wait for its end, or have the result delivered by callback.

        Arguments, result and errors are those of `FetchHive.invoke_workflow`.
        """
        return await self._run(
            operations.invoke_workflow(
                self._settings, deployment, variant, inputs, callback_url, async_mode, user, metadata, tool_approval
            )
        )

    async def invoke_agent(
        self,
        *,
        agent: str,
        message: str,
        thread_id: str | None = None,
        messages: Sequence[AgentMessage] | None = None,
        attachments: Sequence[str | Attachment] | None = None,
        image_urls: Sequence[str] | None = None,
        known_artifact_refs: Sequence[str | UUID] | None = None,
        artifact_refs: Sequence[str | UUID] | None = None,
        async_options: AgentAsyncOptions | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
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
        messages: Sequence[AgentMessage] | None = None,
        attachments: Sequence[str | Attachment] | None = None,
        image_urls: Sequence[str] | None = None,
        known_artifact_refs: Sequence[str | UUID] | None = None,
        artifact_refs: Sequence[str | UUID] | None = None,
        async_options: AgentAsyncOptions | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
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
        return AsyncStream(operation, self._settings, self._pool)
