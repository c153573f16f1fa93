"""What a caller's values become as JSON, and what is refused, by path and with its fix."""

from __future__ import annotations

import collections
import copy
import dataclasses
import enum
import json
import pathlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pydantic
import pytest

from fetch_hive_sdk import PromptResult
from fetch_hive_sdk.errors import InvalidRequestError
from fetch_hive_sdk.jsonable import article, encode, flat, mapping, plain

NAN = float("nan")
INFINITY = float("inf")


class Plan(enum.Enum):
    PRO = "pro"
    COUNT = 3
    LIST = ["a", 1]  # noqa: RUF012
    NAN = NAN


class Region(str, enum.Enum):
    EU = "eu"


class Level(enum.IntEnum):
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0


@dataclasses.dataclass(frozen=True)
class Slotted:
    __slots__ = ("x",)
    x: Any


class Model(pydantic.BaseModel):
    x: Any = None


class Renamed(pydantic.BaseModel):
    some_name: int = pydantic.Field(1, serialization_alias="someName")
    when: datetime = datetime(2026, 6, 1, tzinfo=timezone.utc)

    @pydantic.field_serializer("when")
    def _when(self, value: datetime) -> str:
        return f"{value:%d.%m.%Y}"


class Number(pydantic.BaseModel):
    x: float


class NumberAsText(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="strings")
    x: float


class NumberAsConstant(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="constants")
    x: float


class OuterNumberAsText(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="strings")
    inner: Number


class Outer(pydantic.BaseModel):
    items: list[Number]


class Revealing(pydantic.BaseModel):
    key: pydantic.SecretStr = pydantic.SecretStr("plain")

    @pydantic.field_serializer("key", when_used="json")
    def _reveal(self, value: pydantic.SecretStr) -> str:
        return value.get_secret_value()


class Texts(pydantic.RootModel[list[str]]):
    pass


@pydantic.dataclasses.dataclass
class Checked:
    x: float


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Frozen(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def __getitem__(self, key: str) -> Any:
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


WHEN = datetime(2026, 6, 1, 12, 30, tzinfo=timezone.utc)
ID = UUID("0190aaaa-0000-7000-8000-000000000001")

ACCEPTED: dict[str, tuple[Any, Any]] = {
    "None": (None, None),
    "True": (True, True),
    "int": (5, 5),
    "large int": (10**30, 10**30),
    "float": (1.5, 1.5),
    "str": ("text", "text"),
    "every plane of Unicode": ("ä\u2028\U0001f600\0", "ä\u2028\U0001f600\0"),
    "str of another class": (Text("a"), "a"),
    "int of another class": (Whole(5), 5),
    "aware datetime": (WHEN, "2026-06-01T12:30:00Z"),
    "naive datetime": (WHEN.replace(tzinfo=None), "2026-06-01T12:30:00"),
    "date": (date(2026, 6, 1), "2026-06-01"),
    "time": (time(12, 30), "12:30:00"),
    "timedelta": (timedelta(minutes=1), "PT1M"),
    "UUID": (ID, str(ID)),
    "Decimal": (Decimal("1.50"), "1.50"),
    "path": (pathlib.Path("a"), "a"),
    "Enum of str": (Plan.PRO, "pro"),
    "Enum of int": (Plan.COUNT, 3),
    "Enum of list": (Plan.LIST, ["a", 1]),
    "str Enum": (Region.EU, "eu"),
    "IntEnum": (Level.HIGH, 2),
    "list": ([1, "a", None], [1, "a", None]),
    "tuple": ((1, (2,)), [1, [2]]),
    "set": ({1}, [1]),
    "frozenset": (frozenset({"a"}), ["a"]),
    "deque": (collections.deque([1, 2]), [1, 2]),
    "named tuple": (collections.namedtuple("Pair", "a b")(1, 2), [1, 2]),  # noqa: PYI024
    "dict": ({"a": {"b": [1]}}, {"a": {"b": [1]}}),
    "empty": ({"a": {}, "b": []}, {"a": {}, "b": []}),
    "empty key": ({"": 1}, {"": 1}),
    "keys of str Enum": ({Region.EU: 1, Plan.PRO: 2}, {"eu": 1, "pro": 2}),
    "mapping that is no dict": (Frozen(a=Frozen(b=1)), {"a": {"b": 1}}),
    "OrderedDict": (collections.OrderedDict(a=1), {"a": 1}),
    "read-only dict": (types.MappingProxyType({"a": 1}), {"a": 1}),
    "dataclass": (Point(1, [WHEN]), {"x": 1, "y": ["2026-06-01T12:30:00Z"]}),
    "dataclass with slots": (Slotted(Point(1)), {"x": {"x": 1, "y": 0}}),
    "dataclass of pydantic": (Checked(1.5), {"x": 1.5}),
    "model": (Model(x={"when": WHEN, "ids": {ID}}), {"x": {"when": "2026-06-01T12:30:00Z", "ids": [str(ID)]}}),
    "model with an alias and a serializer": (Renamed(), {"someName": 1, "when": "01.06.2026"}),
    "model in a model": (Outer(items=[Number(x=1)]), {"items": [{"x": 1.0}]}),
    "model that reveals its secret": (Revealing(), {"key": "plain"}),
    "root model": (Texts(["a"]), ["a"]),
    "dataclass in a model": (Model(x=Point(1)), {"x": {"x": 1, "y": 0}}),
    "model in a dataclass": (Point(Number(x=1)), {"x": {"x": 1.0}, "y": 0}),
    "the same object twice": ([[1]] * 2, [[1], [1]]),
    "all together": (
        {"a": [Point({"b": (Plan.PRO, {ID})})], "c": Model(x=[Level.HIGH])},
        {"a": [{"x": {"b": ["pro", [str(ID)]]}, "y": 0}], "c": {"x": [2]}},
    ),
}


@pytest.mark.parametrize(("value", "expected"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(value: Any, expected: Any) -> None:
    """What has an honest JSON form becomes plain values, and these the bytes."""
    made = plain(value, "inputs")

    assert expected == made
    assert types_of(expected) == types_of(made)
    assert {"inputs": expected} == json.loads(encode({"inputs": made}))


def types_of(value: Any) -> Any:
    """The types of a value and of all in it, which have to be those of JSON to the letter."""
    if isinstance(value, dict):
        return dict, {key: (type(key), types_of(item)) for key, item in value.items()}
    return (list, [types_of(item) for item in value]) if isinstance(value, list) else type(value)


def test_callers_objects_stay() -> None:
    """The caller's objects are neither changed nor shared with the body."""
    value = {"list": [{"a": 1}], "point": Point([1]), "model": Model(x={"a": [1]}), "set": {1}}
    before = copy.deepcopy(value)
    made = plain(value, "inputs")

    made["list"][0]["a"] = 2
    made["point"]["x"].append(2)
    made["model"]["x"]["a"].append(2)
    made["set"].append(2)

    assert before == value


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def cycle(kind: str) -> Any:
    inner: Any = {}
    if kind == "list":
        inner = []
        inner.append(inner)
    elif kind == "dict":
        inner["self"] = inner
    elif kind == "dataclass":
        inner = Point(None)
        inner.x = [inner]
    elif kind == "model":
        inner = Model()
        inner.x = inner
    else:
        inner = Model()
        inner.x = [{"a": inner}]
    return inner


def generator() -> Iterator[int]:
    yield 1


class Fails(pydantic.BaseModel):
    x: int = 1

    @pydantic.field_serializer("x")
    def _fail(self, value: int) -> int:
        raise RuntimeError(value)


class Secretive(pydantic.BaseModel):
    key: pydantic.SecretStr = pydantic.SecretStr("s3cret")


REFUSED: dict[str, tuple[Any, str, str]] = {
    "NaN": (NAN, "inputs: nan is not a number of JSON.", "finite"),
    "infinity": ({"a": INFINITY}, "inputs.a: inf is not a number of JSON.", "finite"),
    "minus infinity": ({"a": [0, -INFINITY]}, "inputs.a[1]: -inf is not a number of JSON.", "None"),
    "NaN deep inside": ({"a": {"b": [{"c": NAN}]}}, "inputs.a.b[0].c: nan is not a number of JSON.", "finite"),
    "NaN in a tuple in a deque": (collections.deque([(NAN,)]), "inputs[0][0]: nan is not a number of JSON.", "finite"),
    "NaN of an Enum": ([Plan.NAN], "inputs[0]: nan is not a number of JSON.", "finite"),
    "NaN in a dataclass": ({"p": Point(1, NAN)}, "inputs.p.y: nan is not a number of JSON.", "finite"),
    "NaN in a dataclass of pydantic": (Checked(NAN), "inputs.x: nan is not a number of JSON.", "finite"),
    "NaN in a model": ({"m": Number(x=NAN)}, "inputs.m.x: nan is not a number of JSON.", "finite"),
    "NaN in a model in a list of a model": (
        Outer(items=[Number(x=1), Number(x=INFINITY)]),
        "inputs.items[1].x: inf is not a number of JSON.",
        "finite",
    ),
    "NaN in any field of a model": (Model(x=({"a": NAN},)), "inputs.x[0].a: nan is not a number of JSON.", "finite"),
    "NaN in a dataclass in a model": (Model(x=Point(NAN)), "inputs.x.x: nan is not a number of JSON.", "finite"),
    "NaN as a constant": (NumberAsConstant(x=NAN), "inputs.x: nan is not a number of JSON.", "finite"),
    "NaN in a model in a model with its own word for it": (
        OuterNumberAsText(inner=Number(x=NAN)),
        "inputs.inner.x: nan is not a number of JSON.",
        "finite",
    ),
    "NaN of Decimal": ([Decimal("NaN")], "inputs[0]: NaN is not a number of JSON.", "finite"),
    "NaN of Decimal in a model": (Model(x=Decimal("NaN")), "inputs.x: NaN is not a number of JSON.", "finite"),
    "infinity of Decimal": (Decimal("-Infinity"), "inputs: -Infinity is not a number of JSON.", "finite"),
    "bytes": ({"file": b"abc"}, "inputs.file: bytes are not JSON.", "base64"),
    "bytearray": (bytearray(b"abc"), "inputs: bytes are not JSON.", "str"),
    "memoryview": ([memoryview(b"abc")], "inputs[0]: bytes are not JSON.", "base64"),
    "bytes in a dataclass": (Point(b""), "inputs.x: bytes are not JSON.", "base64"),
    "bytes in a model that are no text": (Model(x=b"\xff"), "inputs", ""),
    "int key": ({1: "a"}, "inputs: the key 1 is an int.", "str(key)"),
    "None key": ({"a": {None: 1}}, "inputs.a: the key None is None.", "str(key)"),
    "tuple key": ([{(1, 2): 1}], "inputs[0]: the key (1, 2) is a tuple.", "str(key)"),
    "key of int Enum": ({Plan.COUNT: 1}, "inputs: the key <Plan.COUNT: 3> is a Plan.", "str(key)"),
    "bytes key": ({b"a": 1}, "inputs: the key b'a' is a bytes.", "str(key)"),
    "secret": ({"k": pydantic.SecretStr("s3cret")}, "inputs.k: a secret would be sent masked.", "get_secret_value()"),
    "secret bytes": ([pydantic.SecretBytes(b"s3cret")], "inputs[0]: a secret would be sent masked.", "get_secret"),
    "secret in a model": (Secretive(), "inputs.key: a secret would be sent masked.", "get_secret_value()"),
    "list in itself": (cycle("list"), "inputs[0]: it contains itself.", "cycle"),
    "dict in itself": ({"a": cycle("dict")}, "inputs.a.self: it contains itself.", "cycle"),
    "dataclass in itself": (cycle("dataclass"), "inputs.x[0]: it contains itself.", "cycle"),
    "model in itself": ({"a": cycle("model")}, "inputs.a", ""),
    "model in a list in itself": (cycle("model in a list"), "inputs", ""),
    "generator": ({"g": generator()}, "inputs.g: a generator can be read only once.", "list(...)"),
    "iterator": ([iter([1])], "inputs[0]: a list_iterator can be read only once.", "list(...)"),
    "map": (map(str, [1]), "inputs: a map can be read only once.", "list(...)"),
    "too deep": (nested(50_000), "inputs: it is nested too deeply.", "flatter"),
    "half a surrogate pair": (["\ud800"], "inputs[0]: the text has half a surrogate pair in it.", "encode"),
    "half a surrogate pair in a key": ({"\udfff": 1}, "inputs: the text has half a surrogate pair in it.", "encode"),
    "half a surrogate pair in an Enum": (
        enum.Enum("Odd", {"A": "\ud800"}).A,  # type: ignore[attr-defined]
        "inputs: the text has half a surrogate pair in it.",
        "encode",
    ),
    "half a surrogate pair in a model": (Model(x=["\ud800"]), "inputs", ""),
    "half a surrogate pair in a path": (
        pathlib.Path("\udcff"),
        "inputs: the text has half a surrogate pair in it.",
        "encode",
    ),
    "unknown object": ({"o": object()}, "inputs.o: an object has no JSON form.", "pydantic can write"),
    "class": (Point, "inputs: a type has no JSON form.", "pydantic can write"),
    "function": ([generator], "inputs[0]: a function has no JSON form.", "pydantic can write"),
    "namespace": (types.SimpleNamespace(a=1), "inputs: a SimpleNamespace has no JSON form.", "pydantic can write"),
    "range": (range(3), "inputs: a range has no JSON form.", "pydantic can write"),
    "view of a dict": ({"a": 1}.keys(), "inputs: a dict_keys has no JSON form.", "pydantic can write"),
    "unknown object in a dataclass": (Point(object()), "inputs.x: an object has no JSON form.", "pydantic can write"),
    "unknown object in a model": (Model(x=object()), "inputs: a Model cannot be written as JSON", "plain values"),
    "serializer that fails": ({"m": Fails()}, "inputs.m: a Fails cannot be written as JSON", "plain values"),
}


@pytest.mark.parametrize(("value", "message", "fix"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(value: Any, message: str, fix: str) -> None:
    """What has no honest JSON form is refused with its path and the fix, and never turned into something else."""
    with pytest.raises(InvalidRequestError) as caught:
        plain(value, "inputs")

    assert caught.value.message.startswith(message)
    assert fix in caught.value.hint
    assert "s3cret" not in str(caught.value)


def called_deep(calls: int, function: Callable[[], Any]) -> Any:
    return called_deep(calls - 1, function) if calls else function()


@pytest.mark.parametrize("depth", [50, 90, 150, 200, 210, 255, 260, 300, 340, 1000])
@pytest.mark.parametrize(
    "make", [lambda value: {"x": value}, Point, lambda value: Model(x=value)], ids=["dict", "dataclass", "model"]
)
@pytest.mark.parametrize("calls", [0, 500])
def test_depth(make: Callable[[Any], Any], depth: int, calls: int) -> None:
    """However deep a value is nested, and however deep the call stack is already, it is refused or can be written."""
    value = make(nested(depth))
    refused = ""
    made: Any = None
    try:
        made = called_deep(calls, lambda: plain(value, "inputs"))
    except InvalidRequestError as error:
        refused = error.message

    assert refused.startswith("inputs") or b"[" * depth + b"1" + b"]" * depth in encode({"inputs": made})
    assert depth > 100 or not refused


def test_model_with_its_own_word_for_nan() -> None:
    """A model that says itself how NaN is written is respected."""
    assert {"x": "NaN"} == plain(NumberAsText(x=NAN), "inputs")


def test_number_of_a_model_with_its_own_word_for_nan() -> None:
    """A model that has its own word for NaN writes its other numbers as numbers."""
    assert {"x": 1.5} == plain(NumberAsText(x=1.5), "inputs")
    assert {"x": 1.5} == plain(NumberAsConstant(x=1.5), "inputs")


def test_path_starts_where_the_caller_says() -> None:
    """The message starts with the path it was given."""
    with pytest.raises(InvalidRequestError, match=r"^messages\[2\]\.content: bytes are not JSON\."):
        plain({"content": b""}, "messages[2]")


def test_result_as_an_input() -> None:
    """A result of another call is sent as it came."""
    body = b'{"response":"Hi","usage":{"prompt_tokens":{"total_tokens":2}}}'

    assert json.loads(body) == plain(PromptResult.from_json(body), "inputs")


def test_number_too_large() -> None:
    """A number that Python itself would not write is refused."""
    with pytest.raises(InvalidRequestError, match=r"^inputs\.x: the number is too large"):
        plain({"x": 10**5000}, "inputs")


# --- metadata -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, {}),
        ({"s": "x", "i": 1, "f": 1.5, "t": True, "n": None}, {"s": "x", "i": 1, "f": 1.5, "t": True, "n": None}),
        ({"empty": "", " ": 1}, {"empty": "", " ": 1}),
        ({"region": Region.EU, "level": Level.HIGH}, {"region": "eu", "level": 2}),
        ({Region.EU: 1}, {"eu": 1}),
        (Frozen(a=1), {"a": 1}),
    ],
)
def test_flat(metadata: Any, expected: dict[str, Any]) -> None:
    """Flat metadata passes as a copy of plain values."""
    made = flat("metadata", metadata)

    assert expected == made
    assert made is not metadata
    assert types_of(expected) == types_of(json.loads(encode(made)))


FLAT = "metadata is flat: str, int, float, bool or None."


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"tags": ["a"]}, f"metadata.tags: a list is not allowed; {FLAT}"),
        ({"a": {"b": 1}}, f"metadata.a: a dict is not allowed; {FLAT}"),
        ({"a": ()}, f"metadata.a: a tuple is not allowed; {FLAT}"),
        ({"when": WHEN}, f"metadata.when: a datetime is not allowed; {FLAT}"),
        ({"id": ID}, f"metadata.id: an UUID is not allowed; {FLAT}"),
        ({"d": Decimal(1)}, f"metadata.d: a Decimal is not allowed; {FLAT}"),
        ({"b": b""}, f"metadata.b: a bytes is not allowed; {FLAT}"),
        ({"p": Plan.PRO}, f"metadata.p: a Plan is not allowed; {FLAT}"),
        ({"f": NAN}, "metadata.f: nan is not a number of JSON."),
        ({"f": -INFINITY}, "metadata.f: -inf is not a number of JSON."),
        ({"s": "\ud800"}, "metadata.s: the text has half a surrogate pair in it."),
        ({"\ud800": 1}, "metadata: the text has half a surrogate pair in it."),
        ({"": 1}, "metadata: the key '' is not allowed."),
        ({1: "a"}, "metadata: the key 1 is not allowed."),
        ({None: "a"}, "metadata: the key None is not allowed."),
        ([("a", 1)], "metadata: a list is not allowed."),
        ("a=1", "metadata: a str is not allowed."),
        (5, "metadata: an int is not allowed."),
        (None, "metadata: None is not allowed."),
    ],
)
def test_not_flat(metadata: Any, message: str) -> None:
    """Metadata that is not flat is refused with the path of what is not."""
    with pytest.raises(InvalidRequestError) as caught:
        flat("metadata", metadata)

    assert message == caught.value.message
    assert caught.value.hint


def test_mapping() -> None:
    """A mapping passes as it is, and anything else is refused by its kind."""
    value = {"a": 1}

    assert value is mapping("options", value)
    with pytest.raises(InvalidRequestError, match=r"^options: a list is not allowed\. Pass a dict\.$"):
        mapping("options", [])


@pytest.mark.parametrize(
    ("value", "named"),
    [([], "a list"), (1, "an int"), (None, "None"), (object(), "an object"), (1.5, "a float"), (Point(1), "a Point")],
)
def test_article(value: Any, named: str) -> None:
    """Messages name the kind of a value as people do."""
    assert named == article(value)


def test_encode() -> None:
    """A body is written as compact JSON in UTF-8, without escapes that need not be."""
    assert '{"a":["ä",1,null,true]}'.encode() == encode({"a": ["ä", 1, None, True]})


def test_pydantic_need_not_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything has loaded pydantic, what is neither text nor number is written all the same."""
    monkeypatch.delitem(sys.modules, "pydantic")
    given = {"when": date(2026, 11, 22), "where": ("a", "b")}
    assert {"when": "2026-11-22", "where": ["a", "b"]} == plain(given, "inputs")
    assert "pydantic" not in sys.modules
