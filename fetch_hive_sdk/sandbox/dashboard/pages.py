"""The run log's pages: what each shows, and what its buttons do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from ..changes import Change
from ..deployments import Deployment
from ..engine import Engine
from ..ids import WORKSPACE_ID
from ..refusals import Refusal
from ..replies import final_text, tool_outcomes
from ..runs import HttpRequest, Kind, Run
from . import bodies
from .advice import fix_of_run
from .filters import STATUSES, WITHIN, LogQuery
from .get_code import curl_code, python_code
from .live import changes
from .logs import LOG_OF, LOGS, Log
from .plots import duration_plot, status_plot
from .rendering import Rendering, secured
from .resources import NOUNS, Resources
from .security import FormError, Sessions, is_foreign, read_form, safe_path

__all__ = ["Pages"]

PAGE_SIZE = 50
REFUSED_SHOWN = 200
REFUSED_TEXT = 5_000  # characters of each one's body: there are many on the page
APPROVALS_SHOWN = 100
SECRET_KINDS: tuple[Kind, ...] = ("workflow", "agent", "hive_agent")

Page = Callable[[Request], Response]
Action = Callable[[Request, Mapping[str, str]], Response]


NOTICES: Mapping[str, str] = {
    "chosen": "Your choice was recorded; the run goes on.",
    "allowed": "Allowed. Once nothing more waits for a decision, the run goes on.",
    "denied": "Denied. Once nothing more waits for a decision, the run goes on.",
    "redelivered": "The callback is being delivered again.",
    "cancelled": "The run was cancelled.",
    "added": "The message was added.",
}


class Pages:
    """The pages of one server.

    Args:
        engine: What they show.
        base_url: Where the API answers, ending in `/v1`.
    """

    def __init__(self, engine: Engine, *, base_url: str) -> None:
        self._engine = engine
        self._origin = base_url.rstrip("/").removesuffix("/v1")
        self._sessions = Sessions()
        # Cookies are shared by all ports of a host.
        self._cookie = f"fetch_hive_sandbox_{urlsplit(base_url).port or 80}"
        self._resources = Resources(engine, origin=self._origin)
        self._rendering = Rendering(
            base_url=f"{self._origin}/v1", needs_key=engine.api_key is not None, nouns=NOUNS, workspace_id=WORKSPACE_ID
        )

    def routes(self) -> list[BaseRoute]:
        """All their routes."""
        return [
            Route("/", self._get(self._first)),
            *(Route(log.path, self._get(self._log)) for log in LOGS),
            Route("/runs/{request_id}", self._get(self._run)),
            Route("/runs/{request_id}/secret", self._post(self._show_reply_secret), methods=["POST"]),
            Route("/runs/{request_id}/secret", self._get(self._hide), methods=["GET"]),
            Route("/runs/{request_id}/choice", self._post(self._choose), methods=["POST"]),
            Route("/runs/{request_id}/cancel", self._post(self._cancel), methods=["POST"]),
            Route("/callbacks/{callback_id}/redeliver", self._post(self._redeliver), methods=["POST"]),
            Route("/approvals", self._get(self._approvals)),
            Route("/approvals/{approval_id}", self._post(self._decide), methods=["POST"]),
            Route("/deployments", self._get(self._deployments)),
            Route("/deployments/secret", self._post(self._show_secret), methods=["POST"]),
            Route("/deployments/secret", self._get(self._hide), methods=["GET"]),
            Route("/resources", self._get(self._first_noun)),
            *(
                Route(path, self._get(self._resource(template, context)))
                for path, template, context in self._resources.pages()
            ),
            Route("/resources/agents/{agent_id}/chats/{chat_id}", self._post(self._add_message), methods=["POST"]),
            Route("/refused", self._get(self._refused)),
            Route("/live", self._live),
            Route("/sign-in", self._sign_in_page, methods=["GET"]),
            Route("/sign-in", self._post(self._sign_in, signed_in=False), methods=["POST"]),
            Route("/sign-out", self._post(self._sign_out), methods=["POST"]),
            Route("/static/{name}", self._rendering.static_file),
            # Browsers ask for it by themselves; it is no refused request.
            Route("/favicon.ico", self._icon),
        ]

    # --- who may ----------------------------------------------------------------------------------

    def _session(self, request: Request) -> str:
        return request.cookies.get(self._cookie, "") if self._engine.api_key is not None else ""

    def _may_enter(self, request: Request) -> bool:
        return self._engine.api_key is None or self._sessions.known(self._session(request))

    def _get(self, page: Page) -> Page:
        def answer(request: Request) -> Response:
            if not self._may_enter(request):
                path = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
                return secured(RedirectResponse(f"/sign-in?next={quote(path)}", 303))
            return secured(page(request))

        return answer

    def _post(self, action: Action, *, signed_in: bool = True) -> Callable[[Request], Any]:
        def answer(request: Request, form: Mapping[str, str]) -> Response:
            if signed_in and not self._may_enter(request):
                return RedirectResponse("/sign-in", 303)
            if is_foreign(request) or not self._sessions.accepts(self._session(request), form.get("token", "")):
                text = (
                    "This form was not sent from a page of this sandbox, or the sandbox was started anew since. "
                    "Nothing was changed. Open the page again and repeat it."
                )
                return self._problem(request, text, 403)
            try:
                return action(request, form)
            except Refusal as refusal:
                return self._problem(request, refusal.text, self._status(refusal), back=form.get("next", "/"))

        async def endpoint(request: Request) -> Response:
            try:
                form = await read_form(request)
            except FormError as error:
                return secured(self._problem(request, str(error), 400))
            return secured(await run_in_threadpool(answer, request, form))

        return endpoint

    def _status(self, refusal: Refusal) -> int:
        return refusal.status or self._engine.choices.validation_status

    def _sign_in_page(self, request: Request) -> Response:
        return secured(self._render(request, "sign_in.html", next=request.query_params.get("next", "/"), wrong=False))

    def _sign_in(self, request: Request, form: Mapping[str, str]) -> Response:
        goes_on = safe_path(form.get("next", "/"), "/")
        try:
            self._engine.authorize({"Authorization": f"Bearer {form.get('key', '')}"})
        except Refusal:
            return self._render(request, "sign_in.html", 401, next=goes_on, wrong=True)
        response = RedirectResponse(goes_on, 303)
        if self._engine.api_key is not None:
            response.set_cookie(self._cookie, self._sessions.start(), httponly=True, samesite="strict", path="/")
        return response

    def _sign_out(self, request: Request, form: Mapping[str, str]) -> Response:
        self._sessions.end(self._session(request))
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(self._cookie, path="/")
        return response

    def _first(self, _request: Request) -> Response:
        return RedirectResponse(LOGS[0].path, 303)

    def _icon(self, _request: Request) -> Response:
        return secured(RedirectResponse(self._rendering.static_address("icon.svg"), 301))

    def _hide(self, request: Request) -> Response:
        """Leave a page that a form made, such as one with a secret, for the same without."""
        return RedirectResponse(quote(request.url.path.rpartition("/")[0]), 303)

    # --- logs -------------------------------------------------------------------------------------

    def _log(self, request: Request) -> Response:
        log = next(log for log in LOGS if log.path == request.url.path)
        store = self._engine.store
        kinds: tuple[Kind, ...] = (log.kind,)
        query = LogQuery.read(parse_qsl(request.url.query, keep_blank_values=True))
        wanted = query.filter(kinds, now=self._engine.clock())
        runs = store.runs(wanted, newest_first=True, limit=PAGE_SIZE + 1, before=query.before or None)
        return self._render(
            request,
            "log.html",
            log=log,
            query=query,
            runs=runs[:PAGE_SIZE],
            older=query.older(runs[PAGE_SIZE - 1].request_id) if len(runs) > PAGE_SIZE else None,
            count=store.count(wanted),
            names=store.names(kinds),
            keys=store.metadata_keys(kinds),
            within=WITHIN,
            statuses=STATUSES,
            bar=status_plot(store.counts(wanted)),
            dots=duration_plot(store.durations(wanted, limit=100), left=52, width=420, height=64),
            sample=self._sample(log),
        )

    def _sample(self, log: Log) -> dict[str, str]:
        path, body = log.sample
        http = HttpRequest(
            method="POST",
            path=path,
            headers={"Content-Type": "application/json"},
            body=json.dumps(body, indent=2).encode(),
        )
        return {
            "curl": curl_code(http, origin=self._origin),
            "python": python_code(log.kind, body, http, origin=self._origin),
        }

    # --- one run ----------------------------------------------------------------------------------

    def _run(self, request: Request, *, reveal: bool = False) -> Response:
        run = self._known_run(request)
        if run is None:
            return self._problem(request, "There is no such run, or the log was cleared since.", 404)
        store = self._engine.store
        delegation = store.delegation_of(run.request_id)
        http = run.http
        webhook = run.trigger == "webhook"
        streaming = run.request.get("streaming") is True
        ended = run.answer if run.ended else None
        return self._render(
            request,
            "run.html",
            run=run,
            log=LOG_OF[run.kind],
            fix=fix_of_run(run),
            answer=ended,
            output=final_text(run, ended) if ended else "",
            made=tool_outcomes(run, ended)["made"] if ended else (),
            parent=store.get(delegation.parent_request_id) if delegation else None,
            sent=bodies.shown(http.body if http else bodies.pretty(run.request).encode("utf-8", "replace")),
            reply=bodies.shown(bodies.body_bytes(run.reply), reveal=reveal) if run.reply else None,
            events=bodies.events(run.reply) if run.reply and bodies.is_stream(run.reply) else None,
            reveal=reveal,
            live=not reveal,
            here=f"/runs/{quote(run.request_id, safe='')}",
            curl=curl_code(http, origin=self._origin, webhook=webhook, streaming=streaming) if http else "",
            python=python_code(run.kind, run.request, http, origin=self._origin, webhook=webhook) if http else "",
            notice=NOTICES.get(request.query_params.get("notice", "")),
            query=LogQuery(),
        )

    def _known_run(self, request: Request) -> Run | None:
        return self._engine.store.get(request.path_params["request_id"])

    def _show_reply_secret(self, request: Request, form: Mapping[str, str]) -> Response:
        return self._run(request, reveal=True)

    def _choose(self, request: Request, form: Mapping[str, str]) -> Response:
        run = self._engine.choose(request.path_params["request_id"], form.get("choice", ""), via="dashboard")
        return _back(form, f"/runs/{quote(run.request_id, safe='')}", "chosen")

    def _cancel(self, request: Request, form: Mapping[str, str]) -> Response:
        run = self._engine.cancel(request.path_params["request_id"])
        return _back(form, f"/runs/{quote(run.request_id, safe='')}", "cancelled")

    def _redeliver(self, request: Request, form: Mapping[str, str]) -> Response:
        callback = self._engine.redeliver(request.path_params["callback_id"])
        return _back(form, f"/runs/{quote(callback.request_id, safe='')}", "redelivered")

    # --- the other pages --------------------------------------------------------------------------

    def _approvals(self, request: Request) -> Response:
        store = self._engine.store
        return self._render(
            request,
            "approvals.html",
            pending=store.approvals(status="pending", limit=APPROVALS_SHOWN),
            decided=[one for one in store.approvals(limit=APPROVALS_SHOWN) if one.status != "pending"],
            notice=NOTICES.get(request.query_params.get("notice", "")),
        )

    def _decide(self, request: Request, form: Mapping[str, str]) -> Response:
        approval = self._engine.decide(request.path_params["approval_id"], form.get("decision", ""), via="dashboard")
        return _back(form, "/approvals", approval.status)

    def _deployments(self, request: Request, *, secret_of: tuple[Kind, str] | None = None) -> Response:
        groups = [(log, self._known_names(log.kind)) for log in LOGS]
        secrets = {secret_of: self._engine.secret(*secret_of)} if secret_of else {}
        return self._render(
            request,
            "deployments.html",
            groups=[one for one in groups if one[1]],
            secrets=secrets,
            live=not secrets,
            here="/deployments",
        )

    def _known_names(self, kind: Kind) -> list[tuple[str, list[Deployment]]]:
        registered: dict[str, list[Deployment]] = {}
        for deployment in self._engine.deployments.all():
            if deployment.kind == kind:
                registered.setdefault(deployment.name, []).append(deployment)
        names = sorted({*registered, *self._engine.store.names((kind,))})
        return [(name, registered.get(name, [])) for name in names]

    def _show_secret(self, request: Request, form: Mapping[str, str]) -> Response:
        kind: Kind | None = next((kind for kind in SECRET_KINDS if kind == form.get("kind")), None)
        if kind is None:
            return self._problem(request, "Prompts have no webhook secret.", 404)
        return self._deployments(request, secret_of=(kind, form.get("name", "")))

    def _first_noun(self, _request: Request) -> Response:
        return RedirectResponse(next(iter(NOUNS)), 303)

    def _resource(self, template: str, context: Callable[[Request], Mapping[str, Any]]) -> Page:
        def page(request: Request) -> Response:
            try:
                given = context(request)
            except Refusal as refusal:
                return self._problem(request, refusal.text, 404, back="/resources")
            notice = NOTICES.get(request.query_params.get("notice", ""))
            return self._render(request, f"resources/{template}", notice=notice, **given)

        return page

    def _add_message(self, request: Request, form: Mapping[str, str]) -> Response:
        self._resources.add_message(request.path_params["chat_id"], form)
        self._engine.tell(Change("resource"))
        return _back(form, "/resources", "added")

    def _refused(self, request: Request) -> Response:
        newest = self._engine.store.refused(REFUSED_SHOWN)
        refused = [(one, bodies.shown(one.request.body, limit=REFUSED_TEXT)) for one in newest]
        return self._render(request, "refused.html", refused=refused, limit=REFUSED_SHOWN)

    async def _live(self, request: Request) -> Response:
        if not self._may_enter(request):
            return secured(Response("Sign in first.\n", 401, media_type="text/plain"))
        return secured(StreamingResponse(changes(self._engine.subscribe), media_type="text/event-stream"))

    # --- how ----------------------------------------------------------------------------------------

    def _problem(self, request: Request, text: str, status: int, *, back: str = "/") -> Response:
        return self._render(request, "problem.html", status, text=text, back=safe_path(back, "/"))

    def _render(self, request: Request, template: str, status: int = 200, **context: Any) -> Response:
        signed_in = self._may_enter(request)
        context = {
            "path": request.url.path,
            "here": f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path,
            "signed_in": signed_in,
            "token": self._sessions.token(self._session(request)),
            "waiting": self._engine.store.active(("agent",), ("awaiting_approval",)) if signed_in else 0,
            "live": status == 200 and signed_in,
            "notice": None,
            "code": status,
            **context,
        }
        return self._rendering.page(template, status, context)


def _back(form: Mapping[str, str], otherwise: str, notice: str) -> Response:
    path = safe_path(form.get("next", ""), otherwise).partition("?")[0].partition("#")[0]
    return RedirectResponse(f"{path}?notice={notice}", 303)
