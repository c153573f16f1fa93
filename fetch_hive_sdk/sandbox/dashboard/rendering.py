"""Templates, static files, and the headers that every answer has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from . import bodies, words
from .advice import fix_of_refused
from .filters import said, written
from .logs import LOGS
from .security import PAGE_HEADERS

__all__ = ["Rendering", "secured"]

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def secured(response: Response) -> Response:
    """The same response with the headers of every page."""
    response.headers.update(PAGE_HEADERS)
    return response


class Rendering:
    """Makes pages of templates.

    Args:
        values: What every template may use.
    """

    def __init__(self, **values: Any) -> None:
        self._static = _static()
        self._environment = Environment(
            loader=PackageLoader(__package__ or ""),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        filters: dict[str, Any] = self._environment.filters
        filters.update(_FILTERS)
        everywhere: dict[str, Any] = self._environment.globals
        everywhere.update(static=self.static_address, logs=LOGS, mask=bodies.MASK, **values)

    def page(self, template: str, status: int, context: Mapping[str, Any]) -> Response:
        """A page."""
        html = self._environment.get_template(template).render(context)
        # Half a surrogate pair has no UTF-8.
        return Response(html.encode("utf-8", "backslashreplace"), status, media_type="text/html; charset=utf-8")

    def static_file(self, request: Request) -> Response:
        """The answer to a request for a static file."""
        found = self._static.get(request.path_params["name"])
        if found is None:
            return secured(Response("Not found\n", 404, media_type="text/plain"))
        response = secured(Response(found[0], headers={"Content-Type": found[1]}))
        # Its address has its version in it.
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    def static_address(self, name: str) -> str:
        """Where a static file is."""
        return f"/static/{name}?v={hashlib.sha256(self._static[name][0]).hexdigest()[:12]}"


def _static() -> Mapping[str, tuple[bytes, str]]:
    return {
        file.name: (file.read_bytes(), f"{_TYPES[file.name.rpartition('.')[2]]}; charset=utf-8")
        for file in (files(__package__ or "") / "static").iterdir()
    }


def _in_path(text: str) -> str:
    return quote(text, safe="", errors="replace")


_FILTERS: Mapping[str, Any] = {
    "attempt": words.attempt_text,
    "callback_state": words.callback_state,
    "clock": words.clock,
    "cut": bodies.cut,
    "duration": words.duration,
    "flat": words.flat,
    "instant": datetime.fromisoformat,
    "moment": words.moment,
    "path": _in_path,
    "posted": bodies.posted,
    "pretty": bodies.pretty,
    "reason": fix_of_refused,
    "said": said,
    "seconds": words.seconds,
    "size": words.size,
    "tokens": words.tokens,
    "written": written,
}
