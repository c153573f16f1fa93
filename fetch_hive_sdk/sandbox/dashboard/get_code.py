"""Get Code: a request as cURL and as Python, each doing exactly what was done. The key is never in it."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ... import operations
from ...errors import FetchHiveError
from ...settings import Settings
from ..runs import HttpRequest, Kind

__all__ = ["curl_code", "python_code"]

LINE = 88

# The SDK's method of each call, by kind and streaming, with the operation that writes its body.
_METHODS: Mapping[tuple[Kind, bool], tuple[str, Callable[..., operations.Operation[Any]]]] = {
    ("prompt", False): ("invoke_prompt", operations.invoke_prompt),
    ("prompt", True): ("invoke_prompt_stream", operations.invoke_prompt),
    ("workflow", False): ("invoke_workflow", operations.invoke_workflow),
    ("agent", False): ("invoke_agent", operations.invoke_agent),
    ("agent", True): ("invoke_agent_stream", operations.invoke_agent),
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
    call = None if webhook else _sdk_call(kind, request)
    if call is None:
        return _httpx_code(http, origin, webhook=webhook)
    name, arguments = call
    lines = [
        "from fetch_hive_sdk import FetchHive",
        "",
        "# The key is read from the environment variable FETCH_HIVE_API_KEY.",
        f"client = FetchHive(base_url={literal(origin + '/v1')})",
    ]
    given = "".join(f"    {key}={literal(value, 4, len(key) + 2)},\n" for key, value in arguments.items())
    if name.endswith("_stream"):
        lines += [f"with client.{name}(\n{given}) as stream:", "    for event in stream:", "        print(event)"]
    else:
        shown = f"result.{_RESULTS[name]}" if name in _RESULTS else "result"
        lines += [f"result = client.{name}(\n{given})", f"print({shown})"]
    return "\n".join(lines)


def _sdk_call(kind: Kind, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The SDK's method and arguments that send this body; None if there are none."""
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
    taken = inspect.signature(operation).parameters
    if not arguments.keys() <= taken.keys():
        return None
    given: dict[str, Any] = {key: arguments.get(key) for key in taken if key not in ("settings", "streaming")}
    if name.endswith("_stream"):
        given["streaming"] = True
    try:
        sent = json.loads(operation(_SETTINGS, **given).body)
    except FetchHiveError:
        return None
    return (name, arguments) if _canonical(sent) == _canonical(request) else None


_SETTINGS = Settings.resolve(api_key="none", base_url="http://sandbox.test/v1")


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
