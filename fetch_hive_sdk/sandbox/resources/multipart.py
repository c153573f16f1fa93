"""Bodies of the type `multipart/form-data`, as RFC 2046 and RFC 7578 write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from ..refusals import Refusal

__all__ = ["Part", "read_parts"]

MAX_PARTS = 100  # a file is sent with few fields; each part takes its time
MAX_HEADERS = 16 * 1024  # bytes of one part's headers

# Its value in quotes, or bare. The second form in quotes is for a name that ends in a backslash which escapes nothing.
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"(?=\s*(?:;|$))|"([^"]*)"|([^;]*))')
_EXTENDED = re.compile(r"(utf-8|iso-8859-1)'[^']*'(.*)", re.IGNORECASE | re.DOTALL)  # the two of RFC 5987
_BOUNDARY = re.compile(r"[ -~]{0,69}[!-~]")
# What clients make of characters that would end a quoted name: old ones put a backslash before it, browsers
# write these three in percent, and nothing else, a percent sign itself included.
_ESCAPED = re.compile(r'\\(["\\])|%(22|0[Dd]|0[Aa])')


@dataclass(frozen=True)
class Part:
    """One part of a body.

    Attributes:
        name: The form field's name; empty if it has none.
        filename: The name of the file, as it was sent; None for a field that is no file.
        content_type: Its `Content-Type`; None if it has none.
        content: Its exact bytes.
    """

    name: str
    filename: str | None
    content_type: str | None
    content: bytes = field(repr=False)


def read_parts(content_type: str, body: bytes) -> list[Part]:
    """The parts of a body in their order.

    Time grows with the length of the body and with nothing else, whatever stands in it.

    Args:
        content_type: The request's `Content-Type`, which names the boundary.
        body: The request's body.

    Raises:
        Refusal: 422: it is no such body. The text says what is wrong with it.
    """
    boundary = re.escape(b"--" + _boundary(content_type).encode("ascii"))
    # A line that only begins like a delimiter is content, so a delimiter is told by its whole line.
    delimiter = re.compile(rb"\r\n" + boundary + rb"(?:(--)[ \t]*(?=\r\n|\Z)|[ \t]*\r\n)")
    lines = b"\r\n" + body
    parts: list[Part] = []
    begin: int | None = None
    for found in delimiter.finditer(lines):
        if begin is not None:
            if len(parts) == MAX_PARTS:
                raise _malformed(f"it has more than {MAX_PARTS} parts")
            parts.append(_part(lines[begin : found.start()], len(parts) + 1))
        if found[1]:
            return parts
        begin = found.end()
    if begin is None:
        raise _malformed("no line is the boundary that Content-Type names; lines end in CRLF")
    raise _malformed("it ends without its closing boundary")


def _boundary(content_type: str) -> str:
    kind, parameters = _value_and_parameters(content_type)
    if kind != "multipart/form-data":
        raise Refusal("The request must be multipart/form-data", status=422)
    if not parameters.get("boundary"):
        raise _malformed("Content-Type names no boundary")
    if not _BOUNDARY.fullmatch(parameters["boundary"]):
        raise _malformed("the boundary is not 1 to 70 characters of ASCII")
    return parameters["boundary"]


def _part(text: bytes, number: int) -> Part:
    # Without headers the blank line after them is the first.
    head, blank, content = (b"", True, text[2:]) if text.startswith(b"\r\n") else text.partition(b"\r\n\r\n")
    if not blank:
        raise _malformed(f"part {number} has no blank line after its headers")
    headers = _headers(head, number)
    kind, parameters = _value_and_parameters(headers.get("content-disposition", ""))
    if kind != "form-data":
        raise _malformed(f"part {number} has no Content-Disposition: form-data")
    return Part(parameters.get("name", ""), parameters.get("filename"), headers.get("content-type"), content)


def _headers(head: bytes, number: int) -> Mapping[str, str]:
    if len(head) > MAX_HEADERS:
        raise _malformed(f"the headers of part {number} are longer than {MAX_HEADERS} bytes")
    headers: dict[str, str] = {}
    for line in filter(None, head.decode("utf-8", "replace").split("\r\n")):
        name, colon, value = line.partition(":")
        if not colon:
            raise _malformed(f"a header of part {number} has no colon")
        headers[name.strip().lower()] = value.strip()
    return headers


def _value_and_parameters(header: str) -> tuple[str, Mapping[str, str]]:
    """A header's value in lower case, and its parameters. `filename*` is told as the `filename`, which it outdoes."""
    parameters: dict[str, str] = {}
    extended: dict[str, str] = {}
    for found in _PARAMETER.finditer(header):
        name, bare = found[1].lower(), found[4]
        value = _ESCAPED.sub(_unescaped, found[2] or found[3] or "") if bare is None else bare.strip()
        if not name.endswith("*"):
            parameters[name] = value
        elif encoded := _EXTENDED.fullmatch(value):
            extended[name[:-1]] = unquote(encoded[2], encoding=encoded[1])
    return header.partition(";")[0].strip().lower(), {**parameters, **extended}


def _unescaped(found: re.Match[str]) -> str:
    return found[1] or chr(int(found[2], 16))


def _malformed(what: str) -> Refusal:
    return Refusal(f"The multipart/form-data body is malformed: {what}", status=422)
