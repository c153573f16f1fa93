"""Code written for 0.4.1: what it imports, calls, reads and catches, and the one warning that names the successor."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

import fetch_hive_sdk
from fetch_hive_sdk import (
    AsyncFetchHive,
    AuthenticationError,
    ConfigurationError,
    FetchHive,
    InvalidRequestError,
    NotFoundError,
    StreamFailedError,
    StreamIdleTimeoutError,
    StreamInterruptedError,
    UnexpectedResponseError,
    compat,
)
from fetch_hive_sdk.compat import OldMethods

from .faulty_server import Exchange, FaultyServer, reply, reset, stream, wait_for_hang_up

URL = "https://example.com/callback"
W = "/v1/public/workspaces/w%2F1"
LET = '{"type":"reasoning","response":" let","request_id":"req_1"}'
HEL = '{"type":"response","response":"Hel","request_id":"req_1"}'
LO = '{"type":"response","response":"lo","request_id":"req_1"}'
USAGE = '{"type":"usage","usage":{"total_tokens":3},"request_id":"req_1"}'
ERROR = '{"type":"error","error":"The provider failed","error_code":"internal_server_error","request_id":"req_1"}'
EVENTS = [json.loads(event) for event in (LET, HEL, LO, USAGE)]
WHOLE = "".join(f"data: {event}\n\n" for event in (LET, HEL, LO, USAGE, "[DONE]")).encode()


@pytest.fixture(autouse=True)
def nothing_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process, no warning has been given yet."""
    monkeypatch.setattr(compat, "_warned", set())


@contextmanager
def superseded(old: str, new: str) -> Generator[None, None, None]:
    """Expects one warning, which names both and points into this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    [warning] = caught
    assert (warning.category, warning.filename) == (DeprecationWarning, __file__)
    assert str(warning.message) == f"{old} is superseded: use {new}."


@contextmanager
def silence() -> Generator[None, None, None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def answering(
    handle: Callable[[httpx.Request], httpx.Response], **options: Any
) -> tuple[FetchHive, list[httpx.Request]]:
    """A client whose requests are answered by a function, and the requests."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return handle(request)

    http_client = httpx.Client(transport=httpx.MockTransport(answer))
    return FetchHive("fhk_test", http_client=http_client, max_retries=0, **options), requests


# --- the methods with flat names ------------------------------------------------------------------------

KNOWLEDGE_BASE = f"{W}/knowledge_bases/k%2F1"
ITEM = f"{KNOWLEDGE_BASE}/items/i%2F1"
AGENT = f"{W}/agents/a%2F1"
CHAT = f"{AGENT}/chats/c%2F1"
FILTERS = {"status": "pending", "agent_id": "a", "run_id": "r", "request_id": "req_1", "cursor": "c", "limit": 5}
SEARCH = {
    "search_query": "x",
    "search_type": "hybrid",
    "search_chunk_limit": 5,
    "search_score_threshold": 0,
    "more": None,
}
NAMED = {"name": "N", "description": None}

# The method, its arguments, its successor, and the request.
OLD: list[tuple[str, tuple[Any, ...], dict[str, Any], str, str, Any]] = [
    ("get_request", ("req/1",), {}, "requests.get()", "GET /v1/public/requests/req%2F1", None),
    ("get_agent_delegation", ("d/1",), {}, "delegations.get()", "GET /v1/agent/delegations/d%2F1", None),
    ("cancel_agent_delegation", ("d/1",), {}, "delegations.cancel()", "POST /v1/agent/delegations/d%2F1/cancel", {}),
    (
        "list_thread_delegations",
        ("t/1?",),
        {},
        "delegations.list()",
        "GET /v1/agent/threads/t%2F1%3F/delegations",
        None,
    ),
    (
        "list_tool_action_approvals",
        ("w/1",),
        FILTERS,
        "approvals.list() or approvals.iterate()",
        f"GET {W}/tool_action_approvals?status=pending&agent_id=a&run_id=r&request_id=req_1&cursor=c&limit=5",
        None,
    ),
    (
        "get_tool_action_approval",
        ("w/1", "p/1"),
        {},
        "approvals.get()",
        f"GET {W}/tool_action_approvals/p%2F1",
        None,
    ),
    (
        "decide_tool_action_approval",
        ("w/1", "p/1", "deny"),
        {},
        "approvals.decide()",
        f"POST {W}/tool_action_approvals/p%2F1/decide",
        {"decision": "deny"},
    ),
    ("list_knowledge_bases", ("w/1",), {}, "knowledge_bases.list()", f"GET {W}/knowledge_bases", None),
    ("get_knowledge_base", ("w/1", "k/1"), {}, "knowledge_bases.get()", f"GET {KNOWLEDGE_BASE}", None),
    (
        "create_knowledge_base",
        ("w/1", NAMED),
        {},
        "knowledge_bases.create()",
        f"POST {W}/knowledge_bases",
        {"knowledge_base": NAMED},
    ),
    (
        "update_knowledge_base",
        ("w/1", "k/1", NAMED),
        {},
        "knowledge_bases.update()",
        f"PATCH {KNOWLEDGE_BASE}",
        {"knowledge_base": NAMED},
    ),
    ("delete_knowledge_base", ("w/1", "k/1"), {}, "knowledge_bases.delete()", f"DELETE {KNOWLEDGE_BASE}", None),
    (
        "search_knowledge_base",
        ("w/1", "k/1"),
        SEARCH,
        "knowledge_bases.search()",
        f"POST {KNOWLEDGE_BASE}/search",
        SEARCH,
    ),
    (
        "list_knowledge_base_items",
        ("w/1", "k/1"),
        {},
        "knowledge_bases.items.list()",
        f"GET {KNOWLEDGE_BASE}/items",
        None,
    ),
    ("get_knowledge_base_item", ("w/1", "k/1", "i/1"), {}, "knowledge_bases.items.get()", f"GET {ITEM}", None),
    (
        "create_knowledge_base_item",
        ("w/1", "k/1", NAMED),
        {},
        "knowledge_bases.items.create()",
        f"POST {KNOWLEDGE_BASE}/items",
        {"knowledge_base_item": NAMED},
    ),
    (
        "update_knowledge_base_item",
        ("w/1", "k/1", "i/1", NAMED),
        {},
        "knowledge_bases.items.update()",
        f"PATCH {ITEM}",
        {"knowledge_base_item": NAMED},
    ),
    (
        "delete_knowledge_base_item",
        ("w/1", "k/1", "i/1"),
        {},
        "knowledge_bases.items.delete()",
        f"DELETE {ITEM}",
        None,
    ),
    (
        "regenerate_knowledge_base_item",
        ("w/1", "k/1", "i/1"),
        {},
        "knowledge_bases.items.regenerate()",
        f"POST {ITEM}/regenerate",
        {},
    ),
    ("list_agents", ("w/1",), {}, "agents.list()", f"GET {W}/agents", None),
    ("get_agent", ("w/1", "a/1"), {}, "agents.get()", f"GET {AGENT}", None),
    ("create_agent", ("w/1", NAMED), {}, "agents.create()", f"POST {W}/agents", {"agent": NAMED}),
    ("update_agent", ("w/1", "a/1", NAMED), {}, "agents.update()", f"PATCH {AGENT}", {"agent": NAMED}),
    ("delete_agent", ("w/1", "a/1"), {}, "agents.delete()", f"DELETE {AGENT}", None),
    ("get_agent_chat", ("w/1", "a/1", "c/1"), {}, "chats.get()", f"GET {CHAT}", None),
    ("create_agent_chat", ("w/1", "a/1", NAMED), {}, "chats.create()", f"POST {AGENT}/chats", {"chat": NAMED}),
    ("update_agent_chat", ("w/1", "a/1", "c/1", NAMED), {}, "chats.update()", f"PATCH {CHAT}", {"chat": NAMED}),
    ("delete_agent_chat", ("w/1", "a/1", "c/1"), {}, "chats.delete()", f"DELETE {CHAT}", None),
    ("clear_agent_chat_messages", ("w/1", "a/1", "c/1"), {}, "chats.clear()", f"PATCH {CHAT}/clear_messages", {}),
    ("list_agent_chat_messages", ("w/1", "a/1", "c/1"), {}, "chats.messages()", f"GET {CHAT}/messages", None),
]
OLD_STREAMS = {"ainvoke_prompt_stream", "ainvoke_agent_stream"}
as_old = pytest.mark.parametrize(
    ("name", "ids", "arguments", "successor", "endpoint", "body"), OLD, ids=[case[0] for case in OLD]
)


def test_every_old_method_has_a_case() -> None:
    """No method that only 0.4.1 had is left out of these tests."""
    names = {name for name in vars(OldMethods) if not name.startswith("_")}
    assert names == {case[0] for case in OLD} | OLD_STREAMS


@as_old
def test_old_method(
    name: str, ids: tuple[Any, ...], arguments: dict[str, Any], successor: str, endpoint: str, body: Any
) -> None:
    """It sends what it sent, ids escaped; gives a plain dict; and names its successor, at the caller's line."""
    answer = {"agents": [{"id": "1", "unknown": [None, 1.5]}], "message": "Done", "name": None}
    client, requests = answering(lambda request: httpx.Response(200, json=answer))
    with superseded(f"FetchHive.{name}()", f"client.{successor}"):
        result = getattr(client, name)(*ids, **arguments)
    assert (type(result), result, json.loads(json.dumps(result))) == (dict, answer, answer)
    [request] = requests
    assert f"{request.method} {request.url.raw_path.decode()}" == endpoint
    assert (json.loads(request.content) if request.content else None) == body
    assert request.headers["Authorization"] == "Bearer fhk_test"


@as_old
def test_successors_exist(
    name: str, ids: tuple[Any, ...], arguments: dict[str, Any], successor: str, endpoint: str, body: Any
) -> None:
    """The successor that a warning names is a method of both clients."""
    for client in (FetchHive("fhk_test"), AsyncFetchHive("fhk_test")):
        for dotted in successor.replace("()", "").split(" or "):
            member: Any = client
            for part in dotted.split("."):
                member = getattr(member, part)
            assert callable(member)


def test_arguments_by_name() -> None:
    """The arguments can be passed by the names they had."""
    client, requests = answering(lambda request: httpx.Response(200, json={}))
    with silence():
        client.get_request(id="r")
        client.update_knowledge_base_item(
            workspace_id="w", knowledge_base_id="k", id="i", knowledge_base_item={"name": "N"}
        )
        client.update_agent_chat(workspace_id="w", agent_id="a", chat_id="c", chat={"name": "N"})
    assert [request.url.path for request in requests] == [
        "/v1/public/requests/r",
        "/v1/public/workspaces/w/knowledge_bases/k/items/i",
        "/v1/public/workspaces/w/agents/a/chats/c",
    ]


def test_each_method_warns_once() -> None:
    """A second call of the same method is silent, from wherever it comes; another method warns for itself."""
    client, _ = answering(lambda request: httpx.Response(200, json={}))
    with superseded("FetchHive.get_request()", "client.requests.get()"):
        client.get_request("r")
        client.get_request("r")
    with superseded("FetchHive.list_agents()", "client.agents.list()"):
        client.get_request("r")
        client.list_agents("w")


def test_each_use_is_an_error_where_warnings_are() -> None:
    """Where warnings are errors, every use is one, and nothing is sent."""
    client, requests = answering(lambda request: httpx.Response(200, json={}))
    for _ in range(3):
        with pytest.raises(DeprecationWarning, match=r"client\.requests\.get"):
            client.get_request("r")
    assert requests == []


def test_import_warns_of_nothing() -> None:
    """Importing what 0.4.1 had, and making a client, warns of nothing."""
    code = (
        "from fetch_hive_sdk import FetchHive, iter_sse, aiter_sse\n"
        "from fetch_hive_sdk.streaming import iter_sse, aiter_sse\n"
        "from fetch_hive_sdk.client import FetchHive, DEFAULT_BASE_URL, Metadata\n"
        "FetchHive('fhk_x', 'https://example.com/v1', 120.0)"
    )
    subprocess.run([sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code], check=True)


def test_empty_answer() -> None:
    """An answer without a body is an empty dict."""
    client, _ = answering(lambda request: httpx.Response(204))
    with silence():
        assert client.delete_agent("w", "a") == {}


@pytest.mark.parametrize("answer", [[{"id": "1"}], None, True, "done", {"approval": None}])
def test_answer_of_any_json(answer: Any) -> None:
    """An answer that is no object is given as it came: what a decision is answered with is not documented."""
    client, _ = answering(lambda request: httpx.Response(200, text=json.dumps(answer)))
    with silence():
        assert client.decide_tool_action_approval("w", "p", "allow_once") == answer


def test_answer_that_is_no_json() -> None:
    """An answer that is no JSON is a ValueError, as it was, with the answer in it."""
    client, _ = answering(lambda request: httpx.Response(200, html="<p>Hello</p>"))
    with silence(), pytest.raises(UnexpectedResponseError) as caught:
        client.list_agents("w")
    assert (caught.value.body, isinstance(caught.value, ValueError)) == ("<p>Hello</p>", True)


def test_wrong_arguments() -> None:
    """What the service must refuse is refused before it is sent, and without a warning of something else."""
    client, requests = answering(lambda request: httpx.Response(200, json={}))
    with pytest.raises(InvalidRequestError, match="decision"):
        client.decide_tool_action_approval("w", "p", "always_allow")
    with pytest.raises(ValueError, match="request_id"):
        client.get_request("")
    assert requests == []


def test_copies() -> None:
    """A client's copies have the old methods too."""
    client, _ = answering(lambda request: httpx.Response(200, json={"agents": []}))
    with silence():
        assert client.with_options(timeout=3).list_agents("w") == {"agents": []}


# --- async_mode -----------------------------------------------------------------------------------------

ASYNC_MODE = "callback_url= alone for callback delivery, nothing for direct delivery"


def workflows() -> tuple[FetchHive, list[httpx.Request]]:
    return answering(lambda request: httpx.Response(200, json={"request_id": "req_1", "run_status": "running"}))


def delivery(requests: list[httpx.Request]) -> Any:
    return json.loads(requests[-1].content).get("async")


def test_async_mode() -> None:
    """True asks for callback delivery, False for direct delivery whatever the URL is, and each is warned of once."""
    client, requests = workflows()
    with superseded("async_mode=", ASYNC_MODE):
        run = client.invoke_workflow(deployment="d", async_mode=True, callback_url=URL)
    assert (delivery(requests), run["status"]) == ({"enabled": True, "callback_url": URL}, "running")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for ignored in (URL, "no url", None):
            client.invoke_workflow(deployment="d", async_mode=False, callback_url=ignored)
            assert delivery(requests) is None


def test_no_async_mode() -> None:
    """Without it the URL alone decides, and nothing is warned of."""
    client, requests = workflows()
    client.invoke_workflow(deployment="d", callback_url=URL)
    assert delivery(requests) == {"enabled": True, "callback_url": URL}
    client.invoke_workflow(deployment="d", async_mode=None)
    assert delivery(requests) is None


def test_async_mode_without_url() -> None:
    """True without a URL is refused before it is sent, as the service would; 0.4.1 sent it."""
    client, requests = workflows()
    for nothing in (None, ""):
        with silence(), pytest.raises(ValueError, match="callback_url"):
            client.invoke_workflow(deployment="d", async_mode=True, callback_url=nothing)
    assert requests == []


@pytest.mark.parametrize("odd", ["", "yes", {"enabled": True}])
def test_odd_async_mode(odd: Any) -> None:
    """Anything but a bool or a number is refused: what was meant cannot be known."""
    client, requests = workflows()
    with pytest.raises(InvalidRequestError, match="async_mode"):
        client.invoke_workflow(deployment="d", async_mode=odd, callback_url=URL)
    assert requests == []


def test_async_mode_as_a_number() -> None:
    """1 and 0 still mean True and False."""
    client, requests = workflows()
    with pytest.warns(DeprecationWarning, match="async_mode="):
        client.invoke_workflow(deployment="d", async_mode=1, callback_url=URL)  # type: ignore[arg-type]
    client.invoke_workflow(deployment="d", async_mode=0, callback_url=URL)  # type: ignore[arg-type]
    assert [True, False] == ["async" in json.loads(request.content) for request in requests]


def test_async_mode_of_the_async_client() -> None:
    """The async client takes it too, and the warning points at the line that awaits the call."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"request_id": "req_1", "run_status": "running"})

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http_client:
            client = AsyncFetchHive("fhk_test", http_client=http_client)
            with superseded("async_mode=", ASYNC_MODE):
                await client.invoke_workflow(deployment="d", async_mode=True, callback_url=URL)

    anyio.run(main)
    assert delivery(sent) == {"enabled": True, "callback_url": URL}


# --- async streams of the sync client ---------------------------------------------------------------------

AINVOKES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ainvoke_prompt_stream": (
        {"deployment": "d", "variant": "v", "inputs": {"a": [1]}, "user": "u", "metadata": {"m": 1}},
        {"deployment": "d", "variant": "v", "inputs": {"a": [1]}, "user": "u", "metadata": {"m": 1}, "streaming": True},
    ),
    "ainvoke_agent_stream": (
        {
            "agent": "a",
            "message": "m",
            "thread_id": "t",
            "user": "u",
            "metadata": {"m": 1},
            "messages": [{"role": "user", "content": "c"}],
            "image_urls": ["https://example.com/i"],
            "attachments": ["https://example.com/a"],
            "known_artifact_refs": ["01900000-0000-7000-8000-000000000001"],
            "artifact_refs": ["01900000-0000-7000-8000-000000000001"],
            "tool_approval": "policy",
        },
        {
            "agent": "a",
            "message": "m",
            "thread_id": "t",
            "user": "u",
            "metadata": {"m": 1},
            "messages": [{"role": "user", "content": "c"}],
            "image_urls": ["https://example.com/i"],
            "attachments": ["https://example.com/a"],
            "known_artifact_refs": ["01900000-0000-7000-8000-000000000001"],
            "artifact_refs": ["01900000-0000-7000-8000-000000000001"],
            "tool_approval": "policy",
            "streaming": True,
        },
    ),
}
FEW: dict[str, dict[str, Any]] = {
    "ainvoke_prompt_stream": {"deployment": "d"},
    "ainvoke_agent_stream": {"agent": "a", "message": "m"},
}
as_ainvoke = pytest.mark.parametrize("name", sorted(AINVOKES))


async def collect(events: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event async for event in events]


@as_ainvoke
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ainvoke(faulty: FaultyServer, name: str, backend: str) -> None:
    """It sends all its arguments, gives events as plain dicts, and one client serves any number of event loops."""
    faulty.then(stream(LET, HEL, LO, USAGE, "[DONE]"))
    client = FetchHive("fhk_test", faulty.base_url)
    for arguments in (AINVOKES[name][0], FEW[name]):
        with silence():
            events = anyio.run(collect, getattr(client, name)(**arguments), backend=backend)
        assert (events, {type(event) for event in events}) == (EVENTS, {dict})
        json.dumps(events)
    full, few = [json.loads(request.body) for request in faulty.requests]
    assert (full, few) == (AINVOKES[name][1], {**FEW[name], "streaming": True})


@as_ainvoke
def test_ainvoke_warns_when_it_is_called(name: str) -> None:
    """The warning points at the call, and comes before anything is read; what is never read sends nothing."""
    with superseded(f"FetchHive.{name}()", f"AsyncFetchHive().{name[1:]}()"):
        getattr(FetchHive("fhk_test"), name)(**FEW[name])
    assert hasattr(AsyncFetchHive, name[1:])


@as_ainvoke
@pytest.mark.parametrize("how", ["closed", "break"])
def test_ainvoke_left_early(faulty: FaultyServer, name: str, how: str) -> None:
    """Leaving it early closes its connection: at once where it is closed, else when the event loop is done with it."""
    left = threading.Event()

    def hung_up(exchange: Exchange) -> None:
        wait_for_hang_up(exchange)
        left.set()

    faulty.then(stream(HEL, end=hung_up))

    async def main() -> None:
        with silence():
            events = getattr(FetchHive("fhk_test", faulty.base_url), name)(**FEW[name])
        async for event in events:
            assert event == json.loads(HEL)
            break
        if how == "closed":
            await events.aclose()
            assert await anyio.to_thread.run_sync(left.wait, 10)

    anyio.run(main)
    assert left.wait(10)


@as_ainvoke
def test_ainvoke_refused(faulty: FaultyServer, name: str) -> None:
    """An error status is raised at the first step; unlike in 0.4.1 the body can be read."""
    faulty.then(reply(401, b'{"error":"Invalid access."}'))
    with silence():
        events = getattr(FetchHive("fhk_test", faulty.base_url), name)(**FEW[name])
    with pytest.raises(httpx.HTTPStatusError) as caught:
        anyio.run(collect, events)
    assert (caught.value.response.status_code, caught.value.response.json()) == (401, {"error": "Invalid access."})


@as_ainvoke
def test_ainvoke_fails(faulty: FaultyServer, name: str) -> None:
    """An error event is given, and then raised; a stream that is cut is an error too."""
    faulty.then(stream(HEL, ERROR), stream(HEL, end=reset))
    client = FetchHive("fhk_test", faulty.base_url)
    seen: list[Any] = []

    async def main() -> None:
        async for event in getattr(client, name)(**FEW[name]):
            seen.append(event)  # noqa: PERF401 - what was seen before the failure counts

    with silence(), pytest.raises(StreamFailedError, match="The provider failed"):
        anyio.run(main)
    assert seen == [json.loads(HEL), json.loads(ERROR)]
    with silence(), pytest.raises(StreamInterruptedError):
        anyio.run(main)
    assert seen[2:] == [json.loads(HEL)]


@as_ainvoke
def test_ainvoke_with_given_http_client(name: str) -> None:
    """A client with a sync http_client of the caller's cannot stream asynchronously: it says so, and what can."""
    client, requests = answering(lambda request: httpx.Response(200))
    with silence(), pytest.raises(ConfigurationError, match="AsyncFetchHive") as caught:
        getattr(client, name)(**FEW[name])
    assert (name in str(caught.value), requests) == (True, [])


def test_ainvoke_with_wrong_arguments() -> None:
    """Wrong arguments are refused at the call."""
    with pytest.raises(InvalidRequestError, match="deployment"):
        FetchHive("fhk_test").ainvoke_prompt_stream(deployment="")


# --- iter_sse and aiter_sse ---------------------------------------------------------------------------------

Pieces = list[Any]


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A response's body in pieces, of which the last may be an exception."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def response_of(pieces: Pieces, status: int = 200, timeout: float | None = None) -> httpx.Response:
    extensions = {} if timeout is None else {"timeout": httpx.Timeout(timeout).as_dict()}
    request = httpx.Request("POST", "https://example.com/v1/prompt/invoke?secret=x", extensions=extensions)
    return httpx.Response(status, stream=Body(pieces), request=request)


Read = Callable[[httpx.Response, list[Any]], None]


def read(response: httpx.Response, events: list[Any]) -> None:
    with silence():
        for event in fetch_hive_sdk.iter_sse(response):
            events.append(event)  # noqa: PERF402 - what was read before a failure counts


def read_async(response: httpx.Response, events: list[Any]) -> None:
    async def main() -> None:
        with silence():
            async for event in fetch_hive_sdk.aiter_sse(response):
                events.append(event)  # noqa: PERF401 - as above

    anyio.run(main)


both = pytest.mark.parametrize("read_into", [read, read_async])


@both
@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([WHOLE], id="whole"),
        pytest.param([WHOLE[index : index + 1] for index in range(len(WHOLE))], id="byte by byte"),
        pytest.param([WHOLE.replace(b"\n", b"\r\n")], id="CRLF"),
        pytest.param([WHOLE.replace(b"\n", b"\r")], id="CR"),
        pytest.param([WHOLE.replace(b"data: ", b"data:")], id="no space"),
        pytest.param([b"\xef\xbb\xbf", WHOLE], id="BOM"),
        pytest.param([WHOLE.replace(b',"', b',\ndata: "')], id="data in lines"),
        pytest.param([b": hello\n\nevent: message\nid: 1\nretry: 5\n", WHOLE], id="comments and other fields"),
        pytest.param([WHOLE, b"data: {}\n\n", httpx.ReadError("late")], id="something after the end"),
        pytest.param([WHOLE.replace(b"data: [DONE]\n\n", b"")], id="no DONE"),
        pytest.param([WHOLE.replace(b"data: [DONE]\n\n", b""), httpx.ReadError("cut")], id="cut after usage"),
    ],
)
def test_sse(read_into: Read, pieces: Pieces) -> None:
    """Events are read as plain dicts however they are cut and written; 0.4.1 lost most of these."""
    events: list[Any] = []
    read_into(response_of(pieces), events)
    assert (events, {type(event) for event in events}) == (EVENTS, {dict})


@both
def test_sse_of_unknown_events(read_into: Read) -> None:
    """Events of a type that nobody knows yet come as they are."""
    events: list[Any] = []
    read_into(response_of([b'data: {"type":"new","x":[1.0,null]}\n\ndata: {"no":"type"}\n\ndata: [DONE]\n\n']), events)
    assert events == [{"type": "new", "x": [1.0, None]}, {"no": "type"}]


@both
@pytest.mark.parametrize("status", [302, 404, 500])
def test_sse_of_refused_call(read_into: Read, status: int) -> None:
    """An error status is an httpx.HTTPStatusError, whose body can be read."""
    with pytest.raises(httpx.HTTPStatusError) as caught:
        read_into(response_of([b'{"error":"Not ', b'found"}'], status), [])
    error: Any = caught.value
    assert (error.response.status_code, error.response.json()) == (status, {"error": "Not found"})
    assert (error.status_code, error.body, "Not found" in str(error)) == (status, {"error": "Not found"}, True)
    assert "secret" not in str(error)
    assert error.may_have_run == (status == 500)
    assert (error.request.url.path, isinstance(error, NotFoundError)) == ("/v1/prompt/invoke", status == 404)


@both
def test_sse_of_refused_call_cut(read_into: Read) -> None:
    """An error status whose body breaks off is that error all the same, and can be pickled."""
    with pytest.raises(AuthenticationError) as caught:
        read_into(response_of([b'{"err', httpx.ReadError("cut")], 401), [])
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert (error.response.status_code, error.response.content) == (401, b"")


@both
def test_sse_of_failing_run(read_into: Read) -> None:
    """An error event is given, and the next step raises it with what had come until then."""
    events: list[Any] = []
    with pytest.raises(StreamFailedError, match="The provider failed") as caught:
        read_into(response_of([f"data: {HEL}\n\ndata: {ERROR}\n\ndata: [DONE]\n\n".encode()]), events)
    assert events == [json.loads(HEL), json.loads(ERROR)]
    assert (caught.value.error_code, caught.value.partial.response) == ("internal_server_error", "Hel")


@both
@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([f"data: {HEL}\n\n".encode()], id="cut"),
        pytest.param([f"data: {HEL}\n\ndata: {USAGE}".encode()], id="cut inside an event"),
        pytest.param([f"data: {HEL}\n\ndata: {{\n\n".encode(), WHOLE], id="malformed"),
        pytest.param([f"data: {HEL}\n\ndata: [1]\n\n".encode(), WHOLE], id="no object"),
        pytest.param([f"data: {HEL}\n\n".encode(), httpx.ReadError("reset")], id="reset"),
        pytest.param([f"data: {HEL}\n\n".encode(), httpx.StreamClosed()], id="closed"),
        pytest.param([f"data: {HEL}\n\n".encode(), ConnectionResetError()], id="error of the system"),
    ],
)
def test_sse_of_broken_stream(read_into: Read, pieces: Pieces) -> None:
    """A stream that breaks is an error that says so, also for code that catches httpx's; 0.4.1 just ended."""
    events: list[Any] = []
    with pytest.raises(StreamInterruptedError, match=r"The stream of POST /v1/prompt/invoke was interrupted") as caught:
        read_into(response_of(pieces), events)
    assert events == [json.loads(HEL)]
    assert isinstance(caught.value, httpx.ReadError if "ReadError" in repr(pieces) else httpx.TransportError)
    assert (caught.value.partial.response, caught.value.request_id) == ("Hel", "req_1")
    assert caught.value.request.method == "POST"
    [*_, last] = pieces
    assert caught.value.__cause__ is (last if isinstance(last, Exception) else None)


@both
@pytest.mark.parametrize(("timeout", "told"), [(5.0, "5 s"), (None, "60 s")])
def test_sse_of_silent_stream(read_into: Read, timeout: float | None, told: str) -> None:
    """Where the caller's own timeout is over, the error names it."""
    pieces = [f"data: {HEL}\n\n".encode(), httpx.ReadTimeout("slow")]
    with pytest.raises(StreamIdleTimeoutError, match=f"no event came for {told}") as caught:
        read_into(response_of(pieces, timeout=timeout), [])
    assert isinstance(caught.value, httpx.ReadTimeout)


@both
def test_sse_of_plain_answer(read_into: Read) -> None:
    """An answer that is no stream is an error; with 0.4.1 nothing came of it."""
    with pytest.raises(StreamInterruptedError):
        read_into(response_of([b'{"response":"Hello"}']), [])


def test_sse_warns_when_it_is_called() -> None:
    """Both warn once, at the call and not when they are read, and name what makes the call too."""
    response = response_of([WHOLE])
    with superseded("iter_sse()", "FetchHive().invoke_prompt_stream() or invoke_agent_stream()"):
        fetch_hive_sdk.iter_sse(response)
        events = fetch_hive_sdk.iter_sse(response)
    assert isinstance(events, Generator)
    assert list(events) == EVENTS
    with superseded("aiter_sse()", "AsyncFetchHive().invoke_prompt_stream() or invoke_agent_stream()"):
        assert isinstance(fetch_hive_sdk.aiter_sse(response), AsyncGenerator)
        fetch_hive_sdk.aiter_sse(response)


def test_sse_leaves_the_response_open() -> None:
    """The response is the caller's: leaving the events early does not close it, nor does their end."""
    response = response_of([f"data: {HEL}\n\n".encode(), WHOLE])
    with silence():
        for event in fetch_hive_sdk.iter_sse(response):
            assert event == json.loads(HEL)
            break
    assert not response.is_closed


# --- what is imported and caught ----------------------------------------------------------------------------


def test_imports() -> None:
    """The modules of 0.4.1 have what could be imported from them."""
    from fetch_hive_sdk import aiter_sse, client, iter_sse, streaming
    from fetch_hive_sdk.client import DEFAULT_BASE_URL, Metadata
    from fetch_hive_sdk.client import FetchHive as FromClient

    assert (streaming.iter_sse, streaming.aiter_sse) == (iter_sse, aiter_sse)
    assert (FromClient, client.Metadata) == (FetchHive, Metadata)
    assert DEFAULT_BASE_URL == "https://api.fetchhive.com/v1"
    assert sorted(inspect.getmembers(streaming, inspect.isfunction)) == [
        ("aiter_sse", aiter_sse),
        ("iter_sse", iter_sse),
    ]


def test_missing_key() -> None:
    """A missing key is the ValueError it was."""
    with pytest.raises(ValueError, match="FETCH_HIVE_API_KEY"):
        FetchHive()


def test_hive_agent_without_url() -> None:
    """A hive agent without a callback URL is the ValueError it was."""
    client, requests = answering(lambda request: httpx.Response(202, json={}))
    with pytest.raises(ValueError, match="callback_url"):
        client.invoke_hive_agent(hive_agent="h", objective="o", callback_url="")
    assert requests == []


CALLS: dict[str, Callable[[FetchHive], object]] = {
    "invoke": lambda client: client.invoke_prompt(deployment="d"),
    "stream": lambda client: list(client.invoke_agent_stream(agent="a", message="m")),
    "old": lambda client: client.list_agents("w"),
}
as_call = pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))


@as_call
@pytest.mark.parametrize("caught_as", [httpx.HTTPStatusError, httpx.HTTPError, Exception])
def test_status_is_caught(call: Callable[[FetchHive], object], caught_as: type[Exception]) -> None:
    """What catches httpx's error of a status catches it, and reads the response as before."""
    client, _ = answering(lambda request: httpx.Response(404, json={"error": "Not found"}))
    with silence(), pytest.raises(caught_as) as caught:
        call(client)
    error: Any = caught.value
    assert (error.response.status_code, error.response.json()) == (404, {"error": "Not found"})
    assert str(error.request.url).startswith("https://api.fetchhive.com/v1/")


FAILURES = [
    httpx.ConnectError("refused"),
    httpx.ReadError("reset"),
    httpx.WriteError("reset"),
    httpx.RemoteProtocolError("closed"),
    httpx.ProxyError("407"),
    httpx.ConnectTimeout("slow"),
    httpx.ReadTimeout("slow"),
    httpx.WriteTimeout("slow"),
    httpx.PoolTimeout("full"),
    httpx.DecodingError("no gzip"),
]


@as_call
@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_failure_is_caught(call: Callable[[FetchHive], object], failure: httpx.RequestError) -> None:
    """What catches an error of httpx, or its family, catches a failure on the way; httpx's own is the cause."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise failure

    client, _ = answering(fail)
    with silence(), pytest.raises(fetch_hive_sdk.FetchHiveError) as caught:
        call(client)
    assert caught.value.__cause__ is failure
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        for family in (type(failure), httpx.RequestError, httpx.HTTPError):
            assert isinstance(error, family)


@as_call
def test_deadline_is_caught(faulty: FaultyServer, call: Callable[[FetchHive], object]) -> None:
    """What catches httpx's timeout while it reads catches the end of `timeout`, too."""
    faulty.then(wait_for_hang_up)
    client = FetchHive("fhk_test", faulty.base_url, 0.05, max_retries=0, idle_timeout=0.05)
    with client, silence(), pytest.raises(httpx.ReadTimeout):
        call(client)
