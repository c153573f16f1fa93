"""Agents of the workspace: what they are, not what they do; `invoke_agent` runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from ..arguments import choice, encoded, filled, given, number, optional_text
from ..jsonable import mapping, plain
from ..operations import Operation
from ..results import Entity
from ..settings import Settings
from ..urls import segment
from .base import AsyncResource, Done, ResultList, SyncResource, changes, enveloped, listed, read_done, workspace

__all__ = ["Agent"]

CacheTTL = Literal["disabled", "5m", "1h"]
ReasoningEffort = Literal["low", "medium", "high", "minimal", "xhigh", "max"]
ToolChoice = Literal["none", "auto", "required"]


class Agent(Entity, frozen=True):
    """An agent. The service does not document what it tells of one: any attribute may be missing.

    Attributes:
        id: The agent's UUID.
        name: Its name.
        description: What it is for.
        llm_model: The model it runs on.
        model_type: The kind of that model.
        provider: Who runs the model.
        instruction_prompt: What it is told to be and do.
        temperature: How freely the model chooses its words.
        max_token: How many tokens an answer has at most.
        max_thinking_token: How many tokens the model thinks at most.
        reasoning_effort: `low`, `medium`, `high`, `minimal`, `xhigh` or `max`.
        tool_choice: `none`, `auto` or `required`.
        max_tool_calls: How often it calls tools at most in one run.
        anthropic_prompt_cache_ttl: `disabled`, `5m` or `1h`.
        tool_approval_mode: Whether its tools wait for approval; set in the dashboard.
        status: Where it stands.
        mcp_tools: Its tools. What is in them is not documented.
    """

    id: str = ""
    name: str = ""
    description: str | None = None
    llm_model: str = ""
    model_type: str = ""
    provider: str | None = None
    instruction_prompt: str | None = None
    temperature: float | None = None
    max_token: int | None = None
    max_thinking_token: int | None = None
    reasoning_effort: str | None = None
    tool_choice: str | None = None
    max_tool_calls: int | None = None
    anthropic_prompt_cache_ttl: str | None = None
    tool_approval_mode: str | None = None
    status: str = ""
    mcp_tools: tuple[Any, ...] = ()


def list_agents(settings: Settings, workspace_id: object) -> Operation[ResultList[Agent]]:
    """GET /public/workspaces/{workspace_id}/agents."""
    return Operation("GET", _path(settings, workspace_id), b"", listed("agents", Agent), effect="nothing")


def get(settings: Settings, agent_id: object, workspace_id: object) -> Operation[Agent]:
    """GET /public/workspaces/{workspace_id}/agents/{agent_id}."""
    path = _path(settings, workspace_id, agent_id)
    return Operation("GET", path, b"", enveloped("agent", Agent), effect="nothing")


def create(settings: Settings, fields: Mapping[str, Any], workspace_id: object) -> Operation[Agent]:
    """POST /public/workspaces/{workspace_id}/agents."""
    body = encoded({"agent": plain(mapping("agent", fields), "agent")})
    return Operation("POST", _path(settings, workspace_id), body, enveloped("agent", Agent), effect="change")


def update(settings: Settings, agent_id: object, fields: Mapping[str, Any], workspace_id: object) -> Operation[Agent]:
    """PATCH /public/workspaces/{workspace_id}/agents/{agent_id}."""
    path = _path(settings, workspace_id, agent_id)
    body = encoded({"agent": plain(mapping("agent", fields), "agent")})
    return Operation("PATCH", path, body, enveloped("agent", Agent), effect="nothing")


def delete(settings: Settings, agent_id: object, workspace_id: object) -> Operation[Done]:
    """DELETE /public/workspaces/{workspace_id}/agents/{agent_id}."""
    return Operation("DELETE", _path(settings, workspace_id, agent_id), b"", read_done, effect="nothing")


def _path(settings: Settings, workspace_id: object, *agent_id: object) -> str:
    agents = f"{workspace(settings, workspace_id)}/agents"
    return "/".join([agents, *(segment("agent_id", one) for one in agent_id)])


def _fields(
    *,
    name: object,
    llm_model: object,
    model_type: object,
    description: object,
    instruction_prompt: object,
    temperature: object,
    max_token: object,
    max_thinking_token: object = None,
    reasoning_effort: object = None,
    tool_choice: object = None,
    max_tool_calls: object = None,
    anthropic_prompt_cache_ttl: object = None,
) -> dict[str, Any]:
    """What is told of an agent, checked, without what is None."""
    return given(
        name=_filled("name", name),
        llm_model=_filled("llm_model", llm_model),
        model_type=_filled("model_type", model_type),
        description=optional_text("description", description),
        instruction_prompt=optional_text("instruction_prompt", instruction_prompt),
        temperature=number("temperature", temperature),
        max_token=number("max_token", max_token, whole=True),
        max_thinking_token=number("max_thinking_token", max_thinking_token, whole=True),
        reasoning_effort=choice(
            "reasoning_effort", reasoning_effort, "low", "medium", "high", "minimal", "xhigh", "max"
        ),
        tool_choice=choice("tool_choice", tool_choice, "none", "auto", "required"),
        max_tool_calls=number("max_tool_calls", max_tool_calls, whole=True),
        anthropic_prompt_cache_ttl=choice(
            "anthropic_prompt_cache_ttl", anthropic_prompt_cache_ttl, "disabled", "5m", "1h"
        ),
    )


def _filled(field_name: str, value: object) -> str | None:
    return None if value is None else filled(field_name, value, f"Pass the agent's {field_name}.")


def _required(**fields: object) -> None:
    for name, value in fields.items():
        filled(name, value, f"Pass the agent's {name}.")


class Agents(SyncResource):
    """The workspace's agents."""

    def list(self, *, workspace_id: str | UUID | None = None) -> ResultList[Agent]:
        """List the workspace's agents, as far as they stand by themselves.

        Args:
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The key does not belong to this workspace.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(list_agents(self._settings, workspace_id))

    def get(self, agent_id: str | UUID, *, workspace_id: str | UUID | None = None) -> Agent:
        """Look an agent up.

        Args:
            agent_id: The agent's UUID.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The key does not belong to this workspace.
            UnprocessableEntityError: There is no such agent.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(get(self._settings, agent_id, workspace_id))

    def create(
        self,
        *,
        name: str,
        llm_model: str,
        model_type: str,
        description: str | None = None,
        instruction_prompt: str | None = None,
        temperature: float | None = None,
        max_token: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> Agent:
        """Make an agent.

        Args:
            name: Its name.
            llm_model: The model it runs on; `models.list()` tells which there are.
            model_type: The kind of that model.
            description: What it is for.
            instruction_prompt: What it is told to be and do.
            temperature: How freely the model chooses its words.
            max_token: How many tokens an answer has at most.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The key does not belong to this workspace.
            UnprocessableEntityError: The service takes no such agent; there is no such model, perhaps.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came; `may_have_run` says whether the agent may be there.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        _required(name=name, llm_model=llm_model, model_type=model_type)
        fields = _fields(
            name=name,
            llm_model=llm_model,
            model_type=model_type,
            description=description,
            instruction_prompt=instruction_prompt,
            temperature=temperature,
            max_token=max_token,
        )
        return self._run(create(self._settings, fields, workspace_id))

    def update(
        self,
        agent_id: str | UUID,
        *,
        name: str | None = None,
        llm_model: str | None = None,
        model_type: str | None = None,
        description: str | None = None,
        instruction_prompt: str | None = None,
        temperature: float | None = None,
        max_token: int | None = None,
        max_thinking_token: int | None = None,
        reasoning_effort: ReasoningEffort | None = None,
        tool_choice: ToolChoice | None = None,
        max_tool_calls: int | None = None,
        anthropic_prompt_cache_ttl: CacheTTL | None = None,
        workspace_id: str | UUID | None = None,
    ) -> Agent:
        """Change an agent. What is not passed stays as it is, and nothing can be set to null.

        `tool_approval_mode` is changed in the dashboard alone: the service rejects it here.

        Args:
            agent_id: The agent's UUID.
            name: Its name.
            llm_model: The model it runs on; `models.list()` tells which there are.
            model_type: The kind of that model.
            description: What it is for.
            instruction_prompt: What it is told to be and do.
            temperature: How freely the model chooses its words.
            max_token: How many tokens an answer has at most.
            max_thinking_token: How many tokens the model thinks at most.
            reasoning_effort: How much the model thinks.
            tool_choice: Whether it may or must call tools.
            max_tool_calls: How often it calls tools at most in one run.
            anthropic_prompt_cache_ttl: How long the provider keeps the prompt, for Anthropic's models.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong, or there is nothing to change; nothing was sent.
            NotFoundError: The key does not belong to this workspace.
            UnprocessableEntityError: There is no such agent, or the service takes no such change.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        fields = _fields(
            name=name,
            llm_model=llm_model,
            model_type=model_type,
            description=description,
            instruction_prompt=instruction_prompt,
            temperature=temperature,
            max_token=max_token,
            max_thinking_token=max_thinking_token,
            reasoning_effort=reasoning_effort,
            tool_choice=tool_choice,
            max_tool_calls=max_tool_calls,
            anthropic_prompt_cache_ttl=anthropic_prompt_cache_ttl,
        )
        return self._run(update(self._settings, agent_id, changes(fields), workspace_id))

    def delete(self, agent_id: str | UUID, *, workspace_id: str | UUID | None = None) -> Done:
        """Delete an agent.

        Args:
            agent_id: The agent's UUID.
            workspace_id: The workspace. Default: the client's.

        Raises:
            InvalidRequestError: An argument is wrong; nothing was sent.
            NotFoundError: The key does not belong to this workspace.
            UnprocessableEntityError: There is no such agent; where the first attempt was not answered, it may have
                been deleted by it.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(delete(self._settings, agent_id, workspace_id))


class AsyncAgents(AsyncResource):
    """The workspace's agents."""

    async def list(self, *, workspace_id: str | UUID | None = None) -> ResultList[Agent]:
        """List the workspace's agents, as far as they stand by themselves.

        As `Agents.list`.
        """
        return await self._run(list_agents(self._settings, workspace_id))

    async def get(self, agent_id: str | UUID, *, workspace_id: str | UUID | None = None) -> Agent:
        """Look an agent up.

        As `Agents.get`.
        """
        return await self._run(get(self._settings, agent_id, workspace_id))

    async def create(
        self,
        *,
        name: str,
        llm_model: str,
        model_type: str,
        description: str | None = None,
        instruction_prompt: str | None = None,
        temperature: float | None = None,
        max_token: int | None = None,
        workspace_id: str | UUID | None = None,
    ) -> Agent:
        """Make an agent.

        As `Agents.create`.
        """
        _required(name=name, llm_model=llm_model, model_type=model_type)
        fields = _fields(
            name=name,
            llm_model=llm_model,
            model_type=model_type,
            description=description,
            instruction_prompt=instruction_prompt,
            temperature=temperature,
            max_token=max_token,
        )
        return await self._run(create(self._settings, fields, workspace_id))

    async def update(
        self,
        agent_id: str | UUID,
        *,
        name: str | None = None,
        llm_model: str | None = None,
        model_type: str | None = None,
        description: str | None = None,
        instruction_prompt: str | None = None,
        temperature: float | None = None,
        max_token: int | None = None,
        max_thinking_token: int | None = None,
        reasoning_effort: ReasoningEffort | None = None,
        tool_choice: ToolChoice | None = None,
        max_tool_calls: int | None = None,
        anthropic_prompt_cache_ttl: CacheTTL | None = None,
        workspace_id: str | UUID | None = None,
    ) -> Agent:
        """Change an agent. What is not passed stays as it is, and nothing can be set to null.

        As `Agents.update`.
        """
        fields = _fields(
            name=name,
            llm_model=llm_model,
            model_type=model_type,
            description=description,
            instruction_prompt=instruction_prompt,
            temperature=temperature,
            max_token=max_token,
            max_thinking_token=max_thinking_token,
            reasoning_effort=reasoning_effort,
            tool_choice=tool_choice,
            max_tool_calls=max_tool_calls,
            anthropic_prompt_cache_ttl=anthropic_prompt_cache_ttl,
        )
        return await self._run(update(self._settings, agent_id, changes(fields), workspace_id))

    async def delete(self, agent_id: str | UUID, *, workspace_id: str | UUID | None = None) -> Done:
        """Delete an agent.

        As `Agents.delete`.
        """
        return await self._run(delete(self._settings, agent_id, workspace_id))
