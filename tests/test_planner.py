"""Plans: holes filled, decisions told, budgets kept, fingerprints that hold what changes pixels."""

from __future__ import annotations

import dataclasses
import json
import pickle
import random
from pathlib import Path
from typing import Any, get_args

import pytest

from flux_svd import device
from flux_svd.catalog import MODELS
from flux_svd.errors import DoesNotFit, InvalidRequest, ModelUnavailable
from flux_svd.memory import GIB, Budget, device_margin, parse_bytes
from flux_svd.plan import Inventory, Plan, describe_plan, keyframes_only
from flux_svd.planner import make_plan
from flux_svd.recipe import ImageRecipe, VideoRecipe, derive_seed, fingerprint, recipe_from_json, to_json
from flux_svd.request import Transition, make_request

LAPTOP = Budget("cpu", "a laptop", 16 * GIB, 16 * GIB, 100 * GIB)
POCKET = Inventory(frozenset({"pocket-flux", "pocket-klein", "pocket-svd", "pocket-clip"}))
EVERYTHING = Inventory(frozenset(MODELS), frozenset(spec.licence.id for spec in MODELS.values()))


def gpu(gib: float, host: float = 64, bf16: bool = True) -> Budget:
    return Budget("cuda", f"a GPU of {gib:g} GiB", int(gib * GIB), int(host * GIB), 1000 * GIB, bf16)


def plan_of(budget: Budget = LAPTOP, inventory: Inventory = POCKET, **fields: Any) -> Plan:
    request = make_request({"kind": "image", "prompt": "a red circle", "seed": 7, **fields})
    return make_plan(request, budget, inventory, random.Random(1))


def film_of(budget: Budget = LAPTOP, inventory: Inventory = POCKET, **fields: Any) -> tuple[Plan, VideoRecipe]:
    plan = plan_of(budget, inventory, kind="video", **fields)
    film = plan.recipes[0]
    assert isinstance(film, VideoRecipe)
    return plan, film


def test_holes_are_filled_from_the_model() -> None:
    recipe = plan_of().recipes[0]
    assert isinstance(recipe, ImageRecipe)
    spec = MODELS["pocket-flux"]
    assert (recipe.model, recipe.steps, recipe.guidance) == (spec.name, spec.steps, spec.guidance)
    assert (recipe.width, recipe.height, recipe.precision) == (*spec.size, "fp32")
    assert all(getattr(recipe, field.name) is not None for field in dataclasses.fields(recipe))


def test_a_missing_seed_comes_from_the_given_entropy_alone() -> None:
    request = make_request({"kind": "image", "prompt": "a"})
    seeds = [make_plan(request, LAPTOP, POCKET, random.Random(5)).seed for _ in range(2)]
    assert seeds[0] == seeds[1] <= 2**32 - 1
    assert make_plan(request, LAPTOP, POCKET, random.Random(6)).seed != seeds[0]


def test_the_same_wish_has_the_same_fingerprint_and_another_seed_another() -> None:
    assert fingerprint(plan_of().recipes[0]) == fingerprint(plan_of().recipes[0])
    assert fingerprint(plan_of(seed=8).recipes[0]) != fingerprint(plan_of().recipes[0])


def test_where_it_runs_does_not_change_the_fingerprint() -> None:
    near, far = (plan_of(gpu(gib), EVERYTHING, model="flux2-klein-4b") for gib in (80, 16))
    assert near.placements[0].offload == "none"
    assert far.placements[0].offload == "model"
    assert fingerprint(near.recipes[0]) == fingerprint(far.recipes[0])


def test_candidates_have_seeds_of_their_own_and_the_first_is_the_users() -> None:
    seeds = [recipe.seed for recipe in plan_of(count=4).recipes if isinstance(recipe, ImageRecipe)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 4


def test_seeds_of_different_roles_never_meet() -> None:
    drawn = {derive_seed(seed, role, index) for seed in range(50) for role in ("image", "transition") for index in range(1, 50)}
    assert len(drawn) == 50 * 2 * 49


def test_three_keyframes_make_45_frames_with_the_second_at_22() -> None:
    plan, film = film_of()
    assert (film.frames, film.fps, film.seconds_long, film.key_positions) == (45, 12, 3.75, (0, 22, 44))
    assert [part.frames for part in film.transitions] == [23, 23]
    assert any("45 frames · 12 fps · 3.75 s" in note.value for note in plan.decisions)


@pytest.mark.parametrize(("keyframes", "total"), [(2, 3), (2, 8), (3, 45), (4, 45), (6, 121), (16, 361), (61, 1441)])
def test_any_number_of_keyframes_and_frames(keyframes: int, total: int) -> None:
    _, film = film_of(keyframes=keyframes, total_frames=total)
    assert film.frames == total
    assert len(film.keyframes) == keyframes
    assert film.key_positions[-1] == total - 1
    assert all(14 <= part.frames <= 25 for part in film.transitions)


def test_total_frames_alone_choose_the_keyframes() -> None:
    assert len(film_of(total_frames=121)[1].keyframes) == 6


def test_a_transition_beyond_the_training_is_bridged_and_the_plan_says_so() -> None:
    plan, film = film_of(keyframes=2, frames_per_transition=40)
    assert (film.frames, [part.frames for part in film.transitions]) == (40, [21, 20])
    assert any(note.what == "bridges" and "40 frames" in note.why for note in plan.decisions)


def test_a_transition_is_bound_to_its_two_keyframes() -> None:
    _, before = film_of(stages=[{"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"}, {"prompt": "d"}])
    _, after = film_of(stages=[{"prompt": "a"}, {"prompt": "other"}, {"prompt": "c"}, {"prompt": "d"}])
    keys = [fingerprint(a) == fingerprint(b) for a, b in zip(before.keyframes, after.keyframes, strict=True)]
    parts = [fingerprint(a) == fingerprint(b) for a, b in zip(before.transitions, after.transitions, strict=True)]
    assert keys == [True, False, True, True]
    assert parts == [False, False, True]


def test_a_stage_may_have_a_seed_of_its_own() -> None:
    _, film = film_of(stages=[{"prompt": "a"}, {"prompt": "b", "seed": 99}])
    assert [key.seed for key in film.keyframes] == [7, 99]


def test_keyframes_alone_are_the_recipes_the_film_will_look_for() -> None:
    plan, film = film_of()
    assert keyframes_only(plan).recipes == film.keyframes


def test_unet_calls_are_counted() -> None:
    _, film = film_of(transition_steps=25)
    assert film.transitions[0].unet_calls == 65  # 2 × 25 and 3 rounds in each of the first 5 steps
    assert film_of(transition_steps=25, transition="vibid")[1].transitions[0].unet_calls == 50
    assert film_of(transition_steps=25, transition="plain")[1].transitions[0].unet_calls == 25
    assert film_of(transition_steps=25, transition="fusion")[1].transitions[0].unet_calls == 60  # 5 of 25 are taken twice


def test_colours_are_matched_only_when_asked_for() -> None:
    assert not film_of()[1].colour_match
    plan, film = film_of(colour_match=True)
    assert film.colour_match
    assert any(note.what == "colour match" for note in plan.decisions)
    assert fingerprint(film) != fingerprint(film_of()[1])


def test_joins_are_smoothed_only_when_asked_for_and_only_where_that_can_be() -> None:
    assert film_of()[1].join_share == 0
    plan, film = film_of(smooth_joins=True)
    assert film.unet_calls == film_of()[1].unet_calls + 2 * 7  # one window, two half steps, seven of ten steps
    assert any(note.what == "smooth joins" and f"{film.unet_calls} UNet calls" in note.why for note in plan.decisions)
    assert film_of(smooth_joins=True, keyframes=2)[1].join_share == 0  # and the plan says that there is nothing to smooth
    for wish in ({"transition": "plain"}, {"transition": "fusion"}, {"frames_per_transition": 9}):
        with pytest.raises(InvalidRequest, match="smooth_joins"):
            film_of(smooth_joins=True, **wish)


def test_fast_takes_three_fifths_of_the_steps_unless_they_are_given() -> None:
    for wish, steps, calls in (({}, 6, 12), ({"transition_steps": 15}, 15, 30), ({"motion_alignment": 0.5}, 6, 21)):
        part = film_of(transition="fast", **wish)[1].transitions[0]
        assert (part.steps, part.unet_calls) == (steps, calls)


def test_motion_alignment_is_switched_off_by_zero_and_refused_where_nothing_is_aligned() -> None:
    _, film = film_of(motion_alignment=0.0, transition_steps=25)
    assert film.transitions[0].unet_calls == 50
    for transition in ("vibid", "fusion", "plain"):
        with pytest.raises(InvalidRequest, match=f"not with {transition}; with bidirectional, fast"):
            film_of(transition=transition, motion_alignment=0.2)


@pytest.mark.parametrize("transition", get_args(Transition))
def test_every_transition_has_its_source_and_its_calls_in_the_plan(transition: str) -> None:
    plan, film = film_of(transition=transition)
    told = next(note for note in plan.decisions if note.what == "transitions")
    assert f"2 × {transition}, " in told.value
    assert f"{sum(part.unet_calls for part in film.transitions)} UNet calls" in told.why
    assert "arXiv:" in told.why


def test_auto_takes_the_best_that_is_here_and_fits() -> None:
    assert plan_of(gpu(80), EVERYTHING).model == "flux2-klein-9b"
    assert plan_of(gpu(12), EVERYTHING).model == "flux2-klein-4b"
    assert plan_of(gpu(4), EVERYTHING).model == "pocket-flux"
    assert plan_of().model == "pocket-flux"


def test_auto_leaves_out_a_licence_that_is_not_accepted_and_says_so() -> None:
    plan = plan_of(gpu(80), Inventory(frozenset(MODELS)))
    assert plan.model == "flux2-klein-4b"
    why = next(note.why for note in plan.decisions if note.what == "model")
    assert "licence of flux2-klein-9b is not accepted" in why


@pytest.mark.parametrize("model", [spec.name for spec in MODELS.values() if spec.family in ("flux1", "flux2-klein", "flux2")])
@pytest.mark.parametrize("gib", [4, 8, 12, 16, 24, 48, 80, 141])
def test_no_plan_exceeds_its_budget(model: str, gib: float) -> None:
    try:
        plan = plan_of(gpu(gib), EVERYTHING, model=model)
    except DoesNotFit as refusal:
        assert "GiB" in str(refusal)
        assert model in str(refusal)
    else:
        if plan.placements[0].device == "cuda":
            assert plan.placements[0].peak_bytes <= gib * GIB - device_margin(int(gib * GIB))
        assert plan.host_peak_bytes <= 64 * GIB


def test_a_gpu_without_bf16_computes_in_fp16_and_the_plan_says_so() -> None:
    plan = plan_of(gpu(40, bf16=False), EVERYTHING, model="flux2-klein-4b")
    assert plan.recipes[0].precision == "fp16"  # type: ignore[union-attr]
    assert any(note.what == "precision" and "no bf16" in note.why for note in plan.decisions)


def test_attention_slicing_is_said_to_have_no_effect() -> None:
    assert any(note.what == "attention slicing" and note.value == "no effect" for note in plan_of().decisions)


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"model": "nonsense"}, "model", "pocket-flux"),
        ({"model": "svd-xt"}, "model", "pocket-flux"),
        ({"width": 512, "height": 512}, "width", "from 16 to 256"),
        ({"model": "pocket-flux", "references": ["0" * 64]}, "references", "flux2-klein-4b"),
        ({"model": "flux2-klein-4b", "references": ["0" * 64] * 5}, "references", "at most 4 pictures for flux2-klein-4b"),
        ({"model": "flux1-schnell", "guidance": 3.0}, "guidance", "flux1-dev"),
        ({"model": "flux2-klein-4b", "negative_prompt": "rain"}, "negative_prompt", "flux2-klein-base-4b"),
    ],
)
def test_a_wish_that_contradicts_its_model_is_refused(fields: dict[str, Any], field: str, allowed: str) -> None:
    inventory = EVERYTHING if "model" in fields else POCKET
    with pytest.raises(InvalidRequest) as caught:
        plan_of(gpu(141, host=200), inventory, **fields)
    assert caught.value.field == field
    assert allowed in caught.value.allowed


def test_with_references_auto_is_a_model_that_takes_them_and_says_which_it_passed_over() -> None:
    some = Inventory(frozenset({"flux1-schnell", "flux2-klein-4b", "pocket-clip"}))
    assert plan_of(gpu(141, host=200), some, references=["0" * 64]).model == "flux2-klein-4b"
    for budget in (LAPTOP, gpu(141, host=200)):
        plan = plan_of(budget, references=["0" * 64])
        assert plan.model == "pocket-klein"
        assert "pocket-flux takes no references" in next(note.why for note in plan.decisions if note.what == "model")
    with pytest.raises(ModelUnavailable, match=r"download flux2-klein-9b \(flux1-schnell takes no references\)"):
        plan_of(gpu(141, host=200), Inventory(frozenset({"flux1-schnell"})), references=["0" * 64])


def test_a_model_that_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(ModelUnavailable, match="flux-svd models download flux1-dev"):
        plan_of(model="flux1-dev")


def test_what_is_only_considered_is_planned_as_if_it_were_here_and_says_what_it_takes() -> None:
    wish = {"model": "flux1-dev", "video_model": "svd-xt"}
    considered = dataclasses.replace(POCKET, considering=True)
    plan, here = (film_of(gpu(80), inventory, **wish)[0] for inventory in (considered, EVERYTHING))
    assert plan.placements[:2] == here.placements[:2]
    told = [(note.value, note.why) for note in plan.decisions if note.what == "not ready here"]
    assert [value.partition(":")[0] for value, _ in told] == ["flux1-dev", "svd-xt"]
    assert "non-commercial" in told[0][1]
    unread = Inventory(frozenset(MODELS), considering=True)
    assert any("flux1-dev: its licence" in note.value for note in plan_of(gpu(80), unread, model="flux1-dev").decisions)
    assert plan_of(gpu(80), considered).model == "pocket-flux"  # auto is what is ready


def test_a_model_without_accepted_licence_says_what_it_allows() -> None:
    with pytest.raises(ModelUnavailable, match=r"non-commercial.*flux-svd models accept flux1-dev"):
        plan_of(gpu(141), Inventory(frozenset(MODELS)), model="flux1-dev")


def test_a_film_with_a_large_image_model_needs_a_large_video_model() -> None:
    with pytest.raises(ModelUnavailable, match="video_model"):
        film_of(gpu(80), Inventory(frozenset({"flux2-klein-4b", "pocket-svd", "pocket-clip"})), model="flux2-klein-4b")


def test_auto_draws_for_the_named_video_model_with_a_model_of_its_kind() -> None:
    assert film_of(LAPTOP, EVERYTHING, video_model="pocket-svd")[0].model == "pocket-flux"
    assert film_of(gpu(80), EVERYTHING, video_model="svd-xt")[0].model == "flux2-klein-9b"
    only = Inventory(POCKET.on_disk | {"svd-xt"}, EVERYTHING.accepted)
    with pytest.raises(ModelUnavailable, match=r"^model: .*\(pocket-flux does not go with svd-xt; pocket-klein"):
        film_of(gpu(80), only, video_model="svd-xt")
    given = [{"prompt": text, "picture": text * 64} for text in "ab"]
    film = film_of(gpu(80), only, video_model="svd-xt", stages=given)[1]
    assert (film.width, film.height) == (1024, 576)


@pytest.mark.parametrize(
    ("model", "video", "size", "others"),
    [("pocket-flux", "svd-xt", (256, 128), "pocket-svd"), ("flux2-klein-4b", "pocket-svd", (256, 160), "svd-xt, svd")],
)
def test_a_pair_of_models_of_different_sizes_is_refused_by_name_unless_a_size_is_given(
    model: str, video: str, size: tuple[int, int], others: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        film_of(gpu(80), EVERYTHING, model=model, video_model=video)
    assert (refused.value.field, refused.value.value) == ("video_model", repr(video))
    assert f"{others}" in refused.value.allowed
    assert film_of(gpu(80), EVERYTHING, model=model, video_model=video, width=size[0], height=size[1])[1].width == size[0]


def test_where_the_device_holds_nothing_auto_goes_on_to_the_processor() -> None:
    small = gpu(0.5)
    plan = plan_of(small)
    assert (plan.model, plan.placements[0].rung) == ("pocket-flux", "P8")
    assert any(note.what == "model" and "the device holds none" in note.why for note in plan.decisions)
    film, _ = film_of(small, EVERYTHING)
    assert [row.model for row in film.placements[:2]] == ["pocket-flux", "pocket-svd"]
    assert {row.device for row in film.placements} == {"cpu"}


def test_plans_and_recipes_survive_json_and_pickle() -> None:
    for plan in (plan_of(), film_of()[0]):
        assert pickle.loads(pickle.dumps(plan)) == plan
        assert recipe_from_json(to_json(plan.recipes[0])) == plan.recipes[0]
        assert json.loads(json.dumps(describe_plan(plan)))["fingerprints"] == [fingerprint(plan.recipes[0])]


def test_vram_is_a_limit_and_never_more_than_is_free(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_nvidia", lambda host, disk: gpu(8))
    offered = [device.read_budget(home, vram_bytes=given).device_bytes for given in (None, 4 * GIB, 12 * GIB)]
    assert offered == [8 * GIB, 4 * GIB, 8 * GIB]
    monkeypatch.setattr(device, "_nvidia", lambda host, disk: None)
    assert device.read_budget(home, vram_bytes=12 * GIB).device_bytes == 12 * GIB


@pytest.mark.parametrize(("text", "amount"), [("12GB", 12 * GIB), ("12 GiB", 12 * GIB), ("800MB", 800 * 2**20), ("6", 6 * GIB)])
def test_amounts_of_memory_are_read(text: str, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "much", "-3GB", "0", "1e3GB", "nan", "99999TB", "12.5.1GB"])
def test_other_amounts_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="vram"):
        parse_bytes(text)


def test_every_row_of_the_catalogue_tells_its_source_licence_and_size() -> None:
    for spec in MODELS.values():
        assert spec.sources, spec.name
        assert spec.licence.url.startswith("https://")
        assert spec.licence.allows.endswith(".")
        assert spec.pocket == (not spec.repo)
        assert spec.parameters > 0
        assert spec.family == "clip" or spec.steps > 0
        assert (spec.guidance_kind == "none") == ("guidance" not in spec.obeys) or spec.family in ("svd", "clip")


def test_a_playback_faster_than_the_video_model_is_asked_for_is_said() -> None:
    plan, film = film_of(fps=60)
    assert {part.conditioning_fps for part in film.transitions} == {30}
    assert any(note.what == "conditioning fps" and "playback stays at 60" in note.why for note in plan.decisions)
    assert not any(note.what == "conditioning fps" for note in film_of(fps=12)[0].decisions)


@pytest.mark.parametrize(
    ("wish", "speeds"),
    [
        ({"frames_per_transition": 8}, [24]), ({"frames_per_transition": 8, "conditioning_fps": 12}, [12]),
        ({"lengths": [14, 8, 3]}, [12, 24, 30]), ({"fps": 1}, [2]), ({"fps": 1, "lengths": [14, 8]}, [2, 2]),
    ],
)  # fmt: skip
def test_a_thinned_transition_is_asked_for_at_the_speed_of_the_frames_that_are_made(
    wish: dict[str, Any], speeds: list[int]
) -> None:
    plan, film = film_of(**({"keyframes": 2} if "lengths" not in wish else {}), **wish)
    assert [part.conditioning_fps for part in film.transitions] == speeds
    told = [note.value for note in plan.decisions if note.what == "conditioning fps"]
    changed = {(part.conditioning_fps, part.stride) for part in film.transitions if part.stride > 1 or film.fps < 2}
    assert told == ([] if "conditioning_fps" in wish else [str(speed) for speed, _ in sorted(changed, key=lambda one: one[1])])
