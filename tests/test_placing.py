"""Placements: exact weights, counted working memory, budgets of every kind kept, and refusals that say what would fit."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch

from flux_svd.catalog import AUTO_IMAGE, AUTO_VIDEO, MODELS, ModelSpec
from flux_svd.engines.fp8 import store_as_fp8
from flux_svd.engines.levers.encoders import cut_text_encoder, layers_of
from flux_svd.engines.levers.streaming import placed_bytes
from flux_svd.errors import DoesNotFit, InvalidRequest
from flux_svd.fitting import choose_precision, fit_film, fit_picture
from flux_svd.memory import ENCODE_BYTES, GIB, PROCESS_BYTES, Budget, Shape, device_margin, work_of
from flux_svd.placing import (
    LEVERS,
    can_place,
    fallbacks,
    goes_with_compiled,
    levers_of,
    place,
    placements,
    room_of,
)
from flux_svd.plan import Decision
from flux_svd.storing import KINDS
from flux_svd.ways import block_bytes, sizes_of, stays
from flux_svd.web.models import how_it_fits
from tests import full_size
from tests.test_planner import EVERYTHING, plan_of

CARDS = [
    *(Budget("cuda", f"a GPU of {gib} GiB", gib * GIB, 64 * GIB, 2**40) for gib in (4, 6, 8, 12, 16, 24, 48, 80, 141)),
    Budget("cuda", "a GPU of 12 GiB with 16 GiB of RAM", 12 * GIB, 13 * GIB, 2**40),
    Budget("cuda", "Tesla T4", 15 * GIB, 12 * GIB, 2**40, bf16=False),
    Budget("mps", "Apple silicon, 16 GiB", 16 * GIB * 2 // 3, 12 * GIB, 2**40),
    Budget("cpu", "a laptop of 16 GiB", 13 * GIB, 13 * GIB, 2**40, bf16=False),
]
IMAGE = [spec for spec in MODELS.values() if spec.family not in ("svd", "clip")]
FILM = [spec for spec in MODELS.values() if spec.family == "svd"]
SIZES = [(512, 512), (1024, 1024), (832, 1216), (2048, 2048)]
EVERY_LEVER = LEVERS


def card(name: str) -> Budget:
    return next(row for row in CARDS if name in row.device_name)


def keeps(budget: Budget, device: str, peak: int, host_peak: int) -> bool:
    """Whether a prediction stays within a budget; written apart from the planner's own arithmetic."""
    if device == "cuda":
        return peak <= budget.device_bytes - device_margin(budget.device_bytes) and host_peak <= budget.host_bytes
    return peak <= budget.device_bytes and host_peak <= budget.host_bytes


@pytest.mark.parametrize("budget", CARDS, ids=lambda budget: budget.device_name)
@pytest.mark.parametrize("spec", IMAGE, ids=lambda spec: spec.name)
def test_pictures_keep_their_budget_or_are_refused_with_a_way_out(spec: ModelSpec, budget: Budget) -> None:
    precision = choose_precision(spec, budget)[0]
    for untried, consent in itertools.product((False, True), repeat=2):
        budget = dataclasses.replace(budget, tried=EVERY_LEVER if untried else frozenset(), lower_precision=consent)
        sizes = (spec.size,) if spec.pocket or consent else SIZES  # consent adds rows of one kind, whatever the size
        for size, references in itertools.product(sizes, (0,) if consent else (0, 4)):
            try:
                fit = fit_picture(spec, precision, size, references, budget, [])
            except DoesNotFit as refusal:
                ways_out = r"It fits (at|with)|best model that fits|--untried|--consent|more memory"
                assert re.search(ways_out, str(refusal)), refusal
                continue
            for row in (fit.placement, *fit.fallbacks):
                assert consent or not row.lowered
                if row.device == budget.device:
                    assert keeps(budget, row.device, row.peak_bytes, row.host_peak_bytes), row
                assert row.host_peak_bytes <= budget.host_bytes
            assert untried or not levers_of(fit.placement)


@pytest.mark.parametrize("budget", CARDS, ids=lambda budget: budget.device_name)
@pytest.mark.parametrize("spec", FILM, ids=lambda spec: spec.name)
def test_films_keep_their_budget_or_are_refused_with_a_way_out(spec: ModelSpec, budget: Budget) -> None:
    precision = choose_precision(spec, budget)[0]
    for size in (spec.size,) if spec.pocket else ((576, 320), (1024, 576)):
        for frames in (14, 23, 25):
            try:
                fit = fit_film(spec, precision, size, frames, budget, [])
            except DoesNotFit as refusal:
                assert re.search(r"It fits at|best model that fits|--untried|more memory", str(refusal)), refusal
                continue
            for row in (fit.placement, *fit.fallbacks):
                if row.device == budget.device:
                    assert keeps(budget, row.device, row.peak_bytes, row.host_peak_bytes), row


@pytest.mark.parametrize(
    ("gib", "model", "expected"),
    [
        (12, "flux2-klein-4b", "P1"), (24, "flux2-klein-4b", "P0"), (24, "flux2-klein-9b", "P1"), (48, "flux2-klein-9b", "P0"),
        (48, "flux1-dev", "P0"), (24, "flux1-dev", "refused"), (80, "flux2-dev", "P1"), (141, "flux2-dev", "P0"),
        (4, "flux2-klein-4b", "refused"), (4, "flux2-dev", "P8"), (4, "pocket-flux", "P0"),
    ],
)  # fmt: skip
def test_the_fastest_that_fits_is_taken(gib: int, model: str, expected: str) -> None:
    budget = Budget("cuda", "a GPU", gib * GIB, 128 * GIB, 2**40)
    try:
        taken = place(MODELS[model], "bf16", Shape(1024, 1024, tile=512), budget).rung
    except DoesNotFit:
        taken = "refused"
    assert taken == expected


@pytest.mark.parametrize(
    ("gib", "host", "model", "tried", "expected"),
    [  # rung, and whether the modulation is computed once
        (12, 64, "flux1-dev", LEVERS, ("P3", True)), (24, 64, "flux1-dev", LEVERS, ("P3", True)),
        (32, 64, "flux1-dev", LEVERS, ("P0", True)), (48, 64, "flux1-dev", LEVERS, ("P0", False)),
        (24, 64, "flux1-dev", {"fold"}, ("P1", True)), (32, 64, "flux1-dev", {"fold"}, ("P0", True)),
        (32, 64, "flux1-dev", {"stream"}, ("P3", False)), (32, 64, "flux1-dev", {}, ("P1", False)),
        (32, 31, "flux1-dev", {"fold"}, ("P0", True)), (32, 31, "flux1-dev", {}, ("P7", False)),
        (8, 64, "flux2-klein-4b", LEVERS, ("P3", False)), (12, 64, "flux2-klein-4b", LEVERS, ("P3", False)),
        (24, 64, "flux2-klein-4b", LEVERS, ("P0", False)), (24, 64, "flux2-klein-9b", LEVERS, ("P3", False)),
        (48, 64, "flux2-klein-9b", LEVERS, ("P0", False)), (12, 64, "svd-xt", LEVERS, ("P1", False)),
    ],
)  # fmt: skip
def test_of_exact_ways_the_one_whose_weights_travel_the_shortest_is_taken(
    gib: int, host: int, model: str, tried: Iterable[str], expected: tuple[str, bool]
) -> None:
    budget = Budget("cuda", "a GPU", gib * GIB, host * GIB, 2**40, tried=frozenset(tried), lower_precision=True)
    shape = Shape(1024, 576, frames=23, decode_chunk=4) if model == "svd-xt" else Shape(1024, 1024)
    placed = place(MODELS[model], "bf16", shape, budget)
    assert (placed.rung, placed.fold_modulation) == expected
    assert not placed.lowered  # what changes pixels comes after all that does not


def test_streaming_keeps_as_many_blocks_as_fit_and_is_only_offered() -> None:
    spec, budget, shape = MODELS["flux1-dev"], card("GPU of 12 GiB"), Shape(1024, 1024, tile=512)
    with pytest.raises(DoesNotFit, match="untried on such a device: add --untried"):
        place(spec, "bf16", shape, budget)
    allowed = dataclasses.replace(budget, tried=EVERY_LEVER)
    placed = place(spec, "bf16", shape, allowed)
    assert (placed.rung, placed.offload) == ("P3", "stream")
    every = list(placements(spec, "bf16", shape, dataclasses.replace(allowed, device_bytes=2**50)))
    more = next(row for row in every if row.resident_blocks == placed.resident_blocks + 1)
    assert placed.peak_bytes <= room_of(allowed) < more.peak_bytes


def test_a_host_too_small_for_the_weights_leaves_the_parts_on_the_disk() -> None:
    placed = place(MODELS["flux2-klein-4b"], "bf16", Shape(1024, 1024), card("with 16 GiB of RAM"))
    assert (placed.offload, placed.rung) == ("phases", "P7")


def test_apple_silicon_with_16_gib_takes_one_part_after_the_other() -> None:
    placed = place(MODELS["flux2-klein-4b"], "bf16", Shape(1024, 1024), card("Apple"))
    assert (placed.device, placed.offload, placed.rung) == ("mps", "phases", "P1")


def test_a_t4_computes_in_fp16_and_counts_the_text_encoder_of_flux1_in_fp32() -> None:
    t4, spec = card("T4"), MODELS["flux1-schnell"]
    precision, why = choose_precision(spec, t4)
    assert (precision, "text_encoder_2 in fp32" in why) == ("fp16", True)
    assert sizes_of(spec, precision)["text_encoder_2"] == 4 * 4_762_310_656
    with pytest.raises(DoesNotFit, match=r"best model that fits is (flux2-klein|pocket)"):
        fit_picture(spec, precision, (1024, 1024), 0, t4, [])


@pytest.mark.parametrize("gib", [4, 8, 16, 24])
def test_a_refusal_names_the_best_other_model_that_the_page_shows_as_fitting(gib: int) -> None:
    budget = Budget("cuda", "a card", gib * GIB, 32 * GIB, 2**40)
    fits = {name: how_it_fits(spec, budget) for name, spec in MODELS.items()}
    refused = {name: how for name, (_, how) in fits.items() if "best model" in how}
    told = {name: how.rpartition("that fits is ")[2].rstrip(".") for name, how in refused.items()}
    assert told
    for name, advised in told.items():
        order = AUTO_VIDEO if MODELS[name].makes_films else AUTO_IMAGE
        assert advised == next(other for other in order if other != name and fits[other][0]), name


def test_a_processor_without_bf16_computes_in_fp32_where_that_fits() -> None:
    spec = MODELS["flux2-klein-4b"]
    small, large = (Budget("cpu", "a processor", gib * GIB, gib * GIB, 2**40, bf16=False) for gib in (16, 64))
    assert choose_precision(spec, small)[0] == "bf16"
    assert "slow" in choose_precision(spec, small)[1]
    assert choose_precision(spec, large)[0] == "fp32"


def test_a_refusal_names_the_largest_size_that_fits() -> None:
    budget = Budget("cuda", "a GPU", int(9.5 * GIB), int(10.5 * GIB), 2**40)
    spec = MODELS["flux2-klein-4b"]
    with pytest.raises(DoesNotFit) as refused:
        place(spec, "bf16", Shape(2048, 2048, tile=512), budget)
    found = re.search(r"It fits at (\d+) × (\d+)", str(refused.value))
    assert found, refused.value
    width, height = int(found[1]), int(found[2])
    assert can_place(spec, "bf16", Shape(width, height, tile=512), budget)
    assert not can_place(spec, "bf16", Shape(width + 16, height + 16, tile=512), budget)


def test_what_is_compiled_is_only_placed_where_its_blocks_stay_whole() -> None:
    spec, shape = MODELS["flux1-dev"], Shape(1024, 1024)
    wish = {"tried": LEVERS, "lower_precision": True, "compiled": True, "installed": frozenset(KINDS)}
    for gib in (4, 12, 24, 48, 141):
        budget = dataclasses.replace(card(f"GPU of {gib} GiB"), **wish)
        assert all(goes_with_compiled(row) for row in placements(spec, "bf16", shape, budget))
        if gib >= 48:
            placed = place(spec, "bf16", shape, budget)
            rows = [placed, *fallbacks(placed, spec, "bf16", shape, budget)]
            left = [(row.device, row.stored) for row in rows[1:]]
            assert (placed.rung, left) == ("P0", [("cuda", ""), ("cuda", "fp8"), ("cpu", ""), ("cpu", "")])
            assert all(goes_with_compiled(row) for row in rows)


@pytest.mark.parametrize("gib", [12, 24])
def test_compiling_is_refused_where_only_other_ways_bring_the_model_onto_the_device(gib: int) -> None:
    budget = Budget("cuda", "a GPU", gib * GIB, 64 * GIB, 2**40, tried=LEVERS)
    assert plan_of(budget, EVERYTHING, model="flux1-dev").placements[0].device == "cuda"
    way = "streaming its blocks and computing its modulation once"
    with pytest.raises(InvalidRequest, match=f"only by {way}: leave it out, or take a smaller model") as refused:
        plan_of(budget, EVERYTHING, model="flux1-dev", compiled=True)
    assert refused.value.field == "compiled"
    film = {"kind": "video", "model": "flux2-klein-4b", "video_model": "svd-xt", "compiled": True}
    placed = plan_of(budget, EVERYTHING, **film).placements
    assert goes_with_compiled(placed[0])
    assert placed[1].model == "svd-xt"


@pytest.mark.parametrize("model", ["flux1-dev", "flux2-dev", "svd-xt", "wan-flf"])
def test_every_refusal_shows_that_more_is_needed_than_is_there_and_its_advice_works(model: str) -> None:
    refusals = 0
    draws = model.startswith("flux")
    for gib, host, tried, consent in itertools.product((4, 12), (12, 24), (frozenset(), frozenset({"stream"})), (False, True)):
        budget = Budget("cuda", "a GPU", gib * GIB, host * GIB, 2**40, tried=tried)
        wish = {"consent": consent, **(
            {"model": model} if draws else
            {"kind": "video", "video_model": model, "stages": [{"prompt": "a", "picture": name * 64} for name in "ab"]}
        )}  # fmt: skip
        try:
            plan_of(budget, EVERYTHING, **wish)
        except DoesNotFit as refused:
            refusals += 1
            said = str(refused)
        else:
            continue
        amounts = re.search(r"needs ([\d.]+) (GiB|MiB) of .* has ([\d.]+) (GiB|MiB) for it", said)
        assert amounts, said
        needed, there = (float(amounts[n]) * (GIB if amounts[n + 1] == "GiB" else 2**20) for n in (1, 3))
        assert needed > there, said
        for followed, changed in followings(said, budget, wish):
            assert plan_of(followed, EVERYTHING, **changed).placements, said
    assert refusals >= 4  # of 16


def followings(said: str, budget: Budget, wish: dict[str, Any]) -> Iterator[tuple[Budget, dict[str, Any]]]:
    """Yield budget and wish after each advice of a refusal is followed."""
    if found := re.search(r"It fits at (\d+) × (\d+)", said):
        yield budget, {**wish, "width": int(found[1]), "height": int(found[2])}
    if "add --untried." in said:
        yield dataclasses.replace(budget, tried=LEVERS), wish
    if found := re.search(r"(pip install '[^']*', then )?add --consent( --untried)?\.", said):
        if found[1]:
            budget = dataclasses.replace(budget, installed=frozenset(KINDS))
        yield dataclasses.replace(budget, tried=LEVERS if found[2] else budget.tried), {**wish, "consent": True}
    if found := re.search(r"largest model that fits is ([\w.-]+)\.", said):
        own = {"kind", "stages", "consent"} | ({"width", "height"} if not MODELS[found[1]].pocket else set())
        field = "video_model" if "video_model" in wish else "model"
        yield budget, {**{name: value for name, value in wish.items() if name in own}, field: found[1]}


def test_fp8_is_never_taken_without_consent_nor_before_it_has_run_here() -> None:
    """A card that holds FLUX.1's transformer in fp8, and whose host cannot hold what streaming needs."""
    shape, spec = Shape(1024, 1024), MODELS["flux1-dev"]
    here = Budget("cuda", "a GPU", 24 * GIB, 128 * GIB, 2**40)
    taken = {}
    for consent, lever in itertools.product((False, True), ("", "fp8")):
        budget = dataclasses.replace(here, tried=frozenset({lever} - {""}), lower_precision=consent)
        try:
            taken[consent, lever] = place(spec, "bf16", shape, budget).lowered
        except DoesNotFit as refusal:
            taken[consent, lever] = "--consent" in str(refusal), "--untried" in str(refusal)
    # refused with both ways out; where fp8 has run, consent is enough; where consent is given, it is still untried
    assert taken == {(False, ""): (True, True), (False, "fp8"): (True, True), (True, ""): (False, True), (True, "fp8"): True}
    fit = fit_picture(spec, "bf16", (1024, 1024), 0, dataclasses.replace(here, tried=LEVERS, lower_precision=True), [])
    assert not fit.placement.lowered  # what is exact comes first
    assert 0.6 < sizes_of(spec, "fp8")["transformer"] / sizes_of(spec, "bf16")["transformer"] < 0.65
    assert sizes_of(spec, "fp8", fold=True)["transformer"] == pytest.approx(8.65e9, rel=0.01)


@pytest.mark.parametrize(
    "budget",
    [card("Apple"), card("T4"), Budget("cpu", "a processor", 16 * GIB, 16 * GIB, 2**40)],
    ids=lambda budget: budget.device_name,
)
def test_fp8_is_for_gpus_that_compute_in_bf16(budget: Budget) -> None:
    budget = dataclasses.replace(budget, tried=LEVERS, lower_precision=True, device_bytes=2**40, host_bytes=2**40)
    for spec in IMAGE:
        rows = list(placements(spec, choose_precision(spec, budget)[0], Shape(*spec.size), budget))
        assert rows
        assert not any(row.lowered for row in rows)


@pytest.mark.parametrize("model", ["flux1-dev", "flux2-klein-4b", "flux2-dev"])
def test_weights_that_a_library_holds_are_counted_by_its_layers(model: str) -> None:
    built = full_size.build(model, "transformer")
    linear = [layer.weight for layer in built.modules() if isinstance(layer, torch.nn.Linear)]
    matrices, others = sum(weight.numel() for weight in linear), count(built) - sum(weight.numel() for weight in linear)
    scales = {"int8": 4 * sum(len(weight) for weight in linear), "nf4": 4 * matrices // 64}
    for kind, bits in (("int8", 8), ("nf4", 4)):
        exact = matrices * bits // 8 + scales[kind] + 2 * others
        assert exact <= sizes_of(MODELS[model], kind)["transformer"] <= 1.002 * exact


def test_int8_and_nf4_need_their_library_consent_and_a_recorded_run() -> None:
    """A host too small to stream, and a card that holds FLUX.1 in 4 bits alone."""
    spec, shape = MODELS["flux1-dev"], Shape(1024, 1024, tile=512)
    here = Budget("cuda", "a GPU", 12 * GIB, 16 * GIB, 2**40, lower_precision=True, installed=frozenset({"fp8", "nf4"}))
    placed = place(spec, "bf16", shape, dataclasses.replace(here, tried=LEVERS))
    assert (placed.rung, placed.stored, levers_of(placed)) == ("P5", "nf4", {"nf4", "stream"})
    said = {
        frozenset({"fp8", "nf4"}): r"in nf4 it takes 7\.\d GiB, but that is untried on such a device: add --untried",
        frozenset({"fp8"}): r"7\.\d GiB, untried on such a device: pip install 'flux-svd\[quant-nf4\]', then add --consent",
    }
    for installed, words in said.items():
        with pytest.raises(DoesNotFit, match=words):
            place(spec, "bf16", shape, dataclasses.replace(here, installed=installed))
    with pytest.raises(DoesNotFit, match="add --consent --untried"):
        place(spec, "bf16", shape, dataclasses.replace(here, lower_precision=False))
    with pytest.raises(DoesNotFit, match=r"pip install 'flux-svd\[quant-nf4\]', then add --consent\."):
        place(spec, "bf16", shape, dataclasses.replace(here, tried=LEVERS, installed=frozenset({"fp8"})))


def test_a_picture_above_one_megapixel_is_always_tiled() -> None:
    fit = fit_picture(MODELS["flux2-klein-4b"], "bf16", (2048, 2048), 0, card("GPU of 141 GiB"), [])
    assert fit.shape.tile == 1024


def test_the_chunk_of_a_film_shrinks_until_it_fits_and_the_plan_says_so() -> None:
    chunks, told = {}, {}
    for gib in (12, 16, 24, 48):
        notes: list[Decision] = []
        budget = Budget("cuda", "a GPU", gib * GIB, 64 * GIB, 2**40)
        chunks[gib] = fit_film(MODELS["svd-xt"], "fp16", (1024, 576), 23, budget, notes).shape.decode_chunk
        told[gib] = [note.value for note in notes if note.what == "decode"]
    assert chunks == {12: 4, 16: 4, 24: 8, 48: 8}
    assert told == {12: ["4 frames at once"], 16: ["4 frames at once"], 24: [], 48: []}


def test_fallbacks_take_ever_less_of_the_device_and_end_on_the_processor() -> None:
    budget = Budget("cuda", "a GPU", 48 * GIB, 128 * GIB, 2**40)
    shape = Shape(1024, 1024)
    placed = place(MODELS["flux1-dev"], "bf16", shape, budget)
    rows = fallbacks(placed, MODELS["flux1-dev"], "bf16", shape, budget)
    on_gpu = [row for row in rows if row.device == "cuda"]
    assert [row.peak_bytes for row in on_gpu] == sorted((row.peak_bytes for row in on_gpu), reverse=True)
    assert on_gpu[-1].resident_blocks == 0
    assert len(on_gpu) < 12  # halved each time, not one block after the other
    assert rows[-1].device == "cpu"


@pytest.mark.parametrize(("model", "part"), [(model, part) for model, parts in full_size.PARTS.items() for part in parts])
def test_weights_are_those_of_the_classes_at_full_size(model: str, part: str) -> None:
    built = full_size.build(model, part)
    row = next(row for row in MODELS[model].components if row.folder == part)
    assert row.parameters == count(built)
    if row.loaded:
        built = cut_text_encoder(built, MODELS[model].text_layers[-1])
        assert row.loaded == count(built)
    if row.blocks and part.startswith("text"):
        blocks = layers_of(built)
    elif row.blocks:
        blocks = [block for name in full_size.BLOCKS[type(built).__name__] for block in built.get_submodule(name)]  # type: ignore
    if row.blocks:
        assert [size for times, size in row.blocks for _ in range(times)] == [count(block) for block in blocks]
    if row.modulation:
        norms = [[inner for inner in block.modules() if type(inner).__name__.startswith("AdaLayerNorm")] for block in blocks]
        folded = [sum(count(norm.linear) for norm in found) for found in norms]
        last = count(built.norm_out.linear)
        assert [*folded, last] == [
            *(size for (times, _), size in zip(row.blocks, row.modulation, strict=False) for _ in range(times)),
            row.modulation[-1],
        ]  # fmt: skip
    if row.wide:
        layers = [layer for block in blocks for layer in block.modules() if isinstance(layer, torch.nn.Linear)]
        assert max(layer.weight.numel() for layer in layers) <= min(size for _, size in row.blocks)  # what is widened at once
        store_as_fp8(built)
        stored = [sum(weight.nbytes for weight in block.parameters()) for block in blocks]
        assert stored == block_bytes(MODELS[model], "fp8")
        assert sizes_of(MODELS[model], "fp8")[part] == sum(weight.nbytes for weight in built.parameters())


@pytest.mark.parametrize("model", ["flux1-schnell", "flux2-dev", "svd-xt"])
def test_a_part_with_random_weights_has_nothing_that_is_not_a_number(model: str) -> None:
    for name, value in full_size.build_random(model, "vae").state_dict().items():
        assert torch.isfinite(value).all(), name
        assert not name.endswith("running_var") or (value == 1).all()


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize("model", ["flux1-schnell", "flux2-klein-9b"])
@pytest.mark.parametrize(("resident", "side"), [(0, 2048), (1, 2048), (7, 2048), (20, 2048), (-1, 256)])
def test_streaming_is_counted_as_the_engine_places_blocks(model: str, resident: int, side: int) -> None:
    spec = MODELS[model]
    sizes, blocks = sizes_of(spec, "bf16"), block_bytes(spec, "bf16")
    resident = len(blocks) if resident < 0 else resident  # all of them stay: then the text encoders need the most
    placed = placed_bytes(blocks, sizes["transformer"] - sum(blocks), resident)
    free = dataclasses.replace(card("GPU of 141 GiB"), host_bytes=2**40, tried=EVERY_LEVER)
    rows = placements(spec, "bf16", Shape(side, side, tile=256), free)
    row = next(row for row in rows if row.offload == "stream" and row.resident_blocks == resident and not row.fold_modulation)
    work = work_of(spec, "bf16", Shape(side, side, tile=256))
    moving = [size for at, size in enumerate(blocks) if not stays(at, len(blocks), resident)]
    staying = placed - 2 * max(moving, default=0)
    encoder = work.encode_bytes  # two layers of each, and what is not a layer
    for part in (row for row in spec.components if row.folder.startswith("text")):
        layers = [2 * size for count, size in part.blocks for _ in range(count)]
        encoder += part.loaded_bytes("bf16") - sum(layers) + 2 * max(layers, default=0)
    assert row.peak_bytes == sizes["vae"] + max(placed + work.denoise_bytes, staying + max(encoder, work.decode_bytes))


def test_folding_leaves_a_quarter_of_flux1_off_the_device() -> None:
    spec, shape = MODELS["flux1-dev"], Shape(1024, 1024)
    budget = dataclasses.replace(card("GPU of 24 GiB"), tried=frozenset({"fold"}))
    with pytest.raises(DoesNotFit, match="computing its modulation once"):
        place(spec, "bf16", shape, card("GPU of 24 GiB"))
    placed = place(spec, "bf16", shape, budget)
    assert (placed.offload, placed.fold_modulation, placed.rung) == ("model", True, "P1")
    assert sizes_of(spec, "bf16")["transformer"] - sizes_of(spec, "bf16", fold=True)["transformer"] == 2 * 3_247_448_064


@pytest.mark.parametrize("model", ["flux1-dev", "flux2-klein-4b", "flux2-klein-9b", "flux2-dev"])
@pytest.mark.parametrize(("width", "height"), [(512, 512), (832, 1216)])
def test_a_step_is_predicted_between_its_live_tensors_and_a_quarter_more(model: str, width: int, height: int) -> None:
    built = full_size.build(model, "transformer")
    step = full_size.flux1_step if model == "flux1-dev" else full_size.flux2_step
    counted = step(built, width, height)
    predicted = work_of(MODELS[model], "bf16", Shape(width, height)).denoise_bytes
    assert counted <= predicted <= 1.25 * counted


@pytest.mark.parametrize(
    ("model", "part"), [("flux1-dev", "text_encoder_2"), ("flux2-klein-4b", "text_encoder"), ("flux2-klein-9b", "text_encoder")]
)
def test_reading_a_prompt_stays_within_its_allowance(model: str, part: str) -> None:
    built = full_size.build(model, part)
    if model != "flux1-dev":
        built = cut_text_encoder(built, MODELS[model].text_layers[-1])
    assert 0.3 * ENCODE_BYTES <= full_size.encode(built) <= 0.75 * ENCODE_BYTES


@pytest.mark.parametrize(
    ("model", "cards"),
    [  # the smallest of 4, 6, 8, 12 and 16 GiB that draws 512 × 512, and 1024 × 1024
        ("flux1-dev", (4, 6)), ("flux1-schnell", (4, 6)), ("flux2-klein-4b", (4, 6)), ("flux2-klein-9b", (6, 6)),
        ("flux2-dev", (8, 8)),
    ],
)  # fmt: skip
def test_small_cards_draw_when_blocks_and_the_layers_of_text_encoders_stream(model: str, cards: tuple[int, int]) -> None:
    found = []
    for side in (512, 1024):
        for gib in (4, 6, 8, 12, 16):
            budget = Budget("cuda", "a GPU", gib * GIB, 128 * GIB, 2**40, tried=EVERY_LEVER)
            placed = place(MODELS[model], "bf16", Shape(side, side), budget)
            if placed.device == "cuda":
                assert placed.rung == "P3"
                found.append(gib)
                break
    assert tuple(found) == cards


def test_with_consent_a_card_of_4_gib_decodes_in_tiles() -> None:
    card_4 = Budget("cuda", "a GPU", 4 * GIB, 64 * GIB, 2**40, tried=frozenset({"stream"}))
    notes: list[Decision] = []
    fit = fit_picture(MODELS["flux1-dev"], "bf16", (1024, 1024), 0, dataclasses.replace(card_4, lower_precision=True), notes)
    assert (fit.placement.rung, fit.shape.tile) == ("P3", 512)
    assert next(note.value for note in notes if note.what == "decode") == "in tiles of 512 pixels"
    exact = fit_picture(MODELS["flux1-dev"], "bf16", (1024, 1024), 0, card_4, notes)
    assert (exact.placement.device, exact.shape.tile) == ("cpu", 0)


def test_svd_makes_23_frames_on_a_card_of_12_gib() -> None:
    budget = Budget("cuda", "a GPU", 12 * GIB, 32 * GIB, 2**40)
    assert fit_film(MODELS["svd-xt"], "fp16", (1024, 576), 23, budget, []).placement.rung == "P1"


def test_a_reference_adds_its_tokens() -> None:
    counted = full_size.flux2_step(full_size.build("flux2-klein-4b", "transformer"), 1024, 1024, references=2)
    predicted = work_of(MODELS["flux2-klein-4b"], "bf16", Shape(1024, 1024, references=2)).denoise_bytes
    assert counted <= predicted <= 1.25 * counted


@pytest.mark.parametrize("frames", [14, 23])
def test_a_call_of_the_video_model_is_predicted_between_its_live_tensors_and_a_quarter_more(frames: int) -> None:
    counted = full_size.unet_call(full_size.build("svd-xt", "unet"), 1024, 576, frames)
    predicted = work_of(MODELS["svd-xt"], "fp16", Shape(1024, 576, frames=frames)).denoise_bytes
    assert counted <= predicted <= 1.25 * counted


@pytest.mark.parametrize(("model", "channels", "frames"), [("flux1-dev", 16, 1), ("flux2-klein-4b", 32, 1), ("svd-xt", 4, 4)])
def test_decoding_is_predicted_above_its_live_tensors(model: str, channels: int, frames: int) -> None:
    counted = full_size.decode(full_size.build(model, "vae"), 1024, 576, frames, channels)
    shape = Shape(1024, 576, frames=25 if frames > 1 else 0, decode_chunk=frames)
    assert 1.5 * counted <= work_of(MODELS[model], "bf16", shape).decode_bytes <= 2 * counted


def test_the_process_itself_is_counted_in_host_memory() -> None:
    placed = place(MODELS["pocket-flux"], "fp32", Shape(128, 128), card("laptop"))
    assert placed.host_peak_bytes >= PROCESS_BYTES + MODELS["pocket-flux"].bytes_at("fp32")
