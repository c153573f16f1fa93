"""Assets: files that were uploaded to the workspace, kept whole, and given out again."""

from __future__ import annotations

import mimetypes
import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from ...error_codes import BY_CODE
from ..ids import WORKSPACE_ID
from ..refusals import Refusal
from ..runs import Reply
from .desk import Call, Desk, Handler, Object, invalid

__all__ = ["ROUTES"]

URL_LIFETIME = timedelta(hours=1)

_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(;[ -~]*)?", re.ASCII)
_DOCUMENTS = re.compile(
    r"text/.+|application/(pdf|json|xml|rtf|msword|epub\+zip|vnd\.(ms-|openxmlformats|oasis\.opendocument).+)"
)


def _list(desk: Desk, _call: Call) -> Any:
    return {"assets": [_shown(desk, asset) for asset in desk.objects.all("asset")]}


def _upload(desk: Desk, call: Call) -> Any:
    # What the service calls the part is not documented, and a browser sends a file without a name for no file.
    file = next((part for part in call.parts() if part.filename), None)
    if file is None or file.filename is None:
        raise invalid("No file was uploaded: no part of the form has a file name")
    file_type = _file_type(file.content_type, file.filename)
    asset: Object = {
        "id": desk.new_id(),
        "file_name": file.filename,
        "file_type": file_type,
        "file_size": len(file.content),
        "asset_type": _asset_type(file_type),
        "uploaded_at": desk.clock().isoformat(),
    }
    _check_storage(desk, len(file.content))
    desk.objects.add("asset", asset["id"], asset)
    desk.objects.put_file(asset["id"], file.content)
    return {"message": "Asset uploaded.", "asset": _shown(desk, asset)}


def _serve(desk: Desk, call: Call) -> Reply:
    """An asset's file. The URL's expiry is not enforced; who knows the id may read it."""
    asset = desk.objects.get("asset", call.values[0])
    content = desk.objects.file(call.values[0])
    if asset is None or content is None:
        raise Refusal("File not found", status=404, code=None)
    # A browser saves the file and does not guess its type, so that no uploaded page runs beside the dashboard; one
    # that shows it nevertheless runs nothing.
    headers = {
        "Content-Type": asset["file_type"],
        "Content-Disposition": "attachment",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    return Reply(status=200, headers=headers, body=content)


def _shown(desk: Desk, asset: Object) -> Object:
    """An asset as the API tells it, with a URL for the hour that begins now."""
    # A client takes these two names for steps in the path.
    name = "file" if asset["file_name"] in (".", "..") else quote(asset["file_name"], safe="")
    return {
        **asset,
        "object_key": f"assets/{asset['id']}",
        "file_url": f"{desk.origin()}/v1{_FILES}/{asset['id']}/{name}",
        "file_url_expires_at": (desk.clock() + URL_LIFETIME).isoformat(),
        "workspace_id": WORKSPACE_ID,
        "error_message": None,
        "transcription": None,
    }


def _check_storage(desk: Desk, size: int) -> None:
    limit = desk.choices.asset_storage_limit
    if limit is not None and desk.objects.stored_bytes() + size > limit:
        full = BY_CODE["asset_storage_limit_reached"]
        raise Refusal(full.message, status=full.status, code=full.code)


def _file_type(sent: str | None, name: str) -> str:
    """The media type that was sent, if it is one and can stand in a header; else the one that the name tells."""
    if sent is not None and _MEDIA_TYPE.fullmatch(sent):
        return sent
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _asset_type(file_type: str) -> str:
    kind = file_type.partition(";")[0].strip().lower()
    family = kind.partition("/")[0]
    if family in ("image", "audio", "video"):
        return family
    return "document" if _DOCUMENTS.fullmatch(kind) else "other"


_PATH = "/public/workspaces/{}/assets"
_FILES = "/sandbox-files"
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", _PATH, _list),
    ("POST", _PATH, _upload),
    ("GET", f"{_FILES}/{{}}/{{}}", _serve),
]
