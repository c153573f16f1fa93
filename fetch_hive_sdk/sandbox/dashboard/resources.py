"""The pages of the workspace's resources, which show what the API tells of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from ...error_codes import ERROR_CODES
from ...errors import ConfigurationError
from ..engine import Engine
from ..ids import WORKSPACE_ID
from ..refusals import Refusal
from ..resources import ROUTES, Call
from ..resources.chats import add_message
from ..resources.desk import invalid
from ..resources.knowledge_bases import ITEM, MOST_CHUNKS
from ..runs import HttpRequest
from .filters import metadata_value
from .get_code import curl_code, sdk_code

__all__ = ["NOUNS", "Resources"]

SHOWN = 200  # objects on one page
NOUNS: Mapping[str, str] = {
    "/resources/knowledge-bases": "Knowledge bases",
    "/resources/agents": "Agents",
    "/resources/assets": "Assets",
    "/resources/models": "Models",
    "/resources/search-services": "Search services",
    "/resources/error-codes": "Error codes",
    "/resources/delegations": "Delegations",
}
"""The nouns that have a list: its address, and its name."""

Context = dict[str, Any]

_WORKSPACE = "/public/workspaces/{}"
_HANDLERS = {(method, path): handler for method, path, handler in ROUTES}
_RETURNS = "Unopened goods can be returned within 30 days."


class Resources:
    """The pages of one engine's resources.

    Args:
        engine: What they show.
        origin: Where the sandbox is: scheme, host and port.
    """

    def __init__(self, engine: Engine, *, origin: str) -> None:
        self._engine = engine
        self._origin = origin

    def pages(self) -> list[tuple[str, str, Callable[[Request], Context]]]:
        """Address, template, and what the template is given; that raises `Refusal` where there is no such thing."""
        return [
            ("/resources/knowledge-bases", "knowledge_bases.html", self._knowledge_bases),
            ("/resources/knowledge-bases/{knowledge_base_id}", "knowledge_base.html", self._knowledge_base),
            ("/resources/agents", "agents.html", self._agents),
            ("/resources/agents/{agent_id}", "agent.html", self._agent),
            ("/resources/agents/{agent_id}/chats/{chat_id}", "chat.html", self._chat),
            ("/resources/assets", "assets.html", self._assets),
            ("/resources/models", "models.html", self._models),
            ("/resources/search-services", "search_services.html", self._search_services),
            ("/resources/error-codes", "error_codes.html", self._error_codes),
            ("/resources/delegations", "delegations.html", self._delegations),
        ]

    def add_message(self, chat_id: str, form: Mapping[str, str]) -> None:
        """Put what a form says at the end of a chat.

        Raises:
            Refusal: There is no such chat or role, or no text.
        """
        # Forms send every line break as two characters.
        content = form.get("content", "").replace("\r\n", "\n")
        if not content.strip():
            raise invalid("content is required")
        add_message(self._engine.desk, chat_id, form.get("role", ""), content)

    # --- pages ------------------------------------------------------------------------------------

    def _knowledge_bases(self, _request: Request) -> Context:
        found = self._ask("GET", f"{_WORKSPACE}/knowledge_bases")["knowledge_bases"]
        call = 'client.knowledge_bases.create(name="FAQ")'
        sample = self._sample(call, "/knowledge_bases", {"knowledge_base": {"name": "FAQ"}})
        return {**_newest(found), "sample": sample}

    def _knowledge_base(self, request: Request) -> Context:
        id = request.path_params["knowledge_base_id"]  # noqa: A001 - what it is
        knowledge_base = self._ask("GET", f"{_WORKSPACE}/knowledge_bases/{{}}", id)["knowledge_base"]
        call = (
            "client.knowledge_bases.items.create(\n"
            f'    "{id}",\n    name="Returns",\n    item_type="custom",\n    data_content="{_RETURNS}",\n)'
        )
        item = {"name": "Returns", "item_type": "custom", "data_content": _RETURNS}
        return {
            **_newest(self._engine.store.objects.all(ITEM, parent=id)),
            **self._search(knowledge_base, request.query_params),
            "knowledge_base": knowledge_base,
            "most_chunks": MOST_CHUNKS,
            "sample": self._sample(call, f"/knowledge_bases/{id}/items", {ITEM: item}),
        }

    def _search(self, knowledge_base: Mapping[str, Any], given: Mapping[str, str]) -> Context:
        """What a search finds, if one is asked for, with the knowledge base's own settings where none are typed."""
        limit = min(max(knowledge_base["search_chunk_limit"], 1), MOST_CHUNKS)
        threshold = min(max(float(knowledge_base["search_score_threshold"]), 0.0), 1.0)
        search = {
            "search_query": given.get("search_query", ""),
            "search_chunk_limit": given.get("search_chunk_limit", str(limit)),
            "search_score_threshold": given.get("search_score_threshold", f"{threshold:g}"),
        }
        if not search["search_query"]:
            return {"search": search, "passages": None, "problem": None}
        body = {
            "search_query": search["search_query"],
            "search_type": knowledge_base["search_type"],
            "search_chunk_limit": metadata_value(search["search_chunk_limit"]),
            "search_score_threshold": metadata_value(search["search_score_threshold"]),
        }
        try:
            found = self._ask("POST", f"{_WORKSPACE}/knowledge_bases/{{}}/search", knowledge_base["id"], body=body)
        except (Refusal, ConfigurationError) as error:
            return {"search": search, "passages": None, "problem": str(error)}
        passages = found["response"][self._engine.choices.search_results_key]
        return {"search": search, "passages": passages, "problem": None}

    def _agents(self, _request: Request) -> Context:
        found = self._ask("GET", f"{_WORKSPACE}/agents")["agents"]
        objects = self._engine.store.objects
        agent = {"name": "Support", "llm_model": "sandbox-large", "model_type": "llm"}
        call = 'client.agents.create(name="Support", llm_model="sandbox-large", model_type="llm")'
        return {
            **_newest(found),
            "chats": {agent["id"]: objects.count("chat", parent=agent["id"]) for agent in found[-SHOWN:]},
            "sample": self._sample(call, "/agents", {"agent": agent}),
        }

    def _agent(self, request: Request) -> Context:
        id = request.path_params["agent_id"]  # noqa: A001 - what it is
        agent = self._ask("GET", f"{_WORKSPACE}/agents/{{}}", id)["agent"]
        call = f'client.chats.create("{id}", name="A question of Ann\'s")'
        return {
            **_newest(self._engine.store.objects.all("chat", parent=id)),
            "agent": agent,
            "sample": self._sample(call, f"/agents/{id}/chats", {"chat": {"name": "A question of Ann's"}}),
        }

    def _chat(self, request: Request) -> Context:
        ids = (request.path_params["agent_id"], request.path_params["chat_id"])
        chat = self._ask("GET", f"{_WORKSPACE}/agents/{{}}/chats/{{}}", *ids)["chat"]
        messages = self._ask("GET", f"{_WORKSPACE}/agents/{{}}/chats/{{}}/messages", *ids)["messages"]
        # The newest is the last, as in a conversation.
        return {"chat": chat, "messages": messages[-SHOWN:], "total": len(messages)}

    def _assets(self, _request: Request) -> Context:
        found = self._ask("GET", f"{_WORKSPACE}/assets")["assets"]
        address = f"{self._origin}/v1{_WORKSPACE.format(WORKSPACE_ID)}/assets"
        curl = f"curl {address} \\\n  -H \"Authorization: Bearer $FETCH_HIVE_API_KEY\" \\\n  -F 'file=@report.pdf'"
        return {
            **_newest(found),
            # Without the host: a browser may know the sandbox by another name.
            "paths": {asset["id"]: urlsplit(str(asset["file_url"])).path for asset in found},
            "sample": {"python": self._python('client.assets.upload("report.pdf")'), "curl": curl},
        }

    def _models(self, _request: Request) -> Context:
        return {"found": self._ask("GET", "/public/models")}

    def _search_services(self, _request: Request) -> Context:
        return {"found": self._ask("GET", "/public/search_services/countries")["services"]}

    def _error_codes(self, _request: Request) -> Context:
        return {"found": ERROR_CODES}

    def _delegations(self, _request: Request) -> Context:
        store = self._engine.store
        found = store.newest_delegations(SHOWN)
        parents = {request_id: store.get(request_id) for request_id in {one.parent_request_id for one in found}}
        return {"found": found, "limit": SHOWN, "parents": parents}

    # --- how ----------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, *values: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the API answers.

        Raises:
            Refusal: As the API refuses it.
            ConfigurationError: This machine cannot do it.
        """
        http = HttpRequest(method=method, path=path, body=json.dumps(body).encode())
        with self._engine.store.transaction():
            return _HANDLERS[method, path](self._engine.desk, Call(values, {}, http))

    def _sample(self, call: str, path: str, body: Mapping[str, Any]) -> dict[str, str]:
        """How the first object is made, as Python and as cURL."""
        http = HttpRequest(
            method="POST",
            path=f"/v1{_WORKSPACE.format(WORKSPACE_ID)}{path}",
            headers={"Content-Type": "application/json"},
            body=json.dumps(body).encode(),
        )
        return {"python": self._python(call), "curl": curl_code(http, origin=self._origin)}

    def _python(self, call: str) -> str:
        return "\n".join([*sdk_code(self._origin, workspace_id=WORKSPACE_ID), f"result = {call}", "print(result)"])


def _newest(found: list[Any]) -> Context:
    """The newest objects first, and how many there are."""
    return {"found": found[: -SHOWN - 1 : -1], "total": len(found)}
