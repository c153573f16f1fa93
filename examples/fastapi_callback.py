"""Receive signed callbacks of Fetch Hive in FastAPI.

pip install fastapi uvicorn fetch-hive-sdk
export FETCH_HIVE_WEBHOOK_SECRET=...          # "Signing secret" of the deployment
python examples/fastapi_callback.py           # or: uvicorn fastapi_callback:app
"""

import os

from fastapi import FastAPI, Request, Response

from fetch_hive_sdk import (
    AgentCompletedEvent,
    AgentFailedEvent,
    AsyncDeliveries,
    CallbackEvent,
    CallbackVerificationError,
    CallbackVerifier,
    DeliveryInProgressError,
    MemoryDeliveryStore,
    WorkflowCompletedEvent,
    WorkflowFailedEvent,
)

MAX_BODY_SIZE = 16 * 2**20  # what the verifier takes by default

app = FastAPI()
verifier = CallbackVerifier(os.environ["FETCH_HIVE_WEBHOOK_SECRET"])

# A callback may come twice. With more than one process, take SQLiteDeliveryStore("callbacks.sqlite3").
deliveries = AsyncDeliveries(MemoryDeliveryStore())


@app.post("/callback", status_code=204)
async def callback(request: Request) -> Response:
    try:
        # The raw bytes: JSON that was parsed and written again has another signature.
        event = verifier.unwrap(await raw_body(request), request.headers)
    except CallbackVerificationError:
        return Response(status_code=400)

    try:
        async with deliveries.once(event) as first:
            if first:
                handle(event)  # keep it short: the answer should be fast, so give long work to your task queue
    except DeliveryInProgressError:
        return Response(status_code=503)  # so that it is delivered again, should the other request fail
    return Response(status_code=204)


async def raw_body(request: Request) -> bytes:
    """The body; of one that is too long only so much that the verifier refuses it."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_SIZE:
            break
    return bytes(body)


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
    import uvicorn

    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
