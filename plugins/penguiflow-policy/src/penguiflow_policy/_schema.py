"""What may stand in a policy: the models, and the JSON Schema for editors that comes of them.

Rules: nothing is converted (`"5"` is no number), nothing unknown is passed over. A message says what is wrong in words
of the policy, not of pydantic.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from penguiflow_policy._problems import MOST, Problem, meant, shown
from penguiflow_policy._tree import Document, Path

MAX_RULES = 1000
ACTIONS = ("route", "add", "remove", "drop", "abstain", "split", "canary")
FIELDS = ("tenant", "topic", "priority", "node", "flow", "trace_id", "proposed", "hour")
NESTED = ("meta", "payload")
KEYS = ("tenant", "topic", "trace_id", "node", "flow")

Scalar = str | int | float | bool | None
_BRANCHES = ("str", "int", "float", "bool", "none")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _any_of(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise ValueError("there is no such timezone: write one as Europe/Berlin") from None
    return name


def _distinct(names: list[str]) -> list[str]:
    if len(set(names)) != len(names):
        raise ValueError("a name stands here twice: leave one out")
    return names


Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[
    list[Name],
    Field(min_length=1, max_length=100),
    AfterValidator(_distinct),
    BeforeValidator(_listed),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "uniqueItems": True},
            ]
        }
    ),
]
_SCALAR = {"type": ["string", "number", "boolean", "null"]}
Values = Annotated[
    list[Scalar],
    Field(min_length=1, max_length=10_000),
    BeforeValidator(_any_of),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]}),
]
_VARIABLE = {"type": "string", "pattern": "^\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^{}]*)?\\}$"}


def _or_variable(schema: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [schema, _VARIABLE]})


Percent = Annotated[float, Field(ge=0, le=100), _or_variable({"type": "number", "minimum": 0, "maximum": 100})]
Rate = Annotated[float, Field(gt=0, le=1), _or_variable({"type": "number", "exclusiveMinimum": 0, "maximum": 1})]
Weight = Annotated[float, Field(ge=0, le=100), _or_variable({"type": "number", "minimum": 0, "maximum": 100})]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False)


class CanaryModel(_Model):
    """A share of the keys goes to one node; for the others the rule doesn't count, and the next one is asked."""

    to: Names = Field(description="The nodes that the share goes to.")
    percent: Percent = Field(description="How many of a hundred keys.")


class FallbackModel(_Model):
    """Where messages go instead of a target that fails too often."""

    to: Names = Field(description="The nodes that stand in for a failing target.")
    error_rate: Rate = Field(description="The part of the target's runs that fail, from which on it counts as failing.")
    window_s: float = Field(default=60.0, gt=0, le=86_400, description="Over the runs of so many last seconds.")
    min_runs: int = Field(default=20, ge=1, description="With fewer runs than this, the target counts as well.")


class RuleModel(_Model):
    """A rule: where it holds, and what then happens."""

    name: Name = Field(description="What decisions, logs and explanations call it.")
    description: str = Field(default="", description="For the reader.")
    match: dict[str, Values] = Field(
        default_factory=dict,
        description="Fields and the value, or values, that they have: tenant, topic, priority, node, flow, trace_id, "
        "proposed, hour, meta.x, payload.x.y. All have to fit.",
    )
    when: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="A condition in CEL, asked where match fits."
    )
    route: Names | None = Field(default=None, description="Send it to these nodes.")
    add: Names | None = Field(default=None, description="Send it to these nodes too; the next rules are asked.")
    remove: Names | None = Field(default=None, description="Don't send it to these; the next rules are asked.")
    drop: Literal[True] | None = Field(default=None, description="Send it nowhere.")
    abstain: Literal[True] | None = Field(default=None, description="No opinion: what was proposed stands.")
    split: dict[Name, Weight] | None = Field(
        default=None, min_length=1, description="Nodes and their shares in percent, together 100."
    )
    canary: CanaryModel | None = Field(default=None, description="Send a share of the keys to these nodes.")
    by: str | None = Field(
        default=None,
        description="What split and canary hold on to: tenant, topic, trace_id, node, flow, meta.x or payload.x. "
        "trace_id if it isn't said.",
    )
    salt: str | None = Field(default=None, description="Rules with one salt draw alike; by default the rule's name.")
    fallback: FallbackModel | None = Field(default=None, description="What stands in for a target that fails.")
    on_error: Literal["fail", "skip"] | None = Field(
        default=None, description="What becomes of a message for which `when` has no answer."
    )


class PolicyModel(_Model):
    """A routing policy of PenguiFlow."""

    version: Literal[1] = Field(default=1, description="The version of this format.")
    description: str = Field(default="", description="For the reader.")
    flows: Names | None = Field(default=None, description="The flows that it speaks of; all if it isn't said.")
    routers: Names | None = Field(default=None, description="The routers that it speaks of; all if it isn't said.")
    elsewhere: dict[Name, Names] = Field(
        default_factory=dict,
        description="Routers that no graph shows (of playbooks that no node declares), and the nodes they lead to.",
    )
    timezone: Annotated[str, AfterValidator(_zone)] = Field(default="UTC", description="Whose hour `hour` is.")
    on_error: Literal["fail", "skip"] = Field(
        default="fail", description="What becomes of a message for which a condition has no answer."
    )
    default: Names | None = Field(
        default=None,
        description="Where messages go that no rule decides on: nodes, `keep` (what was proposed) or `drop`.",
    )
    rules: list[RuleModel] = Field(
        max_length=MAX_RULES, description="Asked in this order; the first that holds decides."
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a policy, for editors."""
    schema = PolicyModel.model_json_schema()
    one_of = [{"required": [action], "properties": {action: {"not": {"type": "null"}}}} for action in ACTIONS]
    schema["$defs"]["RuleModel"]["oneOf"] = one_of
    return {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "PenguiFlow policy"}


def shaped(document: Document, data: Any) -> tuple[PolicyModel | None, list[tuple[Path, Problem]]]:
    """The policy that `data`, the document's with its variables filled, has the form of; or what is wrong, where."""
    if not isinstance(data, dict):
        return None, [
            ((), document.problem(f"a policy has to be a table with the key rules, and this is {_kind(data)}"))
        ]
    try:
        model = PolicyModel.model_validate(data)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False)[: MOST + 1]
        return None, list(dict.fromkeys((tuple(error["loc"]), _problem(document, dict(error))) for error in errors))
    return model, []


def without(data: Any, broken: Collection[Path]) -> tuple[PolicyModel | None, frozenset[Any]]:
    """The policy as far as it has its form: without the keys that are broken. A rule that lacks its name, or is none,
    is called as its place.

    Returns:
        The policy, `None` if too little is left; and what isn't as it was meant: keys, and the places of rules.
    """
    rules = data.get("rules")
    kept = {key: value for key, value in data.items() if key != "rules" and (key,) not in {path[:1] for path in broken}}
    kept["rules"] = [*rules] if isinstance(rules, list) and ("rules",) not in broken else []
    unsure: set[Any] = {path[0] for path in broken if path[0] != "rules" or len(path) == 1}
    for _, place, *inside in (path for path in broken if path[0] == "rules" and len(path) > 1):
        unsure.add(place)
        if isinstance(place, int) and place < len(kept["rules"]):
            rule = kept["rules"][place]
            rule = {key: rule[key] for key in rule if key not in inside[:1]} if isinstance(rule, dict) else {}
            kept["rules"][place] = {"name": f"rules[{place}]"} | rule
    try:
        return PolicyModel.model_validate(kept), frozenset(unsure)
    except ValidationError:  # there was more than one looks at
        return None, frozenset()


def _kind(value: Any) -> str:
    kinds = {dict: "a table", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return kinds.get(type(value), "a number")


def _problem(document: Document, error: dict[str, Any]) -> Problem:
    path: Path = error["loc"]
    kind = error["type"]
    if kind == "extra_forbidden":
        return document.problem(
            f"there is no key {shown(path[-1])} here{meant(path[-1], _known(path))}", path, key=True
        )
    if kind == "missing":
        return document.problem(f"the key {path[-1]!r} is missing", path[:-1])
    kind = "scalar" if path[-1:] and path[-1] in _BRANCHES and "match" in path[2:3] else kind
    path = document.written(path)  # without the name of a union's branch, and what a single value became as a list
    found = document.at(path)
    text = str(error["msg"]).removeprefix("Value error, ")
    return document.problem(_reworded(kind, text, found, "a list" if path == ("rules",) else "a name or a list"), path)


def _reworded(kind: str, text: str, found: Any, listed: str) -> str:
    wanted = {
        "string_type": "text",
        "float_type": "a number",
        "int_type": "a whole number",
        "list_type": listed,
        "dict_type": "a table",
        "model_type": "a table",
        "bool_type": "true or false",
        "scalar": "text, a number, true, false or null",
    }.get(kind)
    if wanted is not None:
        return f"this has to be {wanted}, and it is {shown(found)}"
    if kind == "value_error":
        return text
    if kind in ("too_long", "too_short"):
        return f"{text[:1].lower()}{text[1:]}".replace(" after validation", "").replace(" should have", " has")
    return f"{text[:1].lower()}{text[1:].replace('Input', 'it')} (it is {shown(found)})".replace(
        "input should", "it should"
    )


def _known(path: Path) -> tuple[str, ...]:
    """The keys that the table has, in which an unknown one stands."""
    if path[:1] != ("rules",) or len(path) < 3:
        return tuple(PolicyModel.model_fields)
    inner: dict[Any, type[_Model]] = {"canary": CanaryModel, "fallback": FallbackModel}
    return tuple(inner.get(path[2] if len(path) > 3 else None, RuleModel).model_fields)
