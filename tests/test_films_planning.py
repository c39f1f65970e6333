"""Films in time: lengths, loops, seconds, bridged gaps and given pictures, from the wish to the plan and through a run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flux_svd import device, measuring, weights
from flux_svd.artifact import ImageArtifact, VideoArtifact, load_recipe
from flux_svd.catalog import MODELS
from flux_svd.errors import InvalidRequest, UnreadableFile
from flux_svd.memory import GIB, Budget
from flux_svd.pictures import cover, encode_png
from flux_svd.plan import Inventory, Plan, keyframes_only, plan_from_json, plan_to_json
from flux_svd.recipe import GivenPicture, ImageRecipe, VideoRecipe, fingerprint, recipe_from_json, to_json
from flux_svd.request import MAX_FRAMES, make_request
from flux_svd.session import Session
from tests.fakes import FakeEngines, fake_session
from tests.test_planner import EVERYTHING, film_of, gpu

PICTURE = "ab" * 32
LAPTOP_64 = Budget("cpu", "a laptop", 64 * GIB, 64 * GIB, 2**40)


def stages(*prompts: str, **last: Any) -> list[dict[str, Any]]:
    """Return stages with these prompts; `last` adds fields to the last one."""
    made: list[dict[str, Any]] = [{"prompt": prompt} for prompt in prompts]
    made[-1] |= last
    return made


def note_of(plan: Plan, what: str) -> str:
    return next(f"{note.value} ({note.why})" for note in plan.decisions if note.what == what)


def test_each_transition_may_have_a_length_of_its_own() -> None:
    _, film = film_of(lengths=[14, 25, 9])
    assert [part.kept_frames for part in film.transitions] == [14, 25, 9]
    assert film.key_positions == (0, 13, 37, 45)
    assert film.frames == 14 + 25 + 9 - 2


def test_a_stage_may_say_how_long_the_way_from_it_is() -> None:
    wishes = stages("a", "b", "c")
    wishes[1]["length"] = 15
    assert [part.kept_frames for part in film_of(stages=wishes)[1].transitions] == [23, 15]
    assert [part.kept_frames for part in film_of(stages=wishes, frames_per_transition=20)[1].transitions] == [20, 15]


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"lengths": [14, 25], "keyframes": 2}, "lengths", "1 of them"),
        ({"lengths": [14], "loop": True}, "lengths", "2 of them"),
        ({"stages": stages("a", "b", length=14)}, "stages.1.length", "no loop"),
        ({"lengths": [14, 2]}, "lengths.1", "a whole number from 3 to 121"),
        ({"stages": [{"prompt": "a", "length": 500}, {"prompt": "b"}]}, "stages.0.length", "a whole number from 3 to 121"),
        ({"seconds": 200.0}, "seconds", "0.25 to 120.08 at 12 frames a second"),
        ({"seconds": 0.1}, "seconds", "0.25 to 120.08"),
        ({"seconds": 4.0, "total_frames": 45}, "request", "total_frames and seconds exclude each other"),
        ({"seconds": 4.0, "frames_per_transition": 14}, "request", "exclude each other"),
        ({"stages": stages("a", "b"), "loop": True, "total_frames": 45, "lengths": [9, 9]}, "request", "exclude each other"),
        ({"stages": [{"prompt": "a", "length": 9}, {"prompt": "b"}], "seconds": 4.0}, "request", "the lengths of stages exclude"),
        ({"keyframes": 20, "frames_per_transition": 121}, "frames_per_transition", "at most 1441 frames"),
        ({"lengths": [121] * 13}, "lengths", "at most 1441 frames"),
        ({"stages": stages("a", "b", picture="x")}, "stages.1.picture", "an id of 64 characters"),
    ],
)
def test_lengths_that_do_not_go_together_are_refused(fields: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        film_of(**fields)
    assert caught.value.field == field
    assert allowed in caught.value.allowed


def test_a_contradiction_within_a_request_is_told_without_a_value() -> None:
    with pytest.raises(InvalidRequest, match=r"^request: total_frames and seconds exclude each other$"):
        film_of(seconds=4.0, total_frames=45)


@pytest.mark.parametrize(
    ("model", "wish", "nearest"),
    [
        ("ltx", {"seconds": 10.0}, ["8.08 s (97 frames)", "10.08 s (121 frames)"]), ("ltx", {"total_frames": 45}, ["33", "49"]),
        ("wan-flf", {"seconds": 10.0}, ["8.42 s (101 frames)", "10.08 s (121 frames)"]),
        ("ltx", {"frames_per_transition": 23}, ["17", "25"]), ("ltx", {"lengths": [25, 5]}, ["9"]),
    ],
)  # fmt: skip
def test_a_model_with_steps_of_frames_names_the_nearest_lengths_and_they_work(
    model: str, wish: dict[str, Any], nearest: list[str]
) -> None:
    here = {"budget": gpu(141, host=256), "inventory": EVERYTHING, "model": "flux2-klein-4b", "video_model": model}
    with pytest.raises(InvalidRequest) as refused:
        film_of(**here, **wish)
    told = refused.value.allowed.partition(":")[0].removesuffix(" instead of 23").removesuffix(" instead of 5")
    assert told.replace(" frames", "").replace(")", "") == " or ".join(nearest).replace(" frames", "").replace(")", "")
    for one in nearest:
        (name, value), number = next(iter(wish.items())), float(one.split()[0])
        works: Any = number if name == "seconds" else [value[0], int(number)] if name == "lengths" else int(number)
        assert film_of(**here, **{name: works})[1].passes


def test_seconds_become_frames_and_the_plan_shows_both() -> None:
    plan, film = film_of(seconds=10.0)
    assert film.frames == 120
    assert note_of(plan, "length") == "120 frames (10 s at 12 frames a second, as asked)"
    assert "120 frames · 12 fps · 10.00 s" in note_of(plan, "film")
    assert film_of(seconds=3.75, fps=24)[1].frames == 90


def test_a_loop_ends_at_its_first_keyframe_which_is_drawn_once() -> None:
    plan, film = film_of(loop=True, stages=stages("a", "b", "c"))
    assert film.keyframes[0] == film.keyframes[-1]
    assert [part.kept_frames for part in film.transitions] == [23, 23, 23]
    assert film.transitions[-1].end == fingerprint(film.keyframes[0])
    assert [recipe.prompt for recipe in keyframes_only(plan).recipes if isinstance(recipe, ImageRecipe)] == ["a", "b", "c"]
    assert len(plan.stages) == len(film.keyframes)


def test_a_loop_of_a_given_length_has_it() -> None:
    assert film_of(loop=True, total_frames=97)[1].frames == 97
    assert film_of(loop=True, seconds=4.0)[1].frames == 48


@settings(deadline=None, max_examples=40)
@given(st.integers(3, 121), st.booleans(), st.integers(2, 6))
def test_no_transition_leaves_the_trained_lengths(length: int, loop: bool, keyframes: int) -> None:
    _, film = film_of(keyframes=keyframes, frames_per_transition=length, loop=loop)
    assert all(14 <= part.frames <= 25 for part in film.transitions)
    ways = keyframes - 1 + loop
    assert film.frames == (length - 1) * ways + 1
    assert len(film.keyframes) == len(film.transitions) + 1
    assert set(range(0, film.frames, length - 1)) <= set(film.key_positions), "the wished keyframes stay at their places"


def test_a_model_trained_on_14_frames_is_asked_for_no_more_and_the_plan_says_so() -> None:
    here = gpu(80, host=128)
    plan, film = film_of(here, EVERYTHING, model="flux2-klein-4b", video_model="svd")
    assert [part.frames for part in film.transitions] == [14, 14]
    assert note_of(plan, "frames per transition") == "14 (as many as svd was trained on)"
    plan, film = film_of(here, EVERYTHING, model="flux2-klein-4b", video_model="svd", keyframes=2, frames_per_transition=25)
    assert [part.frames for part in film.transitions] == [13, 13]
    assert "longer than the 14 svd was trained on" in note_of(plan, "bridges")
    only = Inventory(EVERYTHING.on_disk - {"svd-xt"}, EVERYTHING.accepted)
    given = [{"prompt": text, "picture": PICTURE} for text in "ab"]
    for wish in ({"model": "flux2-klein-4b"}, {"stages": given, "frames_per_transition": 25}):  # bridged, so one is drawn
        plan, film = film_of(here, only, **wish)
        assert plan.placements[-2].model == "svd"
        assert all(8 <= part.frames <= 14 for part in film.transitions)
    assert len(keyframes_only(plan).recipes) == 1
    assert [part.frames for part in film_of(here, EVERYTHING, stages=given)[1].transitions] == [23]
    short = film_of(here, EVERYTHING, stages=given, video_model="svd", frames_per_transition=5)[1].transitions[0]
    assert (short.frames, short.stride) == (9, 2)


def test_a_long_gap_is_bridged_from_the_storyboard() -> None:
    plan, film = film_of(prompt="a dog running", keyframes=2, frames_per_transition=49)
    assert [stage.name for stage in plan.stages] == ["Starting to run", "At full stride", "Slowing down"]
    longer = "a transition of 49 frames is longer than the 25 pocket-svd was trained on"
    assert note_of(plan, "bridges") == f"1 keyframe between ({longer})"
    assert film.key_positions == (0, 24, 48)


def test_a_long_gap_between_the_users_stages_is_bridged_halfway() -> None:
    plan, _ = film_of(stages=stages("a cat, sitting", "a cat, standing"), frames_per_transition=49)
    assert [stage.prompt for stage in plan.stages] == [
        "a cat, sitting", "a cat, halfway between sitting and standing", "a cat, standing",
    ]


def test_two_keyframes_in_a_gap_lie_at_their_thirds() -> None:
    plan, film = film_of(stages=stages("a cat", "a dog"), frames_per_transition=61)
    assert film.key_positions == (0, 20, 40, 60)
    assert [stage.prompt for stage in plan.stages[1:3]] == [
        "between a cat and a dog, nearer to a cat", "between a cat and a dog, nearer to a dog",
    ]


def test_a_longer_gap_leaves_the_other_transitions_alone() -> None:
    before, after = (film_of(stages=stages("a", "b", "c"), lengths=[length, 20])[1] for length in (20, 60))
    assert len(after.transitions) == 4
    assert fingerprint(after.transitions[-1]) == fingerprint(before.transitions[-1])
    assert len({part.seed for part in after.transitions}) == 4


def test_a_given_picture_is_a_keyframe_that_nothing_draws() -> None:
    plan, film = film_of(stages=stages("a", "b", picture=PICTURE))
    assert film.keyframes[1] == GivenPicture(PICTURE, film.width, film.height)
    assert film.transitions[0].end == fingerprint(film.keyframes[1])
    assert len(keyframes_only(plan).recipes) == 1
    assert "1 given" in note_of(plan, "keyframes")
    assert recipe_from_json(to_json(film)) == film
    assert plan_from_json(plan_to_json(plan)) == plan


def test_a_given_picture_that_begins_and_ends_a_loop_counts_once() -> None:
    plan, film = film_of(stages=[{"prompt": "a", "picture": PICTURE}, {"prompt": "b"}], loop=True)
    assert film.keyframes[0] == film.keyframes[2] == GivenPicture(PICTURE, film.width, film.height)
    assert "1 given" in note_of(plan, "keyframes")


def test_a_part_of_a_film_is_no_result() -> None:
    with pytest.raises(ValueError, match="part of a film"):
        recipe_from_json(to_json(GivenPicture(PICTURE, 160, 96)))


@pytest.mark.parametrize("size", [(400, 96), (96, 400), (160, 96), (1000, 600), (16, 10)])
def test_a_picture_is_cut_to_the_films_shape_and_never_squashed(size: tuple[int, int]) -> None:
    y, x = np.mgrid[: size[1], : size[0]]
    radius = min(size[0] / 160, size[1] / 96) * 30
    inside = (x - size[0] / 2) ** 2 + (y - size[1] / 2) ** 2 < radius**2
    fitted = np.asarray(cover(Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)), 160, 96))[..., 0] > 127
    assert fitted.shape == (96, 160)
    wide, high = fitted.any(axis=0).sum(), fitted.any(axis=1).sum()
    assert abs(wide - high) <= 12  # 60 across; a squashed 400 × 96 gives 24 by 60, and a small one has coarse edges
    assert 48 <= wide <= 72


Faked = tuple[Session, FakeEngines]


@pytest.fixture
def faked(home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Faked:
    return fake_session(home, outputs, monkeypatch)


def run(session: Session, **fields: Any) -> VideoArtifact:
    made = session.run(session.plan(make_request({"kind": "video", "prompt": "x", "seed": 7, **fields})))[0]
    assert isinstance(made, VideoArtifact)
    return made


def test_a_loop_draws_its_first_keyframe_once(faked: Faked) -> None:
    session, engines = faked
    made = run(session, stages=stages("a", "b"), loop=True)
    assert engines.calls == ["draw a", "draw b", "sample", "sample", "decode"]
    assert made.recipe.frames == 45
    assert made.run.reused == 0


def photo(session: Session, size: tuple[int, int] = (300, 100)) -> str:
    picture = Image.new("RGB", size, "red")
    picture.paste((0, 0, 255), (0, 0, size[0] // 2, size[1]))
    return session.store.keep_picture(encode_png(picture))


def test_a_given_picture_stands_in_the_film_and_is_not_marked_as_made(faked: Faked) -> None:
    session, engines = faked
    made = run(session, stages=stages("a", "b", picture=photo(session)))
    assert engines.calls == ["draw a", "sample", "decode"]
    kept = Image.open(made.keyframes[1])
    assert kept.size == (made.recipe.width, made.recipe.height)
    assert kept.convert("RGB").getpixel((2, 2)) == (0, 0, 255)
    assert kept.convert("RGB").getpixel((kept.width - 2, 2)) == (255, 0, 0)
    assert b"trainedAlgorithmicMedia" not in made.keyframes[1].read_bytes()
    assert b"trainedAlgorithmicMedia" in made.path.read_bytes()
    with pytest.raises(UnreadableFile):
        load_recipe(made.keyframes[1])
    assert load_recipe(made.path) == made.recipe


def test_given_keyframes_alone_need_no_image_model(faked: Faked) -> None:
    session, engines = faked
    picture = photo(session)
    made = run(session, stages=[{"prompt": "a", "picture": picture}, {"prompt": "b", "picture": photo(session, (100, 300))}])
    assert engines.calls == ["sample", "decode"]
    assert len(made.run.scores["keyframes"]) == 2


def test_an_unknown_picture_is_refused_before_anything_runs(faked: Faked) -> None:
    session, engines = faked
    with pytest.raises(InvalidRequest) as caught:
        run(session, stages=stages("a", "b", picture=hashlib.sha256(b"x").hexdigest()))
    assert caught.value.field == "stages.1.picture"
    assert engines.calls == []


def test_another_picture_makes_its_two_ways_again(faked: Faked) -> None:
    session, engines = faked
    wishes = stages("a", "b", "c")
    run(session, stages=[wishes[0], {"prompt": "b", "picture": photo(session)}, wishes[2]])
    engines.calls.clear()
    run(session, stages=[wishes[0], {"prompt": "b", "picture": photo(session, (60, 60))}, wishes[2]])
    assert engines.calls == ["sample", "sample", "decode"]


def test_keyframes_alone_are_pictures_of_the_drawn_stages(faked: Faked) -> None:
    session, _ = faked
    request = make_request({"kind": "video", "prompt": "x", "stages": stages("a", "b", picture=photo(session))})
    made = session.run(keyframes_only(session.plan(request)))
    assert [type(artifact) for artifact in made] == [ImageArtifact]


def test_a_video_model_is_measured_alone_whatever_else_is_here(faked: Faked, monkeypatch: pytest.MonkeyPatch) -> None:
    session, _ = faked
    only = Inventory(frozenset({"svd-xt", "pocket-flux", "pocket-svd", "pocket-clip"}), EVERYTHING.accepted)
    monkeypatch.setattr(weights, "read_inventory", lambda home: only)
    monkeypatch.setattr(device, "read_budget", lambda home, vram_bytes=None: LAPTOP_64)
    plan = session.plan(measuring.wish_of(session, MODELS["svd-xt"], 7))
    assert [row.model for row in plan.placements] == ["svd-xt", "pocket-clip"]
    assert keyframes_only(plan).recipes == ()
    assert (plan.recipes[0].width, plan.recipes[0].height) == (1024, 576)


def test_the_peak_of_drawing_is_told_apart_from_that_of_animating(faked: Faked, monkeypatch: pytest.MonkeyPatch) -> None:
    session, engines = faked
    peaks = iter([30, 12, 7, 11])  # asking for the peak begins a new one
    monkeypatch.setattr(engines, "peak_bytes", lambda placement: next(peaks))
    facts = run(session, stages=stages("a", "b")).run
    assert (facts.drawing_peak_bytes, facts.peak_bytes) == (30, 12)
    given = [{"prompt": "a", "picture": photo(session)}, {"prompt": "b", "picture": photo(session, (100, 300))}]
    facts = run(session, stages=given).run
    assert (facts.drawing_peak_bytes, facts.peak_bytes) == (0, 11)


def test_the_longest_film_has_all_its_frames() -> None:
    _, film = film_of(seconds=120.0)
    assert isinstance(film, VideoRecipe)
    assert film.frames == 1440 <= MAX_FRAMES
