"""What the service says about its errors: the catalog of codes, and the two limits that have a form of their own."""

from __future__ import annotations

from typing import Any

from ..error_codes import BY_CODE, ERROR_CODES
from .choices import Choices

__all__ = ["CONCURRENCY_LIMIT", "DAILY_LIMIT", "concurrency_limit", "daily_limit_body", "error_catalog"]

DAILY_LIMIT = "api_rate_limit_exceeded"
CONCURRENCY_LIMIT = "You've reached your concurrency limit. Try again later or use async mode."


def error_catalog(locale: str | None = None) -> dict[str, Any]:
    """The body of `GET /v1/error_codes`.

    Args:
        locale: The language asked for. The sandbox has English alone, which any other language falls back to.
    """
    return {
        "locale": "en",
        "default_field": "error_code",
        "compatibility_aliases": ["code"],
        "codes": [
            {
                "code": entry.code,
                "status": entry.status,
                "field": "error_code",
                "message_key": f"errors.codes.{entry.code}",
                "message": entry.message,
                "field_aliases": [],
                "category": entry.category,
                "client_action_key": f"errors.client_actions.{entry.code}",
                "client_action": entry.client_action,
            }
            for entry in ERROR_CODES
        ],
    }


def daily_limit_body(limit: int, current: int, choices: Choices) -> dict[str, Any]:
    """The body of a 429 for the daily limit, as the documentation shows it.

    Args:
        limit: Calls allowed a day.
        current: Calls made today.
        choices: Where the code stands in it.
    """
    return {
        "error": "Daily API rate limit reached",
        choices.daily_limit_code_key: DAILY_LIMIT,
        "message": BY_CODE[DAILY_LIMIT].message.replace("%{limit}", str(limit)),
        "limit": limit,
        "current": current,
    }


def concurrency_limit(choices: Choices) -> tuple[dict[str, str], dict[str, str]]:
    """Body and headers of a 429 for as many workflows at once as the plan allows, as the documentation shows it.

    Args:
        choices: Whether it says when to come again.
    """
    seconds = choices.retry_after
    return {"error": CONCURRENCY_LIMIT}, {} if seconds is None else {"Retry-After": f"{seconds:.15g}"}
