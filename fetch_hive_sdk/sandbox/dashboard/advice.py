"""What to do about an error, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from ...error_codes import BY_CODE
from ..lifecycle import CANCELLED, STOPPED, TIMED_OUT
from ..runs import Refused, Run

__all__ = ["fix_of_refused", "fix_of_run"]

_TEXTS: Mapping[str, str] = {
    "The reply function returned None": "The function registered for it has a path without a return: return a text, "
    "a JSON value or an Answer there.",
    CANCELLED: "It was cancelled by hand. Send the request again if it is to run.",
    TIMED_OUT: "Choose before the wait ends, give the step a longer timeout, or let it go on by itself "
    'with on_timeout="continue".',
    STOPPED: "Its caller was gone when the sandbox started again. Send the request again.",
}
_REFUSALS: Mapping[str, str] = {
    "Missing required field: deployment or variant": "Send both, as texts that are not empty. A lenient sandbox "
    "accepts a missing variant; the service does not.",
    "Missing required field: agent or message": "Send both, as texts that are not empty.",
    "Workflows with a Human in the Loop step": 'Send "async": {"enabled": true, "callback_url": "https://…"}: the run '
    "pauses until somebody chooses.",
    "metadata": "Metadata is flat: keys that are not empty, values that are text, number, boolean or null. What the "
    "run works on goes to inputs.",
    "The request body is not valid JSON": "Send JSON in UTF-8. NaN and infinity are no JSON, and quotes are double.",
    "callback_url": "Send an absolute https URL. http is accepted for this machine and private networks alone.",
}
_NOT_FOUND: Mapping[str, str] = {
    "Workspace": "This sandbox has one workspace: its id is on each page of the resources.",
    "Deployment": "Compare the name with those on the Deployments page: this sandbox is strict, and answers for "
    "registered ones alone.",
    "Agent": "Compare the id with those of the workspace's agents, and in a strict sandbox with those on the "
    "Deployments page.",
    "Request": "Compare the id with those in the logs; a reset forgets all of them.",
    "Prompt workflow run": "Compare the id with those in the log of workflows.",
}
_STATUSES: Mapping[int, str] = {
    401: "Send the header Authorization: Bearer YOUR_API_KEY, with the key this sandbox was started with, or any "
    "if it was started without one. A webhook trigger takes the deployment's secret instead.",
    404: "Compare the path with the documentation's.",
    405: "The path is right, the method is not: the Allow header of the reply names the right one.",
    409: "It is done already: look it up, and do not send the request again.",
    429: "Too much at once: wait, or use callback delivery, which queues.",
}


def fix_of_run(run: Run) -> str:
    """How to mend what made a run fail; empty if nothing did."""
    if run.answer is None or run.answer.error is None:
        return ""
    entry = BY_CODE.get(run.answer.error_code or "")
    if entry is not None:
        return entry.client_action
    return _TEXTS.get(run.answer.error) or (
        f"The text is from the reply registered for {run.name}: its function raised it, or it says so itself with "
        "Answer(error=…), or a scripted fault set it. In the service a failed run may have cost credits, so repeat it "
        "only if running twice does no harm."
    )


def fix_of_refused(refused: Refused) -> str:
    """How to mend a refused request."""
    entry = BY_CODE.get(refused.error_code or "")
    # The status tells more than the code that goes with every invalid request.
    if entry is not None and entry.code != "validation_error":
        return entry.client_action
    for begin, fix in _REFUSALS.items():
        if refused.error.startswith(begin):
            return fix
    what, found, _ = refused.error.partition(" not found")
    if found:
        return _NOT_FOUND.get(what) or "Compare the id with those that are listed: it may be another's, or deleted."
    return _STATUSES.get(refused.status) or "Correct what the text names, and send it again."
