"""What a failure becomes: one or two lines on standard error, and an exit code that scripts can tell apart."""

from __future__ import annotations

import re
from enum import IntEnum

__all__ = ["EXIT_CODES", "ExitCode", "exit_code_of", "explain"]


class ExitCode(IntEnum):
    """The exit codes of `fetch-hive`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    REFUSED = 4
    NO_ANSWER = 5
    INTERRUPTED = 130


EXIT_CODES = {
    ExitCode.OK: "It worked. sandbox and listen also end with 0 by Ctrl-C or SIGTERM.",
    ExitCode.FAILED: "The run failed, the signature is wrong, the receiver did not accept, or a check failed.",
    ExitCode.USAGE: "The command or its arguments are wrong. Nothing was sent.",
    ExitCode.CONFIGURATION: "A setting is missing or wrong: no key, a port in use, an extra not installed.",
    ExitCode.REFUSED: "The service answered with an error, or with something that is no answer.",
    ExitCode.NO_ANSWER: "No complete answer came: no connection, a timeout, a broken stream, a run that had not ended.",
    ExitCode.INTERRUPTED: "Interrupted by Ctrl-C.",
}

# The SDK's errors speak of Python's arguments; here they are options.
_AS_OPTIONS = {
    "api_key": "--api-key",
    "base_url": "--base-url",
    "callback_url": "--callback-url",
    "idle_timeout": "--timeout",
    "timeout": "--timeout",
}
_WAITED = "It goes on. Wait again, with a larger --wait perhaps, or look it up later."
_ARGUMENT = re.compile(rf"\b({'|'.join(_AS_OPTIONS)})=")


def exit_code_of(error: Exception) -> ExitCode:
    """The exit code of an error that a command ended with."""
    from .. import errors

    if isinstance(error, (errors.StreamFailedError, errors.CallbackVerificationError)):
        return ExitCode.FAILED
    if isinstance(error, errors.InvalidRequestError):
        return ExitCode.USAGE
    if isinstance(error, (errors.APIStatusError, errors.UnexpectedResponseError)):
        return ExitCode.REFUSED
    if isinstance(error, (errors.APIConnectionError, errors.WaitTimeoutError)):
        return ExitCode.NO_ANSWER
    return ExitCode.CONFIGURATION


def explain(error: Exception) -> list[str]:
    """An error in one or two lines: what happened, and what to do."""
    from ..errors import FetchHiveError, WaitTimeoutError

    if not isinstance(error, FetchHiveError):  # an extra that is not installed
        return [f"Error: {error}"]
    hint = _WAITED if isinstance(error, WaitTimeoutError) and "It goes on" in error.hint else error.hint
    message, hint = (_ARGUMENT.sub(lambda match: _AS_OPTIONS[match[1]], text) for text in (error.message, hint))
    known = f" ({error.request_id})" if error.request_id and error.request_id not in message else ""
    return [f"Error: {message}{known}", *([hint] if hint else [])]
