"""Posts signed callbacks to their receivers, and contacts nobody it was not allowed to."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy

import anyio
import anyio.to_thread
import httpx
from typing_extensions import Self

from ..http import tls_context
from .addresses import is_loopback
from .engine import Engine
from .runs import Callback, CallbackAttempt

__all__ = ["Delivery"]

# More at once only wait for each other; fewer let receivers that hang keep the others waiting.
MAX_CONNECTIONS = 64
RESPONSE_CHARACTERS = 2_000


class Delivery:
    """Delivers callbacks while it is entered: `async with Delivery(engine, ("hooks.internal",)) as delivery`.

    Proxies of the environment are not used and redirects not followed: a callback reaches the host it names
    or none. Nothing of one attempt shows in another: each has a connection of its own, and no cookies are kept.

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
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            headers={"User-Agent": "fetch-hive-sandbox", "Accept-Encoding": "identity"},
            # A kept connection may be closed by the receiver just when the next callback is written to it.
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0),
            timeout=None,  # noqa: S113 - each attempt is bounded as a whole
        )
        self._places = anyio.Semaphore(MAX_CONNECTIONS)
        self._delivering: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._http.aclose()

    async def deliver(self, callback_id: str) -> None:
        """Post a callback until it is answered with 2xx or the attempts are used up, and record each one.

        Attempts that an earlier sandbox made on the same file count. One that is accepted meanwhile, because it
        was delivered by hand, is not posted again, and one that was forgotten neither.
        """
        self._delivering.add(callback_id)
        try:
            await self._deliver(callback_id)
        finally:
            self._delivering.discard(callback_id)

    async def _deliver(self, callback_id: str) -> None:
        callback = await self._callback(callback_id)
        if callback is None:
            return
        accepted_before = _times_accepted(callback)
        delays = (0.0, *self._engine.choices.callback_retry_delays)
        left = delays[len(callback.attempts) :] or (0.0,)
        for number, delay in enumerate(left, 1):
            if delay:
                await anyio.sleep(delay)
                callback = await self._callback(callback_id)
            if callback is None or _times_accepted(callback) > accepted_before:
                return
            attempt = await self._attempt(callback, last=number == len(left))
            if attempt.accepted:
                for _copy in range(1, self._engine.choices.callback_copies):
                    await self._attempt(callback, last=True)
            if attempt.accepted or attempt.withheld:
                return

    async def redeliver(self, callback_id: str) -> None:
        """Post a callback once, and record it. Attempts that are still to come by themselves come nevertheless."""
        callback = await self._callback(callback_id)
        if callback is not None:
            await self._attempt(callback, last=callback_id not in self._delivering)

    async def _callback(self, callback_id: str) -> Callback | None:
        return await anyio.to_thread.run_sync(self._engine.store.callback, callback_id)

    def _may_contact(self, host: str) -> bool:
        return is_loopback(host) or host.lower() in self._allowed_hosts

    async def _attempt(self, callback: Callback, *, last: bool) -> CallbackAttempt:
        allowed = self._may_contact(httpx.URL(callback.url).host)
        async with self._places:  # until it is recorded: what is not is delivered again after a crash
            attempt = await self._post(callback) if allowed else self._withheld()
            pending = not (last or attempt.accepted or attempt.withheld)
            record = partial(self._engine.lifecycle.record_attempt, callback, attempt, pending=pending)
            await anyio.to_thread.run_sync(record)
        return attempt

    def _withheld(self) -> CallbackAttempt:
        reason = "Withheld: the host is neither loopback nor named in deliver_to"
        return CallbackAttempt(started_at=self._engine.clock(), duration=0.0, error=reason, withheld=True)

    async def _post(self, callback: Callback) -> CallbackAttempt:
        status_code, error, response = None, None, bytearray()
        started_at = self._engine.clock()
        try:
            with anyio.fail_after(self._engine.choices.callback_timeout):
                request = self._http.build_request(
                    "POST", callback.url, content=callback.body, headers=dict(callback.headers)
                )
                answer = await self._http.send(request, stream=True)
                status_code = answer.status_code
                try:
                    async for chunk in answer.aiter_raw():
                        response += chunk
                        if len(response) >= RESPONSE_CHARACTERS * 4:
                            break
                finally:
                    await answer.aclose()
        except (httpx.HTTPError, TimeoutError) as problem:
            # A status that came is an answer, whatever becomes of the body after it.
            error = None if status_code else f"{type(problem).__name__}: {problem}".removesuffix(": ")
        return CallbackAttempt(
            started_at=started_at,
            duration=(self._engine.clock() - started_at).total_seconds(),
            status_code=status_code,
            error=error,
            response=response.decode("utf-8", "replace")[:RESPONSE_CHARACTERS],
        )


def _times_accepted(callback: Callback) -> int:
    return sum(attempt.accepted for attempt in callback.attempts)
