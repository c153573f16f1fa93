"""Models that prompts and agents may use."""

from __future__ import annotations

from ..answers import read_json
from ..operations import Operation
from ..results import Entity
from .base import AsyncResource, ResultList, SyncResource, objects

__all__ = ["Model"]


class Model(Entity, frozen=True):
    """One model of a provider.

    Attributes:
        id: Its id.
        name: Its name, for people.
        slug: Its name, for calls.
        provider: Who runs it.
        provider_name: The same, for people.
        context_limit: How many tokens it reads at most.
        model_type: `llm` or `image_generation`.
        is_image_generation: Whether it makes images.
        is_vision: Whether it reads images.
        is_reasoning: Whether it thinks before it answers.
        is_tool_calling: Whether it calls tools.
        is_json_schema: Whether it answers to a JSON schema.
    """

    id: str = ""
    name: str = ""
    slug: str = ""
    provider: str = ""
    provider_name: str = ""
    context_limit: int | None = None
    model_type: str = ""
    is_image_generation: bool = False
    is_vision: bool = False
    is_reasoning: bool = False
    is_tool_calling: bool = False
    is_json_schema: bool = False


def list_models() -> Operation[ResultList[Model]]:
    """GET /public/models."""
    return Operation("GET", "/public/models", b"", _read, effect="nothing")


def _read(data: bytes) -> ResultList[Model]:
    # The bare list is documented; an envelope, as every other list has, would be no surprise.
    answer = read_json(data)
    return ResultList(objects(answer, "data" if isinstance(answer, dict) and "data" in answer else "models", Model))


class Models(SyncResource):
    """Models that prompts and agents may use."""

    def list(self) -> ResultList[Model]:
        """List the models that can be used now.

        Raises:
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(list_models())


class AsyncModels(AsyncResource):
    """Models that prompts and agents may use."""

    async def list(self) -> ResultList[Model]:
        """List the models that can be used now.

        As `Models.list`.
        """
        return await self._run(list_models())
