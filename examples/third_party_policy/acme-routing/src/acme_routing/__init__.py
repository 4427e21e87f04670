"""A routing policy that somebody else publishes: some customers always go to a node of their own."""

from pydantic import BaseModel, ConfigDict

from penguiflow import RoutingRequest, hookimpl


class Options(BaseModel):
    """What a deployment may say in `[plugins.options.acme-routing]`.

    Attributes:
        tenants: Whose messages are rerouted.
        target: The node that they go to, where the router leads to it.
    """

    model_config = ConfigDict(extra="forbid")

    tenants: list[str] = ["south-pole"]
    target: str = "express"


class AcmeRouting:
    """Sends the messages of some tenants to one node, and has no opinion about the others."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @hookimpl
    def resolve_route(self, request: RoutingRequest) -> str | None:
        return self.options.target if request.message.headers.tenant in self.options.tenants else None


def plugin(options: Options) -> AcmeRouting:
    """Called once for each flow, with the options of the deployment."""
    return AcmeRouting(options)
