"""Which endpoint a method and a path mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from .refusals import Refusal
from .resources import ROUTES as RESOURCES
from .resources import Handler
from .runs import Kind, with_changes

__all__ = ["Endpoint", "Route", "route"]

Endpoint = Literal[
    "invoke",
    "trigger",
    "request",
    "workflow_run",
    "delegation",
    "cancel_delegation",
    "thread_delegations",
    "approvals",
    "approval",
    "decide",
    "error_codes",
    "resource",
]


@dataclass(frozen=True)
class Route:
    """What is asked for.

    Attributes:
        endpoint: Which endpoint.
        values: What its path names after the workspace, such as an id; percent-decoded.
        kind: What an invoke or a trigger starts.
        workspace_id: The workspace its path names; None for paths without one.
        keyless: True where no API key is asked for.
        handler: What answers a resource.
    """

    endpoint: Endpoint
    values: tuple[str, ...]
    kind: Kind | None = None
    workspace_id: str | None = None
    keyless: bool = False
    handler: Handler | None = None


_WORKSPACE = "/public/workspaces/{}"
_APPROVALS = f"{_WORKSPACE}/tool_action_approvals"
_KEYLESS = ("/error_codes", "/public/search_services/", "/sandbox-files/")
_ROUTES: list[tuple[str, str, Endpoint, Kind | None]] = [
    ("POST", "/prompt/invoke", "invoke", "prompt"),
    ("POST", "/invoke", "invoke", "prompt"),  # its name until 2026
    ("POST", "/workflow/invoke", "invoke", "workflow"),
    ("POST", "/agent/invoke", "invoke", "agent"),
    ("POST", "/hive-agent/invoke", "invoke", "hive_agent"),
    ("POST", "/workflow/webhooks/{}/variants/{}", "trigger", "workflow"),
    ("POST", "/agent/webhooks/{}", "trigger", "agent"),
    ("GET", "/public/requests/{}", "request", None),
    ("GET", "/workflow_runs/{}", "workflow_run", None),
    ("GET", "/agent/delegations/{}", "delegation", None),
    ("POST", "/agent/delegations/{}/cancel", "cancel_delegation", None),
    ("GET", "/agent/threads/{}/delegations", "thread_delegations", None),
    ("GET", _APPROVALS, "approvals", None),
    ("GET", f"{_APPROVALS}/{{}}", "approval", None),
    ("POST", f"{_APPROVALS}/{{}}/decide", "decide", None),
    ("GET", "/error_codes", "error_codes", None),
]


def _pattern(path: str) -> re.Pattern[str]:
    if path.startswith(_WORKSPACE):
        path = path.replace("{}", "(?P<workspace_id>[^/]+)", 1)
    return re.compile("/v1" + path.replace("{}", "([^/]+)"))


def _is_keyless(path: str) -> bool:
    return path.startswith(_KEYLESS)


_PATTERNS: list[tuple[str, re.Pattern[str], Route]] = [
    *(
        (method, _pattern(path), Route(endpoint, (), kind, keyless=_is_keyless(path)))
        for method, path, endpoint, kind in _ROUTES
    ),
    *(
        (method, _pattern(path), Route("resource", (), keyless=_is_keyless(path), handler=handler))
        for method, path, handler in RESOURCES
    ),
]


# Those whose paths name nothing, invokes among them: most of what is asked for.
_FIXED: dict[tuple[str, str], Route] = {
    (method, pattern.pattern): found for method, pattern, found in _PATTERNS if not pattern.groups
}


def route(method: str, path: str) -> Route:
    """The endpoint of a request.

    Args:
        method: HTTP method.
        path: The path as it was sent, without its query string.

    Raises:
        Refusal: 404: there is none. 405: there is one, for another method.
    """
    fixed = _FIXED.get((method, path))
    if fixed is not None:
        return fixed
    allowed: list[str] = []
    for allowed_method, pattern, found in _PATTERNS:
        match = pattern.fullmatch(path)
        if match and method.upper() == allowed_method:
            values = [unquote(value) for value in match.groups()]
            workspace_id = values.pop(0) if "workspace_id" in match.groupdict() else None
            return with_changes(found, values=tuple(values), workspace_id=workspace_id)
        if match:
            allowed.append(allowed_method)
    if allowed:
        raise Refusal("Method not allowed", status=405, code=None, headers={"Allow": ", ".join(allowed)})
    raise Refusal("Not found", status=404, code=None)
