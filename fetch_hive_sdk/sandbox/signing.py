"""Webhook secrets, and callbacks signed with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Literal

from ..callbacks import CallbackVerifier
from .answers import Answer
from .choices import Choices
from .runs import Callback, Run
from .wire import json_bytes

__all__ = ["derive_secret", "sign_workflow_end"]


def derive_secret(seed: bytes, deployment: str) -> str:
    """A deployment's webhook secret: the same one as long as the sandbox lives, and told by no other."""
    return "whsec_" + hmac.new(seed, deployment.encode("utf-8", "backslashreplace"), hashlib.sha256).hexdigest()[:48]


def sign_workflow_end(run: Run, answer: Answer, *, secret: str, choices: Choices) -> Callback:
    """The callback that tells how a workflow ended."""
    if answer.error is None:
        event_type = choices.workflow_completed_event
        data = {"output": answer.text, "run_status": "completed"}
    else:
        event_type = choices.workflow_failed_event
        data = {"error": answer.error, "run_status": "failed"}
    body = json_bytes({"event_type": event_type, "request_id": run.request_id, "data": data})
    return Callback(
        url=run.request["async"]["callback_url"],
        body=body,
        headers={
            "Content-Type": "application/json",
            "X-Fetch-Hive-Signature": _signature(body, secret, choices.signature),
        },
        event_type=event_type,
        request_id=run.request_id,
    )


def _signature(body: bytes, secret: str, form: Literal["hex", "sha256=hex", "base64"]) -> str:
    digest = CallbackVerifier(secret).sign(body)
    if form == "base64":
        return base64.b64encode(bytes.fromhex(digest)).decode()
    return f"sha256={digest}" if form == "sha256=hex" else digest
