"""The run log in the browser, and the sandbox's control by HTTP. Needs the extra `fetch-hive-sdk[sandbox]`.

app = HostCheck(Starlette(routes=[*routes(engine, base_url=base_url), …]), host=host)
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from ..engine import Engine
from .control import Control
from .pages import Pages
from .security import HostCheck

__all__ = ["HostCheck", "routes"]


def routes(engine: Engine, *, base_url: str) -> list[BaseRoute]:
    """The pages, and the control API under `/sandbox/`. What lies under `/v1/` is not theirs.

    Args:
        engine: What they show and control.
        base_url: Where the API answers, ending in `/v1`.
    """
    return [*Pages(engine, base_url=base_url).routes(), *Control(engine).routes()]
