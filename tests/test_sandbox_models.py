"""The lists that only tell: models, and the countries that search services know."""

from __future__ import annotations

import pytest

from fetch_hive_sdk.sandbox import Sandbox
from fetch_hive_sdk.sandbox.resources.models import find_model

from .sandbox_requests import ask, look_up, read

COUNTRIES = "/public/search_services"


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


def test_models_are_a_bare_array(sandbox: Sandbox) -> None:
    """Models are listed without an object around them, each with every documented field."""
    models = look_up(sandbox, "/public/models")
    assert models[0] == {
        "id": "00000000-0000-7000-8000-000000000201",
        "name": "Sandbox small",
        "slug": "sandbox-small",
        "provider": "sandbox",
        "provider_name": "Sandbox",
        "context_limit": 16_000,
        "model_type": "llm",
        "is_image_generation": False,
        "is_vision": False,
        "is_reasoning": False,
        "is_tool_calling": True,
        "is_json_schema": False,
    }
    assert all(set(model) == set(models[0]) for model in models)
    assert len({model["id"] for model in models}) == len(models)


def test_each_ability_of_models_is_there_to_try(sandbox: Sandbox) -> None:
    """Among the models there is one with, and one without, each ability; the one that makes images is of that type."""
    models = look_up(sandbox, "/public/models")
    for ability in ("is_image_generation", "is_vision", "is_reasoning", "is_tool_calling", "is_json_schema"):
        assert {model[ability] for model in models} == {True, False}
    assert [model["slug"] for model in models if model["model_type"] == "image_generation"] == ["sandbox-image"]
    assert {model["is_image_generation"] for model in models if model["model_type"] == "llm"} == {False}


def test_models_need_a_key(sandbox: Sandbox) -> None:
    """Without a key no models are told."""
    assert ask(sandbox, "", b"", method="GET", path="/v1/public/models", headers={}).status == 401


@pytest.mark.parametrize("text", ["sandbox-vision", "Sandbox vision", "00000000-0000-7000-8000-000000000203"])
def test_a_model_is_known_by_slug_name_and_id(text: str) -> None:
    """Which of them an agent's `llm_model` is, is not documented: all three mean the model."""
    model = find_model(text)
    assert model is not None
    assert model["slug"] == "sandbox-vision"


def test_search_services_tell_their_countries_without_a_key(sandbox: Sandbox) -> None:
    """Both ways to name a country have a service, and each country's value is written that way."""
    reply = ask(sandbox, "", b"", method="GET", path=f"/v1{COUNTRIES}/countries", headers={})
    services = read(reply)["services"]
    assert {key: value for key, value in services[0].items() if key != "countries"} == {
        "service": "google_search",
        "name": "Google Search",
        "country_value_field": "location",
        "country_value_format": "country_name",
    }
    assert [service["country_value_format"] for service in services] == ["country_name", "alpha2"]
    for service in services:
        for country in service["countries"]:
            assert country["value"] == country[service["country_value_format"]]
        assert {"country_name": "Japan", "alpha2": "JP"}.items() <= service["countries"][8].items()
        one = ask(sandbox, "", b"", method="GET", path=f"/v1{COUNTRIES}/{service['service']}/countries", headers={})
        assert read(one) == service


def test_an_unsupported_search_service_is_not_found(sandbox: Sandbox) -> None:
    """The 404 names the services there are, as documented."""
    reply = ask(sandbox, "", b"", method="GET", path=f"/v1{COUNTRIES}/altavista/countries", headers={})
    told = read(reply)
    assert reply.status == 404
    assert told["error"] == "Unsupported search service: altavista"
    assert told["supported_services"] == ["google_search", "google_news"]
