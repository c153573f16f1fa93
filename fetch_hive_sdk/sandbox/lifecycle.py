"""The course of a run, from its acceptance to its end. Whoever reads HTTP comes before this, and is not known here.

    direct:    running ─────────────────────────────────> completed | failed
    callback:  queued ──> running ──> paused ──> queued ─> … ──> completed | failed ──> callback
    agent:     running ──> awaiting_approval ──> running ─> completed | failed

Each step is one transaction: what is accepted is in the store before its reply is sent, and an end is never there
without its callback. What is still to be done is a `Job`: a server takes jobs and does them; without one, `settle`
does them in the caller's thread.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from ..errors import ConfigurationError
from .agent_work import approval_of, delegation_of, may_delegate, workflow_of
from .answers import Answer, count_usage
from .catalog import concurrency_limit
from .changes import Change, Listener
from .choices import Choices
from .deployments import Deployments, HumanInTheLoop
from .refusals import Refusal
from .replies import delegation_body, needs_approval
from .runs import (
    Approval,
    Callback,
    CallbackAttempt,
    Delegation,
    HumanStep,
    Kind,
    Moment,
    Reply,
    Run,
    Status,
    with_changes,
)
from .signing import ending, signed_callback
from .store import RunFilter, Store
from .wire import json_text

__all__ = ["CANCELLED", "STOPPED", "TIMED_OUT", "Job", "Lifecycle", "Via", "Wait", "no_wait"]

Wait = Callable[[float], None]
MakeReply = Callable[[Run, Answer], Reply]
Via = Literal["api", "dashboard"]

DELEGATION_EVENT = "agent.delegation.completed"
# What the errors of such runs say.
CANCELLED = "The run was cancelled"
FAILED = "The sandbox failed"
STOPPED = "The sandbox was stopped while this ran"
TIMED_OUT = "Nobody chose in time"


def no_wait(_seconds: float) -> None:
    """Let no time pass."""


@dataclass(frozen=True)
class Job:
    """Something to be done: a run to carry on, a callback to deliver, or to deliver once more by hand."""

    kind: Literal["run", "callback", "redelivery"]
    id: str


class Lifecycle:
    """Accepts runs and carries them on. Safe to use from several threads at once.

    A transaction of the store is the one lock: whatever else is remembered here changes inside of one, but for jobs
    that are taken. The server and the listeners are told after it, so that they may do what they like.

    Args:
        store: Where everything is remembered. What it holds of an earlier sandbox goes on.
        deployments: What answers.
        choices: What to do where the documentation is silent.
        clock: Tells the time, with a time zone.
        new_request_id: Makes a new request id each time.
        secret: Tells the webhook secret of a deployment or agent.
        tell: Tells of a change.
        places: How many workflows may run at once; None: any number.
    """

    def __init__(
        self,
        store: Store,
        deployments: Deployments,
        *,
        choices: Choices,
        clock: Callable[[], datetime],
        new_request_id: Callable[[], str],
        secret: Callable[[Kind, str], str],
        tell: Listener,
        places: int | None,
    ) -> None:
        self._store = store
        self._deployments = deployments
        self._choices = choices
        self._clock = clock
        self._new_request_id = new_request_id
        self._secret = secret
        self._tell = tell
        self._places = places
        self._jobs: deque[Job] = deque()
        self._queue: deque[str] = deque()
        self._deadlines: dict[str, datetime] = {}
        self._under_way: set[str] = set()
        self._changes: deque[Change] = deque()
        self._server: Callable[[], None] | None = None
        self._recover()

    # --- runs -------------------------------------------------------------------------------------

    def perform(self, run: Run, make_reply: MakeReply, *, wait: Wait, failure: Answer | None = None) -> Reply:
        """Do a run whose caller waits for it.

        Args:
            run: A new run.
            make_reply: Makes the reply from the run as it ended, or paused for an approval, and its answer.
            wait: Lets seconds pass.
            failure: What it is made to fail with.

        Raises:
            Refusal: The plan allows no further workflow at once.
        """
        run = with_changes(run, timeline=_beginning(run, "Started"))
        known = failure or self._deployments.known(run)
        if known is not None and self._is_instant(run, known):
            return self._perform_at_once(run, known, make_reply)
        with self._store.transaction():
            self._take_place(run)
            self._store.add(run)
            self._changed(run.request_id)
        self._go_on()
        try:
            answer = failure or self._answer(run)
            if not _streams(run):
                wait(answer.duration or 0.0)
            reply = self._conclude(run, answer, make_reply)
        except BaseException as error:
            # What is no Exception means that the server stops, or the process does.
            self._lose(run.request_id, f"{FAILED}: {error}" if isinstance(error, Exception) else STOPPED)
            raise
        self._go_on()
        assert reply is not None
        return reply

    def _perform_at_once(self, run: Run, known: Answer, make_reply: MakeReply) -> Reply:
        """Do a run in one step: nothing can happen between its beginning and its end."""
        reply: Reply | None = None
        failure: Exception | None = None
        try:
            answer = self._counted(run, known)
            reply = make_reply(run, answer)
        except Exception as error:
            answer, failure = Answer(error=f"{FAILED}: {error}"), error
        self._store.add_ended(self._ended(run, answer, reply=reply))
        self._tell(Change("run", run.request_id))
        if failure is not None:
            raise failure
        assert reply is not None
        return reply

    def _is_instant(self, run: Run, answer: Answer) -> bool:
        """True if a run with this answer ends as soon as it has begun, and that is all that happens."""
        if answer.duration or _callback_url(run, self._choices) is not None:
            return False
        if run.kind == "workflow" and self._places is not None:  # there may be none for it
            return False
        return run.kind != "agent" or not (answer.tool_calls or answer.background)

    def accept(self, run: Run, make_reply: Callable[[Run], Reply]) -> Reply:
        """Take on a run whose caller is called back. It begins once its reply is sent: see `release`."""
        with self._store.transaction():
            begins = run.kind != "workflow" or self._has_place()
            status: Status = "running" if begins else "queued"
            run = with_changes(run, status=status, timeline=_beginning(run, "Started" if begins else "Queued"))
            reply = make_reply(run)
            self._store.add(with_changes(run, reply=reply))
            self._changed(run.request_id)
        self._go_on()
        return reply

    def release(self, request_id: str) -> None:
        """Its reply is sent: let a run go on, and the workflows that it started in the background."""
        with self._store.transaction():
            run = self._store.get(request_id)
            if run is not None:
                self._let_go(request_id, *(one.request_id for one in run.delegations))
        self._go_on()

    def finish(self, request_id: str, *, wait: Wait = no_wait) -> None:
        """Carry on a run until it ends or has to wait for somebody. Nothing happens to one that does not run."""
        with self._store.transaction():
            run = self._store.get(request_id)
            if run is None or run.status != "running" or request_id in self._under_way:
                return
            self._under_way.add(request_id)
        try:
            self._carry_on(run, wait)
        except BaseException as error:
            self._under_way.discard(request_id)
            if isinstance(error, Exception) and not isinstance(error, sqlite3.OperationalError):
                self._lose(request_id, f"{FAILED}: {error}")
                raise
            # The server stops, or another program holds the file: whoever comes next does it again.
            self._jobs.append(Job("run", request_id))
            raise
        self._go_on()

    def choose(self, request_id: str, choice: str, *, via: Via) -> Run:
        """Answer the question a run waits with, so that it goes on.

        Raises:
            Refusal: There is no such run, it does not wait for a choice, or the choice is none of its options.
        """
        with self._store.transaction():
            run = self._store.get(request_id)
            if run is None:
                raise Refusal("Request not found", status=404, code=None)
            step = run.human_step
            if run.status != "paused" or step is None:
                raise Refusal("The run does not wait for a choice", status=409, code=None)
            if choice not in step.options:
                raise Refusal(f"choice must be one of: {', '.join(step.options)}", status=422, code=None)
            step = replace(step, choice=choice, chosen_at=self._clock())
            where = " (in the browser)" if via == "dashboard" else ""
            run = self._requeue(run, f"Chosen{where}: {choice}", human_step=step)
        self._go_on()
        return self._store.get(request_id) or run

    def decide(self, approval_id: str, decision: str, *, via: Via) -> Approval:
        """Allow or deny a tool call. Once all that a run waits for are decided, it goes on.

        Raises:
            Refusal: There is no such approval, it is decided already, or the decision is not known.
        """
        with self._store.transaction():
            approval = self._store.approval(approval_id)
            if approval is None:
                raise Refusal("Approval not found", status=404, code=None)
            if decision not in ("allow_once", "deny"):
                raise Refusal("decision must be allow_once or deny", status=422, code=None)
            run = self._store.get(approval.request_id)
            if approval.status != "pending" or run is None or run.ended:
                raise Refusal("The approval has already been decided", status=409, code=None)
            status: Literal["allowed", "denied"] = "allowed" if decision == "allow_once" else "denied"
            approval = replace(approval, status=status, decided_at=self._clock(), decided_via=via)
            self._store.save_approval(approval)
            if self._store.approvals(status="pending", request_id=run.request_id):
                self._record(run, f"{status.capitalize()}: {approval.tool_name}")
            else:
                self._record(run, f"{status.capitalize()}: {approval.tool_name}", status="running")
                self._jobs.append(Job("run", run.request_id))
        self._go_on()
        return approval

    def cancel(self, request_id: str) -> Run:
        """End a run that has not ended; its callback, if one was asked for, tells so.

        Its tool calls that wait for a decision are denied.

        Raises:
            Refusal: There is no such run, or it has ended.
        """
        with self._store.transaction():
            run = self._store.get(request_id)
            if run is None:
                raise Refusal("Request not found", status=404, code=None)
            if run.ended:
                raise Refusal("The run has already ended", status=409, code=None)
            cancelled = self._end(run, Answer(error=CANCELLED), status="cancelled")
            for approval in run.approvals:
                if approval.status == "pending":
                    self._store.save_approval(replace(approval, status="denied", decided_at=cancelled.ended_at))
        self._go_on()
        return self._store.get(request_id) or cancelled

    def cancel_delegation(self, delegation_id: str) -> Delegation:
        """Cancel a workflow that an agent started. One that has ended stays as it is.

        Raises:
            Refusal: There is no such delegation.
        """
        delegation = self._store.delegation(delegation_id)
        if delegation is None:
            raise Refusal("Delegation not found", status=404, code=None)
        run = self._store.get(delegation.request_id)
        if run is not None and not run.ended:
            self.cancel(run.request_id)
        return self._store.delegation(delegation_id) or delegation

    def expire(self) -> None:
        """End the waits for a choice whose time is over."""
        if not self._deadlines:
            return
        now = self._clock()
        with self._store.transaction():
            due = [request_id for request_id, deadline in self._deadlines.items() if deadline <= now]
            for request_id in due:
                self._time_out(request_id, now)
        self._go_on()

    def next_deadline(self) -> datetime | None:
        """When the next wait for a choice is over; None if none ends."""
        return min(list(self._deadlines.values()), default=None)

    # --- jobs -------------------------------------------------------------------------------------

    def attach(self, notify: Callable[[], None]) -> None:
        """Have a server do the jobs: `notify` is called, in any thread, when there are some.

        Raises:
            ConfigurationError: A server does them already.
        """
        with self._store.transaction():
            if self._server is not None:
                raise ConfigurationError("This sandbox is served already.", hint="Use the server that runs.")
            self._server = notify
            if self._choices.callback_delivery == "auto":
                self._jobs.extend(Job("callback", callback.id) for callback in self._store.pending_callbacks())
        notify()

    def detach(self) -> None:
        """The server has stopped. What it leaves undone waits in the store for the next one."""
        with self._store.transaction():
            self._server = None
            # Jobs that the server has taken, and not begun, are here again.
            self._jobs.clear()
            self._resume()

    def next_job(self) -> Job | None:
        """Take a job; None if there is none."""
        with suppress(IndexError):
            return self._jobs.popleft()
        return None

    def settle(self) -> None:
        """Without a server, do all that can be done now in this thread. Callbacks stay undelivered."""
        self.expire()
        if not self._jobs:
            return
        while (job := self._job_of_ours()) is not None:
            self.finish(job.id)

    def _job_of_ours(self) -> Job | None:
        with self._store.transaction():
            return self.next_job() if self._server is None else None

    @property
    def idle(self) -> bool:
        """True if no job waits to be taken."""
        return not self._jobs

    # --- callbacks --------------------------------------------------------------------------------

    def record_attempt(self, callback: Callback, attempt: CallbackAttempt, *, pending: bool) -> None:
        """Remember what became of an attempt to deliver a callback, and whether there will be another."""
        with self._store.transaction():
            if not self._store.add_attempt(callback.id, attempt):
                return
            self._store.set_pending(callback.id, pending)
            if callback.event_type == DELEGATION_EVENT:
                self._delivered(callback, attempt)
            self._changed(callback.request_id, "callback")
        self._go_on()

    def redeliver(self, callback_id: str) -> Callback:
        """Have the server deliver a callback once more, or a first time.

        Raises:
            Refusal: There is no such callback, or no server runs that could deliver it.
        """
        with self._store.transaction():
            callback = self._store.callback(callback_id)
            if callback is None:
                raise Refusal("Callback not found", status=404, code=None)
            if self._server is None:
                raise Refusal("No server runs that could deliver it", status=409, code=None)
            self._store.set_pending(callback_id, True)
            self._jobs.append(Job("redelivery", callback_id))
            self._changed(callback.request_id, "callback")
        self._go_on()
        return replace(callback, pending=True)

    def note(self, request_id: str, what: str) -> None:
        """Write a line into a run's timeline."""
        with self._store.transaction():
            run = self._store.get(request_id)
            if run is not None:
                self._record(run, what)
        self._go_on()

    def forget(self) -> None:
        """Forget all runs, and what was still to be done for them."""
        with self._store.transaction():
            self._store.clear()
            self._jobs.clear()
            self._queue.clear()
            self._deadlines.clear()
            self._changes.append(Change("reset"))
        self._go_on()

    # --- the steps --------------------------------------------------------------------------------

    def _carry_on(self, run: Run, wait: Wait) -> None:
        deployment = self._deployments.find(run.kind, run.name, run.variant)
        human = deployment.human_in_the_loop if deployment else None
        if human is not None and run.human_step is None:
            self._pause(run, human)
            return
        if run.answer is None:
            answer = self._answer(run)
            wait(answer.duration or 0.0)
        else:  # it waited for an approval, or its stream is sent
            answer = run.answer
        self._conclude(run, answer)

    def _conclude(self, run: Run, answer: Answer, make_reply: MakeReply | None = None) -> Reply | None:
        """End a run, or let it wait for an approval; and make its reply, if its caller waits for one."""
        if run.kind == "agent" and run.answer is None and answer.error is None:
            answer = self._start_background(run, answer)
        with self._store.transaction():
            self._under_way.discard(run.request_id)
            current = self._store.get(run.request_id)
            if current is None:  # forgotten meanwhile
                return make_reply(run, answer) if make_reply else None
            if make_reply is None or current.ended:  # `release` is not called after this
                self._let_go(*(one.request_id for one in current.delegations))
            if current.ended:  # cancelled meanwhile
                reply = make_reply(current, current.answer or answer) if make_reply else current.reply
                self._store.save(with_changes(current, reply=reply))
                return reply
            if current.kind == "agent" and answer.error is None and self._ask_approvals(current, answer):
                current = self._store.get(run.request_id) or current
                waits = with_changes(current, status="awaiting_approval", answer=answer)
                reply = make_reply(waits, answer) if make_reply else current.reply
                self._record(waits, "Waits for an approval", reply=reply)
                return reply
            reply = make_reply(current, answer) if make_reply else current.reply
            if make_reply and answer.duration and _streams(run):  # it ends once all is sent
                self._store.save(with_changes(current, answer=answer, reply=reply))
            else:
                self._end(current, answer, reply=reply)
            return reply

    def _end(self, run: Run, answer: Answer, *, status: Status | None = None, reply: Reply | None = None) -> Run:
        """Record how a run ended, with the callback that tells it."""
        ended = self._ended(run, answer, status=status, reply=reply)
        self._store.save(ended)
        self._deadlines.pop(run.request_id, None)
        url = _callback_url(run, self._choices)
        if url is not None:
            event_type, data = ending(ended, answer, self._choices)
            self._call_back(run.kind, run.name, url, event_type, run.request_id, data)
        if run.trigger == "delegation":
            self._end_delegation(ended, answer)
        self._changed(run.request_id)
        return ended

    def _ended(self, run: Run, answer: Answer, *, status: Status | None = None, reply: Reply | None = None) -> Run:
        status = status or ("completed" if answer.error is None else "failed")
        end = self._moment(status.capitalize())
        return with_changes(
            run,
            status=status,
            answer=answer,
            ended_at=end.at,
            reply=reply or run.reply,
            timeline=(*run.timeline, end),
        )

    def _pause(self, run: Run, human: HumanInTheLoop) -> None:
        now = self._clock()
        expires_at = now + timedelta(seconds=human.timeout) if human.timeout is not None else None
        step = HumanStep(
            question=human.question, options=human.options, expires_at=expires_at, on_timeout=human.on_timeout
        )
        with self._store.transaction():
            self._under_way.discard(run.request_id)
            current = self._store.get(run.request_id)
            if current is None or current.status != "running":
                return
            self._watch(self._record(current, "Waits for a choice", status="paused", human_step=step))

    def _watch(self, run: Run) -> None:
        """Let a paused run's wait end in time."""
        if run.human_step is not None and run.human_step.expires_at is not None:
            self._deadlines[run.request_id] = run.human_step.expires_at

    def _time_out(self, request_id: str, now: datetime) -> None:
        self._deadlines.pop(request_id)
        run = self._store.get(request_id)
        assert run is not None and run.human_step is not None  # noqa: PT018 - whatever ends the pause drops its deadline
        step = replace(run.human_step, chosen_at=now)
        if step.on_timeout == "fail":
            self._end(replace(run, human_step=step), Answer(error=TIMED_OUT))
        else:
            self._requeue(run, TIMED_OUT, human_step=step)

    def _requeue(self, run: Run, what: str, **changes: Any) -> Run:
        """Let a run that was paused wait for a place again."""
        self._deadlines.pop(run.request_id, None)
        if self._choices.paused_run_holds_place:
            self._queue.appendleft(run.request_id)
        else:
            self._queue.append(run.request_id)
        return self._record(run, what, status="queued", **changes)

    def _let_go(self, *request_ids: str) -> None:
        """Let runs begin that were accepted, or wait for a place."""
        for request_id in request_ids:
            run = self._store.get(request_id)
            if run is not None and run.status == "queued":
                self._queue.append(request_id)
            elif run is not None and run.status == "running":
                self._jobs.append(Job("run", request_id))

    def _promote(self) -> None:
        """Let queued runs begin, the oldest first, as long as there are places."""
        if not self._queue:
            return
        with self._store.transaction():
            while self._queue and self._has_place():
                request_id = self._queue.popleft()
                run = self._store.get(request_id)
                if run is None or run.status != "queued":
                    continue
                self._record(run, "Started", status="running")
                self._jobs.append(Job("run", request_id))
                delegation = self._store.delegation_of(request_id)
                if delegation is not None:
                    self._store.save_delegation(replace(delegation, status="running"))

    def _has_place(self) -> bool:
        if self._places is None:
            return True
        counted: tuple[Status, ...] = ("running", "paused") if self._choices.paused_run_holds_place else ("running",)
        return self._store.active(("workflow",), counted) < self._places

    def _take_place(self, run: Run) -> None:
        if run.kind == "workflow" and not self._has_place():
            body, headers = concurrency_limit(self._choices)
            raise Refusal(body["error"], status=429, code=None, headers=headers, body=body)

    def _answer(self, run: Run) -> Answer:
        # Nothing is locked here: a reply may be slow, or use the sandbox itself.
        return self._counted(run, self._deployments.answer(run))

    def _counted(self, run: Run, answer: Answer) -> Answer:
        if answer.usage is not None:
            return answer
        sent = run.message or json_text(run.inputs)
        seconds = answer.duration
        if seconds is None:
            seconds = (self._clock() - run.started_at).total_seconds()
        return with_changes(answer, usage=count_usage(sent, answer, seconds=seconds))

    # --- approvals, delegations, callbacks --------------------------------------------------------

    def _ask_approvals(self, run: Run, answer: Answer) -> bool:
        """Ask for the approvals that an agent's tool calls need. False if it needs none, or has all its decisions."""
        if run.approvals:
            return False
        calls = [call for call in answer.tool_calls if needs_approval(run, call)]
        for call in calls:
            self._store.add_approval(approval_of(run, call, at=self._clock()))
        return bool(calls)

    def _start_background(self, run: Run, answer: Answer) -> Answer:
        """Start an agent's workflows: in the background, or to their end where the request wants no background."""
        calls = list(answer.tool_calls)
        for number, workflow in enumerate(answer.background, 1):
            child = workflow_of(run, workflow, request_id=self._new_request_id(), at=self._clock())
            if may_delegate(run):
                self._delegate(run, child, tool_call_id=f"workflow_{number}")
            else:
                given = {"deployment": child.deployment, "inputs": dict(child.inputs)}
                observed = self._run_child(run, child)
                calls.append({"tool_name": "run_workflow", "tool_input": given, "observation": observed})
        return replace(answer, tool_calls=calls)

    def _delegate(self, run: Run, child: Run, *, tool_call_id: str) -> None:
        delegation = delegation_of(run, child, tool_call_id=tool_call_id)
        with self._store.transaction():
            current = self._store.get(run.request_id)
            if current is None or current.ended:  # forgotten or cancelled meanwhile
                return
            if any(one.tool_call_id == tool_call_id for one in current.delegations):  # before a crash
                return
            begins = self._has_place()
            moments = _beginning(child, "Started" if begins else "Queued")
            self._store.add(replace(child, status="running" if begins else "queued", timeline=moments))
            self._store.add_delegation(replace(delegation, status="running" if begins else "pending"))
            self._changed(child.request_id)

    def _run_child(self, run: Run, child: Run) -> dict[str, Any]:
        deployment = self._deployments.find("workflow", child.name, child.variant)
        if deployment is not None and deployment.human_in_the_loop is not None:
            return {"error": "A workflow with a Human in the Loop step cannot run here: allow it in the background"}
        with self._store.transaction():
            if not self._runs(run):
                return {"error": "The agent's run has ended"}
            self._store.add(replace(child, timeline=_beginning(child, "Started")))
            self._changed(child.request_id)
        answer = self._answer(child)
        self._conclude(child, answer)
        return _result(answer)

    def _end_delegation(self, run: Run, answer: Answer) -> None:
        delegation = self._store.delegation_of(run.request_id)
        if delegation is None:
            return
        status: Any = run.status
        delegation = replace(delegation, status=status, result=_result(answer))
        self._store.save_delegation(delegation)
        parent = self._store.get(delegation.parent_request_id)
        options: dict[str, Any] = (parent.request.get("async") if parent else None) or {}
        if parent is not None and options.get("callback_url"):
            data = delegation_body(delegation)
            url = options["callback_url"]
            self._call_back(parent.kind, parent.name, url, DELEGATION_EVENT, parent.request_id, data)

    def _delivered(self, callback: Callback, attempt: CallbackAttempt) -> None:
        parent = self._store.get(callback.request_id)
        for delegation in parent.delegations if parent else ():
            if delegation.id.encode() in callback.body:
                delivered_at = attempt.started_at if attempt.accepted else delegation.delivered_at
                error = None if attempt.accepted else attempt.error or f"HTTP status {attempt.status_code}"
                self._store.save_delegation(replace(delegation, delivered_at=delivered_at, delivery_error=error))

    def _call_back(
        self, kind: Kind, name: str, url: str, event_type: str, request_id: str, data: dict[str, Any]
    ) -> None:
        secret = self._secret(kind, name)
        callback = signed_callback(url, event_type, request_id, data, secret=secret, choices=self._choices)
        self._store.add_callback(callback)
        if self._server is not None and self._choices.callback_delivery == "auto":
            self._jobs.append(Job("callback", callback.id))

    # --- small things -----------------------------------------------------------------------------

    def _recover(self) -> None:
        """Go on with what an earlier sandbox left undone. A caller that waited for its reply is gone."""
        waiting: tuple[Status, ...] = ("queued", "running", "paused")
        with self._store.transaction():
            for run in self._store.runs(RunFilter(statuses=waiting)):
                if run.status == "queued":
                    self._queue.append(run.request_id)
                elif run.status == "paused":
                    self._watch(run)
                elif not self._goes_on(run):
                    self._end(run, Answer(error=STOPPED))
            self._resume()
        self._go_on()

    def _resume(self) -> None:
        """Have all runs carried on that can be."""
        running = self._store.runs(RunFilter(statuses=("running",)))
        self._jobs.extend(Job("run", run.request_id) for run in running if self._goes_on(run))

    def _goes_on(self, run: Run) -> bool:
        """True for a running one whose caller waits for nothing more: it was accepted, or has its approvals."""
        if run.trigger == "delegation":
            return self._store.delegation_of(run.request_id) is not None
        return bool(run.approvals) or (run.reply is not None and not _streams(run))

    def _lose(self, request_id: str, why: str) -> None:
        """End a run that cannot be carried on."""
        with self._store.transaction():
            run = self._store.get(request_id)
            if run is not None and not run.ended:
                self._end(run, Answer(error=why))
        self._go_on()

    def _runs(self, run: Run) -> bool:
        """True unless it was forgotten or cancelled meanwhile."""
        current = self._store.get(run.request_id)
        return current is not None and not current.ended

    def _record(self, run: Run, what: str, **changes: Any) -> Run:
        recorded = with_changes(run, timeline=(*run.timeline, self._moment(what)), **changes)
        self._store.save(recorded)
        self._changed(run.request_id)
        return recorded

    def _moment(self, what: str) -> Moment:
        return Moment(at=self._clock(), what=what)

    def _changed(self, request_id: str, kind: Literal["run", "callback"] = "run") -> None:
        self._changes.append(Change(kind, request_id))

    def _go_on(self) -> None:
        """After a change, and outside of its transaction: let go on what can, and tell of it."""
        self._promote()
        server = self._server
        if server is not None and (self._jobs or self._deadlines):
            server()
        with suppress(IndexError):
            while True:
                self._tell(self._changes.popleft())


def _streams(run: Run) -> bool:
    """True if the reply to its caller is a stream."""
    return run.kind in ("prompt", "agent") and run.trigger == "api" and bool(run.request.get("streaming"))


def _beginning(run: Run, what: str) -> tuple[Moment, ...]:
    return Moment(at=run.started_at, what="Accepted"), Moment(at=run.started_at, what=what)


def _callback_url(run: Run, choices: Choices) -> str | None:
    """Where the end of a run is told, if it is."""
    if run.kind == "prompt":  # it has no callback delivery, whatever its request says
        return None
    options: dict[str, Any] = run.request.get("async") or {}
    url: str | None = options.get("callback_url")
    if run.kind == "agent" and run.trigger == "api":  # there it is for workflows in the background
        return url if choices.approval_callback and run.approvals else None
    return url if options.get("enabled") else None


def _result(answer: Answer) -> dict[str, Any]:
    return {"output": answer.text} if answer.error is None else {"error": answer.error}
