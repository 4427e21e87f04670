"""What a policy answers with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Decision(tuple[str, ...]):
    """Names of nodes, and who said so. An empty one drops the message.

    Attributes:
        rule: The rule that decided; `default` if none did.
        modified_by: The rules that added or removed nodes.
        version: The version of the policy.
        detail: The same for the event `route_decided`.
    """

    rule: str
    modified_by: tuple[str, ...]
    version: str

    def __new__(cls, targets: Iterable[str], rule: str, version: str, modified_by: tuple[str, ...] = ()) -> Decision:
        made = super().__new__(cls, targets)
        made.rule = rule
        made.version = version
        made.modified_by = modified_by
        return made

    @property
    def detail(self) -> Mapping[str, Any]:
        """What `route_decided` and `route_dropped` events carry besides."""
        told: dict[str, Any] = {"rule": self.rule, "policy_version": self.version}
        return {**told, "modified_by": list(self.modified_by)} if self.modified_by else told

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (tuple(self), self.rule, self.version, self.modified_by))

    def __repr__(self) -> str:
        return f"<Decision {', '.join(self) or 'drop'} by {self.rule} of {self.version}>"
