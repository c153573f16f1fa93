"""Posts signed callbacks to their receivers, and contacts nobody it was not allowed to."""

from __future__ import annotations

from collections.abc import Collection

import anyio
import httpx
from typing_extensions import Self

from ..http import tls_context
from .addresses import is_loopback
from .engine import Engine
from .runs import Callback, CallbackAttempt

__all__ = ["Delivery"]

# Few, because the time a pool of httpx takes for one request grows with its connections.
MAX_CONNECTIONS = 16


class Delivery:
    """Delivers callbacks while it is entered: `async with Delivery(engine, ("hooks.internal",)) as delivery`.

    Proxies of the environment are not used and redirects not followed: a callback reaches the host it names
    or none.

    Args:
        engine: Where attempts are recorded, and whose `choices` say how often and how long to try.
        allowed_hosts: Hosts that may be contacted beside loopback.
    """

    def __init__(self, engine: Engine, allowed_hosts: Collection[str]) -> None:
        self._engine = engine
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._http = httpx.AsyncClient(
            verify=tls_context(),
            trust_env=False,
            follow_redirects=False,
            headers={"User-Agent": "fetch-hive-sandbox"},
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
            timeout=None,  # noqa: S113 - each attempt is bounded as a whole
        )
        self._places = anyio.Semaphore(MAX_CONNECTIONS)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._http.aclose()

    async def deliver(self, callback: Callback) -> None:
        """Post a callback until it is answered with 2xx or the attempts are used up, and record each one."""
        if not self._may_contact(httpx.URL(callback.url).host):
            self._withhold(callback)
            return
        for delay in (0.0, *self._engine.choices.callback_retry_delays):
            await anyio.sleep(delay)
            attempt = await self._attempt(callback)
            self._engine.record_attempt(callback, attempt)
            if attempt.accepted:
                return

    def _may_contact(self, host: str) -> bool:
        return is_loopback(host) or host.lower() in self._allowed_hosts

    def _withhold(self, callback: Callback) -> None:
        reason = "Withheld: the host is neither loopback nor named in deliver_to"
        attempt = CallbackAttempt(started_at=self._engine.clock(), duration=0.0, error=reason, withheld=True)
        self._engine.record_attempt(callback, attempt)

    async def _attempt(self, callback: Callback) -> CallbackAttempt:
        status_code, error = None, None
        async with self._places:
            started_at = self._engine.clock()
            try:
                with anyio.fail_after(self._engine.choices.callback_timeout):
                    response = await self._http.post(
                        callback.url, content=callback.body, headers=dict(callback.headers)
                    )
                status_code = response.status_code
            except (httpx.HTTPError, TimeoutError) as problem:
                error = f"{type(problem).__name__}: {problem}".removesuffix(": ")
            duration = (self._engine.clock() - started_at).total_seconds()
        return CallbackAttempt(started_at=started_at, duration=duration, status_code=status_code, error=error)
