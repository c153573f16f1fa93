"""A knowledge base: filled with a text and an uploaded file, waited for, searched, and deleted again.

export FETCH_HIVE_API_KEY=fhk_...
export FETCH_HIVE_WORKSPACE_ID=...   # the workspace of the key
python examples/knowledge_base.py
"""

import json
import tempfile
from pathlib import Path

from fetch_hive_sdk import FetchHive, RequestRecord


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, FetchHive() as client:
        kb = client.knowledge_bases.create(name="Help pages of an example", search_type="full_text")
        try:
            client.knowledge_bases.items.create(
                kb.id,
                name="Export",
                item_type="custom",
                data_content="The export button is in the File menu. It needs the role Editor.",
            )

            handbook = Path(folder, "handbook.md")
            handbook.write_text("# Invoices\n\nInvoices are sent on the first day of a month.\n", encoding="utf-8")
            asset = client.assets.upload(handbook, on_progress=lambda sent, total: print(f"{sent} of {total} bytes"))
            item = client.knowledge_bases.items.create(kb.id, name="Handbook", item_type="document", asset_id=asset.id)

            # Reading a document takes its time. This waits for it, without a callback.
            work = client.knowledge_bases.items.regenerate(kb.id, item.id)
            client.requests.wait(work.request_id, timeout=300, on_poll=show)

            found = client.knowledge_bases.search(kb.id, search_query="invoices", search_type="full_text")
            # What is in `response` is not documented: look at it before you rely on it.
            print(json.dumps(found.response)[:40])
        finally:
            print(client.knowledge_bases.delete(kb.id).message)


def show(record: RequestRecord) -> None:
    print(f"{record.request_id}: {record.status}")


if __name__ == "__main__":
    from _sandbox import sandbox_without_key

    with sandbox_without_key():
        main()
