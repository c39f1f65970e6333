"""Create and Video in a real browser, with the real pocket models: from the first look to the downloaded file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import open_page, running_app
from tests.e2e.test_shell import findings

pytestmark = pytest.mark.e2e
expect.set_options(timeout=60_000)  # a loaded machine is slow, not wrong
LONG = 180_000  # milliseconds for what runs a model on two slow cores
DROP = """([where, bytes]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new Uint8Array(bytes)], 'mine.png', { type: 'image/png' }));
  document.querySelector(where).dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
}"""


def status(page: Page, words: str, where: str = "#stat") -> None:
    expect(page.locator(where)).to_contain_text(words, timeout=LONG)


def run(page: Page, button: str, words: str, where: str = "#stat") -> None:
    """Press a button and wait for a status that was written after it."""
    page.eval_on_selector_all(f"{where} [role=status]", "all => all.forEach((e) => { e.dataset.old = 1; })")
    page.click(button)
    expect(page.locator(f"{where} [role=status]:not([data-old])")).to_contain_text(words, timeout=LONG)


def settings(page: Page) -> None:
    page.click("#c_fold button.label-wrap")
    page.wait_for_selector("#f_steps input")


def menu(page: Page, name: str, item: str) -> None:
    """Choose from a menu of what can be done with the large picture."""
    page.click(f"#c_acts summary:has-text('{name}')")
    page.click(f"#c_acts {item}")


def picture(page: Page) -> bytes:
    body: bytes = page.request.get(page.evaluate("document.querySelector('#pic img').src")).body()
    return body


def reload(page: Page) -> None:
    """Load the page again. What is logged while it is left (streams that break) is no fault; every other test loads pages too."""
    before = list(page.watch.faults)  # type: ignore[attr-defined]
    page.reload()
    page.wait_for_selector("#gen", state="attached")
    page.watch.faults[:] = before  # type: ignore[attr-defined]


def to_video(page: Page) -> None:
    page.click("#room button[role=tab]:has-text('Video')")
    page.wait_for_selector("#anim")
    page.wait_for_selector("#v_film .strip")


# Create.


def test_first_picture_from_the_filled_in_example(open_: Callable[..., Page]) -> None:
    page = open_()
    assert page.input_value("#f_prompt textarea") == "a red circle on a blue background"
    expect(page.locator("#c_line")).to_contain_text(re.compile(r"[\d.]+ of [\d.]+ GiB"))
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
    expect(page.locator("#c_facts")).to_contain_text("pocket-flux on cpu, resident")


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
    expect(page.locator("#f_preset label:has-text('Balanced')")).to_contain_text(re.compile(r"\d+ s\s+\d+ MiB"))  # timed by now
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


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("steps", "0", "Steps: 0 is not accepted. Allowed: a whole number from 1 to 150."),
        ("steps", "many", "Steps: 'many' is not accepted. Allowed: a whole number from 1 to 150."),
        ("seed", str(2**64), "Allowed: a whole number from 0 to 18446744073709551615."),
        ("guidance", "nan", "Guidance: nan is not accepted. Allowed: a number from 0 to 30."),
    ],
)
def test_a_bad_value_is_named_at_its_field_and_nothing_is_lost(
    open_: Callable[..., Page], field: str, value: str, said: str
) -> None:
    page = open_()
    settings(page)
    page.fill("#f_prompt textarea", "a blue heart")
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
    expect(page.locator("#c_line [role=alert]")).to_contain_text("Prompt")


def test_escape_stops_within_a_step_and_keeps_the_last_picture(open_: Callable[..., Page]) -> None:
    page = open_()
    page.click("#gen")
    status(page, "Done")
    kept = page.get_attribute("#pic img", "src")
    settings(page)
    page.fill("#f_steps input", "150")
    page.click("#gen")
    expect(page.locator("#stat")).to_contain_text(re.compile(r"Step \d+ of 150"), timeout=LONG)
    page.keyboard.press("Escape")
    expect(page.locator("#stat")).to_contain_text("Stopped", timeout=LONG)
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#pic img")).to_have_attribute("src", kept or "")
    expect(page.locator("#bar .queue")).to_have_text("idle", timeout=8_000)


def test_a_second_visitor_waits_and_is_told_so(open_: Callable[..., Page], address: str) -> None:
    page = open_()
    first = Client(address, verbose=False)
    long_film = first.submit(prompt="a red circle moving from left to right", transition_steps=150, api_name="/generate_video")
    expect(page.locator("#bar .queue")).not_to_have_text("idle", timeout=LONG)
    page.click("#gen")
    status(page, "1 ahead of you")
    page.click("#stop")
    expect(page.locator("#stat")).to_contain_text("Stopped", timeout=LONG)
    assert not long_film.done()
    long_film.cancel()
    expect(page.locator("#bar .queue")).to_have_text("idle", timeout=LONG)


def test_closing_the_tab_loses_nothing_and_the_address_shows_the_picture_again(open_: Callable[..., Page]) -> None:
    page = open_()
    settings(page)
    page.fill("#f_prompt textarea", "a green star on a white background")
    page.fill("#f_steps input", "60")
    page.click("#gen")
    expect(page.locator("#stat")).to_contain_text(re.compile(r"Step \d+ of 60"), timeout=LONG)
    where = page.url
    assert "job=" in where
    page.close()
    again = open_(path=where.rpartition("/")[2])
    expect(again.locator("#f_prompt textarea")).to_have_value("a green star on a white background")
    expect(again.locator("#stat")).to_contain_text(re.compile(r"Step \d+ of 60|Done"), timeout=LONG)
    status(again, "Done")
    assert again.get_attribute("#pic img", "alt") == "a green star on a white background"
    settings(again)
    expect(again.locator("#f_steps input")).to_have_value("60")
    assert picture(again).startswith(b"\x89PNG")
    reload(again)  # finished as it is, it is shown once more
    expect(again.locator("#pic img")).to_be_visible(timeout=LONG)
    status(again, "Done")


def test_a_film_goes_on_through_a_reload_and_is_stopped_from_another_window(open_: Callable[..., Page]) -> None:
    page = open_()
    to_video(page)
    page.click("#f_keyframes label:has-text('7.42')")  # long enough for another page to be opened meanwhile
    page.click("#v_plan")
    expect(page.locator(".card:visible")).to_have_count(5)
    page.fill("#f_stages-1-prompt textarea", "a yellow cross in the center on a black background")
    page.click("#anim")
    expect(page.locator("#v_film .run")).to_contain_text(re.compile(r"Step \d+ of \d+"), timeout=LONG)
    reload(page)
    expect(page.locator("#v_film .run")).to_contain_text(re.compile(r"Step \d+ of \d+"), timeout=LONG)
    expect(page.locator("#f_stages-1-prompt textarea")).to_have_value("a yellow cross in the center on a black background")
    expect(page.locator(".card .pic")).to_have_count(5)
    other = open_(path=page.url.rpartition("/")[2])  # a browser of its own, as another device of the same user
    other.click("#v_stop")
    expect(page.locator("#v_stat")).to_contain_text("Stopped", timeout=LONG)
    expect(other.locator("#v_stat")).to_contain_text("Stopped", timeout=LONG)


def test_the_queue_shows_what_waits_and_does_what_it_is_told(open_: Callable[..., Page], address: str) -> None:
    page = open_()
    settings(page)
    page.fill("#f_steps input", "150")
    page.click("#gen")
    expect(page.locator("#stat")).to_contain_text(re.compile(r"Step \d+ of 150"), timeout=LONG)
    api = page.request
    waiting = [
        api.post(f"{address}/api/v1/jobs", data={"kind": "image", "prompt": prompt}).json()["id"]
        for prompt in ("a blue heart", "a white <b>cross</b>")
    ]
    expect(page.locator("#bar .queue")).to_have_text("3 in queue", timeout=LONG)
    page.click("[data-queue]")
    first, second = (page.locator(f"#jobs [data-id='{job}']") for job in waiting)
    expect(page.locator("#jobs .running")).to_contain_text(re.compile(r"Step \d+ of 150"), timeout=LONG)
    expect(second).to_contain_text("2 ahead of you")
    expect(second).to_contain_text("a white <b>cross</b>")
    second.locator("role=button[name^='Move up']").click()
    expect(second).to_contain_text("1 ahead of you", timeout=LONG)
    expect(first).to_contain_text("2 ahead of you")
    first.locator("role=button[name^='Pause']").click()
    expect(first).to_contain_text("Paused")
    second.locator("role=button[name^='Cancel']").click()
    expect(second).to_contain_text("Stopped")
    second.locator("role=button[name^='Retry']").click()
    expect(second).to_contain_text("Waiting")
    page.keyboard.press("Escape")
    expect(page.locator("#jobs")).to_be_hidden()
    expect(page.locator("[data-queue]")).to_be_focused()
    expect(page.locator("#stat")).to_contain_text(re.compile(r"Step \d+ of 150"))  # Escape closed the queue and stopped nothing
    page.keyboard.press("Enter")
    for job in (first, second):
        job.locator("role=button[name^='Cancel']").click()
        expect(job).to_contain_text("Stopped")
    page.locator("#jobs .running [data-act=cancel]").click()
    expect(page.locator("#stat")).to_contain_text("Stopped", timeout=LONG)
    page.click("#jobs [data-close]")
    expect(page.locator("#bar .queue")).to_have_text("idle", timeout=LONG)


def test_an_unknown_job_in_the_address_leaves_the_example(open_: Callable[..., Page]) -> None:
    page = open_(path="?job=2345678abc")
    assert page.input_value("#f_prompt textarea") == "a red circle on a blue background"
    expect(page.locator("#stat")).to_contain_text("Ready")


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
        expect(page.locator("text=References")).to_have_count(0)
        settings(page)
        page.click("#f_model input")
        page.click("[role=option]:has-text('klein')")
        page.click("text=References")
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


# Video.


def test_a_film_from_prompt_to_file(open_: Callable[..., Page], tmp_path: Path) -> None:
    page = open_()
    to_video(page)
    expect(page.locator("#v_film .total")).to_contain_text("45 frames · 12 fps · 3.75 s")
    expect(page.locator("#v_film .wait")).to_have_count(2)
    page.fill("#f_film textarea", "a red circle moving from left to right on a white background")
    page.click("#v_plan")
    expect(page.locator("#f_stages-0-prompt textarea")).to_have_value("a red circle at the left on a white background")
    page.click("#f_keyframes label:has-text('2')")
    expect(page.locator(".card:visible")).to_have_count(2)
    expect(page.locator("#v_film .total")).to_contain_text("23 frames · 12 fps")
    page.click("#v_fold button.label-wrap")
    page.fill("#f_frames_per_transition input", "14")
    expect(page.locator("#v_film .total")).to_contain_text("14 frames")
    page.focus("#f_film textarea")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#v_film .run")).to_have_count(1, timeout=LONG)
    expect(page.locator("#v_film .run")).to_contain_text(re.compile(r"Step \d+ of \d+"), timeout=LONG)
    status(page, "Done", "#v_stat")
    status(page, "made by pocket models", "#v_stat")
    expect(page.locator("#v_film .done")).to_have_count(1)
    expect(page.locator("#v_film .done img")).to_have_count(4)
    expect(page.locator("#v_film .total")).to_contain_text("about")
    expect(page.locator(".card:visible .figs >> nth=0")).to_contain_text("Match")
    video = page.locator("#v_mon video")
    page.wait_for_function("document.querySelector('#v_mon video').readyState >= 2")
    assert video.evaluate("film => [film.videoWidth, film.videoHeight, film.error]") == [160, 96, None]
    assert video.evaluate("film => film.duration") == pytest.approx(14 / 12, abs=0.02)
    page.focus(".ctl input")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".ctl")).to_contain_text("Frame 2 of 14")
    page.click("[data-play]")
    page.wait_for_function("document.querySelector('#v_mon video').currentTime > 0.3")
    with page.expect_download() as waiting:
        page.click("#v_acts a[download]")
    saved = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(saved)
    assert saved.suffix == ".mp4"
    assert saved.read_bytes()[4:8] == b"ftyp"
    page.click("#v_more summary:has-text('Film report')")
    expect(page.locator("#v_more .facts")).to_contain_text("lands")
    page.click("#v_more summary:has-text('Export')")
    page.select_option("#v_more [name=format]", "gif")
    expect(page.locator("#v_more [name=crf]")).to_be_disabled()
    with page.expect_download() as waiting:
        page.click("#v_more [type=submit]")
    waiting.value.save_as(tmp_path / "film.gif")
    assert (tmp_path / "film.gif").read_bytes().startswith(b"GIF89a")
    expect(page.locator("#v_more [role=status]")).to_contain_text("14 frames")
    before = page.get_attribute("#v_mon video", "src")
    run(page, "role=button[name='Make transition 1 to 2 again with a new seed']", "Done", "#v_stat")
    assert page.get_attribute("#v_mon video", "src") != before
    assert "transition_seed" in (page.get_attribute("#v_acts [data-copy]", "data-copy") or "")


def test_one_changed_stage_draws_one_keyframe(open_: Callable[..., Page]) -> None:
    page = open_()
    to_video(page)
    run(page, "#v_keys", "Keyframes ready", "#v_stat")
    before = page.eval_on_selector_all(".card .pic", "all => all.map(image => image.src)")
    assert len(before) == 3
    page.fill("#f_stages-1-prompt textarea", "a yellow heart in the center on a black background")
    expect(page.locator(".card:visible >> nth=1")).to_contain_text("Not drawn yet")
    run(page, "#v_keys", "Keyframes ready", "#v_stat")
    expect(page.locator(".card .pic")).to_have_count(3)
    after = page.eval_on_selector_all(".card .pic", "all => all.map(image => image.src)")
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]
    run(page, "role=button[name='Redo stage 3']", "Keyframes ready", "#v_stat")
    expect(page.locator("#f_stages-2-seed input")).to_have_value(re.compile(r"\d+"))
    again = page.eval_on_selector_all(".card .pic", "all => all.map(image => image.src)")
    assert [old == new for old, new in zip(after, again, strict=True)] == [True, True, False]


def test_options_are_drawn_picked_and_locked(open_: Callable[..., Page]) -> None:
    page = open_()
    to_video(page)
    card = page.locator(".card:visible >> nth=1")
    run(page, "role=button[name='Four options for stage 2']", "Keyframes ready", "#v_stat")
    expect(card.locator(".opts img")).to_have_count(4)
    page.wait_for_function("[...document.querySelectorAll('.opts img')].every((image) => image.naturalWidth > 0)")
    expect(card.locator(".opts [aria-pressed=true]")).to_have_count(1)
    expect(card.locator(".how")).to_contain_text(re.compile(r"A tie|is best by"))
    shown = card.locator(".pic").get_attribute("src")
    card.locator(".opts [aria-pressed=false] >> nth=-1").click()
    expect(card.locator(".how")).to_contain_text("Your pick")
    expect(card.locator(".pic")).not_to_have_attribute("src", shown or "")
    picked = card.locator(".pic").get_attribute("src")
    page.click("role=button[name='Lock stage 2']")
    expect(card).to_contain_text("Locked")
    expect(card.locator("textarea")).to_be_disabled()
    page.click("#v_fold button.label-wrap")
    page.fill("#f_seed_film input", "8")
    run(page, "#v_keys", "Keyframes ready", "#v_stat")
    expect(card.locator(".pic")).to_have_count(1)
    assert page.request.get(page.url.split("?")[0] + (picked or "")).ok  # still there for its owner
    page.click("role=button[name='Unlock stage 2']")
    expect(card.locator("textarea")).to_be_enabled()


def test_a_gap_too_wide_is_told_and_a_midpoint_put_into_it(open_: Callable[..., Page]) -> None:
    page = open_()
    to_video(page)
    page.click("#f_keyframes label:has-text('2')")
    expect(page.locator(".card:visible")).to_have_count(2)
    page.fill("#f_stages-0-prompt textarea", "a white circle at the left on a red background")
    page.fill("#f_stages-1-prompt textarea", "a green heart at the right on a black background")
    run(page, "#v_keys", "Keyframes ready", "#v_stat")
    expect(page.locator("#v_film .far")).to_contain_text("Keyframes 1 and 2 look too different")
    page.click("text=Insert a midpoint")
    expect(page.locator(".card:visible")).to_have_count(3)
    expect(page.locator("#v_film .total")).to_contain_text("23 frames")
    expect(page.locator("#f_stages-0-length input")).to_have_value("12")
    expect(page.locator("#f_stages-1-prompt textarea")).to_have_value(re.compile("halfway between"))


def test_cards_move_come_and_go_without_losing_words(open_: Callable[..., Page]) -> None:
    page = open_()
    to_video(page)

    def prompts() -> list[str]:
        return page.eval_on_selector_all(".card textarea", "all => all.filter(e => e.offsetParent).map(e => e.value)")

    first = prompts()
    page.fill("#f_stages-0-prompt textarea", "a purple cross")
    page.fill("#f_stages-0-seed input", "5")
    page.focus("role=button[name='Move stage 1 right']")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#f_stages-1-prompt textarea")).to_have_value("a purple cross")
    expect(page.locator("role=button[name='Move stage 2 right']")).to_be_focused()
    expect(page.locator("#f_stages-1-seed input")).to_have_value("5")
    assert prompts() == [first[1], "a purple cross", first[2]]
    page.click("#v_add")
    expect(page.locator(".card:visible")).to_have_count(4)
    expect(page.locator("#v_film .total")).to_contain_text("67 frames")
    page.click("role=button[name='Remove stage 1']")
    expect(page.locator(".card:visible")).to_have_count(3)
    assert prompts() == ["a purple cross", first[2], first[2]]
    page.click("role=button[name='Remove stage 3']")
    expect(page.locator(".card:visible")).to_have_count(2)
    expect(page.locator("role=button[name='Remove stage 1']")).to_be_disabled()


def test_a_bad_stage_is_named_at_its_card(open_: Callable[..., Page]) -> None:
    page = open_()
    to_video(page)
    page.fill("#f_stages-1-prompt textarea", "")
    page.click("#anim")
    status(page, "Not started", "#v_stat")
    expect(page.locator("#v_line [role=alert]")).to_contain_text("Stage 2, prompt")
    expect(page.locator("#f_stages-1-prompt textarea")).to_have_attribute("aria-invalid", "true")
    page.fill("#f_stages-1-prompt textarea", "a red cross")
    page.fill("#f_stages-0-seed input", "-1")
    expect(page.locator("#v_line [role=alert]")).to_contain_text("Stage 1, seed: -1 is not accepted")


def test_stop_ends_a_film_and_keeps_its_keyframes(open_: Callable[..., Page]) -> None:
    page = open_()
    to_video(page)
    page.click("#anim")
    expect(page.locator("#v_film .run")).to_contain_text(re.compile(r"Step \d+ of \d+"), timeout=LONG)
    page.click("#v_stop")
    expect(page.locator("#v_stat")).to_contain_text("Stopped", timeout=8_000)
    expect(page.locator(".card .pic")).to_have_count(3)
    expect(page.locator("#v_stop")).to_be_hidden()
    expect(page.locator("#bar .queue")).to_have_text("idle", timeout=8_000)


def test_a_picture_is_sent_to_video_as_its_first_keyframe_with_its_seed(open_: Callable[..., Page]) -> None:
    page = open_()
    settings(page)
    page.fill("#f_seed input", "11")
    expect(page.locator("#c_fresh input")).not_to_be_checked()
    page.click("#gen")
    status(page, "Done")
    page.click("#c_acts [data-do=video]")
    page.wait_for_selector("#anim")
    expect(page.locator("#f_film textarea")).to_have_value("a red circle on a blue background")
    page.click("#v_fold button.label-wrap")
    expect(page.locator("#f_seed_film input")).to_have_value("11")
    expect(page.locator(".card:visible")).to_have_count(3)
    expect(page.locator("role=button[name='Draw stage 1 instead of your picture']")).to_be_visible()
    expect(page.locator(".card .pic")).to_have_count(1)
