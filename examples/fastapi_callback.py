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
    CallbackEvent,
    CallbackVerificationError,
    CallbackVerifier,
    WorkflowCompletedEvent,
    WorkflowFailedEvent,
)

app = FastAPI()
verifier = CallbackVerifier(os.environ["FETCH_HIVE_WEBHOOK_SECRET"])

# A callback may come twice. With more than one process, use a table with a unique key instead of this set.
handled: set[tuple[str, str]] = set()


@app.post("/callback", status_code=204)
async def callback(request: Request) -> Response:
    try:
        # The raw bytes: JSON that was parsed and written again has another signature.
        event = verifier.unwrap(await request.body(), request.headers)
    except CallbackVerificationError:
        return Response(status_code=400)

    key = (event.request_id, event.event_type)
    if key not in handled:
        handle(event)  # keep it short: the answer should be fast, so give long work to your task queue
        handled.add(key)
    return Response(status_code=204)


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
