"""Search services: what the calls send without a key, and what they give back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import InvalidRequestError, NotFoundError, RetryPolicy
from fetch_hive_sdk.resources.base import ResultList
from fetch_hive_sdk.resources.search_services import SearchCountry, SearchService

pytestmark = pytest.mark.anyio

BASE = "https://api.fetchhive.com/v1/public/search_services"
COUNTRY = {"country_name": "Norway", "alpha2": "NO", "value": "no"}
SERVICE = {
    "service": "google_search",
    "name": "Google Search",
    "country_value_field": "country",
    "country_value_format": "alpha2",
    "countries": [COUNTRY, {}],
}


def check(service: Any) -> None:
    """That a service is typed, and has every documented field."""
    assert (SearchService, SERVICE) == (type(service), service.to_dict())
    assert SERVICE == {**{name: getattr(service, name) for name in SERVICE}, "countries": list(service.countries)}
    country, bare = service.countries
    assert type(country) is SearchCountry
    assert COUNTRY == {name: getattr(country, name) for name in COUNTRY}
    assert ("", "", "") == (bare.country_name, bare.alpha2, bare.value)


async def test_list(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """The list is one GET without the key."""
    httpx_mock.add_response(json={"services": [SERVICE, {}]})
    async with make_client() as client:
        services = await client.search_services.list()
    [request] = httpx_mock.get_requests()
    assert ("GET", f"{BASE}/countries", b"") == (request.method, str(request.url), request.content)
    assert "Authorization" not in request.headers
    assert type(services) is ResultList
    assert ("", ()) == (services[1].service, services[1].countries)
    assert {"services": [SERVICE, {}]} == services.http_response.json()
    check(services[0])


@pytest.mark.parametrize(("name", "sent"), [("google_search", "google_search"), ("a/b c", "a%2Fb%20c")])
async def test_get(make_client: Callable[..., Any], httpx_mock: HTTPXMock, name: str, sent: str) -> None:
    """One service is one GET without the key, its name escaped."""
    httpx_mock.add_response(json=SERVICE)
    async with make_client() as client:
        service = await client.search_services.get(name)
    [request] = httpx_mock.get_requests()
    assert f"{BASE}/{sent}/countries".endswith(request.url.raw_path.decode())
    assert "Authorization" not in request.headers
    assert 200 == service.http_response.status_code
    check(service)


@pytest.mark.parametrize(
    ("service", "message"),
    [("", "service: it is empty."), (None, "service: None is not allowed."), ("..", "service: '..' is not an id.")],
)
async def test_refused(make_client: Callable[..., Any], service: Any, message: str) -> None:
    """A name that is none is refused, and nothing is sent."""
    async with make_client() as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.search_services.get(service)
    assert message == caught.value.message


async def test_unknown_service(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A service that does not exist is a NotFoundError that lists those that do."""
    body = {"error": "Unsupported search service", "supported_services": ["google_search"]}
    httpx_mock.add_response(404, json=body)
    async with make_client() as client:
        with pytest.raises(NotFoundError, match="Unsupported search service") as caught:
            await client.search_services.get("bing")
    assert body == caught.value.body


async def test_repeated(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """After a 500 both calls are made again."""
    httpx_mock.add_response(500)
    httpx_mock.add_response(json={"services": []})
    httpx_mock.add_response(500)
    httpx_mock.add_response(json=SERVICE)
    async with make_client(retry_policy=RetryPolicy(initial_delay=0)) as client:
        assert [] == await client.search_services.list()
        assert SERVICE == await client.search_services.get("google_search")
