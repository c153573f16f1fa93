"""What a reply's body is made of, for each door to send in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Union

__all__ = ["Chunk", "Cut", "Pause"]


@dataclass(frozen=True)
class Pause:
    """Nothing is sent for a while. `seconds` may be infinite: until the client gives up."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """The connection ends here, in the middle of the reply: closed in order, or reset."""

    how: Literal["close", "reset"] = "close"


Chunk = Union[bytes, Pause, Cut]
