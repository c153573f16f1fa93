"""Request ids in the documented layout: `req_` and the 32 hexadecimal digits of a version 7 UUID."""

from __future__ import annotations

import secrets
import time

__all__ = ["new_request_id"]


def new_request_id() -> str:
    """A new id, such as `req_019d52846ea37682b03522fd0695cc43`. Ids sort by the time they were made."""
    milliseconds = time.time_ns() // 1_000_000
    version_7 = 0x7000 | secrets.randbits(12)
    variant_10 = 1 << 63 | secrets.randbits(62)
    return f"req_{milliseconds:012x}{version_7:04x}{variant_10:016x}"
