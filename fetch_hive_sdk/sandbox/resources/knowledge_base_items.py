"""What is in a knowledge base: its items, each cut into passages that a search finds.

The sandbox contacts nobody: of a website it knows what the request says of it. `response_type`, `data_query`,
`chunking_strategy` and the two about e-mail addresses and telephone numbers are kept and told, but change nothing.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from ..ids import request_id_of_uuid, uuid_of_request_id
from ..objects import SPACELESS
from ..refusals import Refusal
from .desk import Call, Desk, Handler, Object, invalid, listing_errors, one_of, typed, wrapped
from .knowledge_bases import ITEM, known_knowledge_base

__all__ = ["ROUTES", "passages"]

ITEM_TYPES = ("custom", "website_scrape", "document")
LISTED = ("id", "name", "knowledge_base_id", "item_type", "run_status", "status")
DEFAULT_LENGTH = 1000  # characters of a passage
MOST_PASSAGES = 50_000  # of one item: all other requests wait until they are written

_WORD = re.compile(rf"[{SPACELESS}]|[^\s{SPACELESS}]+")
_Reader = Callable[[Object, str], Any]


def _text(given: Object, key: str) -> Any:
    return typed(given, key, str)


def _switch(given: Object, key: str) -> Any:
    return one_of(given, key, ("enabled", "disabled")) or "disabled"


_FIELDS: dict[str, _Reader] = {
    "name": lambda given, key: typed(given, key, str, required=True),
    "description": _text,
    "data_content": _text,
    "data_query": _text,
    "delete_email_data": _switch,
    "delete_telephone_data": _switch,
    "chunking_strategy": _text,
    "chunk_overlap": lambda given, key: _whole(given, key, at_least=0),
    "maximum_chunk_length": lambda given, key: _whole(given, key, at_least=1),
}
# These stay as the item was made with them.
_LASTING: dict[str, _Reader] = {
    "item_type": lambda given, key: one_of(given, key, ITEM_TYPES) or "custom",
    "response_type": _text,
    "asset_id": _text,
}


def passages(text: str, *, length: int, overlap: int) -> Iterator[str]:
    """A text in pieces of whole words.

    Args:
        text: What is cut.
        length: Characters of a piece at most; a longer word is a piece by itself. In Chinese and Japanese each
            character counts as a word.
        overlap: Characters at the end of each piece with which the next one begins again, as far as they are whole
            words. More than half of `length` counts as half.
    """
    overlap = min(overlap, length // 2)
    # There may be millions of words, which as objects would fill the memory.
    starts = array("q", (match.start() for match in _WORD.finditer(text)))
    ends = array("q", (match.end() for match in _WORD.finditer(text)))
    first = 0
    while first < len(starts):
        start = starts[first]
        after = first + 1
        while after < len(ends) and ends[after] - start <= length:
            after += 1
        end = ends[after - 1]
        yield text[start:end]
        first = after
        # Repeated words must leave room for a new one. After the last word there is none.
        while after < len(ends) and _repeats(starts[first - 1], end, ends[after], length, overlap):
            first -= 1


def _repeats(start: int, end: int, new_end: int, length: int, overlap: int) -> bool:
    """True if a piece may begin at `start` again, where the last one ended at `end` and a new word at `new_end`."""
    return end - start <= overlap and new_end - start <= length


def _list(desk: Desk, call: Call) -> Any:
    knowledge_base = known_knowledge_base(desk, call.values[0])
    items = desk.objects.all(ITEM, parent=knowledge_base["id"])
    return {"knowledge_base_items": [{key: item[key] for key in LISTED} for item in items]}


def _get(desk: Desk, call: Call) -> Any:
    return {ITEM: _known(desk, call)}


@listing_errors
def _create(desk: Desk, call: Call) -> Any:
    knowledge_base = known_knowledge_base(desk, call.values[0])
    given = wrapped(call.json(), ITEM)
    item: Object = {
        "id": desk.new_id(),
        "knowledge_base_id": knowledge_base["id"],
        **{key: read(given, key) for key, read in (_FIELDS | _LASTING).items()},
        "run_status": "completed",
        "status": "active",
        "generated_at": desk.clock().isoformat(),
    }
    if item["asset_id"] is not None and desk.objects.get("asset", item["asset_id"]) is None:
        raise invalid("asset_id is not known")
    desk.objects.add(ITEM, item["id"], item, parent=knowledge_base["id"])
    _index(desk, item)
    return {"message": "Item created.", ITEM: item}


@listing_errors
def _update(desk: Desk, call: Call) -> Any:
    item = _known(desk, call)
    given = wrapped(call.json(), ITEM)
    item |= {key: read(given, key) for key, read in _FIELDS.items() if key in given}
    desk.objects.save(ITEM, item["id"], item)
    _index(desk, item)
    return {"message": "Item updated.", ITEM: item}


def _delete(desk: Desk, call: Call) -> Any:
    item = _known(desk, call)
    desk.objects.remove(ITEM, item["id"])
    desk.objects.unindex(item["id"])
    return {"message": "Item deleted."}


def _regenerate(desk: Desk, call: Call) -> Any:
    """Done at once. What a look-up tells of it is kept as an object, since it is no run."""
    item = _known(desk, call)
    _index(desk, item)
    request_id = request_id_of_uuid(desk.new_id())
    now = desk.clock().isoformat()
    request: Object = {
        "id": uuid_of_request_id(request_id),
        "request_id": request_id,
        "status": "completed",
        "request_type": ITEM,
        "requestable_type": None,
        "requestable_id": item["id"],
        "message": None,
        "generated_at": now,
        "started_at": now,
        "ended_at": now,
        "metadata": {},
        "user_metadata": {},
        "data": None,
    }
    desk.objects.add("request", request_id, request)
    return {"message": "Item is being regenerated.", "request_id": request_id}


def _known(desk: Desk, call: Call) -> Object:
    knowledge_base_id, item_id = call.values
    known_knowledge_base(desk, knowledge_base_id)
    item = desk.objects.get(ITEM, item_id, parent=knowledge_base_id)
    if item is None:
        raise Refusal("Item not found.", status=422, code=None)
    return item


def _whole(given: Object, key: str, *, at_least: int) -> Any:
    number = typed(given, key, int)
    if number is not None and number < at_least:
        raise invalid(f"{key} must be at least {at_least}")
    return number


def _index(desk: Desk, item: Object) -> None:
    length = item["maximum_chunk_length"] or DEFAULT_LENGTH
    cut = passages(_content(desk, item), length=length, overlap=item["chunk_overlap"] or 0)
    texts = list(islice(cut, MOST_PASSAGES + 1))
    if len(texts) > MOST_PASSAGES:
        raise invalid(f"the text makes more than {MOST_PASSAGES} passages; raise maximum_chunk_length")
    desk.objects.index(item["knowledge_base_id"], item["id"], texts)


def _content(desk: Desk, item: Object) -> str:
    """What can be found of an item: its text; that of its asset; or of a website, what is said of it."""
    if item["item_type"] == "website_scrape":
        return "\n".join(filter(None, (item["name"], item["description"], item["data_content"])))
    if item["item_type"] == "document" and item["asset_id"] is not None:
        return _text_of_asset(desk, item["asset_id"])
    return item["data_content"] or ""


def _text_of_asset(desk: Desk, asset_id: str) -> str:
    try:
        return (desk.objects.file(asset_id) or b"").decode("utf-8-sig")
    except UnicodeDecodeError:  # no text: then only its name says what it is
        asset = desk.objects.get("asset", asset_id) or {}
        return asset.get("file_name") or ""


_PATH = "/public/workspaces/{}/knowledge_bases/{}/items"
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", _PATH, _list),
    ("POST", _PATH, _create),
    ("GET", f"{_PATH}/{{}}", _get),
    ("PATCH", f"{_PATH}/{{}}", _update),
    ("DELETE", f"{_PATH}/{{}}", _delete),
    ("POST", f"{_PATH}/{{}}/regenerate", _regenerate),
]
