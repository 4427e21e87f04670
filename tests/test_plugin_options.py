"""Options of plugins: whose model they are validated by, and what is said of wrong ones."""

from __future__ import annotations

import sys

import pytest

from penguiflow import PluginRecord, create
from tests.utils.distributions import Site, warnings
from tests.utils.flowtestkit import in_time
from tests.utils.nodes import same


def only_record() -> PluginRecord:
    (record,) = create(same).plugins
    return record


OPTIONS = """
    from typing import Annotated
    from pydantic import AliasChoices, BaseModel, Field
    from penguiflow import hookimpl

    class Options(BaseModel):
        url: str = "nowhere"
        every: int = Field(default=1, ge=1)
        where: str = Field(default="", validation_alias=AliasChoices("place", "spot"))
        {more}

    MADE = []

    class Observer:
        @hookimpl
        def on_event(self, event):
            pass

    def plugin(options: {annotation}):
        MADE.append(options)
        return Observer()
"""


def with_options(more: str = "", annotation: str = "Options") -> str:
    return OPTIONS.format(more=more, annotation=annotation)


@pytest.mark.parametrize("annotation", ["Options", "Options | None = None", "'Options'", "Annotated[Options, 'x']"])
@pytest.mark.parametrize("key", ["acme", "acme-dist:acme", '"Acme_Dist:acme"'])
def test_options_are_validated_by_the_plugins_own_model(site: Site, annotation: str, key: str):
    site.add("acme-dist", with_options(annotation=annotation), entry="acme")
    name = key.strip('"')
    site.configure(f'[plugins.options."{name}"]\nurl = "somewhere"\nevery = 3\nspot = "here"')
    assert only_record().status == "loaded"
    (options,) = sys.modules["acme_dist"].MADE
    assert (type(options).__name__, options.url, options.every, options.where) == ("Options", "somewhere", 3, "here")


def test_without_options_a_plugin_gets_its_defaults(site: Site):
    site.add("acme", with_options())
    assert only_record().status == "loaded"
    assert sys.modules["acme"].MADE[0].url == "nowhere"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("evry = 1", ".evry: this plugin has no option 'evry': did you mean 'every'?"),
        ("zzz = 1", ".zzz: this plugin has no option 'zzz': it has url, every, place, spot"),
        ("where = 'x'", ".where: this plugin has no option 'where': it has url, every, place, spot"),
        ("every = 0", ".every: Input should be greater than or equal to 1"),
        ("every = 'x'\nurl = 1", ".url: Input should be a valid string; {at}.every: Input should be a valid integer"),
    ],
)
@in_time
async def test_wrong_options_are_told_with_file_key_and_what_was_meant(site: Site, caplog, line, complaint):
    site.add("acme", with_options())
    at = site.configure(f"[plugins.options.acme]\n{line}") + ": plugins.options.acme"
    flow = create(same)
    (record,) = flow.plugins
    assert record.status == "failed"
    assert record.reason.startswith(f"{at}{complaint.format(at=at)}")
    assert warnings(caplog) == [f"plugin 'acme' (acme 1.0) is failed: {record.reason}"]
    async with flow:
        assert await flow.ask(1) == 1


def test_an_option_that_a_plugin_needs_and_nobody_gave_is_told_without_a_file(site: Site):
    site.add("acme", with_options("key: str"))
    record = only_record()
    assert record.reason == "plugins.options.acme.key: Field required"


def test_options_for_a_plugin_that_has_none_are_wrong(site: Site):
    site.add("acme")
    path = site.configure("[plugins.options.acme]\nurl = 'x'")
    record = only_record()
    assert record.reason == f"{path}: plugins.options.acme.url: this plugin has no option 'url': it has none"


@pytest.mark.parametrize(
    ("annotation", "kind", "given"),
    [("", "dict", {"any": 1}), (": dict[str, int]", "dict", {"any": 1}), (": Free", "Free", None)],
)
def test_a_plugin_may_take_whatever_it_is_given(site: Site, annotation: str, kind: str, given):
    code = with_options(annotation="OPTIONS").replace("options: OPTIONS", f"options{annotation}")
    site.add("acme", code.replace("MADE = []", "MADE = []\n\n    class Free(BaseModel, extra='allow'):\n        pass"))
    site.configure("[plugins.options.acme]\nany = 1")
    assert only_record().status == "loaded"
    (options,) = sys.modules["acme"].MADE
    assert type(options).__name__ == kind
    assert given is None or options == given


def test_a_dataclass_may_be_the_model(site: Site):
    site.add(
        "acme",
        with_options()
        .replace("class Options(BaseModel):", "from dataclasses import dataclass\n\n    @dataclass\n    class Options:")
        .replace("every: int = Field(default=1, ge=1)", "every: int = 1")
        .replace('where: str = Field(default="", validation_alias=AliasChoices("place", "spot"))', ""),
    )
    site.configure("[plugins.options.acme]\nevery = 3")
    assert only_record().status == "loaded"
    path = site.configure("[plugins.options.acme]\nevry = 3")
    record = only_record()
    assert record.reason.startswith(f"{path}: plugins.options.acme.evry: this plugin has no option 'evry'")


ROOT = """
    from pydantic import RootModel, BaseModel, model_validator
    from penguiflow import hookimpl

    class Table(RootModel[dict[str, int]]):
        pass

    class Renamed(BaseModel):
        new: int = 0

        @model_validator(mode="before")
        @classmethod
        def old(cls, data):
            return {"new": data["old"]} if "old" in data else data

    MADE = []

    class Observer:
        @hookimpl
        def on_event(self, event):
            pass

    def plugin(options: ANNOTATION):
        MADE.append(options)
        return Observer()
"""


@pytest.mark.parametrize(("annotation", "shown"), [("Table", "root={'old': 3}"), ("Renamed", "new=3")])
def test_a_model_that_takes_other_names_than_its_fields_has_the_word(site: Site, annotation: str, shown: str):
    site.add("acme", ROOT.replace("ANNOTATION", annotation))
    site.configure("[plugins.options.acme]\nold = 3")
    assert only_record().reason == "loads by itself"
    assert str(sys.modules["acme"].MADE[0]) == shown


def test_options_that_nobody_can_validate_are_refused(site: Site):
    site.add("acme", ROOT.replace("ANNOTATION", "'Elsewhere'"))
    record = only_record()
    assert record.status == "failed"
    assert "not under TYPE_CHECKING" in record.reason
