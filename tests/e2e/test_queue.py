"""Work that outlives the page in a real browser: watched, stopped, left, found again, and the queue of all of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from gradio_client import Client
from playwright.sync_api import Locator, Page, expect

from tests.e2e.steps import LONG, held, long_film, picture, settings, status, to_video, wait_until_stopping

pytestmark = pytest.mark.e2e


def go(page: Page, address: str) -> None:
    """Load the page anew. What is logged while it is left (streams that break) is no fault; every other test loads pages too."""
    before = list(page.watch.faults)  # type: ignore[attr-defined]
    page.goto(address)
    page.wait_for_selector("#gen", state="attached")
    page.watch.faults[:] = before  # type: ignore[attr-defined]


def press(row: Locator, name: str) -> None:
    """Press a button of a row of the queue. Rows are drawn anew while a job goes on, so none waits for a pointer to arrive."""
    button = row.locator(f"role=button[name^='{name}']")
    expect(button).to_be_visible()
    button.dispatch_event("click")


def open_with_a_long_film(open_: Callable[..., Page], address: str, **fields: Any) -> Page:
    """Return the page Video with all settings of a film that is not done while a test goes on; it was asked for and stopped."""
    page = open_()
    job = long_film(page, address, **fields)
    assert page.request.post(f"{address}/api/v1/jobs/{job}/cancel").ok
    go(page, f"{address}/?job={job}")
    expect(page.locator("#v_stat")).to_contain_text("Stopped", timeout=LONG)
    expect(page.locator(".card:visible")).to_have_count(fields.get("keyframes", 5))
    return page


def test_escape_stops_within_a_step_and_keeps_the_last_picture(open_: Callable[..., Page], address: str) -> None:
    page = open_()
    page.click("#gen")
    status(page, "Done")
    kept, before = page.get_attribute("#pic img", "src"), page.url
    settings(page)
    page.fill("#f_steps input", "150")
    page.click("#gen")
    with held(page, address, after=before):
        expect(page.locator("#stat")).to_contain_text(re.compile(r"Step \d+ of 150"), timeout=LONG)
        page.keyboard.press("Escape")
        wait_until_stopping(page, address)
    expect(page.locator("#stat")).to_contain_text("Stopped", timeout=LONG)
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#pic img")).to_have_attribute("src", kept or "")
    expect(page.locator("#bar .queue")).to_have_text("idle", timeout=LONG)


def test_a_second_visitor_waits_and_is_told_so(open_: Callable[..., Page], address: str) -> None:
    page = open_()
    first = Client(address, verbose=False)
    work = first.submit(prompt="a red circle moving from left to right", transition_steps=150, api_name="/generate_video")
    expect(page.locator("#bar .queue")).not_to_have_text("idle", timeout=LONG)
    page.click("#gen")
    status(page, "1 ahead of you")
    page.click("#stop")
    expect(page.locator("#stat")).to_contain_text("Stopped", timeout=LONG)
    assert not work.done()
    work.cancel()
    expect(page.locator("#bar .queue")).to_have_text("idle", timeout=LONG)


def test_closing_the_tab_loses_nothing_and_the_address_shows_the_picture_again(open_: Callable[..., Page], address: str) -> None:
    page = open_()
    settings(page)
    page.fill("#f_prompt textarea", "a green star on a white background")
    page.fill("#f_steps input", "150")
    page.click("#gen")
    with held(page, address):
        expect(page.locator("#stat")).to_contain_text(re.compile(r"Step \d+ of 150"), timeout=LONG)
        where = page.url
        page.close()
    again = open_(path=where.rpartition("/")[2])
    expect(again.locator("#f_prompt textarea")).to_have_value("a green star on a white background")
    expect(again.locator("#stat")).to_contain_text(re.compile(r"Step \d+ of 150|Done"), timeout=LONG)
    status(again, "Done")
    assert again.get_attribute("#pic img", "alt") == "a green star on a white background"
    settings(again)
    expect(again.locator("#f_steps input")).to_have_value("150")
    assert picture(again).startswith(b"\x89PNG")
    go(again, again.url)  # finished as it is, it is shown once more
    expect(again.locator("#pic img")).to_be_visible(timeout=LONG)
    status(again, "Done")


def test_a_film_goes_on_through_a_reload_and_is_stopped_from_another_window(open_: Callable[..., Page], address: str) -> None:
    page = open_with_a_long_film(open_, address)
    page.fill("#f_stages-1-prompt textarea", "a yellow cross in the center on a black background")
    page.click("#anim")
    expect(page.locator("#v_film .run")).to_contain_text(re.compile(r"Step \d+ of \d+"), timeout=LONG)
    go(page, page.url)
    expect(page.locator("#v_film .run")).to_contain_text(re.compile(r"Step \d+ of \d+"), timeout=LONG)
    expect(page.locator("#f_stages-1-prompt textarea")).to_have_value("a yellow cross in the center on a black background")
    expect(page.locator(".card .pic")).to_have_count(5)
    other = open_(path=page.url.rpartition("/")[2])  # a browser of its own, as another device of the same user
    other.click("#v_stop")
    expect(page.locator("#v_stat")).to_contain_text("Stopped", timeout=LONG)
    expect(other.locator("#v_stat")).to_contain_text("Stopped", timeout=LONG)


def test_the_queue_shows_what_waits_and_does_what_it_is_told(open_: Callable[..., Page], address: str) -> None:
    page = open_()
    film = long_film(page, address)
    go(page, f"{address}/?job={film}")
    status(page, "Step", "#v_stat")
    api = page.request
    waiting = [
        api.post(f"{address}/api/v1/jobs", data={"kind": "image", "prompt": prompt}).json()["id"]
        for prompt in ("a blue heart", "a white <b>cross</b>")
    ]
    expect(page.locator("#bar .queue")).to_have_text("3 in queue", timeout=LONG)
    page.click("[data-queue]")
    first, second = (page.locator(f"#jobs [data-id='{job}']") for job in waiting)
    expect(page.locator("#jobs .running")).to_contain_text(re.compile(r"Step \d+ of \d+"), timeout=LONG)
    expect(second).to_contain_text("2 ahead of you")
    expect(second).to_contain_text("a white <b>cross</b>")
    press(second, "Move up")
    expect(second).to_contain_text("1 ahead of you", timeout=LONG)
    expect(first).to_contain_text("2 ahead of you")
    press(first, "Pause")
    expect(first).to_contain_text("Paused")
    press(second, "Cancel")
    expect(second).to_contain_text("Stopped")
    press(second, "Retry")
    expect(second).to_contain_text("Waiting")
    page.keyboard.press("Escape")
    expect(page.locator("#jobs")).to_be_hidden()
    expect(page.locator("[data-queue]")).to_be_focused()
    expect(page.locator("#v_stat")).to_contain_text(re.compile(r"Step \d+ of \d+"))  # Escape closed the queue and stopped nothing
    page.keyboard.press("Enter")
    for job in (first, second):
        press(job, "Cancel")
        expect(job).to_contain_text("Stopped")
    press(page.locator("#jobs .running"), "Cancel")
    expect(page.locator("#v_stat")).to_contain_text("Stopped", timeout=LONG)
    page.click("#jobs [data-close]")
    expect(page.locator("#bar .queue")).to_have_text("idle", timeout=LONG)


def test_an_unknown_job_in_the_address_is_told_and_leaves_the_example(open_: Callable[..., Page], address: str) -> None:
    page = open_(path="?job=2345678abc")
    status(page, "This job is not here")
    expect(page).to_have_url(f"{address}/")
    assert page.input_value("#f_prompt textarea") == "a red circle on a blue background"


def test_what_was_typed_and_not_sent_is_there_after_a_reload(open_: Callable[..., Page], address: str) -> None:
    page = open_()
    page.fill("#f_prompt textarea", "a green heart on a white background")
    to_video(page)
    page.fill("#f_stages-1-prompt textarea", "a white tree")
    kept = "([name, words]) => localStorage.getItem(`flux_svd ${name}`)?.includes(words)"
    for words in (["create", "a green heart"], ["video", "a white tree"]):
        page.wait_for_function(kept, arg=words, timeout=LONG)
    go(page, f"{address}/")
    expect(page.locator("#f_prompt textarea")).to_have_value("a green heart on a white background", timeout=LONG)
    to_video(page)
    expect(page.locator("#f_stages-1-prompt textarea")).to_have_value("a white tree")


def test_stop_ends_a_film_and_keeps_its_keyframes(open_: Callable[..., Page], address: str) -> None:
    page = open_with_a_long_film(open_, address, keyframes=3)
    page.click("#anim")
    expect(page.locator("#v_film .run")).to_contain_text(re.compile(r"Step \d+ of \d+"), timeout=LONG)
    page.click("#v_stop")
    expect(page.locator("#v_stat")).to_contain_text("Stopped", timeout=LONG)
    expect(page.locator(".card .pic")).to_have_count(3)
    expect(page.locator("#v_stop")).to_be_hidden()
    expect(page.locator("#bar .queue")).to_have_text("idle", timeout=LONG)
