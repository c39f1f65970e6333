"""Films of models that take several keyframes at once: from the wish to the plan, and through a run with fake engines."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from flux_svd.artifact import VideoArtifact, load_recipe
from flux_svd.catalog import MODELS
from flux_svd.errors import InvalidRequest
from flux_svd.plan import Plan, plan_from_json, plan_to_json, stage_names
from flux_svd.planner import make_plan
from flux_svd.recipe import OnePassRecipe, VideoRecipe, fingerprint
from tests.fakes import fake_session
from tests.test_planner import EVERYTHING, film_of, gpu, plan_of
from tests.test_selection import stages


def one_pass_film(**fields: Any) -> tuple[Plan, VideoRecipe]:
    return film_of(gpu(141, host=200), EVERYTHING, **{"model": "flux2-klein-4b", "video_model": "ltx", **fields})


def test_one_pass_holds_all_keyframes_and_two_of_wan_hold_a_pair_each() -> None:
    plan, film = one_pass_film()
    assert film.transitions == ()
    assert [(part.positions, part.frames) for part in film.passes] == [((0, 24, 48), 49)]
    assert film.passes[0].keyframes == tuple(fingerprint(key) for key in film.keyframes)
    assert (film.frames, film.key_positions, film.model, film.unet_calls) == (49, (0, 24, 48), "ltx", 40)
    assert any("never run here with its published weights" in f"{note.why}" for note in plan.decisions)
    _, pairs = one_pass_film(video_model="wan-flf")
    assert [part.positions for part in pairs.passes] == [(0, 24), (0, 24)]
    assert (pairs.frames, pairs.key_positions) == (49, (0, 24, 48))
    assert pairs.passes[0].keyframes[1] == pairs.passes[1].keyframes[0]
    assert pairs.passes[0].seed != pairs.passes[1].seed


def test_lengths_in_steps_of_frames_are_kept_without_bridges() -> None:
    _, film = one_pass_film(lengths=[9, 97])
    assert film.key_positions == (0, 8, 104)
    assert len(film.keyframes) == 3
    assert one_pass_film(video_model="wan-flf", lengths=[5, 13])[1].frames == 17


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"frames_per_transition": 23}, "frames_per_transition", "17 or 25 frames instead of 23"),
        ({"total_frames": 45}, "total_frames", "multiple of 8"),
        ({"video_model": "wan-flf", "lengths": [25, 24]}, "lengths", "21 or 25 frames instead of 24"),
        ({"transition": "vibid"}, "transition", "no two-ended transitions"),
        ({"motion_alignment": 0.5}, "motion_alignment", "no two-ended transitions"),
        ({"smooth_joins": True}, "smooth_joins", "no two-ended transitions"),
        ({"stages": stages("a", "b", a={"transition_seed": 5})}, "stages.0.transition_seed", "makes all transitions at once"),
    ],
)
def test_what_such_a_model_cannot_do_is_refused(fields: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        one_pass_film(**fields)
    assert caught.value.field == field
    assert allowed in caught.value.allowed


def test_a_pair_may_have_a_seed_of_its_own() -> None:
    plain, rolled = (
        one_pass_film(video_model="wan-flf", stages=stages("a", "b", "c", **own))[1]
        for own in ({}, {"b": {"transition_seed": 5}})
    )
    same = [ours == theirs for ours, theirs in zip(plain.passes, rolled.passes, strict=True)]
    assert same == [True, False]


def test_another_keyframe_is_another_pass_of_the_pairs_beside_it() -> None:
    before, after = (
        one_pass_film(video_model="wan-flf", stages=stages(*prompts), keep_subject=False)[1] for prompts in ("abcd", "abxd")
    )
    same = [ours == theirs for ours, theirs in zip(before.passes, after.passes, strict=True)]
    assert same == [True, False, False]


def test_such_plans_survive_json_and_name_their_stages() -> None:
    for model in ("ltx", "wan-flf"):
        plan, film = one_pass_film(video_model=model)
        assert plan_from_json(plan_to_json(plan)) == plan
        assert {fingerprint(part) for part in film.passes} <= stage_names(plan)


def test_they_are_placed_as_a_whole_or_part_by_part() -> None:
    ways = {one_pass_film(video_model=model)[0].placement_of(model).offload for model in ("ltx", "wan-flf")}
    plan = film_of(gpu(80, host=200), EVERYTHING, model="flux2-klein-4b", video_model="wan-flf")[0]
    ways |= {plan.placement_of("wan-flf").offload, *(row.offload for row in plan.fallbacks if row.model == "wan-flf")}
    assert ways <= {"none", "model"}


def test_auto_never_takes_what_was_not_run_with_its_weights() -> None:
    plan = film_of(gpu(141, host=200), EVERYTHING, model="flux2-klein-4b")[0]
    assert plan.placements[1].model == "svd-xt"
    assert all("never run" in spec.unconfirmed[0] for spec in MODELS.values() if spec.keyframes_at_once)


@pytest.mark.parametrize(("model", "passes"), [("ltx", 1), ("wan-flf", 2)])
def test_a_run_makes_each_stretch_once_and_keyframes_exact(
    model: str, passes: int, home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, engines = fake_session(home, outputs, monkeypatch)
    plan = on_this_machine(model)
    made = session.run(plan)[0]
    assert isinstance(made, VideoArtifact)
    assert engines.calls == ["draw a", "draw b", "draw c", *["pass"] * passes]
    assert made.recipe.frames == 49
    assert load_recipe(made.path) == made.recipe
    assert made.run.ends is not None
    assert max(made.run.ends["raw_psnr"]) < min(made.run.ends["round_trip_psnr"]) == 99
    session.store.stage_file(fingerprint(made.recipe), "mp4").unlink()
    engines.calls.clear()
    again = session.run(plan)[0]
    assert engines.calls == []
    assert again.path.read_bytes() == made.path.read_bytes()


def on_this_machine(model: str) -> Plan:
    """Return a plan whose pictures are pocket ones and whose film `model` makes; its placements are for the processor."""
    import random

    from flux_svd.memory import GIB, Budget
    from flux_svd.request import make_request

    budget = Budget("cpu", "a large machine", 400 * GIB, 400 * GIB, 400 * GIB)
    wish = {"kind": "video", "prompt": "all", "seed": 7, "stages": stages("a", "b", "c"), "model": "pocket-flux",
            "video_model": model, "width": 96, "height": 64, "transition_steps": 2}  # fmt: skip
    plan = make_plan(make_request(wish), budget, EVERYTHING, random.Random(1))
    assert isinstance(plan.recipes[0], VideoRecipe)
    assert isinstance(plan.recipes[0].passes[0], OnePassRecipe)
    return dataclasses.replace(plan, placements=(*plan.placements[:-1], plan_of().placements[-1]))
