"""What calls return: typed by attribute, the service's JSON by key, and tolerant of what is not documented."""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
import pickle
import traceback
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from pydantic import AliasChoices, BaseModel, Field, PrivateAttr, TypeAdapter, model_validator
from typing_extensions import Self

from fetch_hive_sdk import (
    AgentReply,
    CallbackVerifier,
    FetchHiveError,
    GeneratedArtifact,
    PendingToolApproval,
    PromptResult,
    ToolCall,
    Usage,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowQueued,
    WorkflowRun,
    WorkflowRunning,
)
from fetch_hive_sdk.answers import HTTPResponse
from fetch_hive_sdk.errors import InvalidRequestError
from fetch_hive_sdk.results import Part, Result

REQUEST_ID = "req_019d52846ea37682b03522fd0695cc43"

PROMPT: dict[str, Any] = {
    "request_id": REQUEST_ID,
    "model": "gpt-x",
    "response": "Hi Ann",
    "usage": {
        "duration": 1.9,
        "prompt_tokens": {"total_tokens": 24, "cached_tokens": 3},
        "completion_tokens": {"total_tokens": 9, "reasoning_tokens": 2},
        "total_tokens": 33,
    },
    "stop_reason": "completed",
}

AGENT: dict[str, Any] = {
    "request_id": REQUEST_ID,
    "run_id": REQUEST_ID,
    "status": "awaiting_approval",
    "thread_id": None,
    "model": "m",
    "response": "Done.",
    "tool_approval": "policy",
    "usage": {"total_tokens": 41},
    "tool_calls": [{"tool_name": "google_search", "tool_input": '{"q":"x"}', "observation": '{"hits":2}'}],
    "artifacts": [{"file_url": "https://example.com/a.csv", "file_size": 12, "origin": "tool"}],
    "pending_delegations": [
        {"id": "d1", "kind": "workflow", "target": {"name": "Brief"}, "expected_by": "2026-06-01T00:05:00Z"}
    ],
    "pending_tool_approvals": [
        {"approval_id": "a1", "tool_name": "send", "summary": "Send", "arguments": {"to": "Ann"}, "review_url": None}
    ],
    "denied_tool_calls": [{"tool_name": "rm", "approval_id": "a2", "reason": "policy_deny"}],
    "auto_approved_tool_calls": [{"tool_name": "ls", "summary": "List"}],
}

OUTPUT = (
    "State of enterprise AI in 2026: enterprises are moving from experimentation to operational systems with "
    "stricter evaluation, governance, and tooling requirements."
)
COMPLETED = {"request_id": REQUEST_ID, "run_status": "completed", "output": OUTPUT}
RUNNING = {"request_id": REQUEST_ID, "run_status": "running", "webhook_secret": "whsec_YOUR_WEBHOOK_SECRET"}
QUEUED = {"request_id": REQUEST_ID, "run_status": "queued", "webhook_secret": "whsec_YOUR_WEBHOOK_SECRET"}
FAILED = {"request_id": REQUEST_ID, "run_status": "failed", "error": "The step Research failed."}

EVERY = [
    (PromptResult, PROMPT),
    (AgentReply, AGENT),
    *((WorkflowRun, run) for run in (COMPLETED, RUNNING, QUEUED, FAILED)),
]
every_result = pytest.mark.parametrize(
    ("cls", "fields"), EVERY, ids=[f"{c.__name__}-{i}" for i, (c, _) in enumerate(EVERY)]
)


def read(cls: Any, value: object) -> Any:
    return cls.from_json(json.dumps(value).encode())


# --- a result is its JSON by key ----------------------------------------------------------------------


@every_result
def test_keys(cls: Any, fields: dict[str, Any]) -> None:
    """By key a result is the service's JSON exactly as it came, in its order, as any mapping gives it."""
    result = read(cls, fields)

    assert isinstance(result, Mapping)
    assert fields == dict(result)
    assert fields == {**result}
    assert fields == result.to_dict()
    assert list(fields) == list(result) == list(result.keys())
    assert list(fields.values()) == list(result.values())
    assert list(fields.items()) == list(result.items())
    assert len(fields) == len(result)
    assert fields == {name: result[name] for name in fields}


@every_result
def test_copies(cls: Any, fields: dict[str, Any]) -> None:
    """A result survives pickle, copy and deepcopy, before and after its keys were first used."""
    result = read(cls, fields)
    copiers: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy]
    copiers += [
        lambda value, protocol=protocol: pickle.loads(pickle.dumps(value, protocol)) for protocol in range(2, 6)
    ]

    for _ in range(2):
        for make_copy in copiers:
            again = make_copy(result)
            assert type(result) is type(again)
            assert result == again
            assert fields == dict(again)
            assert result.model_fields_set == again.model_fields_set


@every_result
def test_equality(cls: Any, fields: dict[str, Any]) -> None:
    """A result equals one of the same class and content and any mapping of that content, and nothing else."""
    result = read(cls, fields)

    assert read(cls, fields) == result
    assert fields == result
    assert result == fields
    assert result != read(cls, {**fields, "more": 1})
    assert result != {**fields, "more": 1}
    assert result != read(AgentReply if cls is PromptResult else PromptResult, fields)
    assert result != list(fields)
    assert result != "text"


@every_result
def test_frozen(cls: Any, fields: dict[str, Any]) -> None:
    """A result can be neither changed nor hashed."""
    result = read(cls, fields)

    with pytest.raises(ValueError, match="frozen"):
        result.request_id = "req_other"
    with pytest.raises(TypeError):
        result["request_id"] = "req_other"
    with pytest.raises(TypeError, match="unhashable"):
        hash(result)


def test_lookups() -> None:
    """`in`, `get` and a missing key work as on a dict, and the KeyError lists the keys there are."""
    result = read(PromptResult, {"response": "Hi", "usage": None})

    assert "response" in result
    assert "usage" in result
    assert "model" not in result
    assert "Hi" == result.get("response")
    assert result.get("output") is None
    assert "none" == result.get("output", "none")
    with pytest.raises(KeyError) as caught:
        result["output"]
    assert "'output' is not in this PromptResult; it has 'response', 'usage'" == caught.value.args[0]
    with pytest.raises(KeyError) as caught:
        read(PromptResult, {})["output"]
    assert "'output' is not in this PromptResult; it has no keys" == caught.value.args[0]


def test_match() -> None:
    """A result matches a mapping pattern by its keys and a class pattern by its attributes."""
    match read(PromptResult, PROMPT):
        case {"response": text, "usage": {"total_tokens": total}}:
            assert ("Hi Ann", 33) == (text, total)
        case _:
            pytest.fail("no match by key")
    match read(PromptResult, PROMPT):
        case PromptResult(model=model, usage=Usage(duration=duration)):
            assert ("gpt-x", 1.9) == (model, duration)
        case _:
            pytest.fail("no match by attribute")


def test_changes_reach_nobody() -> None:
    """What a caller changes in a value taken by key, by to_dict() or in a copy changes no result."""
    result = read(AgentReply, AGENT)
    before = copy.deepcopy(AGENT)

    result["usage"]["total_tokens"] = 0
    result["tool_calls"].clear()
    result.to_dict()["tool_calls"][0]["tool_name"] = "changed"
    dict(result)["artifacts"][0].clear()
    result.pending_tool_approvals[0]["arguments"]["to"] = "Bob"
    result.pending_tool_approvals[0].to_dict()["arguments"]["to"] = "Bob"
    copy.deepcopy(result)["usage"].clear()

    assert before == dict(result)
    assert {"to": "Ann"} == result.pending_tool_approvals[0].arguments
    assert {"to": "Ann"} == result.pending_tool_approvals[0]["arguments"]


@pytest.mark.parametrize("arguments", [{"to": "Ann"}, {"to": {"name": "Ann"}}, {"to": ["Ann"]}])
def test_attributes_and_keys_share_nothing(arguments: dict[str, Any]) -> None:
    """Changing a dict that an attribute holds does not change what stands under the key."""
    result = read(AgentReply, {"pending_tool_approvals": [{"arguments": arguments}]})
    approval = result.pending_tool_approvals[0]

    to = approval.arguments["to"]
    to.clear() if isinstance(to, (dict, list)) else approval.arguments.clear()

    assert arguments == approval["arguments"]
    assert arguments == result["pending_tool_approvals"][0]["arguments"]


@pytest.mark.parametrize(
    "name",
    ["_json", "_fields", "get", "items", "keys", "copy", "json", "model_config", "__class__", "__dict__", "_keep"],
)
def test_any_key(name: str) -> None:
    """A field of the service may be called like anything in Python and is still only a key."""
    result = read(PromptResult, {name: "v", "response": "x"})

    assert {name: "v", "response": "x"} == dict(result) == pickle.loads(pickle.dumps(result)).to_dict()
    assert "x" == result.response


def test_unknown_fields() -> None:
    """A field that this SDK does not know is kept, by key and by attribute."""
    result = read(PromptResult, {"response": "x", "mode": "chat", "scores": [{"a": 1}]})

    assert "chat" == result["mode"] == result.mode
    assert [{"a": 1}] == result["scores"] == result.scores


def test_made_by_hand() -> None:
    """A result made by hand, as in a test of yours, has the keys that were given."""
    result = PromptResult(response="Hi", request_id=REQUEST_ID, usage=Usage(total_tokens=3))

    assert "Hi" == result.response == result["response"]
    assert {"response": "Hi", "request_id": REQUEST_ID, "usage": {"total_tokens": 3}} == dict(result)
    assert "model" not in result


def test_secret_of_a_run_made_by_hand() -> None:
    """The webhook secret of a run made by hand is plain by key, as that of a run that was read."""
    run = WorkflowRunning.model_validate({**RUNNING})

    assert RUNNING["webhook_secret"] == run["webhook_secret"]
    assert RUNNING == dict(run)


# --- prompts and agents -------------------------------------------------------------------------------


def test_prompt() -> None:
    """Each documented field of a prompt's answer is an attribute."""
    result = read(PromptResult, PROMPT)

    assert REQUEST_ID == result.request_id
    assert "Hi Ann" == result.response
    assert "gpt-x" == result.model
    assert "completed" == result.stop_reason
    assert isinstance(result.usage, Usage)


def test_prompt_with_nothing() -> None:
    """An answer without any field has defaults by attribute and no keys."""
    result = read(PromptResult, {})

    assert ("", "", None, None, None) == (
        result.request_id,
        result.response,
        result.model,
        result.usage,
        result.stop_reason,
    )
    assert {} == dict(result)


def test_agent() -> None:
    """Each documented field of an agent's answer is a typed attribute."""
    reply = read(AgentReply, AGENT)

    assert (REQUEST_ID, REQUEST_ID, "Done.") == (reply.request_id, reply.run_id, reply.response)
    assert (None, "m", "policy") == (reply.thread_id, reply.model, reply.tool_approval)
    assert 41 == reply.usage.total_tokens
    assert (ToolCall(tool_name="google_search", tool_input='{"q":"x"}', observation='{"hits":2}'),) == reply.tool_calls
    assert isinstance(reply.artifacts[0], GeneratedArtifact)
    assert ("https://example.com/a.csv", 12) == (reply.artifacts[0].file_url, reply.artifacts[0].file_size)
    assert ("d1", {"name": "Brief"}) == (reply.pending_delegations[0].id, reply.pending_delegations[0].target)
    assert "2026-06-01T00:05:00Z" == reply.pending_delegations[0].expected_by
    assert isinstance(reply.pending_tool_approvals[0], PendingToolApproval)
    assert ("a1", {"to": "Ann"}) == (
        reply.pending_tool_approvals[0].approval_id,
        reply.pending_tool_approvals[0].arguments,
    )
    assert ("rm", "a2", "policy_deny") == (
        reply.denied_tool_calls[0].tool_name,
        reply.denied_tool_calls[0].approval_id,
        reply.denied_tool_calls[0].reason,
    )
    assert ("ls", "List") == (
        reply.auto_approved_tool_calls[0].tool_name,
        reply.auto_approved_tool_calls[0].summary,
    )


@pytest.mark.parametrize(
    ("status", "waits"), [("awaiting_approval", True), ("completed", False), ("something new", False)]
)
def test_awaiting_approval(status: str, waits: bool) -> None:
    """An agent's reply says whether a tool call waits, and keeps a status this SDK does not know."""
    reply = read(AgentReply, {"status": status})

    assert waits is reply.awaiting_approval
    assert status == reply.status


def test_parts_are_mappings() -> None:
    """The objects inside a result have typed attributes and their own JSON by key, unknown fields included."""
    fields = {"tool_name": "search", "tool_input": "{}", "took_ms": 12}
    call = read(AgentReply, {"tool_calls": [fields]}).tool_calls[0]

    assert fields == dict(call) == call.to_dict()
    assert ("search", 12, 12) == (call.tool_name, call["took_ms"], call.took_ms)
    assert "" == call.observation
    assert "observation" not in call


class Person(Part, frozen=True):
    name: str = ""


class Team(Part, frozen=True):
    lead: Person | None = None
    members: tuple[Person, ...] = ()


class Company(Result, frozen=True):
    name: str = ""
    board: Team | None = None
    teams: tuple[Team, ...] = ()


def test_parts_of_parts() -> None:
    """However deep a part stands, its keys are its own JSON and nothing else."""
    ann, bob = {"name": "Ann", "age": 1}, {"age": None, "name": "Bob"}
    board, teams = {"lead": ann, "members": [bob]}, [{"members": [ann, bob]}, {"lead": None}, {"lead": bob}]
    company = read(Company, {"teams": teams, "board": board, "name": "C"})

    assert (board, teams) == (company.board, [*company.teams])
    assert (ann, bob) == (company.board.lead, company.board.members[0])
    assert (ann, bob) == company.teams[0].members
    assert (None, bob) == (company.teams[1].lead, company.teams[2].lead)
    assert list(bob) == list(company.teams[2].lead)
    assert company == copy.deepcopy(company)
    assert bob == pickle.loads(pickle.dumps(company)).teams[2].lead


def test_odd_part_of_a_part() -> None:
    """An odd field deep inside costs that field alone; the parts around it have their JSON by key as ever."""
    teams = [{"lead": {"name": ["Ann"]}, "members": 5}, {"lead": {"name": "Bob"}}]
    company = read(Company, {"name": "C", "teams": teams})

    assert ("C", '["Ann"]', (), "Bob") == (
        company.name,
        company.teams[0].lead.name,
        company.teams[0].members,
        company.teams[1].lead.name,
    )
    assert teams == [*company.teams]
    assert {"name": ["Ann"]} == dict(company.teams[0].lead)


def test_pickled_part() -> None:
    """A part that is pickled or copied alone takes its own JSON along, and nothing of the answer it came in."""
    result = read(PromptResult, PROMPT)

    assert b"Hi Ann" in pickle.dumps(result)
    assert b"Hi Ann" not in pickle.dumps(result.usage)
    for again in (pickle.loads(pickle.dumps(result.usage)), copy.copy(result.usage), copy.deepcopy(result.usage)):
        assert PROMPT["usage"] == dict(again)


def test_part_outlives_its_answer() -> None:
    """An answer goes when the last reference to it does, without garbage collection; its parts stay usable."""
    result = read(AgentReply, AGENT)
    call, gone = result.tool_calls[0], weakref.ref(result)
    gc.disable()
    try:
        del result
        assert gone() is None
    finally:
        gc.enable()
    assert AGENT["tool_calls"][0] == dict(call)


def test_parts_by_hand_and_from_elsewhere() -> None:
    """A part has its own JSON by key wherever pydantic reads it: by itself, in a list, in a model of yours."""
    usage = copy.deepcopy(PROMPT["usage"])
    by_hand = Usage.model_validate(usage)
    usage["prompt_tokens"]["total_tokens"] = 0

    for again in (
        by_hand,
        Usage.model_validate_json(json.dumps(PROMPT["usage"])),
        TypeAdapter(list[Usage]).validate_json(json.dumps([PROMPT["usage"]]))[0],
        Bill.model_validate_json(json.dumps({"usage": PROMPT["usage"]})).usage,
        PromptResult.model_validate({"usage": PROMPT["usage"]}).usage,
        PromptResult.model_validate_json(json.dumps(PROMPT)).usage,
    ):
        assert PROMPT["usage"] == dict(again)
        assert (24, 3, 9, 2) == (
            again.prompt_tokens,
            again.cached_tokens,
            again.completion_tokens,
            again.reasoning_tokens,
        )


class Bill(BaseModel):
    usage: Usage


class CheckedUsage(Usage, frozen=True):
    @model_validator(mode="after")
    def _check(self) -> Self:
        return self.model_copy(update={"total_tokens": (self.total_tokens or 0) + 1})


class DerivedResult(PromptResult, frozen=True):
    """Holds parts in every way that the results of this SDK do not."""

    free: Usage = Usage(total_tokens=1)
    made: Usage = Field(default_factory=lambda: Usage(total_tokens=2))
    older: Usage | None = Field(None, validation_alias=AliasChoices("newer", "older"))
    by_name: dict[str, Usage] | None = None
    pair: tuple[Usage, Usage] | None = None
    several: list[Usage] | None = None
    perhaps: tuple[Usage, ...] | None = None
    gaps: tuple[Usage | None, ...] = ()
    grid: tuple[tuple[Usage, ...], ...] = ()
    checked: CheckedUsage | None = None


def test_derived_results() -> None:
    """In a class derived from a result, parts may stand in any way that pydantic allows."""
    one, two = {"total_tokens": 1}, {"prompt_tokens": {"total_tokens": 2}}
    fields = {"older": one, "by_name": {"a": two}, "pair": [one, two], "several": [two], "checked": one, "usage": two}
    result = read(DerivedResult, fields)

    assert (one, two, two, two) == (result.older, result.by_name["a"], result.several[0], result.usage)
    assert (one, two) == result.pair
    assert (2, 2) == (result.by_name["a"].prompt_tokens, result.several[0].prompt_tokens)
    assert (1, 2, 2) == (result.free.total_tokens, result.made["total_tokens"], result.checked.total_tokens)
    assert fields == dict(result) == dict(copy.deepcopy(result))
    assert two == read(DerivedResult, {"newer": two}).older
    more = read(DerivedResult, {"perhaps": [one, two], "gaps": [None, two], "grid": [[one], [two]]})
    assert (one, two) == more.perhaps
    assert (None, two) == more.gaps
    assert ((one,), (two,)) == more.grid
    assert read(DerivedResult, {"perhaps": None}).perhaps is None


class CheckedResult(PromptResult, frozen=True):
    @model_validator(mode="after")
    def _check(self) -> Self:
        assert self.response
        return self


def test_derived_result_with_a_check() -> None:
    """A class derived from a result may check it as a whole; its parts have their JSON by key all the same."""
    result = read(CheckedResult, PROMPT)

    assert PROMPT == dict(result)
    assert PROMPT["usage"] == dict(result.usage)


def test_read_after_made_by_hand() -> None:
    """It makes no difference to an answer whether its class was used by hand before it was read for the first time."""

    class Own(PromptResult, frozen=True):
        more: Usage | None = None

    assert {"more": {"total_tokens": 1}} == Own(more=Usage(total_tokens=1))
    result = read(Own, {**PROMPT, "more": PROMPT["usage"]})

    assert (24, 24) == (result.usage.prompt_tokens, result.more.prompt_tokens)
    assert PROMPT["usage"] == dict(result.usage) == dict(result.more)


# --- usage --------------------------------------------------------------------------------------------

COUNTS = ("duration", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "total_tokens")


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        pytest.param(PROMPT["usage"], (1.9, 24, 3, 9, 2, 33), id="nested, as documented"),
        pytest.param(
            {"prompt_tokens": 24, "completion_tokens": 9, "total_tokens": 33},
            (None, 24, None, 9, None, 33),
            id="plain numbers, as in the specification",
        ),
        pytest.param(
            {
                "input_tokens": {"total_tokens": 24, "cached_tokens": 3},
                "output_tokens": {"total_tokens": 9, "reasoning_tokens": 2},
                "total_tokens": 33,
            },
            (None, 24, 3, 9, 2, 33),
            id="older names, nested",
        ),
        pytest.param({"input_tokens": 24, "output_tokens": 9}, (None, 24, None, 9, None, None), id="older names"),
        pytest.param(
            {"prompt_tokens": 24, "completion_tokens": {"total_tokens": 9, "reasoning_tokens": 2}, "duration": 2},
            (2.0, 24, None, 9, 2, None),
            id="one of each shape",
        ),
        pytest.param(
            {"prompt_tokens": {"total_tokens": 24}, "cached_tokens": 5}, (None, 24, 5, None, None, None), id="beside"
        ),
        pytest.param({"prompt_tokens": {}}, (None, None, None, None, None, None), id="empty object"),
        pytest.param({"prompt_tokens": None}, (None, None, None, None, None, None), id="null"),
        pytest.param({}, (None, None, None, None, None, None), id="nothing"),
    ],
)
def test_usage(fields: dict[str, Any], counts: tuple[Any, ...]) -> None:
    """Usage reads every shape the service has used, and is by key what came."""
    usage = read(PromptResult, {"usage": fields}).usage

    assert counts == tuple(getattr(usage, name) for name in COUNTS)
    assert fields == dict(usage)


def test_usage_with_more() -> None:
    """What usage holds beside its counts is kept, and a change of it by attribute changes nothing by key."""
    fields = {"total_tokens": 3, "prices": {"input": [0.5]}, "rate": float("inf")}
    usage = read(PromptResult, {"usage": fields}).usage

    usage.prices["input"].clear()

    assert fields == dict(usage)


def test_usage_by_hand() -> None:
    """Usage can be made by hand and validated from itself."""
    usage = Usage(prompt_tokens=2, total_tokens=3)

    assert (2, 3) == (usage.prompt_tokens, usage.total_tokens)
    assert usage == Usage.model_validate(usage) == {"prompt_tokens": 2, "total_tokens": 3}


# --- workflows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "cls", "output", "error"),
    [
        pytest.param(COMPLETED, WorkflowCompleted, OUTPUT, None, id="completed"),
        pytest.param(RUNNING, WorkflowRunning, None, None, id="running"),
        pytest.param(QUEUED, WorkflowQueued, None, None, id="queued"),
        pytest.param(FAILED, WorkflowFailed, None, "The step Research failed.", id="failed"),
        pytest.param({"run_status": "completed"}, WorkflowCompleted, "", None, id="completed without output"),
        pytest.param({"run_status": "failed"}, WorkflowFailed, None, "", id="failed without error"),
        pytest.param({"run_status": "failed", "output": "half"}, WorkflowFailed, "half", "", id="failed with output"),
        pytest.param({"run_status": "COMPLETED", "output": "x"}, WorkflowCompleted, "x", None, id="other case"),
        pytest.param({"error": "It broke."}, WorkflowFailed, None, "It broke.", id="an error without a status"),
        pytest.param({"run_status": "paused"}, WorkflowRun, None, None, id="unknown word"),
        pytest.param({"run_status": "paused", "error": "e"}, WorkflowRun, None, "e", id="unknown word with error"),
        pytest.param({"run_status": {"state": "completed"}}, WorkflowRun, None, None, id="odd status"),
        pytest.param({}, WorkflowRun, None, None, id="nothing"),
        pytest.param({"status": "completed", "output": "x"}, WorkflowCompleted, "x", None, id="older status"),
        pytest.param({"status": "failed", "error": "e"}, WorkflowFailed, None, "e", id="older failed"),
        pytest.param({"run_id": "r1", "status": "queued"}, WorkflowQueued, None, None, id="the specification's shape"),
        pytest.param({"run_status": None, "status": "queued"}, WorkflowQueued, None, None, id="null beside older"),
        pytest.param(
            {"run_status": "completed", "output": {"a": [1]}}, WorkflowCompleted, '{"a":[1]}', None, id="output object"
        ),
        pytest.param({"run_status": "completed", "output": None}, WorkflowCompleted, "", None, id="null output"),
        pytest.param({"run_status": "failed", "error": ["a"]}, WorkflowFailed, None, '["a"]', id="error list"),
    ],
)
def test_workflow_states(fields: dict[str, Any], cls: type[WorkflowRun], output: object, error: object) -> None:
    """Every answer of a workflow becomes the class of its state, with its JSON by key."""
    run = read(WorkflowRun, fields)

    assert cls is type(run)
    assert isinstance(run, WorkflowRun)
    assert (output, error) == (run.output, run.error)
    assert fields == dict(run)


@pytest.mark.parametrize(
    ("fields", "request_id", "run_status"),
    [
        (RUNNING, REQUEST_ID, "running"),
        ({"run_id": "r1", "status": "queued"}, "r1", "queued"),
        ({"run_id": "r1", "request_id": "r2", "status": "queued", "run_status": "running"}, "r2", "running"),
        ({"run_status": "paused"}, "", "paused"),
        ({"run_status": None, "request_id": None, "run_id": "r1", "status": "queued"}, "r1", "queued"),
        ({"request_id": 7, "run_status": 5}, "7", "5"),
        ({"run_id": 7, "status": 5}, "7", "5"),
        ({}, "", ""),
    ],
)
def test_workflow_names(fields: dict[str, Any], request_id: str, run_status: str) -> None:
    """The id and the status of a run are read under their names and under their older ones."""
    run = read(WorkflowRun, fields)

    assert (request_id, run_status) == (run.request_id, run.run_status)


def test_older_keys() -> None:
    """The keys `status` and `run_id` of earlier versions answer where the service does not send them."""
    run = read(WorkflowRun, COMPLETED)

    assert ("completed", REQUEST_ID) == (run["status"], run["run_id"])
    assert ("completed", REQUEST_ID) == (run.get("status"), run.get("run_id"))
    assert "status" in run
    assert "run_id" in run
    assert "status" not in list(run)
    assert COMPLETED == dict(run)
    assert "other" not in run


def test_sent_keys_win() -> None:
    """Where the service sends `status` or `run_id`, the key is what it sent."""
    run = read(WorkflowRun, {"run_status": "completed", "status": "done", "request_id": "a", "run_id": "b"})

    assert ("done", "b") == (run["status"], run["run_id"])
    assert ("completed", "a") == (run.run_status, run.request_id)


def test_workflow_match() -> None:
    """The state of a run can be told by `match` on its class."""

    def told(run: WorkflowRun) -> str:
        match run:
            case WorkflowCompleted(output=output):
                return output
            case WorkflowFailed(error=error):
                return error
            case WorkflowRunning() | WorkflowQueued():
                return "later"
            case _:
                return run.run_status

    states: list[Any] = [COMPLETED, FAILED, RUNNING, QUEUED, {"run_status": "paused"}]
    assert [OUTPUT, "The step Research failed.", "later", "later", "paused"] == [
        told(read(WorkflowRun, fields)) for fields in states
    ]


@pytest.mark.parametrize("fields", [RUNNING, QUEUED])
def test_webhook_secret(fields: dict[str, str]) -> None:
    """The webhook secret shows in no text of a run, and is plain by key and by get_secret_value()."""
    run = read(WorkflowRun, fields)
    secret = fields["webhook_secret"]

    for text in (repr(run), str(run), f"{run}", repr(run.webhook_secret), str(run.webhook_secret), repr([run])):
        assert secret not in text
    assert secret == run["webhook_secret"] == run.webhook_secret.get_secret_value() == run.to_dict()["webhook_secret"]
    assert secret == pickle.loads(pickle.dumps(run)).webhook_secret.get_secret_value()


def test_callback_verifier() -> None:
    """A run with callback delivery gives the verifier of its own callback."""
    verifier = read(WorkflowRun, RUNNING).callback_verifier()

    assert isinstance(verifier, CallbackVerifier)
    assert CallbackVerifier("whsec_YOUR_WEBHOOK_SECRET").sign(b"{}") == verifier.sign(b"{}")


def test_no_callback_verifier() -> None:
    """A run without a webhook secret says how to get a verifier."""
    with pytest.raises(InvalidRequestError) as caught:
        read(WorkflowRun, COMPLETED).callback_verifier()

    assert isinstance(caught.value, FetchHiveError)
    assert "no webhook_secret" in caught.value.message
    assert "callback_url=" in caught.value.hint
    assert "CallbackVerifier(secret)" in caught.value.hint


# --- what is not as documented ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "fields", "attributes"),
    [
        (PromptResult, {"response": 5}, {"response": "5"}),
        (PromptResult, {"response": {"text": "ä"}}, {"response": '{"text":"ä"}'}),
        (PromptResult, {"response": ["a", None]}, {"response": '["a",null]'}),
        (PromptResult, {"response": True, "model": False}, {"response": "true", "model": "false"}),
        (PromptResult, {"response": None, "request_id": None}, {"response": "", "request_id": ""}),
        (
            PromptResult,
            {"response": "x", "request_id": 7, "model": 1.5},
            {"response": "x", "request_id": "7", "model": "1.5"},
        ),
        (PromptResult, {"response": "x", "usage": "lots"}, {"response": "x", "usage": None}),
        (PromptResult, {"response": "x", "usage": [1]}, {"response": "x", "usage": None}),
        (AgentReply, {"response": "x", "tool_calls": "none"}, {"response": "x", "tool_calls": ()}),
        (AgentReply, {"response": "x", "tool_calls": None}, {"response": "x", "tool_calls": ()}),
        (AgentReply, {"response": "x", "tool_calls": {}}, {"response": "x", "tool_calls": ()}),
        (AgentReply, {"response": "x", "artifacts": [5]}, {"response": "x", "artifacts": ()}),
        (WorkflowRun, {"run_status": "running", "webhook_secret": {"a": 1}}, {"run_status": "running"}),
    ],
)
def test_odd_types(cls: Any, fields: dict[str, Any], attributes: dict[str, Any]) -> None:
    """A field of an unexpected type becomes JSON text or its default, costs no other, and is by key what came."""
    result = read(cls, fields)

    assert attributes == {name: getattr(result, name) for name in attributes}
    assert fields == dict(result)


@pytest.mark.parametrize(
    ("usage", "attributes"),
    [
        ({"total_tokens": "many", "duration": 1.0}, {"total_tokens": None, "duration": 1.0}),
        ({"total_tokens": 3.5, "prompt_tokens": {"total_tokens": 2}}, {"total_tokens": None, "prompt_tokens": 2}),
    ],
)
def test_odd_count(usage: dict[str, Any], attributes: dict[str, Any]) -> None:
    """One odd count costs that count, not the whole usage."""
    result = read(PromptResult, {"response": "x", "usage": usage})

    assert attributes == {name: getattr(result.usage, name) for name in attributes}
    assert usage == result["usage"] == dict(result.usage)


def test_odd_tool_call() -> None:
    """A tool call whose input came as an object is kept, with its input as JSON text."""
    calls = [{"tool_name": "a", "tool_input": {"q": 1}, "observation": "o"}, {"tool_name": "b"}]
    reply = read(AgentReply, {"tool_calls": calls})

    assert [("a", '{"q":1}', "o"), ("b", "", "")] == [
        (call.tool_name, call.tool_input, call.observation) for call in reply.tool_calls
    ]
    assert calls == reply["tool_calls"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b'\xef\xbb\xbf{"response":"a"}', "a", id="BOM"),
        pytest.param(b'{"response":"a\xffb"}', "a\ufffdb", id="not UTF-8"),
        pytest.param(b'{"response":"a\\ud800b"}', "a\ufffdb", id="half a surrogate pair"),
        pytest.param(b'{"response":"\\ud83d\\ude00"}', "\U0001f600", id="surrogate pair"),
        pytest.param(b' \r\n\t{"response":"a"} \n', "a", id="white space"),
        pytest.param(b'{"response":"a","n":NaN,"i":Infinity}', "a", id="NaN and infinity"),
        pytest.param(b'{"response":"a","d":' + b"[" * 150 + b"]" * 150 + b"}", "a", id="deep"),
    ],
)
def test_odd_bytes(data: bytes, text: str) -> None:
    """A BOM, stray bytes, half surrogate pairs, NaN and deep nesting do not cost a paid answer."""
    result = PromptResult.from_json(data)

    assert text == result.response == result["response"]
    result["response"].encode()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="truncated"),
        pytest.param(b'{"response":"a', id="truncated text"),
        pytest.param(b"[1]", id="array"),
        pytest.param(b"null", id="null"),
        pytest.param(b"5", id="number"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"<html></html>", id="HTML"),
        pytest.param(b'{"response":"a"} {}', id="more behind"),
        pytest.param(b"\x00\xff\xfe", id="binary"),
        pytest.param(b'{"d":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="far too deep"),
    ],
)
@pytest.mark.parametrize("cls", [PromptResult, AgentReply, WorkflowRun])
def test_no_object(cls: Any, data: bytes) -> None:
    """Bytes that are not a JSON object are refused with ValueError."""
    with pytest.raises(ValueError, match=r"."):
        cls.from_json(data)


@pytest.mark.parametrize("depth", [100, 190, 210, 300, 600, 900, 1100])
def test_depth(depth: int) -> None:
    """However deep an answer is nested, it is refused with ValueError, or can be used in every way."""
    nested = b"[" * depth + b"]" * depth
    try:
        result = PromptResult.from_json(b'{"response":%s}' % nested)
    except ValueError:
        assert depth > 150
    else:
        assert nested.decode() == result.response
        assert nested.decode() == json.dumps(result["response"])
        assert result == copy.deepcopy(result) == pickle.loads(pickle.dumps(result))
        assert result.to_dict() == dict(result)


def test_copy_as_of_a_dict() -> None:
    """`copy()` gives a new dict, as it did when results were dicts."""
    assert {"response": "Hi"} == read(PromptResult, {"response": "Hi"}).copy()


def test_changed_copy() -> None:
    """A copy with a changed attribute has the change by key too, and no longer equals the original."""
    result = read(PromptResult, {"response": "Hi"})
    changed = result.model_copy(update={"response": "new"})

    assert "new" == changed.response == changed["response"]
    assert result != changed
    assert result == result.model_copy()


def test_part_of_odd_things() -> None:
    """A part made by hand of things that JSON does not know keeps them by key as far as JSON can tell them."""
    approval = PendingToolApproval.model_validate({"arguments": {"to": ("Ann", "Bob"), "who": Thing()}})

    assert {"arguments": {"to": ["Ann", "Bob"], "who": "a thing"}} == dict(approval)


class Thing:
    def __str__(self) -> str:
        return "a thing"


def test_results_of_ones_own() -> None:
    """A class derived from a result, with private state of its own, is read, copied and pickled as the results are."""
    result = OwnResult.from_json(b'{"response":"Hi","score":3,"more":[1]}')
    result._seen.append("once")

    for again in (result, result.model_copy(), copy.copy(result), copy.deepcopy(result)):
        assert (3, ["once"]) == (again.score, again._seen)
        assert {"response": "Hi", "score": 3, "more": [1]} == dict(again)
        assert result == again
    assert 4 == result.model_copy(update={"score": 4})["score"]


class OwnResult(PromptResult, frozen=True):
    score: int = 0
    _seen: list[str] = PrivateAttr(default_factory=list)


def test_http_response() -> None:
    """The answer itself cannot be changed, shows no content, and is equal to its pickle and its copies."""
    response = HTTPResponse(200, httpx.Headers({"X-Request-Id": "req_1"}), b'{"webhook_secret":"s3cret"}')

    assert (200, "req_1", "s3cret") == (
        response.status_code,
        response.headers["x-request-id"],
        response.json()["webhook_secret"],
    )
    assert "s3cret" not in repr(response)
    assert "200" in repr(response)
    assert response == pickle.loads(pickle.dumps(response)) == copy.deepcopy(response) == copy.copy(response)
    assert response != dataclasses.replace(response, status_code=201)
    with pytest.raises(AttributeError):
        response.status_code = 201  # type: ignore[misc]


def test_no_secret_in_a_traceback() -> None:
    """The error about a reply that was cut shows nothing of the secret in it, not even as its context."""
    secret = "s3cret" * 3
    reply = f'{{"request_id":"req_1","webhook_secret":"{secret}'.encode()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the kind is what the exchange expects
        WorkflowRun.from_json(reply)

    assert secret not in "".join(traceback.format_exception(caught.value))
