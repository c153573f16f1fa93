"""A request the service would refuse, before any run starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Refusal", "error_body"]


class Refusal(Exception):
    """Ends a request with an error reply.

    Attributes:
        text: The reply's `error`.
        status: HTTP status; None for that of failed validation.
        code: The reply's `error_code`; None if it has none.
        headers: Further headers of the reply, such as `Allow`, which goes with 405.
        body: Keys the reply has instead of the usual ones; None for the usual ones.
        more: Keys the reply has beside the usual ones.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        code: str | None = "validation_error",
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.code = code
        self.headers = headers or {}
        self.body = body
        self.more = more or {}


def error_body(text: str, code: str | None, *, error_only: bool) -> dict[str, str]:
    """The service's error object: `error`, its twin `message`, and `error_code` where there is one."""
    if error_only:
        return {"error": text}
    return {"error": text, "message": text} | ({"error_code": code} if code else {})
