"""`fetch-hive verify`: is this body signed with this secret?"""

from __future__ import annotations

from typing import Annotated

import typer

from .arguments import Body, Json, Secrets, read_bytes, secrets_from
from .failures import ExitCode
from .terminal import one_line, say, say_json

__all__ = ["verify"]


def verify(
    body: Body,
    signature: Annotated[
        str, typer.Option("--signature", metavar="TEXT", help="The value of the header X-Fetch-Hive-Signature.")
    ],
    secret: Secrets = None,
    as_json: Json = False,
) -> None:
    """Check the signature of a callback.

    The exit code is 0 if it is valid, else 1. The body has to be the exact bytes that came; JSON that was parsed
    and written again has another signature.
    """
    raw = read_bytes(body, "--body")
    secrets = secrets_from(secret)
    from ..callbacks import SIGNATURE_HEADER, CallbackVerifier
    from ..errors import CallbackVerificationError

    verifier, headers = CallbackVerifier(secrets), {SIGNATURE_HEADER: signature}
    try:
        verifier.verify(raw, headers)
    except CallbackVerificationError as error:
        if as_json:
            say_json({"valid": False, "reason": error.reason, "message": error.message})
        else:
            say(f"not valid: {error.message} {error.hint}")
        raise typer.Exit(ExitCode.FAILED) from None
    try:
        event = verifier.unwrap(raw, headers)
        event_type, request_id = event.event_type, event.request_id
    except CallbackVerificationError:  # signed, but no JSON object
        event_type = request_id = ""
    if as_json:
        say_json({"valid": True, "event_type": event_type or None, "request_id": request_id or None})
    else:
        say(" ".join(["valid", *(one_line(word) for word in (event_type, request_id) if word)]))
