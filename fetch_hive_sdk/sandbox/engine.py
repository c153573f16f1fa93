"""The sandbox's engine: HTTP requests in, HTTP replies out, and a record of every run. It contacts nobody."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode

from ..errors import ConfigurationError
from .answers import Answer
from .catalog import daily_limit_body, error_catalog
from .changes import Change, Listeners
from .checks import auto_approve_refused, check, check_inputs, check_trigger, read_object
from .choices import Choices
from .chunks import Chunk, Pause
from .deployments import Deployments
from .faults import FAULT_HEADER, Fault, Faults, fault_of
from .ids import WORKSPACE_ID, new_uuid, request_id_of_uuid
from .lifecycle import Lifecycle, Via, Wait, no_wait
from .refusals import Refusal, error_body
from .replies import (
    agent_body,
    approval_body,
    delegation_body,
    events,
    hive_agent_body,
    prompt_body,
    request_body,
    workflow_body,
    workflow_run_body,
)
from .resources import Call, Desk, Handler
from .routes import Route, route
from .runs import Approval, Callback, HttpRequest, Kind, Refused, Reply, Run, with_changes
from .signing import derive_secret
from .store import Store
from .wire import DONE, checked_bytes, frame, json_bytes

__all__ = ["ORIGIN", "PLANS", "Engine", "Plan"]

Plan = Literal["lite", "starter", "pro"]
PLANS: dict[Plan, int] = {"lite": 1, "starter": 3, "pro": 5}

ORIGIN = "http://sandbox.test"
TRIGGER_SECRET_HEADER = "x-fetch-hive-webhook-secret"  # noqa: S105 - its name
APPROVALS_PER_PAGE = 25
REFUSED_BODY = 64 * 1024  # bytes that are kept of a refused request's body
_KEPT_HEADERS = {"content-type": "Content-Type", "accept": "Accept", "user-agent": "User-Agent"}
_NAME_KEYS: dict[Kind, str] = {
    "prompt": "deployment",
    "workflow": "deployment",
    "agent": "agent",
    "hive_agent": "hive_agent",
}
_SEED = "webhook secrets"

# To copy these takes a fraction of the time that the constructors of frozen dataclasses do.
_HTTP = HttpRequest(method="GET", path="/")
_RUN = Run(kind="prompt", request_id="", request={}, started_at=datetime.min)
_REPLY = Reply(status=200, headers={}, body=b"")
_JSON = {"Content-Type": "application/json; charset=utf-8"}


class Engine:
    """Answers as Fetch Hive does, without a model. Safe to use from several threads at once.

    Args:
        store: Where runs are remembered.
        api_key: The one key accepted; None accepts any that is not empty.
        lenient: Accept a missing variant, and add the OpenAPI description's keys `status` and `run_id` to
            replies of workflows.
        strict: Refuse deployments and agents that are neither registered nor made over the API.
        plan: Whose limit of workflows at once holds; None: no limit.
        daily_limit: Calls allowed on a day in UTC; None: any number.
        may_auto_approve: Whether the key may say `tool_approval: "auto_approve"`.
        choices: What to do where the documentation is silent.
        clock: Tells the time, with a time zone.
        new_request_id: Makes a new request id each time.

    Attributes:
        desk: What handlers of resources work with.
        origin: Scheme and host it is reached at, for links in replies: while a server runs the server's, else
            a host that no network knows.
    """

    def __init__(
        self,
        store: Store,
        *,
        api_key: str | None,
        lenient: bool,
        strict: bool,
        plan: Plan | None,
        daily_limit: int | None,
        may_auto_approve: bool,
        choices: Choices,
        clock: Callable[[], datetime],
        new_request_id: Callable[[], str],
    ) -> None:
        self.store = store
        self.choices = choices
        self.clock = clock
        self.deployments = Deployments()
        self.faults = Faults()
        self.api_key = api_key
        self._lenient = lenient
        self._strict = strict
        self._daily_limit = daily_limit
        self._may_auto_approve = may_auto_approve
        self._new_request_id = new_request_id
        self._secrets: dict[tuple[Kind, str], str] = {}
        with store.transaction():
            seed = store.value(_SEED)
            if seed is None:
                seed = secrets.token_bytes(32)
                store.set_value(_SEED, seed)
        self._seed = seed
        self._listeners = Listeners()
        self.subscribe = self._listeners.subscribe
        self.tell = self._listeners.tell
        self.lifecycle = Lifecycle(
            store,
            self.deployments,
            choices=choices,
            clock=clock,
            new_request_id=new_request_id,
            secret=self.secret,
            tell=self.tell,
            places=PLANS[plan] if plan else None,
        )
        self.origin = ORIGIN
        self.desk = Desk(
            objects=store.objects,
            store=store,
            choices=choices,
            clock=clock,
            new_id=new_uuid,
            strict=strict,
            origin=lambda: self.origin,
        )

    @property
    def runs(self) -> list[Run]:
        """Every run since the last reset, oldest first."""
        return self.store.runs()

    def run(self, request_id: str) -> Run | None:
        """A run as it is now; None if there is none with this id."""
        return self.store.get(request_id)

    def reset(self) -> None:
        """Forget all but the deployments and secrets; see `Sandbox.reset`."""
        self.faults.clear()
        self.lifecycle.forget()

    def secret(self, kind: Kind, name: str) -> str:
        """The webhook secret of a workflow deployment, an agent or a hive agent."""
        return self._secrets.get((kind, name)) or derive_secret(self._seed, kind, name)

    def set_secret(self, kind: Kind, name: str, secret: str) -> None:
        """Give a deployment or agent a webhook secret of your own."""
        self._secrets[kind, name] = secret

    def authorize(self, headers: Mapping[str, str]) -> None:
        """Let a request with an accepted API key pass.

        Raises:
            Refusal: 401: the key is missing or wrong.
        """
        self._authorize(_by_lower_name(headers))

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, wait: Wait = no_wait) -> Reply:
        """Answer one request.

        If the reply has `unfinished`, the run goes on: call `release` with it once the reply is sent.

        Args:
            method: HTTP method.
            path: The path as it was sent, with its query string if there is one.
            headers: The request's headers; their case does not matter.
            body: The request's body.
            wait: Lets the seconds pass that a run is to take. Default: none pass.
        """
        path, _, query = path.partition("?")
        parameters = _parameters(query) if query else {}
        headers = _by_lower_name(headers)
        http = with_changes(
            _HTTP,
            method=method,
            path=_shown_path(path, parameters),
            headers={shown: headers[name] for name, shown in _KEPT_HEADERS.items() if headers.get(name)},
            body=body if len(body) <= self.choices.max_body else b"",
        )
        try:
            self._check_size(body)
            found = route(method, path)
            if found.endpoint == "invoke":
                return self._invoke(found.kind or "prompt", http, headers, wait)
            if found.endpoint == "trigger":
                return self._trigger(found, http, headers, parameters, wait)
            return self._other(found, http, headers, parameters)
        except Refusal as refusal:
            return self._refuse(refusal, http)

    def release(self, request_id: str) -> None:
        """The reply to a run's request is sent: the run goes on."""
        self.lifecycle.release(request_id)

    def settle(self) -> None:
        """Where no server runs: do in this thread all that can go on now."""
        self.lifecycle.settle()

    def choose(self, request_id: str, choice: str, *, via: Via = "api") -> Run:
        """Answer the question that a run waits with; see `Lifecycle.choose`."""
        return self.lifecycle.choose(request_id, choice, via=via)

    def decide(self, approval_id: str, decision: str, *, via: Via) -> Approval:
        """Allow or deny a tool call; see `Lifecycle.decide`."""
        return self.lifecycle.decide(approval_id, decision, via=via)

    def cancel(self, request_id: str) -> Run:
        """End a run; see `Lifecycle.cancel`."""
        return self.lifecycle.cancel(request_id)

    def redeliver(self, callback_id: str) -> Callback:
        """Have a callback delivered once more; see `Lifecycle.redeliver`."""
        return self.lifecycle.redeliver(callback_id)

    # --- invokes and triggers ---------------------------------------------------------------------

    def _invoke(self, kind: Kind, http: HttpRequest, headers: Mapping[str, str], wait: Wait) -> Reply:
        self._enter(headers, counts=True)
        request = read_object(http.body)
        check(kind, request, lenient=self._lenient, choices=self.choices)
        if request.get("tool_approval") == "auto_approve" and not self._may_auto_approve:
            raise auto_approve_refused()
        name = str(request[_NAME_KEYS[kind]])
        run = self._new_run(kind, name, request.get("variant") or None, request, http)
        delivery: dict[str, Any] = request.get("async") or {}
        deferred = kind == "hive_agent" or (kind == "workflow" and bool(delivery.get("enabled")))
        return self._start(run, headers, wait, deferred=deferred)

    def _trigger(
        self, found: Route, http: HttpRequest, headers: Mapping[str, str], parameters: Mapping[str, str], wait: Wait
    ) -> Reply:
        kind = found.kind or "workflow"
        name, *variant = found.values
        given = headers.get(TRIGGER_SECRET_HEADER) or parameters.get("secret", "")
        if not hmac.compare_digest(given.encode(), self.secret(kind, name).encode()):
            raise Refusal("Invalid access.", status=self.choices.trigger_secret_status)
        request = check_trigger(kind, read_object(http.body), self.choices)
        run = self._new_run(kind, name, variant[0] if variant else None, request, http)
        return self._start(with_changes(run, trigger="webhook"), headers, wait, deferred=True)

    def _new_run(self, kind: Kind, name: str, variant: str | None, request: dict[str, Any], http: HttpRequest) -> Run:
        by_agent = kind in ("agent", "hive_agent")
        return with_changes(
            _RUN,
            kind=kind,
            request_id=self._new_request_id(),
            deployment=None if by_agent else name,
            variant=None if by_agent else variant,
            agent=name if by_agent else None,
            inputs=request.get("inputs") or {},
            message=request["objective" if kind == "hive_agent" else "message"] if by_agent else None,
            thread_id=request.get("thread_id") or None,
            metadata=request.get("metadata") or {},
            user=request.get("user"),
            request=request,
            http=http,
            started_at=self.clock(),
        )

    def _start(self, run: Run, headers: Mapping[str, str], wait: Wait, *, deferred: bool) -> Reply:
        self._check_deployment(run, deferred=deferred)
        fault = self._fault(headers, run.kind, run.name)
        if fault is None:
            return self._run(run, wait, deferred=deferred)
        refused = fault.refusal(self.choices)
        if refused is not None and run.http is not None:
            self._log_refusal(run.http, refused.status, f"Scripted fault: {fault}", fault.error_code)
            return fault.damage(refused, self.choices)
        failure = fault.failure
        if failure is None:
            reply = self._run(run, wait, deferred=deferred)
        else:
            status, text, code = failure
            failed = Answer(error=text, error_code=code)
            reply = self.lifecycle.perform(
                run, lambda _run, _answer: self._error(status, text, code), wait=wait, failure=failed
            )
        self.lifecycle.note(run.request_id, f"Scripted fault: {fault}")
        return fault.damage(reply, self.choices)

    def _run(self, run: Run, wait: Wait, *, deferred: bool) -> Reply:
        if deferred:
            return self.lifecycle.accept(run, self._accepted)
        return self.lifecycle.perform(run, self._reply, wait=wait)

    def _check_deployment(self, run: Run, *, deferred: bool) -> None:
        deployment = self.deployments.find(run.kind, run.name, run.variant)
        if deployment is None:
            if self._strict and not self._is_made_by_api(run):
                what = "Agent" if run.agent else "Deployment"
                raise Refusal(f"{what} not found.", status=self.choices.unknown_status, code=None)
            return
        check_inputs(deployment.inputs, run.inputs, self.choices)
        if deployment.human_in_the_loop is not None and not deferred:
            raise Refusal("Workflows with a Human in the Loop step must use callback delivery")

    def _is_made_by_api(self, run: Run) -> bool:
        return run.kind == "agent" and self.store.objects.get("agent", run.name) is not None

    def _fault(self, headers: Mapping[str, str], kind: Kind | None, name: str | None) -> Fault | None:
        """The fault scripted for a request: by its header, else by the sandbox."""
        asked = headers.get(FAULT_HEADER)
        if not asked:
            return self.faults.take(kind, name)
        try:
            return fault_of(asked)
        except ConfigurationError as wrong:
            raise Refusal(f"{FAULT_HEADER}: {wrong}", status=400) from None

    def _accepted(self, run: Run) -> Reply:
        """The reply to a run whose end is told by a callback."""
        secret = self.secret(run.kind, run.name)
        if run.kind == "hive_agent":
            body = hive_agent_body(run, secret)
        else:
            told = run.trigger == "api" or self.choices.trigger_tells_secret
            more = {"webhook_secret": secret} if told else {}
            lenient = self._lenient and run.kind == "workflow"
            body = workflow_body(run, run.status, lenient=lenient, **more)
        status = self.choices.callback_status if run.kind == "workflow" else 202  # of agents it is documented
        return with_changes(_json_reply(status, body), unfinished=run.request_id)

    def _reply(self, run: Run, answer: Answer) -> Reply:
        if run.kind == "workflow":
            return self._workflow_reply(run, answer)
        if run.request.get("streaming"):
            return self._stream(run, answer)
        if answer.error is not None:
            return self._error(502, answer.error, answer.error_code)
        body = agent_body(run, answer) if run.kind == "agent" else prompt_body(run, answer)
        reply = with_changes(_REPLY, headers=dict(_JSON), body=checked_bytes(body))
        return with_changes(reply, unfinished=run.request_id) if run.delegations else reply

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
        chunks: list[Chunk] = list(frames)
        if answer.duration:
            pause = Pause(answer.duration / len(frames))
            chunks = [chunk for sent in frames for chunk in (pause, sent)]
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        goes_on = answer.duration or run.delegations
        return Reply(status=200, headers=headers, body=tuple(chunks), unfinished=run.request_id if goes_on else None)

    # --- everything else --------------------------------------------------------------------------

    def _other(
        self, found: Route, http: HttpRequest, headers: Mapping[str, str], parameters: Mapping[str, str]
    ) -> Reply:
        if not found.keyless:
            self._enter(headers, counts=False)
        fault = self._fault(headers, None, None)
        if fault is None:
            return self._answered(found, http, parameters)
        reply = fault.refusal(self.choices)
        if reply is None and fault.failure is not None:
            reply = self._error(*fault.failure)
        if reply is None:
            reply = self._answered(found, http, parameters)
        else:
            self._log_refusal(http, reply.status, f"Scripted fault: {fault}", fault.error_code)
        return fault.damage(reply, self.choices)

    def _answered(self, found: Route, http: HttpRequest, parameters: Mapping[str, str]) -> Reply:
        if found.workspace_id not in (None, WORKSPACE_ID):
            raise Refusal("Workspace not found", status=404, code=None)
        if found.handler is None:
            return _json_reply(200, self._look_up(found, http, parameters))
        value = self._resource(found.handler, Call(found.values, parameters, http))
        if http.method != "GET":
            self.tell(Change("resource"))
        return value if isinstance(value, Reply) else _json_reply(200, value)

    def _resource(self, handler: Handler, call: Call) -> Any:
        call.read()
        # What a handler reads and writes is one change, of which a refusal leaves nothing.
        with self.store.transaction():
            try:
                return handler(self.desk, call)
            except ConfigurationError as error:  # this machine cannot do it
                raise Refusal(str(error), status=500, code="internal_server_error") from error

    def _look_up(self, found: Route, http: HttpRequest, parameters: Mapping[str, str]) -> dict[str, Any]:
        if found.endpoint == "error_codes":
            return error_catalog(parameters.get("locale"))
        if found.endpoint == "request":
            return self._request(found.values[0])
        if found.endpoint == "workflow_run":
            request_id = request_id_of_uuid(found.values[0])
            run = self._known_run(request_id, "Prompt workflow run not found", kind="workflow")
            return workflow_run_body(run, self.choices)
        if found.endpoint == "thread_delegations":
            return {"delegations": [delegation_body(one) for one in self.store.delegations(found.values[0])]}
        if found.endpoint == "cancel_delegation":
            return delegation_body(self.lifecycle.cancel_delegation(found.values[0]))
        if found.endpoint == "delegation":
            delegation = self.store.delegation(found.values[0])
            if delegation is None:
                raise Refusal("Delegation not found", status=404, code=None)
            return delegation_body(delegation)
        return self._approvals(found, http, parameters)

    def _request(self, request_id: str) -> dict[str, Any]:
        """The look-up of a run, or of a request of a resource."""
        return self.store.objects.get("request", request_id) or request_body(
            self._known_run(request_id, "Request not found"), self.choices
        )

    def _known_run(self, request_id: str, text: str, *, kind: Kind | None = None) -> Run:
        run = self.store.get(request_id)
        if run is None or (kind and run.kind != kind):
            raise Refusal(text, status=404, code=None)
        return run

    def _approvals(self, found: Route, http: HttpRequest, parameters: Mapping[str, str]) -> dict[str, Any]:
        if found.endpoint == "approvals":
            return self._listed_approvals(parameters)
        ids = found.values
        if found.endpoint == "decide":
            decision = str(read_object(http.body).get("decision"))
            approval = self.decide(ids[0], decision, via="api")
        else:
            known = self.store.approval(ids[0])
            if known is None:
                raise Refusal("Approval not found", status=404, code=None)
            approval = known
        return {"approval": approval_body(approval, workspace_id=WORKSPACE_ID)}

    def _listed_approvals(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        statuses = {"pending": "pending", "approved": "allowed", "denied": "denied"}
        status = parameters.get("status") or "pending"
        limit = parameters.get("limit") or str(APPROVALS_PER_PAGE)
        if status not in statuses:
            raise Refusal(f"status must be one of: {', '.join(statuses)}")
        if not re.fullmatch("[1-9][0-9]?|100", limit):
            raise Refusal("limit must be a number from 1 to 100")
        run_id = parameters.get("run_id")
        request_id = parameters.get("request_id") or (request_id_of_uuid(run_id) if run_id else None)
        approvals = self.store.approvals(
            status=statuses[status],
            agent=parameters.get("agent_id") or None,
            request_id=request_id,
            limit=int(limit) + 1,  # one more tells whether there is a next page
            before=parameters.get("cursor") or None,
        )
        page = approvals[: int(limit)]
        body: dict[str, Any] = {"approvals": [approval_body(one, workspace_id=WORKSPACE_ID) for one in page]}
        if self.choices.next_cursor_key is not None:
            body[self.choices.next_cursor_key] = page[-1].id if page != approvals else None
        return body

    # --- who may, how often, and refusals ---------------------------------------------------------

    def _enter(self, headers: Mapping[str, str], *, counts: bool) -> None:
        """Let a call pass that has a key, and is not one too many today."""
        self._authorize(headers)
        if self._daily_limit is None or not (counts or self.choices.daily_limit_counts == "all"):
            return
        day = self.clock().astimezone(timezone.utc).date().isoformat()
        with self.store.transaction():
            if self.store.daily(day) >= self._daily_limit:
                body = daily_limit_body(self._daily_limit, self._daily_limit, self.choices)
                raise Refusal(body["error"], status=429, code="api_rate_limit_exceeded", body=body)
            self.store.count_call(day)

    def _authorize(self, headers: Mapping[str, str]) -> None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        key = key.strip()
        accepted = key if self.api_key is None else self.api_key
        if scheme.lower() != "bearer" or not key or not hmac.compare_digest(key.encode(), accepted.encode()):
            raise Refusal("Invalid access.", status=401)

    def _refuse(self, refusal: Refusal, http: HttpRequest) -> Reply:
        status = refusal.status or self.choices.validation_status
        self._log_refusal(http, status, refusal.text, refusal.code)
        if refusal.body is None:
            body = error_body(refusal.text, refusal.code, error_only=self.choices.error_only)
            reply = _json_reply(status, {**body, **refusal.more})
        else:
            reply = _json_reply(status, refusal.body)
        return with_changes(reply, headers={**reply.headers, **refusal.headers})

    def _check_size(self, body: bytes) -> None:
        if len(body) > self.choices.max_body:
            raise Refusal(f"The request body is larger than {self.choices.max_body} bytes", status=413)

    def _log_refusal(self, http: HttpRequest, status: int, error: str, code: str | None) -> None:
        if http.method == "GET" and not http.path.startswith("/v1/"):  # a browser looks for an icon, or the like
            return
        # Without a key anybody can send anything: that is not kept.
        kept = with_changes(http, body=b"" if status == 401 else http.body[:REFUSED_BODY])
        self.store.add_refused(Refused(at=self.clock(), request=kept, status=status, error=error, error_code=code))
        self.tell(Change("refused"))

    def _error(self, status: int, text: str, code: str | None) -> Reply:
        return _json_reply(status, error_body(text, code, error_only=self.choices.error_only))


def _by_lower_name(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers by their names in lower case; of several spellings of a name the first counts."""
    return {name.lower(): value for name, value in reversed(list(headers.items()))}


def _parameters(query: str) -> dict[str, str]:
    """What a query string says; of several values of a name the last counts."""
    return {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}


def _shown_path(path: str, parameters: Mapping[str, str]) -> str:
    """The path with its query string, but without the secret in it."""
    if not parameters:
        return path
    shown = {name: value for name, value in parameters.items() if name.lower() != "secret"}
    return f"{path}?{urlencode(shown)}" if shown else path


def _json_reply(status: int, body: object) -> Reply:
    return with_changes(_REPLY, status=status, headers=dict(_JSON), body=json_bytes(body))
