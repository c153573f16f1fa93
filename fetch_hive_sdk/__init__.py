"""The Python SDK of Fetch Hive: prompts, workflows and agents behind one typed client.

from fetch_hive_sdk import FetchHive

client = FetchHive()  # reads FETCH_HIVE_API_KEY
result = client.invoke_prompt(deployment="greeter", variant="default", inputs={"name": "Ann"})
print(result.response)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import VERSION as __version__

if TYPE_CHECKING:
    from .callbacks import *
    from .client import *
    from .errors import *
    from .events import *
    from .operations import *
    from .results import *
    from .retries import *
    from .streams import *

# fmt: off
__all__ = [
    "APIConnectionError", "APIStatusError", "APITimeoutError", "AgentAsyncOptions", "AgentCompletedEvent",
    "AgentDelegation", "AgentDelegationEvent", "AgentFailedEvent", "AgentMessage", "AgentReply", "ArtifactEvent",
    "AsyncFetchHive", "AsyncStream", "Attachment", "AuthenticationError", "AutoApprovedToolCall", "BadRequestError",
    "CallbackEvent", "CallbackVerificationError", "CallbackVerifier", "ClientClosedError", "ConcurrencyLimitError",
    "ConfigurationError", "ConflictError", "DailyLimitError", "DeniedToolCall", "ErrorEvent", "FetchHive",
    "FetchHiveError", "GeneratedArtifact", "HiveAgentCancelledEvent", "HiveAgentCompletedEvent",
    "HiveAgentFailedEvent", "InternalServerError", "InvalidRequestError", "Metadata", "MetadataValue",
    "NotFoundError", "PaymentRequiredError", "PendingDelegation", "PendingToolApproval", "PermissionDeniedError",
    "PromptResult", "RateLimitError", "ReasoningEvent", "ResponseEvent", "RetryPolicy", "SIGNATURE_HEADER",
    "Stream", "StreamClosedError", "StreamError", "StreamEvent", "StreamFailedError", "StreamIdleTimeoutError",
    "StreamInterruptedError", "SummaryEvent", "ToolApproval", "ToolApprovalEvent", "ToolCall", "ToolEvent",
    "UnexpectedResponseError", "UnknownEvent", "UnprocessableEntityError", "Usage", "UsageEvent",
    "WorkflowCompleted", "WorkflowCompletedEvent", "WorkflowFailed", "WorkflowFailedEvent", "WorkflowQueued",
    "WorkflowRun", "WorkflowRunning", "__version__", "unwrap_callback", "verify_callback",
]
# fmt: on

# The lighter ones first: a name is looked up in this order when it is first used, so that the import itself
# costs nothing and a web handler that only verifies callbacks loads no client.
_MODULES = ("errors", "retries", "results", "events", "callbacks", "operations", "streams", "client")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in __all__:
        for module_name in _MODULES:
            module = importlib.import_module(f".{module_name}", __name__)
            if name in module.__all__:
                globals()[name] = value = getattr(module, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
