"""The four logs: where each is, and a first request for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..runs import Kind

__all__ = ["LOGS", "LOG_OF", "Log"]


@dataclass(frozen=True)
class Log:
    """One of the logs.

    Attributes:
        kind: What ran.
        path: Its address.
        title: Its name.
        one: What one of them is called.
        column: What a run is named after.
        sample: A request to begin with: path and body.
    """

    kind: Kind
    path: str
    title: str
    one: str
    column: str
    sample: tuple[str, Mapping[str, Any]]


LOGS = (
    Log(
        "prompt",
        "/prompts",
        "Prompts",
        "prompt",
        "Deployment",
        (
            "/v1/prompt/invoke",
            {
                "deployment": "support-classifier",
                "variant": "default",
                "inputs": {"ticket_text": "The export button is disabled."},
                "metadata": {"customer_id": "cus_123", "plan": "enterprise"},
            },
        ),
    ),
    Log(
        "workflow",
        "/workflows",
        "Workflows",
        "workflow",
        "Deployment",
        (
            "/v1/workflow/invoke",
            {
                "deployment": "research-brief",
                "variant": "default",
                "inputs": {"topic": "AI infrastructure trends"},
                "metadata": {"customer_id": "cus_123", "source": "daily_digest_job"},
            },
        ),
    ),
    Log(
        "agent",
        "/agents",
        "Agents",
        "agent",
        "Agent",
        (
            "/v1/agent/invoke",
            {
                "agent": "AGENT_UUID",
                "message": "Summarize this account before renewal.",
                "metadata": {"customer_id": "cus_123", "renewal_window_days": 30},
            },
        ),
    ),
    Log(
        "hive_agent",
        "/hive-agents",
        "Hive agents",
        "hive agent",
        "Hive agent",
        (
            "/v1/hive-agent/invoke",
            {
                "hive_agent": "HIVE_AGENT_UUID",
                "objective": "Compare the three largest vendors.",
                "async": {"enabled": True, "callback_url": "http://localhost:3000/callback"},
                "metadata": {"customer_id": "cus_123"},
            },
        ),
    ),
)
LOG_OF = {log.kind: log for log in LOGS}
