"""The sandbox's engine, asked directly: what it answers and what it remembers."""

from __future__ import annotations

import json
import re
import threading
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from fetch_hive_sdk import CallbackVerifier, InternalServerError
from fetch_hive_sdk.errors import ConfigurationError, InvalidRequestError
from fetch_hive_sdk.sandbox import Answer, CallbackAttempt, Choices, Deployment, HumanInTheLoop, Sandbox
from fetch_hive_sdk.sandbox.ids import WORKSPACE_ID

from .sandbox_requests import (
    AGENT,
    BODIES,
    DELIVERED,
    KEY,
    PROMPT,
    Clock,
    ask,
    go_on,
    invoke,
    look_up,
    read,
    ticking_sandbox,
)


@pytest.fixture
def sandbox() -> Sandbox:
    return ticking_sandbox()


def test_a_prompt_answers_with_its_registered_text(sandbox: Sandbox) -> None:
    """A prompt's reply has the registered text, the model, and usage counted in words and in the clock's seconds."""
    sandbox.prompt("support-classifier", reply="billing, surely")
    assert invoke(sandbox, "prompt") == {
        "request_id": "req_00000000000000000000000000000001",
        "response": "billing, surely",
        "model": "sandbox",
        "usage": {
            "duration": 1.0,
            "prompt_tokens": {"total_tokens": 14, "cached_tokens": 0},
            "completion_tokens": {"total_tokens": 3, "reasoning_tokens": 0},
            "total_tokens": 17,
        },
    }


def test_the_older_prompt_path_answers_alike(sandbox: Sandbox) -> None:
    """`/v1/invoke`, the older name of the prompt path, runs a prompt too, and a query string does not matter."""
    sandbox.prompt("support-classifier", reply="billing")
    assert read(ask(sandbox, "prompt", PROMPT, path="/v1/invoke?locale=es"))["response"] == "billing"


def test_a_direct_workflow_has_the_documented_keys_and_no_others(sandbox: Sandbox) -> None:
    """A direct workflow answers request_id, run_status and output, as the documentation shows it."""
    sandbox.workflow("research-brief", reply="A brief.")
    assert invoke(sandbox, "workflow", **{"async": {"enabled": False}}) == {
        "request_id": "req_00000000000000000000000000000001",
        "run_status": "completed",
        "output": "A brief.",
    }


def test_a_workflow_with_callback_delivery_answers_at_once_and_ends_later(sandbox: Sandbox) -> None:
    """With callback delivery the reply is `running` with the secret; the run ends, and calls back, once released."""
    sandbox.workflow("research-brief", reply="A brief.", secret="whsec_mine")
    reply = ask(sandbox, "workflow", DELIVERED)
    request_id = "req_00000000000000000000000000000001"
    assert reply.status == 202
    assert read(reply) == {"request_id": request_id, "run_status": "running", "webhook_secret": "whsec_mine"}
    assert [run.status for run in sandbox.runs] == ["running"]
    assert sandbox.callbacks == []

    assert reply.unfinished == request_id
    go_on(sandbox, reply)
    [callback] = sandbox.callbacks
    assert callback.url == "https://example.com/callback"
    assert callback.event_type == "workflow.completed"
    assert json.loads(callback.body) == {
        "event_type": "workflow.completed",
        "request_id": request_id,
        "data": {"output": "A brief.", "run_status": "completed"},
    }
    assert callback.headers["Content-Type"] == "application/json"
    CallbackVerifier("whsec_mine").verify(callback.body, callback.headers)
    [run] = sandbox.runs
    assert (run.status, run.reply, run.callbacks) == ("completed", reply, (callback,))


def test_a_failed_workflow_calls_back_too(sandbox: Sandbox) -> None:
    """A workflow that fails after its reply tells so in its callback, with the error's text."""
    sandbox.workflow("research-brief", reply=Answer(error="The search step failed"))
    go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    [callback] = sandbox.callbacks
    assert json.loads(callback.body)["event_type"] == callback.event_type == "workflow.failed"
    assert json.loads(callback.body)["data"] == {"error": "The search step failed", "run_status": "failed"}
    assert sandbox.runs[0].status == "failed"


def test_an_agent_answers_with_everything_it_did(sandbox: Sandbox) -> None:
    """An agent's reply has the state keys, and tool calls whose input and observation are JSON as text."""
    answer = Answer(
        "Done.",
        model="gpt-x",
        usage={"total_tokens": 41},
        tool_calls=[{"tool_name": "google_search", "tool_input": {"q": "x"}, "observation": {"hits": 2}}],
        artifacts=[{"file_url": "https://files.example.com/a.pdf", "file_name": "a.pdf"}],
    )
    sandbox.agent("AGENT_UUID", reply=answer)
    assert invoke(sandbox, "agent", thread_id="t-1", tool_approval="auto_approve") == {
        "request_id": "req_00000000000000000000000000000001",
        "run_id": "req_00000000000000000000000000000001",
        "status": "completed",
        "thread_id": "t-1",
        "tool_approval": "auto_approve",
        "model": "gpt-x",
        "response": "Done.",
        "usage": {"total_tokens": 41},
        "tool_calls": [{"tool_name": "google_search", "tool_input": '{"q":"x"}', "observation": '{"hits":2}'}],
        "artifacts": [{"file_url": "https://files.example.com/a.pdf", "file_name": "a.pdf"}],
    }


def test_an_agent_without_a_thread_is_stateless(sandbox: Sandbox) -> None:
    """An absent or empty thread_id comes back as null, and the tool approval in force is the policy's."""
    for more in ({}, {"thread_id": ""}):
        reply = invoke(sandbox, "agent", **more)
        assert (reply["thread_id"], reply["tool_approval"]) == (None, "policy")


@pytest.mark.parametrize(
    ("kind", "key", "echo"),
    [
        (
            "prompt",
            "response",
            'Sandbox echo of support-classifier (default): ticket_text = "The export button is disabled."',
        ),
        (
            "workflow",
            "output",
            'Sandbox echo of research-brief (default): topic = "AI infrastructure trends"',
        ),
        ("agent", "response", 'Sandbox echo of AGENT_UUID: "Summarize this account before renewal."'),
    ],
)
def test_what_was_not_registered_is_an_echo(sandbox: Sandbox, kind: str, key: str, echo: str) -> None:
    """A deployment or agent the sandbox was not told about answers with an echo of what it was sent."""
    assert invoke(sandbox, kind)[key] == echo


def test_an_echo_of_nothing_says_so() -> None:
    """The echo of a run without inputs and without a variant names neither."""
    reply = read(ask(Sandbox(lenient=True), "prompt", {"deployment": "plain", "inputs": None}))
    assert reply["response"] == "Sandbox echo of plain: no inputs"


def test_a_reply_can_be_a_function_of_what_was_sent(sandbox: Sandbox) -> None:
    """A decorated function is called with the inputs, or an agent's message, and stays usable as itself."""

    @sandbox.prompt("support-classifier")
    def classify(inputs: dict[str, Any]) -> str:
        return str(inputs["ticket_text"]).upper()

    @sandbox.workflow("research-brief", secret="whsec_mine")
    def brief(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"topic": inputs["topic"], "pages": 3}

    @sandbox.agent("AGENT_UUID")
    def summarize(message: str) -> Answer:
        return Answer(message[:9], reasoning="short")

    assert invoke(sandbox, "prompt")["response"] == "THE EXPORT BUTTON IS DISABLED."
    assert invoke(sandbox, "workflow")["output"] == '{"topic":"AI infrastructure trends","pages":3}'
    assert invoke(sandbox, "agent")["response"] == "Summarize"
    assert classify({"ticket_text": "a"}) == "A"
    assert (brief({"topic": 1}), summarize("b").text) == ({"topic": 1, "pages": 3}, "b")
    assert sandbox.webhook_secret("research-brief") == "whsec_mine"


def test_a_variant_can_have_its_own_reply(sandbox: Sandbox) -> None:
    """A reply for one variant goes before the deployment's general one, which serves every other variant."""
    sandbox.prompt("support-classifier", reply="general")
    sandbox.prompt("support-classifier", reply="special", variant="b")
    replies = [invoke(sandbox, "prompt", variant=variant)["response"] for variant in ("a", "b")]
    assert replies == ["general", "special"]


def test_a_function_cannot_change_the_record_of_its_run(sandbox: Sandbox) -> None:
    """A reply function gets its own copy of the inputs: what it does to them is not seen in the run."""

    @sandbox.prompt("support-classifier")
    def clear(inputs: dict[str, Any]) -> str:
        inputs["ticket_text"] = "gone"
        return ""

    invoke(sandbox, "prompt")
    assert clear({}) == ""
    assert sandbox.runs[0].inputs == {"ticket_text": "The export button is disabled."}


@pytest.mark.parametrize(("kind", "status"), [("prompt", 502), ("agent", 502), ("workflow", 422)])
def test_a_function_that_raises_fails_its_run(sandbox: Sandbox, kind: str, status: int) -> None:
    """The text of what a reply function raises is the run's error; without a text it is the error's name."""

    def fail(given: object) -> str:
        raise LookupError("no such topic") if sandbox.runs[1:] else LookupError

    getattr(sandbox, kind)(BODIES[kind].get("deployment", "AGENT_UUID"), reply=fail)
    for text in ("LookupError", "no such topic"):
        reply = ask(sandbox, kind, BODIES[kind])
        assert (reply.status, read(reply)) == (status, {"error": text, "message": text})
        assert sandbox.runs[-1].status == "failed"


def test_an_error_can_carry_a_code(sandbox: Sandbox) -> None:
    """An answer with an error and a code sends both, under the documented keys."""
    sandbox.prompt("support-classifier", reply=Answer(error="The model is gone", error_code="model_deprecated"))
    assert invoke(sandbox, "prompt") == {
        "error": "The model is gone",
        "message": "The model is gone",
        "error_code": "model_deprecated",
    }


def test_a_lenient_sandbox_follows_the_openapi_description() -> None:
    """A lenient sandbox takes a missing variant and adds run_id and status to every workflow reply."""
    sandbox = Sandbox(lenient=True, choices=Choices(failed_workflow="state"))
    sandbox.workflow("research-brief", reply="A brief.")
    sandbox.workflow("research-brief", variant="bad", reply=Answer(error="no"))
    direct = read(ask(sandbox, "workflow", {"deployment": "research-brief", "variant": ""}))
    assert (direct["run_status"], direct["output"]) == ("completed", "A brief.")
    replies = [direct, invoke(sandbox, "workflow", variant="bad"), read(ask(sandbox, "workflow", DELIVERED))]
    assert [reply["status"] for reply in replies] == ["completed", "failed", "running"]
    assert [reply["run_status"] for reply in replies] == ["completed", "failed", "running"]
    assert all(reply["run_id"] == reply["request_id"] for reply in replies)
    assert sandbox.runs[0].variant is None


def test_a_webhook_secret_is_its_deployments_own() -> None:
    """A secret the sandbox makes stays the same for its deployment, and differs from any other's."""
    one, other = Sandbox(), Sandbox()
    first = read(ask(one, "workflow", DELIVERED))["webhook_secret"]
    assert re.fullmatch(r"whsec_[0-9a-f]+", first)
    one.reset()
    assert read(ask(one, "workflow", DELIVERED))["webhook_secret"] == first
    assert len({first, one.webhook_secret("another"), other.webhook_secret("research-brief")}) == 3


def test_a_run_remembers_what_was_sent_and_what_came_of_it(sandbox: Sandbox) -> None:
    """A run's record holds the caller's fields, the times, the reply, and the answer with its usage."""
    metadata = {"customer_id": "cus_123", "renewal_window_days": 30}
    start = datetime(2026, 6, 1, tzinfo=timezone.utc)
    sandbox.prompt("support-classifier", reply="billing")
    reply = ask(sandbox, "prompt", {**PROMPT, "metadata": metadata, "user": "u-7"})
    invoke(sandbox, "agent")
    prompt, agent = sandbox.runs
    assert (prompt.kind, prompt.deployment, prompt.variant, prompt.agent, prompt.message) == (
        "prompt",
        "support-classifier",
        "default",
        None,
        None,
    )
    assert (prompt.inputs, prompt.metadata, prompt.user) == (PROMPT["inputs"], metadata, "u-7")
    assert prompt.request == {**PROMPT, "metadata": metadata, "user": "u-7"}
    assert prompt.reply == reply
    assert prompt.answer is not None
    assert prompt.answer.text == "billing"
    assert prompt.answer.usage == read(reply)["usage"]
    assert (prompt.started_at, prompt.ended_at) == (start, start + timedelta(seconds=2))
    assert (agent.kind, agent.agent, agent.message) == ("agent", "AGENT_UUID", AGENT["message"])
    assert (agent.deployment, agent.variant) == (None, None)


def test_attempts_are_kept_with_the_callback_they_were_for(sandbox: Sandbox) -> None:
    """A recorded attempt is found on its own callback alone; the callback counts as delivered once it got a 2xx."""
    for _ in range(2):
        go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    first, second = sandbox.callbacks
    now = datetime(2026, 6, 1, tzinfo=timezone.utc)
    for status_code in (500, 204):
        assert not sandbox.callbacks[1].delivered
        attempt = CallbackAttempt(started_at=now, duration=0.1, status_code=status_code)
        sandbox.engine.lifecycle.record_attempt(second, attempt, pending=status_code == 500)
        assert sandbox.callbacks[1].pending == (status_code == 500)
    assert sandbox.callbacks[0] == first
    assert [attempt.status_code for attempt in sandbox.callbacks[1].attempts] == [500, 204]
    assert sandbox.callbacks[1].delivered


def test_reset_forgets_runs_but_not_replies(sandbox: Sandbox) -> None:
    """After a reset there are no runs; replies still answer; and a run that was under way leaves no trace."""
    sandbox.workflow("research-brief", reply="A brief.")

    @sandbox.prompt("support-classifier")
    def reset(inputs: dict[str, Any]) -> str:
        sandbox.reset()
        return f"reset by {len(inputs)}"

    reply = ask(sandbox, "workflow", DELIVERED)
    go_on(sandbox, reply)
    [callback] = sandbox.callbacks
    assert invoke(sandbox, "prompt")["response"] == "reset by 1"
    attempt = CallbackAttempt(started_at=sandbox.engine.clock(), duration=0)
    sandbox.engine.lifecycle.record_attempt(callback, attempt, pending=False)
    sandbox.engine.lifecycle.note(callback.request_id, "Too late")
    sandbox.engine.lifecycle.finish(callback.request_id)
    sandbox.engine.release(callback.request_id)
    assert (sandbox.runs, sandbox.callbacks) == ([], [])
    assert reset({}) == "reset by 0"
    assert invoke(sandbox, "workflow")["output"] == "A brief."


def test_half_a_surrogate_pair_survives(sandbox: Sandbox) -> None:
    """Text that has no UTF-8, which JSON can still escape, comes back as it was sent and gets a secret too."""
    odd = rb'{"deployment":"\ud800","variant":"v","inputs":{"a":"\ud800"}}'
    assert read(ask(sandbox, "prompt", odd))["response"] == 'Sandbox echo of \ud800 (v): a = "\ud800"'
    delivered = odd.replace(b'"v",', b'"v","async":{"enabled":true,"callback_url":"https://a.example"},')
    assert ask(sandbox, "workflow", delivered).status == 202


def test_request_ids_are_version_7_uuids_and_unique() -> None:
    """Runs of several threads all get their own id in the documented layout, and none is lost."""
    sandbox = Sandbox()

    def work() -> None:
        for _ in range(50):
            invoke(sandbox, "workflow")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = {run.request_id for run in sandbox.runs}
    assert len(ids) == 400
    assert all(re.fullmatch(r"req_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", request_id) for request_id in ids)
    assert {run.status for run in sandbox.runs} == {"completed"}


def test_repr_tells_no_secret() -> None:
    """Neither keys nor webhook secrets can be read off what the sandbox prints."""
    sandbox = Sandbox(api_key="fhk_private")
    sandbox.workflow("research-brief", reply="A brief.", secret="whsec_private")
    headers = {"Authorization": "Bearer fhk_private"}
    reply = ask(sandbox, "workflow", DELIVERED, headers=headers)
    go_on(sandbox, reply)
    assert read(reply)["webhook_secret"] == "whsec_private"
    assert "_private" not in repr((sandbox, sandbox.engine, reply, sandbox.runs, sandbox.callbacks))


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": ""},
        {"api_key": "fhk_clé"},
        {"api_key": "fhk a"},
        {"deliver_to": "example.com"},
        {"deliver_to": ["http://example.com/hook"]},
        {"deliver_to": ["example.com:80"]},
        {"deliver_to": [""]},
        {"choices": "hex"},
        {"plan": "huge"},
        {"daily_limit": -1},
    ],
)
def test_wrong_options_are_told_at_once(options: dict[str, Any]) -> None:
    """An empty key, a text where a list of hosts belongs, and what cannot be, are configuration errors."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Sandbox(**options)


def test_an_empty_webhook_secret_is_refused() -> None:
    """A deployment cannot be given an empty secret, with which anybody could sign."""
    with pytest.raises(ConfigurationError, match="secret is empty"):
        Sandbox().workflow("w", reply="x", secret="")


@pytest.mark.parametrize("secret", ["whsec_from_a_file\n", " ", "\ud800"])
def test_a_webhook_secret_that_signs_nothing_is_refused(secret: str) -> None:
    """A secret that no verifier takes is refused when it is given, not when a run ends and is to be told."""
    sandbox = Sandbox()
    for register in (sandbox.workflow, sandbox.agent, sandbox.hive_agent):
        with pytest.raises(ConfigurationError, match="secret"):
            register("w", reply="x", secret=secret)
    assert go_on(sandbox, ask(sandbox, "workflow", {**DELIVERED, "deployment": "w"})).status == "completed"


class WordlessError(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("raised", "said"),
    [(WordlessError(), "WordlessError"), (SystemExit(2), "SystemExit: 2"), (SystemExit("bye"), "SystemExit: bye")],
)
def test_whatever_a_function_raises_ends_its_run_alone(raised: BaseException, said: str) -> None:
    """A function that exits, or raises what has no text, fails its run; others go on."""

    def reply(_inputs: object) -> str:
        raise raised

    sandbox = Sandbox()
    sandbox.workflow("research-brief", reply=reply)
    run = go_on(sandbox, ask(sandbox, "workflow", DELIVERED))
    assert (run.status, run.answer and run.answer.error) == ("failed", said)
    assert invoke(sandbox, "prompt")["response"]


@pytest.mark.parametrize(
    "options",
    [
        {"tool_calls": [{"tool_input": "x"}]},
        {"artifacts": [{"file_name": "a.pdf"}]},
        {"artifacts": ["https://files.example.com/a"]},
        {"usage": {"total_tokens": float("nan")}},
        {"text": 7},
        {"background": [{"deployment": "brief", "inputs": ["topic"]}]},
        {"duration": -1},
        {"colour": "red"},
    ],
)
def test_a_wrong_answer_is_told_at_once(options: dict[str, Any]) -> None:
    """An answer that could not be sent cannot be made."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Answer(**options)


def test_a_reply_must_have_a_json_form() -> None:
    """A reply that is not JSON is refused when registered; returned by a function, it fails the run."""
    sandbox = Sandbox()
    with pytest.raises(InvalidRequestError, match="reply"):
        sandbox.prompt("support-classifier", reply=b"bytes")
    sandbox.prompt("support-classifier", reply=lambda _inputs: {1: "a"})
    assert "Keys of JSON objects are str" in invoke(sandbox, "prompt")["error"]


def test_a_forgotten_return_fails_the_run() -> None:
    """A reply function that returns None makes the run fail and say so, instead of answering "null"."""
    sandbox = Sandbox()

    @sandbox.prompt("forgetful")
    def forget(inputs: dict[str, Any]) -> None: ...

    with pytest.raises(InternalServerError, match="returned None"):
        sandbox.client().invoke_prompt(deployment="forgetful", variant="v")


# --- what is registered -------------------------------------------------------------------------------


def test_the_registered_deployments_are_listed(sandbox: Sandbox) -> None:
    """`deployments.all` lists what was registered, by kind, name and variant, with inputs and Human in the Loop."""
    human = HumanInTheLoop(question="Publish?")
    sandbox.workflow("brief", reply=lambda inputs: "", variant="b", inputs={"topic": str, "days": int})
    sandbox.workflow("brief", reply="", human_in_the_loop=human)
    sandbox.prompt("classifier", reply="", variant="b")
    sandbox.agent("AGENT_UUID", reply="")
    sandbox.hive_agent("HIVE_UUID", reply=str.upper)

    def shown(one: Deployment) -> tuple[object, ...]:
        return one.kind, one.name, one.variant, dict(one.inputs), one.human_in_the_loop, one.computed

    assert [shown(one) for one in sandbox.engine.deployments.all()] == [
        ("agent", "AGENT_UUID", None, {}, None, False),
        ("hive_agent", "HIVE_UUID", None, {}, None, True),
        ("prompt", "classifier", "b", {}, None, False),
        ("workflow", "brief", None, {}, human, False),
        ("workflow", "brief", "b", {"topic": "text", "days": "number"}, None, True),
    ]


def test_human_in_the_loop_may_be_just_true(sandbox: Sandbox) -> None:
    """`human_in_the_loop=True` is a step with the default question and options."""
    sandbox.workflow("brief", reply="", human_in_the_loop=True)
    assert sandbox.engine.deployments.all()[0].human_in_the_loop == HumanInTheLoop()


@pytest.mark.parametrize(
    ("given", "said"),
    [("string", "'string'"), (tuple, "<class 'tuple'>"), (None, "None"), (["text"], "a list")],
)
def test_a_wrong_type_of_a_start_input_is_told_at_once(sandbox: Sandbox, given: Any, said: str) -> None:
    """A Start input of a type that the service has not is a configuration error that names the input."""
    with pytest.raises(ConfigurationError, match=f"inputs.topic: {re.escape(said)} is no type"):
        sandbox.workflow("brief", reply="", inputs={"topic": given})


@pytest.mark.parametrize(
    "options",
    [
        {"options": ()},
        {"options": "approve"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": 1e10},
        {"on_timeout": "wait"},
    ],
)
def test_a_wrong_human_step_is_told_at_once(options: dict[str, Any]) -> None:
    """A Human in the Loop step without options, or with a timeout that cannot be, is a configuration error."""
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))} of a Human in the Loop step"):
        HumanInTheLoop(**options)


def test_a_strict_sandbox_refuses_what_is_not_registered() -> None:
    """Strict, it answers 404 for unknown deployments and agents, and no run begins."""
    sandbox = Sandbox(strict=True)
    sandbox.prompt("support-classifier", reply="billing")
    assert invoke(sandbox, "prompt")["response"] == "billing"
    for kind, text in (("workflow", "Deployment"), ("agent", "Agent"), ("hive-agent", "Agent")):
        reply = ask(sandbox, kind, BODIES[kind])
        assert (reply.status, read(reply)["error"]) == (404, f"{text} not found.")
    assert len(sandbox.runs) == 1


def test_a_prompt_is_no_workflow(sandbox: Sandbox) -> None:
    """Names of different kinds do not meet: a reply is for its own kind alone."""
    sandbox.prompt("research-brief", reply="a prompt's")
    sandbox.hive_agent("AGENT_UUID", reply="a hive agent's")
    assert invoke(sandbox, "workflow")["output"].startswith("Sandbox echo")
    assert invoke(sandbox, "agent")["response"].startswith("Sandbox echo")


# --- what could go wrong ------------------------------------------------------------------------------


def test_a_reply_function_may_use_the_sandbox_itself(sandbox: Sandbox) -> None:
    """While a run computes its reply, the sandbox answers it too: other runs, look-ups, the list of runs."""

    @sandbox.workflow("research-brief")
    def brief(inputs: dict[str, Any]) -> str:
        seen = look_up(sandbox, f"/public/requests/{sandbox.runs[0].request_id}")["status"]
        go_on(sandbox, ask(sandbox, "workflow", {**DELIVERED, "deployment": "other"}))
        return f"{seen}; {invoke(sandbox, 'prompt')['response']}"

    sandbox.prompt("support-classifier", reply="billing")
    assert invoke(sandbox, "workflow")["output"] == "running; billing"
    assert [run.status for run in sandbox.runs] == ["completed"] * 3
    assert brief.__name__ == "brief"


def test_an_error_with_half_a_surrogate_pair_fails_its_run(sandbox: Sandbox) -> None:
    """An error text that has no UTF-8 is told as it is."""

    def fail(inputs: dict[str, Any]) -> str:
        raise ValueError(inputs["a"])

    sandbox.prompt("support-classifier", reply=fail)
    assert invoke(sandbox, "prompt", inputs={"a": "\ud800"})["error"] == "\ud800"


def test_names_may_be_of_any_script(sandbox: Sandbox) -> None:
    """Names outside of ASCII, and ones with slashes, are found again with their replies and secrets."""
    for name in ("Überblick 概要", "a/b?c=d", "😀"):
        sandbox.workflow(name, reply=f"of {name}", secret=f"whsec_{name}")
        reply = ask(sandbox, "workflow", {**DELIVERED, "deployment": name})
        assert read(reply)["webhook_secret"] == f"whsec_{name}"
        run = go_on(sandbox, reply)
        assert (run.deployment, run.answer and run.answer.text) == (name, f"of {name}")
        CallbackVerifier(f"whsec_{name}").verify(run.callbacks[0].body, run.callbacks[0].headers)


def test_request_ids_may_be_of_your_own_making() -> None:
    """Ids of another form are taken as they are; one that comes again is an error that says so."""
    sandbox = Sandbox(new_request_id=lambda: "req_mine")
    assert invoke(sandbox, "agent")["run_id"] == "req_mine"
    assert look_up(sandbox, "/public/requests/req_mine")["id"] == "req_mine"
    with pytest.raises(ConfigurationError, match="req_mine"):
        invoke(sandbox, "agent")


def test_a_function_that_ends_the_process_ends_its_run(sandbox: Sandbox) -> None:
    """A direct run that is interrupted goes out with its exception, is marked failed, and holds no place."""
    sandbox = ticking_sandbox(plan="lite")

    def interrupt(inputs: dict[str, Any]) -> str:
        raise KeyboardInterrupt

    sandbox.workflow("research-brief", reply=interrupt)
    with pytest.raises(KeyboardInterrupt):
        invoke(sandbox, "workflow")
    [run] = sandbox.runs
    assert (run.status, run.answer and run.answer.error) == ("failed", "The sandbox was stopped while this ran")
    sandbox.workflow("research-brief", reply="A brief.")
    assert invoke(sandbox, "workflow")["output"] == "A brief."


def test_an_interrupted_run_that_was_reset_leaves_no_trace(sandbox: Sandbox) -> None:
    """Reset and then interrupted, a run is not written down again."""

    def interrupt(inputs: dict[str, Any]) -> str:
        sandbox.reset()
        raise KeyboardInterrupt

    sandbox.prompt("support-classifier", reply=interrupt)
    with pytest.raises(KeyboardInterrupt):
        invoke(sandbox, "prompt")
    assert sandbox.runs == []


# --- the daily limit ----------------------------------------------------------------------------------


def test_the_daily_limit_counts_a_day_in_utc() -> None:
    """After so many calls the next is refused with the documented body, until midnight in UTC."""
    clock = Clock()
    clock.now = datetime(2026, 6, 1, 23, 30, tzinfo=timezone(timedelta(hours=2)))  # 21:30 in UTC
    sandbox = Sandbox(daily_limit=2, clock=clock)
    for _ in range(2):
        assert ask(sandbox, "prompt", PROMPT).status == 200
    clock.pass_by(2 * 3600)
    reply = ask(sandbox, "agent", AGENT)
    assert reply.status == 429
    assert read(reply) == {
        "error": "Daily API rate limit reached",
        "code": "api_rate_limit_exceeded",
        "message": "You have reached your daily limit of 2 API calls. Resets at midnight UTC. "
        "Upgrade your plan for higher limits.",
        "limit": 2,
        "current": 2,
    }
    clock.pass_by(1800)
    assert ask(sandbox, "agent", AGENT).status == 200
    assert len(sandbox.runs) == 3


def test_a_daily_limit_of_none_at_all() -> None:
    """With a limit of 0 every call is refused, but the look-up of a request is not."""
    sandbox = Sandbox(daily_limit=0)
    assert ask(sandbox, "prompt", PROMPT).status == 429
    assert ask(sandbox, "", b"", method="GET", path="/v1/public/requests/req_1").status == 404


# --- the sandbox as a whole ---------------------------------------------------------------------------


def test_a_sandbox_opens_its_doors() -> None:
    """It makes clients of both kinds, and a server that is not started before its block is entered."""
    with Sandbox() as sandbox:
        with sandbox.client() as client:
            assert client.invoke_prompt(deployment="a", variant="b").response.startswith("Sandbox echo of a (b)")
        assert sandbox.async_client() is not None
        assert isinstance(sandbox.serve(), AbstractContextManager)
        assert sandbox.workspace_id == WORKSPACE_ID


def test_refused_requests_are_remembered_without_their_secrets(sandbox: Sandbox) -> None:
    """A refused request is kept with its reason, and neither its key nor a secret in its address is."""
    headers = {**KEY, "Accept": "application/json", "Cookie": "a=b"}
    ask(sandbox, "prompt", b"{}", headers=headers, path="/v1/prompt/invoke?locale=es&secret=whsec_private")
    ask(sandbox, "prompt", b"{}", headers=headers, path="/v1/prompt/invoke?secret=whsec_private")
    second, first = sandbox.engine.store.refused()
    assert (first.status, first.error, first.error_code) == (
        400,
        "Missing required field: deployment or variant",
        "validation_error",
    )
    assert (first.request.path, first.request.body) == ("/v1/prompt/invoke?locale=es", b"{}")
    assert first.request.headers == {"Accept": "application/json"}
    assert second.request.path == "/v1/prompt/invoke"
