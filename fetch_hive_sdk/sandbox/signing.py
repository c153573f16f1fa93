"""Webhook secrets, and callbacks signed with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Literal

from ..callbacks import CallbackVerifier
from .answers import Answer
from .choices import Choices
from .ids import new_uuid
from .replies import final_text
from .runs import Callback, Kind, Run
from .wire import json_bytes

__all__ = ["derive_secret", "ending", "signed_callback"]


def derive_secret(seed: bytes, kind: Kind, name: str) -> str:
    """The webhook secret of a deployment or agent: the same one as long as the seed is kept, and told by no other."""
    told = f"{kind}:{name}".encode("utf-8", "backslashreplace")
    return "whsec_" + hmac.new(seed, told, hashlib.sha256).hexdigest()[:48]


def ending(run: Run, answer: Answer, choices: Choices) -> tuple[str, dict[str, Any]]:
    """Event type and `data` of the callback that tells how a run ended."""
    status = run.status
    if run.kind == "workflow":
        done, failed = choices.workflow_completed_event, choices.workflow_failed_event
        if status == "completed":
            return done, {"output": answer.text, "run_status": status}
        return failed, {"error": answer.error, "run_status": "failed"}
    if run.kind == "agent":
        if status == "completed":
            return "agent.completed", {"response": final_text(run, answer)}
        return "agent.failed", {"error": answer.error}
    told = {"response": answer.text} if status == "completed" else {"error": answer.error}
    return f"{choices.hive_agent_event_prefix}.{status}", {**told, "status": status}


def signed_callback(
    url: str, event_type: str, request_id: str, data: Mapping[str, Any], *, secret: str, choices: Choices
) -> Callback:
    """A callback with its signature, not delivered yet."""
    body = json_bytes({"event_type": event_type, "request_id": request_id, "data": data})
    signature = _signature(body, secret, choices.signature)
    return Callback(
        id=new_uuid(),
        url=url,
        body=body,
        headers={"Content-Type": "application/json", "X-Fetch-Hive-Signature": signature},
        event_type=event_type,
        request_id=request_id,
    )


def _signature(body: bytes, secret: str, form: Literal["hex", "sha256=hex", "base64"]) -> str:
    digest = CallbackVerifier(secret).sign(body)
    if form == "base64":
        return base64.b64encode(bytes.fromhex(digest)).decode()
    return f"sha256={digest}" if form == "sha256=hex" else digest
