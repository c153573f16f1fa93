"""Which reply was registered for a prompt, workflow or agent, and what one answers that was not."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from .answers import Answer, answer_of
from .runs import Kind, Run
from .wire import json_text

__all__ = ["Deployments"]


class Deployments:
    """The registered replies. One without a variant serves every variant that has none of its own."""

    def __init__(self) -> None:
        self._replies: dict[tuple[Kind, str, str | None], Callable[[Any], object]] = {}

    def add(self, kind: Kind, name: str, variant: str | None, reply: object) -> None:
        """Register a reply, in place of an earlier one for the same name and variant.

        Args:
            kind: What is registered.
            name: Its name.
            variant: The one variant it is for; None for any.
            reply: A function of the inputs (an agent's: of the message), an `Answer`, a text, or any JSON
                value.

        Raises:
            InvalidRequestError: The reply is none of these.
        """
        if callable(reply):
            self._replies[kind, name, variant] = reply
        else:
            answer = answer_of(reply)
            self._replies[kind, name, variant] = lambda _given: answer

    def answer(self, run: Run) -> Answer:
        """What a run answers. A function that raises, or returns None, makes it fail and say so."""
        name = run.agent or run.deployment or ""
        reply = self._replies.get((run.kind, name, run.variant)) or self._replies.get((run.kind, name, None))
        if reply is None:
            return Answer(_echo(run))
        try:
            given = reply(run.message if run.kind == "agent" else deepcopy(dict(run.inputs)))
            # Most likely a return that was forgotten; "null" would hide it.
            return Answer(error="The reply function returned None") if given is None else answer_of(given)
        except Exception as error:
            return Answer(error=str(error) or type(error).__name__)


def _echo(run: Run) -> str:
    if run.kind == "agent":
        return f"Sandbox echo of {run.agent}: {json_text(run.message)}"
    name = f"{run.deployment} ({run.variant})" if run.variant else run.deployment
    inputs = ", ".join(f"{key} = {json_text(value)}" for key, value in run.inputs.items())
    return f"Sandbox echo of {name}: {inputs or 'no inputs'}"
