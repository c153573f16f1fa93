"""The command line as a whole: how it starts, what it says of mistakes, and how it ends."""

from __future__ import annotations

import importlib
import io
import os
import pathlib
import re
import subprocess
import sys
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest
import typer

from fetch_hive_sdk import __version__, errors
from fetch_hive_sdk.cli import arguments, main, serving, terminal
from fetch_hive_sdk.cli.failures import EXIT_CODES, ExitCode, exit_code_of, explain
from fetch_hive_sdk.sandbox import Sandbox

from . import cli_runner
from .cli_runner import run

HEAVY = {"anyio", "asyncio", "httpx", "pydantic", "rich", "starlette", "uvicorn", "fetch_hive_sdk.sandbox"}


def program(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a program of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FETCH_HIVE")}
    return subprocess.run(
        [sys.executable, "-m", "fetch_hive_sdk.cli", *arguments],
        env={**kept, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


# --- starting -------------------------------------------------------------------------------------------


def test_help_names_each_command_and_exit_code() -> None:
    """The help shows all commands, and what each exit code means."""
    ended = program("--help")

    assert (0, "") == (ended.returncode, ended.stderr)
    for command in ("sandbox", "invoke", "listen", "send-callback", "verify", "runs", "doctor"):
        assert f"\n  {command} " in ended.stdout
    for code, meaning in EXIT_CODES.items():
        assert f"  {code.value:<4} {meaning}\n" in ended.stdout


def test_help_loads_nothing_heavy() -> None:
    """The help comes without loading httpx, pydantic, a web server or the sandbox."""
    code = (
        "import sys\nfrom fetch_hive_sdk.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    print('loaded', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set() == set(done.stdout.rpartition("loaded")[2].split()) & HEAVY


@pytest.mark.parametrize(
    "command",
    [
        "sandbox",
        "invoke",
        "invoke prompt",
        "invoke workflow",
        "invoke agent",
        "listen",
        "send-callback",
        "verify",
        "runs",
        "runs get",
        "doctor",
    ],
)
def test_each_command_has_help(command: str) -> None:
    """Each command explains itself, in lines that are not cut off in the list of commands."""
    ended = run(*command.split(), "-h")

    assert 0 == ended.exit_code
    assert f"Usage: fetch-hive {command} " in ended.out
    assert "..." not in ended.out.replace("[ARGS]...", "")


def test_version() -> None:
    """--version prints the version alone."""
    assert cli_runner.Ended(0, f"{__version__}\n", "") == run("--version")


def test_without_a_command_it_shows_the_help() -> None:
    """Called without anything it shows its help, as wrong usage."""
    ended = run()

    assert 2 == ended.exit_code
    assert "send-callback" in ended.out + ended.err


def test_without_typer_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where typer is not installed, one line says what to install, with exit code 3."""
    monkeypatch.setattr("fetch_hive_sdk.cli.find_spec", lambda name: None)

    assert 3 == cli_runner.exit_code_of(lambda: main(["--help"]))
    assert "The command line needs: pip install 'fetch-hive-sdk[cli]'\n" == capsys.readouterr().err


@pytest.mark.parametrize("command", ["sandbox", "listen"])
def test_without_typer_a_command_that_serves_names_its_own_extra(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody installs one extra only to be told that the command needs another."""
    monkeypatch.setattr("fetch_hive_sdk.cli.find_spec", lambda name: None)

    assert 3 == cli_runner.exit_code_of(lambda: main([command]))
    assert "The command line needs: pip install 'fetch-hive-sdk[sandbox]'\n" == capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pass@host:1/a", "http://…@host:1/a"),
        ("http://token@host", "http://…@host"),
        ("user:pass@proxy:3128", "…@proxy:3128"),
        ("http://a:b@c@host/", "http://…@host/"),
        ("http://host/a@b?c=d@e", "http://host/a@b?c=d@e"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    """What is written on the screen or into a log has no password in it."""
    assert shown == terminal.without_password(url)


def test_the_entry_point_does_not_need_typer() -> None:
    """The module of the entry point loads without typer, so that its line can be read at all."""
    code = "import sys; sys.modules['typer'] = None\nimport fetch_hive_sdk.cli as cli; cli.find_spec = lambda _: None"
    ended = subprocess.run([sys.executable, "-c", f"{code}\ncli.main()"], capture_output=True, text=True, check=False)

    assert (3, f"{'The command line needs: pip install'} 'fetch-hive-sdk[cli]'\n") == (ended.returncode, ended.stderr)


@pytest.mark.parametrize(
    ("module", "shown"), [("fetch_hive_sdk.cli", "Usage: fetch-hive ["), ("fetch_hive_sdk.sandbox", "--daily-limit")]
)
def test_modules_can_be_run(
    module: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m` of the command line and of the sandbox runs the command."""
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    monkeypatch.delitem(sys.modules, f"{module}.__main__", raising=False)

    assert 0 == cli_runner.exit_code_of(lambda: importlib.import_module(f"{module}.__main__") and None)
    assert shown in capsys.readouterr().out


def test_characters_that_the_terminal_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A character that the terminal cannot show is written by its number, and nothing is lost."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr("fetch_hive_sdk.cli.app.VERSION", "1…")

    assert 0 == cli_runner.exit_code_of(lambda: main(["--version"]))
    assert b"1\\u2026\n" == written.getvalue()


# --- the page in the documentation ----------------------------------------------------------------------

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "cli.md"
COMMANDS = ["sandbox", "listen", "send-callback", "verify", "doctor", "runs get"]
COMMANDS += ["invoke prompt", "invoke workflow", "invoke agent"]


def test_the_page_knows_the_exit_codes() -> None:
    """The page lists the exit codes as the help does."""
    listed = PAGE.read_text(encoding="utf-8").partition("## Exit codes")[2]

    assert [f"| {code.value} | {meaning} |" for code, meaning in EXIT_CODES.items()] == [
        line for line in listed.splitlines() if line[:3].removeprefix("| ").isdigit()
    ]


def test_the_page_knows_the_options() -> None:
    """Every option and command that the page speaks of exists."""
    page = PAGE.read_text(encoding="utf-8")
    helps = {command: run(*command.split(), "--help").out for command in COMMANDS}
    options = set(re.findall(r"(?<!-)--[a-z][a-z-]+", page))

    assert set() == {option for option in options if not any(f"{option} " in text for text in helps.values())}
    assert set(helps) >= set(re.findall(r"fetch-hive ((?:invoke |runs )?[a-z-]+)", page)) - {"invoke"}


# --- mistakes -------------------------------------------------------------------------------------------

REQUEST = httpx.Request("POST", "https://api.test/v1/prompt/invoke")
RESPONSE = httpx.Response(404, request=REQUEST)
ANSWERED: dict[str, Any] = {"request": REQUEST, "response": RESPONSE}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.StreamFailedError("it failed"), ExitCode.FAILED),
        (errors.CallbackVerificationError("wrong", reason="wrong_signature"), ExitCode.FAILED),
        (errors.InvalidRequestError("wrong"), ExitCode.USAGE),
        (errors.ConfigurationError("no key"), ExitCode.CONFIGURATION),
        (ImportError("it needs: pip install 'fetch-hive-sdk[sandbox]'"), ExitCode.CONFIGURATION),
        (errors.NotFoundError("none", **ANSWERED), ExitCode.REFUSED),
        (errors.UnexpectedResponseError("HTML", response=RESPONSE), ExitCode.REFUSED),
        (errors.APITimeoutError("too long", request=REQUEST), ExitCode.NO_ANSWER),
        (errors.StreamIdleTimeoutError("silence", request=REQUEST), ExitCode.NO_ANSWER),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_each_error_has_its_exit_code(error: Exception, code: ExitCode, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that a command ends with becomes its exit code and its words, on standard error alone."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("fetch_hive_sdk.cli.runs.api_key_from", fail)
    ended = run("runs", "get", "req_1")

    assert code == exit_code_of(error) == ended.exit_code
    assert ("", f"Error: {error}\n") == (ended.out, ended.err)


def test_what_is_no_error_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the program itself is shown as what it is."""
    monkeypatch.setattr("fetch_hive_sdk.cli.runs.api_key_from", lambda _: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        run("runs", "get", "req_1")


@pytest.mark.parametrize("how", [KeyboardInterrupt, typer.Abort])
def test_an_interrupted_command_says_so(how: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command with a word and exit code 130, at a question too."""

    def interrupt(_: object) -> None:
        raise how

    monkeypatch.setattr("fetch_hive_sdk.cli.runs.api_key_from", interrupt)

    assert cli_runner.Ended(130, "", "Interrupted.\n") == run("runs", "get", "req_1")


def test_errors_speak_of_options() -> None:
    """Where an error names an argument of Python, its words name the option; its hint and run stand beside."""
    error = errors.APITimeoutError("It took long.", hint="Raise timeout=, or pass callback_url=: it queues.")
    error.request_id = "req_1"

    assert ["Error: It took long. (req_1)", "Raise --timeout, or pass --callback-url: it queues."] == explain(error)

    error.message = "req_1 took long."
    assert "Error: req_1 took long." == explain(error)[0]


def test_wrong_usage() -> None:
    """An unknown option is wrong usage, in words, and loads nothing of the SDK to say so."""
    code = "import sys\nfrom fetch_hive_sdk.cli import main\ntry: main(['doctor', '--x'])\nfinally: print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert 2 == ended.returncode
    assert "No such option" in ended.stderr
    assert "fetch_hive_sdk.errors" not in ended.stdout


# --- arguments ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("30", 30),
        ("-1.5e2", -150.0),
        ('"30"', "30"),
        ('"true"', "true"),
        ('"a "b"', '"a "b"'),
        ("True", "True"),
        ("007", "007"),
        ("1.", "1."),
        ("NaN", "NaN"),
        ("[1]", "[1]"),
        ("plain text", "plain text"),
        ("a=b", "a=b"),
        ("", ""),
        ("1" * 5000, "1" * 5000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_metadata_is_typed_as_json_scalars(written: str, value: object) -> None:
    """Metadata are numbers, true, false and null as in JSON; quoted or anything else they are text."""
    read = arguments.read_metadata([f"key={written}"])

    assert {"key": value} == read
    assert type(value) is type((read or {})["key"])


def test_nothing_given_is_nothing_sent() -> None:
    """Without metadata and inputs none are sent."""
    assert arguments.read_metadata(None) is None
    assert arguments.read_inputs(None, [], None) is None


def test_inputs_are_put_together(tmp_path: pathlib.Path) -> None:
    """Inputs come from a file, as text and as JSON or a file of it; what is given singly goes before the file."""
    (tmp_path / "inputs.json").write_text('\ufeff{"topic": "old", "depth": 2}', encoding="utf-8")
    (tmp_path / "companies.json").write_text('["Acme"]', encoding="utf-8")

    assert {"topic": "30", "depth": 2, "companies": ["Acme"], "deep": {"a": [None]}} == arguments.read_inputs(
        ["topic=30"],
        [f"companies=@{tmp_path / 'companies.json'}", 'deep={"a": [null]}'],
        str(tmp_path / "inputs.json"),
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--input", "topic"], "--input: 'topic' is not key=value."),
        (["--input", "=x"], "--input: '=x' is not key=value."),
        (["--input", "a=1", "--input", "a=2"], "--input: a is given twice."),
        (["--input", "a=1", "--input-json", "a=2"], "--input-json: a is given by --input too."),
        (["--input-json", "a=Acme"], "--input-json: a is not JSON: Expecting value"),
        (["--input-json", f"a={'[' * 200_000}"], "--input-json: a is nested too deeply."),
        (["--input-json", "a=@nowhere.json"], "--input-json: nowhere.json cannot be read: No such file"),
        (["--inputs-file", "list.json"], "--inputs-file: list.json holds no JSON object."),
        (["--inputs-file", "broken.json"], "--inputs-file: broken.json is not JSON: "),
        (["--inputs-file", "binary.json"], "--inputs-file: binary.json is not text in UTF-8."),
        (["--metadata", "plan"], "--metadata: 'plan' is not key=value."),
        (["--tool-approval", "always"], "--tool-approval"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:30],
)
def test_wrong_arguments(given: list[str], told: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read is wrong usage, with the option named; nothing is sent."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_bytes(b"[]")
    (tmp_path / "broken.json").write_bytes(b"{")
    (tmp_path / "binary.json").write_bytes(b"\xff")
    ended = run("invoke", "workflow", "brief", "--base-url", "http://127.0.0.1:1", "--api-key", "fhk_x", *given)

    assert 2 == ended.exit_code
    assert told in " ".join(ended.err.split())


def test_a_key_is_asked_for_where_somebody_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal a missing key is asked for, and not shown; the question goes to standard error."""
    monkeypatch.setattr(arguments, "can_ask", lambda: True)
    with Sandbox(api_key="fhk_hidden").serve() as server:
        ended = run("runs", "get", "req_1", "--base-url", server.base_url, "--json", stdin="fhk_hidden\n")

    assert 4 == ended.exit_code
    assert ended.err.startswith("API key:")
    assert "404 Not Found: Request not found." in ended.err
    assert "fhk_hidden" not in ended.err + ended.out


@pytest.fixture(autouse=True)
def no_secret_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees a webhook secret that is set on the machine it runs on."""
    monkeypatch.delenv("FETCH_HIVE_WEBHOOK_SECRET", raising=False)


@pytest.mark.parametrize(
    ("command", "variable"),
    [
        (["runs", "get", "req_1"], "FETCH_HIVE_API_KEY"),
        (["verify", "--body", "-", "--signature", "00"], "FETCH_HIVE_WEBHOOK_SECRET"),
        (["send-callback", "--to", "http://127.0.0.1:1", "--body", "-"], "FETCH_HIVE_WEBHOOK_SECRET"),
        (["listen", "--port", "0"], "FETCH_HIVE_WEBHOOK_SECRET"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_without_a_secret(command: list[str], variable: str) -> None:
    """Without a secret, and nobody there to be asked, the variable to set is named, with exit code 3."""
    ended = run(*command, stdin="")

    assert (3, "") == (ended.exit_code, ended.out)
    assert f"{variable} is not set." in ended.err


@pytest.mark.parametrize("command", [["listen", "--forward-to"], ["send-callback", "--body", "-", "--to"]])
@pytest.mark.parametrize("url", ["localhost:8000/hook", "ftp://localhost/hook", "/hook", "http://a b/"])
def test_urls_have_to_be_absolute(command: list[str], url: str) -> None:
    """A URL that nothing can be posted to is wrong usage."""
    ended = run(*command, url, "--secret", "whsec_x", stdin="")

    assert 2 == ended.exit_code
    assert f"Invalid value for {command[-1]}: " in ended.err


# --- the terminal ---------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Have a terminal as standard output and error. No fixture: pytest sets its own streams after those."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return stream


def test_a_terminal_does_not_obey_foreign_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal controls in a foreign text are made visible; lines and tabs stay."""
    at_a_terminal(monkeypatch)

    assert "\\x1b[2Jgone\n\tx\\x07" == terminal.shown("\x1b[2Jgone\r\n\tx\x07")


def test_a_pipe_gets_the_exact_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not written to a terminal is written as it is."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    assert "\x1b[2J\r\n" == terminal.shown("\x1b[2J\r\n")


def test_one_line() -> None:
    """A foreign text inside a line is one line, without controls, and not endless."""
    assert "a b \\x1b c" == terminal.one_line("a\n b \x1b\tc ")
    assert f"{'x' * 200}…" == terminal.one_line("x" * 201)


def test_colors_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colors are written to a terminal, and neither under NO_COLOR, nor to a dumb one, nor to a pipe."""
    at_a_terminal(monkeypatch)

    assert "\x1b[32mok\x1b[0m" == terminal.styled("ok", "green")

    monkeypatch.setenv("NO_COLOR", "1")
    assert "ok" == terminal.styled("ok", "green")

    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert "ok" == terminal.styled("ok", "green")

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert "ok" == terminal.styled("ok", "green")


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it is shown what is waited for and for how long, until it ends; elsewhere nothing is written."""
    screen = at_a_terminal(monkeypatch)
    with terminal.waiting("Running [brief]") as stop:
        stop()
        stop()
    assert "Running [brief]" in screen.getvalue()
    assert "0:00:00" in screen.getvalue()

    monkeypatch.setattr(sys, "stderr", quiet := io.StringIO())
    with terminal.waiting("Running") as stop:
        stop()
    assert "" == quiet.getvalue()


@pytest.mark.parametrize(("encoding", "written"), [("utf-8", '"…"\n'), ("latin-1", '"\\u2026"\n')])
def test_json_suits_the_output(encoding: str, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON is written as text where the output is UTF-8, and in plain ASCII elsewhere."""
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding=encoding))
    terminal.say_json("…")

    assert written == output.getvalue().decode(encoding)


def test_times_for_reading() -> None:
    """Durations are written in the unit that reads best, and moments as the time of day."""
    assert ["12 ms", "3.4 s", "120.0 s"] == [terminal.seconds(0.0123), terminal.seconds(3.41), terminal.seconds(120)]
    assert terminal.clock_time(datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc)).endswith(":02:01")


# --- serving --------------------------------------------------------------------------------------------


def test_an_inbox_waits_in_short_spells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes for a while the inbox goes on waiting; what came before the stop is still told."""
    inbox: serving.Inbox[int] = serving.Inbox()
    monkeypatch.setattr(serving, "_SECONDS_TO_WAIT", 0.001)
    waits = iter(inbox)
    original, empty = inbox._items.get, []

    def get(**options: Any) -> Any:
        try:
            return original(**options)
        except Exception:
            empty.append(1)
            inbox.put(7)
            inbox.stop()
            raise

    inbox._items = type("Queue", (), {"get": staticmethod(get), "put": inbox._items.put})()

    assert [7] == list(waits)
    assert [1] == empty


@pytest.mark.parametrize(
    ("host", "told"),
    [("127.0.0.1", "is in use."), ("no host at all", "Cannot listen on"), ("192.0.2.1", "Cannot listen on")],
)
@pytest.mark.parametrize("command", [["listen", "--skip-verify"], ["sandbox", "--api-key", "fhk_x"]])
def test_an_address_that_cannot_be_listened_on(command: list[str], host: str, told: str) -> None:
    """A port in use, or an address that is not this machine's, is told in a line, with exit code 3."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run(*command, "--host", host, "--port", str(taken.getsockname()[1]))

    assert (3, "") == (ended.exit_code, ended.out)
    assert told in ended.err
    assert ("--port 0" in ended.err) == (host == "127.0.0.1")
