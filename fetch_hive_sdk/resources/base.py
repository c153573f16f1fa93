"""What all resources share: how their calls are made, what lists are, and how answers are taken out of envelopes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast, overload

from ..answers import Answered, HTTPResponse, read_json, read_object
from ..drivers import drive, drive_async
from ..errors import InvalidRequestError
from ..exchange import Exchange, run
from ..http import AsyncPool, SyncPool
from ..operations import Operation
from ..results import Entity, Result
from ..settings import Settings
from ..urls import segment

__all__ = ["Done", "ResultList"]

ResultT = TypeVar("ResultT")
ItemT = TypeVar("ItemT", bound=Entity)


class SyncResource:
    """Calls about one noun, for code that blocks.

    Args:
        settings: The client's.
        pool: The client's connections.
    """

    def __init__(self, settings: Settings, pool: SyncPool) -> None:
        self._settings = settings
        self._pool = pool

    def _run(self, operation: Operation[ResultT]) -> ResultT:
        return self._drive(run(operation, self._settings))

    def _drive(self, exchange: Exchange[ResultT]) -> ResultT:
        return drive(exchange, self._pool)


class AsyncResource:
    """Calls about one noun, for code that awaits.

    Args:
        settings: The client's.
        pool: The client's connections.
    """

    def __init__(self, settings: Settings, pool: AsyncPool) -> None:
        self._settings = settings
        self._pool = pool

    async def _run(self, operation: Operation[ResultT]) -> ResultT:
        return await self._drive(run(operation, self._settings))

    async def _drive(self, exchange: Exchange[ResultT]) -> ResultT:
        return await drive_async(exchange, self._pool)


class ResultList(Answered, Sequence[ItemT], Generic[ItemT]):
    """The objects that a call lists: as a tuple, with the answer it was read from.

    Two lists are equal if their objects are; a list of plain dicts is compared by what came as JSON.
    """

    def __init__(self, items: Sequence[ItemT]) -> None:
        self._items = tuple(items)
        self._http_response: HTTPResponse | None = None

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> ItemT: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ItemT, ...]: ...
    def __getitem__(self, index: int | slice) -> ItemT | tuple[ItemT, ...]:
        return self._items[index]

    def __iter__(self) -> Iterator[ItemT]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (ResultList, list, tuple)):
            return NotImplemented
        return list(self._items) == list(cast("Sequence[object]", other))

    __hash__ = None  # type: ignore[assignment]  # equal to a list

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._items)!r})"

    def to_list(self) -> list[dict[str, Any]]:
        """The objects as they came, as new dicts of plain values."""
        return [item.to_dict() for item in self._items]


class Done(Result, frozen=True):
    """The service's word that something was done.

    Attributes:
        message: What it says.
    """

    message: str = ""


def changes(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of an update, of which there has to be one.

    Raises:
        InvalidRequestError: There is none.
    """
    if not fields:
        raise InvalidRequestError("There is nothing to change.", hint="Pass at least one field with its new value.")
    return fields


def workspace(settings: Settings, workspace_id: object) -> str:
    """The beginning of a path for what belongs to a workspace.

    Raises:
        InvalidRequestError: Neither the call nor the client names the workspace.
    """
    found = settings.workspace_id if workspace_id is None else workspace_id
    if found is None:
        raise InvalidRequestError(
            "workspace_id: it is missing.",
            hint="Pass FetchHive(workspace_id=...), set FETCH_HIVE_WORKSPACE_ID, or pass workspace_id= to the call.",
        )
    return f"/public/workspaces/{segment('workspace_id', found)}"


def read_done(data: bytes) -> Done:
    """Read the answer to a deletion, whose status says it all: there may be nothing in it.

    Raises:
        ValueError: There is something else than an object in it, such as a page of a proxy.
    """
    return Done() if data.strip() in (b"", b"null") else Done.from_json(data)


def enveloped(name: str, cls: type[ItemT]) -> Callable[[bytes], ItemT]:
    """What reads `{name: {…}}`, or the object itself, known by its id, where it came without an envelope.

    Its ValueError says that there is neither.
    """

    def read(data: bytes) -> ItemT:
        answer = read_object(data)
        # One with an error instead is told apart by the call, which has the error's words.
        bare = name not in answer and (answer.keys() & {"id", "request_id"} or answer.get("error"))
        fields = answer if bare else answer.get(name)
        if not isinstance(fields, dict):
            raise ValueError(f"it has no {name} in it")
        return cls.model_validate(fields)

    return read


def listed(name: str | None, cls: type[ItemT]) -> Callable[[bytes], ResultList[ItemT]]:
    """What reads a list of objects: `{name: […]}`, or the bare list.

    Its ValueError says that there is no list, or that something in it is no object.
    """

    def read(data: bytes) -> ResultList[ItemT]:
        return ResultList(objects(read_json(data), name, cls))

    return read


def objects(value: Any, name: str | None, cls: type[ItemT]) -> list[ItemT]:
    """The objects in a list, typed.

    Args:
        value: The answer, parsed.
        name: Its key for the list, where it is not the bare list.
        cls: What each is.

    Raises:
        ValueError: There is no list, or something in it is no object.
    """
    found: Any = value.get(name) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(found, list):
        raise ValueError(f"it has no list of {name or 'objects'}")
    items: list[Any] = found  # pyright: ignore[reportUnknownVariableType]
    if not all(isinstance(item, dict) for item in items):
        raise ValueError("something in its list is no object")
    return [cls.model_validate(item) for item in items]
