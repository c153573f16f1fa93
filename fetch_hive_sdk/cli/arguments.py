"""What is written on the command line, read: `key=value`, JSON, files, and where secrets come from."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from .terminal import can_ask

__all__ = [
    "ApiKey",
    "BaseUrl",
    "Body",
    "Json",
    "Secrets",
    "above_zero",
    "api_key_from",
    "check_filled",
    "check_url",
    "read_bytes",
    "read_inputs",
    "read_metadata",
    "read_text",
    "secrets_from",
]

Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, and nothing else.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        help="The API key. Better in FETCH_HIVE_API_KEY: others on this machine can read arguments.",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="The service's address. Default: FETCH_HIVE_BASE_URL, else live."),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option(
        "--secret",
        metavar="SECRET",
        help="The webhook secret; may be repeated. Better in FETCH_HIVE_WEBHOOK_SECRET. Asked for in a terminal.",
    ),
]
Body = Annotated[str, typer.Option("--body", metavar="FILE", help="The file with the exact body; - is standard input.")]

_SCALAR = re.compile(r'true|false|null|-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?|"(.*)"', re.DOTALL)


def above_zero(seconds: float | None) -> float | None:
    """A number of seconds as it was given.

    Raises:
        BadParameter: It is not above 0. A `min=` of the option would let nan pass with older versions of typer.
    """
    if seconds is not None and not seconds > 0:
        raise typer.BadParameter(f"{seconds:g} is not above 0.")
    return seconds


def api_key_from(option: str | None) -> str:
    """The API key: the option, else FETCH_HIVE_API_KEY, else asked for where somebody sits.

    Raises:
        ConfigurationError: There is none.
    """
    check_filled(option, "--api-key")
    key = option or os.environ.get("FETCH_HIVE_API_KEY") or _ask("API key")
    if key:
        return key
    from ..errors import ConfigurationError

    raise ConfigurationError(
        "No API key: FETCH_HIVE_API_KEY is not set.",
        hint="Create a key in the dashboard under API Keys and export it. To work without one, run "
        "`fetch-hive sandbox` and copy the lines it prints.",
    )


def secrets_from(option: Sequence[str] | None, *, hint: str = "") -> list[str]:
    """The webhook secrets: the options, else FETCH_HIVE_WEBHOOK_SECRET, else asked for where somebody sits.

    Args:
        option: What `--secret` was given.
        hint: What else can be done without one, for the error.

    Raises:
        ConfigurationError: There is none.
    """
    for secret in option or ():
        check_filled(secret, "--secret")
    found = list(option or ()) or [os.environ.get("FETCH_HIVE_WEBHOOK_SECRET") or _ask("Webhook secret")]
    if found != [""]:
        return found
    from ..errors import ConfigurationError

    raise ConfigurationError(
        "No webhook secret: FETCH_HIVE_WEBHOOK_SECRET is not set.",
        hint=f'Export the "Signing secret" from the deployment\'s page in the dashboard.{hint}',
    )


def check_filled(secret: str | None, option: str) -> None:
    """Hold that a key or secret that is given is one: `--api-key "$NOT_SET"` is a mistake, and not "none".

    Raises:
        typer.BadParameter: It is blank.
    """
    if secret is not None and not secret.strip():
        raise _wrong(option, "it is empty.")


def check_url(url: str, option: str) -> None:
    """Hold that something can be posted to a URL.

    Raises:
        typer.BadParameter: It is no absolute http or https URL.
    """
    from ..urls import absolute_url

    try:
        known = absolute_url(url).scheme in ("http", "https")
    except ValueError as error:
        raise _wrong(option, f"{error}.") from None
    if not known:
        raise _wrong(option, "this is no http or https URL.")


def _ask(what: str) -> str:
    return cast("str", typer.prompt(what, hide_input=True, err=True)) if can_ask() else ""


def read_bytes(file: str, option: str) -> bytes:
    """The bytes of a file, or of standard input for `-`.

    Raises:
        typer.BadParameter: It cannot be read.
    """
    if file == "-" and sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise _wrong(option, "standard input is closed.")
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise _wrong(option, f"{file} cannot be read: {error.strerror}.") from None


def read_text(file: str, option: str) -> str:
    """The text of a file in UTF-8, or of standard input for `-`.

    Raises:
        typer.BadParameter: It cannot be read, or is no UTF-8.
    """
    try:
        return read_bytes(file, option).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _wrong(option, f"{file} is not text in UTF-8.") from None


def read_inputs(texts: Sequence[str] | None, values: Sequence[str] | None, file: str | None) -> dict[str, Any] | None:
    """The inputs of a run: those of the file, and over them the single ones.

    Args:
        texts: `key=text` of `--input`.
        values: `key=JSON` or `key=@file` of `--input-json`.
        file: The file of `--inputs-file`, with a JSON object in it.

    Returns:
        The inputs; None if none were given.

    Raises:
        typer.BadParameter: Something in them cannot be read.
    """
    inputs: dict[str, Any] = {}
    if file is not None:
        whole = _parse_json(read_text(file, "--inputs-file"), "--inputs-file", file)
        if not isinstance(whole, dict):
            raise _wrong("--inputs-file", f"{file} holds no JSON object.")
        inputs = cast("dict[str, Any]", whole)
    single = _pairs(texts, "--input", lambda _, text: text)
    for key, value in _pairs(values, "--input-json", _json_value).items():
        if key in single:
            raise _wrong("--input-json", f"{key} is given by --input too.")
        single[key] = value
    return {**inputs, **single} or None


def read_metadata(pairs: Sequence[str] | None) -> dict[str, Any] | None:
    """The metadata of a run: `true`, `false`, `null`, numbers and `"quoted text"` as in JSON, all else as text.

    Raises:
        typer.BadParameter: One is no `key=value`.
    """
    return _pairs(pairs, "--metadata", lambda _, text: _scalar(text)) or None


def _scalar(text: str) -> str | int | float | bool | None:
    if not _SCALAR.fullmatch(text):
        return text
    try:
        return cast("str | int | float | bool | None", json.loads(text))
    except ValueError:  # a quote that is no end of a JSON text, or more digits than Python reads
        return text


def _json_value(key: str, text: str) -> Any:
    if text.startswith("@"):
        return _parse_json(read_text(text[1:], "--input-json"), "--input-json", text[1:])
    return _parse_json(text, "--input-json", key)


def _pairs(pairs: Sequence[str] | None, option: str, read: Callable[[str, str], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise _wrong(option, f"{pair!r} is not key=value.")
        if key in found:
            raise _wrong(option, f"{key} is given twice.")
        found[key] = read(key, value)
    return found


def _parse_json(text: str, option: str, where: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise _wrong(option, f"{where} is nested too deeply.") from None
    except ValueError as error:
        hint = " Pass plain text with --input." if option == "--input-json" else ""
        raise _wrong(option, f"{where} is not JSON: {error}.{hint}") from None


def _wrong(option: str, problem: str) -> typer.BadParameter:
    return typer.BadParameter(problem, param_hint=option)
