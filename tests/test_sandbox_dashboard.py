"""The run log in the browser and the control API, by HTTP alone: what they show, what they do and whom they refuse."""

from __future__ import annotations

import ast
import asyncio
import html
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from fetch_hive_sdk.sandbox import Answer, Choices, HumanInTheLoop, Sandbox
from fetch_hive_sdk.sandbox.dashboard import HostCheck, bodies, routes, words
from fetch_hive_sdk.sandbox.dashboard.advice import fix_of_refused, fix_of_run
from fetch_hive_sdk.sandbox.dashboard.filters import LogQuery, metadata_value, written
from fetch_hive_sdk.sandbox.dashboard.get_code import curl_code, literal, python_code
from fetch_hive_sdk.sandbox.dashboard.live import changes
from fetch_hive_sdk.sandbox.dashboard.pages import PAGE_SIZE
from fetch_hive_sdk.sandbox.dashboard.plots import duration_plot, status_plot
from fetch_hive_sdk.sandbox.dashboard.security import (
    MAX_FORM,
    MAX_SESSIONS,
    SESSION_SECONDS,
    FormError,
    Sessions,
    is_foreign,
    read_form,
    safe_path,
)
from fetch_hive_sdk.sandbox.filters import ANY, MetadataFilter
from fetch_hive_sdk.sandbox.runs import Callback, CallbackAttempt, HttpRequest, Refused, Reply, Run

ORIGIN = "http://127.0.0.1:8787"
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=timezone.utc)
EVIL = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{7*7}}"""
PROMPT = {"deployment": "support-classifier", "variant": "default", "inputs": {"ticket_text": "It is disabled."}}


class Browser:
    """Asks the app in this process as a browser would: it keeps cookies, and sends the forms that pages have."""

    def __init__(self, sandbox: Sandbox, *, host: str = "127.0.0.1") -> None:
        self.sandbox = sandbox
        self.app = HostCheck(Starlette(routes=routes(sandbox.engine, base_url=f"{ORIGIN}/v1")), host=host)
        self.cookies = httpx.Cookies()

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, cookies=self.cookies) as client:
                response = await client.request(method, path, **options)
                self.cookies = client.cookies
                return response

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.send("GET", path, **options)

    def page(self, path: str) -> str:
        """The HTML of a page that is there."""
        response = self.get(path)
        assert response.status_code == 200, response.text
        return response.text

    def token(self, path: str = "/sign-in") -> str:
        found = re.search(r'name="token" value="([0-9a-f]+)"', self.get(path).text)
        assert found is not None
        return found[1]

    def press(self, path: str, button: str, **fields: str) -> httpx.Response:
        """Press a button of a page, and go where that leads."""
        for action, inner in re.findall(
            r'<form method="post" action="([^"]+)">(.*?)</form>', self.page(path), re.DOTALL
        ):
            if re.search(rf"<button[^>]*>{re.escape(button)}", inner):
                hidden = re.findall(r'name="(\w+)" value="([^"]*)"', inner)
                data = {name: html.unescape(value) for name, value in hidden} | fields
                return self.follow(self.send("POST", html.unescape(action), data=data, headers={"Origin": ORIGIN}))
        raise AssertionError(f"no button {button!r} on {path}")

    def follow(self, response: httpx.Response) -> httpx.Response:
        while response.status_code == 303:
            response = self.get(response.headers["Location"])
        return response

    def api(self, method: str, path: str, body: object = None, *, key: str = "any") -> httpx.Response:
        content = None if body is None else json.dumps(body).encode()
        return self.send(method, f"/sandbox{path}", content=content, headers={"Authorization": f"Bearer {key}"})


def text_of(markup: str) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def table_of(markup: str) -> str:
    """What the table of runs says; empty if there is none."""
    found = re.search(r"<tbody.*?</tbody>", markup, re.DOTALL)
    return text_of(found[0]) if found else ""


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


@pytest.fixture
def browser(sandbox: Sandbox) -> Browser:
    return Browser(sandbox)


def invoke(sandbox: Sandbox, path: str, body: Mapping[str, Any], **headers: str) -> Reply:
    """Send one request as any program might, and let what it began go on."""
    key = sandbox.engine.api_key or "fhk_any"
    given = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    reply = sandbox.engine.handle("POST", path, given, json.dumps(body).encode())
    if reply.unfinished is not None:
        sandbox.engine.release(reply.unfinished)
    sandbox.engine.settle()
    return reply


def run_prompt(sandbox: Sandbox, **more: Any) -> Run:
    invoke(sandbox, "/v1/prompt/invoke", {**PROMPT, **more})
    return sandbox.runs[-1]


def run_workflow(sandbox: Sandbox, **more: Any) -> Run:
    body = {
        "deployment": "research-brief",
        "variant": "default",
        "async": {"enabled": True, "callback_url": "http://127.0.0.1:9/hook"},
        **more,
    }
    invoke(sandbox, "/v1/workflow/invoke", body)
    return sandbox.runs[-1]


def asking_workflow(sandbox: Sandbox, **step: Any) -> Run:
    """A workflow that waits for a choice."""
    human = HumanInTheLoop("Publish it?", ("publish", "discard"), **step)
    sandbox.workflow("research-brief", reply=lambda inputs, choice: f"Chosen: {choice}", human_in_the_loop=human)
    return run_workflow(sandbox)


def asking_agent(sandbox: Sandbox, **call: Any) -> Run:
    """An agent's run that waits for an approval."""
    tool = {"tool_name": "refund", "tool_input": {"amount": 49}, "summary": "Refund 49", "needs_approval": True, **call}
    sandbox.agent("ops-agent", reply=Answer("Refunded.", tool_calls=[tool]))
    invoke(sandbox, "/v1/agent/invoke", {"agent": "ops-agent", "message": "Refund Ann."})
    return sandbox.runs[-1]


# --- filters --------------------------------------------------------------------------------------------

TYPED = [
    ("true", True),
    ("false", False),
    ("null", None),
    ("30", 30),
    ("-2.5e3", -2500.0),
    ('"30"', "30"),
    ('"true"', "true"),
    ('""', ""),
    ("cus_123", "cus_123"),
    ("  enterprise  ", "enterprise"),
    ('"  spaces "', "  spaces "),
    ("True", "True"),
    ("007", "007"),
    ("NaN", "NaN"),
    ("1e999", "1e999"),
    ('"open', '"open'),
    ("[1]", "[1]"),
    ("{}", "{}"),
    ("[" * 100_000, "[" * 100_000),
    ("12345678901234567890123", 12345678901234567890123),
]


@pytest.mark.parametrize(("text", "value"), TYPED, ids=[text[:20] for text, _ in TYPED])
def test_a_typed_value_has_the_type_it_looks_like(text: str, value: object) -> None:
    """`true`, `30` and `null` are a boolean, a number and null; in quotes and otherwise it is text."""
    read = metadata_value(text)
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize("value", [*(value for _, value in TYPED), "line\nbreak", "\ud800", 'say "hi"', "é", 0.1])
def test_a_written_value_is_read_as_the_same(value: Any) -> None:
    """What a link to a filter carries is read as the value it was made from, type and all."""
    read = metadata_value(written(value))
    assert (type(read), read) == (type(value), value)
    written(value).encode()


def test_filters_are_read_in_pairs() -> None:
    """Each value belongs to the key before it; keys without one mean that the key exists."""
    query = LogQuery.read([("key", "plan"), ("key", "beta_user"), ("value", "true"), ("key", ""), ("value", " ")])
    assert query.metadata == (MetadataFilter(key="plan"), MetadataFilter(key="beta_user", value=True))
    assert query.problems == ()


def test_filters_that_say_the_same_are_one() -> None:
    """A filter given twice is there once, and `30` and `30.0` are written apart."""
    twice = [("key", "plan"), ("key", "plan"), ("key", "n"), ("value", "30"), ("key", "n"), ("value", '"30"')]
    assert [(one.key, one.value) for one in LogQuery.read(twice).metadata] == [("plan", ANY), ("n", 30), ("n", "30")]


def test_what_cannot_be_read_is_said_and_left_out() -> None:
    """A filter that makes no sense is left out, and the page says which."""
    query = LogQuery.read(
        [
            ("status", "lost"),
            ("within", "3y"),
            ("from", "yesterday"),
            ("value", "alone"),
            ("unknown", "x"),
        ]
    )
    assert query == LogQuery(problems=query.problems)
    said = "; ".join(query.problems)
    assert all(word in said for word in ("'lost' is no status", "'3y'", "'yesterday' is no time", "A value alone"))


def test_more_filters_than_a_database_takes_are_left_out(sandbox: Sandbox, browser: Browser) -> None:
    """An address with very many filters by metadata is answered with the first of them, and says so."""
    invoke(sandbox, "/v1/prompt/invoke", {**PROMPT, "metadata": {f"k{number}": 1 for number in range(50)}})
    page = browser.page("/prompts?" + "&".join(f"key=k{number}" for number in range(1200)))
    assert "1 run matches" in text_of(page)
    assert "What comes after 50 filters by metadata is too much. It is left out of the filter." in text_of(page)


def test_an_address_keeps_every_filter() -> None:
    """The address made of a query is read as that query."""
    query = LogQuery.read(
        [
            ("status", "failed"),
            ("status", "completed"),
            ("name", "research-brief & co"),
            ("within", "1h"),
            ("from", "2026-11-22T10:00"),
            ("to", "2026-11-22T12:00:00+01:00"),
            ("request_id", " req_01 "),
            ("key", "plan"),
            ("key", "renewal_window_days"),
            ("value", "30"),
            ("before", "req_9"),
        ]
    )
    assert query.statuses == ("completed", "failed")
    assert (query.since, query.until) == (NOW, NOW + timedelta(hours=1))
    address = query.address("/prompts")
    assert LogQuery.read(parse_qsl(urlsplit(address).query)) == query
    assert LogQuery().address("/prompts") == "/prompts"
    assert query.active
    assert not LogQuery(before="req_9").active


def test_times_combine_to_the_shorter_span() -> None:
    """`within` and `from` both hold: the later of the two beginnings counts."""
    early = LogQuery(within="1h", since=NOW - timedelta(days=1)).filter(("prompt",), now=NOW)
    late = LogQuery(within="24h", since=NOW - timedelta(minutes=1)).filter(("prompt",), now=NOW)
    assert (early.since, late.since) == (NOW - timedelta(hours=1), NOW - timedelta(minutes=1))
    assert LogQuery(within="5m").filter((), now=NOW).since == NOW - timedelta(minutes=5)


def test_times_may_have_a_zone_and_may_be_out_of_reach() -> None:
    """`Z` and offsets are understood; a time that no clock shows is a problem, not a crash."""
    assert LogQuery.read([("from", "2026-11-22T10:00:00Z")]).since == NOW
    assert LogQuery.read([("from", "0001-01-01T00:00+23:00")]).problems


def test_a_chip_removes_just_its_filter() -> None:
    """Each active filter is said in words with its type, and its link keeps all the others."""
    query = LogQuery.read(
        [
            ("status", "awaiting_approval"),
            ("name", "crm"),
            ("within", "5m"),
            ("from", "2026-11-22"),
            ("to", "2026-11-23"),
            ("request_id", "req_1"),
            ("key", "plan"),
            ("key", "beta_user"),
            ("value", "true"),
            ("key", "days"),
            ("value", "30"),
            ("key", "days"),
            ("value", '"30"'),
            ("key", "gone"),
            ("value", "null"),
            ("before", "req_5"),
        ]
    )
    chips = {chip.text: chip.without for chip in query.chips("/agents")}
    assert list(chips) == [
        "Status: Awaiting approval",
        "Name: crm",
        "Last 5 minutes",
        "From 2026-11-22T00:00:00 UTC",
        "Until 2026-11-23T00:00:00 UTC",
        "Request id: req_1…",
        "plan exists",
        "beta_user = true (boolean)",
        "days = 30 (number)",
        'days = "30" (text)',
        "gone = null",
    ]
    for text, address in chips.items():
        rest = LogQuery.read(parse_qsl(urlsplit(address).query))
        assert [chip.text for chip in rest.chips("/agents")] == [other for other in chips if other != text]


def test_a_status_is_switched_on_and_off() -> None:
    """The plot's links add a status to the filter, or take it out again."""
    on = LogQuery(before="req_1").toggled("failed")
    assert (on.statuses, on.before) == (("failed",), "")
    assert on.toggled("failed").statuses == ()


# --- Get Code -------------------------------------------------------------------------------------------

AWKWARD = 'it\'s "quoted" $HOME `id` $(id) \\ \n\t é 漢 \u2028 !'
REQUESTS: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "prompt",
        "/v1/prompt/invoke",
        {**PROMPT, "metadata": {"n": 30, "b": True, "z": None, "f": 0.5}},
        "invoke_prompt(",
    ),
    ("prompt", "/v1/invoke", {**PROMPT, "streaming": True}, "invoke_prompt_stream("),
    ("prompt", "/v1/prompt/invoke", {**PROMPT, "inputs": {"a": AWKWARD, AWKWARD: [AWKWARD] * 9}}, "invoke_prompt("),
    ("workflow", "/v1/workflow/invoke", {"deployment": "d", "variant": "v", "user": "u"}, "invoke_workflow("),
    (
        "workflow",
        "/v1/workflow/invoke",
        {
            "deployment": "d",
            "variant": "v",
            "inputs": {"companies": [{"name": "Fetch Hive"}], "deep": {"er": {"est": list(range(40))}}, "none": []},
            "async": {"enabled": True, "callback_url": "http://127.0.0.1:9/hook"},
        },
        "callback_url=",
    ),
    ("workflow", "/v1/workflow/invoke", {"deployment": "d", "variant": "v", "async": {"enabled": False}}, "httpx"),
    (
        "agent",
        "/v1/agent/invoke",
        {
            "agent": "a",
            "message": AWKWARD,
            "async": {"allow_background": True},
            "attachments": ["https://e.com/a.pdf"],
        },
        "async_options=",
    ),
    ("agent", "/v1/agent/invoke", {"agent": "a", "message": "m", "streaming": True}, "invoke_agent_stream("),
    ("agent", "/v1/agent/invoke", {"agent": "a", "message": "m", "metadata": None}, "httpx"),
    ("agent", "/v1/agent/invoke", {"agent": "a", "message": "m", "not_known_to_us": 1}, "httpx"),
    ("agent", "/v1/agent/invoke", {"agent": "a", "message": "  "}, "httpx"),
    (
        "hive_agent",
        "/v1/hive-agent/invoke",
        {"hive_agent": "h", "objective": "o", "async": {"enabled": True, "callback_url": "https://e.com/cb"}},
        "invoke_hive_agent(",
    ),
    (
        "hive_agent",
        "/v1/hive-agent/invoke",
        {
            "hive_agent": "h",
            "objective": AWKWARD,
            "async": {"enabled": True, "callback_url": "https://e.com/cb"},
            "sources": {"website_urls": ["https://e.com"]},
            "unattended": True,
            "budget_policy": "stop",
        },
        "budget_policy=",
    ),
    (
        "hive_agent",
        "/v1/hive-agent/invoke",
        {
            "hive_agent": "h",
            "objective": "o",
            "streaming": True,
            "async": {"enabled": True, "callback_url": "https://e.com/cb"},
        },
        "httpx",
    ),
]


@pytest.mark.parametrize(("kind", "path", "body", "expected"), REQUESTS)
def test_python_code_repeats_the_very_request(
    kind: str, path: str, body: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python of Get Code runs, and the sandbox receives the same request once more; the key is not in it."""
    sandbox = Sandbox(api_key="fhk_private", choices=Choices(callback_retry_delays=()))
    invoke(sandbox, path, body)
    first = sandbox.runs[0]
    assert first.http is not None
    monkeypatch.setenv("FETCH_HIVE_API_KEY", "fhk_private")
    with sandbox.serve() as server:
        origin = server.base_url.removesuffix("/v1")
        code = python_code(first.kind, first.request, first.http, origin=origin)
        assert expected in code
        assert "fhk_private" not in code
        namespace: dict[str, Any] = {"print": lambda *_said: None}
        exec(compile(code, "get_code", "exec"), namespace)
        if "client" in namespace:
            namespace["client"].close()
        server.wait_for_callbacks()
    second = sandbox.runs[1]
    assert {"streaming": False, **second.request} == {"streaming": False, **first.request}
    assert second.kind == first.kind == kind


@pytest.mark.parametrize(("kind", "path", "body", "expected"), REQUESTS)
def test_curl_code_is_the_exact_request(kind: str, path: str, body: dict[str, Any], expected: str) -> None:
    """A shell reads the cURL of Get Code as the very address, headers and bytes, whatever is in them."""
    http = HttpRequest(
        method="POST",
        path=path,
        headers={"Content-Type": "application/json", "Accept": "text/event-stream", "User-Agent": "it's mine"},
        body=json.dumps(body, ensure_ascii=False).encode(),
    )
    words_of = shlex.split(curl_code(http, origin=ORIGIN).replace("\\\n", ""))
    assert words_of[:2] == ["curl", ORIGIN + path]
    assert words_of[-2:] == ["--data-raw", http.body.decode()]
    assert words_of[2:-2] == [
        *("-H", "Authorization: Bearer $FETCH_HIVE_API_KEY"),
        *("-H", "Content-Type: application/json"),
        *("-H", "Accept: text/event-stream"),
    ]


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("sh"), reason="curl or sh is not installed")
@pytest.mark.parametrize("index", range(len(REQUESTS)))
def test_curl_code_repeats_the_very_request(index: int) -> None:
    """The cURL of Get Code, given to a shell, makes the sandbox receive the same bytes once more."""
    _, path, body, _ = REQUESTS[index]
    sandbox = Sandbox(api_key="fhk_private", choices=Choices(callback_retry_delays=()))
    invoke(sandbox, path, body)
    first = sandbox.runs[0]
    assert first.http is not None
    with sandbox.serve() as server:
        origin = server.base_url.removesuffix("/v1")
        code = curl_code(first.http, origin=origin, streaming=body.get("streaming") is True)
        assert ("--no-buffer" in code) == (body.get("streaming") is True)
        environment = {**os.environ, "FETCH_HIVE_API_KEY": "fhk_private", "no_proxy": "127.0.0.1"}
        ended = subprocess.run(["sh", "-c", code], env=environment, capture_output=True, timeout=30, check=False)
        assert ended.returncode == 0, ended.stderr
        server.wait_for_callbacks()
    second = sandbox.runs[1]
    assert second.http is not None
    assert (second.kind, second.http.body) == (first.kind, first.http.body)


def test_code_of_a_webhook_trigger_takes_its_secret_from_the_environment() -> None:
    """A webhook trigger is repeated with its secret's header, never with a key, and brackets stay brackets."""
    http = HttpRequest(method="PUT", path="/v1/agent/webhooks/a[1]?x=1", headers={"accept": "*/*"}, body=b"")
    curl = shlex.split(curl_code(http, origin=ORIGIN, webhook=True).replace("\\\n", ""))
    assert curl == [
        *("curl", "--globoff", f"{ORIGIN}/v1/agent/webhooks/a[1]?x=1", "-X", "PUT"),
        *("-H", "X-Fetch-Hive-Webhook-Secret: $FETCH_HIVE_WEBHOOK_SECRET", "-H", "accept: */*"),
    ]
    code = python_code("agent", {}, http, origin=ORIGIN, webhook=True)
    assert 'os.environ["FETCH_HIVE_WEBHOOK_SECRET"]' in code
    assert "API_KEY" not in code
    compile(code, "get_code", "exec")


HOOK = {"callback_url": "http://127.0.0.1:9/hook"}
TRIGGERS: list[tuple[str, dict[str, Any], str]] = [
    (
        "/v1/workflow/webhooks/brief/variants/v%20%2F1",
        {"inputs": {"topic": AWKWARD}, "async": HOOK, "user": "u", "metadata": {"n": 1}},
        "triggers.workflow(\n    'brief',\n    'v /1',\n",
    ),
    ("/v1/agent/webhooks/ops", {"message": AWKWARD, "thread_id": "t", "async": HOOK}, "triggers.agent(\n    'ops',\n"),
    # What the SDK would not send so is sent by httpx.
    ("/v1/workflow/webhooks/brief/variants/v", {"topic": "AI", "async": HOOK}, "httpx"),
    ("/v1/workflow/webhooks/brief/variants/v?source=crm", {"inputs": {}, "async": HOOK}, "httpx"),
    ("/v1/agent/webhooks/ops", {"message": "m", "async": {**HOOK, "allow_background": True}}, "httpx"),
    ("/v1/agent/webhooks/ops", {"message": "m", "async": HOOK, "via": "query"}, "httpx"),
    ("/v1/agent/webhooks/ops", {"message": "  ", "async": HOOK}, "httpx"),
    ("/v1/agent/webhooks/%2E", {"message": "m", "async": HOOK}, "httpx"),
]


@pytest.mark.parametrize(("path", "body", "expected"), TRIGGERS)
def test_python_code_repeats_a_webhook_trigger(
    path: str, body: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python of a trigger's run sends the same with the secret of the environment; the secret is not in it."""
    sandbox = Sandbox(choices=Choices(callback_retry_delays=()))
    sandbox.workflow("brief", reply="x", secret="whsec_hidden")
    for name in ("ops", "."):
        sandbox.agent(name, reply="x", secret="whsec_hidden")
    invoke(sandbox, path, body, **{"X-Fetch-Hive-Webhook-Secret": "whsec_hidden"})
    first = sandbox.runs[0]
    assert first.http is not None
    monkeypatch.setenv("FETCH_HIVE_API_KEY", "fhk_any")
    monkeypatch.setenv("FETCH_HIVE_WEBHOOK_SECRET", "whsec_hidden")
    with sandbox.serve() as server:
        origin = server.base_url.removesuffix("/v1")
        code = python_code(first.kind, first.request, first.http, origin=origin, webhook=True)
        assert expected in code
        assert "whsec_hidden" not in code
        namespace: dict[str, Any] = {"print": lambda *_said: None}
        exec(compile(code, "get_code", "exec"), namespace)
        if "client" in namespace:
            namespace["client"].close()
        server.wait_for_callbacks()
    second = sandbox.runs[1]
    assert (second.trigger, second.kind, second.name, second.variant) == (
        *("webhook", first.kind, first.name, first.variant),
    )
    assert second.request == first.request


@pytest.mark.parametrize(
    "value", [{}, [], [{"a": [1] * 50}], {"k": "v" * 200}, {"a": {"b": ["c" * 50, "d" * 50]}}, None]
)
def test_a_literal_is_the_value(value: object) -> None:
    """A value written as Python over several lines is the value again."""
    assert ast.literal_eval(literal(value, 4)) == value


# --- plots, words, bodies, advice -----------------------------------------------------------------------


def test_the_bar_has_a_part_for_each_status_there_is() -> None:
    """The parts of the bar stand side by side, as wide as their share, and fill it."""
    parts = status_plot({"failed": 1, "completed": 3, "queued": 0})
    assert [(part.status, part.count, part.x, part.width) for part in parts] == [
        ("completed", 3, 0, 75.0),
        ("failed", 1, 75.0, 25.0),
    ]
    assert status_plot({}) == []


def test_durations_are_drawn_on_a_round_scale() -> None:
    """Slower runs stand higher, all within the drawing, and the words say median, extremes and failures."""
    durations: list[Any] = [
        (NOW, 0.0, "completed"),
        (NOW, 0.002, "completed"),
        (NOW, 3.0, "failed"),
        (NOW, 90.0, "completed"),
    ]
    plot = duration_plot(durations, left=50, width=400, height=60)
    assert plot is not None
    heights = [dot.y for dot in plot.dots]
    assert heights == sorted(heights, reverse=True)
    assert all(0 <= y <= 60 for y in heights)
    assert [dot.x for dot in plot.dots] == [100, 200, 300, 400]
    assert plot.dots[2].text == "Failed after 3 s"
    assert plot.text == "The last 4 ended runs: median 1.5 s, fastest 0 s, slowest 1 min 30 s, 1 failed."
    assert 2 <= len(plot.lines) <= 5
    assert duration_plot([], left=0, width=1, height=1) is None


@pytest.mark.parametrize("value", [1e-9, 0.001, 0.002, 7.0, 5e8, 1e12])
def test_one_duration_has_a_scale_too(value: float) -> None:
    """A single duration, however short or long, gets a scale of two lines or more."""
    plot = duration_plot([(NOW, value, "completed")], left=0, width=10, height=60)
    assert plot is not None
    assert len({line.y for line in plot.lines}) >= 2


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0 s"),
        (0.0004, "400 µs"),
        (0.0123, "12.3 ms"),
        (0.25, "250 ms"),
        (1.5, "1.5 s"),
        (83, "1 min 23 s"),
        (7260, "2 h 1 min"),
    ],
)
def test_time_spans_are_as_exact_as_they_are_worth(value: float, said: str) -> None:
    """A time span has a unit that suits it."""
    assert words.seconds(value) == said


def test_tokens_of_any_usage() -> None:
    """The total is taken where there is one; usage of another shape has none."""
    assert words.tokens({"total_tokens": 33}) == 33
    assert [words.tokens(usage) for usage in (None, [], {}, {"total_tokens": "33"}, {"total_tokens": True})] == [
        None
    ] * 5
    assert words.flat({"a": {"b": 1}, "c": "x"}) == [("a.b", "1"), ("c", '"x"')]


def callback_of(*attempts: CallbackAttempt, pending: bool = False) -> Callback:
    return Callback(
        id="c",
        url="http://127.0.0.1:9/",
        body=b"{}",
        headers={"X-Fetch-Hive-Signature": "ab"},
        event_type="workflow.completed",
        request_id="r",
        pending=pending,
        attempts=attempts,
    )


FAILED = CallbackAttempt(started_at=NOW, duration=0.1, status_code=500)
SILENT = CallbackAttempt(started_at=NOW, duration=0.1, error="ConnectError")
WITHHELD = CallbackAttempt(started_at=NOW, duration=0, error="Withheld", withheld=True)
TAKEN = CallbackAttempt(started_at=NOW, duration=0.1, status_code=204)


@pytest.mark.parametrize(
    ("callbacks", "state"),
    [
        ([], ("", "")),
        ([callback_of(pending=True)], ("running", "Pending")),
        ([callback_of(FAILED, pending=True)], ("running", "Trying, 1 failed")),
        ([callback_of()], ("cancelled", "Not sent")),
        ([callback_of(WITHHELD)], ("cancelled", "Withheld")),
        ([callback_of(FAILED)], ("failed", "Failed, 1 attempt")),
        ([callback_of(FAILED, SILENT)], ("failed", "Failed, 2 attempts")),
        ([callback_of(FAILED), callback_of(FAILED, TAKEN)], ("completed", "Delivered")),
    ],
)
def test_what_became_of_a_callback_in_a_word(callbacks: list[Callback], state: tuple[str, str]) -> None:
    """A log's row tells whether the last callback arrived, is being tried, failed or was withheld."""
    assert words.callback_state(callbacks) == state


def test_what_became_of_an_attempt() -> None:
    """An attempt was accepted, refused, not answered or withheld."""
    said = [words.attempt_text(attempt) for attempt in (TAKEN, FAILED, SILENT, WITHHELD)]
    assert said == ["Accepted with 204", "Refused with 500", "No answer", "Withheld"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"run_status":"running","webhook_secret":"whsec_top\\"quoted"}',
        b'{"webhook_secret" : "whsec_top',
        b'data: {"webhook_secret":"whsec_top"}\n\n',
        b'{"a":{"webhook_secret":"whsec_top"}}' + b" " * bodies.MAX_PRETTY,
    ],
)
def test_a_body_is_shown_without_its_secret(body: bytes) -> None:
    """A webhook secret is masked wherever it stands in a body, even where the body is cut, unless asked for."""
    assert "whsec" not in bodies.shown(body).text
    assert bodies.MASK in bodies.shown(body).text
    assert "whsec_top" in bodies.shown(body, reveal=True).text


def test_a_body_of_any_kind_is_shown() -> None:
    """JSON is laid out, the rest is as it is; what is no text is escaped; what is too long is cut and says so."""
    assert bodies.shown(b'{"a":[1]}').text == '{\n  "a": [\n    1\n  ]\n}'
    assert bodies.shown(b"<html>\xff").text == "<html>\\xff"
    assert bodies.shown(b"[" * 100_000).text == "[" * 100_000
    long = bodies.shown(b"x" * (bodies.MAX_PRETTY + 1))
    assert (len(long.text), long.size, long.cut) == (bodies.MAX_TEXT, bodies.MAX_PRETTY + 1, True)
    assert bodies.cut("short") == "short"
    assert bodies.cut("x" * 300_000).endswith("it has 300,000 characters")


def test_events_of_a_stream_are_read_whatever_they_are() -> None:
    """Each event has its type, its piece of text and its JSON; what is no JSON object is shown as it came."""
    chunks = (
        b'data: {"type":"response","resp',
        b'onse":"Hi"}\n\n',
        b'data: {"type":3,"error":{}}\n\n',
        b"data: [DONE]\n\n",
    )
    reply = Reply(
        status=200,
        headers={"content-type": "text/event-stream"},
        body=(*chunks, b"data: [1]\n\n", b"data: {\xff\n\ndata: {"),
    )
    shown, total = bodies.events(reply)
    assert total == len(shown)
    assert [(event.type, event.text) for event in shown] == [
        ("response", "Hi"),
        ("3", ""),
        ("", "[DONE]"),
        ("", "[1]"),
        ("", "{\\xff"),
    ]
    assert json.loads(shown[0].json) == {"type": "response", "response": "Hi"}
    assert bodies.is_stream(reply)
    assert not bodies.is_stream(Reply(status=200, headers={"Content-Type": "application/json"}, body=b""))


def test_a_long_stream_says_how_long(sandbox: Sandbox, browser: Browser) -> None:
    """Of very many events the first are shown, with the number of all."""
    sandbox.prompt("long", reply="word " * 1500)
    invoke(sandbox, "/v1/prompt/invoke", {"deployment": "long", "variant": "default", "streaming": True})
    run = sandbox.runs[0]
    assert run.reply is not None
    first, total = bodies.events(run.reply)
    assert (len(first), total) == (bodies.MAX_EVENTS, bodies.body_bytes(run.reply).count(b"data: "))
    page = text_of(browser.page(f"/runs/{run.request_id}"))
    assert f"Events of the stream {total:,}" in page
    assert "Cut: these are the first 1,000." in page


def test_every_error_has_a_fix(sandbox: Sandbox) -> None:
    """A failed run's fix comes from its code, else from its text, else it says where such a text comes from."""
    sandbox.prompt("support-classifier", reply=Answer(error="Gone.", error_code="model_deprecated"))
    assert "choose an active model" in fix_of_run(run_prompt(sandbox))
    sandbox.prompt("support-classifier", reply=lambda inputs: None)
    assert "a path without a return" in fix_of_run(run_prompt(sandbox))
    sandbox.prompt("support-classifier", reply=Answer(error="KeyError: 'a'"))
    assert "the reply registered for support-classifier" in fix_of_run(run_prompt(sandbox))
    sandbox.prompt("support-classifier", reply="billing")
    assert fix_of_run(run_prompt(sandbox)) == ""
    assert fix_of_run(asking_workflow(sandbox)) == ""


@pytest.mark.parametrize(
    ("status", "error", "code", "fix"),
    [
        (429, "Daily API rate limit reached", "api_rate_limit_exceeded", "midnight UTC"),
        (400, "Missing required field: deployment or variant", "validation_error", "Send both"),
        (400, "metadata.a must be a string", "validation_error", "Metadata is flat"),
        (401, "Invalid access.", "validation_error", "Authorization: Bearer"),
        (404, "Not found", None, "Compare the path"),
        (404, "Workspace not found", None, "one workspace"),
        (404, "Deployment not found.", None, "this sandbox is strict"),
        (404, "Request not found", None, "in the logs"),
        (422, "Data set not found.", None, "or deleted"),
        (409, "This approval has already been decided", None, "do not send the request again"),
        (418, "Short and stout", None, "Correct what the text names"),
    ],
)
def test_every_refusal_has_a_fix(status: int, error: str, code: str | None, fix: str) -> None:
    """A refused request's fix comes from its code, its text or its status."""
    request = HttpRequest(method="POST", path="/v1/prompt/invoke")
    assert fix in fix_of_refused(Refused(at=NOW, request=request, status=status, error=error, error_code=code))


# --- who gets in ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "host", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8787", 200),
        ("127.0.0.1", "LOCALHOST:1", 200),
        ("127.0.0.1", "localhost", 200),
        ("127.0.0.1", "[::1]:8787", 200),
        ("127.0.0.2", "127.0.0.2:8787", 200),
        ("localhost", "127.0.0.1", 200),
        ("127.0.0.1", "evil.example", 421),
        ("127.0.0.1", "127.0.0.1.evil.example", 421),
        ("127.0.0.1", "localhost.evil.example:8787", 421),
        ("127.0.0.1", "evil.example:127.0.0.1", 421),
        ("127.0.0.1", "localhost:8787@evil.example", 421),
        ("127.0.0.1", "", 421),
        ("::1", "192.168.1.7", 421),
        ("0.0.0.0", "evil.example", 200),
        ("", "sandbox.corp", 200),
        ("192.168.1.7", "sandbox.corp", 200),
    ],
)
def test_the_host_header_is_checked(sandbox: Sandbox, bound: str, host: str, status: int) -> None:
    """On loopback only loopback names are answered, on any other address every name."""
    response = Browser(sandbox, host=bound).get("/prompts", headers={"Host": host})
    assert response.status_code == status
    if status == 421:
        assert "--host" in response.text
        assert f"names {host!r}" in response.text


def test_two_host_headers_or_none_are_refused(sandbox: Sandbox) -> None:
    """A request that names two hosts, or none, is answered by no page; other kinds of traffic pass."""
    reached: list[str] = []
    sent: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask(kind: str, *hosts: bytes) -> None:
        headers = [(b"host", host) for host in hosts]
        await HostCheck(inner, host="127.0.0.1")({"type": kind, "headers": headers}, receive, send)

    asyncio.run(ask("http", b"localhost", b"evil.example"))
    asyncio.run(ask("http"))
    asyncio.run(ask("lifespan"))
    assert [message["status"] for message in sent if "status" in message] == [421, 421]
    assert b"names none" in sent[-1]["body"]
    assert reached == ["lifespan"]


PAGES = ["/prompts", "/workflows", "/agents", "/hive-agents", "/deployments", "/refused", "/approvals", "/sign-in"]


@pytest.mark.parametrize("path", [*PAGES, "/", "/runs/none", "/favicon.ico", "/static/style.css", "/static/none"])
def test_every_answer_has_the_headers(browser: Browser, path: str) -> None:
    """Whatever is answered has the strict policy; nothing inline is in a page; pages are not stored."""
    response = browser.get(path)
    assert response.headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Referrer-Policy"] == "same-origin"
    cached = "immutable" if path == "/static/style.css" else "no-store"
    assert cached in response.headers["Cache-Control"]
    assert "style=" not in response.text
    assert "onclick" not in response.text
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", response.text))
    assert "http-equiv" not in response.text


def test_static_files_have_their_types(browser: Browser) -> None:
    """The style sheet, the script and the icon are served under the address of their version."""
    page = browser.page("/prompts")
    types = {path: browser.get(path).headers["Content-Type"] for path in re.findall(r'"(/static/[^"]+)"', page)}
    assert sorted(value for value in types.values()) == [
        "image/svg+xml; charset=utf-8",
        "text/css; charset=utf-8",
        "text/javascript; charset=utf-8",
    ]
    assert browser.get("/favicon.ico").headers["Location"] in types


def test_forms_need_their_token(sandbox: Sandbox, browser: Browser) -> None:
    """A form without the token, with a wrong one or from another site changes nothing."""
    run = asking_workflow(sandbox)
    action, token = f"/runs/{run.request_id}/choice", browser.token()
    good = {"token": token, "choice": "publish"}
    for data, headers in [
        ({"choice": "publish"}, {}),
        ({**good, "token": "é"}, {}),
        ({**good, "token": "0" * 64}, {}),
        (good, {"Origin": "http://evil.example"}),
        (good, {"Origin": "http://127.0.0.1:3000"}),
        (good, {"Origin": "null"}),
        (good, {"Sec-Fetch-Site": "cross-site"}),
        (good, {"Sec-Fetch-Site": "same-site"}),
    ]:
        response = browser.send("POST", action, data=data, headers=headers)
        assert response.status_code == 403
        assert "Nothing was changed" in response.text
    assert sandbox.runs[0].status == "paused"
    accepted = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    assert browser.send("POST", action, data=good, headers=accepted).status_code == 303
    assert sandbox.runs[0].status == "completed"


def test_what_is_no_form_is_refused(browser: Browser) -> None:
    """A post that is JSON, is no text or is too large is refused before anything is looked at."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for content, headers in [
        (b"{}", {"Content-Type": "application/json"}),
        (b"", {}),
        (b"a=\xff", form),
        (b"a&" * 200, form),
        (b"x" * (MAX_FORM + 1), form),
    ]:
        assert browser.send("POST", "/sign-in", content=content, headers=headers).status_code == 400


def test_a_form_may_come_in_pieces() -> None:
    """A form is read in pieces as they come, with empty fields, and not beyond its limit."""
    pieces = [b"choice=publish&to", b"ken=a%20b&empty="]

    async def read(*chunks: bytes) -> dict[str, str]:
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        messages.append({"type": "http.request", "body": b"", "more_body": False})

        async def receive() -> Any:
            return messages.pop(0)

        headers = [(b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")]
        return await read_form(Request({"type": "http", "method": "POST", "headers": headers}, receive))

    assert asyncio.run(read(*pieces)) == {"choice": "publish", "token": "a b", "empty": ""}
    with pytest.raises(FormError, match="too large"):
        asyncio.run(read(b"x" * MAX_FORM, b"x"))


def test_a_tls_proxy_does_not_make_a_form_foreign() -> None:
    """Where TLS ends before the sandbox, the Origin says https and the request http: that is the same site."""
    headers = [(b"host", b"sandbox.corp"), (b"origin", b"https://sandbox.corp")]
    assert not is_foreign(Request({"type": "http", "method": "POST", "headers": headers}))


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "", "/a b", "/é", "/\n/x"],
)
def test_a_form_leads_to_no_other_place(path: str) -> None:
    """Where a form leads on to is a path of this server, or else the start."""
    assert safe_path(path, "/") == "/"
    assert safe_path("/runs/req_1?notice=chosen", "/") == "/runs/req_1?notice=chosen"


def test_sessions_end_and_are_not_too_many() -> None:
    """A session ends after its time or when it is told to, and the oldest gives way to a new one."""
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    first, second = sessions.start(), sessions.start()
    assert sessions.known(first)
    assert not sessions.known("made up")
    assert sessions.accepts(first, sessions.token(first))
    assert not sessions.accepts(second, sessions.token(first))
    sessions.end(second)
    sessions.end("made up")
    assert not sessions.known(second)
    for _ in range(MAX_SESSIONS):
        last = sessions.start()
    assert not sessions.known(first)
    now[0] = SESSION_SECONDS
    assert not sessions.known(last)


def test_a_key_of_its_own_asks_for_a_sign_in() -> None:
    """With a key of its own the sandbox shows nothing until it is entered, and nothing after signing out."""
    sandbox = Sandbox(api_key="fhk_private")
    run_prompt(sandbox)
    browser = Browser(sandbox)
    for path in [*PAGES[:-1], f"/runs/{sandbox.runs[0].request_id}"]:
        response = browser.get(path)
        assert (response.status_code, response.headers["Location"]) == (303, f"/sign-in?next={path}")
    assert browser.get("/live").status_code == 401
    assert "support-classifier" not in browser.page("/sign-in")
    waiting = browser.get("/prompts?key=plan&value=30").headers["Location"]
    assert browser.press(waiting, "Sign in", key="fhk_wrong").status_code == 401
    signed_in = browser.press(waiting, "Sign in", key="fhk_private")
    assert signed_in.request.url == f"{ORIGIN}/prompts?key=plan&value=30"
    assert "Name" not in browser.cookies
    cookie = next(iter(browser.cookies.jar))
    assert cookie.name == "fetch_hive_sandbox_8787"
    assert "fhk_private" not in (cookie.value or "")
    assert "support-classifier" in browser.page("/prompts")
    old = browser.cookies
    assert "Sign in" in browser.press("/prompts", "Sign out").text
    browser.cookies = old
    assert browser.get("/prompts").status_code == 303
    assert browser.send("POST", "/runs/x/cancel", data={"token": "x"}).headers["Location"] == "/sign-in"


def test_the_session_cookie_is_for_this_server_alone() -> None:
    """The cookie is out of reach for scripts and is not sent along by other sites' links."""
    browser = Browser(Sandbox(api_key="fhk_private"))
    data = {"token": browser.token(), "key": "fhk_private", "next": "//evil.example"}
    response = browser.send("POST", "/sign-in", data=data)
    assert response.headers["Location"] == "/"
    cookie = response.headers["Set-Cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/"))


def test_without_a_key_of_its_own_signing_in_is_harmless(browser: Browser) -> None:
    """A sandbox that takes any key has no sessions: the sign-in page leads on, and no cookie is set."""
    response = browser.send("POST", "/sign-in", data={"token": browser.token(), "key": "any"})
    assert (response.status_code, "Set-Cookie" in response.headers) == (303, False)


# --- the logs -------------------------------------------------------------------------------------------


def test_the_start_leads_to_the_first_log(browser: Browser) -> None:
    """The bare address shows the log of prompts."""
    assert browser.get("/").headers["Location"] == "/prompts"


@pytest.mark.parametrize("path", PAGES[:4])
def test_an_empty_log_tells_how_to_begin(browser: Browser, path: str) -> None:
    """An empty log shows a request as cURL and as Python with this server's own address, and says what it is not."""
    text = text_of(browser.page(path))
    assert f"curl {ORIGIN}/v1/" in text
    assert "import" in text
    assert "Any key will do" in text
    assert "no model runs in it" in text


def test_an_empty_log_of_a_sandbox_with_a_key_does_not_tell_it() -> None:
    """A sandbox with a key of its own asks for that key, and does not show it."""
    browser = Browser(Sandbox(api_key="fhk_private"))
    page = browser.press("/sign-in", "Sign in", key="fhk_private").text
    assert "Use the key the sandbox was started with" in page
    assert "fhk_private" not in page


def test_kinds_have_logs_of_their_own(sandbox: Sandbox, browser: Browser) -> None:
    """Prompts, workflows, agents and hive agents are shown apart."""
    run_prompt(sandbox)
    run_workflow(sandbox)
    invoke(sandbox, "/v1/agent/invoke", {"agent": "crm-assistant", "message": "Hi"})
    hive = {
        "hive_agent": "market-scout",
        "objective": "o",
        "async": {"enabled": True, "callback_url": "https://e.com/c"},
    }
    invoke(sandbox, "/v1/hive-agent/invoke", hive)
    names = ["support-classifier", "research-brief", "crm-assistant", "market-scout"]
    for path, own in zip(PAGES, names, strict=False):
        table = table_of(browser.page(path))
        assert [name for name in names if name in table] == [own]


def test_a_row_tells_the_run_in_short(sandbox: Sandbox, browser: Browser) -> None:
    """A row has time, name, variant, id, status, duration, tokens, the first metadata and the callback's state."""
    metadata = {"plan": "enterprise", "beta_user": True, "days": 30, "long": "x" * 100, "more": None}
    run = run_workflow(sandbox, metadata=metadata)
    table = table_of(browser.page("/workflows"))
    for part in (
        run.started_at.strftime("%Y-%m-%d %H:%M:%S"),
        "research-brief default",
        run.request_id,
        "Completed",
        "plan = enterprise",
        "beta_user = true",
        "days = 30",
        "+ 2 more",
        "Pending",
    ):
        assert part in table
    assert run.answer is not None
    assert run.answer.usage is not None
    assert f" {run.answer.usage['total_tokens']} " in table


def test_metadata_filters_find_keys_and_exact_values(sandbox: Sandbox, browser: Browser) -> None:
    """A key finds the runs that have it, a value those that equal it, type and all; several combine; none shows all."""
    given: list[dict[str, Any]] = [
        {"who": "ann", "days": 30, "beta_user": True},
        {"who": "bob", "days": "30", "beta_user": "true"},
        {"who": "cid", "days": 30.0},
        {"who": "dan", "beta_user": None},
        {},
    ]
    for metadata in given:
        run_prompt(sandbox, metadata=metadata)
    run_workflow(sandbox, metadata={"elsewhere": 1})

    def found(query: str) -> list[str]:
        page = browser.page(f"/prompts{query}")
        count = re.search(r'data-count="(\d+)"', page)
        assert count is not None
        names = [name for name in ("ann", "bob", "cid", "dan") if f"who = {name}" in table_of(page)]
        assert len(names) <= int(count[1])
        return names + ["none"] * (int(count[1]) - len(names))

    assert found("") == ["ann", "bob", "cid", "dan", "none"]
    assert found("?key=who") == ["ann", "bob", "cid", "dan"]
    assert found("?key=days&value=30") == ["ann", "cid"]
    assert found("?key=days&value=%2230%22") == ["bob"]
    assert found("?key=beta_user&value=true") == ["ann"]
    assert found("?key=beta_user&value=null") == ["dan"]
    assert found("?key=beta_user&key=days") == ["ann", "bob"]
    assert found("?key=beta_user&value=true&key=who&value=bob") == []
    assert found("?key=elsewhere") == []
    suggested = re.findall(r'<option value="([^"]+)"></option>', browser.page("/prompts"))
    assert suggested == ["beta_user", "days", "who"]


def test_other_filters(sandbox: Sandbox, browser: Browser) -> None:
    """Status, name, time and the beginning of a request id filter as well, and what is active can be removed."""
    sandbox.prompt("broken", reply=Answer(error="No."))
    run_prompt(sandbox)
    failed = run_prompt(sandbox, deployment="broken")
    for query in ("status=failed", "name=broken", f"request_id={failed.request_id}", "within=5m&status=failed"):
        page = browser.page(f"/prompts?{query}")
        assert "broken" in table_of(page)
        assert "support-classifier" not in table_of(page)
        assert "1 run matches" in text_of(page)
        assert "(remove this filter)" in page
    assert "2 runs match" in text_of(browser.page("/prompts?within=24h"))
    assert "No run matches these filters" in browser.page("/prompts?to=2020-01-01")
    assert "Last hour" in browser.page("/prompts?within=1h")
    assert "<option selected>not-there</option>" in browser.page("/prompts?name=not-there")
    assert "is no status. It is left out" in text_of(browser.page("/prompts?status=lost"))


def test_a_filter_form_keeps_what_is_active(sandbox: Sandbox, browser: Browser) -> None:
    """The form carries the active metadata filters on, so that a further one is added to them."""
    run_prompt(sandbox, metadata={"plan": "enterprise", "days": 30})
    page = browser.page("/prompts?key=plan&key=days&value=30&status=completed&from=2020-01-01T00:00")
    form = page[page.index("<form class=") : page.index("</form>")]
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    assert hidden == [("key", "plan"), ("key", "days"), ("value", "30")]
    assert 'value="completed" checked' in form
    assert 'value="2020-01-01T00:00:00"' in form
    assert "<details" in form
    assert " open" in form


def test_a_long_log_has_pages(sandbox: Sandbox, browser: Browser) -> None:
    """The newest runs are on the first page, the rest on further ones, each once."""
    for number in range(PAGE_SIZE + 2):
        run_prompt(sandbox, metadata={"number": number})
    first = browser.page("/prompts?key=number")
    older = re.search(r'href="([^"]+)" rel="next"', first)
    assert older is not None
    second = browser.page(html.unescape(older[1]))
    ids = [re.findall(r'id="run-(req_\w+)"', page) for page in (first, second)]
    assert [len(page) for page in ids] == [PAGE_SIZE, 2]
    assert ids[0] + ids[1] == [run.request_id for run in reversed(sandbox.runs)]
    assert 'rel="first"' in second
    assert 'rel="next"' not in second
    last = browser.page(f"/prompts?before={sandbox.runs[0].request_id}")
    assert "No older runs" in last


def test_plots_are_said_in_words_too(sandbox: Sandbox, browser: Browser) -> None:
    """Both plots have a title and a description, and the counts lead to the runs they count."""
    sandbox.prompt("broken", reply=Answer(error="No."))
    run_prompt(sandbox)
    run_prompt(sandbox, deployment="broken")
    page = browser.page("/prompts")
    assert "Completed: 1. Failed: 1." in page
    assert "The last 2 ended runs: median" in page
    assert '<a href="/prompts?status=failed"' in page


def test_everything_sent_is_escaped(sandbox: Sandbox, browser: Browser) -> None:
    """Markup in names, metadata, inputs, replies and errors is shown as text, on every page and in every place."""
    sandbox.prompt(
        EVIL, reply=Answer(EVIL, error=EVIL, error_code=EVIL, reasoning=EVIL, model=EVIL, usage={EVIL: EVIL})
    )
    human = HumanInTheLoop(EVIL, (EVIL, "b"))
    sandbox.workflow(EVIL, inputs={EVIL: str}, human_in_the_loop=human, reply=EVIL)
    call = {"tool_name": EVIL, "tool_input": {EVIL: EVIL}, "observation": EVIL, "summary": EVIL, "needs_approval": True}
    sandbox.agent(EVIL, reply=Answer(EVIL, tool_calls=[call], artifacts=[{"file_url": EVIL}]))
    metadata = {EVIL: EVIL, "\u202e": "\x00\ud800"}
    shared: dict[str, Any] = {"metadata": metadata, "user": EVIL}
    prompt = {"deployment": EVIL, "variant": EVIL, "inputs": {EVIL: EVIL, "b": [EVIL]}, "streaming": True, **shared}
    invoke(sandbox, "/v1/prompt/invoke", prompt)
    run_workflow(sandbox, deployment=EVIL, inputs={EVIL: EVIL}, **shared)
    invoke(sandbox, "/v1/agent/invoke", {"agent": EVIL, "message": EVIL, "thread_id": EVIL, **shared})
    invoke(sandbox, f"/v1/{EVIL}", {EVIL: EVIL})
    sandbox.decide(sandbox.approvals[0].id, "allow_once")
    query = str(httpx.QueryParams({"key": EVIL, "value": EVIL, "name": EVIL, "from": EVIL, "request_id": EVIL}))
    paths = [*PAGES, *(f"/runs/{run.request_id}" for run in sandbox.runs), f"/prompts?{query}", f"/sign-in?next={EVIL}"]
    for path in paths:
        page = browser.page(path)
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path
        assert "49" not in re.findall(r"\d+", text_of(page).replace(EVIL, "")) or "{{7*7}}" in page, path
    assert browser.api("GET", "/runs").status_code == 200


# --- one run --------------------------------------------------------------------------------------------


def test_a_prompts_page_shows_all_of_it(sandbox: Sandbox, browser: Browser) -> None:
    """A run's page has status, timeline, inputs, user metadata, output, tokens, code, request and reply."""
    sandbox.prompt("support-classifier", reply=Answer("billing", reasoning="An invoice."))
    run = run_prompt(sandbox, metadata={"plan": "enterprise", "days": 30}, user="user-7")
    page = browser.page(f"/runs/{run.request_id}")
    text = text_of(page)
    for part in (
        "support-classifier default",
        "Completed",
        "ticket_text It is disabled.",
        "User metadata",
        "plan enterprise Same value",
        "Response billing",
        "Reasoning An invoice.",
        "completion_tokens.total_tokens",
        "Accepted",
        "client.invoke_prompt(",
        "$FETCH_HIVE_API_KEY",
        "POST /v1/prompt/invoke",
        "Status 200",
        "user-7",
        "API call",
    ):
        assert part in text, part
    assert "/prompts?key=days&amp;value=30" in page
    assert "fhk_any" not in page
    assert "Cancel run" not in page


def test_a_failed_runs_page_shows_its_fix(sandbox: Sandbox, browser: Browser) -> None:
    """A failed run shows its error, its code, what to do, and what it said before."""
    sandbox.prompt("support-classifier", reply=Answer("Half", error="It is gone.", error_code="model_deprecated"))
    text = text_of(browser.page(f"/runs/{run_prompt(sandbox, inputs={}, streaming=True).request_id}"))
    for part in (
        "It is gone.",
        "model_deprecated",
        "What to do: The model is no longer available",
        "before the error Half",
    ):
        assert part in text, part
    assert "None were sent." in text
    assert "None was sent." in text


def test_an_agents_page_shows_events_tools_and_artifacts(sandbox: Sandbox, browser: Browser) -> None:
    """An agent's page shows each event of its stream, its tool calls with input and observation, and its artifacts."""
    calls = [
        {"tool_name": "crm_lookup", "tool_input": {"id": 1}, "observation": {"open": 2}},
        {"tool_name": "drop_table", "denied": True, "destructive": True},
    ]
    sandbox.agent("crm-assistant", reply=Answer("", tool_calls=calls, artifacts=[{"file_url": "https://e.com/a.pdf"}]))
    body = {"agent": "crm-assistant", "message": "Hello there", "streaming": True, "thread_id": "t-1"}
    invoke(sandbox, "/v1/agent/invoke", body)
    page = browser.page(f"/runs/{sandbox.runs[0].request_id}")
    text = text_of(page)
    for part in (
        "Hello there",
        "t-1",
        "crm_lookup",
        "forbidden by rule",
        "destructive",
        "https://e.com/a.pdf",
        "[DONE]",
    ):
        assert part in text, part
    assert 'id="event-1"' in page
    assert "--no-buffer" in text
    assert "Empty." in text


def test_an_unknown_run_is_not_found(browser: Browser) -> None:
    """A run that is not there is a page that says so."""
    response = browser.get("/runs/req_none")
    assert (response.status_code, "no such run" in response.text) == (404, True)
    token = browser.token()
    assert browser.send("POST", "/runs/req_none/secret", data={"token": token}).status_code == 404
    refused = browser.send("POST", "/runs/req_none/cancel", data={"token": token, "next": "/workflows"})
    assert (refused.status_code, 'href="/workflows"' in refused.text) == (404, True)


def test_a_secret_is_shown_only_where_asked_for(sandbox: Sandbox, browser: Browser) -> None:
    """The webhook secret is masked on the run's page and on the list of deployments until its button is pressed."""
    sandbox.workflow("research-brief", reply="A brief.", secret="whsec_of_the_brief")
    run = run_workflow(sandbox)
    path = f"/runs/{run.request_id}"
    for page in (path, "/deployments", "/workflows"):
        assert "whsec" not in browser.page(page)
    shown = browser.press(path, "Show secret")
    assert "whsec_of_the_brief" in shown.text
    assert "data-live" not in shown.text
    assert f'href="{path}">Hide it' in shown.text
    listed = browser.press("/deployments", "Show secret")
    assert "whsec_of_the_brief" in listed.text
    assert "data-live" not in listed.text
    assert "whsec" not in browser.page(path)
    assert "whsec" not in browser.api("GET", f"/runs/{run.request_id}").text
    assert browser.get(f"{path}/secret").headers["Location"] == path
    assert browser.get("/deployments/secret").headers["Location"] == "/deployments"
    prompt = browser.send("POST", "/deployments/secret", data={"token": browser.token(), "kind": "prompt", "name": "x"})
    assert prompt.status_code == 404


def test_a_choice_is_made_on_the_page(sandbox: Sandbox, browser: Browser) -> None:
    """A paused run shows its question and a button for each option; pressing one lets it go on, once."""
    run = asking_workflow(sandbox, timeout=60)
    path = f"/runs/{run.request_id}"
    text = text_of(browser.page(path))
    assert all(part in text for part in ("Publish it?", "publish", "discard", "then the run fails"))
    assert "None yet." not in text
    assert "your choice was recorded" in browser.press(path, "discard").text.lower()
    sandbox.engine.settle()
    after = text_of(browser.page(path))
    assert "Chosen: discard" in after
    assert "<button" not in browser.page(path).split("Human in the Loop")[1].split("</section>")[0]
    data = {"token": browser.token(), "choice": "publish"}
    again = browser.send("POST", f"{path}/choice", data=data)
    assert (again.status_code, "does not wait" in again.text) == (409, True)
    assert browser.send("POST", f"{path}/choice", data={"token": browser.token()}).status_code == 409


@pytest.mark.parametrize("on_timeout", ["fail", "continue"])
def test_a_wait_that_ended_is_told(on_timeout: Any) -> None:
    """A choice that nobody made in time is told on the page, with what came of it."""
    now = [NOW]
    sandbox = Sandbox(clock=lambda: now[0])
    browser = Browser(sandbox)
    run = asking_workflow(sandbox, timeout=60, on_timeout=on_timeout)
    before = text_of(browser.page(f"/runs/{run.request_id}"))
    assert ("goes on without a choice" in before) == (on_timeout == "continue")
    now[0] += timedelta(minutes=2)
    sandbox.engine.settle()
    text = text_of(browser.page(f"/runs/{run.request_id}"))
    assert "Nobody chose before the wait ended" in text
    assert ("give the step a longer timeout" in text) == (on_timeout == "fail")


def test_a_paused_run_can_be_cancelled(sandbox: Sandbox, browser: Browser) -> None:
    """A run that waits is cancelled by its button, and its page says so."""
    run = asking_workflow(sandbox)
    after = browser.press(f"/runs/{run.request_id}", "Cancel run")
    assert "The run was cancelled." in after.text
    text = text_of(browser.page(f"/runs/{run.request_id}"))
    assert "Cancelled" in text
    assert "cancelled by hand" in text


@pytest.mark.parametrize(
    ("button", "decision", "status"), [("Allow", "allowed", "Allowed"), ("Deny", "denied", "Denied")]
)
def test_an_approval_is_decided_on_the_run(
    sandbox: Sandbox, browser: Browser, button: str, decision: str, status: str
) -> None:
    """An agent that waits for a decision shows what it is about to do; a button decides, and the run goes on."""
    run = asking_agent(sandbox, destructive=True)
    path = f"/runs/{run.request_id}"
    before = text_of(browser.page(path))
    assert all(part in before for part in ("Awaiting approval", "refund", "destructive", "Refund 49", '"amount": 49'))
    assert "Refunded." not in before
    assert f"{status}. Once" in browser.press(path, button).text
    sandbox.engine.settle()
    assert sandbox.runs[0].approvals[0].status == decision
    assert sandbox.runs[0].approvals[0].decided_via == "dashboard"
    assert f"{status} " in text_of(browser.page(path))


def test_approvals_are_listed_across_runs(sandbox: Sandbox, browser: Browser) -> None:
    """All that waits for a decision is on one page and counted in the navigation; decided ones follow."""
    assert "Nothing waits" in browser.page("/approvals")
    asking_agent(sandbox)
    asking_agent(sandbox, tool_input={})
    page = browser.page("/approvals")
    assert page.count("Refund 49") == 2
    assert "2 waiting" in text_of(page)
    assert "2 runs wait" in text_of(browser.page("/prompts"))
    after = browser.press("/approvals", "Deny")
    assert "Denied. Once" in after.text
    sandbox.engine.settle()
    sandbox.decide(sandbox.approvals[0].id, "allow_once")
    text = text_of(browser.page("/approvals"))
    assert "0 waiting" in text
    assert "This page" in text
    assert "API" in text


def test_approvals_of_a_cancelled_run_wait_no_more(sandbox: Sandbox, browser: Browser) -> None:
    """What belonged to a run that was cancelled is not offered for a decision."""
    run = asking_agent(sandbox)
    sandbox.cancel(run.request_id)
    assert "Nothing waits" in browser.page("/approvals")
    assert "End of its run" in browser.page("/approvals")
    assert "with its run" in browser.page(f"/runs/{run.request_id}")


def test_callbacks_are_shown_with_their_attempts(sandbox: Sandbox, browser: Browser) -> None:
    """Each attempt to deliver shows when, how long, what came of it and what the receiver said; the bytes are there."""
    run = run_workflow(sandbox)
    path = f"/runs/{run.request_id}"
    assert "No attempt yet." in browser.page(path)
    answered = CallbackAttempt(started_at=NOW, duration=0.25, status_code=500, response=f"Database {EVIL}")
    for attempt in (answered, SILENT, WITHHELD, TAKEN):
        sandbox.engine.store.add_attempt(run.callbacks[0].id, attempt)
    page = browser.page(path)
    text = text_of(page)
    for part in (
        "Refused with 500",
        "250 ms",
        "Database",
        "No answer",
        "ConnectError",
        "Withheld",
        "Accepted with 204",
    ):
        assert part in text, part
    assert "An empty body" in text
    assert "X-Fetch-Hive-Signature:" in text
    assert '"event_type":"workflow.completed"' in text


def test_a_callback_is_redelivered_by_its_button(sandbox: Sandbox, browser: Browser) -> None:
    """Redeliver hands the callback to the server again; where none runs it says so."""
    run = run_workflow(sandbox)
    path = f"/runs/{run.request_id}"
    assert "No server runs" in browser.press(path, "Redeliver").text
    sandbox.engine.lifecycle.attach(lambda: None)
    assert "being delivered again" in browser.press(path, "Redeliver").text
    jobs = []
    while (job := sandbox.engine.lifecycle.next_job()) is not None:
        jobs.append(job.id)
    assert run.callbacks[0].id in jobs


def test_delegations_are_linked_both_ways(sandbox: Sandbox, browser: Browser) -> None:
    """An agent's run links to the workflow it started, and that one back; it has no request of its own."""
    sandbox.agent(
        "planner", reply=Answer("On it.", background=[{"deployment": "research-brief", "variant": "default"}])
    )
    invoke(sandbox, "/v1/agent/invoke", {"agent": "planner", "message": "Brief me.", "thread_id": "t-1"})
    parent, child = sandbox.runs
    assert f'href="/runs/{child.request_id}"' in browser.page(f"/runs/{parent.request_id}")
    page = browser.page(f"/runs/{child.request_id}")
    assert f'href="/runs/{parent.request_id}"' in page
    assert "an agent started it" in page
    sandbox.engine.store.save_delegation(
        _changed(parent.delegations[0], status="expired", delivery_error="ConnectError")
    )
    text = text_of(browser.page(f"/runs/{parent.request_id}"))
    assert "Expired" in text
    assert "Not delivered: ConnectError" in text
    sandbox.engine.store.save_delegation(_changed(parent.delegations[0], status="pending"))
    assert "Pending" in text_of(browser.page(f"/runs/{parent.request_id}"))


def _changed(record: Any, **changes: Any) -> Any:
    return type(record)(**{**vars(record), **changes})


def test_a_webhook_triggers_page_has_its_code(sandbox: Sandbox, browser: Browser) -> None:
    """A run that a webhook started says so, and its code takes the secret from the environment."""
    secret = sandbox.webhook_secret("research-brief")
    body = {"inputs": {"topic": "x"}, "async": {"callback_url": "http://127.0.0.1:9/hook"}}
    path = "/v1/workflow/webhooks/research-brief/variants/default"
    invoke(sandbox, f"{path}?secret={secret}", body)
    page = browser.page(f"/runs/{sandbox.runs[0].request_id}")
    assert "webhook trigger" in page
    assert "$FETCH_HIVE_WEBHOOK_SECRET" in page
    assert secret not in page


# --- deployments and refused requests ---------------------------------------------------------------------


def test_deployments_are_listed_with_what_they_take(sandbox: Sandbox, browser: Browser) -> None:
    """Registered and seen deployments are listed by kind, with Start inputs, choices and their way of replying."""
    assert "Nothing is registered" in browser.page("/deployments")
    sandbox.prompt("support-classifier", reply="billing")
    sandbox.prompt("support-classifier", variant="strict", reply=lambda inputs: "billing")
    sandbox.workflow("research-brief", inputs={"topic": str, "companies": list}, human_in_the_loop=True, reply="x")
    sandbox.hive_agent("market-scout", reply="x")
    invoke(sandbox, "/v1/agent/invoke", {"agent": "seen-only", "message": "Hi"})
    text = text_of(browser.page("/deployments"))
    for part in (
        "Fixed reply any variant Function strict",
        "Human in the Loop: approve, reject",
        "topic text companies array",
        "seen-only",
        "Not registered: echo",
        "market-scout",
        "POST /v1/agent/webhooks/seen-only",
    ):
        assert part in text, part


def test_refused_requests_are_listed(sandbox: Sandbox, browser: Browser) -> None:
    """A request refused before a run began is shown with time, path, status, error, fix and body."""
    assert "None so far." in browser.page("/refused")
    invoke(sandbox, "/v1/workflow/invoke", {"deployment": "research-brief"})
    sandbox.engine.handle("GET", "/v1/nowhere", {}, b"")
    text = text_of(browser.page("/refused"))
    for part in (
        "400 POST /v1/workflow/invoke",
        "Missing required field: deployment or variant",
        "Send both",
        '"deployment": "research-brief"',
        "404 GET /v1/nowhere",
        "No body.",
    ):
        assert part in text, part
    assert sandbox.runs == []


def test_only_the_newest_refused_requests_are_shown(sandbox: Sandbox, browser: Browser) -> None:
    """Where very many were refused, the page shows the newest and says so."""
    for _ in range(201):
        sandbox.engine.handle("GET", "/v1/nowhere", {}, b"")
    assert "The newest 200" in browser.page("/refused")


def test_large_bodies_do_not_make_the_page_of_refused_requests_large(sandbox: Sandbox, browser: Browser) -> None:
    """Each body is cut, with its size."""
    sandbox.engine.handle("POST", "/v1/prompt/invoke", {"Authorization": "Bearer any"}, b"<" * 60_000)
    page = browser.page("/refused")
    assert len(page) < 50_000
    assert "Cut: the whole of it has 60,000 bytes." in page


# --- live -----------------------------------------------------------------------------------------------


class Changing:
    """Something to subscribe to."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Any], None]] = []

    def subscribe(self, listener: Callable[[Any], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def change(self, kind: str = "run") -> None:
        for listener in self.listeners:
            listener(SimpleNamespace(kind=kind))


def test_changes_are_told_once_and_from_any_thread() -> None:
    """A burst of changes from another thread is told once; leaving ends the subscription."""
    source = Changing()

    async def listen() -> list[bytes]:
        events = changes(source.subscribe)
        told = [await anext(events)]
        burst = threading.Thread(target=lambda: [source.change() for _ in range(100)])
        burst.start()
        burst.join()
        told.append(await anext(events))
        source.change()
        told.append(await anext(events))
        await events.aclose()
        return told

    assert asyncio.run(listen()) == [b"retry: 1000\n\n", b"data: changed\n\n", b"data: changed\n\n"]
    assert source.listeners == []


def test_quiet_times_are_told_by_comments() -> None:
    """Without a change a comment is sent now and then, so that a browser which has gone is noticed."""

    async def listen() -> list[bytes]:
        events = changes(Changing().subscribe, heartbeat=0.001)
        return [await anext(events) for _ in range(3)]

    assert asyncio.run(listen())[1:] == [b": still here\n\n"] * 2


def test_the_events_end_with_the_server() -> None:
    """When the server stops the events end at once, and a change told to a loop that is closed does no harm."""
    source = Changing()
    late: list[Callable[[Any], None]] = []

    async def listen() -> list[bytes]:
        events = changes(source.subscribe)
        told = [await anext(events)]
        late.extend(source.listeners)
        source.change("stop")
        return told + [event async for event in events]

    assert asyncio.run(listen()) == [b"retry: 1000\n\n"]
    late[0](SimpleNamespace(kind="run"))


def test_live_events_come_over_http(sandbox: Sandbox) -> None:
    """A run that starts is told on `/live` while the connection stays open, and going away ends it."""
    app = Starlette(routes=routes(sandbox.engine, base_url=f"{ORIGIN}/v1"))

    async def listen() -> tuple[list[Any], bytes]:
        sent: list[Any] = []
        told, gone = asyncio.Event(), asyncio.Event()

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if message.get("body", b"").startswith(b"retry"):
                run_prompt(sandbox)
            if b"changed" in message.get("body", b""):
                told.set()
                gone.set()

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/live",
            "raw_path": b"/live",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1:8787")],
            "scheme": "http",
            "server": ("127.0.0.1", 8787),
        }
        await asyncio.wait_for(app(scope, receive, send), 10)
        return sent, b"".join(message.get("body", b"") for message in sent)

    sent, body = asyncio.run(listen())
    headers = dict(sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-store"
    assert b"data: changed" in body


# --- the control API --------------------------------------------------------------------------------------


def test_runs_are_listed_as_json(sandbox: Sandbox, browser: Browser) -> None:
    """The list of runs takes the page's filters, newest first, and pages by `next`."""
    for number in range(3):
        run_prompt(sandbox, metadata={"number": number})
    run_workflow(sandbox)
    first = browser.api("GET", "/runs?kind=prompt&limit=2").json()
    assert [run["metadata"]["number"] for run in first["runs"]] == [2, 1]
    rest = browser.api("GET", f"/runs?kind=prompt&limit=2&before={first['next']}").json()
    assert ([run["metadata"]["number"] for run in rest["runs"]], rest["next"]) == ([0], None)
    found = browser.api("GET", "/runs?key=number&value=1&status=completed").json()["runs"]
    assert [run["metadata"]["number"] for run in found] == [1]
    assert len(browser.api("GET", "/runs").json()["runs"]) == 4


def test_a_run_is_json(sandbox: Sandbox, browser: Browser) -> None:
    """A run has all that is remembered: request, reply, timeline, callbacks; the webhook secret is masked."""
    run = run_workflow(sandbox, metadata={"plan": "pro"})
    shown = browser.api("GET", f"/runs/{run.request_id}").json()["run"]
    assert shown["request_id"] == run.request_id
    assert shown["metadata"] == {"plan": "pro"}
    assert shown["reply"]["status"] == 202
    assert json.loads(shown["reply"]["body"])["webhook_secret"] == bodies.MASK
    assert shown["callbacks"][0]["event_type"] == "workflow.completed"
    assert shown["timeline"][0]["what"] == "Accepted"
    assert datetime.fromisoformat(shown["started_at"]) == run.started_at
    assert shown["duration"] == words.duration(run)
    assert json.loads(shown["http"]["body"]) == run.request
    assert browser.api("GET", "/runs/none").status_code == 404


@pytest.mark.parametrize("query", ["kind=robot", "status=lost", "limit=0", "limit=501", "limit=x", "limit=", "limit=²"])
def test_a_list_that_cannot_be_asked_for_is_refused(browser: Browser, query: str) -> None:
    """A filter that makes no sense is an error here, not left out."""
    response = browser.api("GET", f"/runs?{query}")
    assert (response.status_code, response.json()["error_code"]) == (400, "validation_error")


def test_control_needs_the_key() -> None:
    """Without the key, or with a wrong one, nothing is told or done."""
    sandbox = Sandbox(api_key="fhk_private")
    run_prompt(sandbox)
    browser = Browser(sandbox)
    assert browser.get("/sandbox/runs").status_code == 401
    assert browser.api("POST", "/reset", key="fhk_wrong").json()["error"] == "Invalid access."
    assert len(sandbox.runs) == 1
    response = browser.api("GET", "/runs", key="fhk_private")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"


def test_a_choice_is_made_by_http(sandbox: Sandbox, browser: Browser) -> None:
    """A choice by HTTP lets the run go on; one that cannot be made says why."""
    run = asking_workflow(sandbox)
    path = f"/runs/{run.request_id}/choice"
    assert browser.api("POST", path, {"choice": "perhaps"}).status_code == 422
    assert browser.api("POST", path, {"choice": 1}).json()["error"] == "choice must be a string"
    assert browser.api("POST", path, {"choice": "publish"}).json()["run"]["human_step"]["choice"] == "publish"
    assert browser.api("POST", path, {"choice": "publish"}).status_code == 409
    assert sandbox.runs[0].status == "completed"


def test_approvals_and_cancelling_by_http(sandbox: Sandbox, browser: Browser) -> None:
    """Approvals are decided and runs cancelled by HTTP as well."""
    run = asking_agent(sandbox)
    approval = sandbox.approvals[0]
    assert browser.api("POST", f"/approvals/{approval.id}", {"decision": "always"}).status_code == 422
    decided = browser.api("POST", f"/approvals/{approval.id}", {"decision": "deny"}).json()["approval"]
    assert (decided["status"], decided["decided_via"]) == ("denied", "api")
    assert browser.api("POST", f"/runs/{run.request_id}/cancel").json()["run"]["status"] == "cancelled"
    assert browser.api("POST", f"/runs/{run.request_id}/cancel").status_code == 409


def test_redelivery_by_http(sandbox: Sandbox, browser: Browser) -> None:
    """A callback is handed to the server again by HTTP; a made-up one is not found."""
    callback = run_workflow(sandbox).callbacks[0]
    assert browser.api("POST", f"/callbacks/{callback.id}/redeliver").status_code == 409
    sandbox.engine.lifecycle.attach(lambda: None)
    shown = browser.api("POST", f"/callbacks/{callback.id}/redeliver").json()["callback"]
    assert shown["headers"]["X-Fetch-Hive-Signature"]
    assert browser.api("POST", "/callbacks/none/redeliver").status_code == 404


def test_faults_and_reset_by_http(sandbox: Sandbox, browser: Browser) -> None:
    """Faults are scripted by HTTP, by their fields or as a text, for one kind and name; reset forgets all."""
    assert browser.api("POST", "/faults", {"status": 503, "retry_after": 2, "times": 2, "kind": "prompt"}).json() == {
        "times": 2
    }
    assert invoke(sandbox, "/v1/prompt/invoke", PROMPT).status == 503
    fault = {"fault": "too_many_requests", "name": "research-brief"}
    assert browser.api("POST", "/faults", fault).status_code == 200
    assert invoke(sandbox, "/v1/prompt/invoke", PROMPT).headers["Retry-After"] == "2"
    assert invoke(sandbox, "/v1/prompt/invoke", PROMPT).status == 200
    assert invoke(sandbox, "/v1/workflow/invoke", {**PROMPT, "deployment": "research-brief"}).status == 429
    assert browser.api("POST", "/reset").json() == {"reset": True}
    assert sandbox.runs == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": 503, "times": 0},
        {"status": 503, "times": True},
        {"status": 503, "times": "2"},
        {"status": 503, "kind": "robot"},
        {"status": 503, "name": 1},
        {"fault": "too_many_requests", "status": 503},
        {"fault": []},
        {"nonsense": 1},
        {"fault": "no such thing, at all"},
    ],
)
def test_a_fault_that_is_none_is_refused(browser: Browser, body: dict[str, Any]) -> None:
    """A fault that means nothing is refused with a text that says why."""
    response = browser.api("POST", "/faults", body)
    assert response.status_code == 400
    assert response.json()["error"]


def test_control_takes_json_alone(browser: Browser) -> None:
    """A body that is no JSON object, or is far too large, is refused."""
    headers = {"Authorization": "Bearer any"}
    assert browser.send("POST", "/sandbox/reset", content=b"[]", headers=headers).status_code == 400
    large = b" " * (16 * 1024 * 1024 + 1)
    assert browser.send("POST", "/sandbox/reset", content=large, headers=headers).status_code == 413


def test_control_has_the_form_of_errors_that_was_chosen() -> None:
    """Errors of the control API have the form that the sandbox's choices say."""
    browser = Browser(Sandbox(choices=Choices(error_only=True, validation_status=422)))
    response = browser.api("POST", "/faults", {})
    assert (response.status_code, set(response.json())) == (422, {"error"})
