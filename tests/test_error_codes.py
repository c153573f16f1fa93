"""The service's error codes: one list, from which the errors' hints and the sandbox's catalog come."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import httpx
import pytest

from fetch_hive_sdk.error_codes import BY_CODE, ERROR_CODES, ErrorCode
from fetch_hive_sdk.errors import APIStatusError, DailyLimitError, status_error
from fetch_hive_sdk.sandbox.catalog import daily_limit_body, error_catalog
from fetch_hive_sdk.sandbox.choices import Choices

CODES = [entry.code for entry in ERROR_CODES]


def refused(status: int, body: dict[str, Any]) -> APIStatusError:
    request = httpx.Request("POST", "https://api.fetchhive.com/v1/x", headers={"Authorization": "Bearer fhk_x"})
    response = httpx.Response(status, json=body, request=request)
    return status_error(response, body, call="POST /x", may_have_run=False, retryable=False, retry_after=None)


def test_codes_are_listed_once() -> None:
    """Each code stands in the list once, and is found by its name."""
    assert len(set(CODES)) == len(CODES) == 18
    assert {entry.code: entry for entry in ERROR_CODES} == BY_CODE


@pytest.mark.parametrize("entry", ERROR_CODES, ids=CODES)
def test_each_code_says_what_to_know(entry: ErrorCode) -> None:
    """Each code has an error status, a message, something to do, and cannot be changed."""
    assert 400 <= entry.status <= 599
    assert entry.message
    assert entry.client_action.endswith(".")
    with pytest.raises(FrozenInstanceError):
        entry.status = 200  # type: ignore[misc]


@pytest.mark.parametrize("entry", ERROR_CODES, ids=CODES)
def test_hints_come_from_the_list(entry: ErrorCode) -> None:
    """The hint of an error with a code is what the list says to do, but for the daily limit, which says more."""
    error = refused(entry.status, {"error": "No.", "error_code": entry.code})

    if entry.code == "validation_error":
        assert "Correct the named field." in error.hint
    elif isinstance(error, DailyLimitError):
        assert "midnight UTC" in error.hint
    else:
        assert entry.client_action == error.hint


def test_a_wrong_key_is_no_validation_matter() -> None:
    """The generic code, which the service sends with 401 as well, leaves the hint to the status."""
    assert "FETCH_HIVE_API_KEY" in refused(401, {"error": "Invalid access.", "error_code": "validation_error"}).hint


@pytest.mark.parametrize("locale", [None, "en", "es", "", "tlh"])
def test_catalog(locale: str | None) -> None:
    """The catalog has the documented form, in English for every language asked for."""
    catalog = error_catalog(locale)
    [entry] = [entry for entry in catalog["codes"] if entry["code"] == "model_deprecated"]

    assert CODES == [entry["code"] for entry in catalog.pop("codes")]
    assert {"locale": "en", "default_field": "error_code", "compatibility_aliases": ["code"]} == catalog
    assert {
        "code": "model_deprecated",
        "status": 422,
        "field": "error_code",
        "message_key": "errors.codes.model_deprecated",
        "message": 'The selected model "%{model}" is no longer available.',
        "field_aliases": [],
        "category": "runtime",
        "client_action_key": "errors.client_actions.model_deprecated",
        "client_action": BY_CODE["model_deprecated"].client_action,
    } == entry


@pytest.mark.parametrize("key", ["code", "error_code"])
def test_daily_limit(key: Any) -> None:
    """The body of the daily limit is the documented one, with its code where the sandbox is told to put it."""
    assert {
        "error": "Daily API rate limit reached",
        key: "api_rate_limit_exceeded",
        "message": "You have reached your daily limit of 50 API calls. Resets at midnight UTC. "
        "Upgrade your plan for higher limits.",
        "limit": 50,
        "current": 51,
    } == daily_limit_body(50, 51, Choices(daily_limit_code_key=key))
