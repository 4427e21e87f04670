"""`examples/routing_policy`: one flow, two policies, three ways to deploy them, and a change while it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penguiflow_policy import Policy, json_schema

EXAMPLE = Path(__file__).parents[3] / "examples" / "routing_policy"
WAITS = '{"rules": [{"name": "everybody-waits", "route": "faq"}]}'


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PENGUIFLOW", "BEST_CUSTOMER"))}
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=EXAMPLE,
        env={**clean, **environ},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


def expected(name: str) -> str:
    return (EXAMPLE / f"expected_{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "environ"),
    [
        ("without", {}),
        ("day", {"PENGUIFLOW_CONFIG": "day.toml"}),
        ("night", {"PENGUIFLOW_CONFIG": "night.toml"}),
        ("environment", {"PENGUIFLOW_CONFIG": "environment.toml", "SUPPORT_POLICY": WAITS}),
        ("night", {"PENGUIFLOW_CONFIG": "environment.toml", "SUPPORT_POLICY": "night.json"}),
    ],
)
def test_the_deployment_says_who_answers(name: str, environ: dict[str, str]):
    done = run("main.py", **environ)
    assert (done.stdout, done.stderr) == (expected(name), "")


def test_a_variable_names_the_best_customer():
    done = run("main.py", PENGUIFLOW_CONFIG="day.toml", BEST_CUSTOMER="zoo")
    assert "zoo: the pool is cold\n  manager, says best-customers\n" in done.stdout


def test_the_rules_change_while_it_runs_and_a_broken_file_changes_nothing():
    done = run("reload.py")
    assert done.stdout == expected("reload")
    assert "the new rules can't be used" in done.stderr


def test_its_cases_are_as_expected_and_its_policies_suit_its_flow():
    assert "3 of 3 cases as expected" in run("-m", "penguiflow_policy", "test", "day.yaml", "cases.yaml").stdout
    done = run("-m", "penguiflow_policy", "check", "--flow", "main:support_desk", "day.yaml", "night.json")
    assert (done.returncode, done.stderr) == (0, "")


def meaning(schema: Any) -> Any:
    """A schema without what pydantic's versions write differently."""
    if isinstance(schema, list):
        return [meaning(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    other = {"propertyNames", *(["enum"] if "const" in schema else [])}
    return {key: meaning(part) for key, part in schema.items() if key not in other}


def test_the_schema_beside_it_is_the_present_one():
    beside = json.loads((EXAMPLE / "policy.schema.json").read_text(encoding="utf-8"))
    assert meaning(beside) == meaning(json_schema())


def test_a_mistake_in_the_options_keeps_the_flow_from_being_built(tmp_path: Path):
    config = tmp_path / "typo.toml"
    config.write_text(
        "[plugins]\npolicies = ['policy']\n[plugins.options.policy]\nfil = 'day.yaml'\n", encoding="utf-8"
    )
    done = run("main.py", PENGUIFLOW_CONFIG=str(config))
    assert done.returncode == 1
    assert f"{config}: plugins.options.policy.fil: " in done.stderr
    assert "did you mean 'file'" in done.stderr
    config.write_text("[plugins]\npolicies = ['policy']\n[plugins.options.policy]\n", encoding="utf-8")
    told = run("main.py", PENGUIFLOW_CONFIG=str(config)).stderr
    assert (
        f"{config}: plugins.options.policy: nothing says where the policy is: in the file that PENGUIFLOW_CONFIG "
        "names, write file = 'routing.yaml' under [plugins.options.policy], or env = 'NAME' for a variable that holds "
        "it" in told
    )
    assert len(Policy.from_file(EXAMPLE / "day.yaml").rules.rules) == 3
