"""Routes the messages of some tenants to the new version of a node.

Rules: it decides by what the request shows, and has no opinion where a router has no new version, or nothing else. What
it raises would fail the message.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from penguiflow import RoutingRequest, Targets, hookimpl

__all__ = ["Options", "plugin"]


class Options(BaseModel):
    """What a deployment may set, in the table `[plugins.options.template]`.

    Attributes:
        tenants: Whose messages go to the new version.
        suffix: How the names of nodes that are a new version end.
    """

    model_config = ConfigDict(extra="forbid")

    tenants: frozenset[str] = frozenset()
    suffix: str = Field(default="_v2", min_length=1)


class Template:
    """One for each flow."""

    name = "template"
    api_version = "2"

    def __init__(self, options: Options) -> None:
        self._options: Options = options

    @hookimpl
    def resolve_route(self, request: RoutingRequest) -> Targets:
        """Choose among the proposed nodes; `None` is no opinion."""
        new = [name for name in request.proposed_names if name.endswith(self._options.suffix)]
        old = [name for name in request.proposed_names if name not in new]
        if not (new and old):
            return None
        return new if request.message.headers.tenant in self._options.tenants else old


def plugin(options: Options) -> Template:
    """What the entry point names: makes the policy of one flow."""
    return Template(options)
