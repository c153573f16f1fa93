"""Sockets that anyio loses: marks for the tests that cancel whatever is connecting."""

from __future__ import annotations

import gc
import importlib.metadata
import sys

import pytest

__all__ = ["collect_lost", "lost_sockets_forgiven", "no_socket_lost", "no_socket_lost_at_once"]

ANYIO = tuple(int(part) for part in importlib.metadata.version("anyio").split(".")[:2])
# A socket whose connecting is cancelled once with an anyio of before 4.16, or twice on Python 3.10, is left to the
# garbage there, before httpx and a pool hear of it.
LOST_AT_ONCE = ANYIO < (4, 16)
LOST = LOST_AT_ONCE or sys.version_info < (3, 11)
REASON = "this anyio loses a socket that is cancelled while it connects"

no_socket_lost = pytest.mark.skipif(LOST, reason=REASON)
no_socket_lost_at_once = pytest.mark.skipif(LOST_AT_ONCE, reason=REASON)  # for tests that cancel once
lost_sockets_forgiven = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning" if LOST else "error")


def collect_lost() -> None:
    """Have those closed that were left to the garbage."""
    if LOST:
        gc.collect()
