"""The fixtures that pytest finds once the package is installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fetch_hive_sdk import AsyncFetchHive, FetchHive
from fetch_hive_sdk.sandbox import Sandbox


def test_the_client_talks_to_the_sandbox(fetch_hive_sandbox: Sandbox, fetch_hive_client: FetchHive) -> None:
    """With the two fixtures a test is three lines: register, call, assert."""
    fetch_hive_sandbox.prompt("support-classifier", reply="billing")
    result = fetch_hive_client.invoke_prompt(deployment="support-classifier", variant="default")
    assert (result.response, len(fetch_hive_sandbox.runs)) == ("billing", 1)


@pytest.mark.anyio
@pytest.mark.parametrize("flavor", ["asyncio", "trio"])
async def test_the_async_client_talks_to_the_same_sandbox(
    fetch_hive_sandbox: Sandbox, fetch_hive_client: FetchHive, async_fetch_hive_client: AsyncFetchHive
) -> None:
    """Runs of the async client and of the sync one are found in one sandbox."""
    fetch_hive_sandbox.agent("AGENT_UUID", reply="Hello.")
    reply = await async_fetch_hive_client.invoke_agent(agent="AGENT_UUID", message="Hi")
    fetch_hive_client.invoke_agent(agent="AGENT_UUID", message="Hi again")
    assert reply.response == "Hello."
    assert [run.message for run in fetch_hive_sandbox.runs] == ["Hi", "Hi again"]


def test_each_test_has_a_sandbox_of_its_own(pytester: pytest.Pytester) -> None:
    """In a project with nothing but tests the fixtures are there, and no run is left over from another test."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_one_run(number, fetch_hive_sandbox, fetch_hive_client):
            fetch_hive_client.invoke_prompt(deployment="support-classifier", variant="default")
            assert len(fetch_hive_sandbox.runs) == 1
        """
    )
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=2)


def test_the_fixtures_are_listed_with_what_they_are(pytester: pytest.Pytester) -> None:
    """`pytest --fixtures` tells the three fixtures, each with its first sentence."""
    told = pytester.runpytest_subprocess("--fixtures").stdout.str()
    assert "fetch_hive_sandbox -- " in told
    assert "fetch_hive_client -- " in told
    assert "async_fetch_hive_client -- " in told
    assert "A `Sandbox` of the test's own" in told


def test_a_test_run_that_does_not_use_them_pays_nothing() -> None:
    """Loading the plugin, as pytest does in every project, imports neither the sandbox nor pydantic nor httpx."""
    heavy = "{'httpx', 'pydantic', 'starlette'} & {*sys.modules}"
    code = f"import sys, fetch_hive_sdk.pytest_plugin; print(sorted({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
