"""A callback: its signature verified, and its body read into an event. 2 KB and 1 MB.

    python benchmarks/callbacks.py [--quick] [--json] [--only NAME]…

The bare way is `hmac.digest` and `json.loads`, which gives a dict; stripe, openai and this SDK give objects. Each signs
as its own service does.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from harness import OURS, Options, Sample, Table, clock, per_unit, take_turns, tell

from fetch_hive_sdk import CallbackVerifier

BARE = "hmac + json.loads"
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes len").decode()
REQUEST_ID = "req_019d52846ea37682b03522fd0695cc43"


def body_of(size: int) -> dict[str, Any]:
    """A workflow's end with an output of about so many bytes, in sentences and numbers."""
    finding = {
        "title": "Exports wait for each other.",
        "detail": "The button is disabled meanwhile. " * 6,
        "score": 0.87,
    }
    output: dict[str, Any] = {"findings": [finding] * max(1, (size - 350) // (len(json.dumps(finding)) + 1))}
    usage = {"total_tokens": 33, "prompt_tokens": 24, "completion_tokens": 9}
    data = {"run_status": "completed", "output": output, "usage": usage, "duration": 12.5}
    return {"event_type": "workflow.completed", "request_id": REQUEST_ID, "data": data}


def candidates(options: Options, size: int) -> dict[str, Callable[[], bool]]:
    """By candidate: verify and read one callback, and say whether the right one came out."""
    event = body_of(size)
    body = json.dumps(event, separators=(",", ":")).encode()
    key = SECRET.encode()
    digest = hmac.new(key, body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Fetch-Hive-Signature": digest}
    verifier = CallbackVerifier(SECRET)

    def bare() -> bool:
        assert hmac.compare_digest(hmac.digest(key, body, "sha256").hex(), headers["X-Fetch-Hive-Signature"])
        return json.loads(body)["request_id"] == REQUEST_ID

    found = {OURS: lambda: verifier.unwrap(body, headers).request_id == REQUEST_ID, BARE: bare}
    if (standardwebhooks := options.peer("standardwebhooks")) is not None:
        webhook = standardwebhooks.Webhook(SECRET)
        now = datetime.datetime.now(tz=datetime.timezone.utc)
        signed = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": webhook.sign("msg_1", now, body.decode()),
        }
        found["standardwebhooks"] = lambda: webhook.verify(body, signed)["request_id"] == REQUEST_ID
        if (openai := options.peer("openai")) is not None:
            envelope = {"id": REQUEST_ID, "object": "event", "created_at": 1, "type": "response.completed"}
            openai_body = json.dumps({**envelope, "data": {"id": "resp_1", **event["data"]}}, separators=(",", ":"))
            openai_headers = {**signed, "webhook-signature": webhook.sign("msg_1", now, openai_body)}
            unwrap = openai.OpenAI(api_key="x").webhooks.unwrap
            found["openai"] = lambda: unwrap(openai_body, openai_headers, secret=SECRET).id == REQUEST_ID
    if (stripe := options.peer("stripe")) is not None:
        stripe_event = {
            "id": REQUEST_ID,
            "object": "event",
            "type": "charge.succeeded",
            "data": {"object": event["data"]},
        }
        stripe_body = json.dumps(stripe_event, separators=(",", ":"))
        moment = int(time.time())
        mac = hmac.new(key, f"{moment}.{stripe_body}".encode(), hashlib.sha256).hexdigest()
        construct = stripe.Webhook.construct_event
        stripe_header = f"t={moment},v1={mac}"
        found["stripe"] = lambda: construct(stripe_body, stripe_header, SECRET, 3600).id == REQUEST_ID
    return found


def block(call: Callable[[], bool], count: int) -> Sample:
    """Read so many."""
    began = clock()
    for _ in range(count):
        if not call():
            raise AssertionError("another event came out")
    return per_unit(began, count)


def samples(found: dict[str, Callable[[], bool]], seconds: float, rounds: int) -> dict[str, list[Sample]]:
    """Take turns in blocks that last about so long for each candidate."""
    counts: dict[str, int] = {}
    for name, call in found.items():
        call()
        counts[name] = max(1, int(seconds / (block(call, 3)["wall_us"] / 1e6)))
    return take_turns({name: partial(block, call, counts[name]) for name, call in found.items()}, rounds)


def main() -> None:
    options = Options.read(__doc__)
    pick = options.effort.pick
    tables: dict[str, Table] = {}
    for name, size in (("2 KB", 2_000), ("1 MB", 1_000_000)):
        taken = samples(candidates(options, size), pick(0.05, 0.02, 0.0), pick(21, 5, 1))
        tables[name] = Table(f"A callback of {name}", BARE, ("cpu_us", "wall_us", "per_second"), taken)
    tell(options, tables)


if __name__ == "__main__":
    main()
