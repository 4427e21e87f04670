"""What our deployments do to the flow of answers, beside its code."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from penguiflow import FlowError, Replace, RoutingRequest, hookimpl


class ApologyOptions(BaseModel):
    """Options of `desk-apology`."""

    model_config = ConfigDict(extra="forbid")

    text: str = "Sorry, please try again."


class Apology:
    """Answers in the place of a node that failed for good."""

    def __init__(self, options: ApologyOptions) -> None:
        self.options = options

    @hookimpl
    def on_error(self, error: FlowError) -> Replace:
        return Replace(f"{self.options.text} ({error.node_name})")


class ModelOptions(BaseModel):
    """Options of `desk-model`."""

    model_config = ConfigDict(extra="forbid")

    use: Literal["large", "small"]


class Model:
    """Chooses the model, whatever the code proposes."""

    def __init__(self, options: ModelOptions) -> None:
        self.options = options

    @hookimpl
    def resolve_route(self, request: RoutingRequest) -> str | None:
        return self.options.use if request.node_name == "model" else None


def apology(options: ApologyOptions) -> Apology:
    """Called once for each flow."""
    return Apology(options)


def model(options: ModelOptions) -> Model:
    """Called once for each flow."""
    return Model(options)
