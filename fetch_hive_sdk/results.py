"""What calls return: typed attributes over the JSON exactly as it came.

Attributes are typed and tolerant: unknown fields and unknown words are kept, a missing or odd field is its
default. Keys are the service's JSON untouched: `result.response`, `result["response"]`,
`result.get("output")`, `"usage" in result`, `dict(result)`. Results are frozen and can be pickled and copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, Union, cast

import pydantic_core
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from typing_extensions import Self

from .answers import Answered, as_text, keep, kept, read_json, read_object

if TYPE_CHECKING:
    from .callbacks import CallbackVerifier

__all__ = [
    "AgentDelegation",
    "AgentReply",
    "AutoApprovedToolCall",
    "DeniedToolCall",
    "GeneratedArtifact",
    "HiveAgentRun",
    "PendingDelegation",
    "PendingToolApproval",
    "PromptResult",
    "ToolCall",
    "Usage",
    "WorkflowCompleted",
    "WorkflowFailed",
    "WorkflowQueued",
    "WorkflowRun",
    "WorkflowRunning",
]


RecordT = TypeVar("RecordT", bound="Record")


def _keep_all(record: RecordT, kept: Mapping[str, Any]) -> RecordT:
    for name, value in kept.items():
        keep(record, name, value)
    return record


class Record(BaseModel, Mapping[str, Any], frozen=True):
    """A JSON object of the service: typed by attribute, as it came by key."""

    model_config = ConfigDict(
        extra="allow",
        populate_by_name=True,
        defer_build=True,
        hide_input_in_errors=True,
        protected_namespaces=(),  # the service has names such as `model_type`
    )

    # What it was read from: bytes, or the dict they hold. Kept in slots of Python's own, which pydantic leaves alone:
    # its PrivateAttr would cost more than to read the whole record.
    __slots__ = ("_http_response", "_json")

    _older_keys: ClassVar[Mapping[str, str]] = {}

    def to_dict(self) -> dict[str, Any]:
        """The JSON as it came, as a new dict of plain values."""
        return cast("dict[str, Any]", copied(self._fields()))

    def _fields(self) -> dict[str, Any]:
        """The JSON as it came, parsed when a key is first asked for. Never handed out itself."""
        json: bytes | dict[str, Any] | None = kept(self, "_json")
        if json is None:  # made by hand, in a test perhaps
            secrets = {
                name: field.get_secret_value() for name, field in super().__iter__() if isinstance(field, SecretStr)
            }
            return {**self.model_dump(mode="json", exclude_unset=True), **secrets}
        if isinstance(json, bytes):
            json = cast("dict[str, Any]", read_json(json))
            keep(self, "_json", json)
        return json

    def copy(self) -> dict[str, Any]:  # type: ignore[override]
        """As `dict.copy`: the JSON as it came, as a new dict."""
        return self.to_dict()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's; with `update` the keys are those of the changed attributes."""
        changed = super().model_copy(update=update, deep=deep)
        if update:
            keep(changed, "_json", None)
        return changed

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        # A secret that came where none is documented.
        for name, value in super().__repr_args__():
            yield name, SecretStr(value) if name == "webhook_secret" and isinstance(value, str) else value

    def __copy__(self) -> Self:
        return _keep_all(super().__copy__(), self._allkept())

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return _keep_all(super().__deepcopy__(memo), deepcopy(self._allkept(), memo))

    def __getstate__(self) -> dict[Any, Any]:
        return {**super().__getstate__(), "kept": self._allkept()}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        _keep_all(self, state["kept"])

    def _allkept(self) -> dict[str, Any]:
        return {name: value for name in Record.__slots__ if (value := kept(self, name)) is not None}

    def __getitem__(self, key: str) -> Any:
        fields = self._fields()
        if key in fields:
            return copied(fields[key])  # so that a caller's change reaches nobody else
        if key in self._older_keys:
            return getattr(self, self._older_keys[key])
        names = ", ".join(map(repr, fields)) or "no keys"
        raise KeyError(f"{key!r} is not in this {type(self).__name__}; it has {names}")

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(list(self._fields()))

    def __len__(self) -> int:
        return len(self._fields())

    def __contains__(self, key: object) -> bool:
        return key in self._fields() or key in self._older_keys

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Record):
            return type(self) is type(other) and self._fields() == other._fields()
        return self._fields() == other if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        # None would do, but pydantic gives frozen classes without this method a hash of their own.
        raise TypeError(f"unhashable type: {type(self).__name__!r}, as it is equal to a dict")


class Part(Record, frozen=True):
    """An object inside a result. It keeps its own share of the JSON."""

    @model_validator(mode="wrap")
    @classmethod
    def _keep_json(cls, value: Any, handler: Callable[[Any], Self]) -> Self:
        if not isinstance(value, dict):
            return handler(value)
        fields = cast("dict[str, Any]", value)
        part: Self = make_tolerantly(handler, cls._normalized(fields))
        # Attributes may hold objects that are in the fields, so the keys get theirs from a copy, which is cheapest so.
        keep(part, "_json", pydantic_core.to_json(fields, inf_nan_mode="constants", serialize_unknown=True))
        return part

    @classmethod
    def _normalized(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return fields


class Entity(Answered, Part, frozen=True):
    """An object that the service keeps: the answer of one call, or one of many in a list."""

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read the object from an answer; a field of an unexpected type falls back to its default.

        Raises:
            ValueError: The bytes are not a JSON object.
        """
        return cls.model_validate(read_object(data))


class Result(Answered, Record, frozen=True):
    """The answer of one call, made from its bytes."""

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Validate an answer in one pass; a field of an unexpected type falls back to its default.

        Raises:
            ValueError: The bytes are not a JSON object.
        """
        return cast("Self", read_record(cls, data))


def read_record(cls: type[Any], data: bytes, adapter: TypeAdapter[Any] | None = None) -> Any:
    """Read one record from JSON bytes: quick where all is as documented, tolerant where it is not.

    Args:
        cls: The record's class.
        data: The JSON text.
        adapter: Chooses among several classes, where the class depends on the content.

    Raises:
        ValueError: The bytes are not a JSON object.
    """
    try:
        record = cls.model_validate_json(data) if adapter is None else adapter.validate_json(data)
    except ValidationError:
        record = None  # read on outside of the handler: no error shall show this one, which may quote secrets
    if record is None:
        fields = read_object(data)
        validate = cls.model_validate if adapter is None else adapter.validate_python
        record = make_tolerantly(validate, fields, tagged=adapter is not None)
    keep(record, "_json", data)
    return record


def make_tolerantly(validate: Callable[[Any], Any], fields: dict[str, Any], *, tagged: bool = False) -> Any:
    """Make a record from JSON values, giving up a field that does not fit rather than the whole.

    Args:
        validate: Makes the record, or raises `ValidationError`.
        fields: The JSON object.
        tagged: Whether the tag of a union stands before the field's name in the paths of errors.
    """
    tried: set[str] = set()
    while True:
        try:
            return validate(fields)
        except ValidationError as error:
            odd = {str(problem["loc"][tagged]) for problem in error.errors(include_input=False)}
            # A text that came as an object, a number or a list is given as JSON text; what fits no way is left out.
            fields = {
                name: as_text(field) if name in odd else field
                for name, field in fields.items()
                if name not in odd & tried and not (name in odd and field is None)
            }
            tried |= odd


def copied(value: Any) -> Any:
    """A JSON value with dicts and lists of its own."""
    if isinstance(value, dict):
        return {key: copied(one) for key, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [copied(one) for one in cast("Iterable[Any]", value)]
    return value if isinstance(value, (str, int, float, NoneType)) else deepcopy(value)  # made by hand


class Usage(Part, frozen=True):
    """Tokens and time of a run. Both shapes the service uses are read: nested counts and plain numbers.

    Attributes:
        duration: Seconds the run took.
        prompt_tokens: Tokens of the prompt.
        cached_tokens: How many of those came from a cache.
        completion_tokens: Tokens of the answer.
        reasoning_tokens: How many of those were reasoning.
        total_tokens: All tokens.
    """

    duration: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    total_tokens: int | None = None

    @classmethod
    def _normalized(cls, fields: dict[str, Any]) -> dict[str, Any]:
        flat = fields.copy()
        for key, older, part in (
            ("prompt_tokens", "input_tokens", "cached_tokens"),
            ("completion_tokens", "output_tokens", "reasoning_tokens"),
        ):
            count = flat.get(key, flat.get(older))
            if isinstance(count, dict):
                counts = cast("dict[str, Any]", count)
                flat[key] = counts.get("total_tokens")
                flat.setdefault(part, counts.get(part))
            elif count is not None:
                flat[key] = count
        return flat


class ToolCall(Part, frozen=True):
    """A tool that an agent called.

    Attributes:
        tool_name: The tool, such as `google_search`.
        tool_input: What it was given, as JSON text.
        observation: What it answered, as JSON text.
    """

    tool_name: str = ""
    tool_input: str = ""
    observation: str = ""


class GeneratedArtifact(Part, frozen=True):
    """A file that a run made. `file_url` is where to load it; `file_size` is in bytes."""

    file_url: str = ""
    id: str | None = None
    file_name: str | None = None
    file_type: str | None = None
    file_size: int | None = None
    asset_type: str | None = None
    origin: str | None = None
    tool_id: str | None = None
    tool_name: str | None = None


class PendingDelegation(Part, frozen=True):
    """A workflow that an agent started in the background and that has not ended.

    `expected_by` is an ISO 8601 time, as the service writes it.
    """

    id: str = ""
    kind: str = ""
    target: dict[str, Any] | None = None
    expected_by: str | None = None


class PendingToolApproval(Part, frozen=True):
    """A tool call that waits for a decision. `review_url` is its page in the dashboard.

    `expires_at` is an ISO 8601 time, as the service writes it.
    """

    approval_id: str = ""
    tool_name: str = ""
    summary: str = ""
    arguments: dict[str, Any] | None = None
    expires_at: str | None = None
    review_url: str | None = None


class DeniedToolCall(Part, frozen=True):
    """A tool call that the workspace's rules forbade."""

    tool_name: str = ""
    approval_id: str | None = None
    reason: str = ""


class AutoApprovedToolCall(Part, frozen=True):
    """A tool call that ran because of `tool_approval="auto_approve"`."""

    tool_name: str = ""
    summary: str = ""


class AgentDelegation(Entity, frozen=True):
    """Background work that an agent started. Times are ISO 8601, as the service writes them.

    Attributes:
        id: The delegation's UUID.
        status: `pending`, `running`, `completed`, `failed`, `cancelled` or `expired`.
        kind: `workflow`, `sub_agent` or `hive_agent_run`.
        target: What was started.
        result: What came of it, once it has ended.
        parent_request_id: The run that started it.
        tool_call_id: The tool call that started it.
        workflow_run_id: The workflow's run, for `kind="workflow"`.
        expected_by: When it should have ended.
        delivered_at: When its result reached the agent.
        delivery_error: Why its result did not.
        created_at: When it was started.
    """

    id: str = ""
    status: str = ""
    kind: str = ""
    target: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    parent_request_id: str = ""
    tool_call_id: str = ""
    workflow_run_id: str | None = None
    expected_by: str | None = None
    delivered_at: str | None = None
    delivery_error: str | None = None
    created_at: str | None = None


class PromptResult(Result, frozen=True):
    """The answer of a prompt.

    Attributes:
        request_id: The run's id, `req_…`.
        response: The text.
        model: The model that wrote it.
        usage: Tokens and time.
        stop_reason: Why it ended, such as `completed`.
    """

    request_id: str = ""
    response: str = ""
    model: str | None = None
    usage: Usage | None = None
    stop_reason: str | None = None


class AgentReply(Result, frozen=True):
    """The answer of an agent.

    Attributes:
        request_id: The run's id, `req_…`.
        run_id: The same id under its second name.
        response: The text.
        status: `completed`, or `awaiting_approval` when a tool call waits for a decision. The run then
            resumes on the server after the decision; do not invoke it again.
        thread_id: The thread the message belongs to; None without one.
        model: The model that wrote it.
        usage: Tokens and time.
        stop_reason: Why a streamed answer ended, such as `completed`.
        tool_calls: The tools it used, in order.
        artifacts: The files it made.
        pending_delegations: Background workflows that have not ended.
        pending_tool_approvals: The tool calls that wait for a decision.
        denied_tool_calls: The tool calls that the rules forbade.
        auto_approved_tool_calls: The tool calls that ran without asking.
        tool_approval: The mode in effect, `policy` or `auto_approve`.
    """

    request_id: str = ""
    run_id: str = ""
    response: str = ""
    status: str = ""
    thread_id: str | None = None
    model: str | None = None
    usage: Usage | None = None
    stop_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    artifacts: tuple[GeneratedArtifact, ...] = ()
    pending_delegations: tuple[PendingDelegation, ...] = ()
    pending_tool_approvals: tuple[PendingToolApproval, ...] = ()
    denied_tool_calls: tuple[DeniedToolCall, ...] = ()
    auto_approved_tool_calls: tuple[AutoApprovedToolCall, ...] = ()
    tool_approval: str | None = None

    @property
    def awaiting_approval(self) -> bool:
        """Whether a tool call waits for a decision before the run goes on."""
        return self.status == "awaiting_approval"


class CallbackRun(Result, frozen=True):
    """A run that may tell its end by a signed callback."""

    webhook_secret: SecretStr | None = None

    def callback_verifier(self) -> CallbackVerifier:
        """A verifier for this run's signed callback.

        A short run may call back before this reply has been read: let the handler keep the raw body and
        headers until the secret is known, or verify with the deployment's signing secret from the start.

        Raises:
            FetchHiveError: The run has no `webhook_secret`, because it was invoked without callback delivery.
        """
        from .callbacks import CallbackVerifier  # results must not need callbacks to load
        from .errors import InvalidRequestError

        if self.webhook_secret is None:
            raise InvalidRequestError(
                "This run has no webhook_secret: it was not invoked with callback delivery.",
                hint="Pass callback_url= to invoke_workflow, or make CallbackVerifier(secret) with the "
                "signing secret from the deployment's page in the dashboard.",
            )
        return CallbackVerifier(self.webhook_secret.get_secret_value())


class HiveAgentRun(CallbackRun, frozen=True):
    """A run of a hive agent that was started. Its end is told by a signed callback.

    Attributes:
        request_id: The run's id, `req_…`.
        run_id: Its second id.
        status: `pending`.
        webhook_secret: What the run's callback is signed with. Shown only by `get_secret_value()` and
            `run["webhook_secret"]`.
    """

    request_id: str = ""
    run_id: str = ""
    status: str = ""


class WorkflowRun(CallbackRun, frozen=True):
    """A run of a workflow, as one of `WorkflowCompleted`, `WorkflowFailed`, `WorkflowRunning`, `WorkflowQueued`.

    A `run_status` this SDK does not know leaves it a plain `WorkflowRun`.

    Attributes:
        request_id: The run's id, `req_…`. `run["run_id"]` answers with it where the service sends no such key.
        run_status: The service's word. `run["status"]` answers with it where the service sends no such key.
        output: The final text, possibly JSON to be parsed; None while there is none.
        error: What went wrong; None if nothing did.
        webhook_secret: What the run's callback is signed with; None for direct delivery. Shown only
            by `get_secret_value()` and `run["webhook_secret"]`.
    """

    _older_keys: ClassVar[Mapping[str, str]] = {"status": "run_status", "run_id": "request_id"}

    request_id: str = Field("", validation_alias=AliasChoices("request_id", "run_id"))
    run_status: str = Field("", validation_alias=AliasChoices("run_status", "status"))
    output: str | None = None
    error: str | None = None

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        return cast("Self", read_record(cls, data, _workflow_states()))


class WorkflowCompleted(WorkflowRun, frozen=True):
    """The workflow ran to its end; `output` is its result."""

    output: str = ""


class WorkflowFailed(WorkflowRun, frozen=True):
    """The workflow ended with an error; `error` says which."""

    error: str = ""


class WorkflowRunning(WorkflowRun, frozen=True):
    """The workflow runs; its result comes to the callback URL."""


class WorkflowQueued(WorkflowRun, frozen=True):
    """The workflow waits for a place; it starts by itself and its result comes to the callback URL."""


def _workflow_state(value: Any) -> str:
    fields = cast("Mapping[str, Any]", value if isinstance(value, Mapping) else {})
    status = str(fields.get("run_status") or fields.get("status") or "").lower()
    if not status and fields.get("error"):
        return "failed"
    return status if status in ("completed", "failed", "running", "queued") else "unknown"


_WorkflowState = Annotated[
    Union[
        Annotated[WorkflowCompleted, Tag("completed")],
        Annotated[WorkflowFailed, Tag("failed")],
        Annotated[WorkflowRunning, Tag("running")],
        Annotated[WorkflowQueued, Tag("queued")],
        Annotated[WorkflowRun, Tag("unknown")],
    ],
    Discriminator(_workflow_state),
]


@cache
def _workflow_states() -> TypeAdapter[Any]:
    return TypeAdapter(_WorkflowState)  # built when the first workflow answers
