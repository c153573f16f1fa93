"""What only version 0.4.1 had, and what to write today. All of it works as it did; each part of it warns once.

`FetchHive` inherits `OldMethods`: methods with flat names, whose results are plain dicts as the service sent them. Code
written for 0.4.1 runs unchanged; the migration guide shows what replaces what.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
from typing_extensions import deprecated

from . import errors, operations, resources
from .answers import read_json
from .errors import ConfigurationError, InvalidRequestError
from .jsonable import article, refused
from .operations import AgentMessage, Attachment, Inputs, Metadata, Operation
from .retries import may_have_run, parse_retry_after
from .settings import DEFAULT_IDLE_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from .http import SyncPool
    from .settings import Settings
    from .streams import AsyncStream, StreamReader

__all__ = ["aiter_sse", "iter_sse"]

JsonObject = dict[str, Any]

# What reading a response may fail with.
_FAILURES = (httpx.HTTPError, httpx.StreamError, OSError)

_warned: set[str] = set()


def superseded(old: str, new: str, *, stacklevel: int = 2) -> None:
    """Warn that something is superseded, the first time it is used in a process.

    Args:
        old: What is used.
        new: What to use instead.
        stacklevel: How many calls up the user's line is, counted from the caller.
    """
    if old not in _warned:
        warnings.warn(f"{old} is superseded: use {new}.", DeprecationWarning, stacklevel=stacklevel + 1)
        _warned.add(old)  # after it: where warnings are errors, each use is one


def delivery(callback_url: str | None, async_mode: object) -> str | None:
    """The callback URL of a workflow's invoke, or None for direct delivery, by the older argument too.

    Raises:
        InvalidRequestError: Callback delivery is asked for without a URL.
    """
    if async_mode is None:
        return callback_url
    if not isinstance(async_mode, int):  # a word such as "no" may mean either
        raise refused("async_mode", f"{article(async_mode)} is not allowed", "Pass a bool, or leave it out.")
    if async_mode and callback_url is None:
        raise InvalidRequestError(
            "callback_url: it is missing, and async_mode=True asks for callback delivery.",
            hint='Pass callback_url="https://…", where Fetch Hive posts the signed result; that alone is enough.',
        )
    superseded("async_mode=", "callback_url= alone for callback delivery, nothing for direct delivery", stacklevel=3)
    return callback_url if async_mode else None


class OldMethods:
    """The methods of 0.4.1 that have a successor. Their arguments, order and results are as they were."""

    if TYPE_CHECKING:
        _settings: Settings
        _pool: SyncPool

        def _run(self, operation: Operation[JsonObject]) -> JsonObject: ...

    def _old(self, name: str, successor: str, operation: Operation[Any]) -> JsonObject:
        superseded(f"FetchHive.{name}()", f"client.{successor}", stacklevel=3)
        return self._run(replace(operation, read=_as_sent))

    # --- requests, delegations, approvals -------------------------------------------------------------

    @deprecated("Use client.requests.get().", category=None)
    def get_request(self, id: str) -> JsonObject:  # noqa: A002 - its name
        """Superseded by `requests.get`."""
        return self._old("get_request", "requests.get()", resources.requests.get(id))

    @deprecated("Use client.delegations.get().", category=None)
    def get_agent_delegation(self, id: str) -> JsonObject:  # noqa: A002 - its name
        """Superseded by `delegations.get`."""
        return self._old("get_agent_delegation", "delegations.get()", resources.delegations.get(id))

    @deprecated("Use client.delegations.cancel().", category=None)
    def cancel_agent_delegation(self, id: str) -> JsonObject:  # noqa: A002 - its name
        """Superseded by `delegations.cancel`."""
        return self._old("cancel_agent_delegation", "delegations.cancel()", resources.delegations.cancel(id))

    @deprecated("Use client.delegations.list().", category=None)
    def list_thread_delegations(self, thread_id: str) -> JsonObject:
        """Superseded by `delegations.list`."""
        operation = resources.delegations.list_of_thread(thread_id)
        return self._old("list_thread_delegations", "delegations.list()", operation)

    @deprecated("Use client.approvals.list() or client.approvals.iterate().", category=None)
    def list_tool_action_approvals(
        self,
        workspace_id: str,
        *,
        status: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        request_id: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> JsonObject:
        """Superseded by `approvals.list` and `approvals.iterate`."""
        operation = resources.approvals.list_page(
            self._settings, status, agent_id, run_id, request_id, cursor, limit, workspace_id
        )
        return self._old("list_tool_action_approvals", "approvals.list() or approvals.iterate()", operation)

    @deprecated("Use client.approvals.get().", category=None)
    def get_tool_action_approval(self, workspace_id: str, approval_id: str) -> JsonObject:
        """Superseded by `approvals.get`."""
        operation = resources.approvals.get(self._settings, approval_id, workspace_id)
        return self._old("get_tool_action_approval", "approvals.get()", operation)

    @deprecated("Use client.approvals.decide().", category=None)
    def decide_tool_action_approval(self, workspace_id: str, approval_id: str, decision: str) -> JsonObject:
        """Superseded by `approvals.decide`."""
        operation = resources.approvals.decide(self._settings, approval_id, decision, workspace_id)
        return self._old("decide_tool_action_approval", "approvals.decide()", operation)

    # --- knowledge bases ------------------------------------------------------------------------------

    @deprecated("Use client.knowledge_bases.list().", category=None)
    def list_knowledge_bases(self, workspace_id: str) -> JsonObject:
        """Superseded by `knowledge_bases.list`."""
        operation = resources.knowledge_bases.list_knowledge_bases(self._settings, workspace_id)
        return self._old("list_knowledge_bases", "knowledge_bases.list()", operation)

    @deprecated("Use client.knowledge_bases.get().", category=None)
    def get_knowledge_base(self, workspace_id: str, id: str) -> JsonObject:  # noqa: A002 - its name
        """Superseded by `knowledge_bases.get`."""
        operation = resources.knowledge_bases.get(self._settings, id, workspace_id)
        return self._old("get_knowledge_base", "knowledge_bases.get()", operation)

    @deprecated("Use client.knowledge_bases.create().", category=None)
    def create_knowledge_base(self, workspace_id: str, knowledge_base: Mapping[str, Any]) -> JsonObject:
        """Superseded by `knowledge_bases.create`."""
        operation = resources.knowledge_bases.create(self._settings, knowledge_base, workspace_id)
        return self._old("create_knowledge_base", "knowledge_bases.create()", operation)

    @deprecated("Use client.knowledge_bases.update().", category=None)
    def update_knowledge_base(
        self,
        workspace_id: str,
        id: str,  # noqa: A002 - its name
        knowledge_base: Mapping[str, Any],
    ) -> JsonObject:
        """Superseded by `knowledge_bases.update`."""
        operation = resources.knowledge_bases.update(self._settings, id, knowledge_base, workspace_id)
        return self._old("update_knowledge_base", "knowledge_bases.update()", operation)

    @deprecated("Use client.knowledge_bases.delete().", category=None)
    def delete_knowledge_base(self, workspace_id: str, id: str) -> JsonObject:  # noqa: A002 - its name
        """Superseded by `knowledge_bases.delete`."""
        operation = resources.knowledge_bases.delete(self._settings, id, workspace_id)
        return self._old("delete_knowledge_base", "knowledge_bases.delete()", operation)

    @deprecated("Use client.knowledge_bases.search().", category=None)
    def search_knowledge_base(
        self,
        workspace_id: str,
        id: str,  # noqa: A002 - its name
        **params: Any,
    ) -> JsonObject:
        """Superseded by `knowledge_bases.search`."""
        operation = resources.knowledge_bases.search(self._settings, id, params, workspace_id)
        return self._old("search_knowledge_base", "knowledge_bases.search()", operation)

    @deprecated("Use client.knowledge_bases.items.list().", category=None)
    def list_knowledge_base_items(self, workspace_id: str, knowledge_base_id: str) -> JsonObject:
        """Superseded by `knowledge_bases.items.list`."""
        operation = resources.knowledge_bases.list_items(self._settings, knowledge_base_id, workspace_id)
        return self._old("list_knowledge_base_items", "knowledge_bases.items.list()", operation)

    @deprecated("Use client.knowledge_bases.items.get().", category=None)
    def get_knowledge_base_item(
        self,
        workspace_id: str,
        knowledge_base_id: str,
        id: str,  # noqa: A002 - its name
    ) -> JsonObject:
        """Superseded by `knowledge_bases.items.get`."""
        operation = resources.knowledge_bases.get_item(self._settings, knowledge_base_id, id, workspace_id)
        return self._old("get_knowledge_base_item", "knowledge_bases.items.get()", operation)

    @deprecated("Use client.knowledge_bases.items.create().", category=None)
    def create_knowledge_base_item(
        self, workspace_id: str, knowledge_base_id: str, knowledge_base_item: Mapping[str, Any]
    ) -> JsonObject:
        """Superseded by `knowledge_bases.items.create`."""
        operation = resources.knowledge_bases.create_item(
            self._settings, knowledge_base_id, knowledge_base_item, workspace_id
        )
        return self._old("create_knowledge_base_item", "knowledge_bases.items.create()", operation)

    @deprecated("Use client.knowledge_bases.items.update().", category=None)
    def update_knowledge_base_item(
        self,
        workspace_id: str,
        knowledge_base_id: str,
        id: str,  # noqa: A002 - its name
        knowledge_base_item: Mapping[str, Any],
    ) -> JsonObject:
        """Superseded by `knowledge_bases.items.update`."""
        operation = resources.knowledge_bases.update_item(
            self._settings, knowledge_base_id, id, knowledge_base_item, workspace_id
        )
        return self._old("update_knowledge_base_item", "knowledge_bases.items.update()", operation)

    @deprecated("Use client.knowledge_bases.items.delete().", category=None)
    def delete_knowledge_base_item(
        self,
        workspace_id: str,
        knowledge_base_id: str,
        id: str,  # noqa: A002 - its name
    ) -> JsonObject:
        """Superseded by `knowledge_bases.items.delete`."""
        operation = resources.knowledge_bases.delete_item(self._settings, knowledge_base_id, id, workspace_id)
        return self._old("delete_knowledge_base_item", "knowledge_bases.items.delete()", operation)

    @deprecated("Use client.knowledge_bases.items.regenerate().", category=None)
    def regenerate_knowledge_base_item(
        self,
        workspace_id: str,
        knowledge_base_id: str,
        id: str,  # noqa: A002 - its name
    ) -> JsonObject:
        """Superseded by `knowledge_bases.items.regenerate`."""
        operation = resources.knowledge_bases.regenerate_item(self._settings, knowledge_base_id, id, workspace_id)
        return self._old("regenerate_knowledge_base_item", "knowledge_bases.items.regenerate()", operation)

    # --- agents and chats -----------------------------------------------------------------------------

    @deprecated("Use client.agents.list().", category=None)
    def list_agents(self, workspace_id: str) -> JsonObject:
        """Superseded by `agents.list`."""
        return self._old("list_agents", "agents.list()", resources.agents.list_agents(self._settings, workspace_id))

    @deprecated("Use client.agents.get().", category=None)
    def get_agent(self, workspace_id: str, id: str) -> JsonObject:  # noqa: A002 - its name
        """Superseded by `agents.get`."""
        return self._old("get_agent", "agents.get()", resources.agents.get(self._settings, id, workspace_id))

    @deprecated("Use client.agents.create().", category=None)
    def create_agent(self, workspace_id: str, agent: Mapping[str, Any]) -> JsonObject:
        """Superseded by `agents.create`."""
        operation = resources.agents.create(self._settings, agent, workspace_id)
        return self._old("create_agent", "agents.create()", operation)

    @deprecated("Use client.agents.update().", category=None)
    def update_agent(
        self,
        workspace_id: str,
        id: str,  # noqa: A002 - its name
        agent: Mapping[str, Any],
    ) -> JsonObject:
        """Superseded by `agents.update`."""
        operation = resources.agents.update(self._settings, id, agent, workspace_id)
        return self._old("update_agent", "agents.update()", operation)

    @deprecated("Use client.agents.delete().", category=None)
    def delete_agent(self, workspace_id: str, id: str) -> JsonObject:  # noqa: A002 - its name
        """Superseded by `agents.delete`."""
        return self._old("delete_agent", "agents.delete()", resources.agents.delete(self._settings, id, workspace_id))

    @deprecated("Use client.chats.get().", category=None)
    def get_agent_chat(self, workspace_id: str, agent_id: str, chat_id: str) -> JsonObject:
        """Superseded by `chats.get`."""
        operation = resources.chats.get(self._settings, agent_id, chat_id, workspace_id)
        return self._old("get_agent_chat", "chats.get()", operation)

    @deprecated("Use client.chats.create().", category=None)
    def create_agent_chat(self, workspace_id: str, agent_id: str, chat: Mapping[str, Any]) -> JsonObject:
        """Superseded by `chats.create`."""
        operation = resources.chats.create(self._settings, agent_id, chat, workspace_id)
        return self._old("create_agent_chat", "chats.create()", operation)

    @deprecated("Use client.chats.update().", category=None)
    def update_agent_chat(self, workspace_id: str, agent_id: str, chat_id: str, chat: Mapping[str, Any]) -> JsonObject:
        """Superseded by `chats.update`."""
        operation = resources.chats.update(self._settings, agent_id, chat_id, chat, workspace_id)
        return self._old("update_agent_chat", "chats.update()", operation)

    @deprecated("Use client.chats.delete().", category=None)
    def delete_agent_chat(self, workspace_id: str, agent_id: str, chat_id: str) -> JsonObject:
        """Superseded by `chats.delete`."""
        operation = resources.chats.delete(self._settings, agent_id, chat_id, workspace_id)
        return self._old("delete_agent_chat", "chats.delete()", operation)

    @deprecated("Use client.chats.clear().", category=None)
    def clear_agent_chat_messages(self, workspace_id: str, agent_id: str, chat_id: str) -> JsonObject:
        """Superseded by `chats.clear`."""
        operation = resources.chats.clear(self._settings, agent_id, chat_id, workspace_id)
        return self._old("clear_agent_chat_messages", "chats.clear()", operation)

    @deprecated("Use client.chats.messages().", category=None)
    def list_agent_chat_messages(self, workspace_id: str, agent_id: str, chat_id: str) -> JsonObject:
        """Superseded by `chats.messages`."""
        operation = resources.chats.messages(self._settings, agent_id, chat_id, workspace_id)
        return self._old("list_agent_chat_messages", "chats.messages()", operation)

    # --- async streams of the sync client ---------------------------------------------------------------

    @deprecated("Use AsyncFetchHive.invoke_prompt_stream().", category=None)
    def ainvoke_prompt_stream(
        self,
        *,
        deployment: str,
        variant: str = "",
        inputs: Inputs | None = None,
        user: str | None = None,
        metadata: Metadata | None = None,
    ) -> AsyncGenerator[JsonObject, None]:
        """Superseded by `AsyncFetchHive.invoke_prompt_stream`."""
        operation = operations.invoke_prompt(
            self._settings, deployment, variant, inputs, user, metadata, streaming=True
        )
        return self._old_stream("ainvoke_prompt_stream", "invoke_prompt_stream()", operation)

    @deprecated("Use AsyncFetchHive.invoke_agent_stream().", category=None)
    def ainvoke_agent_stream(
        self,
        *,
        agent: str,
        message: str,
        thread_id: str = "",
        user: str | None = None,
        metadata: Metadata | None = None,
        messages: Sequence[AgentMessage] | None = None,
        image_urls: Sequence[str] | None = None,
        attachments: Sequence[str | Attachment] | None = None,
        known_artifact_refs: Sequence[str | UUID] | None = None,
        artifact_refs: Sequence[str | UUID] | None = None,
        tool_approval: operations.ToolApproval | None = None,
    ) -> AsyncGenerator[JsonObject, None]:
        """Superseded by `AsyncFetchHive.invoke_agent_stream`."""
        operation = operations.invoke_agent(
            self._settings,
            agent,
            message,
            thread_id,
            messages,
            attachments,
            image_urls,
            known_artifact_refs,
            artifact_refs,
            None,
            user,
            metadata,
            tool_approval,
            streaming=True,
        )
        return self._old_stream("ainvoke_agent_stream", "invoke_agent_stream()", operation)

    def _old_stream(self, name: str, successor: str, operation: Operation[Any]) -> AsyncGenerator[JsonObject, None]:
        from .http import AsyncPool
        from .streams import AsyncStream

        superseded(f"FetchHive.{name}()", f"AsyncFetchHive().{successor}", stacklevel=3)
        if self._pool.given:
            raise ConfigurationError(
                f"{name}() cannot use this client's http_client, which is for sync calls.",
                hint=f"Use AsyncFetchHive(http_client=httpx.AsyncClient(...)).{successor}.",
            )
        # Connections of its own, as it may be called in any event loop.
        pool = AsyncPool(None)
        return _events_of(AsyncStream(operation, self._settings, pool), pool.aclose)


async def _events_of(stream: AsyncStream[Any], close: Callable[[], Any]) -> AsyncGenerator[JsonObject, None]:
    try:
        async with stream:
            async for event in stream:
                yield event.to_dict()
    finally:
        await close()


def _as_sent(data: bytes) -> Any:
    # Whatever JSON it is, as it was: what the service answers to a decision is not documented.
    return read_json(data) if data else {}


# --- reading a stream of one's own ------------------------------------------------------------------------


def iter_sse(response: httpx.Response) -> Generator[JsonObject, None, None]:
    """Read the events of a streamed httpx response, as dicts, to its `[DONE]`.

    Superseded by `FetchHive.invoke_prompt_stream` and `invoke_agent_stream`, which make the call too.

    Args:
        response: A response of `httpx.stream(...)`. It stays open.

    Raises:
        APIStatusError: The response has an error status (it is an `httpx.HTTPStatusError`).
        StreamFailedError: At the step after an `error` event: the run failed.
        StreamInterruptedError: The stream broke off, or ended without its last event.
    """
    superseded("iter_sse()", "FetchHive().invoke_prompt_stream() or invoke_agent_stream()")
    return _iter_sse(response)


def aiter_sse(response: httpx.Response) -> AsyncGenerator[JsonObject, None]:
    """Read the events of a streamed httpx response, as dicts, to its `[DONE]`: with `async for`.

    Superseded by `AsyncFetchHive.invoke_prompt_stream` and `invoke_agent_stream`, which make the call too.

    Args:
        response: A response of `httpx.AsyncClient().stream(...)`. It stays open.

    Raises:
        APIStatusError: The response has an error status (it is an `httpx.HTTPStatusError`).
        StreamFailedError: At the step after an `error` event: the run failed.
        StreamInterruptedError: The stream broke off, or ended without its last event.
    """
    superseded("aiter_sse()", "AsyncFetchHive().invoke_prompt_stream() or invoke_agent_stream()")
    return _aiter_sse(response)


def _iter_sse(response: httpx.Response) -> Generator[JsonObject, None, None]:
    if not response.is_success:
        with suppress(*_FAILURES):
            response.read()
        raise _refusal(response)
    reader = _reader(response)
    chunks = response.iter_bytes()
    while not reader.ended:
        try:
            reader.feed(next(chunks))
        except StopIteration:
            reader.end()
        except _FAILURES as failure:
            reader.end(failure)
        yield from _pending(reader)


async def _aiter_sse(response: httpx.Response) -> AsyncGenerator[JsonObject, None]:
    if not response.is_success:
        with suppress(*_FAILURES):
            await response.aread()
        raise _refusal(response)
    reader = _reader(response)
    chunks = response.aiter_bytes()
    while not reader.ended:
        try:
            reader.feed(await chunks.__anext__())
        except StopAsyncIteration:
            reader.end()
        except _FAILURES as failure:
            reader.end(failure)
        for event in _pending(reader):
            yield event


def _pending(reader: StreamReader[Any]) -> Iterator[JsonObject]:
    while (event := reader.next()) is not None:
        yield event.to_dict()


def _reader(response: httpx.Response) -> StreamReader[Any]:
    from .results import AgentReply
    from .streams import StreamReader

    request = response.request
    operation = Operation(request.method, request.url.path, b"", AgentReply.from_json, streaming=True)
    timeout: dict[str, float | None] = request.extensions.get("timeout", {})
    reader = StreamReader(operation, timeout.get("read") or DEFAULT_IDLE_TIMEOUT)
    reader.request = request
    return reader


def _refusal(response: httpx.Response) -> errors.APIStatusError:
    try:
        _ = response.content
    except httpx.ResponseNotRead:  # the connection broke; the status is known all the same
        response = httpx.Response(response.status_code, request=response.request)
    retry_after = parse_retry_after(response.headers)
    doubtful = may_have_run(response.status_code, direct_workflow=False, retry_after=retry_after)
    return errors.status_error(
        response,
        errors.response_body(response),
        call=f"{response.request.method} {response.request.url.path}",
        may_have_run=doubtful,
        retryable=False,
        retry_after=retry_after,
        advice=errors.MAY_HAVE_RUN_HINT if doubtful else "",
    )
