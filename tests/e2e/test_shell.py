"""Library, models, languages, the app as installed, passwords: in a real browser; and what axe finds on every page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from flux_svd.catalog import MODELS
from flux_svd.metrics.film import FilmReport, Join, Way
from flux_svd.web.exports import export_form
from flux_svd.web.film_report import report_list
from flux_svd.web.texts import TEXTS
from tests.e2e.browser import running_app
from tests.e2e.steps import findings, settings
from tests.test_library import put

if TYPE_CHECKING:
    from flux_svd.recipe import VideoRecipe

pytestmark = pytest.mark.e2e
TABS = ("Create", "Video", "Library", "Models")


def fill(folder: Path) -> None:
    """Put results of a few days into the output folder, as runs save them."""
    for n in range(90):
        age = n * 3600.0
        put(folder / "outputs", f"p{n:02}", prompt=f"a {('red', 'blue', 'green')[n % 3]} shape number {n}", score=n / 90, age=age)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("app")
    fill(folder)
    with running_app(folder) as address:
        yield address


def to(page: Page, number: int) -> None:
    page.locator("#room button[role=tab]:visible").nth(number).click()


def to_library(page: Page) -> None:
    to(page, 2)
    page.wait_for_selector("#lib .it img")


# Library.


def test_the_grid_grows_while_one_scrolls_and_is_searched(open_: Callable[..., Page]) -> None:
    page = open_()
    to_library(page)
    assert page.locator("#lib .it").count() == 60
    page.evaluate("document.querySelector('#lib_end').scrollIntoView()")
    expect(page.locator("#lib .it")).to_have_count(90)
    page.fill("[name=lib_words]", "green number 5")
    expect(page.locator("#lib .it")).to_have_count(7)
    page.fill("[name=lib_words]", "nothing of the kind")
    expect(page.locator("#lib_grid")).to_contain_text("Nothing matches")
    page.fill("[name=lib_words]", "")
    page.click("#lib_more")
    page.select_option("[name=lib_order]", "best")
    expect(page.locator("#lib .it >> nth=0")).to_contain_text("number 89")
    page.fill("[name=lib_score]", "0.95")
    expect(page.locator("#lib .it")).to_have_count(4)


def test_details_star_and_the_way_back_into_the_form(open_: Callable[..., Page]) -> None:
    page = open_()
    to_library(page)
    page.click("#lib .pick >> nth=1")
    sheet = page.locator("#lib_sheet")
    expect(sheet).to_contain_text("a blue shape number 1")
    expect(sheet).to_contain_text("made by a model, and marked so in the file")
    expect(sheet.locator("img")).to_have_attribute("alt", "a blue shape number 1")
    sheet.locator("role=button[name='Star']").click()
    expect(sheet.locator("text=Take star away")).to_be_visible()
    sheet.locator("summary >> nth=0").click()
    expect(sheet.locator("details >> nth=0")).to_contain_text("Guidance")
    assert json.loads(sheet.locator("[data-copy]").get_attribute("data-copy") or "")["prompt"] == "a blue shape number 1"
    sheet.locator("text=Use all settings").click()
    expect(sheet).to_be_hidden()
    expect(page.locator("#f_prompt textarea")).to_have_value("a blue shape number 1")
    page.click("#c_fold button.label-wrap")
    expect(page.locator("#f_seed input")).to_have_value(re.compile(r"\d+"))
    to_library(page)
    page.click("#lib_more")
    page.check("#lib_starred")
    expect(page.locator("#lib .it")).to_have_count(1)


def test_a_result_or_a_file_becomes_a_keyframe(open_: Callable[..., Page], tmp_path: Path) -> None:
    page = open_()
    to_library(page)
    page.click("#lib .pick >> nth=1")
    page.click("#lib_sheet >> text=Use as keyframe")
    first, second = (page.locator(".card").nth(n) for n in (0, 1))
    expect(first).to_contain_text("Your picture")
    expect(first.locator(".pic")).to_have_count(1)
    expect(second).not_to_contain_text("Your picture")
    Image.new("RGB", (320, 192), "red").save(tmp_path / "mine.png")
    second.locator("input[type=file]").set_input_files(str(tmp_path / "mine.png"))
    expect(second).to_contain_text("Your picture")
    page.click("role=button[name='Remove stage 1']")
    expect(first).to_contain_text("Your picture")
    expect(second).not_to_contain_text("Your picture")
    page.click("role=button[name='Draw stage 1 instead of your picture']")
    expect(first).not_to_contain_text("Your picture")
    (tmp_path / "fake.png").write_text("<svg/>")
    first.locator("input[type=file]").set_input_files(str(tmp_path / "fake.png"))
    expect(first).to_contain_text("the content is something else")


def test_several_are_compared_thrown_away_had_back_and_loaded(open_: Callable[..., Page]) -> None:
    page = open_()
    to_library(page)
    page.click("#lib_select")
    compare = page.locator("[data-many=compare]")
    expect(compare).to_be_disabled()
    page.click("#lib .pick >> nth=4")
    page.click("#lib .pick >> nth=5")
    expect(page.locator("#lib_count")).to_have_text("2 selected")
    compare.click()
    expect(page.locator("#lib_sheet .over img")).to_have_count(2)
    page.focus("#lib_sheet input[type=range]")
    page.keyboard.press("End")
    assert page.evaluate("document.querySelector('.over').style.getPropertyValue('--at')") == "100%"
    page.keyboard.press("Escape")
    expect(page.locator("#lib_sheet")).to_be_hidden()
    with page.expect_download() as waiting:
        page.click("[data-many=zip]")
    assert waiting.value.suggested_filename == "flux_svd.zip"
    page.click("[data-many=delete]")
    expect(page.locator("#lib_note")).to_have_text("2 moved to the trash.")
    page.click("#lib_trash")
    expect(page.locator("#lib .it")).to_have_count(2)
    page.click("#lib .it >> nth=0 >> text=Restore")
    expect(page.locator("#lib .it")).to_have_count(1)
    page.click("#lib .it >> nth=0 >> text=Restore")
    page.click("#lib_trash")
    expect(page.locator("#lib .it")).to_have_count(60)


def test_the_library_works_by_keyboard_alone(open_: Callable[..., Page]) -> None:
    page = open_()
    to_library(page)
    page.focus("[name=lib_words]")
    page.keyboard.type("red number 0")
    expect(page.locator("#lib .it")).to_have_count(6)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.pick')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#lib_sheet")).to_be_visible()
    assert page.evaluate("document.querySelector('#lib_sheet').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(page.locator("#lib_sheet")).to_be_hidden()
    assert page.evaluate("document.activeElement.matches('.pick')")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_words_of_the_toolbar_stand_apart_and_a_long_name_stays_in_its_sheet(open_: Callable[..., Page], width: int) -> None:
    page = open_(width=width)
    to_library(page)
    page.click("#lib_select")
    page.click("#lib .pick >> nth=4")
    page.click("#lib .pick >> nth=5")
    expect(page.locator("#lib_count")).to_have_text("2 selected")
    apart = """() => {
      const seen = [...document.querySelectorAll('#lib_chosen > *')].map((e) => {
        const range = document.createRange(); range.selectNodeContents(e); return range.getBoundingClientRect(); });
      const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
      return seen.every((a, n) => a.right <= innerWidth && seen.every((b, m) => n === m || !meet(a, b))); }"""
    assert page.evaluate(apart)
    page.click("#lib_chosen button:has-text('Done')")
    page.click("#lib .pick >> nth=1")
    page.wait_for_selector("#lib_sheet .facts")
    lengthen = "all => all.forEach((e) => { e.textContent += 'a_long_name'.repeat(20); })"
    page.eval_on_selector_all("#lib_sheet .facts bdi", lengthen)
    right = "one => one.getBoundingClientRect().right"
    inside = f"e => [...e.querySelectorAll('*')].every((one) => ({right})(one) <= ({right})(e))"
    assert page.locator("#lib_sheet").evaluate(inside)


# Models.


def test_models_say_what_fits_and_ask_for_the_licence(open_: Callable[..., Page]) -> None:
    page = open_()
    settings(page)
    page.click("#c_models [data-do=models]")
    expect(page.locator(".model[data-model=pocket-flux]")).to_contain_text("Ready")
    expect(page.locator(".model[data-model=pocket-flux]")).to_contain_text("Fits this machine")
    dev = page.locator(".model[data-model=flux1-dev]")
    expect(dev).to_contain_text("non-commercial")
    dev.locator("text=Accept the licence").click()  # which asks, and accepts nothing yet
    expect(dev.locator(".sure")).to_contain_text("FLUX")
    expect(dev.locator("role=button[name^='Accept:']")).to_be_focused()
    dev.locator("role=button[name^='Cancel:']").click()
    expect(dev.locator("button")).to_have_text(["Accept the licence"])  # a list: two buttons are waited out, not an error at once
    assert not next(row for row in page.request.get(f"{page.url.split('?')[0]}models/list").json()["models"]
                    if row["name"] == "flux1-dev")["accepted"]  # fmt: skip
    dev.locator("text=Accept the licence").click()
    dev.locator("role=button[name^='Accept:']").click()
    expect(dev.locator("[role=status]")).to_have_text("Accepted; the time is noted.")  # in sight, beside the button
    expect(dev.locator("button")).to_have_text(["Download"])
    assert page.locator(".model").count() == len(MODELS)


# Languages.


# All four are walked by test_no_page_holds_english_that_the_table_can_turn; this is a region without words of its own.
def test_the_page_speaks_the_browsers_language(open_: Callable[..., Page]) -> None:
    page = open_(locale="es-MX")
    say = {english: others[0] for english, others in TEXTS.items()}
    assert page.evaluate("document.documentElement.lang").startswith("es")
    expect(page.locator("#gen")).to_have_text(say["Generate"])
    for number, english in enumerate(TABS):
        expect(page.locator("#room button[role=tab]:visible").nth(number)).to_have_text(say[english])
    expect(page.locator("#stat")).to_contain_text(say["Ready"])
    expect(page.locator("#f_prompt textarea")).to_have_value("a red circle on a blue background")  # a user's words stay
    page.locator("#c_set button.label-wrap").last.click()
    expect(page.locator("#c_facts")).to_contain_text(say["pocket models are tiny"])
    page.click("#c_fold button.label-wrap")
    page.fill("#f_steps input", "0")
    expect(page.locator("#c_line [role=alert]")).to_contain_text(say["a whole number from {n} to {m}"].format(n=1, m=150))
    to(page, 1)
    expect(page.locator("role=button[name='" + say["Move stage {n} left"].format(n=2) + "']")).to_be_visible()
    to_library(page)
    expect(page.locator("#lib_select")).to_have_text(say["Select"])
    expect(page.locator("#lib bdi >> nth=0")).to_contain_text("shape number")
    to(page, 3)
    expect(page.locator(".model[data-model=pocket-flux]")).to_contain_text(say["Free for any use."])


SAID = """() => {
  const said = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  for (let node = document.body; node; node = walk.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE) {
      if (!node.parentElement.closest('script,style,code,textarea,[data-words]')) said.push(node.nodeValue);
      continue;
    }
    for (const name of ['aria-label', 'placeholder', 'title']) said.push(node.getAttribute(name) || '');
    if (node.matches('input:not([type=file],[type=checkbox],[type=radio])')) said.push(node.value);
    for (const part of ['::before', '::after']) {
      const words = getComputedStyle(node, part).content;
      if (words.startsWith('"')) said.push(words.slice(1, -1));
    }
  }
  return [...new Set(said.map((one) => one.trim()).filter(Boolean))];
}"""


def english_in(said: list[str], column: int) -> list[str]:
    """Return what of this stands in the table in English and is something else in a language, placeholders filled in or not."""
    theirs = {others[column] for others in TEXTS.values()}
    shapes = [re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(text)), re.DOTALL) for text, others in TEXTS.items()
              if others[column] != text and len(re.sub(r"\{\w+\}|\W", "", text)) >= (8 if "{" in text else 1)]  # fmt: skip
    turned = [re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(text)), re.DOTALL) for text in theirs if "{" in text]
    unturned = [one for one in said if one not in theirs and not any(shape.fullmatch(one) for shape in turned)]
    return [one for one in unturned if any(shape.fullmatch(one) for shape in shapes)]


# What one language leaves in English nearly all do.
_WALKED = [("de-DE", 2), ("zh-CN", 3), *(pytest.param(*one, marks=pytest.mark.slow) for one in (("es-ES", 0), ("fr-FR", 1)))]


@pytest.mark.parametrize(("locale", "column"), _WALKED)
def test_no_page_holds_english_that_the_table_can_turn(open_: Callable[..., Page], locale: str, column: int) -> None:
    page = open_(locale=locale)
    assert page.evaluate("document.documentElement.lang").startswith(locale[:2])
    found: dict[str, list[str]] = {}

    def look(where: str) -> None:
        page.wait_for_timeout(300)
        said = page.evaluate(SAID)
        assert len(said) > 20
        found[where] = english_in(said, column)

    for fold in page.locator("#c_set button.label-wrap:visible").all():
        fold.click()
    best = TEXTS["Best here: {name}"][column].format(name="Pocket FLUX")
    expect(page.locator("#f_model input")).to_have_value(best)
    look("Create")
    page.fill("#f_prompt textarea", "")
    expect(page.locator("#c_line [role=alert]")).to_have_text(TEXTS["Write what you want to see."][column])
    to(page, 1)
    for fold in page.locator("#v_set button.label-wrap:visible").all():
        fold.click()
    joins, ways = (Join(22, 2.1, 1.0),), (Way(0, 44, 0.3, 9.5, 27),)
    report = FilmReport(45, 1.88, 0.1, 0.2, 3, (), joins, ways, (0.9, 0.3, 28), ())
    more = export_form("files/none/film.mp4", cast("VideoRecipe", SimpleNamespace(fps=12))) + report_list(report.as_json(), 12)
    page.eval_on_selector("#v_more", "(e, more) => { e.innerHTML = more; }", more)
    expect(page.locator("#v_more .finds")).to_contain_text(TEXTS["The subject changes at {t}."][column].split("{")[0])
    look("Video")
    assert (",5" if locale != "zh-CN" else ".5") in page.locator("#v_more .figures").text_content()
    to_library(page)
    page.click("#lib_more")
    look("Library")
    page.click("#lib .pick >> nth=1")
    page.wait_for_selector("#lib_sheet .facts")
    look("details")
    page.keyboard.press("Escape")
    to(page, 3)
    page.wait_for_selector(".model")
    look("Models")
    page.click("[data-queue]")
    look("Queue")
    assert {where: what for where, what in found.items() if what} == {}


def test_english_that_is_left_is_found() -> None:
    said = ["Drop a file, or click to choose one", "The best model that fits is svd-xt.", "Datei hochladen", "Film"]
    assert english_in(said, 2) == said[:2]


def test_an_unknown_language_gets_english(open_: Callable[..., Page]) -> None:
    page = open_(locale="fi-FI")
    expect(page.locator("#gen")).to_have_text("Generate")
    assert page.evaluate("document.documentElement.lang") == "en"


# The app as installed.


def test_the_page_can_be_installed_with_our_icon_and_keeps_no_results(open_: Callable[..., Page], address: str) -> None:
    page = open_()
    told = page.evaluate("fetch(document.querySelector('link[rel=manifest]').href).then((answer) => answer.json())")
    assert told["name"] == "flux_svd"
    assert told["display"] == "standalone"
    for icon in told["icons"]:
        size = page.evaluate("(src) => createImageBitmap(new Image()).catch(() => fetch(src).then((a) => a.blob())"
                             ".then(createImageBitmap)).then((b) => `${b.width}x${b.height}`)", icon["src"])  # fmt: skip
        assert size == icon["sizes"]
    assert page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0
    assert page.evaluate("caches.keys().then((all) => all.length)") == 0


# A password.


def test_a_password_is_asked_for_and_opens_the_page(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUX_SVD_PASSWORD", "a long enough password")
    with running_app(tmp_path) as address:
        context = browser.new_context(color_scheme="dark")
        page = context.new_page()
        page.goto(address)
        page.fill("[name=password]", "a wrong password")
        page.keyboard.press("Enter")
        expect(page.locator("[role=alert]")).to_have_text("Name or password is wrong.")
        assert findings(page) == []
        page.fill("[name=password]", "a long enough password")
        page.keyboard.press("Enter")
        page.wait_for_selector("#gen")
        expect(page.locator("#bar .queue")).to_have_text("idle")
        to(page, 3)
        page.click("text=Log out")
        expect(page.locator("[name=password]")).to_be_visible()
        page.goto(f"{address}/")
        expect(page.locator("[name=password]")).to_be_visible()
        context.close()
    assert "a long enough password" not in (tmp_path / "app.log").read_text()


# Accessibility.


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)], ids=["desk-light", "desk-dark", "phone"])
def test_axe_finds_nothing_serious(open_: Callable[..., Page], width: int, dark: bool) -> None:
    page = open_(width=width, dark=dark)
    page.click("#c_fold button.label-wrap")
    found = {"Create": findings(page)}
    to(page, 1)
    page.wait_for_selector("#anim")
    found["Video"] = findings(page)
    to_library(page)
    page.click("#lib_more")
    found["Library"] = findings(page)
    page.click("#lib .pick >> nth=0")
    page.wait_for_selector("#lib_sheet img")
    found["details"] = findings(page)
    page.keyboard.press("Escape")
    to(page, 3)
    page.wait_for_selector(".model")
    found["Models"] = findings(page)
    assert {where: what for where, what in found.items() if what} == {}


def test_axe_finds_what_is_planted(open_: Callable[..., Page]) -> None:
    page = open_()
    page.evaluate("document.querySelector('#bar').insertAdjacentHTML('beforeend', '<button></button><img src=icon-192.png>')")
    assert {one.split(":")[0] for one in findings(page)} >= {"button-name", "image-alt"}
