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
        shadow: What a candidate would have done instead, as `b (new-rule)`; empty if it is the same.
    """

    rule: str
    modified_by: tuple[str, ...]
    version: str
    shadow: str

    def __new__(
        cls, targets: Iterable[str], rule: str, version: str, modified_by: tuple[str, ...] = (), shadow: str = ""
    ) -> Decision:
        made = super().__new__(cls, targets)
        made.rule = rule
        made.version = version
        made.modified_by = modified_by
        made.shadow = shadow
        return made

    @property
    def detail(self) -> Mapping[str, Any]:
        """What `route_decided` and `route_dropped` events carry besides."""
        told: dict[str, Any] = {"rule": self.rule, "policy_version": self.version}
        if self.modified_by:
            told["modified_by"] = list(self.modified_by)
        if self.shadow:
            told["shadow"] = self.shadow
        return told

    def beside(self, shadow: str) -> Decision:
        """The same decision, with what a candidate would have done."""
        return Decision(self, self.rule, self.version, self.modified_by, shadow)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (tuple(self), self.rule, self.version, self.modified_by, self.shadow))

    def __repr__(self) -> str:
        return f"<Decision {', '.join(self) or 'drop'} by {self.rule} of {self.version}>"
