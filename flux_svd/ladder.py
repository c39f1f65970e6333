"""What to do when memory runs out in the middle of a plan: the next rung. Size and steps stay; pixels too, without consent.

Decoding: smaller tiles or chunks with the request's consent, then the processor. Everything else, and decoding after that: the
plan's fallbacks, each of which keeps less of the model on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from flux_svd.errors import DoesNotFit, Phase
from flux_svd.fitting import CHUNKS, TILES, describe_placement
from flux_svd.memory import Placement
from flux_svd.plan import Decision, Plan
from flux_svd.recipe import AnyRecipe, ImageRecipe, PlannedRecipe, VideoRecipe, fingerprint

Row = TypeVar("Row", bound=AnyRecipe)


@dataclass(frozen=True)
class Failure:
    """Where memory ran out: in which phase of which model, at which stage."""

    model: str
    phase: Phase
    stage: str


def next_rung(plan: Plan, failure: Failure) -> Plan:
    """Return the plan that goes on after `failure`; its last decision says what changed.

    Raises:
        DoesNotFit: nothing is left to try.
    """
    placed = plan.placement_of(failure.model)
    if failure.phase == "decode":
        finer = _finer(plan, failure) if plan.request.consent else None
        if finer is not None:
            return finer
        if placed.device != "cpu" and not placed.decode_on_cpu:
            return _moved(plan, placed, replace(placed, decode_on_cpu=True), failure)
    left = [row for row in plan.fallbacks if row.model == failure.model]
    if not left:
        raise DoesNotFit(
            f"Memory ran out while {_DOING[failure.phase]} with {failure.model}, and nothing smaller is left to try: "
            f"{describe_placement(placed)}. Close other programs, or ask for a smaller size or model."
        )
    moved = _moved(plan, placed, replace(left[0], decode_on_cpu=placed.decode_on_cpu), failure)
    return replace(moved, fallbacks=tuple(row for row in plan.fallbacks if row is not left[0]))


_DOING: dict[Phase, str] = {"load": "loading", "encode": "reading the prompt", "denoise": "denoising", "decode": "decoding"}


def _moved(plan: Plan, before: Placement, after: Placement, failure: Failure) -> Plan:
    note = Decision("memory ran out", f"went on with {after.rung}: {describe_placement(after)}",
                    f"while {_DOING[failure.phase]} with {describe_placement(before)}")  # fmt: skip
    placements = tuple(after if row is before else row for row in plan.placements)
    return replace(plan, placements=placements, decisions=(*plan.decisions, note))


def _finer(plan: Plan, failure: Failure) -> Plan | None:
    """Return the plan with smaller tiles from the failed picture on, or smaller chunks of the failed film; None without any."""
    for at, recipe in enumerate(plan.recipes):
        if isinstance(recipe, VideoRecipe):
            if fingerprint(recipe) == failure.stage:
                chunk = next((pair for pair in CHUNKS if pair[0] < recipe.decode_chunk), None)
                if chunk is None:
                    return None
                finer = replace(recipe, decode_chunk=chunk[0], decode_overlap=chunk[1])
                return _with_recipes(plan, [*plan.recipes[:at], finer, *plan.recipes[at + 1 :]], f"{chunk[0]} frames at once")
            tile = _next_tile(recipe.keyframes, failure.stage)
            if tile:
                keys = _tiled_from(recipe.keyframes, failure.stage, tile)
                names = {fingerprint(old): fingerprint(new) for old, new in zip(recipe.keyframes, keys, strict=True)}
                ways = (replace(part, start=names[part.start], end=names[part.end]) for part in recipe.transitions)
                finer = replace(recipe, keyframes=tuple(keys), transitions=tuple(ways))
                return _with_recipes(plan, [*plan.recipes[:at], finer, *plan.recipes[at + 1 :]], f"tiles of {tile} pixels")
    tile = _next_tile(plan.recipes, failure.stage)
    return _with_recipes(plan, _tiled_from(plan.recipes, failure.stage, tile), f"tiles of {tile} pixels") if tile else None


def _next_tile(recipes: Sequence[AnyRecipe], stage: str) -> int:
    """Return the pixels of the next smaller tile of the picture that failed; 0 if it is not among the recipes or has none."""
    for row in recipes:
        if isinstance(row, ImageRecipe) and fingerprint(row) == stage:
            return next((tile for tile in TILES if tile < (row.decode_tile or max(row.width, row.height))), 0)
    return 0


def _tiled_from(recipes: Sequence[Row], stage: str, tile: int) -> list[Row]:
    """Return the recipes, drawn pictures in tiles from the failed one on.

    What comes before is finished; where a loop comes back to it, it stays as it is.
    """
    names = [fingerprint(row) for row in recipes]
    finished = set(names[: names.index(stage)])
    return [
        replace(row, decode_tile=tile) if isinstance(row, ImageRecipe) and name not in finished else row
        for row, name in zip(recipes, names, strict=True)
    ]


def _with_recipes(plan: Plan, recipes: list[PlannedRecipe], decoding: str) -> Plan:
    note = Decision("memory ran out", f"went on decoding {decoding}", "while decoding; the request allows slight changes")
    return replace(plan, recipes=tuple(recipes), decisions=(*plan.decisions, note))
