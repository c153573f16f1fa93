"""Your own audit fields on every run, to filter the logs by in the dashboard ("User metadata").

export FETCH_HIVE_API_KEY=fhk_...
python examples/metadata.py

Metadata is flat: str, int, float, bool or None. It is not an input; the run does not see it. Send no secrets,
no personal data and nothing large.
"""

from fetch_hive_sdk import FetchHive, InvalidRequestError


def main() -> None:
    # Sent with every call of this client ...
    with FetchHive(default_metadata={"service": "helpdesk", "region": "us-east-1"}) as client:
        # ... together with what a call adds; the call's own value wins where both name a key.
        result = client.invoke_prompt(
            deployment="support-classifier",
            variant="default",
            inputs={"ticket_text": "The export button is disabled."},
            metadata={"customer_id": "cus_123", "plan": "enterprise", "beta_user": True},
        )
        print(f"prompt {result.request_id}: {result.response}")

        # A copy for one tenant, on the same connections.
        tenant = client.with_options(default_metadata={"customer_id": "cus_123"})
        run = tenant.invoke_workflow(
            deployment="research-brief",
            variant="default",
            inputs={"topic": "AI infrastructure trends"},
            metadata={"source": "daily_digest_job"},
        )
        print(f"workflow {run.request_id}: {run.output}")

        reply = tenant.invoke_agent(
            agent="AGENT_UUID",
            message="Summarize this account before renewal.",
            metadata={"renewal_window_days": 30},
        )
        print(f"agent {reply.request_id}: {reply.response}")

        # What is not flat is refused before anything is sent.
        try:
            tenant.invoke_agent(agent="AGENT_UUID", message="Hello", metadata={"tags": ["a", "b"]})
        except InvalidRequestError as error:
            print(f"refused: {error}")


if __name__ == "__main__":
    from _sandbox import sandbox_without_key

    with sandbox_without_key():
        main()
