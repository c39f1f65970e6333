"""The ladder: what a plan becomes when memory runs out; sizes, steps and (without consent) pixels stay as they are."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from flux_svd.catalog import MODELS
from flux_svd.errors import DoesNotFit, InvalidRequest, OutOfMemory
from flux_svd.ladder import Failure, next_rung
from flux_svd.memory import GIB, Budget
from flux_svd.plan import Inventory, Plan, plan_from_json, plan_to_json
from flux_svd.planner import make_plan
from flux_svd.recipe import ImageRecipe, VideoRecipe, fingerprint
from flux_svd.request import make_request

EVERYTHING = Inventory(frozenset(MODELS), frozenset(spec.licence.id for spec in MODELS.values()))
CARD = Budget("cuda", "a GPU of 48 GiB", 48 * GIB, 128 * GIB, 2**40)


def plan_of(**fields: Any) -> Plan:
    wish = {"kind": "image", "prompt": "a red circle", "seed": 7, "model": "flux1-schnell", **fields}
    return make_plan(make_request(wish), CARD, EVERYTHING, random.Random(1))


def film_of(**fields: Any) -> Plan:
    return plan_of(kind="video", stages=[{"prompt": text} for text in "abc"], **fields)


def image_of(plan: Plan) -> ImageRecipe:
    recipe = plan.recipes[0]
    assert isinstance(recipe, ImageRecipe)
    return recipe


def video_of(plan: Plan) -> VideoRecipe:
    recipe = plan.recipes[0]
    assert isinstance(recipe, VideoRecipe)
    return recipe


def failed(plan: Plan, phase: Any) -> Plan:
    return next_rung(plan, Failure(plan.model, phase))


@pytest.mark.parametrize("phase", ["load", "encode", "denoise"])
def test_each_rung_keeps_less_on_the_device_until_the_processor_and_then_none_is_left(phase: str) -> None:
    plan, rungs = plan_of(), []
    while any(row.model == plan.model for row in plan.fallbacks):
        rungs.append(plan.placements[0])
        plan = failed(plan, phase)
    rungs.append(plan.placements[0])
    with pytest.raises(DoesNotFit, match="nothing smaller is left to try"):
        failed(plan, phase)
    assert rungs[0].rung == "P0"
    assert rungs[-1].device == "cpu"
    assert "stream" in {row.offload for row in rungs}
    on_gpu = [row.peak_bytes for row in rungs if row.device == "cuda"]
    assert on_gpu == sorted(set(on_gpu), reverse=True)


def test_recipes_stay_whatever_moves() -> None:
    plan = plan_of()
    moved = failed(failed(failed(plan, "denoise"), "decode"), "load")
    assert moved.recipes == plan.recipes
    assert moved.placements[0] != plan.placements[0]
    assert moved.placements[1:] == plan.placements[1:]


def test_each_rung_is_told() -> None:
    moved = failed(failed(plan_of(), "denoise"), "decode")
    told = [note for note in moved.decisions if note.what == "memory ran out"]
    assert ["denoising" in told[0].why, "decoding" in told[1].why] == [True, True]
    assert "P1: flux1-schnell on cuda, model offload" in told[0].value


def test_without_consent_decoding_goes_to_the_processor_and_then_down_the_placements() -> None:
    once = failed(plan_of(), "decode")
    assert (once.placements[0].decode_on_cpu, once.placements[0].offload) == (True, "none")
    twice = failed(once, "decode")
    assert (twice.placements[0].decode_on_cpu, twice.placements[0].offload) == (True, "model")


def test_with_consent_decoding_takes_smaller_and_smaller_tiles_before_the_processor() -> None:
    plan, tiles = plan_of(consent=True), []
    while not plan.placements[0].decode_on_cpu:
        plan = failed(plan, "decode")
        tiles.append(image_of(plan).decode_tile)
    assert tiles == [512, 256, 256]
    before, after = image_of(plan_of(consent=True)), image_of(plan)
    assert dataclasses.replace(after, decode_tile=before.decode_tile) == before


def test_a_film_is_decoded_in_smaller_chunks_with_consent_and_on_the_processor_without() -> None:
    plan = film_of(consent=True)
    chunks = [(8, 2)]
    video = plan.placements[1].model
    while not plan.placement_of(video).decode_on_cpu:
        plan = next_rung(plan, Failure(video, "decode"))
        chunks.append((video_of(plan).decode_chunk, video_of(plan).decode_overlap))
    assert chunks == [(8, 2), (4, 2), (2, 1), (1, 0), (1, 0)]
    plain = film_of()
    moved = next_rung(plain, Failure(video, "decode"))
    assert moved.placement_of(video).decode_on_cpu
    assert moved.recipes == plain.recipes


def rungs_of(plan: Plan, phase: str) -> list[tuple[str, str, str]]:
    """Return (rung, device, precision of the recipe) from the first plan to the last there is, always failing in `phase`."""
    rows = []
    while True:
        rows.append((plan.placements[0].rung, plan.placements[0].device, image_of(plan).precision))
        try:
            plan = failed(plan, phase)
        except DoesNotFit:
            return rows


@pytest.mark.parametrize("model", ["flux1-dev", "flux2-klein-4b", "flux2-klein-9b"])
@pytest.mark.parametrize("phase", ["load", "denoise"])
def test_with_consent_weights_in_fp8_come_after_all_that_is_exact_and_before_the_processor(model: str, phase: str) -> None:
    exact = rungs_of(plan_of(model=model), phase)
    assert {precision for _, _, precision in exact} == {"bf16"}
    lowered = rungs_of(plan_of(model=model, consent=True), phase)
    at = [precision for _, _, precision in lowered].index("fp8")
    assert lowered[:at] == exact[:at]
    assert lowered[at] == ("P4", "cuda", "fp8")
    assert all(device == "cpu" and precision == "bf16" for _, device, precision in lowered[at + 1 :])
    assert len(lowered) > at + 1


def test_a_change_of_precision_is_said_and_is_another_recipe() -> None:
    plan = plan_of(consent=True)
    while image_of(plan).precision == "bf16":
        before, plan = plan, failed(plan, "denoise")
    assert fingerprint(image_of(plan)) != fingerprint(image_of(before))
    assert dataclasses.replace(image_of(plan), precision="bf16") == image_of(before)
    assert "its precision is lower, which the request allows" in plan.decisions[-1].value
    assert "transformer in fp8" in plan.decisions[-1].value
    assert plan_from_json(plan_to_json(plan)) == plan
    after = failed(plan, "denoise")
    assert "published weights again" in after.decisions[-1].value
    assert image_of(after) == image_of(before)


def test_an_encoder_that_runs_out_of_memory_does_not_change_the_transformers_precision() -> None:
    assert {precision for _, _, precision in rungs_of(plan_of(consent=True), "encode")} == {"bf16"}


def test_compiled_pictures_are_lowered_with_consent_alone_and_to_fp8_alone() -> None:
    assert {precision for _, _, precision in rungs_of(plan_of(compiled=True), "denoise")} == {"bf16"}
    wish = {"kind": "image", "prompt": "a red circle", "seed": 7, "model": "flux1-dev", "consent": True}
    for kind in ("fp8", "int8"):
        here = Budget("cuda", "a GPU", 24 * GIB, 128 * GIB, 2**40, tried=frozenset({kind}), installed=frozenset({kind}))
        plain = make_plan(make_request(wish), here, EVERYTHING, random.Random(1))
        assert image_of(plain).precision == kind
        if kind == "int8":
            with pytest.raises(InvalidRequest, match="compiled"):
                make_plan(make_request({**wish, "compiled": True}), here, EVERYTHING, random.Random(1))
            continue
        compiled = make_plan(make_request({**wish, "compiled": True}), here, EVERYTHING, random.Random(1))
        assert image_of(compiled) == dataclasses.replace(image_of(plain), compiled=True)
        [told] = [row for row in compiled.decisions if row.what == "precision"]
        assert "compiled, its activations are rounded too" in told.why


def test_a_plan_that_begins_in_fp8_says_so() -> None:
    here = Budget("cuda", "a GPU", 24 * GIB, 128 * GIB, 2**40, tried=frozenset({"fp8"}))
    wish = {"kind": "image", "prompt": "a red circle", "seed": 7, "model": "flux1-dev", "consent": True}
    plan = make_plan(make_request(wish), here, EVERYTHING, random.Random(1))
    assert (image_of(plan).precision, plan.placements[0].rung) == ("fp8", "P2")
    [told] = [row for row in plan.decisions if row.what == "precision"]
    assert (told.value, "which the request allows" in told.why) == ("fp8", True)
    with pytest.raises(DoesNotFit, match=r"With consent to slightly other pixels.*add --consent"):
        make_plan(make_request({**wish, "consent": False}), here, EVERYTHING, random.Random(1))


def test_one_models_failure_leaves_the_other_where_it_is() -> None:
    plan = film_of()
    moved = next_rung(plan, Failure(plan.placements[1].model, "denoise"))
    assert moved.placements[0] == plan.placements[0]
    assert moved.placements[1].peak_bytes < plan.placements[1].peak_bytes


def test_a_plan_with_fallbacks_survives_json_on_every_rung() -> None:
    plan = film_of(consent=True)
    for phase in ("denoise", "decode", "load"):
        plan = next_rung(plan, Failure(plan.placements[1].model, phase))  # type: ignore[arg-type]
        assert plan_from_json(plan_to_json(plan)) == plan


def test_the_phase_of_a_lack_of_memory_is_loading_unless_an_engine_says_otherwise() -> None:
    assert OutOfMemory("full").phase == "load"
