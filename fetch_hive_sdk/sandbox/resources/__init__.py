"""The management resources: knowledge bases, agents, chats, models, assets and search services."""

from __future__ import annotations

from . import agents, assets, chats, knowledge_base_items, knowledge_bases, models, search_services
from .desk import Call, Desk, Handler

__all__ = ["ROUTES", "Call", "Desk", "Handler"]

ROUTES: list[tuple[str, str, Handler]] = [
    *knowledge_bases.ROUTES,
    *knowledge_base_items.ROUTES,
    *agents.ROUTES,
    *chats.ROUTES,
    *models.ROUTES,
    *assets.ROUTES,
    *search_services.ROUTES,
]
"""Method, path after `/v1` with {} for each value, and what answers."""
