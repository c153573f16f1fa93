"""Receive signed callbacks of Fetch Hive in Flask.

pip install flask fetch-hive-sdk
export FETCH_HIVE_WEBHOOK_SECRET=...          # "Signing secret" of the deployment
python examples/flask_callback.py             # or: flask --app flask_callback run
"""

import os

from flask import Flask, request

from fetch_hive_sdk import (
    AgentCompletedEvent,
    AgentFailedEvent,
    CallbackEvent,
    CallbackVerificationError,
    CallbackVerifier,
    Deliveries,
    DeliveryInProgressError,
    MemoryDeliveryStore,
    WorkflowCompletedEvent,
    WorkflowFailedEvent,
)

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 16 * 2**20  # what the verifier takes by default
verifier = CallbackVerifier(os.environ["FETCH_HIVE_WEBHOOK_SECRET"])

# A callback may come twice. With more than one process, take SQLiteDeliveryStore("callbacks.sqlite3").
deliveries = Deliveries(MemoryDeliveryStore())


@app.post("/callback")
def callback() -> tuple[str, int]:
    try:
        # The raw bytes: JSON that was parsed and written again has another signature.
        event = verifier.unwrap(request.get_data(), request.headers)
    except CallbackVerificationError:
        return "", 400

    try:
        with deliveries.once(event) as first:
            if first:
                handle(event)  # keep it short: the answer should be fast, so give long work to your task queue
    except DeliveryInProgressError:
        return "", 503  # so that it is delivered again, should the other request fail
    return "", 204


def handle(event: CallbackEvent) -> None:
    match event:
        case WorkflowCompletedEvent():
            print(f"{event.request_id} completed: {event.output}", flush=True)
        case AgentCompletedEvent():
            print(f"{event.request_id} answered: {event.response}", flush=True)
        case WorkflowFailedEvent() | AgentFailedEvent():
            print(f"{event.request_id} failed: {event.error}", flush=True)
        case _:
            print(f"{event.request_id} sent {event.event_type}: {event.data}", flush=True)


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
