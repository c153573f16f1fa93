"""Which errors a call can end with, and what to do about each.

export FETCH_HIVE_API_KEY=fhk_...
python examples/error_handling.py
"""

from typing import Any

from fetch_hive_sdk import (
    APIConnectionError,
    APIStatusError,
    ConfigurationError,
    DailyLimitError,
    FetchHive,
    InvalidRequestError,
    UnexpectedResponseError,
)


def classify(client: FetchHive, **arguments: Any) -> str | None:
    """The answer, or None after saying why there is none."""
    try:
        return client.invoke_prompt(deployment="support-classifier", **arguments).response
    except InvalidRequestError as error:
        # A mistake in our code. Nothing was sent, nothing was billed.
        print(f"  wrong argument: {error}")
    except DailyLimitError as error:
        # The plan's daily number of calls is used up. Trying again within the day does not help.
        print(f"  no more calls until {error.resets_at:%Y-%m-%d %H:%M} UTC")
    except APIStatusError as error:
        # The service answered, and refused. The codes are stable; the texts may be in another language.
        print(f"  status {error.status_code}, code {error.error_code}: {error}")
    except (APIConnectionError, UnexpectedResponseError) as error:
        # No answer came, or none that can be read. What is safe to repeat has been repeated already.
        if error.may_have_run:
            print(f"  look in the logs before you try again: {error}")
        else:
            print(f"  try again later: {error}")
    return None


def main() -> None:
    ticket = {"ticket_text": "The export button is disabled."}
    with FetchHive() as client:
        print("A call that works:")
        print(f"  {classify(client, variant='default', inputs=ticket)}")

        print("Metadata that is not flat:")
        classify(client, variant="default", inputs=ticket, metadata={"customer": {"id": "cus_123"}})

        print("No variant:")
        classify(client, inputs=ticket)

    print("Nobody there:")
    with FetchHive(base_url="http://127.0.0.1:9/v1", max_retries=1) as client:
        classify(client, variant="default", inputs=ticket)

    print("No key:")
    try:
        FetchHive(api_key="")
    except ConfigurationError as error:
        print(f"  {error}")


if __name__ == "__main__":
    from _sandbox import sandbox_without_key

    with sandbox_without_key():
        main()
