"""One module for each noun of the API: what its calls return, the calls as values, and both clients' methods.

A module is loaded when it is first used, as an attribute of this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        agents,
        approvals,
        assets,
        base,
        chats,
        delegations,
        error_codes,
        knowledge_bases,
        models,
        requests,
        search_services,
        triggers,
        workflow_runs,
    )

__all__ = [
    "agents",
    "approvals",
    "assets",
    "base",
    "chats",
    "delegations",
    "error_codes",
    "knowledge_bases",
    "models",
    "requests",
    "search_services",
    "triggers",
    "workflow_runs",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
