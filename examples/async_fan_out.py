"""Many prompts at once, a few at a time: answers in order, and one failure does not lose the others.

export FETCH_HIVE_API_KEY=fhk_...
python examples/async_fan_out.py
"""

import asyncio
from collections.abc import Sequence

from fetch_hive_sdk import AsyncFetchHive, FetchHiveError, PromptResult

TICKETS = [
    "The export button is disabled.",
    "My invoice shows the wrong address.",
    b"\xff\xfe from an old mail system",  # bytes: this one cannot be sent, and fails alone
    "I forgot my password.",
    "Do you have an office in Lisbon?",
]


async def classify_all(
    client: AsyncFetchHive, tickets: Sequence[object], *, at_once: int = 10
) -> list[PromptResult | FetchHiveError]:
    """The result of each ticket, or the error it ended with, in the order of the tickets."""
    places = asyncio.Semaphore(at_once)

    async def classify(ticket: object) -> PromptResult | FetchHiveError:
        async with places:
            try:
                return await client.invoke_prompt(
                    deployment="support-classifier", variant="default", inputs={"ticket_text": ticket}
                )
            except FetchHiveError as error:
                return error

    return await asyncio.gather(*(classify(ticket) for ticket in tickets))


async def main() -> None:
    async with AsyncFetchHive() as client:
        outcomes = await classify_all(client, TICKETS)

    for ticket, outcome in zip(TICKETS, outcomes, strict=True):
        if isinstance(outcome, FetchHiveError):
            print(f"{ticket!r}: {type(outcome).__name__}: {outcome}")
        else:
            print(f"{ticket!r}: {outcome.response}")


if __name__ == "__main__":
    from _sandbox import sandbox_without_key

    with sandbox_without_key():
        asyncio.run(main())
