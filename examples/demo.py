"""What `make demo` runs: every kind of call, over a real socket, against the sandbox on this machine."""

import sys

from _sandbox import make_sandbox, reach_directly
from workflow_callback import Receiver

from fetch_hive_sdk import CallbackVerificationError, FetchHive, WorkflowCompleted, WorkflowCompletedEvent

TICKET = {"ticket_text": "The export button is disabled."}
TOPIC = {"topic": "AI infrastructure trends"}


def prompt(client: FetchHive) -> None:
    result = client.invoke_prompt(deployment="support-classifier", variant="default", inputs=TICKET)
    show("answer", result.response)
    show("request id", result.request_id)
    if result.usage:
        show("tokens", result.usage.total_tokens)


def streamed_prompt(client: FetchHive) -> None:
    with client.invoke_prompt_stream(deployment="support-classifier", variant="default", inputs=TICKET) as stream:
        print(f"   {'text':<13}", end="")
        pieces = 0
        for text in stream.text:
            print(text, end="", flush=True)
            pieces += 1
        print()
        result = stream.final()
    show("pieces", pieces)
    show("request id", result.request_id)


def direct_workflow(client: FetchHive) -> None:
    run = client.invoke_workflow(deployment="research-brief", variant="default", inputs=TOPIC)
    if not isinstance(run, WorkflowCompleted):
        sys.exit(f"The workflow ended as {run!r}")
    show("output", run.output)
    show("run_status", run.run_status)
    show("request id", run.request_id)


def workflow_with_callback(client: FetchHive) -> None:
    with Receiver() as receiver:
        run = client.invoke_workflow(
            deployment="research-brief", variant="default", inputs=TOPIC, callback_url=receiver.url
        )
        show("run_status", run.run_status)
        show("request id", run.request_id)
        body, headers = receiver.received.get(timeout=30)
    show("received", f"{len(body)} bytes at {receiver.url}")

    verifier = run.callback_verifier()
    event = verifier.unwrap(body, headers)
    if not isinstance(event, WorkflowCompletedEvent) or event.request_id != run.request_id:
        sys.exit(f"The callback is {event!r}")
    show("verified", f"{event.event_type} of {event.request_id}")
    show("output", event.output)
    try:
        verifier.unwrap(body.replace(b"findings", b"forgeries"), headers)
    except CallbackVerificationError as error:
        show("forged copy", f"refused: {error.message}")
    else:
        sys.exit("A forged callback was accepted")


def agent(client: FetchHive) -> None:
    reply = client.invoke_agent(agent="AGENT_UUID", message="Summarize this account before renewal.")
    for call in reply.tool_calls:
        show("tool", f"{call.tool_name} {call.tool_input}")
    show("reply", reply.response)
    show("status", reply.status)
    show("request id", reply.request_id)


def show(name: str, value: object) -> None:
    print(f"   {name:<13}{value}")


def main() -> None:
    with make_sandbox().serve() as server:
        reach_directly(server.base_url)
        print(f"The sandbox answers at {server.base_url}. No model runs in it: its replies are fixed texts.")
        with FetchHive(api_key=server.api_key, base_url=server.base_url) as client:
            calls = (prompt, streamed_prompt, direct_workflow, workflow_with_callback, agent)
            for number, call in enumerate(calls, 1):
                print(f"\n{number}. {call.__name__.replace('_', ' ').capitalize()}")
                call(client)
    print(f"\nAll {len(calls)} calls went through. With a key of your own: examples/quickstart.py")


if __name__ == "__main__":
    main()
