"""How each client makes the one call that is measured, and how it reads the stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import httpx
from harness import BODY, KEY, OURS, Options

from fetch_hive_sdk import AsyncFetchHive, FetchHive

OURS_AIOHTTP = f"{OURS} [aiohttp]"
HTTPX = "httpx"
HTTPX_RAISED = "httpx, limits 1000/1000"
RAISED = {"max_connections": 1000, "max_keepalive_connections": 1000}

HEADERS = {"Authorization": f"Bearer {KEY}"}
MESSAGES: list[Any] = [{"role": "user", "content": "The export button is disabled."}]

Call = Callable[[], str]
AsyncCall = Callable[[], Awaitable[str]]
Texts = Callable[[], Iterator[str]]
AsyncTexts = Callable[[], AsyncIterator[str]]


def sync_calls(options: Options, url: str, stack: ExitStack) -> dict[str, Call]:
    """By candidate: make a call with a kept client, and give the answer's text. The stack closes the clients."""
    path = f"{url}/prompt/invoke"
    calls: dict[str, Call] = {}
    ours = stack.enter_context(FetchHive(KEY, url))
    calls[OURS] = lambda: ours.invoke_prompt(**BODY).response
    plain = stack.enter_context(httpx.Client(headers=HEADERS))
    calls[HTTPX] = lambda: plain.post(path, json=BODY).json()["response"]
    if (httpcore := options.peer("httpcore")) is not None:
        pool = stack.enter_context(httpcore.ConnectionPool())
        headers = {**HEADERS, "Content-Type": "application/json"}

        def core() -> str:
            answer = pool.request("POST", path, headers=headers, content=json.dumps(BODY).encode())
            return json.loads(answer.content)["response"]

        calls["httpcore"] = core
    if (httpx2 := options.peer("httpx2")) is not None:
        second = stack.enter_context(httpx2.Client(headers=HEADERS))
        calls["httpx2"] = lambda: second.post(path, json=BODY).json()["response"]
    if (openai := options.peer("openai")) is not None:
        chat = stack.enter_context(openai.OpenAI(api_key=KEY, base_url=url)).chat.completions
        calls["openai"] = lambda: chat.create(model="gpt-x", messages=MESSAGES).choices[0].message.content
    if (anthropic := options.peer("anthropic")) is not None:
        claude = stack.enter_context(anthropic.Anthropic(api_key=KEY, base_url=url.removesuffix("/v1"))).messages
        calls["anthropic"] = lambda: claude.create(model="claude-x", max_tokens=99, messages=MESSAGES).content[0].text
    return calls


async def async_calls(
    options: Options, url: str, stack: AsyncExitStack, *, makers: dict[str, Callable[..., Any]] | None = None
) -> dict[str, AsyncCall]:
    """By candidate, as `sync_calls`. One whose client cannot be made is skipped."""
    calls: dict[str, AsyncCall] = {}
    for name, make in (makers or ASYNC_MAKERS).items():
        if not options.wants(name):
            continue
        try:
            calls[name] = await make(url, stack)
            await calls[name]()
        except ImportError as error:
            calls.pop(name, None)
            options.skip(name, f"{error.name} is not installed")
        except (TypeError, ValueError) as error:  # this version of it has not got that
            if name == OURS:
                raise
            calls.pop(name, None)
            options.skip(name, " ".join(str(error).split()))
    return calls


async def _ours(url: str, stack: AsyncExitStack) -> AsyncCall:
    return await _fetch_hive(AsyncFetchHive(KEY, url), stack)


async def _ours_aiohttp(url: str, stack: AsyncExitStack) -> AsyncCall:
    import aiohttp  # noqa: F401 - what the extra brings

    http_client: Any = "aiohttp"
    return await _fetch_hive(AsyncFetchHive(KEY, url, http_client=http_client), stack)


async def _fetch_hive(client: AsyncFetchHive, stack: AsyncExitStack) -> AsyncCall:
    await stack.enter_async_context(client)

    async def call() -> str:
        return (await client.invoke_prompt(**BODY)).response

    return call


async def _httpx(url: str, stack: AsyncExitStack) -> AsyncCall:
    return await _plain(httpx.AsyncClient(headers=HEADERS, timeout=120), url, stack)


async def _httpx_raised(url: str, stack: AsyncExitStack) -> AsyncCall:
    client = httpx.AsyncClient(headers=HEADERS, limits=httpx.Limits(**RAISED), timeout=120)
    return await _plain(client, url, stack)


async def _httpx2_raised(url: str, stack: AsyncExitStack) -> AsyncCall:
    import httpx2

    return await _plain(httpx2.AsyncClient(headers=HEADERS, limits=httpx2.Limits(**RAISED), timeout=120), url, stack)


async def _httpx_aiohttp(url: str, stack: AsyncExitStack) -> AsyncCall:
    import httpx_aiohttp

    client = httpx_aiohttp.HttpxAiohttpClient(headers=HEADERS, limits=httpx.Limits(**RAISED), timeout=120)
    return await _plain(client, url, stack)


async def _plain(client: Any, url: str, stack: AsyncExitStack) -> AsyncCall:
    path = f"{url}/prompt/invoke"
    await stack.enter_async_context(client)

    async def call() -> str:
        return (await client.post(path, json=BODY)).json()["response"]

    return call


async def _aiohttp(url: str, stack: AsyncExitStack) -> AsyncCall:
    import aiohttp

    path = f"{url}/prompt/invoke"
    connector = aiohttp.TCPConnector(limit=RAISED["max_connections"])
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=HEADERS, connector=connector))

    async def call() -> str:
        async with session.post(path, json=BODY) as answer:
            return (await answer.json())["response"]

    return call


async def _openai(url: str, stack: AsyncExitStack, *, http_client: Any = None) -> AsyncCall:
    import openai

    client = openai.AsyncOpenAI(api_key=KEY, base_url=url, http_client=http_client)
    chat = (await stack.enter_async_context(client)).chat.completions

    async def call() -> str:
        return (await chat.create(model="gpt-x", messages=MESSAGES)).choices[0].message.content or ""

    return call


async def _openai_aiohttp(url: str, stack: AsyncExitStack) -> AsyncCall:
    import openai

    return await _openai(url, stack, http_client=openai.DefaultAioHttpClient())


async def _anthropic(url: str, stack: AsyncExitStack) -> AsyncCall:
    import anthropic

    client = anthropic.AsyncAnthropic(api_key=KEY, base_url=url.removesuffix("/v1"))
    claude: Any = (await stack.enter_async_context(client)).messages

    async def call() -> str:
        return (await claude.create(model="claude-x", max_tokens=99, messages=MESSAGES)).content[0].text

    return call


ASYNC_MAKERS: dict[str, Callable[..., Any]] = {
    OURS: _ours,
    OURS_AIOHTTP: _ours_aiohttp,
    HTTPX: _httpx,
    HTTPX_RAISED: _httpx_raised,
    "httpx2": _httpx2_raised,
    "httpx-aiohttp": _httpx_aiohttp,
    "aiohttp": _aiohttp,
    "openai": _openai,
    "openai [aiohttp]": _openai_aiohttp,
    "anthropic": _anthropic,
}
