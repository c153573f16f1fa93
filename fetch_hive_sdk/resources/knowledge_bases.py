"""Knowledge bases, searching them, and the items in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from ..arguments import choice, encoded, filled, given, number, optional_text
from ..jsonable import encode, mapping, plain, refused
from ..operations import Operation
from ..results import Entity, Result
from ..settings import Settings
from ..urls import segment
from .base import AsyncResource, Done, ResultList, SyncResource, changes, enveloped, listed, read_done, workspace

__all__ = ["KnowledgeBase", "KnowledgeBaseItem", "KnowledgeBaseSearch", "Regeneration"]

SearchType = Literal["hybrid", "vector", "full_text"]
ItemType = Literal["custom", "website_scrape", "document"]
Switch = Literal["enabled", "disabled"]


class KnowledgeBase(Entity, frozen=True):
    """A knowledge base.

    Attributes:
        id: Its UUID.
        name: Its name.
        description: What is in it.
        status: Where it stands. Which words there are is not documented.
        data_item_count: How many items it has.
        search_type: How it is searched: `hybrid`, `vector` or `full_text`.
        search_score_threshold: How well a chunk has to fit to be found, 0 to 1. The service writes it as a text, which
            is what `knowledge_base["search_score_threshold"]` answers.
        search_chunk_limit: How many chunks a search finds at most.
        generated_at: When it was made, in ISO 8601.
        is_active: Whether it can be used.
        is_archived: Whether it was put away.
        is_hybrid_search: Whether `search_type` is `hybrid`.
        is_vector_search: Whether it is `vector`.
        is_full_text_search: Whether it is `full_text`.
    """

    id: str = ""
    name: str = ""
    description: str | None = None
    status: str = ""
    data_item_count: int | None = None
    search_type: str = ""
    search_score_threshold: float | None = None
    search_chunk_limit: int | None = None
    generated_at: str | None = None
    is_active: bool | None = None
    is_archived: bool | None = None
    is_hybrid_search: bool | None = None
    is_vector_search: bool | None = None
    is_full_text_search: bool | None = None


class KnowledgeBaseItem(Entity, frozen=True):
    """What was put into a knowledge base: a text, a page or a document. What else the service tells is there by key.

    Attributes:
        id: Its UUID.
        name: Its name.
        knowledge_base_id: The knowledge base's UUID.
        item_type: `custom`, `website_scrape` or `document`.
        run_status: How far it has been made searchable. Which words there are is not documented.
        status: Where it stands. Which words there are is not documented.
    """

    id: str = ""
    name: str = ""
    knowledge_base_id: str = ""
    item_type: str = ""
    run_status: str = ""
    status: str = ""


class KnowledgeBaseSearch(Entity, frozen=True):
    """What a search has found.

    Attributes:
        message: What the service says.
        response: What was found. What is in it is not documented.
    """

    message: str = ""
    response: dict[str, Any] = Field(default_factory=dict[str, Any])


class Regeneration(Result, frozen=True):
    """The work of making an item searchable anew, which goes on in the background.

    Attributes:
        message: What the service says.
        request_id: The work's id, `req_…`: `client.requests.wait(request_id)` waits for its end.
    """

    message: str = ""
    request_id: str = ""


# --- the calls ----------------------------------------------------------------------------------------


def list_knowledge_bases(settings: Settings, workspace_id: object) -> Operation[ResultList[KnowledgeBase]]:
    """GET …/knowledge_bases."""
    read = listed("knowledge_bases", KnowledgeBase)
    return Operation("GET", _path(settings, workspace_id), b"", read, effect="nothing")


def get(settings: Settings, knowledge_base_id: object, workspace_id: object) -> Operation[KnowledgeBase]:
    """GET …/knowledge_bases/{id}."""
    path = _path(settings, workspace_id, knowledge_base_id)
    return Operation("GET", path, b"", enveloped("knowledge_base", KnowledgeBase), effect="nothing")


def create(settings: Settings, fields: Mapping[str, Any], workspace_id: object) -> Operation[KnowledgeBase]:
    """POST …/knowledge_bases."""
    body = _body("knowledge_base", fields)
    read = enveloped("knowledge_base", KnowledgeBase)
    return Operation("POST", _path(settings, workspace_id), body, read, effect="change")


def update(
    settings: Settings, knowledge_base_id: object, fields: Mapping[str, Any], workspace_id: object
) -> Operation[KnowledgeBase]:
    """PATCH …/knowledge_bases/{id}."""
    body = _body("knowledge_base", fields)
    path = _path(settings, workspace_id, knowledge_base_id)
    return Operation("PATCH", path, body, enveloped("knowledge_base", KnowledgeBase), effect="nothing")


def delete(settings: Settings, knowledge_base_id: object, workspace_id: object) -> Operation[Done]:
    """DELETE …/knowledge_bases/{id}."""
    path = _path(settings, workspace_id, knowledge_base_id)
    return Operation("DELETE", path, b"", read_done, effect="nothing")


def search(
    settings: Settings, knowledge_base_id: object, fields: Mapping[str, Any], workspace_id: object
) -> Operation[KnowledgeBaseSearch]:
    """POST …/knowledge_bases/{id}/search."""
    body = encode(plain(mapping("search", fields), "search"))
    path = f"{_path(settings, workspace_id, knowledge_base_id)}/search"
    return Operation("POST", path, body, KnowledgeBaseSearch.from_json, effect="nothing")


def list_items(
    settings: Settings, knowledge_base_id: object, workspace_id: object
) -> Operation[ResultList[KnowledgeBaseItem]]:
    """GET …/knowledge_bases/{id}/items."""
    path = _items_path(settings, workspace_id, knowledge_base_id)
    return Operation("GET", path, b"", listed("knowledge_base_items", KnowledgeBaseItem), effect="nothing")


def get_item(
    settings: Settings, knowledge_base_id: object, item_id: object, workspace_id: object
) -> Operation[KnowledgeBaseItem]:
    """GET …/items/{id}."""
    path = _items_path(settings, workspace_id, knowledge_base_id, item_id)
    return Operation("GET", path, b"", enveloped("knowledge_base_item", KnowledgeBaseItem), effect="nothing")


def create_item(
    settings: Settings, knowledge_base_id: object, fields: Mapping[str, Any], workspace_id: object
) -> Operation[KnowledgeBaseItem]:
    """POST …/knowledge_bases/{id}/items."""
    body = _body("knowledge_base_item", fields)
    path = _items_path(settings, workspace_id, knowledge_base_id)
    return Operation("POST", path, body, enveloped("knowledge_base_item", KnowledgeBaseItem), effect="change")


def update_item(
    settings: Settings, knowledge_base_id: object, item_id: object, fields: Mapping[str, Any], workspace_id: object
) -> Operation[KnowledgeBaseItem]:
    """PATCH …/items/{id}."""
    body = _body("knowledge_base_item", fields)
    path = _items_path(settings, workspace_id, knowledge_base_id, item_id)
    return Operation("PATCH", path, body, enveloped("knowledge_base_item", KnowledgeBaseItem), effect="nothing")


def delete_item(
    settings: Settings, knowledge_base_id: object, item_id: object, workspace_id: object
) -> Operation[Done]:
    """DELETE …/items/{id}."""
    path = _items_path(settings, workspace_id, knowledge_base_id, item_id)
    return Operation("DELETE", path, b"", read_done, effect="nothing")


def regenerate_item(
    settings: Settings, knowledge_base_id: object, item_id: object, workspace_id: object
) -> Operation[Regeneration]:
    """POST …/items/{id}/regenerate."""
    path = f"{_items_path(settings, workspace_id, knowledge_base_id, item_id)}/regenerate"
    return Operation("POST", path, encoded({}), Regeneration.from_json)


def _path(settings: Settings, workspace_id: object, *knowledge_base_id: object) -> str:
    ids = [segment("knowledge_base_id", one) for one in knowledge_base_id]
    return "/".join([workspace(settings, workspace_id), "knowledge_bases", *ids])


def _items_path(settings: Settings, workspace_id: object, knowledge_base_id: object, *item_id: object) -> str:
    ids = [segment("item_id", one) for one in item_id]
    return "/".join([_path(settings, workspace_id, knowledge_base_id), "items", *ids])


def _body(name: str, fields: Mapping[str, Any]) -> bytes:
    return encoded({name: plain(mapping(name, fields), name)})


# --- the arguments ------------------------------------------------------------------------------------


def _fields(
    name: object, description: object, search_type: object, search_score_threshold: object, search_chunk_limit: object
) -> dict[str, Any]:
    return given(
        name=None if name is None else _name(name),
        description=optional_text("description", description),
        search_type=choice("search_type", search_type, "hybrid", "vector", "full_text"),
        search_score_threshold=number("search_score_threshold", search_score_threshold),
        search_chunk_limit=number("search_chunk_limit", search_chunk_limit, whole=True),
    )


def _search_fields(
    search_query: object, search_type: object, search_chunk_limit: object, search_score_threshold: object
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "search_query": filled("search_query", search_query, "Pass what to look for."),
        "search_type": choice("search_type", search_type, "hybrid", "vector", "full_text"),
        "search_chunk_limit": number("search_chunk_limit", search_chunk_limit, least=1, most=20, whole=True),
        "search_score_threshold": number("search_score_threshold", search_score_threshold, least=0, most=1),
    }
    for name, value in fields.items():
        if value is None:
            raise refused(name, "None is not allowed", "Leave it out for its default: a search always has it.")
    return fields


def _item_fields(
    name: object,
    description: object,
    data_content: object,
    data_query: object,
    delete_email_data: object,
    delete_telephone_data: object,
    chunking_strategy: object,
    chunk_overlap: object,
    maximum_chunk_length: object,
    item_type: object = None,
    response_type: object = None,
    asset_id: object = None,
) -> dict[str, Any]:
    return given(
        name=None if name is None else _name(name),
        description=optional_text("description", description),
        item_type=choice("item_type", item_type, "custom", "website_scrape", "document"),
        response_type=optional_text("response_type", response_type),
        data_content=optional_text("data_content", data_content),
        data_query=optional_text("data_query", data_query),
        delete_email_data=choice("delete_email_data", delete_email_data, "enabled", "disabled"),
        delete_telephone_data=choice("delete_telephone_data", delete_telephone_data, "enabled", "disabled"),
        chunking_strategy=optional_text("chunking_strategy", chunking_strategy),
        chunk_overlap=number("chunk_overlap", chunk_overlap, whole=True),
        maximum_chunk_length=number("maximum_chunk_length", maximum_chunk_length, whole=True),
        asset_id=optional_text("asset_id", str(asset_id) if isinstance(asset_id, UUID) else asset_id),
    )


def _name(name: object) -> str:
    return filled("name", name, "Pass a name.")


# --- for both clients ---------------------------------------------------------------------------------


class KnowledgeBases(SyncResource):
    """Knowledge bases. Their items are in `client.knowledge_bases.items`."""

    @property
    def items(self) -> KnowledgeBaseItems:
        """The items in knowledge bases."""
        return KnowledgeBaseItems(self._settings, self._pool)

    def list(self, *, workspace_id: str | UUID | None = None) -> ResultList[KnowledgeBase]:
        """List the workspace's knowledge bases.

        Args:
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(list_knowledge_bases(self._settings, workspace_id))

    def get(self, knowledge_base_id: str | UUID, *, workspace_id: str | UUID | None = None) -> KnowledgeBase:
        """Look a knowledge base up.

        Args:
            knowledge_base_id: The knowledge base's id.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            UnprocessableEntityError: There is no such knowledge base.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(get(self._settings, knowledge_base_id, workspace_id))

    def create(
        self,
        *,
        name: str,
        description: str | None = None,
        search_type: SearchType | None = None,
        search_score_threshold: float | None = None,
        search_chunk_limit: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> KnowledgeBase:
        """Make a knowledge base.

        Args:
            name: Its name.
            description: What is in it.
            search_type: How it is searched: `"hybrid"`, by words (`"full_text"`) and by meaning (`"vector"`), or one of
                the two. Default: the service's.
            search_score_threshold: How well a chunk has to fit to be found. Default: the service's.
            search_chunk_limit: How many chunks a search finds at most. Default: the service's.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            UnprocessableEntityError: The service does not accept a field.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came; `may_have_run` says whether it may have been done.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        fields = _fields(_name(name), description, search_type, search_score_threshold, search_chunk_limit)
        return self._run(create(self._settings, fields, workspace_id))

    def update(
        self,
        knowledge_base_id: str | UUID,
        *,
        name: str | None = None,
        description: str | None = None,
        search_type: SearchType | None = None,
        search_score_threshold: float | None = None,
        search_chunk_limit: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> KnowledgeBase:
        """Change a knowledge base. What is not passed stays as it is.

        Args:
            knowledge_base_id: The knowledge base's id.
            name: Its new name.
            description: What is in it.
            search_type: How it is searched: `"hybrid"`, by words (`"full_text"`) and by meaning (`"vector"`), or one of
                the two.
            search_score_threshold: How well a chunk has to fit to be found.
            search_chunk_limit: How many chunks a search finds at most.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            UnprocessableEntityError: There is no such knowledge base, or the service does not accept a field.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        fields = _fields(name, description, search_type, search_score_threshold, search_chunk_limit)
        return self._run(update(self._settings, knowledge_base_id, changes(fields), workspace_id))

    def delete(self, knowledge_base_id: str | UUID, *, workspace_id: str | UUID | None = None) -> Done:
        """Delete a knowledge base. What was in it is cleaned up in the background.

        Args:
            knowledge_base_id: The knowledge base's id.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            UnprocessableEntityError: There is no such knowledge base.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(delete(self._settings, knowledge_base_id, workspace_id))

    def search(
        self,
        knowledge_base_id: str | UUID,
        *,
        search_query: str,
        search_type: SearchType = "hybrid",
        search_chunk_limit: int = 5,
        search_score_threshold: float = 0.0,
        workspace_id: str | UUID | None = None,
    ) -> KnowledgeBaseSearch:
        """Search a knowledge base.

        The service asks for all four: the defaults are this SDK's, whatever is set for the knowledge base.

        Args:
            knowledge_base_id: The knowledge base's id.
            search_query: What to look for.
            search_type: How to search: `"hybrid"`, by words (`"full_text"`) and by meaning (`"vector"`), or one of the
                two.
            search_chunk_limit: How many chunks to find at most, 1 to 20.
            search_score_threshold: How well a chunk has to fit, 0 to 1; 0 finds all.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            UnprocessableEntityError: There is no such knowledge base.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        fields = _search_fields(search_query, search_type, search_chunk_limit, search_score_threshold)
        return self._run(search(self._settings, knowledge_base_id, fields, workspace_id))


class KnowledgeBaseItems(SyncResource):
    """The items in knowledge bases."""

    def list(
        self, knowledge_base_id: str | UUID, *, workspace_id: str | UUID | None = None
    ) -> ResultList[KnowledgeBaseItem]:
        """List the items of a knowledge base.

        Args:
            knowledge_base_id: The knowledge base's id.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            UnprocessableEntityError: There is no such knowledge base.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(list_items(self._settings, knowledge_base_id, workspace_id))

    def get(
        self, knowledge_base_id: str | UUID, item_id: str | UUID, *, workspace_id: str | UUID | None = None
    ) -> KnowledgeBaseItem:
        """Look an item up.

        Args:
            knowledge_base_id: The knowledge base's id.
            item_id: The item's id.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            UnprocessableEntityError: There is no such knowledge base or item.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(get_item(self._settings, knowledge_base_id, item_id, workspace_id))

    def create(
        self,
        knowledge_base_id: str | UUID,
        *,
        name: str,
        description: str | None = None,
        item_type: ItemType | None = None,
        response_type: str | None = None,
        data_content: str | None = None,
        data_query: str | None = None,
        delete_email_data: Switch | None = None,
        delete_telephone_data: Switch | None = None,
        chunking_strategy: str | None = None,
        chunk_overlap: int | None = None,
        maximum_chunk_length: int | None = None,
        asset_id: str | UUID | None = None,
        workspace_id: str | UUID | None = None,
    ) -> KnowledgeBaseItem:
        """Put an item into a knowledge base.

        Args:
            knowledge_base_id: The knowledge base's id.
            name: Its name.
            description: What is in it.
            item_type: `"custom"` text, `"website_scrape"` or `"document"`. Default: the service's. It cannot be changed
                later.
            response_type: Which words there are, and what they mean, is not documented. It cannot be changed later.
            data_content: What is in it: the text, or the page's address.
            data_query: What it is for is not documented.
            delete_email_data: Whether addresses of e-mail are taken out. Default: the service's.
            delete_telephone_data: Whether telephone numbers are taken out. Default: the service's.
            chunking_strategy: How it is cut into chunks. Which words there are is not documented.
            chunk_overlap: How much two neighbouring chunks have in common. The unit is not documented.
            maximum_chunk_length: How long a chunk may be. The unit is not documented.
            asset_id: The asset that is the document. It cannot be changed later.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            UnprocessableEntityError: There is no such knowledge base, or the service does not accept a field.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came; `may_have_run` says whether it may have been done.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        fields = _item_fields(
            _name(name),
            description,
            data_content,
            data_query,
            delete_email_data,
            delete_telephone_data,
            chunking_strategy,
            chunk_overlap,
            maximum_chunk_length,
            item_type,
            response_type,
            asset_id,
        )
        return self._run(create_item(self._settings, knowledge_base_id, fields, workspace_id))

    def update(
        self,
        knowledge_base_id: str | UUID,
        item_id: str | UUID,
        *,
        name: str | None = None,
        description: str | None = None,
        data_content: str | None = None,
        data_query: str | None = None,
        delete_email_data: Switch | None = None,
        delete_telephone_data: Switch | None = None,
        chunking_strategy: str | None = None,
        chunk_overlap: int | None = None,
        maximum_chunk_length: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> KnowledgeBaseItem:
        """Change an item. What is not passed stays as it is.

        Args:
            knowledge_base_id: The knowledge base's id.
            item_id: The item's id.
            name: Its new name.
            description: What is in it.
            data_content: What is in it: the text, or the page's address.
            data_query: What it is for is not documented.
            delete_email_data: Whether addresses of e-mail are taken out.
            delete_telephone_data: Whether telephone numbers are taken out.
            chunking_strategy: How it is cut into chunks. Which words there are is not documented.
            chunk_overlap: How much two neighbouring chunks have in common. The unit is not documented.
            maximum_chunk_length: How long a chunk may be. The unit is not documented.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            UnprocessableEntityError: There is no such knowledge base or item, or the service does not accept a field.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        fields = _item_fields(
            name,
            description,
            data_content,
            data_query,
            delete_email_data,
            delete_telephone_data,
            chunking_strategy,
            chunk_overlap,
            maximum_chunk_length,
        )
        return self._run(update_item(self._settings, knowledge_base_id, item_id, changes(fields), workspace_id))

    def delete(
        self, knowledge_base_id: str | UUID, item_id: str | UUID, *, workspace_id: str | UUID | None = None
    ) -> Done:
        """Delete an item.

        Args:
            knowledge_base_id: The knowledge base's id.
            item_id: The item's id.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            UnprocessableEntityError: There is no such knowledge base or item.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(delete_item(self._settings, knowledge_base_id, item_id, workspace_id))

    def regenerate(
        self, knowledge_base_id: str | UUID, item_id: str | UUID, *, workspace_id: str | UUID | None = None
    ) -> Regeneration:
        """Make an item searchable anew, in the background.

        Args:
            knowledge_base_id: The knowledge base's id.
            item_id: The item's id.
            workspace_id: The workspace. Default: the client's.

        Returns:
            The work's `request_id`; `client.requests.wait(request_id)` waits for its end.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The workspace is not the key's.
            UnprocessableEntityError: There is no such knowledge base or item.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came; `may_have_run` says whether it may have been done.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(regenerate_item(self._settings, knowledge_base_id, item_id, workspace_id))


class AsyncKnowledgeBases(AsyncResource):
    """Knowledge bases. Their items are in `client.knowledge_bases.items`."""

    @property
    def items(self) -> AsyncKnowledgeBaseItems:
        """The items in knowledge bases."""
        return AsyncKnowledgeBaseItems(self._settings, self._pool)

    async def list(self, *, workspace_id: str | UUID | None = None) -> ResultList[KnowledgeBase]:
        """List the workspace's knowledge bases.

        As `KnowledgeBases.list`.
        """
        return await self._run(list_knowledge_bases(self._settings, workspace_id))

    async def get(self, knowledge_base_id: str | UUID, *, workspace_id: str | UUID | None = None) -> KnowledgeBase:
        """Look a knowledge base up.

        As `KnowledgeBases.get`.
        """
        return await self._run(get(self._settings, knowledge_base_id, workspace_id))

    async def create(
        self,
        *,
        name: str,
        description: str | None = None,
        search_type: SearchType | None = None,
        search_score_threshold: float | None = None,
        search_chunk_limit: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> KnowledgeBase:
        """Make a knowledge base.

        As `KnowledgeBases.create`.
        """
        fields = _fields(_name(name), description, search_type, search_score_threshold, search_chunk_limit)
        return await self._run(create(self._settings, fields, workspace_id))

    async def update(
        self,
        knowledge_base_id: str | UUID,
        *,
        name: str | None = None,
        description: str | None = None,
        search_type: SearchType | None = None,
        search_score_threshold: float | None = None,
        search_chunk_limit: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> KnowledgeBase:
        """Change a knowledge base. What is not passed stays as it is.

        As `KnowledgeBases.update`.
        """
        fields = _fields(name, description, search_type, search_score_threshold, search_chunk_limit)
        return await self._run(update(self._settings, knowledge_base_id, changes(fields), workspace_id))

    async def delete(self, knowledge_base_id: str | UUID, *, workspace_id: str | UUID | None = None) -> Done:
        """Delete a knowledge base. What was in it is cleaned up in the background.

        As `KnowledgeBases.delete`.
        """
        return await self._run(delete(self._settings, knowledge_base_id, workspace_id))

    async def search(
        self,
        knowledge_base_id: str | UUID,
        *,
        search_query: str,
        search_type: SearchType = "hybrid",
        search_chunk_limit: int = 5,
        search_score_threshold: float = 0.0,
        workspace_id: str | UUID | None = None,
    ) -> KnowledgeBaseSearch:
        """Search a knowledge base.

        As `KnowledgeBases.search`.
        """
        fields = _search_fields(search_query, search_type, search_chunk_limit, search_score_threshold)
        return await self._run(search(self._settings, knowledge_base_id, fields, workspace_id))


class AsyncKnowledgeBaseItems(AsyncResource):
    """The items in knowledge bases."""

    async def list(
        self, knowledge_base_id: str | UUID, *, workspace_id: str | UUID | None = None
    ) -> ResultList[KnowledgeBaseItem]:
        """List the items of a knowledge base.

        As `KnowledgeBaseItems.list`.
        """
        return await self._run(list_items(self._settings, knowledge_base_id, workspace_id))

    async def get(
        self, knowledge_base_id: str | UUID, item_id: str | UUID, *, workspace_id: str | UUID | None = None
    ) -> KnowledgeBaseItem:
        """Look an item up.

        As `KnowledgeBaseItems.get`.
        """
        return await self._run(get_item(self._settings, knowledge_base_id, item_id, workspace_id))

    async def create(
        self,
        knowledge_base_id: str | UUID,
        *,
        name: str,
        description: str | None = None,
        item_type: ItemType | None = None,
        response_type: str | None = None,
        data_content: str | None = None,
        data_query: str | None = None,
        delete_email_data: Switch | None = None,
        delete_telephone_data: Switch | None = None,
        chunking_strategy: str | None = None,
        chunk_overlap: int | None = None,
        maximum_chunk_length: int | None = None,
        asset_id: str | UUID | None = None,
        workspace_id: str | UUID | None = None,
    ) -> KnowledgeBaseItem:
        """Put an item into a knowledge base.

        As `KnowledgeBaseItems.create`.
        """
        fields = _item_fields(
            _name(name),
            description,
            data_content,
            data_query,
            delete_email_data,
            delete_telephone_data,
            chunking_strategy,
            chunk_overlap,
            maximum_chunk_length,
            item_type,
            response_type,
            asset_id,
        )
        return await self._run(create_item(self._settings, knowledge_base_id, fields, workspace_id))

    async def update(
        self,
        knowledge_base_id: str | UUID,
        item_id: str | UUID,
        *,
        name: str | None = None,
        description: str | None = None,
        data_content: str | None = None,
        data_query: str | None = None,
        delete_email_data: Switch | None = None,
        delete_telephone_data: Switch | None = None,
        chunking_strategy: str | None = None,
        chunk_overlap: int | None = None,
        maximum_chunk_length: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> KnowledgeBaseItem:
        """Change an item. What is not passed stays as it is.

        As `KnowledgeBaseItems.update`.
        """
        fields = _item_fields(
            name,
            description,
            data_content,
            data_query,
            delete_email_data,
            delete_telephone_data,
            chunking_strategy,
            chunk_overlap,
            maximum_chunk_length,
        )
        return await self._run(update_item(self._settings, knowledge_base_id, item_id, changes(fields), workspace_id))

    async def delete(
        self, knowledge_base_id: str | UUID, item_id: str | UUID, *, workspace_id: str | UUID | None = None
    ) -> Done:
        """Delete an item.

        As `KnowledgeBaseItems.delete`.
        """
        return await self._run(delete_item(self._settings, knowledge_base_id, item_id, workspace_id))

    async def regenerate(
        self, knowledge_base_id: str | UUID, item_id: str | UUID, *, workspace_id: str | UUID | None = None
    ) -> Regeneration:
        """Make an item searchable anew, in the background.

        As `KnowledgeBaseItems.regenerate`.
        """
        return await self._run(regenerate_item(self._settings, knowledge_base_id, item_id, workspace_id))
