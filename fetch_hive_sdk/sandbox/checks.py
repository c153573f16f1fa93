"""What the service refuses in the body of a request, by its documentation. The rest is accepted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from .addresses import is_local, parse_url
from .choices import Choices
from .deployments import InputType
from .refusals import Refusal
from .runs import Kind

__all__ = ["auto_approve_refused", "check", "check_inputs", "check_trigger", "read_object"]

ATTACHMENTS_PER_MESSAGE = 5
ARTIFACT_REFS = 5
KNOWN_ARTIFACT_REFS = 50
MAX_DEPTH = 100
ROLES = ("user", "assistant", "system")

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TYPE_NAMES = {str: "a string", bool: "a boolean", dict: "an object", list: "an array"}
_START_TYPES: dict[InputType, tuple[type, ...]] = {
    "text": (str,),
    "array": (list,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
}
_START_NAMES: dict[InputType, str] = {
    "text": "a string",
    "array": "a native JSON array",
    "number": "a number",
    "boolean": "a boolean",
    "object": "an object",
}
# What a webhook's body says beside its inputs, where it has no `inputs`.
_RESERVED = ("async", "metadata", "user")

Object = dict[str, Any]


def read_object(body: bytes) -> Object:
    """The JSON object a request carries.

    Raises:
        Refusal: It is not JSON in UTF-8, or not an object.
    """
    try:
        value: object = _decode(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refusal("The request body is not valid JSON") from None
    if not isinstance(value, dict):
        raise Refusal("The request body must be a JSON object")
    # Most bodies have fewer brackets than that altogether.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _is_deeper(cast("object", value), MAX_DEPTH):
        raise Refusal(f"The request body is nested deeper than {MAX_DEPTH} levels")
    return cast("Object", value)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number of JSON")
    return number


_decode = json.JSONDecoder(parse_float=_finite, parse_constant=_finite).decode


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    items = cast("Iterable[object]", value.values() if isinstance(value, dict) else value)
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)


def check(kind: Kind, body: Object, *, lenient: bool, choices: Choices) -> None:
    """Refuse what is no request of this kind.

    Args:
        kind: What is invoked.
        body: The request body.
        lenient: True accepts a missing variant.
        choices: Which callback URLs are accepted.

    Raises:
        Refusal: The text names the field.
    """
    if kind == "agent":
        _agent(body)
    elif kind == "hive_agent":
        _hive_agent(body)
    else:
        _deployment(body, lenient=lenient)
    _shared(body)
    if kind in ("prompt", "agent"):
        _optional(body, "streaming", bool)
    if kind == "prompt":
        _no_files(body)
        return
    _tool_approval(body)
    delivery: Object | None = _optional(body, "async", dict)
    if delivery is not None:
        if kind != "agent":
            _callback_delivery(delivery)
        _optional(delivery, "allow_background", bool, "async.")
        _callback_url(delivery.get("callback_url"), choices)


def check_trigger(kind: Kind, body: Object, choices: Choices) -> Object:
    """Refuse what is no request of a webhook trigger.

    Args:
        kind: `"workflow"` or `"agent"`.
        body: The request body.
        choices: Which callback URLs are accepted, and what a body without `inputs` means.

    Returns:
        The body as an invoke with callback delivery would have it.

    Raises:
        Refusal: The text names the field.
    """
    _shared(body)
    _tool_approval(body)
    delivery: Object = _optional(body, "async", dict) or {}
    if not delivery.get("callback_url"):
        raise Refusal("async.callback_url is required for webhook triggers")
    _optional(delivery, "allow_background", bool, "async.")
    _callback_url(delivery["callback_url"], choices)
    if body.get("tool_approval") == "auto_approve":
        raise auto_approve_refused()
    if kind == "agent":
        if not body.get("message"):
            raise Refusal("Missing required field: message")
        for key in ("message", "thread_id"):
            _optional(body, key, str)
    elif body.get("inputs") is None:
        if choices.webhook_body == "refuse":
            raise Refusal("Missing required field: inputs")
        inputs = {key: value for key, value in body.items() if key not in (*_RESERVED, "inputs")}
        body = {**{key: body[key] for key in _RESERVED if key in body}, "inputs": inputs}
    return {**body, "async": {**delivery, "enabled": True}}


def check_inputs(types: Mapping[str, InputType], inputs: Mapping[str, Any], choices: Choices) -> None:
    """Refuse inputs that are not of the types a workflow's Start step declares.

    Raises:
        Refusal: The text names the input.
    """
    for name, kind in types.items():
        if name not in inputs:
            if choices.missing_inputs == "refuse":
                raise Refusal(f"Missing required input: {name}")
            continue
        value = inputs[name]
        if not isinstance(value, _START_TYPES[kind]) or (kind == "number" and isinstance(value, bool)):
            raise Refusal(f"inputs.{name} must be {_START_NAMES[kind]}")


def auto_approve_refused() -> Refusal:
    """The refusal of `auto_approve` from a caller that may not."""
    text = "tool_approval auto_approve is not permitted for this caller"
    return Refusal(text, status=403, code="tool_approval_override_not_permitted")


def _shared(body: Object) -> None:
    _optional(body, "inputs", dict)
    _optional(body, "user", str)
    _metadata(body)


def _deployment(body: Object, *, lenient: bool) -> None:
    if not body.get("deployment") or not (body.get("variant") or lenient):
        raise Refusal("Missing required field: deployment or variant")
    _optional(body, "deployment", str)
    _optional(body, "variant", str)


def _metadata(body: Object) -> None:
    metadata: Object = _optional(body, "metadata", dict) or {}
    for key, value in metadata.items():
        if not key:
            raise Refusal("metadata keys must be non-empty strings")
        if isinstance(value, (dict, list)):
            raise Refusal(f"metadata.{key} must be a string, number, boolean, or null")


def _no_files(body: Object) -> None:
    for key in ("image_urls", "attachments"):
        if body.get(key) is not None:
            raise Refusal(f"{key} is not accepted on prompts; use the prompt's inputs")


def _callback_delivery(delivery: Object) -> None:
    if not isinstance(delivery.get("enabled"), bool):
        raise Refusal("async.enabled is required and must be a boolean")
    if delivery["enabled"] and not delivery.get("callback_url"):
        raise Refusal("callback_url is required when async is enabled")


def _callback_url(value: object, choices: Choices) -> None:
    if value is None or value == "":
        return
    url = parse_url(value) if isinstance(value, str) else None
    if url is None or (url.scheme == "http" and not _accepts_http(url.host, choices)):
        raise Refusal("callback_url must be a valid URL")


def _accepts_http(host: str, choices: Choices) -> bool:
    return choices.http_callbacks == "any" or (choices.http_callbacks == "local" and is_local(host))


def _hive_agent(body: Object) -> None:
    if not body.get("hive_agent") or not body.get("objective"):
        raise Refusal("Missing required field: hive_agent or objective")
    for key in ("hive_agent", "objective"):
        _optional(body, key, str)
    _optional(body, "unattended", bool)
    if body.get("budget_policy") not in (None, "stop", "proceed_to_cap"):
        raise Refusal("budget_policy must be stop or proceed_to_cap")
    sources: Object = _optional(body, "sources", dict) or {}
    for key in ("website_urls", "asset_ids", "knowledge_base_ids", "knowledge_base_item_ids"):
        values: list[object] = _optional(sources, key, list, "sources.") or []
        if not all(isinstance(value, str) for value in values):
            raise Refusal(f"sources.{key} must be an array of strings")
    delivery: Object = _optional(body, "async", dict) or {}
    if delivery.get("enabled") is not True or not delivery.get("callback_url"):
        raise Refusal("hive agents require async.enabled true and async.callback_url")


def _agent(body: Object) -> None:
    if body.get("decided_tool_approvals") is not None:
        raise Refusal("decided_tool_approvals is not accepted with an API key; the run goes on by itself")
    if not body.get("agent") or not body.get("message"):
        raise Refusal("Missing required field: agent or message")
    for key in ("agent", "message", "thread_id"):
        _optional(body, key, str)
    _history(body)
    refs = _references(body, "artifact_refs", ARTIFACT_REFS)
    known = _references(body, "known_artifact_refs", KNOWN_ARTIFACT_REFS)
    if body.get("messages") is not None and not set(refs) <= set(known):
        raise Refusal("artifact_refs must also be in known_artifact_refs when messages are sent")
    _attachments(body, "", len(refs))


def _optional(body: Object, key: str, kind: type, path: str = "") -> Any:
    """A field's value; None if it is absent or null.

    Raises:
        Refusal: It has another type.
    """
    value = body.get(key)
    if value is not None and not isinstance(value, kind):
        raise Refusal(f"{path}{key} must be {_TYPE_NAMES[kind]}")
    return value


def _tool_approval(body: Object) -> None:
    if body.get("tool_approval") not in (None, "policy", "auto_approve"):
        raise Refusal("tool_approval must be policy or auto_approve", status=400, code="invalid_tool_approval")


def _history(body: Object) -> None:
    messages: list[object] = _optional(body, "messages", list) or []
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if not isinstance(message, dict):
            raise Refusal(f"{path} must be an object")
        item = cast("Object", message)
        if item.get("role") not in ROLES:
            raise Refusal(f"{path}.role must be user, assistant, or system")
        if not isinstance(item.get("content"), str):
            raise Refusal(f"{path}.content must be a string")
        _attachments(item, f"{path}.", 0)


def _references(body: Object, key: str, limit: int) -> Sequence[str]:
    values: list[object] = _optional(body, key, list) or []
    if len(values) > limit:
        raise Refusal(f"{key} accepts at most {limit} items")
    for value in values:
        if not isinstance(value, str) or not _UUID.fullmatch(value):
            raise Refusal(f"{key} must contain UUIDs")
    return cast("Sequence[str]", values)


def _attachments(message: Object, path: str, others: int) -> None:
    """The files of one message: https alone, and not too many together with `others`."""
    attachments: list[object] = _optional(message, "attachments", list, path) or []
    images: list[object] = _optional(message, "image_urls", list, path) or []
    urls = [cast("Object", item).get("file_url") if isinstance(item, dict) else item for item in attachments]
    for key, given in (("attachments", urls), ("image_urls", images)):
        for value in given:
            url = parse_url(value) if isinstance(value, str) else None
            if url is None or url.scheme != "https":
                raise Refusal(f"{path}{key} must be https:// URLs")
    if len(urls) + len(images) + others > ATTACHMENTS_PER_MESSAGE:
        together = f"{path}attachments, image_urls and artifact_refs"
        raise Refusal(f"{together} may hold at most {ATTACHMENTS_PER_MESSAGE} items together")
