"""Fixtures for your tests, there as soon as the package is installed: a sandbox, and clients that talk to it.

    def test_ticket_is_classified(fetch_hive_sandbox, fetch_hive_client):
        fetch_hive_sandbox.prompt("support-classifier", reply="billing")
        assert classify(fetch_hive_client, "I was charged twice.") == "billing"

pytest imports this module, and nobody else; it imports the rest when a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from . import AsyncFetchHive, FetchHive
    from .sandbox import Sandbox

__all__ = ["async_fetch_hive_client", "fetch_hive_client", "fetch_hive_sandbox"]


@pytest.fixture
def fetch_hive_sandbox() -> Iterator[Sandbox]:
    """A `Sandbox` of the test's own, empty at its start. No socket, no thread, no model."""
    from .sandbox import Sandbox

    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def fetch_hive_client(fetch_hive_sandbox: Sandbox) -> Iterator[FetchHive]:
    """A `FetchHive` that talks to the test's `fetch_hive_sandbox` in the same process."""
    with fetch_hive_sandbox.client() as client:
        yield client


@pytest.fixture
def async_fetch_hive_client(fetch_hive_sandbox: Sandbox) -> AsyncFetchHive:
    """An `AsyncFetchHive` that talks to the test's `fetch_hive_sandbox` in the same process.

    It works below whichever plugin runs your async tests, and holds nothing that would have to be closed.
    """
    return fetch_hive_sandbox.async_client()
