"""Assets: files uploaded as forms, kept to the byte, listed, and given out so that a browser does not run them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest

from fetch_hive_sdk.sandbox import Choices, Sandbox, SandboxTransport
from fetch_hive_sdk.sandbox.ids import WORKSPACE_ID
from fetch_hive_sdk.sandbox.refusals import Refusal
from fetch_hive_sdk.sandbox.resources import multipart
from fetch_hive_sdk.sandbox.resources.multipart import Part, read_parts

from .sandbox_requests import KEY, START, Clock, ask, look_up, read

PATH = f"/public/workspaces/{WORKSPACE_ID}/assets"
TYPE = "multipart/form-data; boundary=B"
PLAIN = "\r\nContent-Type: text/plain"


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(clock=Clock())


def form(disposition: str, content: bytes = b"", *, more: str = "") -> bytes:
    """A form of one part, with the boundary B."""
    head = f"--B\r\nContent-Disposition: form-data; {disposition}{more}\r\n\r\n"
    return head.encode() + content + b"\r\n--B--\r\n"


def upload(sandbox: Sandbox, body: bytes, content_type: str = TYPE) -> Any:
    """Status and JSON that an upload is answered with."""
    headers = {**KEY, "Content-Type": content_type}
    reply = ask(sandbox, "", body, path=f"/v1{PATH}", headers=headers)
    return reply.status, read(reply)


def uploaded(sandbox: Sandbox, disposition: str, content: bytes = b"x", *, more: str = "") -> Any:
    """The asset made from a form of one part."""
    status, told = upload(sandbox, form(disposition, content, more=more))
    assert (status, told["message"]) == (200, "Asset uploaded.")
    return told["asset"]


def fetched(sandbox: Sandbox, url: str) -> httpx.Response:
    """What a client without a key gets from a URL."""
    with httpx.Client(transport=SandboxTransport(sandbox)) as client:
        return client.get(url)


# --- assets -------------------------------------------------------------------------------------------


def test_an_uploaded_file_is_an_asset(sandbox: Sandbox) -> None:
    """The reply tells the documented fields, and the list tells the same asset."""
    asset = uploaded(sandbox, 'name="file"; filename="notes.txt"', b"Hello", more=PLAIN)
    assert asset == {
        "id": asset["id"],
        "object_key": f"assets/{asset['id']}",
        "file_name": "notes.txt",
        "file_url": asset["file_url"],
        "file_url_expires_at": (START + timedelta(hours=1)).isoformat(),
        "file_type": "text/plain",
        "file_size": 5,
        "asset_type": "document",
        "workspace_id": WORKSPACE_ID,
        "uploaded_at": START.isoformat(),
        "error_message": None,
        "transcription": None,
    }
    assert look_up(sandbox, PATH) == {"assets": [asset]}


def test_an_assets_file_is_given_out_to_the_byte() -> None:
    """A file sent by an HTTP client comes back from its URL, without a key, as something to save and not to run."""
    sandbox = Sandbox()
    content = random.Random(1).randbytes(100_000)
    with httpx.Client(transport=SandboxTransport(sandbox), headers=KEY) as client:
        files = {"upload": ('a "b" é.html', content, "text/html")}
        asset = client.post(f"http://sandbox.test/v1{PATH}", files=files).json()["asset"]
    assert asset["file_name"] == 'a "b" é.html'
    assert asset["file_url"].endswith(f"/v1/sandbox-files/{asset['id']}/a%20%22b%22%20%C3%A9.html")
    response = fetched(sandbox, asset["file_url"])
    assert response.status_code == 200
    assert response.content == content
    assert response.headers["Content-Type"] == "text/html"
    assert response.headers["Content-Disposition"] == "attachment"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("name", [".", "..", "a/../b", "a/b", "%2e%2e", "\\", 'quote"', "ユ", "\0"])
def test_a_file_of_any_name_can_be_fetched(sandbox: Sandbox, name: str) -> None:
    """Whatever a file is called, its URL leads to it, and the asset tells the name unchanged."""
    content = random.Random(name).randbytes(10)
    asset = uploaded(sandbox, f'name="file"; filename="{name.translate({34: "%22"})}"', content)
    assert asset["file_name"] == name
    assert fetched(sandbox, asset["file_url"]).content == content


def test_an_assets_url_leads_to_where_the_sandbox_is_now() -> None:
    """A file uploaded to a server is fetched from it; when the server has gone, the list tells another URL."""
    sandbox = Sandbox()
    with sandbox.serve() as server:
        headers = {"Authorization": f"Bearer {server.api_key}"}
        url, files = f"{server.base_url}{PATH}", {"file": ("a.bin", b"\r\n\0")}
        with httpx.Client() as client:
            asset = client.post(url, files=files, headers=headers).json()["asset"]
            assert asset["file_url"].startswith(f"{server.base_url}/sandbox-files/")
            response = client.get(asset["file_url"])
        assert response.content == b"\r\n\0"
        assert response.headers["Content-Disposition"] == "attachment"
    url = look_up(sandbox, PATH)["assets"][0]["file_url"]
    assert url == f"http://sandbox.test/v1/sandbox-files/{asset['id']}/a.bin"
    assert fetched(sandbox, url).content == b"\r\n\0"


def test_an_unknown_file_is_not_found(sandbox: Sandbox) -> None:
    """There is no file of an id that was never given, also not without a key."""
    reply = ask(sandbox, "", b"", method="GET", path="/v1/sandbox-files/none/file", headers={})
    assert (reply.status, read(reply)["error"]) == (404, "File not found")


@pytest.mark.parametrize(
    ("name", "sent", "file_type", "asset_type"),
    [
        ("a", "image/png", "image/png", "image"),
        ("a", "audio/mpeg", "audio/mpeg", "audio"),
        ("a", "VIDEO/mp4", "VIDEO/mp4", "video"),
        ("a", "text/plain; charset=utf-8", "text/plain; charset=utf-8", "document"),
        ("a", "application/vnd.openxmlformats-officedocument.x", None, "document"),
        ("a.pdf", "application/zip", "application/zip", "other"),
        ("a.pdf", None, "application/pdf", "document"),
        ("a.pdf", "no type", "application/pdf", "document"),
        ("a.png", "text/html\nSet-Cookie: a=b", "image/png", "image"),
        ("a", None, "application/octet-stream", "other"),
        ("a", "", "application/octet-stream", "other"),
    ],
)
def test_the_type_of_an_asset_follows_from_its_media_type(
    sandbox: Sandbox, name: str, sent: str | None, file_type: str | None, asset_type: str
) -> None:
    """The media type is the one sent, else the one the name tells; what is none never gets into a reply's headers."""
    more = "" if sent is None else f"\r\nContent-Type: {sent}"
    asset = uploaded(sandbox, f'name="file"; filename="{name}"', more=more)
    assert (asset["file_type"], asset["asset_type"]) == (file_type or sent, asset_type)
    assert dict(fetched(sandbox, asset["file_url"]).headers) == {
        "content-type": asset["file_type"],
        "content-disposition": "attachment",
        "content-security-policy": "default-src 'none'; sandbox",
        "x-content-type-options": "nosniff",
        "content-length": "1",
    }


@pytest.mark.parametrize("disposition", ['name="file"', 'name="file"; filename=""'])
def test_a_form_without_a_file_is_refused(sandbox: Sandbox, disposition: str) -> None:
    """A form with a field alone, or as a browser sends it when no file is chosen, is refused as documented."""
    text = "No file was uploaded: no part of the form has a file name"
    refused = {"error": text, "message": text, "error_code": "validation_error"}
    assert upload(sandbox, form(disposition, b"notes")) == (422, refused)
    assert look_up(sandbox, PATH) == {"assets": []}


def test_the_first_part_with_a_file_is_the_asset(sandbox: Sandbox) -> None:
    """Fields before the file do not matter, nor what the part is called, and an empty file is a file."""
    first = form('name="purpose"', b"notes").removesuffix(b"--B--\r\n")
    asset = upload(sandbox, first + form('name="whatever"; filename="empty"'))[1]["asset"]
    assert (asset["file_name"], asset["file_size"]) == ("empty", 0)
    assert fetched(sandbox, asset["file_url"]).content == b""


def test_the_storage_of_assets_can_be_full() -> None:
    """What fits into the storage is kept; what does not is refused as documented, and leaves nothing behind."""
    sandbox = Sandbox(choices=Choices(asset_storage_limit=10))
    uploaded(sandbox, 'name="file"; filename="a"', b"123456")
    status, told = upload(sandbox, form('name="file"; filename="b"', b"12345"))
    assert (status, told["error_code"]) == (402, "asset_storage_limit_reached")
    uploaded(sandbox, 'name="file"; filename="c"', b"1234")
    assert [asset["file_name"] for asset in look_up(sandbox, PATH)["assets"]] == ["a", "c"]


def test_a_malformed_upload_is_refused_in_words(sandbox: Sandbox) -> None:
    """A body that is cut off tells so, with the status of failed validation for resources."""
    status, told = upload(sandbox, form('name="file"; filename="a"').removesuffix(b"--B--\r\n"))
    assert status == 422
    assert told["error"] == "The multipart/form-data body is malformed: it ends without its closing boundary"
    assert told["error_code"] == "validation_error"


# --- forms --------------------------------------------------------------------------------------------


def parameters_of(disposition: str) -> tuple[str, str | None]:
    """Name and file name of a form's one part."""
    (part,) = read_parts(TYPE, form(disposition))
    return part.name, part.filename


LIKE = [
    b"--B",
    b"\r\n--B",
    b"\r\n--",
    b"--B--",
    b"\r\n--Bx\r\n",
    b"\r\n--B--x",
    b"\r\n--B  x",
    b"\n--B\n",
    b"\r",
    b"\n",
]


@pytest.mark.parametrize("seed", range(50))
def test_contents_arrive_to_the_byte(seed: int) -> None:
    """Any bytes, though they look almost like a boundary and begin or end with line ends, are told unchanged."""
    rng = random.Random(seed)
    contents: list[bytes] = []
    for _ in range(rng.randrange(1, 4)):
        pieces = [rng.choice(LIKE) if rng.random() < 0.7 else rng.randbytes(3) for _ in range(rng.randrange(12))]
        content = b"".join(pieces)
        # What is a whole boundary line cannot be sent with this boundary.
        is_line = b"\r\n--B\r\n" in b"\r\n" + content + b"\r\n" or b"\r\n--B--\r\n" in b"\r\n" + content + b"\r\n"
        contents.append(b"\r\n--Bx--\r\n" if is_line else content)
    body = b"".join(form('name="file"; filename="f"', content).removesuffix(b"--B--\r\n") for content in contents)
    parts = read_parts(TYPE, body + b"--B--\r\n")
    assert parts == [Part("file", "f", None, content) for content in contents]


@pytest.mark.parametrize("content", [*LIKE, b"", b"\r\n", b"\r\n\r\n", b"\n\r", b"\r\r\n", b"--B\r"])
def test_contents_like_a_boundary_arrive_to_the_byte(content: bytes) -> None:
    """Each piece of a boundary by itself is content, at the beginning as at the end."""
    (part,) = read_parts(TYPE, form('name="f"', content + b"x"))
    assert part.content == content + b"x"


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=B",
        'multipart/form-data; boundary="B"',
        "Multipart/Form-Data;BOUNDARY=B",
        "multipart/form-data; charset=utf-8; boundary=B ; x=y",
        'multipart/form-data; x="; boundary=C"; boundary=B',
    ],
)
def test_the_boundary_is_read_from_the_content_type(content_type: str) -> None:
    """Quotes, case, spaces and other parameters do not matter."""
    assert read_parts(content_type, form('name="f"', b"x"))[0].content == b"x"


def test_boundaries_of_any_documented_characters_work() -> None:
    """Characters that mean something in a pattern stand for themselves, and 70 of them are not too many."""
    boundary = "a'()+_,-./:=? z*$[\\" + "-" * 51
    body = form('name="f"', b"x").replace(b"--B", b"--" + boundary.encode())
    quoted = boundary.replace("\\", "\\\\")
    assert len(boundary) == 70
    assert read_parts(f'multipart/form-data; boundary="{quoted}"', body)[0].content == b"x"


@pytest.mark.parametrize(
    ("body", "contents"),
    [
        (b"--B--", []),
        (b"--B--\r\n", []),
        (b"\r\n--B--\r\nepilogue", []),
        (b"preamble\r\n" + form('name="f"', b"x") + b"epilogue\r\n" + form('name="g"'), [b"x"]),
        (form('name="f"', b"x").replace(b"B\r\n", b"B \t\r\n", 1), [b"x"]),
        (form('name="f"', b"x").removesuffix(b"\r\n"), [b"x"]),
        (form('name="f"', b"x").removesuffix(b"\r\n") + b" \t", [b"x"]),
        (form('name="f"', b"x", more="\r\nX-Other: a: b\r\ncontent-type:text/html"), [b"x"]),
    ],
)
def test_what_surrounds_the_parts_does_not_matter(body: bytes, contents: list[bytes]) -> None:
    """An empty form, text before and after the form, and spaces after a boundary are as RFC 2046 allows them."""
    assert [part.content for part in read_parts(TYPE, body)] == contents


@pytest.mark.parametrize(
    ("disposition", "name", "filename"),
    [
        ('name="file"; filename="a.txt"', "file", "a.txt"),
        ("name=file; filename=my notes.txt ", "file", "my notes.txt"),
        ('NAME="file" ; FileName="a.txt"', "file", "a.txt"),
        ('name="file"', "file", None),
        ('filename="a.txt"', "", "a.txt"),
        ('name="a;b=c"; filename="x; filename=y"', "a;b=c", "x; filename=y"),
        (r'name="f"; filename="a \"b\" \\ c\d"', "f", r'a "b" \ c\d'),
        ('name="f"; filename="%22a%22 %0D%0a 100%25 %41"', "f", '"a" \r\n 100%25 %41'),
        ('name="f"; filename="ends\\"; x="y"', "f", "ends\\"),
        ('filename="ends\\"', "", "ends\\"),
        ('name="f"; filename="é ユ.txt"', "f", "é ユ.txt"),
        ('name="f"; filename*=UTF-8\'\'na%C3%AFve%20%22.txt; filename="naive.txt"', "f", 'naïve ".txt'),
        ('name="f"; filename="naive.txt"; filename*=iso-8859-1\'en\'na%EFve.txt', "f", "naïve.txt"),
        ('name="f"; filename="naive.txt"; filename*=koi8-r\'\'na%EFve.txt', "f", "naive.txt"),
        ('name="f"; filename="naive.txt"; filename*=naïve.txt', "f", "naive.txt"),
        ("name=\"f\"; filename*=UTF-8''%FF", "f", "\ufffd"),
    ],
)
def test_names_are_read_as_clients_write_them(disposition: str, name: str, filename: str | None) -> None:
    """Quotes, backslashes, browsers' percent signs and RFC 5987 names are read; what is not escaped stays."""
    assert parameters_of(disposition) == (name, filename)


def test_a_name_that_is_not_utf_8_is_read_as_far_as_it_can_be() -> None:
    """Bytes that are no UTF-8 are replaced in a name, and do not keep the file from arriving."""
    (part,) = read_parts(TYPE, form('filename="?.txt"', b"x").replace(b"?", b"\xff"))
    assert (part.filename, part.content) == ("\ufffd.txt", b"x")


OPEN = form('name="f"').removesuffix(b"--\r\n") + b"\r\n"  # a form of one part, and the boundary before another
REFUSED: Mapping[str, tuple[str, bytes]] = {
    "The request must be multipart/form-data": ("application/json", b"{}"),
    "Content-Type names no boundary": ("multipart/form-data", form('name="f"')),
    "the boundary is not 1 to 70 characters of ASCII": (f"{TYPE}{'B' * 70}", form('name="f"')),
    "no line is the boundary that Content-Type names": (TYPE, form('name="f"').replace(b"\r\n", b"\n")),
    "it ends without its closing boundary": (TYPE, OPEN + b"more"),
    "part 1 has no blank line after its headers": (TYPE, b"--B\r\nContent-Disposition: form-data\r\n--B--"),
    "part 1 has no Content-Disposition: form-data": (TYPE, b"--B\r\n\r\nx\r\n--B--"),
    "part 2 has no Content-Disposition": (TYPE, OPEN + b"A: b\r\n\r\n\r\n--B--"),
    "a header of part 1 has no colon": (TYPE, form('name="f"', more="\r\nno colon")),
    "the headers of part 1 are longer than 16384 bytes": (TYPE, form('name="f"', more="\r\nX: " + "x" * 16384)),
    "it has more than 2 parts": (TYPE, OPEN + OPEN.removeprefix(b"--B\r\n") * 2 + b"\r\n--B--"),
}


def test_a_form_of_a_hundred_parts_is_read() -> None:
    """More are refused, since the sandbox answers nobody else meanwhile."""
    part = b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n"
    assert len(read_parts(TYPE, part * 100 + b"--B--")) == 100
    with pytest.raises(Refusal, match="more than 100 parts"):
        read_parts(TYPE, part * 101 + b"--B--")


@pytest.mark.parametrize("text", REFUSED)
def test_a_malformed_form_tells_what_is_wrong(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form that is none is refused with 422 and words that name the part and what is wrong with it."""
    monkeypatch.setattr(multipart, "MAX_PARTS", 2)
    with pytest.raises(Refusal) as caught:
        read_parts(*REFUSED[text])
    assert text in caught.value.text
    assert (caught.value.status, caught.value.code) == (422, "validation_error")
