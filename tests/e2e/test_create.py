"""Create in a real browser, with the real pocket models: from the first look to the downloaded file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import open_page, running_app
from tests.e2e.steps import LONG, findings, menu, picture, run, settings, status, to_video

pytestmark = pytest.mark.e2e
DROP = """([where, bytes]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new Uint8Array(bytes)], 'mine.png', { type: 'image/png' }));
  document.querySelector(where).dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
}"""


def test_first_picture_from_the_filled_in_example(open_: Callable[..., Page]) -> None:
    page = open_()
    assert page.input_value("#f_prompt textarea") == "a red circle on a blue background"
    expect(page.locator("#c_line")).to_contain_text(re.compile(r"\d+ MiB of memory"))
    page.focus("#f_prompt textarea")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#stop")).to_be_visible()
    status(page, "Done")
    status(page, "made by a pocket model")
    expect(page.locator("#stat")).to_contain_text(re.compile(r"Match 0\.\d\d"))
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#say")).to_contain_text("Done in")  # what a screen reader is told
    shown = page.locator("#pic img")
    assert shown.get_attribute("alt") == "a red circle on a blue background"
    assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [128, 128]
    assert "/files/" in f"/{shown.get_attribute('src')}"
    page.click("text=What will happen")
    expect(page.locator("#c_facts")).to_contain_text("pocket-flux · CPU · resident")


def test_same_seed_gives_the_same_picture_and_a_new_one_another(open_: Callable[..., Page]) -> None:
    page = open_()
    settings(page)
    digests = []
    for _ in range(2):
        page.fill("#f_seed input", "7")
        expect(page.locator("#c_fresh input")).not_to_be_checked()
        run(page, "#gen", "Done")
        digests.append(hashlib.sha256(picture(page)).hexdigest())
    assert digests[0] == digests[1]
    page.check("#c_fresh input")
    run(page, "#gen", "Done")
    expect(page.locator("#f_seed input")).not_to_have_value("7")
    assert hashlib.sha256(picture(page)).hexdigest() != digests[0]
    seed = page.input_value("#f_seed input")
    menu(page, "More", "[data-do=seed]")
    expect(page.locator("#c_fresh input")).not_to_be_checked()
    assert page.input_value("#f_seed input") == seed


def test_candidates_are_chosen_copied_downloaded_and_dropped_back(open_: Callable[..., Page], tmp_path: Path) -> None:
    page = open_()
    page.click("#f_width label:has([value='5:3'])")
    page.click("#f_count label:has-text('2')")
    page.fill("#f_prompt textarea", "a green star on a white background")
    page.click("#gen")
    expect(page.locator("#c_row button")).to_have_count(2, timeout=LONG)
    status(page, "Done")
    expect(page.locator("#c_row button >> nth=0")).to_have_attribute("aria-pressed", "true")
    first = page.get_attribute("#pic img", "src")
    page.click("#c_row button >> nth=1")
    expect(page.locator("#c_row button >> nth=1")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#pic img")).not_to_have_attribute("src", first or "")
    status(page, "Picture 2 of 2")
    menu(page, "More", "[data-copy]")
    expect(page.locator("#c_acts [data-copy]")).to_have_text("Copied")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert (copied["width"], copied["height"], copied["prompt"]) == (160, 96, "a green star on a white background")
    with page.expect_download() as waiting:
        page.click("#c_acts a[download]")
    saved = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(saved)
    assert saved.name.startswith("a-green-star")
    other = open_()
    settings(other)
    other.set_input_files("#f_file input[type=file]", str(saved))
    expect(other.locator("#f_prompt textarea")).to_have_value("a green star on a white background")
    expect(other.locator("#f_width input[value='5:3']")).to_be_checked()
    expect(other.locator("#c_set")).to_contain_text("Its settings are back")


def test_an_effort_shows_what_it_sets_and_typed_steps_go_before_it(open_: Callable[..., Page]) -> None:
    page = open_()
    settings(page)
    for effort, steps in (("Draft", 4), ("Best", 16)):
        page.click(f"#f_preset label:has-text('{effort}')")
        expect(page.locator("#f_steps input")).to_have_attribute("placeholder", str(steps))
        expect(page.locator("#c_line")).to_contain_text(f"128 × 128 · {steps} steps")
    page.fill("#f_steps input", "5")
    expect(page.locator("#c_line")).to_contain_text("128 × 128 · 5 steps")
    expect(page.locator("#f_preset input[value=best]")).to_be_checked()
    run(page, "#gen", "Done")
    expect(page.locator("#f_preset label:has-text('Balanced')")).to_contain_text(re.compile(r"\d+ s"))  # timed by now
    page.click("#f_preset label:has-text('Draft')")
    expect(page.locator("#f_steps input")).to_have_value("")
    expect(page.locator("#c_line")).to_contain_text("4 steps")


def test_a_picture_is_enlarged_compared_varied_and_comes_back(open_: Callable[..., Page], tmp_path: Path) -> None:
    page = open_()
    settings(page)
    page.fill("#f_seed input", "21")
    expect(page.locator("#c_fresh input")).not_to_be_checked()
    run(page, "#gen", "Done")
    menu(page, "Enlarge", "[data-i='2']")
    expect(page.locator("#stat")).to_contain_text("256 × 256 · seed 21 · enlarged by interpolation", timeout=LONG)
    assert page.locator("#pic img").evaluate("image => image.naturalWidth") == 256
    page.click("#c_acts [data-do=compare]")
    divider = page.locator("#pic .cmp input")
    expect(divider).to_be_focused()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("getComputedStyle(document.querySelector('.cmp')).getPropertyValue('--at')") == "51%"
    box = divider.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    expect(divider).to_have_value(re.compile("2[456]"))
    cut = page.evaluate("getComputedStyle(document.querySelector('.cmp .top')).clipPath")
    assert re.search(r"0px 0px 0px 2[456]%", cut)
    expect(page.locator("#stat")).to_contain_text("left: Before it was enlarged")
    assert findings(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("#pic .cmp")).to_have_count(0)
    page.click("#c_row button >> nth=0")
    expect(page.locator("#stat")).to_contain_text("128 × 128")
    page.click("#c_acts summary:has-text('Vary')")
    assert findings(page) == []
    page.click("#c_acts [data-do=vary][data-i='1']")
    expect(page.locator("#c_row button")).to_have_count(4, timeout=LONG)
    status(page, "Done")
    expect(page.locator("#c_acts summary")).to_have_count(2)  # Enlarge, More: nothing is near a variation
    page.click("#c_acts [data-do=compare]")
    expect(page.locator("#c_row button")).to_have_count(5)  # three neighbours, the picture they are near, and its copy
    with page.expect_download() as waiting:
        page.click("#c_acts [data-do=leave]")
        page.click("#c_acts a[download]")
    waiting.value.save_as(tmp_path / "one.png")
    other = open_()
    settings(other)
    other.set_input_files("#f_file input[type=file]", str(tmp_path / "one.png"))
    expect(other.locator("#f_seed input")).to_have_value("21")
    expect(other.locator("#f_count input[value='4']")).to_be_checked()
    expect(other.locator("#c_extra")).to_contain_text("Near the picture of this seed")
    expect(other.locator("#c_extra")).to_contain_text("0.4")
    run(other, "#gen", "made before")
    other.click("#c_extra [data-do=forget]")
    expect(other.locator("#c_extra li")).to_have_count(0)


def test_a_foreign_picture_has_no_settings_and_changes_nothing(open_: Callable[..., Page], tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(tmp_path / "mine.png")
    page = open_()
    page.evaluate(DROP, ["#pic", list((tmp_path / "mine.png").read_bytes())])  # beside every area for files
    expect(page.locator("#c_set [role=alert]")).to_contain_text("carries no record")
    assert page.input_value("#f_prompt textarea") == "a red circle on a blue background"


BAD_VALUES = (
    ("steps", "0", "Steps: 0 is not accepted. Allowed: a whole number from 1 to 150."),
    ("steps", "many", "Steps: 'many' is not accepted. Allowed: a whole number from 1 to 150."),
    ("seed", str(2**64), "Allowed: a whole number from 0 to 18446744073709551615."),
    ("guidance", "nan", "Guidance: nan is not accepted. Allowed: a number from 0 to 30."),
)


def test_a_bad_value_is_named_at_its_field_and_nothing_is_lost(open_: Callable[..., Page]) -> None:
    page = open_()
    settings(page)
    page.fill("#f_prompt textarea", "a blue heart")
    for field, value, said in BAD_VALUES:
        page.fill(f"#f_{field} input", value)
        if field == "seed":
            expect(page.locator("#c_fresh input")).not_to_be_checked()
        page.click("#gen")
        expect(page.locator("#c_line [role=alert]")).to_contain_text(said)
        status(page, "Not started")
        expect(page.locator(f"#f_{field} input")).to_have_attribute("aria-invalid", "true")
        assert page.input_value("#f_prompt textarea") == "a blue heart"
        assert "Traceback" not in page.content()
        page.fill(f"#f_{field} input", "")
        expect(page.locator("#c_line [role=alert]")).to_have_count(0)
        expect(page.locator(f"#f_{field} input")).not_to_have_attribute("aria-invalid", "true")


def test_an_empty_prompt_is_refused(open_: Callable[..., Page]) -> None:
    page = open_()
    page.fill("#f_prompt textarea", "   ")
    page.click("#gen")
    status(page, "Not started")
    expect(page.locator("#c_line [role=alert]")).to_have_text("Write what you want to see.")


def test_words_of_a_user_stay_words(open_: Callable[..., Page]) -> None:
    page = open_()
    words = "\"><img src=x onerror='window.hit=1'> ${window.hit=2} {{7*7}} <i>fly</i> video"
    page.fill("#f_prompt textarea", words)
    expect(page.locator("#c_about")).to_contain_text("ignores:")
    page.click("#gen")
    status(page, "Done")
    assert page.evaluate("window.hit") is None
    assert page.get_attribute("#pic img", "alt") == words
    to_video(page)
    page.fill("#f_stages-0-prompt textarea", words)
    page.fill("#f_stages-0-seed input", words)
    expect(page.locator("#v_line [role=alert]")).to_contain_text("Stage 1, seed")
    assert page.evaluate("window.hit") is None


def test_unknown_words_are_said_and_a_film_is_suggested(open_: Callable[..., Page]) -> None:
    page = open_()
    page.fill("#f_prompt textarea", "a blue lighthouse moving from left to right")
    expect(page.locator("#c_about")).to_contain_text("ignores: lighthouse")
    expect(page.locator("#c_about")).to_contain_text("reads like a film")
    page.click("text=Make a film instead")
    page.wait_for_selector("#anim")
    expect(page.locator("#f_film textarea")).to_have_value("a blue lighthouse moving from left to right")
    expect(page.locator(".card:visible")).to_have_count(3)
    expect(page.locator("#f_stages-2-prompt textarea")).to_have_value("a blue lighthouse at the right")


def test_references_are_given_shown_and_removed(browser: Browser, tmp_path: Path) -> None:
    """With a model that obeys them on the disk: real layout, tiny random weights."""
    from PIL import Image

    from tests.tiny.builders import build_model

    build_model("flux2-klein-base-4b", tmp_path / "home" / "models" / "flux2-klein-base-4b")
    for name in ("red", "blue"):
        Image.new("RGB", (80, 60), name).save(tmp_path / f"{name}.png")
    (tmp_path / "fake.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    with running_app(tmp_path) as address:
        page = open_page(browser, address)
        page.click("text=What will happen")
        page.click("text=References")  # under "auto": the pocket model that takes them would step in
        page.set_input_files("#f_references input[type=file]", str(tmp_path / "red.png"))
        expect(page.locator("#c_facts")).to_contain_text("pocket-klein · CPU")
        page.click("role=button[name='Remove reference 1']")
        expect(page.locator("#c_facts")).to_contain_text("pocket-flux · CPU")
        settings(page)
        page.click("#f_model input")
        page.get_by_role("option", name="Pocket FLUX", exact=True).click()
        expect(page.locator("text=References")).to_have_count(0)
        page.click("#f_model input")
        page.click("[role=option]:has-text('base 4B')")
        expect(page.locator("#f_width input")).to_have_count(6)
        expect(page.locator("#c_line")).to_contain_text("1024 × 1024 · 28 steps")
        page.click("#f_preset label:has-text('Draft')")
        page.click("#f_width label:has([value='7:4'])")
        expect(page.locator("#c_line")).to_contain_text("1008 × 576 · 20 steps")
        expect(page.locator("#pic")).to_contain_text("1008 × 576")
        page.set_input_files("#f_references input[type=file]", [str(tmp_path / "red.png"), str(tmp_path / "blue.png")])
        expect(page.locator(".refs li img")).to_have_count(2)
        page.set_input_files("#f_references input[type=file]", str(tmp_path / "fake.png"))
        expect(page.locator(".refs [role=alert]")).to_contain_text("the content is something else")
        expect(page.locator(".refs li img")).to_have_count(2)
        page.click("role=button[name='Remove reference 1']")
        expect(page.locator(".refs li img")).to_have_count(1)
        assert not page.watch.faults  # type: ignore[attr-defined]
        page.context.close()
