"""Canaries: made-up secrets that are looked for in all that a program lets out, in every usual encoding.

It needs nothing but the standard library, so that the peers can be looked at in environments of their own. What is
not installed, such as rich, or too old, is left out.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import importlib
import inspect
import io
import logging
import logging.handlers
import pickle
import pprint
import random
import socket
import string
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Union

__all__ = ["Canary", "Given", "Log", "Search", "broken_writes", "channels_of", "dumps_of"]

Place = Union[str, bytes]


class Canary:
    """A made-up secret. Two random words with marks between them, which every escaping writes in another way.

    Whatever becomes of the marks, and wherever a text is cut, one of the words is left to be found.

    Args:
        prefix: What such a secret begins with.
        seed: What it is made from.
    """

    def __init__(self, prefix: str, seed: int = 0) -> None:
        chance = random.Random(f"{prefix} {seed}")
        self._words = ["".join(chance.choices(string.ascii_letters + string.digits, k=18)) for _ in range(2)]
        self.text = f"{prefix}{self._words[0]}/\"'\\+&<={self._words[1]}"
        self._needles = [needle for word in self._words for needle in _encodings(word.encode())]
        self._folded = [needle for word in self._words for needle in _encodings_without_case(word.encode())]

    def __repr__(self) -> str:
        return "Canary()"

    def is_in(self, place: Place) -> bool:
        """Whether it shows: plain, escaped, cut, quoted for a URL, in hex, in UTF-16 or in base64."""
        data = place if isinstance(place, bytes) else place.encode("utf-8", "surrogatepass")
        folded = data.lower()
        return any(needle in data for needle in self._needles) or any(needle in folded for needle in self._folded)


def _encodings(word: bytes) -> Iterator[bytes]:
    """The word in base64, wherever in a longer text it stands: what is around it changes the ends alone."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + word)
        inner = encoded[(before * 8 + 5) // 6 :].rstrip(b"=")[:-1]
        yield from {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}


def _encodings_without_case(word: bytes) -> Iterator[bytes]:
    text = word.decode().lower()
    yield text.encode()
    yield word.hex().encode()
    yield text.encode("utf-16-le")  # big-endian text holds it too, one byte on
    yield " ".join(f"{byte:02x}" for byte in word).encode()
    yield str(list(word))[1:-1].encode()


@dataclass
class Search:
    """Looks for canaries, and counts.

    Attributes:
        canaries: What is looked for, by name.
        scenarios: What was run.
        places: How many texts were searched.
        found: Where a canary showed: `scenario: canary in channel`.
        documented: Where one showed and the documentation says so.
        skipped: What could not be searched, and why.
    """

    canaries: dict[str, Canary]
    scenarios: list[str] = field(default_factory=list[str])
    places: int = 0
    found: list[str] = field(default_factory=list[str])
    documented: list[str] = field(default_factory=list[str])
    skipped: list[str] = field(default_factory=list[str])

    def look(self, scenario: str, channel: str, place: Place, *, documented: bool = False) -> None:
        """Search one text.

        Args:
            scenario: What was run.
            channel: Where the text comes from.
            place: The text.
            documented: Whether the documentation says that a secret may be there.
        """
        if not self.scenarios or self.scenarios[-1] != scenario:
            self.scenarios.append(scenario)
        self.places += 1
        showed = self.documented if documented else self.found
        showed += [
            f"{scenario}: the {name} in {channel}" for name, canary in self.canaries.items() if canary.is_in(place)
        ]

    def look_at_error(self, scenario: str, error: BaseException) -> None:
        """Search everything that an error shows."""
        for channel, place in channels_of(error):
            self.look(scenario, channel, place)

    def look_at_object(self, scenario: str, thing: object) -> None:
        """Search everything that an object shows of itself."""
        for channel, place in dumps_of(thing):
            self.look(scenario, f"the {channel} of {type(thing).__name__}", place)


class Log:
    """Within the block: every line of every logger at every level, every warning, standard output and error."""

    def __init__(self) -> None:
        self._handler = _ByLogger()
        self._printed = io.StringIO()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Log:  # noqa: PYI034 - typing_extensions is not everywhere
        root = logging.getLogger()
        handler = self._handler
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s %(args)s"))
        levels = {each: each.level for each in _loggers()}
        for each in levels:
            each.setLevel(1)
        root.addHandler(handler)
        self._stack.callback(root.removeHandler, handler)
        self._stack.callback(lambda: [each.setLevel(level) for each, level in levels.items()])
        self._stack.enter_context(contextlib.redirect_stdout(self._printed))
        self._stack.enter_context(contextlib.redirect_stderr(self._printed))
        self._stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take(self) -> Iterator[tuple[str, str]]:
        """What has come since it was last taken."""
        logs, self._handler.logs = self._handler.logs, {}
        yield from ((f"the log of {name}", "\n".join(lines)) for name, lines in logs.items())
        yield "the printed lines and warnings", self._printed.getvalue()
        self._printed.seek(0)
        self._printed.truncate()


class _ByLogger(logging.Handler):
    """Keeps lines, by the first part of their loggers' names."""

    def __init__(self) -> None:
        super().__init__(0)
        self.logs: dict[str, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.logs.setdefault(record.name.partition(".")[0], []).append(self.format(record))


def _loggers() -> list[logging.Logger]:
    known = logging.Logger.manager.loggerDict.values()
    return [logging.getLogger(), *(each for each in known if isinstance(each, logging.Logger))]


# --- what an object shows -------------------------------------------------------------------------------


def dumps_of(thing: object) -> Iterator[tuple[str, Place]]:
    """What an object shows of itself when it is printed, formatted, logged, laid out or looked into."""
    yield "repr", repr(thing)
    yield "str", str(thing)
    yield "format", f"{thing}"
    yield "pprint", pprint.pformat(thing)
    if hasattr(thing, "__dict__"):
        yield "variables", repr(vars(thing))
        yield "variables, by pprint", pprint.pformat(vars(thing))
    for name in ("model_dump", "model_dump_json"):
        if (dump := getattr(thing, name, None)) is not None:
            yield name, repr(dump())
    if pretty := _module("rich.pretty"):
        yield "layout by rich", pretty.pretty_repr(thing, max_length=None, max_string=None)
    yield "copy", repr(_tried(lambda: copy.copy(thing)))
    yield "deep copy", repr(_tried(lambda: copy.deepcopy(thing)))


def _tried(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:  # what cannot be copied shows what it says
        return error


# --- what an error shows --------------------------------------------------------------------------------


def channels_of(error: BaseException) -> Iterator[tuple[str, Place]]:
    """All ways by which an error leaves a program, each with what leaves."""
    yield "the error's text", f"{error} {error!s} {error!r} {error.args}"
    for name in dir(error):
        if not name.startswith("_") and not callable(value := _tried(lambda name=name: getattr(error, name))):
            yield f"error.{name}", f"{value!r} {value}"
    yield "the error's variables", f"{vars(error)!r} {pprint.pformat(vars(error))}"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield "the error's pickle", _pickled(error, protocol)
    for copied in (_tried(lambda: copy.copy(error)), _tried(lambda: copy.deepcopy(error))):
        yield "the error's copy", f"{copied!r} {vars(copied)!r}"
    yield "the traceback", "".join(traceback.format_exception(type(error), error, error.__traceback__))
    with_variables = traceback.TracebackException.from_exception(error, capture_locals=True)
    yield "the traceback with local variables", "".join(with_variables.format())
    yield "the variables of its frames", "\n".join(_variables_of_frames(error))
    yield "a log record with the error", _logged(error)
    yield "the hooks for uncaught errors", _said_by_hooks(error)
    for name, render in (("rich", _by_rich), ("cgitb", _by_cgitb), ("pytest", _by_pytest)):
        if (rendered := render(error)) is not None:
            yield f"the traceback by {name} with local variables", rendered


def _pickled(error: BaseException, protocol: int) -> bytes:
    try:
        return pickle.dumps(error, protocol)
    except Exception as refusal:  # it shows no more than it says
        return repr(refusal).encode()


def chain_of(error: BaseException) -> list[BaseException]:
    """An error, its causes and contexts, and what is grouped in them; shown or not.

    Not that of `fetch_hive_sdk.causes`: this file is also run where the package of that name is 0.4.1.
    """
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and not any(one is known for known in chain):
            chain.append(one)
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return chain


def _variables_of_frames(error: BaseException) -> Iterator[str]:
    """As services that collect errors take them: each variable, and what is in it if it is a plain container."""
    for one in chain_of(error):
        trace: types.TracebackType | None = one.__traceback__
        while trace is not None:
            for name, value in trace.tb_frame.f_locals.items():
                yield f"{trace.tb_frame.f_code.co_name}.{name} = {_tried(lambda value=value: repr(value))}"
            trace = trace.tb_next


def _logged(error: BaseException) -> str:
    record = logging.LogRecord("app", logging.ERROR, __file__, 1, "%s", (error,), None)
    record.exc_info = (type(error), error, error.__traceback__)
    whole = logging.Formatter("%(message)s %(args)s").format(record)
    queued = logging.handlers.QueueHandler(None).prepare(record)  # type: ignore[arg-type]
    return f"{whole} {vars(queued)!r}"


def _said_by_hooks(error: BaseException) -> str:
    said = io.StringIO()
    hook, trace = sys.unraisablehook, error.__traceback__
    with contextlib.redirect_stderr(said):
        sys.__excepthook__(type(error), error, error.__traceback__)
        threading.__excepthook__(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))
        sys.unraisablehook = sys.__unraisablehook__  # pytest has one of its own
        _Unraisable(error)  # which is gone at once
    sys.unraisablehook, error.__traceback__ = hook, trace
    return said.getvalue()


class _Unraisable:
    """Raises an error where nobody can catch it."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __del__(self) -> None:
        raise self._error


def _by_rich(error: BaseException) -> str | None:
    """What rich shows, but for the source, whose colors take a second."""
    rich = _module("rich.traceback")
    # One that knows no depth goes through all that the modules and classes among the variables hold, and does not end.
    if rich is None or "locals_max_depth" not in inspect.signature(rich.Traceback.extract).parameters:
        return None
    options = {"locals_max_length": None, "locals_max_string": None, "locals_hide_dunder": False}
    trace = rich.Traceback.extract(type(error), error, error.__traceback__, show_locals=True, **options)
    shown = [f"{stack.exc_type} {stack.exc_value}" for stack in trace.stacks]
    for stack in trace.stacks:
        for frame in stack.frames:
            shown += [f"{name} = {node}" for name, node in (frame.locals or {}).items()]
    return "\n".join(shown)


def _by_cgitb(error: BaseException) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        cgitb = _module("cgitb")  # until Python 3.12
        if cgitb is None:
            return None
        about = (type(error), error, error.__traceback__)
        try:
            return f"{cgitb.text(about)} {cgitb.html(about)}"
        except Exception as refusal:  # it cannot show every error of httpx
            return str(refusal)


def _by_pytest(error: BaseException) -> str | None:
    pytest = _module("pytest")
    if pytest is None or error.__traceback__ is None:
        return None
    shown = pytest.ExceptionInfo.from_exception(error).getrepr(showlocals=True, truncate_locals=False)
    return str(shown)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


# --- what keeps secrets out of the variables of these scripts ---------------------------------------------


class Given:
    """Arguments that no variable of this script shows: what is searched are the SDK's."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments

    def passed_to(self, method: Any, ids: Any) -> Any:
        # Not by its name: some tracebacks show the value of each name in a line.
        return method(*ids, **vars(self)["arguments"])


@contextlib.contextmanager
def broken_writes(error: type[BaseException]) -> Iterator[None]:
    """Let every socket fail when a request is written to it."""
    before = {name: getattr(socket.socket, name) for name in ("send", "sendall")}

    def broken(name: str) -> Any:
        def write(self: socket.socket, data: Any, *flags: Any) -> Any:
            is_request, data = b" /v1/" in bytes(data)[:200], Given({"data": data})
            if is_request:
                self.shutdown(socket.SHUT_RDWR)
                raise error("broken while it was written")
            return data.passed_to(lambda data: before[name](self, data, *flags), ())

        return write

    for name in before:
        setattr(socket.socket, name, broken(name))
    try:
        yield
    finally:
        for name in before:
            delattr(socket.socket, name)
