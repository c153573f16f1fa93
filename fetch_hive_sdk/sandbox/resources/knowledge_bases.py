"""Knowledge bases, and searching in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..refusals import Refusal
from .desk import Call, Desk, Handler, Object, invalid, one_of, typed, wrapped

__all__ = ["ITEM", "ROUTES", "known_knowledge_base"]

NOUN = "knowledge_base"
ITEM = "knowledge_base_item"
SEARCH_TYPES = ("hybrid", "vector", "full_text")
MOST_CHUNKS = 20  # that one search may ask for

_DEFAULTS: Object = {
    "description": None,
    "search_type": "hybrid",
    "search_score_threshold": 0.0,
    "search_chunk_limit": 5,
}
_FIELDS: dict[str, Callable[[Object, str], Any]] = {
    "name": lambda given, key: typed(given, key, str, required=True),
    "description": lambda given, key: typed(given, key, str),
    "search_type": lambda given, key: one_of(given, key, SEARCH_TYPES),
    "search_score_threshold": lambda given, key: typed(given, key, float),
    "search_chunk_limit": lambda given, key: typed(given, key, int),
}


def known_knowledge_base(desk: Desk, id: str) -> Object:  # noqa: A002 - what it is
    """A knowledge base as it is kept.

    Raises:
        Refusal: 422: there is none with this id.
    """
    knowledge_base = desk.objects.get(NOUN, id)
    if knowledge_base is None:
        raise Refusal("Data set not found.", status=422, code=None)
    return knowledge_base


def _list(desk: Desk, _call: Call) -> Any:
    return {"knowledge_bases": [_told(desk, one) for one in desk.objects.all(NOUN)]}


def _get(desk: Desk, call: Call) -> Any:
    return {NOUN: _told(desk, known_knowledge_base(desk, call.values[0]))}


def _create(desk: Desk, call: Call) -> Any:
    given = wrapped(call.json(), NOUN)
    knowledge_base: Object = {
        "id": desk.new_id(),
        **_DEFAULTS,
        **_settings({"name": None, **given}),
        "generated_at": desk.clock().isoformat(),
        "status": "active",
    }
    desk.objects.add(NOUN, knowledge_base["id"], knowledge_base)
    return {"message": "Knowledge base created.", NOUN: _told(desk, knowledge_base)}


def _update(desk: Desk, call: Call) -> Any:
    known = known_knowledge_base(desk, call.values[0])
    knowledge_base = known | _settings(wrapped(call.json(), NOUN))
    desk.objects.save(NOUN, knowledge_base["id"], knowledge_base)
    return {"message": "Knowledge base updated.", NOUN: _told(desk, knowledge_base)}


def _delete(desk: Desk, call: Call) -> Any:
    id = known_knowledge_base(desk, call.values[0])["id"]  # noqa: A001 - what it is
    desk.objects.remove(NOUN, id)
    desk.objects.remove_children(ITEM, id)
    desk.objects.unindex_group(id)
    return {"message": "Knowledge base deleted."}


def _search(desk: Desk, call: Call) -> Any:
    """Full text, whatever the search type: the sandbox has no embeddings."""
    knowledge_base = known_knowledge_base(desk, call.values[0])
    given = call.json()
    query = typed(given, "search_query", str, required=True)
    one_of(given, "search_type", SEARCH_TYPES, required=True)
    limit = typed(given, "search_chunk_limit", int, required=True)
    threshold = typed(given, "search_score_threshold", float, required=True)
    if not 1 <= limit <= MOST_CHUNKS:
        raise invalid(f"search_chunk_limit must be from 1 to {MOST_CHUNKS}")
    if not 0 <= threshold <= 1:
        raise invalid("search_score_threshold must be from 0 to 1")
    passages = [
        passage
        for passage in desk.objects.search(knowledge_base["id"], query, limit=limit)
        if passage.score >= threshold
    ]
    items = {id: desk.objects.get(ITEM, id) or {} for id in {passage.id for passage in passages}}  # noqa: A001
    found: list[Object] = [
        {
            "knowledge_base_item_id": passage.id,
            "name": items[passage.id].get("name"),
            "content": passage.text,
            "score": round(passage.score, 6),
        }
        for passage in passages
    ]
    return {"message": "Search completed.", "response": {desk.choices.search_results_key: found}}


def _settings(given: Object) -> Object:
    """Those of the fields a caller may set that are given; one that is null has its default again."""
    values = {key: read(given, key) for key, read in _FIELDS.items() if key in given}
    return {key: _DEFAULTS[key] if value is None else value for key, value in values.items()}


def _told(desk: Desk, knowledge_base: Object) -> Object:
    search_type = knowledge_base["search_type"]
    return {
        **knowledge_base,
        "data_item_count": desk.objects.count(ITEM, parent=knowledge_base["id"]),
        "search_score_threshold": str(knowledge_base["search_score_threshold"]),
        "is_active": knowledge_base["status"] == "active",
        "is_archived": knowledge_base["status"] == "archived",
        "is_hybrid_search": search_type == "hybrid",
        "is_vector_search": search_type == "vector",
        "is_full_text_search": search_type == "full_text",
    }


_PATH = "/public/workspaces/{}/knowledge_bases"
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", _PATH, _list),
    ("POST", _PATH, _create),
    ("GET", f"{_PATH}/{{}}", _get),
    ("PATCH", f"{_PATH}/{{}}", _update),
    ("DELETE", f"{_PATH}/{{}}", _delete),
    ("POST", f"{_PATH}/{{}}/search", _search),
]
