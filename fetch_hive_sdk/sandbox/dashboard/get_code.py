"""Get Code: a request as cURL and as Python, each doing exactly what was done. The key is never in it."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

from ... import operations
from ...errors import FetchHiveError
from ...resources import triggers
from ...settings import Settings
from ..ids import WORKSPACE_ID
from ..runs import HttpRequest, Kind

__all__ = ["curl_code", "python_code", "sdk_code"]

LINE = 88

# The SDK's method of each call, by kind and streaming, with the operation that writes its body.
_METHODS: Mapping[tuple[Kind, bool], tuple[str, Callable[..., operations.Operation[Any]]]] = {
    ("prompt", False): ("invoke_prompt", operations.invoke_prompt),
    ("prompt", True): ("invoke_prompt_stream", operations.invoke_prompt),
    ("workflow", False): ("invoke_workflow", operations.invoke_workflow),
    ("agent", False): ("invoke_agent", operations.invoke_agent),
    ("agent", True): ("invoke_agent_stream", operations.invoke_agent),
    ("hive_agent", False): ("invoke_hive_agent", operations.invoke_hive_agent),
}
# The same of webhook triggers, with the pattern of their path.
_TRIGGERS: Mapping[Kind, tuple[str, Callable[..., operations.Operation[Any]], re.Pattern[str]]] = {
    "workflow": (
        "triggers.workflow",
        triggers.workflow,
        re.compile("/v1/workflow/webhooks/([^/?]+)/variants/([^/?]+)"),
    ),
    "agent": ("triggers.agent", triggers.agent, re.compile("/v1/agent/webhooks/([^/?]+)")),
}
_RESULTS = {"invoke_prompt": "response", "invoke_agent": "response"}


def curl_code(http: HttpRequest, *, origin: str, webhook: bool = False, streaming: bool = False) -> str:
    """The request as a command for a POSIX shell.

    Args:
        http: The request.
        origin: Where the sandbox is: scheme, host and port.
        webhook: True for a webhook trigger, which has a secret instead of a key.
        streaming: True if a stream answers, so that each event is shown as it comes.
    """
    url = origin + http.path
    # curl reads brackets in an address as patterns.
    options = ["curl --globoff " if set(url) & set("[]{}") else "curl "]
    options[0] += shlex.quote(url)
    if http.method != "POST":
        options.append(f"-X {shlex.quote(http.method)}")
    # In double quotes, so that the shell puts the secret in.
    name, variable = _credential(webhook=webhook)
    options.append(f'-H "{name}: {"" if webhook else "Bearer "}${variable}"')
    options += ["-H " + shlex.quote(f"{name}: {value}") for name, value in http.headers.items() if _is_told(name)]
    if streaming:
        options.append("--no-buffer")
    if http.body:
        options.append(f"--data-raw {shlex.quote(_text(http.body))}")
    return " \\\n  ".join(options)


def python_code(
    kind: Kind, request: Mapping[str, Any], http: HttpRequest, *, origin: str, webhook: bool = False
) -> str:
    """The request as a Python program: a call of the SDK, or of httpx where the SDK would not send the same.

    Args:
        kind: What was invoked.
        request: The request's body.
        http: The request as it came.
        origin: Where the sandbox is: scheme, host and port.
        webhook: True for a webhook trigger, which has a secret instead of a key.
    """
    call = _trigger_call(kind, http) if webhook else _sdk_call(kind, request)
    if call is None:
        return _httpx_code(http, origin, webhook=webhook)
    lines = [*(["import os", ""] if webhook else []), *sdk_code(origin)]
    given = "".join(f"    {literal(one)},\n" for one in call.ids)
    if webhook:
        given += f'    webhook_secret=os.environ["{_credential(webhook=True)[1]}"],\n'
    given += "".join(f"    {key}={literal(value, 4, len(key) + 2)},\n" for key, value in call.arguments.items())
    if call.method.endswith("_stream"):
        lines += [
            f"with client.{call.method}(\n{given}) as stream:",
            "    for event in stream:",
            "        print(event)",
        ]
    else:
        shown = f"result.{_RESULTS[call.method]}" if call.method in _RESULTS else "result"
        lines += [f"result = client.{call.method}(\n{given})", f"print({shown})"]
    return "\n".join(lines)


def sdk_code(origin: str, *, workspace_id: str | None = None) -> list[str]:
    """The first lines of a program: a client of the sandbox.

    Args:
        origin: Where the sandbox is: scheme, host and port.
        workspace_id: The workspace that its calls are about, if they are about one.
    """
    workspace = f", workspace_id={literal(workspace_id)}" if workspace_id else ""
    return [
        "from fetch_hive_sdk import FetchHive",
        "",
        "# The key is read from the environment variable FETCH_HIVE_API_KEY.",
        f"client = FetchHive(base_url={literal(origin + '/v1')}{workspace})",
    ]


@dataclass(frozen=True)
class _Call:
    """A call of the SDK.

    Attributes:
        method: The client's method.
        arguments: What it is given by name.
        ids: What it is given before that.
    """

    method: str
    arguments: Mapping[str, Any]
    ids: tuple[str, ...] = ()


def _sdk_call(kind: Kind, request: Mapping[str, Any]) -> _Call | None:
    """The SDK's call that sends this body; None if there is none."""
    method = _METHODS.get((kind, request.get("streaming") is True))
    if method is None:
        return None
    name, operation = method
    arguments = {key: value for key, value in request.items() if key not in ("streaming", "async")}
    delivery = request.get("async")
    if delivery is not None and kind == "agent":
        arguments["async_options"] = delivery
    elif isinstance(delivery, dict):
        arguments["callback_url"] = cast("dict[str, Any]", delivery).get("callback_url")
    streaming = {"streaming": True} if name.endswith("_stream") else {}
    return _Call(name, arguments) if _sends(request, operation, arguments, **streaming) else None


def _trigger_call(kind: Kind, http: HttpRequest) -> _Call | None:
    """The SDK's call that starts a webhook trigger with this request; None if there is none."""
    name, operation, pattern = _TRIGGERS[kind]
    found = pattern.fullmatch(http.path)
    if found is None:
        return None
    ids = tuple(map(unquote, found.groups()))
    request: dict[str, Any] = json.loads(http.body)
    arguments = {key: value for key, value in request.items() if key != "async"}
    # Without it there is no run.
    arguments["callback_url"] = request["async"]["callback_url"]
    named = zip(inspect.signature(operation).parameters, (_SETTINGS, *ids), strict=False)
    given = {**dict(named), "webhook_secret": "none", "via": "header"}
    return _Call(name, arguments, ids) if _sends(request, operation, arguments, **given) else None


def _sends(
    request: Mapping[str, Any],
    operation: Callable[..., operations.Operation[Any]],
    arguments: Mapping[str, Any],
    **others: Any,
) -> bool:
    """True if the operation takes these arguments, and sends this body with them and the others."""
    taken = inspect.signature(operation).parameters
    if not arguments.keys() <= taken.keys():
        return False
    given = {key: arguments.get(key) for key in taken if key != "streaming"}
    try:
        sent = operation(**{**given, **others, "settings": _SETTINGS}).body
    except FetchHiveError:
        return False
    return _canonical(json.loads(cast("bytes", sent))) == _canonical(request)


# All that the environment could add is said here: a mistake in it is no reason to have no run log.
_SETTINGS = Settings.resolve(api_key="none", base_url="http://sandbox.test/v1", workspace_id=WORKSPACE_ID)


def _canonical(body: Mapping[str, Any]) -> str:
    # No streaming is streaming: false.
    return json.dumps({"streaming": False, **body}, sort_keys=True)


def _httpx_code(http: HttpRequest, origin: str, *, webhook: bool) -> str:
    name, variable = _credential(webhook=webhook)
    environment = f'os.environ["{variable}"]'
    headers = [f'        "{name}": ' + ("" if webhook else '"Bearer " + ') + environment + ","]
    headers += [f"        {literal(name)}: {literal(value)}," for name, value in http.headers.items() if _is_told(name)]
    return "\n".join(
        [
            "import os",
            "",
            "import httpx",
            "",
            "response = httpx.request(",
            f"    {literal(http.method)},",
            f"    {literal(origin + http.path)},",
            "    headers={",
            *headers,
            "    },",
            f"    content={literal(_text(http.body))}.encode(),",
            "    timeout=300,",
            ")",
            "print(response.status_code, response.text)",
        ]
    )


def _credential(*, webhook: bool) -> tuple[str, str]:
    if webhook:
        return "X-Fetch-Hive-Webhook-Secret", "FETCH_HIVE_WEBHOOK_SECRET"
    return "Authorization", "FETCH_HIVE_API_KEY"


def _is_told(name: str) -> bool:
    return name.lower() in ("content-type", "accept")


def _text(body: bytes) -> str:
    # A run's body was read as JSON in UTF-8; only that of a refused request may be anything else.
    return body.decode("utf-8", "backslashreplace")


def literal(value: object, indent: int = 0, used: int = 0) -> str:
    """A JSON value as Python, over several lines where one is too short.

    Args:
        value: The value.
        indent: Spaces before its first line.
        used: Characters that stand before it in that line, and after.
    """
    flat = repr(value)
    if len(flat) + indent + used <= LINE or not isinstance(value, (dict, list)) or not value:
        return flat
    inner = " " * (indent + 4)
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        lines = [f"{inner}{key!r}: {literal(item, indent + 4, len(repr(key)) + 3)},\n" for key, item in pairs]
        return "{\n" + "".join(lines) + " " * indent + "}"
    items = cast("Sequence[object]", value)
    lines = [f"{inner}{literal(item, indent + 4, 1)},\n" for item in items]
    return "[\n" + "".join(lines) + " " * indent + "]"
