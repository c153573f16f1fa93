"""Assets: what the calls send, give back and refuse. `test_uploads` shows how files are sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import InvalidRequestError, PaymentRequiredError, UnexpectedResponseError
from fetch_hive_sdk.resources.assets import Asset, Transcription
from fetch_hive_sdk.resources.base import ResultList
from fetch_hive_sdk.sandbox.resources.multipart import Part, read_parts

pytestmark = pytest.mark.anyio

WORKSPACE = "00000000-0000-7000-8000-000000000001"
OTHER = "00000000-0000-7000-8000-000000000002"
URL = f"https://api.fetchhive.com/v1/public/workspaces/{WORKSPACE}/assets"
TRANSCRIPTION = {
    "status": "failed",
    "error_code": "too_long",
    "error_message": "It is too long.",
    "completed_at": "2026-06-01T00:00:05Z",
}
ASSET = {
    "id": "0190aaaa-0000-7000-8000-000000000001",
    "object_key": "assets/x",
    "file_name": "talk.mp3",
    "file_url": "https://files.example.com/x?signature=y",
    "file_url_expires_at": "2026-06-01T01:00:00Z",
    "file_type": "audio/mpeg",
    "file_size": 5,
    "asset_type": "audio",
    "uploaded_at": "2026-06-01T00:00:00Z",
    "workspace_id": WORKSPACE,
    "error_message": None,
    "transcription": TRANSCRIPTION,
}


async def test_list(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """The list is one GET with the key, and its assets have every documented field."""
    httpx_mock.add_response(json={"assets": [ASSET, {}]}, is_reusable=True)
    async with make_client(workspace_id=WORKSPACE) as client:
        listed = await client.assets.list()
        assert 0 == len((await client.assets.list(workspace_id=UUID(OTHER)))[2:])
    here, there = httpx_mock.get_requests()
    assert ("GET", URL, b"") == (here.method, str(here.url), here.content)
    assert URL.replace(WORKSPACE, OTHER) == str(there.url)
    assert type(listed) is ResultList
    assert [ASSET, {}] == listed.to_list()
    assert {"assets": [ASSET, {}]} == listed.http_response.json()
    asset = listed[0]
    assert type(asset) is Asset
    assert ASSET == {name: getattr(asset, name) for name in ASSET}
    assert type(asset.transcription) is Transcription
    assert TRANSCRIPTION == {name: getattr(asset.transcription, name) for name in TRANSCRIPTION}
    assert ("", None, None) == (listed[1].id, listed[1].file_size, listed[1].transcription)


async def test_upload(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """An upload is one POST of a form with the key, and its result is the asset with the answer it came in."""
    answer = {"message": "Uploaded.", "asset": ASSET}
    httpx_mock.add_response(json=answer, is_reusable=True)
    async with make_client(workspace_id=WORKSPACE) as client:
        asset = await client.assets.upload(b"sound")
        await client.assets.upload(
            b"sound", file_name="talk.mp3", content_type="audio/x", part="asset[file]", workspace_id=OTHER
        )
    here, there = httpx_mock.get_requests()
    assert ("POST", URL, URL.replace(WORKSPACE, OTHER)) == (here.method, str(here.url), str(there.url))
    assert ("Bearer fhk_test", "application/json") == (here.headers["Authorization"], here.headers["Accept"])
    [one], [other] = (read_parts(request.headers["Content-Type"], request.content) for request in (here, there))
    assert Part("file", "file", "application/octet-stream", b"sound") == one
    assert Part("asset[file]", "talk.mp3", "audio/x", b"sound") == other
    assert (Asset, ASSET, answer) == (type(asset), asset.to_dict(), asset.http_response.json())


async def test_refused(make_client: Callable[..., Any]) -> None:
    """A wrong file, a wrong option or a missing workspace is refused, and nothing is sent."""
    cases: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
        ("upload", (5,), {}, "file: an int is not allowed."),
        ("upload", ("/no/such/file",), {}, "file: '/no/such/file' cannot be read: No such file or directory."),
        ("upload", (b"",), {"part": ""}, "part: it is empty."),
        ("upload", (b"",), {"workspace_id": ""}, "workspace_id: it is empty."),
        ("upload", (b"",), {}, "workspace_id: it is missing."),
        ("list", (), {}, "workspace_id: it is missing."),
    ]
    async with make_client() as client:
        for method, ids, arguments, message in cases:
            with pytest.raises(InvalidRequestError) as caught:
                await getattr(client.assets, method)(*ids, **arguments)
            assert message == caught.value.message


async def test_storage_full(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A full storage is a PaymentRequiredError with its code, and nothing has been done."""
    httpx_mock.add_response(402, json={"error": "Storage is full.", "error_code": "asset_storage_limit_reached"})
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(PaymentRequiredError, match=r"Storage is full\.") as caught:
            await client.assets.upload(b"sound")
    assert ("asset_storage_limit_reached", False) == (caught.value.error_code, caught.value.may_have_run)


@pytest.mark.parametrize("body", [b"<html>", json.dumps({"asset": []}).encode()])
async def test_an_answer_that_is_none(make_client: Callable[..., Any], httpx_mock: HTTPXMock, body: bytes) -> None:
    """An answer without an asset says that the file may be there all the same."""
    httpx_mock.add_response(content=body)
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(UnexpectedResponseError) as caught:
            await client.assets.upload(b"sound")
    assert caught.value.may_have_run is True
