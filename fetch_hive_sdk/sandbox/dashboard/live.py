"""Server-sent events that tell the pages when something has changed. They carry nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio

__all__ = ["changes"]

HEARTBEAT = 15.0  # so that a browser which has gone is noticed
PAUSE = 0.1  # a burst of changes is told once


async def changes(
    subscribe: Callable[[Callable[[Any], None]], Callable[[], None]], *, heartbeat: float = HEARTBEAT
) -> AsyncIterator[bytes]:
    """Yield the bytes of an event after each change, and a comment now and then, until the server stops.

    Args:
        subscribe: Takes a function to call after each change, in any thread, and returns one that ends that.
            A change of the kind `stop` ends the events.
        heartbeat: Seconds without a change after which a comment is sent.
    """
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    stopping = False

    def tell(change: Any) -> None:
        nonlocal stopping
        stopping = stopping or change.kind == "stop"
        # The loop may have been closed by now, in another thread.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(changed.set)

    unsubscribe = subscribe(tell)
    try:
        yield b"retry: 1000\n\n"
        while not stopping:
            with anyio.move_on_after(heartbeat):
                await changed.wait()
            if not changed.is_set():
                yield b": still here\n\n"
                continue
            changed.clear()
            yield b"data: changed\n\n"
            await asyncio.sleep(PAUSE)
    finally:
        unsubscribe()
