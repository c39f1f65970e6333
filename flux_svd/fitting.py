"""How a model is to be held and where, said decision by decision: precision, tiles and chunks of decoding, placement."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flux_svd.catalog import AUTO_SCORER, MODELS, ModelSpec
from flux_svd.memory import Budget, Placement, Shape, format_gib
from flux_svd.placing import LEVERS, can_place, fallbacks, is_tried, place, placements
from flux_svd.plan import Decision, Inventory
from flux_svd.recipe import Precision

TILED_ABOVE_PIXELS = 1024 * 1024  # the VAE's own training size; larger decodes go in tiles of that size
TILES = (1024, 512, 256)  # pixels of a side
CHUNKS = ((8, 2), (4, 2), (2, 1), (1, 0))  # frames decoded together, and shared by neighbours


@dataclass(frozen=True)
class Fit:
    """Where a model will run, what is left to try if that runs out of memory, and the shape it was fitted for."""

    placement: Placement
    fallbacks: tuple[Placement, ...]
    shape: Shape


def choose_precision(spec: ModelSpec, budget: Budget) -> tuple[Precision, str]:
    """Return the precision in which `spec` is held on this machine, and why."""
    if spec.pocket:
        return "fp32", "pocket models are tiny"
    if budget.bf16:
        return "bf16", "the published weights"
    if budget.device == "cuda":
        widened = [part.folder for part in spec.components if part.fp32_for_fp16]
        kept = f"; {' and '.join(widened)} in fp32, where fp16 overflows" if widened else ""
        return "fp16", f"this GPU has no bf16{kept}"
    if can_place(spec, "fp32", usual_shape(spec), budget):
        return "fp32", "this processor does not compute in bf16 by itself"
    return "bf16", "the published weights; this processor only imitates bf16, which is slow, but fp32 does not fit"


def usual_shape(spec: ModelSpec) -> Shape:
    """Return the shape of what `spec` makes when nothing else is asked for."""
    if spec.keyframes_at_once:
        return Shape(*spec.size, frames=25, decode_chunk=25)
    if spec.makes_films:
        return Shape(*spec.size, frames=25, decode_chunk=CHUNKS[-1][0])  # the most SVD was trained for
    return Shape(*spec.size, tile=TILES[-1])


def fit_picture(
    spec: ModelSpec, precision: Precision, size: tuple[int, int], references: int, budget: Budget, notes: list[Decision]
) -> Fit:
    """Return where pictures of this size are drawn; large ones are decoded in tiles, with consent any that fit no other way.

    Raises:
        DoesNotFit: as `place`.
    """
    usual = TILES[0] if size[0] * size[1] > TILED_ABOVE_PIXELS else 0
    finer = [tile for tile in TILES if budget.lower_precision and tile < (usual or max(size))]
    fit = _first_fit(spec, precision, [Shape(*size, references, tile) for tile in (usual, *finer)], budget, notes)
    if fit.shape.tile:
        why = (
            "the picture is larger than one megapixel"
            if fit.shape.tile == usual
            else ("decoding it at once does not fit; the request allows slightly other pixels")
        )
        notes.append(Decision("decode", f"in tiles of {fit.shape.tile} pixels", why))
    return fit


def fit_film(
    spec: ModelSpec, precision: Precision, size: tuple[int, int], frames: int, budget: Budget, notes: list[Decision]
) -> Fit:
    """Return where transitions of up to `frames` frames are made, decoding as many frames at once as fit.

    Raises:
        DoesNotFit: as `place`.
    """
    chunks = [frames] if spec.keyframes_at_once else [chunk for chunk, _ in CHUNKS]
    shapes = [Shape(*size, frames=frames, decode_chunk=chunk) for chunk in chunks]
    fit = _first_fit(spec, precision, shapes, budget, notes)
    if fit.shape.decode_chunk not in (frames, CHUNKS[0][0]):
        notes.append(Decision("decode", f"{fit.shape.decode_chunk} frames at once", f"{CHUNKS[0][0]} do not fit"))
    return fit


def fit_scorer(budget: Budget, inventory: Inventory, notes: list[Decision]) -> Placement:
    """Return where the scorer runs: beside the engines, on the processor."""
    spec = next(row for row in map(MODELS.__getitem__, AUTO_SCORER) if row.pocket or inventory.has(row))
    notes.append(Decision("scorer", spec.name, "on disk" if not spec.pocket else "clip-vit-b-32 is not on this disk"))
    host = Budget("cpu", budget.device_name, budget.host_bytes, budget.host_bytes, budget.disk_bytes)
    return place(spec, "fp32", Shape(*spec.size), host)


def describe_placement(placed: Placement) -> str:
    """Return a placement in a few words."""
    ways = {
        "none": "resident",
        "model": "model offload",
        "phases": "parts loaded from disk one by one",
        "stream": f"blocks streamed, {placed.resident_blocks} of them resident",
    }
    folded = ", modulation computed once" if placed.fold_modulation else ""
    folded += f", transformer in {placed.stored}" if placed.stored else ""
    decoding = ", decoding on the processor" if placed.decode_on_cpu and placed.device != "cpu" else ""
    return f"{placed.model} on {placed.device}, {ways[placed.offload]}{folded}{decoding}"


def _first_fit(spec: ModelSpec, precision: Precision, shapes: list[Shape], budget: Budget, notes: list[Decision]) -> Fit:
    """Return the placement of the first shape that the device can hold.

    Raises:
        DoesNotFit: for the first shape that would fit with an untried lever; without one, for the last, unless the processor
            can do it.
    """
    allowed = replace(budget, tried=LEVERS)
    tried_first = (shape for limits in (budget, allowed) for shape in shapes if can_place(spec, precision, shape, limits))
    anywhere = (shape for shape in shapes if any(placements(spec, precision, shape, budget)))
    shape = next(tried_first, None) or next(anywhere, shapes[-1])
    placed = place(spec, precision, shape, budget)
    left = fallbacks(placed, spec, precision, shape, budget)
    kept = {
        "none": "all of it stays on the device",
        "model": "each part visits the device when it is needed",
        "phases": "each part is read when it is needed, and given back",
        "stream": "blocks, and layers of text encoders, visit the device one after the other",
    }[placed.offload]
    notes.append(
        Decision("placement", f"{placed.rung}: {describe_placement(placed)}", f"{kept}: about {format_gib(placed.peak_bytes)}")
    )
    rows = list(placements(spec, precision, shape, allowed))
    untried_rows = [row for row in rows if not is_tried(row, budget)]
    exact = next((row for row in rows[: rows.index(placed)] if row in untried_rows and not row.lowered), None)
    lowered = next((row for row in untried_rows if row.lowered), None)
    for untried, why in ((exact, "likely faster"), (lowered, "likely faster, with slightly other pixels")):
        if untried is not None and placed.offload not in ("none", "model"):
            notes.append(
                Decision(
                    "untried here",
                    f"{untried.rung}: {describe_placement(untried)}",
                    f"about {format_gib(untried.peak_bytes)}, {why}; add --untried to allow it",
                )
            )
    if left:
        notes.append(
            Decision(
                "if memory runs out",
                f"{left[0].rung}: {describe_placement(left[0])}",
                f"about {format_gib(left[0].peak_bytes)}; goes on where it stopped",
            )
        )
    return Fit(placed, left, shape)
