"""Which endpoint a method and a path mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from .refusals import Refusal
from .runs import Kind

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
]


@dataclass(frozen=True)
class Route:
    """What is asked for.

    Attributes:
        endpoint: Which endpoint.
        values: What its path names, such as an id; percent-decoded.
        kind: What an invoke or a trigger starts.
    """

    endpoint: Endpoint
    values: tuple[str, ...]
    kind: Kind | None = None


_WORKSPACE = "/public/workspaces/{}/tool_action_approvals"
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
    ("GET", _WORKSPACE, "approvals", None),
    ("GET", f"{_WORKSPACE}/{{}}", "approval", None),
    ("POST", f"{_WORKSPACE}/{{}}/decide", "decide", None),
    ("GET", "/error_codes", "error_codes", None),
]
_PATTERNS: list[tuple[str, re.Pattern[str], Endpoint, Kind | None]] = [
    (method, re.compile("/v1" + path.replace("{}", "([^/]+)")), endpoint, kind)
    for method, path, endpoint, kind in _ROUTES
]


def route(method: str, path: str) -> Route:
    """The endpoint of a request.

    Args:
        method: HTTP method.
        path: The path as it was sent, without its query string.

    Raises:
        Refusal: 404: there is none. 405: there is one, for another method.
    """
    allowed: list[str] = []
    for allowed_method, pattern, endpoint, kind in _PATTERNS:
        match = pattern.fullmatch(path)
        if match and method.upper() == allowed_method:
            return Route(endpoint, tuple(unquote(value) for value in match.groups()), kind)
        if match:
            allowed.append(allowed_method)
    if allowed:
        raise Refusal("Method not allowed", status=405, code=None, headers={"Allow": ", ".join(allowed)})
    raise Refusal("Not found", status=404, code=None)
