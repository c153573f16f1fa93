"""The documentation is true: every Python block runs, and what stands below it is what it prints or raises.

In docs/*.md and README.md each ```python block is run, in an empty folder, with the environment set as for a real
service; it is what `fetch-hive sandbox --examples` starts, with one key. What the runner has to know stands before a
block:

    <!-- continues -->      it goes on where the block before it ended, with that one's names
    <!-- raises NAME -->    it ends with the error of this class
    <!-- warns -->          it warns that what it uses is superseded

What stands right after it is compared:

    ```text title="Output"  what it prints; request ids may differ
    ```text title="Error"   the error, as `Class: text`; line breaks are free
    ```text title="Warning" all warnings, one in a line; line breaks are free

A block that defines functions called `test_…` is run by pytest.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import httpx
import pytest

import fetch_hive_sdk.sandbox
from fetch_hive_sdk import AsyncFetchHive, CallbackVerifier, FetchHive, compat, errors, resources
from fetch_hive_sdk.cli.sandbox import EXAMPLES
from fetch_hive_sdk.error_codes import ERROR_CODES
from fetch_hive_sdk.resources.base import SyncResource
from fetch_hive_sdk.sandbox import Sandbox
from fetch_hive_sdk.sandbox.faults import fault_of

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SECRET = "whsec_of_the_examples"


# --- reading the pages ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A Python block of a page, with what the page says about it."""

    page: str
    line: int
    source: str
    continues: bool = False
    raises: str | None = None
    warns: bool = False
    output: str | None = None
    error: str | None = None
    warning: str | None = None

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


FENCE = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[\w.]+)")?\n(?P<content>.*?)^```$', re.MULTILINE | re.DOTALL
)
MARKER = re.compile(r"<!-- (continues|warns|raises (\w+)) -->\s*\Z")


def blocks_of(page: str) -> list[Block]:
    """The Python blocks of a page in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks: list[Block] = []
    end = 0
    for fence in FENCE.finditer(text):
        before, content = text[end : fence.start()], fence["content"]
        end = fence.end()
        if fence["language"] == "python":
            blocks.append(_block(page, text.count("\n", 0, fence.start()) + 2, content, before))
        elif fence["title"] in {"Output", "Error", "Warning"}:
            assert blocks, f"{page}: the first {fence['title']} stands after no block"
            assert not before.strip(), f"{page}: {fence['title']} after {blocks[-1].name} has to follow at once"
            blocks[-1] = replace(blocks[-1], **{fence["title"].lower(): content})
    return blocks


def _block(page: str, line: int, source: str, before: str) -> Block:
    block = Block(page, line, source)
    while (marker := MARKER.search(before)) is not None:
        block = replace(block, **({"raises": marker[2]} if marker[2] else {marker[1]: True}))
        before = before[: marker.start()]
    return block


def chains_of(page: str) -> list[list[Block]]:
    """The blocks of a page, those that continue each other together."""
    chains: list[list[Block]] = []
    for block in blocks_of(page):
        if block.continues:
            chains[-1].append(block)
        else:
            chains.append([block])
    return chains


PAGES = [*sorted(f"docs/{path.relative_to(DOCS).as_posix()}" for path in DOCS.rglob("*.md")), "README.md"]
CHAINS = [chain for page in PAGES for chain in chains_of(page)]
TESTS = [chain for chain in CHAINS if "\ndef test_" in chain[-1].source]
SNIPPETS = [chain for chain in CHAINS if chain not in TESTS]


TOMLS = [
    (page, fence["content"])
    for page in PAGES
    for fence in FENCE.finditer((ROOT / page).read_text(encoding="utf-8"))
    if fence["language"] == "toml"
]


# --- running them ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Sandbox, dict[str, str]]]:
    """A served sandbox that accepts one key, and the environment that leads to it."""
    sandbox = docs_sandbox()
    with sandbox.serve() as server:
        environment = {
            "FETCH_HIVE_API_KEY": server.api_key,
            "FETCH_HIVE_BASE_URL": server.base_url,
            "FETCH_HIVE_WORKSPACE_ID": server.workspace_id,
            "FETCH_HIVE_WEBHOOK_SECRET": SECRET,
            "no_proxy": "127.0.0.1",
        }
        yield sandbox, environment


@pytest.fixture
def service(served: tuple[Sandbox, dict[str, str]]) -> dict[str, str]:
    """The environment of a sandbox in which nothing was made yet."""
    sandbox, environment = served
    sandbox.reset()
    return environment


def docs_sandbox() -> Sandbox:
    """What `fetch-hive sandbox --examples` starts; the outputs in the documentation are its replies."""
    return Sandbox.from_config(EXAMPLES, api_key="fhk_of_the_docs")


@dataclass(frozen=True)
class Outcome:
    """What a block did."""

    namespace: dict[str, Any]
    output: str
    error: BaseException | None
    warnings: tuple[str, ...]


@pytest.fixture
def run_block(
    service: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Outcome]]:
    """Run a block as a program of its own would run: empty folder, environment set, nothing left open."""
    monkeypatch.chdir(tmp_path)
    for name, value in service.items():
        monkeypatch.setenv(name, value)
    used: list[dict[str, Any]] = []

    def run(block: Block, namespace: dict[str, Any] | None = None) -> Outcome:
        namespace = {"__name__": "docs"} if namespace is None else namespace
        used.append(namespace)
        # Blank lines before it, so that a traceback names the page's own line.
        code = compile("\n" * (block.line - 1) + block.source, block.page, "exec", dont_inherit=True)
        printed, error = io.StringIO(), None
        compat._warned.clear()  # each warns once in a process, and each block is one
        with contextlib.redirect_stdout(printed), _logging_of_its_own(), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always" if block.warns else "error", DeprecationWarning)
            try:
                exec(code, namespace)
            except Exception as raised:
                error = raised
        said = tuple(f"{warning.category.__name__}: {warning.message}" for warning in warned)
        return Outcome(namespace, printed.getvalue(), error, said)

    yield run
    for value in [value for namespace in used for value in namespace.values()]:
        if isinstance(value, (FetchHive, httpx.Client)):
            value.close()


@contextlib.contextmanager
def _logging_of_its_own() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("fetch_hive_sdk")
    handlers, level = list(root.handlers), ours.level
    root.handlers.clear()  # where there are some, logging.basicConfig does nothing
    try:
        yield
    finally:
        root.handlers[:] = handlers
        ours.setLevel(level)


def as_written(text: str) -> str:
    """A text with what differs from run to run taken out."""
    text = re.sub(r"req_[0-9a-f]{32}", "req_…", text)
    text = re.sub(r"\[Errno \d+\]", "[Errno …]", text)
    return re.sub(r"after \d+\.\d+ s", "after … s", text)


def as_sentence(text: str) -> str:
    return " ".join(as_written(text).split())


@pytest.mark.parametrize("chain", SNIPPETS, ids=lambda chain: chain[0].name)
def test_block_does_what_the_page_says(chain: list[Block], run_block: Callable[..., Outcome]) -> None:
    """A block of the documentation runs, and prints or raises what stands below it."""
    namespace: dict[str, Any] | None = None
    for block in chain:
        outcome = run_block(block, namespace)
        namespace = outcome.namespace
        if outcome.error is not None and block.raises is None:
            raise outcome.error
        assert (type(outcome.error).__name__ if outcome.error else None) == block.raises, block.name
        assert bool(outcome.warnings) == block.warns, f"{block.name}: {outcome.warnings}"
        if block.warning is not None:
            assert as_sentence(" ".join(outcome.warnings)) == as_sentence(block.warning)
        if block.error is not None:
            assert as_sentence(f"{type(outcome.error).__name__}: {outcome.error}") == as_sentence(block.error)
        if block.output is not None:
            assert as_written(outcome.output).rstrip() == as_written(block.output).rstrip(), block.name


def test_test_blocks_pass(tmp_path: Path) -> None:
    """The tests that the documentation shows pass, in a folder of their own and with warnings as errors."""
    assert TESTS
    for number, chain in enumerate(TESTS):
        (tmp_path / f"test_{number}.py").write_text("\n".join(block.source for block in chain), encoding="utf-8")
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith(("FETCH_HIVE", "PYTEST"))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{sum(chain[-1].source.count('def test_') for chain in TESTS)} passed" in ended.stdout


def test_marked_blocks_are_well_marked() -> None:
    """Every error shown belongs to a block that raises, and the class it names is the marked one."""
    for chain in CHAINS:
        for block in chain:
            if block.error is not None:
                assert block.raises == block.error.split(":")[0], block.name


# --- the sandbox page -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "content"), TOMLS, ids=[page for page, _ in TOMLS])
def test_configuration_files_are_taken(page: str, content: str, tmp_path: Path) -> None:
    """A configuration file that the documentation shows is taken as it stands."""
    file = tmp_path / "sandbox.toml"
    file.write_text(content, encoding="utf-8")
    with Sandbox.from_config(file) as sandbox:
        assert sandbox.engine.deployments.all()


def test_fault_spellings_are_taken() -> None:
    """Each way to spell a fault in the table of the sandbox page is one that the sandbox takes."""
    section = (DOCS / "sandbox.md").read_text(encoding="utf-8").partition("## Faults")[2].partition("## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    spellings = [spelling for cell in cells for spelling in re.findall(r"`([^`]+)`", cell)]
    assert len(spellings) > 15
    assert [fault_of(spelling) for spelling in spellings]


# --- the callbacks page ---------------------------------------------------------------------------------


@pytest.fixture
def handlers(run_block: Callable[..., Outcome]) -> dict[str, Callable[[bytes, Mapping[str, str]], int]]:
    """The three handlers of the callbacks page, each as a function from body and headers to the status."""
    found: dict[str, Callable[[bytes, Mapping[str, str]], int]] = {}
    for block in blocks_of("docs/callbacks.md"):
        for framework, post in (("fastapi", post_to_asgi), ("flask", post_to_flask), ("django", post_to_django)):
            if f"from {framework}" in block.source:
                namespace = run_block(block).namespace
                found[framework] = lambda body, headers, post=post, namespace=namespace: post(namespace, body, headers)
    return found


def post_to_asgi(namespace: dict[str, Any], body: bytes, headers: Mapping[str, str]) -> int:
    """Post to a FastAPI app, without a socket."""
    import asyncio

    async def post() -> int:
        transport = httpx.ASGITransport(app=namespace["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as client:
            return (await client.post("/callback", content=body, headers=dict(headers))).status_code

    return asyncio.run(post())


def post_to_flask(namespace: dict[str, Any], body: bytes, headers: Mapping[str, str]) -> int:
    """Post to a Flask app, without a socket."""
    return namespace["app"].test_client().post("/callback", data=body, headers=dict(headers)).status_code


def post_to_django(namespace: dict[str, Any], body: bytes, headers: Mapping[str, str]) -> int:
    """Post to a Django view, without a socket."""
    from django.conf import settings
    from django.test import RequestFactory

    if not settings.configured:
        settings.configure()
    meta = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    request = RequestFactory().post("/callback", data=body, content_type="application/json", **meta)
    return namespace["callback"](request).status_code


@pytest.mark.parametrize("framework", ["fastapi", "flask", "django"])
def test_documented_handlers(
    framework: str,
    handlers: dict[str, Callable[[bytes, Mapping[str, str]], int]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The handlers on the callbacks page accept what is signed, once, and answer 400 to the rest."""
    post = handlers[framework]
    body = b'{"event_type":"workflow.completed","request_id":"req_1","data":{"output":"A brief on AI."}}'
    signature = {"X-Fetch-Hive-Signature": CallbackVerifier(SECRET).sign(body)}
    no_json = b"no JSON"

    assert [post(body, signature), post(body, signature)] == [204, 204]
    assert capsys.readouterr().out == "req_1 completed: A brief on AI.\n"
    assert post(body.replace(b"AI", b"IA"), signature) == 400
    assert post(body, {}) == 400
    assert post(body, {"X-Fetch-Hive-Signature": "nonsense"}) == 400
    assert post(no_json, {"X-Fetch-Hive-Signature": CallbackVerifier(SECRET).sign(no_json)}) == 400
    assert capsys.readouterr().out == ""


# --- the errors page ------------------------------------------------------------------------------------

MISTAKES = {
    "No API key": "ConfigurationError",
    "A wrong key": "AuthenticationError",
    "A result given to json.dumps": "TypeError",
    "Nested metadata": "InvalidRequestError",
    "NaN in the inputs": "InvalidRequestError",
    "An empty deployment": "InvalidRequestError",
    "An http attachment": "InvalidRequestError",
    "Six attachments": "InvalidRequestError",
    "A callback without a URL": "InvalidRequestError",
    "A dict given to the verifier": "TypeError",
    "The service cannot be reached": "APIConnectionError",
    "The answer is a page of HTML": "InternalServerError",
    "Truncated JSON": "UnexpectedResponseError",
    "A cut stream": "StreamInterruptedError",
}


def test_each_mistake_has_its_section() -> None:
    """The errors page shows each mistake with its real error, which the block tests compare."""
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    for title, error in MISTAKES.items():
        assert f"<!-- raises {error} -->" in sections[title]
        assert f'```text title="Error"\n{error}: ' in sections[title]


def test_tree_on_the_page_is_the_tree() -> None:
    """The tree of errors on the errors page is the one of the classes, and none is missing."""
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    tree = re.search(r'```text title="Errors"\n(.*?)```', text, re.DOTALL)
    assert tree is not None
    parents: list[str] = []
    shown: set[str] = set()
    for indent, name in re.findall(r"^( *)(\w+)", tree[1], re.MULTILINE):
        depth = len(indent) // 4
        shown.add(name)
        parents[depth:] = [name]
        for above, below in pairwise(parents):
            assert issubclass(getattr(errors, below), getattr(errors, above)), f"{below} is no {above}"
    assert shown == set(errors.__all__)


def test_error_codes_on_the_page_are_the_known_ones() -> None:
    """The table of error codes has each with its status, meaning and what to do, and no other."""
    section = (DOCS / "errors.md").read_text(encoding="utf-8").partition("## Error codes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \| (.+) \|$", section, re.MULTILINE)
    assert rows == [(entry.code, str(entry.status), entry.message, entry.client_action) for entry in ERROR_CODES]


# --- the migration guide ----------------------------------------------------------------------------------


def test_each_superseded_name_has_its_successor() -> None:
    """The migration guide's table names all that is superseded, and what it names instead is there."""
    guide = (DOCS / "migration.md").read_text(encoding="utf-8")
    section = guide.partition("## What is superseded")[2].partition("### ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE)
    old = {name for name in vars(compat.OldMethods) if not name.startswith("_")}
    assert {name for name, _ in rows} == old | set(compat.__all__) | {"async_mode="}
    clients = {False: FetchHive("fhk_of_nobody"), True: AsyncFetchHive("fhk_of_nobody")}
    for successor in re.findall(r"`([\w.()]+)`", " ".join(cell for _, cell in rows)):
        path = successor.removeprefix("AsyncFetchHive().")
        assert callable(attrgetter(path)(clients[path != successor])), successor


# --- the documented snippets of the service ---------------------------------------------------------------

INVOKE_METADATA_PAGE = (
    """\
from fetch_hive_sdk import FetchHive

client = FetchHive()

result = client.invoke_prompt(
    deployment="support-classifier",
    variant="default",
    inputs={"ticket_text": "The export button is disabled."},
    metadata={
        "customer_id": "cus_123",
        "plan": "enterprise",
        "experiment": "support_triage_v2",
    },
)

print(result["response"])
""",
    """\
client.invoke_workflow(
    deployment="research-brief",
    variant="default",
    inputs={"topic": "AI infrastructure trends"},
    metadata={"customer_id": "cus_123", "source": "daily_digest_job"},
)

client.invoke_agent(
    agent="AGENT_UUID",
    message="Summarize this account before renewal.",
    metadata={"customer_id": "cus_123", "renewal_window_days": 30},
)
""",
)


def test_snippets_of_the_service_run_unchanged(tmp_path: Path) -> None:
    """The Python snippets of the service's page on invoke metadata run as they stand, and print the response."""
    program = tmp_path / "snippet.py"
    program.write_text("".join(INVOKE_METADATA_PAGE), encoding="utf-8")
    sandbox = docs_sandbox()
    with sandbox.serve() as server:
        ended = subprocess.run(
            [sys.executable, str(program)],
            env={"FETCH_HIVE_API_KEY": server.api_key, "FETCH_HIVE_BASE_URL": server.base_url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ended.stdout, ended.stderr) == ("billing\n", "")
    assert [(run.kind, dict(run.metadata)) for run in sandbox.runs] == [
        ("prompt", {"customer_id": "cus_123", "plan": "enterprise", "experiment": "support_triage_v2"}),
        ("workflow", {"customer_id": "cus_123", "source": "daily_digest_job"}),
        ("agent", {"customer_id": "cus_123", "renewal_window_days": 30}),
    ]


# --- the site -------------------------------------------------------------------------------------------


def test_every_page_is_in_the_navigation() -> None:
    """No page is left out of the site's navigation, and none is named that is not there."""
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    navigation = config.split("\nnav:", 1)[1].split("\n\n", 1)[0]
    named = re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)
    assert sorted(f"docs/{page}" for page in named) == [page for page in PAGES if page.startswith("docs/")]


def test_every_public_name_is_in_the_reference() -> None:
    """Each name of the package, its resources and the sandbox has an entry in the reference, and no other has."""
    reference = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    entries = re.findall(r"^::: (\S+)$", reference, re.MULTILINE)
    names = [f"fetch_hive_sdk.{name}" for name in fetch_hive_sdk.__all__]
    names += [f"fetch_hive_sdk.sandbox.{name}" for name in fetch_hive_sdk.sandbox.__all__]
    for noun in resources.__all__:
        module = getattr(resources, noun)
        names += [
            f"{module.__name__}.{name}"
            for name, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__ and SyncResource in value.__bases__
        ]
    assert sorted(entries) == sorted(names)


def test_variant_is_always_shown() -> None:
    """The service's documentation requires `variant`; ours shows it in every call that takes one."""
    for chain in CHAINS:
        for block in chain:
            for call in re.findall(r"invoke_(?:prompt|workflow)(?:_stream)?\((.*?)\n?\s*\)", block.source, re.DOTALL):
                assert "variant=" in call or "BadRequestError" in block.source, f"{block.name}: {call}"


def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    """The site builds in strict mode, where a broken link or anchor is an error, and loads nothing from elsewhere."""
    if not all(find_spec(module) for module in ("mkdocs", "material", "mkdocstrings")):
        pytest.skip("the site's tools are not installed: requirements/docs.txt")
    ended = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    for page in (tmp_path / "site").rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:link|script|img)\b[^>]*?(?:href|src)="(https?:[^"]+)"', html)
        assert loaded == [], page.name
