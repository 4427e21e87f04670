"""The command line: `penguiflow-policy check|test|explain|diff|schema`, for a terminal and for CI.

Rules: what is asked for goes to stdout, every other word to stderr. Exit codes: 0 all is well, 1 something is wrong or,
for `diff`, different, 2 wrong usage. Nothing here routes anything.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from penguiflow import Graph, GraphError
from penguiflow_policy._cases import Case, Outcome, read_cases
from penguiflow_policy._checks import Asked, checked, routers_of
from penguiflow_policy._diff import differences
from penguiflow_policy._policy import Policy
from penguiflow_policy._problems import PolicyError, Problem, meant
from penguiflow_policy._reading import examined
from penguiflow_policy._rules import Rules
from penguiflow_policy._schema import json_schema
from penguiflow_policy._sources import from_file
from penguiflow_policy._target import UsageError, loaded

OK, WRONG, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name, and exit."""
    options = _parser().parse_args(arguments)
    try:
        code = options.run(options)
    except (PolicyError, GraphError) as exc:
        print(exc, file=sys.stderr)
        code = WRONG
    except UsageError as exc:
        print(exc, file=sys.stderr)
        code = USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = WRONG
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("penguiflow-policy", description="Looks at routing policies of PenguiFlow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="say everything that is wrong with policies")
    check.add_argument("files", nargs="+", metavar="FILE")
    check.add_argument(
        "--flow",
        action="append",
        default=[],
        metavar="TARGET",
        help="a flow that they have to suit, as module:flow or path/to/file.py:flow; may stand several times",
    )
    check.set_defaults(run=_check)
    test = commands.add_parser("test", help="run a table of cases")
    test.add_argument("file", metavar="FILE")
    test.add_argument("cases", metavar="CASES")
    test.set_defaults(run=_test)
    diff = commands.add_parser("diff", help="say what differs between two policies")
    diff.add_argument("old", metavar="OLD")
    diff.add_argument("new", metavar="NEW")
    diff.add_argument("--cases", help="a table of cases, to see which go elsewhere")
    diff.set_defaults(run=_diff)
    schema = commands.add_parser("schema", help="print the JSON Schema of a policy, for editors")
    schema.set_defaults(run=_schema)
    _explain_parser(commands)
    return parser


def _explain_parser(commands: Any) -> None:
    explain = commands.add_parser("explain", help="say where a message would go, and why")
    explain.add_argument("file", metavar="FILE")
    explain.add_argument("--flow", metavar="TARGET", help="module:flow, or path/to/file.py:flow, whose router asks")
    explain.add_argument("--node", help="the router that asks")
    explain.add_argument("--proposed", help="what stands proposed, separated by commas")
    explain.add_argument("--tenant", default="default")
    explain.add_argument("--topic")
    explain.add_argument("--priority", type=int, default=0)
    explain.add_argument("--payload", default="null", help="as JSON")
    explain.add_argument("--meta", default="{}", help="as JSON")
    explain.add_argument("--trace-id", default="trace")
    explain.add_argument("--hour", type=int, choices=range(24), metavar="0-23", help="by default, it is now")
    explain.set_defaults(run=_explain)


def _check(options: argparse.Namespace) -> int:
    graphs = [loaded(target).graph for target in options.flow]
    code = OK
    for file in options.files:
        try:
            rules, problems = _held_against(file, graphs)
        except PolicyError as exc:
            rules, problems = None, list(exc.problems)
        if rules is not None and not problems:
            print(f"{file}: {len(rules.rules)} rules, version {rules.version}")
        for problem in problems:
            print(problem)
            code = WRONG
    return code


def _held_against(file: str, graphs: Sequence[Graph]) -> tuple[Rules | None, list[Problem]]:
    """The rules of a file, and all that is wrong with them, by themselves and in these flows."""
    document = from_file(file).load()
    rules, problems, unsure = examined(document, os.environ)
    if rules is None:
        return None, problems
    suits: list[Asked] = []
    for graph in graphs:
        misfits = checked(rules, document, (graph, None), suits, unsure)
        problems += misfits
        suits += [] if misfits else [(graph, None)]
    return rules, list(dict.fromkeys(problems))


def _test(options: argparse.Namespace) -> int:
    rules = Policy.from_file(options.file).rules
    cases = read_cases(options.cases)
    failed = 0
    for case in cases:
        wrong = Outcome(rules, case).differs(case)
        failed += bool(wrong)
        print(f"{'FAILED' if wrong else 'ok'} {case.name}" + (f": {wrong}" if wrong else ""))
    if not cases:
        raise UsageError(f"{options.cases} has no cases")
    print(f"{len(cases) - failed} of {len(cases)} cases as expected, version {rules.version}")
    return WRONG if failed else OK


def _diff(options: argparse.Namespace) -> int:
    old, new = Policy.from_file(options.old), Policy.from_file(options.new)
    cases = read_cases(options.cases) if options.cases else []
    found = differences(old, new, cases)
    for line in found:
        print(line)
    return WRONG if found else OK


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(json_schema(), indent=2))
    return OK


def _explain(options: argparse.Namespace) -> int:
    policy = Policy.from_file(options.file)
    flow = None if options.flow is None else loaded(options.flow)
    if flow is not None:
        if problems := policy.check_graph(flow.graph):
            raise UsageError("\n".join(problems))
        routers = [router.name for router in routers_of(flow.graph)]
        if options.node is not None and options.node not in routers:
            raise UsageError(f"--node: flow {flow.name!r} has no router {options.node!r}{meant(options.node, routers)}")
    given = {"tenant": options.tenant, "topic": options.topic, "priority": options.priority}
    case = Case(
        name="message",
        expect=["keep"],
        payload=_json(options.payload, "--payload"),
        meta=_table(_json(options.meta, "--meta"), "--meta"),
        trace_id=options.trace_id,
        hour=options.hour or 0,
        **given,
    )
    if options.hour is not None:
        policy = Policy.from_file(options.file, clock=lambda: case.now(policy.rules))
        if flow is not None:
            policy.check_graph(flow.graph)
    proposed = None if options.proposed is None else [name for name in options.proposed.split(",") if name]
    found = policy.explain(case.request().message, node=options.node, proposed=proposed)
    print(found)
    return OK if found.error is None else WRONG


def _json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{option} is JSON, and this isn't: {exc}") from None


def _table(value: Any, option: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{option} is a JSON object, not {type(value).__name__}")
    return value
