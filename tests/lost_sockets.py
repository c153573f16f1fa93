"""Sockets that anyio loses: marks for the tests that cancel whatever is connecting."""

from __future__ import annotations

import gc
import importlib.metadata
import sys

import pytest

__all__ = ["collect_lost", "lost_sockets_forgiven", "no_socket_lost"]

ANYIO = tuple(int(part) for part in importlib.metadata.version("anyio").split(".")[:2])
# A socket whose connecting is cancelled once with an anyio of before 4.16, or twice on Python 3.10, is left to the
# garbage there, before httpx and a pool hear of it.
LOST = ANYIO < (4, 16) or sys.version_info < (3, 11)

no_socket_lost = pytest.mark.skipif(LOST, reason="this anyio loses a socket that is cancelled while it connects")
lost_sockets_forgiven = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning" if LOST else "error")


def collect_lost() -> None:
    """Have those closed that were left to the garbage."""
    if LOST:
        gc.collect()
