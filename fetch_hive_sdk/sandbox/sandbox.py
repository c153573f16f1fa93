"""`Sandbox`, the one thing to hold: it takes the replies you register and opens the doors to the engine."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar, Union, overload

import httpx

from ..errors import ConfigurationError
from ..jsonable import article
from .choices import DEFAULT_CHOICES, Choices
from .engine import Engine
from .ids import new_request_id
from .runs import Callback, Kind, Run
from .server import SandboxServer, serve
from .transport import SandboxTransport

if TYPE_CHECKING:
    from .. import AsyncFetchHive, FetchHive

__all__ = ["Sandbox"]

# Beside `object`, which says all, naming the function tells type checkers the argument of a lambda.
InputsReply = Union[Callable[[dict[str, Any]], object], object]
MessageReply = Union[Callable[[str], object], object]
InputsFunction = TypeVar("InputsFunction", bound=Callable[[dict[str, Any]], object])
MessageFunction = TypeVar("MessageFunction", bound=Callable[[str], object])

ANY_KEY = "fhk_sandbox"


def _now() -> datetime:
    return datetime.now(timezone.utc)


class Sandbox:
    """Fetch Hive on your own machine, for tests and for development. No model runs in it.

        sandbox = Sandbox()
        sandbox.prompt("support-classifier", reply="billing")

        @sandbox.workflow("research-brief")
        def brief(inputs):
            return f"Brief on {inputs['topic']}"

        client = sandbox.client()
        client.invoke_workflow(deployment="research-brief", variant="default", inputs={"topic": "AI"})

    A reply is a text, an `Answer`, any JSON value (sent as its text) or a function that returns one of these.
    A function that raises makes the run fail with the error's text. What was not registered answers with an
    echo of what it was sent.

    Args:
        api_key: The one key accepted. Default None: any key that is not empty.
        lenient: True also accepts requests without a variant, which the service refuses, and adds the keys
            `status` and `run_id` to replies of workflows: both as the OpenAPI description has it, against the
            documentation.
        choices: What to do where the documentation is silent.
        deliver_to: Hosts, beside loopback, to which the server may deliver callbacks. For any other host an
            attempt is recorded as withheld, and nothing is contacted.
        clock: Tells the time, with a time zone. Default: the system's, in UTC.
        new_request_id: Makes a new request id each time. Default: `req_` and a version 7 UUID.

    Attributes:
        engine: What answers. `engine.handle` takes requests from any other door you may need.

    Raises:
        ConfigurationError: `api_key` is empty, `deliver_to` a single text, or `choices` no `Choices`.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        lenient: bool = False,
        choices: Choices = DEFAULT_CHOICES,
        deliver_to: Collection[str] = (),
        clock: Callable[[], datetime] = _now,
        new_request_id: Callable[[], str] = new_request_id,
    ) -> None:
        if api_key == "":
            raise ConfigurationError("api_key is empty.", hint="Pass None to accept any key.")
        if isinstance(deliver_to, str):
            raise ConfigurationError("deliver_to is one text.", hint="Pass a list of hosts.")
        if not isinstance(choices, Choices):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"choices: {article(choices)} is not allowed.", hint="Pass a Choices(...).")
        self.engine = Engine(
            api_key=api_key, lenient=lenient, choices=choices, clock=clock, new_request_id=new_request_id
        )
        self._api_key = api_key or ANY_KEY
        self._deliver_to = tuple(deliver_to)

    @property
    def runs(self) -> list[Run]:
        """Every accepted run since the last reset, oldest first, as it is now."""
        return self.engine.runs

    @property
    def callbacks(self) -> list[Callback]:
        """Every callback since the last reset, in the order their runs began, delivered or not."""
        return [callback for run in self.engine.runs for callback in run.callbacks]

    def reset(self) -> None:
        """Forget all runs and callbacks. Registered replies and webhook secrets stay."""
        self.engine.reset()

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
        self, deployment: str, *, reply: InputsReply, variant: str | None = None, secret: str | None = None
    ) -> None: ...
    @overload
    def workflow(
        self, deployment: str, *, variant: str | None = None, secret: str | None = None
    ) -> Callable[[InputsFunction], InputsFunction]: ...
    def workflow(
        self,
        deployment: str,
        *,
        reply: InputsReply = None,
        variant: str | None = None,
        secret: str | None = None,
    ) -> Any:
        """Register the output of a workflow deployment. Without `reply` this is a decorator.

        Args:
            deployment: The deployment's name.
            reply: A text, an `Answer`, a JSON value other than None, or a function of the inputs that returns
                one of these.
            variant: The one variant this reply is for. Default: all that have none of their own.
            secret: The deployment's webhook secret, which signs its callbacks. Default: one the sandbox
                makes.

        Raises:
            ConfigurationError: `secret` is empty.
            InvalidRequestError: The reply has no JSON form.
        """
        if secret == "":
            raise ConfigurationError("secret is empty.", hint="Leave it out to have one made.")
        if secret is not None:
            self.engine.set_secret(deployment, secret)
        return self._register("workflow", deployment, variant, reply)

    @overload
    def agent(self, agent: str, *, reply: MessageReply) -> None: ...
    @overload
    def agent(self, agent: str) -> Callable[[MessageFunction], MessageFunction]: ...
    def agent(self, agent: str, *, reply: MessageReply = None) -> Any:
        """Register the reply of an agent. Without `reply` this is a decorator.

        Args:
            agent: The agent's id.
            reply: A text, an `Answer`, a JSON value other than None, or a function of the message that returns
                one of these.

        Raises:
            InvalidRequestError: The reply has no JSON form.
        """
        return self._register("agent", agent, None, reply)

    def webhook_secret(self, deployment: str) -> str:
        """The secret that signs a workflow deployment's callbacks. It stays as long as the sandbox lives."""
        return self.engine.secret(deployment)

    def client(self, **options: Any) -> FetchHive:
        """A `FetchHive` that talks to this sandbox in the same process: no socket, no thread.

        Args:
            options: Further arguments of `FetchHive`, such as `default_metadata`.
        """
        from .. import FetchHive

        http_client = httpx.Client(transport=SandboxTransport(self))
        return FetchHive(**self._client_options(http_client), **options)

    def async_client(self, **options: Any) -> AsyncFetchHive:
        """An `AsyncFetchHive` that talks to this sandbox in the same process: no socket, no thread.

        Args:
            options: Further arguments of `AsyncFetchHive`, such as `default_metadata`.
        """
        from .. import AsyncFetchHive

        http_client = httpx.AsyncClient(transport=SandboxTransport(self))
        return AsyncFetchHive(**self._client_options(http_client), **options)

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
            ImportError: On entering, if the extra `fetch-hive-sdk[sandbox]` is not installed.
            OSError: On entering, if the address cannot be listened on.
        """
        return serve(self.engine, host=host, port=port, api_key=self._api_key, deliver_to=self._deliver_to)

    def _register(self, kind: Kind, name: str, variant: str | None, reply: object) -> object:
        if reply is not None:
            self.engine.deployments.add(kind, name, variant, reply)
            return None

        def register(function: Callable[[Any], object]) -> Callable[[Any], object]:
            self.engine.deployments.add(kind, name, variant, function)
            return function

        return register

    def _client_options(self, http_client: httpx.Client | httpx.AsyncClient) -> dict[str, Any]:
        return {"api_key": self._api_key, "base_url": "http://sandbox.test/v1", "http_client": http_client}
