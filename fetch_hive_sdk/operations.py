"""Each API call as a value: method, path, JSON body, result type.

The invokes stand here, the calls of the resources beside the resource. Arguments are checked (`arguments`), so that
nothing is sent that the service must refuse. `None` means "not sent".
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Union
from urllib.parse import urlencode
from uuid import UUID

from typing_extensions import NotRequired, Required, TypedDict

from .answers import HTTPResponse, as_text, read_json
from .arguments import (
    agent_async,
    artifact_ref_lists,
    attachment_list,
    boolean,
    callback_address,
    check_attachment_count,
    choice,
    encoded,
    filled,
    image_url_list,
    inputs_object,
    items,
    merged_metadata,
    message_list,
    name_of,
    optional_name,
    optional_text,
    text,
)
from .errors import InvalidRequestError
from .jsonable import MetadataValue, article, encode, mapping, plain, refused
from .loading import loading
from .retries import Effect
from .settings import Settings
from .urls import has_dot_segments

if TYPE_CHECKING:
    from .results import AgentReply, HiveAgentRun, PromptResult, WorkflowRun
    from .uploads import Upload

__all__ = [
    "AgentAsyncOptions",
    "AgentMessage",
    "Attachment",
    "BudgetPolicy",
    "HiveAgentSources",
    "Metadata",
    "MetadataValue",
    "ToolApproval",
]

ResultT = TypeVar("ResultT")

# What an error object may have beside its `error`, so that it makes no answer of it.
_OF_ERRORS_TOO = {"error", "message", "request_id", "status"}

Metadata = Mapping[str, MetadataValue]
Inputs = Mapping[str, Any]
ToolApproval = Literal["policy", "auto_approve"]
BudgetPolicy = Literal["stop", "proceed_to_cap"]


class Attachment(TypedDict, total=False):
    """A file for an agent. `file_url` has to be https; `id` is the asset's UUID."""

    file_url: Required[str]
    id: str
    file_name: str
    file_type: str


class AgentMessage(TypedDict):
    """One message of a history that the caller keeps."""

    role: Literal["user", "assistant", "system"]
    content: str
    attachments: NotRequired[Sequence[Union[str, Attachment]]]
    image_urls: NotRequired[Sequence[str]]


class AgentAsyncOptions(TypedDict, total=False):
    """How an agent's background workflows report.

    `callback_url` receives their signed callbacks. `allow_background=False` keeps workflows that the agent
    runs synchronous; the service's default is True with a `thread_id` or a `callback_url`, else False.
    """

    callback_url: str
    allow_background: bool


class HiveAgentSources(TypedDict, total=False):
    """What a hive agent may draw on: addresses, and ids of assets, knowledge bases and their items."""

    website_urls: Sequence[str]
    asset_ids: Sequence[str]
    knowledge_base_ids: Sequence[str]
    knowledge_base_item_ids: Sequence[str]


@dataclass(slots=True)
class Operation(Generic[ResultT]):
    """One API call, ready to be sent; nothing changes it any more.

    Attributes:
        method: The HTTP method.
        path: The path after the base URL.
        body: The JSON body, or a form with a file; empty for none. Not shown by `repr`, it is the caller's data.
        read: Makes the result from the answer's bytes.
        streaming: Whether the answer is a stream of events.
        effect: What it does if it is done twice; what does something must not be repeated lightly.
        direct_workflow: Whether its answer waits for a whole workflow.
        query: The query string, without `?`; in no message, since it may have a secret in it.
        headers: Further headers; not shown by `repr`, for the same reason.
        with_key: Whether it is sent with the API key.
        whole: Whether its result is the answer itself, an `HTTPResponse`, and not what `read` makes of it.
    """

    method: str
    path: str
    body: bytes | Upload = field(repr=False)
    read: Callable[[bytes], ResultT] = field(repr=False)
    streaming: bool = False
    effect: Effect = "run"
    direct_workflow: bool = False
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    with_key: bool = True
    whole: bool = False

    def failure(self, result: ResultT) -> str:
        """The error in a success answer that has nothing else; empty if it is an answer.

        With which status a failed run answers is not documented. A workflow's run has a state for it.
        """
        from .results import AgentReply, Entity, PromptResult, Result, WorkflowRun

        if not isinstance(result, (Result, Entity)) or isinstance(result, WorkflowRun) or "error" not in result:
            return ""
        if isinstance(result, (PromptResult, AgentReply)):
            return "" if "response" in result else as_text(result["error"])
        told = type(result).model_fields.keys() - _OF_ERRORS_TOO
        return "" if not result["error"] or told & result.keys() else as_text(result["error"])

    def get_ready(self) -> None:
        """Load what reading the answer needs, while it is awaited: that takes the first call of a process some time."""
        if self.whole or f"{__package__}.results" in sys.modules:
            return
        # Reading an answer with nothing in it; whatever is wrong comes again with the real one.
        with loading, suppress(Exception):
            self.read(b"{}")

    @property
    def can_be_sent_again(self) -> bool:
        """Whether a second attempt would send the same: a file that is only a stream can be read once."""
        return isinstance(self.body, bytes) or self.body.rewindable

    @property
    def name(self) -> str:
        """How messages and logs call it: `POST /prompt/invoke`."""
        return f"{self.method} {self.path}"


# --- reading the answers of the invokes: the results, and pydantic with them, are loaded with the first one ------


def _read_prompt(data: bytes) -> PromptResult:
    from .results import PromptResult

    return PromptResult.from_json(data)


def _read_workflow(data: bytes) -> WorkflowRun:
    from .results import WorkflowRun

    return WorkflowRun.from_json(data)


def _read_agent(data: bytes) -> AgentReply:
    from .results import AgentReply

    return AgentReply.from_json(data)


def _read_hive_agent(data: bytes) -> HiveAgentRun:
    from .results import HiveAgentRun

    return HiveAgentRun.from_json(data)


# --- the invokes ------------------------------------------------------------------------------------------


def invoke_prompt(
    settings: Settings,
    deployment: str,
    variant: str | None,
    inputs: Inputs | None,
    user: str | None,
    metadata: Metadata | None,
    *,
    streaming: bool = False,
) -> Operation[PromptResult]:
    """POST /prompt/invoke."""
    body: dict[str, Any] = {
        "deployment": name_of("deployment", deployment),
        "variant": optional_name("variant", variant),
        "inputs": inputs_object(inputs),
        "streaming": streaming,
        "user": optional_text("user", user),
        "metadata": merged_metadata(settings, metadata),
    }
    return Operation("POST", "/prompt/invoke", encoded(body), _read_prompt, streaming=streaming)


def invoke_workflow(
    settings: Settings,
    deployment: str,
    variant: str | None,
    inputs: Inputs | None,
    callback_url: str | None,
    user: str | None,
    metadata: Metadata | None,
    tool_approval: ToolApproval | None,
) -> Operation[WorkflowRun]:
    """POST /workflow/invoke, with direct or callback delivery."""
    delivery: dict[str, Any] | None = None
    if callback_url is not None:
        delivery = {"enabled": True, "callback_url": callback_address("callback_url", callback_url)}
    body: dict[str, Any] = {
        "deployment": name_of("deployment", deployment),
        "variant": optional_name("variant", variant),
        "inputs": inputs_object(inputs),
        "async": delivery,
        "user": optional_text("user", user),
        "metadata": merged_metadata(settings, metadata),
        "tool_approval": choice("tool_approval", tool_approval, "policy", "auto_approve"),
    }
    return Operation("POST", "/workflow/invoke", encoded(body), _read_workflow, direct_workflow=callback_url is None)


def invoke_agent(
    settings: Settings,
    agent: str,
    message: str,
    thread_id: str | None,
    messages: Sequence[AgentMessage] | None,
    attachments: Sequence[str | Attachment] | None,
    image_urls: Sequence[str] | None,
    known_artifact_refs: Sequence[str | UUID] | None,
    artifact_refs: Sequence[str | UUID] | None,
    async_options: AgentAsyncOptions | None,
    user: str | None,
    metadata: Metadata | None,
    tool_approval: ToolApproval | None,
    *,
    streaming: bool = False,
) -> Operation[AgentReply]:
    """POST /agent/invoke."""
    body: dict[str, Any] = {
        "agent": name_of("agent", agent),
        "message": filled("message", message, "Pass what to say to the agent."),
        "streaming": streaming,
        "thread_id": optional_text("thread_id", thread_id) or None,
        "messages": message_list(messages),
        "attachments": attachment_list("attachments", attachments),
        "image_urls": image_url_list("image_urls", image_urls),
        **artifact_ref_lists(known_artifact_refs, artifact_refs),
        "user": optional_text("user", user),
        "metadata": merged_metadata(settings, metadata),
        "async": agent_async(async_options),
        "tool_approval": choice("tool_approval", tool_approval, "policy", "auto_approve"),
    }
    check_attachment_count("attachments", body["attachments"], body["image_urls"], body["artifact_refs"])
    return Operation("POST", "/agent/invoke", encoded(body), _read_agent, streaming=streaming)


def invoke_hive_agent(
    settings: Settings,
    hive_agent: str,
    objective: str,
    callback_url: str,
    sources: HiveAgentSources | None,
    metadata: Metadata | None,
    unattended: bool | None,
    budget_policy: BudgetPolicy | None,
) -> Operation[HiveAgentRun]:
    """POST /hive-agent/invoke."""
    body: dict[str, Any] = {
        "hive_agent": name_of("hive_agent", hive_agent),
        "objective": filled("objective", objective, "Pass what it is to achieve."),
        "async": {"enabled": True, "callback_url": callback_address("callback_url", callback_url)},
        "sources": _sources(sources),
        "metadata": merged_metadata(settings, metadata),
        "unattended": boolean("unattended", unattended),
        "budget_policy": choice("budget_policy", budget_policy, "stop", "proceed_to_cap"),
    }
    return Operation("POST", "/hive-agent/invoke", encoded(body), _read_hive_agent)


def _sources(sources: object) -> dict[str, list[str]] | None:
    if sources is None:
        return None
    known = HiveAgentSources.__optional_keys__
    given: dict[str, Any] = dict(mapping("sources", sources))
    if unknown := sorted(map(str, given.keys() - known)):
        raise refused(f"sources.{unknown[0]}", "there is no such source", f"There are {', '.join(sorted(known))}.")
    return {
        name: [text(f"sources.{name}[{index}]", item) for index, item in enumerate(items(f"sources.{name}", listed))]
        for name, listed in given.items()
        if listed is not None
    }


def request(method: str, path: str, json: Any, params: Mapping[str, Any] | None, cast_to: Any) -> Operation[Any]:
    """Any endpoint, for those that have no method of their own."""
    word = text("method", method).upper()
    if not (word.isascii() and word.isalpha()):
        raise refused("method", f"{method!r} is not allowed", 'Pass an HTTP method such as "GET".')
    where = text("path", path)
    if not where.startswith("/") or where.startswith("//") or not where.isprintable() or set(where) & set("?# \\"):
        raise refused(
            "path", "it is not a path below base_url", 'Pass one such as "/public/models"; a query goes to params=.'
        )
    if has_dot_segments(where):
        raise refused("path", '"." and ".." are not allowed in it', "Pass the path without them.")
    return Operation(
        word,
        where,
        b"" if json is None else encode(plain(json, "json")),
        _reader(cast_to),
        effect="change" if word == "POST" else "nothing",
        query=query_string("params", params),
        whole=cast_to is HTTPResponse,
    )


def query_string(field_name: str, params: Mapping[str, Any] | None) -> str:
    """The parameters that are not None, as a query string; lists become repeated parameters."""
    pairs: list[tuple[str, str]] = []
    for name, value in mapping(field_name, {} if params is None else params).items():
        where = f"{field_name}.{name}"
        values: list[Any] = plain(value if isinstance(value, (list, tuple)) else [value], where)
        for one in values:
            if type(one) in (dict, list):
                raise refused(where, f"{article(one)} is not allowed", "Pass a str, a number or a bool.")
            if one is not None:
                pairs.append((text(field_name, name), as_text(one)))
    return urlencode(pairs)


def _is_result(cast_to: Any) -> bool:
    from .results import Entity, Result

    # Python 3.10 takes list[int] for a class.
    return issubclass(type(cast_to), type) and issubclass(cast_to, (Entity, Result))


def _reader(cast_to: Any) -> Callable[[bytes], Any]:
    """What makes a result of this type from an answer's bytes.

    Its ValueError says by path what does not fit, but quotes nothing of the answer: there may be a secret in it.
    """
    if cast_to is None or cast_to is HTTPResponse:
        return lambda data: read_json(data) if data else None
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    if _is_result(cast_to):
        return cast_to.from_json  # type: ignore[no-any-return]
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(cast_to)
        with suppress(ValidationError):
            adapter.validate_json(b"")  # a name in it that means nothing shows now, and not after the call was made
    except (PydanticUserError, NameError) as error:
        hint = (
            "Pass a type that pydantic reads, such as dict, list[int] or a model; HTTPResponse for the answer itself."
        )
        raise InvalidRequestError("cast_to: pydantic cannot read this type.", hint=hint) from error

    def read(data: bytes) -> Any:
        try:
            return adapter.validate_json(data)
        except ValidationError as error:
            problems = [
                ": ".join(filter(None, [".".join(map(str, one["loc"])), one["msg"]]))
                for one in error.errors(include_input=False, include_url=False)
            ]
        raise ValueError(f"it does not fit cast_to: {'; '.join(problems[:3])}")

    return read
