"""A form with one file in it, sent piece by piece: from a path, from bytes, or from an open file."""

from __future__ import annotations

import inspect
import io
import mimetypes
import os
import re
import secrets
import stat
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol, Union, cast

import anyio.to_thread
import httpx

from .arguments import filled, plain_function, text
from .errors import InvalidRequestError
from .jsonable import article, refused

__all__ = ["BinaryFile", "FileInput", "OnProgress", "Upload"]


class BinaryFile(Protocol):
    """An open file or any other object that gives bytes. With `seek` and `tell` it can be sent a second time."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


FileInput = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryFile]
OnProgress = Callable[[int, Union[int, None]], object]
_Step = tuple[bytes, Union[int, None]]

CHUNK = 64 * 1024
_SHOWN = 200  # characters of a path
_HOW = "Pass a path, bytes, or a file opened in binary mode."
# In a quoted string a backslash escapes; the others as browsers write them.
_ESCAPES = str.maketrans(
    {'"': "%22", "\\": "\\\\", "\x7f": "%7F", **{chr(code): f"%{code:02X}" for code in range(0x20)}}
)
_MEDIA_TYPE = re.compile(r"[!-~]+/[!-~]+( *;[ -~]*)?")
# Documents that agents read. What else knows them is the machine's own table: it may lack them, or err.
_DOCUMENTS = {
    ".csv": "text/csv",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class Upload(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a `multipart/form-data` request with one file. Each attempt reads the file anew.

    Args:
        file: A path, bytes, or a file opened in binary mode, which is read from where it stands and stays open.
        part: The name of the form's part.
        file_name: The file's name for the service. Default: that of the path or of the open file, else `file`.
        content_type: Its media type. Default: guessed from the name, else `application/octet-stream`.
        on_progress: Called with the bytes of the file that were handed on so far, and with all of them (None
            where a stream does not tell); from 0 again at each attempt. What it raises breaks the upload off.

    Raises:
        InvalidRequestError: The file is none of these, is not there, or cannot be read; another argument is wrong.
    """

    def __init__(
        self,
        file: FileInput,
        *,
        part: str = "file",
        file_name: str | None = None,
        content_type: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._file, self._start, self._size = _source(file)
        plain_function("on_progress", on_progress)
        self._on_progress = on_progress
        self._steps: Generator[_Step, None, None] | None = None
        name = _name_of(file) if file_name is None else filled("file_name", file_name, "Pass the file's name.")
        kind = _kind_of(name) if content_type is None else text("content_type", content_type)
        if not _MEDIA_TYPE.fullmatch(kind):
            raise refused("content_type", f"{kind!r} is no media type", 'Pass one such as "text/plain".')
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        shown = filled("part", part, 'Pass the name of the form\'s part, such as "file".').translate(_ESCAPES)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{shown}"; filename="{name.translate(_ESCAPES)}"'
        try:
            self._head = f"{head}\r\nContent-Type: {kind}\r\n\r\n".encode()
        except UnicodeEncodeError:  # a path whose bytes are not UTF-8
            raise refused("file", "its name is not text", "Pass another as file_name=.") from None
        self._tail = f"\r\n--{boundary}--\r\n".encode()

    @property
    def rewindable(self) -> bool:
        """Whether it can be sent a second time."""
        return self._start is not None

    @property
    def length(self) -> int | None:
        """Bytes of the whole body; None where the file is a stream that does not tell."""
        return None if self._size is None else len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """The body's pieces, for one attempt of the sync client."""
        for piece, sent in self._begun():
            self._tell(sent)
            yield piece

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The same for the async client, which a slow disk must not hold up."""
        return _AsyncPieces(self._begun(), self._tell)

    def close(self) -> None:
        """Close the file that the last attempt has opened. A caller's own stays open."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None

    def _begun(self) -> Generator[_Step, None, None]:
        self.close()
        self._steps = self._pieces()
        return self._steps

    def _pieces(self) -> Generator[_Step, None, None]:
        """The body's pieces, each with the bytes of the file before it; None before the file."""
        yield self._head, None
        sent = 0
        with self._opened() as file:
            while piece := _read(file, CHUNK):
                if self._size is not None and sent + len(piece) > self._size:
                    raise _changed(self._size)
                yield piece, sent
                sent += len(piece)
        if self._size is not None and sent != self._size:
            raise _changed(self._size)
        yield self._tail, sent

    def _opened(self) -> AbstractContextManager[BinaryFile]:
        if isinstance(self._file, bytes):
            return io.BytesIO(self._file)
        try:
            if isinstance(self._file, Path):
                return self._file.open("rb")
            if self._start is not None:
                cast("Any", self._file).seek(self._start)
        except (OSError, ValueError) as error:
            raise _unreadable(error) from error
        return nullcontext(self._file)

    def _tell(self, sent: int | None) -> None:
        if self._on_progress is None or sent is None:
            return
        try:
            self._on_progress(sent, self._size)
        # Raised from below httpx, these would be taken for a broken connection.
        except (OSError, UnicodeError, httpx.RequestError, httpx.StreamError, httpx.InvalidURL) as error:
            raise InvalidRequestError(
                f"on_progress: it raised {article(error)}: {error}.",
                hint="The upload was broken off; correct the function and send the file again.",
            ) from error


class _AsyncPieces(AsyncIterator[bytes]):
    """Reads the file in a thread, and tells of the progress in the caller's.

    It is no async generator: of one that an attempt leaves unfinished, the event loop complains.
    """

    def __init__(self, pieces: Generator[_Step, None, None], tell: Callable[[int | None], None]) -> None:
        self._pieces = pieces
        self._tell = tell

    async def __anext__(self) -> bytes:
        # A cancellation waits for the read to end, so that no thread is left with the file.
        step = await anyio.to_thread.run_sync(next, self._pieces, None)
        if step is None:
            raise StopAsyncIteration
        piece, sent = step
        self._tell(sent)
        return piece


def _source(file: object) -> tuple[bytes | Path | BinaryFile, int | None, int | None]:
    """What is read, where it begins (None: it cannot be read twice), and its size if that is known."""
    if isinstance(file, (bytes, bytearray, memoryview)):
        content = bytes(cast("bytes", file))
        return content, 0, len(content)
    if isinstance(file, (str, os.PathLike)):
        return _from_path(Path(os.fsdecode(cast("str", file))))
    if not callable(getattr(file, "read", None)):
        raise refused("file", f"{article(file)} is not allowed", _HOW)
    opened = cast("Any", file)
    _read(opened, 0)  # so that a closed file, or one of text, is refused before anything is sent
    with suppress(OSError, AttributeError, ValueError):
        start: object = opened.tell()
        if isinstance(start, int):
            opened.seek(0, os.SEEK_END)
            end: int = opened.tell()
            opened.seek(start)
            return opened, start, max(end - start, 0)
    return opened, None, None


def _from_path(path: Path) -> tuple[Path, int, int]:
    try:
        found = path.stat()
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            hint = "Open it in binary mode and pass that: it is read once, to its end."
            raise refused("file", "it is a pipe or a device", hint)
        with path.open("rb"):
            return path, 0, found.st_size
    except InvalidRequestError:
        raise
    except (OSError, ValueError) as error:
        raise _unreadable(error) from error


def _name_of(file: object) -> str:
    path = cast("Any", file) if isinstance(file, (str, os.PathLike)) else getattr(file, "name", None)
    name = os.path.basename(os.fsdecode(path)) if isinstance(path, (str, bytes, os.PathLike)) else ""  # pyright: ignore[reportUnknownArgumentType]
    return name if name.strip() else "file"


def _kind_of(name: str) -> str:
    if (known := _DOCUMENTS.get(os.path.splitext(name)[1].lower())) is not None:
        return known
    kind, encoding = mimetypes.guess_type(name)
    if encoding is not None:  # the type is that of what is packed
        return "application/gzip" if encoding == "gzip" else "application/octet-stream"
    return kind or "application/octet-stream"


def _read(file: BinaryFile, size: int) -> bytes:
    try:
        piece: Any = cast("Any", file).read(size)
    except (OSError, ValueError, TypeError, EOFError, httpx.RequestError, httpx.StreamError) as error:
        raise _unreadable(error) from error
    if inspect.iscoroutine(piece):
        piece.close()
        raise refused("file", "its read() has to be awaited", "Pass the file below it, such as UploadFile.file.")
    if not isinstance(piece, (bytes, bytearray, memoryview)):
        raise refused("file", f"its read() gives {article(piece)}", _HOW)
    return bytes(cast("bytes", piece))


def _unreadable(error: Exception) -> InvalidRequestError:
    if isinstance(error, io.UnsupportedOperation):  # whose text is a single word
        return refused("file", "it is not open for reading", _HOW)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    # The folder too, since a path is often meant from another one. A text that is the content itself is cut.
    name = getattr(error, "filename", None)
    what = repr(os.path.abspath(name)[:_SHOWN]) if isinstance(name, str) else "it"
    return InvalidRequestError(
        f"file: {what} cannot be read: {reason.rstrip('.')}.",
        hint="Check that it is there, open, and yours. A str is a path; pass content as bytes.",
    )


def _changed(size: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"file: it has changed: it had {size} bytes when the upload began.",
        hint="The upload was broken off. Send it again when nothing writes to the file.",
    )
