"""Lets the examples run without an API key: against the sandbox, a Fetch Hive on your own machine.

No model runs in it; the replies are the fixed texts below. It needs `pip install "fetch-hive-sdk[sandbox]"`.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from fetch_hive_sdk.sandbox import Answer, Sandbox


def make_sandbox() -> Sandbox:
    sandbox = Sandbox()
    sandbox.prompt("support-classifier", reply=classify)
    sandbox.workflow(
        "research-brief", reply=lambda inputs: f"A brief on {inputs.get('topic')}: three findings, two risks."
    )
    sandbox.agent(
        "AGENT_UUID",
        reply=Answer(
            "The account renews in 30 days. Usage is up, two tickets are open.",
            tool_calls=[
                {
                    "tool_name": "crm_lookup",
                    "tool_input": {"customer_id": "cus_123"},
                    "observation": {"open_tickets": 2},
                }
            ],
        ),
    )
    return sandbox


def classify(inputs: dict[str, Any]) -> str:
    ticket = str(inputs.get("ticket_text", "")).lower()
    for word, answer in (("invoice", "billing"), ("export", "bug report"), ("password", "account access")):
        if word in ticket:
            return f"This is a ticket about: {answer}."
    return "This is a general question."


@contextmanager
def sandbox_without_key() -> Iterator[None]:
    """Serve the sandbox while the block lasts and point the environment at it, unless there is an API key."""
    if os.environ.get("FETCH_HIVE_API_KEY"):
        yield
        return
    sandbox = make_sandbox()
    with sandbox.serve() as server:
        print("FETCH_HIVE_API_KEY is not set: this runs against the sandbox, in which no model runs.", file=sys.stderr)
        os.environ["FETCH_HIVE_API_KEY"] = server.api_key
        os.environ["FETCH_HIVE_BASE_URL"] = server.base_url
        os.environ["FETCH_HIVE_WORKSPACE_ID"] = sandbox.workspace_id
        reach_directly(server.base_url)
        yield


def reach_directly(base_url: str) -> None:
    """Keep this process from asking a proxy of the environment for the sandbox."""
    os.environ["no_proxy"] = urlsplit(base_url).hostname or ""
