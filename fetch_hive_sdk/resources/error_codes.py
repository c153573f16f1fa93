"""The service's catalog of error codes, as it is now."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from ..arguments import optional_text
from ..operations import Operation
from ..results import Entity, Part

__all__ = ["CatalogedErrorCode", "ErrorCatalog"]


class CatalogedErrorCode(Part, frozen=True):
    """One code of the service.

    Attributes:
        code: The stable `error_code`.
        status: HTTP status it comes with.
        message: What the service says; `%{name}` stands for something of the call.
        client_action: What to do next.
        category: Such as `runtime`.
        field: Where an error has the code; `error_code`.
        field_aliases: Older names of that field.
        message_key: The message's key in the service's translations.
        client_action_key: The action's key there.
    """

    code: str = ""
    status: int | None = None
    message: str = ""
    client_action: str = ""
    category: str = ""
    field: str = ""
    field_aliases: tuple[str, ...] = ()
    message_key: str = ""
    client_action_key: str = ""


class ErrorCatalog(Entity, frozen=True):
    """All codes of the service.

    Attributes:
        locale: The language of the texts.
        default_field: Where an error has its code.
        compatibility_aliases: Older names of that field.
        codes: The codes.
    """

    locale: str = ""
    default_field: str = ""
    compatibility_aliases: tuple[str, ...] = ()
    codes: tuple[CatalogedErrorCode, ...] = Field(default=())

    def find(self, code: str) -> CatalogedErrorCode | None:
        """The entry of a code, or None."""
        return next((entry for entry in self.codes if entry.code == code), None)


def catalog(locale: object) -> Operation[ErrorCatalog]:
    """GET /error_codes, which needs no key."""
    language = optional_text("locale", locale)
    given: dict[str, Any] = {} if language is None else {"locale": language}
    query = urlencode(given)
    return Operation("GET", "/error_codes", b"", ErrorCatalog.from_json, effect="nothing", query=query, with_key=False)
