"""The arguments of calls, each with its check: what the service documents, and nothing more.

Each function returns what is sent, or raises `InvalidRequestError` with the argument's path and the fix.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import httpx

from .jsonable import MetadataValue, article, encode, flat, mapping, plain, refused
from .settings import Settings
from .urls import absolute_url, is_private

__all__ = [
    "agent_async",
    "artifact_ref_lists",
    "attachment_list",
    "boolean",
    "callback_address",
    "check_attachment_count",
    "choice",
    "encoded",
    "filled",
    "given",
    "image_url_list",
    "inputs_object",
    "items",
    "merged_metadata",
    "message_list",
    "name_of",
    "number",
    "optional_name",
    "optional_text",
    "plain_function",
    "text",
]

MAX_ATTACHMENTS = 5
MAX_ARTIFACT_REFS = 5
MAX_KNOWN_ARTIFACT_REFS = 50


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None, which means "not sent"."""
    return {name: value for name, value in fields.items() if value is not None}


def encoded(body: dict[str, Any]) -> bytes:
    """The JSON bytes of a body, without what is None."""
    return encode(given(**body))


def name_of(field_name: str, value: object) -> str:
    """A name that the dashboard shows."""
    return filled(field_name, value, f"Pass the {field_name} as the dashboard shows it.")


def filled(field_name: str, value: object, hint: str) -> str:
    """A text that must not be empty."""
    words = text(field_name, value)
    if not words.strip():
        raise refused(field_name, "it is empty", hint)
    return words


def optional_name(field_name: str, value: object) -> str | None:
    """A name, or None."""
    # The empty string was the released default of `variant`; it means "left out".
    return None if value is None or value == "" else name_of(field_name, value)


def text(field_name: str, value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        raise refused(field_name, f"{article(value)} is not allowed", "Pass a str.")
    return value if type(value) is str and value.isascii() else cast("str", plain(value, field_name))


def optional_text(field_name: str, value: object) -> str | None:
    """A text, or None."""
    return None if value is None else text(field_name, value)


def inputs_object(inputs: object) -> dict[str, Any] | None:
    """A run's inputs as plain JSON values, or None."""
    if inputs is None:
        return None
    value = plain(inputs, "inputs")
    if not isinstance(value, dict):
        raise refused("inputs", f"{article(inputs)} is not allowed", "Pass a dict from variable to value.")
    return cast("dict[str, Any]", value)


def merged_metadata(settings: Settings, metadata: object) -> dict[str, MetadataValue] | None:
    """A call's metadata on top of the client's, or None."""
    if metadata is None and not settings.default_metadata:
        return None
    return {**settings.default_metadata, **flat("metadata", {} if metadata is None else metadata)}


def choice(field_name: str, value: object, *allowed: str) -> Any:
    """One of some words, or None."""
    if value is not None and value not in allowed:
        words = [f'"{word}"' for word in allowed]
        raise refused(field_name, f"{value!r} is not allowed", f"Pass {', '.join(words[:-1])} or {words[-1]}.")
    return value


def boolean(field_name: str, value: object) -> bool | None:
    """A bool, or None."""
    if not isinstance(value, bool) and value is not None:
        raise refused(field_name, f"{article(value)} is not allowed", "Pass a bool.")
    return value


def number(
    field_name: str, value: object, *, least: float = -math.inf, most: float = math.inf, whole: bool = False
) -> Any:
    """A number between two others, both included, or None.

    Args:
        field_name: Its name.
        value: The number.
        least: The smallest allowed.
        most: The largest allowed.
        whole: True: only an int.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise refused(field_name, f"{article(value)} is not allowed", f"Pass {'an int' if whole else 'a number'}.")
    if not (math.isfinite(value) and least <= value <= most):
        up_to = "" if most == math.inf else f" to {most:g}"
        hint = "Pass a finite number." if least == -math.inf else f"Pass a number from {least:g}{up_to}."
        raise refused(field_name, f"{value!r} is not allowed", hint)
    return value


def plain_function(field_name: str, value: object) -> None:
    """Refuse what is neither None nor a function that is called without awaiting."""
    if value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
        raise refused(field_name, f"{article(value)} is not allowed", "Pass a plain function, not an async one.")


def items(field_name: str, value: object) -> Sequence[Any]:
    """A list, whatever is in it."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
        raise refused(field_name, f"{article(value)} is not allowed", "Pass a list.")
    return value  # pyright: ignore[reportUnknownVariableType]


def attachment_list(field_name: str, attachments: object) -> list[Any] | None:
    """Files by https URL, or None."""
    return (
        None
        if attachments is None
        else [_attachment(f"{field_name}[{index}]", item) for index, item in enumerate(items(field_name, attachments))]
    )


def _attachment(path: str, item: object) -> Any:
    if isinstance(item, str):
        return _https_url(path, item)
    if not isinstance(item, Mapping):
        raise refused(path, f"{article(item)} is not allowed", 'Pass an https URL or {"file_url": "https://…"}.')
    attachment = given(**plain(item, path))
    if "file_url" not in attachment:
        raise refused(f"{path}.file_url", "it is missing", "Pass the file's https URL.")
    return {**attachment, "file_url": _https_url(f"{path}.file_url", attachment["file_url"])}


def image_url_list(field_name: str, image_urls: object) -> list[str] | None:
    """Images by https URL, or None."""
    return (
        None
        if image_urls is None
        else [_https_url(f"{field_name}[{index}]", item) for index, item in enumerate(items(field_name, image_urls))]
    )


def message_list(messages: object) -> list[dict[str, Any]] | None:
    """A conversation that the caller keeps, or None."""
    return (
        None
        if messages is None
        else [_message(f"messages[{index}]", item) for index, item in enumerate(items("messages", messages))]
    )


def _message(path: str, item: object) -> dict[str, Any]:
    message: dict[str, Any] = plain(mapping(path, item), path)
    if (role := message.get("role")) not in ("user", "assistant", "system"):
        raise refused(f"{path}.role", f"{role!r} is not allowed", 'Pass "user", "assistant" or "system".')
    text(f"{path}.content", message.get("content"))
    attachments = attachment_list(f"{path}.attachments", message.get("attachments"))
    images = image_url_list(f"{path}.image_urls", message.get("image_urls"))
    check_attachment_count(f"{path}.attachments", attachments, images)
    return message


def check_attachment_count(path: str, *lists: Sequence[Any] | None) -> None:
    """Refuse more files than one message may have."""
    count = sum(len(items) for items in lists if items is not None)
    if count > MAX_ATTACHMENTS:
        raise refused(
            path,
            f"{count} files are too many for one message",
            f"attachments, image_urls and artifact_refs may be {MAX_ATTACHMENTS} together.",
        )


def artifact_ref_lists(known: object, chosen: object) -> dict[str, list[str] | None]:
    """The known and the chosen assets, as fields of a body."""
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
    for index, item in enumerate(items(field_name, value)):
        try:
            refs.append(str(UUID(str(item))))
        except ValueError:
            raise refused(f"{field_name}[{index}]", f"{item!r} is not a UUID", "Pass the artifact's id.") from None
    if len(refs) > most:
        raise refused(field_name, f"{len(refs)} are too many", f"At most {most} are allowed.")
    return refs


def agent_async(options: object) -> dict[str, Any] | None:
    """How an agent's background workflows report, or None."""
    if options is None:
        return None
    value = given(**plain(mapping("async_options", options), "async_options"))
    if unknown := sorted(set(value) - {"callback_url", "allow_background"}):
        raise refused(
            f"async_options.{unknown[0]}", "there is no such option", "There are callback_url and allow_background."
        )
    if "callback_url" in value:
        callback_address("async_options.callback_url", value["callback_url"])
    boolean("async_options.allow_background", value.get("allow_background"))
    return value


def _https_url(path: str, value: object) -> str:
    if (scheme := _url(path, value).scheme) != "https":
        raise refused(path, f"an {scheme} URL is not allowed", "Fetch Hive loads files over https only.")
    return cast("str", value)


def callback_address(path: str, value: object) -> str:
    """Where a callback can be posted to."""
    url = _url(path, value)
    # http is for the sandbox: such hosts exist only on the caller's own network.
    if url.scheme != "https" and not (url.scheme == "http" and is_private(url.host)):
        raise refused(path, f"an {url.scheme} URL is not allowed", "Callbacks are posted to https URLs.")
    return cast("str", value)


def _url(path: str, value: object) -> httpx.URL:
    address = filled(path, value, "Pass an absolute https URL.")
    try:
        return absolute_url(address)
    except ValueError as error:
        raise refused(path, str(error), "Pass an absolute https URL.") from None
