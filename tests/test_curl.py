"""The cURL commands of the service's documentation, unchanged but for host and key, against the sandbox's server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fetch_hive_sdk.sandbox import Sandbox

if not shutil.which("curl") or not shutil.which("sh"):
    pytest.skip("THE CURL TESTS DID NOT RUN. They need curl and sh on PATH.", allow_module_level=True)

HOST = "https://api.fetchhive.com"
REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")

# From "Invoke metadata".
PROMPT_INVOKE = r"""
curl 'https://api.fetchhive.com/v1/prompt/invoke' \
  -H 'Authorization: Bearer YOUR_API_KEY' \
  -H 'Content-Type: application/json' \
  --data-raw '{
    "deployment": "support-classifier",
    "variant": "default",
    "inputs": {
      "ticket_text": "The export button is disabled."
    },
    "metadata": {
      "customer_id": "cus_1234",
      "plan": "enterprise",
      "experiment": "support_triage_v2"
    }
  }'
"""
WORKFLOW_INVOKE = r"""
curl 'https://api.fetchhive.com/v1/workflow/invoke' \
  -H 'Authorization: Bearer YOUR_API_KEY' \
  -H 'Content-Type: application/json' \
  --data-raw '{
    "deployment": "research-brief",
    "variant": "default",
    "inputs": {
      "topic": "AI infrastructure trends"
    },
    "metadata": {
      "customer_id": "cus_123",
      "region": "us-east-1",
      "source": "daily_digest_job"
    }
  }'
"""
AGENT_INVOKE = r"""
curl 'https://api.fetchhive.com/v1/agent/invoke' \
  -H 'Authorization: Bearer YOUR_API_KEY' \
  -H 'Content-Type: application/json' \
  --data-raw '{
    "agent": "AGENT_UUID",
    "message": "Summarize this account before renewal.",
    "metadata": {
      "customer_id": "cus_123",
      "plan": "enterprise",
      "renewal_window_days": 30
    }
  }'
"""
# From "Run a workflow with the API".
BASIC_EXAMPLE = r"""
curl 'https://api.fetchhive.com/v1/workflow/invoke' \
  -H 'Authorization: Bearer YOUR_API_KEY' \
  -H 'Content-Type: application/json' \
  -H 'Accept: application/json' \
  --data-raw '{
    "deployment": "YOUR_DEPLOYMENT_NAME",
    "variant": "YOUR_VARIANT_NAME",
    "inputs": {
      "topic": "State of enterprise AI in 2026"
    },
    "metadata": {
      "customer_id": "cus_123",
      "plan": "enterprise"
    }
  }' \
  --compressed
"""
CALLBACK_DELIVERY_EXAMPLE = r"""
curl 'https://api.fetchhive.com/v1/workflow/invoke' \
  -H 'Authorization: Bearer YOUR_API_KEY' \
  -H 'Content-Type: application/json' \
  -H 'Accept: application/json' \
  --data-raw '{
    "deployment": "YOUR_DEPLOYMENT_NAME",
    "variant": "YOUR_VARIANT_NAME",
    "async": {
      "enabled": true,
      "callback_url": "https://example.com/callback"
    },
    "inputs": {
      "topic": "State of enterprise AI in 2026"
    }
  }' \
  --compressed
"""


def run(command: str, sandbox: Sandbox, home: Path) -> Any:
    """What a documented command prints, with the host and the key of a sandbox's server."""
    with sandbox.serve() as server:
        command = command.replace(HOST, server.base_url.removesuffix("/v1")).replace("YOUR_API_KEY", server.api_key)
        ended = subprocess.run(
            ["sh", "-c", command.strip()],
            env={"PATH": str(Path(shutil.which("curl") or "").parent), "HOME": str(home)},  # no .curlrc, no proxy
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        server.wait_for_callbacks()
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_prompt_command(tmp_path: Path) -> None:
    """The documented prompt call gets a response with its model and usage, and its metadata is kept."""
    sandbox = Sandbox(api_key="fhk_private")
    sandbox.prompt("support-classifier", reply="billing")
    reply = run(PROMPT_INVOKE, sandbox, tmp_path)
    [logged] = sandbox.runs
    assert reply.keys() == {"request_id", "response", "model", "usage"}
    assert reply["usage"].keys() == {"duration", "prompt_tokens", "completion_tokens", "total_tokens"}
    assert (REQUEST_ID.fullmatch(reply["request_id"]) is not None, reply["response"]) == (True, "billing")
    assert logged.metadata == {"customer_id": "cus_1234", "plan": "enterprise", "experiment": "support_triage_v2"}


@pytest.mark.parametrize("command", [WORKFLOW_INVOKE, BASIC_EXAMPLE], ids=["metadata", "basic"])
def test_the_workflow_commands(command: str, tmp_path: Path) -> None:
    """The documented direct workflow calls wait for the output, and get the documented keys and no others."""
    sandbox = Sandbox()
    reply = run(command, sandbox, tmp_path)
    [logged] = sandbox.runs
    assert reply.keys() == {"request_id", "run_status", "output"}
    assert (reply["request_id"], reply["run_status"]) == (logged.request_id, "completed")
    assert str(logged.inputs["topic"]) in reply["output"]
    assert logged.metadata["customer_id"] == "cus_123"


def test_the_callback_delivery_command(tmp_path: Path) -> None:
    """The documented call with callback delivery returns at once with a secret; example.com is not contacted."""
    sandbox = Sandbox()
    reply = run(CALLBACK_DELIVERY_EXAMPLE, sandbox, tmp_path)
    [callback] = sandbox.callbacks
    assert reply.keys() == {"request_id", "run_status", "webhook_secret"}
    assert (reply["run_status"], callback.request_id) == ("running", reply["request_id"])
    assert (callback.url, [attempt.withheld for attempt in callback.attempts]) == (
        "https://example.com/callback",
        [True],
    )


def test_the_agent_command(tmp_path: Path) -> None:
    """The documented agent call gets the agent's response, and its metadata keeps its types."""
    sandbox = Sandbox()
    sandbox.agent("AGENT_UUID", reply="It renews in 30 days.")
    reply = run(AGENT_INVOKE, sandbox, tmp_path)
    [logged] = sandbox.runs
    assert {"request_id", "run_id", "response", "thread_id", "status", "model", "usage", "tool_calls"} <= reply.keys()
    assert (reply["response"], reply["status"], reply["thread_id"]) == ("It renews in 30 days.", "completed", None)
    assert logged.metadata == {"customer_id": "cus_123", "plan": "enterprise", "renewal_window_days": 30}


def test_the_documented_error(tmp_path: Path) -> None:
    """Without its variant the documented command gets the documented error."""
    sandbox = Sandbox()
    reply = run(BASIC_EXAMPLE.replace('    "variant": "YOUR_VARIANT_NAME",\n', ""), sandbox, tmp_path)
    assert reply["error"] == "Missing required field: deployment or variant"
    assert sandbox.runs == []
