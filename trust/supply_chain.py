"""Is what is installed what stands in the repository, and does it need nothing that it does not declare?

Builds the wheel from two copies of the repository that differ in all that must not matter, and from the source
distribution; reads what is in them; holds each import of the package against the declared dependencies; installs the
wheel in empty environments, alone and with each extra, and imports every module there; and has pip-audit look up the
known vulnerabilities of what was installed, where the index answers it.
"""

from __future__ import annotations

import argparse
import ast
import base64
import csv
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import compat32
from pathlib import Path, PurePosixPath

from .figures import OURS, Options, Report, main

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "fetch_hive_sdk"
DISTRIBUTION = "fetch-hive-sdk"
SECONDS = 300

# --- imports --------------------------------------------------------------------------------------------

# What a module may import beside the required dependencies, by the extras of which any one is enough. "cli." stands
# for all modules in that folder; the most exact name counts.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "aiohttp_connections": ("aiohttp",),
    "httpx2_clients": ("httpx2",),
    "http": ("httpx2",),  # only for a client of httpx2 that somebody passes, who then has it
    "cli.": ("cli", "sandbox"),
    "cli.receiver": ("sandbox",),
    "sandbox.__main__": ("cli", "sandbox"),
    "sandbox.config": ("sandbox",),  # on Python 3.10, which has no tomllib
    "sandbox.dashboard": ("sandbox",),
    "sandbox.dashboard.": ("sandbox",),
    "sandbox.respond": ("sandbox",),
    "sandbox.web": ("sandbox",),
}
# Who alone loads a module, and so is there: pytest its plugin.
HOSTS: Mapping[str, str] = {"pytest_plugin": "pytest"}
# What comes with a dependency as one half of it: pydantic documents pydantic-core as a part of its API and requires
# exactly one version of it, so that a bound of our own could only agree or contradict.
HALVES: Mapping[str, str] = {"pydantic-core": "pydantic"}
# Programs, which do their work when they are imported.
PROGRAMS = ("cli.__main__", "sandbox.__main__")


@dataclass(frozen=True)
class Import:
    """An import of something that is neither Python's nor the package's own.

    Attributes:
        module: Who imports, by its name below the package; "" for the package itself.
        line: Where.
        distribution: What has to be installed for it.
    """

    module: str
    line: int
    distribution: str


def normal(name: str) -> str:
    """A distribution's name as indexes compare it. What is imported here has its distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def module_name(path: Path, package: Path) -> str:
    """The name of a file's module below its package."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(package: Path) -> dict[str, Path]:
    """All modules of a package by their names below it."""
    return {module_name(path, package): path for path in sorted(package.rglob("*.py"))}


def imports(package: Path) -> Iterator[Import]:
    """Each import statement of a package that leads out of it, wherever it stands in a module."""
    for module, path in modules(package).items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            for name in (name.partition(".")[0] for name in names):
                if name != package.name and name not in sys.stdlib_module_names and name != "tomllib":
                    yield Import(module, node.lineno, normal(name))


def declared(requires: Iterable[str]) -> dict[str, set[str]]:
    """The distributions that are required, by extra; "" without one."""
    found: dict[str, set[str]] = {"": set()}
    for requirement in requires:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", requirement)
        assert name is not None
        found.setdefault(extra[1] if extra else "", set()).add(normal(name[0]))
    return found


def is_for_this_python(requirement: str) -> bool:
    """Whether a requirement holds on this Python: ours speak of versions alone."""
    marker = re.search(r"python_version (<|>=) ['\"]3\.(\d+)['\"]", requirement)
    return marker is None or (sys.version_info[1] < int(marker[2])) == (marker[1] == "<")


def needs(module: str) -> tuple[str, ...]:
    """The extras of which one has what a module may import beside the required dependencies."""
    names = [module, *(f"{module[:end]}." for end in range(len(module), 0, -1) if module[end : end + 1] == ".")]
    return next((NEEDS[name] for name in names if name in NEEDS), ())


def undeclared(package: Path, requires: Iterable[str]) -> list[str]:
    """Each import of a package that its declared dependencies do not bring, in a sentence."""
    by_extra = declared(requires)
    problems: list[str] = []
    for found in imports(package):
        distribution = HALVES.get(found.distribution, found.distribution)
        extras = needs(found.module)
        brought = [by_extra.get(extra, set[str]()) for extra in extras] or [set[str]()]
        if (
            distribution in by_extra[""]
            or all(distribution in extra for extra in brought)
            or HOSTS.get(found.module) == distribution
        ):
            continue
        where = f"{found.module or '__init__'}, line {found.line}"
        beside = f" and {' and '.join(f'[{extra}]' for extra in extras)}" if extras else ""
        problems.append(f"{where} imports {found.distribution}, which the required dependencies{beside} do not name")
    return problems


# --- builds ---------------------------------------------------------------------------------------------

# What a working copy has beside the repository's files.
_LEFT_OUT = ("__pycache__", "*.pyc", ".git", ".venv*", ".*_cache", ".coverage*", "dist", "build", "site")


def repository_files(root: Path) -> list[str]:
    """The repository's files as git tells them, with new ones that it does not ignore; [] without git."""
    if shutil.which("git") is None or not (root / ".git").exists():
        return []
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root).stdout
    return sorted(name for name in listed.split("\0") if name and (root / name).is_file())


def copy_repository(root: Path, target: Path) -> None:
    """A copy of what would be released: the repository's files, or without git all but what a build leaves behind."""
    names = repository_files(root)
    if not names:
        shutil.copytree(root, target, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        return
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)


def copy_differently(source: Path, target: Path) -> None:
    """A copy in which all is different that must not matter: the files' order, times and modes, and what lies about."""
    for path in sorted((path for path in source.rglob("*") if path.is_file()), reverse=True):
        copied = target / path.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copied)
        copied.chmod(0o700 if os.access(path, os.X_OK) else 0o600)  # to be executable is a part of a file
        os.utime(copied, (1_000_000_000, 1_000_000_000))
    stray = target / PACKAGE / "__pycache__"
    stray.mkdir()
    (stray / "client.cpython-310.pyc").write_bytes(b"stray")
    (target / ".pytest_cache").mkdir()
    (target / "dist").mkdir()
    (target / "dist" / "old.whl").write_bytes(b"stray")


# Two machines, as far as one can be two.
HERE: Mapping[str, str] = {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"}
THERE: Mapping[str, str] = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "2", "HOME": "/nonexistent"}


@dataclass(frozen=True)
class Builder:
    """An interpreter that has the build backend."""

    python: str

    def build(self, kind: str, tree: Path, out: Path, machine: Mapping[str, str] = HERE, umask: int = 0o022) -> Path:
        """Build a `wheel` or an `sdist` from a folder.

        Raises:
            RuntimeError: It cannot be built; with what the backend said.
        """
        out.mkdir(parents=True)
        environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
        command = [self.python, "-m", "hatchling", "build", "-t", kind, "-d", str(out)]
        run(command, cwd=tree, env={**environment, **machine}, umask=umask)
        (built,) = out.iterdir()
        return built


def own_builder() -> Builder | None:
    """This interpreter, if it has the build backend."""
    return Builder(sys.executable) if importlib.util.find_spec("hatchling") else None


def new_builder(folder: Path) -> Builder:
    """An environment with the backend that the index has today, as a release is built with.

    Raises:
        RuntimeError: pip cannot have it.
    """
    wanted = re.search(
        r'^requires = \["(hatchling[^"]*)"\]', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )
    assert wanted is not None
    return Builder(Environment(folder).install(wanted[1]).python)


def run(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, umask: int = -1
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Raises:
        RuntimeError: It failed; with what it said.
    """
    done = subprocess.run(
        command, cwd=cwd, env=env, umask=umask, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RuntimeError(f"{' '.join(command[1:5])} ended with {done.returncode}: {' / '.join(told[-3:])}")
    return done


def digest(path: Path) -> str:
    """A file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- contents -------------------------------------------------------------------------------------------


def metadata_of(wheel: Path) -> Mapping[str, list[str]]:
    """The fields of a wheel's metadata."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        message = BytesParser(policy=compat32).parsebytes(archive.read(name), headersonly=True)
    return {field: [str(value) for value in message.get_all(field) or []] for field in message}


def wrong_in_wheel(wheel: Path, tree: Path) -> list[str]:
    """What is in a wheel and not in the package, or the other way round, or not as a wheel's files should be."""
    package = tree / PACKAGE
    expected = {
        path.relative_to(tree).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    problems: list[str] = []
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        (folder,) = {name.partition("/")[0] for name in names if name.partition("/")[0].endswith(".dist-info")}
        told = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
        expected |= {f"{folder}/{name}" for name in told}
        problems += [f"the wheel has {name}, which the package has not" for name in sorted({*names} - expected)]
        problems += [f"the wheel lacks {name}" for name in sorted(expected - {*names})]
        problems += [f"the wheel has {name} twice" for name in sorted({one for one in names if names.count(one) > 1})]
        for entry in entries:
            if entry.external_attr >> 16 & 0o7777 != 0o644:
                problems.append(f"{entry.filename} has the mode {entry.external_attr >> 16 & 0o7777:o} and not 644")
            if entry.filename in expected and entry.filename.startswith(f"{PACKAGE}/"):
                content = (tree / entry.filename).read_bytes()
                if archive.read(entry) != content:
                    problems.append(f"{entry.filename} is another one in the wheel")
            if str(tree).encode() in archive.read(entry):
                problems.append(f"{entry.filename} names the folder it was built in")
        record = archive.read(f"{folder}/RECORD").decode()
        for name, told_hash, size in csv.reader(io.StringIO(record)):
            if name == f"{folder}/RECORD":
                continue
            content = archive.read(name)
            found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            if (told_hash, size) != (f"sha256={found}", str(len(content))):
                problems.append(f"RECORD is wrong about {name}")
        if f"{PACKAGE}/py.typed" not in names:
            problems.append("the wheel has no py.typed")
    return problems


def wrong_in_metadata(wheel: Path, tree: Path) -> list[str]:
    """What a wheel's metadata says otherwise than `pyproject.toml`."""
    fields = metadata_of(wheel)
    project = (tree / "pyproject.toml").read_text("utf-8")
    problems: list[str] = []
    if fields.get("License-Expression") != ["MIT"] or fields.get("License-File") != ["LICENSE"]:
        problems.append("the metadata does not name the licence and its file")
    supported = re.search(r'^requires-python = "(.+)"', project, re.MULTILINE)
    if fields.get("Requires-Python") != [supported and supported[1]]:
        problems.append("Requires-Python is not that of pyproject.toml")
    for requirement in fields.get("Requires-Dist", []):
        bounds = requirement.partition(";")[0]
        if ">=" not in bounds or "<" not in bounds:
            problems.append(f"{bounds} has no lower or no upper bound")
    return problems


def sdist_files(sdist: Path) -> set[str]:
    """The names of a source distribution's files, below its folder."""
    with tarfile.open(sdist) as archive:
        return {str(PurePosixPath(*PurePosixPath(member.name).parts[1:])) for member in archive if member.isfile()}


def unpack(sdist: Path, target: Path) -> Path:
    """Unpack a source distribution, and return its folder."""
    with tarfile.open(sdist) as archive:
        # Older Pythons have no filters; it was built here.
        if hasattr(tarfile, "data_filter"):
            archive.extractall(target, filter="data")
        else:
            archive.extractall(target)
    (folder,) = target.iterdir()
    return folder


# --- empty environments ---------------------------------------------------------------------------------

# Imports every module, and tells what that did: what was missing, and what else happened, by whose import.
PROBE = """
import importlib, json, sys

events = []
watched = {"socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.fork",
           "os.posix_spawn", "urllib.Request", "os.remove", "os.mkdir", "os.rename", "shutil.rmtree"}

def note(event, args):
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if event in watched or writes:
        events.append(f"{importer(sys._getframe(1))}: {event} {args!r}"[:200])

def importer(frame):
    while frame is not None:
        name = frame.f_globals.get("__name__", "?").partition(".")[0]
        if frame.f_code.co_name == "<module>" and name not in sys.stdlib_module_names:
            return name
        frame = frame.f_back

sys.addaudithook(note)
outcomes = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
        outcomes[name] = ""
    except ModuleNotFoundError as error:
        outcomes[name] = (error.name or "?").partition(".")[0]
    except BaseException as error:
        outcomes[name] = f"! {type(error).__name__}: {error}"
print(json.dumps({"outcomes": outcomes, "events": events}))
"""

# What pytest loads in every project in which the package is installed.
PLUGIN_PROBE = """
import json, sys, pytest
before = set(sys.modules)
import fetch_hive_sdk.pytest_plugin
loaded = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
print(json.dumps(sorted(loaded - {"fetch_hive_sdk"})))
"""

PLUGIN_TEST = """
def test_one_run(fetch_hive_sandbox, fetch_hive_client):
    fetch_hive_sandbox.prompt("support-classifier", reply="billing")
    assert "billing" == fetch_hive_client.invoke_prompt(deployment="support-classifier", variant="default").response

def test_nothing(): ...
"""


class Environment:
    """A virtual environment of its own, with nothing in it: not even pip, which installs from outside.

    Args:
        folder: Where it is made.
    """

    def __init__(self, folder: Path) -> None:
        run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        self.folder = folder
        self.python = str(folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))

    def pip(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pip on this environment."""
        command = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check", *arguments]
        return run(command)

    def install(self, *what: str) -> Environment:
        """Install something, by pip.

        Raises:
            RuntimeError: pip cannot.
        """
        self.pip("install", "--quiet", "--no-compile", *what)
        return self

    def probe(self, names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
        """Import modules one after the other.

        Returns:
            By module what was missing, "" where nothing was; and what else than reading files happened.
        """
        told = json.loads(run([self.python, "-I", "-B", "-c", PROBE, *names], cwd=self.folder).stdout)
        return told["outcomes"], told["events"]

    def site_packages(self) -> Path:
        """Where things are installed."""
        return Path(run([self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).stdout.strip())


def wrong_imports(outcomes: Mapping[str, str], extra: str, by_extra: Mapping[str, set[str]]) -> list[str]:
    """What an environment with one extra, or none, has shown against what the package declares."""
    problems: list[str] = []
    installed = f"with [{extra}]" if extra else "with no extra"
    for name, missing in outcomes.items():
        module = name.removeprefix(PACKAGE).removeprefix(".")
        if not missing or (module in HOSTS and normal(missing) == HOSTS[module]):
            continue
        extras = needs(module)
        allowed = extra not in extras and any(normal(missing) in by_extra.get(one, set[str]()) for one in extras)
        if not allowed:
            what = missing.removeprefix("! ") if missing.startswith("!") else f"{missing} is missing"
            problems.append(f"{installed} {name} cannot be imported: {what}")
    return problems


# --- known vulnerabilities ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Audit:
    """What pip-audit found.

    Attributes:
        checked: How many distributions the index could be asked about.
        skipped: Those that it could not.
        known: Each known vulnerability, in words.
    """

    checked: int
    skipped: list[str]
    known: list[str]


def audit(site_packages: Path, folder: Path) -> Audit:
    """Ask for the known vulnerabilities of all that is installed.

    Raises:
        RuntimeError: There is no pip-audit, and pip cannot have it; or it did not end as it should.
    """
    found = shutil.which("pip-audit")
    if found is None:
        Environment(folder).install("pip-audit>=2.7,<3")
        found = str(folder / ("Scripts/pip-audit.exe" if sys.platform == "win32" else "bin/pip-audit"))
    command = [found, "--path", str(site_packages), "--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    try:
        told = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        raise RuntimeError(f"pip-audit ended with {done.returncode}: {last[:200]}") from None
    others = [one for one in told if normal(one["name"]) != DISTRIBUTION]  # this one is not released yet
    return Audit(
        checked=sum("skip_reason" not in one for one in others),
        skipped=[one["name"] for one in others if "skip_reason" in one],
        known=[
            f"{one['name']} {one['version']} has {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
            for one in others
            for found in one.get("vulns", ())
        ],
    )


# --- all of it ------------------------------------------------------------------------------------------


def measure(options: Options) -> Report:
    """Build, read, install, import and audit; `--quick` builds with the backend that is here and audits nothing."""
    report = Report("The supply chain: what is built, what is in it, what it needs")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        tree = work / "one"
        copy_repository(ROOT, tree)
        wheel = _measure_builds(report, work, tree, quick=options.quick)
        if wheel is None:
            return report
        _measure_contents(report, wheel, tree)
        _measure_imports(report, wheel, tree)
        installed = _measure_environments(report, wheel, tree, work, quick=options.quick)
        if options.quick:
            report.notes.append("Known vulnerabilities are not looked up in a quick run: CI has a job for them.")
        elif installed is not None:
            _measure_audit(report, installed, work, required=getattr(options.arguments, "require_audit", False))
    return report


def _measure_builds(report: Report, work: Path, tree: Path, *, quick: bool) -> Path | None:
    builder = own_builder() if quick else None
    if builder is None:
        try:
            builder = new_builder(work / "builder")
        except RuntimeError as problem:
            report.notes.append(f"The backend of today could not be installed ({problem}).")
            builder = own_builder()
    if builder is None:
        report.failures.append("Nothing was built: hatchling is neither installed nor to be had.")
        return None
    copy_differently(tree, work / "a" / "much" / "deeper" / "two")
    wheel = builder.build("wheel", tree, work / "wheel one")
    others = {
        "from another folder": builder.build(
            "wheel", work / "a" / "much" / "deeper" / "two", work / "wheel two", THERE, 0o077
        )
    }
    sdist = builder.build("sdist", tree, work / "sdist one")
    other_sdist = builder.build("sdist", work / "a" / "much" / "deeper" / "two", work / "sdist two", THERE, 0o077)
    others["from the source distribution"] = builder.build("wheel", unpack(sdist, work / "sdist"), work / "wheel three")
    for source, told in () if quick else ((tree, "the repository"), (sdist, "the source distribution")):
        out = work / f"by pip from {told}"
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        try:
            run([*command, "--wheel-dir", str(out), str(source)])
        except RuntimeError as problem:
            report.notes.append(f"pip could not build the wheel from {told} by itself ({problem}).")
        else:
            (others[f"by pip from {told}"],) = out.iterdir()
    different = [how for how, other in others.items() if (other.name, digest(other)) != (wheel.name, digest(wheel))]
    report.failures += [f"The wheel built {how} has other bytes" for how in different]
    report.add(
        "wheels built again: other folder, order, times, modes, umask, locale, zone; from the sdist",
        {OURS: f"{len(others) - len(different)} of {len(others)} have equal bytes"},
        "equal bytes",
        not different,
    )
    same = digest(sdist) == digest(other_sdist)
    report.add(
        "source distributions built twice", {OURS: "equal bytes" if same else "other bytes"}, "equal bytes", same
    )
    known = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    packed = sdist_files(sdist) - {"PKG-INFO"}
    wrong = [f"The source distribution lacks {name}" for name in sorted(known - packed)]
    wrong += [f"The source distribution has {name}, which the repository has not" for name in sorted(packed - known)]
    report.failures += wrong
    what = "files that the repository and the source distribution have not both"
    report.add(what, {OURS: f"{len(wrong)} of {len(known)}"}, "none", not wrong)
    return wheel


def _measure_contents(report: Report, wheel: Path, tree: Path) -> None:
    problems = wrong_in_wheel(wheel, tree)
    with zipfile.ZipFile(wheel) as archive:
        count = len(archive.namelist())
    report.failures += problems
    report.add(
        "files of the wheel that are not exactly the package's, of all",
        {OURS: f"{len(problems)} of {count}"},
        "none",
        not problems,
    )
    wrong = wrong_in_metadata(wheel, tree)
    report.failures += wrong
    report.add("mistakes in the metadata: licence, Python, bounds", {OURS: len(wrong)}, "none", not wrong)


def _measure_imports(report: Report, wheel: Path, tree: Path) -> None:
    requires = metadata_of(wheel)["Requires-Dist"]
    problems = undeclared(tree / PACKAGE, requires)
    report.failures += problems
    report.add(
        "imports of undeclared distributions, of all that lead out of the package",
        {OURS: f"{len(problems)} of {sum(1 for _ in imports(tree / PACKAGE))}"},
        "none",
        not problems,
    )
    by_extra = declared(requires)
    report.add("required distributions", {OURS: ", ".join(sorted(by_extra[""]))})


def _measure_environments(report: Report, wheel: Path, tree: Path, work: Path, *, quick: bool) -> Path | None:
    requires = metadata_of(wheel)["Requires-Dist"]
    by_extra = declared(requires)
    extras = sorted(extra for extra in declared(filter(is_for_this_python, requires)) if extra)
    if others := sorted({*by_extra} - {"", *extras}):
        report.notes.append(f"Not for this Python: {', '.join(f'[{extra}]' for extra in others)}.")
    names = [f"{PACKAGE}.{name}".rstrip(".") for name in modules(tree / PACKAGE) if name not in PROGRAMS]
    did: list[str] = []
    for extra in [""] if quick else ["", *extras]:
        told = f"[{extra}] alone" if extra else "no extra"
        try:
            environment = Environment(work / f"with {extra}").install(f"{wheel}[{extra}]" if extra else str(wheel))
            environment.pip("check")
        except RuntimeError as problem:
            report.notes.append(f"NOT INSTALLED with {told}: {problem}.")
            continue
        outcomes, events = environment.probe(names)
        did += events
        problems = wrong_imports(outcomes, extra, by_extra)
        report.failures += problems
        imported = sum(not missing for missing in outcomes.values())
        promise = "all but those of other extras"
        report.add(f"modules imported with {told}", {OURS: f"{imported} of {len(names)}"}, promise, not problems)
        if not extra:
            _measure_plugin(report, environment)
    report.failures += [f"An import did this: {event}" for event in did]
    what = "look-ups, connections, processes and written files of all these imports"
    report.add(what, {OURS: len(did)}, "none", not did)
    if quick:
        report.notes.append("A quick run installs no extras; that each brings what it has to is read from the imports.")
        return None
    try:
        everything = Environment(work / "with everything").install(f"{wheel}[{','.join(extras)}]")
    except RuntimeError as problem:
        report.notes.append(f"NOT INSTALLED with all extras at once: {problem}.")
        return None
    report.add("distributions installed with all extras", {OURS: _installed(everything)})
    return everything.site_packages()


def _installed(environment: Environment) -> int:
    return len(json.loads(environment.pip("list", "--format", "json").stdout))


def _measure_plugin(report: Report, environment: Environment) -> None:
    """Of the environment without extras, which has pytest from here on."""
    try:
        environment.install("pytest")
    except RuntimeError as problem:
        report.notes.append(f"The pytest plugin was not tried: {problem}.")
        return
    loaded = json.loads(run([environment.python, "-I", "-c", PLUGIN_PROBE]).stdout)
    report.add("distributions that the pytest plugin loads in every project", {OURS: len(loaded)}, "none", not loaded)
    test = environment.folder / "test_plugin.py"
    test.write_text(PLUGIN_TEST)
    command = [environment.python, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(test)]
    try:
        run(command, cwd=environment.folder)
    except RuntimeError as problem:
        report.failures.append(f"pytest with no extra installed: {problem}")
    failed = any(failure.startswith("pytest with") for failure in report.failures)
    report.add("tests with the fixtures and no extra", {OURS: "fail" if failed else "pass"}, "pass", not failed)


def _measure_audit(report: Report, site_packages: Path, work: Path, *, required: bool) -> None:
    untold = report.failures if required else report.notes
    try:
        found = audit(site_packages, work / "audit")
    except (RuntimeError, subprocess.TimeoutExpired) as problem:
        untold.append(f"KNOWN VULNERABILITIES WERE NOT LOOKED UP: {problem}.")
        return
    if found.skipped:
        untold.append(
            f"KNOWN VULNERABILITIES WERE NOT LOOKED UP for {len(found.skipped)} of "
            f"{len(found.skipped) + found.checked} distributions: the index does not tell pip-audit about them here."
        )
    if found.checked:
        report.failures += found.known
        report.add(
            f"known vulnerabilities of {found.checked} distributions", {OURS: len(found.known)}, "none", not found.known
        )


def _options(parser: argparse.ArgumentParser) -> None:
    text = "fail where known vulnerabilities cannot be looked up, instead of saying so"
    parser.add_argument("--require-audit", action="store_true", help=text)


if __name__ == "__main__":
    main(measure, _options)
