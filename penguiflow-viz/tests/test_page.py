"""The page, and the SVG, in a real browser: what a person does with mouse and keys, light and dark, and no network."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from vizkit.flows import same
from vizkit.hostile import OWNED
from vizkit.known import crossroads, every_name
from vizkit.programs import missing

from penguiflow import Node, create
from penguiflow_viz import NodeMark, Overlay, flow_to_html, flow_to_svg

# The colours of a text and of what it stands on, and whether it fits.
SEEN = """
const shape = (g) => g.querySelector(":scope > rect, :scope > polygon");
const across = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1;
const inside = (a, b) => across(a, b) && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
return [...document.querySelectorAll("g.pf-box")].flatMap((g) => [...g.querySelectorAll("text")].map((t) => ({
  text: t.textContent,
  fits: inside(t.getBoundingClientRect(), shape(g).getBoundingClientRect()),
  ink: getComputedStyle(t).fill,
  fill: getComputedStyle(shape(g)).fill,
})));
"""


Opened = Callable[..., webdriver.Chrome]


@pytest.fixture
def opened(browser: webdriver.Chrome, tmp_path: Path) -> Opened:
    def show(text: str, kind: str = "html") -> webdriver.Chrome:
        page = tmp_path / f"flow.{kind}"
        page.write_text(text, encoding="utf-8")
        browser.get_log("browser")
        browser.get(page.as_uri())
        return browser

    return show


@pytest.fixture
def page(opened: Opened) -> webdriver.Chrome:
    return opened(flow_to_html(crossroads()))


def details(page: webdriver.Chrome) -> str:
    text: str = page.find_element(By.ID, "details").text
    return text


def heading(page: webdriver.Chrome) -> str:
    return page.find_element(By.CSS_SELECTOR, "#details h2").text


def view(page: webdriver.Chrome) -> list[float]:
    box = page.execute_script("return document.querySelector('svg').getAttribute('viewBox')")
    return [float(part) for part in box.split()]


def node(page: webdriver.Chrome, name: str) -> Any:
    return page.execute_script(
        "return [...document.querySelectorAll('[data-name]')].find((g) => g.dataset.name === arguments[0])", name
    )


def press(page: webdriver.Chrome, *keys: str) -> None:
    ActionChains(page).send_keys(*keys).perform()


def test_the_page_shows_what_is_hovered_and_lights_what_it_is_linked_with(page: webdriver.Chrome):
    assert heading(page) == "crossroads"
    ActionChains(page).move_to_element(node(page, "ask")).perform()
    assert heading(page) == "ask"
    for line in ("time limit 10 s an attempt", "3 retries on Exception", "on cycle 1", "OpenSea", "which"):
        assert line in details(page)
    lit = page.execute_script("return [...document.querySelectorAll('.pf-box.on')].map((g) => g.dataset.name)")
    assert lit == ["OpenSea", "ask", "which", OWNED]
    ActionChains(page).move_to_element(page.find_element(By.TAG_NAME, "h1")).perform()
    assert heading(page) == "crossroads"


def test_a_click_keeps_the_details_until_the_next(page: webdriver.Chrome):
    ActionChains(page).click(node(page, "both")).move_to_element(node(page, "ask")).perform()
    assert heading(page) == "both"
    assert "gathers 2 messages of 3 predecessors" in details(page)
    ActionChains(page).click(node(page, "both")).perform()
    ActionChains(page).move_to_element(node(page, "ask")).perform()
    assert heading(page) == "ask"


def test_the_wheel_zooms_where_the_pointer_is_and_dragging_moves(page: webdriver.Chrome):
    whole = view(page)
    target = node(page, "ask")
    before = target.rect
    ActionChains(page).move_to_element(target).scroll_from_origin(ScrollOrigin.from_element(target), 0, -300).perform()
    assert view(page)[2] < whole[2]
    after = target.rect
    middle = before["x"] + before["width"] / 2
    assert after["x"] < middle < after["x"] + after["width"]
    zoomed = view(page)
    stage = page.find_element(By.ID, "stage")
    ActionChains(page).move_to_element_with_offset(stage, -300, 200).click_and_hold().move_by_offset(
        80, 40
    ).release().perform()
    moved = view(page)
    assert (moved[0] < zoomed[0], moved[1] < zoomed[1], moved[2]) == (True, True, pytest.approx(zoomed[2]))
    page.find_element(By.ID, "fit").click()
    assert view(page) == pytest.approx(whole)


def test_the_buttons_zoom(page: webdriver.Chrome):
    whole = view(page)[2]
    page.find_element(By.ID, "in").click()
    assert view(page)[2] == pytest.approx(whole / 1.25)
    page.find_element(By.ID, "out").click()
    assert view(page)[2] == pytest.approx(whole)


def test_a_search_marks_what_it_finds_and_goes_from_one_to_the_next(page: webdriver.Chrome):
    press(page, "/")
    press(page, "DEEP")
    found = page.find_element(By.ID, "found")
    assert found.text == "2 found"
    press(page, Keys.ENTER)
    assert (found.text, heading(page)) == ("1 of 2", "deep")
    press(page, Keys.ENTER)
    assert (found.text, heading(page)) == ("2 of 2", "deeper")
    press(page, Keys.ESCAPE)
    assert (found.text, heading(page)) == ("", "crossroads")


def test_everything_can_be_reached_with_the_keyboard(page: webdriver.Chrome):
    reached = []
    for _ in range(40):
        press(page, Keys.TAB)
        active = page.switch_to.active_element
        reached.append(active.get_attribute("data-name") or active.get_attribute("id"))
    for name in ("search", "in", "out", "fit", "theme", "ask", "which", "both", "deep", "deeper", "library", "find"):
        assert name in reached


def test_the_keyboard_need_not_pass_through_the_graph(page: webdriver.Chrome):
    for _ in ("search", "out", "in", "fit", "theme", "skip"):
        press(page, Keys.TAB)
    assert page.switch_to.active_element.text == "Skip the graph"
    press(page, Keys.ENTER)
    assert page.switch_to.active_element.get_attribute("id") == "details"


def test_enter_keeps_the_details_and_arrows_follow_the_links(page: webdriver.Chrome):
    page.execute_script("arguments[0].focus()", node(page, "ask"))
    press(page, Keys.ENTER)
    assert (heading(page), node(page, "ask").get_attribute("aria-pressed")) == ("ask", "true")
    press(page, Keys.ARROW_DOWN)
    assert heading(page) == "which"
    assert page.switch_to.active_element.get_attribute("data-name") == "which"
    press(page, Keys.ARROW_UP)
    assert heading(page) == "ask"
    press(page, "+")
    zoomed = view(page)
    press(page, "0")
    assert view(page)[2] > zoomed[2]


def test_the_neighbours_in_the_details_lead_there(page: webdriver.Chrome):
    ActionChains(page).click(node(page, "both")).perform()
    page.find_element(By.XPATH, "//aside//button[text()='deep']").click()
    assert heading(page) == "deep"
    assert node(page, "deep").get_attribute("aria-pressed") == "true"


def test_what_is_chosen_is_brought_into_view(opened: Opened):
    nodes = [Node(same, f"step {place}") for place in range(60)]
    page = opened(flow_to_html(create(*(a.to(b) for a, b in itertools.pairwise(nodes)))))
    press(page, "/")
    press(page, "step 59", Keys.ENTER)
    stage, last = page.find_element(By.ID, "stage").rect, node(page, "step 59").rect
    assert stage["y"] <= last["y"]
    assert last["y"] + last["height"] <= stage["y"] + stage["height"]
    assert last["height"] > 20
    press(page, Keys.ESCAPE)
    page.execute_script("arguments[0].focus()", node(page, "step 59"))
    for place in range(58, 20, -1):
        press(page, Keys.ARROW_UP)
        rect = node(page, f"step {place}").rect
        assert stage["y"] <= rect["y"] <= stage["y"] + stage["height"]


def test_the_page_asks_the_network_for_nothing_and_has_nothing_to_complain_of(page: webdriver.Chrome):
    press(page, Keys.TAB, "x", Keys.ESCAPE)
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert page.get_log("browser") == []


def test_the_page_forbids_what_it_does_not_need(page: webdriver.Chrome):
    page.execute_async_script(
        "const done = arguments[0]; const s = document.createElement('script'); s.textContent = 'document.title = 1';"
        "document.body.append(s); fetch('data:text/plain,x').then(done, done)"
    )
    assert page.title == "crossroads"
    said = " ".join(entry["message"] for entry in page.get_log("browser"))
    assert "Executing inline script violates the following Content Security Policy" in said
    assert "Fetch API cannot load" in said


def test_hostile_names_are_only_text(opened: Opened):
    flow = every_name(OWNED)
    page = opened(flow_to_html(flow))
    assert page.title == OWNED
    assert page.execute_script("return [document.scripts.length, document.images.length]") == [2, 0]
    assert page.execute_script("return document.querySelectorAll('.pf-node').length") == len(flow.graph.nodes)
    assert page.get_log("browser") == []


def contrast(first: str, second: str) -> float:
    lights = sorted(map(_light, (first, second)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _light(colour: str) -> float:
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("system", ["light", "dark"])
def test_an_svg_is_light_or_dark_as_the_system_is_and_can_be_read(opened: Opened, system: str):
    fills = ("#fff7ec", "#fdd49e", "#fc8d59", "#d7301f", "#7f0000", "#1f77b4", "#2ca02c")
    names = ("ask", "which", "look", "think", "both", OWNED)
    marks = {f"crossroads/{name}": NodeMark(fill=fill) for name, fill in zip(names, fills, strict=False)}
    browser = opened(flow_to_svg(crossroads(), overlay=Overlay(marks)), "svg")
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": system}]}
    )
    page = browser.execute_script("return getComputedStyle(document.querySelector('.pf-page')).fill")
    assert (_light(page) > 0.5) == (system == "light")
    seen = browser.execute_script(SEEN)
    assert len(seen) == 18
    assert [found["text"] for found in seen if not found["fits"]] == []
    assert [found for found in seen if contrast(found["ink"], found["fill"]) < 4.5] == []
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


WIDE = "const pen = document.createElementNS('http://www.w3.org/1999/xhtml', 'canvas').getContext('2d');"
WIDE += "pen.font = '100px Helvetica, Arial, \"Liberation Sans\"'; return pen.measureText('W').width"


def test_letters_are_neither_squeezed_nor_drawn_apart(opened: Opened):
    browser = opened(flow_to_svg(crossroads()), "svg")
    if browser.execute_script(WIDE) != pytest.approx(94.4, abs=1):
        missing("there is no font as wide as Helvetica: install Debian's fonts-liberation")
    told, natural = zip(
        *browser.execute_script(
            "return [...document.querySelectorAll('text')].map((t) => {"
            "const told = t.textLength.baseVal.value; t.removeAttribute('textLength');"
            "return [told, t.getComputedTextLength()]; })"
        ),
        strict=True,
    )
    assert list(told) == pytest.approx(natural, rel=0.15)


def test_hostile_names_fit_their_boxes(opened: Opened):
    seen = opened(flow_to_svg(every_name("flow")), "svg").execute_script(SEEN)
    assert [found["text"] for found in seen if not found["fits"]] == []


def test_the_page_goes_from_the_systems_colours_to_light_and_dark(page: webdriver.Chrome):
    button = page.find_element(By.ID, "theme")
    seen = []
    for _ in range(3):
        seen.append((button.text, page.execute_script("return getComputedStyle(document.body).backgroundColor")))
        button.click()
    assert [name for name, _ in seen] == ["Auto", "Light", "Dark"]
    assert _light(seen[1][1]) > 0.9
    assert _light(seen[2][1]) < 0.1
    assert button.text == "Auto"
