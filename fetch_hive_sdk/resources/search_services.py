"""Search services, and the countries they search in."""

from __future__ import annotations

from ..operations import Operation
from ..results import Entity, Part
from ..urls import segment
from .base import AsyncResource, ResultList, SyncResource, listed

__all__ = ["SearchCountry", "SearchService"]


class SearchCountry(Part, frozen=True):
    """A country that a service searches in.

    Attributes:
        country_name: Its name.
        alpha2: Its code of two letters, ISO 3166-1.
        value: What to pass to the service.
    """

    country_name: str = ""
    alpha2: str = ""
    value: str = ""


class SearchService(Entity, frozen=True):
    """A search service.

    Attributes:
        service: Its name, for calls.
        name: Its name, for people.
        country_value_field: The input that takes a country's `value`.
        country_value_format: What a `value` is: `country_name` or `alpha2`.
        countries: The countries it searches in.
    """

    service: str = ""
    name: str = ""
    country_value_field: str = ""
    country_value_format: str = ""
    countries: tuple[SearchCountry, ...] = ()


def list_services() -> Operation[ResultList[SearchService]]:
    """GET /public/search_services/countries, which needs no key."""
    read = listed("services", SearchService)
    return Operation("GET", "/public/search_services/countries", b"", read, effect="nothing", with_key=False)


def get(service: object) -> Operation[SearchService]:
    """GET /public/search_services/{service}/countries, which needs no key."""
    path = f"/public/search_services/{segment('service', service)}/countries"
    return Operation("GET", path, b"", SearchService.from_json, effect="nothing", with_key=False)


class SearchServices(SyncResource):
    """Search services, and the countries they search in."""

    def list(self) -> ResultList[SearchService]:
        """List the search services. No key is sent.

        Raises:
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(list_services())

    def get(self, service: str) -> SearchService:
        """Look one search service up. No key is sent.

        Args:
            service: Its `service` name, from the list.

        Raises:
            InvalidRequestError: The name is no str, or empty; nothing was sent.
            NotFoundError: There is no such service; `error.body` may list `supported_services`.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(get(service))


class AsyncSearchServices(AsyncResource):
    """Search services, and the countries they search in."""

    async def list(self) -> ResultList[SearchService]:
        """List the search services. No key is sent.

        As `SearchServices.list`.
        """
        return await self._run(list_services())

    async def get(self, service: str) -> SearchService:
        """Look one search service up. No key is sent.

        As `SearchServices.get`.
        """
        return await self._run(get(service))
