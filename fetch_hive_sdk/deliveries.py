"""Callbacks handled once: a delivery that comes again is told from the first, and one that failed is not lost.

    deliveries = Deliveries(SQLiteDeliveryStore("callbacks.sqlite3"))

    with deliveries.once(event) as first:
        if first:
            handle(event)

A store keeps a text under each event's key: a token while it is being handled, a mark once it is. Whoever puts the
first token there handles the event. The token ends by itself, so that a killed process does not block the event.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from .errors import ConfigurationError, DeliveryInProgressError, InvalidRequestError
from .jsonable import article
from .logs import logger

if TYPE_CHECKING:
    from .callbacks import CallbackEvent

__all__ = ["AsyncDeliveries", "AsyncDeliveryStore", "Deliveries", "DeliveryStore"]

HANDLED = "handled"
LEASE = 60.0
KEEP = 30 * 24 * 3600.0
SECONDS_TO_RECORD = 10  # that a cancelled handler may still take to tell the store


class DeliveryStore(Protocol):
    """What remembers deliveries: texts under keys, each for some time.

    Threads and, unless each process has its own, processes call it at the same time. What it raises reaches the
    handler, where it makes the service deliver again.
    """

    def add(self, key: str, value: str, seconds: float) -> str | None:
        """Put a value where there is none, in one step that no other caller can come between.

        Args:
            key: 64 hex digits.
            value: Up to 32 letters and digits.
            seconds: After which it is gone.

        Returns:
            None if it was put there, otherwise the value that is there.
        """
        ...

    def put(self, key: str, value: str, seconds: float) -> None:
        """Put a value in the place of any other."""
        ...

    def remove(self, key: str, value: str) -> None:
        """Remove a value if it is still there, and no other."""
        ...


class AsyncDeliveryStore(Protocol):
    """`DeliveryStore`, awaited."""

    async def add(self, key: str, value: str, seconds: float) -> str | None:
        """As `DeliveryStore.add`."""
        ...

    async def put(self, key: str, value: str, seconds: float) -> None:
        """As `DeliveryStore.put`."""
        ...

    async def remove(self, key: str, value: str) -> None:
        """As `DeliveryStore.remove`."""
        ...


class _Options:
    """Where it is remembered, and for how long."""

    def __init__(self, store: Any, lease: float, keep: float) -> None:
        if isinstance(store, type) or not all(
            callable(getattr(store, name, None)) for name in ("add", "put", "remove")
        ):
            raise ConfigurationError(
                f"store: {article(store)} is not allowed.",
                hint="Pass a SQLiteDeliveryStore(path), a MemoryDeliveryStore(), or an object with the methods add, "
                "put and remove.",
            )
        for name, seconds in (("lease", lease), ("keep", keep)):
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < float("inf"):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigurationError(f"{name}: {seconds!r} is no positive number of seconds.")
        self._lease = lease
        self._keep = keep


class Deliveries(_Options):
    """Tells the first delivery of a callback from its duplicates and replays.

    Args:
        store: Where it is remembered: `SQLiteDeliveryStore` for the processes of one machine,
            `MemoryDeliveryStore` for one process, or your own `DeliveryStore`.
        lease: Seconds that handling an event may take. If the process is killed meanwhile, the event is free
            again after that; a handler that takes longer may meet a second one.
        keep: Seconds to remember that an event was handled; the default is 30 days.

    Raises:
        ConfigurationError: `lease` or `keep` is no positive number, or `store` is no store, or an async one.
    """

    def __init__(self, store: DeliveryStore, *, lease: float = LEASE, keep: float = KEEP) -> None:
        super().__init__(store, lease, keep)
        if inspect.iscoroutinefunction(store.add):
            raise ConfigurationError(
                f"store: the methods of {article(store)} are async.", hint="Give it to AsyncDeliveries."
            )
        self._store = store

    @contextmanager
    def once(self, event: CallbackEvent) -> Generator[bool, None, None]:
        """Handle an event in this block if it yields True; False means that this was done before.

        A block that ends well, by `return` too, has handled the event. One that raises has not: the event is free
        again, and the error goes on, so that your framework answers 500 and the service delivers again.

        Raises:
            DeliveryInProgressError: Another request is in such a block for the same event. Answer with 503.
            ConfigurationError: The store's `add` returns what it must not.
            InvalidRequestError: `event` is no `CallbackEvent`.
        """
        key, token = _key_and_token(event)
        try:
            first = _is_first(self._store.add(key, token, self._lease))
            yield first
        except BaseException:
            try:
                self._store.remove(key, token)
            except Exception as error:
                _warn(error, self._lease)
            raise
        if first:
            self._store.put(key, HANDLED, self._keep)


class AsyncDeliveries(_Options):
    """Tells the first delivery of a callback from its duplicates and replays. For asyncio and trio.

    Args:
        store: As for `Deliveries`, or an `AsyncDeliveryStore`. One that is not async runs in worker threads.
        lease: As for `Deliveries`.
        keep: As for `Deliveries`.

    Raises:
        ConfigurationError: As for `Deliveries`, but that the store may be async.
    """

    def __init__(self, store: DeliveryStore | AsyncDeliveryStore, *, lease: float = LEASE, keep: float = KEEP) -> None:
        super().__init__(store, lease, keep)
        self._store = store

    @asynccontextmanager
    async def once(self, event: CallbackEvent) -> AsyncGenerator[bool, None]:
        """Handle an event in this block if it yields True; False means that this was done before.

        A block that ends well, by `return` too, has handled the event. One that raises or is cancelled has not: the
        event is free again, and the error goes on, so that your framework answers 500 and the service delivers again.

        Raises:
            DeliveryInProgressError: Another request is in such a block for the same event. Answer with 503.
            ConfigurationError: The store's `add` returns what it must not.
            InvalidRequestError: `event` is no `CallbackEvent`.
        """
        from anyio import fail_after, move_on_after  # a handler that is not async does without

        key, token = _key_and_token(event)
        try:
            first = _is_first(await _call(self._store.add, key, token, self._lease))
            yield first
        except BaseException:
            with move_on_after(SECONDS_TO_RECORD, shield=True):
                try:
                    await _call(self._store.remove, key, token)
                except Exception as error:
                    _warn(error, self._lease)
            raise
        if first:
            with fail_after(SECONDS_TO_RECORD, shield=True):
                await _call(self._store.put, key, HANDLED, self._keep)


async def _call(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a method of a store of either kind."""
    if inspect.iscoroutinefunction(function):
        return await function(*arguments)
    from anyio import to_thread

    from .drivers import in_own_task

    # In a list, because trio refuses a thread that returns a coroutine: one of a wrapped coroutine function.
    # In a task of its own, because for a thread only the cancellation of a scope waits: what is added after it was
    # removed would block the event.
    (done,) = await in_own_task(lambda: to_thread.run_sync(lambda: [function(*arguments)]))
    return await done if inspect.isawaitable(done) else done


def _key_and_token(event: object) -> tuple[str, str]:
    key = getattr(event, "delivery_key", None)
    if key is None:
        raise InvalidRequestError(
            f"event: {article(event)} is not allowed.", hint="Pass the CallbackEvent that CallbackVerifier.unwrap gave."
        )
    return key, secrets.token_hex(16)


def _is_first(found: object) -> bool:
    if found is not None and not isinstance(found, str):
        raise ConfigurationError(
            f"store: its method add returned {article(found)}.",
            hint="It has to return None if it put the value there, and otherwise the text that is there. A client of "
            "Redis gives texts with decode_responses=True.",
        )
    if found is not None and found != HANDLED:
        raise DeliveryInProgressError(
            "Another request is handling the same callback.",
            hint="Answer with status 503. It will be delivered again, should the other one fail.",
            retryable=True,
        )
    return found is None


def _warn(error: Exception, lease: float) -> None:
    # The handler's own error is the one to be told, and the token ends by itself.
    logger.warning("a callback is blocked for up to %g s, as the delivery store failed: %r", lease, error)
