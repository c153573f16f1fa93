"""The configuration file: what each key does, and how a wrong one is told."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from fetch_hive_sdk.errors import ConfigurationError
from fetch_hive_sdk.sandbox import Answer, Choices, HumanInTheLoop, Sandbox
from fetch_hive_sdk.sandbox.config import load

from .sandbox_requests import AGENT, DELIVERED, HIVE_AGENT, KEY, PROMPT, WORKFLOW, ask, go_on, invoke, read, told

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file, and tells where it is."""

    def write(text: str) -> Path:
        file = tmp_path / "sandbox.toml"
        file.write_text(text, "utf-8")
        return file

    return write


# --- what each key does -------------------------------------------------------------------------------


def test_an_empty_file_is_a_sandbox_like_any(write: Write) -> None:
    """A file without anything in it changes nothing."""
    assert load(write("")).options == {}
    assert invoke(Sandbox.from_config(write("")), "prompt")["response"].startswith("Sandbox echo")


SETTINGS: dict[str, tuple[str, Any]] = {
    "api_key": ('"fhk_mine"', "fhk_mine"),
    "lenient": ("true", True),
    "strict": ("true", True),
    "plan": ('"starter"', "starter"),
    "daily_limit": ("50", 50),
    "may_auto_approve": ("false", False),
    "deliver_to": ('["hooks.internal", "web"]', ("hooks.internal", "web")),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_arguments_of_the_sandbox(write: Write, name: str) -> None:
    """Each setting is the argument of `Sandbox` of the same name."""
    spelled, value = SETTINGS[name]
    assert load(write(f"{name} = {spelled}")).options == {name: value}


def test_settings_are_obeyed(write: Write) -> None:
    """A sandbox that is made from a file behaves as its settings say."""
    sandbox = Sandbox.from_config(
        write(
            """
            api_key = "fhk_mine"
            strict = true
            plan = "lite"
            daily_limit = 3
            may_auto_approve = false

            [[workflow]]
            name = "research-brief"
            """
        )
    )
    key = {"Authorization": "Bearer fhk_mine"}
    assert ask(sandbox, "prompt", PROMPT, headers=KEY).status == 401
    assert ask(sandbox, "prompt", PROMPT, headers=key).status == 404
    assert ask(sandbox, "workflow", {**WORKFLOW, "tool_approval": "auto_approve"}, headers=key).status == 403
    assert ask(sandbox, "workflow", DELIVERED, headers=key).status == 202
    assert ask(sandbox, "workflow", WORKFLOW, headers=key).status == 429
    assert read(ask(sandbox, "workflow", WORKFLOW, headers=key))["limit"] == 3


def test_arguments_go_before_the_file(write: Write) -> None:
    """What is passed to `from_config` goes before what the file says."""
    file = write('plan = "lite"\nstrict = true')
    sandbox = Sandbox.from_config(file, strict=False, plan=None)
    replies = [ask(sandbox, "workflow", DELIVERED) for _ in range(2)]
    assert [read(reply)["run_status"] for reply in replies] == ["running", "running"]


def test_the_database_is_beside_the_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative `db` is looked for beside the file, wherever the process is; an absolute one where it says."""
    monkeypatch.chdir("/")
    with Sandbox.from_config(write('db = "runs.sqlite"')) as sandbox:
        invoke(sandbox, "prompt")
    assert (tmp_path / "runs.sqlite").exists()
    absolute = tmp_path / "elsewhere.sqlite"
    assert load(write(f"db = '{absolute}'")).options == {"db": absolute}
    with Sandbox.from_config(write('db = "runs.sqlite"')) as sandbox:
        assert len(sandbox.runs) == 1


def spelled(field: Any) -> str:
    """A value of a choice in TOML that is not its default."""
    default = field.default
    kind = get_type_hints(Choices)[field.name]
    if get_origin(kind) is Literal:
        return f'"{next(value for value in get_args(kind) if value != default)}"'
    if isinstance(default, bool):
        return str(not default).lower()
    if isinstance(default, str) or str in get_args(kind):
        return f'"{default}.other"'
    if isinstance(default, tuple):
        return "[0.5, 2]"
    return str(int(default or 0) + 1)


def test_every_choice_can_be_made_in_the_file(write: Write) -> None:
    """Each field of `Choices` is a key of the table `choices`."""
    lines = [f"{field.name} = {spelled(field)}" for field in fields(Choices)]
    choices = load(write("\n".join(["[choices]", *lines]))).options["choices"]
    defaults = Choices()
    same = [field.name for field in fields(Choices) if getattr(choices, field.name) == getattr(defaults, field.name)]
    assert same == []
    assert choices.callback_retry_delays == (0.5, 2.0)


def test_replies_may_be_any_value(write: Write) -> None:
    """A reply is a text, or any other value of TOML, which is sent as JSON; without any it says whose it is."""
    sandbox = Sandbox.from_config(
        write(
            """
            [[prompt]]
            name = "text"
            reply = "billing"

            [[prompt]]
            name = "value"
            reply = { labels = ["a", "b"], at = 2026-06-01T12:00:00Z }

            [[prompt]]
            name = "false"
            reply = false

            [[prompt]]
            name = "none"

            [[prompt]]
            name = "text"
            variant = "b"
            reply = "b's own"
            """
        )
    )

    def response(name: str, variant: str = "a") -> str:
        return str(invoke(sandbox, "prompt", deployment=name, variant=variant)["response"])

    assert [response(name) for name in ("text", "value", "false", "none")] == [
        "billing",
        '{"labels":["a","b"],"at":"2026-06-01T12:00:00Z"}',
        "false",
        "Reply of none",
    ]
    assert response("text", "b") == "b's own"


def test_an_answer_may_say_it_all(write: Write) -> None:
    """An `answer` takes each field of `Answer`."""
    file = write(
        """
        [[agent]]
        name = "AGENT_UUID"
        secret = "whsec_agent"

        [agent.answer]
        text = "Done."
        reasoning = "hm"
        summary = "May"
        model = "gpt-x"
        usage = { total_tokens = 41 }
        artifacts = [{ file_url = "https://files.example.com/a.pdf" }]
        background = [{ deployment = "brief", variant = "b", inputs = { topic = "AI" } }]
        text_if_denied = "No."
        duration = 1.5
        error = "no"
        error_code = "model_deprecated"

        [[agent.answer.tool_calls]]
        tool_name = "pay"
        tool_input = { sum = 3 }
        observation = "paid"
        summary = "Pay 3"
        needs_approval = true
        destructive = true
        denied = false
        """
    )
    sandbox = Sandbox.from_config(file)
    [deployment] = sandbox.engine.deployments.all()
    answer = deployment.reply("Hi")
    assert isinstance(answer, Answer)
    unset = [field.name for field in fields(Answer) if getattr(answer, field.name) == field.default]
    assert unset == []
    assert answer.tool_calls[0].get("tool_input") == {"sum": 3}
    assert sandbox.webhook_secret("AGENT_UUID", kind="agent") == "whsec_agent"


def test_workflows_have_inputs_secrets_and_humans(write: Write) -> None:
    """A workflow's Start inputs, secret and Human in the Loop step are those of the file."""
    sandbox = Sandbox.from_config(
        write(
            """
            [[workflow]]
            name = "research-brief"
            variant = "default"
            secret = "whsec_mine"
            inputs = { topic = "text", companies = "array", days = "number", deep = "boolean", more = "object" }
            human_in_the_loop = { question = "Publish?", options = ["yes"], timeout = 60, on_timeout = "continue" }

            [[workflow]]
            name = "plain"
            human_in_the_loop = true

            [[workflow]]
            name = "without"
            human_in_the_loop = false
            """
        )
    )
    plain, full, without = sandbox.engine.deployments.all()
    assert full.inputs == {
        "topic": "text",
        "companies": "array",
        "days": "number",
        "deep": "boolean",
        "more": "object",
    }
    assert full.human_in_the_loop == HumanInTheLoop("Publish?", ("yes",), 60, "continue")
    assert (plain.human_in_the_loop, without.human_in_the_loop) == (HumanInTheLoop(), None)
    assert (full.variant, plain.variant) == ("default", None)
    assert read(ask(sandbox, "workflow", DELIVERED))["webhook_secret"] == "whsec_mine"


def test_hive_agents_have_replies_and_secrets(write: Write) -> None:
    """A hive agent of the file answers and signs as the file says."""
    sandbox = Sandbox.from_config(write('[[hive_agent]]\nname = "HIVE_UUID"\nreply = "Compared."\nsecret = "whsec_h"'))
    reply = ask(sandbox, "hive-agent", HIVE_AGENT)
    assert read(reply)["webhook_secret"] == "whsec_h"
    go_on(sandbox, reply)
    assert told(sandbox)[0][1]["response"] == "Compared."


def test_faults_wait_in_the_order_of_the_file(write: Write) -> None:
    """Scripted faults are a text, a status or a table, for a kind, a name, and so many times."""
    sandbox = Sandbox.from_config(
        write(
            """
            [[fault]]
            fault = "too_many_requests"
            times = 2
            kind = "prompt"

            [[fault]]
            fault = 503
            name = "AGENT_UUID"

            [[fault]]
            fault = { error_code = "model_deprecated", retry_after = 2 }
            """
        )
    )
    assert [ask(sandbox, "prompt", PROMPT).status for _ in range(2)] == [429, 429]
    assert ask(sandbox, "agent", AGENT).status == 503
    last = ask(sandbox, "prompt", PROMPT)
    assert (last.status, last.headers["Retry-After"]) == (422, "2")
    assert ask(sandbox, "prompt", PROMPT).status == 200


# --- functions ----------------------------------------------------------------------------------------


def test_functions_are_found_beside_the_file(write: Write, tmp_path: Path) -> None:
    """A reply may be a function of a module beside the file, or of any other; the import path is left as it was."""
    (tmp_path / "replies_of_this_test.py").write_text("def upper(message):\n    return message.upper()\n")
    before = list(sys.path)
    file = write(
        """
        [[agent]]
        name = "AGENT_UUID"
        function = "replies_of_this_test:upper"

        [[prompt]]
        name = "support-classifier"
        function = "json:dumps"
        """
    )
    sandbox = Sandbox.from_config(file)
    assert invoke(sandbox, "agent")["response"] == AGENT["message"].upper()
    assert invoke(sandbox, "prompt", inputs={"a": 1})["response"] == '{"a": 1}'
    assert [one.computed for one in sandbox.engine.deployments.all()] == [True, True]
    assert sys.path == before


def test_a_module_that_cannot_be_imported_is_told(write: Write, tmp_path: Path) -> None:
    """What a module raises while it is imported is told with the file and the path, and is the cause of the error."""
    (tmp_path / "broken_of_this_test.py").write_text("1 / 0\n")
    before = list(sys.path)
    file = write('[[prompt]]\nname = "a"\n[[prompt]]\nname = "b"\nfunction = "broken_of_this_test:x"')
    with pytest.raises(ConfigurationError) as wrong:
        Sandbox.from_config(file)
    assert str(wrong.value).startswith(
        f"{file}: prompt[1].function: 'broken_of_this_test:x' cannot be imported: division by zero. Write"
    )
    assert isinstance(wrong.value.__cause__, ZeroDivisionError)
    assert sys.path == before


# --- what is wrong ------------------------------------------------------------------------------------

EMPTY = "it is empty"
TABLE = "a table is needed"
ARRAY = "an array is needed"
UNKNOWN = "there is no such key"
WRONG: list[tuple[str, str, str]] = [
    ("colour = 1", "colour", UNKNOWN),
    ('path = "x"', "path", UNKNOWN),
    ('api_key = ""', "api_key", EMPTY),
    ("api_key = 7", "api_key", "Input should be a valid string"),
    ('lenient = "maybe"', "lenient", "Input should be a valid boolean"),
    ("strict = 2", "strict", "Input should be a valid boolean"),
    ('may_auto_approve = "x"', "may_auto_approve", "Input should be a valid boolean"),
    ('plan = "huge"', "plan", "Input should be 'lite', 'starter' or 'pro'"),
    ("daily_limit = -1", "daily_limit", "Input should be greater than or equal to 0"),
    ('daily_limit = "many"', "daily_limit", "Input should be a valid integer"),
    ('db = ""', "db", EMPTY),
    ('deliver_to = "host"', "deliver_to", ARRAY),
    ('deliver_to = ["a", ""]', "deliver_to[1]", EMPTY),
    ("choices = 3", "choices", TABLE),
    ("[choices]\nretries = 3", "choices.retries", UNKNOWN),
    ('[choices]\nsignature = "md5"', "choices.signature", "Input should be 'hex', 'sha256=hex' or 'base64'"),
    ("[choices]\ncallback_retry_delays = [1, -1]", "choices.callback_retry_delays[1]", "Input should be greater"),
    ('prompt = "a"', "prompt", ARRAY),
    ('[prompt]\nname = "a"', "prompt", ARRAY),
    ('prompt = ["a"]', "prompt[0]", TABLE),
    ("[[prompt]]", "prompt[0].name", "it is missing"),
    ('[[prompt]]\nname = ""', "prompt[0].name", EMPTY),
    ('[[prompt]]\nname = "a"\nvariant = ""', "prompt[0].variant", EMPTY),
    ('[[prompt]]\nname = "a"\nsecret = "s"', "prompt[0].secret", UNKNOWN),
    ('[[prompt]]\nname = "a"\ninputs = {}', "prompt[0].inputs", UNKNOWN),
    ('[[prompt]]\nname = "a"\nreply = nan', "prompt[0].reply", "nan is not a number of JSON"),
    ('[[prompt]]\nname = "a"\nreply = "x"\nfunction = "json:dumps"', "prompt[0]", "give one of reply, answer"),
    ('[[prompt]]\nname = "a"\nanswer = "x"', "prompt[0].answer", TABLE),
    ('[[prompt]]\nname = "a"\nanswer = { colour = 1 }', "prompt[0].answer.colour", UNKNOWN),
    ('[[prompt]]\nname = "a"\nanswer = { text = 1 }', "prompt[0].answer.text", "Input should be a valid string"),
    ('[[prompt]]\nname = "a"\nfunction = ""', "prompt[0].function", EMPTY),
    ('[[prompt]]\nname = "a"\nfunction = "json"', "prompt[0].function", "'json' cannot be imported"),
    ('[[prompt]]\nname = "a"\nfunction = ".json:dumps"', "prompt[0].function", "'.json:dumps' cannot be imported"),
    (
        '[[prompt]]\nname = "a"\nfunction = "no_such:x"',
        "prompt[0].function",
        "'no_such:x' cannot be imported: No module",
    ),
    ('[[prompt]]\nname = "a"\nfunction = "sys:path"', "prompt[0].function", "'sys:path' is no function"),
    ('[[agent]]\nname = "a"\nvariant = "b"', "agent[0].variant", UNKNOWN),
    ('[[agent]]\nname = "a"\nsecret = ""', "agent[0].secret", EMPTY),
    ('[[agent]]\nname = "a"\nfunction = "sys:path"', "agent[0].function", "'sys:path' is no function"),
    ('[[hive_agent]]\nname = "a"\ninputs = {}', "hive_agent[0].inputs", UNKNOWN),
    ('[[hive_agent]]\nname = "a"\nfunction = "sys:path"', "hive_agent[0].function", "'sys:path' is no function"),
    ('[[workflow]]\nname = "a"\ninputs = ["topic"]', "workflow[0].inputs", TABLE),
    ('[[workflow]]\nname = "a"\ninputs = { topic = "txt" }', "workflow[0].inputs.topic", "Input should be 'text'"),
    ('[[workflow]]\nname = "a"\nfunction = "sys:path"', "workflow[0].function", "'sys:path' is no function"),
    ('[[workflow]]\nname = "a"\nhuman_in_the_loop = "yes"', "workflow[0].human_in_the_loop", TABLE),
    (
        '[[workflow]]\nname = "a"\nhuman_in_the_loop = { options = [] }',
        "workflow[0].human_in_the_loop.options",
        EMPTY,
    ),
    (
        '[[workflow]]\nname = "a"\nhuman_in_the_loop = { timeout = 0 }',
        "workflow[0].human_in_the_loop.timeout",
        "Input should be greater than 0",
    ),
    (
        '[[workflow]]\nname = "a"\nhuman_in_the_loop = { timeout = inf }',
        "workflow[0].human_in_the_loop.timeout",
        "Input should be less than or equal to 1000000000",
    ),
    (
        '[[workflow]]\nname = "a"\nhuman_in_the_loop = { on_timeout = "wait" }',
        "workflow[0].human_in_the_loop.on_timeout",
        "Input should be 'fail' or 'continue'",
    ),
    ("[[fault]]", "fault[0].fault", "it is missing"),
    ("[[fault]]\nfault = 1.5", "fault[0].fault", "a float is not allowed"),
    ('[[fault]]\nfault = "colour"', "fault[0].fault", "'colour' is unknown"),
    ("[[fault]]\nfault = { colour = 1 }", "fault[0].fault", "'colour' is unknown"),
    ("[[fault]]\nfault = 503\ntimes = 0", "fault[0].times", "Input should be greater than or equal to 1"),
    ('[[fault]]\nfault = 503\nkind = "x"', "fault[0].kind", "Input should be 'prompt', 'workflow', 'agent'"),
    ('[[fault]]\nfault = 503\nname = ""', "fault[0].name", EMPTY),
]


@pytest.mark.parametrize(("text", "where", "problem"), WRONG)
def test_what_is_wrong_is_told_with_its_place(write: Write, text: str, where: str, problem: str) -> None:
    """A wrong value is a configuration error that names the file, the path in it, and what is wrong there."""
    file = write(text)
    with pytest.raises(ConfigurationError) as wrong:
        Sandbox.from_config(file)
    assert str(wrong.value).startswith(f"{file}: {where}: {problem}")


def test_a_file_that_cannot_be_read_is_told(write: Write, tmp_path: Path) -> None:
    """A file that is not there, is a folder, no TOML or no text is a configuration error that names it."""
    with pytest.raises(ConfigurationError, match=r"nothing\.toml cannot be read: No such file or directory"):
        Sandbox.from_config(tmp_path / "nothing.toml")
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(ConfigurationError, match=r"sandbox\.toml is not TOML: .*line 1"):
        load(write("plan: starter"))
    (tmp_path / "sandbox.toml").write_bytes(b'plan = "\xff"')
    with pytest.raises(ConfigurationError, match=r"sandbox\.toml is not TOML: 'utf-8' codec"):
        load(str(tmp_path / "sandbox.toml"))


def test_a_byte_order_mark_is_no_mistake(write: Write) -> None:
    """A file as some editors on Windows write it, with a mark before its first line, is read like any."""
    assert load(write("\ufefflenient = true")).options == {"lenient": True}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('strict = "yes"', "strict: "),
        ("lenient = 1", "lenient: "),
        ('[[agent]]\nname = "a"\n[[agent]]\nname = "a"', "agent 'a' is there twice"),
        (
            '[[workflow]]\nname = "w"\nvariant = "b"\n[[workflow]]\nname = "w"\nvariant = "b"',
            "workflow 'w' is there twice; variants have to differ",
        ),
    ],
)
def test_what_would_be_taken_in_silence_is_told(write: Write, text: str, told: str) -> None:
    """Neither a word where true or false belongs, nor a second table for one deployment, is taken as it comes."""
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        load(write(text))


def test_variants_of_one_deployment_are_tables_of_their_own(write: Write) -> None:
    """A deployment may be there for each variant, and once for all others."""
    text = '[[prompt]]\nname = "p"\n[[prompt]]\nname = "p"\nvariant = "b"\n[[workflow]]\nname = "p"'
    assert len(Sandbox.from_config(write(text)).engine.deployments.all()) == 3
