"""What every plugin of PenguiFlow has to stand."""

from pathlib import Path
from typing import Any

import pytest

from penguiflow.testkit import PluginConformance
from penguiflow_policy import Companion, Policy

RULES = {
    "rules": [
        {
            "name": "text",
            "match": {"payload.kind": "question"},
            "route": "left",
            "fallback": {"to": "right", "error_rate": 1},
        },
        {"name": "half", "split": {"left": 50, "right": 50}},
    ]
}


@pytest.fixture(autouse=True, scope="module")
def in_its_folder(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("conformance")
    (folder / "routing.yaml").write_text(
        "rules:\n  - {name: all, when: tenant != 'x', route: right}\n", encoding="utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


class TestPolicy(PluginConformance):
    entry_point = "policy"
    options = {"file": "routing.yaml"}


class TestPolicyThatCountsErrors(PluginConformance):
    def make(self) -> Any:
        return Policy.from_dict(RULES)


class TestCompanion(PluginConformance):
    def make(self) -> Companion:
        assert Path("routing.yaml").is_file()
        return Policy.from_file("routing.yaml", observe=True).companion
