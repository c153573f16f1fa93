"""A prompt's text as it is written, and everything an agent does as it does it.

export FETCH_HIVE_API_KEY=fhk_...
python examples/streaming.py
"""

from fetch_hive_sdk import FetchHive, ResponseEvent, ToolEvent, UsageEvent


def stream_prompt(client: FetchHive) -> None:
    """Only the text: `stream.text`. `stream.final()` is the same result that `invoke_prompt` returns."""
    with client.invoke_prompt_stream(
        deployment="support-classifier",
        variant="default",
        inputs={"ticket_text": "The export button is disabled."},
    ) as stream:
        for text in stream.text:
            print(text, end="", flush=True)
        result = stream.final()
    print(f"\n[{result.request_id}]")


def stream_agent(client: FetchHive) -> None:
    """Every event: iterate the stream itself. Types that are new to this SDK come as `UnknownEvent`."""
    with client.invoke_agent_stream(agent="AGENT_UUID", message="Summarize this account before renewal.") as stream:
        for event in stream:
            match event:
                case ToolEvent():
                    print(f"[used {event.tool}: {event.observation}]")
                case ResponseEvent():
                    print(event.response, end="", flush=True)
                case UsageEvent():
                    print(f"\n[{event.request_id}, {event.status}]")
                case _:
                    print(f"[{event.type}]")


def main() -> None:
    with FetchHive() as client:
        stream_prompt(client)
        print()
        stream_agent(client)


if __name__ == "__main__":
    from _sandbox import sandbox_without_key

    with sandbox_without_key():
        main()
