"""One prompt and its answer.

export FETCH_HIVE_API_KEY=fhk_...
python examples/quickstart.py

The names of deployment, variant and inputs are those of your own prompt deployment in the dashboard.
"""

from fetch_hive_sdk import FetchHive


def main() -> None:
    with FetchHive() as client:
        result = client.invoke_prompt(
            deployment="support-classifier",
            variant="default",
            inputs={"ticket_text": "The export button is disabled."},
        )

    print(result.response)
    print(f"request id: {result.request_id}")
    if result.usage:
        print(f"tokens: {result.usage.total_tokens}")


if __name__ == "__main__":
    from _sandbox import sandbox_without_key

    with sandbox_without_key():
        main()
