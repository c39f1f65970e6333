"""What a plan is: every decision made before any weight is loaded, in words and as recipes. `planner.py` makes it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from flux_svd import storyboard
from flux_svd.catalog import ModelSpec
from flux_svd.errors import InvalidRequest
from flux_svd.memory import Placement
from flux_svd.recipe import Recipe, VideoRecipe, fingerprint, to_json
from flux_svd.request import Request


@dataclass(frozen=True)
class Inventory:
    """Which models can be used here now: weights on disk, and their licences accepted where that is asked for."""

    on_disk: frozenset[str]
    accepted: frozenset[str] = frozenset()

    def has(self, spec: ModelSpec) -> bool:
        return spec.name in self.on_disk and (not spec.licence.needs_consent or spec.licence.id in self.accepted)


@dataclass(frozen=True)
class Decision:
    """One choice of the planner, for people: what was decided, and why."""

    what: str
    value: str
    why: str


@dataclass(frozen=True)
class Plan:
    """Everything that will happen.

    Attributes:
        seed: the request's, or the one that was drawn.
        recipes: one for each artifact.
        placements: one for each model: image model first, scorer last.
        seconds: predicted from what steps took here before; None while that is not known.
    """

    request: Request
    seed: int
    recipes: tuple[Recipe, ...]
    placements: tuple[Placement, ...]
    decisions: tuple[Decision, ...]
    stages: tuple[storyboard.MotionStage, ...] = ()
    seconds: float | None = None

    @property
    def peak_bytes(self) -> int:
        """Predicted peak of the device; models run one after the other."""
        return max(placement.peak_bytes for placement in self.placements)

    @property
    def host_peak_bytes(self) -> int:
        return max(placement.host_peak_bytes for placement in self.placements)

    @property
    def model(self) -> str:
        """Name of the image model."""
        return self.placements[0].model

    @property
    def scorer(self) -> str:
        return self.placements[-1].model

    def placement_of(self, model: str) -> Placement:
        return next(placement for placement in self.placements if placement.model == model)


def keyframes_only(plan: Plan) -> Plan:
    """Return the plan that draws the keyframes of a film and nothing else; the film finds them again afterwards."""
    film = plan.recipes[0]
    if not isinstance(film, VideoRecipe):
        raise InvalidRequest("kind", "image", "a plan for a film")
    return replace(plan, recipes=film.keyframes, placements=(plan.placements[0], plan.placements[-1]))


def describe_plan(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON values: decisions, memory, seconds, placements, stages, recipes and their fingerprints."""
    return {
        "model": plan.model,
        "scorer": plan.scorer,
        "seed": plan.seed,
        "decisions": [asdict(note) for note in plan.decisions],
        "stages": [asdict(stage) for stage in plan.stages],
        "placements": [asdict(placement) for placement in plan.placements],
        "peak_bytes": plan.peak_bytes,
        "host_peak_bytes": plan.host_peak_bytes,
        "seconds": plan.seconds,
        "recipes": [json.loads(to_json(recipe)) for recipe in plan.recipes],
        "fingerprints": [fingerprint(recipe) for recipe in plan.recipes],
    }
