"""Each call as a value: the documented JSON to the letter, and all that is refused before anything is sent."""

from __future__ import annotations

import copy
import enum
import json
import sys
from datetime import date
from typing import Any
from uuid import UUID

import pytest

from fetch_hive_sdk import AgentReply, PromptResult, WorkflowCompleted
from fetch_hive_sdk.errors import InvalidRequestError
from fetch_hive_sdk.operations import Operation, invoke_agent, invoke_prompt, invoke_workflow
from fetch_hive_sdk.settings import Settings

SETTINGS = Settings(api_key="fhk_test")
ID = "0190aaaa-0000-7000-8000-000000000001"
OTHER_ID = "0190aaaa-0000-7000-8000-000000000002"
FILE = "https://example.com/a.pdf"


def prompt(*, settings: Settings = SETTINGS, streaming: bool = False, **given: Any) -> Operation[PromptResult]:
    names = ("deployment", "variant", "inputs", "user", "metadata")
    given = {"deployment": "greeter", **given}
    assert not set(given) - set(names)
    return invoke_prompt(settings, *(given.get(name) for name in names), streaming=streaming)  # type: ignore[arg-type]


def workflow(*, settings: Settings = SETTINGS, **given: Any) -> Operation[Any]:
    names = ("deployment", "variant", "inputs", "callback_url", "user", "metadata", "tool_approval")
    given = {"deployment": "brief", **given}
    assert not set(given) - set(names)
    return invoke_workflow(settings, *(given.get(name) for name in names))  # type: ignore[arg-type]


def agent(*, settings: Settings = SETTINGS, streaming: bool = False, **given: Any) -> Operation[AgentReply]:
    names = (
        *("agent", "message", "thread_id", "messages", "attachments", "image_urls", "known_artifact_refs"),
        *("artifact_refs", "async_options", "user", "metadata", "tool_approval"),
    )
    given = {"agent": "AGENT_UUID", "message": "Hello", **given}
    assert not set(given) - set(names)
    return invoke_agent(settings, *(given.get(name) for name in names), streaming=streaming)  # type: ignore[arg-type]


CALLS: dict[str, Any] = {"prompt": prompt, "workflow": workflow, "agent": agent}
LEAST: dict[str, dict[str, Any]] = {
    "prompt": {"deployment": "greeter", "streaming": False},
    "workflow": {"deployment": "brief"},
    "agent": {"agent": "AGENT_UUID", "message": "Hello", "streaming": False},
}
every_call = pytest.mark.parametrize("kind", list(CALLS))


def body(operation: Operation[Any]) -> Any:
    return json.loads(operation.body)


def refusal(kind: str, **given: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        CALLS[kind](**given)
    assert isinstance(caught.value, ValueError)
    assert caught.value.hint
    assert caught.value.may_have_run is False
    return caught.value


# --- the documented examples, field for field ---------------------------------------------------------

DOCUMENTED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "prompt",
        {
            "deployment": "support-classifier",
            "variant": "default",
            "inputs": {"ticket_text": "The export button is disabled."},
            "metadata": {"customer_id": "cus_1234", "plan": "enterprise", "experiment": "support_triage_v2"},
        },
        {"streaming": False},
    ),
    (
        "workflow",
        {
            "deployment": "research-brief",
            "variant": "default",
            "inputs": {"topic": "AI infrastructure trends"},
            "metadata": {"customer_id": "cus_123", "region": "us-east-1", "source": "daily_digest_job"},
        },
        {},
    ),
    (
        "agent",
        {
            "agent": "AGENT_UUID",
            "message": "Summarize this account before renewal.",
            "metadata": {"customer_id": "cus_123", "plan": "enterprise", "renewal_window_days": 30},
        },
        {"streaming": False},
    ),
    (
        "workflow",
        {
            "deployment": "YOUR_DEPLOYMENT_NAME",
            "variant": "YOUR_VARIANT_NAME",
            "inputs": {"topic": "State of enterprise AI in 2026"},
            "metadata": {"customer_id": "cus_123", "plan": "enterprise"},
        },
        {},
    ),
    (
        "prompt",
        {
            "deployment": "support-classifier",
            "metadata": {
                "customer_id": "cus_123",
                "plan": "enterprise",
                "region": "us-east-1",
                "experiment": "checkout_v2",
                "beta_user": True,
            },
        },
        {"streaming": False},
    ),
    ("workflow", {"deployment": "d", "inputs": {"companies": [{"name": "Fetch Hive"}]}}, {}),
]


@pytest.mark.parametrize(("kind", "documented", "more"), DOCUMENTED)
def test_documented_bodies(kind: str, documented: dict[str, Any], more: dict[str, Any]) -> None:
    """The arguments of each documented example are sent as the documented JSON, field for field."""
    operation = CALLS[kind](**documented)

    assert {**documented, **more} == body(operation)
    assert ("POST", f"/{kind}/invoke") == (operation.method, operation.path)
    assert f"POST /{kind}/invoke" == operation.name


CALLBACK_BODY = {
    "deployment": "YOUR_DEPLOYMENT_NAME",
    "variant": "YOUR_VARIANT_NAME",
    "async": {"enabled": True, "callback_url": "https://example.com/callback"},
    "inputs": {"topic": "State of enterprise AI in 2026"},
}


def test_documented_callback_delivery() -> None:
    """The documented example of callback delivery is sent for a callback_url alone."""
    operation = workflow(
        deployment="YOUR_DEPLOYMENT_NAME",
        variant="YOUR_VARIANT_NAME",
        inputs={"topic": "State of enterprise AI in 2026"},
        callback_url="https://example.com/callback",
    )

    assert CALLBACK_BODY == body(operation)


@pytest.mark.parametrize("kind", ["prompt", "agent"])
def test_streaming(kind: str) -> None:
    """Whether an answer is streamed is always said, because the service's documents disagree about its default."""
    assert {**LEAST[kind], "streaming": True} == body(CALLS[kind](streaming=True))
    assert {**LEAST[kind], "streaming": False} == body(CALLS[kind](streaming=False))
    assert [True, False] == [CALLS[kind](streaming=streaming).streaming for streaming in (True, False)]


def test_every_field_of_an_agent_call() -> None:
    """Each argument of an agent call has its documented field."""
    history = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "See this.", "attachments": [FILE], "image_urls": ["https://example.com/i"]},
        {"role": "assistant", "content": ""},
    ]
    operation = agent(
        thread_id="t/1?x",
        messages=history,
        attachments=[FILE, {"file_url": FILE, "id": ID, "file_name": "a.pdf", "file_type": "application/pdf"}],
        image_urls=("https://example.com/i",),
        known_artifact_refs=[ID, UUID(OTHER_ID)],
        artifact_refs=[UUID(ID)],
        async_options={"callback_url": "https://example.com/cb", "allow_background": False},
        user="user-1",
        metadata={"plan": None},
        tool_approval="auto_approve",
    )

    assert {
        "agent": "AGENT_UUID",
        "message": "Hello",
        "streaming": False,
        "thread_id": "t/1?x",
        "messages": history,
        "attachments": [FILE, {"file_url": FILE, "id": ID, "file_name": "a.pdf", "file_type": "application/pdf"}],
        "image_urls": ["https://example.com/i"],
        "known_artifact_refs": [ID, OTHER_ID],
        "artifact_refs": [ID],
        "async": {"callback_url": "https://example.com/cb", "allow_background": False},
        "user": "user-1",
        "metadata": {"plan": None},
        "tool_approval": "auto_approve",
    } == body(operation)


def test_every_field_of_a_workflow_call() -> None:
    """Each argument of a workflow call has its documented field."""
    operation = workflow(
        variant="v",
        inputs={"day": date(2026, 6, 1), "ids": (UUID(ID),)},
        callback_url="https://example.com/cb?key=1",
        user="user-1",
        metadata={},
        tool_approval="policy",
    )

    assert {
        "deployment": "brief",
        "variant": "v",
        "inputs": {"day": "2026-06-01", "ids": [ID]},
        "async": {"enabled": True, "callback_url": "https://example.com/cb?key=1"},
        "user": "user-1",
        "metadata": {},
        "tool_approval": "policy",
    } == body(operation)


@every_call
def test_none_is_not_sent(kind: str) -> None:
    """An argument left out is not sent at all."""
    assert LEAST[kind] == body(CALLS[kind]())


@every_call
@pytest.mark.parametrize("metadata", [{}, {"a": None}])
def test_metadata_is_sent_as_given(kind: str, metadata: dict[str, Any]) -> None:
    """Empty metadata is sent as an empty object, and None inside it as null."""
    assert {**LEAST[kind], "metadata": metadata} == body(CALLS[kind](metadata=metadata))


@every_call
@pytest.mark.parametrize(
    ("metadata", "sent"),
    [
        (None, {"app": "shop", "plan": "free"}),
        ({}, {"app": "shop", "plan": "free"}),
        ({"plan": "pro", "n": 1}, {"app": "shop", "plan": "pro", "n": 1}),
        ({"plan": None}, {"app": "shop", "plan": None}),
    ],
)
def test_default_metadata(kind: str, metadata: dict[str, Any] | None, sent: dict[str, Any]) -> None:
    """The client's default metadata is merged under the call's own."""
    settings = SETTINGS.changed(default_metadata={"app": "shop", "plan": "free"})

    assert {**LEAST[kind], "metadata": sent} == body(CALLS[kind](settings=settings, metadata=metadata))
    assert {"app": "shop", "plan": "free"} == settings.default_metadata


@pytest.mark.parametrize("kind", ["prompt", "workflow"])
@pytest.mark.parametrize("variant", [None, ""])
def test_no_variant(kind: str, variant: str | None) -> None:
    """A variant that is left out, or empty as in 0.4.1, is not sent."""
    assert LEAST[kind] == body(CALLS[kind](variant=variant))


def test_no_thread() -> None:
    """An empty thread id, the default of 0.4.1, is not sent."""
    assert LEAST["agent"] == body(agent(thread_id=""))


def test_empty_lists_are_sent() -> None:
    """An empty list that the caller passes is sent as such."""
    empty = {"messages": [], "attachments": [], "image_urls": [], "known_artifact_refs": [], "artifact_refs": []}

    assert {**LEAST["agent"], **empty, "async": {}} == body(agent(**empty, async_options={}))


@every_call
def test_callers_objects_stay(kind: str) -> None:
    """No call changes what the caller passed."""
    given: dict[str, Any] = {"metadata": {"a": 1}}
    if kind == "agent":
        given |= {
            "messages": [{"role": "user", "content": "a", "attachments": [{"file_url": FILE}]}],
            "attachments": [{"file_url": FILE}],
            "async_options": {"allow_background": True},
        }
    else:
        given |= {"inputs": {"list": [{"a": 1}]}}
    before = copy.deepcopy(given)

    CALLS[kind](**given)

    assert before == given


def test_what_an_operation_knows() -> None:
    """An operation knows whether it starts a run, waits for a workflow, and how its answer is read."""
    assert ["run", "run", "run"] == [call().effect for call in CALLS.values()]
    assert [False, True, False] == [call().direct_workflow for call in CALLS.values()]
    assert workflow(callback_url="https://example.com/cb").direct_workflow is False
    assert PromptResult is type(prompt().read(b"{}"))
    assert AgentReply is type(agent().read(b"{}"))
    assert WorkflowCompleted is type(workflow().read(b'{"run_status":"completed"}'))


def test_repr_hides_the_body() -> None:
    """What a caller sends does not show in the repr of an operation."""
    shown = repr(prompt(inputs={"secret": "s3cret"}))

    assert "s3cret" not in shown
    assert "/prompt/invoke" in shown


# --- required names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [("prompt", "deployment"), ("workflow", "deployment"), ("agent", "agent")],
)
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "it is empty."),
        (" \n", "it is empty."),
        (None, "None is not allowed."),
        (5, "an int is not allowed."),
        (b"greeter", "a bytes is not allowed."),
        (["greeter"], "a list is not allowed."),
        ("\ud800", "the text has half a surrogate pair in it."),
    ],
)
def test_required_names(kind: str, name: str, value: Any, problem: str) -> None:
    """A deployment or agent that is missing, blank or no str is refused by name."""
    assert f"{name}: {problem}" == refusal(kind, **{name: value}).message


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        ("prompt", "variant", " ", "variant: it is empty."),
        ("prompt", "variant", 5, "variant: an int is not allowed."),
        ("workflow", "variant", "\t", "variant: it is empty."),
        ("workflow", "variant", [], "variant: a list is not allowed."),
        ("prompt", "user", 5, "user: an int is not allowed."),
        ("workflow", "user", UUID(ID), "user: an UUID is not allowed."),
        ("agent", "user", {}, "user: a dict is not allowed."),
        ("agent", "message", "", "message: it is empty."),
        ("agent", "message", " \n", "message: it is empty."),
        ("agent", "message", None, "message: None is not allowed."),
        ("agent", "message", ["hi"], "message: a list is not allowed."),
        ("agent", "message", "\udc00", "message: the text has half a surrogate pair in it."),
        ("agent", "thread_id", 7, "thread_id: an int is not allowed."),
    ],
)
def test_texts(kind: str, name: str, value: Any, message: str) -> None:
    """A text argument of another type is refused by name."""
    assert message == refusal(kind, **{name: value}).message


# --- inputs and metadata ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["prompt", "workflow"])
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"score": float("nan")}, "inputs.score: nan is not a number of JSON."),
        ({"rows": [{"a": 1}, {"a": float("inf")}]}, "inputs.rows[1].a: inf is not a number of JSON."),
        ({"file": b"x"}, "inputs.file: bytes are not JSON."),
        ({1: "a"}, "inputs: the key 1 is an int."),
        ([1], "inputs: a list is not allowed."),
        ("topic", "inputs: a str is not allowed."),
        (5, "inputs: an int is not allowed."),
        (False, "inputs: a bool is not allowed."),
    ],
)
def test_inputs(kind: str, inputs: Any, message: str) -> None:
    """Inputs that have no honest JSON form, or are no object, are refused with their path."""
    assert message == refusal(kind, inputs=inputs).message


@every_call
@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (
            {"tags": ["a"]},
            "metadata.tags: a list is not allowed; metadata is flat: str, int, float, bool or None.",
        ),
        ({"a": {"b": 1}}, "metadata.a: a dict is not allowed; metadata is flat: str, int, float, bool or None."),
        ({"": 1}, "metadata: the key '' is not allowed."),
        ({5: 1}, "metadata: the key 5 is not allowed."),
        ({"f": float("nan")}, "metadata.f: nan is not a number of JSON."),
        ({"\ud800": 1}, "metadata: the text has half a surrogate pair in it."),
        ("a=1", "metadata: a str is not allowed."),
        ([], "metadata: a list is not allowed."),
        (0, "metadata: an int is not allowed."),
    ],
)
def test_metadata(kind: str, metadata: Any, message: str) -> None:
    """Metadata that is not flat is refused by every call with the path of what is not."""
    assert message == refusal(kind, metadata=metadata).message


# --- callback delivery --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/cb",
        "HTTPS://EXAMPLE.COM:8443/cb?key=1#x",
        "https://user:password@example.com/cb",
        "https://b\u00fccher.example/cb",
        "https://[2001:db8::1]/cb",
        "http://localhost:8000/cb",
        "http://127.0.0.1:8000/cb",
        "http://[::1]:8000/cb",
        "http://10.0.0.7/cb",
        "http://192.168.1.2/cb",
        "http://web:8000/cb",
        "http://app.localhost/cb",
        "http://app.local/cb",
        "http://app.internal/cb",
        "http://app.test/cb",
    ],
)
@pytest.mark.parametrize("kind", ["workflow", "agent"])
def test_callback_urls(kind: str, url: str) -> None:
    """A callback address is https, or http on a host of one's own network, and is sent as it was given."""
    given = {"callback_url": url} if kind == "workflow" else {"async_options": {"callback_url": url}}

    assert url == body(CALLS[kind](**given))["async"]["callback_url"]


BAD_URLS: list[tuple[Any, str]] = [
    ("http://example.com/cb?key=s3cret", "an http URL is not allowed."),
    ("http://8.8.8.8/cb?key=s3cret", "an http URL is not allowed."),
    ("http://localhost.example.com/cb?key=s3cret", "an http URL is not allowed."),
    ("ftp://example.com/cb?key=s3cret", "an ftp URL is not allowed."),
    ("example.com/cb?key=s3cret", "this is not an absolute URL, with https:// in front."),
    ("//example.com/cb?key=s3cret", "this is not an absolute URL, with https:// in front."),
    ("https:///cb?key=s3cret", "this is not an absolute URL, with https:// in front."),
    ("/cb?key=s3cret", "this is not an absolute URL, with https:// in front."),
    ("", "it is empty."),
    (" ", "it is empty."),
    ("https://example.com:port/cb?key=s3cret", "this is not a URL."),
    ("https://exam\nple.com/cb?key=s3cret", "this is not a URL."),
    ("https://[::1/cb?key=s3cret", "this is not a URL."),
    ("https://example.com/\ud800?key=s3cret", "the text has half a surrogate pair in it."),
    (5, "an int is not allowed."),
]


@pytest.mark.parametrize(("url", "problem"), BAD_URLS)
def test_bad_callback_urls(url: Any, problem: str) -> None:
    """A callback address that cannot work is refused, and never quoted: its query may be a secret."""
    of_workflow = refusal("workflow", callback_url=url)
    of_agent = refusal("agent", async_options={"callback_url": url})

    assert f"callback_url: {problem}" == of_workflow.message
    assert f"async_options.callback_url: {problem}" == of_agent.message
    assert "s3cret" not in f"{of_workflow} {of_agent} {of_workflow!r} {of_agent!r}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "async_options: a list is not allowed."),
        ("yes", "async_options: a str is not allowed."),
        ({"allow_background": "yes"}, "async_options.allow_background: a str is not allowed."),
        ({"allow_background": 1}, "async_options.allow_background: an int is not allowed."),
        ({"callbackurl": "https://x"}, "async_options.callbackurl: there is no such option."),
        ({"callback_url": b"s3cret"}, "async_options.callback_url: bytes are not JSON."),
    ],
)
def test_async_options(options: Any, message: str) -> None:
    """Options for background work of another shape are refused with their path."""
    assert message == refusal("agent", async_options=options).message


def test_async_options_left_out() -> None:
    """An option that is None is not sent."""
    assert {"allow_background": True} == body(agent(async_options={"callback_url": None, "allow_background": True}))[
        "async"
    ]


# --- tool approval ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["workflow", "agent"])
@pytest.mark.parametrize("mode", ["policy", "auto_approve"])
def test_tool_approval(kind: str, mode: str) -> None:
    """Both modes of tool approval are sent as given."""
    assert mode == body(CALLS[kind](tool_approval=mode))["tool_approval"]


@pytest.mark.parametrize("kind", ["workflow", "agent"])
@pytest.mark.parametrize(
    ("mode", "shown"),
    [("", "''"), ("always", "'always'"), ("Policy", "'Policy'"), (True, "True"), (["policy"], "['policy']")],
)
def test_bad_tool_approval(kind: str, mode: Any, shown: str) -> None:
    """Any other word for tool approval is refused with the two there are."""
    error = refusal(kind, tool_approval=mode)

    assert f"tool_approval: {shown} is not allowed." == error.message
    assert 'Pass "policy" or "auto_approve".' == error.hint


def test_tool_approval_of_an_enum() -> None:
    """A str Enum of one's own with a documented value is sent as its value."""
    mode = enum.Enum("Mode", {"AUTO": "auto_approve"}, type=str)

    assert "auto_approve" == body(agent(tool_approval=mode["AUTO"]))["tool_approval"]


# --- files of agents ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://example.com/a.pdf?key=s3cret", "an http URL is not allowed."),
        ("http://localhost/a.pdf?key=s3cret", "an http URL is not allowed."),
        *BAD_URLS[3:],
    ],
)
def test_bad_file_urls(url: Any, problem: str) -> None:
    """A file that is not at an https URL is refused with its exact place, and its URL is never quoted."""
    given = {
        "image_urls[1]": {"image_urls": [FILE, url]},
        "attachments[1].file_url": {"attachments": [FILE, {"file_url": url}]},
        "messages[1].attachments[0].file_url": {
            "messages": [
                {"role": "user", "content": ""},
                {"role": "user", "content": "", "attachments": [{"file_url": url}]},
            ]
        },
        "messages[0].image_urls[0]": {"messages": [{"role": "user", "content": "", "image_urls": [url]}]},
    }
    if isinstance(url, str):
        given["attachments[0]"] = {"attachments": [url]}

    for path, arguments in given.items():
        error = refusal("agent", **arguments)
        assert f"{path}: {problem}" == error.message
        assert "s3cret" not in f"{error} {error!r}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"attachments": FILE}, "attachments: a str is not allowed."),
        ({"attachments": {"file_url": FILE}}, "attachments: a dict is not allowed."),
        ({"attachments": [5]}, "attachments[0]: an int is not allowed."),
        ({"attachments": [FILE, None]}, "attachments[1]: None is not allowed."),
        ({"attachments": [b"https"]}, "attachments[0]: a bytes is not allowed."),
        ({"image_urls": [b"https"]}, "image_urls[0]: a bytes is not allowed."),
        ({"attachments": [{}]}, "attachments[0].file_url: it is missing."),
        ({"attachments": [{"url": FILE}]}, "attachments[0].file_url: it is missing."),
        (
            {"attachments": [{"file_url": FILE, "size": float("nan")}]},
            "attachments[0].size: nan is not a number of JSON.",
        ),
        ({"image_urls": FILE}, "image_urls: a str is not allowed."),
        ({"image_urls": iter([FILE])}, "image_urls: a list_iterator is not allowed."),
        ({"image_urls": [{"file_url": FILE}]}, "image_urls[0]: a dict is not allowed."),
        ({"messages": "hi"}, "messages: a str is not allowed."),
        ({"messages": {"role": "user"}}, "messages: a dict is not allowed."),
        ({"messages": ["hi"]}, "messages[0]: a str is not allowed."),
        ({"messages": [{"content": "hi"}]}, "messages[0].role: None is not allowed."),
        ({"messages": [{"role": "tool", "content": "hi"}]}, "messages[0].role: 'tool' is not allowed."),
        ({"messages": [{"role": ["user"], "content": "hi"}]}, "messages[0].role: ['user'] is not allowed."),
        ({"messages": [{"role": "user"}]}, "messages[0].content: None is not allowed."),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content: a list is not allowed."),
        ({"messages": [{"role": "user", "content": b"hi"}]}, "messages[0].content: bytes are not JSON."),
        (
            {"messages": [{"role": "user", "content": "", "attachments": FILE}]},
            "messages[0].attachments: a str is not allowed.",
        ),
        ({"messages": [{"role": "user", "content": "", "extra": b""}]}, "messages[0].extra: bytes are not JSON."),
    ],
)
def test_bad_files_and_messages(given: dict[str, Any], message: str) -> None:
    """Files and messages of another shape are refused with their exact path."""
    assert message == refusal("agent", **given).message


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_roles(role: str) -> None:
    """The three documented roles of a history pass, with fields this SDK does not know."""
    message = {"role": role, "content": "hi", "name": "Ann"}

    assert [message] == body(agent(messages=[message]))["messages"]


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"attachments": 6}, 6),
        ({"image_urls": 6}, 6),
        ({"attachments": 3, "image_urls": 3}, 6),
        ({"attachments": 2, "image_urls": 2, "artifact_refs": 2}, 6),
        ({"attachments": 5, "artifact_refs": 5}, 10),
    ],
)
def test_too_many_files(given: dict[str, int], count: int) -> None:
    """More than five files for one message, of whichever kind, are refused with the rule."""
    values: dict[str, Any] = {
        name: ([ID] if name == "artifact_refs" else [FILE]) * many for name, many in given.items()
    }
    error = refusal("agent", **values)

    assert f"attachments: {count} files are too many for one message." == error.message
    assert "attachments, image_urls and artifact_refs may be 5 together." == error.hint


@pytest.mark.parametrize(
    "given", [{"attachments": 5}, {"image_urls": 5}, {"attachments": 2, "image_urls": 2, "artifact_refs": 1}]
)
def test_five_files(given: dict[str, int]) -> None:
    """Five files for one message are allowed, and each message of a history has five of its own."""
    values: dict[str, Any] = {
        name: ([ID] if name == "artifact_refs" else [FILE]) * many for name, many in given.items()
    }
    history = [{"role": "user", "content": "", "attachments": [FILE] * 3, "image_urls": [FILE] * 2}] * 2

    sent = body(agent(**values, messages=history))

    assert history == sent["messages"]
    assert values == {name: sent[name] for name in values}


def test_too_many_files_in_a_message() -> None:
    """More than five files in one message of a history are refused with that message's path."""
    history = [{"role": "user", "content": "", "attachments": [FILE] * 3, "image_urls": [FILE] * 3}]

    assert (
        "messages[0].attachments: 6 files are too many for one message." == refusal("agent", messages=history).message
    )


# --- artifacts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"artifact_refs": [ID] * 6}, "artifact_refs: 6 are too many."),
        ({"known_artifact_refs": [ID] * 51}, "known_artifact_refs: 51 are too many."),
        ({"artifact_refs": ["a1"]}, "artifact_refs[0]: 'a1' is not a UUID."),
        ({"known_artifact_refs": [ID, 5]}, "known_artifact_refs[1]: 5 is not a UUID."),
        ({"artifact_refs": [None]}, "artifact_refs[0]: None is not a UUID."),
        ({"artifact_refs": ID}, "artifact_refs: a str is not allowed."),
        ({"known_artifact_refs": {ID}}, "known_artifact_refs: a set is not allowed."),
        (
            {"known_artifact_refs": [ID], "artifact_refs": [OTHER_ID]},
            f"artifact_refs: '{OTHER_ID}' is not among known_artifact_refs.",
        ),
        (
            {"known_artifact_refs": [], "artifact_refs": [ID]},
            f"artifact_refs: '{ID}' is not among known_artifact_refs.",
        ),
    ],
)
def test_bad_artifacts(given: dict[str, Any], message: str) -> None:
    """Artifacts beyond the documented numbers, unknown ones and ids that are no UUIDs are refused."""
    assert message == refusal("agent", **given).message


@pytest.mark.parametrize(
    "given",
    [
        {"artifact_refs": [ID] * 5},
        {"known_artifact_refs": [ID] * 50},
        {"known_artifact_refs": [ID, OTHER_ID], "artifact_refs": [OTHER_ID]},
    ],
)
def test_artifacts(given: dict[str, Any]) -> None:
    """Artifacts up to the documented numbers pass; without a list of known ones any may be chosen."""
    assert {**LEAST["agent"], **given} == body(agent(**given))


def test_artifacts_in_other_spellings() -> None:
    """An id in another spelling of the same UUID is the same artifact."""
    sent = body(agent(known_artifact_refs=[ID.upper()], artifact_refs=[UUID(ID)]))

    assert ([ID], [ID]) == (sent["known_artifact_refs"], sent["artifact_refs"])


def test_getting_ready_reads_an_empty_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reading needs is loaded before the first answer, whatever comes of it, and not again once it is there."""
    read: list[bytes] = []

    def reading(data: bytes) -> None:
        read.append(data)
        raise ValueError("there is nothing in it")

    operation = Operation("GET", "/x", b"", reading)
    operation.get_ready()
    assert [] == read
    monkeypatch.delitem(sys.modules, "fetch_hive_sdk.results")
    operation.get_ready()
    assert [b"{}"] == read
