"""Chats with an agent, and their messages: what the API makes, tells, clears and refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fetch_hive_sdk import InvalidRequestError
from fetch_hive_sdk.sandbox import Sandbox
from fetch_hive_sdk.sandbox.ids import WORKSPACE_ID

from .sandbox_requests import START, Clock, ask, look_up, read

AGENTS = f"/public/workspaces/{WORKSPACE_ID}/agents"
SETTINGS = {"name": "Helper", "llm_model": "sandbox-small", "model_type": "llm"}


class Chats:
    """A sandbox with an agent, whose chats are asked for."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sandbox = Sandbox(clock=self.clock)
        self.agent = self.new_agent()

    def new_agent(self) -> Any:
        return read(ask(self.sandbox, "", {"agent": SETTINGS}, path=f"/v1{AGENTS}"))["agent"]

    def send(self, method: str, below: str = "", body: object = None, *, agent: str | None = None) -> Any:
        """Status and JSON that a request below the path of the agent's chats is answered with."""
        path = f"/v1{AGENTS}/{agent or self.agent['id']}/chats{below}"
        reply = ask(self.sandbox, "", b"" if body is None else body, method=method, path=path)
        return reply.status, read(reply)

    def new(self, name: str = "A chat") -> Any:
        status, told = self.send("POST", body={"chat": {"name": name}})
        assert (status, told["message"]) == (200, "Chat created.")
        return told["chat"]

    def messages(self, chat: Any) -> Any:
        return look_up(self.sandbox, f"{AGENTS}/{self.agent['id']}/chats/{chat['id']}/messages")["messages"]


@pytest.fixture
def chats() -> Chats:
    return Chats()


def test_a_chat_is_made_and_told(chats: Chats) -> None:
    """A new chat has a name, no messages, and its agent; GET tells the same."""
    chat = chats.new()
    assert chat == {
        "id": chat["id"],
        "name": "A chat",
        "last_message_content": None,
        "last_message_sent_at": None,
        "message_count": 0,
        "generated_at": START.isoformat(),
        "status": "active",
        "agent": chats.agent,
    }
    assert chats.send("GET", f"/{chat['id']}") == (200, {"chat": chat})
    assert chats.messages(chat) == []


def test_a_chats_agent_is_told_as_it_is_now(chats: Chats) -> None:
    """The agent inside a chat has the settings it has by now."""
    chat = chats.new()
    path = f"/v1{AGENTS}/{chats.agent['id']}"
    ask(chats.sandbox, "", {"agent": {"name": "Renamed"}}, method="PATCH", path=path)
    chats.send("PATCH", f"/{chat['id']}", {"chat": {"name": "Other"}})
    assert chats.send("GET", f"/{chat['id']}")[1]["chat"]["agent"] == {**chats.agent, "name": "Renamed"}


@pytest.mark.parametrize("changes", [{"name": "Renamed"}, {}, {"status": "archived"}])
def test_a_chat_is_renamed(chats: Chats, changes: dict[str, Any]) -> None:
    """PATCH changes the name alone, where it names one."""
    chat = chats.new()
    renamed = {**chat, "name": changes.get("name", "A chat")}
    status, told = chats.send("PATCH", f"/{chat['id']}", {"chat": changes})
    assert (status, told) == (200, {"message": "Chat updated.", "chat": renamed})
    assert chats.send("GET", f"/{chat['id']}") == (200, {"chat": renamed})


def test_messages_are_put_into_a_chat(chats: Chats) -> None:
    """Messages are listed oldest first, and the chat tells how many there are and the last one."""
    chat, other = chats.new(), chats.new()
    first = chats.sandbox.add_chat_message(chat["id"], "Hello")
    chats.clock.pass_by(5)
    second = chats.sandbox.add_chat_message(chat["id"], "Hi!", role="assistant")
    at = (START + timedelta(seconds=5)).isoformat()
    assert second == {"id": second["id"], "content": "Hi!", "role": "assistant", "sent_at": at, "chat_id": chat["id"]}
    assert (first["role"], first["content"]) == ("user", "Hello")
    assert chats.messages(chat) == [first, second]
    last = {"last_message_content": "Hi!", "last_message_sent_at": at, "message_count": 2}
    assert chats.send("GET", f"/{chat['id']}") == (200, {"chat": {**chat, **last}})
    assert chats.send("GET", f"/{other['id']}") == (200, {"chat": other})
    assert chats.messages(other) == []


def test_messages_are_cleared(chats: Chats) -> None:
    """A cleared chat is as new, and other chats keep their messages."""
    chat, other = chats.new(), chats.new()
    for one in (chat, other):
        chats.sandbox.add_chat_message(one["id"], "Hello")
    status, told = chats.send("PATCH", f"/{chat['id']}/clear_messages")
    assert (status, told) == (200, {"message": "Messages cleared.", "chat": chat})
    assert chats.send("GET", f"/{chat['id']}") == (200, {"chat": chat})
    assert (chats.messages(chat), len(chats.messages(other))) == ([], 1)
    chats.sandbox.add_chat_message(chat["id"], "Again")
    assert chats.send("GET", f"/{chat['id']}")[1]["chat"]["message_count"] == 1


def test_a_chat_is_deleted_with_its_messages(chats: Chats) -> None:
    """A deleted chat is not found any more, nor are its messages; other chats stay."""
    chat, other = chats.new(), chats.new()
    for one in (chat, other):
        chats.sandbox.add_chat_message(one["id"], "Hello")
    assert chats.send("DELETE", f"/{chat['id']}") == (200, {"message": "Chat deleted."})
    assert chats.send("GET", f"/{chat['id']}/messages")[0] == 404
    assert len(chats.messages(other)) == len(chats.sandbox.engine.store.objects.all("message")) == 1
    with pytest.raises(InvalidRequestError, match="Chat not found"):
        chats.sandbox.add_chat_message(chat["id"], "Hello")


OPERATIONS = [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("PATCH", "/clear_messages"), ("GET", "/messages")]


@pytest.mark.parametrize(("method", "what"), OPERATIONS)
def test_an_unknown_chat_is_not_found(chats: Chats, method: str, what: str) -> None:
    """A chat that is not there, or is another agent's, is a 404, and the other agent's stays as it is."""
    chat = chats.new()
    body = {"chat": {"name": "Renamed"}}
    for agent, chat_id in ((None, "none"), (chats.new_agent()["id"], chat["id"])):
        status, told = chats.send(method, f"/{chat_id}{what}", body, agent=agent)
        assert (status, told["error"]) == (404, "Chat not found")
        assert "error_code" not in told
    assert chats.send("GET", f"/{chat['id']}") == (200, {"chat": chat})


@pytest.mark.parametrize(("method", "what"), [*OPERATIONS, ("POST", None)])
def test_an_unknown_agent_is_refused(chats: Chats, method: str, what: str | None) -> None:
    """An agent that is not there is a 404 for chats, and a 422 for their messages, as documented."""
    below = "" if what is None else f"/{chats.new()['id']}{what}"
    status, told = chats.send(method, below, {"chat": {"name": "A chat"}}, agent="none")
    assert (status, told["error"]) == (422 if what == "/messages" else 404, "Agent not found.")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"name": "A chat"}, "chat is required and must be an object"),
        ({"chat": {"name": ""}}, "name is required"),
        ({"chat": {"name": None}}, "name is required"),
        ({"chat": {"name": 1}}, "name must be a string"),
    ],
)
def test_a_chat_needs_a_name(chats: Chats, body: Any, text: str) -> None:
    """A chat without a name is refused with a text and a list of errors, when it is made and when it is renamed."""
    chat = chats.new()
    for method, below in (("POST", ""), ("PATCH", f"/{chat['id']}")):
        status, told = chats.send(method, below, body)
        assert (status, told["error"], told["errors"]) == (422, text, [text])
    assert chats.send("GET", f"/{chat['id']}") == (200, {"chat": chat})


def test_a_new_chat_needs_a_name_at_all(chats: Chats) -> None:
    """A new chat that names nothing is refused."""
    assert chats.send("POST", body={"chat": {}})[1]["error"] == "name is required"


def test_a_message_needs_a_documented_role(chats: Chats) -> None:
    """A message of another role is refused, and not kept."""
    chat = chats.new()
    with pytest.raises(InvalidRequestError, match="role must be user, assistant, or system"):
        chats.sandbox.add_chat_message(chat["id"], "Hello", role="tool")
    assert chats.messages(chat) == []
