"""Video in a real browser, with the real pocket models: cards, keyframes, the film and its file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import LONG, run, settings, status, to_video

pytestmark = pytest.mark.e2e


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
    expect(page.locator("#v_film .total")).to_have_text(re.compile(r"14 frames · 12 fps · [\d.]+ s$"))
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
    expect(card.locator(".how")).to_contain_text(re.compile(r"Too close to call|is best by"))
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
    page.click("#v_plan")
    expect(page.locator("#f_stages-0-prompt textarea")).to_have_value("a yellow star at the left on a black background")
    assert prompts()[1] == "a purple cross"
    page.click("#f_keyframes label:has-text('2')")
    expect(page.locator(".card:visible")).to_have_count(2)
    page.click("#f_keyframes label:has-text('3')")
    expect(page.locator(".card:visible")).to_have_count(3)
    page.fill("#f_stages-2-prompt textarea", "a white tree")
    page.click("#f_keyframes label:has-text('2')")
    expect(page.locator(".card:visible")).to_have_count(2)
    status(page, "Undo brings back what was there", "#v_stat")
    page.click("#v_undo")
    expect(page.locator("#f_stages-2-prompt textarea")).to_have_value("a white tree")
    expect(page.locator("#f_keyframes label:has-text('3') input")).to_be_checked()
    page.fill("#f_stages-0-prompt textarea", first[1])
    page.fill("#f_stages-2-prompt textarea", first[2])
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
    page.fill("#f_stages-0-seed input", "1")
    expect(page.locator("#v_stat")).to_contain_text("Ready")


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
