"""A workflow whose result is delivered by callback: started, received, verified.

export FETCH_HIVE_API_KEY=fhk_...
export FETCH_HIVE_CALLBACK_URL=https://your-host.example/callback   # leads to this program's port
PORT=8000 python examples/workflow_callback.py

Fetch Hive posts the result to a public https URL. On a machine without one, let a tunnel forward the URL to
PORT. Without a key this runs against the sandbox, which posts to this machine directly.
"""

import os
import queue
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fetch_hive_sdk import (
    CallbackVerificationError,
    FetchHive,
    WorkflowCompletedEvent,
    WorkflowFailedEvent,
    WorkflowQueued,
    WorkflowRunning,
)

SECONDS_TO_WAIT = 300


class Receiver(ThreadingHTTPServer):
    """Takes in callbacks as they arrive. Your web framework does this in your app: see fastapi_callback.py."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.received: queue.Queue[tuple[bytes, Mapping[str, str]]] = queue.Queue()
        self.url = f"http://127.0.0.1:{self.server_port}/callback"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        super().__exit__(*exception)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        # The signature covers the bytes as they came: keep them, and parse them only after the check.
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.put((body, dict(self.headers)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


def main() -> None:
    public_url = os.environ.get("FETCH_HIVE_CALLBACK_URL")
    if public_url is None and "FETCH_HIVE_BASE_URL" not in os.environ:
        sys.exit("Set FETCH_HIVE_CALLBACK_URL to a public https URL that leads to this program, and PORT to its port.")

    with Receiver(int(os.environ.get("PORT", "0"))) as receiver, FetchHive() as client:
        run = client.invoke_workflow(
            deployment="research-brief",
            variant="default",
            inputs={"topic": "AI infrastructure trends"},
            callback_url=public_url or receiver.url,
        )
        match run:
            case WorkflowRunning() | WorkflowQueued():
                print(f"{run.run_status}: {run.request_id}")
            case _:
                sys.exit(f"Unexpected state {run.run_status!r} of {run.request_id}")

        verifier = run.callback_verifier()
        while True:
            try:
                body, headers = receiver.received.get(timeout=SECONDS_TO_WAIT)
                event = verifier.unwrap(body, headers)
            except queue.Empty:
                sys.exit(f"No callback came within {SECONDS_TO_WAIT} s. Look the run up in the dashboard's logs.")
            except CallbackVerificationError as error:
                print(f"ignored: {error}")  # anybody can post to a public URL
                continue
            if event.request_id == run.request_id:
                break

    print(f"verified: {event.event_type} of {event.request_id}")
    match event:
        case WorkflowCompletedEvent():
            print(event.output)
        case WorkflowFailedEvent():
            sys.exit(event.error)
        case _:
            print(event.data)


if __name__ == "__main__":
    from _sandbox import sandbox_without_key

    with sandbox_without_key():
        main()
