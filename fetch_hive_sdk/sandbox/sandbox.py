"""`Sandbox`, the one thing to hold: it takes the replies you register and opens the doors to the engine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar, Union, overload

from typing_extensions import Self

from ..callbacks import CallbackVerifier
from ..errors import ConfigurationError, InvalidRequestError
from ..jsonable import article
from ..retries import RetryPolicy
from .addresses import is_host
from .changes import Change
from .choices import DEFAULT_CHOICES, Choices
from .claim import Claim
from .deployments import HumanInTheLoop, InputType, input_types
from .engine import ORIGIN, PLANS, Engine, Plan
from .faults import FaultLike, fault_of
from .ids import WORKSPACE_ID, new_request_id
from .refusals import Refusal
from .resources.chats import add_message
from .runs import Approval, Callback, Kind, Run
from .server import SandboxServer, serve
from .store import Store
from .transport import SandboxTransport

if TYPE_CHECKING:
    from .. import AsyncFetchHive, FetchHive

__all__ = ["Sandbox"]

# Beside `object`, which says all, naming the function tells type checkers the argument of a lambda.
InputsReply = Union[Callable[[dict[str, Any]], object], object]
WorkflowReply = Union[Callable[[dict[str, Any]], object], Callable[[dict[str, Any], Union[str, None]], object], object]
MessageReply = Union[Callable[[str], object], object]
InputsFunction = TypeVar("InputsFunction", bound=Callable[[dict[str, Any]], object])
MessageFunction = TypeVar("MessageFunction", bound=Callable[[str], object])
WorkflowFunction = TypeVar("WorkflowFunction", bound=Callable[..., object])
StartInputs = Mapping[str, Union[type, InputType]]

ANY_KEY = "fhk_sandbox"
NO_DELAY = RetryPolicy(initial_delay=0)


def _now() -> datetime:
    return datetime.now(timezone.utc)


class Sandbox:
    """Fetch Hive on your own machine, for tests and for development. No model runs in it.

        sandbox = Sandbox()
        sandbox.prompt("support-classifier", reply="billing")

        @sandbox.workflow("research-brief", inputs={"topic": str})
        def brief(inputs):
            return f"Brief on {inputs['topic']}"

        client = sandbox.client()
        client.invoke_workflow(deployment="research-brief", variant="default", inputs={"topic": "AI"})

    A reply is a text, an `Answer`, any JSON value (sent as its text) or a function that returns one of these.
    A function that raises makes the run fail with the error's text. What was not registered answers with an
    echo of what it was sent.

    Knowledge bases, agents, chats and assets are kept as they are made over the API. Whatever its type, a search in a
    knowledge base is one for words, since there are no embeddings; and a website is not fetched.

    Args:
        api_key: The one key accepted. Default None: any key that is not empty.
        lenient: True also accepts requests without a variant, which the service refuses, and adds the keys
            `status` and `run_id` to replies of workflows: both as the OpenAPI description has it, against the
            documentation.
        strict: True refuses deployments and agents that are neither registered nor made over the API, with 404.
        plan: `"lite"`, `"starter"` or `"pro"`: 1, 3 or 5 workflows at once. One more is refused with 429, or
            queued if it has callback delivery. Default None: any number.
        daily_limit: Calls that are answered on one day in UTC; the next is refused with 429. Default None: any
            number.
        may_auto_approve: False refuses `tool_approval: "auto_approve"` with 403, as for a key without that
            permission. Default True.
        db: File to keep everything in (SQLite). A sandbox that is started on it again goes on where the last
            one stopped. Default None: in memory.
        choices: What to do where the documentation is silent.
        deliver_to: Hosts, beside loopback, to which the server may deliver callbacks. For any other host an
            attempt is recorded as withheld, and nothing is contacted.
        clock: Tells the time, with a time zone. Default: the system's, in UTC.
        new_request_id: Makes a new request id each time. Default: `req_` and a version 7 UUID.

    Attributes:
        engine: What answers. `engine.handle` takes requests from any other door you may need.
        workspace_id: The one workspace there is, for paths such as `/public/workspaces/{workspace_id}/…`.

    Raises:
        ConfigurationError: `api_key` is empty, `deliver_to` a single text, `choices` no `Choices`, `plan` not
            known, `daily_limit` below 0, or `db` empty or not to be used: another sandbox has it, or it is no
            such file.
    """

    workspace_id = WORKSPACE_ID

    def __init__(
        self,
        *,
        api_key: str | None = None,
        lenient: bool = False,
        strict: bool = False,
        plan: Plan | None = None,
        daily_limit: int | None = None,
        may_auto_approve: bool = True,
        db: str | os.PathLike[str] | None = None,
        choices: Choices = DEFAULT_CHOICES,
        deliver_to: Collection[str] = (),
        clock: Callable[[], datetime] = _now,
        new_request_id: Callable[[], str] = new_request_id,
    ) -> None:
        if api_key == "":
            raise ConfigurationError("api_key is empty.", hint="Pass None to accept any key.")
        if api_key is not None and not re.fullmatch(r"[!-~]+", api_key):
            raise ConfigurationError(
                "api_key has a space, a line break or a character outside ASCII in it.",
                hint="No client could send it. Choose another.",
            )
        if isinstance(deliver_to, str):
            raise ConfigurationError("deliver_to is one text.", hint="Pass a list of hosts.")
        for host in deliver_to:
            if not is_host(host):
                raise ConfigurationError(
                    f"deliver_to: {host!r} is no host.", hint="Pass a name or an address, without http:// and port."
                )
        if not isinstance(choices, Choices):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"choices: {article(choices)} is not allowed.", hint="Pass a Choices(...).")
        if plan is not None and plan not in PLANS:
            raise ConfigurationError(f"plan: {plan!r} is not known.", hint=f"It is one of {', '.join(PLANS)}.")
        if daily_limit is not None and daily_limit < 0:
            raise ConfigurationError("daily_limit is below 0.", hint="Pass None for no limit.")
        if db == ":memory:":  # as SQLite calls it
            db = None
        if db is not None and not os.fspath(db):
            raise ConfigurationError("db is empty.", hint="Pass None to keep everything in memory.")
        self._claim = None if db is None else Claim(db)
        with ExitStack() as opened:
            if self._claim is not None:
                opened.callback(self._claim.release)
            self._store = Store(db)
            opened.callback(self._store.close)
            self.engine = Engine(
                self._store,
                api_key=api_key,
                lenient=lenient,
                strict=strict,
                plan=plan,
                daily_limit=daily_limit,
                may_auto_approve=may_auto_approve,
                choices=choices,
                clock=clock,
                new_request_id=new_request_id,
            )
            self._opened = opened.pop_all()
        self._api_key = api_key or ANY_KEY
        self._deliver_to = tuple(deliver_to)

    @classmethod
    def from_config(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """A sandbox with the settings, deployments and faults of a TOML file.

        Args:
            path: The file. Its form is shown in the documentation, under "Deployments in a file".
            options: Arguments of `Sandbox`, which go before those of the file.

        Raises:
            ConfigurationError: The file cannot be read, or something in it is not known; the message names it.
            ImportError: On Python 3.10 only: the extra that brings a reader of TOML is not installed.
        """
        try:
            from .config import load
        except ImportError as missing:
            raise ImportError("A sandbox from a file needs: pip install 'fetch-hive-sdk[sandbox]'") from missing

        config = load(path)
        sandbox = cls(**{**config.options, **options})
        with ExitStack() as undo:
            undo.callback(sandbox.close)
            config.register(sandbox)
            undo.pop_all()
        return sandbox

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file of `db`. In memory, everything is forgotten."""
        self._opened.close()

    @property
    def runs(self) -> list[Run]:
        """Every accepted run since the last reset, oldest first, as it is now."""
        self.engine.settle()
        return self.engine.runs

    @property
    def callbacks(self) -> list[Callback]:
        """Every callback since the last reset, in the order they were made, delivered or not."""
        self.engine.settle()
        return self._store.callbacks()

    @property
    def approvals(self) -> list[Approval]:
        """Tool calls that wait for a decision, oldest first."""
        return self._store.approvals(status="pending")[::-1]

    def reset(self) -> None:
        """Forget all runs and callbacks, today's count of calls and scripted faults.

        What was made over the API is forgotten as well: knowledge bases, agents, chats, assets. Registered replies and
        webhook secrets stay.
        """
        self.engine.reset()

    def fail_next(self, fault: FaultLike, *, times: int = 1, kind: Kind | None = None, name: str | None = None) -> None:
        """Make something go wrong with the next request.

            sandbox.fail_next("too_many_requests", times=2)
            sandbox.fail_next(Fault(cut="reset", after=3), kind="agent")

        Args:
            fault: A `Fault`, an error code, a status, or the fields of a fault as a text or a mapping.
            times: How many requests it happens to.
            kind: The one kind of run it is for. Default: any request.
            name: The one deployment or agent it is for. Default: any.

        Raises:
            ConfigurationError: There is no such fault; the message names what is wrong with it.
        """
        self.engine.faults.add(fault_of(fault), times=times, kind=kind, name=name)

    def choose(self, request_id: str, choice: str) -> Run:
        """Answer the question that a Human in the Loop step asks, so that the run goes on.

        Args:
            request_id: The run that waits.
            choice: One of the step's options.

        Raises:
            InvalidRequestError: No such run waits, or the choice is none of its options.
        """
        with _refusals_raised():
            self.engine.choose(request_id, choice)
        return self._settled(request_id)

    def decide(self, approval_id: str, decision: str) -> Run:
        """Allow or deny a tool call of an agent. Once all are decided, its run goes on.

        Args:
            approval_id: Which one; they are in `sandbox.approvals`, and in the agent's reply.
            decision: `"allow_once"` or `"deny"`.

        Raises:
            InvalidRequestError: It is not known, is decided already, or the decision is neither.
        """
        with _refusals_raised():
            approval = self.engine.decide(approval_id, decision, via="api")
        return self._settled(approval.request_id)

    def cancel(self, request_id: str) -> Run:
        """End a run that has not ended, with the status `cancelled`.

        Raises:
            InvalidRequestError: There is no such run, or it has ended.
        """
        with _refusals_raised():
            self.engine.cancel(request_id)
        return self._settled(request_id)

    def redeliver(self, callback: Callback) -> None:
        """Have the running server deliver a callback once more.

        Raises:
            InvalidRequestError: It has been forgotten, or no server runs.
        """
        with _refusals_raised():
            self.engine.redeliver(callback.id)

    def add_chat_message(self, chat_id: str, content: str, role: str = "user") -> dict[str, Any]:
        """Put a message at the end of a chat, which the API has no operation for.

        Args:
            chat_id: The chat's id, which the API tells when one is made.
            content: The text.
            role: `"user"`, `"assistant"` or `"system"`. Default: a user's.

        Returns:
            The message, as the API lists it.

        Raises:
            InvalidRequestError: There is no such chat, or no such role.
        """
        with _refusals_raised():
            message = add_message(self.engine.desk, chat_id, role, content)
        self.engine.tell(Change("resource"))
        return message

    @overload
    def prompt(self, deployment: str, *, reply: InputsReply, variant: str | None = None) -> None: ...
    @overload
    def prompt(self, deployment: str, *, variant: str | None = None) -> Callable[[InputsFunction], InputsFunction]: ...
    def prompt(self, deployment: str, *, reply: InputsReply = None, variant: str | None = None) -> Any:
        """Register the reply of a prompt deployment. Without `reply` this is a decorator.

        Args:
            deployment: The deployment's name.
            reply: A text, an `Answer`, a JSON value other than None, or a function of the inputs that returns
                one of these.
            variant: The one variant this reply is for. Default: all that have none of their own.

        Raises:
            InvalidRequestError: The reply has no JSON form.
        """
        return self._register("prompt", deployment, variant, reply)

    @overload
    def workflow(
        self,
        deployment: str,
        *,
        reply: WorkflowReply,
        variant: str | None = None,
        secret: str | None = None,
        inputs: StartInputs | None = None,
        human_in_the_loop: bool | HumanInTheLoop = False,
    ) -> None: ...
    @overload
    def workflow(
        self,
        deployment: str,
        *,
        variant: str | None = None,
        secret: str | None = None,
        inputs: StartInputs | None = None,
        human_in_the_loop: bool | HumanInTheLoop = False,
    ) -> Callable[[WorkflowFunction], WorkflowFunction]: ...
    def workflow(
        self,
        deployment: str,
        *,
        reply: WorkflowReply = None,
        variant: str | None = None,
        secret: str | None = None,
        inputs: StartInputs | None = None,
        human_in_the_loop: bool | HumanInTheLoop = False,
    ) -> Any:
        """Register the output of a workflow deployment. Without `reply` this is a decorator.

        Args:
            deployment: The deployment's name.
            reply: A text, an `Answer`, a JSON value other than None, or a function of the inputs that returns
                one of these. With `human_in_the_loop` the function takes the choice as well: None after a
                timeout.
            variant: The one variant this reply is for. Default: all that have none of their own.
            secret: The deployment's webhook secret, which signs its callbacks. Default: one the sandbox
                makes.
            inputs: What the Start step declares: names and types, `{"topic": str, "companies": list}`. Inputs
                of another type are refused. Default: anything goes.
            human_in_the_loop: True, or a `HumanInTheLoop`, makes the run wait until somebody chooses: in the
                browser, by `choose`, or over HTTP.

        Raises:
            ConfigurationError: `secret` is empty or has spaces at its ends, or an input has no such type.
            InvalidRequestError: The reply has no JSON form.
        """
        human = HumanInTheLoop() if human_in_the_loop is True else human_in_the_loop or None
        types = input_types(inputs or {})
        return self._register("workflow", deployment, variant, reply, secret, inputs=types, human_in_the_loop=human)

    @overload
    def agent(self, agent: str, *, reply: MessageReply, secret: str | None = None) -> None: ...
    @overload
    def agent(self, agent: str, *, secret: str | None = None) -> Callable[[MessageFunction], MessageFunction]: ...
    def agent(self, agent: str, *, reply: MessageReply = None, secret: str | None = None) -> Any:
        """Register the reply of an agent. Without `reply` this is a decorator.

        Args:
            agent: The agent's id.
            reply: A text, an `Answer`, a JSON value other than None, or a function of the message that returns
                one of these.
            secret: The agent's webhook secret. Default: one the sandbox makes.

        Raises:
            ConfigurationError: `secret` is empty or has spaces at its ends.
            InvalidRequestError: The reply has no JSON form.
        """
        return self._register("agent", agent, None, reply, secret)

    @overload
    def hive_agent(self, hive_agent: str, *, reply: MessageReply, secret: str | None = None) -> None: ...
    @overload
    def hive_agent(
        self, hive_agent: str, *, secret: str | None = None
    ) -> Callable[[MessageFunction], MessageFunction]: ...
    def hive_agent(self, hive_agent: str, *, reply: MessageReply = None, secret: str | None = None) -> Any:
        """Register what a hive agent comes to. Without `reply` this is a decorator.

        Args:
            hive_agent: The hive agent's id.
            reply: A text, an `Answer`, a JSON value other than None, or a function of the objective that
                returns one of these.
            secret: The hive agent's webhook secret. Default: one the sandbox makes.

        Raises:
            ConfigurationError: `secret` is empty or has spaces at its ends.
            InvalidRequestError: The reply has no JSON form.
        """
        return self._register("hive_agent", hive_agent, None, reply, secret)

    def webhook_secret(self, name: str, *, kind: Kind = "workflow") -> str:
        """The secret that signs a deployment's or agent's callbacks, and lets its webhook trigger in.

        It stays as long as the sandbox lives; with `db`, as long as the file does.

        Args:
            name: The workflow's deployment, or the agent.
            kind: What it is the name of. Default: a workflow.
        """
        return self.engine.secret(kind, name)

    def client(self, **options: Any) -> FetchHive:
        """A `FetchHive` that talks to this sandbox in the same process: no socket, no thread.

        It repeats calls as any other, but without a delay.

        Args:
            options: Further arguments of `FetchHive`, such as `default_metadata` or a `retry_policy`.
        """
        from .. import FetchHive

        return FetchHive(**{**self._client_options(), **options})

    def async_client(self, **options: Any) -> AsyncFetchHive:
        """An `AsyncFetchHive` that talks to this sandbox in the same process: no socket, no thread.

        It repeats calls as any other, but without a delay.

        Args:
            options: Further arguments of `AsyncFetchHive`, such as `default_metadata` or a `retry_policy`.
        """
        from .. import AsyncFetchHive

        return AsyncFetchHive(**{**self._client_options(), **options})

    def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> AbstractContextManager[SandboxServer]:
        """Serve the sandbox on this machine while the `with` block lasts.

            with sandbox.serve() as server:
                client = FetchHive(base_url=server.base_url, api_key=server.api_key)

        Callbacks are really posted, signed, to loopback hosts and to those in `deliver_to`, and repeated
        until they are answered with 2xx or the attempts are used up; every attempt is in `sandbox.callbacks`.
        Leaving the block ends that too: `server.wait_for_callbacks()` waits for them. Nobody but this machine
        can reach the server unless `host` says otherwise; a warning then says so.

        Args:
            host: Address to listen on. Default: loopback.
            port: Port to listen on. Default 0: one that is free.

        Raises:
            ConfigurationError: On entering, if `host` is no loopback address and the sandbox has no `api_key`, or
                if it is served already.
            ImportError: On entering, if the extra `fetch-hive-sdk[sandbox]` is not installed.
            OSError: On entering, if the address cannot be listened on.
        """
        return serve(self.engine, host=host, port=port, api_key=self._api_key, deliver_to=self._deliver_to)

    def _register(
        self, kind: Kind, name: str, variant: str | None, reply: object, secret: str | None = None, **more: Any
    ) -> object:
        if secret == "":
            raise ConfigurationError("secret is empty.", hint="Leave it out to have one made.")
        if secret is not None:
            CallbackVerifier(secret)  # what it refuses could sign no callback
            self.engine.set_secret(kind, name, secret)
        if reply is not None:
            self.engine.deployments.add(kind, name, variant, reply, **more)
            return None

        def register(function: Callable[..., object]) -> Callable[..., object]:
            self.engine.deployments.add(kind, name, variant, function, **more)
            return function

        return register

    def _settled(self, request_id: str) -> Run:
        self.engine.settle()
        run = self.engine.run(request_id)
        assert run is not None
        return run

    def _client_options(self) -> dict[str, Any]:
        # No time passes in the transport, so there is none to let pass before a call is repeated.
        return {
            "http_client": SandboxTransport(self),
            "api_key": self._api_key,
            "base_url": f"{ORIGIN}/v1",
            "workspace_id": self.workspace_id,
            "retry_policy": NO_DELAY,
        }


@contextmanager
def _refusals_raised() -> Generator[None, None, None]:
    try:
        yield
    except Refusal as refusal:
        raise InvalidRequestError(f"{refusal.text.removesuffix('.')}.") from None
