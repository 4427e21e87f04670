"""`penguiflow plugins new`: the template under another name, whole or not at all."""

from __future__ import annotations

import json
import keyword
import tomllib
from pathlib import Path

import pytest

from penguiflow.cli import copying
from penguiflow.cli.copying import copied, template
from penguiflow.cli.speech import Complaint
from tests.utils.commandline import invoke, sentence, workplace
from tests.utils.hostile import ROOT

here = pytest.fixture(workplace, autouse=True)

FILES = {
    "pyproject.toml": """
[project]
name = "penguiflow-template"
[project.entry-points."penguiflow.plugins"]
template = "penguiflow_template:plugin"
[tool.hatch.build.targets.wheel]
packages = ["src/penguiflow_template"]
""",
    "README.md": "# penguiflow-template\n\nTemplate logs: `[plugins.options.template]`. Blocks: `X=template`\n",
    "src/penguiflow_template/__init__.py": 'class Template:\n    name = "template"\n\n\ndef make_template(): ...\n',
    "src/penguiflow_template/py.typed": "",
    "tests/test_template.py": 'import penguiflow_template\n\n\nclass TestTemplate:\n    entry_point = "template"\n',
    "policy/README.md": "# penguiflow-template\n\nRoutes.\n",
    "policy/src/penguiflow_template/__init__.py": "class Template: ...\n\n\ndef choose(made: Targets): ...\n",
}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "logo.png").write_bytes(b"\x89\xfftemplate")
    for left in ("__pycache__/x.pyc", "dist/template.whl", ".pytest_cache/x", ".venv/x", "src/a.egg-info/x"):
        (folder / left).parent.mkdir(parents=True, exist_ok=True)
        (folder / left).write_text("x", encoding="utf-8")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_copy_has_the_new_name_in_every_place(source, tmp_path):
    made = copied(source, "slow-nodes", tmp_path / "out")
    folder = Path(made.folder)
    assert folder == tmp_path / "out" / "penguiflow-slow-nodes"
    assert files(folder) == [
        "README.md",
        "logo.png",
        "pyproject.toml",
        "src/penguiflow_slow_nodes/__init__.py",
        "src/penguiflow_slow_nodes/py.typed",
        "tests/test_slow_nodes.py",
    ]
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["name"] == made.distribution == "penguiflow-slow-nodes"
    assert project["project"]["entry-points"]["penguiflow.plugins"] == {"slow-nodes": "penguiflow_slow_nodes:plugin"}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/penguiflow_slow_nodes"]
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == "# penguiflow-slow-nodes\n\nSlowNodes logs: `[plugins.options.slow-nodes]`. Blocks: `X=slow-nodes`\n"
    code = (folder / "src/penguiflow_slow_nodes/__init__.py").read_text(encoding="utf-8")
    assert code == 'class SlowNodes:\n    name = "slow-nodes"\n\n\ndef make_slow_nodes(): ...\n'
    test = (folder / "tests/test_slow_nodes.py").read_text(encoding="utf-8")
    assert test == 'import penguiflow_slow_nodes\n\n\nclass TestSlowNodes:\n    entry_point = "slow-nodes"\n'


def test_a_policys_files_take_the_place_of_the_observers(source, tmp_path):
    observer, policy = copied(source, "acme", tmp_path / "a"), copied(source, "acme", tmp_path / "b", "policy")
    assert (observer.kind, policy.kind) == ("observer", "policy")
    assert files(Path(policy.folder)) == files(Path(observer.folder))
    differ = [
        name
        for name in files(Path(policy.folder))
        if Path(policy.folder, name).read_bytes() != Path(observer.folder, name).read_bytes()
    ]
    assert differ == ["README.md", "src/penguiflow_acme/__init__.py"]
    assert Path(policy.folder, "README.md").read_text(encoding="utf-8") == "# penguiflow-acme\n\nRoutes.\n"
    assert "A policy loads only where it is named: PENGUIFLOW_POLICIES=acme." in policy.to_text()
    assert "PENGUIFLOW_POLICIES" not in observer.to_text()


def test_what_is_no_text_is_copied_as_it_is(source, tmp_path):
    made = copied(source, "acme", tmp_path)
    assert Path(made.folder, "logo.png").read_bytes() == b"\x89\xfftemplate"


def test_the_template_stays_as_it_was(source, tmp_path):
    before = {name: (source / name).read_bytes() for name in files(source)}
    copied(source, "acme", tmp_path)
    assert {name: (source / name).read_bytes() for name in files(source)} == before


def test_the_next_three_commands_are_said(source, tmp_path):
    made = copied(source, "acme", tmp_path)
    assert made.next == (f"cd {made.folder}", "pip install --editable '.[test]'", "pytest")
    assert made.to_text().endswith("Next:\n  " + "\n  ".join(made.next))


def test_a_folder_that_is_there_is_left_alone(source, tmp_path):
    (tmp_path / "penguiflow-acme").mkdir()
    with pytest.raises(Complaint, match="is there already") as caught:
        copied(source, "acme", tmp_path)
    assert caught.value.code == 2
    assert files(tmp_path / "penguiflow-acme") == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SlowNodes", "did you mean 'slow-nodes'?"),
        ("slow_nodes", "did you mean 'slow-nodes'?"),
        ("slow--nodes", "did you mean 'slow-nodes'?"),
        ("../acme", "did you mean 'acme'?"),
        ("penguiflow-acme", "leave the prefix away: penguiflow plugins new acme"),
        ("3d", "as in slow-nodes"),
        ("-", "as in slow-nodes"),
        ("", "as in slow-nodes"),
        ("acme\n", "did you mean 'acme'?"),
    ],
)
def test_a_bad_name_is_refused_with_a_good_one(source, tmp_path, name, hint):
    with pytest.raises(Complaint) as caught:
        copied(source, name, tmp_path / "out")
    assert caught.value.code == 2
    assert hint in caught.value.text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["observer", "policy"])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("true", "True can't name a class"),
        ("none", "None can't name a class"),
        ("viz", "penguiflow-viz is there already"),
        ("policy", "penguiflow-policy is there already"),
        ("conformance", "the template has a test_conformance.py already"),
    ],
)
def test_a_name_that_would_break_the_copy_is_refused(source, tmp_path, name, why, kind):
    with pytest.raises(Complaint) as caught:
        copied(template(), name, tmp_path / "out", kind)
    assert caught.value.code == 2
    assert why in caught.value.text
    assert not [*tmp_path.glob("out/*")]


FOLDERS = [*ROOT.glob("penguiflow-*/pyproject.toml"), *ROOT.glob("plugins/penguiflow-*/pyproject.toml")]
OURS = sorted(path.parent.name for path in FOLDERS)


@pytest.mark.parametrize("distribution", OURS)
def test_the_name_of_each_of_our_own_distributions_is_refused(source, tmp_path, distribution):
    with pytest.raises(Complaint, match=f"{distribution} is there already"):
        copied(source, distribution.removeprefix("penguiflow-"), tmp_path)


def test_our_own_distributions_are_found():
    assert "penguiflow-viz" in OURS


@pytest.mark.parametrize(("name", "kind"), [("make-template", "observer"), ("targets", "policy")])
def test_a_name_that_the_code_uses_already_is_refused(source, tmp_path, name, kind):
    (source / "src/penguiflow_template/more.py").write_text("from x import MakeTemplate\n", encoding="utf-8")
    with pytest.raises(Complaint, match="the template uses the name (MakeTemplate|Targets) already: choose another"):
        copied(source, name, tmp_path / "out", kind)
    assert list((tmp_path / "out").iterdir()) == []
    assert copied(source, "targets", tmp_path).package == "penguiflow_targets"  # an observer uses no such name


def test_a_keyword_is_a_name_as_good_as_any(source, tmp_path):
    assert keyword.iskeyword("class")
    assert copied(source, "class", tmp_path).package == "penguiflow_class"


def test_a_copy_that_fails_leaves_nothing(source, tmp_path):
    clash = source / "src" / "penguiflow_acme"
    clash.mkdir()
    (clash / "in_the_way").touch()
    with pytest.raises(Complaint, match="can't be made"):
        copied(source, "acme", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_copies_the_template(source, tmp_path, monkeypatch):
    monkeypatch.setattr("penguiflow.cli.app.template", lambda: source)
    result = invoke("plugins", "new", "acme", "--into", "there", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert (document["package"], document["entry_point"]) == ("penguiflow_acme", "acme")
    assert Path("there/penguiflow-acme/pyproject.toml").is_file()
    assert "Next:" in invoke("plugins", "new", "other").stdout
    assert "is there already" in sentence("plugins", "new", "other", code=2)


def test_the_command_copies_a_policy(source, tmp_path, monkeypatch):
    monkeypatch.setattr("penguiflow.cli.app.template", lambda: source)
    document = json.loads(invoke("plugins", "new", "acme", "--kind", "policy", "--json").stdout)
    assert (document["kind"], document["entry_point"]) == ("policy", "acme")
    assert Path("penguiflow-acme/README.md").read_text(encoding="utf-8") == "# penguiflow-acme\n\nRoutes.\n"
    assert json.loads(invoke("plugins", "new", "watcher", "--json").stdout)["kind"] == "observer"
    wrong = invoke("plugins", "new", "other", "--kind", "exporter")
    assert wrong.exit_code == 2
    assert "'observer', 'policy'" in wrong.stderr
    assert not Path("penguiflow-other").exists()


@pytest.mark.parametrize(("kind", "group"), [("observer", "penguiflow.plugins"), ("policy", "penguiflow.policies")])
def test_the_template_of_this_tree_becomes_a_distribution_without_a_trace_of_it(kind, group):
    made = copied(copying.template(), "slow-hops", Path(), kind)
    assert not Path(made.folder, "policy").exists()
    paths = [path for path in Path(made.folder).rglob("*") if path.is_file()]
    assert Path(made.folder, "src", made.package, "__init__.py") in paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert "template" not in f"{path} {text}".lower()
        if path.suffix == ".py":
            compile(text, str(path), "exec")
    project = tomllib.loads(Path(made.folder, "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"] == {group: {"slow-hops": "penguiflow_slow_hops:plugin"}}


def test_a_policy_of_this_tree_speaks_of_no_observer():
    made = copied(copying.template(), "two-thirds", Path(), "policy")
    text = " ".join(path.read_text(encoding="utf-8") for path in Path(made.folder).rglob("*.*") if path.is_file())
    assert "PENGUIFLOW_POLICIES=two-thirds" in text
    assert [word for word in ("on_event", "slow", "threshold", "logs") if word in text.lower()] == []


@pytest.mark.parametrize(("name", "kind"), [("options", "observer"), ("flow-event", "observer"), ("targets", "policy")])
def test_what_the_template_of_this_tree_uses_is_no_name_for_a_plugin(name, kind):
    with pytest.raises(Complaint, match="already"):
        copied(copying.template(), name, Path(), kind)


def test_the_template_is_looked_for_in_the_package_and_in_the_checkout(source, tmp_path, monkeypatch):
    package = tmp_path / "somewhere" / "penguiflow"
    with monkeypatch.context() as moved:
        moved.setattr(copying.penguiflow, "__file__", str(package / "__init__.py"))
        assert sentence("plugins", "new", "acme", code=1).startswith("the template is missing from ")
        for folder in (tmp_path / "somewhere" / "plugins" / "template", package / "_template"):
            folder.mkdir(parents=True)
            (folder / "pyproject.toml").touch()
            assert copying.template() == folder
