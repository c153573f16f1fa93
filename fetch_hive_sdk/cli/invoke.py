"""`fetch-hive invoke`: run a prompt, a workflow or an agent, and show what comes back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .arguments import ApiKey, BaseUrl, Json, above_zero, api_key_from, read_inputs, read_metadata, read_text
from .failures import ExitCode
from .terminal import OutputError, note, one_line, say, say_json, seconds, shown, waiting

if TYPE_CHECKING:
    from ..client import FetchHive
    from ..events import StreamEvent
    from ..results import AgentReply, PromptResult, WorkflowRun
    from ..streams import Stream

__all__ = ["Approval", "agent", "app", "prompt", "workflow"]


class Approval(str, Enum):
    """How tool calls are approved."""

    POLICY = "policy"
    AUTO_APPROVE = "auto_approve"


Deployment = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment's name.")]
Variant = Annotated[str | None, typer.Option("--variant", help="The deployment's variant, which the service requires.")]
Input = Annotated[
    list[str] | None, typer.Option("--input", metavar="KEY=TEXT", help="An input that is text. May be repeated.")
]
InputJson = Annotated[
    list[str] | None,
    typer.Option("--input-json", metavar="KEY=JSON", help="An input as JSON, or KEY=@FILE. May be repeated."),
]
InputsFile = Annotated[
    str | None,
    typer.Option("--inputs-file", metavar="FILE", help="A JSON object with inputs; - is standard input."),
]
MetadataPairs = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="KEY=VALUE",
        help='A field for the log. true, false, null and numbers are typed; "30" in quotes is text.',
    ),
]
User = Annotated[str | None, typer.Option("--user", help="Your id of the person or system that asks.")]
Streamed = Annotated[bool, typer.Option("--stream", help="Write the text as it comes; with --json each event.")]
CallbackUrl = Annotated[
    str | None, typer.Option("--callback-url", metavar="URL", help="Where Fetch Hive posts the signed result.")
]
ToolApproval = Annotated[
    Approval | None, typer.Option("--tool-approval", help="Follow the saved rules, or allow actions for this run.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        callback=above_zero,
        help="How long to wait: 300 for the answer; with --stream 60 for each event.",
    ),
]
AnswerTimeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", callback=above_zero, help="How long to wait for the answer: 300."),
]

app = typer.Typer(help="Run a prompt, a workflow or an agent.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def prompt(
    deployment: Deployment,
    variant: Variant = None,
    text_inputs: Input = None,
    json_inputs: InputJson = None,
    inputs_file: InputsFile = None,
    metadata: MetadataPairs = None,
    user: User = None,
    stream: Streamed = False,
    timeout: Timeout = None,
    as_json: Json = False,
    api_key: ApiKey = None,
    base_url: BaseUrl = None,
) -> None:
    """Run a prompt deployment.

    Its answer goes to standard output, what is said about it to standard error.
    """
    arguments: dict[str, Any] = {
        "deployment": deployment,
        "variant": variant,
        "inputs": read_inputs(text_inputs, json_inputs, inputs_file),
        "metadata": read_metadata(metadata),
        "user": user,
    }
    with _client(api_key, base_url, timeout) as client:
        if stream:
            _show_stream(client.invoke_prompt_stream(**arguments), as_json=as_json)
        else:
            with waiting(f"Running {deployment}"):
                result = client.invoke_prompt(**arguments)
            _show_answer(result, as_json=as_json)


@app.command()
def workflow(
    deployment: Deployment,
    variant: Variant = None,
    text_inputs: Input = None,
    json_inputs: InputJson = None,
    inputs_file: InputsFile = None,
    metadata: MetadataPairs = None,
    user: User = None,
    callback_url: CallbackUrl = None,
    tool_approval: ToolApproval = None,
    show_secret: Annotated[
        bool, typer.Option("--show-secret", help="Show the webhook secret of a run with callback delivery.")
    ] = False,
    timeout: AnswerTimeout = None,
    as_json: Json = False,
    api_key: ApiKey = None,
    base_url: BaseUrl = None,
) -> None:
    """Run a workflow deployment.

    Its output goes to standard output. With --callback-url the command returns at once, and the result is posted there.
    """
    arguments: dict[str, Any] = {
        "deployment": deployment,
        "variant": variant,
        "inputs": read_inputs(text_inputs, json_inputs, inputs_file),
        "metadata": read_metadata(metadata),
        "user": user,
        "callback_url": callback_url,
        "tool_approval": tool_approval and tool_approval.value,
    }
    with _client(api_key, base_url, timeout) as client, waiting(f"Running {deployment}"):
        run = client.invoke_workflow(**arguments)
    _show_workflow(run, as_json=as_json, show_secret=show_secret)


@app.command()
def agent(
    agent_id: Annotated[str, typer.Argument(metavar="AGENT", help="The agent's id.")],
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="What to say to it; - is standard input.")],
    thread_id: Annotated[
        str | None, typer.Option("--thread-id", help="A name of yours for the conversation, to go on with it later.")
    ] = None,
    metadata: MetadataPairs = None,
    user: User = None,
    stream: Streamed = False,
    callback_url: CallbackUrl = None,
    tool_approval: ToolApproval = None,
    timeout: Timeout = None,
    as_json: Json = False,
    api_key: ApiKey = None,
    base_url: BaseUrl = None,
) -> None:
    """Send a message to an agent.

    Its reply goes to standard output, what is said about it to standard error. --callback-url is for the workflows
    that the agent starts in the background.
    """
    arguments: dict[str, Any] = {
        "agent": agent_id,
        "message": read_text("-", "MESSAGE") if message == "-" else message,
        "thread_id": thread_id,
        "metadata": read_metadata(metadata),
        "user": user,
        "async_options": {"callback_url": callback_url} if callback_url is not None else None,
        "tool_approval": tool_approval and tool_approval.value,
    }
    with _client(api_key, base_url, timeout) as client:
        if stream:
            _show_stream(client.invoke_agent_stream(**arguments), as_json=as_json)
        else:
            with waiting("Waiting for the agent"):
                reply = client.invoke_agent(**arguments)
            _show_answer(reply, as_json=as_json)


@contextmanager
def _client(api_key: str | None, base_url: str | None, timeout: float | None) -> Generator[FetchHive, None, None]:
    key = api_key_from(api_key)
    from ..client import FetchHive

    with FetchHive(key, base_url) as client:
        try:
            yield client if timeout is None else client.with_options(timeout=timeout, idle_timeout=timeout)
        except KeyboardInterrupt:
            note("A run that has started goes on, and may be billed.")
            raise


def _show_answer(result: PromptResult | AgentReply, *, as_json: bool) -> None:
    with _keeping_id(result.request_id):
        if as_json:
            say_json(result.to_dict())
            return
        if result.response:
            say(shown(result.response), end="" if result.response.endswith("\n") else "\n")
    _note_about(result)


@contextmanager
def _keeping_id(request_id: str) -> Generator[None, None, None]:
    """Tell which run it was if its result cannot be written."""
    try:
        yield
    except OutputError:
        note(f"The run is {one_line(request_id)}.")
        raise


def _show_stream(stream: Stream[Any], *, as_json: bool) -> None:
    with waiting("Waiting for the first event") as stop_waiting, stream:
        if as_json:
            for event in stream:
                stop_waiting()
                say_json(event.to_dict())
            return
        text = _Text(stop_waiting)
        try:
            for event in stream:
                text.show(event)
        finally:
            text.end_line()
        _note_about(stream.final())


class _Text:
    """The text of a stream, as it comes."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._open_line = False

    def show(self, event: StreamEvent) -> None:
        from ..events import ResponseEvent, ToolEvent

        if isinstance(event, ResponseEvent) and event.response:
            self._begin()
            say(shown(event.response), end="")
            self._open_line = not event.response.endswith("\n")
        elif isinstance(event, ToolEvent):
            self._begin()
            note(f"tool: {one_line(event.tool)}")

    def end_line(self) -> None:
        self._begin()
        if self._open_line:
            say("")


def _note_about(result: PromptResult | AgentReply) -> None:
    from ..results import AgentReply

    if isinstance(result, AgentReply):
        for line in _agent_lines(result):
            note(line)
    usage = result.usage
    facts = [
        result.request_id,
        result.model,
        seconds(usage.duration) if usage and usage.duration is not None else "",
        f"{usage.total_tokens} tokens" if usage and usage.total_tokens is not None else "",
    ]
    note("  ".join(one_line(fact) for fact in facts if fact))


def _agent_lines(reply: AgentReply) -> Iterator[str]:
    for artifact in reply.artifacts:
        yield one_line(f"artifact: {artifact.file_name or ''} {artifact.file_url}")
    for approval in reply.pending_tool_approvals:
        where = f" {approval.review_url}" if approval.review_url else ""
        yield one_line(f"waits for approval: {approval.tool_name}: {approval.summary} ({approval.approval_id}){where}")
    if reply.pending_tool_approvals:
        yield "Decide it in the dashboard, or in the sandbox's run log; the run then goes on by itself."
    for denied in reply.denied_tool_calls:
        yield one_line(f"denied: {denied.tool_name}")
    for delegation in reply.pending_delegations:
        yield one_line(f"in the background: {delegation.kind} {delegation.id}")


def _show_workflow(run: WorkflowRun, *, as_json: bool, show_secret: bool) -> None:
    with _keeping_id(run.request_id):
        _show_state(run, as_json=as_json, show_secret=show_secret)


def _show_state(run: WorkflowRun, *, as_json: bool, show_secret: bool) -> None:
    from ..results import WorkflowFailed

    failed = isinstance(run, WorkflowFailed)
    secret = run.webhook_secret
    shown_secret = "" if secret is None else secret.get_secret_value() if show_secret else str(secret)
    if as_json:
        say_json({**run.to_dict(), **({"webhook_secret": shown_secret} if shown_secret else {})})
    elif failed:
        note(f"The workflow failed: {one_line(run.error or '(no text)')}")
    elif run.output is not None:
        say(shown(run.output), end="" if run.output.endswith("\n") else "\n")
    else:
        say(f"run_status      {one_line(run.run_status)}")
        say(f"request_id      {one_line(run.request_id)}")
        if shown_secret:
            say(f"webhook_secret  {one_line(shown_secret)}{'' if show_secret else '  (--show-secret shows it)'}")
        return
    if not as_json:
        note(one_line(run.request_id))
    if failed:
        raise typer.Exit(ExitCode.FAILED)
