"""The failures behind our errors, safe to show: what is shown of a request must not be the key it was sent with.

The libraries that carry a request have its headers in their local variables, which error reports and debuggers show
beside each line of a traceback. So tracebacks end where a request is handed to them; the texts of the errors stay.
"""

from __future__ import annotations

from json import JSONDecodeError
from types import TracebackType
from typing import TypeVar

import httpx

from .errors import told

__all__ = ["chain_of", "shown", "without_text", "without_variables"]

ErrorT = TypeVar("ErrorT", bound=BaseException)

# By the first part of a module's name.
_CARRIERS = frozenset(
    {"aiohttp", "anyio", "asyncio", "h11", "h2", "hpack", "httpcore", "httpcore2", "httpx", "httpx2"}
    | {"httpx_aiohttp", "selectors", "socket", "socksio", "ssl", "trio", "uvloop"}
)
_OUR_CARRIERS = frozenset(
    f"{__package__}.{name}"
    for name in (
        "aiohttp_connections",
        "async_connections",
        "connections",
        "deadlines",
        "http",
        "httpx2_clients",
        "joined_writes",
    )
)


def shown(failure: ErrorT, request: httpx.Request) -> ErrorT:
    """A failure of a request as the cause of our error: without lines of the libraries, and without secrets.

    A text may quote what the other side has sent, and that may repeat the request. What cannot be told without a
    secret is left out, with all that lies behind it.
    """
    chain = chain_of(failure)
    for one in chain:
        one.__traceback__ = _without_carriers(one.__traceback__)
        one.args = tuple(told(text, request) if isinstance(text, str) else text for text in one.args)
    for one in chain:
        for behind in (one.__cause__, one.__context__):
            if behind is not None and told(text := str(behind), request) != text:
                one.__cause__ = one.__context__ = None
    return failure


def without_variables(error: ErrorT) -> ErrorT:
    """An error without the lines of the libraries, for those that pass us by, such as an interruption."""
    for one in chain_of(error):
        one.__traceback__ = _without_carriers(one.__traceback__)
    return error


def without_text(error: ErrorT) -> ErrorT:
    """An error about a text, without the text, which it and the lines of its traceback may hold as a whole."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    if isinstance(error, JSONDecodeError):
        error.doc = ""
    return error


def chain_of(error: BaseException) -> list[BaseException]:
    """An error, its causes and contexts, and what is grouped in them; each once, for they may lead in a circle."""
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and not any(one is known for known in chain):
            chain.append(one)
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return chain


def _without_carriers(trace: TracebackType | None) -> TracebackType | None:
    """A traceback of the other lines, such as those of a caller's own hook, transport or authentication."""
    kept: list[TracebackType] = []
    while trace is not None:
        module: str = trace.tb_frame.f_globals.get("__name__", "")
        if module not in _OUR_CARRIERS and module.partition(".")[0] not in _CARRIERS:
            kept.append(trace)
        trace = trace.tb_next
    whole: TracebackType | None = None
    for one in reversed(kept):
        whole = TracebackType(whole, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return whole
