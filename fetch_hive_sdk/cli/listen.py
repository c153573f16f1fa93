"""`fetch-hive listen`: receive callbacks on this machine, check them, show them, post them on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .arguments import Json, Secrets, check_url, secrets_from
from .serving import Host, Inbox, cannot_listen, ending_in_order
from .terminal import clock_time, note, one_line, say, say_json, seconds, styled, without_password

if TYPE_CHECKING:
    from .receiver import Received

__all__ = ["listen"]


def listen(
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="The port; 0 takes one that is free.")
    ] = 8788,
    secret: Secrets = None,
    skip_verify: Annotated[
        bool, typer.Option("--skip-verify", help="Take every callback, whoever signed it, or nobody.")
    ] = False,
    forward_to: Annotated[
        str | None,
        typer.Option("--forward-to", metavar="URL", help="Post each valid callback on to this URL, byte for byte."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Receive callbacks, check them, and pass them on.

    Every path is listened on. A valid callback is answered with 204, or with what your app answers; one that is
    not with 400. Ctrl-C ends it.
    """
    if forward_to is not None:
        check_url(forward_to, "--forward-to")
    secrets = [] if skip_verify else secrets_from(secret, hint=" Or pass --skip-verify.")
    from ..callbacks import CallbackVerifier
    from ..sandbox.addresses import is_loopback

    try:
        from .receiver import Receiver
    except ImportError as missing:
        raise ImportError("fetch-hive listen needs: pip install 'fetch-hive-sdk[sandbox]'") from missing

    verifier = CallbackVerifier(secrets) if secrets else None
    inbox: Inbox[Received] = Inbox()
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise cannot_listen(error, host, port) from None
    with (
        listener,
        Receiver(listener, verifier=verifier, forward_to=forward_to, report=inbox.put),
        ending_in_order(inbox),
    ):
        if not is_loopback(host):
            note(f"Warning: It listens on {host or 'all addresses'}: others on the network can reach it")
        address = f"[{host}]" if ":" in host else host
        _say_ready(
            f"http://{address}:{listener.getsockname()[1]}/", forward_to, verified=not skip_verify, as_json=as_json
        )
        for received in inbox:
            _say_received(received, as_json=as_json)


def _say_ready(url: str, forward_to: str | None, *, verified: bool, as_json: bool) -> None:
    if not verified:
        note("Signatures are not checked.")
    if as_json:
        say_json(
            {
                "event": "ready",
                "url": url,
                "forward_to": forward_to and without_password(forward_to),
                "verified": verified,
            }
        )
        return
    say(f"Listening on {url} for callbacks. Ctrl-C ends it.")
    if forward_to is not None:
        say(f"Forwarding to {without_password(forward_to)}")


def _say_received(received: Received, *, as_json: bool) -> None:
    if as_json:
        say_json(_as_json(received))
        return
    for line in _lines(received):
        say(line)


def _lines(received: Received) -> Iterator[str]:
    head = f"{clock_time(received.at)}  {received.method} {one_line(received.path)}"
    if received.refusal:
        yield f"{head}  {styled('refused', 'red')}: {one_line(received.refusal)}"
    else:
        event = received.event
        words = (event.event_type, event.request_id) if event else ("(no JSON object)",)
        yield "  ".join([head, *(one_line(word) for word in words if word)])
        told = _told(received)
        if told:
            yield f"          {told}"
    if (forwarded := received.forwarded) is not None:
        outcome = forwarded.error or str(forwarded.status_code)
        where = one_line(without_password(forwarded.url))
        yield f"          --> {where}  {one_line(outcome)} in {seconds(forwarded.duration)}"
    color = "green" if received.status_code < 300 else "red"
    yield f"          <-- {styled(str(received.status_code), color)}"


def _told(received: Received) -> str:
    """What the event is about: the answer, or the error."""
    from ..answers import as_text

    data = received.event.data if received.event else {}
    told = next((name for name in ("output", "response", "result", "error") if data.get(name) is not None), None)
    return f"{told}: {one_line(as_text(data[told]))}" if told else ""


def _as_json(received: Received) -> dict[str, Any]:
    forwarded = received.forwarded
    return {
        "event": "callback",
        "at": received.at.isoformat(),
        "method": received.method,
        "path": received.path,
        "accepted": not received.refusal,
        "refusal": received.refusal or None,
        "reason": received.reason or None,
        "event_type": received.event.event_type if received.event else None,
        "request_id": received.event.request_id if received.event else None,
        "body": received.event.to_dict() if received.event else received.body.decode("utf-8", "replace"),
        "status_code": received.status_code,
        "forwarded": None
        if forwarded is None
        else {
            "url": without_password(forwarded.url),
            "status_code": forwarded.response.status_code if forwarded.response is not None else None,
            "error": forwarded.error or None,
            "duration": round(forwarded.duration, 6),
        },
    }
