"""Fuzzes one property with atheris, which looks for inputs that reach code no input has reached before.

    python -m trust.fuzz_coverage callback -max_total_time=60

What follows the property's name is for libFuzzer. `python -m trust.fuzz --atheris 60` runs it for all.
"""

from __future__ import annotations

import sys
from random import Random

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

with atheris.instrument_imports(include=["fetch_hive_sdk"]):
    from .fuzz_properties import BY_NAME


class Choices(Random):
    """Makes every choice from bytes, which the fuzzer changes one by one; the first choice where they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._used = 0
        super().__init__(0)

    def getrandbits(self, count: int, /) -> int:
        size = (count + 7) // 8
        piece = self._data[self._used : self._used + size]
        self._used += size
        return int.from_bytes(piece, "big") & ((1 << count) - 1)

    def random(self) -> float:
        return self.getrandbits(16) / (1 << 16)


def fuzz(arguments: list[str]) -> None:
    """Run until libFuzzer's limits are reached, or a case fails: then it ends with another code than 0."""
    tested = BY_NAME[arguments[0]]

    def test_one_input(data: bytes) -> None:
        tested.check(tested.make(Choices(data)))

    atheris.Setup([sys.argv[0], *arguments[1:]], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz(sys.argv[1:])
