"""Each API call as a value: method, path, JSON body, result type. All checks of arguments stand here.

Checked is what the service documents, and nothing is sent that it must refuse. `None` means "not sent".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, Union, cast
from uuid import UUID

import httpx
from typing_extensions import NotRequired, Required, TypedDict

from .errors import InvalidRequestError
from .jsonable import MetadataValue, article, encode, flat, mapping, plain, refused
from .results import AgentReply, PromptResult, WorkflowRun, as_text
from .settings import Settings
from .urls import absolute_url, is_private

__all__ = [
    "AgentAsyncOptions",
    "AgentMessage",
    "Attachment",
    "Metadata",
    "MetadataValue",
    "ToolApproval",
]

ResultT = TypeVar("ResultT")

Metadata = Mapping[str, MetadataValue]
Inputs = Mapping[str, Any]
ToolApproval = Literal["policy", "auto_approve"]

MAX_ATTACHMENTS = 5
MAX_ARTIFACT_REFS = 5
MAX_KNOWN_ARTIFACT_REFS = 50


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


@dataclass(frozen=True)
class Operation(Generic[ResultT]):
    """One API call, ready to be sent.

    Attributes:
        method: The HTTP method.
        path: The path after the base URL.
        body: The JSON body; not shown by `repr`, it is the caller's data.
        read: Makes the result from the answer's bytes.
        streaming: Whether the answer is a stream of events.
        starts_run: Whether it starts a run, and so must not be repeated lightly.
        direct_workflow: Whether its answer waits for a whole workflow.
    """

    method: str
    path: str
    body: bytes = field(repr=False)
    read: Callable[[bytes], ResultT] = field(repr=False)
    streaming: bool = False
    starts_run: bool = True
    direct_workflow: bool = False

    def failure(self, result: ResultT) -> str:
        """The error in a success answer that has nothing else; empty if it is an answer.

        With which status a failed run answers is not documented. A workflow's run has a state for it.
        """
        if not isinstance(result, (PromptResult, AgentReply)) or "response" in result or "error" not in result:
            return ""
        return as_text(result["error"])

    @property
    def name(self) -> str:
        """How messages and logs call it: `POST /prompt/invoke`."""
        return f"{self.method} {self.path}"


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
        "deployment": _name("deployment", deployment),
        "variant": _optional_name("variant", variant),
        "inputs": _inputs(inputs),
        "streaming": streaming,
        "user": _optional_text("user", user),
        "metadata": _merged_metadata(settings, metadata),
    }
    return Operation("POST", "/prompt/invoke", _encoded(body), PromptResult.from_json, streaming=streaming)


def invoke_workflow(
    settings: Settings,
    deployment: str,
    variant: str | None,
    inputs: Inputs | None,
    callback_url: str | None,
    async_mode: bool | None,
    user: str | None,
    metadata: Metadata | None,
    tool_approval: ToolApproval | None,
) -> Operation[WorkflowRun]:
    """POST /workflow/invoke, with direct or callback delivery."""
    if async_mode not in (None, True, False):
        raise refused("async_mode", f"{article(async_mode)} is not allowed", "Pass a bool, or leave it out.")
    by_callback = callback_url is not None if async_mode is None else async_mode
    delivery: dict[str, Any] | None = None
    if by_callback:
        if callback_url is None:
            raise InvalidRequestError(
                "callback_url: it is missing, and async_mode=True asks for callback delivery.",
                hint='Pass callback_url="https://…", where Fetch Hive posts the signed result; that alone is enough.',
            )
        delivery = {"enabled": True, "callback_url": _callback_url("callback_url", callback_url)}
    body: dict[str, Any] = {
        "deployment": _name("deployment", deployment),
        "variant": _optional_name("variant", variant),
        "inputs": _inputs(inputs),
        "async": delivery,
        "user": _optional_text("user", user),
        "metadata": _merged_metadata(settings, metadata),
        "tool_approval": _tool_approval(tool_approval),
    }
    return Operation("POST", "/workflow/invoke", _encoded(body), WorkflowRun.from_json, direct_workflow=not by_callback)


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
        "agent": _name("agent", agent),
        "message": _filled("message", message, "Pass what to say to the agent."),
        "streaming": streaming,
        "thread_id": _optional_text("thread_id", thread_id) or None,
        "messages": _messages(messages),
        "attachments": _attachments("attachments", attachments),
        "image_urls": _image_urls("image_urls", image_urls),
        **_artifact_refs(known_artifact_refs, artifact_refs),
        "user": _optional_text("user", user),
        "metadata": _merged_metadata(settings, metadata),
        "async": _agent_async(async_options),
        "tool_approval": _tool_approval(tool_approval),
    }
    _check_attachment_count("attachments", body["attachments"], body["image_urls"], body["artifact_refs"])
    return Operation("POST", "/agent/invoke", _encoded(body), AgentReply.from_json, streaming=streaming)


# --- the fields, each with its check ------------------------------------------------------------------


def _encoded(body: dict[str, Any]) -> bytes:
    return encode({name: value for name, value in body.items() if value is not None})


def _name(field_name: str, value: object) -> str:
    return _filled(field_name, value, f"Pass the {field_name} as the dashboard shows it.")


def _filled(field_name: str, value: object, hint: str) -> str:
    text = _text(field_name, value)
    if not text.strip():
        raise refused(field_name, "it is empty", hint)
    return text


def _optional_name(field_name: str, value: object) -> str | None:
    # The empty string was the released default of `variant`; it means "left out".
    return None if value is None or value == "" else _name(field_name, value)


def _text(field_name: str, value: object) -> str:
    if not isinstance(value, str):
        raise refused(field_name, f"{article(value)} is not allowed", "Pass a str.")
    return cast("str", plain(value, field_name))


def _optional_text(field_name: str, value: object) -> str | None:
    return None if value is None else _text(field_name, value)


def _inputs(inputs: object) -> dict[str, Any] | None:
    if inputs is None:
        return None
    value = plain(inputs, "inputs")
    if not isinstance(value, dict):
        raise refused("inputs", f"{article(inputs)} is not allowed", "Pass a dict from variable to value.")
    return cast("dict[str, Any]", value)


def _merged_metadata(settings: Settings, metadata: Metadata | None) -> dict[str, MetadataValue] | None:
    if metadata is None and not settings.default_metadata:
        return None
    return {**settings.default_metadata, **flat("metadata", {} if metadata is None else metadata)}


def _tool_approval(value: object) -> object:
    if value not in (None, "policy", "auto_approve"):
        raise refused("tool_approval", f"{value!r} is not allowed", 'Pass "policy" or "auto_approve".')
    return value


def _items(field_name: str, value: object) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
        raise refused(field_name, f"{article(value)} is not allowed", "Pass a list.")
    return value  # pyright: ignore[reportUnknownVariableType]


def _attachments(field_name: str, attachments: object) -> list[Any] | None:
    return (
        None
        if attachments is None
        else [_attachment(f"{field_name}[{index}]", item) for index, item in enumerate(_items(field_name, attachments))]
    )


def _attachment(path: str, item: object) -> Any:
    if isinstance(item, str):
        return _https_url(path, item)
    if not isinstance(item, Mapping):
        raise refused(path, f"{article(item)} is not allowed", 'Pass an https URL or {"file_url": "https://…"}.')
    attachment = {name: part for name, part in plain(item, path).items() if part is not None}
    if "file_url" not in attachment:
        raise refused(f"{path}.file_url", "it is missing", "Pass the file's https URL.")
    return {**attachment, "file_url": _https_url(f"{path}.file_url", attachment["file_url"])}


def _image_urls(field_name: str, image_urls: object) -> list[str] | None:
    return (
        None
        if image_urls is None
        else [_https_url(f"{field_name}[{index}]", item) for index, item in enumerate(_items(field_name, image_urls))]
    )


def _messages(messages: object) -> list[dict[str, Any]] | None:
    return (
        None
        if messages is None
        else [_message(f"messages[{index}]", item) for index, item in enumerate(_items("messages", messages))]
    )


def _message(path: str, item: object) -> dict[str, Any]:
    message: dict[str, Any] = plain(mapping(path, item), path)
    if (role := message.get("role")) not in ("user", "assistant", "system"):
        raise refused(f"{path}.role", f"{role!r} is not allowed", 'Pass "user", "assistant" or "system".')
    _text(f"{path}.content", message.get("content"))
    attachments = _attachments(f"{path}.attachments", message.get("attachments"))
    images = _image_urls(f"{path}.image_urls", message.get("image_urls"))
    _check_attachment_count(f"{path}.attachments", attachments, images)
    return message


def _check_attachment_count(path: str, *lists: Sequence[Any] | None) -> None:
    count = sum(len(items) for items in lists if items is not None)
    if count > MAX_ATTACHMENTS:
        raise refused(
            path,
            f"{count} files are too many for one message",
            f"attachments, image_urls and artifact_refs may be {MAX_ATTACHMENTS} together.",
        )


def _artifact_refs(known: object, chosen: object) -> dict[str, list[str] | None]:
    known_refs = _uuids("known_artifact_refs", known, MAX_KNOWN_ARTIFACT_REFS)
    chosen_refs = _uuids("artifact_refs", chosen, MAX_ARTIFACT_REFS)
    if known_refs is not None and (unknown := sorted(set(chosen_refs or ()) - set(known_refs))):
        raise refused(
            "artifact_refs", f"{unknown[0]!r} is not among known_artifact_refs", "Add it there, or leave it out here."
        )
    return {"known_artifact_refs": known_refs, "artifact_refs": chosen_refs}


def _uuids(field_name: str, value: object, most: int) -> list[str] | None:
    if value is None:
        return None
    refs: list[str] = []
    for index, item in enumerate(_items(field_name, value)):
        try:
            refs.append(str(UUID(str(item))))
        except ValueError:
            raise refused(f"{field_name}[{index}]", f"{item!r} is not a UUID", "Pass the artifact's id.") from None
    if len(refs) > most:
        raise refused(field_name, f"{len(refs)} are too many", f"At most {most} are allowed.")
    return refs


def _agent_async(options: object) -> dict[str, Any] | None:
    if options is None:
        return None
    given: dict[str, Any] = plain(mapping("async_options", options), "async_options")
    value = {name: option for name, option in given.items() if option is not None}
    if unknown := sorted(set(value) - {"callback_url", "allow_background"}):
        raise refused(
            f"async_options.{unknown[0]}", "there is no such option", "There are callback_url and allow_background."
        )
    if "callback_url" in value:
        _callback_url("async_options.callback_url", value["callback_url"])
    if not isinstance(value.get("allow_background", False), bool):
        raise refused("async_options.allow_background", f"{value['allow_background']!r} is not allowed", "Pass a bool.")
    return value


def _https_url(path: str, value: object) -> str:
    if (scheme := _url(path, value).scheme) != "https":
        raise refused(path, f"an {scheme} URL is not allowed", "Fetch Hive loads files over https only.")
    return cast("str", value)


def _callback_url(path: str, value: object) -> str:
    url = _url(path, value)
    # http is for the sandbox: such hosts exist only on the caller's own network.
    if url.scheme != "https" and not (url.scheme == "http" and is_private(url.host)):
        raise refused(path, f"an {url.scheme} URL is not allowed", "Callbacks are posted to https URLs.")
    return cast("str", value)


def _url(path: str, value: object) -> httpx.URL:
    text = _filled(path, value, "Pass an absolute https URL.")
    try:
        return absolute_url(text)
    except ValueError as error:
        raise refused(path, str(error), "Pass an absolute https URL.") from None
