"""What was registered for prompts, workflows and agents, and what one answers that was not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Literal

from ..errors import ConfigurationError
from ..jsonable import article
from .answers import Answer, answer_of
from .runs import Kind, Run
from .wire import json_text

__all__ = ["LONGEST_WAIT", "Deployment", "Deployments", "HumanInTheLoop", "InputType", "input_types"]

LONGEST_WAIT = 1_000_000_000  # seconds; calendars end

InputType = Literal["text", "array", "number", "boolean", "object"]

_PYTHON_TYPES: dict[object, InputType] = {
    str: "text",
    list: "array",
    int: "number",
    float: "number",
    bool: "boolean",
    dict: "object",
}
_TYPES: dict[object, InputType] = {**_PYTHON_TYPES, **{name: name for name in _PYTHON_TYPES.values()}}


@dataclass(frozen=True)
class HumanInTheLoop:
    """A step at which a workflow waits until somebody chooses.

    Attributes:
        question: What is asked.
        options: What may be chosen. Default: `"approve"` and `"reject"`.
        timeout: Seconds after which the wait ends, at most 1,000,000,000. Default None: it never does.
        on_timeout: What happens then: `"fail"`, the default, or `"continue"` without a choice.

    Raises:
        ConfigurationError: There is no option, or `timeout` or `on_timeout` is not allowed.
    """

    question: str = "How should this run go on?"
    options: tuple[str, ...] = ("approve", "reject")
    timeout: float | None = None
    on_timeout: Literal["fail", "continue"] = "fail"

    def __post_init__(self) -> None:
        if not self.options or isinstance(self.options, str):
            raise ConfigurationError(
                "options of a Human in the Loop step: none are given.", hint="Pass a list of texts."
            )
        if self.timeout is not None and not 0 < self.timeout <= LONGEST_WAIT:
            raise ConfigurationError(
                f"timeout of a Human in the Loop step must be above 0 s, and at most {LONGEST_WAIT:,} s.",
                hint="None waits for ever.",
            )
        if self.on_timeout not in ("fail", "continue"):
            raise ConfigurationError(
                "on_timeout of a Human in the Loop step: not known.", hint='It is "fail" or "continue".'
            )
        object.__setattr__(self, "options", tuple(self.options))


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A registered prompt, workflow, agent or hive agent.

    Attributes:
        kind: What it is.
        name: Its name; of an agent, its id.
        variant: The one variant it is for; None for all that have none of their own.
        inputs: Types of the inputs that a workflow's Start step declares.
        human_in_the_loop: The choice a workflow waits for, if it does.
        computed: True if a function makes its replies.
    """

    kind: Kind
    name: str
    variant: str | None = None
    inputs: Mapping[str, InputType] = field(default_factory=dict[str, InputType])
    human_in_the_loop: HumanInTheLoop | None = None
    computed: bool = False
    reply: Callable[..., object] = field(repr=False)


class Deployments:
    """The registered replies. One without a variant serves every variant that has none of its own."""

    def __init__(self) -> None:
        self._all: dict[tuple[Kind, str, str | None], Deployment] = {}

    def add(
        self,
        kind: Kind,
        name: str,
        variant: str | None,
        reply: object,
        *,
        inputs: Mapping[str, InputType] | None = None,
        human_in_the_loop: HumanInTheLoop | None = None,
    ) -> None:
        """Register a reply, in place of an earlier one for the same name and variant.

        Args:
            kind: What is registered.
            name: Its name.
            variant: The one variant it is for; None for any.
            reply: A function of the inputs (an agent's: of the message; with `human_in_the_loop`: of the inputs
                and the choice), an `Answer`, a text, or any JSON value.
            inputs: Types of the Start step's inputs.
            human_in_the_loop: The choice it waits for.

        Raises:
            ConfigurationError: The function is asynchronous.
            InvalidRequestError: The reply is none of these.
        """
        if iscoroutinefunction(reply):
            raise ConfigurationError(
                f"reply of {name!r}: an async function is not allowed.",
                hint="Pass a plain function. It is called in a thread, and may block.",
            )
        function = reply if callable(reply) else _always(answer_of(reply))
        self._all[kind, name, variant] = Deployment(
            kind=kind,
            name=name,
            variant=variant,
            inputs=inputs or {},
            human_in_the_loop=human_in_the_loop,
            computed=callable(reply),
            reply=function,
        )

    def all(self) -> list[Deployment]:
        """Every one, by kind, name and variant."""
        return sorted(self._all.values(), key=lambda one: (one.kind, one.name, one.variant or ""))

    def find(self, kind: Kind, name: str, variant: str | None) -> Deployment | None:
        """The one that answers for a variant; None if nothing is registered."""
        return self._all.get((kind, name, variant)) or self._all.get((kind, name, None))

    def known(self, run: Run) -> Answer | None:
        """What a run answers where no function of somebody's makes that; else None."""
        deployment = self.find(run.kind, run.name, run.variant)
        return None if deployment and deployment.computed else _fixed(deployment, run)

    def answer(self, run: Run) -> Answer:
        """What a run answers. A function that raises, or returns None, makes it fail and say so."""
        deployment = self.find(run.kind, run.name, run.variant)
        if deployment is None or not deployment.computed:
            return _fixed(deployment, run)
        given: list[object] = [deepcopy(dict(run.inputs)) if run.message is None else run.message]
        if deployment.human_in_the_loop is not None:
            given.append(run.human_step.choice if run.human_step else None)
        try:
            made = deployment.reply(*given)
            # Most likely a return that was forgotten; "null" would hide it.
            return Answer(error="The reply function returned None") if made is None else answer_of(made)
        except (Exception, SystemExit) as error:  # a function that exits must not end the server
            return Answer(error=_told(error))


def input_types(inputs: Mapping[str, object]) -> dict[str, InputType]:
    """The types of Start inputs, from Python's (`str`, `list`, …) or from the service's names (`"text"`, …).

    Raises:
        ConfigurationError: One is neither; the message names it.
    """
    known: dict[str, InputType] = {}
    for name, given in inputs.items():
        named = _TYPES.get(given) if isinstance(given, (str, type)) else None
        if named is None:
            said = repr(given) if isinstance(given, (str, type)) else article(given)
            raise ConfigurationError(
                f"inputs.{name}: {said} is no type of a Start input.",
                hint="Use str, list, int, float, bool or dict; or text, array, number, boolean or object.",
            )
        known[name] = named
    return known


def _always(answer: Answer) -> Callable[..., object]:
    return lambda *_given: answer


def _fixed(deployment: Deployment | None, run: Run) -> Answer:
    """What is answered without a function of somebody's."""
    return Answer(_echo(run)) if deployment is None else answer_of(deployment.reply())


def _told(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # its own __str__ fails
        text = ""
    name = type(error).__name__
    return f"{name}: {text}" if isinstance(error, SystemExit) else text or name


def _echo(run: Run) -> str:
    if run.message is not None:
        return f"Sandbox echo of {run.name}: {json_text(run.message)}"
    name = f"{run.deployment} ({run.variant})" if run.variant else run.deployment
    inputs = ", ".join(f"{key} = {json_text(value)}" for key, value in run.inputs.items())
    return f"Sandbox echo of {name}: {inputs or 'no inputs'}"
