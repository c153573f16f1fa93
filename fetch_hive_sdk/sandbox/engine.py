"""The sandbox's engine: HTTP requests in, HTTP replies out, and a record of every run. It does no I/O."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import Any, Literal

from .answers import Answer, count_usage
from .checks import check, read_object
from .choices import Choices
from .deployments import Deployments
from .refusals import Refusal, error_body
from .replies import agent_body, events, prompt_body, workflow_body
from .runs import Callback, CallbackAttempt, Kind, Reply, Run
from .signing import derive_secret, sign_workflow_end
from .wire import DONE, frame, json_bytes, json_text

__all__ = ["Engine"]

PATHS: dict[str, Kind] = {
    "/v1/prompt/invoke": "prompt",
    "/v1/invoke": "prompt",  # its name until 2026
    "/v1/workflow/invoke": "workflow",
    "/v1/agent/invoke": "agent",
}


class Engine:
    """Answers as Fetch Hive does, without a model. Safe to use from several threads at once.

    Args:
        api_key: The one key accepted; None accepts any that is not empty.
        lenient: Accept a missing variant, and add the OpenAPI description's keys `status` and `run_id` to
            replies of workflows.
        choices: What to do where the documentation is silent.
        clock: Tells the time, with a time zone.
        new_request_id: Makes a new request id each time.
    """

    def __init__(
        self,
        *,
        api_key: str | None,
        lenient: bool,
        choices: Choices,
        clock: Callable[[], datetime],
        new_request_id: Callable[[], str],
    ) -> None:
        self.choices = choices
        self.clock = clock
        self.deployments = Deployments()
        self._api_key = api_key
        self._lenient = lenient
        self._new_request_id = new_request_id
        self._seed = secrets.token_bytes(32)
        self._secrets: dict[str, str] = {}
        self._runs: dict[str, Run] = {}
        self._lock = Lock()

    @property
    def runs(self) -> list[Run]:
        """Every run since the last reset, oldest first."""
        with self._lock:
            return list(self._runs.values())

    def reset(self) -> None:
        """Forget all runs and their callbacks. Deployments and their secrets stay."""
        with self._lock:
            self._runs.clear()

    def secret(self, deployment: str) -> str:
        """The webhook secret of a workflow deployment."""
        return self._secrets.get(deployment) or derive_secret(self._seed, deployment)

    def set_secret(self, deployment: str, secret: str) -> None:
        """Give a workflow deployment a webhook secret of your own."""
        self._secrets[deployment] = secret

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer one request.

        If the reply has `unfinished`, the run goes on: call `finish` with it once the reply is made.

        Args:
            method: HTTP method.
            path: The path, with its query string if there is one.
            headers: The request's headers; their case does not matter.
            body: The request's body.
        """
        try:
            kind = _route(method, path)
            self._authorize(headers)
            request = read_object(body)
            check(kind, request, lenient=self._lenient, choices=self.choices)
        except Refusal as refusal:
            status = refusal.status or self.choices.validation_status
            return self._error(status, refusal.text, refusal.code, allow=refusal.allow)
        return self._invoke(kind, request)

    def finish(self, request_id: str) -> Callback | None:
        """Let a run that was left unfinished go on to its end.

        Returns:
            The callback that tells of the end; None if the run has been forgotten by `reset`.
        """
        with self._lock:
            run = self._runs.get(request_id)
        if run is None:
            return None
        answer = self._answer(run)
        secret = self.secret(run.deployment or "")
        callback = sign_workflow_end(run, answer, secret=secret, choices=self.choices)
        return callback if self._end(run, answer, callbacks=(callback,)) else None

    def record_attempt(self, callback: Callback, attempt: CallbackAttempt) -> None:
        """Remember with its run what became of an attempt to deliver a callback."""
        with self._lock:
            run = self._runs.get(callback.request_id)
            if run is not None:
                callbacks = tuple(
                    replace(known, attempts=(*known.attempts, attempt)) if known.body == callback.body else known
                    for known in run.callbacks
                )
                self._runs[run.request_id] = replace(run, callbacks=callbacks)

    def _authorize(self, headers: Mapping[str, str]) -> None:
        given = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
        scheme, _, key = given.partition(" ")
        key = key.strip()
        accepted = key if self._api_key is None else self._api_key
        if scheme.lower() != "bearer" or not key or not hmac.compare_digest(key.encode(), accepted.encode()):
            raise Refusal("Invalid access.", status=401)

    def _invoke(self, kind: Kind, request: dict[str, Any]) -> Reply:
        run = Run(
            kind=kind,
            request_id=self._new_request_id(),
            deployment=None if kind == "agent" else request["deployment"],
            variant=None if kind == "agent" else request.get("variant") or None,
            agent=request["agent"] if kind == "agent" else None,
            inputs=request.get("inputs") or {},
            message=request["message"] if kind == "agent" else None,
            metadata=request.get("metadata") or {},
            user=request.get("user"),
            request=request,
            started_at=self.clock(),
        )
        delivery: dict[str, Any] = request.get("async") or {}
        if kind == "workflow" and delivery.get("enabled"):
            return self._accept(run)
        with self._lock:
            self._runs[run.request_id] = run
        answer = self._answer(run)
        reply = self._reply(run, answer)
        self._end(run, answer, reply=reply)
        return reply

    def _accept(self, run: Run) -> Reply:
        secret = self.secret(run.deployment or "")
        body = workflow_body(run, "running", lenient=self._lenient, webhook_secret=secret)
        reply = _json_reply(self.choices.callback_status, body, unfinished=run.request_id)
        with self._lock:
            self._runs[run.request_id] = replace(run, reply=reply)
        return reply

    def _answer(self, run: Run) -> Answer:
        # The lock is not held here: a reply may be slow, or use the sandbox itself.
        answer = self.deployments.answer(run)
        if answer.usage is not None:
            return answer
        sent = run.message or json_text(run.inputs)
        seconds = (self.clock() - run.started_at).total_seconds()
        return replace(answer, usage=count_usage(sent, answer, seconds=seconds))

    def _end(self, run: Run, answer: Answer, **more: Any) -> bool:
        """Record how a run ended. False if it was forgotten meanwhile."""
        status: Literal["completed", "failed"] = "completed" if answer.error is None else "failed"
        with self._lock:
            if run.request_id not in self._runs:
                return False
            ended = replace(run, status=status, answer=answer, ended_at=self.clock(), **more)
            self._runs[run.request_id] = ended
            return True

    def _reply(self, run: Run, answer: Answer) -> Reply:
        if run.kind == "workflow":
            return self._workflow_reply(run, answer)
        if run.request.get("streaming"):
            return self._stream(run, answer)
        if answer.error is not None:
            return self._error(502, answer.error, answer.error_code)
        return _json_reply(200, agent_body(run, answer) if run.kind == "agent" else prompt_body(run, answer))

    def _workflow_reply(self, run: Run, answer: Answer) -> Reply:
        if answer.error is None:
            return _json_reply(200, workflow_body(run, "completed", lenient=self._lenient, output=answer.text))
        if self.choices.failed_workflow == "state":
            return _json_reply(200, workflow_body(run, "failed", lenient=self._lenient, error=answer.error))
        return self._error(self.choices.failed_workflow_status, answer.error, answer.error_code)

    def _stream(self, run: Run, answer: Answer) -> Reply:
        frames = [frame(event) for event in events(run, answer, self.choices)]
        if answer.error is None or self.choices.done_after_error:
            frames.append(DONE)
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        return Reply(status=200, headers=headers, body=tuple(frames))

    def _error(self, status: int, text: str, code: str | None, *, allow: str | None = None) -> Reply:
        reply = _json_reply(status, error_body(text, code, error_only=self.choices.error_only))
        return replace(reply, headers={**reply.headers, "Allow": allow}) if allow else reply


def _route(method: str, path: str) -> Kind:
    kind = PATHS.get(path.partition("?")[0])
    if kind is None:
        raise Refusal("Not found", status=404, code=None)
    if method.upper() != "POST":
        raise Refusal("Method not allowed", status=405, code=None, allow="POST")
    return kind


def _json_reply(status: int, body: Mapping[str, Any], *, unfinished: str | None = None) -> Reply:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return Reply(status=status, headers=headers, body=json_bytes(body), unfinished=unfinished)
