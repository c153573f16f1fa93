"""Tool approvals: calls of tools that wait for a decision, and deciding them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal, Union, cast
from uuid import UUID

from pydantic import Field

from ..answers import as_text, read_json, read_object
from ..arguments import choice, encoded, number, optional_text, text
from ..errors import BadRequestError, FetchHiveError, NotFoundError, UnprocessableEntityError
from ..jsonable import article, refused
from ..operations import Operation, query_string
from ..results import Entity, Part
from ..settings import Settings
from ..urls import segment
from .base import AsyncResource, ResultList, SyncResource, enveloped, objects, workspace

__all__ = [
    "ApprovalBatchItem",
    "ApprovalCapabilities",
    "ApprovalPage",
    "ApprovalRequester",
    "ApprovalVote",
    "ToolActionApproval",
]

Decision = Literal["allow_once", "deny"]


class ApprovalRequester(Part, frozen=True):
    """Who asks for an approval: `kind` says what, the other names which."""

    kind: str = ""
    name: str | None = None
    workflow_name: str | None = None
    agent_name: str | None = None


class ApprovalVote(Part, frozen=True):
    """One user's decision, where an approval needs several."""

    user_id: str = ""
    decision: str = ""


class ApprovalBatchItem(Part, frozen=True):
    """Another approval of the same batch."""

    id: str = ""
    summary: str = ""


class ApprovalCapabilities(Part, frozen=True):
    """What may be decided: for always, and for the whole run. Both only in the dashboard."""

    can_always_allow: bool | None = None
    can_run_decision: bool | None = None


class ToolActionApproval(Entity, frozen=True):
    """A call of a tool that waits, or has waited, for a decision. Times are ISO 8601, as the service writes them.

    Only the names and types of these fields are documented: what they mean is read from their names. People are
    objects with an `id`.

    Attributes:
        id: The approval's UUID.
        status: `pending`, until it is decided. Which other words there are is not documented.
        summary: What the tool is to do, in a sentence.
        decision: What was decided.
        arguments: What the tool is to be called with.
        original_arguments: The same before somebody edited it.
        arguments_edited_at: When that was.
        arguments_edited_by: Who that was.
        changed_fields: What was changed.
        result: What the tool answered.
        error: What went wrong.
        action_slug: The tool's action, such as `send_email`.
        action_label: The same for people to read.
        confirmation: What kind of confirmation it needs.
        risk_level: How much harm it can do.
        provider_type: Whose tool it is.
        provider_login: With which of its accounts.
        gateway_name: By which gateway.
        token_name: By which token.
        integration_authorization_id: By which authorization, as UUID.
        integration_connection_count: How many connections there are.
        approvals_required: How many users have to allow it.
        approval_votes: Who of them has decided.
        requested_by_kind: What asks: the same as `requested_by.kind`.
        requested_by: What asks.
        prompt_workflow_run_id: The workflow's run that waits, as UUID.
        agent_run_id: The agent's run that waits, as UUID.
        ephemeral_execution_id: The execution that waits.
        copilot_session_id: The session that waits.
        created_at: When it was asked for.
        expires_at: Until when it can be decided.
        decided_at: When it was decided.
        decided_by: Who decided.
        decided_via: Where: by a key, or in the dashboard.
        decided_by_api_key_name: With which key.
        decided_by_user: Who decided, shown to administrators.
        auto_allowed_by: What allowed it without asking.
        auto_allowed_source_id: Its UUID.
        auto_allowed_source_name: Its name.
        workspace_id: The workspace's UUID.
        resolved_policy_id: The UUID of the rule that applies.
        resolved_policy_user: Whose rule it is.
        locked_rule_effect: What a locked rule does to it.
        audience_role: Who may decide: `admin`, `member` or `none`.
        batch_key: What its batch has in common.
        batch_pending_count: How many of its batch wait.
        batch_items: Its batch.
        capabilities: What may be decided.
    """

    id: str = ""
    status: str = ""
    summary: str = ""
    decision: str | None = None
    arguments: Union[dict[str, Any], None] = None
    original_arguments: Union[dict[str, Any], None] = None
    arguments_edited_at: str | None = None
    arguments_edited_by: Union[dict[str, Any], None] = None
    changed_fields: tuple[str, ...] = ()
    result: Union[dict[str, Any], None] = None
    error: str | None = None
    action_slug: str | None = None
    action_label: str | None = None
    confirmation: str | None = None
    risk_level: str | None = None
    provider_type: str | None = None
    provider_login: str | None = None
    gateway_name: str | None = None
    token_name: str | None = None
    integration_authorization_id: str | None = None
    integration_connection_count: int | None = None
    approvals_required: int | None = None
    approval_votes: tuple[ApprovalVote, ...] = Field(default=())
    requested_by_kind: str | None = None
    requested_by: ApprovalRequester | None = None
    prompt_workflow_run_id: str | None = None
    agent_run_id: str | None = None
    ephemeral_execution_id: str | None = None
    copilot_session_id: str | None = None
    created_at: str | None = None
    expires_at: str | None = None
    decided_at: str | None = None
    decided_by: str | None = None
    decided_via: str | None = None
    decided_by_api_key_name: str | None = None
    decided_by_user: Union[dict[str, Any], None] = None
    auto_allowed_by: str | None = None
    auto_allowed_source_id: str | None = None
    auto_allowed_source_name: str | None = None
    workspace_id: str | None = None
    resolved_policy_id: str | None = None
    resolved_policy_user: Union[dict[str, Any], None] = None
    locked_rule_effect: str | None = None
    audience_role: str | None = None
    batch_key: str | None = None
    batch_pending_count: int | None = None
    batch_items: tuple[ApprovalBatchItem, ...] = Field(default=())
    capabilities: ApprovalCapabilities | None = None


class ApprovalPage(ResultList[ToolActionApproval]):
    """Some of the approvals that were asked for.

    Args:
        items: The approvals.
        cursors: What the answer has where it may have the next page's cursor; null means that there is none.

    Attributes:
        next_cursor: What to pass as `cursor` for the next page; None where the answer has none.
        is_last: Whether there is no next page. None where the answer does not say so: with which key it would is
            not documented, so several are understood.
    """

    def __init__(self, items: Sequence[ToolActionApproval], cursors: Sequence[str | None] = ()) -> None:
        super().__init__(items)
        self.next_cursor = next((cursor for cursor in cursors if cursor), None)
        self.is_last = None if not cursors else self.next_cursor is None


def read_page(data: bytes) -> ApprovalPage:
    """Read a page of approvals, with the next one's cursor from wherever a cursor may be.

    Raises:
        ValueError: There is no list, or something in it is no object.
    """
    answer = read_json(data)
    places: list[dict[str, Any]] = []
    if isinstance(answer, dict):
        fields = cast("dict[str, Any]", answer)
        places = [place for place in (fields, fields.get("meta"), fields.get("pagination")) if isinstance(place, dict)]
    # `cursor` comes last: it may be the one of the page itself.
    found = [place[name] for name in ("next_cursor", "next", "cursor") for place in places if name in place]
    cursors = [value if value is None else as_text(value) for value in found if _may_be_cursor(value)]
    return ApprovalPage(objects(answer, "approvals", ToolActionApproval), cursors)


def _may_be_cursor(value: Any) -> bool:
    return value is None or (isinstance(value, (str, int)) and not isinstance(value, bool))


def read_decided(data: bytes) -> ToolActionApproval:
    """Read the answer to a decision. What it has in it is not documented: without an approval all is default.

    Raises:
        ValueError: It is a page of something in between, which has decided nothing.
    """
    if data.lstrip().startswith(b"<"):
        raise ValueError("it is a page")
    try:
        answer = read_object(data)
    except ValueError:
        return ToolActionApproval()
    fields = answer.get("approval", answer)
    return ToolActionApproval.model_validate(fields if isinstance(fields, dict) else {})


def list_page(
    settings: Settings,
    status: object,
    agent_id: object,
    run_id: object,
    request_id: object,
    cursor: object,
    limit: object,
    workspace_id: object,
) -> Operation[ApprovalPage]:
    """GET …/tool_action_approvals."""
    parameters: dict[str, Any] = {
        "status": optional_text("status", status),
        "agent_id": _optional_id("agent_id", agent_id),
        "run_id": _optional_id("run_id", run_id),
        "request_id": _optional_id("request_id", request_id),
        "cursor": optional_text("cursor", cursor),
        "limit": number("limit", limit, whole=True),
    }
    query = query_string("query", parameters)
    return Operation("GET", _path(settings, workspace_id), b"", read_page, effect="nothing", query=query)


def get(settings: Settings, approval_id: object, workspace_id: object) -> Operation[ToolActionApproval]:
    """GET …/tool_action_approvals/{id}."""
    path = f"{_path(settings, workspace_id)}/{segment('approval_id', approval_id)}"
    return Operation("GET", path, b"", enveloped("approval", ToolActionApproval), effect="nothing")


def decide(
    settings: Settings, approval_id: object, decision: object, workspace_id: object
) -> Operation[ToolActionApproval]:
    """POST …/tool_action_approvals/{id}/decide."""
    body = {"decision": choice("decision", text("decision", decision), "allow_once", "deny")}
    path = f"{_path(settings, workspace_id)}/{segment('approval_id', approval_id)}/decide"
    return Operation("POST", path, encoded(body), read_decided, effect="change")


def _path(settings: Settings, workspace_id: object) -> str:
    return f"{workspace(settings, workspace_id)}/tool_action_approvals"


def _optional_id(name: str, value: object) -> str | None:
    if not isinstance(value, (str, UUID)) and value is not None:
        raise refused(name, f"{article(value)} is not allowed", "Pass the id as a str.")
    return None if value is None else text(name, str(value))


class Walk:
    """A walk over all pages, without I/O: which page to ask for, and what in it is new.

    Attributes:
        operation: The call for the next page; None at the end.
    """

    def __init__(
        self,
        settings: Settings,
        status: object,
        agent_id: object,
        run_id: object,
        request_id: object,
        limit: object,
        workspace_id: object,
    ) -> None:
        self._settings = settings
        self._filters = (status, agent_id, run_id, request_id)
        self._limit = limit
        self._workspace_id = workspace_id
        self._seen: set[str] = set()
        self._guessed = False  # whether the next page is asked for with an id for its cursor
        self.operation: Operation[ApprovalPage] | None = self._page(None)

    def take(self, page: ApprovalPage) -> list[ToolActionApproval]:
        """The approvals of a page that were in none before."""
        new: list[ToolActionApproval] = []
        for approval in page:
            if approval.id not in self._seen:
                self._seen.add(approval.id)
                new.append(approval)
        cursor = page.next_cursor
        self._guessed = page.is_last is None
        if new and self._guessed:
            cursor = page[-1].id
        self.operation = self._page(cursor) if new and cursor else None
        return new

    def ends_with(self, error: FetchHiveError) -> bool:
        """Whether an error means no more than that an id is no cursor, so that there was one page alone."""
        return self._guessed and isinstance(error, (BadRequestError, NotFoundError, UnprocessableEntityError))

    def _page(self, cursor: str | None) -> Operation[ApprovalPage]:
        return list_page(self._settings, *self._filters, cursor, self._limit, self._workspace_id)


class Approvals(SyncResource):
    """Calls of tools that wait for a decision."""

    def list(
        self,
        *,
        status: str | None = None,
        agent_id: str | UUID | None = None,
        run_id: str | UUID | None = None,
        request_id: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> ApprovalPage:
        """List one page of the approvals; `iterate` goes over all.

        Args:
            status: Only those with this status. Default: the service's, which is `pending`.
            agent_id: Only those of this agent.
            run_id: Only those of this run, by its UUID.
            request_id: Only those of this run, by its `req_…`.
            cursor: Where the page begins: the `next_cursor` of the page before. Default: at the beginning.
            limit: How many there may be at most. Default: the service's. Which numbers it takes is not documented.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(list_page(self._settings, status, agent_id, run_id, request_id, cursor, limit, workspace_id))

    def iterate(
        self,
        *,
        status: str | None = None,
        agent_id: str | UUID | None = None,
        run_id: str | UUID | None = None,
        request_id: str | None = None,
        limit: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> Iterator[ToolActionApproval]:
        """Go over the approvals of all pages, each page asked for when it is needed, none twice.

        How the service tells the next page's cursor is not documented. Where its answer has one, it is followed.
        Where it has no place for one, the last approval's id is taken for it, until a page brings nothing new.

        Args:
            status: Only those with this status. Default: the service's, which is `pending`.
            agent_id: Only those of this agent.
            run_id: Only those of this run, by its UUID.
            request_id: Only those of this run, by its `req_…`.
            limit: How many a page may have. Default: the service's. Which numbers it takes is not documented.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's; as all that follows, when the page is asked for.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._walk(Walk(self._settings, status, agent_id, run_id, request_id, limit, workspace_id))

    def _walk(self, walk: Walk) -> Iterator[ToolActionApproval]:
        while walk.operation is not None:
            try:
                page = self._run(walk.operation)
            except FetchHiveError as error:
                if walk.ends_with(error):
                    return
                raise
            yield from walk.take(page)

    def get(self, approval_id: str | UUID, *, workspace_id: str | UUID | None = None) -> ToolActionApproval:
        """Look an approval up.

        Args:
            approval_id: The approval's id, such as `reply.pending_tool_approvals[0].approval_id`.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: There is no such approval in the key's workspace.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(get(self._settings, approval_id, workspace_id))

    def decide(
        self, approval_id: str | UUID, decision: Decision, *, workspace_id: str | UUID | None = None
    ) -> ToolActionApproval:
        """Allow a tool's call, or deny it. The run then goes on by itself: do not invoke it again.

        Args:
            approval_id: The approval's id, such as `reply.pending_tool_approvals[0].approval_id`.
            decision: `"allow_once"` or `"deny"`. To allow for always is possible in the dashboard only.
            workspace_id: The workspace. Default: the client's.

        Returns:
            The approval, if the service answers with it: what it answers is not documented. Otherwise all attributes
            are their defaults, and the answer as it came is in `http_response`.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            ConflictError: It is decided already.
            NotFoundError: There is no such approval in the key's workspace.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came; `get` tells whether it is decided.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(decide(self._settings, approval_id, decision, workspace_id))


class AsyncApprovals(AsyncResource):
    """Calls of tools that wait for a decision."""

    async def list(
        self,
        *,
        status: str | None = None,
        agent_id: str | UUID | None = None,
        run_id: str | UUID | None = None,
        request_id: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> ApprovalPage:
        """List one page of the approvals; `iterate` goes over all.

        As `Approvals.list`.
        """
        return await self._run(
            list_page(self._settings, status, agent_id, run_id, request_id, cursor, limit, workspace_id)
        )

    def iterate(
        self,
        *,
        status: str | None = None,
        agent_id: str | UUID | None = None,
        run_id: str | UUID | None = None,
        request_id: str | None = None,
        limit: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> AsyncIterator[ToolActionApproval]:
        """Go over the approvals of all pages, each page asked for when it is needed, none twice.

        As `Approvals.iterate`, with `async for`.
        """
        return self._walk(Walk(self._settings, status, agent_id, run_id, request_id, limit, workspace_id))

    async def _walk(self, walk: Walk) -> AsyncIterator[ToolActionApproval]:
        while walk.operation is not None:
            try:
                page = await self._run(walk.operation)
            except FetchHiveError as error:
                if walk.ends_with(error):
                    return
                raise
            for approval in walk.take(page):
                yield approval

    async def get(self, approval_id: str | UUID, *, workspace_id: str | UUID | None = None) -> ToolActionApproval:
        """Look an approval up.

        As `Approvals.get`.
        """
        return await self._run(get(self._settings, approval_id, workspace_id))

    async def decide(
        self, approval_id: str | UUID, decision: Decision, *, workspace_id: str | UUID | None = None
    ) -> ToolActionApproval:
        """Allow a tool's call, or deny it. The run then goes on by itself: do not invoke it again.

        As `Approvals.decide`.
        """
        return await self._run(decide(self._settings, approval_id, decision, workspace_id))
