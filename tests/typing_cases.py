"""What type checkers know about the package. Never run: mypy and pyright read it, and each assert has to hold.

A case that must be an error carries an ignore comment, which both report if it is not needed.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false
# ruff: noqa: B018, T201

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, Union
from uuid import UUID

import httpx
import httpx2
from pydantic import SecretStr
from typing_extensions import assert_type

from fetch_hive_sdk import (
    Agent,
    AgentAsyncOptions,
    AgentCompletedEvent,
    AgentDelegation,
    AgentDelegationEvent,
    AgentMessage,
    AgentReply,
    AgentRun,
    APIStatusError,
    ApprovalPage,
    ArtifactEvent,
    Asset,
    AsyncFetchHive,
    AsyncStream,
    Attachment,
    CallbackEvent,
    CallbackVerifier,
    Chat,
    ChatMessage,
    DailyLimitError,
    Done,
    ErrorCatalog,
    ErrorEvent,
    FetchHive,
    FetchHiveError,
    GeneratedArtifact,
    HiveAgentCancelledEvent,
    HiveAgentRun,
    HTTPResponse,
    KnowledgeBase,
    KnowledgeBaseItem,
    KnowledgeBaseSearch,
    Metadata,
    Model,
    PendingToolApproval,
    PromptResult,
    ReasoningEvent,
    Regeneration,
    RequestRecord,
    ResponseEvent,
    ResultList,
    RetryPolicy,
    SearchService,
    Stream,
    StreamError,
    StreamEvent,
    SummaryEvent,
    ToolActionApproval,
    ToolApproval,
    ToolApprovalEvent,
    ToolCall,
    ToolEvent,
    UnexpectedResponseError,
    UnknownEvent,
    Usage,
    UsageEvent,
    WorkflowCompleted,
    WorkflowCompletedEvent,
    WorkflowFailed,
    WorkflowFailedEvent,
    WorkflowQueued,
    WorkflowRun,
    WorkflowRunning,
    WorkflowRunRecord,
    __version__,
    unwrap_callback,
    verify_callback,
)

version: str = __version__


# --- the sync client ----------------------------------------------------------------------------------


def calls(client: FetchHive) -> None:
    prompt = client.invoke_prompt(deployment="d", variant="v", inputs={"a": [1]}, user="u", metadata={"n": None})
    assert_type(prompt, PromptResult)
    assert_type(client.invoke_workflow(deployment="d"), WorkflowRun)
    assert_type(client.invoke_agent(agent="a", message="m"), AgentReply)
    assert_type(client.invoke_prompt_stream(deployment="d"), Stream[PromptResult])
    assert_type(client.invoke_agent_stream(agent="a", message="m"), Stream[AgentReply])
    assert_type(client.with_options(timeout=5), FetchHive)
    with client as same:
        assert_type(same, FetchHive)


def construction() -> None:
    FetchHive()
    FetchHive("fhk_x", "https://api.fetchhive.com/v1", 120.0)
    FetchHive(timeout=httpx.Timeout(5), retry_policy=RetryPolicy(invokes="always"), http_client=httpx.Client())
    AsyncFetchHive(default_headers={"X-A": "1"}, default_metadata={"a": 1}, http_client=httpx.AsyncClient())
    FetchHive(http_client=httpx.AsyncClient())  # type: ignore[arg-type]
    AsyncFetchHive(http_client=httpx.Client())  # type: ignore[arg-type]
    FetchHive(http_client=httpx.HTTPTransport())
    AsyncFetchHive(http_client=httpx.AsyncHTTPTransport())
    FetchHive(http_client=httpx2.Client())
    AsyncFetchHive(http_client=httpx2.AsyncClient())
    FetchHive(http_client=httpx2.AsyncClient())  # type: ignore[arg-type]
    AsyncFetchHive(http_client=httpx2.Client())  # type: ignore[arg-type]
    AsyncFetchHive(http_client="aiohttp")
    AsyncFetchHive(http_client="requests")  # type: ignore[arg-type]
    FetchHive(http_client="aiohttp")  # type: ignore[arg-type]
    FetchHive("fhk_x", None, 60.0, 5)  # type: ignore[call-arg, arg-type]
    RetryPolicy(invokes="never")  # type: ignore[arg-type]


def wrong_calls(client: FetchHive) -> None:
    client.invoke_prompt("d")  # type: ignore[call-arg]
    client.invoke_prompt()  # type: ignore[call-arg]
    client.invoke_prompt(deployment=None)  # type: ignore[arg-type]
    client.invoke_prompt(deployment="d", metadata={"a": [1]})  # type: ignore[dict-item]
    client.invoke_prompt(deployment="d", image_urls=[])  # type: ignore[call-arg]
    client.invoke_workflow(deployment="d", tool_approval="always")  # type: ignore[arg-type]
    client.invoke_agent(agent="a")  # type: ignore[call-arg]


# --- the async client ---------------------------------------------------------------------------------


async def async_calls(client: AsyncFetchHive) -> None:
    assert_type(await client.invoke_prompt(deployment="d"), PromptResult)
    assert_type(await client.invoke_workflow(deployment="d", callback_url="https://example.com"), WorkflowRun)
    assert_type(await client.invoke_agent(agent="a", message="m"), AgentReply)
    assert_type(client.invoke_prompt_stream(deployment="d"), AsyncStream[PromptResult])
    assert_type(client.invoke_agent_stream(agent="a", message="m"), AsyncStream[AgentReply])
    assert_type(client.with_options(max_retries=0), AsyncFetchHive)
    async with client as same:
        assert_type(same, AsyncFetchHive)
    await client.aclose()


async def wrong_async_calls(client: AsyncFetchHive) -> None:
    result = client.invoke_prompt(deployment="d")
    result.response  # type: ignore[attr-defined]
    with client:  # type: ignore[attr-defined]
        pass


# --- arguments ----------------------------------------------------------------------------------------


def arguments(client: FetchHive) -> None:
    attachment: Attachment = {"file_url": "https://example.com/a.pdf", "id": "i", "file_name": "n", "file_type": "t"}
    message: AgentMessage = {"role": "user", "content": "Hi", "attachments": ["https://example.com/a.pdf", attachment]}
    options: AgentAsyncOptions = {"allow_background": False}
    approval: ToolApproval = "auto_approve"
    metadata: Metadata = {"a": "s", "b": 1, "c": 1.5, "d": True, "e": None}
    client.invoke_agent(
        agent="a",
        message="m",
        thread_id=None,
        messages=(message, {"role": "assistant", "content": "Hello"}),
        attachments=[attachment, "https://example.com/b.pdf", {"file_url": "https://example.com/c.pdf"}],
        image_urls=("https://example.com/i",),
        known_artifact_refs=["0190aaaa-0000-7000-8000-000000000001"],
        artifact_refs=[UUID(int=1)],
        async_options=options,
        metadata=metadata,
        tool_approval=approval,
    )
    strings: dict[str, str] = {"plan": "pro"}
    objects: Mapping[str, object] = {"when": datetime.now(), "ids": {UUID(int=1)}}
    client.invoke_workflow(deployment="d", inputs=objects, metadata=strings)


def wrong_arguments() -> None:
    no_url: Attachment = {"file_name": "a.pdf"}  # type: ignore[typeddict-item]
    other_key: Attachment = {"file_url": "u", "url": "u"}  # type: ignore[typeddict-unknown-key]
    no_role: AgentMessage = {"content": "Hi"}  # type: ignore[typeddict-item]
    other_role: AgentMessage = {"role": "tool", "content": "Hi"}  # type: ignore[typeddict-item]
    enabled: AgentAsyncOptions = {"enabled": True}  # type: ignore[typeddict-unknown-key]
    nested: Metadata = {"a": {"b": 1}}  # type: ignore[dict-item]
    approval: ToolApproval = "always"  # type: ignore[assignment]
    print(no_url, other_key, no_role, other_role, enabled, nested, approval)


# --- results ------------------------------------------------------------------------------------------


def prompts(result: PromptResult) -> None:
    assert_type(result.response, str)
    assert_type(result.request_id, str)
    assert_type(result.model, str | None)
    assert_type(result.usage, Usage | None)
    assert_type(result.to_dict(), dict[str, Any])
    assert_type(dict(result), dict[str, Any])
    assert_type({**result}, dict[str, Any])
    assert_type("usage" in result, bool)
    assert_type(len(result), int)
    if result.usage:
        assert_type(result.usage.prompt_tokens, int | None)
        assert_type(result.usage.duration, float | None)
    text: str = result["response"]
    mapping: Mapping[str, object] = result
    print(text, mapping)
    result.response = "changed"  # type: ignore[misc]
    result["response"] = "changed"  # type: ignore[index]


def agents(reply: AgentReply) -> None:
    assert_type(reply.tool_calls, tuple[ToolCall, ...])
    assert_type(reply.artifacts, tuple[GeneratedArtifact, ...])
    assert_type(reply.pending_tool_approvals, tuple[PendingToolApproval, ...])
    assert_type(reply.awaiting_approval, bool)
    for call in reply.tool_calls:
        assert_type(call.tool_input, str)


def workflows(run: WorkflowRun) -> str:
    assert_type(run.output, str | None)
    assert_type(run.error, str | None)
    assert_type(run.webhook_secret, SecretStr | None)
    assert_type(run.callback_verifier(), CallbackVerifier)
    if isinstance(run, WorkflowCompleted):
        assert_type(run, WorkflowCompleted)
        assert_type(run.output, str)
    if isinstance(run, WorkflowFailed):
        assert_type(run.error, str)
        assert_type(run.output, str | None)
    if isinstance(run, (WorkflowRunning, WorkflowQueued)):
        assert_type(run, WorkflowRunning | WorkflowQueued)
    match run:
        case WorkflowCompleted(output=output):
            assert_type(output, str)
            return output
        case WorkflowFailed(error=error):
            assert_type(error, str)
            return error
        case WorkflowRunning() | WorkflowQueued():
            return "later"
        case _:
            assert_type(run, WorkflowRun)
            return run.run_status


# --- streams ------------------------------------------------------------------------------------------


def streams(prompt: Stream[PromptResult], agent: Stream[AgentReply]) -> None:
    for event in prompt:
        assert_type(event, StreamEvent)
    assert_type(next(agent), StreamEvent)
    assert_type(prompt.text, Iterator[str])
    assert_type(prompt.final(), PromptResult)
    assert_type(agent.final(), AgentReply)
    assert_type(prompt.request_id, str | None)
    assert_type(prompt.http_response, httpx.Response | None)
    with prompt as same:
        assert_type(same, Stream[PromptResult])


async def async_streams(prompt: AsyncStream[PromptResult], agent: AsyncStream[AgentReply]) -> None:
    async for event in prompt:
        assert_type(event, StreamEvent)
    async for text in agent.text:
        assert_type(text, str)
    assert_type(prompt.text, AsyncIterator[str])
    assert_type(await prompt.final(), PromptResult)
    assert_type(await agent.final(), AgentReply)
    async with agent as same:
        assert_type(same, AsyncStream[AgentReply])
    await prompt.aclose()
    for _ in prompt:  # type: ignore[attr-defined]
        pass


def events_by_type(event: StreamEvent) -> None:
    assert_type(event.request_id, str | None)
    if event.type == "response":
        print(event["response"])
    if isinstance(event, UnknownEvent):
        assert_type(event.type, str)
        return
    if event.type == "reasoning":
        assert_type(event, ReasoningEvent)
    elif event.type == "response":
        assert_type(event, ResponseEvent)
        assert_type(event.response, str)
    elif event.type == "tool":
        assert_type(event, ToolEvent)
        assert_type(event.observation, str)
    elif event.type == "artifact":
        assert_type(event, ArtifactEvent)
        assert_type(event.artifact, GeneratedArtifact | None)
    elif event.type == "tool_approval":
        assert_type(event, ToolApprovalEvent)
        assert_type(event.approval, PendingToolApproval | None)
    elif event.type == "summary":
        assert_type(event, SummaryEvent)
        assert_type(event.original_token_count, int | None)
    elif event.type == "usage":
        assert_type(event, UsageEvent)
        assert_type(event.usage, Usage | None)
    else:
        assert_type(event, ErrorEvent)
        assert_type(event.type, Literal["error"])


def events_by_class(event: StreamEvent) -> str:
    match event:
        case ResponseEvent(response=text) | ReasoningEvent(response=text):
            assert_type(text, str)
            return text
        case UsageEvent(usage=usage):
            assert_type(usage, Usage | None)
            return "usage"
        case ErrorEvent():
            return event.error
        case ToolEvent() | ArtifactEvent() | ToolApprovalEvent() | SummaryEvent():
            return event.type
        case UnknownEvent():
            return event.type


# --- callbacks ----------------------------------------------------------------------------------------


def callbacks(verifier: CallbackVerifier, body: bytes, headers: Mapping[str, str]) -> None:
    assert_type(verifier.unwrap(body, headers), CallbackEvent)
    assert_type(verifier.unwrap(body.decode(), [(b"x-fetch-hive-signature", b"")]), CallbackEvent)
    assert_type(unwrap_callback(body, headers, "whsec_x"), CallbackEvent)
    assert_type(verifier.sign(body), str)
    verifier.verify(body, httpx.Headers())
    verify_callback(body, headers, [b"whsec_x", "whsec_y", SecretStr("whsec_z")])
    CallbackVerifier(("whsec_x", b"whsec_y"))
    verifier.verify({"event_type": "x"}, headers)  # type: ignore[arg-type]
    CallbackVerifier(None)  # type: ignore[arg-type]
    CallbackVerifier(5)  # type: ignore[arg-type]


def callback_events(event: CallbackEvent) -> str:
    assert_type(event.event_type, str)
    assert_type(event.outcome, str)
    assert_type(event.data, dict[str, Any])
    if isinstance(event, WorkflowCompletedEvent):
        assert_type(event.output, str)
    if isinstance(event, AgentDelegationEvent):
        assert_type(event.delegation, AgentDelegation)
    match event:
        case WorkflowCompletedEvent(output=output):
            assert_type(output, str)
            return output
        case WorkflowFailedEvent(error=error):
            assert_type(error, str)
            return error
        case AgentCompletedEvent(response=response):
            assert_type(response, str)
            return response
        case HiveAgentCancelledEvent():
            return "cancelled"
        case _:
            event.output  # type: ignore[attr-defined]
            return event.event_type


# --- errors -------------------------------------------------------------------------------------------


def errors(client: FetchHive) -> None:
    try:
        client.invoke_prompt(deployment="d")
    except DailyLimitError as error:
        assert_type(error.resets_at, datetime)
        assert_type(error.limit, int | None)
    except APIStatusError as error:
        assert_type(error.status_code, int | None)
        assert_type(error.response, httpx.Response)
        assert_type(error.request, httpx.Request)
    except UnexpectedResponseError as error:
        assert_type(error.response, httpx.Response)
    except FetchHiveError as error:
        assert_type(error.request_id, str | None)
        assert_type(error.error_code, str | None)
        assert_type(error.may_have_run, bool)
        assert_type(error.retryable, bool)
        assert_type(error.retry_after, float | None)


def partial(error: StreamError) -> None:
    if isinstance(error.partial, PromptResult):
        assert_type(error.partial.response, str)


# --- the whole API ------------------------------------------------------------------------------------


def whole_api(client: FetchHive, i: UUID) -> None:
    assert_type(client.requests.get("r"), RequestRecord)
    assert_type(client.requests.wait("r", timeout=5, on_poll=print), RequestRecord)
    assert_type(client.workflow_runs.get(i), WorkflowRunRecord)
    assert_type(client.triggers.workflow(i, i, webhook_secret="s", callback_url="u", inputs={"a": 1}), WorkflowRun)
    assert_type(client.triggers.agent(i, message="m", webhook_secret="s", callback_url="u"), AgentRun)
    assert_type(client.delegations.get(i), AgentDelegation)
    assert_type(client.delegations.cancel(i), AgentDelegation)
    assert_type(client.delegations.list("thread"), ResultList[AgentDelegation])
    assert_type(client.approvals.list(limit=5), ApprovalPage)
    assert_type(client.approvals.get(i), ToolActionApproval)
    assert_type(client.approvals.decide(i, "allow_once"), ToolActionApproval)
    assert_type(client.knowledge_bases.list(), ResultList[KnowledgeBase])
    assert_type(client.knowledge_bases.get(i), KnowledgeBase)
    assert_type(client.knowledge_bases.create(name="n"), KnowledgeBase)
    assert_type(client.knowledge_bases.update(i, name="n"), KnowledgeBase)
    assert_type(client.knowledge_bases.delete(i), Done)
    assert_type(client.knowledge_bases.search(i, search_query="q"), KnowledgeBaseSearch)
    assert_type(client.knowledge_bases.items.list(i), ResultList[KnowledgeBaseItem])
    assert_type(client.knowledge_bases.items.get(i, i), KnowledgeBaseItem)
    assert_type(client.knowledge_bases.items.create(i, name="n"), KnowledgeBaseItem)
    assert_type(client.knowledge_bases.items.update(i, i, name="n"), KnowledgeBaseItem)
    assert_type(client.knowledge_bases.items.delete(i, i), Done)
    assert_type(client.knowledge_bases.items.regenerate(i, i), Regeneration)
    assert_type(client.agents.list(), ResultList[Agent])
    assert_type(client.agents.get(i), Agent)
    assert_type(client.agents.create(name="n", llm_model="m", model_type="t"), Agent)
    assert_type(client.agents.update(i, name="n"), Agent)
    assert_type(client.agents.delete(i), Done)
    assert_type(client.chats.create(i, name="n"), Chat)
    assert_type(client.chats.get(i, i), Chat)
    assert_type(client.chats.update(i, i, name="n"), Chat)
    assert_type(client.chats.delete(i, i), Done)
    assert_type(client.chats.clear(i, i), Chat)
    assert_type(client.chats.messages(i, i), ResultList[ChatMessage])
    assert_type(client.assets.list(), ResultList[Asset])
    assert_type(client.assets.upload("path", on_progress=print), Asset)
    assert_type(client.models.list(), ResultList[Model])
    assert_type(client.search_services.list(), ResultList[SearchService])
    assert_type(client.search_services.get("google"), SearchService)
    assert_type(client.error_codes(locale="es"), ErrorCatalog)
    assert_type(client.invoke_hive_agent(hive_agent="h", objective="o", callback_url="u"), HiveAgentRun)
    assert_type(client.request("GET", "/x"), Any)
    assert_type(client.request("GET", "/x", cast_to=dict[str, int]), dict[str, int])
    assert_type(client.request("GET", "/x", cast_to=HTTPResponse), HTTPResponse)
    assert_type(client.approvals.iterate(status="pending"), Iterator[ToolActionApproval])
    assert_type(client.knowledge_bases.list()[0], KnowledgeBase)
    assert_type([agent.name for agent in client.agents.list()], list[str])
    assert_type(client.requests.get("r").http_response, Union[HTTPResponse, None])


async def whole_async_api(client: AsyncFetchHive, i: UUID) -> None:
    assert_type(await client.requests.get("r"), RequestRecord)
    assert_type(await client.requests.wait("r", timeout=5, on_poll=print), RequestRecord)
    assert_type(await client.workflow_runs.get(i), WorkflowRunRecord)
    assert_type(
        await client.triggers.workflow(i, i, webhook_secret="s", callback_url="u", inputs={"a": 1}), WorkflowRun
    )
    assert_type(await client.triggers.agent(i, message="m", webhook_secret="s", callback_url="u"), AgentRun)
    assert_type(await client.delegations.get(i), AgentDelegation)
    assert_type(await client.delegations.cancel(i), AgentDelegation)
    assert_type(await client.delegations.list("thread"), ResultList[AgentDelegation])
    assert_type(await client.approvals.list(limit=5), ApprovalPage)
    assert_type(await client.approvals.get(i), ToolActionApproval)
    assert_type(await client.approvals.decide(i, "allow_once"), ToolActionApproval)
    assert_type(await client.knowledge_bases.list(), ResultList[KnowledgeBase])
    assert_type(await client.knowledge_bases.get(i), KnowledgeBase)
    assert_type(await client.knowledge_bases.create(name="n"), KnowledgeBase)
    assert_type(await client.knowledge_bases.update(i, name="n"), KnowledgeBase)
    assert_type(await client.knowledge_bases.delete(i), Done)
    assert_type(await client.knowledge_bases.search(i, search_query="q"), KnowledgeBaseSearch)
    assert_type(await client.knowledge_bases.items.list(i), ResultList[KnowledgeBaseItem])
    assert_type(await client.knowledge_bases.items.get(i, i), KnowledgeBaseItem)
    assert_type(await client.knowledge_bases.items.create(i, name="n"), KnowledgeBaseItem)
    assert_type(await client.knowledge_bases.items.update(i, i, name="n"), KnowledgeBaseItem)
    assert_type(await client.knowledge_bases.items.delete(i, i), Done)
    assert_type(await client.knowledge_bases.items.regenerate(i, i), Regeneration)
    assert_type(await client.agents.list(), ResultList[Agent])
    assert_type(await client.agents.get(i), Agent)
    assert_type(await client.agents.create(name="n", llm_model="m", model_type="t"), Agent)
    assert_type(await client.agents.update(i, name="n"), Agent)
    assert_type(await client.agents.delete(i), Done)
    assert_type(await client.chats.create(i, name="n"), Chat)
    assert_type(await client.chats.get(i, i), Chat)
    assert_type(await client.chats.update(i, i, name="n"), Chat)
    assert_type(await client.chats.delete(i, i), Done)
    assert_type(await client.chats.clear(i, i), Chat)
    assert_type(await client.chats.messages(i, i), ResultList[ChatMessage])
    assert_type(await client.assets.list(), ResultList[Asset])
    assert_type(await client.assets.upload("path", on_progress=print), Asset)
    assert_type(await client.models.list(), ResultList[Model])
    assert_type(await client.search_services.list(), ResultList[SearchService])
    assert_type(await client.search_services.get("google"), SearchService)
    assert_type(await client.error_codes(locale="es"), ErrorCatalog)
    assert_type(await client.invoke_hive_agent(hive_agent="h", objective="o", callback_url="u"), HiveAgentRun)
    assert_type(await client.request("GET", "/x"), Any)
    assert_type(await client.request("GET", "/x", cast_to=dict[str, int]), dict[str, int])
    assert_type(await client.request("GET", "/x", cast_to=HTTPResponse), HTTPResponse)
    assert_type(client.approvals.iterate(status="pending"), AsyncIterator[ToolActionApproval])
