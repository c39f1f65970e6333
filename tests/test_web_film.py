"""The page Video without a browser: what its buttons do to the cards, what it asks the planner, and what it shows of results."""

from __future__ import annotations

import asyncio
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import ANY, patch

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from flux_svd import storyboard
from flux_svd.artifact import RunFacts, VideoArtifact, load_recipe
from flux_svd.errors import InvalidRequest
from flux_svd.export import formats_here
from flux_svd.formats import FORMATS
from flux_svd.methods import METHODS, calls_of
from flux_svd.metrics.film import BLEND_LIMIT, FilmReport, Join, KeyframeMatch, Way, film_report, report_from_json
from flux_svd.pictures import encode_png
from flux_svd.plan import Plan
from flux_svd.progress import Progress
from flux_svd.recipe import Selection, VideoRecipe, fingerprint, to_json
from flux_svd.request import StageWish, VideoRequest, make_request
from flux_svd.session import Session
from flux_svd.web import exports, extras, i18n, moves
from flux_svd.web.board import FOUR, Board, Chosen, Drawn, Held, Pair, Slot, chosen_of, settle
from flux_svd.web.desk import Desk, Visitor
from flux_svd.web.filling import NAMES, USUAL, choices
from flux_svd.web.film_fields import _IN_THE_FORM, FORM, FilmWish, changed, hand_of, read_form, video_fields
from flux_svd.web.film_report import joins_of, report_list, split, verdicts_of
from flux_svd.web.film_view import fits_cards, view
from flux_svd.web.moves import MAX_STAGES, Hand
from flux_svd.web.player import film_of, finished, total_words
from flux_svd.web.shelf import Shelf
from flux_svd.web.streamed import Streamed
from flux_svd.web.texts import TEXTS
from flux_svd.web.video import EXAMPLE, VideoPage
from tests.test_export import make_film
from tests.test_passes import one_pass_film

WISH = FilmWish("a film", "7", "", "", "auto", USUAL, False, False, False, False, {})
THREE: Hand = [Held(Slot(name, text := f"a red circle {where} on a black background"), text)
               for name, where in (("Left", "at the left"), ("Center", "in the center"), ("Right", "at the right"))]  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    session = Session(home=tmp_path / "home", output_dir=tmp_path / "out")
    return Desk(session, Shelf(tmp_path / "out"), Streamed(session, None))


@pytest.fixture
def page(desk: Desk) -> VideoPage:
    with gr.Blocks():
        return VideoPage(desk)


def planned(desk: Desk, hand: Hand, *, picked: bool = True, **wish: Any) -> Plan:
    return desk.plan(video_fields(replace(WISH, **wish), hand, picked=picked))


def board_of(hand: Hand, **known: Any) -> Board:
    return Board(tuple(held.slot for held in hand), **known)


def values_of(hand: Hand, **wish: Any) -> list[Any]:
    """Return the values of the page's components as a browser would send them; of unused cards "" stands there."""
    form = [getattr(replace(WISH, **wish), name) for name in FilmWish.__dataclass_fields__]
    columns = ([held.prompt for held in hand], [held.seed for held in hand], [held.length for held in hand])
    return [*form, *(value for column in columns for value in [*column, *[""] * (MAX_STAGES - len(hand))])]


def prompts(hand: Hand) -> list[str]:
    return [held.prompt for held in hand]


# What buttons do to the cards.


def test_a_moved_card_takes_its_texts_and_leaves_the_lengths_in_place() -> None:
    hand = moves.change(
        THREE, 0, replace(THREE[0], seed="5", length="14", slot=replace(THREE[0].slot, lock="f" * 64, way_seed=9))
    )
    moved = moves.move(hand, 0, 1)
    assert prompts(moved) == [hand[1].prompt, hand[0].prompt, hand[2].prompt]
    assert [held.seed for held in moved] == ["", "5", ""]
    assert [held.length for held in moved] == ["14", "", ""]
    assert (moved[1].slot.lock, moved[0].slot.way_seed, moved[1].slot.way_seed) == ("f" * 64, 9, None)
    assert moves.move(hand, 0, -1) == hand
    assert moves.move(hand, 2, 1) == hand


def test_an_inserted_card_shows_what_is_halfway() -> None:
    hand = moves.insert(THREE, 0)
    assert hand[1].prompt == storyboard.halfway_prompt(THREE[0].prompt, THREE[1].prompt, 0.5)
    assert [*hand[:1], *hand[2:]] == THREE
    assert moves.insert(THREE, 2)[3].prompt == THREE[2].prompt
    full = [THREE[0]] * MAX_STAGES
    assert moves.insert(full, 0) == full
    assert moves.append(full) == full


def test_a_midpoint_leaves_the_film_as_long_as_it_was(desk: Desk) -> None:
    before = film_of(planned(desk, THREE, frames="20"))
    request = planned(desk, THREE, frames="20").request
    assert isinstance(request, VideoRequest)
    hand = moves.insert_midpoint(THREE, 0, request)
    after = film_of(planned(desk, hand, frames="20"))
    assert (before.frames, after.frames) == (39, 39)
    assert after.key_positions == (0, 10, 19, 38)
    with pytest.raises(InvalidRequest, match="at least 5 frames"):
        moves.insert_midpoint(THREE, 0, request.model_copy(update={"frames_per_transition": 4}))


def test_two_cards_stay() -> None:
    assert prompts(moves.remove(THREE, 1)) == [THREE[0].prompt, THREE[2].prompt]
    assert moves.remove(THREE[:2], 0) == THREE[:2]


def test_redo_changes_one_keyframe_and_its_transitions_and_redo_of_a_way_that_alone(desk: Desk) -> None:
    one = film_of(planned(desk, THREE))
    keyed = film_of(planned(desk, moves.redo(THREE, 2)))
    assert [a == b for a, b in zip(one.keyframes, keyed.keyframes, strict=True)] == [True, True, False]
    assert [a == b for a, b in zip(one.transitions, keyed.transitions, strict=True)] == [True, False]
    rolled = film_of(planned(desk, moves.redo_way(THREE, 0)))
    assert one.keyframes == rolled.keyframes
    assert [a == b for a, b in zip(one.transitions, rolled.transitions, strict=True)] == [False, True]
    assert moves.redo([Held(Slot("x", pick=3), "a"), THREE[0]], 0)[0].slot.pick == 0


def test_stages_written_anew_leave_what_is_locked_or_given(page: VideoPage) -> None:
    hand = changed(changed(THREE, 0, lock="a" * 64), 2, picture="b" * 64)
    for count, kept in ((4, [0, 2]), (2, [0])):
        told = page.write_stages(count, board_of(hand), "a blue heart moving from left to right", *values_of(hand)[1:])
        slots = told[page.board].slots
        assert len(slots) == count
        assert [n for n, slot in enumerate(slots) if slot.lock or slot.picture] == kept
        assert told[page.cards[0].text].value == THREE[0].prompt
        assert "blue heart" in told[page.cards[1].text].value


def test_what_was_written_by_hand_outlives_a_new_plan_and_what_does_not_can_be_had_back(page: VideoPage) -> None:
    hand = moves.change(THREE, 1, replace(THREE[1], prompt="a red circle behind a tree"))
    hand = moves.change(hand, 2, replace(hand[2], seed="5"))
    new = "a blue heart moving from left to right"
    told = page.write_stages(3, board_of(hand), new, *values_of(hand)[1:])
    assert [told[card.text].value for card in page.cards[:3]] == [
        "a blue heart at the left", "a red circle behind a tree", "a blue heart at the right"
    ]  # fmt: skip
    assert told[page.undo].visible
    fewer = page.write_stages(2, board_of(hand), new, *values_of(hand)[1:])
    back = page.take_back(fewer[page.board], *values_of(hand[:2], film=new))
    assert (back[page.film], back[page.count], back[page.board].slots) == (new, 3, board_of(hand).slots)
    assert [back[card.text].value for card in page.cards[:3]] == prompts(hand)
    assert back[page.cards[2].seed].value == "5"
    again = page.take_back(back[page.board], *values_of(hand, film=new))
    assert again[page.board].slots == fewer[page.board].slots
    blank = [value or None for value in values_of(THREE)[1:]]  # as a browser sends fields that were never touched
    untouched = page.write_stages(2, board_of(THREE), new, *blank)
    assert not untouched[page.undo].visible  # nothing of the user's is gone


def test_a_picture_goes_on_the_first_free_card_of_a_film_that_was_edited(page: VideoPage) -> None:
    film = VideoRequest(prompt="a green star", stages=(StageWish(prompt="a green star", picture="a" * 64), StageWish(prompt="b")))
    example = moves.written(EXAMPLE, 3)
    fresh = page.take_picture(film, board_of(example), values_of(example, film=EXAMPLE))
    assert (fresh[page.film], fresh[page.undo].visible) == ("a green star", False)
    mine = moves.change(example, 0, replace(example[0], prompt="a tree"))
    told = page.take_picture(film, board_of(mine), values_of(mine, film=EXAMPLE))
    assert page.film not in told
    assert [slot.picture for slot in told[page.board].slots] == ["", "a" * 64, ""]
    assert [told[card.text].value for card in page.cards[:3]] == ["a tree", "a green star", example[2].prompt]
    assert "stage 2" in told[page.stat]
    assert told[page.undo].visible
    full = [replace(mine[0], length=str(n)) for n in range(MAX_STAGES)]
    assert page.take_picture(film, board_of(full), values_of(full)) == {page.stat: ANY}
    grown = page.take_picture(film, board_of(full[:3]), values_of(full[:3]))
    assert [slot.picture for slot in grown[page.board].slots] == ["", "", "", "a" * 64]


def test_settings_that_come_back_leave_the_film_they_replace_to_be_had_back(page: VideoPage) -> None:
    hand = moves.change(THREE, 1, replace(THREE[1], prompt="a red circle behind a tree"))
    filled = page.fill_from(VideoRequest(prompt="a green star", keyframes=2), board_of(hand), values_of(hand))
    assert filled[page.undo].visible
    back = page.take_back(filled[page.board], *values_of(THREE[:2]))
    assert [back[card.text].value for card in page.cards[:3]] == prompts(hand)


def test_a_button_changes_its_own_card(page: VideoPage, desk: Desk) -> None:
    def pressed(do: str, i: int, hand: Hand = THREE, **more: Any) -> tuple[Slot, ...]:
        event: Any = SimpleNamespace(_data={"do": do, "i": i, **more})
        act = page.buttons.prepare if do in ("redo", "options", "way") else page.buttons.arrange
        slots: tuple[Slot, ...] = act(event, board_of(hand), *values_of(hand))[page.board].slots
        return slots

    before = tuple(held.slot for held in THREE)
    assert pressed("lock", 1) == before  # nothing is drawn yet
    film = film_of(planned(desk, THREE))
    name = fingerprint(film.keyframes[1])
    desk.session.store.keep_stage(name, "png", encode_png(Image.new("RGB", (160, 96), "red")))
    assert pressed("lock", 1) == (before[0], replace(before[1], lock=name), before[2])
    assert pressed("unlock", 1, changed(THREE, 1, lock=name)) == before
    assert pressed("give", 0, id="0" * 64) == before  # no such picture
    given = desk.keep_picture(encode_png(Image.new("RGB", (64, 64), "blue")))
    assert pressed("give", 0, changed(THREE, 0, pick=2), id=given)[0] == replace(before[0], picture=given)
    assert pressed("take", 0, changed(THREE, 0, picture=given)) == before
    wide = changed(THREE, 2, options=True)
    assert pressed("pick", 2, wide, n=3)[2] == replace(before[2], options=True, pick=3)
    assert pressed("free", 2, changed(wide, 2, pick=3))[2] == replace(before[2], options=True)
    assert pressed("fewer", 2, wide) == before
    assert pressed("options", 2) == tuple(held.slot for held in wide)
    assert [slot.name for slot in pressed("midpoint", 1)] == ["Left", "Center", "Midpoint", "Right"]
    assert pressed("way", 1)[1].way_seed is not None
    assert pressed("remove", 9) == before


# From the form to a request, and back.


def test_the_form_is_read_in_the_order_of_the_page(page: VideoPage) -> None:
    assert len(page.wish) == 1 + FORM + 3 * MAX_STAGES
    assert page.wish[1 : 1 + FORM] == [
        page.film,
        page.seed,
        page.frames,
        page.fps,
        page.model,
        *page.filling.fields,
        page.extras.fields,
    ]
    hand = moves.change(THREE, 1, replace(THREE[1], seed="3", length="9"))
    form, read = read_form(board_of(hand), values_of(hand, loop=True, method="vibid"))
    assert read == hand
    assert (form.loop, form.method, form.smooth, form.four) == (True, "vibid", False, False)
    named = {name: getattr(page.filling, name) for name in ("method", "loop", "colours", "smooth", "four")}
    assert [*named] == [*FilmWish.__dataclass_fields__][5:10]
    assert list(named.values()) == page.filling.fields


def test_a_drawn_seed_is_part_of_what_is_asked_for(page: VideoPage, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Plan] = []

    def start(plan: Plan, visitor: Visitor) -> str:
        begun.append(plan)
        return "job"

    monkeypatch.setattr(page.desk, "start", start)
    shown = page.work._begin(Visitor("tab", ""), board_of(THREE), values_of(THREE, seed=""), whole=True)
    assert begun[0].request.seed == begun[0].seed
    assert shown[page.seed] == str(begun[0].seed)


def test_options_of_one_stage_leave_the_others_as_they_were(desk: Desk) -> None:
    plain = film_of(planned(desk, THREE))
    one = film_of(planned(desk, changed(THREE, 1, options=True)))
    assert (one.keyframes[0], one.keyframes[2]) == (plain.keyframes[0], plain.keyframes[2])
    assert isinstance(one.keyframes[1], Selection)
    assert len(one.keyframes[1].candidates) == FOUR
    assert one.keyframes[1].candidates[0] == plain.keyframes[1]
    every = film_of(planned(desk, THREE, four=True))
    assert all(isinstance(key, Selection) for key in every.keyframes)


def test_what_has_no_effect_is_not_asked_for(desk: Desk) -> None:
    locked = fingerprint(film_of(planned(desk, THREE)).keyframes[0])
    hand = moves.change(THREE, 0, replace(THREE[0], seed="5", slot=Slot("Left", lock=locked, options=True, pick=2)))
    hand = moves.change(hand, 2, replace(hand[2], length="9"))
    fields = video_fields(WISH, hand)
    assert "seed" not in fields["stages"][0]
    assert "pick" not in fields["stages"][0]
    assert fields["best_of"] == 1
    assert "length" not in fields["stages"][2]  # no transition follows
    assert video_fields(replace(WISH, loop=True), hand)["stages"][2]["length"] == 9


def test_a_locked_keyframe_stays_whatever_else_changes(desk: Desk) -> None:
    plain = film_of(planned(desk, THREE)).keyframes[0]
    facts = {"recipe": json.loads(to_json(plain))}
    desk.session.store.keep_stage(fingerprint(plain), "png", encode_png(Image.new("RGB", (160, 96), "red")), facts)
    hand = changed(THREE, 0, lock=fingerprint(plain))
    assert film_of(planned(desk, hand, seed="8")).keyframes[0] == plain


def test_a_text_that_is_no_number_is_named_with_its_stage() -> None:
    for field, held in (("seed", replace(THREE[1], seed="x")), ("length", replace(THREE[1], length="1.5"))):
        with pytest.raises(InvalidRequest) as caught:
            video_fields(WISH, moves.change(THREE, 1, held))
        assert caught.value.field == f"stages.1.{field}"


def test_too_long_a_gap_is_named_at_its_card(page: VideoPage) -> None:
    hand = moves.change(THREE, 1, replace(THREE[1], length="40"))
    with pytest.raises(InvalidRequest) as caught:
        page.plan(board_of(hand), values_of(hand))
    assert caught.value.field == "stages.1.length"
    with pytest.raises(InvalidRequest) as caught:
        page.plan(board_of(THREE), values_of(THREE, frames="40"))
    assert caught.value.field == "frames_per_transition"


def test_a_request_comes_back_as_the_cards_it_was_made_from(desk: Desk) -> None:
    hand = moves.change(THREE, 1, replace(THREE[1], seed="3", length="9", slot=Slot("Stage 2", way_seed=4, options=True, pick=2)))
    request = planned(desk, hand).request
    assert isinstance(request, VideoRequest)
    back = hand_of(request, None)
    assert [replace(held, slot=replace(held.slot, name="", written="")) for held in back] == [
        replace(held, slot=replace(held.slot, name="", written="")) for held in hand
    ]


def test_a_film_made_here_comes_back_with_the_names_of_its_stages(desk: Desk) -> None:
    example = moves.written(EXAMPLE, 3)
    mine = moves.change(example, 1, replace(example[1], prompt="a white tree"))
    plan = planned(desk, mine, film=EXAMPLE)
    assert isinstance(plan.request, VideoRequest)
    assert [held.slot.name for held in hand_of(plan.request, plan)] == ["Left", "Stage 2", "Right"]
    assert [held.is_own for held in hand_of(plan.request, plan)] == [False, True, False]


@pytest.mark.parametrize(
    ("fields", "lengths"),
    [
        ({"stages": ({"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"}), "lengths": (9, 17)}, ["9", "17", ""]),
        ({"keyframes": 3, "total_frames": 30}, ["16", "15", ""]),
        ({"keyframes": 2, "seconds": 1.0, "loop": True}, ["7", "6"]),
        ({"keyframes": 3, "frames_per_transition": 20}, ["", "", ""]),
        ({"keyframes": 2, "lengths": (40,)}, ["40", ""]),
    ],
)
def test_however_the_length_was_said_it_stands_on_the_cards(fields: dict[str, Any], lengths: list[str]) -> None:
    request = make_request({"kind": "video", "prompt": "a ball rolling from the left to the right", **fields})
    assert isinstance(request, VideoRequest)
    assert [held.length for held in hand_of(request, None)] == lengths


def test_what_has_no_field_on_the_page_comes_back_and_is_obeyed(page: VideoPage, desk: Desk) -> None:
    extra = {
        "width": 128, "height": 64, "steps": 3, "transition_steps": 4, "motion_bucket_id": 90, "conditioning_fps": 7,
        "motion_alignment": 0.5, "keep_subject": False, "video_model": "pocket-svd", "consent": True,
    }  # fmt: skip
    stages = ({"prompt": "a red circle"}, {"prompt": "a red heart", "transition_seed": 6})
    request = make_request({"kind": "video", "prompt": "a", "seed": 3, "stages": stages, "fps": 9, "loop": True, **extra})
    assert isinstance(request, VideoRequest)
    filled = page.fill_from(request, board_of(THREE), values_of(THREE))
    assert filled[page.extras.fields] == extra
    assert filled[page.extras.area].count("<li>") == len(extra)
    assert [slot.name for slot in filled[page.board].slots] == ["Stage 1", "Stage 2"]
    form = FilmWish(request.prompt, filled[page.seed], "", filled[page.fps], filled[page.model], request.transition, True,
                    False, False, False, filled[page.extras.fields])  # fmt: skip
    assert make_request(video_fields(form, hand_of(request, None))) == request


def test_every_field_of_a_film_is_in_the_form_or_told_beside_it() -> None:
    assert set(VideoRequest.model_fields) - _IN_THE_FORM <= set(extras.NAMES)
    assert all(i18n.is_known(words) for words in extras.NAMES.values())


def test_films_of_one_pass_are_not_planned_here_and_it_is_said_why(page: VideoPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.desk, "plan", lambda fields: one_pass_film()[0])
    with pytest.raises(InvalidRequest, match="one by one") as caught:
        page.plan(board_of(THREE), values_of(THREE))
    assert caught.value.field == "video_model"


# Candidates.


def rows(*scores: float, taken: int = 0) -> list[dict[str, Any]]:
    return [{"stage": f"{n:064x}", "match": score, "score": score, "taken": n == taken} for n, score in enumerate(scores)]


def test_a_tie_is_called_one() -> None:
    told = chosen_of(rows(0.90, 0.905), "pocket-clip")
    assert told is not None
    assert told[1].tie
    told = chosen_of(rows(0.90, 0.70), "pocket-clip")
    assert told is not None
    assert (told[1].tie, told[1].pick, round(told[1].margin, 3)) == (False, 0, 0.2)
    assert chosen_of([], "pocket-clip") is None


def test_what_was_taken_names_the_film_as_its_run_does(desk: Desk) -> None:
    hand = changed(changed(THREE, 0, options=True), 1, options=True, pick=3)
    open_plan = film_of(planned(desk, hand, picked=False))
    settled, shown = settle(open_plan, board_of(hand))
    assert isinstance(settled.keyframes[0], Selection)  # nobody knows yet
    assert isinstance(shown[1], Selection)
    assert settled.keyframes[1] == shown[1].candidates[2]  # the user's pick needs no score
    first = open_plan.keyframes[0]
    assert isinstance(first, Selection)
    names = tuple(map(fingerprint, first.candidates))
    board = board_of(hand, choices={names: Chosen(1, ({}, {}, {}, {}), 0.1, False)})
    settled, _ = settle(open_plan, board)
    final = film_of(planned(desk, changed(hand, 0, pick=2)))
    assert settled.keyframes == final.keyframes
    assert settled.transitions == final.transitions


def test_options_are_shown_small_with_their_match_and_the_pick_wins(page: VideoPage, desk: Desk) -> None:
    hand = changed(THREE, 1, options=True)
    plan = planned(desk, hand, picked=False)
    selection = film_of(plan).keyframes[1]
    assert isinstance(selection, Selection)
    names = tuple(map(fingerprint, selection.candidates))
    drawn = {name: Drawn(f"files/{n}/a.png", f"Match 0.{n}0") for n, name in enumerate(names, 1)}
    told = rows(0.91, 0.92, 0.93, 0.97, taken=3)
    board = board_of(hand, drawn=drawn, choices={names: Chosen(3, tuple(told), 0.04, False)})
    card = view(plan, board, desk, page.finds).heads[1]
    assert re.findall(r'src="([^"]+)"', card) == [f"library/thumb/{n}" for n in (1, 2, 3, 4)]
    assert re.findall(r"<bdi data-said>([^<]+)</bdi>", card) == ["0.91", "0.92", "0.93", "0.97"]
    assert re.findall(r'data-n="(\d)" aria-pressed="true"', card) == ["4"]
    assert "Option 4 is best by 0.04" in card
    picked = replace(board, slots=tuple(held.slot for held in changed(hand, 1, pick=2)))
    seen = view(plan, picked, desk, page.finds)
    assert re.findall(r'data-n="(\d)" aria-pressed="true"', seen.heads[1]) == ["2"]
    assert "Your pick" in seen.heads[1]
    assert "files/2/a.png" in seen.pics[1]
    tied = replace(board, choices={names: Chosen(3, tuple(told), 0.0, True)})
    assert "Too close to call: option 4" in view(plan, tied, desk, page.finds).heads[1]


# The strip.


def keep_strip(desk: Desk, name: str) -> None:
    stored = io.BytesIO()
    Image.new("RGB", (640, 96), "yellow").save(stored, "WEBP")
    desk.session.store.keep_stage(name, "webp", stored.getvalue())


def test_what_was_made_before_is_shown_before_anything_starts(page: VideoPage, desk: Desk) -> None:
    plan = planned(desk, THREE, picked=False)
    film = film_of(plan)
    desk.session.store.keep_stage(fingerprint(film.keyframes[0]), "png", encode_png(Image.new("RGB", (160, 96), "red")))
    keep_strip(desk, fingerprint(film.transitions[1]))
    shown = page.look_ahead(board_of(THREE), *values_of(THREE))
    strip = shown[page.strip]
    assert re.findall(r'class="s (\w+)"', strip) == ["wait", "done"]
    assert strip.count("data:image/webp") == 2  # the keyframe and the transition
    assert re.findall(r'data-do="way" data-i="(\d)"', strip) == ["1"]
    assert "1 of 2 transitions done" in strip
    assert "data:image/webp" in shown[page.cards[0].pic]
    assert "Not drawn yet" in shown[page.cards[1].pic]
    assert "appears here after Animate" in shown[page.monitor]
    keep_strip(desk, fingerprint(film.transitions[0]))
    assert "was made before: Animate shows it" in page.look_ahead(board_of(THREE), *values_of(THREE))[page.monitor]


def test_a_film_that_is_not_that_of_the_cards_is_told_to_be_the_one_before(page: VideoPage, desk: Desk) -> None:
    film = film_of(planned(desk, THREE, picked=False))
    board = board_of(THREE, player="<video>", made=(tuple(map(fingerprint, film.transitions)), {}))
    assert page.look_ahead(board, *values_of(THREE))[page.monitor] == "<video>"
    longer = moves.append(THREE)
    told = page.look_ahead(replace(board, slots=board_of(longer).slots), *values_of(longer))[page.monitor]
    assert "The film before these changes" in told


def test_a_film_whose_options_are_chosen_takes_no_time_again(page: VideoPage, desk: Desk) -> None:
    hand = changed(THREE, 1, options=True)
    film = film_of(planned(desk, hand, picked=False))
    selection = film.keyframes[1]
    assert isinstance(selection, Selection)
    names = tuple(map(fingerprint, selection.candidates))
    board = board_of(hand, choices={names: Chosen(1, tuple(rows(0.8, 0.9, 0.8, 0.8, taken=1)), 0.1, False)})
    settled, _ = settle(film, board)
    for name in (*names, *map(fingerprint, (settled.keyframes[0], settled.keyframes[2]))):
        desk.session.store.keep_stage(name, "png", encode_png(Image.new("RGB", (160, 96), "red")))
    for kind, name in (("npy", fingerprint(settled.transitions[0])), ("npy", fingerprint(settled.transitions[1]))):
        desk.session.store.keep_stage(name, kind, b"x")  # type: ignore[arg-type]
    assert desk.seconds(replace(planned(desk, hand), recipes=(settled,))) == 0
    assert page.look_ahead(board, *values_of(hand))[page.strip].count("3.75 s</div>") == 1
    assert "time not measured yet" in page.look_ahead(replace(board, choices={}), *values_of(hand))[page.strip]


def test_keyframes_too_far_apart_are_told_with_the_way_out(page: VideoPage, desk: Desk) -> None:
    plan = planned(desk, THREE, picked=False)
    one, two, three = map(fingerprint, film_of(plan).keyframes)
    board = board_of(THREE, pairs={(one, two): Pair(0.31, True), (two, three): Pair(0.8, False)})
    strip = view(plan, board, desk, page.finds).strip
    assert "Keyframes 1 and 2 look too different" in strip
    assert "likeness 0.31" in strip
    assert re.findall(r'data-do="midpoint" data-i="(\d)"', strip) == ["0"]
    assert "Keyframes 2 and 3" not in strip


def test_a_loop_ends_at_its_first_card(page: VideoPage, desk: Desk) -> None:
    plan = planned(desk, THREE, picked=False, loop=True)
    board = board_of(THREE)
    assert fits_cards(plan, board)
    strip = view(plan, board, desk, page.finds).strip
    assert re.findall(r'aria-label="Transition (\d) to (\d)"', strip) == [("1", "2"), ("2", "3"), ("3", "1")]
    assert not fits_cards(planned(desk, THREE[:2], loop=True), board)


def test_joins_are_told_only_of_the_film_that_was_made(page: VideoPage, desk: Desk) -> None:
    plan = planned(desk, THREE, picked=False)
    names = tuple(map(fingerprint, film_of(plan).transitions))
    ways = (Way(0, 22, 0.3, 1.2, 4), Way(22, 44, 0.3, 9.0, 31))
    report = FilmReport(45, 1.0, 0.1, 0.2, 3, (), (Join(22, 1.25, 0.9),), ways, None, ()).as_json()
    for name in names:
        keep_strip(desk, name)
    strip = view(plan, board_of(THREE, made=(names, report)), desk, page.finds).strip
    assert '<span class="join" title="Join 1.25, hold 0.90">smooth</span>' in strip
    assert "no jump" in strip
    assert "a jump at frame 31" in strip
    other = view(plan, board_of(THREE, made=(names[:1], report)), desk, page.finds).strip
    assert "Join" not in other
    blended = {"ways": [{"largest_step": 1.0, "largest_step_frame": 4, "blend_share": BLEND_LIMIT + 0.01}]}
    assert verdicts_of(blended) == ["looks like a cross-fade"]
    assert joins_of({}, (0, 22, 44)) == [("", "")] * 3


def test_the_length_is_always_told_and_the_time_once_it_is_known(desk: Desk) -> None:
    plan = planned(desk, THREE)
    assert total_words(plan) == "45 frames · 12 fps · 3.75 s · time not measured yet"
    assert total_words(replace(plan, seconds=0.0)) == "45 frames · 12 fps · 3.75 s"
    assert total_words(replace(plan, seconds=130.0)) == "45 frames · 12 fps · 3.75 s · about 2 min 10 s"


def test_a_films_match_says_that_it_is_a_mean() -> None:
    run = SimpleNamespace(scores={"scorer": "clip-vit-b-32", "clip_cosine": 0.39}, seconds=1.0, notes=())
    made = SimpleNamespace(run=run, recipe=SimpleNamespace(model="flux1-dev", width=160, height=96))
    assert "Match 0.39, mean of all frames · 160 × 96" in finished(cast("VideoArtifact", made))


# How frames are filled.


def test_each_way_says_its_work_as_the_planner_counts_it(desk: Desk) -> None:
    assert set(NAMES) == set(METHODS)
    plan = planned(desk, THREE)
    told = {name: words for words, name in choices(plan)}
    for name in METHODS:
        [calls] = {part.unet_calls for part in film_of(planned(desk, THREE, method=name)).transitions}
        assert f"\n{calls} UNet calls · " in told[name]
    assert told[USUAL].endswith("the usual time")
    part = film_of(plan).transitions[0]
    assert told["plain"].endswith(f"{calls_of('plain', part, 10) / calls_of(USUAL, part, 10):.1f} × the usual time")
    assert [name for _, name in choices(None)] == list(NAMES)


# The report.


def is_turned(said: str) -> bool:
    """Return whether the page's script finds the text in the table, and what stands in its holes too, unless it is a number."""
    if said in TEXTS or re.fullmatch(r"[\d.]+( s)?", said):
        return True
    for text in sorted(TEXTS, key=lambda text: -len(re.sub(r"\{\w+\}", "", text))):
        hit = re.fullmatch(re.sub(r"\\\{\w+\\\}", "(.+?)", re.escape(text)), said, re.DOTALL) if "{" in text else None
        if hit is not None:
            return all(map(is_turned, hit.groups()))
    return False


def test_every_sentence_of_a_report_is_in_the_table() -> None:
    ends = {"raw_psnr": [40.0, 38.5, 30.0], "round_trip_psnr": [40.0, 41.0, 41.0]}
    moving = [np.roll(np.full((96, 160, 3), 40, np.uint8), n) for n in range(21)]
    for n, frame in enumerate(moving):
        frame[30:60, 4 * n : 4 * n + 30] = 200
    real = film_report(moving, (0, 10, 20), [moving[0], moving[10], moving[20]], ends, lambda shown: [[0.5] * len(shown)])
    plain = film_report(moving, (0, 10, 20))
    match = KeyframeMatch(3, 40.0, 0.9)
    joins = (Join(10, 1.0, 0.1), Join(10, 3.0, 1.0), Join(10, 1.0, 1.0))
    ways = (Way(0, 10, None, 1.0, 3), Way(0, 10, 0.99, 9.0, 3), Way(0, 10, 0.1, 1.0, 3))
    bad = FilmReport(21, 1.0, 0.6, 3.0, 5, (match,), joins, ways, (0.5, 0.4, 3), ())
    flash = replace(bad, flicker=0.1, flash_frame=10, likeness=(0.9, 0.8, 3))
    still = replace(bad, motion=0.0)
    said = {sentence for report in (real, plain, bad, flash, still) for sentence in report.words()}
    assert len(said) > 20
    for sentence in said:
        about, says = split(sentence)
        assert says, sentence
        assert is_turned(about), about
        assert is_turned(says), says
    assert not is_turned("bend 1.00, hold 1.00: something new")
    for report in (real, plain, bad, flash, still, replace(bad, ways=ways[1:2] * 2, joins=(), flash=0.0, likeness=None)):
        assert report_from_json(report.as_json()) == report
        for finding in report.findings(10):
            assert is_turned(finding), finding
        listed = report_list(report.as_json(), 10)
        assert listed.count("<li>") == len(report.words()) + len(report.findings(10))
        assert not re.search(r"\bdB|bend|\d\.\d\d", listed.partition("Figures")[0])  # verdicts come first, figures are folded
    assert bad.findings(10)[:3] == ("One jump, at 0.3 s.", "From 0.0 s to 1.0 s it looks like a cross-fade.",
                                    "At the keyframe at 1.0 s: the motion stalls, or a frame is shown twice.")  # fmt: skip
    assert "The subject changes at 0.3 s." in bad.findings(10)
    assert "2 of 3 keyframes are not met exactly." in real.findings(10)
    assert report_list({}, 10) == ""
    other = {name: value for name, value in report.as_json().items() if name != "flicker"}  # of another version
    assert report_list(other, 10) == ""
    assert joins_of(other, (0, 22)) == [("", "")] * 2


def test_transitions_are_done_when_they_are_made_and_not_when_keyframes_are_scored(page: VideoPage, desk: Desk) -> None:
    seen = page.work._watched(planned(desk, THREE), board_of(THREE), values_of(THREE), Visitor("tab", ""))
    page.work._after(seen, Progress("score"))
    strip = page.work._after(seen, Progress("animate", 1, 2, 3, 40))[page.strip]
    assert re.findall(r"<b>(.+?)</b>", strip) == ["Step 3 of 40", "Waiting"]
    strip = page.work._after(seen, Progress("decode"))[page.strip]
    assert re.findall(r"<b>(.+?)</b>", strip) == ["Done", "Done"]


# One-pass models, whose films have no transitions: the page offers none, and shows a job of another hand without its strip.


def test_a_film_made_in_one_pass_is_shown_by_itself(page: VideoPage, desk: Desk, tmp_path: Path) -> None:
    plan, film = one_pass_film()
    assert film.passes
    hand = hand_of(plan.request, plan)[:MAX_STAGES]  # type: ignore[arg-type]
    seen = page.work._watched(plan, board_of(hand), values_of(hand), Visitor("tab", ""))
    assert page.work._after(seen, Progress("animate", 1, 1, 3, 40)).keys() == {page.stat}
    shown = page.work._after(seen, Progress("animate", 1, 1, 4, 40, preview=b"RIFF"))
    assert shown.keys() == {page.stat, page.monitor}
    assert page.work._after(seen, Progress("decode")).keys() == {page.stat}
    out = tmp_path / "out"
    out.mkdir()
    keys = tuple(out / f"{n}.png" for n in range(len(film.keyframes)))
    for path in (*keys, out / "film.mp4"):
        path.write_bytes(b"x")
    made = VideoArtifact(out / "film.mp4", keys, plan.request, film, RunFacts(1.0, "cpu", 0, {}))
    shown = page.work._after(seen, made)
    assert "<video" in shown[page.monitor]
    assert page.strip not in shown


# Exports.


@pytest.fixture
def film_file(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return make_film(tmp_path / "out")


def test_an_export_is_made_for_its_owner_alone(film_file: Path, tmp_path: Path) -> None:
    routes = exports.ExportRoutes(tmp_path / "home", Shelf(tmp_path / "out"))
    told = routes.export(film_file, "gif", {"fps": None, "crf": None, "densify": False}, b"", "ann")
    assert (told["name"], told["frames"], told["fps"]) == ("film.gif", 21, 12)
    ticket = told["url"].split("/")[1]
    assert fetch(routes, ticket, "ann").status_code == 200
    assert fetch(routes, ticket, "bob").status_code == 404
    assert fetch(routes, "x" * 32, "ann").status_code == 404
    frames = routes.export(film_file, "png", {"fps": None, "crf": None, "densify": False}, b"", "ann")
    assert fetch(routes, frames["url"].split("/")[1], "ann").headers["content-disposition"].endswith('film_frames.zip"')
    assert sorted(path.name for path in film_file.parent.iterdir()) == ["film.mp4"]  # the library sees no exports


def test_refused_exports_leave_nothing_and_tell_no_path(film_file: Path, tmp_path: Path) -> None:
    routes = exports.ExportRoutes(tmp_path / "home", Shelf(tmp_path / "out"))
    with pytest.raises(InvalidRequest) as caught:
        routes.export(film_file, "mp4", {"fps": None, "crf": None, "densify": False}, b"not sound", "ann")
    assert exports._said(caught.value).startswith("audio: not accepted. Allowed: a local file with sound")
    assert str(tmp_path) not in exports._said(caught.value)
    with pytest.raises(InvalidRequest, match="crf"):
        routes.export(film_file, "gif", {"fps": None, "crf": 3, "densify": False}, b"", "ann")
    assert not list((tmp_path / "home" / "exports").iterdir())
    with routes._one_at_a_time(), pytest.raises(Exception, match="Another film is being exported"):
        routes.export(film_file, "gif", {"fps": None, "crf": None, "densify": False}, b"", "ann")


def test_only_the_newest_exports_are_kept(film_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_KEPT", 2)
    routes = exports.ExportRoutes(tmp_path / "home", Shelf(tmp_path / "out"))
    wish = {"fps": None, "crf": None, "densify": False}
    made = [routes.export(film_file, "gif", wish, b"", "ann")["url"].split("/")[1] for _ in range(3)]
    assert {path.name for path in (tmp_path / "home" / "exports").iterdir()} == set(made[1:])
    assert fetch(routes, made[0], "ann").status_code == 404


def test_the_form_offers_what_this_machine_can_make(film_file: Path) -> None:
    recipe = load_recipe(film_file)
    assert isinstance(recipe, VideoRecipe)
    form = exports.export_form("files/abc/film.mp4", recipe)
    assert re.findall(r'option value="(\w+)"', form) == list(formats_here())
    assert 'data-export="abc"' in form
    assert set(exports.TITLES) == set(FORMATS)


def fetch(routes: exports.ExportRoutes, ticket: str, owner: str) -> Any:
    request: Any = SimpleNamespace(path_params={"ticket": ticket}, cookies={})
    with patch.object(exports, "owner_of", return_value=owner):
        return asyncio.run(routes.give(request))
