"""What the page looks like, as far as a rule can say it: rows, widths, hit areas, names, themes; at desk and phone width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from playwright.sync_api import Browser, Page, expect

from flux_svd.web.exports import export_form
from tests.e2e.browser import open_page
from tests.e2e.steps import run

if TYPE_CHECKING:
    from flux_svd.recipe import VideoRecipe

pytestmark = pytest.mark.e2e

BOX = "e => { const r = e.getBoundingClientRect(); return {top: r.top, bottom: r.bottom, left: r.left, right: r.right}; }"
# Every movement that ends has ended, and the page was drawn after it.
SETTLED = """async () => {
  const ends = (one) => one.effect.getComputedTiming().endTime !== Infinity;
  await Promise.all(document.getAnimations().filter(ends).map((one) => one.finished.catch(() => {})));
  for (let n = 0; n < 2; n++) await new Promise(requestAnimationFrame);
}"""
# 44 pixels; 42 where a frame of one pixel stands around them.
SMALL = """() => [...document.querySelectorAll('button,a,input,textarea,select,summary,[role=tab]')].filter((e) => {
  if (!e.checkVisibility({ visibilityProperty: true, opacityProperty: false })) return false;
  const r = (e.matches('input[type=checkbox],input[type=radio]') ? e.closest('label') : e.closest('.wrap-inner') || e)
    .getBoundingClientRect();
  const least = e.closest('.seg, .wrap-inner') ? 41.5 : 43.5;
  return r.width > 0 && (r.height < least || r.width < least);
}).map((e) => e.outerHTML.slice(0, 140))"""
UNNAMED = """() => [...document.querySelectorAll('button,a,input,textarea,select,video,[role=tab]')].filter((e) => {
  if (!e.checkVisibility({ visibilityProperty: true })) return false;
  const label = e.getAttribute('aria-label') || e.innerText || (e.labels && e.labels[0] && e.labels[0].innerText) || e.title
    || document.getElementById(e.getAttribute('aria-labelledby'))?.innerText;
  return !(label || '').trim();
}).map((e) => e.outerHTML.slice(0, 140))"""


@pytest.fixture(scope="module", params=[(1280, False), (1280, True), (800, False), (390, False), (390, True)],
                ids=["desk-light", "desk-dark", "tablet", "phone-light", "phone-dark"])  # fmt: skip
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    width, dark = request.param
    page = open_page(browser, address, width=width, height=860, dark=dark)
    page.click("#c_fold button.label-wrap")
    page.wait_for_selector("#f_steps input")
    yield page
    page.context.close()


def show(page: Page, tab: str) -> None:
    page.click(f"#room button[role=tab]:has-text('{tab}')")
    page.wait_for_selector({"Create": "#gen", "Video": "#anim", "Library": "#lib_grid *", "Models": ".model"}[tab])
    page.evaluate(SETTLED)


@pytest.mark.parametrize("tab", ["Create", "Video", "Library", "Models"])
def test_nothing_scrolls_sideways(page: Page, tab: str) -> None:
    show(page, tab)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_bar_and_tabs_share_a_row_where_there_is_room(page: Page) -> None:
    bar, tabs = (page.locator(one).evaluate(BOX) for one in ("#bar", "#room [role=tablist] >> nth=0"))
    if page.viewport_size["width"] > 1120:
        assert abs(bar["top"] - tabs["top"]) < 2
        assert abs(bar["bottom"] - tabs["bottom"]) < 2
        name = page.locator("#bar h1").evaluate(BOX)
        assert name["right"] < tabs["left"]
    else:
        assert tabs["top"] >= bar["bottom"] - 1
    assert page.locator("#room button[role=tab]:visible").count() == 4


@pytest.mark.parametrize("tab", ["Create", "Video", "Library", "Models"])
def test_everything_is_large_enough_to_hit(page: Page, tab: str) -> None:
    show(page, tab)
    assert page.evaluate(SMALL) == []


@pytest.mark.parametrize("tab", ["Create", "Video", "Library", "Models"])
def test_every_control_has_a_name(page: Page, tab: str) -> None:
    show(page, tab)
    assert page.evaluate(UNNAMED) == []


def test_start_button_is_in_reach(page: Page) -> None:
    show(page, "Create")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.evaluate(SETTLED)
    box = page.locator("#gen").evaluate(BOX)
    if page.viewport_size["width"] < 720:
        assert box["top"] >= 0
        assert box["bottom"] <= page.viewport_size["height"]
    page.evaluate("scrollTo(0, 0)")


def test_labels_are_plain_text_and_amber_is_only_for_starting(page: Page) -> None:
    clear = "e => getComputedStyle(e).backgroundColor"
    assert set(page.locator("[data-testid=block-info]").evaluate_all(f"all => all.map({clear})")) <= {"rgba(0, 0, 0, 0)"}
    amber = page.evaluate(
        "() => [...document.querySelectorAll('button')].filter((e) => e.checkVisibility() && "
        "getComputedStyle(e).backgroundColor === 'rgb(242, 169, 59)').map((e) => e.id)"
    )
    assert amber in (["gen"], ["anim"])


def test_theme_follows_the_system(page: Page, request: pytest.FixtureRequest) -> None:
    dark = request.node.callspec.params["page"][1]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(22, 22, 22)" if dark else "rgb(245, 245, 245)"
    )


def test_result_comes_before_settings_on_a_phone_and_beside_them_elsewhere(page: Page) -> None:
    show(page, "Create")
    ask, see, settings = (page.locator(one).evaluate(BOX) for one in ("#c_ask", "#c_see", "#c_set"))
    if page.viewport_size["width"] < 720:
        assert ask["bottom"] <= see["top"] + 1
        assert see["bottom"] <= settings["top"] + 1
    else:
        assert see["left"] >= ask["right"] - 1


def test_the_film_stays_in_sight_while_its_settings_are_read(page: Page) -> None:
    show(page, "Video")
    if (page.viewport_size or {"width": 0})["width"] < 1200:
        pytest.skip("beside them there, or above")
    page.click("#v_how button.label-wrap")
    page.wait_for_selector("#f_transition input", state="attached")
    page.evaluate("scrollTo(0, 200)")
    assert page.locator("#v_mon").evaluate(BOX)["top"] == pytest.approx(24, abs=1)
    page.click("#v_how button.label-wrap")
    page.evaluate("scrollTo(0, 260)")  # where the column ends, the status under the film is not covered by it
    assert page.locator("#v_see .under").evaluate(BOX)["top"] >= page.locator("#v_mon").evaluate(BOX)["bottom"]
    page.evaluate("scrollTo(0, 0)")


def test_the_figures_of_a_choice_look_unlike_its_name_on_every_line(page: Page) -> None:
    show(page, "Video")
    size = "e => parseFloat(getComputedStyle(e).fontSize)"
    names, figures = page.locator("#f_keyframes label span"), page.locator("#f_keyframes label small")
    assert names.all_inner_texts() == ["2\n1.92 s", "3\n3.75 s", "4\n5.58 s", "5\n7.42 s"]
    assert {names.nth(n).evaluate(size) for n in range(4)} == {16}
    assert {figures.nth(n).evaluate(size) for n in range(4)} == {13}
    write = "words => { document.querySelector('#f_keyframes label span').firstChild.nodeValue = words; }"
    page.evaluate(write, "a name of several words that wraps\n9 s")
    expect(figures.first).to_have_text("9 s")
    assert figures.first.evaluate("e => e.parentElement.firstChild.nodeValue") == "a name of several words that wraps"
    page.evaluate(write, "2\n1.92 s")


def test_nothing_moves_when_a_picture_comes(page: Page) -> None:
    show(page, "Create")
    before = [page.locator(where).evaluate(BOX)["top"] for where in ("#c_set", "#pic")]
    run(page, "#gen", "Done")
    page.evaluate(SETTLED)
    shown = "all => all.filter((e) => e.checkVisibility()).map((e) => e.getBoundingClientRect().top)"
    tops = page.eval_on_selector_all("#c_acts .do", shown)
    assert len(tops) >= 5
    assert 1 not in Counter(tops).values()  # no action stands alone on a row
    if (page.viewport_size or {"width": 0})["width"] > 1120:
        assert [page.locator(where).evaluate(BOX)["top"] for where in ("#c_set", "#pic")] == before


def test_the_meter_is_seen_where_the_column_ends_and_the_length_of_a_film_is_said_once(page: Page) -> None:
    show(page, "Video")
    words = page.locator("#v_film .total").text_content()
    assert words
    assert page.locator(f"text='{words}'").evaluate_all("all => all.filter((e) => e.checkVisibility()).length") == 1
    meter = '<div class="meter"><i style="width:50%"></i></div>'
    page.eval_on_selector("#v_stat [role=status]", "(e, meter) => e.insertAdjacentHTML('beforeend', meter)", meter)
    page.evaluate("scrollTo(0, 300)")
    assert page.locator("#v_stat .meter").evaluate(BOX)["bottom"] <= page.locator("#v_film").evaluate(BOX)["top"]
    page.evaluate("scrollTo(0, 0)")
    page.eval_on_selector("#v_stat .meter", "e => e.remove()")


def test_alike_parts_of_all_cards_share_a_row(page: Page) -> None:
    show(page, "Video")
    before = page.input_value("#f_stages-1-prompt textarea")
    page.fill("#f_stages-1-prompt textarea", "a yellow star in the center on a black background, seen from above " * 2)
    page.evaluate(SETTLED)
    edges = """which => [...document.querySelectorAll('.card')].filter((e) => e.offsetParent)
      .map((card) => Math.round(card.querySelector(which).getBoundingClientRect().bottom))"""
    tall, low = (page.locator(f"#f_stages-{n}-prompt textarea").evaluate("e => e.clientHeight") for n in (1, 0))
    assert tall > low
    assert page.locator("#f_stages-1-prompt").evaluate(BOX)["right"] == page.locator(".card .two >> nth=1").evaluate(BOX)["right"]
    for which in ("[id$=-seed]", ".two", ".tools"):
        assert len({*page.evaluate(edges, which)}) == 1, which
    page.fill("#f_stages-1-prompt textarea", before)


def test_native_parts_of_fields_take_the_theme(page: Page, request: pytest.FixtureRequest) -> None:
    dark = request.node.callspec.params["page"][1]
    show(page, "Library")
    for where in ("[name=lib_since]", "html"):
        assert page.eval_on_selector(where, "e => getComputedStyle(e).colorScheme") == ("dark" if dark else "light")


def test_sound_is_given_in_an_area_of_our_own(page: Page) -> None:
    show(page, "Video")
    form = export_form("files/none/film.mp4", cast("VideoRecipe", SimpleNamespace(fps=12)))
    page.eval_on_selector("#v_more", "(e, form) => { e.innerHTML = form; e.querySelector('details').open = true; }", form)
    area, field = page.locator(".give"), page.locator(".give input")
    assert field.evaluate("e => getComputedStyle(e).opacity") == "0"
    assert [round(one) for one in field.evaluate(BOX).values()] == [
        round(one) + inset for one, inset in zip(area.evaluate(BOX).values(), (1, -1, 1, -1), strict=True)
    ]  # all of it hears a click or a drop
    field.set_input_files({"name": "a-long-name-of-a-sound-file-that-wraps.ogg", "mimeType": "audio/ogg", "buffer": b"sound"})
    expect(area).to_contain_text("a-long-name-of-a-sound-file-that-wraps.ogg")
    assert area.evaluate("e => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight")
    area.locator("role=button[name='Remove the sound']").click()
    expect(area).to_have_text("Drop a file, or click to choose one")
    assert field.evaluate("e => e.files.length") == 0
    page.eval_on_selector("#v_more", "e => { e.innerHTML = ''; }")


def test_keyboard_alone_reaches_prompt_choices_and_start(browser: Browser, address: str) -> None:
    page = open_page(browser, address)
    page.focus("#f_width input >> nth=0")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#f_width input >> nth=1")).to_be_checked()
    ring = page.evaluate("getComputedStyle(document.activeElement.closest('label')).outlineStyle")
    assert ring == "solid"
    page.focus("#f_prompt textarea")
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert "gen" in reached
    page.context.close()


def test_reduced_motion_stops_all_of_it(browser: Browser, address: str) -> None:
    page = open_page(browser, address, reduced_motion="reduce")
    moving = page.evaluate(
        "() => [...document.querySelectorAll('#create *, #bar *')].filter((e) => "
        "getComputedStyle(e).transitionDuration.split(',').some((t) => parseFloat(t) > 0)).length"
    )
    assert moving == 0
    page.context.close()
