"""The main path of each tab by touch on a phone, in the dark: at each state nothing is cut off, covered or named badly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import findings, status

pytestmark = pytest.mark.e2e
PHONE = {"width": 390, "height": 844, "dark": True}
# What a finger aims at is in the way of nothing else: at its middle it is itself.
COVERED = """(where) => [...document.querySelectorAll(where)].filter((e) => e.checkVisibility()).filter((e) => {
  e.scrollIntoView({ block: 'center', behavior: 'instant' });
  const r = e.getBoundingClientRect();
  return !e.contains(document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2));
}).map((e) => e.outerHTML.slice(0, 140))"""
CUT = """() => [...document.querySelectorAll('button,summary,a,h2,.total,[role=status]')].filter((e) => e.checkVisibility())
  .filter((e) => e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1).map((e) => e.outerHTML.slice(0, 140))"""


def is_sound(page: Page, buttons: str) -> None:
    """The page as it stands scrolls down only, cuts no words off, covers no button, and axe finds nothing serious."""
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(CUT) == []
    assert page.evaluate(COVERED, buttons) == []
    assert findings(page) == []


def two_pictures(open_: Callable[..., Page]) -> Page:
    page = open_(**PHONE)
    page.tap("#f_count label:has-text('2')")
    page.tap("#gen")
    status(page, "Done")
    return page


def test_a_picture_on_a_phone(open_: Callable[..., Page]) -> None:
    page = two_pictures(open_)
    expect(page.locator("#c_row button")).to_have_count(2)
    is_sound(page, "#c_acts summary, #c_acts a, #c_row button")
    page.tap("#c_row button >> nth=1")
    status(page, "Picture 2 of 2")
    page.tap("#c_acts summary:has-text('More')")
    is_sound(page, "#c_acts [open] button, #c_acts [open] a")


def test_a_film_on_a_phone(open_: Callable[..., Page]) -> None:
    page = open_(**PHONE)
    page.tap("#room button[role=tab]:has-text('Video')")
    page.tap("#f_keyframes label:has-text('2')")
    expect(page.locator(".card:visible")).to_have_count(2)
    page.tap("#anim")
    status(page, "Done", "#v_stat")
    page.wait_for_function("document.querySelector('#v_mon video').readyState >= 2")
    is_sound(page, "#v_acts button, #v_acts a, .card button, [data-play]")
    page.tap("#v_more summary:has-text('Film report')")
    page.tap("#v_more summary:has-text('Export')")
    is_sound(page, "#v_more summary, #v_more [type=submit]")


def test_the_library_and_the_models_on_a_phone(open_: Callable[..., Page]) -> None:
    page = two_pictures(open_)
    page.tap("#room button[role=tab]:has-text('Library')")
    page.wait_for_selector("#lib .pick >> nth=1")
    is_sound(page, "#lib .pick, #lib_select, #lib_trash")
    page.tap("#lib_select")
    for number in (0, 1):
        page.tap(f"#lib .pick >> nth={number}")
    expect(page.locator("#lib_count")).to_have_text("2 selected")
    is_sound(page, "#lib_chosen button")
    page.tap("#lib_chosen button:has-text('Done')")
    page.tap("#lib .pick >> nth=0")
    expect(page.locator("#lib_sheet h2")).to_be_visible()
    is_sound(page, "#lib_sheet button, #lib_sheet summary")
    page.tap("#lib_sheet header button")
    page.tap("#room button[role=tab]:has-text('Models')")
    page.wait_for_selector(".model")
    is_sound(page, ".model button:not(:disabled), .model summary")
