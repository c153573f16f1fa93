"""Chats with an agent, and their messages, which the API reads and clears but does not write."""

from __future__ import annotations

from typing import Any

from ..checks import ROLES
from ..refusals import Refusal
from .agents import known_agent
from .desk import Call, Desk, Handler, Object, invalid, listing_errors, typed, wrapped

__all__ = ["ROUTES", "add_message"]


def add_message(desk: Desk, chat_id: str, role: str, content: str) -> Object:
    """Put a message at the end of a chat.

    Args:
        desk: Where the chat is.
        chat_id: The chat.
        role: `"user"`, `"assistant"` or `"system"`.
        content: The text.

    Returns:
        The message as the API tells it.

    Raises:
        Refusal: 404: there is no such chat. 422: there is no such role.
    """
    if role not in ROLES:
        raise invalid("role must be user, assistant, or system")
    message: Object = {
        "id": desk.new_id(),
        "content": content,
        "role": role,
        "sent_at": desk.clock().isoformat(),
        "chat_id": chat_id,
    }
    with desk.store.transaction():
        chat = _known(desk, chat_id)
        desk.objects.add("message", message["id"], message, parent=chat_id)
        chat["last_message_content"] = content
        chat["last_message_sent_at"] = message["sent_at"]
        chat["message_count"] += 1
        desk.objects.save("chat", chat_id, chat)
    return message


@listing_errors
def _create(desk: Desk, call: Call) -> Any:
    name = typed(wrapped(call.json(), "chat"), "name", str, required=True)
    chat: Object = {
        "id": desk.new_id(),
        "name": name,
        "last_message_content": None,
        "last_message_sent_at": None,
        "message_count": 0,
        "generated_at": desk.clock().isoformat(),
        "status": "active",
    }
    agent = known_agent(desk, call.values[0], status=404)
    desk.objects.add("chat", chat["id"], chat, parent=agent["id"])
    return {"message": "Chat created.", "chat": {**chat, "agent": agent}}


def _get(desk: Desk, call: Call) -> Any:
    chat, agent = _of_agent(desk, call)
    return {"chat": {**chat, "agent": agent}}


@listing_errors
def _update(desk: Desk, call: Call) -> Any:
    given = wrapped(call.json(), "chat")
    chat, agent = _of_agent(desk, call)
    if "name" in given:
        chat["name"] = typed(given, "name", str, required=True)
    desk.objects.save("chat", chat["id"], chat)
    return {"message": "Chat updated.", "chat": {**chat, "agent": agent}}


def _delete(desk: Desk, call: Call) -> Any:
    chat, _agent = _of_agent(desk, call)
    desk.objects.remove_children("message", chat["id"])
    desk.objects.remove("chat", chat["id"])
    return {"message": "Chat deleted."}


def _clear(desk: Desk, call: Call) -> Any:
    chat, agent = _of_agent(desk, call)
    desk.objects.remove_children("message", chat["id"])
    chat |= {"last_message_content": None, "last_message_sent_at": None, "message_count": 0}
    desk.objects.save("chat", chat["id"], chat)
    return {"message": "Messages cleared.", "chat": {**chat, "agent": agent}}


def _messages(desk: Desk, call: Call) -> Any:
    agent_id, chat_id = call.values
    known_agent(desk, agent_id)  # whose absence is a 422 here, unlike in the other operations on chats
    _known(desk, chat_id, agent_id)
    return {"messages": desk.objects.all("message", parent=chat_id)}


def _known(desk: Desk, chat_id: str, agent_id: str | None = None) -> Object:
    chat = desk.objects.get("chat", chat_id, parent=agent_id)
    if chat is None:
        raise Refusal("Chat not found", status=404, code=None)
    return chat


def _of_agent(desk: Desk, call: Call) -> tuple[Object, Object]:
    """The chat that a path names, and its agent."""
    agent_id, chat_id = call.values
    agent = known_agent(desk, agent_id, status=404)
    return _known(desk, chat_id, agent_id), agent


_PATH = "/public/workspaces/{}/agents/{}/chats"
ROUTES: list[tuple[str, str, Handler]] = [
    ("POST", _PATH, _create),
    ("GET", f"{_PATH}/{{}}", _get),
    ("PATCH", f"{_PATH}/{{}}", _update),
    ("DELETE", f"{_PATH}/{{}}", _delete),
    ("PATCH", f"{_PATH}/{{}}/clear_messages", _clear),
    ("GET", f"{_PATH}/{{}}/messages", _messages),
]
