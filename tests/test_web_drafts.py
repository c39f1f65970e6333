"""Forms as the browser keeps them: back as they were for their owner, and nothing of what is another's, old or damaged."""

from __future__ import annotations

import html
import json
import re
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from flux_svd.session import Session
from flux_svd.web import drafts, moves
from flux_svd.web.board import Board
from flux_svd.web.create import CreatePage
from flux_svd.web.desk import Desk
from flux_svd.web.drafts import FilmDraft
from flux_svd.web.fields import PictureForm
from flux_svd.web.film_fields import FilmWish
from flux_svd.web.shelf import Shelf
from flux_svd.web.streamed import Streamed
from flux_svd.web.video import VideoPage

FORM = PictureForm("a tree", "5:3", 2, "auto", "draft", "5", True, "9", "", "", (), {"variation": 0.2})
WISH = FilmWish("a film", "7", "", "12", "auto", "vibid", True, False, False, False, {"motion_bucket_id": 90})
HAND = tuple(moves.change(moves.written("a film", 3), 1, replace(moves.written("a film", 3)[1], prompt="mine", seed="4")))
FILM = FilmDraft(WISH, HAND)


@pytest.fixture
def desk(tmp_path: Any) -> Desk:
    session = Session(home=tmp_path / "home", output_dir=tmp_path / "out")
    return Desk(session, Shelf(tmp_path / "out"), Streamed(session, None))


def kept(form: PictureForm | FilmDraft, owner: str = "ann") -> str:
    """Return what the browser stores of a mark."""
    [told] = re.findall(r'data-kept="([^"]*)"', drafts.mark(form, owner))
    return html.unescape(told)


def test_forms_come_back_as_they_were() -> None:
    assert drafts.picture_of(kept(FORM), "ann") == FORM
    assert drafts.film_of(kept(FILM), "ann") == FILM
    untouched: Any = replace(FORM, steps=None, guidance=None)  # as a browser sends fields that were never touched
    assert drafts.picture_of(kept(untouched), "ann") == replace(FORM, steps="")


def test_nothing_comes_back_that_is_anothers_old_or_damaged() -> None:
    assert drafts.picture_of(kept(FORM, "bob"), "ann") is None
    assert drafts.film_of(kept(FILM, ""), "ann") is None
    told = json.loads(kept(FORM))
    for odd in (
        None, "", "{", "[]", "[" * 50_000, json.dumps({**told, "version": 0}), json.dumps({**told, "form": {"prompt": "a"}}),
        kept(FILM), kept(replace(FORM, count=99)), kept(replace(FORM, extra={"owner": "x"})),
        kept(replace(FORM, extra={"variation": "much"})),
    ):  # fmt: skip
        assert drafts.picture_of(odd, "ann") is None
    for film in (replace(FILM, hand=HAND[:1]), replace(FILM, hand=HAND * 9), replace(FILM, form=replace(WISH, method="x"))):
        assert drafts.film_of(kept(film), "ann") is None


def test_a_page_is_filled_with_what_was_left_and_keeps_it_with_each_plan(desk: Desk) -> None:
    request: Any = SimpleNamespace(session_hash="tab", cookies={})
    with gr.Blocks():
        create, video = CreatePage(desk), VideoPage(desk)
    filled = create.formed(replace(FORM, model="flux2-dev", shape="no shape"))
    assert (filled[create.model], filled[create.shape].value, filled[create.used_seed]) == ("auto", "1:1", "5")
    assert "flux2-dev is not ready" in filled[create.extras.area]
    assert drafts.mark(FORM, "") == create.look_again(request, "", *asdict(FORM).values())[create.draft]
    lost = replace(HAND[0], slot=replace(HAND[0].slot, picture="a" * 64))
    drawn = video.drawn_up(replace(FILM, hand=(lost, *HAND[1:])), Board(()))
    assert [slot.picture for slot in drawn[video.board].slots] == ["", "", ""]
    assert [drawn[card.text].value for card in video.cards[:3]] == [held.prompt for held in HAND]
    assert (drawn[video.film], drawn[video.filling.method], drawn[video.count]) == ("a film", "vibid", 3)
