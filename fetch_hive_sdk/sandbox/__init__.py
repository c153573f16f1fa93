"""Fetch Hive on your own machine: the service's HTTP contract, with replies you write yourself.

No model runs in it. A reply is a text or a function you register, or else a plain echo of what was sent; token
counts are counted words. What it is good for is the contract: requests are refused as the service
refuses them, replies, streams, callbacks and signatures have the documented form. Where the documentation
leaves something open, `Choices` names what the sandbox does and lets you switch it.

One engine, three doors: `SandboxTransport` answers an httpx client inside a test, with no socket and no thread; the
pytest fixture `fetch_hive_sandbox` is a sandbox of that kind; `Sandbox.serve()`, or `fetch-hive sandbox` in a
terminal, is a real local server with a run log for the browser.
"""

from .answers import Answer, BackgroundWorkflow, ToolCall
from .choices import Choices
from .deployments import Deployment, HumanInTheLoop
from .faults import Fault
from .runs import (
    Approval,
    Callback,
    CallbackAttempt,
    Delegation,
    HttpRequest,
    HumanStep,
    Moment,
    Reply,
    Run,
)
from .sandbox import Sandbox
from .server import SandboxServer
from .transport import SandboxTransport

__all__ = [
    "Answer",
    "Approval",
    "BackgroundWorkflow",
    "Callback",
    "CallbackAttempt",
    "Choices",
    "Delegation",
    "Deployment",
    "Fault",
    "HttpRequest",
    "HumanInTheLoop",
    "HumanStep",
    "Moment",
    "Reply",
    "Run",
    "Sandbox",
    "SandboxServer",
    "SandboxTransport",
    "ToolCall",
]
