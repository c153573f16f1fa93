"""What the sandbox does where the service's documentation is silent or contradicts itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

__all__ = ["DEFAULT_CHOICES", "Choices"]

Status = Annotated[int, Field(ge=100, le=599)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Choices:
    """How the sandbox fills the gaps of the service's documentation. Every field has a default.

    Attributes:
        signature: Form of `X-Fetch-Hive-Signature`, the HMAC-SHA256 of a callback's exact body. The
            documentation names header and algorithm, not the form. Default `"hex"`, in lower case.
        validation_status: Status of a refused request. Default 400.
        error_only: True sends error bodies with the key `error` alone, as some documented examples show them.
            Default False: `error`, `message` and, where there is one, `error_code`.
        callback_status: Status of the reply `run_status: "running"`. Default 202.
        failed_workflow: How a failed direct workflow answers. `"error"`, the default, is an error object;
            `"state"` is 200 with `run_status: "failed"` and `error`.
        failed_workflow_status: Status of that error object. Default 422.
        done_after_error: True ends a stream with `[DONE]` even after its `error` event. Default False: the
            `error` event is the last thing sent.
        http_callbacks: Which `http://` callback URLs are accepted. `"local"`, the default: loopback and
            private addresses, and names without a dot; `"any"`; `"never"`. `https://` is always accepted.
        workflow_completed_event: `event_type` of a completed workflow's callback. Default
            `workflow.completed`.
        workflow_failed_event: `event_type` of a failed workflow's callback. Default `workflow.failed`.
        callback_retry_delays: Seconds to wait before each further attempt to deliver a callback that was not
            answered with 2xx. Default `(1.0, 5.0)`: three attempts in all. Only the server delivers.
        callback_timeout: Seconds one attempt may take as a whole. Default 10.

    Raises:
        pydantic.ValidationError: (a ValueError) A value is none of those its field allows.
    """

    signature: Literal["hex", "sha256=hex", "base64"] = "hex"
    validation_status: Status = 400
    error_only: bool = False
    callback_status: Status = 202
    failed_workflow: Literal["error", "state"] = "error"
    failed_workflow_status: Status = 422
    done_after_error: bool = False
    http_callbacks: Literal["local", "any", "never"] = "local"
    workflow_completed_event: str = "workflow.completed"
    workflow_failed_event: str = "workflow.failed"
    callback_retry_delays: tuple[Seconds, ...] = (1.0, 5.0)
    callback_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0


DEFAULT_CHOICES = Choices()
