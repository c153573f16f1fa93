"""The module that 0.4.1 had `iter_sse` and `aiter_sse` in."""

from .compat import aiter_sse, iter_sse

__all__ = ["aiter_sse", "iter_sse"]
