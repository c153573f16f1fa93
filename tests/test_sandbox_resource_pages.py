"""The pages of the workspace's resources, by HTTP alone: what they show, what a form adds and what is refused."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from fetch_hive_sdk.error_codes import ERROR_CODES
from fetch_hive_sdk.errors import ConfigurationError
from fetch_hive_sdk.sandbox import Answer, Choices, Sandbox
from fetch_hive_sdk.sandbox.dashboard import resources, words
from fetch_hive_sdk.sandbox.dashboard.resources import NOUNS
from fetch_hive_sdk.sandbox.ids import WORKSPACE_ID
from fetch_hive_sdk.sandbox.objects import Objects
from fetch_hive_sdk.sandbox.resources.models import MODELS

from .test_sandbox_dashboard import EVIL, ORIGIN, Browser, invoke, text_of

WORKSPACE = f"/v1/public/workspaces/{WORKSPACE_ID}"
AGENT = {"name": "Support", "llm_model": "sandbox-large", "model_type": "llm"}


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


@pytest.fixture
def browser(sandbox: Sandbox) -> Browser:
    return Browser(sandbox)


def make(sandbox: Sandbox, path: str, noun: str, **fields: Any) -> str:
    """Make an object by the API, and return its id."""
    reply = invoke(sandbox, WORKSPACE + path, {noun: fields})
    assert reply.status == 200, reply.body
    assert isinstance(reply.body, bytes)
    return json.loads(reply.body)[noun]["id"]


def make_knowledge_base(sandbox: Sandbox, *texts: str, **fields: Any) -> str:
    """A knowledge base with an item for each text: the path of its page."""
    id = make(sandbox, "/knowledge_bases", "knowledge_base", **{"name": "FAQ", **fields})  # noqa: A001 - what it is
    for number, text in enumerate(texts):
        path = f"/knowledge_bases/{id}/items"
        make(sandbox, path, "knowledge_base_item", name=f"Item {number}", item_type="custom", data_content=text)
    return f"/resources/knowledge-bases/{id}"


def make_chat(sandbox: Sandbox, chat: str = "A question", **agent: Any) -> str:
    """A chat with a new agent: the path of its page."""
    agent_id = make(sandbox, "/agents", "agent", **{**AGENT, **agent})
    return f"/resources/agents/{agent_id}/chats/{make(sandbox, f'/agents/{agent_id}/chats', 'chat', name=chat)}"


def upload(sandbox: Sandbox, name: str, content: bytes, content_type: str) -> None:
    """Upload a file as a browser would."""
    files = {"file": (name, content, content_type)}
    form = httpx.Request("POST", "http://sandbox.test", files=files)
    headers = {"Authorization": "Bearer fhk_any", "Content-Type": form.headers["Content-Type"]}
    assert sandbox.engine.handle("POST", f"{WORKSPACE}/assets", headers, form.read()).status == 200


def delegate(sandbox: Sandbox) -> None:
    """Let an agent start a workflow in the background."""
    sandbox.workflow("research-brief", reply="Done.")
    sandbox.agent("ops", reply=Answer("I began.", background=[{"deployment": "research-brief"}]))
    invoke(sandbox, "/v1/agent/invoke", {"agent": "ops", "message": "Go.", "async": {"allow_background": True}})


def main_of(markup: str) -> str:
    """What a page says between its top and its bottom."""
    return text_of(markup[markup.index("<main") : markup.index("</main>")])


def samples_on(page: str) -> tuple[str, str]:
    """The Python and the cURL that a page shows."""
    found = [
        html.unescape(re.findall(rf'aria-label="{name}">(.*?)</pre>', page, re.DOTALL)[0])
        for name in ("Python", "cURL")
    ]
    return found[0], found[1]


# --- the navigation -------------------------------------------------------------------------------------


def test_every_noun_is_reached_from_every_page(browser: Browser) -> None:
    """Resources in the navigation leads to the first noun, whose page leads to the others and names the workspace."""
    assert 'href="/resources"' in browser.page("/prompts")
    assert browser.get("/resources").headers["Location"] == "/resources/knowledge-bases"
    for path, name in NOUNS.items():
        page = browser.page(path)
        assert f"<h1>{name}</h1>" in page
        assert WORKSPACE_ID in page
        assert re.findall(r'<a href="([^"]+)" aria-current="page">', page) == [path]
        assert all(f'href="{other}"' in page for other in NOUNS)


def test_a_page_below_a_noun_belongs_to_it(sandbox: Sandbox, browser: Browser) -> None:
    """On the page of one object its noun is marked in the navigation."""
    page = browser.page(make_knowledge_base(sandbox))
    assert '<a href="/resources/knowledge-bases" aria-current="true">' in page


def test_what_is_not_there_is_said(sandbox: Sandbox, browser: Browser) -> None:
    """An unknown knowledge base, agent or chat is a page with the status 404 that says so."""
    chat = make_chat(sandbox)
    other = make(sandbox, "/agents", "agent", **AGENT)
    for path, text in [
        ("/resources/knowledge-bases/none", "Data set not found."),
        ("/resources/agents/none", "Agent not found."),
        ("/resources/agents/none/chats/none", "Agent not found."),
        (f"/resources/agents/{other}/chats/{chat.rpartition('/')[2]}", "Chat not found"),
    ]:
        answer = browser.get(path)
        assert answer.status_code == 404
        assert text in answer.text


def test_they_are_behind_the_key(sandbox: Sandbox) -> None:
    """A sandbox with a key of its own asks for it before it shows a resource or takes a message."""
    sandbox = Sandbox(api_key="fhk_private")
    chat = make_chat(sandbox)
    browser = Browser(sandbox)
    for path in (*NOUNS, "/resources", chat):
        assert browser.get(path).headers["Location"].startswith("/sign-in?next=")
    data = {"token": browser.token(), "role": "user", "content": "Hello"}
    answer = browser.send("POST", chat, data=data, headers={"Origin": ORIGIN})
    assert answer.headers["Location"] == "/sign-in"
    assert sandbox.engine.store.objects.all("message") == []


# --- how the first one is made --------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("sh"), reason="curl or sh is not installed")
def test_the_code_of_an_empty_page_makes_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both the Python and the cURL that an empty page shows are run as they stand, and the page is empty no more."""
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FETCH_HIVE_API_KEY", "fhk_any")
    sandbox = Sandbox()
    with sandbox.serve() as server, httpx.Client(base_url=server.dashboard_url, trust_env=False) as client:
        pages = [client.get(path).text for path in list(NOUNS)[:3]]
        pages.append(client.get(make_knowledge_base(sandbox)).text)
        pages.append(client.get(f"/resources/agents/{make(sandbox, '/agents', 'agent', **AGENT)}").text)
        for page in pages:
            assert "None yet" in page
            python, curl = samples_on(page)
            namespace: dict[str, Any] = {}
            exec(compile(python, "sample", "exec"), namespace)
            namespace["client"].close()
            command = ["sh", "-c", f"{curl} --silent --show-error --fail-with-body --noproxy '*'"]
            ended = subprocess.run(command, env=dict(os.environ), capture_output=True, timeout=30, check=False)
            assert ended.returncode == 0, (ended.stdout, ended.stderr)
        assert capsys.readouterr().out.count("id=") >= len(pages)
    objects = sandbox.engine.store.objects
    made = {
        noun: len(objects.all(noun)) for noun in ("knowledge_base", "knowledge_base_item", "agent", "chat", "asset")
    }
    assert made == {"knowledge_base": 3, "knowledge_base_item": 2, "agent": 3, "chat": 2, "asset": 2}


def test_an_empty_page_says_so(sandbox: Sandbox, browser: Browser) -> None:
    """What has no object yet says in a sentence how the first one is made."""
    assert "There is no knowledge base yet" in browser.page("/resources/knowledge-bases")
    assert "There is nothing in it yet" in browser.page(make_knowledge_base(sandbox))
    assert "There is no agent yet" in browser.page("/resources/agents")
    assert "It has no chat yet" in browser.page(f"/resources/agents/{make(sandbox, '/agents', 'agent', **AGENT)}")
    assert "There is no asset yet" in browser.page("/resources/assets")
    assert "There is no delegation yet" in browser.page("/resources/delegations")
    chat = make_chat(sandbox)
    assert f'sandbox.add_chat_message("{chat.rpartition("/")[2]}", "Hello")' in main_of(browser.page(chat))


# --- knowledge bases ------------------------------------------------------------------------------------


def test_knowledge_bases_are_listed_newest_first(sandbox: Sandbox, browser: Browser) -> None:
    """Each has its name, its search type and the number of its items."""
    make_knowledge_base(sandbox, "One.", "Two.", name="Old")
    path = make_knowledge_base(sandbox, name="New", search_type="full_text")
    page = browser.page("/resources/knowledge-bases")
    assert re.search(r"New \S+ full_text 0 .* Old \S+ hybrid 2 ", main_of(page))
    assert f'<a href="{path}">' in page


def test_a_long_list_is_cut(sandbox: Sandbox, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many objects the newest are shown, and how many there are in all."""
    monkeypatch.setattr(resources, "SHOWN", 2)
    chat = make_chat(sandbox)
    agent = chat.rpartition("/chats/")[0]
    for number in range(3):
        knowledge_base = make_knowledge_base(sandbox, "A", "B", "C", name=f"FAQ {number}")
        make(sandbox, "/agents", "agent", **{**AGENT, "name": f"Agent {number}"})
        make(sandbox, f"/agents/{agent.rpartition('/')[2]}/chats", "chat", name=f"Chat {number}")
        upload(sandbox, f"{number}.txt", b"x", "text/plain")
        sandbox.add_chat_message(chat.rpartition("/")[2], f"Message {number}")
        delegate(sandbox)
    expected = [
        ("/resources/knowledge-bases", "3 ", ["FAQ 2", "FAQ 1"]),
        (knowledge_base, "3 items", ["Item 2", "Item 1"]),
        ("/resources/agents", "4 ", ["Agent 2", "Agent 1"]),
        (agent, "4 chats", ["Chat 2", "Chat 1"]),
        (chat, "3 messages", ["Message 1", "Message 2"]),  # as they were said
        ("/resources/assets", "3 ", ["2.txt", "1.txt"]),
    ]
    for path, count, names in expected:
        said = main_of(browser.page(path))
        assert count in said, path
        assert "These are the newest 2." in said, path
        assert all(name in said for name in names), path
        assert said.index(names[0]) < said.index(names[1]), path
        assert re.sub(r"\d", "0", names[0]) not in said, path
    said = main_of(browser.page("/resources/delegations"))
    assert "The newest 2" in said
    assert said.count("research-brief") == 2


def test_a_knowledge_base_shows_its_items(sandbox: Sandbox, browser: Browser) -> None:
    """The page has the settings, and each item's type, description and text; one made of an asset names that."""
    path = make_knowledge_base(sandbox, "Goods can be returned.", description="What customers ask")
    upload(sandbox, "terms.txt", b"No liability.", "text/plain")
    [asset] = sandbox.engine.store.objects.all("asset")
    document = {"name": "Terms", "item_type": "document", "asset_id": asset["id"], "description": "The small print"}
    make(sandbox, f"/knowledge_bases/{path.rpartition('/')[2]}/items", "knowledge_base_item", **document)
    said = main_of(browser.page(path))
    assert "FAQ 2 items" in said
    assert "description What customers ask" in said
    assert "search_chunk_limit 5" in said
    assert "Text, 22 characters Goods can be returned." in said
    assert f"The small print {sandbox.engine.store.objects.all('knowledge_base_item')[1]['id']}" in said
    assert f"Its text is that of the asset {asset['id']} ." in said


def test_a_search_shows_passages_with_their_scores(sandbox: Sandbox, browser: Browser) -> None:
    """A search finds what the API finds: the best passage first, with the score and the item it is from."""
    path = make_knowledge_base(sandbox, "Goods can be returned.", "Goods are sent by ship.", "A", "B", "C")
    page = browser.get(path, params={"search_query": "goods returned"}).text
    passages = re.findall(r'<b class="score">([\d.]+)</b> <a href="#item-([^"]+)"><bdi>(.*?)</bdi>', page)
    assert [name for _, _, name in passages] == ["Item 0", "Item 1"]
    assert float(passages[0][0]) == 1.0 > float(passages[1][0]) > 0.1
    assert all(f'id="item-{id}"' in page for _, id, _ in passages)  # noqa: A001 - what it is
    assert 'value="goods returned"' in page


@pytest.mark.parametrize(
    ("given", "found"), [({}, 2), ({"search_chunk_limit": "1"}, 1), ({"search_score_threshold": "0.999"}, 1)]
)
def test_a_search_keeps_to_its_limits(sandbox: Sandbox, browser: Browser, given: dict[str, str], found: int) -> None:
    """No more passages are shown than asked for, and none with a lower score."""
    path = make_knowledge_base(sandbox, "Goods can be returned.", "Goods are sent by post and by ship.")
    page = browser.get(path, params={"search_query": "goods returned", **given}).text
    assert page.count('class="score"') == found
    assert all(f'value="{value}"' in page for value in given.values())


@pytest.mark.parametrize(
    ("settings", "limit", "threshold"),
    [({"search_chunk_limit": 3, "search_score_threshold": 0.25}, "3", "0.25"),
     ({"search_chunk_limit": 90, "search_score_threshold": 7}, "20", "1"),
     ({"search_chunk_limit": 0, "search_score_threshold": -1}, "1", "0")],
)  # fmt: skip
def test_a_search_begins_with_the_settings(
    sandbox: Sandbox, browser: Browser, settings: dict[str, Any], limit: str, threshold: str
) -> None:
    """The form has the knowledge base's own limits, as far as a search may have them."""
    page = browser.page(make_knowledge_base(sandbox, "A", **settings))
    assert re.findall(r'type="number".*?value="([^"]*)"', page) == [limit, threshold]


def test_a_search_without_a_result_or_with_a_wrong_limit_says_so(sandbox: Sandbox, browser: Browser) -> None:
    """Nothing found is said, and a limit that the API refuses is refused with the API's words; nothing is recorded."""
    path = make_knowledge_base(sandbox, "Goods can be returned.")
    assert "No passage has a word of it" in browser.get(path, params={"search_query": "zebra"}).text
    for name, value, text in [
        ("search_chunk_limit", "99", "search_chunk_limit must be from 1 to 20"),
        ("search_chunk_limit", "many", "search_chunk_limit must be an integer"),
        ("search_score_threshold", "", "search_score_threshold is required"),
    ]:
        answer = browser.get(path, params={"search_query": "goods", name: value})
        assert answer.status_code == 200
        assert text in answer.text
        assert "Item 0" in answer.text
    assert sandbox.engine.store.refused() == []


def test_a_search_where_sqlite_cannot_says_so(
    sandbox: Sandbox, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without full-text search in SQLite the page says that, and is shown all the same."""
    path = make_knowledge_base(sandbox, "Goods can be returned.")

    def search(*_arguments: object, **_limits: object) -> None:
        raise ConfigurationError("It was built without FTS5.", hint="Use another.")

    monkeypatch.setattr(Objects, "search", search)
    answer = browser.get(path, params={"search_query": "goods"})
    assert answer.status_code == 200
    assert "It was built without FTS5." in answer.text


def test_a_search_reads_the_key_of_its_choice() -> None:
    """Where the sandbox was told to name the passages otherwise, the page finds them all the same."""
    sandbox = Sandbox(choices=Choices(search_results_key="chunks"))
    path = make_knowledge_base(sandbox, "Goods can be returned.")
    assert Browser(sandbox).get(path, params={"search_query": "goods"}).text.count('class="score"') == 1


# --- agents and chats -----------------------------------------------------------------------------------


def test_agents_and_their_chats_are_shown(sandbox: Sandbox, browser: Browser) -> None:
    """The list has each agent's model and chats, its page the settings, the chats with their last message, and runs."""
    chat = make_chat(sandbox, instruction_prompt="Be brief.", temperature=0.3)
    agent = chat.rpartition("/chats/")[0]
    assert re.search(r"Support \S+ sandbox-large 1 ", main_of(browser.page("/resources/agents")))
    assert "A question" in (said := main_of(browser.page(agent)))
    assert "None 0 " in said
    assert "instruction_prompt Be brief. temperature 0.3" in said
    sandbox.add_chat_message(chat.rpartition("/")[2], "When will it come?")
    page = browser.page(agent)
    assert "When will it come? 1 " in main_of(page)
    assert f'href="/agents?name={agent.rpartition("/")[2]}"' in page
    assert f'<a href="{chat}">' in page


def test_a_message_is_added_on_the_page(sandbox: Sandbox, browser: Browser) -> None:
    """What is typed is a message of the chosen role, with its line breaks, on the page and by the API."""
    chat = make_chat(sandbox)
    answer = browser.press(chat, "Add message", role="assistant", content="Within\r\nfour days. <b>")
    assert "The message was added." in answer.text
    assert "1 message assistant" in main_of(answer.text).replace(" Add", "")
    assert "Within\nfour days. &lt;b&gt;" in answer.text
    [message] = sandbox.engine.store.objects.all("message")
    assert (message["role"], message["content"]) == ("assistant", "Within\nfour days. <b>")


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"role": "user", "content": " \r\n "}, 422, "content is required"),
        ({"role": "user"}, 422, "content is required"),
        ({"role": "robot", "content": "Hi"}, 422, "role must be user, assistant, or system"),
    ],
)
def test_a_wrong_message_is_refused(
    sandbox: Sandbox, browser: Browser, fields: dict[str, str], status: int, text: str
) -> None:
    """A message without text or with a role that is none adds nothing."""
    answer = browser.press(make_chat(sandbox), "Add message", **fields)
    assert answer.status_code == status
    assert text in answer.text
    assert sandbox.engine.store.objects.all("message") == []


def test_a_message_for_no_chat_or_from_elsewhere_is_refused(sandbox: Sandbox, browser: Browser) -> None:
    """A chat that is gone takes no message, and another site's form adds none."""
    chat = make_chat(sandbox)
    data = {"token": browser.token(), "role": "user", "content": "Hi"}
    gone = browser.send("POST", f"{chat}x", data=data, headers={"Origin": ORIGIN})
    assert (gone.status_code, "Chat not found" in gone.text) == (404, True)
    assert browser.send("POST", chat, data=data, headers={"Origin": "http://evil.example"}).status_code == 403
    assert browser.send("POST", chat, data={**data, "token": "0"}, headers={"Origin": ORIGIN}).status_code == 403
    assert sandbox.engine.store.objects.all("message") == []


# --- the other nouns ------------------------------------------------------------------------------------


def test_an_asset_has_a_link_to_its_file(sandbox: Sandbox, browser: Browser) -> None:
    """The list has size, type and time; the link leads to the API, which gives out the exact bytes."""
    upload(sandbox, "a b?.html", b"<script>" * 200, "text/html")
    page = browser.page("/resources/assets")
    assert re.search(r"a b\?\.html \S+ document text/html 1\.56 KiB 20", main_of(page))
    found = re.search(r'<a href="(/v1/sandbox-files/[^"]+)" download>', page)
    assert found is not None
    reply = sandbox.engine.handle("GET", found[1], {}, b"")
    assert (reply.status, reply.body) == (200, b"<script>" * 200)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1024, "1 KiB"), (5 * 1024**2, "5 MiB"), (3 * 1024**4, "3.07e+03 GiB")],
)
def test_a_size_is_said_in_words(count: int, text: str) -> None:
    """Sizes are as exact as is worth reading."""
    assert words.size(count) == text


def test_models_search_services_and_codes_are_listed(browser: Browser) -> None:
    """Each model has its abilities, each service its countries, and each code its status, message and advice."""
    models = main_of(browser.page("/resources/models"))
    assert all(model["slug"] in models for model in MODELS)
    assert "Sandbox vision sandbox-vision llm 128,000 vision tool calling json schema" in models
    services = main_of(browser.page("/resources/search-services"))
    assert "Value of country Australia AU AU" in services
    assert "Value of location Australia AU Australia" in services
    codes = main_of(browser.page("/resources/error-codes"))
    assert all(f"{one.code} {one.status} {one.message} {one.client_action}" in codes for one in ERROR_CODES)


def test_delegations_lead_to_both_runs(sandbox: Sandbox, browser: Browser) -> None:
    """Those of all agents are listed, newest first, with links to the workflow's run and to the agent's."""
    delegate(sandbox)
    sandbox.agent("second", reply=Answer("I began.", background=[{"deployment": "research-brief"}]))
    asked = {"agent": "second", "message": "Go.", "async": {"callback_url": "http://127.0.0.1:9/hook"}}
    invoke(sandbox, "/v1/agent/invoke", asked)
    page = browser.page("/resources/delegations")
    assert re.search(r"research-brief \S+ Completed second .* research-brief \S+ Completed ops", main_of(page))
    linked = re.findall(r'href="/runs/([^"]+)"', page)
    agents = {run.name: run for run in sandbox.runs if run.kind == "agent"}
    assert linked == [
        *(agents["second"].delegations[0].request_id, agents["second"].request_id),
        *(agents["ops"].delegations[0].request_id, agents["ops"].request_id),
    ]


def test_the_callback_of_a_delegation_is_told(sandbox: Sandbox, browser: Browser) -> None:
    """A delegation whose callback was accepted says when, and one that was not says why."""
    delegate(sandbox)
    [delegation] = sandbox.engine.store.newest_delegations(10)
    store = sandbox.engine.store
    changed = type(delegation)(**{**vars(delegation), "delivery_error": "The receiver answered 500"})
    store.save_delegation(changed)
    assert "Not delivered: The receiver answered 500" in browser.page("/resources/delegations")
    store.save_delegation(type(delegation)(**{**vars(delegation), "delivered_at": delegation.created_at}))
    assert "Delivered 20" in main_of(browser.page("/resources/delegations"))


def test_markup_in_resources_is_text(sandbox: Sandbox, browser: Browser) -> None:
    """Markup in names, texts, messages, file names and searches is shown as it is on every page, and is no element."""
    knowledge_base = make_knowledge_base(sandbox, EVIL, name=EVIL, description=EVIL)
    path = f"/knowledge_bases/{knowledge_base.rpartition('/')[2]}/items"
    make(sandbox, path, "knowledge_base_item", name=EVIL, description=EVIL, data_content=EVIL)
    chat = make_chat(sandbox, EVIL, name=EVIL, llm_model=EVIL, instruction_prompt=EVIL)
    sandbox.add_chat_message(chat.rpartition("/")[2], EVIL)
    upload(sandbox, EVIL.replace('"', ""), b"x", "text/html;x=<script>")
    paths = ["/resources/knowledge-bases", knowledge_base, chat, chat.rpartition("/chats/")[0], "/resources/agents"]
    pages = [browser.page(path) for path in [*paths, "/resources/assets"]]
    pages.append(browser.get(knowledge_base, params={"search_query": EVIL, "search_chunk_limit": EVIL}).text)
    pages.append(browser.get(knowledge_base, params={"search_query": "script", "search_score_threshold": "0"}).text)
    for page in pages:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "{{7*7}}" in page
