"""Models by node name, for those who keep them apart from the functions. Annotations do without it."""

from __future__ import annotations

from typing import Any

from penguiflow._node import Node


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
        """What `node` takes and gives: as registered, otherwise as annotated."""
        return self._models.get(node.name, (node.shape.wants, node.shape.gives))

    @property
    def names(self) -> tuple[str, ...]:
        """The registered nodes, in the order they were registered."""
        return tuple(self._models)
