"""Assets: the workspace's files."""

from __future__ import annotations

from typing import Union
from uuid import UUID

from ..operations import Operation
from ..results import Entity, Part
from ..settings import Settings
from ..uploads import FileInput, OnProgress, Upload
from .base import AsyncResource, ResultList, SyncResource, enveloped, listed, workspace

__all__ = ["Asset", "Transcription"]


class Transcription(Part, frozen=True):
    """How far a recording has been turned into text.

    Attributes:
        status: `pending`, `processing`, `completed` or `failed`.
        error_code: Why it failed, as a stable code.
        error_message: The same in words.
        completed_at: When it ended, ISO 8601.
    """

    status: str = ""
    error_code: str | None = None
    error_message: str | None = None
    completed_at: str | None = None


class Asset(Entity, frozen=True):
    """A file of the workspace. Times are ISO 8601, as the service writes them.

    Attributes:
        id: The asset's UUID.
        file_name: The file's name.
        file_url: Where to load it, until `file_url_expires_at`; list the assets for a new one.
        file_url_expires_at: When that address ends.
        asset_type: What the service takes it for.
        uploaded_at: When it was uploaded.
        object_key: Its key in the service's storage.
        file_type: Its media type.
        file_size: Its size in bytes.
        workspace_id: The workspace's UUID.
        error_message: What went wrong with it.
        transcription: Its text, where it is a recording.
    """

    id: str = ""
    file_name: str = ""
    file_url: str = ""
    file_url_expires_at: str | None = None
    asset_type: str = ""
    uploaded_at: str | None = None
    object_key: str | None = None
    file_type: str | None = None
    file_size: int | None = None
    workspace_id: str | None = None
    error_message: str | None = None
    transcription: Union[Transcription, None] = None


def list_assets(settings: Settings, workspace_id: object) -> Operation[ResultList[Asset]]:
    """GET /public/workspaces/{workspace_id}/assets."""
    path = f"{workspace(settings, workspace_id)}/assets"
    return Operation("GET", path, b"", listed("assets", Asset), effect="nothing")


def upload(settings: Settings, form: Upload, workspace_id: object) -> Operation[Asset]:
    """POST /public/workspaces/{workspace_id}/assets."""
    path = f"{workspace(settings, workspace_id)}/assets"
    return Operation("POST", path, form, enveloped("asset", Asset), effect="change")


class Assets(SyncResource):
    """The workspace's files."""

    def list(self, *, workspace_id: str | UUID | None = None) -> ResultList[Asset]:
        """List the workspace's assets.

        Args:
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The key does not belong to this workspace.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(list_assets(self._settings, workspace_id))

    def upload(
        self,
        file: FileInput,
        *,
        file_name: str | None = None,
        content_type: str | None = None,
        on_progress: OnProgress | None = None,
        part: str = "file",
        workspace_id: str | UUID | None = None,
    ) -> Asset:
        """Upload a file, piece by piece: it is never in memory as a whole.

        The client's `timeout` counts for the whole upload: raise it by `with_options(timeout=...)` for large files.
        Where the connection cannot be made the file is sent again from its start; a stream without `seek` is sent once.

        Args:
            file: A path, bytes, or a file opened in binary mode. An open file is read from where it stands to its
                end, and stays open.
            file_name: Its name for the service. Default: that of the path or of the open file, else `file`.
            content_type: Its media type. Default: guessed from the name, else `application/octet-stream`.
            on_progress: Called with the bytes that were handed on so far, and with all of them (None where a stream
                does not tell); from 0 again where the upload is begun again. What it raises breaks the upload off.
            part: The name of the form's part. Which the service expects is not documented; `file` is our choice.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong, or the file cannot be read, and nothing was sent; or it failed
                or changed under way, and the upload was broken off.
            PaymentRequiredError: The workspace's storage is full (`asset_storage_limit_reached`).
            NotFoundError: The key does not belong to this workspace.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came; `may_have_run` says whether the asset may be there.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        form = Upload(file, part=part, file_name=file_name, content_type=content_type, on_progress=on_progress)
        return self._run(upload(self._settings, form, workspace_id))


class AsyncAssets(AsyncResource):
    """The workspace's files."""

    async def list(self, *, workspace_id: str | UUID | None = None) -> ResultList[Asset]:
        """List the workspace's assets.

        As `Assets.list`.
        """
        return await self._run(list_assets(self._settings, workspace_id))

    async def upload(
        self,
        file: FileInput,
        *,
        file_name: str | None = None,
        content_type: str | None = None,
        on_progress: OnProgress | None = None,
        part: str = "file",
        workspace_id: str | UUID | None = None,
    ) -> Asset:
        """Upload a file, piece by piece: it is never in memory as a whole.

        As `Assets.upload`. The file is read in a thread; `on_progress` is called in the event loop's.
        """
        form = Upload(file, part=part, file_name=file_name, content_type=content_type, on_progress=on_progress)
        return await self._run(upload(self._settings, form, workspace_id))
