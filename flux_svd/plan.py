"""What a plan is: every decision made before any weight is loaded, in words and as recipes. `planner.py` makes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from flux_svd import storyboard
from flux_svd.catalog import ModelSpec
from flux_svd.errors import InvalidRequest
from flux_svd.memory import Placement
from flux_svd.recipe import (
    GivenPicture,
    ImageRecipe,
    KeyframeRecipe,
    OnePassRecipe,
    PlannedRecipe,
    Selection,
    TransitionRecipe,
    VideoRecipe,
    any_recipe_from_json,
    candidates_of,
    drawing_of,
    fingerprint,
    latents_name,
    stage_named,
    to_json,
)
from flux_svd.request import Request, make_request


@dataclass(frozen=True)
class Inventory:
    """Which models can be used here now: weights on disk, and their licences accepted where that is asked for.

    Attributes:
        gguf: (id, bytes) of each .gguf file that was given to this machine.
        encoders: (id, parameters) of each text encoder that was.
        considering: whether a model that is named counts as here: for a plan that is looked at and not carried out.
    """

    on_disk: frozenset[str]
    accepted: frozenset[str] = frozenset()
    gguf: frozenset[tuple[str, int]] = frozenset()
    encoders: frozenset[tuple[str, int]] = frozenset()
    considering: bool = False

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
        fallbacks: for each model, in order, where it goes on if its placement runs out of memory.
        keyframes: of a film, all in order: who draws some of them alone still knows their neighbours and their subject.
    """

    request: Request
    seed: int
    recipes: tuple[PlannedRecipe, ...]
    placements: tuple[Placement, ...]
    decisions: tuple[Decision, ...]
    stages: tuple[storyboard.MotionStage, ...] = ()
    seconds: float | None = None
    fallbacks: tuple[Placement, ...] = ()
    keyframes: tuple[KeyframeRecipe, ...] = ()

    @property
    def peak_bytes(self) -> int:
        """Predicted peak of the device; models run one after the other."""
        return max(placement.peak_bytes for placement in self.placements)

    @property
    def host_peak_bytes(self) -> int:
        return max(placement.host_peak_bytes for placement in self.placements)

    @property
    def model(self) -> str:
        """Name of the image model; of the video model where every keyframe is given."""
        return self.placements[0].model

    @property
    def scorer(self) -> str:
        return self.placements[-1].model

    def placement_of(self, model: str) -> Placement:
        return next(placement for placement in self.placements if placement.model == model)


def drawings_of(plan: Plan) -> list[ImageRecipe]:
    """Return the pictures a plan draws, each once, in the order it draws them."""
    keys = (key for one in plan.recipes for key in (one.keyframes if isinstance(one, VideoRecipe) else (one,)))
    return list(dict.fromkeys(drawing_of(one) for key in keys for one in candidates_of(key)))


def keyframes_only(plan: Plan) -> Plan:
    """Return the plan that draws the keyframes of a film and nothing else; the film finds them again afterwards."""
    film = plan.recipes[0]
    if not isinstance(film, VideoRecipe):
        raise InvalidRequest("kind", "image", "a plan for a film")
    drawn = tuple(dict.fromkeys(key for key in film.keyframes if not isinstance(key, GivenPicture)))  # a loop ends where it began
    models = {recipe.model for key in drawn for recipe in candidates_of(key)}
    placements = tuple(one for one in plan.placements[:-1] if one.model in models)
    return replace(plan, recipes=drawn, placements=(*placements, plan.placements[-1]))


def describe_plan(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON values: decisions, memory, seconds, placements, stages, recipes and their fingerprints."""
    return {
        "model": plan.model,
        "scorer": plan.scorer,
        "seed": plan.seed,
        "decisions": [asdict(note) for note in plan.decisions],
        "stages": [asdict(stage) for stage in plan.stages],
        "placements": [{**asdict(placement), "rung": placement.rung} for placement in plan.placements],
        "fallbacks": [{**asdict(placement), "rung": placement.rung} for placement in plan.fallbacks],
        "peak_bytes": plan.peak_bytes,
        "host_peak_bytes": plan.host_peak_bytes,
        "seconds": plan.seconds,
        "recipes": [json.loads(to_json(recipe)) for recipe in plan.recipes],
        "fingerprints": [fingerprint(recipe) for recipe in plan.recipes],
    }


def plan_to_json(plan: Plan) -> str:
    """Return the whole plan as JSON, so that a later process carries out the very same one; see `plan_from_json`."""
    return json.dumps(
        {
            "request": plan.request.model_dump(mode="json"),
            "seed": plan.seed,
            "recipes": [json.loads(to_json(recipe)) for recipe in plan.recipes],
            "placements": [asdict(placement) for placement in plan.placements],
            "decisions": [asdict(note) for note in plan.decisions],
            "stages": [asdict(stage) for stage in plan.stages],
            "seconds": plan.seconds,
            "fallbacks": [asdict(placement) for placement in plan.fallbacks],
            "keyframes": [json.loads(to_json(recipe)) for recipe in plan.keyframes],
        },
        sort_keys=True, separators=(",", ":"), allow_nan=False,
    )


def plan_from_json(text: str) -> Plan:
    """Return the plan that `plan_to_json` wrote.

    Raises:
        ValueError: the text is not a plan of this version.
        InvalidRequest: its request is out of bounds.
    """
    values = json.loads(text)
    try:
        return Plan(
            make_request(values["request"]),
            values["seed"],
            tuple(_planned(recipe) for recipe in values["recipes"]),
            tuple(_row(Placement, row) for row in values["placements"]),
            tuple(_row(Decision, row) for row in values["decisions"]),
            tuple(_row(storyboard.MotionStage, row) for row in values["stages"]),
            values["seconds"],
            tuple(_row(Placement, row) for row in values["fallbacks"]),
            tuple(_keyframe(recipe) for recipe in values["keyframes"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a plan of this version: {error!r}") from error


def stage_names(plan: Plan) -> frozenset[str]:
    """Return the fingerprints of all stages the plan goes through and can name already.

    What comes after a choice among candidates has its name when the choice is made.
    """
    names: set[str] = set()
    for recipe in plan.recipes:
        names |= film_stage_names(recipe) if isinstance(recipe, VideoRecipe) else _picture_names(recipe)
    return frozenset(names)


def film_stage_names(film: VideoRecipe) -> set[str]:
    """Return the fingerprints of the stages of a film: itself, its transitions, its keyframes and what they are drawn after."""
    names = {fingerprint(film), latents_name(film), *(fingerprint(part) for part in film.parts)}
    return names.union(*(_picture_names(keyframe) for keyframe in film.keyframes))


def _picture_names(keyframe: KeyframeRecipe) -> set[str]:
    drawn = candidates_of(keyframe)
    after = {stage_named(reference) for recipe in drawn for reference in recipe.references} - {""}
    return {fingerprint(keyframe), *(fingerprint(recipe) for recipe in drawn)} | after


def disk_bytes(plan: Plan) -> int:
    """Return about how much room stages and results take: pictures as raw pixels, latents as float32, films at 2 bits a pixel.

    Each twice, since stages and results are apart; what is found finished needs less.
    """
    total = 0
    for recipe in plan.recipes:
        pixels = recipe.width * recipe.height
        if isinstance(recipe, VideoRecipe):
            frames = sum(part.kept_frames for part in recipe.transitions) + 48 * sum(part.frames for part in recipe.passes)
            pictures = sum(max(1, len(candidates_of(key))) for key in recipe.keyframes)
            total += pictures * pixels * 3 + frames * pixels // 64 * 4 * 4 + recipe.frames * pixels // 4
        else:
            total += len(candidates_of(recipe)) * pixels * 3
    return 2 * total


def _planned(values: Mapping[str, Any]) -> PlannedRecipe:
    recipe = any_recipe_from_json(json.dumps(values))
    if not isinstance(recipe, ImageRecipe | Selection | VideoRecipe):
        raise ValueError(f"{recipe.kind}: nothing that is made by itself")
    return recipe


def _keyframe(values: Mapping[str, Any]) -> KeyframeRecipe:
    recipe = any_recipe_from_json(json.dumps(values))
    if isinstance(recipe, TransitionRecipe | OnePassRecipe | VideoRecipe):
        raise ValueError(f"{recipe.kind}: no keyframe")
    return recipe


def _row(kind: type[Any], values: Mapping[str, Any]) -> Any:
    if set(values) != {field.name for field in fields(kind)}:
        raise ValueError(f"not a {kind.__name__} of this version")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
