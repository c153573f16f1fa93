"""A request's head and body in one write: what reaches the connection, and when."""

from __future__ import annotations

from typing import Any

import pytest

from fetch_hive_sdk.joined_writes import join_async_writes, join_writes

pytestmark = pytest.mark.anyio

HEAD = b"POST / HTTP/1.1\r\n\r\n"


class Connection:
    """What a connection was told, in order: written bytes, and reads by their size."""

    def __init__(self) -> None:
        self.told: list[bytes | int] = []
        self.timeouts: list[float | None] = []

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.told.append(buffer)
        self.timeouts.append(timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.told.append(max_bytes)
        self.timeouts.append(timeout)
        return b"answer"


class AsyncConnection(Connection):
    """The same, awaited."""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # type: ignore[override]
        Connection.write(self, buffer, timeout)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # type: ignore[override]
        return Connection.read(self, max_bytes, timeout)


@pytest.fixture
def connection(flavor: str) -> Any:
    made = Connection() if flavor == "sync" else AsyncConnection()
    (join_writes if flavor == "sync" else join_async_writes)(made)
    return made


async def told(connection: Any, *steps: bytes | int) -> list[bytes | int]:
    """Write bytes and read numbers of bytes, in this order; what came of it below."""
    for step in steps:
        call = connection.read(step, 2.0) if isinstance(step, int) else connection.write(step, 1.0)
        answer = await call if isinstance(connection, AsyncConnection) else call
        assert answer == (b"answer" if isinstance(step, int) else None)
    return connection.told


async def test_head_and_body_are_one_write(connection: Any) -> None:
    """A request with a body is written at once, and the next one on the connection too."""
    steps = (HEAD, b"body", 9, HEAD, b"more", 9)
    assert [HEAD + b"body", 9, HEAD + b"more", 9] == await told(connection, *steps)


async def test_a_request_without_a_body(connection: Any) -> None:
    """Where no body follows, the head is written before the answer is read, in its own time."""
    assert [HEAD, 9] == await told(connection, HEAD, b"", 9)
    assert [1.0, 2.0] == connection.timeouts


async def test_only_the_first_piece_of_a_body_is_joined(connection: Any) -> None:
    """The further pieces of an upload go out as they come."""
    assert [HEAD + b"one", b"two", b"three", 9] == await told(connection, HEAD, b"one", b"two", b"three", 9)


async def test_a_large_body_is_not_copied(connection: Any) -> None:
    """A large body follows its head by itself."""
    large = b"x" * 70_000
    assert [HEAD, large, 9] == await told(connection, HEAD, large, 9)


@pytest.mark.parametrize("join", [join_writes, join_async_writes])
def test_a_connection_of_another_kind_is_left_alone(join: Any) -> None:
    """A stream that lets nothing be put in its methods' place stays as it is."""

    class Fixed:
        __slots__ = ()

        def read(self) -> None: ...

        write = read

    fixed = Fixed()
    join(fixed)
    assert Fixed.write == type(fixed).write
