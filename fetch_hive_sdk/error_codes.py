"""The service's error codes: which status each comes with, what it says and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BY_CODE", "ERROR_CODES", "ErrorCode"]


@dataclass(frozen=True)
class ErrorCode:
    """One code of the service.

    Attributes:
        code: The stable `error_code`.
        status: HTTP status it comes with.
        message: What the service says. `%{name}` stands for something of the call, such as the model. Most are
            our own words: the service translates them, and documents few.
        client_action: What to do next.
        category: As the service's catalog has it; `runtime` is the only one known.
    """

    code: str
    status: int
    message: str
    client_action: str
    category: str = "runtime"


ERROR_CODES = (
    ErrorCode(
        "model_deprecated",
        422,
        'The selected model "%{model}" is no longer available.',
        "The model is no longer available: choose an active model.",
    ),
    ErrorCode(
        "personal_model_missing_credentials",
        422,
        "The credentials of the model's provider are not connected.",
        "Connect the provider's credentials in the dashboard.",
    ),
    ErrorCode(
        "personal_model_invalid_credentials",
        422,
        "The model's provider rejected the credentials.",
        "The provider rejected its credentials: renew them in the dashboard.",
    ),
    ErrorCode(
        "insufficient_hosted_llm_credits",
        402,
        "You do not have enough hosted LLM credits.",
        "Add hosted LLM credits, or use a model with your own credentials.",
    ),
    ErrorCode(
        "account_credit_cap_reached",
        422,
        "You've reached your credit cap.",
        "The account's credit cap is reached: raise it, or wait for its reset.",
    ),
    ErrorCode(
        "asset_storage_limit_reached",
        402,
        "The workspace's asset storage is full.",
        "The workspace's asset storage is full: delete assets or upgrade.",
    ),
    ErrorCode(
        "vision_not_supported",
        422,
        'The selected model "%{model}" does not accept images.',
        "This model takes no images: choose a vision model or send none.",
    ),
    ErrorCode(
        "workflow_step_limit_reached",
        402,
        "The plan's limit of workflow steps is reached.",
        "The plan's limit of workflow steps is reached: upgrade or shorten it.",
    ),
    ErrorCode(
        "workspace_limit_reached",
        402,
        "The plan's limit of workspaces is reached.",
        "The plan's limit of workspaces is reached.",
    ),
    ErrorCode(
        "api_rate_limit_exceeded",
        429,
        "You have reached your daily limit of %{limit} API calls. Resets at midnight UTC. "
        "Upgrade your plan for higher limits.",
        "Wait until midnight UTC, when the count starts anew, or upgrade.",
    ),
    ErrorCode(
        "log_range_limit_exceeded",
        402,
        "The plan does not reach as far back as the requested range.",
        "The plan does not reach that far back: ask for a shorter range.",
    ),
    ErrorCode(
        "iteration_limit_exceeded",
        422,
        "A loop of the workflow ran over its limit.",
        "A loop of the workflow ran over its limit: raise it or shorten the list.",
    ),
    ErrorCode(
        "internal_server_error",
        500,
        "An unexpected error occurred.",
        "The service failed unexpectedly: try again later.",
    ),
    ErrorCode(
        "too_many_requests",
        429,
        "Too many requests. Try again later.",
        "Too many requests at the moment: wait, then try again.",
    ),
    ErrorCode(
        "validation_error",
        400,
        "The request is not valid.",
        "The request is not valid: correct the field that the text names.",
    ),
    ErrorCode(
        "invalid_tool_approval",
        400,
        "tool_approval must be policy or auto_approve",
        'tool_approval is "policy" or "auto_approve".',
    ),
    ErrorCode(
        "tool_approval_override_not_permitted",
        403,
        "This API key may not auto-approve tool actions.",
        "This key may not auto-approve actions: allow it in the dashboard, or leave tool_approval out.",
    ),
    ErrorCode(
        "tool_approval_mode_requires_dashboard",
        422,
        "tool_approval_mode can only be changed in the dashboard.",
        "Change the agent's approval mode in the dashboard, and leave tool_approval_mode out.",
    ),
)
BY_CODE = {entry.code: entry for entry in ERROR_CODES}
