"""Turn a caller's value into plain JSON values, or say by its path why that cannot be done honestly.

What pydantic can write as JSON is accepted: datetimes, UUIDs, enums, dataclasses, models, tuples, sets.
NaN, infinity, bytes, secrets and keys that are not text are refused, never turned into something else.
The caller's objects are never changed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Union, cast

from .errors import InvalidRequestError

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["MetadataValue", "article", "encode", "flat", "mapping", "number_or_kind", "plain", "refused"]

MetadataValue = Union[str, int, float, bool, None]

_MAX_DEPTH = 200  # what pydantic reads and writes as JSON
_MAX_INT_BITS = 14_000  # beyond about 4,300 digits Python itself refuses to write it
_SEQUENCES = (list, tuple, set, frozenset, deque)


_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


def encode(body: Any) -> bytes:
    """The JSON bytes of a body that `plain` has made."""
    return _to_json(body).encode()


def plain(value: Any, path: str) -> Any:
    """A copy of a value made of dict, list, str, int, float, bool and None alone.

    Args:
        value: Any value.
        path: Where it stands, for the message: `inputs`, `messages[0]`.

    Raises:
        InvalidRequestError: Something in it has no honest JSON form; the message names its path and the fix.
    """
    try:
        return _plain(value, path, frozenset())
    except RecursionError:  # the caller's own calls are so deep already that not even _MAX_DEPTH is left
        raise _too_deep(path) from None


def flat(path: str, metadata: Any) -> dict[str, MetadataValue]:
    """A copy of the caller's metadata, which has to be flat.

    Raises:
        InvalidRequestError: It is not an object of scalars with non-empty names.
    """
    try:
        return _flat(path, mapping(path, metadata))
    except InvalidRequestError:
        raise
    except Exception as error:
        raise _unreadable(path, metadata, error) from error


def _flat(path: str, metadata: Mapping[Any, Any]) -> dict[str, MetadataValue]:
    flat: dict[str, MetadataValue] = {}
    for key, value in metadata.items():
        if not isinstance(key, str) or not str.__len__(key):
            raise refused(path, f"the key {key!r} is not allowed", "Keys are non-empty str.")
        name = _text(key, path)
        if isinstance(value, (str, int, float)) or value is None:
            flat[name] = plain(value, f"{path}.{name}")
            continue
        problem = f"{article(value)} is not allowed; metadata is flat: str, int, float, bool or None"
        raise refused(f"{path}.{name}", problem, "Pass several keys or a text; what the run works on goes to inputs.")
    return flat


def mapping(path: str, value: object) -> Mapping[Any, Any]:
    """The value itself, if it is a dict or the like.

    Raises:
        InvalidRequestError: It is something else.
    """
    if not isinstance(value, Mapping):
        raise refused(path, f"{article(value)} is not allowed", "Pass a dict.")
    return value  # pyright: ignore[reportUnknownVariableType]


def article(value: object) -> str:
    """The kind of a value as a message names it: `a list`, `an int`, `None`."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name.lower().startswith(tuple('aeiou')) else 'a'} {name}"


def number_or_kind(value: object) -> str:
    """A wrong number as a message shows it, and what is none by its kind: `-1`, `a str`."""
    return repr(value) if isinstance(value, (int, float)) else article(value)


def _plain(value: Any, path: str, outer: frozenset[int]) -> Any:
    # What most values are, first; their subclasses come to the same further down.
    kind = cast("type[object]", type(value))
    if kind is str:
        return value if value.isascii() else _text(value, path)
    if value is None or kind is bool:
        return value
    try:
        if kind is dict or kind is list:
            return _structure(value, path, outer)
        if isinstance(value, Enum):
            return _plain(value.value, path, outer)
        if isinstance(value, (str, int, float)):
            return _scalar(value, path)
        _refuse_unfit(value, path)
        return _structure(value, path, outer)
    except (InvalidRequestError, RecursionError):
        raise
    except Exception as error:  # a caller's object whose methods fail
        raise _unreadable(path, cast("object", value), error) from error


def _scalar(value: str | float, path: str) -> Any:
    # By the methods of these types themselves: a subclass may make something else of itself.
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, float):
        return _finite(float.__float__(value), path)
    if int.bit_length(value) > _MAX_INT_BITS:
        raise refused(path, "the number is too large", "Pass it as a str.")
    return int.__int__(value)


def _refuse_unfit(value: object, path: str) -> None:
    if isinstance(value, Decimal) and not value.is_finite():
        raise refused(path, f"{value} is not a number of JSON", "Pass a finite number or None.")
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise refused(path, "bytes are not JSON", "Decode them to str, or encode them with base64.")
    if _is_of_pydantic(value, "SecretStr", "SecretBytes"):
        raise refused(path, "a secret would be sent masked", "Pass value.get_secret_value() if you mean to send it.")


def _structure(value: Any, path: str, outer: frozenset[int]) -> Any:
    if id(value) in outer:
        raise refused(path, "it contains itself", "Pass a value without a cycle.")
    if len(outer) >= _MAX_DEPTH:
        raise _too_deep(path)
    outer |= {id(value)}
    if isinstance(value, Mapping):  # results of this SDK too: they are sent as they came
        return _object(value, path, outer)  # pyright: ignore[reportUnknownArgumentType]
    if _is_of_pydantic(value, "BaseModel"):
        return _model(value, path, outer)
    if isinstance(value, _SEQUENCES):
        items = cast("Iterable[Any]", value)
        return [_plain(item, f"{path}[{index}]", outer) for index, item in enumerate(items)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return _object({name: getattr(value, name) for name in names}, path, outer)
    return _leaf(value, path, outer)


def _object(value: Mapping[Any, Any], path: str, outer: frozenset[int]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        if type(key) is str and key.isascii():
            result[key] = _plain(item, f"{path}.{key}", outer)
            continue
        name = key.value if isinstance(key, Enum) else key
        if not isinstance(name, str):
            raise refused(path, f"the key {key!r} is {article(key)}", "Keys of JSON objects are str: use str(key).")
        name = _text(name, path)
        result[name] = _plain(item, f"{path}.{name}", outer)
    if len(result) < len(value):
        raise refused(path, "two of its keys are the same text", "Give each value a key of its own.")
    return result


def _too_deep(path: str) -> InvalidRequestError:
    return refused(path.partition(".")[0].partition("[")[0], "it is nested too deeply", "Pass a flatter value.")


def _unreadable(path: str, value: object, error: Exception) -> InvalidRequestError:
    return refused(path, f"{article(value)} cannot be read ({type(error).__name__})", "Pass plain values.")


def _is_of_pydantic(value: object, *names: str) -> bool:
    """Whether a value is of one of these classes; nothing is where pydantic is not loaded, and it is not for this."""
    if "pydantic" not in sys.modules:
        return False
    import pydantic  # which waits while another thread is loading it

    return isinstance(value, tuple(getattr(pydantic, name) for name in names))


def _model(value: BaseModel, path: str, outer: frozenset[int]) -> Any:
    import pydantic_core

    try:
        values = value.model_dump()
        _refuse_read_once(values, path)
        written = pydantic_core.from_json(value.model_dump_json(by_alias=True))
    except InvalidRequestError:
        raise
    except (ValueError, TypeError) as error:
        problem = f"{article(value)} cannot be written as JSON ({error})"
        raise refused(path, problem, "Pass plain values.") from error
    _refuse_lossy(values, written, path)
    return _plain(written, path, outer)


def _refuse_read_once(value: Any, path: str) -> None:
    """To write a model reads its iterators, which would be empty the next time."""
    if isinstance(value, Iterator):
        raise refused(path, "an iterator can be read only once", "Pass list(...) of it.")
    if isinstance(value, Mapping):
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            _refuse_read_once(item, f"{path}.{key}")
    elif isinstance(value, _SEQUENCES):
        for index, item in enumerate(cast("Iterable[Any]", value)):
            _refuse_read_once(item, f"{path}[{index}]")


def _refuse_lossy(value: Any, written: Any, path: str) -> None:
    """A model writes itself, by its own aliases and serializers; but it would write NaN as null, and secrets masked."""
    masked = _is_of_pydantic(value, "SecretStr", "SecretBytes") and written == str(value)
    if masked or isinstance(value, Decimal) or (isinstance(value, float) and written is None):
        _plain(value, path, frozenset())
    elif isinstance(value, Mapping) and isinstance(written, dict):
        pairs = zip(value.items(), written.values(), strict=False)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        for (key, item), one in pairs:  # pyright: ignore[reportUnknownVariableType]
            _refuse_lossy(item, one, f"{path}.{key}")
    elif isinstance(value, _SEQUENCES) and isinstance(written, list):
        items = zip(cast("Iterable[Any]", value), written, strict=False)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        for index, (item, one) in enumerate(items):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            _refuse_lossy(item, one, f"{path}[{index}]")


def _leaf(value: Any, path: str, outer: frozenset[int]) -> Any:
    import pydantic_core  # only for what JSON does not know itself

    if isinstance(value, Iterator):
        kind = article(cast("object", value))
        raise refused(path, f"{kind} can be read only once", "Pass list(...) of it.")
    try:
        written = pydantic_core.to_jsonable_python(value)
    except (ValueError, TypeError):
        hint = "Pass str, numbers, bool, None, lists, dicts, or what pydantic can write as JSON."
        raise refused(path, f"{article(value)} has no JSON form", hint) from None
    return _plain(written, path, outer)


def _text(value: str, path: str) -> str:
    try:
        if not str.isascii(value):
            str.encode(value)
    except UnicodeEncodeError:
        raise refused(
            path, "the text has half a surrogate pair in it", 'Clean it with text.encode("utf-8", "replace").decode().'
        ) from None
    return str.__str__(value)  # not str(): an enum that is a str has a text of its own, as any subclass may


def _finite(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise refused(path, f"{value} is not a number of JSON", "Pass a finite number or None.")
    return value


def refused(path: str, problem: str, hint: str) -> InvalidRequestError:
    """The error for a wrong argument: where, what, and how to mend it."""
    return InvalidRequestError(f"{path}: {problem}.", hint=hint)
