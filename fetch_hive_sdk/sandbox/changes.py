"""Who wants to know that something was recorded, such as a page that keeps itself up to date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from ..logs import logger

__all__ = ["Change", "Listener", "Listeners"]


@dataclass(frozen=True)
class Change:
    """Something was recorded: of a run, of one of its callbacks, a refused request, or an object of a resource.

    The last two have no run.

    After `reset` all is forgotten; after `stop` the server that told it answers nothing more.
    """

    kind: Literal["run", "callback", "refused", "resource", "reset", "stop"]
    request_id: str | None = None


Listener = Callable[[Change], None]


class Listeners:
    """Functions that are called after each change, in whichever thread made it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._all: dict[object, Listener] = {}

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call a listener after each change, in any thread. What it raises is logged, and stops nothing.

        Returns:
            What ends that.
        """
        key = object()
        with self._lock:
            self._all = {**self._all, key: listener}

        def unsubscribe() -> None:
            with self._lock:
                self._all = {known: one for known, one in self._all.items() if known is not key}

        return unsubscribe

    def tell(self, change: Change) -> None:
        """Tell all of a change."""
        for listener in self._all.values():
            try:
                listener(change)
            except Exception:
                logger.exception("A listener of the sandbox failed")
