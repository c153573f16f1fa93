"""Whole programs, as text: what is started anew for each measurement of an import or a cold start."""

from __future__ import annotations

from importlib.util import find_spec

import released
from harness import BODY, KEY, OURS, RELEASED, Options
from server import TEXT

HTTPX_PYDANTIC = "httpx + pydantic"
EMPTY = "an empty program"

FORTY_MODELS = """
import httpx
import pydantic

class Deferred(pydantic.BaseModel, defer_build=True):
    pass

for number in range(40):
    fields = {"a": str, "b": str | None, "c": int, "d": float, "e": list[str], "f": dict[str, int]}
    defaults = {"b": None, "c": 0, "d": 0.0, "e": [], "f": {}}
    type(f"Model{number}", (Deferred,), {"__module__": __name__, "__annotations__": fields, **defaults})
"""

IMPORTS = {
    EMPTY: "",
    OURS: "import fetch_hive_sdk",
    f"{OURS}, a client": "from fetch_hive_sdk import FetchHive; FetchHive(api_key='fhk_x')",
    f"{OURS}, an async client": "from fetch_hive_sdk import AsyncFetchHive; AsyncFetchHive(api_key='fhk_x')",
    "httpx": "import httpx",
    HTTPX_PYDANTIC: "import httpx, pydantic; pydantic.BaseModel",
    f"{HTTPX_PYDANTIC}, 40 deferred models": FORTY_MODELS,
    "aiohttp": "import aiohttp",
    "httpx2": "import httpx2",
    "openai, a client": "import openai; openai.OpenAI(api_key='x')",
    "anthropic, a client": "import anthropic; anthropic.Anthropic(api_key='x')",
    f"{RELEASED}, a client": "from fetch_hive_sdk import FetchHive; FetchHive(api_key='fhk_x')",
}

_SDK = f"""
import sys
from fetch_hive_sdk import FetchHive

client = FetchHive(api_key={KEY!r}, base_url=sys.argv[1])
result = client.invoke_prompt(**{BODY!r})
assert result["response"] == {TEXT!r}
"""
_HTTPX = f"""
import sys
import httpx

client = httpx.Client(headers={{"Authorization": "Bearer {KEY}"}})
answer = client.post(sys.argv[1] + "/prompt/invoke", json={BODY!r})
answer.raise_for_status()
"""

COLD_STARTS = {
    OURS: _SDK,
    RELEASED: _SDK,
    "httpx": f"{_HTTPX}assert answer.json()['response'] == {TEXT!r}\n",
    HTTPX_PYDANTIC: f"""
from pydantic import BaseModel

class PromptResult(BaseModel, extra="allow"):
    request_id: str
    response: str
    model: str | None = None
    usage: dict[str, object] | None = None
    stop_reason: str | None = None

{_HTTPX}
assert PromptResult.model_validate_json(answer.content).response == {TEXT!r}
""",
    "openai": f"""
import sys
import openai

client = openai.OpenAI(api_key={KEY!r}, base_url=sys.argv[1])
answer = client.chat.completions.create(model="gpt-x", messages=[{{"role": "user", "content": "Hello"}}])
assert answer.choices[0].message.content == {TEXT!r}
""",
    "anthropic": f"""
import sys
import anthropic

client = anthropic.Anthropic(api_key={KEY!r}, base_url=sys.argv[1].removesuffix("/v1"))
answer = client.messages.create(model="claude-x", max_tokens=9, messages=[{{"role": "user", "content": "Hello"}}])
assert answer.content[0].text == {TEXT!r}
""",
}


def available(options: Options, programs: dict[str, str]) -> dict[str, tuple[str, dict[str, str] | None]]:
    """The programs whose packages are installed, each with what its environment needs."""
    found: dict[str, tuple[str, dict[str, str] | None]] = {}
    for name, source in programs.items():
        if not options.wants(name):
            continue
        environment = released.environment() if name.startswith(RELEASED) else None
        package = name.partition(",")[0].partition(" ")[0]
        absent = environment is None if name.startswith(RELEASED) else package in _PEERS and find_spec(package) is None
        if absent:
            options.skip(name, "not installed")
        else:
            found[name] = (source, environment)
    return found


_PEERS = {"aiohttp", "httpx2", "openai", "anthropic"}
