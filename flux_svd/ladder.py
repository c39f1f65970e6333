"""What to do when memory runs out in the middle of a plan: the next rung. Size and steps stay; pixels too, without consent.

Decoding: smaller tiles or chunks with the request's consent, then the processor. Everything else, and decoding after that: the
plan's fallbacks, each of which keeps less of the model on the device. Those that keep a transformer's weights smaller are among
them only with the request's consent; the picture that goes on there has another recipe, and begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from flux_svd.errors import DoesNotFit, Phase
from flux_svd.fitting import CHUNKS, TILES, describe_placement
from flux_svd.memory import Placement
from flux_svd.plan import Decision, Plan
from flux_svd.recipe import ImageRecipe, PlannedRecipe, VideoRecipe
from flux_svd.storing import LOWERED


@dataclass(frozen=True)
class Failure:
    """Where memory ran out: in which phase of which model."""

    model: str
    phase: Phase


def next_rung(plan: Plan, failure: Failure) -> Plan:
    """Return the plan that goes on after `failure`; its last decision says what changed.

    Args:
        plan: of the one picture or film that is being made.

    Raises:
        DoesNotFit: nothing is left to try.
    """
    placed = plan.placement_of(failure.model)
    if failure.phase == "decode":
        finer = _finer(plan) if plan.request.consent else None
        if finer is not None:
            return finer
        if placed.device != "cpu" and not placed.decode_on_cpu:
            return _moved(plan, placed, replace(placed, decode_on_cpu=True), failure)
    rows = [row for row in plan.fallbacks if row.model == failure.model]
    # A smaller transformer is of no help to an encoder.
    left = [row for row in rows if not row.lowered or placed.lowered or failure.phase in ("load", "denoise")]
    if not left:
        raise DoesNotFit(
            f"Memory ran out while {_DOING[failure.phase]} with {failure.model}, and nothing smaller is left to try: "
            f"{describe_placement(placed)}. Close other programs, or ask for a smaller size or model."
        )
    moved = _moved(plan, placed, replace(left[0], decode_on_cpu=placed.decode_on_cpu), failure)
    done = rows[: rows.index(left[0]) + 1]
    return replace(moved, fallbacks=tuple(row for row in plan.fallbacks if row not in done))


_DOING: dict[Phase, str] = {"load": "loading", "encode": "reading the prompt", "denoise": "denoising", "decode": "decoding"}


def _moved(plan: Plan, before: Placement, after: Placement, failure: Failure) -> Plan:
    note = Decision("memory ran out", f"went on with {after.rung}: {describe_placement(after)}",
                    f"while {_DOING[failure.phase]} with {describe_placement(before)}")  # fmt: skip
    placements = tuple(after if row is before else row for row in plan.placements)
    decisions, recipes = (*plan.decisions, note), plan.recipes
    if after.stored != before.stored:
        recipes = tuple(at_precision(recipe, after) for recipe in recipes)
        decisions = (*plan.decisions, replace(note, value=f"{note.value}; {_CHANGED[after.lowered]}"))
    return replace(plan, recipes=recipes, placements=placements, decisions=decisions)


_CHANGED = {
    True: "its precision is lower, which the request allows, and pixels differ slightly",
    False: "its precision is that of the published weights again",
}


def at_precision(recipe: PlannedRecipe, placed: Placement) -> PlannedRecipe:
    """Return the recipe of a picture of this model at the precision that its placement keeps; others as they are."""
    if not isinstance(recipe, ImageRecipe) or recipe.model != placed.model:
        return recipe
    for kind in LOWERED:
        if kind == placed.stored:
            return replace(recipe, precision=kind)
    return replace(recipe, precision="bf16") if recipe.precision in LOWERED else recipe


def _finer(plan: Plan) -> Plan | None:
    """Return the plan with smaller tiles of its picture, or smaller chunks of its film; None where there are none."""
    recipe = plan.recipes[0]
    if isinstance(recipe, VideoRecipe):
        chunk = next((pair for pair in CHUNKS if pair[0] < recipe.decode_chunk), None)
        if chunk is None:
            return None
        return _decoding(plan, replace(recipe, decode_chunk=chunk[0], decode_overlap=chunk[1]), f"{chunk[0]} frames at once")
    assert isinstance(recipe, ImageRecipe)
    tile = next((tile for tile in TILES if tile < (recipe.decode_tile or max(recipe.width, recipe.height))), None)
    return None if tile is None else _decoding(plan, replace(recipe, decode_tile=tile), f"tiles of {tile} pixels")


def _decoding(plan: Plan, recipe: ImageRecipe | VideoRecipe, decoding: str) -> Plan:
    note = Decision("memory ran out", f"went on decoding {decoding}", "while decoding; the request allows slight changes")
    return replace(plan, recipes=(recipe,), decisions=(*plan.decisions, note))
