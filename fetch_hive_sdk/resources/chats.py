"""Chats with agents, and their messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union
from uuid import UUID

from ..arguments import encoded, filled
from ..jsonable import mapping, plain
from ..operations import Operation
from ..results import Entity
from ..settings import Settings
from ..urls import segment
from .base import AsyncResource, Done, ResultList, SyncResource, enveloped, listed, read_done, workspace

__all__ = ["Chat", "ChatMessage"]


class Chat(Entity, frozen=True):
    """A chat with an agent. Times are ISO 8601, as the service writes them.

    Attributes:
        id: The chat's UUID.
        name: Its name.
        last_message_content: The text of its last message; None without one.
        last_message_sent_at: When that was sent.
        message_count: How many messages it has.
        generated_at: When it was made.
        status: `active` or `archived`.
        agent: The agent. What is in it is not documented.
    """

    id: str = ""
    name: str | None = None
    last_message_content: str | None = None
    last_message_sent_at: str | None = None
    message_count: int | None = None
    generated_at: str | None = None
    status: str = ""
    agent: Union[dict[str, Any], None] = None


class ChatMessage(Entity, frozen=True):
    """One message of a chat.

    Attributes:
        id: The message's UUID.
        content: Its text.
        role: `user`, `assistant` or `system`.
        sent_at: When it was sent, ISO 8601.
        chat_id: The chat's UUID.
    """

    id: str = ""
    content: str | None = None
    role: str = ""
    sent_at: str | None = None
    chat_id: str | None = None


def create(settings: Settings, agent_id: object, fields: Mapping[str, Any], workspace_id: object) -> Operation[Chat]:
    """POST /public/workspaces/{workspace_id}/agents/{agent_id}/chats."""
    path = _path(settings, workspace_id, agent_id)
    return Operation("POST", path, _body(fields), enveloped("chat", Chat), effect="change")


def get(settings: Settings, agent_id: object, chat_id: object, workspace_id: object) -> Operation[Chat]:
    """GET /public/workspaces/{workspace_id}/agents/{agent_id}/chats/{chat_id}."""
    path = _path(settings, workspace_id, agent_id, chat_id)
    return Operation("GET", path, b"", enveloped("chat", Chat), effect="nothing")


def update(
    settings: Settings, agent_id: object, chat_id: object, fields: Mapping[str, Any], workspace_id: object
) -> Operation[Chat]:
    """PATCH /public/workspaces/{workspace_id}/agents/{agent_id}/chats/{chat_id}."""
    path = _path(settings, workspace_id, agent_id, chat_id)
    return Operation("PATCH", path, _body(fields), enveloped("chat", Chat), effect="nothing")


def delete(settings: Settings, agent_id: object, chat_id: object, workspace_id: object) -> Operation[Done]:
    """DELETE /public/workspaces/{workspace_id}/agents/{agent_id}/chats/{chat_id}."""
    path = _path(settings, workspace_id, agent_id, chat_id)
    return Operation("DELETE", path, b"", read_done, effect="nothing")


def clear(settings: Settings, agent_id: object, chat_id: object, workspace_id: object) -> Operation[Chat]:
    """PATCH /public/workspaces/{workspace_id}/agents/{agent_id}/chats/{chat_id}/clear_messages."""
    path = f"{_path(settings, workspace_id, agent_id, chat_id)}/clear_messages"
    return Operation("PATCH", path, b"{}", enveloped("chat", Chat), effect="nothing")


def messages(
    settings: Settings, agent_id: object, chat_id: object, workspace_id: object
) -> Operation[ResultList[ChatMessage]]:
    """GET /public/workspaces/{workspace_id}/agents/{agent_id}/chats/{chat_id}/messages."""
    path = f"{_path(settings, workspace_id, agent_id, chat_id)}/messages"
    return Operation("GET", path, b"", listed("messages", ChatMessage), effect="nothing")


def _path(settings: Settings, workspace_id: object, agent_id: object, *chat_id: object) -> str:
    chats = f"{workspace(settings, workspace_id)}/agents/{segment('agent_id', agent_id)}/chats"
    return "/".join([chats, *(segment("chat_id", one) for one in chat_id)])


def _body(fields: Mapping[str, Any]) -> bytes:
    return encoded({"chat": plain(mapping("chat", fields), "chat")})


def _fields(name: object) -> dict[str, Any]:
    return {"name": filled("name", name, "Pass the chat's name.")}


class Chats(SyncResource):
    """Chats with agents, and their messages."""

    def create(self, agent_id: str | UUID, *, name: str, workspace_id: str | UUID | None = None) -> Chat:
        """Make a chat with an agent.

        Args:
            agent_id: The agent's UUID.
            name: The chat's name.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: There is no such agent, or the key does not belong to this workspace.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came; `may_have_run` says whether the chat may be there.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(create(self._settings, agent_id, _fields(name), workspace_id))

    def get(self, agent_id: str | UUID, chat_id: str | UUID, *, workspace_id: str | UUID | None = None) -> Chat:
        """Look a chat up.

        Args:
            agent_id: The agent's UUID.
            chat_id: The chat's UUID.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: There is no such chat or agent, or the key does not belong to this workspace.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(get(self._settings, agent_id, chat_id, workspace_id))

    def update(
        self, agent_id: str | UUID, chat_id: str | UUID, *, name: str, workspace_id: str | UUID | None = None
    ) -> Chat:
        """Give a chat another name.

        Args:
            agent_id: The agent's UUID.
            chat_id: The chat's UUID.
            name: The new name.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: There is no such chat or agent, or the key does not belong to this workspace.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(update(self._settings, agent_id, chat_id, _fields(name), workspace_id))

    def delete(self, agent_id: str | UUID, chat_id: str | UUID, *, workspace_id: str | UUID | None = None) -> Done:
        """Delete a chat with its messages.

        Args:
            agent_id: The agent's UUID.
            chat_id: The chat's UUID.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: There is no such chat or agent, or the key does not belong to this workspace; where the
                first attempt was not answered, the chat may have been deleted by it.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(delete(self._settings, agent_id, chat_id, workspace_id))

    def clear(self, agent_id: str | UUID, chat_id: str | UUID, *, workspace_id: str | UUID | None = None) -> Chat:
        """Delete a chat's messages, and keep the chat.

        Args:
            agent_id: The agent's UUID.
            chat_id: The chat's UUID.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: There is no such chat or agent, or the key does not belong to this workspace.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(clear(self._settings, agent_id, chat_id, workspace_id))

    def messages(
        self, agent_id: str | UUID, chat_id: str | UUID, *, workspace_id: str | UUID | None = None
    ) -> ResultList[ChatMessage]:
        """List a chat's messages, oldest first.

        Args:
            agent_id: The agent's UUID.
            chat_id: The chat's UUID.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: There is no such chat, or the key does not belong to this workspace.
            UnprocessableEntityError: There is no such agent.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(messages(self._settings, agent_id, chat_id, workspace_id))


class AsyncChats(AsyncResource):
    """Chats with agents, and their messages."""

    async def create(self, agent_id: str | UUID, *, name: str, workspace_id: str | UUID | None = None) -> Chat:
        """Make a chat with an agent.

        As `Chats.create`.
        """
        return await self._run(create(self._settings, agent_id, _fields(name), workspace_id))

    async def get(self, agent_id: str | UUID, chat_id: str | UUID, *, workspace_id: str | UUID | None = None) -> Chat:
        """Look a chat up.

        As `Chats.get`.
        """
        return await self._run(get(self._settings, agent_id, chat_id, workspace_id))

    async def update(
        self, agent_id: str | UUID, chat_id: str | UUID, *, name: str, workspace_id: str | UUID | None = None
    ) -> Chat:
        """Give a chat another name.

        As `Chats.update`.
        """
        return await self._run(update(self._settings, agent_id, chat_id, _fields(name), workspace_id))

    async def delete(
        self, agent_id: str | UUID, chat_id: str | UUID, *, workspace_id: str | UUID | None = None
    ) -> Done:
        """Delete a chat with its messages.

        As `Chats.delete`.
        """
        return await self._run(delete(self._settings, agent_id, chat_id, workspace_id))

    async def clear(self, agent_id: str | UUID, chat_id: str | UUID, *, workspace_id: str | UUID | None = None) -> Chat:
        """Delete a chat's messages, and keep the chat.

        As `Chats.clear`.
        """
        return await self._run(clear(self._settings, agent_id, chat_id, workspace_id))

    async def messages(
        self, agent_id: str | UUID, chat_id: str | UUID, *, workspace_id: str | UUID | None = None
    ) -> ResultList[ChatMessage]:
        """List a chat's messages, oldest first.

        As `Chats.messages`.
        """
        return await self._run(messages(self._settings, agent_id, chat_id, workspace_id))
