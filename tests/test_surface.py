"""What the package shows: its names, what importing it costs, and that its two clients are twins."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
import pathlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import fetch_hive_sdk
from fetch_hive_sdk import AsyncFetchHive, AsyncStream, FetchHive, Stream
from fetch_hive_sdk.compat import OldMethods

PACKAGE = pathlib.Path(fetch_hive_sdk.__file__).parent

# --- names --------------------------------------------------------------------------------------------


def is_class(value: object) -> bool:
    """Whether a value is a class; Python 3.10 takes aliases such as `Mapping[str, int]` for classes too."""
    return issubclass(type(value), type)


def test_all_is_sorted() -> None:
    """The list of public names is sorted and names nothing twice."""
    assert sorted(set(fetch_hive_sdk.__all__)) == fetch_hive_sdk.__all__


def test_all_loads() -> None:
    """Each public name loads, and is the very object of the module that defines it."""
    for name in fetch_hive_sdk.__all__:
        value = getattr(fetch_hive_sdk, name)
        assert value is getattr(fetch_hive_sdk, name)
        if is_class(value):
            assert name == value.__name__
            assert value is getattr(importlib.import_module(value.__module__), name)


def test_all_is_complete() -> None:
    """The public names are those that the modules behind the package list, no more and no fewer."""
    listed = {
        name
        for module in fetch_hive_sdk._MODULES
        for name in importlib.import_module(f"fetch_hive_sdk.{module}").__all__
    }

    assert listed | {"__version__"} == set(fetch_hive_sdk.__all__)


def test_type_checkers_see_the_same() -> None:
    """What type checkers are told to import is what loads on first use."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    modules = [node.module for node in block.body if isinstance(node, ast.ImportFrom) and node.level]

    assert sorted(fetch_hive_sdk._MODULES) == modules


# Modules for what need not be installed, and httpx2 cannot be on Python 3.10.
OPTIONAL = {"httpx2_clients": "httpx2", "aiohttp_connections": "aiohttp"}
ABSENT = {module for module, needed in OPTIONAL.items() if importlib.util.find_spec(needed) is None}


@pytest.mark.parametrize(
    "module", sorted({path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"} - ABSENT)
)
def test_modules_list_what_they_have(module: str) -> None:
    """A module's list of names names nothing twice, and only what the module has."""
    loaded = importlib.import_module(f"fetch_hive_sdk.{module}")
    names = getattr(loaded, "__all__", [])

    assert len(set(names)) == len(names)
    assert [] == [name for name in names if not hasattr(loaded, name)]


@pytest.mark.parametrize("name", ["Client", "fetchhive", "_secret", "VERSION", "iter_everything"])
def test_unknown_name(name: str) -> None:
    """A name that the package does not have is an AttributeError, and an ImportError where it is imported."""
    with pytest.raises(AttributeError, match=f"^module 'fetch_hive_sdk' has no attribute '{name}'$"):
        getattr(fetch_hive_sdk, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from fetch_hive_sdk import {name}")


def test_name_that_no_module_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public name that no module defines is an AttributeError too."""
    monkeypatch.setattr(fetch_hive_sdk, "__all__", [*fetch_hive_sdk.__all__, "Ghost"])

    with pytest.raises(AttributeError, match="Ghost"):
        _ = fetch_hive_sdk.Ghost  # type: ignore[attr-defined]


def test_dir() -> None:
    """What dir() shows, and an editor completes, are the public names."""
    assert set(fetch_hive_sdk.__all__) <= set(dir(fetch_hive_sdk))
    assert {name for name in dir(fetch_hive_sdk) if not name.startswith("_")} <= set(fetch_hive_sdk.__all__)


def test_star() -> None:
    """A star import brings the public names and nothing else."""
    names: dict[str, Any] = {}
    exec("from fetch_hive_sdk import *", names)

    assert set(fetch_hive_sdk.__all__) == set(names) - {"__builtins__"}


def test_version() -> None:
    """The version is that of the installed distribution."""
    assert importlib.metadata.version("fetch-hive-sdk") == fetch_hive_sdk.__version__


def test_typed() -> None:
    """The package tells type checkers that it is typed."""
    assert (PACKAGE / "py.typed").is_file()


# --- what importing costs -----------------------------------------------------------------------------

HEAVY = ["anyio", "asyncio", "django", "email", "fastapi", "httpx", "pydantic", "pytest", "rich", "starlette", "typer"]
HEAVY += ["uvicorn", "fetch_hive_sdk.sandbox", "fetch_hive_sdk.cli"]


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after this code."""
    program = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_import_is_light() -> None:
    """Importing the package loads nothing heavy: no httpx, no pydantic, no email, no sandbox, no command line."""
    loaded = loaded_by("import fetch_hive_sdk")

    assert {"fetch_hive_sdk", "fetch_hive_sdk.version"} == {
        name for name in loaded if name.startswith("fetch_hive_sdk")
    }
    assert set() == loaded & set(HEAVY)


def test_clients_load_no_sandbox() -> None:
    """Making both clients loads neither the sandbox, nor a web server, nor a command line.

    httpx itself loads the `rich` of its own command line where that is installed.
    """
    code = "from fetch_hive_sdk import *\nFetchHive(api_key='fhk_x'), AsyncFetchHive(api_key='fhk_x')"
    heavy = {"starlette", "uvicorn", "rich", "typer", "pytest", "fetch_hive_sdk.sandbox", "fetch_hive_sdk.cli"}

    assert set() == (loaded_by(code) - loaded_by("import httpx")) & heavy


def test_clients_load_no_resources() -> None:
    """Making a client loads none of the resources; the one that is used first loads itself alone."""
    made = "from fetch_hive_sdk import FetchHive, AsyncFetchHive\nclient = FetchHive('fhk_x')\nAsyncFetchHive('fhk_x')"
    nouns = {name for name in loaded_by(f"{made}\nclient.models") if name.startswith("fetch_hive_sdk.resources.")}

    assert set() == {name for name in loaded_by(made) if name.startswith("fetch_hive_sdk.resources.")}
    assert {"fetch_hive_sdk.resources.base", "fetch_hive_sdk.resources.models"} == nouns


def test_clients_load_no_pydantic() -> None:
    """Making a client loads neither pydantic nor anyio, which take as long as httpx itself.

    Some versions of httpx load anyio themselves.
    """
    loaded = loaded_by("from fetch_hive_sdk import FetchHive\nFetchHive('fhk_x')") - loaded_by("import httpx")

    assert set() == loaded & {"pydantic", "pydantic_core", "anyio", "fetch_hive_sdk.results", "fetch_hive_sdk.streams"}


FIRST_CALL = """
import socket, sys, threading, time
from fetch_hive_sdk import FetchHive

server = socket.create_server(("127.0.0.1", 0))

def answer():
    connection, _ = server.accept()
    received = b""
    while b'"deployment"' not in received:
        received += connection.recv(65536)
    while "fetch_hive_sdk.results" not in sys.modules:
        time.sleep(0.001)
    body = b'{"response": "Hi"}'
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)

threading.Thread(target=answer, daemon=True).start()
with FetchHive("fhk_x", f"http://127.0.0.1:{server.getsockname()[1]}/v1", timeout=30, max_retries=0) as client:
    assert "pydantic" not in sys.modules
    assert "Hi" == client.invoke_prompt(deployment="d").response
"""


def test_results_load_while_the_first_answer_is_awaited() -> None:
    """The first call loads pydantic while the service works: one that answers only after that is understood."""
    subprocess.run([sys.executable, "-c", FIRST_CALL], check=True)


def test_verifier_loads_no_client() -> None:
    """A web handler that only verifies callbacks loads no client."""
    loaded = loaded_by("from fetch_hive_sdk import CallbackVerifier\nCallbackVerifier('s').sign(b'')")

    assert set() == loaded & {"fetch_hive_sdk.client", "fetch_hive_sdk.streams", "fetch_hive_sdk.http"}


def test_deliveries_load_no_client() -> None:
    """A web handler that tells duplicates loads no client, and neither a database nor anyio before it needs them."""
    loaded = loaded_by("from fetch_hive_sdk import Deliveries, MemoryDeliveryStore\nDeliveries(MemoryDeliveryStore())")
    loaded -= loaded_by("import httpx")

    assert set() == loaded & {"fetch_hive_sdk.client", "fetch_hive_sdk.callbacks", "anyio", "sqlite3"}


# --- the direction of imports -------------------------------------------------------------------------

LAYERS = [
    {
        "version",
        "logs",
        "loading",
        "deadlines",
        "error_codes",
        "errors",
        "jsonable",
        "answers",
        "causes",
        "results",
        "events",
        "sse",
        "pieces",
    }
    | {"retries", "settings", "urls", "arguments", "uploads", "http_clients", "joined_writes", "connections"}
    | {"async_connections", "aiohttp_connections", "httpx2_clients"},
    {"operations", "callbacks", "deliveries", "delivery_stores"},
    {"exchange"},
    {"http", "drivers", "streams"},
    {"resources"},
    {"compat"},
    {"client", "streaming"},
    {"sandbox", "cli"},
    {"pytest_plugin"},
]
LAYER = {module: number for number, layer in enumerate(LAYERS) for module in layer}


def modules() -> Iterator[tuple[str, pathlib.Path]]:
    """Every file of the package with the name of its module, or of the folder it is in."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative != pathlib.Path("__init__.py"):
            yield relative.parts[0].removesuffix(".py"), path


def imports(path: pathlib.Path) -> set[str]:
    """The modules of the package that a file imports when it is loaded, by the name directly under the package."""
    package = ["fetch_hive_sdk", *path.relative_to(PACKAGE).parent.parts]
    found: set[str] = set()
    statements = [*ast.parse(path.read_text("utf-8")).body]
    while statements:
        node = statements.pop()
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            whole = [*base, *(node.module.split(".") if node.module else [])]
            targets = [[*whole, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            statements += node.orelse
            continue
        else:
            statements += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            statements = [one for one in statements if not isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))]
            continue
        found |= {target[1] for target in targets if target[0] == "fetch_hive_sdk" and len(target) > 1}
    return found & set(LAYER)


@pytest.mark.parametrize(
    ("module", "path"), list(modules()), ids=[str(path.relative_to(PACKAGE)) for _, path in modules()]
)
def test_imports_point_one_way(module: str, path: pathlib.Path) -> None:
    """No module imports one that stands above it; so the clients import neither the sandbox nor the command line."""
    assert set() == {other for other in imports(path) if LAYER[other] > LAYER[module]}


def test_submodules() -> None:
    """A module of the package can be reached as an attribute without an import of its own."""
    code = "import fetch_hive_sdk; print(fetch_hive_sdk.errors.FetchHiveError.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "FetchHiveError" == done.stdout.strip()
    assert fetch_hive_sdk.__getattr__("errors") is importlib.import_module("fetch_hive_sdk.errors")


def test_imports_have_no_cycle() -> None:
    """No module imports itself by way of others."""
    direct: dict[str, set[str]] = {}
    for module, path in modules():
        direct.setdefault(module, set()).update(imports(path) - {module})

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [*direct.get(start, ())]
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += direct.get(module, ())
        return seen

    assert [] == [module for module in direct if module in reached(module)]


def test_every_module_has_a_layer() -> None:
    """Every module of the package has its place in the order of imports."""
    assert set() == {module for module, _ in modules()} - set(LAYER)


# --- twins --------------------------------------------------------------------------------------------


def resources(of: Any) -> list[type[Any]]:
    """The classes of a client's resources, and of theirs."""
    names = [name for name, member in vars(type(of)).items() if isinstance(member, property)]
    found = [getattr(of, name) for name in names]
    return [cls for resource in found for cls in (type(resource), *resources(resource))]


TWINS: list[tuple[type[Any], type[Any]]] = [
    (FetchHive, AsyncFetchHive),
    (Stream, AsyncStream),
    *zip(resources(FetchHive("fhk_x")), resources(AsyncFetchHive("fhk_x")), strict=True),
]
both_twins = pytest.mark.parametrize(("plain", "asynchronous"), TWINS, ids=[plain.__name__ for plain, _ in TWINS])
NAMES = {
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}


def members(cls: type[Any]) -> dict[str, Any]:
    """What a class offers to its users, methods of the language that have an async twin included."""
    dunder = {"__init__", *NAMES.keys(), *NAMES.values()}
    return {
        name: inspect.getattr_static(cls, name)
        for name in dir(cls)
        if name not in vars(OldMethods)  # of the sync client alone
        if not name.startswith("_") or (name in dunder and name not in dir(object)) or name == "__init__"
    }


def in_plain_words(text: object) -> str:
    return re.sub(r"\bAsync(?=[A-Z])", "", str(text).replace("AsyncPool", "SyncPool"))


def function_of(member: Any) -> Any:
    return member.fget if isinstance(member, property) else member


@both_twins
def test_twins_have_the_same_names(plain: type[Any], asynchronous: type[Any]) -> None:
    """Both twins offer the same names, where `aclose` is the async `close`."""
    assert set(members(plain)) == {NAMES.get(name, name) for name in members(asynchronous)}


def shared_members() -> Iterator[tuple[type[Any], type[Any], str, str]]:
    for plain, asynchronous in TWINS:
        for name in members(asynchronous):
            yield plain, asynchronous, NAMES.get(name, name), name


@pytest.mark.parametrize(
    ("plain", "asynchronous", "name", "asynchronous_name"),
    list(shared_members()),
    ids=[f"{asynchronous.__name__}.{name}" for _, asynchronous, _, name in shared_members()],
)
def test_twins_have_the_same_signatures(
    plain: type[Any], asynchronous: type[Any], name: str, asynchronous_name: str
) -> None:
    """Each member of a twin has the parameters, defaults and annotations of its sibling, and its first line of help."""
    one, other = members(plain)[name], members(asynchronous)[asynchronous_name]
    assert type(one) is type(other)
    one, other = function_of(one), function_of(other)
    of_one, of_other = inspect.signature(one), inspect.signature(other)

    assert [(parameter.name, parameter.kind, parameter.default) for parameter in of_one.parameters.values()] == [
        (parameter.name, parameter.kind, parameter.default) for parameter in of_other.parameters.values()
    ]
    assert [str(parameter.annotation) for parameter in of_one.parameters.values()] == [
        in_plain_words(parameter.annotation) for parameter in of_other.parameters.values()
    ]
    if name != "__iter__":  # a generator in the one, the stream itself in the other
        assert str(of_one.return_annotation) == in_plain_words(of_other.return_annotation)
    if not name.startswith("__"):
        assert first_line(one) == first_line(other)


def first_line(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0]


@pytest.mark.parametrize("client", [cls for _, cls in TWINS if cls is not AsyncStream])
def test_what_is_awaited(client: type[Any]) -> None:
    """What waits is awaited in the async client and its resources, and what opens later is not."""
    public = {name: member for name, member in members(client).items() if not name.startswith("_")}
    methods = {name for name, member in public.items() if not isinstance(member, property)}
    awaited = {name for name, member in public.items() if inspect.iscoroutinefunction(member)}

    assert {name for name in methods - {"with_options", "iterate"} if not name.endswith("_stream")} == awaited


# --- docstrings ---------------------------------------------------------------------------------------


def documented_objects() -> Iterator[tuple[str, Any]]:
    names = [
        module.name
        for module in pkgutil.walk_packages(fetch_hive_sdk.__path__, "fetch_hive_sdk.")
        if not module.name.endswith(("__main__", "pytest_plugin", *ABSENT))
    ]
    for module_name in ["fetch_hive_sdk", *names]:
        module = importlib.import_module(module_name)
        yield module_name, module
        for name, member in list(vars(module).items()):
            if name.startswith("_") or getattr(member, "__module__", None) != module_name:
                continue
            if inspect.isclass(member) or inspect.isfunction(member):
                yield f"{module_name}.{name}", member
            if inspect.isclass(member):
                for inner_name, inner in list(vars(member).items()):
                    function = getattr(inner, "__func__", function_of(inner))
                    if not inner_name.startswith("_") and inspect.isfunction(function):
                        yield f"{module_name}.{name}.{inner_name}", getattr(member, inner_name)


def test_docstrings() -> None:
    """Every public module, class, function and method says in a docstring of its own, or its base's, what it is."""
    objects = dict(documented_objects())

    assert len(objects) > 100
    assert [] == [name for name, member in objects.items() if not (inspect.getdoc(member) or "").strip()]


@pytest.mark.parametrize("name", sorted(set(fetch_hive_sdk.__all__) - {"__version__"}))
def test_docstrings_of_public_classes(name: str) -> None:
    """Every public class and function is documented itself, and does not borrow its base's words."""
    value = getattr(fetch_hive_sdk, name)
    if is_class(value) or inspect.isfunction(value):
        assert (value.__doc__ or "").strip()
        if is_class(value):
            assert all(value.__doc__ != base.__doc__ for base in value.__mro__[1:])
