"""The door for everything else: the sandbox as a real server on this machine."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .addresses import is_loopback
from .engine import ORIGIN, Engine
from .ids import WORKSPACE_ID

if TYPE_CHECKING:
    from .web import WebServer

__all__ = ["SandboxServer", "serve"]

# A server that listens on every address is reached on this one.
ADDRESS_OF_ALL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - it is left here


class SandboxServer:
    """A sandbox that listens on a port. Made by `Sandbox.serve`.

    Attributes:
        base_url: Where it answers, ending in `/v1`.
        dashboard_url: Where its run log is, for a browser.
        api_key: A key it accepts. Not in `repr`.
        workspace_id: The one workspace there is.
    """

    workspace_id = WORKSPACE_ID

    def __init__(self, web: WebServer, *, base_url: str, api_key: str) -> None:
        self.base_url = base_url
        self.dashboard_url = base_url.removesuffix("v1")
        self.api_key = api_key
        self._web = web

    def __repr__(self) -> str:
        return f"SandboxServer(base_url={self.base_url!r})"

    def wait_for_callbacks(self, *, timeout: float = 10.0) -> None:
        """Wait until every accepted run has ended and its callback is delivered, withheld or given up.

        Args:
            timeout: Seconds to wait. Default 10.

        Raises:
            TimeoutError: Something is still under way by then.
        """
        self._web.wait_for_jobs(timeout)


@contextmanager
def serve(
    engine: Engine, *, host: str, port: int, api_key: str, deliver_to: Collection[str]
) -> Generator[SandboxServer, None, None]:
    """Serve an engine while the block lasts; see `Sandbox.serve`."""
    try:
        from .web import WebServer
    except ImportError as missing:
        raise ImportError("The sandbox's server needs: pip install 'fetch-hive-sdk[sandbox]'") from missing
    if not is_loopback(host):
        if engine.api_key is None:
            raise ConfigurationError(
                f"The sandbox is to listen on {host or 'all addresses'} without an API key.",
                hint="Others on the network could use it: pass api_key=, or listen on 127.0.0.1.",
            )
        warnings.warn(
            f"The sandbox listens on {host or 'all addresses'}: others on the network can reach it",
            stacklevel=3,
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        address = ADDRESS_OF_ALL.get(host, host)
        address = f"[{address}]" if ":" in address else address
        origin = f"http://{address}:{listener.getsockname()[1]}"
        base_url = f"{origin}/v1"
        web = WebServer(engine, listener, host=host, base_url=base_url, deliver_to=deliver_to)
        web.start()
        engine.origin = origin
        try:
            yield SandboxServer(web, base_url=base_url, api_key=api_key)
        finally:
            web.stop()
            engine.origin = ORIGIN
