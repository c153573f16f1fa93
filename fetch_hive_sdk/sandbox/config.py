"""The sandbox's configuration file: settings, deployments and faults in TOML.

plan = "starter"

[choices]
failed_workflow = "state"

[[workflow]]
name = "research-brief"
inputs = { topic = "text", companies = "array" }
reply = "A brief."

[[fault]]
fault = "too_many_requests"
kind = "prompt"
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)
from typing_extensions import Self

from ..errors import ConfigurationError
from ..jsonable import plain
from .answers import Answer
from .choices import DEFAULT_CHOICES, Choices
from .deployments import LONGEST_WAIT, HumanInTheLoop, InputType
from .engine import Plan
from .faults import fault_of
from .runs import Kind

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from .sandbox import Sandbox

__all__ = ["Config", "load"]

Text = Annotated[str, Field(min_length=1)]

HINT = 'What a file may hold stands on the documentation\'s page "The sandbox", under "Deployments in a file".'
# In the words of TOML, where pydantic's are Python's.
_TOLD = {
    "dataclass_type": "a table is needed",
    "dict_type": "a table is needed",
    "extra_forbidden": "there is no such key",
    "missing": "it is missing",
    "model_type": "a table is needed",
    "string_too_short": "it is empty",
    "too_short": "it is empty",
    "tuple_type": "an array is needed",
    "unexpected_keyword_argument": "there is no such key",
}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _json(value: object) -> Any:
    return plain(value, "reply")


class _Replying(_Table):
    """What every deployment has: a name, and a reply in one of three forms."""

    name: Text
    reply: Annotated[Any, AfterValidator(_json)] = None
    answer: Answer | None = None
    function: Text | None = None

    @model_validator(mode="after")
    def _one_reply(self) -> Self:
        if [self.reply, self.answer, self.function].count(None) < 2:
            raise ValueError("give one of reply, answer and function")
        return self

    def what(self, base: Path) -> object:
        """What to register: a value, an `Answer`, or the function that is named; without any, a plain text."""
        if self.function is not None:
            return _function(self.function, base)
        return self.answer or (self.reply if self.reply is not None else f"Reply of {self.name}")


class _Prompt(_Replying):
    variant: Text | None = None


class _Agent(_Replying):
    secret: Text | None = None


class _Human(_Table):
    question: Text = HumanInTheLoop.question
    options: Annotated[tuple[Text, ...], Field(min_length=1)] = HumanInTheLoop.options
    timeout: Annotated[float, Field(gt=0, le=LONGEST_WAIT)] | None = None
    on_timeout: Literal["fail", "continue"] = "fail"


def _human(given: object) -> object:
    return ({} if given else None) if isinstance(given, bool) else given


class _Workflow(_Agent):
    variant: Text | None = None
    inputs: dict[str, InputType] = Field(default_factory=dict)
    human_in_the_loop: Annotated[_Human | None, BeforeValidator(_human)] = None


class _ScriptedFault(_Table):
    fault: Annotated[Any, AfterValidator(fault_of)]
    times: Annotated[int, Field(ge=1)] = 1
    kind: Kind | None = None
    name: Text | None = None


class _File(_Table):
    """The form of the file."""

    api_key: Text | None = None
    lenient: StrictBool = False
    strict: StrictBool = False
    plan: Plan | None = None
    daily_limit: Annotated[int, Field(ge=0)] | None = None
    may_auto_approve: StrictBool = True
    db: Text | None = None
    deliver_to: tuple[Text, ...] = ()
    choices: Choices = DEFAULT_CHOICES
    prompt: tuple[_Prompt, ...] = ()
    workflow: tuple[_Workflow, ...] = ()
    agent: tuple[_Agent, ...] = ()
    hive_agent: tuple[_Agent, ...] = ()
    fault: tuple[_ScriptedFault, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        known: set[tuple[str, str, str | None]] = set()
        for kind, tables in (
            ("prompt", self.prompt),
            ("workflow", self.workflow),
            ("agent", self.agent),
            ("hive_agent", self.hive_agent),
        ):
            for table in tables:
                one = (kind, table.name, getattr(table, "variant", None))
                if one in known:
                    raise ValueError(f"{kind} {table.name!r} is there twice; variants have to differ")
                known.add(one)
        return self


ReplyingT = TypeVar("ReplyingT", bound=_Replying)


@dataclass(frozen=True)
class Config:
    """A configuration file that was read.

    Attributes:
        path: Where it is, for what it names relatively.
        file: What it holds.
    """

    path: Path
    file: _File

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `Sandbox` that the file gives."""
        names = self.file.model_fields_set - {"prompt", "workflow", "agent", "hive_agent", "fault"}
        options = {name: getattr(self.file, name) for name in names}
        if self.file.db is not None:
            options["db"] = self.path.parent / self.file.db
        return options

    def register(self, sandbox: Sandbox) -> None:
        """Give a sandbox the file's deployments and faults.

        Raises:
            ConfigurationError: A function cannot be imported.
        """
        for prompt, reply in self._replies("prompt", self.file.prompt):
            sandbox.prompt(prompt.name, reply=reply, variant=prompt.variant)
        for workflow, reply in self._replies("workflow", self.file.workflow):
            human = workflow.human_in_the_loop
            sandbox.workflow(
                workflow.name,
                reply=reply,
                variant=workflow.variant,
                secret=workflow.secret,
                inputs=workflow.inputs,
                human_in_the_loop=HumanInTheLoop(**human.model_dump()) if human else False,
            )
        for agent, reply in self._replies("agent", self.file.agent):
            sandbox.agent(agent.name, reply=reply, secret=agent.secret)
        for hive_agent, reply in self._replies("hive_agent", self.file.hive_agent):
            sandbox.hive_agent(hive_agent.name, reply=reply, secret=hive_agent.secret)
        for scripted in self.file.fault:
            sandbox.fail_next(scripted.fault, times=scripted.times, kind=scripted.kind, name=scripted.name)

    def _replies(self, key: str, tables: Sequence[ReplyingT]) -> Iterator[tuple[ReplyingT, object]]:
        for index, table in enumerate(tables):
            try:
                reply = table.what(self.path.parent)
            except ConfigurationError as error:
                where = f"{self.path}: {key}[{index}].function"
                raise ConfigurationError(f"{where}: {error.message}", hint=error.hint) from error.__cause__
            yield table, reply


def load(path: str | os.PathLike[str]) -> Config:
    """Read a configuration file.

    Raises:
        ConfigurationError: It cannot be read, is no TOML, or has something that is not known.
    """
    file = Path(path)
    try:
        values = tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.", hint="Check the path.") from None
    except ValueError as error:  # no TOML, or no UTF-8
        raise ConfigurationError(f"{file} is not TOML: {error}.", hint="Correct it there.") from None
    try:
        return Config(file, _File(**values))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
        told = _TOLD.get(problem["type"]) or problem["msg"].removeprefix("Value error, ").removesuffix(".")
        if where:
            last = f"{problem['loc'][-1]}: "
            told = f"{where.removeprefix('.')}: {told.removeprefix(last)}"
        raise ConfigurationError(f"{file}: {told}.", hint=HINT) from None


def _function(named: str, base: Path) -> object:
    """The function that `module:name` means. Modules beside the file are found too."""
    module, _, name = named.partition(":")
    beside = str(base.absolute())
    sys.path.insert(0, beside)
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever the module raises
        hint = 'Write "module:name" of a function; modules beside the file are found.'
        raise ConfigurationError(f"{named!r} cannot be imported: {error}.", hint=hint) from error
    finally:
        sys.path.remove(beside)
    if not callable(function):
        raise ConfigurationError(f"{named!r} is no function.", hint="Name one that takes the inputs.")
    return function
