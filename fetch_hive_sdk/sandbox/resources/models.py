"""The models an agent can have: invented ones, one of each sort that the service's list tells apart."""

from __future__ import annotations

from typing import Any

from .desk import Call, Desk, Handler

__all__ = ["MODELS", "ROUTES", "find_model"]


def _model(number: int, slug: str, *abilities: str, context_limit: int = 128_000) -> dict[str, Any]:
    """A model as the list tells it."""
    return {
        "id": f"00000000-0000-7000-8000-0000000002{number:02}",
        "name": slug.replace("-", " ").capitalize(),
        "slug": slug,
        "provider": "sandbox",
        "provider_name": "Sandbox",
        "context_limit": context_limit,
        "model_type": "image_generation" if "image_generation" in abilities else "llm",
        **{
            f"is_{ability}": ability in abilities
            for ability in ("image_generation", "vision", "reasoning", "tool_calling", "json_schema")
        },
    }


MODELS = (
    _model(1, "sandbox-small", "tool_calling", context_limit=16_000),
    _model(2, "sandbox-large", "tool_calling", "json_schema"),
    _model(3, "sandbox-vision", "vision", "tool_calling", "json_schema"),
    _model(4, "sandbox-reasoning", "reasoning", "tool_calling", "json_schema", context_limit=1_000_000),
    _model(5, "sandbox-image", "image_generation", context_limit=4_000),
)


def find_model(text: str) -> dict[str, Any] | None:
    """The model with this slug, name or id, or None."""
    return next((model for model in MODELS if text in (model["slug"], model["name"], model["id"])), None)


def _list(_desk: Desk, _call: Call) -> list[dict[str, Any]]:
    return list(MODELS)


ROUTES: list[tuple[str, str, Handler]] = [("GET", "/public/models", _list)]
