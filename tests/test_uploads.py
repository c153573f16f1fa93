"""Uploads: what a form with a file looks like, what is refused, and how it is sent, resent, broken off and closed."""

from __future__ import annotations

import gzip
import io
import json
import os
import pathlib
import socket
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import (
    APIConnectionError,
    APITimeoutError,
    AsyncFetchHive,
    InternalServerError,
    InvalidRequestError,
    RateLimitError,
    RetryPolicy,
)
from fetch_hive_sdk.sandbox import Sandbox
from fetch_hive_sdk.sandbox.resources.multipart import Part, read_parts
from fetch_hive_sdk.sandbox.server import SandboxServer
from fetch_hive_sdk.uploads import CHUNK, Upload

from .faulty_server import Exchange, FaultyServer, json_reply, reset, wait_for_hang_up

WORKSPACE = "00000000-0000-7000-8000-000000000001"
ASSET = {"id": "0190aaaa-0000-7000-8000-000000000001", "file_name": "notes.txt"}
ANSWER = json.dumps({"message": "Asset uploaded.", "asset": ASSET})
AT_ONCE = RetryPolicy(initial_delay=0)
CONTENT = bytes(range(256)) * (CHUNK // 100)  # two whole pieces and a part of one


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "notes.txt"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> list[Any]:
    """The test's own files that were opened by their path, in order; what modules open while they load is left out."""
    files: list[Any] = []
    original = pathlib.Path.open

    def opening(path: pathlib.Path, *arguments: Any, **options: Any) -> Any:
        file = original(path, *arguments, **options)
        if tmp_path in path.parents:
            files.append(file)
        return file

    monkeypatch.setattr(pathlib.Path, "open", opening)
    return files


class Stream:
    """What gives bytes once, as a socket does; with pieces of any size."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = list(pieces)

    def read(self, size: int) -> Any:
        if not size or not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece


def form(upload: Upload) -> bytes:
    """The whole body, as the sync client sends it."""
    return b"".join(upload)


def part(file: Any, **options: Any) -> Part:
    """The form's one part, as a server reads it."""
    upload = Upload(file, **options)
    body = form(upload)
    assert upload.length in (len(body), None)
    [part] = read_parts(upload.content_type, body)
    return part


def part_of(request: httpx.Request | Exchange) -> Part:
    """The one part of a form that was sent."""
    if isinstance(request, httpx.Request):
        content_type, body = request.headers["Content-Type"], request.content
    else:
        lines = dict(line.split(": ", 1) for line in request.head.decode().split("\r\n")[1:])
        content_type, body = lines["Content-Type"], request.body
    [part] = read_parts(content_type, body)
    return part


def refusal(file: Any, **options: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        form(Upload(file, **options))
    assert caught.value.hint
    return caught.value


# --- the form -----------------------------------------------------------------------------------------


def test_the_form_to_the_byte() -> None:
    """A form is one part with its name, the file's name, its type and its bytes, between boundaries."""
    upload = Upload(b"a,b\r\n1,2", part="file", file_name="table.csv")
    boundary = upload.content_type.removeprefix("multipart/form-data; boundary=")
    lines = [
        f"--{boundary}",
        'Content-Disposition: form-data; name="file"; filename="table.csv"',
        "Content-Type: text/csv",
        "",
        "a,b",
        "1,2",
        f"--{boundary}--",
        "",
    ]
    assert "\r\n".join(lines).encode() == form(upload)
    assert boundary.isalnum()
    assert Upload(b"").content_type != upload.content_type


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_every_size_arrives(tmp_path: pathlib.Path, size: int) -> None:
    """An empty file is a file, and sizes around that of a piece lose nothing, from a path as from bytes."""
    content = os.urandom(size)
    path = tmp_path / "f"
    path.write_bytes(content)
    assert [content] * 3 == [part(file).content for file in (path, str(path), content)]


def test_kinds_of_files(path: pathlib.Path) -> None:
    """Every kind of open file that gives bytes is read from where it stands, is sent whole, and stays open."""
    packed, archive = io.BytesIO(gzip.compress(CONTENT)), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writing:
        writing.writestr("notes.txt", CONTENT)
    spooled = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - closed below with the others
    spooled.write(CONTENT)
    spooled.seek(0)
    files: list[Any] = [
        path.open("rb"),
        path.open("rb", buffering=0),
        path.open("r+b"),
        io.BytesIO(CONTENT),
        gzip.GzipFile(fileobj=packed),
        zipfile.ZipFile(archive).open("notes.txt"),  # noqa: SIM115 - closed below
        spooled,
    ]
    for file in files:
        with file:
            file.seek(1)
            upload = Upload(file, file_name="f")
            around = len(form(Upload(b"", file_name="f")))
            assert (True, len(CONTENT) - 1 + around) == (upload.rewindable, upload.length)
            assert [CONTENT[1:]] * 2 == [read_parts(upload.content_type, form(upload))[0].content for _ in range(2)]
            assert not file.closed
    for content in (bytearray(CONTENT), memoryview(CONTENT)):
        assert CONTENT == part(content).content


def test_a_place_behind_the_end_is_an_empty_rest() -> None:
    """A file that stands behind its end has nothing left to send, and no size below nothing."""
    file = io.BytesIO(b"short")
    file.seek(99)
    assert b"" == part(file).content


class Unsure(io.BytesIO):
    """A file whose `tell` tells nothing."""

    def tell(self) -> Any:
        return None


@pytest.mark.parametrize("file", [Stream(b"ab", b"c", bytearray(b"d"), memoryview(b"e")), Unsure(b"abcde")])
def test_streams_are_sent_once(file: Any) -> None:
    """What cannot go back, or does not tell where it is, is sent without a size, short reads and all."""
    upload = Upload(file)
    assert (False, None) == (upload.rewindable, upload.length)
    assert b"abcde" == read_parts(upload.content_type, form(upload))[0].content


def test_a_pipe_is_a_stream() -> None:
    """A pipe is read to its end, however it dribbles."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as file:
        os.write(write_end, b"from a pipe")
        os.close(write_end)
        upload = Upload(file)
        assert not upload.rewindable
        assert b"from a pipe" == read_parts(upload.content_type, form(upload))[0].content


# --- names and types ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        'a "b".txt',
        "a\r\nX-Injected: b",
        "ünï ユ\U0001f41d.md",
        "end\\",
        "a\\b",
        "a;b=c",
        ".",
    ],
)
def test_names_arrive(name: str) -> None:
    """Quotes, line breaks, backslashes and all of Unicode in a name change nothing else of the form."""
    for one in (part(b"x", file_name=name), part(b"x", part=name, file_name=name)):
        assert (name, b"x") == (one.filename, one.content)
    assert name == part(b"x", part=name).name


def test_control_characters_are_escaped() -> None:
    """Characters that a header may not have are written as a percent sign and their number."""
    assert "a%00b%09c%7F.txt" == part(b"x", file_name="a\0b\tc\x7f.txt").filename


def test_default_names(path: pathlib.Path) -> None:
    """A file without a name of its own gets that of its path, else `file`; a file's number is no name."""
    named, nameless, blank = io.BytesIO(), io.BytesIO(), io.BytesIO()
    named.name, blank.name = b"/data/from bytes.md", "  "  # type: ignore[attr-defined]
    with path.open("rb") as file, os.fdopen(os.open(path, os.O_RDONLY), "rb") as numbered:
        files = (path, str(path), file, numbered, named, nameless, blank, b"x")
        names = [part(one).filename for one in files]
    assert ["notes.txt", "notes.txt", "notes.txt", "file", "from bytes.md", "file", "file", "file"] == names


class BytesPath:
    """A path of bytes, as `os.scandir(b".")` gives."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __fspath__(self) -> bytes:
        return os.fsencode(self.path)


def test_paths_of_bytes(path: pathlib.Path) -> None:
    """A path object whose path is bytes is a path too."""
    one = part(BytesPath(path))
    assert ("notes.txt", CONTENT) == (one.filename, one.content)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "text/csv"),
        ("A.PDF", "application/pdf"),
        ("a.b.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("a.md", "text/markdown"),
        ("a.png", "image/png"),
        ("a.csv.gz", "application/gzip"),
        ("a.tar.bz2", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
        ("nothing", "application/octet-stream"),
    ],
)
def test_types_are_guessed(name: str, kind: str) -> None:
    """The type follows from the name; what is packed has the type of its packing."""
    assert kind == part(b"", file_name=name).content_type


def test_a_type_of_ones_own() -> None:
    """A type that is passed is sent as it is, parameters and all."""
    assert "text/plain; charset=latin-1" == part(b"", content_type="text/plain; charset=latin-1").content_type


# --- refusals -----------------------------------------------------------------------------------------


def refused_files() -> Iterator[Any]:
    closed = io.BytesIO()
    closed.close()
    with open(os.devnull, "wb") as unreadable, open(os.devnull, encoding="utf-8") as text:
        yield from (
            (5, "file: an int is not allowed."),
            (None, "file: None is not allowed."),
            (io.StringIO("x"), "file: its read() gives a str."),
            (text, "file: its read() gives a str."),
            (closed, "file: it cannot be read: I/O operation on closed file."),
            (unreadable, "file: it is not open for reading."),
            (
                "no/such/file",
                f"file: {str(pathlib.Path.cwd() / 'no/such/file')!r} cannot be read: No such file or directory.",
            ),
            (os.devnull, "file: it is a pipe or a device."),
            (Stream(None), "file: its read() gives None."),
            (Stream(b"x", "y"), "file: its read() gives a str."),
            (Stream(b"x", OSError(5, "Input/output error")), "file: it cannot be read: Input/output error."),
            (Stream(b"x", EOFError("cut off")), "file: it cannot be read: cut off."),
            (Stream(httpx.ReadError("of another call")), "file: it cannot be read: of another call."),
        )


def test_files_that_cannot_be_sent(tmp_path: pathlib.Path) -> None:
    """What is no file of bytes, is closed, is not there or fails under way is refused, and the message says why."""
    for file, message in refused_files():
        assert message == refusal(file).message
    assert "embedded null" in refusal("null\0byte").message  # in words that differ between versions of Python
    assert f"file: {str(tmp_path)!r} cannot be read: Is a directory." == refusal(tmp_path).message


def test_a_pipe_is_not_opened_by_its_path(tmp_path: pathlib.Path) -> None:
    """The path of a pipe is refused instead of waited for."""
    os.mkfifo(tmp_path / "pipe")
    assert "file: it is a pipe or a device." == refusal(tmp_path / "pipe").message


class AsyncFile:
    """A file as web frameworks give it."""

    async def read(self, size: int) -> bytes:
        return b""


def test_async_files_are_refused() -> None:
    """A file whose `read` has to be awaited is refused with a word on what to pass, and no warning comes of it."""
    error = refusal(AsyncFile())
    assert "file: its read() has to be awaited." == error.message
    assert "UploadFile.file" in error.hint


def test_a_read_without_a_size_is_refused() -> None:
    """An object whose `read` takes no number of bytes is refused before anything is sent."""

    class Whole:
        def read(self) -> bytes:
            return b""

    assert refusal(Whole()).message.startswith("file: it cannot be read: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file_name": ""}, "file_name: it is empty."),
        ({"file_name": 5}, "file_name: an int is not allowed."),
        ({"file_name": "\ud800"}, "file_name: the text has half a surrogate pair in it."),
        ({"part": " "}, "part: it is empty."),
        ({"part": None}, "part: None is not allowed."),
        ({"content_type": ""}, "content_type: '' is no media type."),
        ({"content_type": "text"}, "content_type: 'text' is no media type."),
        ({"content_type": "text/plain\r\nX: y"}, "content_type: 'text/plain\\r\\nX: y' is no media type."),
        ({"content_type": "text/plain\n"}, "content_type: 'text/plain\\n' is no media type."),
        ({"content_type": "text/ü"}, "content_type: 'text/ü' is no media type."),
        ({"content_type": 5}, "content_type: an int is not allowed."),
        ({"on_progress": 5}, "on_progress: an int is not allowed."),
        ({"on_progress": AsyncFile().read}, "on_progress: a method is not allowed."),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    """An option that would break the form is refused by its name."""
    assert message == refusal(b"", **options).message


def test_a_path_that_is_not_text(tmp_path: pathlib.Path) -> None:
    """A file whose name is not UTF-8 needs a name that is."""
    path = tmp_path / os.fsdecode(b"\xff.txt")
    path.write_bytes(b"x")
    assert "file: its name is not text." == refusal(path).message
    assert "ff.txt" == part(path, file_name="ff.txt").filename


@pytest.mark.parametrize("change", [lambda old: old + b"more", lambda old: old[:-1], lambda old: b""])
def test_a_file_that_changes(path: pathlib.Path, change: Callable[[bytes], bytes]) -> None:
    """A file that grows or shrinks breaks its upload off, and no byte above the announced ones is handed on."""
    upload = Upload(path)
    path.write_bytes(change(CONTENT))
    sent = io.BytesIO()
    with pytest.raises(InvalidRequestError, match=rf"^file: it has changed: it had {len(CONTENT)} bytes"):
        sent.writelines(upload)
    assert upload.length is not None
    assert len(sent.getvalue()) < upload.length
    assert not sent.getvalue().endswith(b"--\r\n")


def test_a_file_that_vanishes(path: pathlib.Path) -> None:
    """A file that is gone when its turn comes breaks its upload off."""
    upload = Upload(path)
    path.unlink()
    with pytest.raises(InvalidRequestError, match=r"^file: '.+' cannot be read: No such file or directory"):
        form(upload)


def test_a_file_that_is_closed_meanwhile() -> None:
    """An open file that its owner closes before it is read again breaks the upload off."""
    file = io.BytesIO(b"x")
    upload = Upload(file)
    file.close()
    with pytest.raises(InvalidRequestError, match=r"^file: it cannot be read: I/O operation on closed file"):
        form(upload)


# --- sent ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Sandbox, SandboxServer]]:
    """A sandbox on a real socket."""
    with Sandbox() as sandbox, sandbox.serve() as server:
        yield sandbox, server


def files_of(path: pathlib.Path) -> Iterator[Any]:
    yield from (path, CONTENT, io.BytesIO(CONTENT), Stream(CONTENT[:7], CONTENT[7:]))


@pytest.mark.anyio
async def test_uploads_arrive(
    make_client: Callable[..., Any], server: tuple[Sandbox, SandboxServer], path: pathlib.Path
) -> None:
    """Paths, bytes, files and streams arrive to the byte over a real connection, and are loaded from their URL."""
    options = {"base_url": server[1].base_url, "api_key": server[1].api_key, "workspace_id": WORKSPACE}
    async with make_client(**options) as client, httpx.AsyncClient(trust_env=False) as browser:
        for file in files_of(path):
            asset = await client.assets.upload(file, file_name="ü.txt")
            assert ("ü.txt", len(CONTENT), "text/plain") == (asset.file_name, asset.file_size, asset.file_type)
            assert CONTENT == (await browser.get(asset.file_url)).content


@pytest.mark.anyio
async def test_headers(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A file has its length in the request; a stream is sent in chunks."""
    httpx_mock.add_response(json={"asset": ASSET}, is_reusable=True)
    async with make_client(workspace_id=WORKSPACE) as client:
        await client.assets.upload(b"abc")
        await client.assets.upload(Stream(b"abc"))
    plain, chunked = httpx_mock.get_requests()
    assert str(len(plain.content)) == plain.headers["Content-Length"]
    assert "Transfer-Encoding" not in plain.headers
    assert "chunked" == chunked.headers["Transfer-Encoding"]
    assert "Content-Length" not in chunked.headers
    assert part_of(plain) == part_of(chunked) == Part("file", "file", "application/octet-stream", b"abc")


@pytest.mark.anyio
async def test_progress(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """Progress is told in the caller's own thread: from 0 to the whole, and without a whole for a stream."""
    httpx_mock.add_response(json={"asset": ASSET}, is_reusable=True)
    told: list[tuple[int, int | None]] = []
    threads: set[int] = set()

    def on_progress(sent: int, size: int | None) -> None:
        told.append((sent, size))
        threads.add(threading.get_ident())

    async with make_client(workspace_id=WORKSPACE) as client:
        await client.assets.upload(CONTENT, on_progress=on_progress)
        size = len(CONTENT)
        assert [(0, size), (CHUNK, size), (2 * CHUNK, size), (size, size)] == told
        told.clear()
        await client.assets.upload(b"", on_progress=on_progress)
        await client.assets.upload(Stream(b"ab", b"c"), on_progress=on_progress)
    assert [(0, 0), (0, None), (2, None), (3, None)] == told
    assert {threading.get_ident()} == threads


# --- sent again ---------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["path", "bytes", "file"])
async def test_repeated_after_429(
    make_client: Callable[..., Any], faulty: FaultyServer, path: pathlib.Path, kind: str
) -> None:
    """After a 429 the file is read from its start again, and its progress starts anew."""
    faulty.then(json_reply('{"error": "Too many requests."}', 429), json_reply(ANSWER))
    told: list[int] = []
    with path.open("rb") as file:
        file.seek(3)
        start = {"path": path, "bytes": CONTENT, "file": file}[kind]
        async with make_client(base_url=faulty.base_url, workspace_id=WORKSPACE, retry_policy=AT_ONCE) as client:
            asset = await client.assets.upload(start, on_progress=lambda sent, size: told.append(sent))
    content = CONTENT[3:] if kind == "file" else CONTENT
    assert [content] * 2 == [part_of(request).content for request in faulty.requests]
    assert [0, CHUNK, 2 * CHUNK, len(content)] * 2 == told
    assert ASSET == asset


@pytest.mark.anyio
async def test_repeated_after_no_connection(
    make_client: Callable[..., Any], httpx_mock: HTTPXMock, path: pathlib.Path
) -> None:
    """Where no connection could be made the upload is tried again."""
    httpx_mock.add_exception(httpx.ConnectError("refused"))
    httpx_mock.add_response(json={"asset": ASSET})
    async with make_client(workspace_id=WORKSPACE, retry_policy=AT_ONCE) as client:
        assert ASSET == await client.assets.upload(path)
    assert CONTENT == part_of(httpx_mock.get_requests()[1]).content


@pytest.mark.anyio
async def test_streams_are_not_repeated(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A stream is sent once: what is refused then is raised, and not repeated with nothing in it."""
    httpx_mock.add_response(429, json={"error": "Too many requests."})
    async with make_client(workspace_id=WORKSPACE, retry_policy=AT_ONCE) as client:
        with pytest.raises(RateLimitError):
            await client.assets.upload(Stream(b"abc"))
    assert 1 == len(httpx_mock.get_requests())


@pytest.mark.anyio
async def test_not_repeated_where_it_may_be_done(make_client: Callable[..., Any], faulty: FaultyServer) -> None:
    """After a 500 or a broken connection the asset may be there, so that the upload is not repeated."""
    faulty.then(json_reply('{"error": "Oops."}', 500), reset)
    policy = RetryPolicy(initial_delay=0, invokes="always")
    async with make_client(base_url=faulty.base_url, workspace_id=WORKSPACE, retry_policy=policy) as client:
        for expected in (InternalServerError, APIConnectionError):
            with pytest.raises(expected) as caught:
                await client.assets.upload(b"abc")
            assert (True, False) == (caught.value.may_have_run, caught.value.retryable)
            assert "bill" not in caught.value.hint
    assert 2 == len(faulty.requests)


# --- broken off ---------------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.anyio
async def test_progress_can_break_off(
    make_client: Callable[..., Any], faulty: FaultyServer, path: pathlib.Path, opened: list[Any]
) -> None:
    """What `on_progress` raises reaches the caller, the file is closed, and the client can be used again."""
    faulty.then(json_reply(ANSWER))

    def on_progress(sent: int, size: int | None) -> None:
        if sent:
            raise Stop

    async with make_client(base_url=faulty.base_url, workspace_id=WORKSPACE) as client:
        with pytest.raises(Stop) as caught:
            await client.assets.upload(path, on_progress=on_progress)
        assert [True, True] == [file.closed for file in opened]
        assert ASSET == await client.assets.upload(path)
    assert CONTENT == part_of(faulty.requests[0]).content
    assert caught.value.__cause__ is None


@pytest.mark.anyio
@pytest.mark.parametrize("error", [BrokenPipeError(), httpx.ReadError("of another call")])
async def test_progress_that_fails_is_not_taken_for_the_connection(
    make_client: Callable[..., Any], faulty: FaultyServer, error: Exception
) -> None:
    """An `on_progress` that fails, as printing into a closed pipe does, is named, and nothing is repeated."""
    told: list[int] = []

    def on_progress(sent: int, size: int | None) -> None:
        told.append(sent)
        raise error

    async with make_client(base_url=faulty.base_url, workspace_id=WORKSPACE) as client:
        with pytest.raises(InvalidRequestError, match=f"^on_progress: it raised a {type(error).__name__}") as caught:
            await client.assets.upload(b"abc", on_progress=on_progress)
    assert error is caught.value.__context__
    assert str(error) in caught.value.message
    assert [0] == told
    assert [] == faulty.requests


@pytest.mark.anyio
async def test_a_file_that_fails_under_way(
    make_client: Callable[..., Any], faulty: FaultyServer, path: pathlib.Path, opened: list[Any]
) -> None:
    """A file that changes while it is sent is the caller's error, and the service gets no whole request."""

    def on_progress(sent: int, size: int | None) -> None:
        if sent == CHUNK:
            os.truncate(path, CHUNK)

    async with make_client(base_url=faulty.base_url, workspace_id=WORKSPACE) as client:
        with pytest.raises(InvalidRequestError, match=r"^file: it has changed") as caught:
            await client.assets.upload(path, on_progress=on_progress)
    assert caught.value.may_have_run is False
    assert [] == faulty.requests
    assert [True, True] == [file.closed for file in opened]


@pytest.fixture
def deaf() -> Iterator[str]:
    """The address of a server that takes connections and reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


@pytest.mark.anyio
async def test_an_upload_that_is_not_read_times_out(
    make_client: Callable[..., Any], deaf: str, tmp_path: pathlib.Path, opened: list[Any]
) -> None:
    """The client's timeout ends an upload that the service does not read, and the file is closed."""
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, 64 * 2**20)
    async with make_client(base_url=deaf, workspace_id=WORKSPACE, timeout=0.3, max_retries=0) as client:
        with pytest.raises(APITimeoutError) as caught:
            await client.assets.upload(large)
    assert caught.value.may_have_run is True
    assert [True, True] == [file.closed for file in opened]


@pytest.mark.anyio
async def test_an_early_refusal_is_read(
    make_client: Callable[..., Any], connections: dict[str, Any], tmp_path: pathlib.Path, opened: list[Any]
) -> None:
    """A service that refuses before it has read the file is heard, and the file is closed."""
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, 16 * 2**20)
    refused = b"HTTP/1.1 402 \r\nContent-Length: 20\r\nConnection: close\r\n\r\n" + b'{"error": "It is.."}'

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(refused)
            connection.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                while connection.recv(2**20):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        async with make_client(base_url=base_url, workspace_id=WORKSPACE, **connections) as client:
            with pytest.raises(Exception, match="It is") as caught:
                await client.assets.upload(large)
        thread.join(10)
    assert 402 == caught.value.status_code  # type: ignore[attr-defined]
    assert [True, True] == [file.closed for file in opened]


# --- cancelled ----------------------------------------------------------------------------------------


# A call that blocks cannot be cancelled.
both_loops = pytest.mark.parametrize("flavor", ["asyncio", "trio"])


@pytest.fixture
def async_client(faulty: FaultyServer) -> AsyncFetchHive:
    return AsyncFetchHive("fhk_test", faulty.base_url, workspace_id=WORKSPACE)


@pytest.mark.anyio
@both_loops
@pytest.mark.parametrize("end", [0, CHUNK, len(CONTENT)])
async def test_cancelled_between_pieces(
    async_client: AsyncFetchHive, faulty: FaultyServer, path: pathlib.Path, opened: list[Any], end: int
) -> None:
    """An upload that is cancelled closes its file, leaves no warning, and the client can be used again."""
    faulty.then(json_reply(ANSWER))
    async with async_client as client:
        with anyio.CancelScope() as scope:
            await client.assets.upload(path, on_progress=lambda sent, size: scope.cancel() if sent == end else None)
        assert scope.cancelled_caught
        assert all(file.closed for file in opened)
        assert ASSET == await client.assets.upload(path)
    assert CONTENT == part_of(faulty.requests[-1]).content


class Slow:
    """A file whose second read ends when it is let go."""

    def __init__(self) -> None:
        self.reading, self.let_go = threading.Event(), threading.Event()
        self.done = False

    def read(self, size: int) -> bytes:
        if not size:
            return b""
        self.reading.set()
        assert self.let_go.wait(10)
        self.done = True
        return b"x"


@pytest.mark.anyio
@both_loops
async def test_cancelled_while_reading(async_client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """A cancellation in the middle of a read waits for its end, so that no thread goes on with the caller's file."""
    faulty.then(wait_for_hang_up)
    slow = Slow()
    ended = False

    async def upload(client: AsyncFetchHive, scope: anyio.CancelScope) -> None:
        nonlocal ended
        with scope:
            await client.assets.upload(slow)
        assert scope.cancelled_caught
        assert slow.done
        ended = True

    async with async_client as client, anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()
        tasks.start_soon(upload, client, scope)
        await anyio.to_thread.run_sync(slow.reading.wait, 10)
        scope.cancel()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert not ended
        slow.let_go.set()
    assert ended
