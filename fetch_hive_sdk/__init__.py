"""The Python SDK of Fetch Hive: prompts, workflows and agents behind one typed client.

from fetch_hive_sdk import FetchHive

client = FetchHive()  # reads FETCH_HIVE_API_KEY
result = client.invoke_prompt(deployment="greeter", variant="default", inputs={"name": "Ann"})
print(result.response)
"""

from __future__ import annotations

import importlib

from .version import VERSION as __version__

# Type checkers take it for true. It is not imported, because `typing` is most of what this import would cost.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .answers import *
    from .async_connections import *
    from .callbacks import *
    from .client import *
    from .compat import *
    from .connections import *
    from .deliveries import *
    from .delivery_stores import *
    from .errors import *
    from .events import *
    from .operations import *
    from .resources.agents import *
    from .resources.approvals import *
    from .resources.assets import *
    from .resources.base import *
    from .resources.chats import *
    from .resources.error_codes import *
    from .resources.knowledge_bases import *
    from .resources.models import *
    from .resources.requests import *
    from .resources.search_services import *
    from .resources.triggers import *
    from .resources.workflow_runs import *
    from .results import *
    from .retries import *
    from .streams import *

# fmt: off
__all__ = [
    "APIConnectionError", "APIStatusError", "APITimeoutError", "Agent", "AgentAsyncOptions", "AgentCompletedEvent",
    "AgentDelegation", "AgentDelegationEvent", "AgentFailedEvent", "AgentMessage", "AgentReply", "AgentRun",
    "ApprovalBatchItem", "ApprovalCapabilities", "ApprovalPage", "ApprovalRequester", "ApprovalVote",
    "ArtifactEvent", "Asset", "AsyncConnectionPool", "AsyncDeliveries", "AsyncDeliveryStore", "AsyncFetchHive",
    "AsyncStream", "Attachment", "AuthenticationError", "AutoApprovedToolCall", "BadRequestError", "BudgetPolicy",
    "CallbackEvent", "CallbackVerificationError", "CallbackVerifier", "CatalogedErrorCode", "Chat", "ChatMessage",
    "ClientClosedError", "ConcurrencyLimitError", "ConfigurationError", "ConflictError", "ConnectionPool",
    "DailyLimitError", "Deliveries", "DeliveryInProgressError", "DeliveryStore", "DeniedToolCall", "Done",
    "ErrorCatalog", "ErrorEvent", "FetchHive", "FetchHiveError", "GeneratedArtifact", "HTTPResponse",
    "HiveAgentCancelledEvent", "HiveAgentCompletedEvent", "HiveAgentFailedEvent", "HiveAgentRun",
    "HiveAgentSources", "InternalServerError", "InvalidRequestError", "KnowledgeBase", "KnowledgeBaseItem",
    "KnowledgeBaseSearch", "MemoryDeliveryStore", "Metadata", "MetadataValue", "Model", "NotFoundError",
    "PaymentRequiredError", "PendingDelegation", "PendingToolApproval", "PermissionDeniedError", "PromptResult",
    "RateLimitError", "ReasoningEvent", "Regeneration", "RequestRecord", "ResponseEvent", "ResultList",
    "RetryPolicy", "SIGNATURE_HEADER", "SQLiteDeliveryStore", "SearchCountry", "SearchService", "Stream",
    "StreamClosedError", "StreamError", "StreamEvent", "StreamFailedError", "StreamIdleTimeoutError",
    "StreamInterruptedError", "SummaryEvent", "ToolActionApproval", "ToolApproval", "ToolApprovalEvent", "ToolCall",
    "ToolEvent", "Transcription", "UnexpectedResponseError", "UnknownEvent", "UnprocessableEntityError", "Usage",
    "UsageEvent", "WaitTimeoutError", "WorkflowCompleted", "WorkflowCompletedEvent", "WorkflowFailed",
    "WorkflowFailedEvent", "WorkflowQueued", "WorkflowRun", "WorkflowRunRecord", "WorkflowRunning", "__version__",
    "aiter_sse", "iter_sse", "unwrap_callback", "verify_callback",
]
# fmt: on

# The lighter ones first: a name is looked up in this order when it is first used, so that the import itself
# costs nothing and a web handler that only verifies callbacks loads no client.
_MODULES = (
    *("errors", "retries", "answers", "results", "events", "callbacks", "operations", "streams", "client", "compat"),
    *("connections", "async_connections"),
    *(f"resources.{noun}" for noun in ("agents", "approvals", "assets", "base", "chats", "error_codes")),
    *(f"resources.{noun}" for noun in ("knowledge_bases", "models", "requests", "search_services", "triggers")),
    *("resources.workflow_runs", "deliveries", "delivery_stores"),
)
# A client is made without the results, which load while the first answer is awaited; and a web handler that tells
# duplicates loads no client.
_HOME = {
    **dict.fromkeys(("AsyncFetchHive", "FetchHive"), "client"),
    **dict.fromkeys(("AsyncDeliveries", "AsyncDeliveryStore", "Deliveries", "DeliveryStore"), "deliveries"),
    **dict.fromkeys(("MemoryDeliveryStore", "SQLiteDeliveryStore"), "delivery_stores"),
}


def __getattr__(name: str) -> Any:
    if name in _MODULES or name == "resources":
        return importlib.import_module(f".{name}", __name__)
    if name in __all__:
        for module_name in (_HOME[name],) if name in _HOME else _MODULES:
            module = importlib.import_module(f".{module_name}", __name__)
            if name in module.__all__:
                globals()[name] = value = getattr(module, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
