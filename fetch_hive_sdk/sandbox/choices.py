"""What the sandbox does where the service's documentation is silent or contradicts itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

__all__ = ["DEFAULT_CHOICES", "Choices"]


def _has_body(status: int) -> int:
    if status in (204, 205, 304):
        raise ValueError("a reply of this status has no body")
    return status


Status = Annotated[int, Field(ge=200, le=599), AfterValidator(_has_body)]
Key = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Choices:
    """How the sandbox fills the gaps of the service's documentation. Every field has a default.

    Attributes:
        signature: Form of `X-Fetch-Hive-Signature`, the HMAC-SHA256 of a callback's exact body. The
            documentation names header and algorithm, not the form. Default `"hex"`, in lower case.
        validation_status: Status of a refused request. Default 400.
        max_body: Bytes of the largest request body that is read; a larger one is refused with 413. Default
            32 MiB.
        error_only: True sends error bodies with the key `error` alone, as some documented examples show them.
            Default False: `error`, `message` and, where there is one, `error_code`.
        callback_status: Status of a workflow's reply `run_status: "running"` or `"queued"`. Default 202.
        failed_workflow: How a failed direct workflow answers. `"error"`, the default, is an error object;
            `"state"` is 200 with `run_status: "failed"` and `error`.
        failed_workflow_status: Status of that error object. Default 422.
        done_after_error: True ends a stream with `[DONE]` even after its `error` event. Default False: the
            `error` event is the last thing sent.
        http_callbacks: Which `http://` callback URLs are accepted. `"local"`, the default: loopback and
            private addresses, and names without a dot; `"any"`; `"never"`. `https://` is always accepted.
        retry_after: Seconds in the `Retry-After` header of a 429 for concurrency. Default None: no such header.
        unknown_status: Status for a deployment or agent that a strict sandbox does not know. Default 404.
        missing_inputs: What becomes of a request without an input that the Start step declares: `"accept"`,
            the default, or `"refuse"`.
        webhook_body: What a webhook trigger makes of a body without `inputs`. `"inputs"`, the default: all of
            it but `async`, `metadata` and `user` is the workflow's inputs; `"refuse"`.
        trigger_secret_status: Status for a webhook trigger with a wrong secret or none. Default 401.
        trigger_tells_secret: True puts `webhook_secret` into the replies to webhook triggers. Default False.
        paused_status: `status` of a look-up while a run waits for a human's choice. Default `"paused"`.
        paused_run_holds_place: True counts such a run for the plan's concurrency. Default False.
        approval_callback: True tells the end of an agent's run that had waited for an approval to the
            `async.callback_url` of its request, as `agent.completed` or `agent.failed`. Default False: only
            look-ups tell it.
        daily_limit_counts: Which requests count for the daily limit: `"invokes"`, the default, or `"all"`
            that carry a key.
        daily_limit_code_key: Where the body of the daily limit has its code: `"code"`, the default, as the
            documentation shows it, or `"error_code"`.
        hive_agent_event_prefix: `event_type` of a hive agent's callback, before `.completed`, `.failed` or
            `.cancelled`. Default `hive_agent`.
        workflow_completed_event: `event_type` of a completed workflow's callback. Default
            `workflow.completed`.
        workflow_failed_event: `event_type` of a failed workflow's callback. Default `workflow.failed`.
        callback_retry_delays: Seconds to wait before each further attempt to deliver a callback that was not
            answered with 2xx. Default `(1.0, 5.0)`: three attempts in all. Only the server delivers.
        callback_copies: How often each callback is delivered, one after the other. Default 1; more shows
            whether your receiver takes duplicates.
        callbacks_first: True delivers a callback before the reply that announces its run is sent. Default
            False: after it.
        callback_delivery: `"auto"`, the default, or `"manual"`: each callback waits until you deliver it, in
            whatever order, by `Sandbox.redeliver` or in the browser.
        callback_timeout: Seconds one attempt may take as a whole. Default 10.
        search_results_key: Where the `response` to a search in a knowledge base has what was found, as a list.
            Default `"results"`; the documentation does not show the inside of `response`.
        asset_storage_limit: Bytes that all uploaded assets may have together; an upload beyond them is refused with
            402. Default None: any number. The service's limit is the plan's, which no number is documented for.
        next_cursor_key: Where the list of approvals has the `cursor` of its next page, null on the last one. Default
            None: nowhere, as no such key is documented; the id of a page's last approval is the cursor.

    Raises:
        pydantic.ValidationError: (a ValueError) A value is none of those its field allows.
    """

    signature: Literal["hex", "sha256=hex", "base64"] = "hex"
    validation_status: Status = 400
    max_body: Annotated[int, Field(ge=0)] = 32 * 1024 * 1024
    error_only: bool = False
    callback_status: Status = 202
    failed_workflow: Literal["error", "state"] = "error"
    failed_workflow_status: Status = 422
    done_after_error: bool = False
    http_callbacks: Literal["local", "any", "never"] = "local"
    retry_after: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    unknown_status: Status = 404
    missing_inputs: Literal["accept", "refuse"] = "accept"
    webhook_body: Literal["inputs", "refuse"] = "inputs"
    trigger_secret_status: Status = 401
    trigger_tells_secret: bool = False
    paused_status: str = "paused"
    paused_run_holds_place: bool = False
    approval_callback: bool = False
    daily_limit_counts: Literal["invokes", "all"] = "invokes"
    daily_limit_code_key: Literal["code", "error_code"] = "code"
    hive_agent_event_prefix: str = "hive_agent"
    workflow_completed_event: str = "workflow.completed"
    workflow_failed_event: str = "workflow.failed"
    callback_retry_delays: tuple[Seconds, ...] = (1.0, 5.0)
    callback_copies: Annotated[int, Field(ge=1, le=100)] = 1
    callbacks_first: bool = False
    callback_delivery: Literal["auto", "manual"] = "auto"
    callback_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    search_results_key: Key = "results"
    asset_storage_limit: Annotated[int, Field(ge=0)] | None = None
    next_cursor_key: Key | None = None


DEFAULT_CHOICES = Choices()
