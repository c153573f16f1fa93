"""What is built is what stands in the repository, and needs nothing that it does not declare.

`python -m trust.supply_chain` does the same with what the index has, and in empty environments with each extra alone.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import fetch_hive_sdk
from fetch_hive_sdk.sandbox import Sandbox
from trust.supply_chain import (
    HALVES,
    HERE,
    HOSTS,
    NEEDS,
    PLUGIN_PROBE,
    PROBE,
    PROGRAMS,
    THERE,
    Audit,
    audit,
    copy_differently,
    copy_repository,
    declared,
    digest,
    imports,
    modules,
    needs,
    normal,
    own_builder,
    sdist_files,
    undeclared,
    unpack,
    wrong_in_metadata,
    wrong_in_wheel,
)

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(fetch_hive_sdk.__file__).parent
REQUIRES = importlib.metadata.requires("fetch-hive-sdk") or []

# --- imports --------------------------------------------------------------------------------------------


def test_every_import_is_declared() -> None:
    """Each import of the package is Python's, its own, a required dependency, or of an extra that its module needs."""
    assert [] == undeclared(PACKAGE, REQUIRES)


@pytest.mark.parametrize(
    ("module", "source", "distribution"),
    [
        ("client", "import httpcore", "httpcore"),
        ("client", "from certifi import where", "certifi"),
        ("client", "def later():\n    import sniffio", "sniffio"),
        ("client", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import h11._state", "h11"),
        ("client", "try:\n    import orjson\nexcept ImportError:\n    import json", "orjson"),
        ("client", "import starlette.requests", "starlette"),
        ("cli/invoke", "import click", "click"),
        ("cli/invoke", "import uvicorn", "uvicorn"),
        ("sandbox/engine", "from aiohttp import web", "aiohttp"),
        ("settings", "import pytest", "pytest"),
    ],
)
def test_an_undeclared_import_is_found(module: str, source: str, distribution: str, tmp_path: Path) -> None:
    """What only a dependency brings, or an extra that the module has no claim to, is named with its place."""
    path = tmp_path / "fetch_hive_sdk" / f"{module}.py"
    path.parent.mkdir(parents=True)
    path.write_text(source)

    (problem,) = undeclared(tmp_path / "fetch_hive_sdk", REQUIRES)

    assert problem.startswith(f"{module.replace('/', '.')}, line ")
    assert f" imports {distribution}, " in problem


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("client", "import json, os.path\nfrom . import settings\nfrom fetch_hive_sdk import errors\nimport httpx"),
        ("answers", "import pydantic_core\nfrom typing_extensions import Self"),
        ("cli/invoke", "import typer\nfrom rich.console import Console"),
        ("sandbox/dashboard/pages", "from starlette.routing import Route\nimport jinja2"),
        ("aiohttp_connections", "import aiohttp\nfrom yarl import URL"),
        ("pytest_plugin", "import pytest"),
    ],
)
def test_a_declared_import_is_no_problem(module: str, source: str, tmp_path: Path) -> None:
    """What is declared may be imported where it is needed."""
    path = tmp_path / "fetch_hive_sdk" / f"{module}.py"
    path.parent.mkdir(parents=True)
    path.write_text(source)

    assert [] == undeclared(tmp_path / "fetch_hive_sdk", REQUIRES)


def test_no_permission_to_import_is_left_over() -> None:
    """Each module that may import something of an extra, or of its host, is there and does so."""
    found = list(imports(PACKAGE))
    required = declared(REQUIRES)[""]
    for name, extras in NEEDS.items():
        brought = set[str]().union(*(declared(REQUIRES)[extra] for extra in extras)) - required
        if name in PROGRAMS:
            continue  # it imports the command line, which imports the rest
        if name.endswith("."):
            used = [one for one in found if one.module.startswith(name)]
        else:
            used = [one for one in found if one.module == name or one.module.startswith(f"{name}.")]
        assert {one.distribution for one in used} & brought, name
    assert {*PROGRAMS, *HOSTS} <= set(modules(PACKAGE))


@pytest.mark.parametrize(("half", "whole"), HALVES.items())
def test_a_half_comes_with_exactly_one_version_of_the_whole(half: str, whole: str) -> None:
    """What is imported without being declared is required, in one version, by a dependency that is declared."""
    assert whole in declared(REQUIRES)[""]
    assert [f"{half}=="] == [
        one.replace(" ", "")[: len(half) + 2] for one in importlib.metadata.requires(whole) or [] if normal(half) in one
    ]


def test_each_lowest_version_is_a_lower_bound() -> None:
    """The lowest versions that are tested are those that the package's metadata allows, each of them and no other."""
    lines = (ROOT / "requirements" / "lowest.txt").read_text("utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if "==" in line)
    bounds: dict[str, str] = {}
    for requirement in REQUIRES:
        name, low = re.match(r"([A-Za-z0-9._-]+).*?>=([0-9.]+)", requirement.partition(";")[0]).groups()  # type: ignore[union-attr]
        assert bounds.setdefault(normal(name), low) == low, f"{name} has two lower bounds"

    assert bounds.keys() == tested.keys()
    for name, low in bounds.items():
        assert [*map(int, low.split("."))] == [*map(int, tested[name].split("."))][: len(low.split("."))], name


def environment() -> dict[str, str]:
    """Without what measures coverage, which would write a file."""
    return {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}


def test_imports_do_nothing_else() -> None:
    """Importing every module looks nothing up, connects nowhere, starts nothing and writes no file.

    And it minds no setting of the environment, however wrong. What others do when they are imported is theirs: trio,
    which some versions of httpx load, asks for a C library.
    """
    wrong = {
        "FETCH_HIVE_WORKSPACE_ID": ".",
        "FETCH_HIVE_BASE_URL": "?",
        "FETCH_HIVE_API_KEY": " ",
        "FETCH_HIVE_LOG": "?",
    }
    names = [f"fetch_hive_sdk.{name}".rstrip(".") for name in modules(PACKAGE) if name not in PROGRAMS]
    command = [sys.executable, "-I", "-B", "-c", PROBE, *names]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**environment(), **wrong})
    told = json.loads(done.stdout)

    assert [] == [event for event in told["events"] if event.startswith("fetch_hive_sdk: ")]
    assert names == list(told["outcomes"])
    for name, missing in told["outcomes"].items():
        extras = needs(name.removeprefix("fetch_hive_sdk."))
        assert not missing or any(normal(missing) in declared(REQUIRES)[extra] for extra in extras), (name, missing)


@pytest.mark.parametrize(
    ("source", "event"),
    [
        ("import socket\nsocket.getaddrinfo('localhost', 1)", "socket.getaddrinfo"),
        ("import socket\ns = socket.socket()\ns.settimeout(1)\ns.connect_ex(('127.0.0.1', 9))\ns.close()", "connect"),
        ("import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''])", "subprocess.Popen"),
        ("open('left.txt', 'w').close()", "open ('left.txt', 'w'"),
    ],
)
def test_what_an_import_does_is_seen(source: str, event: str, tmp_path: Path) -> None:
    """A module that talks to the network, starts a program or writes a file when it is imported is told."""
    (tmp_path / "busy.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROBE, "busy"],
        check=True,
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
    )

    (told, *_) = json.loads(done.stdout)["events"]
    assert told.startswith("busy: ")
    assert event in told


def test_the_pytest_plugin_loads_nothing_of_others() -> None:
    """What pytest loads in every project that has the SDK is a module of the SDK, and no other distribution."""
    done = subprocess.run([sys.executable, "-I", "-c", PLUGIN_PROBE], check=True, capture_output=True, text=True)

    assert [] == json.loads(done.stdout)


def test_a_sandbox_from_a_file_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where nothing reads TOML, as on Python 3.10 without the extra, the error says what to install."""
    monkeypatch.setitem(sys.modules, "fetch_hive_sdk.sandbox.config", None)

    with pytest.raises(ImportError, match=r"pip install 'fetch-hive-sdk\[sandbox\]'"):
        Sandbox.from_config(tmp_path / "sandbox.toml")


# --- builds ---------------------------------------------------------------------------------------------


class Built:
    """Three wheels and two source distributions of this repository."""

    def __init__(self, folder: Path) -> None:
        builder = own_builder()
        assert builder is not None
        self.tree, other = folder / "one", folder / "deeper" / "two"
        copy_repository(ROOT, self.tree)
        copy_differently(self.tree, other)
        self.wheel = builder.build("wheel", self.tree, folder / "w1", HERE, 0o022)
        self.other_wheel = builder.build("wheel", other, folder / "w2", THERE, 0o077)
        self.sdist = builder.build("sdist", self.tree, folder / "s1", HERE, 0o022)
        self.other_sdist = builder.build("sdist", other, folder / "s2", THERE, 0o077)
        self.wheel_of_sdist = builder.build("wheel", unpack(self.sdist, folder / "s"), folder / "w3")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """What is built here, where the source and the build backend are."""
    if not (ROOT / "fetch_hive_sdk").is_dir():
        pytest.skip("NOTHING WAS BUILT: the package's source is not here, only what was installed of it")
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("NOTHING WAS BUILT: hatchling is not installed (requirements/test.txt)")
    return Built(tmp_path_factory.mktemp("built"))


def test_two_builds_have_equal_bytes(built: Built) -> None:
    """Another folder, order, time, mode, umask, locale and zone make the same wheel and source distribution."""
    assert (built.wheel.name, digest(built.wheel)) == (built.other_wheel.name, digest(built.other_wheel))
    assert (built.sdist.name, digest(built.sdist)) == (built.other_sdist.name, digest(built.other_sdist))


def test_the_source_distribution_makes_the_same_wheel(built: Built) -> None:
    """Who builds the wheel from the source distribution gets the bytes of the one built from the repository."""
    assert digest(built.wheel) == digest(built.wheel_of_sdist)


def test_the_source_distribution_is_the_repository(built: Built) -> None:
    """The source distribution has every file of the repository, the tests with all they read, and no other."""
    files = {path.relative_to(built.tree).as_posix() for path in built.tree.rglob("*") if path.is_file()}

    assert files | {"PKG-INFO"} == sdist_files(built.sdist)


def test_the_wheel_is_the_package(built: Built) -> None:
    """The wheel has the package's files, byte for byte, its metadata and licence, and nothing else."""
    assert [] == wrong_in_wheel(built.wheel, built.tree)
    assert [] == wrong_in_metadata(built.wheel, built.tree)


@pytest.mark.parametrize("mistake", ["stray", "lost", "changed", "executable"])
def test_a_wrong_wheel_is_seen(mistake: str, built: Built, tmp_path: Path) -> None:
    """A file that is too much, lost, changed or executable is named."""
    name = "fetch_hive_sdk/client.py"
    wrong = tmp_path / built.wheel.name
    with zipfile.ZipFile(built.wheel) as source, zipfile.ZipFile(wrong, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == name and mistake == "lost":
                continue
            if entry.filename == name and mistake == "changed":
                content += b"\n"
            if entry.filename == name and mistake == "executable":
                entry.external_attr = 0o100755 << 16
            target.writestr(entry, content)
        if mistake == "stray":
            name = "fetch_hive_sdk/.env"
            target.writestr(name, b"FETCH_HIVE_API_KEY=")
    if mistake == "lost":
        with pytest.raises(KeyError, match=name):  # RECORD still lists it
            wrong_in_wheel(wrong, built.tree)
        return

    assert any(name in problem for problem in wrong_in_wheel(wrong, built.tree))


# --- known vulnerabilities ------------------------------------------------------------------------------

TOLD = {
    "dependencies": [
        {"name": "fetch-hive-sdk", "skip_reason": "not found"},
        {"name": "idna", "version": "3.6", "vulns": [{"id": "PYSEC-2024-60", "fix_versions": ["3.7"]}]},
        {"name": "httpx", "version": "0.28.1", "vulns": []},
        {"name": "anyio", "skip_reason": "not found"},
    ],
    "fixes": [],
}


@pytest.mark.skipif(sys.platform == "win32", reason="a script in the place of pip-audit is for POSIX shells")
@pytest.mark.parametrize("status", [0, 1])
def test_what_was_not_looked_up_is_told(status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A known vulnerability is named with its fix, and what pip-audit skips, which it calls a success, is counted."""
    (tmp_path / "pip-audit").write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(TOLD)}\nEND\nexit {status}\n")
    (tmp_path / "pip-audit").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    expected = Audit(checked=2, skipped=["anyio"], known=["idna 3.6 has PYSEC-2024-60, fixed in 3.7"])
    assert expected == audit(tmp_path, tmp_path / "none")


@pytest.mark.skipif(sys.platform == "win32", reason="a script in the place of pip-audit is for POSIX shells")
def test_a_look_up_that_failed_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where pip-audit fails, there is no finding of nothing, but an error with its words."""
    (tmp_path / "pip-audit").write_text("#!/bin/sh\necho 'ERROR: no connection' >&2\nexit 1\n")
    (tmp_path / "pip-audit").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    with pytest.raises(RuntimeError, match="ended with 1: ERROR: no connection"):
        audit(tmp_path, tmp_path / "none")


# --- workflows and promises -----------------------------------------------------------------------------

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
needs_workflows = pytest.mark.skipif(not WORKFLOWS, reason="the repository's workflows are not here")


@needs_workflows
def test_actions_are_pinned_by_commit() -> None:
    """Each action of others is named by a whole commit, with the version it is for readers."""
    used = [
        line.split("uses:")[1].strip()
        for path in WORKFLOWS
        for line in path.read_text("utf-8").splitlines()
        if "uses:" in line
    ]

    assert used
    for action in used:
        assert action.startswith("./") or re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@needs_workflows
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_read_and_nothing_else(path: Path) -> None:
    """A workflow may read the repository; only the job that publishes may also prove who it is, and runs no script."""
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(path.read_text("utf-8"))
    events = workflow[True]  # what YAML makes of `on`

    assert {"contents": "read"} == workflow["permissions"]
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(events)
    for name, job in workflow["jobs"].items():
        steps = job.get("steps", [])
        if name == "publish":
            assert ("release.yml", {"id-token": "write"}) == (path.name, job["permissions"])
            assert not any("run" in step for step in steps)
        else:
            assert "permissions" not in job
        for step in steps:
            if "actions/checkout@" in step.get("uses", ""):
                assert {"persist-credentials": False} == step["with"]
            # What somebody else wrote, such as a branch's name, must not become a part of a script.
            assert "${{" not in step.get("run", "")


@needs_workflows
def test_ci_runs_the_gate() -> None:
    """CI runs what a developer runs, and the look-up of known vulnerabilities each week."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    script = re.findall(r"- run: (.+)", text)

    assert [".ci/run", "python -m trust.supply_chain --require-audit"] == script
    assert "schedule:" in text
    for command in script:
        program = command.removeprefix("python -m ").split()[0]
        assert (ROOT / program).exists() or importlib.util.find_spec(program) is not None
    for classifier in re.findall(r"Python :: (3\.\d+)\"", (ROOT / "pyproject.toml").read_text("utf-8")):
        assert re.search(rf"^ +{re.escape(classifier)}$", text, re.MULTILINE), classifier


def test_each_proof_of_the_threat_model_is_there() -> None:
    """Each test, script and module that the threat model names exists."""
    page = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
    named = re.findall(r"`(test_\w+)\.(test_\w+)`", page)
    scripts = re.findall(r"`trust\.(\w+)`", page)

    assert len(named) > 40
    for module, test in named:
        assert re.search(
            rf"^(async )?def {test}\(", (ROOT / "tests" / f"{module}.py").read_text("utf-8"), re.MULTILINE
        ), f"{module}.{test}"
    assert scripts
    assert [] == [script for script in scripts if not (ROOT / "trust" / f"{script}.py").is_file()]


@pytest.mark.skipif(not (ROOT / "SECURITY.md").is_file(), reason="SECURITY.md is not here")
def test_reports_have_a_place() -> None:
    """SECURITY.md leads to the private reports of the very repository that the package names, and no other place."""
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    source = next(
        url.split(", ")[1]
        for url in importlib.metadata.metadata("fetch-hive-sdk").get_all("Project-URL") or []
        if url.startswith("Source")
    )

    assert f"{source}/security/advisories/new" in text
    assert "@" not in text


def test_git_is_not_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without git a copy has all but what work and builds leave behind."""
    for name in (".git/config", ".venv/bin/python", "dist/old.whl", "fetch_hive_sdk/__pycache__/a.pyc", "README.md"):
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_text("")
    (tmp_path / "from" / "fetch_hive_sdk" / "client.py").write_text("")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    copy_repository(tmp_path / "from", tmp_path / "to")

    files = [path.relative_to(tmp_path / "to").as_posix() for path in (tmp_path / "to").rglob("*") if path.is_file()]
    assert ["README.md", "fetch_hive_sdk/client.py"] == sorted(files)
