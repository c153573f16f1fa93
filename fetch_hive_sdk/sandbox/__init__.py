"""Fetch Hive on your own machine: the service's HTTP contract, with replies you write yourself.

No model runs in it. A reply is a text or a function you register, or else a plain echo of what was sent; token
counts are counted words. What it is good for is the contract: requests are refused as the service
refuses them, replies, streams, callbacks and signatures have the documented form. Where the documentation
leaves something open, `Choices` names what the sandbox does and lets you switch it.

One engine, two doors: `SandboxTransport` answers an httpx client inside a test, with no socket and no thread;
`Sandbox.serve()` is a real local server.
"""

from .answers import Answer
from .choices import Choices
from .runs import Callback, CallbackAttempt, Run
from .sandbox import Sandbox
from .server import SandboxServer
from .transport import SandboxTransport

__all__ = [
    "Answer",
    "Callback",
    "CallbackAttempt",
    "Choices",
    "Run",
    "Sandbox",
    "SandboxServer",
    "SandboxTransport",
]
