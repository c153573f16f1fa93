"""`fetch-hive send-callback`: exactly this body, signed, to this URL."""

from __future__ import annotations

import base64
import time
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import Body, Json, Secrets, above_zero, check_url, read_bytes, secrets_from
from .failures import ExitCode
from .terminal import one_line, say, say_json, seconds, shown, waiting, without_password

if TYPE_CHECKING:
    import httpx

__all__ = ["Encoding", "send_callback"]


class Encoding(str, Enum):
    """How a signature is written down."""

    HEX = "hex"
    PREFIXED_HEX = "sha256=hex"
    BASE64 = "base64"


def send_callback(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Where to post it.")],
    body: Body,
    secret: Secrets = None,
    signature: Annotated[Encoding, typer.Option("--signature", help="How to write the signature down.")] = Encoding.HEX,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", callback=above_zero, help="Seconds to wait for the answer.")
    ] = 30,
    as_json: Json = False,
) -> None:
    """Post exactly this body, signed, to a URL.

    The exit code is 0 if the answer is 2xx, else 1. Fetch Hive signs with one secret: of several, the first is used.
    """
    check_url(to, "--to")
    raw = read_bytes(body, "--body")
    secrets = secrets_from(secret)
    from ..callbacks import SIGNATURE_HEADER, CallbackVerifier
    from ..http import USER_AGENT

    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        SIGNATURE_HEADER: _written(CallbackVerifier(secrets).sign(raw), signature),
    }
    started = time.monotonic()
    with waiting(f"Waiting for {without_password(to)}"):
        response = _post(to, raw, headers, timeout)
    took = time.monotonic() - started
    if as_json:
        say_json({"status_code": response.status_code, "duration": round(took, 6), "body": response.text})
    else:
        say(f"{response.status_code} {one_line(response.reason_phrase)}".rstrip() + f" in {seconds(took)}")
        if response.text:
            say(shown(response.text.rstrip("\n")))
    if not response.is_success:
        raise typer.Exit(ExitCode.FAILED)


def _written(signature: str, encoding: Encoding) -> str:
    if encoding is Encoding.BASE64:
        return base64.b64encode(bytes.fromhex(signature)).decode()
    return f"sha256={signature}" if encoding is Encoding.PREFIXED_HEX else signature


def _post(url: str, body: bytes, headers: dict[str, str], timeout: float) -> httpx.Response:
    import httpx

    from ..errors import APIConnectionError, APITimeoutError
    from .forwarding import client_options

    shown_url = without_password(url)
    try:
        with httpx.Client(**client_options(url), timeout=timeout) as client:
            return client.post(url, content=body, headers=headers)
    except httpx.TimeoutException:
        raise APITimeoutError(f"{shown_url} did not answer within {timeout:g} s.", hint="It may have got it.") from None
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise APIConnectionError(f"{shown_url} gave no answer ({error}).", hint="Check that it is running.") from None
