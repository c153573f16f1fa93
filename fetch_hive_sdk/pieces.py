"""How many pieces of a chunked body have come already, so that they can be taken together and without a wait.

httpx hands a body over chunk by chunk, though one read of a socket often brings many. An event is as soon with the
caller if those that came with it are read at once, and costs half of what it does alone.
"""

from __future__ import annotations

import re

__all__ = ["pieces_at_hand"]

# What stands between two chunks of HTTP/1.1 (RFC 9112, section 7.1), if some of the second one follows it. It is
# stricter than that text, for what does not look like this is only read later.
_BETWEEN = re.compile(rb"\r\n(0*[1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n(?=.)", re.DOTALL)

# The most that is left from the read before, in front of a chunk.
_LONGEST_HEAD = 32


def pieces_at_hand(read: bytes, piece: bytes) -> int:
    """How many more pieces of a body can surely be taken without waiting for the network.

    Args:
        read: What was last read off the connection.
        piece: The piece of the body that was just taken, the first since then.
    """
    start = read.find(piece, 0, len(piece) + _LONGEST_HEAD)
    if start < 0:
        return 0
    count, position = 0, start + len(piece)
    while (head := _BETWEEN.match(read, position)) is not None:
        count += 1
        position = head.end() + int(head[1], 16)
    return count
