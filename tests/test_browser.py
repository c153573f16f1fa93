"""The run log in a real browser: what a person clicks, types and sees, with JavaScript and without.

It needs Chromium on PATH and requirements/browser.txt; without them it is skipped, unless
FETCH_HIVE_BROWSER_TESTS=require makes that an error.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fetch_hive_sdk import FetchHive
from fetch_hive_sdk.sandbox import Answer, Choices, HumanInTheLoop, Sandbox, SandboxServer
from fetch_hive_sdk.sandbox.dashboard.resources import NOUNS
from fetch_hive_sdk.sandbox.ids import WORKSPACE_ID

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [
    *([] if CHROMIUM else ["a Chromium on PATH (apt-get install chromium)"]),
    *(
        ["Playwright and axe (pip install -r requirements/browser.txt)"]
        if not (find_spec("playwright") and find_spec("axe_playwright_python"))
        else []
    ),
]
if MISSING:
    REASON = f"THE BROWSER TESTS DID NOT RUN. They need {' and '.join(MISSING)}."
    if os.environ.get("FETCH_HIVE_BROWSER_TESTS") == "require":
        raise RuntimeError(REASON)
    pytest.skip(REASON, allow_module_level=True)

from axe_playwright_python.sync_playwright import Axe  # noqa: E402 - they may be missing
from playwright.sync_api import expect, sync_playwright  # noqa: E402 - as above

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EVIL = """<script>document.title='pwned'</script>"'><img src=x onerror="document.title='pwned'">"""
Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def sandbox() -> Sandbox:
    """A sandbox whose callbacks are tried once."""
    return Sandbox(choices=Choices(callback_retry_delays=()))


@pytest.fixture
def server(sandbox: Sandbox) -> Iterator[SandboxServer]:
    with sandbox.serve() as server:
        yield server


@pytest.fixture
def open_page(chromium: Browser, server: SandboxServer) -> Iterator[Open]:
    """Open a page of the sandbox. In the end no script has failed and nothing was blocked by the page's policy."""
    contexts: list[Any] = []
    problems: list[str] = []

    def note(message: Any) -> None:
        if message.type == "error":
            problems.append(message.text)

    def open_page(path: str, **options: Any) -> Page:
        context = chromium.new_context(base_url=server.dashboard_url, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def hook() -> Iterator[Receiver]:
    """A callback receiver that fails at first."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.01,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


class Receiver:
    """Answers 500 to callbacks until `works` is True, and 200 from then on."""

    def __init__(self) -> None:
        self.works = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                body = b"thank you" if receiver.works else b"the database is down"
                self.send_response(200 if receiver.works else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_request(self, code: object = "-", size: object = "-") -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


def send(server: SandboxServer, kind: str, **body: Any) -> httpx.Response:
    """Send one request as an app would."""
    headers = {"Authorization": f"Bearer {server.api_key}"}
    return httpx.post(f"{server.base_url}/{kind}/invoke", json=body, headers=headers, trust_env=False)


def send_prompt(server: SandboxServer, **more: Any) -> httpx.Response:
    return send(server, "prompt", **{"deployment": "support-classifier", "variant": "default", **more})


def rows(page: Page) -> Any:
    """The rows of the log's table."""
    return page.get_by_role("table").get_by_role("row").filter(has=page.get_by_role("cell"))


def send_typed(server: SandboxServer) -> None:
    """Runs whose metadata differ in their types alone."""
    for metadata in (
        {"who": "ann", "days": 30, "beta_user": True},
        {"who": "bob", "days": "30", "beta_user": "true"},
        {"who": "cid", "beta_user": None},
        {},
    ):
        send_prompt(server, metadata=metadata)


def waiting_workflow(sandbox: Sandbox, server: SandboxServer, url: str) -> str:
    """A workflow that waits for a choice: the path of its page."""
    human = HumanInTheLoop("Publish the post?", ("publish", "discard"))
    sandbox.workflow("publish-post", reply=lambda inputs, choice: f"Decided: {choice}", human_in_the_loop=human)
    delivery = {"enabled": True, "callback_url": url}
    reply = send(server, "workflow", deployment="publish-post", variant="default", **{"async": delivery})
    server.wait_for_callbacks()
    return f"/runs/{reply.json()['request_id']}"


def waiting_agent(sandbox: Sandbox, server: SandboxServer) -> str:
    """An agent's run that waits for an approval: the path of its page."""
    call = {"tool_name": "refund_payment", "tool_input": {"amount": 49}, "summary": "Refund 49", "needs_approval": True}
    sandbox.agent("ops-agent", reply=Answer("Refunded.", tool_calls=[call], text_if_denied="Left as it is."))
    return f"/runs/{send(server, 'agent', agent='ops-agent', message='Refund Ann.').json()['request_id']}"


def client_of(server: SandboxServer) -> FetchHive:
    """A client of the sandbox's workspace."""
    return FetchHive(api_key=server.api_key, base_url=server.base_url, workspace_id=WORKSPACE_ID)


def resource_pages(sandbox: Sandbox, server: SandboxServer, text: str = "Goods can be returned.") -> list[str]:
    """The paths of the pages of one object of each noun, with a text in whatever takes one."""
    sandbox.workflow("research-brief", reply="Done.")
    sandbox.agent("ops", reply=Answer("I began.", background=[{"deployment": "research-brief"}]))
    send(server, "agent", agent="ops", message="Go.", **{"async": {"allow_background": True}})
    with client_of(server) as client:
        knowledge_base = client.knowledge_bases.create(name=text, description=text)
        client.knowledge_bases.items.create(
            knowledge_base.id, name=text, item_type="custom", description=text, data_content=f"{text} shipped"
        )
        agent = client.agents.create(name=text, llm_model=text, model_type="llm", instruction_prompt=text)
        chat = client.chats.create(agent.id, name=text)
        client.assets.upload(io.BytesIO(b"x"), file_name=text.replace('"', "") + ".txt")
    for role in ("user", "assistant", "system"):
        sandbox.add_chat_message(chat.id, text, role=role)
    base, person = f"/resources/knowledge-bases/{knowledge_base.id}", f"/resources/agents/{agent.id}"
    return [f"{base}?search_query=shipped", f"{person}/chats/{chat.id}", person, *NOUNS]


# --- with a mouse ---------------------------------------------------------------------------------------


def test_filter_by_key(server: SandboxServer, open_page: Open) -> None:
    """A chosen key finds the runs that have it; its chip takes the filter away again."""
    send_typed(server)
    page = open_page("/prompts")
    expect(rows(page)).to_have_count(4)
    suggested = page.locator("datalist option").evaluate_all("options => options.map(option => option.value)")
    assert suggested == ["beta_user", "days", "who"]
    page.get_by_label("User metadata key").fill("days")
    page.get_by_role("button", name="Apply").click()
    expect(rows(page)).to_have_count(2)
    assert page.url.endswith("/prompts?key=days")
    page.get_by_role("link", name="days exists").click()
    expect(rows(page)).to_have_count(4)


def test_filter_by_key_and_value(server: SandboxServer, open_page: Open) -> None:
    """A value matches exactly, type and all, and a second filter is added to the first."""
    send_typed(server)
    page = open_page("/prompts")

    def add(key: str, value: str) -> None:
        page.get_by_label("User metadata key").fill(key)
        page.get_by_label("Value (optional)").fill(value)
        page.get_by_role("button", name="Apply").click()

    for value, who in [("30", "ann"), ('"30"', "bob")]:
        add("days", value)
        expect(rows(page)).to_have_count(1)
        expect(rows(page)).to_contain_text(f"who = {who}")
        page.get_by_role("link", name="Clear all").click()
    add("beta_user", "true")
    expect(rows(page)).to_contain_text("who = ann")
    add("who", "bob")
    expect(page.get_by_text("No run matches these filters")).to_be_visible()
    page.get_by_role("link", name="beta_user = true (boolean)").click()
    expect(rows(page)).to_contain_text("who = bob")
    add("", "alone")
    expect(page.get_by_role("alert")).to_contain_text("A value alone finds nothing")


def test_open_a_run(server: SandboxServer, open_page: Open) -> None:
    """A click on a run shows its inputs, metadata and code; a click on a value shows the runs that share it."""
    send_prompt(server, inputs={"ticket_text": "It is disabled."}, metadata={"plan": "enterprise"})
    page = open_page("/")
    page.get_by_role("link", name="support-classifier").click()
    expect(page.get_by_role("heading", name="support-classifier")).to_be_visible()
    expect(page.get_by_role("region", name="User metadata")).to_contain_text("enterprise")
    expect(page.get_by_role("region", name="Python", exact=True)).to_contain_text("client.invoke_prompt(")
    expect(page.get_by_role("region", name="cURL", exact=True)).to_contain_text("$FETCH_HIVE_API_KEY")
    page.get_by_role("link", name="Same value of plan").click()
    expect(page.get_by_role("link", name="plan = enterprise (text)")).to_be_visible()


def test_redeliver_a_callback(server: SandboxServer, open_page: Open, hook: Receiver) -> None:
    """A callback that was refused is sent again by its button, and the page shows by itself that it was accepted."""
    delivery = {"enabled": True, "callback_url": hook.url}
    reply = send(server, "workflow", deployment="research-brief", variant="default", **{"async": delivery})
    server.wait_for_callbacks()
    page = open_page(f"/runs/{reply.json()['request_id']}")
    attempts = page.get_by_role("region", name="Attempts to deliver")
    expect(attempts).to_contain_text("Refused with 500")
    expect(attempts).to_contain_text("the database is down")
    hook.works = True
    page.get_by_role("button", name="Redeliver").click()
    expect(page.get_by_text("being delivered again")).to_be_visible()
    expect(attempts).to_contain_text("Accepted with 200")
    expect(page.get_by_text("Delivered", exact=True)).to_be_visible()


def test_answer_a_human_in_the_loop_step(
    sandbox: Sandbox, server: SandboxServer, open_page: Open, hook: Receiver
) -> None:
    """A paused workflow asks its question on the page; a choice lets it go on to its end and its callback."""
    hook.works = True
    page = open_page(waiting_workflow(sandbox, server, hook.url))
    expect(page.get_by_text("Publish the post?")).to_be_visible()
    page.get_by_role("button", name="discard").click()
    expect(page.get_by_role("region", name="Output").first).to_contain_text("Decided: discard")
    expect(page.locator("#state")).to_have_text("Completed")
    expect(page.get_by_role("button", name="discard")).to_have_count(0)
    expect(page.get_by_text("Delivered", exact=True)).to_be_visible()


@pytest.mark.parametrize(("button", "answer"), [("Allow", "Refunded."), ("Deny", "Left as it is.")])
def test_decide_an_approval(sandbox: Sandbox, server: SandboxServer, open_page: Open, button: str, answer: str) -> None:
    """An agent's tool call is allowed or denied on the page, and its run goes on accordingly."""
    path = waiting_agent(sandbox, server)
    page = open_page("/prompts")
    page.get_by_role("link", name="Approvals 1 run waits").click()
    expect(page.get_by_text("Refund 49")).to_be_visible()
    page.get_by_role("button", name=button).click()
    expect(page.get_by_text("0 waiting")).to_be_visible()
    page.goto(path)
    expect(page.get_by_role("region", name="Output")).to_have_text(answer)
    expect(page.get_by_text("not made")).to_have_count(1 if button == "Deny" else 0)


def test_a_new_run_appears_live(server: SandboxServer, open_page: Open) -> None:
    """A run that is sent while the log is open appears by itself and is announced; what was half typed stays."""
    page = open_page("/prompts")
    expect(page.get_by_role("heading", name="No prompt has run yet")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Live")
    page.evaluate("window.untouched = true")
    key = page.get_by_label("User metadata key")
    key.press_sequentially("half ty")
    send_prompt(server, metadata={"plan": "enterprise"})
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_role("status")).to_have_text("Live: 1 new")
    send_prompt(server, deployment="another")
    expect(rows(page)).to_have_count(2)
    expect(rows(page).first).to_contain_text("another")
    key.press_sequentially("ped")
    expect(key).to_have_value("half typed")
    expect(key).to_be_focused()
    assert page.evaluate("window.untouched")


def test_a_page_that_takes_long_is_fetched_seldom(server: SandboxServer, open_page: Open) -> None:
    """However much happens, a page that takes long to make is not asked for again at once."""
    page = open_page("/prompts")
    expect(page.get_by_role("status")).to_have_text("Live")
    fetched: list[float] = []

    def slowly(route: Route) -> None:
        fetched.append(time.monotonic())
        time.sleep(0.4)
        route.continue_()

    page.route("**/prompts", slowly)
    for _ in range(30):
        send_prompt(server)
        page.wait_for_timeout(100)
    expect(rows(page)).to_have_count(30)
    assert min(later - earlier for earlier, later in pairwise(fetched)) > 1


def test_an_open_run_changes_live(sandbox: Sandbox, server: SandboxServer, open_page: Open, hook: Receiver) -> None:
    """A run's page follows what happens to the run elsewhere; what was unfolded stays so."""
    path = waiting_workflow(sandbox, server, hook.url)
    page = open_page(path)
    expect(page.locator("#state")).to_have_text("Paused")
    expect(page.get_by_role("status")).to_have_text("Live")
    sandbox.choose(path.removeprefix("/runs/"), "publish")
    expect(page.locator("#state")).to_have_text("Completed")
    page.get_by_text("What is posted").click()
    posted = page.get_by_role("region", name="Callback as posted")
    expect(posted).to_be_visible()
    page.get_by_role("button", name="Redeliver").focus()
    sandbox.redeliver(sandbox.callbacks[0])
    attempts = page.get_by_role("region", name="Attempts to deliver")
    expect(attempts.get_by_role("rowheader")).to_have_count(2)
    expect(posted).to_be_visible()
    expect(page.get_by_role("button", name="Redeliver")).to_be_focused()


def test_a_secret_is_shown_on_request(server: SandboxServer, sandbox: Sandbox, open_page: Open) -> None:
    """A webhook secret is masked until its button is pressed, and stays shown until it is hidden."""
    sandbox.workflow("research-brief", reply="x", secret="whsec_of_the_brief")
    page = open_page("/deployments")
    expect(page.get_by_text("whsec_of_the_brief")).to_have_count(0)
    page.get_by_role("button", name="Show secret of research-brief").click()
    expect(page.get_by_text("whsec_of_the_brief")).to_be_visible()
    send_prompt(server)
    expect(page.get_by_text("whsec_of_the_brief")).to_be_visible()
    page.get_by_role("link", name="Hide").click()
    expect(page.get_by_text("whsec_of_the_brief")).to_have_count(0)


def test_sign_in(chromium: Browser) -> None:
    """A sandbox with a key of its own lets in who enters it, and shows what was asked for."""
    with Sandbox(api_key="fhk_private").serve() as server:
        send_prompt(server, metadata={"plan": "pro"})
        context = chromium.new_context(base_url=server.dashboard_url)
        page = context.new_page()
        page.goto("/prompts?key=plan")
        page.get_by_label("API key").fill("fhk_wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("This is not the key.")
        page.get_by_label("API key").fill("fhk_private")
        page.keyboard.press("Enter")
        expect(rows(page)).to_have_count(1)
        expect(page.get_by_role("link", name="plan exists")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        context.close()


def test_search_a_knowledge_base(server: SandboxServer, open_page: Open) -> None:
    """A knowledge base made by the API is found in the navigation and searched; a passage leads to its item."""
    texts = {"Returns": "Unopened goods can be returned.", "Shipping": "A parcel takes four days.", "Jobs": "None."}
    with client_of(server) as client:
        made = client.knowledge_bases.create(name="FAQ")
        for name, text in texts.items():
            client.knowledge_bases.items.create(made.id, name=name, item_type="custom", data_content=text)
    page = open_page("/")
    page.get_by_role("link", name="Resources").click()
    page.get_by_role("link", name="FAQ").click()
    page.get_by_label("Search for").fill("how long does a parcel take")
    page.get_by_role("button", name="Search").click()
    passages = page.get_by_role("list", name="Passages, best first").get_by_role("listitem")
    expect(passages).to_have_count(1)
    expect(passages).to_contain_text("0.333 Shipping A parcel takes four days.")
    passages.get_by_role("link", name="Shipping").click()
    expect(page.locator("article:target")).to_contain_text("Text, 25 characters")


def test_add_a_message_to_a_chat(sandbox: Sandbox, server: SandboxServer, open_page: Open) -> None:
    """A message is typed on the page of a chat, and the API tells it; what is half typed outlives other changes."""
    with client_of(server) as client:
        agent = client.agents.create(name="Support", llm_model="sandbox-large", model_type="llm")
        chat = client.chats.create(agent.id, name="A question of Ann's")
        page = open_page("/resources/agents")
        page.get_by_role("link", name="Support").click()
        page.get_by_role("link", name="A question of Ann's").click()
        expect(page.get_by_text("There is no message yet")).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("Live")
        page.get_by_label("Role").select_option("assistant")
        page.get_by_label("Text").fill("Within\nfour")
        sandbox.add_chat_message(chat.id, "When will it come?")
        send_prompt(server)
        messages = page.get_by_role("list", name="Messages").get_by_role("listitem")
        expect(messages).to_have_count(1)
        page.get_by_label("Text").press_sequentially(" days.")
        page.get_by_role("button", name="Add message").click()
        expect(page.get_by_text("The message was added")).to_be_visible()
        expect(messages).to_have_count(2)
        told = [(message.role, message.content) for message in client.chats.messages(agent.id, chat.id)]
    assert told == [("user", "When will it come?"), ("assistant", "Within\nfour days.")]


def test_download_an_asset(sandbox: Sandbox, server: SandboxServer, open_page: Open, tmp_path: Path) -> None:
    """The link of an asset gives the file as it was uploaded, under its name."""
    with client_of(server) as client:
        client.assets.upload(io.BytesIO(b"<script>document.title='pwned'</script>"), file_name="a page.html")
    page = open_page("/resources/assets")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="a page.html").click()
    downloading.value.save_as(tmp_path / "saved")
    assert downloading.value.suggested_filename == "a page.html"
    assert (tmp_path / "saved").read_bytes() == b"<script>document.title='pwned'</script>"


# --- in other ways --------------------------------------------------------------------------------------


def test_dark_mode(server: SandboxServer, open_page: Open) -> None:
    """The pages are dark where the system is, and light where it is light."""
    send_prompt(server)
    lightness: dict[str, list[int]] = {}
    for scheme in ("light", "dark"):
        page = open_page("/prompts", color_scheme=scheme)
        colors = page.evaluate(
            "() => { const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]; }"
        )
        lightness[scheme] = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in colors]
    (light_page, light_text), (dark_page, dark_text) = lightness["light"], lightness["dark"]
    assert light_page > 600 > 150 > light_text
    assert dark_page < 150 < 600 < dark_text


def test_without_javascript(sandbox: Sandbox, server: SandboxServer, open_page: Open, hook: Receiver) -> None:
    """Without JavaScript filters, paging, buttons and reloading work as well."""
    hook.works = True
    send_typed(server)
    page = open_page("/prompts", java_script_enabled=False)
    page.get_by_label("User metadata key").fill("days")
    page.get_by_label("Value (optional)").fill("30")
    page.get_by_role("button", name="Apply").click()
    expect(rows(page)).to_have_count(1)
    page.get_by_text("Status, from – to, request id").click()
    page.get_by_role("checkbox", name="Failed").check()
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("No run matches")).to_be_visible()
    page.goto(waiting_workflow(sandbox, server, hook.url))
    page.get_by_role("button", name="publish").click()
    expect(page.get_by_text("Your choice was recorded")).to_be_visible()
    server.wait_for_callbacks()
    page.get_by_role("link", name="Reload").click()
    expect(page.locator("#state")).to_have_text("Completed")
    page.get_by_role("button", name="Redeliver").click()
    expect(page.get_by_text("being delivered again")).to_be_visible()
    page.goto(waiting_agent(sandbox, server))
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("Allowed. Once")).to_be_visible()


def test_with_the_keyboard_alone(server: SandboxServer, open_page: Open) -> None:
    """With Tab, Enter and letters alone one skips to the content, filters, and opens a run; the focus is visible."""
    send_typed(server)
    page = open_page("/prompts")

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "() => { const it = document.activeElement;"
                " return (it.labels?.[0]?.textContent ?? it.textContent).trim(); }"
            )
            if focused.startswith(name):
                outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", name
                return
        raise AssertionError(f"{name} is not reached")

    tab_to("Skip to content")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    tab_to("User metadata")
    page.keyboard.type("who")
    tab_to("Value")
    page.keyboard.type("bob")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(1)
    tab_to("support-classifier")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="support-classifier")).to_be_visible()


def test_on_a_small_screen(sandbox: Sandbox, server: SandboxServer, open_page: Open, hook: Receiver) -> None:
    """At 360 pixels nothing is wider than the screen, and the table is still a table to a screen reader."""
    send_typed(server)
    send_prompt(server, deployment="d" * 80, metadata={"k" * 60: "v" * 90}, inputs={"i" * 50: "x" * 500})
    send(server, "workflow", deployment="<" + "w" * 60 + " x>", variant="default")
    path = waiting_workflow(sandbox, server, hook.url)
    request_id = sandbox.runs[-3].request_id
    paths = ["/prompts", f"/runs/{request_id}", path, "/deployments", "/refused", "/approvals", "/hive-agents"]
    for path in paths:
        page = open_page(path, viewport={"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    page = open_page("/prompts", viewport={"width": 360, "height": 740})
    expect(rows(page)).to_have_count(5)
    assert all(
        cell["width"] > 250 for one in page.locator(".log td.metadata:visible").all() if (cell := one.bounding_box())
    )
    expect(page.get_by_role("columnheader")).to_have_count(7)


def test_resources_on_a_small_screen(sandbox: Sandbox, server: SandboxServer, open_page: Open) -> None:
    """At 360 pixels no page of a resource is wider than the screen, empty or with long names."""
    page = open_page("/resources", viewport={"width": 360, "height": 740})
    for path in [*NOUNS, *resource_pages(sandbox, server, "w" * 90)]:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_long_names_leave_room_for_the_other_columns(sandbox: Sandbox, server: SandboxServer, open_page: Open) -> None:
    """On a wide screen no list of a noun has to be scrolled sideways, however long a name is."""
    resource_pages(sandbox, server, "w" * 300)
    page = open_page("/resources", viewport={"width": 1180, "height": 740})
    for path in NOUNS:
        page.goto(path)
        wider = "[...document.querySelectorAll('.scroll')].some((it) => it.scrollWidth > it.clientWidth)"
        assert not page.evaluate(wider), path


def serious(page: Page, paths: Sequence[str]) -> list[str]:
    """What axe finds on these pages, everything unfolded, that is serious or critical."""
    found: list[str] = []
    for path in paths:
        page.goto(path)
        for details in page.locator("main details").all():
            details.evaluate("it => { it.open = true; }")
        for violation in Axe().run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                nodes = "; ".join(node["html"] for node in violation["nodes"])
                found.append(f"{path}: {violation['id']}: {violation['help']}: {nodes}")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_accessibility_of_resources(
    sandbox: Sandbox, server: SandboxServer, open_page: Open, scheme: str
) -> None:
    """Axe finds nothing serious or critical on any page of a resource, empty or not, neither light nor dark."""
    page = open_page("/resources", color_scheme=scheme)
    found = serious(page, ["/resources/knowledge-bases"])
    paths = resource_pages(sandbox, server)
    # In the dark only the colors differ.
    assert found + serious(page, paths if scheme == "light" else paths[:2]) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_accessibility(
    sandbox: Sandbox, server: SandboxServer, open_page: Open, chromium: Browser, hook: Receiver, scheme: str
) -> None:
    """Axe finds nothing serious or critical on any page, neither light nor dark."""
    paths = ["/prompts", "/hive-agents"]
    sandbox.prompt("broken", reply=Answer("Half", error="No.", error_code="model_deprecated", reasoning="Hm."))
    calls = [{"tool_name": "crm_lookup", "tool_input": {"id": 1}, "observation": {"open": 2}}]
    sandbox.agent("crm", reply=Answer("Done.", tool_calls=calls, artifacts=[{"file_url": "https://e.com/a.pdf"}]))
    send_typed(server)
    send_prompt(server, deployment="broken", inputs={"a": [1], "b": "x"}, metadata={"a": 1, "b": 2, "c": 3, "d": 4})
    send(server, "agent", agent="crm", message="Hi", streaming=True)
    send(server, "workflow", deployment="no-variant")
    delivery = {"enabled": True, "callback_url": hook.url}
    send(server, "workflow", deployment="research-brief", variant="default", **{"async": delivery})
    paths += [waiting_workflow(sandbox, server, hook.url), waiting_agent(sandbox, server)]
    server.wait_for_callbacks()
    paths += [f"/runs/{run.request_id}" for run in sandbox.runs if run.name in ("broken", "crm", "research-brief")]
    paths += ["/prompts?key=who&value=30&status=failed", "/prompts?status=lost&status=failed", "/workflows"]
    paths += ["/approvals", "/deployments", "/refused", "/sign-in"]
    page = open_page("/agents", color_scheme=scheme)
    assert serious(page, paths) == []


def test_markup_that_was_sent_does_nothing(sandbox: Sandbox, server: SandboxServer, open_page: Open) -> None:
    """Markup in names, metadata, inputs, replies and errors is shown, on every page, and is never run."""
    sandbox.prompt(EVIL, reply=Answer(EVIL, error=EVIL, error_code=EVIL, reasoning=EVIL, model=EVIL))
    call = {"tool_name": EVIL, "tool_input": {EVIL: EVIL}, "observation": EVIL, "summary": EVIL, "needs_approval": True}
    sandbox.agent(EVIL, reply=Answer(EVIL, tool_calls=[call], artifacts=[{"file_url": "javascript:alert(1)"}]))
    metadata = {EVIL: EVIL}
    send_prompt(
        server, deployment=EVIL, variant=EVIL, inputs={EVIL: EVIL}, user=EVIL, streaming=True, metadata=metadata
    )
    send(server, "agent", agent=EVIL, message=EVIL, thread_id=EVIL, metadata=metadata)
    send_prompt(server, deployment="", metadata={EVIL: [EVIL]})
    query = httpx.QueryParams({"key": EVIL, "value": EVIL, "name": EVIL, "request_id": EVIL, "from": EVIL})
    paths = [f"/runs/{run.request_id}" for run in sandbox.runs]
    paths += ["/prompts", "/agents", "/deployments", "/refused", "/approvals", f"/prompts?{query}"]
    page = open_page("/sign-in?next=%22%3E%3Cscript%3Edocument.title='pwned'%3C/script%3E")
    shown = 0
    for path in paths:
        page.goto(path)
        expect(page.get_by_role("status").first).to_have_text("Live")
        assert "pwned" not in page.title().replace(EVIL, ""), path
        assert page.locator("main img, main script, main a[href^='javascript:']").count() == 0, path
        shown += EVIL in page.locator("main").inner_text()
    assert shown >= 5


def test_markup_in_resources_does_nothing(sandbox: Sandbox, server: SandboxServer, open_page: Open) -> None:
    """Markup in names, texts, messages and file names is shown, and is never run."""
    page = open_page("/resources")
    shown = 0
    for path in resource_pages(sandbox, server, EVIL)[:6]:
        page.goto(path)
        assert "pwned" not in page.title().replace(EVIL, ""), path
        assert page.locator("main img, main script").count() == 0, path
        shown += EVIL in page.locator("main").inner_text()
    assert shown == 5  # a file's name has no quotes
