"""What the handlers of the management resources are given, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, wraps
from typing import Any, TypeVar, cast

from ..checks import read_object
from ..choices import Choices
from ..objects import Objects
from ..refusals import Refusal
from ..runs import HttpRequest
from ..store import Store
from .multipart import Part, read_parts

__all__ = ["Call", "Desk", "Handler", "Object", "invalid", "listing_errors", "one_of", "typed", "wrapped"]

Object = dict[str, Any]
ReadT = TypeVar("ReadT")
_TYPE_NAMES: dict[type, str] = {str: "a string", int: "an integer", float: "a number"}


@dataclass(frozen=True)
class Call:
    """One request to a resource.

    Attributes:
        values: What the path names after the workspace, percent-decoded.
        parameters: The query string's.
        http: The request itself.
    """

    values: tuple[str, ...]
    parameters: Mapping[str, str]
    http: HttpRequest

    def read(self) -> None:
        """Read the body, which may take its time, before anything is locked. What is wrong with it is told later."""
        is_form = self.http.headers.get("Content-Type", "").lower().startswith("multipart/")
        _ = self._parts if is_form else self._object

    def json(self) -> Object:
        """The request's body.

        Raises:
            Refusal: It is no JSON object.
        """
        return _or_raise(self._object)

    def parts(self) -> list[Part]:
        """The parts of the request's body, a form with files.

        Raises:
            Refusal: It is no such form.
        """
        return _or_raise(self._parts)

    @cached_property
    def _object(self) -> Object | Refusal:
        return _or_refusal(lambda: read_object(self.http.body))

    @cached_property
    def _parts(self) -> list[Part] | Refusal:
        return _or_refusal(lambda: read_parts(self.http.headers.get("Content-Type", ""), self.http.body))


def _or_refusal(read: Callable[[], ReadT]) -> ReadT | Refusal:
    try:
        return read()
    except Refusal as refusal:
        return refusal


def _or_raise(read: ReadT | Refusal) -> ReadT:
    if isinstance(read, Refusal):
        raise read
    return read


@dataclass(frozen=True)
class Desk:
    """What handlers work with.

    Attributes:
        objects: The objects of the resources.
        store: Everything else that is remembered.
        choices: What to do where the documentation is silent.
        clock: Tells the time, with a time zone.
        new_id: Makes a new UUID each time.
        strict: Whether only what is known is accepted.
        origin: Tells the scheme and host that the sandbox is reached at, without a slash at its end.
    """

    objects: Objects
    store: Store
    choices: Choices
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    strict: bool
    origin: Callable[[], str]


# Gives the JSON value of a 200, which may be an array, or a whole `Reply`; raises `Refusal`.
Handler = Callable[[Desk, Call], Any]


def invalid(text: str) -> Refusal:
    """The 422 of a body that is not as documented."""
    return Refusal(text, status=422)


def listing_errors(handler: Handler) -> Handler:
    """The handler with its refusals of bodies told as a list, too: `errors`, as documented for items and chats."""

    @wraps(handler)
    def handle(desk: Desk, call: Call) -> Any:
        try:
            return handler(desk, call)
        except Refusal as refusal:
            if refusal.code == "validation_error":
                refusal.more = {"errors": [refusal.text]}
            raise

    return handle


def wrapped(body: Object, key: str) -> Object:
    """The object a body has under a key, as in `{"knowledge_base": {…}}`.

    Raises:
        Refusal: 422: there is none.
    """
    value = body.get(key)
    if not isinstance(value, dict):
        raise invalid(f"{key} is required and must be an object")
    return cast("Object", value)


def typed(values: Object, key: str, kind: type, *, required: bool = False) -> Any:
    """A field's value; None if it is absent or null.

    Args:
        values: The object that has it.
        key: Its name.
        kind: `str`, `int` or `float`, which takes whole numbers too. A boolean is no number.
        required: True refuses an absent or empty one.

    Raises:
        Refusal: 422: it is missing, or has another type.
    """
    value = values.get(key)
    if required and value in (None, ""):
        raise invalid(f"{key} is required")
    accepted = (int, float) if kind is float else kind
    if value is not None and (not isinstance(value, accepted) or isinstance(value, bool)):
        raise invalid(f"{key} must be {_TYPE_NAMES[kind]}")
    return value


def one_of(values: Object, key: str, allowed: Collection[str], *, required: bool = False) -> Any:
    """A field's value, which is one of a few; None if it is absent or null.

    Raises:
        Refusal: 422: it is missing, or another.
    """
    value = typed(values, key, str, required=required)
    if value is not None and value not in allowed:
        raise invalid(f"{key} must be one of: {', '.join(allowed)}")
    return value
