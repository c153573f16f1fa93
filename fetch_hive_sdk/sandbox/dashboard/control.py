"""The sandbox's control by HTTP, in JSON: what the pages show and their buttons do, for programs.

    GET  /sandbox/runs                          {"runs": […], "next": the `before` of the next page, or null}
    GET  /sandbox/runs/{request_id}             {"run": …}
    POST /sandbox/runs/{request_id}/choice      {"choice": …}
    POST /sandbox/runs/{request_id}/cancel
    POST /sandbox/approvals/{approval_id}       {"decision": "allow_once" | "deny"}
    POST /sandbox/callbacks/{callback_id}/redeliver
    POST /sandbox/faults                        a fault's fields, or {"fault": …}; with "times", "kind", "name"
    POST /sandbox/reset

It takes the key of the API. Errors have the service's form. Webhook secrets in replies are masked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast, get_args

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..checks import read_object
from ..engine import Engine
from ..faults import fault_of
from ..refusals import Refusal, error_body
from ..runs import Kind, Reply, Run
from ..wire import json_bytes
from .bodies import body_bytes, masked
from .filters import LogQuery
from .words import duration

__all__ = ["Control", "run_json"]

MAX_BODY = 16 * 1024 * 1024
MAX_RUNS = 500
KINDS: tuple[Kind, ...] = get_args(Kind)

Object = Mapping[str, Any]


class Control:
    """The control API of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[BaseRoute]:
        """Its routes."""
        return [
            Route("/sandbox/runs", self._endpoint(self._runs), methods=["GET"]),
            Route("/sandbox/runs/{request_id}", self._endpoint(self._run), methods=["GET"]),
            Route("/sandbox/runs/{request_id}/choice", self._endpoint(self._choose), methods=["POST"]),
            Route("/sandbox/runs/{request_id}/cancel", self._endpoint(self._cancel), methods=["POST"]),
            Route("/sandbox/approvals/{approval_id}", self._endpoint(self._decide), methods=["POST"]),
            Route("/sandbox/callbacks/{callback_id}/redeliver", self._endpoint(self._redeliver), methods=["POST"]),
            Route("/sandbox/faults", self._endpoint(self._fail), methods=["POST"]),
            Route("/sandbox/reset", self._endpoint(self._reset), methods=["POST"]),
        ]

    def _endpoint(self, act: Callable[[Request, Object], Object]) -> Callable[[Request], Any]:
        def answer(request: Request, body: bytes | None) -> Response:
            try:
                self._engine.authorize(request.headers)
                return _json(200, act(request, _object(body)))
            except Refusal as refusal:
                status = refusal.status or self._engine.choices.validation_status
                said = refusal.body or error_body(
                    refusal.text, refusal.code, error_only=self._engine.choices.error_only
                )
                return _json(status, said)

        async def endpoint(request: Request) -> Response:
            body: bytes | None = b""
            async for chunk in request.stream():
                body = body + chunk if body is not None and len(body) + len(chunk) <= MAX_BODY else None
            return await run_in_threadpool(answer, request, body)

        return endpoint

    def _runs(self, request: Request, body: Object) -> Object:
        query = LogQuery.read(request.query_params.multi_items())
        kinds = request.query_params.getlist("kind")
        limit = request.query_params.get("limit", "50")
        problems = [*query.problems, *(f"{kind!r} is no kind of run" for kind in kinds if kind not in KINDS)]
        if not limit.isascii() or not limit.isdigit() or not 1 <= len(limit) <= 3 or not 1 <= int(limit) <= MAX_RUNS:
            problems.append(f"limit must be a number from 1 to {MAX_RUNS}")
        if problems:
            raise Refusal("; ".join(problems))
        wanted = query.filter(tuple(cast("list[Kind]", kinds)), now=self._engine.clock())
        runs = self._engine.store.runs(wanted, newest_first=True, limit=int(limit) + 1, before=query.before or None)
        page = runs[: int(limit)]
        return {
            "runs": [run_json(run) for run in page],
            "next": page[-1].request_id if len(runs) > len(page) else None,
        }

    def _run(self, request: Request, body: Object) -> Object:
        run = self._engine.store.get(request.path_params["request_id"])
        if run is None:
            raise Refusal("Request not found", status=404, code=None)
        return {"run": run_json(run)}

    def _choose(self, request: Request, body: Object) -> Object:
        return {
            "run": run_json(self._engine.choose(request.path_params["request_id"], _text(body, "choice"), via="api"))
        }

    def _cancel(self, request: Request, body: Object) -> Object:
        return {"run": run_json(self._engine.cancel(request.path_params["request_id"]))}

    def _decide(self, request: Request, body: Object) -> Object:
        decision = cast("Any", _text(body, "decision"))
        approval = self._engine.decide(request.path_params["approval_id"], decision, via="api")
        return {"approval": _plain(approval)}

    def _redeliver(self, request: Request, body: Object) -> Object:
        return {"callback": _plain(self._engine.redeliver(request.path_params["callback_id"]))}

    def _fail(self, request: Request, body: Object) -> Object:
        times, kind, name = body.get("times", 1), body.get("kind"), body.get("name")
        if isinstance(times, bool) or not isinstance(times, int) or times < 1:
            raise Refusal("times must be a number above 0")
        if kind is not None and kind not in KINDS:
            raise Refusal(f"kind must be one of: {', '.join(KINDS)}")
        if name is not None and not isinstance(name, str):
            raise Refusal("name must be a string")
        fields = {key: value for key, value in body.items() if key not in ("times", "kind", "name")}
        if "fault" in fields and len(fields) > 1:
            raise Refusal("Send the fault under fault, or its fields beside times, kind and name, not both")
        try:
            fault = fault_of(fields.get("fault", fields))
        except (ValueError, TypeError) as error:
            raise Refusal(str(error)) from None
        self._engine.faults.add(fault, times=times, kind=kind, name=name)
        return {"times": times}

    def _reset(self, request: Request, body: Object) -> Object:
        self._engine.reset()
        return {"reset": True}


def _object(body: bytes | None) -> Object:
    if body is None:
        raise Refusal(f"The request body is larger than {MAX_BODY} bytes", status=413, code=None)
    return read_object(body) if body else {}


def _text(body: Object, key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise Refusal(f"{key} must be a string")
    return value


def _json(status: int, body: Object) -> Response:
    headers = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    return Response(json_bytes(body), status, {**headers, "X-Content-Type-Options": "nosniff"})


def run_json(run: Run) -> dict[str, Any]:
    """All that is remembered of a run, as JSON."""
    return {**_plain(run), "duration": duration(run)}


def _plain(value: Any) -> Any:
    if isinstance(value, Reply):
        return {
            "status": value.status,
            "headers": dict(value.headers),
            "body": masked(body_bytes(value).decode("utf-8", "backslashreplace")),
        }
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in cast("Object", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value.isoformat() if isinstance(value, datetime) else value
