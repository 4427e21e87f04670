"""Models by node name, for those who keep them apart from the functions. Annotations do without it."""

from __future__ import annotations

from typing import Any

from penguiflow._messages import Message
from penguiflow._node import Node
from penguiflow._types import is_message, members


class ModelRegistry:
    """Says what nodes take and give where their annotations don't, or says otherwise than they do."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[Any, Any]] = {}

    def register(self, node_name: str, in_model: Any, out_model: Any) -> None:
        """`node_name` takes `in_model` and gives `out_model` (pydantic models, or any annotation).

        Raises:
            ValueError: the node is registered already.
        """
        if node_name in self._models:
            raise ValueError(f"the models of {node_name!r} are registered already: register each node once")
        self._models[node_name] = (in_model, out_model)

    def models(self, node: Node) -> tuple[Any, Any]:
        """What `node` takes and gives: as registered, otherwise as annotated. Whether it takes the payload or the
        whole message is its function's choice, and no registry changes that.
        """
        wants, gives = node.shape.wants, node.shape.gives
        if node.name in self._models:
            registered, gives = self._models[node.name]
            wants = _as_taken(registered, wants)
        return wants, gives

    @property
    def names(self) -> tuple[str, ...]:
        """The registered nodes, in the order they were registered."""
        return tuple(self._models)


def _as_taken(registered: Any, annotated: Any) -> Any:
    """The registered type, in the envelope that the function takes it in."""
    envelopes = [part for part in members(annotated) if part is not type(None)]
    if not (envelopes and all(is_message(part) for part in envelopes)) or any(map(is_message, members(registered))):
        return registered
    own = any(len(part.model_fields) > len(Message.model_fields) for part in envelopes)
    return annotated if own else Message[registered]
