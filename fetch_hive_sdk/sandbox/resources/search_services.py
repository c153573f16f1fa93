"""The countries that search services know, and how each wants a country to be named. Both services are examples."""

from __future__ import annotations

from typing import Any

from ..refusals import Refusal
from .desk import Call, Desk, Handler

__all__ = ["ROUTES"]

_COUNTRIES = {
    "AU": "Australia",
    "BR": "Brazil",
    "CA": "Canada",
    "DE": "Germany",
    "ES": "Spain",
    "FR": "France",
    "GB": "United Kingdom",
    "IN": "India",
    "JP": "Japan",
    "US": "United States",
}


def _catalog(service: str, name: str, field: str, value_format: str) -> dict[str, Any]:
    return {
        "service": service,
        "name": name,
        "country_value_field": field,
        "country_value_format": value_format,
        "countries": [
            {"country_name": country, "alpha2": alpha2, "value": alpha2 if value_format == "alpha2" else country}
            for alpha2, country in _COUNTRIES.items()
        ],
    }


_SERVICES = {
    "google_search": _catalog("google_search", "Google Search", "location", "country_name"),
    "google_news": _catalog("google_news", "Google News", "country", "alpha2"),
}


def _all(_desk: Desk, _call: Call) -> dict[str, Any]:
    return {"services": list(_SERVICES.values())}


def _one(_desk: Desk, call: Call) -> dict[str, Any]:
    service = call.values[0]
    if service not in _SERVICES:
        supported = {"supported_services": list(_SERVICES)}
        raise Refusal(f"Unsupported search service: {service}", status=404, code=None, more=supported)
    return _SERVICES[service]


ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/public/search_services/countries", _all),
    ("GET", "/public/search_services/{}/countries", _one),
]
