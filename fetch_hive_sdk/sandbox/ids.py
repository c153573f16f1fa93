"""Ids in the documented layouts: UUIDs of version 7, and for runs `req_` and a UUID's 32 hexadecimal digits."""

from __future__ import annotations

import secrets
import time

__all__ = ["WORKSPACE_ID", "new_request_id", "new_uuid", "request_id_of_uuid", "uuid_of_request_id"]

WORKSPACE_ID = "00000000-0000-7000-8000-000000000001"


def new_request_id() -> str:
    """A new id, such as `req_019d52846ea37682b03522fd0695cc43`. Ids sort by the time they were made."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    version_7 = 0x7000 | random >> 62
    variant_10 = 1 << 63 | random & (1 << 62) - 1
    return f"req_{milliseconds:012x}{version_7:04x}{variant_10:016x}"


def new_uuid() -> str:
    """A new UUID of version 7 with dashes, as the service's other ids."""
    return uuid_of_request_id(new_request_id())


def uuid_of_request_id(request_id: str) -> str:
    """The UUID a request id is made of. A request id of another form is given back as it is."""
    digits = request_id.removeprefix("req_")
    if len(digits) != 32:
        return request_id
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def request_id_of_uuid(text: str) -> str:
    """The request id that a UUID, or a request id itself, stands for."""
    return text if text.startswith("req_") else f"req_{text.replace('-', '').lower()}"
